"""The ledger's table, on moto's DynamoDB and on the one in memory: both have to do the same."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, ParamValidationError

from keyjanitor.adapters.dynamodb import (
    ABSENT,
    BATCH,
    MAX_CONFLICT_ATTEMPTS,
    MAX_WRITE_ATTEMPTS,
    TRANSACTION,
    Table,
)
from keyjanitor.errors import AccessDenied, CallFailed
from sandbox.memory.clients.clients import Clients
from sandbox.memory.clients.refusal import refused
from tests.account import Watched

KEY = {"pk": "KEY", "sk": "k0"}
ITEM = {**KEY, "version": 1, "owner": "user-8f1c"}


@pytest.fixture
def table(either: Clients) -> Table:
    return Table(either.dynamodb, either.new_table())


def filled(table: Table, count: int, **more: Any) -> list[dict[str, Any]]:
    """Puts so many items into a partition, and one into those beside it; gives the items."""
    items = [
        {"pk": "KEY", "sk": f"k{number:03}", "number": number, **more} for number in range(count)
    ]
    for item in [*items, {"pk": "KE", "sk": "k000"}, {"pk": "KEYS", "sk": "k000"}]:
        assert table.put_now(item)
    return items


# --- one item -------------------------------------------------------------------------------------


def test_an_item_is_read_as_it_was_written(table: Table) -> None:
    assert table.get(KEY) is None
    assert table.put_now(ITEM)
    assert table.get(KEY) == ITEM


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        'a,"b"\r\n\0\N{GRINNING FACE}',
        "x" * 10_000,
        0,
        -1,
        10**15,
        True,
        False,
        None,
        [],
        ["a", "b", "a"],
        {},
        {"n": 1, "of": {"n": 2, "none": None}, "list": ["x"]},
    ],
)
def test_a_value_comes_back_as_it_was_and_of_its_type(table: Table, value: Any) -> None:
    table.put_now({**KEY, "value": value})
    item = table.get(KEY)
    assert item == {**KEY, "value": value}
    assert type(item["value"]) is type(value)
    if isinstance(value, dict) and value:
        assert [type(one) for one in item["value"].values()] == [int, dict, list]


def test_an_item_is_replaced_as_a_whole(table: Table) -> None:
    table.put_now(ITEM)
    assert table.put_now({**KEY, "version": 2})
    assert table.get(KEY) == {**KEY, "version": 2}


def test_a_write_whose_condition_does_not_hold_changes_nothing(table: Table) -> None:
    assert table.put_now(ITEM, ABSENT)
    assert not table.put_now({**ITEM, "owner": "late"}, ABSENT)
    assert not table.put_now({**ITEM, "owner": "late"}, table.is_version(2))
    assert table.get(KEY) == ITEM
    assert table.put_now({**ITEM, "version": 2}, table.is_version(1))
    assert table.get(KEY) == {**ITEM, "version": 2}


def test_what_is_not_there_is_of_no_version(table: Table) -> None:
    assert not table.put_now(ITEM, table.is_version(0))
    assert not table.delete_now(KEY, table.is_version(1))
    assert table.get(KEY) is None


def test_an_item_is_deleted_and_may_be_deleted_again(table: Table) -> None:
    table.put_now(ITEM)
    assert not table.delete_now(KEY, table.is_version(2))
    assert table.get(KEY) == ITEM
    assert table.delete_now(KEY, table.is_version(1))
    assert table.delete_now(KEY)
    assert table.get(KEY) is None


def test_attributes_are_set_piece_by_piece(table: Table) -> None:
    table.set_now(KEY, {"owner": "a", "until": "2026"})  # both are words of DynamoDB's own
    table.set_now(KEY, {"owner": "b", "size": 3})
    assert table.get(KEY) == {**KEY, "owner": "b", "until": "2026", "size": 3}


# --- a partition ----------------------------------------------------------------------------------


def test_a_partition_is_read_to_its_last_page_in_the_order_of_its_ids(table: Table) -> None:
    assert list(table.query("KEY")) == []
    # DynamoDB's pages end at 1 MB, those in memory after three items.
    items = filled(table, 14, text="x" * 100_000)
    assert list(table.query("KEY")) == items


def test_of_each_item_only_what_is_asked_for_is_read(table: Table) -> None:
    filled(table, 7, tier="external", owner=None, size="x")
    table.put_now({"pk": "KEY", "sk": "k007", "tier": "inner"})
    expected: list[dict[str, Any]] = [{"tier": "external", "owner": None}] * 7
    assert list(table.query("KEY", only=("tier", "owner"))) == [*expected, {"tier": "inner"}]


def test_of_a_partition_the_items_from_one_to_another_are_read(table: Table) -> None:
    items = filled(table, 14)
    assert list(table.query("KEY", between=("k003", "k011"))) == items[3:12]
    assert list(table.query("KEY", between=("k0030", "k011x"))) == items[4:12]
    assert list(table.query("KEY", between=("k020", "k030"))) == []


def test_a_partition_is_read_consistently_and_from_where_it_was_left() -> None:
    asked: list[dict[str, Any]] = []
    last = {"pk": {"S": "KEY"}, "sk": {"S": "k0"}}

    class Pages:
        def query(self, **request: Any) -> dict[str, Any]:
            asked.append(request)
            if len(asked) == 1:
                return {"Items": [], "LastEvaluatedKey": last}
            return {"Items": [{"tier": {"S": "external"}}]}

    assert list(Table(Pages(), "ledger").query("KEY", only=("tier",))) == [{"tier": "external"}]
    request = {
        "TableName": "ledger",
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": "KEY"}},
        "ConsistentRead": True,
        "ProjectionExpression": "#tier",
        "ExpressionAttributeNames": {"#tier": "tier"},
    }
    assert asked[1] == {**request, "ExclusiveStartKey": last}


# --- items by their ids ---------------------------------------------------------------------------


def by_id(items: Any) -> dict[str, Any]:
    return {item["sk"]: item for item in items}


def test_those_of_the_named_items_that_there_are(table: Table) -> None:
    items = filled(table, 3)
    found = list(table.get_all("KEY", ["k002", "nobody", "k000", " k001"]))
    assert len(found) == 2
    assert by_id(found) == by_id([items[0], items[2]])
    assert list(table.get_all("KEY", [])) == []


def test_more_than_a_hundred_named_items(table: Table) -> None:
    items = filled(table, 2 * BATCH + 5)
    names = [item["sk"] for item in items]
    assert by_id(table.get_all("KEY", [*names, "nobody"])) == by_id(items)


def test_an_item_is_named_once(table: Table) -> None:
    filled(table, 1)
    with pytest.raises(CallFailed, match="BatchGetItem failed: ValidationException"):
        list(table.get_all("KEY", ["k000", "k000"]))


class Leaves:
    """A client that reads the first of the named items and leaves over the rest, so many times."""

    def __init__(self, times: int) -> None:
        self.asked: list[list[str]] = []
        self._times = times

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N803
        assert {name: asked["ConsistentRead"] for name, asked in RequestItems.items()} == {
            "ledger": True
        }
        keys = RequestItems["ledger"]["Keys"]
        self.asked.append([key["sk"]["S"] for key in keys])
        if len(self.asked) > self._times:
            return {"Responses": {"ledger": keys}}
        left = {"ledger": {"Keys": keys[1:], "ConsistentRead": True}}
        return {"Responses": {"ledger": keys[:1]}, "UnprocessedKeys": left}


def test_what_dynamodb_leaves_over_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    client = Leaves(2)
    found = list(Table(client, "ledger").get_all("KEY", ["a", "b", "c", "d"]))
    assert found == [{"pk": "KEY", "sk": name} for name in "abcd"]
    assert client.asked == [["a", "b", "c", "d"], ["b", "c", "d"], ["c", "d"]]
    assert waited == sorted(waited)
    assert len(waited) == 2


def test_what_dynamodb_always_leaves_over_is_an_error_and_not_absent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    client = Leaves(100)
    names = [f"k{number}" for number in range(9)]
    with pytest.raises(CallFailed, match="BatchGetItem failed: UnprocessedKeys"):
        list(Table(client, "ledger").get_all("KEY", names))
    assert len(client.asked) == MAX_CONFLICT_ATTEMPTS


# --- one item, while a transaction has it ---------------------------------------------------------


def in_a_transaction(times: int, tries: list[str]) -> Callable[[str, Callable[[], Any]], Any]:
    """DynamoDB refuses so many writes of one item, for a transaction has the item."""

    def around(name: str, call: Callable[[], Any]) -> Any:
        if name in ("dynamodb.put_item", "dynamodb.delete_item", "dynamodb.update_item"):
            tries.append(name)
            if len(tries) <= times:
                raise refused("Any", "TransactionConflictException")
        return call()

    return around


WRITES: dict[str, Callable[[Table], Any]] = {
    "put": lambda table: table.put_now(ITEM),
    "put if absent": lambda table: table.put_now(ITEM, ABSENT),
    "delete": lambda table: table.delete_now(KEY),
    "set": lambda table: table.set_now(KEY, {"owner": "user-8f1c"}),
    "add": lambda table: table.add_now(KEY, "number", 1),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_write_of_an_item_that_a_transaction_has_is_tried_again(
    either: Clients, monkeypatch: pytest.MonkeyPatch, write: Callable[[Table], Any]
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    tries: list[str] = []
    around = in_a_transaction(7, tries)
    table = Table(Watched(either.dynamodb, "dynamodb", around), either.new_table())
    write(table)
    assert len(tries) == 8
    assert len(waited) == 7
    assert 0 < max(waited) <= 1


def test_a_write_of_an_item_that_transactions_always_have_is_an_error(
    either: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    tries: list[str] = []
    around = in_a_transaction(1000, tries)
    table = Table(Watched(either.dynamodb, "dynamodb", around), either.new_table())
    with pytest.raises(CallFailed, match="TransactionConflictException"):
        table.put_now(ITEM)
    assert len(tries) == MAX_WRITE_ATTEMPTS


# --- together -------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["ThrottlingError", "ProvisionedThroughputExceeded"])
def test_a_transaction_that_is_too_much_for_now_waits_longer_than_one_that_conflicts(
    monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    waited: dict[str, list[float]] = {}

    def tried(reason: str) -> list[float]:
        waits = waited.setdefault(reason, [])
        monkeypatch.setattr(time, "sleep", waits.append)

        class Refuses:
            def transact_write_items(self, **_: Any) -> None:
                if len(waits) < 4:
                    raise refused(
                        "TransactWriteItems",
                        "TransactionCanceledException",
                        CancellationReasons=[{"Code": reason}],
                    )

        assert Table(Refuses(), "ledger").transact([]) is None
        return waits

    assert all(
        longer > shorter
        for longer, shorter in zip(tried(code), tried("TransactionConflict"), strict=True)
    )


def test_a_transaction_that_is_too_much_for_long_is_an_error_and_no_lost_claim(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)

    class Refuses:
        def transact_write_items(self, **_: Any) -> None:
            raise refused(
                "TransactWriteItems",
                "TransactionCanceledException",
                CancellationReasons=[{"Code": "ThrottlingError"}, {"Code": "None"}],
            )

    with pytest.raises(CallFailed, match="ThrottlingError"):
        Table(Refuses(), "ledger").transact([])
    assert 5 < sum(waited) < 30


def test_all_writes_of_a_transaction_are_done(table: Table) -> None:
    filled(table, 2)
    done = table.transact(
        [
            table.put(ITEM, ABSENT),
            table.delete({"pk": "KEY", "sk": "k000"}),
            table.must_be_absent({"pk": "CONTROL", "sk": "hold"}),
            table.put({"pk": "KEY", "sk": "k001", "number": 7}),
        ]
    )
    assert done is None
    assert list(table.query("KEY")) == [ITEM, {"pk": "KEY", "sk": "k001", "number": 7}]


def test_none_of_a_transaction_is_done_if_one_condition_fails(table: Table) -> None:
    before = filled(table, 3, version=4)
    keys = [{"pk": "KEY", "sk": item["sk"]} for item in before]
    writes = [
        table.put(ITEM, ABSENT),
        table.put({**keys[0], "version": 5}, table.is_version(3)),
        table.put({**keys[1], "version": 5}, table.is_version(4)),
        table.delete(keys[2], table.is_version(5)),
        table.must_be_absent(keys[1] | {"sk": "nobody"}),
    ]
    assert table.transact(writes) == {1, 3}
    assert list(table.query("KEY")) == before
    assert table.transact([table.must_be_absent(keys[0])]) == {0}


def test_a_hundred_writes_are_one_transaction(table: Table) -> None:
    items = [{"pk": "KEY", "sk": f"k{number:03}"} for number in range(TRANSACTION)]
    assert TRANSACTION == 100
    assert table.transact([table.put(item, ABSENT) for item in items]) is None
    assert list(table.query("KEY")) == items
    assert table.transact([table.put(item, ABSENT) for item in items]) == set(range(100))


def test_an_item_is_written_once_in_a_transaction(table: Table) -> None:
    with pytest.raises(CallFailed, match="TransactWriteItems failed: ValidationException"):
        table.transact([table.put(ITEM), table.put({**ITEM, "version": 2})])
    assert table.get(KEY) is None


# --- errors ---------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Table], Any]] = {
    "Query": lambda table: list(table.query("KEY")),
    "GetItem": lambda table: table.get(KEY),
    "BatchGetItem": lambda table: list(table.get_all("KEY", ["k0"])),
    "PutItem": lambda table: table.put_now(ITEM),
    "DeleteItem": lambda table: table.delete_now(KEY),
    "UpdateItem": lambda table: table.set_now(KEY, {"owner": "a"}),
    "TransactWriteItems": lambda table: table.transact([table.put(ITEM)]),
}


@pytest.mark.parametrize("operation", CALLS)
def test_a_call_that_fails_says_which_in_an_error_of_ours(operation: str) -> None:
    def failing(err: Exception) -> Table:
        def fail(*_: Any) -> Any:
            raise err

        return Table(Watched(Raises(), "dynamodb", fail), "ledger")

    call = CALLS[operation]
    with pytest.raises(CallFailed, match=f"{operation} failed: InternalServerError"):
        call(failing(refused("Any", "InternalServerError", 500)))
    with pytest.raises(CallFailed, match=f"{operation} failed: EndpointConnectionError"):
        call(failing(EndpointConnectionError(endpoint_url="https://x")))
    with pytest.raises(CallFailed, match=f"{operation} failed: ParamValidationError"):
        call(failing(ParamValidationError(report="what was sent")))
    action = "PutItem" if operation == "TransactWriteItems" else operation
    with pytest.raises(AccessDenied, match=f"dynamodb:{action} on ledger"):
        call(failing(refused("Any", "AccessDeniedException")))


class Raises:
    def __getattr__(self, name: str) -> Any:
        return lambda **_: None
