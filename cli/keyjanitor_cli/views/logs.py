"""Shows the lines of a function's log that a person looks for. Pure."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime

from keyjanitor_cli.shapes import Line, Tone

TONES = {"ERROR": Tone.BAD, "CRITICAL": Tone.BAD, "WARNING": Tone.WARN}
TROUBLE = frozenset(TONES)
# How the lines begin that Lambda itself writes of each run.
OF_LAMBDA = ("START ", "END ", "REPORT ", "INIT_START ", "EXTENSION ")


def lines(
    logged: Iterable[tuple[datetime, str]], *, show_all: bool = False
) -> Iterator[tuple[datetime, str, str]]:
    """Time, level and text of each line: errors and warnings, or with `show_all` what was said at all.

    Metrics and what Lambda writes of each run are left out, and so are tracebacks.
    """
    for at, message in logged:
        level, text = _read(message.strip())
        if text and (show_all or level in TROUBLE):
            yield at, level, text


def once(
    logged: Iterable[tuple[datetime, str]], seen: set[tuple[datetime, str]]
) -> Iterator[tuple[datetime, str]]:
    """The lines that are not in `seen` yet, which then has them."""
    for one in logged:
        if one not in seen:
            seen.add(one)
            yield one


def view(found: Iterable[tuple[datetime, str, str]]) -> list[Line]:
    """One line of the view a line of the log."""
    return [
        Line(f"{at:%Y-%m-%d %H:%M:%S} {level} {text}", TONES.get(level, Tone.PLAIN))
        for at, level, text in found
    ]


def _read(message: str) -> tuple[str, str]:
    """The level and the text of a line; ("", "") if it is no line for people."""
    if message.startswith(OF_LAMBDA):
        return "", ""
    try:
        document = json.loads(message)
    except ValueError:
        failed = "Task timed out" in message or "[ERROR]" in message
        return ("ERROR" if failed else "INFO"), message.splitlines()[0] if message else ""
    if not isinstance(document, dict) or "_aws" in document:
        return "", ""
    if "errorMessage" in document:
        return "ERROR", f"{document.get('errorType', 'error')}: {document['errorMessage']}"
    text = document.get("message")
    return str(document.get("level", "INFO")), text if isinstance(text, str) else json.dumps(text)
