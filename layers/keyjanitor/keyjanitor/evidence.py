"""Reduces one night's reading of API Gateway to what it proves about every key's use. Pure.

A night's evidence carries forward what the nights before it proved, so that a sweep needs one file.
"""

import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import chain
from typing import Any

from keyjanitor.errors import UnexpectedAnswer
from keyjanitor.words import DAY, UsagePlan

USAGE_DAYS = 90  # GetUsage tells of about the last 90 days (seen: AF-301)
HISTORY_DAYS = 3  # of the usage files, written again every night: use has a lag (seen: AF-303)
FORGET_AFTER = timedelta(days=400)

VERSION = 2
# GetUsage tells of *about* the last 90 days: its oldest days may drop out a little earlier or later,
# so what a reading told of them is not held against the next one.
EDGE_DAYS = 10
# A later reading may correct a number. Requests that were counted do not go away, so a plan that
# tells over one of a hundred fewer for the same days was not told whole.
TOLERANCE = 0.01
STRANGERS = 5_000  # ids of no plan whose last use is kept
# A key's id has ten of these, its value 20 characters at least: what is longer may be a value.
_KEY_ID = re.compile(r"[a-z0-9]{1,19}")
NOT_TOLD = -(2**63)  # stands for a `remaining` that API Gateway did not tell


@dataclass(frozen=True, slots=True)
class PlanReading:
    """What one night read of one usage plan.

    `members` are the last that were read, which is tonight only if `members_read`. `emptied` says
    that tonight's answer was empty where the evidence before had members. `unread` says why the
    plan's usage is not known through the day before yesterday; None: it is. An answer that tells
    clearly fewer requests than the reading before it for the same days is unread, too.
    `unknown_ids` counts the ids that its usage named and that no plan has.
    """

    usage_plan_id: str
    name: str
    stages: tuple[str, ...]
    has_quota: bool
    members: tuple[str, ...]
    members_read: bool
    emptied: bool = False
    unread: str | None = None
    unknown_ids: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """Requests of one plan as its last good reading, that of `day`, told them.

    `through` is the last day that was told, `by_day` has the days with requests, `used` the sum of
    each of `key_ids`, those that had any, and `others` that of ids that no plan has.
    """

    day: date
    through: date
    by_day: Mapping[date, int] = field(default_factory=dict)
    key_ids: tuple[str, ...] = ()
    used: tuple[int, ...] = ()
    others: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the reading of `day` proved, and what it carries forward.

    `first_day`: the first day that the first evidence covers. `complete_since`: the first night of
    the unbroken chain, one evidence a date, in which every plan's members were read; None when
    tonight breaks it. `left`: when a key that is in no plan now was last seen in one.
    `plans_changed`: when a key was first seen in other plans than the night before. `appeared`: when
    a key was first seen in a plan, of those that no evidence before had seen. `seen_plans` (plan
    id, has a quota), `seen_stages` (stage, has a quota): the last day on which a request was seen
    there. `gone`: ids that usage still names though no plan has them any more. `told_through`: the
    last day of each plan's usage that is in the usage files; a plan of which none is, is not in it.

    `told`: the requests of each plan that was ever read, by its last good reading. `quota_since`,
    `stages_since`: the first night that saw a plan's quota come or go, its stages change.
    `first_days`: the first day after a gap in the readings of a plan; a plan without a gap is not
    in it. `unclear`: keys whose own days did not fit tonight, with the plan. `guessed`: keys whose
    last use is a guess of such a night. `untold`: keys of which an earlier reading told a use (the
    day) that tonight's does not tell. `strangers`: the last use of ids that are in no plan; they
    are shown to nobody.
    """

    day: date
    first_day: date
    complete_since: date | None
    plans: Mapping[str, PlanReading]
    last_used: Mapping[str, date] = field(default_factory=dict)
    left: Mapping[str, date] = field(default_factory=dict)
    plans_changed: Mapping[str, date] = field(default_factory=dict)
    appeared: Mapping[str, date] = field(default_factory=dict)
    used_by_day: Mapping[date, int] = field(default_factory=dict)
    seen_plans: Mapping[tuple[str, bool], date] = field(default_factory=dict)
    seen_stages: Mapping[tuple[str, bool], date] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    told_through: Mapping[str, date] = field(default_factory=dict)
    told: Mapping[str, Told] = field(default_factory=dict)
    quota_since: Mapping[str, date] = field(default_factory=dict)
    stages_since: Mapping[str, date] = field(default_factory=dict)
    first_days: Mapping[str, date] = field(default_factory=dict)
    unclear: Mapping[str, str] = field(default_factory=dict)
    guessed: Mapping[str, date] = field(default_factory=dict)
    untold: Mapping[str, date] = field(default_factory=dict)
    strangers: Mapping[str, date] = field(default_factory=dict, repr=False)

    def plan_names(self) -> dict[str, str]:
        """The names of the usage plans, by id."""
        return {plan.usage_plan_id: plan.name for plan in self.plans.values()}

    def members(self) -> dict[str, list[str]]:
        """The plans of every key that is in one, by the last reading of each plan."""
        plans_of_key: dict[str, list[str]] = {}
        for plan in self.plans.values():
            for key_id in plan.members:
                plans_of_key.setdefault(key_id, []).append(plan.usage_plan_id)
        return plans_of_key

    def is_witnessed(self, plan: PlanReading) -> bool:
        """Whether silence in `plan` means anything (believed: AF-308): a request was seen in or beside it.

        Seen in it counts only while it likewise had, or had not, a quota; beside it is in another
        plan on one of its stages of which the same is true. Both count for 400 days.
        """
        oldest = self.day - FORGET_AFTER
        seen = self.seen_plans.get((plan.usage_plan_id, plan.has_quota), date.min) >= oldest
        return seen or any(
            self.seen_stages.get((stage, plan.has_quota), date.min) >= oldest
            for stage in plan.stages
        )

    def last_use(self, key_id: str) -> date | None:
        """The last day on which any reading showed a request of a key, in a plan or in none."""
        return self.last_used.get(key_id) or self.strangers.get(key_id)


@dataclass(frozen=True, slots=True)
class UsagePage:
    """One page of GetUsage: for each key id one [used, remaining] a day from `start` to `end`."""

    start: date
    end: date
    items: Mapping[str, Sequence[Any] | None]


class PlanUsage:
    """Reduces the pages of one plan's usage, as they come, to what is kept of them.

    `start` and `end` are what was asked for, `history_from` is the first day that the usage files
    get, left out the last HISTORY_DAYS; they never get `end`, which has only begun. Days are UTC
    dates as API Gateway counts them. Unless the days of the keys are `kept`, the usage files get none.
    `same` holds each id once, for all plans.
    """

    def __init__(
        self,
        plan: UsagePlan,
        start: date,
        end: date,
        history_from: date | None = None,
        *,
        kept: bool = True,
        same: dict[str, str] | None = None,
    ) -> None:
        self.plan = plan
        self.start = start
        self.end = end
        self.kept = kept
        self._same = {} if same is None else same
        self.dates = [start + DAY * index for index in range((end - start).days + 1)]
        self.history_from = max(start, history_from or end - DAY * HISTORY_DAYS)
        self.told_through = end - DAY
        self.last_used: dict[str, date] = {}
        self.used_by_day: dict[date, int] = {}
        self.had_requests = False
        self.pages = 0
        self.ids: set[str] = set()
        self.unclear: set[str] = set()
        self.used: dict[str, int] = {}  # requests of each key that had any and whose days fit
        self.days: dict[str, array[int]] = {}  # of each key, from `history_from` on
        # How many ids were named that may be values, and their requests: of a reading of before,
        # which did not write them down.
        self.odd_ids = 0
        self.odd_used = 0

    def add(self, page: UsagePage) -> None:
        """Takes one page in.

        Raises UnexpectedAnswer if the page is about other days than were asked for (it has to
        start where it was asked to, and to reach the day before yesterday) or holds no numbers.
        """
        if page.start != self.start:
            raise UnexpectedAnswer("GetUsage", f"starts on {page.start}, asked was {self.start}")
        if page.end < self.end - 2 * DAY:
            raise UnexpectedAnswer("GetUsage", f"ends on {page.end}, asked was {self.end}")
        self.pages += 1
        self.told_through = min(self.told_through, page.end)
        days = (page.end - page.start).days + 1
        for key_id, pairs in page.items.items():
            if pairs is not None and not isinstance(pairs, list | tuple):
                raise UnexpectedAnswer("GetUsage", "the days of a key are no list")
            again = key_id in self.ids
            key_id = self._same.setdefault(key_id, key_id)  # noqa: PLW2901 (the same text)
            self.ids.add(key_id)
            if pairs:  # a key without hits may come with nothing or not at all (seen: AF-302)
                self._add_key(key_id, pairs, days, again=again)

    @property
    def days_kept(self) -> int:
        """How many days of each key it keeps for the usage files."""
        return (self.end - self.history_from).days + 1 if self.kept else 0

    @property
    def last_request(self) -> date | None:
        """The last whole day on which any key of the plan had a request."""
        days = (day for day, used in self.used_by_day.items() if used and day < self.end)
        return max(days, default=None)

    def tells_of(self, key_id: str) -> bool:
        """Whether it has a number of its own for each day of a key."""
        return key_id in self.days

    def on(self, day: date, key_id: str) -> tuple[int, int | None]:
        """(used, remaining) of a key on a day from `history_from` through `told_through`.

        A plan that was read to the end does not mention who did not use it: that is (0, None). Of
        the keys in `unclear` nobody knows it.
        """
        days = self.days.get(key_id)
        if days is None:
            return 0, None
        index = 2 * (day - self.history_from).days
        remaining = days[index + 1]
        return days[index], None if remaining == NOT_TOLD else remaining

    def _add_key(self, key_id: str, pairs: Sequence[Any], days: int, *, again: bool) -> None:
        """Takes the days of one key in; one that comes on a second page too is counted once."""
        fits = len(pairs) == days
        has_quota = self.plan.has_quota
        last = -1
        total = 0
        for index, pair in enumerate(pairs):
            used, remaining = _pair(pair)
            # A day of a plan with quota on which nothing is left is use: the key hammers at a
            # closed door (docs/life-of-a-key.md).
            if used or (has_quota and remaining is not None and remaining <= 0):
                last = index
                if used and not again:
                    total += used
                    self._count(used, self.dates[index] if fits else self.end)
        if last >= 0:
            # Of fewer pairs than days nobody knows which days they are: the last, to be safe.
            day = self.dates[last] if fits else self.end
            self.last_used[key_id] = max(day, self.last_used.get(key_id, day))
        if not fits:
            self.unclear.add(key_id)
            return
        if total:
            self.used[key_id] = total
        if self.kept and not again:
            self.days[key_id] = _numbers(pairs[(self.history_from - self.start).days :])

    def _count(self, used: int, day: date) -> None:
        self.had_requests = True
        self.used_by_day[day] = self.used_by_day.get(day, 0) + used


def _numbers(pairs: Sequence[Any]) -> "array[int]":
    """Used and remaining of each day in turn, in the sixth part of the memory of lists."""
    try:
        return array(
            "q",
            (
                NOT_TOLD if number is None else number
                for number in chain.from_iterable(map(_pair, pairs))
            ),
        )
    except OverflowError:
        raise UnexpectedAnswer("GetUsage", "a day's number is beyond all measure") from None


def _pair(pair: Any) -> tuple[int, int | None]:
    """(used, remaining) of one day; days without hits may come in another shape, or as nothing."""
    if type(pair) is list and len(pair) == 2:  # noqa: PLR2004 (the common case, 900,000 times a night)
        used, remaining = pair
        if type(used) is int and type(remaining) is int:
            return used, remaining
    if pair is None:
        return 0, None
    numbers = list(pair) if isinstance(pair, list | tuple) else [pair]
    if not all(type(number) is int for number in numbers):
        raise UnexpectedAnswer("GetUsage", "a day's pair holds something else than whole numbers")
    return (numbers[0] if numbers else 0), (numbers[1] if len(numbers) > 1 else None)


@dataclass(frozen=True, slots=True)
class PlanAnswer:
    """What came of asking for one plan: members and usage, or why they are not whole (`failed`).

    What was told before it failed shows use, and proves no silence.
    """

    plan: UsagePlan
    members: tuple[str, ...] | None
    usage: PlanUsage | None
    failed: str | None = None


def take_evidence(
    today: date, answers: Iterable[PlanAnswer], before: Evidence | None
) -> tuple[Evidence, dict[str, PlanUsage]]:
    """Tonight's evidence from tonight's answers and the evidence before it (None: the first).

    Also gives the usage of the plans that were read, for the history.
    """
    answers = list(answers)
    readings: dict[str, PlanReading] = {}
    usages: dict[str, PlanUsage] = {}
    known_before = known_ids(before)
    members_tonight = {key_id for answer in answers for key_id in answer.members or ()}
    known = members_tonight | known_before
    named_gone: set[str] = set()

    for answer in answers:
        plan_id, usage = answer.plan.usage_plan_id, answer.usage
        reading = _read_members(answer, before)
        unread = answer.failed
        unknown = 0
        if usage is not None:
            strangers = usage.ids - known
            unknown = len(strangers) + usage.odd_ids
            named_gone |= (usage.ids & known) - members_tonight
            if unread is None:
                told = before.told.get(plan_id) if before else None
                unread = _not_believed(usage, strangers, reading, told)
            if unread is None:
                usages[plan_id] = usage
        readings[plan_id] = replace(reading, unread=unread, unknown_ids=unknown)

    quota_since, stages_since = _since(today, readings, before)
    evidence = Evidence(
        day=today,
        first_day=_first_day(today, before),
        complete_since=_complete_since(today, readings, before),
        plans=readings,
        used_by_day=_sum_by_day(usages.values()),
        gone=frozenset(named_gone),
        told_through=_told_through(usages, readings, before),
        told=_told(today, usages, known, readings, before),
        quota_since=quota_since,
        stages_since=stages_since,
        first_days=_first_days(today, usages, readings, before),
    )
    evidence = _with_witnesses(evidence, usages, before)
    evidence = _carry_forward(evidence, answers, known, before)
    return _with_doubts(evidence, answers, before), usages


def _not_believed(
    usage: PlanUsage, strangers: set[str], reading: PlanReading, told: Told | None
) -> str | None:
    """Why a whole answer is no reading of the plan; None: it is one.

    Requests that were told once are told again for as long as usage reaches back. Aside are those
    of keys that left the plan since, of ids that are in no plan, and of keys whose days do not fit
    tonight.
    """
    unknown = len(strangers) + usage.odd_ids
    if unknown and strangers == usage.ids:
        # Perhaps the answer is keyed by something else than ids (seen: AF-305).
        return f"its usage names {unknown} ids and none is known"
    if told is None:
        return None
    stayed = set(reading.members) - usage.unclear
    aside = told.others + sum(
        used for key_id, used in zip(told.key_ids, told.used, strict=True) if key_id not in stayed
    )
    first, last = usage.start + DAY * EDGE_DAYS, min(told.through, usage.told_through)
    if last < first:  # it has not been read for so long that no day is the same
        lost = told.others + sum(told.used) > aside and not usage.had_requests
        return f"its usage tells no requests since the reading of {told.day}" if lost else None
    before = sum(used for day, used in told.by_day.items() if first <= day <= last)
    tonight = sum(used for day, used in usage.used_by_day.items() if first <= day <= last)
    if tonight >= (before - aside) * (1 - TOLERANCE):
        return None
    return (
        f"its usage tells {tonight:,} requests where the reading of {told.day} told {before:,} "
        "for the same days"
    )


def _first_day(today: date, before: Evidence | None) -> date:
    """The first day of the unbroken days that evidence covers, tonight's and those before it.

    The evidence before covers the days until two before its own; what lies between them and the
    first day that usage still tells of was read by nobody.
    """
    start = today - DAY * USAGE_DAYS
    if before is None or before.day - DAY < start:
        return start
    return before.first_day


def history_from(usage_plan_id: str, today: date, before: Evidence | None) -> date:
    """The first day of a plan's usage that tonight's usage files get, if it can be read.

    It is the day after the last that was ever read, and HISTORY_DAYS ago at the latest: what was
    missed is made up for, as far as usage reaches back.
    """
    first = today - DAY * USAGE_DAYS
    if before is None:
        return first
    through = before.told_through.get(usage_plan_id)
    if through is None:
        reading = before.plans.get(usage_plan_id)
        if reading is not None and reading.unread is not None:
            return first
        through = before.day - DAY  # it is new, or of an evidence that does not tell
    return max(first, min(today - DAY * HISTORY_DAYS, through + DAY))


def _told_through(
    usages: Mapping[str, PlanUsage],
    readings: Mapping[str, PlanReading],
    before: Evidence | None,
) -> dict[str, date]:
    earlier = before.told_through if before else {}
    told = {plan_id: usage.told_through for plan_id, usage in usages.items()}
    return {plan_id: day for plan_id, day in {**earlier, **told}.items() if plan_id in readings}


def may_be_value(key_id: str) -> bool:
    """Whether an id that no plan has is not of the shape of ids."""
    return not _KEY_ID.fullmatch(key_id)


def known_ids(before: Evidence | None) -> set[str]:
    """The ids of keys that are, or were, in a plan by the evidence before."""
    if before is None:
        return set()
    members = {key_id for plan in before.plans.values() for key_id in plan.members}
    return members | before.gone | before.left.keys()


def _read_members(answer: PlanAnswer, before: Evidence | None) -> PlanReading:
    plan = answer.plan
    earlier = before.plans.get(plan.usage_plan_id) if before else None
    reading = PlanReading(
        usage_plan_id=plan.usage_plan_id,
        name=plan.name,
        stages=plan.stages,
        has_quota=plan.has_quota,
        members=answer.members or (),
        members_read=answer.members is not None,
    )
    if answer.members is None:
        return replace(reading, members=earlier.members if earlier else ())
    if not answer.members and earlier and earlier.members and not earlier.emptied:
        # An empty answer is not proof of emptiness (seen: AF-208); the second in a row is taken for it.
        return replace(reading, members=earlier.members, members_read=False, emptied=True)
    return reading


def _complete_since(
    today: date, readings: Mapping[str, PlanReading], before: Evidence | None
) -> date | None:
    # An emptied plan keeps its former members in the evidence, so it hides no key's membership.
    if not all(reading.members_read or reading.emptied for reading in readings.values()):
        return None
    if before is not None and before.day == today - DAY and before.complete_since is not None:
        return before.complete_since
    return today


def _told(
    today: date,
    usages: Mapping[str, PlanUsage],
    known: set[str],
    readings: Mapping[str, PlanReading],
    before: Evidence | None,
) -> dict[str, Told]:
    """What each plan's last good reading told; one of 400 days ago is forgotten."""
    told = {
        plan_id: one
        for plan_id, one in (before.told if before else {}).items()
        if plan_id in readings and one.day >= today - FORGET_AFTER
    }
    for plan_id, usage in usages.items():
        by_day = {day: used for day, used in usage.used_by_day.items() if day <= usage.told_through}
        key_ids = tuple(sorted(usage.used.keys() & known))
        used = tuple(usage.used[key_id] for key_id in key_ids)
        others = sum(usage.used.values()) + usage.odd_used - sum(used)
        told[plan_id] = Told(today, usage.told_through, by_day, key_ids, used, others)
    return told


def _since(
    today: date, readings: Mapping[str, PlanReading], before: Evidence | None
) -> tuple[dict[str, date], dict[str, date]]:
    """Since when each plan has, or has not, its quota, and its stages; left out: since ever."""
    quota: dict[str, date] = {}
    stages: dict[str, date] = {}
    if before is None:
        return quota, stages
    for plan_id, reading in readings.items():
        earlier = before.plans.get(plan_id)
        if earlier is None:
            continue
        for since, known, same in (
            (quota, before.quota_since, earlier.has_quota == reading.has_quota),
            (stages, before.stages_since, set(earlier.stages) == set(reading.stages)),
        ):
            if not same:
                since[plan_id] = today
            elif plan_id in known:
                since[plan_id] = known[plan_id]
    return quota, stages


def _first_days(
    today: date,
    usages: Mapping[str, PlanUsage],
    readings: Mapping[str, PlanReading],
    before: Evidence | None,
) -> dict[str, date]:
    """The first day after the last gap of each plan that has had one.

    What lies between the last day that was read and the first that usage still tells of was read by
    nobody. A plan that opens no stage shows no use, as if nobody had read it.
    """
    start = today - DAY * USAGE_DAYS
    days: dict[str, date] = {}
    for plan_id, reading in readings.items():
        earlier = before.plans.get(plan_id) if before else None
        if not reading.stages:
            days[plan_id] = today
        elif before is None or earlier is None:
            continue
        elif plan_id in usages and _read_through(plan_id, earlier, before) < start:
            days[plan_id] = max(start, before.first_days.get(plan_id, start))
        elif plan_id in before.first_days:
            days[plan_id] = before.first_days[plan_id]
    return days


def _read_through(plan_id: str, earlier: PlanReading, before: Evidence) -> date:
    """The last day of a plan that any reading before tonight's told."""
    if told := before.told.get(plan_id):
        return told.through
    # A file of version 1 does not tell of every plan, or tells of its usage files only.
    through = before.told_through.get(plan_id)
    if through is None and earlier.unread is None:
        return before.day - DAY
    return through or date.min


def _with_witnesses(
    evidence: Evidence, usages: Mapping[str, PlanUsage], before: Evidence | None
) -> Evidence:
    """Dates the last request of each plan and stage, for the quota that it had or had not."""
    oldest = evidence.day - FORGET_AFTER
    plans = {one: on for one, on in (before.seen_plans if before else {}).items() if on >= oldest}
    stages = {one: on for one, on in (before.seen_stages if before else {}).items() if on >= oldest}
    for plan_id, usage in usages.items():
        reading, on = evidence.plans[plan_id], usage.last_request
        # A request of before a change was seen under the quota, and the stages, of before.
        if on is None or on < evidence.quota_since.get(plan_id, on):
            continue
        witness = plan_id, reading.has_quota
        plans[witness] = max(on, plans.get(witness, on))
        if on < evidence.stages_since.get(plan_id, on):
            continue
        for stage in reading.stages:
            witness = stage, reading.has_quota
            stages[witness] = max(on, stages.get(witness, on))
    return replace(evidence, seen_plans=plans, seen_stages=stages)


def _sum_by_day(usages: Iterable[PlanUsage]) -> dict[date, int]:
    total: dict[date, int] = {}
    for usage in usages:
        for day, used in usage.used_by_day.items():
            total[day] = total.get(day, 0) + used
    return total


def _carry_forward(
    evidence: Evidence,
    answers: Sequence[PlanAnswer],
    known: set[str],
    before: Evidence | None,
) -> Evidence:
    """Adds what the evidence before knew of each key, and what any answer tonight showed of it."""
    today = evidence.day
    oldest = today - FORGET_AFTER
    in_plans = evidence.members()
    in_plans_before = before.members() if before else {}

    left: dict[str, date] = {}
    changed: dict[str, date] = {}
    appeared: dict[str, date] = {}
    last_used: dict[str, date] = {}
    strangers: dict[str, date] = {}
    if before is not None:
        left.update({k: on for k, on in before.left.items() if k not in in_plans and on >= oldest})
        left.update({k: before.day for k in in_plans_before if k not in in_plans})
        changed.update({k: on for k, on in before.plans_changed.items() if on >= oldest})
        appeared.update({k: on for k, on in before.appeared.items() if on >= oldest})
        # Who is in a plan whose members were never read may have been in it all the time.
        blind = {
            p.usage_plan_id for p in before.plans.values() if not (p.members_read or p.members)
        }
        known_before = in_plans_before.keys() | before.left.keys()
        for key_id in in_plans.keys() | in_plans_before.keys():
            now = {plan for plan in in_plans.get(key_id, ()) if plan not in blind}
            if now != {plan for plan in in_plans_before.get(key_id, ()) if plan not in blind}:
                (changed if key_id in known_before else appeared)[key_id] = today
        keep = in_plans.keys() | left.keys()
        last_used.update({k: on for k, on in before.last_used.items() if k in keep})
        strangers.update({k: on for k, on in before.strangers.items() if on >= oldest})
    for usage in (answer.usage for answer in answers):
        for key_id, on in usage.last_used.items() if usage else ():
            if key_id in known and on > last_used.get(key_id, date.min):
                last_used[key_id] = on
            if not (key_id in in_plans or key_id in left) and not may_be_value(key_id):
                strangers[key_id] = max(on, strangers.get(key_id, on))
    for key_id in strangers.keys() & (in_plans.keys() | left.keys()):
        on = strangers.pop(key_id)
        last_used[key_id] = max(on, last_used.get(key_id, on))
    latest = sorted(strangers, key=lambda key_id: (strangers[key_id], key_id))[-STRANGERS:]
    return replace(
        evidence,
        left=left,
        plans_changed=changed,
        appeared=appeared,
        last_used=last_used,
        strangers={key_id: strangers[key_id] for key_id in latest},
    )


def _with_doubts(
    evidence: Evidence, answers: Sequence[PlanAnswer], before: Evidence | None
) -> Evidence:
    """Adds the keys whose own days do not fit, among themselves or to what was told before."""
    whole = {
        answer.plan.usage_plan_id: answer.usage
        for answer in answers
        if answer.usage is not None and answer.failed is None
    }
    in_plans = evidence.members()
    unclear = {
        key_id: plan_id
        for plan_id, usage in whole.items()
        for key_id in usage.unclear
        if key_id in in_plans
    }
    guessed = dict.fromkeys(unclear, evidence.day)
    if before is None:
        return replace(evidence, unclear=unclear, guessed=guessed)
    guessed = {
        key_id: on
        for key_id, on in {**before.guessed, **guessed}.items()
        if evidence.last_used.get(key_id) == on
    }
    oldest, edge = evidence.day - FORGET_AFTER, evidence.day - DAY * (USAGE_DAYS - EDGE_DAYS)
    untold: dict[str, date] = {}
    for key_id, on in before.last_used.items():
        if on != evidence.last_used.get(key_id) or on == guessed.get(key_id) or on < oldest:
            continue
        if key_id not in in_plans or on <= max(
            evidence.plans_changed.get(key_id, date.min), evidence.appeared.get(key_id, date.min)
        ):
            continue
        told = [whole[plan_id] for plan_id in in_plans[key_id] if plan_id in whole]
        if any(usage.last_used.get(key_id) == on for usage in told):
            continue
        if before.untold.get(key_id) == on or (
            on >= edge
            and len(told) == len(in_plans[key_id])
            and all(on <= usage.told_through for usage in told)
            and all(
                on > evidence.quota_since.get(plan_id, date.min) for plan_id in in_plans[key_id]
            )
        ):
            untold[key_id] = on
    return replace(evidence, unclear=unclear, guessed=guessed, untold=untold)


# --- as a file ------------------------------------------------------------------------------------


def to_document(evidence: Evidence) -> dict[str, Any]:
    """The evidence as JSON values, for its file."""
    return {
        "version": VERSION,
        "date": str(evidence.day),
        "first_day": str(evidence.first_day),
        "complete_since": str(evidence.complete_since) if evidence.complete_since else None,
        "plans": [
            {
                "usage_plan_id": plan.usage_plan_id,
                "name": plan.name,
                "stages": list(plan.stages),
                "has_quota": plan.has_quota,
                "members": list(plan.members),
                "members_read": plan.members_read,
                "emptied": plan.emptied,
                "unread": plan.unread,
                "unknown_ids": plan.unknown_ids,
            }
            for plan in evidence.plans.values()
        ],
        "last_used": _dates(evidence.last_used),
        "left": _dates(evidence.left),
        "plans_changed": _dates(evidence.plans_changed),
        "appeared": _dates(evidence.appeared),
        "used_by_day": _by_day(evidence.used_by_day),
        "seen_plans": _witnesses(evidence.seen_plans),
        "seen_stages": _witnesses(evidence.seen_stages),
        "gone": sorted(evidence.gone),
        "told_through": _dates(evidence.told_through),
        "told": {
            plan_id: {
                "date": str(told.day),
                "through": str(told.through),
                "by_day": _by_day(told.by_day),
                "key_ids": list(told.key_ids),
                "used": list(told.used),
                "others": told.others,
            }
            for plan_id, told in sorted(evidence.told.items())
        },
        "quota_since": _dates(evidence.quota_since),
        "stages_since": _dates(evidence.stages_since),
        "first_days": _dates(evidence.first_days),
        "unclear": dict(sorted(evidence.unclear.items())),
        "guessed": _dates(evidence.guessed),
        "untold": _dates(evidence.untold),
        "strangers": _dates(evidence.strangers),
    }


def from_document(document: Any) -> Evidence:
    """The evidence that a file holds, of this version or of version 1.

    Raises UnexpectedAnswer if it is of another version, or lacks a field, or one is of another kind.
    """
    try:
        version = document.get("version")
        if version == VERSION:
            return _read_evidence(document)
        if version == 1:
            return _read_evidence(_from_version_1(document))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as err:
        raise UnexpectedAnswer(
            "evidence", f"a field is lost or odd ({type(err).__name__})"
        ) from None
    raise UnexpectedAnswer("evidence", f"version {str(version)[:20]!r} is not known")


def _read_evidence(document: Mapping[str, Any]) -> Evidence:
    complete_since = document["complete_since"]
    return Evidence(
        day=date.fromisoformat(document["date"]),
        first_day=date.fromisoformat(document["first_day"]),
        complete_since=date.fromisoformat(complete_since) if complete_since else None,
        plans={plan["usage_plan_id"]: _read_plan(plan) for plan in document["plans"]},
        last_used=_read_dates(document["last_used"]),
        left=_read_dates(document["left"]),
        plans_changed=_read_dates(document["plans_changed"]),
        appeared=_read_dates(document["appeared"]),
        used_by_day=_read_by_day(document["used_by_day"]),
        seen_plans=_read_witnesses(document["seen_plans"]),
        seen_stages=_read_witnesses(document["seen_stages"]),
        gone=frozenset(_texts(document["gone"])),
        told_through=_read_dates(document["told_through"]),
        told={
            plan_id: Told(
                day=date.fromisoformat(told["date"]),
                through=date.fromisoformat(told["through"]),
                by_day=_read_by_day(told["by_day"]),
                key_ids=_texts(told["key_ids"]),
                used=tuple(map(_number, told["used"])),
                others=_number(told["others"]),
            )
            for plan_id, told in document["told"].items()
        },
        quota_since=_read_dates(document["quota_since"]),
        stages_since=_read_dates(document["stages_since"]),
        first_days=_read_dates(document["first_days"]),
        unclear={key_id: _text(plan_id) for key_id, plan_id in document["unclear"].items()},
        guessed=_read_dates(document["guessed"]),
        untold=_read_dates(document["untold"]),
        strangers=_read_dates(document["strangers"]),
    )


def _from_version_1(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document of version 1 as one of this version.

    It does not date its witnesses: they count as seen on its own date. It names plans in which a
    request was seen without saying whether they had a quota: as they have it in it.
    """
    quotas = {plan["usage_plan_id"]: plan["has_quota"] for plan in document["plans"]}
    told = ("told", "quota_since", "stages_since", "first_days")
    doubts = ("unclear", "guessed", "untold", "strangers")
    return {
        "told_through": {},  # the earliest files have none
        **document,
        **{name: {} for name in (*told, *doubts)},
        "seen_plans": [
            [plan_id, quotas[plan_id], document["date"]]
            for plan_id in document["seen_plans"]
            if plan_id in quotas
        ],
        "seen_stages": [
            [stage, quota, document["date"]] for stage, quota in document["seen_stages"]
        ],
    }


def _read_plan(plan: Mapping[str, Any]) -> PlanReading:
    unread = plan["unread"]
    return PlanReading(
        usage_plan_id=_text(plan["usage_plan_id"]),
        name=_text(plan["name"]),
        stages=_texts(plan["stages"]),
        has_quota=_flag(plan["has_quota"]),
        members=_texts(plan["members"]),
        members_read=_flag(plan["members_read"]),
        emptied=_flag(plan["emptied"]),
        unread=None if unread is None else _text(unread),
        unknown_ids=_number(plan["unknown_ids"]),
    )


def _dates(values: Mapping[str, date]) -> dict[str, str]:
    return {key_id: str(day) for key_id, day in sorted(values.items())}


def _by_day(values: Mapping[date, int]) -> dict[str, int]:
    return {str(day): used for day, used in sorted(values.items())}


def _witnesses(values: Mapping[tuple[str, bool], date]) -> list[list[Any]]:
    return [[what, has_quota, str(on)] for (what, has_quota), on in sorted(values.items())]


def _read_dates(values: Mapping[str, str]) -> dict[str, date]:
    return {key_id: date.fromisoformat(day) for key_id, day in values.items()}


def _read_by_day(values: Mapping[str, Any]) -> dict[date, int]:
    return {date.fromisoformat(day): _number(used) for day, used in values.items()}


def _read_witnesses(values: Iterable[Any]) -> dict[tuple[str, bool], date]:
    return {
        (_text(what), _flag(has_quota)): date.fromisoformat(on) for what, has_quota, on in values
    }


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(text, str) for text in values):
        raise TypeError
    return tuple(values)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value
