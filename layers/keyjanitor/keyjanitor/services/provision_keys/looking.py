"""Looks at the key that a request names, and says whether the request is refused."""

from keyjanitor.domain.model.keys import LIVE_STATES, ApiKey, State, SweepAction, Tombstone
from keyjanitor.domain.model.policy import BoundPolicy, Policy
from keyjanitor.domain.model.records import Row
from keyjanitor.domain.requests.admission import judge_asker, judge_key, judge_life
from keyjanitor.domain.requests.key_request import Action, Code, KeyRequest, Refusal
from keyjanitor.errors import Contended, TombstoneUnreadable
from keyjanitor.services.claims import settled
from keyjanitor.services.provision_keys.responder import Responder
from keyjanitor.services.provision_keys.tasks import Task


def look_up(task: Task, responder: Responder) -> Row | None:
    """The row of the key that a request names, with every claim of a run that died settled.

    Raises Contended while a sweep is at work on the key.
    """
    adapters, request = responder.adapters, task.request
    row = adapters.ledger.row_of_any(request.key_id)
    if row is not None and row.claim is not None and row.claim.verb is not SweepAction.RESTORE:
        lease = adapters.ledger.lease_until()
        if lease is not None and lease > responder.run.now():
            raise Contended(f"key {row.key_id}")
        if row.state in LIVE_STATES:
            key = adapters.gateway.key(row.key_id)
            bound = BoundPolicy(responder.policy, {}, frozenset())
            row = adapters.ledger.commit_one(settled(request.today, row, key, adapters, bound))
    task.key = row
    return row


def refusal_of(task: Task, responder: Responder) -> Refusal | None:
    """The refusal of a request for a rotation, revocation or restore, or None; reads the key.

    Raises Contended if the key is changed meanwhile, and what the adapters raise.
    """
    adapters, policy, request = responder.adapters, responder.policy, task.request
    row = look_up(task, responder)
    if (refusal := judge_asker(request, row, policy)) or row is None:
        return refusal
    key: ApiKey | None
    closed: Refusal | None = None
    if row.state is State.PARKED:
        try:
            tombstone, _ = adapters.history.open_tombstone(row.key_id, adapters.sealer)
            key = _as_key(tombstone)
        except TombstoneUnreadable as err:
            if err.transient:
                raise
            if request.action is Action.RESTORE:
                closed = Refusal(Code.NOT_RESTORABLE, str(err))
            key = None
    else:
        key = adapters.gateway.key(row.key_id)
        if key is None and request.action is Action.ROTATE:
            return no_more(row)
    if request.action is Action.RESTORE:
        closed = _out_of_time(request, row, policy) or closed
    stack = adapters.owners.stack_of(row.key_id)
    refusal = judge_key(request, row, key, stack, policy)
    if refusal is not None and key is not None and not key.enabled:
        # A sweep may have disabled it between the two looks, at the row and at the key.
        stands = adapters.ledger.row_of_any(row.key_id)
        if stands is None or stands.version != row.version:
            raise Contended(f"key {row.key_id}")
    return refusal or closed


def no_more(row: Row) -> Refusal:
    """The refusal of a request for a key that the ledger knows and API Gateway does not. Pure."""
    return Refusal(Code.UNKNOWN_KEY, f"API Gateway has no key {row.key_id} any more")


def _out_of_time(request: KeyRequest, row: Row, policy: Policy) -> Refusal | None:
    if row.claim and row.claim.verb is SweepAction.PURGE:
        return Refusal(Code.NOT_RESTORABLE, f"the time of key {row.key_id} has run out")
    if row.state is State.PARKED:
        return judge_life(row, request.today, policy)
    return None


def _as_key(tombstone: Tombstone) -> ApiKey:
    return ApiKey(
        key_id=tombstone.key_id,
        name=tombstone.name,
        enabled=tombstone.enabled,
        created_date=tombstone.created_date,
        last_updated_date=tombstone.created_date,
        description=tombstone.description,
        tags=tombstone.tags,
    )
