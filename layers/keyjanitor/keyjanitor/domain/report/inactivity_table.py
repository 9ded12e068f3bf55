"""Lays out the report's table of enabled keys that are inactive for longer than their tier declares. Pure."""

from collections import Counter
from typing import Any

from keyjanitor.domain.doctor.checkup import InactiveKey
from keyjanitor.domain.model.safe_text import visible
from keyjanitor.domain.report.morning import Morning

COLUMNS = (
    "key_id",
    "name",
    "owner",
    "tier",
    "declared_days",
    "inactive_days",
    "last_used",
    "created",
    "why",
    "reason",
)


def inactivity_table(morning: Morning) -> dict[str, Any] | None:
    """The report's `inactivity`: a row a key by COLUMNS; None if no tier declares, or nothing was looked at."""
    inactive = morning.checkup.inactive
    if inactive is None:
        return None
    return {
        "declared": {
            tier.name: tier.declared_inactivity_days
            for tier in morning.policy.tiers.values()
            if tier.declared_inactivity_days is not None
        },
        "keys": len(inactive),
        "why": dict(Counter(one.why for one in inactive).most_common()),
        "columns": list(COLUMNS),
        "rows": [_row(one) for one in inactive],
    }


def _row(one: InactiveKey) -> list[Any]:
    return [
        one.key_id,
        visible(one.name),
        one.owner and visible(one.owner),
        one.tier,
        one.declared,
        one.days,
        str(one.last_used) if one.last_used else None,
        str(one.created),
        one.why,
        visible(one.reason),
    ]
