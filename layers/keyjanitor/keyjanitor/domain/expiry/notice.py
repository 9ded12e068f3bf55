"""Decides which notices of a key were sent: a notice begins when it is sent. Pure.

Two things tell of a warning: its event, which waits in the outbox until the bus has it, and the
digest of its night, of which the night's row remembers the keys. Of a disabling and of a parking
their events tell.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date

from keyjanitor.domain.expiry.transitions import next_step_on, told_late
from keyjanitor.domain.model.keys import State
from keyjanitor.domain.model.records import (
    DISABLED,
    EXPIRING,
    NEW_KEYS,
    PARKED,
    Announcement,
    NightRow,
    Row,
)

NOTICES = frozenset({EXPIRING, DISABLED, PARKED})
_DATE_OF = {EXPIRING: "disable_on", DISABLED: "park_on", PARKED: "restorable_until"}


@dataclass(frozen=True, slots=True)
class Untold:
    """Part of a key's notice that could not be sent (`what`, in words), and since which date."""

    what: str
    since: date


def written_on(announcement: Announcement) -> date | None:
    """The date on which an event was written down, which its id begins with; None if it does not."""
    try:
        return date.fromisoformat(announcement.announcement_id[:10])
    except ValueError:
        return None


def digest_day(row: Row) -> date | None:
    """The date whose digest names the key; None if none does.

    A digest names what was warned. A key that was disabled since has its event for that.
    """
    if row.state is State.WARNED:
        return row.warned_on
    if row.state is State.DISABLED and row.park_on is not None and row.warned_on is not None:
        warned_again = row.disabled_on is None or row.warned_on > row.disabled_on
        return row.warned_on if warned_again else None
    return None


def digest_days(rows: Iterable[Row]) -> frozenset[date]:
    """The dates whose digests name one of the keys."""
    return frozenset(day for row in rows if (day := digest_day(row)))


def not_in_a_digest(rows: Iterable[Row], nights: Mapping[date, NightRow]) -> dict[date, list[Row]]:
    """The warned keys that no published digest names, by the date of their warning."""
    told = {day: frozenset(night.told) for day, night in nights.items()}
    missing: dict[date, list[Row]] = {}
    for row in rows:
        day = digest_day(row)
        if day is not None and row.key_id not in told.get(day, ()):
            missing.setdefault(day, []).append(row)
    return missing


def untold(
    rows: Mapping[str, Row], waiting: Iterable[Announcement], nights: Mapping[date, NightRow]
) -> dict[str, Untold]:
    """Notices of next steps that could not be sent, by key id; keys with all notices sent are left out.

    `waiting` is the outbox, `nights` the rows of `digest_days`. An agreed end was told by the answer
    that agreed on it, `Key Issued` or `Key Rotated`; one of that answer and `Key Expiring` is enough.
    A parked key has no row among `rows`: while its `Key Parked` waits, it was not told until when it
    can be restored.
    """
    found: dict[str, Untold] = {}
    answers: set[object] = set()
    notices: list[tuple[Announcement, date]] = []
    for one in waiting:
        if one.detail_type in NEW_KEYS:
            answers |= {one.detail.get("key_id"), one.detail.get("previous_key_id")}
        elif one.detail_type in NOTICES and (day := written_on(one)):
            notices.append((one, day))
    for day, missing in not_in_a_digest(rows.values(), nights).items():
        for row in missing:
            if not _is_agreed(row):
                found[row.key_id] = Untold(f"the digest of {day}", day)
    for one, day in notices:
        key_id = str(one.detail.get("key_id"))
        if one.detail_type == PARKED or _is_missed(one, rows.get(key_id), answers):
            found[key_id] = Untold(f"its event {one.detail_type}", day)
    return found


def _is_missed(notice: Announcement, row: Row | None, answers: set[object]) -> bool:
    """True if this waiting event is the notice of a living key's next step."""
    if row is None or not _is_of(notice, row):
        return False
    return not _is_agreed(row) or row.key_id in answers


def as_told_today(
    announcement: Announcement, row: Row | None, today: date
) -> tuple[Announcement | None, Row | None]:
    """An event with the date that is true if the bus takes it today, and the row that says so.

    The row is None if nothing changes in it. No event is left of a warning that was taken back.
    """
    day = written_on(announcement)
    if announcement.detail_type not in NOTICES or day is None or day >= today:
        return announcement, None
    if row is None or not _is_of(announcement, row):
        return (None if announcement.detail_type == EXPIRING else announcement), None
    after = told_late(row, today)
    detail = {
        **announcement.detail,
        _DATE_OF[announcement.detail_type]: str(next_step_on(after)),
    }
    return replace(announcement, detail=detail), after if after != row else None


def oldest_untold(
    rows: Iterable[Row], waiting: Iterable[Announcement], nights: Mapping[date, NightRow]
) -> date | None:
    """Since when the oldest event or digest waits; None if all was told."""
    events = {day for one in waiting if (day := written_on(one))}
    return min(events | not_in_a_digest(rows, nights).keys(), default=None)


def _is_of(notice: Announcement, row: Row) -> bool:
    """True if a notice is about the row's next step."""
    if next_step_on(row) is None:
        return False
    if notice.detail_type == EXPIRING:
        return row.state is State.WARNED and row.warned_on == written_on(notice)
    return row.state is (State.PARKED if notice.detail_type == PARKED else State.DISABLED)


def _is_agreed(row: Row) -> bool:
    return row.state is State.WARNED and row.expires_on is not None
