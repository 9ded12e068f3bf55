"""Revokes a key for good: no request, no restore and no tombstone brings it back."""

from dataclasses import replace

from keyjanitor.adapters.ledger import Change
from keyjanitor.adapters.request_store import RequestChange
from keyjanitor.domain.expiry.events import VERSION
from keyjanitor.domain.expiry.explained import in_words
from keyjanitor.domain.model.keys import LIVE_STATES, State, SweepAction
from keyjanitor.domain.model.records import FINAL, Claim, RequestRow, Row, Status
from keyjanitor.domain.requests.events import REVOKED
from keyjanitor.domain.requests.key_request import KeyRequest, Refusal
from keyjanitor.errors import CallFailed, Contended
from keyjanitor.services.provision_keys.looking import look_up, refusal_of
from keyjanitor.services.provision_keys.responder import Responder
from keyjanitor.services.provision_keys.tasks import Done, Effect, Task
from keyjanitor.services.restore import half_built

# What an answer still says once its key is revoked.
KEPT = ("version", "request_id", "requested_by", "owner", "tier", "contact", "name")
SINCE = "revoked since"


def revoke(task: Task, responder: Responder) -> Done | Refusal | None:
    """Revokes the key; gives the answer, or a refusal. May be run again after any failure."""
    if task.row.status is Status.TAKEN:
        refusal = refusal_of(task, responder)
        if refusal is not None:
            return refusal
        responder.admit(task)
    row = look_up(task, responder)
    if row is None:
        raise CallFailed("GetItem", "NotFound")
    _end_what_makes_it(row, responder)
    effect = Effect.KEY_DELETED if row.state in LIVE_STATES else None
    if row.state is not State.REVOKED:
        row = _destroy(task, row, responder)
    _make_answers_final(row, responder)
    change = responder.answer_of_key(task, REVOKED, row, _revoked(row, task.request))
    return Done(change, effect)


def _destroy(task: Task, row: Row, responder: Responder) -> Row:
    """Deletes the key, and its tombstones; gives its row with the claim of the revocation."""
    adapters = responder.adapters
    # A run that read the row before cannot write it any more: no sweep parks the key, and none
    # relies on a tombstone that is about to be destroyed.
    claim = None if row.state in LIVE_STATES else Claim(SweepAction.PURGE, task.request.today)
    row = adapters.ledger.commit_one(Change(row, replace(row, claim=claim)))
    if there := row.key_id if row.state in LIVE_STATES else half_built(row, adapters):
        adapters.gateway.delete(there)
    for key_id in (row.key_id, *row.previous_key_ids):
        adapters.history.destroy_tombstone(key_id)
    return row


def _revoked(row: Row, request: KeyRequest) -> Row:
    return replace(
        row,
        state=State.REVOKED,
        **in_words(request.reason or "revoked"),
        revoked_on=row.revoked_on or request.today,
        revoked_by=row.revoked_by or request.sender,
        warned_on=None,
        disable_on=None,
        park_on=None,
        purge_on=None,
        new_key_id=None,
        claim=None,
    )


def _end_what_makes_it(row: Row, responder: Responder) -> None:
    """Answers the requests for which this key was made and not delivered: they are over with it.

    Before it is deleted, so that no run takes one up and makes the key again. Raises Contended while
    another run is at work on one.
    """
    request_store, run = responder.adapters.request_store, responder.run
    for name, asked in request_store.requests(row.request_ids).items():
        if asked.status in FINAL:
            continue
        held = asked.held_until is not None and asked.held_until > run.now()
        if held and asked.holder != run.holder:
            raise Contended(f"request {name}")
        after = replace(
            asked,
            status=Status.ANSWERED,
            holder=None,
            held_until=None,
            detail_type=REVOKED,
            detail=_detail_of_undelivered(name, asked, row, responder),
            grant=None,
        )
        told = responder.announcement(asked, REVOKED, dict(after.detail))
        if request_store.commit([RequestChange(asked, after, announcements=(told,))])[0] is None:
            raise Contended(f"request {name}")


def _detail_of_undelivered(
    name: str, asked: RequestRow, row: Row, responder: Responder
) -> dict[str, object]:
    tier = responder.policy.tiers.get(row.tier)
    return {
        "version": VERSION,
        "request_id": name.partition(" ")[0],
        "requested_by": asked.sender,
        "key_id": row.key_id,
        "owner": row.owner,
        "tier": row.tier,
        "contact": tier.contact if tier else None,
        "name": row.name,
        "reason": SINCE,
    }


def _make_answers_final(row: Row, responder: Responder) -> None:
    """Replaces every answer that carries the sealed value by one that says that the key is revoked."""
    request_store = responder.adapters.request_store
    waiting = {one.announcement_id for one in responder.adapters.ledger.unsent()}
    for request_id, asked in request_store.requests(row.request_ids).items():
        if asked.status is not Status.ANSWERED:
            continue
        detail = {name: value for name, value in asked.detail.items() if name in KEPT}
        detail |= {"key_id": row.key_id, "reason": SINCE}
        after = replace(asked, detail_type=REVOKED, detail=detail, grant=None)
        told = responder.announcement(asked, REVOKED, detail)
        # One that waits in the outbox would still carry the value: this takes its place.
        instead = (told,) if told.announcement_id in waiting else ()
        if request_store.commit([RequestChange(asked, after, announcements=instead)])[0] is None:
            raise Contended(f"request {request_id}")
