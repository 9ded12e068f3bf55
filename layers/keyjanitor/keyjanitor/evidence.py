"""Reduces one night's reading of API Gateway to what it proves about every key's use. Pure.

A night's evidence carries forward what the nights before it proved, so that a sweep needs one file.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import chain
from typing import Any

from keyjanitor.errors import UnexpectedAnswer
from keyjanitor.words import DAY, UsagePlan

USAGE_DAYS = 90  # GetUsage tells of about the last 90 days (aws-facts, GetUsage: seen)
HISTORY_DAYS = 3  # of the usage files, written anew every night: use is reported with a lag
FORGET_AFTER = timedelta(days=400)

VERSION = 1
NOT_TOLD = -(2**63)  # stands for a `remaining` that API Gateway did not tell


@dataclass(frozen=True, slots=True)
class PlanReading:
    """What one night read of one usage plan.

    `members` are the last that were read, which is tonight only if `members_read`. `emptied` says
    that tonight's answer was empty where the evidence before had members. `unread` says why the
    plan's usage is not known through the day before yesterday; None: it is. `unknown_ids` counts
    the ids that its usage named and that no plan has.
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
class Evidence:
    """What the reading of `day` proved, and what it carries forward.

    `first_day`: the first day that the first evidence covers. `complete_since`: the first night of
    the unbroken chain, one evidence a date, in which every plan's members were read; None when
    tonight breaks it. `left`: when a key that is in no plan now was last seen in one.
    `plans_changed`: when a key was first seen in other plans than the night before. `appeared`: when
    a key was first seen in a plan, of those that no evidence before had seen. `seen_plans`,
    `seen_stages` (stage, has a quota): where a request was ever seen. `gone`: ids that usage still
    names though no plan has them any more. `told_through`: the last day of each plan's usage that
    was read, tonight or before; a plan that never was is not in it.
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
    seen_plans: frozenset[str] = frozenset()
    seen_stages: frozenset[tuple[str, bool]] = frozenset()
    gone: frozenset[str] = frozenset()
    told_through: Mapping[str, date] = field(default_factory=dict)

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
        """Whether silence in `plan` means anything: a request was seen in it, or beside it.

        Beside it is in another plan on one of its stages that likewise has, or has not, a quota.
        """
        return plan.usage_plan_id in self.seen_plans or any(
            (stage, plan.has_quota) in self.seen_stages for stage in plan.stages
        )


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
    dates as API Gateway counts them.
    """

    def __init__(
        self, plan: UsagePlan, start: date, end: date, history_from: date | None = None
    ) -> None:
        self._plan = plan
        self._start = start
        self._end = end
        self.history_from = max(start, history_from or end - DAY * HISTORY_DAYS)
        self.told_through = end - DAY
        self.last_used: dict[str, date] = {}
        self.used_by_day: dict[date, int] = {}
        self.had_requests = False
        self.pages = 0
        self.ids: set[str] = set()
        self.unclear: set[str] = set()
        self._days: dict[str, array[int]] = {}

    def add(self, page: UsagePage) -> None:
        """Takes one page in.

        Raises UnexpectedAnswer if the page is about other days than were asked for (it has to
        start where it was asked to, and to reach the day before yesterday) or holds no numbers.
        """
        if page.start != self._start:
            raise UnexpectedAnswer("GetUsage", f"starts on {page.start}, asked was {self._start}")
        if page.end < self._end - 2 * DAY:
            raise UnexpectedAnswer("GetUsage", f"ends on {page.end}, asked was {self._end}")
        self.pages += 1
        self.told_through = min(self.told_through, page.end)
        days = (page.end - page.start).days + 1
        for key_id, pairs in page.items.items():
            self.ids.add(key_id)
            if pairs is not None and not isinstance(pairs, list | tuple):
                raise UnexpectedAnswer("GetUsage", "the days of a key are no list")
            self._add_key(key_id, pairs or (), days)

    def tells_of(self, key_id: str) -> bool:
        """Whether it has a number of its own for each day of a key."""
        return key_id in self._days

    def on(self, day: date, key_id: str) -> tuple[int, int | None]:
        """(used, remaining) of a key on a day from `history_from` through `told_through`.

        A plan that was read to the end does not mention who did not use it: that is (0, None). Of
        the keys in `unclear` nobody knows it.
        """
        days = self._days.get(key_id)
        if days is None:
            return 0, None
        index = 2 * (day - self.history_from).days
        remaining = days[index + 1]
        return days[index], None if remaining == NOT_TOLD else remaining

    def _add_key(self, key_id: str, pairs: Sequence[Any], days: int) -> None:
        fits = len(pairs) == days
        has_quota = self._plan.has_quota
        last = -1
        for index, pair in enumerate(pairs):
            used, remaining = _pair(pair)
            # A day of a plan with quota on which nothing is left is use: the key hammers at a
            # closed door. (design, The life of a key)
            if used or (has_quota and remaining is not None and remaining <= 0):
                last = index
                if used:
                    self._count(used, self._start + DAY * index if fits else self._end)
        if last >= 0:
            # Of fewer pairs than days nobody knows which days they are: the last, to be safe.
            day = self._start + DAY * last if fits else self._end
            self.last_used[key_id] = max(day, self.last_used.get(key_id, day))
            if not fits:
                self.unclear.add(key_id)
        if fits:
            self._days[key_id] = _numbers(pairs[(self.history_from - self._start).days :])

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
    """What came of asking for one plan: members and usage, or why there are none."""

    plan: UsagePlan
    members: tuple[str, ...] | None
    usage: PlanUsage | None
    failed: str | None = None


def take_evidence(
    today: date, answers: Iterable[PlanAnswer], before: Evidence | None
) -> tuple[Evidence, dict[str, PlanUsage]]:
    """Tonight's evidence from tonight's answers and the evidence before it (None: the first).

    Also gives the usage of the plans that were read, for the history. Makes no difference between
    an id that nobody knows and none at all, but for counting it.
    """
    answers = list(answers)
    readings: dict[str, PlanReading] = {}
    usages: dict[str, PlanUsage] = {}
    known_before = _known(before)
    members_tonight = {key_id for answer in answers for key_id in answer.members or ()}
    known = members_tonight | known_before
    named_gone: set[str] = set()

    for answer in answers:
        reading = _read_members(answer, before)
        usage = answer.usage
        unread = answer.failed
        unknown = 0
        if usage is not None:
            strangers = usage.ids - known
            unknown = len(strangers)
            named_gone |= (usage.ids & known) - members_tonight
            if usage.ids and strangers == usage.ids:
                # Perhaps the answer is keyed by something else than ids (aws-facts, GetUsage).
                unread = f"its usage names {unknown} ids and none is known"
            else:
                usages[answer.plan.usage_plan_id] = usage
        readings[answer.plan.usage_plan_id] = replace(reading, unread=unread, unknown_ids=unknown)

    plans = readings
    evidence = Evidence(
        day=today,
        first_day=_first_day(today, before),
        complete_since=_complete_since(today, readings, before),
        plans=plans,
        seen_plans=_seen_plans(usages, before),
        seen_stages=_seen_stages(usages, readings, before),
        used_by_day=_sum_by_day(usages.values()),
        gone=frozenset(named_gone),
        told_through=_told_through(usages, readings, before),
    )
    return _carry_forward(evidence, usages, known, before), usages


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


def _known(before: Evidence | None) -> set[str]:
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
        # An empty answer is not proof of emptiness; the second in a row is taken for it.
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


def _seen_plans(usages: Mapping[str, PlanUsage], before: Evidence | None) -> frozenset[str]:
    seen = {plan_id for plan_id, usage in usages.items() if usage.had_requests}
    return frozenset(seen | (before.seen_plans if before else frozenset()))


def _seen_stages(
    usages: Mapping[str, PlanUsage],
    readings: Mapping[str, PlanReading],
    before: Evidence | None,
) -> frozenset[tuple[str, bool]]:
    seen = {
        (stage, readings[plan_id].has_quota)
        for plan_id, usage in usages.items()
        if usage.had_requests
        for stage in readings[plan_id].stages
    }
    return frozenset(seen | (before.seen_stages if before else frozenset()))


def _sum_by_day(usages: Iterable[PlanUsage]) -> dict[date, int]:
    total: dict[date, int] = {}
    for usage in usages:
        for day, used in usage.used_by_day.items():
            total[day] = total.get(day, 0) + used
    return total


def _carry_forward(
    evidence: Evidence,
    usages: Mapping[str, PlanUsage],
    known: set[str],
    before: Evidence | None,
) -> Evidence:
    today = evidence.day
    oldest = today - FORGET_AFTER
    in_plans = evidence.members()
    in_plans_before = before.members() if before else {}

    left: dict[str, date] = {}
    changed: dict[str, date] = {}
    appeared: dict[str, date] = {}
    last_used: dict[str, date] = {}
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
    for usage in usages.values():
        for key_id, on in usage.last_used.items():
            if key_id in known and on > last_used.get(key_id, date.min):
                last_used[key_id] = on
    return replace(
        evidence, left=left, plans_changed=changed, appeared=appeared, last_used=last_used
    )


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
        "used_by_day": {str(day): used for day, used in sorted(evidence.used_by_day.items())},
        "seen_plans": sorted(evidence.seen_plans),
        "seen_stages": sorted([stage, quota] for stage, quota in evidence.seen_stages),
        "gone": sorted(evidence.gone),
        "told_through": _dates(evidence.told_through),
    }


def from_document(document: Mapping[str, Any]) -> Evidence:
    """The evidence that a file holds; raises UnexpectedAnswer if it is of another version."""
    if document.get("version") != VERSION:
        raise UnexpectedAnswer("evidence", f"version {document.get('version')!r} is not known")
    complete_since = document["complete_since"]
    return Evidence(
        day=date.fromisoformat(document["date"]),
        first_day=date.fromisoformat(document["first_day"]),
        complete_since=date.fromisoformat(complete_since) if complete_since else None,
        plans={
            plan["usage_plan_id"]: PlanReading(
                usage_plan_id=plan["usage_plan_id"],
                name=plan["name"],
                stages=tuple(plan["stages"]),
                has_quota=plan["has_quota"],
                members=tuple(plan["members"]),
                members_read=plan["members_read"],
                emptied=plan["emptied"],
                unread=plan["unread"],
                unknown_ids=plan["unknown_ids"],
            )
            for plan in document["plans"]
        },
        last_used=_read_dates(document["last_used"]),
        left=_read_dates(document["left"]),
        plans_changed=_read_dates(document["plans_changed"]),
        appeared=_read_dates(document["appeared"]),
        used_by_day={
            date.fromisoformat(day): used for day, used in document["used_by_day"].items()
        },
        seen_plans=frozenset(document["seen_plans"]),
        seen_stages=frozenset((stage, quota) for stage, quota in document["seen_stages"]),
        gone=frozenset(document["gone"]),
        told_through=_read_dates(document.get("told_through", {})),  # earlier files have none
    )


def _dates(values: Mapping[str, date]) -> dict[str, str]:
    return {key_id: str(day) for key_id, day in sorted(values.items())}


def _read_dates(values: Mapping[str, str]) -> dict[str, date]:
    return {key_id: date.fromisoformat(day) for key_id, day in values.items()}
