"""Judges the requests that take a slot of the service quota: issues, rotations and restores."""

from collections.abc import Sequence
from datetime import date

from keyjanitor.domain.model.records import Grant, Row, Status
from keyjanitor.domain.requests.admission import end_of_life, judge_asker, judge_bounds
from keyjanitor.domain.requests.census import Want
from keyjanitor.domain.requests.key_request import Action, Code, Refusal
from keyjanitor.errors import Contended, KeyjanitorError, PlanRefused
from keyjanitor.services.provision_keys.looking import look_up, refusal_of
from keyjanitor.services.provision_keys.responder import Responder
from keyjanitor.services.provision_keys.tasks import SlotRequest, Taken, Task
from keyjanitor.services.provision_keys.tier_plans import TierPlans


def judge(tasks: Sequence[Task], responder: Responder, plans: TierPlans) -> list[SlotRequest]:
    """The requests that want a slot, with the grants of new keys; refuses the others.

    Open and without a slot stays only a restore whose key was forgotten after it was admitted.
    """
    found: list[SlotRequest] = []
    refusals: dict[Taken, Refusal] = {}
    rotated: set[str] = set()
    for task in tasks:
        if not task.is_open:
            continue
        if responder.run.deadline.passed():
            responder.defer([task], "there is no time left to look at its key")
            continue
        try:
            verdict = _verdict(task, rotated, responder, plans)
            if isinstance(verdict, Refusal):
                refusals[task] = verdict
                continue
            if (want := _want(task, verdict, responder)) is not None:
                found.append(SlotRequest(task, want, verdict))
        except PlanRefused as err:
            full = err.code == "LimitExceededException"
            code = Code.CAPACITY_EXHAUSTED if full else Code.UNKNOWN_TIER
            refusals[task] = Refusal(code, str(err))
        except KeyjanitorError as err:
            responder.defer([task], err)
    responder.refuse(refusals)
    return found


def _verdict(
    task: Task, rotated: set[str], responder: Responder, plans: TierPlans
) -> Grant | Refusal | None:
    """Judges a request that no run has judged yet: what a new key is granted, or a refusal.

    None for a restore that may be, and for a request that an earlier run has judged. `rotated` are the
    keys that this run rotates, to which it adds; raises Contended for a second rotation of one.
    """
    if task.row.status is not Status.TAKEN:
        return None
    if task.request.action is Action.ISSUE:
        return _verdict_on_issue(task, responder, plans)
    refusal, old = refusal_of(task, responder), task.key
    if refusal is not None or task.request.action is Action.RESTORE or old is None:
        return refusal
    if old.key_id in rotated:
        raise Contended(f"key {old.key_id}")
    rotated.add(old.key_id)
    return _like(old, task.request.today, responder, plans)


def _verdict_on_issue(task: Task, responder: Responder, plans: TierPlans) -> Grant | Refusal:
    request, policy = task.request, responder.policy
    asked_in = policy.tiers.get(request.tier)
    refusal = (asked_in and judge_bounds(request, asked_in)) or judge_asker(request, None, policy)
    if refusal is not None:
        return refusal
    tier = policy.tiers[request.tier]
    return Grant(
        sealed_value="",
        tier=tier.name,
        owner=request.owner,
        name=request.name,
        sender=task.row.sender,
        deliver_to=request.deliver_to,
        usage_plan_ids=(plans.plan_for(tier),),
        expires_on=request.expires_on or end_of_life(tier, request.today),
    )


def _like(old: Row, today: date, responder: Responder, plans: TierPlans) -> Grant:
    """A new key like an old one: its plans, its name, its owner, and its agreed end.

    One without an end gets that of a key which is issued today.
    """
    tiers = responder.policy.tiers
    # An empty answer is no proof of emptiness: then the ledger says which they were.
    plan_ids = responder.adapters.gateway.plans_of(old.key_id) or old.usage_plan_ids
    if not plan_ids or not plans.there_is(plan_ids):
        plan_ids = (plans.plan_for(tiers[old.tier]),)
    return Grant(
        sealed_value="",
        tier=old.tier,
        owner=old.owner,
        name=old.name,
        sender=old.sender,
        deliver_to=old.deliver_to or "",
        usage_plan_ids=plan_ids,
        expires_on=old.expires_on or end_of_life(tiers[old.tier], today),
        rotates=old.key_id,
    )


def _want(task: Task, grant: Grant | None, responder: Responder) -> Want | None:
    """The slot that a request wants; None if its key is no more."""
    granted = grant or task.row.grant
    if granted is not None:
        tier, owner = granted.tier, granted.owner
    else:
        key = task.key or look_up(task, responder)
        if key is None:
            return None
        tier, owner = key.tier, key.owner
    return Want(task.request.action, responder.policy.tier_called(tier), owner, task.sender)
