"""The history's tombstones: the sealed values of parked keys, and what is needed to make the keys again."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Protocol

from aws_lambda_powertools import Logger

from keyjanitor.adapters.bucket import Bucket
from keyjanitor.adapters.kms import tombstone_context
from keyjanitor.domain.model.keys import Secret, Tombstone
from keyjanitor.errors import AccessDenied, CallFailed, TombstoneUnreadable

logger = Logger(child=True)

# What KMS says of a ciphertext that is damaged, or was sealed for something else: it never opens.
CLOSED = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
ALTERED = (
    "its value, or what it says beside the value, is not what was sealed: the file was changed, "
    "or a version before 0.2.0 wrote it. Look at its earlier versions in the bucket"
)


class ValueOpener(Protocol):
    """Opens what was sealed with the same context."""

    def open(self, sealed: str, context: Mapping[str, str]) -> Secret: ...


class TombstoneFiles:
    """The files under tombstones/, one a parked key."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def put_tombstone(self, tombstone: Tombstone, value: Secret, sealer: ValueOpener) -> None:
        """Writes a tombstone, reads it back and opens it.

        Returns only if what lies in the bucket, and under no delete marker, opens to `value`; else
        raises TombstoneUnreadable.
        """
        name = _tombstone_name(tombstone.key_id)
        try:
            self._bucket.put(
                name, json.dumps(_tombstone_document(tombstone)).encode(), "application/json"
            )
            body = self._bucket.get(name)
        except CallFailed as err:
            raise TombstoneUnreadable(tombstone.key_id, str(err), transient=True) from err
        written, opened = self._open(tombstone.key_id, body, sealer)
        if opened != value or written != tombstone:
            raise TombstoneUnreadable(tombstone.key_id, "it does not hold what was written")

    def open_tombstone(self, key_id: str, sealer: ValueOpener) -> tuple[Tombstone, Secret]:
        """Reads and opens a tombstone, also one under a delete marker; raises TombstoneUnreadable."""
        try:
            body = self._tombstone(key_id)
        except (AccessDenied, CallFailed) as err:
            raise TombstoneUnreadable(key_id, str(err), transient=True) from err
        return self._open(key_id, body, sealer)

    def _open(
        self, key_id: str, body: bytes | None, sealer: ValueOpener
    ) -> tuple[Tombstone, Secret]:
        try:
            if body is None:
                raise TombstoneUnreadable(key_id, "there is none")
            tombstone = read_tombstone(json.loads(body))
            if tombstone.key_id != key_id:
                raise TombstoneUnreadable(key_id, f"it is that of another key; {ALTERED}")
            return tombstone, sealer.open(tombstone.sealed_value, tombstone_context(tombstone))
        except (AccessDenied, CallFailed) as err:
            if isinstance(err, CallFailed) and err.code in CLOSED:
                raise TombstoneUnreadable(key_id, f"{err}; {ALTERED}") from err
            raise TombstoneUnreadable(key_id, str(err), transient=True) from err
        except (ValueError, KeyError, TypeError) as err:
            raise TombstoneUnreadable(key_id, f"it is damaged ({type(err).__name__})") from None

    def has_tombstone(self, key_id: str) -> bool:
        """True if there is a tombstone, whether it opens or not."""
        return self._tombstone(key_id) is not None

    def _tombstone(self, key_id: str) -> bytes | None:
        """A tombstone as it lies in the bucket, also under a delete marker; None: there is none.

        `aws s3 rm` writes a marker over a file; the versions of it stay until they are deleted.
        """
        name = _tombstone_name(key_id)
        body = self._bucket.get(name)
        if body is not None:
            return body
        newest = max(
            (item for page in self._bucket.versions(name) for item in page["Versions"]),
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
        return self._bucket.get(name, VersionId=newest["VersionId"])

    def destroy_tombstone(self, key_id: str) -> None:
        """Deletes every version of a tombstone: nothing can bring the key back. None is a success."""
        name = _tombstone_name(key_id)
        for page in self._bucket.versions(name):
            for item in (*page["Versions"], *page["DeleteMarkers"]):
                self._bucket.delete_version(name, item["VersionId"])


def _tombstone_name(key_id: str) -> str:
    return f"tombstones/{key_id}.json"


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


def read_tombstone(document: Mapping[str, Any]) -> Tombstone:
    """The tombstone that a file holds; raises ValueError, KeyError or TypeError if it is damaged."""
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
