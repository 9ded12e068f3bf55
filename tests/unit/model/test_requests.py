"""The events that start a function: what they may hold, and what is said of those that do not fit."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyjanitor.domain.model.invocation import Invocation, ReplayWindow, SweepInvocation
from keyjanitor.domain.model.keys import Mode
from keyjanitor.errors import InvalidEvent, ModeRefused, OutsideReplayWindow
from tests.builders import TODAY, YESTERDAY

NOW = datetime(2026, 11, 21, 2, 15, tzinfo=UTC)
WINDOW = ReplayWindow(NOW, 36)
DIGEST = "0123456789abcdef"


def sweep(event: Any, deployed: Mode = Mode.PARK, window: ReplayWindow = WINDOW) -> SweepInvocation:
    return SweepInvocation.parse(event, deployed, window)


def hours(number: float) -> str:
    return (NOW + timedelta(hours=number)).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- what fits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("deployed", list(Mode))
def test_an_empty_event_is_a_sweep_of_this_moment_in_the_deployed_mode(deployed: Mode) -> None:
    assert sweep({}, deployed) == SweepInvocation(time=NOW, mode=deployed)
    assert sweep({}).today == TODAY


def test_the_date_is_the_one_of_the_events_time() -> None:
    assert sweep({"time": "2026-11-20T23:59:59Z"}).today == YESTERDAY
    assert Invocation.parse({"time": "2026-11-20T23:59:59Z"}, WINDOW).today == YESTERDAY
    assert Invocation.parse({}, WINDOW) == Invocation(NOW)


@pytest.mark.parametrize("time", ["2026-11-21T02:15:00+00:00", "2026-11-21T02:15:00.000Z"])
def test_utc_may_be_written_in_its_other_ways(time: str) -> None:
    assert sweep({"time": time}).time == NOW


@pytest.mark.parametrize(
    ("event", "more"),
    [
        ({"mode": "observe"}, {"mode": Mode.OBSERVE, "dry_run": True}),
        ({"approve": DIGEST}, {"approve": DIGEST}),
        ({"undo": "2026-11-20"}, {"undo": YESTERDAY}),
        (
            {"undo": "2026-11-20", "key_ids": ["k2", "k1"]},
            {"undo": YESTERDAY, "key_ids": frozenset({"k1", "k2"})},
        ),
        ({"hold": "why"}, {"hold": "why"}),
        ({"hold": "two\nlines"}, {"hold": "two\nlines"}),
        ({"resume": True}, {"resume": True}),
    ],
)
def test_what_an_operator_may_ask_for(event: dict[str, Any], more: dict[str, Any]) -> None:
    values: dict[str, Any] = {"time": NOW, "mode": Mode.PARK, **more}
    assert sweep(event) == SweepInvocation(**values)


@pytest.mark.parametrize("mode", ["observe", "disable"])
def test_a_lower_mode_than_the_deployed_one_may_be_asked_for(mode: str) -> None:
    assert sweep({"mode": mode}, Mode.DISABLE).mode == Mode(mode)


def test_a_dry_run_is_asked_for_and_a_night_in_observe_is_none() -> None:
    assert sweep({"mode": "observe"}, Mode.OBSERVE).dry_run
    assert not sweep({}, Mode.OBSERVE).dry_run
    assert not sweep({"time": hours(-37)}).dry_run


# --- the replay window ----------------------------------------------------------------------------


@pytest.mark.parametrize("away", [-36, -1, 0])
def test_a_time_inside_the_replay_window_may_act(away: int) -> None:
    request = sweep({"time": hours(away)})
    assert (request.mode, request.observed_because) == (Mode.PARK, None)
    assert Invocation.parse({"time": hours(away)}, WINDOW).time == NOW + timedelta(hours=away)


@pytest.mark.parametrize("away", [-36.01, 36.01])
def test_a_sweep_outside_the_replay_window_may_only_observe(away: float) -> None:
    request = sweep({"time": hours(away)})
    assert request.mode is Mode.OBSERVE
    assert request.observed_because is not None
    assert "36 hours" in request.observed_because


def test_a_sweep_that_observes_anyway_may_be_of_any_time() -> None:
    assert sweep({"time": "2020-01-01T00:00:00Z", "mode": "observe"}).observed_because is None


@pytest.mark.parametrize(
    "event", [{"approve": DIGEST}, {"undo": "2026-11-20"}, {"hold": "why"}, {"resume": True}]
)
def test_anything_but_a_sweep_is_refused_outside_the_replay_window(event: dict[str, Any]) -> None:
    with pytest.raises(OutsideReplayWindow) as raised:
        sweep({**event, "time": hours(-37)})
    assert (raised.value.now, raised.value.hours) == (NOW, 36)


def test_a_reading_outside_the_replay_window_is_refused() -> None:
    with pytest.raises(OutsideReplayWindow):
        Invocation.parse({"time": hours(37)}, WINDOW)


def test_a_window_of_0_lifts_the_limit() -> None:
    request = sweep({"time": "2030-01-01T00:00:00Z"}, window=ReplayWindow(NOW, 0))
    assert (request.mode, request.observed_because) == (Mode.PARK, None)


# --- what does not fit ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deployed", "event"),
    [
        (Mode.OBSERVE, {"mode": "disable"}),
        (Mode.OBSERVE, {"mode": "park"}),
        (Mode.DISABLE, {"mode": "park"}),
        (Mode.OBSERVE, {"approve": DIGEST}),
        (Mode.OBSERVE, {"undo": "2026-11-20"}),
        (Mode.PARK, {"undo": "2026-11-20", "mode": "observe"}),
    ],
)
def test_a_higher_mode_than_the_deployed_one_is_refused(
    deployed: Mode, event: dict[str, Any]
) -> None:
    with pytest.raises(ModeRefused) as raised:
        sweep(event, deployed)
    assert raised.value.deployed == deployed
    (name,) = event.keys() & {"undo", "approve"} or {"mode"}
    what = f"mode: {event['mode']}" if name == "mode" else name
    assert str(raised.value).startswith(f"event: {what} needs more than")


@pytest.mark.parametrize("event", [{"hold": "why"}, {"resume": True}])
def test_a_hold_and_its_end_need_no_mode(event: dict[str, Any]) -> None:
    assert sweep(event, Mode.OBSERVE).mode is Mode.OBSERVE


@pytest.mark.parametrize(
    ("event", "field", "allowed"),
    [
        ({"tiem": "x"}, "tiem", "allowed: approve, hold, key_ids, mode, resume, time, undo"),
        ([], "(event)", "must be a JSON object"),
        ("sweep", "(event)", "must be a JSON object"),
        ({"time": "yesterday"}, "time", "must be a UTC time"),
        ({"time": "2026-11-21"}, "time", "must be a UTC time"),
        ({"time": "2026-11-21T02:15:00"}, "time", "must be a UTC time"),
        ({"time": "2026-11-21T02:15:00+01:00"}, "time", "must be a UTC time"),
        ({"time": "2026-02-30T02:15:00Z"}, "time", "must be a UTC time"),
        ({"time": 1795227300}, "time", "must be a UTC time"),
        ({"time": None}, "time", "must be a UTC time"),
        ({"time": "<aws.scheduler.scheduled-time>"}, "time", "must be a UTC time"),
        ({"mode": "delete"}, "mode", "allowed: observe, disable, park"),
        ({"mode": None}, "mode", "allowed: observe, disable, park"),
        ({"mode": ["park"]}, "mode", "allowed: observe, disable, park"),
        ({"approve": "0123"}, "approve", "the 16 digits of a plan's digest"),
        ({"approve": DIGEST.upper()}, "approve", "the 16 digits of a plan's digest"),
        ({"approve": "../../evidence/x"}, "approve", "the 16 digits of a plan's digest"),
        ({"approve": None}, "approve", "the 16 digits of a plan's digest"),
        ({"undo": "21.11.2026"}, "undo", 'a date such as "2026-11-21"'),
        ({"undo": 5}, "undo", 'a date such as "2026-11-21"'),
        ({"undo": "2026-11-20", "key_ids": []}, "key_ids", "must be a list of key ids"),
        ({"undo": "2026-11-20", "key_ids": "k1"}, "key_ids", "must be a list of key ids"),
        ({"undo": "2026-11-20", "key_ids": [5]}, "key_ids", "must be a list of key ids"),
        ({"key_ids": ["k1"]}, "key_ids", "goes only with undo"),
        ({"hold": ""}, "hold", "a text of 1 to 500 characters: why"),
        ({"hold": "x" * 501}, "hold", "a text of 1 to 500 characters: why"),
        ({"hold": True}, "hold", "a text of 1 to 500 characters: why"),
        ({"resume": False}, "resume", "must be true"),
        ({"resume": "yes"}, "resume", "must be true"),
        ({"hold": "why", "resume": True}, "resume", "does not go with hold"),
        ({"approve": DIGEST, "undo": "2026-11-20"}, "undo", "does not go with approve"),
    ],
)
def test_an_event_that_does_not_fit_is_told_with_its_field_and_what_is_allowed(
    event: Any, field: str, allowed: str
) -> None:
    with pytest.raises(InvalidEvent) as raised:
        sweep(event)
    assert (raised.value.field, allowed in raised.value.reason) == (field, True)


@pytest.mark.parametrize("event", [{"mode": "park"}, {"tiem": 1}, {"hold": "x"}])
def test_a_reading_takes_a_time_and_nothing_else(event: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent, match="allowed: time"):
        Invocation.parse(event, WINDOW)


def test_a_date_to_come_is_outside_any_window() -> None:
    tomorrow = f"{NOW.date() + timedelta(days=1)}T00:00:00Z"
    assert sweep({"time": tomorrow}).mode is Mode.OBSERVE
    with pytest.raises(OutsideReplayWindow, match="is in the future"):
        Invocation.parse({"time": tomorrow}, WINDOW)


def test_a_hold_is_put_whatever_mode_the_event_names() -> None:
    deployed = SweepInvocation.parse({"hold": "stop", "mode": "park"}, Mode.DISABLE, WINDOW)
    assert (deployed.hold, deployed.mode) == ("stop", Mode.DISABLE)
