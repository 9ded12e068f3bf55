"""Every request on the queue: issue, rotate, renew, revoke, restore, protect or release a key."""

from datetime import timedelta
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from keyjanitor import __version__
from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.clients import client, gateway_client
from keyjanitor.adapters.dynamodb import Table
from keyjanitor.adapters.event_bus import Bus
from keyjanitor.adapters.history_bucket import History
from keyjanitor.adapters.kms import Sealer
from keyjanitor.adapters.ledger import Ledger
from keyjanitor.adapters.ownership import Owners
from keyjanitor.adapters.rate_limiter import Pace
from keyjanitor.adapters.request_queue import RequestQueue
from keyjanitor.adapters.request_store import Register
from keyjanitor.adapters.settings import ProvisionSettings, read_policy
from keyjanitor.adapters.system_clock import now, pause
from keyjanitor.domain.model.invocation import Clock
from keyjanitor.domain.requests.key_values import new_value
from keyjanitor.domain.requests.sqs_message import read_records
from keyjanitor.services.deadline import Deadline
from keyjanitor.services.provision_keys.batch import Provisioner
from keyjanitor.services.provision_keys.responder import Counterparts, Run

UNANSWERED = timedelta(minutes=1)  # that a call of a run which Lambda has ended may still take

logger = Logger(code_version=__version__)
metrics = Metrics()
policy = read_policy()
settings = ProvisionSettings.read()
table = Table(client("dynamodb"), settings.ledger_table)
outside = Counterparts(
    gateway=ApiGateway(gateway_client(), Pace(settings.calls_per_second)),
    owners=Owners(client("resourcegroupstaggingapi"), client("cloudformation")),
    ledger=Ledger(table),
    register=Register(table),
    history=History(client("s3"), settings.history_bucket),
    sealer=Sealer(client("kms"), settings.sealing_key_arn),
    bus=Bus(client("events"), settings.event_bus),
)
queue = RequestQueue(
    client("sqs"), settings.request_queue_url, settings.request_dead_letter_queue_url
)


@logger.inject_lambda_context
@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Serves a batch; what it answers names the messages that have to come again."""
    messages = read_records(event)
    left_ms = context.get_remaining_time_in_millis()
    run = Run(
        holder=context.aws_request_id,
        until=now() + timedelta(milliseconds=left_ms) + UNANSWERED,
        deadline=Deadline.before_the_end_of(context),
        clock=Clock(now(), settings.replay_window_hours),
        now=now,
        pause=pause,
        new_value=new_value,
    )
    provisioner = Provisioner(outside, policy, run)
    left = provisioner.serve(messages)
    left += queue.bury(provisioner.hopeless)
    queue.come_again_soon(left)
    for name, count in (
        ("KeysIssued", provisioner.issued),
        ("RequestsRefused", provisioner.desk.refusals),
        ("RequestsLeft", len(left)),
    ):
        metrics.add_metric(name, MetricUnit.Count, count)
    return {"batchItemFailures": [{"itemIdentifier": message.message_id} for message in left]}
