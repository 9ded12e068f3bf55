"""The event bus: the adapter against botocore's model of EventBridge."""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.adapters.event_bus import BATCH, ROOM, EventBus, batches
from keyjanitor.domain.model.records import Announcement
from keyjanitor.errors import AccessDenied, CallFailed


@pytest.fixture
def client() -> Any:
    return boto3.client(
        "events", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )


@pytest.fixture
def aws(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


EVENTS = [
    Announcement(f"a{n}", "Key Expiring", {"version": 1, "key_id": f"k{n}", "owner": None})
    for n in range(3)
]
ENTRIES = [
    {
        "EventBusName": "bus",
        "Source": "keyjanitor",
        "DetailType": "Key Expiring",
        "Detail": json.dumps({"version": 1, "key_id": f"k{n}", "owner": None}),
    }
    for n in range(3)
]


def test_events_are_put_together_and_those_that_the_bus_took_are_given(
    client: Any, aws: Stubber
) -> None:
    aws.add_response(
        "put_events",
        {
            "FailedEntryCount": 1,
            "Entries": [
                {"EventId": "1"},
                {"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"},
                {"EventId": "3"},
            ],
        },
        {"Entries": ENTRIES},
    )
    assert EventBus(client, "bus").put(EVENTS) == [EVENTS[0], EVENTS[2]]


def test_ten_at_once_is_what_aws_takes() -> None:
    assert BATCH == 10


def test_a_call_that_fails_puts_nothing(client: Any, aws: Stubber) -> None:
    aws.add_client_error("put_events", "InternalException", "no", 500)
    with pytest.raises(CallFailed, match="InternalException"):
        EventBus(client, "bus").put(EVENTS)


def test_access_denied_names_the_action_and_the_bus(client: Any, aws: Stubber) -> None:
    aws.add_client_error("put_events", "AccessDeniedException", "no", 400)
    with pytest.raises(AccessDenied, match="events:PutEvents on bus"):
        EventBus(client, "bus").put(EVENTS)


def test_what_others_wrote_goes_over_the_wire_as_it_is(client: Any, aws: Stubber) -> None:
    text = 'a,b"c\r\n=1\t\N{GRINNING FACE}\0'
    event = Announcement("a", "Key Issued", {"owner": text})
    detail = '{"owner": "a,b\\"c\\r\\n=1\\t\N{GRINNING FACE}\\u0000"}'
    entry = {
        "EventBusName": "bus",
        "Source": "keyjanitor",
        "DetailType": "Key Issued",
        "Detail": detail,
    }
    aws.add_response("put_events", {"Entries": [{"EventId": "1"}]}, {"Entries": [entry]})
    assert EventBus(client, "bus").put([event]) == [event]
    assert json.loads(detail) == {"owner": text}


# --- batches --------------------------------------------------------------------------------------


def sized(number: int, size: int, letter: str = "x") -> Announcement:
    """An event whose detail has so many bytes."""
    detail = {"n": f"{number:03}", "text": ""}
    room = size - len(json.dumps(detail))
    assert room % len(letter.encode()) == 0
    detail["text"] = letter * (room // len(letter.encode()))
    return Announcement(f"a{number:03}", "Key Issued", detail)


def weight(events: list[Announcement]) -> int:
    return sum(len(json.dumps(one.detail, ensure_ascii=False).encode()) for one in events)


def test_small_events_are_put_by_tens() -> None:
    events = [sized(number, 500) for number in range(23)]
    assert list(batches(events)) == [events[:10], events[10:20], events[20:]]
    assert list(batches(iter(events[:10]))) == [events[:10]]
    assert list(batches([])) == []


def test_large_events_are_put_by_as_many_as_aws_takes() -> None:
    """256 KB in all (doc), the names and the envelope of each entry included."""
    third = ROOM // 3 // 4 * 4
    for letter in ("x", "\N{GRINNING FACE}"):
        events = [sized(number, third, letter) for number in range(7)]
        assert list(batches(events)) == [events[:3], events[3:6], events[6:]]
        assert all(len(json.dumps(one.detail).encode()) >= third for one in events)
    assert ROOM + BATCH * 500 < 256 * 1024


def test_a_batch_may_be_full_to_the_last_byte() -> None:
    halves = [sized(number, ROOM // 2) for number in range(5)]
    assert list(batches(halves)) == [halves[:2], halves[2:4], halves[4:]]
    more = [sized(0, ROOM // 2), sized(1, ROOM // 2 + 1)]
    assert list(batches(more)) == [[more[0]], [more[1]]]


def test_an_event_that_is_too_large_keeps_no_other() -> None:
    events = [sized(0, 500), sized(1, ROOM + 1), sized(2, 500), sized(3, ROOM), sized(4, 500)]
    assert list(batches(events)) == [
        [events[0]],
        [events[1]],
        [events[2]],
        [events[3]],
        [events[4]],
    ]


@given(st.lists(st.integers(30, ROOM + 100) | st.integers(30, 300), max_size=40))
def test_every_event_is_in_one_batch_in_its_order(sizes: list[int]) -> None:
    events = [sized(number, size) for number, size in enumerate(sizes)]
    made = list(batches(events))
    assert [one for batch in made for one in batch] == events
    assert all(1 <= len(batch) <= BATCH for batch in made)
    assert all(weight(batch) <= ROOM or len(batch) == 1 for batch in made)
    # None could have been in the batch before its own.
    assert all(
        len(one) == BATCH or weight([*one, other[0]]) > ROOM for one, other in pairwise(made)
    )
