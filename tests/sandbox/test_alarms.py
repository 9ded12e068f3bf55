"""Alarms in the sandbox, end to end: a metric, its alarm, the topic, a queue subscribed to it."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.driver.client import ACCOUNT, Sandbox

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]

NOW = datetime(2031, 5, 6, 7, 8, 30, tzinfo=UTC)
DIMENSIONS = [{"Name": "service", "Value": "keyjanitor"}]


@pytest.fixture
def name(sandbox: Sandbox) -> Iterator[str]:
    """The name of an alarm that goes with its test."""
    sandbox.set_clock(NOW)
    name = f"keys-{uuid.uuid4().hex[:8]}"
    yield name
    sandbox.client("cloudwatch").delete_alarms(AlarmNames=[name])


@pytest.fixture
def topic(sandbox: Sandbox) -> str:
    made = sandbox.client("sns").create_topic(Name=f"alerts-{uuid.uuid4().hex[:8]}")
    return str(made["TopicArn"])


def put_alarm(sandbox: Sandbox, name: str, topic: str | None = None, **kw: Any) -> None:
    alarm = {
        "AlarmName": name,
        "AlarmDescription": "Many keys.",
        "Namespace": "keyjanitor",
        "MetricName": "Keys",
        "Dimensions": DIMENSIONS,
        "Statistic": "Maximum",
        "Period": 300,
        "EvaluationPeriods": 1,
        "Threshold": 9_500,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    if topic:
        alarm |= {"AlarmActions": [topic], "OKActions": [topic], "InsufficientDataActions": [topic]}
    of_one = ("Namespace", "MetricName", "Dimensions", "Statistic", "Period")
    if "Metrics" in kw:
        alarm = {n: v for n, v in alarm.items() if n not in of_one}
    sandbox.client("cloudwatch").put_metric_alarm(**(alarm | kw))


def put(sandbox: Sandbox, *values: float, metric: str = "Keys", **kw: Any) -> None:
    data = [
        {"MetricName": metric, "Value": value, "Dimensions": DIMENSIONS} | kw for value in values
    ]
    sandbox.client("cloudwatch").put_metric_data(Namespace="keyjanitor", MetricData=data)


def later(sandbox: Sandbox, **time: float) -> None:
    sandbox.set_clock(sandbox.now() + timedelta(**time))


def described(sandbox: Sandbox, name: str) -> dict[str, Any]:
    [alarm] = sandbox.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    found: dict[str, Any] = alarm
    return found


def history(sandbox: Sandbox, name: str, kind: str) -> list[str]:
    items = sandbox.client("cloudwatch").describe_alarm_history(
        AlarmName=name, HistoryItemType=kind, ScanBy="TimestampAscending"
    )
    return [item["HistorySummary"] for item in items["AlarmHistoryItems"]]


def test_an_alarm_is_told_once_when_it_goes_off_and_once_when_it_is_over(
    sandbox: Sandbox, name: str, topic: str
) -> None:
    put_alarm(sandbox, name, topic)
    inbox = sandbox.subscribe_queue(topic)
    put(sandbox, 9_600)
    assert [sandbox.evaluate_alarms()[name] for _ in range(2)] == ["ALARM", "ALARM"]
    later(sandbox, minutes=6)
    put(sandbox, 9_000)
    assert [sandbox.evaluate_alarms()[name] for _ in range(2)] == ["OK", "OK"]
    subjects = [f'{state}: "{name}" in US East (N. Virginia)' for state in ("ALARM", "OK")]
    assert [message["Subject"] for message in sandbox.messages(inbox)] == subjects
    assert [alert["subject"] for alert in sandbox.alerts()] == subjects
    assert sandbox.messages(inbox) == []


def test_the_message_is_what_cloudwatch_publishes(sandbox: Sandbox, name: str, topic: str) -> None:
    put_alarm(sandbox, name, topic, TreatMissingData="notBreaching")
    put(sandbox, 9_600, 9_601)
    sandbox.evaluate_alarms()
    [alert] = sandbox.alerts()
    message = json.loads(alert["message"])
    assert message == {
        "AlarmName": name,
        "AlarmDescription": "Many keys.",
        "AWSAccountId": ACCOUNT,
        "AlarmConfigurationUpdatedTimestamp": "2031-05-06T07:08:30.000+0000",
        "NewStateValue": "ALARM",
        "NewStateReason": "Threshold Crossed: 1 datapoint [9601.0 (06/05/31 07:04:00)] was greater"
        " than the threshold (9500.0).",
        "StateChangeTime": "2031-05-06T07:08:30.000+0000",
        "Region": "US East (N. Virginia)",
        "AlarmArn": f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:{name}",
        "OldStateValue": "INSUFFICIENT_DATA",
        "OKActions": [topic],
        "AlarmActions": [topic],
        "InsufficientDataActions": [topic],
        "Trigger": {
            "MetricName": "Keys",
            "Namespace": "keyjanitor",
            "StatisticType": "Statistic",
            "Statistic": "MAXIMUM",
            "Unit": None,
            "Dimensions": [{"value": "keyjanitor", "name": "service"}],
            "Period": 300,
            "EvaluationPeriods": 1,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": 9500.0,
            "TreatMissingData": "notBreaching",
            "EvaluateLowSampleCountPercentile": "",
        },
    }
    assert (alert["structure"], alert["attributes"]) == ("", {})


def test_the_state_is_described_with_its_reason_and_kept_in_the_history(
    sandbox: Sandbox, name: str
) -> None:
    put_alarm(sandbox, name)
    new = described(sandbox, name)
    assert new["StateValue"] == "INSUFFICIENT_DATA"
    assert new["StateReason"] == "Unchecked: Initial alarm creation"
    put(sandbox, 9_600)
    sandbox.evaluate_alarms()
    alarm = described(sandbox, name)
    assert alarm["StateValue"] == "ALARM"
    assert alarm["StateReason"].startswith("Threshold Crossed: 1 datapoint [9600.0 ")
    assert alarm["StateUpdatedTimestamp"] == NOW
    assert json.loads(alarm["StateReasonData"]) == {
        "version": "1.0",
        "queryDate": "2031-05-06T07:08:30.000+0000",
        "startDate": "2031-05-06T07:04:00.000+0000",
        "statistic": "Maximum",
        "period": 300,
        "recentDatapoints": [9600.0],
        "threshold": 9500.0,
        "evaluatedDatapoints": [
            {"timestamp": "2031-05-06T07:04:00.000+0000", "sampleCount": 1.0, "value": 9600.0}
        ],
    }
    assert history(sandbox, name, "ConfigurationUpdate") == [f'Alarm "{name}" created']
    assert history(sandbox, name, "StateUpdate") == [
        "Alarm updated from INSUFFICIENT_DATA to ALARM"
    ]


def test_metrics_that_are_put_change_no_alarm_until_it_is_evaluated(
    sandbox: Sandbox, name: str, topic: str
) -> None:
    put_alarm(sandbox, name, topic)
    put(sandbox, 9_600)
    put_alarm(sandbox, name, topic)
    assert described(sandbox, name)["StateValue"] == "INSUFFICIENT_DATA"
    assert sandbox.alerts() == []


def test_only_the_metric_of_its_dimensions_and_unit_moves_an_alarm(
    sandbox: Sandbox, name: str
) -> None:
    put_alarm(sandbox, name, Unit="Count")
    put(sandbox, 9_600, Dimensions=[], Unit="Count")
    put(sandbox, 9_600, Dimensions=[*DIMENSIONS, {"Name": "a", "Value": "b"}], Unit="Count")
    put(sandbox, 9_600, Unit="Seconds")
    assert sandbox.evaluate_alarms()[name] == "INSUFFICIENT_DATA"
    put(sandbox, 9_600, Unit="Count")
    assert sandbox.evaluate_alarms()[name] == "ALARM"


@pytest.mark.parametrize(
    ("statistic", "threshold"),
    [
        ({"Statistic": "Sum"}, 10),
        ({"Statistic": "Average"}, 2.5),
        ({"Statistic": "Minimum"}, 1),
        ({"Statistic": "Maximum"}, 4),
        ({"Statistic": "SampleCount"}, 4),
        ({"ExtendedStatistic": "p50"}, 2.5),
    ],
)
def test_an_alarm_compares_its_statistic(
    sandbox: Sandbox, name: str, statistic: dict[str, Any], threshold: float
) -> None:
    at_least = {"ComparisonOperator": "GreaterThanOrEqualToThreshold", "Statistic": None}
    put(sandbox, 1, 2, 3, 4)
    for limit, state in ((threshold, "ALARM"), (threshold + 0.01, "OK")):
        given = {n: v for n, v in (at_least | statistic).items() if v}
        metric = {"MetricName": "Keys", "Threshold": limit, **given}
        cloudwatch = sandbox.client("cloudwatch")
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            Namespace="keyjanitor",
            Dimensions=DIMENSIONS,
            Period=60,
            EvaluationPeriods=1,
            **metric,
        )
        assert sandbox.evaluate_alarms()[name] == state


def test_a_heartbeat_that_stops_is_missed_two_periods_after_those_of_the_alarm(
    sandbox: Sandbox, name: str, topic: str
) -> None:
    beat = {
        "MetricName": "SweepFinished",
        "Statistic": "Sum",
        "Period": 3600,
        "EvaluationPeriods": 3,
        "Threshold": 1,
        "ComparisonOperator": "LessThanThreshold",
        "TreatMissingData": "breaching",
    }
    put_alarm(sandbox, name, topic, **beat)
    assert sandbox.evaluate_alarms()[name] == "ALARM"  # as it stands until the first beat
    put(sandbox, 1, metric="SweepFinished")
    states = []
    for _ in range(7):
        states.append(sandbox.evaluate_alarms()[name])
        later(sandbox, hours=1)
    assert states == [*["OK"] * 5, *["ALARM"] * 2]
    assert [json.loads(alert["message"])["NewStateReason"] for alert in sandbox.alerts()][-1] == (
        "Threshold Crossed: no datapoints were received for 3 periods and 3 missing datapoints"
        " were treated as [Breaching]."
    )


def test_a_heartbeat_that_is_filled_is_missed_on_time(sandbox: Sandbox, name: str) -> None:
    metric = {"Namespace": "keyjanitor", "MetricName": "Counts", "Dimensions": DIMENSIONS}
    stat = {"Metric": metric, "Period": 3600, "Stat": "Sum"}
    put_alarm(
        sandbox,
        name,
        Metrics=[
            {"Id": "e1", "Expression": "FILL(m1, 0)", "Label": "counts"},
            {"Id": "m1", "MetricStat": stat, "ReturnData": False},
        ],
        EvaluationPeriods=3,
        Threshold=1,
        ComparisonOperator="LessThanThreshold",
    )
    put(sandbox, 1, metric="Counts")
    states = []
    for _ in range(4):
        states.append(sandbox.evaluate_alarms()[name])
        later(sandbox, hours=1)
    assert states == ["OK", "OK", "OK", "ALARM"]


def test_metrics_that_end_leave_too_little_data_or_the_state_as_it_is(
    sandbox: Sandbox, name: str, topic: str
) -> None:
    put_alarm(sandbox, name, topic)
    put(sandbox, 9_600)
    sandbox.evaluate_alarms()
    later(sandbox, hours=1)
    assert sandbox.evaluate_alarms()[name] == "INSUFFICIENT_DATA"
    put_alarm(sandbox, name, topic, TreatMissingData="ignore")
    put(sandbox, 9_600)
    sandbox.evaluate_alarms()
    later(sandbox, hours=1)
    assert sandbox.evaluate_alarms()[name] == "ALARM"
    words = [alert["subject"].partition(":")[0] for alert in sandbox.alerts()]
    assert words == ["ALARM", "INSUFFICIENT_DATA", "ALARM"]


def test_an_alarm_in_a_template_may_be_on_an_expression(
    sandbox: Sandbox, name: str, topic: str
) -> None:
    def stat(metric: str) -> dict[str, Any]:
        of = {"Namespace": "keyjanitor", "MetricName": metric, "Dimensions": DIMENSIONS}
        return {"Metric": of, "Period": 300, "Stat": "Maximum"}

    properties = {
        "AlarmName": name,
        "Metrics": [
            {"Id": "share", "Expression": "100*m1/m2", "Label": "share"},
            {"Id": "m1", "MetricStat": stat("Keys"), "ReturnData": False},
            {"Id": "m2", "MetricStat": stat("Quota"), "ReturnData": False},
        ],
        "EvaluationPeriods": 1,
        "Threshold": 95,
        "ComparisonOperator": "GreaterThanThreshold",
        "AlarmActions": [topic],
    }
    template = {"Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": properties}}
    deploy(sandbox, name, template)
    put(sandbox, 9_600)
    put(sandbox, 10_000, metric="Quota")
    assert sandbox.evaluate_alarms()[name] == "ALARM"
    alarm = described(sandbox, name)
    assert [query["Id"] for query in alarm["Metrics"]] == ["share", "m1", "m2"]
    assert "MetricName" not in alarm
    [alert] = sandbox.alerts()
    trigger = json.loads(alert["message"])["Trigger"]
    assert trigger["Period"] == 300
    assert trigger["Metrics"][0] == {
        "Id": "share",
        "Expression": "100*m1/m2",
        "Label": "share",
        "ReturnData": True,
    }
    sandbox.client("cloudformation").delete_stack(StackName=name)


def deploy(sandbox: Sandbox, name: str, resources: dict[str, Any]) -> None:
    cloudformation = sandbox.client("cloudformation")
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": resources}))
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=name, WaiterConfig={"Delay": 0.1}
    )


def test_an_expression_that_is_unknown_is_told(sandbox: Sandbox, name: str) -> None:
    metric = {"Namespace": "keyjanitor", "MetricName": "Keys", "Dimensions": DIMENSIONS}
    rate = [
        {"Id": "e1", "Expression": "RATE(m1)"},
        {
            "Id": "m1",
            "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"},
            "ReturnData": False,
        },
    ]
    put_alarm(sandbox, name, Metrics=rate)
    with pytest.raises(ValueError, match=rf"alarm {name}: metric math 'RATE\(m1\)'"):
        sandbox.evaluate_alarms()


def test_queues_are_measured_when_alarms_are_evaluated(sandbox: Sandbox, name: str) -> None:
    sqs = sandbox.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    put_alarm(
        sandbox,
        name,
        Namespace="AWS/SQS",
        MetricName="ApproximateAgeOfOldestMessage",
        Dimensions=[{"Name": "QueueName", "Value": name}],
        Threshold=900,
    )
    sandbox.send_requests(url, [{"n": n} for n in range(3)])
    assert sandbox.evaluate_alarms()[name] == "OK"
    later(sandbox, minutes=16)
    assert sandbox.evaluate_alarms()[name] == "ALARM"
    for metric, value in (
        ("ApproximateAgeOfOldestMessage", 16 * 60),
        ("ApproximateNumberOfMessagesVisible", 3),
        ("ApproximateNumberOfMessagesNotVisible", 0),
    ):
        found = sandbox.metric(
            metric, namespace="AWS/SQS", statistic="Maximum", dimensions={"QueueName": name}
        )
        assert found[-1][1] == value
    for _ in range(3):
        sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
    later(sandbox, minutes=5)
    assert sandbox.evaluate_alarms()[name] == "OK"  # what failed three times has no age
    sqs.delete_queue(QueueUrl=url)


def test_an_alarm_whose_actions_are_disabled_changes_silently(
    sandbox: Sandbox, name: str, topic: str
) -> None:
    put_alarm(sandbox, name, topic, ActionsEnabled=False)
    put(sandbox, 9_600)
    assert sandbox.evaluate_alarms()[name] == "ALARM"
    assert sandbox.alerts() == []
    assert history(sandbox, name, "Action") == []


def test_a_state_that_is_set_by_hand_is_told_and_stands_until_the_next_evaluation(
    sandbox: Sandbox, name: str, topic: str
) -> None:
    put_alarm(sandbox, name, topic)
    put(sandbox, 1)
    cloudwatch = sandbox.client("cloudwatch")
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a drill")
    assert sandbox.evaluate_alarms()[name] == "OK"
    reasons = [json.loads(alert["message"])["NewStateReason"] for alert in sandbox.alerts()]
    assert reasons[0] == "a drill"
    assert len(reasons) == 2


def test_a_long_name_is_cut_in_the_subject(sandbox: Sandbox, topic: str) -> None:
    name = f"keys-{uuid.uuid4().hex}-{'x' * 60}"
    put_alarm(sandbox, name, topic)
    put(sandbox, 9_600)
    sandbox.evaluate_alarms()
    [alert] = sandbox.alerts()
    assert len(alert["subject"]) == 100
    assert alert["subject"].endswith('xxx..." in US East (N. Virginia)')
    assert json.loads(alert["message"])["AlarmName"] == name
    sandbox.client("cloudwatch").delete_alarms(AlarmNames=[name])


def test_a_wiped_sandbox_has_its_alarms_as_newly_created(
    sandbox: Sandbox, name: str, topic: str
) -> None:
    put_alarm(sandbox, name, topic)
    put(sandbox, 9_600)
    sandbox.evaluate_alarms()
    sandbox.wipe()
    assert described(sandbox, name)["StateValue"] == "INSUFFICIENT_DATA"
    assert history(sandbox, name, "StateUpdate") == []
    assert sandbox.evaluate_alarms()[name] == "INSUFFICIENT_DATA"
    assert sandbox.alerts() == []


def test_a_dashboard_of_a_template_is_there_with_its_body(sandbox: Sandbox, name: str) -> None:
    body = {"widgets": [{"type": "text", "properties": {"markdown": "100 % < all"}}]}
    properties = {"DashboardName": name, "DashboardBody": {"Fn::Sub": json.dumps(body)}}
    deploy(sandbox, name, {"D": {"Type": "AWS::CloudWatch::Dashboard", "Properties": properties}})
    cloudwatch = sandbox.client("cloudwatch")
    dashboard = cloudwatch.get_dashboard(DashboardName=name)
    assert json.loads(dashboard["DashboardBody"]) == body
    cloudformation = sandbox.client("cloudformation")
    cloudformation.delete_stack(StackName=name)
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName=name, WaiterConfig={"Delay": 0.1}
    )
    with pytest.raises(ClientError, match="does not exist"):
        cloudwatch.get_dashboard(DashboardName=name)
