"""The history's audit folders: one a month, whose manifest is written last, and once."""

from datetime import datetime

from keyjanitor.adapters.bucket import Bucket
from keyjanitor.errors import CallFailed

TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
OTHERWISE = "text/plain; charset=us-ascii"


class AuditFiles:
    """The files under audit/."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def audit_file(self, month: str, name: str) -> bytes | None:
        """A file of a month's folder; None: there is none."""
        return self._bucket.get(_name(month, name))

    def put_audit_file(
        self,
        month: str,
        name: str,
        body: bytes,
        *,
        once: bool = False,
        lock: tuple[str, datetime] | None = None,
    ) -> str:
        """Writes a file of a month's folder, and gives its name; with `once` a file that is there stays.

        `lock` is a mode of S3 Object Lock and the moment until which S3 lets this version be neither
        changed nor deleted. Raises CallFailed if the bucket has no Object Lock (doc: AF-514).
        """
        condition: dict[str, str | datetime] = {"IfNoneMatch": "*"} if once else {}
        if lock is not None:
            mode, until = lock
            condition |= {"ObjectLockMode": mode.upper(), "ObjectLockRetainUntilDate": until}
            condition["ChecksumAlgorithm"] = "SHA256"
        content_type = TYPES.get(name.rpartition(".")[2], OTHERWISE)
        try:
            self._bucket.put(_name(month, name), body, content_type, **condition)
        except CallFailed as err:
            if err.code != "PreconditionFailed":
                raise
        return _name(month, name)


def _name(month: str, name: str) -> str:
    return f"audit/{month}/{name}"
