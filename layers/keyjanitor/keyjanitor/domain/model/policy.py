"""The policy: what may be done to which keys, and after how many idle days. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, inf
from typing import Literal

from keyjanitor.domain.model.owners import Mark

Never = Literal["never"]
UNCLAIMED = "unclaimed"
MOST_DAYS = 3650  # of any `*_days`
# Marks that Terraform, OpenTofu, Pulumi, Crossplane and CDK leave, and common tags of their users (seen: AF-404).
DESCRIPTIONS = (
    "Managed by Terraform",
    "Managed by OpenTofu",
    "Managed by Pulumi",
    "Managed by Crossplane",
    "Managed by CDK",
)
TAGS = (
    "Terraform",
    "OpenTofu",
    "Pulumi",
    "pulumi:project",
    "pulumi:stack",
    "crossplane-kind",
    "crossplane-name",
    "crossplane-providerconfig",
    "CDK",
    "aws-cdk",
    "ManagedBy",
    "CreatedBy",
    "Provisioner",
    "ProvisionedBy",
    "IaC",
)

_JOINTS = re.compile(r"[-_\s]+")
_MADE_PLAN = re.compile(r"keyjanitor (?P<tier>\S+) [0-9a-f]{8}")  # as shapes.plan_name writes it
MONTHLY_JOBS = 35  # days that `idle_days` is not shortened below: monthly jobs exist


@dataclass(frozen=True, slots=True)
class Rate:
    """A throttle: requests a second, and the burst above it."""

    rate_limit: float
    burst_limit: int


@dataclass(frozen=True, slots=True)
class Quota:
    """Requests that a usage plan allows in a period."""

    limit: int
    period: str


@dataclass(frozen=True, slots=True)
class Tier:
    """A named class of keys; every `*_days` is in days."""

    name: str
    contact: str | None
    usage_plans: tuple[str, ...]
    stages: tuple[str, ...]
    throttle: Rate | None
    quota: Quota | None
    method_throttle: Mapping[str, Rate]
    never_used_days: int
    idle_days: int | Never
    warn_days: int
    grace_days: int
    retain_days: int
    orphan_days: int
    max_keys_per_owner: int
    max_life_days: int | None  # of a key that is issued; None: it need not end
    max_protect_days: int
    new_keys_per_day: int
    new_keys_per_sender_per_hour: int
    reserve: int
    senders: tuple[str, ...]
    admins: tuple[str, ...]
    recipients: tuple[str, ...]
    declared_inactivity_days: int | None = None  # None: nothing is declared

    @property
    def only_operators_ask(self) -> bool:
        """Whether the tier issues keys, and none but operators may ask for them."""
        return bool(self.recipients) and not self.senders

    def idle_limit(self, *, never_used: bool, factor: float = 1.0) -> int | None:
        """Idle limit in days, under a pressure rule's `factor`; None: the key never expires."""
        if self.idle_days == "never":
            return None
        if never_used:
            return max(1, ceil(self.never_used_days * factor))
        return max(min(self.idle_days, MONTHLY_JOBS), ceil(self.idle_days * factor))

    def idle_limit_rank(self) -> tuple[float, ...]:
        """Sorts tiers by their idle limit: the one that keeps keys longest is the greatest."""
        return (
            self.contact is None,
            inf if self.idle_days == "never" else self.idle_days,
            self.never_used_days,
            self.orphan_days,
            self.warn_days + self.grace_days,
        )


@dataclass(frozen=True, slots=True)
class PressureRule:
    """Multiplies idle limits by `idle_factor` above a share of the key limit.

    `above` is the share (0 to 1). The tiers in `freeze` get no new keys meanwhile.
    """

    above: float
    idle_factor: float
    freeze: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sweep:
    """The allowance of one date: a share of all keys, and an absolute number."""

    max_share: float
    max_keys: int

    def allowance(self, keys: int) -> int:
        """Number of keys that may be warned on one date, and disabled, and parked, and purged."""
        return max(20, min(int(self.max_share * keys), self.max_keys))


@dataclass(frozen=True, slots=True)
class Owned:
    """Marks of keys that other tools own; neither case nor `-` and `_` make a difference."""

    descriptions: tuple[str, ...]
    tags: tuple[str, ...]
    name_prefixes: tuple[str, ...]

    def mark_on(self, description: str, tags: Mapping[str, str], name: str) -> Mark | None:
        """The mark that a key bears; None: none of them."""
        marked = {alike(tag) for tag in self.tags}
        for tag, value in tags.items():
            if alike(tag) in marked:
                return Mark("tag", f"{tag}={value}")
        for begins in self.descriptions:
            if alike(description).startswith(alike(begins)):
                return Mark("description", begins)
        for prefix in self.name_prefixes:
            if _dashed(name).startswith(_dashed(prefix)):
                return Mark("name_prefix", prefix)
        return None


@lru_cache(maxsize=4096)
def alike(text: str) -> str:
    """A mark without the differences that tools make in writing it: `managed_by` is `Managed-By` is `ManagedBy`."""
    return _JOINTS.sub("", text.casefold())


def _dashed(name: str) -> str:
    return name.casefold().replace("_", "-")


@dataclass(frozen=True, slots=True)
class OwnerRule:
    """Where a text says whose a key is, and the pattern whose group `owner` is the owner.

    `place` is `description`, `name`, `customer_id`, or `tag:` and the key of a tag.
    """

    place: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Operators:
    """Ids of roles and users that may ask in every tier and act on every key, by the queue."""

    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Alerts:
    """Thresholds of the alerts about the key limit."""

    levels: tuple[float, ...]
    clear_margin: float
    days_to_limit: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pressure:
    """Share of the key limit that is `used`, and the factor by which idle limits are multiplied.

    `above` is the share that names the pressure rule in force; None: none is.
    """

    used: float
    idle_factor: float
    above: float | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """The whole of `policy.toml`, checked."""

    service_quota: int
    silent_plans: tuple[str, ...]
    sweep: Sweep
    owned: Owned
    tiers: Mapping[str, Tier]
    pressure: tuple[PressureRule, ...]
    alerts: Alerts
    operators: Operators = Operators()
    access_logs: bool = False  # asked which keys called
    access_logs_max_gb: int = 10  # that the queries of a night may look at
    owners: tuple[OwnerRule, ...] = ()

    @property
    def unclaimed(self) -> Tier:
        """The tier of keys that no other tier names."""
        return self.tiers[UNCLAIMED]

    def pressure_at(self, keys: int, standing: float | None = None) -> Pressure:
        """Pressure on an account with so many keys; `standing` is the `above` of the rule in force until now."""
        reached = self._reached(keys, standing)
        return Pressure(
            used=round(keys / self.service_quota, 4),
            idle_factor=min((rule.idle_factor for rule in reached), default=1.0),
            above=max((rule.above for rule in reached), default=None),
        )

    def frozen(self, keys: int, standing: float | None = None) -> frozenset[str]:
        """The tiers that get no new keys in an account that holds so many."""
        return frozenset(name for rule in self._reached(keys, standing) for name in rule.freeze)

    def _reached(self, keys: int, standing: float | None) -> list[PressureRule]:
        """Pressure rules in force. A rule in force ends only `clear_margin` below its share."""
        used = keys / self.service_quota
        return [
            rule
            for rule in self.pressure
            if used > rule.above
            or (
                standing is not None
                and rule.above <= standing
                and used > rule.above - self.alerts.clear_margin
            )
        ]

    def tier_called(self, name: str) -> Tier:
        """The tier of that name; if the file has none, one under which nothing happens to a key."""
        if name in self.tiers:
            return self.tiers[name]
        return replace(
            self.unclaimed,
            name=name,
            contact=None,
            idle_days="never",
            reserve=0,
            senders=(),
            admins=(),
            recipients=(),
        )

    def _made_for(self, plan_name: str) -> Tier | None:
        """The tier whose new keys go into a plan that keyjanitor made, by what it calls such plans."""
        found = _MADE_PLAN.fullmatch(plan_name)
        return self.tiers.get(found["tier"]) if found else None

    def bind(self, plans: Mapping[str, str]) -> "BoundPolicy":
        """Ties the plans that the policy names to those of the account (id -> name).

        What cannot be tied is one of the result's `problems` and stops nothing else.
        """
        problems: list[Unbound] = []
        named_by: dict[str, list[tuple[Tier, str]]] = {}  # and the path where
        for tier in self.tiers.values():
            for index, wanted in enumerate(tier.usage_plans):
                path = f"tiers.{tier.name}.usage_plans[{index}]"
                found = _plans_called(wanted, plans)
                if len(found) == 1:
                    named_by.setdefault(found[0], []).append((tier, path))
                else:
                    problems.append(_unbound(path, wanted, found))
        for plan_id, named in named_by.items():
            (first, there), others = named[0], [one for one in named[1:] if one[0] != named[0][0]]
            for second, path in others:
                reason = (
                    f"is the usage plan {plan_id}, which {there} names too: tier {second.name} or "
                    f"tier {first.name} has its keys, not both"
                )
                problems.append(Unbound(path, reason, (plan_id,)))
        for plan_id, plan_name in plans.items():
            if plan_id not in named_by and (made_for := self._made_for(plan_name)):
                named_by[plan_id] = [(made_for, "")]
        unclear = {plan_id for one in problems for plan_id in one.usage_plan_ids or ()}
        silent: set[str] = set()
        for index, wanted in enumerate(self.silent_plans):
            found = _plans_called(wanted, plans)
            if len(found) == 1:
                silent.add(found[0])
            else:
                one = _unbound(f"silent_plans[{index}]", wanted, found)
                problems.append(replace(one, usage_plan_ids=()))
        return BoundPolicy(
            policy=self,
            tier_of_plan={
                plan_id: named[0][0]
                for plan_id, named in named_by.items()
                if plan_id not in unclear
            },
            silent_plans=frozenset(silent),
            problems=tuple(problems),
        )


@dataclass(frozen=True, slots=True)
class Unbound:
    """A `path` of the policy that names a usage plan which the account does not have, or has twice.

    Of `usage_plan_ids` it is not known which tier they belong to; None: of none that no tier names,
    for one of them may be the plan under another name.
    """

    path: str
    reason: str
    usage_plan_ids: tuple[str, ...] | None

    def __str__(self) -> str:
        return f"policy.toml: {self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class BoundPolicy:
    """A policy whose plan names were looked up in the account; `problems` are those not found."""

    policy: Policy
    tier_of_plan: Mapping[str, Tier]
    silent_plans: frozenset[str]
    problems: tuple[Unbound, ...] = ()

    def tier_by_plans(self, usage_plan_ids: Sequence[str]) -> Tier:
        """The tier that names one of these plans; of two, the one with the longer idle limit; else `unclaimed`."""
        tiers = [self.tier_of_plan[plan] for plan in usage_plan_ids if plan in self.tier_of_plan]
        return max(tiers, key=Tier.idle_limit_rank) if tiers else self.policy.unclaimed

    def unclear(self, usage_plan_ids: Sequence[str]) -> tuple[str, Unbound] | None:
        """The first of these plans whose tier is not known, and the problem that hides it."""
        for plan_id in usage_plan_ids:
            if plan_id in self.tier_of_plan:
                continue
            for problem in self.problems:
                if problem.usage_plan_ids is None or plan_id in problem.usage_plan_ids:
                    return plan_id, problem
        return None


def _plans_called(wanted: str, plans: Mapping[str, str]) -> list[str]:
    """Ids of the usage plans that a text of the policy means; it is read as an id first, then as a name."""
    if wanted in plans:
        return [wanted]
    return sorted(plan_id for plan_id, name in plans.items() if name == wanted)


def _unbound(path: str, wanted: str, found: Sequence[str]) -> Unbound:
    if not found:
        return Unbound(path, f"this account has no usage plan {wanted!r}", None)
    ids = ", ".join(found)
    reason = f"{len(found)} usage plans are called {wanted!r}; name one by its id: {ids}"
    return Unbound(path, reason, tuple(found))
