"""Reads the event with which an operator invokes provision_keys, and lays out its answer. Pure.

IAM says who may invoke the function: that is an operator. The sender of these requests is OPERATOR,
whatever their bodies say. A message of the queue never has this sender.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from keyjanitor.domain.model.invocation import ReplayWindow, known_fields, time_of
from keyjanitor.domain.requests import body as contract
from keyjanitor.domain.requests.key_request import OPERATOR
from keyjanitor.domain.requests.sqs_message import Message
from keyjanitor.errors import InvalidEvent, NotARequest

FIELD = "operator"
MOST = 25  # requests in one event: an answer has to fit into what Lambda gives back


def read_operator_event(event: Mapping[str, Any], window: ReplayWindow) -> list[Message]:
    """The requests of an operator's event, `{"operator": [...], "time": ...}`, in its order.

    Raises InvalidEvent if the event or one of its requests is malformed, OutsideReplayWindow if its
    `time` is too far away. Nothing was begun then.
    """
    known_fields(event, {FIELD, "time"})
    time = time_of(event, window)
    window.must_be_near(time)
    bodies = event.get(FIELD)
    if not isinstance(bodies, list) or not 1 <= len(bodies) <= MOST:
        raise InvalidEvent(FIELD, f"must be a list of 1 to {MOST} requests")
    return [_message(number, body, time) for number, body in enumerate(bodies)]


def _message(number: int, document: object, time: datetime) -> Message:
    try:
        text = json.dumps(document)
        contract.read(text)
    except NotARequest as err:
        raise InvalidEvent(f"{FIELD}[{number}]", err.reason) from None
    except (ValueError, RecursionError):
        raise InvalidEvent(f"{FIELD}[{number}]", "it is too deep") from None
    return Message(str(number), text, OPERATOR, time)


def answered(
    request_id: str | None, detail_type: str, detail: Mapping[str, object]
) -> dict[str, object]:
    """Answer to one request: the event that was put on the bus. It holds no value in the clear."""
    return {
        "request_id": request_id,
        "status": "answered",
        "detail-type": detail_type,
        "detail": dict(detail),
    }


def deferred(request_id: str | None, why: str) -> dict[str, object]:
    """Answer to a request that is not done yet: send it again, with the same id and body."""
    return {"request_id": request_id, "status": "deferred", "reason": why}
