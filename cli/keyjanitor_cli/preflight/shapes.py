"""The shape of an answer: its members and types, without anything that was in it. Pure."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

# Of an answer's members. A value has at least 20 characters (doc: AF-105), an id ten letters and digits.
_MEMBER = re.compile(r"(?=.{1,19}$)[A-Za-z]+$")
_ID = 10  # characters of an id of today (seen: AF-213)
# Members of API Gateway, CloudTrail and the others that have as many letters as an id.
_KNOWN_TENS = frozenset({"customerId", "apiSummary", "burstLimit", "StackNames", "eventTimes"})
SHOWN = 3  # elements of a list, members of a table that are shown


def shape(answer: Any) -> Any:
    """Types in place of values; a member whose name may be an id, a value or a path is `<name>`."""
    if isinstance(answer, Mapping):
        told = {name: one for name, one in answer.items() if name != "ResponseMetadata"}
        members = {name: shape(one) for name, one in told.items() if _is_member(name)}
        others = [shape(one) for name, one in told.items() if not _is_member(name)]
        return members | ({"<name>": _distinct(others)} if others else {})
    if isinstance(answer, list | tuple):
        return _distinct([shape(one) for one in answer])
    if isinstance(answer, datetime | date):
        return "date"
    return {type(None): "nothing", str: "text", bool: "true or false", int: "whole number"}.get(
        type(answer), "number" if isinstance(answer, float) else "something else"
    )


def _is_member(name: Any) -> bool:
    if not isinstance(name, str) or not _MEMBER.match(name):
        return False
    return len(name) != _ID or name in _KNOWN_TENS


def _distinct(shapes: list[Any]) -> list[Any]:
    """The first shapes that differ from each other."""
    found: list[Any] = []
    for one in shapes:
        if one not in found:
            found.append(one)
        if len(found) == SHOWN:
            break
    return found
