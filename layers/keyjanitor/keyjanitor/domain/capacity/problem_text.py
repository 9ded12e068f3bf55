"""Writes the alerts about what a count found beside capacity, for people and for programs. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from keyjanitor.domain.capacity.alerting import Problem, Situation
from keyjanitor.domain.model.alert import Draft, Severity, Typed, Wait, midnight, noon
from keyjanitor.domain.model.keys import DAY
from keyjanitor.domain.model.safe_text import harmless, visible

SEVERITY: Mapping[str, Severity] = {
    "unread_plan": "warning",
    "silent_plans": "info",
    "fewer_keys": "critical",
    "dead_letters": "warning",
    "subscription": "info",
    "burst": "warning",
    "policy_problem": "warning",
}
NAMED = 20  # plans, places, senders; the rest is in the report
WEEK = 7
WHO = (
    "aws iam list-roles --query \"Roles[?RoleId=='SENDER'].Arn\" --output text",
    "aws iam list-users --query \"Users[?UserId=='SENDER'].Arn\" --output text",
)
SNS_DROPS = 2  # days after which a subscription that is not confirmed is gone


@dataclass(frozen=True, slots=True)
class Text:
    """What one kind of alert says."""

    headline: str
    what: str
    wait: Wait
    command: str
    lines: list[str | Typed]


def write_problem(one: Problem, situation: Situation) -> Draft:
    """The alert about one problem, with what helps to judge it."""
    texts: Mapping[str, Callable[[Problem, Situation], Text]] = {
        "unread_plan": _unread,
        "silent_plans": _silent,
        "fewer_keys": _fewer,
        "dead_letters": _letters,
        "subscription": _subscription,
        "burst": _burst,
        "policy_problem": _policy_problem,
    }
    text = texts[one.kind](one, situation)
    return Draft(
        kind=one.kind,
        severity=SEVERITY[one.kind],
        day=situation.today,
        headline=text.headline,
        what=text.what,
        wait=text.wait,
        command=text.command,
        lines=tuple(text.lines),
        form={"about": list(one.about)},
    )


def _a_week(situation: Situation, why: str) -> Wait:
    return Wait(noon(situation.today, WEEK), why)


def _unread(one: Problem, situation: Situation) -> Text:
    plans = _many(len(one.about), "usage plan")
    return Text(
        f"{plans} not read for two nights",
        f"{plans} could not be read for two nights.",
        _a_week(situation, "no key is lost, but the keys of these plans free no slot until then."),
        "logs pull_usage",
        [
            "None of the keys of these usage plans is warned, disabled or parked until the plan is read:",
            *(f"  {plan}: {harmless(situation.unread[plan])}" for plan in one.about[:NAMED]),
            "",
            "Every night reads again by itself. What the last night's reading says of them:",
            Typed(
                "sam logs --stack-name STACK -s yesterday --name PullUsageFunction --filter unread"
            ),
        ],
    )


def _silent(one: Problem, situation: Situation) -> Text:
    plans = _many(len(one.about), "usage plan")
    return Text(
        f"{plans} without any request",
        f"{plans} with API keys in which no request was ever seen.",
        _a_week(situation, "nothing breaks, but the keys of these plans never expire."),
        "report --open",
        [
            "No request was ever seen in these usage plans, nor in any like them on their stages. Either",
            "there are no callers, or API Gateway does not meter them. Their keys are never judged idle.",
            *(f"  {plan}" for plan in one.about[:NAMED]),
            "",
            "If you know that there are no callers, name the plans under silent_plans in policy.toml:",
            Typed("sam build && sam deploy"),
        ],
    )


def _fewer(_: Problem, situation: Situation) -> Text:
    before, freed = situation.yesterday, situation.freed_since or 0
    held = f"On {before.date} the account held {before.keys:,} API keys" if before else ""
    gone = f"{situation.missed:,} API keys"
    return Text(
        f"{gone} are gone, not by a sweep",
        f"{gone} are gone, and no sweep and no revocation took them.",
        Wait(
            situation.moment,
            "Whoever used these keys is refused by API Gateway since then.",
            at_once=True,
        ),
        "hold 'keys are gone'",
        [
            f"{held}, now {situation.count.keys:,}, {situation.made_since:,} of them made since. Sweeps",
            f"and revocations took {freed:,}. Another tool or person deleted {situation.missed:,}: keyjanitor has",
            "no encrypted copy of those, and cannot bring them back.",
            "",
            "The third line stops all sweeps until you know more. Who deletes keys (CloudTrail, last 90 days):",
            *(Typed(_lookup(event)) for event in ("DeleteApiKey", "DeleteStack")),
            "Afterwards let sweeps act again:",
            Typed("keyjanitor resume"),
        ],
    )


def _lookup(event: str) -> str:
    return (
        f"aws cloudtrail lookup-events --lookup-attributes AttributeKey=EventName,AttributeValue={event}"
        " --max-items 20 --query 'Events[].[EventName, Username, EventTime]' --output text"
    )


def _letters(one: Problem, situation: Situation) -> Text:
    messages = _many(sum(situation.dead_letters[name] for name in one.about), "dead letter")
    return Text(
        messages,
        f"{messages}: messages that failed for good and that no function tries again.",
        _a_week(situation, "SQS deletes a message 14 days after it was sent."),
        "status",
        [
            *(f"  {name}: {situation.dead_letters[name]}" for name in one.about),
            "",
            "RequestDeadLetterQueue: requests that could not be answered; the runbook says which of them are",
            "sent back, and how. RunDeadLetterQueue: schedules and runs that failed for good. Their addresses:",
            *(
                Typed(
                    "aws cloudformation describe-stack-resource --stack-name STACK "
                    f"--logical-resource-id {name} "
                    "--query StackResourceDetail.PhysicalResourceId --output text"
                )
                for name in one.about
            ),
            "Look at up to ten messages; they come back after half a minute:",
            Typed(
                "aws sqs receive-message --queue-url QUEUE_URL --attribute-names All "
                "--max-number-of-messages 10 --visibility-timeout 30"
            ),
        ],
    )


def _subscription(one: Problem, situation: Situation) -> Text:
    subscriptions = _many(len(one.about), "alert subscription")
    return Text(
        f"{subscriptions} not confirmed",
        f"{subscriptions} not confirmed: these addresses get no alert and no alarm.",
        Wait(
            noon(situation.today, SNS_DROPS),
            "SNS drops a subscription that is not confirmed after some days.",
        ),
        "status",
        [
            *(f"  {harmless(endpoint)}" for endpoint in one.about[:NAMED]),
            "",
            "SNS sent a message with a link to each of them. Have it sent again, to ADDRESS:",
            Typed(
                "aws sns subscribe --topic-arn TOPIC_ARN --protocol email "
                "--notification-endpoint ADDRESS"
            ),
        ],
    )


def _burst(one: Problem, situation: Situation) -> Text:
    bursts = [burst for burst in situation.bursts if burst.name in one.about]
    senders = _many(len(bursts), "sender")
    return Text(
        f"{senders} over the budget of new keys",
        f"{senders} asked for more new keys than allowed; the rest was refused (budget_spent).",
        Wait(midnight(situation.today + DAY), "then the budgets of the day begin again."),
        "answers",
        [
            "Keys that exist go on working. What was refused made no key.",
            *(
                f"  {burst.sender}: {burst.refused:,} refused in tier {burst.tier} "
                f"({burst.limit}), {burst.since:%Y-%m-%d %H:%M} to {burst.last:%H:%M} UTC"
                for burst in bursts[:NAMED]
            ),
            "",
            "Who that is, by the id of the role (AROA...) or the user (AIDA...):",
            *map(Typed, WHO),
            "A mistake or an attack: take the sender out of `senders` in policy.toml. Growth: raise",
            "new_keys_per_day or new_keys_per_sender_per_hour there. Then:",
            Typed("sam build && sam deploy"),
        ],
    )


def _policy_problem(one: Problem, situation: Situation) -> Text:
    problems = situation.policy_problems
    places = _many(len(one.about), "place")
    return Text(
        f"{places} in policy.toml to fix",
        f"{places} in policy.toml {'does' if len(one.about) == 1 else 'do'} not fit the account.",
        _a_week(situation, "the keys concerned stay as they are; all others are swept."),
        "status",
        [
            "These places name a usage plan that the account does not have or has twice, or a tier is missing",
            "in which keys were issued. The keys concerned are not warned, disabled or parked.",
            *(f"  {place}: {visible(problems[place])}" for place in one.about[:NAMED]),
            "",
            "List the usage plans, put the right id or name into layers/policy/policy.toml, and deploy:",
            Typed("aws apigateway get-usage-plans --query 'items[].[id,name]' --output text"),
            Typed("sam build && sam deploy"),
        ],
    )


def _many(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"
