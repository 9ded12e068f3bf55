"""What a night notes of its keys, takes back and purges, and whose rules are a key's."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from keyjanitor.domain.expiry import reasons
from keyjanitor.domain.expiry.notice import Untold
from keyjanitor.domain.expiry.sweep_plan import (
    Adopt,
    Clear,
    Correct,
    Enable,
    Forget,
    Missing,
    Purge,
    SweepPlan,
    Verdict,
)
from keyjanitor.domain.expiry.verdicts import decide, tier_of
from keyjanitor.domain.model.keys import ApiKey, State, SweepAction
from keyjanitor.domain.model.policy import BoundPolicy, Policy, Pressure, PressureRule, Unbound
from keyjanitor.domain.model.records import Claim, Row
from tests.builders import (
    KEY_ID,
    PLAN_ID,
    TODAY,
    YESTERDAY,
    a_disabled_row,
    a_key,
    a_night,
    a_parked_row,
    a_policy,
    a_reading,
    a_row,
    a_tier,
    a_warned_row,
    an_evidence,
    at,
    bound,
    days_ago,
    in_days,
)

EXTERNAL, INNER = a_tier(), a_tier("inner", idle_days=200)
TIERS = a_policy(EXTERNAL, INNER)


def plan(
    *keys: ApiKey, policy: Policy = TIERS, pressure: Pressure | None = None, **night: Any
) -> SweepPlan:
    gathered = {
        name: night.pop(name) for name in ("pressure_above", "begun", "untold") if name in night
    }
    tonight = replace(a_night(*keys, **night), **gathered)
    return decide(tonight, bound(policy, tonight.evidence), pressure)


# --- whose rules ----------------------------------------------------------------------------------

UNCLEAR = BoundPolicy(TIERS, {"p1": EXTERNAL}, frozenset(), (Unbound("tiers.x", "lost", ("p9",)),))


def test_a_key_that_was_issued_keeps_the_tier_of_its_row_whatever_its_plans() -> None:
    assert tier_of(a_row(tier="inner", issued=True), (PLAN_ID,), bound(TIERS)) == (INNER, None)
    tier, unknown = tier_of(a_row(tier="gone", issued=True), (PLAN_ID,), bound(TIERS))
    assert (tier.name, unknown) == ("gone", reasons.TierMissing("gone"))


def test_another_key_has_the_tier_that_names_its_plans() -> None:
    assert tier_of(a_row(tier="inner"), (PLAN_ID,), bound(TIERS)) == (EXTERNAL, None)
    assert tier_of(None, (PLAN_ID,), bound(TIERS)) == (EXTERNAL, None)
    assert tier_of(None, (), bound(TIERS)) == (TIERS.unclaimed, None)


def test_while_it_is_not_clear_which_tier_names_a_plan_a_key_has_the_one_by_which_it_was_known() -> (
    None
):
    unclear = reasons.TierUnclear("p9", "tiers.x")
    assert tier_of(a_row(tier="inner"), ("p1", "p9"), UNCLEAR) == (INNER, unclear)
    assert tier_of(None, ("p1", "p9"), UNCLEAR) == (EXTERNAL, unclear)
    assert tier_of(a_row(tier="inner"), ("p1",), UNCLEAR) == (EXTERNAL, None)


def test_while_a_plan_is_not_clear_each_of_its_keys_has_the_tier_by_which_it_was_known() -> None:
    policy = a_policy(EXTERNAL, INNER, a_tier("vip", usage_plans=("lost",)))
    reading = a_reading("k1", "k2", usage_plan_id="p9", name="another")
    tonight = plan(
        a_key("k1"),
        a_key("k2"),
        policy=policy,
        rows=[a_row("k1", tier="inner"), a_row("k2", tier="external")],
        evidence=an_evidence(reading),
    )
    assert [one.tier.name for one in tonight.verdicts] == ["inner", "external"]
    assert {type(one.because) for one in tonight.verdicts} == {reasons.TierUnclear}


@pytest.mark.parametrize("turn", [1, -1])
def test_of_two_keys_alike_the_issued_one_alone_keeps_its_tier(turn: int) -> None:
    rows = [a_row("k1", tier="inner", issued=True), a_row("k2", tier="inner")]
    tonight = plan(*[a_key("k1"), a_key("k2")][::turn], rows=rows)
    assert {one.key.key_id: one.tier.name for one in tonight.verdicts} == {
        "k1": "inner",
        "k2": "external",
    }


def test_a_key_of_a_request_that_is_not_answered_has_the_tier_of_its_request() -> None:
    begun = a_row(tier="inner", issued=True)
    tonight = plan(a_key(), begun={KEY_ID: begun})
    assert tonight.verdicts[0].tier == INNER
    assert tonight.notes == (Adopt(a_key(), "inner", (PLAN_ID,), begun),)
    known = plan(a_key(), rows=[a_row()], begun={KEY_ID: begun})
    assert known.verdicts[0].tier == EXTERNAL


def test_tonights_pressure_is_that_of_the_account_the_rule_in_force_or_another_that_is_asked() -> (
    None
):
    policy = replace(a_policy(pressure=(PressureRule(0.5, 0.6, ()),)), service_quota=2)
    key = a_key(age=300)
    calm = plan(key, policy=policy)
    assert calm.pressure == Pressure(0.5, 1.0, None)
    stood = plan(key, policy=policy, pressure_above=0.5)
    assert stood.pressure == Pressure(0.5, 0.6, 0.5)
    asked = Pressure(0.1, 0.7, 0.3)
    assert plan(key, policy=policy, pressure_above=0.5, pressure=asked).pressure == asked


# --- notes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "correct"),
    [
        (a_row(), False),
        (a_row(tier="inner"), True),
        (a_row(missing_since=YESTERDAY), True),
        (a_row(tier="inner", restored_on=TODAY), False),
        (a_row(tier="inner", restored_on=YESTERDAY), True),
        (a_row(tier="inner", restored_on=TODAY, missing_since=YESTERDAY), True),
    ],
)
def test_a_row_is_corrected_if_its_key_was_missing_or_has_another_tier(
    row: Row, correct: bool
) -> None:
    assert plan(a_key(), rows=[row]).notes == ((Correct(row, "external"),) if correct else ())


def test_a_key_that_the_ledger_does_not_know_is_adopted_but_while_it_is_being_restored() -> None:
    key = a_key()
    assert plan(key).notes == (Adopt(key, "external", (PLAN_ID,), None),)
    assert plan(a_key(name="keyjanitor-restore-1")).notes == ()


@pytest.mark.parametrize(
    ("since", "note"),
    [(None, Missing), (TODAY, None), (days_ago(29), None), (days_ago(30), Forget)],
)
def test_a_key_that_is_not_listed_is_noted_and_its_row_closed_after_30_days(
    since: date | None, note: type[Missing] | type[Forget] | None
) -> None:
    row = a_row("gone", missing_since=since)
    evidence = an_evidence(a_reading(KEY_ID))
    notes = plan(a_key(), rows=[a_row(), row], evidence=evidence).notes
    assert notes == ((note(row),) if note else ())


# --- purges ---------------------------------------------------------------------------------------


def restoring(days: int, verb: SweepAction = SweepAction.RESTORE) -> Row:
    return replace(a_parked_row(), claim=Claim(verb, days_ago(days)))


@pytest.mark.parametrize(
    ("row", "purged"),
    [
        (a_parked_row(purge_in=0), True),
        (a_parked_row(purge_in=-3), True),
        (a_parked_row(purge_in=1), False),
        (replace(a_parked_row(), purge_on=None), False),
        (restoring(29), False),
        (restoring(30), True),
        (restoring(1, SweepAction.PARK), True),
    ],
)
def test_a_tombstone_is_destroyed_on_its_date_unless_a_restore_has_begun_within_30_days(
    row: Row, purged: bool
) -> None:
    assert plan(shelf=[row]).steps == ((Purge(row),) if purged else ())
    assert plan(shelf=[row], warnings_only="a hold").due == ()


def test_a_tombstone_stays_while_something_of_its_key_could_not_be_told() -> None:
    row = a_parked_row()
    waits = {row.key_id: Untold("its event", YESTERDAY)}
    assert plan(shelf=[row], untold=waits).due == ()
    assert plan(shelf=[row], untold={"another": waits[row.key_id]}).due == (Purge(row),)


# --- what is taken back ---------------------------------------------------------------------------


def taken_back(row: Row, *, used: int, key: ApiKey | None = None) -> tuple[Any, ...]:
    """The notes and steps of a night on a key that was used so many days ago."""
    evidence = an_evidence(used={KEY_ID: days_ago(used)})
    tonight = plan(key or a_key(), rows=[row], evidence=evidence)
    return (*tonight.notes, *tonight.steps)


def test_a_used_key_loses_the_dates_that_were_announced() -> None:
    row = a_warned_row()
    assert taken_back(row, used=1) == (Clear(row, State.ACTIVE),)
    for row in (a_row(disable_on=TODAY), a_row(park_on=TODAY), a_warned_row(disable_on=None)):
        assert taken_back(row, used=1) == (Clear(row, State.ACTIVE),)
    assert taken_back(a_row(), used=1) == ()


@pytest.mark.parametrize(("used", "back"), [(27, True), (28, True), (29, False)])
def test_a_disabled_key_that_was_used_since_its_warning_is_given_back(
    used: int, back: bool
) -> None:
    key, row = a_key(enabled=False), a_disabled_row(disabled=14)  # warned 28 days ago
    expected = Enable(key, row, days_ago(used)) if back else Clear(row, State.DISABLED)
    assert taken_back(row, used=used, key=key) == (expected,)


def test_a_disabled_key_without_a_warning_or_with_a_shield_is_not_given_back() -> None:
    key, row = a_key(enabled=False), a_disabled_row(warned_on=None)
    assert taken_back(row, used=1, key=key) == (Clear(row, State.DISABLED),)
    kept = a_key(enabled=False, tags={"keyjanitor:keep": ""})
    row = a_disabled_row()
    assert taken_back(row, used=1, key=kept) == (Clear(row, State.DISABLED),)
    patient = a_policy(a_tier(idle_days=3_000, never_used_days=3_000))
    never = plan(key, rows=[a_disabled_row()], policy=patient)
    assert (*never.notes, *never.steps) == (Clear(a_disabled_row(), State.DISABLED),)
    cleared = a_disabled_row(warned_on=None, park_on=None)
    assert taken_back(cleared, used=1, key=key) == ()


def test_what_is_unknown_or_ends_later_keeps_its_dates() -> None:
    row = a_warned_row(disable_in=3)
    assert plan(a_key(tags=None), rows=[row]).notes == ()
    ends = a_warned_row(expires_on=in_days(30), disable_in=3)
    assert plan(a_key(), rows=[ends]).notes == ()


# --- verdicts -------------------------------------------------------------------------------------


def verdict(key: ApiKey, row: Row | None = None, **night: Any) -> tuple[str, Any, Any]:
    rows: Iterable[Row] = [row] if row else []
    (one,) = plan(key, rows=rows, **night).verdicts
    return one.word, one.because, one.past


def test_a_verdict_says_whether_the_key_is_past_its_limit_whatever_is_done() -> None:
    idle = reasons.Idle(60, days_ago(60))
    used = an_evidence(used={KEY_ID: days_ago(60)})
    row = a_row(our_update=a_key().last_updated_date)
    assert verdict(a_key(), row, evidence=used) == ("warn", idle, idle)
    waits = replace(row, state=State.WARNED, warned_on=YESTERDAY, disable_on=in_days(13))
    waiting = reasons.Waits("disabled", in_days(13), idle)
    assert verdict(a_key(), waits, evidence=used) == ("keep", waiting, idle)
    fresh = an_evidence(used={KEY_ID: days_ago(59)})
    within = reasons.WithinIdleLimit(59, days_ago(59), 60)
    assert verdict(a_key(), row, evidence=fresh) == ("keep", within, None)


def test_the_words_of_verdicts_that_do_nothing() -> None:
    keep = ("protected", reasons.KeepTag(), None)
    assert verdict(a_key(tags={"keyjanitor:keep": ""})) == keep
    nobody = a_policy(a_tier(contact=None))
    assert verdict(a_key(), policy=nobody) == ("protected", reasons.NoContact("external"), None)
    never = a_policy(a_tier(idle_days="never"))
    assert verdict(a_key(), policy=never) == ("protected", reasons.TierNever("external"), None)
    gone = a_row(tier="gone", issued=True)
    assert verdict(a_key(), gone) == ("unknown", reasons.TierMissing("gone"), None)
    unread = an_evidence(a_reading(usage_plan_id="p9", members_read=False))
    assert verdict(a_key(), evidence=unread) == ("unknown", reasons.MembersUnread("p9"), None)


def test_a_verdict_holds_all_that_was_known_of_the_key() -> None:
    row = a_row(our_update=a_key().last_updated_date)
    evidence = an_evidence(used={KEY_ID: days_ago(3)})
    tonight = plan(a_key(), rows=[row], evidence=evidence)
    assert tonight.today == TODAY
    assert tonight.verdicts == (
        Verdict(
            key=a_key(),
            row=row,
            tier=EXTERNAL,
            word="keep",
            because=reasons.WithinIdleLimit(3, days_ago(3), 60),
            usage_plan_ids=(PLAN_ID,),
            idle_since=days_ago(3),
            last_used=days_ago(3),
        ),
    )


def test_a_shield_comes_before_a_tier_that_is_not_known() -> None:
    key, row = a_key(tags={"keyjanitor:keep": ""}), a_row(tier="gone", issued=True)
    assert verdict(key, row) == ("protected", reasons.KeepTag(), None)


def test_what_is_not_known_of_a_key_matters_only_past_its_limit() -> None:
    used = an_evidence(used={KEY_ID: YESTERDAY})
    within = reasons.WithinIdleLimit(1, YESTERDAY, 60)
    assert verdict(a_key(tags=None), evidence=used) == ("keep", within, None)


def test_a_key_that_was_never_used_has_the_shorter_limit() -> None:
    idle = reasons.Idle(20, days_ago(20), never_used=True)
    assert verdict(a_key(age=20), a_row(our_update=at(days_ago(20)))) == ("warn", idle, idle)


@pytest.mark.parametrize(
    ("more", "first", "never"),
    [
        ({}, None, True),
        ({"previous_key_ids": ("old",)}, None, False),  # of its first id nothing is known
        ({"previous_key_ids": ("old",), "first_created_on": days_ago(500)}, None, False),
        ({"previous_key_ids": ("old",), "first_created_on": days_ago(99)}, None, True),
        ({}, days_ago(100), False),
        ({}, days_ago(101), True),
        ({"last_used": days_ago(98)}, None, False),
    ],
)
def test_only_a_key_that_was_made_under_our_eyes_was_never_used(
    more: dict[str, Any], first: date | None, never: bool
) -> None:
    key = a_key(age=100)
    row = a_row(our_update=key.last_updated_date, **more)
    evidence = an_evidence(first_day=first or days_ago(455))
    because = verdict(key, row, evidence=evidence)[1]
    assert isinstance(because, reasons.Idle)
    assert because.never_used is never


@pytest.mark.parametrize(
    ("more", "because"),
    [
        ({"expires_on": in_days(15)}, reasons.EndsLater(in_days(15))),
        ({"expires_on": in_days(14)}, reasons.Ends(in_days(14))),
        ({"expires_on": days_ago(3)}, reasons.Ends(days_ago(3))),
    ],
)
def test_an_agreed_end_is_due_from_its_warning_on(more: dict[str, Any], because: Any) -> None:
    used = an_evidence(used={KEY_ID: YESTERDAY})
    assert verdict(a_key(), a_row(**more), evidence=used)[1] == because


def test_an_end_asks_for_the_tags_of_its_key_and_parks_none_that_a_stage_names() -> None:
    row = a_row(expires_on=TODAY)
    assert verdict(a_key(tags=None), row)[1] == reasons.TagsUnread()
    staged = a_key(stage_keys=("api1:prod",))
    assert verdict(staged, row)[1] == reasons.Ends(TODAY)
    disabled = a_key(enabled=False, stage_keys=("api1:prod",))
    assert verdict(disabled, a_disabled_row(expires_on=TODAY))[1] == reasons.StageKeys()
    parked = verdict(a_key(enabled=False), a_disabled_row(expires_on=TODAY))
    assert parked == ("park", reasons.Ends(TODAY), None)


# --- keys in no plan ------------------------------------------------------------------------------


def orphan(row: Row | None = None, *, age: int = 400, **evidence: Any) -> Any:
    policy = a_policy(a_tier(), a_tier("inner", idle_days="never"))
    none = an_evidence(a_reading(), **evidence)
    return verdict(a_key(age=age), row, policy=policy, evidence=none)[1]


def test_a_key_is_an_orphan_for_the_nights_on_which_every_plan_was_read() -> None:
    assert orphan(complete_since=days_ago(13)) == reasons.Orphan(14)
    assert orphan(complete_since=days_ago(12)) == reasons.OrphanSoon(13, 14)
    assert orphan(complete_since=None) == reasons.OrphanSoon(0, 14)
    # From the first day of the first reading on it may have been in none.
    first = days_ago(13)
    assert orphan(first_day=first, complete_since=first) == reasons.Orphan(14)


def test_an_orphan_counts_from_the_night_after_its_last_sign_of_life() -> None:
    assert orphan(age=14) == reasons.Orphan(14)
    assert orphan(age=13) == reasons.OrphanSoon(13, 14)
    assert orphan(age=0) == reasons.OrphanSoon(0, 14)
    # A change of plans was seen on the very night that first saw the key in none.
    assert orphan(plans_changed={KEY_ID: days_ago(13)}) == reasons.Orphan(14)
    assert orphan(left_plans_on={KEY_ID: days_ago(13)}) == reasons.OrphanSoon(13, 14)
    assert orphan(left_plans_on={KEY_ID: days_ago(14)}) == reasons.Orphan(14)


def test_a_tier_that_never_expires_keys_has_no_orphans_but_that_of_unclaimed_keys() -> None:
    issued = a_row(tier="inner", issued=True)
    assert orphan(issued) == reasons.TierNever("inner")
    assert isinstance(orphan(), reasons.Orphan)
    assert isinstance(orphan(a_row(issued=True)), reasons.Orphan)


# --- keys that the reading does not know yet --------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        {"restored_on": TODAY, "previous_key_ids": ("former",), "first_created_on": days_ago(400)},
        {"issued": True, "adopted_on": TODAY},
    ],
    ids=["restored", "issued"],
)
def test_a_key_made_since_the_reading_is_in_the_plans_that_it_was_put_into(
    more: dict[str, Any],
) -> None:
    row = a_row(usage_plan_ids=(PLAN_ID, "a plan made since"), **more)
    evidence = an_evidence(a_reading("other"))
    (verdict,) = plan(a_key(age=0), rows=[row], evidence=evidence).verdicts
    assert (verdict.tier, verdict.usage_plan_ids) == (EXTERNAL, (PLAN_ID,))
    assert isinstance(verdict.because, reasons.WithinIdleLimit)
    assert (verdict.word, verdict.because.days) == ("keep", 0)


def test_a_key_made_before_the_reading_is_in_the_plans_that_the_reading_shows() -> None:
    row = a_row(usage_plan_ids=(PLAN_ID,))
    evidence = an_evidence(a_reading("other"))
    (verdict,) = plan(a_key(age=1), rows=[row], evidence=evidence).verdicts
    assert verdict.usage_plan_ids == ()
    assert isinstance(verdict.because, reasons.OrphanSoon)
