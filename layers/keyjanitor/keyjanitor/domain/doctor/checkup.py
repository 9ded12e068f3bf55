"""Input of the doctor's checks of an account. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from keyjanitor.domain.model.apis import ServedStage
from keyjanitor.domain.model.keys import ApiKey
from keyjanitor.domain.model.policy import BoundPolicy
from keyjanitor.domain.model.records import Row
from keyjanitor.domain.model.usage_plan import UsagePlan
from keyjanitor.domain.usage.evidence import Evidence


@dataclass(frozen=True, slots=True)
class InactiveKey:
    """An enabled key without a known request for `days`, which is more than its tier's `declared` days.

    Its days count from its last known request, or from the date on which it was made. `why` is one of
    `inactivity.Why`, `reason` that of the latest sweep in words.
    """

    key_id: str
    name: str
    owner: str | None
    tier: str
    declared: int
    days: int
    created: date
    last_used: date | None
    why: str
    reason: str


@dataclass(frozen=True, slots=True)
class Checkup:
    """All that the doctor looks at. What could not be read is left out, and is unknown.

    `rows` are the ledger's of living keys (None: there is no ledger), `evidence` is the latest.
    `plans` is None if they could not be listed. `stages` are those whose methods were read, by
    `api_id:stage`. `stacks` has the stack that owns a usage plan or an API, by its id (None: none
    does). `parked_plans` are those that a parked key comes back into (None: unknown).
    `inactive` are enabled keys that are inactive for longer than their tier declares (None: no tier
    declares, or it was not looked at). `unread` says what could not be read, and why.
    """

    today: date
    keys: Sequence[ApiKey]
    bound: BoundPolicy
    rows: Mapping[str, Row] | None = None
    evidence: Evidence | None = None
    plans: Sequence[UsagePlan] | None = None
    stages: Mapping[str, ServedStage] = field(default_factory=dict)
    stacks: Mapping[str, str | None] = field(default_factory=dict)
    parked_plans: frozenset[str] | None = None
    inactive: tuple[InactiveKey, ...] | None = None
    unread: tuple[str, ...] = ()
