"""One run of pull_usage: reads tonight, if it was not read, and says what its evidence proves."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from keyjanitor.adapters.ledger import READING
from keyjanitor.domain.expiry.response import heading, running
from keyjanitor.domain.model.invocation import Invocation
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.usage.evidence import Evidence
from keyjanitor.domain.usage.plan_usage import USAGE_DAYS
from keyjanitor.errors import AlreadyRunning
from keyjanitor.services.deadline import Deadline
from keyjanitor.services.lease import lease
from keyjanitor.services.pull_usage.night_reading import Adapters, NightReading

logger = Logger(child=True)
metrics = Metrics()  # Powertools keeps one set of numbers; the handler writes it out


def serve(
    request: Invocation,
    adapters: Adapters,
    policy: Policy,
    context: LambdaContext,
    now: Callable[[], datetime],
) -> dict[str, Any]:
    """Reads a date, and gives the answer; a second run at once answers `running`."""
    try:
        with lease(adapters.ledger, READING, now(), context):
            return pull(request, adapters, policy, Deadline.before_the_end_of(context))
    except AlreadyRunning as err:
        logger.info(str(err))
        return running(request.time, err)


def pull(
    request: Invocation, adapters: Adapters, policy: Policy, deadline: Deadline
) -> dict[str, Any]:
    """Reads tonight, if it was not read, and says what its evidence proves."""
    evidence = adapters.history.evidence(request.today)
    night = NightReading(request, adapters, policy, deadline)
    told: dict[str, Any] = {**heading(request.time), "date": str(request.today)}
    if evidence is None:
        evidence = night.read()
    else:
        told["already_read"] = True
    if evidence is None:
        logger.warning("the reading of %s is not finished, %s", request.today, night.unfinished)
        return {**told, "unfinished": night.unfinished}
    metrics.add_metric("EvidenceWritten", MetricUnit.Count, 1)
    if night.unwritten is not None:
        raise night.unwritten
    unread = [plan for plan in evidence.plans.values() if plan.unread is not None]
    metrics.add_metric("UnreadPlans", MetricUnit.Count, len(unread))
    return {
        **told,
        "plans": len(evidence.plans),
        "keys": len(evidence.plans_of_key()),
        "keys_used": sum(
            on > request.today - timedelta(days=USAGE_DAYS)
            for key_id in evidence.used_keys() - evidence.strangers.keys()
            if (on := evidence.last_use(key_id))
        ),
        "unread": [
            {"usage_plan_id": plan.usage_plan_id, "name": plan.name, "reason": plan.unread}
            for plan in unread
        ],
        "unwitnessed": [
            plan.usage_plan_id for plan in evidence.plans.values() if evidence.is_silent(plan)
        ],
        "unknown_ids": sum(plan.unknown_ids for plan in evidence.plans.values()),
        "emptied": [plan.usage_plan_id for plan in evidence.plans.values() if plan.emptied],
        "damaged": [err.name for err in night.damaged],
        **_logs(evidence),
    }


def _logs(evidence: Evidence) -> dict[str, Any]:
    """What the access logs showed, only if they were asked."""
    seen = evidence.seen_in_logs
    if seen is None or seen.through is None:
        return {}
    return {
        "access_logs": {
            "through": f"{seen.through:%Y-%m-%dT%H:%M:%SZ}",
            "keys": len(seen.calls),
            "requests": sum(one.requests for one in seen.calls.values()),
            "bytes_scanned": seen.bytes_scanned,
            "not_whole": [
                {"stage": one.stage, "reason": one.problem}
                for one in seen.stages.values()
                if one.problem is not None
            ],
        }
    }
