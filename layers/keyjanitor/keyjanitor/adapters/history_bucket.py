"""Talks to the history bucket: evidence, usage, keys, tombstones and saved plans."""

import base64
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from keyjanitor.adapters.clients import refusal
from keyjanitor.adapters.kms import Sealer, tombstone_context
from keyjanitor.adapters.system_clock import pause
from keyjanitor.domain.expiry import comparison_file
from keyjanitor.domain.expiry.safety_brake import Compared
from keyjanitor.domain.expiry.sweep_plan import KINDS, Plan, Purge, digest_of, key_id_of, verb_of
from keyjanitor.domain.model.keys import DAY, Secret, Tombstone
from keyjanitor.domain.usage.evidence import FORGET_AFTER, Evidence
from keyjanitor.domain.usage.evidence_file import from_document, to_document
from keyjanitor.errors import (
    AccessDenied,
    CallFailed,
    EvidenceDamaged,
    PlanNotAsSaved,
    TombstoneClosed,
    UnexpectedAnswer,
    UnknownPlan,
)

logger = Logger(child=True)

# What comes of reading a file that is cut off, is not compressed, or holds something else.
DAMAGE = (OSError, EOFError, zlib.error, ValueError, TypeError, RecursionError)
CONFLICT_TRIES = 5
ABSENT = frozenset({"NoSuchKey", "NoSuchVersion", "404", "NotFound"})
# What KMS says of a ciphertext that is damaged, or was sealed for something else: it never opens.
CLOSED = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
ALTERED = (
    "its value, or what it says beside the value, is not what was sealed: somebody changed the file, "
    "or a version before 0.2.0 wrote it. Look at its earlier versions in the bucket"
)


class History:
    """The files of one history bucket. All that is compressed is so byte for byte the same again."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    # --- evidence ---------------------------------------------------------------------------------

    def evidence(self, day: date) -> Evidence | None:
        """The evidence of a date, or None if nothing was read on it; raises EvidenceDamaged."""
        name = _evidence_name(day)
        found = self._find(name)
        if found is None:
            return None
        body, version_id = found
        try:
            evidence = from_document(json.loads(gzip.decompress(body)))
        except UnexpectedAnswer as err:
            raise EvidenceDamaged(self._bucket, name, version_id, err.reason) from None
        except DAMAGE as err:
            reason = type(err).__name__
            raise EvidenceDamaged(self._bucket, name, version_id, reason) from None
        if evidence.day != day:
            reason = f"it is of {evidence.day}"
            raise EvidenceDamaged(self._bucket, name, version_id, reason)
        return evidence

    def evidence_before(
        self, day: date, report: Callable[[EvidenceDamaged], None] | None = None
    ) -> Evidence | None:
        """The latest evidence that is older than `day`, or None if there is none.

        A damaged file is passed over, and reported: to the log, if nobody else takes it.
        """
        days: list[date] = []
        params = {
            "Bucket": self._bucket,
            "Prefix": "evidence/",
            "StartAfter": f"evidence/{day - FORGET_AFTER}",
        }
        while True:
            page = self._call(
                "s3:ListBucket", "ListObjectsV2", self._client.list_objects_v2, **params
            )
            days += filter(None, (_evidence_day(item["Key"]) for item in page.get("Contents", ())))
            if not page.get("IsTruncated"):
                break
            params["ContinuationToken"] = page["NextContinuationToken"]
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
        page = self._call(
            "s3:ListBucket",
            "ListObjectsV2",
            self._client.list_objects_v2,
            Bucket=self._bucket,
            Prefix="evidence/",
            StartAfter=_evidence_name(day),
            MaxKeys=1,
        )
        for item in page.get("Contents", ()):
            return date.fromisoformat(item["Key"][len("evidence/") :][:10])
        return None

    def put_evidence(self, evidence: Evidence) -> bool:
        """Writes a date's evidence once and for all; False if the date has one, which stays."""
        name = _evidence_name(evidence.day)
        body = _gzip(json.dumps(to_document(evidence), separators=(",", ":")).encode())
        for attempt in range(CONFLICT_TRIES):
            try:
                self._put_new(name, body)
            except CallFailed as err:
                if err.code == "PreconditionFailed":
                    return False
                if err.code != "ConditionalRequestConflict":
                    raise
                # Another write of the name met this one. It may have written nothing: on this
                # answer AWS asks for another try (doc: AF-511).
                if self._get(name) is not None:
                    return False
                pause(0.1 * 2**attempt)
            else:
                return True
        raise CallFailed("PutObject", "ConditionalRequestConflict")

    def _put_new(self, name: str, body: bytes) -> None:
        self._call(
            "s3:PutObject on evidence/*",
            "PutObject",
            self._client.put_object,
            Bucket=self._bucket,
            Key=name,
            Body=body,
            ContentType="application/gzip",
            IfNoneMatch="*",
        )

    # --- a reading that is not whole yet ----------------------------------------------------------

    def partials(self, day: date) -> list[Any]:
        """What the runs of a date have read so far, each as it was put; a damaged one is left out."""
        names: list[str] = []
        params = {"Bucket": self._bucket, "Prefix": _partial_prefix(day)}
        while True:
            page = self._call(
                "s3:ListBucket", "ListObjectsV2", self._client.list_objects_v2, **params
            )
            names += [item["Key"] for item in page.get("Contents", ())]
            if not page.get("IsTruncated"):
                break
            params["ContinuationToken"] = page["NextContinuationToken"]
        found = []
        for name in names:
            body = self._get(name)
            try:
                found += [json.loads(gzip.decompress(body))] if body else []
            except DAMAGE as err:
                logger.error("%s is damaged (%s): its plans are read again", name, err)
        return found

    def put_partial(self, day: date, name: str, document: Mapping[str, Any]) -> None:
        """Writes down a part of a date's reading, under a name of its own."""
        body = _gzip(json.dumps(dict(document), separators=(",", ":")).encode())
        self._put(f"{_partial_prefix(day)}{name}.json.gz", body, "application/gzip")

    # --- daily files ------------------------------------------------------------------------------

    def usage(self, day: date) -> list[dict[str, Any]]:
        """The rows of a day's usage file; none if there is no file."""
        return self._get_lines(_usage_name(day), _is_usage)

    def put_usage(self, day: date, rows: Iterable[Mapping[str, Any]]) -> None:
        """Writes the usage file of a day, whole."""
        self._put_lines(_usage_name(day), rows)

    def keys(self, day: date) -> list[dict[str, Any]]:
        """The lines of a night's keys file; none if there is no file."""
        return self._get_lines(_keys_name(day), _is_key)

    def put_keys(self, day: date, rows: Iterable[Mapping[str, Any]]) -> None:
        """Writes the keys file of a night: every key with tonight's verdict."""
        self._put_lines(_keys_name(day), rows)

    def _get_lines(
        self, name: str, fits: Callable[[Mapping[str, Any]], bool]
    ) -> list[dict[str, Any]]:
        body = self._get(name)
        found: list[dict[str, Any]] = []
        damage = ""
        try:
            lines = gzip.decompress(body).splitlines() if body else []
            found = [dict(json.loads(line)) for line in lines]
        except DAMAGE as err:
            damage = type(err).__name__
        if not damage and not all(map(fits, found)):
            damage = "lines of another shape"
        if not damage:
            return found
        # Nobody decides on it, so it stops nobody; its earlier versions are in the bucket.
        logger.error("%s is damaged (%s) and is taken for missing", name, damage)
        return []

    def _put_lines(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        encode = json.JSONEncoder(separators=(",", ":")).encode
        text = "".join(encode(row) + "\n" for row in rows)
        self._put(name, _gzip(text.encode()), "application/gzip")

    # --- reports ----------------------------------------------------------------------------------

    def put_report(self, day: date, document: Mapping[str, Any], page: bytes) -> str:
        """Writes a date's report and its numbers, and both as the latest; gives the page's name.

        Who reads the latest while it is written may find the numbers of one and the page of another.
        """
        numbers = json.dumps(dict(document), separators=(",", ":")).encode()
        for folder in (f"reports/{day}", "reports/latest"):
            self._put(f"{folder}/report.json", numbers, "application/json")
            self._put(f"{folder}/index.html", page, "text/html; charset=utf-8")
        return f"reports/{day}/index.html"

    # --- saved plans ------------------------------------------------------------------------------

    def put_plan(self, plan: Plan) -> None:
        """Saves a plan of which not all may be done tonight, so that it can be looked at and approved."""
        deletions_first = sorted(plan.due, key=lambda step: KINDS.index(verb_of(step)))
        document = {
            "version": 1,
            "date": str(plan.today),
            "digest": plan.digest,
            "allowance": plan.allowance,
            "kinds": plan.kinds,
            "due": [
                [
                    verb_of(step),
                    key_id_of(step),
                    "" if isinstance(step, Purge) else str(step.because),
                ]
                for step in deletions_first
            ],
        }
        self._put(
            f"plans/{plan.digest}.json", json.dumps(document, indent=1).encode(), "application/json"
        )

    def plan(self, digest: str) -> frozenset[tuple[str, str]]:
        """The pairs of action and key id that were due in a saved plan.

        Raises UnknownPlan, and PlanNotAsSaved if the file holds another plan than its digest says.
        """
        body = self._get(f"plans/{digest}.json")
        if body is None:
            raise UnknownPlan(digest)
        try:
            pairs = frozenset((verb, key_id) for verb, key_id, _ in json.loads(body)["due"])
            as_saved = digest_of(pairs) == digest
        except (ValueError, KeyError, TypeError):
            as_saved = False
        if not as_saved:
            raise PlanNotAsSaved(digest)
        return pairs

    def put_approval(self, digest: str, day: date, at: datetime) -> None:
        """Writes beside a saved plan that an operator approved it, and for which date."""
        document = {"version": 1, "digest": digest, "date": str(day), "approved_at": str(at)}
        self._put(
            f"plans/{digest}.approved-{day}.json", json.dumps(document).encode(), "application/json"
        )

    # --- nights that later ones are compared with ---------------------------------------------------

    def compared_before(self, day: date) -> Compared | None:
        """The latest night before `day` that was swept without the brake; None: there is none.

        A damaged file is named in the log, and the one before it is taken.
        """
        yesterday = _night_name(day - DAY)
        if found := self._compared(yesterday):
            return found
        for name in sorted(self._names("nights/"), reverse=True):
            if name < yesterday and (found := self._compared(name)):
                return found
        return None

    def put_compared(self, day: date, night: Compared, *, once: bool = True) -> None:
        """Writes what later nights are compared with; with `once` the first run of a date does."""
        document = json.dumps(comparison_file.to_document(night), separators=(",", ":"))
        condition = {"IfNoneMatch": "*"} if once else {}
        name = _night_name(day)
        try:
            self._put(name, _gzip(document.encode()), "application/gzip", **condition)
        except CallFailed as err:
            if err.code != "PreconditionFailed":
                raise

    def _compared(self, name: str) -> Compared | None:
        body = self._get(name)
        if body is None:
            return None
        try:
            return comparison_file.from_document(json.loads(gzip.decompress(body)))
        except (*DAMAGE, KeyError, AttributeError, UnexpectedAnswer) as err:
            logger.error("%s is damaged (%s) and is passed over", name, type(err).__name__)
            return None

    def _names(self, prefix: str) -> Iterator[str]:
        params: dict[str, Any] = {"Bucket": self._bucket, "Prefix": prefix}
        while True:
            page = self._call(
                "s3:ListBucket", "ListObjectsV2", self._client.list_objects_v2, **params
            )
            yield from (item["Key"] for item in page.get("Contents", ()))
            if not page.get("IsTruncated"):
                return
            params["ContinuationToken"] = page["NextContinuationToken"]

    # --- tombstones -------------------------------------------------------------------------------

    def bury(self, tombstone: Tombstone, value: Secret, sealer: Sealer) -> None:
        """Writes a tombstone, reads it back and opens it.

        Returns only if what lies in the bucket, and under no delete marker, opens to `value`; else
        raises TombstoneClosed.
        """
        name = _tombstone_name(tombstone.key_id)
        try:
            self._put(name, json.dumps(_tombstone_document(tombstone)).encode(), "application/json")
            body = self._get(name)
        except CallFailed as err:
            raise TombstoneClosed(tombstone.key_id, str(err), for_now=True) from err
        written, opened = self._open(tombstone.key_id, body, sealer)
        if opened != value or written != tombstone:
            raise TombstoneClosed(tombstone.key_id, "it does not hold what was written")

    def dig_up(self, key_id: str, sealer: Sealer) -> tuple[Tombstone, Secret]:
        """Reads and opens a tombstone, also one under a delete marker; raises TombstoneClosed."""
        try:
            body = self._tombstone(key_id)
        except (AccessDenied, CallFailed) as err:
            raise TombstoneClosed(key_id, str(err), for_now=True) from err
        return self._open(key_id, body, sealer)

    def _open(self, key_id: str, body: bytes | None, sealer: Sealer) -> tuple[Tombstone, Secret]:
        try:
            if body is None:
                raise TombstoneClosed(key_id, "there is none")
            tombstone = _read_tombstone(json.loads(body))
            if tombstone.key_id != key_id:
                raise TombstoneClosed(key_id, f"it is that of another key; {ALTERED}")
            return tombstone, sealer.open(tombstone.sealed_value, tombstone_context(tombstone))
        except (AccessDenied, CallFailed) as err:
            if isinstance(err, CallFailed) and err.code in CLOSED:
                raise TombstoneClosed(key_id, f"{err}; {ALTERED}") from err
            raise TombstoneClosed(key_id, str(err), for_now=True) from err
        except (ValueError, KeyError, TypeError) as err:
            raise TombstoneClosed(key_id, f"it is damaged ({type(err).__name__})") from None

    def has_tombstone(self, key_id: str) -> bool:
        """Whether there is one, opened or not."""
        return self._tombstone(key_id) is not None

    def _tombstone(self, key_id: str) -> bytes | None:
        """A tombstone as it lies in the bucket, also under a delete marker; None: there is none.

        `aws s3 rm` writes a marker over a file; the versions of it stay until they are deleted.
        """
        name = _tombstone_name(key_id)
        body = self._get(name)
        if body is not None:
            return body
        newest = max(
            (item for page in self._versions(name) for item in page["Versions"]),
            key=lambda item: item["LastModified"],
            default=None,
        )
        if newest is None:
            return None
        logger.warning(
            "%s has a delete marker; its version %s is used. Delete the marker to keep it",
            name,
            newest["VersionId"],
        )
        return self._get(name, VersionId=newest["VersionId"])

    def destroy_tombstone(self, key_id: str) -> None:
        """Deletes every version of a tombstone: nothing can bring the key back. None is a success."""
        name = _tombstone_name(key_id)
        for page in self._versions(name):
            for item in (*page["Versions"], *page["DeleteMarkers"]):
                self._call(
                    "s3:DeleteObjectVersion on tombstones/*",
                    "DeleteObject",
                    self._client.delete_object,
                    Bucket=self._bucket,
                    Key=name,
                    VersionId=item["VersionId"],
                )

    def _versions(self, name: str) -> Iterator[dict[str, list[dict[str, Any]]]]:
        """Every version and delete marker of a file, page by page."""
        params: dict[str, Any] = {"Bucket": self._bucket, "Prefix": name}
        while True:
            page = self._call(
                "s3:ListBucketVersions",
                "ListObjectVersions",
                self._client.list_object_versions,
                **params,
            )
            yield {
                kind: [item for item in page.get(kind, ()) if item["Key"] == name]
                for kind in ("Versions", "DeleteMarkers")
            }
            if not page.get("IsTruncated"):
                return
            params["KeyMarker"] = page["NextKeyMarker"]
            params["VersionIdMarker"] = page["NextVersionIdMarker"]

    # --- calling ----------------------------------------------------------------------------------

    def _get(self, name: str, **version: str) -> bytes | None:
        found = self._find(name, **version)
        return found[0] if found else None

    def _find(self, name: str, **version: str) -> tuple[bytes, str | None] | None:
        """A file, and the id of its version if the bucket keeps versions; None: there is none."""
        try:
            answer = self._call(
                f"s3:GetObject on {name}",
                "GetObject",
                self._client.get_object,
                Bucket=self._bucket,
                Key=name,
                **version,
            )
        except CallFailed as err:
            if err.code in ABSENT:
                return None
            raise
        body = self._call(f"s3:GetObject on {name}", "GetObject", answer["Body"].read)
        return bytes(body), answer.get("VersionId")

    def _put(self, name: str, body: bytes, content_type: str, **condition: str) -> None:
        self._call(
            f"s3:PutObject on {name}",
            "PutObject",
            self._client.put_object,
            Bucket=self._bucket,
            Key=name,
            Body=body,
            ContentType=content_type,
            **condition,
        )

    @staticmethod
    def _call(action: str, operation: str, call: Any, **params: Any) -> Any:
        try:
            return call(**params)
        except (ClientError, BotoCoreError) as err:
            raise refusal(err, operation, action) from err


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


def _usage_name(day: date) -> str:
    return f"usage/dt={day}/usage.jsonl.gz"


def _keys_name(day: date) -> str:
    return f"keys/dt={day}/keys.jsonl.gz"


def _night_name(day: date) -> str:
    return f"nights/{day}.json.gz"


def _tombstone_name(key_id: str) -> str:
    return f"tombstones/{key_id}.json"


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


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, compresslevel=6, mtime=0)


def _tombstone_document(tombstone: Tombstone) -> dict[str, Any]:
    return {
        "version": 1,
        "key_id": tombstone.key_id,
        "sealed_value": tombstone.sealed_value,
        "encryption_context": tombstone_context(tombstone),
        "name": tombstone.name,
        "description": tombstone.description,
        "customer_id": tombstone.customer_id,
        "tags": dict(tombstone.tags),
        "usage_plan_ids": list(tombstone.usage_plan_ids),
        "tier": tombstone.tier,
        "owner": tombstone.owner,
        "enabled": tombstone.enabled,
        "created_date": tombstone.created_date.isoformat(),
        "parked_on": str(tombstone.parked_on),
        "last_used": str(tombstone.last_used) if tombstone.last_used else None,
    }


def _read_tombstone(document: Mapping[str, Any]) -> Tombstone:
    base64.b64decode(document["sealed_value"], validate=True)
    last_used = document["last_used"]
    return Tombstone(
        key_id=document["key_id"],
        sealed_value=document["sealed_value"],
        name=document["name"],
        description=document["description"],
        customer_id=document["customer_id"],
        tags=document["tags"],
        usage_plan_ids=tuple(document["usage_plan_ids"]),
        tier=document["tier"],
        owner=document["owner"],
        enabled=document["enabled"],
        created_date=datetime.fromisoformat(document["created_date"]).astimezone(UTC),
        parked_on=date.fromisoformat(document["parked_on"]),
        last_used=date.fromisoformat(last_used) if last_used else None,
    )
