"""Asks the access logs of the stages that usage plans open, within the policy's limit of bytes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from aws_lambda_powertools import Logger

from keyjanitor.domain.usage.access_log_format import NotReadable, read_format
from keyjanitor.domain.usage.access_logs import (
    LogAnswer,
    LogWindow,
    StageSetting,
    not_whole,
    take_logs,
    too_costly,
    window_end,
    windows,
    without_logs,
)
from keyjanitor.domain.usage.evidence import Evidence
from keyjanitor.errors import AccessDenied, CallFailed, UnexpectedAnswer
from keyjanitor.services.ports import AccessLogs, StageList

SPENT = "the queries before it looked at more than access_logs_max_gb allows"
NO_TIME = "the run had no time left for its log"
FAILURES = (AccessDenied, CallFailed, UnexpectedAnswer)

logger = Logger(child=True)


@dataclass(frozen=True, slots=True)
class LogReading:
    """One night's look at the access logs. `limit_bytes` is what all queries together may look at."""

    gateway: StageList
    logs: AccessLogs
    limit_bytes: int
    now: datetime
    time_is_up: Callable[[], bool]

    def add_to(self, evidence: Evidence, before: Evidence | None) -> Evidence:
        """The evidence with what the logs show; nothing that fails is raised, it is the stages' problem."""
        known = before.seen_in_logs if before is not None else None
        until = window_end(self.now)
        settings = list(self._settings(evidence))
        asked = windows(settings, known, until)
        answers = [*self._answers(asked)]
        seen = take_logs(settings, answers, known, until)
        for one in seen.stages.values():
            if one.problem is not None:
                logger.warning("the access log of %s proves no silence: %s", one.stage, one.problem)
        return replace(evidence, seen_in_logs=seen)

    def _settings(self, evidence: Evidence) -> Iterator[StageSetting]:
        """The stages that plans open, with their logs; each API is asked for once."""
        opened = sorted({stage for plan in evidence.plans.values() for stage in plan.stages})
        for api_id in sorted({stage.partition(":")[0] for stage in opened}):
            ours = [stage for stage in opened if stage.partition(":")[0] == api_id]
            yield from self._of_api(api_id, ours)

    def _of_api(self, api_id: str, opened: Sequence[str]) -> Iterator[StageSetting]:
        try:
            if self.time_is_up():
                raise CallFailed("GetStages", NO_TIME)
            stages = {f"{api_id}:{one.name}": one for one in self.gateway.stages(api_id)}
        except FAILURES as err:
            for name in opened:
                why = NotReadable(f"its API could not be read: {err}")
                yield StageSetting(name, why, unread=True)
            return
        for name in opened:
            if (stage := stages.get(name)) is None:
                yield StageSetting(name, NotReadable("it is not there"))
                continue
            log = read_format(stage.log_destination, stage.log_format)
            yield StageSetting(name, log, stage.updated, stage.canary)

    def _answers(self, asked: Sequence[LogWindow]) -> Iterator[tuple[LogWindow, LogAnswer]]:
        """The answer to each query, those of few bytes first; one that is not made has failed."""
        try:
            expected = self._expected(asked)
        except FAILURES as err:
            why = f"what its query would cost is not known: {err}"
            yield from ((window, LogAnswer(failed=why)) for window in asked)
            return
        left = too_costly(asked, expected, self.limit_bytes)
        spent = 0
        for window in sorted(asked, key=lambda one: expected[one.log.group]):
            spent_all = SPENT if spent > self.limit_bytes else None
            left_out = left.get(window, spent_all)
            answer = LogAnswer(failed=left_out) if left_out else self._ask(window)
            spent += answer.bytes_scanned
            yield window, answer

    def _expected(self, asked: Sequence[LogWindow]) -> Mapping[str, int]:
        """The bytes that the window of each group holds, as CloudWatch has counted them."""
        if not asked:
            return {}
        groups = sorted({window.log.group for window in asked})
        since = min(window.since for window in asked)
        return self.logs.incoming_bytes(groups, since, asked[0].until)

    def _ask(self, window: LogWindow) -> LogAnswer:
        if self.time_is_up():
            return LogAnswer(failed=NO_TIME)
        try:
            missing = not_whole(window, self.logs.group(window.log.group), self.now)
            answer = self.logs.ask(window, self.time_is_up)
        except FAILURES as err:
            logger.error("the access log of %s was not read: %s", _named(window.stages), err)
            return LogAnswer(failed=str(err))
        return replace(answer, failed=answer.failed or missing)


def carried_on(evidence: Evidence, before: Evidence | None) -> Evidence:
    """The evidence of a night whose policy does not ask for logs: the use that was seen in them stays."""
    known = before.seen_in_logs if before is not None else None
    return replace(evidence, seen_in_logs=without_logs(known, evidence.day))


def _named(stages: Iterable[str]) -> str:
    return ", ".join(stages)
