"""Reads what API Gateway answers about usage plans and their use: the one place that knows its fields.

It makes no call, so the what-if reads an account's files with it as the adapter reads the answers.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from keyjanitor.domain.model.aws_answers import table_of, text_of
from keyjanitor.domain.model.policy import Quota, Rate
from keyjanitor.domain.model.usage_plan import UsagePlan
from keyjanitor.domain.usage.plan_usage import UsagePage
from keyjanitor.errors import UnexpectedAnswer


def read_usage_plans(items: Iterable[Mapping[str, Any]]) -> list[UsagePlan]:
    """The usage plans that GetUsagePlans lists, each once. Raises UnexpectedAnswer.

    No order of the pages is documented (doc: AF-204): a plan that is listed twice is one plan.
    """
    return list({plan.usage_plan_id: plan for plan in map(_usage_plan, items)}.values())


def read_usage_page(page: Mapping[str, Any]) -> UsagePage:
    """A page of GetUsage; raises UnexpectedAnswer if it does not say for which days, or for whom."""
    try:
        days = date.fromisoformat(page["startDate"]), date.fromisoformat(page["endDate"])
    except (KeyError, TypeError, ValueError):
        raise UnexpectedAnswer("GetUsage", "the answer does not say for which days") from None
    return UsagePage(*days, table_of(page, "items", "GetUsage"))


def _usage_plan(item: Mapping[str, Any]) -> UsagePlan:
    usage_plan_id = text_of(item, "id", "GetUsagePlans")
    try:
        quota = item.get("quota") or {}
        return UsagePlan(
            usage_plan_id=usage_plan_id,
            name=str(item.get("name") or ""),
            stages={
                f"{stage.get('apiId', '')}:{stage.get('stage', '')}": {
                    method: _rate(rate) for method, rate in (stage.get("throttle") or {}).items()
                }
                for stage in item.get("apiStages") or ()
            },
            throttle=_rate(item["throttle"]) if item.get("throttle") else None,
            quota=_quota(quota) if quota.get("limit") else None,
            offset=int(quota.get("offset") or 0),
            product_code=str(item.get("productCode") or ""),
        )
    except (AttributeError, TypeError, ValueError, OverflowError):
        reason = f"the stages or limits of usage plan {usage_plan_id} have another shape"
        raise UnexpectedAnswer("GetUsagePlans", reason) from None


def _rate(limits: Mapping[str, Any]) -> Rate:
    return Rate(float(limits.get("rateLimit", 0)), int(limits.get("burstLimit", 0)))


def _quota(quota: Mapping[str, Any]) -> Quota:
    return Quota(int(quota["limit"]), str(quota.get("period")))
