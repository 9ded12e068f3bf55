"""Nights at a thousand keys end as they should, and requests are served, whatever AWS does where it is not known.

The faults are those of the table in sandbox/aws/faults.py.
"""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore
import pytest

from sandbox.driver.client import LaidKey
from tests.e2e.conftest import TODAY, World
from tests.e2e.requesting import answers, issue, opened, serve

KEYS = 1_000
IDLE = 20
DAY = timedelta(days=1)
GRACE = 14  # days between the warning and the disabling
DISABLED_ON = TODAY + GRACE * DAY
LAST_USE = 75  # days before the first night
LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
KEEP = {"keyjanitor:keep": "1"}
SOME = 3  # answers of one kind
S3_MODEL = "s3/2006-03-01/service-2.json"

INSTEAD: dict[str, dict[str, Any]] = {
    "as believed": {},
    "usage begins later": {"usage_days": 80, "usage_outside": "clipped"},
    "usage is refused over 90 days": {"usage_days": 89},
    "usage goes back 60 days": {"usage_days": 60},
    "the calendar of usage is behind": {"usage_today": 1, "usage_outside": "clipped"},
    "a day that has not begun is refused": {"usage_today": 1},
    "the calendar of usage is ahead": {"usage_today": -1},
    "later reads date a change a second later": {"answers_early": 1},
    "the tagging API lists no keys": {"tags_unlisted": True},
    "S3 answers 403 of what is not there": {"absent_is_forbidden": True},
    "a conditional write meets another": {"conditions_conflict": SOME},
    "a write meets a transaction": {
        "fail_next": {
            f"dynamodb:{operation}": ["TransactionConflictException"] * SOME
            for operation in ("PutItem", "UpdateItem")
        }
    },
}


@pytest.fixture
def night(world: World) -> tuple[World, set[str]]:
    """A thousand keys, and the ids of those that are idle; one that is as idle is to be kept."""
    world.witness(DISABLED_ON)
    plans, last = list(world.plans.values()), TODAY - LAST_USE * DAY
    weekly = {DISABLED_ON - n * DAY: 3 for n in range(0, 120, 7)}
    used = [
        LaidKey(name=f"used {n}", created=LONG_AGO, plans=[plan], uses={plan: weekly})
        for n in range(KEYS - IDLE - 1 - len(plans))
        for plan in [plans[n % len(plans)]]
    ]
    plan = world.plans["partners"]
    idle = LaidKey(name="idle", created=LONG_AGO, plans=[plan], uses={plan: {last: 3}})
    kept = LaidKey(name="kept", created=LONG_AGO, plans=[plan], uses={plan: {last: 3}}, tags=KEEP)
    ids = world.lay_down(*[idle] * IDLE, kept, *used)
    return world, set(ids[:IDLE])


@pytest.fixture
def old_boto3(world: World, tmp_path: Path) -> Iterator[None]:
    """What the functions find of S3 is as before botocore 1.35.2: no IfNoneMatch (measured: AF-513)."""
    (file,) = (Path(botocore.__file__).parent / "data").glob(f"{S3_MODEL}*")
    model = json.loads(gzip.decompress(file.read_bytes()))
    del model["shapes"]["PutObjectRequest"]["members"]["IfNoneMatch"]
    (tmp_path / S3_MODEL).parent.mkdir(parents=True)
    (tmp_path / S3_MODEL).write_text(json.dumps(model), "utf-8")
    world.stack.configure("PullUsageFunction", AWS_DATA_PATH=str(tmp_path))
    yield
    world.stack.configure("PullUsageFunction", AWS_DATA_PATH="")


def disabled(world: World) -> set[str]:
    return {key_id for key_id, key in world.keys().items() if not key["enabled"]}


def told(world: World, kind: str) -> list[str]:
    """The ids of the keys that events of this kind name, in order."""
    return sorted(
        json.loads(event["Detail"])["key_id"]
        for event in world.sandbox.events()
        if event["DetailType"] == kind
    )


def live_until_the_idle_are_disabled(world: World, idle: set[str]) -> None:
    """Three nights, the last with its report and its count, and an undo of it."""
    for day, does in ((TODAY, "warn"), (DISABLED_ON - DAY, ""), (DISABLED_ON, "disable")):
        world.sandbox.forget_calls()
        read = world.pull(day)
        refused = [call.operation for call in world.sandbox.calls() if call.status >= 400]
        assert (read["keys"], read["unread"]) == (KEYS, [])
        swept = world.sweep(day)
        applied = {action: n for action, n in swept["applied"].items() if n and action != "adopt"}
        assert applied == ({does: IDLE} if does else {})
        assert "failed" not in swept
    assert refused == []  # what the night before found out is not asked again
    assert disabled(world) == idle
    reported = world.stack.publish(f"{DISABLED_ON}T06:15:00Z")
    assert (reported["keys"], reported["unread"]) == (KEYS, [])
    assert world.stack.watch(f"{DISABLED_ON}T06:30:00Z")["keys"] == KEYS
    assert told(world, "Key Expiring") == told(world, "Key Disabled") == sorted(idle)
    assert world.sweep(DISABLED_ON, undo=str(DISABLED_ON))["applied"]["enable"] == IDLE
    assert disabled(world) == set()


@pytest.mark.parametrize("fault", INSTEAD.values(), ids=INSTEAD)
def test_a_night_ends_as_it_should_whatever_aws_answers(
    night: tuple[World, set[str]], fault: dict[str, Any]
) -> None:
    world, idle = night
    world.sandbox.misbehave(**fault)
    live_until_the_idle_are_disabled(world, idle)
    left = world.sandbox.misbehave()
    assert not left["conditions_conflict"]
    assert not any(left["fail_next"].values())


@pytest.mark.usefixtures("old_boto3")
def test_a_night_ends_as_it_should_with_a_boto3_that_knows_no_condition(
    night: tuple[World, set[str]],
) -> None:
    live_until_the_idle_are_disabled(*night)
    world, _ = night
    assert world.pull(DISABLED_ON)["already_read"] is True
    log = world.sandbox.log_lines("/aws/lambda/keyjanitor-pull-usage")
    assert any("the boto3 of this runtime knows no IfNoneMatch" in line for line in log)


def test_an_import_that_is_made_again_over_its_own_keys_makes_each_once(world: World) -> None:
    world.sandbox.misbehave(upserts_warn=True, lose_next={"ImportApiKeys": 1})
    assert serve(world, [issue(f"again{n}") for n in range(20)]) == []
    assert world.sandbox.calls_per_operation()["ImportApiKeys"] == 2
    each_has_one_working_key(world, 20)


def test_an_import_that_takes_longer_than_it_is_waited_for_is_not_made_again(world: World) -> None:
    world.sandbox.misbehave(import_seconds_a_key=0.35)
    assert serve(world, [issue(f"slow{n}") for n in range(100)]) == []
    assert world.sandbox.calls_per_operation()["ImportApiKeys"] == 1
    each_has_one_working_key(world, 100)


def each_has_one_working_key(world: World, requests: int) -> None:
    """Every request has one answer, and each answer a key of its own that opens the API."""
    said = answers(world)
    details = [detail for one in said.values() for _, detail in one]
    assert len(said) == len(details) == len(world.keys()) == requests
    values = opened(world, details)
    statuses = world.sandbox.call_api_many(world.api_id, "keys", dict.fromkeys(values, 1))
    assert dict(statuses) == {200: requests}
