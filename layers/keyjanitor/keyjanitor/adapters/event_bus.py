"""Talks to EventBridge: puts events on the bus that other systems listen to."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from keyjanitor.adapters.clients import refusal
from keyjanitor.domain.expiry.events import SOURCE
from keyjanitor.domain.model.records import Announcement

BATCH = 10  # entries that PutEvents takes at once
ROOM = 200_000  # bytes of their details, under all that PutEvents takes (doc: AF-541)


def batches(announcements: Iterable[Announcement]) -> Iterator[list[Announcement]]:
    """The events by as many as fit into one call."""
    batch: list[Announcement] = []
    size = 0
    for one in announcements:
        length = len(_detail(one).encode())
        if batch and (len(batch) == BATCH or size + length > ROOM):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += length
    if batch:
        yield batch


def _detail(announcement: Announcement) -> str:
    return json.dumps(announcement.detail, ensure_ascii=False)


class EventBus:
    """One event bus."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    def put(self, announcements: Sequence[Announcement]) -> list[Announcement]:
        """Puts one batch of events; gives those that the bus took.

        Raises CallFailed or AccessDenied if the call as a whole fails.
        """
        entries = [
            {
                "EventBusName": self._name,
                "Source": SOURCE,
                "DetailType": one.detail_type,
                "Detail": _detail(one),
            }
            for one in announcements
        ]
        try:
            answer = self._client.put_events(Entries=entries)
        except (ClientError, BotoCoreError) as err:
            raise refusal(err, "PutEvents", f"events:PutEvents on {self._name}") from None
        return [
            one
            for one, told in zip(announcements, answer["Entries"], strict=True)
            if not told.get("ErrorCode")
        ]
