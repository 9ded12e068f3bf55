"""Talks to the ledger: the DynamoDB table that remembers what API Gateway does not.

Its partitions (`pk`): KEY, the rows of keys that live in API Gateway; SHELF, those of keys that have
left it; NIGHT and COUNT, a row a date; CONTROL, the hold and the pressure rules; LEASE, a run at a time; OUTBOX,
events that the bus has not taken yet. `sk` is the key id, the date, or a name. What it remembers of requests is in `request_store`,
of alerts in `alert_store`. Which role may read or write which partition is in template.yaml (`dynamodb:LeadingKeys`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Unpack

from keyjanitor.adapters.dynamodb import ABSENT, TRANSACTION, Item, Table, Write
from keyjanitor.adapters.record_codec import from_values, to_values
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

CLOSED_ROWS_KEPT = timedelta(days=400)

SWEEP = "sweep"  # the lease of expire_keys, which undo has too
COUNT = "count"  # of watch_capacity
REPORT = "report"  # of publish_report
READING = "reading"  # of pull_usage
OF_THE_NIGHT = (READING, SWEEP, COUNT, REPORT)  # they share one number of calls a second

# The fields of a row that a count of the account reads.
COUNTED = (
    *("state", "tier", "owner", "issued", "adopted_on", "warned_on", "disabled_on", "park_on"),
    *("regretted_on", "was_parked_on"),
)

RESTORES = 100  # of one key, whose ids are followed

_HOLD = {"pk": "CONTROL", "sk": "hold"}
ADMISSIONS = {"pk": "ADMISSIONS", "sk": "admissions"}
_PRESSURE = {"pk": "CONTROL", "sk": "ladder"}  # the name under which it is stored


@dataclass(frozen=True, slots=True)
class Change:
    """One row as it was read (`before`; None: there was none) and as it shall be.

    It is written only if no other run has written the row since. A row whose new state belongs to
    the other partition moves there. `announcements` go into the outbox with it, and those of `taken`
    out of it, all or nothing.
    """

    before: Row | None
    after: Row
    announcements: tuple[Announcement, ...] = ()
    taken: tuple[Announcement, ...] = ()


class Ledger:
    """The ledger's table."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.held_by = ""  # the run that took a lease here last

    # --- rows -------------------------------------------------------------------------------------

    def live_rows(self) -> dict[str, Row]:
        """The rows of all keys that live in API Gateway, by key id."""
        return {row.key_id: row for row in map(_row, self._table.query("KEY"))}

    def rows_to_count(self) -> dict[str, Row]:
        """The rows of all keys that live in API Gateway, by key id, with the fields COUNTED alone.

        The other fields are a new row's. No commit takes such a row: its version is 0.
        """
        items = self._table.query("KEY", only=("sk", *COUNTED))
        return {row.key_id: row for row in map(_row, items)}

    def row(self, key_id: str) -> Row | None:
        """One live key's row as it is this moment."""
        item = self._table.get({"pk": "KEY", "sk": key_id})
        return _row(item) if item else None

    def row_of_any(self, key_id: str) -> Row | None:
        """The row of a key, alive or not, by its id or by one that it had before a restore."""
        for _ in range(RESTORES):
            if row := self.row(key_id):
                return row
            item = self._table.get({"pk": "SHELF", "sk": key_id})
            row = _row(item) if item else None
            if row is None or row.state is not State.RESTORED or row.new_key_id is None:
                return row
            key_id = row.new_key_id
        return None

    def requests(self, row_ids: Sequence[str]) -> dict[str, RequestRow]:
        """Those of the requests that the ledger knows, by their `row_id`."""
        return {item["sk"]: request_of(item) for item in self._table.get_all("REQUEST", row_ids)}

    def holders(self) -> Counter[tuple[str, str | None]]:
        """The number of living keys by (tier, owner)."""
        rows = self._table.query("KEY", only=("tier", "owner"))
        return Counter((item["tier"], item.get("owner")) for item in rows)

    def parked_keys(self, today: date, until: date | None = None) -> Shelf:
        """The keys that are parked, as tonight needs them; read page by page.

        Due are those that are to be purged by today, or by another date.
        """
        return Shelf.of(self._shelf(), today, until)

    def parked_on_sweep(self, day: date) -> list[Row]:
        """The parked keys that the sweeps of a date disabled or parked."""
        return [
            row
            for row in self._shelf()
            if row.state is State.PARKED and day in (row.disabled_on, row.parked_on)
        ]

    def _shelf(self) -> Iterator[Row]:
        return map(_row, self._table.query("SHELF"))

    def commit(self, changes: Iterable[Change], *, unless_held: bool = False) -> list[Row]:
        """Writes each change if its row is as it was read; gives the rows that were written.

        A row that another run has written meanwhile is left as it is. With `unless_held` nothing is
        written once an operator holds, and Held is raised.
        """
        written: list[Row] = []
        for batch in _batches(changes, TRANSACTION - 1):
            rows = self._commit_batch(batch, unless_held=unless_held)
            if rows is None:
                # One of them is lost; who it is shows one by one.
                for change in batch:
                    written += self._commit_batch([change], unless_held=unless_held) or []
            else:
                written += rows
        return written

    def commit_one(self, change: Change, *, unless_held: bool = False) -> Row:
        """Writes one change and gives its row; raises ClaimLost if another run was first."""
        written = self.commit([change], unless_held=unless_held)
        if not written:
            raise ClaimLost(change.after.key_id)
        return written[0]

    def commit_together(self, *changes: Change) -> bool:
        """Writes all of the changes or none; False if a row is not as it was read."""
        return self._commit_batch(list(changes), unless_held=False) is not None

    def _commit_batch(self, batch: Sequence[Change], *, unless_held: bool) -> list[Row] | None:
        writes: list[Write] = []
        rows: list[Row] = []
        for change in batch:
            row = replace(change.after, version=(change.before.version if change.before else 0) + 1)
            rows.append(row)
            writes += row_writes(self._table, change.before, row)
            writes += [self._table.put(outbox_item(one)) for one in change.announcements]
            writes += [self._table.delete(_outbox_key(one)) for one in change.taken]
        if unless_held:
            writes.insert(0, self._table.must_be_absent(_HOLD))
        failed = self._table.transact(writes)
        if failed is None:
            return rows
        if unless_held and 0 in failed:
            raise Held(self.hold() or "it was held and resumed")
        return None

    # --- capacity ---------------------------------------------------------------------------------

    def put_pressure_row(self, pressure_row: PressureRow) -> None:
        """Remembers which pressure rule is in force, and what the rules above it would free."""
        self._table.put_now({**_PRESSURE, **to_values(pressure_row)})

    def pressure_row(self) -> PressureRow | None:
        """The state of the pressure rules as the last sweep wrote it; None if there was none."""
        item = self._table.get(_PRESSURE)
        return from_values(PressureRow, item) if item else None

    def bursts(self) -> tuple[Burst, ...]:
        """The last times that the budgets of new keys were spent."""
        item = self._table.get(ADMISSIONS) or {}
        return tuple(from_values(Burst, one) for one in item.get("bursts", ()))

    def put_count(self, count: CountRow) -> None:
        """Writes a date's count over the one before it; counts do not expire."""
        self._table.put_now({"pk": "COUNT", "sk": str(count.date), **to_values(count)})

    def counts(self, since: date, until: date) -> dict[date, CountRow]:
        """The last counts of the dates from one to the other, of those that were counted."""
        items = self._table.query("COUNT", between=(str(since), str(until)))
        rows = [from_values(CountRow, {**item, "date": item["sk"]}) for item in items]
        return {row.date: row for row in rows}

    # --- nights -----------------------------------------------------------------------------------

    def night(self, day: date) -> NightRow:
        """The row of a date's sweeps; an empty one if there was none."""
        return _night(day, self._table.get({"pk": "NIGHT", "sk": str(day)}) or {})

    def add_revoked(self, day: date, keys: int) -> None:
        """Counts keys that were revoked on a date."""
        self._table.add_now({"pk": "NIGHT", "sk": str(day)}, "revoked", keys)

    def nights(self, since: date, until: date) -> dict[date, NightRow]:
        """The rows of the sweeps of the dates from `since` to `until`, both included."""
        return _by_date(self._table.query("NIGHT", between=(str(since), str(until))))

    def nights_of(self, days: Iterable[date]) -> dict[date, NightRow]:
        """The rows of the sweeps of these dates, of those that have one."""
        return _by_date(self._table.get_all("NIGHT", [str(day) for day in days]))

    def remember(self, day: date, **fields: Unpack[NightFields]) -> None:
        """Writes fields of a date's NightRow; the others stay as they are."""
        self._table.set_now({"pk": "NIGHT", "sk": str(day)}, fields)

    # --- hold and lease ---------------------------------------------------------------------------

    def hold(self) -> str | None:
        """The reason for which an operator holds all sweeps; None if there is no hold."""
        item = self._table.get(_HOLD)
        return str(item["why"]) if item else None

    def put_hold(self, why: str, at: datetime) -> None:
        """Stops every action of every sweep, a running one's too."""
        self._table.put_now({**_HOLD, "why": why, "since": at.isoformat()})

    def lift_hold(self) -> None:
        """Lets sweeps act again."""
        self._table.delete_now(_HOLD)

    def take_lease(self, holder: str, at: datetime, seconds: float, name: str = SWEEP) -> None:
        """Makes `holder` the only run of its kind for so many seconds; raises AlreadyRunning."""
        until = at + timedelta(seconds=seconds)
        condition = {
            "ConditionExpression": "attribute_not_exists(pk) OR #until < :now OR holder = :me",
            "ExpressionAttributeNames": {"#until": "until"},
            "ExpressionAttributeValues": self._table.item({":now": at.isoformat(), ":me": holder}),
        }
        lease = {**_lease(name), "holder": holder, "until": until.isoformat()}
        if not self._table.put_now(lease, condition):
            raise AlreadyRunning(name, self.lease_until(name) or at)
        self.held_by = holder

    def lease_until(self, name: str = SWEEP) -> datetime | None:
        """Until when at the latest the run that has the lease may be at work; None: none has it."""
        item = self._table.get(_lease(name))
        return datetime.fromisoformat(item["until"]).astimezone(UTC) if item else None

    def at_work(self, at: datetime) -> int:
        """How many functions of the night have their lease at that moment (real time)."""
        held = (self.lease_until(name) for name in OF_THE_NIGHT)
        return sum(until is not None and until > at for until in held)

    def give_lease_back(self, holder: str, name: str = SWEEP) -> None:
        """Lets the next run begin; does nothing if the lease has gone to another run."""
        condition = {
            "ConditionExpression": "holder = :me",
            "ExpressionAttributeValues": self._table.item({":me": holder}),
        }
        self._table.delete_now(_lease(name), condition)

    # --- outbox -----------------------------------------------------------------------------------

    def unsent(self, at: datetime | None = None) -> list[Announcement]:
        """The events that the bus has not taken yet, in the order of their dates.

        Without those which at that moment (real time) the run that wrote them may still be putting.
        """
        waiting = [
            Announcement(
                item["sk"],
                item["detail_type"],
                item["detail"],
                datetime.fromisoformat(item["not_before"]) if "not_before" in item else None,
            )
            for item in self._table.query("OUTBOX")
        ]
        return [one for one in waiting if not (at and one.not_before and one.not_before > at)]

    def sent(self, announcements: Sequence[Announcement]) -> None:
        """Takes events out of the outbox."""
        for start in range(0, len(announcements), TRANSACTION):
            self._table.transact(
                [
                    self._table.delete(_outbox_key(one))
                    for one in announcements[start : start + TRANSACTION]
                ]
            )


def _lease(name: str) -> dict[str, str]:
    return {"pk": "LEASE", "sk": name}


def row_writes(table: Table, before: Row | None, after: Row) -> list[Write]:
    """The writes of one row, if it is still as it was read."""
    if before is None:
        return [table.put(_row_item(after), ABSENT)]
    unchanged = table.is_version(before.version)
    if not _moves(before, after):
        return [table.put(_row_item(after), unchanged)]
    key = {"pk": _partition(before), "sk": before.key_id}
    return [table.delete(key, unchanged), table.put(_row_item(after), ABSENT)]


def _moves(before: Row, after: Row) -> bool:
    """True if the row takes another place: it is deleted in one and written in the other."""
    return before.key_id != after.key_id or _partition(before) != _partition(after)


def _partition(row: Row) -> str:
    return "KEY" if row.state in LIVE_STATES else "SHELF"


def _batches(changes: Iterable[Change], size: int) -> Iterator[list[Change]]:
    """Changes by as many as fit into one transaction: a write a row, two if it moves, one an event."""
    batch: list[Change] = []
    room = size
    for change in changes:
        moves = change.before is not None and _moves(change.before, change.after)
        need = 1 + moves + len(change.announcements) + len(change.taken)
        if need > room:
            yield batch
            batch, room = [], size
        batch.append(change)
        room -= need
    if batch:
        yield batch


def _row_item(row: Row) -> Item:
    item: Item = {"pk": _partition(row), "sk": row.key_id, "version": row.version, **to_values(row)}
    del item["key_id"]
    if (closed := _closed_on(row)) is not None:
        at = datetime(closed.year, closed.month, closed.day, tzinfo=UTC) + CLOSED_ROWS_KEPT
        item["expires_at"] = int(at.timestamp())
    return item


def _closed_on(row: Row) -> date | None:
    """Since when nothing more happens to the row; None: something may, or no date tells.

    A claim is brought to an end by a later run, which needs the row.
    """
    match row.state:
        case State.PURGED | State.GONE:
            return row.purged_on or row.missing_since or row.stepped_on
        case State.REVOKED if row.claim is None:
            return row.revoked_on
        case State.RESTORED if row.claim is None:
            return row.restored_on
        case _:
            return None


def _by_date(items: Iterable[Item]) -> dict[date, NightRow]:
    rows = [_night(date.fromisoformat(item["sk"]), item) for item in items]
    return {row.date: row for row in rows}


def _night(day: date, item: Item) -> NightRow:
    return NightRow(
        date=day,
        swept=bool(item.get("swept")),
        told=tuple(item.get("told", ())),
        called=tuple(item.get("called", ())),
        observed_because=item.get("observed_because"),
        brake_alerted=bool(item.get("brake_alerted")),
        approved=item.get("approved"),
        parked=int(item.get("parked", 0)),
        revoked=int(item.get("revoked", 0)),
        new=int(item["new"]) if "new" in item else None,
        causes={cause: int(keys) for cause, keys in item.get("causes", {}).items()},
        braked=bool(item.get("braked")),
        finished=item.get("finished"),
    )


def request_of(item: Mapping[str, Any]) -> RequestRow:
    """The request in an item."""
    return from_values(RequestRow, {**item, "request_id": item["sk"]})


def _row(item: Mapping[str, Any]) -> Row:
    return from_values(Row, {**item, "key_id": item["sk"]})


def _outbox_key(announcement: Announcement) -> dict[str, str]:
    return {"pk": "OUTBOX", "sk": announcement.announcement_id}


def outbox_item(announcement: Announcement) -> Item:
    """The item of an event in the outbox."""
    item: Item = {
        **_outbox_key(announcement),
        "detail_type": announcement.detail_type,
        "detail": announcement.detail,
    }
    if announcement.not_before is not None:
        item["not_before"] = announcement.not_before.isoformat()
    return item
