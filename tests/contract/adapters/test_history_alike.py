"""One suite for the history bucket of a simulated life and for the adapter of a real one.

The adapter runs on moto's S3 and KMS, and on those in memory.
"""

from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Protocol

import pytest

from keyjanitor.adapters.history_bucket import HistoryBucket
from keyjanitor.adapters.kms import ValueSealer, tombstone_context
from keyjanitor.domain.expiry.safety_brake import Compared, Limits, Seen
from keyjanitor.domain.model.keys import Secret, Tombstone
from keyjanitor.domain.usage.evidence import Evidence
from keyjanitor.errors import (
    AccessDenied,
    CallFailed,
    KeyjanitorError,
    TombstoneUnreadable,
    UnknownSweepPlan,
)
from keyjanitor.services import ports
from sandbox.memory.adapters.api_gateway import value_of
from sandbox.memory.clients.clients import Clients, clients_in_memory
from sandbox.memory.simulation import history as simulation
from tests.builders import (
    DAY,
    KEY_ID,
    TODAY,
    YESTERDAY,
    a_key,
    a_plan,
    a_tombstone,
    an_evidence,
    at,
)

VALUE = Secret(value_of(KEY_ID))


class History(ports.SweepHistory, ports.WatchHistory, Protocol):
    """What the functions of a simulated life ask of the history, and its readings write."""

    def put_evidence(self, evidence: Evidence) -> bool: ...


@dataclass(frozen=True, slots=True)
class Kept:
    """A history, and the sealer of its tombstones."""

    history: History
    sealer: ports.SweepSealer


@pytest.fixture(params=[pytest.param("moto", marks=pytest.mark.slow), "memory", "simulation"])
def kept(request: pytest.FixtureRequest) -> Kept:
    if request.param == "simulation":
        return Kept(simulation.Files(), simulation.ValueSealer())
    clients: Clients = (
        clients_in_memory() if request.param == "memory" else request.getfixturevalue("moto")
    )
    return Kept(
        HistoryBucket(clients.s3, clients.new_bucket()),
        ValueSealer(clients.kms, clients.key_arn),
    )


@pytest.fixture
def history(kept: Kept) -> History:
    return kept.history


@pytest.fixture
def sealer(kept: Kept) -> ports.SweepSealer:
    return kept.sealer


def sealed(sealer: ports.SweepSealer, key_id: str = KEY_ID, **more: Any) -> Tombstone:
    tombstone = a_tombstone(key_id, **more)
    return replace(tombstone, sealed_value=sealer.seal(VALUE, tombstone_context(tombstone)))


# --- evidence -------------------------------------------------------------------------------------


def test_evidence_comes_back_as_it_was_written(history: History) -> None:
    evidence = an_evidence(
        used={KEY_ID: YESTERDAY}, left_plans_on={"k9": YESTERDAY}, gone=frozenset({"k8"})
    )
    assert history.evidence(TODAY) is None
    assert history.put_evidence(evidence)
    assert history.evidence(TODAY) == evidence


def test_a_dates_evidence_is_written_once_and_stays(history: History) -> None:
    first = an_evidence(used={KEY_ID: YESTERDAY})
    assert history.put_evidence(first)
    assert not history.put_evidence(an_evidence())
    assert not history.put_evidence(first)
    assert history.evidence(TODAY) == first


def test_the_evidence_before_a_date_is_the_latest_that_is_older(history: History) -> None:
    assert history.evidence_before(TODAY) is None
    for back in (0, 3, 4, 5, 401):
        history.put_evidence(an_evidence(day=TODAY - DAY * back))
    assert history.evidence_before(TODAY) == an_evidence(day=TODAY - DAY * 3)
    assert history.evidence_before(TODAY - DAY * 3) == an_evidence(day=TODAY - DAY * 4)
    assert history.evidence_before(TODAY + DAY) == an_evidence(day=TODAY)


def test_the_latest_evidence_is_that_of_the_date_or_the_one_before_it(history: History) -> None:
    assert history.latest_evidence(TODAY) is None
    for back in (2, 5):
        history.put_evidence(an_evidence(day=TODAY - DAY * back))
    assert history.latest_evidence(TODAY) == an_evidence(day=TODAY - DAY * 2)
    assert history.latest_evidence(TODAY - DAY * 5) == an_evidence(day=TODAY - DAY * 5)
    assert history.latest_evidence(TODAY - DAY * 6) is None


def test_the_evidence_after_a_date_is_the_first_that_is_newer(history: History) -> None:
    assert history.evidence_after(TODAY) is None
    for ahead in (0, 3, 4):
        history.put_evidence(an_evidence(day=TODAY + DAY * ahead))
    assert history.evidence_after(TODAY - DAY) == TODAY
    assert history.evidence_after(TODAY) == TODAY + DAY * 3
    assert history.evidence_after(TODAY + DAY * 4) is None


# --- keys files and plans -------------------------------------------------------------------------


def test_the_lines_of_a_keys_file_come_back_as_json_has_them(history: History) -> None:
    assert history.keys(TODAY) == []
    assert history.put_keys(TODAY, [{"key_id": "gone"}]) == f"keys/dt={TODAY}/keys.jsonl.gz"
    lines: list[dict[str, Any]] = [
        {"key_id": "a", "name": "ä\n\u2028"},
        {"key_id": "b", "stages": ("p", "q")},
    ]
    history.put_keys(TODAY, iter(lines))
    assert history.keys(TODAY) == [
        {"key_id": "a", "name": "ä\n\u2028"},
        {"key_id": "b", "stages": ["p", "q"]},
    ]
    assert history.keys(TODAY + DAY) == []


def test_a_saved_plan_gives_its_pairs_back(history: History) -> None:
    plan = a_plan(a_key(age=400))
    history.save_sweep_plan(plan)
    history.put_approval(plan.digest, TODAY, at(TODAY))
    assert history.saved_sweep_plan(plan.digest) == frozenset({("warn", KEY_ID)})


def test_a_plan_that_was_not_saved_is_unknown(history: History) -> None:
    with pytest.raises(UnknownSweepPlan):
        history.saved_sweep_plan("0123456789abcdef")


# --- nights that later ones are compared with -----------------------------------------------------


def a_compared(day: date = TODAY, **more: Any) -> Compared:
    values: dict[str, Any] = {
        "service_quota": 10_000,
        "clear_margin": 0.02,
        "rules": ((0.9, 0.5),),
        "above": 0.9,
        "factor": 0.5,
        "max_share": 0.05,
        "max_keys": 20,
        "tiers": {"external": Limits(30, 60, 90), "partners": Limits(30, "never", 90)},
        "keys": {KEY_ID: Seen("external", "past", YESTERDAY)},
        "lowered": {KEY_ID: YESTERDAY},
        "counts": (1, 0, 2),
        **more,
    }
    return Compared(day=day, **values)


def test_a_compared_night_comes_back_as_it_was_written(history: History) -> None:
    history.put_compared(YESTERDAY, a_compared(YESTERDAY))
    assert history.compared_before(TODAY) == a_compared(YESTERDAY)


def test_the_compared_night_before_a_date_is_the_latest_that_is_older(history: History) -> None:
    assert history.compared_before(TODAY) is None
    for back in (5, 0, 3, 4):
        day = TODAY - DAY * back
        history.put_compared(day, a_compared(day))
    assert history.compared_before(TODAY) == a_compared(TODAY - DAY * 3)
    assert history.compared_before(TODAY - DAY * 3) == a_compared(TODAY - DAY * 4)
    assert history.compared_before(TODAY - DAY * 5) is None
    assert history.compared_before(TODAY + DAY) == a_compared(TODAY)


def test_a_compared_night_is_written_once_unless_it_is_said_otherwise(history: History) -> None:
    history.put_compared(YESTERDAY, a_compared(YESTERDAY, max_keys=1))
    history.put_compared(YESTERDAY, a_compared(YESTERDAY, max_keys=2))
    assert history.compared_before(TODAY) == a_compared(YESTERDAY, max_keys=1)
    history.put_compared(YESTERDAY, a_compared(YESTERDAY, max_keys=3), once=False)
    assert history.compared_before(TODAY) == a_compared(YESTERDAY, max_keys=3)


# --- tombstones -----------------------------------------------------------------------------------


def test_a_tombstone_opens_to_what_was_written(history: History, sealer: ports.SweepSealer) -> None:
    tombstone = sealed(
        sealer,
        name='ä, "b"',
        description="d",
        customer_id="c",
        tags={"t": "v"},
        usage_plan_ids=("p1", "p2"),
        owner="user-8f1c",
        last_used=YESTERDAY,
    )
    assert not history.has_tombstone(KEY_ID)
    history.put_tombstone(tombstone, VALUE, sealer)
    assert history.has_tombstone(KEY_ID)
    assert history.open_tombstone(KEY_ID, sealer) == (tombstone, VALUE)


def test_a_tombstone_that_is_written_again_is_the_newer_one(
    history: History, sealer: ports.SweepSealer
) -> None:
    for owner in ("before", "now"):
        history.put_tombstone(sealed(sealer, owner=owner), VALUE, sealer)
    assert history.open_tombstone(KEY_ID, sealer)[0].owner == "now"


def test_a_destroyed_tombstone_is_gone_and_may_be_destroyed_again(
    history: History, sealer: ports.SweepSealer
) -> None:
    history.put_tombstone(sealed(sealer), VALUE, sealer)
    history.put_tombstone(sealed(sealer, f"{KEY_ID}0"), VALUE, sealer)
    for _ in range(2):
        history.destroy_tombstone(KEY_ID)
    assert not history.has_tombstone(KEY_ID)
    assert history.has_tombstone(f"{KEY_ID}0")
    with pytest.raises(TombstoneUnreadable) as err:
        history.open_tombstone(KEY_ID, sealer)
    assert (err.value.key_id, err.value.transient) == (KEY_ID, False)


def test_a_tombstone_of_a_key_with_a_name_of_another_is_no_other_keys(
    history: History, sealer: ports.SweepSealer
) -> None:
    history.put_tombstone(sealed(sealer), VALUE, sealer)
    assert not history.has_tombstone(KEY_ID[:-1])
    assert history.open_tombstone(KEY_ID, sealer)[0].key_id == KEY_ID


OTHERWISE: dict[str, Any] = {"name": "another", "usage_plan_ids": ("gold",), "owner": "another"}


@pytest.mark.parametrize("field", OTHERWISE)
def test_a_tombstone_that_says_what_was_not_sealed_is_refused_and_stays_closed(
    history: History, sealer: ports.SweepSealer, field: str
) -> None:
    changed = replace(sealed(sealer), **{field: OTHERWISE[field]})
    for refused in (
        lambda: history.put_tombstone(changed, VALUE, sealer),
        lambda: history.open_tombstone(KEY_ID, sealer),
    ):
        with pytest.raises(TombstoneUnreadable) as err:
            refused()
        assert not err.value.transient


def test_a_tombstone_of_another_value_is_refused(
    history: History, sealer: ports.SweepSealer
) -> None:
    with pytest.raises(TombstoneUnreadable) as err:
        history.put_tombstone(sealed(sealer), Secret("x" * 40), sealer)
    assert not err.value.transient


@dataclass
class Shut:
    """A sealer that opens nothing for now."""

    err: KeyjanitorError

    def seal(self, *_: object) -> str:
        raise self.err

    def open(self, *_: object) -> Secret:
        raise self.err


@pytest.mark.parametrize(
    "err",
    [AccessDenied("kms:Decrypt", "expire_keys"), CallFailed("Decrypt", "KMSInternalException")],
)
def test_a_tombstone_that_kms_does_not_open_now_may_be_opened_later(
    history: History, sealer: ports.SweepSealer, err: KeyjanitorError
) -> None:
    tombstone = sealed(sealer)
    with pytest.raises(TombstoneUnreadable) as refused:
        history.put_tombstone(tombstone, VALUE, Shut(err))
    assert refused.value.transient
    with pytest.raises(TombstoneUnreadable) as shut:
        history.open_tombstone(KEY_ID, Shut(err))
    assert shut.value.transient
    assert history.open_tombstone(KEY_ID, sealer) == (tombstone, VALUE)
