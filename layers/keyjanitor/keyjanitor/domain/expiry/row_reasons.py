"""Reasons in a key's row after a change that is no verdict, such as a restore or a renewal. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from keyjanitor.domain.expiry.explained import Explained


@dataclass(frozen=True, slots=True)
class EnabledAgain(Explained):
    """An operator undid the sweep that disabled the key, or its use showed before it was disabled."""

    code: ClassVar[str] = "enabled_again"

    def __str__(self) -> str:
        return "enabled again"


@dataclass(frozen=True, slots=True)
class Renewed(Explained):
    """A request started its idle clock again."""

    code: ClassVar[str] = "renewed"

    def __str__(self) -> str:
        return "renewed"


@dataclass(frozen=True, slots=True)
class Restored(Explained):
    """Back from its tombstone as it was parked."""

    code: ClassVar[str] = "restored"

    def __str__(self) -> str:
        return "restored"


@dataclass(frozen=True, slots=True)
class RestoredWithout(Explained):
    """Back from its tombstone as less than it was.

    `usage_plans` are those that did not take it, by id, each with why; `in_no_plan`: it is in none
    now. `called` is its new name if API Gateway refused the empty one that it had.
    """

    code: ClassVar[str] = "restored_without"
    usage_plans: Mapping[str, str] = field(default_factory=dict, hash=False)
    in_no_plan: bool = False
    called: str | None = None

    def facts(self) -> dict[str, Any]:
        """The plans as a list, sorted by id."""
        plans = [
            {"usage_plan_id": one, "why": why} for one, why in sorted(self.usage_plans.items())
        ]
        return {"usage_plans": plans, "in_no_plan": self.in_no_plan, "called": self.called}

    def __str__(self) -> str:
        told = []
        if self.usage_plans:
            plans = ", ".join(f"{one} ({why})" for one, why in sorted(self.usage_plans.items()))
            told.append(f"its usage plans {plans}")
        if self.in_no_plan:
            told.append("any usage plan, so it opens nothing until it is put into one")
        if self.called is not None:
            told.append(f"its empty name, which API Gateway refuses: it is called {self.called!r}")
        return f"restored without {'; without '.join(told)}"
