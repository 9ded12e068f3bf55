"""What `key` answers to "my key stopped working", from values alone."""

import json
from dataclasses import replace
from typing import Any

import pytest

from keyjanitor.domain.model.keys import State
from keyjanitor.domain.model.records import OwnerFrom, Row
from keyjanitor_cli.shapes import Command, Facts, Line, View
from keyjanitor_cli.views import key as shown
from tests.builders import DAY, KEY_ID, TODAY, a_key

IDLE = "idle for 61 days, since 2026-09-21"
PLANS = {"plan1": "external"}


def a_row(state: State, **dates: Any) -> Row:
    return Row(KEY_ID, state, "external", reason=IDLE, **dates)


def seen(**fields: Any) -> shown.Seen:
    at = shown.Seen(
        key_id=KEY_ID, today=TODAY, key=a_key(), row=None, line={}, line_of=TODAY, plans=PLANS
    )
    return replace(at, **fields)


def texts(view: View) -> list[str]:
    return [block.text for block in view if isinstance(block, Line | Command)]


DISABLED = a_row(State.DISABLED, disabled_on=TODAY - DAY, park_on=TODAY + DAY)
PARKED = a_row(State.PARKED, disabled_on=TODAY - DAY, parked_on=TODAY, purge_on=TODAY + 365 * DAY)


@pytest.mark.parametrize(
    ("fields", "said", "commands"),
    [
        ({}, "It works: enabled, in 1 usage plan.", []),
        (
            {"plans": {}},
            "It is enabled, but in no usage plan: requests with it are answered 403.",
            [],
        ),
        (
            {"row": a_row(State.WARNED, disable_on=TODAY + DAY)},
            f"It works. It was warned and will be disabled on {TODAY + DAY} unless it is used: {IDLE}.",
            [],
        ),
        (
            {"key": a_key(enabled=False), "row": DISABLED},
            f"keyjanitor disabled it on {TODAY - DAY}: {IDLE}. It will be parked (deleted) on {TODAY + DAY}.",
            [f"keyjanitor undo {TODAY - DAY} {KEY_ID}"],
        ),
        ({"key": a_key(enabled=False)}, "It is disabled, but not by keyjanitor", []),
        (
            {"key": None, "row": PARKED},
            (
                f"keyjanitor parked it on {TODAY}, after it was disabled on {TODAY - DAY}: {IDLE}. "
                f"Until {TODAY + 365 * DAY} it can have the same value back"
            ),
            [f"keyjanitor undo {TODAY} {KEY_ID}"],
        ),
        (
            {"key": None, "row": a_row(State.REVOKED, revoked_on=TODAY, revoked_by="AROA1")},
            f"It was revoked on {TODAY} by AROA1, for good",
            [],
        ),
        (
            {"key": None, "row": a_row(State.RESTORED, new_key_id="k2")},
            "It lives on under the id k2.",
            ["keyjanitor key k2"],
        ),
        (
            {"key": None, "row": a_row(State.PURGED, purged_on=TODAY)},
            f"It was purged on {TODAY}",
            [],
        ),
        ({"key": None, "row": a_row(State.GONE)}, "Someone deleted it, not keyjanitor", []),
        ({"key": None}, "API Gateway has no such key", []),
    ],
)
def test_a_key_that_stopped_working_is_answered_in_one_line_with_what_to_type(
    fields: dict[str, Any], said: str, commands: list[str]
) -> None:
    told = texts(shown.view(seen(**fields)))
    assert told[0].startswith(f"{KEY_ID}: {said}")
    assert told[1:] == commands
    document = shown.document(seen(**fields))
    assert document["commands"] == commands
    json.dumps(document)


def test_a_sparkline_has_a_bar_a_day_and_a_dot_where_nothing_is_known() -> None:
    assert shown.sparkline([0, 1, 50, 100, None]) == "▁▂▅█·"
    assert shown.sparkline([None, 0]) == "·▁"
    assert shown.sparkline([1]) == "█"
    assert shown.sparkline([]) == ""


def test_the_busiest_day_has_the_highest_bar_and_a_used_day_never_the_lowest() -> None:
    for most in (1, 7, 8, 1_000_000):
        line = shown.sparkline([0, 1, most])
        assert line[0] == "▁"
        assert line[1] != "▁"
        assert line[2] == "█"


WORDS = "PartnerPortalOfTheCityOfLondon2026"


def test_what_may_be_a_value_is_told_from_ids_and_names() -> None:
    assert shown.may_be_a_value("abcdefghij0123456789abcdefghij0123456789")
    for text in (
        "a1b2c3d4e5",
        "weather-app-in-production-of-the-north",
        "Weather app",
        KEY_ID,
        WORDS,
    ):
        assert not shown.may_be_a_value(text)


def test_events_of_a_key_are_told_once_in_the_order_of_their_times() -> None:
    def line(what: str, at: str, **detail: str) -> str:
        return json.dumps({"detail-type": what, "time": at, "id": at + what, "detail": detail})

    parked = line("Key Parked", "2026-11-21T03:15:00Z", key_id="k1", reason="idle")
    lines = [
        line("Key Restored", "2026-11-22T03:15:00Z", key_id="k2", previous_key_id="k1"),
        parked,
        parked,
        line("Key Parked", "2026-11-21T03:15:00Z", key_id="k10"),
        "no json",
        "[]",
    ]
    assert shown.events_of(lines, frozenset({"k1"})) == [
        shown.Event("2026-11-21T03:15:00Z", "Key Parked", "idle"),
        shown.Event("2026-11-22T03:15:00Z", "Key Restored", ""),
    ]


@pytest.mark.parametrize(
    ("how", "issued", "known_by", "told"),
    [
        (None, True, "issued", "ann"),
        (OwnerFrom.ASSIGNED, False, "assigned", "ann"),
        (OwnerFrom.FOUND, False, "found", "ann (found by a rule)"),
    ],
)
def test_how_the_owner_is_known_is_told(
    how: OwnerFrom | None, issued: bool, known_by: str, told: str
) -> None:
    row = replace(a_row(State.ACTIVE), owner="ann", owner_from=how, issued=issued)
    at = seen(row=row)
    assert (shown.document(at)["owner"], shown.document(at)["owner_from"]) == ("ann", known_by)
    [facts] = [block for block in shown.view(at) if isinstance(block, Facts)]
    assert dict(facts.rows)["Owner"] == Line(told)
    of_the_line = seen(line={"owner": "ann", "owner_from": "found"})
    assert shown.document(of_the_line)["owner_from"] == "found"
    assert shown.document(seen())["owner_from"] is None
