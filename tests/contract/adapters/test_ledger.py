"""The ledger, on moto's DynamoDB and on the one in memory: both have to do the same."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol, get_args, get_type_hints

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.adapters.dynamodb import Table
from keyjanitor.adapters.ledger import COUNTED, SWEEP, Change, Ledger
from keyjanitor.adapters.record_codec import from_values, to_values
from keyjanitor.domain.model.keys import LIVE_STATES, State, SweepAction
from keyjanitor.domain.model.owners import Mark, MarkKind, Owner, Stack
from keyjanitor.domain.model.records import Announcement, Claim, NightRow, OwnerFrom, Row
from keyjanitor.domain.model.shelf import Shelf
from keyjanitor.errors import AccessDenied, AlreadyRunning, CallFailed, Held
from keyjanitor.services.ports import ProvisionLedger, SweepLedger, WatchLedger
from sandbox.memory.clients.clients import Clients, clients_in_memory
from sandbox.memory.clients.refusal import refused
from sandbox.memory.simulation.ledger import Memory
from tests.account import Watched
from tests.builders import (
    DAY,
    TODAY,
    YESTERDAY,
    a_disabled_row,
    a_parked_row,
    a_row,
    a_warned_row,
    at,
)

NOW = at(TODAY, 3)


@pytest.fixture
def table(either: Clients) -> str:
    return either.new_table()


@pytest.fixture
def stored(either: Clients, table: str) -> Ledger:
    return Ledger(Table(either.dynamodb, table))


class AnyLedger(SweepLedger, ProvisionLedger, WatchLedger, Protocol):
    """All that the services call of the ledger."""

    def take_lease(self, holder: str, at: datetime, seconds: float, name: str = SWEEP) -> None: ...
    def give_lease_back(self, holder: str, name: str = SWEEP) -> None: ...
    def lease_until(self, name: str = SWEEP) -> datetime | None: ...


@pytest.fixture(params=[pytest.param("moto", marks=pytest.mark.slow), "memory", "simulation"])
def ledger(request: pytest.FixtureRequest) -> AnyLedger:
    """The ledger on moto's DynamoDB and on the one in memory; and its twin, which has no DynamoDB."""
    if request.param == "simulation":
        return Memory()
    clients: Clients = (
        clients_in_memory() if request.param == "memory" else request.getfixturevalue("moto")
    )
    return Ledger(Table(clients.dynamodb, clients.new_table()))


def items(clients: Clients, table: str) -> list[dict[str, Any]]:
    return list(clients.dynamodb.scan(TableName=table)["Items"])


def written(ledger: AnyLedger, *rows: Row) -> list[Row]:
    """Writes new rows; gives them with their version."""
    return ledger.commit([Change(None, row) for row in rows])


def told(number: int = 0) -> Announcement:
    return Announcement(
        f"{TODAY}#KeyExpiring#k{number:03}",
        "Key Expiring",
        {"version": 1, "key_id": f"k{number}", "owner": None, "tier": "external"},
    )


# --- rows -----------------------------------------------------------------------------------------

dates = st.dates(date(2000, 1, 1), date(2100, 1, 1))
ids = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=12)
by_type: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(),
    bool: st.booleans(),
    str | None: st.none() | st.text(),
    date | None: st.none() | dates,
    datetime | None: st.none() | st.datetimes(datetime(2000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    tuple[str, ...]: st.lists(ids).map(tuple),
    Claim | None: st.none() | st.builds(Claim, st.sampled_from(SweepAction), dates),
    State: st.sampled_from(State),
    OwnerFrom | None: st.none() | st.sampled_from(OwnerFrom),
    Mapping[str, object]: st.dictionaries(
        st.text(min_size=1), st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text()
    ),
    Owner | None: st.none()
    | st.builds(Stack, st.text())
    | st.builds(Mark, st.sampled_from(get_args(MarkKind)), st.text()),
}
HINTS = get_type_hints(Row)
rows = st.builds(
    Row,
    **{name: by_type[hint] for name, hint in HINTS.items() if name not in ("key_id", "version")},
    key_id=ids,
    version=st.integers(0, 10**9),
)


@given(rows)
def test_a_row_comes_back_as_it_was_written(row: Row) -> None:
    assert from_values(Row, to_values(row)) == row
    # Nothing but what DynamoDB can hold.
    assert Table(None, "no table").item(to_values(row))


def test_every_field_of_a_row_goes_through_the_table(ledger: AnyLedger) -> None:
    values: dict[Any, Any] = {
        str: "a text",
        bool: True,
        str | None: "another",
        date | None: TODAY,
        datetime | None: datetime(2026, 11, 21, 3, 4, 5, 678, tzinfo=UTC),
        tuple[str, ...]: ("one", "two"),
        Claim | None: Claim(SweepAction.PARK, TODAY),
        State: State.WARNED,
        OwnerFrom | None: OwnerFrom.FOUND,
        Owner | None: Mark("tag", "terraform=1"),
        Mapping[str, object]: {
            "since": "2026-09-22",
            "days": 60,
            "never_used": False,
            "due": {"reason_code": "idle", "facts": {"name": None}},
        },
        int: 1,
    }
    row = Row(**{name: values[hint] for name, hint in HINTS.items()})
    (new,) = written(ledger, row)
    assert new == row
    assert ledger.row("a text") == row
    assert ledger.live_rows() == {"a text": row}
    counted = {name: getattr(row, name) for name in COUNTED}
    assert ledger.rows_to_count() == {"a text": Row(key_id="a text", **counted)}


def test_a_row_that_was_read_to_be_counted_is_not_written_back(ledger: AnyLedger) -> None:
    (row,) = written(ledger, a_row("k0", name="a name that no count reads"))
    (counted,) = ledger.rows_to_count().values()
    assert ledger.commit([Change(counted, replace(counted, state=State.WARNED))]) == []
    assert ledger.row("k0") == row


def test_the_live_rows_are_those_of_all_pages(ledger: AnyLedger) -> None:
    expected = written(ledger, *(a_row(f"k{number:03}") for number in range(7)))
    written(ledger, a_parked_row("parked"))
    assert ledger.live_rows() == {row.key_id: row for row in expected}


def test_a_row_that_is_not_there_is_none(ledger: AnyLedger) -> None:
    assert ledger.row("nobody") is None
    assert ledger.live_rows() == {}


def test_of_two_writers_who_read_the_same_row_one_wins(ledger: AnyLedger) -> None:
    (row,) = written(ledger, a_row("k"))
    first = ledger.commit([Change(row, replace(row, owner="first"))])
    second = ledger.commit([Change(row, replace(row, owner="second"))])
    assert (first, second) == ([replace(row, owner="first", version=2)], [])
    assert ledger.row("k") == first[0]


def test_of_many_writers_at_once_one_wins(ledger: AnyLedger) -> None:
    (row,) = written(ledger, a_row("k"))
    with ThreadPoolExecutor(8) as pool:
        won = list(
            pool.map(lambda n: ledger.commit([Change(row, replace(row, owner=f"{n}"))]), range(8))
        )
    assert [len(one) for one in won].count(1) == 1
    assert ledger.row("k") in [one[0] for one in won if one]


def test_a_new_row_does_not_overwrite_one_that_somebody_else_wrote(ledger: AnyLedger) -> None:
    (row,) = written(ledger, a_row("k", owner="first"))
    assert written(ledger, a_row("k", owner="second")) == []
    assert ledger.row("k") == row


def test_a_row_that_is_no_more_is_not_written_again(ledger: AnyLedger) -> None:
    (row,) = written(ledger, a_row("k"))
    (parked,) = ledger.commit([Change(row, replace(row, state=State.PARKED))])
    assert ledger.commit([Change(row, replace(row, owner="late"))]) == []
    assert ledger.row("k") is None
    assert parked.version == 2


def test_the_loss_of_one_row_does_not_lose_the_others(ledger: AnyLedger) -> None:
    before = written(ledger, *(a_row(f"k{number:03}") for number in range(36)))
    ledger.commit([Change(before[20], replace(before[20], owner="somebody"))])
    changes = [Change(row, replace(row, reason="mine"), (told(n),)) for n, row in enumerate(before)]
    done = ledger.commit(changes)
    assert {row.key_id for row in done} == {row.key_id for row in before} - {"k020"}
    assert {row.reason for row in ledger.live_rows().values()} == {"mine", ""}
    assert len(ledger.unsent()) == 35


def test_a_row_moves_between_the_partitions_with_its_state(
    stored: Ledger, either: Clients, table: str
) -> None:
    (row,) = written(stored, a_disabled_row("k"))
    for state in (State.PARKED, State.RESTORED, State.DISABLED, State.GONE, State.ACTIVE):
        (row,) = stored.commit([Change(row, replace(row, state=state))])
        (item,) = items(either, table)
        assert item["pk"] == {"S": "KEY" if state in LIVE_STATES else "SHELF"}
    assert row.version == 6


def test_rows_that_are_closed_expire_after_four_hundred_days(
    stored: Ledger, either: Clients, table: str
) -> None:
    written(
        stored,
        a_row("purged", State.PURGED, purged_on=TODAY),
        a_row("gone", State.GONE, missing_since=TODAY),
        a_row("restored", State.RESTORED, restored_on=TODAY),
        a_row("revoked", State.REVOKED, revoked_on=TODAY),
        a_row(
            "restoring", State.RESTORED, restored_on=TODAY, claim=Claim(SweepAction.RESTORE, TODAY)
        ),
        a_row("parked", State.PARKED),
        a_row("active"),
    )
    expire = {item["sk"]["S"]: item.get("expires_at") for item in items(either, table)}
    at_the_end = {"N": str(int(at(TODAY + DAY * 400, 0).timestamp()))}
    assert expire == {
        "purged": at_the_end,
        "gone": at_the_end,
        "restored": at_the_end,
        "revoked": at_the_end,
        "restoring": None,
        "parked": None,
        "active": None,
    }


# --- together -------------------------------------------------------------------------------------


def test_changes_that_belong_together_are_written_together_or_not_at_all(ledger: AnyLedger) -> None:
    one, two = written(ledger, a_parked_row("one"), a_row("two"))
    ledger.commit([Change(two, replace(two, owner="somebody"))])
    restored = Change(one, replace(one, state=State.RESTORED))
    assert not ledger.commit_together(restored, Change(two, replace(two, reason="late")))
    assert ledger.parked_keys(TODAY).oldest[0] == one
    (now,) = ledger.live_rows().values()
    assert ledger.commit_together(restored, Change(now, replace(now, reason="in time"), (told(),)))
    assert ledger.parked_keys(TODAY).oldest == ()
    assert ledger.unsent() == [told()]


# --- hold -----------------------------------------------------------------------------------------


def test_a_hold_is_kept_until_it_is_lifted(ledger: AnyLedger) -> None:
    assert ledger.hold() is None
    ledger.put_hold("ask marketing", NOW)
    ledger.put_hold("ask marketing again", NOW)
    assert ledger.hold() == "ask marketing again"
    ledger.lift_hold()
    ledger.lift_hold()
    assert ledger.hold() is None


def test_nothing_is_written_once_an_operator_holds(ledger: AnyLedger) -> None:
    (row,) = written(ledger, a_row("k"))
    ledger.put_hold("stop", NOW)
    with pytest.raises(Held, match="stop"):
        ledger.commit([Change(row, replace(row, owner="late"))], unless_held=True)
    assert ledger.row("k") == row
    assert ledger.commit([Change(row, replace(row, owner="finished"))])


class At:
    """Lets something happen right before a call of a client."""

    def __init__(self, name: str, act: Callable[[], Any]) -> None:
        self._name = name
        self._act = act

    def __call__(self, name: str, call: Callable[[], Any]) -> Any:
        if name == self._name:
            self._act()
        return call()


def test_the_hold_is_asked_for_in_the_very_write(either: Clients, table: str) -> None:
    free = Ledger(Table(either.dynamodb, table))
    (row,) = written(free, a_row("k"))
    late = At("dynamodb.transact_write_items", lambda: free.put_hold("stop", NOW))
    ledger = Ledger(Table(Watched(either.dynamodb, "dynamodb", late), table))
    with pytest.raises(Held):
        ledger.commit([Change(row, replace(row, owner="late"))], unless_held=True)
    assert free.row("k") == row


def test_a_lost_row_is_not_taken_for_a_hold(ledger: AnyLedger) -> None:
    (row,) = written(ledger, a_row("k"))
    ledger.commit([Change(row, replace(row, owner="first"))])
    assert ledger.commit([Change(row, replace(row, owner="late"))], unless_held=True) == []


# --- shelf ----------------------------------------------------------------------------------------


def test_the_shelf_tells_who_is_due_who_is_oldest_and_what_was_done_today(
    ledger: AnyLedger,
) -> None:
    due, older, last, _, _, _ = written(
        ledger,
        a_parked_row("due", parked=365),
        a_parked_row("older", parked=400, purge_in=1),
        a_parked_row("today", parked=0, purge_in=365),
        a_row("purged", State.PURGED, purged_on=TODAY, parked_on=YESTERDAY),
        a_row("restored", State.RESTORED, parked_on=TODAY),
        a_row("live"),
    )
    ids = frozenset({"due", "older", "today", "purged", "restored"})
    assert ledger.parked_keys(TODAY) == Shelf(
        (due,),
        (older, due, last),
        {SweepAction.PARK: 2, SweepAction.PURGE: 1},
        ids=ids,
        parked_ids=frozenset({"due", "older", "today"}),
    )


def test_the_shelf_of_a_date_holds_what_was_disabled_or_parked_on_it_and_is_parked_still(
    ledger: AnyLedger,
) -> None:
    disabled, parked, _, _, _ = written(
        ledger,
        a_parked_row("disabled", parked=0, disabled_on=YESTERDAY),
        a_parked_row("parked", parked=1),
        a_parked_row("neither", parked=2),
        a_row("restored", State.RESTORED, parked_on=YESTERDAY),
        a_row("purged", State.PURGED, parked_on=YESTERDAY),
    )
    assert ledger.parked_on_sweep(YESTERDAY) == [disabled, parked]


# --- nights ---------------------------------------------------------------------------------------


def test_a_night_remembers_what_it_is_told_piece_by_piece(ledger: AnyLedger) -> None:
    assert ledger.night(TODAY) == NightRow(TODAY)
    ledger.remember(TODAY, swept=True)
    ledger.remember(TODAY, told=("k1", "k2"), brake_alerted=True)
    ledger.remember(TODAY, approved="0123456789abcdef")
    assert ledger.night(TODAY) == NightRow(
        TODAY, swept=True, told=("k1", "k2"), brake_alerted=True, approved="0123456789abcdef"
    )
    assert ledger.night(YESTERDAY) == NightRow(YESTERDAY)


def test_every_field_of_a_night_is_read_back(ledger: AnyLedger) -> None:
    """A new field must not be forgotten."""
    values: dict[Any, Any] = {
        bool: True,
        int: 3,
        int | None: 5,
        str | None: "text",
        tuple[str, ...]: ("k1", "k2"),
        Mapping[str, int]: {"use_stopped": 4, "pressure_rule": 1},
    }
    hints = get_type_hints(NightRow)
    told = {name: values[hint] for name, hint in hints.items() if name != "date"}
    ledger.remember(TODAY, **told)
    assert ledger.night(TODAY) == NightRow(TODAY, **told)


# --- lease ----------------------------------------------------------------------------------------


def test_a_lease_keeps_others_away_until_it_is_given_back(ledger: AnyLedger) -> None:
    ledger.take_lease("one", NOW, 60)
    with pytest.raises(AlreadyRunning) as err:
        ledger.take_lease("two", NOW, 60)
    assert err.value.until == NOW + timedelta(seconds=60)
    ledger.give_lease_back("one")
    ledger.take_lease("two", NOW, 60)


def test_a_lease_runs_out(ledger: AnyLedger) -> None:
    ledger.take_lease("one", NOW, 60.5)
    with pytest.raises(AlreadyRunning):
        ledger.take_lease("two", NOW + timedelta(seconds=60), 60)
    ledger.take_lease("two", NOW + timedelta(seconds=61), 60)


def test_who_has_the_lease_may_take_it_again(ledger: AnyLedger) -> None:
    """Lambda's own retry of a run that died comes under the same request id."""
    ledger.take_lease("one", NOW, 60)
    ledger.take_lease("one", NOW, 60)


def test_a_lease_that_has_gone_to_somebody_else_is_not_given_back(ledger: AnyLedger) -> None:
    ledger.take_lease("one", NOW, 60)
    ledger.take_lease("two", NOW + timedelta(seconds=61), 60)
    ledger.give_lease_back("one")
    with pytest.raises(AlreadyRunning):
        ledger.take_lease("three", NOW + timedelta(seconds=62), 60)


def test_giving_back_a_lease_that_nobody_has_is_a_success(ledger: AnyLedger) -> None:
    ledger.give_lease_back("one")


# --- outbox ---------------------------------------------------------------------------------------


def test_an_event_is_in_the_outbox_only_with_its_row(ledger: AnyLedger) -> None:
    (row,) = written(ledger, a_row("k"))
    ledger.commit([Change(row, replace(row, owner="first"), (told(1),))])
    ledger.commit([Change(row, replace(row, owner="late"), (told(2),))])
    assert ledger.unsent() == [told(1)]


def test_what_was_sent_leaves_the_outbox(ledger: AnyLedger) -> None:
    events = [told(number) for number in range(102)]
    for first in (0, 51):
        ledger.commit([Change(None, a_row(f"k{first}"), tuple(events[first : first + 51]))])
    assert ledger.unsent() == events
    ledger.sent(events[:-1])
    assert ledger.unsent() == events[-1:]
    ledger.sent(events)
    ledger.sent([])
    assert ledger.unsent() == []


# --- batches --------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(list(State)))))
def test_no_transaction_is_larger_than_dynamodb_takes(shapes: list[tuple[int, State]]) -> None:
    counted: list[int] = []

    class Counts:
        def transact_write_items(self, *, TransactItems: list[Any]) -> None:  # noqa: N803
            counted.append(len(TransactItems))

    changes = [
        Change(
            a_row(f"k{n}", version=1), a_row(f"k{n}", state), tuple(told(i) for i in range(events))
        )
        for n, (events, state) in enumerate(shapes)
    ]
    done = Ledger(Table(Counts(), "table")).commit(changes, unless_held=True)
    assert [row.key_id for row in done] == [change.after.key_id for change in changes]
    assert all(2 <= size <= 100 for size in counted)


# --- errors ---------------------------------------------------------------------------------------


class Raises:
    """A client all of whose calls fail."""

    def __init__(self, err: Exception) -> None:
        self._err = err

    def __getattr__(self, name: str) -> Any:
        def call(**_: Any) -> Any:
            raise self._err

        return call


CALLS: dict[str, Callable[[Ledger], Any]] = {
    "live_rows": lambda ledger: ledger.live_rows(),
    "rows_to_count": lambda ledger: ledger.rows_to_count(),
    "row": lambda ledger: ledger.row("k"),
    "shelf": lambda ledger: ledger.parked_keys(TODAY),
    "commit": lambda ledger: ledger.commit([Change(None, a_row())]),
    "commit_together": lambda ledger: ledger.commit_together(Change(None, a_row())),
    "night": lambda ledger: ledger.night(TODAY),
    "remember": lambda ledger: ledger.remember(TODAY, swept=True),
    "hold": lambda ledger: ledger.hold(),
    "put_hold": lambda ledger: ledger.put_hold("why", NOW),
    "lift_hold": lambda ledger: ledger.lift_hold(),
    "take_lease": lambda ledger: ledger.take_lease("me", NOW, 1),
    "give_lease_back": lambda ledger: ledger.give_lease_back("me"),
    "unsent": lambda ledger: ledger.unsent(),
    "sent": lambda ledger: ledger.sent([told()]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_that_fails_says_so_in_an_error_of_ours(call: Callable[[Ledger], Any]) -> None:
    with pytest.raises(CallFailed, match="InternalServerError"):
        call(Ledger(Table(Raises(refused("Any", "InternalServerError", 500)), "table")))
    with pytest.raises(AccessDenied, match="dynamodb:"):
        call(Ledger(Table(Raises(refused("Any", "AccessDeniedException")), "table")))
    with pytest.raises(CallFailed, match="EndpointConnectionError"):
        call(Ledger(Table(Raises(EndpointConnectionError(endpoint_url="https://x")), "table")))


def cancelled(*codes: str) -> Exception:
    reasons = [{"Code": code} for code in codes]
    return refused(
        "TransactWriteItems", "TransactionCanceledException", CancellationReasons=reasons
    )


def test_a_write_into_which_another_runs_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)

    class Conflicts(Raises):
        def transact_write_items(self, **_: Any) -> None:
            if len(waited) < 3:
                raise cancelled("TransactionConflict", "None")

    ledger = Ledger(Table(Conflicts(cancelled()), "table"))
    assert len(ledger.commit([Change(None, a_row())])) == 1
    assert waited == sorted(waited)
    assert len(waited) == 3


@pytest.mark.parametrize("unless_held", [True, False])
def test_a_write_that_conflicts_for_good_is_lost_and_no_hold(
    monkeypatch: pytest.MonkeyPatch, unless_held: bool
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)

    class Conflicts(Raises):
        def get_item(self, **_: Any) -> dict[str, Any]:
            return {}

    ledger = Ledger(Table(Conflicts(cancelled("None", "TransactionConflict")), "table"))
    assert ledger.commit([Change(None, a_row())], unless_held=unless_held) == []


def test_a_write_that_dynamodb_refuses_as_wrong_is_an_error_and_no_lost_claim(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    ledger = Ledger(Table(Raises(cancelled("None", "ValidationError")), "table"))
    with pytest.raises(CallFailed):
        ledger.commit([Change(None, a_row())])


def test_a_warned_row_keeps_its_written_date(ledger: AnyLedger) -> None:
    (row,) = written(ledger, a_warned_row("k", disable_in=3))
    assert ledger.row("k") == row
    assert row.disable_on == TODAY + 3 * DAY
