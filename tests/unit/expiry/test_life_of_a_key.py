"""docs/life-of-a-key.md: a test for each of its lines, which the mark `life` names."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from keyjanitor.domain.expiry import reasons
from keyjanitor.domain.expiry.key_use import outage
from keyjanitor.domain.expiry.ownership import owner_by_marks, protection
from keyjanitor.domain.expiry.sweep_plan import (
    Adopt,
    Clear,
    Disable,
    Enable,
    Park,
    Purge,
    Verdict,
    Warn,
)
from keyjanitor.domain.model.keys import ApiKey, Mode, State
from keyjanitor.domain.model.owners import Mark, Owner, Stack
from keyjanitor.domain.model.policy import Owned, PressureRule
from keyjanitor.domain.model.records import Row
from keyjanitor.domain.usage.evidence import Evidence, UsagePlanAnswer
from keyjanitor.domain.usage.reading import take_evidence
from keyjanitor.errors import NoEvidence
from tests.builders import (
    CONTACT,
    DAY,
    KEY_ID,
    PLAN_ID,
    STAGE,
    TODAY,
    YESTERDAY,
    a_disabled_row,
    a_key,
    a_page,
    a_parked_row,
    a_plan,
    a_policy,
    a_reading,
    a_row,
    a_tier,
    a_usage,
    a_usage_plan,
    a_verdict,
    a_warned_row,
    an_evidence,
    at,
    bound,
    days_ago,
    in_days,
    pairs,
    steady_traffic,
    unclaimed,
)
from tests.unit.nights import Account

EXTERNAL = a_tier()


def used(days: int, **more: Any) -> Evidence:
    """Evidence of the one key, last used so many days ago."""
    return an_evidence(used={KEY_ID: days_ago(days)}, **more)


def idle(days: int) -> reasons.Idle:
    return reasons.Idle(days, days_ago(days))


def judged(verdict: Verdict) -> tuple[str, reasons.Reason]:
    return verdict.word, verdict.because


# --- the table ------------------------------------------------------------------------------------


@pytest.mark.life("K-106")
def test_a_key_never_used_is_warned_on_day_14_disabled_on_day_28_and_parked_on_day_42() -> None:
    account = Account(a_policy())
    account.plan()
    account.nights(2)
    account.key("new", PLAN_ID)
    account.nights(50)
    assert account.steps("new") == [(2 + 14, "warn"), (2 + 28, "disable"), (2 + 42, "park")]


@pytest.mark.life("K-107")
def test_a_key_idle_since_its_last_use_is_warned_on_day_60_disabled_on_74_and_parked_on_88() -> (
    None
):
    account = Account(a_policy())
    account.plan()
    account.key("idle", PLAN_ID, age=300, last_used=20)
    account.nights(2)
    account.use("idle")
    account.nights(95)
    assert account.steps("idle") == [(2 + 60, "warn"), (2 + 74, "disable"), (2 + 88, "park")]


@pytest.mark.life("K-101")
def test_at_the_warning_disable_on_is_written_down_as_today_plus_warn_days() -> None:
    policy = a_policy(a_tier(warn_days=9))
    plan = a_plan(a_key(), rows=[a_row()], evidence=used(60), policy=policy)
    assert plan.steps == (
        Warn(
            key=a_key(),
            row=a_row(),
            tier=a_tier(warn_days=9),
            because=idle(60),
            days=60,
            next_step_on=in_days(9),
            usage_plan_ids=(PLAN_ID,),
        ),
    )


@pytest.mark.life("K-102")
def test_at_the_disabling_park_on_is_written_down_as_today_plus_grace_days() -> None:
    policy = a_policy(a_tier(grace_days=9))
    plan = a_plan(a_key(), rows=[a_warned_row()], evidence=used(74), policy=policy)
    assert plan.steps == (
        Disable(
            key=a_key(),
            row=a_warned_row(),
            tier=a_tier(grace_days=9),
            because=idle(74),
            days=74,
            park_on=in_days(9),
            usage_plan_ids=(PLAN_ID,),
        ),
    )


@pytest.mark.life("K-103")
def test_at_the_parking_purge_on_is_written_down_as_today_plus_retain_days() -> None:
    policy = a_policy(a_tier(retain_days=100))
    key = a_key(enabled=False, changed=14)
    plan = a_plan(key, rows=[a_disabled_row()], evidence=used(88), policy=policy)
    assert plan.steps == (
        Park(
            key=key,
            row=a_disabled_row(),
            tier=a_tier(retain_days=100),
            because=idle(88),
            days=88,
            purge_on=in_days(100),
            usage_plan_ids=(PLAN_ID,),
            last_used=days_ago(88),
        ),
    )


@pytest.mark.life("K-101", "K-102", "K-103")
def test_what_is_written_down_stands_in_the_rows() -> None:
    account = Account(a_policy())
    account.plan()
    account.key("new", PLAN_ID)
    account.nights(15)
    warned = account.row("new")
    account.nights(14)
    disabled = account.row("new")
    account.nights(14)
    parked = account.row("new")
    assert [
        (warned.state, warned.warned_on, warned.disable_on, warned.park_on),
        (disabled.state, disabled.disabled_on, disabled.disable_on, disabled.park_on),
        (parked.state, parked.parked_on, parked.park_on, parked.purge_on),
    ] == [
        (State.WARNED, in_days(14), in_days(28), None),
        (State.DISABLED, in_days(28), None, in_days(42)),
        (State.PARKED, in_days(42), None, in_days(42 + 365)),
    ]


@pytest.mark.life("K-105")
def test_each_step_is_announced() -> None:
    account = Account(a_policy())
    account.plan()
    account.key("new", PLAN_ID)
    account.nights(50 + 365)
    assert account.events("new") == ["Key Expiring", "Key Disabled", "Key Parked", "Key Purged"]


@pytest.mark.life("K-104")
def test_a_parked_key_is_purged_on_its_date_and_not_before() -> None:
    due, later = a_parked_row("k1"), a_parked_row("k2", purge_in=1)
    plan = a_plan(shelf=[due, later])
    assert plan.steps == (Purge(due),)


@pytest.mark.life("K-1201")
def test_use_makes_a_warned_key_active_again() -> None:
    plan = a_plan(a_key(), rows=[a_warned_row()], evidence=used(0))
    assert (plan.steps, plan.notes) == ((), (Clear(a_warned_row(), State.ACTIVE),))


@pytest.mark.life("K-1201")
def test_a_renewal_makes_a_warned_key_active_again() -> None:
    row = a_warned_row(renewed_on=TODAY)
    plan = a_plan(a_key(), rows=[row], evidence=used(74))
    assert (plan.steps, plan.notes) == ((), (Clear(row, State.ACTIVE),))


# --- One step a date ------------------------------------------------------------------------------


@pytest.mark.life("K-201")
def test_one_step_a_date_never_two() -> None:
    row = a_warned_row(stepped_on=TODAY, reason="idle for 60 days")
    verdict = a_verdict(a_key(), row, evidence=used(74))
    assert judged(verdict) == ("keep", reasons.Stepped("idle for 60 days"))


@pytest.mark.life("K-201")
def test_a_second_sweep_of_a_date_finds_nothing_to_do() -> None:
    account = Account(a_policy())
    account.plan()
    for number in range(5):
        account.key(f"new{number}", PLAN_ID)
    for _ in range(45):
        account.read()
        account.sweep()
        assert account.sweep().applied == {}
        account.live()
    assert account.steps("new0") == [(14, "warn"), (28, "disable"), (42, "park")]


@pytest.mark.life("K-202")
def test_no_step_before_its_written_date() -> None:
    warned = a_verdict(a_key(), a_warned_row(disable_in=1), evidence=used(100))
    disabled = a_verdict(
        a_key(enabled=False, changed=14), a_disabled_row(park_in=1), evidence=used(100)
    )
    assert [judged(warned), judged(disabled)] == [
        ("keep", reasons.Waits("disabled", in_days(1), idle(100))),
        ("keep", reasons.Waits("parked", in_days(1), idle(100))),
    ]


@pytest.mark.life("K-202")
def test_a_step_comes_on_its_written_date() -> None:
    warned = a_verdict(a_key(), a_warned_row(disable_in=0), evidence=used(74))
    disabled = a_verdict(
        a_key(enabled=False, changed=14), a_disabled_row(park_in=0), evidence=used(88)
    )
    assert [warned.word, disabled.word] == ["disable", "park"]


@pytest.mark.life("K-203")
def test_an_edited_policy_brings_no_written_date_forward() -> None:
    hasty = a_policy(a_tier(never_used_days=1, idle_days=1, warn_days=1, grace_days=1))
    warned = a_verdict(a_key(), a_warned_row(disable_in=7), evidence=used(74), policy=hasty)
    key, row = a_key(enabled=False, changed=7), a_disabled_row(disabled=7, park_in=7)
    disabled = a_verdict(key, row, evidence=used(81), policy=hasty)
    purge = a_plan(shelf=[a_parked_row(parked=10, purge_in=1)], policy=hasty)
    assert [warned.word, disabled.word, purge.steps] == ["keep", "keep", ()]


@pytest.mark.life("K-204")
def test_a_higher_rule_brings_no_written_date_forward() -> None:
    pressed = a_policy(pressure=(PressureRule(0.9, 0.5, ()),), service_quota=1)
    verdict = a_verdict(a_key(), a_warned_row(disable_in=1), evidence=used(74), policy=pressed)
    assert judged(verdict) == ("keep", reasons.Waits("disabled", in_days(1), idle(74)))


@pytest.mark.life("K-204")
def test_a_higher_rule_shortens_the_idle_limit_of_who_is_yet_to_be_warned() -> None:
    pressed = a_policy(
        a_tier(idle_days=100), pressure=(PressureRule(0.9, 0.5, ()),), service_quota=1
    )
    assert [
        judged(a_verdict(a_key(), evidence=used(days), policy=pressed)) for days in (49, 50)
    ] == [
        ("keep", reasons.WithinIdleLimit(49, days_ago(49), 50)),
        ("warn", idle(50)),
    ]


@pytest.mark.life("K-205")
def test_a_step_is_taken_only_if_the_key_is_past_tonights_idle_limit_else_its_dates_are_cleared() -> (
    None
):
    patient = a_policy(a_tier(idle_days=180))
    plan = a_plan(a_key(), rows=[a_warned_row()], evidence=used(74), policy=patient)
    assert (plan.steps, plan.notes) == ((), (Clear(a_warned_row(), State.ACTIVE),))


@pytest.mark.life("K-205")
def test_a_disabled_key_within_tonights_idle_limit_stays_disabled_and_loses_its_date() -> None:
    patient = a_policy(a_tier(idle_days=180))
    key, row = a_key(enabled=False, changed=14), a_disabled_row()
    plan = a_plan(key, rows=[row], evidence=used(88), policy=patient)
    assert (plan.steps, plan.notes) == ((), (Clear(row, State.DISABLED),))


@pytest.mark.life("K-206")
def test_a_key_whose_dates_were_cleared_is_warned_again_before_it_is_parked() -> None:
    # What it is warned of is the parking: `grace_days` lie before that.
    key, row = a_key(enabled=False, changed=14), a_disabled_row(park_on=None, warned_on=None)
    tier = a_tier(warn_days=9, grace_days=5)
    verdict = a_verdict(key, row, evidence=used(200), policy=a_policy(tier))
    assert verdict.step == Warn(
        key, row, tier, idle(200), 200, in_days(5), usage_plan_ids=(PLAN_ID,)
    )


@pytest.mark.life("K-206")
def test_a_key_enabled_by_hand_is_warned_of_its_disabling_however_long_nobody_swept() -> None:
    key, row = a_key(changed=90), a_disabled_row(disabled=100, park_in=-86)
    tier = a_tier(warn_days=9, grace_days=5)
    verdict = a_verdict(key, row, evidence=used(200), policy=a_policy(tier))
    assert verdict.step == Warn(key, row, tier, idle(90), 90, in_days(9), usage_plan_ids=(PLAN_ID,))


@pytest.mark.life("K-207")
@pytest.mark.parametrize("row", [a_warned_row(warned_on=None), a_row(disable_on=TODAY)])
def test_a_date_without_a_warning_is_none(row: Row) -> None:
    assert a_verdict(a_key(), row, evidence=used(200)).word == "warn"


@pytest.mark.life("K-208")
def test_a_key_whose_row_has_nothing_to_take_back_is_not_written() -> None:
    disabled = a_key("k2", enabled=False, changed=14)
    plan = a_plan(
        a_key("k1"),
        disabled,
        rows=[a_row("k1"), a_disabled_row("k2", park_on=None)],
        evidence=an_evidence(a_reading("k1", "k2"), used={"k1": YESTERDAY, "k2": days_ago(20)}),
    )
    assert plan.notes == ()


# --- One clock ------------------------------------------------------------------------------------


def since(key: ApiKey, row: Row | None = None, **more: Any) -> date | None:
    return a_verdict(key, row, evidence=an_evidence(**more)).idle_since


@pytest.mark.life("K-301")
def test_idle_counts_from_the_creation() -> None:
    assert since(a_key(age=30)) == days_ago(30)


@pytest.mark.life("K-302")
def test_idle_counts_from_the_last_use() -> None:
    assert since(a_key(age=30), used={KEY_ID: days_ago(7)}) == days_ago(7)


@pytest.mark.life("K-302")
def test_idle_counts_from_a_use_that_only_the_ledger_remembers() -> None:
    assert since(a_key(age=30), a_row(last_used=days_ago(7)), used={KEY_ID: days_ago(9)}) == (
        days_ago(7)
    )


@pytest.mark.life("K-302")
def test_a_use_is_never_forgotten_for_an_older_one() -> None:
    assert since(a_key(age=30), a_row(last_used=days_ago(9)), used={KEY_ID: days_ago(7)}) == (
        days_ago(7)
    )


@pytest.mark.life("K-303")
def test_idle_counts_from_the_last_change_by_anyone_but_us() -> None:
    assert [
        since(a_key(changed=5)),
        since(a_key(changed=5), a_row(our_update=at(days_ago(6)))),
        since(a_key(changed=5), a_row(our_update=at(days_ago(5)))),
    ] == [days_ago(5), days_ago(5), days_ago(400)]


@pytest.mark.life("K-303")
def test_a_key_that_is_enabled_though_we_disabled_it_was_changed_by_somebody() -> None:
    # Within the same second, or by a clock that is not ours.
    assert since(a_key(changed=14), a_disabled_row(disabled=14)) == days_ago(14)


@pytest.mark.life("K-304")
def test_idle_counts_from_when_its_plans_changed() -> None:
    assert since(a_key(), plans_changed={KEY_ID: days_ago(8)}) == days_ago(8)


@pytest.mark.life("K-304")
def test_the_first_sighting_of_a_key_in_its_plans_is_no_change_of_them() -> None:
    # Made during the day, seen by the reading of the next date.
    assert since(a_key(age=9), plans_changed={KEY_ID: days_ago(8)}) == days_ago(9)


@pytest.mark.life("K-304")
def test_a_key_that_is_made_first_and_attached_days_later_had_its_plans_changed() -> None:
    assert since(a_key(age=10), plans_changed={KEY_ID: days_ago(8)}) == days_ago(8)


@pytest.mark.life("K-304")
def test_no_key_had_its_plans_changed_by_the_first_evidence() -> None:
    evidence, _ = take_evidence(
        TODAY, [UsagePlanAnswer(a_usage_plan(), (KEY_ID,), a_usage())], None
    )
    assert evidence.plans_changed == {}


@pytest.mark.life("K-304")
def test_the_first_sighting_of_keys_whose_plan_was_unread_at_first_is_no_change_of_plans() -> None:
    failed = UsagePlanAnswer(a_usage_plan(), None, None, failed="GetUsagePlanKeys failed")
    first, _ = take_evidence(YESTERDAY, [failed], None)
    answer = UsagePlanAnswer(a_usage_plan(), (KEY_ID,), a_usage())
    second, _ = take_evidence(TODAY, [answer], first)
    assert a_verdict(a_key(age=80), a_row(), evidence=second).idle_since == days_ago(80)


@pytest.mark.life("K-305")
def test_idle_counts_from_a_renewal() -> None:
    assert since(a_key(), a_row(renewed_on=days_ago(3))) == days_ago(3)


@pytest.mark.life("K-306")
def test_idle_counts_from_a_restore() -> None:
    assert since(a_key(), a_row(restored_on=days_ago(4))) == days_ago(4)


@pytest.mark.life("K-307")
def test_idle_counts_from_the_first_day_that_the_first_evidence_covers_90_days_before_it() -> None:
    answer = UsagePlanAnswer(a_usage_plan(), (KEY_ID,), a_usage())
    first, _ = take_evidence(TODAY, [answer], None)
    verdict = a_verdict(a_key(), evidence=first)
    assert verdict.idle_since == days_ago(90)


@pytest.mark.life("K-311")
@pytest.mark.parametrize("latest", range(7))
def test_idle_counts_from_the_latest_of_them_all(latest: int) -> None:
    ages = [20 + index if index != latest else 10 for index in range(7)]
    created, last_used, changed, plans, renewed, restored, first_day = ages
    verdict = a_verdict(
        a_key(age=created, changed=changed),
        a_row(renewed_on=days_ago(renewed), restored_on=days_ago(restored)),
        evidence=an_evidence(
            used={KEY_ID: days_ago(last_used)},
            plans_changed={KEY_ID: days_ago(plans)},
            first_day=days_ago(first_day),
        ),
    )
    assert verdict.idle_since == days_ago(10)


@pytest.mark.life("K-312")
def test_whatever_restarts_the_clock_clears_the_dates() -> None:
    row = a_warned_row()
    warm: list[tuple[ApiKey, Row, Evidence]] = [
        (a_key(), row, used(13)),
        (a_key(changed=13), row, used(74)),
        (a_key(), row, used(74, plans_changed={KEY_ID: days_ago(13)})),
        (a_key(), replace(row, renewed_on=days_ago(13)), used(74)),
        (a_key(), replace(row, restored_on=days_ago(13)), used(74)),
    ]
    plans = [a_plan(key, rows=[row], evidence=evidence) for key, row, evidence in warm]
    assert [(plan.steps, plan.notes) for plan in plans] == [
        ((), (Clear(row, State.ACTIVE),)) for _, row, _ in warm
    ]


@pytest.mark.life("K-207", "K-312")
def test_a_clock_that_restarted_after_the_warning_asks_for_a_new_warning() -> None:
    # Warned 100 days ago, used a week later, and nobody swept until it was idle once more.
    row = a_warned_row(warned=100, disable_in=-86)
    verdict = a_verdict(a_key(), row, evidence=used(93))
    assert verdict.word == "warn"


@pytest.mark.life("K-207")
def test_a_use_on_the_day_of_the_warning_is_a_use_after_it() -> None:
    row = a_warned_row(warned=70, disable_in=-56)
    assert a_verdict(a_key(), row, evidence=used(70)).word == "warn"


@pytest.mark.life("K-312")
def test_a_clock_that_restarted_after_the_disabling_asks_for_a_new_warning_before_parking() -> None:
    # Disabled 100 days ago, renewed 80 days ago, and nobody swept in between.
    key = a_key(enabled=False, changed=100)
    row = a_disabled_row(disabled=100, park_in=-86, renewed_on=days_ago(80))
    verdict = a_verdict(key, row, evidence=used(174))
    assert verdict.word == "warn"


@pytest.mark.life("K-607")
def test_a_key_that_somebody_changed_after_we_disabled_it_may_be_disabled_by_them() -> None:
    # Enabled and disabled again between two nights: nothing but the date of the change shows it.
    key, row = a_key(enabled=False, changed=3), a_disabled_row(disabled=14, park_in=0)
    verdict = a_verdict(key, row, evidence=used(88))
    assert (verdict.word, verdict.because) == ("protected", reasons.DisabledByOthers())


@pytest.mark.life("K-508")
def test_a_key_in_a_plan_that_a_stage_names_in_the_old_way_is_unknown() -> None:
    verdict = a_verdict(a_key(stage_keys=("api/stage",)), a_row(), evidence=used(74))
    assert (verdict.word, verdict.because) == ("unknown", reasons.StageKeys())


@pytest.mark.life("K-313")
def test_never_used_is_said_only_of_a_key_made_after_the_first_day_of_the_first_evidence() -> None:
    first_day = days_ago(20)
    evidence = an_evidence(first_day=first_day)
    assert [judged(a_verdict(a_key(age=age), evidence=evidence)) for age in (19, 20, 21)] == [
        ("warn", reasons.Idle(19, days_ago(19), never_used=True)),
        ("keep", reasons.WithinIdleLimit(20, first_day, 60)),
        ("keep", reasons.WithinIdleLimit(20, first_day, 60)),
    ]


@pytest.mark.life("K-313")
def test_a_key_that_was_used_once_is_never_again_one_that_was_never_used() -> None:
    assert judged(a_verdict(a_key(age=50), evidence=used(40))) == (
        "keep",
        reasons.WithinIdleLimit(40, days_ago(40), 60),
    )


# --- Only what is proven counts -------------------------------------------------------------------


@pytest.mark.life("K-404")
def test_a_sweep_acts_on_tonights_evidence_or_not_at_all() -> None:
    account = Account(a_policy())
    account.plan()
    account.key("new", PLAN_ID)
    account.nights(20)
    with pytest.raises(NoEvidence) as raised:
        account.sweep()
    assert raised.value.date == in_days(20)
    assert account.row("new").stepped_on == in_days(14)


@pytest.mark.life("K-501")
def test_a_key_may_move_only_if_every_plans_members_were_read_to_the_last_page() -> None:
    other = a_reading("k9", usage_plan_id="plan2", name="other", members_read=False)
    evidence = an_evidence(a_reading(KEY_ID), other, used={KEY_ID: days_ago(74)})
    assert judged(a_verdict(a_key(), a_warned_row(), evidence=evidence)) == (
        "unknown",
        reasons.MembersUnread("plan2"),
    )


@pytest.mark.life("K-502")
def test_a_key_may_move_only_if_every_plan_it_is_in_was_read() -> None:
    unread = a_reading(KEY_ID, usage_plan_id="plan2", name="other", unread="failed")
    evidence = an_evidence(a_reading(KEY_ID), unread, used={KEY_ID: days_ago(74)})
    assert judged(a_verdict(a_key(), a_warned_row(), evidence=evidence)) == (
        "unknown",
        reasons.UsageUnread("plan2"),
    )


@pytest.mark.life("K-502")
def test_an_unread_plan_keeps_nobody_who_is_not_in_it() -> None:
    unread = a_reading("k9", usage_plan_id="plan2", name="other", unread="failed")
    evidence = an_evidence(a_reading(KEY_ID), unread, used={KEY_ID: days_ago(74)})
    assert a_verdict(a_key(), a_warned_row(), evidence=evidence).word == "disable"


@pytest.mark.life("K-401")
@pytest.mark.parametrize("days", [0, 1])
def test_a_request_seen_yesterday_or_today_counts_as_use(days: int) -> None:
    usage = a_usage(a_page({KEY_ID: pairs({days_ago(days): 1})}))
    evidence, _ = take_evidence(
        TODAY, [UsagePlanAnswer(a_usage_plan(), (KEY_ID,), usage)], an_evidence(day=YESTERDAY)
    )
    plan = a_plan(a_key(), rows=[a_warned_row()], evidence=evidence)
    assert (plan.steps, plan.notes) == ((), (Clear(a_warned_row(), State.ACTIVE),))


@pytest.mark.life("K-403")
def test_a_member_that_a_fully_read_plan_does_not_mention_was_not_used() -> None:
    usage = a_usage(a_page({"k9": pairs(dict.fromkeys(steady_traffic(), 1000))}))
    answer = UsagePlanAnswer(a_usage_plan(), (KEY_ID, "k9"), usage)
    evidence, _ = take_evidence(
        TODAY, [answer], an_evidence(a_reading(KEY_ID, "k9"), day=YESTERDAY)
    )
    assert a_verdict(a_key(age=14), evidence=evidence).word == "warn"


@pytest.mark.life("K-405")
def test_a_listed_plan_whose_members_answer_is_empty_has_none() -> None:
    empty = UsagePlanAnswer(a_usage_plan(), (), a_usage())
    evidence, _ = take_evidence(TODAY, [empty], None)
    assert evidence.plans == {PLAN_ID: a_reading()}


@pytest.mark.life("K-405")
def test_a_listed_plan_whose_members_answer_is_empty_is_unread_if_it_had_members_before() -> None:
    empty = UsagePlanAnswer(a_usage_plan(), (), a_usage())
    evidence, _ = take_evidence(TODAY, [empty], an_evidence(day=YESTERDAY))
    assert evidence.plans == {PLAN_ID: a_reading(KEY_ID, members_read=False, emptied=True)}
    assert judged(a_verdict(a_key(), a_warned_row(), evidence=evidence)) == (
        "unknown",
        reasons.MembersUnread(PLAN_ID),
    )


@pytest.mark.life("K-405")
def test_a_plan_is_believed_to_be_empty_when_the_keys_that_it_had_are_no_more() -> None:
    lost = a_reading("k8", usage_plan_id="plan2", name="other", members_read=False, emptied=True)
    evidence = an_evidence(a_reading(KEY_ID), lost, used={KEY_ID: days_ago(74)})
    assert a_verdict(a_key(), a_warned_row(), evidence=evidence).word == "disable"


@pytest.mark.life("K-405")
def test_a_plan_is_not_believed_to_be_empty_while_one_of_its_keys_lives() -> None:
    lost = a_reading(
        "k8", "k9", usage_plan_id="plan2", name="other", members_read=False, emptied=True
    )
    evidence = an_evidence(a_reading(KEY_ID), lost, used={KEY_ID: days_ago(74)})
    plan = a_plan(
        a_key(), a_key("k9", age=1), rows=[a_warned_row(), a_row("k9")], evidence=evidence
    )
    assert judged(plan.verdicts[0]) == ("unknown", reasons.MembersUnread("plan2"))


@pytest.mark.life("K-501")
def test_members_that_were_not_read_are_not_believed_to_be_gone() -> None:
    unread = a_reading("k8", usage_plan_id="plan2", name="other", members_read=False)
    evidence = an_evidence(a_reading(KEY_ID), unread, used={KEY_ID: days_ago(74)})
    assert a_verdict(a_key(), a_warned_row(), evidence=evidence).word == "unknown"


@pytest.mark.life("K-402")
def test_a_day_of_a_plan_with_quota_whose_remaining_is_0_is_use() -> None:
    shut = pairs()
    shut[-3] = [0, 0]
    usage = a_usage(a_page({KEY_ID: shut}))
    assert usage.last_used == {KEY_ID: days_ago(2)}


@pytest.mark.life("K-402")
def test_a_day_of_a_plan_without_quota_whose_remaining_is_0_is_not_use() -> None:
    usage = a_usage(
        a_page({KEY_ID: pairs({days_ago(7): 1}, remaining=0)}), plan=a_usage_plan(has_quota=False)
    )
    assert usage.last_used == {KEY_ID: days_ago(7)}


# --- Silence needs a witness ----------------------------------------------------------------------


def witnessed(before: Evidence | None, *requests: str, **plans: Any) -> dict[str, bool]:
    """Which of these plans are witnessed after one more night, in which `requests` had some."""
    answers = []
    for plan_id, more in plans.items():
        plan = a_usage_plan(plan_id, name=plan_id, **more)
        shown = {f"key-{plan_id}": pairs({YESTERDAY: 1} if plan_id in requests else {})}
        answers.append(
            UsagePlanAnswer(plan, (f"key-{plan_id}",), a_usage(a_page(shown), plan=plan))
        )
    evidence, _ = take_evidence(TODAY, answers, before)
    return {plan_id: evidence.is_witnessed(plan) for plan_id, plan in evidence.plans.items()}


@pytest.mark.life("K-406")
def test_a_plan_is_witnessed_once_any_evidence_showed_a_request_in_it() -> None:
    assert witnessed(None, "p1", p1={}, p2={"stages": ("api2:prod",)}) == {"p1": True, "p2": False}


@pytest.mark.life("K-406")
def test_a_plan_is_witnessed_by_another_on_one_of_its_stages_that_likewise_has_a_quota() -> None:
    beside = {"stages": ("api2:prod", STAGE)}
    assert witnessed(None, "p1", p1={}, p2=beside) == {"p1": True, "p2": True}


@pytest.mark.life("K-406")
def test_a_plan_is_witnessed_by_another_on_one_of_its_stages_that_likewise_has_no_quota() -> None:
    open_ended = {"has_quota": False}
    assert witnessed(None, "p1", p1=open_ended, p2=open_ended) == {"p1": True, "p2": True}


@pytest.mark.life("K-406")
def test_a_plan_is_not_witnessed_by_another_that_has_a_quota_where_it_has_none() -> None:
    assert witnessed(None, "p1", p1={}, p2={"has_quota": False}) == {"p1": True, "p2": False}
    assert witnessed(None, "p2", p1={}, p2={"has_quota": False}) == {"p1": False, "p2": True}


@pytest.mark.life("K-406")
def test_evidence_carries_the_witness_forward() -> None:
    before = an_evidence(
        day=YESTERDAY, witnessed_plans=["p1"], seen_stages={("api3:prod", True): YESTERDAY}
    )
    assert witnessed(
        before, p1={}, p2={"stages": ("api3:prod",)}, p3={"stages": ("api4:prod",)}
    ) == {"p1": True, "p2": True, "p3": False}


@pytest.mark.life("K-505")
def test_a_key_that_was_warned_is_unknown_once_its_plan_is_silent() -> None:
    silent = used(74, witnessed_plans=[])
    assert a_verdict(a_key(), a_warned_row(), evidence=silent).word == "unknown"


@pytest.mark.life("K-406")
def test_a_plan_is_witnessed_for_400_days_after_its_last_request() -> None:
    before = an_evidence(a_reading(usage_plan_id="p1"), day=days_ago(399))
    assert witnessed(before, p1={}) == {"p1": True}
    before = an_evidence(a_reading(usage_plan_id="p1"), day=days_ago(401))
    assert witnessed(before, p1={}) == {"p1": False}


@pytest.mark.life("K-407")
@pytest.mark.parametrize("has_quota", [True, False])
def test_a_plan_whose_quota_came_or_went_is_witnessed_by_requests_since_then_only(
    has_quota: bool,
) -> None:
    then = {"has_quota": not has_quota}
    first = a_night_of_one_plan(None, YESTERDAY, days_ago(3), **then)
    used = days_ago(3), YESTERDAY
    second = a_night_of_one_plan(first, TODAY, *used, has_quota=has_quota)
    third = a_night_of_one_plan(second, in_days(1), *used, has_quota=has_quota)
    fourth = a_night_of_one_plan(third, in_days(2), *used, TODAY, has_quota=has_quota)
    nights = (first, second, third, fourth)
    assert [one.is_witnessed(one.plans[PLAN_ID]) for one in nights] == [True, False, False, True]


@pytest.mark.life("K-407")
def test_requests_of_before_a_plan_got_a_stage_are_no_witness_for_others_on_it() -> None:
    stages = ("api1:prod",), ("api1:prod", "api2:prod")
    beside = a_reading(usage_plan_id="beside", stages=("api2:prod",))
    first = a_night_of_one_plan(None, YESTERDAY, days_ago(3), stages=stages[0])
    second = a_night_of_one_plan(first, TODAY, days_ago(3), YESTERDAY, stages=stages[1])
    used = days_ago(3), YESTERDAY, TODAY
    third = a_night_of_one_plan(second, in_days(1), *used, stages=stages[1])
    assert not second.is_witnessed(beside)
    assert third.is_witnessed(beside)


def a_night_of_one_plan(
    before: Evidence | None, day: date, *used_on: date, **plan: Any
) -> Evidence:
    """The evidence of a night on which one plan tells a request a day of its one key."""
    named = a_usage_plan(**plan)
    start = day - DAY * 90
    shown = {KEY_ID: pairs(dict.fromkeys(used_on, 1), start=start, end=day)}
    usage = a_usage(a_page(shown, start=start, end=day), plan=named, day=day)
    return take_evidence(day, [UsagePlanAnswer(named, (KEY_ID,), usage)], before)[0]


@pytest.mark.life("K-504")
def test_a_plan_that_opens_no_stage_cannot_show_idleness() -> None:
    evidence = an_evidence(a_reading(KEY_ID, stages=()), used={KEY_ID: days_ago(74)})
    policy = a_policy(silent_plans=(PLAN_ID,))  # whoever believes its silence cannot know this
    for row in (None, a_warned_row(), a_disabled_row()):
        key = a_key(enabled=row is None or row.state is not State.DISABLED)
        verdict = a_verdict(key, row, evidence=evidence, policy=policy)
        assert judged(verdict) == ("unknown", reasons.OpensNoStage(PLAN_ID))


@pytest.mark.life("K-308")
def test_the_clock_of_a_plans_keys_begins_when_its_stage_is_back() -> None:
    first = a_night_of_one_plan(None, YESTERDAY, days_ago(70), stages=())
    second = a_night_of_one_plan(first, TODAY, days_ago(70))
    assert a_verdict(a_key(), evidence=first).idle_since == days_ago(70)
    assert judged(a_verdict(a_key(), evidence=second)) == (
        "keep",
        reasons.WithinIdleLimit(1, YESTERDAY, 60),
    )


@pytest.mark.life("K-505")
def test_the_keys_of_a_plan_without_a_witness_are_unknown() -> None:
    assert judged(a_verdict(a_key(), evidence=used(74, witnessed_plans=[]))) == (
        "unknown",
        reasons.Unwitnessed(PLAN_ID),
    )


@pytest.mark.life("K-505")
def test_each_plan_of_a_key_needs_a_witness() -> None:
    evidence = an_evidence(
        a_reading(KEY_ID),
        a_reading(KEY_ID, usage_plan_id="plan2", name="other", stages=("api2:prod",)),
        witnessed_plans=[PLAN_ID],
    )
    assert judged(a_verdict(a_key(), evidence=evidence)) == (
        "unknown",
        reasons.Unwitnessed("plan2"),
    )


@pytest.mark.life("K-408")
def test_the_keys_of_a_plan_without_a_witness_move_if_the_policy_lists_it_under_silent_plans() -> (
    None
):
    evidence = used(74, witnessed_plans=[])
    for silent in (PLAN_ID, "external"):
        policy = a_policy(silent_plans=(silent,))
        assert a_verdict(a_key(), evidence=evidence, policy=policy).word == "warn"


def traffic(of: dict[int, int]) -> dict[date, int]:
    """100 requests on every day, but for the days before TODAY that are named."""
    return {**steady_traffic(used=100), **{days_ago(back): used for back, used in of.items()}}


@pytest.mark.life("K-511")
def test_an_outage_is_a_day_before_yesterday_under_a_tenth_of_the_week_and_of_its_weekday() -> None:
    evidence = used(74, used_by_day=traffic({2: 9}))
    told = reasons.Outage(days_ago(2), 9, 100)
    assert outage(evidence) == told
    assert judged(a_verdict(a_key(), a_warned_row(), evidence=evidence)) == ("unknown", told)


@pytest.mark.life("K-511")
@pytest.mark.parametrize(
    "of",
    [
        {2: 10},  # a tenth is not under a tenth
        {2: 9, 9: 90},  # the same weekday a week before was as quiet
        dict.fromkeys(range(2, 91), 9),  # it has been so quiet for as long as usage reaches back
        {0: 0, 1: 0},  # yesterday and today are not counted up yet
    ],
)
def test_other_days_are_no_outage(of: dict[int, int]) -> None:
    assert outage(an_evidence(used_by_day=traffic(of))) is None


@pytest.mark.life("K-511")
def test_a_sunday_that_is_always_quiet_is_no_outage_and_a_silent_account_has_none() -> None:
    assert outage(an_evidence(used_by_day={})) is None
    assert outage(an_evidence(used_by_day={days_ago(9): 1})) is None


@pytest.mark.life("K-511")
def test_what_is_usual_is_the_median_of_the_28_days_before() -> None:
    # Fifteen of the 28 were busy; with one fewer most were not.
    busy = {days_ago(back): 100 for back in range(3, 18)}
    assert outage(an_evidence(used_by_day=busy)) == reasons.Outage(days_ago(2), 0, 100)
    del busy[days_ago(17)], busy[days_ago(16)]
    assert outage(an_evidence(used_by_day=busy)) is None


@pytest.mark.life("K-511")
@pytest.mark.parametrize("days", [1, 4, 5, 12, 13, 27, 28, 60, 80])
def test_an_outage_of_many_days_does_not_become_the_usual(days: int) -> None:
    evidence = an_evidence(used_by_day=traffic({2 + back: 5 for back in range(days)}))
    assert outage(evidence) == reasons.Outage(days_ago(2), 5, 100)


@pytest.mark.life("K-511")
def test_an_outage_of_weeks_is_seen_where_weekends_are_silent_too() -> None:
    working = {
        day: used for day, used in steady_traffic(used=100).items() if day.weekday() not in (5, 6)
    }
    for days in (1, 5, 12, 27, 40):
        down = {day: used for day, used in working.items() if day < days_ago(1 + days)}
        assert outage(an_evidence(used_by_day=down)) is not None  # days_ago(2) is a Thursday
        weekend = an_evidence(day=in_days(2), used_by_day=down)  # looks at a Saturday of it
        assert outage(weekend) == reasons.Outage(TODAY, 0, 100)
    for ahead in range(7):
        assert outage(an_evidence(day=in_days(-ahead), used_by_day=working)) is None


@pytest.mark.life("K-511")
def test_a_holiday_weekend_and_a_slow_decline_are_no_outage() -> None:
    weekend = {day: 15 for day in steady_traffic() if day.weekday() in (5, 6)}
    usual = {**steady_traffic(used=100), **weekend}
    monday = days_ago((TODAY.weekday() - 0) % 7)
    for day, used in ((monday - DAY * 2, 12), (monday - DAY, 12), (monday, 14)):
        evidence = an_evidence(day=day + DAY * 2, used_by_day={**usual, day: used})
        assert outage(evidence) is None
    falling = {days_ago(back): int(10**6 * 0.9 ** (90 - back)) for back in range(91)}
    assert outage(an_evidence(used_by_day=falling)) is None


@pytest.mark.life("K-511")
def test_nobody_moves_in_the_night_of_an_outage() -> None:
    keys = [a_key("k1"), a_key("k2"), a_key("k3", enabled=False, changed=14), a_key("k4")]
    evidence = an_evidence(
        a_reading("k1", "k2", "k3"), used_by_day=traffic({2: 0}), witnessed_plans=[PLAN_ID]
    )
    rows = [a_row("k1"), a_warned_row("k2"), a_disabled_row("k3"), a_row("k4")]
    plan = a_plan(*keys, rows=rows, evidence=evidence)
    told = reasons.Outage(days_ago(2), 0, 100)
    assert plan.steps == ()
    assert [judged(verdict) for verdict in plan.verdicts] == [("unknown", told)] * 4


# --- Unknown is kept ------------------------------------------------------------------------------


@pytest.mark.life("K-500")
def test_unknown_is_kept_and_keeps_its_dates() -> None:
    unread = an_evidence(a_reading(KEY_ID, unread="failed"))
    plan = a_plan(a_key(), rows=[a_warned_row()], evidence=unread)
    assert (plan.counts["unknown"], plan.steps, plan.notes) == (1, (), ())


@pytest.mark.life("K-510")
def test_a_key_whose_stack_ownership_could_not_be_asked_is_kept() -> None:
    account = Account(a_policy())
    account.plan()
    account.key("new", PLAN_ID)
    account.nights(28)
    account.lose_sight_of_owners()
    assert account.night().applied == {}
    assert account.gateway.living["new"].enabled


@pytest.mark.life("K-509")
def test_a_missing_tags_in_a_list_is_unknown() -> None:
    assert judged(a_verdict(a_key(tags=None), evidence=used(74))) == (
        "unknown",
        reasons.TagsUnread(),
    )


@pytest.mark.life("K-509")
def test_a_key_that_the_tagging_api_leaves_out_is_untagged() -> None:
    assert a_verdict(a_key(tags={}), evidence=used(74)).word == "warn"


# --- orphans --------------------------------------------------------------------------------------


def orphan(nights: int, **more: Any) -> Evidence:
    """Evidence in which the one key has been in no plan for so many nights."""
    values = {"left_plans_on": {KEY_ID: days_ago(nights)}, **more}
    return an_evidence(a_reading("k9"), **values)


@pytest.mark.life("K-701")
def test_a_key_in_no_usage_plan_on_orphan_days_consecutive_nights_is_an_orphan() -> None:
    assert [judged(a_verdict(a_key(), evidence=orphan(nights))) for nights in (13, 14)] == [
        ("keep", reasons.OrphanSoon(13, 14)),
        ("warn", reasons.Orphan(14)),
    ]


@pytest.mark.life("K-702")
def test_the_warning_of_an_orphan_names_no_plan() -> None:
    assert a_verdict(a_key(), a_row(), evidence=orphan(20)).step == Warn(
        a_key(),
        a_row(),
        unclaimed(),
        reasons.Orphan(20),
        400,
        in_days(14),
        usage_plan_ids=(),
    )


@pytest.mark.life("K-701")
def test_a_key_that_never_was_in_a_plan_is_an_orphan_orphan_days_after_it_was_made() -> None:
    evidence = an_evidence(a_reading("k9"))
    assert [a_verdict(a_key(age=age), evidence=evidence).word for age in (13, 14)] == [
        "keep",
        "warn",
    ]


@pytest.mark.life("K-701")
def test_the_nights_of_an_orphan_are_consecutive_only_in_an_unbroken_chain_of_evidence() -> None:
    for since_, word in ((12, "keep"), (13, "warn")):
        evidence = orphan(100, complete_since=days_ago(since_))
        assert a_verdict(a_key(), evidence=evidence).word == word
    assert a_verdict(a_key(), evidence=orphan(100, complete_since=None)).word == "keep"


@pytest.mark.life("K-503")
def test_an_orphan_that_waits_for_unread_plans_is_not_told_that_one_of_them_is_its_own() -> None:
    unread = [
        a_reading("k9", usage_plan_id=plan_id, name=plan_id, unread="failed")
        for plan_id in ("plan3", "plan2")
    ]
    evidence = an_evidence(a_reading("k9"), *unread, left_plans_on={KEY_ID: days_ago(20)})
    assert judged(a_verdict(a_key(), evidence=evidence)) == (
        "unknown",
        reasons.UseByDayUnread("plan2", 2),
    )


@pytest.mark.life("K-508")
def test_a_key_with_stage_keys_is_no_orphan() -> None:
    key = a_key(stage_keys=("api1/prod",))
    assert judged(a_verdict(key, evidence=orphan(100))) == ("unknown", reasons.StageKeys())


@pytest.mark.life("K-702")
def test_an_orphan_is_warned_disabled_and_parked_like_any_other() -> None:
    account = Account(a_policy())
    account.plan()
    account.nights(2)
    account.key("orphan")
    account.nights(50)
    assert account.steps("orphan") == [(2 + 14, "warn"), (2 + 28, "disable"), (2 + 42, "park")]


@pytest.mark.life("K-701", "K-702")
def test_a_key_that_leaves_its_plan_is_warned_orphan_days_later() -> None:
    account = Account(a_policy())
    account.plan()
    account.key("left", PLAN_ID, age=300, used=lambda _: True)
    account.nights(5)  # in its plan on the nights 0 to 4
    account.leave("left", PLAN_ID)
    account.nights(50)
    assert account.steps("left") == [(5 + 13, "warn"), (5 + 27, "disable"), (5 + 41, "park")]


@pytest.mark.life("K-702")
def test_an_orphan_that_finds_a_plan_is_left_alone() -> None:
    account = Account(a_policy())
    account.plan()
    account.key("orphan")
    account.nights(20)
    account.join("orphan", PLAN_ID)
    account.nights(13)
    assert account.steps("orphan") == [(14, "warn")]
    assert account.row("orphan").state is State.ACTIVE


@pytest.mark.life("K-703")
def test_idle_days_never_in_unclaimed_does_not_shield_orphans() -> None:
    policy = a_policy(unclaimed(idle_days="never"))
    assert a_verdict(a_key(), evidence=orphan(14), policy=policy).word == "warn"


@pytest.mark.life("K-601")
def test_idle_days_never_in_unclaimed_shields_a_key_that_is_in_a_plan() -> None:
    policy = a_policy(unclaimed(idle_days="never"))
    assert judged(a_verdict(a_key(), evidence=used(300), policy=policy)) == (
        "protected",
        reasons.TierNever("unclaimed"),
    )


@pytest.mark.life("K-703")
def test_idle_days_never_in_another_tier_shields_orphans_that_were_issued_in_it() -> None:
    policy = a_policy(a_tier("vip", idle_days="never", usage_plans=()))
    row = a_row(tier="vip", issued=True)
    assert judged(a_verdict(a_key(), row, evidence=orphan(300), policy=policy)) == (
        "protected",
        reasons.TierNever("vip"),
    )


@pytest.mark.life("K-703")
def test_a_missing_contact_shields_orphans() -> None:
    policy = a_policy(unclaimed(contact=None))
    assert judged(a_verdict(a_key(), evidence=orphan(14), policy=policy)) == (
        "protected",
        reasons.NoContact("unclaimed"),
    )


# --- adoption and first nights --------------------------------------------------------------------


@pytest.mark.life("K-801")
def test_a_key_that_the_ledger_does_not_know_is_adopted_by_the_sweep() -> None:
    plan = a_plan(a_key(age=1))
    assert plan.notes == (Adopt(a_key(age=1), "external", (PLAN_ID,)),)


@pytest.mark.life("K-801")
def test_an_adopted_key_belongs_to_the_tier_that_names_its_usage_plan() -> None:
    for names in (PLAN_ID, "external"):
        policy = a_policy(a_tier("partners", usage_plans=(names,)))
        assert a_plan(a_key(), policy=policy).notes == (Adopt(a_key(), "partners", (PLAN_ID,)),)


@pytest.mark.life("K-802")
def test_an_adopted_key_belongs_of_two_tiers_to_the_more_patient() -> None:
    evidence = an_evidence(
        a_reading(KEY_ID), a_reading(KEY_ID, usage_plan_id="plan2", name="partners")
    )
    for one, other, patient in (
        ({"idle_days": 60}, {"idle_days": 61}, "partners"),
        ({"idle_days": "never"}, {"idle_days": 3650}, "external"),
        ({"idle_days": 61}, {"idle_days": 60}, "external"),
        ({"contact": None}, {"idle_days": "never"}, "external"),
        ({"never_used_days": 15}, {}, "external"),
    ):
        policy = a_policy(a_tier(**one), a_tier("partners", **other))
        assert a_verdict(a_key(), evidence=evidence, policy=policy).tier.name == patient


@pytest.mark.life("K-802")
def test_a_key_of_two_plans_belongs_to_the_more_patient_tier() -> None:
    # Of one plan that two tiers name nobody knows whose it is: tests/unit/expiry/test_tiers.py.
    calm = a_tier("calm", usage_plans=("p2",), idle_days=90)
    evidence = an_evidence(a_reading(KEY_ID), a_reading(KEY_ID, usage_plan_id="p2", name="other"))
    verdict = a_verdict(a_key(), policy=a_policy(a_tier(), calm), evidence=evidence)
    assert verdict.tier.name == "calm"


@pytest.mark.life("K-604")
@pytest.mark.parametrize("tag", ["keyjanitor:keep", "KeyJanitor:Keep", "key_janitor:keep"])
def test_a_key_tagged_to_keep_is_kept_however_the_tag_is_written(tag: str) -> None:
    assert a_verdict(a_key(tags={tag: ""})).because == reasons.KeepTag()


@pytest.mark.life("K-801")
def test_an_adopted_key_belongs_else_to_unclaimed() -> None:
    policy = a_policy(a_tier("partners", usage_plans=()))
    assert a_plan(a_key(), policy=policy).notes == (Adopt(a_key(), "unclaimed", (PLAN_ID,)),)


@pytest.mark.life("K-804")
def test_the_first_night_of_a_key_brings_a_warning_at_the_most() -> None:
    plan = a_plan(
        a_key("k1"), a_key("k2", enabled=False), evidence=an_evidence(a_reading("k1", "k2"))
    )
    assert [verdict.word for verdict in plan.verdicts] == ["warn", "protected"]


@pytest.mark.life("K-804")
def test_the_first_night_of_a_ledger_brings_warnings_at_the_most() -> None:
    account = Account(a_policy())
    account.plan()
    for number in range(10):
        account.key(f"old{number}", PLAN_ID, age=300)
    assert account.night().applied == {"adopt": 11, "warn": 10}


WHY = "the first night"


@pytest.mark.life("K-804")
def test_after_two_nights_that_were_not_swept_there_are_warnings_at_the_most() -> None:
    keys = [a_key("k1"), a_key("k2"), a_key("k3", enabled=False, changed=14)]
    evidence = an_evidence(a_reading("k1", "k2", "k3"))
    plan = a_plan(
        *keys,
        rows=[a_row("k1"), a_warned_row("k2"), a_disabled_row("k3")],
        shelf=[a_parked_row("k4")],
        evidence=evidence,
        warnings_only=WHY,
    )
    due = reasons.Idle(400, days_ago(400), never_used=True)
    assert [judged(verdict) for verdict in plan.verdicts] == [
        ("warn", due),
        ("keep", reasons.NotTonight(WHY, due)),
        ("keep", reasons.NotTonight(WHY, due)),
    ]
    assert [type(step) for step in plan.steps] == [Warn]


@pytest.mark.life("K-804")
@pytest.mark.parametrize(("missed", "word"), [(0, "disable"), (1, "disable"), (2, "keep")])
def test_one_night_that_was_not_swept_stops_nothing_and_two_do(missed: int, word: str) -> None:
    account = Account(a_policy())
    account.plan()
    account.key("new", PLAN_ID)
    account.nights(28 - missed)
    for _ in range(missed):
        account.read()
        account.live()
    account.night()
    assert account.word("new") == word
    account.night()
    assert account.row("new").state is State.DISABLED


@pytest.mark.life("K-805")
def test_a_night_was_swept_when_a_run_not_in_observe_reached_decide() -> None:
    account = Account(a_policy())
    account.plan()
    account.key("new", PLAN_ID)
    account.nights(26)
    account.nights(2, Mode.OBSERVE)
    account.night()
    assert (account.steps("new"), account.word("new")) == ([(14, "warn")], "keep")


@pytest.mark.life("K-805")
def test_a_held_night_was_not_swept() -> None:
    account = Account(a_policy())
    account.plan()
    account.key("new", PLAN_ID)
    account.nights(26)
    account.ledger.held = "why"
    account.nights(2)
    account.ledger.held = None
    account.night()
    assert (account.steps("new"), account.word("new")) == ([(14, "warn")], "keep")


# --- rotated keys and keys with an end ------------------------------------------------------------


@pytest.mark.life("K-901")
def test_a_key_with_an_end_is_announced_with_that_date_as_disable_on() -> None:
    row = a_row(expires_on=in_days(14))
    verdict = a_verdict(a_key(), row, evidence=used(0))
    assert verdict.step == Warn(
        a_key(),
        row,
        EXTERNAL,
        reasons.Ends(in_days(14)),
        0,
        in_days(14),
        usage_plan_ids=(PLAN_ID,),
    )


@pytest.mark.life("K-901")
def test_a_key_with_an_end_is_not_announced_more_than_warn_days_before_it() -> None:
    verdict = a_verdict(a_key(), a_row(expires_on=in_days(15)), evidence=used(74))
    assert judged(verdict) == ("keep", reasons.EndsLater(in_days(15)))


@pytest.mark.life("K-901")
def test_a_key_with_an_end_is_disabled_on_it_used_or_not() -> None:
    for evidence in (used(0), used(300)):
        row = a_warned_row(expires_on=TODAY, disable_in=0)
        verdict = a_verdict(a_key(), row, evidence=evidence)
        assert judged(verdict) == ("disable", reasons.Ends(TODAY))


@pytest.mark.life("K-901")
def test_a_key_with_an_end_is_not_disabled_before_it() -> None:
    row = a_warned_row(expires_on=in_days(1), disable_in=1)
    verdict = a_verdict(a_key(), row, evidence=used(0))
    assert judged(verdict) == (
        "keep",
        reasons.Waits("disabled", in_days(1), reasons.Ends(in_days(1))),
    )


@pytest.mark.life("K-902")
@pytest.mark.parametrize("days", [1, 300])
def test_a_key_that_was_warned_as_idle_is_not_disabled_before_its_end(days: int) -> None:
    # Warned as idle, then rotated: what was announced was the idleness, what was agreed is the end.
    row = a_warned_row(warned=12, disable_in=0, expires_on=in_days(5))
    step = a_verdict(a_key(), row, evidence=used(days)).step
    assert isinstance(step, Warn)
    assert step.next_step_on == in_days(5)


@pytest.mark.life("K-902")
@pytest.mark.parametrize("warned", [0, 9])
def test_an_agreed_end_wins_over_a_later_date_that_was_announced_for_idleness(warned: int) -> None:
    row = a_warned_row(warned=warned, disable_in=5, expires_on=in_days(2), stepped_on=days_ago(1))
    step = a_verdict(a_key(), row, evidence=used(74)).step
    assert isinstance(step, Warn)
    assert (step.because, step.next_step_on) == (reasons.Ends(in_days(2)), in_days(2))


@pytest.mark.life("K-903")
def test_an_end_that_was_announced_on_the_day_before_it_is_announced_once() -> None:
    row = a_warned_row(warned=1, disable_in=0, expires_on=days_ago(3))
    assert a_verdict(a_key(), row, evidence=used(0)).word == "disable"


@pytest.mark.life("K-904")
def test_an_end_does_not_disable_a_key_whose_tags_are_unknown() -> None:
    row = a_warned_row(expires_on=TODAY)
    assert judged(a_verdict(a_key(tags=None), row)) == ("unknown", reasons.TagsUnread())


@pytest.mark.life("K-903")
def test_an_end_that_has_passed_unannounced_is_announced_a_day_before() -> None:
    verdict = a_verdict(a_key(), a_row(expires_on=days_ago(3)), evidence=used(0))
    assert isinstance(verdict.step, Warn)
    assert verdict.step.next_step_on == in_days(1)


@pytest.mark.life("K-903")
def test_no_end_comes_without_its_announcement() -> None:
    # Written by who agreed to the end: it has that date as `disable_on`, and nobody was told yet.
    row = a_row(expires_on=TODAY, disable_on=TODAY)
    assert a_verdict(a_key(), row, evidence=used(0)).word == "warn"


@pytest.mark.life("K-905")
def test_a_key_that_was_disabled_at_its_end_is_parked_on_its_date() -> None:
    row = a_disabled_row(expires_on=days_ago(14))
    verdict = a_verdict(a_key(enabled=False, changed=14), row, evidence=used(14))
    assert judged(verdict) == ("park", reasons.Ends(days_ago(14)))


# --- Never touched --------------------------------------------------------------------------------

OWNED = Owned(("Managed by Terraform",), ("terraform", "ManagedBy"), ("tf-",))


@pytest.mark.life("K-601")
def test_tiers_with_idle_days_never_are_never_touched() -> None:
    policy = a_policy(a_tier(idle_days="never"))
    assert judged(a_verdict(a_key(), a_warned_row(), evidence=used(400), policy=policy)) == (
        "protected",
        reasons.TierNever("external"),
    )


@pytest.mark.life("K-602")
def test_tiers_without_a_contact_are_never_touched() -> None:
    policy = a_policy(a_tier(contact=None))
    assert judged(a_verdict(a_key(), a_warned_row(), evidence=used(400), policy=policy)) == (
        "protected",
        reasons.NoContact("external"),
    )


@pytest.mark.life("K-603")
@pytest.mark.parametrize("days", [0, 1, 100])
def test_protected_keys_are_never_touched(days: int) -> None:
    row = a_warned_row(protected_until=in_days(days))
    assert judged(a_verdict(a_key(), row, evidence=used(400))) == (
        "protected",
        reasons.ProtectedUntil(in_days(days)),
    )


@pytest.mark.life("K-603")
def test_a_protection_that_has_ended_protects_no_more() -> None:
    row = a_warned_row(protected_until=YESTERDAY)
    assert a_verdict(a_key(), row, evidence=used(400)).word == "disable"


@pytest.mark.life("K-604")
@pytest.mark.parametrize("value", ["", "yes", "false"])
def test_keys_tagged_keyjanitor_keep_are_never_touched(value: str) -> None:
    key = a_key(tags={"keyjanitor:keep": value})
    assert judged(a_verdict(key, a_warned_row(), evidence=used(400))) == (
        "protected",
        reasons.KeepTag(),
    )


@pytest.mark.life("K-605")
def test_keys_of_a_cloudformation_stack_are_never_touched_known_by_their_tag() -> None:
    key = a_key(tags={"aws:cloudformation:stack-name": "shop-prod"})
    assert judged(a_verdict(key, a_warned_row(), evidence=used(400))) == (
        "protected",
        reasons.OwnedBy(Stack("shop-prod")),
    )


@pytest.mark.life("K-605")
def test_keys_of_a_cloudformation_stack_are_never_touched_known_by_asking_for_it() -> None:
    account = Account(a_policy())
    account.plan()
    account.key("new", PLAN_ID)
    account.owners.stacks["new"] = "shop-prod"
    account.nights(60)
    assert account.gateway.living["new"].enabled
    assert judged(account.night().plan.verdicts[-1]) == (
        "protected",
        reasons.OwnedBy(Stack("shop-prod")),
    )


@pytest.mark.life("K-606")
@pytest.mark.parametrize(
    ("more", "owner"),
    [
        ({"tags": {"terraform": "true"}}, Mark("tag", "terraform=true")),
        ({"tags": {"terraform": ""}}, Mark("tag", "terraform=")),
        ({"tags": {"ManagedBy": "Terraform"}}, Mark("tag", "ManagedBy=Terraform")),
        ({"description": "Managed by Terraform"}, Mark("description", "Managed by Terraform")),
        (
            {"description": "Managed by Terraform (shop)"},
            Mark("description", "Managed by Terraform"),
        ),
        ({"name": "tf-shop"}, Mark("name_prefix", "tf-")),
    ],
)
def test_keys_with_a_mark_under_owned_are_never_touched_and_reported_with_their_owner(
    more: dict[str, Any], owner: Owner
) -> None:
    policy = a_policy(owned=OWNED)
    verdict = a_verdict(a_key(**more), a_warned_row(), evidence=used(400), policy=policy)
    assert judged(verdict) == ("protected", reasons.OwnedBy(owner))


@pytest.mark.life("K-606")
@pytest.mark.parametrize(
    "more",
    [
        {"tags": {"Terra": "x", "Team": "terraform"}},
        {"description": "Not Managed by Terraform"},
        {"name": "a tf-shop"},
    ],
)
def test_what_only_looks_like_a_mark_owns_nothing(more: dict[str, Any]) -> None:
    assert owner_by_marks(a_key(**more), bound(a_policy(owned=OWNED))) is None


@pytest.mark.life("K-607")
@pytest.mark.parametrize("state", [State.ACTIVE, State.WARNED])
def test_keys_that_someone_else_disabled_are_never_touched(state: State) -> None:
    row = replace(a_warned_row(), state=state)
    for known in (row, None):
        verdict = a_verdict(a_key(enabled=False), known, evidence=used(400))
        assert judged(verdict) == ("protected", reasons.DisabledByOthers())


@pytest.mark.life("K-608")
def test_a_key_that_is_being_restored_is_never_touched_nor_adopted() -> None:
    key = a_key(name="keyjanitor-restore-k9", enabled=False)
    plan = a_plan(key)
    assert (judged(plan.verdicts[0]), plan.notes) == (
        ("protected", reasons.BeingRestored()),
        (),
    )


@pytest.mark.life("K-609")
def test_whatever_protects_a_key_clears_its_dates() -> None:
    row = a_warned_row(protected_until=TODAY)
    assert a_plan(a_key(), rows=[row]).notes == (Clear(row, State.ACTIVE),)
    disabled = a_disabled_row(protected_until=TODAY)
    key = a_key(enabled=False, changed=14)
    assert a_plan(key, rows=[disabled]).notes == (Clear(disabled, State.DISABLED),)


@pytest.mark.life("K-609")
def test_what_never_is_touched_is_reported_with_the_name_of_who_owns_it() -> None:
    row = a_row(owned_by=Stack("shop-prod"))
    told = protection(a_key(), row, TODAY, bound())
    assert str(told) == "owned by stack shop-prod"


# --- Look again, then claim -----------------------------------------------------------------------


def on_the_day_of_the_disabling() -> Account:
    account = Account(a_policy())
    account.plan()
    account.key("new", PLAN_ID)
    account.nights(28)
    account.read()
    return account


def between_list_and_look(account: Account, **what: Any) -> None:
    """Changes the key after it was listed and before it is looked at again."""
    listed = account.gateway.keys

    def keys() -> list[ApiKey]:
        answer = listed()
        account.gateway.change("new", hour=2, **what)
        return answer

    account.gateway.keys = keys  # type: ignore[method-assign]


@pytest.mark.life("K-1101")
@pytest.mark.parametrize(
    "what", [{"enabled": False}, {"description": "changed"}, {"tags": {"keyjanitor:keep": "1"}}]
)
def test_right_before_a_key_is_touched_it_is_read_once_more(what: dict[str, Any]) -> None:
    account = on_the_day_of_the_disabling()
    between_list_and_look(account, **what)
    assert account.sweep().applied == {}


@pytest.mark.life("K-1101")
def test_right_before_a_key_is_touched_its_tags_are_read_once_more() -> None:
    account = on_the_day_of_the_disabling()
    listed = account.owners.tags

    def tags() -> dict[str, dict[str, str]]:
        answer = listed()
        tagged = replace(account.gateway.living["new"], tags={"keyjanitor:keep": "1"})
        account.gateway.living["new"] = tagged
        return answer

    account.owners.tags = tags  # type: ignore[method-assign]
    assert account.sweep().applied == {}


@pytest.mark.life("K-1103")
def test_whoever_loses_the_claim_leaves_the_key_alone() -> None:
    account = on_the_day_of_the_disabling()
    asked = account.owners.stack_of

    def stack_of(key_id: str) -> str | None:
        row = account.ledger.rows[key_id]
        account.ledger.rows[key_id] = replace(row, version=row.version + 1, renewed_on=TODAY)
        return asked(key_id)

    account.owners.stack_of = stack_of  # type: ignore[method-assign]
    assert account.sweep().applied == {}
    assert account.gateway.living["new"].enabled


@pytest.mark.life("K-1105")
def test_a_hold_stops_every_action_at_once() -> None:
    account = Account(a_policy())
    account.plan()
    for number in range(5):
        account.key(f"new{number}", PLAN_ID)
    account.nights(28)
    account.read()
    asked = account.owners.stack_of
    looked: list[str] = []

    def stack_of(key_id: str) -> str | None:
        looked.append(key_id)
        if len(looked) == 3:
            account.ledger.held = "stop"
        return asked(key_id)

    account.owners.stack_of = stack_of  # type: ignore[method-assign]
    swept = account.sweep()
    assert (swept.applied, swept.outcome.held) == ({"disable": 2}, "stop")


@pytest.mark.life("K-1001")
def test_the_contact_of_a_tier_is_told_of_each_warning() -> None:
    account = Account(a_policy())
    account.plan()
    account.key("new", PLAN_ID)
    account.nights(15)
    assert [
        (one.detail_type, one.detail["contact"], one.detail["disable_on"])
        for one in account.told.events
    ] == [("Key Expiring", CONTACT, str(in_days(28)))]
    assert [alert.kind for alert in account.told.alerts] == ["expiring"]


@pytest.mark.life("K-209")
def test_a_day_is_a_day_wherever_the_tests_run() -> None:
    assert at(TODAY).date() + DAY == in_days(1)


# --- use brings a key back ------------------------------------------------------------------------


@pytest.mark.life("K-1202")
def test_a_key_used_in_the_hours_before_we_disabled_it_is_given_back() -> None:
    # Read at 02:15 of the date, used at 02:30, disabled at 03:15: the next night sees the use.
    key, row = a_key(enabled=False, changed=1), a_disabled_row(disabled=1, park_in=13)
    plan = a_plan(key, rows=[row], evidence=used(1))
    assert plan.steps == (Enable(key, row, days_ago(1)),)
    assert plan.counts["keep"] == len(plan.verdicts)
    assert plan.for_mode(Mode.OBSERVE).steps == ()


@pytest.mark.life("K-1202")
def test_a_key_that_we_disabled_rightly_is_not_given_back_by_a_more_patient_policy() -> None:
    key, row = a_key(enabled=False, changed=14), a_disabled_row(disabled=14, park_in=0)
    policy = a_policy(a_tier(idle_days=365))
    plan = a_plan(key, rows=[row], evidence=used(88), policy=policy)
    assert plan.steps == ()
    assert plan.notes == (Clear(row, State.DISABLED),)
