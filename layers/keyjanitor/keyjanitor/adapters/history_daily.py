"""The history's daily files: usage, keys with their verdicts, dry runs, and the reports made of them."""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from itertools import islice
from typing import Any

from aws_lambda_powertools import Logger

from keyjanitor.adapters.bucket import DAMAGE, Bucket, compressed

ROWS_AT_ONCE = 1_000  # that are made JSON together

logger = Logger(child=True)


class DailyFiles:
    """The files under usage/, keys/, dry-runs/ and reports/; each is written whole, over the one before it."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def usage(self, day: date) -> list[dict[str, Any]]:
        """The rows of a day's usage file; none if there is no file."""
        return self._get_lines(_usage_name(day), _is_usage)

    def put_usage(self, day: date, rows: Iterable[Mapping[str, Any]]) -> None:
        """Writes the usage file of a day, whole."""
        self._put_lines(_usage_name(day), rows)

    def keys(self, day: date) -> list[dict[str, Any]]:
        """The lines of a night's keys file; none if there is no file."""
        return self._get_lines(_keys_name(day), _is_key)

    def has_keys(self, day: date) -> bool:
        """Whether a night has a keys file: an old one may hold no line (docs/history.md)."""
        return self._bucket.get(_keys_name(day)) is not None

    def put_keys(self, day: date, rows: Iterable[Mapping[str, Any]]) -> str:
        """Writes the keys file of a night, every key with tonight's verdict, and gives its name."""
        self._put_lines(_keys_name(day), rows)
        return _keys_name(day)

    def put_dry_run(self, day: date, rows: Iterable[Mapping[str, Any]]) -> str:
        """Writes what a dry run found, every key with its verdict, beside the night's own; gives its name."""
        name = f"dry-runs/{day}/keys.jsonl.gz"
        self._put_lines(name, rows)
        return name

    def _get_lines(
        self, name: str, fits: Callable[[Mapping[str, Any]], bool]
    ) -> list[dict[str, Any]]:
        body = self._bucket.get(name)
        found: list[dict[str, Any]] = []
        lines: list[bytes] = []
        damage = ""
        try:
            lines = gzip.decompress(body).splitlines() if body else []
            # One array is read in less than half of the time that its lines take one by one.
            found = json.loads(b"[%b]" % b",".join(lines))
        except DAMAGE as err:
            damage = type(err).__name__
        of_lines = len(found) == len(lines) and all(isinstance(one, dict) for one in found)
        if not damage and not (of_lines and all(map(fits, found))):
            damage = "lines of another shape"
        if not damage:
            return found
        # No decision rests on it, so no run stops; its earlier versions are in the bucket.
        logger.error("%s is damaged (%s) and is taken for missing", name, damage)
        return []

    def _put_lines(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        text = "".join(_lines(rows))
        self._bucket.put(name, compressed(text.encode()), "application/gzip")

    def put_report(self, day: date, document: Mapping[str, Any], page: bytes) -> str:
        """Writes a date's report and its numbers, and both as the latest; gives the page's name.

        Who reads the latest while it is written may find the numbers of one and the page of another.
        """
        numbers = json.dumps(dict(document), separators=(",", ":")).encode()
        for folder in (f"reports/{day}", "reports/latest"):
            self._bucket.put(f"{folder}/report.json", numbers, "application/json")
            self._bucket.put(f"{folder}/index.html", page, "text/html; charset=utf-8")
        return f"reports/{day}/index.html"


def _lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The rows as lines of JSON, many at once: one by one takes twice as long.

    A text in JSON holds no line break, so that of the separator shows where a row ends.
    """
    encode = json.JSONEncoder(separators=(",\n", ":")).encode
    left = iter(rows)
    while chunk := list(islice(left, ROWS_AT_ONCE)):
        rows_apart = encode(chunk)[1:-1].replace("},\n{", "}\r{")
        text = rows_apart.replace(",\n", ",").replace("\r", "\n")
        if text.count("\n") != len(chunk) - 1:  # a row holds a list of objects itself
            text = "\n".join(encode(row).replace(",\n", ",") for row in chunk)
        yield text + "\n"


def _usage_name(day: date) -> str:
    return f"usage/dt={day}/usage.jsonl.gz"


def _keys_name(day: date) -> str:
    return f"keys/dt={day}/keys.jsonl.gz"


def _is_usage(row: Mapping[str, Any]) -> bool:
    used, remaining = row.get("used"), row.get("remaining")
    return (
        isinstance(row.get("plan_id"), str)
        and isinstance(row.get("key_id", 0), str | None)
        and isinstance(used, int | None)
        and isinstance(remaining, int | None)
    )


def _is_key(line: Mapping[str, Any]) -> bool:
    return isinstance(line.get("key_id"), str)
