"""The clock that API Gateway's dates and usage days, and CloudWatch, follow in the sandbox."""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta


class Clock:
    """UTC time that runs like real time until it is set; once set, it stands still.

    API Gateway and CloudWatch look at it. Signatures, leases, S3, KMS and logs use real time.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._from = datetime.now(UTC)
        self._running_since: float | None = monotonic()
        self._is_set = False

    @property
    def is_set(self) -> bool:
        """Whether it was set since it last showed real time, be it that it runs."""
        return self._is_set

    def now(self) -> datetime:
        """Now, as an aware UTC datetime."""
        if self._running_since is None:
            return self._from
        return self._from + timedelta(seconds=self._monotonic() - self._running_since)

    def today(self) -> date:
        """Today's UTC date."""
        return self.now().date()

    def set(self, when: datetime) -> None:
        """Stand still at `when`, which must carry a time zone."""
        if when.tzinfo is None:
            raise ValueError("the clock needs a datetime with a time zone")
        self._from = when.astimezone(UTC)
        self._running_since = None
        self._is_set = True

    def run(self) -> None:
        """Go on from where it stands."""
        self._from = self.now()
        self._running_since = self._monotonic()

    def reset(self) -> None:
        """Show real time again."""
        self._from = datetime.now(UTC)
        self._running_since = self._monotonic()
        self._is_set = False
