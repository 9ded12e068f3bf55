"""A night's plan: actions that carry their reason, within the allowance. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from hashlib import sha256
from typing import Literal, assert_never

from keyjanitor.domain.expiry.reasons import (
    AwaitsAllowance,
    Due,
    Ends,
    Idle,
    NotTonight,
    Orphan,
    Reason,
)
from keyjanitor.domain.model.keys import ApiKey, Mode, State, SweepAction
from keyjanitor.domain.model.policy import Pressure, Tier
from keyjanitor.domain.model.records import Row

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


@dataclass(frozen=True, slots=True)
class Enable:
    """Give a key back that was used after its warning, in the hours before we disabled it."""

    key: ApiKey
    row: Row
    last_used: date


DueStep = Warn | Disable | Park | Purge
Step = DueStep | Enable


@dataclass(frozen=True, slots=True)
class Adopt:
    """Write down a key that the ledger does not know.

    `issued` is the row of one that was made for a request, which has not been answered yet; `owner` who
    a rule of the policy says that another belongs to (None: no rule does).
    """

    key: ApiKey
    tier: str
    usage_plan_ids: tuple[str, ...]
    issued: Row | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Clear:
    """The key was used or changed: clear its announced dates."""

    row: Row
    state: State


@dataclass(frozen=True, slots=True)
class Correct:
    """Bring a row up to date with the tier, and with the listing that the key is in again."""

    row: Row
    tier: str


@dataclass(frozen=True, slots=True)
class Belongs:
    """A rule of the policy says who the key belongs to, and no request did."""

    row: Row
    owner: str


@dataclass(frozen=True, slots=True)
class Missing:
    """API Gateway does not list the key: others deleted it."""

    row: Row


@dataclass(frozen=True, slots=True)
class Forget:
    """The key has been missing for long enough to close its row."""

    row: Row


Note = Adopt | Clear | Correct | Belongs | Missing | Forget

_ACTION: dict[type, SweepAction] = {
    Warn: SweepAction.WARN,
    Disable: SweepAction.DISABLE,
    Park: SweepAction.PARK,
    Purge: SweepAction.PURGE,
    Enable: SweepAction.ENABLE,
}
BRAKED = (SweepAction.DISABLE, SweepAction.PARK, SweepAction.PURGE)
# As they are told, what takes away most first.
KINDS = (SweepAction.PARK, SweepAction.PURGE, SweepAction.DISABLE, SweepAction.WARN)
BRAKE_IS_ON = "the safety brake is on"
APPROVED_ONLY = "only the plan that was approved is carried out on this date"


def action_of(step: Step) -> SweepAction:
    """The word for a step in `applied`, in the digest and in the allowance."""
    return _ACTION[type(step)]


def key_id_of(step: Step) -> str:
    """Id of the step's key."""
    return step.row.key_id if isinstance(step, Purge) else step.key.key_id


@dataclass(frozen=True, slots=True)
class Verdict:
    """Verdict on one key tonight, with its reason."""

    key: ApiKey
    row: Row | None
    tier: Tier
    word: VerdictWord
    because: Reason
    usage_plan_ids: tuple[str, ...] = ()
    idle_since: date | None = None
    last_used: date | None = None
    step: Warn | Disable | Park | None = None
    past: Idle | Orphan | None = None  # tonight's idle limit, whether or not a step is due


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """One night's plan.

    `steps` are those within the allowance, in the order in which they are carried out: what is given
    back and warnings first, and of each kind the longest idle first. `due` are all in the same
    order, those that wait for a later night's allowance included.
    """

    today: date
    verdicts: tuple[Verdict, ...]
    notes: tuple[Note, ...]
    steps: tuple[Step, ...]
    due: tuple[DueStep, ...]
    stepped: Mapping[SweepAction, int]
    allowance: int
    pressure: Pressure

    @property
    def counts(self) -> dict[str, int]:
        """Number of keys by verdict: every key once, whatever the mode."""
        counted = Counter(verdict.word for verdict in self.verdicts)
        return {word: counted[word] for word in VERDICT_WORDS}

    @property
    def digest(self) -> str:
        """The fingerprint of what is due: of the sorted pairs of action and key id."""
        return digest_of(self.pairs)

    @property
    def pairs(self) -> frozenset[tuple[str, str]]:
        """Due steps as pairs of action and key id."""
        return frozenset((action_of(step), key_id_of(step)) for step in self.due)

    @property
    def found_owners(self) -> dict[str, str]:
        """Owners that the policy's rules found tonight, and that the ledger does not have, by key id."""
        found = {one.row.key_id: one.owner for one in self.notes if isinstance(one, Belongs)}
        adopted = (one for one in self.notes if isinstance(one, Adopt))
        return found | {one.key.key_id: one.owner for one in adopted if one.owner is not None}

    def for_mode(self, mode: Mode) -> "SweepPlan":
        """The part of the plan that a mode carries out; `observe` carries out nothing."""
        actions: tuple[SweepAction, ...] = {
            Mode.OBSERVE: (),
            Mode.DISABLE: (SweepAction.ENABLE, SweepAction.WARN, SweepAction.DISABLE),
            Mode.PARK: (SweepAction.ENABLE, SweepAction.WARN, *BRAKED),
        }[mode]
        return replace(
            self,
            steps=tuple(step for step in self.steps if action_of(step) in actions),
            due=tuple(step for step in self.due if action_of(step) in actions),
        )

    @property
    def kinds(self) -> dict[SweepAction, int]:
        """Number of due keys by kind of step: every kind, deletions first."""
        return count_kinds(self.pairs)

    @property
    def waiting(self) -> int:
        """Number of due steps that the allowance leaves for a later night."""
        return len(self.due) - sum(not isinstance(step, Enable) for step in self.steps)

    @property
    def tags_are_listed(self) -> bool:
        """False where the list of tags names no key of the account.

        No key may have a tag then, or the tagging API lists no API keys in this Region (believed: AF-411):
        which key a tag protects is known only once its own tags are read.
        """
        return any(verdict.key.tags for verdict in self.verdicts)

    def braked(self) -> "SweepPlan":
        """The plan while the safety brake is on: only keys that are given back."""
        kept = tuple(step for step in self.steps if isinstance(step, Enable))
        return self.going(kept, because=BRAKE_IS_ON)

    def approved(self, pairs: frozenset[tuple[str, str]]) -> "SweepPlan":
        """All that is due and was approved, whatever the allowance says; and what is given back.

        Who approves a plan has seen these very keys; that is why it takes a digest.
        """
        given_back = tuple(step for step in self.steps if isinstance(step, Enable))
        go = tuple(step for step in self.due if (action_of(step), key_id_of(step)) in pairs)
        return self.going((*given_back, *go), because=APPROVED_ONLY)

    def going(self, steps: tuple[Step, ...], because: str | None = None) -> "SweepPlan":
        """The plan with other steps, and verdicts that say so: who has to wait is kept tonight.

        It waits for a later night's allowance, or `because` of something else.
        """
        go = {key_id_of(step) for step in steps if not isinstance(step, Purge)}
        due: dict[str, Warn | Disable | Park] = {
            step.key.key_id: step for step in self.due if isinstance(step, Warn | Disable | Park)
        }

        def told(verdict: Verdict) -> Verdict:
            step = due.get(verdict.key.key_id)
            if step is None:
                return verdict
            if verdict.key.key_id in go:
                return replace(verdict, word=word_of(step), because=step.because, step=step)
            waits = AwaitsAllowance(step.because)
            why = waits if because is None else NotTonight(because, step.because)
            return replace(verdict, word="keep", because=why, step=None)

        return replace(self, steps=steps, verdicts=tuple(map(told, self.verdicts)))


def word_of(step: Warn | Disable | Park) -> VerdictWord:
    """Verdict of a step."""
    match step:
        case Warn():
            return "warn"
        case Disable():
            return "disable"
        case Park():
            return "park"
        case _:
            assert_never(step)


def keys_of_date(
    verdicts: Sequence[Verdict], stepped: Mapping[SweepAction, int], today: date
) -> int:
    """Number of the account's keys with those that were parked on the date; one that is back counts once."""
    back = sum(
        one.row is not None and one.row.restored_on == one.row.was_parked_on == today
        for one in verdicts
    )
    return len(verdicts) + stepped.get(SweepAction.PARK, 0) - back


def count_kinds(pairs: Iterable[tuple[str, str]]) -> dict[SweepAction, int]:
    """Number of pairs of action and key id by kind of step: every kind, deletions first."""
    counted = Counter(action for action, _ in pairs)
    return {action: counted[action] for action in KINDS}


def digest_of(pairs: Iterable[tuple[str, str]]) -> str:
    """Sixteen hexadecimal digits over the sorted pairs: short enough to be typed by a person."""
    lines = "\n".join(f"{action} {key_id}" for action, key_id in sorted(pairs))
    return sha256(lines.encode()).hexdigest()[:16]


def within_allowance(
    *,
    today: date,
    verdicts: Sequence[Verdict],
    notes: Sequence[Note],
    purges: Sequence[Purge],
    enables: Sequence[Enable] = (),
    allowance: int,
    stepped: Mapping[SweepAction, int],
    pressure: Pressure,
) -> SweepPlan:
    """Cuts what is due down to the allowance; who has to wait is kept tonight, and told so.

    `stepped` counts what was done on this date already. The longest idle go first, then by key id;
    before them those whose end was agreed, and after all others those whose last step failed.
    """
    warns, disables, parks = (
        sorted((v.step for v in verdicts if isinstance(v.step, kind)), key=_longest_idle)
        for kind in (Warn, Disable, Park)
    )
    by_date = sorted(purges, key=_first_due)
    kinds: tuple[tuple[SweepAction, Sequence[DueStep]], ...] = (
        (SweepAction.WARN, warns),
        (SweepAction.DISABLE, disables),
        (SweepAction.PARK, parks),
        (SweepAction.PURGE, by_date),
    )
    whole = SweepPlan(
        today=today,
        verdicts=tuple(verdicts),
        notes=tuple(notes),
        steps=(),
        due=tuple(step for _, steps in kinds for step in steps),
        stepped=stepped,
        allowance=allowance,
        pressure=pressure,
    )
    within = (
        step
        for action, steps in kinds
        for step in steps[: max(0, allowance - stepped.get(action, 0))]
    )
    return whole.going((*sorted(enables, key=key_id_of), *within))


def _longest_idle(step: Warn | Disable | Park) -> tuple[bool, bool, int, str]:
    return (
        _has_failed(step.row),
        not isinstance(step.because, Ends),
        -step.days,
        step.key.key_id,
    )


def _first_due(step: Purge) -> tuple[bool, date, str]:
    return (_has_failed(step.row), step.row.purge_on or date.min, step.row.key_id)


def _has_failed(row: Row | None) -> bool:
    """True if the key's last step failed: it goes last, so that it delays no other key."""
    return row is not None and row.failed_on is not None
