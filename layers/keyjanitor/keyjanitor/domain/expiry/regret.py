"""Counts what the sweeps cost key holders: keys that came back within a month of being taken. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from keyjanitor.domain.model.keys import DAY, State
from keyjanitor.domain.model.records import NightRow, Row

REGRET_DAYS = 30


@dataclass(frozen=True, slots=True)
class Regret:
    """The keys that sweeps disabled or parked after the date `since`, each once.

    `back` are the rows of those that came back after `since`, latest first. `away` is the number of
    those that did not.
    """

    since: date
    back: tuple[Row, ...]
    away: int

    @property
    def percent(self) -> float | None:
        """Of a hundred keys that were taken, how many came back; None: no key was taken."""
        taken = len(self.back) + self.away
        return round(100 * len(self.back) / taken, 1) if taken else None


def regret(today: date, rows: Mapping[str, Row], nights: Mapping[date, NightRow]) -> Regret:
    """The regret of the 30 days up to `today`.

    `rows` are the ledger's of living keys, `nights` those of the same days.
    """
    since = today - DAY * REGRET_DAYS
    back = [row for row in rows.values() if row.regretted_on and row.regretted_on > since]
    away = sum(
        row.state is State.DISABLED and bool(row.disabled_on and row.disabled_on > since)
        for row in rows.values()
    )
    away += sum(night.parked for day, night in nights.items() if day > since)
    away -= sum(bool(row.was_parked_on and row.was_parked_on > since) for row in back)
    latest_first = sorted(back, key=lambda row: (-_day(row), row.key_id))
    return Regret(since, tuple(latest_first), away)


def _day(row: Row) -> int:
    return row.regretted_on.toordinal() if row.regretted_on else 0
