"""The rule of the safety brake, without nights: its thresholds, its causes, what it keeps."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from keyjanitor.domain.expiry.comparison_file import from_document, to_document
from keyjanitor.domain.expiry.reasons import (
    Idle,
    NoContact,
    Orphan,
    OrphanSoon,
    TagsUnread,
    TierNever,
    WithinIdleLimit,
)
from keyjanitor.domain.expiry.safety_brake import (
    Brake,
    Cause,
    CauseCount,
    Compared,
    Comparison,
    Limits,
    Newly,
    Seen,
    Status,
    compare,
)
from keyjanitor.domain.expiry.sweep_plan import SweepPlan, Verdict
from keyjanitor.domain.model.keys import SweepAction
from keyjanitor.domain.model.policy import Policy, Pressure, PressureRule
from keyjanitor.domain.usage.evidence import Evidence
from keyjanitor.errors import UnexpectedAnswer
from tests.builders import (
    CALM,
    DAY,
    KEY_ID,
    PLAN_ID,
    TODAY,
    YESTERDAY,
    a_key,
    a_policy,
    a_tier,
    an_evidence,
    days_ago,
)

ALLOWANCE = 20
LONG_AGO = days_ago(100)
IDLE = Idle(60, days_ago(60))  # as long as the tier allows
LIMITS = Limits(never_used_days=14, idle_days=60, orphan_days=14)


def a_compared(
    status: Status | None = None, *, day: date = YESTERDAY, since: date = LONG_AGO, **more: Any
) -> Compared:
    """The night before, under the policy of most tests; it saw the key so, if `status` says how."""
    values: dict[str, Any] = {
        "service_quota": 10_000,
        "clear_margin": 0.03,
        "rules": (),
        "above": None,
        "factor": 1.0,
        "max_share": 0.05,
        "max_keys": 500,
        "tiers": {"external": LIMITS},
        "keys": {KEY_ID: Seen("external", status, since)} if status else {},
        **more,
    }
    return Compared(day=day, **values)


def keys_on(night: date, count: int, cause: Cause = Cause.USE_STOPPED) -> list[Newly]:
    return [Newly(f"{night}-{cause}-{index}", cause, night, (PLAN_ID,)) for index in range(count)]


def a_comparison(
    found: Iterable[Newly],
    counts: tuple[int, ...] = (),
    *,
    usual: float = 0.0,
    missed: int = 0,
    **more: Any,
) -> Comparison:
    """Tonight, `missed` nights after those of `counts`."""
    before = a_compared(day=YESTERDAY - DAY * missed, counts=counts)
    values: dict[str, Any] = {"before": before, "tonight": a_compared(day=TODAY), **more}
    return Comparison(past=0, found=tuple(found), allowance=ALLOWANCE, usual=usual, **values)


def worst(comparison: Comparison) -> tuple[int, date, bool] | None:
    brake = comparison.brake
    return (brake.worst, brake.on, brake.in_a_week) if brake else None


# --- thresholds -----------------------------------------------------------------------------------


def test_more_than_twice_the_allowance_on_one_night_trips_it() -> None:
    assert a_comparison(keys_on(TODAY, 40)).brake is None
    assert a_comparison(keys_on(TODAY, 41)).brake == Brake(
        new=41,
        worst=41,
        on=TODAY,
        allowance=ALLOWANCE,
        usual=0.0,
        since=YESTERDAY,
        causes=(CauseCount(Cause.USE_STOPPED, 41, ((PLAN_ID, 41),)),),
        in_a_week=False,
    )


def test_three_times_as_many_as_usual_trip_nothing_and_one_more_does() -> None:
    assert worst(a_comparison(keys_on(TODAY, 60), usual=20.0)) is None
    assert worst(a_comparison(keys_on(TODAY, 61), usual=20.0)) == (61, TODAY, False)


def test_more_than_four_allowances_on_the_nights_of_a_week_trip_it() -> None:
    assert worst(a_comparison(keys_on(TODAY, 20), (30, 30))) is None
    assert worst(a_comparison(keys_on(TODAY, 21), (30, 30))) == (81, TODAY, True)


def test_a_week_is_tonight_and_the_six_nights_before_it() -> None:
    assert worst(a_comparison(keys_on(TODAY, 40), (60, 0, 0, 0, 0, 0))) == (100, TODAY, True)
    assert worst(a_comparison(keys_on(TODAY, 40), (60, 0, 0, 0, 0, 0, 0))) is None


def test_nights_that_nobody_swept_are_nights_of_a_week() -> None:
    found = keys_on(TODAY, 40)
    assert worst(a_comparison(found, (60,), missed=5)) == (100, TODAY, True)
    assert worst(a_comparison(found, (60,), missed=6)) is None


def test_of_a_week_only_the_unusual_nights_count() -> None:
    assert worst(a_comparison(keys_on(TODAY, 31), (30, 30, 30), usual=10.0)) is None
    assert worst(a_comparison(keys_on(TODAY, 31), (31, 31, 31), usual=10.0)) == (124, TODAY, True)
    assert worst(a_comparison(keys_on(TODAY, 30), (40, 40, 40), usual=10.0)) is None


def test_a_night_that_was_swept_already_is_held_against_the_rule_by_itself() -> None:
    assert worst(a_comparison(keys_on(YESTERDAY, 41))) == (41, YESTERDAY, False)
    assert worst(a_comparison(keys_on(YESTERDAY, 40), (60, 60))) is None
    # It was counted then: tonight's week has its number of then, and not these.
    found = [*keys_on(YESTERDAY, 30), *keys_on(TODAY, 30)]
    assert worst(a_comparison(found, (50,))) is None
    assert worst(a_comparison(found, (51,))) == (81, TODAY, True)


def test_the_worst_night_is_named() -> None:
    found = [*keys_on(YESTERDAY, 50), *keys_on(TODAY, 45)]
    assert worst(a_comparison(found)) == (50, YESTERDAY, False)
    found = [*keys_on(YESTERDAY, 90), *keys_on(TODAY, 30)]
    assert worst(a_comparison(found, (51,))) == (90, YESTERDAY, False)  # tonight's week has 81
    found = [*keys_on(YESTERDAY, 45), *keys_on(TODAY, 50)]
    assert worst(a_comparison(found)) == (50, TODAY, False)


def test_what_does_not_count_trips_nothing_and_is_among_the_causes() -> None:
    found = keys_on(TODAY, 41, Cause.PRESSURE_RULE) + keys_on(TODAY, 3, Cause.BEFORE_FIRST_READING)
    comparison = a_comparison(found)
    assert (comparison.brake, comparison.new, comparison.counted) == (None, 0, ())
    assert comparison.causes == (
        CauseCount(Cause.PRESSURE_RULE, 41, ((PLAN_ID, 41),)),
        CauseCount(Cause.BEFORE_FIRST_READING, 3, ((PLAN_ID, 3),)),
    )


def test_what_earlier_steps_of_an_edit_brought_counts_tonight() -> None:
    again = tuple(keys_on(TODAY, 30, Cause.LIMIT_LOWERED))
    comparison = a_comparison(keys_on(TODAY, 11, Cause.PLAN_LOST), again=again)
    assert comparison.new == 41
    assert [(one.cause, one.keys) for one in comparison.causes] == [
        (Cause.LIMIT_LOWERED, 30),
        (Cause.PLAN_LOST, 11),
    ]
    assert worst(comparison) == (41, TODAY, False)


def test_causes_of_as_many_keys_come_by_their_names_and_plans_too() -> None:
    found = [
        Newly("k1", Cause.USE_STOPPED, TODAY, ("p2",)),
        Newly("k2", Cause.USE_STOPPED, TODAY, ("p1",)),
        Newly("k3", Cause.NEVER_USED, TODAY, ("p1", "p3")),
        Newly("k4", Cause.NEVER_USED, TODAY, ("p3",)),
    ]
    assert a_comparison(found).causes == (
        CauseCount(Cause.NEVER_USED, 2, (("p3", 2), ("p1", 1))),
        CauseCount(Cause.USE_STOPPED, 2, (("p1", 1), ("p2", 1))),
    )


def test_on_a_first_night_there_is_no_brake_and_nothing_to_accept() -> None:
    first = a_comparison(keys_on(TODAY, 500), before=None)
    assert first.brake is None
    assert first.swept() == first.accepted() == first.tonight
    assert first.accepting({"k1"}) is first


# --- what is kept ---------------------------------------------------------------------------------


def test_a_swept_night_is_kept_with_the_numbers_of_the_nights_since_the_last() -> None:
    found = [
        *keys_on(TODAY, 2, Cause.LIMIT_LOWERED),
        *keys_on(TODAY, 4, Cause.PRESSURE_RULE),
        *keys_on(days_ago(2), 3),
        *keys_on(days_ago(3), 4),  # the night of the last sweep, which has its number
        *keys_on(days_ago(9), 5),
    ]
    comparison = a_comparison(
        found,
        (7, 8),
        missed=2,
        tonight=a_compared(day=TODAY, lowered={"k7": days_ago(3)}, counts=(7, 8)),
        again=tuple(keys_on(TODAY, 6, Cause.LIMIT_LOWERED)),
    )
    lowered = {one.key_id: TODAY for one in found if one.cause is Cause.LIMIT_LOWERED}
    assert comparison.swept() == replace(
        comparison.tonight, counts=(7, 8, 3, 0, 2), lowered={"k7": days_ago(3), **lowered}
    )


def test_the_numbers_of_fourteen_nights_are_kept() -> None:
    counts = tuple(range(1, 15))
    assert a_comparison(keys_on(TODAY, 15), counts).swept().counts == (*counts[1:], 15)
    assert a_comparison(keys_on(TODAY, 15), counts, missed=40).swept().counts == (*[0] * 13, 15)


def test_an_approval_accepts_its_keys_and_forgets_the_numbers_that_are_not_usual() -> None:
    found = keys_on(TODAY, 3, Cause.LIMIT_LOWERED)
    seen = {one.key_id: Seen("external", "past", days_ago(70)) for one in found}
    old = {found[0].key_id: Seen("external", "kept", days_ago(70)), "k9": Seen("x", "kept", TODAY)}
    comparison = a_comparison(
        found,
        usual=10.0,
        before=a_compared(keys=old, counts=(29, 30, 31), lowered={"k8": TODAY}),
        tonight=a_compared(day=TODAY, keys=seen, lowered={"k8": TODAY}, counts=(29, 30, 31)),
        again=tuple(keys_on(TODAY, 6, Cause.LIMIT_LOWERED)),
    )
    assert comparison.before is not None
    accepted = found[0].key_id
    assert comparison.accepting({accepted, "k9"}) == replace(
        comparison,
        found=tuple(found[1:]),
        again=(),
        before=replace(
            comparison.before,
            keys={**old, accepted: seen[accepted]},
            counts=(29, 30),
            lowered={},
        ),
        tonight=replace(comparison.tonight, counts=(29, 30), lowered={}),
    )


def test_after_an_approval_all_of_tonight_is_kept_unless_the_rest_trips_the_brake() -> None:
    rest = a_comparison(keys_on(TODAY, 41))
    assert rest.accepted() == rest.before
    fine = a_comparison(keys_on(TODAY, 40))
    assert fine.accepted() == fine.swept()


# --- why a key is past its limit ------------------------------------------------------------------


def a_past(
    past: Idle | Orphan | None = IDLE,
    *,
    age: int = 300,
    used: int | None = 60,
    key_id: str = KEY_ID,
    **more: Any,
) -> Verdict:
    """The verdict on a key that is past its limit, or, if `past` is None, is not."""
    values: dict[str, Any] = {
        "word": "warn",
        "because": past,
        "usage_plan_ids": (PLAN_ID,),
        "idle_since": past.since if isinstance(past, Idle) else None,
        "last_used": None if used is None else days_ago(used),
        "past": past,
        **more,
    }
    return Verdict(a_key(key_id, age=age), None, values.pop("tier", a_tier()), **values)


def a_night_plan(
    *verdicts: Verdict,
    stepped: Mapping[SweepAction, int] = {},
    pressure: Pressure = CALM,
    **more: Any,
) -> SweepPlan:
    values: dict[str, Any] = {"notes": (), "steps": (), "due": (), "allowance": ALLOWANCE, **more}
    return SweepPlan(TODAY, verdicts, stepped=stepped, pressure=pressure, **values)


def found_in(
    verdict: Verdict,
    before: Compared | None,
    *,
    policy: Policy | None = None,
    evidence: Evidence | None = None,
    pressure: Pressure = CALM,
) -> tuple[Cause, date] | None:
    """The cause of the one key, and the night that it counts for."""
    comparison = compare(
        a_night_plan(verdict, pressure=pressure),
        evidence or an_evidence(),
        policy or a_policy(),
        [],
        before,
    )
    if not comparison.found:
        return None
    (one,) = comparison.found
    assert (one.key_id, one.usage_plan_ids) == (KEY_ID, verdict.usage_plan_ids)
    return one.cause, one.on


def test_a_key_that_was_past_its_limit_before_is_not_new() -> None:
    assert found_in(a_past(), a_compared("past")) is None


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        ("exempt", Cause.LIMIT_LOWERED),
        ("protected", Cause.PROTECTION_ENDED),
        ("unknown", Cause.NOT_KNOWN_BEFORE),
    ],
)
def test_a_key_that_could_not_be_past_its_limit_before_counts_tonight(
    status: Status, cause: Cause
) -> None:
    verdict = a_past(Idle(200, days_ago(200)), used=200)
    assert found_in(verdict, a_compared(status, since=days_ago(200))) == (cause, TODAY)


def test_a_key_whose_use_stopped_counts_for_the_night_on_which_it_passed_its_limit() -> None:
    for days, night in ((60, TODAY), (61, TODAY), (62, TODAY)):
        verdict = a_past(Idle(days, days_ago(days)), used=days)
        before = a_compared("kept", day=days_ago(2), since=days_ago(days))
        expected = max(days_ago(days) + DAY * 60, YESTERDAY) if days < 62 else night
        assert found_in(verdict, before) == (Cause.USE_STOPPED, expected)


def test_a_key_that_was_never_used_says_so_and_counts_from_its_making() -> None:
    verdict = a_past(Idle(14, days_ago(14), never_used=True), age=14, used=None)
    assert found_in(verdict, a_compared("kept", since=days_ago(14))) == (Cause.NEVER_USED, TODAY)


def test_a_clock_that_restarted_counts_for_the_night_on_which_use_alone_would_have_passed() -> None:
    verdict = a_past(Idle(60, days_ago(60)), used=90)
    assert found_in(verdict, a_compared("kept")) == (Cause.USE_STOPPED, days_ago(30))
    # Of a key that nobody saw before, no clock can have restarted.
    assert found_in(verdict, a_compared()) == (Cause.USE_STOPPED, TODAY)


def test_no_key_counts_for_a_night_to_come() -> None:
    verdict = a_past(Idle(60, days_ago(60)), used=30)
    assert found_in(verdict, a_compared("kept")) == (Cause.USE_STOPPED, TODAY)


def test_a_clock_that_says_less_than_it_said_before_is_a_reading_that_changed() -> None:
    verdict = a_past()
    changed = (Cause.READING_CHANGED, TODAY)
    assert found_in(verdict, a_compared("kept", since=days_ago(59))) == changed
    assert found_in(verdict, a_compared("kept", since=days_ago(60))) == (Cause.USE_STOPPED, TODAY)


@pytest.mark.parametrize(("age", "before_it"), [(101, True), (100, True), (99, False)])
def test_a_key_from_before_the_first_reading_that_was_never_seen_in_use_does_not_count(
    age: int, before_it: bool
) -> None:
    evidence = an_evidence(first_day=days_ago(100))
    verdict = a_past(age=age, used=None)
    found = found_in(verdict, a_compared("kept"), evidence=evidence)
    assert found is not None
    assert (found[0] is Cause.BEFORE_FIRST_READING) is before_it
    new = found_in(verdict, a_compared(), evidence=evidence)
    assert new is not None
    assert new[0] is Cause.USE_STOPPED
    used = found_in(a_past(age=age, used=60), a_compared("kept"), evidence=evidence)
    assert used == (Cause.USE_STOPPED, TODAY)


def test_a_limit_that_was_lowered_under_a_keys_idle_days_says_so() -> None:
    verdict = a_past(Idle(60, days_ago(60)))
    lowered = (Cause.LIMIT_LOWERED, TODAY)
    before = a_compared("kept", tiers={"external": replace(LIMITS, idle_days=61)})
    assert found_in(verdict, before) == lowered
    before = a_compared("kept", tiers={"external": replace(LIMITS, idle_days="never")})
    assert found_in(verdict, before) == lowered
    before = a_compared("kept", tiers={"external": LIMITS})
    assert found_in(verdict, before) == (Cause.USE_STOPPED, TODAY)
    # A tier that was not there has tonight's limits.
    before = a_compared("kept", tiers={})
    assert found_in(verdict, before) == (Cause.USE_STOPPED, TODAY)


def test_a_limit_of_keys_never_used_that_was_lowered_says_so() -> None:
    verdict = a_past(Idle(14, days_ago(14), never_used=True), age=14, used=None)
    before = a_compared("kept", tiers={"external": replace(LIMITS, never_used_days=15)})
    assert found_in(verdict, before) == (Cause.LIMIT_LOWERED, TODAY)


def test_a_limit_of_orphans_that_was_lowered_says_so() -> None:
    verdict = a_past(Orphan(14), age=14, used=None)
    before = a_compared("kept", tiers={"external": replace(LIMITS, orphan_days=15)})
    assert found_in(verdict, before) == (Cause.LIMIT_LOWERED, TODAY)
    assert found_in(verdict, a_compared("kept")) == (Cause.PLAN_LOST, TODAY)


def test_a_lost_plan_counts_for_the_night_on_which_its_key_was_an_orphan_for_long_enough() -> None:
    left = an_evidence(left_plans_on={KEY_ID: days_ago(20)})
    verdict = a_past(Orphan(20), used=None)
    assert found_in(verdict, a_compared("kept"), evidence=left) == (Cause.PLAN_LOST, days_ago(6))
    # Who was not seen before should have been past its limit then: it counts tonight.
    assert found_in(verdict, a_compared(), evidence=left) == (Cause.PLAN_LOST, TODAY)


@pytest.mark.parametrize(("age", "before_it"), [(101, True), (100, True), (99, False)])
def test_a_key_that_was_in_no_plan_when_the_first_reading_came_has_lost_none(
    age: int, before_it: bool
) -> None:
    evidence = an_evidence(first_day=days_ago(100))
    verdict = a_past(Orphan(20), age=age, used=None)
    found = found_in(verdict, a_compared("kept"), evidence=evidence)
    assert found is not None
    assert (found[0] is Cause.BEFORE_FIRST_READING) is before_it
    new = found_in(verdict, a_compared(), evidence=evidence)
    assert new == (Cause.PLAN_LOST, TODAY)
    left = an_evidence(first_day=days_ago(100), left_plans_on={KEY_ID: days_ago(20)})
    known = found_in(verdict, a_compared("kept"), evidence=left)
    assert known is not None
    assert known[0] is Cause.PLAN_LOST


# --- pressure -------------------------------------------------------------------------------------

RULE = PressureRule(above=0.5, idle_factor=0.5, freeze=())
FULL = Pressure(used=1.0, idle_factor=0.5, above=0.5)


@pytest.mark.parametrize(
    ("days", "rules", "cause"),
    [
        (35, ((0.5, 0.5),), Cause.PRESSURE_RULE),  # the rule has come to stand
        (59, ((0.5, 0.5),), Cause.PRESSURE_RULE),
        (60, ((0.5, 0.5),), Cause.USE_STOPPED),  # past its limit without it
        (40, ((0.5, 0.8),), Cause.LIMIT_LOWERED),  # the rule was edited
        (40, (), Cause.LIMIT_LOWERED),
        (48, ((0.5, 0.8),), Cause.PRESSURE_RULE),
    ],
)
def test_a_pressure_rule_that_comes_into_force_is_told_from_one_that_was_edited(
    days: int, rules: tuple[tuple[float, float], ...], cause: Cause
) -> None:
    policy = replace(a_policy(pressure=(RULE,)), service_quota=1)
    before = a_compared("kept", service_quota=1, rules=rules)
    verdict = a_past(Idle(days, days_ago(days)), used=days)
    found = found_in(verdict, before, policy=policy, pressure=FULL)
    assert found == (cause, TODAY)


def test_a_service_quota_that_was_edited_down_to_reach_a_pressure_rule_is_an_edit() -> None:
    policy = replace(a_policy(pressure=(RULE,)), service_quota=1)
    before = a_compared("kept", rules=((0.5, 0.5),), service_quota=10_000)
    verdict = a_past(Idle(40, days_ago(40)), used=40)
    found = found_in(verdict, before, policy=policy, pressure=FULL)
    assert found == (Cause.LIMIT_LOWERED, TODAY)


def test_a_margin_that_was_edited_to_keep_a_pressure_rule_is_an_edit() -> None:
    # One key of two slots is half of them: the rule above 0.52 stands only by its margin.
    rule = PressureRule(above=0.52, idle_factor=0.5, freeze=())
    policy = replace(a_policy(pressure=(rule,)), service_quota=2)
    values: dict[str, Any] = {"service_quota": 2, "rules": ((0.52, 0.5),), "above": 0.52}
    verdict = a_past(Idle(40, days_ago(40)), used=40)
    pressure = Pressure(used=0.5, idle_factor=0.5, above=0.52)
    stood = a_compared("kept", factor=0.5, clear_margin=0.03, **values)
    assert found_in(verdict, stood, policy=policy, pressure=pressure) == (Cause.USE_STOPPED, TODAY)
    narrow = a_compared("kept", factor=0.5, clear_margin=0.01, **values)
    edited = found_in(verdict, narrow, policy=policy, pressure=pressure)
    assert edited == (Cause.LIMIT_LOWERED, TODAY)


# --- tonight --------------------------------------------------------------------------------------


def of(verdicts: Iterable[Verdict], before: Compared | None = None, **more: Any) -> Comparison:
    rows = more.pop("rows", [])
    return compare(a_night_plan(*verdicts, **more), an_evidence(), a_policy(), rows, before)


def test_tonight_is_kept_with_its_limits_and_how_it_saw_each_key() -> None:
    rule = PressureRule(above=0.8, idle_factor=0.5, freeze=())
    policy = a_policy(a_tier(idle_days=30), pressure=(rule,), max_share=0.1, max_keys=70)
    before = a_compared(counts=(3, 4))
    comparison = compare(
        a_night_plan(a_past(Idle(60, days_ago(60))), pressure=Pressure(0.9, 0.5, 0.8)),
        an_evidence(),
        policy,
        [],
        before,
    )
    assert comparison.tonight == Compared(
        day=TODAY,
        service_quota=10_000,
        clear_margin=0.03,
        rules=((0.8, 0.5),),
        above=0.8,
        factor=0.5,
        max_share=0.1,
        max_keys=70,
        tiers={
            "external": Limits(14, 30, 14),
            "unclaimed": Limits(14, "never", 14),
        },
        keys={KEY_ID: Seen("external", "past", days_ago(60))},
        lowered={},
        counts=(3, 4),
    )
    assert comparison.before == before
    assert (comparison.past, comparison.usual) == (1, 3.5)
    assert comparison.plan_names == {PLAN_ID: "external"}


@pytest.mark.parametrize(
    ("word", "because", "status"),
    [
        ("keep", WithinIdleLimit(3, days_ago(3), 60), "kept"),
        ("keep", TierNever("external"), "exempt"),
        ("keep", NoContact("external"), "exempt"),
        ("keep", OrphanSoon(3, 14), "kept"),
        ("unknown", TagsUnread(), "unknown"),
        ("protected", TagsUnread(), "protected"),
    ],
)
def test_a_night_sees_each_key_as_its_verdict_has_it(
    word: Any, because: Any, status: Status
) -> None:
    verdict = a_past(word=word, because=because, past=None, idle_since=None)
    (seen,) = of([verdict], a_compared("kept")).tonight.keys.values()
    assert seen == Seen("external", status, date.min)


@pytest.mark.parametrize(
    ("word", "because", "stays"),
    [
        ("unknown", TagsUnread(), True),
        ("keep", OrphanSoon(3, 14), True),
        ("protected", TagsUnread(), False),
        ("keep", WithinIdleLimit(3, days_ago(3), 60), False),
    ],
)
def test_a_night_that_cannot_judge_a_key_leaves_it_past_its_limit(
    word: Any, because: Any, stays: bool
) -> None:
    verdict = a_past(word=word, because=because, past=None)
    for before, past in ((a_compared("past"), stays), (a_compared("kept"), False), (None, False)):
        (seen,) = of([verdict], before).tonight.keys.values()
        assert (seen.status == "past") is past


def test_a_living_key_that_the_list_missed_stays_as_it_was_seen() -> None:
    seen = Seen("external", "past", days_ago(70))
    before = a_compared(keys={"k1": seen, "k2": seen, KEY_ID: replace(seen, status="kept")})
    tonight = of([a_past()], before, rows=["k1", "k3", KEY_ID]).tonight
    assert tonight.keys == {KEY_ID: Seen("external", "past", days_ago(60)), "k1": seen}
    assert of([a_past()], before, rows=["k1"]).past == 2


@pytest.mark.parametrize(
    ("days", "past", "kept"), [(13, True, True), (14, True, False), (1, False, False)]
)
def test_a_key_that_an_edit_brought_is_remembered_for_14_days_while_it_is_past_its_limit(
    days: int, past: bool, kept: bool
) -> None:
    verdict = a_past() if past else a_past(word="keep", because=OrphanSoon(3, 14), past=None)
    before = a_compared("kept", lowered={KEY_ID: days_ago(days), "gone": YESTERDAY})
    tonight = of([verdict], before).tonight
    assert tonight.lowered == ({KEY_ID: days_ago(days)} if kept else {})


def test_with_another_edit_tonight_the_keys_of_its_earlier_steps_count_again() -> None:
    earlier, now = a_past(key_id="k1"), a_past(key_id="k2")
    seen = {name: Seen("external", "past", days_ago(60)) for name in ("k1", "k3")}
    before = a_compared(
        keys={**seen, "k2": Seen("external", "exempt", days_ago(60))},
        lowered={"k1": YESTERDAY},
    )
    comparison = of([earlier, now, a_past(key_id="k3")], before)
    assert comparison.found == (Newly("k2", Cause.LIMIT_LOWERED, TODAY, (PLAN_ID,)),)
    assert comparison.again == (Newly("k1", Cause.LIMIT_LOWERED, TODAY, (PLAN_ID,)),)
    assert of([earlier], before).again == ()
    unknown = a_past(key_id="k1", word="unknown", because=TagsUnread(), past=None)
    assert of([unknown, now], before).again == ()


def test_an_allowance_that_was_raised_tonight_is_that_of_the_night_before() -> None:
    def allowance(before: Compared | None, planned: int) -> int:
        return of([a_past()] * 1_000, before, allowance=planned).allowance

    assert allowance(a_compared(), 500) == 50  # a twentieth of 1,000
    assert allowance(a_compared(max_keys=30), 500) == 30
    assert of([a_past()] * 1_019, a_compared(), allowance=500).allowance == 50
    assert allowance(a_compared(), 40) == 40
    assert allowance(None, 500) == 500
    parked = of([a_past()] * 1_000, a_compared(), allowance=500, stepped={SweepAction.PARK: 200})
    assert parked.allowance == 60


def test_without_a_night_before_nothing_is_usual() -> None:
    assert of([a_past()]).usual == of([a_past()], a_compared()).usual == 0.0
    assert [one.cause for one in of([a_past()]).found] == [Cause.USE_STOPPED]


# --- as a file ------------------------------------------------------------------------------------


def test_a_kept_night_is_the_same_when_it_is_read_again() -> None:
    kept = a_compared(
        "kept",
        rules=((0.8, 0.5),),
        above=0.8,
        factor=0.5,
        keys={
            "k1": Seen("external", "past", days_ago(70)),
            "k2": Seen("external", "kept", days_ago(7)),
            "k3": Seen("other", "unknown", YESTERDAY),
        },
        lowered={"k1": days_ago(3)},
        counts=(1, 2),
    )
    document = to_document(kept)
    assert from_document(document) == kept
    assert document["keys"]["external"] == {"past": {"k1": 69}, "kept": {"k2": 6}}
    assert document["version"] == 1


def test_a_kept_night_of_another_version_is_not_read() -> None:
    with pytest.raises(UnexpectedAnswer):
        from_document({**to_document(a_compared()), "version": 2})
