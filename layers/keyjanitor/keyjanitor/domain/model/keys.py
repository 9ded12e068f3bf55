"""Keys, usage plans, and the words for what is done to a key."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

DAY = timedelta(days=1)
# How much later than in UpdateApiKey's answer a key's lastUpdatedDate may be in later reads. Whether
# it ever is, is not known (believed: AF-212); the dates have whole seconds.
ANSWER_MAY_DIFFER = timedelta(seconds=1)


class Secret:
    """A key's value. `repr` and `str` hide it; only `reveal` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself: for API Gateway and KMS, and for nothing else."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> tuple[type, tuple[str]]:
        raise TypeError("a Secret is not pickled")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as API Gateway describes it, without its value.

    `tags` is None when they are not known: GetApiKeys leaves tags out of its items, so a missing
    `tags` there means unknown, never untagged (seen: AF-205).
    """

    key_id: str
    name: str
    enabled: bool
    created_date: datetime
    last_updated_date: datetime
    description: str = ""
    customer_id: str = ""
    stage_keys: tuple[str, ...] = ()
    tags: Mapping[str, str] | None = None


class Mode(StrEnum):
    """Steps that a sweep may take; each mode allows what those before it allow."""

    OBSERVE = "observe"
    DISABLE = "disable"
    PARK = "park"

    def allows(self, other: "Mode") -> bool:
        """True if a stack deployed in this mode may be asked for `other`."""
        order = list(Mode)
        return order.index(other) <= order.index(self)


class State(StrEnum):
    """State of a key. Keys in the last five have left API Gateway under this id."""

    ACTIVE = "active"
    WARNED = "warned"
    DISABLED = "disabled"
    PARKED = "parked"
    PURGED = "purged"
    RESTORED = "restored"  # lives on under another id
    GONE = "gone"  # deleted by others
    REVOKED = "revoked"  # deleted for good by a request


LIVE_STATES = frozenset({State.ACTIVE, State.WARNED, State.DISABLED})


class SweepAction(StrEnum):
    """Action of a sweep on a key; the words of `applied` in a sweep's answer."""

    ADOPT = "adopt"
    WARN = "warn"
    DISABLE = "disable"
    PARK = "park"
    PURGE = "purge"
    ENABLE = "enable"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class Tombstone:
    """All that is needed to build a parked key again; the value only as KMS sealed it."""

    key_id: str
    sealed_value: str
    name: str
    description: str
    customer_id: str
    tags: Mapping[str, str]
    usage_plan_ids: tuple[str, ...]
    tier: str
    owner: str | None
    enabled: bool
    created_date: datetime
    parked_on: date
    last_used: date | None = None
