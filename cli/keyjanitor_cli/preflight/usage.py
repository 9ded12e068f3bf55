"""Reads what a page of GetUsage names, without saying which keys. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from keyjanitor_cli.preflight.answers import Answer
from keyjanitor_cli.preflight.shapes import shape

PAIR = 2  # requests, and what remains


@dataclass(frozen=True, slots=True)
class Numbers:
    """What one page says: `ids` may be values, and are shown to no one.

    `fits` keys have a pair for each day, `other` keys another number of them; `silent` keys had no
    request. `remaining` are the second numbers of pairs. `shape` is that of a page that is
    `unreadable`.
    """

    ids: frozenset[str] = field(default_factory=frozenset, repr=False)
    fits: int = 0
    other: int = 0
    silent: int = 0
    requests: int = 0
    remaining: frozenset[int] = frozenset()
    unreadable: bool = False
    shape: Any = None


def days_of(answer: Answer) -> tuple[date, date] | None:
    """The first and the last day that a page is about; None if it does not say."""
    try:
        return (
            date.fromisoformat(str(answer.body["startDate"])),
            date.fromisoformat(str(answer.body["endDate"])),
        )
    except (KeyError, ValueError):
        return None


def numbers_of(answer: Answer) -> Numbers:
    """The numbers of a page."""
    items, days = answer.body.get("items"), days_of(answer)
    if not isinstance(items, Mapping) or days is None:
        return Numbers(unreadable=True, shape=shape(answer.body))
    ids = frozenset(map(str, items))
    count = (days[1] - days[0]).days + 1
    fits = other = silent = requests = 0
    remaining: set[int] = set()
    for told in items.values():
        if told and not _are_pairs(told):
            return Numbers(ids, unreadable=True, shape=shape(answer.body))
        used = sum(pair[0] for pair in told or ())
        silent += not used
        requests += used
        if told:
            fits += len(told) == count
            other += len(told) != count
            remaining |= {pair[1] for pair in told}
    return Numbers(ids, fits, other, silent, requests, frozenset(remaining))


def _are_pairs(told: Any) -> bool:
    return isinstance(told, Sequence) and all(
        isinstance(pair, Sequence) and len(pair) == PAIR and all(type(one) is int for one in pair)
        for pair in told
    )
