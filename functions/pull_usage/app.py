"""Every night: read who used which key, and write down what that proves."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from keyjanitor.aws import client, gateway_client
from keyjanitor.clock import now
from keyjanitor.errors import AccessDenied, CallFailed, EvidenceDamaged, KeyjanitorError
from keyjanitor.evidence import USAGE_DAYS, Evidence, take_evidence
from keyjanitor.gateway import ApiGateway
from keyjanitor.history import History
from keyjanitor.keysfile import WHOLE_NIGHTS, thinned
from keyjanitor.pace import Pace
from keyjanitor.reading import read_plans
from keyjanitor.requests import Clock, PullRequest
from keyjanitor.settings import PullSettings
from keyjanitor.usagefile import UsageFiles
from keyjanitor.words import DAY

logger = Logger()
metrics = Metrics()
settings = PullSettings.read()
gateway = ApiGateway(gateway_client(), Pace(settings.calls_per_second))
history = History(client("s3"), settings.history_bucket)


@logger.inject_lambda_context
@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Writes tonight's evidence and the usage of the last days, and answers with what was read.

    On a date that has its evidence nothing more is read or written.
    """
    metrics.add_metric("EvidenceWritten", MetricUnit.Count, 0)  # until it is
    run = PullRequest.parse(event, Clock(now(), settings.replay_window_hours))
    evidence, unwritten = history.evidence(run.today), None
    damaged: list[EvidenceDamaged] = []
    if evidence is None:
        evidence, unwritten = read(run.today, damaged)
    metrics.add_metric("EvidenceWritten", MetricUnit.Count, 1)
    if unwritten is not None:
        raise unwritten
    unread = [plan for plan in evidence.plans.values() if plan.unread is not None]
    metrics.add_metric("UnreadPlans", MetricUnit.Count, len(unread))
    return {
        "time": f"{run.time:%Y-%m-%dT%H:%M:%SZ}",
        "date": str(run.today),
        "plans": len(evidence.plans),
        "keys": len(evidence.members()),
        "keys_used": sum(
            on > run.today - timedelta(days=USAGE_DAYS) for on in evidence.last_used.values()
        ),
        "unread": [
            {"usage_plan_id": plan.usage_plan_id, "name": plan.name, "reason": plan.unread}
            for plan in unread
        ],
        "unwitnessed": [
            plan.usage_plan_id
            for plan in evidence.plans.values()
            if not evidence.is_witnessed(plan)
        ],
        "unknown_ids": sum(plan.unknown_ids for plan in evidence.plans.values()),
        "emptied": [plan.usage_plan_id for plan in evidence.plans.values() if plan.emptied],
        "damaged": [err.name for err in damaged],
    }


def read(today: date, damaged: list[EvidenceDamaged]) -> tuple[Evidence, KeyjanitorError | None]:
    """Reads and writes down; gives tonight's evidence, and why the usage files are not whole.

    Sweeps need the evidence, so it is written even then; the next night makes up for the files.
    Earlier evidence that cannot be read is passed over, and named in `damaged`.
    """
    before = history.evidence_before(today, damaged.append)
    for err in damaged:
        logger.error(str(err))
    answers = read_plans(today, gateway, before)
    evidence, usages = take_evidence(today, answers, before)
    files = UsageFiles(evidence, usages, before)
    unwritten: KeyjanitorError | None = None
    try:
        for day in files.days:
            history.put_usage(day, files.rows(day, history.usage(day)))
    except (AccessDenied, CallFailed) as err:
        unwritten = err
        evidence = replace(evidence, told_through=told_before(evidence, before))
    if not history.put_evidence(evidence):
        logger.warning("another run wrote the evidence of %s first; its word stands", today)
        evidence = history.evidence(today) or evidence
    if before is not None:
        thin_keys_files(today, before.day)
    return evidence, unwritten


def told_before(evidence: Evidence, before: Evidence | None) -> dict[str, date]:
    """The last day of each plan's use that is written down if tonight's files are not."""
    told = before.told_through if before is not None else {}
    never = evidence.day - timedelta(days=USAGE_DAYS + 1)
    return {plan_id: told.get(plan_id, never) for plan_id in evidence.plans}


def thin_keys_files(today: date, night_before: date) -> None:
    """Drops from the keys files that are over a week old what the nights after them repeat.

    It makes up for nights that were missed. A file whose next night has none stays whole.
    """
    day = night_before - DAY * WHOLE_NIGHTS
    while day <= min(today - DAY * (WHOLE_NIGHTS + 1), night_before):
        lines, next_lines = history.keys(day), history.keys(day + DAY)
        if lines and next_lines:
            history.put_keys(day, thinned(lines, next_lines))
        day += DAY
