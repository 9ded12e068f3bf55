"""Lays out the report's row of each key: its state, its verdict, and what happens to it next. Pure."""

from collections.abc import Iterator
from datetime import date
from typing import Any

from keyjanitor.domain.capacity.counting import state_of
from keyjanitor.domain.expiry.explained import in_words
from keyjanitor.domain.model.keys import ApiKey, State
from keyjanitor.domain.model.records import Row
from keyjanitor.domain.model.safe_text import visible
from keyjanitor.domain.report.morning import Line, Morning

COLUMNS = (
    "key_id",
    "name",
    "owner",
    "tier",
    "state",
    "verdict",
    "reason",
    "last_used",
    "idle_days",
    "created",
    "next_step",
    "next_on",
    "days_left",
    "requests_30d",
    "plans",
    "expires",
    "waits",
    "announced",
    "reason_code",
    "facts",
)
# Kept tonight although a step is due, or has its date already.
WAITING = frozenset({"waits", "awaits_allowance", "not_tonight", "not_told"})
NO_LINE = in_words("created after the last sweep")


def key_rows(morning: Morning) -> Iterator[list[Any]]:
    """A row a key, by COLUMNS: the keys that API Gateway lists now, and those of the keys file that are gone since."""
    listed = {key.key_id: key for key in morning.checkup.keys}
    lines = {line["key_id"]: line for line in morning.lines}
    for key_id in sorted(listed.keys() | lines.keys()):
        fields = _fields(morning, key_id, listed.get(key_id), lines.get(key_id, {}))
        yield [fields[column] for column in COLUMNS]


def _fields(morning: Morning, key_id: str, key: ApiKey | None, line: Line) -> dict[str, Any]:
    row = morning.rows.get(key_id)
    state = _state(morning, key_id, key)
    step, on = _next_step(state, line, row, morning.warn_on.get(key_id))
    said = line or NO_LINE
    return {
        "key_id": key_id,
        "name": _seen((row.name if row else "") or (key.name if key else line.get("name"))),
        "owner": _seen(row.owner if row else line.get("owner")),
        "tier": row.tier if row else line.get("tier"),
        "state": state,
        "verdict": line.get("verdict"),
        "reason": _seen(said["reason"]),
        "last_used": line.get("last_used"),
        "idle_days": line.get("idle_days"),
        "created": str(key.created_date.date()) if key else line.get("created_date"),
        "next_step": step,
        "next_on": on,
        "days_left": (date.fromisoformat(on) - morning.today).days if on else None,
        "requests_30d": morning.use.requests(key_id),
        "plans": line.get("usage_plan_ids", []),
        "expires": str(row.expires_on) if row and row.expires_on else None,
        "waits": waits(line) if line else None,
        "announced": _is_announced(step, row),
        "reason_code": said.get("reason_code", ""),
        "facts": said.get("facts", {}),
    }


def _state(morning: Morning, key_id: str, key: ApiKey | None) -> str:
    if key is not None:
        return state_of(key, morning.rows.get(key_id))
    return str(State.PARKED if key_id in morning.parked_ids else State.GONE)


def waits(line: Line) -> bool:
    """True if a key is kept only for now: a step has its date, or is due and not taken tonight.

    Lines of builds before 0.2.0 have no code: their dates say it.
    """
    if line["verdict"] != "keep":
        return False
    if code := line.get("reason_code"):
        return code in WAITING
    return bool(line.get("disable_on") or line.get("park_on"))


def _is_announced(step: str | None, row: Row | None) -> bool | None:
    """True if the date of the next step is in the ledger, False if it is projected; None: there is no step."""
    match step:
        case None:
            return None
        case "purged":
            return True
        case "disabled":
            return row is not None and row.disable_on is not None
        case "parked":
            return row is not None and row.park_on is not None
        case _:
            return False


def _next_step(
    state: str, line: Line, row: Row | None, warn_on: date | None
) -> tuple[str | None, str | None]:
    """Next step of a key and its date, from the ledger, or projected as if nothing changes."""
    if state == State.PARKED:
        return ("purged", line["purge_on"]) if line.get("purge_on") else (None, None)
    if state == State.GONE:
        return None, None
    disable_on = str(row.disable_on) if row and row.disable_on else line.get("disable_on")
    park_on = str(row.park_on) if row and row.park_on else line.get("park_on")
    if state == State.DISABLED:
        return ("parked", park_on) if park_on else (None, None)
    if disable_on is None:
        return ("warned", str(warn_on)) if warn_on else (None, None)
    return "disabled", disable_on


def _seen(text: str | None) -> str | None:
    return text if text is None else visible(text)
