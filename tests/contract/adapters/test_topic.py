"""The alert topic: the adapter against botocore's model of SNS, with the alerts that are published."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from keyjanitor import __version__
from keyjanitor.adapters.alert_topic import AlertTopic, Stack
from keyjanitor.domain.expiry import alert_text as alerts
from keyjanitor.domain.expiry.safety_brake import Brake
from keyjanitor.domain.model.alert import Alert, chat
from keyjanitor.domain.model.keys import SweepAction
from keyjanitor.domain.model.records import Row
from keyjanitor.errors import AccessDenied, CallFailed
from tests.builders import CONTACT, DAY, PLACE, TODAY, a_policy, a_tier, a_warned_row

ARN = "arn:aws:sns:us-east-1:123456789012:alerts"
STACK = Stack("keyjanitor", "keyjanitor-history")
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
    AlertTopic(client, ARN, STACK).publish(alert)
    return client.params


def warned(count: int, **more: Any) -> list[Row]:
    because = "idle for 60 days, since 2026-09-22"
    rows = (a_warned_row(f"a1b2c3{n:04}", warned=0, reason=because, **more) for n in range(count))
    return list(rows)


def expiring(count: int, **more: Any) -> Alert:
    return alerts.expiring(TODAY, warned(count, **more), a_policy()).at(PLACE)


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
                "audience": {"DataType": "String", "StringValue": "operators"},
            },
        },
    )
    AlertTopic(client, ARN, STACK).publish(alert)


def a_brake(new: int) -> Alert:
    brake = Brake(new=new, worst=new, on=TODAY, allowance=500, usual=0, since=TODAY - DAY)
    draft = alerts.brake(TODAY, brake, {SweepAction.WARN: new}, "0123456789abcdef", ["k0"], {})
    return draft.at(PLACE)


def attributes(alert: Alert) -> dict[str, Any]:
    """What a filter policy may ask for."""
    found = published(alert)["MessageAttributes"]
    return {
        name: json.loads(one["StringValue"])
        if one["DataType"] == "String.Array"
        else one["StringValue"]
        for name, one in found.items()
    }


def test_an_alert_for_operators_and_a_digest_for_contacts_are_told_apart_by_attributes() -> None:
    assert attributes(a_brake(99_999)) == {
        "kind": "brake",
        "severity": "warning",
        "audience": "operators",
    }
    assert attributes(expiring(2)) == {
        "kind": "expiring",
        "severity": "info",
        "audience": "contacts",
        "tier": ["external"],
        "contact": [CONTACT],
    }


def test_a_digest_names_each_tier_and_contact_that_it_is_about() -> None:
    policy = a_policy(
        a_tier(), a_tier("partners", contact="partners@example.org"), a_tier("b2b", contact=CONTACT)
    )
    rows = [a_warned_row(f"k{tier}", tier=tier) for tier in ("partners", "external", "b2b", "gone")]
    found = attributes(alerts.expiring(TODAY, rows, policy).at(PLACE))
    assert found["tier"] == ["b2b", "external", "gone", "partners"]
    assert found["contact"] == [CONTACT, "partners@example.org"]


def test_a_digest_without_a_contact_has_no_such_attribute() -> None:
    found = attributes(alerts.expiring(TODAY, [a_warned_row(tier="gone")], a_policy()).at(PLACE))
    assert (found["tier"], "contact" in found) == (["gone"], False)


def test_the_place_of_a_topic_is_in_its_arn_and_its_stack() -> None:
    topic = AlertTopic(
        Published(), ARN.replace("aws", "aws-us-gov", 1), Stack("kj", "bucket", "https://w")
    )
    place = topic.place
    assert (place.partition, place.region, place.account) == (
        "aws-us-gov",
        "us-east-1",
        "123456789012",
    )
    assert (place.stack, place.bucket, place.runbook_url) == ("kj", "bucket", "https://w")
    assert place.version == __version__


def test_https_gets_the_form_of_a_chat_channel_where_the_stack_is_set_so() -> None:
    alert = a_brake(1_200)
    client = Published()
    AlertTopic(client, ARN, Stack("keyjanitor", "history", https_form="chat")).publish(alert)
    forms = json.loads(client.params["Message"])
    assert json.loads(forms["https"]) == chat(alert)
    assert forms["sqs"] == forms["lambda"] == json.dumps(alert.form)
    assert forms["email"] == alert.text


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
        AlertTopic(client, ARN, STACK).publish(expiring(1))


def test_access_denied_by_the_topics_policy_names_the_action_and_the_role(
    client: Any, aws: Stubber
) -> None:
    """SNS has a code of its own for it."""
    role = "arn:aws:sts::123456789012:assumed-role/keyjanitor-ExpireKeys/f"
    aws.add_client_error("publish", "AuthorizationError", f"User: {role} is not authorized", 403)
    with pytest.raises(AccessDenied, match=f"{role} may not sns:Publish"):
        AlertTopic(client, ARN, STACK).publish(expiring(1))
