"""Talks to API Gateway's control plane, within the run's share of it.

What AWS does, and how sure that is, stands in the project's page of AWS facts; the docstrings name
the fact that a piece of code rests on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    ParamValidationError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)

from keyjanitor.aws import code_of, refusal
from keyjanitor.errors import CallFailed, UnexpectedAnswer, ValueTaken
from keyjanitor.evidence import UsagePage
from keyjanitor.pace import Pace
from keyjanitor.words import ApiKey, Secret, UsagePlan

PAGE = 500  # the most that AWS gives at once (doc)
TRIES = 10
LONGEST_PAUSE = 60.0  # seconds: who is told to wait for longer asks again, within its run
SERVER_ERROR = 500  # and above: AWS's own fault, which passes

# What each call needs, for the error that says so: HTTP verbs on paths (IAM: doc).
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
}


class ApiGateway:
    """The account's API keys and usage plans."""

    def __init__(self, client: Any, pace: Pace) -> None:
        self._client = client
        self._pace = pace

    # --- reading ----------------------------------------------------------------------------------

    def keys(self) -> list[ApiKey]:
        """Every key, without values and, as AWS leaves them out of lists, without tags."""
        # No order of the pages is documented: a key that is told twice is one key.
        listed = (
            _api_key(item, tags=item.get("tags"))
            for page in self._pages("GetApiKeys", self._client.get_api_keys, includeValues=False)
            for item in page.get("items", ())
        )
        return list({key.key_id: key for key in listed}.values())

    def key(self, key_id: str) -> ApiKey | None:
        """One key with its tags (none in the answer: it is untagged), or None if it is no more."""
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
        for page in self._pages(
            "GetApiKeys", self._client.get_api_keys, nameQuery=name, includeValues=True
        ):
            for item in page.get("items", ()):
                if item.get("name") == name and Secret(item.get("value", "")) == value:
                    return str(item["id"])
        return None

    def usage_plans(self) -> list[UsagePlan]:
        """Every usage plan."""
        return [
            UsagePlan(
                usage_plan_id=item["id"],
                name=item.get("name", ""),
                stages=tuple(
                    f"{stage.get('apiId', '')}:{stage.get('stage', '')}"
                    for stage in item.get("apiStages") or ()
                ),
                has_quota=bool((item.get("quota") or {}).get("limit")),
            )
            for page in self._pages("GetUsagePlans", self._client.get_usage_plans)
            for item in page.get("items", ())
        ]

    def members(self, usage_plan_id: str) -> tuple[str, ...]:
        """The ids of every key in a plan. AWS answers with their values, which stay in here."""
        return tuple(
            str(item["id"])
            for page in self._pages(
                "GetUsagePlanKeys", self._client.get_usage_plan_keys, usagePlanId=usage_plan_id
            )
            for item in page.get("items", ())
        )

    def usage(self, usage_plan_id: str, start: date, end: date) -> Iterator[UsagePage]:
        """The use of all keys of a plan, page by page, both days included.

        The pages are never merged by botocore: `items` is a dict, of which its paginator keeps the
        first page only (GetUsage: measured).
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
            items = page.get("items") or {}
            if not isinstance(items, Mapping):
                raise UnexpectedAnswer("GetUsage", "the answer's items are no table of key ids")
            yield UsagePage(*answered, items)

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

        Any value other than "true" disables, and AWS answers 200 (seen): hence the two literals.
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
        """Deletes a key; one that is no more is a success. It has no undo."""
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

        There is no client token: after a lost answer the second try says ValueTaken (seen).
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
        """Whether the key is in the plan. AWS answers with its value, which stays in here."""
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

    def _call(self, operation: str, call: Callable[..., Any], **params: Any) -> Any:
        """One call, paced; repeated while AWS says that it is only for now.

        Raises AccessDenied and CallFailed, neither with the parameters in it: they may be values,
        which botocore's own errors print (Where else a value can show: measured).
        """
        for attempt in range(1, TRIES + 1):
            self._pace.wait()
            try:
                answer = call(**params)
            except ParamValidationError:
                raise CallFailed(operation, "ParamValidationError") from None
            except ClientError as err:
                self._pace.answered()
                if attempt == TRIES or not self._is_for_now(err):
                    raise refusal(err, operation, _ACTIONS[operation]) from None
            except (BotoConnectionError, HTTPClientError) as err:
                self._pace.answered()
                if attempt == TRIES:
                    raise refusal(err, operation, _ACTIONS[operation]) from None
            except BotoCoreError as err:
                raise refusal(err, operation, _ACTIONS[operation]) from None
            else:
                self._pace.went_well()
                return answer
        raise AssertionError("unreachable")

    def _is_for_now(self, err: ClientError) -> bool:
        """Whether to try again. Both 429s share their status: only the code tells them apart (doc)."""
        code = code_of(err)
        if code in ("TooManyRequestsException", "ThrottlingException"):
            self._pace.slow_down(_retry_after(err))
            return True
        if code == "ConflictException":
            return "concurrent modification" in str(err.response["Error"].get("Message", ""))
        status = err.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return bool(status >= SERVER_ERROR)


def _retry_after(err: ClientError) -> float | None:
    """Seconds to wait, if AWS says so; it says it as a string (doc)."""
    told = err.response.get("retryAfterSeconds")
    if told is None:
        headers = err.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        told = headers.get("retry-after")
    try:
        return min(float(str(told)), LONGEST_PAUSE)
    except ValueError:
        return None


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


def _texts(values: Sequence[str] | None) -> Sequence[str]:
    return values or ()
