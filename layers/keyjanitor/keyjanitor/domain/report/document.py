"""Lays out a morning's report as one document of plain values (`docs/schemas/report.json`). Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from keyjanitor import __version__
from keyjanitor.domain.capacity.counting import by_state, by_tier, silent_plans, state_of
from keyjanitor.domain.capacity.forecast import Forecast, days_gained, forecast
from keyjanitor.domain.doctor.checkup import Checkup
from keyjanitor.domain.doctor.findings import Finding
from keyjanitor.domain.expiry.notice import Untold
from keyjanitor.domain.expiry.outlook import NightAhead
from keyjanitor.domain.model.keys import DAY, Mode, State
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.records import CountRow, LadderRow, NightRow, Row
from keyjanitor.domain.model.safe_text import visible
from keyjanitor.domain.usage.summary import NearQuota, Use, near_quota

USAGE_PLANS = 300  # per account and Region, unless AWS raised it (doc: AF-102)
OWNERS = 50
COLUMNS = (
    "key_id",
    "name",
    "owner",
    "tier",
    "state",
    "verdict",
    "reason",
    "last_used",
    "idle_days",
    "created",
    "next_step",
    "next_on",
    "days_left",
    "requests_30d",
    "plans",
    "expires",
)
GONE = "(deleted keys)"  # the tier of keys that used the account and are no more

Line = Mapping[str, Any]  # of a keys file


@dataclass(frozen=True, slots=True)
class Morning:
    """All that a report tells of.

    `lines` are those of the keys file of `lines_of`, the latest there is; `counts` and `nights` are
    the ledger's, by date. `ahead` is what the nights to come will do (in `ahead_mode`), or the
    reason why nobody knows. `warn_on` says when the keys that are within patience will be warned.
    """

    today: date
    made_at: datetime
    account: str | None
    region: str | None
    mode: Mode
    policy: Policy
    checkup: Checkup
    findings: Sequence[Finding]
    counts: Mapping[date, CountRow]
    nights: Mapping[date, NightRow]
    ladder: LadderRow | None
    held: str | None
    use: Use
    lines: Sequence[Line]
    lines_of: date | None
    purged: int
    ahead: Sequence[NightAhead] | str
    ahead_mode: Mode
    warn_on: Mapping[str, date] = field(default_factory=dict)
    parked_ids: frozenset[str] = frozenset()
    untold: Mapping[str, Untold] = field(default_factory=dict)

    @property
    def rows(self) -> Mapping[str, Row]:
        """The ledger's rows of living keys."""
        return self.checkup.rows or {}


def report(morning: Morning) -> dict[str, Any]:
    """The document: version 1 of `docs/schemas/report.json`."""
    return {
        "version": 1,
        "date": str(morning.today),
        "code_version": __version__,
        "made_at": f"{morning.made_at:%Y-%m-%dT%H:%M:%SZ}",
        "account": morning.account,
        "region": morning.region,
        "mode": str(morning.mode),
        "service_quota": morning.policy.service_quota,
        "capacity": _capacity(morning),
        "night": _night(morning),
        **_ahead(morning),
        "use": _use(morning),
        "near_quota": _near_quota(morning),
        "keys": {"columns": list(COLUMNS), "rows": list(_keys(morning))},
        "plans": _plans(morning),
        "findings": [
            {
                "kind": one.kind,
                "what": one.what,
                "why": one.why,
                "slots": one.slots,
                "command": one.command,
                "about": list(one.about),
            }
            for one in morning.findings
        ],
        "unread": list(morning.checkup.unread),
    }


def _capacity(morning: Morning) -> dict[str, Any]:
    keys, policy, checkup = morning.checkup.keys, morning.policy, morning.checkup
    counts = {**{day: row.keys for day, row in morning.counts.items()}, morning.today: len(keys)}
    seen = forecast(counts, policy.service_quota, morning.today)
    standing = morning.ladder.above if morning.ladder else None
    pressure = policy.pressure(len(keys), standing)
    plans = checkup.plans if checkup.plans is not None else ()
    return {
        "keys": len(keys),
        "share": round(len(keys) / policy.service_quota, 4),
        "usage_plans": len(plans) if checkup.plans is not None else None,
        "usage_plan_quota": USAGE_PLANS,
        "levels": list(policy.alerts.levels),
        "days_to_limit_marks": list(policy.alerts.days_to_limit),
        "counts": [
            [str(day), row.keys, row.issued, row.freed]
            for day, row in sorted(morning.counts.items())
        ],
        "forecast": _forecast(seen, morning.today),
        "tiers": dict(by_tier(keys, morning.rows, checkup.evidence, checkup.bound).most_common()),
        "states": dict(by_state(keys, morning.rows).most_common()),
        "pressure": {"above": pressure.above, "patience": pressure.patience},
        "ladder": [
            {
                "above": rung.above,
                "patience": rung.patience,
                "more_keys": rung.more_keys,
                "tiers": dict(rung.tiers),
                "days_gained": days_gained(rung.more_keys, seen.growth),
            }
            for rung in (morning.ladder.rungs if morning.ladder else ())
        ],
    }


def _forecast(seen: Forecast, today: date) -> dict[str, Any]:
    growth = seen.growth
    state = "in_sight" if seen.in_sight else "not_in_sight"
    return {
        "state": "not_yet_known" if growth is None else state,
        "a_day": growth and round(growth.a_day, 2),
        "low": growth and round(growth.low, 2),
        "high": growth and round(growth.high, 2),
        "days": seen.days,
        "soonest": seen.soonest,
        "latest": seen.latest,
        "on": _text(today + DAY * seen.days) if seen.days is not None else None,
    }


def _night(morning: Morning) -> dict[str, Any]:
    today, evidence = morning.today, morning.checkup.evidence
    night = morning.nights.get(today, NightRow(today))
    rows = morning.rows.values()
    names = evidence.plan_names() if evidence else {}
    return {
        "swept": night.swept,
        "held": morning.held,
        **_waits(night, morning.untold),
        "evidence": _text(evidence.day) if evidence else None,
        "keys_file": _text(morning.lines_of),
        "did": {
            "warned": sum(row.warned_on == today for row in rows),
            "disabled": sum(row.disabled_on == today for row in rows),
            "parked": night.parked,
            "purged": morning.purged,
            "issued": sum(row.issued and row.adopted_on == today for row in rows),
            "revoked": night.revoked,
        },
        "verdicts": dict(Counter(line["verdict"] for line in morning.lines).most_common()),
        "brake": {"on": night.braked, "new": night.new, "causes": dict(night.causes)},
        "unread": [
            {"usage_plan_id": plan.usage_plan_id, "name": visible(plan.name), "reason": plan.unread}
            for plan in (evidence.plans.values() if evidence else ())
            if plan.unread is not None
        ],
        "silent": [
            {"usage_plan_id": plan_id, "name": visible(names[plan_id])}
            for plan_id in silent_plans(evidence, morning.checkup.bound)
        ],
    }


def _waits(night: NightRow, untold: Mapping[str, Untold]) -> dict[str, Any]:
    """Why the night's sweeps only observed, and how many keys wait to be told; if so."""
    known: dict[str, Any] = {}
    if night.observed_because is not None and not night.swept:
        known["observed_because"] = night.observed_because
    if untold:
        since = min(one.since for one in untold.values())
        known["untold"] = {"keys": len(untold), "since": str(since)}
    return known


def _ahead(morning: Morning) -> dict[str, Any]:
    unknown = morning.ahead if isinstance(morning.ahead, str) else None
    return {
        "ahead": None
        if isinstance(morning.ahead, str)
        else [
            {
                "date": str(night.date),
                "warn": night.warn,
                "disable": night.disable,
                "park": night.park,
                "purge": night.purge,
                "keys": night.keys,
                "braked": night.brake is not None,
            }
            for night in morning.ahead
        ],
        "ahead_mode": str(morning.ahead_mode),
        "ahead_unknown": unknown,
    }


def _use(morning: Morning) -> dict[str, Any]:
    use = morning.use
    evidence, bound = morning.checkup.evidence, morning.checkup.bound
    plans_of = evidence.members() if evidence else {}
    tier_of = {line["key_id"]: line["tier"] for line in morning.lines}
    tier_of.update({key_id: row.tier for key_id, row in morning.rows.items()})
    owner_of = {key_id: row.owner for key_id, row in morning.rows.items()}
    listed = {key.key_id for key in morning.checkup.keys}
    keys_of_tier: dict[str, list[str]] = {}
    for key_id in listed:
        tier = tier_of.get(key_id) or bound.tier_by_plans(plans_of.get(key_id, ())).name
        keys_of_tier.setdefault(tier, []).append(key_id)
    for key_id in use.keys.keys() - listed:
        if use.requests(key_id):
            keys_of_tier.setdefault(tier_of.get(key_id, GONE), []).append(key_id)
    keys_of_owner: dict[str | None, list[str]] = {}
    for key_id in listed:
        keys_of_owner.setdefault(owner_of.get(key_id), []).append(key_id)
    tiers = [
        {
            "tier": tier,
            **_sums(use, key_ids, listed),
            "by_day": use.by_day(
                key_ids, frozenset().union(*(plans_of.get(key_id, ()) for key_id in key_ids))
            ),
        }
        for tier, key_ids in keys_of_tier.items()
    ]
    owners = [
        {"owner": _seen(owner), **_sums(use, key_ids, listed)}
        for owner, key_ids in keys_of_owner.items()
    ]
    return {
        "days": [str(day) for day in use.days],
        "missing": [str(day) for day in use.missing],
        "tiers": sorted(tiers, key=_most_requests),
        "owners": sorted(owners, key=_most_requests)[:OWNERS],
        "owners_total": len(keys_of_owner.keys() - {None}),
    }


def _sums(use: Use, key_ids: Sequence[str], listed: set[str]) -> dict[str, int | None]:
    known = [used for key_id in key_ids if (used := use.requests(key_id)) is not None]
    return {
        "keys": len(listed.intersection(key_ids)),
        "used_keys": sum(used > 0 for used in known) if known else None,
        "requests": sum(known) if known else None,
    }


def _most_requests(sums: Mapping[str, Any]) -> tuple[int, int, str]:
    return (
        -(sums["requests"] or 0),
        -sums["keys"],
        str(sums.get("tier") or sums.get("owner") or ""),
    )


def _near_quota(morning: Morning) -> list[dict[str, Any]]:
    lines = {line["key_id"]: line for line in morning.lines}
    listed = {key.key_id: key for key in morning.checkup.keys}
    near = near_quota(morning.use, morning.checkup.plans or (), morning.today)
    return [
        _near(one, lines.get(one.key_id, {}), morning.rows.get(one.key_id), listed[one.key_id].name)
        for one in near
        if one.key_id in listed
    ]


def _near(one: NearQuota, line: Line, row: Row | None, name: str) -> dict[str, Any]:
    quota = one.plan.quota
    return {
        "key_id": one.key_id,
        "name": visible((row.name if row else "") or name),
        "owner": _seen(row.owner) if row else None,
        "tier": row.tier if row else line.get("tier"),
        "usage_plan_id": one.plan.usage_plan_id,
        "plan": visible(one.plan.name),
        "limit": quota.limit if quota else None,
        "period": quota.period if quota else None,
        "used": one.used,
        "remaining": one.remaining,
        "runs_out_on": str(one.runs_out_on),
        "resets_on": str(one.resets_on),
    }


def _keys(morning: Morning) -> Iterable[list[Any]]:
    """A row a key: those that API Gateway lists now, and those of the keys file that are gone since."""
    listed = {key.key_id: key for key in morning.checkup.keys}
    lines = {line["key_id"]: line for line in morning.lines}
    for key_id in sorted(listed.keys() | lines.keys()):
        key, line, row = listed.get(key_id), lines.get(key_id), morning.rows.get(key_id)
        if key is not None:
            state = state_of(key, row)
        elif key_id in morning.parked_ids:
            state = str(State.PARKED)
        else:
            state = str(State.GONE)
        step, on = _next_step(state, line or {}, row, morning.warn_on.get(key_id))
        yield [
            key_id,
            _seen((row.name if row else "") or (key.name if key else (line or {}).get("name"))),
            _seen(row.owner if row else (line or {}).get("owner")),
            row.tier if row else (line or {}).get("tier"),
            state,
            (line or {}).get("verdict"),
            _seen((line or {}).get("reason", "made since the last sweep")),
            (line or {}).get("last_used"),
            (line or {}).get("idle_days"),
            str(key.created_date.date()) if key else (line or {}).get("created_date"),
            step,
            on,
            (date.fromisoformat(on) - morning.today).days if on else None,
            morning.use.requests(key_id),
            (line or {}).get("usage_plan_ids", []),
            _text(row.expires_on) if row else None,
        ]


def _next_step(
    state: str, line: Line, row: Row | None, warn_on: date | None
) -> tuple[str | None, str | None]:
    """What happens to a key next and when, as written down, or as it would be if nothing changes."""
    if state == State.PARKED:
        return ("purged", line["purge_on"]) if line.get("purge_on") else (None, None)
    if state == State.GONE:
        return None, None
    disable_on = _text(row.disable_on) if row and row.disable_on else line.get("disable_on")
    park_on = _text(row.park_on) if row and row.park_on else line.get("park_on")
    if state == State.DISABLED:
        return ("parked", park_on) if park_on else (None, None)
    if disable_on is None:
        return ("warned", str(warn_on)) if warn_on else (None, None)
    return "disabled", disable_on


def _plans(morning: Morning) -> dict[str, str]:
    evidence = morning.checkup.evidence
    names = dict(evidence.plan_names()) if evidence else {}
    names.update((plan.usage_plan_id, plan.name) for plan in morning.checkup.plans or ())
    return {plan_id: visible(name) for plan_id, name in names.items()}


def _seen(text: str | None) -> str | None:
    return text if text is None else visible(text)


def _text(day: date | None) -> str | None:
    return str(day) if day else None
