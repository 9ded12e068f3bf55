"""At AWS's own pace an operator takes 200 keys back, while readings, counts, reports, retries and requests overlap.

One night is lived, in four minutes; each test looks at what came of it.
"""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox.driver.client import Call, FunctionFailed, LaidKey
from tests.e2e.as_role import typed
from tests.e2e.conftest import FAST, Deployed, World, an_empty_world
from tests.e2e.requesting import act, answers, issue

ACTIONS = 200
OTHERS = 600  # keys in use
REVOKED = 40
SHARES = {"PullUsageFunction": 3, "ExpireKeysFunction": 3, "WatchCapacityFunction": 3}
SHARES |= {"PublishReportFunction": 3, "ProvisionKeysFunction": 2}
TOGETHER = 5  # calls a second of all functions
AT_ONCE = (
    7  # in one second: four functions of the night with one call each, and three copies of requests
)
AGAIN = 60  # seconds after which `sam remote invoke` invokes once more
DAY = timedelta(days=1)
GRACE = 14 * DAY
ALL_RIGHTS = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
NIGHTLY = ("PullUsage", "ExpireKeys", "WatchCapacity", "PublishReport")


@dataclass(slots=True)
class Lived:
    """What came of the night.

    `runs` has the answer or the error of each run by its name, `after` what the command prints once
    more when all is over, `keys` the account then, `told` the answers to requests by their ids.
    """

    idle: set[str]
    calls: list[Call]
    runs: dict[str, Any]
    after: subprocess.CompletedProcess[str]
    keys: dict[str, dict[str, Any]]
    told: dict[str, Any]


@pytest.fixture(scope="module")
def lived(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """The idle keys are disabled at a fast pace; then all begins at once, at AWS's."""
    world = an_empty_world(deployed)
    sandbox, stack = world.sandbox, world.stack
    sandbox.reset_clock()
    today = sandbox.now().date()
    idle = lay_down(world, today)
    for day in (today - GRACE, today - DAY, today):
        world.night(day)
    sandbox.reset_clock()
    queue = stack.outputs["RequestQueueUrl"]
    sandbox.send_requests(queue, [issue(f"r{n}") for n in range(REVOKED)])
    sandbox.wait_for_queue(queue, 120)
    revoked = [one[0][1]["key_id"] for one in answers(world).values()]
    for name, share in SHARES.items():
        stack.configure(name, CALLS_PER_SECOND=str(share))
    sandbox.set_throttles(1)
    sandbox.forget_calls()
    folder = tmp_path_factory.mktemp("operator")
    runs = overlapped(world, today, revoked, folder)
    calls = sandbox.calls("keyjanitor-")
    after = typed(sandbox, folder, ALL_RIGHTS, "undo", str(today), "--yes", "--json")
    sandbox.set_throttles(FAST)
    return Lived(idle, calls, runs, after, world.keys(), answers(world))


def lay_down(world: World, today: date) -> set[str]:
    """Keys in use and ACTIONS idle ones; gives the ids of these."""
    long_ago, plan = datetime(2025, 1, 1, tzinfo=UTC), world.plans["partners"]
    world.witness(today)
    weekly = {today - DAY * back: 2 for back in range(0, 120, 7)}
    used = LaidKey(name="used", created=long_ago, plans=[plan], uses={plan: weekly})
    idle = LaidKey(name="idle", created=long_ago, plans=[plan], uses={plan: {today - 75 * DAY: 1}})
    return set(world.lay_down(*[idle] * ACTIONS, *[used] * OTHERS)[:ACTIONS])


def overlapped(world: World, today: date, revoked: list[str], folder: Path) -> dict[str, Any]:
    """Starts everything while the undo is at work, some of it twice, and gives what came of each."""
    stack, tomorrow, queue = world.stack, today + DAY, world.stack.outputs["RequestQueueUrl"]

    def undo() -> subprocess.CompletedProcess[str]:
        return typed(world.sandbox, folder, ALL_RIGHTS, "undo", str(today), "--yes")

    def pull() -> Any:
        return stack.pull(f"{tomorrow}T02:15:00Z")

    def count() -> Any:
        return stack.watch(f"{today}T04:30:00Z")

    def undo_again() -> Any:
        time.sleep(AGAIN)
        return stack.invoke("ExpireKeysFunction", {"undo": str(today)})

    beside: dict[str, Callable[[], Any]] = {
        "pull": pull,
        "pull again": pull,
        "sweep": lambda: stack.sweep(f"{tomorrow}T03:15:00Z"),
        "count": count,
        "count again": count,
        "report": lambda: stack.publish(f"{today}T06:15:00Z"),
        "undo typed again": undo,
        "undo invoked again": undo_again,
    }
    with ThreadPoolExecutor(1 + len(beside)) as pool:
        started: dict[str, Future[Any]] = {"undo": pool.submit(undo)}
        while not started["undo"].done() and not world.sandbox.calls("keyjanitor-ExpireKeys"):
            time.sleep(0.2)
        started |= {name: pool.submit(run) for name, run in beside.items()}
        revokes = [act("revoke", f"v{n}", key_id) for n, key_id in enumerate(revoked)]
        world.sandbox.send_requests(queue, revokes)
    world.sandbox.wait_for_queue(queue, 120)
    return {name: one.exception() or one.result() for name, one in started.items()}


def most_within(calls: list[Call], seconds: float) -> int:
    """The most calls that started within so many seconds."""
    at = sorted(call.started for call in calls)
    return max(sum(first <= one < first + seconds for one in at[n:]) for n, first in enumerate(at))


@pytest.mark.timeout(900)
def test_at_awss_pace_all_functions_together_take_five_calls_a_second_whatever_overlaps(
    lived: Lived,
) -> None:
    assert "running" not in lived.runs["report"]
    for name in ("pull", "count"):  # which of two that begin together is at work, chance says
        both = lived.runs[name], lived.runs[f"{name} again"]
        assert sum("running" in one for one in both) == 1, both
    of_role = {
        name: [call for call in lived.calls if name in call.role]
        for name in (*NIGHTLY, "ProvisionKeys")
    }
    spans = [(one[0].started, one[-1].started) for one in of_role.values()]
    beside = max(sum(first <= at <= last for first, last in spans) for at, _ in spans)
    assert beside == len(of_role), "they did not overlap"
    assert most_within(lived.calls, 10) <= 10 * TOGETHER
    assert most_within(lived.calls, 1) <= AT_ONCE
    assert not [call for call in lived.calls if call.status == 429]


def test_at_awss_pace_an_operators_command_of_200_actions_is_carried_out_once_and_answers_what_it_did(
    lived: Lived,
) -> None:
    undone: subprocess.CompletedProcess[str] = lived.runs["undo"]
    assert (undone.returncode, undone.stderr) == (0, "")
    assert f"{ACTIONS} enabled" in undone.stdout, undone.stdout
    enabled = Counter(
        call.key_id
        for call in lived.calls
        if call.operation == "UpdateApiKey" and "ExpireKeys" in call.role
    )
    assert enabled == dict.fromkeys(lived.idle, 1)
    assert all(lived.keys[key_id]["enabled"] for key_id in lived.idle)
    assert len([call for call in lived.calls if "ExpireKeys" in call.role]) >= 2 * ACTIONS


def test_at_awss_pace_the_same_command_beside_it_says_so_and_later_that_nothing_is_left(
    lived: Lived,
) -> None:
    beside: subprocess.CompletedProcess[str] = lived.runs["undo typed again"]
    assert beside.returncode == 1
    assert "type it again when the other run is over" in beside.stderr
    invoked = lived.runs["undo invoked again"]
    assert isinstance(invoked, FunctionFailed)
    assert invoked.error_type == "AlreadyRunning"
    assert "running" in lived.runs["sweep"]
    assert lived.after.returncode == 0, lived.after.stderr
    assert json.loads(lived.after.stdout)["keys"] == 0
    for n in range(REVOKED):
        assert [kind for kind, _ in lived.told[f"v{n}"]] == ["Key Revoked"]
