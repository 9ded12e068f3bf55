"""Builds the events that answer requests. Pure."""

from keyjanitor.domain.expiry.events import VERSION, plain_value
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.records import NEW_KEYS, Row
from keyjanitor.domain.requests.key_request import KeyRequest, Refusal

REFUSED = "Key Request Refused"
RENEWED = "Key Renewed"
REVOKED = "Key Revoked"
RESTORED = "Key Restored"
PROTECTED = "Key Protected"
RELEASED = "Key Released"
ASSIGNED = "Key Assigned"


def answer(
    detail_type: str,
    request: KeyRequest,
    row: Row,
    policy: Policy,
    **more: object,
) -> dict[str, object]:
    """The detail of the event that answers a request; `row` is that of the key as it is now.

    What is None in `more` is left out.
    """
    tier = policy.tiers.get(row.tier)
    detail: dict[str, object] = {
        "version": VERSION,
        "request_id": request.request_id,
        "requested_by": request.sender,
        "key_id": row.key_id,
        "owner": plain_value(row.owner),
        "tier": row.tier,
        "contact": tier.contact if tier else None,
        "name": plain_value(row.name),
    }
    if detail_type in NEW_KEYS:
        detail["usable"] = "within minutes"  # as AWS says of every new key (seen: AF-216)
    told = [("reason", request.reason), *more.items()]
    return detail | {name: plain_value(value) for name, value in told if value is not None}


def refused(
    request_id: str | None,
    sender: str | None,
    action: str | None,
    refusal: Refusal,
    **known: str | None,
) -> dict[str, object]:
    """The detail of a `Key Request Refused`; `known` is what the request and the ledger say.

    Without a `request_id` it answers what is no request, or whose id looks like a key's value;
    without a `sender` it is not known who sent it first.
    """
    named = {name: known.get(name) for name in ("key_id", "owner", "tier", "contact")}
    return {
        "version": VERSION,
        "request_id": request_id,
        "requested_by": sender,
        "action": action,
        "code": str(refusal.code),
        "reason": plain_value(refusal.reason),
        **{name: plain_value(text) for name, text in named.items()},
    }
