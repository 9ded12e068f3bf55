"""The adapter of API Gateway against botocore's own model of it: every call, and always two pages."""

import json
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from typing import Any, cast

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)
from botocore.stub import ANY, Stubber

from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.clients import gateway_client
from keyjanitor.adapters.rate_limiter import RECOVERY, RateLimiter
from keyjanitor.domain.model.keys import ApiKey, Secret
from keyjanitor.domain.model.policy import Quota, Rate
from keyjanitor.domain.model.usage_plan import Shape, UsagePlan
from keyjanitor.domain.requests.import_file import key_file
from keyjanitor.domain.usage.plan_usage import UsagePage
from keyjanitor.errors import (
    AccessDenied,
    AccountFull,
    CallFailed,
    ImportRefused,
    KeyjanitorError,
    UnexpectedAnswer,
    UnreadableAnswer,
    ValueConflict,
)
from sandbox.memory.adapters.api_gateway import value_of
from tests.builders import STAGE, a_new_key, an_issuing_tier

VALUE = value_of("k0")
CREATED = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
UPDATED = datetime(2026, 11, 20, 6, 7, 8, tzinfo=UTC)
ROLE = "arn:aws:sts::123456789012:assumed-role/keyjanitor-ExpireKeys/f"
PAGE = {"limit": 500}


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Stubbed:
    """The adapter on a client whose answers are written down beforehand."""

    def __init__(self) -> None:
        self.client: Any = boto3.client(
            "apigateway",
            region_name="us-east-1",
            aws_access_key_id="nobody",
            aws_secret_access_key="nothing",
        )
        self.aws = Stubber(self.client)
        self.clock = Clock()
        self.pace = RateLimiter(3, monotonic=lambda: self.clock.now, sleep=self.clock.sleep)
        self.gateway = ApiGateway(self.client, self.pace)

    def answers(self, method: str, answer: Mapping[str, Any], **params: Any) -> None:
        self.aws.add_response(method, dict(answer), params)

    def fails(
        self,
        method: str,
        code: str,
        status: int = 400,
        message: str = VALUE,
        **more: Any,
    ) -> None:
        self.aws.add_client_error(
            method, code, message, status, modeled_fields=more or None, expected_params=None
        )


@pytest.fixture
def stubbed() -> Iterator[Stubbed]:
    stubbed = Stubbed()
    with stubbed.aws:
        yield stubbed
        stubbed.aws.assert_no_pending_responses()


def an_item(key_id: str = "k0", **more: Any) -> dict[str, Any]:
    return {
        "id": key_id,
        "name": "a name",
        "enabled": True,
        "createdDate": CREATED,
        "lastUpdatedDate": UPDATED,
        **more,
    }


def a_key(key_id: str = "k0", **more: Any) -> ApiKey:
    values: dict[str, Any] = {"name": "a name", "enabled": True, **more}
    return ApiKey(key_id=key_id, created_date=CREATED, last_updated_date=UPDATED, **values)


# --- reading --------------------------------------------------------------------------------------


def test_every_key_of_every_page_is_listed_and_no_value_is_asked_for(stubbed: Stubbed) -> None:
    params = {"includeValues": False, **PAGE}
    stubbed.answers(
        "get_api_keys",
        {
            "items": [
                an_item("k0"),
                an_item(
                    "k1",
                    name="",
                    enabled=False,
                    description="d",
                    customerId="c",
                    stageKeys=["api/prod"],
                    tags={"t": "v"},
                ),
            ],
            "position": "p1",
        },
        **params,
    )
    stubbed.answers("get_api_keys", {"items": [an_item("k2")]}, position="p1", **params)
    assert stubbed.gateway.keys() == [
        a_key("k0"),
        a_key(
            "k1",
            name="",
            enabled=False,
            description="d",
            customer_id="c",
            stage_keys=("api/prod",),
            tags={"t": "v"},
        ),
        a_key("k2"),
    ]


def test_missing_tags_are_unknown_in_a_list_and_none_in_one_keys_answer(stubbed: Stubbed) -> None:
    stubbed.answers("get_api_keys", {"items": [an_item()]}, includeValues=False, **PAGE)
    stubbed.answers("get_api_key", an_item(), apiKey="k0", includeValue=False)
    assert stubbed.gateway.keys()[0].tags is None
    assert stubbed.gateway.key("k0") == a_key(tags={})


def test_a_key_with_its_value(stubbed: Stubbed) -> None:
    stubbed.answers(
        "get_api_key", an_item(value=VALUE, tags={"t": "v"}), apiKey="k0", includeValue=True
    )
    assert stubbed.gateway.key_with_value("k0") == (a_key(tags={"t": "v"}), Secret(VALUE))


def test_an_answer_without_the_value_that_was_asked_for_is_unexpected(stubbed: Stubbed) -> None:
    stubbed.answers("get_api_key", an_item(), apiKey="k0", includeValue=True)
    with pytest.raises(UnexpectedAnswer):
        stubbed.gateway.key_with_value("k0")


def test_a_key_that_is_no_more_is_none(stubbed: Stubbed) -> None:
    stubbed.fails("get_api_key", "NotFoundException", 404)
    stubbed.fails("get_api_key", "NotFoundException", 404)
    assert stubbed.gateway.key("k0") is None
    assert stubbed.gateway.key_with_value("k0") is None


@pytest.mark.parametrize("field", ["enabled", "createdDate", "lastUpdatedDate", "id"])
def test_a_key_of_which_aws_says_too_little_is_not_judged(stubbed: Stubbed, field: str) -> None:
    item = an_item()
    del item[field]
    stubbed.answers("get_api_keys", {"items": [item]}, includeValues=False, **PAGE)
    with pytest.raises(UnexpectedAnswer, match=field):
        stubbed.gateway.keys()


def test_a_key_is_found_by_exactly_its_name_and_its_value_on_any_page(stubbed: Stubbed) -> None:
    """`nameQuery` is a prefix, and names are not unique."""
    params = {"nameQuery": "marker-k0", "includeValues": True, **PAGE}
    pages: list[dict[str, Any]] = [
        {
            "items": [
                an_item("other", name="marker-k0", value="x" * 40),
                an_item("longer", name="marker-k01", value=VALUE),
            ],
            "position": "p1",
        },
        {"items": [an_item("it", name="marker-k0", value=VALUE)]},
    ]
    for wanted, last in (("it", pages[1]), (None, {"items": []})):
        stubbed.answers("get_api_keys", pages[0], **params)
        stubbed.answers("get_api_keys", last, position="p1", **params)
        assert stubbed.gateway.key_named("marker-k0", Secret(VALUE)) == wanted


def test_every_usage_plan_of_every_page(stubbed: Stubbed) -> None:
    stubbed.answers(
        "get_usage_plans",
        {
            "items": [
                {
                    "id": "p1",
                    "name": "external",
                    "apiStages": [
                        {"apiId": "api1", "stage": "prod"},
                        {"apiId": "api2", "stage": "v2", "throttle": {}},
                    ],
                    "quota": {"limit": 5, "offset": 0, "period": "DAY"},
                }
            ],
            "position": "next",
        },
        **PAGE,
    )
    stubbed.answers("get_usage_plans", {"items": [{"id": "p2"}]}, position="next", **PAGE)
    assert stubbed.gateway.usage_plans() == [
        UsagePlan("p1", "external", {"api1:prod": {}, "api2:v2": {}}, quota=Quota(5, "DAY")),
        UsagePlan("p2", ""),
    ]


def test_the_members_of_every_page_come_without_their_values(stubbed: Stubbed) -> None:
    params = {"usagePlanId": "p1", **PAGE}
    item = {"type": "API_KEY", "value": VALUE, "name": "n"}
    stubbed.answers(
        "get_usage_plan_keys", {"items": [{"id": "k0", **item}], "position": "p"}, **params
    )
    stubbed.answers(
        "get_usage_plan_keys", {"items": [{"id": "k1", **item}]}, position="p", **params
    )
    assert stubbed.gateway.members("p1") == ("k0", "k1")


def test_keys_by_the_beginning_of_their_names_over_two_pages(stubbed: Stubbed) -> None:
    params = {"nameQuery": "kj-20261121-0a1b2c3d-", "includeValues": False, **PAGE}
    first = an_item("k0", name="kj-20261121-0a1b2c3d-000", description="owner=o name=n")
    stubbed.answers(
        "get_api_keys",
        {
            "items": [
                first,
                an_item("longer", name="a kj-20261121-0a1b2c3d-000"),
                an_item("case", name="KJ-20261121-0A1B2C3D-000"),
            ],
            "position": "p1",
        },
        **params,
    )
    second = an_item("k1", name="kj-20261121-0a1b2c3d-001", enabled=False)
    stubbed.answers("get_api_keys", {"items": [second]}, position="p1", **params)
    assert stubbed.gateway.keys_named("kj-20261121-0a1b2c3d-") == [
        a_key("k0", name="kj-20261121-0a1b2c3d-000", description="owner=o name=n"),
        a_key("k1", name="kj-20261121-0a1b2c3d-001", enabled=False),
    ]


def test_members_by_the_beginning_of_their_names_over_two_pages(stubbed: Stubbed) -> None:
    params = {"usagePlanId": "p1", "nameQuery": "kj-", **PAGE}
    item = {"type": "API_KEY", "value": VALUE, "name": "kj-1"}
    stubbed.answers(
        "get_usage_plan_keys", {"items": [{"id": "k0", **item}], "position": "p"}, **params
    )
    stubbed.answers(
        "get_usage_plan_keys", {"items": [{"id": "k1", **item}]}, position="p", **params
    )
    assert stubbed.gateway.members("p1", "kj-") == ("k0", "k1")


def test_the_plans_of_a_key_over_two_pages(stubbed: Stubbed) -> None:
    params = {"keyId": "k0", **PAGE}
    stubbed.answers(
        "get_usage_plans", {"items": [{"id": "p3"}, {"id": "p2"}], "position": "p"}, **params
    )
    stubbed.answers("get_usage_plans", {"items": [{"id": "p1"}]}, position="p", **params)
    assert stubbed.gateway.plans_of("k0") == ("p1", "p2", "p3")
    stubbed.answers("get_usage_plans", {"items": []}, **params)
    assert stubbed.gateway.plans_of("k0") == ()
    stubbed.answers("get_usage_plans", {}, **params)
    with pytest.raises(UnexpectedAnswer):
        stubbed.gateway.plans_of("k0")


FULL = Shape(
    stages=frozenset({"api1:prod", "api2:web"}),
    throttle=Rate(10, 20),
    quota=Quota(50_000, "MONTH"),
    methods={"/search/POST": Rate(2.5, 4), "/*/GET": Rate(1, 1)},
)
METHODS = {
    "/search/POST": {"rateLimit": 2.5, "burstLimit": 4},
    "/*/GET": {"rateLimit": 1.0, "burstLimit": 1},
}


def test_the_plans_of_every_page_with_what_they_open_and_allow(stubbed: Stubbed) -> None:
    whole = {
        "id": "p1",
        "name": "external",
        "description": "d",
        "apiStages": [
            {"apiId": "api2", "stage": "web", "throttle": dict(reversed(METHODS.items()))},
            {"apiId": "api1", "stage": "prod", "throttle": METHODS},
        ],
        "throttle": {"rateLimit": 10.0, "burstLimit": 20},
        "quota": {"limit": 50_000, "offset": 0, "period": "MONTH"},
        "tags": {"t": "v"},
    }
    stubbed.answers("get_usage_plans", {"items": [whole], "position": "next"}, **PAGE)
    stubbed.answers("get_usage_plans", {"items": [{"id": "p2"}]}, position="next", **PAGE)
    plans = stubbed.gateway.usage_plans()
    assert [(plan.usage_plan_id, plan.name, plan.shape) for plan in plans] == [
        ("p1", "external", FULL),
        ("p2", "", Shape(frozenset())),
    ]


ONE_STAGE = {"apiId": "api1", "stage": "prod"}
SLOW = {"/search/POST": {"rateLimit": 2.0, "burstLimit": 4}}


@pytest.mark.parametrize(
    ("plan", "shape"),
    [
        ({"apiStages": [ONE_STAGE]}, Shape(frozenset({STAGE}))),
        (
            {"apiStages": [{**ONE_STAGE, "throttle": {}}], "throttle": {}, "quota": {}},
            Shape(frozenset({STAGE})),
        ),
        (
            {"apiStages": [ONE_STAGE], "throttle": {"rateLimit": 10.0, "burstLimit": 20}},
            Shape.of(an_issuing_tier()),
        ),
        (
            {"apiStages": [ONE_STAGE], "quota": {"limit": 5, "offset": 0, "period": "DAY"}},
            Shape.of(an_issuing_tier(throttle=None, quota=Quota(5, "DAY"))),
        ),
        (
            {"apiStages": [{**ONE_STAGE, "throttle": SLOW}]},
            Shape.of(an_issuing_tier(throttle=None, method_throttle={"/search/POST": Rate(2, 4)})),
        ),
        # Only a rate, or only a burst: no tier has such a throttle.
        (
            {"apiStages": [ONE_STAGE], "throttle": {"rateLimit": 10.0}},
            Shape(frozenset({STAGE}), Rate(10, 0)),
        ),
        ({"apiStages": [ONE_STAGE], "quota": {"limit": 0}}, Shape(frozenset({STAGE}))),
        ({"apiStages": []}, Shape(frozenset())),
        # Stages whose methods differ.
        ({"apiStages": [{**ONE_STAGE, "throttle": SLOW}, {"apiId": "api2", "stage": "web"}]}, None),
        (
            {
                "apiStages": [
                    {**ONE_STAGE, "throttle": SLOW},
                    {
                        "apiId": "api2",
                        "stage": "web",
                        "throttle": {"/search/POST": {"rateLimit": 2.0, "burstLimit": 5}},
                    },
                ]
            },
            None,
        ),
    ],
)
def test_a_plan_as_aws_tells_of_it_is_the_shape_of_a_tier_or_not(
    stubbed: Stubbed, plan: dict[str, Any], shape: Shape | None
) -> None:
    stubbed.answers("get_usage_plans", {"items": [{"id": "p1", "name": "n", **plan}]}, **PAGE)
    [there] = stubbed.gateway.usage_plans()
    assert (there.usage_plan_id, there.name, there.shape) == ("p1", "n", shape)


def test_usage_comes_page_by_page_and_none_of_it_is_lost(stubbed: Stubbed) -> None:
    """`build_full_result` would keep the first page only: `items` is a dict."""
    start, end = date(2026, 11, 1), date(2026, 11, 2)
    days = {"startDate": "2026-11-01", "endDate": "2026-11-02"}
    params = {"usagePlanId": "p1", **days, **PAGE}
    first = {"usagePlanId": "p1", **days, "items": {"k0": [[1, 9], [2, 7]]}, "position": "p"}
    stubbed.answers("get_usage", first, **params)
    stubbed.answers(
        "get_usage", {**days, "items": {"k1": [[0, 10], [3, 7]]}}, position="p", **params
    )
    assert list(stubbed.gateway.usage("p1", start, end)) == [
        UsagePage(start, end, {"k0": [[1, 9], [2, 7]]}),
        UsagePage(start, end, {"k1": [[0, 10], [3, 7]]}),
    ]


def test_usage_without_hits_is_an_empty_page(stubbed: Stubbed) -> None:
    day = date(2026, 11, 1)
    days = {"startDate": str(day), "endDate": str(day)}
    stubbed.answers("get_usage", {**days, "items": {}}, usagePlanId="p1", **days, **PAGE)
    assert list(stubbed.gateway.usage("p1", day, day)) == [UsagePage(day, day, {})]


THE_DAY = date(2026, 11, 21)


def usage_over(days_back: int, end: date = THE_DAY) -> dict[str, str]:
    return {"startDate": str(end - timedelta(days=days_back)), "endDate": str(end)}


def refuses_usage(stubbed: Stubbed, *ranges: dict[str, str], plan: str = "p1") -> None:
    for days in ranges:
        stubbed.aws.add_client_error(
            "get_usage",
            "BadRequestException",
            VALUE,
            400,
            expected_params={"usagePlanId": plan, **days, **PAGE},
        )


ASKED = [usage_over(one) for one in (90, 89, 60, 30)]
RANGES = [*ASKED, usage_over(89, THE_DAY - timedelta(days=1))]


@pytest.mark.parametrize("refused", range(1, 5))
def test_usage_that_is_refused_is_asked_for_over_fewer_days_and_the_run_remembers_how_many(
    stubbed: Stubbed, refused: int
) -> None:
    refuses_usage(stubbed, *RANGES[:refused])
    days = RANGES[refused]
    page: dict[str, Any] = {**days, "items": {"k0": [[1, 9]]}}
    stubbed.answers("get_usage", {**page, "position": "p"}, usagePlanId="p1", **days, **PAGE)
    stubbed.answers("get_usage", page, usagePlanId="p1", position="p", **days, **PAGE)
    stubbed.answers("get_usage", page, usagePlanId="p2", **days, **PAGE)
    start = THE_DAY - timedelta(days=90)
    told = date.fromisoformat(days["startDate"]), date.fromisoformat(days["endDate"])
    assert (
        list(stubbed.gateway.usage("p1", start, THE_DAY)) == [UsagePage(*told, page["items"])] * 2
    )
    assert list(stubbed.gateway.usage("p2", start, THE_DAY)) == [UsagePage(*told, page["items"])]


def test_a_range_that_was_answered_in_another_run_is_asked_for_first_and_then_all_days(
    stubbed: Stubbed,
) -> None:
    start, gateway = THE_DAY - timedelta(days=90), stubbed.gateway
    assert gateway.answered_range() is None
    gateway.ask_first_for((60, 0))
    refuses_usage(stubbed, ASKED[2], plan="p1")
    for plan_id in ("p1", "p2"):
        page = {**ASKED[0], "items": {}}
        stubbed.answers("get_usage", page, usagePlanId=plan_id, **ASKED[0], **PAGE)
    list(gateway.usage("p1", start, THE_DAY))
    assert gateway.answered_range() is None
    list(gateway.usage("p2", start, THE_DAY))
    refuses_usage(stubbed, *ASKED[:2])
    stubbed.answers("get_usage", {**ASKED[2], "items": {}}, usagePlanId="p1", **ASKED[2], **PAGE)
    list(gateway.usage("p1", start, THE_DAY))
    assert gateway.answered_range() == (60, 0)


def test_usage_that_is_refused_over_every_range_is_refused_and_forgotten_for_the_next_plan(
    stubbed: Stubbed,
) -> None:
    refuses_usage(stubbed, *RANGES)
    stubbed.answers("get_usage", {**ASKED[0], "items": {}}, usagePlanId="p2", **ASKED[0], **PAGE)
    start = THE_DAY - timedelta(days=90)
    with pytest.raises(CallFailed, match="BadRequestException"):
        list(stubbed.gateway.usage("p1", start, THE_DAY))
    assert list(stubbed.gateway.usage("p2", start, THE_DAY)) == [UsagePage(start, THE_DAY, {})]


def test_a_later_page_of_usage_that_is_refused_and_another_error_are_asked_for_over_no_fewer_days(
    stubbed: Stubbed,
) -> None:
    start, (whole, *_) = THE_DAY - timedelta(days=90), ASKED
    page = {**whole, "items": {}, "position": "p"}
    stubbed.answers("get_usage", page, usagePlanId="p1", **whole, **PAGE)
    stubbed.fails("get_usage", "BadRequestException")
    with pytest.raises(CallFailed, match="BadRequestException"):
        list(stubbed.gateway.usage("p1", start, THE_DAY))
    stubbed.fails("get_usage", "NotFoundException", 404)
    with pytest.raises(CallFailed, match="NotFoundException"):
        list(stubbed.gateway.usage("p1", start, THE_DAY))


LISTINGS: dict[str, tuple[str, dict[str, Any], Callable[[ApiGateway], Any]]] = {
    "GetApiKeys": ("get_api_keys", {"includeValues": False}, lambda one: one.keys()),
    "GetUsagePlans": ("get_usage_plans", {}, lambda one: one.usage_plans()),
    "GetUsagePlanKeys": (
        "get_usage_plan_keys",
        {"usagePlanId": "p1"},
        lambda one: list(one.members("p1")),
    ),
    "GetRestApis": ("get_rest_apis", {}, lambda one: one.rest_apis()),
}


@pytest.mark.parametrize("operation", LISTINGS)
def test_a_page_without_its_list_is_a_bad_answer_and_an_empty_list_is_empty(
    stubbed: Stubbed, operation: str
) -> None:
    call, params, listed = LISTINGS[operation]
    stubbed.answers(call, {"items": []}, **params, **PAGE)
    assert listed(stubbed.gateway) == []
    stubbed.answers(call, {"items": [], "position": "p"}, **params, **PAGE)
    stubbed.answers(call, {}, position="p", **params, **PAGE)
    with pytest.raises(UnexpectedAnswer, match=f"{operation}: the answer holds no list of items"):
        listed(stubbed.gateway)


def test_usage_without_its_table_is_a_bad_answer(stubbed: Stubbed) -> None:
    day = date(2026, 11, 1)
    days = {"startDate": str(day), "endDate": str(day)}
    stubbed.answers("get_usage", days, usagePlanId="p1", **days, **PAGE)
    with pytest.raises(UnexpectedAnswer, match="GetUsage: the answer holds no items"):
        list(stubbed.gateway.usage("p1", day, day))


@pytest.mark.parametrize("answer", [{}, {"startDate": "soon", "endDate": "2026-11-01"}])
def test_usage_that_does_not_say_of_which_days_it_is_is_unexpected(
    stubbed: Stubbed, answer: dict[str, Any]
) -> None:
    day = date(2026, 11, 1)
    stubbed.answers(
        "get_usage", answer, usagePlanId="p1", startDate=str(day), endDate=str(day), **PAGE
    )
    with pytest.raises(UnexpectedAnswer):
        list(stubbed.gateway.usage("p1", day, day))


def test_positions_that_lead_in_a_circle_are_an_error_and_no_end(stubbed: Stubbed) -> None:
    params = {"includeValues": False, **PAGE}
    stubbed.answers("get_api_keys", {"items": [], "position": "a"}, **params)
    stubbed.answers("get_api_keys", {"items": [], "position": "b"}, position="a", **params)
    stubbed.answers("get_api_keys", {"items": [], "position": "a"}, position="b", **params)
    with pytest.raises(UnexpectedAnswer, match="twice"):
        stubbed.gateway.keys()


def test_a_page_that_fails_fails_the_whole_reading(stubbed: Stubbed) -> None:
    stubbed.answers("get_usage_plan_keys", {"items": [], "position": "p"}, usagePlanId="p1", **PAGE)
    stubbed.fails("get_usage_plan_keys", "BadRequestException")
    with pytest.raises(CallFailed):
        stubbed.gateway.members("p1")


# --- changing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("enabled", "sent"), [(True, "true"), (False, "false")])
def test_enabled_is_sent_as_one_of_two_words(stubbed: Stubbed, enabled: bool, sent: str) -> None:
    """Any other word disables, and AWS answers 200."""
    stubbed.answers(
        "update_api_key",
        an_item(enabled=enabled),
        apiKey="k0",
        patchOperations=[{"op": "replace", "path": "/enabled", "value": sent}],
    )
    assert stubbed.gateway.set_enabled("k0", enabled=enabled) == UPDATED


def test_a_key_is_renamed(stubbed: Stubbed) -> None:
    stubbed.answers(
        "update_api_key",
        an_item(),
        apiKey="k0",
        patchOperations=[{"op": "replace", "path": "/name", "value": "new"}],
    )
    assert stubbed.gateway.rename("k0", "new") == UPDATED


def test_a_key_that_is_no_more_is_not_changed(stubbed: Stubbed) -> None:
    stubbed.fails("update_api_key", "NotFoundException", 404)
    stubbed.fails("update_api_key", "NotFoundException", 404)
    assert stubbed.gateway.set_enabled("k0", enabled=False) is None
    assert stubbed.gateway.rename("k0", "new") is None


def test_deleting_what_is_no_more_is_a_success(stubbed: Stubbed) -> None:
    stubbed.answers("delete_api_key", {}, apiKey="k0")
    stubbed.fails("delete_api_key", "NotFoundException", 404)
    stubbed.gateway.delete("k0")
    stubbed.gateway.delete("k0")


@pytest.mark.parametrize("code", ["BadRequestException", "ConflictException"])
def test_a_refused_deletion_is_an_error(stubbed: Stubbed, code: str) -> None:
    stubbed.fails("delete_api_key", code, 409)
    with pytest.raises(CallFailed, match=code):
        stubbed.gateway.delete("k0")


def test_a_key_is_created_with_enabled_sent_as_false(stubbed: Stubbed) -> None:
    stubbed.answers(
        "create_api_key",
        an_item("new", value=VALUE, enabled=False),
        name="n",
        value=VALUE,
        enabled=False,
        description="d",
        customerId="c",
        tags={"t": "v"},
    )
    created = stubbed.gateway.create_disabled(
        Secret(VALUE), name="n", description="d", customer_id="c", tags={"t": "v"}
    )
    assert created == "new"


def test_what_a_key_did_not_have_is_not_sent(stubbed: Stubbed) -> None:
    stubbed.answers("create_api_key", an_item("new"), name="n", value=VALUE, enabled=False)
    assert create(stubbed.gateway) == "new"


def create(gateway: ApiGateway) -> str:
    return gateway.create_disabled(Secret(VALUE), name="n", description="", customer_id="", tags={})


def test_a_value_that_is_taken(stubbed: Stubbed) -> None:
    stubbed.fails("create_api_key", "ConflictException", 409, "API Key already exists")
    with pytest.raises(ValueConflict):
        create(stubbed.gateway)


def test_a_key_is_put_into_a_plan(stubbed: Stubbed) -> None:
    stubbed.answers(
        "create_usage_plan_key",
        {"id": "k0", "type": "API_KEY", "value": VALUE, "name": "n"},
        usagePlanId="p1",
        keyId="k0",
        keyType="API_KEY",
    )
    stubbed.fails("create_usage_plan_key", "ConflictException", 409, "already subscribed")
    member = {"id": "k0", "type": "API_KEY", "value": VALUE, "name": "n"}
    stubbed.answers("get_usage_plan_key", member, usagePlanId="p1", keyId="k0")
    stubbed.fails("create_usage_plan_key", "NotFoundException", 404)
    assert stubbed.gateway.attach("p1", "k0")
    assert stubbed.gateway.attach("p1", "k0")
    assert not stubbed.gateway.attach("p1", "k0")


def test_a_conflict_that_leaves_the_key_out_of_the_plan_is_no_success(stubbed: Stubbed) -> None:
    stubbed.fails("create_usage_plan_key", "ConflictException", 409, "same API stage")
    stubbed.fails("get_usage_plan_key", "NotFoundException", 404)
    with pytest.raises(CallFailed, match="ConflictException"):
        stubbed.gateway.attach("p1", "k0")


# --- importing ------------------------------------------------------------------------------------

NEW = [a_new_key(0, value=Secret(VALUE)), a_new_key(1, usage_plan_ids=("p1", "p2"))]
IMPORT = {"body": key_file(NEW), "format": "csv", "failOnWarnings": True}
IMPORTED: dict[str, Any] = {"ids": ["k1", "k0"], "warnings": []}


def test_keys_are_imported_by_one_call_all_or_none(stubbed: Stubbed) -> None:
    stubbed.answers("import_api_keys", IMPORTED, **IMPORT)
    stubbed.gateway.import_keys(NEW)
    assert IMPORT["body"] == (
        b"Name,Key,Description,Enabled,UsagePlanIds\n"
        b"kj-20261121-0a1b2c3d-000," + VALUE.encode() + b",owner=o0 name=n0 request=r0,true,plan1\n"
        b"kj-20261121-0a1b2c3d-001,keyj000000000000000000000000000000000001,"
        b'owner=o1 name=n1 request=r1,true,"p1,p2"\n'
    )


def test_a_full_account_takes_no_import_and_is_not_asked_again(stubbed: Stubbed) -> None:
    stubbed.fails("import_api_keys", "LimitExceededException", 429)
    with pytest.raises(AccountFull) as err:
        stubbed.gateway.import_keys(NEW)
    assert (stubbed.pace.rate, stubbed.pace.throttled) == (3, 0)
    assert nothing_shows(err.value)


def test_an_import_that_came_too_soon_is_repeated_as_it_was(stubbed: Stubbed) -> None:
    stubbed.fails("import_api_keys", "TooManyRequestsException", 429)
    stubbed.answers("import_api_keys", IMPORTED, **IMPORT)
    stubbed.gateway.import_keys(NEW)
    assert stubbed.pace.throttled == 1


@pytest.mark.parametrize("status", [500, 503, 504])
def test_an_import_that_may_have_been_carried_out_is_repeated_with_the_same_values(
    stubbed: Stubbed, status: int
) -> None:
    """The same values again overwrite (doc)."""
    stubbed.fails("import_api_keys", "InternalServerErrorException", status)
    stubbed.answers("import_api_keys", IMPORTED, **IMPORT)
    stubbed.gateway.import_keys(NEW)


@pytest.mark.parametrize(
    ("code", "status"), [("BadRequestException", 400), ("NotFoundException", 404)]
)
def test_an_import_with_a_bad_row_is_refused_as_a_whole(
    stubbed: Stubbed, code: str, status: int
) -> None:
    stubbed.fails("import_api_keys", code, status, f"Row 1: {VALUE} is bad")
    with pytest.raises(ImportRefused) as err:
        stubbed.gateway.import_keys(NEW)
    assert (err.value.keys, err.value.code) == (2, code)
    assert nothing_shows(err.value)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ConflictException", 409),
        ("UnauthorizedException", 401),
        ("ExpiredTokenException", 403),
        ("RequestEntityTooLargeException", 413),
    ],
)
def test_an_import_that_failed_otherwise_may_be_tried_later(
    stubbed: Stubbed, code: str, status: int
) -> None:
    stubbed.fails("import_api_keys", code, status)
    with pytest.raises(CallFailed) as err:
        stubbed.gateway.import_keys(NEW)
    assert (err.value.operation, err.value.code) == ("ImportApiKeys", code)
    assert nothing_shows(err.value)


# --- usage plans ----------------------------------------------------------------------------------

MADE = "Made by keyjanitor. Changed limits make a new plan for new keys."


def test_a_plan_is_created_whole_by_one_call(stubbed: Stubbed) -> None:
    stubbed.answers(
        "create_usage_plan",
        {"id": "p1"},
        name="keyjanitor external 0a1b2c3d",
        description=MADE,
        apiStages=[
            {"apiId": "api1", "stage": "prod", "throttle": METHODS},
            {"apiId": "api2", "stage": "web", "throttle": METHODS},
        ],
        throttle={"rateLimit": 10, "burstLimit": 20},
        quota={"limit": 50_000, "period": "MONTH"},
    )
    assert stubbed.gateway.create_plan("keyjanitor external 0a1b2c3d", FULL) == "p1"


def test_what_a_plan_does_not_limit_is_not_sent(stubbed: Stubbed) -> None:
    stubbed.answers(
        "create_usage_plan", {"id": "p1"}, name="n", description=MADE, apiStages=[ONE_STAGE]
    )
    assert stubbed.gateway.create_plan("n", Shape(frozenset({STAGE}))) == "p1"


def test_what_was_created_is_told_as_it_was_asked_for(stubbed: Stubbed) -> None:
    sent: dict[str, Any] = {}

    class Keeps:
        def create_usage_plan(self, **params: Any) -> dict[str, Any]:
            sent.update(params)
            return {"id": "p1"}

    gateway = ApiGateway(Keeps(), stubbed.pace)
    for shape in (FULL, Shape(frozenset({STAGE})), Shape(frozenset({STAGE}), Rate(0.5, 1))):
        sent.clear()
        gateway.create_plan("n", shape)
        stubbed.answers("get_usage_plans", {"items": [{"id": "p1", **sent}]}, **PAGE)
        [there] = stubbed.gateway.usage_plans()
        assert (there.usage_plan_id, there.name, there.shape) == ("p1", "n", shape)


def plan(gateway: ApiGateway) -> str:
    return gateway.create_plan("n", Shape(frozenset({STAGE})))


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_plan_that_may_have_been_created_is_not_created_again(
    stubbed: Stubbed, status: int
) -> None:
    """It has no client token; whoever comes next looks for it by its name."""
    stubbed.fails("create_usage_plan", "InternalServerErrorException", status)
    with pytest.raises(CallFailed) as err:
        plan(stubbed.gateway)
    assert (err.value.operation, err.value.code) == (
        "CreateUsagePlan",
        "InternalServerErrorException",
    )


@pytest.mark.parametrize(
    "error",
    [
        ReadTimeoutError(endpoint_url=VALUE),
        ConnectTimeoutError(endpoint_url=VALUE),
        EndpointConnectionError(endpoint_url=VALUE),
        ConnectionClosedError(endpoint_url=VALUE),
    ],
)
def test_nor_is_one_whose_answer_was_lost(error: Exception) -> None:
    tries: list[dict[str, Any]] = []

    class Client:
        def create_usage_plan(self, **params: Any) -> None:
            tries.append(params)
            raise error

    with pytest.raises(CallFailed, match=type(error).__name__) as err:
        plan(ApiGateway(Client(), RateLimiter(3, sleep=lambda _: None)))
    assert len(tries) == 1
    assert nothing_shows(err.value)


def test_a_plan_that_was_surely_not_created_is_tried_again(stubbed: Stubbed) -> None:
    stubbed.fails("create_usage_plan", "TooManyRequestsException", 429)
    message = "Unable to complete operation due to concurrent modification. Please try again later."
    stubbed.fails("create_usage_plan", "ConflictException", 409, message)
    stubbed.answers("create_usage_plan", {"id": "p1"}, name="n", description=MADE, apiStages=ANY)
    assert plan(stubbed.gateway) == "p1"
    assert stubbed.pace.throttled == 1


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("LimitExceededException", 429),
        ("BadRequestException", 400),
        ("NotFoundException", 404),
        ("ConflictException", 409),
    ],
)
def test_a_plan_that_aws_refuses_is_refused_once(stubbed: Stubbed, code: str, status: int) -> None:
    stubbed.fails("create_usage_plan", code, status)
    with pytest.raises(CallFailed) as err:
        plan(stubbed.gateway)
    assert (err.value.operation, err.value.code) == ("CreateUsagePlan", code)
    assert (stubbed.pace.rate, stubbed.pace.throttled) == (3, 0)


def test_a_plan_that_botocore_refuses_was_not_sent() -> None:
    wrong: Any = Shape(frozenset({STAGE}), Rate("fast", 1))  # type: ignore[arg-type]
    with pytest.raises(CallFailed, match="CreateUsagePlan failed: ParamValidationError") as err:
        Stubbed().gateway.create_plan("n", wrong)
    assert "fast" not in shown(err.value)


# --- trying again ---------------------------------------------------------------------------------


def delete(stubbed: Stubbed) -> None:
    stubbed.gateway.delete("k0")


def test_too_many_requests_slow_down_and_are_tried_again(stubbed: Stubbed) -> None:
    stubbed.fails("delete_api_key", "TooManyRequestsException", 429)
    stubbed.fails("delete_api_key", "TooManyRequestsException", 429)
    stubbed.answers("delete_api_key", {}, apiKey="k0")
    delete(stubbed)
    assert stubbed.pace.rate == 0.75 + 3 / RECOVERY
    assert stubbed.pace.throttled == 2
    assert sum(stubbed.clock.slept) >= 1 / 1.5 + 1 / 0.75


def test_aws_may_say_how_long_to_wait(stubbed: Stubbed) -> None:
    stubbed.fails("delete_api_key", "TooManyRequestsException", 429, retryAfterSeconds="17")
    stubbed.answers("delete_api_key", {}, apiKey="k0")
    delete(stubbed)
    assert sum(stubbed.clock.slept) >= 17


@pytest.mark.parametrize("told", ["nan", "inf", "-inf", "soon", ""])
def test_what_is_no_time_to_wait_is_not_waited_for(stubbed: Stubbed, told: str) -> None:
    stubbed.fails("delete_api_key", "TooManyRequestsException", 429, retryAfterSeconds=told)
    stubbed.answers("delete_api_key", {}, apiKey="k0")
    delete(stubbed)
    assert 0 < sum(stubbed.clock.slept) < 2


def test_too_many_requests_for_ever_are_an_error(stubbed: Stubbed) -> None:
    for _ in range(10):
        stubbed.fails("delete_api_key", "TooManyRequestsException", 429)
    with pytest.raises(CallFailed, match="TooManyRequestsException"):
        delete(stubbed)


def test_the_limit_of_keys_has_the_same_status_and_is_not_tried_again(stubbed: Stubbed) -> None:
    stubbed.fails("create_api_key", "LimitExceededException", 429)
    with pytest.raises(CallFailed) as err:
        create(stubbed.gateway)
    assert err.value.code == "LimitExceededException"
    assert stubbed.pace.rate == 3


def test_a_concurrent_modification_is_tried_again(stubbed: Stubbed) -> None:
    message = "Unable to complete operation due to concurrent modification. Please try again later."
    stubbed.fails("create_usage_plan_key", "ConflictException", 409, message)
    stubbed.answers(
        "create_usage_plan_key", {"id": "k0"}, usagePlanId="p1", keyId="k0", keyType="API_KEY"
    )
    assert stubbed.gateway.attach("p1", "k0")


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_error_of_awss_own_is_tried_again(stubbed: Stubbed, status: int) -> None:
    stubbed.fails("delete_api_key", "InternalServerErrorException", status)
    stubbed.answers("delete_api_key", {}, apiKey="k0")
    delete(stubbed)


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url=VALUE),
        ConnectTimeoutError(endpoint_url=VALUE),
        ReadTimeoutError(endpoint_url=VALUE),
    ],
)
@pytest.mark.parametrize(("failures", "succeeds"), [(9, True), (10, False)])
def test_a_connection_that_fails_is_tried_again_ten_times_in_all(
    error: Exception, failures: int, succeeds: bool
) -> None:
    tries = [0]

    class Client:
        def delete_api_key(self, **_: Any) -> None:
            tries[0] += 1
            if tries[0] <= failures:
                raise error

    gateway = ApiGateway(Client(), RateLimiter(3, sleep=lambda _: None))
    if succeeds:
        gateway.delete("k0")
    else:
        with pytest.raises(CallFailed, match=type(error).__name__):
            gateway.delete("k0")
    assert tries == [10]


def test_botocore_itself_repeats_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would repeat LimitExceededException too, and burn the budget that all share."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    assert gateway_client().meta.config.retries == {"total_max_attempts": 1, "mode": "standard"}


# --- on the wire ----------------------------------------------------------------------------------

DAYS = {"startDate": "2026-11-01", "endDate": "2026-11-02"}
START, END = date(2026, 11, 1), date(2026, 11, 2)


@pytest.fixture
def on_the_wire(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ApiGateway]:
    """The adapter on the functions' own client, to which these bodies come back."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")

    def make(*bodies: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Any:
        client = gateway_client()
        left = list(bodies)

        def answer(**_: Any) -> AWSResponse:
            class Raw(BytesIO):
                def stream(self, **_: Any) -> Iterator[bytes]:
                    yield self.read()

            given: Any = headers or {}
            return AWSResponse("https://x", status, given, Raw(left.pop(0)))

        client.meta.events.register("before-send.api-gateway", answer)
        return ApiGateway(client, RateLimiter(3, sleep=lambda _: None))

    return make


def test_a_page_of_usage_as_it_was_seen_on_the_wire(on_the_wire: Any) -> None:
    """The wire calls `values` what boto3 calls `items`."""
    pages = [
        {**DAYS, "usagePlanId": "p1", "values": {"k0": [[137, 9], [123, 8]]}, "position": "p"},
        {**DAYS, "usagePlanId": "p1", "values": {"k1": [[0, 9], [0, 9]]}},
        {**DAYS, "usagePlanId": "p1", "values": {}},
    ]
    gateway = on_the_wire(*(json.dumps(page).encode() for page in pages))
    assert list(gateway.usage("p1", START, END)) == [
        UsagePage(START, END, {"k0": [[137, 9], [123, 8]]}),
        UsagePage(START, END, {"k1": [[0, 9], [0, 9]]}),
    ]
    assert list(gateway.usage("p1", START, END)) == [UsagePage(START, END, {})]


@pytest.mark.parametrize(
    "values",
    [b"", b', "values": null', b', "values": []', b', "items": {}', b', "_embedded": {"item": []}'],
)
def test_a_usage_answer_without_values_is_no_plan_without_use(
    on_the_wire: Any, values: bytes
) -> None:
    body = json.dumps({**DAYS, "usagePlanId": "p1"}).encode()[:-1] + values + b"}"
    with pytest.raises(UnexpectedAnswer, match="GetUsage: the answer holds no values"):
        list(on_the_wire(body).usage("p1", START, END))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"values": [1]}', b"null", b"\xff"])
def test_a_usage_answer_that_is_something_else_is_an_error_of_ours(
    on_the_wire: Any, body: bytes
) -> None:
    """The plan is unread then, and the others go on."""
    with pytest.raises((CallFailed, UnexpectedAnswer)):
        list(on_the_wire(*[body] * 10).usage("p1", START, END))


CUT_OFF = {
    "keys": (lambda gateway: gateway.keys(), {"item": []}, []),
    "plans": (lambda gateway: gateway.usage_plans(), {"item": []}, []),
    "members": (lambda gateway: list(gateway.members("p1")), {"item": []}, []),
    "usage": (
        lambda gateway: list(gateway.usage("p1", START, END)),
        {**DAYS, "usagePlanId": "p1", "values": {}},
        [UsagePage(START, END, {})],
    ),
}


@pytest.mark.parametrize("cut", [0, 1, 9])
@pytest.mark.parametrize(("read", "body", "becomes"), CUT_OFF.values(), ids=CUT_OFF)
def test_an_answer_that_was_cut_off_is_asked_for_again(
    on_the_wire: Any, read: Callable[[ApiGateway], Any], body: Any, becomes: Any, cut: int
) -> None:
    whole = json.dumps(body).encode()
    assert read(on_the_wire(*[whole[:cut]] * 9, whole)) == becomes
    with pytest.raises(UnreadableAnswer, match="the answer is no JSON object"):
        read(on_the_wire(*[whole[:cut]] * 10))


def test_an_answer_that_was_cut_off_shows_no_value(on_the_wire: Any) -> None:
    body = json.dumps({"value": VALUE, "id": "new"}).encode()[:-1]
    with pytest.raises(UnreadableAnswer) as failed:
        create(on_the_wire(*[body] * 10, status=201))
    assert failed.value.__context__ is None
    assert VALUE not in str(failed.value)


def test_a_usage_plan_whose_answer_was_cut_off_is_not_created_twice(on_the_wire: Any) -> None:
    gateway = on_the_wire(b'{"id": "p1"', status=201)  # there is no answer to a second call
    with pytest.raises(UnreadableAnswer):
        gateway.create_plan("n", FULL)


def test_a_deletion_is_answered_with_nothing(on_the_wire: Any) -> None:
    on_the_wire(b"", status=202).delete("k0")


def test_a_throttle_of_usage_is_read_as_one(on_the_wire: Any) -> None:
    gateway = on_the_wire(
        *[b'{"message": "Too Many Requests"}'] * 10,
        status=429,
        headers={"x-amzn-ErrorType": "TooManyRequestsException", "Retry-After": "0"},
    )
    with pytest.raises(CallFailed, match="TooManyRequestsException"):
        list(gateway.usage("p1", START, END))


def test_no_value_is_logged_when_the_level_of_all_loggers_is_debug(
    on_the_wire: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """An operator who sets a function's log level to DEBUG sets the root logger's with it."""
    gateway = on_the_wire(json.dumps({"id": "new", "value": VALUE}).encode(), status=201)
    with caplog.at_level(logging.DEBUG):
        assert create(gateway) == "new"
    assert VALUE not in caplog.text


def test_an_import_on_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    client = gateway_client()
    sent: list[Any] = []

    class Raw(BytesIO):
        def stream(self, **_: Any) -> Iterator[bytes]:
            yield self.read()

    def answer(request: Any, **_: Any) -> AWSResponse:
        sent.append(request)
        raw: Any = Raw(b'{"ids": ["k0", "k1"]}')
        return AWSResponse("https://x", 201, cast("Any", {}), raw)

    client.meta.events.register("before-send.api-gateway", answer)
    ApiGateway(client, RateLimiter(3)).import_keys(NEW)
    (request,) = sent
    path, _, query = request.url.partition("?")
    assert (request.method, path) == ("POST", "https://apigateway.us-east-1.amazonaws.com/apikeys")
    assert sorted(query.split("&")) == ["failonwarnings=true", "format=csv", "mode=import"]
    assert request.body == key_file(NEW)


def test_no_value_of_an_import_is_logged_when_the_level_of_all_loggers_is_debug(
    on_the_wire: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = on_the_wire(b'{"ids": ["k0", "k1"]}', status=201)
    with caplog.at_level(logging.DEBUG):
        gateway.import_keys(NEW)
    assert not any(secret in caplog.text for secret in SECRETS)


def test_every_try_waits_for_its_turn(stubbed: Stubbed) -> None:
    for _ in range(4):
        stubbed.fails("delete_api_key", "ServiceUnavailableException", 503)
    stubbed.answers("delete_api_key", {}, apiKey="k0")
    delete(stubbed)
    assert stubbed.clock.now >= 4 / 3


# --- errors ---------------------------------------------------------------------------------------

CALLS: dict[str, tuple[str, Callable[[ApiGateway], Any]]] = {
    "get_api_keys": ("GET on /apikeys", lambda gateway: gateway.keys()),
    "get_api_key": ("GET on /apikeys/*", lambda gateway: gateway.key_with_value("k0")),
    "get_usage_plans": ("GET on /usageplans", lambda gateway: gateway.usage_plans()),
    "get_usage_plan_keys": ("GET on /usageplans/*/keys", lambda gateway: gateway.members("p1")),
    "get_usage": (
        "GET on /usageplans/*/usage",
        lambda gateway: list(gateway.usage("p1", date(2026, 1, 1), date(2026, 1, 1))),
    ),
    "update_api_key": ("PATCH on /apikeys/*", lambda gateway: gateway.rename("k0", "new")),
    "delete_api_key": ("DELETE on /apikeys/*", lambda gateway: gateway.delete("k0")),
    "create_api_key": ("POST on /apikeys", create),
    "create_usage_plan_key": (
        "POST on /usageplans/*/keys",
        lambda gateway: gateway.attach("p1", "k0"),
    ),
    "create_usage_plan": ("POST on /usageplans", plan),
}


@pytest.mark.parametrize("method", [*CALLS, "import_api_keys"])
def test_access_denied_names_the_action_and_the_role(stubbed: Stubbed, method: str) -> None:
    importing = ("POST on /apikeys", lambda gateway: gateway.import_keys(NEW))
    action, call = CALLS.get(method, importing)
    stubbed.fails(
        method,
        "AccessDeniedException",
        403,
        f"User: {ROLE} is not authorized to perform: apigateway:X on resource: {VALUE}",
    )
    with pytest.raises(AccessDenied) as err:
        call(stubbed.gateway)
    assert (err.value.action, err.value.role) == (f"apigateway:{action}", ROLE)
    assert nothing_shows(err.value)


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("code", ["BadRequestException", "UnauthorizedException", "ExpiredToken"])
def test_no_error_of_awss_carries_a_value(stubbed: Stubbed, method: str, code: str) -> None:
    stubbed.fails(method, code, 400, f"the value {VALUE} is wrong")
    with pytest.raises(CallFailed, match=code) as err:
        CALLS[method][1](stubbed.gateway)
    assert nothing_shows(err.value)


def test_what_botocore_refuses_carries_no_value() -> None:
    """ParamValidationError prints the parameters that it refuses."""
    unstubbed = Stubbed().gateway
    with pytest.raises(CallFailed, match="ParamValidationError") as err:
        unstubbed.create_disabled(
            Secret(VALUE),
            name="n",
            description=[VALUE],  # type: ignore[arg-type]
            customer_id="",
            tags={},
        )
    assert nothing_shows(err.value)


def test_a_taken_value_is_not_told(stubbed: Stubbed) -> None:
    stubbed.fails("create_api_key", "ConflictException", 409, f"{VALUE} already exists")
    with pytest.raises(ValueConflict) as err:
        create(stubbed.gateway)
    assert nothing_shows(err.value)


def test_an_error_before_the_call_is_one_of_ours() -> None:
    class Client:
        def __getattr__(self, name: str) -> Any:
            def call(**_: Any) -> Any:
                raise NoCredentialsError

            return call

    with pytest.raises(CallFailed, match="NoCredentialsError"):
        ApiGateway(Client(), RateLimiter(3)).delete("k0")


SECRETS = (VALUE, NEW[1].value.reveal(), "Name,Key,Description")


def shown(err: BaseException) -> str:
    """All that can be seen of an error, and of those that it came from."""
    text = "".join(traceback.format_exception(err))
    seen: list[BaseException] = []
    left: list[BaseException | None] = [err]
    while left:
        one = left.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        text += repr(one) + str(one) + repr(one.args) + repr(vars(one))
        text += repr(getattr(one, "__notes__", ""))
        left += [one.__context__, one.__cause__]
    return text


IMPORT_FAILURES: dict[str, Exception] = {
    **{
        code: ClientError(
            {
                "Error": {"Code": code, "Message": key_file(NEW).decode()},
                "ResponseMetadata": {"HTTPStatusCode": status},  # type: ignore[typeddict-item]
            },
            key_file(NEW).decode(),
        )
        for code, status in (
            ("BadRequestException", 400),
            ("NotFoundException", 404),
            ("LimitExceededException", 429),
            ("TooManyRequestsException", 429),
            ("ConflictException", 409),
            ("AccessDeniedException", 403),
            ("InternalServerErrorException", 500),
        )
    },
    "invalid": ParamValidationError(report=f"Invalid body: {key_file(NEW)!r}"),
    "timeout": ReadTimeoutError(endpoint_url=key_file(NEW).decode()),
    "closed": ConnectionClosedError(endpoint_url=key_file(NEW).decode()),
    "credentials": NoCredentialsError(report=key_file(NEW).decode()),
}


@pytest.mark.parametrize("how", IMPORT_FAILURES)
def test_no_error_of_an_import_nor_what_it_came_from_holds_a_value(how: str) -> None:
    """Neither the exception, nor the one that was at work, nor a traceback of either."""
    failure = IMPORT_FAILURES[how]

    class Client:
        def import_api_keys(self, **_: Any) -> None:
            raise failure

    gateway = ApiGateway(Client(), RateLimiter(3, sleep=lambda _: None))
    assert any(secret in shown(failure) for secret in SECRETS) or how == "credentials"
    with pytest.raises(KeyjanitorError) as err:
        gateway.import_keys(NEW)
    text = shown(err.value)
    assert [secret for secret in SECRETS if secret in text] == []


def test_what_botocore_refuses_of_an_import_is_not_told() -> None:
    wrong: Any = a_new_key(usage_plan_ids=(VALUE,), value=Secret(VALUE))

    class Client:
        def import_api_keys(self, body: bytes, **params: Any) -> None:
            Stubbed().client.import_api_keys(body=[body], **params)

    with pytest.raises(CallFailed, match="ImportApiKeys failed: ParamValidationError") as err:
        ApiGateway(Client(), RateLimiter(3)).import_keys([wrong])
    assert not any(secret in shown(err.value) for secret in SECRETS)


def nothing_shows(err: BaseException) -> bool:
    """Whether an error can be logged as Lambda and Powertools do."""
    text = shown(err) + logging.Formatter().formatException((type(err), err, None))
    return not any(secret in text for secret in SECRETS)


def test_a_plan_that_aws_does_not_know_is_an_error_to_whoever_asks_for_its_usage(
    stubbed: Stubbed,
) -> None:
    stubbed.aws.add_client_error(
        "get_usage",
        "NotFoundException",
        expected_params={"usagePlanId": ANY, "startDate": ANY, "endDate": ANY, "limit": 500},
    )
    with pytest.raises(CallFailed, match="NotFoundException"):
        list(stubbed.gateway.usage("p1", date(2026, 1, 1), date(2026, 1, 2)))
