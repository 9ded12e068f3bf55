"""Writes a sweep's notes, and its warnings with their events, into the ledger."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from aws_lambda_powertools import Logger

from keyjanitor.adapters.ledger import Change
from keyjanitor.domain.expiry.ownership import protection
from keyjanitor.domain.expiry.sweep_plan import Adopt, Forget, Note, Step, Warn
from keyjanitor.domain.expiry.transitions import adopted, noted, warned
from keyjanitor.domain.model.keys import SweepAction
from keyjanitor.domain.model.records import Row
from keyjanitor.errors import AccessDenied, CallFailed, UnexpectedAnswer
from keyjanitor.services.expire_keys.sweep_state import SweepState

WARNINGS_AT_ONCE = 40

logger = Logger(child=True)


class Notes:
    """Writes notes and warnings; raises Held as the ledger does."""

    def __init__(self, sweep: SweepState) -> None:
        self._sweep = sweep
        self.tags_are_listed = True  # False: the tagging API listed no key at all

    def note(self, notes: Sequence[Note]) -> None:
        changes: dict[str, Change] = {}
        for note in notes:
            if isinstance(note, Forget) and not self._is_gone(note.row):
                continue  # the next night asks again
            change = self._changed(note, changes)
            changes[change.after.key_id] = change
        written = self._sweep.commit(changes.values(), unless_held=True)
        new = {note.key.key_id for note in notes if isinstance(note, Adopt)}
        self._sweep.outcome.applied[SweepAction.ADOPT] += sum(row.key_id in new for row in written)

    def _is_gone(self, row: Row) -> bool:
        """True if GetApiKey answers that there is no such key; a list without it proves nothing."""
        if self._sweep.deadline.passed():
            return False
        try:
            key = self._sweep.adapters.gateway.key(row.key_id)
        except (AccessDenied, CallFailed, UnexpectedAnswer) as err:
            logger.error("key %s is not listed, and could not be asked for: %s", row.key_id, err)
            return False
        if key is not None:
            logger.error("key %s lives, but lists have left it out for a month", row.key_id)
        return key is None

    def _changed(self, note: Note, changes: dict[str, Change]) -> Change:
        """The change that a note asks for, on top of what another note of the key has asked."""
        if isinstance(note, Adopt):
            return Change(None, adopted(note, self._sweep.today))
        earlier = changes.get(note.row.key_id)
        return Change(
            note.row, noted(note, earlier.after if earlier else note.row, self._sweep.today)
        )

    def warn(self, batch: Sequence[Warn]) -> None:
        changes: list[Change] = []
        for step in batch:
            row = self._sweep.rows.get(step.key.key_id)
            if row is None:
                continue  # another run adopted it just now: the next night warns about it
            if not self.tags_are_listed and (reason := self._why_not(row)):
                self._sweep.outcome.left_alone[row.key_id] = reason
                continue
            after = warned(step, row, self._sweep.today)
            changes.append(Change(row, after, (self._sweep.event(after),)))
        written = self._sweep.commit(changes, unless_held=True)
        for row in written:
            self._sweep.outcome.add(SweepAction.WARN, row.key_id)

    def _why_not(self, row: Row) -> str | None:
        """Why a key is not warned about, by its own tags; None: it is.

        A list of tags without any key may be that of an account without tags, or of a Region in which
        the tagging API lists no API keys (believed: AF-411).
        """
        if self._sweep.deadline.passed():
            return "there was no time left to look at its tags"
        try:
            key = self._sweep.adapters.gateway.key(row.key_id)
        except (AccessDenied, CallFailed, UnexpectedAnswer) as err:
            logger.error("the tags of key %s could not be read: %s", row.key_id, err)
            return "its tags could not be read"
        if key is None:
            return "it is no more"
        if key.tags:
            logger.error("the tagging API lists no API key, but key %s has tags", row.key_id)
        shield = protection(
            replace(key, tags=key.tags or {}), row, self._sweep.today, self._sweep.bound
        )
        return str(shield) if shield else None


def warnings(steps: Sequence[Step]) -> Iterator[list[Warn]]:
    """The warnings of a plan, in batches that are written together."""
    warns = [step for step in steps if isinstance(step, Warn)]
    for start in range(0, len(warns), WARNINGS_AT_ONCE):
        yield warns[start : start + WARNINGS_AT_ONCE]
