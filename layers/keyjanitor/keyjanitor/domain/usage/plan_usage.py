"""Reduces the pages of GetUsage to what is kept of them. Pure."""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain
from typing import Any

from keyjanitor.domain.model.keys import DAY
from keyjanitor.domain.model.usage_plan import UsagePlan
from keyjanitor.errors import UnexpectedAnswer

USAGE_DAYS = 90  # GetUsage returns about the last 90 days (seen: AF-301)
HISTORY_DAYS = 3  # of the usage files, written again every night: use has a lag (seen: AF-303)
# GetUsage returns *about* the last 90 days: its oldest days may drop out a little earlier or later,
# so two readings are not compared on them.
EDGE_DAYS = 10

NOT_TOLD = -(2**63)  # marks a `remaining` that API Gateway did not return


@dataclass(frozen=True, slots=True)
class UsagePage:
    """One page of GetUsage: for each key id one [used, remaining] a day from `start` to `end`."""

    start: date
    end: date
    items: Mapping[str, Sequence[Any] | None]


class PlanUsage:
    """Reduces the pages of one plan's usage, as they come, to what is kept of them.

    `start` and `end` are the first and the last day of the call; if the answer begins later, `start`
    becomes its first day, and days before it prove nothing. The usage files get the days from
    `history_from` (default: HISTORY_DAYS before `end`) to the day before `end`, which is not over.
    Days are UTC dates as API Gateway counts them. Unless `kept`, the days of single keys are dropped
    and the usage files get none. `same` holds one text for each id, for all plans.
    """

    def __init__(
        self,
        plan: UsagePlan,
        start: date,
        end: date,
        history_from: date | None = None,
        *,
        kept: bool = True,
        same: dict[str, str] | None = None,
    ) -> None:
        self.plan = plan
        self.end = end
        self.kept = kept
        self._same = {} if same is None else same
        self.history_from = history_from or end - DAY * HISTORY_DAYS
        self._begin(start)
        self.read_through = end - DAY
        self.last_used: dict[str, date] = {}
        self.used_by_day: dict[date, int] = {}
        self.had_requests = False
        self.pages = 0
        self.ids: set[str] = set()
        self.unclear: set[str] = set()
        # Requests of each key that had any and whose days fit, on the days that the next night's
        # reading is compared with: without `end`, which is not over.
        self.used: dict[str, int] = {}
        self.days: dict[str, array[int]] = {}  # of each key, from `history_from` on
        # The number of ids that may be values, and their requests. An earlier run of this reading
        # read them, and did not write the ids down.
        self.odd_ids = 0
        self.odd_used = 0

    def add(self, page: UsagePage) -> None:
        """Adds one page.

        Raises UnexpectedAnswer if the page has other days than the call (the first page may start
        later, the others must start where it did, and each must reach the day before yesterday), or
        holds something other than numbers.
        """
        if self.pages == 0 and self.start < page.start <= page.end:
            self._begin(page.start)
        if page.start != self.start:
            raise UnexpectedAnswer("GetUsage", f"starts on {page.start}, asked was {self.start}")
        if page.end < self.end - 2 * DAY:
            raise UnexpectedAnswer("GetUsage", f"ends on {page.end}, asked was {self.end}")
        self.pages += 1
        self.read_through = min(self.read_through, page.end)
        days = (page.end - page.start).days + 1
        for key_id, pairs in page.items.items():
            if pairs is not None and not isinstance(pairs, list | tuple):
                raise UnexpectedAnswer("GetUsage", "the days of a key are no list")
            again = key_id in self.ids
            key_id = self._same.setdefault(key_id, key_id)  # noqa: PLW2901 (the same text)
            self.ids.add(key_id)
            if pairs:  # a key without requests may have an empty list or be missing (seen: AF-302)
                self._add_key(key_id, pairs, days, again=again)

    def _begin(self, start: date) -> None:
        self.start = start
        self.dates = [start + DAY * index for index in range((self.end - start).days + 1)]
        self._compared = range(EDGE_DAYS + 1, len(self.dates) - 1)  # see `used`
        self.history_from = max(start, self.history_from)

    @property
    def days_kept(self) -> int:
        """Number of days of each key that are kept for the usage files."""
        return (self.end - self.history_from).days + 1 if self.kept else 0

    @property
    def last_request(self) -> date | None:
        """The last day before `end` on which any key of the plan had a request."""
        days = (day for day, used in self.used_by_day.items() if used and day < self.end)
        return max(days, default=None)

    def tells_of(self, key_id: str) -> bool:
        """True if the answer had one number for each day of a key."""
        return key_id in self.days

    def on(self, day: date, key_id: str) -> tuple[int, int | None]:
        """(used, remaining) of a key on a day from `history_from` through `read_through`.

        A complete answer leaves out keys without requests: that is (0, None). For the keys in
        `unclear` the number is unknown: do not ask.
        """
        days = self.days.get(key_id)
        if days is None:
            return 0, None
        index = 2 * (day - self.history_from).days
        remaining = days[index + 1]
        return days[index], None if remaining == NOT_TOLD else remaining

    def _add_key(self, key_id: str, pairs: Sequence[Any], days: int, *, again: bool) -> None:
        """Adds the days of one key; a key that is on a second page too is counted once."""
        fits = len(pairs) == days
        has_quota = self.plan.has_quota
        last = -1
        total = 0
        told = [_pair(pair) for pair in pairs]
        for index, (used, remaining) in enumerate(told):
            # With a quota, a day with nothing left counts as use: the key may still be sending
            # requests, which are refused (docs/life-of-a-key.md).
            if used or (has_quota and remaining is not None and remaining <= 0):
                last = index
                if used and not again:
                    total += used if index in self._compared else 0
                    self._count(used, self.dates[index] if fits else self.end)
        if last >= 0:
            # With fewer pairs than days it is unknown which days they are: assume the last, to be safe.
            day = self.dates[last] if fits else self.end
            self.last_used[key_id] = max(day, self.last_used.get(key_id, day))
        if not fits:
            self.unclear.add(key_id)
            return
        if total:
            self.used[key_id] = total
        if self.kept and not again:
            self.days[key_id] = _numbers(told[(self.history_from - self.start).days :])

    def _count(self, used: int, day: date) -> None:
        self.had_requests = True
        self.used_by_day[day] = self.used_by_day.get(day, 0) + used


def _numbers(told: Iterable[tuple[int, int | None]]) -> "array[int]":
    """Used and remaining of each day in turn; an array takes a sixth of the memory of lists."""
    try:
        return array(
            "q",
            (NOT_TOLD if number is None else number for number in chain.from_iterable(told)),
        )
    except OverflowError:
        raise UnexpectedAnswer("GetUsage", "a day's number is too large") from None


def _pair(pair: Any) -> tuple[int, int | None]:
    """(used, remaining) of one day; a day without requests may have another shape, or be null."""
    if type(pair) is list and len(pair) == 2:  # noqa: PLR2004 (the common case, 900,000 times a night)
        used, remaining = pair
        if type(used) is int and type(remaining) is int:
            return used, remaining
    if pair is None:
        return 0, None
    numbers = list(pair) if isinstance(pair, list | tuple) else [pair]
    if not all(type(number) is int for number in numbers):
        raise UnexpectedAnswer("GetUsage", "a day's pair holds something other than whole numbers")
    return (numbers[0] if numbers else 0), (numbers[1] if len(numbers) > 1 else None)
