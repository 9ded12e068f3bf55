"""Metrics in the sandbox: from lines of logs, of every invocation, and read back by dimensions."""

import io
import json
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.aws.cloudwatch.emf import data_of
from sandbox.driver.client import FunctionFailed, Sandbox
from tests.work import WAIT

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]

THEN = datetime(2031, 5, 6, 7, 8, 30, tzinfo=UTC)
MINUTE = THEN.replace(second=0)

CODE = """
import json
def handler(event, context):
    print(event["Records"][0]["body"] if "Records" in event else event.get("say", ""))
    if event.get("fail"):
        raise ValueError(event["fail"])
"""


def line(*directives: dict[str, Any], at: datetime = THEN, **root: Any) -> str:
    about = {"Timestamp": int(at.timestamp() * 1000), "CloudWatchMetrics": list(directives)}
    return json.dumps({"_aws": about} | root)


def directive(*metrics: str, dimensions: Any = (("service",),), unit: str = "Count") -> Any:
    return {
        "Namespace": "keyjanitor",
        "Dimensions": [list(names) for names in dimensions],
        "Metrics": [{"Name": name, "Unit": unit} for name in metrics],
    }


@pytest.fixture
def log(sandbox: Sandbox) -> Iterator[Callable[..., None]]:
    """Writes lines to a log group of its own."""
    logs, name = sandbox.client("logs"), f"/somebody/{uuid.uuid4().hex[:8]}"
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName="s")

    def write(*lines: str) -> None:
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": message} for message in lines]
        logs.put_log_events(logGroupName=name, logStreamName="s", logEvents=events)

    yield write
    logs.delete_log_group(logGroupName=name)


@pytest.fixture(scope="module")
def function(running_sandbox: Sandbox) -> str:
    """A function that prints what it is told to, and fails if it is told to; gives its name."""
    iam, name = running_sandbox.client("iam"), f"speaker-{uuid.uuid4().hex[:8]}"
    trusted = {"Service": "lambda.amazonaws.com"}
    trust = {"Effect": "Allow", "Principal": trusted, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    rights = {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [rights]})
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy)
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("app.py", CODE)
    running_sandbox.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=role,
        Handler="app.handler",
        Code={"ZipFile": package.getvalue()},
        Timeout=20,
    )
    return name


def eventually(found: Callable[[], Any], wanted: Any) -> None:
    """Waits for what functions do in the background."""
    deadline = time.monotonic() + WAIT
    while (seen := found()) != wanted:
        assert time.monotonic() < deadline, seen
        time.sleep(0.1)


def invocations(sandbox: Sandbox, function: str, name: str = "Invocations") -> float:
    of_function = {"FunctionName": function}
    found = sandbox.metric(name, namespace="AWS/Lambda", dimensions=of_function)
    return sum(value for _, value in found)


# -- embedded metric format -----------------------------------------------------------------------


def test_a_line_as_powertools_writes_it_becomes_a_metric(
    sandbox: Sandbox, log: Callable[..., None]
) -> None:
    sandbox.set_clock(THEN)
    log(line(directive("Keys"), service="keyjanitor", Keys=[252.0]))
    assert sandbox.metric("Keys") == [(MINUTE, 252.0)]
    [listed] = sandbox.client("cloudwatch").list_metrics(Namespace="keyjanitor")["Metrics"]
    assert listed == {
        "Namespace": "keyjanitor",
        "MetricName": "Keys",
        "Dimensions": [{"Name": "service", "Value": "keyjanitor"}],
    }


def test_every_value_unit_and_set_of_dimensions_counts(
    sandbox: Sandbox, log: Callable[..., None]
) -> None:
    sandbox.set_clock(THEN)
    sets = directive("Age", dimensions=[["service"], ["service", "tier"], []], unit="Seconds")
    log(line(sets, directive("Keys"), service="s", tier="external", Age=[1, 2.5, 4], Keys=7))
    for dimensions in ({"service": "s"}, {"service": "s", "tier": "external"}, {}):
        by_statistic = {
            statistic: sandbox.metric("Age", statistic=statistic, dimensions=dimensions)[0][1]
            for statistic in ("Sum", "SampleCount", "Minimum", "Maximum", "Average", "p50")
        }
        assert by_statistic == {
            "Sum": 7.5,
            "SampleCount": 3,
            "Minimum": 1,
            "Maximum": 4,
            "Average": 2.5,
            "p50": 2.5,
        }
    assert sandbox.metric("Keys") == [(MINUTE, 7)]
    with pytest.raises(ValueError, match="several dimensions"):
        sandbox.metric("Age")


def test_a_metric_is_found_under_exactly_its_dimensions(
    sandbox: Sandbox, log: Callable[..., None]
) -> None:
    sandbox.set_clock(THEN)
    log(line(directive("Keys"), service="s", Keys=1))
    assert sandbox.metric("Keys", dimensions={}) == []
    assert sandbox.metric("Keys", dimensions={"service": "other"}) == []
    stat = {"Namespace": "keyjanitor", "MetricName": "Keys", "Dimensions": []}
    answer = sandbox.client("cloudwatch").get_metric_data(
        MetricDataQueries=[
            {"Id": "m1", "MetricStat": {"Metric": stat, "Period": 60, "Stat": "Sum"}}
        ],
        StartTime=THEN - timedelta(hours=1),
        EndTime=THEN + timedelta(hours=1),
    )
    assert answer["MetricDataResults"][0]["Values"] == []


def test_a_metric_is_read_by_periods_and_from_a_moment_on(
    sandbox: Sandbox, log: Callable[..., None]
) -> None:
    hour = THEN.replace(minute=0, second=0)
    for minutes in (1, 2, 61):
        sandbox.set_clock(hour + timedelta(minutes=minutes))
        log(line(directive("Keys"), service="s", Keys=minutes))
    hours = [(hour, 3), (hour + timedelta(hours=1), 61)]
    assert sandbox.metric("Keys", period=3600) == hours
    assert sandbox.metric("Keys", period=3600, since=hour + timedelta(hours=1)) == hours[1:]


def test_a_line_counts_at_its_own_time_while_the_clock_is_real(
    sandbox: Sandbox, log: Callable[..., None]
) -> None:
    ago = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=30)
    log(line(directive("Keys"), at=ago, service="s", Keys=1))
    assert sandbox.metric("Keys") == [(ago, 1)]


def test_metric_data_that_are_put_without_a_time_follow_the_clock(sandbox: Sandbox) -> None:
    sandbox.set_clock(THEN)
    put = sandbox.client("cloudwatch").put_metric_data
    put(Namespace="keyjanitor", MetricData=[{"MetricName": "Keys", "Value": 5}])
    assert sandbox.metric("Keys") == [(MINUTE, 5)]


def test_metrics_are_kept_until_they_are_wiped(sandbox: Sandbox, log: Callable[..., None]) -> None:
    sandbox.set_clock(THEN)
    log(line(directive("Keys"), service="s", Keys=1))
    sandbox.set_clock(THEN + timedelta(days=300))
    assert sandbox.metric("Keys") == [(MINUTE, 1)]
    sandbox.wipe()
    assert sandbox.metric("Keys") == []


@pytest.mark.parametrize(
    "wrong",
    [
        "a word about CloudWatchMetrics",
        '{"CloudWatchMetrics": []}',
        '{"_aws": {"CloudWatchMetrics": 5, "Timestamp": 1}}',
        '{"_aws": {"CloudWatchMetrics": [5, {}, {"Namespace": "n"}], "Timestamp": 1}}',
        line(directive("Keys"), service="s", Keys="many"),
        line(directive("Keys"), service="s", Keys=True),
        line(directive("Keys"), service="s"),
        line(directive("Keys"), Keys=1),
        line(directive("Keys"), service=5, Keys=1),
        line({**directive("Keys"), "Namespace": ""}, service="s", Keys=1),
        line(directive("Keys"), service="s", Keys=1).replace("Timestamp", "Time"),
    ],
)
def test_what_is_not_in_the_format_is_a_line_and_no_metric(wrong: str) -> None:
    assert data_of(wrong) == []


def test_what_is_right_in_a_line_counts_beside_what_is_wrong() -> None:
    both = directive("Keys", "Gone", dimensions=[["service"], ["tier"]])
    [datum] = data_of(line(both, service="s", Keys=[1, "2", None, 3]))
    assert (datum.name, datum.dimensions, datum.values) == ("Keys", {"service": "s"}, (1, 3))
    assert datum.at == THEN.timestamp()


# -- functions ------------------------------------------------------------------------------------


def test_what_a_function_prints_becomes_a_metric(sandbox: Sandbox, function: str) -> None:
    sandbox.set_clock(THEN)
    sandbox.invoke(function, {"say": line(directive("Keys"), service="s", Keys=[9])})
    assert sandbox.metric("Keys") == [(MINUTE, 9)]


def test_an_invocation_that_fails_is_an_error_and_one_that_does_not_is_none(
    sandbox: Sandbox, function: str
) -> None:
    sandbox.set_clock(THEN)
    sandbox.invoke(function)
    with pytest.raises(FunctionFailed):
        sandbox.invoke(function, {"fail": "so"})
    of_function = {"FunctionName": function}
    for name, statistic, value in (
        ("Invocations", "Sum", 2),
        ("Errors", "Sum", 1),
        ("Errors", "SampleCount", 2),
        ("Throttles", "Sum", 0),
        ("Duration", "SampleCount", 2),
    ):
        found = sandbox.metric(
            name, namespace="AWS/Lambda", statistic=statistic, dimensions=of_function
        )
        assert found == [(MINUTE, value)], name


def test_every_try_of_an_asynchronous_invocation_counts(sandbox: Sandbox, function: str) -> None:
    functions = sandbox.client("lambda")
    functions.put_function_event_invoke_config(FunctionName=function, MaximumRetryAttempts=1)
    functions.invoke(FunctionName=function, InvocationType="Event", Payload=b'{"fail": "so"}')
    eventually(lambda: invocations(sandbox, function, "Errors"), 2)
    assert invocations(sandbox, function) == 2


def test_an_invocation_by_a_queue_counts(sandbox: Sandbox, function: str) -> None:
    sqs, functions = sandbox.client("sqs"), sandbox.client("lambda")
    url = sqs.create_queue(QueueName=function)["QueueUrl"]
    wanted = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    mapping = functions.create_event_source_mapping(
        FunctionName=function, EventSourceArn=wanted["Attributes"]["QueueArn"]
    )
    sandbox.set_clock(THEN)
    sandbox.send_requests(url, [line(directive("Keys"), service="s", Keys=3)])
    eventually(lambda: invocations(sandbox, function), 1)
    assert invocations(sandbox, function, "Errors") == 0
    assert sandbox.metric("Keys") == [(MINUTE, 3)]
    functions.delete_event_source_mapping(UUID=mapping["UUID"])


def test_an_invocation_that_is_throttled_is_no_invocation(sandbox: Sandbox, function: str) -> None:
    functions = sandbox.client("lambda")
    functions.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    with pytest.raises(functions.exceptions.TooManyRequestsException):
        functions.invoke(FunctionName=function)
    functions.delete_function_concurrency(FunctionName=function)
    assert invocations(sandbox, function, "Throttles") == 1
    assert invocations(sandbox, function) == 0
