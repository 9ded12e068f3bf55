"""Carries a plan out, one key after the other: look again, claim, touch, write down, tell."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import assert_never

from aws_lambda_powertools import Logger

from keyjanitor import alerts, bus
from keyjanitor.announcements import announce
from keyjanitor.clock import now
from keyjanitor.decide import disabled_by_us, protection
from keyjanitor.errors import (
    AccessDenied,
    CallFailed,
    ClaimLost,
    Held,
    KeyjanitorError,
    KeysFull,
    NotRestorable,
    TombstoneClosed,
    UnexpectedAnswer,
)
from keyjanitor.ledger import Change
from keyjanitor.night import Deadline, Outside
from keyjanitor.plan import (
    Adopt,
    Disable,
    Enable,
    Note,
    Park,
    Plan,
    Purge,
    Step,
    Warn,
    key_id_of,
    verb_of,
)
from keyjanitor.policy import BoundPolicy
from keyjanitor.restore import restore
from keyjanitor.seal import tombstone_context
from keyjanitor.transitions import adopted, disabled, enabled, noted, parked, warned
from keyjanitor.words import (
    DAY,
    Announcement,
    ApiKey,
    Claim,
    Row,
    State,
    Tombstone,
    Verb,
)

WARNINGS_AT_ONCE = 40
FAILURES_BORNE = 5  # keys in a row that may fail before the run does: some must not stop all others

logger = Logger(child=True)


@dataclass(slots=True)
class Outcome:
    """What a run did: keys by verb, what its deadline left over, why it was stopped, if it was."""

    applied: Counter[Verb] = field(default_factory=Counter)
    remaining: int = 0
    held: str | None = None
    unopened: int = 0  # tombstones that could not be opened
    failed: list[str] = field(default_factory=list)  # keys whose step failed and was left

    @property
    def counts(self) -> dict[str, int]:
        return {str(verb): self.applied[verb] for verb in Verb}


class Sweeper:
    """Carries out what was decided for one date. Every step may be cut off, and is taken up again."""

    def __init__(
        self,
        today: date,
        rows: Mapping[str, Row],
        outside: Outside,
        bound: BoundPolicy,
        deadline: Deadline,
    ) -> None:
        self._today = today
        self._rows = dict(rows)
        self._outside = outside
        self._bound = bound
        self._deadline = deadline
        self._failed_in_a_row = 0
        self.outcome = Outcome()

    def apply(self, plan: Plan) -> Outcome:
        """Carries a plan out until it is done, the deadline comes, or an operator holds."""
        steps = iter(plan.steps)
        left = len(plan.steps)
        try:
            self._note(plan.notes)
            for batch in _warnings(plan.steps):
                if self._deadline.passed():
                    break
                self._warn(batch)
                left -= len(batch)
            else:
                self.announce_warnings()
            self.send()
            for step in steps:
                if isinstance(step, Warn):
                    continue
                if self._deadline.passed():
                    break
                self._guarded(step)
                left -= 1
        except Held as err:
            self.outcome.held = err.why
        self.outcome.remaining = left
        self.send()
        return self.outcome

    def undo(self, day: date, key_ids: frozenset[str] | None) -> Outcome:
        """Enables and restores what the sweeps of a date disabled and parked (or the named of it)."""
        live = [
            row
            for row in self._rows.values()
            if row.state is State.DISABLED and row.disabled_on == day
        ]
        shelved = self._outside.ledger.shelf_of(day)
        rows = [row for row in (*live, *shelved) if key_ids is None or row.key_id in key_ids]
        for index, row in enumerate(rows):
            if self._deadline.passed():
                self.outcome.remaining = len(rows) - index
                break
            if row.state is State.PARKED:
                self._restore(row)
                continue
            try:
                self._enable(row)
            except (ClaimLost, CallFailed, UnexpectedAnswer) as err:
                logger.error("key %s was not enabled: %s", row.key_id, err)
                self.outcome.failed.append(row.key_id)
        self.send()
        return self.outcome

    # --- what only the ledger learns --------------------------------------------------------------

    def _note(self, notes: Sequence[Note]) -> None:
        changes: dict[str, Change] = {}
        for note in notes:
            change = self._changed(note, changes)
            changes[change.after.key_id] = change
        written = self._outside.ledger.commit(changes.values(), unless_held=True)
        new = {note.key.key_id for note in notes if isinstance(note, Adopt)}
        self.outcome.applied[Verb.ADOPT] += sum(row.key_id in new for row in written)
        self._rows.update({row.key_id: row for row in written})

    def _changed(self, note: Note, changes: dict[str, Change]) -> Change:
        """The change that a note asks for, on top of what another note of the key has asked."""
        if isinstance(note, Adopt):
            return Change(None, adopted(note, self._today))
        earlier = changes.get(note.row.key_id)
        return Change(note.row, noted(note, earlier.after if earlier else note.row, self._today))

    def _warn(self, batch: Sequence[Warn]) -> None:
        changes: list[Change] = []
        for step in batch:
            row = self._rows.get(step.key.key_id)
            if row is None:
                continue  # somebody else adopted it just now: the next night knows it
            after = warned(step, row, self._today)
            changes.append(Change(row, after, (self._announcement(after),)))
        written = self._outside.ledger.commit(changes, unless_held=True)
        self.outcome.applied[Verb.WARN] += len(written)
        self._rows.update({row.key_id: row for row in written})

    # --- what API Gateway learns ------------------------------------------------------------------

    def _guarded(self, step: Step) -> None:
        """One step; a key whose step fails is left as it is, unless too many fail."""
        try:
            match step:
                case Disable():
                    self._disable(step)
                case Park():
                    self._park(step)
                case Purge():
                    self._purge(step)
                case Enable():
                    self._enable(self._rows[step.key.key_id])
                case Warn():
                    raise AssertionError("warnings are given in batches")
                case _:
                    assert_never(step)
        except ClaimLost as err:
            logger.info(str(err))
        except (CallFailed, UnexpectedAnswer) as err:
            key_id = key_id_of(step)
            logger.error("key %s was left alone (%s): %s", key_id, verb_of(step), err)
            self.outcome.failed.append(key_id)
            self._failed_in_a_row += 1
            if self._failed_in_a_row > FAILURES_BORNE:
                raise
        else:
            self._failed_in_a_row = 0

    def finish_restores(self, rows: Sequence[Row]) -> None:
        """Brings to an end the restores that a run which died has begun."""
        for row in rows:
            self._restore(row)

    def _restore(self, row: Row) -> None:
        try:
            restore(row, self._today, self._outside, self._bound.policy)
        except (NotRestorable, KeysFull, ClaimLost, CallFailed, UnexpectedAnswer) as err:
            logger.error("key %s was not restored: %s", row.key_id, err)
            self.outcome.failed.append(row.key_id)
        else:
            self.outcome.applied[Verb.RESTORE] += 1

    def _disable(self, step: Disable) -> None:
        row = self._rows[step.key.key_id]
        if not self._may_touch(step, self._outside.gateway.key(row.key_id), row):
            return
        row = self._claim(replace(row, because=str(step.because)), Verb.DISABLE, row)
        updated = self._outside.gateway.set_enabled(row.key_id, enabled=False)
        if updated is None:
            self._finish(row, replace(row, claim=None))  # deleted by somebody in this moment
            return
        touched = replace(step.key, enabled=False, last_updated_date=updated)
        self._finish(row, disabled(row, self._today, self._bound, touched), Verb.DISABLE)

    def _park(self, step: Park) -> None:
        row = self._rows[step.key.key_id]
        found = self._outside.gateway.key_with_value(row.key_id)
        key = found[0] if found else None
        if found is None or key is None or not self._may_touch(step, key, row):
            return
        value = found[1]
        row = self._claim(
            replace(
                row,
                because=str(step.because),
                last_used=step.last_used,
                usage_plan_ids=step.usage_plan_ids,
            ),
            Verb.PARK,
            row,
        )
        try:
            tombstone = Tombstone(
                key_id=row.key_id,
                sealed_value="",
                name=key.name,
                description=key.description,
                customer_id=key.customer_id,
                tags=dict(key.tags or {}),
                usage_plan_ids=step.usage_plan_ids,
                tier=row.tier,
                owner=row.owner,
                enabled=True,  # as it was before we disabled it; what others disabled is not parked
                created_date=key.created_date,
                parked_on=self._today,
                last_used=step.last_used,
            )
            sealed = self._outside.sealer.seal(value, tombstone_context(tombstone))
            tombstone = replace(tombstone, sealed_value=sealed)
            self._outside.history.bury(tombstone, value, self._outside.sealer)
        except (AccessDenied, CallFailed, TombstoneClosed) as err:
            logger.error("key %s was not deleted: %s", row.key_id, err)
            self.outcome.unopened += 1
            self.outcome.failed.append(row.key_id)
            self._finish(row, replace(row, claim=None))
            if self.outcome.unopened > FAILURES_BORNE:
                raise
            return
        self._outside.gateway.delete(row.key_id)
        self._finish(row, parked(row, self._today, self._bound), Verb.PARK)

    def _purge(self, step: Purge) -> None:
        row = self._claim(step.row, Verb.PURGE, step.row)
        self._outside.history.destroy_tombstone(row.key_id)
        gone = replace(row, state=State.PURGED, purged_on=self._today, claim=None)
        self._finish(row, gone, Verb.PURGE)

    def _enable(self, row: Row) -> None:
        key = self._outside.gateway.key(row.key_id)
        if key is None:
            logger.error("key %s is no more, so it is not enabled", row.key_id)
            return
        if not key.enabled and not disabled_by_us(key, row):
            logger.error("key %s was changed since we disabled it; it stays so", row.key_id)
            self.outcome.failed.append(row.key_id)
            return
        claimed = self._claim(row, Verb.ENABLE, row, unless_held=False)
        if not key.enabled:
            updated = self._outside.gateway.set_enabled(row.key_id, enabled=True)
            key = replace(key, enabled=True, last_updated_date=updated or key.last_updated_date)
        self._finish(claimed, enabled(claimed, self._today, key), Verb.ENABLE)

    def _may_touch(self, step: Disable | Park, key: ApiKey | None, row: Row) -> bool:
        """The second look, right before a key is touched: is it still what was judged?"""
        if key is None:
            logger.info("key %s is no more", row.key_id)
            return False
        if (key.enabled, key.last_updated_date) != (
            step.key.enabled,
            step.key.last_updated_date,
        ):
            logger.info("key %s was changed since it was listed; it is left alone", row.key_id)
            return False
        if shield := protection(key, row, self._today, self._bound):
            logger.info("key %s is left alone: %s", row.key_id, shield)
            return False
        try:
            stack = self._outside.owners.stack_of(row.key_id)
        except (AccessDenied, CallFailed) as err:
            logger.error("key %s is left alone, nobody knows whose it is: %s", row.key_id, err)
            return False
        if stack is not None:
            logger.warning("key %s is left alone: stack %s owns it", row.key_id, stack)
            self._outside.ledger.commit([Change(row, replace(row, owned_by=f"stack {stack}"))])
            return False
        return True

    def _claim(self, row: Row, verb: Verb, read: Row, *, unless_held: bool = True) -> Row:
        """Writes into the row what is about to be done; raises ClaimLost and Held."""
        change = Change(read, replace(row, claim=Claim(verb, self._today)))
        return self._outside.ledger.commit_one(change, unless_held=unless_held)

    def _finish(self, claimed: Row, after: Row, verb: Verb | None = None) -> None:
        """Writes down what was done, and with it the event that tells so."""
        announcements = (self._announcement(after),) if verb else ()
        written = self._outside.ledger.commit([Change(claimed, after, announcements)])
        if not written:
            # The claim stands in the row; the next run brings it to an end.
            logger.error("key %s: its row was changed under a claim", claimed.key_id)
            return
        self._rows[claimed.key_id] = written[0]
        if verb:
            self.outcome.applied[verb] += 1

    # --- telling ----------------------------------------------------------------------------------

    def announce_warnings(self) -> None:
        """Publishes each night's warnings as one digest; what could not be is left to the next run."""
        for back in (2, 1, 0):
            day = self._today - DAY * back
            told = [row for row in self._rows.values() if row.warned_on == day]
            if len(told) <= self._outside.ledger.night(day).announced:
                continue
            try:
                self._outside.topic.publish(alerts.expiring(day, told, self._bound.policy))
            except (AccessDenied, CallFailed) as err:
                logger.error(
                    "the digest of the warnings of %s waits for the next run: %s", day, err
                )
                continue
            self._outside.ledger.remember(day, announced=len(told))

    def send(self) -> None:
        """Puts the outbox on the bus; what the bus does not take stays for the next run."""
        for batch in bus.batches(self._outside.ledger.unsent(now())):
            try:
                taken = self._outside.bus.put(batch)
            except KeyjanitorError as err:
                logger.error("%d events and more wait for the next run: %s", len(batch), err)
                return
            self._outside.ledger.sent(taken)
            if len(taken) < len(batch):
                logger.error("%d events were refused and wait", len(batch) - len(taken))

    def _announcement(self, row: Row) -> Announcement:
        return announce(row, self._bound.policy, self._today)


def _warnings(steps: Sequence[Step]) -> Iterator[list[Warn]]:
    warns = [step for step in steps if isinstance(step, Warn)]
    for start in range(0, len(warns), WARNINGS_AT_ONCE):
        yield warns[start : start + WARNINGS_AT_ONCE]
