"""Builds the events that tell other systems what became of a key. Pure.

The events and their details are fixed in docs/events.md; nothing in them is secret.
"""

from datetime import date
from typing import Any

from keyjanitor.admission import KeyRequest, Refusal
from keyjanitor.harmless import plain
from keyjanitor.policy import Policy
from keyjanitor.words import DISABLED, EXPIRING, ISSUED, NEW_KEYS, ROTATED, Announcement, Row, State

__all__ = [
    "ISSUED",
    "NEW_KEYS",
    "REFUSED",
    "ROTATED",
    "SOURCE",
    "VERSION",
    "announce",
    "answer",
    "refused",
]

SOURCE = "keyjanitor"
VERSION = 1
REFUSED = "Key Request Refused"


def announce(row: Row, policy: Policy, today: date) -> Announcement:
    """The event for what has just been written into a key's row.

    `Key Expiring` (with `disable_on`), `Key Disabled` (`park_on`), `Key Parked`
    (`restorable_until`), `Key Purged`, or for a key that is active again `Key Restored`.
    """
    tier = policy.tiers.get(row.tier)
    detail_type, dates = _what(row)
    detail: dict[str, Any] = {
        "version": VERSION,
        "key_id": row.key_id,
        "owner": _plain(row.owner),
        "tier": row.tier,
        "contact": tier.contact if tier else None,
    }
    if row.previous_key_ids:
        detail["previous_key_id"] = row.previous_key_ids[-1]
    if row.because:
        detail["reason"] = _plain(row.because)
    detail.update({name: str(day) for name, day in dates.items() if day is not None})
    # The id is the same however often a step is taken up again: one step, one announcement.
    return Announcement(f"{today}#{detail_type.replace(' ', '')}#{row.key_id}", detail_type, detail)


def answer(
    detail_type: str,
    request: KeyRequest,
    row: Row,
    policy: Policy,
    **more: object,
) -> dict[str, object]:
    """The detail of the event that answers a request; `row` is that of the key as it is now.

    What is None in `more` is left out.
    """
    tier = policy.tiers.get(row.tier)
    detail: dict[str, object] = {
        "version": VERSION,
        "request_id": request.request_id,
        "requested_by": request.sender,
        "key_id": row.key_id,
        "owner": _plain(row.owner),
        "tier": row.tier,
        "contact": tier.contact if tier else None,
        "name": _plain(row.name),
    }
    if detail_type in NEW_KEYS:
        detail["usable"] = "within minutes"  # as AWS says of every new key (seen: AF-216)
    told = [("reason", request.reason), *more.items()]
    return detail | {name: _plain(value) for name, value in told if value is not None}


def refused(
    request_id: str | None,
    sender: str | None,
    action: str | None,
    refusal: Refusal,
    **known: str | None,
) -> dict[str, object]:
    """The detail of a `Key Request Refused`; `known` is what the request and the ledger say.

    Without a `request_id` it answers what is no request, or whose id looks like a key's value;
    without a `sender` it is not known who sent it first.
    """
    named = {name: known.get(name) for name in ("key_id", "owner", "tier", "contact")}
    return {
        "version": VERSION,
        "request_id": request_id,
        "requested_by": sender,
        "action": action,
        "code": str(refusal.code),
        "reason": _plain(refusal.reason),
        **{name: _plain(text) for name, text in named.items()},
    }


def _plain(value: object) -> object:
    if isinstance(value, str):
        return plain(value)
    return str(value) if isinstance(value, date) else value


def _what(row: Row) -> tuple[str, dict[str, date | None]]:
    match row.state:
        case State.WARNED:
            return EXPIRING, {"disable_on": row.disable_on}
        case State.DISABLED:
            return DISABLED, {"park_on": row.park_on}
        case State.PARKED:
            return "Key Parked", {"restorable_until": row.purge_on}
        case State.PURGED:
            return "Key Purged", {}
        case State.ACTIVE:
            return "Key Restored", {}
        case State.RESTORED | State.GONE | State.REVOKED:
            raise ValueError(f"no event tells of {row.state}")
