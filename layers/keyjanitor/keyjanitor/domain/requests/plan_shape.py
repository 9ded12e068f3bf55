"""Says what a usage plan is to look like so that a tier's keys may be put into it. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from keyjanitor.domain.model.policy import Quota, Rate, Tier


@dataclass(frozen=True, slots=True)
class Shape:
    """What a usage plan opens and allows: stages (`api_id:stage`) and limits."""

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
class ShapedPlan:
    """A usage plan of the account with its shape; None if its stages differ in their methods' limits."""

    usage_plan_id: str
    name: str
    shape: Shape | None


def plan_name(tier: Tier) -> str:
    """How the plan that we make for a tier is called: another shape, another name."""
    return f"keyjanitor {tier.name} {Shape.of(tier).digest}"


def _rate(rate: Rate | None) -> list[float] | None:
    return [float(rate.rate_limit), rate.burst_limit] if rate else None
