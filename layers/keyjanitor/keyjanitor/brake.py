"""Lets a plan refuse itself, saves and alerts it then, and takes an operator's approval."""

from aws_lambda_powertools import Logger

from keyjanitor import alerts
from keyjanitor.clock import now
from keyjanitor.errors import AccessDenied, CallFailed
from keyjanitor.night import Outside
from keyjanitor.plan import Brake, Plan, PlanTooBig, Purge, Warn, key_id_of
from keyjanitor.requests import SweepRequest

SAMPLES = 10

logger = Logger(child=True)


def check(plan: Plan, run: SweepRequest, outside: Outside) -> tuple[Plan, Brake | None]:
    """The part of the plan that may be carried out, and the brake if it is on.

    A plan that is too big is saved under its digest and alerted once a date, and warns only. Once
    an operator has approved a saved plan, what that one and tonight's have in common goes, for all
    of the date's later runs. Raises UnknownPlan.
    """
    night = outside.ledger.night(run.today)
    digest = run.approve or night.approved
    if digest is not None:
        approved = outside.history.plan(digest)
        if run.approve is not None:
            outside.history.put_approval(digest, run.today, now())
            outside.ledger.remember(run.today, approved=digest)
        return plan.approved(approved), None
    try:
        plan.check()
    except PlanTooBig as too_big:
        logger.error(str(too_big))
        outside.history.put_plan(plan)
        if not night.brake_alerted:
            _alert(plan, too_big.brake, outside)
        return plan.warnings_only(), too_big.brake
    return plan, None


def _alert(plan: Plan, brake: Brake, outside: Outside) -> None:
    samples = [
        f"{key_id_of(step)}  {step.tier.name}: {step.because}"
        for step in plan.due
        if not isinstance(step, Warn | Purge)
    ]
    try:
        outside.topic.publish(alerts.brake(plan.today, brake, plan.digest, samples[:SAMPLES]))
    except (AccessDenied, CallFailed) as err:
        logger.error("the alert of the brake waits for the next run: %s", err)
        return
    outside.ledger.remember(plan.today, brake_alerted=True)
