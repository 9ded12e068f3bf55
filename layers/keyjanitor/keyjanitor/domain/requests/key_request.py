"""A request for a key, its action, and the codes of refusals. Pure."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

OVERLAP_DAYS = 7
# The sender of requests that come by invoking the function. It is no id of AWS, so no SenderId equals it.
OPERATOR = "operator"


class Action(StrEnum):
    """Action of a request."""

    ISSUE = "issue"
    ROTATE = "rotate"
    RENEW = "renew"
    REVOKE = "revoke"
    RESTORE = "restore"
    PROTECT = "protect"
    RELEASE = "release"
    ASSIGN = "assign"


class Code(StrEnum):
    """Code of a refusal. If several fit, it is the first of them in this order."""

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
