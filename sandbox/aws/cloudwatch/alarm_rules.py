"""What CloudWatch makes of an alarm's datapoints: its state, and the sentence that says why."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

OK, ALARM, INSUFFICIENT_DATA = "OK", "ALARM", "INSUFFICIENT_DATA"
_MINUTE = 60
_COMPARISONS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "GreaterThanThreshold": ("greater than", lambda value, limit: value > limit),
    "GreaterThanOrEqualToThreshold": (
        "greater than or equal to",
        lambda value, limit: value >= limit,
    ),
    "LessThanThreshold": ("less than", lambda value, limit: value < limit),
    "LessThanOrEqualToThreshold": ("less than or equal to", lambda value, limit: value <= limit),
}
_TREATED_AS = {"breaching": "Breaching", "notBreaching": "NonBreaching"}


@dataclass(frozen=True, slots=True)
class Datapoint:
    """One period's statistic: when the period began (seconds since 1970), and of how many samples."""

    at: float
    value: float
    samples: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state that the datapoints put an alarm in, and which of them were looked at."""

    state: str
    reason: str
    evaluated: tuple[Datapoint, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """Of `periods` datapoints `to_alarm` have to breach; `missing` is TreatMissingData."""

    operator: str
    threshold: float
    periods: int
    to_alarm: int
    missing: str = "missing"
    m_of_n: bool = False  # whether DatapointsToAlarm was given: the sentences then say so

    @classmethod
    def of(cls, alarm: Mapping[str, Any]) -> "Rule":
        """The rule of an alarm as DescribeAlarms shows it. Raises ValueError for anomaly bands."""
        operator = str(alarm.get("ComparisonOperator"))
        if operator not in _COMPARISONS:
            raise ValueError(f"nothing here judges {operator}")
        # "Alarms that evaluate metrics in the AWS/DynamoDB namespace always ignore missing data."
        missing = str(alarm.get("TreatMissingData") or "missing")
        return cls(
            operator=operator,
            threshold=float(alarm["Threshold"]),
            periods=int(alarm["EvaluationPeriods"]),
            to_alarm=int(alarm.get("DatapointsToAlarm") or alarm["EvaluationPeriods"]),
            missing="ignore" if alarm.get("Namespace") == "AWS/DynamoDB" else missing,
            m_of_n=bool(alarm.get("DatapointsToAlarm")),
        )

    def breaches(self, point: Datapoint) -> bool:
        """Whether this datapoint is beyond the threshold."""
        return _COMPARISONS[self.operator][1](point.value, self.threshold)

    def windows(self, now: float, period: int) -> list[float]:
        """When each period of the evaluation range begins, oldest first (seconds since 1970).

        Periods of an alarm do not begin on the hour or at midnight: they reach back from the moment
        of the evaluation, by whole minutes (seen in alarm histories: 900 seconds from 07:59:00,
        evaluated at 08:14:49). AWS looks at minutes that are over. Here the running minute counts
        too, so that what was just measured can be evaluated while the clock stands still; AWS says
        the same a minute later.

        More periods are looked at than EvaluationPeriods, in case some have no data. How many is
        not documented, but for two examples with five for three. It was ten for eight at 900 seconds
        and six for two at 60 in alarm histories (seen: AF-561); the rest is believed. So a heartbeat that stops
        is missed two periods later than the alarm's numbers say.
        """
        step = min(period, _MINUTE)
        end = now // step * step + step
        further = 2 if period >= 5 * _MINUTE else 4
        count = self.periods + further
        return [end - period * n for n in range(count, 0, -1)]

    def judge(self, found: Sequence[Datapoint | None]) -> Verdict | None:
        """What datapoints (oldest first, None where a period has none) say; None: it stays as it is.

        As documented under "How alarm state is evaluated when data is missing": the newest real
        datapoints count, from further back if need be; only what is then still lacking is filled.
        """
        points = tuple(point for point in found if point is not None)[-self.periods :]
        filled = self.periods - len(points)
        breaching = [point for point in points if self.breaches(point)]
        if not points and self.missing == "missing":
            reason = f"Insufficient Data: {_count(self.periods, 'datapoint')} unknown."
            return Verdict(INSUFFICIENT_DATA, reason, ())
        if not points and self.missing == "ignore":
            return None
        assumed = filled if self.missing == "breaching" else 0
        if len(breaching) + assumed >= self.to_alarm:
            return Verdict(ALARM, self._reason(ALARM, points, filled), points)
        if self._is_premature(found) and self.missing in ("missing", "ignore"):
            if self.missing == "ignore":
                return None
            return Verdict(ALARM, self._reason(ALARM, points, filled), points)
        return Verdict(OK, self._reason(OK, points, filled), points)

    def _is_premature(self, found: Sequence[Datapoint | None]) -> bool:
        """Whether a breach is old enough to alarm though too few datapoints followed it.

        The text of the documentation speaks of the oldest breaching datapoint; only with the oldest
        of all do its tables come out (`0 - X - -` is OK, `- - - X -` is not).
        """
        ages = {len(found) - n: point for n, point in enumerate(found) if point is not None}
        return (
            bool(ages)
            and max(ages) >= self.to_alarm
            and all(self.breaches(point) for point in ages.values())
        )

    def _reason(self, state: str, points: Sequence[Datapoint], filled: int) -> str:
        """The sentence in AWS's words (seen: AF-563), newest datapoint first."""
        named = [point for point in reversed(points) if self.breaches(point) == (state == ALARM)]
        text = "Threshold Crossed: "
        if named:
            values = ", ".join(f"{point.value} ({_day(point.at)})" for point in named)
            many = f"{len(named)} out of the last {self.periods} datapoints"
            text += many if self.m_of_n else _count(len(named), "datapoint", verb=False)
            text += f" [{values}] {'was' if len(named) == 1 else 'were'}"
            text += "" if state == ALARM else " not"
            text += f" {_COMPARISONS[self.operator][0]} the threshold ({self.threshold})"
        else:
            text += f"{_count(len(points), 'datapoint')} received"
            text += f" for {_count(self.periods, 'period', verb=False)}"
        if filled and self.missing in _TREATED_AS:
            treated_as = _TREATED_AS[self.missing]
            text += f" and {_count(filled, 'missing datapoint')} treated as [{treated_as}]"
        if named and self.m_of_n:
            least = self.to_alarm if state == ALARM else self.periods - self.to_alarm + 1
            way = "OK -> ALARM" if state == ALARM else "ALARM -> OK"
            least_text = _count(least, "datapoint", verb=False)
            text += f" (minimum {least_text} for {way} transition)"
        return text + "."


def _count(number: int, what: str, *, verb: bool = True) -> str:
    text = f"{number or 'no'} {what}{'' if number == 1 else 's'}"
    return f"{text} {'was' if number == 1 else 'were'}" if verb else text


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%d/%m/%y %H:%M:%S")
