"""What is answered to a request: the events' fields, what is written down, and when it is told."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from keyjanitor.adapters.dynamodb import Table
from keyjanitor.adapters.event_bus import EventBus
from keyjanitor.adapters.kms import delivery_context
from keyjanitor.adapters.ledger import Change, Ledger
from keyjanitor.adapters.request_store import RequestChange, RequestStore
from keyjanitor.domain.expiry.events import announce
from keyjanitor.domain.model.invocation import ReplayWindow
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.records import ISSUED, ROTATED, Announcement, RequestRow, Status
from keyjanitor.domain.requests import body as contract
from keyjanitor.domain.requests.events import (
    ASSIGNED,
    PROTECTED,
    REFUSED,
    RELEASED,
    RENEWED,
    RESTORED,
    REVOKED,
    answer,
    refused,
)
from keyjanitor.domain.requests.key_request import Action, Code, Refusal
from keyjanitor.domain.requests.sqs_message import Message
from keyjanitor.errors import CallFailed
from keyjanitor.services.deadline import Deadline
from keyjanitor.services.provision_keys.responder import Adapters, Responder, Run
from keyjanitor.services.provision_keys.taking import take
from keyjanitor.services.provision_keys.tasks import Answered, Deferred, Received, Taken
from sandbox.memory.clients.clients import Clients, clients_in_memory
from sandbox.memory.clients.refusal import refused as failed
from tests.account import Watched
from tests.builders import (
    ADMIN,
    ASKER,
    CONTACT,
    PLAN_ID,
    PORTAL,
    TODAY,
    a_document,
    a_grant,
    a_policy,
    a_request,
    a_request_row,
    a_warned_row,
    an_issued_row,
    an_issuing_tier,
    at,
    in_days,
    unclaimed,
)
from tests.events_schema import check_event

POLICY = a_policy(an_issuing_tier(), unclaimed(contact=None))
NOW = at(TODAY, 3)
UNTIL = NOW + timedelta(minutes=5)
CONTEXT = delivery_context(PORTAL, "r1")
NEW_KEY = {
    "sealed_value": "c2VhbGVk",
    "encryption_context": CONTEXT,
    "usage_plan_id": PLAN_ID,
}
COMMON = {
    "version": 1,
    "request_id": "r1",
    "requested_by": ASKER,
    "key_id": "k0",
    "owner": "user-8f1c",
    "tier": "external",
    "contact": CONTACT,
    "name": "app",
}

# --- the events -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("detail_type", "action", "more", "told"),
    [
        (
            ISSUED,
            Action.ISSUE,
            {**NEW_KEY, "expires_on": None},
            {**NEW_KEY, "usable": "within minutes"},
        ),
        (
            ISSUED,
            Action.ISSUE,
            {**NEW_KEY, "expires_on": in_days(9)},
            {**NEW_KEY, "usable": "within minutes", "expires_on": "2026-11-30"},
        ),
        (
            ROTATED,
            Action.ROTATE,
            {**NEW_KEY, "previous_key_id": "old", "previous_key_ends_on": in_days(7)},
            {
                **NEW_KEY,
                "usable": "within minutes",
                "previous_key_id": "old",
                "previous_key_ends_on": "2026-11-28",
            },
        ),
        (RENEWED, Action.RENEW, {}, {}),
        (RENEWED, Action.RENEW, {"reason": "it stays disabled"}, {"reason": "it stays disabled"}),
        (REVOKED, Action.REVOKE, {}, {}),
        (RESTORED, Action.RESTORE, {"previous_key_id": "old"}, {"previous_key_id": "old"}),
        (
            PROTECTED,
            Action.PROTECT,
            {"protected_until": in_days(30)},
            {"protected_until": "2026-12-21"},
        ),
        (RELEASED, Action.RELEASE, {}, {}),
        (ASSIGNED, Action.ASSIGN, {}, {"requested_by": ADMIN}),
        (
            ASSIGNED,
            Action.ASSIGN,
            {"previous_owner": "user-7", "deliver_to": PORTAL},
            {"requested_by": ADMIN, "previous_owner": "user-7", "deliver_to": PORTAL},
        ),
    ],
)
def test_an_answer_has_the_fields_of_its_event(
    detail_type: str, action: Action, more: Mapping[str, Any], told: Mapping[str, Any]
) -> None:
    detail = answer(detail_type, a_request(action), an_issued_row(), POLICY, **more)
    assert detail == {**COMMON, **told}
    check_event(detail_type, detail)


def test_an_answer_repeats_the_reason_unless_there_is_another() -> None:
    request = a_request(Action.RENEW, reason="still needed")
    row = an_issued_row()
    assert answer(RENEWED, request, row, POLICY)["reason"] == "still needed"
    assert answer(RENEWED, request, row, POLICY, reason=None)["reason"] == "still needed"
    assert answer(RENEWED, request, row, POLICY, reason="disabled")["reason"] == "disabled"


@pytest.mark.parametrize("tier", ["gone", "unclaimed"])
def test_a_tier_without_a_contact_has_none_in_its_answers(tier: str) -> None:
    row = an_issued_row(tier=tier, owner=None, name="")
    detail = answer(RENEWED, a_request(Action.RENEW), row, POLICY)
    assert detail == {**COMMON, "owner": None, "tier": tier, "contact": None, "name": ""}
    check_event(RENEWED, detail)


UGLY = 'a,b"c  =1\N{GRINNING FACE}'


def test_what_a_sender_wrote_comes_back_unchanged() -> None:
    row = an_issued_row(owner=UGLY, name=UGLY * 100)
    request = a_request(Action.RENEW, reason=UGLY)
    detail = answer(RENEWED, request, row, POLICY)
    assert (detail["owner"], detail["name"], detail["reason"]) == (UGLY, UGLY * 100, UGLY)
    check_event(RENEWED, detail)


def test_what_does_not_show_in_a_name_is_written_out_in_its_events() -> None:
    """A key that others made may be called anything."""
    hidden = "a\u202eb\x1b[2J\n\u200b"
    row = an_issued_row(owner=hidden, name=hidden)
    detail = answer(RENEWED, a_request(Action.RENEW), row, POLICY)
    assert (detail["owner"], detail["name"]) == ("a\\u202eb\\x1b[2J\\n\\u200b",) * 2
    told = announce(
        replace(a_warned_row(owner=hidden), reason=hidden, facts={"a": hidden}), POLICY, TODAY
    )
    assert told.detail["owner"] == told.detail["reason"] == detail["owner"]
    refusal = refused("r1", ASKER, "issue", Refusal(Code.INVALID_REQUEST, hidden), owner=hidden)
    assert refusal["owner"] == refusal["reason"] == detail["owner"]


@pytest.mark.parametrize("code", Code)
def test_a_refusal_has_its_code_and_its_reason(code: Code) -> None:
    detail = refused(
        "r1",
        ASKER,
        "rotate",
        Refusal(code, "because"),
        key_id="k0",
        owner="user-8f1c",
        tier="external",
        contact=CONTACT,
    )
    assert detail == {
        "version": 1,
        "request_id": "r1",
        "requested_by": ASKER,
        "action": "rotate",
        "code": str(code),
        "reason": "because",
        "key_id": "k0",
        "owner": "user-8f1c",
        "tier": "external",
        "contact": CONTACT,
    }
    check_event(REFUSED, detail)


def test_what_nobody_knows_of_a_refused_request_is_null() -> None:
    detail = refused(None, None, None, Refusal(Code.INVALID_REQUEST, "because"))
    assert detail == {
        "version": 1,
        "request_id": None,
        "requested_by": None,
        "action": None,
        "code": "invalid_request",
        "reason": "because",
        "key_id": None,
        "owner": None,
        "tier": None,
        "contact": None,
    }
    check_event(REFUSED, detail)


# --- the responder -------------------------------------------------------------------------------------


class FakeBus:
    """A bus that takes what is not among `refuses`, and nothing while it `fails`."""

    def __init__(self) -> None:
        self.taken: list[Announcement] = []
        self.refuses: set[str] = set()
        self.fails = False

    def put(self, announcements: Sequence[Announcement]) -> list[Announcement]:
        if self.fails:
            raise CallFailed("PutEvents", "InternalException")
        taken = [one for one in announcements if one.announcement_id not in self.refuses]
        self.taken += taken
        return taken


class Office:
    """A responder with a ledger in memory."""

    def __init__(self, clients: Clients | None = None, policy: Policy = POLICY) -> None:
        clients = clients or clients_in_memory()
        table = Table(clients.dynamodb, clients.new_table())
        self.bus = FakeBus()
        self.request_store = RequestStore(table)
        self.ledger = Ledger(table)
        nobody: Any = None
        adapters = Adapters(
            gateway=nobody,
            owners=nobody,
            ledger=self.ledger,
            request_store=self.request_store,
            history=nobody,
            sealer=nobody,
            bus=cast("EventBus", self.bus),
        )
        run = Run("run", UNTIL, Deadline(lambda: 1_000, 0), ReplayWindow(NOW, 36), lambda: NOW)
        self.responder = Responder(adapters, policy, run)

    def take(self, **document: Any) -> Taken:
        """A request whose row is written; its body is that of an issue."""
        body = contract.read(json.dumps(a_document(**document)))
        row = a_request_row(
            body.row_id, digest=body.digest, holder="run", held_until=UNTIL, grant=a_grant()
        )
        (written,) = self.request_store.commit([RequestChange(None, row)])
        message = Message("m1", "", ASKER, NOW)
        assert written is not None
        return Taken(Received((message,), body, body.row_id, ASKER), written)

    def row(self, request_id: str = "r1") -> RequestRow | None:
        return self.request_store.requests([request_id]).get(request_id)

    def waiting(self, at_: datetime | None = None) -> list[str]:
        return [one.announcement_id for one in self.ledger.unsent(at_)]


# --- taking ---------------------------------------------------------------------------------------


def test_a_request_that_another_run_holds_comes_again_until_that_runs_time_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    office = Office()
    held = office.take().received
    (row,) = office.request_store.requests([held.row_id]).values()
    for until, comes_again in ((NOW + timedelta(seconds=1), True), (NOW, False)):
        (row,) = filter(
            None,
            office.request_store.commit(
                [RequestChange(row, replace(row, holder="another", held_until=until))]
            ),
        )
        taking = take([held], {held.row_id: row}, office.responder)
        assert (taking.deferred == [held], taking.taken == []) == (comes_again, comes_again)
        (told,) = caplog.records
        assert told.getMessage() == (
            "request 'r1' is left: request r1: another run is at work on it; it is tried again soon"
        )
    (mine,) = taking.taken
    assert (mine.received, mine.row, mine.row.holder) == (held, office.row(), "run")


def test_a_request_that_another_run_takes_first_comes_again() -> None:
    office = Office()
    held = office.take().received
    (read,) = office.request_store.requests([held.row_id]).values()
    read = replace(read, held_until=None)
    office.request_store.commit([RequestChange(office.row(), replace(read, holder="another"))])
    taking = take([held], {held.row_id: read}, office.responder)
    assert (taking.deferred, taking.taken) == ([held], [])


EVENT = "2026-11-21#Request#r1"


# --- answering ------------------------------------------------------------------------------------


def test_an_answer_is_written_with_what_it_did_and_ends_the_request() -> None:
    office = Office()
    task = office.take()
    before = task.row
    new = Change(None, an_issued_row())
    change = office.responder.answer(task, ISSUED, {"version": 1}, new)
    announcement = Announcement(EVENT, ISSUED, {"version": 1}, not_before=UNTIL)
    assert change == RequestChange(
        before,
        replace(
            before,
            status=Status.ANSWERED,
            holder=None,
            held_until=None,
            detail_type=ISSUED,
            detail={"version": 1},
            grant=None,
        ),
        (new,),
        (announcement,),
    )


def test_a_refusal_is_final_and_told() -> None:
    office = Office()
    task = office.take(action="issue", tier="gone")
    office.responder.refuse({task: Refusal(Code.UNKNOWN_TIER, "policy.toml has no tier 'gone'")})
    detail = {
        "version": 1,
        "request_id": "r1",
        "requested_by": ASKER,
        "action": "issue",
        "code": "unknown_tier",
        "reason": "policy.toml has no tier 'gone'",
        "key_id": None,
        "owner": "user-8f1c",
        "tier": "gone",
        "contact": None,
    }
    check_event(REFUSED, detail)
    assert office.bus.taken == [Announcement(EVENT, REFUSED, detail, not_before=UNTIL)]
    assert office.row() == a_request_row(
        digest=task.body.digest,
        status=Status.REFUSED,
        version=2,
        detail_type=REFUSED,
        detail=detail,
    )
    assert (task.answered, task.deferred, office.responder.refusals) == (True, False, 1)
    assert office.waiting() == []


def test_a_refusal_says_what_the_ledger_knows_of_the_key() -> None:
    office = Office()
    task = office.take(action="revoke", key_id="older")
    task.key = an_issued_row(owner="user-of-the-key")
    office.responder.refuse({task: Refusal(Code.PROTECTED, "key k0 is protected")})
    (told,) = office.bus.taken
    assert told.detail == {
        "version": 1,
        "request_id": "r1",
        "requested_by": ASKER,
        "action": "revoke",
        "code": "protected",
        "reason": "key k0 is protected",
        "key_id": "older",
        "owner": "user-of-the-key",
        "tier": "external",
        "contact": CONTACT,
    }


@pytest.mark.parametrize(
    "document",
    [
        {"action": "explode"},
        {"action": ["issue"]},
        {"action": None},
        {"tier": 7, "owner": {"a": 1}, "key_id": ["k"]},
        {"tier": "t" * 3000, "owner": "o" * 3000, "key_id": "k" * 3000},
        {"request_id": "x" * 5000},
        {"request_id": "\ud83d half"},
        {"owner": "\ud83d half", "tier": "\udc00", "key_id": "\ud800\ud800"},
        {"action": "\ud83d"},
    ],
)
def test_a_request_that_is_anything_is_refused_by_an_event_that_fits(
    document: dict[str, Any],
) -> None:
    office = Office()
    task = office.take(**{"action": "issue", **document})
    office.responder.refuse({task: Refusal(Code.INVALID_REQUEST, "because")})
    (told,) = office.bus.taken
    check_event(REFUSED, told.detail)
    assert len(json.dumps(dict(told.detail))) < 20_000
    assert task.answered


def test_what_has_no_refusal_or_is_over_is_not_refused() -> None:
    office = Office()
    fine, over, left = (office.take(request_id=f"r{n}") for n in range(3))
    over.outcome, left.outcome = Answered(), Deferred("another run is at work")
    office.responder.refuse(dict.fromkeys((over, left), Refusal(Code.UNKNOWN_KEY, "because")))
    assert office.bus.taken == []
    assert fine.is_open


def test_a_request_that_somebody_else_changed_is_left() -> None:
    office = Office()
    task = office.take()
    row = task.row
    (others,) = office.request_store.commit([RequestChange(row, replace(row, holder="another"))])
    office.responder.refuse({task: Refusal(Code.UNKNOWN_KEY, "because")})
    assert (task.answered, task.deferred, office.row()) == (False, True, others)
    assert (office.bus.taken, office.waiting()) == ([], [])


def test_an_answer_that_could_not_be_written_is_left_and_not_told() -> None:
    broken = [False]

    def around(name: str, call: Callable[[], Any]) -> Any:
        if broken[0]:
            raise failed("TransactWriteItems", "InternalServerError", 500)
        return call()

    clients = clients_in_memory()
    office = Office(replace(clients, dynamodb=Watched(clients.dynamodb, "dynamodb", around)))
    tasks = [office.take(request_id=f"r{n}") for n in range(2)]
    broken[0] = True
    changes = [office.responder.answer(task, RENEWED, {"version": 1}) for task in tasks]
    assert office.responder.commit(tasks, changes) == []
    assert [(task.answered, task.deferred) for task in tasks] == [(False, True)] * 2
    broken[0] = False
    assert (office.bus.taken, office.waiting()) == ([], [])


@pytest.mark.parametrize("how", ["the call fails", "the entry fails"])
def test_an_event_that_the_bus_does_not_take_waits_in_the_outbox(how: str) -> None:
    office = Office()
    tasks = [office.take(request_id=f"r{n}") for n in range(2)]
    office.bus.fails = how == "the call fails"
    office.bus.refuses = {"2026-11-21#Request#r1"}
    office.responder.refuse(dict.fromkeys(tasks, Refusal(Code.UNKNOWN_KEY, "because")))
    lost = {"r0", "r1"} if office.bus.fails else {"r1"}
    assert {task.row_id for task in tasks if task.deferred} == lost
    assert {task.row_id for task in tasks if task.answered} == {"r0", "r1"} - lost
    assert office.waiting() == [f"2026-11-21#Request#{one}" for one in sorted(lost)]
    # Up to its end it is this run's to put; later it is anybody's.
    assert office.waiting(UNTIL - timedelta(seconds=1)) == []
    office.bus.fails, office.bus.refuses = False, set()
    office.responder.publish_pending()
    assert office.waiting() != []
    late = replace(office.responder.run, now=lambda: UNTIL)
    Responder(office.responder.adapters, POLICY, late).publish_pending()
    assert office.waiting() == []
    assert {one.detail["request_id"] for one in office.bus.taken} == {"r0", "r1"}


def test_an_answer_given_again_is_the_same_event() -> None:
    office = Office()
    task = office.take()
    office.responder.refuse({task: Refusal(Code.UNKNOWN_KEY, "because")})
    row = office.row()
    assert row is not None
    again = office.responder.announcement(row, row.detail_type, dict(row.detail))
    assert [again] == office.bus.taken


def test_many_answers_are_put_ten_at_a_time() -> None:
    office = Office()
    tasks = [office.take(request_id=f"r{n:02}") for n in range(25)]
    sizes: list[int] = []
    put = office.bus.put

    def counted(announcements: Sequence[Announcement]) -> list[Announcement]:
        sizes.append(len(announcements))
        return put(announcements)

    office.bus.put = counted  # type: ignore[method-assign]
    office.responder.refuse(dict.fromkeys(tasks, Refusal(Code.UNKNOWN_KEY, "because")))
    assert sizes == [10, 10, 5]
    assert all(task.answered for task in tasks)
