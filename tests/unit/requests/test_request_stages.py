"""What the first stages of provision_keys hand on: requests received, told apart, checked."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from keyjanitor.adapters.request_store import RequestStore
from keyjanitor.domain.model.invocation import ReplayWindow
from keyjanitor.domain.model.records import RequestRow, Status, row_id
from keyjanitor.domain.requests import body as contract
from keyjanitor.domain.requests.key_request import Action, Code
from keyjanitor.domain.requests.sqs_message import Message
from keyjanitor.errors import CallFailed
from keyjanitor.services.provision_keys.key_actions import ACTS
from keyjanitor.services.provision_keys.receiving import beside_the_first, receive
from keyjanitor.services.provision_keys.taking import (
    Checked,
    Taking,
    check,
    conflicts_apart,
    new_row,
    refusal_of_a_stranger,
    strangers,
)
from keyjanitor.services.provision_keys.tasks import Answered, Received, Taken
from tests.builders import ASKER, TODAY, a_document, a_policy, a_request_row, an_issuing_tier, at

NOW = at(TODAY, 3)
WINDOW = ReplayWindow(NOW, 36)
POLICY = a_policy(an_issuing_tier(senders=(ASKER,)))
STRANGER = "AROASTRANGER"


def a_message(
    message_id: str = "m1", sender: str = ASKER, *, moved: bool = False, **document: Any
) -> Message:
    return Message(message_id, json.dumps(a_document(**document)), sender, NOW, moved=moved)


def a_received(*messages: Message, sender: str = ASKER, **document: Any) -> Received:
    messages = messages or (a_message(sender=sender, **document),)
    body = contract.read(messages[0].body)
    return Received(messages, body, row_id(body.row_id, sender), sender)


class FakeRequestStore:
    """The rows of requests, by the ids of their bodies; `fails` for every one of them if it is set."""

    def __init__(self, *rows: tuple[str, RequestRow], fails: bool = False) -> None:
        self._rows = rows
        self._fails = fails

    def of_all_senders(self, request_id: str) -> list[RequestRow]:
        if self._fails:
            raise CallFailed("Query", "InternalServerError")
        return [row for name, row in self._rows if name == request_id]


def a_request_store(*rows: tuple[str, RequestRow], fails: bool = False) -> RequestStore:
    return cast("RequestStore", FakeRequestStore(*rows, fails=fails))


# --- receive --------------------------------------------------------------------------------------


def test_messages_with_one_body_of_one_sender_are_one_request() -> None:
    messages = [a_message("m1"), a_message("m2"), a_message("m3", request_id="r2")]
    reading = receive(messages, a_request_store())
    assert [[one.message_id for one in request.messages] for request in reading.requests] == [
        ["m1", "m2"],
        ["m3"],
    ]
    assert [request.row_id for request in reading.requests] == [
        row_id("r1", ASKER),
        row_id("r2", ASKER),
    ]
    assert (reading.no_requests, reading.unread) == ([], [])


@pytest.mark.parametrize("other", [{"sender": STRANGER}, {"name": "another"}])
def test_another_sender_and_another_body_are_another_request(other: Mapping[str, Any]) -> None:
    reading = receive([a_message("m1"), a_message("m2", **other)], a_request_store())
    assert [len(request.messages) for request in reading.requests] == [1, 1]


def test_what_can_never_be_a_request_is_told_apart_with_its_reason() -> None:
    none = Message("m2", "no JSON", ASKER, NOW)
    reading = receive([a_message("m1"), none], a_request_store())
    assert [request.messages[0].message_id for request in reading.requests] == ["m1"]
    assert [one.message for one in reading.no_requests] == [none]
    assert reading.no_requests[0].reason
    assert reading.unread == []


def test_a_moved_message_is_the_request_of_every_sender_of_whom_the_ledger_knows_its_body() -> None:
    message = a_message(sender="AROAMOVER", moved=True)
    digest = contract.read(message.body).digest
    request_store = a_request_store(
        ("r1", a_request_row(sender=ASKER, digest=digest)),
        ("r1", a_request_row(sender="AROAOTHERBODY", digest="1" * 64)),
        (f" conflict {digest}", a_request_row(sender="AROAANOTHER", digest=digest)),
    )
    reading = receive([message], request_store)
    assert [request.sender for request in reading.requests] == ["AROAANOTHER", ASKER]


def test_a_moved_message_that_the_ledger_does_not_know_has_no_sender() -> None:
    reading = receive([a_message(sender="AROAMOVER", moved=True)], a_request_store())
    assert [request.sender for request in reading.requests] == [""]


def test_a_moved_message_whose_senders_cannot_be_read_is_read_again() -> None:
    message = a_message(moved=True)
    reading = receive([message], a_request_store(fails=True))
    assert (reading.requests, reading.no_requests, reading.unread) == ([], [], [message])


# --- strangers ------------------------------------------------------------------------------------


def test_a_stranger_is_who_is_in_no_tier_and_whose_request_the_ledger_does_not_know() -> None:
    asker, stranger = a_received(), a_received(sender=STRANGER)
    known = {stranger.row_id: a_request_row()}
    assert strangers([asker, stranger], {}, POLICY) == [stranger]
    assert strangers([asker, stranger], known, POLICY) == []


@pytest.mark.parametrize(
    ("document", "moved", "code"),
    [
        ({}, False, Code.SENDER_NOT_ALLOWED),
        ({"version": 2}, False, Code.INVALID_REQUEST),
        ({}, True, Code.SEND_AGAIN),
    ],
)
def test_a_stranger_is_told_what_is_wrong_first(
    document: dict[str, Any], moved: bool, code: Code
) -> None:
    request = a_received(a_message(sender=STRANGER, moved=moved, **document), sender=STRANGER)
    assert refusal_of_a_stranger(request, POLICY, WINDOW).code is code


# --- conflicts ------------------------------------------------------------------------------------


def test_of_two_bodies_under_one_id_the_second_is_refused_beside_the_first() -> None:
    first, second = a_received(), a_received(name="another")
    (one, fine), (beside, refusal) = conflicts_apart([first, second], {})
    assert (one, fine) == (first, None)
    assert beside.row_id == row_id(beside_the_first(second.body), ASKER)
    assert (beside.messages, beside.body) == (second.messages, second.body)
    assert refusal is not None
    assert refusal.code is Code.CONFLICTING_REQUEST


def test_the_body_that_the_ledger_knows_was_first() -> None:
    late, first = a_received(name="another"), a_received()
    known = {first.row_id: a_request_row(digest=first.body.digest)}
    assert [refusal is None for _, refusal in conflicts_apart([late, first], known)] == [
        False,
        True,
    ]


# --- rows and tasks -------------------------------------------------------------------------------


def test_a_request_that_is_seen_for_the_first_time_gets_a_row_of_the_day_on_which_it_was_sent() -> (
    None
):
    sent = NOW - timedelta(days=1)
    request = a_received(replace(a_message(), sent_at=sent))
    assert new_row(request, WINDOW) == RequestRow(
        request_id=row_id("r1", ASKER),
        digest=request.body.digest,
        sender=ASKER,
        status=Status.TAKEN,
        action="issue",
        received_on=sent.date(),
    )
    assert new_row(a_received(action="explode"), WINDOW).action == ""


def checked_of(*taken: Taken) -> Checked:
    return check(Taking([*taken], []), WINDOW)


def test_what_fits_the_contract_becomes_a_task() -> None:
    taken = Taken(a_received(), a_request_row())
    checked = checked_of(taken)
    (task,) = checked.tasks
    assert (task.request.action, task.row, checked.refusals) == (Action.ISSUE, taken.row, {})
    assert (task.makes_a_key, task.takes_a_slot, task.is_open) == (True, True, True)


@pytest.mark.parametrize(
    ("action", "makes_a_key", "takes_a_slot"),
    [("rotate", True, True), ("restore", False, True), ("revoke", False, False)],
)
def test_new_and_restored_keys_take_a_slot(
    action: str, makes_a_key: bool, takes_a_slot: bool
) -> None:
    taken = Taken(a_received(action=action), a_request_row(action=action))
    (task,) = checked_of(taken).tasks
    assert (task.makes_a_key, task.takes_a_slot) == (makes_a_key, takes_a_slot)


def test_what_does_not_fit_is_refused_and_no_task() -> None:
    taken = Taken(a_received(version=2), a_request_row())
    checked = checked_of(taken)
    assert checked.tasks == []
    assert {one: refusal.code for one, refusal in checked.refusals.items()} == {
        taken: Code.INVALID_REQUEST
    }


PAST = {"action": "protect", "until": str(TODAY - timedelta(days=1))}


@pytest.mark.parametrize("status", [Status.TAKEN, Status.ADMITTED])
def test_dates_are_judged_until_a_request_is_admitted(status: Status) -> None:
    checked = checked_of(Taken(a_received(**PAST), a_request_row(status=status)))
    refused = status is Status.TAKEN
    assert (len(checked.tasks), len(checked.refusals)) == ((0, 1) if refused else (1, 0))


def test_what_is_over_or_refused_already_is_not_checked() -> None:
    answered = Taken(a_received(), a_request_row(), outcome=Answered())
    (_, refusal) = conflicts_apart([a_received(), a_received(name="another")], {})[1]
    assert refusal is not None
    refused = Taken(a_received(version=2), a_request_row())
    taking = Taking([answered, refused], [], {refused: refusal})
    assert check(taking, WINDOW) == Checked([answered], [], {refused: refusal})


def test_every_action_on_a_key_has_the_function_that_carries_it_out() -> None:
    assert set(Action) - ACTS.keys() == {Action.ISSUE, Action.ROTATE}
