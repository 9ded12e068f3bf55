"""Answers of real AWS, as public sources show them: adapters read them, and sandbox and preflight are held against them.

Each file of tests/recorded/ says where its answers are from.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.rate_limiter import RateLimiter
from keyjanitor.domain.model.policy import Quota, Rate
from keyjanitor.errors import CallFailed
from keyjanitor_cli.preflight.findings import Outcome
from keyjanitor_cli.preflight.shapes import shape
from sandbox.driver.client import Sandbox
from tests.unit.preflight.account import Cloud, row

FOLDER = Path(__file__).parents[2] / "recorded"
DOCUMENTS = {path.name: json.loads(path.read_text("utf-8")) for path in FOLDER.glob("*.json")}
ANSWERS: list[Mapping[str, Any]] = [
    one for document in DOCUMENTS.values() for one in document["answers"]
]
WHEN = datetime(2026, 11, 20, tzinfo=UTC)
LISTS = {"GetApiKeys", "GetUsagePlanKeys", "GetUsagePlans"}


def cases(answers: Iterable[Mapping[str, Any]]) -> list[Any]:
    """A test's parameters, called as the recordings are."""
    return [pytest.param(one, id=f"{one['call']}-{number}") for number, one in enumerate(answers)]


def with_dates(answer: Any) -> Any:
    """An answer as boto3 gives it: what was a date when it was recorded is one again."""
    if isinstance(answer, dict):
        return {name: with_dates(one) for name, one in answer.items()}
    if isinstance(answer, list):
        return [with_dates(one) for one in answer]
    return WHEN if answer == "datetime" else answer


def recorded(operation: str, status: int = 200) -> list[Mapping[str, Any]]:
    """The recorded answers to an operation."""
    return [
        with_dates(one["answer"])
        for one in ANSWERS
        if (one["operation"], one["status"]) == (operation, status)
    ]


def gateway(answer: Mapping[str, Any], status: int = 200) -> ApiGateway:
    """The adapter on a client that answers this to whatever is asked."""

    class Client:
        def __getattr__(self, method: str) -> Any:
            def call(**_: Any) -> Any:
                if status >= 400:
                    refusal: Any = {**answer, "ResponseMetadata": {"HTTPStatusCode": status}}
                    raise ClientError(refusal, method)
                return {name: one for name, one in answer.items() if name != "position"}

            return call

    return ApiGateway(Client(), RateLimiter(1_000_000))


def test_each_document_says_where_its_answers_are_from_and_has_no_value() -> None:
    assert sum(len(one["answers"]) for one in DOCUMENTS.values()) > 50
    for document in DOCUMENTS.values():
        assert "https://" in document["about"]
        for one in document["answers"]:
            assert one["source"]
            assert datetime.fromisoformat(one["date"]) < WHEN.replace(tzinfo=None)
            text = json.dumps(one["answer"])
            assert '"value": "' not in text.replace('"value": "<value:', "")


@pytest.mark.parametrize("one", cases(one for one in ANSWERS if one["operation"] in LISTS))
def test_a_recorded_list_is_a_list_that_adapters_read_to_its_last_item(
    one: Mapping[str, Any],
) -> None:
    answer = with_dates(one["answer"])
    adapter = gateway(answer)
    ids = [item["id"] for item in answer["items"]]
    if one["operation"] == "GetApiKeys":
        keys = adapter.keys()
        assert [key.key_id for key in keys] == ids
        assert {key.tags for key in keys} <= {None}  # not told, which is not untagged
    elif one["operation"] == "GetUsagePlanKeys":
        assert list(adapter.members("p1")) == ids
    else:
        assert [plan.usage_plan_id for plan in adapter.usage_plans()] == ids


def test_a_recorded_plan_has_the_limits_that_it_was_made_with() -> None:
    plans = [plan for answer in recorded("GetUsagePlans") for plan in gateway(answer).usage_plans()]
    assert (plans[0].throttle, plans[0].quota) == (None, None)
    assert (plans[1].throttle, plans[1].quota) == (Rate(200.0, 100), Quota(5000, "MONTH"))
    assert list(plans[1].stages) == ["<api-id:1>:dev"]


def test_a_recorded_change_of_a_key_is_read_with_its_date() -> None:
    for answer in recorded("UpdateApiKey"):
        assert gateway(answer).set_enabled("k1", enabled=False) == WHEN


@pytest.mark.parametrize("one", cases(one for one in ANSWERS if one["status"] >= 400))
def test_a_recorded_refusal_is_an_error_with_aws_code_and_without_its_text(
    one: Mapping[str, Any],
) -> None:
    with pytest.raises(CallFailed) as caught:
        gateway(one["answer"], one["status"]).usage_plans()
    assert caught.value.code == one["answer"]["Error"]["Code"]
    assert one["answer"]["Error"]["Message"] not in str(caught.value)


def test_preflight_finds_of_the_recorded_lists_what_keyjanitor_believes() -> None:
    for answer in recorded("GetApiKeys"):
        first = {name: one for name, one in answer.items() if name != "position"}
        found = Cloud(get_api_keys=first).preflight()
        assert row(found, "4a").outcome is (Outcome.SAME if answer["items"] else Outcome.OPEN)
    for answer in recorded("GetUsagePlans"):
        found = Cloud(get_usage_plans=answer).preflight()
        limited = bool(answer["items"][0].get("quota"))
        assert row(found, "limits").outcome is (Outcome.SAME if limited else Outcome.DIFFERS)
        assert row(found, "stages").outcome is Outcome.SAME


@pytest.mark.slow
@pytest.mark.enable_socket
def test_the_sandbox_answers_with_the_members_that_were_recorded(sandbox: Sandbox) -> None:
    client = sandbox.client("apigateway")
    key = client.create_api_key(name="first")
    plan = client.create_usage_plan(name="plan")
    disable = [{"op": "replace", "path": "/enabled", "value": "false"}]
    answers = {
        "CreateApiKey": key,
        "UpdateApiKey": client.update_api_key(apiKey=key["id"], patchOperations=disable),
        "GetApiKeys": client.get_api_keys(),
        "CreateUsagePlan": plan,
        "CreateUsagePlanKey": client.create_usage_plan_key(
            usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY"
        ),
        "GetUsagePlanKeys": client.get_usage_plan_keys(usagePlanId=plan["id"]),
    }
    for operation, answer in answers.items():
        shapes = [shape(one) for status in (200, 201) for one in recorded(operation, status)]
        told = shape(answer)
        # AWS leaves `tags` out of some answers and has it empty in others.
        assert _without_tags(told) in [_without_tags(one) for one in shapes], operation


def _without_tags(told: Any) -> Any:
    if not isinstance(told, dict):
        return told
    return {name: one for name, one in told.items() if name != "tags" or one}
