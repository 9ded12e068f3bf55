"""What a preflight makes of an account's answers: the ten questions, the ground, and the rights."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyjanitor.domain.usage.access_log_format import SUGGESTED
from keyjanitor_cli.preflight.document import document
from keyjanitor_cli.preflight.findings import Found, Outcome
from keyjanitor_cli.preflight.ground import ALARMS_OF_STACK
from keyjanitor_cli.preflight.phrases import plain
from keyjanitor_cli.preflight.rights import ALL, RIGHTS, line_of, policy
from keyjanitor_cli.shapes import Excerpt, Line
from keyjanitor_cli.views import preflight as shown
from tests.unit.preflight.account import (
    KEYS,
    PLANS,
    STACK,
    TODAY,
    UPDATED,
    Cloud,
    row,
    tagged,
    usage,
    usage_since,
)

ROOT = Path(__file__).parents[3]
SAME, DIFFERS, LEARNED, OPEN = Outcome.SAME, Outcome.DIFFERS, Outcome.LEARNED, Outcome.OPEN
VALUE = "aValueThatNobodyMayPrint0000000000000001"


def event(**told: Any) -> dict[str, Any]:
    return {"Events": [{"CloudTrailEvent": json.dumps(told)}]}


def updates(date: str) -> Any:
    """CloudTrail with one UpdateApiKey, whose answer had this date."""

    def lookup(**asked: Any) -> dict[str, Any]:
        if asked["LookupAttributes"][0]["AttributeValue"] != "UpdateApiKey":
            return {"Events": []}
        return event(responseElements={"id": "key0000001", "lastUpdatedDate": date})

    return lookup


def without_today(**asked: Any) -> Any:
    """GetUsage that refuses a day that has not begun where it counts."""
    return "BadRequestException" if asked["endDate"] == str(TODAY) else usage(**asked)


def key(**more: Any) -> dict[str, Any]:
    return {"id": "key0000001", "tags": {"Team": "web"}, **more}


def test_where_aws_answers_as_believed_nothing_differs() -> None:
    found = Cloud(
        lookup_events=updates("Nov 20, 2026, 3:15:07 AM"),
        get_api_key=key(lastUpdatedDate=UPDATED),
        get_resources={
            "ResourceTagMappingList": [
                tagged("key0000001", {"Team": "web"}),
                tagged("key0000002", {"aws:cloudformation:stack-name": "shop"}),
            ]
        },
    ).preflight()
    outcomes = {one.number: one.outcome for one in found.questions}
    assert outcomes == {
        **dict.fromkeys(("1a", "1b", "2a", "2b", "2c", "3", "4a", "4b", "4c", "4d"), SAME),
        **dict.fromkeys(("5", "6", "8", "9", "10"), SAME),
        "2d": LEARNED,
        "7": OPEN,
    }
    assert not found.needs_person


@pytest.mark.parametrize(
    ("number", "answers", "outcome", "said"),
    [
        ("1a", {"get_usage": usage_since(89)}, DIFFERS, "90 days: starts 1 days later"),
        ("1a", {"get_usage": usage_since(91)}, SAME, "92 days: starts 1 days later"),
        ("1a", {"get_usage": "BadRequestException"}, DIFFERS, "90 days: BadRequestException"),
        ("1a", {"get_usage_plans": {"items": []}}, OPEN, "no usage plan"),
        (
            "1a",
            {"get_usage": lambda **asked: {"startDate": "soon"}},
            DIFFERS,
            "90 days: an answer of another shape",
        ),
        (
            "1b",
            {"get_usage": lambda **asked: {**usage(**asked), "endDate": "2026-11-20"}},
            DIFFERS,
            "asked until 2026-11-21, it answers until 2026-11-20",
        ),
        ("1b", {"get_usage": "BadRequestException"}, OPEN, "BadRequestException"),
        ("1b", {"get_usage": without_today}, DIFFERS, "it answers until 2026-11-20"),
        ("1a", {"get_usage": without_today}, SAME, "90 days: as asked"),
        ("2a", {"get_usage": without_today}, SAME, "of 1 names 1 are ids"),
        (
            "2a",
            {"get_usage": lambda **asked: {**usage(**asked), "items": {VALUE: [[1, 2]] * 91}}},
            DIFFERS,
            "of 1 names 0 are ids of keys",
        ),
        (
            "2b",
            {"get_usage": lambda **asked: {**usage(**asked), "items": {"key0000001": [[1, 2]]}}},
            DIFFERS,
            "2 have another number",
        ),
        (
            "2b",
            {"get_usage": lambda **asked: {**usage(**asked), "items": {"key0000001": {"a": 1}}}},
            DIFFERS,
            "another shape",
        ),
        ("2d", {}, LEARNED, "from 7 to 7"),
        ("4a", {"get_api_keys": {"items": [{**KEYS[0], "tags": {"a": "b"}}]}}, DIFFERS, "1 of 1"),
        ("4a", {"get_api_keys": {"keys": KEYS}}, DIFFERS, "another shape"),
        ("4b", {"get_resources": {"ResourceTagMappingList": []}}, OPEN, "no key"),
        (
            "4b",
            {
                "get_resources": {"ResourceTagMappingList": []},
                "get_api_keys": {"items": [{"id": f"key{n:07}"} for n in range(200)]},
            },
            DIFFERS,
            "none of 200 keys",
        ),
        ("4d", {"get_api_key": {"id": "key0000001"}}, DIFFERS, "no tags"),
        (
            "5",
            {
                "simulate_principal_policy": {
                    "EvaluationResults": [{"EvalDecision": "implicitDeny"}]
                }
            },
            DIFFERS,
            "implicitDeny",
        ),
        ("5", {"describe_stacks": {"Stacks": []}}, OPEN, "no stack"),
        ("6", {"get_function_configuration": {"Runtime": "python3.12"}}, DIFFERS, "python3.12"),
        ("10", {"get_deployment": {"apiSummary": {"/": {"GET": {}}}}}, DIFFERS, "1 say nothing"),
        ("10", {"get_deployment": {}}, DIFFERS, "another shape"),
        ("10", {"get_stages": {"item": []}}, OPEN, "no deployment"),
    ],
)
def test_what_aws_answers_otherwise_is_named(
    number: str, answers: dict[str, Any], outcome: Outcome, said: str
) -> None:
    finding = row(Cloud(**answers).preflight(), number)
    assert finding.outcome is outcome
    assert said in plain(finding.said)
    assert (finding.follows != "") or outcome is not DIFFERS or number in ("4a", "6")


@pytest.mark.parametrize(("seconds", "outcome"), [(0, SAME), (1, SAME), (2, DIFFERS)])
def test_a_date_may_be_a_second_later_in_a_read_and_no_more(seconds: int, outcome: Outcome) -> None:
    later = UPDATED + timedelta(seconds=seconds)
    for written in ("Nov 20, 2026, 3:15:07\u202fAM", "2026-11-20T03:15:07Z"):
        cloud = Cloud(lookup_events=updates(written), get_api_key=key(lastUpdatedDate=later))
        assert row(cloud.preflight(), "3").outcome is outcome


def test_an_import_that_shows_its_file_in_cloudtrail_is_named() -> None:
    def lookup(**asked: Any) -> dict[str, Any]:
        if asked["LookupAttributes"][0]["AttributeValue"] != "ImportApiKeys":
            return {"Events": []}
        return event(requestParameters={"body": VALUE}, responseElements={"warnings": ["exists"]})

    found = Cloud(lookup_events=lookup).preflight()
    assert row(found, "7").outcome is DIFFERS
    assert "1 warned" in plain(row(found, "7").said)
    assert VALUE not in all_that_is_told(found)


@pytest.mark.parametrize(
    ("number", "answers", "said"),
    [
        ("keys", {"get_api_keys": {"items": [{"id": f"k{n}"} for n in range(9_000)]}}, "9,000"),
        ("plans", {"get_usage_plans": {"items": PLANS * 135}}, "270"),
        ("limits", {"get_usage_plans": {"items": [{**PLANS[0], "quota": None}]}}, "1 of 1"),
        ("stages", {"get_usage_plans": {"items": [{"id": "p", "name": "old"}]}}, "old"),
        ("silent", {"get_usage": lambda **asked: {**usage(**asked), "items": {}}}, "2 of 2"),
        ("ids", {"get_api_keys": {"items": [{"id": VALUE}]}}, "1 keys: id-"),
        ("old", {"get_api_keys": {"items": [{"id": "k", "stageKeys": ["a/b"]}]}}, "1 keys: k"),
        (
            "owned",
            {
                "get_api_keys": {
                    "items": [
                        {"id": "k1", "description": "Managed by Terraform"},
                        {"id": "k2", "description": "Managed by Ansible in the shop"},
                    ]
                }
            },
            "descriptions Managed by Terraform: 1; 1 with unknown marks",
        ),
        ("trail", {"describe_resource_policies": {"resourcePolicies": [{}] * 10},
                   "describe_stacks": {"Stacks": []}}, "10 of 10"),
        (
            "stacks",
            {"describe_stacks": {"Stacks": [STACK, {**STACK, "StackName": "other"}]}},
            "keyjanitor, other",
        ),
        ("arm64", {"list_layers": "InvalidParameterValueException"}, "InvalidParameterValue"),
        ("scheduler", {"list_schedule_groups": "EndpointConnectionError"}, "EndpointConnection"),
    ],
)  # fmt: skip
def test_ground_that_does_not_bear_is_named_with_what_to_do(
    number: str, answers: dict[str, Any], said: str
) -> None:
    found = Cloud(**answers).preflight()
    finding = row(found, number)
    assert finding.outcome is DIFFERS
    assert said in plain(finding.said)
    assert finding.follows
    assert found.needs_person
    assert row(Cloud().preflight(), number).outcome is SAME, "the test would pass on any ground"


LOG = "arn:aws:logs:us-east-1:123456789012:log-group:/apis/prod"
STREAM = "arn:aws:firehose:us-east-1:123456789012:deliverystream/amazon-apigateway-a"
WITH_ID = '{"key":"$context.identity.apiKeyId"}'


@pytest.mark.parametrize(
    ("form", "destination", "outcome", "said"),
    [
        (WITH_ID, LOG, SAME, "1 of 1"),
        ("$context.requestId", LOG, LEARNED, "0 of 1"),
        (WITH_ID, STREAM, LEARNED, "0 of 1"),
        ('{"value":"$context.identity.apiKey"}', LOG, LEARNED, "0 of 1"),
    ],
)
def test_access_logs_are_a_witness_if_they_can_be_asked_for_the_keys_id(
    form: str, destination: str, outcome: Outcome, said: str
) -> None:
    stage = {
        "stageName": "prod",
        "accessLogSettings": {"format": form, "destinationArn": destination},
    }
    finding = row(Cloud(get_stages={"item": [stage]}).preflight(), "logs")
    assert finding.outcome is outcome
    assert said in plain(finding.said)
    assert (LOG in plain(finding.said)) == (outcome is SAME)
    assert (SUGGESTED in str(finding.follows)) == (outcome is LEARNED)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            {
                "MetricDataResults": [
                    {"Id": "g0", "Values": [9e12]},
                    {"Id": "g1", "Values": [2.5e9]},
                ]
            },
            "; a night's queries would look at 2.50 GB, about $0.013",
        ),
        ("InternalServiceFault", "; what a night's queries would cost is not known"),
    ],
)
def test_what_asking_the_logs_of_a_night_costs_is_said_before(answer: Any, said: str) -> None:
    stage = {
        "stageName": "prod",
        "accessLogSettings": {"format": WITH_ID, "destinationArn": LOG},
    }
    found = Cloud(get_stages={"item": [stage]}, get_metric_data=answer).preflight()
    assert said in plain(row(found, "logs").said)


def test_room_for_alarms_is_that_of_the_template() -> None:
    template = (ROOT / "template.yaml").read_text("utf-8")
    assert len(re.findall(r"^    Type: AWS::CloudWatch::Alarm$", template, re.M)) == ALARMS_OF_STACK


@pytest.mark.parametrize("call", [one for one in ALL if one.right], ids=lambda call: call.method)
def test_a_missing_right_is_named_with_its_resource_and_the_line_of_the_policy(call: Any) -> None:
    cloud = Cloud()
    cloud.denied = {call.right.resource} if call.right.resource != "*" else {call.method}
    cloud.answers["lookup_events"] = updates("2026-11-20T03:15:07Z")
    found = cloud.preflight()
    (missing,) = found.missing
    assert missing.right is call.right
    lines = policy("aws", "us-east-1", "keyjanitor").splitlines()
    assert missing.statement in lines[missing.line - 1]
    said = [one.text for one in shown.view(found, "f") if isinstance(one, Line | Excerpt)]
    assert any(f"line {missing.line}: {missing.right.action} on" in text for text in said)
    assert found.needs_person


def test_the_policy_is_json_and_has_a_line_for_each_right() -> None:
    text = policy("aws-us-gov", "us-gov-west-1", "mine")
    statements = json.loads(text)["Statement"]
    assert len(statements) == len(RIGHTS)
    for right, statement in zip(RIGHTS, statements, strict=True):
        assert statement["Action"] == right.action
        assert json.dumps(statement) in text.splitlines()[line_of(right) - 1]
    assert "arn:aws:" not in text
    assert "function:mine-*" in text


def all_that_is_told(found: Found) -> str:
    """Everything that a preflight shows and writes."""
    blocks = repr(shown.view(found, "preflight.json"))
    return blocks + json.dumps(document(found, "1", str(TODAY), "1"))


def test_the_file_has_tokens_in_place_of_ids_and_names_and_no_value() -> None:
    found = Cloud(
        get_api_keys={"items": [*KEYS, {"id": VALUE, "stageKeys": ["a/b"]}]},
        get_usage_plans={"items": [{"id": "plan1", "name": "for ACME"}, *PLANS[1:]]},
        get_usage=lambda **asked: {**usage(**asked), "items": {VALUE: {"odd": VALUE}}},
    ).preflight()
    told = document(found, "0.2.0", str(TODAY), "1.40.0")
    text = json.dumps(told)
    for private in ("123456789012", "ACME", "plan1", "key0000001", VALUE, "keyjanitor-"):
        assert private not in text
    ground = {one["row"]: one for one in told["ground"]}
    assert ground["old"]["said"] == ground["ids"]["said"] == "1 keys: <key:1>"
    assert ground["stages"]["said"] == "1 of 2: <plan:1>"
    (shape,) = [one["shape"] for one in told["questions"] if "shape" in one]
    assert shape == {"startDate": "text", "endDate": "text", "items": {"<name>": [{"odd": "text"}]}}
    assert VALUE not in all_that_is_told(found)


def test_keys_that_say_whose_they_are_are_counted_by_place() -> None:
    untagged = Cloud(get_resources={"ResourceTagMappingList": []})
    assert plain(row(untagged.preflight(), "owners").said) == "0 of 4"
    keys = [
        *KEYS,
        {"id": "keyd", "description": "user_id=17"},
        {"id": "keyc", "customerId": "user 18"},
        {"id": "keyb", "customerId": "user 19", "description": "user_id=19"},
    ]
    found = row(Cloud(get_api_keys={"items": keys}).preflight(), "owners")
    assert plain(found.said) == "4 of 7, by tag:Team: 1; customer_id: 2; description: 2"
    assert found.outcome is Outcome.LEARNED
    assert "policy suggest" in found.follows
    assert "user 1" not in all_that_is_told(Cloud(get_api_keys={"items": keys}).preflight())
