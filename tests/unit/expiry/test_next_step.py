"""The step that is due to a key past its limit: each answer of the rule, and the dates it writes."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from keyjanitor.domain.expiry import reasons
from keyjanitor.domain.expiry.next_step import next_step
from keyjanitor.domain.expiry.notice import Untold
from keyjanitor.domain.expiry.reasons import Due
from keyjanitor.domain.expiry.sweep_plan import Disable, Park, Warn
from keyjanitor.domain.model.keys import State
from keyjanitor.domain.model.records import Row
from tests.builders import (
    KEY_ID,
    PLAN_ID,
    TODAY,
    YESTERDAY,
    a_disabled_row,
    a_key,
    a_night,
    a_row,
    a_tier,
    a_warned_row,
    days_ago,
    in_days,
)

TIER = a_tier(warn_days=10, grace_days=20, retain_days=300)
SINCE = days_ago(90)
IDLE = reasons.Idle(90, SINCE)
ENDS = reasons.Ends(in_days(3))
KEY = a_key()
DISABLED = a_key(enabled=False)
PLANS = (PLAN_ID,)
USED = days_ago(91)


def step(row: Row | None, due: Due = IDLE, *, since: date = SINCE, **night: Any) -> Any:
    key = DISABLED if row is not None and row.state is State.DISABLED else KEY
    untold = night.pop("untold", {})
    tonight = replace(a_night(key, **night), untold=untold)
    return next_step(tonight, key, row, TIER, PLANS, due, since, USED)


# --- a warning ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        None,
        a_row(),
        a_warned_row(disable_on=None),
        a_warned_row(warned_on=None),
        # Its clock restarted on the day of the warning, or after it.
        a_warned_row(warned_on=SINCE),
        a_warned_row(warned_on=days_ago(91)),
    ],
)
def test_a_key_that_was_not_warned_of_this_is_warned_now(row: Row | None) -> None:
    warn = Warn(KEY, row, TIER, IDLE, 90, in_days(10), PLANS)
    assert step(row) == ("warn", IDLE, warn)


@pytest.mark.parametrize(
    "row",
    [a_disabled_row(park_on=None), a_disabled_row(warned_on=None), a_disabled_row(warned_on=SINCE)],
)
def test_a_disabled_key_is_warned_of_its_parking(row: Row) -> None:
    warn = Warn(DISABLED, row, TIER, IDLE, 90, in_days(20), PLANS)
    assert step(row) == ("warn", IDLE, warn)


@pytest.mark.parametrize(
    ("expires_on", "disable_on"),
    [(in_days(3), in_days(3)), (TODAY, in_days(1)), (SINCE, in_days(1))],
)
def test_an_end_is_announced_with_its_own_date_or_tomorrow(
    expires_on: date, disable_on: date
) -> None:
    due = reasons.Ends(expires_on)
    warn = Warn(KEY, None, TIER, due, 90, disable_on, PLANS)
    assert step(None, due) == ("warn", due, warn)


def test_the_end_of_a_disabled_key_is_announced_with_the_grace_of_its_tier() -> None:
    row = a_disabled_row(park_on=None, expires_on=in_days(3))
    assert step(row, ENDS)[2] == Warn(DISABLED, row, TIER, ENDS, 90, in_days(20), PLANS)


def test_an_orphan_may_be_warned_on_the_first_of_its_nights() -> None:
    orphan = reasons.Orphan(1)
    row = a_warned_row(warned_on=SINCE)
    assert step(row, orphan)[0] == "disable"
    assert step(a_warned_row(warned_on=days_ago(91)), orphan)[0] == "warn"
    assert step(row)[0] == "warn"


def test_an_end_that_is_announced_needs_no_idleness_and_a_disabled_key_no_announcement() -> None:
    row = a_warned_row(expires_on=TODAY, disable_on=TODAY)
    assert step(row, reasons.Ends(TODAY), since=TODAY)[0] == "disable"
    idle = a_warned_row(expires_on=TODAY, disable_on=YESTERDAY)  # announced for idleness
    assert step(idle, reasons.Ends(TODAY))[0] == "warn"
    disabled = a_disabled_row(expires_on=days_ago(14))
    assert step(disabled, reasons.Ends(days_ago(14)), since=TODAY)[0] == "park"


# --- what it waits for ----------------------------------------------------------------------------


@pytest.mark.parametrize("stepped", [TODAY, in_days(1)])
def test_a_key_takes_one_step_a_date(stepped: date) -> None:
    row = a_warned_row(stepped_on=stepped)
    assert step(row) == ("keep", reasons.Stepped("idle"), None)
    assert step(replace(row, stepped_on=YESTERDAY))[0] == "disable"
    assert step(replace(row, stepped_on=None))[0] == "disable"


@pytest.mark.parametrize(
    ("row", "word"),
    [
        (a_warned_row(disable_in=1), "disabled"),
        (a_disabled_row(park_in=1), "parked"),
        # The date of the other step is none of its own.
        (a_warned_row(disable_in=1, park_on=TODAY), "disabled"),
        (a_disabled_row(park_in=1, disable_on=TODAY), "parked"),
    ],
)
def test_no_step_comes_before_its_date(row: Row, word: str) -> None:
    assert step(row) == ("keep", reasons.Waits(word, in_days(1), IDLE), None)


@pytest.mark.parametrize(
    ("row", "earliest"),
    [
        (a_warned_row(warned=14, disable_in=-4), in_days(10)),
        (a_disabled_row(disabled=14, park_in=-4), in_days(10)),
        (a_warned_row(warned=0, disable_in=14, stepped_on=YESTERDAY), in_days(14)),
    ],
)
def test_a_step_that_was_not_told_waits_as_long_as_was_said(row: Row, earliest: date) -> None:
    untold = {KEY_ID: Untold("its event", days_ago(3))}
    because = reasons.NotTold("its event", days_ago(3), earliest, IDLE)
    assert step(row, untold=untold) == ("keep", because, None)
    assert step(row, untold={"another": untold[KEY_ID]})[1] != because


@pytest.mark.parametrize("row", [a_warned_row(), a_disabled_row()])
def test_a_night_of_warnings_only_says_why(row: Row) -> None:
    because = reasons.NotTonight("a hold", IDLE)
    assert step(row, warnings_only="a hold") == ("keep", because, None)
    assert step(None, warnings_only="a hold")[0] == "warn"


def test_nothing_is_parked_while_the_oldest_tombstone_does_not_open() -> None:
    why = "the oldest tombstone could not be opened, so nothing is parked"
    row = a_disabled_row()
    assert step(row, tombstones_open=False) == ("keep", reasons.NotTonight(why, IDLE), None)
    assert step(a_warned_row(), tombstones_open=False)[0] == "disable"


# --- the steps ------------------------------------------------------------------------------------


def test_a_warned_key_whose_date_has_come_is_disabled() -> None:
    row = a_warned_row(disable_in=0)
    assert step(row) == ("disable", IDLE, Disable(KEY, row, TIER, IDLE, 90, in_days(20), PLANS))


def test_a_disabled_key_whose_date_has_come_is_parked() -> None:
    row = a_disabled_row(park_in=0)
    park = Park(DISABLED, row, TIER, IDLE, 90, in_days(300), PLANS, USED)
    assert step(row) == ("park", IDLE, park)


def test_a_key_that_was_enabled_again_is_disabled_before_it_is_parked() -> None:
    row = a_disabled_row(park_in=0, disable_on=None)
    verdict = next_step(a_night(KEY), KEY, row, TIER, PLANS, IDLE, SINCE, USED)
    assert verdict[2] == Warn(KEY, row, TIER, IDLE, 90, in_days(10), PLANS)
