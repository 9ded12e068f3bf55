"""Writes down the keys that were proven, and publishes them with their sealed values."""

from collections.abc import Iterable
from dataclasses import replace

from keyjanitor.adapters.kms import delivery_context
from keyjanitor.adapters.ledger import Change
from keyjanitor.adapters.request_store import RequestChange
from keyjanitor.domain.expiry.events import announce
from keyjanitor.domain.expiry.transitions import replaced
from keyjanitor.domain.model.keys import DAY, LIVE_STATES, State
from keyjanitor.domain.model.records import ISSUED, ROTATED, Row
from keyjanitor.domain.requests.events import answer
from keyjanitor.domain.requests.key_request import Action, Code, Refusal
from keyjanitor.errors import KeyjanitorError
from keyjanitor.services.provision_keys.responder import Responder
from keyjanitor.services.provision_keys.tasks import ProvenKey, Task

MAX_WRITE_ATTEMPTS = 3  # to write a row that others write too


def deliver(proven: Iterable[ProvenKey], responder: Responder) -> list[Task]:
    """Answers the requests of keys that were proven; deletes a key whose rotation came too late.

    Gives the requests whose keys there are now, also those whose answer another run has to give.
    """
    waiting = {one.task.row_id: one for one in proven}
    made = [one.task for one in waiting.values()]
    for attempt in range(MAX_WRITE_ATTEMPTS):
        changes = {}
        try:
            for one in list(waiting.values()):
                change = _change(one, responder, again=attempt > 0)
                if change is None:
                    _take_back(one, responder)
                    made.remove(one.task)
                    del waiting[one.task.row_id]
                else:
                    changes[one.task.row_id] = change
        except KeyjanitorError as err:
            responder.defer([one.task for one in waiting.values()], err)
            return made
        tasks = [one.task for one in waiting.values()]
        lost = responder.commit(tasks, list(changes.values()))
        waiting = {task.row_id: waiting[task.row_id] for task in lost}
        if not waiting:
            return made
    late = [one.task for one in waiting.values()]
    responder.defer(late, "its rows are changed by others all the time")
    return made


def _take_back(one: ProvenKey, responder: Responder) -> None:
    """Deletes a key of which no event was sent: another request has rotated the old one meanwhile."""
    responder.adapters.gateway.delete(one.key.key_id)
    reason = f"key {one.grant.rotates} was rotated by another request just now"
    responder.refuse({one.task: Refusal(Code.TOO_MANY_KEYS, reason)})


def _change(one: ProvenKey, responder: Responder, *, again: bool) -> RequestChange | None:
    """The answer, with the row of the new key and, of a rotation, of the old one.

    None if the old one was rotated by another request.
    """
    grant, request = one.grant, one.task.request
    # A sweep may have adopted it in between; that is rare, so it is looked for in the second try.
    stands = responder.adapters.ledger.row(one.key.key_id) if again else None
    row = _row_of(one, stands)
    changes = [Change(stands, row)]
    more: dict[str, object] = {
        "sealed_value": grant.sealed_value,
        "encryption_context": delivery_context(grant.deliver_to, request.request_id),
        "usage_plan_id": grant.usage_plan_ids[0],
        "expires_on": grant.expires_on,
    }
    detail_type = ISSUED
    if request.action is Action.ROTATE:
        detail_type = ROTATED
        expires_on, old = _end_of_the_old(one, responder)
        if any(change.before and change.before.rotated_to for change in old):
            return None
        changes += old
        more |= {"previous_key_id": grant.rotates, "previous_key_ends_on": expires_on}
    detail = answer(detail_type, request, row, responder.policy, **more)
    return responder.answer(one.task, detail_type, detail, *changes)


def _row_of(one: ProvenKey, stands: Row | None) -> Row:
    """The row of a new key; `stands` is the row that the ledger already has, if any."""
    grant = one.grant
    return replace(
        stands or Row(key_id=one.key.key_id, state=State.ACTIVE, tier=grant.tier),
        state=State.ACTIVE,
        tier=grant.tier,
        owner=grant.owner,
        owner_from=None,  # whoever a rule has found meanwhile
        name=grant.name,
        issued=True,
        adopted_on=(stands and stands.adopted_on) or one.task.request.today,
        expires_on=grant.expires_on,
        our_update=one.key.last_updated_date,
        usage_plan_ids=grant.usage_plan_ids,
        sender=grant.sender,
        deliver_to=grant.deliver_to,
        request_ids=(one.task.row_id,),
        previous_key_ids=(),
    )


def _end_of_the_old(one: ProvenKey, responder: Responder) -> tuple[object, list[Change]]:
    """The end date of the old key, and the change of its row; no change if it is gone already."""
    request, policy, new_key_id = one.task.request, responder.policy, one.key.key_id
    old = responder.adapters.ledger.row_of_any(one.grant.rotates or "")
    expires_on = request.today + DAY * request.overlap_days
    if old is None or old.state not in LIVE_STATES:
        return request.today, []
    if old.expires_on is not None:
        expires_on = min(expires_on, old.expires_on)
    tier = policy.tiers.get(old.tier)
    if tier is None or tier.contact is None:  # no sweep touches it
        return expires_on, [Change(old, replace(old, expires_on=expires_on, rotated_to=new_key_id))]
    after = replaced(old, new_key_id, expires_on, request.today, tier.warn_days)
    if after.state is not State.WARNED:
        return expires_on, [Change(old, after)]
    return expires_on, [Change(old, after, (announce(after, policy, request.today),))]
