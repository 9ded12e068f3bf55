"""An account for preflights, in memory: what each call answers, and which calls were made."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from keyjanitor_cli.preflight.answers import Answer, Call
from keyjanitor_cli.preflight.findings import Finding, Found
from keyjanitor_cli.preflight.gather import gather
from keyjanitor_cli.preflight.judging import judge
from keyjanitor_cli.preflight.seen import Seen

TODAY = date(2026, 11, 21)
ROLE = "arn:aws:iam::123456789012:role/keyjanitor-PullUsageRole-1"
UPDATED = datetime(2026, 11, 20, 3, 15, 7, tzinfo=UTC)
OUTPUTS = {
    "ExpireKeysFunctionName": "keyjanitor-ExpireKeysFunction-1",
    "PullUsageFunctionName": "keyjanitor-PullUsageFunction-1",
    "LedgerTableName": "keyjanitor-Ledger-1",
    "HistoryBucketName": "keyjanitor-historybucket-1",
    "AuditLogGroupName": "/aws/events/keyjanitor/1",
}
STACK = {
    "StackName": "keyjanitor",
    "Outputs": [{"OutputKey": name, "OutputValue": value} for name, value in OUTPUTS.items()],
}
KEYS = [{"id": f"key{n:07}", "name": f"k{n}", "enabled": True} for n in range(4)]
PLANS = [
    {
        "id": "plan1",
        "name": "external",
        "apiStages": [{"apiId": "api1", "stage": "prod"}],
        "quota": {"limit": 10, "period": "DAY"},
    },
    {
        "id": "plan2",
        "name": "partners",
        "apiStages": [{"apiId": "api1", "stage": "prod"}],
        "throttle": {"rateLimit": 1.0, "burstLimit": 1},
    },
]


class Cloud:
    """An account in which everything is as keyjanitor believes; a test changes what it is about.

    `answers` has the body of each method's answer, or AWS's code for a refusal.
    """

    def __init__(self, **answers: Any) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.denied: set[str] = set()
        self.answers: dict[str, Any] = {
            "get_caller_identity": {"Account": "123456789012", "Arn": "arn:aws:sts::1:x"},
            "get_api_keys": {"items": KEYS},
            "get_usage_plans": {"items": PLANS},
            "get_usage": usage,
            "get_resources": {"ResourceTagMappingList": [tagged("key0000001", {"Team": "web"})]},
            "describe_stacks": {"Stacks": [STACK]},
            "lookup_events": {"Events": []},
            "get_api_key": {"id": "key0000001", "tags": {"Team": "web"}},
            "get_rest_apis": {"items": [{"id": "api1", "name": "shop"}]},
            "get_stages": {"item": [{"stageName": "prod", "deploymentId": "d1"}]},
            "get_deployment": {
                "apiSummary": {
                    "/": {"GET": {"apiKeyRequired": True}, "PUT": {"apiKeyRequired": False}}
                }
            },
            "describe_resource_policies": {"resourcePolicies": []},
            "describe_alarms": {"MetricAlarms": []},
            "list_metrics": {"Metrics": []},
            "get_metric_data": {"MetricDataResults": []},
            "list_schedule_groups": {"ScheduleGroups": []},
            "list_layers": {"Layers": []},
            "get_function_configuration": {"Runtime": "python3.13", "Role": ROLE},
            "simulate_principal_policy": {"EvaluationResults": [{"EvalDecision": "allowed"}]},
            "describe_log_streams": {"logStreams": [{"lastEventTimestamp": 1_795_000_000_000}]},
            **answers,
        }

    def __call__(self, call: Call, **params: Any) -> Answer:
        self.asked.append((call.method, params))
        if call.method in self.denied or (call.right and call.right.resource in self.denied):
            return Answer(call, code="AccessDeniedException", denied=True)
        answer = self.answers[call.method]
        if callable(answer):
            answer = answer(**params)
        return Answer(call, code=answer) if isinstance(answer, str) else Answer(call, answer)

    def preflight(self) -> Found:
        """What a preflight finds here."""
        return judge(seen_of(self), len(self.asked))


def seen_of(cloud: Cloud) -> Seen:
    """What is seen of an account."""
    return gather(cloud, TODAY, "us-east-1", "aws", "1.40.0", None)


def usage(**asked: Any) -> Mapping[str, Any]:
    """The use of one key, as many days as were asked for."""
    days = (date.fromisoformat(asked["endDate"]) - date.fromisoformat(asked["startDate"])).days
    return {
        "startDate": asked["startDate"],
        "endDate": asked["endDate"],
        "items": {"key0000001": [[3, 7]] * (days + 1)},
    }


def usage_since(back: int) -> Any:
    """GetUsage that tells at most so many days back."""

    def told(**asked: Any) -> Mapping[str, Any]:
        first = max(date.fromisoformat(asked["startDate"]), TODAY - timedelta(days=back))
        return usage(startDate=str(first), endDate=asked["endDate"])

    return told


def tagged(key_id: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """A key as the tagging API lists it."""
    return {
        "ResourceARN": f"arn:aws:apigateway:us-east-1::/apikeys/{key_id}",
        "Tags": [{"Key": name, "Value": value} for name, value in tags.items()],
    }


def row(found: Found, number: str) -> Finding:
    """The finding of one row."""
    (one,) = [each for each in found.findings if each.number == number]
    return one
