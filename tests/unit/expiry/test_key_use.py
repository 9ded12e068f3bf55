"""Since when a key is idle, and what keeps anybody from knowing it, one sign at a time."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from keyjanitor.domain.expiry import reasons
from keyjanitor.domain.expiry.key_use import KeyUse, outage, plan_doubt
from keyjanitor.domain.model.keys import ANSWER_MAY_DIFFER, ApiKey
from keyjanitor.domain.model.records import Row
from keyjanitor.domain.usage.access_logs import SeenInLogs, StageLog
from keyjanitor.domain.usage.evidence import Evidence
from tests.builders import (
    DAY,
    KEY_ID,
    PLAN_ID,
    STAGE,
    TODAY,
    YESTERDAY,
    a_disabled_row,
    a_key,
    a_policy,
    a_reading,
    a_row,
    an_evidence,
    at,
    bound,
    days_ago,
)

MADE = days_ago(400)


def use(evidence: Evidence, *keys: ApiKey, **policy: Any) -> KeyUse:
    return KeyUse(evidence, bound(a_policy(**policy), evidence), keys)


def since(row: Row | None = None, key: ApiKey | None = None, **evidence: Any) -> date:
    key = key or a_key()
    if row is not None and row.our_update is None:
        row = replace(row, our_update=key.last_updated_date)
    return use(an_evidence(**{"first_day": days_ago(500), **evidence}), key).idle_since(key, row)


# --- the clock ------------------------------------------------------------------------------------


def test_a_key_without_a_sign_of_life_is_idle_since_it_was_made() -> None:
    assert since() == since(a_row()) == MADE
    assert since(first_day=days_ago(300)) == days_ago(300)


@pytest.mark.parametrize(
    ("row", "used", "expected"),
    [
        (None, days_ago(9), days_ago(9)),
        (a_row(), days_ago(9), days_ago(9)),
        (a_row(last_used=days_ago(7)), days_ago(9), days_ago(7)),
        (a_row(last_used=days_ago(11)), days_ago(9), days_ago(9)),
        (a_row(last_used=days_ago(7)), None, days_ago(7)),
        (a_row(last_used=days_ago(450)), None, MADE),
    ],
)
def test_a_use_counts_whoever_remembers_it(
    row: Row | None, used: date | None, expected: date
) -> None:
    assert since(row, used={KEY_ID: used} if used else None) == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"renewed_on": days_ago(5)}, days_ago(5)),
        ({"restored_on": days_ago(4)}, days_ago(4)),
        ({"renewed_on": days_ago(5), "restored_on": days_ago(6)}, days_ago(5)),
        ({"renewed_on": days_ago(401), "restored_on": days_ago(402)}, MADE),
    ],
)
def test_a_renewal_and_a_restore_are_signs_of_life(more: dict[str, Any], expected: date) -> None:
    assert since(a_row(**more)) == expected


def test_a_change_by_others_is_a_sign_of_life_and_our_own_is_none() -> None:
    key = a_key(changed=8)
    assert since(None, key) == days_ago(8)
    assert since(a_row(our_update=at(days_ago(8)) - ANSWER_MAY_DIFFER), key) == MADE
    before = at(days_ago(8)) - ANSWER_MAY_DIFFER - timedelta(seconds=1)
    assert since(a_row(our_update=before), key) == days_ago(8)


def test_a_key_that_was_enabled_again_was_changed_whoever_did_it() -> None:
    row = a_disabled_row(disabled=8, our_update=at(days_ago(8)))
    assert since(row, a_key(changed=8)) == days_ago(8)
    assert since(row, a_key(changed=8, enabled=False)) == MADE


@pytest.mark.parametrize(
    ("changed", "age", "expected"),
    [
        (days_ago(30), 400, days_ago(30)),
        (days_ago(30), 32, days_ago(30)),
        (days_ago(30), 31, days_ago(31)),  # it is new in its plans, which is no change
        (days_ago(30), 20, days_ago(20)),
    ],
)
def test_a_move_between_plans_is_a_sign_of_life(changed: date, age: int, expected: date) -> None:
    key = a_key(age=age)
    assert since(a_row(), key, plans_changed={KEY_ID: changed}) == expected


@pytest.mark.parametrize(
    ("adopted", "expected"),
    [(days_ago(31), days_ago(30)), (days_ago(30), MADE), (days_ago(9), MADE), (None, MADE)],
)
def test_a_first_plan_is_a_change_only_of_a_key_that_was_known_before_to_be_in_none(
    adopted: date | None, expected: date
) -> None:
    assert since(a_row(adopted_on=adopted), first_in_plan_on={KEY_ID: days_ago(30)}) == expected
    assert since(None, first_in_plan_on={KEY_ID: days_ago(30)}) == MADE
    both: dict[str, Any] = {
        "first_in_plan_on": {KEY_ID: days_ago(30)},
        "plans_changed": {KEY_ID: days_ago(60)},
    }
    assert since(a_row(adopted_on=adopted), **both) == days_ago(60)


def test_a_gap_in_the_readings_of_one_of_its_plans_restarts_the_clock() -> None:
    evidence = an_evidence(
        a_reading(KEY_ID),
        a_reading(KEY_ID, usage_plan_id="plan2"),
        a_reading(KEY_ID, usage_plan_id="shut", stages=()),
        first_day=days_ago(500),
        first_days={"plan2": days_ago(50), "shut": TODAY, "other": TODAY},
    )
    known = use(evidence, a_key())
    assert known.first_day((PLAN_ID,)) == days_ago(500)
    assert known.first_day((PLAN_ID, "plan2")) == days_ago(50)
    assert known.first_day(("shut",)) == days_ago(500)  # no day of it is known at all
    assert known.idle_since(a_key(), a_row(our_update=at(MADE))) == days_ago(50)
    assert known.plans_of(KEY_ID) == (PLAN_ID, "plan2", "shut")
    assert known.plans_of("another") == ()


# --- what is not known ----------------------------------------------------------------------------


def doubt(
    key: ApiKey | None = None, plans: tuple[str, ...] = (PLAN_ID,), **evidence: Any
) -> reasons.Unknown | None:
    key = key or a_key()
    return use(an_evidence(**evidence), key).unknown(key, plans)


def test_a_key_of_a_plan_that_was_read_and_is_witnessed_is_known() -> None:
    assert doubt() is None
    assert doubt(plans=()) is None


def test_the_tags_and_the_stages_of_a_key_have_to_be_known() -> None:
    assert doubt(a_key(tags=None)) == reasons.TagsUnread()
    assert doubt(a_key(stage_keys=("api1:prod",))) == reasons.StageKeys()


def test_days_that_do_not_fit_and_a_use_that_is_told_no_more_leave_a_key_unknown() -> None:
    assert doubt(unclear={KEY_ID: PLAN_ID}) == reasons.DaysUnclear(PLAN_ID)
    assert doubt(untold={KEY_ID: days_ago(9)}) == reasons.UseUntold(days_ago(9))
    assert doubt(unclear={"k9": PLAN_ID}, untold={"k9": days_ago(9)}) is None


def unread_in(*plans: str, key_plans: tuple[str, ...]) -> reasons.Unknown | None:
    readings = [a_reading(usage_plan_id=plan, unread="refused") for plan in plans]
    evidence = an_evidence(a_reading(KEY_ID), *readings)
    return use(evidence, a_key()).unknown(a_key(), key_plans)


def test_an_unread_plan_hides_the_use_of_its_keys_and_of_those_that_are_in_none() -> None:
    assert unread_in("p9", key_plans=(PLAN_ID,)) is None
    assert unread_in("p9", key_plans=(PLAN_ID, "p9")) == reasons.UsageUnread("p9")
    assert unread_in("p9", "p8", key_plans=()) == reasons.UseByDayUnread("p8", 2)


def test_a_plan_that_opens_no_stage_is_named_before_all_else() -> None:
    shut = a_reading(KEY_ID, usage_plan_id="shut", stages=())
    unread = a_reading(usage_plan_id="p0", members_read=False)
    evidence = an_evidence(a_reading(KEY_ID), shut, unread)
    key = a_key(tags=None)
    assert use(evidence, key).unknown(key, (PLAN_ID, "shut")) == reasons.OpensNoStage("shut")
    assert use(evidence, key).unknown(key, (PLAN_ID,)) == reasons.MembersUnread("p0")


def test_a_plan_without_a_witness_hides_the_use_of_its_keys_unless_the_policy_believes_it() -> None:
    evidence = an_evidence(witnessed_plans=())
    assert use(evidence, a_key()).unknown(a_key(), (PLAN_ID,)) == reasons.Unwitnessed(PLAN_ID)
    assert use(evidence, a_key(), silent_plans=("external",)).unknown(a_key(), (PLAN_ID,)) is None
    assert plan_doubt(PLAN_ID, an_evidence(), bound()) is None


def logged(since: int = 70, **more: Any) -> SeenInLogs:
    """Access logs of the plan's one stage, read whole since so many days ago."""
    chain = {"since": at(days_ago(since)), "through": at(TODAY), "witnessed": True, **more}
    return SeenInLogs(stages={STAGE: StageLog(STAGE, **chain)}, through=at(TODAY))


@pytest.mark.life("K-411")
def test_a_silent_plan_is_known_while_all_of_its_stages_log() -> None:
    evidence = an_evidence(witnessed_plans=(), seen_in_logs=logged())
    assert use(evidence, a_key()).unknown(a_key(), (PLAN_ID,)) is None
    two = a_reading(KEY_ID, stages=(STAGE, "api2:prod"))
    half = an_evidence(two, witnessed_plans=(), seen_in_logs=logged())
    assert use(half, a_key()).unknown(a_key(), (PLAN_ID,)) == reasons.Unwitnessed(PLAN_ID)


@pytest.mark.life("K-411")
@pytest.mark.parametrize(
    "doubt",
    [
        {"witnessed": False},
        {"problem": "throttled"},
        {"since": None},
        {"through": at(YESTERDAY)},
        {"through": None},
    ],
)
def test_a_silent_plan_is_unknown_in_every_doubt_about_its_logs(doubt: dict[str, Any]) -> None:
    seen = logged()
    seen = replace(seen, stages={STAGE: replace(seen.stages[STAGE], **doubt)})
    evidence = an_evidence(witnessed_plans=(), seen_in_logs=seen)
    assert use(evidence, a_key()).unknown(a_key(), (PLAN_ID,)) == reasons.Unwitnessed(PLAN_ID)


@pytest.mark.life("K-309")
def test_the_clock_of_a_silent_plans_keys_begins_when_its_logs_became_whole() -> None:
    silent = an_evidence(witnessed_plans=(), seen_in_logs=logged(30))
    assert use(silent, a_key()).idle_since(a_key(), None) == days_ago(29)
    # Usage goes further back, where it shows requests at all.
    metered = an_evidence(used={KEY_ID: days_ago(60)}, seen_in_logs=logged(30))
    assert use(metered, a_key()).idle_since(a_key(), None) == days_ago(60)
    believed = use(silent, a_key(), silent_plans=("external",))
    assert believed.idle_since(a_key(), None) == a_key().created_date.date()


@pytest.mark.life("K-410")
@pytest.mark.parametrize(
    ("metered", "in_log", "last"), [(None, 5, 5), (5, None, 5), (5, 9, 5), (9, 5, 5)]
)
def test_use_counts_from_either_witness(metered: int | None, in_log: int | None, last: int) -> None:
    evidence = an_evidence(
        used={} if metered is None else {KEY_ID: days_ago(metered)},
        seen_in_logs=SeenInLogs(last_used={} if in_log is None else {KEY_ID: days_ago(in_log)}),
    )
    known = use(evidence, a_key())
    assert known.last_used(a_key(), None) == days_ago(last)
    assert known.idle_since(a_key(), None) == days_ago(last)


# --- nights on which nobody moves -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("emptied", "listed", "moves"),
    [(True, ("k9",), True), (True, ("k1",), False), (False, ("k9",), False)],
)
def test_a_plan_lost_its_members_if_none_of_its_keys_is_left(
    emptied: bool, listed: tuple[str, ...], moves: bool
) -> None:
    lost = a_reading("k1", "k2", usage_plan_id="lost", members_read=False, emptied=emptied)
    known = use(an_evidence(a_reading(KEY_ID), lost), *map(a_key, listed))
    assert known.all_kept == (None if moves else reasons.MembersUnread("lost"))


def on(days: dict[int, int], usual: int = 1_000) -> reasons.Outage | None:
    """An outage in an account of so many requests a day, but for some days so long ago."""
    traffic = {days_ago(back): days.get(back, usual) for back in range(91)}
    return outage(an_evidence(used_by_day=traffic))


def test_a_day_under_a_tenth_of_the_usual_is_an_outage_and_one_of_a_tenth_is_none() -> None:
    assert on({2: 99}) == reasons.Outage(days_ago(2), 99, 1_000)
    assert on({2: 100}) is None
    assert on({}) is None


def test_a_day_that_the_reading_does_not_name_had_no_requests() -> None:
    traffic = {days_ago(back): 1_000 for back in range(91) if back != 2}
    assert outage(an_evidence(used_by_day=traffic)) == reasons.Outage(days_ago(2), 0, 1_000)


def test_what_is_usual_is_the_median_of_28_days_and_of_a_weekday_its_last() -> None:
    half = {back: 1_000 if back % 2 else 200 for back in range(3, 31)}
    # With a 29th day more than half of them would be of 200.
    assert on({**half, 2: 59}, usual=200) == reasons.Outage(days_ago(2), 59, 600)
    assert on({**half, 2: 60}, usual=200) is None
    assert on({2: 100, 9: 2_000}) is None
    assert on({2: 99, 9: 980}) is None


def test_only_the_day_before_yesterday_makes_tonight_one_of_an_outage() -> None:
    assert on({1: 0, 0: 0}) is None
    assert on({3: 0}) is None
    assert on({3: 0, 2: 99}) == reasons.Outage(days_ago(2), 99, 1_000)


def test_a_weekday_that_is_always_quiet_begins_no_outage_and_ends_none() -> None:
    quiet = dict.fromkeys(range(2, 91, 7), 0)
    assert on(quiet) is None
    assert on({**quiet, 3: 0}) == reasons.Outage(days_ago(2), 0, 1_000)


def test_the_night_of_an_outage_is_one_on_which_nobody_moves() -> None:
    traffic = {days_ago(back): 0 if back == 2 else 1_000 for back in range(91)}
    evidence = an_evidence(used_by_day=traffic)
    found = reasons.Outage(TODAY - DAY * 2, 0, 1_000)
    assert use(evidence, a_key()).all_kept == found
    assert use(evidence, a_key()).unknown(a_key(), (PLAN_ID,)) == found


def test_the_last_use_is_the_later_of_what_the_readings_and_the_ledger_know() -> None:
    known = use(an_evidence(used={KEY_ID: days_ago(9)}), a_key())
    assert known.last_used(a_key(), None) == days_ago(9)
    assert known.last_used(a_key(), a_row(last_used=YESTERDAY)) == YESTERDAY
    assert known.last_used(a_key(), a_row(last_used=days_ago(10))) == days_ago(9)
    assert known.last_used(a_key("k9"), a_row("k9")) is None
