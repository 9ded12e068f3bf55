"""One alert of each kind, as the code writes it: the samples of docs/alerts.md."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from keyjanitor.domain.capacity.alert_text import write
from keyjanitor.domain.capacity.alerting import (
    AlertCause,
    LevelCleared,
    LevelReached,
    LimitNear,
    Problem,
    Reminder,
    Situation,
)
from keyjanitor.domain.capacity.forecast import Forecast, Growth
from keyjanitor.domain.expiry import alert_text as alerts
from keyjanitor.domain.expiry.safety_brake import Brake, Cause, CauseCount
from keyjanitor.domain.model.alert import Alert, Draft, chat
from keyjanitor.domain.model.keys import SweepAction
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.records import (
    AlertState,
    Burst,
    CountRow,
    PressureRow,
    PressureRuleRow,
)
from tests.builders import PLACE, TODAY, a_policy, a_tier, a_warned_row, at, days_ago, in_days
from tests.doc_tables import ALERT, alert_table

DAY = timedelta(days=1)
# Another release does not change what the page shows.
SAMPLE_PLACE = replace(PLACE, version="0.2.0")
BURST = Burst(
    "external", "new_keys_per_day", "AROAEXAMPLEPORTALROLE", at(TODAY, 9), at(TODAY, 11), 42_800
)
FULL = Situation(
    today=TODAY,
    at=datetime(2026, 11, 21, 3, 40, tzinfo=UTC),
    count=CountRow(TODAY, 9_012, plans=12, freed=3, tiers={"external": 9_012}),
    yesterday=CountRow(TODAY - DAY, 9_400),
    forecast=Forecast(Growth(27.4, 23.1, 31.7), 36, 31, 43),
    owners=[("user-8f1c", 70), ("user-22aa", 41)],
    growing={"external": 190},
    pressure_row=PressureRow(
        TODAY, None, (PressureRuleRow(0.95, 0.5, 1_130, {"external": 1_130}),)
    ),
    swept_on=TODAY,
    unread={"p1l2n3": "CallFailed: GetUsage answered InternalServerErrorException"},
    silent=["p7l8n9"],
    dead_letters={"RequestDeadLetterQueue": 2, "RunDeadLetterQueue": 0},
    unconfirmed=["you@example.org"],
    bursts=[BURST],
    policy_problems={"tiers.external.usage_plans[0]": "this account has no usage plan 'external'"},
)


def _looked_at(day: date, keys: int, forecast: Forecast, **more: object) -> Situation:
    """The account on another day, about which little else is known."""
    empty = replace(
        FULL, owners=[], growing={}, pressure_row=None, swept_on=None, forecast=forecast
    )
    count = CountRow(day, keys, tiers={"external": keys})
    return replace(empty, today=day, at=at(day, 3), count=count, **more)  # type: ignore[arg-type]


NEARER = _looked_at(in_days(23), 9_605, Forecast(Growth(28.9, 24.0, 33.8), 14, 12))
SLOWER = _looked_at(
    in_days(60), 9_474, Forecast(Growth(10.7, 6.5, 14.9), 49, 35, 80), swept_on=in_days(60)
)
EASED = _looked_at(in_days(80), 7_600, Forecast(Growth(-11.2, -15.9, -6.5)), swept_on=in_days(80))
A_WEEK_LATER = _looked_at(in_days(7), 9_119, Forecast(None), held="asking marketing first")


def _capacity(
    one: AlertCause,
    look: Situation,
    before: AlertState | None = None,
    after: AlertState | None = None,
) -> Draft:
    return write(one, look, _policy(), before, after)


def _policy() -> Policy:
    return a_policy(a_tier())


def _brake() -> Draft:
    brake = Brake(
        new=1_200,
        worst=1_190,
        on=TODAY,
        allowance=500,
        usual=12,
        since=TODAY - DAY,
        causes=(
            CauseCount(Cause.LIMIT_LOWERED, 1_180, (("p1l2n3", 900), ("p4l5n6", 280))),
            CauseCount(Cause.USE_STOPPED, 20, (("p1l2n3", 20),)),
        ),
    )
    due = {
        SweepAction.PARK: 80,
        SweepAction.PURGE: 0,
        SweepAction.DISABLE: 280,
        SweepAction.WARN: 1_200,
    }
    longest = ["a1b2c3d4e5  external: idle for 300 days, last used on 2026-01-25"]
    names = {"p1l2n3": "external", "p4l5n6": "partners"}
    return alerts.brake(TODAY, brake, due, "0123456789abcdef", longest, names)


def _digest() -> Draft:
    used = "idle for 60 days, last used on 2026-09-22"
    never = "never used since 2026-11-07"
    return alerts.expiring(
        TODAY,
        [
            replace(
                a_warned_row("a1b2c3d4e5", owner="user-8f1c", reason=used),
                name="Weather app, production",
                disable_on=in_days(14),
            ),
            replace(
                a_warned_row("f6g7h8i9j0", reason=never), name="old-import", disable_on=in_days(14)
            ),
        ],
        _policy(),
    )


def drafts() -> dict[str, Draft]:
    """The samples, by their names on the page."""
    problems = {
        "unread_plan": ("p1l2n3",),
        "silent_plans": ("p7l8n9",),
        "fewer_keys": (str(TODAY),),
        "dead_letters": ("RequestDeadLetterQueue",),
        "subscription": ("you@example.org",),
        "burst": (BURST.name,),
        "policy_problem": ("tiers.external.usage_plans[0]",),
    }
    last = AlertState(level=0.9, alerted_on=days_ago(0), alerted_keys=9_012)
    return {
        "level": _capacity(LevelReached(0.9), FULL, AlertState(), AlertState(level=0.9)),
        "days_to_limit": _capacity(
            LimitNear(14), NEARER, replace(last, mark=30), AlertState(level=0.95, mark=14)
        ),
        "clear": _capacity(
            LevelCleared(mark=30), SLOWER, replace(last, mark=30), AlertState(level=0.95, mark=60)
        ),
        "clear_of_all": _capacity(
            LevelCleared(level=0.8), EASED, replace(last, level=0.8), AlertState()
        ),
        "reminder": _capacity(Reminder(), A_WEEK_LATER, last, last),
        **{kind: _capacity(Problem(kind, about), FULL) for kind, about in problems.items()},
        "brake": _brake(),
        "expiring": _digest(),
    }


def samples() -> dict[str, Alert]:
    """The samples as one stack publishes them."""
    return {name: draft.at(SAMPLE_PLACE) for name, draft in drafts().items()}


def _shown(alert: Alert) -> str:
    """A sample: the mail as it comes, then its form for programs."""
    form = json.dumps(alert.form, indent=2, ensure_ascii=False)
    return f"```text\nSubject: {alert.subject}\n\n{alert.text}\n```\n\n```json\n{form}\n```"


def made() -> Iterator[tuple[str, str]]:
    """The parts of docs/alerts.md that are made, by the name in their mark."""
    for name, alert in samples().items():
        yield f"alert_{name}", _shown(alert)
    for definition in ALERT["definitions"]:
        yield f"fields_{definition}", alert_table(definition)
    said = json.dumps(chat(samples()["brake"]), indent=2)
    yield "chat", f"<!-- chat -->\n```json\n{said}\n```"
    letter = samples()["dead_letters"]
    envelope = {
        "Type": "Notification",
        "MessageId": "6f0c9ad1-3f1e-5a0e-8a2c-c5d2f1a9b7e4",
        "TopicArn": SAMPLE_PLACE.topic_arn,
        "Subject": letter.subject,
        "Message": json.dumps(letter.form),
        "Timestamp": "2026-11-21T03:40:07.113Z",
        "MessageAttributes": {
            name: {"Type": "String", "Value": value}
            for name, value in (
                ("kind", letter.kind),
                ("severity", letter.severity),
                ("audience", letter.audience),
            )
        },
    }
    yield "envelope", f"<!-- envelope -->\n```json\n{json.dumps(envelope, indent=2)}\n```"
