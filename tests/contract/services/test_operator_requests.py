"""Requests of an operator, who invokes the function: the same stages, other rights, and no way in by the queue."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keyjanitor.domain.model.keys import State
from keyjanitor.domain.model.policy import Operators
from keyjanitor.domain.requests.key_request import OPERATOR
from keyjanitor.errors import CallFailed, InvalidEvent, OutsideReplayWindow
from sandbox.memory.clients.refusal import refused
from tests.account import BUSY, SENDER, Account, Calls, Killed, sqs_event
from tests.builders import DAY, PORTAL, TODAY
from tests.contract.services.test_secrets import shown
from tests.requesting import (
    STRANGER,
    VISIBILITY,
    Body,
    an_asking_policy,
    asked,
    code_of,
    codes_of,
    delivered,
    issue,
    issues,
    key_of,
    not_a_working_key,
    protect,
    release,
    renew,
    restore,
    revoke,
    rotate,
    settle,
    the_answer,
    the_row,
    undisturbed,
)

AccountMaker = Callable[..., Account]


@pytest.fixture
def account(an_account: AccountMaker, monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account whose tier lists no sender and no admin."""
    account = an_account(policy=an_asking_policy(senders=(), admins=()))
    monkeypatch.setattr(account.provision_keys, "pause", lambda seconds: None)
    return account


def under(account: Account, **more: Any) -> None:
    account.policy = an_asking_policy(**more)
    account.wire()


def become_of(account: Account, *bodies: Body) -> list[str]:
    """The code or detail-type with which each was answered, or `deferred`."""
    return [
        "deferred"
        if one["status"] == "deferred"
        else str(one["detail"].get("code", one["detail-type"]))
        for one in account.invoke(*bodies)
    ]


# --- what an operator may -------------------------------------------------------------------------


def test_an_operator_gets_a_key_of_a_tier_that_lists_no_sender_and_is_given_the_answer(
    account: Account,
) -> None:
    (answer,) = account.invoke(issue())
    told = {"detail-type": "Key Issued", "detail": the_answer(account, issue())[1]}
    assert answer == {"request_id": "issue-1", "status": "answered", **told}
    assert answer["detail"]["requested_by"] == OPERATOR
    assert not_a_working_key(account, issue()) == []
    assert the_row(account, key_of(account, issue())).sender == OPERATOR


def test_an_operator_acts_on_every_key_whoever_asked_for_it(account: Account) -> None:
    under(account, max_keys_per_owner=9)
    ids = [asked(account, issue(number)) for number in range(1, 5)]
    under(account, senders=(), admins=(), max_keys_per_owner=9)
    bodies = [
        rotate(ids[0]),
        renew(ids[1]),
        protect(ids[2], TODAY + DAY * 30),
        revoke(ids[3], reason="it leaked"),
    ]
    assert become_of(account, *bodies) == [
        "Key Rotated",
        "Key Renewed",
        "Key Protected",
        "Key Revoked",
    ]
    assert become_of(account, release(ids[2])) == ["Key Released"]
    row = the_row(account, ids[3])
    assert (row.state, row.revoked_by, row.reason) == (State.REVOKED, OPERATOR, "it leaked")
    assert ids[3] not in account.gateway.ids


def test_an_operator_restores_a_parked_key_with_its_value(account: Account) -> None:
    under(account, never_used_days=1)
    key_id = asked(account, issue())
    value = delivered(account, the_answer(account, issue())[1])
    for _ in range(4):
        account.night()
        account.pass_day()
    assert the_row(account, key_id).state is State.PARKED
    assert become_of(account, restore(key_id)) == ["Key Restored"]
    assert account.gateway.whole(key_of(account, restore(key_id)))[1] == value


def test_the_ids_of_operators_may_do_the_same_by_the_queue_and_others_may_not(
    account: Account,
) -> None:
    account.policy = replace(an_asking_policy(senders=()), operators=Operators((SENDER,)))
    account.wire()
    key_id = asked(account, issue())
    assert key_of(account, issue()) == key_id
    account.ask(renew(key_id), sender=STRANGER)
    assert code_of(account, renew(key_id)) == "sender_not_allowed"
    account.ask(revoke(key_id))
    assert code_of(account, revoke(key_id)) == "Key Revoked"


def test_a_key_whose_tier_the_policy_lost_can_be_revoked_by_an_operator_and_not_bound_to_anything(
    account: Account,
) -> None:
    under(account)
    key_id = asked(account, issue())
    account.policy = replace(account.policy, tiers={"unclaimed": account.policy.unclaimed})
    account.wire()
    bodies = [rotate(key_id), protect(key_id, TODAY + DAY), renew(key_id), revoke(key_id)]
    told = [become_of(account, body)[0] for body in bodies]
    assert told == ["unknown_tier", "unknown_tier", "Key Renewed", "Key Revoked"]


# --- what binds an operator too -------------------------------------------------------------------


def test_recipients_budgets_owners_and_the_key_limit_bind_an_operator_too(
    account: Account,
) -> None:
    under(account, senders=(), max_keys_per_owner=1, new_keys_per_sender_per_hour=2)
    elsewhere = issue(1, deliver_to=PORTAL + "2")
    assert become_of(account, elsewhere) == ["recipient_not_allowed"]
    assert become_of(account, issue(2)) == ["Key Issued"]
    assert become_of(account, issue(3, owner="owner-2")) == ["too_many_keys"]
    assert become_of(account, issue(4), issue(5)) == ["Key Issued", "budget_spent"]
    account.policy = an_asking_policy(senders=(), policy={"service_quota": 3})
    account.wire()
    assert become_of(account, issue(6)) == ["capacity_exhausted"]
    assert len(account.gateway.ids) == 3


def test_a_body_cannot_say_who_asks(account: Account) -> None:
    for claim in ({"sender": SENDER}, {"requested_by": SENDER}, {"operator": True}):
        body = issue(**claim, request_id=f"claims-{next(iter(claim))}")
        assert become_of(account, body) == ["invalid_request"]
        assert the_answer(account, body)[1]["requested_by"] == OPERATOR


def test_what_looks_like_a_value_is_refused_and_repeated_nowhere(
    account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    value = account.key("leaked", value="aB3dE6gH9jK2mN5pQ8sT1vW4")
    assert become_of(account, revoke(value, request_id="a-1")) == ["invalid_request"]
    assert become_of(account, revoke("leaked", reason=value)) == ["invalid_request"]
    with pytest.raises(InvalidEvent):
        account.invoke(f"revoke {value}")
    with pytest.raises(InvalidEvent):
        account.invoke([value])
    events: list[dict[str, Any]] = [{value: 1}, {"time": value}]
    for event in events:
        with pytest.raises(InvalidEvent) as raised:
            account.invoke(issue(), **event)
        assert value not in str(raised.value)
    for event in [*events, {"mode": value}, {"mode": [value]}]:
        with pytest.raises(InvalidEvent) as raised:
            account.sweep(**event)
        assert value not in str(raised.value)
    said = [account.operators_answers, account.events, account.items(), caplog.text]
    assert shown([value], {str(n): repr(one).encode() for n, one in enumerate(said)}) == []


# --- one request, one effect ----------------------------------------------------------------------


def test_a_request_sent_again_makes_no_second_key_and_is_answered_again(account: Account) -> None:
    first = account.invoke(issue())
    account.pass_day()
    assert account.invoke(issue()) == first
    assert account.invoke(issue(), issue()) == first * 2
    assert become_of(account, issue(name="another")) == ["conflicting_request"]
    assert len(account.gateway.ids) == 2


def test_a_request_id_of_an_operator_is_not_that_of_a_sender(account: Account) -> None:
    under(account, max_keys_per_owner=2)
    asked(account, issue())
    (answer,) = account.invoke(issue())
    assert answer["detail"]["requested_by"] == OPERATOR
    told = {detail["requested_by"]: detail["key_id"] for _, detail in account.answers("issue-1")}
    assert len(set(told.values())) == 2
    assert list(told) == [SENDER, OPERATOR]


def test_what_an_operator_was_issued_and_revoked_stays_revoked(account: Account) -> None:
    account.invoke(issue())
    key_id = key_of(account, issue())
    assert become_of(account, revoke(key_id)) == ["Key Revoked"]
    assert become_of(account, issue()) == ["Key Revoked"]
    assert become_of(account, revoke(key_id)) == ["Key Revoked"]
    assert become_of(account, restore(key_id)) == ["not_restorable"]
    assert account.gateway.ids == [BUSY]


def test_two_operators_at_once_get_one_key_and_the_second_is_told_to_come_again(
    account: Account,
) -> None:
    seconds: list[Any] = []

    def meanwhile(call: Any) -> Any:
        account.around = undisturbed
        seconds.append(account.invoke(issue()))
        return call()

    account.around = Calls(apigateway_import_keys=meanwhile)
    assert become_of(account, issue()) == ["Key Issued"]
    assert [one["status"] for (one,) in seconds] == ["deferred"]
    assert "running" in account.operators_answers[0]
    assert account.invoke(issue())[0]["detail"]["key_id"] == key_of(account, issue())
    assert len(account.gateway.ids) == 2


def test_a_run_that_died_is_waited_for_and_then_finished_by_the_same_request(
    account: Account,
) -> None:
    account.around = Calls(apigateway_keys_named=lambda _: dies())
    with pytest.raises(Killed):
        account.invoke(issue())
    account.around = undisturbed
    assert become_of(account, issue()) == ["deferred"]
    account.real_now += VISIBILITY
    assert become_of(account, issue()) == ["Key Issued"]
    assert not_a_working_key(account, issue()) == []
    assert len(account.gateway.ids) == 2


def dies() -> Any:
    raise Killed


def test_what_cannot_be_done_now_is_said_to_be_deferred_and_why_and_done_when_sent_again(
    account: Account,
) -> None:
    under(account)
    key_id = asked(account, issue())
    account.around = Calls(apigateway_delete=lambda _: fails())
    (answer,) = account.invoke(revoke(key_id))
    assert (answer["request_id"], answer["status"]) == (f"revoke-{key_id}", "deferred")
    assert "InternalServerErrorException" in answer["reason"]
    account.around = undisturbed
    assert become_of(account, revoke(key_id)) == ["Key Revoked"]


def fails() -> Any:
    raise CallFailed("DeleteApiKey", "InternalServerErrorException")


def refuses() -> Any:
    raise refused("PutEvents", "InternalFailure", 500)


def test_an_answer_that_the_bus_does_not_take_is_given_and_comes_later(account: Account) -> None:
    account.around = Calls(events_put_events=lambda _: refuses())
    assert become_of(account, issue()) == ["Key Issued"]
    account.around = undisturbed
    assert account.events == []
    settle(account)
    assert code_of(account, issue()) == "Key Issued"


# --- no message is an operator's ------------------------------------------------------------------


def test_a_message_that_imitates_the_event_is_no_request(account: Account) -> None:
    bodies: list[Any] = [{"operator": [issue()]}, {"operator": [issue()], "request_id": "a"}]
    assert account.ask(*bodies, sender=STRANGER) == []
    assert [json.loads(one.body) for one in account.queue.dead] == bodies[:1]
    assert the_answer(account, "a")[1]["code"] == "invalid_request"
    assert account.gateway.ids == [BUSY]


def test_a_sender_that_is_called_operator_is_a_sender_without_an_id(account: Account) -> None:
    event = sqs_event(issue(), sender=OPERATOR)
    account.provision_keys.lambda_handler(event, account.context())
    assert code_of(account, issue()) == "sender_not_allowed"
    assert the_answer(account, issue())[1]["requested_by"] is None
    assert account.gateway.ids == [BUSY]


def test_of_a_batch_that_has_an_operators_field_too_only_the_messages_are_served(
    account: Account,
) -> None:
    event = {**sqs_event(issue(1), sender=STRANGER), "operator": [issue(2)]}
    account.provision_keys.lambda_handler(event, account.context())
    assert code_of(account, issue(1)) == "sender_not_allowed"
    assert account.answers("issue-2") == []
    assert account.gateway.ids == [BUSY]


def test_a_dead_letter_does_not_carry_on_what_an_operator_has_begun(account: Account) -> None:
    under(account)
    key_id = asked(account, issue())
    account.around = Calls(apigateway_delete=lambda _: fails())
    assert become_of(account, revoke(key_id)) == ["deferred"]
    account.around = undisturbed
    assert account.ask(revoke(key_id), sender=STRANGER, moved=True) == []
    assert code_of(account, revoke(key_id)) == "send_again"
    assert key_id in account.gateway.ids


# --- what is no such event ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"operator": None},
        {"operator": []},
        {"operator": issue()},
        {"operator": [issue(number) for number in range(26)]},
        {"operator": [issue(), None]},
        {"operator": [issue(), {"action": "issue"}]},
        {"operator": [issue(), {"request_id": 1}]},
        {"operator": [issue()], "sender": SENDER},
        {"operator": [issue()], "time": "now"},
        {"operators": [issue()]},
        {"records": []},
    ],
)
def test_an_event_that_is_not_understood_is_refused_before_anything_is_done(
    account: Account, event: dict[str, Any]
) -> None:
    before = account.items()
    with pytest.raises(InvalidEvent):
        account.provision_keys.lambda_handler(event, account.context())
    assert (account.items(), account.events, account.queue.dead) == (before, [], [])


def test_a_time_outside_the_window_is_refused_and_one_within_is_the_date_of_the_request(
    an_account: AccountMaker,
) -> None:
    account = an_account(policy=an_asking_policy(senders=()), replay_window_hours=36)
    for wrong in (account.real_now - timedelta(days=3), account.real_now + DAY):
        with pytest.raises(OutsideReplayWindow):
            account.invoke(issue(), time=f"{wrong:%Y-%m-%dT%H:%M:%SZ}")
    yesterday = account.real_now - DAY
    account.invoke(issue(), time=f"{yesterday:%Y-%m-%dT%H:%M:%SZ}")
    assert the_row(account, key_of(account, issue())).adopted_on == yesterday.date()


def test_as_many_as_an_event_holds_are_answered_in_its_order(account: Account) -> None:
    under(account, senders=(), max_keys_per_owner=9)
    bodies = issues(25)
    answers = account.invoke(*reversed(bodies))
    assert [one["request_id"] for one in answers] == [one["request_id"] for one in bodies][::-1]
    assert codes_of(account, bodies) == ["Key Issued"] * 25
