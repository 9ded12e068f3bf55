"""Requests that come in through a deployed REST API: who they are, what they may, what counts.

MiniStack routes them and checks throttles; finding a key by its value, its plans, the quota by the
calendar, and the counting are done here, without looking through ten thousand keys each time.
"""

from typing import Any

from ministack.services import apigateway_v1

from sandbox.aws.apigateway.apigateway import ControlPlane
from sandbox.aws.apigateway.usage import Quota


class DataPlane:
    """What MiniStack's data plane asks about keys, answered from indices and by the clock."""

    def __init__(self, control: ControlPlane) -> None:
        self._control = control

    def install(self) -> None:
        """Take the place of MiniStack's look-ups, and of its quota by 24-hour windows."""
        apigateway_v1._resolve_api_key = self._key_with_value
        apigateway_v1._usage_plans_for_key = self._plans_on_stage
        apigateway_v1._check_quota = self._check_quota_and_count

    def _key_with_value(self, value: str | None) -> dict[str, Any] | None:
        return self._control.keys.enabled_with_value(value) if value else None

    def _plans_on_stage(
        self, key_id: str, api_id: str, stage: str
    ) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
        """`(plan id, plan, its entry for the stage)` of every plan that opens the stage."""
        found = []
        for (account, region), plan_id in self._control.members.plans_of_key.get(key_id, ()):
            plan = apigateway_v1._usage_plans.get_scoped(account, region, plan_id)
            for entry in (plan or {}).get("apiStages") or []:
                if entry.get("apiId") == api_id and entry.get("stage") == stage:
                    found.append((plan_id, plan, entry))
                    break
        return found

    def _check_quota_and_count(self, key: dict[str, Any] | None, api_id: str, stage: str) -> Any:
        """Refuse a key that is over quota, else count the request.

        It runs after the key and the throttles were checked, so a refused request is not counted.
        Neither that nor that only methods which require a key are metered is documented (believed:
        AF-309, AF-315).
        """
        if key is None:
            return None
        now = self._control.clock.now()
        usage = self._control.usage
        plans = self._plans_on_stage(key["id"], api_id, stage)
        for plan_id, plan, _ in plans:
            quota = Quota.of_plan(plan)
            if quota and usage.left(plan_id, key["id"], quota, now.toordinal()) <= 0:
                return apigateway_v1._gw_error("QUOTA_EXCEEDED", "Limit Exceeded")
        for plan_id, _, _ in plans:
            usage.count(plan_id, key["id"], now)
        return None
