"""Queues that start functions in the sandbox: what deploys, what a record tells, what comes again."""

import json
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.driver.client import ACCOUNT, Sandbox
from sandbox.driver.queues import sqs_event
from tests.work import WAIT

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]

THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RIGHTS = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes", "ChangeMessageVisibility")

# A body is a command: whether to fail, and in how many seconds to come again.
CODE = """
import json, os, boto3
def handler(event, context):
    failed, sqs = [], boto3.client("sqs")
    for n, record in enumerate(event["Records"]):
        body = json.loads(record["body"])
        print("record", json.dumps(record))
        for _ in range(body.get("calls", 0)):
            sqs.get_queue_attributes(QueueUrl=os.environ["QUEUE_URL"])
        receipt = {"ReceiptHandle": record["receiptHandle"], "VisibilityTimeout": body.get("again")}
        if body.get("how") == "batch":
            answer = sqs.change_message_visibility_batch(
                QueueUrl=os.environ["QUEUE_URL"], Entries=[{"Id": str(n)} | receipt])
            assert not answer.get("Failed"), answer
        elif "again" in body:
            sqs.change_message_visibility(QueueUrl=os.environ["QUEUE_URL"], **receipt)
        if int(record["attributes"]["ApproximateReceiveCount"]) <= body.get("failures", 0):
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}
"""


def template(mapping: dict[str, Any], visibility: int, receives: int, rights: Any) -> str:
    """A stack with a queue as `RequestQueue` is to be, and a function that it starts."""
    arn = {"Fn::GetAtt": ["Queue", "Arn"]}
    trusted = {
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    allowed = {
        "Effect": "Allow",
        "Action": [f"sqs:{right}" for right in rights],
        "Resource": arn,
    }
    resources = {
        "DeadLetters": {"Type": "AWS::SQS::Queue", "Properties": {"SqsManagedSseEnabled": True}},
        "Queue": {
            "Type": "AWS::SQS::Queue",
            "Properties": {
                "SqsManagedSseEnabled": True,
                "VisibilityTimeout": visibility,
                "RedrivePolicy": {
                    "deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetters", "Arn"]},
                    "maxReceiveCount": receives,
                },
            },
        },
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trusted]},
                "Policies": [
                    {
                        "PolicyName": "p",
                        "PolicyDocument": {"Version": "2012-10-17", "Statement": [allowed]},
                    }
                ],
            },
        },
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "Runtime": "python3.13",
                "Handler": "index.handler",
                "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                "Timeout": 2,
                "Code": {"ZipFile": CODE},
                "Environment": {"Variables": {"QUEUE_URL": {"Ref": "Queue"}}},
            },
        },
        "Mapping": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {"EventSourceArn": arn, "FunctionName": {"Ref": "Function"}} | mapping,
        },
    }
    return json.dumps({"Resources": resources})


AS_DEPLOYED = {
    "BatchSize": 500,
    "MaximumBatchingWindowInSeconds": 5,
    "ScalingConfig": {"MaximumConcurrency": 2},
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
}


class Deployed:
    """The stack, and what its function saw."""

    def __init__(self, sandbox: Sandbox, name: str) -> None:
        self.sandbox = sandbox
        described = sandbox.client("cloudformation").describe_stack_resources(StackName=name)
        ids = {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in described["StackResources"]}
        self.function, self.role, self.mapping = ids["Function"], ids["Role"], ids["Mapping"]
        self.queue, self.dead_letters = ids["Queue"], ids["DeadLetters"]
        self.queue_arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{self.queue.rpartition('/')[2]}"

    def send(self, **command: Any) -> str:
        return self.sandbox.send_requests(self.queue, [command])[0]

    def records(self, sent: str | None = None) -> list[dict[str, Any]]:
        """Every record that the function was given, or those of one message, in order."""
        try:
            lines = self.sandbox.log_lines(f"/aws/lambda/{self.function}")
        except ValueError:  # it never ran
            return []
        records = [json.loads(line[7:]) for line in lines if line.startswith("record ")]
        return [record for record in records if sent in (None, record["messageId"])]

    def wait_for_records(self, count: int, sent: str | None = None) -> list[dict[str, Any]]:
        deadline = time.monotonic() + WAIT
        while len(found := self.records(sent)) < count:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        return found

    def rest(self) -> None:
        """Wait until the function has answered."""
        while any(w["busy"] for w in self.sandbox.workers() if w["function"] == self.function):
            time.sleep(0.05)

    def counts(self, sent: str | None = None) -> list[str]:
        return [r["attributes"]["ApproximateReceiveCount"] for r in self.records(sent)]


def deploy(sandbox: Sandbox, name: str, **kw: Any) -> Deployed:
    given: dict[str, Any] = {"visibility": 600, "receives": 10, "rights": RIGHTS} | kw
    given["mapping"] = AS_DEPLOYED | given.pop("mapping", {})
    cloudformation = sandbox.client("cloudformation")
    cloudformation.create_stack(
        StackName=name, TemplateBody=template(**given), Capabilities=["CAPABILITY_IAM"]
    )
    deadline = time.monotonic() + WAIT
    while True:
        [stack] = cloudformation.describe_stacks(StackName=name)["Stacks"]
        if stack["StackStatus"] == "CREATE_COMPLETE":
            return Deployed(sandbox, name)
        if "ROLLBACK" in stack["StackStatus"] or "FAILED" in stack["StackStatus"]:
            events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
            raise ValueError([event.get("ResourceStatusReason") for event in events])
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def name() -> str:
    return f"keyjanitor-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def stack(running_sandbox: Sandbox) -> Deployed:
    """One stack for the tests that leave nothing on its queue."""
    return deploy(running_sandbox, f"keyjanitor-{uuid.uuid4().hex[:8]}")


def test_a_queue_and_its_mapping_deploy_as_they_are_written(
    sandbox: Sandbox, stack: Deployed
) -> None:
    queue = sandbox.client("sqs").get_queue_attributes(
        QueueUrl=stack.queue, AttributeNames=["All"]
    )["Attributes"]
    assert queue["SqsManagedSseEnabled"] == "true"
    assert int(queue["VisibilityTimeout"]) == 600
    assert int(json.loads(queue["RedrivePolicy"])["maxReceiveCount"]) == 10
    mapping = sandbox.client("lambda").get_event_source_mapping(UUID=stack.mapping)
    assert {name: mapping[name] for name in AS_DEPLOYED} == AS_DEPLOYED


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (
            {"rights": RIGHTS[1:]},
            "The provided execution role does not have permissions to call ReceiveMessage on SQS",
        ),
        ({"visibility": 1}, "Queue visibility timeout: 1 seconds is less than Function timeout: 2"),
        (
            {"mapping": {"MaximumBatchingWindowInSeconds": 0}},
            "Maximum batch window in seconds must be greater than 0",
        ),
    ],
)
def test_a_mapping_that_aws_would_refuse_does_not_deploy(
    sandbox: Sandbox, name: str, given: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        deploy(sandbox, name, **given)


def test_a_mapping_made_by_hand_is_refused_too(sandbox: Sandbox, stack: Deployed) -> None:
    with pytest.raises(ClientError, match="Maximum batch window") as error:
        sandbox.client("lambda").create_event_source_mapping(
            EventSourceArn=stack.queue_arn, FunctionName=stack.function, BatchSize=11
        )
    assert error.value.response["Error"]["Code"] == "InvalidParameterValueException"


def test_a_record_was_sent_when_the_sandboxs_clock_says(sandbox: Sandbox, stack: Deployed) -> None:
    sandbox.set_clock(THEN)
    sent = stack.send()
    sandbox.wait_for_queue(stack.queue, WAIT)
    [record] = stack.records(sent)
    at = int(record["attributes"]["SentTimestamp"])
    first = int(record["attributes"]["ApproximateFirstReceiveTimestamp"])
    assert at == THEN.timestamp() * 1000
    assert at <= first < at + 8_000


def test_a_record_tells_who_sent_it(sandbox: Sandbox, stack: Deployed, name: str) -> None:
    may_send = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": stack.queue_arn}
    portal = sandbox.client("sqs", **sandbox.role(name, may_send))
    by_role = portal.send_message(QueueUrl=stack.queue, MessageBody="{}")["MessageId"]
    by_root = stack.send()
    sandbox.wait_for_queue(stack.queue, WAIT)
    sender = {r["messageId"]: r["attributes"]["SenderId"] for r in stack.records()}
    role_id = sandbox.client("iam").get_role(RoleName=name)["Role"]["RoleId"]
    assert (sender[by_role], sender[by_root]) == (f"{role_id}:sandbox", ACCOUNT)


def test_an_event_made_up_has_what_a_real_one_has(sandbox: Sandbox, stack: Deployed) -> None:
    sent = stack.send()
    sandbox.wait_for_queue(stack.queue, WAIT)
    [real] = stack.records(sent)
    [made] = sqs_event(stack.queue_arn, [{}])["Records"]
    assert made.keys() == real.keys()
    assert made["attributes"].keys() == real["attributes"].keys()
    assert {n for n in made if made[n] == real[n]} == {
        *("body", "messageAttributes", "md5OfBody", "eventSource", "eventSourceARN", "awsRegion")
    }


def test_an_event_has_as_many_records_as_are_given(sandbox: Sandbox, stack: Deployed) -> None:
    event = sqs_event(
        stack.queue_arn,
        [*({"n": n} for n in range(499)), '{"failures": 3}'],
        sender_id="AIDAUSER",
        sent=THEN,
        receive_count=3,
    )
    ids = [record["messageId"] for record in event["Records"]]
    assert len(set(ids)) == 500
    assert event["Records"][0]["attributes"] == {
        "ApproximateReceiveCount": "3",
        "SentTimestamp": "1767323045000",
        "SenderId": "AIDAUSER",
        "ApproximateFirstReceiveTimestamp": "1767323045000",
    }
    answer = sandbox.invoke(stack.function, event)
    assert answer == {"batchItemFailures": [{"itemIdentifier": ids[-1]}]}


def test_a_failed_record_comes_again_after_its_visibility_timeout_and_is_counted(
    sandbox: Sandbox, name: str
) -> None:
    stack = deploy(sandbox, name, visibility=6)
    started = time.monotonic()
    sandbox.send_requests(stack.queue, [{"failures": 1}, {}])
    sandbox.wait_for_queue(stack.queue, WAIT)  # the default would take ten minutes
    assert time.monotonic() - started >= 6
    assert sorted(stack.counts()) == ["1", "1", "2"]


@pytest.mark.parametrize("how", ["one", "batch"])
def test_a_function_makes_its_message_visible_by_the_records_receipt(
    sandbox: Sandbox, stack: Deployed, how: str
) -> None:
    soon = stack.send(failures=1, again=1, how=how)
    sandbox.wait_for_queue(stack.queue, WAIT)
    assert stack.counts(soon) == ["1", "2"]
    later = stack.send(failures=1, again=30, how=how)
    stack.wait_for_records(1, later)
    with pytest.raises(TimeoutError, match=r"0 visible, 1 in flight, 0 delayed"):
        sandbox.wait_for_queue(stack.queue, 0.5)


def test_messages_in_flight_can_be_delivered_again_at_once(
    sandbox: Sandbox, stack: Deployed
) -> None:
    sent = stack.send(failures=1)
    stack.wait_for_records(1, sent)
    stack.rest()
    assert sandbox.redeliver(stack.queue) == 1
    sandbox.wait_for_queue(stack.queue, WAIT)
    assert stack.counts(sent) == ["1", "2"]


def test_what_always_fails_is_a_dead_letter_and_can_be_moved_back(
    sandbox: Sandbox, name: str
) -> None:
    stack = deploy(sandbox, name, receives=2)
    sent = stack.send(failures=2)
    for count in (1, 2):
        stack.wait_for_records(count)
        stack.rest()
        sandbox.redeliver(stack.queue)
    sandbox.wait_for_queue(stack.queue, WAIT)
    assert sandbox.move_back(stack.dead_letters, stack.queue) == 1
    assert sandbox.move_back(stack.dead_letters, stack.queue) == 0
    records = stack.wait_for_records(3)
    assert [record["messageId"] == sent for record in records] == [True, True, False]
    assert stack.counts() == ["1", "2", "1"]


def test_requests_are_sent_by_tens_and_texts_as_they_are(sandbox: Sandbox, name: str) -> None:
    sqs = sandbox.client("sqs")
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    ids = sandbox.send_requests(queue, [*({"n": n} for n in range(24)), "no JSON"])
    bodies: dict[str, str] = {}
    while len(bodies) < 25:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]:
            bodies[message["MessageId"]] = message["Body"]
    assert [bodies[message_id] for message_id in ids] == [
        *(json.dumps({"n": n}) for n in range(24)),
        "no JSON",
    ]


def test_a_wipe_empties_queues_and_leaves_them(sandbox: Sandbox, name: str) -> None:
    queue = sandbox.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    sandbox.send_requests(queue, ["left over"])
    with pytest.raises(TimeoutError, match=r"1 visible, 0 in flight, 0 delayed"):
        sandbox.wait_for_queue(queue, 0)
    sandbox.wipe()
    sandbox.wait_for_queue(queue, 0)


def test_a_function_that_dies_leaves_its_messages_to_be_delivered_again(
    sandbox: Sandbox, stack: Deployed
) -> None:
    assert stack.role.startswith("keyjanitor-")
    sandbox.misbehave(die_after={stack.role[:-4]: 2})
    sent = stack.send(calls=5)
    stack.wait_for_records(1, sent)
    # Whether the message is still being worked on does not matter: it may come twice.
    for _ in range(int(WAIT / 5)):
        sandbox.redeliver(stack.queue)
        with suppress(TimeoutError):
            sandbox.wait_for_queue(stack.queue, 5)
            break
    assert int(stack.counts(sent)[-1]) > 1
