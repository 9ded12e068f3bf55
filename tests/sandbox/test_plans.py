"""Usage plans in the sandbox are made whole or not at all, and a key is in one plan for a stage."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.driver.client import LaidKey, Sandbox

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]

VALUE = "a-value-of-twenty-letters-or-more"
SLOW = {"rateLimit": 2.0, "burstLimit": 4}


@pytest.fixture
def gateway(sandbox: Sandbox) -> Any:
    return sandbox.client("apigateway")


@pytest.fixture
def api_id(sandbox: Sandbox) -> str:
    return sandbox.rest_api(["prod", "web"])


def code_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    answer = error.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def attach(gateway: Any, plan_id: str, key_id: str) -> None:
    gateway.create_usage_plan_key(usagePlanId=plan_id, keyId=key_id, keyType="API_KEY")


def members(gateway: Any, plan_id: str, **kw: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = gateway.get_usage_plan_keys(usagePlanId=plan_id, **kw)["items"]
    return items


# -- CreateUsagePlan ------------------------------------------------------------------------------


def test_a_plan_is_made_whole_in_one_call(sandbox: Sandbox, gateway: Any, api_id: str) -> None:
    whole: dict[str, Any] = {
        "name": "external",
        "description": "made by a test",
        "apiStages": [
            {"apiId": api_id, "stage": "prod", "throttle": {"/search/POST": SLOW}},
            {"apiId": api_id, "stage": "web"},
        ],
        "throttle": {"rateLimit": 10.0, "burstLimit": 20},
        "quota": {"limit": 50_000, "period": "MONTH"},
    }
    made = gateway.create_usage_plan(**whole)
    shown = gateway.get_usage_plan(usagePlanId=made["id"])
    [listed] = gateway.get_usage_plans()["items"]
    assert shown.pop("tags") == {}
    for answer in (made, shown, listed):
        answer.pop("ResponseMetadata", None)
        quota = {**whole["quota"], "offset": 0}
        assert answer == whole | {"id": made["id"], "quota": quota}
    assert sandbox.calls_per_operation() == {
        "CreateUsagePlan": 1,
        "GetUsagePlan": 1,
        "GetUsagePlans": 1,
    }


def test_a_plan_that_was_just_made_opens_its_stages_within_its_limits(
    sandbox: Sandbox, gateway: Any, api_id: str
) -> None:
    slow = {"rateLimit": 0.001, "burstLimit": 2}
    stage = {"apiId": api_id, "stage": "prod", "throttle": {"/hello/GET": slow}}
    plan_id = gateway.create_usage_plan(name="p", apiStages=[stage])["id"]
    sandbox.lay_down([LaidKey(value=VALUE, plans=[plan_id])])
    assert [sandbox.call_api(api_id, "prod", VALUE) for _ in range(3)] == [200, 200, 429]
    assert sandbox.call_api(api_id, "web", VALUE) == 403


@pytest.mark.parametrize(
    ("stage", "refusal"),
    [
        ({"apiId": "gone", "stage": "prod"}, ("NotFoundException", 404)),
        ({"stage": "gone"}, ("NotFoundException", 404)),
        ({"stage": ""}, ("BadRequestException", 400)),
    ],
)
def test_an_unknown_stage_is_refused_and_makes_nothing(
    gateway: Any, api_id: str, stage: dict[str, str], refusal: tuple[str, int]
) -> None:
    there = {"apiId": api_id, "stage": "prod"}
    with pytest.raises(ClientError) as error:
        gateway.create_usage_plan(name="p", apiStages=[there, {"apiId": api_id} | stage])
    assert code_of(error) == refusal
    if refusal[1] == 404:
        missing = {"apiId": api_id} | stage
        expected = f"API Stage not found: {missing['apiId']}:{missing['stage']}"
        assert error.value.response["Error"]["Message"] == expected
    assert gateway.get_usage_plans()["items"] == []


def test_the_301st_plan_is_refused_with_429(sandbox: Sandbox, gateway: Any) -> None:
    for n in range(300):
        sandbox.usage_plan(f"p{n}")
    with pytest.raises(ClientError) as error:
        gateway.create_usage_plan(name="one too many")
    assert code_of(error) == ("LimitExceededException", 429)
    sandbox.misbehave(plan_limit=301)
    assert gateway.create_usage_plan(name="one too many")["id"]


def test_a_plan_has_20_method_throttles_at_most(gateway: Any, api_id: str) -> None:
    def stages(count: int) -> list[dict[str, Any]]:
        first, second = ({f"/{stage}{n}/GET": SLOW for n in range(10)} for stage in ("a", "b"))
        if count > 20:
            second["/one-too-many/GET"] = SLOW
        return [
            {"apiId": api_id, "stage": "prod", "throttle": first},
            {"apiId": api_id, "stage": "web", "throttle": second},
        ]

    with pytest.raises(ClientError) as error:
        gateway.create_usage_plan(name="p", apiStages=stages(21))
    assert code_of(error) == ("LimitExceededException", 429)
    assert gateway.get_usage_plans()["items"] == []
    assert gateway.create_usage_plan(name="p", apiStages=stages(20))["id"]


def test_making_a_plan_takes_of_the_ten_calls_a_second(sandbox: Sandbox) -> None:
    gateway = sandbox.client("apigateway", patient=False)
    sandbox.set_throttles(0.01)
    for _ in range(40):
        gateway.get_usage_plans()
    with pytest.raises(ClientError) as error:
        gateway.create_usage_plan(name="p")
    assert code_of(error) == ("TooManyRequestsException", 429)
    assert [call.error for call in sandbox.calls()][-1] == "TooManyRequestsException"


def test_a_plan_is_deleted_once_it_opens_no_stage(gateway: Any, api_id: str) -> None:
    stage = {"apiId": api_id, "stage": "prod"}
    plan_id = gateway.create_usage_plan(name="p", apiStages=[stage])["id"]
    with pytest.raises(ClientError) as error:
        gateway.delete_usage_plan(usagePlanId=plan_id)
    assert error.value.response["Error"] == {
        "Code": "BadRequestException",
        "Message": f"Cannot delete Usage Plan {plan_id} because there are API Stages associated "
        f"with it, including {api_id}:prod",
    }
    without = {"op": "remove", "path": "/apiStages", "value": f"{api_id}:prod"}
    gateway.update_usage_plan(usagePlanId=plan_id, patchOperations=[without])
    gateway.delete_usage_plan(usagePlanId=plan_id)
    assert gateway.get_usage_plans()["items"] == []


# -- members --------------------------------------------------------------------------------------


def test_members_are_asked_for_by_the_beginning_of_their_name_over_pages(
    sandbox: Sandbox, gateway: Any
) -> None:
    plan_id = sandbox.usage_plan("p")
    ours = sandbox.lay_down([LaidKey(name=f"kj-7-{n:03}", plans=[plan_id]) for n in range(60)])
    sandbox.lay_down([LaidKey(name=f"KJ-7-{n}", plans=[plan_id]) for n in range(60)])
    sandbox.lay_down([LaidKey(name="kj-7-not a member")])
    found: list[str] = []
    query: dict[str, Any] = {"nameQuery": "kj-7-", "limit": 25}
    for expected in (25, 25, 10):
        page = gateway.get_usage_plan_keys(usagePlanId=plan_id, **query)
        assert len(page["items"]) == expected
        found += [item["id"] for item in page["items"]]
        query["position"] = page.get("position")
    assert query["position"] is None
    assert sorted(found) == sorted(ours)


def test_a_key_is_in_one_plan_for_each_stage(sandbox: Sandbox, gateway: Any, api_id: str) -> None:
    first, second, elsewhere = (
        sandbox.usage_plan(stage, [(api_id, stage)]) for stage in ("prod", "prod", "web")
    )
    [key_id] = sandbox.lay_down([LaidKey(value=VALUE)])
    attach(gateway, first, key_id)
    attach(gateway, elsewhere, key_id)
    with pytest.raises(ClientError) as error:
        attach(gateway, second, key_id)
    assert code_of(error) == ("ConflictException", 409)
    assert f"{api_id}:prod" in error.value.response["Error"]["Message"]
    assert members(gateway, second) == []
    plans = {plan["id"] for plan in gateway.get_usage_plans(keyId=key_id)["items"]}
    assert plans == {first, elsewhere}


def test_a_key_that_left_a_plan_can_join_another_on_its_stage(
    sandbox: Sandbox, gateway: Any, api_id: str
) -> None:
    first, second = (sandbox.usage_plan(name, [(api_id, "prod")]) for name in "ab")
    [key_id] = sandbox.lay_down([LaidKey(plans=[first])])
    gateway.delete_usage_plan_key(usagePlanId=first, keyId=key_id)
    attach(gateway, second, key_id)
    assert [member["id"] for member in members(gateway, second)] == [key_id]


def test_keys_are_laid_down_in_whatever_plans_they_are_to_be(
    sandbox: Sandbox, gateway: Any, api_id: str
) -> None:
    plans = [sandbox.usage_plan(name, [(api_id, "prod")]) for name in "ab"]
    [key_id] = sandbox.lay_down([LaidKey(plans=plans)])
    assert len(gateway.get_usage_plans(keyId=key_id)["items"]) == 2


def test_an_import_into_two_plans_on_one_stage_is_a_warning(
    sandbox: Sandbox, gateway: Any, api_id: str
) -> None:
    first, second = (sandbox.usage_plan(name, [(api_id, "prod")]) for name in "ab")
    body = f'Name,Key,UsagePlanIds\nn,{VALUE},"{first},{second}"'
    with pytest.raises(ClientError) as error:
        gateway.import_api_keys(body=body, format="csv", failOnWarnings=True)
    assert code_of(error) == ("BadRequestException", 400)
    assert gateway.get_api_keys()["items"] == []
    answer = gateway.import_api_keys(body=body, format="csv")
    assert len(answer["warnings"]) == 1
    assert [len(members(gateway, plan_id)) for plan_id in (first, second)] == [1, 0]


def test_an_import_of_a_key_that_is_in_a_plan_on_the_stage_is_a_warning(
    sandbox: Sandbox, gateway: Any, api_id: str
) -> None:
    first, second = (sandbox.usage_plan(name, [(api_id, "prod")]) for name in "ab")
    sandbox.lay_down([LaidKey(value=VALUE, plans=[first])])
    for plan_id, warnings in ((first, 0), (second, 1)):
        body = f"Name,Key,UsagePlanIds\nn,{VALUE},{plan_id}"
        assert len(gateway.import_api_keys(body=body, format="csv")["warnings"]) == warnings
    assert [len(members(gateway, plan_id)) for plan_id in (first, second)] == [1, 0]
