"""Access logs of REST APIs, and queries of Logs Insights over them: MiniStack has neither.

A stage whose `accessLogSettings` name a log group writes a line for each request: its format with the
variables filled in, `-` for what the request does not have (believed: AF-585), the key's id also where the
key is disabled (believed: AF-584). Lines and the metric IncomingBytes follow the sandbox's clock.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from ministack.core.responses import request_scope
from ministack.services import apigateway_v1, cloudwatch_logs

from sandbox.aws.apigateway.apigateway import ControlPlane
from sandbox.aws.cloudwatch.metrics import Metrics
from sandbox.aws.wire import Answer

STREAM = "access-log"
_VARIABLE = re.compile(r"\$context(?:\.[A-Za-z][A-Za-z0-9_]*)+", re.ASCII)
_STATS = re.compile(
    r"parse @message /(?P<pattern>.*)/\s*\| stats count\(\*\) as requests, "
    r"max\(@timestamp\) as last by (?P<fields>[a-z, ]+)",
    re.S,
)


@dataclass(slots=True)
class Request:
    """What the access log says of one request beside its path: which key it came with."""

    key_id: str = "-"
    values: dict[str, str] = field(default_factory=dict)


class AccessLogging:
    """Writes the lines, and answers StartQuery and GetQueryResults over any log group."""

    def __init__(self, control: ControlPlane, metrics: Metrics) -> None:
        self._control = control
        self._clock = control.clock
        self._metrics = metrics
        self._request: ContextVar[Request | None] = ContextVar("request", default=None)

    def install(self) -> None:
        self._execute = apigateway_v1.handle_execute
        apigateway_v1.handle_execute = self.execute
        self._check_key = apigateway_v1._check_api_key
        apigateway_v1._check_api_key = self.check_key
        self._start_query: Callable[[Mapping[str, Any]], Answer] = cloudwatch_logs._start_query
        cloudwatch_logs._start_query = self.start_query

    # --- the data plane ---------------------------------------------------------------------------

    def check_key(
        self, method: Mapping[str, Any], api_id: str, stage: str, headers: Mapping[str, str]
    ) -> Any:
        """MiniStack's check; it notes the id of the key of a method that requires one."""
        request = self._request.get()
        if request is not None and method.get("apiKeyRequired"):
            value = apigateway_v1._api_key_from_request(headers)
            records = self._control.keys.all_with_value(value) if value else ()
            request.key_id = next((str(one["id"]) for one in records), "-")
        return self._check_key(method, api_id, stage, headers)

    async def execute(self, api_id: str, stage: str, method: str, path: str, *rest: Any) -> Answer:
        """One request; the line is written when its answer is known."""
        request = Request()
        token = self._request.set(request)
        try:
            answer: Answer = await self._execute(api_id, stage, method, path, *rest)
        finally:
            self._request.reset(token)
        scope = apigateway_v1.find_api_scope(api_id)
        if scope is not None:
            with request_scope(*scope):
                self._write(api_id, stage, method, path, answer, request)
        return answer

    def _write(
        self, api_id: str, stage: str, method: str, path: str, answer: Answer, request: Request
    ) -> None:
        found = (apigateway_v1._stages_v1.get(api_id) or {}).get(stage) or {}
        settings = found.get("accessLogSettings") or {}
        group = str(settings.get("destinationArn", "")).partition(":log-group:")[2]
        group = group.removesuffix(":*")
        if not settings.get("format") or group not in cloudwatch_logs._log_groups:
            return
        now = self._clock.now()
        values = {
            "$context.requestId": str(uuid4()),
            "$context.extendedRequestId": str(uuid4()),
            "$context.apiId": api_id,
            "$context.stage": stage,
            "$context.httpMethod": method,
            "$context.path": f"/{stage}{path}",
            "$context.status": str(answer[0]),
            "$context.responseLength": str(len(answer[2] or b"")),
            "$context.requestTime": f"{now:%d/%b/%Y:%H:%M:%S +0000}",
            "$context.identity.sourceIp": "127.0.0.1",
            "$context.identity.apiKeyId": request.key_id,
        }
        line = _VARIABLE.sub(lambda one: values.get(one[0], "-"), settings["format"])
        self.append(group, now, line)

    def append(self, group: str, at: datetime, line: str) -> None:
        """One line of a log group, at a moment; what comes in is measured then."""
        streams = cloudwatch_logs._log_groups[group]["streams"]
        if STREAM not in streams:
            cloudwatch_logs._create_log_stream({"logGroupName": group, "logStreamName": STREAM})
        milliseconds = int(at.timestamp() * 1000)
        event = {"timestamp": milliseconds, "message": line, "ingestionTime": milliseconds}
        cloudwatch_logs._append_log_events(streams[STREAM], [{**event, "eventId": str(uuid4())}])
        dimensions = {"LogGroupName": group}
        self._metrics.add("AWS/Logs", "IncomingBytes", len(line), "Bytes", dimensions)

    # --- Logs Insights ----------------------------------------------------------------------------

    def start_query(self, data: Mapping[str, Any]) -> Answer:
        """MiniStack's, but for a query that parses lines and counts them: its rows are made here."""
        answer = self._start_query(data)
        found = _STATS.fullmatch(str(data.get("queryString", "")))
        if found is None or answer[0] >= 400:
            return answer
        query = cloudwatch_logs._queries[json.loads(answer[2])["queryId"]]
        groups = cloudwatch_logs._resolve_query_log_groups(data)
        start, end = int(data["startTime"]), int(data["endTime"])
        events = [
            event
            for name in groups
            for stream in cloudwatch_logs._log_groups[name]["streams"].values()
            for event in stream["events"]
            if start * 1000 <= event["timestamp"] < (end + 1) * 1000
        ]
        pattern = re.compile(found["pattern"].replace("(?<", "(?P<"))
        fields = [one.strip() for one in found["fields"].split(",")]
        rows = list(_counted(events, pattern, fields))
        query["results"] = rows[: int(data.get("limit") or 10_000)]
        query["statistics"] = {
            "recordsMatched": float(len(events)),
            "recordsScanned": float(len(events)),
            "bytesScanned": float(sum(len(event["message"]) for event in events)),
        }
        return answer


def _counted(
    events: list[dict[str, Any]], pattern: re.Pattern[str], fields: list[str]
) -> Iterator[list[dict[str, str]]]:
    """A row for each combination of the fields; one that a line does not have is left out."""
    counted: dict[tuple[str | None, ...], tuple[int, int]] = {}
    for event in events:
        found = pattern.search(event["message"])
        groups = found.groupdict() if found else {}
        one = tuple(groups.get(name) for name in fields)
        requests, last = counted.get(one, (0, 0))
        counted[one] = requests + 1, max(last, event["timestamp"])
    for one, (requests, last) in counted.items():
        values = {
            **{name: value for name, value in zip(fields, one, strict=True) if value is not None},
            "requests": str(requests),
            "last": f"{datetime.fromtimestamp(last / 1000, UTC):%Y-%m-%d %H:%M:%S}.000",
        }
        yield [{"field": name, "value": value} for name, value in values.items()]
