"""Replays the nights of a record under another policy, by the real rules. Pure.

If the record shows use or a change of a key after the replay disabled or parked it, the key came back:
its owner asked for it, and has it again.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from keyjanitor.domain.expiry.reasons import AwaitsAllowance
from keyjanitor.domain.expiry.safety_brake import Brake, Compared, compare
from keyjanitor.domain.expiry.sweep_input import SweepInput
from keyjanitor.domain.expiry.sweep_plan import (
    Disable,
    Enable,
    Park,
    Purge,
    Step,
    SweepPlan,
    Warn,
    action_of,
)
from keyjanitor.domain.expiry.transitions import (
    REGRETTED_WITHIN,
    disabled,
    enabled,
    learnt,
    parked,
    warned,
)
from keyjanitor.domain.expiry.verdicts import decide
from keyjanitor.domain.model.keys import DAY, ApiKey, State, SweepAction
from keyjanitor.domain.model.policy import BoundPolicy, Policy
from keyjanitor.domain.model.records import Row
from keyjanitor.domain.usage.evidence import Evidence
from keyjanitor_cli.whatif.record import Facts, RecordedKey, RecordedNight

JANITOR = time(3, tzinfo=UTC)  # when keyjanitor changes keys; all other changes are at noon
FIRST_NIGHT = "it is the first night, or the first after two without a sweep"
READ_THROUGH = timedelta(days=2)  # a reading is whole through the day before yesterday


@dataclass(slots=True)
class Shut:
    """A key that the replay disabled, and may have parked later, until it came back."""

    key_id: str
    on: date
    usage_plan_ids: tuple[str, ...]
    parked_on: date | None = None
    back_on: date | None = None  # when the record shows that it was used, renewed or changed
    hidden_on: date | None = (
        None  # since when the stack itself had disabled or parked it: no use can show
    )

    @property
    def regretted(self) -> bool:
        """True if it came back within a month."""
        return self.back_on is not None and self.back_on - self.on <= REGRETTED_WITHIN


@dataclass(frozen=True, slots=True)
class Count:
    """Number of keys on a night: in the record, and in the replay."""

    day: date
    recorded: int
    replayed: int


class Replay:
    """Replay of the account under one policy.

    `acts_from` is the first night on which no key is left that was past its idle limit on the first
    night; counts before it show the backlog, not the policy. None: that night has not come.
    """

    def __init__(self, policy: Policy, plan_names: Mapping[str, str]) -> None:
        self.counts: list[Count] = []
        self.did: Counter[SweepAction] = Counter()
        self.shut: list[Shut] = []
        self.braked: list[
            tuple[date, Brake]
        ] = []  # nights on which the brake tripped; the replay approves their plans
        self._compared: Compared | None = None
        self.unread = 0  # nights without evidence: no key is touched
        self.acts_from: date | None = None
        self.problems: dict[
            str, None
        ] = {}  # plans that the policy names and the account has not, in order
        self._policy = policy
        self._plan_names = plan_names
        self._rows: dict[str, Row] = {}
        self._shelf: dict[str, Row] = {}
        self._facts: dict[str, Facts] = {}
        self._open: dict[str, Shut] = {}
        self._hidden: set[str] = set()  # keys that the stack itself has disabled or parked
        self._read_until: dict[str, date] = {}
        self._swept: date | None = None
        self._pressure_above: float | None = None
        self._backlog: set[str] = set()
        self._backlog_grows = True

    def live(self, night: RecordedNight) -> None:
        """Replays one night."""
        if night.evidence is not None:
            self._see_returns(night, night.evidence)
        keys = list(self._keys(night))
        self.counts.append(Count(night.day, night.listed, len(keys)))
        if night.evidence is None:
            self.unread += 1
            return
        bound = self._policy.bind(self._names(night.evidence))
        self.problems.update(dict.fromkeys(map(str, bound.problems)))
        plan = decide(self._night(night, night.evidence, keys), bound)
        self._note(plan)
        comparison = compare(plan, night.evidence, self._policy, self._rows, self._compared)
        if brake := comparison.brake:
            self.braked.append((night.day, brake))
            plan = plan.approved(plan.pairs)  # as if an operator had approved it
            comparison = comparison.accepting({one.key_id for one in comparison.found})
        self._compared = comparison.swept()
        for step in plan.steps:
            self.did[action_of(step)] += 1
            self._take(step, night.day, bound)
        self._swept, self._pressure_above = night.day, plan.pressure.above
        self._look_at_the_backlog(plan)

    def watched(self, shut: Shut) -> int:
        """Number of days after it was disabled on which the record would show its use.

        No use shows while a plan is unread, or after the stack itself disabled the key.
        """
        until = [self._read_until.get(plan_id, date.min) for plan_id in shut.usage_plan_ids]
        if shut.hidden_on is not None:
            until.append(shut.hidden_on)
        return max(0, (min(until, default=self.counts[-1].day) - shut.on).days)

    # --- a night ----------------------------------------------------------------------------------

    def _see_returns(self, night: RecordedNight, evidence: Evidence) -> None:
        """Gives back the keys that were used, renewed or changed after they were disabled."""
        for plan_id, plan in evidence.plans.items():
            if plan.unread is None and plan.members_read:
                self._read_until[plan_id] = evidence.day - READ_THROUGH
        for key_id, shut in list(self._open.items()):
            recorded = night.keys.get(key_id)
            row = self._shelf.get(key_id) or self._rows.get(key_id)
            if recorded is None or row is None:
                continue
            used = evidence.last_use(key_id) or date.min
            sign = max(used, recorded.key.last_updated_date.date())
            if sign >= shut.on:
                shut.back_on = sign
                del self._open[key_id]
                self._shelf.pop(key_id, None)
                back = enabled(row, night.day, _changed(recorded.key, night.day, on=True))
                self._rows[key_id] = replace(back, parked_on=None, purge_on=None)

    def _keys(self, night: RecordedNight) -> Iterator[ApiKey]:
        """The account's keys of tonight in the replay."""
        self._hidden = {key_id for key_id, recorded in night.keys.items() if recorded.shut}
        for key_id in self._hidden & self._open.keys():
            shut = self._open[key_id]
            shut.hidden_on = shut.hidden_on or night.day
        for key_id, recorded in night.keys.items():
            if key_id in self._shelf:
                continue
            row = self._learn(recorded, night.day)
            key = recorded.key
            if row is not None and row.state is State.DISABLED and row.our_update is not None:
                updated = max(key.last_updated_date, row.our_update)
                key = replace(key, enabled=False, last_updated_date=updated)
            yield key

    def _learn(self, recorded: RecordedKey, today: date) -> Row | None:
        """The key's row in the replay, with the facts that the record's ledger had."""
        key, facts = recorded.key, recorded.facts
        row = self._rows.get(key.key_id)
        if self._facts.get(key.key_id, _NO_FACTS) == facts:
            return row
        self._facts[key.key_id] = facts
        if row is None:
            row = Row(key.key_id, State.ACTIVE, recorded.tier, name=key.name, adopted_on=today)
        # A key that was issued stays in the tier that it was issued in.
        self._rows[key.key_id] = row = replace(
            row,
            owner=facts.owner,
            issued=facts.issued,
            owned_by=facts.owned_by,
            protected_until=facts.protected_until,
            expires_on=facts.expires_on,
        )
        return row

    def _night(self, night: RecordedNight, evidence: Evidence, keys: list[ApiKey]) -> SweepInput:
        swept = self._swept is not None and night.day - self._swept <= 2 * DAY
        return SweepInput(
            today=night.day,
            keys=keys,
            rows=self._rows,
            shelf=tuple(self._shelf.values()),
            evidence=evidence,
            stepped={},
            warnings_only=None if swept else FIRST_NIGHT,
            pressure_above=self._pressure_above,
        )

    def _names(self, evidence: Evidence) -> dict[str, str]:
        """Names of the plans of tonight and of later nights: the policy is for the account as it is at the end."""
        names = evidence.plan_names()
        taken = set(names.values())
        for plan_id, name in self._plan_names.items():
            if plan_id not in names and name not in taken:
                names[plan_id] = name
        return names

    def _note(self, plan: SweepPlan) -> None:
        for note in plan.notes:
            row = learnt(note, self._rows, plan.today)
            self._rows[row.key_id] = row
            if row.state is State.GONE:
                del self._rows[row.key_id]

    def _take(self, step: Step, today: date, bound: BoundPolicy) -> None:
        if isinstance(step, Purge):
            del self._shelf[step.row.key_id]
            return
        key_id = step.key.key_id
        row = self._rows[key_id]
        match step:
            case Warn():
                self._rows[key_id] = warned(step, row, today)
            case Disable():
                hidden_on = today if key_id in self._hidden else None
                shut = Shut(key_id, today, step.usage_plan_ids, hidden_on=hidden_on)
                self._open[key_id] = shut
                self.shut.append(shut)
                key = _changed(step.key, today, on=False)
                self._rows[key_id] = disabled(row, today, bound, key)
            case Park():
                if key_id in self._open:
                    self._open[key_id].parked_on = today
                self._shelf[key_id] = parked(self._rows.pop(key_id), today, bound)
            case Enable():
                if known := self._open.pop(key_id, None):
                    known.back_on = step.last_used  # in the hours before it was disabled
                self._rows[key_id] = enabled(row, today, _changed(step.key, today, on=True))

    def _look_at_the_backlog(self, plan: SweepPlan) -> None:
        """Follows the keys of the first wave of warnings until the last of them is gone or kept."""
        if self.acts_from is not None:
            return
        if self._backlog_grows:
            self._backlog |= {step.key.key_id for step in plan.steps if isinstance(step, Warn)}
            self._backlog_grows = any(
                isinstance(verdict.because, AwaitsAllowance) for verdict in plan.verdicts
            )
            return
        self._backlog = {
            key_id
            for key_id in self._backlog
            if (row := self._rows.get(key_id)) is not None and (row.disable_on or row.park_on)
        }
        if not self._backlog:
            self.acts_from = plan.today + DAY


_NO_FACTS = Facts()


def _changed(key: ApiKey, today: date, *, on: bool) -> ApiKey:
    return replace(key, enabled=on, last_updated_date=datetime.combine(today, JANITOR))


def with_idle_limit(policy: Policy, days: int) -> Policy:
    """The policy with another `idle_days` in every tier that expires keys at all."""
    return replace(
        policy,
        tiers={
            name: tier if tier.idle_days == "never" else replace(tier, idle_days=days)
            for name, tier in policy.tiers.items()
        },
    )
