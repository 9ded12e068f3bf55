"""The request queue and the dead-letter queues in memory, with the methods of their adapters."""

from collections.abc import Sequence

from keyjanitor.domain.requests.sqs_message import Message


class FakeQueue:
    """A queue that hears which messages are to come again, and after how many seconds."""

    def __init__(self) -> None:
        self.heard: dict[str, int] = {}
        self.dead: list[Message] = []
        self.is_shut = False  # its dead-letter queue

    def shorten_visibility(self, messages: Sequence[Message]) -> None:
        self.heard = {one.message_id: one.retry_after_s for one in messages}

    def send_to_dead_letters(self, messages: Sequence[Message]) -> list[Message]:
        if self.is_shut:
            return list(messages)
        self.dead += messages
        return []


class FakeDeadLetterQueues:
    """The dead-letter queues, and how much lies in them."""

    def __init__(self) -> None:
        self.count = {"RequestDeadLetterQueue": 0, "RunDeadLetterQueue": 0}

    def message_counts(self) -> dict[str, int]:
        return dict(self.count)
