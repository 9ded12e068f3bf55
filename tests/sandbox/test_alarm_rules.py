"""The sandbox judges an alarm's datapoints as AWS's tables and sentences do, and its metric math."""

from datetime import UTC, datetime
from typing import Any

import pytest

from sandbox.aws.cloudwatch.alarm_rules import Datapoint, Rule
from sandbox.aws.cloudwatch.metric_math import Series, UnknownMath, returned_series

LIMIT = 0.5
VALUES = {"0": 0.0, "X": 1.0, "-": None}
NOW = datetime(2026, 8, 19, 8, 14, 49, tzinfo=UTC).timestamp()


def rule(periods: int = 3, to_alarm: int | None = None, **kw: Any) -> Rule:
    alarm = {
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": LIMIT,
        "EvaluationPeriods": periods,
    }
    return Rule.of(alarm | ({"DatapointsToAlarm": to_alarm} if to_alarm else {}) | kw)


def points(row: str, period: int = 300) -> list[Datapoint | None]:
    """Datapoints as the documentation draws them: 0 is fine, X breaches, - is missing."""
    values = [VALUES[mark] for mark in row.split()]
    first = NOW // 60 * 60 - period * len(values)
    return [
        None if value is None else Datapoint(first + n * period, value, 1)
        for n, value in enumerate(values)
    ]


def state(judge: Rule, row: str) -> str | None:
    verdict = judge.judge(points(row))
    return verdict.state if verdict else None


def reason(judge: Rule, row: str) -> str:
    verdict = judge.judge(points(row))
    assert verdict is not None
    return verdict.reason


I, A, O, KEPT = "INSUFFICIENT_DATA", "ALARM", "OK", None  # noqa: E741 - so the tables can be read


# The tables of "Configuring how CloudWatch alarms treat missing data".
@pytest.mark.parametrize(
    ("row", "to_alarm", "states"),
    [
        ("0 - X - X", 3, (O, O, O, O)),
        ("0 - - - -", 3, (O, O, O, O)),
        ("- - - - -", 3, (I, KEPT, A, O)),
        ("0 X X - X", 3, (A, A, A, A)),
        ("- - X - -", 3, (A, KEPT, A, O)),
        ("0 - X - X", 2, (A, A, A, A)),
        ("0 0 X 0 X", 2, (A, A, A, A)),
        ("0 - X - -", 2, (O, O, A, O)),
        ("- - - - 0", 2, (O, O, A, O)),
        ("- - - X -", 2, (A, KEPT, A, O)),
        ("- - - - X", 3, (O, O, A, O)),
        ("- - - X -", 3, (O, O, A, O)),
    ],
)
def test_missing_datapoints_are_judged_as_the_tables_say(
    row: str, to_alarm: int, states: tuple[str | None, ...]
) -> None:
    treatments = ("missing", "ignore", "breaching", "notBreaching")
    found = tuple(state(rule(3, to_alarm, TreatMissingData=t), row) for t in treatments)
    assert found == states


def test_an_alarm_on_dynamodb_ignores_what_is_missing() -> None:
    treated = rule(TreatMissingData="breaching", Namespace="AWS/DynamoDB")
    assert state(treated, "- - - - -") is None


@pytest.mark.parametrize(
    ("operator", "below", "at", "above"),
    [
        ("GreaterThanThreshold", O, O, A),
        ("GreaterThanOrEqualToThreshold", O, A, A),
        ("LessThanThreshold", A, O, O),
        ("LessThanOrEqualToThreshold", A, A, O),
    ],
)
def test_a_value_is_compared_with_the_threshold(
    operator: str, below: str, at: str, above: str
) -> None:
    judge = rule(1, ComparisonOperator=operator)
    states = []
    for value in (LIMIT - 1, LIMIT, LIMIT + 1):
        verdict = judge.judge([Datapoint(NOW, value)])
        assert verdict is not None
        states.append(verdict.state)
    assert states == [below, at, above]


@pytest.mark.parametrize(
    ("judge", "row", "said"),
    [
        (
            rule(1),
            "- - X",
            (
                "Threshold Crossed: 1 datapoint [1.0 (19/08/26 08:09:00)] was greater than "
                "the threshold (0.5)."
            ),
        ),
        (
            rule(2),
            "- X X",
            (
                "Threshold Crossed: 2 datapoints [1.0 (19/08/26 08:09:00), 1.0 (19/08/26 08:04:00)] "
                "were greater than the threshold (0.5)."
            ),
        ),
        (
            rule(3, TreatMissingData="breaching"),
            "- - - - 0",
            (
                "Threshold Crossed: 1 datapoint [0.0 (19/08/26 08:09:00)] was not greater than "
                "the threshold (0.5) and 2 missing datapoints were treated as [Breaching]."
            ),
        ),
        (
            rule(8, TreatMissingData="breaching"),
            "- - - - - - - - - -",
            (
                "Threshold Crossed: no datapoints were received for 8 periods and 8 missing datapoints "
                "were treated as [Breaching]."
            ),
        ),
        (
            rule(3, 2, TreatMissingData="breaching"),
            "- - - - 0",
            (
                "Threshold Crossed: 1 datapoint was received for 3 periods and 2 missing datapoints "
                "were treated as [Breaching]."
            ),
        ),
        (
            rule(5, 1, TreatMissingData="notBreaching"),
            "- - - - X",
            (
                "Threshold Crossed: 1 out of the last 5 datapoints [1.0 (19/08/26 08:09:00)] was "
                "greater than the threshold (0.5) and 4 missing datapoints were treated as "
                "[NonBreaching] (minimum 1 datapoint for OK -> ALARM transition)."
            ),
        ),
        (
            rule(2, 2),
            "0 0",
            (
                "Threshold Crossed: 2 out of the last 2 datapoints [0.0 (19/08/26 08:09:00), "
                "0.0 (19/08/26 08:04:00)] were not greater than the threshold (0.5) "
                "(minimum 1 datapoint for ALARM -> OK transition)."
            ),
        ),
        (rule(1), "- - -", "Insufficient Data: 1 datapoint was unknown."),
        (rule(3), "- - -", "Insufficient Data: 3 datapoints were unknown."),
    ],
)
def test_the_reason_is_given_in_the_words_of_aws(judge: Rule, row: str, said: str) -> None:
    assert reason(judge, row) == said


def test_periods_reach_back_from_the_minute_and_two_further_than_the_alarm_says() -> None:
    windows = rule(8).windows(NOW, 900)
    assert len(windows) == 10
    assert [datetime.fromtimestamp(at, UTC).strftime("%H:%M") for at in windows] == [
        *("05:45", "06:00", "06:15", "06:30", "06:45"),
        *("07:00", "07:15", "07:30", "07:45", "08:00"),
    ]
    assert windows[-1] <= NOW < windows[-1] + 900


def test_periods_of_a_minute_reach_further_back() -> None:
    assert len(rule(2).windows(NOW, 60)) == 6


def test_a_band_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing here judges GreaterThanUpperThreshold"):
        rule(ComparisonOperator="GreaterThanUpperThreshold")


# -- metric math ----------------------------------------------------------------------------------

M1, M2 = {1.0: 10.0, 2.0: 20.0, 4.0: 0.0}, {1.0: 4.0, 2.0: 5.0, 3.0: 9.0, 4.0: 0.0}


def result(expression: str, **more: str) -> Series:
    metrics = {"m1": M1, "m2": M2}
    queries: list[dict[str, Any]] = [
        {"Id": "e", "Expression": expression},
        *({"Id": name, "Expression": text, "ReturnData": False} for name, text in more.items()),
        *({"Id": name, "MetricStat": {"of": name}, "ReturnData": False} for name in metrics),
    ]
    return returned_series(queries, lambda stat: metrics[stat["of"]], [1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize(
    ("expression", "series"),
    [
        ("100*m1/m2", {1.0: 250.0, 2.0: 400.0}),
        ("m1 + m2 ^ 2", {1.0: 26.0, 2.0: 45.0, 4.0: 0.0}),
        ("FILL(m1, 0)", {1.0: 10.0, 2.0: 20.0, 3.0: 0.0, 4.0: 0.0}),
        ("FILL(m1, -1.5)", {1.0: 10.0, 2.0: 20.0, 3.0: -1.5, 4.0: 0.0}),
        ("FILL(m1, REPEAT)", {1.0: 10.0, 2.0: 20.0, 3.0: 20.0, 4.0: 0.0}),
        ("IF(m1 > 10, 1, 0)", {1.0: 0.0, 2.0: 1.0, 4.0: 0.0}),
        ("IF(m1 >= 10 AND m2 < 5 || m1 == 0, m1, -m1)", {1.0: 10.0, 2.0: -20.0, 4.0: 0.0}),
        ("SUM([m1, m2])", {1.0: 14.0, 2.0: 25.0, 3.0: 9.0, 4.0: 0.0}),
        ("MAX(METRICS())", {1.0: 10.0, 2.0: 20.0, 3.0: 9.0, 4.0: 0.0}),
        ('AVG(METRICS("m1"))', M1),
        ("m1 / MAX(m1)", {1.0: 0.5, 2.0: 1.0, 4.0: 0.0}),
        ("ABS(CEIL(-m1 / 3))", {1.0: 3.0, 2.0: 6.0, 4.0: 0.0}),
        ("FLOOR(m1 / 3)", {1.0: 3.0, 2.0: 6.0, 4.0: 0.0}),
    ],
)
def test_an_expression_is_worked_out_period_by_period(expression: str, series: Series) -> None:
    assert result(expression) == series


def test_an_expression_may_use_another() -> None:
    assert result("e1 * 2", e1="m1 - 10") == {1.0: 0.0, 2.0: 20.0, 4.0: -20.0}


@pytest.mark.parametrize(
    "expression",
    [
        "ANOMALY_DETECTION_BAND(m1)",
        "RATE(m1)",
        "FILL(m1, LINEAR)",
        "m3",
        "e",
        "m1 +",
        "1 + 1",
        "SUM(m1)",
        "METRICS() + 1",
        "m1.real",
        "(lambda: m1)()",
        '__import__("os")',
    ],
)
def test_what_the_sandbox_was_not_taught_is_refused_by_name(expression: str) -> None:
    with pytest.raises(UnknownMath, match="metric math"):
        result(expression)


def test_an_alarm_returns_one_series() -> None:
    both = [{"Id": "m1", "MetricStat": {}}, {"Id": "m2", "MetricStat": {}}]
    with pytest.raises(UnknownMath, match="one ReturnData"):
        returned_series(both, lambda _: M1, [1.0])
