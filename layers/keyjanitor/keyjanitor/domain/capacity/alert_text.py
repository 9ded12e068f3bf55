"""Writes the alerts about the account's capacity, for people and for programs. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, assert_never

from keyjanitor.domain.capacity.alerting import (
    Cleared,
    Crossed,
    Near,
    News,
    Reminder,
    Situation,
    Trouble,
)
from keyjanitor.domain.capacity.forecast import FARTHEST, FEWEST, Forecast, days_gained
from keyjanitor.domain.model.alert import SAM_INVOKE, Alert
from keyjanitor.domain.model.keys import DAY
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.safe_text import harmless, visible

Severity = Literal["info", "warning", "critical"]

CRITICAL_LEVEL = 0.95
LOOKUP = (
    "aws cloudtrail lookup-events --lookup-attributes "
    "AttributeKey=EventName,AttributeValue=DeleteApiKey"
)
WHO = (
    "aws iam list-roles --query \"Roles[?RoleId=='SENDER'].Arn\" --output text; "
    "aws iam list-users --query \"Users[?UserId=='SENDER'].Arn\" --output text"
)
LOGS = "sam logs --stack-name keyjanitor -s yesterday --name"  # else it shows ten minutes
SEVERITY_OF_TROUBLE: Mapping[str, Severity] = {
    "unread_plan": "warning",
    "silent_plans": "info",
    "fewer_keys": "critical",
    "dead_letters": "warning",
    "subscription": "info",
    "burst": "warning",
    "policy_problem": "warning",
}


def write(one: News, situation: Situation, policy: Policy) -> Alert:
    """The alert that tells one piece of news, with all that helps to judge it."""
    match one:
        case Trouble():
            return _trouble(one, situation)
        case Crossed() | Near() | Cleared() | Reminder():
            return _capacity(one, situation, policy)
        case _:
            assert_never(one)


def _capacity(
    one: Crossed | Near | Cleared | Reminder, situation: Situation, policy: Policy
) -> Alert:
    keys, quota = situation.count.keys, policy.service_quota
    share = keys / quota
    severity = _severity(one, share, policy)
    kind, headline = _headline(one, situation, policy)
    lines = [
        headline,
        "",
        f"API keys      {keys:,} of {quota:,} ({share:.1%}); the limit cannot be raised",
        f"Growth        {_growth(situation.forecast)}",
        f"Limit reached {_runs_out(situation)}",
        *_rows("Growing tiers", _growing(situation.growing)),
        *_rows("Most keys", [f"{owner}: {count:,}" for owner, count in situation.owners[:5]]),
        *_rows("Ladder", _rules(situation)),
        f"Last sweep    {_last_sweep(situation)}",
        "",
        *_what_helps(one, situation),
    ]
    form = {
        "kind": kind,
        "severity": severity,
        "date": str(situation.today),
        "keys": keys,
        "service_quota": quota,
        "share": round(share, 4),
        "level": one.level if isinstance(one, Crossed | Cleared) else None,
        "mark": one.mark if isinstance(one, Near | Cleared) else None,
        "growth": _growth_form(situation.forecast),
        "days_to_limit": situation.forecast.days,
        "soonest_days": situation.forecast.soonest,
        "latest_days": situation.forecast.latest,
        "swept_on": str(situation.swept_on) if situation.swept_on else None,
        "rungs": _rules_form(situation),
    }
    subject = f"keyjanitor: {_subject(one, situation, share)}"
    return Alert(kind, severity, _ascii(subject), "\n".join(lines), form)


def _severity(one: News, share: float, policy: Policy) -> Severity:
    if isinstance(one, Cleared):
        return "info"
    marks = policy.alerts.days_to_limit
    last_mark = isinstance(one, Near) and bool(marks) and one.mark == marks[-1]
    return "critical" if share >= CRITICAL_LEVEL or last_mark else "warning"


def _headline(
    one: Crossed | Near | Cleared | Reminder, situation: Situation, policy: Policy
) -> tuple[str, str]:
    match one:
        case Crossed():
            return "level", (
                f"The account has reached {one.level:.0%} of its API keys. At "
                f"{policy.service_quota:,} nobody gets a new key, in any API of this Region."
            )
        case Near():
            return "days_to_limit", (
                f"At this growth the account runs out of API keys in {situation.forecast.days} days "
                f"or so, which is within the mark of {one.mark}."
            )
        case Cleared(level=level) if level is not None:
            margin = policy.alerts.clear_margin
            return "clear", f"The account is back well under {level:.0%} (by {margin:.0%} of all)."
        case Cleared():
            return "clear", f"The limit is no longer within {one.mark} days."
        case Reminder():
            return "reminder", "Nothing has changed since the last alert; it still stands."
        case _:
            assert_never(one)


def _subject(one: Crossed | Near | Cleared | Reminder, situation: Situation, share: float) -> str:
    keys = f"{situation.count.keys} API keys, {share:.1%} of the limit"
    match one:
        case Crossed():
            return f"{one.level:.0%} reached: {keys}"
        case Near():
            return f"{situation.forecast.days} days to the limit: {keys}"
        case Cleared():
            return f"all clear: {keys}"
        case Reminder():
            return f"still: {keys}"
        case _:
            assert_never(one)


def _growth(forecast: Forecast) -> str:
    growth = forecast.growth
    if growth is None:
        return f"not yet known; it takes {FEWEST} days of counts"
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


def _rules(situation: Situation) -> list[str]:
    pressure_row = situation.pressure_row
    if pressure_row is None:
        return ["no sweep has worked it out yet"]
    stands = (
        f"{pressure_row.above:.0%} stands" if pressure_row.above is not None else "no rung stands"
    )
    lines = [stands]
    for rung in pressure_row.rules:
        gained = days_gained(rung.more_keys, situation.forecast.growth)
        days = f", {gained} days gained" if gained else ""
        tiers = ", ".join(f"{count:,} of {tier}" for tier, count in sorted(rung.tiers.items()))
        lines.append(
            f"at patience {rung.idle_factor:g} (above {rung.above:.0%}) {rung.more_keys:,} more keys go "
            f"within 30 days{f': {tiers}' if tiers else ''}{days}"
        )
    return lines


def _last_sweep(situation: Situation) -> str:
    if situation.held is not None:
        return f"on hold: {harmless(situation.held)}"
    if situation.swept_on is None:
        return "none in the last days that was allowed to act (Mode=observe, or it failed)"
    ran = "ran last night" if situation.swept_on >= situation.today - DAY else "is late"
    return f"{situation.swept_on}: it {ran}"


def _what_helps(one: News, situation: Situation) -> list[str]:
    if isinstance(one, Cleared):
        return ["Nothing is to be done."]
    dry = f"  {SAM_INVOKE}-file events/expire_keys_dry_run.json"
    lines = ["What helps: let idle keys go sooner. See what tonight's sweep would do:", dry]
    if situation.held is not None:
        lines += ["Let sweeps act again:", f"  {SAM_INVOKE}-file events/expire_keys_resume.json"]
    elif situation.swept_on is None or situation.swept_on < situation.today - DAY:
        lines += ["Find out why no sweep ran:", f"  {LOGS} ExpireKeysFunction"]
    lines += [
        "Add a rule to [[pressure]] in layers/policy/policy.toml, or shorten idle_days of a tier:",
        "  sam build && sam deploy",
    ]
    return lines


def _trouble(one: Trouble, situation: Situation) -> Alert:
    write_text = {
        "unread_plan": _unread,
        "silent_plans": _silent,
        "fewer_keys": _fewer,
        "dead_letters": _letters,
        "subscription": _subscription,
        "burst": _burst,
        "policy_problem": _policy_problem,
    }[one.kind]
    subject, lines = write_text(one, situation)
    severity = SEVERITY_OF_TROUBLE[one.kind]
    form = {
        "kind": one.kind,
        "severity": severity,
        "date": str(situation.today),
        "about": list(one.about),
    }
    return Alert(one.kind, severity, _ascii(f"keyjanitor: {subject}"), "\n".join(lines), form)


def _unread(one: Trouble, situation: Situation) -> tuple[str, list[str]]:
    return f"{_many(len(one.about), 'usage plan')} unread for two nights", [
        "The use of these usage plans could not be read for two nights. None of their keys is warned,",
        "disabled or parked until it can: nothing is lost, but nothing is freed either.",
        "",
        *(f"  {plan}: {harmless(situation.unread[plan])}" for plan in one.about[:20]),
        "",
        "Read why; the next night reads again by itself, for a night's evidence is not changed any more:",
        f"  {LOGS} PullUsageFunction --filter unread",
    ]


def _silent(one: Trouble, _: Situation) -> tuple[str, list[str]]:
    return f"{_many(len(one.about), 'usage plan')} in which no request was ever seen", [
        "In these usage plans no request was ever seen, nor in any like them on their stages. Perhaps",
        "nobody calls them; perhaps API Gateway does not meter them. Their keys are never judged idle.",
        "",
        *(f"  {plan}" for plan in one.about[:20]),
        "",
        "If you know that nobody calls them, name them under silent_plans in policy.toml:",
        "  sam build && sam deploy",
    ]


def _fewer(_: Trouble, situation: Situation) -> tuple[str, list[str]]:
    before, freed = situation.yesterday, situation.freed_since or 0
    held = f"On {before.date} the account held {before.keys:,} API keys" if before else ""
    return f"{situation.missed} API keys are gone, and no sweep took them", [
        f"{held}, now {situation.count.keys:,}, {situation.made_since:,} of them made since. Sweeps",
        f"and revocations took {freed:,}. Somebody or something else deleted {situation.missed:,}: those",
        "were not sealed, and do not come back by keyjanitor.",
        "",
        "See who: look for DeleteApiKey and DeleteStack in CloudTrail of the last day:",
        f"  {LOOKUP}",
        "Stop all sweeps until you know more:",
        f'  {SAM_INVOKE} \'{{"hold": "keys are gone"}}\'',
    ]


def _letters(one: Trouble, situation: Situation) -> tuple[str, list[str]]:
    count = sum(situation.letters[name] for name in one.about)
    return _many(count, "dead letter"), [
        "Messages lie in dead-letter queues: nobody works on them any more.",
        "",
        *(f"  {name}: {situation.letters[name]}" for name in one.about),
        "",
        "RequestDeadLetterQueue: requests that could not be answered. Look at them first; docs/runbook.md",
        "says which are sent back, and how. RunDeadLetterQueue: schedules and runs that failed for good.",
        "  sam list stack-outputs --stack-name keyjanitor",
    ]


def _burst(one: Trouble, situation: Situation) -> tuple[str, list[str]]:
    bursts = [burst for burst in situation.bursts if burst.name in one.about]
    return f"{_many(len(bursts), 'sender')} asked for more new keys than allowed", [
        "Requests for new keys were refused with budget_spent: a tier's budget of new keys is spent.",
        "Keys that exist go on working. What was refused made no key.",
        "",
        *(
            f"  {burst.sender}: {burst.refused:,} refused in tier {burst.tier} "
            f"({burst.limit}), {burst.since:%Y-%m-%d %H:%M} to {burst.last:%H:%M} UTC"
            for burst in bursts[:20]
        ),
        "",
        "See who that is, by the role's id or the user's:",
        f"  {WHO}",
        "Is it a mistake or an attack, take the sender out of `senders` in policy.toml; is it growth,",
        "raise new_keys_per_day or new_keys_per_sender_per_hour there. Then:",
        "  sam build && sam deploy",
    ]


def _subscription(one: Trouble, _: Situation) -> tuple[str, list[str]]:
    return f"nobody has confirmed {_many(len(one.about), 'alert subscription')}", [
        "Nobody has confirmed these subscriptions to the alert topic, so they get no alert:",
        "",
        *(f"  {harmless(endpoint)}" for endpoint in one.about[:20]),
        "",
        "SNS sent a message with a link to each when the stack was deployed. To have it sent again:",
        "  aws sns subscribe --topic-arn ALERT_TOPIC_ARN --protocol email --notification-endpoint ...",
    ]


def _policy_problem(one: Trouble, situation: Situation) -> tuple[str, list[str]]:
    problems = situation.policy_problems
    return f"{_many(len(one.about), 'place')} in policy.toml that does not fit the account", [
        "These places in policy.toml name a usage plan that the account does not have or not clearly, or",
        "a tier is missing in which keys were issued. The keys concerned are unknown: they are not warned,",
        "disabled or parked. All others are swept.",
        "",
        *(f"  {place}: {visible(problems[place])}" for place in one.about[:20]),
        "",
        "List the usage plans, put the right id or name into layers/policy/policy.toml, and deploy:",
        "  aws apigateway get-usage-plans --query 'items[].[id,name]' --output text",
        "  sam build && sam deploy",
    ]


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
            "above": rung.above,
            "patience": rung.idle_factor,
            "more_keys": rung.more_keys,
            "tiers": dict(rung.tiers),
            "days_gained": days_gained(rung.more_keys, situation.forecast.growth),
        }
        for rung in rules
    ]


def _many(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"


def _rows(title: str, lines: Sequence[str]) -> list[str]:
    return [f"{title if not index else '':13} {harmless(line)}" for index, line in enumerate(lines)]


def _ascii(subject: str) -> str:
    return subject.encode("ascii", "replace").decode()[:99]
