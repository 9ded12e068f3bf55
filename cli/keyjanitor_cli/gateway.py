"""Reads API Gateway as the person: one key, its plans, and the key that has a value."""

import hmac
from typing import Any

from keyjanitor.adapters.gateway_calls import GatewayCalls
from keyjanitor.adapters.gateway_keys import GatewayKeys
from keyjanitor.adapters.gateway_plans import GatewayPlans
from keyjanitor.adapters.rate_limiter import RateLimiter
from keyjanitor.domain.model.aws_answers import text_of
from keyjanitor.domain.model.keys import ApiKey, Secret

CALLS_PER_SECOND = 2  # of the ten that API Gateway answers to everyone together (doc: AF-106)


class Gateway:
    """The account's keys and plans, two calls a second; every call is a read.

    `calls` lists pages as they are, within the same share.
    """

    def __init__(self, client: Any) -> None:
        self.calls = GatewayCalls(client, RateLimiter(CALLS_PER_SECOND))
        self._keys = GatewayKeys(self.calls)
        self._plans = GatewayPlans(self.calls)

    def key(self, key_id: str) -> ApiKey | None:
        """One key, or None if there is none."""
        return self._keys.key(key_id)

    def keys_named(self, prefix: str) -> list[ApiKey]:
        """The keys whose names begin so."""
        return self._keys.keys_named(prefix)

    def plans_of(self, key_id: str) -> dict[str, str]:
        """The names of the usage plans that a key is in, by their ids."""
        ids = self._plans.plans_of(key_id)
        if not ids:
            return {}
        names = {plan.usage_plan_id: plan.name for plan in self._plans.usage_plans()}
        return {plan_id: names.get(plan_id, "") for plan_id in ids}

    def key_of_value(self, value: Secret) -> str | None:
        """The id of the key that has this value, or None. Values are compared, and kept nowhere.

        As everywhere, an id that may be a value is given as its digest.
        """
        wanted = value.reveal().encode()
        call = self.calls.client.get_api_keys
        listed = self.calls.items("GetApiKeys", call, includeValues=True)
        for item in listed:
            if hmac.compare_digest(str(item.get("value", "")).encode(), wanted):
                return text_of(item, "id", "GetApiKeys")
        return None
