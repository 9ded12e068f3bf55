"""Lays out the comparison of a night as the JSON of its file, and reads it back. Pure."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from keyjanitor.domain.expiry.safety_brake import Compared, Limits, Seen
from keyjanitor.domain.model.keys import DAY
from keyjanitor.errors import UnexpectedAnswer

VERSION = 1


def to_document(compared: Compared) -> dict[str, Any]:
    """A compared night as JSON values, for its file: keys by tier and status, with idle days."""
    keys: dict[str, dict[str, dict[str, int]]] = {}
    for key_id, seen in sorted(compared.keys.items()):
        of_tier = keys.setdefault(seen.tier, {})
        of_tier.setdefault(seen.status, {})[key_id] = (compared.day - seen.since).days
    return {
        "version": VERSION,
        "date": str(compared.day),
        "service_quota": compared.service_quota,
        "clear_margin": compared.clear_margin,
        "ladder": [list(rule) for rule in compared.rules],
        "above": compared.above,
        "factor": compared.factor,
        "max_share": compared.max_share,
        "max_keys": compared.max_keys,
        "tiers": {
            name: [limits.never_used_days, limits.idle_days, limits.orphan_days]
            for name, limits in compared.tiers.items()
        },
        "keys": keys,
        "lowered": {key_id: str(on) for key_id, on in sorted(compared.lowered.items())},
        "counts": list(compared.counts),
    }


def from_document(document: Mapping[str, Any]) -> Compared:
    """The compared night that a file holds; raises UnexpectedAnswer if it is of another version."""
    if document.get("version") != VERSION:
        raise UnexpectedAnswer("nights", f"version {document.get('version')!r} is not known")
    day = date.fromisoformat(document["date"])
    return Compared(
        day=day,
        service_quota=document["service_quota"],
        clear_margin=document["clear_margin"],
        rules=tuple((above, factor) for above, factor in document["ladder"]),
        above=document["above"],
        factor=document["factor"],
        max_share=document["max_share"],
        max_keys=document["max_keys"],
        tiers={
            name: Limits(never_used, idle, orphan)
            for name, (never_used, idle, orphan) in document["tiers"].items()
        },
        keys={
            key_id: Seen(tier, status, day - DAY * days)
            for tier, statuses in document["keys"].items()
            for status, of_status in statuses.items()
            for key_id, days in of_status.items()
        },
        lowered={k: date.fromisoformat(on) for k, on in document["lowered"].items()},
        counts=tuple(document["counts"]),
    )
