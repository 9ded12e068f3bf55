"""API Gateway's usage plans: what they open and allow, who is in them, and how they are used."""

from collections.abc import Iterator
from datetime import date
from typing import Any

from keyjanitor.adapters.gateway_calls import GatewayCalls
from keyjanitor.adapters.usage_plan_answers import read_usage_page, read_usage_plans
from keyjanitor.adapters.usage_range import UsageRange
from keyjanitor.domain.model.aws_answers import text_of
from keyjanitor.domain.model.policy import Rate
from keyjanitor.domain.model.usage_plan import Shape, UsagePlan
from keyjanitor.domain.usage.plan_usage import UsagePage
from keyjanitor.errors import CallFailed


class GatewayPlans:
    """The account's usage plans."""

    def __init__(self, calls: GatewayCalls) -> None:
        self._calls = calls
        self.usage_range = UsageRange(calls)

    # --- reading ----------------------------------------------------------------------------------

    def usage_plans(self) -> list[UsagePlan]:
        """Every usage plan, with the limits of each of its stages; raises UnexpectedAnswer."""
        return read_usage_plans(
            self._calls.items("GetUsagePlans", self._calls.client.get_usage_plans)
        )

    def plans_of(self, key_id: str) -> tuple[str, ...]:
        """The ids of the usage plans that a key is in."""
        return tuple(
            sorted(
                text_of(item, "id", "GetUsagePlans")
                for item in self._calls.items(
                    "GetUsagePlans", self._calls.client.get_usage_plans, keyId=key_id
                )
            )
        )

    def members(self, usage_plan_id: str, prefix: str = "") -> tuple[str, ...]:
        """The ids of every key in a plan, or of those whose names begin with `prefix`.

        AWS answers with their values (seen: AF-211), which stay in here.
        """
        named = {"nameQuery": prefix} if prefix else {}
        return tuple(
            text_of(item, "id", "GetUsagePlanKeys")
            for item in self._calls.items(
                "GetUsagePlanKeys",
                self._calls.client.get_usage_plan_keys,
                usagePlanId=usage_plan_id,
                **named,
            )
        )

    def usage(self, usage_plan_id: str, start: date, end: date) -> Iterator[UsagePage]:
        """The use of all keys of a plan, page by page, both days included.

        API Gateway may refuse, or leave out, days at either end: each page says which days it has.

        The pages are never merged by botocore: `items` is a dict, of which its paginator keeps the
        first page only (measured: AF-304).
        """
        return map(read_usage_page, self.usage_range.pages(usage_plan_id, start, end))

    # --- changing ---------------------------------------------------------------------------------

    def create_plan(self, name: str, shape: Shape) -> str:
        """Creates a usage plan whole, and gives its id; raises CallFailed, never tried twice.

        It has no client token (doc: AF-126): whether a lost answer made one has to be looked up by
        its name.
        """
        methods = {method: _limits(rate) for method, rate in shape.methods.items()}
        params: dict[str, Any] = {
            "name": name,
            "description": "Made by keyjanitor. Changed limits make a new plan for new keys.",
            "apiStages": [
                {
                    "apiId": stage.partition(":")[0],
                    "stage": stage.partition(":")[2],
                    **({"throttle": methods} if methods else {}),
                }
                for stage in sorted(shape.stages)
            ],
        }
        if shape.throttle is not None:
            params["throttle"] = _limits(shape.throttle)
        if shape.quota is not None:
            params["quota"] = {"limit": shape.quota.limit, "period": shape.quota.period}
        call = self._calls.client.create_usage_plan
        return str(self._calls.call("CreateUsagePlan", call, idempotent=False, **params)["id"])

    def attach(self, usage_plan_id: str, key_id: str) -> bool:
        """Puts a key into a plan; in it already is a success. False: there is no such plan."""
        try:
            self._calls.call(
                "CreateUsagePlanKey",
                self._calls.client.create_usage_plan_key,
                usagePlanId=usage_plan_id,
                keyId=key_id,
                keyType="API_KEY",
            )
        except CallFailed as err:
            if err.code == "NotFoundException":
                return False
            # Several things are a conflict; only one of them is that the key is in the plan already.
            if err.code != "ConflictException" or not self._is_member(usage_plan_id, key_id):
                raise
        return True

    def _is_member(self, usage_plan_id: str, key_id: str) -> bool:
        """True if the key is in the plan. AWS answers with its value (seen: AF-211), which stays in here."""
        try:
            self._calls.call(
                "GetUsagePlanKey",
                self._calls.client.get_usage_plan_key,
                usagePlanId=usage_plan_id,
                keyId=key_id,
            )
        except CallFailed as err:
            if err.code == "NotFoundException":
                return False
            raise
        return True


def _limits(rate: Rate) -> dict[str, float]:
    return {"rateLimit": rate.rate_limit, "burstLimit": rate.burst_limit}
