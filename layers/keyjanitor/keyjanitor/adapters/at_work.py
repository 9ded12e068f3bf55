"""Counts the functions of the night that are at work, for they share one number of calls a second.

Schedules keep them apart, retries and operators do not: a run that begins beside others waits until they
have noticed it, and all go slower then.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from keyjanitor.errors import KeyjanitorError

LOOK = 5.0  # seconds for which a count is believed
NOTICED = LOOK + 1.0  # until every run has looked again

# The standard library's, like that of the other adapters that the command shares.
logger = logging.getLogger(__name__)


class Leases(Protocol):
    """The leases of the night's functions; `held_by` is the run that took one of them here last."""

    held_by: str

    def at_work(self, at: datetime, /) -> int: ...


class AtWork:
    """How many of the night's functions are at work, this one among them; called before each call.

    `now` is the clock of the leases.
    """

    def __init__(
        self,
        leases: Leases,
        now: Callable[[], datetime],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._leases = leases
        self._now = now
        self._monotonic = monotonic
        self._sleep = sleep
        self._run: str | None = None
        self._count = 1
        self._looked = 0.0

    def __call__(self) -> int:
        """The count, at most LOOK seconds old; a run's first waits if there are others.

        Leases that cannot be read leave the count as it was.
        """
        begins = self._leases.held_by != self._run
        if begins or self._monotonic() - self._looked >= LOOK:
            self._look(begins=begins)
        return self._count

    def _look(self, *, begins: bool) -> None:
        try:
            self._count = max(1, self._leases.at_work(self._now()))
        except KeyjanitorError as err:
            logger.warning("the leases of the night cannot be read: %s", err)
        self._looked = self._monotonic()
        if begins:
            self._run = self._leases.held_by
            if self._count > 1:
                logger.info(
                    "%s functions are at work: each takes its part of the calls", self._count
                )
                self._sleep(NOTICED)
