"""Reads the stack's history bucket: what the last nights wrote there. A damaged file counts as missing."""

import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any, TypeVar

from keyjanitor.adapters.bucket import DAMAGE, Bucket
from keyjanitor.domain.expiry import comparison_file
from keyjanitor.domain.expiry.keys_file import WHOLE_NIGHTS
from keyjanitor.domain.expiry.safety_brake import Compared
from keyjanitor.domain.expiry.sweep_plan import digest_of
from keyjanitor.domain.usage import evidence_file
from keyjanitor.domain.usage.evidence import FORGET_AFTER, Evidence
from keyjanitor.errors import UnexpectedAnswer
from keyjanitor_cli.views.acts import SavedPlan

Read = TypeVar("Read")
AT_ONCE = 8  # files that are fetched beside each other
LOOKED_BACK = 40  # days that the newest usage reading is looked for in
Line = Mapping[str, Any]  # of a keys file or of a usage file


class Files:
    """The files of one history bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def keys(self, name: str) -> list[Line]:
        """The lines of a keys file by its name in the bucket; none if there is no file."""
        return _lines(self._bucket.get(name))

    def latest_keys(self, today: date) -> tuple[date | None, list[Line]]:
        """The latest keys file that has a line for every key, and its date."""
        for back in range(WHOLE_NIGHTS + 1):
            day = today - timedelta(days=back)
            if lines := self.keys(keys_name(day)):
                return day, lines
        return None, []

    def newest_reading(self, today: date) -> date | None:
        """The date of the newest usage reading, of the last weeks."""
        after = f"evidence/{today - timedelta(days=LOOKED_BACK)}"
        days = [
            name[len("evidence/") :][:10]
            for name in self._bucket.names("evidence/", StartAfter=after)
        ]
        return max(map(date.fromisoformat, days), default=None)

    def reading_before(self, day: date) -> Evidence | None:
        """The newest usage reading before a date, of those that are not damaged; None: there is none."""
        after = f"evidence/{day - FORGET_AFTER}"
        names = [
            name
            for name in self._bucket.names("evidence/", StartAfter=after)
            if name < f"evidence/{day}"
        ]
        return self._newest(names, evidence_file.from_document)

    def compared_before(self, day: date) -> Compared | None:
        """The newest night before a date that later ones are compared with; None: there is none."""
        names = [name for name in self._bucket.names("nights/") if name < f"nights/{day}"]
        return self._newest(names, comparison_file.from_document)

    def _newest(self, names: Iterable[str], read: Callable[[Any], Read]) -> Read | None:
        for name in sorted(names, reverse=True):
            body = self._bucket.get(name)
            try:
                if body is not None:
                    return read(json.loads(gzip.decompress(body)))
            except (*DAMAGE, KeyError, AttributeError, UnexpectedAnswer):
                continue
        return None

    def report(self, day: date | None = None) -> dict[str, Any] | None:
        """The numbers of a date's report, or of the latest; None: there is none."""
        body = self._bucket.get(f"reports/{day or 'latest'}/report.json")
        try:
            return dict(json.loads(body)) if body else None
        except DAMAGE:
            return None

    def report_page(self, day: date | None = None) -> bytes | None:
        """The page of a date's report, or of the latest; None: there is none."""
        return self._bucket.get(f"reports/{day or 'latest'}/index.html")

    def saved_plan(self, digest: str) -> SavedPlan | None:
        """A plan that a sweep saved, by its digest; None: there is none, or it is not what was saved."""
        body = self._bucket.get(f"plans/{digest}.json")
        try:
            saved = _saved(json.loads(body)) if body else None
        except (*DAMAGE, KeyError):
            return None
        if (
            saved is None
            or digest_of((action, key_id) for action, key_id, _ in saved.due) != digest
        ):
            return None
        return saved

    def saved_plans(self, day: date) -> list[SavedPlan]:
        """The plans that the sweeps of a date saved."""
        names = [name[len("plans/") : -len(".json")] for name in self._bucket.names("plans/")]
        digests = [name for name in names if "." not in name]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = pool.map(self.saved_plan, digests)
            return [plan for plan in found if plan is not None and plan.day == day]

    def usage(self, days: Iterable[date]) -> dict[date, list[Line]]:
        """The rows of the usage files of some days; of a day without a file there are none."""
        wanted = list(days)
        names = [f"usage/dt={day}/usage.jsonl.gz" for day in wanted]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(zip(wanted, map(_lines, pool.map(self._bucket.get, names)), strict=True))


def keys_name(day: date) -> str:
    """What the keys file of a date is called in the bucket."""
    return f"keys/dt={day}/keys.jsonl.gz"


def _lines(body: bytes | None) -> list[Line]:
    try:
        return (
            [dict(json.loads(line)) for line in gzip.decompress(body).splitlines()] if body else []
        )
    except DAMAGE:
        return []


def _saved(document: Mapping[str, Any]) -> SavedPlan:
    return SavedPlan(
        document["digest"],
        date.fromisoformat(document["date"]),
        dict(document["kinds"]),
        tuple((action, key_id, reason) for action, key_id, reason in document["due"]),
    )
