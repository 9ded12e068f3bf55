"""What the ledger remembers of requests, on moto's DynamoDB and on the one in memory."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, get_type_hints

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.adapters.dynamodb import Table
from keyjanitor.adapters.kms import delivery_context
from keyjanitor.adapters.ledger import Change, Ledger
from keyjanitor.adapters.request_store import RequestChange, RequestStore
from keyjanitor.domain.model.keys import State
from keyjanitor.domain.model.records import Announcement, Grant, RequestRow, Row, Status
from keyjanitor.domain.requests.census import Admissions, Batch
from keyjanitor.errors import AccessDenied, CallFailed
from keyjanitor.services import ports
from sandbox.memory.clients.clients import Clients, clients_in_memory
from sandbox.memory.clients.refusal import refused
from sandbox.memory.simulation import request_store as simulation
from sandbox.memory.simulation.ledger import Memory
from tests.account import Watched
from tests.builders import (
    DAY,
    PORTAL,
    TODAY,
    a_grant,
    a_parked_row,
    a_request_row,
    an_issued_row,
    at,
    in_days,
)

NOW = at(TODAY, 3)
UNTIL = NOW + timedelta(minutes=5)
UGLY = 'a,b"c\r\n=1\t\N{GRINNING FACE}\0'


@pytest.fixture
def table(either: Clients) -> Table:
    return Table(either.dynamodb, either.new_table())


@pytest.fixture
def stored(table: Table) -> RequestStore:
    return RequestStore(table)


@pytest.fixture(params=[pytest.param("moto", marks=pytest.mark.slow), "memory", "simulation"])
def ledger(request: pytest.FixtureRequest) -> Ledger | Memory:
    """The ledger on moto's DynamoDB and on the one in memory; and its twin, which has no DynamoDB."""
    if request.param == "simulation":
        return Memory()
    clients: Clients = (
        clients_in_memory() if request.param == "memory" else request.getfixturevalue("moto")
    )
    return Ledger(Table(clients.dynamodb, clients.new_table()))


@pytest.fixture
def request_store(ledger: Ledger | Memory) -> ports.RequestStore:
    """The store of requests beside `ledger`, of the same kind."""
    if isinstance(ledger, Memory):
        return simulation.RequestStore(ledger)
    return RequestStore(ledger._table)


def written(request_store: ports.RequestStore, *rows: RequestRow) -> list[RequestRow]:
    """Writes new rows; gives them with their version."""
    done = request_store.commit([RequestChange(None, row) for row in rows])
    return [row for row in done if row is not None]


def told(number: int = 0) -> Announcement:
    return Announcement(f"{TODAY}#Request#r{number:03}", "Key Issued", {"version": 1}, UNTIL)


def ids(rows: list[RequestRow | None]) -> list[str | None]:
    return [row.request_id if row else None for row in rows]


# --- requests -------------------------------------------------------------------------------------


def test_every_field_of_a_request_and_of_its_grant_goes_through_the_table(
    request_store: ports.RequestStore,
) -> None:
    """A new field must not be forgotten."""
    grant = a_grant(owner=UGLY, name=UGLY, expires_on=in_days(9), rotates="k0", sender=None)
    row = RequestRow(
        request_id="r1",
        digest="d" * 64,
        sender="AROASENDER",
        status=Status.SEALED,
        version=1,
        action="rotate",
        received_on=TODAY,
        holder="run",
        held_until=datetime(2026, 11, 21, 3, 4, 5, 678, tzinfo=UTC),
        detail_type="Key Rotated",
        detail={
            "version": 1,
            "owner": None,
            "name": UGLY,
            "encryption_context": delivery_context(PORTAL, "r1"),
        },
        grant=grant,
    )
    new = RequestRow("", "", "", Status.TAKEN)
    assert [
        name for name in get_type_hints(RequestRow) if getattr(row, name) == getattr(new, name)
    ] == []
    assert [name for name in get_type_hints(Grant) if getattr(grant, name) == ""] == []
    assert request_store.commit([RequestChange(None, row)]) == [row]
    assert request_store.requests(["r1"]) == {"r1": row}


def test_a_request_that_was_just_seen(request_store: ports.RequestStore) -> None:
    (row,) = written(request_store, a_request_row())
    assert row == a_request_row(version=1)
    assert request_store.requests(["r1"]) == {"r1": row}


def test_those_requests_are_known_that_were_ever_seen(request_store: ports.RequestStore) -> None:
    rows = written(request_store, *(a_request_row(f"r{number:03}") for number in range(130)))
    assert len(rows) == 130
    asked = ["never", *(row.request_id for row in rows[5:])]
    assert request_store.requests(asked) == {row.request_id: row for row in rows[5:]}
    assert request_store.requests([]) == {}


def test_odd_ids_are_ids_too(request_store: ports.RequestStore) -> None:
    odd = [" " + "0" * 64, "!", "~" * 128, 'quo"te', "a,b", "#", "r1"]
    rows = written(request_store, *(a_request_row(request_id) for request_id in odd))
    assert request_store.requests(odd) == {row.request_id: row for row in rows}


def test_a_request_goes_on_from_what_is_written_down(request_store: ports.RequestStore) -> None:
    (taken,) = written(request_store, a_request_row(holder="run", held_until=UNTIL))
    steps = [
        replace(taken, status=Status.SEALED, grant=a_grant()),
        replace(taken, status=Status.ANSWERED, grant=None, detail={"version": 1}, holder=None),
    ]
    row = taken
    for version, after in enumerate(steps, 2):
        (next_row,) = request_store.commit([RequestChange(row, after)])
        assert next_row == replace(after, version=version)
        row = next_row
        assert request_store.requests(["r1"]) == {"r1": row}


def test_of_two_who_see_a_request_first_one_takes_it(request_store: ports.RequestStore) -> None:
    one, other = (a_request_row(holder=holder) for holder in ("one", "other"))
    assert ids(request_store.commit([RequestChange(None, one)])) == ["r1"]
    assert request_store.commit([RequestChange(None, other)]) == [None]
    assert request_store.requests(["r1"])["r1"].holder == "one"


def test_of_two_who_read_the_same_request_one_goes_on(request_store: ports.RequestStore) -> None:
    (row,) = written(request_store, a_request_row())
    one, other = (RequestChange(row, replace(row, holder=holder)) for holder in ("one", "other"))
    assert request_store.commit([one]) == [replace(row, holder="one", version=2)]
    assert request_store.commit([other]) == [None]
    assert request_store.requests(["r1"]) == {"r1": replace(row, holder="one", version=2)}


def in_memory(clients: Clients) -> RequestStore:
    """For many requests, and for what happens at once.

    A transaction that fails at moto takes back what others have written meanwhile.
    """
    return RequestStore(Table(clients.dynamodb, clients.new_table()))


def test_of_many_who_take_the_same_requests_at_once_each_has_his_own(clients: Clients) -> None:
    request_store = in_memory(clients)

    def take(holder: str) -> set[str | None]:
        changes = [
            RequestChange(None, a_request_row(f"r{number}", holder=holder)) for number in range(9)
        ]
        return set(ids(request_store.commit(changes))) - {None}

    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(take, "abcd"))
    names = [f"r{number}" for number in range(9)]
    assert sorted(str(name) for one in taken for name in one) == names
    holders = {row.request_id: row.holder for row in request_store.requests(names).values()}
    assert holders == {
        name: holder for holder, one in zip("abcd", taken, strict=True) for name in one
    }


def test_the_loss_of_one_request_does_not_lose_the_others(clients: Clients) -> None:
    request_store = in_memory(clients)
    rows = written(request_store, *(a_request_row(f"r{number:03}") for number in range(120)))
    for lost in (rows[7], rows[110]):
        request_store.commit([RequestChange(lost, replace(lost, holder="another"))])
    changes = [RequestChange(row, replace(row, holder="mine")) for row in rows]
    expected: list[str | None] = [row.request_id for row in rows]
    expected[7] = expected[110] = None
    assert ids(request_store.commit(changes)) == expected
    known = request_store.requests([row.request_id for row in rows])
    assert {row.request_id for row in known.values() if row.holder == "another"} == {"r007", "r110"}
    assert {row.version for row in known.values()} == {2}


def test_nothing_to_write_is_written(request_store: ports.RequestStore) -> None:
    assert request_store.commit([]) == []


# --- with the rows and events of keys -------------------------------------------------------------


def an_answer(
    row: RequestRow, *rows: Change, announcements: tuple[Announcement, ...] = ()
) -> RequestChange:
    after = replace(row, status=Status.ANSWERED, detail_type="Key Issued", detail={"version": 1})
    return RequestChange(row, after, rows, announcements)


def test_an_answer_the_key_and_the_event_are_written_together(
    request_store: ports.RequestStore, ledger: Ledger | Memory
) -> None:
    (row,) = written(request_store, a_request_row())
    key = an_issued_row("new", owner=UGLY, request_ids=("r1",))
    (done,) = request_store.commit(
        [an_answer(row, Change(None, key, (told(1),)), announcements=(told(2),))]
    )
    assert request_store.requests(["r1"]) == {"r1": done}
    assert done == replace(
        row, status=Status.ANSWERED, detail_type="Key Issued", detail={"version": 1}, version=2
    )
    assert ledger.live_rows() == {"new": replace(key, version=1)}
    assert ledger.unsent() == [told(1), told(2)]
    # Its own run puts it on the bus first.
    assert ledger.unsent(UNTIL - timedelta(seconds=1)) == []
    assert ledger.unsent(UNTIL) == [told(1), told(2)]


@pytest.mark.parametrize("lost", ["request", "key", "new key"])
def test_none_of_it_is_written_if_one_part_was_changed_by_others(
    request_store: ports.RequestStore, ledger: Ledger | Memory, lost: str
) -> None:
    (row,) = written(request_store, a_request_row())
    (key,) = ledger.commit([Change(None, an_issued_row("k0"))])
    change = an_answer(
        row,
        Change(key, replace(key, rotated_to="new")),
        Change(None, an_issued_row("new")),
        announcements=(told(),),
    )
    match lost:
        case "request":
            request_store.commit([RequestChange(row, replace(row, holder="another"))])
        case "key":
            ledger.commit([Change(key, replace(key, owner="another"))])
        case _:
            ledger.commit([Change(None, an_issued_row("new", owner="another"))])
    before = (request_store.requests(["r1"]), ledger.live_rows())
    assert request_store.commit([change]) == [None]
    assert (request_store.requests(["r1"]), ledger.live_rows(), ledger.unsent()) == (*before, [])


def test_a_revoked_key_leaves_the_living_with_its_answer(
    request_store: ports.RequestStore, ledger: Ledger | Memory
) -> None:
    (row,) = written(request_store, a_request_row())
    (key,) = ledger.commit([Change(None, an_issued_row("k0"))])
    revoked = replace(key, state=State.REVOKED, revoked_on=TODAY, revoked_by="AROASENDER")
    assert request_store.commit([an_answer(row, Change(key, revoked))]) != [None]
    assert ledger.live_rows() == {}
    assert ledger.row_of_any("k0") == replace(revoked, version=2)


@pytest.mark.parametrize(
    ("status", "days"),
    [
        (Status.TAKEN, 60),
        (Status.ADMITTED, 400),
        (Status.SEALED, 400),
        (Status.ANSWERED, 400),
        (Status.REFUSED, 30),
    ],
)
def test_a_request_is_forgotten_long_after_its_message_can_come_back(
    either: Clients, stored: RequestStore, table: Table, status: Status, days: int
) -> None:
    written(stored, a_request_row(status=status, received_on=TODAY))
    (item,) = either.dynamodb.scan(TableName=table._name)["Items"]
    expires_at = datetime.fromtimestamp(int(item["expires_at"]["N"]), UTC)
    assert expires_at == at(TODAY, 0) + DAY * days
    assert days > 2 * 14  # that SQS keeps a message which was moved back once


def test_the_row_of_a_revoked_key_is_kept_for_as_long_as_an_answered_request(
    either: Clients, stored: RequestStore, table: Table
) -> None:
    ledger = Ledger(table)
    """So no message that comes again finds the one without the other."""
    ledger.commit([Change(None, an_issued_row("k0", State.REVOKED, revoked_on=TODAY))])
    written(stored, a_request_row(status=Status.ANSWERED, received_on=TODAY))
    expire = {
        item["expires_at"]["N"] for item in either.dynamodb.scan(TableName=table._name)["Items"]
    }
    assert expire == {str(int((at(TODAY, 0) + DAY * 400).timestamp()))}


def test_more_answers_than_one_transaction_holds(clients: Clients) -> None:
    table = Table(clients.dynamodb, clients.new_table())
    request_store, ledger = RequestStore(table), Ledger(table)
    rows = written(request_store, *(a_request_row(f"r{number:03}") for number in range(60)))
    changes = [
        an_answer(row, Change(None, an_issued_row(f"k{n:03}")), announcements=(told(n),))
        for n, row in enumerate(rows)
    ]
    ledger.commit([Change(None, an_issued_row("k033", owner="another"))])
    expected: list[str | None] = [row.request_id for row in rows]
    expected[33] = None
    assert ids(request_store.commit(changes)) == expected
    assert len(ledger.live_rows()) == 60
    assert ledger.unsent() == [told(n) for n in range(60) if n != 33]


def test_of_two_answers_that_change_the_same_key_the_first_is_written(
    request_store: ports.RequestStore, ledger: Ledger | Memory
) -> None:
    """Two requests to rotate a key, sealed by two runs that died: neither may block the other."""
    one, other = written(request_store, a_request_row("r1"), a_request_row("r2"))
    (key,) = ledger.commit([Change(None, an_issued_row("k0"))])
    changes = [
        an_answer(row, Change(key, replace(key, rotated_to=f"by {row.request_id}")))
        for row in (one, other)
    ]
    assert ids(request_store.commit(changes)) == ["r1", None]
    assert ledger.live_rows() == {"k0": replace(key, rotated_to="by r1", version=2)}


class Counts:
    """A client that takes every transaction and notes its size."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def transact_write_items(self, *, TransactItems: list[Any]) -> None:  # noqa: N803
        self.sizes.append(len(TransactItems))


def test_a_transaction_is_filled_to_the_last_write() -> None:
    counts = Counts()
    request_store = RequestStore(Table(counts, "ledger"))
    rows = [a_request_row(f"r{number:03}") for number in range(250)]
    written(request_store, *rows)
    request_store.commit([an_answer(row, announcements=(told(),)) for row in rows[:120]])
    assert counts.sizes == [100, 100, 50, 100, 100, 40]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 3)), max_size=60))
def test_no_transaction_is_larger_than_dynamodb_takes(shapes: list[tuple[int, int, int]]) -> None:
    counts = Counts()

    def a_change(number: int, keys: int, events: int, of_keys: int) -> RequestChange:
        rows = tuple(
            Change(
                an_issued_row(f"k{number}-{n}", version=1),
                an_issued_row(f"k{number}-{n}", State.REVOKED),
                tuple(told(n) for _ in range(of_keys)),
            )
            for n in range(keys)
        )
        row = a_request_row(f"r{number}")
        return RequestChange(None, row, rows, tuple(told(n) for n in range(events)))

    changes = [a_change(number, *shape) for number, shape in enumerate(shapes)]
    done = RequestStore(Table(counts, "ledger")).commit(changes)
    sizes = counts.sizes
    assert ids(done) == [change.after.request_id for change in changes]
    assert sum(sizes) == sum(1 + keys * (2 + of_keys) + events for keys, events, of_keys in shapes)
    assert all(size <= 100 for size in sizes)
    # Two that follow each other would not have fitted into one.
    assert all(one + other > 100 - 14 for one, other in pairwise(sizes))


# --- the count ------------------------------------------------------------------------------------

COUNTED = Admissions(
    counted=9_990,
    counted_at=NOW,
    made=3,
    batches={
        "run-1": Batch(UNTIL, 3, {"external": 2, "inner": 1}, {"0123456789abcdef": 2}),
        "run-2": Batch(UNTIL + timedelta(microseconds=1), 0),
    },
)


def test_nothing_was_counted_at_first(request_store: ports.RequestStore) -> None:
    assert request_store.admissions() == Admissions()


def test_what_was_counted_and_admitted_is_read_as_it_was_written(
    request_store: ports.RequestStore,
) -> None:
    assert request_store.put_admissions(COUNTED)
    assert request_store.admissions() == replace(COUNTED, version=1)
    never = Admissions(version=1)
    assert request_store.put_admissions(never)
    assert request_store.admissions() == Admissions(version=2)


def test_of_two_runs_that_read_the_same_count_one_raises_it(
    request_store: ports.RequestStore,
) -> None:
    assert request_store.put_admissions(COUNTED)
    read = request_store.admissions()
    assert request_store.put_admissions(replace(read, made=10))
    assert not request_store.put_admissions(replace(read, made=20))
    assert request_store.admissions() == replace(read, made=10, version=2)


def test_of_two_runs_that_count_for_the_first_time_one_does(
    request_store: ports.RequestStore,
) -> None:
    assert request_store.put_admissions(COUNTED)
    assert not request_store.put_admissions(replace(COUNTED, made=20))
    assert request_store.admissions() == replace(COUNTED, version=1)


def test_many_runs_at_once_lose_no_admission(clients: Clients) -> None:
    request_store = in_memory(clients)

    def raise_it(number: int) -> int:
        for attempt in range(100):
            read = request_store.admissions()
            batches = {**read.batches, f"run-{number}": Batch(UNTIL, number)}
            if request_store.put_admissions(replace(read, batches=batches)):
                return attempt
        raise AssertionError("never won")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(raise_it, range(8)))
    counted = request_store.admissions()
    assert counted.version == 8
    assert counted.batches == {f"run-{number}": Batch(UNTIL, number) for number in range(8)}


def repeated(name: str, call: Callable[[], Any]) -> Any:
    """What botocore does when the answer to a write is lost on the way: it writes again."""
    if name == "dynamodb.put_item":
        call()
    return call()


def test_a_count_is_raised_though_the_first_answer_was_lost(
    either: Clients, stored: RequestStore, table: Table
) -> None:
    """Who took it for another's would count his own keys against himself."""
    watched = Watched(either.dynamodb, "dynamodb", repeated)
    impatient = RequestStore(Table(watched, table._name))
    assert impatient.put_admissions(COUNTED)
    read = impatient.admissions()
    assert read == replace(COUNTED, version=1)
    assert impatient.put_admissions(replace(read, made=4))
    assert not impatient.put_admissions(replace(read, made=5))
    assert not stored.put_admissions(replace(read, made=4))
    assert stored.admissions() == replace(COUNTED, made=4, version=2)


# --- usage plans ----------------------------------------------------------------------------------

SHAPE = "keyjanitor external 1f82a094"


def test_one_run_may_make_a_plan_of_a_shape(request_store: ports.RequestStore) -> None:
    assert request_store.claim_usage_plan(SHAPE, "run-1", NOW, UNTIL)
    assert not request_store.claim_usage_plan(SHAPE, "run-2", NOW, UNTIL)
    assert request_store.claim_usage_plan("keyjanitor inner 00000000", "run-2", NOW, UNTIL)
    # Lambda's own retry comes under the same id.
    assert request_store.claim_usage_plan(SHAPE, "run-1", NOW, UNTIL)
    assert request_store.made_usage_plans() == {}


def test_a_plan_is_claimed_though_the_first_answer_was_lost(either: Clients, table: Table) -> None:
    watched = Watched(either.dynamodb, "dynamodb", repeated)
    impatient = RequestStore(Table(watched, table._name))
    assert impatient.claim_usage_plan(SHAPE, "run-1", NOW, UNTIL)
    assert not impatient.claim_usage_plan(SHAPE, "run-2", NOW, UNTIL)


def test_of_many_runs_at_once_one_may_make_a_plan(clients: Clients) -> None:
    request_store = in_memory(clients)
    with ThreadPoolExecutor(8) as pool:
        won = list(
            pool.map(lambda n: request_store.claim_usage_plan(SHAPE, f"{n}", NOW, UNTIL), range(8))
        )
    assert won.count(True) == 1


def test_the_claim_of_a_run_that_died_ends_with_its_time(request_store: ports.RequestStore) -> None:
    assert request_store.claim_usage_plan(SHAPE, "run-1", NOW, UNTIL)
    assert not request_store.claim_usage_plan(SHAPE, "run-2", UNTIL, UNTIL + timedelta(minutes=5))
    later = UNTIL + timedelta(seconds=1)
    assert request_store.claim_usage_plan(SHAPE, "run-2", later, later + timedelta(minutes=5))
    assert not request_store.claim_usage_plan(SHAPE, "run-1", later, later + timedelta(minutes=5))


def test_a_claim_that_is_given_back_can_be_had_at_once(request_store: ports.RequestStore) -> None:
    assert request_store.claim_usage_plan(SHAPE, "run-1", NOW, UNTIL)
    request_store.release_usage_plan(SHAPE)
    assert request_store.made_usage_plans() == {}
    assert request_store.claim_usage_plan(SHAPE, "run-2", NOW, UNTIL)
    request_store.release_usage_plan("never claimed")


def test_a_plan_that_was_made_is_remembered_by_its_shape(request_store: ports.RequestStore) -> None:
    assert request_store.claim_usage_plan(SHAPE, "run-1", NOW, UNTIL)
    request_store.put_usage_plan(SHAPE, "plan1")
    request_store.put_usage_plan("keyjanitor inner 00000000", "plan2")
    assert request_store.claim_usage_plan("being made", "run-1", NOW, UNTIL)
    assert request_store.made_usage_plans() == {
        SHAPE: "plan1",
        "keyjanitor inner 00000000": "plan2",
    }


def test_a_plan_that_somebody_deleted_can_be_made_again(request_store: ports.RequestStore) -> None:
    request_store.put_usage_plan(SHAPE, "plan1")
    assert request_store.claim_usage_plan(SHAPE, "run-2", NOW, UNTIL)
    assert not request_store.claim_usage_plan(SHAPE, "run-3", NOW, UNTIL)
    request_store.put_usage_plan(SHAPE, "plan2")
    assert request_store.made_usage_plans() == {SHAPE: "plan2"}


# --- beside the ledger ----------------------------------------------------------------------------


def test_requests_and_plans_are_no_keys(
    request_store: ports.RequestStore, ledger: Ledger | Memory
) -> None:
    written(request_store, a_request_row("k0"))
    request_store.put_admissions(COUNTED)
    request_store.put_usage_plan(SHAPE, "plan1")
    assert ledger.live_rows() == {}
    assert ledger.row_of_any("k0") is None
    assert (ledger.hold(), ledger.lease_until(), ledger.unsent()) == (None, None, [])


def test_the_holders_are_those_of_living_keys(ledger: Ledger | Memory) -> None:
    rows: list[Row] = [
        an_issued_row("k0"),
        an_issued_row("k1", State.DISABLED),
        an_issued_row("k2", State.WARNED, tier="inner"),
        an_issued_row("k3", owner=None),
        an_issued_row("k4", owner=UGLY),
        an_issued_row("k5", State.REVOKED),
        a_parked_row("k6", owner="user-8f1c"),
    ]
    ledger.commit([Change(None, row) for row in rows])
    assert ledger.holders() == {
        ("external", "user-8f1c"): 2,
        ("inner", "user-8f1c"): 1,
        ("external", None): 1,
        ("external", UGLY): 1,
    }


def test_a_key_is_found_by_every_id_that_it_had(ledger: Ledger | Memory) -> None:
    ledger.commit(
        [
            Change(None, an_issued_row("first", State.RESTORED, new_key_id="second")),
            Change(None, an_issued_row("second", State.RESTORED, new_key_id="third")),
            Change(None, an_issued_row("third", previous_key_ids=("first", "second"))),
            Change(None, a_parked_row("parked", new_key_id="half built")),
            Change(None, an_issued_row("lost", State.RESTORED, new_key_id="nobody")),
        ]
    )
    found = {name: ledger.row_of_any(name) for name in ("first", "second", "third", "parked")}
    assert {name: row and row.key_id for name, row in found.items()} == {
        "first": "third",
        "second": "third",
        "third": "third",
        "parked": "parked",
    }
    assert [ledger.row_of_any(name) for name in ("nobody", "lost")] == [None, None]


def test_ids_that_lead_in_a_circle_lead_to_nobody(clients: Clients) -> None:
    ledger = Ledger(Table(clients.dynamodb, clients.new_table()))
    for key_id, new_key_id in (("a", "b"), ("b", "a")):
        ledger.commit([Change(None, an_issued_row(key_id, State.RESTORED, new_key_id=new_key_id))])
    assert ledger.row_of_any("a") is None


# --- errors ---------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[RequestStore], Any]] = {
    "requests": lambda request_store: request_store.requests(["r1"]),
    "commit": lambda request_store: request_store.commit([RequestChange(None, a_request_row())]),
    "admissions": lambda request_store: request_store.admissions(),
    "put_admissions": lambda request_store: request_store.put_admissions(COUNTED),
    "made_plans": lambda request_store: request_store.made_usage_plans(),
    "claim_plan": lambda request_store: request_store.claim_usage_plan(SHAPE, "run", NOW, UNTIL),
    "give_plan_back": lambda request_store: request_store.release_usage_plan(SHAPE),
    "plan_made": lambda request_store: request_store.put_usage_plan(SHAPE, "plan1"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_that_fails_says_so_in_an_error_of_ours(
    call: Callable[[RequestStore], Any], clients: Clients
) -> None:
    def failing(err: Exception) -> RequestStore:
        def fail(*_: Any) -> Any:
            raise err

        return RequestStore(Table(Watched(clients.dynamodb, "dynamodb", fail), "ledger"))

    with pytest.raises(CallFailed, match="InternalServerError"):
        call(failing(refused("Any", "InternalServerError", 500)))
    with pytest.raises(AccessDenied, match="dynamodb:"):
        call(failing(refused("Any", "AccessDeniedException")))
    with pytest.raises(CallFailed, match="EndpointConnectionError"):
        call(failing(EndpointConnectionError(endpoint_url="https://x")))
