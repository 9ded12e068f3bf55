"""Which lines of a function's log `logs` shows."""

import json
from datetime import UTC, datetime

from keyjanitor_cli.shapes import Line, Tone
from keyjanitor_cli.views import logs

AT = datetime(2026, 11, 21, 3, 15, tzinfo=UTC)
MESSAGES = [
    "START RequestId: 1 Version: $LATEST",
    json.dumps({"level": "INFO", "message": "key k1 is left alone"}),
    json.dumps(
        {"level": "ERROR", "message": "key k2 was left alone", "exception": "Traceback ..."}
    ),
    json.dumps({"_aws": {"Timestamp": 1}, "Keys": [2.0]}),
    json.dumps(
        {"errorType": "NoEvidence", "errorMessage": "no evidence", "stackTrace": ["a", "b"]}
    ),
    "2026-11-21T03:30:00Z 1 Task timed out after 900.00 seconds",
    "REPORT RequestId: 1 Duration: 3 ms",
    "",
]


def test_errors_and_warnings_are_shown_without_metrics_and_tracebacks() -> None:
    found = list(logs.lines((AT, message) for message in MESSAGES))
    assert [(level, text) for _, level, text in found] == [
        ("ERROR", "key k2 was left alone"),
        ("ERROR", "NoEvidence: no evidence"),
        ("ERROR", "2026-11-21T03:30:00Z 1 Task timed out after 900.00 seconds"),
    ]
    assert logs.view(found)[0] == Line("2026-11-21 03:15:00 ERROR key k2 was left alone", Tone.BAD)


def test_with_all_what_was_said_at_all_is_shown() -> None:
    found = list(logs.lines(((AT, message) for message in MESSAGES), show_all=True))
    assert [level for _, level, _ in found] == ["INFO", "ERROR", "ERROR", "ERROR"]


def test_a_line_that_two_looks_read_is_shown_once() -> None:
    seen: set[tuple[datetime, str]] = set()
    assert list(logs.once([(AT, "a"), (AT, "b")], seen)) == [(AT, "a"), (AT, "b")]
    later = AT.replace(minute=16)
    assert list(logs.once([(AT, "b"), (later, "b")], seen)) == [(later, "b")]
