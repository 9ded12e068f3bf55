"""How keys were used in the days of one reading: on how many days, and after which silence they came back. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from keyjanitor.domain.model.keys import DAY, ApiKey
from keyjanitor.domain.usage.plan_usage import NOT_TOLD, USAGE_DAYS, PlanUsage


@dataclass(frozen=True, slots=True)
class Habit:
    """How one key was used in the days of a reading; all numbers are days.

    `gap`: its longest silence before a use. Of a key that was made before the first day of which its
    use is known, the days from there to its first use are such a silence too: it may have been longer.
    `first_use_after`: from the day on which a younger key was made to its first use. None: there is
    no such silence, or no such first use.
    """

    days_used: int
    gap: int | None
    first_use_after: int | None


def habits_of(
    today: date, keys: Iterable[ApiKey], usages: Mapping[str, PlanUsage]
) -> dict[str, Habit]:
    """The habits of all keys that were used in the days of a reading, by key id.

    `usages` are those of the usage plans that were read to the end, with all days of their keys. What
    API Gateway tells of a plan may begin later than was asked: days before that are no silence.
    """
    used: dict[str, set[date]] = {}
    known_from: dict[str, date] = {}
    for usage in usages.values():
        begins = max(usage.history_from, today - DAY * USAGE_DAYS)
        for key_id in usage.days:
            used.setdefault(key_id, set()).update(days_used(usage, key_id))
            known_from[key_id] = min(begins, known_from.get(key_id, begins))
    return {
        key.key_id: _habit(key.created_date.date(), known_from[key.key_id], sorted(days))
        for key in keys
        if (days := used.get(key.key_id))
    }


def days_used(usage: PlanUsage, key_id: str) -> Iterator[date]:
    """The days on which a key was used in a plan, as `PlanUsage.last_used` counts them."""
    numbers = usage.days.get(key_id, ())
    dates = usage.dates[(usage.history_from - usage.start).days :]
    for day, used, remaining in zip(dates, numbers[::2], numbers[1::2], strict=False):
        closed = usage.plan.has_quota and remaining != NOT_TOLD and remaining <= 0
        if used or closed:
            yield day


def _habit(created: date, first_day: date, days: list[date]) -> Habit:
    gaps = [(later - earlier).days for earlier, later in pairwise(days)]
    after = None
    if created > first_day:
        after = max(0, (days[0] - created).days)
    else:
        gaps.append((days[0] - first_day).days)
    return Habit(len(days), max(filter(None, gaps), default=None), after)
