"""Makes the calls of a preflight, at most sixty: lists to the end where there are few, samples where there are many."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from keyjanitor.domain.model.keys import DAY
from keyjanitor.domain.usage.plan_usage import USAGE_DAYS
from keyjanitor_cli.preflight import rights
from keyjanitor_cli.preflight.answers import NOT_ASKED, Answer, Ask, Call
from keyjanitor_cli.preflight.seen import Seen, log_groups, outputs_of, own_stacks, tags_of_keys
from keyjanitor_cli.preflight.trail import key_updated

PAGE = 500  # the most that API Gateway gives at once (doc: AF-201)
PAGES_OF_KEYS = 20  # 10,000 keys (doc: AF-101)
PAGES_OF_TAGS = 4
PAGES_OF_STACKS = 2
SAMPLED_PLANS = 4
SAMPLED_APIS = 3
# Days back that GetUsage is asked to start at, beside USAGE_DAYS: about 90 are told (seen: AF-301).
EDGES = (USAGE_DAYS - 1, USAGE_DAYS + 1, USAGE_DAYS + 2)

REFUSED = "BadRequestException"  # the code of days that GetUsage does not tell


def look(
    ask: Ask, today: date, region: str, partition: str, sdk: str, stack_name: str | None
) -> dict[str, Any]:
    """The answers to all calls, by the names that `Seen` has.

    The order is by what is lost if the budget ends early: the account's lists first.
    """
    seen: dict[str, Any] = {
        "today": today,
        "region": region,
        "partition": partition,
        "sdk": sdk,
        "identity": ask(rights.IDENTITY),
        "keys": _pages(ask, rights.KEYS, PAGES_OF_KEYS, includeValues=False),
        "plans": _pages(ask, rights.PLANS, 1),
    }
    plans = [item for page in seen["plans"] for item in page.items("items")]
    seen |= _usage(ask, today, plans)
    seen["tags"] = _tags(ask)
    seen["stacks"] = _stacks(ask)
    seen |= _trail(ask)
    seen |= _keys(ask, seen)
    seen |= _apis(ask)
    seen["incoming"] = _incoming(ask, today, seen["stages"])
    seen |= {
        "log_policies": ask(rights.LOG_POLICIES, limit=50),
        "alarms": ask(rights.ALARMS, MaxRecords=100),
        "metrics": ask(rights.METRICS, Namespace="AWS/Events"),
        "schedules": ask(rights.SCHEDULES, MaxResults=1),
        "layers": ask(rights.LAYERS, CompatibleArchitecture="arm64", MaxItems=1),
    }
    return seen | _of_stack(ask, seen, plans, stack_name)


def gather(
    ask: Ask, today: date, region: str, partition: str, sdk: str, stack_name: str | None
) -> Seen:
    """What was seen; makes every call."""
    return Seen(**look(ask, today, region, partition, sdk, stack_name))


def _pages(ask: Ask, call: Call, most: int, **params: Any) -> tuple[Answer, ...]:
    """The pages of a list of API Gateway, up to so many."""
    pages: list[Answer] = []
    more: dict[str, Any] = {}
    while len(pages) < most:
        pages.append(ask(call, limit=PAGE, **params, **more))
        position = pages[-1].body.get("position")
        if not position or position == more.get("position"):
            break
        more = {"position": position}
    return tuple(pages)


def _usage(ask: Ask, today: date, plans: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Usage of some plans, and of the first of them how far back it goes."""
    first, *others = [str(plan["id"]) for plan in sampled(plans)] or [""]
    if not first:
        return {"usages": {}, "ranges": {}}
    start, end = today - DAY * USAGE_DAYS, today
    whole = _usage_of(ask, first, start, end, PAGE)
    if whole.code == REFUSED:  # perhaps because today has not begun there (believed: AF-316)
        until_yesterday = _usage_of(ask, first, start, today - DAY, PAGE)
        if until_yesterday.answered:
            whole, end = until_yesterday, today - DAY
    ranges = {USAGE_DAYS: whole}
    ranges |= {back: _usage_of(ask, first, today - DAY * back, end, 1) for back in EDGES}
    usages = {plan_id: _usage_of(ask, plan_id, start, end, PAGE) for plan_id in others}
    return {"usages": {first: whole} | usages, "ranges": ranges}


def _usage_of(ask: Ask, plan_id: str, start: date, end: date, limit: int) -> Answer:
    days = {"startDate": str(start), "endDate": str(end)}
    return ask(rights.USAGE, usagePlanId=plan_id, limit=limit, **days)


def sampled(plans: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Some plans that are likely to have use: those with stages first, with and without a quota in turn."""
    known = [plan for plan in plans if isinstance(plan.get("id"), str)]
    served = [plan for plan in known if plan.get("apiStages")]
    limited = [plan for plan in served if plan.get("quota")]
    free = [plan for plan in served if not plan.get("quota")]
    mixed = [plan for pair in zip(limited, free, strict=False) for plan in pair]
    rest = [plan for plan in (*limited, *free, *known) if plan not in mixed]
    return list({plan["id"]: plan for plan in (*mixed, *rest)}.values())[:SAMPLED_PLANS]


def _tags(ask: Ask) -> tuple[Answer, ...]:
    pages: list[Answer] = []
    token = ""
    while len(pages) < PAGES_OF_TAGS:
        pages.append(
            ask(
                rights.TAGS,
                ResourceTypeFilters=["apigateway"],
                ResourcesPerPage=100,
                PaginationToken=token,
            )
        )
        token = str(pages[-1].body.get("PaginationToken") or "")
        if not token:
            break
    return tuple(pages)


def _stacks(ask: Ask) -> tuple[Answer, ...]:
    pages: list[Answer] = []
    more: dict[str, Any] = {}
    while len(pages) < PAGES_OF_STACKS:
        pages.append(ask(rights.STACKS, **more))
        if not (token := pages[-1].body.get("NextToken")):
            break
        more = {"NextToken": token}
    return tuple(pages)


def _trail(ask: Ask) -> dict[str, Any]:
    """The latest events of three operations; CloudTrail keeps 90 days of them."""

    def lookup(name: str) -> Answer:
        wanted = [{"AttributeKey": "EventName", "AttributeValue": name}]
        return ask(rights.TRAIL, LookupAttributes=wanted, MaxResults=10)

    return {
        "updates": lookup("UpdateApiKey"),
        "imports": lookup("ImportApiKeys"),
        "plans_made": lookup("CreateUsagePlan"),
    }


def _keys(ask: Ask, seen: Mapping[str, Any]) -> dict[str, Any]:
    """A key that the tagging API lists, and the one that was updated last."""
    found: dict[str, Any] = {}
    tagged = next((key_id for key_id, tags in tags_of_keys(seen["tags"]) if tags), None)
    if tagged is not None:
        found["tagged_key"] = ask(rights.KEY, apiKey=tagged, includeValue=False)
    updated = key_updated(seen["updates"])
    if updated is not None:
        found["updated_key"] = ask(rights.KEY, apiKey=updated.key_id, includeValue=False)
    return found


def _apis(ask: Ask) -> dict[str, Any]:
    """The stages of some APIs, and what one of them serves."""
    apis = ask(rights.APIS, limit=PAGE)
    ids = [str(item["id"]) for item in apis.items("items") if item.get("id")]
    stages = {api_id: ask(rights.STAGES, restApiId=api_id) for api_id in ids[:SAMPLED_APIS]}
    deployed = next(_deployments(stages), None)
    deployment = Answer(rights.DEPLOYMENT, code=NOT_ASKED)
    if deployed is not None:
        api_id, deployment_id = deployed
        deployment = ask(
            rights.DEPLOYMENT,
            restApiId=api_id,
            deploymentId=deployment_id,
            embed=["apisummary"],
        )
    return {"apis": apis, "stages": stages, "deployment": deployment}


def _incoming(ask: Ask, today: date, stages: Mapping[str, Answer]) -> Answer:
    """What came into the log groups of access logs yesterday, and (first) into all groups together."""
    groups = log_groups(item for answer in stages.values() for item in answer.items("item"))
    since = datetime.combine(today - DAY, time(), UTC)
    queries = [
        {
            "Id": f"g{place}",
            "MetricStat": {
                "Metric": {
                    "Namespace": "AWS/Logs",
                    "MetricName": "IncomingBytes",
                    "Dimensions": [{"Name": "LogGroupName", "Value": group}] if group else [],
                },
                "Period": 86_400,
                "Stat": "Sum",
            },
        }
        for place, group in enumerate(["", *groups])
    ]
    return ask(rights.INCOMING, MetricDataQueries=queries, StartTime=since, EndTime=since + DAY)


def _deployments(stages: Mapping[str, Answer]) -> Iterator[tuple[str, str]]:
    return (
        (api_id, str(stage["deploymentId"]))
        for api_id, answer in stages.items()
        for stage in answer.items("item")
        if stage.get("deploymentId")
    )


def _of_stack(
    ask: Ask, seen: Mapping[str, Any], plans: Sequence[Mapping[str, Any]], wanted: str | None
) -> dict[str, Any]:
    """What only a deployed stack can tell; nothing is asked if there is none."""
    stacks = list(own_stacks(seen["stacks"]))
    stack = next((one for one in stacks if wanted in (None, one.get("StackName"))), None)
    found: dict[str, Any] = {"stack_name": str(stack["StackName"]) if stack else wanted or ""}
    if stack is None:
        return found
    outputs, partition = outputs_of(stack), seen["partition"]
    if name := outputs.get("PullUsageFunctionName"):
        found["function"] = ask(rights.FUNCTION, FunctionName=name)
        if role := found["function"].body.get("Role"):
            bucket = f"arn:{partition}:s3:::{outputs['HistoryBucketName']}"
            plan = f"{plans[0]['id']}/usage" if plans else "p/usage"
            usage = f"arn:{partition}:apigateway:{seen['region']}::/usageplans/{plan}"
            found["lists_bucket"] = _simulated(ask, role, "s3:ListBucket", bucket)
            found["reads_usage"] = _simulated(ask, role, "apigateway:GET", usage)
    if group := outputs.get("AuditLogGroupName"):
        found["streams"] = ask(
            rights.STREAMS,
            logGroupName=group,
            orderBy="LastEventTime",
            descending=True,
            limit=1,
        )
    return found


def _simulated(ask: Ask, role: str, action: str, resource: str) -> Answer:
    return ask(rights.SIMULATE, PolicySourceArn=role, ActionNames=[action], ResourceArns=[resource])
