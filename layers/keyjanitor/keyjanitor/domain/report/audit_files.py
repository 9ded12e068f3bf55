"""Lays out a month's audit folder: tables as CSV, a summary, and the manifest of their digests. Pure."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from keyjanitor import __version__
from keyjanitor.domain.model.audit_event import AuditEvent
from keyjanitor.domain.model.keys import State
from keyjanitor.domain.model.records import NightRow
from keyjanitor.domain.model.safe_text import visible
from keyjanitor.domain.report.audit_month import (
    AuditException,
    AuditMonth,
    KeyAtEnd,
    Protection,
    actions,
    exceptions,
    population,
    with_known,
)

VERSION = 1  # of the format
MANIFEST = "manifest.sha256"
EXCEPTIONS = "exceptions.csv"

POPULATION_COLUMNS = (
    *("key_id", "name", "owner", "tier", "state", "enabled", "created", "last_used"),
    *("disable_on", "park_on", "verdict", "reason_code", "reason", "seen_on"),
)
ACTION_COLUMNS = (
    *("date", "time", "event_id", "action", "key_id", "previous_key_id", "name", "owner", "tier"),
    *("requested_by", "request_id", "next_on", "reason_code", "reason"),
)
EXCEPTION_COLUMNS = (
    *("kind", "key_id", "name", "owner", "tier", "keys", "until"),
    *("requested_by", "event_id", "reason"),
)
NIGHT_COLUMNS = (
    *("date", "swept", "observed_because", "braked", "new", "approved"),
    *("parked", "revoked"),
)
_NEXT = ("disable_on", "park_on", "restorable_until", "protected_until", "expires_on")
# OWASP, "CSV Injection": a cell that begins so is a formula, also with spaces before it or in full width.
_FORMULA = re.compile(r"\s*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def audit_files(month: AuditMonth) -> dict[str, bytes]:
    """The files of a month's folder by name, without the manifest; the same month gives the same bytes."""
    keys = population(month)
    done = actions(month)
    kept = list(with_known(exceptions(month, keys), month.known))
    return {
        "population.csv": _table(POPULATION_COLUMNS, map(_key_row, keys)),
        "actions.csv": _table(ACTION_COLUMNS, map(_action_row, done)),
        EXCEPTIONS: _table(EXCEPTION_COLUMNS, map(_exception_row, kept)),
        "nights.csv": _table(NIGHT_COLUMNS, _night_rows(month)),
        "summary.json": _summary(month, keys, done, kept),
    }


def manifest(files: Mapping[str, bytes]) -> bytes:
    """The digests of the files, as `sha256sum -c` reads them inside the folder."""
    lines = [f"{sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]
    return "".join(lines).encode("ascii")


def protections_in(table: bytes) -> dict[tuple[str, str], Protection]:
    """Who asked for which protection, by key id and end, of an `exceptions.csv`; none of a damaged one."""
    try:
        rows = list(csv.DictReader(io.StringIO(table.decode("utf-8-sig"))))
        return {
            (row["key_id"], row["until"]): Protection(row["requested_by"], row["event_id"])
            for row in rows
            if row["event_id"]
        }
    except (UnicodeDecodeError, csv.Error, KeyError, TypeError):
        return {}


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A table as CSV (RFC 4180) that a spreadsheet takes for text and numbers, never for formulas."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode("utf-8-sig", "backslashreplace")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = visible(str(value))
    return f"'{text}" if _FORMULA.match(text) else text


def _key_row(key: KeyAtEnd) -> list[Any]:
    line = key.line
    return [
        key.key_id,
        key.name,
        key.owner,
        key.tier,
        str(key.state),
        _is_enabled(key),
        key.created,
        key.last_used,
        line.get("disable_on"),
        line.get("park_on"),
        line.get("verdict"),
        line.get("reason_code"),
        line.get("reason"),
        key.seen_on,
    ]


def _is_enabled(key: KeyAtEnd) -> bool:
    """Whether API Gateway accepted the key: as the sweep found it, unless an event has changed that since."""
    found = key.line.get("state")
    if found is not None and found == str(key.state):
        return bool(key.line.get("enabled"))
    return key.state is not State.DISABLED


def _action_row(one: AuditEvent) -> list[Any]:
    detail = one.detail
    return [
        one.time.date(),
        f"{one.time:%Y-%m-%dT%H:%M:%SZ}",
        one.event_id,
        one.detail_type,
        detail.get("key_id"),
        detail.get("previous_key_id"),
        detail.get("name"),
        detail.get("owner"),
        detail.get("tier"),
        detail.get("requested_by"),
        detail.get("request_id"),
        next((detail[name] for name in _NEXT if name in detail), None),
        detail.get("reason_code"),
        detail.get("reason"),
    ]


def _exception_row(one: AuditException) -> list[Any]:
    return [
        one.kind,
        one.key_id,
        one.name,
        one.owner,
        one.tier,
        one.keys,
        one.until,
        one.requested_by,
        one.event_id,
        one.reason,
    ]


def _night_rows(month: AuditMonth) -> Iterable[list[Any]]:
    """A row a day of the month; a day without a sweep has one too, and no number that nothing says."""
    for day in month.month.days:
        night = month.nights.get(day)
        if night is None:
            yield [day, False, *[None] * (len(NIGHT_COLUMNS) - 2)]
        else:
            yield _night_row(night)


def _night_row(night: NightRow) -> list[Any]:
    return [
        night.date,
        night.swept,
        night.observed_because,
        night.braked,
        night.new,
        night.approved,
        night.parked,
        night.revoked,
    ]


def _summary(
    month: AuditMonth,
    keys: Sequence[KeyAtEnd],
    done: Sequence[AuditEvent],
    kept: Sequence[AuditException],
) -> bytes:
    document = {
        "version": VERSION,
        "code_version": __version__,
        "month": str(month.month),
        "account": month.account,
        "region": month.region,
        "stack": month.stack,
        "population": {
            "as_of": str(month.as_of) if month.as_of else None,
            "keys": len(keys) if month.as_of else None,
            "enabled": sum(map(_is_enabled, keys)) if month.as_of else None,
            "states": _counted(str(key.state) for key in keys),
            "tiers": _counted(key.tier or "" for key in keys),
        },
        "actions": _counted(one.detail_type for one in done),
        "refused": len(month.events) - len(done),
        "events": len(month.events),
        "repeated": month.repeated,
        "unreadable": month.unreadable,
        "exceptions": _counted(one.kind for one in kept),
        "nights_swept": sum(night.swept for night in month.nights.values()),
    }
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode("ascii")


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(words).items()))
