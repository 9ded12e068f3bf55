"""An account on one day, with the questions that more than one of the doctor's checks asks. Pure."""

from collections.abc import Iterable, Iterator
from datetime import date

from keyjanitor.domain.doctor.checkup import Checkup
from keyjanitor.domain.doctor.fixes import StackOwners, SweepBlockers
from keyjanitor.domain.expiry.key_use import plan_doubt
from keyjanitor.domain.expiry.ownership import (
    RESTORE_MARKER,
    disabled_by_us,
    owner_by_marks,
    protection,
)
from keyjanitor.domain.expiry.reasons import Protected
from keyjanitor.domain.expiry.verdicts import TierUnknown, tier_of
from keyjanitor.domain.model.keys import DAY, ApiKey
from keyjanitor.domain.model.owners import Owner, Stack
from keyjanitor.domain.model.policy import Tier
from keyjanitor.domain.model.records import Row
from keyjanitor.domain.model.usage_plan import UsagePlan, plan_name
from keyjanitor.domain.usage.evidence import UsagePlanReading
from keyjanitor.domain.usage.plan_usage import USAGE_DAYS


class Account:
    """An account on one day; what more than one check needs is worked out once."""

    def __init__(self, checkup: Checkup) -> None:
        self.today = checkup.today
        self.bound = checkup.bound
        self.rows = checkup.rows
        self.evidence = checkup.evidence
        self.stages = checkup.stages
        self.parked_plans = checkup.parked_plans
        self.inactive = checkup.inactive or ()
        self.stack_owners = StackOwners(checkup.stacks)
        self.keys = {
            key.key_id: key
            for key in sorted(checkup.keys, key=lambda key: key.key_id)
            if not key.name.startswith(RESTORE_MARKER)
        }
        self.listed = {key.key_id for key in checkup.keys}
        self.are_plans_known = checkup.plans is not None
        plans = sorted(checkup.plans or (), key=lambda plan: plan.usage_plan_id)
        self.plans = {plan.usage_plan_id: plan for plan in plans}
        members = checkup.evidence.plans_of_key() if checkup.evidence else {}
        self.plans_of_key = {key_id: sorted(inside) for key_id, inside in members.items()}
        tiers = checkup.bound.policy.tiers.values()
        self.made_names = {plan_name(tier) for tier in tiers}

    # --- keys -------------------------------------------------------------------------------------

    def row(self, key: ApiKey) -> Row | None:
        """The ledger's row of the key, or None if it has none."""
        return (self.rows or {}).get(key.key_id)

    def owner(self, key: ApiKey) -> Owner | None:
        """Owner of the key by its marks, else by its row; None: none is known."""
        row = self.row(key)
        return owner_by_marks(key, self.bound) or (row.owned_by if row else None)

    def stack(self, key: ApiKey) -> str | None:
        """The name of the stack that owns the key, if one does."""
        owner = self.owner(key)
        return owner.name if isinstance(owner, Stack) else None

    def without_owner(self, keys: Iterable[ApiKey]) -> list[str]:
        """The ids of those keys whose tags are known and that have no owner."""
        return [k.key_id for k in keys if k.tags is not None and self.owner(k) is None]

    def protection(self, key: ApiKey) -> Protected | None:
        """Reason that protects the key from every sweep today, or None."""
        return protection(key, self.row(key), self.today, self.bound)

    def was_disabled_by_others(self, key: ApiKey) -> bool:
        """True if the key is disabled, and not by keyjanitor."""
        row = self.row(key)
        return not key.enabled and (row is None or not disabled_by_us(key, row))

    def tier(self, key: ApiKey) -> Tier:
        """Tier whose idle limits apply to the key."""
        return self.tier_of(key)[0]

    def tier_of(self, key: ApiKey) -> tuple[Tier, TierUnknown | None]:
        """The tier of the key, and why it is only a stand-in if it is one."""
        plans = self.plans_of_key.get(key.key_id, ())
        return tier_of(self.row(key), plans, self.bound)

    def can_be_parked(self, key: ApiKey) -> bool:
        """True if only idle limits, or a line in the policy, keep a sweep from the key."""
        tier, unknown = self.tier_of(key)
        sweepable = tier.idle_days != "never" or tier is self.bound.policy.unclaimed
        return (
            sweepable and unknown is None and key.tags is not None and self.protection(key) is None
        )

    def opened(self, key: ApiKey) -> set[str]:
        """The stages that a key opens; SAM and the Serverless Framework name them in the key too."""
        inside = self.plans_of_key.get(key.key_id, ())
        return {*own_stages(key), *(one for plan in inside for one in self.plans[plan].stages)}

    def is_idle(self, key: ApiKey, since: date) -> bool:
        """True if no use of the key after a day is known."""
        row = self.row(key)
        used = [
            self.evidence.last_use(key.key_id) if self.evidence else None,
            row.last_used if row else None,
        ]
        return all(day is None or day <= since for day in used)

    # --- usage plans ------------------------------------------------------------------------------

    def is_fresh(self) -> bool:
        """True if the latest usage reading is of tonight or the night before."""
        return self.evidence is not None and self.today - self.evidence.day <= DAY

    def read_plans(self) -> Iterator[tuple[UsagePlan, UsagePlanReading]]:
        """The plans that there are, with what the latest evidence read of each."""
        readings = self.evidence.plans if self.evidence else {}
        for plan in self.plans.values():
            if reading := readings.get(plan.usage_plan_id):
                yield plan, reading

    def tells(self, reading: UsagePlanReading) -> bool:
        """True if silence in the plan proves idleness."""
        if self.evidence is None:
            return False
        return plan_doubt(reading.usage_plan_id, self.evidence, self.bound) is None

    def living(self, reading: UsagePlanReading) -> list[ApiKey]:
        """The keys of a plan that are in the account; none if its members were not read."""
        if not reading.members_read:
            return []
        return [self.keys[key_id] for key_id in reading.members if key_id in self.keys]

    def parkable_in(self, plans: Iterable[UsagePlan]) -> int:
        """Number of idle keys that are only in these plans and could be parked."""
        only = set(plan_ids(plans))
        since = self.today - DAY * USAGE_DAYS
        return sum(
            only.issuperset(inside)
            and key_id in self.keys
            and self.is_idle(self.keys[key_id], since)
            and self.can_be_parked(self.keys[key_id])
            for key_id, inside in self.plans_of_key.items()
        )

    def sweep_blockers(self, plans: Iterable[str]) -> SweepBlockers:
        """What keeps a sweep from the keys of these plans."""
        ids = tuple(sorted(plans))
        silent = {
            plan.usage_plan_id
            for plan, reading in self.read_plans()
            if reading.unread is None and not self.tells(reading)
        }
        return SweepBlockers(self.bound, ids, tuple(one for one in ids if one in silent))


def own_stages(key: ApiKey) -> set[str]:
    """The stages that the key itself names, as keys did before there were usage plans."""
    return {stage.replace("/", ":", 1) for stage in key.stage_keys}


def ids(keys: Iterable[ApiKey]) -> list[str]:
    """The ids of keys, in their order."""
    return [key.key_id for key in keys]


def plan_ids(plans: Iterable[UsagePlan]) -> list[str]:
    """The ids of plans, in their order."""
    return [plan.usage_plan_id for plan in plans]
