"""Decides whether a request is allowed: one refusal, or none, for each. Pure."""

from collections.abc import Sequence
from datetime import date

from keyjanitor.domain.expiry.ownership import (
    KEEP_TAG,
    disabled_by_us,
    is_tagged_to_keep,
    owner_by_marks,
)
from keyjanitor.domain.model.keys import DAY, LIVE_STATES, ApiKey, State
from keyjanitor.domain.model.owners import Stack
from keyjanitor.domain.model.policy import BoundPolicy, Policy, Tier
from keyjanitor.domain.model.records import Row
from keyjanitor.domain.requests.key_request import OPERATOR, Action, Code, KeyRequest, Refusal

LONGEST_NAMED_LIFE = (
    366  # days that `expires_on` may be away where the tier sets no `max_life_days`
)


def judge_dates(request: KeyRequest) -> Refusal | None:
    """Refusal of a request whose dates are past, or None."""
    if request.expires_on is not None and request.expires_on <= request.today:
        return Refusal(
            Code.INVALID_REQUEST,
            f"expires_on: {request.expires_on} must be in the future; today is {request.today}",
        )
    if request.until is not None and request.until < request.today:
        return Refusal(
            Code.INVALID_REQUEST, f"until: {request.until} is past; today is {request.today}"
        )
    return None


def is_operator(sender: str, policy: Policy) -> bool:
    """True if this sender may ask in every tier and act on every key."""
    return sender == OPERATOR or sender in policy.operators.ids


def is_in_a_tier(sender: str, policy: Policy) -> bool:
    """True if policy.toml lets this sender ask for anything."""
    return is_operator(sender, policy) or any(
        _names(tier.senders, sender) or _names(tier.admins, sender)
        for tier in policy.tiers.values()
    )


def judge_stranger(request: KeyRequest, policy: Policy) -> Refusal:
    """Refusal for a sender that no tier names; it reveals nothing of keys."""
    if request.action is Action.ISSUE and request.tier not in policy.tiers:
        return _unknown_tier(request.tier)
    who = request.sender or "a sender without an id"
    return Refusal(
        Code.SENDER_NOT_ALLOWED,
        f"{who} is in no tier: see `senders` and `admins` in policy.toml",
    )


def judge_bounds(request: KeyRequest, tier: Tier) -> Refusal | None:
    """Refusal of a request whose dates are later than its tier allows, or None."""
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
    """Latest end of a key that is issued today; None if it need not end."""
    return today + DAY * tier.max_life_days if tier.max_life_days is not None else None


def judge_life(row: Row, today: date, policy: Policy) -> Refusal | None:
    """Refusal because a key has reached its end in a tier with `max_life_days`, which cannot be moved; or None."""
    tier = policy.tiers.get(row.tier)
    if tier is None or tier.max_life_days is None or not row.issued:
        return None
    if row.expires_on is None or row.expires_on > today:
        return None
    return Refusal(
        Code.NOT_RESTORABLE,
        f"key {row.key_id} has ended on {row.expires_on}, and no key of tier {tier.name} lives for more "
        f"than {tier.max_life_days} days; ask for another key",
    )


def judge_asker(request: KeyRequest, row: Row | None, policy: Policy) -> Refusal | None:
    """Refusal of a request by policy and ledger, or None; `row` is that of the key it names, if there is one."""
    if request.action is Action.ISSUE:
        tier = policy.tiers.get(request.tier)
        if tier is None:
            return _unknown_tier(request.tier)
        if not is_operator(request.sender, policy) and not _names(tier.senders, request.sender):
            return _sender(request, tier, "ask for keys")
        return _recipient(request.deliver_to, tier)
    if row is None:
        return Refusal(
            Code.UNKNOWN_KEY,
            f"{request.key_id}: the ledger knows no such key. A key made by others is known from the "
            "first sweep after it was made",
        )
    # An issued key keeps its tier; an adopted one is unclaimed then.
    tier = policy.tiers.get(row.tier) or (None if row.issued else policy.unclaimed)
    if tier is None and not _needs_no_tier(request, policy):
        return Refusal(
            Code.UNKNOWN_TIER,
            f"key {row.key_id} is in tier {row.tier!r}, which policy.toml does not have: no other "
            "tier says who may act on it",
        )
    if gone := _is_gone(request, row):
        return gone
    return _judge_in_tier(request, row, tier, policy) if tier is not None else None


def _judge_in_tier(request: KeyRequest, row: Row, tier: Tier, policy: Policy) -> Refusal | None:
    """Refusal of a request about a key by what its tier says, or None."""
    if request.action is Action.ASSIGN:
        return _judge_assigner(request, tier, policy)
    if not _may_act(request.sender, row, tier, policy):
        return _sender(request, tier, f"act on key {request.key_id}")
    if request.action is Action.ROTATE:
        return _recipient(row.deliver_to, tier)
    return None


def _judge_assigner(request: KeyRequest, tier: Tier, policy: Policy) -> Refusal | None:
    """Whom a key belongs to is not for the sender to say that it was issued to."""
    if not _administers(request.sender, tier, policy):
        return Refusal(
            Code.SENDER_NOT_ALLOWED,
            f"{request.sender or 'a sender without an id'} may not assign key {request.key_id}: see `admins` of tier {tier.name}",
        )
    return _recipient(request.deliver_to, tier) if request.deliver_to else None


def _may_act(sender: str, row: Row, tier: Tier, policy: Policy) -> bool:
    issued_to_sender = row.sender == sender and _names(tier.senders, sender)
    return issued_to_sender or _administers(sender, tier, policy)


def _administers(sender: str, tier: Tier, policy: Policy) -> bool:
    return _names(tier.admins, sender) or is_operator(sender, policy)


def _needs_no_tier(request: KeyRequest, policy: Policy) -> bool:
    """True if no tier decides who may send the request, and within which bounds."""
    if not is_operator(request.sender, policy):
        return False
    if request.action is Action.ASSIGN:
        return not request.deliver_to
    return request.action not in (Action.ISSUE, Action.ROTATE, Action.PROTECT)


def judge_key(
    request: KeyRequest,
    row: Row,
    key: ApiKey | None,
    stack: str | None,
    policy: Policy,
) -> Refusal | None:
    """Refusal because of the key itself, or None: its owner, its protection, its tombstone.

    `key` is as API Gateway or its tombstone describes it (None: it is gone), `stack` the stack
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
    owner = Stack(stack) if stack else row.owned_by
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
            f"others have disabled key {row.key_id}; it has no successor until enabled",
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
    if row.expires_on is None or row.expires_on > request.today:
        return None
    return Refusal(
        Code.NOT_RESTORABLE,
        f"the agreed end of key {row.key_id}, {row.expires_on}, has come; renew it first, or ask for another key",
    )


def _names(ids: Sequence[str], sender: str) -> bool:
    # SQS always sets SenderId (doc: AF-552). If it is missing, deny; `*` must not match.
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
    who = (
        f"deliver_to {deliver_to}" if deliver_to else "no role (the key has no recipient on record)"
    )
    return Refusal(Code.RECIPIENT_NOT_ALLOWED, f"{who} is not in `recipients` of tier {tier.name}")
