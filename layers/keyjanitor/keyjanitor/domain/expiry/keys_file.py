"""Lays out the daily keys file: every key with its state, its dates and tonight's verdict. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

from keyjanitor.domain.expiry.explained import laid_out
from keyjanitor.domain.expiry.reasons import NotTold, Stepped, TierMissing
from keyjanitor.domain.expiry.sweep_plan import Disable, Park, SweepPlan, Verdict, Warn
from keyjanitor.domain.model.keys import DAY, State
from keyjanitor.domain.model.owner_rules import owner_from
from keyjanitor.domain.model.records import OwnerFrom, Row, stands_disabled

WHOLE_NIGHTS = 7  # before tonight, whose files have a line for every key
# What is another every night, and follows from the usage files and from the other columns.
PASSING = frozenset({"last_used", "idle_since", "idle_days", "reason", "reason_code", "facts"})

_STEP_OF_STATE = {State.WARNED: "warn", State.DISABLED: "disable"}


def key_lines(plan: SweepPlan) -> Iterator[dict[str, Any]]:
    """One line a key, sorted by key id.

    The dates are those that are written down, and for a key that takes a step tonight those that
    follow from it if nothing changes: what would happen, and when. A key that took its step in an
    earlier run of the same date has that step as its verdict. The owner is that of the ledger, or the one
    that a rule of the policy found tonight.
    """
    found = plan.found_owners
    for verdict in sorted(plan.verdicts, key=lambda one: one.key.key_id):
        row = verdict.row
        stepped = row is not None and row.stepped_on == plan.today
        word = _STEP_OF_STATE.get(row.state) if row is not None and stepped else None
        yield {
            "key_id": verdict.key.key_id,
            "name": verdict.key.name,
            **_owner(found.get(verdict.key.key_id), row),
            "tier": verdict.tier.name,
            "contact": verdict.tier.contact,
            "state": str(row.state) if row else str(State.ACTIVE),
            "enabled": verdict.key.enabled,
            "created_date": str(verdict.key.created_date.date()),
            "last_used": _text(verdict.last_used),
            "idle_since": _text(verdict.idle_since),
            "idle_days": (plan.today - verdict.idle_since).days if verdict.idle_since else None,
            "usage_plan_ids": list(verdict.usage_plan_ids),
            **{name: _text(day) for name, day in dates_ahead(plan.today, verdict).items()},
            "verdict": word or verdict.word,
            **laid_out(verdict.because),
        }


def _owner(found: str | None, row: Row | None) -> dict[str, str | None]:
    """The owner, and whether the key was issued to it, or it was assigned or found."""
    if found is not None:
        return {"owner": found, "owner_from": str(OwnerFrom.FOUND)}
    how = owner_from(row) if row else None
    return {"owner": row.owner if row else None, "owner_from": how and str(how)}


def with_parked(
    lines: Iterable[Mapping[str, Any]], earlier: Iterable[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The lines of a run, and of `earlier` those with `park` of keys that have none any more, as done."""
    found = {line["key_id"]: line for line in lines}
    for line in earlier:
        if line.get("verdict") == "park":
            found.setdefault(line["key_id"], _done(line))
    return [found[key_id] for key_id in sorted(found)]


def _done(line: Mapping[str, Any]) -> Mapping[str, Any]:
    """The line of a key that an earlier run of the date parked, with the reason for which it did."""
    code = line.get("reason_code", "")
    if code == Stepped.code:
        return line
    return {**line, **laid_out(Stepped(line["reason"], code, line.get("facts", {})))}


def thinned(
    lines: Iterable[Mapping[str, Any]], next_lines: Iterable[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    """The lines of a night that the next night does not repeat, but for what is PASSING.

    Of a key that has no line in a file, the next file that has one tells: what is dropped of a file
    is still said, whichever older files are dropped as a whole.
    """
    said = {line["key_id"]: _lasting(line) for line in next_lines}
    for line in lines:
        if said.get(line["key_id"]) != _lasting(line):
            yield line


def _lasting(line: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{name}={what!r}" for name, what in line.items() if name not in PASSING)


def dates_ahead(today: date, verdict: Verdict) -> dict[str, date | None]:
    """Dates on which the key will be disabled, parked and purged, as far as that has begun."""
    row, tier, step = verdict.row, verdict.tier, verdict.step
    disable_on = row.disable_on if row else None
    park_on = row.park_on if row else None
    if isinstance(verdict.because, NotTold) and row is not None:
        if row.state is State.DISABLED:
            park_on = verdict.because.earliest
        else:
            disable_on = verdict.because.earliest
    elif isinstance(step, Warn):
        if row is not None and stands_disabled(verdict.key, row):
            park_on = step.next_step_on
        else:
            disable_on = step.next_step_on
    elif isinstance(step, Disable):
        disable_on, park_on = today, step.park_on
    elif isinstance(step, Park):
        park_on = today
    elif isinstance(verdict.because, TierMissing):
        # How long the steps are apart is its own tier's to say.
        return {"disable_on": disable_on, "park_on": park_on, "purge_on": None}
    if park_on is None and disable_on is not None:
        park_on = max(disable_on, today) + DAY * tier.grace_days
    purge_on = park_on and max(park_on, today) + DAY * tier.retain_days
    return {"disable_on": disable_on, "park_on": park_on, "purge_on": purge_on}


def _text(day: date | None) -> str | None:
    return str(day) if day else None
