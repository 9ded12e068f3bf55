"""A night's plan: actions that carry their reason, within the allowance, that refuses itself. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from hashlib import sha256
from typing import Any, Literal, TypeVar

from keyjanitor.errors import KeyjanitorError
from keyjanitor.policy import Pressure, Tier
from keyjanitor.reasons import AwaitsAllowance, Due, Ends, Reason
from keyjanitor.words import ApiKey, Mode, Row, State, Verb

VerdictWord = Literal["keep", "unknown", "protected", "warn", "disable", "park"]
VERDICT_WORDS: tuple[VerdictWord, ...] = (
    "keep",
    "unknown",
    "protected",
    "warn",
    "disable",
    "park",
)


@dataclass(frozen=True, slots=True)
class Warn:
    """Announce the next step: disabling, or for a key that we disabled already, parking."""

    key: ApiKey
    row: Row | None
    tier: Tier
    because: Due
    days: int
    next_step_on: date
    witnessed: bool
    usage_plan_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Disable:
    """Disable the key; it keeps its id, value and plans, and will be parked on `park_on`."""

    key: ApiKey
    row: Row
    tier: Tier
    because: Due
    days: int
    park_on: date
    usage_plan_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Park:
    """Delete the key, having sealed a tombstone from which it can come back until `purge_on`."""

    key: ApiKey
    row: Row
    tier: Tier
    because: Due
    days: int
    purge_on: date
    usage_plan_ids: tuple[str, ...] = ()
    last_used: date | None = None


@dataclass(frozen=True, slots=True)
class Purge:
    """Destroy the tombstone of a key that was parked for as long as its tier retains it."""

    row: Row


Step = Warn | Disable | Park | Purge
S = TypeVar("S", Warn | Disable | Park, Purge)


@dataclass(frozen=True, slots=True)
class Adopt:
    """Write down a key that the ledger does not know."""

    key: ApiKey
    tier: str
    usage_plan_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Clear:
    """The key showed life: take its announced dates back."""

    row: Row
    state: State


@dataclass(frozen=True, slots=True)
class Correct:
    """Bring a row up to date with the tier, and with the listing that the key is in again."""

    row: Row
    tier: str


@dataclass(frozen=True, slots=True)
class Missing:
    """API Gateway does not list the key: somebody deleted it."""

    row: Row


@dataclass(frozen=True, slots=True)
class Forget:
    """It has been missing for long enough to close its row."""

    row: Row


Note = Adopt | Clear | Correct | Missing | Forget

_VERB: dict[type, Verb] = {
    Warn: Verb.WARN,
    Disable: Verb.DISABLE,
    Park: Verb.PARK,
    Purge: Verb.PURGE,
}
BRAKED = (Verb.DISABLE, Verb.PARK, Verb.PURGE)


def verb_of(step: Step) -> Verb:
    """The word for a step in `applied`, in the digest and in the allowance."""
    return _VERB[type(step)]


def key_id_of(step: Step) -> str:
    """Whose step it is."""
    return step.row.key_id if isinstance(step, Purge) else step.key.key_id


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to become of one key tonight, and why."""

    key: ApiKey
    row: Row | None
    tier: Tier
    word: VerdictWord
    because: Reason
    usage_plan_ids: tuple[str, ...] = ()
    idle_since: date | None = None
    last_used: date | None = None
    step: Warn | Disable | Park | None = None


@dataclass(frozen=True, slots=True)
class Brake:
    """More was due than twice the allowance; `planned` keys against `allowed`."""

    action: Verb
    planned: int
    allowed: int


class PlanTooBig(KeyjanitorError):
    """More is due than twice what one night is allowed: the plan refuses itself."""

    def __init__(self, brake: Brake) -> None:
        super().__init__(
            f"{brake.planned} keys are due to {brake.action}, {brake.allowed} a night are allowed: "
            "something may be wrong, so only warnings were applied"
        )
        self.brake = brake


@dataclass(frozen=True, slots=True)
class Plan:
    """One night's plan.

    `steps` are those within the allowance, in the order in which they are carried out: warnings
    first, and of each kind the longest idle first. `due` are all, those that wait included.
    """

    today: date
    verdicts: tuple[Verdict, ...]
    notes: tuple[Note, ...]
    steps: tuple[Step, ...]
    due: frozenset[tuple[str, str]]
    stepped: Mapping[Verb, int]
    allowance: int
    pressure: Pressure

    @property
    def counts(self) -> dict[str, int]:
        """How many keys got which verdict: every key once, whatever the mode."""
        counted = Counter(verdict.word for verdict in self.verdicts)
        return {word: counted[word] for word in VERDICT_WORDS}

    @property
    def digest(self) -> str:
        """The fingerprint of what is due: of the sorted pairs of action and key id."""
        return digest_of(self.due)

    def for_mode(self, mode: Mode) -> "Plan":
        """The part of the plan that a mode carries out; `observe` carries out nothing."""
        verbs: tuple[Verb, ...] = {
            Mode.OBSERVE: (),
            Mode.DISABLE: (Verb.WARN, Verb.DISABLE),
            Mode.PARK: (Verb.WARN, *BRAKED),
        }[mode]
        return replace(
            self,
            steps=tuple(step for step in self.steps if verb_of(step) in verbs),
            due=frozenset(pair for pair in self.due if pair[0] in verbs),
        )

    def brake(self) -> Brake | None:
        """The worst kind of step of which more than twice the allowance is due on this date."""
        due = Counter(action for action, _ in self.due)
        planned = {verb: due[verb] + self.stepped.get(verb, 0) for verb in BRAKED}
        worst = max(BRAKED, key=lambda verb: planned[verb])
        if planned[worst] <= 2 * self.allowance:
            return None
        return Brake(worst, planned[worst], self.allowance)

    def check(self) -> None:
        """Raises PlanTooBig if more is due than twice the allowance: something is wrong then."""
        if brake := self.brake():
            raise PlanTooBig(brake)

    def only(self, approved: frozenset[tuple[str, str]] = frozenset()) -> "Plan":
        """The warnings, and of everything else only what was approved."""
        return replace(
            self,
            steps=tuple(
                step
                for step in self.steps
                if isinstance(step, Warn) or (verb_of(step), key_id_of(step)) in approved
            ),
        )


def digest_of(pairs: Iterable[tuple[str, str]]) -> str:
    """Sixteen hexadecimal digits over the sorted pairs: short enough to be typed by a person."""
    lines = "\n".join(f"{action} {key_id}" for action, key_id in sorted(pairs))
    return sha256(lines.encode()).hexdigest()[:16]


def plan_night(
    *,
    today: date,
    verdicts: Sequence[Verdict],
    notes: Sequence[Note],
    purges: Sequence[Purge],
    allowance: int,
    stepped: Mapping[Verb, int],
    pressure: Pressure,
) -> Plan:
    """Cuts what is due down to the allowance; who has to wait is kept tonight, and told so.

    `stepped` counts what was done on this date already. The longest idle go first, then by key id;
    before them those whose end was agreed.
    """
    warns = [verdict.step for verdict in verdicts if isinstance(verdict.step, Warn)]
    disables = [verdict.step for verdict in verdicts if isinstance(verdict.step, Disable)]
    parks = [verdict.step for verdict in verdicts if isinstance(verdict.step, Park)]
    taken: tuple[Step, ...] = (
        *_first(warns, _longest_idle, allowance - stepped.get(Verb.WARN, 0)),
        *_first(disables, _longest_idle, allowance - stepped.get(Verb.DISABLE, 0)),
        *_first(parks, _longest_idle, allowance - stepped.get(Verb.PARK, 0)),
        *_first(purges, _first_due, allowance - stepped.get(Verb.PURGE, 0)),
    )
    go = {key_id_of(step) for step in taken if not isinstance(step, Purge)}
    due: list[Step] = [*warns, *disables, *parks, *purges]
    return Plan(
        today=today,
        verdicts=tuple(
            verdict
            if verdict.step is None or verdict.key.key_id in go
            else replace(
                verdict, word="keep", because=AwaitsAllowance(verdict.step.because), step=None
            )
            for verdict in verdicts
        ),
        notes=tuple(notes),
        steps=taken,
        due=frozenset((verb_of(step), key_id_of(step)) for step in due),
        stepped=stepped,
        allowance=allowance,
        pressure=pressure,
    )


def _longest_idle(step: Warn | Disable | Park) -> tuple[bool, int, str]:
    return (not isinstance(step.because, Ends), -step.days, step.key.key_id)


def _first_due(step: Purge) -> tuple[date, str]:
    return (step.row.purge_on or date.min, step.row.key_id)


def _first(steps: Sequence[S], order: Callable[[S], Any], count: int) -> list[S]:
    return sorted(steps, key=order)[: max(0, count)]
