"""Talks to the ledger: the DynamoDB table that remembers what API Gateway does not.

Its partitions (`pk`): KEY, the rows of keys that live in API Gateway; SHELF, those of keys that have
left it; NIGHT, a row a date; CONTROL, the hold and the lease; OUTBOX, events that the bus has not
taken yet. `sk` is the key id, the date, or a name.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import BotoCoreError, ClientError

from keyjanitor.aws import code_of, refusal
from keyjanitor.errors import AlreadyRunning, CallFailed, ClaimLost, Held
from keyjanitor.words import (
    LIVE_STATES,
    Announcement,
    Claim,
    NightRow,
    Row,
    State,
    Verb,
)

TRANSACTION = 100  # writes that DynamoDB takes at once, all or nothing
CONFLICT_TRIES = 5
# Why a transaction may be cancelled and go through a moment later.
PASSING = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})
CLOSED_ROWS_KEPT = timedelta(days=400)

_DATES = frozenset(item.name for item in fields(Row) if item.type in ("date | None", date | None))
_NO_ROW = Row(key_id="", state=State.ACTIVE, tier="")
_HOLD = {"pk": "CONTROL", "sk": "hold"}
_LEASE = {"pk": "CONTROL", "sk": "sweep"}


@dataclass(frozen=True, slots=True)
class Change:
    """One row as it was read (`before`; None: there was none) and as it shall be.

    It is written only if nobody else has written the row since. A row whose new state belongs to
    the other partition moves there. `announcements` go into the outbox with it, all or nothing.
    """

    before: Row | None
    after: Row
    announcements: tuple[Announcement, ...] = ()


@dataclass(frozen=True, slots=True)
class Shelf:
    """What the shelf holds for tonight: whose time has come, what was done on this date already.

    `restored` are keys that live again and whose tombstones have yet to be destroyed, `unfinished`
    those whose restore has begun.
    """

    due: tuple[Row, ...] = ()
    oldest: Row | None = None
    stepped: Mapping[Verb, int] = field(default_factory=dict)
    restored: tuple[Row, ...] = ()
    unfinished: tuple[Row, ...] = ()


class Ledger:
    """The ledger's table."""

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table
        self._serialize = TypeSerializer().serialize
        self._deserialize = TypeDeserializer().deserialize

    # --- rows -------------------------------------------------------------------------------------

    def live_rows(self) -> dict[str, Row]:
        """The rows of all keys that live in API Gateway, by key id."""
        return {row.key_id: row for row in map(_row, self._query("KEY"))}

    def row(self, key_id: str) -> Row | None:
        """One live key's row as it is this moment."""
        item = self._get({"pk": "KEY", "sk": key_id})
        return _row(item) if item else None

    def shelf(self, today: date) -> Shelf:
        """What tonight has to know of the keys that are parked; read page by page."""
        due: list[Row] = []
        restored: list[Row] = []
        unfinished: list[Row] = []
        oldest: Row | None = None
        parked = purged = 0
        for row in self._shelf():
            parked += row.parked_on == today
            purged += row.purged_on == today
            if row.state is State.RESTORED and row.claim is not None:
                restored.append(row)
            if row.state is not State.PARKED:
                continue
            if row.purge_on is not None and row.purge_on <= today:
                due.append(row)
            if row.claim is not None and row.claim.verb is Verb.RESTORE:
                unfinished.append(row)
            if row.claim is not None and row.claim.verb is Verb.PURGE:
                continue  # a run that died may have destroyed its tombstone
            if oldest is None or _shelf_age(row) < _shelf_age(oldest):
                oldest = row
        stepped = {Verb.PARK: parked, Verb.PURGE: purged}
        return Shelf(tuple(due), oldest, stepped, tuple(restored), tuple(unfinished))

    def shelf_of(self, day: date) -> list[Row]:
        """The parked keys that the sweeps of a date disabled or parked."""
        return [
            row
            for row in self._shelf()
            if row.state is State.PARKED and day in (row.disabled_on, row.parked_on)
        ]

    def _shelf(self) -> Iterator[Row]:
        return map(_row, self._query("SHELF"))

    def commit(self, changes: Iterable[Change], *, unless_held: bool = False) -> list[Row]:
        """Writes each change if its row is as it was read; gives the rows that were written.

        What somebody else has written meanwhile is left as it is. With `unless_held` nothing is
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
        """Writes one change and gives its row; raises ClaimLost if somebody else was first."""
        written = self.commit([change], unless_held=unless_held)
        if not written:
            raise ClaimLost(change.after.key_id)
        return written[0]

    def commit_together(self, *changes: Change) -> bool:
        """Writes all of the changes or none; False if a row is not as it was read."""
        return self._commit_batch(list(changes), unless_held=False) is not None

    def _commit_batch(self, batch: Sequence[Change], *, unless_held: bool) -> list[Row] | None:
        writes: list[dict[str, Any]] = []
        rows: list[Row] = []
        for change in batch:
            row = replace(change.after, version=(change.before.version if change.before else 0) + 1)
            rows.append(row)
            writes += self._writes(change.before, row)
            writes += [self._put(_outbox_item(one)) for one in change.announcements]
        if unless_held:
            check = {"Key": self._item(_HOLD), "ConditionExpression": "attribute_not_exists(pk)"}
            writes.insert(0, {"ConditionCheck": {"TableName": self._table, **check}})
        failed = self._transact(writes)
        if failed is None:
            return rows
        if unless_held and 0 in failed:
            raise Held(self.hold() or "somebody held and resumed")
        return None

    def _writes(self, before: Row | None, after: Row) -> list[dict[str, Any]]:
        if before is None:
            return [self._put(_row_item(after), "attribute_not_exists(pk)")]
        same_place = before.key_id == after.key_id and _partition(before) == _partition(after)
        unchanged: dict[str, Any] = {
            "ConditionExpression": "version = :version",
            "ExpressionAttributeValues": {":version": self._serialize(before.version)},
        }
        if same_place:
            put = self._put(_row_item(after))
            put["Put"].update(unchanged)
            return [put]
        key = self._item({"pk": _partition(before), "sk": before.key_id})
        delete = {"TableName": self._table, "Key": key, **unchanged}
        return [{"Delete": delete}, self._put(_row_item(after), "attribute_not_exists(pk)")]

    # --- nights -----------------------------------------------------------------------------------

    def night(self, day: date) -> NightRow:
        """What is remembered of a date's sweeps."""
        item = self._get({"pk": "NIGHT", "sk": str(day)}) or {}
        return NightRow(
            date=day,
            swept=bool(item.get("swept")),
            announced=int(item.get("announced", 0)),
            brake_alerted=bool(item.get("brake_alerted")),
            approved=item.get("approved"),
        )

    def remember(self, day: date, **what: Any) -> None:
        """Writes fields of a date's NightRow, by their names."""
        names = {f"#{name}": name for name in what}
        values = {f":{name}": self._serialize(value) for name, value in what.items()}
        self._call(
            "UpdateItem",
            self._client.update_item,
            Key=self._item({"pk": "NIGHT", "sk": str(day)}),
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in what),
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values,
        )

    # --- hold and lease ---------------------------------------------------------------------------

    def hold(self) -> str | None:
        """Why an operator holds all sweeps, or None if nobody does."""
        item = self._get(_HOLD)
        return str(item["why"]) if item else None

    def put_hold(self, why: str, at: datetime) -> None:
        """Stops every action of every sweep, a running one's too."""
        item = self._item({**_HOLD, "why": why, "since": at.isoformat()})
        self._call("PutItem", self._client.put_item, Item=item)

    def lift_hold(self) -> None:
        """Lets sweeps act again."""
        self._call("DeleteItem", self._client.delete_item, Key=self._item(_HOLD))

    def take_lease(self, holder: str, at: datetime, seconds: float) -> None:
        """Makes `holder` the only sweep for so many seconds of real time; raises AlreadyRunning."""
        until = at + timedelta(seconds=seconds)
        try:
            self._client.put_item(
                TableName=self._table,
                Item=self._item({**_LEASE, "holder": holder, "until": until.isoformat()}),
                ConditionExpression="attribute_not_exists(pk) OR #until < :now OR holder = :me",
                ExpressionAttributeNames={"#until": "until"},
                ExpressionAttributeValues={
                    ":now": self._serialize(at.isoformat()),
                    ":me": self._serialize(holder),
                },
            )
        except ClientError as err:
            if code_of(err) != "ConditionalCheckFailedException":
                raise refusal(err, "PutItem", self._action("PutItem")) from None
            item = self._get(_LEASE)
            told = datetime.fromisoformat(item["until"]) if item else at
            raise AlreadyRunning(told.astimezone(UTC)) from None
        except BotoCoreError as err:
            raise refusal(err, "PutItem", self._action("PutItem")) from None

    def give_lease_back(self, holder: str) -> None:
        """Lets the next sweep begin; does nothing if the lease has gone to somebody else."""
        try:
            self._client.delete_item(
                TableName=self._table,
                Key=self._item(_LEASE),
                ConditionExpression="holder = :me",
                ExpressionAttributeValues={":me": self._serialize(holder)},
            )
        except ClientError as err:
            if code_of(err) != "ConditionalCheckFailedException":
                raise refusal(err, "DeleteItem", self._action("DeleteItem")) from None
        except BotoCoreError as err:
            raise refusal(err, "DeleteItem", self._action("DeleteItem")) from None

    # --- outbox -----------------------------------------------------------------------------------

    def unsent(self) -> list[Announcement]:
        """The events that the bus has not taken yet, in the order of their dates."""
        return [
            Announcement(item["sk"], item["detail_type"], _plain(item["detail"]))
            for item in self._query("OUTBOX")
        ]

    def sent(self, announcements: Sequence[Announcement]) -> None:
        """Takes events out of the outbox."""
        for start in range(0, len(announcements), TRANSACTION):
            self._transact(
                [
                    {
                        "Delete": {
                            "TableName": self._table,
                            "Key": self._item({"pk": "OUTBOX", "sk": one.announcement_id}),
                        }
                    }
                    for one in announcements[start : start + TRANSACTION]
                ]
            )

    # --- calling ----------------------------------------------------------------------------------

    def _query(self, partition: str) -> Iterator[dict[str, Any]]:
        params: dict[str, Any] = {
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": self._serialize(partition)},
            "ConsistentRead": True,
        }
        while True:
            page = self._call("Query", self._client.query, **params)
            for item in page["Items"]:
                yield {name: self._deserialize(value) for name, value in item.items()}
            if not page.get("LastEvaluatedKey"):
                return
            params["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _get(self, key: Mapping[str, str]) -> dict[str, Any] | None:
        answer = self._call(
            "GetItem", self._client.get_item, Key=self._item(key), ConsistentRead=True
        )
        item = answer.get("Item")
        return item and {name: self._deserialize(value) for name, value in item.items()}

    def _put(self, item: Mapping[str, Any], condition: str | None = None) -> dict[str, Any]:
        put: dict[str, Any] = {"TableName": self._table, "Item": self._item(item)}
        if condition:
            put["ConditionExpression"] = condition
        return {"Put": put}

    def _item(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._serialize(value) for name, value in values.items()}

    def _transact(self, writes: Sequence[Mapping[str, Any]]) -> set[int] | None:
        """All of the writes or none: None if they are written, else whose conditions failed.

        That may be nobody's, if somebody else kept writing the same items.
        """
        for attempt in range(CONFLICT_TRIES):
            try:
                self._client.transact_write_items(TransactItems=list(writes))
            except ClientError as err:
                if code_of(err) != "TransactionCanceledException":
                    raise refusal(err, "TransactWriteItems", self._action("PutItem")) from None
                codes = [
                    reason.get("Code") for reason in err.response.get("CancellationReasons", ())
                ]
                failed = {i for i, code in enumerate(codes) if code == "ConditionalCheckFailed"}
                if wrong := set(codes) - {"None", "ConditionalCheckFailed", *PASSING}:
                    raise CallFailed("TransactWriteItems", str(min(wrong, key=str))) from None
                if failed or attempt == CONFLICT_TRIES - 1:
                    return failed
                time.sleep(0.05 * 2**attempt)  # somebody else writes one of the items right now
            except BotoCoreError as err:
                raise refusal(err, "TransactWriteItems", self._action("PutItem")) from None
            else:
                return None
        raise AssertionError("unreachable")

    def _call(self, operation: str, call: Any, **params: Any) -> Any:
        try:
            return call(TableName=self._table, **params)
        except (ClientError, BotoCoreError) as err:
            raise refusal(err, operation, self._action(operation)) from err

    def _action(self, operation: str) -> str:
        return f"dynamodb:{operation} on {self._table}"


def _partition(row: Row) -> str:
    return "KEY" if row.state in LIVE_STATES else "SHELF"


def _shelf_age(row: Row) -> tuple[date, str]:
    return row.parked_on or date.min, row.key_id


def _batches(changes: Iterable[Change], size: int) -> Iterator[list[Change]]:
    """Changes by as many as fit into one transaction: at most two writes a row, one an event."""
    batch: list[Change] = []
    room = size
    for change in changes:
        need = 2 + len(change.announcements)
        if need > room:
            yield batch
            batch, room = [], size
        batch.append(change)
        room -= need
    if batch:
        yield batch


def _row_item(row: Row) -> dict[str, Any]:
    """The row without what is as in a new one, dates as text."""
    item: dict[str, Any] = {
        "pk": _partition(row),
        "sk": row.key_id,
        "state": str(row.state),
        "tier": row.tier,
        "version": row.version,
    }
    for one in fields(Row):
        value = getattr(row, one.name)
        if one.name in item or one.name == "key_id" or value == getattr(_NO_ROW, one.name):
            continue
        if isinstance(value, Claim):
            item[one.name] = {"verb": str(value.verb), "on": str(value.on)}
        elif isinstance(value, tuple):
            item[one.name] = list(value)
        elif isinstance(value, datetime):
            item[one.name] = value.isoformat()
        elif isinstance(value, date):
            item[one.name] = str(value)
        else:
            item[one.name] = value
    if row.state in (State.PURGED, State.GONE):
        closed = row.purged_on or row.missing_since or row.stepped_on
        if closed is not None:
            at = datetime(closed.year, closed.month, closed.day, tzinfo=UTC) + CLOSED_ROWS_KEPT
            item["expires_at"] = int(at.timestamp())
    return item


def _row(item: Mapping[str, Any]) -> Row:
    values: dict[str, Any] = {}
    for name, value in item.items():
        if name in ("pk", "sk", "expires_at"):
            continue
        if name in _DATES:
            values[name] = date.fromisoformat(value)
        elif name == "our_update":
            values[name] = datetime.fromisoformat(value)
        elif name == "state":
            values[name] = State(value)
        elif name == "version":
            values[name] = int(value)
        elif name == "claim":
            values[name] = Claim(Verb(value["verb"]), date.fromisoformat(value["on"]))
        elif isinstance(value, list):
            values[name] = tuple(value)
        else:
            values[name] = value
    return Row(key_id=item["sk"], **values)


def _outbox_item(announcement: Announcement) -> dict[str, Any]:
    return {
        "pk": "OUTBOX",
        "sk": announcement.announcement_id,
        "detail_type": announcement.detail_type,
        "detail": announcement.detail,
    }


def _plain(detail: Mapping[str, Any]) -> dict[str, Any]:
    """DynamoDB gives every number back as a Decimal; ours are whole."""
    return {name: int(value) if name == "version" else value for name, value in detail.items()}
