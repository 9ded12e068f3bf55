# ruff: noqa: N803 - botocore calls its parameters so
"""A key whose id may be its value: called by a digest everywhere, sent by its id, and never swept."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.ownership import Ownership
from keyjanitor.adapters.rate_limiter import RateLimiter
from keyjanitor.domain.expiry import reasons
from keyjanitor.domain.model.key_ids import KeyIds, may_be_value, shown_id
from keyjanitor.domain.model.keys import ApiKey, State
from keyjanitor.errors import UnexpectedAnswer
from sandbox.memory.adapters.api_gateway import FakeApiGateway, value_of
from sandbox.memory.clients.refusal import refused
from tests.account import Account, brisk
from tests.builders import DAY, TODAY
from tests.contract.services.test_secrets import Log, everywhere, log, shown
from tests.requesting import an_asking_policy, protect, renew, revoke, rotate
from tests.unit.whatif.files import a_folder, ask

__all__ = ["log"]  # a fixture

AccountMaker = Callable[..., Account]
OLD = value_of("an old key")  # its id and its value
CALLED = shown_id(OLD)


class Boto:
    """A client of API Gateway, as far as these tests go, in front of the account in memory."""

    def __init__(self, gateway: FakeApiGateway) -> None:
        self.gateway = gateway
        self.sent: list[tuple[str, Mapping[str, Any]]] = []

    def _item(self, key: ApiKey) -> dict[str, Any]:
        return {
            "id": key.key_id,
            "name": key.name,
            "enabled": key.enabled,
            "createdDate": key.created_date,
            "lastUpdatedDate": key.last_updated_date,
            "description": key.description,
        }

    def _found(self, operation: str, key_id: str) -> ApiKey:
        if key := self.gateway.key(key_id):
            return key
        raise refused(operation, "NotFoundException", 404)

    def get_api_keys(self, **asked: Any) -> dict[str, Any]:
        self.sent.append(("GetApiKeys", asked))
        keys = self.gateway.keys_named(asked.get("nameQuery", ""))
        items = [self._item(key) for key in keys]
        if asked["includeValues"]:
            for item in items:
                item["value"] = self.gateway.whole(item["id"])[1]
        return {"items": items}

    def get_api_key(self, *, apiKey: str, includeValue: bool) -> dict[str, Any]:
        self.sent.append(("GetApiKey", {"apiKey": apiKey}))
        key = self._found("GetApiKey", apiKey)
        value = {"value": self.gateway.whole(apiKey)[1]} if includeValue else {}
        return {**self._item(key), "tags": dict(key.tags or {}), **value}

    def update_api_key(self, *, apiKey: str, patchOperations: Any) -> dict[str, Any]:
        self.sent.append(("UpdateApiKey", {"apiKey": apiKey}))
        self._found("UpdateApiKey", apiKey)
        enabled = patchOperations[0]["value"] == "true"
        self.gateway.set_enabled(apiKey, enabled=enabled)
        return self._item(self._found("UpdateApiKey", apiKey))

    def delete_api_key(self, *, apiKey: str) -> dict[str, Any]:
        self.sent.append(("DeleteApiKey", {"apiKey": apiKey}))
        self._found("DeleteApiKey", apiKey)
        self.gateway.delete(apiKey)
        return {}

    def create_usage_plan_key(
        self, *, usagePlanId: str, keyId: str, keyType: str
    ) -> dict[str, Any]:
        self.sent.append(("CreateUsagePlanKey", {"keyId": keyId, "keyType": keyType}))
        self.gateway.attach(usagePlanId, keyId)
        return {"id": keyId, "type": keyType, "value": self.gateway.whole(keyId)[1]}

    def get_usage_plans(self, **asked: Any) -> dict[str, Any]:
        self.sent.append(("GetUsagePlans", asked))
        inside = set(self.gateway.plans_of(asked["keyId"])) if "keyId" in asked else None
        return {
            "items": [
                {
                    "id": plan.usage_plan_id,
                    "name": plan.name,
                    "apiStages": [
                        dict(zip(("apiId", "stage"), stage.split(":"), strict=True))
                        for stage in plan.stages
                    ],
                    "quota": {"limit": 1_000_000, "period": "MONTH", "offset": 0},
                    "throttle": {"rateLimit": 10.0, "burstLimit": 20},
                }
                for plan in self.gateway.usage_plans()
                if inside is None or plan.usage_plan_id in inside
            ]
        }

    def get_usage_plan_keys(self, *, usagePlanId: str, **_: Any) -> dict[str, Any]:
        ids = self.gateway.members(usagePlanId)
        return {"items": [{"id": one, "value": self.gateway.whole(one)[1]} for one in ids]}

    def get_usage(
        self, *, usagePlanId: str, startDate: str, endDate: str, **_: Any
    ) -> dict[str, Any]:
        days = (TODAY.fromisoformat(startDate), TODAY.fromisoformat(endDate))
        items: dict[str, Any] = {}
        for page in self.gateway.usage(usagePlanId, *days):
            items |= page.items
        return {"startDate": startDate, "endDate": endDate, "items": items}

    def import_api_keys(self, **_: Any) -> dict[str, Any]:
        raise refused("ImportApiKeys", "InternalServerErrorException", 500)

    def get_rest_apis(self, **_: Any) -> dict[str, Any]:
        return {"items": []}


def on_boto(account: Account) -> Boto:
    """Has the functions reach the account by the real adapter."""
    account.wire()
    boto = Boto(account.gateway)
    gateway = ApiGateway(boto, RateLimiter(1_000_000))
    account.adapters = account.adapters._replace(gateway=gateway)
    account.expire_keys.adapters = account.adapters  # type: ignore[attr-defined]
    for function, name in (
        (account.pull_usage, "adapters"),
        (account.watch_capacity, "adapters"),
        (account.publish_report, "adapters"),
        (account.provision_keys, "adapters"),
    ):
        setattr(function, name, getattr(function, name)._replace(gateway=gateway))
    return boto


def with_old_key(account: Account, **more: Any) -> Boto:
    account.key(OLD, value=OLD, idle=80, name="from before there were usage plans", **more)
    account.key("idle", idle=80)
    return on_boto(account)


def test_no_id_that_may_be_a_value_is_readable_anywhere_and_its_key_stays(
    an_account: AccountMaker, log: Log, capfd: Any
) -> None:
    account = an_account(policy=brisk())
    with_old_key(account)
    for _ in range(5):
        account.night()
        account.watch()
        account.publish()
        account.pass_day()
    told = capfd.readouterr()
    assert shown([OLD], everywhere(account, log, [told.out, told.err])) == []
    assert account.enabled(OLD)
    assert account.row("idle").state is not State.ACTIVE  # type: ignore[union-attr]
    last = account.today - DAY
    line = account.keys_file(last)[CALLED]
    assert (line["verdict"], line["reason"]) == ("protected", str(reasons.IdMayBeValue()))
    assert account.row(CALLED).key_id == CALLED  # type: ignore[union-attr]
    assert account.history.evidence(last).last_used[CALLED] == TODAY - DAY * 80  # type: ignore[union-attr]


@pytest.mark.parametrize("make", [revoke, partial(protect, until=TODAY + DAY * 9), renew])
def test_a_request_names_such_a_key_as_it_is_called_and_reaches_it(
    an_account: AccountMaker, log: Log, capfd: Any, make: Callable[..., dict[str, Any]]
) -> None:
    account = an_account(policy=an_asking_policy(admins=("AROASENDER",)))
    with_old_key(account)
    account.night()
    boto = on_boto(account)  # another run, which has not listed the keys
    body = make(CALLED)
    assert account.ask(body) == []
    assert [kind for kind, _ in account.answers(body["request_id"])] != ["Key Request Refused"]
    assert (OLD in account.gateway.ids) == (make is not revoke)
    assert all(CALLED not in map(str, sent.values()) for _, sent in boto.sent)
    told = capfd.readouterr()
    assert shown([OLD], everywhere(account, log, [told.out, told.err])) == []


def test_a_revoked_one_that_is_no_more_is_a_success(an_account: AccountMaker) -> None:
    account = an_account()
    on_boto(account)
    assert account.adapters.gateway.key(CALLED) is None
    account.adapters.gateway.delete(CALLED)


def test_one_that_is_rotated_does_not_show_its_id(
    an_account: AccountMaker, log: Log, capfd: Any
) -> None:
    account = an_account(policy=an_asking_policy(admins=("AROASENDER",)))
    with_old_key(account)
    account.night()
    account.ask(rotate(CALLED))
    told = capfd.readouterr()
    assert shown([OLD], everywhere(account, log, [told.out, told.err])) == []


def test_what_if_shows_it_nowhere(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {OLD: {}, "idle": {}}, tags={OLD: {"team": "x"}})
    for page in folder.glob("api-keys.*"):
        page.write_text(page.read_text().replace(f"name of {OLD}", "from long ago"))
    policy = tmp_path / "policy.toml"
    policy.write_text(
        "[tiers.unclaimed]\nidle_days = 'never'\ncontact = 'x'\n"
        "[tiers.external]\nidle_days = 60\ncontact = 'x'\nusage_plans = ['external']\n"
    )
    given = ["--folder", str(folder), "--policy", str(policy), "--out", str(tmp_path / "out")]
    code, printed = ask(*given, width=200)
    assert code == 0
    places = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    places["terminal"] = printed.encode()
    assert shown([OLD], places) == []
    lines = map(json.loads, places["keys.jsonl"].splitlines())
    assert {line["key_id"]: line["verdict"] for line in lines}[CALLED] == "protected"


# --- ids ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key_id", "called"), [("x" * 19, "x" * 19), ("x" * 20, shown_id("x" * 20))]
)
def test_ids_of_twenty_characters_and_more_are_called_by_a_digest(key_id: str, called: str) -> None:
    assert (shown_id(key_id), may_be_value(called)) == (called, len(key_id) > 19)
    assert len(called) < 20
    assert shown_id(called) == called


def test_two_keys_that_would_be_called_the_same_are_not_taken_for_one() -> None:
    ids = KeyIds()
    ids._real[CALLED] = "another"
    with pytest.raises(UnexpectedAnswer):
        ids.shown(OLD)


def test_what_is_no_text_is_no_id_and_stays_as_it_is() -> None:
    ids = KeyIds()
    assert [ids.shown(one) for one in (None, 7, "x" * 19)] == [None, 7, "x" * 19]
    assert ids.shown("x" * 20) == shown_id("x" * 20)


@pytest.mark.parametrize("parameter", ["apiKey", "keyId"])
def test_a_call_about_a_key_of_which_only_the_name_is_known_has_to_wait(parameter: str) -> None:
    ids = KeyIds()
    assert ids.unknown({parameter: CALLED})
    assert not ids.unknown({parameter: "k1"})
    assert not ids.unknown({"usagePlanId": CALLED})
    ids.shown(OLD)
    assert not ids.unknown({parameter: CALLED})
    assert ids.real({parameter: CALLED, "x": CALLED}) == {parameter: OLD, "x": CALLED}
    assert ids.real({parameter: "k1"}) == {parameter: "k1"}


@pytest.mark.parametrize(
    ("operation", "answer", "covered"),
    [
        ("GetApiKey", {"id": OLD, "name": "x"}, {"id": CALLED, "name": "x"}),
        ("GetApiKey", {"name": "x"}, {"name": "x"}),
        ("GetApiKeys", {"items": [{"id": OLD}, {}, 7]}, {"items": [{"id": CALLED}, {}, 7]}),
        ("GetApiKeys", {"items": None}, {"items": None}),
        ("GetUsagePlan", {"id": OLD}, {"id": OLD}),
        ("GetUsagePlans", {"items": [{"id": OLD}]}, {"items": [{"id": OLD}]}),
        ("GetUsage", {"items": []}, {"items": []}),
        ("GetRestApis", {"items": {OLD: 1}}, {"items": {OLD: 1}}),
        ("GetApiKeys", None, None),
        ("GetApiKeys", ["x"], ["x"]),
    ],
)
def test_in_an_answer_the_ids_of_keys_are_covered_and_nothing_else(
    operation: str, answer: Any, covered: Any
) -> None:
    assert KeyIds().covered(operation, answer) == covered


def test_a_value_in_the_place_of_an_id_in_usage_is_covered_too() -> None:
    answer = {"items": {OLD: [[1, 2]], "k1": []}}
    assert KeyIds().covered("GetUsage", answer)["items"] == {CALLED: [[1, 2]], "k1": []}


def test_tags_are_those_of_the_key_as_it_is_called_and_no_stack_is_asked_about_it() -> None:
    class Tagging:
        def get_resources(self, **_: Any) -> dict[str, Any]:
            arn = f"arn:aws:apigateway:us-east-1::/apikeys/{OLD}"
            return {
                "ResourceTagMappingList": [
                    {"ResourceARN": arn, "Tags": [{"Key": "a", "Value": "b"}]}
                ]
            }

    owners = Ownership(Tagging(), None)
    assert owners.tags() == {CALLED: {"a": "b"}}
    assert owners.stack_of(CALLED) is None
