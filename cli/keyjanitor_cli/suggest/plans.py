"""What the reading of an account shows of each usage plan: its keys, and after which silence they came back. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from keyjanitor.domain.expiry import reasons
from keyjanitor.domain.expiry.key_use import plan_doubt
from keyjanitor.domain.model.keys import ApiKey
from keyjanitor.domain.model.policy import BoundPolicy
from keyjanitor.domain.usage.evidence import Evidence, UsagePlanReading
from keyjanitor_cli.suggest.habits import Habit

MONTHLY = 25  # days: a client that calls once a month is silent for longer
NO_KEYS = "it has no keys"
SILENT = "no request was seen in it, so its silence proves nothing"


@dataclass(frozen=True, slots=True)
class Longest:
    """The most days that a key of a plan took, and which key it was."""

    days: int
    key_id: str


@dataclass(frozen=True, slots=True)
class PlanUse:
    """A usage plan with its keys; `doubt` says why no idle limit can be told from their use.

    `used` are the ids of those that were used in the days of the reading, `monthly` of those that came
    back after a silence of MONTHLY days or longer, `gap` is the longest silence before a use, `first_use` the longest time from a key's creation to its first use.
    """

    reading: UsagePlanReading
    keys: tuple[ApiKey, ...]
    used: tuple[str, ...]
    monthly: tuple[str, ...]
    gap: Longest | None
    first_use: Longest | None
    doubt: str | None

    @property
    def plan_id(self) -> str:
        """The id of the usage plan."""
        return self.reading.usage_plan_id


def plan_uses(
    keys: Iterable[ApiKey],
    evidence: Evidence,
    habits: Mapping[str, Habit],
    bound: BoundPolicy,
) -> tuple[PlanUse, ...]:
    """Every usage plan, the one with the most keys first; `bound` says whose silence is believed."""
    listed = {key.key_id: key for key in keys}
    found = []
    for reading in evidence.plans.values():
        members = tuple(listed[key_id] for key_id in reading.members if key_id in listed)
        of_members = {key.key_id: habits[key.key_id] for key in members if key.key_id in habits}
        plan = PlanUse(
            reading=reading,
            keys=members,
            used=tuple(of_members),
            monthly=tuple(k for k, one in of_members.items() if (one.gap or 0) >= MONTHLY),
            gap=longest({key_id: one.gap for key_id, one in of_members.items()}),
            first_use=longest({key_id: one.first_use_after for key_id, one in of_members.items()}),
            doubt=_doubt(reading, evidence, bound) if members else NO_KEYS,
        )
        found.append(plan)
    return tuple(sorted(found, key=lambda plan: (-len(plan.keys), plan.plan_id)))


def _doubt(reading: UsagePlanReading, evidence: Evidence, bound: BoundPolicy) -> str | None:
    if reading.unread is not None:
        return f"it could not be read: {reading.unread}"
    match plan_doubt(reading.usage_plan_id, evidence, bound):
        case reasons.OpensNoStage():
            return "it opens no stage, so no use of its keys can show"
        case reasons.Unwitnessed():
            return SILENT
        case None:
            return None


def longest(days: Mapping[str, int | None]) -> Longest | None:
    """The most of some numbers of days, by key id; None: there is none."""
    told = [(number, key_id) for key_id, number in days.items() if number is not None]
    return Longest(*max(told)) if told else None
