"""Keeps ids that may be values out of everything but the calls to API Gateway. Pure.

In accounts from before there were usage plans a key's id can be its value (seen: AF-213).
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from keyjanitor.errors import UnexpectedAnswer

SHORTEST_VALUE = 20  # characters: what is as long may be a value (doc: AF-105)
_SHOWN = re.compile(r"id-[0-9a-f]{12}")  # no id of API Gateway's has a dash

_OF_ITEMS = frozenset({"GetApiKeys", "GetUsagePlanKeys"})
_OF_ONE = frozenset(
    {"GetApiKey", "CreateApiKey", "UpdateApiKey", "GetUsagePlanKey", "CreateUsagePlanKey"}
)
_PARAMETERS = ("apiKey", "keyId")


def shown_id(key_id: str) -> str:
    """Name of a key for everything but API Gateway: its id, or `id-` and twelve digits of its SHA-256 if the id may be a value."""
    if len(key_id) < SHORTEST_VALUE:
        return key_id
    return f"id-{sha256(key_id.encode()).hexdigest()[:12]}"


def may_be_value(key_id: str) -> bool:
    """True if this is the name of a key whose id may be its value."""
    return _SHOWN.fullmatch(key_id) is not None


class KeyIds:
    """The ids that one run has seen in API Gateway's answers, by what the keys are called."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}

    def shown(self, key_id: Any) -> Any:
        """Name of a key of an answer, remembered for later calls; raises UnexpectedAnswer if two ids have one name."""
        if not isinstance(key_id, str) or len(key_id) < SHORTEST_VALUE:
            return key_id
        shown = shown_id(key_id)
        if self._real.setdefault(shown, key_id) != key_id:
            raise UnexpectedAnswer("API Gateway", f"two keys would be called {shown}")
        return shown

    def unknown(self, params: Mapping[str, Any]) -> bool:
        """True if a call names a key whose id this run has not seen."""
        ids = [params[name] for name in _PARAMETERS if name in params]
        return any(may_be_value(one) and one not in self._real for one in ids)

    def real(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a call, with the ids that API Gateway knows."""
        return {
            name: self._real.get(value, value) if name in _PARAMETERS else value
            for name, value in params.items()
        }

    def covered(self, operation: str, answer: Any) -> Any:
        """An answer whose keys are called as everything else may call them."""
        if not isinstance(answer, dict):
            return answer
        if operation in _OF_ONE and "id" in answer:
            return {**answer, "id": self.shown(answer["id"])}
        items = answer.get("items")
        if operation in _OF_ITEMS and isinstance(items, list):
            return {**answer, "items": [self._item(item) for item in items]}
        if operation == "GetUsage" and isinstance(items, dict):
            return {**answer, "items": {self.shown(one): use for one, use in items.items()}}
        return answer

    def _item(self, item: Any) -> Any:
        if not isinstance(item, dict) or "id" not in item:
            return item
        return {**item, "id": self.shown(item["id"])}
