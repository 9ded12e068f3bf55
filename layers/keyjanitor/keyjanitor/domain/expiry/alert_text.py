"""Writes what is published to the alert topic: for a person to read, and for a program. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import groupby
from typing import Any

from keyjanitor.domain.expiry.safety_brake import Brake, Cause, CauseCount
from keyjanitor.domain.model.alert import SAM_INVOKE, Alert
from keyjanitor.domain.model.keys import State, SweepAction
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.records import Row
from keyjanitor.domain.model.safe_text import harmless

NAME_LENGTH = 48
LINES = 40  # keys named for each contact; the rest is in the keys file
PLANS = 5  # usage plans named for each cause
CAUSES = {
    Cause.LIMIT_LOWERED: "idle limit set or lowered by an edit of the policy",
    Cause.USE_STOPPED: "use stopped",
    Cause.NEVER_USED: "never used since they were made",
    Cause.PLAN_LOST: "in no usage plan any more",
    Cause.NOT_KNOWN_BEFORE: "could not be judged before (a plan or the account was not read, or silent)",
    Cause.PROTECTION_ENDED: "protected before (tag, mark, request, disabled by someone else)",
    Cause.READING_CHANGED: "the reading shows less use than the readings before it",
    Cause.PRESSURE_RULE: "brought by a pressure rule",
    Cause.BEFORE_FIRST_READING: "idle since before the first reading",
}
STEPS = {
    SweepAction.PARK: "to be parked: deleted from API Gateway, with a tombstone",
    SweepAction.PURGE: "to be purged: their tombstones destroyed, for good",
    SweepAction.DISABLE: "to be disabled",
    SweepAction.WARN: "to be warned",
}


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
    lines = _first_lines(today, rows, told_on)
    groups: list[dict[str, Any]] = []
    for tier_name, members in groupby(rows, key=lambda row: row.tier):
        group = list(members)
        tier = policy.tiers.get(tier_name)
        contact = tier.contact if tier else None
        groups.append(
            {
                "tier": tier_name,
                "contact": contact,
                "keys": [_warned_key(row) for row in group],
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


def _first_lines(today: date, rows: Sequence[Row], told_on: date) -> list[str]:
    """How many keys were warned, when the first is disabled, and how a key leaves the list."""
    first = min(_next_date(row) for row in rows)
    late = (
        f"This could not be sent before {told_on}. A notice begins when it is told, so the dates "
        "are later than those that were planned."
    )
    return [
        f"{_keys(rows)} got a warning on {today}. The first of them will be disabled on {first}.",
        *([late] if told_on != today else ()),
        # Near the top: the end of a text that is too long for a message is cut off.
        f"All of them: keys/dt={told_on}/keys.jsonl.gz in the history bucket.",
        "",
        "A key leaves this list by being used once, or when somebody changes or protects it",
        "(tag keyjanitor:keep). A disabled key keeps its id, value and plans; a parked key can be",
        "restored with the same value.",
    ]


def _warned_key(row: Row) -> dict[str, Any]:
    """One key of the digest, in the alert's document."""
    next_date = "park_on" if row.state is State.DISABLED else "disable_on"
    return {
        "key_id": row.key_id,
        "owner": row.owner,
        "name": row.name,
        "reason": row.reason,
        next_date: str(_next_date(row)),
    }


def brake(
    today: date,
    brake: Brake,
    kinds: Mapping[SweepAction, int],
    digest: str,
    samples: Sequence[str],
    plan_names: Mapping[str, str],
) -> Alert:
    """The safety brake is on: what is new, why, what is due, and how to approve it or stop it.

    `kinds` is how many keys are due to which kind of step; `samples` are lines about the keys that
    have been idle for longest.
    """
    lines = [
        f"On {today} {_count(brake.new)} past the idle limit that {_were(brake.new)} not on {brake.since},",
        f"the last night that was swept without the brake. {_worst(brake)}",
        f"Usual are {brake.usual:g} a night; {brake.allowance} may be warned on one date.",
        "So many at once mean that something may be wrong: a policy edited too far, an outage,",
        "a reading that misses requests. No key was warned, disabled or parked, and none will be,",
        "night after night, until you approve it or the cause is gone. There is no hurry: keys wait.",
        "",
        "Why they are new:",
        *(line for cause in brake.causes for line in _cause_lines(cause, plan_names)),
        "",
        f"Look at who they are: keys/dt={today}/keys.jsonl.gz and plans/{digest}.json in the",
        "history bucket. The longest idle:",
        *(f"  {_sample(line)}" for line in samples),
        "",
        "If it is right, approve the plan. Of these steps, exactly those that are still due on the",
        "date (UTC) on which you send it are carried out, past the allowance, and nothing else:",
        *(f"  {number:6,}  {STEPS[verb]}" for verb, number in kinds.items() if number),
        f'  {SAM_INVOKE} \'{{"approve": "{digest}"}}\'',
        "If it is not, put the cause right: what is not due any more leaves the plan by itself.",
        "To stop all sweeps until you know more:",
        f'  {SAM_INVOKE} \'{{"hold": "why"}}\'',
    ]
    return Alert(
        kind="brake",
        severity="critical",
        subject=f"keyjanitor: brake on, {brake.new} keys newly past their idle limit, nothing was done",
        text="\n".join(lines),
        form=_brake_form(today, brake, kinds, digest),
    )


def _cause_lines(cause: CauseCount, plan_names: Mapping[str, str]) -> Iterator[str]:
    """How many keys one cause brought, and in which usage plans most of them are."""
    yield f"  {cause.keys:6,}  {CAUSES[cause.cause]}"
    for usage_plan_id, keys in cause.plans[:PLANS]:
        name = harmless(plan_names.get(usage_plan_id, ""), NAME_LENGTH)
        yield f"          {keys:,} in usage plan {usage_plan_id} {name}"
    if len(cause.plans) > PLANS:
        yield f"          and {len(cause.plans) - PLANS} more usage plans"


def _brake_form(
    today: date, brake: Brake, kinds: Mapping[SweepAction, int], digest: str
) -> dict[str, Any]:
    """The alert's document."""
    return {
        "kind": "brake",
        "severity": "critical",
        "date": str(today),
        "new": brake.new,
        "since": str(brake.since),
        "usual": brake.usual,
        "allowance": brake.allowance,
        "causes": causes_form(brake.causes),
        "due": {str(verb): number for verb, number in kinds.items()},
        "digest": digest,
    }


def causes_form(causes: Sequence[CauseCount]) -> list[dict[str, Any]]:
    """The causes in alerts and answers: each with its keys, and the usage plans of most of them."""
    return [
        {
            "cause": str(one.cause),
            "keys": one.keys,
            "plans": [
                {"usage_plan_id": usage_plan_id, "keys": keys}
                for usage_plan_id, keys in one.plans[:PLANS]
            ],
        }
        for one in causes
    ]


def _count(keys: int) -> str:
    return "1 key is" if keys == 1 else f"{keys:,} keys are"


def _were(keys: int) -> str:
    return "was" if keys == 1 else "were"


def _worst(brake: Brake) -> str:
    if brake.in_a_week:
        return f"In the week up to {brake.on} they were {brake.worst:,}."
    return f"{brake.worst:,} of them count for {brake.on} alone."


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
    return f"  {row.key_id}  {_next_date(row)}  {name}{owner}: {harmless(row.reason)}"
