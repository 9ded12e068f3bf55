"""Turns the ledger's records into plain values and back, by the types of their fields. Pure."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING, fields
from datetime import date, datetime
from enum import Enum
from functools import cache, partial
from types import UnionType
from typing import Any, TypeVar, cast, get_args, get_type_hints

from keyjanitor.domain.model.owners import Mark, Stack, owner_of, owner_values
from keyjanitor.domain.model.records import Claim, Grant, PendingAlert, PressureRuleRow

R = TypeVar("R")

# The names of attributes in items that a build before 0.2.0 wrote.
_NAMES_BEFORE = {"because": "reason", "ends_on": "expires_on"}
# The names under which items keep fields that the code calls otherwise.
_STORED_AS = {
    "idle_factor": "patience",
    "rules": "rungs",
    "alerted_on": "told_on",
    "alerted_keys": "told_keys",
}


def to_values(record: Any) -> dict[str, Any]:
    """The fields of a record by name, without those that are as in a new one; dates as text."""
    values: dict[str, Any] = {}
    for one in fields(record):
        value = getattr(record, one.name)
        default = one.default_factory() if one.default_factory is not MISSING else one.default
        if default is MISSING or value != default:
            values[_STORED_AS.get(one.name, one.name)] = _plain(value)
    return values


def from_values(record: type[R], values: Mapping[str, Any]) -> R:
    """The record that `to_values` made these values of; what is none of its fields is left out.

    Attributes of earlier versions are read under the names that they had.
    """
    readers = _readers(cast("Hashable", record))
    renamed = [*_NAMES_BEFORE.items(), *((stored, name) for name, stored in _STORED_AS.items())]
    before = {new: values[old] for old, new in renamed if old in values}
    known = {name: value for name, value in {**before, **values}.items() if name in readers}
    return record(**{name: v if v is None else readers[name](v) for name, v in known.items()})


def _plain(value: Any) -> Any:
    match value:
        case Enum():
            return value.value
        case datetime() | date():
            return value.isoformat()
        case tuple():
            return [_plain(one) for one in value]
        case Claim() | Grant() | PressureRuleRow() | PendingAlert():
            return to_values(value)
        case Stack() | Mark():
            return owner_values(value)
        case Mapping():
            return dict(value)
        case _:
            return value


@cache
def _readers(record: Any) -> dict[str, Callable[[Any], Any]]:
    return {name: _reader(hint) for name, hint in get_type_hints(record).items()}


def _reader(hint: Any) -> Callable[[Any], Any]:
    if isinstance(hint, UnionType) and Stack in get_args(hint):
        return owner_of
    if isinstance(hint, UnionType):
        hint = next(one for one in get_args(hint) if one is not type(None))
    if hint is datetime or hint is date:
        read: Callable[[Any], Any] = hint.fromisoformat
        return read
    if getattr(hint, "__origin__", None) is tuple:
        read_one = _reader(get_args(hint)[0])
        return lambda values: tuple(read_one(value) for value in values)
    if hint in (Claim, Grant, PressureRuleRow, PendingAlert):
        return partial(from_values, hint)
    if hint in (int, float) or (isinstance(hint, type) and issubclass(hint, Enum)):
        return cast("Callable[[Any], Any]", hint)
    return _same


def _same(value: Any) -> Any:
    return value
