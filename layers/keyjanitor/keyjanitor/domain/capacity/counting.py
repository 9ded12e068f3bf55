"""Counts the keys of an account by tier and state. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence

from keyjanitor.domain.model.keys import ApiKey, State
from keyjanitor.domain.model.policy import BoundPolicy, Policy
from keyjanitor.domain.model.records import Row
from keyjanitor.domain.usage.evidence import Evidence

DISABLED_BY_OTHERS = "disabled_by_others"


def loosely_bound(policy: Policy, latest: Evidence | None) -> BoundPolicy:
    """The policy tied to the plans of the latest evidence; without one, to none."""
    if latest is None:
        return BoundPolicy(policy, {}, frozenset())
    return policy.bind(latest.plan_names())


def by_tier(
    keys: Sequence[ApiKey], rows: Mapping[str, Row], latest: Evidence | None, bound: BoundPolicy
) -> Counter[str]:
    """The keys by tier: as the ledger knows them, else as their plans say."""
    members = latest.plans_of_key() if latest else {}
    return Counter(
        rows[key.key_id].tier
        if key.key_id in rows
        else bound.tier_by_plans(members.get(key.key_id, ())).name
        for key in keys
    )


def by_state(keys: Sequence[ApiKey], rows: Mapping[str, Row]) -> Counter[str]:
    """The keys by state."""
    return Counter(state_of(key, rows.get(key.key_id)) for key in keys)


def state_of(key: ApiKey, row: Row | None) -> str:
    """A key's state; `disabled_by_others` if others disabled it."""
    if row is not None and (row.state is not State.ACTIVE or key.enabled):
        return str(row.state)
    return str(State.ACTIVE) if key.enabled else DISABLED_BY_OTHERS


def silent_plans(latest: Evidence | None, bound: BoundPolicy) -> list[str]:
    """Ids of the plans that have keys and in which no request was ever seen."""
    if latest is None:
        return []
    return [
        plan_id
        for plan_id, plan in latest.plans.items()
        if plan.members and latest.is_silent(plan) and plan_id not in bound.silent_plans
    ]
