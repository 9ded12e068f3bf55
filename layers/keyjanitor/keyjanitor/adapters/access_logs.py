"""Talks to CloudWatch: asks log groups, by Logs Insights, which keys called, and what that will cost."""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from keyjanitor.adapters.clients import refusal
from keyjanitor.domain.model.aws_answers import items_of
from keyjanitor.domain.usage.access_log_format import NO_KEY
from keyjanitor.domain.usage.access_logs import (
    MOST_ROWS,
    LogAnswer,
    LogGroup,
    LogRow,
    LogWindow,
)
from keyjanitor.errors import UnexpectedAnswer

HOUR = 3600  # seconds
METRICS_AT_ONCE = 500  # that one GetMetricData takes (doc: AF-592)
PAUSE = 1.0  # seconds between two looks at a query that runs
LOOKS = 300  # at one query, before it is given up; AWS lets it run for an hour (doc: AF-590)
_KEY_ID = re.compile(r"[a-z0-9]{1,19}")


class AccessLogs:
    """Log groups of access logs. All methods raise AccessDenied, CallFailed and UnexpectedAnswer."""

    def __init__(
        self, logs: Any, cloudwatch: Any, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._logs = logs
        self._cloudwatch = cloudwatch
        self._sleep = sleep

    def group(self, name: str) -> LogGroup | None:
        """A log group, or None if it is not there. Names are listed in order, the exact one first."""
        answer = self._call("DescribeLogGroups", name, logGroupNamePrefix=name)
        for one in items_of(answer, "logGroups", "DescribeLogGroups"):
            if one.get("logGroupName") == name:
                created = datetime.fromtimestamp(int(one.get("creationTime") or 0) / 1000, UTC)
                return LogGroup(created, one.get("retentionInDays"))
        return None

    def incoming_bytes(
        self, groups: Sequence[str], since: datetime, until: datetime
    ) -> dict[str, int]:
        """The bytes that came into each group between two full hours: what a query will look at."""
        total = dict.fromkeys(groups, 0)
        for start in range(0, len(groups), METRICS_AT_ONCE):
            named = groups[start : start + METRICS_AT_ONCE]
            queries = [_sum_of(place, group) for place, group in enumerate(named)]
            for result in self._metrics(queries, since, until):
                total[named[int(str(result["Id"])[1:])]] += int(sum(result.get("Values") or ()))
        return total

    def _metrics(
        self, queries: Sequence[Mapping[str, Any]], since: datetime, until: datetime
    ) -> Iterable[Mapping[str, Any]]:
        token: dict[str, str] = {}
        while True:
            try:
                page = self._cloudwatch.get_metric_data(
                    MetricDataQueries=queries, StartTime=since, EndTime=until, **token
                )
            except (ClientError, BotoCoreError) as err:
                raise refusal(err, "GetMetricData", "cloudwatch:GetMetricData on *") from None
            for result in items_of(page, "MetricDataResults", "GetMetricData"):
                if result.get("StatusCode", "Complete") not in ("Complete", "PartialData"):
                    raise UnexpectedAnswer("GetMetricData", "CloudWatch could not add up a metric")
                yield result
            if not page.get("NextToken"):
                return
            token = {"NextToken": page["NextToken"]}

    def ask(self, window: LogWindow, time_is_up: Callable[[], bool]) -> LogAnswer:
        """What the log group holds of a window, by key and stage.

        A query that ends otherwise than complete, or not before time is up, has `failed` and the rows
        that it gave until then.
        """
        asked = self._call(
            "StartQuery",
            window.log.group,
            logGroupName=window.log.group,
            startTime=int(window.since.timestamp()),
            endTime=int(window.until.timestamp()),
            queryString=window.log.query,
            limit=MOST_ROWS,
        )
        query_id = str(asked.get("queryId") or "")
        for _ in range(LOOKS):
            answer = self._call("GetQueryResults", window.log.group, queryId=query_id)
            status = str(answer.get("status"))
            if status == "Complete":
                return self._whole(window, query_id, answer)
            if status not in ("Running", "Scheduled"):
                return _laid_out(window, [answer], f"its query ended as {status}")
            if time_is_up():
                return _laid_out(window, [answer], "the run had no time left for its query")
            self._sleep(PAUSE)
        return _laid_out(window, [answer], f"its query took more than {LOOKS} seconds")

    def _whole(self, window: LogWindow, query_id: str, first: Mapping[str, Any]) -> LogAnswer:
        """All pages of a complete query; one has at most 10,000 rows (doc: AF-581)."""
        pages = [first]
        while (token := pages[-1].get("nextToken")) and pages[-1].get("results"):
            pages.append(
                self._call(
                    "GetQueryResults", window.log.group, queryId=query_id, nextToken=str(token)
                )
            )
        return _laid_out(window, pages, None)

    def _call(self, operation: str, group: str, **params: Any) -> Mapping[str, Any]:
        call = {
            "DescribeLogGroups": self._logs.describe_log_groups,
            "StartQuery": self._logs.start_query,
            "GetQueryResults": self._logs.get_query_results,
        }[operation]
        try:
            answer: Mapping[str, Any] = call(**params)
        except (ClientError, BotoCoreError) as err:
            action = f"logs:{operation} on the log group {group} (parameter AccessLogGroups)"
            raise refusal(err, operation, action) from None
        return answer


def _sum_of(place: int, group: str) -> dict[str, Any]:
    """The metric of what comes into a log group, uncompressed (doc: AF-591)."""
    return {
        "Id": f"g{place}",
        "MetricStat": {
            "Metric": {
                "Namespace": "AWS/Logs",
                "MetricName": "IncomingBytes",
                "Dimensions": [{"Name": "LogGroupName", "Value": group}],
            },
            "Period": HOUR,
            "Stat": "Sum",
        },
    }


def _laid_out(
    window: LogWindow, pages: Sequence[Mapping[str, Any]], failed: str | None
) -> LogAnswer:
    statistics = pages[0].get("statistics") or {}
    if failed is None and "recordsMatched" not in statistics:
        failed = "its query does not say how many lines it has looked at"
    rows = [
        _row(window, {one["field"]: str(one.get("value", "")) for one in fields})
        for page in pages
        for fields in page.get("results") or ()
    ]
    return LogAnswer(
        rows=tuple(rows),
        lines=int(statistics.get("recordsMatched") or 0),
        bytes_scanned=int(statistics.get("bytesScanned") or 0),
        failed=failed,
    )


def _row(window: LogWindow, fields: Mapping[str, str]) -> LogRow:
    """One row; a field that a line does not have is missing (believed: AF-593)."""
    try:
        requests = int(float(fields["requests"]))
    except (KeyError, ValueError):
        raise UnexpectedAnswer("GetQueryResults", "a row does not count its requests") from None
    key_id = fields.get("keyid")
    if key_id is not None and key_id not in NO_KEY and not _KEY_ID.fullmatch(key_id):
        key_id = None  # it may be a value
    api, stage = fields.get("api"), fields.get("stage")
    named = f"{api}:{stage}" if window.log.names_stage and api and stage else None
    return LogRow(requests, _moment(fields.get("last", "")), key_id, named)


def _moment(text: str) -> datetime | None:
    """A moment as Logs Insights shows it: milliseconds since 1970, or date and time (believed: AF-594)."""
    try:
        if re.fullmatch(r"[0-9.E+]+", text):
            return datetime.fromtimestamp(float(text) / 1000, UTC)
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None
