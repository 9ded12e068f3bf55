"""Base of all reasons: a code and facts for programs, and the words that people read. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from functools import cache
from typing import Any, ClassVar

from keyjanitor.domain.model.owners import Mark, Stack, owner_values


@dataclass(frozen=True, slots=True)
class Explained:
    """A reason. Its code and its facts are written into rows, files and events; its words may change."""

    code: ClassVar[str]

    def facts(self) -> dict[str, Any]:
        """The fields as JSON has them: a date as text, a reason as its `reason_code` and `facts`."""
        kind: Any = type(self)
        return {
            "due" if name == "because" else name: _plain(getattr(self, name))
            for name in _names_of(kind)
        }


@cache  # a sweep lays a reason out for each key
def _names_of(kind: Any) -> tuple[str, ...]:
    return tuple(one.name for one in fields(kind))


def _plain(value: Any) -> Any:
    match value:
        case Explained():
            return {"reason_code": value.code, "facts": value.facts()}
        case Stack() | Mark():
            return owner_values(value)
        case date():
            return str(value)
        case Mapping():
            return dict(value)
        case _:
            return value


def laid_out(reason: Explained) -> dict[str, Any]:
    """A reason as the fields of a row or of a line: `reason` (words), `reason_code` and `facts`."""
    return {"reason": str(reason), "reason_code": reason.code, "facts": reason.facts()}


def in_words(text: str) -> dict[str, Any]:
    """The same fields for what a person wrote, or for no reason at all: these have no code."""
    return {"reason": text, "reason_code": "", "facts": {}}
