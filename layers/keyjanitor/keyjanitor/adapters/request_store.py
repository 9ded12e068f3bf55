"""Talks to the ledger about requests: what was asked, how far it has come, and who counts.

Its partitions: REQUEST, a row for each request of a sender, until `expires_at`; PLAN, the usage plans that we made or are making,
by their shape; and ADMISSIONS, the count of keys that no two runs may raise at once.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from keyjanitor.adapters.dynamodb import ABSENT, TRANSACTION, Item, Table, Write
from keyjanitor.adapters.ledger import ADMISSIONS, Change, outbox_item, request_of, row_writes
from keyjanitor.adapters.record_codec import from_values, to_values
from keyjanitor.domain.model.records import Announcement, Burst, RequestRow, Status, row_id
from keyjanitor.domain.requests.census import Admissions, Batch, Spent

# A message lives for 14 days, and as long again each time it is moved back (doc: AF-551).
KEPT = {Status.REFUSED: timedelta(days=30), Status.TAKEN: timedelta(days=60)}
KEPT_IF_IT_BROUGHT_A_KEY = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class RequestChange:
    """One request as it was read (None: there was none) and as it shall be, and all that goes with it.

    `rows` and `announcements` are written with it or not at all, and only if nobody else has written
    one of the rows since it was read.
    """

    before: RequestRow | None
    after: RequestRow
    rows: tuple[Change, ...] = ()
    announcements: tuple[Announcement, ...] = ()


class RequestStore:
    """The rows of requests, made usage plans and the count of keys, in the ledger's table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    # --- requests ---------------------------------------------------------------------------------

    def requests(self, request_ids: Sequence[str]) -> dict[str, RequestRow]:
        """Those of the requests that were ever seen, by their ids."""
        return {
            item["sk"]: request_of(item) for item in self._table.get_all("REQUEST", request_ids)
        }

    def of_all_senders(self, request_id: str) -> list[RequestRow]:
        """The requests of this id, of whichever sender."""
        items = self._table.query("REQUEST", beginning=row_id(request_id, ""))
        return [request_of(item) for item in items]

    def commit(self, changes: Sequence[RequestChange]) -> list[RequestRow | None]:
        """Writes each change; gives the rows in the same order, None for what others were first in."""
        written: list[RequestRow | None] = []
        for batch in _batches(changes):
            if self._write(batch):
                written += [_next(change) for change in batch]
            else:
                # One of them is lost; who it is shows one by one.
                written += [_next(change) if self._write([change]) else None for change in batch]
        return written

    def _write(self, changes: Sequence[RequestChange]) -> bool:
        writes = [write for change in changes for write in self._writes(change)]
        return self._table.transact(writes) is None

    def _writes(self, change: RequestChange) -> list[Write]:
        condition = (
            ABSENT if change.before is None else self._table.is_version(change.before.version)
        )
        writes = [self._table.put(_request_item(_next(change)), condition)]
        for row in change.rows:
            version = row.before.version if row.before else 0
            writes += row_writes(self._table, row.before, replace(row.after, version=version + 1))
        announcements = (
            *change.announcements,
            *(a for row in change.rows for a in row.announcements),
        )
        return writes + [self._table.put(outbox_item(one)) for one in announcements]

    # --- the count --------------------------------------------------------------------------------

    def admissions(self) -> Admissions:
        """The count of keys, and what was admitted since."""
        item = self._table.get(ADMISSIONS)
        if item is None:
            return Admissions()
        return Admissions(
            version=item["version"],
            counted=item["counted"],
            counted_at=_moment(item.get("counted_at")),
            made=item["made"],
            batches={
                name: Batch(
                    datetime.fromisoformat(one["until"]),
                    one["keys"],
                    one["tiers"],
                    one["owners"],
                    one.get("new", {}),
                    one.get("asked", {}),
                )
                for name, one in item["batches"].items()
            },
            spent=from_values(Spent, item.get("spent", {})),
            bursts=tuple(from_values(Burst, one) for one in item.get("bursts", ())),
        )

    def put_admissions(self, admissions: Admissions) -> bool:
        """Writes it, if it still is of the version that was read; else gives False."""
        item: Item = {
            **ADMISSIONS,
            "version": admissions.version + 1,
            "counted": admissions.counted,
            "made": admissions.made,
            "batches": {
                name: {
                    "until": one.until.isoformat(),
                    "keys": one.keys,
                    "tiers": dict(one.tiers),
                    "owners": dict(one.owners),
                    "new": dict(one.new),
                    "asked": dict(one.asked),
                }
                for name, one in admissions.batches.items()
            },
        }
        item["spent"] = to_values(admissions.spent)
        item["bursts"] = [to_values(one) for one in admissions.bursts]
        if admissions.counted_at is not None:
            item["counted_at"] = admissions.counted_at.isoformat()
        # botocore repeats a write whose answer was lost: what it finds then is its own, not another's.
        item["put_id"] = put_id = secrets.token_hex(8)
        first = admissions.version == 0
        known: Item = {**ABSENT} if first else self._table.is_version(admissions.version)
        condition = {
            "ConditionExpression": f"{known['ConditionExpression']} OR put_id = :put_id",
            "ExpressionAttributeValues": {
                **known.get("ExpressionAttributeValues", {}),
                **self._table.item({":put_id": put_id}),
            },
        }
        return self._table.put_now(item, condition)

    # --- usage plans ------------------------------------------------------------------------------

    def made_usage_plans(self) -> dict[str, str]:
        """The ids of the usage plans that we made, by their shape."""
        return {
            item["sk"]: item["usage_plan_id"]
            for item in self._table.query("PLAN")
            if "usage_plan_id" in item
        }

    def claim_usage_plan(self, shape: str, holder: str, at: datetime, until: datetime) -> bool:
        """True if `holder` alone may make a plan of this shape until a moment (real time)."""
        claim = {"pk": "PLAN", "sk": shape, "holder": holder, "until": until.isoformat()}
        condition = {
            "ConditionExpression": "attribute_not_exists(pk) OR #until < :now OR holder = :me",
            "ExpressionAttributeNames": {"#until": "until"},
            "ExpressionAttributeValues": self._table.item({":now": at.isoformat(), ":me": holder}),
        }
        return self._table.put_now(claim, condition)

    def release_usage_plan(self, shape: str) -> None:
        """Lets the next run make a plan of this shape."""
        self._table.put_now({"pk": "PLAN", "sk": shape, "until": ""})

    def put_usage_plan(self, shape: str, usage_plan_id: str) -> None:
        """Remembers a plan that we made; its claim ends with it."""
        plan = {"pk": "PLAN", "sk": shape, "usage_plan_id": usage_plan_id, "until": ""}
        self._table.put_now(plan)


def _next(change: RequestChange) -> RequestRow:
    return replace(change.after, version=(change.before.version if change.before else 0) + 1)


def _request_item(row: RequestRow) -> Item:
    item: Item = {"pk": "REQUEST", "sk": row.request_id, **to_values(row), "version": row.version}
    del item["request_id"]
    if (day := row.received_on) is not None:
        received = datetime(day.year, day.month, day.day, tzinfo=UTC)
        kept = KEPT.get(row.status, KEPT_IF_IT_BROUGHT_A_KEY)
        item["expires_at"] = int((received + kept).timestamp())
    return item


def _batches(changes: Iterable[RequestChange]) -> Iterable[list[RequestChange]]:
    """Changes by as many as fit into one transaction, each item once (doc: AF-502)."""
    batch: list[RequestChange] = []
    room = TRANSACTION
    written: set[str] = set()  # key ids
    for change in changes:
        need = 1 + len(change.announcements)
        need += sum(2 + len(row.announcements) for row in change.rows)
        key_ids = {row.after.key_id for row in change.rows}
        if batch and (need > room or key_ids & written):
            yield batch
            batch, room, written = [], TRANSACTION, set()
        batch.append(change)
        room -= need
        written |= key_ids
    if batch:
        yield batch


def _moment(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
