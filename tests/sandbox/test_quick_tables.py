"""A partition is read in the sandbox page by page as DynamoDB has it, whichever way it is asked for."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.driver.client import Sandbox

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]

ITEMS = 40
TEXT = "é" * 40_000  # of each item: some dozen of them fill a page of a megabyte


@pytest.fixture
def table(sandbox: Sandbox) -> str:
    """A table with one partition of forty items, written in no order, and one of a single item."""
    client, name = sandbox.client("dynamodb"), f"table-{uuid.uuid4().hex[:8]}"
    keys = {"pk": "HASH", "sk": "RANGE"}
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
    )
    for number in range(ITEMS):
        item = {"pk": {"S": "many"}, "sk": {"S": f"{number * 7 % ITEMS:02}"}, "text": {"S": TEXT}}
        client.put_item(TableName=name, Item=item | {"number": {"N": str(number)}})
    client.put_item(TableName=name, Item={"pk": {"S": "one"}, "sk": {"S": "0"}})
    return name


def pages(sandbox: Sandbox, table: str, condition: str, **more: Any) -> Iterator[dict[str, Any]]:
    """The pages of a query of the partition `many`, without what HTTP adds to them."""
    ends = {":low": {"S": "00"}, ":high": {"S": f"{ITEMS - 1:02}"}}
    values = {":pk": {"S": "many"}} | {name: ends[name] for name in ends if name in condition}
    asked = {"TableName": table, "KeyConditionExpression": condition, **more}
    while True:
        page = sandbox.client("dynamodb").query(ExpressionAttributeValues=values, **asked)
        del page["ResponseMetadata"]
        yield page
        if "LastEvaluatedKey" not in page:
            return
        asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]


@pytest.mark.parametrize(
    "projected",
    [{}, {"ProjectionExpression": "sk, #n", "ExpressionAttributeNames": {"#n": "number"}}],
)
def test_a_whole_partition_has_the_same_pages_by_either_condition(
    sandbox: Sandbox, table: str, projected: dict[str, Any]
) -> None:
    by_range = list(pages(sandbox, table, "pk = :pk AND sk >= :low", **projected))
    between = "pk = :pk AND sk BETWEEN :low AND :high"
    assert list(pages(sandbox, table, between, **projected)) == by_range
    first = list(pages(sandbox, table, "pk = :pk", **projected))
    again = list(pages(sandbox, table, "pk = :pk", **projected))
    assert first == again == by_range
    assert len(first) > 2
    read = [item["sk"]["S"] for page in first for item in page["Items"]]
    assert read == [f"{number:02}" for number in range(ITEMS)]


def test_what_is_written_between_two_pages_is_seen_and_what_is_gone_is_not(
    sandbox: Sandbox, table: str
) -> None:
    client = sandbox.client("dynamodb")
    list(pages(sandbox, table, "pk = :pk"))
    one_by_one = pages(sandbox, table, "pk = :pk")
    seen = [item["sk"]["S"] for item in next(one_by_one)["Items"]]
    client.put_item(TableName=table, Item={"pk": {"S": "many"}, "sk": {"S": "39a"}})
    client.delete_item(TableName=table, Key={"pk": {"S": "many"}, "sk": {"S": "38"}})
    seen += [item["sk"]["S"] for page in one_by_one for item in page["Items"]]
    assert seen[-2:] == ["39", "39a"]
    assert "38" not in seen


@pytest.mark.parametrize(
    "start",
    [
        {"pk": {"S": "one"}, "sk": {"S": "0"}},
        {"pk": {"S": "many"}},
    ],
)
def test_a_start_that_no_page_gave_is_refused(
    sandbox: Sandbox, table: str, start: dict[str, Any]
) -> None:
    list(pages(sandbox, table, "pk = :pk"))
    with pytest.raises(ClientError) as refused:
        next(pages(sandbox, table, "pk = :pk", ExclusiveStartKey=start))
    assert refused.value.response["Error"]["Code"] == "ValidationException"
