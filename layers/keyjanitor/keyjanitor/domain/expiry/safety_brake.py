"""Safety brake: how many keys are past their idle limit tonight and were not before, and why. Pure.

The nights are compared by key, with the last night that was swept without the brake. A key that went
past its limit by itself counts for the night on which it did so: after a week without sweeps each of
those nights is held against the rule by itself, and a backlog trips nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from statistics import median
from typing import Literal

from keyjanitor.domain.expiry.reasons import Idle, NoContact, Orphan, OrphanSoon, TierNever
from keyjanitor.domain.expiry.sweep_plan import SweepPlan, Verdict, keys_of_date
from keyjanitor.domain.model.keys import DAY
from keyjanitor.domain.model.policy import Never, Policy, PressureRule, Sweep, Tier
from keyjanitor.domain.usage.evidence import Evidence

NIGHTS = 14  # whose numbers say what is usual
WEEK = 7
TIMES_ALLOWANCE = 2  # on one night
WEEK_ALLOWANCES = 4  # on the unusual nights of a week together
TIMES_USUAL = 3

Status = Literal["past", "kept", "unknown", "protected", "exempt"]


class Cause(StrEnum):
    """Why a key is past its idle limit tonight and was not before."""

    LIMIT_LOWERED = "limit_lowered"
    USE_STOPPED = "use_stopped"
    NEVER_USED = "never_used"
    PLAN_LOST = "plan_lost"
    NOT_KNOWN_BEFORE = "not_known_before"
    PROTECTION_ENDED = "protection_ended"
    READING_CHANGED = "reading_changed"
    # These two are reported and do not count:
    PRESSURE_RULE = "pressure_rule"
    BEFORE_FIRST_READING = "before_first_reading"


UNCOUNTED = frozenset({Cause.PRESSURE_RULE, Cause.BEFORE_FIRST_READING})


@dataclass(frozen=True, slots=True)
class Limits:
    """The idle limits of a tier, in days; `orphan_days` in nights."""

    never_used_days: int
    idle_days: int | Never
    orphan_days: int


@dataclass(frozen=True, slots=True)
class Seen:
    """One key as a night saw it: its tier, whether it was past its limit, and since when it was idle."""

    tier: str
    status: Status
    since: date


@dataclass(frozen=True, slots=True)
class Compared:
    """Record of a night with which later nights are compared.

    The limits in force (`factor` is that of the pressure rule `above`), how each key was seen, when
    an edit brought a key past its limit (`lowered`, of the last 14 days), and how many keys were
    newly past on each of the nights before (`counts`, the latest last).
    """

    day: date
    service_quota: int
    clear_margin: float
    rules: tuple[tuple[float, float], ...]
    above: float | None
    factor: float
    max_share: float
    max_keys: int
    tiers: Mapping[str, Limits]
    keys: Mapping[str, Seen]
    lowered: Mapping[str, date] = field(default_factory=dict)
    counts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Newly:
    """A key that is past its limit tonight and was not before; `on` is the night it counts for."""

    key_id: str
    cause: Cause
    on: date
    usage_plan_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CauseCount:
    """Number of keys that a cause brought, and their usage plans, most keys first."""

    cause: Cause
    keys: int
    plans: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Brake:
    """The safety brake is on: `new` keys are past their idle limit that were not on `since`.

    `worst` of them count for the night `on`, or for the week up to it (`in_a_week`); usual are
    `usual` a night, and `allowance` keys may be warned on one date.
    """

    new: int
    worst: int
    on: date
    allowance: int
    usual: float
    since: date
    causes: tuple[CauseCount, ...] = ()
    in_a_week: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """Tonight beside the last night that was swept without the brake (`before`; None: the first).

    `past` keys are past their limit, `found` are those that were not before. An edit in small steps
    is one edit: `again` are those that its earlier steps brought, if tonight has another. `tonight`
    is what a later night is compared with if this one is swept without the brake.
    """

    past: int
    found: tuple[Newly, ...]
    before: Compared | None
    tonight: Compared
    allowance: int
    usual: float
    plan_names: Mapping[str, str] = field(default_factory=dict)
    again: tuple[Newly, ...] = ()

    @property
    def counted(self) -> tuple[Newly, ...]:
        """The keys that the brake counts."""
        return (*(one for one in self.found if one.cause not in UNCOUNTED), *self.again)

    @property
    def new(self) -> int:
        """Number of keys that the brake counts."""
        return len(self.counted)

    @property
    def causes(self) -> tuple[CauseCount, ...]:
        """The new ones by cause, most keys first, with those that do not count."""
        return _by_cause((*self.found, *self.again))

    @property
    def brake(self) -> Brake | None:
        """The brake, if it is on tonight."""
        if self.before is None:
            return None
        nights = self._nights(self.before)
        recent = [*self.before.counts]
        tripped: list[tuple[int, date, bool]] = []
        for night in sorted(nights):
            keys = nights[night]
            unusual = keys > TIMES_USUAL * self.usual
            week = keys
            if night > self.before.day:
                earlier = recent[-(WEEK - 1) :]
                week += sum(count for count in earlier if count > TIMES_USUAL * self.usual)
                recent.append(keys)
            if unusual and keys > TIMES_ALLOWANCE * self.allowance:
                tripped.append((keys, night, False))
            elif unusual and week > WEEK_ALLOWANCES * self.allowance:
                tripped.append((week, night, True))
        if not tripped:
            return None
        keys, on, in_a_week = max(tripped)
        return Brake(
            new=self.new,
            worst=keys,
            on=on,
            allowance=self.allowance,
            usual=self.usual,
            since=self.before.day,
            causes=_by_cause(self.counted),
            in_a_week=in_a_week,
        )

    def _nights(self, before: Compared) -> Counter[date]:
        """Number of keys by the night that they count for: each since `before`, and older ones if they turn up."""
        nights = Counter(one.on for one in self.counted)
        elapsed = (self.tonight.day - before.day).days
        for back in range(min(elapsed, NIGHTS)):
            nights[self.tonight.day - DAY * back] += 0
        return nights

    def swept(self) -> Compared:
        """Record of tonight, swept without the brake."""
        if self.before is None:
            return self.tonight
        nights = self._nights(self.before)
        since = sorted(night for night in nights if night > self.before.day)
        counts = Counter(one.on for one in self.found if one.cause not in UNCOUNTED)
        lowered = [one.key_id for one in self.found if one.cause is Cause.LIMIT_LOWERED]
        return replace(
            self.tonight,
            counts=(*self.before.counts, *(counts[night] for night in since))[-NIGHTS:],
            lowered={**self.tonight.lowered, **dict.fromkeys(lowered, self.tonight.day)},
        )

    def accepting(self, key_ids: Set[str]) -> "Comparison":
        """The comparison once an operator has approved a plan of these keys.

        They are accepted; what else is new tonight is as new as before.
        """
        if self.before is None:
            return self
        usual = TIMES_USUAL * self.usual
        before = replace(
            self.before,
            keys={
                **self.before.keys,
                **{
                    one.key_id: self.tonight.keys[one.key_id]
                    for one in self.found
                    if one.key_id in key_ids
                },
            },
            lowered={},
            counts=tuple(count for count in self.before.counts if count <= usual),
        )
        found = tuple(one for one in self.found if one.key_id not in key_ids)
        tonight = replace(self.tonight, lowered={}, counts=before.counts)
        return replace(self, before=before, found=found, again=(), tonight=tonight)

    def accepted(self) -> Compared:
        """Record of tonight after an approval: all of it, unless the rest trips the brake."""
        if self.before is None or self.brake is None:
            return self.swept()
        return self.before


def compare(
    plan: SweepPlan,
    evidence: Evidence,
    policy: Policy,
    rows: Iterable[str],
    before: Compared | None,
) -> Comparison:
    """Compares a night's plan with the night `before` it that was swept without the brake.

    `rows` are ids of living keys in the ledger: one that the list lacks tonight stays as it was seen.
    """
    tonight = _tonight(plan, policy, rows, before)
    judge = _Judge(plan, evidence, policy, before)
    found = tuple(
        newly
        for verdict in plan.verdicts
        if verdict.past is not None and (newly := judge.newly(verdict, verdict.past)) is not None
    )
    again: tuple[Newly, ...] = ()
    if any(one.cause is Cause.LIMIT_LOWERED for one in found):
        again = tuple(
            Newly(verdict.key.key_id, Cause.LIMIT_LOWERED, plan.today, verdict.usage_plan_ids)
            for verdict in plan.verdicts
            if verdict.past is not None and verdict.key.key_id in tonight.lowered
        )
    keys = keys_of_date(plan.verdicts, plan.stepped, plan.today)
    allowance = plan.allowance
    if before is not None:
        # An edit that raises the allowance does not hide what it brings on the same night.
        allowance = min(allowance, Sweep(before.max_share, before.max_keys).allowance(keys))
    return Comparison(
        past=sum(seen.status == "past" for seen in tonight.keys.values()),
        found=found,
        before=before,
        tonight=tonight,
        allowance=allowance,
        usual=float(median(before.counts)) if before is not None and before.counts else 0.0,
        plan_names=evidence.plan_names(),
        again=again,
    )


def _tonight(
    plan: SweepPlan, policy: Policy, rows: Iterable[str], before: Compared | None
) -> Compared:
    keys = {verdict.key.key_id: _seen(verdict, before) for verdict in plan.verdicts}
    if before is not None:
        unlisted = (key_id for key_id in rows if key_id not in keys and key_id in before.keys)
        keys.update({key_id: before.keys[key_id] for key_id in unlisted})
    return Compared(
        day=plan.today,
        service_quota=policy.service_quota,
        clear_margin=policy.alerts.clear_margin,
        rules=tuple((rule.above, rule.idle_factor) for rule in policy.pressure),
        above=plan.pressure.above,
        factor=plan.pressure.idle_factor,
        max_share=policy.sweep.max_share,
        max_keys=policy.sweep.max_keys,
        tiers={
            tier.name: Limits(tier.never_used_days, tier.idle_days, tier.orphan_days)
            for tier in policy.tiers.values()
        },
        keys=keys,
        lowered={
            key_id: on
            for key_id, on in (before.lowered if before else {}).items()
            if on > plan.today - DAY * NIGHTS and key_id in keys and keys[key_id].status == "past"
        },
        counts=before.counts if before else (),
    )


def _seen(verdict: Verdict, before: Compared | None) -> Seen:
    since = verdict.idle_since or date.min
    status: Status = "kept"
    if verdict.past is not None:
        status = "past"
    elif isinstance(verdict.because, TierNever | NoContact):
        status = "exempt"
    elif verdict.word in ("unknown", "protected"):
        status = verdict.word
    # A night that cannot judge a key says nothing against what the nights before it knew.
    if status == "unknown" or isinstance(verdict.because, OrphanSoon):
        earlier = before.keys.get(verdict.key.key_id) if before else None
        if earlier is not None and earlier.status == "past":
            status = "past"
    return Seen(verdict.tier.name, status, since)


class _Judge:
    """Finds out why a key that is past its limit tonight was not so before."""

    def __init__(
        self, plan: SweepPlan, evidence: Evidence, policy: Policy, before: Compared | None
    ) -> None:
        self._today = plan.today
        self._evidence = evidence
        self._before = before
        self._factor = plan.pressure.idle_factor
        self._old_factor = self._factor
        if before is not None:
            as_before = replace(
                policy,
                service_quota=before.service_quota,
                pressure=tuple(PressureRule(above, factor, ()) for above, factor in before.rules),
                alerts=replace(policy.alerts, clear_margin=before.clear_margin),
            )
            pressure = as_before.pressure_at(len(plan.verdicts), before.above)
            self._old_factor = pressure.idle_factor  # tonight's, had no one edited the policy

    def newly(self, verdict: Verdict, past: Idle | Orphan) -> Newly | None:
        """The key, if it is new among those past their limit; None: it was past before."""
        seen = self._before.keys.get(verdict.key.key_id) if self._before else None
        if seen is not None and seen.status == "past":
            return None
        cause, on = self._cause(verdict, past, seen)
        return Newly(verdict.key.key_id, cause, min(on, self._today), verdict.usage_plan_ids)

    def _cause(
        self, verdict: Verdict, past: Idle | Orphan, seen: Seen | None
    ) -> tuple[Cause, date]:
        if seen is not None and seen.status in _CAUSE_OF_STATUS:
            return _CAUSE_OF_STATUS[seen.status], self._today
        tier = self._tier_before(verdict.tier, seen)
        if isinstance(past, Orphan):
            if past.nights < tier.orphan_days:
                return Cause.LIMIT_LOWERED, self._today
            return self._lost(verdict, tier, seen)
        by_policy = tier.idle_limit(never_used=past.never_used, factor=self._old_factor)
        if by_policy is None or past.days < by_policy:
            return Cause.LIMIT_LOWERED, self._today
        factor = self._before.factor if self._before else self._factor
        limit = tier.idle_limit(never_used=past.never_used, factor=factor)
        if limit is None or past.days < limit:
            return Cause.PRESSURE_RULE, self._today
        return self._by_itself(verdict, past, limit, seen)

    def _tier_before(self, tier: Tier, seen: Seen | None) -> Tier:
        """The tier with the limits that the key had before."""
        limits = self._before.tiers.get(seen.tier) if self._before and seen else None
        if limits is None:
            return tier
        return replace(
            tier,
            never_used_days=limits.never_used_days,
            idle_days=limits.idle_days,
            orphan_days=limits.orphan_days,
        )

    def _by_itself(
        self, verdict: Verdict, past: Idle, limit: int, seen: Seen | None
    ) -> tuple[Cause, date]:
        """Days went by. It counts for the night on which use alone would have brought it past.

        A move to another plan, or a gap in the readings, restarts many clocks on one day.
        """
        cause = Cause.NEVER_USED if past.never_used else Cause.USE_STOPPED
        if seen is not None and past.since < seen.since:
            return Cause.READING_CHANGED, self._today
        created, used = verdict.key.created_date.date(), verdict.last_used
        if seen is not None and used is None and created <= self._evidence.first_day:
            return Cause.BEFORE_FIRST_READING, self._today
        sign = max(created, used or created)
        restarted = seen is not None and sign < past.since
        return cause, self._night(sign + DAY * limit, restarted=restarted)

    def _lost(self, verdict: Verdict, tier: Tier, seen: Seen | None) -> tuple[Cause, date]:
        """It is in no plan. Who was in none when the first reading came has lost none."""
        left = self._evidence.left_plans_on.get(verdict.key.key_id)
        created = verdict.key.created_date.date()
        if left is None and seen is not None and created <= self._evidence.first_day:
            return Cause.BEFORE_FIRST_READING, self._today
        night = (left or created) + DAY * tier.orphan_days
        return Cause.PLAN_LOST, self._night(night, restarted=seen is not None)

    def _night(self, night: date, *, restarted: bool) -> date:
        """The night that a key counts for: tonight, if it should have been past before already."""
        if restarted or self._before is None or night > self._before.day:
            return night
        return self._today


_CAUSE_OF_STATUS: Mapping[Status, Cause] = {
    "exempt": Cause.LIMIT_LOWERED,
    "protected": Cause.PROTECTION_ENDED,
    "unknown": Cause.NOT_KNOWN_BEFORE,
}


def _by_cause(found: Iterable[Newly]) -> tuple[CauseCount, ...]:
    keys: Counter[Cause] = Counter()
    plans: dict[Cause, Counter[str]] = {}
    for one in found:
        keys[one.cause] += 1
        plans.setdefault(one.cause, Counter()).update(one.usage_plan_ids)
    return tuple(
        CauseCount(
            cause,
            keys[cause],
            tuple(sorted(plans[cause].items(), key=lambda item: (-item[1], item[0]))),
        )
        for cause in sorted(keys, key=lambda cause: (-keys[cause], cause))
    )
