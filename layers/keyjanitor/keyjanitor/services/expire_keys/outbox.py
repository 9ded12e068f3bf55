"""Publishes the digest of a sweep's warnings, and the events of its steps."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from aws_lambda_powertools import Logger

from keyjanitor.adapters import event_bus as bus
from keyjanitor.adapters.ledger import Change
from keyjanitor.adapters.system_clock import now
from keyjanitor.domain.expiry import alert_text as alerts
from keyjanitor.domain.expiry.called import CalledKey
from keyjanitor.domain.expiry.events import announce_calls
from keyjanitor.domain.expiry.notice import (
    as_told_today,
    digest_days,
    not_in_a_digest,
    written_on,
)
from keyjanitor.domain.expiry.transitions import told_late
from keyjanitor.domain.model.records import PARKED, Announcement, Row
from keyjanitor.errors import AccessDenied, CallFailed, KeyjanitorError
from keyjanitor.services.expire_keys.sweep_state import SweepState

logger = Logger(child=True)


class Outbox:
    """Sends the events that wait in the ledger; one that cannot be sent waits for the next run."""

    def __init__(self, sweep: SweepState) -> None:
        self._sweep = sweep
        self._today, self._adapters = sweep.today, sweep.adapters
        self._called: list[CalledKey] = []  # announced, and not yet in a digest

    def announce_calls(self, called: Sequence[CalledKey]) -> None:
        """Writes the event of each disabled key that is called, once a date, for the next digest."""
        known = self._adapters.ledger.night(self._today).called if called else ()
        new = [one for one in called if one.key.key_id not in known]
        rows = [(one, row) for one in new if (row := self._sweep.rows.get(one.key.key_id))]
        policy, today = self._sweep.bound.policy, self._today
        changes = [
            Change(row, row, (announce_calls(one, row, policy, today),)) for one, row in rows
        ]
        written = {row.key_id for row in self._sweep.commit(changes)}
        self._called = [one for one, row in rows if row.key_id in written]

    def announce_warnings(self) -> None:
        """Publishes the warnings of each night as one digest, until every warned key was in one.

        Tonight's digest names the disabled keys that are called, too.

        What is told late gives its notice from today. First the rows say so, then the night is told:
        a run that dies in between tells it again.
        """
        rows = self._sweep.rows
        nights = self._adapters.ledger.nights_of(digest_days(rows.values()))
        unnamed_on = not_in_a_digest(rows.values(), nights)
        if self._called:
            unnamed_on.setdefault(self._today, [])
        for day, unnamed in sorted(unnamed_on.items()):
            told = [told_late(row, self._today) if day < self._today else row for row in unnamed]
            if not self._publish(day, told):
                continue
            if not unnamed:
                continue
            moved = self._write_told(zip(unnamed, told, strict=True))
            before = nights[day].told if day in nights else ()
            self._adapters.ledger.remember(day, told=tuple(sorted({*before, *moved})))

    def _publish(self, day: date, told: Sequence[Row]) -> bool:
        """Publishes a date's digest; False if it waits for the next run."""
        called = self._called if day == self._today else []
        policy = self._sweep.bound.policy
        try:
            draft = alerts.expiring(day, told, policy, told_on=self._today, called=called)
            self._adapters.topic.publish(draft.at(self._adapters.topic.place))
        except (AccessDenied, CallFailed) as err:
            logger.error("the digest of the warnings of %s waits for the next run: %s", day, err)
            return False
        if called:
            known = self._adapters.ledger.night(day).called
            ids = {one.key.key_id for one in called}
            self._adapters.ledger.remember(day, called=tuple(sorted({*known, *ids})))
        return True

    def _write_told(self, pairs: Iterable[tuple[Row, Row]]) -> set[str]:
        """Writes the dates that were told; gives the keys whose rows now say what was told."""
        pairs = list(pairs)
        written = self._sweep.commit(Change(row, after) for row, after in pairs if after != row)
        return {row.key_id for row in written} | {
            row.key_id for row, after in pairs if after == row
        }

    def send(self) -> None:
        """Puts the outbox on the bus; what the bus does not take stays for the next run.

        An event that is told late says the date that is true by then, and takes its row along.
        """
        for waiting in bus.batches(self._adapters.ledger.unsent(now())):
            moves: dict[str, tuple[Row, Row]] = {}
            batch: list[Announcement] = []
            for one in waiting:
                row = self._row_of(one)
                told, after = as_told_today(one, row, self._today)
                if told is None:
                    logger.info("event %s is out of date and is dropped", one.announcement_id)
                    self._adapters.ledger.sent([one])
                    continue
                batch.append(told)
                if row is not None and after is not None:
                    moves[one.announcement_id] = row, after
            try:
                taken = self._adapters.bus.put(batch) if batch else []
            except KeyjanitorError as err:
                logger.error("%d events and more wait for the next run: %s", len(batch), err)
                return
            self._adapters.ledger.sent([one for one in taken if one.announcement_id not in moves])
            self._write_late(taken, moves)
            if len(taken) < len(batch):
                logger.error("%d events were refused and wait", len(batch) - len(taken))

    def _row_of(self, event: Announcement) -> Row | None:
        """The row of an event's key; of a key that was parked on a date before it is read now."""
        key_id = str(event.detail.get("key_id"))
        row = self._sweep.rows.get(key_id)
        if row is None and event.detail_type == PARKED and written_on(event) != self._today:
            row = self._adapters.ledger.row_of_any(key_id)
            return row if row is not None and row.key_id == key_id else None
        return row

    def _write_late(
        self, taken: Iterable[Announcement], moves: Mapping[str, tuple[Row, Row]]
    ) -> None:
        """Takes events that were told late out of the outbox, each with the date that its row has now.

        If another run has changed the row meanwhile, the event waits and is sent again.
        """
        late: dict[str, Change] = {}
        for one in taken:
            if one.announcement_id in moves:
                row, after = moves[one.announcement_id]
                others = late[row.key_id].taken if row.key_id in late else ()
                late[row.key_id] = Change(row, after, taken=(*others, one))
        self._sweep.commit(late.values())
