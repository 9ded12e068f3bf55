"""DynamoDB's client in memory, as far as `keyjanitor.adapters.dynamodb` uses it."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import islice, takewhile
from threading import RLock
from typing import Any

from sandbox.memory.clients.refusal import refused

Item = dict[str, Any]


class FakeDynamoDb:
    """Tables with `pk` and `sk`, conditional writes and transactions; queries in pages of `page`."""

    def __init__(self, page: int = 3) -> None:
        self._page = page
        self._tables: dict[str, _Items] = {}
        self._lock = RLock()
        self.in_transactions = 0  # so many writes of one item meet a transaction that has it

    def create_table(self, *, TableName: str, **_: Any) -> None:  # noqa: N803
        self._tables[TableName] = _Items()

    def get_item(self, **request: Any) -> Item:
        item = self._standing(request, "Key")
        return {"Item": item} if item else {}

    def put_item(self, **request: Any) -> Item:
        return self._write("PutItem", {"Put": request})

    def delete_item(self, **request: Any) -> Item:
        return self._write("DeleteItem", {"Delete": request})

    def _meet_a_transaction(self, operation: str) -> None:
        if self.in_transactions:
            self.in_transactions -= 1
            raise refused(operation, "TransactionConflictException")

    def update_item(self, **request: Any) -> Item:
        self._meet_a_transaction("UpdateItem")
        names, values = request["ExpressionAttributeNames"], request["ExpressionAttributeValues"]
        with self._lock:
            item = self._standing(request, "Key") or request["Key"]
            if request["UpdateExpression"] == "ADD #name :number":
                name, added = names["#name"], values[":number"]["N"]
                number = int(item.get(name, {"N": "0"})["N"]) + int(added)
                self._table(request)[_place(item)] = {**item, name: {"N": str(number)}}
                return {}
            for one in request["UpdateExpression"].removeprefix("SET ").split(", "):
                name, value = one.split(" = ")
                item = {**item, names[name]: values[value]}
            self._table(request)[_place(item)] = item
        return {}

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> Item:  # noqa: N803
        for asked in RequestItems.values():
            if len(set(map(_place, asked["Keys"]))) < len(asked["Keys"]):
                raise refused("BatchGetItem", "ValidationException")
        with self._lock:
            found = {
                table: [
                    self._tables[table][_place(key)]
                    for key in asked["Keys"]
                    if _place(key) in self._tables[table]
                ]
                for table, asked in RequestItems.items()
            }
        return {"Responses": found, "UnprocessedKeys": {}}

    def query(self, **request: Any) -> Item:
        partition = request["ExpressionAttributeValues"][":pk"]
        after = request.get("ExclusiveStartKey")
        beginning = request["ExpressionAttributeValues"].get(":beginning", {"S": ""})["S"]
        first, last_one = (
            request["ExpressionAttributeValues"].get(name, {"S": ""})["S"]
            for name in (":first", ":last")
        )
        with self._lock:
            items = self._table(request).following(
                partition["S"],
                beginning,
                _place(after)[1] if after else None,
                self._page + 1,
                (first, last_one),
            )
        page = items[: self._page]
        last = {name: page[-1][name] for name in ("pk", "sk")} if items[self._page :] else None
        if "ProjectionExpression" in request:
            names = request["ExpressionAttributeNames"]
            only = {names[one] for one in request["ProjectionExpression"].split(", ")}
            page = [{name: item[name] for name in item if name in only} for item in page]
        return {"Items": page, **({"LastEvaluatedKey": last} if last else {})}

    def transact_write_items(self, *, TransactItems: Sequence[Item]) -> Item:  # noqa: N803
        with self._lock:
            if len({_written(write) for write in TransactItems}) < len(TransactItems):
                raise refused("TransactWriteItems", "ValidationException")
            reasons = [{"Code": self._verdict(write)} for write in TransactItems]
            if any(reason["Code"] != "None" for reason in reasons):
                raise refused(
                    "TransactWriteItems",
                    "TransactionCanceledException",
                    CancellationReasons=reasons,
                )
            for write in TransactItems:
                self._carry_out(write)
        return {}

    def scan(self, **request: Any) -> Item:
        return {"Items": list(self._table(request).values())}

    def batch_write_item(self, *, RequestItems: Mapping[str, Any]) -> None:  # noqa: N803
        for table, writes in RequestItems.items():
            for write in writes:
                self.put_item(TableName=table, **write["PutRequest"])

    def _table(self, request: Item) -> "_Items":
        return self._tables[request["TableName"]]

    def _standing(self, request: Item, key: str) -> Item | None:
        return self._table(request).get(_place(request[key]))

    def _write(self, operation: str, write: Item) -> Item:
        self._meet_a_transaction(operation)
        with self._lock:
            if self._verdict(write) != "None":
                raise refused(operation, "ConditionalCheckFailedException")
            self._carry_out(write)
        return {}

    def _verdict(self, write: Item) -> str:
        ((kind, request),) = write.items()
        item = self._standing(request, "Item" if kind == "Put" else "Key")
        condition = request.get("ConditionExpression")
        if not condition or any(_holds(one, request, item) for one in condition.split(" OR ")):
            return "None"
        return "ConditionalCheckFailed"

    def _carry_out(self, write: Item) -> None:
        ((kind, request),) = write.items()
        if kind == "Put":
            self._table(request)[_place(request["Item"])] = request["Item"]
        elif kind == "Delete":
            self._table(request).pop(_place(request["Key"]), None)


class _Items(dict[tuple[str, str], Item]):
    """A table's items by their place; a partition's sort keys are put in order when they are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self._partitions: dict[str, dict[str, None]] = {}
        self._in_order: dict[str, list[str]] = {}

    def __setitem__(self, place: tuple[str, str], item: Item) -> None:
        if place not in self:
            self._partitions.setdefault(place[0], {})[place[1]] = None
            self._in_order.pop(place[0], None)
        super().__setitem__(place, item)

    def pop(self, place: tuple[str, str], default: Any = None) -> Any:
        if place in self:
            del self._partitions[place[0]][place[1]]
            self._in_order.pop(place[0], None)
        return super().pop(place, default)

    def following(
        self, pk: str, beginning: str, after: str | None, most: int, between: tuple[str, str]
    ) -> list[Item]:
        """At most so many items of a partition: with this beginning, behind this sort key.

        `between`: from the first to the last sort key, both included; an empty last one is no end.
        """
        if pk not in self._in_order:
            self._in_order[pk] = sorted(self._partitions.get(pk, ()))
        keys = self._in_order[pk]
        first = bisect_left(keys, max(beginning, between[0]))
        if after is not None:
            first = max(first, bisect_right(keys, after))
        end = between[1]
        found = takewhile(
            lambda sk: sk.startswith(beginning) and (not end or sk <= end),
            islice(keys, first, first + most),
        )
        return [self[pk, sk] for sk in found]


def _place(item: Item) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


def _written(write: Item) -> tuple[str, tuple[str, str]]:
    """The item that a write of a transaction is about: of each there may be one."""
    ((kind, request),) = write.items()
    return request["TableName"], _place(request["Item" if kind == "Put" else "Key"])


def _holds(condition: str, request: Item, item: Item | None) -> bool:
    if condition == "attribute_not_exists(pk)":
        return item is None
    name, comparison, placeholder = condition.split(" ")
    name = request.get("ExpressionAttributeNames", {}).get(name, name)
    wanted = request["ExpressionAttributeValues"][placeholder]
    if item is None or name not in item:
        return False
    if comparison == "<":
        return bool(item[name]["S"] < wanted["S"])
    return bool(item[name] == wanted)
