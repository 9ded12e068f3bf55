"""API Gateway's control plane for keys and usage plans, put in the place of MiniStack's.

MiniStack keeps the stores, the REST APIs and their data plane; what it answers on /apikeys and
/usageplans, on /tags of keys, and on one deployment is answered here instead.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from ministack.services import apigateway_v1

from sandbox.aws.apigateway.api_keys import ApiKeys
from sandbox.aws.apigateway.deployments import Deployments, summary_of
from sandbox.aws.apigateway.stores import KeyStore, MemberStore
from sandbox.aws.apigateway.usage import Usage
from sandbox.aws.apigateway.usage_plans import UsagePlans
from sandbox.aws.clock import Clock
from sandbox.aws.faults import Faults
from sandbox.aws.wire import Answer, Query, Refused


class ControlPlane:
    """Keys, usage plans and usage of every account and Region in the sandbox."""

    def __init__(self, clock: Clock, faults: Faults) -> None:
        self.clock = clock
        self.faults = faults
        self.keys = KeyStore()
        self.members = MemberStore()
        self.keys.members = self.members
        self.usage = Usage()
        self.api_keys = ApiKeys(clock, faults, self.keys, self.members)
        self.usage_plans = UsagePlans(clock, faults, self.keys, self.members, self.usage)
        self.deployments = Deployments()
        self._everything_else = apigateway_v1.handle_request

    def install(self) -> None:
        """Put these stores and answers in the place of MiniStack's.

        CloudFormation's provisioners call MiniStack's functions by name, so those are replaced as
        well: keys of a stack obey the same limit and are as unique as any other.
        """
        apigateway_v1._api_keys = self.keys
        apigateway_v1._usage_plan_keys = self.members
        apigateway_v1._now_unix = lambda: int(self.clock.now().timestamp())
        apigateway_v1._create_api_key = _answering(self.api_keys.create)
        apigateway_v1._delete_api_key = _answering(self.api_keys.delete)
        apigateway_v1._create_usage_plan = _answering(self.usage_plans.create)
        apigateway_v1._create_usage_plan_key = _answering(self.usage_plans.attach)
        apigateway_v1._delete_usage_plan_key = _answering(self.usage_plans.detach)
        apigateway_v1._build_api_summary = summary_of
        apigateway_v1._create_deployment = _answering(self.deployments.create)
        apigateway_v1._get_deployments = self.deployments.get_all
        apigateway_v1.handle_request = self.handle

    async def handle(
        self, method: str, path: str, headers: dict[str, str], body: bytes, query: Query
    ) -> Answer:
        """Answer one call, in the account and Region of the request."""
        parts = [unquote(part) for part in path.split("/") if part]
        try:
            if parts[:1] == ["apikeys"]:
                return self.api_keys.respond(method, parts[1:], body, query)
            if parts[:1] == ["usageplans"]:
                return self.usage_plans.respond(method, parts[1:], body, query)
            if parts[:1] == ["tags"]:
                arn = unquote(path.split("/tags/", 1)[-1])
                if "::/apikeys/" in arn:
                    return self.api_keys.tags(method, arn.rsplit("/", 1)[-1], body, query)
            if method == "GET" and parts[:1] == ["restapis"] and parts[2:-1] == ["deployments"]:
                return self.deployments.get(parts[1], parts[3], query)
        except Refused as refused:
            return refused.answer()
        other: Answer = await self._everything_else(method, path, headers, body, query)
        return other


def _answering(call: Callable[..., Answer]) -> Callable[..., Answer]:
    """The call, with the answer that MiniStack's functions give in place of an exception."""

    def tried(*args: Any) -> Answer:
        try:
            return call(*args)
        except Refused as refused:
            return refused.answer()

    return tried
