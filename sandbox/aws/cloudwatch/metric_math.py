"""Metric math of alarms: expressions over metrics, such as `100*m1/m2` and `FILL(m1, 0)`.

Arithmetic, comparisons, AND and OR, IF, FILL with a number or REPEAT, ABS, CEIL, FLOOR, and SUM, AVG,
MIN and MAX, also of METRICS(). Everything else is refused by name.
"""

import ast
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Series = dict[float, float]  # by when the period began
Value = Series | float | list[Series]

_OPERATORS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_OF_ONE: dict[str, Callable[[float], float]] = {"ABS": abs, "CEIL": math.ceil, "FLOOR": math.floor}
_OF_MANY: dict[str, Callable[[Sequence[float]], float]] = {
    "SUM": sum,
    "AVG": lambda values: sum(values) / len(values),
    "MIN": min,
    "MAX": max,
}
_SPELLINGS = ((r"\^", "**"), (r"&&|\bAND\b", " and "), (r"\|\||\bOR\b", " or "))


class UnknownMath(ValueError):
    """An expression that nobody taught the sandbox."""

    def __init__(self, expression: str, what: str) -> None:
        super().__init__(f"metric math {expression!r}: {what}")


def returned_series(
    queries: Sequence[Mapping[str, Any]],
    series_of: Callable[[Mapping[str, Any]], Series],
    periods: Sequence[float],
) -> Series:
    """The one time series that an alarm's Metrics return, of these periods.

    `series_of` gives that of a MetricStat. Raises UnknownMath.
    """
    metrics = {str(q["Id"]): series_of(q["MetricStat"]) for q in queries if q.get("MetricStat")}
    expressions = {str(q["Id"]): str(q["Expression"]) for q in queries if q.get("Expression")}
    returned = [str(q["Id"]) for q in queries if q.get("ReturnData", True)]
    if len(returned) != 1:
        raise UnknownMath(", ".join(returned), "an alarm needs one ReturnData")
    value = _Math(metrics, expressions, periods).value_of(returned[0], ())
    if not isinstance(value, dict):
        raise UnknownMath(expressions[returned[0]], "an alarm needs a time series")
    return value


class _Math:
    def __init__(
        self,
        metrics: Mapping[str, Series],
        expressions: Mapping[str, str],
        periods: Sequence[float],
    ) -> None:
        self._metrics = metrics
        self._expressions = expressions
        self._periods = periods

    def value_of(self, name: str, above: tuple[str, ...]) -> Value:
        if name in self._metrics:
            return self._metrics[name]
        expression = self._expressions.get(name, "")
        if not expression or name in above:
            raise UnknownMath(name, "there is no such metric, or it needs itself")
        text = expression
        for pattern, spelling in _SPELLINGS:
            text = re.sub(pattern, spelling, text)
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except SyntaxError as err:
            raise UnknownMath(expression, "it cannot be read") from err
        return _Expression(self, expression, (*above, name)).evaluate(tree)

    def all_metrics(self, part_of_name: str) -> list[Series]:
        return [series for name, series in self._metrics.items() if part_of_name in name]

    def fill(self, series: Series, filling: float | None) -> Series:
        """The series with a value in every period: this one, or else the one before."""
        filled: Series = {}
        last = filling
        for at in self._periods:
            last = series.get(at, last if filling is None else filling)
            if last is not None:
                filled[at] = last
        return filled


class _Expression:
    def __init__(self, maths: _Math, text: str, above: tuple[str, ...]) -> None:
        self._maths = maths
        self._text = text
        self._above = above

    def evaluate(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=int() | float() as number):
                return float(number)
            case ast.Name(id=name):
                return self._maths.value_of(name, self._above)
            case ast.List(elts=elements):
                return [self._series(element) for element in elements]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._each(lambda a: -a, [operand])
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return self._each(_OPERATORS[type(op)], [left, right])
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
                return self._each(_OPERATORS[type(op)], [left, right])
            case ast.BoolOp(op=ast.And(), values=values):
                return self._each(lambda *v: all(v), values)
            case ast.BoolOp(op=ast.Or(), values=values):
                return self._each(lambda *v: any(v), values)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(name.upper(), arguments)
            case _:
                raise self._unknown(ast.unparse(node))

    def _call(self, name: str, arguments: list[ast.expr]) -> Value:
        match name, arguments:
            case "FILL", [what, ast.Name(id="REPEAT")]:
                return self._maths.fill(self._series(what), None)
            case "FILL", [what, filling]:
                value = self.evaluate(filling)
                if isinstance(value, float):
                    return self._maths.fill(self._series(what), value)
            case "IF", [_, _, _]:
                return self._each(lambda a, b, c: b if a else c, arguments)
            case "METRICS", []:
                return self._maths.all_metrics("")
            case "METRICS", [ast.Constant(value=str() as part)]:
                return self._maths.all_metrics(part)
            case _, [what] if name in _OF_ONE:
                return self._each(_OF_ONE[name], [what])
            case _, [what] if name in _OF_MANY:
                return _together(_OF_MANY[name], self.evaluate(what))
        raise self._unknown(name)

    def _series(self, node: ast.expr) -> Series:
        value = self.evaluate(node)
        if not isinstance(value, dict):
            raise self._unknown(f"{ast.unparse(node)} is no time series")
        return value

    def _each(self, function: Callable[..., float], operands: Iterable[ast.expr]) -> Value:
        """Period by period, where every operand has a value; none where it divides by zero."""
        values = [self.evaluate(operand) for operand in operands]
        if any(isinstance(value, list) for value in values):
            raise self._unknown("arithmetic on a list")
        series = [value for value in values if isinstance(value, dict)]
        if not series:
            return float(function(*values))
        common = set(series[0]).intersection(*series[1:])
        result: Series = {}
        for at in sorted(common):
            row = [value[at] if isinstance(value, dict) else value for value in values]
            try:
                result[at] = float(function(*row))
            except ZeroDivisionError:
                continue
        return result

    def _unknown(self, what: str) -> UnknownMath:
        return UnknownMath(self._text, f"nothing here knows {what}")


def _together(function: Callable[[Sequence[float]], float], value: Value) -> Value:
    """Of a list one series, of the values that there are in each period; of a series one number."""
    if isinstance(value, float):
        return value
    if isinstance(value, dict):
        return float(function(list(value.values()))) if value else {}
    periods = sorted({at for series in value for at in series})
    return {at: float(function([s[at] for s in value if at in s])) for at in periods}
