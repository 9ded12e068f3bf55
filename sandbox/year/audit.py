"""Holds what a simulated year did to keys against what was used and what was told; trusts no verdict."""

from collections.abc import Sequence
from datetime import date
from typing import Any, Protocol

from keyjanitor.domain.expiry.sweep_plan import SweepPlan
from keyjanitor.domain.model.keys import Secret
from keyjanitor.domain.model.policy import Policy, Tier
from keyjanitor.domain.model.records import Row
from sandbox.memory.simulation.gateway import Gateway
from sandbox.memory.simulation.ledger import Memory
from sandbox.memory.simulation.told import Told

NOTICE = {"disabled": ("Key Expiring", "disable_on"), "parked": ("Key Disabled", "park_on")}
TELLS = {"disabled": "Key Disabled", "parked": "Key Parked"}


class Uses(Protocol):
    """Who used what."""

    def last_used(self, key_id: str) -> date | None: ...


class Audited(Protocol):
    """What the auditor looks at of a year: the account, the rules in force and what was told."""

    @property
    def today(self) -> date: ...
    @property
    def policy(self) -> Policy: ...
    @property
    def meter(self) -> Uses: ...
    @property
    def gateway(self) -> Gateway: ...
    @property
    def ledger(self) -> Memory: ...
    @property
    def told(self) -> Told: ...


class Auditor:
    """Looks at the account after every night; `wrong` are plain sentences."""

    def __init__(self, year: Audited) -> None:
        self._year = year
        self.wrong: list[str] = []
        self._seen = {"disabled": 0, "parked": 0, "told": 0}
        self._announced: dict[tuple[str, str], tuple[date, Any]] = {}

    def audit(self, plan: SweepPlan) -> None:
        """Looks at all that a night did to keys; `plan` says which idle limits were in force."""
        gateway = self._year.gateway
        touched = {
            "disabled": self._new("disabled", gateway.disabled),
            "parked": self._new("parked", gateway.deleted),
        }
        for step, key_ids in touched.items():
            for key_id in key_ids:
                self._must_be_idle(key_id, plan.pressure.idle_factor)
                self._must_be_announced(key_id, step)
        told = self._hear()
        self.wrong += [
            f"{self._year.today}: nobody was told that key {key_id} was {step}"
            for step, key_ids in touched.items()
            for key_id in key_ids
            if (TELLS[step], key_id) not in told
        ]

    def audit_return(self, key_id: str, value: Secret) -> None:
        """Looks at a key that its owner has back, and whose value he still has."""
        found = self._year.gateway.key_with_value(key_id)
        if found is None or not found[0].enabled or found[1] != value:
            self.wrong.append(f"{self._year.today}: key {key_id} did not come back as it was")

    def _new(self, name: str, seen: Sequence[Any]) -> Sequence[Any]:
        new = seen[self._seen[name] :]
        self._seen[name] = len(seen)
        return new

    def _must_be_idle(self, key_id: str, factor: float) -> None:
        year = self._year
        row = year.ledger.find(key_id)
        previous = row.previous_key_ids if row else ()
        idle_limit = self._tier(row).idle_limit(never_used=False, factor=factor)
        for one in (key_id, *previous):
            used = year.meter.last_used(one)
            if used is not None and (idle_limit is None or (year.today - used).days < idle_limit):
                self.wrong.append(f"{year.today}: key {key_id} was shut, and was used on {used}")

    def _must_be_announced(self, key_id: str, step: str) -> None:
        today = self._year.today
        tier = self._tier(self._year.ledger.find(key_id))
        days = tier.warn_days if step == "disabled" else tier.grace_days
        detail_type, name = NOTICE[step]
        told_on, detail = self._announced.get((detail_type, key_id), (today, {}))
        if (today - told_on).days < days or detail[name] > str(today):
            self.wrong.append(f"{today}: key {key_id} was {step} without {days} days of notice")

    def _tier(self, row: Row | None) -> Tier:
        policy = self._year.policy
        return policy.tiers[row.tier] if row else policy.unclaimed

    def _hear(self) -> set[tuple[str, str]]:
        """Takes in what was told since the last night."""
        told = set()
        for one in self._new("told", self._year.told.events):
            key_id = str(one.detail["key_id"])
            told.add((one.detail_type, key_id))
            self._announced[one.detail_type, key_id] = self._year.today, one.detail
            if one.detail_type in ("Key Restored", "Key Renewed"):
                for detail_type, _ in NOTICE.values():
                    self._announced.pop((detail_type, key_id), None)
        return told
