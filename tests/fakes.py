"""API Gateway and the owners of keys, in memory; and an account whose nights the functions live on it.

`FakeApiGateway` has the interface of `keyjanitor.gateway.ApiGateway` and runs through the same suite
(tests/contract/adapters/test_gateway_alike.py), so that it cannot lie. The rest of AWS is moto.
"""

import gzip
import json
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from itertools import count, islice, takewhile
from threading import RLock
from types import ModuleType
from typing import Any, cast

from botocore.exceptions import ClientError

from keyjanitor.adapters.alert_store import AlertStore
from keyjanitor.adapters.alert_topic import AlertTopic
from keyjanitor.adapters.dynamodb import Table
from keyjanitor.adapters.event_bus import EventBus
from keyjanitor.adapters.history_bucket import HistoryBucket
from keyjanitor.adapters.kms import ValueSealer
from keyjanitor.adapters.ledger import Change, Ledger
from keyjanitor.adapters.request_store import RequestStore
from keyjanitor.adapters.settings import SweepSettings
from keyjanitor.domain.model.apis import Method, RestApi, Stage
from keyjanitor.domain.model.key_ids import shown_id
from keyjanitor.domain.model.keys import ApiKey, Mode, Secret, Tombstone
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.policy_tier import METHODS
from keyjanitor.domain.model.records import RequestRow, Row
from keyjanitor.domain.model.usage_plan import Shape, UsagePlan
from keyjanitor.domain.requests.import_file import NewKey
from keyjanitor.domain.requests.key_request import OPERATOR
from keyjanitor.domain.requests.sqs_message import Message
from keyjanitor.domain.usage.evidence import Evidence
from keyjanitor.domain.usage.plan_usage import UsagePage
from keyjanitor.errors import AccountFull, CallFailed, ImportRefused, KeyjanitorError, ValueConflict
from keyjanitor.services.expire_keys.gather import Adapters as SweepAdapters
from keyjanitor.services.provision_keys.responder import Adapters as ProvisionAdapters
from keyjanitor.services.publish_report.gather import Adapters as ReportAdapters
from keyjanitor.services.pull_usage.night_reading import Adapters as ReadingAdapters
from keyjanitor.services.watch_capacity import Adapters as WatchAdapters
from tests.builders import DAY, PLAN_ID, TODAY, a_policy, a_tier, a_usage_plan, at
from tests.events_schema import check_event
from tests.rights import Guard, Listener

SHORTEST_VALUE = 20
LONGEST_VALUE = 128
LONGEST_NAME = 1024
BUSY = "busy000000"
SENDER = "AROASENDER"


def at_the_sweep(day: date) -> datetime:
    """The moment of a day at which it is swept."""
    return at(day, 3) + timedelta(minutes=15)


def value_of(key_id: str) -> str:
    """The value of a key that was made without one: 40 characters that no other text holds."""
    return sha256(f"value of {key_id}".encode()).hexdigest()[:40]


class FakeApiGateway:
    """API Gateway's keys, plans and usage, as `ApiGateway` shows them. `now` is its clock."""

    def __init__(self, now: datetime | None = None, page: int = 2) -> None:
        self.now = now or at(TODAY, 3)
        self._page = page  # keys on a page of usage
        self._made = 0
        self._keys: dict[str, ApiKey] = {}
        self._values: dict[str, Secret] = {}
        self._plans: dict[str, UsagePlan] = {}
        self._members: dict[str, list[str]] = {}
        self._uses: dict[tuple[str, str], dict[date, int]] = {}
        self.key_limit = 10_000
        self.plan_limit = 300
        self.known_stages: set[str] | None = (
            None  # those that there are; None: all that one can think of
        )
        self.apis: dict[str, dict[str, tuple[Method, ...]]] = {}  # stages, and what they serve
        self.spoiled = ""  # what makes a row bad whose description holds it
        self.upserts_warn = False  # a row whose value is there is a warning, and so refused
        self.answers_early = timedelta(0)  # an UpdateApiKey's answer has a date by so much earlier

    # --- what others do ---------------------------------------------------------------------------

    def add_key(self, key: ApiKey, value: str = "", plans: Sequence[str] = ()) -> str:
        """Lays a key down as if it had always been there; gives its value."""
        value = value or value_of(key.key_id)
        self._keys[key.key_id] = replace(key, tags=dict(key.tags or {}))
        self._values[key.key_id] = Secret(value)
        for plan_id in plans:
            self._members[plan_id].append(key.key_id)
        return value

    def add_plan(self, plan: UsagePlan) -> None:
        self._plans[plan.usage_plan_id] = plan
        self._members[plan.usage_plan_id] = []

    def delete_plan(self, usage_plan_id: str) -> None:
        del self._plans[usage_plan_id], self._members[usage_plan_id]

    def use(self, plan_id: str, key_id: str, day: date, requests: int = 1) -> None:
        used = self._uses.setdefault((plan_id, key_id), {})
        used[day] = used.get(day, 0) + requests

    def change(self, key_id: str, **what: Any) -> None:
        """Somebody changes a key: API Gateway notes when."""
        self._keys[key_id] = replace(self._keys[key_id], last_updated_date=self.now, **what)

    def whole(self, key_id: str) -> tuple[ApiKey, str, tuple[str, ...]]:
        """A key with its tags, its value and its plans."""
        plans = tuple(plan for plan, members in self._members.items() if key_id in members)
        return self._keys[key_id], self._values[key_id].reveal(), plans

    @property
    def ids(self) -> list[str]:
        return list(self._keys)

    def copy(self) -> "FakeApiGateway":
        other = FakeApiGateway(self.now, self._page)
        other._made = self._made
        other._keys = dict(self._keys)
        other._values = dict(self._values)
        other._plans = dict(self._plans)
        other._members = {plan: list(members) for plan, members in self._members.items()}
        other._uses = {pair: dict(used) for pair, used in self._uses.items()}
        other.key_limit, other.plan_limit = self.key_limit, self.plan_limit
        other.known_stages, other.spoiled = self.known_stages, self.spoiled
        other.upserts_warn = self.upserts_warn
        other.answers_early = self.answers_early
        other.apis = self.apis
        return other

    # --- reading ----------------------------------------------------------------------------------

    def keys(self) -> list[ApiKey]:
        return [replace(key, tags=None) for key in self._keys.values()]

    def key(self, key_id: str) -> ApiKey | None:
        return self._keys.get(key_id)

    def key_with_value(self, key_id: str) -> tuple[ApiKey, Secret] | None:
        key = self._keys.get(key_id)
        return (key, self._values[key_id]) if key else None

    def key_named(self, name: str, value: Secret) -> str | None:
        for key_id, key in self._keys.items():
            if key.name == name and self._values[key_id] == value:
                return key_id
        return None

    def keys_named(self, prefix: str) -> list[ApiKey]:
        return [key for key in self.keys() if key.name.startswith(prefix)]

    def usage_plans(self) -> list[UsagePlan]:
        return list(self._plans.values())

    def rest_apis(self) -> list[RestApi]:
        return [RestApi(api_id, api_id, "HEADER") for api_id in self.apis]

    def stages(self, api_id: str) -> list[Stage]:
        return [Stage(api_id, name, (f"deployed-{name}",)) for name in self.apis[api_id]]

    def deployed_methods(self, api_id: str, deployment_id: str) -> tuple[Method, ...]:
        return self.apis[api_id][deployment_id.removeprefix("deployed-")]

    def plans_of(self, key_id: str) -> tuple[str, ...]:
        return tuple(sorted(plan for plan, members in self._members.items() if key_id in members))

    def members(self, usage_plan_id: str, prefix: str = "") -> tuple[str, ...]:
        return tuple(
            key_id
            for key_id in self._members.get(usage_plan_id, ())
            if self._keys[key_id].name.startswith(prefix)
        )

    def usage(self, usage_plan_id: str, start: date, end: date) -> Iterator[UsagePage]:
        if usage_plan_id not in self._plans:
            raise CallFailed("GetUsage", "NotFoundException")
        days = [start + DAY * index for index in range((end - start).days + 1)]
        used = {
            key_id: [[uses.get(day, 0), 1000] for day in days]
            for (plan_id, key_id), uses in self._uses.items()
            if plan_id == usage_plan_id and any(day in uses for day in days)
        }
        ids = list(used)
        for first in range(0, max(1, len(ids)), self._page):
            yield UsagePage(start, end, {k: used[k] for k in ids[first : first + self._page]})

    # --- changing ---------------------------------------------------------------------------------

    def set_enabled(self, key_id: str, *, enabled: bool) -> datetime | None:
        return self._update(key_id, enabled=enabled)

    def rename(self, key_id: str, name: str) -> datetime | None:
        return self._update(key_id, name=name)

    def _update(self, key_id: str, **what: Any) -> datetime | None:
        if key_id not in self._keys:
            return None
        self.change(key_id, **what)
        return self.now - self.answers_early

    def delete(self, key_id: str) -> None:
        self._keys.pop(key_id, None)
        self._values.pop(key_id, None)
        for members in self._members.values():
            if key_id in members:
                members.remove(key_id)

    def create_disabled(
        self,
        value: Secret,
        *,
        name: str,
        description: str,
        customer_id: str,
        tags: Mapping[str, str],
    ) -> str:
        if not SHORTEST_VALUE <= len(value.reveal()) <= LONGEST_VALUE:
            raise CallFailed("CreateApiKey", "BadRequestException")
        if value in self._values.values():
            raise ValueConflict
        self._made += 1
        key_id = f"made{self._made:06}"
        self._keys[key_id] = ApiKey(
            key_id=key_id,
            name=name,
            enabled=False,
            created_date=self.now,
            last_updated_date=self.now,
            description=description,
            customer_id=customer_id,
            tags=dict(tags),
        )
        self._values[key_id] = value
        return key_id

    def import_keys(self, keys: Sequence[NewKey]) -> None:
        ids = {value: key_id for key_id, value in self._values.items()}
        if len(self._keys) + len({new.value for new in keys} - set(ids)) > self.key_limit:
            raise AccountFull
        if any(self._is_bad(new, ids.get(new.value)) for new in keys):
            raise ImportRefused(len(keys), "BadRequestException")
        for new in keys:
            if new.value not in ids:
                self._made += 1
                ids[new.value] = f"made{self._made:06}"
                self._keys[ids[new.value]] = ApiKey(
                    key_id=ids[new.value],
                    name="",
                    enabled=False,
                    created_date=self.now,
                    last_updated_date=self.now,
                    tags={},
                )
                self._values[ids[new.value]] = new.value
            key_id = ids[new.value]
            description = new.description or self._keys[key_id].description
            self.change(key_id, name=new.name, description=description, enabled=True)
            for plan_id in new.usage_plan_ids:
                self.attach(plan_id, key_id)

    def _is_bad(self, new: NewKey, key_id: str | None) -> bool:
        """Whether a row of an import is refused; `key_id` is of the key that has its value."""
        return (
            bool(self.spoiled and self.spoiled in new.description)
            or (self.upserts_warn and key_id is not None)
            or not SHORTEST_VALUE <= len(new.value.reveal()) <= LONGEST_VALUE
            or len(new.name) > LONGEST_NAME
            or not set(new.usage_plan_ids) <= set(self._plans)
            or self._opens_a_stage_twice(key_id, new.usage_plan_ids)
        )

    def _opens_a_stage_twice(self, key_id: str | None, joining: Sequence[str]) -> bool:
        """Whether a key would be in two plans for one stage."""
        plans = {*joining, *(self.plans_of(key_id) if key_id else ())}
        stages = [stage for plan_id in plans for stage in self._plans[plan_id].stages]
        return len(set(stages)) < len(stages)

    def create_plan(self, name: str, shape: Shape) -> str:
        if self.known_stages is not None and not shape.stages <= self.known_stages:
            raise CallFailed("CreateUsagePlan", "NotFoundException")
        too_many_methods = len(shape.stages) * len(shape.methods) > METHODS
        if too_many_methods or len(self._plans) >= self.plan_limit:
            raise CallFailed("CreateUsagePlan", "LimitExceededException")
        self._made += 1
        plan_id = f"plan{self._made:06}"
        self.add_plan(UsagePlan.of_shape(plan_id, name, shape))
        return plan_id

    def attach(self, usage_plan_id: str, key_id: str) -> bool:
        if usage_plan_id not in self._plans or key_id not in self._keys:
            return False
        if key_id in self._members[usage_plan_id]:
            return True
        if self._opens_a_stage_twice(key_id, [usage_plan_id]):
            raise CallFailed("CreateUsagePlanKey", "ConflictException")
        self._members[usage_plan_id].append(key_id)
        return True


class FakeOwnership:
    """The tags of all keys of a fake API Gateway, and the stacks that own some."""

    def __init__(self, gateway: FakeApiGateway) -> None:
        self.gateway = gateway
        self.stacks: dict[str, str] = {}
        self.tags_fail: KeyjanitorError | None = None
        self.stacks_fail: KeyjanitorError | None = None

    def tags(self) -> dict[str, dict[str, str]]:
        if self.tags_fail:
            raise self.tags_fail
        keys = [self.gateway.whole(key_id)[0] for key_id in self.gateway.ids]
        return {shown_id(key.key_id): dict(key.tags) for key in keys if key.tags}

    def stack_of(self, key_id: str) -> str | None:
        if self.stacks_fail:
            raise self.stacks_fail
        return self.stacks.get(key_id)


# --- the rest of AWS, as far as the adapters use it ------------------------------------------------


def refused(operation: str, code: str, status: int = 400, **more: Any) -> ClientError:
    """The error that botocore raises for an answer with this code."""
    answer: Any = {
        "Error": {"Code": code, "Message": f"{operation} was refused"},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **more,
    }
    return ClientError(answer, operation)


Item = dict[str, Any]


class FakeDynamoDb:
    """Tables with `pk` and `sk`, conditional writes and transactions; queries in pages of `page`."""

    def __init__(self, page: int = 3) -> None:
        self._page = page
        self._tables: dict[str, _Items] = {}
        self._lock = RLock()
        self.in_transactions = 0  # so many writes of one item meet a transaction that has it

    def create_table(self, *, TableName: str, **_: Any) -> None:  # noqa: N803
        self._tables[TableName] = _Items()

    def get_item(self, **request: Any) -> Item:
        item = self._standing(request, "Key")
        return {"Item": item} if item else {}

    def put_item(self, **request: Any) -> Item:
        return self._write("PutItem", {"Put": request})

    def delete_item(self, **request: Any) -> Item:
        return self._write("DeleteItem", {"Delete": request})

    def _meet_a_transaction(self, operation: str) -> None:
        if self.in_transactions:
            self.in_transactions -= 1
            raise refused(operation, "TransactionConflictException")

    def update_item(self, **request: Any) -> Item:
        self._meet_a_transaction("UpdateItem")
        names, values = request["ExpressionAttributeNames"], request["ExpressionAttributeValues"]
        with self._lock:
            item = self._standing(request, "Key") or request["Key"]
            if request["UpdateExpression"] == "ADD #name :number":
                name, added = names["#name"], values[":number"]["N"]
                number = int(item.get(name, {"N": "0"})["N"]) + int(added)
                self._table(request)[_place(item)] = {**item, name: {"N": str(number)}}
                return {}
            for one in request["UpdateExpression"].removeprefix("SET ").split(", "):
                name, value = one.split(" = ")
                item = {**item, names[name]: values[value]}
            self._table(request)[_place(item)] = item
        return {}

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> Item:  # noqa: N803
        for asked in RequestItems.values():
            if len(set(map(_place, asked["Keys"]))) < len(asked["Keys"]):
                raise refused("BatchGetItem", "ValidationException")
        with self._lock:
            found = {
                table: [
                    self._tables[table][_place(key)]
                    for key in asked["Keys"]
                    if _place(key) in self._tables[table]
                ]
                for table, asked in RequestItems.items()
            }
        return {"Responses": found, "UnprocessedKeys": {}}

    def query(self, **request: Any) -> Item:
        partition = request["ExpressionAttributeValues"][":pk"]
        after = request.get("ExclusiveStartKey")
        beginning = request["ExpressionAttributeValues"].get(":beginning", {"S": ""})["S"]
        with self._lock:
            items = self._table(request).following(
                partition["S"], beginning, _place(after)[1] if after else None, self._page + 1
            )
        page = items[: self._page]
        last = {name: page[-1][name] for name in ("pk", "sk")} if items[self._page :] else None
        if "ProjectionExpression" in request:
            names = request["ExpressionAttributeNames"]
            only = {names[one] for one in request["ProjectionExpression"].split(", ")}
            page = [{name: item[name] for name in item if name in only} for item in page]
        return {"Items": page, **({"LastEvaluatedKey": last} if last else {})}

    def transact_write_items(self, *, TransactItems: Sequence[Item]) -> Item:  # noqa: N803
        with self._lock:
            if len({_written(write) for write in TransactItems}) < len(TransactItems):
                raise refused("TransactWriteItems", "ValidationException")
            reasons = [{"Code": self._verdict(write)} for write in TransactItems]
            if any(reason["Code"] != "None" for reason in reasons):
                raise refused(
                    "TransactWriteItems",
                    "TransactionCanceledException",
                    CancellationReasons=reasons,
                )
            for write in TransactItems:
                self._carry_out(write)
        return {}

    def scan(self, **request: Any) -> Item:
        return {"Items": list(self._table(request).values())}

    def batch_write_item(self, *, RequestItems: Mapping[str, Any]) -> None:  # noqa: N803
        for table, writes in RequestItems.items():
            for write in writes:
                self.put_item(TableName=table, **write["PutRequest"])

    def _table(self, request: Item) -> "_Items":
        return self._tables[request["TableName"]]

    def _standing(self, request: Item, key: str) -> Item | None:
        return self._table(request).get(_place(request[key]))

    def _write(self, operation: str, write: Item) -> Item:
        self._meet_a_transaction(operation)
        with self._lock:
            if self._verdict(write) != "None":
                raise refused(operation, "ConditionalCheckFailedException")
            self._carry_out(write)
        return {}

    def _verdict(self, write: Item) -> str:
        ((kind, request),) = write.items()
        item = self._standing(request, "Item" if kind == "Put" else "Key")
        condition = request.get("ConditionExpression")
        if not condition or any(_holds(one, request, item) for one in condition.split(" OR ")):
            return "None"
        return "ConditionalCheckFailed"

    def _carry_out(self, write: Item) -> None:
        ((kind, request),) = write.items()
        if kind == "Put":
            self._table(request)[_place(request["Item"])] = request["Item"]
        elif kind == "Delete":
            self._table(request).pop(_place(request["Key"]), None)


class _Items(dict[tuple[str, str], Item]):
    """A table's items by their place; a partition's sort keys are put in order when they are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self._partitions: dict[str, dict[str, None]] = {}
        self._in_order: dict[str, list[str]] = {}

    def __setitem__(self, place: tuple[str, str], item: Item) -> None:
        if place not in self:
            self._partitions.setdefault(place[0], {})[place[1]] = None
            self._in_order.pop(place[0], None)
        super().__setitem__(place, item)

    def pop(self, place: tuple[str, str], default: Any = None) -> Any:
        if place in self:
            del self._partitions[place[0]][place[1]]
            self._in_order.pop(place[0], None)
        return super().pop(place, default)

    def following(self, pk: str, beginning: str, after: str | None, most: int) -> list[Item]:
        """At most so many items of a partition: with this beginning, behind this sort key."""
        if pk not in self._in_order:
            self._in_order[pk] = sorted(self._partitions.get(pk, ()))
        keys = self._in_order[pk]
        first = bisect_left(keys, beginning)
        if after is not None:
            first = max(first, bisect_right(keys, after))
        found = takewhile(lambda sk: sk.startswith(beginning), islice(keys, first, first + most))
        return [self[pk, sk] for sk in found]


def _place(item: Item) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


def _written(write: Item) -> tuple[str, tuple[str, str]]:
    """The item that a write of a transaction is about: of each there may be one."""
    ((kind, request),) = write.items()
    return request["TableName"], _place(request["Item" if kind == "Put" else "Key"])


def _holds(condition: str, request: Item, item: Item | None) -> bool:
    if condition == "attribute_not_exists(pk)":
        return item is None
    name, comparison, placeholder = condition.split(" ")
    name = request.get("ExpressionAttributeNames", {}).get(name, name)
    wanted = request["ExpressionAttributeValues"][placeholder]
    if item is None or name not in item:
        return False
    if comparison == "<":
        return bool(item[name]["S"] < wanted["S"])
    return bool(item[name] == wanted)


class FakeS3:
    """Versioned buckets; listings in pages of `page`."""

    def __init__(self, page: int = 2) -> None:
        self._page = page
        self._buckets: dict[str, list[tuple[str, str, bytes | None]]] = {}
        self._newest: dict[
            str, dict[str, tuple[str, bytes | None]]
        ] = {}  # version and body by name
        self._names: dict[str, list[str]] = {}  # of each bucket, in order
        self._made = 0

    def create_bucket(self, *, Bucket: str) -> None:  # noqa: N803
        self._buckets[Bucket] = []
        self._index(Bucket)

    def put_bucket_versioning(self, **_: Any) -> None:
        pass

    def put_object(self, **request: Any) -> Item:
        if request.get("IfNoneMatch") and self._standing(request)[1]:
            raise refused("PutObject", "PreconditionFailed", 412)
        return {"VersionId": self._add(request, request["Body"])}

    def get_object(self, **request: Any) -> Item:
        version, body = self._standing(request)
        if wanted := request.get("VersionId"):
            bucket = self._buckets[request["Bucket"]]
            body = next((one[2] for one in bucket if one[:2] == (request["Key"], wanted)), None)
        if body is None:
            raise refused("GetObject", "NoSuchVersion" if wanted else "NoSuchKey", 404)
        return {"Body": BytesIO(body), "VersionId": wanted or version}

    def delete_object(self, **request: Any) -> Item:
        if "VersionId" not in request:
            self._add(request, None)
            return {}
        self._buckets[request["Bucket"]] = [
            one for one in self._buckets[request["Bucket"]] if one[1] != request["VersionId"]
        ]
        self._index(request["Bucket"])
        return {}

    def list_objects_v2(self, **request: Any) -> Item:
        after = request.get("ContinuationToken") or request.get("StartAfter", "")
        prefix, in_order = request.get("Prefix", ""), self._names[request["Bucket"]]
        newest = self._newest[request["Bucket"]]
        first = max(bisect_left(in_order, prefix), bisect_right(in_order, after))
        there = (name for name in islice(in_order, first, None) if newest[name][1] is not None)
        names = list(islice(takewhile(lambda one: one.startswith(prefix), there), self._page + 1))
        page = {"Contents": [{"Key": name} for name in names[: self._page]]}
        more = len(names) > self._page
        return {
            **page,
            "IsTruncated": more,
            **({"NextContinuationToken": names[self._page - 1]} if more else {}),
        }

    def list_object_versions(self, **request: Any) -> Item:
        after = (request.get("KeyMarker", ""), request.get("VersionIdMarker", ""))
        found = sorted(
            one
            for one in self._buckets[request["Bucket"]]
            if one[0].startswith(request["Prefix"]) and one[:2] > after
        )
        page = found[: self._page]
        more = len(found) > self._page
        kinds: dict[str, list[Item]] = {"Versions": [], "DeleteMarkers": []}
        for name, version, body in page:
            kind = "DeleteMarkers" if body is None else "Versions"
            modified = at(TODAY) + timedelta(seconds=int(version))
            kinds[kind].append({"Key": name, "VersionId": version, "LastModified": modified})
        marker = {"NextKeyMarker": page[-1][0], "NextVersionIdMarker": page[-1][1]} if more else {}
        return {**kinds, "IsTruncated": more, **marker}

    def _add(self, request: Item, body: bytes | None) -> str:
        self._made += 1
        version = f"{self._made:09}"
        name, bucket = request["Key"], request["Bucket"]
        self._buckets[bucket].append((name, version, body))
        if name not in self._newest[bucket]:
            insort(self._names[bucket], name)
        self._newest[bucket][name] = (version, body)
        return version

    def _index(self, bucket: str) -> None:
        """Finds the newest version of each object."""
        versions = self._buckets[bucket]
        self._newest[bucket] = {name: (version, body) for name, version, body in versions}
        self._names[bucket] = sorted(self._newest[bucket])

    def _standing(self, request: Item) -> tuple[str, bytes | None]:
        return self._newest[request["Bucket"]].get(request["Key"], ("", None))

    def _latest(self, bucket: str) -> dict[str, bytes | None]:
        return {name: body for name, (_, body) in self._newest[bucket].items()}


class FakeKms:
    """Ciphertexts that open only with the context they were sealed with."""

    def __init__(self) -> None:
        self._sealed: dict[bytes, tuple[bytes, Item]] = {}

    def encrypt(self, **request: Any) -> Item:
        sealed = sha256(repr(sorted(request.items())).encode()).digest()
        sealed += len(self._sealed).to_bytes(4, "big")
        self._sealed[sealed] = (request["Plaintext"], request["EncryptionContext"])
        return {"CiphertextBlob": sealed}

    def decrypt(self, **request: Any) -> Item:
        plain, context = self._sealed.get(request["CiphertextBlob"], (b"", None))
        if context != request["EncryptionContext"]:
            raise refused("Decrypt", "InvalidCiphertextException")
        return {"Plaintext": plain}


class RequestStoreOfOneSender(RequestStore):
    """A register whose requests can be asked for by their bare ids too, where only one sender asks."""

    def requests(self, request_ids: Sequence[str]) -> dict[str, RequestRow]:
        found = super().requests(request_ids)
        for request_id in set(request_ids) - set(found):
            if rows := self.of_all_senders(request_id):
                found[request_id] = rows[0]
        return found


class FakeQueue:
    """A queue that hears which messages are to come again, and after how many seconds."""

    def __init__(self) -> None:
        self.heard: dict[str, int] = {}
        self.dead: list[Message] = []
        self.is_shut = False  # its dead-letter queue

    def shorten_visibility(self, messages: Sequence[Message]) -> None:
        self.heard = {one.message_id: one.comes_again_after for one in messages}

    def send_to_dead_letters(self, messages: Sequence[Message]) -> list[Message]:
        if self.is_shut:
            return list(messages)
        self.dead += messages
        return []


def sqs_event(
    *bodies: Any,
    sender: str,
    sent: datetime | None = None,
    received: int = 1,
    moved: bool = False,
) -> dict[str, Any]:
    """An event as SQS makes it; the messages' ids are their numbers. A text is a body as it stands.

    Those that were `moved` come out of the dead-letter queue, and `sender` may be who moved them;
    so do those of a session that is called `redrive`.
    """
    moved = moved or sender.endswith(":redrive")
    dead_letters = "arn:aws:sqs:us-east-1:123456789012:dead"
    attributes = {
        **({"DeadLetterQueueSourceArn": dead_letters} if moved else {}),
        "ApproximateReceiveCount": str(received),
        "SenderId": f"{sender}:session",
        **({"SentTimestamp": str(int(sent.timestamp() * 1000))} if sent else {}),
    }
    return {
        "Records": [
            {
                "messageId": str(number),
                "receiptHandle": f"receipt {number}",
                "body": body if isinstance(body, str) else json.dumps(body),
                "attributes": attributes,
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:requests",
                "awsRegion": "us-east-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


class FakeDeadLetterQueues:
    """The dead-letter queues, and how much lies in them."""

    def __init__(self) -> None:
        self.count = {"RequestDeadLetterQueue": 0, "RunDeadLetterQueue": 0}

    def message_counts(self) -> dict[str, int]:
        return dict(self.count)


class FakeTold:
    """A bus and a topic that take everything."""

    def put_events(self, **request: Any) -> Item:
        return {"Entries": [{"EventId": "e"} for _ in request["Entries"]]}

    def publish(self, **_: Any) -> Item:
        return {}

    def list_subscriptions_by_topic(self, **request: Any) -> Item:
        arn = f"{request['TopicArn']}:11111111-2222-3333-4444-555555555555"
        return {"Subscriptions": [{"SubscriptionArn": arn, "Endpoint": "api-team@example.org"}]}


# --- an account and its nights ---------------------------------------------------------------------

Call = Callable[[], Any]
Around = Callable[[str, Call], Any]


class Killed(BaseException):
    """What ends a run from outside: nothing of it may catch this."""


class Watched:
    """Passes every call on to `target` through `around`, under a name such as "s3.put_object".

    With a `guard` a call that the function's role may not make is denied.
    """

    def __init__(self, target: Any, name: str, around: Around, guard: Guard | None = None) -> None:
        self._target = target
        self._name = name
        self._around = around
        self._guard = guard

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)

        guard, full_name = self._guard, f"{self._name}.{name}"

        def call(*args: Any, **params: Any) -> Any:
            if guard is None:
                return self._around(full_name, lambda: method(*args, **params))
            return self._around(
                full_name, lambda: guard.call(self._target, full_name, args, params)
            )

        return call


class Calls:
    """Counts the calls of a run; `instead` of some something else happens."""

    def __init__(self, **instead: Callable[[Call], Any]) -> None:
        self.names: list[str] = []
        self._instead = instead

    def __call__(self, name: str, call: Call) -> Any:
        self.names.append(name)
        other = self._instead.get(name.replace(".", "_"))
        return other(call) if other else call()

    def count(self, name: str) -> int:
        return self.names.count(name)


class Context:
    """What Lambda hands to a function beside the event; by default there is time without end."""

    function_name = "expire_keys"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:expire_keys"

    def __init__(self, aws_request_id: str, remaining_ms: Callable[[], int]) -> None:
        self.aws_request_id = aws_request_id
        self.get_remaining_time_in_millis = remaining_ms


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients of an account, the ARNs in it, and a way to new tables and buckets."""

    dynamodb: Any
    s3: Any
    kms: Any
    events: Any
    sns: Any
    key_arn: str
    topic_arn: str
    counter: Iterator[int]

    def new_table(self) -> str:
        table = f"ledger-{next(self.counter)}"
        self.dynamodb.create_table(
            TableName=table,
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        return table

    def new_bucket(self) -> str:
        bucket = f"history-{next(self.counter)}"
        self.s3.create_bucket(Bucket=bucket)
        self.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        return bucket


def clients_in_memory() -> Clients:
    """An AWS that lives as long as the clients do."""
    told = FakeTold()
    return Clients(
        dynamodb=FakeDynamoDb(),
        s3=FakeS3(),
        kms=FakeKms(),
        events=told,
        sns=told,
        key_arn="arn:aws:kms:us-east-1:123456789012:key/sealing-key",
        topic_arn="arn:aws:sns:us-east-1:123456789012:alerts",
        counter=count(1),
    )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An account as it was at a moment."""

    today: date
    gateway: FakeApiGateway
    items: tuple[Mapping[str, Any], ...]
    objects: Mapping[str, bytes]


def brisk(**more: Any) -> Policy:
    """A policy under which every step takes a night; `more` goes to the tier `external`."""
    return a_policy(a_tier(**{"warn_days": 1, "grace_days": 1, "retain_days": 1, **more}))


@dataclass
class Account:
    """An account: keys and owners in memory, the rest at moto; the functions themselves run on it.

    It begins with one plan, `plan1`, and a key in it that is used every day.
    """

    clients: Clients
    expire_keys: ModuleType
    pull_usage: ModuleType
    provision_keys: ModuleType
    watch_capacity: ModuleType
    publish_report: ModuleType
    policy: Policy = field(default_factory=brisk)
    today: date = TODAY
    mode: Mode = Mode.PARK
    replay_window_hours: float = 0
    around: Around = field(default=lambda _, call: call())
    events: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    runs: int = 0
    operators_answers: list[dict[str, Any]] = field(default_factory=list)
    queue: FakeQueue = field(default_factory=FakeQueue)
    heard: Listener | None = None  # of all that the functions' roles are asked for
    asker: str = SENDER  # who asks if nobody else is named; OPERATOR invokes the function

    def __post_init__(self) -> None:
        self.gateway = FakeApiGateway(at_the_sweep(self.today))
        self.owners = FakeOwnership(self.gateway)
        self.dead_letters = FakeDeadLetterQueues()
        self.table = self.clients.new_table()
        self.bucket = self.clients.new_bucket()
        self.real_now = at_the_sweep(self.today)
        self.gateway.add_plan(a_usage_plan(PLAN_ID))
        self.key(BUSY)
        for back in range(1, 91):
            self.use(BUSY, self.today - DAY * back, 1000)
        self.wire()

    def wire(self) -> None:
        """Puts this account in the place of everything that the functions talk to."""
        settings = SweepSettings(
            ledger_table=self.table,
            history_bucket=self.bucket,
            sealing_key_arn=self.clients.key_arn,
            event_bus="default",
            alert_topic_arn=self.clients.topic_arn,
            mode=self.mode,
            calls_per_second=3,
            replay_window_hours=self.replay_window_hours,
        )
        sweeper, reader, server, watcher, publisher = map(
            self._role,
            ("expire_keys", "pull_usage", "provision_keys", "watch_capacity", "publish_report"),
        )
        self.adapters = SweepAdapters(
            gateway=sweeper.gateway,
            owners=sweeper.owners,
            ledger=sweeper.ledger,
            history=sweeper.history,
            sealer=sweeper.sealer,
            bus=sweeper.bus,
            topic=sweeper.topic,
        )
        provision_adapters = ProvisionAdapters(
            gateway=server.gateway,
            owners=server.owners,
            ledger=server.ledger,
            request_store=RequestStore(server.table),
            history=server.history,
            sealer=server.sealer,
            bus=server.bus,
        )
        for function, values in (
            (self.expire_keys, {"adapters": self.adapters, "policy": self.policy}),
            (
                self.pull_usage,
                {
                    "adapters": ReadingAdapters(
                        gateway=reader.gateway,
                        history=reader.history,
                        ledger=reader.ledger,
                    ),
                },
            ),
            (
                self.watch_capacity,
                {
                    "policy": self.policy,
                    "adapters": WatchAdapters(
                        gateway=watcher.gateway,
                        ledger=watcher.ledger,
                        alert_store=AlertStore(watcher.table),
                        history=watcher.history,
                        topic=watcher.topic,
                        dead_letters=watcher.dead_letters,
                    ),
                },
            ),
            (
                self.publish_report,
                {
                    "policy": self.policy,
                    "adapters": ReportAdapters(
                        gateway=publisher.gateway,
                        owners=publisher.owners,
                        ledger=publisher.ledger,
                        history=publisher.history,
                    ),
                },
            ),
            (
                self.provision_keys,
                {"adapters": provision_adapters, "policy": self.policy, "queue": server.queue},
            ),
        ):
            for name, value in {**values, "settings": settings, "now": self._now}.items():
                setattr(function, name, value)

    def _now(self) -> datetime:
        return self.real_now

    def _role(self, function: str) -> "_Role":
        """Everything that the functions talk to, as one of them may."""
        guard = Guard(function, str(self.mode), self.heard)

        def watched(name: str, target: Any) -> Any:
            return Watched(target, name, self._around, guard)

        def client(service: str) -> Any:
            return watched(service, _Told(getattr(self.clients, service), self))

        table, topic = (
            Table(client("dynamodb"), self.table),
            AlertTopic(client("sns"), self.clients.topic_arn),
        )
        return _Role(
            gateway=watched("apigateway", self.gateway),
            owners=watched("owners", self.owners),
            table=table,
            ledger=Ledger(table),
            history=HistoryBucket(client("s3"), self.bucket),
            sealer=ValueSealer(client("kms"), self.clients.key_arn),
            bus=EventBus(client("events"), "default"),
            topic=topic,
            dead_letters=watched("dead_letters", self.dead_letters),
            queue=Watched(self.queue, "queue", lambda _, call: call(), guard),
        )

    def _around(self, name: str, call: Call) -> Any:
        return self.around(name, call)

    # --- what people do ---------------------------------------------------------------------------

    def key(
        self,
        key_id: str,
        *,
        idle: int | None = None,
        age: int = 400,
        plans: Sequence[str] = (PLAN_ID,),
        value: str = "",
        **more: Any,
    ) -> str:
        """Makes a key, `age` days before today and last used `idle` days before; gives its value."""
        made = at(self.today - DAY * age)
        values = {"name": f"name of {key_id}", "enabled": True, "tags": {}, **more}
        value = self.gateway.add_key(
            ApiKey(key_id=key_id, created_date=made, last_updated_date=made, **values),
            value,
            plans,
        )
        if idle is not None:
            for plan_id in plans:
                self.gateway.use(plan_id, key_id, self.today - DAY * idle)
        return value

    def use(self, key_id: str, day: date | None = None, requests: int = 1) -> None:
        self.gateway.use(PLAN_ID, key_id, day or self.today, requests)

    def own(self, key_id: str, owner: str) -> None:
        """Writes the owner of a key into its row, as whoever issues keys does."""
        self.change_row(key_id, owner=owner)

    def change_row(self, key_id: str, **what: Any) -> None:
        row = self.row(key_id)
        assert row is not None
        assert self.ledger.commit([Change(row, replace(row, **what))])

    def tell_all(self) -> None:
        """Remembers that digests named every key whose row a test has made a warned one of."""
        for day in {row.warned_on for row in self.rows().values() if row.warned_on}:
            ids = [row.key_id for row in self.rows().values() if row.warned_on == day]
            self.ledger.remember(day, told=sorted(ids))

    # --- what the functions do --------------------------------------------------------------------

    def context(self, remaining_ms: Callable[[], int] = lambda: 900_000) -> Any:
        self.runs += 1
        return Context(f"run-{self.runs}", remaining_ms)

    def read(self, context: Any = None) -> dict[str, Any]:
        """Tonight's reading, by pull_usage."""
        event = {"time": f"{self.today}T02:15:00Z"}
        answer = self.pull_usage.lambda_handler(event, context or self.context())
        return cast("dict[str, Any]", answer)

    def sweep(self, context: Any = None, **event: Any) -> dict[str, Any]:
        """What expire_keys answers to an event at a quarter past three of today."""
        event = {"time": f"{self.today}T03:15:00Z", **event}
        answer = self.expire_keys.lambda_handler(event, context or self.context())
        return cast("dict[str, Any]", answer)

    def ask(
        self,
        *bodies: Any,
        sender: str | None = None,
        context: Any = None,
        sent: datetime | None = None,
        received: int = 1,
        moved: bool = False,
    ) -> list[int]:
        """Has requests served as one batch; gives the numbers of those that have to come again."""
        sender = self.asker if sender is None else sender
        if sender == OPERATOR and bodies:
            answers = self.invoke(*bodies, context=context)
            return [number for number, one in enumerate(answers) if one["status"] == "deferred"]
        event = sqs_event(
            *bodies, sender=sender, sent=sent or self.real_now, received=received, moved=moved
        )
        answer = self.provision_keys.lambda_handler(event, context or self.context())
        return [int(one["itemIdentifier"]) for one in answer["batchItemFailures"]]

    def invoke(self, *bodies: Any, context: Any = None, **event: Any) -> list[dict[str, Any]]:
        """What an operator is answered who invokes the function with requests, in their order."""
        event = {"operator": list(bodies), **event}
        answer = self.provision_keys.lambda_handler(event, context or self.context())
        self.operators_answers.append(answer)
        if "running" in answer:
            return [{"status": "deferred", "reason": answer["running"]} for _ in bodies]
        return cast("list[dict[str, Any]]", answer["answers"])

    def answers(self, request_id: str) -> list[tuple[str, dict[str, Any]]]:
        """The events that answered a request."""
        return [
            (one["DetailType"], one["Detail"])
            for one in self.events
            if one["Detail"].get("request_id") == request_id
        ]

    def publish(self, context: Any = None) -> dict[str, Any]:
        """What publish_report answers at a quarter past six of today."""
        event = {"time": f"{self.today}T06:15:00Z"}
        answer = self.publish_report.lambda_handler(event, context or self.context())
        return cast("dict[str, Any]", answer)

    def report(self, folder: str = "latest") -> dict[str, Any]:
        """The numbers of a report."""
        name = f"reports/{folder}/report.json"
        return cast("dict[str, Any]", json.loads(self._files()[name]))

    def watch(self) -> dict[str, Any]:
        """What watch_capacity answers at twenty to four of today."""
        event = {"time": f"{self.today}T03:40:00Z"}
        return cast("dict[str, Any]", self.watch_capacity.lambda_handler(event, self.context()))

    def night(self, **event: Any) -> dict[str, Any]:
        """One night: the reading and a sweep. Gives the sweep's answer."""
        self.read()
        return self.sweep(**event)

    def pass_day(self, days: int = 1) -> None:
        """Lets days pass, with the busy key's requests; the nights between are not swept."""
        for _ in range(days):
            self.use(BUSY, requests=1000)
            self.today += DAY
        self.real_now += timedelta(days=days)
        self.gateway.now = at_the_sweep(self.today)

    def skip(self, days: int) -> None:
        """Lets days pass whose nights were swept, though nothing was due in them."""
        self.pass_day(days)
        self.ledger.remember(self.today - DAY, swept=True)

    def nights(self, count: int) -> dict[str, Any]:
        """So many nights and the days between them; gives the last answer."""
        answer = self.night()
        for _ in range(count - 1):
            self.pass_day()
            answer = self.night()
        return answer

    # --- what is asked of it ----------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        """The ledger beside what is watched."""
        return Ledger(Table(self.clients.dynamodb, self.table))

    @property
    def request_store(self) -> RequestStore:
        return RequestStoreOfOneSender(Table(self.clients.dynamodb, self.table))

    @property
    def history(self) -> HistoryBucket:
        return HistoryBucket(self.clients.s3, self.bucket)

    @property
    def sealer(self) -> ValueSealer:
        return ValueSealer(self.clients.kms, self.clients.key_arn)

    def row(self, key_id: str) -> Row | None:
        """A key's row, wherever it is."""
        return self.rows().get(key_id)

    def rows(self) -> dict[str, Row]:
        return {**{row.key_id: row for row in self.ledger._shelf()}, **self.ledger.live_rows()}

    def states(self) -> dict[str, str]:
        return {key_id: str(row.state) for key_id, row in self.rows().items()}

    def buried(self, damaged: Sequence[str] = ()) -> dict[str, tuple[Tombstone, str]]:
        """Every tombstone, opened, but for those of `damaged` keys."""
        opened = {}
        for name in self.objects("tombstones/"):
            key_id = name.removeprefix("tombstones/").removesuffix(".json")
            if key_id in damaged:
                continue
            tombstone, value = self.history.open_tombstone(key_id, self.sealer)
            opened[key_id] = (tombstone, value.reveal())
        return opened

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """Every object of the history bucket, as it is now; what was gzipped is opened."""
        return {
            name: gzip.decompress(body) if name.endswith(".gz") else body
            for name, body in self._files(prefix).items()
        }

    def _files(self, prefix: str = "") -> dict[str, bytes]:
        s3, files, after = self.clients.s3, {}, ""
        while True:
            page = s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix, StartAfter=after)
            for item in page.get("Contents", ()):
                after = item["Key"]
                files[after] = s3.get_object(Bucket=self.bucket, Key=after)["Body"].read()
            if not page["IsTruncated"]:
                return files

    def versions(self, prefix: str) -> list[str]:
        """Versions and delete markers of the objects with this prefix, as far as one page goes."""
        page = self.clients.s3.list_object_versions(Bucket=self.bucket, Prefix=prefix)
        return [item["Key"] for item in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))]

    def keys_file(self, day: date | None = None) -> dict[str, dict[str, Any]]:
        name = f"keys/dt={day or self.today}/keys.jsonl.gz"
        lines = self.objects(name)[name].decode().splitlines()
        return {line["key_id"]: line for line in map(json.loads, lines)}

    def evidence(self) -> Evidence | None:
        return self.history.evidence(self.today)

    def enabled(self, key_id: str) -> bool:
        return self.gateway.whole(key_id)[0].enabled

    def told(self, key_id: str) -> list[str]:
        """The events about a key, in the order in which the bus took them."""
        return [one["DetailType"] for one in self.events if one["Detail"]["key_id"] == key_id]

    def items(self) -> list[dict[str, Any]]:
        return list(self.clients.dynamodb.scan(TableName=self.table)["Items"])

    # --- again from the same moment ---------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        return Snapshot(self.today, self.gateway.copy(), tuple(self.items()), self._files())

    def go_back(self, snapshot: Snapshot) -> None:
        """Stands again where it stood, with nothing told yet."""
        self.today = snapshot.today
        self.real_now = at_the_sweep(self.today)
        self.gateway = snapshot.gateway.copy()
        self.owners = FakeOwnership(self.gateway)
        self.table = self.clients.new_table()
        self.bucket = self.clients.new_bucket()
        for first in range(0, len(snapshot.items), 25):
            self.clients.dynamodb.batch_write_item(
                RequestItems={
                    self.table: [
                        {"PutRequest": {"Item": item}}
                        for item in snapshot.items[first : first + 25]
                    ]
                }
            )
        for name, body in snapshot.objects.items():
            self.clients.s3.put_object(Bucket=self.bucket, Key=name, Body=body)
        self.events.clear()
        self.alerts.clear()
        self.wire()


@dataclass(frozen=True, slots=True)
class _Role:
    """What a function talks to, guarded by its role."""

    gateway: Any
    owners: Any
    table: Table
    ledger: Ledger
    history: HistoryBucket
    sealer: ValueSealer
    bus: EventBus
    topic: AlertTopic
    dead_letters: Any
    queue: Any


class _Told:
    """A client that writes down which events and alerts AWS took; the events fit their contract."""

    def __init__(self, client: Any, account: Account) -> None:
        self._client = client
        self._account = account

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_events(self, **params: Any) -> Any:
        answer = self._client.put_events(**params)
        for entry, told in zip(params["Entries"], answer["Entries"], strict=True):
            if not told.get("ErrorCode"):
                detail = json.loads(entry["Detail"])
                check_event(entry["DetailType"], detail)
                self._account.events.append({**entry, "Detail": detail})
        return answer

    def publish(self, **params: Any) -> Any:
        answer = self._client.publish(**params)
        self._account.alerts.append(params)
        return answer
