"""One run of publish_report: gathers the morning, writes its report, and once a month the audit folder."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from keyjanitor.adapters.ledger import REPORT
from keyjanitor.domain.expiry.response import heading, running
from keyjanitor.domain.model.invocation import Invocation
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.report.document import report
from keyjanitor.domain.report.html import render
from keyjanitor.errors import AlreadyRunning
from keyjanitor.services.deadline import Deadline
from keyjanitor.services.lease import lease
from keyjanitor.services.publish_report.audit import write_audit_folder
from keyjanitor.services.publish_report.gather import Adapters, Place, gather_morning

IDS_SHOWN = 20  # ids of each finding; the report has them all

logger = Logger(child=True)
metrics = Metrics()  # Powertools keeps one set of numbers; the handler writes it out


def serve(
    request: Invocation,
    place: Place,
    adapters: Adapters,
    policy: Policy,
    context: LambdaContext,
    now: Callable[[], datetime],
) -> dict[str, Any]:
    """Publishes the report of a date, and gives the answer; a second run at once answers `running`."""
    try:
        with lease(adapters.ledger, REPORT, now(), context):
            time_is_up = Deadline.before_the_end_of(context).passed
            return publish(request, now(), place, adapters, policy, time_is_up)
    except AlreadyRunning as err:
        logger.info(str(err))
        return running(request.time, err)


def publish(
    request: Invocation,
    made_at: datetime,
    place: Place,
    adapters: Adapters,
    policy: Policy,
    time_is_up: Callable[[], bool],
) -> dict[str, Any]:
    """Gathers the morning, writes its report, and says where it is. Raises as `gather_morning` does.

    The first run of a month that has the time writes the audit folder of the month before.
    """
    morning = gather_morning(request.today, made_at, place, adapters, policy, time_is_up)
    document = report(morning)
    name = adapters.history.put_report(request.today, document, render(document))
    metrics.add_metric("ReportPublished", MetricUnit.Count, 1)
    # After the report, which the morning needs; what fails here fails the run, and an alarm calls.
    audit = write_audit_folder(request.today, made_at, place, adapters, time_is_up)
    return {
        **heading(request.time),
        "report": f"s3://{place.bucket}/{name}",
        **({"audit": f"s3://{place.bucket}/{audit}"} if audit else {}),
        "keys": len(morning.checkup.keys),
        "findings": [
            {
                **finding,
                "about": finding["about"][:IDS_SHOWN],
                "keys_or_plans": len(finding["about"]),
            }
            for finding in document["findings"]
        ],
        "unread": document["unread"],
    }
