"""Talks to the dead-letter queues: how many messages are in them."""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from keyjanitor.adapters.clients import refusal

COUNT = "ApproximateNumberOfMessages"


class DeadLetterQueues:
    """The dead-letter queues, by the names that people know them by."""

    def __init__(self, client: Any, urls: Mapping[str, str]) -> None:
        self._client = client
        self._urls = urls

    def message_counts(self) -> dict[str, int]:
        """The number of messages in each queue, by name; raises CallFailed or AccessDenied."""
        return {name: self._count(name, url) for name, url in self._urls.items()}

    def _count(self, name: str, url: str) -> int:
        try:
            answer = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=[COUNT])
        except (ClientError, BotoCoreError) as err:
            raise refusal(err, "GetQueueAttributes", f"sqs:GetQueueAttributes on {name}") from None
        return int(answer["Attributes"][COUNT])
