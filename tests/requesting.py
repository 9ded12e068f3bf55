"""Builders of what other systems ask for: bodies of requests, and policies under which they may.

Each gives a request that is granted; a test names what matters. Its `request_id` is the action with
the number or key that it is about, so that a second request for the same needs an id of its own.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from itertools import chain, repeat
from typing import Any

from keyjanitor.adapters.kms import delivery_context
from keyjanitor.domain.model.policy import Policy, Quota, Tier
from keyjanitor.domain.model.records import Row
from keyjanitor.errors import KeyjanitorError
from tests.account import SENDER, Account, Around, Call, Killed
from tests.builders import PORTAL, a_policy, an_issuing_tier

Body = dict[str, Any]
Answer = tuple[str, dict[str, Any]]

STRANGER = "AROASTRANGER"
TIER = "external"
RECEIVES = 10  # of a message, until it goes to the dead-letter queue
SOONEST = timedelta(seconds=30)
VISIBILITY = timedelta(minutes=30)  # after which SQS gives a message again whose run has died
NAME = re.compile(r"kj-[0-9]{8}-[0-9a-f]{8}-[0-9]{3}")


# --- who may ask ----------------------------------------------------------------------------------


def an_asking_tier(name: str = TIER, **more: Any) -> Tier:
    """A tier in which SENDER may ask for keys, and whose steps take a night each."""
    values: dict[str, Any] = {
        "quota": Quota(50_000, "MONTH"),
        "senders": (SENDER,),
        "warn_days": 1,
        "grace_days": 1,
        "retain_days": 30,
        **more,
    }
    return an_issuing_tier(name, **values)


def an_asking_policy(*tiers: Tier, policy: dict[str, Any] | None = None, **more: Any) -> Policy:
    """A policy of these tiers (left out: `external`, to which `more` goes)."""
    return a_policy(*(tiers or (an_asking_tier(**more),)), **(policy or {}))


# --- what is asked --------------------------------------------------------------------------------


def issue(number: int = 1, **more: Any) -> Body:
    return {
        "version": 1,
        "action": "issue",
        "request_id": f"issue-{number}",
        "tier": TIER,
        "owner": f"owner-{number}",
        "name": f"key of owner {number}",
        "deliver_to": PORTAL,
        **more,
    }


def issues(count: int, **more: Any) -> list[Body]:
    """Requests for so many keys, numbered from 1."""
    return [issue(number, **more) for number in range(1, count + 1)]


def act(action: str, key_id: str, **more: Any) -> Body:
    return {
        "version": 1,
        "action": action,
        "request_id": f"{action}-{key_id}",
        "key_id": key_id,
        **more,
    }


def rotate(key_id: str, **more: Any) -> Body:
    return act("rotate", key_id, **more)


def renew(key_id: str, **more: Any) -> Body:
    return act("renew", key_id, **more)


def revoke(key_id: str, **more: Any) -> Body:
    return act("revoke", key_id, **more)


def restore(key_id: str, **more: Any) -> Body:
    return act("restore", key_id, **more)


def protect(key_id: str, until: date, **more: Any) -> Body:
    return act("protect", key_id, until=str(until), **more)


def release(key_id: str, **more: Any) -> Body:
    return act("release", key_id, **more)


def assign(key_id: str, owner: str, **more: Any) -> Body:
    return act("assign", key_id, owner=owner, **more)


# --- what is answered -----------------------------------------------------------------------------


def the_answer(account: Account, body: Body | str) -> Answer:
    """The answer to a request, however often it was given: always the same, as the contract says."""
    request_id = body if isinstance(body, str) else body["request_id"]
    answers = account.answers(request_id)
    assert answers, f"{request_id} was not answered"
    assert all(one == answers[0] for one in answers), answers
    return answers[0]


def code_of(account: Account, body: Body) -> str:
    """The code with which a request was refused, or the event that answers it."""
    detail_type, detail = the_answer(account, body)
    return str(detail["code"]) if detail_type == "Key Request Refused" else detail_type


def codes_of(account: Account, bodies: Iterable[Body]) -> list[str]:
    return [code_of(account, body) for body in bodies]


def key_of(account: Account, body: Body | str) -> str:
    """The id of the key that a request brought."""
    _, detail = the_answer(account, body)
    assert "code" not in detail, detail
    return str(detail["key_id"])


def told_in_turn(
    attempt: Callable[[int], str], repairs: Mapping[str, Callable[[], Any]]
) -> list[str]:
    """The codes of one attempt after the other, each with what the code before it told repaired."""
    told: list[str] = []
    while len(told) <= len(repairs):
        told.append(attempt(len(told)))
        if told[-1] not in repairs:
            break
        repairs[told[-1]]()
    return told


def asked(account: Account, *bodies: Body, sender: str | None = None) -> str:
    """Has requests served, which leaves none of them; gives the key id of the last one's answer."""
    assert account.ask(*bodies, sender=sender) == []
    return key_of(account, bodies[-1])


def delivered(account: Account, detail: dict[str, Any]) -> str:
    """The value that an event carries, as its recipient opens it."""
    context = delivery_context(PORTAL, detail["request_id"])
    assert detail["encryption_context"] == context
    return account.sealer.open(detail["sealed_value"], context).reveal()


def the_row(account: Account, key_id: str) -> Row:
    """A key's row, without how often it was written."""
    row = account.ledger.row(key_id) or account.row(key_id)
    assert row is not None, key_id
    return replace(row, version=0)


def not_a_working_key(account: Account, body: Body | str) -> list[str]:
    """What is wrong with the answer to a request for a new key, and with that key."""
    _, detail = the_answer(account, body)
    if "sealed_value" not in detail:
        return [f"it is answered by {detail}"]
    key_id = detail["key_id"]
    if key_id not in account.gateway.ids:
        return [f"there is no key {key_id}"]
    key, value, plans = account.gateway.whole(key_id)
    found = {
        "its value is not what was delivered": value == delivered(account, detail),
        "it is disabled": key.enabled,
        f"it is in {plans}": plans == (detail["usage_plan_id"],),
        f"it is called {key.name}": NAME.fullmatch(key.name),
        f"it is described as {key.description!r}": f"request={detail['request_id']}"
        in key.description,
        "its last change is somebody else's": the_row(account, key_id).our_update
        == key.last_updated_date,
    }
    return [fault for fault, holds in found.items() if not holds]


# --- how it is delivered --------------------------------------------------------------------------


def undisturbed(_: str, call: Call) -> Any:
    return call()


def deliver(
    account: Account,
    *bodies: Body,
    sender: str | None = None,
    faults: Iterable[Around] = (),
    between: Callable[[], Any] = lambda: None,
    at_once: bool = False,
) -> int:
    """Delivers messages as SQS does, again and again until none is left; gives how often it took.

    The first runs go through `faults`, one each; a run that dies leaves all its messages until their
    visibility ends, what is left in order comes back sooner (`at_once`: the first time in the same second).
    `between` happens before each time but the first. None may need more than ten.
    """
    waiting = list(bodies)
    runs = chain(faults, repeat(undisturbed))
    for received in range(1, RECEIVES + 1):
        account.around = next(runs)
        try:
            left = account.ask(*waiting, sender=sender, received=received)
        except (Killed, KeyjanitorError):
            account.real_now += VISIBILITY
        else:
            waiting = [waiting[index] for index in left]
            if received > 1 or not at_once:
                account.real_now += min(VISIBILITY / 2, SOONEST * 2 ** (received - 1))
        account.around = undisturbed
        if not waiting:
            return received
        between()
    raise AssertionError(f"{len(waiting)} messages go to the dead-letter queue: {waiting}")


def settle(account: Account) -> None:
    """Waits until no run of before may be at work, and has its last events told."""
    account.real_now += VISIBILITY
    account.ask()
