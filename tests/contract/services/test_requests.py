"""Requests for new keys, from their messages to the events that answer them; and every refusal."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from keyjanitor.domain.model.key_values import looks_like_ours
from keyjanitor.domain.model.keys import ApiKey, State
from keyjanitor.domain.model.policy import Policy, PressureRule
from keyjanitor.domain.model.records import RequestRow, Row, Status, row_id
from keyjanitor.domain.requests.import_file import NewKey, key_file
from keyjanitor.errors import CallFailed
from sandbox.memory.clients.refusal import refused
from tests.account import BUSY, SENDER, Account, Call, Calls, at_the_sweep
from tests.builders import ADMIN, CONTACT, DAY, PLAN_ID, PORTAL, TODAY, unclaimed
from tests.requesting import (
    NAME,
    STRANGER,
    TIER,
    Body,
    an_asking_policy,
    an_asking_tier,
    asked,
    code_of,
    codes_of,
    deliver,
    delivered,
    issue,
    issues,
    key_of,
    not_a_working_key,
    renew,
    revoke,
    rotate,
    the_answer,
    told_in_turn,
    undisturbed,
)

AccountMaker = Callable[..., Account]


@pytest.fixture
def account(an_account: AccountMaker) -> Account:
    """An account in which SENDER may ask for keys of the tier `external`."""
    return an_account(policy=an_asking_policy())


def under(account: Account, policy: Policy) -> None:
    """Deploys another policy."""
    account.policy = policy
    account.wire()


def fill(account: Account, keys: int) -> None:
    """Other people's keys, of which no ledger knows, until there are so many."""
    for index in range(keys - len(account.gateway.ids)):
        account.key(f"other{index:05}", plans=())


def request_row(account: Account, request_id: str) -> RequestRow:
    return account.request_store.requests([request_id])[request_id]


# --- a new key ------------------------------------------------------------------------------------


def test_a_key_is_issued_enabled_in_its_tiers_plan_and_told_of_in_one_event(
    account: Account,
) -> None:
    body = issue(expires_on="2027-01-31", reason="the new portal")
    assert account.ask(body) == []
    (plan_id,) = set(account.gateway.plans) - {PLAN_ID}
    detail_type, detail = the_answer(account, body)
    assert (detail_type, detail) == (
        "Key Issued",
        {
            "version": 1,
            "request_id": "issue-1",
            "requested_by": SENDER,
            "key_id": detail["key_id"],
            "owner": "owner-1",
            "tier": TIER,
            "contact": CONTACT,
            "name": "key of owner 1",
            "reason": "the new portal",
            "sealed_value": detail["sealed_value"],
            "encryption_context": {
                "purpose": "delivery",
                "recipient": PORTAL,
                "request_id": "issue-1",
            },
            "usage_plan_id": plan_id,
            "usable": "within minutes",
            "expires_on": "2027-01-31",
        },
    )
    key, value, plans = account.gateway.whole(detail["key_id"])
    now = at_the_sweep(TODAY)
    assert (key, plans) == (
        ApiKey(
            key_id=detail["key_id"],
            name=key.name,
            enabled=True,
            created_date=now,
            last_updated_date=now,
            description="owner=owner-1 name=key%20of%20owner%201 request=issue-1 sender=AROASENDER",
            tags={},
        ),
        (plan_id,),
    )
    assert NAME.fullmatch(key.name)
    assert delivered(account, detail) == value
    assert looks_like_ours(value)
    assert account.row(key.key_id) == Row(
        key_id=key.key_id,
        state=State.ACTIVE,
        tier=TIER,
        version=1,
        owner="owner-1",
        name="key of owner 1",
        issued=True,
        adopted_on=TODAY,
        expires_on=TODAY.replace(year=2027, month=1, day=31),
        our_update=now,
        usage_plan_ids=(plan_id,),
        sender=SENDER,
        deliver_to=PORTAL,
        request_ids=(row_id("issue-1", SENDER),),
    )
    assert len(account.events) == 1
    assert account.ledger.unsent() == []


def test_a_batch_becomes_one_import_for_each_hundred_keys_and_one_read_back(
    account: Account,
) -> None:
    account.around = first = Calls()
    bodies = issues(250)
    assert account.ask(*bodies) == []
    account.around = second = Calls()
    assert account.ask(*(issue(number) for number in range(300, 400))) == []
    assert gateway_calls(first) == {
        "usage_plans": 2,  # found none; and once more when this run alone may make it
        "create_plan": 1,
        "keys": 1,
        "import_keys": 3,
        "keys_named": 1,
        "members": 1,
    }
    assert gateway_calls(second) == {
        "usage_plans": 1,
        "import_keys": 1,
        "keys_named": 1,
        "members": 1,
    }
    ids = {key_of(account, body) for body in bodies}
    assert len(ids) == 250
    assert [not_a_working_key(account, body) for body in bodies] == [[]] * 250
    names = {account.gateway.whole(key_id)[0].name for key_id in ids}
    assert len({name.rpartition("-")[0] for name in names}) == 1
    assert len(account.events) == 350


def gateway_calls(calls: Calls) -> dict[str, int]:
    """How often each call of API Gateway was made."""
    services = [name.split(".") for name in calls.names]
    return dict(Counter(call for service, call in services if service == "apigateway"))


@pytest.mark.slow
def test_a_thousand_keys_in_two_batches_take_fewer_than_twenty_calls(account: Account) -> None:
    account.around = calls = Calls()
    assert account.ask(*issues(500)) == []
    assert account.ask(*(issue(number) for number in range(501, 1001))) == []
    assert sum(gateway_calls(calls).values()) < 20
    assert len({one["Detail"]["key_id"] for one in account.events}) == 1000


def test_no_two_requests_get_the_same_value(account: Account) -> None:
    assert account.ask(*issues(20)) == []
    assert len({delivered(account, one["Detail"]) for one in account.events}) == 20


def test_a_plan_that_the_tier_names_is_taken_if_it_has_the_tiers_limits(account: Account) -> None:
    first = asked(account, issue(1))
    (made,) = account.gateway.whole(first)[2]
    under(account, an_asking_policy(usage_plans=(PLAN_ID, made)))
    assert account.gateway.whole(asked(account, issue(2)))[2] == (made,)
    assert len(account.gateway.plans) == 2


def test_changed_limits_make_a_new_plan_for_new_keys_and_leave_the_old_ones_theirs(
    account: Account,
) -> None:
    first = asked(account, issue(1))
    before = account.gateway.whole(first)
    under(account, an_asking_policy(quota=None))
    second = asked(account, issue(2))
    assert account.gateway.whole(first) == before
    assert set(account.gateway.whole(second)[2]).isdisjoint(before[2])
    under(account, an_asking_policy())
    assert account.gateway.whole(asked(account, issue(3)))[2] == before[2]
    assert len(account.gateway.plans) == 3


def test_each_tier_has_its_own_plan_and_one_batch_may_ask_for_several(
    an_account: AccountMaker,
) -> None:
    account = an_account(
        policy=an_asking_policy(
            an_asking_tier(), an_asking_tier("partners", usage_plans=(), quota=None)
        )
    )
    bodies = [issue(number, tier=(TIER, "partners")[number % 2]) for number in range(10)]
    assert account.ask(*bodies) == []
    assert [not_a_working_key(account, body) for body in bodies] == [[]] * 10
    assert len(account.gateway.plans) == 3


def test_the_function_counts_what_it_issued_refused_and_left(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    account.around = Calls(apigateway_delete=gateway_fails)
    key_id = asked(account, issue(9))
    capsys.readouterr()
    account.ask(issue(1), issue(2), issue(3, deliver_to="nobody"), revoke(key_id))
    lines = capsys.readouterr().out.splitlines()
    (metrics,) = [json.loads(line) for line in lines if "_aws" in line]
    names = ("KeysIssued", "RequestsRefused", "RequestsLeft")
    assert {name: metrics[name] for name in names} == {
        "KeysIssued": [2.0],
        "RequestsRefused": [1.0],
        "RequestsLeft": [1.0],
    }


# --- what is repeated -----------------------------------------------------------------------------


def test_the_same_message_twice_in_a_batch_is_one_request(account: Account) -> None:
    account.around = calls = Calls()
    assert account.ask(issue(), issue(2), issue()) == []
    assert calls.count("kms.encrypt") == 2
    assert len(account.events) == 2
    assert len(account.gateway.ids) == 3


def test_the_same_object_written_otherwise_is_the_same_request(account: Account) -> None:
    body = issue()
    other = json.dumps(dict(reversed(body.items())), indent=3)
    assert account.ask(body, other) == []
    assert account.ask(other) == []
    assert [code_of(account, body), len(account.gateway.ids)] == ["Key Issued", 2]


@pytest.mark.parametrize("days", [0, 300])
def test_the_same_message_later_is_answered_again_and_changes_nothing(
    account: Account, days: int
) -> None:
    bodies = [*issues(2), issue(3, deliver_to="nobody")]
    assert account.ask(*bodies) == []
    before = what_is_there(account)
    told = [account.answers(body["request_id"]) for body in bodies]
    account.pass_day(days)
    account.around = calls = Calls()
    assert account.ask(*bodies) == []
    assert what_is_there(account) == before
    assert [account.answers(body["request_id"]) for body in bodies] == [
        [*one, *one] for one in told
    ]
    assert gateway_calls(calls) == {}
    assert calls.count("kms.encrypt") == 0


def what_is_there(account: Account) -> Any:
    keys = {key_id: account.gateway.whole(key_id) for key_id in account.gateway.ids}
    return keys, account.rows(), sorted(map(repr, account.items()))


def test_another_body_under_the_same_id_is_refused_and_the_first_one_stands(
    account: Account,
) -> None:
    key_id = asked(account, issue())
    before = what_is_there(account)[:2]
    other = issue(owner="somebody else")
    for _ in range(2):
        account.events.clear()
        assert account.ask(other) == []
        assert [(one["DetailType"], one["Detail"]["code"]) for one in account.events] == [
            ("Key Request Refused", "conflicting_request")
        ]
    account.events.clear()
    assert account.ask(issue()) == []
    assert key_of(account, issue()) == key_id
    assert what_is_there(account)[:2] == before


def test_of_two_bodies_under_one_id_in_a_batch_the_first_is_served(account: Account) -> None:
    first, other = issue(), issue(name="another")
    assert account.ask(first, other, other, first) == []
    assert Counter(one["DetailType"] for one in account.events) == {
        "Key Issued": 1,
        "Key Request Refused": 1,
    }
    assert [row.name for row in account.rows().values() if row.issued] == [first["name"]]


def test_a_conflict_is_told_before_anything_else_that_is_wrong_with_a_body(
    account: Account,
) -> None:
    asked(account, issue())
    for number, other in enumerate(
        (
            {"request_id": "issue-1"},
            issue(tier="unknown"),
            rotate("nothing", request_id="issue-1"),
            issue(expires_on="1999-12-31"),
        )
    ):
        account.events.clear()
        assert account.ask(other) == []
        codes = [one["Detail"]["code"] for one in account.events]
        assert codes == ["conflicting_request"], number


# --- the first verdict stands ---------------------------------------------------------------------


def test_a_refused_request_is_refused_again_whoever_moves_it_back_and_whatever_has_changed(
    account: Account,
) -> None:
    body = issue()
    assert account.ask(body, sender=ADMIN) == []
    for sender in (SENDER, STRANGER):
        assert account.ask(body, sender=sender, moved=True) == []
    under(account, an_asking_policy(senders=("*",)))
    assert account.ask(body, sender=ADMIN) == []
    assert len(account.answers("issue-1")) == 4
    assert code_of(account, body) == "sender_not_allowed"
    assert account.gateway.ids == [BUSY]


def test_an_answered_request_is_answered_again_whoever_moves_its_message_back(
    account: Account,
) -> None:
    key_id = asked(account, issue())
    under(account, an_asking_policy(senders=(), recipients=()))
    assert account.ask(issue(), sender=STRANGER, moved=True) == []
    assert account.ask(issue()) == []
    assert (key_of(account, issue()), len(account.answers("issue-1"))) == (key_id, 3)


def test_a_request_that_was_left_is_judged_by_who_sent_it_and_not_by_who_moves_it_back(
    account: Account,
) -> None:
    account.around = Calls(apigateway_usage_plans=gateway_fails)
    assert account.ask(issue(1), sender=SENDER) == [0]
    account.around = Calls(dynamodb_transact_write_items=once_more(fails, after=1))
    assert account.ask(issue(2), sender=ADMIN) == [0]
    account.around = undisturbed
    assert account.ask(issue(1), sender=STRANGER, moved=True) == []
    assert account.ask(issue(2), sender=SENDER, moved=True) == []
    assert codes_of(account, issues(2)) == ["Key Issued", "sender_not_allowed"]
    row = account.row(key_of(account, issue(1)))
    assert row is not None
    assert row.sender == SENDER


@pytest.mark.parametrize("mover", [ADMIN, SENDER, STRANGER])
def test_what_the_ledger_sees_first_when_it_is_moved_back_has_no_rights_and_can_be_sent_again(
    account: Account, mover: str
) -> None:
    key_id = asked(account, issue(9))
    bodies = [issue(), revoke(key_id, request_id="unseen")]
    assert account.ask(*bodies, sender=mover, moved=True) == []
    assert codes_of(account, bodies) == ["send_again"] * 2
    assert {the_answer(account, body)[1]["requested_by"] for body in bodies} == {None}
    assert account.gateway.ids == [BUSY, key_id]
    account.events.clear()
    assert account.ask(*bodies) == []
    assert codes_of(account, bodies) == ["Key Issued", "Key Revoked"]


def test_a_message_whose_sender_was_never_in_a_tier_has_no_rights_when_it_is_moved_back(
    account: Account,
) -> None:
    key_id = asked(account, issue(9))
    body = revoke(key_id)
    assert account.ask(body, sender=STRANGER) == []
    account.events.clear()
    for mover in (ADMIN, STRANGER):
        assert account.ask(body, sender=mover, moved=True) == []
    assert code_of(account, body) == "send_again"
    assert key_id in account.gateway.ids


def test_a_message_that_is_moved_back_is_the_request_of_everybody_who_sent_it(
    account: Account,
) -> None:
    under(account, an_asking_policy(senders=("*",)))
    for sender in ("AROAONE", "AROATWO"):
        account.around = Calls(apigateway_import_keys=gateway_fails)
        assert account.ask(issue(), sender=sender) == [0]
    account.around = undisturbed
    assert account.ask(issue(), sender=ADMIN, moved=True) == []
    told = account.answers("issue-1")
    assert [(kind, detail["requested_by"]) for kind, detail in told] == [
        ("Key Issued", "AROAONE"),
        ("Key Issued", "AROATWO"),
    ]


# --- an id belongs to its sender ------------------------------------------------------------------


@pytest.mark.parametrize("owner", ["owner-1", "another"])
def test_an_id_that_a_stranger_used_first_is_free_for_who_may_ask(
    account: Account, owner: str
) -> None:
    assert account.ask(issue(owner=owner), sender=STRANGER) == []
    assert code_of(account, issue()) == "sender_not_allowed"
    account.events.clear()
    assert account.ask(issue()) == []
    assert not_a_working_key(account, issue()) == []


def test_the_same_id_of_two_senders_is_two_requests_and_each_keeps_its_own_key(
    account: Account,
) -> None:
    under(account, an_asking_policy(senders=("*",), max_keys_per_owner=2))
    keys = {}
    for sender in ("AROAONE", "AROATWO"):
        account.events.clear()
        keys[sender] = asked(account, issue(), sender=sender)
    assert len(set(keys.values())) == 2
    for sender, key_id in keys.items():
        row = account.row(key_id)
        assert row is not None
        assert (row.sender, row.request_ids) == (sender, (row_id("issue-1", sender),))
    account.events.clear()
    theirs = revoke(keys["AROATWO"], request_id="revoke")
    assert account.ask(theirs, sender="AROAONE") == []
    assert code_of(account, theirs) == "sender_not_allowed"


def test_two_sessions_of_one_role_are_one_sender(account: Account) -> None:
    assert account.ask(issue(), sender=f"{SENDER}:one") == []
    assert account.ask(issue(), sender=f"{SENDER}:two") == []
    assert account.ask(issue(name="another"), sender=f"{SENDER}:three") == []
    told = [detail.get("code") for _, detail in account.answers("issue-1")]
    assert told == [None, None, "conflicting_request"]


def test_a_sender_whom_no_tier_names_leaves_no_trace_in_the_ledger(account: Account) -> None:
    before = account.items()
    bodies = [*issues(3), renew(BUSY), issue(4, tier="unknown"), issue(5, expires_on="1999-12-31")]
    for _ in range(2):
        assert account.ask(*bodies, sender=STRANGER) == []
    assert account.items() == before
    told = ["sender_not_allowed"] * 4 + ["unknown_tier", "invalid_request"]
    assert codes_of(account, bodies) == told


def test_a_stranger_is_answered_once_the_bus_takes_it(account: Account) -> None:
    account.around = Calls(events_put_events=fails)
    assert account.ask(issue(), sender=STRANGER) == [0]
    account.around = undisturbed
    assert account.ask(issue(), sender=STRANGER) == []
    assert code_of(account, issue()) == "sender_not_allowed"


def fails(_: Call) -> Any:
    """What an AWS client raises."""
    raise refused("Call", "InternalError", 500)


def gateway_fails(_: Call) -> Any:
    """What the adapter of API Gateway raises."""
    raise CallFailed("Call", "ConnectionClosedError")


def once_more(instead: Callable[[Call], Any], *, after: int) -> Callable[[Call], Any]:
    """Lets so many calls pass before it does something else instead of one."""
    calls = count()
    return lambda call: instead(call) if next(calls) == after else call()


def test_a_granted_request_is_carried_out_under_a_policy_that_would_refuse_it(
    account: Account,
) -> None:
    account.around = Calls(apigateway_import_keys=gateway_fails)
    assert account.ask(issue()) == [0]
    under(account, an_asking_policy(senders=(), policy={"service_quota": 1}))
    account.around = undisturbed
    assert account.ask(issue()) == []
    assert not_a_working_key(account, issue()) == []


# --- what is no request, and what does not fit the contract ---------------------------------------

NO_REQUESTS = [
    "",
    "a text",
    "[]",
    "null",
    "1",
    '"issue"',
    "{}",
    '{"request_id": 1}',
    '{"request_id": null}',
    '{"request_id": ["a"]}',
    '{"request_id": "a"',
    '[{"request_id": "a"}]',
    "[" * 100_000,
    '{"request_id": "a", "name": ' + "[" * 100_000 + "]" * 100_000 + "}",
]


def test_what_is_no_request_goes_to_the_dead_letters_at_once_and_harms_nobody(
    account: Account,
) -> None:
    bodies: list[Any] = list(NO_REQUESTS)
    bodies.insert(3, issue(1))
    bodies.insert(3, issue(1))
    bodies.append(issue(2))
    assert account.ask(*bodies) == []
    assert [message.body for message in account.queue.dead] == NO_REQUESTS
    assert codes_of(account, issues(2)) == ["Key Issued"] * 2
    assert Counter(one["Detail"]["request_id"] for one in account.events) == {
        "issue-1": 1,
        "issue-2": 1,
        "a": 2,  # in what is no JSON, as far as it goes
        None: len(NO_REQUESTS) - 2,
    }
    assert len(account.gateway.ids) == 3


FIELD_19 = Path("tests/contract/envelopes")


@pytest.mark.parametrize(
    ("file", "why", "request_id"),
    [
        ("sns.json", "an SNS notification; switch on raw message delivery", None),
        ("eventbridge.json", "an EventBridge event; set InputPath to $.detail", None),
        ("bom.json", "a byte order mark", "portal-9"),
    ],
)
def test_a_request_in_an_envelope_is_told_what_it_is_in_the_log_and_on_the_bus(
    account: Account,
    caplog: pytest.LogCaptureFixture,
    file: str,
    why: str,
    request_id: str | None,
) -> None:
    body = (FIELD_19 / file).read_text("utf-8")
    assert account.ask(body) == []
    ((detail_type, detail),) = [(one["DetailType"], one["Detail"]) for one in account.events]
    assert (detail_type, detail["request_id"]) == ("Key Request Refused", request_id)
    assert (detail["code"], detail["requested_by"]) == ("invalid_request", SENDER)
    assert why in detail["reason"]
    assert why in caplog.text
    assert [message.body for message in account.queue.dead] == [body]


def test_a_slip_in_a_body_is_refused_at_once_under_its_id_which_stays_free_for_the_right_one(
    account: Account,
) -> None:
    spoiled = json.dumps(issue()).replace('"}', '",}')
    assert account.ask(spoiled) == []
    assert [message.body for message in account.queue.dead] == [spoiled]
    ((detail_type, detail),) = account.answers("issue-1")
    assert (detail_type, detail["code"]) == ("Key Request Refused", "invalid_request")
    assert (detail["requested_by"], detail["key_id"]) == (SENDER, None)
    assert account.ask(issue()) == []
    assert account.answers("issue-1")[1][0] == "Key Issued"


def test_who_moved_what_is_no_request_is_not_said_to_have_asked(account: Account) -> None:
    assert account.ask("no request", sender=ADMIN, moved=True) == []
    assert [one["Detail"]["requested_by"] for one in account.events] == [None]


def test_what_the_dead_letter_queue_does_not_take_comes_again(account: Account) -> None:
    account.queue.is_shut = True
    assert account.ask("no request", issue()) == [0]
    account.queue.is_shut = False
    assert account.ask("no request") == []
    assert [message.body for message in account.queue.dead] == ["no request"]


def test_what_is_no_request_stays_in_the_queue_until_it_is_answered(account: Account) -> None:
    account.around = Calls(events_put_events=fails)
    assert account.ask("no request") == [0]
    assert account.queue.dead == []


MISFITS: list[tuple[str, Any]] = [
    ("no version", {"request_id": "x", "action": "renew", "key_id": "k"}),
    ("another version", issue(version=2)),
    ("a version that is text", issue(version="1")),
    ("a version that is true", issue(version=True)),
    ("nothing else", {"request_id": "x"}),
    ("an unknown action", issue(action="delete")),
    ("an action in capitals", issue(action="Issue")),
    ("an action that is a list", issue(action=["issue"])),
    ("an unknown field", issue(colour="red")),
    ("a field of another action", issue(key_id="k")),
    ("no owner", {name: value for name, value in issue().items() if name != "owner"}),
    ("an owner that is null", issue(owner=None)),
    ("an owner that is a number", issue(owner=8)),
    ("an empty name", issue(name="")),
    ("a name of 1,025 characters", issue(name="n" * 1025)),
    ("an owner of 1,025 characters", issue(owner="n" * 1025)),
    ("half a character in a name", issue(name="\ud83d")),
    ("an empty recipient", issue(deliver_to="")),
    ("an empty reason", issue(reason="")),
    ("a reason of 1,025 characters", issue(reason="r" * 1025)),
    ("an empty tier", issue(tier="")),
    ("today as its end", issue(expires_on=str(TODAY))),
    ("an end that is past", issue(expires_on="1999-12-31")),
    ("a day that there is not", issue(expires_on="2027-02-30")),
    ("a date written otherwise", issue(expires_on="20270131")),
    ("a week for a date", issue(expires_on="2027-W05-1")),
    ("a moment for a date", issue(expires_on="2027-01-31T00:00:00Z")),
    ("other digits in a date", issue(expires_on="٢٠٢٧-٠١-٣١")),  # noqa: RUF001
    ("a line break behind a date", issue(expires_on="2027-01-31\n")),
    ("a number for a date", issue(expires_on=20270131)),
    ("an empty id", issue(request_id="")),
    ("an id with a space", issue(request_id="a b")),
    ("an id with a line break", issue(request_id="a\n")),
    ("an id of letters that are not ASCII", issue(request_id="größe")),
    ("an id that is half a character", issue(request_id="\ud83d")),
    ("an id of 129 characters", issue(request_id="i" * 129)),
    ("an id of 100,000 characters", issue(request_id="i" * 100_000)),
    ("an overlap of another action", {**renew("k"), "overlap_days": 3}),
    ("an overlap that is negative", rotate("k", overlap_days=-1)),
    ("an overlap of 91 days", rotate("k", overlap_days=91)),
    ("an overlap of half a day", rotate("k", overlap_days=0.5)),
    ("an overlap without end", rotate("k", overlap_days=float("inf"))),
    ("an overlap of many digits", '{"request_id": "x", "overlap_days": ' + "9" * 5000 + "}"),
    ("an overlap that is true", rotate("k", overlap_days=True)),
    ("an end of a protection without one", {**renew("k"), "action": "protect"}),
    ("a protection that has ended", {**renew("k"), "action": "protect", "until": "2026-11-20"}),
    ("the end of a protection with another action", {**renew("k"), "until": "2027-01-31"}),
    ("no key", {"version": 1, "action": "renew", "request_id": "x"}),
    ("a key id with a slash", renew("../k")),
    ("an empty key id", renew("")),
    ("a name that stands there twice", '{"version": 1, "version": 1, "request_id": "x"}'),
    ("an object for a name", issue(name={"twice": [1, {"deep": None}]})),
]


@pytest.mark.parametrize("body", [body for _, body in MISFITS], ids=[what for what, _ in MISFITS])
def test_what_does_not_fit_the_contract_is_refused_and_harms_nobody(
    account: Account, body: Any
) -> None:
    for _ in range(2):
        assert account.ask(body, issue(99)) == []
    document = json.loads(body, parse_int=float) if isinstance(body, str) else body
    request_id = document["request_id"].encode(errors="replace").decode()[:1024]
    detail_type, detail = the_answer(account, request_id)
    assert (detail_type, detail["code"]) == ("Key Request Refused", "invalid_request")
    assert len(account.answers(request_id)) == 2
    assert code_of(account, issue(99)) == "Key Issued"
    assert len(account.gateway.ids) == 2


OURS = "keyjiisK4Y8HXYRkzdiLDDGM1zKx7nRquF09A2ID"  # made up; its checksum fits
OF_AWS = "Zx8kQk8bl1k3sB38D9B3l0enyWT8c09B30lkq0bZ"
VALUES_IN_PLACES: list[tuple[str, Callable[[str], Any]]] = [
    ("a key id", renew),
    ("a key id of an unknown action", lambda value: {**renew(value), "action": "leaked"}),
    ("an owner", lambda value: issue(owner=value)),
    ("an owner among others", lambda value: issue(owner=f"jo, {value}; sam")),
    ("a name", lambda value: issue(name=f"key={value}")),
    ("a reason", lambda value: renew(BUSY, reason=f"this one leaked: '{value}'.")),
    ("a tier", lambda value: issue(tier=value)),
    ("a recipient", lambda value: issue(deliver_to=value)),
    ("an end", lambda value: issue(expires_on=value)),
    ("an action", lambda value: issue(action=value)),
    ("a request id", lambda value: issue(request_id=value)),
    ("a part of a request id", lambda value: issue(request_id=f"portal-{value}-1")),
    ("a field of its own", lambda value: issue(value=value)),
    ("a field's name", lambda value: issue(**{value: 1})),
    ("a list", lambda value: issue(name=["a", [value]])),
    ("an object", lambda value: issue(name={"a": {value: "b"}})),
    ("a version", lambda value: issue(version=value)),
    ("a name that stands there twice", lambda v: f'{{"request_id": "r", "{v}": 1, "{v}": 2}}'),
    ("what is no request", lambda value: value),
    ("an envelope", lambda value: {"Type": "Notification", "TopicArn": "t", "Message": value}),
]


@pytest.mark.parametrize("sender", [SENDER, STRANGER])
@pytest.mark.parametrize("value", [OURS, OF_AWS])
@pytest.mark.parametrize(
    "body", [body for _, body in VALUES_IN_PLACES], ids=[what for what, _ in VALUES_IN_PLACES]
)
def test_a_value_in_the_wrong_place_is_refused_and_repeated_nowhere(
    account: Account,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    sender: str,
    value: str,
    body: Callable[[str], Any],
) -> None:
    caplog.set_level("DEBUG")
    assert account.ask(body(value), sender=sender) == []
    account.around = Calls(dynamodb_batch_get_item=fails)  # one that is left is logged
    account.ask(body(value), sender=sender)
    account.around = undisturbed
    (told,) = [one["Detail"] for one in account.events[:1]]
    assert told["code"] == "invalid_request"
    written = [*account.items(), *account.events, account.objects(), caplog.text]
    assert value not in repr(written) + capsys.readouterr().out


def test_a_refused_value_is_said_to_be_one(account: Account) -> None:
    body = renew(OURS, request_id="portal-leak-1")
    assert account.ask(body) == []
    _, detail = the_answer(account, body)
    assert (detail["code"], detail["key_id"]) == ("invalid_request", None)
    assert detail["reason"].startswith("key_id: this looks like a key's value, not its id")
    unnamed = issue(request_id=OURS)
    assert account.ask(unnamed) == []
    last = account.events[-1]["Detail"]
    assert (last["request_id"], last["requested_by"]) == (None, SENDER)
    assert last["reason"].startswith("request_id: this looks like a key's value")


@pytest.mark.parametrize(
    "owner",
    [
        "1e3a0000-0000-4000-8000-000000000000",
        "5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "auth0|5f7c8ec7c33c6c004bbafe82",
        "00u1a2b3c4D5e6F7g8h9",
        "k9Yz3LrQ0aTnW2vXb8Cd5Ef7Gh1j",
        "0ujsswThIGTUYm2K8FjOOfXtY1K",
        "113456789012345678901",
        "jo.doe@department-of-examples.example.org",
        "donaudampfschifffahrtsgesellschaft",
        "weatherForecastServiceV2Production",
    ],
)
def test_the_ids_of_other_systems_are_owners(account: Account, owner: str) -> None:
    body = issue(owner=owner, request_id=f"portal-{owner}")
    assert account.ask(body) == []
    assert code_of(account, body) == "Key Issued"


def test_two_ids_that_no_event_could_tell_apart_are_two_requests(account: Account) -> None:
    assert account.ask(issue(request_id="i" * 5000), issue(request_id="i" * 5000 + "j")) == []
    codes = [one["Detail"]["code"] for one in account.events]
    assert codes == ["invalid_request"] * 2


# --- the order of refusals ------------------------------------------------------------------------


def test_of_all_that_speaks_against_an_issue_the_first_in_the_contracts_order_is_told(
    an_account: AccountMaker,
) -> None:
    account = an_account(policy=an_asking_policy())
    fill(account, 3)
    asked(account, issue(owner="the owner", request_id="before"))
    wrong: dict[str, Any] = {"expires_on": "1999-12-31", "tier": "unknown", "deliver_to": "nobody"}
    tier: dict[str, Any] = {"max_keys_per_owner": 1}
    pressure_row = (PressureRule(above=0.1, idle_factor=1.0, freeze=(TIER,)),)
    policy: dict[str, Any] = {"service_quota": 4, "pressure": pressure_row}
    senders = [STRANGER]

    def attempt(number: int) -> str:
        under(account, an_asking_policy(policy=policy, **tier))
        body = issue(number, owner="the owner", **wrong)
        assert account.ask(body, sender=senders[-1]) == []
        return code_of(account, body)

    told = told_in_turn(
        attempt,
        {
            "invalid_request": lambda: wrong.pop("expires_on"),
            "unknown_tier": lambda: wrong.pop("tier"),
            "sender_not_allowed": lambda: senders.append(SENDER),
            "recipient_not_allowed": lambda: wrong.pop("deliver_to"),
            "too_many_keys": lambda: tier.update(max_keys_per_owner=3),
            "capacity_exhausted": lambda: policy.update(service_quota=10),
            "tier_frozen": lambda: policy.update(pressure=()),
        },
    )
    assert told == [
        "invalid_request",
        "unknown_tier",
        "sender_not_allowed",
        "recipient_not_allowed",
        "too_many_keys",
        "capacity_exhausted",
        "tier_frozen",
        "Key Issued",
    ]


def test_a_refusal_says_all_that_is_known_and_is_written_down(account: Account) -> None:
    account.around = calls = Calls()
    body = issue(deliver_to="arn:aws:iam::123456789012:role/thief")
    assert account.ask(body) == []
    reason = (
        "deliver_to arn:aws:iam::123456789012:role/thief is not in `recipients` of tier external"
    )
    detail = {
        "version": 1,
        "request_id": "issue-1",
        "requested_by": SENDER,
        "action": "issue",
        "code": "recipient_not_allowed",
        "reason": reason,
        "key_id": None,
        "owner": "owner-1",
        "tier": TIER,
        "contact": CONTACT,
    }
    assert account.answers("issue-1") == [("Key Request Refused", detail)]
    assert replace(request_row(account, "issue-1"), version=0, digest="") == RequestRow(
        request_id=row_id("issue-1", SENDER),
        digest="",
        sender=SENDER,
        status=Status.REFUSED,
        action="issue",
        received_on=TODAY,
        detail_type="Key Request Refused",
        detail=detail,
    )
    assert calls.count("kms.encrypt") == 0
    assert gateway_calls(calls) == {}


def test_an_admin_who_is_no_sender_may_not_ask_for_keys(account: Account) -> None:
    assert account.ask(issue(), sender=ADMIN) == []
    assert code_of(account, issue()) == "sender_not_allowed"


def test_who_has_no_id_is_nobody_even_where_everybody_may_ask(account: Account) -> None:
    under(account, an_asking_policy(senders=("*",)))
    assert account.ask(issue(1), sender="") == []
    assert account.ask(issue(2), sender="AROAANYBODY") == []
    assert codes_of(account, issues(2)) == ["sender_not_allowed", "Key Issued"]


def test_nobody_asks_for_keys_in_a_tier_that_issues_none(account: Account) -> None:
    under(account, an_asking_policy(an_asking_tier(), unclaimed()))
    assert account.ask(issue(tier="unclaimed")) == []
    assert code_of(account, issue()) == "sender_not_allowed"


# --- usage plans ----------------------------------------------------------------------------------


def test_a_tier_whose_stage_is_not_there_is_refused_before_any_key_is_made(
    account: Account,
) -> None:
    account.gateway.known_stages = {"api2:prod"}
    account.around = calls = Calls()
    assert account.ask(*issues(3)) == []
    assert codes_of(account, issues(3)) == ["unknown_tier"] * 3
    assert calls.count("apigateway.create_plan") == 1
    assert calls.count("apigateway.import_keys") == calls.count("kms.encrypt") == 0
    account.gateway.known_stages = None
    assert not_a_working_key(account, asked_body(account, issue(4))) == []


def asked_body(account: Account, body: Body) -> Body:
    asked(account, body)
    return body


def test_an_account_without_room_for_another_plan_is_out_of_capacity(account: Account) -> None:
    account.gateway.plan_limit = 1
    assert account.ask(*issues(2)) == []
    assert codes_of(account, issues(2)) == ["capacity_exhausted"] * 2
    account.gateway.plan_limit = 2
    assert not_a_working_key(account, asked_body(account, issue(3))) == []


def test_a_tier_that_is_refused_leaves_those_of_another_alone(an_account: AccountMaker) -> None:
    tiers = (an_asking_tier(), an_asking_tier("old", usage_plans=(), stages=("gone:prod",)))
    account = an_account(policy=an_asking_policy(*tiers))
    account.gateway.known_stages = {"api1:prod"}
    bodies = [issue(1), issue(2, tier="old"), issue(3)]
    assert account.ask(*bodies) == []
    assert codes_of(account, bodies) == ["Key Issued", "unknown_tier", "Key Issued"]


def test_a_plan_deleted_between_grant_and_import_is_made_again_and_nobody_is_refused(
    account: Account,
) -> None:
    def plan_deleted_first(call: Call) -> Any:
        account.around = undisturbed
        (plan,) = set(account.gateway.plans) - {PLAN_ID}
        account.gateway.delete_plan(plan)
        return call()

    bodies = issues(3)
    assert deliver(account, *bodies, faults=[Calls(apigateway_import_keys=plan_deleted_first)]) == 2
    assert [not_a_working_key(account, body) for body in bodies] == [[]] * 3
    assert len(account.gateway.ids) == 4
    assert len(account.gateway.plans) == 2


# --- rows that spoil an import --------------------------------------------------------------------


@pytest.mark.parametrize("bad", [{1}, {37}, {100}, {7, 8, 93}])
def test_a_row_that_spoils_an_import_is_found_by_halving_and_only_it_is_refused(
    account: Account, bad: set[int]
) -> None:
    account.gateway.spoiled = "name=bad"
    bodies = [issue(n, name="bad" if n in bad else "good") for n in range(1, 101)]
    account.around = calls = Calls()
    assert account.ask(*bodies) == []
    assert {n for n, body in enumerate(bodies, 1) if code_of(account, body) != "Key Issued"} == bad
    assert {code_of(account, bodies[n - 1]) for n in bad} == {"invalid_request"}
    good = [body for n, body in enumerate(bodies, 1) if n not in bad]
    assert [not_a_working_key(account, body) for body in good] == [[]] * len(good)
    assert len(account.gateway.ids) == 1 + len(good)
    assert calls.count("apigateway.import_keys") <= 1 + 14 * len(bad)
    # One look at all before they are halved and one at each bad one, for they may be there already;
    # and one to prove the others.
    assert calls.count("apigateway.keys_named") == len(bad) + 2
    account.gateway.spoiled = ""
    assert account.ask(*bodies) == []
    assert len(account.gateway.ids) == 1 + len(good)


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        ("it is disabled", {"keys_named": lambda keys: [replace(k, enabled=False) for k in keys]}),
        ("it is not in usage plan", {"members": lambda _: ()}),
        ("lists no key of this name", {"keys_named": lambda _: []}),
    ],
)
def test_a_key_that_does_not_read_back_enabled_in_its_plan_under_its_name_is_not_announced(
    account: Account,
    caplog: pytest.LogCaptureFixture,
    what: str,
    instead: dict[str, Callable[[Any], Any]],
) -> None:
    asked(account, issue(9))  # the tier has its plan
    account.around = Calls(
        **{f"apigateway_{name}": lambda call, f=f: f(call()) for name, f in instead.items()}
    )
    assert account.ask(*issues(2)) == [0, 1]
    assert what in caplog.text
    assert account.answers("issue-1") == account.answers("issue-2") == []
    ids = [key_id for key_id in account.gateway.ids if key_id != key_of(account, issue(9))]
    assert set(ids) & set(account.rows()) <= {BUSY}
    account.around = undisturbed
    assert account.ask(*issues(2)) == []
    assert [not_a_working_key(account, body) for body in issues(2)] == [[], []]
    assert len(account.gateway.ids) == 4


@pytest.mark.parametrize("plan", [0, 1])
def test_one_key_of_a_batch_that_is_not_proven_holds_up_no_other(
    account: Account, plan: int
) -> None:
    asked(account, issue(9))

    def without_one(call: Call) -> Any:
        return [key for key in call() if not key.name.endswith(f"00{plan}")]

    account.around = Calls(apigateway_keys_named=without_one)
    assert account.ask(*issues(2)) == [plan]
    assert not_a_working_key(account, issue(2 - plan)) == []


@pytest.mark.parametrize("count", [1, 100])
def test_an_import_that_is_repeated_after_a_lost_answer_and_warns_has_made_its_keys(
    account: Account, count: int
) -> None:
    account.gateway.upserts_warn = True
    account.around = Calls(apigateway_import_keys=lambda call: (call(), call())[1])
    assert account.ask(*issues(count)) == []
    assert [not_a_working_key(account, body) for body in issues(count)] == [[]] * count
    assert len(account.gateway.ids) == 1 + count


def test_plans_that_cannot_be_listed_while_a_bad_row_is_sought_do_not_end_the_run(
    account: Account,
) -> None:
    account.gateway.spoiled = "name=bad"
    asked(account, issue(100))
    bodies = [issue(1), issue(2, name="bad"), issue(3, deliver_to="nobody")]
    account.around = Calls(apigateway_usage_plans=once_more(gateway_fails, after=1))
    assert account.ask(*bodies) == [0, 1]
    account.around = undisturbed
    assert account.ask(*bodies[:2]) == []
    assert codes_of(account, bodies) == ["Key Issued", "invalid_request", "recipient_not_allowed"]


# --- what people are called -----------------------------------------------------------------------

TEXTS = [
    "commas, and, commas",
    '"quoted" and "" doubly so""',
    "it's",
    "=1+1",
    "=cmd|'/c calc'!A1",
    "+1",
    "-1",
    "@SUM(A1)",
    "%2C%22 100 %",
    "semi;colon|pipe\\slash",
    "true,plan1 other,value,,true,plan1",
    "Ünïcödé 漢字 עברית",
    "👩‍👩‍👧‍👦🏳️‍🌈",
    "e\u0301",
    " leading and trailing ",
    "owner=x name=y request=z",
    "null",
    "n" * 1024,
    '"' * 1024,
    "🦀" * 1024,
]


def test_whatever_people_are_called_arrives_unchanged_and_adds_no_column_and_no_row(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    imports: list[list[NewKey]] = []
    really = account.gateway.import_keys

    def import_keys(keys: Any) -> None:
        imports.append(list(keys))
        really(keys)

    monkeypatch.setattr(account.gateway, "import_keys", import_keys)
    bodies = [
        issue(number, name=text, owner=text[::-1], reason=text) for number, text in enumerate(TEXTS)
    ]
    assert account.ask(*bodies) == []
    (keys,) = imports
    file = key_file(keys)
    assert file.isascii()
    lines = list(csv.reader(file.decode().splitlines()))
    assert [len(line) for line in lines] == [5] * (1 + len(TEXTS))
    assert file.count(b"\n") == 1 + len(TEXTS)
    assert not any(cell[:1] in tuple("=+-@\t\r") for line in lines for cell in line)
    for body, (_, value, _, enabled, plan) in zip(bodies, lines[1:], strict=True):
        _, detail = the_answer(account, body)
        row = account.row(detail["key_id"])
        assert row is not None
        assert (row.name, row.owner) == (body["name"], body["owner"])
        assert {name: detail[name] for name in ("name", "owner", "reason")} == {
            name: body[name] for name in ("name", "owner", "reason")
        }
        assert (value, enabled, plan) == (
            delivered(account, detail),
            "true",
            detail["usage_plan_id"],
        )
        assert not_a_working_key(account, body) == []


def test_owners_who_differ_in_one_character_of_many_are_two(an_account: AccountMaker) -> None:
    account = an_account(policy=an_asking_policy(max_keys_per_owner=1))
    owners = ["o" * 1024, "o" * 1023 + "p", "o" * 1023 + "o", "é", "e\u0301"]
    bodies = [issue(number, owner=owner) for number, owner in enumerate(owners)]
    assert account.ask(*bodies) == []
    assert codes_of(account, bodies) == [
        "Key Issued",
        "Key Issued",
        "too_many_keys",
        "Key Issued",
        "Key Issued",
    ]


# --- how many keys an owner may have --------------------------------------------------------------


def test_an_owner_gets_no_more_keys_than_the_tier_allows_in_one_batch_or_in_several(
    account: Account,
) -> None:
    for number in range(2):
        bodies = [issue(10 * number + n, owner="the same") for n in range(3)]
        assert account.ask(*bodies, issue(100 + number)) == []
    told = Counter(
        one["Detail"].get("code", one["DetailType"])
        for one in account.events
        if one["Detail"]["owner"] == "the same"
    )
    assert told == {"Key Issued": 2, "too_many_keys": 4}
    assert sum(row.owner == "the same" for row in account.rows().values()) == 2


def test_an_owner_has_as_many_keys_in_each_tier_as_that_tier_allows(
    an_account: AccountMaker,
) -> None:
    tiers = (
        an_asking_tier(max_keys_per_owner=1),
        an_asking_tier("partners", usage_plans=(), max_keys_per_owner=1),
    )
    account = an_account(policy=an_asking_policy(*tiers))
    bodies = [issue(n, owner="the same", tier=(TIER, "partners")[n % 2]) for n in range(4)]
    assert account.ask(*bodies) == []
    assert codes_of(account, bodies) == ["Key Issued"] * 2 + ["too_many_keys"] * 2


def test_what_was_refused_takes_nobodys_place(an_account: AccountMaker) -> None:
    account = an_account(policy=an_asking_policy(max_keys_per_owner=1))
    account.gateway.spoiled = "name=bad"
    assert account.ask(issue(1, owner="the same", name="bad")) == []
    account.gateway.spoiled = ""
    assert account.ask(issue(2, owner="the same")) == []
    assert codes_of(account, issues(2)) == ["invalid_request", "Key Issued"]


# --- capacity -------------------------------------------------------------------------------------


def test_of_200_requests_in_an_account_of_9990_keys_ten_are_issued_and_190_refused(
    account: Account,
) -> None:
    fill(account, 9_990)
    bodies = issues(200)
    account.around = calls = Calls()
    assert account.ask(*bodies) == []
    assert codes_of(account, bodies) == ["Key Issued"] * 10 + ["capacity_exhausted"] * 190
    assert [not_a_working_key(account, body) for body in bodies[:10]] == [[]] * 10
    assert len(account.gateway.ids) == 10_000
    assert len(account.rows()) == 10
    assert account.request_store.admissions().batches == {}
    assert gateway_calls(calls) == {
        "usage_plans": 2,
        "create_plan": 1,
        "keys": 1,
        "import_keys": 1,
        "keys_named": 1,
        "members": 1,
    }
    assert calls.count("kms.encrypt") == 10
    statuses = Counter(
        row.status
        for row in account.request_store.requests([b["request_id"] for b in bodies]).values()
    )
    assert statuses == {Status.ANSWERED: 10, Status.REFUSED: 190}


@pytest.fixture
def small(an_account: AccountMaker) -> Account:
    """An account that holds 20 keys at the most, and one that is in it."""
    account = an_account(policy=an_asking_policy(policy={"service_quota": 20}))
    account.gateway.key_limit = 20
    return account


@pytest.mark.parametrize(("asked_for", "others"), [(10, 13), (19, 1), (19, 19), (5, 18)])
def test_if_others_make_keys_after_the_count_those_that_still_fit_are_issued(
    small: Account, asked_for: int, others: int
) -> None:
    def others_first(call: Call) -> Any:
        if len(small.gateway.ids) == 1:
            for index in range(others):
                small.key(f"other{index:05}", plans=())
        return call()

    small.around = calls = Calls(apigateway_import_keys=others_first)
    bodies = issues(asked_for)
    assert small.ask(*bodies) == []
    room = 19 - others
    assert codes_of(small, bodies) == ["Key Issued"] * room + ["capacity_exhausted"] * (
        asked_for - room
    )
    assert [not_a_working_key(small, body) for body in bodies[:room]] == [[]] * room
    assert len(small.gateway.ids) == 20
    assert calls.count("apigateway.import_keys") <= 2
    assert calls.count("apigateway.keys") == 2


@pytest.mark.parametrize(("others", "issued"), [(20, 130), (100, 50), (149, 1), (150, 0)])
@pytest.mark.sampled
def test_if_others_make_keys_between_two_imports_of_a_batch_those_that_fit_are_issued(
    an_account: AccountMaker, others: int, issued: int
) -> None:
    account = an_account(policy=an_asking_policy(policy={"service_quota": 151}))
    account.gateway.key_limit = 151

    def others_first(call: Call) -> Any:
        if "other00000" not in account.gateway.ids:
            for index in range(others):
                account.key(f"other{index:05}", plans=())
        return call()

    account.around = calls = Calls(apigateway_import_keys=others_first)
    bodies = issues(150)
    assert account.ask(*bodies) == []
    assert Counter(codes_of(account, bodies)) == Counter(
        {"Key Issued": issued, "capacity_exhausted": 150 - issued}
    )
    assert len(account.gateway.ids) == 151
    assert calls.count("apigateway.import_keys") <= 3
    good = [body for body in bodies if code_of(account, body) == "Key Issued"]
    assert [not_a_working_key(account, body) for body in good] == [[]] * issued


def test_if_aws_allows_fewer_keys_than_the_policy_says_nobody_is_left_waiting(
    small: Account,
) -> None:
    small.gateway.key_limit = 4
    small.around = calls = Calls()
    bodies = issues(5)
    assert small.ask(*bodies) == []
    assert set(codes_of(small, bodies)) <= {"Key Issued", "capacity_exhausted"}
    assert len(small.gateway.ids) <= 4
    assert calls.count("apigateway.import_keys") <= 2


def test_a_key_that_a_run_which_died_has_made_is_not_refused_in_a_full_account(
    small: Account,
) -> None:
    def makes_and_dies(call: Call) -> Any:
        call()
        raise RuntimeError("the connection is lost")

    bodies = issues(2)
    small.around = Calls(apigateway_keys_named=makes_and_dies)
    with pytest.raises(RuntimeError):
        small.ask(*bodies)
    fill(small, 20)
    small.real_now += timedelta(minutes=31)
    assert deliver(small, *bodies, issue(3)) == 1
    assert codes_of(small, [*bodies, issue(3)]) == ["Key Issued"] * 2 + ["capacity_exhausted"]
    assert len(small.gateway.ids) == 20


def test_keys_are_counted_once_a_day_and_anew_before_anybody_is_refused(small: Account) -> None:
    fill(small, 18)
    small.around = calls = Calls()
    assert small.ask(issue(1)) == []
    assert small.ask(issue(2)) == []
    assert calls.count("apigateway.keys") == 1
    for key_id in small.gateway.ids[:10]:
        small.gateway.delete(key_id)
    small.real_now += timedelta(minutes=2)
    assert small.ask(*(issue(number) for number in range(3, 6))) == []
    assert codes_of(small, issues(5)) == ["Key Issued"] * 5
    assert calls.count("apigateway.keys") == 2
    small.real_now += timedelta(days=1, minutes=1)
    assert small.ask(issue(6)) == []
    assert calls.count("apigateway.keys") == 3


def test_the_first_request_of_a_day_goes_by_the_hourly_count(small: Account) -> None:
    fill(small, 12)
    small.around = calls = Calls()
    for number in range(1, 4):
        small.watch()
        counted = calls.count("apigateway.keys")
        small.real_now += timedelta(minutes=20)
        assert small.ask(issue(number)) == []
        assert calls.count("apigateway.keys") == counted
        small.pass_day()
        small.real_now += timedelta(minutes=1)
    assert codes_of(small, issues(3)) == ["Key Issued"] * 3


@pytest.mark.parametrize("minutes", [0, 25 * 60], ids=["just now", "more than a day ago"])
def test_an_hourly_count_that_could_refuse_or_is_old_is_not_gone_by(
    small: Account, minutes: int
) -> None:
    fill(small, 12)
    small.watch()
    small.real_now += timedelta(minutes=minutes)
    small.around = calls = Calls()
    assert small.ask(issue(1)) == []
    assert calls.count("apigateway.keys") == 1


def test_nobody_is_refused_for_keys_that_the_hourly_count_has_twice_or_that_are_gone(
    small: Account,
) -> None:
    fill(small, 10)
    assert small.ask(*issues(6)) == []
    small.pass_day()
    small.real_now += timedelta(minutes=1)
    small.watch()
    small.real_now += timedelta(minutes=20)
    small.around = calls = Calls()
    # Sixteen keys are counted, and the six of yesterday that are among them again: twenty-two of twenty.
    assert small.ask(issue(7)) == []
    assert calls.count("apigateway.keys") == 1
    assert codes_of(small, issues(7)) == ["Key Issued"] * 7
    assert small.ask(*(issue(number) for number in range(8, 12))) == []
    assert codes_of(small, issues(11)) == ["Key Issued"] * 10 + ["capacity_exhausted"]
    assert len(small.gateway.ids) == 20


def test_a_full_account_is_not_counted_again_for_every_batch(small: Account) -> None:
    fill(small, 20)
    small.around = calls = Calls()
    for number in range(1, 6):
        assert small.ask(issue(number)) == []
    assert codes_of(small, issues(5)) == ["capacity_exhausted"] * 5
    assert calls.count("apigateway.keys") == 1
    assert calls.count("apigateway.import_keys") == 0


def test_a_tiers_reserve_is_kept_for_it_and_shrinks_as_it_is_taken(
    an_account: AccountMaker,
) -> None:
    tiers = (an_asking_tier(), an_asking_tier("partners", usage_plans=(), reserve=5))
    account = an_account(policy=an_asking_policy(*tiers, policy={"service_quota": 10}))
    partners = [issue(100 + number, tier="partners") for number in range(5)]
    assert account.ask(*partners[:2]) == []
    assert account.ask(*issues(8)) == []
    # One key was there, two are partners', and three more are kept for them.
    assert codes_of(account, issues(8)) == ["Key Issued"] * 4 + ["capacity_exhausted"] * 4
    assert account.ask(*partners[2:]) == []
    assert codes_of(account, partners) == ["Key Issued"] * 5
    assert len(account.gateway.ids) == 10


def test_a_frozen_tier_gets_no_new_keys_and_the_others_do(an_account: AccountMaker) -> None:
    tiers = (an_asking_tier(), an_asking_tier("partners", usage_plans=()))
    pressure_row = (PressureRule(above=0.5, idle_factor=1.0, freeze=(TIER,)),)
    account = an_account(
        policy=an_asking_policy(*tiers, policy={"service_quota": 10, "pressure": pressure_row})
    )
    bodies = [*issues(7), issue(8, tier="partners")]
    assert account.ask(*bodies) == []
    # Six keys of ten are above a half: the one that was there, and five more.
    assert codes_of(account, bodies) == ["Key Issued"] * 5 + ["tier_frozen"] * 2 + ["Key Issued"]
    assert account.ask(rotate(key_of(account, issue(1)))) == []
    assert code_of(account, rotate(key_of(account, issue(1)))) == "Key Rotated"


# --- what is left ---------------------------------------------------------------------------------


def remaining(*, asked_times: int) -> Callable[[], int]:
    """Five minutes, and after so many looks at the clock none."""
    left: Iterator[int] = iter([300_000] * (2 + asked_times))
    return lambda: next(left, 0)


@pytest.mark.parametrize("looks", [0, 1, 50, *range(104, 110)])
@pytest.mark.sampled
def test_a_function_that_runs_out_of_time_leaves_requests_and_loses_none(
    account: Account, looks: int
) -> None:
    key_id = asked(account, issue(500))
    bodies = [*issues(105), renew(key_id), rotate(key_id)]
    left = account.ask(*bodies, context=account.context(remaining(asked_times=looks)))
    assert left
    assert all(not account.answers(bodies[number]["request_id"]) for number in left)
    assert deliver(account, *(bodies[number] for number in left)) == 1
    assert Counter(codes_of(account, bodies)) == {
        "Key Issued": 105,
        "Key Renewed": 1,
        "Key Rotated": 1,
    }
    assert len(account.gateway.ids) == 108
    assert account.request_store.admissions().batches == {}


def test_what_is_left_comes_again_after_half_a_minute_and_then_after_twice_as_long_each_time(
    account: Account,
) -> None:
    heard = []
    for received in range(1, 9):
        account.around = Calls(apigateway_import_keys=gateway_fails)
        account.ask(issue(received), received=received)
        heard.append(account.queue.heard)
    assert heard == [{"0": seconds} for seconds in (30, 60, 120, 240, 480, 900, 900, 900)]


def test_an_event_that_the_bus_refuses_is_put_again_and_no_second_key_is_made(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = account.clients.events.put_events

    def refuses_the_first(**request: Any) -> Any:
        entries = really(**request)["Entries"]
        return {"Entries": [{"ErrorCode": "InternalFailure"}, *entries[1:]]}

    with monkeypatch.context() as patch:
        patch.setattr(account.clients.events, "put_events", refuses_the_first)
        assert account.ask(*issues(3)) == [0]
    assert [len(account.answers(body["request_id"])) for body in issues(3)] == [0, 1, 1]
    keys = account.gateway.ids
    assert account.ask(issue(1)) == []
    assert [not_a_working_key(account, body) for body in issues(3)] == [[]] * 3
    assert account.gateway.ids == keys
    assert account.ledger.unsent() == []


def test_an_answer_whose_message_never_comes_again_is_told_by_the_next_run(
    account: Account,
) -> None:
    account.around = Calls(events_put_events=fails)
    assert account.ask(*issues(2)) == [0, 1]
    account.around = undisturbed
    assert account.ask(issue(3)) == []
    # While the run that wrote them may still be putting them, nobody else does.
    assert [len(account.answers(body["request_id"])) for body in issues(3)] == [0, 0, 1]
    account.real_now += timedelta(minutes=17)
    assert account.ask(issue(4)) == []
    assert [not_a_working_key(account, body) for body in issues(4)] == [[]] * 4


# --- the date -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent_days_ago", "code"), [(0, "invalid_request"), (1, "Key Issued"), (2, "invalid_request")]
)
def test_the_date_of_a_request_is_that_of_its_message_if_that_is_near_enough(
    an_account: AccountMaker, sent_days_ago: int, code: str
) -> None:
    account = an_account(policy=an_asking_policy(), replay_window_hours=36)
    body = issue(expires_on=str(TODAY))
    assert account.ask(body, sent=account.real_now - DAY * sent_days_ago) == []
    assert code_of(account, body) == code
