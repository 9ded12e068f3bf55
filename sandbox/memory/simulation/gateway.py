"""API Gateway in a simulated life: its keys as they are, quick to list by the thousand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from keyjanitor.domain.model.keys import ApiKey, Secret
from keyjanitor.domain.model.usage_plan import Shape, UsagePlan
from keyjanitor.domain.requests.import_file import NewKey
from keyjanitor.errors import AccountFull, CallFailed
from sandbox.memory.simulation.moments import JANITOR, at


class Gateway:
    """API Gateway: keys, usage plans and their members. Who uses which is told elsewhere."""

    def __init__(self, today: date) -> None:
        self.today = today
        self.living: dict[str, ApiKey] = {}
        self.values: dict[str, Secret] = {}  # where it is another than `value of` the id
        self.plans: dict[str, UsagePlan] = {}
        self.members_of: dict[str, list[str]] = {}
        self.disabled: list[str] = []  # every key that was, in turn
        self.deleted: list[str] = []
        self.key_limit = 10_000
        self._made = 0
        self._listed: dict[str, tuple[ApiKey, ApiKey]] = {}  # a key, and how it is listed

    # --- reading ----------------------------------------------------------------------------------

    def keys(self) -> list[ApiKey]:
        listed = []
        for key_id, key in self.living.items():
            known = self._listed.get(key_id)
            if known is None or known[0] is not key:
                known = self._listed[key_id] = key, replace(key, tags=None)
            listed.append(known[1])
        return listed

    def key(self, key_id: str) -> ApiKey | None:
        return self.living.get(key_id)

    def key_with_value(self, key_id: str) -> tuple[ApiKey, Secret] | None:
        key = self.key(key_id)
        value = self.values.get(key_id) or Secret(f"value of {key_id}")
        return (key, value) if key else None

    def key_named(self, name: str, value: Secret) -> str | None:
        for key_id, key in self.living.items():
            found = self.key_with_value(key_id)
            if key.name == name and found is not None and found[1] == value:
                return key_id
        return None

    def keys_named(self, prefix: str) -> list[ApiKey]:
        return [key for key in self.living.values() if key.name.startswith(prefix)]

    def usage_plans(self) -> list[UsagePlan]:
        return list(self.plans.values())

    def plans_of(self, key_id: str) -> tuple[str, ...]:
        return tuple(sorted(plan for plan, ids in self.members_of.items() if key_id in ids))

    def members(self, usage_plan_id: str, prefix: str = "") -> tuple[str, ...]:
        members = self.members_of[usage_plan_id]
        if not prefix:
            return tuple(members)
        named = {key.key_id for key in self.keys_named(prefix)}
        return tuple(key_id for key_id in members if key_id in named)

    # --- changing ---------------------------------------------------------------------------------

    def new_id(self) -> str:
        self._made += 1
        return f"k{self._made:09}"

    def import_keys(self, keys: Sequence[NewKey]) -> None:
        if len(self.living) + len(keys) > self.key_limit:
            raise AccountFull
        for new in keys:
            key_id = self.new_id()
            self._create(key_id, new.value, name=new.name, description=new.description)
            for plan_id in new.usage_plan_ids:
                self.attach(plan_id, key_id)

    def create_disabled(
        self,
        value: Secret,
        *,
        name: str,
        description: str,
        customer_id: str,
        tags: Mapping[str, str],
    ) -> str:
        if len(self.living) >= self.key_limit:
            raise CallFailed("CreateApiKey", "LimitExceededException")
        key_id = self.new_id()
        self._create(
            key_id,
            value,
            name=name,
            description=description,
            customer_id=customer_id,
            tags=dict(tags),
            enabled=False,
        )
        return key_id

    def _create(self, key_id: str, value: Secret, **what: Any) -> None:
        now = at(self.today, JANITOR)
        values = {"enabled": True, "tags": {}, **what}
        self.living[key_id] = ApiKey(
            key_id=key_id, created_date=now, last_updated_date=now, **values
        )
        self.values[key_id] = value

    def create_plan(self, name: str, shape: Shape) -> str:
        plan_id = f"plan{len(self.plans)}"
        self.plans[plan_id] = UsagePlan.of_shape(plan_id, name, shape)
        self.members_of[plan_id] = []
        return plan_id

    def attach(self, usage_plan_id: str, key_id: str) -> bool:
        if usage_plan_id not in self.plans:
            return False
        self.members_of[usage_plan_id].append(key_id)
        return True

    def rename(self, key_id: str, name: str) -> datetime | None:
        return self.change(key_id, hour=JANITOR, name=name)

    def set_enabled(self, key_id: str, *, enabled: bool) -> datetime | None:
        if not enabled:
            self.disabled.append(key_id)
        return self.change(key_id, hour=JANITOR, enabled=enabled)

    def change(self, key_id: str, *, hour: int = 12, **what: Any) -> datetime:
        """Changes a key, and notes when."""
        updated = at(self.today, hour)
        self.living[key_id] = replace(self.living[key_id], last_updated_date=updated, **what)
        return updated

    def delete(self, key_id: str) -> None:
        del self.living[key_id]
        self._listed.pop(key_id, None)
        self.values.pop(key_id, None)
        for members in self.members_of.values():
            if key_id in members:
                members.remove(key_id)
        self.deleted.append(key_id)
