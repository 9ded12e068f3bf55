"""Which stages a usage plan opens, and what AWS refuses because of them."""

from collections.abc import Iterable

from ministack.services import apigateway_v1

from sandbox.aws.apigateway.stores import MemberStore, Record, Scope
from sandbox.aws.wire import Refused

METHOD_THROTTLES_PER_PLAN = 20


def check_stages(plan: Record) -> None:
    """Raise Refused unless every stage of the plan is there, with throttles that AWS would take.

    Both refusals of a stage were seen as they are here, one with its placeholders (seen: AF-339).
    More than 20 method throttles are refused (doc: AF-104); with which error is not known.
    """
    throttles = 0
    for entry in plan.get("apiStages") or []:
        api_id, stage = entry.get("apiId"), entry.get("stage")
        if not api_id or not stage:
            raise Refused(
                "BadRequestException",
                "Invalid API Stage {api: %s, stage: %s} specified for usageplan %s",
            )
        if stage not in (apigateway_v1._stages_v1.get(api_id) or {}):
            raise Refused("NotFoundException", f"API Stage not found: {api_id}:{stage}")
        throttles += len(entry.get("throttle") or {})
    if throttles > METHOD_THROTTLES_PER_PLAN:
        raise Refused("LimitExceededException", "Method throttles limit exceeded", retry_after=60)


def check_added_stage(plan_id: str, api_id: str, stage: str) -> None:
    """Raise Refused unless a stage that a plan is to open is there (seen: AF-339)."""
    if not api_id or not stage:
        raise Refused("BadRequestException", "Invalid API Stage specified")
    if stage not in (apigateway_v1._stages_v1.get(api_id) or {}):
        named = f"{{api: {api_id}, stage: {stage}}}"
        raise Refused(
            "NotFoundException", f"Invalid API Stage {named} specified for usageplan {plan_id}"
        )


def check_one_plan_a_stage(
    scope: Scope, members: MemberStore, key_id: str | None, joining: Iterable[str]
) -> None:
    """Raise Refused if the key's plans, with those it is joining, open a stage twice.

    A key may be in only one plan for each stage of an API (doc: AF-103); that it is a conflict, and
    its words, are believed. `key_id` is None for a key that is yet to be made.
    """
    opened: dict[str, str] = {}
    inside = members.plans_of_key.get(key_id or "", set())
    for plan_id in [plan_id for where, plan_id in inside if where == scope]:
        opened |= dict.fromkeys(_stages_of(plan_id), plan_id)
    for plan_id in joining:
        for stage in _stages_of(plan_id):
            if opened.setdefault(stage, plan_id) != plan_id:
                raise Refused(
                    "ConflictException",
                    f"Usage Plan {plan_id} cannot be added because an API Key cannot reference "
                    f"multiple Usage Plans with the same API stage: {stage}",
                )


def _stages_of(plan_id: str) -> list[str]:
    plan = apigateway_v1._usage_plans.get(plan_id) or {}
    return [f"{e.get('apiId')}:{e.get('stage')}" for e in plan.get("apiStages") or []]
