"""The record of every call on API Gateway's control plane that came over HTTP."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class Call:
    """One call: who asked for what, when (seconds of the monotonic clock), by which SDK, and the answer."""

    operation: str
    started: float
    role: str
    account: str
    agent: str
    key_id: str | None = None
    plan_id: str | None = None
    seconds: float = 0.0
    status: int = 0
    error: str | None = None


class CallLog:
    """Calls in the order in which they arrived."""

    def __init__(self) -> None:
        self._calls: list[Call] = []

    def add(self, call: Call) -> None:
        self._calls.append(call)

    def forget(self) -> None:
        self._calls.clear()

    def as_rows(self) -> list[dict[str, Any]]:
        return [asdict(call) for call in self._calls]


_OPERATIONS = {
    ("GET", "apikeys"): "GetApiKeys",
    ("POST", "apikeys"): "CreateApiKey",
    ("GET", "apikeys/*"): "GetApiKey",
    ("PATCH", "apikeys/*"): "UpdateApiKey",
    ("DELETE", "apikeys/*"): "DeleteApiKey",
    ("GET", "usageplans"): "GetUsagePlans",
    ("POST", "usageplans"): "CreateUsagePlan",
    ("GET", "usageplans/*"): "GetUsagePlan",
    ("PATCH", "usageplans/*"): "UpdateUsagePlan",
    ("DELETE", "usageplans/*"): "DeleteUsagePlan",
    ("GET", "usageplans/*/usage"): "GetUsage",
    ("GET", "usageplans/*/keys"): "GetUsagePlanKeys",
    ("POST", "usageplans/*/keys"): "CreateUsagePlanKey",
    ("GET", "usageplans/*/keys/*"): "GetUsagePlanKey",
    ("DELETE", "usageplans/*/keys/*"): "DeleteUsagePlanKey",
    ("PATCH", "usageplans/*/keys/*/usage"): "UpdateUsage",
    ("GET", "restapis"): "GetRestApis",
    ("POST", "restapis"): "CreateRestApi",
    ("GET", "restapis/*"): "GetRestApi",
    ("DELETE", "restapis/*"): "DeleteRestApi",
    ("GET", "restapis/*/stages"): "GetStages",
    ("GET", "restapis/*/stages/*"): "GetStage",
    ("POST", "restapis/*/stages"): "CreateStage",
    ("GET", "restapis/*/resources"): "GetResources",
    ("POST", "restapis/*/deployments"): "CreateDeployment",
    ("GET", "restapis/*/deployments"): "GetDeployments",
    ("GET", "restapis/*/deployments/*"): "GetDeployment",
    ("GET", "account"): "GetAccount",
    ("PATCH", "account"): "UpdateAccount",
}
_OF_TAGS = {"GET": "GetTags", "PUT": "TagResource", "DELETE": "UntagResource"}


def operation_of(method: str, path: str, imports: bool) -> tuple[str, str | None, str | None]:
    """AWS's name of a call, and the key id and plan id in its path.

    `imports` says whether the query holds `mode=import`. A call without a name of its own here is
    called by its method and path, such as `PUT restapis/*/gatewayresponses`.
    """
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["tags"]:
        return _OF_TAGS.get(method, f"{method} tags"), None, None
    pattern = "/".join(part if n % 2 == 0 else "*" for n, part in enumerate(parts))
    key_id = plan_id = None
    if parts[:1] == ["apikeys"] and len(parts) > 1:
        key_id = parts[1]
    if parts[:1] == ["usageplans"] and len(parts) > 1:
        plan_id = parts[1]
        key_id = parts[3] if parts[2:3] == ["keys"] and len(parts) > 3 else None
    operation = _OPERATIONS.get((method, pattern), f"{method} {pattern}")
    if operation == "CreateApiKey" and imports:
        operation = "ImportApiKeys"
    return operation, key_id, plan_id
