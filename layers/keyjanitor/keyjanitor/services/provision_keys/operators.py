"""One run of provision_keys for an operator, who invokes it and waits for the answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from keyjanitor.domain.expiry.response import heading, running
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.records import FINAL
from keyjanitor.domain.requests import body as contract
from keyjanitor.domain.requests.key_request import OPERATOR
from keyjanitor.domain.requests.operator_event import answered, deferred, read_operator_event
from keyjanitor.domain.requests.sqs_message import Message
from keyjanitor.errors import AlreadyRunning
from keyjanitor.services.lease import lease
from keyjanitor.services.provision_keys.batch import RequestBatch
from keyjanitor.services.provision_keys.responder import Adapters, Run
from keyjanitor.services.provision_keys.run import count
from keyjanitor.services.provision_keys.tasks import Deferred, Taken

NOT_TAKEN = (
    "another run is at work on it, or the ledger did not answer; the function's log says which"
)


def serve_operator(
    event: Mapping[str, Any],
    adapters: Adapters,
    policy: Policy,
    run: Run,
    context: LambdaContext,
) -> dict[str, Any]:
    """Serves an operator's requests, as those of any sender; gives what became of each, in order.

    One such run at a time, for it makes calls beside those of the queue's two: a second one does
    nothing and says until when the first may last. Raises InvalidEvent before anything was done.
    """
    messages = read_operator_event(event, run.window)
    batch = RequestBatch(adapters, policy, run)
    try:
        with lease(adapters.ledger, OPERATOR, run.now(), context):
            left = batch.serve(messages)
    except AlreadyRunning as err:
        return running(run.window.now, err)
    count(batch, len(left))
    return {**heading(run.window.now), "answers": _answers(messages, batch.taken)}


def _answers(messages: Sequence[Message], taken: Sequence[Taken]) -> list[dict[str, object]]:
    of_message = {message.message_id: one for one in taken for message in one.received.messages}
    return [_answer(message, of_message.get(message.message_id)) for message in messages]


def _answer(message: Message, taken: Taken | None) -> dict[str, object]:
    """An answer that is written down is one, even if the bus has not taken it: the outbox has it."""
    request_id = contract.read(message.body).request_id
    if taken is None:
        return deferred(request_id, NOT_TAKEN)
    if taken.row.status not in FINAL:
        why = taken.outcome.why if isinstance(taken.outcome, Deferred) else ""
        return deferred(request_id, why)
    return answered(request_id, taken.row.detail_type, taken.row.detail)
