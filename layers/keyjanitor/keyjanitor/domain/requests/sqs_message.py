"""Reads the records of an SQS event; computes after how long a deferred message is retried. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from keyjanitor.domain.model.invocation import ReplayWindow
from keyjanitor.domain.requests.key_request import OPERATOR

SOONEST = 30  # seconds until the first retry of a deferred message; doubled for each further one
LATEST = 900  # seconds


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `sender` is its SenderId up to the colon: the id of a user or a role, set by AWS.

    If it was `moved` out of a dead-letter queue, its SenderId may be that of the mover (believed: AF-553).
    """

    message_id: str
    body: str
    sender: str
    sent_at: datetime | None
    receipt_handle: str = ""
    receive_count: int = 1
    moved: bool = False
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # its sender's

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Message":
        """The message in a record of an SQS event."""
        attributes = record.get("attributes") or {}
        sent = str(attributes.get("SentTimestamp", ""))
        count = str(attributes.get("ApproximateReceiveCount", ""))
        return cls(
            message_id=str(record["messageId"]),
            body=str(record.get("body", "")),
            sender=_sender(str(attributes.get("SenderId", ""))),
            sent_at=_moment(sent),
            receipt_handle=str(record.get("receiptHandle", "")),
            receive_count=int(count) if count.isdecimal() else 1,
            moved=bool(attributes.get("DeadLetterQueueSourceArn")),
            attributes=record.get("messageAttributes") or {},
        )

    def today(self, window: ReplayWindow) -> date:
        """Date of the request: that on which it was sent (UTC) if it is in the replay window, else today."""
        if self.sent_at is not None and window.is_near(self.sent_at):
            return self.sent_at.date()
        return window.now.date()

    @property
    def retry_after_s(self) -> int:
        """Seconds until SQS delivers it again, if it is deferred."""
        doublings = min(max(self.receive_count, 1) - 1, 10)
        return min(LATEST, SOONEST << doublings)


def _sender(sender_id: str) -> str:
    sender = sender_id.partition(":")[0]
    return sender if sender != OPERATOR else ""  # a message never has the sender OPERATOR


def _moment(milliseconds: str) -> datetime | None:
    if not milliseconds.isdecimal():
        return None
    try:
        return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None  # of an event made by hand: serve its other messages all the same


def is_batch(event: Mapping[str, Any]) -> bool:
    """True if an event has `Records`, as SQS sends them."""
    return "Records" in event


def read_records(event: Mapping[str, Any]) -> list[Message]:
    """The messages of an SQS event."""
    records: Sequence[Mapping[str, Any]] = event["Records"]
    return [Message.of(record) for record in records]
