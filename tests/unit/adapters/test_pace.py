"""A run never takes more than its share of the control plane, and less when it is told to slow down."""

from datetime import UTC, datetime
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.adapters.at_work import LOOK, NOTICED, AtWork
from keyjanitor.adapters.rate_limiter import SLOWEST, RateLimiter
from keyjanitor.errors import CallFailed

NOW = datetime(2026, 11, 21, 3, 15, tzinfo=UTC)


class Clock:
    """Time that passes only when somebody sleeps or something takes time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def a_pace(share: float = 3) -> tuple[RateLimiter, Clock]:
    clock = Clock()
    return RateLimiter(share, monotonic=clock.monotonic, sleep=clock.sleep), clock


def most_in_a_second(arrivals: list[float]) -> int:
    """The most calls that arrived within any one second."""
    arrivals = sorted(arrivals)
    return max(
        sum(start <= other < start + 1 for other in arrivals[index:])
        for index, start in enumerate(arrivals)
    )


def call(
    pace: RateLimiter, clock: Clock, calls: int, *, before: float = 0, takes: float = 0
) -> list[float]:
    """The moments at which so many calls were sent, each after and during some time."""
    sent = []
    for _ in range(calls):
        clock.now += before
        pace.wait()
        sent.append(clock.now)
        clock.now += takes
        pace.on_success()
    return sent


@pytest.mark.parametrize("share", [1, 2, 3, 5, 10, 300])
@pytest.mark.parametrize("takes", [0, 0.01, 0.2, 0.4])
def test_no_second_sees_more_than_the_share(share: int, takes: float) -> None:
    pace, clock = a_pace(share)
    assert most_in_a_second(call(pace, clock, 5 * share, takes=takes)) <= share


@pytest.mark.parametrize("share", [2, 3, 10])
def test_the_share_is_all_but_used_up_when_calls_take_no_time(share: int) -> None:
    pace, clock = a_pace(share)
    sent = call(pace, clock, 20 * share + 1)
    assert 20 <= sent[-1] - sent[0] < 20 * 1.1


def test_no_call_is_made_up_for_after_a_pause() -> None:
    pace, clock = a_pace(3)
    sent = call(pace, clock, 5)
    clock.now += 60
    sent += call(pace, clock, 5)
    assert most_in_a_second(sent) <= 3


@given(st.lists(st.floats(0, 0.7), min_size=5, max_size=40), st.sampled_from([2, 3, 5]))
def test_no_second_sees_more_than_the_share_whatever_calls_take(
    takes: list[float], share: int
) -> None:
    pace, clock = a_pace(share)
    sent = []
    for seconds in takes:
        pace.wait()
        sent.append(clock.now)
        clock.now += seconds
        pace.on_success()
    assert most_in_a_second(sent) <= share


@pytest.mark.parametrize("seed", range(20))
def test_no_second_sees_more_than_the_share_where_calls_arrive_a_little_early_or_late(
    seed: int,
) -> None:
    random = Random(seed)
    pace, clock = a_pace(3)
    arrivals = [sent + random.uniform(0, 0.019) for sent in call(pace, clock, 60, takes=0.02)]
    assert most_in_a_second(arrivals) <= 3


@pytest.mark.parametrize("seed", range(5))
def test_no_second_sees_more_than_the_share_wherever_calls_arrive_until_they_are_answered(
    seed: int,
) -> None:
    # The network now and then takes its time; AWS counts a call when it arrives there.
    random = Random(seed)
    pace, clock = a_pace(3)
    arrivals = []
    for _ in range(60):
        pace.wait()
        takes = random.choice([0.02, 0.02, 0.3])
        arrivals.append(clock.now + random.uniform(0, takes))
        clock.now += takes
        pace.on_success()
    assert most_in_a_second(arrivals) <= 3


def test_a_throttle_halves_the_pace_and_is_counted() -> None:
    pace, _ = a_pace(4)
    pace.on_throttle(None)
    assert (pace.rate, pace.throttled) == (2, 1)
    pace.on_throttle(None)
    assert (pace.rate, pace.throttled) == (1, 2)


def test_a_share_of_less_than_one_call_a_second_is_kept_too() -> None:
    pace, clock = a_pace(0.5)
    sent = call(pace, clock, 5, takes=1.5)
    assert min(later - (earlier + 1.5) for earlier, later in pairwise(sent)) >= 2


def test_right_after_a_throttle_calls_are_twice_as_far_apart() -> None:
    pace, clock = a_pace(4)
    pace.wait()
    pace.on_throttle(None)
    sent = []
    for _ in range(10):
        pace.wait()
        sent.append(clock.now)
    assert min(later - earlier for earlier, later in pairwise(sent)) >= 0.5


@pytest.mark.parametrize("share", [0.1, 0.2, 1, 300])
def test_a_throttle_never_makes_a_run_faster(share: float) -> None:
    pace, _ = a_pace(share)
    for _ in range(20):
        before = pace.rate
        pace.on_throttle(None)
        assert pace.rate <= before


def test_the_pace_has_a_slowest() -> None:
    pace, _ = a_pace(4)
    for _ in range(20):
        pace.on_throttle(None)
    assert pace.rate == SLOWEST


@pytest.mark.parametrize(("retry_after", "at_least"), [(7.0, 7.0), (0.001, 0.5), (None, 0.5)])
def test_after_a_throttle_there_is_a_pause_as_long_as_aws_says(
    retry_after: float | None, at_least: float
) -> None:
    pace, clock = a_pace(4)
    pace.wait()
    throttled_at = clock.now
    pace.on_throttle(retry_after)
    pace.wait()
    assert at_least <= clock.now - throttled_at < at_least + 0.2


def test_the_pace_recovers_while_all_goes_well_and_never_passes_the_share() -> None:
    pace, clock = a_pace(3)
    for _ in range(3):
        pace.on_throttle(None)
    rates = []
    for _ in range(300):
        pace.wait()
        pace.on_success()
        rates.append(pace.rate)
    assert rates == sorted(rates)
    assert rates[0] < 1
    assert rates[-1] == 3
    assert most_in_a_second(call(pace, clock, 30)) <= 3


def test_one_throttle_is_made_up_for_within_thirty_calls_and_not_at_once() -> None:
    pace, _ = a_pace(4)
    pace.on_throttle(None)
    pace.on_success()
    assert pace.rate < 4
    for _ in range(30):
        pace.on_success()
    assert pace.rate == 4


def test_a_pace_that_was_never_throttled_stays_at_its_share() -> None:
    pace, clock = a_pace(3)
    call(pace, clock, 100)
    assert pace.rate == 3


# --- one share for several runs -------------------------------------------------------------------


def test_a_run_takes_its_part_while_others_are_at_work_and_all_of_the_share_before_and_after() -> (
    None
):
    clock = Clock()
    beside = [1]
    pace = RateLimiter(3, among=lambda: beside[0], monotonic=clock.monotonic, sleep=clock.sleep)
    for runs, seconds in ((1, 0), (2, 2 / 3), (4, 10 / 7), (1, 1 / 3)):
        beside[0] = runs
        call(pace, clock, 1)
        sent = call(pace, clock, 12)
        apart = [later - earlier for earlier, later in pairwise(sent)]
        assert min(apart) >= seconds - 1e-9
        assert most_in_a_second(sent) <= max(1, 3 / runs)


@pytest.mark.parametrize(("whole", "runs"), [(3, 2), (3, 3), (3, 4), (2, 2), (2, 3)])
def test_ten_seconds_see_no_call_more_than_all_runs_have_together(whole: int, runs: int) -> None:
    clock = Clock()
    pace = RateLimiter(whole, among=lambda: runs, monotonic=clock.monotonic, sleep=clock.sleep)
    sent = call(pace, clock, 40)
    most = max(sum(start <= one < start + 10 for one in sent) for start in sent)
    assert most * runs <= 10 * whole


def test_a_run_that_was_told_to_slow_down_stays_below_its_part_and_recovers_to_it() -> None:
    clock = Clock()
    beside = [2]
    pace = RateLimiter(3, among=lambda: beside[0], monotonic=clock.monotonic, sleep=clock.sleep)
    call(pace, clock, 2)
    pace.on_throttle(None)
    assert pace.rate == 0.75
    beside[0] = 1
    pace.wait()
    assert pace.rate == 0.75
    call(pace, clock, 60)
    assert pace.rate == 3


class Leases:
    """Leases of runs, of which some are at work; None: they cannot be read."""

    def __init__(self, at_work: int | None) -> None:
        self.held_by = "run"
        self.runs = at_work
        self.looks = 0

    def at_work(self, _: datetime, /) -> int:
        self.looks += 1
        if self.runs is None:
            raise CallFailed("GetItem", "InternalServerError")
        return self.runs


def at_work(leases: Leases) -> tuple[AtWork, Clock]:
    clock = Clock()
    return AtWork(leases, lambda: NOW, monotonic=clock.monotonic, sleep=clock.sleep), clock


def test_a_run_alone_waits_for_no_other_and_notices_one_in_time() -> None:
    leases = Leases(1)
    among, clock = at_work(leases)
    assert (among(), clock.now) == (1, 1000.0)
    leases.runs = 2
    clock.now += LOOK - 0.1
    assert (among(), leases.looks) == (1, 1)
    clock.now += 0.1
    assert (among(), clock.now) == (2, 1000.0 + LOOK)
    assert LOOK < NOTICED


def test_a_run_that_begins_beside_others_waits_until_they_have_noticed() -> None:
    leases = Leases(3)
    among, clock = at_work(leases)
    assert (among(), clock.now) == (3, 1000.0 + NOTICED)
    assert (among(), clock.now) == (3, 1000.0 + NOTICED)
    leases.held_by = "the next run in this process"
    assert (among(), clock.now) == (3, 1000.0 + 2 * NOTICED)


def test_leases_that_are_gone_or_cannot_be_read_stop_no_call() -> None:
    leases = Leases(0)
    among, clock = at_work(leases)
    assert among() == 1
    leases.runs = 2
    clock.now += LOOK
    assert among() == 2
    leases.runs = None
    clock.now += LOOK
    assert among() == 2
