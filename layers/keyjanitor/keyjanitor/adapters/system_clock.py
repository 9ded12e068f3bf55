"""Talks to the machine's clock: the one place where the real time is read."""

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The real time, UTC, to the second: for leases, the replay window and an event without a time."""
    return datetime.fromtimestamp(int(time.time()), UTC)


def pause(seconds: float) -> None:
    """Waits."""
    time.sleep(seconds)
