"""The history's files of sweeps: saved plans, their approvals, and what later nights are compared with."""

import gzip
import json
from datetime import date, datetime

from aws_lambda_powertools import Logger

from keyjanitor.adapters.bucket import DAMAGE, Bucket, compressed
from keyjanitor.domain.expiry import comparison_file
from keyjanitor.domain.expiry.safety_brake import Compared
from keyjanitor.domain.expiry.sweep_plan import (
    KINDS,
    Purge,
    SweepPlan,
    action_of,
    digest_of,
    key_id_of,
)
from keyjanitor.domain.model.keys import DAY
from keyjanitor.errors import CallFailed, SweepPlanNotAsSaved, UnexpectedAnswer, UnknownSweepPlan

logger = Logger(child=True)


class SweepFiles:
    """The files under plans/ and nights/."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def save_sweep_plan(self, plan: SweepPlan) -> None:
        """Saves a plan of which not all may be done tonight, so that it can be looked at and approved."""
        deletions_first = sorted(plan.due, key=lambda step: KINDS.index(action_of(step)))
        document = {
            "version": 1,
            "date": str(plan.today),
            "digest": plan.digest,
            "allowance": plan.allowance,
            "kinds": plan.kinds,
            "due": [
                [
                    action_of(step),
                    key_id_of(step),
                    "" if isinstance(step, Purge) else str(step.because),
                ]
                for step in deletions_first
            ],
        }
        self._bucket.put(
            f"plans/{plan.digest}.json", json.dumps(document, indent=1).encode(), "application/json"
        )

    def saved_sweep_plan(self, digest: str) -> frozenset[tuple[str, str]]:
        """The pairs of action and key id that were due in a saved plan.

        Raises UnknownSweepPlan, and SweepPlanNotAsSaved if the file holds another plan than its digest says.
        """
        body = self._bucket.get(f"plans/{digest}.json")
        if body is None:
            raise UnknownSweepPlan(digest)
        try:
            pairs = frozenset((action, key_id) for action, key_id, _ in json.loads(body)["due"])
            as_saved = digest_of(pairs) == digest
        except (ValueError, KeyError, TypeError):
            as_saved = False
        if not as_saved:
            raise SweepPlanNotAsSaved(digest)
        return pairs

    def put_approval(self, digest: str, day: date, at: datetime) -> None:
        """Writes beside a saved plan that an operator approved it, and for which date."""
        document = {"version": 1, "digest": digest, "date": str(day), "approved_at": str(at)}
        self._bucket.put(
            f"plans/{digest}.approved-{day}.json", json.dumps(document).encode(), "application/json"
        )

    def compared_before(self, day: date) -> Compared | None:
        """The latest night before `day` that was swept without the brake; None: there is none.

        A damaged file is named in the log, and the one before it is taken.
        """
        yesterday = _night_name(day - DAY)
        if found := self._compared(yesterday):
            return found
        for name in sorted(self._bucket.names("nights/"), reverse=True):
            if name < yesterday and (found := self._compared(name)):
                return found
        return None

    def put_compared(self, day: date, night: Compared, *, once: bool = True) -> None:
        """Writes what later nights are compared with; with `once` the first run of a date does."""
        document = json.dumps(comparison_file.to_document(night), separators=(",", ":"))
        condition = {"IfNoneMatch": "*"} if once else {}
        name = _night_name(day)
        try:
            self._bucket.put(name, compressed(document.encode()), "application/gzip", **condition)
        except CallFailed as err:
            if err.code != "PreconditionFailed":
                raise

    def _compared(self, name: str) -> Compared | None:
        body = self._bucket.get(name)
        if body is None:
            return None
        try:
            return comparison_file.from_document(json.loads(gzip.decompress(body)))
        except (*DAMAGE, KeyError, AttributeError, UnexpectedAnswer) as err:
            logger.error("%s is damaged (%s) and is passed over", name, type(err).__name__)
            return None


def _night_name(day: date) -> str:
    return f"nights/{day}.json.gz"
