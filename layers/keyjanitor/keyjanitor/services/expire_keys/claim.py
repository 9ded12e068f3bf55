"""Writes into a key's row the action that is about to follow, and then its result."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from aws_lambda_powertools import Logger

from keyjanitor.adapters.ledger import Change
from keyjanitor.domain.model.keys import ApiKey, SweepAction
from keyjanitor.domain.model.records import Claim, Row
from keyjanitor.services.expire_keys.sweep_state import SweepState

ENDS_LATE = timedelta(seconds=5)  # that Lambda may end a run after the time that it told

logger = Logger(child=True)


class Claims:
    """The claims of one sweep, of which one at a time is open.

    `touching`: API Gateway was told to change the key of this step. `unclaimed` is the row of this
    step's key before it was claimed. `clock` is what API Gateway's dates follow.
    """

    def __init__(self, sweep: SweepState, clock: Callable[[], datetime]) -> None:
        self._sweep = sweep
        self._clock = clock
        self.touching = False
        self.unclaimed: Row | None = None

    def begin(self) -> None:
        """A new step begins: nothing is claimed or touched in it yet."""
        self.touching, self.unclaimed = False, None

    def claim(
        self,
        row: Row,
        action: SweepAction,
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
            action,
            self._sweep.today,
            at,
            at + timedelta(milliseconds=self._sweep.deadline.remaining_ms()) + ENDS_LATE,
            judged.enabled if judged else None,
            judged.last_updated_date if judged else None,
        )
        change = Change(read, replace(row, claim=claim))
        claimed = self._sweep.adapters.ledger.commit_one(change, unless_held=unless_held)
        self.unclaimed = read
        self._sweep.rows[row.key_id] = claimed
        return claimed

    def give_up(self, row: Row, why: str) -> None:
        """Takes a claim back: the key was not touched, and is left alone."""
        logger.info("key %s is left alone: %s", row.key_id, why)
        self._sweep.outcome.left_alone[row.key_id] = why
        self.finish(self._sweep.rows[row.key_id], replace(row, claim=None))

    def finish(self, claimed: Row, after: Row, action: SweepAction | None = None) -> None:
        """Writes down what was done, and with it the event that tells so."""
        announcements = (self._sweep.event(after),) if action else ()
        written = self._sweep.commit([Change(claimed, after, announcements)])
        if not written:
            # The claim stays in the row; the next run settles it.
            logger.error("key %s: its row was changed under a claim", claimed.key_id)
            return
        if action:
            self._sweep.outcome.add(action, claimed.key_id)
