"""The sandbox as a process: ready soon, ended cleanly, never left behind; and its populations."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from sandbox.driver.client import REPOSITORY, Sandbox, sandbox_python
from sandbox.driver.population import EXTERNAL, TIERS, Kind, population
from tests.work import WAIT, calls_of

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]

UNTIL = date(2026, 8, 31)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_it_is_on_the_loopback_alone_and_ends() -> None:
    with Sandbox.start() as sandbox:
        assert sandbox.endpoint.startswith("http://127.0.0.1:")
        pid = sandbox.pid
    assert pid is not None
    assert not is_running(pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_by_hand_it_prints_what_to_export_and_stops_on_a_signal(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sandbox_python(), "-m", "sandbox"], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(number)
        assert process.wait(WAIT) == 0
    assert "ready" in lines[0]
    assert [word.split("=")[0] for word in lines[1].split()] == [
        "export",
        "AWS_ENDPOINT_URL",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_DEFAULT_REGION",
    ]


def test_it_ends_when_the_process_that_started_it_ends() -> None:
    code = (
        "import os; from sandbox.driver.client import Sandbox; s = Sandbox.start(); "
        "print(s.pid, flush=True); os._exit(1)"
    )
    started = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    pid = int(started.stdout)
    deadline = time.monotonic() + WAIT
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_running(pid)


def test_the_clock_stands_still_where_it_is_set_until_it_is_told_to_run(sandbox: Sandbox) -> None:
    when = datetime(2026, 1, 31, 23, 59, tzinfo=UTC)
    sandbox.set_clock(when)
    assert [sandbox.now(), sandbox.now()] == [when, when]
    sandbox.run_clock()
    assert when < sandbox.now() < when + timedelta(minutes=1)


# -- populations ----------------------------------------------------------------------------------


def test_a_population_is_the_same_for_the_same_seed() -> None:
    tomorrow = UNTIL + timedelta(days=1)
    first, second, other = (population(500, UNTIL, seed) for seed in (1, 1, 2))
    assert first == second
    assert first.arrivals(tomorrow) == second.arrivals(tomorrow)
    assert first.keys != other.keys


def test_a_population_has_keys_of_every_kind_and_two_with_one_name() -> None:
    keys = population(1_000, UNTIL).keys
    kinds = Counter(key.kind for key in keys)
    assert len(keys) == 1_000
    assert kinds.keys() == set(Kind)
    assert kinds[Kind.TWIN] == 2
    assert len({key.name for key in keys if key.kind is Kind.TWIN}) == 1
    assert len({key.value for key in keys}) == 1_000


def test_about_half_of_the_external_sign_ups_were_dropped_or_never_used() -> None:
    external = [k for k in population(9_300, UNTIL).keys if EXTERNAL.name in k.plans]
    dropped = [k for k in external if k.kind in (Kind.ABANDONED, Kind.NEVER_USED)]
    assert 0.45 < len(dropped) / len(external) < 0.6


def test_a_key_is_used_as_its_kind_says() -> None:
    keys = population(1_000, UNTIL).keys
    days = [UNTIL + timedelta(days=n) for n in range(1, 121)]
    used = {key.value: [day for day in days if key.uses_on(day)] for key in keys}
    of = {kind: [used[key.value] for key in keys if key.kind is kind] for kind in Kind}
    assert not any(of[Kind.NEVER_USED] + of[Kind.ORPHAN])
    assert {len(days_used) for days_used in of[Kind.WEEKLY]} <= {17, 18}
    assert {len(days_used) for days_used in of[Kind.MONTHLY]} <= {3, 4}
    assert {len(days_used) for days_used in of[Kind.BUSY]} == {120}
    for days_used in of[Kind.RETURNING]:
        gaps = [(b - a).days for a, b in pairwise(days_used)]
        assert max(gaps) > 30


def test_a_run_of_days_says_what_single_days_say() -> None:
    first = UNTIL - timedelta(days=59)
    for key in population(200, UNTIL).keys:
        run = key.uses_from(first, 60)
        days = [key.uses_on(first + timedelta(days=n)) for n in range(60)]
        assert run + [0] * (60 - len(run)) == days


def test_9_300_keys_with_120_days_are_made_in_one_go_and_laid_down_by_one_request(
    sandbox: Sandbox,
) -> None:
    api_id = sandbox.rest_api([tier.stage for tier in TIERS])
    plans = {t.name: sandbox.usage_plan(t.name, [(api_id, t.stage)], t.quota) for t in TIERS}
    rows = list(population(9_300, UNTIL).rows(plans))
    calls = calls_of(lambda: list(population(9_300, UNTIL).rows(plans)))
    fewer = calls_of(lambda: list(population(930, UNTIL).rows(plans)))
    ids = sandbox.lay_down_rows(rows)
    assert calls < 1.2 * 10 * fewer
    assert len(set(ids)) == 9_300
