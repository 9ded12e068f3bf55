"""S3's client in memory, as far as `keyjanitor.adapters.history_bucket` uses it."""

from bisect import bisect_left, bisect_right, insort
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import islice, takewhile
from typing import Any

from sandbox.memory.clients.dynamodb import Item
from sandbox.memory.clients.refusal import refused

CREATED = datetime(
    2026, 11, 21, tzinfo=UTC
)  # of the first version; the others follow by the second


class FakeS3:
    """Versioned buckets; listings in pages of `page`."""

    def __init__(self, page: int = 2) -> None:
        self._page = page
        self._buckets: dict[str, list[tuple[str, str, bytes | None]]] = {}
        self._newest: dict[
            str, dict[str, tuple[str, bytes | None]]
        ] = {}  # version and body by name
        self._names: dict[str, list[str]] = {}  # of each bucket, in order
        self._made = 0

    def create_bucket(self, *, Bucket: str) -> None:  # noqa: N803
        self._buckets[Bucket] = []
        self._index(Bucket)

    def put_bucket_versioning(self, **_: Any) -> None:
        pass

    def put_object(self, **request: Any) -> Item:
        if request.get("IfNoneMatch") and self._standing(request)[1]:
            raise refused("PutObject", "PreconditionFailed", 412)
        return {"VersionId": self._add(request, request["Body"])}

    def get_object(self, **request: Any) -> Item:
        version, body = self._standing(request)
        if wanted := request.get("VersionId"):
            bucket = self._buckets[request["Bucket"]]
            body = next((one[2] for one in bucket if one[:2] == (request["Key"], wanted)), None)
        if body is None:
            raise refused("GetObject", "NoSuchVersion" if wanted else "NoSuchKey", 404)
        return {"Body": BytesIO(body), "VersionId": wanted or version}

    def delete_object(self, **request: Any) -> Item:
        if "VersionId" not in request:
            self._add(request, None)
            return {}
        self._buckets[request["Bucket"]] = [
            one for one in self._buckets[request["Bucket"]] if one[1] != request["VersionId"]
        ]
        self._index(request["Bucket"])
        return {}

    def list_objects_v2(self, **request: Any) -> Item:
        after = request.get("ContinuationToken") or request.get("StartAfter", "")
        prefix, in_order = request.get("Prefix", ""), self._names[request["Bucket"]]
        newest = self._newest[request["Bucket"]]
        first = max(bisect_left(in_order, prefix), bisect_right(in_order, after))
        there = (name for name in islice(in_order, first, None) if newest[name][1] is not None)
        names = list(islice(takewhile(lambda one: one.startswith(prefix), there), self._page + 1))
        page = {"Contents": [{"Key": name} for name in names[: self._page]]}
        more = len(names) > self._page
        return {
            **page,
            "IsTruncated": more,
            **({"NextContinuationToken": names[self._page - 1]} if more else {}),
        }

    def list_object_versions(self, **request: Any) -> Item:
        after = (request.get("KeyMarker", ""), request.get("VersionIdMarker", ""))
        found = sorted(
            one
            for one in self._buckets[request["Bucket"]]
            if one[0].startswith(request["Prefix"]) and one[:2] > after
        )
        page = found[: self._page]
        more = len(found) > self._page
        kinds: dict[str, list[Item]] = {"Versions": [], "DeleteMarkers": []}
        for name, version, body in page:
            kind = "DeleteMarkers" if body is None else "Versions"
            modified = CREATED + timedelta(seconds=int(version))
            kinds[kind].append({"Key": name, "VersionId": version, "LastModified": modified})
        marker = {"NextKeyMarker": page[-1][0], "NextVersionIdMarker": page[-1][1]} if more else {}
        return {**kinds, "IsTruncated": more, **marker}

    def _add(self, request: Item, body: bytes | None) -> str:
        self._made += 1
        version = f"{self._made:09}"
        name, bucket = request["Key"], request["Bucket"]
        self._buckets[bucket].append((name, version, body))
        if name not in self._newest[bucket]:
            insort(self._names[bucket], name)
        self._newest[bucket][name] = (version, body)
        return version

    def _index(self, bucket: str) -> None:
        """Finds the newest version of each object."""
        versions = self._buckets[bucket]
        self._newest[bucket] = {name: (version, body) for name, version, body in versions}
        self._names[bucket] = sorted(self._newest[bucket])

    def _standing(self, request: Item) -> tuple[str, bytes | None]:
        return self._newest[request["Bucket"]].get(request["Key"], ("", None))

    def _latest(self, bucket: str) -> dict[str, bytes | None]:
        return {name: body for name, (_, body) in self._newest[bucket].items()}
