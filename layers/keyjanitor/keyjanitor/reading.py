"""Reads every usage plan of the account: members and use, page by page, one plan after the other."""

from datetime import date, timedelta

from aws_lambda_powertools import Logger

from keyjanitor.errors import AccessDenied, CallFailed, EmptyListing, UnexpectedAnswer
from keyjanitor.evidence import USAGE_DAYS, Evidence, PlanAnswer, PlanUsage, history_from
from keyjanitor.gateway import ApiGateway
from keyjanitor.words import UsagePlan

logger = Logger(child=True)


def read_plans(today: date, gateway: ApiGateway, before: Evidence | None) -> list[PlanAnswer]:
    """The answer for every plan. A plan that fails is named unread, and the others go on.

    Raises EmptyListing if no plan is listed where the evidence before had some, and what listing
    the plans raises.
    """
    plans = gateway.usage_plans()
    if not plans and before is not None and before.plans:
        raise EmptyListing("usage plans", len(before.plans))
    return [
        _read(plan, today, gateway, history_from(plan.usage_plan_id, today, before))
        for plan in plans
    ]


def _read(plan: UsagePlan, today: date, gateway: ApiGateway, first: date) -> PlanAnswer:
    members: tuple[str, ...] | None = None
    start = today - timedelta(days=USAGE_DAYS)
    usage = PlanUsage(plan, start, today, first)
    try:
        members = gateway.members(plan.usage_plan_id)
        for page in gateway.usage(plan.usage_plan_id, start, today):
            usage.add(page)
    except (AccessDenied, CallFailed, UnexpectedAnswer) as err:
        logger.error("usage plan %s is unread: %s", plan.usage_plan_id, err)
        # What came before it failed is use that a reading has shown; silence it is not.
        return PlanAnswer(plan, members, usage, failed=str(err))
    return PlanAnswer(plan, members, usage)
