"""Sums of daily usage files: what is not known is no zero, and who will hit a quota."""

from datetime import date
from typing import Any

import pytest

from keyjanitor.domain.model.policy import Quota
from keyjanitor.domain.model.usage_plan import UsagePlan
from keyjanitor.domain.usage.summary import NearQuota, Use, near_quota, period
from tests.builders import DAY, KEY_ID, PLAN_ID, TODAY

DAYS = [TODAY - DAY * back for back in range(30, 0, -1)]


def a_row(
    used: int | None = 0,
    *,
    key_id: str | None = KEY_ID,
    plan_id: str = PLAN_ID,
    remaining: int | None = None,
) -> dict[str, Any]:
    return {"plan_id": plan_id, "key_id": key_id, "used": used, "remaining": remaining}


def the_use(rows: dict[date, list[dict[str, Any]]]) -> Use:
    use = Use(DAYS)
    for day in DAYS:
        use.add(day, rows.get(day, []))
    return use


def a_plan(limit: int = 1000, name: str = "MONTH", offset: int = 0) -> UsagePlan:
    return UsagePlan(PLAN_ID, "external", quota=Quota(limit, name), offset=offset)


def spending(a_day: int, *, limit: int = 1000, days: int = 10) -> Use:
    """A key that used so much of its monthly quota on each of the last days."""
    rows: dict[date, list[dict[str, Any]]] = {}
    for back in range(days, 0, -1):
        left = max(0, limit - a_day * (days - back + 1))
        rows[TODAY - DAY * back] = [a_row(a_day, remaining=left)]
    return the_use(rows)


def test_a_day_without_a_file_is_missing_and_a_zero_is_a_zero() -> None:
    use = the_use({TODAY - DAY: [a_row(0)], TODAY - DAY * 3: [a_row(5), a_row(2, plan_id="other")]})
    assert use.missing == tuple(day for day in DAYS if (TODAY - day).days not in (1, 3))
    assert use.by_day([KEY_ID], frozenset({PLAN_ID}))[-3:] == [7, None, 0]
    assert use.requests(KEY_ID) == 7


def test_of_a_key_that_no_file_mentions_nothing_is_known() -> None:
    assert the_use({TODAY - DAY: [a_row(1)]}).requests("stranger") is None


def test_no_use_is_a_zero_only_if_every_day_is_known_in_every_plan() -> None:
    rows = {day: [a_row(0), a_row(0, plan_id="plan2")] for day in DAYS}
    assert the_use(rows).requests(KEY_ID) == 0
    assert the_use({**rows, DAYS[3]: []}).requests(KEY_ID) is None
    unread = {**rows, DAYS[3]: [a_row(0), a_row(None, plan_id="plan2")]}
    assert the_use(unread).requests(KEY_ID) is None
    assert the_use({**unread, DAYS[4]: [a_row(7)]}).requests(KEY_ID) == 7


def test_a_plan_that_was_not_read_leaves_a_gap_for_its_keys_alone() -> None:
    missing = [a_row(None, key_id=None), a_row(4, key_id="key2", plan_id="plan2")]
    use = the_use({TODAY - DAY * 2: [a_row(3)], TODAY - DAY: missing})
    assert use.by_day([KEY_ID], frozenset({PLAN_ID}))[-2:] == [3, None]
    assert use.by_day(["key2"], frozenset({"plan2"}))[-2:] == [0, 4]


def test_a_plan_of_whose_keys_nothing_is_known_is_missing_too() -> None:
    use = the_use({TODAY - DAY: [a_row(None), a_row(None, key_id="key2")]})
    assert use.by_day([KEY_ID], frozenset({PLAN_ID}))[-1] is None
    assert use.missing == tuple(DAYS[:-1])


def test_what_nobody_knows_of_one_key_is_not_added_up() -> None:
    use = the_use({TODAY - DAY: [a_row(None), a_row(2, key_id="key2")]})
    assert use.requests(KEY_ID) is None
    assert use.by_day([KEY_ID, "key2"], frozenset({PLAN_ID}))[-1] == 2


def test_who_spends_too_fast_hits_the_quota_on_the_day_that_it_takes() -> None:
    # TODAY is the 21st: 600 of 1,000 are spent, 60 a day are used, six days are left.
    assert near_quota(spending(60), [a_plan()], TODAY) == [
        NearQuota(KEY_ID, a_plan(), 600, 400, TODAY + DAY * 6, date(2026, 12, 1))
    ]


def test_who_has_enough_until_the_period_ends_is_not_told_of() -> None:
    assert near_quota(spending(30), [a_plan()], TODAY) == []


def test_who_has_nothing_left_has_hit_it_already() -> None:
    (near,) = near_quota(spending(100), [a_plan()], TODAY)
    assert (near.remaining, near.used, near.runs_out_on) == (0, 1000, TODAY - DAY)


def test_a_new_period_begins_with_the_whole_quota() -> None:
    first = date(2026, 12, 1)
    rows = {first - DAY: [a_row(500, remaining=0)]}
    use = Use([first - DAY])
    use.add(first - DAY, rows[first - DAY])
    (near,) = near_quota(use, [a_plan()], first)
    assert (near.used, near.remaining, near.runs_out_on) == (0, 1000, first + DAY * 2)


def test_a_daily_quota_that_was_used_up_yesterday_will_be_so_again() -> None:
    use = the_use({TODAY - DAY: [a_row(50, remaining=0)]})
    plan = a_plan(50, "DAY")
    assert near_quota(use, [plan], TODAY) == [
        NearQuota(KEY_ID, plan, used=0, remaining=50, runs_out_on=TODAY, resets_on=TODAY + DAY)
    ]


@pytest.mark.parametrize("remaining", [None, 990])
def test_what_was_not_told_or_is_plenty_is_no_news(remaining: int | None) -> None:
    use = the_use({TODAY - DAY: [a_row(10, remaining=remaining)]})
    assert near_quota(use, [a_plan()], TODAY) == []


def test_old_numbers_foretell_nothing() -> None:
    use = the_use({TODAY - DAY * 9: [a_row(900, remaining=10)]})
    assert near_quota(use, [a_plan()], TODAY) == []


def test_a_plan_without_a_quota_has_none_to_hit() -> None:
    assert near_quota(spending(100), [UsagePlan(PLAN_ID, "external")], TODAY) == []


def test_the_first_to_run_out_comes_first() -> None:
    rows = {
        TODAY - DAY: [
            a_row(300, remaining=600),
            a_row(300, key_id="sooner", remaining=300),
            a_row(300, key_id="out", remaining=0),
        ]
    }
    near = near_quota(the_use(rows), [a_plan()], TODAY)
    assert [one.key_id for one in near] == ["out", "sooner", KEY_ID]


@pytest.mark.parametrize(
    ("name", "offset", "began", "ends"),
    [
        ("DAY", 0, date(2026, 11, 21), date(2026, 11, 22)),
        ("WEEK", 0, date(2026, 11, 15), date(2026, 11, 22)),  # a Sunday
        ("WEEK", 1, date(2026, 11, 16), date(2026, 11, 23)),
        ("WEEK", 6, date(2026, 11, 21), date(2026, 11, 28)),
        ("MONTH", 0, date(2026, 11, 1), date(2026, 12, 1)),
    ],
)
def test_a_period_begins_and_ends(name: str, offset: int, began: date, ends: date) -> None:
    assert period(name, offset, date(2026, 11, 21)) == (began, ends)


def test_a_months_end_may_be_a_years() -> None:
    assert period("MONTH", 0, date(2026, 12, 31)) == (date(2026, 12, 1), date(2027, 1, 1))
