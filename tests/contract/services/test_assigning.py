"""Who a key belongs to is said by an admin or an operator, and from then on no rule says otherwise."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from keyjanitor.domain.model.keys import State
from keyjanitor.domain.model.policy import OwnerRule
from keyjanitor.domain.model.records import OwnerFrom
from keyjanitor.domain.requests.key_request import OPERATOR
from tests.account import SENDER, Account
from tests.builders import ADMIN, CONTACT, KEY_ID, PLAN_ID, PORTAL, TODAY
from tests.requesting import (
    TIER,
    an_asking_policy,
    asked,
    assign,
    code_of,
    delivered,
    issue,
    renew,
    rotate,
    the_answer,
    the_row,
)

AccountMaker = Callable[..., Account]
RULE = OwnerRule("description", r"user=(?P<owner>\S+)")


@pytest.fixture
def account(an_account: AccountMaker) -> Account:
    """An account with an old key, whose description a rule reads."""
    account = an_account(policy=replace(an_asking_policy(), owners=(RULE,)))
    account.key(KEY_ID, description="user=found")
    account.night()
    account.pass_day()
    return account


def test_an_old_key_is_assigned_and_stays_so_whatever_its_description_says(
    account: Account,
) -> None:
    before = the_row(account, KEY_ID)
    assert (before.owner, before.owner_from) == ("found", OwnerFrom.FOUND)
    body = assign(KEY_ID, "ann", name="Weather app", deliver_to=PORTAL, reason="by mail")
    assert account.ask(body, sender=ADMIN) == []
    assert the_answer(account, body) == (
        "Key Assigned",
        {
            "version": 1,
            "request_id": f"assign-{KEY_ID}",
            "requested_by": ADMIN,
            "key_id": KEY_ID,
            "owner": "ann",
            "previous_owner": "found",
            "tier": TIER,
            "contact": CONTACT,
            "name": "Weather app",
            "deliver_to": PORTAL,
            "reason": "by mail",
        },
    )
    after = the_row(account, KEY_ID)
    assert after == replace(
        before,
        version=after.version,
        owner="ann",
        owner_from=OwnerFrom.ASSIGNED,
        name="Weather app",
        deliver_to=PORTAL,
    )
    account.gateway.change(KEY_ID, description="user=another")
    for _ in range(2):
        account.night()
        account.pass_day()
        assert the_row(account, KEY_ID).owner == "ann"


def test_what_is_left_out_of_an_assignment_stays_as_it_was(account: Account) -> None:
    asked(account, assign(KEY_ID, "ann", name="app", deliver_to=PORTAL), sender=ADMIN)
    body = assign(KEY_ID, "bob", request_id="again")
    asked(account, body, sender=OPERATOR)
    row = the_row(account, KEY_ID)
    assert (row.owner, row.name, row.deliver_to) == ("bob", "app", PORTAL)
    assert the_answer(account, body)[1]["previous_owner"] == "ann"
    same = assign(KEY_ID, "bob", request_id="and-again")
    asked(account, same, sender=ADMIN)
    assert "previous_owner" not in the_answer(account, same)[1]
    assert the_row(account, KEY_ID) == row


def test_an_assigned_key_is_rotated_and_delivered_as_one_that_was_issued(account: Account) -> None:
    assert account.ask(rotate(KEY_ID, request_id="early"), sender=ADMIN) == []
    assert code_of(account, rotate(KEY_ID, request_id="early")) == "recipient_not_allowed"
    asked(account, assign(KEY_ID, "ann", deliver_to=PORTAL), sender=ADMIN)
    new = asked(account, rotate(KEY_ID), sender=ADMIN)
    detail = the_answer(account, rotate(KEY_ID))[1]
    assert (detail["owner"], detail["previous_key_id"]) == ("ann", KEY_ID)
    key, value, plans = account.gateway.whole(new)
    assert (value, plans, key.enabled) == (delivered(account, detail), (PLAN_ID,), True)
    row = the_row(account, new)
    assert (row.owner, row.issued, row.owner_from, row.deliver_to) == ("ann", True, None, PORTAL)
    assert the_row(account, KEY_ID).rotated_to == new


def test_a_key_that_was_issued_goes_to_another_owner_and_keeps_its_tier(account: Account) -> None:
    key_id = asked(account, issue())
    before = the_row(account, key_id)
    body = assign(key_id, "ann")
    assert account.ask(body) == []
    assert code_of(account, body) == "sender_not_allowed"
    assert the_row(account, key_id) == before
    asked(account, assign(key_id, "ann", request_id="admin"), sender=ADMIN)
    after = the_row(account, key_id)
    assert (after.owner, after.issued, after.tier, after.sender) == ("ann", True, TIER, SENDER)
    asked(account, renew(key_id))  # who asked for it may act on it as before


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"deliver_to": "arn:aws:iam::123456789012:role/others"}, "recipient_not_allowed"),
        ({"owner": "keyj" + "0" * 30 + "0I7IRA"}, "invalid_request"),
        ({"owner": ""}, "invalid_request"),
        ({"owner": "ann\u202e"}, "invalid_request"),
        ({"until": str(TODAY)}, "invalid_request"),
        ({"key_id": "nothing"}, "unknown_key"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    account: Account, more: dict[str, Any], code: str
) -> None:
    before = account.rows()
    body = {**assign(KEY_ID, "ann"), **more}
    assert account.ask(body, sender=ADMIN) == []
    assert code_of(account, body) == code
    assert account.rows() == before


def test_a_parked_key_is_restored_before_it_is_assigned_and_keeps_its_owner(
    an_account: AccountMaker,
) -> None:
    account = an_account(policy=an_asking_policy())
    account.key(KEY_ID, idle=60)
    account.night()
    asked(account, assign(KEY_ID, "ann", name="app"), sender=ADMIN)
    for _ in range(9):
        account.pass_day()
        account.night()
        if account.states()[KEY_ID] == State.PARKED:
            break
    told = [one["Detail"] for one in account.events if one["Detail"]["key_id"] == KEY_ID]
    assert {detail["owner"] for detail in told[-2:]} == {"ann"}
    body = assign(KEY_ID, "bob", request_id="parked")
    assert account.ask(body, sender=ADMIN) == []
    assert code_of(account, body) == "unknown_key"
    assert account.rows()[KEY_ID].owner == "ann"


def test_an_assigned_key_counts_for_its_owner(account: Account) -> None:
    asked(account, assign(KEY_ID, "owner-1"), sender=ADMIN)
    assert account.policy.tiers[TIER].max_keys_per_owner == 2
    asked(account, issue(1))
    more = issue(2, owner="owner-1")
    assert account.ask(more) == []
    assert code_of(account, more) == "too_many_keys"
