"""Decides who may have what he asks for: one refusal, or none, for each request. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from hashlib import sha256

from keyjanitor.decide import (
    KEEP_TAG,
    disabled_by_us,
    is_tagged_to_keep,
    owner_by_marks,
)
from keyjanitor.policy import BoundPolicy, Policy, Tier
from keyjanitor.words import LIVE_STATES, ApiKey, Row, State

OVERLAP_DAYS = 7


class Action(StrEnum):
    """What a request asks for."""

    ISSUE = "issue"
    ROTATE = "rotate"
    RENEW = "renew"
    REVOKE = "revoke"
    RESTORE = "restore"
    PROTECT = "protect"
    RELEASE = "release"


class Code(StrEnum):
    """Why a request is refused: the first of these that fits."""

    SEND_AGAIN = "send_again"
    CONFLICTING_REQUEST = "conflicting_request"
    INVALID_REQUEST = "invalid_request"
    UNKNOWN_TIER = "unknown_tier"
    UNKNOWN_KEY = "unknown_key"
    SENDER_NOT_ALLOWED = "sender_not_allowed"
    RECIPIENT_NOT_ALLOWED = "recipient_not_allowed"
    OWNED_ELSEWHERE = "owned_elsewhere"
    PROTECTED = "protected"
    NOT_RESTORABLE = "not_restorable"
    TOO_MANY_KEYS = "too_many_keys"
    CAPACITY_EXHAUSTED = "capacity_exhausted"
    TIER_FROZEN = "tier_frozen"
    BUDGET_SPENT = "budget_spent"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal, with its reason in a sentence."""

    code: Code
    reason: str


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """One request that fits the schema; `sender` is its SenderId up to the colon, `today` its date."""

    request_id: str
    action: Action
    sender: str
    today: date
    tier: str = ""
    owner: str = ""
    name: str = ""
    deliver_to: str = ""
    expires_on: date | None = None
    key_id: str = ""
    overlap_days: int = OVERLAP_DAYS
    until: date | None = None
    reason: str | None = None


def judge_dates(request: KeyRequest) -> Refusal | None:
    """Whether the request's dates are still to come."""
    if request.expires_on is not None and request.expires_on <= request.today:
        return Refusal(
            Code.INVALID_REQUEST,
            f"expires_on: {request.expires_on} is not to come; today is {request.today}",
        )
    if request.until is not None and request.until < request.today:
        return Refusal(
            Code.INVALID_REQUEST, f"until: {request.until} is past; today is {request.today}"
        )
    return None


def is_in_a_tier(sender: str, policy: Policy) -> bool:
    """Whether policy.toml lets this sender ask for anything."""
    return any(
        _names(tier.senders, sender) or _names(tier.admins, sender)
        for tier in policy.tiers.values()
    )


def judge_stranger(request: KeyRequest, policy: Policy) -> Refusal:
    """What is said to a sender that no tier names, and who learns nothing of keys."""
    if request.action is Action.ISSUE and request.tier not in policy.tiers:
        return _unknown_tier(request.tier)
    who = request.sender or "a sender without an id"
    return Refusal(
        Code.SENDER_NOT_ALLOWED,
        f"{who} is in no tier: see `senders` and `admins` in policy.toml",
    )


def judge_asker(request: KeyRequest, row: Row | None, policy: Policy) -> Refusal | None:
    """What policy and ledger say against it; `row` is that of the key it names, if there is one."""
    if request.action is Action.ISSUE:
        tier = policy.tiers.get(request.tier)
        if tier is None:
            return _unknown_tier(request.tier)
        if not _names(tier.senders, request.sender):
            return _sender(request, tier, "ask for keys")
        return _recipient(request.deliver_to, tier)
    if row is None:
        return Refusal(
            Code.UNKNOWN_KEY,
            f"{request.key_id}: the ledger knows no such key. A key made by others is known from the "
            "first sweep after it was made",
        )
    tier = policy.tiers.get(row.tier)
    if tier is None:
        return Refusal(
            Code.UNKNOWN_TIER,
            f"key {row.key_id} is in tier {row.tier!r}, which policy.toml does not have: no other "
            "tier says who may act on it",
        )
    if gone := _is_gone(request, row):
        return gone
    issued_to_sender = row.sender == request.sender and _names(tier.senders, request.sender)
    if not issued_to_sender and not _names(tier.admins, request.sender):
        return _sender(request, tier, f"act on key {request.key_id}")
    if request.action is Action.ROTATE:
        return _recipient(row.deliver_to, tier)
    return None


def judge_key(
    request: KeyRequest,
    row: Row,
    key: ApiKey | None,
    stack: str | None,
    policy: Policy,
) -> Refusal | None:
    """What the key itself says against it: whose it is, what shields it, whether it can come back.

    `key` is as API Gateway or its tombstone tells of it (None: it is no more), `stack` the stack
    that owns it.
    """
    match request.action:
        case Action.ROTATE | Action.REVOKE | Action.RESTORE:
            return _owned(row, key, stack, policy) or _shielded(request, row, key)
        case _:
            return None


def _is_gone(request: KeyRequest, row: Row) -> Refusal | None:
    if row.state in LIVE_STATES or request.action is Action.RESTORE:
        return None
    if row.state is State.PARKED:
        if request.action is Action.REVOKE:
            return None
        return Refusal(
            Code.UNKNOWN_KEY,
            f"key {row.key_id} was parked on {row.parked_on}; ask for its restore first",
        )
    return Refusal(Code.UNKNOWN_KEY, f"key {row.key_id} is {row.state}: gone for good")


def _owned(row: Row, key: ApiKey | None, stack: str | None, policy: Policy) -> Refusal | None:
    owner = f"stack {stack}" if stack else row.owned_by
    if owner is None and key is not None:
        owner = owner_by_marks(key, BoundPolicy(policy, {}, frozenset()))
    if owner is None:
        return None
    return Refusal(Code.OWNED_ELSEWHERE, f"key {row.key_id} belongs to {owner}; change it there")


def _shielded(request: KeyRequest, row: Row, key: ApiKey | None) -> Refusal | None:
    if request.action is Action.RESTORE:
        return _not_parked(row)
    if row.protected_until is not None and row.protected_until >= request.today:
        return Refusal(
            Code.PROTECTED,
            f"key {row.key_id} is protected until {row.protected_until}; release it first",
        )
    if key is not None and is_tagged_to_keep(key):
        return Refusal(Code.PROTECTED, f"key {row.key_id} has the tag {KEEP_TAG}")
    if request.action is not Action.ROTATE:
        return None
    if key is not None and not key.enabled and not disabled_by_us(key, row):
        return Refusal(
            Code.PROTECTED,
            f"somebody else has disabled key {row.key_id}; it has no successor until enabled",
        )
    return _ended(request, row) or _rotated(row)


def _not_parked(row: Row) -> Refusal | None:
    if row.state is State.PARKED:
        return None
    return Refusal(Code.NOT_RESTORABLE, f"key {row.key_id} is {row.state}, not parked")


def _rotated(row: Row) -> Refusal | None:
    if row.rotated_to is None:
        return None
    return Refusal(
        Code.TOO_MANY_KEYS,
        f"key {row.key_id} was rotated to {row.rotated_to} already; rotate that one",
    )


def _ended(request: KeyRequest, row: Row) -> Refusal | None:
    """A new key would have the same agreed end, which has come."""
    if row.ends_on is None or row.ends_on > request.today:
        return None
    return Refusal(
        Code.NOT_RESTORABLE,
        f"the agreed end of key {row.key_id}, {row.ends_on}, has come; renew it first, or ask for another key",
    )


def _names(ids: Sequence[str], sender: str) -> bool:
    # Every message of AWS's has a sender; one without is nobody's, not everybody's.
    return bool(sender) and ("*" in ids or sender in ids)


def _unknown_tier(name: str) -> Refusal:
    return Refusal(Code.UNKNOWN_TIER, f"policy.toml has no tier {name!r}")


def _sender(request: KeyRequest, tier: Tier, what: str) -> Refusal:
    return Refusal(
        Code.SENDER_NOT_ALLOWED,
        f"{request.sender or 'a sender without an id'} may not {what}: see `senders` and `admins` "
        f"of tier {tier.name}",
    )


def _recipient(deliver_to: str | None, tier: Tier) -> Refusal | None:
    if deliver_to is not None and deliver_to in tier.recipients:
        return None
    who = deliver_to or "nobody: the key has no recipient on record"
    return Refusal(
        Code.RECIPIENT_NOT_ALLOWED, f"{who}; `recipients` of tier {tier.name} names who may be"
    )


# --- counting -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Batch:
    """What a run has admitted and not brought to an end, or `until` when it must have."""

    until: datetime
    keys: int
    tiers: Mapping[str, int] = field(default_factory=dict)
    owners: Mapping[str, int] = field(default_factory=dict)  # by `owner_mark`


@dataclass(frozen=True, slots=True)
class Admissions:
    """The account's keys as they were counted last, and what has been admitted since."""

    version: int = 0
    counted: int = 0
    counted_at: datetime | None = None
    made: int = 0  # keys, since they were counted
    batches: Mapping[str, Batch] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Want:
    """A slot that a request takes; a restored key is not counted against its owner."""

    action: Action
    tier: Tier
    owner: str | None


def owner_mark(tier: str, owner: str | None) -> str:
    """A short name for an owner in a tier, who may be called anything at any length."""
    return sha256(f"{tier}\0{owner}".encode()).hexdigest()[:16]


@dataclass(slots=True)
class Census:
    """How many keys there are, those that are being made included."""

    keys: int
    tiers: Counter[str]
    owners: Counter[str]
    rung: float | None = None  # of the ladder, that stands by the last sweep

    @classmethod
    def of(
        cls,
        admissions: Admissions,
        holders: Mapping[tuple[str, str | None], int],
        now: datetime,
        rung: float | None = None,
    ) -> "Census":
        """The census from the last count, the ledger's living keys, and other runs' batches."""
        keys = admissions.counted + admissions.made
        tiers: Counter[str] = Counter()
        owners: Counter[str] = Counter()
        for (tier, owner), count in holders.items():
            tiers[tier] += count
            if owner is not None:
                owners[owner_mark(tier, owner)] += count
        for batch in still_at_work(admissions.batches, now).values():
            keys += batch.keys
            tiers.update(batch.tiers)
            owners.update(batch.owners)
        return cls(keys, tiers, owners, rung)

    def admit(self, want: Want, policy: Policy) -> Refusal | None:
        """Takes a slot for a request, or says why it gets none."""
        refusal = self._too_many(want) or self._no_room(want, policy) or self._frozen(want, policy)
        if refusal is None:
            self.take(want)
        return refusal

    def take(self, want: Want) -> None:
        """Counts a key that was admitted before."""
        self.keys += 1
        self.tiers[want.tier.name] += 1
        if want.owner is not None:
            self.owners[owner_mark(want.tier.name, want.owner)] += 1

    def _too_many(self, want: Want) -> Refusal | None:
        limit = want.tier.max_keys_per_owner
        if want.action is Action.RESTORE or want.owner is None:
            return None
        if want.action is Action.ROTATE:
            limit *= 2  # for as long as old and new overlap
        has = self.owners[owner_mark(want.tier.name, want.owner)]
        if has < limit:
            return None
        return Refusal(
            Code.TOO_MANY_KEYS,
            f"the owner has {has} keys in tier {want.tier.name}, {limit} are allowed",
        )

    def _no_room(self, want: Want, policy: Policy) -> Refusal | None:
        kept = sum(
            max(0, tier.reserve - self.tiers[tier.name])
            for tier in policy.tiers.values()
            if tier.name != want.tier.name
        )
        if self.keys + kept < policy.service_quota:
            return None
        reserved = f", and {kept} are reserved for other tiers" if kept else ""
        return Refusal(
            Code.CAPACITY_EXHAUSTED,
            f"the account holds {self.keys} of {policy.service_quota} API keys{reserved}",
        )

    def _frozen(self, want: Want, policy: Policy) -> Refusal | None:
        if want.action is not Action.ISSUE or want.tier.name not in policy.frozen(
            self.keys, self.rung
        ):
            return None
        return Refusal(
            Code.TIER_FROZEN,
            f"tier {want.tier.name} gets no new keys while the account holds "
            f"{self.keys} of {policy.service_quota}",
        )


def batch_of(wants: Iterable[Want], until: datetime) -> Batch:
    """What a run has admitted."""
    wants = list(wants)
    return Batch(
        until=until,
        keys=len(wants),
        tiers=dict(Counter(want.tier.name for want in wants)),
        owners=dict(
            Counter(
                owner_mark(want.tier.name, want.owner) for want in wants if want.owner is not None
            )
        ),
    )


def still_at_work(batches: Mapping[str, Batch], now: datetime) -> dict[str, Batch]:
    """The batches of the runs that may not have ended yet."""
    return {name: batch for name, batch in batches.items() if batch.until > now}
