"""What access logs show of keys beside GetUsage, and when their silence proves something. Pure.

Logs only add use. They take silence away from a plan only while every stage of it logs in one
unbroken chain of whole windows, in which requests with keys were seen in each stage; its keys are
then idle at the earliest since that chain began. In every doubt the chain ends.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from keyjanitor.domain.model.keys import DAY
from keyjanitor.domain.usage.access_log_format import NO_KEY, AccessLog, NotReadable

LATE = timedelta(minutes=15)  # that a line may take to its log group (believed: AF-586)
FIRST_WINDOW = timedelta(days=1)  # of a log group that was never asked
LONGEST_WINDOW = timedelta(days=7)  # after nights in which it could not be asked
FORGET_AFTER = timedelta(days=400)
GB = 1_000_000_000  # bytes
MOST_ROWS = 100_000  # that one query answers with (doc: AF-581)
# (believed: AF-588)
CANARY = NotReadable("it has a canary release, whose requests may be logged elsewhere")
UNNAMED = NotReadable(
    "its access log's format lacks $context.apiId or $context.stage, so a line does not show which "
    "stage logs"
)
SHARED = NotReadable("stages log to its log group in several formats")


@dataclass(frozen=True, slots=True)
class StageSetting:
    """How a stage (`api_id:stage`) logs tonight: its log, or why none is readable.

    `updated`: when anything of the stage was last changed; None: not known. `canary`: it has one.
    `unread`: the setting itself could not be read tonight; what was proved before stays for now.
    """

    stage: str
    log: AccessLog | NotReadable
    updated: datetime | None = None
    canary: bool = False
    unread: bool = False


@dataclass(frozen=True, slots=True)
class StageLog:
    """What access logs proved of one stage, carried from night to night.

    `setting` is the digest of its log's setting. `since` to `through` is the unbroken chain of
    windows that were read whole, in that setting; None: there is none. `witnessed`: a request with a
    key was seen in the chain. `problem`: why tonight's window was not read whole; None: it was.
    """

    stage: str
    setting: str = ""
    since: datetime | None = None
    through: datetime | None = None
    witnessed: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class LoggedCalls:
    """Requests with a key in the windows that tonight was asked for, from `since` on; `last` of them.

    Requests that were refused are among them, also of a disabled key (believed: AF-584).
    """

    requests: int
    since: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class LogWindow:
    """One query: the lines of `log` from `since` to before `until`, for these stages."""

    log: AccessLog
    stages: tuple[str, ...]
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class LogRow:
    """Requests that a query counted: of a key, in a stage; None: the line does not say.

    `key_id` None: the format does not fit the lines. `last` None: it could not be read.
    """

    requests: int
    last: datetime | None
    key_id: str | None = None
    stage: str | None = None


@dataclass(frozen=True, slots=True)
class LogAnswer:
    """What a query answered. `failed`: why it is not whole; None: it is, by what AWS says.

    `lines`: how many the query looked at; `bytes_scanned` is what AWS charges for.
    """

    rows: Sequence[LogRow] = ()
    lines: int = 0
    bytes_scanned: int = 0
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class LogGroup:
    """A log group: since when it is there, and for how many days it keeps lines; None: for good."""

    created: datetime
    retention_days: int | None = None


@dataclass(frozen=True, slots=True)
class SeenInLogs:
    """What the access logs showed until now.

    `last_used`: the last day on which a key was seen in a log, ever. `calls`: those of tonight's
    windows. `stages`: each stage that a plan opened tonight. `through`: until when tonight's windows
    went; None: the logs were not asked tonight, and only `last_used` is known. `bytes_scanned`: by
    tonight's queries.
    """

    last_used: Mapping[str, date] = field(default_factory=dict)
    calls: Mapping[str, LoggedCalls] = field(default_factory=dict)
    stages: Mapping[str, StageLog] = field(default_factory=dict)
    through: datetime | None = None
    bytes_scanned: int = 0

    def covers_since(self, stages: Sequence[str]) -> date | None:
        """The first whole day of which it is known who called in all of these stages, until tonight.

        None if that is not known of one of them, or there is none.
        """
        chains = [self._chain(stage) for stage in stages]
        known = [since for since in chains if since is not None]
        if not known or len(known) < len(chains):
            return None
        return max(known).date() + DAY

    def _chain(self, stage: str) -> datetime | None:
        log = self.stages.get(stage)
        if log is None or log.problem is not None or not log.witnessed:
            return None
        return log.since if self.through is not None and log.through == self.through else None


def window_end(now: datetime) -> datetime:
    """Until when logs are asked at `now`: the last full hour whose lines have had time to arrive."""
    return (now - LATE).replace(minute=0, second=0, microsecond=0)


def windows(
    settings: Iterable[StageSetting], before: SeenInLogs | None, until: datetime
) -> list[LogWindow]:
    """The queries of tonight: one for each log group and format.

    Each begins where the last whole window of one of its stages has ended, at most LONGEST_WINDOW ago.
    """
    stages: dict[AccessLog, list[StageSetting]] = {}
    for one in settings:
        if isinstance(one.log, AccessLog):
            stages.setdefault(one.log, []).append(one)
    found = []
    for log, members in stages.items():
        since = min(_asked_from(one, before, until) for one in members)
        if since < until:
            names = tuple(sorted(one.stage for one in members))
            found.append(LogWindow(log, names, since, until))
    return sorted(found, key=lambda one: (one.log.group, one.log.format))


def _asked_from(setting: StageSetting, before: SeenInLogs | None, until: datetime) -> datetime:
    # Also of a stage that was changed since: what its log shows of the time before is use too.
    known = before.stages.get(setting.stage) if before is not None else None
    through = known.through if known is not None else None
    if through is None:
        return until - FIRST_WINDOW
    return max(through, until - LONGEST_WINDOW)


def _kept(setting: StageSetting, before: SeenInLogs | None) -> StageLog | None:
    """What was proved of a stage before, if nothing of it has changed since; None: nothing holds.

    A stage that logged otherwise for a while, or not at all, was changed, also if it logs now as it
    did: any change of the stage after the last whole window ends the chain (believed: AF-589).
    """
    known = before.stages.get(setting.stage) if before is not None else None
    if known is None or known.through is None:
        return None
    if setting.unread:
        return known
    if not isinstance(setting.log, AccessLog):
        return None
    unchanged = setting.updated is not None and setting.updated <= known.through
    return known if unchanged and known.setting == setting.log.digest else None


def too_costly(
    asked: Sequence[LogWindow], expected: Mapping[str, int], limit_bytes: int
) -> dict[LogWindow, str]:
    """The queries that are not made, with why: all others together look at `limit_bytes` at most.

    `expected` is the bytes of each log group; the groups with the fewest are asked first.
    """
    left: dict[LogWindow, str] = {}
    spent = 0
    for window in sorted(asked, key=lambda one: expected[one.log.group]):
        cost = expected[window.log.group]
        if spent + cost > limit_bytes:
            left[window] = (
                f"its query would look at {cost / GB:,.2f} GB, and access_logs_max_gb = "
                f"{limit_bytes / GB:g} is for all logs of a night together"
            )
        else:
            spent += cost
    return left


def not_whole(window: LogWindow, group: LogGroup | None, now: datetime) -> str | None:
    """Why a log group cannot hold all lines of a window; None: it can."""
    if group is None:
        return f"the log group {window.log.group} is not there"
    if group.created > window.since:
        return f"the log group {window.log.group} was made on {group.created:%Y-%m-%d}"
    kept = group.retention_days
    if kept is not None and now - DAY * kept > window.since:
        return f"the log group {window.log.group} keeps lines for {kept} days only"
    return None


def take_logs(
    settings: Sequence[StageSetting],
    answers: Sequence[tuple[LogWindow, LogAnswer]],
    before: SeenInLogs | None,
    until: datetime,
) -> SeenInLogs:
    """What the logs show after tonight's answers. Requests of answers that are not whole count too."""
    calls = _calls(answers)
    oldest = until.date() - FORGET_AFTER
    last_used = {k: on for k, on in (before.last_used if before else {}).items() if on >= oldest}
    for key_id, one in calls.items():
        last_used[key_id] = max(one.last.date(), last_used.get(key_id, date.min))
    of_stage = {stage: (w, answer) for w, answer in answers for stage in w.stages}
    formats: dict[str, set[str]] = {}
    for window, _ in answers:
        formats.setdefault(window.log.group, set()).add(window.log.format)
    shared = {group for group, several in formats.items() if len(several) > 1}
    return SeenInLogs(
        last_used=last_used,
        calls=calls,
        stages={
            one.stage: _stage_log(one, of_stage.get(one.stage), before, until, shared)
            for one in settings
        },
        through=until,
        bytes_scanned=sum(answer.bytes_scanned for _, answer in answers),
    )


def _calls(answers: Iterable[tuple[LogWindow, LogAnswer]]) -> dict[str, LoggedCalls]:
    calls: dict[str, LoggedCalls] = {}
    for window, answer in answers:
        for row in answer.rows:
            if row.key_id is None or row.key_id in NO_KEY or row.requests < 1:
                continue
            # A moment that cannot be read may be any of the window.
            last = min(row.last or window.until, window.until)
            known = calls.get(row.key_id)
            calls[row.key_id] = LoggedCalls(
                requests=row.requests + (known.requests if known else 0),
                since=min(window.since, known.since) if known else window.since,
                last=max(last, known.last) if known else last,
            )
    return calls


def _stage_log(
    setting: StageSetting,
    asked: tuple[LogWindow, LogAnswer] | None,
    before: SeenInLogs | None,
    until: datetime,
    shared: set[str],
) -> StageLog:
    """What is proved of a stage after tonight."""
    kept = _kept(setting, before)
    problem = _problem(setting, asked, shared)
    if not isinstance(setting.log, AccessLog) or asked is None or problem is not None:
        known = kept or StageLog(setting.stage)
        return replace(known, problem=problem)
    window, answer = asked
    seen = any(
        row.stage == setting.stage and row.key_id is not None and row.key_id not in NO_KEY
        for row in answer.rows
    )
    whole = StageLog(setting.stage, setting.log.digest, through=until)
    if kept is not None and kept.through is not None and window.since <= kept.through:
        return replace(whole, since=kept.since, witnessed=kept.witnessed or seen)
    if setting.updated is not None and setting.updated <= window.since:
        return replace(whole, since=window.since, witnessed=seen)
    # It was changed within the window or after it, so who called before is not known.
    return replace(whole, since=until)


def _problem(
    setting: StageSetting, asked: tuple[LogWindow, LogAnswer] | None, shared: set[str]
) -> str | None:
    """Why a stage's window was not read whole tonight, or shows nothing of that stage; None: it was."""
    if isinstance(setting.log, NotReadable):
        return str(setting.log)
    if asked is None:
        return "its log was not asked tonight"
    _, answer = asked
    if answer.failed is not None:
        return answer.failed
    if not setting.log.names_stage:
        return str(UNNAMED)
    if setting.canary:
        return str(CANARY)
    if setting.log.group in shared:
        return str(SHARED)
    return _not_understood(answer)


def _not_understood(answer: LogAnswer) -> str | None:
    """Why a whole answer does not say of each line which key called; None: it does."""
    if len(answer.rows) >= MOST_ROWS:
        return f"its log names more than {MOST_ROWS:,} keys and stages"
    strange = sum(row.requests for row in answer.rows if row.key_id is None or row.stage is None)
    strange += answer.lines - sum(row.requests for row in answer.rows)
    if strange:
        return f"{abs(strange):,} lines of its log do not fit the format"
    return None


def without_logs(before: SeenInLogs | None, today: date) -> SeenInLogs | None:
    """What is carried on by a night that asks no log: the use that was seen, and no chain."""
    if before is None:
        return None
    last_used = {k: on for k, on in before.last_used.items() if on >= today - FORGET_AFTER}
    return SeenInLogs(last_used=last_used) if last_used else None
