"""The records that SQS hands to a function, and when a message that was left comes again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.model.invocation import ReplayWindow
from keyjanitor.domain.requests.sqs_message import Message, read_records
from tests.account import sqs_event
from tests.builders import DAY, TODAY, YESTERDAY

NOW = datetime(2026, 11, 21, 2, 15, tzinfo=UTC)
WINDOW = ReplayWindow(NOW, 36)
SENT = datetime(2026, 11, 20, 23, 59, 59, 999_000, tzinfo=UTC)


def a_record(**attributes: str) -> dict[str, Any]:
    """A record as Lambda hands it over; `attributes` are those that AWS sets."""
    return {
        "messageId": "m1",
        "receiptHandle": "receipt",
        "body": '{"version": 1}',
        "attributes": {
            "ApproximateReceiveCount": "3",
            "SentTimestamp": str(int(SENT.timestamp() * 1000)),
            "SenderId": "AROASENDER:session",
            "ApproximateFirstReceiveTimestamp": "1795000000001",
            **attributes,
        },
        "messageAttributes": {"SenderId": {"stringValue": "AROAFORGED", "dataType": "String"}},
        "md5OfBody": "-",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:requests",
        "awsRegion": "us-east-1",
    }


def a_message(sent_at: datetime | None = SENT, received: int = 1) -> Message:
    return Message("m1", "{}", "AROASENDER", sent_at, "receipt", received)


def test_a_message_is_what_aws_says_of_it() -> None:
    assert Message.of(a_record()) == Message(
        message_id="m1",
        body='{"version": 1}',
        sender="AROASENDER",
        sent_at=SENT,
        receipt_handle="receipt",
        receive_count=3,
        attributes=a_record()["messageAttributes"],
    )


@pytest.mark.parametrize(
    ("sender_id", "sender"),
    [
        ("AROASENDER:session", "AROASENDER"),
        ("AROASENDER:a:b", "AROASENDER"),
        ("AIDAUSER", "AIDAUSER"),
        ("123456789012", "123456789012"),
        ("AROASENDER:", "AROASENDER"),
        (":AROASENDER", ""),
        ("operator", ""),  # who invokes the function is called so, and nobody else
        ("operator:session", ""),
        ("", ""),
    ],
)
def test_the_sender_is_what_stands_before_the_colon(sender_id: str, sender: str) -> None:
    """Who assumes a role names the session as he likes."""
    assert Message.of(a_record(SenderId=sender_id)).sender == sender


@pytest.mark.parametrize("attributes", [{}, None, "missing"])
def test_a_record_without_attributes_is_nobodys_message_of_no_time(attributes: Any) -> None:
    record = {"messageId": "m1", "body": "x", "attributes": attributes}
    if attributes == "missing":
        del record["attributes"]
    assert Message.of(record) == Message("m1", "x", "", None, "", 1)


@pytest.mark.parametrize("text", ["", "soon", "-1", "1.5", " 1"])
def test_numbers_that_are_none_are_taken_for_missing(text: str) -> None:
    message = Message.of(a_record(SentTimestamp=text, ApproximateReceiveCount=text))
    assert (message.sent_at, message.receive_count) == (None, 1)


def test_a_body_is_given_as_it_came() -> None:
    for body in ("", "\ufeff{}", "\0", '"\N{SNOWMAN}"'):
        assert Message.of({**a_record(), "body": body}).body == body


def test_the_messages_of_an_event_come_in_its_order() -> None:
    event = sqs_event("a", {"b": 1}, "c", sender="AROASENDER", sent=NOW, received=2)
    assert read_records(event) == [
        Message(f"{n}", body, "AROASENDER", NOW, f"receipt {n}", 2)
        for n, body in enumerate(("a", '{"b": 1}', "c"))
    ]
    assert read_records({"Records": []}) == []


# --- the date of a request ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent_at", "today"),
    [
        (NOW, TODAY),
        (SENT, YESTERDAY),
        (NOW - timedelta(hours=36), NOW.date() - 2 * DAY),
        (NOW - timedelta(hours=36, seconds=1), TODAY),
        (NOW - DAY * 300, TODAY),
        # A clock that goes a little ahead, and a date that has not come.
        (NOW + timedelta(minutes=5), TODAY),
        (NOW + timedelta(hours=22), TODAY),
        (NOW + DAY * 300, TODAY),
        (None, TODAY),
    ],
)
def test_a_request_is_of_the_date_it_was_sent_on_if_that_is_near(
    sent_at: datetime | None, today: Any
) -> None:
    assert a_message(sent_at).today(WINDOW) == today


def test_without_a_window_every_date_is_believed() -> None:
    for sent_at in (NOW - DAY * 300, NOW + DAY * 300):
        assert a_message(sent_at).today(ReplayWindow(NOW, 0)) == sent_at.date()
    assert a_message(None).today(ReplayWindow(NOW, 0)) == TODAY


# --- again ----------------------------------------------------------------------------------------


def test_a_message_that_is_left_comes_again_later_each_time() -> None:
    seconds = [a_message(received=count).retry_after_s for count in range(1, 11)]
    assert seconds == [30, 60, 120, 240, 480, 900, 900, 900, 900, 900]


@given(st.integers(-(10**6), 10**6))
def test_a_message_comes_again_after_half_a_minute_to_a_quarter_of_an_hour(count: int) -> None:
    assert 30 <= a_message(received=count).retry_after_s <= 900
