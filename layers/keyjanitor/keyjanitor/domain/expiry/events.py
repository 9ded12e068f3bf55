"""Builds the events that tell other systems what became of a key. Pure.

The events and their details are fixed in docs/events.md; nothing in them is secret.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

from keyjanitor.domain.expiry.called import CalledKey
from keyjanitor.domain.model.keys import State
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.records import (
    CALLED,
    DISABLED,
    EXPIRING,
    PARKED,
    Announcement,
    Row,
)
from keyjanitor.domain.model.safe_text import plain

SOURCE = "keyjanitor"
VERSION = 1


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
        "owner": plain_value(row.owner),
        "tier": row.tier,
        "contact": tier.contact if tier else None,
    }
    if row.previous_key_ids:
        detail["previous_key_id"] = row.previous_key_ids[-1]
    if row.reason:
        detail["reason"] = plain_value(row.reason)
    if row.reason_code:
        detail |= {"reason_code": row.reason_code, "facts": plain_value(row.facts)}
    detail.update({name: str(day) for name, day in dates.items() if day is not None})
    # The id is the same however often a step is taken up again: one step, one announcement.
    return Announcement(f"{today}#{detail_type.replace(' ', '')}#{row.key_id}", detail_type, detail)


def announce_calls(one: CalledKey, row: Row, policy: Policy, today: date) -> Announcement:
    """`Disabled Key Called`: how often a disabled key was called since the last night; once a date."""
    tier = policy.tiers.get(row.tier)
    detail: dict[str, Any] = {
        "version": VERSION,
        "key_id": row.key_id,
        "owner": plain_value(row.owner),
        "tier": row.tier,
        "contact": tier.contact if tier else None,
        **({"previous_key_id": row.previous_key_ids[-1]} if row.previous_key_ids else {}),
        "disabled_by": "keyjanitor" if one.by_us else "others",
        "requests": one.calls.requests,
        "since": f"{one.calls.since:%Y-%m-%dT%H:%M:%SZ}",
        "last": f"{one.calls.last:%Y-%m-%dT%H:%M:%SZ}",
    }
    return Announcement(f"{today}#{CALLED.replace(' ', '')}#{row.key_id}", CALLED, detail)


def plain_value(value: object) -> object:
    """A value of an event as JSON has it: a text made harmless, a date as text."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return {name: plain_value(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain_value(one) for one in value]
    return str(value) if isinstance(value, date) else value


def _what(row: Row) -> tuple[str, dict[str, date | None]]:
    match row.state:
        case State.WARNED:
            return EXPIRING, {"disable_on": row.disable_on}
        case State.DISABLED:
            return DISABLED, {"park_on": row.park_on}
        case State.PARKED:
            return PARKED, {"restorable_until": row.purge_on}
        case State.PURGED:
            return "Key Purged", {}
        case State.ACTIVE:
            return "Key Restored", {}
        case State.RESTORED | State.GONE | State.REVOKED:
            raise ValueError(f"no event is about {row.state}")
