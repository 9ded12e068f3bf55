"""The audit log: the adapter against botocore's model of CloudWatch Logs."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from keyjanitor.adapters.audit_log import AuditLog
from keyjanitor.domain.model.audit_event import AuditEvent
from keyjanitor.errors import AccessDenied, CallFailed

GROUP = "/aws/events/keyjanitor/1"
SINCE, UNTIL = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 2, tzinfo=UTC)
ASKED = {"logGroupName": GROUP, "startTime": 1_793_491_200_000, "endTime": 1_796_169_600_000}


@pytest.fixture
def client() -> Any:
    return boto3.client(
        "logs", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )


@pytest.fixture
def aws(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def a_line(event_id: str = "e1", **more: Any) -> dict[str, Any]:
    """An event as the rule on the bus writes it into the log."""
    event = {
        "version": "0",
        "id": event_id,
        "detail-type": "Key Issued",
        "source": "keyjanitor",
        "time": "2026-11-21T09:30:12Z",
        "detail": {"key_id": "k1", "sealed_value": "c2VhbGVk", "encryption_context": {"a": "b"}},
        **more,
    }
    return {"timestamp": 1, "message": json.dumps(event)}


def test_events_are_read_page_by_page_without_what_is_sealed_in_them(
    client: Any, aws: Stubber
) -> None:
    aws.add_response("filter_log_events", {"events": [a_line()], "nextToken": "more"}, ASKED)
    # A page may be empty, and the next one not.
    aws.add_response(
        "filter_log_events", {"events": [], "nextToken": "yet more"}, {**ASKED, "nextToken": "more"}
    )
    aws.add_response(
        "filter_log_events", {"events": [a_line("e2")]}, {**ASKED, "nextToken": "yet more"}
    )
    at = datetime(2026, 11, 21, 9, 30, 12, tzinfo=UTC)
    assert AuditLog(client, GROUP).events(SINCE, UNTIL) == (
        [
            AuditEvent("e1", at, "Key Issued", {"key_id": "k1"}),
            AuditEvent("e2", at, "Key Issued", {"key_id": "k1"}),
        ],
        0,
    )


@pytest.mark.parametrize(
    "line",
    [
        {"message": "no JSON"},
        {"message": "[]"},
        {"message": '"text"'},
        {},
        a_line(source="another"),
        a_line(detail=None),
        a_line(time="yesterday"),
        a_line(time=None),
    ],
)
def test_a_line_that_is_no_event_is_counted_and_stops_nothing(
    client: Any, aws: Stubber, line: dict[str, Any]
) -> None:
    aws.add_response("filter_log_events", {"events": [line, a_line()]}, ASKED)
    events, unreadable = AuditLog(client, GROUP).events(SINCE, UNTIL)
    assert ([one.event_id for one in events], unreadable) == (["e1"], 1)


def test_a_refusal_names_the_right_and_the_log_group(client: Any, aws: Stubber) -> None:
    message = "User: arn:aws:sts::123456789012:assumed-role/report/x is not authorized"
    aws.add_client_error("filter_log_events", "AccessDeniedException", message, 400)
    with pytest.raises(AccessDenied, match=f"logs:FilterLogEvents on {GROUP}"):
        AuditLog(client, GROUP).events(SINCE, UNTIL)
    aws.add_client_error("filter_log_events", "ServiceUnavailableException")
    with pytest.raises(CallFailed, match="ServiceUnavailableException"):
        AuditLog(client, GROUP).events(SINCE, UNTIL)
