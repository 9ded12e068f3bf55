"""Reads API Gateway as the person: one key, its plans, and the key that has a value."""

import hmac
from typing import Any

from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.gateway_calls import GatewayCalls
from keyjanitor.adapters.rate_limiter import RateLimiter
from keyjanitor.domain.model.aws_answers import text_of
from keyjanitor.domain.model.keys import ApiKey, Secret

CALLS_PER_SECOND = 3  # of the ten that everyone in the account has together


class Gateway:
    """The account's keys and plans; every call is a read."""

    def __init__(self, client: Any) -> None:
        self._client = client
        limiter = RateLimiter(CALLS_PER_SECOND)
        self._calls = GatewayCalls(client, limiter)
        self._gateway = ApiGateway(client, limiter)

    def key(self, key_id: str) -> ApiKey | None:
        """One key, or None if there is none."""
        return self._gateway.key(key_id)

    def keys_named(self, prefix: str) -> list[ApiKey]:
        """The keys whose names begin so."""
        return self._gateway.keys_named(prefix)

    def plans_of(self, key_id: str) -> dict[str, str]:
        """The names of the usage plans that a key is in, by their ids."""
        ids = self._gateway.plans_of(key_id)
        if not ids:
            return {}
        names = {plan.usage_plan_id: plan.name for plan in self._gateway.usage_plans()}
        return {plan_id: names.get(plan_id, "") for plan_id in ids}

    def key_of_value(self, value: Secret) -> str | None:
        """The id of the key that has this value, or None. Values are compared, and kept nowhere.

        As everywhere, an id that may be a value is given as its digest.
        """
        wanted = value.reveal().encode()
        listed = self._calls.items("GetApiKeys", self._client.get_api_keys, includeValues=True)
        for item in listed:
            if hmac.compare_digest(str(item.get("value", "")).encode(), wanted):
                return text_of(item, "id", "GetApiKeys")
        return None
