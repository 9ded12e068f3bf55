"""Who is told what, and how often: levels, marks, reminders, all-clears, and other trouble."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from keyjanitor.domain.capacity import alert_text as capacity_alerts
from keyjanitor.domain.capacity.alerting import (
    Cleared,
    Crossed,
    Near,
    News,
    Reminder,
    Situation,
    Trouble,
    news,
)
from keyjanitor.domain.capacity.forecast import Forecast, Growth
from keyjanitor.domain.model.policy import Alerts, Policy
from keyjanitor.domain.model.records import AlertRow, Burst, CountRow
from tests.builders import DAY, TODAY, a_policy, at

UNKNOWN = Forecast(None)
GROWS = Growth(20, 15, 25)


@pytest.fixture
def policy() -> Policy:
    alerts = Alerts(levels=(0.80, 0.90, 0.95, 0.98), clear_margin=0.03, days_to_limit=(60, 30, 14))
    return replace(a_policy(), alerts=alerts)


def situation(
    keys: int = 5_000, days: int | None = None, today: date = TODAY, **more: Any
) -> Situation:
    """An account with so many keys, full in so many days (None: nobody knows)."""
    seen = UNKNOWN if days is None else Forecast(GROWS, days, days, days)
    return Situation(
        **{
            "today": today,
            "count": CountRow(today, keys),
            "yesterday": None,
            "forecast": seen,
            **more,
        }
    )


def lived(policy: Policy, *looks: Situation) -> list[list[News]]:
    """What each of several looks told, one after the other."""
    standing, told = AlertRow(), []
    for one in looks:
        fresh, standing = news(one, standing, policy)
        told.append(fresh)
    return told


def test_what_somebody_wrote_shows_in_an_alert_and_links_to_nothing(policy: Policy) -> None:
    told = capacity_alerts.write(
        Crossed(0.9),
        situation(
            9_000, owners=[("\u202ex\nhttps://evil.example", 7)], held="see www.evil.example\0"
        ),
        policy,
    )
    lines = told.text.splitlines()
    assert "Most keys     \\u202ex https[:]//evil[.]example: 7" in lines
    assert "Last sweep    on hold: see www[.]evil[.]example\\x00" in lines


def test_growth_tells_each_level_once_and_in_order(policy: Policy) -> None:
    looks = [situation(keys, today=TODAY) for keys in range(7_900, 9_860, 10)]
    told = [one for fresh in lived(policy, *looks) for one in fresh]
    assert told == [Crossed(0.80), Crossed(0.90), Crossed(0.95), Crossed(0.98)]


def test_a_jump_over_two_levels_tells_the_higher_one(policy: Policy) -> None:
    assert lived(policy, situation(9_600)) == [[Crossed(0.95)]]


def test_a_count_that_swings_by_less_than_the_margin_is_told_once(policy: Policy) -> None:
    swings = [8_000, 7_990, 8_010, 7_750, 8_200, 7_701, 8_000]
    told = lived(policy, *(situation(keys) for keys in swings))
    assert told == [[Crossed(0.80)], *([[]] * 6)]


def test_all_clears_come_one_by_one_as_the_count_falls(policy: Policy) -> None:
    told = lived(policy, *(situation(keys) for keys in (9_850, 9_499, 9_199, 8_699, 7_699)))
    assert told == [
        [Crossed(0.98)],
        [Cleared(level=0.98)],
        [Cleared(level=0.95)],
        [Cleared(level=0.90)],
        [Cleared(level=0.80)],
    ]


def test_a_mark_is_told_once_and_clears_a_fifth_above_itself(policy: Policy) -> None:
    days = [90, 60, 58, 61, 72, 73, 59, 30, 36, 37, 14]
    told = lived(policy, *(situation(days=one) for one in days))
    assert told == [
        [],
        [Near(60)],
        [],
        [],
        [],
        [Cleared(mark=60)],
        [Near(60)],
        [Near(30)],
        [],
        [Cleared(mark=30)],
        [Near(14)],
    ]


def test_a_limit_that_goes_out_of_sight_clears_its_mark(policy: Policy) -> None:
    gone = situation(forecast=Forecast(Growth(-2, -3, -1)))
    assert lived(policy, situation(days=20), gone) == [[Near(30)], [Cleared(mark=30)]]


def test_what_nobody_knows_changes_no_mark(policy: Policy) -> None:
    assert lived(policy, situation(days=20), situation(), situation(days=20)) == [
        [Near(30)],
        [],
        [],
    ]


def test_what_stands_is_told_again_after_a_week_and_at_the_top_every_day(policy: Policy) -> None:
    week = lived(policy, *(situation(8_100, today=TODAY + DAY * day) for day in range(15)))
    assert [day for day, fresh in enumerate(week) if fresh] == [0, 7, 14]
    assert week[7] == [Reminder()]
    top = lived(policy, *(situation(9_900, today=TODAY + DAY * day) for day in range(3)))
    assert top == [[Crossed(0.98)], [Reminder()], [Reminder()]]


def test_within_a_day_nothing_is_told_again(policy: Policy) -> None:
    assert lived(policy, *([situation(9_900)] * 24)) == [[Crossed(0.98)], *([[]] * 23)]


BURST = Burst("external", "new_keys_per_day", "AROAPORTAL", at(TODAY, 9), at(TODAY, 11), 300)


def test_a_burst_is_told_once_until_another_begins(policy: Policy) -> None:
    grown = replace(BURST, last=at(TODAY, 12), refused=900)
    another = replace(BURST, since=at(TODAY, 15), last=at(TODAY, 16))
    told = lived(
        policy,
        *(situation(bursts=bursts) for bursts in ([BURST], [grown], [], [another], [another])),
    )
    assert told == [
        [Trouble("burst", (BURST.name,))],
        [],
        [],
        [Trouble("burst", (another.name,))],
        [],
    ]


@pytest.mark.parametrize(
    ("what", "trouble"),
    [
        ({"unread": {"plan1": "why", "plan0": "why"}}, Trouble("unread_plan", ("plan0", "plan1"))),
        ({"silent": ["plan1"]}, Trouble("silent_plans", ("plan1",))),
        (
            {"letters": {"RequestDeadLetterQueue": 3, "RunDeadLetterQueue": 0}},
            Trouble("dead_letters", ("RequestDeadLetterQueue",)),
        ),
        ({"unconfirmed": ["a@example.org"]}, Trouble("subscription", ("a@example.org",))),
        ({"bursts": [BURST]}, Trouble("burst", (BURST.name,))),
    ],
)
def test_trouble_is_told_when_it_comes_when_it_grows_and_every_week(
    policy: Policy, what: dict[str, Any], trouble: Trouble
) -> None:
    days = [situation(today=TODAY + DAY * day, **what) for day in range(9)]
    told = lived(policy, *days)
    assert [day for day, fresh in enumerate(told) if fresh] == [0, 7]
    assert told[0] == [trouble]
    # Gone, it may come again.
    assert lived(policy, days[0], situation(), days[0]) == [[trouble], [], [trouble]]


def test_another_unread_plan_is_told_at_once(policy: Policy) -> None:
    one, two = {"p1": "why"}, {"p1": "why", "p2": "why"}
    told = lived(policy, situation(unread=one), situation(unread=two), situation(unread=one))
    assert told == [[Trouble("unread_plan", ("p1",))], [Trouble("unread_plan", ("p1", "p2"))], []]


@pytest.mark.parametrize(
    ("before", "keys", "freed", "is_told"),
    [
        (5_000, 4_900, 0, True),
        (5_000, 4_950, 0, False),
        (5_000, 4_500, 480, False),
        (100, 79, 0, True),
    ],
)
def test_keys_that_no_sweep_took_are_told_of(
    policy: Policy, before: int, keys: int, freed: int, is_told: bool
) -> None:
    look = situation(
        count=CountRow(TODAY, keys),
        yesterday=CountRow(TODAY - DAY, before),
        freed_since=freed,
    )
    expected = [Trouble("fewer_keys", (str(TODAY),))] if is_told else []
    assert lived(policy, look) == [expected]
