"""Reduces one night's reading of API Gateway to what it proves about every key's use. Pure.

A night's evidence carries forward what the nights before it proved, so that a sweep needs one file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from keyjanitor.domain.model.keys import DAY
from keyjanitor.domain.model.usage_plan import UsagePlan
from keyjanitor.domain.usage.access_logs import SeenInLogs
from keyjanitor.domain.usage.plan_usage import EDGE_DAYS, USAGE_DAYS, PlanUsage

FORGET_AFTER = timedelta(days=400)


# A key id has ten of these characters, a value at least 20: a longer text may be a value.
_KEY_ID = re.compile(r"[a-z0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class UsagePlanReading:
    """Result of one night's reading of one usage plan.

    `members` are key ids: those of tonight if `members_read`, else those of the last night that read
    them. `emptied`: tonight's answer was empty, and the night before the plan had members. `unread`:
    why the plan's usage is not known through the day before yesterday; None: it is known. An answer
    with clearly fewer requests than the reading before it for the same days is unread, too.
    `unknown_ids` counts the ids in its usage that are in no plan.
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
    """Requests of one usage plan by its last good reading, which was on `day`.

    `through` is the last day that it covers, `by_day` has the days with requests. `used` has the sum
    for each of `key_ids`, `others` the sum for ids that are in no plan. Both count only the days that
    the next night's reading is compared with: not the first EDGE_DAYS and one more. `since` is the
    first day of an answer that went back less far than it was asked to; None: it went back as far.
    """

    day: date
    through: date
    by_day: Mapping[date, int] = field(default_factory=dict)
    key_ids: tuple[str, ...] = ()
    used: tuple[int, ...] = ()
    others: int = 0
    since: date | None = None

    @property
    def first_compared(self) -> date:
        """The day after which `used` and `others` count."""
        return (self.since or self.day - DAY * USAGE_DAYS) + DAY * EDGE_DAYS


@dataclass(frozen=True, slots=True)
class AnsweredRange:
    """The range of days over which GetUsage answered where it had refused more, found on `found_on`.

    It begins `back` days before its end, which is `left_out` days before the date of the reading.
    """

    back: int
    left_out: int
    found_on: date


@dataclass(frozen=True, slots=True)
class Evidence:
    """Usage reading of `day`: what it proved, and what it carries forward from earlier ones.

    `first_day`: the first day that the first evidence covers. `complete_since`: the first night of
    the unbroken chain, one evidence a date, in which every plan's members were read; None when
    tonight breaks it. `left_plans_on`: when a key that is in no plan now was last seen in one.
    `plans_changed`: when a key was first seen in other plans than the night before.
    `first_in_plan_on`: when a key was first seen in a plan, of those that no evidence before had
    seen. `witnessed_plans` (plan id, has a quota), `seen_stages` (stage, has a quota): the last day on
    which a request was seen there. `gone`: ids that usage still names though no plan has them any more. `read_through`: the
    last day of each plan's usage that is in the usage files; a plan of which none is, is not in it.

    `told`: the requests of each plan that was ever read, by its last good reading. `quota_since`,
    `stages_since`: the first night that saw a plan's quota come or go, its stages change.
    `first_days`: the first day after a gap in the readings of a plan; a plan without a gap is not
    in it. `unclear`: keys whose own days did not fit tonight, with the plan. `guessed`: keys whose
    last use is a guess of such a night. `untold`: keys whose last use (the day) is in an earlier
    reading, but not in tonight's. `strangers`: the last use of ids that are in no plan; never
    shown. `usage_range`: what GetUsage answered where it refused some days; None: it refused none.
    `seen_in_logs`: what access logs showed; None: none was ever asked.
    """

    day: date
    first_day: date
    complete_since: date | None
    plans: Mapping[str, UsagePlanReading]
    last_used: Mapping[str, date] = field(default_factory=dict)
    left_plans_on: Mapping[str, date] = field(default_factory=dict)
    plans_changed: Mapping[str, date] = field(default_factory=dict)
    first_in_plan_on: Mapping[str, date] = field(default_factory=dict)
    used_by_day: Mapping[date, int] = field(default_factory=dict)
    witnessed_plans: Mapping[tuple[str, bool], date] = field(default_factory=dict)
    seen_stages: Mapping[tuple[str, bool], date] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    read_through: Mapping[str, date] = field(default_factory=dict)
    told: Mapping[str, Told] = field(default_factory=dict)
    quota_since: Mapping[str, date] = field(default_factory=dict)
    stages_since: Mapping[str, date] = field(default_factory=dict)
    first_days: Mapping[str, date] = field(default_factory=dict)
    unclear: Mapping[str, str] = field(default_factory=dict)
    guessed: Mapping[str, date] = field(default_factory=dict)
    untold: Mapping[str, date] = field(default_factory=dict)
    strangers: Mapping[str, date] = field(default_factory=dict, repr=False)
    usage_range: AnsweredRange | None = None
    seen_in_logs: SeenInLogs | None = field(default=None, repr=False)

    def plan_names(self) -> dict[str, str]:
        """The names of the usage plans, by id."""
        return {plan.usage_plan_id: plan.name for plan in self.plans.values()}

    def plans_of_key(self) -> dict[str, list[str]]:
        """The plans of every key that is in one, by the last reading of each plan."""
        plans_of_key: dict[str, list[str]] = {}
        for plan in self.plans.values():
            for key_id in plan.members:
                plans_of_key.setdefault(key_id, []).append(plan.usage_plan_id)
        return plans_of_key

    def is_witnessed(self, plan: UsagePlanReading) -> bool:
        """True if silence in `plan` proves idleness (believed: AF-308): a request was seen in or beside it.

        Seen in it counts only while it likewise had, or had not, a quota; beside it is in another
        plan on one of its stages of which the same is true. Both count for 400 days.
        """
        oldest = self.day - FORGET_AFTER
        seen = self.witnessed_plans.get((plan.usage_plan_id, plan.has_quota), date.min) >= oldest
        return seen or any(
            self.seen_stages.get((stage, plan.has_quota), date.min) >= oldest
            for stage in plan.stages
        )

    def logged_since(self, plan: UsagePlanReading) -> date | None:
        """The day from which access logs show every use of a plan's keys; None: they do not.

        All of its stages log, and have been read whole since then, tonight included.
        """
        logs = self.seen_in_logs
        return logs.covers_since(plan.stages) if logs is not None else None

    def is_silent(self, plan: UsagePlanReading) -> bool:
        """True if neither usage nor access logs show who uses the plan's keys."""
        return not self.is_witnessed(plan) and self.logged_since(plan) is None

    def used_keys(self) -> frozenset[str]:
        """The ids of all keys with a request in any reading, or in an access log."""
        logged = self.seen_in_logs.last_used if self.seen_in_logs else {}
        return frozenset({*self.last_used, *self.strangers, *logged})

    def last_use(self, key_id: str) -> date | None:
        """The last day with a request of a key in any reading, or in an access log.

        The key may be in no plan.
        """
        metered = self.last_used.get(key_id) or self.strangers.get(key_id)
        if self.seen_in_logs is None:
            return metered
        logged = self.seen_in_logs.last_used.get(key_id)
        if metered is None or logged is None:
            return metered or logged
        return max(metered, logged)


@dataclass(frozen=True, slots=True)
class UsagePlanAnswer:
    """Members and usage of one usage plan, or why they are incomplete (`failed`).

    The part that was read before the failure shows use. It does not prove that a key was silent.
    """

    plan: UsagePlan
    members: tuple[str, ...] | None
    usage: PlanUsage | None
    failed: str | None = None


def may_be_value(key_id: str) -> bool:
    """True if an id that is in no plan does not look like a key id of API Gateway."""
    return not _KEY_ID.fullmatch(key_id)


def known_ids(before: Evidence | None) -> set[str]:
    """Ids of the keys that are or were in a plan, by the evidence of the night before."""
    if before is None:
        return set()
    members = {key_id for plan in before.plans.values() for key_id in plan.members}
    return members | before.gone | before.left_plans_on.keys()
