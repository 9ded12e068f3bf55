"""Every night: read who used which key, and write down what that proves."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from keyjanitor import __version__
from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.clients import client, gateway_client
from keyjanitor.adapters.dynamodb import Table
from keyjanitor.adapters.history_bucket import History
from keyjanitor.adapters.ledger import READING, Ledger
from keyjanitor.adapters.rate_limiter import Pace
from keyjanitor.adapters.settings import PullSettings
from keyjanitor.adapters.system_clock import now
from keyjanitor.domain.expiry.keys_file import WHOLE_NIGHTS, thinned
from keyjanitor.domain.expiry.response import heading, running
from keyjanitor.domain.model.invocation import Clock, PullRequest
from keyjanitor.domain.model.keys import DAY
from keyjanitor.domain.usage.evidence import Evidence, PlanAnswer, known_ids
from keyjanitor.domain.usage.partial_reading import Partial, from_partial, to_partial
from keyjanitor.domain.usage.plan_usage import USAGE_DAYS
from keyjanitor.domain.usage.reading import take_evidence
from keyjanitor.domain.usage.usage_file import UsageFiles
from keyjanitor.errors import (
    AccessDenied,
    AlreadyRunning,
    CallFailed,
    EvidenceDamaged,
    KeyjanitorError,
    UnexpectedAnswer,
)
from keyjanitor.services.deadline import Deadline
from keyjanitor.services.lease import lease
from keyjanitor.services.pull_usage import Reader

# So much of a long reading is written down at once, so that a run that dies has not read in vain.
PLANS_AT_ONCE = 300
KEYS_AT_ONCE = 50_000

logger = Logger(code_version=__version__)
metrics = Metrics()
settings = PullSettings.read()
gateway = ApiGateway(gateway_client(), Pace(settings.calls_per_second))
history = History(client("s3"), settings.history_bucket)
ledger = Ledger(Table(client("dynamodb"), settings.ledger_table))


@logger.inject_lambda_context
@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Writes tonight's evidence and the usage of the last days, and answers with what was read.

    On a date that has its evidence nothing more is read or written. A run that has to end before
    all is read answers `unfinished`; the next run of the date goes on where it was.
    """
    metrics.add_metric("EvidenceWritten", MetricUnit.Count, 0)  # until it is
    run = PullRequest.parse(event, Clock(now(), settings.replay_window_hours))
    try:
        with lease(ledger, READING, now(), context):
            return pull(run, Deadline.before_the_end_of(context))
    except AlreadyRunning as err:
        logger.info(str(err))
        return running(run.time, err)


def pull(run: PullRequest, deadline: Deadline) -> dict[str, Any]:
    """Reads tonight, if it was not read, and tells what its evidence says."""
    evidence = history.evidence(run.today)
    night = Night(run.today, deadline)
    if evidence is None:
        evidence = night.read()
    told = {**heading(run.time), "date": str(run.today)}
    if evidence is None:
        logger.warning("the reading of %s is not finished, %s", run.today, night.unfinished)
        return {**told, "unfinished": night.unfinished}
    metrics.add_metric("EvidenceWritten", MetricUnit.Count, 1)
    if night.unwritten is not None:
        raise night.unwritten
    unread = [plan for plan in evidence.plans.values() if plan.unread is not None]
    metrics.add_metric("UnreadPlans", MetricUnit.Count, len(unread))
    return {
        **told,
        "plans": len(evidence.plans),
        "keys": len(evidence.members()),
        "keys_used": sum(
            on > run.today - timedelta(days=USAGE_DAYS) for on in evidence.last_used.values()
        ),
        "unread": [
            {"usage_plan_id": plan.usage_plan_id, "name": plan.name, "reason": plan.unread}
            for plan in unread
        ],
        "unwitnessed": [
            plan.usage_plan_id
            for plan in evidence.plans.values()
            if not evidence.is_witnessed(plan)
        ],
        "unknown_ids": sum(plan.unknown_ids for plan in evidence.plans.values()),
        "emptied": [plan.usage_plan_id for plan in evidence.plans.values() if plan.emptied],
        "damaged": [err.name for err in night.damaged],
    }


class Night:
    """The reading of a date, as far as its runs have come.

    `unfinished` says what is left, `unwritten` why the usage files are not whole, `damaged` which
    evidence of before was passed over.
    """

    def __init__(self, today: date, deadline: Deadline) -> None:
        self._today = today
        self._deadline = deadline
        self._known: set[str] = set()
        self._at_hand: list[PlanAnswer] = []  # read, and not written down yet
        self.unfinished: dict[str, int] = {}
        self.unwritten: KeyjanitorError | None = None
        self.damaged: list[EvidenceDamaged] = []

    def read(self) -> Evidence | None:
        """Reads and writes down; gives tonight's evidence, or None if another run has to go on."""
        before = history.evidence_before(self._today, self.damaged.append)
        for err in self.damaged:
            logger.error(str(err))
        self._known = known_ids(before)
        earlier = self._earlier()
        reader = Reader(self._today, gateway, before, earlier.answers, self._deadline.passed)
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
        files = UsageFiles(evidence, usages, before)
        left = [day for day in files.days if day not in earlier.written]
        if not self._write(files, left):
            return None
        if self.unwritten is not None:
            evidence = replace(evidence, read_through=told_before(evidence, before))
        if not history.put_evidence(evidence):
            logger.warning("another run wrote the evidence of %s first", self._today)
            evidence = history.evidence(self._today) or evidence
        if before is not None and not self._deadline.passed():
            thin_keys_files(self._today, before.day)
        return evidence

    def _earlier(self) -> Partial:
        """What the earlier runs of the date have read and written."""
        earlier = Partial()
        for document in history.partials(self._today):
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
        history.put_partial(self._today, first, to_partial(self._today, part, self._known))
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
                history.put_usage(day, files.rows(day, history.usage(day)))
        except (AccessDenied, CallFailed) as err:
            self.unwritten = err
        return True


def told_before(evidence: Evidence, before: Evidence | None) -> dict[str, date]:
    """The last day of each plan's use that is written down if tonight's files are not."""
    told = before.read_through if before is not None else {}
    never = evidence.day - timedelta(days=USAGE_DAYS + 1)
    return {plan_id: told.get(plan_id, never) for plan_id in evidence.plans}


def thin_keys_files(today: date, night_before: date) -> None:
    """Drops from the keys files that are over a week old what the nights after them repeat.

    It makes up for nights that were missed. A file whose next night has none stays whole.
    """
    day = night_before - DAY * WHOLE_NIGHTS
    while day <= min(today - DAY * (WHOLE_NIGHTS + 1), night_before):
        lines, next_lines = history.keys(day), history.keys(day + DAY)
        if lines and next_lines:
            history.put_keys(day, thinned(lines, next_lines))
        day += DAY
