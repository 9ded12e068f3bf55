"""Requests on queues, as tests and the demo send them, and the lines that tell what became of them."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

Body = Mapping[str, Any] | str

# A role's id and the name of its session, in the form in which SQS tells who sent a message.
SENDER_ID = "AROASENDEREXAMPLE:portal"
_MESSAGES_PER_CALL = 10
_COUNTS = {
    "visible": "ApproximateNumberOfMessages",
    "in flight": "ApproximateNumberOfMessagesNotVisible",
    "delayed": "ApproximateNumberOfMessagesDelayed",
}


def sqs_event(
    queue_arn: str,
    bodies: Sequence[Body],
    *,
    sender_id: str = SENDER_ID,
    sent: datetime | None = None,
    receive_count: int = 1,
) -> dict[str, Any]:
    """The event with which SQS starts a function, with any number of records.

    `sent` is an aware datetime, now if left out. The same event again is the same messages again.
    No queue knows these messages, so a receiptHandle is good for nothing.
    """
    at = str(int((sent or datetime.now(UTC)).timestamp() * 1000))
    attributes = {
        "ApproximateReceiveCount": str(receive_count),
        "SentTimestamp": at,
        "SenderId": sender_id,
        "ApproximateFirstReceiveTimestamp": at,
    }
    texts = [_text_of(body) for body in bodies]
    records = [
        {
            "messageId": str(uuid4()),
            "receiptHandle": uuid4().hex,
            "body": text,
            "attributes": dict(attributes),
            "messageAttributes": {},
            "md5OfBody": hashlib.md5(text.encode()).hexdigest(),
            "eventSource": "aws:sqs",
            "eventSourceARN": queue_arn,
            "awsRegion": queue_arn.split(":")[3],
        }
        for text in texts
    ]
    return {"Records": records}


def _text_of(body: Body) -> str:
    return body if isinstance(body, str) else json.dumps(body)


class Queues:
    """The part of a sandbox that is about queues and logs."""

    def _own(self, service: str) -> Any:
        raise NotImplementedError

    def _set(self, name: str, /, **given: Any) -> Any:
        raise NotImplementedError

    def send_requests(self, queue_url: str, bodies: Sequence[Body]) -> list[str]:
        """Send messages, ten a call; gives their ids in the same order.

        A mapping is sent as JSON, a text as it is.
        """
        ids: list[str] = []
        for start in range(0, len(bodies), _MESSAGES_PER_CALL):
            entries = [
                {"Id": str(n), "MessageBody": _text_of(body)}
                for n, body in enumerate(bodies[start : start + _MESSAGES_PER_CALL])
            ]
            sent = self._own("sqs").send_message_batch(QueueUrl=queue_url, Entries=entries)
            if refused := sent.get("Failed"):
                raise ValueError(f"messages that SQS did not take: {refused}")
            id_of = {done["Id"]: str(done["MessageId"]) for done in sent["Successful"]}
            ids += [id_of[entry["Id"]] for entry in entries]
        return ids

    def wait_for_queue(self, queue_url: str, seconds: float) -> None:
        """Wait until the queue holds nothing, neither visible nor in flight.

        Raises TimeoutError, which says what is left.
        """
        deadline = time.monotonic() + seconds
        while any(left := self._left_in(queue_url)):
            if time.monotonic() > deadline:
                counted = ", ".join(f"{n} {how}" for how, n in zip(_COUNTS, left, strict=True))
                raise TimeoutError(f"after {seconds} s {queue_url} still holds {counted}")
            time.sleep(0.1)

    def _left_in(self, queue_url: str) -> list[int]:
        answer = self._own("sqs").get_queue_attributes(
            QueueUrl=queue_url, AttributeNames=list(_COUNTS.values())
        )
        return [int(answer["Attributes"][name]) for name in _COUNTS.values()]

    def redeliver(self, queue_url: str) -> int:
        """End the visibility timeout of every message that was received; gives how many.

        Those that a function is still working on come twice then, at the same time.
        """
        return int(self._set("redeliver", queue_url=queue_url)["messages"])

    def move_back(self, dead_letter_url: str, queue_url: str) -> int:
        """Do by hand what `sqs start-message-move-task` does; gives how many messages it moved.

        As with the task they are new messages: with an id and a time of sending of their own, and
        with the mover as their sender.
        """
        sqs, moved = self._own("sqs"), 0
        while True:
            messages = sqs.receive_message(
                QueueUrl=dead_letter_url,
                MaxNumberOfMessages=_MESSAGES_PER_CALL,
                MessageAttributeNames=["All"],
                VisibilityTimeout=30,
            ).get("Messages", [])
            if not messages:
                return moved
            for message in messages:
                sqs.send_message(
                    QueueUrl=queue_url,
                    MessageBody=message["Body"],
                    MessageAttributes=message.get("MessageAttributes", {}),
                )
                sqs.delete_message(QueueUrl=dead_letter_url, ReceiptHandle=message["ReceiptHandle"])
            moved += len(messages)

    def log_lines(self, log_group: str) -> list[str]:
        """The lines of a log group, over all its streams, in the order of their time."""
        lines: list[str] = self._set("log-lines", group=log_group)["lines"]
        return lines
