"""Lays out the report's use: by tier, by owner, by stage, and the keys that will hit their quota. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from keyjanitor.domain.model.records import Row
from keyjanitor.domain.model.safe_text import visible
from keyjanitor.domain.report.morning import Line, Morning
from keyjanitor.domain.usage.summary import NearQuota, Use, near_quota

OWNERS = 50
GONE = "(deleted keys)"  # the tier of keys that used the account and are no more


def use_tables(morning: Morning) -> dict[str, Any]:
    """The report's `use`. A tier that no key of the account is in has the use of deleted keys."""
    use = morning.use
    evidence, bound = morning.checkup.evidence, morning.checkup.bound
    plans_of = evidence.plans_of_key() if evidence else {}
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
        {"owner": owner and visible(owner), **_sums(use, key_ids, listed)}
        for owner, key_ids in keys_of_owner.items()
    ]
    used = [owner for owner in owners if owner["requests"]]
    return {
        "days": [str(day) for day in use.days],
        "missing": [str(day) for day in use.missing],
        "tiers": sorted(tiers, key=_most_requests),
        "owners": sorted(used, key=_most_requests)[:OWNERS],
        "owners_total": len(keys_of_owner.keys() - {None}),
        "owners_used": sum(owner["owner"] is not None for owner in used),
        "owners_unknown": sum(
            owner["owner"] is not None and owner["requests"] is None for owner in owners
        ),
        "stages": sorted(_stages(morning), key=_most_requests),
    }


def _stages(morning: Morning) -> Iterator[dict[str, Any]]:
    """The use of each stage that a plan opens.

    API Gateway meters by plan and key, not by stage: the requests of a plan that opens one stage are
    in `requests`, those of a plan that opens several in `shared_requests` of each of them.
    """
    plans = _stages_of_plans(morning)
    plans_of_stage: dict[str, list[str]] = {}
    for plan_id, stages in plans.items():
        for stage in stages:
            plans_of_stage.setdefault(stage, []).append(plan_id)
    evidence = morning.checkup.evidence
    members = (
        {one.usage_plan_id: one.members for one in evidence.plans.values()} if evidence else {}
    )
    listed = {key.key_id for key in morning.checkup.keys}
    for stage, plan_ids in plans_of_stage.items():
        served = morning.checkup.stages.get(stage)
        of_keys = [morning.use.by_plan.get(plan_id, {}) for plan_id in plan_ids]
        used = {key_id for of_key in of_keys for key_id, requests in of_key.items() if requests}
        alone = [plan_id for plan_id in plan_ids if len(plans[plan_id]) == 1]
        yield {
            "stage": visible(stage),
            "api": visible(served.api_name) if served else None,
            "plans": plan_ids,
            "keys": len(listed.intersection(chain(*(members.get(one, ()) for one in plan_ids)))),
            "used_keys": len(used & listed) if any(of_keys) else None,
            "requests": _requests(morning.use, alone),
            "shared_requests": _requests(
                morning.use, [one for one in plan_ids if one not in alone]
            ),
        }


def _stages_of_plans(morning: Morning) -> dict[str, Sequence[str]]:
    """The stages that each plan opens: as listed this morning, else by the latest reading."""
    checkup = morning.checkup
    if checkup.plans is not None:
        return {plan.usage_plan_id: tuple(plan.stages) for plan in checkup.plans}
    plans = checkup.evidence.plans if checkup.evidence else {}
    return {plan_id: plan.stages for plan_id, plan in plans.items()}


def _requests(use: Use, plan_ids: Sequence[str]) -> int | None:
    """The requests of some plans on the days that are known: 0 of no plan, None if none is known."""
    known = [sum(use.by_plan[plan_id].values()) for plan_id in plan_ids if plan_id in use.by_plan]
    return sum(known) if known or not plan_ids else None


def _sums(use: Use, key_ids: Sequence[str], listed: set[str]) -> dict[str, int | None]:
    known = [used for key_id in key_ids if (used := use.requests(key_id)) is not None]
    return {
        "keys": len(listed.intersection(key_ids)),
        "used_keys": sum(used > 0 for used in known) if known else None,
        "requests": sum(known) if known else None,
    }


def _most_requests(sums: Mapping[str, Any]) -> tuple[int, int, str]:
    return (
        -((sums["requests"] or 0) + (sums.get("shared_requests") or 0)),
        -sums["keys"],
        str(sums.get("tier") or sums.get("owner") or sums.get("stage") or ""),
    )


def quota_table(morning: Morning) -> list[dict[str, Any]]:
    """The keys that will use up their quota before it starts again, or have, the first to do so first."""
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
        "owner": row.owner and visible(row.owner) if row else None,
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
