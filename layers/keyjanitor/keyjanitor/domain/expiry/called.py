"""Finds the disabled keys that are called, by the access logs of the night. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from keyjanitor.domain.model.keys import ApiKey
from keyjanitor.domain.model.records import Row, stands_disabled
from keyjanitor.domain.usage.access_logs import LoggedCalls
from keyjanitor.domain.usage.evidence import Evidence


@dataclass(frozen=True, slots=True)
class CalledKey:
    """A disabled key, and the requests with it in tonight's logs; `by_us`: keyjanitor disabled it."""

    key: ApiKey
    row: Row
    calls: LoggedCalls
    by_us: bool


def called_while_disabled(
    keys: Iterable[ApiKey], rows: Mapping[str, Row], evidence: Evidence
) -> tuple[CalledKey, ...]:
    """The disabled keys with a request after their last change, the most often called first.

    Requests of before the key was disabled, in the same window of the logs, are among those counted.
    """
    seen = evidence.seen_in_logs
    if seen is None or not seen.calls:
        return ()
    found = [
        CalledKey(key, row, calls, stands_disabled(key, row))
        for key in keys
        if not key.enabled
        and (calls := seen.calls.get(key.key_id)) is not None
        and (row := rows.get(key.key_id)) is not None
        and calls.last > key.last_updated_date
    ]
    return tuple(sorted(found, key=lambda one: (-one.calls.requests, one.key.key_id)))
