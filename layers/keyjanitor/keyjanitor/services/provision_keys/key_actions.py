"""Carries out what a request asks of a key that there is: renew, revoke, restore, protect, release.

Each of them may be cut off anywhere and begun again: what is done already is a success.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import date

from aws_lambda_powertools import Logger

from keyjanitor.adapters.ledger import Change
from keyjanitor.adapters.request_store import RequestChange
from keyjanitor.domain.expiry.events import VERSION
from keyjanitor.domain.expiry.ownership import disabled_by_us
from keyjanitor.domain.expiry.transitions import regretted
from keyjanitor.domain.model.keys import LIVE_STATES, ApiKey, State, Tombstone, Verb
from keyjanitor.domain.model.policy import BoundPolicy
from keyjanitor.domain.model.records import (
    FINAL,
    Announcement,
    Claim,
    Row,
    Status,
    end_is_announced,
)
from keyjanitor.domain.requests.admission import judge_asker, judge_bounds, judge_key, judge_life
from keyjanitor.domain.requests.events import answer
from keyjanitor.domain.requests.key_request import Action, Code, KeyRequest, Refusal
from keyjanitor.errors import (
    Busy,
    CallFailed,
    ClaimLost,
    KeyjanitorError,
    KeysFull,
    NotRestorable,
    TombstoneClosed,
)
from keyjanitor.services.claims import settled
from keyjanitor.services.provision_keys.responder import Desk, Task
from keyjanitor.services.restore import WITHOUT, half_built, restore

RENEWED = "Key Renewed"
REVOKED = "Key Revoked"
RESTORED = "Key Restored"
PROTECTED = "Key Protected"
RELEASED = "Key Released"
# What an answer still says once its key is revoked.
KEPT = ("version", "request_id", "requested_by", "owner", "tier", "contact", "name")
TRIES = 3  # to write a row that others write too

logger = Logger(child=True)


class KeyActions:
    """What the requests of one run do to keys, one after the other."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._outside = desk.outside
        self._bound = BoundPolicy(desk.policy, {}, frozenset())

    def look_up(self, task: Task) -> Row | None:
        """The row of the key that a request names, with every claim of a run that died settled.

        Raises Busy while a sweep is at work on the key.
        """
        request = task.the_request()
        row = self._outside.ledger.row_of_any(request.key_id)
        if row is not None and row.claim is not None and row.claim.verb is not Verb.RESTORE:
            lease = self._outside.ledger.lease_until()
            if lease is not None and lease > self._desk.run.now():
                raise Busy(f"key {row.key_id}")
            if row.state in LIVE_STATES:
                key = self._outside.gateway.key(row.key_id)
                change = settled(request.today, row, key, self._outside, self._bound)
                row = self._outside.ledger.commit_one(change)
        task.key = row
        return row

    def judge(self, task: Task) -> Refusal | None:
        """Whether a request for a rotation, revocation or restore is refused, looking at the key."""
        request = task.the_request()
        row = self.look_up(task)
        if (refusal := judge_asker(request, row, self._desk.policy)) or row is None:
            return refusal
        key: ApiKey | None
        closed: Refusal | None = None
        if row.state is State.PARKED:
            try:
                tombstone, _ = self._outside.history.dig_up(row.key_id, self._outside.sealer)
                key = _as_key(tombstone)
            except TombstoneClosed as err:
                if err.for_now:
                    raise
                if request.action is Action.RESTORE:
                    closed = Refusal(Code.NOT_RESTORABLE, str(err))
                key = None
        else:
            key = self._outside.gateway.key(row.key_id)
            if key is None and request.action is Action.ROTATE:
                return _no_more(row)
        if request.action is Action.RESTORE:
            closed = self._out_of_time(request, row) or closed
        stack = self._outside.owners.stack_of(row.key_id)
        refusal = judge_key(request, row, key, stack, self._desk.policy)
        if refusal is not None and key is not None and not key.enabled:
            # A sweep may have disabled it between the two looks, at the row and at the key.
            stands = self._outside.ledger.row_of_any(row.key_id)
            if stands is None or stands.version != row.version:
                raise Busy(f"key {row.key_id}")
        return refusal or closed

    def _out_of_time(self, request: KeyRequest, row: Row) -> Refusal | None:
        if row.claim and row.claim.verb is Verb.PURGE:
            return Refusal(Code.NOT_RESTORABLE, f"the time of key {row.key_id} has run out")
        if row.state is State.PARKED:
            return judge_life(row, request.today, self._desk.policy)
        return None

    def carry_out(self, task: Task) -> None:
        """Does what a request asks for, and answers it."""
        act: Callable[[Task], RequestChange | None]
        match task.the_request().action:
            case Action.RENEW:
                act = self._renew
            case Action.REVOKE:
                act = self._revoke
            case Action.RESTORE:
                act = self._restore
            case Action.PROTECT | Action.RELEASE:
                act = self._protect
            case other:
                raise AssertionError(f"{other} makes a new key")
        try:
            for _ in range(TRIES):
                change = self._once(act, task)
                if task.refusal is not None:
                    self._desk.refuse([task])
                    return
                if change is not None and not self._desk.write([task], [change]):
                    return
        except KeyjanitorError as err:
            self._desk.leave([task], err)
            return
        self._desk.leave([task], "its key is changed by others all the time")

    @staticmethod
    def _once(act: Callable[[Task], RequestChange | None], task: Task) -> RequestChange | None:
        """The answer's change; None if somebody else changed the key's row: look again."""
        try:
            return act(task)
        except ClaimLost as err:
            logger.info(str(err))
            return None

    def admit(self, task: Task) -> None:
        """Writes down that a request is to be carried out, as often as it takes."""
        row = task.the_row()
        if row.status is not Status.TAKEN:
            return
        change = RequestChange(row, replace(row, status=Status.ADMITTED))
        written = self._outside.register.commit([change])[0]
        if written is None:
            raise Busy(f"request {row.request_id}")
        task.row = written

    # --- renew ------------------------------------------------------------------------------------

    def _renew(self, task: Task) -> RequestChange | None:
        request = task.the_request()
        row = self.look_up(task)
        key = self._outside.gateway.key(row.key_id) if row and row.state in LIVE_STATES else None
        if task.the_row().status is Status.TAKEN:
            task.refusal = judge_asker(request, row, self._desk.policy)
            if task.refusal is None and row is not None:
                task.refusal = _has_a_successor(request, row) or judge_life(
                    row, request.today, self._desk.policy
                )
        if task.refusal is None and row is not None and key is None:
            task.refusal = _no_more(row)
        if task.refusal is not None or row is None or key is None:
            return None
        by_us = not key.enabled and disabled_by_us(key, row)
        renewed = _renewed(row, request.today)
        if by_us:
            renewed = replace(renewed, state=State.DISABLED)
        why_not = None
        if by_us:
            self.admit(task)
            # Its clock starts before it is enabled: no sweep that looks from now on finds it due.
            row = self._outside.ledger.commit_one(Change(row, renewed))
            # Right before the call, which takes no condition: what others did meanwhile is theirs.
            if self._outside.gateway.key(row.key_id) != key:
                raise ClaimLost(row.key_id)
            updated = self._outside.gateway.set_enabled(row.key_id, enabled=True)
            if updated is None:
                task.refusal = _no_more(row)
                return None
            renewed = replace(regretted(row, request.today), state=State.ACTIVE, our_update=updated)
        elif not key.enabled:
            why_not = "somebody else has disabled this key; it stays so"
        renewed = replace(
            renewed,
            # What was disabled on this date stays counted in its allowance.
            disabled_on=row.disabled_on if row.disabled_on == request.today else None,
        )
        return self._answer(task, RENEWED, row, renewed, reason=why_not)

    # --- protect and release ----------------------------------------------------------------------

    def _protect(self, task: Task) -> RequestChange | None:
        request = task.the_request()
        row = self.look_up(task)
        tier = self._desk.policy.tiers.get(row.tier) if row is not None else None
        task.refusal = (tier and judge_bounds(request, tier)) or judge_asker(
            request, row, self._desk.policy
        )
        if task.refusal is not None or row is None:
            return None
        after = replace(row, protected_until=request.until)
        if request.action is Action.RELEASE:
            return self._answer(task, RELEASED, row, after)
        return self._answer(task, PROTECTED, row, after, protected_until=request.until)

    # --- revoke -----------------------------------------------------------------------------------

    def _revoke(self, task: Task) -> RequestChange | None:
        request = task.the_request()
        if task.the_row().status is Status.TAKEN:
            task.refusal = self.judge(task)
            if task.refusal is not None:
                return None
            self.admit(task)
        row = self.look_up(task)
        if row is None:
            raise CallFailed("GetItem", "NotFound")
        self._end_what_makes_it(row)
        if row.state is not State.REVOKED:
            # Whoever has read the row before loses it: no sweep parks what is revoked here, and none
            # relies on a tombstone that is about to go.
            claim = None if row.state in LIVE_STATES else Claim(Verb.PURGE, request.today)
            row = self._outside.ledger.commit_one(Change(row, replace(row, claim=claim)))
            task.freed = row.state in LIVE_STATES
            if there := row.key_id if task.freed else half_built(row, self._outside):
                self._outside.gateway.delete(there)
            for key_id in (row.key_id, *row.previous_key_ids):
                self._outside.history.destroy_tombstone(key_id)
        after = replace(
            row,
            state=State.REVOKED,
            because=request.reason or "revoked",
            revoked_on=row.revoked_on or request.today,
            revoked_by=row.revoked_by or request.sender,
            warned_on=None,
            disable_on=None,
            park_on=None,
            purge_on=None,
            new_key_id=None,
            claim=None,
        )
        self._make_answers_final(row)
        return self._answer(task, REVOKED, row, after)

    def _end_what_makes_it(self, row: Row) -> None:
        """Answers the requests for which this key was made and not delivered: they are over with it.

        Before it is deleted, so that no run takes one up and makes the key again. Raises Busy while
        another run is at work on one.
        """
        register, run = self._outside.register, self._desk.run
        for name, asked in register.requests(row.request_ids).items():
            if asked.status in FINAL:
                continue
            held = asked.held_until is not None and asked.held_until > run.now()
            if held and asked.holder != run.holder:
                raise Busy(f"request {name}")
            tier = self._desk.policy.tiers.get(row.tier)
            detail: dict[str, object] = {
                "version": VERSION,
                "request_id": name.partition(" ")[0],
                "requested_by": asked.sender,
                "key_id": row.key_id,
                "owner": row.owner,
                "tier": row.tier,
                "contact": tier.contact if tier else None,
                "name": row.name,
                "reason": "revoked since",
            }
            after = replace(
                asked,
                status=Status.ANSWERED,
                holder=None,
                held_until=None,
                detail_type=REVOKED,
                detail=detail,
                grant=None,
            )
            told = self._desk.announcement(asked, REVOKED, detail)
            if register.commit([RequestChange(asked, after, announcements=(told,))])[0] is None:
                raise Busy(f"request {name}")

    def _make_answers_final(self, row: Row) -> None:
        """Takes the sealed value out of every answer that carries it; they tell of the end instead."""
        register = self._outside.register
        waiting = {one.announcement_id for one in self._outside.ledger.unsent()}
        for request_id, asked in register.requests(row.request_ids).items():
            if asked.status is not Status.ANSWERED:
                continue
            detail = {name: value for name, value in asked.detail.items() if name in KEPT}
            detail |= {"key_id": row.key_id, "reason": "revoked since"}
            after = replace(asked, detail_type=REVOKED, detail=detail, grant=None)
            told = self._desk.announcement(asked, REVOKED, detail)
            # One that waits in the outbox would still carry the value: this takes its place.
            instead = (told,) if told.announcement_id in waiting else ()
            if register.commit([RequestChange(asked, after, announcements=instead)])[0] is None:
                raise Busy(f"request {request_id}")

    # --- restore ----------------------------------------------------------------------------------

    def _restore(self, task: Task) -> RequestChange | None:
        request = task.the_request()
        row = self.look_up(task)
        if row is None or row.state not in (*LIVE_STATES, State.PARKED):
            state = row.state if row else "forgotten"
            revoked = row is not None and row.state is State.REVOKED
            # An earlier run of this request may have built it and died.
            if row is not None and revoked and (built := half_built(row, self._outside)):
                self._outside.gateway.delete(built)
            reason = f"key {request.key_id} is {state}"
            task.refusal = Refusal(Code.NOT_RESTORABLE, reason)
            return None
        if row.state is State.PARKED and row.claim and row.claim.verb is Verb.PURGE:
            reason = f"key {row.key_id} is being revoked, or purged"
            task.refusal = Refusal(Code.NOT_RESTORABLE, reason)
            return None
        if row.state is not State.PARKED:  # an earlier run has done it
            return self._answer(task, RESTORED, row, row, **_as_restored(row))
        told: dict[str, object] = {}

        def tell(live: Row) -> Announcement:
            told.update(answer(RESTORED, request, live, self._desk.policy, **_as_restored(live)))
            return self._desk.announcement(task.the_row(), RESTORED, told)

        try:
            restore(row, request.today, self._outside, self._desk.policy, tell)
        except NotRestorable as err:
            if err.for_now:
                raise
            task.refusal = Refusal(Code.NOT_RESTORABLE, err.reason)
            return None
        except KeysFull as err:
            task.refusal = Refusal(Code.CAPACITY_EXHAUSTED, str(err))
            return None
        task.counted = True
        return self._desk.answer(task, RESTORED, told)

    # --- answering --------------------------------------------------------------------------------

    def _answer(
        self, task: Task, detail_type: str, before: Row, after: Row, **more: object
    ) -> RequestChange:
        request = task.the_request()
        detail = answer(detail_type, request, after, self._desk.policy, **more)
        rows = () if before == after else (Change(before, after),)
        return self._desk.answer(task, detail_type, detail, *rows)


def _has_a_successor(request: KeyRequest, row: Row) -> Refusal | None:
    """A key whose rotation has ended would be one more than its owner was given."""
    if row.rotated_to is None or row.ends_on is None or row.ends_on > request.today:
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
    renewed = replace(row, renewed_on=max(today, row.renewed_on or today), because="renewed")
    if row.ends_on is not None and row.ends_on > today:
        if end_is_announced(row):
            return replace(renewed, because=row.because)
    else:
        renewed = replace(renewed, ends_on=None)
    return replace(
        renewed,
        state=State.ACTIVE,
        warned_on=None,
        disable_on=None,
        park_on=None,
    )


def _as_restored(row: Row) -> dict[str, object]:
    """What only the answer to a restore says: the former id, and what the key came back without."""
    return {
        "previous_key_id": row.previous_key_ids[-1] if row.previous_key_ids else None,
        "reason": row.because if row.because.startswith(WITHOUT) else None,
    }


def _no_more(row: Row) -> Refusal:
    return Refusal(Code.UNKNOWN_KEY, f"API Gateway has no key {row.key_id} any more")


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
