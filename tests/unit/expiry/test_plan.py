"""Four moves: the allowance of a date, its order, the brake, the digest, the approval, the modes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import pytest

from keyjanitor.domain.expiry import reasons
from keyjanitor.domain.expiry.sweep_plan import (
    APPROVED_ONLY,
    Disable,
    Enable,
    Missing,
    Park,
    Purge,
    SweepPlan,
    Verdict,
    Warn,
    action_of,
    digest_of,
    key_id_of,
    within_allowance,
)
from keyjanitor.domain.model.keys import Mode, SweepAction
from keyjanitor.domain.model.policy import Sweep
from tests.builders import (
    CALM,
    TODAY,
    a_disabled_row,
    a_key,
    a_parked_row,
    a_plan,
    a_policy,
    a_reading,
    a_row,
    a_tier,
    a_warned_row,
    an_evidence,
    days_ago,
    in_days,
)

TIER = a_tier()
Step = Warn | Disable | Park | Purge


def warn(key_id: str, days: int = 60, because: reasons.Due | None = None) -> Warn:
    due = because or reasons.Idle(days, days_ago(days))
    return Warn(a_key(key_id), a_row(key_id), TIER, due, days, in_days(14))


def disable(key_id: str, days: int = 74, because: reasons.Due | None = None) -> Disable:
    due = because or reasons.Idle(days, days_ago(days))
    return Disable(a_key(key_id), a_warned_row(key_id), TIER, due, days, in_days(14))


def park(key_id: str, days: int = 88) -> Park:
    due = reasons.Idle(days, days_ago(days))
    return Park(a_key(key_id), a_disabled_row(key_id), TIER, due, days, in_days(365))


def purge(key_id: str, purge_in: int = 0) -> Purge:
    return Purge(a_parked_row(key_id, purge_in=purge_in))


MAKERS: dict[str, Callable[[str], Step]] = {
    "warn": warn,
    "disable": disable,
    "park": park,
    "purge": purge,
}


def planned(
    *steps: Step,
    enables: Sequence[Enable] = (),
    allowance: int = 20,
    stepped: dict[SweepAction, int] | None = None,
) -> SweepPlan:
    words = {Warn: "warn", Disable: "disable", Park: "park"}
    return within_allowance(
        today=TODAY,
        verdicts=[
            Verdict(step.key, step.row, TIER, words[type(step)], step.because, step=step)  # type: ignore[arg-type]
            for step in steps
            if not isinstance(step, Purge)
        ],
        notes=(),
        purges=[step for step in steps if isinstance(step, Purge)],
        enables=enables,
        allowance=allowance,
        stepped=stepped or {},
        pressure=CALM,
    )


def ids(plan: SweepPlan) -> list[tuple[str, str]]:
    return [(str(action_of(step)), key_id_of(step)) for step in plan.steps]


# --- the allowance --------------------------------------------------------------------------------


@pytest.mark.life("K-1301")
@pytest.mark.parametrize(
    ("max_share", "max_keys", "keys", "allowance"),
    [
        (0.05, 500, 10_000, 500),
        (0.05, 500, 9_999, 499),
        (0.05, 500, 20_000, 500),
        (0.05, 100, 10_000, 100),
        (0.05, 500, 400, 20),
        (0.05, 500, 420, 21),
        (0.05, 500, 419, 20),
        (0.05, 500, 0, 20),
        (1.0, 5, 10_000, 20),
    ],
)
def test_the_allowance_is_max_20_and_min_of_max_share_x_keys_and_max_keys(
    max_share: float, max_keys: int, keys: int, allowance: int
) -> None:
    assert Sweep(max_share, max_keys).allowance(keys) == allowance


def test_the_allowance_counts_all_keys_of_the_account() -> None:
    plan = a_plan(*(a_key(f"k{n:03}", age=1) for n in range(500)), policy=a_policy(max_share=0.5))
    assert plan.allowance == 250
    plan = a_plan(*(a_key(f"k{n:03}", age=1) for n in range(419)))
    assert plan.allowance == 20  # of one key more it were 21


def test_the_allowance_of_a_date_counts_the_keys_that_were_parked_on_it() -> None:
    keys = [a_key(f"k{n:03}", age=1) for n in range(400)]
    plan = a_plan(*keys, policy=a_policy(max_share=0.5), stepped={SweepAction.PARK: 100})
    assert plan.allowance == 250


def test_a_key_that_was_parked_on_the_date_and_is_back_counts_once() -> None:
    keys = [a_key(f"k{n:03}", age=0) for n in range(500)]
    back = [a_row(key.key_id, restored_on=TODAY, was_parked_on=TODAY) for key in keys[:100]]
    enabled = [a_row(key.key_id, restored_on=TODAY) for key in keys[100:]]
    plan = a_plan(
        *keys,
        policy=a_policy(max_share=0.5),
        rows=[*back, *enabled],
        stepped={SweepAction.PARK: 100},
    )
    assert plan.allowance == 250


@pytest.mark.life("K-1301")
def test_on_one_date_at_most_so_many_are_warned_so_many_disabled_parked_and_purged() -> None:
    plan = planned(
        *(make(f"{verb}{n}") for verb, make in MAKERS.items() for n in range(5)),
        allowance=3,
    )
    assert ids(plan) == [(verb, f"{verb}{n}") for verb in MAKERS for n in range(3)]


@pytest.mark.life("K-1301")
def test_what_was_done_on_the_date_already_counts_against_its_allowance() -> None:
    plan = planned(
        *(make(f"{verb}{n}") for verb, make in MAKERS.items() for n in range(5)),
        allowance=3,
        stepped={
            SweepAction.WARN: 2,
            SweepAction.DISABLE: 3,
            SweepAction.PARK: 4,
            SweepAction.PURGE: 1,
        },
    )
    assert ids(plan) == [("warn", "warn0"), ("purge", "purge0"), ("purge", "purge1")]


@pytest.mark.life("K-1303")
def test_the_rest_waits_for_the_next_night_and_is_kept() -> None:
    plan = planned(disable("k1"), disable("k2"), allowance=1)
    due = reasons.Idle(74, days_ago(74))
    assert [(one.word, one.because, one.step) for one in plan.verdicts] == [
        ("disable", due, disable("k1")),
        ("keep", reasons.AwaitsAllowance(due), None),
    ]
    assert plan.counts == {
        "keep": 1,
        "unknown": 0,
        "protected": 0,
        "warn": 0,
        "disable": 1,
        "park": 0,
    }


# --- the order ------------------------------------------------------------------------------------


@pytest.mark.life("K-1302")
def test_the_longest_idle_go_first_then_by_key_id() -> None:
    steps = [disable("b", 80), disable("c", 90), disable("a", 80), disable("d", 70)]
    for seed in range(5):
        Random(seed).shuffle(steps)
        plan = planned(*steps, allowance=3)
        assert ids(plan) == [("disable", "c"), ("disable", "a"), ("disable", "b")]


@pytest.mark.life("K-1302")
def test_an_agreed_end_goes_before_the_longest_idle() -> None:
    plan = planned(disable("a", 300), disable("b", 0, reasons.Ends(TODAY)), allowance=1)
    assert ids(plan) == [("disable", "b")]


def test_an_orphan_waits_no_longer_than_others_that_are_as_long_idle() -> None:
    evidence = an_evidence(
        a_reading(*(f"k{n:02}" for n in range(30))),
        used={f"k{n:02}": days_ago(70) for n in range(30)},
    )
    keys = [a_key(f"k{n:02}") for n in range(30)]
    plan = a_plan(*keys, a_key("orphan", age=300), evidence=evidence)
    assert ids(plan)[0] == ("warn", "orphan")


def test_a_key_whose_last_step_failed_goes_last_so_that_it_holds_up_no_other() -> None:
    failed = disable("k1", 200)
    failed = replace(failed, row=replace(failed.row, failed_on=days_ago(1)))
    lost = Purge(replace(a_parked_row("p1", purge_in=-9), failed_on=days_ago(1)))
    plan = planned(failed, disable("k2"), lost, purge("p2"), allowance=1)
    assert ids(plan) == [("disable", "k2"), ("purge", "p2")]
    plan = planned(failed, disable("k2"), lost, purge("p2"))
    assert [key_id for _, key_id in ids(plan)] == ["k2", "k1", "p2", "p1"]


def test_purges_go_by_their_date_then_by_key_id() -> None:
    plan = planned(purge("b", -1), purge("a", 0), purge("c", -9), purge("d", -1), allowance=3)
    assert ids(plan) == [("purge", "c"), ("purge", "b"), ("purge", "d")]


def test_warnings_are_carried_out_first() -> None:
    plan = planned(purge("p"), park("k"), disable("d"), warn("w"))
    assert [verb for verb, _ in ids(plan)] == ["warn", "disable", "park", "purge"]


def test_keys_are_given_back_before_all_else_by_their_ids() -> None:
    enables = [Enable(a_key(name), a_disabled_row(name), days_ago(1)) for name in ("e2", "e1")]
    plan = planned(warn("w"), enables=enables, allowance=0)
    assert ids(plan) == [("enable", "e1"), ("enable", "e2")]
    assert plan.waiting == 1
    assert ids(plan.braked()) == ids(plan.approved(frozenset())) == ids(plan)


# --- the brake (when it is on: test_safety_brake.py) ------------------------------------------------


@pytest.mark.life("K-1403")
def test_while_the_brake_is_on_nothing_goes_and_the_verdicts_say_so() -> None:
    plan = planned(warn("w"), disable("d"), park("k"), purge("p")).braked()
    assert ids(plan) == []
    assert [one.word for one in plan.verdicts] == ["keep", "keep", "keep"]
    assert {str(one.because).partition(":")[0] for one in plan.verdicts} == {
        "not tonight (the safety brake is on)"
    }
    assert len(plan.due) == 4


def test_every_kind_of_step_is_named_with_its_number_deletions_first() -> None:
    steps: list[Step] = [
        *(disable(f"d{n}") for n in range(3)),
        park("k1"),
        park("k2"),
        warn("w"),
        purge("p"),
    ]
    assert list(planned(*steps, allowance=1).kinds.items()) == [
        (SweepAction.PARK, 2),
        (SweepAction.PURGE, 1),
        (SweepAction.DISABLE, 3),
        (SweepAction.WARN, 1),
    ]


def test_a_plan_says_how_many_steps_wait_for_a_later_nights_allowance() -> None:
    plan = planned(disable("d1"), disable("d2"), disable("d3"), park("k"), allowance=1)
    assert plan.waiting == 2


# --- digest and approval --------------------------------------------------------------------------


def test_the_digest_is_of_the_sorted_pairs_of_action_and_key_id() -> None:
    assert planned(park("k2"), warn("k1")).digest == digest_of([("warn", "k1"), ("park", "k2")])
    assert digest_of([("park", "k2"), ("warn", "k1")]) == digest_of(
        [("warn", "k1"), ("park", "k2")]
    )
    assert digest_of([("warn", "k1"), ("park", "k2")]) == "df09a056ab0bad63"


def test_the_digest_is_of_all_that_is_due_and_not_of_what_the_allowance_lets_through() -> None:
    steps = [disable(f"k{n}") for n in range(5)]
    assert planned(*steps, allowance=1).digest == planned(*steps, allowance=5).digest


def test_the_digest_differs_by_action_and_by_key() -> None:
    digests = {planned(step).digest for step in (warn("a"), disable("a"), park("a"), park("b"))}
    assert len(digests) == 4


@pytest.mark.life("K-1304")
def test_an_approval_applies_exactly_what_the_saved_plan_and_tonights_have_in_common() -> None:
    saved = planned(warn("w1"), disable("k1"), disable("k2"), park("k3"), purge("k9"))
    tonight = planned(
        *(warn("w1"), warn("w2"), disable("k2"), disable("k4"), disable("k3"), purge("k9")),
        allowance=0,
    )
    assert ids(tonight.approved(saved.pairs)) == [
        ("warn", "w1"),
        ("disable", "k2"),
        ("purge", "k9"),
    ]


def test_the_verdicts_of_an_approved_plan_say_who_goes_and_who_waits() -> None:
    tonight = planned(disable("k1"), disable("k2"), disable("k3"), allowance=1)
    approved = tonight.approved(frozenset({("disable", "k2"), ("disable", "k3")}))
    first, second, third = tonight.due
    assert [(one.word, one.step) for one in approved.verdicts] == [
        ("keep", None),
        ("disable", second),
        ("disable", third),
    ]
    assert [one.because for one in approved.verdicts] == [
        reasons.NotTonight(APPROVED_ONLY, first.because),  # type: ignore[union-attr]
        reasons.Idle(74, days_ago(74)),
        reasons.Idle(74, days_ago(74)),
    ]


def test_an_approved_plan_has_the_words_of_its_steps() -> None:
    plan = planned(warn("w"), disable("d"), park("k"), allowance=0)
    assert [one.word for one in plan.verdicts] == ["keep", "keep", "keep"]
    approved = plan.approved(plan.pairs)
    assert [one.word for one in approved.verdicts] == ["warn", "disable", "park"]


def test_a_plan_holds_what_it_was_made_of() -> None:
    key, row = a_key("k1"), a_row("k1")
    kept = Verdict(key, row, TIER, "keep", reasons.KeepTag())
    plan = within_allowance(
        today=TODAY,
        verdicts=[kept],
        notes=[Missing(a_row("k2"))],
        purges=[],
        allowance=7,
        stepped={SweepAction.WARN: 1},
        pressure=CALM,
    )
    assert plan == SweepPlan(
        today=TODAY,
        verdicts=(kept,),
        notes=(Missing(a_row("k2")),),
        steps=(),
        due=(),
        stepped={SweepAction.WARN: 1},
        allowance=7,
        pressure=CALM,
    )


def test_nothing_is_approved_twice() -> None:
    plan = planned(disable("k1"), warn("w"))
    once = plan.approved(plan.pairs)
    assert once.approved(plan.pairs) == once


# --- modes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "verbs"),
    [
        (Mode.OBSERVE, []),
        (Mode.DISABLE, ["warn", "disable"]),
        (Mode.PARK, ["warn", "disable", "park", "purge"]),
    ],
)
def test_a_mode_carries_out_its_part_of_the_plan(mode: Mode, verbs: list[str]) -> None:
    plan = planned(warn("w"), disable("d"), park("k"), purge("p")).for_mode(mode)
    assert [verb for verb, _ in ids(plan)] == verbs
    assert sorted(verb for verb, _ in plan.pairs) == sorted(verbs)


def test_the_verdicts_are_the_same_in_every_mode() -> None:
    plan = planned(warn("w"), disable("d"), park("k"))
    assert [plan.for_mode(mode).verdicts for mode in Mode] == [plan.verdicts] * 3
