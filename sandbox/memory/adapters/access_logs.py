"""Log groups of access logs in memory, with the methods of `keyjanitor.adapters.access_logs.AccessLogs`.

They run through the same suite as that adapter (tests/contract/adapters/test_access_logs_alike.py).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from keyjanitor.domain.usage.access_log_format import line_pattern
from keyjanitor.domain.usage.access_logs import LogAnswer, LogGroup, LogRow, LogWindow
from keyjanitor.errors import CallFailed

Counted = tuple[str | None, str | None]


class FakeAccessLogs:
    """Log groups, and what was logged to them. `failed` is how queries of a group end."""

    def __init__(self) -> None:
        self.groups: dict[str, LogGroup] = {}
        self.lines: dict[str, list[tuple[datetime, str]]] = {}
        self.failed: dict[str, str] = {}
        self.asked: list[LogWindow] = []

    def add_group(self, name: str, created: datetime, retention_days: int | None = None) -> None:
        self.groups[name] = LogGroup(created, retention_days)
        self.lines.setdefault(name, [])

    def log(self, name: str, at: datetime, line: str) -> None:
        self.lines[name].append((at, line))

    def group(self, name: str) -> LogGroup | None:
        return self.groups.get(name)

    def incoming_bytes(
        self, groups: Sequence[str], since: datetime, until: datetime
    ) -> dict[str, int]:
        return {
            name: sum(len(line) for at, line in self.lines.get(name, ()) if since <= at < until)
            for name in groups
        }

    def ask(self, window: LogWindow, time_is_up: Callable[[], bool]) -> LogAnswer:  # noqa: ARG002 - no query takes time here
        group = window.log.group
        self.asked.append(window)
        if group not in self.groups:
            raise CallFailed("StartQuery", "ResourceNotFoundException")
        lines = [one for one in self.lines[group] if window.since <= one[0] <= window.until]
        return LogAnswer(
            rows=tuple(_rows(window, lines)),
            lines=len(lines),
            bytes_scanned=sum(len(line) for _, line in lines),
            failed=self.failed.get(group),
        )


def _rows(window: LogWindow, lines: Sequence[tuple[datetime, str]]) -> Iterator[LogRow]:
    pattern = re.compile(line_pattern(window.log.format).replace("(?<", "(?P<"))
    counted: dict[Counted, tuple[int, datetime]] = {}
    for at, line in lines:
        found = pattern.search(line)
        groups = found.groupdict() if found else {}
        names_stage = window.log.names_stage and found is not None
        stage = f"{groups['api']}:{groups['stage']}" if names_stage else None
        one = groups.get("keyid"), stage
        requests, last = counted.get(one, (0, datetime.min.replace(tzinfo=UTC)))
        counted[one] = requests + 1, max(last, at)
    for (key_id, stage), (requests, last) in counted.items():
        yield LogRow(requests, last, key_id, stage)
