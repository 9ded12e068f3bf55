"""Talks to the request queue: makes messages that were left come again soon."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from keyjanitor.aws import refusal
from keyjanitor.messages import Message

AT_ONCE = 10  # messages that one call may change

logger = Logger(child=True)


class RequestQueue:
    """The queue that requests come from."""

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url

    def come_again_soon(self, messages: Sequence[Message]) -> None:
        """Makes messages visible again long before their visibility timeout ends.

        It is a courtesy: what fails here comes again by itself, only later.
        """
        for start in range(0, len(messages), AT_ONCE):
            entries = [
                {
                    "Id": str(index),
                    "ReceiptHandle": message.receipt_handle,
                    "VisibilityTimeout": message.comes_again_after,
                }
                for index, message in enumerate(messages[start : start + AT_ONCE])
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
