"""Sums up the daily usage files: use by tier and owner, and keys that will hit their quota. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from statistics import fmean
from typing import Any

from keyjanitor.domain.model.keys import DAY
from keyjanitor.domain.model.policy import Quota
from keyjanitor.domain.model.usage_plan import UsagePlan

USE_DAYS = 30  # that are shown
RATE_DAYS = 7  # of a key's use, that its further use is judged by
Row = Mapping[str, Any]  # a row of a usage file


@dataclass(frozen=True, slots=True)
class Spent:
    """Used and remaining quota of a key in its plan at the end of a day."""

    day: date
    used: int
    remaining: int | None


@dataclass(slots=True)
class KeyUse:
    """The requests of one key, by day; of its plans the last days of which they are known."""

    by_day: list[int]
    plans: dict[str, list[Spent]] = field(default_factory=dict)


class Use:
    """Use of some days by their usage files, the oldest day first."""

    def __init__(self, days: Sequence[date]) -> None:
        self.days = tuple(days)
        self._index = {day: index for index, day in enumerate(self.days)}
        self.keys: dict[str, KeyUse] = {}
        self.by_plan: dict[str, dict[str, int]] = {}  # requests of each key that is known in a plan
        self.plans_missing: dict[date, frozenset[str]] = {}
        self.days_known: set[date] = set()
        self.keys_unknown: set[str] = set()  # with a day in a plan whose use is not known

    def add(self, day: date, rows: Iterable[Row]) -> None:
        """Takes the rows of a day's file in. A day without rows stays unknown.

        A plan is missing on a day on which nothing is known of any of its keys.
        """
        known: set[str] = set()
        missing: set[str] = set()
        for row in rows:
            if row["key_id"] is None or row["used"] is None:
                missing.add(row["plan_id"])
                if row["key_id"] is not None:
                    self.keys_unknown.add(row["key_id"])
            else:
                known.add(row["plan_id"])
                self._count(day, row)
        if known or missing:
            self.days_known.add(day)
        self.plans_missing[day] = frozenset(missing - known)

    def _count(self, day: date, row: Row) -> None:
        use = self.keys.get(row["key_id"])
        if use is None:
            use = self.keys[row["key_id"]] = KeyUse([0] * len(self.days))
        index = self._index[day]
        use.by_day[index] += row["used"]
        in_plan = self.by_plan.setdefault(row["plan_id"], {})
        in_plan[row["key_id"]] = in_plan.get(row["key_id"], 0) + row["used"]
        if index >= len(self.days) - RATE_DAYS:
            spent = Spent(day, row["used"], row["remaining"])
            use.plans.setdefault(row["plan_id"], []).append(spent)

    @property
    def missing(self) -> tuple[date, ...]:
        """The days of which nothing is known."""
        return tuple(day for day in self.days if day not in self.days_known)

    def requests(self, key_id: str) -> int | None:
        """A key's requests on the days that are known; None if none is.

        A zero is only said if every day is known, in all of the key's plans.
        """
        use = self.keys.get(key_id)
        if use is None:
            return None
        used = sum(use.by_day)
        return used if used or (key_id not in self.keys_unknown and not self.missing) else None

    def by_day(self, key_ids: Iterable[str], plan_ids: frozenset[str]) -> list[int | None]:
        """The requests of some keys on each day; None where a plan of theirs was not read.

        None throughout if nothing is known of any of them.
        """
        known = [self.keys[key_id].by_day for key_id in key_ids if key_id in self.keys]
        if not known:
            return [None] * len(self.days)
        sums = [sum(used) for used in zip(*known, strict=True)]
        return [
            None
            if day not in self.days_known or plan_ids & self.plans_missing.get(day, frozenset())
            else used
            for day, used in zip(self.days, sums, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class NearQuota:
    """A key that has used up its quota, or will before the period ends at its present rate."""

    key_id: str
    plan: UsagePlan
    used: int
    remaining: int
    runs_out_on: date
    resets_on: date


def near_quota(use: Use, plans: Iterable[UsagePlan], today: date) -> list[NearQuota]:
    """The keys that will use up their quota, in the order of the date on which they do.

    Each key is assumed to go on at the mean of its last seven known days, and to use up a daily quota
    again if it did yesterday.
    """
    found = [
        near
        for plan in plans
        if plan.quota is not None
        for key_id, key_use in use.keys.items()
        if (spent := key_use.plans.get(plan.usage_plan_id))
        and (near := _near(key_id, plan, plan.quota, spent, today))
    ]
    return sorted(found, key=lambda one: (one.runs_out_on, one.remaining, one.key_id))


def _near(
    key_id: str, plan: UsagePlan, quota: Quota, spent: Sequence[Spent], today: date
) -> NearQuota | None:
    last = max(spent, key=lambda one: one.day)
    if last.remaining is None or today - last.day > DAY * RATE_DAYS:
        return None
    began, resets_on = period(quota.period, plan.offset, today)
    used_up = last.remaining <= 0
    # The remainder of an earlier period says nothing about this one.
    remaining = max(0, last.remaining) if last.day >= began else quota.limit
    if used_up and last.day >= began:
        return NearQuota(key_id, plan, quota.limit, 0, last.day, resets_on)
    if used_up and quota.period == "DAY":  # today's use is not known yet
        return NearQuota(key_id, plan, 0, quota.limit, today, resets_on)
    a_day = fmean(one.used for one in spent if today - one.day <= DAY * RATE_DAYS)
    if a_day <= 0:
        return None
    runs_out_on = today + DAY * int(remaining / a_day)
    if runs_out_on >= resets_on:
        return None
    used = max(0, quota.limit - remaining)
    return NearQuota(key_id, plan, used, remaining, runs_out_on, resets_on)


def period(name: str, offset: int, today: date) -> tuple[date, date]:
    """The first day of the period that `today` is in, and of the next one; UTC dates.

    A week starts on Sunday, `offset` days later if given; months are those of the calendar (believed:
    AF-311).
    """
    if name == "WEEK":
        began = today - DAY * ((today.isoweekday() - offset) % 7)
        return began, began + DAY * 7
    if name == "MONTH":
        began = (today - DAY * offset).replace(day=1)
        return began + DAY * offset, (began + DAY * 31).replace(day=1) + DAY * offset
    return today, today + DAY
