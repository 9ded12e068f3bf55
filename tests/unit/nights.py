"""An account in memory, and nights that pass over it: the functions' own four moves on it.

Only the outside is played: what is read, decided, checked and applied is done by the code that the
functions run. `day 0` of most tests is TODAY.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from keyjanitor.domain.expiry import comparison_file
from keyjanitor.domain.expiry.safety_brake import Brake, Compared, Comparison
from keyjanitor.domain.expiry.sweep_plan import SweepPlan
from keyjanitor.domain.expiry.verdicts import decide
from keyjanitor.domain.model.invocation import SweepInvocation
from keyjanitor.domain.model.keys import ApiKey, Mode
from keyjanitor.domain.model.policy import BoundPolicy, Policy
from keyjanitor.domain.model.records import Row
from keyjanitor.domain.usage.evidence import Evidence
from keyjanitor.domain.usage.evidence_file import from_document, to_document
from keyjanitor.domain.usage.plan_usage import UsagePage
from keyjanitor.domain.usage.reading import take_evidence
from keyjanitor.errors import CallFailed
from keyjanitor.services.deadline import Deadline
from keyjanitor.services.expire_keys.apply import Sweeper
from keyjanitor.services.expire_keys.brake import check, compared
from keyjanitor.services.expire_keys.gather import Adapters, gather, gather_for_undo
from keyjanitor.services.expire_keys.sweep_state import Outcome
from keyjanitor.services.pull_usage.reader import read_plans
from sandbox.memory.adapters.ownership import FakeOwnership
from sandbox.memory.simulation.gateway import Gateway as PlainGateway
from sandbox.memory.simulation.history import Files as PlainFiles
from sandbox.memory.simulation.history import ValueSealer
from sandbox.memory.simulation.ledger import Memory
from sandbox.memory.simulation.moments import JANITOR
from sandbox.memory.simulation.told import Told
from tests.builders import DAY, TODAY, a_usage_plan, at

PAGE = 3  # keys on a page of usage: every plan of more than three keys has more than one
NEVER = Deadline(remaining_ms=lambda: 1_000_000, margin_ms=0)


class Gateway(PlainGateway):
    """API Gateway with requests by plan, key and day, and with what may go wrong in reading them."""

    def __init__(self) -> None:
        super().__init__(TODAY)
        self.closed: set[tuple[str, str, date]] = set()
        self.unreadable: set[str] = set()
        self.forgets_members_of: set[str] = set()
        self.blackout = False

    def members(self, usage_plan_id: str, prefix: str = "") -> tuple[str, ...]:
        if usage_plan_id in self.forgets_members_of:
            return ()
        return super().members(usage_plan_id, prefix)

    def usage(self, usage_plan_id: str, start: date, end: date) -> Iterator[UsagePage]:
        ids = [k for k in self.members(usage_plan_id) if (usage_plan_id, k) in self.requests]
        days = [start + DAY * index for index in range((end - start).days + 1)]
        for first in range(0, max(1, len(ids)), PAGE):
            if usage_plan_id in self.unreadable and first:
                raise CallFailed("GetUsage", "InternalServerErrorException")
            yield UsagePage(
                start,
                end,
                {k: self._pairs(usage_plan_id, k, days) for k in ids[first : first + PAGE]},
            )
        if usage_plan_id in self.unreadable:
            raise CallFailed("GetUsage", "InternalServerErrorException")

    def _pairs(self, plan_id: str, key_id: str, days: Sequence[date]) -> list[list[int]]:
        used = self.requests[plan_id, key_id]
        if not self.closed:
            return [[used.get(day, 0), 1000] for day in days]
        return [
            [used.get(day, 0), 0 if (plan_id, key_id, day) in self.closed else 1000] for day in days
        ]


class Files(PlainFiles):
    """The history bucket, whose evidence is written and read as the document that it is."""

    def evidence(self, day: date) -> Evidence | None:
        found = super().evidence(day)
        return from_document(to_document(found)) if found else None

    def put_compared(self, day: date, night: Compared, *, once: bool = True) -> None:
        written = comparison_file.from_document(comparison_file.to_document(night))
        super().put_compared(day, written, once=once)


@dataclass(frozen=True, slots=True)
class Swept:
    """What came of one sweep."""

    plan: SweepPlan
    outcome: Outcome
    brake: Brake | None
    comparison: Comparison
    saved: bool = False

    @property
    def applied(self) -> dict[str, int]:
        """What was done, without what was not."""
        return {verb: count for verb, count in self.outcome.counts.items() if count}


@dataclass
class Account:
    """An account, its ledger and its history; `night` lets one night pass."""

    policy: Policy
    today: date = TODAY
    gateway: Gateway = field(default_factory=Gateway)
    ledger: Memory = field(default_factory=Memory)
    files: Files = field(default_factory=Files)
    told: Told = field(default_factory=Told)
    sealer: ValueSealer = field(default_factory=ValueSealer)
    clients: dict[tuple[str, str], Callable[[int], bool]] = field(default_factory=dict)
    seen: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    day: int = 0

    def __post_init__(self) -> None:
        self.owners = FakeOwnership(self.gateway)
        self.gateway.today = self.today
        self.first = self.today

    # --- what people do ---------------------------------------------------------------------------

    def plan(
        self,
        usage_plan_id: str = "plan1",
        name: str = "external",
        *,
        busy: bool = True,
        stages: tuple[str, ...] = ("api1:prod",),
        has_quota: bool = True,
    ) -> None:
        """Makes a plan; a busy one has a key of its own that is used every day, for ever."""
        self.gateway.add_plan(
            a_usage_plan(usage_plan_id, name=name, stages=stages, has_quota=has_quota)
        )
        if busy:
            self.key(f"busy-{usage_plan_id}", usage_plan_id, age=300, used=lambda _: True)

    def key(
        self,
        key_id: str,
        *plan_ids: str,
        age: int = 0,
        used: Callable[[int], bool] | None = None,
        last_used: int | None = None,
        **more: Any,
    ) -> None:
        """Makes a key, `age` days before tonight.

        It is used on the days that `used` picks (0: the first night's date; the last 90 days are
        laid down), or was last used so many days before tonight.
        """
        created = at(self.today - DAY * age, 10)
        values = {"enabled": True, "name": key_id, "tags": {}, **more}
        self.gateway.add_key(
            ApiKey(key_id=key_id, created_date=created, last_updated_date=created, **values)
        )
        for plan_id in plan_ids:
            self.join(key_id, plan_id)
            if used is not None:
                self.clients[plan_id, key_id] = used
                for index in range(self.day - min(age, 90), self.day):
                    self._use(plan_id, key_id, index)
            if last_used is not None:
                self.use(key_id, plan_id, days_before=last_used)

    def join(self, key_id: str, plan_id: str) -> None:
        self.gateway.join(key_id, plan_id)

    def leave(self, key_id: str, plan_id: str) -> None:
        self.gateway.leave(key_id, plan_id)

    def use(self, key_id: str, plan_id: str = "plan1", *, days_before: int = 0) -> None:
        """One request."""
        used = self.gateway.requests.setdefault((plan_id, key_id), {})
        used[self.today - DAY * days_before] = 1

    def _use(self, plan_id: str, key_id: str, index: int) -> None:
        if self.clients[plan_id, key_id](index):
            used = self.gateway.requests.setdefault((plan_id, key_id), {})
            used[self.first + DAY * index] = 7

    def lose_sight_of_owners(self, *, lost: bool = True) -> None:
        """Nothing says who owns a key: no tags, no stacks. With `lost=False` all is said again."""
        failed = CallFailed("GetResources", "InternalServiceException")
        self.owners.tags_fail = self.owners.stacks_fail = failed if lost else None

    # --- what the janitor does --------------------------------------------------------------------

    def read(self) -> Evidence:
        """Tonight's evidence, as pull_usage takes it."""
        stands = self.files.evidence(self.today)
        if stands is not None:
            return stands
        before = self.files.evidence_before(self.today)
        answers = read_plans(self.today, self.gateway, before)
        evidence, _ = take_evidence(self.today, answers, before)
        self.files.put_evidence(evidence)
        return evidence

    def sweep(self, mode: Mode = Mode.PARK, *, approve: str | None = None) -> Swept:
        """One sweep of tonight, as expire_keys does it."""
        run = SweepInvocation(time=at(self.today, 2), mode=mode, approve=approve)
        if self.ledger.held:
            mode = Mode.OBSERVE
        gathered = gather(self.today, self.adapters, self.policy, acting=mode is not Mode.OBSERVE)
        plan = decide(gathered.night, gathered.bound)
        seen = compared(plan, gathered.night, gathered.bound, self.adapters.history)
        for verdict in plan.verdicts:
            self.seen.setdefault(verdict.key.key_id, []).append((self.day, verdict.word))
        if mode is Mode.OBSERVE:
            return Swept(plan, Outcome(), seen.brake, seen)
        self.ledger.remember(self.today, swept=True)
        checked = check(plan.for_mode(mode), seen, run, self.adapters)
        sweeper = self._sweeper(gathered.night.rows, gathered.bound)
        outcome = sweeper.apply(checked.plan)
        return Swept(plan, outcome, checked.brake, seen, checked.saved)

    def night(self, mode: Mode = Mode.PARK) -> Swept:
        """One night: the reading, the sweep, and the day after it with its requests."""
        self.read()
        swept = self.sweep(mode)
        self.live()
        return swept

    def live(self) -> None:
        """Lets a day pass, with the requests of who is enabled and whom the outage spares."""
        for plan_id, key_id in self.clients:
            key = self.gateway.living.get(key_id)
            member = plan_id in self.gateway.plans_of(key_id)
            if key is not None and key.enabled and member and not self.gateway.blackout:
                self._use(plan_id, key_id, self.day)
        self.day += 1
        self.today += timedelta(days=1)
        self.gateway.today = self.today

    def nights(self, count: int, mode: Mode = Mode.PARK) -> list[Swept]:
        return [self.night(mode) for _ in range(count)]

    def undo(self, day: date) -> Outcome:
        rows, bound = gather_for_undo(self.today, self.adapters, self.policy)
        return self._sweeper(rows, bound).undo(day, None)

    def _sweeper(self, rows: Mapping[str, Row], bound: BoundPolicy) -> Sweeper:
        clock = lambda: at(self.today, JANITOR)  # noqa: E731
        return Sweeper(self.today, rows, self.adapters, bound, NEVER, clock)

    # --- what is asked of it ----------------------------------------------------------------------

    @property
    def adapters(self) -> Adapters:
        return Adapters(
            gateway=self.gateway,
            owners=self.owners,
            ledger=self.ledger,
            history=self.files,
            sealer=self.sealer,
            bus=self.told,
            topic=self.told,
        )

    def row(self, key_id: str) -> Row:
        return self.ledger.rows.get(key_id) or self.ledger.gone[key_id]

    def steps(self, key_id: str) -> list[tuple[int, str]]:
        """The nights, counted from the first, on which the key was warned, disabled or parked."""
        return [
            (day, word)
            for day, word in self.seen.get(key_id, ())
            if word in ("warn", "disable", "park")
        ]

    def word(self, key_id: str) -> str:
        """The last verdict on a key."""
        return self.seen[key_id][-1][1]

    def events(self, key_id: str) -> list[str]:
        return [one.detail_type for one in self.told.events if one.detail["key_id"] == key_id]
