"""Rules that write events to a log group or send them to a queue deliver in the sandbox as EventBridge does."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.driver.client import ACCOUNT, REPOSITORY, Sandbox

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]

EVERYBODY = ("events.amazonaws.com", "delivery.logs.amazonaws.com")
ACTIONS = ("logs:CreateLogStream", "logs:PutLogEvents")


@pytest.fixture
def name(sandbox: Sandbox) -> Iterator[str]:
    """The name of a stack that goes with its test: an account may have ten log policies."""
    name = f"keyjanitor-{uuid.uuid4().hex[:8]}"
    yield name
    cloudformation = sandbox.client("cloudformation")
    cloudformation.delete_stack(StackName=name)
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName=name, WaiterConfig={"Delay": 0.1}
    )


def group_of(name: str) -> str:
    return f"/aws/events/{name}"


def group_arn(name: str) -> str:
    return f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{group_of(name)}"


def statement(name: str, **kw: Any) -> dict[str, Any]:
    """What lets EventBridge write to the group, as AWS documents it."""
    return {
        "Effect": "Allow",
        "Principal": {"Service": list(EVERYBODY)},
        "Action": list(ACTIONS),
        "Resource": f"{group_arn(name)}:*",
    } | kw


def audited_bus(sandbox: Sandbox, name: str, *statements: dict[str, Any], **target: Any) -> str:
    """A stack with a bus, a rule for our source, and its log group; gives the bus's name."""
    resources: dict[str, Any] = {
        "Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": name}},
        "Log": {
            "Type": "AWS::Logs::LogGroup",
            "Properties": {"LogGroupName": group_of(name), "RetentionInDays": 400},
        },
        "Rule": {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "EventBusName": {"Ref": "Bus"},
                "EventPattern": {"source": ["keyjanitor"]},
                "Targets": [{"Id": "log", "Arn": group_arn(name)} | target],
            },
        },
    }
    if statements:
        document = {"Version": "2012-10-17", "Statement": list(statements)}
        resources["LogPolicy"] = {
            "Type": "AWS::Logs::ResourcePolicy",
            "Properties": {"PolicyName": name, "PolicyDocument": json.dumps(document)},
        }
    cloudformation = sandbox.client("cloudformation")
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": resources}))
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=name, WaiterConfig={"Delay": 0.1}
    )
    return name


def put(
    sandbox: Sandbox, bus: str, source: str = "keyjanitor", kind: str = "Key Issued", **detail: Any
) -> str:
    entry = {
        "Source": source,
        "DetailType": kind,
        "Detail": json.dumps(detail),
        "EventBusName": bus,
    }
    answer = sandbox.client("events").put_events(Entries=[entry])
    return str(answer["Entries"][0]["EventId"])


def test_a_matching_event_is_one_line_with_the_whole_event(sandbox: Sandbox, name: str) -> None:
    bus = audited_bus(sandbox, name, statement(name))
    odd = 'a "comma", a\nbreak, 鍵🔑'
    event_id = put(sandbox, bus, name=odd)
    [line] = sandbox.log_lines(group_of(name))
    event = json.loads(line)
    assert list(event) == [
        *("version", "id", "detail-type", "source", "account"),
        *("time", "region", "resources", "detail"),
    ]
    assert event["id"] == event_id
    assert event["detail"] == {"name": odd}
    assert (event["detail-type"], event["source"]) == ("Key Issued", "keyjanitor")
    assert (event["account"], event["region"]) == (ACCOUNT, "us-east-1")
    assert "\n" not in line


def test_the_lines_are_found_by_filter_log_events(sandbox: Sandbox, name: str) -> None:
    bus = audited_bus(sandbox, name, statement(name))
    ids = [put(sandbox, bus, number=n) for n in range(3)]
    logs = sandbox.client("logs")
    found = logs.filter_log_events(logGroupName=group_of(name))["events"]
    assert {json.loads(event["message"])["id"] for event in found} == set(ids)
    [second] = logs.filter_log_events(logGroupName=group_of(name), filterPattern=f'"{ids[1]}"')[
        "events"
    ]
    assert json.loads(second["message"])["id"] == ids[1]
    [group] = logs.describe_log_groups(logGroupNamePrefix=group_of(name))["logGroups"]
    assert group["retentionInDays"] == 400


def test_a_wipe_forgets_the_lines_and_leaves_the_log_group(sandbox: Sandbox, name: str) -> None:
    bus = audited_bus(sandbox, name, statement(name))
    put(sandbox, bus)
    assert len(sandbox.log_lines(group_of(name))) == 1
    sandbox.wipe()
    assert sandbox.log_lines(group_of(name)) == []
    put(sandbox, bus)
    assert len(sandbox.log_lines(group_of(name))) == 1


def test_an_event_of_another_source_or_bus_is_not_written(sandbox: Sandbox, name: str) -> None:
    bus = audited_bus(sandbox, name, statement(name))
    put(sandbox, bus, source="other")
    put(sandbox, "default")
    assert sandbox.log_lines(group_of(name)) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"Action": "logs:PutLogEvents"},
        {"Action": "logs:CreateLogStream"},
        {"Principal": {"Service": "events.amazonaws.com"}},
        {"Principal": {"Service": "lambda.amazonaws.com"}},
        {"Resource": "arn:aws:logs:us-east-1:123456789012:log-group:/aws/events/other:*"},
        {"Condition": {"StringEquals": {"aws:SourceAccount": "210987654321"}}},
    ],
)
def test_without_a_policy_that_lets_eventbridge_in_nothing_is_written(
    sandbox: Sandbox, name: str, changed: dict[str, Any]
) -> None:
    put(sandbox, audited_bus(sandbox, name, statement(name, **changed)))
    assert sandbox.log_lines(group_of(name)) == []


def test_without_any_policy_nothing_is_written(sandbox: Sandbox, name: str) -> None:
    put(sandbox, audited_bus(sandbox, name))
    assert sandbox.log_lines(group_of(name)) == []


def test_a_policy_can_ask_for_the_rule_that_writes(sandbox: Sandbox, name: str) -> None:
    ours = {"ArnLike": {"aws:SourceArn": f"arn:aws:events:us-east-1:{ACCOUNT}:rule/{name}/*"}}
    making = statement(name, Action="logs:CreateLogStream")
    writing = statement(name, Action="logs:PutLogEvents", Condition=ours)
    put(sandbox, audited_bus(sandbox, name, making, writing))
    assert len(sandbox.log_lines(group_of(name))) == 1


def test_a_target_with_the_arn_that_getatt_gives_gets_nothing(sandbox: Sandbox, name: str) -> None:
    put(sandbox, audited_bus(sandbox, name, statement(name), Arn=f"{group_arn(name)}:*"))
    assert sandbox.log_lines(group_of(name)) == []


# --- queues ------------------------------------------------------------------------------------------

ANSWERS = REPOSITORY / "sender" / "answers.yaml"


@pytest.fixture
def answer_queue(sandbox: Sandbox, name: str) -> str:
    """The queue of `sender/answers.yaml` on a bus, for one tier; gives its URL."""
    sandbox.client("events").create_event_bus(Name=name)
    cloudformation = sandbox.client("cloudformation")
    given = {"EventBusName": name, "RequestIdPrefix": "portal-", "Tier": "external"}
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=ANSWERS.read_text("utf-8"),
        Parameters=[{"ParameterKey": key, "ParameterValue": v} for key, v in given.items()],
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=name, WaiterConfig={"Delay": 0.1}
    )
    [stack] = cloudformation.describe_stacks(StackName=name)["Stacks"]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
    return str(outputs["AnswerQueueUrl"])


def received(sandbox: Sandbox, url: str) -> list[str]:
    """The ids of the events that wait in a queue, which are then gone."""
    ids = []
    sqs = sandbox.client("sqs")
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            ids.append(json.loads(message["Body"])["id"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return ids


def test_a_senders_queue_gets_its_answers_and_what_its_tier_is_told(
    sandbox: Sandbox, name: str, answer_queue: str
) -> None:
    put(sandbox, name, request_id="other-1", tier="external")
    put(sandbox, name, source="other", request_id="portal-1")
    mine = put(sandbox, name, request_id="portal-1", tier="external")
    assert received(sandbox, answer_queue) == [mine]
    told = [
        put(sandbox, name, kind=kind, tier="external", key_id="k1")
        for kind in ("Key Disabled", "Key Restored")
    ]
    put(sandbox, name, kind="Key Disabled", tier="front-end", key_id="k2")
    # The answer to another sender's restore is not this sender's.
    put(sandbox, name, kind="Key Restored", tier="external", request_id="other-2")
    assert sorted(received(sandbox, answer_queue)) == sorted(told)


@pytest.mark.parametrize("changed", [None, {"aws:SourceArn": "arn:aws:events:us-east-1:1:rule/x"}])
def test_a_queue_whose_policy_does_not_let_the_rule_in_gets_nothing(
    sandbox: Sandbox, name: str, answer_queue: str, changed: dict[str, str] | None
) -> None:
    sqs = sandbox.client("sqs")
    [policy] = sqs.get_queue_attributes(QueueUrl=answer_queue, AttributeNames=["Policy"])[
        "Attributes"
    ].values()
    document = json.loads(policy)
    document["Statement"][0]["Condition"] = {"ArnEquals": changed}
    sqs.set_queue_attributes(
        QueueUrl=answer_queue, Attributes={"Policy": json.dumps(document) if changed else ""}
    )
    put(sandbox, name, request_id="portal-1")
    assert received(sandbox, answer_queue) == []
