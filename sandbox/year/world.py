"""Makes up the year of an account that grows: who signs up, who stays, who comes back after months.

The keys and their habits are those of `sandbox.driver.population`; owners here also stop one day, and
some who stopped come back. The same seed makes the same year.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

from sandbox.driver.population import EXTERNAL, Habit, Kind, Population, SimulatedKey, population

WEEKDAYS = (1.2, 1.25, 1.2, 1.15, 1.0, 0.6, 0.6)  # Monday first, 1 on the mean day


@dataclass(frozen=True, slots=True)
class Plot:
    """What a year is like. Days are counted from its first, which is 0.

    `stays` is for how many days, on the mean, an owner goes on using a key; `come_back` the share
    of owners who stopped, or never began, and come back after months all the same.
    """

    first: date = date(2026, 1, 1)
    days: int = 365
    keys: int = 6_000
    sign_ups: float = 30.0  # a day
    stays: float = 500.0
    come_back: float = 0.06
    campaigns: tuple[range, ...] = (range(52, 66), range(266, 294))
    campaign: float = 3.0  # times as many sign-ups
    imported_on: int = 40
    imported: int = 300
    outage_on: int = 160
    held: range = range(16, 22)

    def day(self, index: int) -> date:
        """The date of a day."""
        return self.first + timedelta(days=index)


class World:
    """The keys that are there at the beginning, and those that every day brings."""

    def __init__(self, plot: Plot, seed: int = 1) -> None:
        self.plot = plot
        self._seed = seed
        until = plot.first - timedelta(days=1)
        self._population: Population = population(plot.keys, until, seed, plot.sign_ups)
        self.keys = tuple(self._lived(key, until) for key in self._population.keys)

    def sign_ups(self, index: int) -> Iterator[SimulatedKey]:
        """Those who sign up on a day."""
        day = self.plot.day(index)
        campaign = any(index in days for days in self.plot.campaigns)
        busy = WEEKDAYS[day.weekday()] * (self.plot.campaign if campaign else 1.0)
        for key in self._population.arrivals(day, busy):
            yield self._lived(key, day)

    def imported(self, index: int) -> Iterator[SimulatedKey]:
        """Keys that a script makes on one day, past keyjanitor."""
        if index != self.plot.imported_on:
            return
        day = self.plot.day(index)
        source = Population((), day, self._seed + 1, float(self.plot.imported))
        for key in source.arrivals(day)[: self.plot.imported]:
            yield self._lived(key, day)

    def _lived(self, key: SimulatedKey, day: date) -> SimulatedKey:
        """The key with the whole of its owner's habit, as far as it is to come after `day`."""
        draw = random.Random(f"{self._seed} {key.value}")
        today, habit = day.toordinal(), key.habit
        back = draw.random() < self.plot.come_back
        match key.kind:
            case Kind.ABANDONED if back:  # some weeks at work, then months away
                pause = draw.randrange(5, 30), draw.randrange(60, 200)
                return replace(key, habit=replace(habit, last=None, pause=pause))
            case Kind.NEVER_USED if back:  # begins weeks or months after the sign-up
                began = habit.first + draw.randrange(20, 150)
                return replace(key, habit=Habit(draw.uniform(1, 20), began))
            case _ if habit.per_day and habit.last is None and EXTERNAL.name in key.plans:
                stays = int(draw.expovariate(1 / self.plot.stays))
                return replace(key, habit=replace(habit, last=max(today, habit.first) + stays))
        return key
