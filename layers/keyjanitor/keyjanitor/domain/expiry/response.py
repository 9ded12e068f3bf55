"""Lays out what expire_keys answers, and any function whose other run is at work. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keyjanitor import __version__
from keyjanitor.domain.capacity.forecast import Growth, days_gained
from keyjanitor.domain.expiry.alert_text import causes_form
from keyjanitor.domain.expiry.reasons import TierMissing
from keyjanitor.domain.expiry.safety_brake import Brake, Comparison
from keyjanitor.domain.expiry.sweep_plan import (
    VERDICT_WORDS,
    Enable,
    Purge,
    SweepPlan,
    action_of,
    count_kinds,
    key_id_of,
)
from keyjanitor.domain.model.invocation import SweepInvocation
from keyjanitor.domain.model.keys import Mode, SweepAction
from keyjanitor.domain.model.policy import Pressure, Unbound
from keyjanitor.domain.model.records import PressureRow
from keyjanitor.domain.model.safe_text import visible
from keyjanitor.errors import AlreadyRunning

NAMED = 20  # keys, of those whose step failed; all of them are in the log
STEPS = 20  # of a plan; all of them are in the night's keys file
LISTED = 10_000  # keys, of those to which something was done: an answer of Lambda holds 6 MB


@dataclass(frozen=True, slots=True)
class Done:
    """Step that a run took on one key; `new_key_id` is that of a key which was restored."""

    action: SweepAction
    key_id: str
    new_key_id: str | None = None


def heading(time: datetime) -> dict[str, Any]:
    """The first fields of every answer: the UTC time of the run, and the version of the code that ran."""
    return {"time": f"{time:%Y-%m-%dT%H:%M:%SZ}", "code_version": __version__}


def running(time: datetime, err: AlreadyRunning) -> dict[str, Any]:
    """Answer of a second run of a scheduled function: until when the first may be at work."""
    return {**heading(time), "running": f"{err.until:%Y-%m-%dT%H:%M:%SZ}"}


def already_finished(run: SweepInvocation) -> dict[str, Any]:
    """Answer of a sweep of a date that an earlier one has finished: nothing was left to do."""
    return {**heading(run.time), "mode": str(run.mode), "already_finished": True}


def answer(
    run: SweepInvocation,
    *,
    mode: Mode | None = None,
    plan: SweepPlan | None = None,
    applied: dict[str, int] | None = None,
    remaining: int = 0,
    comparison: Comparison | None = None,
    brake: Brake | None = None,
    saved: bool = False,
    approved: frozenset[tuple[str, str]] | None = None,
    held: str | None = None,
    pressure_row: PressureRow | None = None,
    growth: Growth | None = None,
    problems: Sequence[Unbound] = (),
    failed: Sequence[str] = (),
    left_alone: Mapping[str, str] | None = None,
    left_out: Sequence[str] = (),
    closed: Sequence[str] = (),
    did: Sequence[Done] = (),
    keys_file: str | None = None,
) -> dict[str, Any]:
    """The answer of a sweep (docs/runbook.md); without a plan its counts are zero.

    `pressure_row` says of each rule above the one in force what it would free in 30 days, and how many
    days of the account's growth that is: `pressure_rules`. That, `owners_found` (by rules), `policy_problems`
    (keys are unknown by them), `failed`, `left_alone` (keys were found changed right before they were
    touched), `left_out` (of an undo), `tombstones_closed` (damaged), the first `steps`, `did` and `keys_file` are there only when there are some; `observed_because` only when a sweep
    that might have done more had to observe; `tags_unlisted` only when a run observes, and no list of tags
    says which keys a tag protects.
    """
    document = {
        **heading(run.time),
        "mode": str(mode or run.mode),
        **_done(plan, applied, remaining, saved=saved),
        "past_limit": comparison and _past_limit(comparison),
        "brake": brake and _brake(brake),
        "pressure": plan and _pressure(plan.pressure),
        "held": held,
    }
    if approved is not None and plan is not None:
        document["approved"] = _approved(run, plan, approved)
    return {
        **document,
        **_said_of_the_night(run, plan, pressure_row, growth, problems),
        **(_tags_unlisted(plan) if plan and document["mode"] == Mode.OBSERVE else {}),
        **_keys_named(plan, did, keys_file),
        **_keys_left(failed, closed, left_out, left_alone or {}),
    }


def _said_of_the_night(
    run: SweepInvocation,
    plan: SweepPlan | None,
    pressure_row: PressureRow | None,
    growth: Growth | None,
    problems: Sequence[Unbound],
) -> dict[str, Any]:
    """Optional fields: pressure rules, problems of the policy, and why the sweep only observed."""
    said: dict[str, Any] = {}
    if plan is not None and plan.found_owners:
        said["owners_found"] = len(plan.found_owners)
    if pressure_row is not None and pressure_row.rules:
        said["pressure_rules"] = _stricter(pressure_row, growth)
    if named := [*map(str, problems), *(_without_tier(plan) if plan else ())]:
        said["policy_problems"] = named
    if run.observed_because is not None:
        said["observed_because"] = run.observed_because
    return said


def _tags_unlisted(plan: SweepPlan) -> dict[str, int]:
    """How many keys are to be warned of which it is not known whether a tag protects them, if any."""
    unsure = plan.kinds[SweepAction.WARN]
    return {} if plan.tags_are_listed or not unsure else {"tags_unlisted": unsure}


def _done(
    plan: SweepPlan | None, applied: dict[str, int] | None, remaining: int, *, saved: bool
) -> dict[str, Any]:
    """The plan, and what was carried out of it."""
    return {
        "keys": len(plan.verdicts) if plan else 0,
        "verdicts": plan.counts if plan else dict.fromkeys(VERDICT_WORDS, 0),
        "applied": applied or {str(action): 0 for action in SweepAction},
        "remaining": remaining,
        "digest": plan.digest if plan else None,
        "due": {str(action): number for action, number in plan.kinds.items()} if plan else None,
        "saved_plan": f"plans/{plan.digest}.json" if plan and saved else None,
    }


def _keys_named(
    plan: SweepPlan | None, did: Sequence[Done], keys_file: str | None
) -> dict[str, Any]:
    """The file of all keys, the first steps of the plan, and what was done to which key."""
    document: dict[str, Any] = {} if keys_file is None else {"keys_file": keys_file}
    if plan is not None and plan.steps:
        document["steps"] = [
            {
                "action": str(action_of(step)),
                "key_id": key_id_of(step),
                "name": None if isinstance(step, Purge) else visible(step.key.name),
                "reason": None if isinstance(step, Purge | Enable) else visible(str(step.because)),
            }
            for step in plan.steps[:STEPS]
        ]
    if did:
        document["did"] = {
            "count": len(did),
            "keys": [
                {"action": str(one.action), "key_id": one.key_id}
                | ({"new_key_id": one.new_key_id} if one.new_key_id else {})
                for one in did[:LISTED]
            ],
        }
    return document


def _keys_left(
    failed: Sequence[str],
    closed: Sequence[str],
    left_out: Sequence[str],
    left_alone: Mapping[str, str],
) -> dict[str, Any]:
    """The keys with which something went otherwise than planned."""
    document: dict[str, Any] = {}
    if failed:
        document["failed"] = _named(failed)
    if closed:
        document["tombstones_closed"] = _named(closed)
    if left_out:
        why = "their agreed end had come; to bring them back too, name them in key_ids"
        document["left_out"] = {**_named(left_out), "why": why}
    if left_alone:
        document["left_alone"] = dict(Counter(left_alone.values()).most_common())
    return document


def _brake(brake: Brake) -> dict[str, Any]:
    return {
        "new": brake.new,
        "since": str(brake.since),
        "usual": brake.usual,
        "allowance": brake.allowance,
        "causes": causes_form(brake.causes),
    }


def _approved(
    run: SweepInvocation, plan: SweepPlan, approved: frozenset[tuple[str, str]]
) -> dict[str, Any]:
    """Every kind of step, deletions first: what was approved, and what of it is still due."""
    return {
        "digest": run.approve,
        "saved": {str(action): number for action, number in count_kinds(approved).items()},
        "still_due": {
            str(action): number for action, number in count_kinds(approved & plan.pairs).items()
        },
    }


def _pressure(pressure: Pressure) -> dict[str, Any]:
    return {"used": pressure.used, "above": pressure.above, "idle_factor": pressure.idle_factor}


def _stricter(pressure_row: PressureRow, growth: Growth | None) -> list[dict[str, Any]]:
    """The pressure rules above the one in force, as in alerts and in the report."""
    return [
        {
            "above": rule.above,
            "idle_factor": rule.idle_factor,
            "more_keys": rule.more_keys,
            "tiers": dict(rule.tiers),
            "days_gained": days_gained(rule.more_keys, growth),
        }
        for rule in pressure_row.rules
    ]


def _named(key_ids: Sequence[str]) -> dict[str, Any]:
    return {"count": len(key_ids), "key_ids": list(key_ids[:NAMED])}


def _without_tier(plan: SweepPlan) -> Iterator[str]:
    """The tiers that the policy lacks, with how many keys were issued in each."""
    missing = (v.because.tier for v in plan.verdicts if isinstance(v.because, TierMissing))
    for name, keys in sorted(Counter(missing).items()):
        yield f"policy.toml: tiers.{name}: is missing; {keys} of the keys issued in it are unknown"


def _past_limit(comparison: Comparison) -> dict[str, Any]:
    return {
        "keys": comparison.past,
        "new": comparison.new,
        "since": str(comparison.before.day) if comparison.before else None,
        "usual": comparison.usual,
        "causes": {str(one.cause): one.keys for one in comparison.causes},
    }
