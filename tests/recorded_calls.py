"""Makes the calls whose answers tests/recorded/apigateway.json holds, on another API Gateway, and gives its answers."""

from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

LONG_NAME, LONG_VALUE, LONG_DESCRIPTION = "n" * 1025, "v" * 129, "d" * 125_001
Answers = dict[tuple[str, str], Mapping[str, Any]]


class Player:
    """Makes calls one after the other and keeps their answers by the test that recorded them and their names.

    `stage` is an API with a stage `dev`. The account is as empty as it was at the recording, for `wipe`
    empties it.
    """

    def __init__(self, client: Any, api_id: str, wipe: Callable[[], object]) -> None:
        self.answers: Answers = {}
        self._client = client
        self._api_id = api_id
        self._wipe = wipe
        self._source = ""

    def play(self) -> Answers:
        """All calls; gives what was answered to each, refusals as boto3's errors have them."""
        for source in (
            self.test_get_api_keys,
            self.test_get_usage_plan_api_keys,
            self.test_negative_get_usage_plan_api_keys,
            self.test_create_api_key_with_invalid_name,
            self.test_create_api_key_with_invalid_value,
            self.test_update_api_key_invalid_description_length,
            self.test_update_api_key_invalid_enabled_type,
            self.test_update_api_key_immutable_field,
            self.test_create_usage_plan_with_throttle,
            self.test_api_key_required_for_methods,
            self.test_usage_plan_crud,
        ):
            self._wipe()
            self._source = source.__name__
            source()
        return self.answers

    def _call(self, call: str, method: str, /, **params: Any) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = getattr(self._client, method)(**params)
        except ClientError as err:
            answer = err.response
        self.answers[self._source, call] = answer
        return answer

    def _key(self, call: str = "create-api-key", /, **params: Any) -> Mapping[str, Any]:
        return self._call(call, "create_api_key", **params)

    def _keys(self, call: str, /, **params: Any) -> Mapping[str, Any]:
        return self._call(call, "get_api_keys", **params)

    def _update(self, call: str, key: Mapping[str, Any], path: str, value: str) -> None:
        change = [{"op": "replace", "path": path, "value": value}]
        self._call(call, "update_api_key", apiKey=key["id"], patchOperations=change)

    def test_get_api_keys(self) -> None:
        self._keys("get-api-keys")
        self._key(name="Name-one")
        self._keys("get-api-keys-after-create-1")
        self._keys("get-api-keys-wrong-name-query", nameQuery="other")
        self._keys("get-api-keys-prefix-name-query", nameQuery="Name")
        self._keys("get-api-keys-prefix-name-query-cased", nameQuery="name")
        self._keys("get-api-keys-postfix-name-query", nameQuery="one")
        self._keys("get-api-keys-infix-name-query", nameQuery="me-o")
        self._key("create-api-key-2", name="Name-two")
        self._keys("get-api-keys-after-create-2")
        self._keys("get-api-keys-name-query", nameQuery="Name-two")
        self._keys("get-api-keys-prefix-name-query-2", nameQuery="Name")
        page = self._keys("get-apis-keys-pagination", limit=1)
        self._keys("get-apis-keys-pagination-2", limit=1, position=page["position"])

    def test_get_usage_plan_api_keys(self) -> None:
        self._keys("get-api-keys")
        keys = [
            self._key(name, name=f"Name-{n}")
            for n, name in enumerate(("create-api-key", "create-api-key-2"))
        ]
        self._keys("get-api-keys-after-create-1")
        plan = self._call("create-usage-plan", "create_usage_plan", name="plan")["id"]

        def members(name: str, usage_plan: str = plan, **params: Any) -> None:
            self._call(name, "get_usage_plan_keys", usagePlanId=usage_plan, **params)

        members("get-up-keys-before-create")
        for name, key in zip(("create-up-key", "create-up-key-2"), keys, strict=True):
            joining = {"usagePlanId": plan, "keyId": key["id"], "keyType": "API_KEY"}
            self._call(name, "create_usage_plan_key", **joining)
        members("get-up-keys")
        members("get-up-keys-name-query", nameQuery="Name")
        members("get-up-keys-name-query-cased", nameQuery="name")
        members("get-up-keys-name-query-key-name", nameQuery="Name-0")
        members("get-up-keys-bad-query", nameQuery="nothing")
        for key in keys:
            self._client.delete_usage_plan_key(usagePlanId=plan, keyId=key["id"])
        members("get-up-keys-after-delete")
        members("get-up-keys-bad-usage-plan", "nothing")

    def test_negative_get_usage_plan_api_keys(self) -> None:
        self._keys("get-api-keys-invalid-limit", limit=-1)
        self._update("update-api-key-name", self._key(name="first"), "/name", "second")

    def test_create_api_key_with_invalid_name(self) -> None:
        self._key("create-api-key-name-too-long", name=LONG_NAME)
        self._key("create-api-key-empty-name", name="")
        self._key("create-api-key-no-name")

    def test_create_api_key_with_invalid_value(self) -> None:
        self._key("create-api-key-short-value", value="short")
        self._key("create-api-key-invalid-value-too-long", value=LONG_VALUE)
        self._key("create-api-key-empty-value", value="")

    def test_update_api_key_invalid_description_length(self) -> None:
        self._key("create-api-key-description-too-long", description=LONG_DESCRIPTION)
        key = self._client.create_api_key(description="short")
        self._update("update-api-key-description-too-long", key, "/description", LONG_DESCRIPTION)

    def test_update_api_key_invalid_enabled_type(self) -> None:
        key = self._client.create_api_key()
        self._update("update-api-key-invalid-enabled-type", key, "/enabled", "neither")

    def test_update_api_key_immutable_field(self) -> None:
        key = self._client.create_api_key()
        self._update("update-api-key-immutable-field", key, "/id", "another")

    def test_create_usage_plan_with_throttle(self) -> None:
        throttle = {"rateLimit": 10, "burstLimit": 20}
        self._call(
            "create-usage-plan-burst-gt-rate", "create_usage_plan", name="p", throttle=throttle
        )

    def test_api_key_required_for_methods(self) -> None:
        plan = self._call(
            "create-usage-plan",
            "create_usage_plan",
            name="p",
            description="Test Usage Plan for API key",
            apiStages=[{"apiId": self._api_id, "stage": "dev"}],
            throttle={"rateLimit": 2, "burstLimit": 1},
            quota={"limit": 10, "period": "DAY"},
            tags={"tag_key": "tag_value"},
        )
        key = self._key(name="n", enabled=True)
        joining = {"usagePlanId": plan["id"], "keyId": key["id"], "keyType": "API_KEY"}
        self._call("create-usage-plan-key", "create_usage_plan_key", **joining)
        self._update("update-api-key-disabled", key, "/enabled", "false")

    def test_usage_plan_crud(self) -> None:
        stages = [{"apiId": self._api_id, "stage": "dev"}]
        made = {"name": "p", "description": "d", "apiStages": stages}
        plan = self._call("create-usage-plan", "create_usage_plan", **made)["id"]
        self._call("get-usage-plan", "get_usage_plan", usagePlanId=plan)
        self._call("get-usage-plans", "get_usage_plans")

        def update(name: str, *changes: Mapping[str, str], usage_plan: str = plan) -> None:
            self._call(
                name, "update_usage_plan", usagePlanId=usage_plan, patchOperations=list(changes)
            )

        limits = {
            "/throttle/burstLimit": "100",
            "/throttle/rateLimit": "200",
            "/quota/limit": "5000",
            "/quota/period": "MONTH",
        }
        changes = [{"op": "replace", "path": path, "value": one} for path, one in limits.items()]
        update("update-usage-plan", *changes)
        update("update-wrong-id", *changes, usage_plan="nothing")

        def another_stage(**more: str) -> dict[str, str]:
            return {"op": "add", "path": "/apiStages", **more}

        update("update-wrong-api-stages-no-value", another_stage())
        update("update-wrong-api-stages-wrong-api", another_stage(value=f"{self._api_id}b:dev"))
        update(
            "update-wrong-api-stages-wrong-stage",
            another_stage(value=f"{self._api_id}:fakestagename"),
        )
        update("update-wrong-api-stages-wrong-value", another_stage(value="nothing"))
        self._call("get-usage-plan-after-update", "get_usage_plan", usagePlanId=plan)
        self._call("get-usage-plans-after-update", "get_usage_plans")
