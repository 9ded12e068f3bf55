"""Forecasts when the account runs out of keys, from one count a day. Pure.

The net growth of each of the last 28 days is drawn again and again, by weeks, for what one weekday does
the next one does not; each drawing also stands for the doubt about the growth itself.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate, pairwise
from math import ceil, sqrt
from statistics import fmean, median, stdev

DAYS = 28  # of counts that the forecast is made from
FEWEST = 7  # days of growth, under which nothing is said
FARTHEST = 730  # days to come; what lies beyond is not in sight
PATHS = 400
LOW, HIGH = 0.08, 0.92  # of the paths: the range holds the real day in some 80 of 100
BULK = 8  # times the usual distance from the usual day: no trend, if it was on one day only
DOUBT = 1.3  # standard errors on either side hold a mean in 80 of 100
WEEK = 7
USUAL = 1.4826  # times the median distance: what a standard deviation is among ordinary days


@dataclass(frozen=True, slots=True)
class Growth:
    """Keys a day, net: the mean, and the range that holds it in 80 of 100."""

    a_day: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """Days from the last count until the account is full; None: not within two years.

    `growth` is None while there are too few days to know it.
    """

    growth: Growth | None
    days: int | None = None
    soonest: int | None = None
    latest: int | None = None

    @property
    def in_sight(self) -> bool:
        return self.days is not None


def forecast(counts: Mapping[date, int], service_quota: int, today: date | None = None) -> Forecast:
    """The forecast from the counts of some days, of which the last 28 are looked at.

    `today` is not over: its count says how much room is left, and nothing of a day's growth.
    """
    steps = _steps({day: keys for day, keys in counts.items() if day != today})
    if len(steps) < FEWEST:
        return Forecast(None)
    room = service_quota - counts[max(counts)]
    growth = _growth(steps)
    if growth.a_day <= 0:
        return Forecast(growth)
    reached = _paths(steps, room)
    at = [_quantile(reached, share) for share in (LOW, 0.5, HIGH)]
    if at[1] is None:
        return Forecast(growth)
    return Forecast(growth, days=at[1], soonest=at[0], latest=at[2])


def _steps(counts: Mapping[date, int]) -> list[float]:
    """The net growth of each day. Days without a count share what grew until the next one."""
    last = max(counts, default=date.min)
    days = sorted(day for day in counts if last - day <= timedelta(days=DAYS))
    steps: list[float] = []
    for before, after in pairwise(days):
        gap = (after - before).days
        steps += [(counts[after] - counts[before]) / gap] * gap
    return _without_bulk(steps)


def _without_bulk(steps: list[float]) -> list[float]:
    """Leaves out one day that is like no other: a bulk import, or a big cleaning."""
    if len(steps) < FEWEST + 1:
        return steps
    usual = median(steps)
    distance = max(1.0, USUAL * median(abs(step - usual) for step in steps))
    unusual = [index for index, step in enumerate(steps) if abs(step - usual) > BULK * distance]
    if len(unusual) != 1:
        return steps
    return [step for index, step in enumerate(steps) if index not in unusual]


def _growth(steps: list[float]) -> Growth:
    mean = fmean(steps)
    doubt = DOUBT * stdev(steps) / sqrt(len(steps))
    return Growth(mean, mean - doubt, mean + doubt)


def _paths(steps: list[float], room: int) -> list[int | None]:
    """On which day to come each of many drawings fills the room; sorted, None last."""
    chance = random.Random(len(steps))  # noqa: S311 - the same counts give the same forecast
    block = WEEK if len(steps) >= 2 * WEEK else 1
    looped = steps + steps
    # A mean of few days is known worse than drawing the same days again says.
    widen = sqrt(len(steps) / (len(steps) - block)) if len(steps) > block else 1.0
    mean = fmean(steps)
    reached: list[int | None] = []
    for _ in range(PATHS):
        starts = [chance.randrange(len(steps)) for _ in range(-(-len(steps) // block))]
        drawn = [
            mean + widen * (step - mean)
            for start in starts
            for step in looped[start : start + block]
        ]
        reached.append(_day_of(drawn, room, chance, block))
    return sorted(reached, key=lambda day: FARTHEST + 1 if day is None else day)


def _day_of(drawn: list[float], room: int, chance: random.Random, block: int) -> int | None:
    looped = drawn + drawn[:block]
    sums = [list(accumulate(looped[start : start + block])) for start in range(len(drawn))]
    peaks = [max(sums_of) for sums_of in sums]
    left = float(room)
    for day in range(0, FARTHEST, block):
        start = int(chance.random() * len(drawn))
        if peaks[start] >= left:
            return day + 1 + next(i for i, grown in enumerate(sums[start]) if grown >= left)
        left -= sums[start][-1]
    return None


def _quantile(reached: list[int | None], share: float) -> int | None:
    return reached[min(len(reached) - 1, int(share * len(reached)))]


def days_gained(more_keys: int, growth: Growth | None) -> int | None:
    """Days of the account's growth that so many slots last; None: it does not grow, or growth is unknown."""
    if growth is None or growth.a_day <= 0:
        return None
    return ceil(more_keys / growth.a_day)
