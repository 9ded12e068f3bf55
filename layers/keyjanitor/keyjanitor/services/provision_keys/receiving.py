"""Reads messages: one request for each sender and body, whatever number of messages carry it."""

from collections.abc import Sequence
from dataclasses import dataclass

from aws_lambda_powertools import Logger

from keyjanitor.domain.model.records import row_id
from keyjanitor.domain.requests import body as contract
from keyjanitor.domain.requests.key_request import OPERATOR
from keyjanitor.domain.requests.sqs_message import Message
from keyjanitor.errors import KeyjanitorError, NotARequest
from keyjanitor.services.ports import RequestRows
from keyjanitor.services.provision_keys.tasks import Received

NOBODY = ""  # the sender of a message whose first sender is not known

logger = Logger(child=True)


@dataclass(frozen=True, slots=True)
class NotRequest:
    """A message that can never be a request, why, and the request id that it seems to mean."""

    message: Message
    reason: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """The messages of a batch: requests, messages that are none, and messages to be read again."""

    requests: list[Received]
    no_requests: list[NotRequest]
    unread: list[Message]


def receive(messages: Sequence[Message], request_store: RequestRows) -> Reading:
    """Reads the messages of a batch. Raises nothing: what cannot be read now is `unread`."""
    carried: dict[tuple[str, str], list[Message]] = {}
    bodies: dict[tuple[str, str], tuple[contract.Body, str]] = {}
    no_requests: dict[str, NotRequest] = {}
    unread: list[Message] = []
    for message in messages:
        try:
            body = contract.read(message.body)
            senders = senders_of(message, body, request_store)
        except NotARequest as err:
            logger.error("message %s: %s", message.message_id, err)
            no_requests[message.message_id] = NotRequest(message, err.reason, err.request_id)
            continue
        except KeyjanitorError as err:
            logger.warning("message %s is left: %s", message.message_id, err)
            unread.append(message)
            continue
        for sender in senders:
            which = row_id(body.row_id, sender), body.digest
            bodies.setdefault(which, (body, sender))
            carried.setdefault(which, []).append(message)
    requests = [
        Received(tuple(carried[which]), body, which[0], sender)
        for which, (body, sender) in bodies.items()
    ]
    return Reading(requests, list(no_requests.values()), unread)


def senders_of(message: Message, body: contract.Body, request_store: RequestRows) -> list[str]:
    """The senders whose request a message carries: its own sender.

    One that came out of the dead-letter queue may name who moved it. It is the request of those
    of whom the ledger knows this very body; of a sender without a name if it knows none. It is
    never an operator's: operators send nothing to the queue.
    """
    if not message.moved:
        return [message.sender]
    conflict = beside_the_first(body)
    rows = [*request_store.of_all_senders(body.row_id), *request_store.of_all_senders(conflict)]
    senders = {row.sender for row in rows if row.digest == body.digest}
    return sorted(senders - {OPERATOR}) or [NOBODY]


def beside_the_first(body: contract.Body) -> str:
    """The row id of a body whose id its sender used before; no other row is called so."""
    return f" conflict {body.digest}"
