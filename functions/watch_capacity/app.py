"""Every hour: count the keys, forecast when the account is full, and wake somebody in time."""

from datetime import timedelta
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from keyjanitor import __version__
from keyjanitor.adapters.alert_store import AlertBook
from keyjanitor.adapters.alert_topic import Topic
from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.clients import client, gateway_client
from keyjanitor.adapters.dead_letters import Letters
from keyjanitor.adapters.dynamodb import Table
from keyjanitor.adapters.history_bucket import History
from keyjanitor.adapters.ledger import COUNT, Ledger
from keyjanitor.adapters.rate_limiter import Pace
from keyjanitor.adapters.settings import WatchSettings, read_policy
from keyjanitor.adapters.system_clock import now
from keyjanitor.domain.expiry.response import heading, running
from keyjanitor.domain.model.invocation import Clock, PullRequest
from keyjanitor.errors import AlreadyRunning
from keyjanitor.services.lease import lease
from keyjanitor.services.watch_capacity import Sights, look, measures, tell

UNITS = {"QuotaShare": MetricUnit.Percent, "Regret": MetricUnit.Percent}

logger = Logger(code_version=__version__)
metrics = Metrics()
policy = read_policy()
settings = WatchSettings.read()
table = Table(client("dynamodb"), settings.ledger_table)
sights = Sights(
    gateway=ApiGateway(gateway_client(), Pace(settings.calls_per_second)),
    ledger=Ledger(table),
    book=AlertBook(table),
    history=History(client("s3"), settings.history_bucket),
    topic=Topic(client("sns"), settings.alert_topic_arn),
    letters=Letters(client("sqs"), settings.dead_letter_queues),
)


@logger.inject_lambda_context
@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """One look: what it found, and what it told."""
    run = PullRequest.parse(event, Clock(now(), settings.replay_window_hours))
    try:
        with lease(sights.ledger, COUNT, now(), context):
            return watch(run, context)
    except AlreadyRunning as err:
        logger.info(str(err))
        return running(run.time, err)


def watch(run: PullRequest, context: LambdaContext) -> dict[str, Any]:
    """Looks, tells and measures."""
    found = look(run.today, now(), sights, policy)
    until = now() + timedelta(milliseconds=context.get_remaining_time_in_millis())
    told = tell(found.situation, sights, policy, now, until)
    for name, value in measures(found, policy).items():
        metrics.add_metric(name, UNITS.get(name, MetricUnit.Count), value)
    count, seen = found.situation.count, found.situation.forecast
    return {
        **heading(run.time),
        "keys": count.keys,
        "share": round(count.keys / policy.service_quota, 4),
        "tiers": dict(count.tiers),
        "states": dict(count.states),
        "usage_plans": count.plans,
        "growth": seen.growth and round(seen.growth.a_day, 2),
        "days_to_limit": seen.days,
        "alerts": [{"kind": one.kind, "subject": one.subject} for one in told],
    }
