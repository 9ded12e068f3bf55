"""When the account is full: made series, and random worlds of which the future is known."""

import random
from collections.abc import Callable
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.capacity.forecast import FARTHEST, FEWEST, Forecast, forecast
from tests.builders import DAY, TODAY

QUOTA = 10_000


def counts(steps: list[int], *, start: int = 7_000) -> dict[date, int]:
    """One count a day up to today: where it began, and what each day brought."""
    first = TODAY - DAY * len(steps)
    keys = [start + sum(steps[:index]) for index in range(len(steps) + 1)]
    return {first + DAY * index: number for index, number in enumerate(keys)}


def seen(steps: list[int], **more: int) -> Forecast:
    return forecast(counts(steps, **more), QUOTA)


@pytest.mark.parametrize("days", range(FEWEST))
def test_under_seven_days_nothing_is_known(days: int) -> None:
    assert seen([50] * days) == Forecast(None)


def test_no_count_at_all_is_nothing_known() -> None:
    assert forecast({}, QUOTA) == Forecast(None)


def test_steady_growth_is_forecast_to_the_day() -> None:
    found = seen([20] * 28, start=9_000 - 28 * 20)
    assert (found.soonest, found.days, found.latest) == (50, 50, 50)
    assert found.growth is not None
    assert (found.growth.a_day, found.growth.low, found.growth.high) == (20, 20, 20)


@pytest.mark.parametrize("steps", [[0] * 28, [-5] * 28, [10, -10] * 14, [30, -40] * 14])
def test_a_flat_or_falling_trend_is_not_in_sight(steps: list[int]) -> None:
    found = seen(steps)
    assert found.growth is not None
    assert not found.in_sight


def test_what_is_years_away_is_not_in_sight() -> None:
    assert not seen([1] * 28, start=1_000).in_sight


def test_an_account_that_is_full_is_full_now() -> None:
    assert seen([20] * 28, start=QUOTA - 28 * 20).days == 1


def test_one_days_bulk_import_is_no_trend() -> None:
    usual = [18, 22, 20, 19, 21, 20, 20] * 4
    bulk = [*usual[:20], 900, *usual[21:]]
    without, with_it = seen(usual, start=6_000), seen(bulk, start=6_000 - 880)
    assert with_it.growth is not None
    assert without.growth is not None
    assert with_it.growth.a_day == pytest.approx(without.growth.a_day, rel=0.02)
    assert with_it.days == pytest.approx(without.days, rel=0.05)


def test_nights_that_free_many_keys_every_week_are_a_part_of_the_trend() -> None:
    week = [40, 40, 40, 40, 40, 40, -200]
    found = seen(week * 4)
    assert found.growth is not None
    assert found.growth.a_day == pytest.approx(40 / 7, abs=0.5)


def test_days_that_were_not_counted_share_what_grew_in_between() -> None:
    whole = counts([20] * 28)
    gaps = {
        day: keys
        for index, (day, keys) in enumerate(whole.items())
        if index % 3 == 0 or index == 28
    }
    assert forecast(gaps, QUOTA).days == forecast(whole, QUOTA).days


def test_what_lies_more_than_four_weeks_back_counts_no_more() -> None:
    assert seen([500] * 10 + [20] * 28, start=1_000).growth == seen([20] * 28).growth


@pytest.mark.slow
@given(st.lists(st.integers(-200, 200), min_size=FEWEST, max_size=60), st.integers(0, 9_999))
def test_the_range_is_a_range_and_the_same_counts_say_the_same(
    steps: list[int], start: int
) -> None:
    found = seen(steps, start=start)
    assert found == seen(steps, start=start)
    assert found.growth is not None
    assert found.growth.low <= found.growth.a_day <= found.growth.high
    if found.in_sight:
        assert found.days is not None
        assert found.soonest is not None
        assert 1 <= found.soonest <= found.days <= (found.latest or FARTHEST)


def a_world(
    seed: int, drift: float, noise: float, *, weekly: bool, start: int
) -> tuple[dict[date, int], int]:
    """Four weeks of counts of an account that grows by chance, and in how many days it is full."""
    chance = random.Random(seed)
    week = [chance.uniform(0.3, 1.7) if weekly else 1.0 for _ in range(7)]
    keys, day, known = start, TODAY - timedelta(days=28), {}
    for index in range(3_000):
        keys += round(chance.gauss(drift * week[index % 7] * 7 / sum(week), noise))
        day += DAY
        if index < 28:
            known[day] = keys
        elif keys >= QUOTA:
            return known, index - 27
    raise AssertionError("this world never fills")


WORLDS: list[Callable[[int], tuple[dict[date, int], int]]] = [
    lambda seed: a_world(seed, 20, 5, weekly=False, start=7_000),
    lambda seed: a_world(seed, 20, 20, weekly=True, start=7_000),
    lambda seed: a_world(seed, 10, 15, weekly=True, start=8_500),
    lambda seed: a_world(seed, 40, 40, weekly=True, start=5_000),
]


@pytest.mark.parametrize("world", WORLDS, ids=["calm", "weekly", "near", "wild"])
@pytest.mark.slow
def test_the_range_holds_the_real_day_in_at_least_75_of_100_worlds(
    world: Callable[[int], tuple[dict[date, int], int]],
) -> None:
    held = 0
    for seed in range(100):
        known, real = world(seed)
        found = forecast(known, QUOTA)
        soonest = found.soonest if found.soonest is not None else FARTHEST
        held += soonest <= real <= (found.latest or 10 * FARTHEST)
    assert held >= 75


def test_today_is_not_over_so_its_growth_is_not_a_days() -> None:
    whole = counts([10] * 20)
    today = max(whole) + DAY
    early = {**whole, today: whole[max(whole)] + 1}
    found = forecast(early, QUOTA, today)
    assert found.growth == forecast(whole, QUOTA).growth
    assert found.days == -(-(QUOTA - early[today]) // 10)
