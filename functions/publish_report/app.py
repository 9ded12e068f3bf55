"""Every morning: publish a report of the account, the last sweep and the problems of its keys."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from keyjanitor import __version__
from keyjanitor.adapters.settings import PublishSettings, read_policy
from keyjanitor.adapters.system_clock import now
from keyjanitor.domain.model.invocation import Invocation, ReplayWindow
from keyjanitor.services.publish_report.gather import Adapters, Place
from keyjanitor.services.publish_report.run import serve

logger = Logger(code_version=__version__)
metrics = Metrics()
policy = read_policy()
settings = PublishSettings.read()
adapters = Adapters.of(settings)


@logger.inject_lambda_context
@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Writes the report of a date, and answers with where it is and what the doctor found."""
    metrics.add_metric("ReportPublished", MetricUnit.Count, 0)  # until it is
    run = Invocation.parse(event, ReplayWindow(now(), settings.replay_window_hours))
    _, _, _, region, account, *_ = context.invoked_function_arn.split(":")
    place = Place(
        account,
        region,
        settings.stack_name,
        settings.mode,
        settings.history_bucket,
        audit_lock=settings.audit_lock,
        audit_days=settings.audit_folder_days,
    )
    return serve(run, place, adapters, policy, context, now)
