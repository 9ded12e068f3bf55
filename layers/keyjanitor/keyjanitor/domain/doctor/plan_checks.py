"""Checks of an account's usage plans and stages. Pure."""

from collections.abc import Iterable, Mapping
from datetime import date

from keyjanitor.domain.doctor import findings
from keyjanitor.domain.doctor.account import Account, own_stages, plan_ids
from keyjanitor.domain.doctor.findings import Finding
from keyjanitor.domain.model.keys import DAY, ApiKey
from keyjanitor.domain.model.policy import Rate
from keyjanitor.domain.model.usage_plan import UsagePlan
from keyjanitor.domain.usage.evidence import UsagePlanReading
from keyjanitor.domain.usage.plan_usage import USAGE_DAYS


def plans_without_limits(account: Account) -> Finding | None:
    """Plans with neither a throttle nor a quota."""
    plans = [plan for plan in account.plans.values() if not plan.has_limits]
    if not plans:
        return None
    tiers = [account.bound.tier_of_plan.get(plan.usage_plan_id) for plan in plans]
    limits = [tier.throttle for tier in tiers if tier and tier.throttle]
    return findings.plans_without_limits(
        plans, account.stack_owners, limits[0] if limits else None, _busiest_day_of(account, plans)
    )


def _busiest_day_of(account: Account, plans: Iterable[UsagePlan]) -> dict[str, int]:
    """The most requests of each plan on one day, by its last good reading; unread ones are left out."""
    told = account.evidence.told if account.evidence else {}
    return {
        plan.usage_plan_id: max(told[plan.usage_plan_id].by_day.values(), default=0)
        for plan in plans
        if plan.usage_plan_id in told
    }


def plans_without_keys(account: Account) -> Finding | None:
    """Plans without a key, that neither the policy nor a parked key needs."""
    empty = [
        plan
        for plan, reading in account.read_plans()
        if reading.members_read and not reading.members and not _is_wanted(account, plan)
    ]
    return findings.plans_without_keys(empty, account.stack_owners) if empty else None


def plans_not_used(account: Account) -> Finding | None:
    """Plans none of whose keys was used for as long as usage tells."""
    unused = [
        plan
        for plan, reading in account.read_plans()
        if account.is_fresh() and reading.unread is None
        if account.tells(reading) and _is_unused(account, reading)
    ]
    if not unused:
        return None
    keys = account.parkable_in(unused)
    return findings.plans_not_used(
        unused, keys, USAGE_DAYS, account.stack_owners, account.sweep_blockers(plan_ids(unused))
    )


def _is_unused(account: Account, reading: UsagePlanReading) -> bool:
    """True if no key of the plan was used in the 90 days of usage, though one could have been."""
    since = account.today - DAY * USAGE_DAYS
    if account.evidence and account.evidence.first_days.get(reading.usage_plan_id, since) > since:
        return False  # usage does not tell of all of these days
    keys = account.living(reading)
    return any(_was_inside(account, key, since) for key in keys) and all(
        account.is_idle(key, since) for key in keys
    )


def _was_inside(account: Account, key: ApiKey, since: date) -> bool:
    """True if the key was made before a day, and did not come into its plans after it."""
    if account.evidence is None or key.created_date.date() > since:
        return False
    came = (account.evidence.plans_changed, account.evidence.first_in_plan_on)
    return all(days.get(key.key_id, since) <= since for days in came)


def silent_plans(account: Account) -> Finding | None:
    """Plans with keys and stages whose usage proves nothing."""
    silent = [
        plan
        for plan, reading in account.read_plans()
        if account.is_fresh() and reading.unread is None
        if account.living(reading) and reading.stages and not account.tells(reading)
    ]
    if not silent:
        return None
    return findings.silent_plans(
        silent,
        account.parkable_in(silent),
        account.stack_owners,
        account.sweep_blockers(plan_ids(silent)),
        _unproven_logs(account, silent),
    )


def _unproven_logs(account: Account, plans: Iterable[UsagePlan]) -> dict[str, str]:
    """Why the access logs of the plans' stages prove no silence; empty if none were asked tonight."""
    seen = account.evidence.seen_in_logs if account.evidence else None
    if seen is None or seen.through is None:
        return {}
    stages = {stage for plan in plans for stage in plan.stages}
    return {
        stage: log.problem
        for stage, log in seen.stages.items()
        if stage in stages and log.problem is not None
    }


def plans_alike(account: Account) -> Finding | None:
    """Plans that open and allow the same, of which one is enough."""
    alike: dict[object, list[UsagePlan]] = {}
    for plan in account.plans.values():
        if plan.stages and not account.stack_owners.stacks.get(plan.usage_plan_id):
            alike.setdefault(_likeness(account, plan), []).append(plan)
    groups = []
    for plans in alike.values():
        keep = min(plans, key=lambda plan: _keep_rank(account, plan))
        if go := [plan for plan in plans if plan != keep and _may_go(account, plan)]:
            groups.append((keep, go))
    return findings.plans_alike(groups, account.stack_owners) if groups else None


def _likeness(account: Account, plan: UsagePlan) -> object:
    """Everything that two plans must have in common so that one of them is enough."""
    tier = account.bound.tier_of_plan.get(plan.usage_plan_id)
    return (
        frozenset((stage, _rates(methods)) for stage, methods in plan.stages.items()),
        plan.throttle,
        plan.quota,
        plan.offset,
        plan.product_code,
        tier.name if tier else None,
    )


def _keep_rank(account: Account, plan: UsagePlan) -> tuple[bool, int, str]:
    """Of plans that could be one the least stays: one that is wanted, with the most keys."""
    reading = account.evidence.plans.get(plan.usage_plan_id) if account.evidence else None
    members = len(reading.members) if reading else 0
    return not _is_wanted(account, plan), -members, plan.usage_plan_id


def _is_wanted(account: Account, plan: UsagePlan) -> bool:
    """True if the policy names the plan or may mean it, or a tier's new keys or a parked key go into it."""
    return (
        plan.usage_plan_id in account.bound.tier_of_plan
        or account.bound.unclear([plan.usage_plan_id]) is not None
        or plan.usage_plan_id in account.bound.silent_plans
        or plan.name in account.made_names
        or account.parked_plans is None
        or plan.usage_plan_id in account.parked_plans
    )


def _may_go(account: Account, plan: UsagePlan) -> bool:
    """True if the plan is not wanted, and its keys may be moved out of it.

    What ties a key of a stack, or of Terraform, to a plan is theirs as well, whoever made the plan.
    """
    reading = account.evidence.plans.get(plan.usage_plan_id) if account.evidence else None
    if reading is None or not reading.members_read or _is_wanted(account, plan):
        return False
    keys = [account.keys[key_id] for key_id in reading.members if key_id in account.keys]
    return len(account.without_owner(keys)) == len(keys)


def stages_without_plan(account: Account) -> Finding | None:
    """Stages that require a key, and that no plan and no key opens."""
    if not account.are_plans_known:
        return None
    covered = {stage for plan in account.plans.values() for stage in plan.stages}
    covered |= {stage for key in account.keys.values() for stage in own_stages(key)}
    bare = [
        name
        for name, stage in sorted(account.stages.items())
        if stage.requires_keys and name not in covered
    ]
    return findings.stages_without_plan(bare, account.stack_owners) if bare else None


def _rates(methods: Mapping[str, Rate]) -> tuple[tuple[str, Rate], ...]:
    return tuple(sorted(methods.items(), key=lambda item: item[0]))
