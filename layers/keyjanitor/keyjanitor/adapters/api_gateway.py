"""Talks to API Gateway's control plane, within the run's share of it.

What AWS does, and how sure that is, is in docs/aws-facts.md; the docstrings name the fact that a
piece of code rests on by its id.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from math import isfinite
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, ParamValidationError
from botocore.exceptions import ConnectionError as BotoConnectionError

from keyjanitor.adapters.clients import code_of, refusal
from keyjanitor.adapters.rate_limiter import Pace
from keyjanitor.domain.model.apis import LimitedPlan, Method, RestApi, Stage
from keyjanitor.domain.model.aws_answers import items_of, table_of, text_of
from keyjanitor.domain.model.key_ids import KeyIds
from keyjanitor.domain.model.keys import ApiKey, Secret, UsagePlan
from keyjanitor.domain.model.policy import Rate
from keyjanitor.domain.requests.import_file import NewKey, key_file
from keyjanitor.domain.requests.plan_shape import Shape, ShapedPlan
from keyjanitor.domain.usage.plan_usage import UsagePage
from keyjanitor.errors import (
    CallFailed,
    ImportRefused,
    KeyjanitorError,
    KeysFull,
    UnexpectedAnswer,
    ValueTaken,
)

PAGE = 500  # the most that AWS gives at once (doc: AF-201)
TRIES = 10
LONGEST_PAUSE = 60.0  # seconds: who is told to wait for longer asks again, within its run
# How AWS says that a row of an import is bad, or its plan.
REFUSED = frozenset({"BadRequestException", "NotFoundException"})
SERVER_ERROR = 500  # and above: AWS's own fault, which passes

# What each call needs, for the error that says so: HTTP verbs on paths (doc: AF-405).
_ACTIONS = {
    "GetApiKeys": "apigateway:GET on /apikeys",
    "GetApiKey": "apigateway:GET on /apikeys/*",
    "CreateApiKey": "apigateway:POST on /apikeys",
    "UpdateApiKey": "apigateway:PATCH on /apikeys/*",
    "DeleteApiKey": "apigateway:DELETE on /apikeys/*",
    "GetUsagePlans": "apigateway:GET on /usageplans",
    "GetUsagePlanKeys": "apigateway:GET on /usageplans/*/keys",
    "GetUsagePlanKey": "apigateway:GET on /usageplans/*/keys/*",
    "CreateUsagePlanKey": "apigateway:POST on /usageplans/*/keys",
    "GetUsage": "apigateway:GET on /usageplans/*/usage",
    "ImportApiKeys": "apigateway:POST on /apikeys",
    "CreateUsagePlan": "apigateway:POST on /usageplans",
    "GetRestApis": "apigateway:GET on /restapis",
    "GetStages": "apigateway:GET on /restapis/*/stages",
    "GetDeployment": "apigateway:GET on /restapis/*/deployments/*",
}


class ApiGateway:
    """The account's API keys and usage plans."""

    def __init__(self, client: Any, pace: Pace) -> None:
        self._client = client
        self._pace = pace
        self._ids = KeyIds()

    # --- reading ----------------------------------------------------------------------------------

    def keys(self) -> list[ApiKey]:
        """Every key, without values and, as AWS leaves them out of lists, without tags."""
        # No order of the pages is documented (doc: AF-204): a key that is told twice is one key.
        listed = (
            _api_key(item, tags=item.get("tags"))
            for item in self._items("GetApiKeys", self._client.get_api_keys, includeValues=False)
        )
        return list({key.key_id: key for key in listed}.values())

    def key(self, key_id: str) -> ApiKey | None:
        """One key with its tags (none in the answer: it is untagged; believed: AF-206), or None if it is no more."""
        found = self._key(key_id, include_value=False)
        return found[0] if found else None

    def key_with_value(self, key_id: str) -> tuple[ApiKey, Secret] | None:
        """One key and its value, or None if it is no more."""
        found = self._key(key_id, include_value=True)
        if found is None:
            return None
        key, value = found
        if value is None:
            raise UnexpectedAnswer("GetApiKey", f"the answer for {key_id} holds no value")
        return key, value

    def _key(self, key_id: str, *, include_value: bool) -> tuple[ApiKey, Secret | None] | None:
        try:
            item = self._call(
                "GetApiKey", self._client.get_api_key, apiKey=key_id, includeValue=include_value
            )
        except CallFailed as err:
            if err.code == "NotFoundException":
                return None
            raise
        value = item.get("value")
        return _api_key(item, tags=item.get("tags") or {}), Secret(value) if value else None

    def key_named(self, name: str, value: Secret) -> str | None:
        """The id of the key that has exactly this name and this value, if there is one."""
        for item in self._items(
            "GetApiKeys", self._client.get_api_keys, nameQuery=name, includeValues=True
        ):
            if item.get("name") == name and Secret(item.get("value", "")) == value:
                return text_of(item, "id", "GetApiKeys")
        return None

    def keys_named(self, prefix: str) -> list[ApiKey]:
        """The keys whose names begin so (nameQuery is a prefix that minds case; seen: AF-202)."""
        listed = self._items(
            "GetApiKeys", self._client.get_api_keys, nameQuery=prefix, includeValues=False
        )
        keys = (_api_key(item, tags=None) for item in listed)
        return [key for key in keys if key.name.startswith(prefix)]

    def usage_plans(self) -> list[UsagePlan]:
        """Every usage plan."""
        return [
            UsagePlan(
                usage_plan_id=text_of(item, "id", "GetUsagePlans"),
                name=item.get("name") or "",
                stages=tuple(
                    f"{stage.get('apiId', '')}:{stage.get('stage', '')}"
                    for stage in item.get("apiStages") or ()
                ),
                has_quota=bool((item.get("quota") or {}).get("limit")),
            )
            for item in self._items("GetUsagePlans", self._client.get_usage_plans)
        ]

    def shaped_plans(self) -> list[ShapedPlan]:
        """Every usage plan, with what it opens and allows."""
        return [
            ShapedPlan(plan.usage_plan_id, plan.name, _shape(plan)) for plan in self.limited_plans()
        ]

    def limited_plans(self) -> list[LimitedPlan]:
        """Every usage plan, with the limits of each of its stages."""
        listed = (
            LimitedPlan.of(item)
            for item in self._items("GetUsagePlans", self._client.get_usage_plans)
        )
        return list({plan.usage_plan_id: plan for plan in listed}.values())

    def rest_apis(self) -> list[RestApi]:
        """Every REST API. HTTP and WebSocket APIs are others' (API Gateway v2), and not among them."""
        listed = (
            RestApi(
                text_of(item, "id", "GetRestApis"),
                item.get("name") or "",
                item.get("apiKeySource") or "HEADER",
            )
            for item in self._items("GetRestApis", self._client.get_rest_apis)
        )
        return list({api.api_id: api for api in listed}.values())

    def stages(self, api_id: str) -> list[Stage]:
        """The stages of a REST API; they come in one answer, without pages (doc: AF-333)."""
        answer = self._call("GetStages", self._client.get_stages, restApiId=api_id)
        return [
            Stage(
                api_id,
                text_of(item, "stageName", "GetStages"),
                tuple(
                    deployment_id
                    for deployment_id in (
                        item.get("deploymentId"),
                        (item.get("canarySettings") or {}).get("deploymentId"),
                    )
                    if deployment_id
                ),
            )
            for item in items_of(answer, "item", "GetStages")
        ]

    def deployed_methods(self, api_id: str, deployment_id: str) -> tuple[Method, ...]:
        """The methods of a deployment: what is served by the stages that point at it.

        GetResources tells of the API as it was edited since. A deployment is "an immutable
        representation of a RestApi", and GetDeployment with `embed=["apisummary"]` gives "a summary
        of the RestApi at the date and time that the deployment resource was created": for each path
        and method authorizationType and apiKeyRequired (doc: AF-334). That a false is told, as
        GetMethod tells it, and not left out, is a belief (believed: AF-335). Raises UnexpectedAnswer if there
        is none of it, or it leaves open whether a method needs a key.
        """
        answer = self._call(
            "GetDeployment",
            self._client.get_deployment,
            restApiId=api_id,
            deploymentId=deployment_id,
            embed=["apisummary"],
        )
        methods = tuple(
            _method(path, http_method, snapshot)
            for path, snapshots in sorted((answer.get("apiSummary") or {}).items())
            for http_method, snapshot in sorted(snapshots.items())
        )
        if not methods:
            # An API without methods cannot be deployed, so none told is none known (seen: AF-336).
            raise UnexpectedAnswer("GetDeployment", "the answer holds no summary of methods")
        return methods

    def plans_of(self, key_id: str) -> tuple[str, ...]:
        """The ids of the usage plans that a key is in."""
        return tuple(
            sorted(
                text_of(item, "id", "GetUsagePlans")
                for item in self._items("GetUsagePlans", self._client.get_usage_plans, keyId=key_id)
            )
        )

    def members(self, usage_plan_id: str, prefix: str = "") -> tuple[str, ...]:
        """The ids of every key in a plan, or of those whose names begin with `prefix`.

        AWS answers with their values (seen: AF-211), which stay in here.
        """
        named = {"nameQuery": prefix} if prefix else {}
        return tuple(
            text_of(item, "id", "GetUsagePlanKeys")
            for item in self._items(
                "GetUsagePlanKeys",
                self._client.get_usage_plan_keys,
                usagePlanId=usage_plan_id,
                **named,
            )
        )

    def usage(self, usage_plan_id: str, start: date, end: date) -> Iterator[UsagePage]:
        """The use of all keys of a plan, page by page, both days included.

        The pages are never merged by botocore: `items` is a dict, of which its paginator keeps the
        first page only (measured: AF-304).
        """
        for page in self._pages(
            "GetUsage",
            self._client.get_usage,
            usagePlanId=usage_plan_id,
            startDate=str(start),
            endDate=str(end),
        ):
            try:
                answered = (
                    date.fromisoformat(page["startDate"]),
                    date.fromisoformat(page["endDate"]),
                )
            except (KeyError, TypeError, ValueError):
                raise UnexpectedAnswer(
                    "GetUsage", "the answer does not say for which days"
                ) from None
            yield UsagePage(*answered, table_of(page, "items", "GetUsage"))

    def _items(
        self, operation: str, call: Callable[..., Any], **params: Any
    ) -> Iterator[Mapping[str, Any]]:
        """All that is listed, of every page; raises UnexpectedAnswer if a page holds no list."""
        for page in self._pages(operation, call, **params):
            yield from items_of(page, "items", operation)

    def _pages(
        self, operation: str, call: Callable[..., Any], **params: Any
    ) -> Iterator[Mapping[str, Any]]:
        """Every page; raises UnexpectedAnswer if AWS leads in a circle."""
        seen: set[str] = set()
        while True:
            page = self._call(operation, call, limit=PAGE, **params)
            yield page
            position = page.get("position")
            if not position:
                return
            if position in seen:
                raise UnexpectedAnswer(operation, "the same page was announced twice")
            seen.add(position)
            params["position"] = position

    # --- changing ---------------------------------------------------------------------------------

    def set_enabled(self, key_id: str, *, enabled: bool) -> datetime | None:
        """Enables or disables a key; gives its new lastUpdatedDate, or None if it is no more.

        Any value other than "true" disables, and AWS answers 200 (seen: AF-210): hence the two literals.
        """
        return self._update(key_id, "/enabled", "true" if enabled else "false")

    def rename(self, key_id: str, name: str) -> datetime | None:
        """Gives a key another name; answers as `set_enabled` does."""
        return self._update(key_id, "/name", name)

    def _update(self, key_id: str, path: str, value: str) -> datetime | None:
        try:
            item = self._call(
                "UpdateApiKey",
                self._client.update_api_key,
                apiKey=key_id,
                patchOperations=[{"op": "replace", "path": path, "value": value}],
            )
        except CallFailed as err:
            if err.code == "NotFoundException":
                return None
            raise
        return _utc(item["lastUpdatedDate"])

    def delete(self, key_id: str) -> None:
        """Deletes a key; one that is no more is a success. It has no undo (doc: AF-214)."""
        try:
            self._call("DeleteApiKey", self._client.delete_api_key, apiKey=key_id)
        except CallFailed as err:
            if err.code != "NotFoundException":
                raise

    def create_disabled(
        self,
        value: Secret,
        *,
        name: str,
        description: str,
        customer_id: str,
        tags: Mapping[str, str],
    ) -> str:
        """Creates a key that opens nothing yet, and gives its id; raises ValueTaken.

        That a deleted key's value can be used again is a belief (believed: AF-215).

        There is no client token: after a lost answer the second try says ValueTaken (seen: AF-125).
        """
        params: dict[str, Any] = {"name": name, "value": value.reveal(), "enabled": False}
        if description:
            params["description"] = description
        if customer_id:
            params["customerId"] = customer_id
        if tags:
            params["tags"] = dict(tags)
        try:
            return str(self._call("CreateApiKey", self._client.create_api_key, **params)["id"])
        except CallFailed as err:
            if err.code == "ConflictException":
                raise ValueTaken from None
            raise

    def import_keys(self, keys: Sequence[NewKey]) -> None:
        """Creates keys, enabled and in their plans, all of them or none (doc: AF-234).

        The same values again overwrite (doc: AF-232): it may be repeated for as long as nobody else can have
        changed the keys. Raises KeysFull if there is no room, ImportRefused if a row is bad, and
        CallFailed: then it may have been carried out.
        """
        try:
            self._call(
                "ImportApiKeys",
                self._client.import_api_keys,
                body=key_file(keys),
                format="csv",
                failOnWarnings=True,
            )
        except CallFailed as err:
            if err.code == "LimitExceededException":
                raise KeysFull from None
            if err.code in REFUSED:
                raise ImportRefused(len(keys), err.code) from None
            raise

    def create_plan(self, name: str, shape: Shape) -> str:
        """Creates a usage plan whole, and gives its id; raises CallFailed, never tried twice.

        It has no client token (doc: AF-126): whether a lost answer made one has to be looked up by
        its name.
        """
        methods = {method: _limits(rate) for method, rate in shape.methods.items()}
        params: dict[str, Any] = {
            "name": name,
            "description": "Made by keyjanitor. Changed limits make a new plan for new keys.",
            "apiStages": [
                {
                    "apiId": stage.partition(":")[0],
                    "stage": stage.partition(":")[2],
                    **({"throttle": methods} if methods else {}),
                }
                for stage in sorted(shape.stages)
            ],
        }
        if shape.throttle is not None:
            params["throttle"] = _limits(shape.throttle)
        if shape.quota is not None:
            params["quota"] = {"limit": shape.quota.limit, "period": shape.quota.period}
        call = self._client.create_usage_plan
        return str(self._call("CreateUsagePlan", call, repeatable=False, **params)["id"])

    def attach(self, usage_plan_id: str, key_id: str) -> bool:
        """Puts a key into a plan; in it already is a success. False: there is no such plan."""
        try:
            self._call(
                "CreateUsagePlanKey",
                self._client.create_usage_plan_key,
                usagePlanId=usage_plan_id,
                keyId=key_id,
                keyType="API_KEY",
            )
        except CallFailed as err:
            if err.code == "NotFoundException":
                return False
            # Several things are a conflict; only one of them is that the key is in the plan already.
            if err.code != "ConflictException" or not self._is_member(usage_plan_id, key_id):
                raise
        return True

    def _is_member(self, usage_plan_id: str, key_id: str) -> bool:
        """Whether the key is in the plan. AWS answers with its value (seen: AF-211), which stays in here."""
        try:
            self._call(
                "GetUsagePlanKey",
                self._client.get_usage_plan_key,
                usagePlanId=usage_plan_id,
                keyId=key_id,
            )
        except CallFailed as err:
            if err.code == "NotFoundException":
                return False
            raise
        return True

    # --- calling ----------------------------------------------------------------------------------

    def _call(
        self, operation: str, call: Callable[..., Any], *, repeatable: bool = True, **params: Any
    ) -> Any:
        """One call, paced; repeated while AWS says that it is only for now.

        What is not `repeatable` is repeated only if AWS says that it was not carried out. Raises
        AccessDenied and CallFailed, neither with the parameters in it: they may be values, which
        botocore's own errors print (measured: AF-124). No id that may be a value
        leaves this method, and none but the real ones is sent.
        """
        params = self._sent(params)
        for attempt in range(1, TRIES + 1):
            self._pace.wait()
            try:
                answer = call(**params)
            except ParamValidationError:
                failed: KeyjanitorError = CallFailed(operation, "ParamValidationError")
                break
            except ClientError as err:
                self._pace.answered()
                failed = refusal(err, operation, _ACTIONS[operation])
                sure = repeatable or _status(err) < SERVER_ERROR
                for_now = self._is_for_now(err)
                if for_now and code_of(err) == "ConflictException":
                    # Another conflict than one that stays however often it is tried (seen: AF-108).
                    failed = CallFailed(operation, "ConcurrentModification")
                if attempt == TRIES or not for_now or not sure:
                    break
            except (BotoConnectionError, HTTPClientError) as err:
                self._pace.answered()
                failed = refusal(err, operation, _ACTIONS[operation])
                if attempt == TRIES or not repeatable:
                    break
            except BotoCoreError as err:
                failed = refusal(err, operation, _ACTIONS[operation])
                break
            else:
                self._pace.went_well()
                return self._ids.covered(operation, answer)
        # Raised out here, the error does not even carry botocore's as its context.
        raise failed

    def _sent(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters as API Gateway takes them.

        A key of which only the digest is known is looked for in the list; missing twice, it is no more.
        """
        for _ in range(2):
            if self._ids.unknown(params):
                self.keys()
        return self._ids.real(params)

    def _is_for_now(self, err: ClientError) -> bool:
        """Whether to try again. Both 429s share their status: only the code tells them apart (doc: AF-121)."""
        code = code_of(err)
        if code in ("TooManyRequestsException", "ThrottlingException"):
            self._pace.slow_down(_retry_after(err))
            return True
        if code == "ConflictException":
            return "concurrent modification" in str(err.response["Error"].get("Message", ""))
        return _status(err) >= SERVER_ERROR


def _status(err: ClientError) -> int:
    return int(err.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _retry_after(err: ClientError) -> float | None:
    """Seconds to wait, if AWS says so; it says it as a string (doc: AF-122)."""
    told = err.response.get("retryAfterSeconds")
    if told is None:
        headers = err.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        told = headers.get("retry-after")
    try:
        seconds = float(str(told))
    except ValueError:
        return None
    return min(seconds, LONGEST_PAUSE) if isfinite(seconds) else None


def _utc(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise UnexpectedAnswer("API Gateway", "a date is no date")
    return value.astimezone(UTC)


def _api_key(item: Mapping[str, Any], tags: Mapping[str, str] | None) -> ApiKey:
    try:
        return ApiKey(
            key_id=item["id"],
            name=item.get("name") or "",
            # A key of which AWS does not say that it is enabled is none that we may judge as one.
            enabled=item["enabled"],
            created_date=_utc(item["createdDate"]),
            last_updated_date=_utc(item["lastUpdatedDate"]),
            description=item.get("description") or "",
            customer_id=item.get("customerId") or "",
            stage_keys=tuple(_texts(item.get("stageKeys"))),
            tags=tags,
        )
    except KeyError as err:
        raise UnexpectedAnswer("API Gateway", f"a key comes without {err}") from None


def _shape(plan: LimitedPlan) -> Shape | None:
    methods = list(plan.stages.values())
    if any(one != methods[0] for one in methods):
        return None
    return Shape(
        stages=frozenset(plan.stages),
        throttle=plan.throttle,
        quota=plan.quota,
        methods=methods[0] if methods else {},
    )


def _method(path: str, http_method: str, snapshot: Mapping[str, Any]) -> Method:
    required = snapshot.get("apiKeyRequired")
    if not isinstance(required, bool):
        raise UnexpectedAnswer("GetDeployment", "a method does not say whether it needs a key")
    return Method(path, http_method, snapshot.get("authorizationType") or "", required)


def _limits(rate: Rate) -> dict[str, float]:
    return {"rateLimit": rate.rate_limit, "burstLimit": rate.burst_limit}


def _texts(values: Sequence[str] | None) -> Sequence[str]:
    return values or ()
