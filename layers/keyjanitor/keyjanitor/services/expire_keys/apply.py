"""Carries a plan out key by key: look again, claim, touch, write down, announce."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import assert_never

from aws_lambda_powertools import Logger

from keyjanitor.adapters import event_bus as bus
from keyjanitor.adapters.kms import tombstone_context
from keyjanitor.adapters.ledger import Change
from keyjanitor.adapters.system_clock import now
from keyjanitor.domain.expiry import alert_text as alerts
from keyjanitor.domain.expiry.events import announce
from keyjanitor.domain.expiry.notice import as_told_today, digest_days, not_in_a_digest
from keyjanitor.domain.expiry.ownership import disabled_by_us, protection
from keyjanitor.domain.expiry.reasons import StageKeys
from keyjanitor.domain.expiry.sweep_plan import (
    Adopt,
    Disable,
    Enable,
    Forget,
    Note,
    Park,
    Plan,
    Purge,
    Step,
    Warn,
    key_id_of,
    verb_of,
)
from keyjanitor.domain.expiry.transitions import (
    adopted,
    disabled,
    enabled,
    noted,
    parked,
    told_late,
    warned,
)
from keyjanitor.domain.model.keys import ApiKey, Secret, State, Tombstone, Verb
from keyjanitor.domain.model.owners import Stack
from keyjanitor.domain.model.policy import BoundPolicy
from keyjanitor.domain.model.records import Announcement, Claim, Row, was_agreed
from keyjanitor.errors import (
    AccessDenied,
    CallFailed,
    ClaimLost,
    Held,
    KeyjanitorError,
    KeysFull,
    NotRestorable,
    TombstoneClosed,
    TooManyFailed,
    UnexpectedAnswer,
)
from keyjanitor.services.deadline import Deadline
from keyjanitor.services.expire_keys.gather import Outside
from keyjanitor.services.restore import half_built, is_half_built, restore

WARNINGS_AT_ONCE = 40
ENOUGH = 10  # steps, of which more than half have to fail before their run does
ENDS_LATE = timedelta(seconds=5)  # that Lambda may end a run after the time that it told

STEP_FAILURES = (
    AccessDenied,
    CallFailed,
    KeysFull,
    NotRestorable,
    TombstoneClosed,
    UnexpectedAnswer,
)

logger = Logger(child=True)


@dataclass(slots=True)
class Outcome:
    """What a run did: keys by verb, what its deadline left over, why it was stopped, if it was."""

    applied: Counter[Verb] = field(default_factory=Counter)
    remaining: int = 0
    held: str | None = None
    unopened: int = 0  # tombstones that could not be opened
    failed: list[str] = field(default_factory=list)  # keys whose step failed and was left
    left_out: list[str] = field(default_factory=list)  # keys that an undo has to be asked for by id
    left_alone: dict[str, str] = field(default_factory=dict)  # keys that changed meanwhile, and how

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
        clock: Callable[[], datetime] = now,  # which API Gateway's dates follow
    ) -> None:
        self._today = today
        self._rows = dict(rows)
        self._outside = outside
        self._bound = bound
        self._deadline = deadline
        self._clock = clock
        self._tried = 0
        self._failed_steps = 0
        self._last_failure: KeyjanitorError | None = None
        self._touching = False  # whether API Gateway was told to change the key of this step
        self._unclaimed: Row | None = None  # the row of this step's key before it was claimed
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
                self._take(step)
                left -= 1
        except Held as err:
            self.outcome.held = err.why
        except TooManyFailed:
            self.send()
            raise
        self.outcome.remaining = left
        self.send()
        self._judge_failures()
        return self.outcome

    def undo(self, day: date, key_ids: frozenset[str] | None) -> Outcome:
        """Enables and restores what the sweeps of a date disabled and parked (or the named of it).

        Keys whose agreed end it was stay as they are, unless they are named: they were not idle.
        """
        live = [
            row
            for row in self._rows.values()
            if row.state is State.DISABLED and row.disabled_on == day
        ]
        shelved = self._outside.ledger.shelf_of(day)
        rows = [row for row in (*live, *shelved) if key_ids is None or row.key_id in key_ids]
        if key_ids is None:
            self.outcome.left_out = [row.key_id for row in rows if was_agreed(row)]
            rows = [row for row in rows if not was_agreed(row)]
        try:
            for index, row in enumerate(rows):
                if self._deadline.passed():
                    self.outcome.remaining = len(rows) - index
                    break
                self._bring_back(row)
        except TooManyFailed:
            self.send()
            raise
        self.send()
        self._judge_failures()
        return self.outcome

    def _bring_back(self, row: Row) -> None:
        if row.state is State.PARKED:
            self._attempt(Verb.RESTORE, row.key_id, lambda: self._restore(row))
        else:
            self._attempt(Verb.ENABLE, row.key_id, lambda: self._enable(row))

    # --- what only the ledger learns --------------------------------------------------------------

    def _note(self, notes: Sequence[Note]) -> None:
        changes: dict[str, Change] = {}
        for note in notes:
            if isinstance(note, Forget) and not self._is_gone(note.row):
                continue  # the next night asks again
            change = self._changed(note, changes)
            changes[change.after.key_id] = change
        written = self._outside.ledger.commit(changes.values(), unless_held=True)
        new = {note.key.key_id for note in notes if isinstance(note, Adopt)}
        self.outcome.applied[Verb.ADOPT] += sum(row.key_id in new for row in written)
        self._rows.update({row.key_id: row for row in written})

    def _is_gone(self, row: Row) -> bool:
        """Whether API Gateway says that it has no such key: that lists leave it out is no proof."""
        if self._deadline.passed():
            return False
        try:
            key = self._outside.gateway.key(row.key_id)
        except (AccessDenied, CallFailed, UnexpectedAnswer) as err:
            logger.error("key %s is not listed, and could not be asked for: %s", row.key_id, err)
            return False
        if key is not None:
            logger.error("key %s lives, but lists have left it out for a month", row.key_id)
        return key is None

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

    def _take(self, step: Step) -> None:
        """One step; a key whose step fails is left, unless too many fail."""
        verb, key_id = verb_of(step), key_id_of(step)
        match step:
            case Disable():
                self._attempt(verb, key_id, lambda: self._disable(step))
            case Park():
                self._attempt(verb, key_id, lambda: self._park(step))
            case Purge():
                self._rows[key_id] = step.row
                self._attempt(verb, key_id, lambda: self._purge(step))
            case Enable():
                self._attempt(verb, key_id, lambda: self._enable(self._rows[key_id]))
            case Warn():
                raise AssertionError("warnings are given in batches")
            case _:
                assert_never(step)

    def _attempt(self, verb: Verb, key_id: str, act: Callable[[], None]) -> None:
        """One key's step; raises Held, and TooManyFailed as soon as nothing at all goes well."""
        self._touching, self._unclaimed = False, None
        self._tried += 1
        try:
            act()
        except ClaimLost as err:
            logger.info(str(err))
        except STEP_FAILURES as err:
            self._failed_steps += 1
            self._leave(verb, key_id, err)
            if self._failed_steps == self._tried >= ENOUGH:
                raise TooManyFailed(self._failed_steps, self._tried, str(err)) from err
            self._last_failure = err

    def _leave(self, verb: Verb, key_id: str, err: KeyjanitorError) -> None:
        """Names a key whose step failed, and remembers it: it goes last the next night.

        Its claim stays if API Gateway may have carried the call out: the next run asks.
        """
        logger.error("key %s was left alone (%s): %s", key_id, verb, err)
        self.outcome.failed.append(key_id)
        row = self._rows.get(key_id)
        if row is None or verb is Verb.RESTORE:
            return
        denied = isinstance(err, AccessDenied) and verb is not Verb.PURGE
        before = row if self._touching and not denied else self._unclaimed or row
        claim = row.claim if before is row else None
        change = Change(row, replace(before, claim=claim, failed_on=self._today))
        try:
            written = self._outside.ledger.commit([change])
        except (AccessDenied, CallFailed) as worse:
            logger.error("key %s: that it failed could not be written down: %s", key_id, worse)
            return
        self._rows.update({one.key_id: one for one in written})

    def _judge_failures(self) -> None:
        """Raises TooManyFailed if more than half of the run's steps failed, and enough were tried."""
        if self._tried >= ENOUGH and 2 * self._failed_steps > self._tried:
            why = str(self._last_failure)
            raise TooManyFailed(self._failed_steps, self._tried, why) from self._last_failure

    def finish_restores(self, rows: Sequence[Row], plan: Plan) -> None:
        """Brings to an end the restores that a run which died has begun, but for what is purged."""
        purged = {key_id_of(step) for step in plan.steps if isinstance(step, Purge)}
        for row in rows:
            if row.key_id in purged:
                continue
            try:
                self._restore(row)
            except ClaimLost as err:
                logger.info(str(err))
            except STEP_FAILURES as err:
                self._leave(Verb.RESTORE, row.key_id, err)

    def _restore(self, row: Row) -> None:
        restore(row, self._today, self._outside, self._bound.policy)
        self.outcome.applied[Verb.RESTORE] += 1

    def _disable(self, step: Disable) -> None:
        row = self._rows[step.key.key_id]
        if self._is_owned(row):
            return
        claimed = self._claim(replace(row, because=str(step.because)), Verb.DISABLE, row, step.key)
        if why_not := self._why_not(step, self._outside.gateway.key(row.key_id), row):
            self._give_up(row, why_not)
            return
        self._touching = True
        updated = self._outside.gateway.set_enabled(row.key_id, enabled=False)
        if updated is None:
            self._give_up(row, "it is no more")
            return
        touched = replace(step.key, enabled=False, last_updated_date=updated)
        self._finish(claimed, disabled(claimed, self._today, self._bound, touched), Verb.DISABLE)

    def _park(self, step: Park) -> None:
        row = self._rows[step.key.key_id]
        if self._is_owned(row):
            return
        claimed = self._claim(
            replace(
                row,
                because=str(step.because),
                last_used=step.last_used,
                usage_plan_ids=step.usage_plan_ids,
            ),
            Verb.PARK,
            row,
            step.key,
        )
        found = self._outside.gateway.key_with_value(row.key_id)
        key, value = found or (None, None)
        why_not = self._why_not(step, key, row) or self._other_plans(step)
        if key is None or value is None or why_not:
            self._give_up(row, why_not or "it is no more")
            return
        self._bury(step, claimed, key, value)
        self._touching = True
        self._outside.gateway.delete(row.key_id)
        self._finish(claimed, parked(claimed, self._today, self._bound), Verb.PARK)

    def _bury(self, step: Park, row: Row, key: ApiKey, value: Secret) -> None:
        """Writes the tombstone and opens it; raises what KMS and S3 raise, and TombstoneClosed."""
        try:
            tombstone = Tombstone(
                key_id=row.key_id,
                sealed_value="",
                name=key.name,
                description=key.description,
                customer_id=key.customer_id,
                tags=dict(key.tags or {}),
                usage_plan_ids=step.usage_plan_ids,  # which the key is in right now, too
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
        except (AccessDenied, CallFailed, TombstoneClosed):
            self.outcome.unopened += 1
            raise

    def _purge(self, step: Purge) -> None:
        if self._is_nearly_restored(step.row):
            self.outcome.left_alone[step.row.key_id] = "it lives again; its restore goes on"
            return
        row = self._claim(step.row, Verb.PURGE, step.row)
        self._touching = True
        if step.row.claim is not None and step.row.claim.verb is Verb.RESTORE:
            self._clear_away(step.row)
        self._outside.history.destroy_tombstone(row.key_id)
        gone = replace(row, state=State.PURGED, purged_on=self._today, failed_on=None, claim=None)
        self._finish(row, gone, Verb.PURGE)

    def _is_nearly_restored(self, row: Row) -> bool:
        """Whether a restore that did not come to its end has already enabled the key."""
        if row.new_key_id is None or row.claim is None or row.claim.verb is not Verb.RESTORE:
            return False
        key = self._outside.gateway.key(row.new_key_id)
        return key is not None and not is_half_built(key)

    def _clear_away(self, row: Row) -> None:
        """Deletes what a restore that never ended has built: it is disabled, under its marker name."""
        if built := half_built(row, self._outside):
            self._outside.gateway.delete(built)

    def _enable(self, row: Row, *, unless_held: bool = False) -> None:
        claimed = self._claim(row, Verb.ENABLE, row, unless_held=unless_held)
        key = self._outside.gateway.key(row.key_id)
        if key is None:
            self._give_up(row, "it is no more")
            return
        if not key.enabled and not disabled_by_us(key, row):
            self._give_up(row, "it was changed since we disabled it; it stays disabled")
            self.outcome.failed.append(row.key_id)
            return
        if not key.enabled:
            self._touching = True
            updated = self._outside.gateway.set_enabled(row.key_id, enabled=True)
            key = replace(key, enabled=True, last_updated_date=updated or key.last_updated_date)
        self._finish(claimed, enabled(claimed, self._today, key), Verb.ENABLE)

    def _is_owned(self, row: Row) -> bool:
        """Asks CloudFormation about the key right before it is touched; an owner is written down."""
        stack = self._outside.owners.stack_of(row.key_id)
        if stack is None:
            return False
        logger.warning("key %s is left alone: stack %s owns it", row.key_id, stack)
        self._outside.ledger.commit([Change(row, replace(row, owned_by=Stack(stack)))])
        self.outcome.left_alone[row.key_id] = f"stack {stack} owns it"
        return True

    def _why_not(self, step: Disable | Park, key: ApiKey | None, row: Row) -> str | None:
        """The second look: why the key is not what was judged any more, or None.

        Between this look and the call that touches the key lies nothing else, for API Gateway takes
        no condition.
        """
        if key is None:
            return "it is no more"
        judged = step.key.enabled, step.key.last_updated_date
        if (key.enabled, key.last_updated_date) != judged:
            return "it was changed since it was listed"
        if shield := protection(key, row, self._today, self._bound):
            return str(shield)
        if isinstance(step, Park) and key.stage_keys:
            return str(StageKeys())
        return None

    def _other_plans(self, step: Park) -> str | None:
        """Whether the key is in other usage plans than were judged, and would come back into those.

        A change of plans shows in no date of the key. An empty answer proves nothing either: of a
        key that was in plans it is another answer, of one that was in none it is the same twice.
        """
        plans = self._outside.gateway.plans_of(step.key.key_id)
        if set(plans) == set(step.usage_plan_ids):
            return None
        return "its usage plans are not those that were read tonight"

    # --- claims -----------------------------------------------------------------------------------

    def _claim(
        self,
        row: Row,
        verb: Verb,
        read: Row,
        judged: ApiKey | None = None,
        *,
        unless_held: bool = True,
    ) -> Row:
        """Writes into the row what is about to be done, and what was seen; raises ClaimLost, Held.

        The look at the key comes after it: what others do to the key before is seen there.
        """
        at = self._clock()
        claim = Claim(
            verb,
            self._today,
            at,
            at + timedelta(milliseconds=self._deadline.remaining_ms()) + ENDS_LATE,
            judged.enabled if judged else None,
            judged.last_updated_date if judged else None,
        )
        change = Change(read, replace(row, claim=claim))
        claimed = self._outside.ledger.commit_one(change, unless_held=unless_held)
        self._unclaimed = read
        self._rows[row.key_id] = claimed
        return claimed

    def _give_up(self, row: Row, why: str) -> None:
        """Takes a claim back: the key was not touched, and is left alone."""
        logger.info("key %s is left alone: %s", row.key_id, why)
        self.outcome.left_alone[row.key_id] = why
        self._finish(self._rows[row.key_id], replace(row, claim=None))

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
        """Publishes the warnings of each night as one digest, until every warned key was in one.

        What is told late gives its notice from today. First the rows say so, then the night is told:
        a run that dies in between tells it again.
        """
        rows = self._rows
        nights = self._outside.ledger.nights_of(digest_days(rows.values()))
        for day, unnamed in sorted(not_in_a_digest(rows.values(), nights).items()):
            told = [told_late(row, self._today) if day < self._today else row for row in unnamed]
            try:
                self._outside.topic.publish(
                    alerts.expiring(day, told, self._bound.policy, told_on=self._today)
                )
            except (AccessDenied, CallFailed) as err:
                logger.error(
                    "the digest of the warnings of %s waits for the next run: %s", day, err
                )
                continue
            moved = self._write_told(zip(unnamed, told, strict=True))
            before = nights[day].told if day in nights else ()
            self._outside.ledger.remember(day, told=tuple(sorted({*before, *moved})))

    def _write_told(self, pairs: Iterable[tuple[Row, Row]]) -> set[str]:
        """Writes the dates that were told; gives the keys whose rows now say what was told."""
        pairs = list(pairs)
        written = self._outside.ledger.commit(
            Change(row, after) for row, after in pairs if after != row
        )
        self._rows.update({row.key_id: row for row in written})
        return {row.key_id for row in written} | {
            row.key_id for row, after in pairs if after == row
        }

    def send(self) -> None:
        """Puts the outbox on the bus; what the bus does not take stays for the next run.

        An event that is told late says the date that is true by then, and takes its row along.
        """
        for waiting in bus.batches(self._outside.ledger.unsent(now())):
            moves: dict[str, tuple[Row, Row]] = {}
            batch: list[Announcement] = []
            for one in waiting:
                row = self._rows.get(str(one.detail.get("key_id")))
                told, after = as_told_today(one, row, self._today)
                if told is None:
                    logger.info("event %s tells of nothing any more", one.announcement_id)
                    self._outside.ledger.sent([one])
                    continue
                batch.append(told)
                if row is not None and after is not None:
                    moves[one.announcement_id] = row, after
            try:
                taken = self._outside.bus.put(batch) if batch else []
            except KeyjanitorError as err:
                logger.error("%d events and more wait for the next run: %s", len(batch), err)
                return
            self._outside.ledger.sent([one for one in taken if one.announcement_id not in moves])
            self._write_late(taken, moves)
            if len(taken) < len(batch):
                logger.error("%d events were refused and wait", len(batch) - len(taken))

    def _write_late(
        self, taken: Iterable[Announcement], moves: Mapping[str, tuple[Row, Row]]
    ) -> None:
        """Takes events that were told late out of the outbox, each with the date that its row has now.

        Has somebody changed the row meanwhile, its event waits and is told again.
        """
        late: dict[str, Change] = {}
        for one in taken:
            if one.announcement_id in moves:
                row, after = moves[one.announcement_id]
                others = late[row.key_id].taken if row.key_id in late else ()
                late[row.key_id] = Change(row, after, taken=(*others, one))
        written = self._outside.ledger.commit(late.values())
        self._rows.update({row.key_id: row for row in written})

    def _announcement(self, row: Row) -> Announcement:
        return announce(row, self._bound.policy, self._today)


def _warnings(steps: Sequence[Step]) -> Iterator[list[Warn]]:
    warns = [step for step in steps if isinstance(step, Warn)]
    for start in range(0, len(warns), WARNINGS_AT_ONCE):
        yield warns[start : start + WARNINGS_AT_ONCE]
