"""Every night: judge every key by tonight's evidence; warn, disable, park and purge what is due."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from keyjanitor import __version__
from keyjanitor.adapters.settings import SweepSettings, read_policy
from keyjanitor.adapters.system_clock import now
from keyjanitor.domain.model.invocation import ReplayWindow, SweepInvocation
from keyjanitor.services.expire_keys.gather import Adapters
from keyjanitor.services.expire_keys.run import serve

logger = Logger(code_version=__version__)
metrics = Metrics()
policy = read_policy()
settings = SweepSettings.read()
adapters = Adapters.of(settings)


@logger.inject_lambda_context
@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """One sweep, or what an operator asked for: a hold, its end, an approval, an undo."""
    metrics.add_metric("SweepFinished", MetricUnit.Count, 0)  # until it has
    run = SweepInvocation.parse(
        event, settings.mode, ReplayWindow(now(), settings.replay_window_hours)
    )
    # API Gateway's dates follow the real clock, but in a simulation the event's.
    gateway_clock = now if settings.replay_window_hours else lambda: run.time
    return serve(run, adapters, policy, context, now, gateway_clock)
