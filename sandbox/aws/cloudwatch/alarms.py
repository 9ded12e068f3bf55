"""CloudWatch's alarms as AWS evaluates them, and the notifications that they publish."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudwatch, sns
from ministack.services.cloudformation import provisioners

from sandbox.aws.clock import Clock
from sandbox.aws.cloudwatch.alarm_rules import INSUFFICIENT_DATA, Datapoint, Rule, Verdict
from sandbox.aws.cloudwatch.metric_math import Series, returned_series
from sandbox.aws.cloudwatch.metrics import Metrics
from sandbox.aws.messaging.topics import why_an_alarm_may_not_publish
from sandbox.aws.wire import Answer

SUBJECT_LENGTH = 100
_REGIONS = {
    "us-east-1": "US East (N. Virginia)",
    "us-east-2": "US East (Ohio)",
    "us-west-2": "US West (Oregon)",
    "eu-central-1": "EU (Frankfurt)",
    "eu-west-1": "EU (Ireland)",
}
_ACTIONS = {
    "ALARM": "AlarmActions",
    "OK": "OKActions",
    "INSUFFICIENT_DATA": "InsufficientDataActions",
}
# What an alarm on one metric has, and one on an expression has not.
_OF_ONE_METRIC = (
    *("MetricName", "Namespace", "Statistic", "ExtendedStatistic"),
    *("Period", "Dimensions", "Unit"),
)
_CREATED = "Unchecked: Initial alarm creation"


class Alarms:
    """Alarms are evaluated on request, at the clock's now, and at no other time.

    AWS evaluates them every minute. MiniStack does so whenever metrics are put, without dimensions,
    periods and missing data: that is switched off.
    """

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics

    def install(self) -> None:
        cloudwatch._evaluate_alarm = lambda _: None
        cloudwatch._dispatch_alarm_actions = self.act
        self._record = cloudwatch._record_history
        cloudwatch._record_history = self.record
        self._put = cloudwatch._put_metric_alarm
        cloudwatch._put_metric_alarm = self.put
        self._record_of = provisioners._cw_metric_alarm_record
        provisioners._cw_metric_alarm_record = self.record_of

    # -- what is deployed ---------------------------------------------------------------------

    def put(self, params: Any, data: Mapping[str, Any], *protocol: Any) -> Answer:
        """PutMetricAlarm, on an expression too (from SDKs: as CBOR or JSON)."""
        answer: Answer = self._put(params, data, *protocol)
        if answer[0] == 200 and data.get("Metrics"):
            _put_expression(cloudwatch._alarms[data["AlarmName"]], data["Metrics"])
        return answer

    def record_of(self, name: str, props: Mapping[str, Any]) -> dict[str, Any]:
        """An alarm as a template describes it; MiniStack refuses one with Metrics."""
        given = dict(props)
        queries = given.pop("Metrics", None)
        if queries:
            given |= {"MetricName": "-", "Namespace": "-"}
        alarm: dict[str, Any] = self._record_of(name, given)
        alarm["AlarmConfigurationUpdatedTimestamp"] = int(self._clock.now().timestamp())
        if name not in cloudwatch._alarms:
            alarm["StateUpdatedTimestamp"] = alarm["AlarmConfigurationUpdatedTimestamp"]
        if queries:
            _put_expression(alarm, queries)
        return alarm

    def forget(self) -> None:
        """Let every alarm be as if it had just been created."""
        cloudwatch._alarm_history.clear()
        for alarm in cloudwatch._alarms.all_values():
            alarm |= {"StateValue": INSUFFICIENT_DATA, "StateReason": _CREATED}
            alarm.pop("StateReasonData", None)

    # -- evaluation ---------------------------------------------------------------------------

    def evaluate(self) -> dict[str, str]:
        """Evaluate every alarm now; gives the state of each by its name.

        Raises ValueError for an alarm that cannot be: on an anomaly band, or on unknown math.
        """
        self._metrics.note_queues()
        for alarm in cloudwatch._alarms.values():
            try:
                self._evaluate(alarm)
            except ValueError as err:
                raise ValueError(f"alarm {alarm['AlarmName']}: {err}") from err
        every = [*cloudwatch._alarms.values(), *cloudwatch._composite_alarms.values()]
        return {alarm["AlarmName"]: alarm["StateValue"] for alarm in every}

    def _evaluate(self, alarm: dict[str, Any]) -> None:
        rule, period = Rule.of(alarm), _period_of(alarm)
        windows = rule.windows(self._clock.now().timestamp(), period)
        found = _datapoints(alarm, windows, period)
        verdict = rule.judge([found.get(at) for at in windows])
        if verdict is None or verdict.state == alarm["StateValue"]:
            return
        old_state = alarm["StateValue"]
        now = int(self._clock.now().timestamp())
        data = self._reason_data(alarm, rule, period, verdict)
        alarm |= {
            "StateValue": verdict.state,
            "StateReason": verdict.reason,
            "StateReasonData": json.dumps(data),
            "StateUpdatedTimestamp": now,
            "StateTransitionedTimestamp": now,
        }
        name, reason = alarm["AlarmName"], verdict.reason
        cloudwatch._record_history(name, old_state, verdict.state, reason, "MetricAlarm", data)
        self.act(alarm, old_state, verdict.state, reason)
        cloudwatch._evaluate_parent_alarms(alarm)

    def _reason_data(
        self, alarm: Mapping[str, Any], rule: Rule, period: int, verdict: Verdict
    ) -> dict[str, Any]:
        data: dict[str, Any] = {"version": "1.0", "queryDate": _stamp(self._clock.now())}
        if verdict.evaluated:
            data["startDate"] = _stamp(_time_of(verdict.evaluated[0].at))
        if not alarm.get("Metrics"):
            data["statistic"] = _statistic_of(alarm)
        evaluated = [
            {"timestamp": _stamp(_time_of(point.at)), "value": point.value}
            | ({} if point.samples is None else {"sampleCount": point.samples})
            for point in reversed(verdict.evaluated)
        ]
        return data | {
            "period": period,
            "recentDatapoints": [point.value for point in verdict.evaluated],
            "threshold": rule.threshold,
            "evaluatedDatapoints": evaluated,
        }

    # -- history and actions ------------------------------------------------------------------

    def record(self, name: str, old: str, new: str, reason: str, *rest: Any, **kw: Any) -> None:
        """A change of state in the alarm's history; MiniStack calls its creation one too."""
        if old != new or reason != _CREATED:
            self._record(name, old, new, reason, *rest, **kw)
            return
        created = {"version": "1.0", "type": "Create"}
        self._note(name, "ConfigurationUpdate", f'Alarm "{name}" created', created)

    def _note(self, name: str, kind: str, summary: str, data: Mapping[str, Any]) -> None:
        is_metric_alarm = name in cloudwatch._alarms
        cloudwatch._history_entries().append(
            {
                "AlarmName": name,
                "AlarmType": "MetricAlarm" if is_metric_alarm else "CompositeAlarm",
                "Timestamp": cloudwatch._ts_iso(self._clock.now().timestamp()),
                "HistoryItemType": kind,
                "HistorySummary": summary,
                "HistoryData": json.dumps(data),
            }
        )

    def act(self, alarm: Mapping[str, Any], old: str, new: str, reason: str) -> None:
        """Carry out what the alarm does in its new state, and write down how that went."""
        if not alarm.get("ActionsEnabled", True):
            return
        for arn in alarm.get(_ACTIONS[new]) or ():
            if not cloudwatch._is_sns_action_arn(arn):
                continue
            message = json.dumps(self._message(alarm, old, new, reason))
            refused = why_an_alarm_may_not_publish(alarm["AlarmArn"], arn)
            data = {"actionState": "Failed" if refused else "Succeeded"}
            summary = f"Successfully executed action {arn}"
            if refused:
                data["error"] = refused
                summary = f'Failed to execute action {arn}. Received error: "{refused}"'
            else:
                sns.publish_internal(arn, message, _subject(alarm["AlarmName"], new))
            data |= {"notificationResource": arn, "publishedMessage": message}
            self._note(alarm["AlarmName"], "Action", summary, data)

    def _message(self, alarm: Mapping[str, Any], old: str, new: str, reason: str) -> dict[str, Any]:
        """What CloudWatch publishes, its fields in its order (seen: AF-563)."""
        configured = _time_of(alarm["AlarmConfigurationUpdatedTimestamp"])
        message = {
            "AlarmName": alarm["AlarmName"],
            "AlarmDescription": alarm.get("AlarmDescription") or None,
            "AWSAccountId": get_account_id(),
            "AlarmConfigurationUpdatedTimestamp": _stamp(configured),
            "NewStateValue": new,
            "NewStateReason": reason,
            "StateChangeTime": _stamp(self._clock.now()),
            "Region": _region_name(),
            "AlarmArn": alarm["AlarmArn"],
            "OldStateValue": old,
            "OKActions": alarm.get("OKActions") or [],
            "AlarmActions": alarm.get("AlarmActions") or [],
            "InsufficientDataActions": alarm.get("InsufficientDataActions") or [],
        }
        if "AlarmRule" in alarm:
            return message | {"AlarmRule": alarm["AlarmRule"]}
        return message | {"Trigger": _trigger(alarm)}


def _put_expression(alarm: dict[str, Any], queries: Iterable[Mapping[str, Any]]) -> None:
    for name in _OF_ONE_METRIC:
        alarm.pop(name, None)
    alarm["Metrics"] = [_typed(query) for query in queries]


def _typed(query: Mapping[str, Any]) -> dict[str, Any]:
    """A query with numbers and truths that a template may have given as text."""
    typed = dict(query)
    if "ReturnData" in typed:
        typed["ReturnData"] = str(typed["ReturnData"]).lower() == "true"
    if "Period" in typed:
        typed["Period"] = int(typed["Period"])
    if stat := typed.get("MetricStat"):
        typed["MetricStat"] = {**stat, "Period": int(stat["Period"])}
    return typed


def _period_of(alarm: Mapping[str, Any]) -> int:
    """The period in seconds; all metrics of an expression have the same (doc: AF-562)."""
    queries = alarm.get("Metrics") or ()
    of_queries = [q.get("Period") or (q.get("MetricStat") or {}).get("Period") for q in queries]
    return int(next((period for period in of_queries if period), None) or alarm["Period"])


def _statistic_of(alarm: Mapping[str, Any]) -> str:
    return str(alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average")


def _datapoints(
    alarm: Mapping[str, Any], windows: Sequence[float], period: int
) -> dict[float, Datapoint]:
    """The datapoints of an alarm by when their periods began."""
    if not alarm.get("Metrics"):
        return _statistics(alarm, _statistic_of(alarm), windows, period)

    def series_of(stat: Mapping[str, Any]) -> Series:
        metric = {**stat["Metric"], "Unit": stat.get("Unit")}
        found = _statistics(metric, str(stat["Stat"]), windows, period)
        return {at: point.value for at, point in found.items()}

    series = returned_series(alarm["Metrics"], series_of, windows)
    return {at: Datapoint(at, value) for at, value in series.items()}


def _statistics(
    metric: Mapping[str, Any], statistic: str, windows: Sequence[float], period: int
) -> dict[float, Datapoint]:
    """One statistic of one metric, under exactly these dimensions."""
    dimensions = {d["Name"]: d["Value"] for d in metric.get("Dimensions") or ()}
    key = (metric["Namespace"], metric["MetricName"], cloudwatch._dims_key(dimensions))
    unit = metric.get("Unit")
    of_window: dict[float, list[dict[str, Any]]] = {}
    for point in list(cloudwatch._metrics.get(key) or ()):
        number = int((point["Timestamp"] - windows[0]) // period)
        if 0 <= number < len(windows) and unit in (None, point["Unit"]):
            of_window.setdefault(windows[number], []).append(point)
    found = {}
    for at, points in of_window.items():
        stats = cloudwatch._calc_stats(points)
        value = cloudwatch._stat_value(stats, statistic, points) if stats else None
        if value is not None:
            found[at] = Datapoint(at, float(value), stats["SampleCount"])
    return found


def _trigger(alarm: Mapping[str, Any]) -> dict[str, Any]:
    trigger: dict[str, Any] = {}
    if not alarm.get("Metrics"):
        extended = alarm.get("ExtendedStatistic")
        trigger = {
            "MetricName": alarm["MetricName"],
            "Namespace": alarm["Namespace"],
            "StatisticType": "ExtendedStatistic" if extended else "Statistic",
            **(
                {"ExtendedStatistic": extended}
                if extended
                else {"Statistic": _statistic_of(alarm).upper()}
            ),
            "Unit": alarm.get("Unit"),
            "Dimensions": _lower(alarm.get("Dimensions")),
            "Period": _period_of(alarm),
        }
    trigger["EvaluationPeriods"] = alarm["EvaluationPeriods"]
    if alarm.get("DatapointsToAlarm"):
        trigger["DatapointsToAlarm"] = alarm["DatapointsToAlarm"]
    trigger |= {
        "ComparisonOperator": alarm["ComparisonOperator"],
        "Threshold": alarm["Threshold"],
        "TreatMissingData": alarm.get("TreatMissingData") or "",
        "EvaluateLowSampleCountPercentile": "",
    }
    if queries := alarm.get("Metrics"):
        trigger["Metrics"] = [_query_of_trigger(query) for query in queries]
        trigger = {"Period": _period_of(alarm), **trigger}
    return trigger


def _query_of_trigger(query: Mapping[str, Any]) -> dict[str, Any]:
    shown = {**query, "ReturnData": query.get("ReturnData", True)}
    if stat := query.get("MetricStat"):
        metric = {**stat["Metric"], "Dimensions": _lower(stat["Metric"].get("Dimensions"))}
        shown["MetricStat"] = {**stat, "Metric": metric}
    return shown


def _lower(dimensions: Iterable[Mapping[str, str]] | None) -> list[dict[str, str]]:
    return [{"value": d["Value"], "name": d["Name"]} for d in dimensions or ()]


def _subject(name: str, state: str) -> str:
    """At most as long as SNS takes; a long name is cut (seen: AF-534)."""
    subject = f'{state}: "{name}" in {_region_name()}'
    if len(subject) <= SUBJECT_LENGTH:
        return subject
    kept = name[: len(name) - (len(subject) - SUBJECT_LENGTH) - 3]
    return f'{state}: "{kept}..." in {_region_name()}'


def _region_name() -> str:
    region = str(get_region())
    return _REGIONS.get(region, region)


def _time_of(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _stamp(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "+0000")
