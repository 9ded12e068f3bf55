"""What an operator types, what goes wrong, and what the roles keep from happening."""

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox.driver.client import REPOSITORY, FunctionFailed, LaidKey
from sandbox.driver.stack import SamFailed, sam_executable
from tests.e2e.conftest import POLICY, TODAY, World

LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def sam(world: World, *arguments: str) -> str:
    done = subprocess.run(
        [sam_executable(), *arguments],
        cwd=REPOSITORY,
        env=world.sandbox.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def remote_invoke(world: World, function: str, event: Path) -> dict[str, object]:
    """`sam remote invoke`, as the README's table has it."""
    printed = sam(
        world,
        "remote",
        "invoke",
        function,
        "--stack-name",
        "keyjanitor",
        "--event-file",
        str(event),
    )
    answer: dict[str, object] = json.loads(printed[printed.index("{") :].splitlines()[0])
    return answer


def test_the_readmes_events_do_what_its_table_says(world: World, tmp_path: Path) -> None:
    events = REPOSITORY / "events"
    now = datetime.now(UTC)
    world.sandbox.set_clock(now)
    world.witness(now.date())
    plan = world.plans["partners"]
    idle = world.lay_down(
        *(LaidKey(name=f"idle {n}", created=LONG_AGO, plans=[plan]) for n in range(3))
    )
    remote_invoke(world, "PullUsageFunction", events / "pull_usage.json")
    dry = remote_invoke(world, "ExpireKeysFunction", events / "expire_keys_dry_run.json")
    assert (dry["mode"], dry["verdicts"]["warn"], dry["applied"]["warn"]) == ("observe", 3, 0)  # type: ignore[index]
    with pytest.raises(FunctionFailed, match="hold: must be a text of 1 to 500 characters: why"):
        world.stack.invoke("ExpireKeysFunction", {"hold": "<WHY>"})
    hold = tmp_path / "hold.json"
    hold.write_text((events / "expire_keys_hold.json").read_text().replace("<WHY>", "looking"))
    held = remote_invoke(world, "ExpireKeysFunction", hold)
    assert held["held"] == "looking"
    during = remote_invoke(world, "ExpireKeysFunction", events / "expire_keys_sweep.json")
    assert (during["held"], during["applied"]["warn"]) == (held["held"], 0)  # type: ignore[index]
    assert (
        remote_invoke(world, "ExpireKeysFunction", events / "expire_keys_resume.json")["held"]
        is None
    )
    swept = remote_invoke(world, "ExpireKeysFunction", events / "expire_keys_sweep.json")
    assert swept["applied"]["warn"] == 3  # type: ignore[index]
    assert {json.loads(e["Detail"])["key_id"] for e in world.sandbox.events()} == set(idle)


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ({"tim": "2026-11-21T02:15:00Z"}, "tim: is not a field; allowed: approve"),
        ({"time": "yesterday"}, "time: 'yesterday' must be a UTC time"),
        ({"time": "2026-11-21T02:15:00+01:00"}, "must be a UTC time"),
        ({"mode": "purge"}, "mode: 'purge' is not allowed; allowed: observe, disable, park"),
        ({"approve": "0123456789abcdef", "undo": "2026-11-21"}, "undo: does not go with approve"),
        ({"key_ids": ["a"]}, "key_ids: goes only with undo"),
    ],
)
def test_a_wrong_event_says_which_field_and_touches_nothing(
    world: World, event: dict[str, object], says: str
) -> None:
    world.sandbox.forget_calls()
    with pytest.raises(FunctionFailed, match=re.escape(says)):
        world.stack.invoke("ExpireKeysFunction", event)
    assert world.sandbox.calls() == []


def test_an_event_outside_the_replay_window_only_observes_and_says_so(world: World) -> None:
    world.witness(TODAY)
    world.lay_down(LaidKey(name="idle", created=LONG_AGO, plans=[world.plans["partners"]]))
    far = datetime.now(UTC).date() - 3 * DAY
    world.pull(far)
    for function in world.stack.functions:
        world.stack.configure(function, REPLAY_WINDOW_HOURS="36")
    try:
        answer = world.sweep(far)
        assert answer["mode"] == "observe"
        assert "36 hours" in answer["observed_because"]
        assert not any(answer["applied"].values())
        with pytest.raises(FunctionFailed, match="OutsideReplayWindow"):
            world.pull(far)
    finally:
        for function in world.stack.functions:
            world.stack.configure(function, REPLAY_WINDOW_HOURS="0")


def test_access_denied_names_the_action_and_the_role(world: World) -> None:
    world.witness(TODAY)
    world.pull(TODAY)
    with denied(world, "apigateway:GET"), pytest.raises(FunctionFailed) as failed:
        world.sweep(TODAY)
    assert "apigateway:GET on /apikeys" in failed.value.message
    assert "ExpireKeysRole" in failed.value.message


def test_tags_that_cannot_be_read_leave_every_idle_key_unknown(world: World) -> None:
    world.witness(TODAY)
    world.lay_down(LaidKey(name="idle", created=LONG_AGO, plans=[world.plans["partners"]]))
    world.pull(TODAY)
    with denied(world, "tag:GetResources"):
        answer = world.sweep(TODAY)
    assert (answer["verdicts"]["unknown"], answer["verdicts"]["warn"]) == (1, 0)


def test_a_second_stack_in_the_account_and_region_fails_to_deploy(world: World) -> None:
    with pytest.raises(SamFailed, match="already exists"):
        world.stack.update(POLICY, name="keyjanitor-two")


def _role(world: World) -> str:
    roles = world.sandbox.client("iam").list_roles()["Roles"]
    return next(str(r["RoleName"]) for r in roles if "ExpireKeysRole" in r["RoleName"])


class denied:  # noqa: N801 (reads as a sentence)
    """Takes an action away from the sweep's role for a while."""

    def __init__(self, world: World, action: str) -> None:
        self._iam = world.sandbox.client("iam")
        self._role = _role(world)
        self._action = action

    def __enter__(self) -> None:
        statement = {"Effect": "Deny", "Action": self._action, "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self._iam.put_role_policy(RoleName=self._role, PolicyName="denied", PolicyDocument=document)

    def __exit__(self, *_: object) -> None:
        self._iam.delete_role_policy(RoleName=self._role, PolicyName="denied")
