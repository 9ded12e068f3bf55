"""A usage plan: what it opens and allows, and how the plan of a tier has to look. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from keyjanitor.domain.model.policy import Quota, Rate, Tier


@dataclass(frozen=True, slots=True)
class Shape:
    """Stages (`api_id:stage`) and limits of a usage plan."""

    stages: frozenset[str]
    throttle: Rate | None = None
    quota: Quota | None = None
    methods: Mapping[str, Rate] = field(default_factory=dict)  # the same on each of the stages

    @classmethod
    def of(cls, tier: Tier) -> "Shape":
        """The shape that a tier's plan has to have."""
        return cls(
            stages=frozenset(tier.stages),
            throttle=tier.throttle,
            quota=tier.quota,
            methods=dict(tier.method_throttle),
        )

    @property
    def digest(self) -> str:
        """The same eight digits for the same shape."""
        parts = {
            "stages": sorted(self.stages),
            "throttle": _rate(self.throttle),
            "quota": self.quota and [self.quota.limit, self.quota.period],
            "methods": {method: _rate(rate) for method, rate in self.methods.items()},
        }
        return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class UsagePlan:
    """A usage plan with all that it allows; its limits hold for each key by itself (doc: AF-310).

    `stages` has the method throttles of each stage, by `/PATH/METHOD`; a stage is written
    `api_id:stage`, as in `policy.toml`. `offset` is the quota's, in days.
    """

    usage_plan_id: str
    name: str
    stages: Mapping[str, Mapping[str, Rate]] = field(default_factory=dict)
    throttle: Rate | None = None
    quota: Quota | None = None
    offset: int = 0
    product_code: str = ""

    @classmethod
    def of_shape(cls, usage_plan_id: str, name: str, shape: Shape) -> "UsagePlan":
        """The usage plan that a CreateUsagePlan call for this shape makes."""
        stages = dict.fromkeys(sorted(shape.stages), shape.methods)
        return cls(usage_plan_id, name, stages, shape.throttle, shape.quota)

    @property
    def has_quota(self) -> bool:
        """True if the plan has a quota, so that GetUsage returns what remains of it."""
        return self.quota is not None

    @property
    def has_limits(self) -> bool:
        """True if the plan, or a stage of it, has a throttle or a quota."""
        return bool(self.throttle or self.quota or any(self.stages.values()))

    @property
    def shape(self) -> Shape | None:
        """Its shape; None if its stages differ in their method throttles."""
        methods = list(self.stages.values())
        if any(one != methods[0] for one in methods):
            return None
        return Shape(
            stages=frozenset(self.stages),
            throttle=self.throttle,
            quota=self.quota,
            methods=methods[0] if methods else {},
        )


def plan_name(tier: Tier) -> str:
    """The name of the usage plan that we make for a tier: another shape, another name."""
    return f"keyjanitor {tier.name} {Shape.of(tier).digest}"


def _rate(rate: Rate | None) -> list[float] | None:
    return [float(rate.rate_limit), rate.burst_limit] if rate else None
