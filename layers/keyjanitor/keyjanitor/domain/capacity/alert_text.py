"""Writes the alerts about the account's capacity, for people and for programs. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from keyjanitor.domain.capacity.alerting import (
    MARK_CLEARS,
    AlertCause,
    LevelCleared,
    LevelReached,
    LimitNear,
    Problem,
    Reminder,
    Situation,
)
from keyjanitor.domain.capacity.forecast import FARTHEST, FEWEST, Forecast, days_gained
from keyjanitor.domain.capacity.problem_text import write_problem
from keyjanitor.domain.model.alert import Draft, Severity, Typed, Wait, noon
from keyjanitor.domain.model.keys import DAY
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.records import AlertState
from keyjanitor.domain.model.safe_text import harmless

CRITICAL_SHARE = 0.98  # from there on an hour's import can fill the account
CRITICAL_DAYS = 3  # to the limit, at the soonest
WEEK = 7

Capacity = LevelReached | LimitNear | LevelCleared | Reminder


def write(
    one: AlertCause,
    situation: Situation,
    policy: Policy,
    before: AlertState | None = None,
    after: AlertState | None = None,
) -> Draft:
    """The alert that tells one piece of news, with all that helps to judge it.

    `before` is what was told until now, `after` which level and mark are still reached.
    """
    match one:
        case Problem():
            return write_problem(one, situation)
        case LevelReached() | LimitNear() | LevelCleared() | Reminder():
            return _capacity(one, situation, policy, before or AlertState(), after or AlertState())
        case _:
            assert_never(one)


def _capacity(
    one: Capacity, situation: Situation, policy: Policy, before: AlertState, after: AlertState
) -> Draft:
    keys, quota = situation.count.keys, policy.service_quota
    kind, headline, what = _what(one, situation, policy, before, after)
    return Draft(
        kind=kind,
        severity=_severity(one, situation, policy),
        day=situation.today,
        headline=headline,
        what=what,
        wait=_wait(one, situation, policy, after),
        command="status" if isinstance(one, LevelCleared) else "plan",
        lines=(
            f"API keys      {keys:,} of {quota:,} ({keys / quota:.1%}); AWS does not raise this limit",
            f"Growth        {_growth(situation.forecast)}",
            f"Limit reached {_runs_out(situation)}",
            *_rows("Growing tiers", _growing(situation.growing)),
            *_rows("Most keys", [f"{owner}: {count:,}" for owner, count in situation.owners[:5]]),
            *_rows("Pressure", _pressure(situation)),
            f"Last sweep    {_last_sweep(situation)}",
            "",
            *_what_helps(one, situation),
        ),
        form={
            "keys": keys,
            "service_quota": quota,
            "share": round(keys / quota, 4),
            "level": one.level if isinstance(one, LevelReached | LevelCleared) else None,
            "mark": one.mark if isinstance(one, LimitNear | LevelCleared) else None,
            "still_level": after.level,
            "still_mark": after.mark,
            "last_alert": _last_alert_form(before),
            "growth": _growth_form(situation.forecast),
            "days_to_limit": situation.forecast.days,
            "soonest_days": situation.forecast.soonest,
            "latest_days": situation.forecast.latest,
            "swept_on": str(situation.swept_on) if situation.swept_on else None,
            "pressure_rules": _rules_form(situation),
        },
    )


def _is_critical(situation: Situation, policy: Policy) -> bool:
    """Whether the account may be full before a person has slept and acted."""
    soonest = situation.forecast.soonest
    share = situation.count.keys / policy.service_quota
    return share >= CRITICAL_SHARE or (soonest is not None and soonest <= CRITICAL_DAYS)


def _severity(one: Capacity, situation: Situation, policy: Policy) -> Severity:
    if isinstance(one, LevelCleared):
        return "info"
    return "critical" if _is_critical(situation, policy) else "warning"


def _wait(one: Capacity, situation: Situation, policy: Policy, after: AlertState) -> Wait:
    """Until when it can wait: a week, or as long as keys that are warned then free slots in time."""
    if isinstance(one, LevelCleared) and after.level is None and after.mark is None:
        return Wait(None, "Nothing is to be done: no level and no mark is on any more.")
    if _is_critical(situation, policy) and not isinstance(one, LevelCleared):
        why = "The account may be full within hours, and then no API of this Region gets a new key."
        return Wait(situation.moment, why, at_once=True)
    notice = min((tier.warn_days + tier.grace_days for tier in policy.tiers.values()), default=0)
    slots = f"a key that is warned today frees its slot in {notice} days at the earliest."
    week, soonest = noon(situation.today, WEEK), situation.forecast.soonest
    if soonest is None:
        return Wait(week, f"no date is known on which the account is full; {slots}")
    last = noon(situation.today, max(1, min(WEEK, soonest - notice)))
    full = situation.today + DAY * soonest
    return Wait(last, f"the account is full on {full} (UTC) at the soonest; {slots}")


def _what(
    one: Capacity, situation: Situation, policy: Policy, before: AlertState, after: AlertState
) -> tuple[str, str, str]:
    """The kind of the alert, what its subject says, and its first line."""
    keys, quota = situation.count.keys, policy.service_quota
    now = f"{keys:,} of {quota:,} API keys"
    match one:
        case LevelReached():
            what = f"{one.level:.0%} of the API keys of this account and Region are taken: {now}."
            return "level", f"{one.level:.0%} reached, {keys:,} API keys", what
        case LimitNear():
            days = f"{situation.forecast.days} days"
            what = f"The account is full in about {days} (alert threshold: {one.mark} days): {now}."
            return "days_to_limit", f"full in about {days}", what
        case LevelCleared():
            left = f"{one.level:.0%} level" if one.level is not None else f"{one.mark}-day mark"
            still = _in_short(after)
            what = f"Better: the {left} is off ({now})."
            rest = f" Still on: {_still_on(after, policy)}." if still else ""
            return (
                "clear",
                f"better, {left} off" + (f"; still {still}" if still else ""),
                what + rest,
            )
        case Reminder():
            what = f"Reminder: still on: {_still_on(after, policy)}; {now}{_changed(keys, before)}."
            return "reminder", f"still {_in_short(after)}; {keys:,} API keys", what
        case _:
            assert_never(one)


def _still_on(after: AlertState, policy: Policy) -> str:
    """Which level and which mark are on, and where each of them goes off."""
    on = []
    if after.level is not None:
        off = f"off below {after.level - policy.alerts.clear_margin:.0%}"
        on.append(f"{after.level:.0%} level ({off})")
    if after.mark is not None:
        on.append(f"{after.mark}-day mark (off above {after.mark * MARK_CLEARS:.0f} days)")
    return ", ".join(on)


def _in_short(after: AlertState) -> str:
    """The same for a subject."""
    level = [f"{after.level:.0%}"] if after.level is not None else []
    return ", ".join([*level, *([f"{after.mark} days"] if after.mark is not None else [])])


def _changed(keys: int, before: AlertState) -> str:
    """By how many keys the account has grown since the last alert."""
    if before.alerted_keys is None or before.alerted_on is None:
        return ""
    return f", {keys - before.alerted_keys:+,} since the last alert on {before.alerted_on}"


def _growth(forecast: Forecast) -> str:
    growth = forecast.growth
    if growth is None:
        return f"not yet known: it takes {FEWEST} days of counts"
    return f"{growth.a_day:+.1f} keys a day (between {growth.low:+.1f} and {growth.high:+.1f})"


def _runs_out(situation: Situation) -> str:
    forecast = situation.forecast
    if forecast.growth is None:
        return "not yet known"
    if forecast.days is None or forecast.soonest is None:
        return f"not in sight: the trend is flat or falling, or it is over {FARTHEST} days away"
    latest = (
        f"{situation.today + DAY * forecast.latest}" if forecast.latest is not None else "later"
    )
    return (
        f"around {situation.today + DAY * forecast.days}, in {forecast.days} days "
        f"(between {situation.today + DAY * forecast.soonest} and {latest})"
    )


def _growing(tiers: Mapping[str, int]) -> list[str]:
    rising = sorted(((count, tier) for tier, count in tiers.items() if count > 0), reverse=True)
    return [f"{tier}: {count:+,} in a week" for count, tier in rising[:5]]


def _pressure(situation: Situation) -> list[str]:
    """Which pressure rule applies, and what each stricter one would free."""
    row = situation.pressure_row
    if row is None:
        return ["no sweep has computed it yet"]
    applies = (
        f"the rule above {row.above:.0%} applies" if row.above is not None else "no rule applies"
    )
    lines = [applies]
    for rule in row.rules:
        gained = days_gained(rule.more_keys, situation.forecast.growth)
        days = f", {gained} days of growth" if gained else ""
        tiers = ", ".join(f"{count:,} of {tier}" for tier, count in sorted(rule.tiers.items()))
        lines.append(
            f"above {rule.above:.0%} idle limits are multiplied by {rule.idle_factor:g}: that would free "
            f"{rule.more_keys:,} more keys in 30 days{f' ({tiers})' if tiers else ''}{days}"
        )
    return lines


def _last_sweep(situation: Situation) -> str:
    if situation.held is not None:
        return f"on hold: {harmless(situation.held)}"
    if situation.swept_on is None:
        return "none in the last days was allowed to act (Mode=observe, or it failed)"
    ran = "ran last night" if situation.swept_on >= situation.today - DAY else "is late"
    return f"{situation.swept_on}: it {ran}"


def _what_helps(one: Capacity, situation: Situation) -> list[str | Typed]:
    if isinstance(one, LevelCleared):
        return [
            "Everything that keyjanitor knows of the account's problems:",
            Typed("keyjanitor status"),
        ]
    lines: list[str | Typed] = [
        "What helps: let idle keys expire sooner. What tonight's sweep would do, key by key:",
        Typed("keyjanitor plan"),
    ]
    if situation.held is not None:
        lines += ["Sweeps are on hold. Let them act again:", Typed("keyjanitor resume")]
    elif situation.swept_on is None or situation.swept_on < situation.today - DAY:
        lines += ["No sweep ran. Read why:", Typed("keyjanitor logs expire_keys")]
    return [
        *lines,
        "Add a pressure rule ([[pressure]]) to layers/policy/policy.toml, or shorten idle_days of a tier:",
        Typed("sam build && sam deploy"),
    ]


def _last_alert_form(before: AlertState) -> dict[str, Any] | None:
    if before.alerted_on is None:
        return None
    return {"date": str(before.alerted_on), "keys": before.alerted_keys}


def _growth_form(forecast: Forecast) -> dict[str, float] | None:
    growth = forecast.growth
    if growth is None:
        return None
    values = {"a_day": growth.a_day, "low": growth.low, "high": growth.high}
    return {name: round(value, 2) for name, value in values.items()}


def _rules_form(situation: Situation) -> list[dict[str, Any]]:
    rules = situation.pressure_row.rules if situation.pressure_row else ()
    return [
        {
            "above": rule.above,
            "idle_factor": rule.idle_factor,
            "more_keys": rule.more_keys,
            "tiers": dict(rule.tiers),
            "days_gained": days_gained(rule.more_keys, situation.forecast.growth),
        }
        for rule in rules
    ]


def _rows(title: str, lines: Sequence[str]) -> list[str]:
    return [f"{title if not index else '':13} {harmless(line)}" for index, line in enumerate(lines)]
