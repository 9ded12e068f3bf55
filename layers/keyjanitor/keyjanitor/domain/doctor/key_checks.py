"""Checks of an account's keys, their tiers and the ledger's rows. Pure."""

from collections import Counter

from keyjanitor.domain.doctor import findings
from keyjanitor.domain.doctor.account import Account, ids
from keyjanitor.domain.doctor.findings import Finding
from keyjanitor.domain.expiry.ownership import STACK_TAG
from keyjanitor.domain.expiry.reasons import DisabledByOthers, TierMissing
from keyjanitor.domain.model.keys import ApiKey
from keyjanitor.domain.model.records import Row


def keys_in_no_plan(account: Account) -> Finding | None:
    """Keys in no usage plan, without those that others disabled."""
    orphans = [key for key in _orphans(account) if not account.was_disabled_by_others(key)]
    if not orphans or account.evidence is None:
        return None
    parkable = [key for key in orphans if account.can_be_parked(key)]
    waiting = {account.tier(key).name for key in parkable if account.tier(key).contact is None}
    return findings.keys_in_no_plan(
        ids(orphans), len(parkable), sorted(waiting), account.evidence.day, account.bound
    )


def keys_disabled_and_unattached(account: Account) -> Finding | None:
    """Keys in no plan that others disabled, and that nothing else protects."""
    left = [
        key
        for key in _orphans(account)
        if account.is_fresh()
        and account.was_disabled_by_others(key)
        # Else it is kept on purpose, or it is another tool's.
        and isinstance(account.protection(key), DisabledByOthers)
        and key.tags is not None
    ]
    return findings.keys_disabled_and_unattached(ids(left)) if left else None


def _orphans(account: Account) -> list[ApiKey]:
    """Keys that were in no plan when all plans were read, and were there then."""
    evidence = account.evidence
    if evidence is None or evidence.complete_since is None:
        return []
    return [
        key
        for key in account.keys.values()
        if key.key_id not in account.plans_of_key
        and not key.stage_keys
        and key.created_date.date() < evidence.day
    ]


def keys_in_plans_without_stages(account: Account) -> Finding | None:
    """Keys all of whose plans open no stage."""
    shut = {
        key_id: [account.plans[plan] for plan in inside]
        for key_id, inside in sorted(account.plans_of_key.items())
        if key_id in account.keys
        and all(plan in account.plans for plan in inside)
        and not account.opened(account.keys[key_id])
    }
    if not shut:
        return None
    plans = {plan.usage_plan_id: plan for inside in shut.values() for plan in inside}
    return findings.keys_in_plans_without_stages(
        list(shut), [plans[plan_id] for plan_id in sorted(plans)], account.stack_owners
    )


def keys_that_guard_nothing(account: Account) -> Finding | None:
    """Keys that open only stages on which no method asks for a key."""
    useless = {key.key_id: key for key in account.keys.values() if _guards_nothing(account, key)}
    if not useless:
        return None
    parkable = [key for key in useless.values() if account.can_be_parked(key)]
    # The plans of those that can go: what others own is not for the sweep.
    swept = {plan for key in parkable for plan in account.plans_of_key[key.key_id]}
    return findings.keys_that_guard_nothing(
        list(useless),
        len(parkable),
        sorted({stage for key in useless.values() for stage in account.opened(key)}),
        sorted({stack for key in useless.values() if (stack := account.stack(key))}),
        account.sweep_blockers(swept),
    )


def _guards_nothing(account: Account, key: ApiKey) -> bool:
    """True if the key is in plans, and no stage that it opens requires a key."""
    inside = account.plans_of_key.get(key.key_id, ())
    return (
        bool(inside)
        and all(plan in account.plans for plan in inside)
        and bool(account.opened(key))  # a key that opens no stage lets no caller in
        and all(
            stage in account.stages and account.stages[stage].ignores_keys
            for stage in account.opened(key)
        )
    )


def shared_names(account: Account) -> Finding | None:
    """Keys that share their name with another key."""
    names = Counter(key.name for key in account.keys.values() if key.name)
    shared = {name: keys for name, keys in names.items() if keys > 1}
    keys = [key for key in account.keys.values() if key.name in shared]
    free = account.without_owner(keys)
    return findings.shared_names(ids(keys), shared, free) if keys else None


def keys_without_name(account: Account) -> Finding | None:
    """Keys without a name."""
    keys = [key for key in account.keys.values() if not key.name]
    return findings.keys_without_name(ids(keys), account.without_owner(keys)) if keys else None


def keys_owned_by_stacks(account: Account) -> Finding | None:
    """Keys that a stack, or another tool, owns."""
    owners = {
        key.key_id: owner
        for key in account.keys.values()
        if (owner := account.owner(key)) is not None
    }
    if not owners:
        return None
    gone = {
        owners[key_id]
        for key_id in owners.keys() & account.stack_owners.stacks.keys()
        if account.stack_owners.stacks[key_id] is None
        and STACK_TAG in (account.keys[key_id].tags or {})
    }
    return findings.keys_owned_by_stacks(list(owners), Counter(owners.values()), gone)


def keys_without_tier(account: Account) -> Finding | None:
    """Keys whose row names a tier that the policy does not have."""
    tier_of_key = {
        key.key_id: unknown.tier
        for key in account.keys.values()
        if isinstance(unknown := account.tier_of(key)[1], TierMissing)
    }
    if not tier_of_key:
        return None
    return findings.keys_without_tier(list(tier_of_key), Counter(tier_of_key.values()))


def policy_plans_unclear(account: Account) -> Finding | None:
    """Plans that the policy names so that it is not clear which is meant."""
    if not (problems := account.bound.problems):
        return None
    plans = {
        plan_id: plan.name
        for plan_id, plan in account.plans.items()
        if account.bound.unclear([plan_id])
    }
    return findings.policy_plans_unclear(problems, plans)


def keys_without_row(account: Account) -> Finding | None:
    """Keys that the ledger does not know, of a stack that adopts keys."""
    # A stack that only observes adopts no key; what was made today is adopted by the next night.
    rows = account.rows or {}
    if all(row.issued for row in rows.values()):
        return None
    strangers = [
        key
        for key in account.keys.values()
        if key.key_id not in rows and key.created_date.date() < account.today
    ]
    return findings.keys_without_row(ids(strangers)) if strangers else None


def rows_without_key(account: Account) -> Finding | None:
    """Rows of the ledger whose keys are not in the account."""
    gone = [
        key_id
        for key_id, row in sorted((account.rows or {}).items())
        if key_id not in account.listed and not _is_on_its_way(account, row)
    ]
    return findings.rows_without_key(gone) if gone else None


def _is_on_its_way(account: Account, row: Row) -> bool:
    """True if the row may be newer than the list: the key was changed or made today."""
    return row.claim is not None or account.today in (
        row.stepped_on,
        row.adopted_on,
        row.restored_on,
    )


def keys_inactive(account: Account) -> Finding | None:
    """Enabled keys that are inactive for longer than their tier declares."""
    if not account.inactive:
        return None
    return findings.keys_inactive(
        [one.key_id for one in account.inactive],
        {one.tier: one.declared for one in account.inactive},
        Counter(one.why for one in account.inactive),
    )
