"""Every hour: count the keys, forecast when the account is full, and alert in time."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from keyjanitor import __version__
from keyjanitor.adapters.settings import WatchSettings, read_policy
from keyjanitor.adapters.system_clock import now
from keyjanitor.domain.model.invocation import Invocation, ReplayWindow
from keyjanitor.services.watch_capacity import Adapters, serve

UNITS = {"QuotaShare": MetricUnit.Percent, "Regret": MetricUnit.Percent}

logger = Logger(code_version=__version__)
metrics = Metrics()
policy = read_policy()
settings = WatchSettings.read()
adapters = Adapters.of(settings)


@logger.inject_lambda_context
@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """One look: what it found, and what it told."""
    run = Invocation.parse(event, ReplayWindow(now(), settings.replay_window_hours))
    answer, measured = serve(run, adapters, policy, context, now)
    for name, value in measured.items():
        metrics.add_metric(name, UNITS.get(name, MetricUnit.Count), value)
    return answer
