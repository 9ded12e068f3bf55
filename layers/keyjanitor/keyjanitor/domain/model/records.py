"""The rows of the ledger: of keys, nights, counts, alerts and requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import TypedDict

from keyjanitor.domain.model.keys import ANSWER_MAY_DIFFER, DAY, ApiKey, State, SweepAction
from keyjanitor.domain.model.owners import Owner


@dataclass(frozen=True, slots=True)
class Claim:
    """Written into a row right before API Gateway is touched, so that a run that dies is finished.

    It says what was seen: `enabled` and `updated` (`lastUpdatedDate`) are those of the key that was
    judged, and between `at` and `until` the run may have been at work, by API Gateway's clock. What
    happened to the key at another time is not the run's doing.
    """

    verb: SweepAction
    on: date
    at: datetime | None = None
    until: datetime | None = None
    enabled: bool | None = None
    updated: datetime | None = None

    def may_have_disabled(self, key: ApiKey) -> bool:
        """True if the run that wrote this claim can have disabled the key; if not, others have."""
        if self.at is None or self.until is None or not self.enabled or key.enabled:
            return False
        if self.updated is not None and key.last_updated_date < self.updated:
            return False
        return self.at - ANSWER_MAY_DIFFER <= key.last_updated_date <= self.until


class OwnerFrom(StrEnum):
    """How it is known who a key belongs to."""

    ISSUED = "issued"  # the key was made for the owner
    ASSIGNED = "assigned"  # a request said so
    FOUND = "found"  # by a rule of `[[owners]]`, which may find another one tomorrow


@dataclass(frozen=True, slots=True)
class Row:
    """The ledger's row of one key: all that API Gateway does not keep.

    `version` counts the writes: a claim names the version it has read. `our_update` is the
    `lastUpdatedDate` that our own last change left behind, so that it is not taken for a
    change by others. `failed_on` is the date on which the key's last step failed, until one succeeds;
    `told_on` that from which the notice of the next step counts, if it was told later than on the date
    of the warning or the disabling. All dates are UTC.
    """

    key_id: str
    state: State
    tier: str
    version: int = 0
    owner: str | None = None
    owner_from: OwnerFrom | None = None  # None: `issued` says it, as in rows of earlier versions
    name: str = ""
    issued: bool = False
    adopted_on: date | None = None
    stepped_on: date | None = None
    reason: str = ""  # in words, of the last step or change
    reason_code: str = ""  # of the same, "" if a person wrote it, or an earlier version
    facts: Mapping[str, object] = field(default_factory=dict, hash=False)  # behind the code
    warned_on: date | None = None
    told_on: date | None = None
    disable_on: date | None = None
    disabled_on: date | None = None
    park_on: date | None = None
    parked_on: date | None = None
    purge_on: date | None = None
    purged_on: date | None = None
    expires_on: date | None = None
    renewed_on: date | None = None
    restored_on: date | None = None
    protected_until: date | None = None
    last_used: date | None = None
    owned_by: Owner | None = None
    our_update: datetime | None = None
    missing_since: date | None = None
    usage_plan_ids: tuple[str, ...] = ()
    previous_key_ids: tuple[str, ...] = ()
    new_key_id: str | None = None
    sender: str | None = None  # who asked for the key, and may act on it
    deliver_to: str | None = None
    request_ids: tuple[str, ...] = ()  # by `row_id`, whose answers carry the key's sealed value
    rotated_to: str | None = None
    regretted_on: date | None = None  # it came back within a month of being disabled or parked
    was_parked_on: date | None = None  # and this is when it had been parked, if it was
    revoked_on: date | None = None
    revoked_by: str | None = None
    failed_on: date | None = None
    closed_since: date | None = None  # of a parked key: its tombstone does not open, for good
    first_created_on: date | None = None  # of a restored key: the date of its first id
    claim: Claim | None = None


def is_our_update(key: ApiKey, row: Row) -> bool:
    """True if the key's last change is the one that we made last."""
    ours = row.our_update
    return ours is not None and key.last_updated_date <= ours + ANSWER_MAY_DIFFER


def was_agreed(row: Row) -> bool:
    """True if a key was disabled, or parked, because its agreed end had come."""
    taken = row.disabled_on or row.parked_on
    return row.expires_on is not None and taken is not None and row.expires_on <= taken


def end_is_announced(row: Row) -> bool:
    """True if the date in the row is that of its agreed end, and not one for idleness.

    The end itself, or the day after the warning, if that came no earlier than the end.
    """
    if row.expires_on is None or row.disable_on is None or row.state is not State.WARNED:
        return False
    late = row.warned_on is not None and row.disable_on == row.warned_on + DAY
    return row.disable_on == row.expires_on or (late and row.disable_on > row.expires_on)


def stands_disabled(key: ApiKey, row: Row) -> bool:
    """True if a key that keyjanitor disabled is still disabled: its next step is parking."""
    return row.state is State.DISABLED and not key.enabled


@dataclass(frozen=True, slots=True)
class NightRow:
    """The ledger's row of one night's sweeps."""

    date: date
    swept: bool = False
    told: tuple[
        str, ...
    ] = ()  # ids of the keys whose warning of this date is in a published digest
    called: tuple[str, ...] = ()  # ids of the disabled keys whose calls were announced on this date
    observed_because: str | None = None  # why a sweep that might have acted only observed
    brake_alerted: bool = False
    approved: str | None = None  # digest of the plan an operator approved on this date
    parked: int = 0  # keys, by all of its runs
    revoked: int = 0  # keys, by requests
    new: int | None = None  # keys past their idle limit that were not before, as the brake counts
    causes: Mapping[str, int] = field(
        default_factory=dict
    )  # of them, and of those that do not count
    braked: bool = False
    finished: str | None = None  # mark of the sweep that left nothing to do; None: do it all again


class NightFields(TypedDict, total=False):
    """The fields of a NightRow that one write may set: all but its date."""

    swept: bool
    told: Sequence[str]
    called: Sequence[str]
    observed_because: str | None
    brake_alerted: bool
    approved: str | None
    parked: int
    revoked: int
    new: int | None
    causes: Mapping[str, int]
    braked: bool
    finished: str | None


@dataclass(frozen=True, slots=True)
class CountRow:
    """The last count of a date: keys by tier and state, and usage plans; `freed` are slots.

    `at` is when it began (real time); None in a row of an earlier version.
    """

    date: date
    keys: int
    plans: int = 0
    issued: int = 0
    freed: int = 0
    tiers: Mapping[str, int] = field(default_factory=dict)
    states: Mapping[str, int] = field(default_factory=dict)
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PressureRuleRow:
    """A pressure rule above the one in force: how many more keys it would free in 30 days, by tier."""

    above: float
    idle_factor: float
    more_keys: int
    tiers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PressureRow:
    """Pressure by the last sweep: the rule in force (`above`, a share; None: none), and the rules above it."""

    date: date
    above: float | None
    rules: tuple[PressureRuleRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Burst:
    """Requests of one sender that were refused because a tier's budget of new keys was spent.

    `limit` is the field of the policy; `since` and `last` are the real times of the first and the
    last refusal.
    """

    tier: str
    limit: str
    sender: str
    since: datetime
    last: datetime
    refused: int

    @property
    def name(self) -> str:
        return f"{self.tier} {self.limit} {self.sender} {self.since:%Y-%m-%dT%H:%MZ}"


@dataclass(frozen=True, slots=True)
class PendingAlert:
    """An alert that is to be published; until `not_before` (real time) by who wrote it alone."""

    alert_id: str
    kind: str
    severity: str
    subject: str
    text: str
    form: Mapping[str, object]
    not_before: datetime


@dataclass(frozen=True, slots=True)
class AlertState:
    """Alerts about the account: those that were sent and still apply, and those to be published."""

    version: int = 0
    level: float | None = None
    mark: int | None = None
    alerted_on: date | None = None  # the last alert about capacity
    alerted_keys: int | None = None  # the keys that it counted
    problems: Mapping[str, tuple[date, tuple[str, ...]]] = field(default_factory=dict)
    pending: tuple[PendingAlert, ...] = ()


EXPIRING = "Key Expiring"
DISABLED = "Key Disabled"
PARKED = "Key Parked"
CALLED = "Disabled Key Called"
ISSUED = "Key Issued"
ROTATED = "Key Rotated"
NEW_KEYS = frozenset({ISSUED, ROTATED})


@dataclass(frozen=True, slots=True)
class Announcement:
    """An event that waits in the ledger's outbox until the bus has it.

    Until `not_before` (real time) only the run that wrote it puts it on the bus.
    """

    announcement_id: str
    detail_type: str
    detail: Mapping[str, object] = field(default_factory=dict)
    not_before: datetime | None = None


class Status(StrEnum):
    """Progress of a request; the last two are final, however late its message comes back."""

    TAKEN = "taken"  # seen, and nothing decided
    ADMITTED = "admitted"  # may be carried out, as often as it takes
    SEALED = "sealed"  # admitted; the value of its key is sealed and may be imported
    ANSWERED = "answered"
    REFUSED = "refused"


def row_id(request_id: str, sender: str) -> str:
    """Id of a request's row: `request_id` and `sender`, because the same id of another sender is another request."""
    return f"{request_id} {sender}"


FINAL = frozenset({Status.ANSWERED, Status.REFUSED})


@dataclass(frozen=True, slots=True)
class RequestRow:
    """The ledger's row of one request. `request_id` is its `row_id`: ids belong to senders.

    `digest` is that of its body; `sender` who sent it first. Until `held_until` (real time) only
    the run `holder` works on it. `detail_type` and `detail` are its answer.
    """

    request_id: str
    digest: str
    sender: str
    status: Status
    version: int = 0
    action: str = ""
    received_on: date | None = None
    holder: str | None = None
    held_until: datetime | None = None
    detail_type: str = ""
    detail: Mapping[str, object] = field(default_factory=dict)
    grant: "Grant | None" = None


@dataclass(frozen=True, slots=True)
class Grant:
    """Terms of a new key that a request was granted; written to the ledger before the key is made.

    `sender` is who may act on the key; `rotates` the id of the key that it takes the place of.
    """

    sealed_value: str
    tier: str
    owner: str | None
    name: str
    sender: str | None
    deliver_to: str
    usage_plan_ids: tuple[str, ...]
    expires_on: date | None = None
    rotates: str | None = None
    key_name: str = ""  # in API Gateway: by it the key is found whose making was cut off
