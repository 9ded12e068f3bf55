"""Every morning: tell how the account stands, what the night did, and what is odd about its keys."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from keyjanitor import __version__
from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.clients import client, gateway_client
from keyjanitor.adapters.dynamodb import Table
from keyjanitor.adapters.history_bucket import History
from keyjanitor.adapters.ledger import REPORT, Ledger
from keyjanitor.adapters.ownership import Owners
from keyjanitor.adapters.rate_limiter import Pace
from keyjanitor.adapters.settings import PublishSettings, read_policy
from keyjanitor.adapters.system_clock import now
from keyjanitor.domain.expiry.response import heading, running
from keyjanitor.domain.model.invocation import Clock, PullRequest
from keyjanitor.domain.report.document import report
from keyjanitor.domain.report.html import render
from keyjanitor.errors import AlreadyRunning
from keyjanitor.services.deadline import Deadline
from keyjanitor.services.lease import lease
from keyjanitor.services.publish_report.gather import Place, Sources, gather_morning

SHOWN = 20  # ids of each finding; the report has them all

logger = Logger(code_version=__version__)
metrics = Metrics()
policy = read_policy()
settings = PublishSettings.read()
sources = Sources(
    gateway=ApiGateway(gateway_client(), Pace(settings.calls_per_second)),
    owners=Owners(client("resourcegroupstaggingapi"), client("cloudformation")),
    ledger=Ledger(Table(client("dynamodb"), settings.ledger_table)),
    history=History(client("s3"), settings.history_bucket),
)


@logger.inject_lambda_context
@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Writes the report of a date, and answers with where it is and what the doctor found."""
    metrics.add_metric("ReportPublished", MetricUnit.Count, 0)  # until it is
    run = PullRequest.parse(event, Clock(now(), settings.replay_window_hours))
    try:
        with lease(sources.ledger, REPORT, now(), context):
            return publish(run, context)
    except AlreadyRunning as err:
        logger.info(str(err))
        return running(run.time, err)


def publish(run: PullRequest, context: LambdaContext) -> dict[str, Any]:
    """Gathers the morning and writes its report."""
    _, _, _, region, account, *_ = context.invoked_function_arn.split(":")
    place = Place(account, region, settings.mode)
    time_is_up = Deadline.before_the_end_of(context).passed
    morning = gather_morning(run.today, now(), place, sources, policy, time_is_up)
    document = report(morning)
    name = sources.history.put_report(run.today, document, render(document))
    metrics.add_metric("ReportPublished", MetricUnit.Count, 1)
    return {
        **heading(run.time),
        "report": f"s3://{settings.history_bucket}/{name}",
        "keys": len(morning.checkup.keys),
        "findings": [
            {**finding, "about": finding["about"][:SHOWN], "keys_or_plans": len(finding["about"])}
            for finding in document["findings"]
        ],
        "unread": document["unread"],
    }
