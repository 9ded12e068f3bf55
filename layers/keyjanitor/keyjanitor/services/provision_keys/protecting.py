"""Protects a key until a date, or releases it."""

from dataclasses import replace

from keyjanitor.domain.requests.admission import judge_asker, judge_bounds
from keyjanitor.domain.requests.events import PROTECTED, RELEASED
from keyjanitor.domain.requests.key_request import Action, Refusal
from keyjanitor.services.provision_keys.looking import look_up
from keyjanitor.services.provision_keys.responder import Responder
from keyjanitor.services.provision_keys.tasks import Done, Task


def protect(task: Task, responder: Responder) -> Done | Refusal | None:
    """Protects or releases the key; gives the answer, or a refusal; None: look again."""
    request, policy = task.request, responder.policy
    row = look_up(task, responder)
    tier = policy.tiers.get(row.tier) if row is not None else None
    refusal = (tier and judge_bounds(request, tier)) or judge_asker(request, row, policy)
    if refusal is not None or row is None:
        return refusal
    after = replace(row, protected_until=request.until)
    if request.action is Action.RELEASE:
        return Done(responder.answer_of_key(task, RELEASED, row, after))
    return Done(responder.answer_of_key(task, PROTECTED, row, after, protected_until=request.until))
