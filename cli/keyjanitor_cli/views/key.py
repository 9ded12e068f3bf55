"""Shows one key: whether it works and why not, who has it, what it is used for, what happens next. Pure."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from math import ceil
from typing import Any

from keyjanitor.domain.expiry.ownership import disabled_by_us
from keyjanitor.domain.model.key_values import is_words, looks_like_ours
from keyjanitor.domain.model.keys import ApiKey, State
from keyjanitor.domain.model.owner_rules import owner_from
from keyjanitor.domain.model.records import OwnerFrom, Row
from keyjanitor_cli.shapes import Block, Column, Command, Facts, Line, Table, Tone, View
from keyjanitor_cli.words import many

BARS = "▁▂▃▄▅▆▇█"
UNKNOWN_BAR = "·"
VALUE = re.compile(r"[A-Za-z0-9]{30,128}")  # as API Gateway makes them; ids have ten characters
EVENTS = 20  # that are shown, the latest


@dataclass(frozen=True, slots=True)
class Event:
    """What was announced of a key, at a UTC time."""

    time: str
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was read of one key. `key` is None if API Gateway has it no more; `line` is of the latest keys file.

    `use` are the requests of `days`, None where they are not known; `plans` names by id; `events` is
    None if they could not be read, for the reason `events_unread`.
    """

    key_id: str
    today: date
    key: ApiKey | None
    row: Row | None
    line: Mapping[str, Any]
    line_of: date | None
    plans: Mapping[str, str]
    days: Sequence[date] = ()
    use: Sequence[int | None] = ()
    events: Sequence[Event] | None = ()
    events_unread: str = ""
    held: str | None = None
    mode: str = "park"


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a key works, in one sentence, and the commands that come next."""

    text: str
    tone: Tone
    commands: Sequence[str] = field(default_factory=tuple)


def may_be_a_value(text: str) -> bool:
    """Whether a text that was typed as an argument is a key's value rather than an id or a name."""
    if looks_like_ours(text):
        return True
    return VALUE.fullmatch(text) is not None and not is_words(text)


def sparkline(use: Sequence[int | None]) -> str:
    """A bar a day, as high as its share of the busiest; a dot where nothing is known."""
    most = max((used for used in use if used is not None), default=0)

    def bar(used: int | None) -> str:
        if used is None:
            return UNKNOWN_BAR
        return BARS[ceil((len(BARS) - 1) * used / most) if used else 0]

    return "".join(map(bar, use))


def answer(at: Seen) -> Answer:
    """The answer to "my key stopped working"."""
    if at.key is None:
        return _gone(at)
    if not at.key.enabled:
        return _disabled(at, at.key)
    if not at.plans:
        return Answer(
            "It is enabled, but in no usage plan: requests with it are answered 403. Put it into a plan.",
            Tone.WARN,
        )
    state = at.row.state if at.row else State.ACTIVE
    if state is State.WARNED and at.row is not None:
        return Answer(
            f"It works. It was warned and will be disabled on {at.row.disable_on} unless it is used: "
            f"{at.row.reason}.",
            Tone.WARN,
        )
    return Answer(
        f"It works: enabled, in {many(len(at.plans), 'usage plan')}. A 403 comes from another stage or "
        "API than those of its plans, a 429 from a plan's throttle or quota.",
        Tone.GOOD,
    )


def _disabled(at: Seen, key: ApiKey) -> Answer:
    row = at.row
    if row is None or not disabled_by_us(key, row):
        return Answer(
            "It is disabled, but not by keyjanitor: requests with it are answered 403. CloudTrail says "
            "who did it (UpdateApiKey).",
            Tone.BAD,
        )
    parks = f" It will be parked (deleted) on {row.park_on}." if row.park_on else ""
    return Answer(
        f"keyjanitor disabled it on {row.disabled_on}: {row.reason}.{parks} To enable it:",
        Tone.BAD,
        (f"keyjanitor undo {row.disabled_on} {at.key_id}",),
    )


def _gone(at: Seen) -> Answer:
    row = at.row
    if row is None:
        return Answer("API Gateway has no such key, and keyjanitor knows none.", Tone.BAD)
    if row.state is State.PARKED:
        return Answer(
            f"keyjanitor parked it on {row.parked_on}, after it was disabled on {row.disabled_on}: "
            f"{row.reason}. Until {row.purge_on} it can have the same value back, under a new id:",
            Tone.BAD,
            (f"keyjanitor undo {row.parked_on} {row.key_id}",),
        )
    texts = {
        State.REVOKED: f"It was revoked on {row.revoked_on} by {row.revoked_by}, for good: {row.reason}.",
        State.PURGED: f"It was purged on {row.purged_on}: nothing can bring its value back.",
        State.RESTORED: f"It lives on under the id {row.new_key_id}.",
    }
    text = texts.get(
        row.state, "Someone deleted it, not keyjanitor: CloudTrail says who (DeleteApiKey)."
    )
    commands = (f"keyjanitor key {row.new_key_id}",) if row.state is State.RESTORED else ()
    return Answer(text, Tone.BAD, commands)


def next_step(at: Seen) -> str:
    """What the sweeps will do to the key, when and why."""
    line, row = at.line, at.row
    if at.key is None:
        on = row.purge_on if row and row.state is State.PARKED else None
        return f"purged on {on}" if on else "nothing"
    state = row.state if row else State.ACTIVE
    park_on = (row.park_on if row else None) or line.get("park_on")
    disable_on = (row.disable_on if row else None) or line.get("disable_on")
    why = f": {line['reason']}" if line.get("reason") else ""
    if state is State.DISABLED:
        return f"parked (deleted) on {park_on}{why}" if park_on else f"nothing{why}"
    if disable_on:
        return f"disabled on {disable_on}, parked on {park_on}{why}"
    return f"nothing tonight{why}" if line else "nothing is known until the next sweep"


def document(at: Seen) -> dict[str, Any]:
    """What a program reads; no value of a key is in it."""
    row, key = at.row, at.key
    told = answer(at)
    return {
        "key_id": at.key_id,
        "name": _name(at),
        "state": str(row.state) if row else ("active" if key else None),
        "exists": key is not None,
        "enabled": key.enabled if key else None,
        "owner": _owner(at),
        "owner_from": _how(at),
        "tier": (row.tier if row else None) or at.line.get("tier"),
        "created_on": str(key.created_date.date()) if key else None,
        "last_used": at.line.get("last_used"),
        "expires_on": _text(row.expires_on if row else None),
        "protected_until": _text(row.protected_until if row else None),
        "previous_key_ids": list(row.previous_key_ids) if row else [],
        "usage_plans": dict(at.plans),
        "requests": {str(day): used for day, used in zip(at.days, at.use, strict=True)},
        "answer": told.text,
        "commands": list(told.commands),
        "next_step": next_step(at),
        "events": None
        if at.events is None
        else [{"time": one.time, "what": one.what, "why": one.why} for one in at.events],
    }


def view(at: Seen) -> View:
    """What a person reads; the first line answers "my key stopped working"."""
    told, row, key = answer(at), at.row, at.key
    known = sum(used for used in at.use if used is not None)
    blocks: list[Block] = [
        Line(f"{at.key_id}: {told.text}", told.tone),
        *map(Command, told.commands),
    ]
    facts = [
        ("Name", _name(at)),
        ("Owner", _owner_and_how(at)),
        ("Tier", (row.tier if row else None) or at.line.get("tier")),
        ("State", str(row.state) if row else "not known to keyjanitor yet"),
        ("Created", str(key.created_date.date()) if key else None),
        ("Last use", at.line.get("last_used")),
        ("Plans", ", ".join(f"{name} ({plan_id})" for plan_id, name in at.plans.items())),
        ("Use, 30 days", f"{sparkline(at.use)}  {many(known, 'request')}" if at.days else None),
        ("Next", next_step(at)),
        ("Ends", _text(row.expires_on if row else None)),
        ("Protected", f"until {row.protected_until}" if row and row.protected_until else None),
        ("Earlier ids", ", ".join(row.previous_key_ids) if row else None),
    ]
    blocks.append(Facts([(name, Line(text)) for name, text in facts if text]))
    if at.held:
        blocks.append(Line(f"Sweeps are on hold: {at.held}", Tone.WARN))
    if at.mode == "observe":
        blocks.append(
            Line("No sweep changes a key: the stack is deployed with Mode=observe.", Tone.QUIET)
        )
    return [*blocks, *_events(at)]


def _events(at: Seen) -> list[Block]:
    if at.events is None:
        return [Line(f"Its events could not be read: {at.events_unread}", Tone.WARN)]
    if not at.events:
        return []
    rows = [[one.time, one.what, one.why] for one in at.events[-EVENTS:]]
    return [Table([Column("When (UTC)", whole=True), Column("Event"), Column("Why")], rows)]


def events_of(messages: Iterable[str], key_ids: frozenset[str]) -> list[Event]:
    """The events of these keys in lines of the audit log, each once; a line of another form is left out."""
    found: dict[Event, None] = {}
    for message in messages:
        try:
            logged = json.loads(message)
            detail = logged["detail"]
            what = {"time": logged["time"], "what": logged["detail-type"]}
        except (ValueError, KeyError, TypeError):
            continue
        if not key_ids.isdisjoint({detail.get("key_id"), detail.get("previous_key_id")}):
            found.setdefault(Event(**what, why=str(detail.get("reason") or "")))
    return sorted(found, key=lambda one: one.time)  # of the same second as they were logged


def several(found: Sequence[tuple[str, str, str]]) -> View:
    """The keys that a name or the beginning of an id fits: id, name, owner."""
    return [
        Table(
            [Column("Key", whole=True), Column("Name"), Column("Owner")],
            [list(one) for one in found],
        ),
        Line("Several keys fit. Name one by its id:", Tone.WARN),
        Command(f"keyjanitor key {found[0][0]}"),
    ]


def _name(at: Seen) -> str | None:
    return (at.row.name if at.row else "") or (at.key.name if at.key else "") or at.line.get("name")


def _owner(at: Seen) -> str | None:
    return (at.row.owner if at.row else None) or at.line.get("owner")


def _how(at: Seen) -> str | None:
    """`issued`, `assigned` or `found`; None if the owner, or how it is known, is not known."""
    if at.row is None or at.row.owner is None:
        return at.line.get("owner_from")
    return str(owner_from(at.row))


def _owner_and_how(at: Seen) -> str | None:
    owner = _owner(at)
    return f"{owner} (found by a rule)" if owner and _how(at) == OwnerFrom.FOUND else owner


def _text(day: date | None) -> str | None:
    return str(day) if day else None
