"""Deployments of REST APIs, as far as MiniStack shows them otherwise than AWS does.

A deployment keeps the methods as they were when it was made, and shows them only if it is asked to
(`embed=apisummary`, doc: AF-334). A canary is deployed beside what its stage serves.
"""

import json
from collections.abc import Mapping
from typing import Any

from ministack.services import apigateway_v1

from sandbox.aws.wire import Answer, Query, Refused, answer_with


class Deployments:
    """CreateDeployment, GetDeployment and GetDeployments in the place of MiniStack's."""

    def __init__(self) -> None:
        self._create = apigateway_v1._create_deployment
        self._get_all = apigateway_v1._get_deployments

    def create(self, api_id: str, data: Mapping[str, Any]) -> Answer:
        """CreateDeployment; with canarySettings the stage goes on to serve what it served.

        The answer is without the summary; both refusals of a canary have AWS's words (seen: AF-338).
        """
        canary = data.get("canarySettings")
        stage = _stage_for_canary(api_id, data.get("stageName")) if canary else {}
        asked = {**data, "stageName": None} if canary else data
        status, headers, body = self._create(api_id, asked)
        if status >= 400:
            return status, headers, body
        made = json.loads(body)
        if canary:
            stage["canarySettings"] = {**canary, "deploymentId": made["id"]}
        return answer_with(status, _without_summary(made))

    def get(self, api_id: str, deployment_id: str, query: Query) -> Answer:
        """GetDeployment, with the summary only if it is embedded."""
        deployment = (apigateway_v1._deployments_v1.get(api_id) or {}).get(deployment_id)
        if deployment is None:
            raise Refused("NotFoundException", "Invalid Deployment identifier specified")
        embeds = _texts(query.get("embed"))
        if embeds - {"apisummary"}:
            raise Refused("BadRequestException", "Invalid embed specified")
        return answer_with(200, deployment if embeds else _without_summary(deployment))

    def get_all(self, api_id: str, query: Query) -> Answer:
        """GetDeployments, which has no `embed` (doc: AF-334)."""
        status, headers, body = self._get_all(api_id, query)
        page = json.loads(body)
        if "item" not in page:
            return status, headers, body
        shown = [_without_summary(deployment) for deployment in page["item"]]
        return answer_with(status, {**page, "item": shown})


def summary_of(api_id: str) -> dict[str, dict[str, dict[str, Any]]]:
    """The methods of an API by path and HTTP method, as a deployment keeps them (doc: AF-334)."""
    summary: dict[str, dict[str, dict[str, Any]]] = {}
    for resource in (apigateway_v1._resources.get(api_id) or {}).values():
        for http_method, method in (resource.get("resourceMethods") or {}).items():
            summary.setdefault(resource.get("path") or "/", {})[http_method] = {
                "authorizationType": method.get("authorizationType") or "NONE",
                # A template may say it as a text.
                "apiKeyRequired": str(method.get("apiKeyRequired")).lower() == "true",
            }
    return summary


def _stage_for_canary(api_id: str, name: str | None) -> dict[str, Any]:
    wrong = "Invalid deployment content specified."
    if not name:
        raise Refused(
            "BadRequestException",
            f"{wrong}Non null and non empty stageName must be provided for canary deployment. "
            f"Provided value is {'null' if name is None else name}",
        )
    stage: dict[str, Any] | None = (apigateway_v1._stages_v1.get(api_id) or {}).get(name)
    if stage is None:
        raise Refused(
            "BadRequestException",
            f"{wrong}Stage {name} must already be created before making a canary release deployment",
        )
    return stage


def _without_summary(deployment: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in deployment.items() if name != "apiSummary"}


def _texts(value: Any) -> set[str]:
    return {str(one) for one in value} if isinstance(value, list) else {str(value)} - {"None"}
