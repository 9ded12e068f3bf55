"""Looks for what is wrong with an account's keys, plans and stages. Pure.

What is not known is no finding: a plan that was not read, a stage whose methods nobody told, a key
that was made since the reading.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date

from keyjanitor.domain.doctor import findings
from keyjanitor.domain.doctor.checkup import Checkup
from keyjanitor.domain.doctor.findings import Finding
from keyjanitor.domain.doctor.fixes import Sweepable, Whose
from keyjanitor.domain.expiry.key_use import plan_doubt
from keyjanitor.domain.expiry.ownership import (
    RESTORE_MARKER,
    STACK_TAG,
    disabled_by_us,
    owner_by_marks,
    protection,
)
from keyjanitor.domain.expiry.reasons import DisabledByOthers, Protected, TierMissing
from keyjanitor.domain.expiry.verdicts import TierUnknown, tier_of
from keyjanitor.domain.model.apis import LimitedPlan
from keyjanitor.domain.model.keys import DAY, ApiKey
from keyjanitor.domain.model.owners import Owner, Stack
from keyjanitor.domain.model.policy import Rate, Tier
from keyjanitor.domain.model.records import Row
from keyjanitor.domain.requests.plan_shape import plan_name
from keyjanitor.domain.usage.evidence import PlanReading
from keyjanitor.domain.usage.plan_usage import USAGE_DAYS


def examine(checkup: Checkup) -> tuple[Finding, ...]:
    """What is wrong: what frees most slots first, then by kind. The order of the input is no matter."""
    patient = _Patient(checkup)
    found = [
        patient.keys_in_no_plan(),
        patient.keys_disabled_and_unattached(),
        patient.keys_in_plans_without_stages(),
        patient.keys_that_guard_nothing(),
        patient.shared_names(),
        patient.keys_without_name(),
        patient.keys_owned_by_stacks(),
        patient.keys_without_tier(),
        patient.policy_plans_unclear(),
        patient.keys_without_row(),
        patient.rows_without_key(),
        patient.plans_without_limits(),
        patient.plans_without_keys(),
        patient.plans_not_used(),
        patient.silent_plans(),
        patient.plans_alike(),
        patient.stages_without_plan(),
    ]
    return tuple(sorted(filter(None, found), key=lambda one: (-one.slots, one.kind)))


class _Patient:
    """An account on one day; what more than one question needs is worked out once."""

    def __init__(self, checkup: Checkup) -> None:
        self._today = checkup.today
        self._bound = checkup.bound
        self._rows = checkup.rows
        self._evidence = checkup.evidence
        self._stages = checkup.stages
        self._parked_plans = checkup.parked_plans
        self._whose = Whose(checkup.stacks)
        self._keys = {
            key.key_id: key
            for key in sorted(checkup.keys, key=lambda key: key.key_id)
            if not key.name.startswith(RESTORE_MARKER)
        }
        self._listed = {key.key_id for key in checkup.keys}
        self._are_plans_known = checkup.plans is not None
        plans = sorted(checkup.plans or (), key=lambda plan: plan.usage_plan_id)
        self._plans = {plan.usage_plan_id: plan for plan in plans}
        members = checkup.evidence.members() if checkup.evidence else {}
        self._plans_of_key = {key_id: sorted(inside) for key_id, inside in members.items()}
        tiers = checkup.bound.policy.tiers.values()
        self._made_names = {plan_name(tier) for tier in tiers}

    # --- keys -------------------------------------------------------------------------------------

    def keys_in_no_plan(self) -> Finding | None:
        orphans = [key for key in self._orphans() if not self._was_disabled_by_others(key)]
        if not orphans or self._evidence is None:
            return None
        parkable = [key for key in orphans if self._can_be_parked(key)]
        waiting = {self._tier(key).name for key in parkable if self._tier(key).contact is None}
        return findings.keys_in_no_plan(
            _ids(orphans), len(parkable), sorted(waiting), self._evidence.day, self._bound
        )

    def keys_disabled_and_unattached(self) -> Finding | None:
        left = [
            key
            for key in self._orphans()
            if self._is_fresh()
            and self._was_disabled_by_others(key)
            # Else somebody keeps it on purpose, or it is another tool's.
            and isinstance(self._protection(key), DisabledByOthers)
            and key.tags is not None
        ]
        return findings.keys_disabled_and_unattached(_ids(left)) if left else None

    def _orphans(self) -> list[ApiKey]:
        """Keys that were in no plan when all plans were read, and were there then."""
        evidence = self._evidence
        if evidence is None or evidence.complete_since is None:
            return []
        return [
            key
            for key in self._keys.values()
            if key.key_id not in self._plans_of_key
            and not key.stage_keys
            and key.created_date.date() < evidence.day
        ]

    def keys_in_plans_without_stages(self) -> Finding | None:
        shut = {
            key_id: [self._plans[plan] for plan in inside]
            for key_id, inside in sorted(self._plans_of_key.items())
            if key_id in self._keys
            and all(plan in self._plans for plan in inside)
            and not self._opened(self._keys[key_id])
        }
        if not shut:
            return None
        plans = {plan.usage_plan_id: plan for inside in shut.values() for plan in inside}
        return findings.keys_in_plans_without_stages(
            list(shut), [plans[plan_id] for plan_id in sorted(plans)], self._whose
        )

    def keys_that_guard_nothing(self) -> Finding | None:
        useless = {key.key_id: key for key in self._keys.values() if self._guards_nothing(key)}
        if not useless:
            return None
        parkable = [key for key in useless.values() if self._can_be_parked(key)]
        # The plans of those that can go: what others own is not for the sweep.
        swept = {plan for key in parkable for plan in self._plans_of_key[key.key_id]}
        return findings.keys_that_guard_nothing(
            list(useless),
            len(parkable),
            sorted({stage for key in useless.values() for stage in self._opened(key)}),
            sorted({stack for key in useless.values() if (stack := self._stack(key))}),
            self._sweepable(swept),
        )

    def _guards_nothing(self, key: ApiKey) -> bool:
        """Whether the key is in plans, and no stage that it opens by them, or by itself, minds it."""
        inside = self._plans_of_key.get(key.key_id, ())
        return (
            bool(inside)
            and all(plan in self._plans for plan in inside)
            and bool(self._opened(key))  # what opens nothing at all locks everybody out
            and all(
                stage in self._stages and self._stages[stage].ignores_keys
                for stage in self._opened(key)
            )
        )

    def _opened(self, key: ApiKey) -> set[str]:
        """The stages that a key opens; SAM and the Serverless Framework name them in the key too."""
        inside = self._plans_of_key.get(key.key_id, ())
        return {*_own_stages(key), *(one for plan in inside for one in self._plans[plan].stages)}

    def shared_names(self) -> Finding | None:
        names = Counter(key.name for key in self._keys.values() if key.name)
        shared = {name: keys for name, keys in names.items() if keys > 1}
        keys = [key for key in self._keys.values() if key.name in shared]
        free = self._nobody_owns(keys)
        return findings.shared_names(_ids(keys), shared, free) if keys else None

    def keys_without_name(self) -> Finding | None:
        keys = [key for key in self._keys.values() if not key.name]
        return findings.keys_without_name(_ids(keys), self._nobody_owns(keys)) if keys else None

    def keys_owned_by_stacks(self) -> Finding | None:
        owners = {
            key.key_id: owner
            for key in self._keys.values()
            if (owner := self._owner(key)) is not None
        }
        if not owners:
            return None
        gone = {
            owners[key_id]
            for key_id in owners.keys() & self._whose.stacks.keys()
            if self._whose.stacks[key_id] is None and STACK_TAG in (self._keys[key_id].tags or {})
        }
        return findings.keys_owned_by_stacks(list(owners), Counter(owners.values()), gone)

    # --- the policy -------------------------------------------------------------------------------

    def keys_without_tier(self) -> Finding | None:
        tier_of_key = {
            key.key_id: unknown.tier
            for key in self._keys.values()
            if isinstance(unknown := self._tier_of(key)[1], TierMissing)
        }
        if not tier_of_key:
            return None
        return findings.keys_without_tier(list(tier_of_key), Counter(tier_of_key.values()))

    def policy_plans_unclear(self) -> Finding | None:
        if not (problems := self._bound.problems):
            return None
        plans = {
            plan_id: plan.name
            for plan_id, plan in self._plans.items()
            if self._bound.unclear([plan_id])
        }
        return findings.policy_plans_unclear(problems, plans)

    # --- the ledger -------------------------------------------------------------------------------

    def keys_without_row(self) -> Finding | None:
        # A stack that only observes adopts no key; what was made today is adopted by the next night.
        rows = self._rows or {}
        if all(row.issued for row in rows.values()):
            return None
        strangers = [
            key
            for key in self._keys.values()
            if key.key_id not in rows and key.created_date.date() < self._today
        ]
        return findings.keys_without_row(_ids(strangers)) if strangers else None

    def rows_without_key(self) -> Finding | None:
        gone = [
            key_id
            for key_id, row in sorted((self._rows or {}).items())
            if key_id not in self._listed and not self._is_on_its_way(row)
        ]
        return findings.rows_without_key(gone) if gone else None

    def _is_on_its_way(self, row: Row) -> bool:
        """Whether the row may be behind: the key was touched today, or was made after the list."""
        return row.claim is not None or self._today in (
            row.stepped_on,
            row.adopted_on,
            row.restored_on,
        )

    # --- usage plans ------------------------------------------------------------------------------

    def plans_without_limits(self) -> Finding | None:
        plans = [plan for plan in self._plans.values() if not plan.has_limits]
        if not plans:
            return None
        tiers = [self._bound.tier_of_plan.get(plan.usage_plan_id) for plan in plans]
        limits = [tier.throttle for tier in tiers if tier and tier.throttle]
        return findings.plans_without_limits(
            plans, self._whose, limits[0] if limits else None, self._busiest_day_of(plans)
        )

    def _busiest_day_of(self, plans: Iterable[LimitedPlan]) -> dict[str, int]:
        """The most requests of each plan on one day, by its last good reading; unread ones are left out."""
        told = self._evidence.told if self._evidence else {}
        return {
            plan.usage_plan_id: max(told[plan.usage_plan_id].by_day.values(), default=0)
            for plan in plans
            if plan.usage_plan_id in told
        }

    def plans_without_keys(self) -> Finding | None:
        empty = [
            plan
            for plan, reading in self._read_plans()
            if reading.members_read and not reading.members and not self._is_wanted(plan)
        ]
        return findings.plans_without_keys(empty, self._whose) if empty else None

    def plans_not_used(self) -> Finding | None:
        unused = [
            plan
            for plan, reading in self._read_plans()
            if self._is_fresh() and reading.unread is None
            if self._tells(reading) and self._is_unused(reading)
        ]
        if not unused:
            return None
        keys = self._parkable_in(unused)
        return findings.plans_not_used(
            unused, keys, USAGE_DAYS, self._whose, self._sweepable(_plan_ids(unused))
        )

    def silent_plans(self) -> Finding | None:
        silent = [
            plan
            for plan, reading in self._read_plans()
            if self._is_fresh() and reading.unread is None
            if self._living(reading) and reading.stages and not self._tells(reading)
        ]
        if not silent:
            return None
        return findings.silent_plans(
            silent, self._parkable_in(silent), self._whose, self._sweepable(_plan_ids(silent))
        )

    def plans_alike(self) -> Finding | None:
        alike: dict[object, list[LimitedPlan]] = {}
        for plan in self._plans.values():
            if plan.stages and not self._whose.stacks.get(plan.usage_plan_id):
                alike.setdefault(self._likeness(plan), []).append(plan)
        groups = []
        for plans in alike.values():
            keep = min(plans, key=self._keep_rank)
            if go := [plan for plan in plans if plan != keep and self._may_go(plan)]:
                groups.append((keep, go))
        return findings.plans_alike(groups, self._whose) if groups else None

    def _likeness(self, plan: LimitedPlan) -> object:
        """What two plans have to have in common to be one."""
        tier = self._bound.tier_of_plan.get(plan.usage_plan_id)
        return (
            frozenset((stage, _rates(methods)) for stage, methods in plan.stages.items()),
            plan.throttle,
            plan.quota,
            plan.offset,
            plan.product_code,
            tier.name if tier else None,
        )

    def _keep_rank(self, plan: LimitedPlan) -> tuple[bool, int, str]:
        """Of plans that could be one the least stays: one that is wanted, with the most keys."""
        reading = self._evidence.plans.get(plan.usage_plan_id) if self._evidence else None
        members = len(reading.members) if reading else 0
        return not self._is_wanted(plan), -members, plan.usage_plan_id

    def _is_wanted(self, plan: LimitedPlan) -> bool:
        """Whether the policy names the plan, or may mean it, a tier's new keys go into it, or a parked key may."""
        return (
            plan.usage_plan_id in self._bound.tier_of_plan
            or self._bound.unclear([plan.usage_plan_id]) is not None
            or plan.usage_plan_id in self._bound.silent_plans
            or plan.name in self._made_names
            or self._parked_plans is None
            or plan.usage_plan_id in self._parked_plans
        )

    def _may_go(self, plan: LimitedPlan) -> bool:
        """Whether nobody waits for the plan, and its keys may be moved out of it.

        What ties a key of a stack, or of Terraform, to a plan is theirs as well, whoever made the plan.
        """
        reading = self._evidence.plans.get(plan.usage_plan_id) if self._evidence else None
        if reading is None or not reading.members_read or self._is_wanted(plan):
            return False
        keys = [self._keys[key_id] for key_id in reading.members if key_id in self._keys]
        return len(self._nobody_owns(keys)) == len(keys)

    def _is_fresh(self) -> bool:
        """Whether the latest reading is of tonight or the night before: else nobody knows since when."""
        return self._evidence is not None and self._today - self._evidence.day <= DAY

    def _read_plans(self) -> Iterator[tuple[LimitedPlan, PlanReading]]:
        """The plans that there are, with what the latest evidence read of each."""
        readings = self._evidence.plans if self._evidence else {}
        for plan in self._plans.values():
            if reading := readings.get(plan.usage_plan_id):
                yield plan, reading

    def _tells(self, reading: PlanReading) -> bool:
        """Whether silence in the plan means something."""
        if self._evidence is None:
            return False
        return plan_doubt(reading.usage_plan_id, self._evidence, self._bound) is None

    def _living(self, reading: PlanReading) -> list[ApiKey]:
        if not reading.members_read:
            return []
        return [self._keys[key_id] for key_id in reading.members if key_id in self._keys]

    def _is_unused(self, reading: PlanReading) -> bool:
        """Whether no key of the plan was used for as long as usage tells, though one could have."""
        since = self._today - DAY * USAGE_DAYS
        keys = self._living(reading)
        return any(self._was_inside(key, since) for key in keys) and all(
            self._is_idle(key, since) for key in keys
        )

    def _was_inside(self, key: ApiKey, since: date) -> bool:
        """Whether the key was made before a day, and did not come into its plans after it."""
        if self._evidence is None or key.created_date.date() > since:
            return False
        came = (self._evidence.plans_changed, self._evidence.first_in_plan_on)
        return all(days.get(key.key_id, since) <= since for days in came)

    def _is_idle(self, key: ApiKey, since: date) -> bool:
        row = self._row(key)
        used = [
            self._evidence.last_used.get(key.key_id) if self._evidence else None,
            row.last_used if row else None,
        ]
        return all(day is None or day <= since for day in used)

    def _parkable_in(self, plans: Iterable[LimitedPlan]) -> int:
        """How many keys are in none but these plans, idle, and could be parked."""
        ids = set(_plan_ids(plans))
        since = self._today - DAY * USAGE_DAYS
        return sum(
            ids.issuperset(inside)
            and key_id in self._keys
            and self._is_idle(self._keys[key_id], since)
            and self._can_be_parked(self._keys[key_id])
            for key_id, inside in self._plans_of_key.items()
        )

    def _sweepable(self, plans: Iterable[str]) -> Sweepable:
        ids = tuple(sorted(plans))
        silent = {
            plan.usage_plan_id
            for plan, reading in self._read_plans()
            if reading.unread is None and not self._tells(reading)
        }
        return Sweepable(self._bound, ids, tuple(one for one in ids if one in silent))

    # --- stages -----------------------------------------------------------------------------------

    def stages_without_plan(self) -> Finding | None:
        if not self._are_plans_known:
            return None
        covered = {stage for plan in self._plans.values() for stage in plan.stages}
        covered |= {stage for key in self._keys.values() for stage in _own_stages(key)}
        bare = [
            name
            for name, stage in sorted(self._stages.items())
            if stage.requires_keys and name not in covered
        ]
        return findings.stages_without_plan(bare, self._whose) if bare else None

    # --- whose a key is ---------------------------------------------------------------------------

    def _row(self, key: ApiKey) -> Row | None:
        return (self._rows or {}).get(key.key_id)

    def _owner(self, key: ApiKey) -> Owner | None:
        row = self._row(key)
        return owner_by_marks(key, self._bound) or (row.owned_by if row else None)

    def _stack(self, key: ApiKey) -> str | None:
        owner = self._owner(key)
        return owner.name if isinstance(owner, Stack) else None

    def _nobody_owns(self, keys: Iterable[ApiKey]) -> list[str]:
        return [k.key_id for k in keys if k.tags is not None and self._owner(k) is None]

    def _protection(self, key: ApiKey) -> Protected | None:
        return protection(key, self._row(key), self._today, self._bound)

    def _was_disabled_by_others(self, key: ApiKey) -> bool:
        row = self._row(key)
        return not key.enabled and (row is None or not disabled_by_us(key, row))

    def _tier(self, key: ApiKey) -> Tier:
        return self._tier_of(key)[0]

    def _tier_of(self, key: ApiKey) -> tuple[Tier, TierUnknown | None]:
        plans = self._plans_of_key.get(key.key_id, ())
        return tier_of(self._row(key), plans, self._bound)

    def _can_be_parked(self, key: ApiKey) -> bool:
        """Whether nothing but patience, or a line in the policy, keeps a sweep from the key."""
        tier, unknown = self._tier_of(key)
        sweepable = tier.idle_days != "never" or tier is self._bound.policy.unclaimed
        return (
            sweepable and unknown is None and key.tags is not None and self._protection(key) is None
        )


def _own_stages(key: ApiKey) -> set[str]:
    """The stages that the key itself names, as keys did before there were usage plans."""
    return {stage.replace("/", ":", 1) for stage in key.stage_keys}


def _ids(keys: Iterable[ApiKey]) -> list[str]:
    return [key.key_id for key in keys]


def _plan_ids(plans: Iterable[LimitedPlan]) -> list[str]:
    return [plan.usage_plan_id for plan in plans]


def _rates(methods: Mapping[str, Rate]) -> tuple[tuple[str, Rate], ...]:
    return tuple(sorted(methods.items(), key=lambda item: item[0]))
