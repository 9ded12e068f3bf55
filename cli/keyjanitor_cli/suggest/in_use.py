"""Counts the keys in use that a policy would have warned in the days of a reading. Pure.

It asks the policy itself, by the rules of a night, and not the suggestion that it may come from.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from keyjanitor.domain.expiry.ownership import protection
from keyjanitor.domain.model.policy import Policy, Tier
from keyjanitor_cli.suggest.habits import Habit, habits_of
from keyjanitor_cli.whatif.account import Account


@dataclass(frozen=True, slots=True)
class WarnedInUse:
    """A key that was silent for `days` and then used, where its tier `tier` warns after `limit` days."""

    key_id: str
    tier: str
    days: int
    limit: int


def warned_in_use(account: Account, policy: Policy) -> tuple[WarnedInUse, ...]:
    """The keys that came back after a silence at whose end they would have been warned already.

    Under each pressure rule of the policy as well as under none: which of them would have been
    active is not known. Keys that are protected, or in no usage plan, are left out.
    """
    bound = policy.bind(account.evidence.plan_names())
    factors = (1.0, *(rule.idle_factor for rule in policy.pressure))
    plans_of_key = account.evidence.plans_of_key()
    habits = habits_of(account.today, account.keys, account.usages)
    found = []
    for key in account.keys:
        plans, habit = plans_of_key.get(key.key_id), habits.get(key.key_id)
        if not plans or habit is None or protection(key, None, account.today, bound):
            continue
        tier = bound.tier_by_plans(plans)
        warned = max(_silences(tier, habit, min(factors)), default=None)
        if warned is not None and tier.contact is not None:
            days, limit = warned
            found.append(WarnedInUse(key.key_id, tier.name, days, limit))
    return tuple(found)


def _silences(tier: Tier, habit: Habit, factor: float) -> Iterator[tuple[int, int]]:
    """The silences of a key that reach its limit, each with the limit."""
    for days, never_used in ((habit.gap, False), (habit.first_use_after, True)):
        limit = tier.idle_limit(never_used=never_used, factor=factor)
        if days is not None and limit is not None and days >= limit:
            yield days, limit
