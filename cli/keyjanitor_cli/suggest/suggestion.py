"""Suggests a policy for an account from how its keys were used in 90 days. Pure.

The rule, for each tier: the idle limit is longer, by a margin, than the longest silence after which
a key of the tier came back in those days, and so is the limit for keys that were never used. So no
key that was in use would have been warned on any of them, under a pressure rule neither.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from math import ceil

from keyjanitor.domain.model.policy import MONTHLY_JOBS, BoundPolicy
from keyjanitor.domain.model.policy_file import parse_policy
from keyjanitor_cli.suggest.grouping import grouped
from keyjanitor_cli.suggest.habits import habits_of
from keyjanitor_cli.suggest.marks import Marks, marks_of
from keyjanitor_cli.suggest.owners import SuggestedRule, owner_rules_of
from keyjanitor_cli.suggest.plans import Longest, PlanUse, plan_uses
from keyjanitor_cli.whatif.account import Account

NO_POLICY = '[tiers.unclaimed]\nidle_days = "never"\n'
STEP = 5  # idle limits are multiples of so many days
PRESSURE_ABOVE = 0.90
FACTORS = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class Strictness:
    """How soon keys are warned: the lowest limits, and how far a limit is above what was seen.

    `margin` is a share of the longest silence; it is `least_margin` days at least.
    """

    idle_days: int
    never_used_days: int
    margin: float
    least_margin: int
    warn_days: int
    grace_days: int

    def limit(self, lowest: int, seen: Longest | None) -> int:
        """The limit in days, where a key took `seen.days` and was in use all the same."""
        if seen is None:
            return lowest
        wanted = seen.days + self.margin_of(seen)
        return max(lowest, STEP * ceil(wanted / STEP))

    def margin_of(self, seen: Longest) -> int:
        """The days between what was seen and the limit."""
        return max(self.least_margin, ceil(seen.days * self.margin))


CAREFUL = Strictness(
    idle_days=60, never_used_days=14, margin=0.5, least_margin=7, warn_days=14, grace_days=14
)
AGGRESSIVE = Strictness(
    idle_days=MONTHLY_JOBS,
    never_used_days=7,
    margin=0.15,
    least_margin=4,
    warn_days=7,
    grace_days=7,
)


@dataclass(frozen=True, slots=True)
class SuggestedTier:
    """A tier of the suggestion, with the plans that it names; `gap` and `first_use` are theirs."""

    name: str
    plans: tuple[PlanUse, ...]
    gap: Longest | None
    first_use: Longest | None
    idle_days: int
    never_used_days: int


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A first policy for an account, and all that it was made from.

    `tiers` has the plans that can be judged, `left` those that stay in `unclaimed`, `factor` is the
    strictest pressure rule under which no key in use is warned (None: there is none).
    """

    today: date
    keys: int
    tags_known: bool
    strictness: Strictness
    contact: str
    tiers: tuple[SuggestedTier, ...]
    left: tuple[PlanUse, ...]
    orphans: int
    factor: float | None
    marks: Marks
    owners: tuple[SuggestedRule, ...]


def suggest(account: Account, strictness: Strictness, contact: str) -> Suggestion:
    """The suggestion for an account whose usages hold all days of the reading."""
    habits = habits_of(account.today, account.keys, account.usages)
    plans = plan_uses(account.keys, account.evidence, habits, _no_policy(account))
    judged = [plan for plan in plans if plan.doubt is None]
    tiers = tuple(
        _tier(name, tuple(them), strictness)
        for name, them in grouped(judged, lambda plan: _idle_days((plan,), strictness)).items()
    )
    in_plans = account.evidence.plans_of_key()
    return Suggestion(
        today=account.today,
        keys=len(account.keys),
        tags_known=account.tags_known,
        strictness=strictness,
        contact=contact,
        tiers=tiers,
        left=tuple(plan for plan in plans if plan.doubt is not None),
        orphans=sum(key.key_id not in in_plans for key in account.keys),
        factor=next(
            (factor for factor in FACTORS if _is_safe(tiers, factor, strictness.least_margin)),
            None,
        ),
        marks=marks_of(account.keys),
        owners=owner_rules_of(account.keys),
    )


def _tier(name: str, plans: tuple[PlanUse, ...], strictness: Strictness) -> SuggestedTier:
    first_use = _longest(plan.first_use for plan in plans)
    return SuggestedTier(
        name=name,
        plans=plans,
        gap=_longest(plan.gap for plan in plans),
        first_use=first_use,
        idle_days=_idle_days(plans, strictness),
        never_used_days=strictness.limit(strictness.never_used_days, first_use),
    )


def _idle_days(plans: tuple[PlanUse, ...], strictness: Strictness) -> int:
    return strictness.limit(strictness.idle_days, _longest(plan.gap for plan in plans))


def _longest(of_plans: Iterable[Longest | None]) -> Longest | None:
    return max(filter(None, of_plans), key=lambda one: (one.days, one.key_id), default=None)


def _no_policy(account: Account) -> BoundPolicy:
    """A policy that believes no plan's silence."""
    return parse_policy(NO_POLICY).bind(account.evidence.plan_names())


def _is_safe(tiers: Iterable[SuggestedTier], factor: float, least_margin: int) -> bool:
    """Whether limits that a pressure rule multiplies are still above all that was seen."""
    any_tier = parse_policy(NO_POLICY).unclaimed
    return all(
        limit >= seen.days + least_margin
        for tier in tiers
        for seen, never_used in ((tier.gap, False), (tier.first_use, True))
        if seen is not None
        and (
            limit := replace(
                any_tier, idle_days=tier.idle_days, never_used_days=tier.never_used_days
            ).idle_limit(never_used=never_used, factor=factor)
        )
    )
