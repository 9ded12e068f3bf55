"""Looks at a log again and again, for `--follow`."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

PAUSE = timedelta(seconds=10)  # between two looks
LATE = timedelta(minutes=1)  # by which a line may reach the log after its time


def looks() -> Iterator[datetime]:
    """Every ten seconds the time since which lines may be new, until the person stops it.

    What one look shows, the next reads again: the caller shows each line once.
    """
    while True:
        time.sleep(PAUSE.total_seconds())
        yield datetime.now(UTC) - LATE - 2 * PAUSE
