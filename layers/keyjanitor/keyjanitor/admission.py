"""Decides who may have what he asks for: one refusal, or none, for each request. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from keyjanitor.decide import (
    KEEP_TAG,
    disabled_by_us,
    is_tagged_to_keep,
    owner_by_marks,
)
from keyjanitor.policy import BoundPolicy, Policy, Tier
from keyjanitor.words import DAY, LIVE_STATES, ApiKey, Burst, Row, State

OVERLAP_DAYS = 7
LONGEST_NAMED_LIFE = (
    366  # days that `expires_on` may be away where the tier sets no `max_life_days`
)
BURST_ENDS = timedelta(hours=2)  # without a refusal
BURSTS_KEPT = 20  # the last ones


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


def judge_bounds(request: KeyRequest, tier: Tier) -> Refusal | None:
    """Whether the dates of a request are later than its tier allows."""
    for name, named, days in (
        ("expires_on", request.expires_on, tier.max_life_days or LONGEST_NAMED_LIFE),
        ("until", request.until, tier.max_protect_days),
    ):
        latest = request.today + DAY * days
        if named is not None and named > latest:
            return Refusal(
                Code.INVALID_REQUEST,
                f"{name}: {named} is later than tier {tier.name} allows; the latest is {latest}",
            )
    return None


def end_of_life(tier: Tier, today: date) -> date | None:
    """When a key that is issued today has to end at the latest; None if it need not."""
    return today + DAY * tier.max_life_days if tier.max_life_days is not None else None


def judge_life(row: Row, today: date, policy: Policy) -> Refusal | None:
    """Whether a key's time is over for good: in a tier with `max_life_days` an end is not lifted."""
    tier = policy.tiers.get(row.tier)
    if tier is None or tier.max_life_days is None or not row.issued:
        return None
    if row.ends_on is None or row.ends_on > today:
        return None
    return Refusal(
        Code.NOT_RESTORABLE,
        f"key {row.key_id} has ended on {row.ends_on}, and no key of tier {tier.name} lives for more "
        f"than {tier.max_life_days} days; ask for another key",
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
    new: Mapping[str, int] = field(default_factory=dict)  # issued keys by tier
    asked: Mapping[str, int] = field(default_factory=dict)  # the same by tier and sender


@dataclass(frozen=True, slots=True)
class Spent:
    """How many keys were issued: by tier on a `day`, and by tier and sender in an `hour`, real time."""

    day: str = ""
    hour: str = ""
    tiers: Mapping[str, int] = field(default_factory=dict)
    senders: Mapping[str, int] = field(default_factory=dict)  # by `owner_mark`

    def at(self, now: datetime) -> "Spent":
        """What is spent of the day and of the hour that it is now."""
        day, hour = f"{now:%Y-%m-%d}", f"{now:%Y-%m-%dT%H}"
        return Spent(
            day,
            hour,
            self.tiers if self.day == day else {},
            self.senders if self.hour == hour else {},
        )

    def plus(self, made: Batch) -> "Spent":
        """With the keys that a run has made."""
        return replace(
            self,
            tiers=dict(Counter(self.tiers) + Counter(made.new)),
            senders=dict(Counter(self.senders) + Counter(made.asked)),
        )


@dataclass(frozen=True, slots=True)
class Admissions:
    """The account's keys as they were counted last, and what has been admitted since."""

    version: int = 0
    counted: int = 0
    counted_at: datetime | None = None
    made: int = 0  # keys, since they were counted
    batches: Mapping[str, Batch] = field(default_factory=dict)
    spent: Spent = field(default_factory=Spent)
    bursts: tuple[Burst, ...] = ()


@dataclass(frozen=True, slots=True)
class Want:
    """A slot that a request takes; a restored key is not counted against its owner.

    Only what is issued is counted against the budgets of new keys: a rotation replaces a key, and a
    restore brings one back.
    """

    action: Action
    tier: Tier
    owner: str | None
    sender: str = ""


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
    new: Counter[str] = field(default_factory=Counter)  # keys that were issued today, by tier
    asked: Counter[str] = field(default_factory=Counter)  # and in this hour, by tier and sender

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
        spent = admissions.spent.at(now)
        new, asked = Counter(spent.tiers), Counter(spent.senders)
        for batch in still_at_work(admissions.batches, now).values():
            new.update(batch.new)
            asked.update(batch.asked)
        return cls(keys, tiers, owners, rung, new, asked)

    def admit(self, want: Want, policy: Policy) -> Refusal | None:
        """Takes a slot for a request, or says why it gets none."""
        refusal = (
            self._too_many(want)
            or self._no_room(want, policy)
            or self._frozen(want, policy)
            or self._budget_spent(want)
        )
        if refusal is None:
            self.take(want)
        return refusal

    def take(self, want: Want) -> None:
        """Counts a key that was admitted before."""
        self.keys += 1
        self.tiers[want.tier.name] += 1
        if want.owner is not None:
            self.owners[owner_mark(want.tier.name, want.owner)] += 1
        if want.action is Action.ISSUE:
            self.new[want.tier.name] += 1
            self.asked[owner_mark(want.tier.name, want.sender)] += 1

    def _budget_spent(self, want: Want) -> Refusal | None:
        limit = self.spent_limit(want)
        if limit is None:
            return None
        number = getattr(want.tier, limit)
        return Refusal(
            Code.BUDGET_SPENT,
            f"tier {want.tier.name} allows {number} {_IN_WORDS[limit]}, and they are spent",
        )

    def spent_limit(self, want: Want) -> str | None:
        """The field of the tier whose budget leaves no new key for this request; None: none."""
        if want.action is not Action.ISSUE:
            return None
        mark = owner_mark(want.tier.name, want.sender)
        if self.asked[mark] >= want.tier.new_keys_per_sender_per_hour:
            return "new_keys_per_sender_per_hour"
        if self.new[want.tier.name] >= want.tier.new_keys_per_day:
            return "new_keys_per_day"
        return None

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


_IN_WORDS = {
    "new_keys_per_day": "new keys a day (UTC)",
    "new_keys_per_sender_per_hour": "new keys an hour to one sender",
}


def with_refused(
    bursts: Iterable[Burst], wants: Iterable[Want], census: Census, now: datetime
) -> tuple[Burst, ...]:
    """The bursts with those of these wants that a spent budget has refused; the last ones of them."""
    kept = {(one.tier, one.limit, one.sender): one for one in bursts}
    for want in wants:
        limit = census.spent_limit(want)
        if limit is None:
            continue
        name = (want.tier.name, limit, want.sender)
        before = kept.pop(name, None)
        if before is None or now - before.last > BURST_ENDS:
            before = Burst(*name, since=now, last=now, refused=0)
        kept[name] = replace(before, last=now, refused=before.refused + 1)
    return tuple(sorted(kept.values(), key=lambda one: one.last)[-BURSTS_KEPT:])


def batch_of(wants: Iterable[Want], until: datetime) -> Batch:
    """What a run has admitted."""
    wants = list(wants)
    issued = [want for want in wants if want.action is Action.ISSUE]
    return Batch(
        until=until,
        keys=len(wants),
        tiers=dict(Counter(want.tier.name for want in wants)),
        owners=dict(
            Counter(
                owner_mark(want.tier.name, want.owner) for want in wants if want.owner is not None
            )
        ),
        new=dict(Counter(want.tier.name for want in issued)),
        asked=dict(Counter(owner_mark(want.tier.name, want.sender) for want in issued)),
    )


def still_at_work(batches: Mapping[str, Batch], now: datetime) -> dict[str, Batch]:
    """The batches of the runs that may not have ended yet."""
    return {name: batch for name, batch in batches.items() if batch.until > now}
