"""Writes what is published to the alert topic: for a person to read, and for a program. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import groupby
from typing import Any

from keyjanitor.domain.expiry.called import CalledKey
from keyjanitor.domain.expiry.safety_brake import Brake, Cause, CauseCount
from keyjanitor.domain.model.alert import Draft, Typed, Wait, midnight, noon
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
# What an approval carries out, in the order in which an alert says it: deletions first.
STEPS = {
    SweepAction.PARK: "to be parked: deleted from API Gateway, with a tombstone",
    SweepAction.PURGE: "to be purged: their tombstones destroyed, for good",
    SweepAction.DISABLE: "to be disabled",
    SweepAction.WARN: "to be warned",
}
# The third argument has to be edited: the function refuses a reason in angle brackets.
HOLD = Typed("keyjanitor hold '<WHY>'")
WEEK = 7  # days


def expiring(
    today: date,
    warned: Iterable[Row],
    policy: Policy,
    told_on: date | None = None,
    called: Sequence[CalledKey] = (),
) -> Draft:
    """The digest of one night's warnings, by tier and contact, and of the disabled keys that are `called`.

    `told_on` is the date on which it is published, if that is a later one; the rows' dates are those
    that are true then.
    """
    told_on = told_on or today
    rows = sorted(warned, key=lambda row: (row.tier, _next_date(row), row.key_id))
    if not rows:
        return _only_called(today, called, policy)
    earliest = min(rows, key=_next_date)
    first, then = _next_date(earliest), _next_step(earliest)
    groups = [_tier(name, members, policy) for name, members in _by_tier(rows)]
    lines = _first_lines(today, told_on)
    for group, (_, members) in zip(groups, _by_tier(rows), strict=True):
        lines += _tier_lines(group, members)
    lines += _called_lines(called)
    lines += ["", "Stop all sweeps at once, without a deploy; write why:", HOLD]
    return Draft(
        kind="expiring",
        severity="info",
        day=today,
        headline=f"{_keys(rows)} warned, first on {first}",
        what=f"{_keys(rows)} warned on {today}. The first is {then} on {first}, unless it is used.",
        wait=Wait(midnight(first), f"from then on the first of them may be {then}."),
        command="plan",
        lines=lines,
        form={"keys": len(rows), "tiers": groups, **_called_form(called)},
        audience="contacts",
        tiers=tuple(group["tier"] for group in groups),
        contacts=tuple(sorted({group["contact"] for group in groups if group["contact"]})),
    )


def _only_called(today: date, called: Sequence[CalledKey], policy: Policy) -> Draft:
    """The digest of a night that warned no key, but on which disabled keys were called."""
    number = "1 disabled key" if len(called) == 1 else f"{len(called):,} disabled keys"
    tiers = sorted({one.row.tier for one in called})
    contacts = {policy.tiers[name].contact for name in tiers if name in policy.tiers}
    return Draft(
        kind="expiring",
        severity="info",
        day=today,
        headline=f"{number} called",
        what=f"{number} called since the night before {today}, by the access logs.",
        wait=Wait(noon(today, WEEK), "its holder gets 403 until it is enabled or replaced."),
        command="plan",
        lines=tuple(_called_lines(called)),
        form={"keys": 0, "tiers": [], **_called_form(called)},
        audience="contacts",
        tiers=tuple(tiers),
        contacts=tuple(sorted(one for one in contacts if one)),
    )


def _called_lines(called: Sequence[CalledKey]) -> Iterator[str]:
    """Disabled keys that are called: a key that keyjanitor disabled is given back this night."""
    if not called:
        return
    yield ""
    yield "Disabled, and called since the last night, by the access logs. What keyjanitor disabled for"
    yield "idleness is enabled again; what others disabled, or had its agreed end, stays disabled:"
    for one in called[:LINES]:
        name = harmless(one.row.name or one.key.name, NAME_LENGTH) or "(no name)"
        by = "keyjanitor" if one.by_us else "others"
        yield (
            f"  {one.row.key_id}  {one.calls.requests:,} times, last {one.calls.last:%Y-%m-%d %H:%M} UTC  "
            f"{name}, disabled by {by}"
        )
    if len(called) > LINES:
        yield f"  and {len(called) - LINES} more: in the report"


def _called_form(called: Sequence[CalledKey]) -> dict[str, Any]:
    """The same in the alert's document; nothing if no disabled key is called."""
    if not called:
        return {}
    return {
        "called": [
            {
                "key_id": one.row.key_id,
                "owner": one.row.owner,
                "name": one.row.name or one.key.name,
                "tier": one.row.tier,
                "disabled_by": "keyjanitor" if one.by_us else "others",
                "requests": one.calls.requests,
                "since": f"{one.calls.since:%Y-%m-%dT%H:%M:%SZ}",
                "last": f"{one.calls.last:%Y-%m-%dT%H:%M:%SZ}",
            }
            for one in called
        ]
    }


def _by_tier(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    return [(tier, list(members)) for tier, members in groupby(rows, key=lambda row: row.tier)]


def _tier(name: str, members: Sequence[Row], policy: Policy) -> dict[str, Any]:
    """The keys of one tier, in the alert's document."""
    tier = policy.tiers.get(name)
    return {
        "tier": name,
        "contact": tier.contact if tier else None,
        "keys": [_warned_key(row) for row in members],
    }


def _tier_lines(group: Mapping[str, Any], members: Sequence[Row]) -> Iterator[str | Typed]:
    contact = group["contact"]
    yield ""
    yield f"Tier {group['tier']}, contact {contact or '(none)'}: {_keys(members)}"
    yield from (_line(row) for row in members[:LINES])
    if len(members) > LINES:
        yield f"  and {len(members) - LINES} more: in the report, and with"
        yield Typed("keyjanitor plan")


def _first_lines(today: date, told_on: date) -> list[str | Typed]:
    """Where all of them are, and how a key leaves the list."""
    late = (
        f"This could not be sent before {told_on}. A notice begins when it is told, so the dates "
        "are later than those that were planned."
    )
    return [
        *([late] if told_on != today else ()),
        # Near the top: the end of a text that is too long for a message is cut off.
        f"All of them: keys/dt={told_on}/keys.jsonl.gz in the history bucket. Dates begin at 00:00 UTC.",
        "",
        "To keep a key: use it once, send a renew or protect request, or tag it keyjanitor:keep. A",
        "disabled key keeps its id, value and plans; a parked key can be restored with the same value.",
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
) -> Draft:
    """The safety brake is on: what is new, why, what is due, and how to approve it or stop it.

    `kinds` is how many keys are due to which kind of step; `samples` are lines about the keys that
    have been idle for longest.
    """
    return Draft(
        kind="brake",
        severity="warning",
        day=today,
        headline=f"brake on, {brake.new:,} keys, none touched",
        what=(
            f"Safety brake on: {_count(brake.new)} newly past the idle limit on {today}. No key was "
            "warned, disabled or parked."
        ),
        wait=Wait(
            noon(today, WEEK),
            "keys wait and no slot is freed, night after night, until you approve it or the cause is gone.",
        ),
        command="plan",
        lines=tuple(_brake_lines(brake, kinds, digest, samples, plan_names)),
        form={
            "new": brake.new,
            "since": str(brake.since),
            "usual": brake.usual,
            "allowance": brake.allowance,
            "causes": causes_form(brake.causes),
            "due": {str(verb): number for verb, number in kinds.items()},
            "digest": digest,
        },
    )


def _brake_lines(
    brake: Brake,
    kinds: Mapping[SweepAction, int],
    digest: str,
    samples: Sequence[str],
    plan_names: Mapping[str, str],
) -> Iterator[str | Typed]:
    """What helps to judge the brake, then how to approve the plan, and how to stop all sweeps."""
    yield f"They {_were(brake.new)} not past it on {brake.since}, the last night that was swept without"
    yield f"the brake. {_worst(brake)}"
    yield f"Usual are {brake.usual:g} a night; {brake.allowance} may be warned on one date."
    yield "So many at once mean that something may be wrong: a policy edited too far, an outage,"
    yield "a reading that misses requests."
    yield from ("", "Why they are new:")
    for cause in brake.causes:
        yield from _cause_lines(cause, plan_names)
    yield from ("", "The longest idle (all of them: the third line above):")
    yield from (f"  {_sample(line)}" for line in samples)
    yield ""
    yield from _approval_lines(kinds, digest)
    yield ""
    yield "If it is wrong, fix the cause: what is not due any more leaves the plan by itself."
    yield "Stop all sweeps until you know more; write why:"
    yield HOLD


def _approval_lines(kinds: Mapping[SweepAction, int], digest: str) -> Iterator[str | Typed]:
    """What an approval carries out: every kind of step with its number, deletions first."""
    yield "If it is right, approve it. Of these steps, those that are still due are carried out until"
    yield "24:00 UTC of the date on which you approve, past the allowance, and nothing else:"
    for verb, what in STEPS.items():
        if number := kinds.get(verb, 0):
            yield f"  {number:6,}  {what}"
    yield Typed(f"keyjanitor approve {digest}")


def _cause_lines(cause: CauseCount, plan_names: Mapping[str, str]) -> Iterator[str]:
    """How many keys one cause brought, and in which usage plans most of them are."""
    yield f"  {cause.keys:6,}  {CAUSES[cause.cause]}"
    for usage_plan_id, keys in cause.plans[:PLANS]:
        name = harmless(plan_names.get(usage_plan_id, ""), NAME_LENGTH)
        yield f"          {keys:,} in usage plan {usage_plan_id} {name}"
    if len(cause.plans) > PLANS:
        yield f"          and {len(cause.plans) - PLANS} more usage plans"


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


def _next_step(row: Row) -> str:
    return "parked" if row.state is State.DISABLED else "disabled"


def _sample(line: str) -> str:
    """A line about a key, whose columns are two spaces apart."""
    return "  ".join(harmless(column) for column in line.split("  "))


def _keys(rows: Sequence[Row]) -> str:
    return "1 key" if len(rows) == 1 else f"{len(rows)} keys"


def _line(row: Row) -> str:
    owner = f", owner {harmless(row.owner, NAME_LENGTH)}" if row.owner else ""
    name = harmless(row.name, NAME_LENGTH) or "(no name)"
    return f"  {row.key_id}  {_next_date(row)}  {name}{owner}: {harmless(row.reason)}"
