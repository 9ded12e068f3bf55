"""Runs that are cut off, and runs that meet: each key is acted on exactly once."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from sandbox.driver.client import LaidKey
from tests.e2e.conftest import TODAY, World

LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
WARN, GRACE, IDLE = timedelta(days=14), timedelta(days=14), timedelta(days=60)
LAST = TODAY + WARN + GRACE


def lay_down_idle_since(world: World, day: date, count: int) -> list[str]:
    plan = world.plans["partners"]
    idle = LaidKey(created=LONG_AGO, plans=[plan], uses={plan: {day: 1}})
    return world.lay_down(*(replace(idle, name=f"idle since {day} {n}") for n in range(count)))


def ready_to_disable_and_park(world: World, each: int) -> tuple[list[str], list[str]]:
    """Keys that are due on the date LAST: so many to be disabled, so many to be parked."""
    world.witness(LAST)
    to_park = lay_down_idle_since(world, TODAY - IDLE, each)
    to_disable = lay_down_idle_since(world, TODAY + WARN - IDLE, each)
    for day in (TODAY, TODAY + WARN - DAY, TODAY + WARN, LAST - DAY):
        world.night(day)
    world.pull(LAST)
    return to_disable, to_park


def acted_on(world: World) -> Counter[tuple[str, str]]:
    """How often each key was changed, and how."""
    return Counter(
        (call.operation, str(call.key_id))
        for call in world.sandbox.calls()
        if call.operation in ("UpdateApiKey", "DeleteApiKey") and call.status < 300
    )


def test_1200_keys_in_several_runs_are_each_acted_on_exactly_once(world: World) -> None:
    to_disable, to_park = ready_to_disable_and_park(world, 600)
    world.sandbox.forget_calls()
    world.stack.configure("ExpireKeysFunction", timeout=8)
    done: Counter[str] = Counter()
    runs = 0
    while True:
        answer = world.sweep(LAST)
        done.update(answer["applied"])
        runs += 1
        if not answer["remaining"]:
            break
        assert runs < 40, answer
    assert runs > 1, "the timeout did not cut anything off"
    assert (done["disable"], done["park"]) == (600, 600)
    assert acted_on(world) == Counter(
        [("UpdateApiKey", key_id) for key_id in to_disable]
        + [("DeleteApiKey", key_id) for key_id in to_park]
    )
    told = Counter(event["DetailType"] for event in world.sandbox.events())
    assert (told["Key Disabled"], told["Key Parked"]) == (1200, 600)


def test_two_sweeps_started_together_act_on_each_key_once(world: World) -> None:
    to_disable, to_park = ready_to_disable_and_park(world, 20)
    world.sandbox.forget_calls()
    with ThreadPoolExecutor(2) as both:
        answers = list(both.map(lambda _: world.sweep(LAST), range(2)))
    done: Counter[str] = Counter()
    for answer in answers:
        done.update(answer.get("applied", {}))  # one of them may say that the other is running
    assert (done["disable"], done["park"]) == (20, 20)
    assert acted_on(world) == Counter(
        [("UpdateApiKey", key_id) for key_id in to_disable]
        + [("DeleteApiKey", key_id) for key_id in to_park]
    )


def test_a_run_that_dies_at_any_call_is_finished_by_running_again(world: World) -> None:
    to_disable, to_park = ready_to_disable_and_park(world, 3)
    role = "keyjanitor-ExpireKeysRole"
    survived = 0
    for calls in range(2, 200, 7):
        world.sandbox.misbehave(die_after={role: calls})
        try:
            answer = world.sweep(LAST)
        except Exception:  # noqa: BLE001 - the process died; however that shows
            # The lease of the dead runs out by itself; here nobody waits for it.
            world.sandbox.client("dynamodb").delete_item(
                TableName=world.stack.outputs["LedgerTableName"],
                Key={"pk": {"S": "LEASE"}, "sk": {"S": "sweep"}},
            )
            continue
        survived += 1
        assert answer["remaining"] == 0
        break
    assert survived
    keys = world.keys()
    assert not keys.keys() & set(to_park)
    assert [keys[key_id]["enabled"] for key_id in to_disable] == [False] * 3
    told = {
        (event["DetailType"], key_id)
        for event in world.sandbox.events()
        for key_id in (*to_park, *to_disable)
        if key_id in event["Detail"]
    }
    assert {("Key Parked", key_id) for key_id in to_park} <= told
    assert {("Key Disabled", key_id) for key_id in (*to_park, *to_disable)} <= told
