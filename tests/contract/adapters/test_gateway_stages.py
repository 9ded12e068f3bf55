"""What stages serve and plans allow: the adapter against botocore's model, and always two pages."""

from collections.abc import Iterator
from typing import Any

import pytest

from keyjanitor.domain.model.apis import Method, RestApi, Stage
from keyjanitor.domain.model.policy import Quota, Rate
from keyjanitor.domain.model.usage_plan import UsagePlan
from keyjanitor.errors import AccessDenied, CallFailed, UnexpectedAnswer
from tests.contract.adapters.test_gateway import PAGE, Stubbed

EMBED = {"restApiId": "api1", "deploymentId": "d1", "embed": ["apisummary"]}


@pytest.fixture
def stubbed() -> Iterator[Stubbed]:
    stubbed = Stubbed()
    with stubbed.aws:
        yield stubbed
        stubbed.aws.assert_no_pending_responses()


# --- plans ----------------------------------------------------------------------------------------


def test_plans_with_the_limits_of_each_of_their_stages(stubbed: Stubbed) -> None:
    whole = {
        "id": "p1",
        "name": "external",
        "productCode": "market",
        "apiStages": [
            {"apiId": "api1", "stage": "prod"},
            {
                "apiId": "api1",
                "stage": "web",
                "throttle": {"/books/GET": {"rateLimit": 0.5, "burstLimit": 1}},
            },
        ],
        "throttle": {"rateLimit": 10.0, "burstLimit": 20},
        "quota": {"limit": 50_000, "offset": 3, "period": "WEEK"},
    }
    stubbed.answers("get_usage_plans", {"items": [whole], "position": "next"}, **PAGE)
    stubbed.answers("get_usage_plans", {"items": [{"id": "p2"}, whole]}, **PAGE, position="next")
    assert stubbed.gateway.usage_plans() == [
        UsagePlan(
            usage_plan_id="p1",
            name="external",
            stages={"api1:prod": {}, "api1:web": {"/books/GET": Rate(0.5, 1)}},
            throttle=Rate(10.0, 20),
            quota=Quota(50_000, "WEEK"),
            offset=3,
            product_code="market",
        ),
        UsagePlan("p2", ""),
    ]


@pytest.mark.parametrize(
    ("limits", "has_limits"),
    [
        ({}, False),
        ({"throttle": {}, "quota": {}}, False),
        ({"throttle": {"rateLimit": 0.0, "burstLimit": 0}}, True),
        ({"quota": {"limit": 1, "period": "DAY"}}, True),
    ],
)
def test_a_throttle_of_nothing_is_a_limit_and_none_is_none(
    stubbed: Stubbed, limits: dict[str, Any], has_limits: bool
) -> None:
    stubbed.answers("get_usage_plans", {"items": [{"id": "p", **limits}]}, **PAGE)
    [plan] = stubbed.gateway.usage_plans()
    assert plan.has_limits is has_limits


# --- APIs and stages ------------------------------------------------------------------------------


def test_every_rest_api_of_every_page_once(stubbed: Stubbed) -> None:
    first = {"id": "api1", "name": "books", "apiKeySource": "AUTHORIZER"}
    stubbed.answers("get_rest_apis", {"items": [first], "position": "next"}, **PAGE)
    stubbed.answers("get_rest_apis", {"items": [{"id": "api2"}, first]}, **PAGE, position="next")
    assert stubbed.gateway.rest_apis() == [
        RestApi("api1", "books", "AUTHORIZER"),
        RestApi("api2", "", "HEADER"),
    ]


def test_a_stage_serves_its_deployment_and_its_canarys(stubbed: Stubbed) -> None:
    stages = [
        {"stageName": "prod", "deploymentId": "d1", "canarySettings": {"deploymentId": "d2"}},
        {"stageName": "web", "deploymentId": "d1", "canarySettings": {"percentTraffic": 0.0}},
        {"stageName": "bare"},
    ]
    stubbed.answers("get_stages", {"item": stages}, restApiId="api1")
    assert stubbed.gateway.stages("api1") == [
        Stage("api1", "prod", ("d1", "d2"), canary=True),
        Stage("api1", "web", ("d1",), canary=True),
        Stage("api1", "bare", ()),
    ]


def test_an_api_without_stages_has_none(stubbed: Stubbed) -> None:
    stubbed.answers("get_stages", {"item": []}, restApiId="api1")
    assert stubbed.gateway.stages("api1") == []


def test_an_answer_without_its_list_of_stages_is_no_api_without_stages(stubbed: Stubbed) -> None:
    stubbed.answers("get_stages", {}, restApiId="api1")
    with pytest.raises(UnexpectedAnswer, match="GetStages: the answer holds no list of item"):
        stubbed.gateway.stages("api1")


def test_the_methods_of_a_deployment_are_asked_for_as_its_summary(stubbed: Stubbed) -> None:
    summary = {
        "/books": {"POST": {"authorizationType": "CUSTOM", "apiKeyRequired": True}},
        "/": {
            "OPTIONS": {"apiKeyRequired": False},
            "GET": {"authorizationType": "NONE", "apiKeyRequired": False},
        },
    }
    stubbed.answers("get_deployment", {"id": "d1", "apiSummary": summary}, **EMBED)
    assert stubbed.gateway.deployed_methods("api1", "d1") == (
        Method("/", "GET", "NONE", api_key_required=False),
        Method("/", "OPTIONS", "", api_key_required=False),
        Method("/books", "POST", "CUSTOM", api_key_required=True),
    )


@pytest.mark.parametrize(
    "answer",
    [
        {"id": "d1"},
        {"id": "d1", "apiSummary": {}},
        {"id": "d1", "apiSummary": {"/": {}}},
        {"id": "d1", "apiSummary": {"/": {"GET": {"authorizationType": "NONE"}}}},
    ],
    ids=["no summary", "an empty one", "no method", "a method that does not say"],
)
def test_what_leaves_open_whether_a_key_is_needed_is_unexpected(
    stubbed: Stubbed, answer: dict[str, Any]
) -> None:
    stubbed.answers("get_deployment", answer, **EMBED)
    with pytest.raises(UnexpectedAnswer, match="GetDeployment"):
        stubbed.gateway.deployed_methods("api1", "d1")


def test_the_model_knows_embed_and_what_it_embeds(stubbed: Stubbed) -> None:
    """The doctor stands on this of botocore's model; GetDeployments and GetResources have no such."""
    model = stubbed.client.meta.service_model
    operation = model.operation_model("GetDeployment")
    assert "apisummary" in operation.input_shape.members["embed"].documentation
    snapshot = operation.output_shape.members["apiSummary"].value.value
    assert set(snapshot.members) == {"authorizationType", "apiKeyRequired"}
    assert "embed" not in model.operation_model("GetDeployments").input_shape.members
    assert "limit" not in model.operation_model("GetStages").input_shape.members


# --- what goes wrong ------------------------------------------------------------------------------

CALLS = (
    ("get_rest_apis", "rest_apis", (), "apigateway:GET on /restapis"),
    ("get_stages", "stages", ("api1",), "apigateway:GET on /restapis/*/stages"),
    (
        "get_deployment",
        "deployed_methods",
        ("api1", "d1"),
        "apigateway:GET on /restapis/*/deployments/*",
    ),
)


@pytest.mark.parametrize(("call", "read", "given", "action"), CALLS)
def test_a_refusal_names_the_right_that_is_missing(
    stubbed: Stubbed, call: str, read: str, given: tuple[str, ...], action: str
) -> None:
    stubbed.fails(call, "AccessDeniedException", 403, "not authorized")
    with pytest.raises(AccessDenied) as error:
        getattr(stubbed.gateway, read)(*given)
    assert error.value.action == action


@pytest.mark.parametrize(("call", "read", "given", "action"), CALLS)
def test_what_is_gone_meanwhile_is_a_failed_call(
    stubbed: Stubbed, call: str, read: str, given: tuple[str, ...], action: str
) -> None:
    stubbed.fails(call, "NotFoundException", 404)
    with pytest.raises(CallFailed, match="NotFoundException"):
        getattr(stubbed.gateway, read)(*given)


@pytest.mark.parametrize(("call", "read", "given", "action"), CALLS)
def test_a_throttle_is_waited_for_and_the_pace_halves(
    stubbed: Stubbed, call: str, read: str, given: tuple[str, ...], action: str
) -> None:
    stubbed.fails(call, "TooManyRequestsException", 429, retryAfterSeconds="7")
    stubbed.fails(call, "NotFoundException", 404)
    with pytest.raises(CallFailed, match="NotFoundException"):
        getattr(stubbed.gateway, read)(*given)
    assert stubbed.clock.now >= 7
    assert stubbed.pace.rate < 3
