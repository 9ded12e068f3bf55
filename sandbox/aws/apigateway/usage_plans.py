"""Usage plans on API Gateway's control plane: the plans, their members, and what was used.

Each behaviour is documented by AWS or was seen; what is only believed says so, and nothing should
come to depend on it.
"""

import json
import random
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import apigateway_v1

from sandbox.aws.apigateway.planpatch import patch_plan
from sandbox.aws.apigateway.stages import check_one_plan_a_stage, check_stages
from sandbox.aws.apigateway.stores import KeyStore, Members, MemberStore, Record, shuffled
from sandbox.aws.apigateway.usage import Quota, Usage
from sandbox.aws.clock import Clock
from sandbox.aws.faults import Faults
from sandbox.aws.wire import (
    Answer,
    Query,
    Refused,
    answer_with,
    date_of,
    json_object,
    limit_of,
    listing,
    one,
    page_of,
    patches,
    start_of,
)


class UsagePlans:
    """The usage plans of every account and Region in the sandbox."""

    def __init__(
        self, clock: Clock, faults: Faults, store: KeyStore, members: MemberStore, usage: Usage
    ) -> None:
        self._clock = clock
        self._faults = faults
        self._keys = store
        self._member_store = members
        self._usage = usage
        self._chance = random.Random(0)
        self._keep = apigateway_v1._create_usage_plan

    def respond(self, method: str, parts: list[str], body: bytes, query: Query) -> Answer:
        """Answer a call on /usageplans; `parts` is the rest of its path."""
        match parts:
            case []:
                return self._on_all(method, body, query)
            case [plan_id]:
                return self._on_one(method, plan_id, body)
            case [plan_id, "usage"] if method == "GET":
                return self.get_usage(plan_id, query)
            case [plan_id, "keys", *rest]:
                return self._on_members(method, plan_id, rest, body, query)
            case _:
                raise Refused("NotFoundException", "Unable to find resource")

    def _on_all(self, method: str, body: bytes, query: Query) -> Answer:
        return self.get_all(query) if method == "GET" else self.create(json_object(body))

    def _on_one(self, method: str, plan_id: str, body: bytes) -> Answer:
        plan = self._plan(plan_id)
        if method == "PATCH":
            return self.update(plan_id, json_object(body))
        if method == "DELETE":
            if stages := plan.get("apiStages"):
                first = f"{stages[0].get('apiId')}:{stages[0].get('stage')}"
                raise Refused(
                    "BadRequestException",  # AWS's words (seen: AF-331)
                    f"Cannot delete Usage Plan {plan_id} because there are API Stages associated "
                    f"with it, including {first}",
                )
            deleted: Answer = apigateway_v1._delete_usage_plan(plan_id)
            return deleted
        return answer_with(200, plan_view(plan, tags=True))

    def _on_members(
        self, method: str, plan_id: str, parts: list[str], body: bytes, query: Query
    ) -> Answer:
        match (method, parts):
            case ("GET", []):
                return self.list_members(plan_id, query)
            case ("POST", []):
                if self._chance.random() < self._faults.conflict_chance:
                    raise Refused(
                        "ConflictException",
                        "Unable to complete operation due to concurrent modification. "
                        "Please try again later.",
                    )
                return self.attach(plan_id, json_object(body))
            case ("GET", [key_id]):
                if key_id not in self._members(plan_id):
                    raise Refused("NotFoundException", "Invalid Usage Plan ID specified")
                return answer_with(200, self._member_view(key_id))
            case ("DELETE", [key_id]):
                return self.detach(plan_id, key_id)
            case ("PATCH", [key_id, "usage"]):
                return self.update_usage(plan_id, key_id, json_object(body))
            case _:
                raise Refused("NotFoundException", "Unable to find resource")

    def _plan(self, plan_id: str) -> Record:
        record: Record | None = apigateway_v1._usage_plans.get(plan_id)
        if record is None:
            raise Refused("NotFoundException", "Invalid Usage Plan ID specified")
        return record

    def _members(self, plan_id: str) -> Members:
        self._plan(plan_id)
        members: Members = self._member_store.setdefault(plan_id)
        return members

    def get_all(self, query: Query) -> Answer:
        """GetUsagePlans, all of them or those of `keyId`."""
        if self._faults.empty_plans:
            return listing([])
        ids = sorted(apigateway_v1._usage_plans.keys(), key=shuffled)
        if key_id := one(query, "keyId"):
            ids = [plan_id for plan_id in ids if key_id in self._members(plan_id)]
        if start := start_of(query):
            ids = [plan_id for plan_id in ids if shuffled(plan_id) > shuffled(start)]
        shown, position = page_of(ids, max(1, limit_of(query)))
        items = [plan_view(self._plan(plan_id)) for plan_id in shown]
        return listing(items, position)

    def create(self, data: Mapping[str, Any]) -> Answer:
        """CreateUsagePlan: whole in one call, with its stages, throttles and quota, or not at all."""
        if not data.get("name"):
            raise Refused("BadRequestException", "Usage Plan name must be specified")
        check_stages(dict(data))
        # The 301st is refused (doc: AF-102); the error and its words are believed.
        if len(list(apigateway_v1._usage_plans.keys())) >= self._faults.plan_limit:
            raise Refused("LimitExceededException", "Usage Plans limit exceeded", retry_after=60)
        return answer_with(201, plan_view(self.lay_down(data)))

    def lay_down(self, data: Mapping[str, Any]) -> Record:
        """Make a usage plan without asking whether AWS would."""
        stages = [{n: v for n, v in e.items() if v} for e in data.get("apiStages") or []]
        made = json.loads(self._keep({**data, "apiStages": stages})[2])
        return self._plan(made["id"])

    def list_members(self, plan_id: str, query: Query) -> Answer:
        """GetUsagePlanKeys: an unknown plan has no members, with 200, and values show (seen: AF-208, AF-211)."""
        if code := self._faults.unreadable_members.get(plan_id):
            raise Refused(code, "The members of this plan cannot be read")
        known = plan_id in apigateway_v1._usage_plans
        limit = limit_of(query)
        if not known or plan_id in self._faults.empty_members or limit < 1:
            return listing([])
        ids: Iterable[str] = self._members(plan_id).order.after(start_of(query))
        if name := one(query, "name"):
            ids = (i for i in ids if self._keys[i].get("name", "").startswith(name))
        shown, position = page_of(ids, limit)
        items = [self._member_view(key_id) for key_id in shown]
        return listing(items, position)

    def _member_view(self, key_id: str) -> Record:
        record = self._keys.get(key_id) or {}
        return {
            "id": key_id,
            "type": "API_KEY",
            "value": record.get("value", ""),
            "name": record.get("name", ""),
        }

    def attach(self, plan_id: str, data: Mapping[str, Any]) -> Answer:
        """CreateUsagePlanKey, which answers with the secret value (seen: AF-211)."""
        key_id = str(data.get("keyId", ""))
        members = self._members(plan_id)
        if key_id not in self._keys:
            raise Refused("NotFoundException", "Invalid API Key identifier specified")
        if data.get("keyType", "API_KEY") != "API_KEY":
            raise Refused("BadRequestException", "Invalid key type specified")
        if key_id in members:
            # Believed: that it is refused is likely, its wording is a guess.
            raise Refused("ConflictException", "API Key already exists in the usage plan")
        scope = get_account_id(), get_region()
        check_one_plan_a_stage(scope, self._member_store, key_id, [plan_id])
        self._member_store.join(plan_id, key_id)
        return answer_with(201, self._member_view(key_id))

    def detach(self, plan_id: str, key_id: str) -> Answer:
        """DeleteUsagePlanKey."""
        members = self._members(plan_id)
        if key_id not in members:
            raise Refused("NotFoundException", "Invalid Usage Plan ID specified")
        members.pop(key_id)
        return 202, {}, b""

    def update(self, plan_id: str, data: Mapping[str, Any]) -> Answer:
        """UpdateUsagePlan: name, description, throttle, quota, and stages with their throttles."""
        plan = self._plan(plan_id)
        changed = json.loads(json.dumps(plan))
        for op, path, value in patches(data):
            patch_plan(changed, op, path, value)
        plan.clear()
        plan |= changed
        return answer_with(200, plan_view(plan, tags=True))

    # -- usage --------------------------------------------------------------------------------

    def get_usage(self, plan_id: str, query: Query) -> Answer:
        """GetUsage: for each key, `[used, remaining]` for every day from startDate to endDate.

        It goes back 90 days (seen: AF-301) unless a fault says otherwise.
        Pages count the plan's members (believed: AF-307), those that are absent for lack of requests
        among them, so that a page can be short, or empty, and not be the last.
        """
        if code := self._faults.unreadable_usage.get(plan_id):
            raise Refused(code, "The usage of this plan cannot be read")
        plan = self._plan(plan_id)
        first, last = date_of(query, "startDate"), date_of(query, "endDate")
        if last < first:
            raise Refused("BadRequestException", "endDate is before startDate")
        first, last = self._told_of(first, last)
        shown, position = self._usage_page(plan_id, query)
        days = range(first.toordinal(), last.toordinal() + 1)
        lag = timedelta(seconds=self._faults.usage_lag)
        hidden = self._usage.not_yet_shown(plan_id, self._clock.now(), lag) if lag else {}
        quota = Quota.of_plan(plan)
        values: dict[str, list[list[int]]] = {}
        for key_id in shown:
            shows_when_idle = self._shows_when_idle(key_id)
            if not shows_when_idle and not self._usage.was_used(plan_id, key_id, days):
                continue
            pairs = self._usage.pairs(plan_id, key_id, days, quota, hidden)
            if shows_when_idle or any(used for used, _ in pairs):
                values[self._shown_as(key_id)] = pairs[
                    : max(0, len(days) - self._faults.missing_days)
                ]
        for n in range(self._faults.unknown_keys):
            values[f"unknown{n:03}"] = [[1, 1]] * len(days)
        answer = {
            "usagePlanId": plan_id,
            "startDate": first.isoformat(),
            "endDate": last.isoformat(),
            "values": values,
        }
        return answer_with(200, answer | ({"position": position} if position else {}))

    def _told_of(self, first: date, last: date) -> tuple[date, date]:
        """The days that an answer has of those that were asked for; Refused for others."""
        today = self._clock.today() - timedelta(days=self._faults.usage_today)
        oldest = today - timedelta(days=self._faults.usage_days)
        newest = today if self._faults.usage_today else last
        if first >= oldest and last <= newest:
            return first, last
        if self._faults.usage_outside == "clipped" and max(first, oldest) <= min(last, newest):
            return max(first, oldest), min(last, newest)
        raise Refused("BadRequestException", "Usage is kept for the last 90 days")

    def _usage_page(self, plan_id: str, query: Query) -> tuple[list[str], str | None]:
        members = self._members(plan_id)
        if key_id := one(query, "keyId"):
            return ([key_id] if key_id in members else []), None
        limit = max(1, limit_of(query))
        if not self._faults.deleted_keys_shown:
            return page_of(members.order.after(start_of(query)), limit)
        ids = sorted(self._usage.known_keys(plan_id) | members.keys(), key=shuffled)
        start = start_of(query)
        return page_of((i for i in ids if not start or shuffled(i) > shuffled(start)), limit)

    def _shows_when_idle(self, key_id: str) -> bool:
        if self._faults.idle_keys == "mixed":
            return int(shuffled(key_id), 16) % 2 == 0
        return self._faults.idle_keys == "zero"

    def _shown_as(self, key_id: str) -> str:
        if self._faults.usage_keyed_by == "value":
            return str((self._keys.get(key_id) or {}).get("value", key_id))
        if self._faults.usage_keyed_by == "unknown":
            return f"unknown-{shuffled(key_id)[:10]}"
        return key_id

    def update_usage(self, plan_id: str, key_id: str, data: Mapping[str, Any]) -> Answer:
        """UpdateUsage: `/remaining` of the running period of a plan with a quota."""
        plan = self._plan(plan_id)
        if key_id not in self._members(plan_id):
            raise Refused("NotFoundException", "Invalid API Key identifier specified")
        quota = Quota.of_plan(plan)
        if quota is None:
            raise Refused("BadRequestException", "Usage plan has no quota")
        today = self._clock.today()
        for op, path, value in patches(data):
            if (op, path) != ("replace", "/remaining") or not value.isdigit():
                raise Refused("BadRequestException", f"Invalid patch path {path}")
            self._usage.grant(plan_id, key_id, quota, today.toordinal(), int(value))
        days = range(today.toordinal(), today.toordinal() + 1)
        answer = {
            "usagePlanId": plan_id,
            "startDate": today.isoformat(),
            "endDate": today.isoformat(),
            "values": {key_id: self._usage.pairs(plan_id, key_id, days, quota, {})},
        }
        return answer_with(200, answer)


def plan_view(plan: Record, *, tags: bool = False) -> Record:
    """A usage plan as an answer shows it: without the parts that are empty.

    A list has no tags, an answer about one plan has `tags`, though empty; a quota its offset, as tests/recorded/ shows.
    """
    shown = {n: kept for n, kept in plan.items() if kept or n in ("id", "name", "apiStages")}
    if shown.get("quota"):
        shown["quota"] = {"offset": 0} | shown["quota"]
    if tags:
        shown["tags"] = plan.get("tags") or {}
    return shown
