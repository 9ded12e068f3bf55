"""The requests of a simulated life, which change with the rows of its ledger.

The store runs through the same suite as `RequestStore` (tests/contract/adapters/test_register.py). It is
not that adapter because a request and its keys' rows are written together, and the rows are values.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from keyjanitor.adapters.request_store import RequestChange
from keyjanitor.domain.model.records import (
    RequestRow,
    row_id,
)
from keyjanitor.domain.requests.census import Admissions
from sandbox.memory.simulation.ledger import Memory


class RequestStore:
    """What the ledger remembers of requests."""

    def __init__(self, ledger: Memory) -> None:
        self._ledger = ledger
        self.asked: dict[str, RequestRow] = {}
        self._admissions = Admissions()
        self._plans: dict[str, str] = {}  # that we made, by their shape
        self._claims: dict[str, tuple[str, datetime]] = {}  # on a shape: holder, and until when

    def requests(self, request_ids: Sequence[str]) -> dict[str, RequestRow]:
        return {name: self.asked[name] for name in request_ids if name in self.asked}

    def of_all_senders(self, request_id: str) -> list[RequestRow]:
        beginning = row_id(request_id, "")
        return [row for name, row in self.asked.items() if name.startswith(beginning)]

    def commit(self, changes: Sequence[RequestChange]) -> list[RequestRow | None]:
        return [self._commit(change) for change in changes]

    def _commit(self, change: RequestChange) -> RequestRow | None:
        name = change.after.request_id
        version = change.before.version if change.before else 0
        stands = self.asked.get(name)
        if (stands.version if stands else 0) != version:
            return None
        if not self._ledger.commit_together(*change.rows):
            return None
        self._ledger.outbox.update({one.announcement_id: one for one in change.announcements})
        self.asked[name] = replace(change.after, version=version + 1)
        return self.asked[name]

    def admissions(self) -> Admissions:
        return self._admissions

    def put_admissions(self, admissions: Admissions) -> bool:
        if admissions.version != self._admissions.version:
            return False
        self._admissions = replace(admissions, version=admissions.version + 1)
        return True

    def made_usage_plans(self) -> dict[str, str]:
        return dict(self._plans)

    def claim_usage_plan(self, shape: str, holder: str, at: datetime, until: datetime) -> bool:
        held = self._claims.get(shape)
        if held is not None and held[0] != holder and held[1] >= at:
            return False
        self._plans.pop(shape, None)
        self._claims[shape] = holder, until
        return True

    def release_usage_plan(self, shape: str) -> None:
        self._claims.pop(shape, None)

    def put_usage_plan(self, shape: str, usage_plan_id: str) -> None:
        self._plans[shape] = usage_plan_id
        self._claims.pop(shape, None)
