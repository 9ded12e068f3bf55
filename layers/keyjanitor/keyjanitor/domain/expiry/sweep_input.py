"""Input of a sweep's decision. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from keyjanitor.domain.expiry.notice import Untold
from keyjanitor.domain.model.keys import ApiKey, SweepAction
from keyjanitor.domain.model.records import Row
from keyjanitor.domain.usage.evidence import Evidence

# Why nothing but warnings may be given, if it is so.
NOT_SWEPT = "it is the first night, or the first after two without a sweep"


@dataclass(frozen=True, slots=True)
class SweepInput:
    """Everything that a sweep decides on, as it was gathered.

    `rows` are the ledger's rows of the keys that live in API Gateway, by key id; `shelf` the parked
    ones whose time to be purged has come; `stepped` how many keys took which step on this date
    already. `warnings_only` says why nothing but warnings may be given (None: all may). `pressure_above`
    is the share of the pressure rule in force until now (None: none); `untold` says by key id which
    notices could not be sent. `begun` has the rows of keys that were made for requests which are not
    answered yet, by key id.
    """

    today: date
    keys: Sequence[ApiKey]
    rows: Mapping[str, Row]
    shelf: Sequence[Row]
    evidence: Evidence
    stepped: Mapping[SweepAction, int]
    warnings_only: str | None = None
    tombstones_open: bool = True
    pressure_above: float | None = None
    untold: Mapping[str, Untold] = field(default_factory=dict)
    begun: Mapping[str, Row] = field(default_factory=dict)
