"""The request queue: the adapter against botocore's model of SQS."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError, ParamValidationError
from botocore.stub import Stubber

from keyjanitor.adapters.request_queue import RequestQueue
from keyjanitor.domain.requests.sqs_message import Message

URL = "https://sqs.us-east-1.amazonaws.com/123456789012/requests"
DEAD = "https://sqs.us-east-1.amazonaws.com/123456789012/dead"
BODY = "keyj" + "0" * 36


@pytest.fixture
def client() -> Any:
    return boto3.client(
        "sqs", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )


@pytest.fixture
def aws(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def messages(count: int, received: int = 1) -> list[Message]:
    return [
        Message(f"m{number}", BODY, "AROASENDER", None, f"receipt {number}", received)
        for number in range(count)
    ]


def entry(index: int, number: int, seconds: int = 30) -> dict[str, Any]:
    return {
        "Id": str(index),
        "ReceiptHandle": f"receipt {number}",
        "VisibilityTimeout": seconds,
    }


def changed(
    aws: Stubber, entries: Sequence[dict[str, Any]], failed: Sequence[dict[str, Any]] = ()
) -> None:
    lost = {one["Id"] for one in failed}
    aws.add_response(
        "change_message_visibility_batch",
        {
            "Successful": [{"Id": one["Id"]} for one in entries if one["Id"] not in lost],
            "Failed": list(failed),
        },
        {"QueueUrl": URL, "Entries": list(entries)},
    )


def test_messages_become_visible_by_tens(client: Any, aws: Stubber) -> None:
    changed(aws, [entry(index, index) for index in range(10)])
    changed(aws, [entry(index, 10 + index) for index in range(10)])
    changed(aws, [entry(0, 20)])
    RequestQueue(client, URL, DEAD).shorten_visibility(messages(21))


def test_each_message_comes_again_by_how_often_it_came(client: Any, aws: Stubber) -> None:
    changed(aws, [entry(0, 0, 30), entry(1, 0, 60), entry(2, 0, 900)])
    often = [messages(1, received)[0] for received in (1, 2, 9)]
    RequestQueue(client, URL, DEAD).shorten_visibility(often)


def test_without_messages_nobody_is_asked(client: Any, aws: Stubber) -> None:
    RequestQueue(client, URL, DEAD).shorten_visibility([])


def test_a_message_that_failed_does_not_keep_the_others(
    client: Any, aws: Stubber, caplog: pytest.LogCaptureFixture
) -> None:
    failed = [
        {"Id": "0", "Code": "ReceiptHandleIsInvalid", "SenderFault": True, "Message": "receipt 0"},
        {"Id": "3", "Code": "ReceiptHandleIsInvalid", "SenderFault": True},
        {"Id": "4", "Code": "InternalError", "SenderFault": False},
    ]
    changed(aws, [entry(index, index) for index in range(10)], failed)
    changed(aws, [entry(0, 10)])
    with caplog.at_level(logging.INFO):
        RequestQueue(client, URL, DEAD).shorten_visibility(messages(11))
    (record,) = caplog.records
    assert record.getMessage() == (
        "messages that come again only later, by code: "
        "{'ReceiptHandleIsInvalid': 2, 'InternalError': 1}"
    )


@pytest.mark.parametrize(
    "code", ["AccessDenied", "AWS.SimpleQueueService.NonExistentQueue", "InternalFailure"]
)
def test_a_call_that_fails_is_no_error(
    client: Any, aws: Stubber, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    """What comes again comes by itself, only later."""
    aws.add_client_error("change_message_visibility_batch", code, BODY, 400)
    RequestQueue(client, URL, DEAD).shorten_visibility(messages(25))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert BODY not in caplog.text
    assert "receipt" not in caplog.text
    if code == "AccessDenied":
        assert "sqs:ChangeMessageVisibility on the request queue" in record.getMessage()


@pytest.mark.parametrize(
    "err", [ConnectTimeoutError(endpoint_url=BODY), ParamValidationError(report=BODY)]
)
def test_nor_is_a_call_that_was_never_made(
    err: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    class Raises:
        def change_message_visibility_batch(self, **_: Any) -> Any:
            raise err

    RequestQueue(Raises(), URL, DEAD).shorten_visibility(messages(1))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert BODY not in caplog.text


def test_a_message_without_a_receipt_keeps_nobody(client: Any, aws: Stubber) -> None:
    """A function that is tried out by hand is given what it is given."""
    nameless = Message("m0", BODY, "", None)
    changed(aws, [{"Id": "0", "ReceiptHandle": "", "VisibilityTimeout": 30}])
    RequestQueue(client, URL, DEAD).shorten_visibility([nameless])


def test_what_can_never_be_a_request_goes_to_the_dead_letters_with_its_attributes(
    client: Any, aws: Stubber
) -> None:
    attributes: dict[str, dict[str, Any]] = {
        "Text": {"stringValue": "a", "binaryValue": None, "dataType": "String"},
        "Bytes": {"binaryValue": "AAE=", "stringListValues": [], "dataType": "Binary"},
    }
    sent = {
        "Text": {"DataType": "String", "StringValue": "a"},
        "Bytes": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
    }
    expected = {"QueueUrl": DEAD, "MessageBody": BODY}
    aws.add_response("send_message", {}, {**expected, "MessageAttributes": sent})
    aws.add_response("send_message", {}, {**expected, "MessageAttributes": {}})
    bare = messages(2)
    buried = [replace(bare[0], attributes=attributes), bare[1]]
    assert RequestQueue(client, URL, DEAD).send_to_dead_letters(buried) == []


def test_what_the_dead_letter_queue_refuses_is_left_and_its_body_is_not_logged(
    client: Any, aws: Stubber, caplog: pytest.LogCaptureFixture
) -> None:
    aws.add_client_error("send_message", "AccessDenied", "no", 403)
    aws.add_response(
        "send_message", {}, {"QueueUrl": DEAD, "MessageBody": BODY, "MessageAttributes": {}}
    )
    both = messages(2)
    assert RequestQueue(client, URL, DEAD).send_to_dead_letters(both) == both[:1]
    assert "sqs:SendMessage" in caplog.text
    assert BODY not in caplog.text
