"""The calls of a preflight, the right that each needs, and the policy that gives these and no others. Pure."""

import json
from collections.abc import Iterator, Sequence

from keyjanitor_cli.preflight.answers import Call, Right


def _gateway(method: str, path: str, why: str, verb: str = "GET") -> Call:
    return Call(
        "apigateway", method, Right(f"apigateway:{verb}", f"apigateway:REGION::{path}", why)
    )


IDENTITY = Call("sts", "get_caller_identity", None)
KEYS = _gateway("get_api_keys", "/apikeys", "the keys, without their values")
KEY = _gateway("get_api_key", "/apikeys/*", "the tags and the date of one or two keys")
PLANS = _gateway("get_usage_plans", "/usageplans", "the usage plans and their limits")
USAGE = _gateway("get_usage", "/usageplans/*/usage", "how far back usage goes, of a few plans")
APIS = _gateway("get_rest_apis", "/restapis", "the REST APIs")
STAGES = _gateway("get_stages", "/restapis/*/stages", "whether stages log the key's id")
DEPLOYMENT = _gateway(
    "get_deployment", "/restapis/*/deployments/*", "whether a deployment names its methods' keys"
)
TAGS = Call(
    "resourcegroupstaggingapi",
    "get_resources",
    Right("tag:GetResources", "*", "the tags of keys"),
)
STACKS = Call(
    "cloudformation",
    "describe_stacks",
    Right("cloudformation:DescribeStacks", "*", "the stacks of keyjanitor"),
)
TRAIL = Call(
    "cloudtrail",
    "lookup_events",
    Right("cloudtrail:LookupEvents", "*", "what earlier changes of keys were answered"),
)
LOG_POLICIES = Call(
    "logs",
    "describe_resource_policies",
    Right("logs:DescribeResourcePolicies", "*", "how many resource policies there are"),
)
ALARMS = Call(
    "cloudwatch",
    "describe_alarms",
    Right("cloudwatch:DescribeAlarms", "*", "how many alarms there are"),
)
METRICS = Call(
    "cloudwatch",
    "list_metrics",
    Right("cloudwatch:ListMetrics", "*", "the metrics of EventBridge's rules"),
)
INCOMING = Call(
    "cloudwatch",
    "get_metric_data",
    Right("cloudwatch:GetMetricData", "*", "how much comes into access logs in a day"),
)
SCHEDULES = Call(
    "scheduler",
    "list_schedule_groups",
    Right("scheduler:ListScheduleGroups", "*", "whether EventBridge Scheduler is in the Region"),
)
LAYERS = Call(
    "lambda",
    "list_layers",
    Right("lambda:ListLayers", "*", "whether Lambda has the architecture in the Region"),
)
FUNCTION = Call(
    "lambda",
    "get_function_configuration",
    Right(
        "lambda:GetFunctionConfiguration",
        "lambda:REGION:*:function:STACK-*",
        "the runtime and the role of a stack that is there",
    ),
)
SIMULATE = Call(
    "iam",
    "simulate_principal_policy",
    Right(
        "iam:SimulatePrincipalPolicy",
        "iam::*:role/STACK-*",
        "what the role of a stack that is there may do",
    ),
)
STREAMS = Call(
    "logs",
    "describe_log_streams",
    Right(
        "logs:DescribeLogStreams",
        "logs:REGION:*:log-group:/aws/events/STACK/*",
        "when the audit log got its last event",
    ),
)
ALL = (
    IDENTITY,
    KEYS,
    KEY,
    PLANS,
    USAGE,
    APIS,
    STAGES,
    DEPLOYMENT,
    TAGS,
    STACKS,
    TRAIL,
    LOG_POLICIES,
    ALARMS,
    METRICS,
    INCOMING,
    SCHEDULES,
    LAYERS,
    FUNCTION,
    SIMULATE,
    STREAMS,
)
RIGHTS = tuple(call.right for call in ALL if call.right is not None)
# What `--write` makes, changes and deletes; without it none of these is called.
_MAKE_KEYS = Right("apigateway:POST", "apigateway:REGION::/apikeys", "make a key, and import one")
CREATE_KEY = Call("apigateway", "create_api_key", _MAKE_KEYS)
IMPORT = Call("apigateway", "import_api_keys", _MAKE_KEYS)
UPDATE_KEY = _gateway("update_api_key", "/apikeys/*", "change the key that was made", "PATCH")
DELETE_KEY = _gateway("delete_api_key", "/apikeys/*", "delete what was made", "DELETE")
CREATE_PLAN = _gateway("create_usage_plan", "/usageplans", "make a plan without stages", "POST")
DELETE_PLAN = _gateway("delete_usage_plan", "/usageplans/*", "delete that plan", "DELETE")
WRITING = tuple(
    dict.fromkeys(
        right
        for right in (
            _MAKE_KEYS,
            UPDATE_KEY.right,
            DELETE_KEY.right,
            CREATE_PLAN.right,
            DELETE_PLAN.right,
        )
        if right is not None
    )
)
_FIRST = 4  # line of the first right, below the version and the list's beginning


def resource(right: Right, partition: str, region: str, stack: str) -> str:
    """The resource of a right as a policy names it."""
    if right.resource == "*":
        return "*"
    named = right.resource.replace("REGION", region).replace("STACK", stack)
    return f"arn:{partition}:{named}"


def line_of(right: Right) -> int:
    """The line of `policy` that gives the right, counted from one."""
    return _FIRST + (RIGHTS + WRITING).index(right)


def statement(right: Right, partition: str, region: str, stack: str) -> str:
    """The line of `policy` that gives the right."""
    named = resource(right, partition, region, stack)
    return json.dumps({"Effect": "Allow", "Action": right.action, "Resource": named})


def policy(partition: str, region: str, stack: str, *, writing: bool = False) -> str:
    """The policy to attach, a right on each line, so that a missing one can be named by its line.

    The rights that `writing` needs come last.
    """
    given = RIGHTS + WRITING if writing else RIGHTS
    return "\n".join(_lines(given, partition, region, stack)) + "\n"


def _lines(given: Sequence[Right], partition: str, region: str, stack: str) -> Iterator[str]:
    yield "{"
    yield '  "Version": "2012-10-17",'
    yield '  "Statement": ['
    for right in given:
        comma = "" if right is given[-1] else ","
        yield f"    {statement(right, partition, region, stack)}{comma}"
    yield "  ]"
    yield "}"
