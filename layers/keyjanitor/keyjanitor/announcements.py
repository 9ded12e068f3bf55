"""Builds the events that tell other systems what became of a key. Pure.

The events and their details are fixed in the design ("Events"); nothing in them is secret.
"""

from datetime import date
from typing import Any

from keyjanitor.policy import Policy
from keyjanitor.words import Announcement, Row, State

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
        "owner": row.owner,
        "tier": row.tier,
        "contact": tier.contact if tier else None,
    }
    if row.previous_key_ids:
        detail["previous_key_id"] = row.previous_key_ids[-1]
    if row.because:
        detail["reason"] = row.because
    detail.update({name: str(day) for name, day in dates.items() if day is not None})
    # The id is the same however often a step is taken up again: one step, one announcement.
    return Announcement(f"{today}#{detail_type.replace(' ', '')}#{row.key_id}", detail_type, detail)


def _what(row: Row) -> tuple[str, dict[str, date | None]]:
    match row.state:
        case State.WARNED:
            return "Key Expiring", {"disable_on": row.disable_on}
        case State.DISABLED:
            return "Key Disabled", {"park_on": row.park_on}
        case State.PARKED:
            return "Key Parked", {"restorable_until": row.purge_on}
        case State.PURGED:
            return "Key Purged", {}
        case State.ACTIVE:
            return "Key Restored", {}
        case State.RESTORED | State.GONE:
            raise ValueError(f"no event tells of {row.state}")
