"""Talks to the request queue and its dead-letter queue: what comes again soon, what never will."""

from base64 import b64decode
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from keyjanitor.adapters.clients import refusal
from keyjanitor.domain.requests.sqs_message import Message

VISIBILITY_BATCH = 10  # messages that one call may change

logger = Logger(child=True)


class RequestQueue:
    """The queue that requests come from, and where its dead letters go."""

    def __init__(self, client: Any, url: str, dead_letter_url: str) -> None:
        self._client = client
        self._url = url
        self._dead_letter_url = dead_letter_url

    def send_to_dead_letters(self, messages: Sequence[Message]) -> list[Message]:
        """Copies messages into the dead-letter queue; gives those that it did not take.

        The others are in it, with their senders' attributes, and can be reported as done.
        """
        left = []
        for message in messages:
            try:
                self._client.send_message(
                    QueueUrl=self._dead_letter_url,
                    MessageBody=message.body,
                    MessageAttributes={
                        name: _attribute(one) for name, one in message.attributes.items()
                    },
                )
            except (ClientError, BotoCoreError) as err:
                action = "sqs:SendMessage on the dead-letter queue"
                logger.error(str(refusal(err, "SendMessage", action)))
                left.append(message)
        return left

    def shorten_visibility(self, messages: Sequence[Message]) -> None:
        """Makes messages visible again long before their visibility timeout ends.

        It is a courtesy: what fails here comes again by itself, only later.
        """
        for start in range(0, len(messages), VISIBILITY_BATCH):
            entries = [
                {
                    "Id": str(index),
                    "ReceiptHandle": message.receipt_handle,
                    "VisibilityTimeout": message.retry_after_s,
                }
                for index, message in enumerate(messages[start : start + VISIBILITY_BATCH])
            ]
            try:
                answer = self._client.change_message_visibility_batch(
                    QueueUrl=self._url, Entries=entries
                )
            except (ClientError, BotoCoreError) as err:
                action = "sqs:ChangeMessageVisibility on the request queue"
                logger.warning(str(refusal(err, "ChangeMessageVisibilityBatch", action)))
                return
            codes: dict[str, int] = defaultdict(int)
            for failed in answer.get("Failed", ()):
                codes[failed.get("Code", "Unknown")] += 1
            if codes:
                logger.info("messages that come again only later, by code: %s", dict(codes))


def _attribute(one: Mapping[str, Any]) -> dict[str, Any]:
    """An attribute of a message as SQS takes it, from how Lambda's event gives it."""
    if one.get("binaryValue"):
        return {"DataType": one["dataType"], "BinaryValue": b64decode(one["binaryValue"])}
    return {"DataType": one["dataType"], "StringValue": one["stringValue"]}
