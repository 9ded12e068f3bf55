"""What a simulated life was told."""

from collections.abc import Sequence

from keyjanitor import __version__
from keyjanitor.domain.model.alert import Alert, Place
from keyjanitor.domain.model.records import (
    Announcement,
)


class Told:
    """Bus and topic in one: all that anybody was told."""

    place = Place.of(
        "arn:aws:sns:us-east-1:123456789012:alerts", "keyjanitor", __version__, "history"
    )

    def __init__(self) -> None:
        self.events: list[Announcement] = []
        self.alerts: list[Alert] = []

    def put(self, announcements: Sequence[Announcement]) -> list[Announcement]:
        self.events += announcements
        return list(announcements)

    def publish(self, alert: Alert) -> None:
        self.alerts.append(alert)

    def is_heard(self) -> bool:
        return True

    def unconfirmed(self) -> list[str]:
        return []
