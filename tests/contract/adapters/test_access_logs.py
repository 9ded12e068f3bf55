"""Log groups of access logs: the adapter against botocore's models of CloudWatch."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from keyjanitor.adapters.access_logs import LOOKS, AccessLogs
from keyjanitor.domain.usage.access_log_format import SUGGESTED, AccessLog
from keyjanitor.domain.usage.access_logs import MOST_ROWS, LogAnswer, LogGroup, LogRow, LogWindow
from keyjanitor.errors import AccessDenied, CallFailed, UnexpectedAnswer

UNTIL = datetime(2026, 11, 21, 2, tzinfo=UTC)
LOG = AccessLog("/apis/prod", SUGGESTED, names_stage=True)
WINDOW = LogWindow(LOG, ("a1:prod",), UNTIL - timedelta(days=1), UNTIL)
STARTED = {
    "logGroupName": "/apis/prod",
    "startTime": int(WINDOW.since.timestamp()),
    "endTime": int(UNTIL.timestamp()),
    "queryString": LOG.query,
    "limit": MOST_ROWS,
}
SCANNED = {"recordsMatched": 9.0, "recordsScanned": 9.0, "bytesScanned": 900.0}


CREDENTIALS: dict[str, Any] = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}


class Clients:
    """The clients of both services, the adapter, and the seconds that it slept."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        logs = boto3.client("logs", "us-east-1", **CREDENTIALS)
        cloudwatch = boto3.client("cloudwatch", "us-east-1", **CREDENTIALS)
        self.logs, self.cloudwatch = Stubber(logs), Stubber(cloudwatch)
        self.adapter = AccessLogs(logs, cloudwatch, sleep=self.slept.append)

    def ask(self, window: LogWindow = WINDOW, *, time_is_up: bool = False) -> LogAnswer:
        return self.adapter.ask(window, lambda: time_is_up)

    def starts(self) -> None:
        self.logs.add_response("start_query", {"queryId": "q1"}, STARTED)

    def answers(self, status: str, *rows: dict[str, str], token: str = "", **more: Any) -> None:
        fields = [[{"field": name, "value": value} for name, value in row.items()] for row in rows]
        answer = {"status": status, "results": fields, "statistics": SCANNED, **more}
        asked = {"queryId": "q1"} | ({"nextToken": token} if token else {})
        self.logs.add_response("get_query_results", answer, asked)


@pytest.fixture
def aws() -> Iterator[Clients]:
    clients = Clients()
    with clients.logs, clients.cloudwatch:
        yield clients
        clients.logs.assert_no_pending_responses()
        clients.cloudwatch.assert_no_pending_responses()


def test_rows_are_read_once_the_query_is_complete(aws: Clients) -> None:
    aws.starts()
    aws.answers("Scheduled")
    aws.answers("Running", {"keyid": "k1", "requests": "1"})
    aws.answers(
        "Complete",
        {"keyid": "k1", "api": "a1", "stage": "prod", "requests": "7", "last": "1795226400000"},
        {"keyid": "-", "api": "a1", "stage": "prod", "requests": "1.0", "last": "1.7952264E12"},
        {"requests": "1", "last": "2026-11-21 02:00:00.000"},
    )
    last = datetime.fromtimestamp(1795226400, UTC)
    assert aws.ask() == LogAnswer(
        (
            LogRow(7, last, "k1", "a1:prod"),
            LogRow(1, last, "-", "a1:prod"),
            LogRow(1, UNTIL),
        ),
        lines=9,
        bytes_scanned=900,
    )
    assert aws.slept == [1.0, 1.0]


def test_all_pages_of_the_rows_are_read(aws: Clients) -> None:
    aws.starts()
    aws.answers("Complete", {"keyid": "k1", "requests": "1"}, nextToken="2")
    aws.answers("Complete", {"keyid": "k2", "requests": "2"}, token="2", nextToken="3")
    aws.answers("Complete", token="3", nextToken="4")
    assert [row.key_id for row in aws.ask().rows] == ["k1", "k2"]


@pytest.mark.parametrize("status", ["Failed", "Cancelled", "Timeout", "Unknown"])
def test_a_query_that_ends_otherwise_is_not_whole_and_keeps_its_rows(
    aws: Clients, status: str
) -> None:
    aws.starts()
    aws.answers(status, {"keyid": "k1", "requests": "1"})
    answer = aws.ask()
    assert (answer.failed, len(answer.rows)) == (f"its query ended as {status}", 1)


def test_a_query_that_runs_on_when_time_is_up_is_not_whole(aws: Clients) -> None:
    aws.starts()
    aws.answers("Running", {"keyid": "k1", "requests": "1"})
    answer = aws.ask(time_is_up=True)
    assert (answer.failed, len(answer.rows)) == ("the run had no time left for its query", 1)


def test_a_query_that_never_ends_is_given_up(aws: Clients) -> None:
    aws.starts()
    for _ in range(LOOKS):
        aws.answers("Running")
    assert aws.ask().failed == f"its query took more than {LOOKS} seconds"


def test_an_answer_that_does_not_count_its_lines_is_not_whole(aws: Clients) -> None:
    aws.starts()
    aws.answers("Complete", statistics={"bytesScanned": 1.0})
    assert aws.ask().failed == "its query does not say how many lines it has looked at"


def test_a_row_that_does_not_count_its_requests_is_none_that_is_known(aws: Clients) -> None:
    aws.starts()
    aws.answers("Complete", {"keyid": "k1"})
    with pytest.raises(UnexpectedAnswer):
        aws.ask()


def test_what_may_be_a_value_is_no_key_id_whatever_the_query_answers(aws: Clients) -> None:
    aws.starts()
    aws.answers("Complete", {"keyid": "a" * 20, "requests": "1"})
    assert aws.ask().rows == (LogRow(1, None),)


def test_a_moment_that_cannot_be_read_is_not_known(aws: Clients) -> None:
    aws.starts()
    aws.answers("Complete", {"keyid": "k1", "requests": "1", "last": "9" * 40})
    assert aws.ask().rows == (LogRow(1, None, "k1"),)


def test_a_log_that_names_no_stage_gives_rows_without_one(aws: Clients) -> None:
    log = replace(LOG, names_stage=False)
    aws.logs.add_response("start_query", {"queryId": "q1"}, {**STARTED, "queryString": log.query})
    aws.answers("Complete", {"keyid": "k1", "requests": "1", "api": "a1", "stage": "prod"})
    assert aws.ask(replace(WINDOW, log=log)).rows == (LogRow(1, None, "k1"),)


def test_a_missing_right_names_the_action_the_group_and_the_parameter(aws: Clients) -> None:
    role = "arn:aws:sts::123456789012:assumed-role/pull/run"
    aws.logs.add_client_error(
        "start_query", "AccessDeniedException", f"User: {role} is not authorized"
    )
    with pytest.raises(AccessDenied) as denied:
        aws.ask()
    assert denied.value.role == role
    assert denied.value.action == (
        "logs:StartQuery on the log group /apis/prod (parameter AccessLogGroups)"
    )


def test_too_many_queries_at_once_is_a_call_that_failed(aws: Clients) -> None:
    aws.logs.add_client_error("start_query", "LimitExceededException")
    with pytest.raises(CallFailed, match="StartQuery failed: LimitExceededException"):
        aws.ask()


def test_a_group_is_found_by_its_exact_name(aws: Clients) -> None:
    made = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
    groups = [
        {"logGroupName": "/apis/prod", "creationTime": made, "retentionInDays": 30},
        {"logGroupName": "/apis/prod-2", "creationTime": made},
    ]
    asked = {"logGroupNamePrefix": "/apis/prod"}
    aws.logs.add_response("describe_log_groups", {"logGroups": groups}, asked)
    aws.logs.add_response("describe_log_groups", {"logGroups": groups[1:]}, asked)
    assert aws.adapter.group("/apis/prod") == LogGroup(datetime(2026, 1, 1, tzinfo=UTC), 30)
    assert aws.adapter.group("/apis/prod") is None


def asked_of(groups: list[str], **more: Any) -> dict[str, Any]:
    queries = [
        {
            "Id": f"g{place}",
            "MetricStat": {
                "Metric": {
                    "Namespace": "AWS/Logs",
                    "MetricName": "IncomingBytes",
                    "Dimensions": [{"Name": "LogGroupName", "Value": group}],
                },
                "Period": 3600,
                "Stat": "Sum",
            },
        }
        for place, group in enumerate(groups)
    ]
    return {
        "MetricDataQueries": queries,
        "StartTime": WINDOW.since,
        "EndTime": UNTIL,
        **more,
    }


def test_what_comes_into_the_groups_is_added_up_over_hours_and_pages(aws: Clients) -> None:
    groups = ["/apis/prod", "/apis/test"]
    aws.cloudwatch.add_response(
        "get_metric_data",
        {
            "MetricDataResults": [
                {"Id": "g0", "Values": [100.0, 20.0], "StatusCode": "PartialData"},
                {"Id": "g1", "Values": [], "StatusCode": "Complete"},
            ],
            "NextToken": "2",
        },
        asked_of(groups),
    )
    aws.cloudwatch.add_response(
        "get_metric_data",
        {"MetricDataResults": [{"Id": "g0", "Values": [3.0], "StatusCode": "Complete"}]},
        asked_of(groups, NextToken="2"),
    )
    assert aws.adapter.incoming_bytes(groups, WINDOW.since, UNTIL) == {
        "/apis/prod": 123,
        "/apis/test": 0,
    }


def test_a_metric_that_cannot_be_added_up_is_no_zero(aws: Clients) -> None:
    result = {"Id": "g0", "Values": [], "StatusCode": "InternalError"}
    aws.cloudwatch.add_response(
        "get_metric_data", {"MetricDataResults": [result]}, asked_of(["/apis/prod"])
    )
    with pytest.raises(UnexpectedAnswer):
        aws.adapter.incoming_bytes(["/apis/prod"], WINDOW.since, UNTIL)


def test_no_groups_cost_nothing_and_are_not_asked_for(aws: Clients) -> None:
    assert aws.adapter.incoming_bytes([], WINDOW.since, UNTIL) == {}


def test_metrics_that_may_not_be_read_are_named(aws: Clients) -> None:
    aws.cloudwatch.add_client_error("get_metric_data", "AccessDenied")
    with pytest.raises(AccessDenied, match="cloudwatch:GetMetricData"):
        aws.adapter.incoming_bytes(["/apis/prod"], WINDOW.since, UNTIL)
