"""The alert topic: the adapter against botocore's model of SNS, with the alerts that are published."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from keyjanitor.adapters.alert_topic import AlertTopic
from keyjanitor.domain.expiry import alert_text as alerts
from keyjanitor.domain.expiry.safety_brake import Brake
from keyjanitor.domain.model.alert import Alert
from keyjanitor.domain.model.keys import SweepAction
from keyjanitor.domain.model.records import Row
from keyjanitor.errors import AccessDenied, CallFailed
from tests.builders import DAY, TODAY, a_policy, a_warned_row

ARN = "arn:aws:sns:us-east-1:123456789012:alerts"
MOST = 256 * 1024  # bytes that an SNS message holds (doc)


@pytest.fixture
def client() -> Any:
    return boto3.client(
        "sns", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )


@pytest.fixture
def aws(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


class Published:
    """A client that keeps what is published."""

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}

    def publish(self, **params: Any) -> None:
        self.params = params


def published(alert: Alert) -> dict[str, Any]:
    client = Published()
    AlertTopic(client, ARN).publish(alert)
    return client.params


def warned(count: int, **more: Any) -> list[Row]:
    because = "idle for 60 days, since 2026-09-22"
    rows = (a_warned_row(f"a1b2c3{n:04}", warned=0, reason=because, **more) for n in range(count))
    return list(rows)


def expiring(count: int, **more: Any) -> Alert:
    return alerts.expiring(TODAY, warned(count, **more), a_policy())


def test_an_alert_is_one_publish_with_a_text_for_people_and_a_form_for_programs(
    client: Any, aws: Stubber
) -> None:
    alert = Alert("brake", "critical", "subject", "text\nof lines", {"kind": "brake"})
    form = json.dumps({"kind": "brake"})
    message = {
        "default": "text\nof lines",
        "email": "text\nof lines",
        "sqs": form,
        "lambda": form,
        "https": form,
    }
    aws.add_response(
        "publish",
        {"MessageId": "1"},
        {
            "TopicArn": ARN,
            "Subject": "subject",
            "Message": json.dumps(message),
            "MessageStructure": "json",
            "MessageAttributes": {
                "kind": {"DataType": "String", "StringValue": "brake"},
                "severity": {"DataType": "String", "StringValue": "critical"},
            },
        },
    )
    AlertTopic(client, ARN).publish(alert)


def a_brake(new: int) -> Alert:
    brake = Brake(new=new, worst=new, on=TODAY, allowance=500, usual=0, since=TODAY - DAY)
    return alerts.brake(TODAY, brake, {SweepAction.WARN: new}, "0123456789abcdef", ["k0"], {})


def test_a_digest_and_a_brake_carry_severity_and_kind() -> None:
    brake = a_brake(99_999)
    found = {
        tuple(one["StringValue"] for one in published(alert)["MessageAttributes"].values())
        for alert in (expiring(2), brake)
    }
    assert found == {("expiring", "info"), ("brake", "critical")}


@pytest.mark.parametrize("count", [1, 1_000])
def test_a_subject_is_ascii_of_one_line_and_under_a_hundred_characters(count: int) -> None:
    brake = a_brake(count)
    for alert in (expiring(count, name="ä\nb"), brake):
        subject = published(alert)["Subject"]
        assert subject.isascii()
        assert subject.isprintable()
        assert len(subject) < 100


NAMES = ["short", "sensors of hall 4, by the gate", "\N{SNOWMAN}" * 1024, '"\\\n' * 300]


@pytest.mark.parametrize("name", NAMES, ids=["short", "usual", "snowmen", "quotes"])
@pytest.mark.parametrize("count", [1, 100, 300, 500, 1_000])
@pytest.mark.sampled
def test_a_message_fits_into_what_sns_takes(count: int, name: str) -> None:
    """All of it is one parameter, whose limit is for the forms together."""
    params = published(expiring(count, name=name, owner=f"user-{name}"))
    assert len(params["Message"].encode()) + 1024 < MOST
    message = json.loads(params["Message"])
    for protocol in ("sqs", "lambda", "https"):
        assert json.loads(message[protocol])["kind"] == "expiring"


def test_what_failed_is_an_error_of_ours(client: Any, aws: Stubber) -> None:
    aws.add_client_error("publish", "InternalError", "no", 500)
    with pytest.raises(CallFailed, match="InternalError"):
        AlertTopic(client, ARN).publish(expiring(1))


def test_access_denied_by_the_topics_policy_names_the_action_and_the_role(
    client: Any, aws: Stubber
) -> None:
    """SNS has a code of its own for it."""
    role = "arn:aws:sts::123456789012:assumed-role/keyjanitor-ExpireKeys/f"
    aws.add_client_error("publish", "AuthorizationError", f"User: {role} is not authorized", 403)
    with pytest.raises(AccessDenied, match=f"{role} may not sns:Publish"):
        AlertTopic(client, ARN).publish(expiring(1))
