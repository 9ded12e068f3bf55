"""An AWS in memory at the level of its clients, which knows the truth about every key and request.

API Gateway, tags, stacks, topic and bus are written here; table, files and seals are the twins of
sandbox.memory, which are held against moto. What can go wrong is named by `Fault`s. Nothing in here
judges: whoever watches (`Watcher`) is told of each change and of each answer.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Any, Protocol

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from keyjanitor.adapters.clients import gateway_client
from tests.account import Killed

CALL = 0.02  # seconds that a call on API Gateway takes
NEVER = datetime(2000, 1, 1, tzinfo=UTC)
A_RUN = timedelta(minutes=15, seconds=10)
SAME_CALL = timedelta(seconds=2)  # in which two changes of a key cannot be told apart
Body = dict[str, Any]
Call = Callable[[], Any]


@dataclass(slots=True)
class Key:
    """A living key. `shut_by` says who disabled it last: "janitor", "others" or nobody."""

    key_id: str
    value: str
    name: str
    enabled: bool
    created: datetime
    updated: datetime
    description: str = ""
    customer_id: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    stage_keys: tuple[str, ...] = ()
    shut_by: str = ""

    def copy(self) -> "Key":
        return replace(self, tags=dict(self.tags))


@dataclass(slots=True)
class Plan:
    """A usage plan; `metered`: whether API Gateway counts its requests."""

    plan_id: str
    name: str
    stages: tuple[str, ...]
    quota: dict[str, Any] | None
    throttle: dict[str, Any] | None = None
    members: list[str] = field(default_factory=list)
    methods: dict[str, Any] = field(default_factory=dict)
    metered: bool = True


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with calls of this name: of one run from the `first` to the `last`.

    `call` is a name such as GetUsage or s3.put_object; `about` (of GetUsage and lists of members) a
    plan, or (of changes) a key. Kinds: refused, denied, lost (carried out, the answer is lost), die,
    die_after, and for lists empty, absent (without the list), short (without the end), hidden
    (without the key that was to be changed last), misfit (a key's days do not fit).
    """

    call: str
    kind: str
    first: int = 1
    last: int = 10**9
    about: str = ""


class Watcher(Protocol):
    """Whoever is told what happens."""

    def asked(self, operation: str, at: float) -> None: ...
    def called(self, name: str, about: str) -> None: ...
    def served(self, call: str, about: str, answer: Any) -> None: ...
    def failed(self, call: str, about: str) -> None: ...
    def key_changed(self, what: str, before: Key | None, after: Key | None, by: str) -> None: ...
    def wrote(self, service: str, call: str, params: Mapping[str, Any]) -> None: ...
    def done(self, service: str, call: str, params: Mapping[str, Any], answer: Any) -> None: ...


@cache
def _hooks() -> Any:
    """The hooks that the functions' own client has, so that an answer is read as it is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")  # whose is gone once the functions are made
        return gateway_client().meta.events


class Cloud:
    """The account."""

    def __init__(self, now: datetime, watcher: Watcher, page: int = 4) -> None:
        self.now = now
        self.watcher = watcher
        self.page = page
        self.keys: dict[str, Key] = {}
        self.plans: dict[str, Plan] = {}
        self.uses: dict[tuple[str, str], dict[date, int]] = {}
        self.closed: set[tuple[str, str, date]] = set()  # the quota was used up on that day
        self.stacks: dict[str, str] = {}
        self.confirmed = 1  # subscriptions of the alert topic
        self.weather: list[Fault] = []
        self.shields: list[Fault] = []  # what a policy of the organisation denies, for good
        self.faults: list[Fault] = []  # of the run that is at work
        self.by = "others"  # who calls
        self.key_limit = 10_000
        self.lag = False  # today's requests are not told yet
        self._counted: dict[str, int] = {}
        self._made = 0
        self.denied = 0  # calls of the run that is at work
        self.unsure: dict[str, datetime] = {}  # keys: when a change of ours may have been made
        self.touched = ""  # the key that a run was about to change last
        self.last_plans: tuple[str, ...] = ()  # of the key that was deleted last

    # --- time -------------------------------------------------------------------------------------

    def clock(self) -> datetime:
        return self.now.replace(microsecond=0)

    def monotonic(self) -> float:
        return self.now.timestamp()

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # --- runs and faults --------------------------------------------------------------------------

    def begin(self, by: str, faults: Sequence[Fault]) -> None:
        self.by, self.faults, self._counted = by, list(faults), {}
        self.denied = 0

    def end(self) -> None:
        self.by, self.faults = "others", []

    def fault(self, name: str, about: str = "") -> str:
        """What goes wrong with this call; "" if nothing does. Dies if it is to die before it."""
        if self.by == "others":
            return ""
        self.watcher.called(name, about)
        self._counted[name] = self._counted.get(name, 0) + 1
        self._counted["*"] = self._counted.get("*", 0) + 1
        for one in (*self.faults, *self.weather, *self.shields):
            if one.call not in (name, "*") or (one.about and one.about != about):
                continue
            number = self._counted[one.call if not one.about else name]
            if one.first <= number <= one.last:
                if one.kind == "die":
                    raise Killed
                return one.kind
        return ""

    def around(self, name: str, call: Call) -> Any:
        """A call of table, files, seals, bus or topic, or one on an adapter that is made of ours."""
        if name.startswith(("apigateway.", "owners.", "dead_letters.")):
            return call()
        service, _, operation = name.partition(".")
        kind = self.fault(name)
        if kind in ("refused", "denied"):
            raise _refusal(service, operation, kind)
        answer = call()
        if kind == "die_after":
            raise Killed
        if kind == "lost":
            raise ReadTimeoutError(endpoint_url=f"https://{service}")
        return answer

    # --- what people do ---------------------------------------------------------------------------

    def new_id(self) -> str:
        self._made += 1
        return "k" + sha256(str(self._made).encode()).hexdigest()[:9]

    def make(
        self, name: str, plans: Sequence[str] = (), *, created: datetime | None = None, **more: Any
    ) -> Key:
        key_id = str(more.pop("key_id", "") or self.new_id())
        value = more.pop("value", "") or sha256(f"value of {key_id}".encode()).hexdigest()[:40]
        key = Key(key_id, value, name, True, created or self.now, created or self.now, **more)
        self._add(key, "made")
        for plan_id in plans:
            self.join(plan_id, key_id)
        return key

    def _add(self, key: Key, what: str) -> None:
        self.keys[key.key_id] = key
        self.watcher.key_changed(what, None, key, self.by)

    def change(self, key_id: str, **what: Any) -> None:
        key = self.keys[key_id]
        before = key.copy()
        for name, value in what.items():
            setattr(key, name, value)
        key.updated = self.clock()
        if "enabled" in what:
            by = "others" if self.by == "others" else "janitor"
            # In the seconds of our own call API Gateway's dates do not tell whose it was; nor for as
            # long as a run may last whose call was answered with an error that leaves it open.
            again = before.shut_by == "janitor" and key.updated - before.updated <= SAME_CALL
            again = again or key.updated - self.unsure.get(key_id, NEVER) <= A_RUN
            key.shut_by = "" if key.enabled else "somebody" if by == "others" and again else by
        self.watcher.key_changed("changed", before, key, self.by)

    def remove(self, key_id: str) -> None:
        self.last_plans = self.plans_of(key_id)
        key = self.keys.pop(key_id)
        for plan in self.plans.values():
            if key_id in plan.members:
                plan.members.remove(key_id)
        self.watcher.key_changed("removed", key, None, self.by)

    def join(self, plan_id: str, key_id: str) -> bool:
        plan = self.plans[plan_id]
        if key_id in plan.members or self.opens_twice(plan_id, key_id):
            return False
        plan.members.append(key_id)
        return True

    def leave(self, plan_id: str, key_id: str) -> None:
        self.plans[plan_id].members.remove(key_id)

    def plans_of(self, key_id: str) -> tuple[str, ...]:
        return tuple(sorted(p.plan_id for p in self.plans.values() if key_id in p.members))

    def opens_twice(self, plan_id: str, key_id: str) -> bool:
        """Whether the key, put into the plan, would be in two plans for one stage."""
        stages = set(self.plans[plan_id].stages)
        return any(stages & set(self.plans[one].stages) for one in self.plans_of(key_id))

    def use(self, plan_id: str, key_id: str, day: date, requests: int = 1) -> None:
        used = self.uses.setdefault((plan_id, key_id), {})
        used[day] = used.get(day, 0) + requests

    # --- wire -------------------------------------------------------------------------------------

    def _read(self, operation: str, body: Body, names: Mapping[str, str]) -> Body:
        """The answer as the functions' client makes it of what is on the wire."""
        if operation != "GetUsage":
            return {names.get(name, name): value for name, value in body.items()}
        customized: Body = {}
        answer: Body = {"status_code": 200, "headers": {}, "body": json.dumps(body).encode()}
        _hooks().emit(
            f"before-parse.api-gateway.{operation}",
            operation_model=None,
            response_dict=answer,
            customized_response_dict=customized,
        )
        read = json.loads(answer["body"])
        return {names.get(name, name): value for name, value in read.items()} | customized


def _refusal(service: str, operation: str, kind: str) -> ClientError:
    operation = "".join(part.title() for part in operation.split("_"))
    denied = {"s3": ("AccessDenied", 403), "sns": ("AuthorizationError", 403)}
    failed = {
        "dynamodb": ("InternalServerError", 500),
        "s3": ("SlowDown", 503),
        "kms": ("KMSInternalException", 500),
        "sns": ("InternalError", 500),
        "events": ("InternalException", 500),
    }
    if kind == "denied":
        return error(operation, *denied.get(service, ("AccessDeniedException", 400)))
    return error(operation, *failed[service])


def error(operation: str, code: str, status: int = 400, message: str = "refused") -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, operation)


ITEMS = {"item": "items"}


class Gateway:
    """A client of API Gateway, with the answers that botocore gives."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    # --- reading ----------------------------------------------------------------------------------

    def get_api_keys(
        self,
        *,
        limit: int = 25,
        position: str = "",
        nameQuery: str = "",
        includeValues: bool = False,
        **_: Any,
    ) -> Body:
        named = [k for k in self._cloud.keys.values() if k.name.startswith(nameQuery)]
        return self._list(
            "GetApiKeys", named, lambda k: _item(k, values=includeValues), limit, position
        )

    def get_api_key(self, *, apiKey: str, includeValue: bool = False) -> Body:
        with self._call("GetApiKey", apiKey) as answer:
            key = self._cloud.keys.get(apiKey)
            if key is None:
                self._cloud.watcher.served("GetApiKey", apiKey, None)
                raise error("GetApiKey", "NotFoundException", 404)
            self._cloud.watcher.served("GetApiKey", apiKey, key.copy())
            answer.update(_item(key, values=includeValue, tags=True))
        return answer.body

    def get_usage_plans(
        self,
        *,
        limit: int = 25,
        position: str = "",
        keyId: str = "",
        **_: Any,
    ) -> Body:
        plans = [plan for plan in self._cloud.plans.values() if not keyId or keyId in plan.members]
        if keyId:
            self._cloud.watcher.served("PlansOf", keyId, [plan.plan_id for plan in plans])
        return self._list("GetUsagePlans", plans, _plan, limit, position, about=keyId)

    def get_usage_plan(self, *, usagePlanId: str) -> Body:
        with self._call("GetUsagePlan", usagePlanId) as answer:
            if usagePlanId not in self._cloud.plans:
                raise error("GetUsagePlan", "NotFoundException", 404)
            answer.update(_plan(self._cloud.plans[usagePlanId]))
        return answer.body

    def get_usage_plan_keys(
        self,
        *,
        usagePlanId: str,
        limit: int = 25,
        position: str = "",
        nameQuery: str = "",
    ) -> Body:
        plan = self._cloud.plans.get(usagePlanId)  # of none the list is empty (seen: AF-208)
        keys = [self._cloud.keys[key_id] for key_id in (plan.members if plan else ())]
        keys = [key for key in keys if key.name.startswith(nameQuery)]
        return self._list(
            "GetUsagePlanKeys",
            keys,
            lambda k: {"id": k.key_id, "type": "API_KEY", "value": k.value, "name": k.name},
            limit,
            position,
            about=usagePlanId,
        )

    def get_usage_plan_key(self, *, usagePlanId: str, keyId: str) -> Body:
        with self._call("GetUsagePlanKey", keyId) as answer:
            plan = self._cloud.plans.get(usagePlanId)
            if plan is None or keyId not in plan.members:
                raise error("GetUsagePlanKey", "NotFoundException", 404)
            key = self._cloud.keys[keyId]
            answer.update({"id": keyId, "type": "API_KEY", "value": key.value, "name": key.name})
        return answer.body

    def get_usage(
        self,
        *,
        usagePlanId: str,
        startDate: str,
        endDate: str,
        limit: int = 25,
        position: str = "",
        **_: Any,
    ) -> Body:
        cloud = self._cloud
        answer: Body = {}
        with self._call("GetUsage", usagePlanId) as call:
            plan = cloud.plans.get(usagePlanId)
            if plan is None:
                raise error("GetUsage", "NotFoundException", 404)
            start, end = date.fromisoformat(startDate), date.fromisoformat(endDate)
            ids = sorted(k for p, k in cloud.uses if p == usagePlanId)
            first = int(position or 0)
            page = ids[first : first + min(limit, cloud.page)]
            days = [start + timedelta(days=n) for n in range((end - start).days + 1)]
            values = self._usage(plan, page, days)
            more = first + len(page) < len(ids)
            for key_id in list(values)[:1]:
                values[key_id] = {
                    "misfit": [[0, 1000]] * 60,
                    "misfit_used": values[key_id][:60],
                }.get(call.kind, values[key_id])
            if call.kind == "empty":
                values, more = {}, False
            if call.kind == "short":
                more = False
            answer = {"usagePlanId": usagePlanId, "startDate": startDate, "endDate": endDate}
            if call.kind != "absent":
                answer["values"] = values
            else:
                more = False
            if more:
                answer["position"] = str(first + len(page))
            cloud.watcher.served("GetUsage", usagePlanId, answer)
        return cloud._read("GetUsage", answer, {"values": "items"})

    def _usage(
        self, plan: Plan, key_ids: Sequence[str], days: Sequence[date]
    ) -> dict[str, list[list[int]]]:
        cloud, values = self._cloud, {}
        told = days[:-1] if cloud.lag else days
        for key_id in key_ids:
            used = cloud.uses[plan.plan_id, key_id] if plan.metered else {}
            values[key_id] = [
                [
                    used.get(day, 0) if day in told else 0,
                    0 if (plan.plan_id, key_id, day) in cloud.closed else 1000,
                ]
                for day in days
            ]
        return values

    def get_rest_apis(self, *, limit: int = 25, position: str = "", **_: Any) -> Body:
        apis = sorted({s.partition(":")[0] for p in self._cloud.plans.values() for s in p.stages})
        return self._list("GetRestApis", apis, lambda a: {"id": a, "name": a}, limit, position)

    def get_stages(self, *, restApiId: str) -> Body:
        with self._call("GetStages", restApiId) as answer:
            stages = {
                s.partition(":")[2]
                for p in self._cloud.plans.values()
                for s in p.stages
                if s.startswith(f"{restApiId}:")
            }
            answer.update({"item": [{"stageName": s, "deploymentId": s} for s in sorted(stages)]})
        return answer.body

    def get_deployment(self, *, restApiId: str, deploymentId: str, **_: Any) -> Body:
        with self._call("GetDeployment", restApiId) as answer:
            methods = {"/": {"GET": {"authorizationType": "NONE", "apiKeyRequired": True}}}
            answer.update({"id": deploymentId, "apiSummary": methods})
        return answer.body

    # --- changing ---------------------------------------------------------------------------------

    def update_api_key(self, *, apiKey: str, patchOperations: Sequence[Body]) -> Body:
        with self._call("UpdateApiKey", apiKey) as answer:
            if apiKey not in self._cloud.keys:
                raise error("UpdateApiKey", "NotFoundException", 404)
            what: Body = {}
            for one in patchOperations:
                name = {"/customerId": "customer_id"}.get(one["path"], one["path"][1:])
                what[name] = one["value"] == "true" if name == "enabled" else one["value"]
            self._cloud.change(apiKey, **what)
            answer.update(_item(self._cloud.keys[apiKey], values=False, tags=True))
        return answer.body

    def delete_api_key(self, *, apiKey: str) -> Body:
        with self._call("DeleteApiKey", apiKey):
            if apiKey not in self._cloud.keys:
                raise error("DeleteApiKey", "NotFoundException", 404)
            self._cloud.remove(apiKey)
        return {}

    def create_api_key(self, *, name: str, value: str, enabled: bool = False, **more: Any) -> Body:
        cloud = self._cloud
        with self._call("CreateApiKey", name) as answer:
            if any(key.value == value for key in cloud.keys.values()):
                raise error("CreateApiKey", "ConflictException", 409, "API Key already exists")
            if len(cloud.keys) >= cloud.key_limit:
                raise error("CreateApiKey", "LimitExceededException", 429)
            now = cloud.clock()
            key = Key(
                cloud.new_id(),
                value,
                name,
                enabled,
                now,
                now,
                more.get("description", ""),
                more.get("customerId", ""),
                dict(more.get("tags", {})),
                shut_by="" if enabled else "janitor",
            )
            cloud._add(key, "created")
            answer.update(_item(key, values=True, tags=True))
        return answer.body

    def import_api_keys(self, *, body: bytes, **_: Any) -> Body:
        cloud = self._cloud
        with self._call("ImportApiKeys") as answer:
            rows = list(csv.DictReader(io.StringIO(body.decode(), newline="")))
            ids = {key.value: key.key_id for key in cloud.keys.values()}
            if len(cloud.keys) + len({r["Key"] for r in rows} - set(ids)) > cloud.key_limit:
                raise error("ImportApiKeys", "LimitExceededException", 429)
            for row in rows:
                plans = [one for one in row["UsagePlanIds"].split(",") if one]
                known = ids.get(row["Key"])
                mine = {*plans, *(cloud.plans_of(known) if known else ())}
                if not mine <= set(cloud.plans):
                    raise error("ImportApiKeys", "NotFoundException", 404)
                stages = [stage for one in mine for stage in cloud.plans[one].stages]
                if len(set(stages)) < len(stages):
                    raise error("ImportApiKeys", "BadRequestException")
            for row in rows:
                now = cloud.clock()
                if row["Key"] not in ids:
                    key = Key(cloud.new_id(), row["Key"], row["Name"], True, now, now)
                    key.description = row["Description"]
                    ids[key.value] = key.key_id
                    cloud._add(key, "imported")
                else:
                    cloud.change(
                        ids[row["Key"]],
                        name=row["Name"],
                        description=row["Description"],
                        enabled=True,
                    )
                for plan_id in (one for one in row["UsagePlanIds"].split(",") if one):
                    cloud.join(plan_id, ids[row["Key"]])
            answer.update({"ids": [ids[row["Key"]] for row in rows], "warnings": []})
        return answer.body

    def create_usage_plan(self, *, name: str, apiStages: Sequence[Body], **more: Any) -> Body:
        cloud = self._cloud
        with self._call("CreateUsagePlan", name) as answer:
            stages = tuple(f"{one['apiId']}:{one['stage']}" for one in apiStages)
            methods = dict(apiStages[0].get("throttle", {})) if apiStages else {}
            cloud._made += 1
            plan = Plan(
                f"plan{cloud._made:04}",
                name,
                stages,
                more.get("quota"),
                more.get("throttle"),
                methods=methods,
            )
            cloud.plans[plan.plan_id] = plan
            answer.update(_plan(plan))
        return answer.body

    def create_usage_plan_key(
        self,
        *,
        usagePlanId: str,
        keyId: str,
        keyType: str,
    ) -> Body:
        cloud = self._cloud
        with self._call("CreateUsagePlanKey", keyId) as answer:
            if usagePlanId not in cloud.plans or keyId not in cloud.keys:
                raise error("CreateUsagePlanKey", "NotFoundException", 404)
            if not cloud.join(usagePlanId, keyId):
                raise error("CreateUsagePlanKey", "ConflictException", 409, "conflict")
            key = cloud.keys[keyId]
            answer.update({"id": keyId, "type": keyType, "value": key.value, "name": key.name})
        return answer.body

    # --- calling ----------------------------------------------------------------------------------

    def _call(self, operation: str, about: str = "") -> "_Call":
        return _Call(self._cloud, operation, about)

    def _list(
        self,
        operation: str,
        things: Sequence[Any],
        show: Callable[[Any], Body],
        limit: int,
        position: str,
        about: str = "",
    ) -> Body:
        cloud = self._cloud
        body: Body = {}
        with self._call(operation, about) as call:
            first = int(position or 0)
            page = list(things[first : first + min(limit, cloud.page)])
            more = first + len(page) < len(things)
            if call.kind in ("empty", "absent"):
                page, more = [], False
            if call.kind == "short":
                page, more = page[: len(page) // 2], False
            shown = [show(one) for one in page]
            if call.kind == "hidden":
                shown = [one for one in shown if one["id"] != cloud.touched]
            if call.kind != "absent":
                body["item"] = shown
            if more:
                body["position"] = str(first + len(page))
            cloud.watcher.served(operation, about, body)
        return cloud._read(operation, body, ITEMS)


class _Call:
    """One call on API Gateway: it takes its time, and may go wrong before or after it is done."""

    def __init__(self, cloud: Cloud, operation: str, about: str) -> None:
        self._cloud = cloud
        self._operation = operation
        self._about = about
        self.kind = ""
        self.body: Body = {}

    def update(self, body: Body) -> None:
        self.body.update(body)

    def __enter__(self) -> "_Call":
        self._cloud.sleep(CALL)
        if self._cloud.by != "others":
            self._cloud.watcher.asked(self._operation, self._cloud.monotonic())
        self.kind = self._cloud.fault(self._operation, self._about)
        if self.kind in ("refused", "denied", "throttled"):
            self._cloud.watcher.failed(self._operation, self._about)
        if self.kind == "refused":
            if self._operation == "UpdateApiKey":
                self._cloud.unsure[self._about] = self._cloud.clock()
            raise error(self._operation, "InternalServerErrorException", 500)
        if self.kind == "denied":
            self._cloud.denied += 1
            raise error(self._operation, "AccessDeniedException", 403, "not authorized")
        if self.kind == "throttled":
            raise error(self._operation, "TooManyRequestsException", 429)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            return
        if self.kind == "die_after":
            raise Killed
        if self.kind == "lost":
            self._cloud.watcher.failed(self._operation, self._about)
            raise ReadTimeoutError(endpoint_url="https://apigateway")


def _item(key: Key, *, values: bool, tags: bool = False) -> Body:
    item: Body = {
        "id": key.key_id,
        "name": key.name,
        "description": key.description,
        "enabled": key.enabled,
        "createdDate": key.created,
        "lastUpdatedDate": key.updated,
        "stageKeys": list(key.stage_keys),
    }
    if key.customer_id:
        item["customerId"] = key.customer_id
    if values:
        item["value"] = key.value
    if tags and key.tags:
        item["tags"] = dict(key.tags)
    return item


def _plan(plan: Plan) -> Body:
    stages: list[Body] = [
        {"apiId": stage.partition(":")[0], "stage": stage.partition(":")[2]}
        | ({"throttle": plan.methods} if plan.methods else {})
        for stage in plan.stages
    ]
    return {
        "id": plan.plan_id,
        "name": plan.name,
        "apiStages": stages,
        **({"quota": plan.quota} if plan.quota else {}),
        **({"throttle": plan.throttle} if plan.throttle else {}),
    }


class Tagging:
    """A client of the tagging API."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def get_resources(self, *, PaginationToken: str = "", **_: Any) -> Body:
        kind = self._cloud.fault("GetResources")
        if kind in ("refused", "denied", "lost"):
            self._cloud.watcher.failed("GetResources", "")
            raise error("GetResources", "InternalServiceException", 500)
        tagged = [key for key in self._cloud.keys.values() if key.tags]
        first = int(PaginationToken or 0)
        page = tagged[first : first + self._cloud.page]
        more = first + len(page) < len(tagged)
        arn = "arn:aws:apigateway:us-east-1::/apikeys/"
        answer: Body = {
            "ResourceTagMappingList": [
                {
                    "ResourceARN": arn + key.key_id,
                    "Tags": [{"Key": k, "Value": v} for k, v in key.tags.items()],
                }
                for key in page
            ],
            "PaginationToken": str(first + len(page)) if more else "",
        }
        if kind == "absent":
            del answer["ResourceTagMappingList"]
        self._cloud.watcher.served("GetResources", "", answer)
        if kind == "die_after":
            raise Killed
        return answer


class Stacks:
    """A client of CloudFormation."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def describe_stack_resources(self, *, PhysicalResourceId: str) -> Body:
        kind = self._cloud.fault("DescribeStackResources", PhysicalResourceId)
        if kind in ("refused", "denied", "lost"):
            raise error("DescribeStackResources", "InternalFailure", 500)
        stack = self._cloud.stacks.get(PhysicalResourceId)
        if stack is None:
            text = f"Stack for {PhysicalResourceId} does not exist"
            raise error("DescribeStackResources", "ValidationError", 400, text)
        return {
            "StackResources": [
                {
                    "StackName": stack,
                    "PhysicalResourceId": PhysicalResourceId,
                    "ResourceStatus": "CREATE_COMPLETE",
                    "StackStatus": "CREATE_COMPLETE",
                }
            ]
        }


class Told:
    """A bus and a topic."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def put_events(self, **request: Any) -> Body:
        refused = [self._cloud.fault("PutEvents entry") == "refused" for _ in request["Entries"]]
        return {
            "Entries": [
                {"ErrorCode": "InternalFailure"} if bad else {"EventId": "e"} for bad in refused
            ],
            "FailedEntryCount": sum(refused),
        }

    def publish(self, **_: Any) -> Body:
        return {"MessageId": "m"}

    def list_subscriptions_by_topic(self, **_: Any) -> Body:
        topic = "arn:aws:sns:us-east-1:123456789012:alerts"
        arns = [f"{topic}:{n}" for n in range(self._cloud.confirmed)] or ["PendingConfirmation"]
        return {
            "Subscriptions": [
                {
                    "SubscriptionArn": arn,
                    "Endpoint": f"team-{n}@example.org",
                    "Protocol": "email",
                    "TopicArn": topic,
                    "Owner": "123456789012",
                }
                for n, arn in enumerate(arns)
            ]
        }

    def get_topic_attributes(self, **_: Any) -> Body:
        return {
            "Attributes": {
                "SubscriptionsConfirmed": str(self._cloud.confirmed),
                "SubscriptionsPending": "0" if self._cloud.confirmed else "1",
            }
        }


def texts(value: Any) -> Iterator[str]:
    """Every text in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("latin-1")
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield str(name)
            yield from texts(one)
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from texts(one)


def moment(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)


class Seen:
    """A client whose calls the watcher sees, what they carry and what comes back."""

    def __init__(self, target: Any, service: str, watcher: Watcher) -> None:
        self._target = target
        self._service = service
        self._watcher = watcher

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)
        if name.startswith("_") or not callable(method):
            return method

        def call(**params: Any) -> Any:
            if self._service != "kms":
                self._watcher.wrote(self._service, name, params)
            answer = method(**params)
            self._watcher.done(self._service, name, params, answer)
            return answer

        return call
