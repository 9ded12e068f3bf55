"""Asks API Gateway for use over as many days as it answers.

How far back GetUsage goes, and whether it refuses what is older or answers with a later start, is not
known (seen: AF-301); nor whose midnight ends its days (believed: AF-316). What it refuses is asked for
again over fewer days, and what its answer covers is what is believed.
"""

import logging
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

from keyjanitor.adapters.gateway_calls import GatewayCalls
from keyjanitor.errors import CallFailed

# The ranges that are asked for in turn: how many days back, from how many days before the end. The
# last is for a calendar that is behind UTC, which may refuse a day that has not begun there.
WHOLE = (10_000, 0)
NARROWER = ((89, 0), (60, 0), (30, 0), (89, 1))

# The standard library's: the command `keyjanitor`, which has no Powertools, reads usage with it too.
logger = logging.getLogger(__name__)


class UsageRange:
    """Reads the use of plans, and remembers for the run which range API Gateway answers.

    A range is how many days back it begins, from how many days before the end.
    """

    def __init__(self, calls: GatewayCalls) -> None:
        self._calls = calls
        self._answered: tuple[int, int] | None = None  # where the whole range was refused

    def ask_first_for(self, days: tuple[int, int] | None, /) -> None:
        """Asks for this range first, which was answered in another run; None: for all days."""
        self._answered = days

    def answered_range(self) -> tuple[int, int] | None:
        """The range that was answered where the whole one was refused; None: it was not refused."""
        return self._answered

    def pages(self, usage_plan_id: str, start: date, end: date) -> Iterator[Mapping[str, Any]]:
        """The pages of a plan's use from `start` to `end`, or over fewer days if that is refused.

        Raises what `GatewayCalls.pages` does, and the refusal if every range is refused.
        """
        refused = CallFailed("GetUsage", "BadRequestException")
        asked: set[tuple[date, date]] = set()
        for back, left_out in self._ranges():
            last = end - timedelta(days=left_out)
            first = max(start, last - timedelta(days=back))
            if first > last or (first, last) in asked:
                continue
            pages = self._read(usage_plan_id, first, last)
            try:
                page = next(pages)
            except CallFailed as err:
                if err.code != "BadRequestException":
                    raise
                refused = err
                asked.add((first, last))
                continue
            if asked:
                self._answered = None if (back, left_out) == WHOLE else (back, left_out)
                logger.warning("GetUsage refuses %s to %s and answers from %s", start, end, first)
            yield page
            yield from pages
            return
        raise refused

    def _ranges(self) -> Iterator[tuple[int, int]]:
        """The range that worked before, then the whole one, then narrower ones."""
        first = self._answered
        if first is not None:
            yield first
        yield from (one for one in (WHOLE, *NARROWER) if one != first)

    def _read(self, usage_plan_id: str, first: date, last: date) -> Iterator[Mapping[str, Any]]:
        return self._calls.pages(
            "GetUsage",
            self._calls.client.get_usage,
            usagePlanId=usage_plan_id,
            startDate=str(first),
            endDate=str(last),
        )
