"""Keeps a run within its share of API Gateway's control plane, and below it when told to slow down.

The control plane takes ten calls a second from everyone together (doc: AF-106). Runs that are at work beside
each other divide one share.
"""

import time
from collections import deque
from collections.abc import Callable
from math import floor

SECOND = 1.005  # a clock's rounding must not make two calls meet in one second
SLOWEST = 0.25  # calls a second: a night of sixty calls still ends within a run
RECOVERY = 30  # calls that go well, from a standstill to the whole share


class RateLimiter:
    """Spaces calls evenly at `calls_per_second`; half of that after each throttle.

    `among` says before each call how many runs have that share together; each takes its part.

    A call may arrive at any moment until it is answered, so a second's worth of calls after a call
    was *answered* is the soonest that another may be made.
    """

    def __init__(
        self,
        calls_per_second: float,
        *,
        among: Callable[[], int] = lambda: 1,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._whole = calls_per_second
        self._among = among
        self._share = _in_whole_calls(calls_per_second)
        self._rate = self._share
        self._monotonic = monotonic
        self._sleep = sleep
        self._next_at = monotonic()
        self._answers: deque[float] = deque(maxlen=max(1, int(calls_per_second)))
        self.throttled = 0

    @property
    def rate(self) -> float:
        """Calls a second at the moment."""
        return self._rate

    def wait(self) -> None:
        """Returns when the next call may be made."""
        self._take_part()
        at = self._next_at
        at_once = max(1, int(self._share))  # calls within one second
        if len(self._answers) >= at_once:
            at = max(at, self._answers[-at_once] + SECOND * max(1.0, 1 / self._share))
        now = self._monotonic()
        if now < at:
            self._sleep(at - now)
            now = max(at, self._monotonic())
        self._next_at = now + 1 / self._rate

    def _take_part(self) -> None:
        """This run's part of the share, now; one that AWS told to slow down stays below it."""
        part = _in_whole_calls(self._whole / self._among())
        slowed = self._rate < self._share
        self._rate = min(self._rate, part) if slowed else part
        self._share = part

    def on_throttle(self, retry_after: float | None) -> None:
        """AWS refused a call for there being too many; `retry_after` is in seconds, if it said so."""
        self.throttled += 1
        self._rate = min(self._rate, max(SLOWEST, self._rate / 2))
        pause = max(retry_after or 0.0, 1 / self._rate)
        self._next_at = max(self._next_at, self._monotonic() + pause)

    def on_success(self) -> None:
        """A call was answered: the pace rises a little towards the share."""
        self.answered()
        self._rate = min(self._share, self._rate + self._share / RECOVERY)

    def answered(self) -> None:
        """A call is over, however it ended."""
        self._answers.append(self._monotonic())


def _in_whole_calls(share: float) -> float:
    """A share of less than a call a second, as whole calls in ten seconds.

    Else several runs together would now and then make a call more in ten seconds than they have.
    """
    in_ten_seconds = floor(10 * share + 1e-9)
    return in_ten_seconds / 10 if share < 1 and in_ten_seconds else share
