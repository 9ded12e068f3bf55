"""Lays out a morning's report as one document of plain values (`docs/schemas/report.json`). Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from keyjanitor import __version__
from keyjanitor.domain.capacity.counting import by_state, by_tier, silent_plans
from keyjanitor.domain.capacity.forecast import Forecast, days_gained, forecast
from keyjanitor.domain.expiry.called import called_while_disabled
from keyjanitor.domain.expiry.notice import Untold
from keyjanitor.domain.expiry.outlook import NightAhead
from keyjanitor.domain.expiry.regret import regret
from keyjanitor.domain.model.keys import DAY, Mode
from keyjanitor.domain.model.policy import MONTHLY_JOBS
from keyjanitor.domain.model.records import NightRow, Row
from keyjanitor.domain.model.safe_text import visible
from keyjanitor.domain.report.inactivity_table import inactivity_table
from keyjanitor.domain.report.key_rows import COLUMNS, key_rows, waits
from keyjanitor.domain.report.morning import Line, Morning
from keyjanitor.domain.report.use_tables import quota_table, use_tables

VERSION = 2  # of the format; 1 had other names for the pressure rules (CHANGELOG.md)
USAGE_PLANS = 300  # per account and Region, unless AWS raised it (doc: AF-102)


def report(morning: Morning) -> dict[str, Any]:
    """The document: `docs/schemas/report.json`."""
    return {
        "version": VERSION,
        "date": str(morning.today),
        "code_version": __version__,
        "made_at": f"{morning.made_at:%Y-%m-%dT%H:%M:%SZ}",
        "account": morning.account,
        "region": morning.region,
        "stack": morning.stack,
        "mode": str(morning.mode),
        "service_quota": morning.policy.service_quota,
        "capacity": _capacity(morning),
        "night": _night(morning),
        **_ahead(morning),
        "regret": _regret(morning),
        "inactivity": inactivity_table(morning),
        "tier_limits": _tier_limits(morning),
        "use": use_tables(morning),
        "near_quota": quota_table(morning),
        "keys": {"columns": list(COLUMNS), "rows": list(key_rows(morning))},
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
    standing = morning.pressure_row.above if morning.pressure_row else None
    pressure = policy.pressure_at(len(keys), standing)
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
        "pressure": {
            "above": pressure.above,
            "idle_factor": pressure.idle_factor,
            "least_idle_days": MONTHLY_JOBS,
            "frozen": sorted(policy.frozen(len(keys), standing)),
        },
        "pressure_rules": [
            {
                "above": rule.above,
                "idle_factor": rule.idle_factor,
                "more_keys": rule.more_keys,
                "tiers": dict(rule.tiers),
                "days_gained": days_gained(rule.more_keys, seen.growth),
            }
            for rule in (morning.pressure_row.rules if morning.pressure_row else ())
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
        **_tags_unlisted(morning),
        **_called(morning, night),
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
        "waiting": sum(map(waits, morning.lines)),
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


def _called(morning: Morning, night: NightRow) -> dict[str, Any]:
    """The disabled keys that were called since the night before, by the access logs; if any were."""
    evidence = morning.checkup.evidence
    if evidence is None or evidence.day != morning.today or evidence.seen_in_logs is None:
        return {}
    calls, rows = evidence.seen_in_logs.calls, morning.rows
    keys = {key.key_id: key for key in morning.checkup.keys}
    disabled = called_while_disabled(keys.values(), rows, evidence)
    ids = dict.fromkeys([*(one.key.key_id for one in disabled), *night.called])
    found = [
        {
            "key_id": key_id,
            "name": visible(keys[key_id].name) if key_id in keys else None,
            "owner": rows[key_id].owner and visible(str(rows[key_id].owner)),
            "requests": calls[key_id].requests,
            "since": f"{calls[key_id].since:%Y-%m-%dT%H:%M:%SZ}",
            "last": f"{calls[key_id].last:%Y-%m-%dT%H:%M:%SZ}",
            "enabled": key_id in keys and keys[key_id].enabled,
        }
        for key_id in ids
        if key_id in calls and key_id in rows
    ]
    return {"called": found} if found else {}


def _tags_unlisted(morning: Morning) -> dict[str, int]:
    """How many keys have the verdict `warn` and are not warned yet, where no list of tags names a key."""
    if any(key.tags for key in morning.checkup.keys):
        return {}
    warned = {key_id for key_id, row in morning.rows.items() if row.warned_on is not None}
    unsure = sum(
        line["verdict"] == "warn" and line["key_id"] not in warned for line in morning.lines
    )
    return {"tags_unlisted": unsure} if unsure else {}


def _ahead(morning: Morning) -> dict[str, Any]:
    if isinstance(morning.ahead, str):
        return {
            "ahead": None,
            "ahead_mode": str(morning.ahead_mode),
            "ahead_unknown": morning.ahead,
            "ahead_later": None,
        }
    return {
        "ahead": [
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
        "ahead_unknown": None,
        "ahead_later": _later(morning, morning.ahead),
    }


def _later(morning: Morning, ahead: Sequence[NightAhead]) -> dict[str, Any]:
    """The steps after the nights ahead that have their dates already, or follow from tonight's."""
    last = str(max((night.date for night in ahead), default=morning.today))
    disable = [on for line in morning.lines if (on := line.get("disable_on")) and on > last]
    park = [on for line in morning.lines if (on := line.get("park_on")) and on > last]
    if morning.ahead_mode is not Mode.PARK:
        park = []
    return {
        "disable": len(disable),
        "park": len(park),
        "first_disable": min(disable, default=None),
        "first_park": min(park, default=None),
    }


def _regret(morning: Morning) -> dict[str, Any]:
    """Effects of 30 days of sweeps on key holders."""
    found = regret(morning.today, morning.rows, morning.nights)
    lines = {line["key_id"]: line for line in morning.lines}
    return {
        "since": str(found.since + DAY),
        "taken": len(found.back) + found.away,
        "back": len(found.back),
        "percent": found.percent,
        "keys": [_came_back(row, lines.get(row.key_id)) for row in found.back],
    }


def _came_back(row: Row, line: Line | None) -> dict[str, Any]:
    back_on = str(row.regretted_on)
    how = "renewed" if row.renewed_on == row.regretted_on else "enabled"
    return {
        "key_id": row.key_id,
        "name": visible(row.name),
        "owner": row.owner and visible(row.owner),
        "tier": row.tier,
        "was": "parked" if row.was_parked_on else "disabled",
        "parked_on": _text(row.was_parked_on),
        "back_on": back_on,
        "back_by": "restored" if row.was_parked_on else how,
        "used_since": None if line is None else (line.get("last_used") or "") >= back_on,
    }


def _tier_limits(morning: Morning) -> dict[str, dict[str, Any]]:
    """The days of each tier in policy.toml, before any pressure rule."""
    return {
        tier.name: {
            "idle_days": tier.idle_days,
            "never_used_days": tier.never_used_days,
            "warn_days": tier.warn_days,
            "grace_days": tier.grace_days,
        }
        for tier in morning.policy.tiers.values()
    }


def _plans(morning: Morning) -> dict[str, str]:
    evidence = morning.checkup.evidence
    names = dict(evidence.plan_names()) if evidence else {}
    names.update((plan.usage_plan_id, plan.name) for plan in morning.checkup.plans or ())
    return {plan_id: visible(name) for plan_id, name in names.items()}


def _text(day: date | None) -> str | None:
    return str(day) if day else None
