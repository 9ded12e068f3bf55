"""The account fills up over weeks on the deployed stack: who is told what, and how often."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, time, timedelta
from typing import Any

from sandbox.driver.client import LaidKey
from tests.e2e.conftest import TODAY, World

DAY = timedelta(days=1)
ROLE = "keyjanitor-WatchCapacityRole"


def look(world: World, days: int, hour: int = 12) -> list[dict[str, Any]]:
    """One look, so many days after the first; gives the alerts that it published."""
    moment = datetime.combine(TODAY + days * DAY, time(hour, 40), UTC)
    world.sandbox.set_clock(moment)
    answer = world.stack.watch(f"{moment:%Y-%m-%dT%H:%M:%SZ}")
    alerts: list[dict[str, Any]] = answer.get("alerts", [])  # none while another look is running
    return alerts


def forms(world: World, *kinds: str) -> list[dict[str, Any]]:
    """The programs' forms of the alerts of some kinds, in their order."""
    told = [json.loads(json.loads(alert["message"])["sqs"]) for alert in world.sandbox.alerts()]
    return [form for form in told if form["kind"] in kinds]


def grow(world: World, keys: int, day: int, *, kept: bool = True) -> None:
    """So many new keys in an account; those that are not kept are never used, and go some day."""
    made = datetime.combine(TODAY + day * DAY, time(1), UTC)
    plan = world.plans["partners"]
    tags = {"keyjanitor:keep": ""} if kept else {}
    world.lay_down(
        *(LaidKey(name="sign-up", created=made, plans=[plan], tags=tags) for _ in range(keys))
    )


def test_growth_over_weeks_is_told_once_a_mark_and_a_sweep_brings_the_all_clear(
    world: World,
) -> None:
    witnessed = len(world.witness(TODAY + 120 * DAY))
    grow(world, 7_900 - witnessed, -1)
    first, second = range(1, 7), range(24, 30)
    for day in range(31):
        if day:
            grow(world, 65, day, kept=day not in first and day not in second)
        look(world, day)
    assert len(world.keys()) == 9_850
    assert [form["level"] for form in forms(world, "level")] == [0.8, 0.9, 0.95, 0.98]
    marks = [form["mark"] for form in forms(world, "days_to_limit")]
    # After a week of counts the limit is about three weeks away: 60 was passed unseen.
    assert marks == [30, 14]
    assert forms(world, "clear") == []
    # Nobody uses the sign-ups of two weeks. Each is warned, disabled after 14 days and parked after 14
    # more; on a night after others that were not swept there are warnings only, hence two of each.
    left = {}
    for day in (31, 45, 46, 59, 60, 73, 74):
        world.pull(TODAY + day * DAY)
        world.sweep(TODAY + day * DAY)
        look(world, day)
        left[day] = len(world.keys())
    assert left == {**dict.fromkeys((31, 45, 46, 59), 9_850), 60: 9_460, 73: 9_460, 74: 9_070}
    cleared = [form["level"] or form["mark"] for form in forms(world, "clear")]
    assert [one for one in cleared if one < 1] == [0.98, 0.95]
    assert [form["level"] for form in forms(world, "level")] == [0.8, 0.9, 0.95, 0.98]
    assert len(set(cleared)) == len(cleared)
    assert forms(world, "fewer_keys") == []


def test_a_count_that_swings_around_a_level_by_less_than_the_margin_is_told_once(
    world: World,
) -> None:
    grow(world, 8_010, -1)
    look(world, 0, hour=8)
    client = world.sandbox.client("apigateway")
    for hour in (9, 11, 13):
        for key_id in list(world.keys())[:15]:
            client.delete_api_key(apiKey=key_id)
        look(world, 0, hour=hour)
        assert len(world.keys()) == 7_995
        grow(world, 15, 0)
        look(world, 0, hour=hour + 1)
    assert [form["level"] for form in forms(world, "level")] == [0.8]
    assert forms(world, "clear", "reminder") == []


def test_two_looks_at_the_same_time_tell_once(world: World) -> None:
    grow(world, 8_100, -1)
    with ThreadPoolExecutor(2) as copies:
        told = list(copies.map(lambda _: look(world, 0), range(2)))
    assert sorted(map(len, told)) == [0, 1]
    assert [form["level"] for form in forms(world, "level")] == [0.8]


def test_an_alert_that_could_not_be_published_is_sent_by_the_next_look(world: World) -> None:
    grow(world, 8_100, -1)
    world.sandbox.misbehave(fail_next={"sns:Publish": ["500"] * 10})
    assert look(world, 0) == []
    world.sandbox.behave()
    assert [one["kind"] for one in look(world, 0, hour=13)] == ["level"]
    assert look(world, 0, hour=14) == []


def test_10000_keys_are_counted_by_some_20_calls_within_the_share(world: World) -> None:
    world.stack.configure("WatchCapacityFunction", CALLS_PER_SECOND="3")
    grow(world, 10_000, -1)
    world.sandbox.set_throttles(1.0)
    world.sandbox.forget_calls()
    look(world, 0)
    assert world.sandbox.calls_per_operation(ROLE).total() <= 22
    assert world.sandbox.peak_calls_per_second(ROLE) <= 3
    assert not any(call.status == 429 for call in world.sandbox.calls())


def test_a_metric_sets_an_alarm_off_and_a_subscribed_queue_hears_it(world: World) -> None:
    heard = world.sandbox.subscribe_queue(world.stack.outputs["AlertTopicArn"])
    world.sandbox.evaluate_alarms()
    world.sandbox.messages(heard)
    grow(world, 9_900, -1)
    look(world, 0)
    assert world.sandbox.metric("QuotaShare", statistic="Maximum")[-1][1] == 99.0
    states = world.sandbox.evaluate_alarms()
    share = next(state for name, state in states.items() if "QuotaShare" in name)
    assert share == "ALARM"
    bodies = [str(message) for message in world.sandbox.messages(heard)]
    assert any("QuotaShare" in body for body in bodies)
    assert any("98% reached" in body for body in bodies)
