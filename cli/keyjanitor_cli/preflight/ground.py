"""Judges the ground on which a stack is to be deployed: quotas, plans, marks of tools, logs, and the Region. Pure."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from keyjanitor.domain.model.key_ids import SHORTEST_VALUE
from keyjanitor.domain.model.keys import ApiKey
from keyjanitor.domain.usage.access_log_format import SUGGESTED, AccessLog, read_format
from keyjanitor.domain.usage.access_logs import GB
from keyjanitor_cli.preflight import trail
from keyjanitor_cli.preflight.answers import Answer
from keyjanitor_cli.preflight.findings import Finding, Outcome, Row
from keyjanitor_cli.preflight.phrases import Named, Phrase, names
from keyjanitor_cli.preflight.seen import Seen, is_whole, log_groups
from keyjanitor_cli.preflight.usage import numbers_of
from keyjanitor_cli.suggest.marks import Marks, marks_of
from keyjanitor_cli.suggest.owners import owner_rules_of, says_whose

KEY_LIMIT, PLAN_LIMIT = 10_000, 300
NEAR = 0.9  # of a limit: soon there is no room
LOG_POLICIES = 10
ALARMS_OF_STACK = 20
DOLLARS_PER_GB = 0.005  # that a query looks at, in us-east-1 (doc: AF-596)
LOGGED = "$context.identity.apiKeyId"
MISSING_SERVICE = frozenset({"EndpointConnectionError", "UnknownEndpoint", "InvalidEndpoint"})
ANOTHER = "an answer of another shape"

KEYS = Row("keys", "API keys", f"at most {KEY_LIMIT:,} (doc: AF-101)")
PLANS = Row("plans", "Usage plans", f"{PLAN_LIMIT} (doc: AF-102)")
UNLIMITED = Row("limits", "Plans without throttle and quota", "none")
UNSERVED = Row("stages", "Plans without stages", "none (seen: AF-332)")
SILENT = Row("silent", "Plans without requests in 90 days", "none of those with keys in use")
IDS = Row("ids", "Keys whose id may be their value", "none of today (seen: AF-213)")
OLD_WAY = Row("old", "Keys that a stage names itself", "none (doc: AF-217)")
OWNED = Row(
    "owned", "Keys that an [owned] rule matches", "all that other tools made (seen: AF-404)"
)
OWNERS = Row("owners", "Keys that say whose they are", "all: rules of [[owners]] find their owner")
LOGS = Row("logs", "Stages that log the key's id", "all: a second witness of use")
TRAIL = Row("trail", "Log resource policies", f"room for one more of {LOG_POLICIES} (doc: AF-543)")
ALARMS = Row("alarms", "Alarms", f"room for {ALARMS_OF_STACK} more")
STACKS = Row("stacks", "Stacks of keyjanitor", "at most one in an account and Region")
PROCESSOR = Row("arm64", "Lambda's arm64", "in this Region")
SCHEDULER = Row("scheduler", "EventBridge Scheduler", "in this Region")
SDK = Row("sdk", "SDK on this machine", "boto3 1.35 or later")
PLAN_REFUSALS = Row("refused", "CreateUsagePlan that was refused", "none in 90 days")


def judge(seen: Seen) -> tuple[Finding, ...]:
    """A finding for each row, in their order."""
    judged: tuple[Callable[[Seen], Finding], ...] = (
        keys,
        plans,
        unlimited,
        unserved,
        silent,
        ids,
        old_way,
        owned,
        owners,
        logs,
        log_policies,
        alarms,
        stacks,
        arm64,
        scheduler,
        sdk,
        plan_refusals,
    )
    return tuple(one(seen) for one in judged)


def keys(seen: Seen) -> Finding:
    """How many keys there are."""
    if not seen.keys[0].answered:
        return KEYS.refused(seen.keys[0])
    count = len(seen.key_items)
    told = f"{count:,}" if is_whole(seen.keys) else f"at least {count:,}"
    if count < NEAR * KEY_LIMIT:
        return KEYS.found(Outcome.SAME, told)
    follows = (
        "The account is nearly full: `keyjanitor policy suggest` shows how many slots come free."
    )
    return KEYS.found(Outcome.DIFFERS, told, follows=follows)


def plans(seen: Seen) -> Finding:
    """How many usage plans there are."""
    if not seen.plans[0].answered:
        return PLANS.refused(seen.plans[0])
    if not seen.plans[0].lists("items"):
        return PLANS.found(Outcome.DIFFERS, ANOTHER)
    count = len(seen.plan_items)
    told = f"{count:,}" if is_whole(seen.plans) else f"at least {count:,}"
    if count < NEAR * PLAN_LIMIT:
        return PLANS.found(Outcome.SAME, told)
    follows = "Ask AWS for more if requests of keyjanitor shall make plans for tiers."
    return PLANS.found(Outcome.DIFFERS, told, follows=follows)


def unlimited(seen: Seen) -> Finding:
    """The plans whose keys may ask without a limit of their own."""
    follows = "A key of such a plan may use up what all APIs of the account have together."
    return _of_plans(
        seen,
        UNLIMITED,
        lambda plan: not (plan.get("throttle") or plan.get("quota") or _throttled(plan)),
        follows,
    )


def _throttled(plan: Mapping[str, Any]) -> bool:
    return any(stage.get("throttle") for stage in plan.get("apiStages") or ())


def unserved(seen: Seen) -> Finding:
    """The plans that open no stage."""
    follows = "Requests with their keys are answered 403, and show no use: such keys are kept."
    return _of_plans(seen, UNSERVED, lambda plan: not plan.get("apiStages"), follows)


def _of_plans(
    seen: Seen, row: Row, wanted: Callable[[Mapping[str, Any]], bool], follows: str
) -> Finding:
    if not seen.plans[0].answered:
        return row.refused(seen.plans[0])
    found = [str(plan.get("name") or plan.get("id")) for plan in seen.plan_items if wanted(plan)]
    if not found:
        return row.found(Outcome.SAME, "none")
    told = f"{len(found):,} of {len(seen.plan_items):,}: "
    return row.found(Outcome.DIFFERS, told, *names("plan", found), follows=follows)


def silent(seen: Seen) -> Finding:
    """The plans of the sample of whose first keys none had a request."""
    if not seen.usages:
        return SILENT.found(Outcome.OPEN, "there is no usage plan to ask about")
    numbers = {
        plan_id: numbers_of(answer) for plan_id, answer in seen.usages.items() if answer.answered
    }
    if not numbers:
        return SILENT.refused(next(iter(seen.usages.values())))
    quiet = [plan_id for plan_id, one in numbers.items() if not one.requests]
    told = f"{len(quiet)} of {len(numbers)} that were looked at"
    if not quiet:
        return SILENT.found(Outcome.SAME, told)
    follows = "Silence of a plan that shows no request at all is no reason to warn a key of it."
    named = names("plan", (_plan_name(seen, plan_id) for plan_id in quiet))
    return SILENT.found(Outcome.DIFFERS, f"{told}: ", *named, follows=follows)


def _plan_name(seen: Seen, plan_id: str) -> str:
    found = next((one for one in seen.plan_items if one.get("id") == plan_id), {})
    return str(found.get("name") or plan_id)


def ids(seen: Seen) -> Finding:
    """The keys whose ids are as long as values."""
    if not seen.keys[0].answered:
        return IDS.refused(seen.keys[0])
    long = sorted(one for one in seen.key_ids if len(one) >= SHORTEST_VALUE)
    if not long:
        return IDS.found(Outcome.SAME, "none of those that were listed")
    follows = "keyjanitor shows them by digests, and asks CloudFormation nothing about them."
    told = f"{len(long):,} keys: "
    return IDS.found(Outcome.DIFFERS, told, *names("key", long), follows=follows)


def old_way(seen: Seen) -> Finding:
    """The keys with stage keys, from before usage plans."""
    if not seen.keys[0].answered:
        return OLD_WAY.refused(seen.keys[0])
    found = sorted(str(item.get("id")) for item in seen.key_items if item.get("stageKeys"))
    if not found:
        return OLD_WAY.found(Outcome.SAME, "none")
    follows = "Their use is in no usage: they are kept, whatever the policy says."
    return OLD_WAY.found(
        Outcome.DIFFERS, f"{len(found):,} keys: ", *names("key", found), follows=follows
    )


def owned(seen: Seen) -> Finding:
    """Which rules of `[owned]` match how many keys, and which marks of tools none of them knows."""
    if not seen.keys[0].answered:
        return OWNED.refused(seen.keys[0])
    marks = marks_of(_api_keys(seen))
    told = list(_known(marks))
    text = "; ".join(told) if told else "no mark of another tool"
    if not is_whole(seen.tags, "PaginationToken"):
        text += "; not all tags were read"
    if not marks.new:
        return OWNED.found(Outcome.SAME, text)
    follows = "Add these marks to [owned] in policy.toml: `keyjanitor policy suggest` writes them."
    unknown: Phrase = names("mark", (f"{kind}: {value}" for kind, value in marks.new))
    more = f"; {sum(marks.new.values()):,} with unknown marks: "
    return OWNED.found(Outcome.DIFFERS, text, more, *unknown, follows=follows)


def _known(marks: Marks) -> Iterator[str]:
    for (kind, value), count in marks.known.items():
        yield f"{kind} {value}: {count:,}"
    if marks.stacks:
        yield f"stacks: {marks.stacks:,}"
    if marks.kept:
        yield f"keyjanitor:keep: {marks.kept:,}"


def _api_keys(seen: Seen) -> Iterator[ApiKey]:
    """The keys with what marks are looked for in; their dates do not matter."""
    for item in seen.key_items:
        key_id = str(item.get("id", ""))
        yield ApiKey(
            key_id=key_id,
            name=str(item.get("name") or ""),
            enabled=bool(item.get("enabled")),
            created_date=datetime.fromtimestamp(0, UTC),
            last_updated_date=datetime.fromtimestamp(0, UTC),
            description=str(item.get("description") or ""),
            customer_id=str(item.get("customerId") or ""),
            tags=seen.tags_of_keys.get(key_id, {}),
        )


def owners(seen: Seen) -> Finding:
    """How many keys say whose they are, and where."""
    if not seen.keys[0].answered:
        return OWNERS.refused(seen.keys[0])
    listed = tuple(_api_keys(seen))
    rules = owner_rules_of(listed)
    known = says_whose(listed, rules)
    told = f"{known:,} of {len(listed):,}"
    if not rules:
        follows = "Their owners can be told one by one, by requests alone."
        return OWNERS.found(Outcome.LEARNED, told, follows=follows)
    places = dict.fromkeys(one.rule.place for one in rules)
    keys_at = {
        place: says_whose(listed, [one for one in rules if one.rule.place == place])
        for place in places
    }
    text = "; ".join(f"{place}: {keys:,}" for place, keys in keys_at.items())
    follows = (
        "`keyjanitor policy suggest` writes rules that find them; `keyjanitor whatif` shows whom."
    )
    return OWNERS.found(Outcome.LEARNED, f"{told}, by {text}", follows=follows)


def logs(seen: Seen) -> Finding:
    """Whether the stages that were looked at log the key's id, and to where."""
    if not seen.apis.answered:
        return LOGS.refused(seen.apis)
    if refused := next((one for one in seen.stages.values() if not one.answered), None):
        return LOGS.refused(refused)
    found = [
        (f"{api_id}:{stage.get('stageName')}", stage.get("accessLogSettings") or {})
        for api_id, answer in seen.stages.items()
        for stage in answer.items("item")
    ]
    if not found:
        return LOGS.found(Outcome.OPEN, "no stage was found")
    logging = [one for one in found if _logs_keys(one[1])]
    told = f"{len(logging)} of {len(found)} that were looked at{_cost(seen)}"
    if logging:
        groups = sorted({str(one[1].get("destinationArn", "")) for one in logging})
        where: Phrase = (", to ", *names("log", groups))
        if len(logging) == len(found):
            return LOGS.found(Outcome.SAME, told, *where)
        follows = f"Put {LOGGED} into the format of the others' access logs, as in {SUGGESTED}"
        return LOGS.found(Outcome.LEARNED, told, *where, follows=follows)
    return LOGS.found(
        Outcome.LEARNED,
        told,
        follows=f"Usage is the only witness; a log is another whose format is, say, {SUGGESTED}",
    )


def _logs_keys(settings: Mapping[str, Any]) -> bool:
    """True if a stage logs so that its log can be asked which keys called."""
    log = read_format(str(settings.get("destinationArn", "")), str(settings.get("format", "")))
    return isinstance(log, AccessLog)


def _cost(seen: Seen) -> str:
    """What a night's queries over the logs that were found would look at, and cost."""
    if not log_groups(item for answer in seen.stages.values() for item in answer.items("item")):
        return ""
    if not seen.incoming.answered:
        return "; what a night's queries would cost is not known"
    sums = {
        str(one.get("Id")): sum(one.get("Values") or ())
        for one in seen.incoming.items("MetricDataResults")
    }
    gb = sum(number for name, number in sums.items() if name != "g0") / GB
    return f"; a night's queries would look at {gb:,.2f} GB, about ${gb * DOLLARS_PER_GB:,.3f}"


def log_policies(seen: Seen) -> Finding:
    """Room for the audit log's resource policy."""
    count = _count(seen.log_policies, "resourcePolicies", TRAIL)
    if isinstance(count, Finding):
        return count
    told = f"{count} of {LOG_POLICIES}"
    if count < LOG_POLICIES or seen.own_stacks:
        return TRAIL.found(Outcome.SAME, told)
    follows = (
        "Deploy with the parameter AuditLogPolicyOn=log-group, or delete a policy of CloudWatch Logs "
        "that is not needed: else the deployment fails."
    )
    return TRAIL.found(Outcome.DIFFERS, told, follows=follows)


def alarms(seen: Seen) -> Finding:
    """Room for the alarms: one page is counted, for AWS's limit is far above it."""
    count = _count(seen.alarms, "MetricAlarms", ALARMS)
    if isinstance(count, Finding):
        return count
    if seen.alarms.body.get("NextToken"):
        told = f"{count} or more"
        follows = "Is the quota of alarms, 5,000 by default, far away?"
        return ALARMS.found(Outcome.OPEN, told, follows=follows)
    return ALARMS.found(Outcome.SAME, f"{count}")


def _count(answer: Answer, name: str, row: Row) -> Finding | int:
    """How many things an answer lists under `name`, or the finding that it lists nothing."""
    if not answer.answered:
        return row.refused(answer)
    if not answer.lists(name):
        return row.found(Outcome.DIFFERS, ANOTHER)
    return len(list(answer.items(name)))


def stacks(seen: Seen) -> Finding:
    """Whether a stack is there already."""
    if not seen.stacks[0].answered:
        return STACKS.refused(seen.stacks[0])
    found = [str(one.get("StackName", "")) for one in seen.own_stacks]
    if not found:
        told = "none" if is_whole(seen.stacks, "NextToken") else "none on the pages read"
        return STACKS.found(Outcome.SAME, told)
    told = f"{len(found)}: "
    if len(found) == 1:
        return STACKS.found(Outcome.SAME, told, Named("stack", found[0]))
    follows = "Two stacks act on the same keys: delete one."
    return STACKS.found(Outcome.DIFFERS, told, *names("stack", found), follows=follows)


def arm64(seen: Seen) -> Finding:
    """Whether Lambda takes the word arm64 in this Region."""
    follows = "Deploy with the parameter Architecture=x86_64."
    return _service(seen.layers, PROCESSOR, follows)


def scheduler(seen: Seen) -> Finding:
    """Whether EventBridge Scheduler answers in this Region."""
    return _service(seen.schedules, SCHEDULER, "The template does not deploy here.")


def _service(answer: Answer, row: Row, follows: str) -> Finding:
    if answer.answered:
        return row.found(Outcome.SAME, "it answers")
    if answer.code in MISSING_SERVICE or "Validation" in answer.code or "Invalid" in answer.code:
        return row.found(Outcome.DIFFERS, answer.code, follows=follows)
    return row.refused(answer)


def sdk(seen: Seen) -> Finding:
    """The SDK that the command uses."""
    version = tuple(int(part) for part in seen.sdk.split(".")[:2] if part.isdecimal())
    if version >= (1, 35):
        return SDK.found(Outcome.SAME, f"boto3 {seen.sdk}")
    return SDK.found(Outcome.DIFFERS, f"boto3 {seen.sdk}", follows="Install a later boto3.")


def plan_refusals(seen: Seen) -> Finding:
    """Whether AWS refused to make a usage plan, by CloudTrail."""
    if not seen.plans_made.answered:
        return PLAN_REFUSALS.refused(seen.plans_made)
    found = trail.errors(seen.plans_made)
    if not found:
        return PLAN_REFUSALS.found(Outcome.SAME, "none of the latest")
    told = f"{len(found)}: {', '.join(sorted(set(found)))}"
    follows = "Look at these events in CloudTrail: is a right missing, or the quota reached?"
    return PLAN_REFUSALS.found(Outcome.DIFFERS, told, follows=follows)
