"""The history bucket of a simulated life, and the sealing of what goes into it."""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

from keyjanitor.adapters.history_tombstones import CLOSED, ValueOpener
from keyjanitor.adapters.kms import tombstone_context
from keyjanitor.domain.expiry.safety_brake import Compared
from keyjanitor.domain.expiry.sweep_plan import SweepPlan
from keyjanitor.domain.model.keys import Secret, Tombstone
from keyjanitor.domain.usage.evidence import Evidence
from keyjanitor.errors import AccessDenied, CallFailed, TombstoneUnreadable, UnknownSweepPlan


class Files:
    """The history bucket, whose files are values: evidence, saved plans, tombstones.

    It runs through the same suite as `HistoryBucket` (tests/contract/adapters/test_history_alike.py). It
    is not that adapter on the S3 in memory because evidence and comparisons name every key: of 8,000
    keys their documents take 0.03 s of processor time a night, 10 s a year beside 150 s.
    """

    def __init__(self) -> None:
        self.evidences: dict[date, Evidence] = {}
        self.saved: dict[str, frozenset[tuple[str, str]]] = {}
        self.compared: dict[date, Compared] = {}
        self.tombstones: dict[str, Tombstone] = {}
        self.open = True  # False: KMS opens no tombstone
        self.key_lines: dict[date, list[dict[str, Any]]] = {}

    def forget(self) -> None:
        """Drops what no night of a simulated year reads: all but the two newest files of a kind."""
        _keep_newest(self.evidences)
        _keep_newest(self.compared)

    def evidence(self, day: date) -> Evidence | None:
        return self.evidences.get(day)

    def evidence_before(self, day: date) -> Evidence | None:
        before = max((one for one in self.evidences if one < day), default=None)
        return self.evidence(before) if before else None

    def latest_evidence(self, day: date) -> Evidence | None:
        return self.evidence(day) or self.evidence_before(day)

    def evidence_after(self, day: date) -> date | None:
        return min((one for one in self.evidences if one > day), default=None)

    def put_evidence(self, evidence: Evidence) -> bool:
        if evidence.day in self.evidences:
            return False
        self.evidences[evidence.day] = evidence
        return True

    def keys(self, day: date) -> list[dict[str, Any]]:
        return self.key_lines.get(day, [])

    def put_keys(self, day: date, rows: Iterable[Mapping[str, Any]]) -> str:
        self.key_lines[day] = [json.loads(json.dumps(row)) for row in rows]
        return f"keys/dt={day}/keys.jsonl.gz"

    def put_dry_run(self, day: date, rows: Iterable[Mapping[str, Any]]) -> str:
        for _ in rows:
            pass  # laid out, and kept nowhere: no run reads it
        return f"dry-runs/{day}/keys.jsonl.gz"

    def save_sweep_plan(self, plan: SweepPlan) -> None:
        self.saved[plan.digest] = plan.pairs

    def saved_sweep_plan(self, digest: str) -> frozenset[tuple[str, str]]:
        if digest not in self.saved:
            raise UnknownSweepPlan(digest)
        return self.saved[digest]

    def compared_before(self, day: date) -> Compared | None:
        before = max((one for one in self.compared if one < day), default=None)
        return self.compared[before] if before else None

    def put_compared(self, day: date, night: Compared, *, once: bool = True) -> None:
        if not once or day not in self.compared:
            self.compared[day] = night

    def put_approval(self, digest: str, day: date, moment: datetime) -> None:
        """Keeps nothing: no function reads an approval."""

    def put_tombstone(self, tombstone: Tombstone, value: Secret, sealer: ValueOpener) -> None:
        self.tombstones[tombstone.key_id] = tombstone
        if self.open_tombstone(tombstone.key_id, sealer) != (tombstone, value):
            raise TombstoneUnreadable(tombstone.key_id, "it does not hold what was written")

    def open_tombstone(self, key_id: str, sealer: ValueOpener) -> tuple[Tombstone, Secret]:
        if not self.open:
            raise TombstoneUnreadable(key_id, "KMS says no", transient=True)
        tombstone = self.tombstones.get(key_id)
        if tombstone is None:
            raise TombstoneUnreadable(key_id, "there is none")
        try:
            return tombstone, sealer.open(tombstone.sealed_value, tombstone_context(tombstone))
        except (AccessDenied, CallFailed) as err:
            closed = isinstance(err, CallFailed) and err.code in CLOSED
            raise TombstoneUnreadable(key_id, str(err), transient=not closed) from err

    def has_tombstone(self, key_id: str) -> bool:
        return key_id in self.tombstones

    def destroy_tombstone(self, key_id: str) -> None:
        self.tombstones.pop(key_id, None)


def _keep_newest(files: dict[date, Any]) -> None:
    for old in sorted(files)[:-2]:
        del files[old]


class ValueSealer:
    """Seals by remembering: a sealed value is the number under which it and its context lie."""

    def __init__(self) -> None:
        self._sealed: dict[str, tuple[Secret, Mapping[str, str]]] = {}

    def seal(self, value: Secret, context: Mapping[str, str]) -> str:
        sealed = b64encode(len(self._sealed).to_bytes(8, "big")).decode()
        self._sealed[sealed] = value, dict(context)
        return sealed

    def open(self, sealed: str, context: Mapping[str, str]) -> Secret:
        value, sealed_for = self._sealed.get(sealed, (None, {}))
        if value is None or sealed_for != context:
            raise CallFailed("Decrypt", "InvalidCiphertextException")
        return value

    def try_out(self) -> None:
        """What it seals, it can open."""
