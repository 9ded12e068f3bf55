"""Decides which alerts a count of the keys leads to, and which still apply. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta

from keyjanitor.domain.capacity.forecast import Forecast
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.records import AlertState, Burst, CountRow, PressureRow

MARK_CLEARS = 1.2  # a days-to-limit mark clears a fifth above itself
AGAIN = timedelta(days=7)  # after which an alert that still applies is sent again
AGAIN_AT_THE_TOP = timedelta(days=1)
FEWER_SHARE = 0.01  # of yesterday's keys: a smaller drop raises no alert
FEWER_KEYS = 20


@dataclass(frozen=True, slots=True)
class Situation:
    """State of the account at one count."""

    today: date
    count: CountRow
    yesterday: CountRow | None  # the last count of a date before; yesterday's, if all is well
    forecast: Forecast
    freed_since: int | None = 0  # keys that we deleted since that count; None: it goes on
    made_since: int = 0  # keys that are there, and were made on a date after it
    owners: Sequence[tuple[str, int]] = ()  # those with the most keys
    growing: Mapping[str, int] = field(default_factory=dict)  # tiers, by keys a week
    pressure_row: PressureRow | None = None
    swept_on: date | None = None  # the last date on which a sweep reached its decision
    held: str | None = None
    unread: Mapping[str, str] = field(default_factory=dict)  # plans unread for two nights, and why
    silent: Sequence[str] = ()  # plans in which no request was ever seen
    dead_letters: Mapping[str, int] = field(default_factory=dict)  # dead letters by queue
    unconfirmed: Sequence[str] = ()  # who has to confirm a subscription
    policy_problems: Mapping[str, str] = field(
        default_factory=dict
    )  # places in it, and what is wrong
    bursts: Sequence[Burst] = ()  # that are not over
    at: datetime | None = None  # UTC, when the account was looked at

    @property
    def moment(self) -> datetime:
        """When the account was looked at; the date's first minute, if no time is known."""
        return self.at or datetime.combine(self.today, time(0, tzinfo=UTC))

    @property
    def missed(self) -> int:
        """Number of keys of the last count before that are gone though keyjanitor did not delete them."""
        if self.yesterday is None or self.freed_since is None:
            return 0
        return self.yesterday.keys + self.made_since - self.count.keys - self.freed_since


@dataclass(frozen=True, slots=True)
class LevelReached:
    """A level of the service quota is reached, a share."""

    level: float


@dataclass(frozen=True, slots=True)
class LimitNear:
    """The limit is so many days away, or fewer."""

    mark: int


@dataclass(frozen=True, slots=True)
class LevelCleared:
    """A level, or a mark, is left behind; others may still be reached."""

    level: float | None = None
    mark: int | None = None


@dataclass(frozen=True, slots=True)
class Reminder:
    """A level or a mark still applies."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not about capacity, by the name of its alert's kind."""

    kind: str
    about: tuple[str, ...]


AlertCause = LevelReached | LimitNear | LevelCleared | Reminder | Problem


def due_alerts(
    situation: Situation, state: AlertState, policy: Policy
) -> tuple[list[AlertCause], AlertState]:
    """Causes of the alerts to send now, and the state after them. `state` is that after the last alerts."""
    told: list[AlertCause] = []
    level = _level(situation.count.keys / policy.service_quota, state.level, policy)
    if level != state.level:
        rose = level is not None and (state.level is None or level > state.level)
        told.append(
            LevelReached(level) if rose and level is not None else LevelCleared(level=state.level)
        )
    mark = _mark(situation.forecast, state.mark, policy)
    if mark != state.mark:
        nearer = mark is not None and (state.mark is None or mark < state.mark)
        told.append(
            LimitNear(mark) if nearer and mark is not None else LevelCleared(mark=state.mark)
        )
    after = replace(state, level=level, mark=mark)
    if told:
        after = replace(after, alerted_on=situation.today, alerted_keys=situation.count.keys)
    elif _remind(situation.today, after, policy):
        told.append(Reminder())
        after = replace(after, alerted_on=situation.today, alerted_keys=situation.count.keys)
    problems, problems_after = _problems(situation, state)
    return [*told, *problems], replace(after, problems=problems_after)


def _level(share: float, before: float | None, policy: Policy) -> float | None:
    """Highest level in force: reached now, or reached `before` and not yet cleared by the margin."""
    margin = policy.alerts.clear_margin
    return max(
        (
            level
            for level in policy.alerts.levels
            if share >= level
            or (before is not None and level <= before and share >= level - margin)
        ),
        default=None,
    )


def _mark(forecast: Forecast, before: int | None, policy: Policy) -> int | None:
    """Lowest days-to-limit mark in force; `before` is the one until now."""
    if forecast.growth is None:
        return before  # unknown
    if forecast.days is None:
        return None
    days = forecast.days
    return min(
        (
            mark
            for mark in policy.alerts.days_to_limit
            if days <= mark
            or (before is not None and mark >= before and days <= mark * MARK_CLEARS)
        ),
        default=None,
    )


def _remind(today: date, state: AlertState, policy: Policy) -> bool:
    if state.level is None and state.mark is None:
        return False
    if state.alerted_on is None:
        return True
    levels = policy.alerts.levels
    top = bool(levels) and state.level == levels[-1]
    return today - state.alerted_on >= (AGAIN_AT_THE_TOP if top else AGAIN)


def _problems(
    situation: Situation, state: AlertState
) -> tuple[list[Problem], dict[str, tuple[date, tuple[str, ...]]]]:
    """Problems beside capacity: sent when they appear or grow, and each week while they last."""
    found = {
        "unread_plan": tuple(sorted(situation.unread)),
        "silent_plans": tuple(sorted(situation.silent)),
        "dead_letters": tuple(sorted(name for name, n in situation.dead_letters.items() if n)),
        "subscription": tuple(sorted(situation.unconfirmed)),
        "fewer_keys": _fewer(situation, state),
        "burst": tuple(sorted(one.name for one in situation.bursts)),
        "policy_problem": tuple(sorted(situation.policy_problems)),
    }
    told: list[Problem] = []
    stands: dict[str, tuple[date, tuple[str, ...]]] = {}
    for kind, about in found.items():
        if not about:
            continue
        before = state.problems.get(kind)
        known = before is not None and set(about) <= set(before[1])
        if before is not None and known and situation.today - before[0] < AGAIN:
            stands[kind] = before
            continue
        told.append(Problem(kind, about))
        stands[kind] = (situation.today, about)
    return told, stands


def _fewer(situation: Situation, state: AlertState) -> tuple[str, ...]:
    """The date, if more keys are missing than sweeps and revocations account for; else nothing."""
    before = situation.yesterday
    if situation.freed_since is None:  # unknown while a sweep is at work
        alerted_on, about = state.problems.get("fewer_keys", (None, ()))
        return about if alerted_on == situation.today else ()
    if before is None:
        return ()
    if situation.missed <= max(FEWER_KEYS, FEWER_SHARE * before.keys):
        return ()
    return (str(situation.today),)
