"""Who is told what, and how often: levels, marks, reminders, all-clears, and other problems."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from keyjanitor.domain.capacity import alert_text as capacity_alerts
from keyjanitor.domain.capacity.alerting import (
    AlertCause,
    LevelCleared,
    LevelReached,
    LimitNear,
    Problem,
    Reminder,
    Situation,
    due_alerts,
)
from keyjanitor.domain.capacity.forecast import Forecast, Growth
from keyjanitor.domain.model.alert import Draft
from keyjanitor.domain.model.policy import Alerts, Policy
from keyjanitor.domain.model.records import AlertState, Burst, CountRow
from tests.builders import DAY, PLACE, TODAY, a_policy, at

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


def lived(policy: Policy, *looks: Situation) -> list[list[AlertCause]]:
    """What each of several looks told, one after the other."""
    standing, told = AlertState(), []
    for one in looks:
        fresh, standing = due_alerts(one, standing, policy)
        told.append(fresh)
    return told


def test_what_somebody_wrote_shows_in_an_alert_and_links_to_nothing(policy: Policy) -> None:
    look = situation(
        9_000, owners=[("\u202ex\nhttps://evil.example", 7)], held="see www.evil.example\0"
    )
    told = capacity_alerts.write(LevelReached(0.9), look, policy).at(PLACE)
    lines = told.text.splitlines()
    assert "Most keys     \\u202ex https[:]//evil[.]example: 7" in lines
    assert "Last sweep    on hold: see www[.]evil[.]example\\x00" in lines


def test_growth_tells_each_level_once_and_in_order(policy: Policy) -> None:
    looks = [situation(keys, today=TODAY) for keys in range(7_900, 9_860, 10)]
    told = [one for fresh in lived(policy, *looks) for one in fresh]
    assert told == [LevelReached(0.80), LevelReached(0.90), LevelReached(0.95), LevelReached(0.98)]


def test_a_jump_over_two_levels_tells_the_higher_one(policy: Policy) -> None:
    assert lived(policy, situation(9_600)) == [[LevelReached(0.95)]]


def test_a_count_that_swings_by_less_than_the_margin_is_told_once(policy: Policy) -> None:
    swings = [8_000, 7_990, 8_010, 7_750, 8_200, 7_701, 8_000]
    told = lived(policy, *(situation(keys) for keys in swings))
    assert told == [[LevelReached(0.80)], *([[]] * 6)]


def test_all_clears_come_one_by_one_as_the_count_falls(policy: Policy) -> None:
    told = lived(policy, *(situation(keys) for keys in (9_850, 9_499, 9_199, 8_699, 7_699)))
    assert told == [
        [LevelReached(0.98)],
        [LevelCleared(level=0.98)],
        [LevelCleared(level=0.95)],
        [LevelCleared(level=0.90)],
        [LevelCleared(level=0.80)],
    ]


def test_a_mark_is_told_once_and_clears_a_fifth_above_itself(policy: Policy) -> None:
    days = [90, 60, 58, 61, 72, 73, 59, 30, 36, 37, 14]
    told = lived(policy, *(situation(days=one) for one in days))
    assert told == [
        [],
        [LimitNear(60)],
        [],
        [],
        [],
        [LevelCleared(mark=60)],
        [LimitNear(60)],
        [LimitNear(30)],
        [],
        [LevelCleared(mark=30)],
        [LimitNear(14)],
    ]


def test_a_limit_that_goes_out_of_sight_clears_its_mark(policy: Policy) -> None:
    gone = situation(forecast=Forecast(Growth(-2, -3, -1)))
    assert lived(policy, situation(days=20), gone) == [[LimitNear(30)], [LevelCleared(mark=30)]]


def test_what_nobody_knows_changes_no_mark(policy: Policy) -> None:
    assert lived(policy, situation(days=20), situation(), situation(days=20)) == [
        [LimitNear(30)],
        [],
        [],
    ]


def test_what_stands_is_told_again_after_a_week_and_at_the_top_every_day(policy: Policy) -> None:
    week = lived(policy, *(situation(8_100, today=TODAY + DAY * day) for day in range(15)))
    assert [day for day, fresh in enumerate(week) if fresh] == [0, 7, 14]
    assert week[7] == [Reminder()]
    top = lived(policy, *(situation(9_900, today=TODAY + DAY * day) for day in range(3)))
    assert top == [[LevelReached(0.98)], [Reminder()], [Reminder()]]


def test_within_a_day_nothing_is_told_again(policy: Policy) -> None:
    assert lived(policy, *([situation(9_900)] * 24)) == [[LevelReached(0.98)], *([[]] * 23)]


BURST = Burst("external", "new_keys_per_day", "AROAPORTAL", at(TODAY, 9), at(TODAY, 11), 300)


def test_a_burst_is_told_once_until_another_begins(policy: Policy) -> None:
    grown = replace(BURST, last=at(TODAY, 12), refused=900)
    another = replace(BURST, since=at(TODAY, 15), last=at(TODAY, 16))
    told = lived(
        policy,
        *(situation(bursts=bursts) for bursts in ([BURST], [grown], [], [another], [another])),
    )
    assert told == [
        [Problem("burst", (BURST.name,))],
        [],
        [],
        [Problem("burst", (another.name,))],
        [],
    ]


@pytest.mark.parametrize(
    ("what", "problem"),
    [
        ({"unread": {"plan1": "why", "plan0": "why"}}, Problem("unread_plan", ("plan0", "plan1"))),
        ({"silent": ["plan1"]}, Problem("silent_plans", ("plan1",))),
        (
            {"dead_letters": {"RequestDeadLetterQueue": 3, "RunDeadLetterQueue": 0}},
            Problem("dead_letters", ("RequestDeadLetterQueue",)),
        ),
        ({"unconfirmed": ["a@example.org"]}, Problem("subscription", ("a@example.org",))),
        ({"bursts": [BURST]}, Problem("burst", (BURST.name,))),
    ],
)
def test_a_problem_is_told_when_it_comes_when_it_grows_and_every_week(
    policy: Policy, what: dict[str, Any], problem: Problem
) -> None:
    days = [situation(today=TODAY + DAY * day, **what) for day in range(9)]
    told = lived(policy, *days)
    assert [day for day, fresh in enumerate(told) if fresh] == [0, 7]
    assert told[0] == [problem]
    # Gone, it may come again.
    assert lived(policy, days[0], situation(), days[0]) == [[problem], [], [problem]]


def test_another_unread_plan_is_told_at_once(policy: Policy) -> None:
    one, two = {"p1": "why"}, {"p1": "why", "p2": "why"}
    told = lived(policy, situation(unread=one), situation(unread=two), situation(unread=one))
    assert told == [[Problem("unread_plan", ("p1",))], [Problem("unread_plan", ("p1", "p2"))], []]


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
    expected = [Problem("fewer_keys", (str(TODAY),))] if is_told else []
    assert lived(policy, look) == [expected]


# --- what is said ------------------------------------------------------------------------------------

SLOTS = (
    "(UTC) at the soonest; a key that is warned today frees its slot in 28 days at the earliest."
)


def said(one: AlertCause, look: Situation, policy: Policy, *rows: AlertState) -> list[str]:
    """The lines of an alert's text."""
    return capacity_alerts.write(one, look, policy, *rows).at(PLACE).text.splitlines()


def last_told(policy: Policy, *looks: Situation) -> list[Draft]:
    """The alerts of the last of several looks, as they are written."""
    standing, drafts = AlertState(), []
    for look in looks:
        fresh, after = due_alerts(look, standing, policy)
        drafts = [capacity_alerts.write(one, look, policy, standing, after) for one in fresh]
        standing = after
    return drafts


def test_a_level_says_how_full_the_account_is_until_when_and_what_to_type(policy: Policy) -> None:
    assert said(LevelReached(0.9), situation(9_012, days=60), policy)[:3] == [
        "90% of the API keys of this account and Region are taken: 9,012 of 10,000 API keys.",
        f"Can wait until 2026-11-28 12:00 UTC: the account is full on 2027-01-20 {SLOTS}",
        "keyjanitor plan --stack keyjanitor --region us-east-1",
    ]


@pytest.mark.parametrize(
    ("days", "until"),
    [
        (36, "2026-11-28"),
        (35, "2026-11-28"),
        (34, "2026-11-27"),
        (29, "2026-11-22"),
        (5, "2026-11-22"),
    ],
)
def test_an_alert_can_wait_as_long_as_keys_warned_then_free_their_slots_in_time(
    policy: Policy, days: int, until: str
) -> None:
    [_, wait, *_] = said(LimitNear(60), situation(9_000, days=days), policy)
    assert wait.startswith(f"Can wait until {until} 12:00 UTC: ")


def test_where_no_date_is_known_an_alert_can_wait_for_a_week(policy: Policy) -> None:
    [_, wait, *_] = said(LevelReached(0.8), situation(8_000), policy)
    assert wait.startswith("Can wait until 2026-11-28 12:00 UTC: no date is known")


@pytest.mark.parametrize(
    ("keys", "days", "severity"),
    [
        (9_799, None, "warning"),
        (9_800, None, "critical"),
        (9_500, 4, "warning"),
        (9_500, 3, "critical"),
        (9_500, 49, "warning"),
    ],
)
def test_what_is_critical_cannot_wait_and_nothing_else_is(
    policy: Policy, keys: int, days: int | None, severity: str
) -> None:
    now = datetime(2026, 11, 21, 3, 40, tzinfo=UTC)
    for one in (LevelReached(0.95), LimitNear(14), Reminder()):
        draft = capacity_alerts.write(one, situation(keys, days=days, at=now), policy)
        assert (draft.severity, draft.wait.at_once) == (severity, severity == "critical")
        if draft.wait.at_once:
            assert draft.wait.line.startswith("Cannot wait: act now (2026-11-21 03:40 UTC). ")


def test_a_clear_says_which_level_and_mark_are_still_reached(policy: Policy) -> None:
    """The demo's last mail: 94.7 % of the limit, 49 days away, and only the mark of 30 was left."""
    [clear] = last_told(policy, situation(9_500, days=30), situation(9_474, days=49))
    told = clear.at(PLACE)
    still = "95% level (off below 92%), 60-day mark (off above 72 days)"
    assert told.text.splitlines()[:3] == [
        f"Better: the 30-day mark is off (9,474 of 10,000 API keys). Still on: {still}.",
        f"Can wait until 2026-11-28 12:00 UTC: the account is full on 2027-01-09 {SLOTS}",
        "keyjanitor status --stack keyjanitor --region us-east-1",
    ]
    assert told.subject.startswith("keyjanitor: better, 30-day mark off; still 95%, 60 days (")
    assert "Nothing is to be done" not in told.text
    assert (told.severity, told.form["still_level"], told.form["still_mark"]) == ("info", 0.95, 60)


def test_nothing_is_to_be_done_is_said_only_when_no_level_and_no_mark_is_left(
    policy: Policy,
) -> None:
    [clear] = last_told(policy, situation(8_000), situation(7_000))
    told = clear.at(PLACE)
    assert told.text.splitlines()[:2] == [
        "Better: the 80% level is off (7,000 of 10,000 API keys).",
        "Nothing is to be done: no level and no mark is on any more.",
    ]
    assert (told.form["wait_until"], told.form["still_level"], told.form["still_mark"]) == (
        None,
        None,
        None,
    )


def test_a_reminder_says_what_changed_since_the_last_alert(policy: Policy) -> None:
    week = DAY * 7
    [reminder] = last_told(policy, situation(9_300), situation(9_407, today=TODAY + week))
    told = reminder.at(PLACE)
    assert told.text.splitlines()[0] == (
        "Reminder: still on: 90% level (off below 87%); 9,407 of 10,000 API keys, +107 since the last"
        " alert on 2026-11-21."
    )
    assert told.form["last_alert"] == {"date": "2026-11-21", "keys": 9_300}


def test_a_reminder_after_an_alert_of_an_earlier_release_says_what_is_known(policy: Policy) -> None:
    before = AlertState(level=0.9, alerted_on=TODAY - DAY * 7)
    [first, *_] = said(Reminder(), situation(9_407), policy, before, before)
    assert first == "Reminder: still on: 90% level (off below 87%); 9,407 of 10,000 API keys."


def test_keys_that_are_gone_cannot_wait_and_the_command_stops_the_sweeps(policy: Policy) -> None:
    now = datetime(2026, 11, 21, 3, 40, tzinfo=UTC)
    look = situation(9_000, yesterday=CountRow(TODAY - DAY, 9_400), at=now)
    lines = said(Problem("fewer_keys", ("2026-11-21",)), look, policy)
    assert lines[1].startswith(
        "Cannot wait: act now (2026-11-21 03:40 UTC). Whoever used these keys"
    )
    assert [lines[0], lines[2]] == [
        "400 API keys are gone, and no sweep and no revocation took them.",
        "keyjanitor hold 'keys are gone' --stack keyjanitor --region us-east-1",
    ]


def test_dead_letters_name_their_queues_and_how_to_look_at_a_message(policy: Policy) -> None:
    look = situation(dead_letters={"RequestDeadLetterQueue": 2, "RunDeadLetterQueue": 0})
    lines = said(Problem("dead_letters", ("RequestDeadLetterQueue",)), look, policy)
    assert (
        lines[0]
        == "2 dead letters: messages that failed for good and that no function tries again."
    )
    assert "  RequestDeadLetterQueue: 2" in lines
    assert any("--logical-resource-id RequestDeadLetterQueue" in line for line in lines)
    assert any("aws sqs receive-message" in line for line in lines)


def test_an_alert_about_a_subscription_has_the_topic_filled_in(policy: Policy) -> None:
    lines = said(Problem("subscription", ("you@example.org",)), situation(), policy)
    assert "  you@example.org" in lines
    assert any(f"--topic-arn {PLACE.topic_arn} " in line for line in lines)


def test_a_burst_can_wait_until_the_budgets_of_the_day_begin_again(policy: Policy) -> None:
    burst = Burst("external", "new_keys_per_day", "AROAX", at(TODAY, 9), at(TODAY, 11), 42_800)
    lines = said(Problem("burst", (burst.name,)), situation(bursts=[burst]), policy)
    assert (
        lines[1] == "Can wait until 2026-11-22 00:00 UTC: then the budgets of the day begin again."
    )
    assert any("AROAX: 42,800 refused in tier external (new_keys_per_day)" in one for one in lines)
