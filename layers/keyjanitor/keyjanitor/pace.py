"""Keeps a run within its share of API Gateway's control plane, and below it when told to slow down."""

import time
from collections.abc import Callable

MARGIN = 1.05  # a call may arrive a little early or late; no second may see one more than the share
SLOWEST = 0.25  # calls a second: a night of sixty calls still ends within a run
QUIET_CALLS = 10  # so many calls without a throttle let the pace rise again


class Pace:
    """Spaces calls evenly at `calls_per_second`; half of that after each throttle."""

    def __init__(
        self,
        calls_per_second: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._share = calls_per_second
        self._rate = calls_per_second
        self._monotonic = monotonic
        self._sleep = sleep
        self._next_at = monotonic()
        self._quiet = 0
        self.throttled = 0

    @property
    def rate(self) -> float:
        """Calls a second at the moment."""
        return self._rate

    def wait(self) -> None:
        """Returns when the next call may be made."""
        now = self._monotonic()
        if now < self._next_at:
            self._sleep(self._next_at - now)
            now = max(self._next_at, self._monotonic())
        self._next_at = now + MARGIN / self._rate

    def slow_down(self, retry_after: float | None) -> None:
        """AWS refused a call for there being too many; `retry_after` is in seconds, if it said so."""
        self.throttled += 1
        self._quiet = 0
        self._rate = max(SLOWEST, self._rate / 2)
        pause = max(retry_after or 0.0, 1 / self._rate)
        self._next_at = max(self._next_at, self._monotonic() + pause)

    def went_well(self) -> None:
        """A call was answered; after enough of them the pace rises towards the share again."""
        if self._rate == self._share:
            return
        self._quiet += 1
        if self._quiet >= QUIET_CALLS:
            self._quiet = 0
            self._rate = min(self._share, self._rate * 1.5)
