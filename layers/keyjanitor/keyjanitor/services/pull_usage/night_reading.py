"""The reading of one night, in as many runs as it takes, and what is written down of it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import NamedTuple

from aws_lambda_powertools import Logger

from keyjanitor.adapters import wiring
from keyjanitor.adapters.settings import PullSettings
from keyjanitor.domain.expiry.keys_file import WHOLE_NIGHTS, thinned
from keyjanitor.domain.model.invocation import Invocation
from keyjanitor.domain.model.keys import DAY
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.usage.access_logs import GB
from keyjanitor.domain.usage.answered_range import noted, remembered
from keyjanitor.domain.usage.evidence import Evidence, UsagePlanAnswer, known_ids
from keyjanitor.domain.usage.partial_reading import Partial, from_partial, to_partial
from keyjanitor.domain.usage.plan_usage import USAGE_DAYS
from keyjanitor.domain.usage.reading import take_evidence
from keyjanitor.domain.usage.usage_file import UsageFiles
from keyjanitor.errors import (
    AccessDenied,
    CallFailed,
    EvidenceDamaged,
    KeyjanitorError,
    UnexpectedAnswer,
)
from keyjanitor.services.deadline import Deadline
from keyjanitor.services.ports import AccessLogs, Leases, NightGateway, UsageHistory
from keyjanitor.services.pull_usage.log_reading import LogReading, carried_on
from keyjanitor.services.pull_usage.reader import Reader

# A long reading is written down in parts of this size: a run that dies loses at most one part.
PLANS_AT_ONCE = 300
KEYS_AT_ONCE = 50_000

logger = Logger(child=True)


class Adapters(NamedTuple):
    """Everything that a reading talks to; `logs` is None where the policy asks for no access logs."""

    gateway: NightGateway
    history: UsageHistory
    ledger: Leases
    logs: AccessLogs | None = None

    @classmethod
    def of(cls, settings: PullSettings, policy: Policy) -> "Adapters":
        ledger = wiring.ledger(settings.ledger_table)
        return cls(
            gateway=wiring.gateway_of_the_night(settings.calls_per_second, ledger),
            history=wiring.history(settings.history_bucket),
            ledger=ledger,
            logs=wiring.access_logs() if policy.access_logs else None,
        )


class NightReading:
    """The reading of a date, as far as its runs have come.

    `unfinished` says what is left, `unwritten` why the usage files are not whole, `damaged` which
    evidence of before was passed over.
    """

    def __init__(
        self, request: Invocation, adapters: Adapters, policy: Policy, deadline: Deadline
    ) -> None:
        self._today, self._now = request.today, request.time
        self._gateway, self._history = adapters.gateway, adapters.history
        self._logs = adapters.logs if policy.access_logs else None
        self._log_bytes = policy.access_logs_max_gb * GB
        self._deadline = deadline
        self._known: set[str] = set()
        self._at_hand: list[UsagePlanAnswer] = []  # read, and not written down yet
        self.unfinished: dict[str, int] = {}
        self.unwritten: KeyjanitorError | None = None
        self.damaged: list[EvidenceDamaged] = []

    def read(self) -> Evidence | None:
        """Reads and writes down; gives tonight's evidence, or None if another run has to go on."""
        before = self._history.evidence_before(self._today, self.damaged.append)
        for err in self.damaged:
            logger.error(str(err))
        self._known = known_ids(before)
        self._gateway.ask_first_for(remembered(before, self._today))
        earlier = self._earlier()
        reader = Reader(self._today, self._gateway, before, earlier.answers, self._deadline.passed)
        for answer in reader.read():
            self._at_hand.append(answer)
            keys = sum(len(one.members or ()) for one in self._at_hand)
            if len(self._at_hand) >= PLANS_AT_ONCE or keys >= KEYS_AT_ONCE:
                self._keep()
        if reader.left:
            self._keep()
            self.unfinished = {"plans": len(reader.answers), "left": len(reader.left)}
            return None
        evidence, usages = take_evidence(self._today, reader.answers.values(), before)
        answered = noted(self._gateway.answered_range(), before, self._today)
        evidence = replace(evidence, usage_range=answered)
        files = UsageFiles(evidence, usages, before)
        left = [day for day in files.days if day not in earlier.written]
        if not self._write(files, left):
            return None
        if self.unwritten is not None:
            evidence = replace(evidence, read_through=told_before(evidence, before))
        evidence = self._with_logs(evidence, before)
        if not self._history.put_evidence(evidence):
            logger.warning("another run wrote the evidence of %s first", self._today)
            evidence = self._history.evidence(self._today) or evidence
        if before is not None and not self._deadline.passed():
            thin_keys_files(self._today, before.day, self._history)
        return evidence

    def _with_logs(self, evidence: Evidence, before: Evidence | None) -> Evidence:
        """Tonight's evidence with what access logs show, or with what they showed before."""
        if self._logs is None:
            return carried_on(evidence, before)
        reading = LogReading(
            self._gateway, self._logs, self._log_bytes, self._now, self._deadline.passed
        )
        return reading.add_to(evidence, before)

    def _earlier(self) -> Partial:
        """The plans read and files written by earlier runs of the date."""
        earlier = Partial()
        for document in self._history.partials(self._today):
            try:
                earlier = earlier.joined(from_partial(document, self._today))
            except UnexpectedAnswer as err:
                logger.error("a part of the reading of %s is read again: %s", self._today, err)
        return earlier

    def _keep(self, written: Sequence[date] = ()) -> None:
        """Writes down what is at hand, for the night's next run."""
        if not self._at_hand and not written:
            return
        first = self._at_hand[0].plan.usage_plan_id if self._at_hand else "files"
        part = Partial(tuple(self._at_hand), frozenset(written))
        self._history.put_partial(self._today, first, to_partial(self._today, part, self._known))
        self._at_hand = []

    def _write(self, files: UsageFiles, days: Sequence[date]) -> bool:
        """Writes the usage files; False if another run has to write the rest.

        Sweeps need the evidence, so files that cannot be written do not stop it: the next night
        makes up for them.
        """
        try:
            for number, day in enumerate(days):
                if self._deadline.passed():
                    self._keep(days[:number])
                    self.unfinished = {"usage_files": number, "left": len(days) - number}
                    return False
                self._history.put_usage(day, files.rows(day, self._history.usage(day)))
        except (AccessDenied, CallFailed) as err:
            self.unwritten = err
        return True


def told_before(evidence: Evidence, before: Evidence | None) -> dict[str, date]:
    """The last day of each plan's use that is written down if tonight's files are not."""
    told = before.read_through if before is not None else {}
    never = evidence.day - timedelta(days=USAGE_DAYS + 1)
    return {plan_id: told.get(plan_id, never) for plan_id in evidence.plans}


def thin_keys_files(today: date, night_before: date, history: UsageHistory) -> None:
    """Drops from the keys files that are over a week old what the nights after them repeat.

    It makes up for nights that were missed. A file whose next night has none stays whole.
    """
    day = night_before - DAY * WHOLE_NIGHTS
    while day <= min(today - DAY * (WHOLE_NIGHTS + 1), night_before):
        lines, next_lines = history.keys(day), history.keys(day + DAY)
        if lines and next_lines:
            history.put_keys(day, thinned(lines, next_lines))
        day += DAY
