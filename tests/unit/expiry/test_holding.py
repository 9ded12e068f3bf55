"""Nights that judge only the keys that a date can reach, beside nights that judge every key."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.expiry import outlook
from keyjanitor.domain.expiry.notice import Untold
from keyjanitor.domain.expiry.outlook import NightAhead, project_nights
from keyjanitor.domain.expiry.safety_brake import Compared, compare
from keyjanitor.domain.expiry.sweep_input import SweepInput
from keyjanitor.domain.expiry.verdicts import decide
from keyjanitor.domain.model.keys import ApiKey, Mode
from keyjanitor.domain.model.policy import Policy, PressureRule, Sweep
from keyjanitor.domain.model.records import Row
from tests.builders import (
    TODAY,
    YESTERDAY,
    a_key,
    a_night,
    a_parked_row,
    a_policy,
    a_reading,
    a_row,
    a_tier,
    a_warned_row,
    an_evidence,
    bound,
    days_ago,
    in_days,
    unclaimed,
)
from tests.unit.expiry.test_laws import OF_A_KEY, OF_A_ROW, law, lives
from tests.unit.test_speed import KEYS, an_account_to_judge
from tests.work import calls_of


class Outlook(NamedTuple):
    """What the nights to come are worked out from."""

    night: SweepInput
    policy: Policy
    mode: Mode
    shelf: Sequence[Row]
    before: Compared | None
    nights: int

    def nights_ahead(self) -> tuple[NightAhead, ...]:
        tied = bound(self.policy, self.night.evidence)
        return project_nights(self.night, tied, self.mode, self.shelf, self.before, self.nights)


def judged_every_night(nights_ahead: Callable[[], Any]) -> Any:
    """What comes out if no verdict is kept: every key is judged on every night."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outlook, "holds_through", lambda _verdict, today, **_: today)
        return nights_ahead()


@st.composite
def policies(draw: Any) -> Policy:
    days = st.integers(1, 70)
    rules = [PressureRule(0.1, 0.7, ()), PressureRule(0.4, 0.4, ()), PressureRule(0.7, 0.1, ())]
    tiers = [
        a_tier(
            name,
            contact=draw(st.sampled_from(["api-team@example.org"] * 5 + [None])),
            idle_days=draw(days | st.just("never")),
            never_used_days=draw(days),
            warn_days=draw(st.integers(1, 10)),
            grace_days=draw(st.integers(1, 10)),
            retain_days=draw(st.integers(1, 20)),
            orphan_days=draw(st.integers(1, 20)),
            usage_plans=plans,
        )
        for name, plans in (("external", ("external",)), ("partners", ("other", "third")))
    ]
    policy = a_policy(
        *tiers,
        unclaimed(orphan_days=draw(st.integers(1, 20))),
        pressure=tuple(draw(st.lists(st.sampled_from(rules), unique=True))),
        service_quota=draw(st.sampled_from([10, 25, 10_000])),
        silent_plans=draw(st.sampled_from([(), ("third",)])),
    )
    return replace(policy, sweep=draw(st.sampled_from([policy.sweep, Sweep(0.05, 1)])))


@st.composite
def evidences(draw: Any, keys: Sequence[ApiKey], told: Sequence[dict[str, date]]) -> Any:
    ids = [key.key_id for key in keys]
    some = st.lists(st.sampled_from(ids), unique=True)
    dates = st.dictionaries(st.sampled_from(ids), st.integers(0, 30).map(days_ago), max_size=3)
    plans = [
        a_reading(
            *draw(some),
            usage_plan_id=f"plan{number}",
            name=name,
            stages=draw(st.sampled_from([(f"api{number}:prod",)] * 5 + [()])),
            unread=draw(st.sampled_from([None] * 7 + ["failed"])),
            members_read=draw(st.sampled_from([True] * 7 + [False])),
            emptied=draw(st.booleans()),
        )
        for number, name in enumerate(("external", "other", "third", "own"), 1)
    ]
    return an_evidence(
        *plans,
        used={
            key.key_id: one["used"] for key, one in zip(keys, told, strict=True) if "used" in one
        },
        plans_changed=draw(dates),
        left_plans_on=draw(dates),
        first_in_plan_on=draw(dates),
        strangers=draw(dates),
        untold=draw(dates),
        unclear=draw(st.sampled_from([{}, {}, {ids[0]: "plan1"}])),
        first_days=draw(st.sampled_from([{}, {}, {"plan1": days_ago(5)}])),
        first_day=days_ago(draw(st.sampled_from([455, 90, 30, 0]))),
        complete_since=draw(st.sampled_from([None, TODAY, days_ago(9), days_ago(365)])),
        witnessed_plans=draw(st.sampled_from([None, None, None, ("plan1", "plan2")])),
    )


@st.composite
def outlooks(draw: Any) -> Outlook:
    ids = [f"k{index}" for index in range(draw(st.integers(1, 12)))]
    of_a_key = st.sets(st.sampled_from([*OF_A_KEY, *OF_A_ROW, "ends"]), max_size=1)
    drawn = [draw(lives(key_id, draw(of_a_key))) for key_id in ids]
    keys = [key for key, _, _ in drawn]
    evidence = draw(evidences(keys, [told for _, _, told in drawn]))
    policy = draw(policies())
    lost = st.sampled_from([None, None, None, *ids])
    gone = {draw(lost), draw(lost)}
    rows = {row.key_id: row for _, row, _ in drawn if row is not None}
    begun = {} if draw(st.booleans()) else {key_id: rows.pop(key_id) for key_id in [*rows][:1]}
    night = replace(
        a_night(*(key for key in keys if key.key_id not in gone), evidence=evidence),
        rows=rows,
        begun=begun,
        warnings_only=draw(st.sampled_from([None, "the first night"])),
        tombstones_open=draw(st.sampled_from([True, True, False])),
        pressure_above=draw(st.sampled_from([None, 0.1, 0.4, 0.7])),
        untold=draw(
            st.dictionaries(st.sampled_from(ids), st.just(Untold("mail", YESTERDAY)), max_size=2)
        ),
    )
    before = None
    if draw(st.booleans()):
        earlier = draw(policies())
        plan = decide(replace(night, today=YESTERDAY), bound(earlier, evidence))
        before = compare(plan, evidence, earlier, night.rows, None).tonight
        before = replace(before, counts=(0,) * 14)
    shelf = [
        a_parked_row(f"p{number}", purge_in=number) for number in range(draw(st.integers(0, 3)))
    ]
    mode = draw(st.sampled_from(Mode))
    return Outlook(night, policy, mode, shelf, before, draw(st.sampled_from([14, 40])))


@pytest.mark.slow
@law
@given(outlooks())
def test_the_nights_are_those_that_come_out_if_every_key_is_judged_every_night(
    drawn: Outlook,
) -> None:
    assert drawn.nights_ahead() == judged_every_night(drawn.nights_ahead)


@pytest.mark.slow
def test_fourteen_nights_of_ten_thousand_keys_take_no_more_than_four_of_judging_them_all() -> None:
    night, tied = an_account_to_judge(KEYS)

    def nights_ahead(nights: int = 14) -> Any:
        return project_nights(night, tied, Mode.PARK, (), None, nights)

    calls = calls_of(nights_ahead) / KEYS
    of_every_key = calls_of(lambda: judged_every_night(nights_ahead)) / KEYS
    print(f"{calls:.0f} calls for each key, {of_every_key:.0f} if all are judged every night")  # noqa: T201
    assert calls < 0.45 * of_every_key


def test_an_end_a_protection_and_a_limit_are_reached_on_their_nights() -> None:
    keys, rows, idle = [], [], {}
    for number in range(30):
        keys += [a_key(f"{kind}{number:02}") for kind in ("ends", "protected", "idle", "orphan")]
        rows += [
            a_row(f"ends{number:02}", expires_on=in_days(number)),
            a_row(f"protected{number:02}", protected_until=in_days(number)),
            a_row(f"idle{number:02}"),
            a_row(f"orphan{number:02}", tier="unclaimed"),
        ]
        idle[f"idle{number:02}"] = days_ago(35 + number)
    ids = [key.key_id for key in keys if not key.key_id.startswith("orphan")]
    left = {f"orphan{number:02}": days_ago(number) for number in range(30)}
    evidence = an_evidence(a_reading(*ids), used=idle, left_plans_on=left)
    policy = a_policy(a_tier(warn_days=4), unclaimed(orphan_days=14))
    ahead = Outlook(a_night(*keys, rows=rows, evidence=evidence), policy, Mode.PARK, (), None, 14)
    nights = ahead.nights_ahead()
    assert nights == judged_every_night(ahead.nights_ahead)
    assert [night.warn for night in nights[2:6]] == [4] * 4


def test_keys_whose_dates_wait_are_compared_as_long_as_the_brake_is_on() -> None:
    ids = [f"k{number:02}" for number in range(50)]
    evidence = an_evidence(a_reading(*ids), used=dict.fromkeys(ids, days_ago(60)))
    night = a_night(
        *map(a_key, ids),
        rows=[a_warned_row(key_id, warned=1, disable_in=12) for key_id in ids],
        evidence=evidence,
    )
    longer = a_policy(a_tier(idle_days=65))
    plan = decide(night, bound(longer, evidence))
    before = compare(plan, evidence, longer, night.rows, None).tonight
    ahead = Outlook(night, a_policy(), Mode.PARK, (), replace(before, counts=(0,) * 14), 14)
    nights = ahead.nights_ahead()
    assert nights == judged_every_night(ahead.nights_ahead)
    causes = {one.cause for night in nights if night.brake for one in night.brake.causes}
    assert len(causes) > 1
