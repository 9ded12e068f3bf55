"""Lays out what a run has read of some plans, so that the night's next run can continue. Pure.

An id that may be a key's value is not written; only its number is.
"""

from array import array
from dataclasses import dataclass
from datetime import date
from typing import Any

from keyjanitor.domain.model.policy import Quota, Rate
from keyjanitor.domain.model.usage_plan import UsagePlan
from keyjanitor.domain.usage.evidence import UsagePlanAnswer, may_be_value
from keyjanitor.domain.usage.plan_usage import PlanUsage
from keyjanitor.errors import UnexpectedAnswer

VERSION = 2  # 1, of a build before 0.2.0, had no limits of plans: its night is read again


@dataclass(frozen=True, slots=True)
class Partial:
    """A part of a night's reading: the plans that were read, and the usage files that were written."""

    answers: tuple[UsagePlanAnswer, ...] = ()
    written: frozenset[date] = frozenset()

    def joined(self, other: "Partial") -> "Partial":
        """Both parts."""
        return Partial((*self.answers, *other.answers), self.written | other.written)


def to_partial(day: date, part: Partial, known: set[str]) -> dict[str, Any]:
    """A part as JSON values; `known` are the ids that are or were in a plan, by the evidence before."""
    return {
        "version": VERSION,
        "date": str(day),
        "answers": [_answer(answer, known) for answer in part.answers],
        "written": sorted(map(str, part.written)),
    }


def from_partial(document: Any, day: date) -> Partial:
    """The part in a document; raises UnexpectedAnswer if it is of another version or day, or malformed."""
    try:
        if (document["version"], document["date"]) == (VERSION, str(day)):
            same: dict[str, str] = {}
            return Partial(
                tuple(_read_answer(answer, same) for answer in document["answers"]),
                frozenset(map(date.fromisoformat, document["written"])),
            )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError) as err:
        raise UnexpectedAnswer(
            "partial", f"a field is missing or wrong ({type(err).__name__})"
        ) from None
    raise UnexpectedAnswer("partial", "it is of another version or date")


def _answer(answer: UsagePlanAnswer, known: set[str]) -> dict[str, Any]:
    plan = answer.plan
    members = None if answer.members is None else list(answer.members)
    return {
        "plan": _plan(plan),
        "members": members,
        "failed": answer.failed,
        "usage": answer.usage and _usage(answer.usage, known.union(members or ())),
    }


def _plan(plan: UsagePlan) -> list[Any]:
    quota = plan.quota and [plan.quota.limit, plan.quota.period]
    stages = {
        stage: {method: _rate(rate) for method, rate in methods.items()}
        for stage, methods in plan.stages.items()
    }
    limits = [stages, plan.throttle and _rate(plan.throttle), quota]
    return [plan.usage_plan_id, plan.name, *limits, plan.offset, plan.product_code]


def _rate(rate: Rate) -> list[float]:
    return [rate.rate_limit, rate.burst_limit]


def _read_plan(document: Any) -> UsagePlan:
    plan_id, name, stages, throttle, quota, offset, product_code = document
    by_stage = {
        stage: {method: Rate(*rate) for method, rate in methods.items()}
        for stage, methods in stages.items()
    }
    return UsagePlan(
        usage_plan_id=plan_id,
        name=name,
        stages=by_stage,
        throttle=Rate(*throttle) if throttle else None,
        quota=Quota(*quota) if quota else None,
        offset=offset,
        product_code=product_code,
    )


def _usage(usage: PlanUsage, known: set[str]) -> dict[str, Any]:
    ids = sorted(key_id for key_id in usage.ids if key_id in known or not may_be_value(key_id))
    told = set(ids)
    odd_used = sum(used for key_id, used in usage.used.items() if key_id not in told)
    return {
        "days": [str(usage.start), str(usage.end), str(usage.history_from)],
        "told_through": str(usage.read_through),
        "kept": usage.kept,
        "pages": usage.pages,
        "used_by_day": {str(day): used for day, used in usage.used_by_day.items()},
        "odd_ids": usage.odd_ids + len(usage.ids) - len(ids),
        "odd_used": usage.odd_used + odd_used,
        "ids": ids,
        # Of each id in turn: the last use in days from the first, its requests, its days.
        "last": [
            (usage.last_used[key_id] - usage.start).days if key_id in usage.last_used else None
            for key_id in ids
        ],
        "used": [usage.used.get(key_id, 0) for key_id in ids],
        "numbers": [list(usage.days[key_id]) if key_id in usage.days else None for key_id in ids],
        "unclear": sorted(usage.unclear & told),
    }


def _read_answer(document: Any, same: dict[str, str]) -> UsagePlanAnswer:
    plan = _read_plan(document["plan"])
    members, usage = document["members"], document["usage"]
    return UsagePlanAnswer(
        plan=plan,
        members=None if members is None else tuple(same.setdefault(one, one) for one in members),
        usage=None if usage is None else _read_usage(plan, usage, same),
        failed=document["failed"],
    )


def _read_usage(plan: UsagePlan, document: Any, same: dict[str, str]) -> PlanUsage:
    start, end, first = map(date.fromisoformat, document["days"])
    usage = PlanUsage(plan, start, end, first, kept=document["kept"], same=same)
    usage.read_through = date.fromisoformat(document["told_through"])
    usage.pages = document["pages"]
    usage.used_by_day = {
        date.fromisoformat(day): used for day, used in document["used_by_day"].items()
    }
    usage.had_requests = bool(usage.used_by_day)
    usage.odd_ids, usage.odd_used = document["odd_ids"], document["odd_used"]
    ids = [same.setdefault(key_id, key_id) for key_id in document["ids"]]
    usage.ids = set(ids)
    usage.unclear = set(document["unclear"])
    columns = (document[name] for name in ("last", "used", "numbers"))
    for key_id, last, used, numbers in zip(ids, *columns, strict=True):
        if last is not None:
            usage.last_used[key_id] = usage.dates[last]
        if used:
            usage.used[key_id] = used
        if numbers is not None:
            usage.days[key_id] = array("q", numbers)
    return usage
