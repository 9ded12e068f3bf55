"""Talks to S3: the files of one bucket, listed page by page, each call with the right that it needs."""

import gzip
import logging
import zlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from keyjanitor.adapters.clients import refusal
from keyjanitor.errors import AccessDenied, CallFailed

# What comes of reading a file that is cut off, is not compressed, or holds something else.
DAMAGE = (OSError, EOFError, zlib.error, ValueError, TypeError, RecursionError)
ABSENT = frozenset({"NoSuchKey", "NoSuchVersion", "404", "NotFound"})

# The standard library's: the command `keyjanitor`, which has no Powertools, reads the bucket with it too.
logger = logging.getLogger(__name__)


class Bucket:
    """One bucket's files by name."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self.name = name

    def get(self, name: str, **version: str) -> bytes | None:
        """A file, the latest or a version of it; None: there is none."""
        found = self.find(name, **version)
        return found[0] if found else None

    def find(self, name: str, **version: str) -> tuple[bytes, str | None] | None:
        """A file, and the id of its version if the bucket keeps versions; None: there is none.

        S3 may answer 403 of a file that is not there (doc: AF-512): then the list says whether it is.
        """
        try:
            answer = self._call(
                f"s3:GetObject on {name}",
                "GetObject",
                self._client.get_object,
                Bucket=self.name,
                Key=name,
                **version,
            )
        except CallFailed as err:
            if err.code in ABSENT:
                return None
            raise
        except AccessDenied:
            if version or self._is_listed(name) is not False:
                raise
            return None
        body = self._call(f"s3:GetObject on {name}", "GetObject", answer["Body"].read)
        return bytes(body), answer.get("VersionId")

    def put(self, name: str, body: bytes, content_type: str, **condition: str | datetime) -> None:
        """Writes a file whole; raises CallFailed with PreconditionFailed if a condition is not met.

        A boto3 that knows no such condition (measured: AF-513) has the file looked for first: who writes
        on a condition holds a lease.
        """
        what = {"Bucket": self.name, "Key": name, "Body": body, "ContentType": content_type}
        action, put = f"s3:PutObject on {name}", self._client.put_object
        try:
            self._call(action, "PutObject", put, **what, **condition)
        except CallFailed as err:
            if not condition or err.code != "ParamValidationError":
                raise
            logger.warning(
                "the boto3 of this runtime knows no %s: %s is looked for", *condition, name
            )
            if self.find(name) is not None:
                raise CallFailed("PutObject", "PreconditionFailed") from None
            self._call(action, "PutObject", put, **what)

    def names(self, prefix: str, **more: Any) -> Iterator[str]:
        """The names of files that begin with `prefix`, in order; `more` goes to S3 as it is."""
        params: dict[str, Any] = {"Bucket": self.name, "Prefix": prefix, **more}
        while True:
            page = self._call(
                "s3:ListBucket", "ListObjectsV2", self._client.list_objects_v2, **params
            )
            yield from (item["Key"] for item in page.get("Contents", ()))
            if not page.get("IsTruncated"):
                return
            params["ContinuationToken"] = page["NextContinuationToken"]

    def _is_listed(self, name: str) -> bool | None:
        """Whether there is a file of this name; None if the bucket may not be listed."""
        try:
            return any(one == name for one in self.names(name, MaxKeys=1))
        except AccessDenied:
            return None

    def versions(self, name: str) -> Iterator[dict[str, list[dict[str, Any]]]]:
        """Every version and delete marker of a file, page by page."""
        params: dict[str, Any] = {"Bucket": self.name, "Prefix": name}
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

    def delete_version(self, name: str, version_id: str) -> None:
        """Deletes one version, or one delete marker, of a file."""
        self._call(
            f"s3:DeleteObjectVersion on {name}",
            "DeleteObject",
            self._client.delete_object,
            Bucket=self.name,
            Key=name,
            VersionId=version_id,
        )

    @staticmethod
    def _call(action: str, operation: str, call: Any, **params: Any) -> Any:
        try:
            return call(**params)
        except (ClientError, BotoCoreError) as err:
            raise refusal(err, operation, action) from err


def compressed(body: bytes) -> bytes:
    """The body compressed: the same bytes give the same bytes again."""
    return gzip.compress(body, compresslevel=6, mtime=0)
