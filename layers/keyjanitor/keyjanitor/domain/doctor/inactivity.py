"""Finds enabled keys that are inactive for longer than their tier declares, and why they still are. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from keyjanitor.domain.doctor.checkup import Checkup, InactiveKey
from keyjanitor.domain.expiry import reasons
from keyjanitor.domain.expiry.verdicts import tier_of
from keyjanitor.domain.model.keys import ApiKey
from keyjanitor.domain.model.policy import Tier
from keyjanitor.domain.model.records import Row

Line = Mapping[str, Any]  # of a keys file

NOT_JUDGED = "no sweep has judged it yet"


class Why(StrEnum):
    """Why a key that is inactive for too long is enabled; each such key has exactly one."""

    PROTECTED = "protected"
    OWNED_ELSEWHERE = "owned_elsewhere"
    NEVER_EXPIRES = "never_expires"
    NO_CONTACT = "no_contact"
    UNKNOWN = "unknown"
    WITHIN_IDLE_LIMIT = "within_idle_limit"
    WAITS_FOR_DATE = "waits_for_date"
    WAITS_FOR_ALLOWANCE = "waits_for_allowance"
    NOT_TOLD = "not_told"
    NOT_TONIGHT = "not_tonight"
    HELD = "held"
    BRAKED = "braked"
    OBSERVED = "observed"
    STEP_NOT_TAKEN = "step_not_taken"
    NOT_JUDGED = "not_judged"


@dataclass(frozen=True, slots=True)
class Sweeps:
    """What keeps all sweeps from acting: a hold, the safety brake, or that they only observe."""

    held: bool = False
    braked: bool = False
    only_observe: bool = False

    def why(self) -> Why | None:
        """The one that says most; None: sweeps act."""
        if self.held:
            return Why.HELD
        if self.only_observe:
            return Why.OBSERVED
        return Why.BRAKED if self.braked else None


# Of keys that a sweep keeps or protects, by the code of its reason; unknown is unknown, whatever the code.
WHY_OF_CODE: Mapping[str, Why] = {
    reasons.WithinIdleLimit.code: Why.WITHIN_IDLE_LIMIT,
    reasons.OrphanSoon.code: Why.WITHIN_IDLE_LIMIT,
    reasons.EndsLater.code: Why.WITHIN_IDLE_LIMIT,
    reasons.Waits.code: Why.WAITS_FOR_DATE,
    reasons.Stepped.code: Why.WAITS_FOR_DATE,
    reasons.AwaitsAllowance.code: Why.WAITS_FOR_ALLOWANCE,
    reasons.NotTonight.code: Why.NOT_TONIGHT,
    reasons.NotTold.code: Why.NOT_TOLD,
    reasons.OwnedBy.code: Why.OWNED_ELSEWHERE,
    reasons.KeepTag.code: Why.PROTECTED,
    reasons.ProtectedUntil.code: Why.PROTECTED,
    reasons.DisabledByOthers.code: Why.STEP_NOT_TAKEN,  # and enabled since
    reasons.BeingRestored.code: Why.PROTECTED,
    reasons.TierNever.code: Why.NEVER_EXPIRES,
    reasons.NoContact.code: Why.NO_CONTACT,
    reasons.IdMayBeValue.code: Why.PROTECTED,
}


def inactive_keys(
    checkup: Checkup, lines: Iterable[Line], sweeps: Sweeps
) -> tuple[InactiveKey, ...] | None:
    """The enabled keys beyond their tier's `declared_inactivity_days`, the longest inactive first.

    `lines` are those of the latest keys file. A key is active when it is made and when a reading shows
    a request of it; what restarts its idle clock beside that is no activity. None: no tier declares.
    """
    declared = checkup.bound.policy.tiers.values()
    if all(tier.declared_inactivity_days is None for tier in declared):
        return None
    line_of = {line["key_id"]: line for line in lines}
    plans_of = checkup.evidence.plans_of_key() if checkup.evidence else {}
    rows = checkup.rows or {}
    found = []
    for key in checkup.keys:
        if not key.enabled:
            continue
        row, line = rows.get(key.key_id), line_of.get(key.key_id)
        tier, _ = tier_of(row, plans_of.get(key.key_id, ()), checkup.bound)
        last_used = _last_used(key.key_id, row, line, checkup)
        one = _inactive(key, row, tier, last_used, checkup.today, line, sweeps)
        if one is not None:
            found.append(one)
    return tuple(sorted(found, key=lambda one: (-one.days, one.key_id)))


def _last_used(key_id: str, row: Row | None, line: Line | None, checkup: Checkup) -> date | None:
    told = line.get("last_used") if line else None
    known = (
        checkup.evidence.last_used.get(key_id) if checkup.evidence else None,
        row.last_used if row else None,
        date.fromisoformat(told) if told else None,
    )
    return max((day for day in known if day is not None), default=None)


def _inactive(
    key: ApiKey,
    row: Row | None,
    tier: Tier,
    last_used: date | None,
    today: date,
    line: Line | None,
    sweeps: Sweeps,
) -> InactiveKey | None:
    """The key with its inactive days and why it is enabled, if they are more than its tier declares."""
    declared = tier.declared_inactivity_days
    created = key.created_date.date()
    days = (today - max(created, last_used or created)).days
    if declared is None or days <= declared:
        return None
    return InactiveKey(
        key_id=key.key_id,
        name=(row.name if row else "") or key.name,
        owner=row.owner if row else None,
        tier=tier.name,
        declared=declared,
        days=days,
        created=created,
        last_used=last_used,
        why=str(why_enabled(line, sweeps)),
        reason=line["reason"] if line else NOT_JUDGED,
    )


def why_enabled(line: Line | None, sweeps: Sweeps) -> Why:
    """Why an enabled key is so, by its line of the latest keys file; total, whoever wrote the line."""
    if line is None:
        return Why.NOT_JUDGED
    match line.get("verdict"):
        case "unknown":
            return Why.UNKNOWN
        case "protected":
            return WHY_OF_CODE.get(line.get("reason_code", ""), Why.PROTECTED)
        case "keep":
            why = WHY_OF_CODE.get(line.get("reason_code", ""), _why_without_code(line))
            return (sweeps.why() or why) if why is Why.NOT_TONIGHT else why
        case "warn":
            return sweeps.why() or Why.WAITS_FOR_DATE
        case _:
            return sweeps.why() or Why.STEP_NOT_TAKEN


def _why_without_code(line: Line) -> Why:
    """Lines of builds before 0.2.0 have no code: their dates say it."""
    if line.get("disable_on") or line.get("park_on"):
        return Why.WAITS_FOR_DATE
    return Why.WITHIN_IDLE_LIMIT
