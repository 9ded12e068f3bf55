"""Talks to DynamoDB: one table of items under `pk` and `sk`, read page by page, written on conditions."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from keyjanitor.adapters.clients import code_of, refusal
from keyjanitor.adapters.dynamodb_values import from_wire, to_wire
from keyjanitor.domain.model.aws_answers import items_of, table_of
from keyjanitor.errors import CallFailed, UnexpectedAnswer

TRANSACTION = 100  # writes that DynamoDB takes at once, all or nothing
BATCH = 100  # items that it reads at once by their keys
MAX_READ_ATTEMPTS = 3  # of a read whose answer is not whole
MAX_CONFLICT_ATTEMPTS = 5
MAX_THROTTLE_ATTEMPTS = 8
LONGEST_PAUSE = 3.0  # seconds between two tries
# A write of one item is refused while a transaction has the item, and botocore does not repeat it
# (doc: AF-501). A hold is such a write, and a sweep one transaction after the
# other that looks at the hold: so it is tried for seconds, at moments that follow no beat.
MAX_WRITE_ATTEMPTS = 14
# Why a transaction may be cancelled and go through a moment later.
THROTTLED = frozenset({"ThrottlingError", "ProvisionedThroughputExceeded"})
PASSING = frozenset({"TransactionConflict"}) | THROTTLED
NOT_WHOLE = (
    f"its answer was cut off, or is of another shape, {MAX_READ_ATTEMPTS} times in a row; nothing was decided "
    "by it. The next run asks again. If it stays so, look at what is between the functions and DynamoDB"
)
ABSENT = {"ConditionExpression": "attribute_not_exists(pk)"}

Item = dict[str, Any]
Write = dict[str, Any]


def _any_shape(*_: object) -> None:
    """Of an item that is not there DynamoDB answers an empty object."""


class Table:
    """One table. Reads are consistent; errors come as CallFailed or AccessDenied."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    # --- reading ----------------------------------------------------------------------------------

    def query(
        self,
        partition: str,
        only: Sequence[str] = (),
        beginning: str = "",
        between: tuple[str, str] | None = None,
    ) -> Iterator[Item]:
        """Every item of a partition, or of each `only` these attributes.

        With `beginning` those whose `sk` begins so; with `between` those from one to the other, both
        included. It takes one of the two.
        """
        params: Item = {
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": to_wire(partition)},
            "ConsistentRead": True,
        }
        if beginning:
            params["KeyConditionExpression"] += " AND begins_with(sk, :beginning)"
            params["ExpressionAttributeValues"][":beginning"] = to_wire(beginning)
        if between is not None:
            params["KeyConditionExpression"] += " AND sk BETWEEN :first AND :last"
            first, last = map(to_wire, between)
            params["ExpressionAttributeValues"].update({":first": first, ":last": last})
        if only:
            params["ProjectionExpression"] = ", ".join(f"#{name}" for name in only)
            params["ExpressionAttributeNames"] = {f"#{name}": name for name in only}
        while True:
            page = self._read(
                "Query", self._client.query, "Items", items_of, TableName=self._name, **params
            )
            for item in page["Items"]:
                yield self._plain(item)
            if not page.get("LastEvaluatedKey"):
                return
            params["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def get(self, key: Mapping[str, str]) -> Item | None:
        """One item, or None."""
        answer = self._read(
            *("GetItem", self._client.get_item, "", _any_shape),
            TableName=self._name,
            Key=self.item(key),
            ConsistentRead=True,
        )
        item = answer.get("Item")
        return self._plain(item) if item else None

    def get_all(self, partition: str, sks: Sequence[str]) -> Iterator[Item]:
        """Those of the named items of a partition that there are, in no order."""
        for start in range(0, len(sks), BATCH):
            keys = [self.item({"pk": partition, "sk": sk}) for sk in sks[start : start + BATCH]]
            for attempt in range(MAX_CONFLICT_ATTEMPTS):
                if attempt:
                    time.sleep(0.05 * 2**attempt)
                wanted = {self._name: {"Keys": keys, "ConsistentRead": True}}
                answer = self._read(
                    *("BatchGetItem", self._client.batch_get_item, "Responses", table_of),
                    RequestItems=wanted,
                )
                for item in answer["Responses"].get(self._name, ()):
                    yield self._plain(item)
                # DynamoDB leaves over what was too much at once (doc: AF-503).
                keys = answer.get("UnprocessedKeys", {}).get(self._name, {}).get("Keys", [])
                if not keys:
                    break
            else:
                raise CallFailed("BatchGetItem", "UnprocessedKeys")

    # --- writing ----------------------------------------------------------------------------------

    def item(self, values: Mapping[str, Any]) -> Item:
        """The values as DynamoDB wants them."""
        return {name: to_wire(value) for name, value in values.items()}

    def put(self, values: Mapping[str, Any], condition: Mapping[str, Any] | None = None) -> Write:
        """A write for `transact`: the item as a whole."""
        put = {"TableName": self._name, "Item": self.item(values), **(condition or {})}
        return {"Put": put}

    def delete(self, key: Mapping[str, str], condition: Mapping[str, Any] | None = None) -> Write:
        """A write for `transact`: no item."""
        return {
            "Delete": {"TableName": self._name, "Key": self.item(key), **(condition or {})},
        }

    def must_be_absent(self, key: Mapping[str, str]) -> Write:
        """A part of a `transact` that writes nothing: there must be no such item."""
        return {"ConditionCheck": {"TableName": self._name, "Key": self.item(key), **ABSENT}}

    def is_version(self, version: int) -> dict[str, Any]:
        """The condition that an item is still of the version that was read."""
        return {
            "ConditionExpression": "version = :version",
            "ExpressionAttributeValues": {":version": to_wire(version)},
        }

    def transact(self, writes: Sequence[Write]) -> set[int] | None:
        """All of the writes or none: None if they are written, else whose conditions failed.

        That may be nobody's, if somebody else kept writing the same items. Raises CallFailed if
        DynamoDB takes no more writes for as long as it is tried, which is some ten seconds.
        """
        for attempt in range(MAX_THROTTLE_ATTEMPTS):
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
                throttled = not THROTTLED.isdisjoint(codes)
                if failed or (attempt >= MAX_CONFLICT_ATTEMPTS - 1 and not throttled):
                    return failed
                if attempt == MAX_THROTTLE_ATTEMPTS - 1:
                    raise CallFailed("TransactWriteItems", "ThrottlingError") from None
                # Another run writes one of the items right now, or all runs together write too much.
                time.sleep(min((0.2 if throttled else 0.05) * 2**attempt, LONGEST_PAUSE))
            except BotoCoreError as err:
                raise refusal(err, "TransactWriteItems", self._action("PutItem")) from None
            else:
                return None
        raise AssertionError("unreachable")

    def put_now(
        self, values: Mapping[str, Any], condition: Mapping[str, Any] | None = None
    ) -> bool:
        """Writes one item; False if the condition does not hold."""
        params = {"Item": self.item(values), **(condition or {})}
        return self._on_condition("PutItem", self._client.put_item, params)

    def delete_now(
        self, key: Mapping[str, str], condition: Mapping[str, Any] | None = None
    ) -> bool:
        """Deletes one item, if it is there; False if the condition does not hold."""
        params = {"Key": self.item(key), **(condition or {})}
        return self._on_condition("DeleteItem", self._client.delete_item, params)

    def set_now(self, key: Mapping[str, str], what: Mapping[str, Any]) -> None:
        """Writes attributes of one item, which is made if it is not there."""
        self._write(
            "UpdateItem",
            self._client.update_item,
            Key=self.item(key),
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in what),
            ExpressionAttributeNames={f"#{name}": name for name in what},
            ExpressionAttributeValues=self.item({f":{name}": v for name, v in what.items()}),
        )

    def add_now(self, key: Mapping[str, str], name: str, number: int) -> None:
        """Adds to a number of one item, which is made if it is not there."""
        self._write(
            "UpdateItem",
            self._client.update_item,
            Key=self.item(key),
            UpdateExpression="ADD #name :number",
            ExpressionAttributeNames={"#name": name},
            ExpressionAttributeValues=self.item({":number": number}),
        )

    def _on_condition(self, operation: str, call: Any, params: Mapping[str, Any]) -> bool:
        try:
            self._write(operation, call, **params)
        except CallFailed as err:
            if err.code != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def _write(self, operation: str, call: Any, **params: Any) -> None:
        """One write of one item, again and again while a transaction has the item."""
        for attempt in range(MAX_WRITE_ATTEMPTS):
            try:
                self._call(operation, call, **params)
            except CallFailed as err:
                if err.code != "TransactionConflictException" or attempt == MAX_WRITE_ATTEMPTS - 1:
                    raise
                beat = min(0.05 * 2**attempt, 1.0)
                time.sleep(beat * random.uniform(0.5, 1.0))  # noqa: S311 - nothing is kept secret
            else:
                return

    # --- calling ----------------------------------------------------------------------------------

    def _plain(self, item: Mapping[str, Any]) -> Item:
        return {name: from_wire(value) for name, value in item.items()}

    def _read(
        self,
        operation: str,
        call: Any,
        name: str,
        check: Callable[[Any, str, str], object],
        **params: Any,
    ) -> Any:
        """A read whose answer is whole; `check` raises UnexpectedAnswer if it lacks what `name` says.

        It is asked again, for a cut-off answer is read as one that holds nothing: no hold, no key. Raises
        UnexpectedAnswer, which says where and what to do.
        """
        for attempt in range(MAX_READ_ATTEMPTS):
            if attempt:
                time.sleep(0.05 * 2**attempt)
            try:
                answer = self._call_any(operation, call, **params)
                check(answer, name, operation)
            except UnexpectedAnswer:
                continue
            return answer
        raise UnexpectedAnswer(f"{operation} on {self._name}", NOT_WHOLE)

    def _call(self, operation: str, call: Any, **params: Any) -> Any:
        return self._call_any(operation, call, TableName=self._name, **params)

    def _call_any(self, operation: str, call: Any, **params: Any) -> Any:
        try:
            return call(**params)
        except (ClientError, BotoCoreError) as err:
            raise refusal(err, operation, self._action(operation)) from None

    def _action(self, operation: str) -> str:
        return f"dynamodb:{operation} on {self._name}"
