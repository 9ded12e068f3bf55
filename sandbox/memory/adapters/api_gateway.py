"""API Gateway in memory, with the methods of `keyjanitor.adapters.api_gateway.ApiGateway`.

It runs through the same suite as that adapter (tests/contract/adapters/test_gateway_alike.py), so that it
cannot lie. A simulated year lives on it too, so no call but a listing takes longer in a larger account.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Any

from keyjanitor.domain.model.apis import Method, RestApi, Stage
from keyjanitor.domain.model.keys import ApiKey, Secret
from keyjanitor.domain.model.policy_tier import METHODS
from keyjanitor.domain.model.usage_plan import Shape, UsagePlan
from keyjanitor.domain.requests.import_file import NewKey
from keyjanitor.domain.usage.plan_usage import UsagePage
from keyjanitor.errors import AccountFull, CallFailed, ImportRefused, ValueConflict

SHORTEST_VALUE = 20


LONGEST_VALUE = 128


LONGEST_NAME = 1024


def value_of(key_id: str) -> str:
    """The value of a key that was made without one: 40 characters that no other text holds."""
    return sha256(f"value of {key_id}".encode()).hexdigest()[:40]


class FakeApiGateway:
    """API Gateway's keys, plans and usage, as `ApiGateway` shows them. `now` is its clock."""

    def __init__(self, now: datetime, page: int = 2) -> None:
        self.now = now
        self._page = page  # keys on a page of usage
        self._made = 0
        self.living: dict[str, ApiKey] = {}  # with their tags
        self._listed: dict[str, tuple[ApiKey, ApiKey]] = {}  # a key, and how it is listed
        self._values: dict[str, Secret] = {}
        self._ids: dict[Secret, str] = {}  # by the value
        self.plans: dict[str, UsagePlan] = {}
        self._members: dict[str, dict[str, None]] = {}  # of each plan, as they came
        self.requests: dict[tuple[str, str], dict[date, int]] = {}  # by plan and key
        self.key_limit = 10_000
        self.plan_limit = 300
        self.known_stages: set[str] | None = (
            None  # those that there are; None: all that one can think of
        )
        self.apis: dict[str, dict[str, tuple[Method, ...]]] = {}  # stages, and what they serve
        self.stage_settings: dict[str, dict[str, Any]] = {}  # how `api_id:stage` logs
        self.spoiled = ""  # what makes a row bad whose description holds it
        self.upserts_warn = False  # a row whose value is there is a warning, and so refused
        self.answers_early = timedelta(0)  # an UpdateApiKey's answer has a date by so much earlier

    # --- what others do ---------------------------------------------------------------------------

    def new_id(self) -> str:
        """An id that no key has; ids are in the order in which they were made."""
        self._made += 1
        return f"made{self._made:06}"

    def add_key(self, key: ApiKey, value: str = "", plans: Sequence[str] = ()) -> str:
        """Lays a key down as if it had always been there; gives its value."""
        value = value or value_of(key.key_id)
        self._put(replace(key, tags=dict(key.tags or {})), Secret(value))
        for plan_id in plans:
            self.join(key.key_id, plan_id)
        return value

    def _put(self, key: ApiKey, value: Secret) -> None:
        self.living[key.key_id] = key
        self._values[key.key_id] = value
        self._ids[value] = key.key_id

    def add_plan(self, plan: UsagePlan) -> None:
        self.plans[plan.usage_plan_id] = plan
        self._members[plan.usage_plan_id] = {}

    def delete_plan(self, usage_plan_id: str) -> None:
        del self.plans[usage_plan_id], self._members[usage_plan_id]

    def join(self, key_id: str, usage_plan_id: str) -> None:
        self._members[usage_plan_id][key_id] = None

    def leave(self, key_id: str, usage_plan_id: str) -> None:
        del self._members[usage_plan_id][key_id]

    def use(self, plan_id: str, key_id: str, day: date, requests: int = 1) -> None:
        used = self.requests.setdefault((plan_id, key_id), {})
        used[day] = used.get(day, 0) + requests

    def change(self, key_id: str, **what: Any) -> None:
        """Somebody changes a key: API Gateway notes when."""
        self._change(key_id, self.now, **what)

    def _change(self, key_id: str, at: datetime, **what: Any) -> None:
        self.living[key_id] = replace(self.living[key_id], last_updated_date=at, **what)

    def whole(self, key_id: str) -> tuple[ApiKey, str, tuple[str, ...]]:
        """A key with its tags, its value and its plans."""
        plans = tuple(plan for plan, members in self._members.items() if key_id in members)
        return self.living[key_id], self._values[key_id].reveal(), plans

    @property
    def ids(self) -> list[str]:
        return list(self.living)

    def copy(self) -> "FakeApiGateway":
        other = FakeApiGateway(self.now, self._page)
        other._made = self._made
        other.living = dict(self.living)
        other._values, other._ids = dict(self._values), dict(self._ids)
        other.plans = dict(self.plans)
        other._members = {plan: dict(members) for plan, members in self._members.items()}
        other.requests = {pair: dict(used) for pair, used in self.requests.items()}
        other.key_limit, other.plan_limit = self.key_limit, self.plan_limit
        other.known_stages, other.spoiled = self.known_stages, self.spoiled
        other.upserts_warn = self.upserts_warn
        other.answers_early = self.answers_early
        other.apis = self.apis
        other.stage_settings = dict(self.stage_settings)
        return other

    # --- reading ----------------------------------------------------------------------------------

    def keys(self) -> list[ApiKey]:
        return [self._as_listed(key) for key in self.living.values()]

    def _as_listed(self, key: ApiKey) -> ApiKey:
        """The key without its tags; of one that did not change since it was listed, the same."""
        known = self._listed.get(key.key_id)
        if known is None or known[0] is not key:
            known = self._listed[key.key_id] = key, replace(key, tags=None)
        return known[1]

    def key(self, key_id: str) -> ApiKey | None:
        return self.living.get(key_id)

    def key_with_value(self, key_id: str) -> tuple[ApiKey, Secret] | None:
        key = self.living.get(key_id)
        return (key, self._values[key_id]) if key else None

    def key_named(self, name: str, value: Secret) -> str | None:
        key = self.living.get(self._ids.get(value, ""))
        return key.key_id if key and key.name == name else None

    def keys_named(self, prefix: str) -> list[ApiKey]:
        return [self._as_listed(key) for key in self.living.values() if key.name.startswith(prefix)]

    def usage_plans(self) -> list[UsagePlan]:
        return list(self.plans.values())

    def rest_apis(self) -> list[RestApi]:
        return [RestApi(api_id, api_id, "HEADER") for api_id in self.apis]

    def stages(self, api_id: str) -> list[Stage]:
        if api_id not in self.apis:
            raise CallFailed("GetStages", "NotFoundException")
        return [
            replace(
                Stage(api_id, name, (f"deployed-{name}",)),
                **self.stage_settings.get(f"{api_id}:{name}", {}),
            )
            for name in self.apis[api_id]
        ]

    def deployed_methods(self, api_id: str, deployment_id: str) -> tuple[Method, ...]:
        return self.apis[api_id][deployment_id.removeprefix("deployed-")]

    def plans_of(self, key_id: str) -> tuple[str, ...]:
        return tuple(sorted(plan for plan, members in self._members.items() if key_id in members))

    def members(self, usage_plan_id: str, prefix: str = "") -> tuple[str, ...]:
        members = self._members.get(usage_plan_id, {})
        if not prefix:
            return tuple(members)
        return tuple(one for one in members if self.living[one].name.startswith(prefix))

    def ask_first_for(self, days: tuple[int, int] | None, /) -> None:
        """Nothing that is asked for is refused here."""

    def answered_range(self) -> tuple[int, int] | None:
        return None

    def usage(self, usage_plan_id: str, start: date, end: date) -> Iterator[UsagePage]:
        if usage_plan_id not in self.plans:
            raise CallFailed("GetUsage", "NotFoundException")
        days = [start + timedelta(days=index) for index in range((end - start).days + 1)]
        used = {
            key_id: [[uses.get(day, 0), 1000] for day in days]
            for (plan_id, key_id), uses in self.requests.items()
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
        if key_id not in self.living:
            return None
        self._change(key_id, self.now, **what)
        return self.now - self.answers_early

    def delete(self, key_id: str) -> None:
        self.living.pop(key_id, None)
        self._listed.pop(key_id, None)
        value = self._values.pop(key_id, None)
        if value is not None and self._ids.get(value) == key_id:
            del self._ids[value]
        for members in self._members.values():
            members.pop(key_id, None)

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
        if value in self._ids:
            raise ValueConflict
        if len(self.living) >= self.key_limit:
            raise CallFailed("CreateApiKey", "LimitExceededException")
        return self._make(
            value, name=name, description=description, customer_id=customer_id, tags=dict(tags)
        )

    def _make(self, value: Secret, **what: Any) -> str:
        """Makes a key that is disabled; gives its id."""
        key_id = self.new_id()
        key = ApiKey(
            key_id=key_id,
            enabled=False,
            created_date=self.now,
            last_updated_date=self.now,
            **what,
        )
        self._put(key, value)
        return key_id

    def import_keys(self, keys: Sequence[NewKey]) -> None:
        if len(self.living) + len({new.value for new in keys} - self._ids.keys()) > self.key_limit:
            raise AccountFull
        if any(self._is_bad(new, self._ids.get(new.value)) for new in keys):
            raise ImportRefused(len(keys), "BadRequestException")
        for new in keys:
            key_id = self._ids.get(new.value) or self._make(new.value, name="", tags={})
            description = new.description or self.living[key_id].description
            self._change(key_id, self.now, name=new.name, description=description, enabled=True)
            for plan_id in new.usage_plan_ids:
                self.attach(plan_id, key_id)

    def _is_bad(self, new: NewKey, key_id: str | None) -> bool:
        """Whether a row of an import is refused; `key_id` is of the key that has its value."""
        return (
            bool(self.spoiled and self.spoiled in new.description)
            or (self.upserts_warn and key_id is not None)
            or not SHORTEST_VALUE <= len(new.value.reveal()) <= LONGEST_VALUE
            or len(new.name) > LONGEST_NAME
            or not set(new.usage_plan_ids) <= set(self.plans)
            or self._opens_a_stage_twice(key_id, new.usage_plan_ids)
        )

    def _opens_a_stage_twice(self, key_id: str | None, joining: Sequence[str]) -> bool:
        """Whether a key would be in two plans for one stage."""
        plans = {*joining, *(self.plans_of(key_id) if key_id else ())}
        stages = [stage for plan_id in plans for stage in self.plans[plan_id].stages]
        return len(set(stages)) < len(stages)

    def create_plan(self, name: str, shape: Shape) -> str:
        if self.known_stages is not None and not shape.stages <= self.known_stages:
            raise CallFailed("CreateUsagePlan", "NotFoundException")
        too_many_methods = len(shape.stages) * len(shape.methods) > METHODS
        if too_many_methods or len(self.plans) >= self.plan_limit:
            raise CallFailed("CreateUsagePlan", "LimitExceededException")
        self._made += 1
        plan_id = f"plan{self._made:06}"
        self.add_plan(UsagePlan.of_shape(plan_id, name, shape))
        return plan_id

    def attach(self, usage_plan_id: str, key_id: str) -> bool:
        if usage_plan_id not in self.plans or key_id not in self.living:
            return False
        if key_id in self._members[usage_plan_id]:
            return True
        if self._opens_a_stage_twice(key_id, [usage_plan_id]):
            raise CallFailed("CreateUsagePlanKey", "ConflictException")
        self.join(key_id, usage_plan_id)
        return True
