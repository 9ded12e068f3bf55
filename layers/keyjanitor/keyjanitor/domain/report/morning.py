"""Input of a morning's report. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from keyjanitor.domain.doctor.checkup import Checkup
from keyjanitor.domain.doctor.findings import Finding
from keyjanitor.domain.expiry.notice import Untold
from keyjanitor.domain.expiry.outlook import NightAhead
from keyjanitor.domain.model.keys import Mode
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.records import CountRow, NightRow, PressureRow, Row
from keyjanitor.domain.usage.summary import Use

Line = Mapping[str, Any]  # of a keys file


@dataclass(frozen=True, slots=True)
class Morning:
    """Everything that a report shows.

    `lines` are those of the keys file of `lines_of`, the latest there is; `counts` and `nights` are
    the ledger's, by date. `ahead` is what the nights to come will do (in `ahead_mode`), or the
    reason why that is unknown. `warn_on` says when the keys that are within their idle limit will be warned.
    """

    today: date
    made_at: datetime
    account: str | None
    region: str | None
    stack: str | None
    mode: Mode
    policy: Policy
    checkup: Checkup
    findings: Sequence[Finding]
    counts: Mapping[date, CountRow]
    nights: Mapping[date, NightRow]
    pressure_row: PressureRow | None
    held: str | None
    use: Use
    lines: Sequence[Line]
    lines_of: date | None
    purged: int
    ahead: Sequence[NightAhead] | str
    ahead_mode: Mode
    warn_on: Mapping[str, date] = field(default_factory=dict)
    parked_ids: frozenset[str] = frozenset()
    untold: Mapping[str, Untold] = field(default_factory=dict)

    @property
    def rows(self) -> Mapping[str, Row]:
        """The ledger's rows of living keys."""
        return self.checkup.rows or {}
