"""Keys on API Gateway's control plane: create, list, update, delete, tag, import.

Each behaviour is documented by AWS or was seen (docs/aws-facts.md); what is only believed says so,
and nothing should come to depend on it.
"""

import contextlib
import csv
import hashlib
import io
import itertools
import re
import secrets
import string
from collections.abc import Iterable, Mapping
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import apigateway_v1

from sandbox.aws.apigateway.stages import check_one_plan_a_stage
from sandbox.aws.apigateway.stores import KeyStore, MemberStore, Record, Scope, shuffled
from sandbox.aws.clock import Clock
from sandbox.aws.faults import Faults
from sandbox.aws.wire import (
    Answer,
    Query,
    Refused,
    answer_with,
    is_true,
    json_object,
    limit_of,
    listing,
    one,
    page_of,
    patches,
    start_of,
)

_ID_LETTERS = string.ascii_lowercase + string.digits
_VALUE_LETTERS = string.ascii_letters + string.digits
LONGEST_DESCRIPTION = 125_000  # characters; a refusal was seen, the limit is believed
_TAG_TEXT = re.compile(r"[\w\s+\-=.:/@]*\Z")


class ApiKeys:
    """The keys of every account and Region in the sandbox."""

    def __init__(self, clock: Clock, faults: Faults, store: KeyStore, members: MemberStore) -> None:
        self._clock = clock
        self._faults = faults
        self._keys = store
        self._members = members
        self._made = itertools.count()
        self.owners: dict[str, str] = {}  # key id -> stack name, laid down without a stack

    def respond(self, method: str, parts: list[str], body: bytes, query: Query) -> Answer:
        """Answer a call on /apikeys; `parts` is the rest of its path."""
        match (method, parts):
            case ("GET", []):
                return self.get_all(query)
            case ("POST", []) if one(query, "mode") == "import":
                return self.import_file(body, query)
            case ("POST", []):
                return self.create_by_hand(json_object(body))
            case ("GET", [key_id]):
                shown = key_view(self._key(key_id), value=is_true(query, "includeValue"))
                return answer_with(200, shown)
            case ("PATCH", [key_id]):
                return self.update(key_id, json_object(body))
            case ("DELETE", [key_id]):
                return self.delete(key_id)
            case _:
                raise Refused("NotFoundException", "Unable to find resource")

    def _key(self, key_id: str) -> Record:
        record: Record | None = self._keys.get(key_id)
        if record is None:
            raise Refused("NotFoundException", "Invalid API Key identifier specified")
        return record

    def get_all(self, query: Query) -> Answer:
        """GetApiKeys: no tags in its items, and `limit=-1` lists no key with 200 (seen: AF-205, AF-208)."""
        limit = limit_of(query)
        if limit < 1 or self._faults.empty_keys:
            return listing([])
        name, customer = one(query, "name"), one(query, "customerId")
        ids: Iterable[str] = self._keys.order[_scope()].after(start_of(query))
        if name:
            # nameQuery is a case-sensitive prefix (seen: AF-202).
            ids = (i for i in ids if self._keys[i].get("name", "").startswith(name))
        if customer:
            ids = (i for i in ids if self._keys[i].get("customerId") == customer)
        shown, position = page_of(ids, limit)
        value = is_true(query, "includeValues")
        items = [key_view(self._keys[key_id], value=value, tags=False) for key_id in shown]
        return listing(items, position)

    def create_by_hand(self, data: Mapping[str, Any]) -> Answer:
        """CreateApiKey: a key is disabled unless `enabled` is sent (seen: AF-209)."""
        for name, value in (data.get("tags") or {}).items():
            _check_tag(str(name), str(value))
        return self.create(data)

    def create(self, data: Mapping[str, Any]) -> Answer:
        """Make a key; CloudFormation does so too, with tags of its own."""
        value = data.get("value") or new_value()
        name = data.get("name") or ""
        _check_value(value)
        _check_name(name)
        _check_description(data.get("description") or "")
        if self._keys.with_value(_scope(), value):
            raise Refused("ConflictException", "API Key already exists")
        self._check_room(1)
        now = int(self._clock.now().timestamp())
        record: Record = {
            "id": self.new_id(value),
            "value": value,
            "name": name,
            "enabled": bool(data.get("enabled", False)),
            "createdDate": now,
            "lastUpdatedDate": now,
            "stageKeys": [_stage_key(stage) for stage in data.get("stageKeys") or []],
            "tags": dict(data.get("tags") or {}),
        }
        record |= {n: data[n] for n in ("description", "customerId") if data.get(n)}
        self._keys[record["id"]] = record
        return answer_with(201, key_view(record, value=True))

    def new_id(self, value: str) -> str:
        """A key id in AWS's form, the same in every run that makes the same keys in order."""
        digest = hashlib.sha256(f"{next(self._made)} {value}".encode()).digest()
        return "".join(_ID_LETTERS[byte % len(_ID_LETTERS)] for byte in digest[:10])

    def _check_room(self, keys: int) -> None:
        if len(self._keys.order[_scope()]) + keys > self._faults.key_limit:
            raise Refused("LimitExceededException", "API Keys limit exceeded", retry_after=60)

    def update(self, key_id: str, data: Mapping[str, Any]) -> Answer:
        """UpdateApiKey: any `/enabled` other than "true" disables, with 200 (seen: AF-210)."""
        record = self._key(key_id)
        changed: Record = {}
        for op, path, value in patches(data):
            if op != "replace" or path not in ("/enabled", "/name", "/description", "/customerId"):
                raise Refused(
                    "BadRequestException",
                    f"Invalid patch path  '{path}' specified for op '{op}'. Must be one of: "
                    "[/description, /enabled, /name, /customerId]",
                )
            if path == "/name":
                _check_name(value)
            if path == "/description":
                _check_description(value)
            changed[path[1:]] = value == "true" if path == "/enabled" else value
        record |= changed
        record["lastUpdatedDate"] = int(self._clock.now().timestamp())
        early = record["lastUpdatedDate"] - self._faults.answers_early
        # It has `tags`, though empty, where GetApiKeys has none (seen: AF-205).
        told = {"lastUpdatedDate": early, "tags": record.get("tags") or {}}
        return answer_with(200, key_view(record, value=False) | told)

    def delete(self, key_id: str) -> Answer:
        """DeleteApiKey: the key leaves its usage plans with it."""
        self._key(key_id)
        self._keys.pop(key_id)
        self.owners.pop(key_id, None)
        return 202, {}, b""

    def import_file(self, body: bytes, query: Query) -> Answer:
        """ImportApiKeys: an upsert by value; all or nothing only with `failonwarnings`.

        A cell of `Enabled` that does not read "true" disables the key: that is how a comma in an
        unquoted name shipped disabled keys in a public system (seen: AF-236). The order of the answer's
        ids is not documented, so it is shuffled here (doc: AF-237).
        """
        if one(query, "format") != "csv":
            raise Refused("BadRequestException", "Invalid format specified")
        rows, warnings = self._readable(read_key_file(body))
        new = [row for row in rows if not self._keys.with_value(_scope(), row["key"])]
        self._check_room(len({row["key"] for row in new}))
        if warnings and is_true(query, "failonwarnings"):
            raise Refused("BadRequestException", "Warnings found: " + "; ".join(warnings))
        ids = {self._upsert(row) for row in rows}
        return answer_with(201, {"ids": sorted(ids, key=shuffled), "warnings": warnings})

    def _readable(self, rows: list[dict[str, str]]) -> tuple[list[dict[str, str]], list[str]]:
        """The rows that can be imported, and a warning (without any value) for all that cannot."""
        good: list[dict[str, str]] = []
        warnings: list[str] = []
        for number, row in enumerate(rows, 1):
            try:
                _check_value(row["key"])
                _check_name(row["name"])
                self._check_not_spoiled(row)
            except Refused as refused:
                warnings.append(f"Row {number}: {refused.message}")
                continue
            warnings += [
                f"Row {number}: Invalid Usage Plan ID specified: {plan_id}"
                for plan_id in _plan_ids(row)
                if plan_id not in apigateway_v1._usage_plans
            ]
            try:
                self._check_plans(row)
            except Refused as refused:
                warnings.append(f"Row {number}: {refused.message}")
            good.append(row)
        return good, warnings

    def _check_not_spoiled(self, row: Mapping[str, str]) -> None:
        texts = row["name"], row.get("description", "")
        if self._faults.upserts_warn and self._keys.with_value(_scope(), row["key"]):
            raise Refused("BadRequestException", "API Key already exists")
        if any(text.startswith(bad) for bad in self._faults.import_refuses for text in texts):
            raise Refused("BadRequestException", "The sandbox was told to refuse it")

    def _check_plans(self, row: Mapping[str, str]) -> None:
        record = self._keys.with_value(_scope(), row["key"]) or {}
        check_one_plan_a_stage(_scope(), self._members, record.get("id"), _plan_ids(row))

    def _upsert(self, row: dict[str, str]) -> str:
        now = int(self._clock.now().timestamp())
        enabled = row.get("enabled", "").strip()
        given: Record = {
            "name": row["name"],
            "enabled": enabled.lower() == "true" if enabled else True,
            "lastUpdatedDate": now,
        }
        if row.get("description"):
            given["description"] = row["description"]
        record: Record | None = self._keys.with_value(_scope(), row["key"])
        if record is not None:
            record |= given
        else:
            record = {"id": self.new_id(row["key"]), "value": row["key"], "createdDate": now}
            record |= {"stageKeys": [], "tags": {}} | given
            self._keys[record["id"]] = record
        for plan_id in _plan_ids(row):
            if plan_id in apigateway_v1._usage_plans:
                with contextlib.suppress(Refused):  # a warning told of it
                    check_one_plan_a_stage(_scope(), self._members, record["id"], [plan_id])
                    self._members.join(plan_id, str(record["id"]))
        return str(record["id"])

    def tags(self, method: str, key_id: str, body: bytes, query: Query) -> Answer:
        """Answer a call on /tags of one key."""
        tags = self._key(key_id)["tags"]
        if method == "GET":
            return answer_with(200, {"tags": tags})
        if method == "PUT":
            added = {str(k): str(v) for k, v in (json_object(body).get("tags") or {}).items()}
            for name, value in added.items():
                _check_tag(name, value)
            tags |= added
            return 204, {}, b""
        names = query.get("tagKeys", [])
        for name in [names] if isinstance(names, str) else names:
            tags.pop(name, None)
        return 204, {}, b""


def _scope() -> Scope:
    return get_account_id(), get_region()


def new_value() -> str:
    """A secret as API Gateway makes them: 40 letters and digits (seen: AF-219)."""
    return "".join(secrets.choice(_VALUE_LETTERS) for _ in range(40))


def _check_value(value: str) -> None:
    if len(value) < 20:
        raise Refused("BadRequestException", "API Key value should be at least 20 characters")
    if len(value) > 128:
        raise Refused("BadRequestException", "API Key value exceeds maximum size of 128 characters")


def _check_name(name: str) -> None:
    if len(name) > 1024:
        raise Refused(
            "BadRequestException", "Invalid API Key name, can be at most 1024 characters."
        )


def _check_description(text: str) -> None:
    if len(text) > LONGEST_DESCRIPTION:
        raise Refused("BadRequestException", "Invalid API Key description specified.")


def _check_tag(name: str, value: str) -> None:
    fits = 1 <= len(name) <= 128 and len(value) <= 256 and not name.lower().startswith("aws:")
    if not fits or not _TAG_TEXT.match(name) or not _TAG_TEXT.match(value):
        raise Refused("BadRequestException", "Invalid tag specified")


def _stage_key(stage: Any) -> str:
    """A stage of a key as answers show it: `API_ID/STAGE`."""
    if isinstance(stage, str):
        return stage
    return f"{stage.get('restApiId', '')}/{stage.get('stageName', '')}"


def key_view(record: Record, *, value: bool, tags: bool = True) -> Record:
    """A key as an answer shows it: what is not set is left out, the secret only when asked for."""
    hidden = {"value"} if not value else set()
    if not tags or not record.get("tags"):
        hidden.add("tags")
    if not record.get("name"):
        hidden.add("name")
    return {name: kept for name, kept in record.items() if name not in hidden}


def read_key_file(body: bytes) -> list[dict[str, str]]:
    """The rows of an API key file, by lower-case column name.

    `Name` and `Key` are required; header names may come in any case and order (doc: AF-231). Cells
    beyond the header are dropped.
    """
    try:
        rows = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error):
        raise Refused("BadRequestException", "Failed to parse the API key file") from None
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if missing := {"name", "key"} - set(header):
        raise Refused("BadRequestException", f"Missing required columns: {sorted(missing)}")
    blank = dict.fromkeys(header, "")
    return [blank | dict(zip(header, row, strict=False)) for row in rows[1:] if row]


def _plan_ids(row: Mapping[str, str]) -> list[str]:
    return [text.strip() for text in row.get("usageplanids", "").split(",") if text.strip()]
