"""Brings a parked key back for a request."""

from keyjanitor.domain.expiry.row_reasons import RestoredWithout
from keyjanitor.domain.model.keys import LIVE_STATES, State, SweepAction
from keyjanitor.domain.model.records import Announcement, Row
from keyjanitor.domain.requests.events import RESTORED, answer
from keyjanitor.domain.requests.key_request import Code, Refusal
from keyjanitor.errors import AccountFull, NotRestorable
from keyjanitor.services.provision_keys.looking import look_up
from keyjanitor.services.provision_keys.responder import Responder
from keyjanitor.services.provision_keys.tasks import Done, Effect, Task
from keyjanitor.services.restore import half_built, restore


def bring_back(task: Task, responder: Responder) -> Done | Refusal | None:
    """Restores the key; gives the answer, or a refusal. May be run again after any failure."""
    request, adapters, policy = task.request, responder.adapters, responder.policy
    row = look_up(task, responder)
    if row is None or row.state not in (*LIVE_STATES, State.PARKED):
        _delete_half_built(row, responder)
        state = row.state if row else "forgotten"
        return Refusal(Code.NOT_RESTORABLE, f"key {request.key_id} is {state}")
    if row.state is State.PARKED and row.claim and row.claim.verb is SweepAction.PURGE:
        return Refusal(Code.NOT_RESTORABLE, f"key {row.key_id} is being revoked, or purged")
    if row.state is not State.PARKED:  # an earlier run has done it
        return Done(responder.answer_of_key(task, RESTORED, row, row, **_as_restored(row)))
    told: dict[str, object] = {}

    def tell(live: Row) -> Announcement:
        told.update(answer(RESTORED, request, live, policy, **_as_restored(live)))
        return responder.announcement(task.row, RESTORED, told)

    try:
        restore(row, request.today, adapters, policy, tell)
    except NotRestorable as err:
        if err.transient:
            raise
        return Refusal(Code.NOT_RESTORABLE, err.reason)
    except AccountFull as err:
        return Refusal(Code.CAPACITY_EXHAUSTED, str(err))
    return Done(responder.answer(task, RESTORED, told), Effect.KEY_ADDED)


def _delete_half_built(row: Row | None, responder: Responder) -> None:
    """Deletes what an earlier run of this request may have built before the key was revoked."""
    if row is None or row.state is not State.REVOKED:
        return
    if built := half_built(row, responder.adapters):
        responder.adapters.gateway.delete(built)


def _as_restored(row: Row) -> dict[str, object]:
    """The fields of a restore's answer alone: the former id, and what the key came back without."""
    told: dict[str, object] = {
        "previous_key_id": row.previous_key_ids[-1] if row.previous_key_ids else None
    }
    if row.reason_code == RestoredWithout.code:
        told |= {"reason": row.reason, "reason_code": row.reason_code, "facts": row.facts}
    return told
