"""Usage plans, metering and the data plane in the sandbox behave as AWS's do."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.driver.client import LaidKey, Sandbox

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]

TODAY = date(2026, 9, 16)  # a Wednesday
NOON = datetime(2026, 9, 16, 12, tzinfo=UTC)
VALUE = "a-value-of-twenty-letters-or-more"


@pytest.fixture
def gateway(sandbox: Sandbox) -> Any:
    sandbox.set_clock(NOON)
    return sandbox.client("apigateway")


def code_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    answer = error.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def days_before(days: int) -> str:
    return (TODAY - timedelta(days=days)).isoformat()


def usage_of(gateway: Any, plan_id: str, days: int = 0, **kw: Any) -> dict[str, Any]:
    answer: dict[str, Any] = gateway.get_usage(
        usagePlanId=plan_id, startDate=days_before(days), endDate=days_before(0), **kw
    )
    return answer


def used(pairs: list[list[int]]) -> list[int]:
    return [pair[0] for pair in pairs]


# -- GetUsage -------------------------------------------------------------------------------------


def test_usage_has_one_pair_for_each_day_from_start_to_end(sandbox: Sandbox, gateway: Any) -> None:
    plan_id = sandbox.usage_plan("p", quota={"limit": 100, "period": "DAY"})
    uses = {TODAY: 7, TODAY - timedelta(days=2): 3}
    key_id = sandbox.lay_down([LaidKey(plans=[plan_id], uses={plan_id: uses})])[0]
    answer = usage_of(gateway, plan_id, days=3)
    assert answer["items"] == {key_id: [[0, 100], [3, 97], [0, 100], [7, 93]]}
    assert (answer["startDate"], answer["endDate"]) == (days_before(3), days_before(0))


def test_remaining_counts_down_over_a_month(sandbox: Sandbox, gateway: Any) -> None:
    plan_id = sandbox.usage_plan("p", quota={"limit": 10, "period": "MONTH"})
    uses = {date(2026, 8, 31): 9, date(2026, 9, 1): 4, date(2026, 9, 2): 8}
    key_id = sandbox.lay_down([LaidKey(plans=[plan_id], uses={plan_id: uses})])[0]
    answer = gateway.get_usage(usagePlanId=plan_id, startDate="2026-08-30", endDate="2026-09-03")
    assert answer["items"][key_id] == [[0, 10], [9, 1], [4, 6], [8, 0], [0, 0]]


def test_a_plan_without_a_quota_shows_a_big_number_as_remaining(
    sandbox: Sandbox, gateway: Any
) -> None:
    plan_id = sandbox.usage_plan("p")
    key_id = sandbox.lay_down([LaidKey(plans=[plan_id], uses={plan_id: {TODAY: 5}})])[0]
    assert usage_of(gateway, plan_id)["items"][key_id][0][1] > 1_000_000_000


def test_usage_comes_in_pages_of_25_keys_and_of_500_at_most(sandbox: Sandbox, gateway: Any) -> None:
    plan_id = sandbox.usage_plan("p")
    keys = [LaidKey(plans=[plan_id], uses={plan_id: {TODAY: 1}}) for _ in range(510)]
    ids = sandbox.lay_down(keys)
    assert len(usage_of(gateway, plan_id)["items"]) == 25
    first = usage_of(gateway, plan_id, limit=1_000)
    second = usage_of(gateway, plan_id, limit=500, position=first["position"])
    assert (len(first["items"]), len(second["items"])) == (500, 10)
    assert "position" not in second
    assert first["items"].keys() | second["items"].keys() == set(ids)


def test_90_days_cost_the_calls_of_one(sandbox: Sandbox, gateway: Any) -> None:
    plan_id = sandbox.usage_plan("p")
    sandbox.lay_down([LaidKey(plans=[plan_id]) for _ in range(30)])
    sandbox.misbehave(idle_keys="zero")
    answer = usage_of(gateway, plan_id, days=89, limit=500)
    assert len(answer["items"]) == 30
    assert "position" not in answer


def test_a_key_without_requests_is_absent_or_all_zero(sandbox: Sandbox, gateway: Any) -> None:
    plan_id = sandbox.usage_plan("p")
    sandbox.lay_down([LaidKey(plans=[plan_id]) for _ in range(100)])
    mixed = usage_of(gateway, plan_id, days=1, limit=500)["items"]
    assert 20 < len(mixed) < 80
    assert {tuple(used(pairs)) for pairs in mixed.values()} == {(0, 0)}
    for shown, count in (("absent", 0), ("zero", 100)):
        sandbox.misbehave(idle_keys=shown)
        assert len(usage_of(gateway, plan_id, limit=500)["items"]) == count


def test_a_page_that_is_empty_need_not_be_the_last(sandbox: Sandbox, gateway: Any) -> None:
    plan_id = sandbox.usage_plan("p")
    sandbox.lay_down([LaidKey(plans=[plan_id]) for _ in range(30)])
    sandbox.misbehave(idle_keys="absent")
    answer = usage_of(gateway, plan_id)
    assert answer["items"] == {}
    assert "position" in answer


def test_usage_can_be_asked_for_one_key(sandbox: Sandbox, gateway: Any) -> None:
    plan_id = sandbox.usage_plan("p")
    ids = sandbox.lay_down([LaidKey(plans=[plan_id], uses={plan_id: {TODAY: n}}) for n in (1, 2)])
    answer = usage_of(gateway, plan_id, keyId=ids[1])
    assert {key_id: used(pairs) for key_id, pairs in answer["items"].items()} == {ids[1]: [2]}


def test_usage_is_kept_for_90_days(sandbox: Sandbox, gateway: Any) -> None:
    plan_id = sandbox.usage_plan("p")
    assert usage_of(gateway, plan_id, days=90)["startDate"] == days_before(90)
    with pytest.raises(ClientError) as error:
        usage_of(gateway, plan_id, days=91)
    assert code_of(error) == ("BadRequestException", 400)


def test_usage_of_an_unknown_plan_is_not_found(gateway: Any) -> None:
    with pytest.raises(ClientError) as error:
        usage_of(gateway, "nope")
    assert code_of(error) == ("NotFoundException", 404)


def test_metering_runs_behind(sandbox: Sandbox, gateway: Any) -> None:
    api_id = sandbox.rest_api(["prod"])
    plan_id = sandbox.usage_plan("p", [(api_id, "prod")])
    key_id = sandbox.lay_down([LaidKey(value=VALUE, plans=[plan_id])])[0]
    sandbox.misbehave(usage_lag=2_400, idle_keys="zero")
    assert sandbox.call_api(api_id, "prod", VALUE) == 200
    assert used(usage_of(gateway, plan_id)["items"][key_id]) == [0]
    sandbox.set_clock(NOON + timedelta(minutes=41))
    assert used(usage_of(gateway, plan_id)["items"][key_id]) == [1]


def test_the_counter_belongs_to_plan_and_key_id(sandbox: Sandbox, gateway: Any) -> None:
    plan_id = sandbox.usage_plan("p", quota={"limit": 10, "period": "MONTH"})
    old = sandbox.lay_down([LaidKey(value=VALUE, plans=[plan_id], uses={plan_id: {TODAY: 9}})])[0]
    gateway.delete_api_key(apiKey=old)
    new = gateway.create_api_key(value=VALUE, enabled=True)["id"]
    gateway.create_usage_plan_key(usagePlanId=plan_id, keyId=new, keyType="API_KEY")
    sandbox.misbehave(idle_keys="zero")
    assert usage_of(gateway, plan_id)["items"] == {new: [[0, 10]]}


def test_update_usage_sets_what_remains(sandbox: Sandbox, gateway: Any) -> None:
    plan_id = sandbox.usage_plan("p", quota={"limit": 10, "period": "MONTH"})
    key_id = sandbox.lay_down([LaidKey(plans=[plan_id], uses={plan_id: {TODAY: 10}})])[0]
    patch = {"op": "replace", "path": "/remaining", "value": "25"}
    answer = gateway.update_usage(usagePlanId=plan_id, keyId=key_id, patchOperations=[patch])
    assert answer["items"] == {key_id: [[10, 25]]}
    assert usage_of(gateway, plan_id)["items"][key_id] == [[10, 25]]


def test_usage_can_be_made_unreadable_short_or_strange(sandbox: Sandbox, gateway: Any) -> None:
    plan_id = sandbox.usage_plan("p")
    key_id = sandbox.lay_down(
        [LaidKey(value=VALUE, plans=[plan_id], uses={plan_id: {TODAY - timedelta(days=1): 5}})]
    )[0]
    sandbox.misbehave(missing_days=1)
    assert used(usage_of(gateway, plan_id, days=2)["items"][key_id]) == [0, 5]
    sandbox.misbehave(missing_days=0, unknown_keys=1)
    assert len(usage_of(gateway, plan_id, days=2)["items"].keys() - {key_id}) == 1
    sandbox.misbehave(unknown_keys=0, usage_keyed_by="value")
    assert usage_of(gateway, plan_id, days=2)["items"].keys() == {VALUE}
    sandbox.misbehave(usage_keyed_by="id", unreadable_usage={plan_id: "AccessDeniedException"})
    with pytest.raises(ClientError) as error:
        usage_of(gateway, plan_id)
    assert code_of(error) == ("AccessDeniedException", 403)


# -- usage plans ----------------------------------------------------------------------------------


def test_the_members_of_an_unknown_plan_are_an_empty_list_with_200(gateway: Any) -> None:
    assert gateway.get_usage_plan_keys(usagePlanId="nope")["items"] == []


def test_members_show_their_values(sandbox: Sandbox, gateway: Any) -> None:
    plan_id = sandbox.usage_plan("p")
    key_id = sandbox.lay_down([LaidKey(name="n", value=VALUE)])[0]
    member = {"id": key_id, "type": "API_KEY", "value": VALUE, "name": "n"}
    created = gateway.create_usage_plan_key(usagePlanId=plan_id, keyId=key_id, keyType="API_KEY")
    created.pop("ResponseMetadata")
    assert created == member
    assert gateway.get_usage_plan_keys(usagePlanId=plan_id)["items"] == [member]


def test_members_come_in_pages(sandbox: Sandbox, gateway: Any) -> None:
    plan_id = sandbox.usage_plan("p")
    ids = sandbox.lay_down([LaidKey(plans=[plan_id]) for _ in range(40)])
    first = gateway.get_usage_plan_keys(usagePlanId=plan_id)
    second = gateway.get_usage_plan_keys(usagePlanId=plan_id, position=first["position"])
    assert len(first["items"]) == 25
    assert {m["id"] for m in first["items"] + second["items"]} == set(ids)


def test_attaching_in_parallel_can_answer_409_try_again(sandbox: Sandbox, gateway: Any) -> None:
    plan_id = sandbox.usage_plan("p")
    key_id = sandbox.lay_down([LaidKey()])[0]
    sandbox.misbehave(conflict_chance=1.0)
    with pytest.raises(ClientError) as error:
        gateway.create_usage_plan_key(usagePlanId=plan_id, keyId=key_id, keyType="API_KEY")
    assert code_of(error) == ("ConflictException", 409)
    assert "concurrent modification" in str(error.value)


def test_an_update_changes_a_plan_and_its_stages(sandbox: Sandbox, gateway: Any) -> None:
    api_id = sandbox.rest_api(["a", "b"])
    plan_id = sandbox.usage_plan("p", [(api_id, "a")])
    patches = [
        {"op": "replace", "path": "/name", "value": "renamed"},
        {"op": "replace", "path": "/throttle/rateLimit", "value": "2.5"},
        {"op": "replace", "path": "/throttle/burstLimit", "value": "5"},
        {"op": "replace", "path": "/quota/limit", "value": "9"},
        {"op": "replace", "path": "/quota/period", "value": "WEEK"},
        {"op": "add", "path": "/apiStages", "value": f"{api_id}:b"},
        {"op": "remove", "path": "/apiStages", "value": f"{api_id}:a"},
    ]
    gateway.update_usage_plan(usagePlanId=plan_id, patchOperations=patches)
    plan = gateway.get_usage_plan(usagePlanId=plan_id)
    plan.pop("ResponseMetadata")
    assert plan == {
        "id": plan_id,
        "name": "renamed",
        "throttle": {"rateLimit": 2.5, "burstLimit": 5},
        "quota": {"limit": 9, "offset": 0, "period": "WEEK"},
        "apiStages": [{"apiId": api_id, "stage": "b"}],
        "tags": {},
    }
    key = sandbox.lay_down([LaidKey(value=VALUE, plans=[plan_id])])
    assert len(key) == 1
    assert [sandbox.call_api(api_id, stage, VALUE) for stage in ("a", "b")] == [403, 200]


def test_plans_can_be_asked_for_by_key(sandbox: Sandbox, gateway: Any) -> None:
    plans = [sandbox.usage_plan(name) for name in ("one", "two", "three")]
    key_id = sandbox.lay_down([LaidKey(plans=plans[:2])])[0]
    answer = gateway.get_usage_plans(keyId=key_id)
    assert {plan["id"] for plan in answer["items"]} == set(plans[:2])


# -- requests through the API ---------------------------------------------------------------------


def test_requests_count_as_use_of_plan_and_key_on_that_day(sandbox: Sandbox, gateway: Any) -> None:
    api_id = sandbox.rest_api(["prod"])
    plan_id = sandbox.usage_plan("p", [(api_id, "prod")])
    key_id = sandbox.lay_down([LaidKey(value=VALUE, plans=[plan_id])])[0]
    sandbox.set_clock(NOON - timedelta(days=1))
    assert sandbox.call_api_many(api_id, "prod", {VALUE: 3}) == {200: 3}
    sandbox.set_clock(NOON)
    assert sandbox.call_api(api_id, "prod", VALUE) == 200
    assert used(usage_of(gateway, plan_id, days=2)["items"][key_id]) == [0, 3, 1]


def test_a_missing_wrong_disabled_or_planless_key_gets_403_and_is_not_counted(
    sandbox: Sandbox, gateway: Any
) -> None:
    api_id = sandbox.rest_api(["prod"])
    plan_id = sandbox.usage_plan("p", [(api_id, "prod")])
    disabled, planless = "d" * 30, "p" * 30
    sandbox.lay_down(
        [LaidKey(value=disabled, enabled=False, plans=[plan_id]), LaidKey(value=planless)]
    )
    for value in (None, "w" * 30, disabled, planless):
        assert sandbox.call_api(api_id, "prod", value) == 403
    sandbox.misbehave(idle_keys="absent")
    assert usage_of(gateway, plan_id)["items"] == {}


def test_over_quota_is_429_until_the_calendar_period_ends(sandbox: Sandbox, gateway: Any) -> None:
    api_id = sandbox.rest_api(["prod"])
    plan_id = sandbox.usage_plan("p", [(api_id, "prod")], quota={"limit": 5, "period": "MONTH"})
    uses = {plan_id: {date(2026, 9, 1): 3, date(2026, 8, 31): 90}}
    key_id = sandbox.lay_down([LaidKey(value=VALUE, plans=[plan_id], uses=uses)])[0]
    assert [sandbox.call_api(api_id, "prod", VALUE) for _ in range(3)] == [200, 200, 429]
    assert usage_of(gateway, plan_id)["items"][key_id] == [[2, 0]]
    sandbox.set_clock(datetime(2026, 10, 1, tzinfo=UTC))
    assert sandbox.call_api(api_id, "prod", VALUE) == 200


def test_a_week_starts_on_sunday(sandbox: Sandbox, gateway: Any) -> None:
    plan_id = sandbox.usage_plan("p", quota={"limit": 10, "period": "WEEK"})
    saturday, sunday = date(2026, 9, 12), date(2026, 9, 13)
    uses = {plan_id: {saturday: 4, sunday: 1}}
    key_id = sandbox.lay_down([LaidKey(plans=[plan_id], uses=uses)])[0]
    pairs = usage_of(gateway, plan_id, days=4)["items"][key_id]
    assert pairs[:2] == [[4, 6], [1, 9]]


def test_the_throttle_of_a_plan_and_of_a_method_answer_429(sandbox: Sandbox) -> None:
    api_id = sandbox.rest_api(["prod"])
    slow = {"rateLimit": 0.001, "burstLimit": 2}
    by_plan = sandbox.usage_plan("p", [(api_id, "prod")], throttle=slow)
    by_method = sandbox.usage_plan("m", [(api_id, "prod")], method_throttle={"/hello/GET": slow})
    values = ["1" * 30, "2" * 30]
    sandbox.lay_down(
        [LaidKey(value=v, plans=[p]) for v, p in zip(values, (by_plan, by_method), strict=True)]
    )
    for value in values:
        assert [sandbox.call_api(api_id, "prod", value) for _ in range(3)] == [200, 200, 429]


def test_500_requests_at_once_go_through_beside_9_900_keys(sandbox: Sandbox) -> None:
    api_id = sandbox.rest_api(["prod"])
    plan_id = sandbox.usage_plan("p", [(api_id, "prod")])
    sandbox.lay_down([LaidKey(value=f"{n:030}", plans=[plan_id]) for n in range(9_900)])
    assert sandbox.call_api_many(api_id, "prod", {f"{n:030}": 1 for n in range(500)}) == {200: 500}
