"""Projects the nights to come by the real rules, as if nothing else changed. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from keyjanitor.domain.expiry.holding import holds_through
from keyjanitor.domain.expiry.key_use import plan_doubt
from keyjanitor.domain.expiry.reasons import OrphanSoon, WithinIdleLimit
from keyjanitor.domain.expiry.safety_brake import Brake, Compared, compare
from keyjanitor.domain.expiry.sweep_input import SweepInput
from keyjanitor.domain.expiry.sweep_plan import (
    Adopt,
    Disable,
    Enable,
    Park,
    Purge,
    Step,
    SweepPlan,
    Verdict,
    Warn,
    action_of,
)
from keyjanitor.domain.expiry.transitions import disabled, enabled, learnt, parked, warned
from keyjanitor.domain.expiry.verdicts import decide
from keyjanitor.domain.model.keys import DAY, Mode, State, SweepAction
from keyjanitor.domain.model.policy import BoundPolicy
from keyjanitor.domain.model.records import Row
from keyjanitor.domain.usage.evidence import Evidence

NIGHTS = 14
IN_USE = timedelta(days=7)  # who was used this week goes on to be


@dataclass(frozen=True, slots=True)
class NightAhead:
    """Numbers of steps in one night to come, and of keys after it.

    `brake`: the safety brake stops it, unless it is approved.
    """

    date: date
    warn: int
    disable: int
    park: int
    purge: int
    keys: int
    brake: Brake | None = None


def project_nights(
    night: SweepInput,
    bound: BoundPolicy,
    mode: Mode,
    shelf: Sequence[Row],
    compared: Compared | None,
    nights: int = NIGHTS,
) -> tuple[NightAhead, ...]:
    """The next nights, if no key is made or lost, and who uses theirs goes on using it.

    `night` is the account after the last sweep (its `warnings_only` holds for the first
    of the nights to come), `shelf` its parked keys that will be
    purged in that time, `compared` the last night that was swept without the brake. In `observe`, what the nights would do in that mode: nothing.
    """
    account = _Account(night, bound, mode, shelf, compared)
    return tuple(account.live(night.today + DAY * ahead) for ahead in range(1, nights + 1))


def warnings_ahead(night: SweepInput, bound: BoundPolicy) -> dict[str, date]:
    """Date of the warning of each key within its idle limit if it is not used, by key id.

    Keys that would be unknown then are left out.
    """
    found: dict[str, date] = {}
    believed = {
        plan_id
        for plan_id in night.evidence.plans
        if plan_doubt(plan_id, night.evidence, bound) is None
    }
    for verdict in decide(night, bound).verdicts:
        key = verdict.key
        if key.tags is None or key.stage_keys or not believed.issuperset(verdict.usage_plan_ids):
            continue
        match verdict.because:
            case WithinIdleLimit(days=days, idle_limit=idle_limit):
                found[verdict.key.key_id] = night.today + DAY * (idle_limit - days)
            case OrphanSoon(nights=nights, of=of):
                found[verdict.key.key_id] = night.today + DAY * (of - nights)
            case _:
                pass
    return found


class _Account:
    """The account in some night to come.

    A verdict is kept for as long as it holds: a night judges only the keys that a date can reach.
    """

    def __init__(
        self,
        night: SweepInput,
        bound: BoundPolicy,
        mode: Mode,
        shelf: Sequence[Row],
        compared: Compared | None,
    ) -> None:
        self._night = night
        self._bound = bound
        self._mode = mode
        self._compared = compared
        self._keys = {key.key_id: key for key in night.keys}
        self._rows = dict(night.rows)
        self._shelf = {row.key_id: row for row in shelf}
        self._pressure_above = night.pressure_above
        self._used = _in_use(night.evidence, night.today)
        self._held: dict[str, Verdict] = {}
        self._hold_through: dict[date, list[str]] = {}

    def live(self, today: date) -> NightAhead:
        """Lives one night, and tells what it did."""
        night = self._seen_on(today)
        plan = decide(night, self._bound, held=self._held)
        seen = compare(plan, night.evidence, self._bound.policy, night.rows, self._compared)
        self._pressure_above = plan.pressure.above
        for note in plan.notes:
            row = learnt(note, self._rows, today)
            self._rows[row.key_id] = row
        if seen.brake is None:
            self._compared = seen.swept()
        self._hold(plan)
        plan = plan.for_mode(self._mode)
        if seen.brake is not None:
            plan = plan.braked()
        steps = tuple(self._taken(plan, today))
        did = Counter(map(action_of, steps))
        return NightAhead(
            date=today,
            warn=did[SweepAction.WARN],
            disable=did[SweepAction.DISABLE],
            park=did[SweepAction.PARK],
            purge=did[SweepAction.PURGE],
            keys=len(self._keys),
            brake=seen.brake,
        )

    def _hold(self, plan: SweepPlan) -> None:
        """Keeps the verdicts that hold on the next night too, and drops those that no longer do."""
        changed = {
            note.key.key_id if isinstance(note, Adopt) else note.row.key_id
            for note in plan.notes
            if not (isinstance(note, Adopt) and note.issued is None)
        }
        changed.update(step.key.key_id for step in plan.steps if isinstance(step, Enable))
        for verdict in plan.verdicts:
            key_id = verdict.key.key_id
            if key_id in self._held or key_id in changed or self._is_new(verdict):
                continue
            through = holds_through(
                verdict,
                plan.today,
                in_use=key_id in self._used,
                shortened=plan.pressure.above is not None,
            )
            if through > plan.today:
                self._held[key_id] = verdict
                self._hold_through.setdefault(through, []).append(key_id)
        for key_id in self._hold_through.pop(plan.today, ()):
            del self._held[key_id]

    def _is_new(self, verdict: Verdict) -> bool:
        """True if the safety brake compares the key again on the next night: past its limit, and not before."""
        before = self._compared.keys.get(verdict.key.key_id) if self._compared else None
        return verdict.past is not None and (before is None or before.status != "past")

    def _seen_on(self, today: date) -> SweepInput:
        """The night as it would be gathered. The traffic is that of the last reading."""
        used = {**self._night.evidence.last_used, **dict.fromkeys(self._used, today - DAY)}
        return replace(
            self._night,
            today=today,
            keys=tuple(self._keys.values()),
            rows=_living(self._rows),
            shelf=tuple(row for row in self._shelf.values() if _is_due(row, today)),
            evidence=replace(self._night.evidence, last_used=used),
            stepped={},
            warnings_only=self._night.warnings_only if today == self._night.today + DAY else None,
            pressure_above=self._pressure_above,
        )

    def _taken(self, plan: SweepPlan, today: date) -> Iterator[Step]:
        """Takes a night's steps, one after the other."""
        for step in plan.steps:
            if isinstance(step, Purge):
                del self._shelf[step.row.key_id]
            else:
                self._take(step, today)
            yield step

    def _take(self, step: Warn | Disable | Park | Enable, today: date) -> None:
        key_id = step.key.key_id
        row = self._rows[key_id]
        match step:
            case Warn():
                self._rows[key_id] = warned(step, row, today)
            case Disable():
                key = self._keys[key_id] = replace(step.key, enabled=False)
                self._rows[key_id] = disabled(row, today, self._bound, key)
            case Park():
                del self._keys[key_id], self._rows[key_id]
                self._shelf[key_id] = parked(row, today, self._bound)
            case Enable():
                key = self._keys[key_id] = replace(step.key, enabled=True)
                self._rows[key_id] = enabled(row, today, key)


def _in_use(evidence: Evidence, today: date) -> frozenset[str]:
    return frozenset(
        key_id
        for key_id in evidence.used_keys()
        if (used := evidence.last_use(key_id)) and today - used <= IN_USE
    )


def _living(rows: Mapping[str, Row]) -> dict[str, Row]:
    return {key_id: row for key_id, row in rows.items() if row.state is not State.GONE}


def _is_due(row: Row, today: date) -> bool:
    return row.purge_on is not None and row.purge_on <= today
