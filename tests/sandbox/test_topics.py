"""Topics in the sandbox: who may publish to an encrypted one, and mail that nobody confirmed."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.driver.client import ACCOUNT, Sandbox

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]

ROOT = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
CLOUDWATCH = {"Service": "cloudwatch.amazonaws.com"}
MAIL = "api-team@example.org"
REFUSED_BY_KEY = (
    "CloudWatch Alarms does not have authorization to access the SNS topic encryption key."
)


def allow(principal: Any, *actions: str, **condition: Any) -> dict[str, Any]:
    statement = {
        "Effect": "Allow",
        "Principal": principal,
        "Action": list(actions),
        "Resource": "*",
    }
    return statement | ({"Condition": condition} if condition else {})


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


ADMINISTERED = allow(ROOT, "kms:*")
ALARMS_USE_THE_KEY = allow(CLOUDWATCH, "kms:Decrypt", "kms:GenerateDataKey*")


class Alerting:
    """A stack with a topic and an alarm on it that goes off as soon as it is evaluated."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.name = f"alerting-{uuid.uuid4().hex[:8]}"
        self.topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:{self.name}"

    def deploy(
        self,
        key: list[dict[str, Any]] | str | None = None,
        policy: list[dict[str, Any]] | None = None,
        subscriptions: tuple[str, ...] = (),
    ) -> None:
        """With a key (its policy's statements, or its name), a topic policy, and mail."""
        topic: dict[str, Any] = {"TopicName": self.name}
        resources: dict[str, Any] = {
            "Topic": {"Type": "AWS::SNS::Topic", "Properties": topic},
            "Alarm": {
                "Type": "AWS::CloudWatch::Alarm",
                "Properties": {
                    "AlarmName": self.name,
                    "Namespace": "keyjanitor",
                    "MetricName": "Never",
                    "Statistic": "Sum",
                    "Period": 60,
                    "EvaluationPeriods": 1,
                    "Threshold": 0,
                    "ComparisonOperator": "GreaterThanThreshold",
                    "TreatMissingData": "breaching",
                    "AlarmActions": [{"Ref": "Topic"}],
                },
            },
        }
        if isinstance(key, list):
            properties = {"KeyPolicy": document(*key)}
            resources["Key"] = {"Type": "AWS::KMS::Key", "Properties": properties}
            topic["KmsMasterKeyId"] = {"Fn::GetAtt": ["Key", "Arn"]}
        elif key:
            topic["KmsMasterKeyId"] = key
        if policy:
            resources["Policy"] = {
                "Type": "AWS::SNS::TopicPolicy",
                "Properties": {"Topics": [{"Ref": "Topic"}], "PolicyDocument": document(*policy)},
            }
        for n, endpoint in enumerate(subscriptions):
            resources[f"Mail{n}"] = {
                "Type": "AWS::SNS::Subscription",
                "Properties": {
                    "TopicArn": {"Ref": "Topic"},
                    "Protocol": "email",
                    "Endpoint": endpoint,
                },
            }
        cloudformation = self.sandbox.client("cloudformation")
        cloudformation.create_stack(
            StackName=self.name, TemplateBody=json.dumps({"Resources": resources})
        )
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName=self.name, WaiterConfig={"Delay": 0.1}
        )

    def goes_off(self) -> tuple[int, str]:
        """How many alerts came of it, and what the alarm's history says of its action."""
        assert self.sandbox.evaluate_alarms()[self.name] == "ALARM"
        [item] = self.sandbox.client("cloudwatch").describe_alarm_history(
            AlarmName=self.name, HistoryItemType="Action"
        )["AlarmHistoryItems"]
        return len(self.sandbox.alerts()), item["HistorySummary"]

    def subscriptions(self) -> dict[str, str]:
        listed = self.sandbox.client("sns").list_subscriptions_by_topic(TopicArn=self.topic)
        return {s["Endpoint"]: s["SubscriptionArn"] for s in listed["Subscriptions"]}


@pytest.fixture
def alerting(sandbox: Sandbox) -> Iterator[Alerting]:
    alerting = Alerting(sandbox)
    yield alerting
    sandbox.client("cloudformation").delete_stack(StackName=alerting.name)
    sandbox.client("sns").delete_topic(TopicArn=alerting.topic)


# -- alarms ---------------------------------------------------------------------------------------


def source(account: str = ACCOUNT, alarm: str = "*") -> dict[str, Any]:
    """The condition with which a topic's policy names the alarms of an account."""
    return {
        "StringEquals": {"aws:SourceAccount": account},
        "ArnLike": {"aws:SourceArn": f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:{alarm}"},
    }


ALLOWING: list[dict[str, Any]] = [
    {},
    {"key": [ADMINISTERED, ALARMS_USE_THE_KEY]},
    {"policy": [allow(CLOUDWATCH, "sns:Publish", **source())]},
    {"policy": [allow("*", "sns:Publish")]},
    {
        "policy": [
            allow(CLOUDWATCH, "sns:Publish"),
            allow("*", "sns:Publish", Bool={"aws:SecureTransport": "false"}) | {"Effect": "Deny"},
        ]
    },
]


@pytest.mark.parametrize("given", ALLOWING)
def test_an_alarm_publishes_where_topic_and_key_let_it(
    alerting: Alerting, given: dict[str, Any]
) -> None:
    alerting.deploy(**given)
    assert alerting.goes_off() == (1, f"Successfully executed action {alerting.topic}")


@pytest.mark.parametrize(
    "key",
    [
        [ADMINISTERED],
        [ADMINISTERED, allow(CLOUDWATCH, "kms:GenerateDataKey*")],
        [ADMINISTERED, allow(CLOUDWATCH, "kms:Decrypt")],
        [ADMINISTERED, allow({"Service": "events.amazonaws.com"}, "kms:*")],
        [
            ADMINISTERED,
            allow({"AWS": "*"}, "kms:*", StringEquals={"kms:CallerAccount": ACCOUNT}),
        ],
        "alias/aws/sns",
        "00000000-0000-0000-0000-000000000000",
    ],
)
def test_an_alarm_whose_key_does_not_admit_cloudwatch_fails_to_act(
    alerting: Alerting, key: Any
) -> None:
    alerting.deploy(key=key)
    failed = f'Failed to execute action {alerting.topic}. Received error: "{REFUSED_BY_KEY}"'
    assert alerting.goes_off() == (0, failed)


def test_an_alarm_whose_key_is_disabled_fails_to_act(alerting: Alerting) -> None:
    alerting.deploy(key=[ADMINISTERED, ALARMS_USE_THE_KEY])
    sns, kms = alerting.sandbox.client("sns"), alerting.sandbox.client("kms")
    topic = sns.get_topic_attributes(TopicArn=alerting.topic)["Attributes"]
    kms.disable_key(KeyId=topic["KmsMasterKeyId"])
    assert REFUSED_BY_KEY in alerting.goes_off()[1]


@pytest.mark.parametrize(
    "policy",
    [
        [allow(ROOT, "sns:Publish")],
        [allow({"Service": "events.amazonaws.com"}, "sns:Publish")],
        [allow(CLOUDWATCH, "sns:Subscribe")],
        [allow(CLOUDWATCH, "sns:Publish", **source(account="210987654321"))],
        [allow(CLOUDWATCH, "sns:Publish", **source(alarm="other"))],
        [
            allow(CLOUDWATCH, "sns:Publish"),
            allow(CLOUDWATCH, "sns:Publish", **source()) | {"Effect": "Deny"},
        ],
    ],
)
def test_an_alarm_that_the_topics_policy_leaves_out_fails_to_act(
    alerting: Alerting, policy: list[dict[str, Any]]
) -> None:
    alerting.deploy(policy=policy)
    assert alerting.goes_off() == (
        0,
        (
            f"Failed to execute action {alerting.topic}. Received error: "
            f'"Resource: arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:{alerting.name} is not '
            f'authorized to perform: SNS:Publish on resource: {alerting.topic}"'
        ),
    )


def test_an_alarm_without_its_topic_fails_to_act(alerting: Alerting) -> None:
    alerting.deploy()
    alerting.sandbox.client("sns").delete_topic(TopicArn=alerting.topic)
    assert alerting.goes_off()[1].startswith("Failed to execute action")


# -- callers --------------------------------------------------------------------------------------

VIA_SNS = {"StringEquals": {"kms:ViaService": "sns.us-east-1.amazonaws.com"}}
MAY_PUBLISH = {"Effect": "Allow", "Action": "sns:Publish", "Resource": "*"}


@pytest.mark.parametrize(
    ("actions", "condition", "right"),
    [
        (["kms:Decrypt", "kms:GenerateDataKey*"], {}, True),
        (["kms:Decrypt", "kms:GenerateDataKey*"], VIA_SNS, True),
        (["kms:GenerateDataKey*"], {}, False),
        (["kms:Decrypt"], {}, False),
        (["sns:Subscribe"], {}, False),
    ],
)
def test_a_role_that_publishes_to_an_encrypted_topic_needs_its_key(
    alerting: Alerting, actions: list[str], condition: dict[str, Any], right: bool
) -> None:
    alerting.deploy(key=[ADMINISTERED])
    key: dict[str, Any] = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    key |= {"Condition": condition} if condition else {}
    role = alerting.sandbox.role(f"{alerting.name}-publisher", MAY_PUBLISH, key)
    sns = alerting.sandbox.client("sns", **role)
    batch = {"PublishBatchRequestEntries": [{"Id": "1", "Message": "hello"}]}
    calls: list[tuple[Any, dict[str, Any]]] = [
        (sns.publish, {"Message": "hello"}),
        (sns.publish_batch, batch),
    ]
    for call, message in calls:
        if right:
            call(TopicArn=alerting.topic, **message)
        else:
            with pytest.raises(ClientError, match="KMSAccessDenied"):
                call(TopicArn=alerting.topic, **message)
    assert len(alerting.sandbox.alerts()) == (2 if right else 0)


def test_the_account_and_a_topic_without_a_key_need_none(alerting: Alerting) -> None:
    alerting.deploy()
    role = alerting.sandbox.role(f"{alerting.name}-publisher", MAY_PUBLISH)
    alerting.sandbox.client("sns", **role).publish(TopicArn=alerting.topic, Message="hello")
    alerting.sandbox.client("sns").publish(TopicArn=alerting.topic, Message="hello")
    assert len(alerting.sandbox.alerts()) == 2


# -- templates and mail ---------------------------------------------------------------------------


def test_mail_is_pending_until_it_is_confirmed(alerting: Alerting) -> None:
    sandbox, sns = alerting.sandbox, alerting.sandbox.client("sns")
    alerting.deploy(subscriptions=(MAIL,))
    answer = sns.subscribe(TopicArn=alerting.topic, Protocol="email", Endpoint="b@example.org")
    assert answer["SubscriptionArn"] == "pending confirmation"
    pending = {MAIL: "PendingConfirmation", "b@example.org": "PendingConfirmation"}
    assert alerting.subscriptions() == pending
    attributes = sns.get_topic_attributes(TopicArn=alerting.topic)["Attributes"]
    assert (attributes["SubscriptionsConfirmed"], attributes["SubscriptionsPending"]) == ("0", "2")
    sandbox.confirm_email(alerting.topic, MAIL)
    confirmed = alerting.subscriptions()
    assert confirmed[MAIL].startswith(f"{alerting.topic}:")
    assert confirmed["b@example.org"] == "PendingConfirmation"
    everywhere = sns.list_subscriptions()["Subscriptions"]
    assert {s["Endpoint"]: s["SubscriptionArn"] for s in everywhere}[MAIL] == confirmed[MAIL]
    with pytest.raises(ValueError, match="nothing to confirm"):
        sandbox.confirm_email(alerting.topic, MAIL)


def test_mail_that_is_confirmed_is_not_asked_again(alerting: Alerting) -> None:
    alerting.deploy(subscriptions=(MAIL,))
    alerting.sandbox.confirm_email(alerting.topic, MAIL)
    again = alerting.sandbox.client("sns").subscribe(
        TopicArn=alerting.topic, Protocol="email", Endpoint=MAIL
    )
    assert alerting.subscriptions() == {MAIL: again["SubscriptionArn"]}


def test_an_update_of_the_stack_keeps_what_was_confirmed_and_changes_the_key(
    alerting: Alerting,
) -> None:
    cloudformation, sns = alerting.sandbox.client("cloudformation"), alerting.sandbox.client("sns")
    alerting.deploy(key="alias/aws/sns", subscriptions=(MAIL,))
    alerting.sandbox.confirm_email(alerting.topic, MAIL)
    template = cloudformation.get_template(StackName=alerting.name)["TemplateBody"]
    template = template if isinstance(template, dict) else json.loads(template)
    topic = template["Resources"]["Topic"]["Properties"]
    topic |= {"DisplayName": "alerts", "KmsMasterKeyId": "alias/ours"}
    cloudformation.update_stack(StackName=alerting.name, TemplateBody=json.dumps(template))
    cloudformation.get_waiter("stack_update_complete").wait(
        StackName=alerting.name, WaiterConfig={"Delay": 0.1}
    )
    attributes = sns.get_topic_attributes(TopicArn=alerting.topic)["Attributes"]
    assert attributes["KmsMasterKeyId"] == "alias/ours"
    assert alerting.subscriptions()[MAIL] != "PendingConfirmation"


def test_a_queue_that_is_subscribed_gets_what_its_filter_lets_through(alerting: Alerting) -> None:
    alerting.deploy()
    sandbox, sns = alerting.sandbox, alerting.sandbox.client("sns")
    every = sandbox.subscribe_queue(alerting.topic)
    critical = sandbox.subscribe_queue(alerting.topic, {"severity": ["critical"]})
    for severity in ("info", "critical"):
        attributes = {"severity": {"DataType": "String", "StringValue": severity}}
        sns.publish(TopicArn=alerting.topic, Message=severity, MessageAttributes=attributes)
    assert [message["Message"] for message in sandbox.messages(every)] == ["info", "critical"]
    assert [message["Message"] for message in sandbox.messages(critical)] == ["critical"]
    assert sandbox.messages(every) == []
