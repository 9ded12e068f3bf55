"""What an account's stages serve and its usage plans allow. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keyjanitor.domain.model.aws_answers import text_of
from keyjanitor.domain.model.policy import Quota, Rate


@dataclass(frozen=True, slots=True)
class RestApi:
    """A REST API. `key_source`: HEADER, or AUTHORIZER where a Lambda authorizer names the key."""

    api_id: str
    name: str
    key_source: str


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage, and the deployments that it serves: its own, and its canary's if it has one."""

    api_id: str
    name: str
    deployment_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Method:
    """A method as it was deployed."""

    path: str
    http_method: str
    authorization_type: str
    api_key_required: bool


@dataclass(frozen=True, slots=True)
class ServedStage:
    """What a stage (`api_id:stage`) serves to its callers, canary included."""

    stage: str
    api_name: str
    key_source: str
    methods: tuple[Method, ...]

    @property
    def requires_keys(self) -> bool:
        """Whether some method answers only to who sends a key."""
        return any(method.api_key_required for method in self.methods)

    @property
    def ignores_keys(self) -> bool:
        """Whether no method asks for a key, nor hands the question to an authorizer."""
        named_by_authorizer = self.key_source == "AUTHORIZER" and any(
            method.authorization_type == "CUSTOM" for method in self.methods
        )
        return bool(self.methods) and not self.requires_keys and not named_by_authorizer


def rate_of(limits: Mapping[str, Any]) -> Rate:
    """A throttle as API Gateway tells of it."""
    return Rate(float(limits.get("rateLimit", 0)), int(limits.get("burstLimit", 0)))


@dataclass(frozen=True, slots=True)
class LimitedPlan:
    """A usage plan with all that it allows; its limits hold for each key by itself (doc: AF-310).

    `stages` has the method throttles of each stage, by `/PATH/METHOD`; `offset` is the quota's.
    """

    usage_plan_id: str
    name: str
    stages: Mapping[str, Mapping[str, Rate]] = field(default_factory=dict)
    throttle: Rate | None = None
    quota: Quota | None = None
    offset: int = 0
    product_code: str = ""

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> "LimitedPlan":
        """A usage plan as GetUsagePlans tells of it."""
        throttle, quota = item.get("throttle") or {}, item.get("quota") or {}
        return cls(
            usage_plan_id=text_of(item, "id", "GetUsagePlans"),
            name=item.get("name") or "",
            stages={
                f"{stage.get('apiId', '')}:{stage.get('stage', '')}": {
                    method: rate_of(rate) for method, rate in (stage.get("throttle") or {}).items()
                }
                for stage in item.get("apiStages") or ()
            },
            throttle=rate_of(throttle) if throttle else None,
            quota=Quota(int(quota["limit"]), str(quota.get("period")))
            if quota.get("limit")
            else None,
            offset=int(quota.get("offset") or 0),
            product_code=item.get("productCode") or "",
        )

    @property
    def has_limits(self) -> bool:
        """Whether there is a throttle or a quota anywhere in it."""
        return bool(self.throttle or self.quota or any(self.stages.values()))
