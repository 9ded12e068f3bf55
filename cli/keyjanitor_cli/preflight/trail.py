"""Reads the few members of CloudTrail's events that a preflight compares; the rest may hold a value. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from keyjanitor_cli.preflight.answers import Answer

# As CloudTrail was seen to write the dates of an answer of API Gateway.
_FORMS = ("%b %d, %Y, %I:%M:%S %p", "%b %d, %Y %I:%M:%S %p", "%a %b %d %H:%M:%S %Z %Y")
_NARROW_SPACE = "\u202f"
_MILLISECONDS = 10_000_000_000  # a number above it counts them


@dataclass(frozen=True, slots=True)
class Updated:
    """The latest UpdateApiKey that was answered: of which key, with which date; None: of another form."""

    key_id: str
    last_updated: datetime | None


@dataclass(frozen=True, slots=True)
class Import:
    """One ImportApiKeys: AWS's error, whether it warned, and whether the file is in the event."""

    error: str
    warned: bool
    shows_file: bool


def events(answer: Answer) -> Iterator[Mapping[str, Any]]:
    """The events of a LookupEvents, newest first; what is no JSON is left out."""
    for item in answer.items("Events"):
        try:
            event = json.loads(str(item.get("CloudTrailEvent", "")))
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def key_updated(answer: Answer) -> Updated | None:
    """The latest change of a key that CloudTrail shows with what was answered."""
    for event in events(answer):
        told = event.get("responseElements")
        if isinstance(told, Mapping) and isinstance(told.get("id"), str):
            return Updated(told["id"], moment(told.get("lastUpdatedDate")))
    return None


def imports(answer: Answer) -> list[Import]:
    """The imports that CloudTrail shows."""
    return [
        Import(
            str(event.get("errorCode") or ""),
            bool(_table(event, "responseElements").get("warnings")),
            bool(_table(event, "requestParameters").get("body")),
        )
        for event in events(answer)
    ]


def errors(answer: Answer) -> list[str]:
    """The error codes of the events, without those that were carried out."""
    return [str(event["errorCode"]) for event in events(answer) if event.get("errorCode")]


def moment(told: Any) -> datetime | None:
    """A date in one of the forms that AWS writes them in; None if it is another."""
    if isinstance(told, datetime):
        return told.astimezone(UTC)
    if isinstance(told, int | float) and not isinstance(told, bool):
        seconds = told / 1000 if told > _MILLISECONDS else told
        return datetime.fromtimestamp(seconds, UTC)
    if not isinstance(told, str):
        return None
    text = told.replace(_NARROW_SPACE, " ").strip()
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        pass
    for form in _FORMS:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def _table(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = event.get(name)
    return table if isinstance(table, Mapping) else {}
