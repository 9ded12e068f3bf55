"""Writes what is published to the alert topic: for a person to read, and for a program. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

from keyjanitor.harmless import harmless
from keyjanitor.plan import Brake
from keyjanitor.policy import Policy
from keyjanitor.words import Row, State

NAME_LENGTH = 48
LINES = 40  # keys named for each contact; the rest is in the keys file
SAM_INVOKE = "sam remote invoke ExpireKeysFunction --stack-name keyjanitor --event"


@dataclass(frozen=True, slots=True)
class Alert:
    """One publish: `subject` is ASCII under 100 characters, `form` is JSON for programs."""

    kind: str  # see the design, "Alerts"
    severity: str  # info, warning or critical
    subject: str
    text: str
    form: dict[str, Any]


def expiring(
    today: date, warned: Iterable[Row], policy: Policy, told_on: date | None = None
) -> Alert:
    """The digest of one night's warnings, by tier and contact.

    `told_on` is the date on which it is published, if that is a later one; the rows' dates are those
    that are true then.
    """
    told_on = told_on or today
    rows = sorted(warned, key=lambda row: (row.tier, _next_date(row), row.key_id))
    first = min(_next_date(row) for row in rows)
    lines = [
        f"{_keys(rows)} got a warning on {today}. The first of them will be disabled on {first}.",
        "",
        "A key leaves this list by being used once, or when somebody changes or protects it",
        "(tag keyjanitor:keep). A disabled key keeps its id, value and plans; a parked key can be",
        "restored with the same value.",
    ]
    # Near the top: the end of a text that is too long for a message is cut off.
    lines.insert(1, f"All of them: keys/dt={told_on}/keys.jsonl.gz in the history bucket.")
    if told_on != today:
        lines.insert(
            1,
            f"This could not be sent before {told_on}. A notice begins when it is told, so the dates "
            "are later than those that were planned.",
        )
    groups: list[dict[str, Any]] = []
    for tier_name, members in groupby(rows, key=lambda row: row.tier):
        group = list(members)
        tier = policy.tiers.get(tier_name)
        contact = tier.contact if tier else None
        groups.append(
            {
                "tier": tier_name,
                "contact": contact,
                "keys": [
                    {
                        "key_id": row.key_id,
                        "owner": row.owner,
                        "name": row.name,
                        "reason": row.because,
                        ("park_on" if row.state is State.DISABLED else "disable_on"): str(
                            _next_date(row)
                        ),
                    }
                    for row in group
                ],
            }
        )
        lines += ["", f"Tier {tier_name}, contact {contact or 'nobody'}: {_keys(group)}"]
        lines += [_line(row) for row in group[:LINES]]
        if len(group) > LINES:
            lines.append(
                f"  and {len(group) - LINES} more: see keys/dt={told_on}/keys.jsonl.gz in the history"
                " bucket"
            )
    lines += [
        "",
        "To stop all sweeps at once, without a deploy:",
        f'  {SAM_INVOKE} \'{{"hold": "why"}}\'',
    ]
    return Alert(
        kind="expiring",
        severity="info",
        subject=f"keyjanitor: {_keys(rows)} warned, first disabled on {first}",
        text="\n".join(lines),
        form={
            "kind": "expiring",
            "severity": "info",
            "date": str(today),
            "keys": len(rows),
            "tiers": groups,
        },
    )


def brake(today: date, brake: Brake, digest: str, samples: Sequence[str]) -> Alert:
    """The brake was put on: what is due, and how to look at it, approve it or stop it.

    `samples` are lines about the keys that have been idle for longest.
    """
    done = {"disable": "disabled", "park": "parked", "purge": "purged"}[brake.action]
    lines = [
        f"On {today} {brake.planned} keys are due to be {done}.",
        f"One night is allowed {brake.allowed}; more than twice that means something may be wrong:",
        "an outage, a policy edited too far, a week on hold. Only warnings were applied. Nothing",
        "was disabled, parked or purged, and nothing will be tonight unless you approve it. There",
        "is no hurry: keys wait.",
        "",
        f"Look at who they are: keys/dt={today}/keys.jsonl.gz and plans/{digest}.json in the",
        "history bucket. The longest idle:",
        *(f"  {_sample(line)}" for line in samples),
        "",
        "If it is right, let exactly these keys go, all of them, on this date:",
        f'  {SAM_INVOKE} \'{{"approve": "{digest}"}}\'',
        "If it is not, stop all sweeps until you know more:",
        f'  {SAM_INVOKE} \'{{"hold": "why"}}\'',
    ]
    return Alert(
        kind="brake",
        severity="critical",
        subject=f"keyjanitor: brake on, {brake.planned} keys due to be {done}, "
        f"{brake.allowed} allowed",
        text="\n".join(lines),
        form={
            "kind": "brake",
            "severity": "critical",
            "date": str(today),
            "action": brake.action,
            "planned": brake.planned,
            "allowed": brake.allowed,
            "digest": digest,
        },
    )


def _next_date(row: Row) -> date:
    return row.disable_on or row.park_on or date.max


def _sample(line: str) -> str:
    """A line about a key, whose columns are two spaces apart."""
    return "  ".join(harmless(column) for column in line.split("  "))


def _keys(rows: Sequence[Row]) -> str:
    return "1 key" if len(rows) == 1 else f"{len(rows)} keys"


def _line(row: Row) -> str:
    owner = f", owner {harmless(row.owner, NAME_LENGTH)}" if row.owner else ""
    name = harmless(row.name, NAME_LENGTH) or "(no name)"
    return f"  {row.key_id}  {_next_date(row)}  {name}{owner}: {harmless(row.because)}"
