"""The history's evidence: what was read of a date, written once and for all, and the parts of a reading."""

import gzip
import json
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from aws_lambda_powertools import Logger

from keyjanitor.adapters.bucket import DAMAGE, Bucket, compressed
from keyjanitor.adapters.system_clock import pause
from keyjanitor.domain.usage.evidence import FORGET_AFTER, Evidence
from keyjanitor.domain.usage.evidence_file import from_document, to_document
from keyjanitor.errors import CallFailed, EvidenceDamaged, UnexpectedAnswer

logger = Logger(child=True)

MAX_CONFLICT_ATTEMPTS = 5


class EvidenceFiles:
    """The files under evidence/, one a date, and those under partial/."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def evidence(self, day: date) -> Evidence | None:
        """The evidence of a date, or None if nothing was read on it; raises EvidenceDamaged."""
        name = _evidence_name(day)
        found = self._bucket.find(name)
        if found is None:
            return None
        body, version_id = found
        try:
            evidence = from_document(json.loads(gzip.decompress(body)))
        except UnexpectedAnswer as err:
            raise EvidenceDamaged(self._bucket.name, name, version_id, err.reason) from None
        except DAMAGE as err:
            reason = type(err).__name__
            raise EvidenceDamaged(self._bucket.name, name, version_id, reason) from None
        if evidence.day != day:
            reason = f"it is of {evidence.day}"
            raise EvidenceDamaged(self._bucket.name, name, version_id, reason)
        return evidence

    def evidence_before(
        self, day: date, report: Callable[[EvidenceDamaged], None] | None = None
    ) -> Evidence | None:
        """The latest evidence that is older than `day`, or None if there is none.

        A damaged file is passed over, and given to `report`; without `report` it is logged.
        """
        names = self._bucket.names("evidence/", StartAfter=f"evidence/{day - FORGET_AFTER}")
        days = filter(None, map(_evidence_day, names))
        for earlier in sorted((one for one in days if one < day), reverse=True):
            try:
                return self.evidence(earlier)
            except EvidenceDamaged as err:
                (report or _log_damage)(err)
        return None

    def latest_evidence(self, day: date) -> Evidence | None:
        """The evidence of a date, else the latest before it; for who looks, and decides on nothing."""
        try:
            found = self.evidence(day)
        except EvidenceDamaged as err:
            _log_damage(err)
            found = None
        return found or self.evidence_before(day)

    def evidence_after(self, day: date) -> date | None:
        """The first date after `day` that has evidence, or None: `day` is the newest."""
        for name in self._bucket.names("evidence/", StartAfter=_evidence_name(day), MaxKeys=1):
            return date.fromisoformat(name[len("evidence/") :][:10])
        return None

    def put_evidence(self, evidence: Evidence) -> bool:
        """Writes a date's evidence once and for all; False if the date has one, which stays."""
        name = _evidence_name(evidence.day)
        body = compressed(json.dumps(to_document(evidence), separators=(",", ":")).encode())
        for attempt in range(MAX_CONFLICT_ATTEMPTS):
            try:
                self._bucket.put(name, body, "application/gzip", IfNoneMatch="*")
            except CallFailed as err:
                if err.code == "PreconditionFailed":
                    return False
                if err.code != "ConditionalRequestConflict":
                    raise
                # Another write of the name met this one. It may have written nothing: on this
                # answer AWS asks for another try (doc: AF-511).
                if self._bucket.get(name) is not None:
                    return False
                pause(0.1 * 2**attempt)
            else:
                return True
        raise CallFailed("PutObject", "ConditionalRequestConflict")

    # --- a reading that is not whole yet ----------------------------------------------------------

    def partials(self, day: date) -> list[Any]:
        """The parts of a date's reading that its runs have put; a damaged one is left out."""
        found = []
        for name in list(self._bucket.names(_partial_prefix(day))):
            body = self._bucket.get(name)
            try:
                found += [json.loads(gzip.decompress(body))] if body else []
            except DAMAGE as err:
                logger.error("%s is damaged (%s): its plans are read again", name, err)
        return found

    def put_partial(self, day: date, name: str, document: Mapping[str, Any]) -> None:
        """Writes down a part of a date's reading, under a name of its own."""
        body = compressed(json.dumps(dict(document), separators=(",", ":")).encode())
        self._bucket.put(f"{_partial_prefix(day)}{name}.json.gz", body, "application/gzip")


def _evidence_name(day: date) -> str:
    return f"evidence/{day}.json.gz"


def _evidence_day(name: str) -> date | None:
    try:
        day = date.fromisoformat(name[len("evidence/") :][:10])
    except ValueError:
        return None
    return day if name == _evidence_name(day) else None


def _log_damage(err: EvidenceDamaged) -> None:
    logger.error(str(err))


def _partial_prefix(day: date) -> str:
    return f"partial/{day}/"
