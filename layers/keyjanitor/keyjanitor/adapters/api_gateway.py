"""Talks to API Gateway's control plane, within the run's share of it.

What AWS does, and how sure that is, is in docs/aws-facts.md; the docstrings name the fact that a
piece of code rests on by its id.
"""

from typing import Any

from keyjanitor.adapters.gateway_apis import GatewayApis
from keyjanitor.adapters.gateway_calls import GatewayCalls
from keyjanitor.adapters.gateway_keys import GatewayKeys
from keyjanitor.adapters.gateway_plans import GatewayPlans
from keyjanitor.adapters.rate_limiter import RateLimiter


class ApiGateway:
    """The account's API keys, usage plans and REST APIs.

    A class for each does the work; this one only has their methods in one place.
    """

    def __init__(self, client: Any, pace: RateLimiter) -> None:
        calls = GatewayCalls(client, pace)
        keys = GatewayKeys(calls)
        self.keys, self.keys_named = keys.keys, keys.keys_named
        self.key, self.key_with_value, self.key_named = (
            keys.key,
            keys.key_with_value,
            keys.key_named,
        )
        self.set_enabled, self.rename, self.delete = keys.set_enabled, keys.rename, keys.delete
        self.create_disabled, self.import_keys = keys.create_disabled, keys.import_keys
        plans = GatewayPlans(calls)
        self.usage_plans, self.plans_of = plans.usage_plans, plans.plans_of
        self.members, self.usage = plans.members, plans.usage
        self.create_plan, self.attach = plans.create_plan, plans.attach
        self.answered_range = plans.usage_range.answered_range
        self.ask_first_for = plans.usage_range.ask_first_for
        apis = GatewayApis(calls)
        self.rest_apis, self.stages = apis.rest_apis, apis.stages
        self.deployed_methods = apis.deployed_methods
