"""Finds the problems of an account's keys, plans and stages. Pure.

What is not known is no finding: a plan that was not read, a stage whose methods are unknown, a key
that was made since the reading.
"""

from collections.abc import Callable, Sequence

from keyjanitor.domain.doctor import key_checks, plan_checks
from keyjanitor.domain.doctor.account import Account
from keyjanitor.domain.doctor.checkup import Checkup
from keyjanitor.domain.doctor.findings import Finding

_CHECKS: Sequence[Callable[[Account], Finding | None]] = (
    key_checks.keys_in_no_plan,
    key_checks.keys_disabled_and_unattached,
    key_checks.keys_in_plans_without_stages,
    key_checks.keys_that_guard_nothing,
    key_checks.shared_names,
    key_checks.keys_without_name,
    key_checks.keys_owned_by_stacks,
    key_checks.keys_without_tier,
    key_checks.keys_inactive,
    key_checks.policy_plans_unclear,
    key_checks.keys_without_row,
    key_checks.rows_without_key,
    plan_checks.plans_without_limits,
    plan_checks.plans_without_keys,
    plan_checks.plans_not_used,
    plan_checks.silent_plans,
    plan_checks.plans_alike,
    plan_checks.stages_without_plan,
)


def find_problems(checkup: Checkup) -> tuple[Finding, ...]:
    """Problems, the one that frees most slots first, then by kind. The order of the input does not matter."""
    account = Account(checkup)
    found = filter(None, (check(account) for check in _CHECKS))
    return tuple(sorted(found, key=lambda one: (-one.slots, one.kind)))
