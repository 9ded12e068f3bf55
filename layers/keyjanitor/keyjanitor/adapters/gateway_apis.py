"""API Gateway's REST APIs: their stages, and what is deployed on them."""

from collections.abc import Mapping
from typing import Any

from keyjanitor.adapters.gateway_calls import GatewayCalls
from keyjanitor.domain.model.apis import Method, RestApi, Stage
from keyjanitor.domain.model.aws_answers import items_of, text_of
from keyjanitor.errors import UnexpectedAnswer


class GatewayApis:
    """The account's REST APIs."""

    def __init__(self, calls: GatewayCalls) -> None:
        self._calls = calls

    def rest_apis(self) -> list[RestApi]:
        """Every REST API. HTTP and WebSocket APIs are others' (API Gateway v2), and not among them."""
        listed = (
            RestApi(
                text_of(item, "id", "GetRestApis"),
                item.get("name") or "",
                item.get("apiKeySource") or "HEADER",
            )
            for item in self._calls.items("GetRestApis", self._calls.client.get_rest_apis)
        )
        return list({api.api_id: api for api in listed}.values())

    def stages(self, api_id: str) -> list[Stage]:
        """The stages of a REST API; they come in one answer, without pages (doc: AF-333)."""
        answer = self._calls.call("GetStages", self._calls.client.get_stages, restApiId=api_id)
        return [_stage(api_id, item) for item in items_of(answer, "item", "GetStages")]

    def deployed_methods(self, api_id: str, deployment_id: str) -> tuple[Method, ...]:
        """The methods of a deployment: what is served by the stages that point at it.

        GetResources answers with the API as it was edited since. A deployment is "an immutable
        representation of a RestApi", and GetDeployment with `embed=["apisummary"]` gives "a summary
        of the RestApi at the date and time that the deployment resource was created": for each path
        and method authorizationType and apiKeyRequired (doc: AF-334). That a false is told, as
        GetMethod tells it, and not left out, is a belief (believed: AF-335). Raises UnexpectedAnswer if there
        is none of it, or it leaves open whether a method needs a key.
        """
        answer = self._calls.call(
            "GetDeployment",
            self._calls.client.get_deployment,
            restApiId=api_id,
            deploymentId=deployment_id,
            embed=["apisummary"],
        )
        methods = tuple(
            _method(path, http_method, snapshot)
            for path, snapshots in sorted((answer.get("apiSummary") or {}).items())
            for http_method, snapshot in sorted(snapshots.items())
        )
        if not methods:
            # An API without methods cannot be deployed, so an empty summary is a missing one (seen: AF-336).
            raise UnexpectedAnswer("GetDeployment", "the answer holds no summary of methods")
        return methods


def _stage(api_id: str, item: Mapping[str, Any]) -> Stage:
    canary = item.get("canarySettings") or {}
    log = item.get("accessLogSettings") or {}
    deployment_ids = (item.get("deploymentId"), canary.get("deploymentId"))
    return Stage(
        api_id,
        text_of(item, "stageName", "GetStages"),
        tuple(one for one in deployment_ids if one),
        log_destination=str(log.get("destinationArn") or ""),
        log_format=str(log.get("format") or ""),
        updated=item.get("lastUpdatedDate"),
        canary=bool(canary),
    )


def _method(path: str, http_method: str, snapshot: Mapping[str, Any]) -> Method:
    required = snapshot.get("apiKeyRequired")
    if not isinstance(required, bool):
        raise UnexpectedAnswer("GetDeployment", "a method does not say whether it needs a key")
    return Method(path, http_method, snapshot.get("authorizationType") or "", required)
