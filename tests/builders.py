"""Builders of the values that tests speak of. Each gives a sensible value; a test names what matters.

The account of most tests: one plan `plan1` called "external", with a quota, on the stage "api1:prod",
which the tier `external` names (14 days never used, 60 idle, then 14, 14, 365), and evidence that is
read to the end, old enough and full of other people's requests.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from keyjanitor import __version__
from keyjanitor.domain.doctor.checkup import Checkup, InactiveKey
from keyjanitor.domain.expiry.sweep_input import SweepInput
from keyjanitor.domain.expiry.sweep_plan import SweepPlan, Verdict
from keyjanitor.domain.expiry.verdicts import decide
from keyjanitor.domain.model.alert import Place
from keyjanitor.domain.model.apis import Method, ServedStage
from keyjanitor.domain.model.keys import ApiKey, Secret, State, SweepAction, Tombstone
from keyjanitor.domain.model.policy import (
    Alerts,
    BoundPolicy,
    Never,
    Owned,
    Policy,
    Pressure,
    PressureRule,
    Quota,
    Rate,
    Sweep,
    Tier,
)
from keyjanitor.domain.model.records import Grant, RequestRow, Row, Status
from keyjanitor.domain.model.usage_plan import UsagePlan
from keyjanitor.domain.requests.import_file import NewKey
from keyjanitor.domain.requests.key_request import Action, KeyRequest
from keyjanitor.domain.usage.evidence import Evidence, UsagePlanReading
from keyjanitor.domain.usage.plan_usage import PlanUsage, UsagePage

TODAY = date(2026, 11, 21)
DAY = timedelta(days=1)
YESTERDAY = TODAY - DAY
KEY_ID = "k0"
PLAN_ID = "plan1"
STAGE = "api1:prod"
CONTACT = "api-team@example.org"
PLACE = Place.of(
    "arn:aws:sns:us-east-1:123456789012:keyjanitor-AlertTopic-1A2B3C4D5E6F",
    "keyjanitor",
    __version__,
    "keyjanitor-historybucket-1a2b3c4d5e6f",
)


def days_ago(days: int) -> date:
    return TODAY - DAY * days


def in_days(days: int) -> date:
    return TODAY + DAY * days


def at(day: date, hour: int = 12) -> datetime:
    """A moment of a day, UTC."""
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


# --- keys and rows --------------------------------------------------------------------------------


def a_key(
    key_id: str = KEY_ID,
    *,
    age: int = 400,
    changed: int | None = None,
    tags: Mapping[str, str] | None = {},
    **more: Any,
) -> ApiKey:
    """A key made `age` days ago and last changed `changed` days ago (left out: when it was made)."""
    created = at(days_ago(age))
    values: dict[str, Any] = {
        "name": f"name of {key_id}",
        "enabled": True,
        "created_date": created,
        "last_updated_date": created if changed is None else at(days_ago(changed)),
        **more,
    }
    return ApiKey(key_id=key_id, tags=tags, **values)


def a_row(key_id: str = KEY_ID, state: State = State.ACTIVE, **more: Any) -> Row:
    """A row of a key that the ledger has known for a year."""
    values: dict[str, Any] = {
        "tier": "external",
        "version": 1,
        "name": f"name of {key_id}",
        "adopted_on": days_ago(365),
        **more,
    }
    return Row(key_id=key_id, state=state, **values)


def a_warned_row(
    key_id: str = KEY_ID, *, warned: int = 14, disable_in: int = 0, **more: Any
) -> Row:
    """A row of a key warned `warned` days ago, to be disabled in so many days from today."""
    values: dict[str, Any] = {
        "warned_on": days_ago(warned),
        "stepped_on": days_ago(warned),
        "disable_on": in_days(disable_in),
        "reason": "idle",
        **more,
    }
    return a_row(key_id, State.WARNED, **values)


def a_disabled_row(
    key_id: str = KEY_ID, *, disabled: int = 14, park_in: int = 0, **more: Any
) -> Row:
    """A row of a key that we disabled `disabled` days ago, to be parked in so many days."""
    values: dict[str, Any] = {
        "warned_on": days_ago(disabled + 14),
        "disabled_on": days_ago(disabled),
        "stepped_on": days_ago(disabled),
        "park_on": in_days(park_in),
        "our_update": at(days_ago(disabled)),
        "reason": "idle",
        **more,
    }
    return a_row(key_id, State.DISABLED, **values)


def a_parked_row(key_id: str = KEY_ID, *, parked: int = 365, purge_in: int = 0, **more: Any) -> Row:
    """A row of a key that was parked `parked` days ago, to be purged in so many days."""
    values: dict[str, Any] = {
        "parked_on": days_ago(parked),
        "stepped_on": days_ago(parked),
        "disabled_on": days_ago(parked + 14),
        "purge_on": in_days(purge_in),
        **more,
    }
    return a_row(key_id, State.PARKED, **values)


def a_tombstone(key_id: str = KEY_ID, **more: Any) -> Tombstone:
    values: dict[str, Any] = {
        "sealed_value": "c2VhbGVk",
        "name": f"name of {key_id}",
        "description": "",
        "customer_id": "",
        "tags": {},
        "usage_plan_ids": (PLAN_ID,),
        "tier": "external",
        "owner": None,
        "enabled": True,
        "created_date": at(days_ago(400)),
        "parked_on": TODAY,
        **more,
    }
    return Tombstone(key_id=key_id, **values)


# --- plans, usage and evidence --------------------------------------------------------------------


A_QUOTA = Quota(1_000_000, "MONTH")


def a_usage_plan(
    usage_plan_id: str = PLAN_ID,
    *,
    name: str = "external",
    stages: tuple[str, ...] = (STAGE,),
    has_quota: bool = True,
) -> UsagePlan:
    return UsagePlan(
        usage_plan_id,
        name,
        stages={stage: {} for stage in stages},
        quota=A_QUOTA if has_quota else None,
    )


def a_reading(
    *members: str,
    usage_plan_id: str = PLAN_ID,
    name: str = "external",
    stages: tuple[str, ...] = (STAGE,),
    has_quota: bool = True,
    members_read: bool = True,
    emptied: bool = False,
    unread: str | None = None,
    unknown_ids: int = 0,
) -> UsagePlanReading:
    """A plan with these members, read to the end."""
    return UsagePlanReading(
        usage_plan_id=usage_plan_id,
        name=name,
        stages=stages,
        has_quota=has_quota,
        members=members,
        members_read=members_read,
        emptied=emptied,
        unread=unread,
        unknown_ids=unknown_ids,
    )


def steady_traffic(until: date = TODAY, used: int = 1000) -> dict[date, int]:
    """The account's use of the last 90 days, the same on every day."""
    return {until - DAY * back: used for back in range(91)}


def an_evidence(
    *plans: UsagePlanReading,
    used: Mapping[str, date] | None = None,
    day: date = TODAY,
    witnessed_plans: Iterable[str] | None = None,
    **more: Any,
) -> Evidence:
    """Evidence of a chain that began a year ago; without `plans`, of one plan with the one key.

    `used` says when keys were last used. All plans are witnessed on its date, as they are, unless
    `witnessed_plans` names others.
    """
    plans = plans or (a_reading(KEY_ID),)
    quotas = {plan.usage_plan_id: plan.has_quota for plan in plans}
    values: dict[str, Any] = {
        "first_day": day - DAY * (365 + 90),
        "complete_since": day - DAY * 365,
        "used_by_day": steady_traffic(day),
        **more,
    }
    return Evidence(
        day=day,
        plans={plan.usage_plan_id: plan for plan in plans},
        last_used=dict(used or {}),
        witnessed_plans={
            (plan_id, quotas.get(plan_id, True)): day
            for plan_id in (quotas if witnessed_plans is None else witnessed_plans)
        },
        **values,
    )


def a_page(
    items: Mapping[str, Sequence[Any] | None],
    *,
    start: date = TODAY - DAY * 90,
    end: date = TODAY,
) -> UsagePage:
    """One page of GetUsage over the 91 days that are asked for every night."""
    return UsagePage(start, end, items)


def pairs(
    used_on: Mapping[date, int] | None = None,
    *,
    start: date = TODAY - DAY * 90,
    end: date = TODAY,
    remaining: int = 1000,
) -> list[list[int]]:
    """One [used, remaining] a day; `used_on` names the days that had requests."""
    used_on = used_on or {}
    days = (end - start).days + 1
    return [[used_on.get(start + DAY * index, 0), remaining] for index in range(days)]


def a_usage(
    *pages: UsagePage, plan: UsagePlan | None = None, day: date = TODAY, days: int = 90
) -> PlanUsage:
    """What the pages of one plan come to."""
    usage = PlanUsage(plan or a_usage_plan(), day - DAY * days, day)
    for page in pages:
        usage.add(page)
    return usage


# --- policy ---------------------------------------------------------------------------------------


def a_tier(
    name: str = "external",
    *,
    contact: str | None = CONTACT,
    usage_plans: tuple[str, ...] | None = None,
    idle_days: int | Never = 60,
    **more: Any,
) -> Tier:
    """A tier that names the plan of its own name; nobody can ask for keys in it."""
    values: dict[str, Any] = {
        "stages": (),
        "throttle": None,
        "quota": None,
        "method_throttle": {},
        "never_used_days": 14,
        "warn_days": 14,
        "grace_days": 14,
        "retain_days": 365,
        "orphan_days": 14,
        "max_keys_per_owner": 2,
        "max_life_days": None,
        "max_protect_days": 90,
        "new_keys_per_day": 10_000,
        "new_keys_per_sender_per_hour": 10_000,
        "reserve": 0,
        "senders": (),
        "admins": (),
        "recipients": (),
        **more,
    }
    return Tier(
        name=name,
        contact=contact,
        usage_plans=(name,) if usage_plans is None else usage_plans,
        idle_days=idle_days,
        **values,
    )


def unclaimed(
    *, contact: str | None = CONTACT, idle_days: int | Never = "never", **more: Any
) -> Tier:
    """The tier of keys that no other names; unlike the shipped one it has a contact."""
    return a_tier("unclaimed", contact=contact, usage_plans=(), idle_days=idle_days, **more)


def a_policy(
    *tiers: Tier,
    pressure: tuple[PressureRule, ...] = (),
    max_share: float = 0.05,
    max_keys: int = 500,
    silent_plans: tuple[str, ...] = (),
    service_quota: int = 10_000,
    owned: Owned | None = None,
) -> Policy:
    """A policy of these tiers (left out: `external`), and of `unclaimed` if it is not among them."""
    named = {tier.name: tier for tier in tiers or (a_tier(),)}
    named.setdefault("unclaimed", unclaimed())
    return Policy(
        service_quota=service_quota,
        silent_plans=silent_plans,
        sweep=Sweep(max_share=max_share, max_keys=max_keys),
        owned=owned or Owned(("Managed by Terraform",), ("terraform", "ManagedBy"), ()),
        tiers=named,
        pressure=pressure,
        alerts=Alerts(levels=(0.8, 0.9), clear_margin=0.03, days_to_limit=(60, 30, 14)),
    )


def bound(policy: Policy | None = None, evidence: Evidence | None = None) -> BoundPolicy:
    """A policy tied to the plans of an evidence."""
    plans = (evidence or an_evidence()).plans.values()
    return (policy or a_policy()).bind({plan.usage_plan_id: plan.name for plan in plans})


# --- a night --------------------------------------------------------------------------------------


def a_night(
    *keys: ApiKey,
    rows: Iterable[Row] = (),
    evidence: Evidence | None = None,
    shelf: Sequence[Row] = (),
    stepped: Mapping[SweepAction, int] | None = None,
    warnings_only: str | None = None,
    tombstones_open: bool = True,
) -> SweepInput:
    """Tonight, with these keys and rows; without an evidence all the keys are in `plan1`."""
    if evidence is None:
        evidence = an_evidence(a_reading(*(key.key_id for key in keys)))
    return SweepInput(
        today=evidence.day,
        keys=keys,
        rows={row.key_id: row for row in rows},
        shelf=shelf,
        evidence=evidence,
        stepped=stepped or {},
        warnings_only=warnings_only,
        tombstones_open=tombstones_open,
    )


def a_plan(*keys: ApiKey, policy: Policy | None = None, **night: Any) -> SweepPlan:
    """The plan of such a night."""
    gathered = a_night(*keys, **night)
    return decide(gathered, bound(policy, gathered.evidence))


def a_verdict(key: ApiKey, row: Row | None = None, **night: Any) -> Verdict:
    """The verdict of such a night on its one key."""
    plan = a_plan(key, rows=[row] if row else [], **night)
    return plan.verdicts[0]


CALM = Pressure(used=0.0, idle_factor=1.0)


# --- requests -------------------------------------------------------------------------------------

ASKER = "AROASENDER"  # a role's id, as it stands before the colon of a message's SenderId
ADMIN = "AROAADMIN"
PORTAL = "arn:aws:iam::123456789012:role/portal"


def an_issuing_tier(name: str = "external", **more: Any) -> Tier:
    """A tier in which everybody may ask for keys, to be delivered to the portal's role."""
    values: dict[str, Any] = {
        "stages": (STAGE,),
        "throttle": Rate(10, 20),
        "senders": ("*",),
        "admins": (ADMIN,),
        "recipients": (PORTAL,),
        **more,
    }
    return a_tier(name, **values)


def a_document(action: str = "issue", **more: Any) -> dict[str, Any]:
    """The body of a request, as its sender writes it before it is text."""
    named: dict[str, Any] = {"key_id": KEY_ID}
    if action == "issue":
        named = {"tier": "external", "owner": "user-8f1c", "name": "app", "deliver_to": PORTAL}
    if action == "protect":
        named["until"] = str(in_days(30))
    if action == "assign":
        named["owner"] = "user-8f1c"
    return {"version": 1, "action": action, "request_id": "r1", **named, **more}


def a_request(action: Action = Action.ISSUE, **more: Any) -> KeyRequest:
    """A request that fits the contract; for a new key, or about `k0`."""
    named: dict[str, Any] = {"key_id": KEY_ID}
    if action is Action.ISSUE:
        named = {"tier": "external", "owner": "user-8f1c", "name": "app", "deliver_to": PORTAL}
    if action is Action.PROTECT:
        named["until"] = in_days(30)
    if action is Action.ASSIGN:
        named |= {"owner": "user-8f1c", "sender": ADMIN}
    values: dict[str, Any] = {
        "request_id": "r1",
        "sender": ASKER,
        "today": TODAY,
        **named,
        **more,
    }
    return KeyRequest(action=action, **values)


def an_issued_row(key_id: str = KEY_ID, state: State = State.ACTIVE, **more: Any) -> Row:
    """A row of a key that was issued: to the portal, for the sender of most requests."""
    values: dict[str, Any] = {
        "issued": True,
        "owner": "user-8f1c",
        "name": "app",
        "sender": ASKER,
        "deliver_to": PORTAL,
        **more,
    }
    return a_row(key_id, state, **values)


def a_request_row(request_id: str = "r1", status: Status = Status.TAKEN, **more: Any) -> RequestRow:
    """What the ledger remembers of a request that was seen today."""
    values: dict[str, Any] = {
        "digest": "0" * 64,
        "sender": ASKER,
        "action": "issue",
        "received_on": TODAY,
        **more,
    }
    return RequestRow(request_id=request_id, status=status, **values)


def a_grant(**more: Any) -> Grant:
    """What a request for a new key in `external` was granted."""
    values: dict[str, Any] = {
        "sealed_value": "c2VhbGVk",
        "tier": "external",
        "owner": "user-8f1c",
        "name": "app",
        "sender": ASKER,
        "deliver_to": PORTAL,
        "usage_plan_ids": (PLAN_ID,),
        "key_name": "kj-20261121-0a1b2c3d-000",
        **more,
    }
    return Grant(**values)


def a_new_key(number: int = 0, **more: Any) -> NewKey:
    """A key to be imported into `plan1`, with a value that only this number has."""
    values: dict[str, Any] = {
        "name": f"kj-20261121-0a1b2c3d-{number:03}",
        "value": Secret(f"keyj{number:036}"),
        "description": f"owner=o{number} name=n{number} request=r{number}",
        "usage_plan_ids": (PLAN_ID,),
        **more,
    }
    return NewKey(**values)


# --- check-ups ------------------------------------------------------------------------------------


def a_limited_plan(
    usage_plan_id: str = PLAN_ID,
    *,
    name: str = "external",
    stages: Iterable[str] = (STAGE,),
    **more: Any,
) -> UsagePlan:
    """A usage plan with a throttle and a quota."""
    values: dict[str, Any] = {
        "stages": {stage: {} for stage in stages},
        "throttle": Rate(10, 20),
        "quota": Quota(50_000, "MONTH"),
        **more,
    }
    return UsagePlan(usage_plan_id, name, **values)


def a_served_stage(stage: str = STAGE, *, requires_keys: bool = True, **more: Any) -> ServedStage:
    """A stage with two methods, of which one requires a key, or none."""
    values: dict[str, Any] = {
        "api_name": "books",
        "key_source": "HEADER",
        "methods": (
            Method("/", "GET", "NONE", api_key_required=False),
            Method("/books", "GET", "NONE", api_key_required=requires_keys),
        ),
        **more,
    }
    return ServedStage(stage, **values)


def an_inactive_key(key_id: str = KEY_ID, **more: Any) -> InactiveKey:
    """An enabled key that nothing is known to have used for 120 days, 90 being declared."""
    values: dict[str, Any] = {
        "name": f"name of {key_id}",
        "owner": None,
        "tier": "external",
        "declared": 90,
        "days": 120,
        "created": days_ago(400),
        "last_used": days_ago(120),
        "why": "unknown",
        "reason": "the usage of its plan plan1 was not read",
        **more,
    }
    return InactiveKey(key_id=key_id, **values)


def a_checkup(*keys: ApiKey, policy: Policy | None = None, **more: Any) -> Checkup:
    """An account in which all is well: these keys (left out: `k0`) in `plan1`, each used yesterday.

    Every one has its row, the plan has limits, and its stage asks for keys.
    """
    keys = keys or (a_key(),)
    ids = [key.key_id for key in keys]
    evidence = an_evidence(a_reading(*ids), used=dict.fromkeys(ids, YESTERDAY))
    values: dict[str, Any] = {
        "rows": {key_id: a_row(key_id) for key_id in ids},
        "evidence": evidence,
        "plans": (a_limited_plan(),),
        "stages": {STAGE: a_served_stage()},
        "stacks": {PLAN_ID: None, "api1": None},
        "parked_plans": frozenset(),
        **more,
    }
    tied = bound(policy, values["evidence"] or evidence)
    return Checkup(today=TODAY, keys=keys, bound=tied, **values)
