"""Lays out the evidence as the JSON of its file, and reads it back. Pure."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from keyjanitor.domain.usage import access_logs_file
from keyjanitor.domain.usage.evidence import AnsweredRange, Evidence, Told, UsagePlanReading
from keyjanitor.errors import UnexpectedAnswer

VERSION = 3

_NAMES_OF_VERSION_2 = {
    "left": "left_plans_on",
    "appeared": "first_in_plan_on",
    "seen_plans": "witnessed_plans",
    "told_through": "read_through",
}


def to_document(evidence: Evidence) -> dict[str, Any]:
    """The evidence as JSON values, for its file.

    A reading of an account whose access logs were never asked says nothing of them.
    """
    seen = evidence.seen_in_logs
    document = _document(evidence)
    return document | ({"seen_in_logs": access_logs_file.to_values(seen)} if seen else {})


def _document(evidence: Evidence) -> dict[str, Any]:
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
        "left_plans_on": _dates(evidence.left_plans_on),
        "plans_changed": _dates(evidence.plans_changed),
        "first_in_plan_on": _dates(evidence.first_in_plan_on),
        "used_by_day": _by_day(evidence.used_by_day),
        "witnessed_plans": _witnesses(evidence.witnessed_plans),
        "seen_stages": _witnesses(evidence.seen_stages),
        "gone": sorted(evidence.gone),
        "read_through": _dates(evidence.read_through),
        "told": {plan_id: _told_document(told) for plan_id, told in sorted(evidence.told.items())},
        "quota_since": _dates(evidence.quota_since),
        "stages_since": _dates(evidence.stages_since),
        "first_days": _dates(evidence.first_days),
        "unclear": dict(sorted(evidence.unclear.items())),
        "guessed": _dates(evidence.guessed),
        "untold": _dates(evidence.untold),
        "strangers": _dates(evidence.strangers),
        **_range_document(evidence.usage_range),
    }


def _range_document(noted: AnsweredRange | None) -> dict[str, Any]:
    if noted is None:
        return {}
    found_on = str(noted.found_on)
    return {"usage_range": {"back": noted.back, "left_out": noted.left_out, "found_on": found_on}}


def _told_document(told: Told) -> dict[str, Any]:
    return {
        "date": str(told.day),
        "through": str(told.through),
        "by_day": _by_day(told.by_day),
        "key_ids": list(told.key_ids),
        "used": list(told.used),
        "others": told.others,
        **({"since": str(told.since)} if told.since else {}),
    }


def from_document(document: Any) -> Evidence:
    """The evidence that a file holds, of this version or of one before it.

    Raises UnexpectedAnswer if it is of another version, or lacks a field, or one is of another kind.
    """
    try:
        version = document.get("version")
        if version == VERSION:
            return _read_evidence(document)
        if version == VERSION - 1:
            return _read_evidence(_from_version_2(document))
        if version == 1:
            return _read_evidence(_from_version_2(_from_version_1(document)))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as err:
        raise UnexpectedAnswer(
            "evidence", f"a field is missing or wrong ({type(err).__name__})"
        ) from None
    raise UnexpectedAnswer("evidence", f"version {str(version)[:20]!r} is not known")


def _read_evidence(document: Mapping[str, Any]) -> Evidence:
    complete_since = document["complete_since"]
    seen = document.get("seen_in_logs")
    return Evidence(
        day=date.fromisoformat(document["date"]),
        first_day=date.fromisoformat(document["first_day"]),
        complete_since=date.fromisoformat(complete_since) if complete_since else None,
        plans={plan["usage_plan_id"]: _read_plan(plan) for plan in document["plans"]},
        last_used=_read_dates(document["last_used"]),
        left_plans_on=_read_dates(document["left_plans_on"]),
        plans_changed=_read_dates(document["plans_changed"]),
        first_in_plan_on=_read_dates(document["first_in_plan_on"]),
        used_by_day=_read_by_day(document["used_by_day"]),
        witnessed_plans=_read_witnesses(document["witnessed_plans"]),
        seen_stages=_read_witnesses(document["seen_stages"]),
        gone=frozenset(_texts(document["gone"])),
        read_through=_read_dates(document["read_through"]),
        told={
            plan_id: Told(
                day=date.fromisoformat(told["date"]),
                through=date.fromisoformat(told["through"]),
                by_day=_read_by_day(told["by_day"]),
                key_ids=_texts(told["key_ids"]),
                used=tuple(map(_number, told["used"])),
                others=_number(told["others"]),
                since=date.fromisoformat(told["since"]) if "since" in told else None,
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
        usage_range=_read_range(document.get("usage_range")),
        seen_in_logs=access_logs_file.from_values(seen) if seen is not None else None,
    )


def _read_range(noted: Any) -> AnsweredRange | None:
    if noted is None:
        return None
    found_on = date.fromisoformat(noted["found_on"])
    return AnsweredRange(_number(noted["back"]), _number(noted["left_out"]), found_on)


def _from_version_1(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document of version 1 as one of version 2.

    Version 1 has no dates of the last requests: the date of the file is taken. It does not say whether
    those plans had a quota then: what the same file says of the plan is taken.
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


def _from_version_2(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document of version 2 as one of version 3, which only has other names; raises KeyError."""
    kept = {name: value for name, value in document.items() if name not in _NAMES_OF_VERSION_2}
    return kept | {new: document[old] for old, new in _NAMES_OF_VERSION_2.items()}


def _read_plan(plan: Mapping[str, Any]) -> UsagePlanReading:
    unread = plan["unread"]
    return UsagePlanReading(
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
