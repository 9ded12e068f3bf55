"""Carries a plan out key by key: look again, claim, touch, write down, announce."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import assert_never

from aws_lambda_powertools import Logger

from keyjanitor.adapters.ledger import Change
from keyjanitor.adapters.system_clock import now
from keyjanitor.domain.expiry.called import CalledKey
from keyjanitor.domain.expiry.sweep_plan import (
    Disable,
    Enable,
    Park,
    Purge,
    Step,
    SweepPlan,
    Warn,
    action_of,
    key_id_of,
)
from keyjanitor.domain.model.keys import State, SweepAction
from keyjanitor.domain.model.policy import BoundPolicy
from keyjanitor.domain.model.records import Row, was_agreed
from keyjanitor.errors import (
    AccessDenied,
    AccountFull,
    CallFailed,
    ClaimLost,
    Held,
    KeyjanitorError,
    NotRestorable,
    TombstoneUnreadable,
    TooManyFailed,
    UnexpectedAnswer,
)
from keyjanitor.services.deadline import Deadline
from keyjanitor.services.expire_keys.claim import Claims
from keyjanitor.services.expire_keys.gather import Adapters
from keyjanitor.services.expire_keys.note import Notes, warnings
from keyjanitor.services.expire_keys.outbox import Outbox
from keyjanitor.services.expire_keys.sweep_state import Outcome, SweepState
from keyjanitor.services.expire_keys.touch import Steps

ENOUGH = 10  # steps, of which more than half have to fail before their run does

STEP_FAILURES = (
    AccessDenied,
    CallFailed,
    AccountFull,
    NotRestorable,
    TombstoneUnreadable,
    UnexpectedAnswer,
)

logger = Logger(child=True)


class Sweeper:
    """Carries out what was decided for one date. Every step may be cut off, and is taken up again.

    `clock` is what API Gateway's dates follow.
    """

    def __init__(
        self,
        today: date,
        rows: Mapping[str, Row],
        adapters: Adapters,
        bound: BoundPolicy,
        deadline: Deadline,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._sweep = SweepState(today, dict(rows), adapters, bound, deadline)
        self._claims = Claims(self._sweep, clock)
        self._steps = Steps(self._sweep, self._claims)
        self._notes = Notes(self._sweep)
        self._outbox = Outbox(self._sweep)
        self._tried = 0
        self._failed_steps = 0
        self._last_failure: KeyjanitorError | None = None
        self.outcome = self._sweep.outcome

    def apply(self, plan: SweepPlan, called: Sequence[CalledKey] = ()) -> Outcome:
        """Carries a plan out until it is done, the deadline comes, or an operator holds.

        `called` are the disabled keys that access logs show: the night's digest names them.
        """
        steps = iter(plan.steps)
        left = len(plan.steps)
        self._notes.tags_are_listed = plan.tags_are_listed
        try:
            self._notes.note(plan.notes)
            self._outbox.announce_calls(called)
            for batch in warnings(plan.steps):
                if self._sweep.deadline.passed():
                    break
                self._notes.warn(batch)
                left -= len(batch)
            else:
                self._outbox.announce_warnings()
            self._outbox.send()
            for step in steps:
                if isinstance(step, Warn):
                    continue
                if self._sweep.deadline.passed():
                    break
                self._take(step)
                left -= 1
        except Held as err:
            self.outcome.held = err.why
        except TooManyFailed:
            self._outbox.send()
            raise
        self.outcome.remaining = left
        self._outbox.send()
        self._judge_failures()
        return self.outcome

    def undo(self, day: date, key_ids: frozenset[str] | None) -> Outcome:
        """Enables and restores what the sweeps of a date disabled and parked (or the named of it).

        Keys whose agreed end it was stay as they are, unless they are named: they were not idle.
        """
        live = [
            row
            for row in self._sweep.rows.values()
            if row.state is State.DISABLED and row.disabled_on == day
        ]
        shelved = self._sweep.adapters.ledger.parked_on_sweep(day)
        rows = [row for row in (*live, *shelved) if key_ids is None or row.key_id in key_ids]
        if key_ids is None:
            self.outcome.left_out = [row.key_id for row in rows if was_agreed(row)]
            rows = [row for row in rows if not was_agreed(row)]
        try:
            for index, row in enumerate(rows):
                if self._sweep.deadline.passed():
                    self.outcome.remaining = len(rows) - index
                    break
                self._bring_back(row)
        except TooManyFailed:
            self._outbox.send()
            raise
        self._outbox.send()
        self._judge_failures()
        return self.outcome

    def _bring_back(self, row: Row) -> None:
        if row.state is State.PARKED:
            self._attempt(SweepAction.RESTORE, row.key_id, lambda: self._steps.restore(row))
        else:
            self._attempt(SweepAction.ENABLE, row.key_id, lambda: self._steps.enable(row))

    def _take(self, step: Step) -> None:
        """One step; a key whose step fails is left, unless too many fail."""
        action, key_id = action_of(step), key_id_of(step)
        match step:
            case Disable():
                self._attempt(action, key_id, lambda: self._steps.disable(step))
            case Park():
                self._attempt(action, key_id, lambda: self._steps.park(step))
            case Purge():
                self._sweep.rows[key_id] = step.row
                self._attempt(action, key_id, lambda: self._steps.purge(step))
            case Enable():
                self._attempt(action, key_id, lambda: self._steps.enable(self._sweep.rows[key_id]))
            case Warn():
                raise AssertionError("warnings are given in batches")
            case _:
                assert_never(step)

    def _attempt(self, action: SweepAction, key_id: str, act: Callable[[], None]) -> None:
        """One key's step; raises Held, and TooManyFailed as soon as nothing at all goes well."""
        self._claims.begin()
        self._tried += 1
        try:
            act()
        except ClaimLost as err:
            logger.info(str(err))
        except STEP_FAILURES as err:
            self._failed_steps += 1
            self._leave(action, key_id, err)
            if self._failed_steps == self._tried >= ENOUGH:
                raise TooManyFailed(self._failed_steps, self._tried, str(err)) from err
            self._last_failure = err

    def _leave(self, action: SweepAction, key_id: str, err: KeyjanitorError) -> None:
        """Names a key whose step failed, and remembers it: it goes last the next night.

        Its claim stays if API Gateway may have carried the call out: the next run asks.
        """
        logger.error("key %s was left alone (%s): %s", key_id, action, err)
        self.outcome.failed.append(key_id)
        row = self._sweep.rows.get(key_id)
        if row is None or action is SweepAction.RESTORE:
            return
        denied = isinstance(err, AccessDenied) and action is not SweepAction.PURGE
        before = row if self._claims.touching and not denied else self._claims.unclaimed or row
        claim = row.claim if before is row else None
        change = Change(row, replace(before, claim=claim, failed_on=self._sweep.today))
        try:
            self._sweep.commit([change])
        except (AccessDenied, CallFailed) as worse:
            logger.error("key %s: that it failed could not be written down: %s", key_id, worse)

    def _judge_failures(self) -> None:
        """Raises TooManyFailed if more than half of the run's steps failed, and enough were tried."""
        if self._tried >= ENOUGH and 2 * self._failed_steps > self._tried:
            why = str(self._last_failure)
            raise TooManyFailed(self._failed_steps, self._tried, why) from self._last_failure

    def finish_restores(self, rows: Sequence[Row], plan: SweepPlan) -> None:
        """Brings to an end the restores that a run which died has begun, but for what is purged."""
        purged = {key_id_of(step) for step in plan.steps if isinstance(step, Purge)}
        for row in rows:
            if row.key_id in purged:
                continue
            try:
                self._steps.restore(row)
            except ClaimLost as err:
                logger.info(str(err))
            except STEP_FAILURES as err:
                self._leave(SweepAction.RESTORE, row.key_id, err)
