"""Judges the answers to the ten questions that only a real account can answer. Pure.

Each row names what keyjanitor believes, by the fact of docs/aws-facts.md, and what follows if AWS says otherwise.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from keyjanitor.domain.expiry.ownership import STACK_TAG
from keyjanitor.domain.model.keys import ANSWER_MAY_DIFFER, DAY
from keyjanitor.domain.usage.plan_usage import USAGE_DAYS
from keyjanitor_cli.preflight import trail
from keyjanitor_cli.preflight.findings import Finding, Outcome, Row
from keyjanitor_cli.preflight.phrases import Named
from keyjanitor_cli.preflight.seen import Seen
from keyjanitor_cli.preflight.shapes import shape
from keyjanitor_cli.preflight.usage import Numbers, days_of, numbers_of

NO_STACK = "no stack of keyjanitor is here yet"
AFTER_DEPLOY = "Ask again when the stack is deployed."
NO_TRAIL = "CloudTrail shows no such call in 90 days"
AFTER_CHANGE = "Ask again after a key was disabled or renamed."
MANY = 200  # keys, of which some are expected to have a tag
ANOTHER = "an answer of another shape"

BACK = Row("1a", "How far back does GetUsage go?", f"{USAGE_DAYS} days or more (seen: AF-301)")
ENDS = Row("1b", "Is today, in UTC, usage's last day?", "yes, or a day less (believed: AF-316)")
KEYED = Row("2a", "Is usage keyed by key id?", "yes (seen: AF-305)")
PAIRS = Row("2b", "Has each key a pair for each day?", "yes (seen: AF-306)")
IDLE = Row("2c", "Are keys without requests in it?", "either way (seen: AF-302)")
REMAINING = Row("2d", "What remains without a quota?", "not known (believed: AF-312)")
DATES = Row(
    "3",
    "Is lastUpdatedDate of UpdateApiKey's answer that of later reads?",
    "yes, within a second (believed: AF-212)",
)
LISTED = Row("4a", "Have keys in GetApiKeys tags?", "no (seen: AF-205)")
TAGGED = Row("4b", "Does the tagging API list keys?", "those with tags (seen: AF-401)")
STACKED = Row("4c", "Do stacks' keys have their tag there?", "yes (believed: AF-402)")
OWN_TAGS = Row("4d", "Has a key in GetApiKey its tags?", "yes (believed: AF-206)")
ABSENT = Row(
    "5",
    "Is a missing object 404 to the stack's role?",
    "yes, for the role may list (doc: AF-512)",
)
RUNTIME = Row("6", "Which runtime has the stack here?", "Python 3.13")
UPSERT = Row("7", "What does CloudTrail say of imports?", "nothing is known (believed: AF-235)")
ENOUGH = Row("8", "Is the right on /usage enough?", "yes (doc: AF-405)")
AUDIT = Row("9", "Does the audit rule deliver?", "yes (seen: AF-542)")
REQUIRED = Row("10", "Does GetDeployment say apiKeyRequired: false?", "yes (believed: AF-335)")


def judge(seen: Seen) -> tuple[Finding, ...]:
    """A finding for each row, in their order."""
    judged: tuple[Callable[[Seen], Finding], ...] = (
        how_far_back,
        where_it_ends,
        keyed_by,
        pairs,
        idle,
        remaining,
        dates,
        listed,
        tagged,
        stacked,
        own_tags,
        absent,
        runtime,
        upsert,
        enough,
        audit,
        required,
    )
    return tuple(one(seen) for one in judged)


def how_far_back(seen: Seen) -> Finding:
    """Question 1."""
    if not seen.ranges:
        return BACK.found(Outcome.OPEN, "there is no usage plan to ask about")
    answer = seen.ranges[USAGE_DAYS]
    if answer.denied:
        return BACK.refused(answer)
    told = {back: _told(seen, back) for back in sorted(seen.ranges)}
    text = "; ".join(f"{back} days: {what}" for back, what in told.items())
    if told[USAGE_DAYS] == "as asked":
        return BACK.found(Outcome.SAME, text)
    return BACK.found(
        Outcome.DIFFERS,
        text,
        follows=_of_fewer_days(told),
        shape=shape(answer.body) if answer.answered and days_of(answer) is None else None,
    )


def _of_fewer_days(told: Mapping[int, str]) -> str:
    """What follows from starts that were not answered as asked."""
    if told[USAGE_DAYS] == ANOTHER:
        return "No plan can be read: report it with preflight.json."
    if "as asked" in told.values() or any("starts" in what for what in told.values()):
        return "Plans are read from the first day that is answered; keys are idle since then at the earliest."
    return "Plans are asked about 60 and 30 days too; if these are refused as well, none is read."


def where_it_ends(seen: Seen) -> Finding:
    """Question 1, the other end: the day that has begun."""
    answered = [one for one in seen.ranges.values() if days_of(one) is not None]
    if not answered:
        refused = next(iter(seen.ranges.values()), None)
        if refused is not None:
            return ENDS.refused(refused) if refused.code else ENDS.found(Outcome.OPEN, ANOTHER)
        return ENDS.found(Outcome.OPEN, "there is no usage plan to ask about")
    ends = {days[1] for one in answered if (days := days_of(one)) is not None}
    told = f"asked until {seen.today}, it answers until {max(ends)}"
    if max(ends) == seen.today:
        return ENDS.found(Outcome.SAME, told)
    follows = (
        "Usage counts other days than UTC's: it is believed if it reaches the day before yesterday."
    )
    return ENDS.found(Outcome.DIFFERS, told, follows=follows)


def _told(seen: Seen, back: int) -> str:
    """What GetUsage made of a start so many days back."""
    answer = seen.ranges[back]
    if not answer.answered:
        return answer.code
    days = days_of(answer)
    if days is None:
        return ANOTHER
    start, end = days
    late = (start - (seen.today - DAY * back)).days
    if late:
        return f"starts {abs(late)} days {'later' if late > 0 else 'earlier'}"
    return "as asked" if end >= seen.today - 2 * DAY else f"ends {(seen.today - end).days} days ago"


def keyed_by(seen: Seen) -> Finding:
    """Question 2, first part."""
    if refused := _no_usage(seen, KEYED):
        return refused
    named = {key_id for one in _numbers(seen).values() for key_id in one.ids}
    if not named:
        return KEYED.found(Outcome.OPEN, "no key is named in the usage that was read")
    strangers = named - seen.key_ids
    counts = f"of {len(named):,} names {len(named) - len(strangers):,} are ids of keys"
    if len(strangers) == len(named):
        return KEYED.found(
            Outcome.DIFFERS,
            counts,
            follows="No plan can be read. They may be values: show the answer to no one, and report this.",
        )
    return KEYED.found(Outcome.SAME, counts)


def pairs(seen: Seen) -> Finding:
    """Question 2, second part."""
    if refused := _no_usage(seen, PAIRS):
        return refused
    read = _numbers(seen)
    if wrong := [one for one in read.values() if one.unreadable]:
        return PAIRS.found(
            Outcome.DIFFERS,
            ANOTHER,
            follows="Report it with preflight.json: such a plan is not read.",
            shape=wrong[0].shape,
        )
    fits, other = sum(one.fits for one in read.values()), sum(one.other for one in read.values())
    if not fits and not other:
        return PAIRS.found(Outcome.OPEN, "no key has days in the usage that was read")
    told = f"{fits:,} keys have one pair a day, {other:,} have another number"
    if not other:
        return PAIRS.found(Outcome.SAME, told)
    return PAIRS.found(
        Outcome.DIFFERS, told, follows="The use of these keys is unclear: they are kept."
    )


def idle(seen: Seen) -> Finding:
    """Question 2, third part."""
    if refused := _no_usage(seen, IDLE):
        return refused
    numbers = _numbers(seen).values()
    named = sum(len(one.ids) for one in numbers)
    return IDLE.found(
        Outcome.SAME,
        f"of {named:,} keys named, {sum(one.silent for one in numbers):,} have no request",
    )


def remaining(seen: Seen) -> Finding:
    """Question 2, last part."""
    if refused := _no_usage(seen, REMAINING):
        return refused
    quotas = {item.get("id"): bool(item.get("quota")) for item in seen.plan_items}
    left = {
        number
        for plan_id, one in _numbers(seen).items()
        if not quotas.get(plan_id)
        for number in one.remaining
    }
    if not left:
        return REMAINING.found(Outcome.OPEN, "no plan without a quota has a day with use")
    least, most = min(left), max(left)
    return REMAINING.found(Outcome.LEARNED, f"from {least:,} to {most:,}")


def _no_usage(seen: Seen, row: Row) -> Finding | None:
    """The finding if no usage was answered at all."""
    answers = list(seen.usages.values())
    if not answers:
        return row.found(Outcome.OPEN, "there is no usage plan to ask about")
    if any(one.answered for one in answers):
        return None
    return row.refused(answers[0])


def _numbers(seen: Seen) -> Mapping[str, Numbers]:
    return {
        plan_id: numbers_of(answer) for plan_id, answer in seen.usages.items() if answer.answered
    }


def dates(seen: Seen) -> Finding:
    """Question 3: the date in CloudTrail's copy of the answer, and in a read of now."""
    if not seen.updates.answered:
        return DATES.refused(seen.updates)
    updated = trail.key_updated(seen.updates)
    if updated is None:
        return DATES.found(Outcome.OPEN, NO_TRAIL, follows=AFTER_CHANGE)
    if not seen.updated_key.answered:
        return DATES.refused(seen.updated_key)
    now = trail.moment(seen.updated_key.body.get("lastUpdatedDate"))
    if updated.last_updated is None or now is None:
        return DATES.found(
            Outcome.OPEN, ANOTHER, follows=AFTER_CHANGE, shape=shape(seen.updated_key.body)
        )
    apart = abs(now - updated.last_updated)
    if apart <= ANSWER_MAY_DIFFER:
        return DATES.found(Outcome.SAME, f"{_seconds(apart)} apart")
    return DATES.found(
        Outcome.DIFFERS,
        f"{_seconds(apart)} apart, of key ",
        Named("key", updated.key_id),
        follows="Unless it was changed since in another way, keys that keyjanitor disabled are not parked.",
    )


def _seconds(apart: timedelta) -> str:
    return f"{apart.total_seconds():,.0f} seconds"


def listed(seen: Seen) -> Finding:
    """Question 4, first part."""
    if not seen.keys[0].answered:
        return LISTED.refused(seen.keys[0])
    if not all(page.lists("items") for page in seen.keys if page.answered):
        return LISTED.found(Outcome.DIFFERS, ANOTHER, shape=shape(seen.keys[0].body))
    tagged = sum(bool(item.get("tags")) for item in seen.key_items)
    told = f"{tagged:,} of {len(seen.key_items):,} keys have some"
    if not tagged:
        return LISTED.found(Outcome.SAME if seen.key_items else Outcome.OPEN, told)
    return LISTED.found(Outcome.DIFFERS, told, follows="Nothing breaks: tags are read elsewhere.")


def tagged(seen: Seen) -> Finding:
    """Question 4, second part."""
    if not seen.tags[0].answered:
        return TAGGED.refused(seen.tags[0])
    if not all(page.lists("ResourceTagMappingList") for page in seen.tags if page.answered):
        return TAGGED.found(Outcome.DIFFERS, ANOTHER, shape=shape(seen.tags[0].body))
    if seen.tags_of_keys:
        return TAGGED.found(Outcome.SAME, f"{len(seen.tags_of_keys):,} keys on the pages read")
    follows = "If keys have tags, keyjanitor does not see them: look at one in the console."
    if len(seen.key_items) >= MANY:
        return TAGGED.found(
            Outcome.DIFFERS, f"none of {len(seen.key_items):,} keys", follows=follows
        )
    return TAGGED.found(Outcome.OPEN, "no key, perhaps because none has tags")


def stacked(seen: Seen) -> Finding:
    """Question 4, third part."""
    if not seen.tags[0].answered:
        return STACKED.refused(seen.tags[0])
    count = sum(STACK_TAG in tags for tags in seen.tags_of_keys.values())
    if count:
        return STACKED.found(Outcome.SAME, f"{count:,} keys have it")
    return STACKED.found(Outcome.OPEN, "no key on the pages read has it")


def own_tags(seen: Seen) -> Finding:
    """Question 4, last part."""
    answer = seen.tagged_key
    if not answer.answered:
        if answer.denied:
            return OWN_TAGS.refused(answer)
        return OWN_TAGS.found(Outcome.OPEN, "no key with tags is known")
    told = answer.body.get("tags")
    key_id = str(answer.body.get("id", ""))
    if told and dict(told) == seen.tags_of_keys.get(key_id):
        return OWN_TAGS.found(Outcome.SAME, "the same tags as the tagging API's")
    what = "other tags than the tagging API's" if told else "no tags, and the tagging API has some"
    return OWN_TAGS.found(
        Outcome.DIFFERS,
        what,
        " of key ",
        Named("key", key_id),
        follows="A tag `keyjanitor:keep` that is set late in the day may be missed.",
    )


def absent(seen: Seen) -> Finding:
    """Question 5: whether the role may list, when no prefix is named."""
    return _simulated(
        seen,
        ABSENT,
        "lists_bucket",
        "s3:ListBucket without a prefix",
        "No night would find that it has no files yet: it fails with AccessDenied.",
    )


def enough(seen: Seen) -> Finding:
    """Question 8."""
    return _simulated(
        seen,
        ENOUGH,
        "reads_usage",
        "apigateway:GET on a plan's /usage",
        "No plan can be read with the role that the stack has.",
    )


def _simulated(seen: Seen, row: Row, name: str, right: str, follows: str) -> Finding:
    answer = getattr(seen, name)
    if not answer.answered:
        if not seen.own_stacks:
            return row.found(Outcome.OPEN, NO_STACK, follows=AFTER_DEPLOY)
        return row.refused(answer)
    decisions = {str(one.get("EvalDecision", "")) for one in answer.items("EvaluationResults")}
    if decisions == {"allowed"}:
        return row.found(Outcome.SAME, f"IAM: {right} is allowed")
    if not decisions:
        return row.found(Outcome.OPEN, ANOTHER, shape=shape(answer.body))
    told = ", ".join(sorted(decisions))
    return row.found(Outcome.DIFFERS, f"IAM: {right}: {told}", follows=follows)


def runtime(seen: Seen) -> Finding:
    """Question 6, as far as reading tells: the version of the runtime, not that of its SDK."""
    answer = seen.function
    if not answer.answered:
        if not seen.own_stacks:
            return RUNTIME.found(Outcome.OPEN, NO_STACK, follows=AFTER_DEPLOY)
        return RUNTIME.refused(answer)
    name = str(answer.body.get("Runtime", ""))
    version = str((answer.body.get("RuntimeVersionConfig") or {}).get("RuntimeVersionArn", ""))
    told = f"{name}, version {version.rsplit(':', 1)[-1][:12]}" if version else name
    same = name == "python3.13"
    return RUNTIME.found(Outcome.SAME if same else Outcome.DIFFERS, told)


def upsert(seen: Seen) -> Finding:
    """Question 7, as far as CloudTrail tells."""
    if not seen.imports.answered:
        return UPSERT.refused(seen.imports)
    found = trail.imports(seen.imports)
    if not found:
        return UPSERT.found(Outcome.OPEN, NO_TRAIL, follows="Ask again after an import.")
    shows = sum(one.shows_file for one in found)
    told = (
        f"of {len(found)} imports {sum(one.warned for one in found)} warned, "
        f"{sum(bool(one.error) for one in found)} failed, {shows} show the file"
    )
    if shows:
        follows = "CloudTrail may hold values of keys: look at who can read it."
        return UPSERT.found(Outcome.DIFFERS, told, follows=follows)
    return UPSERT.found(Outcome.LEARNED, told)


def audit(seen: Seen) -> Finding:
    """Question 9."""
    if not seen.own_stacks:
        return AUDIT.found(Outcome.OPEN, NO_STACK, follows=AFTER_DEPLOY)
    for answer in (seen.streams, seen.metrics):
        if not answer.answered:
            return AUDIT.refused(answer)
    stream = next(seen.streams.items("logStreams"), None)
    failing = sorted(_failing(seen))
    if failing:
        told = f"EventBridge has the metrics {', '.join(failing)}"
        follows = "A rule of the Region failed at least once: is it that of the audit log?"
        return AUDIT.found(Outcome.DIFFERS, told, follows=follows)
    if stream is None:
        return AUDIT.found(Outcome.OPEN, "the audit log has no event yet")
    latest = trail.moment(stream.get("lastEventTimestamp"))
    return AUDIT.found(Outcome.SAME, f"its latest event is of {latest.date() if latest else '?'}")


def _failing(seen: Seen) -> Iterator[str]:
    """The metrics that EventBridge has only if a rule failed, of rules of the stack."""
    for metric in seen.metrics.items("Metrics"):
        name = str(metric.get("MetricName", ""))
        listed: Any = metric.get("Dimensions") or ()
        rules = [str(one.get("Value", "")) for one in listed if one.get("Name") == "RuleName"]
        if name in ("FailedInvocations", "InvocationsFailedToBeSentToDlq") and any(
            seen.stack_name and rule.startswith(seen.stack_name) for rule in rules
        ):
            yield name


def required(seen: Seen) -> Finding:
    """Question 10."""
    answer = seen.deployment
    if not answer.answered:
        if answer.denied or not seen.apis.answered:
            return REQUIRED.refused(answer if answer.denied else seen.apis)
        return REQUIRED.found(Outcome.OPEN, "no deployment of an API was found")
    summary = answer.body.get("apiSummary")
    if not isinstance(summary, Mapping) or not summary:
        follows = "Doctor does not know which methods need a key, and says so."
        return REQUIRED.found(Outcome.DIFFERS, ANOTHER, follows=follows, shape=shape(answer.body))
    told = [
        method.get("apiKeyRequired") for methods in summary.values() for method in methods.values()
    ]
    text = f"of {len(told):,} methods {told.count(True):,} say true, {told.count(False):,} false"
    if missing := len(told) - told.count(True) - told.count(False):
        follows = "Doctor does not know which methods need a key, and says so."
        return REQUIRED.found(Outcome.DIFFERS, f"{text}, {missing:,} say nothing", follows=follows)
    return REQUIRED.found(Outcome.SAME if False in told else Outcome.OPEN, text)
