"""Writes the audit folder of the month before, on the first run of a month; its manifest comes last."""

from collections.abc import Callable
from datetime import date, datetime

from aws_lambda_powertools import Logger

from keyjanitor.domain.expiry.keys_file import WHOLE_NIGHTS
from keyjanitor.domain.model.keys import DAY
from keyjanitor.domain.report.audit_files import (
    EXCEPTIONS,
    MANIFEST,
    audit_files,
    manifest,
    protections_in,
)
from keyjanitor.domain.report.audit_month import AuditMonth, Line, Month, each_once
from keyjanitor.services.ports import ReportHistory
from keyjanitor.services.publish_report.gather import Adapters, Place

LATE = DAY  # that an event may come into the log after its time: EventBridge tries for so long

logger = Logger(child=True)


def write_audit_folder(
    today: date,
    made_at: datetime,
    place: Place,
    adapters: Adapters,
    time_is_up: Callable[[], bool],
) -> str | None:
    """Writes the folder of the month before `today`, and gives its manifest's name.

    None: it was written before, nothing is known of that month, or no time is left (the next morning's
    run writes it). A run that dies leaves no manifest, so that the next one writes every file again.
    """
    month, history = Month.before(today), adapters.history
    if time_is_up() or history.audit_file(str(month), MANIFEST) is not None:
        return None
    gathered = _gather(month, today, place, adapters)
    if gathered.is_empty:
        return None
    if time_is_up():
        logger.warning("no time is left for the audit folder of %s", month)
        return None
    files = audit_files(gathered)
    lock = (place.audit_lock, made_at + DAY * place.audit_days) if place.audit_lock else None
    for name, body in files.items():
        history.put_audit_file(str(month), name, body, lock=lock)
    written = history.put_audit_file(str(month), MANIFEST, manifest(files), once=True, lock=lock)
    logger.info("the audit folder of %s is written", month)
    return written


def _gather(month: Month, today: date, place: Place, adapters: Adapters) -> AuditMonth:
    history = adapters.history
    as_of, lines = _lines_at_end(month, today, history)
    found, unreadable = adapters.audit_log.events(month.begins, month.ends + LATE)
    events, repeated = each_once(month, found)
    before = history.audit_file(str(Month.before(month.first)), EXCEPTIONS)
    return AuditMonth(
        month=month,
        account=place.account,
        region=place.region,
        stack=place.stack,
        as_of=as_of,
        lines=lines,
        events=events,
        repeated=repeated,
        unreadable=unreadable,
        nights=adapters.ledger.nights(month.first, month.last),
        hold=adapters.ledger.hold(),
        known=protections_in(before) if before else {},
    )


def _lines_at_end(
    month: Month, today: date, history: ReportHistory
) -> tuple[date | None, list[tuple[date, Line]]]:
    """The month's last night with a keys file, and of each key its first line on or after it.

    Lines of an older night are thinned out, all of them if nothing changed: those that the next night
    repeats are in a later file (docs/history.md), up to the first that is whole. None: none of its last eight nights has a file.
    """
    nights = (month.last - DAY * back for back in range(WHOLE_NIGHTS + 1))
    as_of = next((day for day in nights if history.has_keys(day)), None)
    if as_of is None:
        return None, []
    found: dict[str, tuple[date, Line]] = {}
    day, is_whole = as_of, False
    while day <= today and not is_whole:
        lines = history.keys(day)
        for line in lines:
            if (line.get("created_date") or "") <= str(as_of):
                found.setdefault(line["key_id"], (day, line))
        is_whole = bool(lines) and today - day <= DAY * WHOLE_NIGHTS
        day += DAY
    return as_of, [found[key_id] for key_id in sorted(found)]
