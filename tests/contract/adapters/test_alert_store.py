"""What the ledger remembers of alerts, on moto's DynamoDB and on the one in memory.

A simulated life has no store of its own: it uses this adapter, on the DynamoDB in memory.
"""

from datetime import UTC, datetime
from typing import get_type_hints

import pytest

from keyjanitor.adapters.alert_store import AlertStore
from keyjanitor.adapters.dynamodb import Table
from keyjanitor.domain.model.records import AlertState, PendingAlert
from sandbox.memory.clients.clients import Clients
from tests.builders import TODAY, YESTERDAY

PENDING = PendingAlert(
    alert_id="level-1",
    kind="level",
    severity="warning",
    subject="ä",
    text="one\ntwo",
    form={"keys": 9_000, "share": 0.9, "about": ["a", "b"], "until": None},
    not_before=datetime(2026, 11, 21, 3, 4, 5, 678, tzinfo=UTC),
)
WHOLE = AlertState(
    version=1,
    level=0.9,
    mark=9_000,
    alerted_on=TODAY,
    alerted_keys=9_012,
    problems={"orphans": (YESTERDAY, ("k0", "k1")), "held": (TODAY, ())},
    pending=(PENDING,),
)


@pytest.fixture
def table(either: Clients) -> Table:
    return Table(either.dynamodb, either.new_table())


def written_by(store: AlertStore, row: AlertState) -> AlertState:
    written = store.write(row)
    assert written is not None
    return written


def test_at_first_no_alert_applies(table: Table) -> None:
    assert AlertStore(table).read() == AlertState()


def test_every_field_goes_through_the_table(table: Table) -> None:
    """A new field must not be forgotten."""
    new = AlertState()
    assert [
        name for name in get_type_hints(AlertState) if getattr(WHOLE, name) == getattr(new, name)
    ] == []
    store = AlertStore(table)
    first = written_by(store, AlertState())
    assert first == AlertState(version=1)
    second = written_by(store, WHOLE)
    assert second.version == 2
    assert AlertStore(table).read() == second


def test_of_two_runs_that_read_the_same_one_writes(table: Table) -> None:
    one, other = AlertStore(table), AlertStore(table)
    for level in (None, 0.8, 0.9):
        seen, seen_too = one.read(), other.read()
        assert seen == seen_too
        mine = written_by(one, AlertState(version=seen.version, level=level))
        assert other.write(AlertState(version=seen_too.version, mark=1)) is None
        assert other.read() == mine


def test_what_a_later_state_leaves_out_is_forgotten(table: Table) -> None:
    store = AlertStore(table)
    written_by(store, AlertState())
    written_by(store, WHOLE)
    last = written_by(store, AlertState(version=2, level=0.8))
    assert store.read() == last == AlertState(version=3, level=0.8)
