"""Embedded metric format: the metric data that CloudWatch finds in a line of a log."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# The limits of the specification.
MOST_DIMENSIONS = 30
MOST_VALUES = 100


@dataclass(frozen=True, slots=True)
class Datum:
    """The values of one metric under one set of dimensions; `at` in seconds since 1970."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    unit: str
    values: tuple[float, ...]
    at: float


def data_of(line: str) -> list[Datum]:
    """The metric data of a line, none if it is not in the format.

    A metric without a number, and a set of dimensions of which one is missing or no text, are left
    out; the rest of the line counts.
    """
    if '"CloudWatchMetrics"' not in line:
        return []
    try:
        root = json.loads(line)
    except ValueError:
        return []
    about = root.get("_aws") if isinstance(root, dict) else None
    if not isinstance(about, dict) or not _is_number(about.get("Timestamp")):
        return []
    return [
        datum
        for directive in _list_of(about, "CloudWatchMetrics")
        if isinstance(directive, dict)
        for datum in _data_of_directive(root, directive, about["Timestamp"] / 1000)
    ]


def _data_of_directive(
    root: Mapping[str, Any], directive: Mapping[str, Any], at: float
) -> Iterator[Datum]:
    namespace = directive.get("Namespace")
    if not namespace or not isinstance(namespace, str):
        return
    for metric in _list_of(directive, "Metrics"):
        name = metric.get("Name") if isinstance(metric, dict) else None
        values = _values_of(root.get(name)) if isinstance(name, str) else ()
        if not values:
            continue
        unit = metric.get("Unit") or "None"
        for names in _list_of(directive, "Dimensions"):
            dimensions = _dimensions_of(root, names)
            if dimensions is not None:
                yield Datum(namespace, str(name), dimensions, unit, values, at)


def _list_of(given: Mapping[str, Any], name: str) -> list[Any]:
    value = given.get(name)
    return value if isinstance(value, list) else []


def _values_of(given: Any) -> tuple[float, ...]:
    given = given if isinstance(given, list) else [given]
    return tuple(float(value) for value in given if _is_number(value))[:MOST_VALUES]


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)


def _dimensions_of(root: Mapping[str, Any], names: Any) -> dict[str, str] | None:
    if not isinstance(names, list) or len(names) > MOST_DIMENSIONS:
        return None
    found = {name: root.get(name) for name in names if isinstance(name, str)}
    texts = {name: value for name, value in found.items() if isinstance(value, str) and value}
    return texts if len(texts) == len(names) else None
