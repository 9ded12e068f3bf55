"""What a row says after something happened to its key: every field, from a row that has them all."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from keyjanitor.domain.expiry.explained import in_words, laid_out
from keyjanitor.domain.expiry.reasons import Ends, Idle
from keyjanitor.domain.expiry.row_reasons import EnabledAgain
from keyjanitor.domain.expiry.sweep_plan import (
    Adopt,
    Belongs,
    Clear,
    Correct,
    Forget,
    Missing,
    Warn,
)
from keyjanitor.domain.expiry.transitions import (
    adopted,
    disabled,
    enabled,
    issued,
    learnt,
    next_step_on,
    noted,
    notice_began,
    parked,
    regretted,
    replaced,
    told_late,
    warned,
)
from keyjanitor.domain.model.keys import State, SweepAction
from keyjanitor.domain.model.policy import MOST_DAYS
from keyjanitor.domain.model.records import Claim, Grant, OwnerFrom, RequestRow, Row, Status
from tests.builders import (
    KEY_ID,
    PLAN_ID,
    TODAY,
    a_key,
    a_policy,
    a_row,
    a_tier,
    at,
    bound,
    days_ago,
    in_days,
)

IDLE = Idle(days=61, since=days_ago(61), never_used=False)
TIER = a_tier(warn_days=10, grace_days=20, retain_days=300)


def a_full_row(state: State = State.WARNED, **more: Any) -> Row:
    """A row in which every date is a date, and every mark is set."""
    values: dict[str, Any] = {
        "owner": "user-8f1c",
        "issued": True,
        "name": "app",
        "stepped_on": days_ago(20),
        "reason": "idle for 60 days",
        "warned_on": days_ago(20),
        "told_on": days_ago(19),
        "disable_on": days_ago(5),
        "disabled_on": days_ago(4),
        "park_on": in_days(10),
        "expires_on": in_days(100),
        "our_update": at(days_ago(4)),
        "missing_since": days_ago(1),
        "usage_plan_ids": ("plan0",),
        "rotated_to": "k9",
        "failed_on": days_ago(2),
        "claim": Claim(SweepAction.DISABLE, TODAY),
        **more,
    }
    return a_row(KEY_ID, state, **values)


def a_request(status: Status = Status.SEALED, **grant: Any) -> RequestRow:
    values: dict[str, Any] = {
        "sealed_value": "c2VhbGVk",
        "tier": "external",
        "owner": "user-8f1c",
        "name": "app",
        "sender": "AROASENDER",
        "deliver_to": "arn:aws:iam::123456789012:role/portal",
        "usage_plan_ids": (PLAN_ID,),
        "expires_on": in_days(30),
        "key_name": "user-8f1c app",
        **grant,
    }
    return RequestRow("r1", "digest", "AROASENDER", status, grant=Grant(**values))


# --- what the ledger learns -----------------------------------------------------------------------


def test_an_adopted_key_has_its_name_its_tier_and_its_plans_and_nothing_else() -> None:
    note = Adopt(a_key(name="web"), "external", (PLAN_ID,))
    assert learnt(note, {}, TODAY) == Row(
        key_id=KEY_ID,
        state=State.ACTIVE,
        tier="external",
        name="web",
        adopted_on=TODAY,
        usage_plan_ids=(PLAN_ID,),
    )


@pytest.mark.parametrize(("seen", "known"), [(("plan2",), ("plan2",)), ((), ("plan0",))])
def test_a_key_of_an_unanswered_request_is_adopted_with_all_that_it_was_granted(
    seen: tuple[str, ...], known: tuple[str, ...]
) -> None:
    row = a_full_row(State.ACTIVE)
    note = Adopt(a_key(), "external", seen, row)
    assert adopted(note, TODAY) == replace(row, adopted_on=TODAY, usage_plan_ids=known)


def test_the_row_of_a_key_that_was_made_for_a_request_says_what_was_granted() -> None:
    assert issued(a_key(name="user-8f1c app"), a_request()) == Row(
        key_id=KEY_ID,
        state=State.ACTIVE,
        tier="external",
        owner="user-8f1c",
        name="app",
        issued=True,
        expires_on=in_days(30),
        usage_plan_ids=(PLAN_ID,),
        sender="AROASENDER",
        deliver_to="arn:aws:iam::123456789012:role/portal",
        request_ids=("r1",),
    )


def test_no_row_is_made_from_a_request_that_is_over_or_granted_no_such_key() -> None:
    key = a_key(name="user-8f1c app")
    assert issued(key, a_request(Status.REFUSED)) is None
    assert issued(key, a_request(key_name="user-8f1c other")) is None
    assert issued(key, replace(a_request(), grant=None)) is None


def test_a_cleared_key_keeps_none_of_its_dates() -> None:
    row = a_full_row()
    assert noted(Clear(row, State.ACTIVE), row, TODAY) == replace(
        row,
        state=State.ACTIVE,
        warned_on=None,
        told_on=None,
        disable_on=None,
        disabled_on=None,
        park_on=None,
        failed_on=None,
        **in_words(""),
    )


def test_a_cleared_key_that_stays_disabled_keeps_the_date_of_its_disabling() -> None:
    row = a_full_row(State.DISABLED)
    after = noted(Clear(row, State.DISABLED), row, TODAY)
    assert (after.state, after.disabled_on, after.park_on) == (State.DISABLED, days_ago(4), None)


def test_who_enables_a_key_in_the_second_of_its_disabling_has_changed_it() -> None:
    row = a_full_row(State.DISABLED)
    enabled_again = noted(Clear(row, State.ACTIVE), row, TODAY)
    assert (enabled_again.state, enabled_again.our_update) == (State.ACTIVE, None)
    assert noted(Clear(row, State.DISABLED), row, TODAY).our_update == row.our_update


def test_a_corrected_key_is_missing_no_more_and_one_that_was_issued_keeps_its_tier() -> None:
    row = a_full_row(issued=False)
    assert noted(Correct(row, "internal"), row, TODAY) == replace(
        row, tier="internal", missing_since=None
    )
    row = a_full_row(issued=True)
    assert noted(Correct(row, "internal"), row, TODAY) == replace(row, missing_since=None)


def test_a_missing_key_is_noted_and_a_forgotten_one_is_gone() -> None:
    row = a_full_row(missing_since=None)
    assert noted(Missing(row), row, TODAY) == replace(row, missing_since=TODAY)
    assert noted(Forget(row), row, TODAY) == replace(row, state=State.GONE)


def test_a_note_is_about_the_row_as_it_is_by_now() -> None:
    row, by_now = a_full_row(), a_full_row(owner="user-2")
    after = learnt(Missing(row), {KEY_ID: by_now}, TODAY)
    assert after == replace(by_now, missing_since=TODAY)
    assert learnt(Missing(row), {}, TODAY) == replace(row, missing_since=TODAY)


# --- steps ----------------------------------------------------------------------------------------


def a_warning(row: Row, *, key_enabled: bool = True) -> Warn:
    key = a_key(name="web", enabled=key_enabled)
    return Warn(key, row, TIER, IDLE, 61, in_days(10), usage_plan_ids=(PLAN_ID,))


def test_a_warned_key_has_the_date_of_its_disabling_and_of_nothing_else() -> None:
    row = a_full_row(State.ACTIVE)
    assert warned(a_warning(row), row, TODAY) == replace(
        row,
        state=State.WARNED,
        warned_on=TODAY,
        told_on=None,
        disable_on=in_days(10),
        park_on=None,
        stepped_on=TODAY,
        **laid_out(IDLE),
        usage_plan_ids=(PLAN_ID,),
    )


def test_a_key_that_is_warned_while_it_is_disabled_has_the_date_of_its_parking() -> None:
    row = a_full_row(State.DISABLED)
    after = warned(a_warning(row, key_enabled=False), row, TODAY)
    assert (after.state, after.disable_on, after.park_on) == (State.DISABLED, None, in_days(10))


def test_a_warning_notes_the_name_of_a_key_unless_a_request_named_it() -> None:
    assert warned(a_warning(row := a_full_row(issued=False)), row, TODAY).name == "web"
    assert warned(a_warning(row := a_full_row(issued=True)), row, TODAY).name == "app"


def test_a_disabled_key_is_parked_after_the_grace_of_its_tier() -> None:
    key = a_key(enabled=False, last_updated_date=at(TODAY, 3))
    row = a_full_row()
    after = disabled(row, TODAY, bound(a_policy(TIER)), key)
    assert after == replace(
        row,
        state=State.DISABLED,
        disabled_on=TODAY,
        told_on=None,
        disable_on=None,
        park_on=in_days(20),
        stepped_on=TODAY,
        our_update=at(TODAY, 3),
        failed_on=None,
        claim=None,
    )
    assert disabled(replace(row, tier="lost"), TODAY, bound(), key).park_on is None


def test_a_parked_key_is_purged_once_its_tier_has_retained_it() -> None:
    row = a_full_row(State.DISABLED)
    after = parked(row, TODAY, bound(a_policy(TIER)))
    assert after == replace(
        row,
        state=State.PARKED,
        told_on=None,
        park_on=None,
        parked_on=TODAY,
        purge_on=in_days(300),
        stepped_on=TODAY,
        failed_on=None,
        claim=None,
    )
    lost = parked(replace(row, tier="lost"), TODAY, bound())
    assert lost.purge_on == in_days(MOST_DAYS)


def test_an_enabled_key_has_no_dates_no_end_and_a_clock_that_begins_today() -> None:
    key = a_key(last_updated_date=at(TODAY, 3))
    row = a_full_row(State.DISABLED)
    assert enabled(row, TODAY, key) == replace(
        row,
        state=State.ACTIVE,
        warned_on=None,
        told_on=None,
        disable_on=None,
        disabled_on=None,
        park_on=None,
        expires_on=None,
        rotated_to=None,
        **laid_out(EnabledAgain()),
        restored_on=TODAY,
        regretted_on=TODAY,
        was_parked_on=None,
        our_update=at(TODAY, 3),
        failed_on=None,
        claim=None,
    )


def test_a_key_that_was_disabled_and_enabled_on_one_date_counts_in_its_allowance() -> None:
    row = a_full_row(State.DISABLED, disabled_on=TODAY)
    assert enabled(row, TODAY, a_key()).disabled_on == TODAY


# --- a rotation -----------------------------------------------------------------------------------


def test_a_replaced_key_whose_end_is_near_is_announced_with_its_end() -> None:
    row = a_full_row(State.ACTIVE)
    assert replaced(row, "k2", in_days(10), TODAY, warn_days=10) == replace(
        row,
        state=State.WARNED,
        expires_on=in_days(10),
        rotated_to="k2",
        warned_on=TODAY,
        disable_on=in_days(10),
        **laid_out(Ends(in_days(10))),
    )


def test_a_replaced_key_whose_end_is_far_has_no_dates_but_that() -> None:
    row = a_full_row()
    assert replaced(row, "k2", in_days(11), TODAY, warn_days=10) == replace(
        row,
        state=State.ACTIVE,
        expires_on=in_days(11),
        rotated_to="k2",
        warned_on=None,
        disable_on=None,
        **in_words(""),
    )


def test_a_replaced_key_that_is_disabled_stays_so_with_its_dates() -> None:
    row = a_full_row(State.DISABLED)
    after = replaced(row, "k2", in_days(10), TODAY, warn_days=10)
    assert after == replace(row, expires_on=in_days(10), rotated_to="k2")


# --- notice ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "began", "on"),
    [
        (State.WARNED, days_ago(19), days_ago(5)),
        (State.DISABLED, days_ago(4), in_days(10)),
        (State.ACTIVE, None, days_ago(5)),
        (State.PURGED, None, days_ago(5)),
    ],
)
def test_notice_of_a_next_step_begins_with_the_last_that_was_said_of_it(
    state: State, began: date | None, on: date | None
) -> None:
    row = a_full_row(state)
    assert notice_began(row) == began
    assert next_step_on(row) == on


def test_how_long_a_parked_key_is_restorable_counts_from_the_day_on_which_it_was_told() -> None:
    row = a_full_row(State.PARKED, told_on=None, parked_on=days_ago(3), purge_on=in_days(4))
    assert (notice_began(row), next_step_on(row)) == (days_ago(3), in_days(4))
    late = told_late(row, TODAY)
    assert late == replace(row, told_on=TODAY, purge_on=in_days(7))
    assert told_late(late, TODAY) == late
    assert told_late(row, days_ago(3)) == row


def test_notice_of_a_purge_begins_with_the_parking_or_with_its_late_telling() -> None:
    row = a_full_row(State.PARKED, parked_on=days_ago(4), told_on=None, purge_on=in_days(90))
    assert (notice_began(row), next_step_on(row)) == (days_ago(4), in_days(90))
    told = replace(row, told_on=days_ago(3))
    assert notice_began(told) == days_ago(3)
    assert notice_began(replace(row, parked_on=None)) is None
    assert told_late(row, TODAY) == replace(row, told_on=TODAY, purge_on=in_days(94))


def test_no_notice_begins_without_a_date() -> None:
    row = a_row(KEY_ID, State.WARNED)
    assert notice_began(row) is None
    assert told_late(row, TODAY) == row
    assert told_late(replace(row, warned_on=days_ago(3)), TODAY).disable_on is None
    assert told_late(replace(row, disable_on=in_days(3)), TODAY).disable_on == in_days(3)


def test_a_step_that_was_told_late_comes_after_as_much_notice_as_was_said() -> None:
    row = a_full_row(expires_on=None, told_on=None, disable_on=days_ago(6))
    assert told_late(row, TODAY) == replace(row, told_on=TODAY, disable_on=in_days(14))
    row = a_full_row(State.DISABLED, told_on=None, park_on=in_days(10))
    assert told_late(row, TODAY) == replace(row, told_on=TODAY, park_on=in_days(14))


def test_what_was_told_today_or_agreed_on_does_not_move() -> None:
    told = a_full_row(expires_on=None, told_on=TODAY)
    assert told_late(told, TODAY) == told
    warned_today = a_full_row(
        expires_on=None, warned_on=TODAY, told_on=None, disable_on=in_days(14)
    )
    assert told_late(warned_today, TODAY) == warned_today
    agreed = a_full_row(expires_on=in_days(2), told_on=None, disable_on=in_days(2))
    assert told_late(agreed, TODAY) == agreed
    # An end that was agreed on says nothing of the parking after it.
    after_it = a_full_row(State.DISABLED, told_on=None, expires_on=days_ago(4))
    assert told_late(after_it, TODAY) == replace(after_it, told_on=TODAY, park_on=in_days(14))


# --- what was taken too soon ----------------------------------------------------------------------


@pytest.mark.parametrize(("days", "too_soon"), [(0, True), (30, True), (31, False)])
def test_a_key_that_comes_back_within_30_days_was_taken_too_soon(days: int, too_soon: bool) -> None:
    row = a_row(KEY_ID, State.PARKED, parked_on=days_ago(days), disabled_on=days_ago(days + 14))
    after = replace(row, regretted_on=TODAY, was_parked_on=days_ago(days))
    assert regretted(row, TODAY) == (after if too_soon else row)


def test_a_key_that_was_only_disabled_may_have_been_disabled_too_soon() -> None:
    row = a_row(KEY_ID, State.DISABLED, disabled_on=TODAY - timedelta(days=30))
    assert regretted(row, TODAY) == replace(row, regretted_on=TODAY, was_parked_on=None)
    assert regretted(a_row(), TODAY) == a_row()


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (a_row(name="old"), "name of k0"),
        (a_row(name="old", owner="u", owner_from=OwnerFrom.FOUND), "name of k0"),
        (a_row(name="app", owner="u", owner_from=OwnerFrom.ASSIGNED), "app"),
        (a_row(name="app", owner="u", issued=True), "app"),
    ],
)
def test_a_warned_key_keeps_the_name_that_a_request_gave_it(row: Row, name: str) -> None:
    step = Warn(a_key(), row, TIER, IDLE, 61, in_days(10))
    assert warned(step, row, TODAY).name == name


def test_an_adopted_key_has_the_owner_that_a_rule_found_and_an_issued_one_its_own() -> None:
    found = adopted(Adopt(a_key(), "external", (PLAN_ID,), None, "ann"), TODAY)
    assert (found.owner, found.owner_from) == ("ann", OwnerFrom.FOUND)
    assert adopted(Adopt(a_key(), "external", (PLAN_ID,)), TODAY).owner_from is None
    row = a_row(owner="bob")
    assert noted(Belongs(row, "ann"), row, TODAY) == replace(
        row, owner="ann", owner_from=OwnerFrom.FOUND
    )
