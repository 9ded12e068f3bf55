"""Lays out the daily usage files: each key's use on a day, or why it is not known. Pure.

A later night replaces what it has read again. Rows that an earlier night wrote stay for a plan that
could not be read tonight, for a plan that is gone, and for a key that left its plan.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

from keyjanitor.domain.model.keys import DAY
from keyjanitor.domain.usage.evidence import Evidence, UsagePlanReading
from keyjanitor.domain.usage.plan_usage import HISTORY_DAYS, USAGE_DAYS, PlanUsage

# A day's file has at most so many rows for single keys; each plan beyond that has one row.
ROWS = 250_000

COLUMNS = ("plan_id", "plan_name", "stages", "key_id", "used", "remaining", "missing")

LEFT = "the key left the plan before the day was read"
DELETED = "the plan was deleted before the day was read"
UNCLEAR = "API Gateway told fewer or more days than it was asked for"
TOO_MANY = "the account's plans have more keys than the usage files have room for"
NOT_TOLD_BACK = "API Gateway told no days so long ago"
TOO_LONG_AGO = "the first reading had no room for days so long ago"

Row = dict[str, Any]
Standing = dict[str | None, Row]  # the rows of one plan and day, by key id; None: of none


class UsageFiles:
    """Lines of the usage files that a night's reading writes.

    `usages` are those of the plans that were read, `before` is the evidence before tonight's.
    """

    def __init__(
        self, evidence: Evidence, usages: Mapping[str, PlanUsage], before: Evidence | None
    ) -> None:
        self._evidence = evidence
        self._usages = usages
        self._before = before
        self._plans_before = before.plans if before else {}
        self._whole = self._with_room()
        # Ids that were in no plan may be anything; they are counted and never written.
        known = evidence.plans_of_key().keys() | evidence.gone
        # If a plan's members were not read tonight, a missing key does not mean that it had no requests.
        self._members = {
            plan_id: set(
                evidence.plans[plan_id].members if evidence.plans[plan_id].members_read else ()
            )
            for plan_id in usages.keys() & self._whole
        }
        self._ids = {
            plan_id: members | (usages[plan_id].ids & known)
            for plan_id, members in self._members.items()
        }
        self._in_turn = {plan_id: sorted(ids) for plan_id, ids in self._ids.items()}

    def _with_room(self) -> set[str]:
        """The plans whose keys get a row each: in the order of their ids, while there is room."""
        room, whole = ROWS, set()
        for plan_id, plan in sorted(self._evidence.plans.items()):
            usage = self._usages.get(plan_id)
            if len(plan.members) <= room and (usage is None or usage.kept):
                whole.add(plan_id)
                room -= len(plan.members)
        return whole

    @property
    def days(self) -> list[date]:
        """The days to write tonight: the last three, and those that were not written yet."""
        today = self._evidence.day
        first = min(
            today - DAY * HISTORY_DAYS,
            *(usage.history_from for usage in self._usages.values()),
            self._before.day if self._before else today,
        )
        first = max(first, today - DAY * USAGE_DAYS)
        return [first + DAY * index for index in range((today - first).days)]

    def rows(self, day: date, earlier: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
        """The rows of a day's file, by plan and key; `earlier` are the rows that it has so far.

        Every member of every plan has a row, also with zero use. If `missing` says why the use is not
        known, `used` and `remaining` are None. A row without a key id is of a plan whose members are
        not known.
        """
        stand: dict[str, Standing] = {}
        for row in earlier:
            whole = {name: row.get(name) for name in COLUMNS}
            stand.setdefault(str(row["plan_id"]), {})[row["key_id"]] = whole
        plans = self._evidence.plans.keys() | self._plans_before.keys() | stand.keys()
        for plan_id in sorted(plans):
            yield from self._rows_of(plan_id, day, stand.get(plan_id, {}))

    def _rows_of(self, plan_id: str, day: date, stand: Standing) -> Iterable[Row]:
        plan, usage = self._evidence.plans.get(plan_id), self._usages.get(plan_id)
        if plan is None:
            gone = self._plans_before.get(plan_id)
            if gone is not None and self._is_news(plan_id, day):
                return _unknown(gone, DELETED, stand)
            return stand.values()
        if plan_id not in self._whole:
            return stand.values() or [_row(plan, None, missing=TOO_MANY)]
        if usage is None:
            return _unknown(plan, plan.unread or "unread", stand)
        if day > usage.read_through:
            return _unknown(plan, f"told only through {usage.read_through}", stand)
        if day < usage.history_from:
            is_news = not stand and self._is_news(plan_id, day)
            why = TOO_LONG_AGO if day >= usage.start else NOT_TOLD_BACK
            return [_row(plan, None, missing=why)] if is_news else stand.values()
        return self._told(plan, usage, day, stand)

    def _told(
        self, plan: UsagePlanReading, usage: PlanUsage, day: date, stand: Standing
    ) -> Iterator[Row]:
        told, members = self._ids[plan.usage_plan_id], self._members[plan.usage_plan_id]
        before = self._plans_before.get(plan.usage_plan_id)
        left: set[str] = set()
        if before is not None and self._is_news(plan.usage_plan_id, day):
            left = set(before.members) - members
        more = {key_id for key_id in stand if key_id is not None} | left
        for key_id in sorted(told | more) if more - told else self._in_turn[plan.usage_plan_id]:
            stood = stand.get(key_id)
            if key_id not in told:
                yield stood or _row(plan, key_id, missing=LEFT)
            elif key_id in usage.unclear:
                yield stood or _row(plan, key_id, missing=UNCLEAR)
            elif stood and stood["used"] and not usage.tells_of(key_id):
                yield stood  # a missing key does not undo requests that were read before
            elif key_id in members or key_id in more or usage.on(day, key_id)[0]:
                yield _row(plan, key_id, *usage.on(day, key_id))

    def _is_news(self, plan_id: str, day: date) -> bool:
        """True if this day of the plan was not read before tonight."""
        before = self._before
        return before is None or day > before.read_through.get(plan_id, before.day - DAY)


def _unknown(plan: UsagePlanReading, why: str, stand: Standing) -> Iterator[Row]:
    """Rows of a plan whose use is unknown tonight; rows with a known use stay."""
    ids = {key_id for key_id in stand if key_id is not None}.union(plan.members)
    for key_id in sorted(ids):
        stood = stand.get(key_id)
        known = stood is not None and stood["missing"] is None
        yield stood if stood and known else _row(plan, key_id, missing=why)
    if not ids:
        yield _row(plan, None, missing=why)


def _row(
    plan: UsagePlanReading,
    key_id: str | None,
    used: int | None = None,
    remaining: int | None = None,
    missing: str | None = None,
) -> Row:
    return {
        "plan_id": plan.usage_plan_id,
        "plan_name": plan.name,
        "stages": plan.stages,
        "key_id": key_id,
        "used": used,
        "remaining": remaining,
        "missing": missing,
    }
