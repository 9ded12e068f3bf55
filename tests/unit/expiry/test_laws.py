"""Laws: true of every key on every night, whatever the ledger, the evidence and the policy say."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyjanitor.domain.expiry import reasons
from keyjanitor.domain.expiry.sweep_input import SweepInput
from keyjanitor.domain.expiry.sweep_plan import (
    Disable,
    Enable,
    Park,
    Purge,
    SweepPlan,
    Verdict,
    Warn,
)
from keyjanitor.domain.expiry.verdicts import decide
from keyjanitor.domain.model.keys import ApiKey, State, SweepAction
from keyjanitor.domain.model.owners import Stack
from keyjanitor.domain.model.policy import Policy, PressureRule
from keyjanitor.domain.model.records import Row
from keyjanitor.domain.usage.access_logs import SeenInLogs, StageLog
from keyjanitor.domain.usage.evidence import Evidence
from tests.builders import (
    DAY,
    TODAY,
    a_disabled_row,
    a_key,
    a_night,
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

DAYS = st.integers(1, 100)
DAYS = st.integers(0, 200)
MAYBE = st.none() | DAYS

POLICIES = st.builds(
    lambda idle, never_used, warn, grace, orphan, pressure_row: a_policy(
        a_tier(
            idle_days=idle,
            never_used_days=never_used,
            warn_days=warn,
            grace_days=grace,
            orphan_days=orphan,
        ),
        pressure=pressure_row,
    ),
    DAYS,
    DAYS,
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(1, 30),
    st.sampled_from([(), (PressureRule(0.00001, 0.5, ()),), (PressureRule(0.00001, 0.1, ()),)]),
)

# What may be out of the ordinary with a key, or with its night; most often nothing is.
OF_A_KEY: dict[str, dict[str, Any]] = {
    "kept": {"tags": {"keyjanitor:keep": ""}},
    "of unknown tags": {"tags": None},
    "of terraform": {"tags": {"terraform": "1"}},
    "of a stack": {"tags": {"aws:cloudformation:stack-name": "s"}},
    "described": {"description": "Managed by Terraform"},
    "closed": {"enabled": False},
    "open": {"enabled": True},
    "named by a stage": {"stage_keys": ("api1/prod",)},
}
OF_A_ROW: dict[str, dict[str, Any]] = {
    "owned": {"owned_by": Stack("s")},
    "protected": {"protected_until": in_days(3)},
    "no more protected": {"protected_until": days_ago(3)},
    "stepped": {"stepped_on": TODAY},
    "issued": {"issued": True},
    "known for a day": {"adopted_on": days_ago(1)},
}
OF_A_NIGHT = [
    "in no plan",
    "in two plans",
    "unread",
    "members unread",
    "silent",
    "dark",
    "first",
    "no tombstone opens",
    "in a broken chain",
]
ODDITIES: st.SearchStrategy[set[str]] = st.sets(
    st.sampled_from([*OF_A_KEY, *OF_A_ROW, *OF_A_NIGHT, "ends"]), max_size=2
) | st.just(set())


@st.composite
def logs(draw: Any, key_ids: list[str]) -> SeenInLogs | None:
    """What access logs showed: nothing, or use, and stages that were read whole or not."""
    if draw(st.integers(0, 2)) == 0:
        return None
    stages = {}
    for name in draw(st.sets(st.sampled_from(["api1:prod", "api2:prod"]))):
        since = at(days_ago(draw(st.sampled_from([2, 10, 50, 120, 400]))))
        stages[name] = StageLog(
            name,
            since=draw(st.sampled_from([since, since, since, None])),
            through=draw(st.sampled_from([at(TODAY), at(TODAY), at(TODAY), at(days_ago(1))])),
            witnessed=draw(st.sampled_from([True, True, True, False])),
            problem=draw(st.sampled_from([None, None, None, "it failed"])),
        )
    used = draw(st.dictionaries(st.sampled_from(key_ids), DAYS))
    return SeenInLogs(
        last_used={key_id: days_ago(days) for key_id, days in used.items()},
        stages=stages,
        through=draw(st.sampled_from([at(TODAY), at(TODAY), None])),
    )


@st.composite
def lives(draw: Any, key_id: str, odd: set[str]) -> tuple[ApiKey, Row | None, dict[str, date]]:
    """A key, its row, and on which days it was last used and its plans changed."""
    age, changed, used, plans, renewed, restored, remembered = draw(
        st.tuples(st.integers(0, 400), *[MAYBE] * 6)
    )
    state = draw(st.sampled_from([None, State.ACTIVE, *[State.WARNED, State.DISABLED] * 3]))
    warned, ahead, ends = draw(
        st.tuples(st.integers(1, 150), st.integers(-60, 10), st.integers(-20, 20))
    )
    key_more: dict[str, Any] = {"enabled": state is not State.DISABLED}
    row_more: dict[str, Any] = {
        "renewed_on": None if renewed is None else days_ago(renewed),
        "restored_on": None if restored is None else days_ago(restored),
        "last_used": None if remembered is None else days_ago(remembered),
    }
    for name in sorted(odd):
        key_more |= OF_A_KEY.get(name, {})
        row_more |= OF_A_ROW.get(name, {})
    if "ends" in odd:
        row_more["expires_on"] = in_days(ends)
    key = a_key(key_id, age=age, changed=changed and min(age, changed), **key_more)
    row: Row | None = None
    if state is State.ACTIVE:
        row = a_row(key_id, **row_more)
    elif state is State.WARNED:
        row = a_warned_row(key_id, warned=warned, disable_in=ahead, **row_more)
    elif state is State.DISABLED:
        row = a_disabled_row(key_id, disabled=warned, park_in=ahead, **row_more)
    told = {"used": used, "plans": plans}
    return key, row, {name: days_ago(days) for name, days in told.items() if days is not None}


@st.composite
def nights(draw: Any, most: int = 1, always: tuple[str, ...] = ()) -> tuple[SweepInput, Policy]:
    odd = {*always, *draw(ODDITIES)}
    ids = [f"k{index}" for index in range(most if most == 1 else draw(st.integers(1, most)))]
    drawn = [draw(lives(key_id, odd)) for key_id in ids]
    first = a_reading(
        *([] if "in no plan" in odd else ids),
        unread="failed" if "unread" in odd else None,
        members_read="members unread" not in odd,
    )
    second = a_reading(
        *(ids if "in two plans" in odd else []),
        usage_plan_id="plan2",
        name="other",
        stages=("api2:prod",),
    )
    evidence = an_evidence(
        first,
        second,
        used={key.key_id: told["used"] for key, _, told in drawn if "used" in told},
        plans_changed={key.key_id: told["plans"] for key, _, told in drawn if "plans" in told},
        witnessed_plans=[] if "silent" in odd else None,
        complete_since=days_ago(9) if "in a broken chain" in odd else days_ago(365),
        first_day=days_ago(draw(st.sampled_from([455, 455, 90, 30]))),
        used_by_day={days_ago(back): 99 for back in range(3, 10)}
        | {days_ago(2): 1 if "dark" in odd else 99},
        seen_in_logs=draw(logs(ids)),
    )
    night = a_night(
        *(key for key, _, _ in drawn),
        rows=[row for _, row, _ in drawn if row is not None],
        evidence=evidence,
        warnings_only="the first night" if "first" in odd else None,
        tombstones_open="no tombstone opens" not in odd,
    )
    return night, draw(POLICIES)


law = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def planned(drawn: tuple[SweepInput, Policy]) -> SweepPlan:
    night, policy = drawn
    return decide(night, bound(policy, night.evidence))


def last_use(night: SweepInput, key_id: str) -> date | None:
    row = night.rows.get(key_id)
    seen = night.evidence.seen_in_logs
    told = [
        night.evidence.last_used.get(key_id),
        row.last_used if row else None,
        seen.last_used.get(key_id) if seen else None,
    ]
    return max((day for day in told if day), default=None)


@law
@given(nights())
def test_every_key_gets_exactly_one_verdict(drawn: tuple[SweepInput, Policy]) -> None:
    plan = planned(drawn)
    assert [verdict.key for verdict in plan.verdicts] == list(drawn[0].keys)
    assert sum(plan.counts.values()) == len(drawn[0].keys)


@law
@given(nights())
def test_only_a_key_that_we_disabled_is_parked(drawn: tuple[SweepInput, Policy]) -> None:
    for step in planned(drawn).steps:
        if isinstance(step, Park):
            assert (step.key.enabled, step.row.state) == (False, State.DISABLED)


@law
@given(nights())
def test_only_a_key_that_was_warned_is_disabled_or_parked_and_not_before_its_date(
    drawn: tuple[SweepInput, Policy],
) -> None:
    for step in planned(drawn).steps:
        if isinstance(step, Disable):
            assert step.row.state is State.WARNED
            assert step.row.disable_on is not None
            assert step.row.disable_on <= TODAY
        elif isinstance(step, Park):
            assert step.row.park_on is not None
            assert step.row.park_on <= TODAY


@law
@given(nights())
def test_nothing_stepped_today_steps_again(drawn: tuple[SweepInput, Policy]) -> None:
    for step in planned(drawn).due:
        if isinstance(step, Warn | Disable | Park) and step.row is not None:
            assert step.row.stepped_on != TODAY


@law
@given(nights())
def test_no_key_used_within_its_idle_limit_is_ever_warned_disabled_or_parked(
    drawn: tuple[SweepInput, Policy],
) -> None:
    night, policy = drawn
    for verdict in planned(drawn).verdicts:
        used = last_use(night, verdict.key.key_id)
        agreed = verdict.row is not None and verdict.row.expires_on is not None
        orphan = not verdict.usage_plan_ids
        if used is None or agreed or orphan or verdict.tier.idle_days == "never":
            continue
        factor = policy.pressure_at(len(night.keys)).idle_factor
        idle_limit = max(min(verdict.tier.idle_days, 35), int(verdict.tier.idle_days * factor))
        if (TODAY - used).days < idle_limit:
            assert verdict.step is None


@law
@given(nights(always=("silent",)))
def test_a_silent_plan_is_believed_only_for_as_long_as_access_logs_show_all_of_it(
    drawn: tuple[SweepInput, Policy],
) -> None:
    night, policy = drawn
    seen = night.evidence.seen_in_logs
    for verdict in planned(drawn).verdicts:
        agreed = verdict.row is not None and verdict.row.expires_on is not None
        if verdict.step is None or agreed:
            continue
        for plan_id in verdict.usage_plan_ids:
            assert seen is not None
            stages = [seen.stages[stage] for stage in night.evidence.plans[plan_id].stages]
            assert all(one.witnessed and one.problem is None for one in stages)
            assert {one.through for one in stages} == {seen.through} == {at(TODAY)}
            first = max(one.since.date() for one in stages if one.since)
            factor = policy.pressure_at(len(night.keys)).idle_factor
            limits = (
                verdict.tier.idle_limit(never_used=True, factor=factor),
                verdict.tier.idle_limit(never_used=False, factor=factor),
            )
            assert (TODAY - first).days > min(limit for limit in limits if limit is not None)


@law
@given(nights())
def test_logs_that_are_not_whole_are_as_good_as_none_but_for_the_use_in_them(
    drawn: tuple[SweepInput, Policy],
) -> None:
    night, policy = drawn
    seen = night.evidence.seen_in_logs
    if seen is None:
        return
    broken = {
        name: replace(one, problem=one.problem or "it failed") for name, one in seen.stages.items()
    }
    some = replace(night.evidence, seen_in_logs=replace(seen, stages=broken))
    none = replace(night.evidence, seen_in_logs=SeenInLogs(last_used=seen.last_used))
    assert planned((replace(night, evidence=some), policy)) == planned(
        (replace(night, evidence=none), policy)
    )


@law
@given(nights(always=("ends",)))
def test_no_key_with_an_end_is_disabled_before_it(drawn: tuple[SweepInput, Policy]) -> None:
    for step in planned(drawn).due:
        if isinstance(step, Disable) and step.row.expires_on is not None:
            assert step.row.expires_on <= TODAY


@law
@given(nights())
def test_no_key_whose_clock_restarted_after_its_warning_takes_the_next_step(
    drawn: tuple[SweepInput, Policy],
) -> None:
    for verdict in planned(drawn).verdicts:
        if isinstance(verdict.step, Disable | Park) and isinstance(
            verdict.step.because, reasons.Idle
        ):
            warned_on = verdict.step.row.warned_on
            assert warned_on is not None
            assert verdict.idle_since is not None
            assert verdict.idle_since < warned_on


@law
@given(nights())
def test_what_is_protected_is_never_touched(drawn: tuple[SweepInput, Policy]) -> None:
    for verdict in planned(drawn).verdicts:
        key, row, tags = verdict.key, verdict.row, verdict.key.tags or {}
        ours = row is not None and row.state is State.DISABLED
        if (
            "keyjanitor:keep" in tags
            or "terraform" in tags
            or "aws:cloudformation:stack-name" in tags
            or key.description == "Managed by Terraform"
            or (row is not None and row.owned_by is not None)
            or (row is not None and row.protected_until and row.protected_until >= TODAY)
            or (not key.enabled and not ours)
            or verdict.tier.contact is None
        ):
            assert (verdict.word, verdict.step) == ("protected", None)


@law
@given(nights())
def test_an_unknown_is_kept(drawn: tuple[SweepInput, Policy]) -> None:
    night, _ = drawn
    plans = night.evidence.plans
    blind = not all(plan.members_read for plan in plans.values())
    for verdict in planned(drawn).verdicts:
        agreed = verdict.row is not None and verdict.row.expires_on is not None
        unread = any(plans[plan_id].unread is not None for plan_id in verdict.usage_plan_ids)
        if verdict.key.tags is None or (not agreed and (blind or unread)):
            assert verdict.step is None
        if isinstance(verdict.because, reasons.Unknown):
            assert (verdict.word, verdict.step) == ("unknown", None)


@law
@given(nights())
def test_on_a_first_night_there_are_warnings_at_the_most(drawn: tuple[SweepInput, Policy]) -> None:
    night, policy = drawn
    first = replace(night, warnings_only="first night")
    assert all(isinstance(step, Warn) for step in planned((first, policy)).due)
    for step in planned(drawn).due:
        if isinstance(step, Disable | Park):
            assert step.key.key_id in night.rows


@law
@given(nights(most=4), st.randoms())
def test_the_order_of_the_input_does_not_matter(
    drawn: tuple[SweepInput, Policy], random: Any
) -> None:
    night, policy = drawn
    shuffled = list(night.keys)
    random.shuffle(shuffled)
    known = list(night.rows.items())
    random.shuffle(known)
    plans = list(night.evidence.plans.items())
    random.shuffle(plans)
    other = replace(
        night,
        keys=shuffled,
        rows=dict(known),
        evidence=replace(night.evidence, plans=dict(plans)),
    )
    one, two = planned(drawn), planned((other, policy))
    # Which of several things that are unknown is named may differ, and the order of a key's plans.
    assert {(v.key.key_id, v.word, v.idle_since) for v in one.verdicts} == {
        (v.key.key_id, v.word, v.idle_since) for v in two.verdicts
    }
    assert [(type(step), in_order(step)) for step in one.steps] == [
        (type(step), in_order(step)) for step in two.steps
    ]
    assert one.digest == two.digest
    assert len(one.notes) == len(two.notes)


def in_order(step: Any) -> Any:
    if isinstance(step, Enable | Purge):
        return step
    return replace(step, usage_plan_ids=tuple(sorted(step.usage_plan_ids)))


@law
@given(nights(), st.integers(1, 200))
def test_a_longer_idle_time_never_gets_a_milder_verdict(
    drawn: tuple[SweepInput, Policy], longer: int
) -> None:
    # Every sign of life is moved into the past, and nothing else.
    night, policy = drawn
    back = DAY * longer

    def older(days: Mapping[str, date]) -> dict[str, date]:
        return {key_id: day - back for key_id, day in days.items()}

    def aged(row: Row) -> Row:
        return replace(
            row,
            renewed_on=row.renewed_on and row.renewed_on - back,
            restored_on=row.restored_on and row.restored_on - back,
            last_used=row.last_used and row.last_used - back,
            our_update=row.our_update and row.our_update - back,
        )

    evidence: Evidence = replace(
        night.evidence,
        first_day=night.evidence.first_day - back,
        last_used=older(night.evidence.last_used),
        plans_changed=older(night.evidence.plans_changed),
        left_plans_on=older(night.evidence.left_plans_on),
    )
    idler = replace(
        night,
        keys=[
            replace(
                key,
                created_date=key.created_date - back,
                last_updated_date=key.last_updated_date - back,
            )
            for key in night.keys
        ],
        rows={key_id: aged(row) for key_id, row in night.rows.items()},
        evidence=evidence,
    )
    for one, two in zip(planned(drawn).verdicts, planned((idler, policy)).verdicts, strict=True):
        if two.word == "unknown" or one.word in ("unknown", "protected"):
            assert two.word in ("unknown", one.word)
        else:
            assert severity(two) >= severity(one)


def severity(verdict: Verdict) -> int:
    """How far the key has come; who waits for a date that was announced has been warned."""
    waits = reasons.Waits | reasons.NotTonight | reasons.Stepped
    if verdict.word == "keep":
        return 1 if isinstance(verdict.because, waits) else 0
    return ["warn", "disable", "park"].index(verdict.word) + 1


@given(
    st.integers(0, 120),
    st.integers(0, 60),
    st.dictionaries(
        st.sampled_from([SweepAction.WARN, SweepAction.DISABLE, SweepAction.PARK]),
        st.integers(0, 90),
    ),
    st.floats(0.01, 1.0),
)
def test_steps_never_exceed_the_allowance(
    idle: int, warned: int, stepped: dict[SweepAction, int], max_share: float
) -> None:
    ids = [f"k{index:03}" for index in range(idle + warned)]
    night = a_night(
        *(a_key(key_id) for key_id in ids),
        rows=[a_warned_row(key_id) for key_id in ids[idle:]],
        evidence=an_evidence(a_reading(*ids)),
        stepped=stepped,
    )
    policy = a_policy(max_share=max_share)
    plan = planned((night, policy))
    allowed = policy.sweep.allowance(len(ids) + stepped.get(SweepAction.PARK, 0))
    assert plan.allowance == allowed
    for kind, verb, due in ((Warn, SweepAction.WARN, idle), (Disable, SweepAction.DISABLE, warned)):
        taken = sum(isinstance(step, kind) for step in plan.steps)
        assert taken == min(due, max(0, allowed - stepped.get(verb, 0)))
    waiting = [v for v in plan.verdicts if isinstance(v.because, reasons.AwaitsAllowance)]
    assert len(waiting) == len(ids) - len(plan.steps)


def test_a_verdict_holds_all_that_the_keys_file_tells() -> None:
    evidence = an_evidence(used={"k0": days_ago(70)})
    plan = planned((a_night(a_key(), rows=[a_row()], evidence=evidence), a_policy()))
    due = reasons.Idle(70, days_ago(70))
    step = Warn(a_key(), a_row(), a_tier(), due, 70, in_days(14), usage_plan_ids=("plan1",))
    assert plan.verdicts == (
        Verdict(
            key=a_key(),
            row=a_row(),
            tier=a_tier(),
            word="warn",
            because=due,
            usage_plan_ids=("plan1",),
            idle_since=days_ago(70),
            last_used=days_ago(70),
            step=step,
            past=due,
        ),
    )
    assert at(TODAY).date() == TODAY
