"""What each key was used on each day, and what that leaves of its quota."""

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import repeat
from typing import Any

# What AWS shows as `remaining` for a plan without a quota is not documented and was not recorded
# (believed: AF-312).
UNLIMITED = 2_147_483_647


@dataclass(frozen=True, slots=True)
class Quota:
    """A usage plan's quota: `limit` requests a DAY, WEEK or MONTH of UTC dates.

    A week starts on Sunday, `offset` days later if given; months are calendar months (believed:
    AF-311).
    """

    limit: int
    period: str = "DAY"
    offset: int = 0

    @classmethod
    def of_plan(cls, plan: Mapping[str, Any]) -> "Quota | None":
        """The quota of a usage plan as API Gateway describes it, or None."""
        raw = plan.get("quota") or {}
        if raw.get("limit") is None:
            return None
        return cls(int(raw["limit"]), str(raw.get("period", "DAY")), int(raw.get("offset") or 0))

    def starts(self, day: int) -> int:
        """The first day of the period that `day` is in; days are ordinals."""
        return _period_start(self.period, self.offset, day)


@lru_cache(maxsize=10_000)
def _period_start(period: str, offset: int, day: int) -> int:
    if period == "WEEK":
        return day - (day - offset) % 7
    if period == "MONTH":
        return date.fromordinal(day - offset).replace(day=1).toordinal() + offset
    return day


@lru_cache(maxsize=1_000)
def _starts(quota: Quota, days: range) -> tuple[int, ...]:
    """The first day of each day's period."""
    return tuple(map(quota.starts, days))


class Usage:
    """Requests by usage plan, key id and day.

    A counter belongs to a plan and a key id (believed: AF-313): it stays when the key leaves the plan, and a key that
    is created again under a new id starts at zero.
    """

    def __init__(self) -> None:
        self._used: defaultdict[str, dict[str, dict[int, int]]] = defaultdict(dict)
        self._granted: dict[tuple[str, str, int], int] = {}
        self._recent: deque[tuple[datetime, str, str, int]] = deque(maxlen=500_000)

    def count(self, plan_id: str, key_id: str, when: datetime) -> None:
        """Count one request at `when`."""
        day = when.toordinal()
        self.add(plan_id, key_id, day, 1)
        self._recent.append((when, plan_id, key_id, day))

    def add(self, plan_id: str, key_id: str, day: int, used: int) -> None:
        """Add `used` requests to a day, given as an ordinal."""
        days = self._used[plan_id].setdefault(key_id, {})
        days[day] = days.get(day, 0) + used

    def forget(self) -> None:
        """Start from zero."""
        self._used.clear()
        self._granted.clear()
        self._recent.clear()

    def known_keys(self, plan_id: str) -> set[str]:
        """Ids of every key that ever used the plan."""
        return set(self._used[plan_id])

    def left(self, plan_id: str, key_id: str, quota: Quota, day: int) -> int:
        """What is left of the quota on `day`, after that day's requests; never under 0."""
        start = quota.starts(day)
        days = self._used[plan_id].get(key_id, {})
        used = sum(days.get(n, 0) for n in range(start, day + 1))
        return max(0, quota.limit + self._granted.get((plan_id, key_id, start), 0) - used)

    def grant(self, plan_id: str, key_id: str, quota: Quota, day: int, remaining: int) -> None:
        """Let `remaining` requests be left of the period that `day` is in (UpdateUsage)."""
        start = quota.starts(day)
        days = self._used[plan_id].get(key_id, {})
        used = sum(days.get(n, 0) for n in range(start, day + 1))
        self._granted[plan_id, key_id, start] = remaining + used - quota.limit

    def not_yet_shown(
        self, plan_id: str, now: datetime, lag: timedelta
    ) -> Counter[tuple[str, int]]:
        """The plan's requests of the last `lag`, by key id and day: metering runs behind."""
        hidden: Counter[tuple[str, int]] = Counter()
        for when, of_plan, key_id, day in reversed(self._recent):
            if when <= now - lag:
                break
            if of_plan == plan_id:
                hidden[key_id, day] += 1
        return hidden

    def pairs(
        self,
        plan_id: str,
        key_id: str,
        days: range,
        quota: Quota | None,
        hidden: Mapping[tuple[str, int], int],
    ) -> list[list[int]]:
        """`[used, remaining]` for each of `days`."""
        shown = self._used[plan_id].get(key_id, {})
        if hidden:
            shown = {day: used - hidden.get((key_id, day), 0) for day, used in shown.items()}
        get = shown.get
        if quota is None:
            return [[get(day, 0), UNLIMITED] for day in days]
        pairs = []
        start = quota.starts(days.start)
        limit = quota.limit + self._granted.get((plan_id, key_id, start), 0)
        used_so_far = sum(map(get, range(start, days.start), repeat(0)))
        for day, start_of_its_period in zip(days, _starts(quota, days), strict=True):
            if start_of_its_period != start:
                start, used_so_far = start_of_its_period, 0
                limit = quota.limit + self._granted.get((plan_id, key_id, start), 0)
            used = get(day, 0)
            used_so_far += used
            pairs.append([used, limit - used_so_far if used_so_far < limit else 0])
        return pairs

    def was_used(self, plan_id: str, key_id: str, days: range) -> bool:
        """Whether a request was counted on one of `days`."""
        return not self._used[plan_id].get(key_id, {}).keys().isdisjoint(days)
