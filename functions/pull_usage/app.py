"""Every night: read who used which key, and write down what that proves."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from keyjanitor import __version__
from keyjanitor.adapters.settings import PullSettings, read_policy
from keyjanitor.adapters.system_clock import now
from keyjanitor.domain.model.invocation import Invocation, ReplayWindow
from keyjanitor.services.pull_usage.night_reading import Adapters
from keyjanitor.services.pull_usage.run import serve

logger = Logger(code_version=__version__)
metrics = Metrics()
settings = PullSettings.read()
policy = read_policy()
adapters = Adapters.of(settings, policy)


@logger.inject_lambda_context
@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Writes tonight's evidence and the usage of the last days, and answers with what was read.

    On a date that has its evidence nothing more is read or written. A run that has to end before
    all is read answers `unfinished`; the next run of the date goes on where it was.
    """
    metrics.add_metric("EvidenceWritten", MetricUnit.Count, 0)  # until it is
    run = Invocation.parse(event, ReplayWindow(now(), settings.replay_window_hours))
    return serve(run, adapters, policy, context, now)
