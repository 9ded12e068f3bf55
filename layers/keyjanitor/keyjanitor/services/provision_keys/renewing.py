"""Renews a key: its idle clock starts again, and what a sweep disabled is enabled."""

from dataclasses import replace
from datetime import date

from keyjanitor.adapters.ledger import Change
from keyjanitor.domain.expiry.explained import laid_out
from keyjanitor.domain.expiry.ownership import disabled_by_us
from keyjanitor.domain.expiry.row_reasons import Renewed
from keyjanitor.domain.expiry.transitions import regretted
from keyjanitor.domain.model.keys import LIVE_STATES, ApiKey, State
from keyjanitor.domain.model.records import Row, Status, end_is_announced
from keyjanitor.domain.requests.admission import judge_asker, judge_life
from keyjanitor.domain.requests.events import RENEWED
from keyjanitor.domain.requests.key_request import Code, KeyRequest, Refusal
from keyjanitor.errors import ClaimLost
from keyjanitor.services.provision_keys.looking import look_up, no_more
from keyjanitor.services.provision_keys.responder import Responder
from keyjanitor.services.provision_keys.tasks import Done, Task


def renew(task: Task, responder: Responder) -> Done | Refusal | None:
    """Renews the key; gives the answer, or a refusal; None: look again."""
    gateway = responder.adapters.gateway
    row = look_up(task, responder)
    key = gateway.key(row.key_id) if row and row.state in LIVE_STATES else None
    refusal = None
    if task.row.status is Status.TAKEN:
        refusal = judge_asker(task.request, row, responder.policy)
        if refusal is None and row is not None:
            refusal = _has_a_successor(task.request, row) or judge_life(
                row, task.request.today, responder.policy
            )
    if refusal is None and row is not None and key is None:
        refusal = no_more(row)
    if refusal is not None or row is None or key is None:
        return refusal
    if not key.enabled and disabled_by_us(key, row):
        return _enable(task, row, key, responder)
    why_not = None if key.enabled else "others have disabled this key; it stays so"
    return _answer(task, row, _renewed(row, task.request.today), responder, why_not)


def _enable(task: Task, row: Row, key: ApiKey, responder: Responder) -> Done | Refusal | None:
    """Renews and enables a key that a sweep disabled. Raises ClaimLost if others changed it."""
    ledger, gateway = responder.adapters.ledger, responder.adapters.gateway
    today = task.request.today
    renewed = replace(_renewed(row, today), state=State.DISABLED)
    responder.admit(task)
    # Its clock starts before it is enabled: no sweep that looks from now on finds it due.
    row = ledger.commit_one(Change(row, renewed))
    # Right before the call, which takes no condition: what others did meanwhile is theirs.
    if gateway.key(row.key_id) != key:
        raise ClaimLost(row.key_id)
    updated = gateway.set_enabled(row.key_id, enabled=True)
    if updated is None:
        return no_more(row)
    live = replace(regretted(row, today), state=State.ACTIVE, our_update=updated)
    return _answer(task, row, live, responder)


def _answer(
    task: Task, row: Row, renewed: Row, responder: Responder, why_not: str | None = None
) -> Done:
    # What was disabled on this date stays counted in its allowance.
    disabled_on = row.disabled_on if row.disabled_on == task.request.today else None
    after = replace(renewed, disabled_on=disabled_on)
    return Done(responder.answer_of_key(task, RENEWED, row, after, reason=why_not))


def _has_a_successor(request: KeyRequest, row: Row) -> Refusal | None:
    """A key whose rotation has ended would be one more than its owner was given."""
    if row.rotated_to is None or row.expires_on is None or row.expires_on > request.today:
        return None
    return Refusal(
        Code.TOO_MANY_KEYS,
        f"key {row.key_id} was rotated to {row.rotated_to}, and its time is over; renew that one",
    )


def _renewed(row: Row, today: date) -> Row:
    """The row of a key whose idle clock starts again, and whose announced dates are taken back.

    An agreed end that is still to come stays, and so does its announcement. One that has come is
    lifted: who renews such a key wants it to live, as who undoes a sweep does.
    """
    renewed = replace(row, renewed_on=max(today, row.renewed_on or today), **laid_out(Renewed()))
    if row.expires_on is not None and row.expires_on > today:
        if end_is_announced(row):
            return replace(renewed, reason=row.reason, reason_code=row.reason_code, facts=row.facts)
    else:
        renewed = replace(renewed, expires_on=None)
    return replace(
        renewed,
        state=State.ACTIVE,
        warned_on=None,
        disable_on=None,
        park_on=None,
    )
