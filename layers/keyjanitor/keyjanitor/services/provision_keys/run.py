"""One run of provision_keys: serves a batch, gives up what is no request, and counts both."""

from collections.abc import Sequence

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.requests.sqs_message import Message
from keyjanitor.services.ports import RequestQueue
from keyjanitor.services.provision_keys.batch import RequestBatch
from keyjanitor.services.provision_keys.responder import Adapters, Run

metrics = Metrics()  # Powertools keeps one set of numbers; the handler writes it out


def serve(
    messages: Sequence[Message],
    adapters: Adapters,
    queue: RequestQueue,
    policy: Policy,
    run: Run,
) -> list[Message]:
    """Serves a batch; gives the messages that have to come again, and has them come soon."""
    batch = RequestBatch(adapters, policy, run)
    left = batch.serve(messages)
    left += queue.send_to_dead_letters(batch.hopeless)
    queue.shorten_visibility(left)
    count(batch, len(left))
    return left


def count(batch: RequestBatch, left: int) -> None:
    """The numbers of a run that has served its requests; `left` of them were not answered."""
    for name, number in (
        ("KeysIssued", batch.issued),
        ("RequestsRefused", batch.responder.refusals),
        ("RequestsLeft", left),
    ):
        metrics.add_metric(name, MetricUnit.Count, number)
