"""The event bus: the adapter against botocore's model of EventBridge."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from keyjanitor.bus import BATCH, Bus
from keyjanitor.errors import AccessDenied, CallFailed
from keyjanitor.words import Announcement


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
    assert Bus(client, "bus").put(EVENTS) == [EVENTS[0], EVENTS[2]]


def test_ten_at_once_is_what_aws_takes() -> None:
    assert BATCH == 10


def test_a_call_that_fails_puts_nothing(client: Any, aws: Stubber) -> None:
    aws.add_client_error("put_events", "InternalException", "no", 500)
    with pytest.raises(CallFailed, match="InternalException"):
        Bus(client, "bus").put(EVENTS)


def test_access_denied_names_the_action_and_the_bus(client: Any, aws: Stubber) -> None:
    aws.add_client_error("put_events", "AccessDeniedException", "no", 400)
    with pytest.raises(AccessDenied, match="events:PutEvents on bus"):
        Bus(client, "bus").put(EVENTS)
