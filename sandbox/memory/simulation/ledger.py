"""The ledger of a simulated life: its rows as values.

It runs through the same suite as `Ledger` (tests/contract/adapters/test_ledger.py). It is not that
adapter on the DynamoDB in memory because each night reads every row: of 8,000 keys that takes 0.1 s of
processor time instead of none, 35 s a year beside the 150 s that the rest of it takes.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, Unpack

from keyjanitor.adapters.ledger import COUNTED, SWEEP, Change
from keyjanitor.domain.model.keys import LIVE_STATES, State
from keyjanitor.domain.model.records import (
    Announcement,
    Burst,
    CountRow,
    NightFields,
    NightRow,
    PressureRow,
    RequestRow,
    Row,
)
from keyjanitor.domain.model.shelf import Shelf
from keyjanitor.errors import AlreadyRunning, ClaimLost, Held


class Memory:
    """The ledger: rows that are written only by who has read their last version."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}  # of keys that live in API Gateway
        self.gone: dict[str, Row] = {}  # of keys that have left it
        self.night_rows: dict[date, NightRow] = {}
        self.count_rows: dict[date, CountRow] = {}
        self._pressure_row: PressureRow | None = None
        self.held: str | None = None
        self.leases: dict[str, tuple[str, datetime]] = {}  # holder, and until when
        self.outbox: dict[str, Announcement] = {}

    # --- leases -----------------------------------------------------------------------------------

    def take_lease(self, holder: str, at: datetime, seconds: float, name: str = SWEEP) -> None:
        held = self.leases.get(name)
        if held is not None and held[0] != holder and held[1] >= at:
            raise AlreadyRunning(name, held[1])
        self.leases[name] = holder, at + timedelta(seconds=seconds)

    def lease_until(self, name: str = SWEEP) -> datetime | None:
        held = self.leases.get(name)
        return held[1] if held else None

    def give_lease_back(self, holder: str, name: str = SWEEP) -> None:
        held = self.leases.get(name)
        if held is not None and held[0] == holder:
            del self.leases[name]

    # --- rows -------------------------------------------------------------------------------------

    def find(self, key_id: str) -> Row | None:
        """A key's row, wherever it is."""
        return self.rows.get(key_id) or self.gone.get(key_id)

    def live_rows(self) -> dict[str, Row]:
        return dict(self.rows)

    def rows_to_count(self) -> dict[str, Row]:
        return {
            key_id: Row(key_id, **{name: getattr(row, name) for name in COUNTED})
            for key_id, row in self.rows.items()
        }

    def row(self, key_id: str) -> Row | None:
        return self.rows.get(key_id)

    def requests(self, _: Sequence[str]) -> dict[str, RequestRow]:
        return {}  # no run of a simulation dies while it makes keys

    def row_of_any(self, key_id: str) -> Row | None:
        row = self.find(key_id)
        while row is not None and row.state is State.RESTORED and row.new_key_id is not None:
            row = self.find(row.new_key_id)
        return row

    def holders(self) -> Counter[tuple[str, str | None]]:
        return Counter((row.tier, row.owner) for row in self.rows.values())

    def parked_keys(self, today: date, until: date | None = None) -> Shelf:
        return Shelf.of(self.gone.values(), today, until)

    def parked_on_sweep(self, day: date) -> list[Row]:
        return [
            row
            for row in self.gone.values()
            if row.state is State.PARKED and day in (row.disabled_on, row.parked_on)
        ]

    def commit(self, changes: Iterable[Change], *, unless_held: bool = False) -> list[Row]:
        written: list[Row] = []
        for change in changes:
            if unless_held and self.held:
                raise Held(self.held)
            if self._is_as_read(change):
                written.append(self._write(change))
        return written

    def commit_one(self, change: Change, *, unless_held: bool = False) -> Row:
        written = self.commit([change], unless_held=unless_held)
        if not written:
            raise ClaimLost(change.after.key_id)
        return written[0]

    def commit_together(self, *changes: Change) -> bool:
        if not all(map(self._is_as_read, changes)):
            return False
        for change in changes:
            self._write(change)
        return True

    def _is_as_read(self, change: Change) -> bool:
        stands = self.find(change.after.key_id)
        version = change.before.version if change.before else 0
        return (stands.version if stands else 0) == version

    def _write(self, change: Change) -> Row:
        version = change.before.version if change.before else 0
        row = replace(change.after, version=version + 1)
        here, there = (self.rows, self.gone) if row.state in LIVE_STATES else (self.gone, self.rows)
        here[row.key_id] = row
        there.pop(row.key_id, None)
        self.outbox.update({one.announcement_id: one for one in change.announcements})
        self.sent(change.taken)
        return row

    # --- nights, counts, pressure -----------------------------------------------------------------

    def night(self, day: date) -> NightRow:
        return self.night_rows.get(day, NightRow(day))

    def nights(self, since: date, until: date) -> dict[date, NightRow]:
        return {day: row for day, row in self.night_rows.items() if since <= day <= until}

    def nights_of(self, days: Iterable[date]) -> dict[date, NightRow]:
        return {day: self.night_rows[day] for day in days if day in self.night_rows}

    def remember(self, day: date, **fields: Unpack[NightFields]) -> None:
        changed: dict[str, Any] = {**fields}
        if "told" in changed:
            changed["told"] = tuple(changed["told"])
        if "called" in changed:
            changed["called"] = tuple(changed["called"])
        self.night_rows[day] = replace(self.night(day), **changed)

    def add_revoked(self, day: date, keys: int) -> None:
        self.remember(day, revoked=self.night(day).revoked + keys)

    def put_count(self, count: CountRow) -> None:
        self.count_rows[count.date] = count

    def counts(self, since: date, until: date) -> dict[date, CountRow]:
        return {day: row for day, row in self.count_rows.items() if since <= day <= until}

    def put_pressure_row(self, pressure_row: PressureRow) -> None:
        self._pressure_row = pressure_row

    def pressure_row(self) -> PressureRow | None:
        return self._pressure_row

    def bursts(self) -> tuple[Burst, ...]:
        return ()

    def hold(self) -> str | None:
        return self.held

    def put_hold(self, why: str, at: datetime) -> None:  # noqa: ARG002
        self.held = why

    def lift_hold(self) -> None:
        self.held = None

    # --- outbox -----------------------------------------------------------------------------------

    def unsent(self, at: datetime | None = None) -> list[Announcement]:
        waiting = [self.outbox[name] for name in sorted(self.outbox)]
        return [one for one in waiting if not (at and one.not_before and one.not_before > at)]

    def sent(self, announcements: Sequence[Announcement]) -> None:
        for one in announcements:
            self.outbox.pop(one.announcement_id, None)
