"""When keyjanitor and everybody else change keys in a simulated life."""

from datetime import UTC, date, datetime

JANITOR = 3  # the hour at which keyjanitor changes keys; everybody else does so at noon


def at(day: date, hour: int = 12) -> datetime:
    """A moment of a day, UTC."""
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
