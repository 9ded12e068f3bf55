"""Lays out what access logs showed as JSON values of the evidence file, and reads it back. Pure."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from keyjanitor.domain.usage.access_logs import LoggedCalls, SeenInLogs, StageLog


def to_values(seen: SeenInLogs) -> dict[str, Any]:
    """What the logs showed, as JSON values; moments are in UTC."""
    return {
        "last_used": {key_id: str(day) for key_id, day in sorted(seen.last_used.items())},
        "calls": {
            key_id: {
                "requests": one.requests,
                "since": one.since.isoformat(),
                "last": one.last.isoformat(),
            }
            for key_id, one in sorted(seen.calls.items())
        },
        "stages": [
            {
                "stage": one.stage,
                "setting": one.setting,
                "since": _text(one.since),
                "through": _text(one.through),
                "witnessed": one.witnessed,
                "problem": one.problem,
            }
            for _, one in sorted(seen.stages.items())
        ],
        "through": _text(seen.through),
        "bytes_scanned": seen.bytes_scanned,
    }


def from_values(values: Mapping[str, Any]) -> SeenInLogs:
    """What `to_values` laid out; raises KeyError, TypeError or ValueError if it is not that."""
    return SeenInLogs(
        last_used={key_id: date.fromisoformat(day) for key_id, day in values["last_used"].items()},
        calls={
            key_id: LoggedCalls(_number(one["requests"]), _at(one["since"]), _at(one["last"]))
            for key_id, one in values["calls"].items()
        },
        stages={one["stage"]: _stage(one) for one in values["stages"]},
        through=_at_or_none(values["through"]),
        bytes_scanned=_number(values["bytes_scanned"]),
    )


def _stage(one: Mapping[str, Any]) -> StageLog:
    problem, witnessed = one["problem"], one["witnessed"]
    if not isinstance(witnessed, bool) or not isinstance(problem, str | None):
        raise TypeError
    return StageLog(
        stage=str(one["stage"]),
        setting=str(one["setting"]),
        since=_at_or_none(one["since"]),
        through=_at_or_none(one["through"]),
        witnessed=witnessed,
        problem=problem,
    )


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None


def _at(text: Any) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError
    return at


def _at_or_none(text: Any) -> datetime | None:
    return None if text is None else _at(text)


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value
