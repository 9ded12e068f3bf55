"""Every request: issue, rotate, renew, revoke, restore, protect or release a key."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext

from keyjanitor import __version__
from keyjanitor.adapters import wiring
from keyjanitor.adapters.settings import ProvisionSettings, read_policy
from keyjanitor.adapters.system_clock import now, pause
from keyjanitor.domain.model.invocation import ReplayWindow
from keyjanitor.domain.model.key_values import new_value
from keyjanitor.domain.requests.sqs_message import is_batch, read_records
from keyjanitor.services.provision_keys.operators import serve_operator
from keyjanitor.services.provision_keys.responder import Adapters, Run
from keyjanitor.services.provision_keys.run import serve

logger = Logger(code_version=__version__)
metrics = Metrics()
policy = read_policy()
settings = ProvisionSettings.read()
adapters = Adapters.of(settings)
queue = wiring.request_queue(settings.request_queue_url, settings.request_dead_letter_queue_url)


@logger.inject_lambda_context
@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Serves a batch; what it answers names the messages that have to come again.

    What is no batch of the queue is an operator's own event, whose answers it gives.
    """
    run = Run.of(context, ReplayWindow(now(), settings.replay_window_hours), now, pause, new_value)
    if not is_batch(event):
        return serve_operator(event, adapters, policy, run, context)
    left = serve(read_records(event), adapters, queue, policy, run)
    return {"batchItemFailures": [{"itemIdentifier": message.message_id} for message in left]}
