"""Silence is proof only where something said it was silent: accounts whose readings lie, night by night."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from keyjanitor.domain.usage.plan_usage import UsagePage
from tests.builders import A_QUOTA, DAY, PLAN_ID, TODAY, a_policy, a_tier, unclaimed
from tests.unit.nights import Account


def daily(_: int) -> bool:
    return True


def an_account(**tier: Any) -> Account:
    account = Account(a_policy(a_tier(**tier), unclaimed(orphan_days=14)))
    account.plan()
    return account


def answers(account: Account, change: Any) -> None:
    """Has every page of GetUsage be as `change` makes it: of a plan, a page, and the day of the reading."""
    usage = account.gateway.usage

    def changed(usage_plan_id: str, start: date, end: date) -> Iterator[UsagePage]:
        for page in usage(usage_plan_id, start, end):
            yield replace(page, items=change(usage_plan_id, page, account.day))

    account.gateway.usage = changed  # type: ignore[method-assign]


def only(part: float) -> Any:
    """A page's first keys: so large a part of them."""
    return lambda items: dict(list(items.items())[: int(len(items) * part)])


@pytest.mark.slow
@pytest.mark.life("K-409")
@pytest.mark.parametrize("plans", [(PLAN_ID,), (PLAN_ID, "big")])
@pytest.mark.sampled
def test_usage_that_is_answered_with_nothing_for_months_moves_no_key_that_is_used(
    plans: tuple[str, ...],
) -> None:
    account = an_account()
    account.plan("big", "big", stages=("api2:prod",))
    for index in range(8):
        account.key(f"live{index}", PLAN_ID, age=300, used=daily)
        account.key(f"big{index}", "big", age=300, used=daily)
    answers(account, lambda plan, page, day: {} if day >= 5 and plan in plans else page.items)
    account.nights(130)
    assert all(key.enabled for key in account.gateway.living.values())
    assert not account.gateway.deleted
    evidence = account.files.evidences[account.today - DAY]
    assert {one.usage_plan_id for one in evidence.plans.values() if one.unread} == set(plans)


@pytest.mark.life("K-409")
def test_one_night_of_empty_usage_disables_no_key_that_was_used_the_day_before() -> None:
    account = an_account()
    account.key("k0", PLAN_ID, age=300, last_used=60)
    answers(account, lambda _, page, day: {} if day == 14 else page.items)
    account.nights(13)
    account.read()
    account.use("k0")
    account.nights(3)
    assert account.steps("k0") == [(0, "warn")]
    assert [word for day, word in account.seen["k0"] if day == 14] == ["unknown"]
    assert account.word("k0") == "keep"


@pytest.mark.life("K-409")
@pytest.mark.parametrize("missed", [0, 1, 4])
@pytest.mark.parametrize("staying", [1, 3])
def test_the_night_on_which_a_busy_key_leaves_a_plan_proves_no_silence_of_those_that_stay(
    staying: int, missed: int
) -> None:
    account = an_account()
    account.plan("other", "other", stages=("api2:prod",))
    account.key("busy", PLAN_ID, age=300)
    account.gateway.requests[PLAN_ID, "busy"] = {TODAY + DAY * day: 100 for day in range(-300, 30)}
    for index in range(staying):
        account.key(f"live{index}", PLAN_ID, age=300, used=daily)
    account.key("idle", PLAN_ID, age=300, last_used=60)
    empty = 14 + missed
    answers(account, lambda plan, page, day: {} if day == empty and plan == PLAN_ID else page.items)
    account.nights(14)
    for _ in range(missed):
        account.live()
    account.leave("busy", PLAN_ID)
    account.join("busy", "other")
    account.nights(1)
    evidence = account.files.evidences[account.today - DAY]
    assert evidence.plans[PLAN_ID].unread is not None
    assert [word for day, word in account.seen["idle"] if day == empty] == ["unknown"]


@pytest.mark.parametrize("missed", [0, 1, 10])
def test_a_plan_whose_busy_key_left_and_whose_other_keys_go_on_as_before_is_read(
    missed: int,
) -> None:
    account = an_account()
    account.plan("other", "other", stages=("api2:prod",))
    account.key("busy", PLAN_ID, age=300)
    account.gateway.requests[PLAN_ID, "busy"] = {
        TODAY + DAY * day: 100 if day > 0 else 0 for day in range(-300, 30)
    }
    for index in range(3):
        account.key(f"live{index}", PLAN_ID, age=300, used=daily)
    account.nights(14)
    for _ in range(missed):
        account.live()
    account.leave("busy", PLAN_ID)
    account.join("busy", "other")
    account.nights(1)
    evidence = account.files.evidences[account.today - DAY]
    assert evidence.plans[PLAN_ID].unread is None


@pytest.mark.life("K-409")
@pytest.mark.parametrize("nights", [2, 5, 20])
def test_nor_do_the_nights_after_it_on_which_the_plan_goes_on_telling_nothing(nights: int) -> None:
    account = an_account()
    account.plan("other", "other", stages=("api2:prod",))
    account.key("busy", PLAN_ID, age=300)
    account.gateway.requests[PLAN_ID, "busy"] = {TODAY + DAY * day: 100 for day in range(-300, 15)}
    account.key("live", PLAN_ID, age=300, used=daily)
    account.key("idle", PLAN_ID, age=300, last_used=60)
    answers(account, lambda plan, page, day: {} if day >= 14 and plan == PLAN_ID else page.items)
    account.nights(13 + nights)
    account.leave("busy", PLAN_ID)
    account.join("busy", "other")
    account.nights(30)
    for back in range(1, 30 + nights):
        evidence = account.files.evidences[account.today - DAY * back]
        assert evidence.plans[PLAN_ID].unread is not None


@pytest.mark.life("K-409")
@pytest.mark.parametrize("nights", [2, 5, 20])
def test_a_plan_that_a_busy_key_left_while_it_was_unread_is_read_again_on_the_first_true_night(
    nights: int,
) -> None:
    account = an_account()
    account.plan("other", "other", stages=("api2:prod",))
    account.key("busy", PLAN_ID, age=300)
    account.gateway.requests[PLAN_ID, "busy"] = {TODAY + DAY * day: 100 for day in range(-300, 15)}
    account.key("live", PLAN_ID, age=300, used=daily)
    untrue = range(14, 14 + nights)
    answers(
        account, lambda plan, page, day: {} if day in untrue and plan == PLAN_ID else page.items
    )
    account.nights(14 + nights - 1)
    account.leave("busy", PLAN_ID)
    del account.gateway.requests[PLAN_ID, "busy"]
    account.nights(1)
    assert account.files.evidences[account.today - DAY].plans[PLAN_ID].unread is not None
    account.nights(1)
    assert account.files.evidences[account.today - DAY].plans[PLAN_ID].unread is None


@pytest.mark.life("K-409")
def test_a_plan_that_tells_less_of_every_key_each_night_moves_no_key_that_is_used() -> None:
    account = an_account()
    for index in range(12):
        account.key(f"live{index:02}", PLAN_ID, age=300, used=daily)
    shrink = lambda _, page, day: only(1 - min(day, 100) / 100)(page.items)  # noqa: E731
    answers(account, shrink)
    account.nights(130)
    assert all(key.enabled for key in account.gateway.living.values())


@pytest.mark.life("K-507")
@pytest.mark.slow
def test_a_page_that_is_lost_for_months_moves_none_of_its_keys() -> None:
    account = an_account()
    for index in range(300):
        account.key(f"live{index:03}", PLAN_ID, age=300, used=daily)
    account.key("one", PLAN_ID, age=300, used=lambda day: day % 7 == 0)
    lost = lambda _, page, day: {  # noqa: E731
        key_id: told for key_id, told in page.items.items() if key_id != "one" or day < 5
    }
    answers(account, lost)
    account.nights(110)
    assert account.steps("one") == []
    assert account.word("one") == "unknown"


@pytest.mark.life("K-506")
@pytest.mark.parametrize("count", [1, 60, 90, 92])
@pytest.mark.parametrize("used", [0, 1])
@pytest.mark.sampled
def test_a_key_whose_days_do_not_fit_is_unknown_and_never_warned(count: int, used: int) -> None:
    account = an_account()
    account.key("k0", PLAN_ID, age=400, used=daily)
    pairs = account.gateway._pairs
    odd = [[0, 1000]] * (count - 1) + [[used, 1000]]
    account.gateway._pairs = lambda *of: odd if of[1] == "k0" else pairs(*of)  # type: ignore[method-assign]
    account.nights(45)
    assert account.steps("k0") == []
    assert account.word("busy-plan1") == "keep"


@pytest.mark.slow
@pytest.mark.life("K-308")
def test_a_key_used_while_its_plan_could_not_be_read_is_idle_from_the_first_day_after_the_gap() -> (
    None
):
    account = an_account(idle_days=180)
    account.key("k0", PLAN_ID, age=400, last_used=5)
    for index in range(8):
        account.key(f"f{index}", PLAN_ID, age=400, used=daily)
    for night in range(225):
        if night == 20:
            account.gateway.unreadable.add(PLAN_ID)
        if night == 30:
            account.use("k0")
        if night == 125:
            account.gateway.unreadable.discard(PLAN_ID)
        account.night()
    # Usage reaches back to night 35: 180 days later it is warned, 185 after it was used.
    assert account.steps("k0")[0] == (215, "warn")


@pytest.mark.life("K-401")
def test_a_key_that_is_in_its_plan_only_by_day_is_no_orphan() -> None:
    account = an_account()
    account.key("k0", age=200)
    usage = account.gateway.usage

    def named(usage_plan_id: str, start: date, end: date) -> Iterator[UsagePage]:
        yield from usage(usage_plan_id, start, end)
        yield UsagePage(start, end, {"k0": [[9, 100]] * ((end - start).days + 1)})

    account.gateway.usage = named  # type: ignore[method-assign]
    account.nights(60)
    assert account.steps("k0") == []


@pytest.mark.life("K-507")
def test_a_key_that_was_used_in_a_plan_by_day_that_it_is_not_in_at_night_goes_when_it_is_idle() -> (
    None
):
    account = an_account()
    account.plan("other", "other", stages=("api2:prod",))
    account.key("k0", PLAN_ID, age=300, used=lambda day: day < 2)
    usage = account.gateway.usage

    def named(usage_plan_id: str, start: date, end: date) -> Iterator[UsagePage]:
        yield from usage(usage_plan_id, start, end)
        if usage_plan_id == "other":
            days = ((end - start).days + 1) * [[0, 100]]
            by_day = TODAY + DAY * 5
            if start <= by_day <= end:
                days[(by_day - start).days] = [9, 91]
            yield UsagePage(start, end, {"k0": days})

    account.gateway.usage = named  # type: ignore[method-assign]
    account.nights(120)
    assert account.steps("k0") == [(65, "warn"), (79, "disable"), (93, "park")]


@pytest.mark.life("K-503")
def test_a_key_in_no_plan_is_unknown_on_a_night_on_which_a_plan_is_unread() -> None:
    account = an_account()
    account.key("k0", age=200)
    account.nights(13)
    account.gateway.unreadable.add(PLAN_ID)
    account.nights(20)
    assert account.steps("k0") == []
    account.gateway.unreadable.discard(PLAN_ID)
    account.nights(1)
    assert [word for _, word in account.steps("k0")] == ["warn"]


@pytest.mark.life("K-401")
def test_a_key_that_moved_or_whose_plan_is_gone_was_used_when_it_was_used() -> None:
    account = an_account()
    account.plan("old", "external-old", stages=("api2:prod",))
    account.key("k0", "old", PLAN_ID, age=300)
    account.use("k0", "old", days_before=3)
    account.night()
    del account.gateway.plans["old"]
    account.night()
    assert account.files.evidences[account.today - DAY].last_use("k0") == TODAY - DAY * 3


@pytest.mark.life("K-406")
@pytest.mark.parametrize("has_quota", [True, False])
def test_a_plan_that_is_metered_only_with_or_only_without_a_quota_moves_nobody(
    has_quota: bool,
) -> None:
    account = Account(a_policy())
    account.plan(has_quota=has_quota)
    account.key("k0", PLAN_ID, age=400, used=daily)
    last = TODAY + DAY * 9

    def metered(plan_id: str, page: UsagePage, _: int) -> Any:
        if account.gateway.plans[plan_id].has_quota == has_quota:
            return page.items
        return {
            key_id: [
                [used if page.start + DAY * index <= last else 0, left]
                for index, (used, left) in enumerate(pairs or ())
            ]
            for key_id, pairs in page.items.items()
        }

    answers(account, metered)
    account.nights(10)
    account.gateway.plans[PLAN_ID] = replace(
        account.gateway.plans[PLAN_ID], quota=None if has_quota else A_QUOTA
    )
    account.nights(100)
    assert account.steps("k0") == []
    assert account.word("k0") == "unknown"


@pytest.mark.life("K-511")
@pytest.mark.parametrize("days", [5, 12, 27, 60])
@pytest.mark.sampled
def test_in_an_outage_of_weeks_nobody_moves(days: int) -> None:
    account = an_account()
    account.key("k0", PLAN_ID, age=300, last_used=61)
    for index in range(4):
        account.key(f"live{index}", PLAN_ID, age=300, used=daily)
    account.nights(10)
    account.gateway.blackout = True
    account.nights(2)
    down = account.nights(days)
    assert all(not night.applied for night in down)
    account.gateway.blackout = False
    account.nights(2)
    assert account.night().applied.get("disable") == 1  # what was announced is done when it is over
