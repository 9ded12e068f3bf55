"""API Gateway's API keys: looked up, changed, created, imported and deleted."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from keyjanitor.adapters.gateway_calls import GatewayCalls
from keyjanitor.domain.model.aws_answers import text_of
from keyjanitor.domain.model.keys import ApiKey, Secret
from keyjanitor.domain.requests.import_file import NewKey, key_file
from keyjanitor.errors import (
    AccountFull,
    CallFailed,
    ImportRefused,
    ImportUnanswered,
    UnexpectedAnswer,
    ValueConflict,
)

# How AWS says that a row of an import is bad, or its plan.
REFUSED = frozenset({"BadRequestException", "NotFoundException"})


class GatewayKeys:
    """The account's API keys."""

    def __init__(self, calls: GatewayCalls) -> None:
        self._calls = calls

    # --- reading ----------------------------------------------------------------------------------

    def keys(self) -> list[ApiKey]:
        """Every key, without values and, as AWS leaves them out of lists, without tags."""
        # No order of the pages is documented (doc: AF-204): a key that is told twice is one key.
        listed = (
            _api_key(item, tags=item.get("tags"))
            for item in self._calls.items(
                "GetApiKeys", self._calls.client.get_api_keys, includeValues=False
            )
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
            item = self._calls.call(
                "GetApiKey",
                self._calls.client.get_api_key,
                apiKey=key_id,
                includeValue=include_value,
            )
        except CallFailed as err:
            if err.code == "NotFoundException":
                return None
            raise
        value = item.get("value")
        return _api_key(item, tags=item.get("tags") or {}), Secret(value) if value else None

    def key_named(self, name: str, value: Secret) -> str | None:
        """The id of the key that has exactly this name and this value, if there is one."""
        for item in self._calls.items(
            "GetApiKeys", self._calls.client.get_api_keys, nameQuery=name, includeValues=True
        ):
            if item.get("name") == name and Secret(item.get("value", "")) == value:
                return text_of(item, "id", "GetApiKeys")
        return None

    def keys_named(self, prefix: str) -> list[ApiKey]:
        """The keys whose names begin so (nameQuery is a prefix that minds case; seen: AF-202)."""
        listed = self._calls.items(
            "GetApiKeys", self._calls.client.get_api_keys, nameQuery=prefix, includeValues=False
        )
        keys = (_api_key(item, tags=None) for item in listed)
        return [key for key in keys if key.name.startswith(prefix)]

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
            item = self._calls.call(
                "UpdateApiKey",
                self._calls.client.update_api_key,
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
            self._calls.call("DeleteApiKey", self._calls.client.delete_api_key, apiKey=key_id)
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
        """Creates a key that opens nothing yet, and gives its id; raises ValueConflict.

        That a deleted key's value can be used again is a belief (believed: AF-215).

        There is no client token: after a lost answer the second try says ValueConflict (seen: AF-125).
        """
        params: dict[str, Any] = {"name": name, "value": value.reveal(), "enabled": False}
        if description:
            params["description"] = description
        if customer_id:
            params["customerId"] = customer_id
        if tags:
            params["tags"] = dict(tags)
        try:
            return str(
                self._calls.call("CreateApiKey", self._calls.client.create_api_key, **params)["id"]
            )
        except CallFailed as err:
            if err.code == "ConflictException":
                raise ValueConflict from None
            raise

    def import_keys(self, keys: Sequence[NewKey]) -> None:
        """Creates keys, enabled and in their plans, all of them or none (doc: AF-234).

        The same values again overwrite (doc: AF-232): it may be repeated while no other caller can have
        changed the keys. Raises AccountFull if there is no room, ImportRefused if a row is bad,
        ImportUnanswered if it may still be at work, and CallFailed: then it may have been carried out.
        """
        try:
            self._calls.call(
                "ImportApiKeys",
                self._calls.client.import_api_keys,
                body=key_file(keys),
                format="csv",
                failOnWarnings=True,
                may_still_run=True,
            )
        except CallFailed as err:
            if err.code == "LimitExceededException":
                raise AccountFull from None
            if err.code in REFUSED:
                raise ImportRefused(len(keys), err.code) from None
            if err.code == "ReadTimeoutError":
                raise ImportUnanswered(len(keys)) from None
            raise


def _utc(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise UnexpectedAnswer("API Gateway", "a date is no date")
    return value.astimezone(UTC)


def _api_key(item: Mapping[str, Any], tags: Mapping[str, str] | None) -> ApiKey:
    try:
        return ApiKey(
            key_id=item["id"],
            name=item.get("name") or "",
            # Without `enabled` the item is malformed: raise rather than guess.
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
