"""Rules that write events to a log group deliver in the sandbox as EventBridge does."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.driver.client import ACCOUNT, Sandbox

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


def put(sandbox: Sandbox, bus: str, source: str = "keyjanitor", **detail: Any) -> str:
    entry = {
        "Source": source,
        "DetailType": "Key Issued",
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
