"""Talks to CloudWatch Logs: reads keyjanitor's events back from the audit log."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from keyjanitor.adapters.clients import refusal
from keyjanitor.domain.expiry.events import SOURCE
from keyjanitor.domain.model.audit_event import AuditEvent

SECRET = frozenset(
    {"sealed_value", "encryption_context"}
)  # fields of a delivery that no reader needs

logger = Logger(child=True)


class AuditLog:
    """The log group in which every event is kept."""

    def __init__(self, client: Any, group: str) -> None:
        self._client = client
        self._group = group

    def events(self, since: datetime, until: datetime) -> tuple[list[AuditEvent], int]:
        """The events that were written from one moment to the other; and how many lines are no event.

        They are in no order, and one that came twice is there twice (docs/events.md). Sealed values are
        left out. Raises CallFailed or AccessDenied.
        """
        found: list[AuditEvent] = []
        unreadable = 0
        for message in self._messages(since, until):
            event = _event(message)
            if event is None:
                unreadable += 1
            else:
                found.append(event)
        if unreadable:
            logger.error("%s lines of the audit log are no events of keyjanitor", unreadable)
        return found, unreadable

    def _messages(self, since: datetime, until: datetime) -> Iterator[str]:
        params: dict[str, Any] = {
            "logGroupName": self._group,
            "startTime": int(since.timestamp() * 1000),
            "endTime": int(until.timestamp() * 1000),
        }
        while True:
            try:
                page = self._client.filter_log_events(**params)
            except (ClientError, BotoCoreError) as err:
                action = f"logs:FilterLogEvents on {self._group}"
                raise refusal(err, "FilterLogEvents", action) from None
            yield from (str(line.get("message", "")) for line in page.get("events", ()))
            if not page.get("nextToken"):
                return
            params["nextToken"] = page["nextToken"]


def _event(message: str) -> AuditEvent | None:
    """The event of a line; None: it is no event of keyjanitor's."""
    try:
        event = json.loads(message)
        if event["source"] != SOURCE:
            return None
        detail = {name: what for name, what in event["detail"].items() if name not in SECRET}
        time = datetime.fromisoformat(event["time"]).astimezone(UTC)
        return AuditEvent(str(event["id"]), time, str(event["detail-type"]), detail)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
