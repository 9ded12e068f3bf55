"""API Gateway's keys in the sandbox behave as AWS documents them or was seen doing it."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError, HTTPClientError

from sandbox.driver.client import LaidKey, Sandbox

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]

VALUE = "a-value-of-twenty-letters-or-more"


@pytest.fixture
def gateway(sandbox: Sandbox) -> Any:
    return sandbox.client("apigateway")


def code_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    answer = error.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def laid(count: int, **kw: Any) -> list[LaidKey]:
    return [LaidKey(name=f"key-{n:05}", value=f"{n:030}", **kw) for n in range(count)]


def listed(gateway: Any, **kw: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    while True:
        page = gateway.get_api_keys(**kw)
        items += page["items"]
        if "position" not in page:
            return items
        kw["position"] = page["position"]


def test_a_key_is_created_disabled_unless_enabled_is_sent(gateway: Any) -> None:
    assert gateway.create_api_key(name="a")["enabled"] is False
    assert gateway.create_api_key(name="a", enabled=True)["enabled"] is True


def test_a_name_need_not_be_unique_and_may_be_empty(gateway: Any) -> None:
    ids = {gateway.create_api_key(name=name)["id"] for name in ("twin", "twin", "")}
    assert len(ids) == 3


def test_the_answer_to_create_holds_the_value(gateway: Any) -> None:
    assert gateway.create_api_key(value=VALUE)["value"] == VALUE
    assert re.fullmatch(r"[A-Za-z0-9]{40}", gateway.create_api_key()["value"])


@pytest.mark.parametrize("length", [19, 129])
def test_a_value_has_20_to_128_characters(gateway: Any, length: int) -> None:
    with pytest.raises(ClientError) as error:
        gateway.create_api_key(value="v" * length)
    assert code_of(error) == ("BadRequestException", 400)


def test_a_value_that_is_taken_is_a_conflict(gateway: Any) -> None:
    gateway.create_api_key(value=VALUE)
    with pytest.raises(ClientError) as error:
        gateway.create_api_key(value=VALUE)
    assert code_of(error) == ("ConflictException", 409)
    assert error.value.response["Error"]["Message"] == "API Key already exists"


def test_a_value_can_be_created_again_under_a_new_id(gateway: Any) -> None:
    first = gateway.create_api_key(value=VALUE)["id"]
    gateway.delete_api_key(apiKey=first)
    assert gateway.create_api_key(value=VALUE)["id"] != first


def test_the_ten_thousand_and_first_key_is_refused_with_429(sandbox: Sandbox, gateway: Any) -> None:
    sandbox.lay_down(laid(10_000))
    with pytest.raises(ClientError) as error:
        gateway.create_api_key()
    assert code_of(error) == ("LimitExceededException", 429)
    with pytest.raises(ClientError) as error:
        gateway.import_api_keys(body=f"Name,Key\na,{VALUE}", format="csv")
    assert code_of(error) == ("LimitExceededException", 429)


def test_a_list_has_25_items_by_default_and_500_at_most(sandbox: Sandbox, gateway: Any) -> None:
    sandbox.lay_down(laid(600))
    assert len(gateway.get_api_keys()["items"]) == 25
    assert len(gateway.get_api_keys(limit=1_000)["items"]) == 500


def test_a_list_is_complete_over_its_pages_and_not_in_order_of_age(
    sandbox: Sandbox, gateway: Any
) -> None:
    ids = sandbox.lay_down(laid(1_200))
    found = [item["id"] for item in listed(gateway, limit=500)]
    assert sorted(found) == sorted(ids)
    assert found != ids


def test_a_page_of_ten_thousand_keys_is_quick(sandbox: Sandbox, gateway: Any) -> None:
    sandbox.lay_down(laid(9_900))
    listed(gateway, limit=500)
    seconds = sorted(call.seconds for call in sandbox.calls())
    assert len(seconds) == 20
    assert seconds[10] < 0.03


def test_a_list_goes_on_where_it_was_when_keys_are_deleted_between_pages(
    sandbox: Sandbox, gateway: Any
) -> None:
    ids = sandbox.lay_down(laid(60))
    page = gateway.get_api_keys(limit=30)
    for item in page["items"]:
        gateway.delete_api_key(apiKey=item["id"])
    rest = listed(gateway, position=page["position"], limit=30)
    assert {i["id"] for i in rest} == set(ids) - {i["id"] for i in page["items"]}


def test_a_limit_of_minus_one_lists_nobody_with_200(sandbox: Sandbox, gateway: Any) -> None:
    sandbox.lay_down(laid(3))
    assert gateway.get_api_keys(limit=-1)["items"] == []


def test_the_name_query_is_a_case_sensitive_prefix(sandbox: Sandbox, gateway: Any) -> None:
    sandbox.lay_down([LaidKey(name=name) for name in ("Mobile", "mobile", "my mobile", "mob")])
    names = {item["name"] for item in gateway.get_api_keys(nameQuery="mob")["items"]}
    assert names == {"mobile", "mob"}


def test_values_are_listed_only_when_asked_for(sandbox: Sandbox, gateway: Any) -> None:
    sandbox.lay_down([LaidKey(value=VALUE)])
    assert "value" not in gateway.get_api_keys()["items"][0]
    assert gateway.get_api_keys(includeValues=True)["items"][0]["value"] == VALUE


def test_tags_are_not_in_the_items_of_a_list_but_in_the_single_answer(gateway: Any) -> None:
    key_id = gateway.create_api_key(tags={"team": "maps"})["id"]
    assert "tags" not in gateway.get_api_keys()["items"][0]
    assert gateway.get_api_key(apiKey=key_id)["tags"] == {"team": "maps"}


def test_an_untagged_key_answers_without_tags(gateway: Any) -> None:
    key_id = gateway.create_api_key()["id"]
    assert "tags" not in gateway.get_api_key(apiKey=key_id)


def test_a_single_answer_holds_the_value_only_when_asked_for(gateway: Any) -> None:
    key_id = gateway.create_api_key(value=VALUE)["id"]
    assert "value" not in gateway.get_api_key(apiKey=key_id)
    assert gateway.get_api_key(apiKey=key_id, includeValue=True)["value"] == VALUE


def test_tagging_a_key_shows_in_its_answer(gateway: Any) -> None:
    key_id = gateway.create_api_key(tags={"a": "1"})["id"]
    arn = f"arn:aws:apigateway:us-east-1::/apikeys/{key_id}"
    gateway.tag_resource(resourceArn=arn, tags={"b": "2"})
    gateway.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert gateway.get_api_key(apiKey=key_id)["tags"] == {"b": "2"}


@pytest.mark.parametrize("value", ["True", "yes", "1", "false", ""])
def test_any_enabled_but_true_disables_with_200(gateway: Any, value: str) -> None:
    key_id = gateway.create_api_key(enabled=True)["id"]
    patch = {"op": "replace", "path": "/enabled", "value": value}
    assert gateway.update_api_key(apiKey=key_id, patchOperations=[patch])["enabled"] is False


def test_an_update_replaces_name_description_and_customer(sandbox: Sandbox, gateway: Any) -> None:
    sandbox.set_clock(datetime(2026, 1, 1, tzinfo=UTC))
    key_id = gateway.create_api_key()["id"]
    sandbox.set_clock(datetime(2026, 1, 2, tzinfo=UTC))
    patches = [
        {"op": "replace", "path": f"/{name}", "value": f"new {name}"}
        for name in ("name", "description", "customerId")
    ]
    key = gateway.update_api_key(apiKey=key_id, patchOperations=patches)
    assert {n: key[n] for n in ("name", "description", "customerId")} == {
        "name": "new name",
        "description": "new description",
        "customerId": "new customerId",
    }
    assert (key["createdDate"].day, key["lastUpdatedDate"].day) == (1, 2)


def test_a_value_cannot_be_changed(gateway: Any) -> None:
    key_id = gateway.create_api_key()["id"]
    patch = {"op": "replace", "path": "/value", "value": VALUE}
    with pytest.raises(ClientError) as error:
        gateway.update_api_key(apiKey=key_id, patchOperations=[patch])
    assert code_of(error) == ("BadRequestException", 400)


def test_a_key_that_is_gone_is_not_found(gateway: Any) -> None:
    with pytest.raises(ClientError) as error:
        gateway.delete_api_key(apiKey="gone")
    assert code_of(error) == ("NotFoundException", 404)
    assert "Invalid API Key identifier specified" in str(error.value)


def test_deleting_a_key_takes_it_out_of_its_plans(sandbox: Sandbox, gateway: Any) -> None:
    plan_id = sandbox.usage_plan("plan")
    key_id = sandbox.lay_down([LaidKey(plans=[plan_id])])[0]
    gateway.delete_api_key(apiKey=key_id)
    assert gateway.get_usage_plan_keys(usagePlanId=plan_id)["items"] == []


def test_a_laid_down_key_has_its_past(sandbox: Sandbox, gateway: Any) -> None:
    created, updated = datetime(2025, 1, 2, tzinfo=UTC), datetime(2025, 3, 4, tzinfo=UTC)
    key_id = sandbox.lay_down(
        [
            LaidKey(
                name="old",
                value=VALUE,
                enabled=False,
                description="d",
                customer_id="c",
                created=created,
                updated=updated,
                tags={"t": "v"},
                stage_keys=["abc/prod"],
            )
        ]
    )[0]
    answer = gateway.get_api_key(apiKey=key_id, includeValue=True)
    answer.pop("ResponseMetadata")
    assert answer == {
        "id": key_id,
        "name": "old",
        "value": VALUE,
        "enabled": False,
        "description": "d",
        "customerId": "c",
        "createdDate": created,
        "lastUpdatedDate": updated,
        "tags": {"t": "v"},
        "stageKeys": ["abc/prod"],
    }


# -- ImportApiKeys --------------------------------------------------------------------------------


def test_an_import_creates_keys_and_attaches_their_plans(sandbox: Sandbox, gateway: Any) -> None:
    plans = [sandbox.usage_plan(name) for name in ("one", "two")]
    body = f'uSagePlanIds,NAME,key,description\n"{plans[0]}, {plans[1]}",n,{VALUE},d'
    answer = gateway.import_api_keys(body=body, format="csv")
    key = gateway.get_api_key(apiKey=answer["ids"][0], includeValue=True)
    assert (key["name"], key["value"], key["description"], key["enabled"]) == (
        "n",
        VALUE,
        "d",
        True,
    )
    assert answer["warnings"] == []
    for plan_id in plans:
        members = gateway.get_usage_plan_keys(usagePlanId=plan_id)["items"]
        assert [member["id"] for member in members] == answer["ids"]


def test_an_import_of_the_same_value_overwrites(gateway: Any) -> None:
    first = gateway.import_api_keys(body=f"Name,Key\nold,{VALUE}", format="csv")["ids"]
    again = f"Name,Key,Enabled\nnew,{VALUE},false"
    assert gateway.import_api_keys(body=again, format="csv")["ids"] == first
    assert [(i["name"], i["enabled"]) for i in listed(gateway)] == [("new", False)]


def test_a_comma_in_an_unquoted_name_ships_a_disabled_key(gateway: Any) -> None:
    body = f"Key,Enabled,Name\n{VALUE},Smith,true"
    gateway.import_api_keys(body=body, format="csv")
    assert [item["enabled"] for item in listed(gateway)] == [False]


def test_an_import_does_what_it_can_and_warns(gateway: Any) -> None:
    body = f"Name,Key,UsagePlanIds\ngood,{VALUE},nope\nbad,short,"
    answer = gateway.import_api_keys(body=body, format="csv")
    assert len(answer["ids"]) == 1
    assert len(answer["warnings"]) == 2
    assert VALUE not in str(answer["warnings"])


def test_an_import_that_fails_on_warnings_does_nothing(gateway: Any) -> None:
    body = f"Name,Key\ngood,{VALUE}\nbad,short"
    with pytest.raises(ClientError) as error:
        gateway.import_api_keys(body=body, format="csv", failOnWarnings=True)
    assert code_of(error) == ("BadRequestException", 400)
    assert listed(gateway) == []


def test_the_ids_of_an_import_are_not_in_the_order_of_its_rows(gateway: Any) -> None:
    rows = [f"n{n},{n:030}" for n in range(20)]
    ids = gateway.import_api_keys(body="\n".join(["Name,Key", *rows]), format="csv")["ids"]
    names = [gateway.get_api_key(apiKey=key_id)["name"] for key_id in ids]
    assert sorted(names) == sorted(f"n{n}" for n in range(20))
    assert names != [f"n{n}" for n in range(20)]


def test_an_import_without_a_key_column_is_refused(gateway: Any) -> None:
    with pytest.raises(ClientError) as error:
        gateway.import_api_keys(body="Name,Value\na,b", format="csv")
    assert code_of(error) == ("BadRequestException", 400)


def test_an_import_over_the_limit_creates_nothing(sandbox: Sandbox, gateway: Any) -> None:
    sandbox.misbehave(key_limit=2)
    body = "\n".join(["Name,Key", *(f"n{n},{n:030}" for n in range(3))])
    for fails in (False, True):
        with pytest.raises(ClientError) as error:
            gateway.import_api_keys(body=body, format="csv", failOnWarnings=fails)
        assert code_of(error) == ("LimitExceededException", 429)
    assert listed(gateway) == []


def test_an_import_whose_answer_was_lost_is_the_same_import_again(
    sandbox: Sandbox, gateway: Any
) -> None:
    plan_id = sandbox.usage_plan("p")
    body = "\n".join(["Name,Key,UsagePlanIds", *(f"n{n},{n:030},{plan_id}" for n in range(9))])
    sandbox.misbehave(lose_next={"ImportApiKeys": 1}, key_limit=9)
    with pytest.raises(HTTPClientError):
        gateway.import_api_keys(body=body, format="csv", failOnWarnings=True)
    before = {item["id"] for item in listed(gateway)}
    again = gateway.import_api_keys(body=body, format="csv", failOnWarnings=True)
    assert (set(again["ids"]), again["warnings"]) == (before, [])
    members = gateway.get_usage_plan_keys(usagePlanId=plan_id)["items"]
    assert {member["id"] for member in members} == before
    assert len(before) == 9


@pytest.mark.parametrize("column", ["Name", "Description"])
def test_a_row_of_an_import_can_be_spoiled(sandbox: Sandbox, gateway: Any, column: str) -> None:
    header = ["Key", "Name", "Description"]
    rows = [dict(zip(header, (f"{n:030}", f"n{n}", f"d{n}"), strict=True)) for n in range(3)]
    sandbox.misbehave(import_refuses=[rows[1][column]])
    body = "\n".join([",".join(header), *(",".join(row.values()) for row in rows)])
    with pytest.raises(ClientError, match="Row 2") as error:
        gateway.import_api_keys(body=body, format="csv", failOnWarnings=True)
    assert code_of(error) == ("BadRequestException", 400)
    assert rows[1]["Key"] not in str(error.value)
    assert listed(gateway) == []
    gateway.import_api_keys(body=body, format="csv")
    assert {item["name"] for item in listed(gateway)} == {"n0", "n2"}
