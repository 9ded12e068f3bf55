"""What the functions' own clients make of answers, which they read without botocore's models."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC
from io import BytesIO
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse

from keyjanitor.adapters.clients import gateway_client, table_client
from keyjanitor.adapters.dynamodb import NOT_WHOLE, Table
from keyjanitor.errors import CallFailed, UnexpectedAnswer

KEY = {
    "id": "k0",
    "name": "a name",
    "customerId": "user-1",
    "description": None,
    "enabled": False,
    "createdDate": 1_790_000_000,
    "lastUpdatedDate": 1_790_000_000.25,
    "stageKeys": ["api/prod"],
    "tags": {"team": "api"},
}
MEMBER = {"id": "k0", "type": "API_KEY", "name": "a name"}
ITEM = {
    "pk": {"S": "KEY"},
    "version": {"N": "12"},
    "share": {"N": "-0.25"},
    "hold": {"BOOL": False},
    "owner": {"NULL": True},
    "facts": {"M": {"days": {"N": "1E+2"}, "of": {"L": [{"S": ""}]}}},
    "names": {"SS": ["a", "b"]},
}


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)


class _Raw(BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


def answered(client: Any, body: bytes, status: int = 200) -> Any:
    """The client, to whose calls this body comes back; what it would send is in `sent`."""

    def answer(**_: Any) -> AWSResponse:
        given: Any = {}
        raw: Any = _Raw(body)
        return AWSResponse("https://x", status, given, raw)

    client.meta.events.register("before-send", answer)
    return client


def plain(service: str) -> Any:
    """boto3's client as it is."""
    make: Any = boto3.client
    return make(service)


def read(answer: Any) -> Any:
    """An answer without what botocore says of the call, its dates in UTC."""
    answer.pop("ResponseMetadata")
    for item in answer.get("items", ()):
        for name in ("createdDate", "lastUpdatedDate"):
            if name in item:
                item[name] = item[name].astimezone(UTC)
    return answer


@pytest.mark.parametrize(
    "body",
    [
        {"item": [KEY, {**KEY, "id": "k1", "tags": {}, "stageKeys": []}], "position": "next"},
        {"item": [{"id": "k0"}]},
        {"item": []},
        {"item": None},
        {"position": "next"},
        {"item": [{**KEY, "createdDate": "2026-09-21T13:33:20Z"}]},
        {"item": [KEY], "warnings": ["a warning"]},
    ],
)
def test_a_page_of_keys_is_read_as_botocore_reads_it(body: dict[str, Any]) -> None:
    wire = json.dumps(body).encode()
    ours = answered(gateway_client(), wire).get_api_keys()
    assert read(ours) == read(answered(plain("apigateway"), wire).get_api_keys())


def test_a_page_of_members_is_read_as_botocore_reads_it() -> None:
    wire = json.dumps({"item": [MEMBER, {**MEMBER, "id": "k1"}], "position": "next"}).encode()
    ours = answered(gateway_client(), wire).get_usage_plan_keys(usagePlanId="p1")
    theirs = answered(plain("apigateway"), wire).get_usage_plan_keys(usagePlanId="p1")
    assert read(ours) == read(theirs)
    assert [one["id"] for one in ours["items"]] == ["k0", "k1"]


@pytest.mark.parametrize("page", [{"Items": [ITEM, {"pk": {"S": "KEY"}}]}, {"Items": []}, {}])
@pytest.mark.parametrize("last", [{}, {"LastEvaluatedKey": {"pk": {"S": "KEY"}}}])
def test_a_page_of_a_table_is_read_as_botocore_reads_it(
    page: dict[str, Any], last: dict[str, Any]
) -> None:
    wire = json.dumps({"Count": 2, **page, **last}).encode()
    ours = answered(table_client(), wire).query(TableName="t")
    theirs = answered(plain("dynamodb"), wire).query(
        TableName="t", KeyConditionExpression="pk = :pk"
    )
    assert read(ours) == read(theirs)


def test_the_items_of_a_table_are_plain_values() -> None:
    wire = json.dumps({"Items": [ITEM]}).encode()
    assert list(Table(answered(table_client(), wire), "t").query("KEY")) == [
        {
            "pk": "KEY",
            "version": 12,
            "share": -0.25,
            "hold": False,
            "owner": None,
            "facts": {"days": 100, "of": [""]},
            "names": {"a", "b"},
        }
    ]


def test_a_table_that_refuses_is_heard() -> None:
    body = b'{"__type": "com.amazon.coral.validate#ValidationException", "message": "no"}'
    with pytest.raises(CallFailed, match="ValidationException"):
        list(Table(answered(table_client(), body, 400), "t").query("KEY"))


CUT_OFF = [b"", b"{", b'{"Items": [{"pk": {"S', b"<html>", b"[]", b"null"]


@pytest.mark.parametrize("body", CUT_OFF)
@pytest.mark.parametrize(
    ("operation", "read_table"),
    [
        ("Query", lambda table: list(table.query("KEY"))),
        ("GetItem", lambda table: table.get({"pk": "CONTROL", "sk": "HOLD"})),
        ("BatchGetItem", lambda table: list(table.get_all("KEY", ["k0"]))),
    ],
)
def test_a_read_of_a_table_that_is_cut_off_is_no_empty_answer(
    operation: str, read_table: Callable[[Table], Any], body: bytes, no_pause: None
) -> None:
    """botocore makes an answer without any field of it: there would be no hold, and no key."""
    with pytest.raises(UnexpectedAnswer) as caught:
        read_table(Table(answered(table_client(), body), "keyjanitor-Ledger"))
    assert str(caught.value) == f"{operation} on keyjanitor-Ledger: {NOT_WHOLE}"
    for part in ("nothing was decided by it", "The next run asks again", "3 times in a row"):
        assert part in str(caught.value)


@pytest.mark.parametrize("body", [b"{}", b'{"Items": {}}', b'{"Items": [1]}'])
def test_a_page_of_a_table_without_its_list_is_no_empty_page(body: bytes, no_pause: None) -> None:
    with pytest.raises(UnexpectedAnswer, match="Query on keyjanitor-Ledger: its answer was cut"):
        list(Table(answered(table_client(), body), "keyjanitor-Ledger").query("KEY"))


def test_a_read_of_a_table_that_was_cut_off_once_is_asked_again(no_pause: None) -> None:
    bodies = [b'{"Item": {"pk"', json.dumps({"Item": ITEM}).encode()]
    client = table_client()

    def answer(**_: Any) -> AWSResponse:
        given: Any = {}
        raw: Any = _Raw(bodies.pop(0))
        return AWSResponse("https://x", 200, given, raw)

    client.meta.events.register("before-send", answer)
    item = Table(client, "t").get({"pk": "KEY", "sk": "k0"})
    assert (item and item["version"], bodies) == (12, [])


def test_a_write_whose_answer_is_cut_off_was_taken(no_pause: None) -> None:
    """Its status says so; what is in its body is not read."""
    assert Table(answered(table_client(), b"{"), "t").put_now({"pk": "KEY", "sk": "k0"})
