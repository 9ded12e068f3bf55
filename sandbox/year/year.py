"""A year of an account in memory: keyjanitor's own code on it, night by night, over made-up owners.

What is read, decided, checked, applied, issued, restored, counted and told is done by the code that
the functions run. Played are the owners, the operator, and the way from requests to the answers of
GetUsage.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from keyjanitor.domain.expiry.pressure import freed_by_pressure
from keyjanitor.domain.expiry.sweep_plan import SweepPlan
from keyjanitor.domain.expiry.verdicts import decide
from keyjanitor.domain.model.alert import Alert
from keyjanitor.domain.model.invocation import ReplayWindow, SweepInvocation
from keyjanitor.domain.model.keys import DAY, ApiKey, Mode, Secret, SweepAction
from keyjanitor.domain.model.policy import Policy, Quota
from keyjanitor.domain.model.records import PressureRow, row_id
from keyjanitor.domain.model.usage_plan import Shape, UsagePlan
from keyjanitor.domain.requests.sqs_message import Message
from keyjanitor.domain.usage.evidence import UsagePlanAnswer
from keyjanitor.domain.usage.plan_usage import EDGE_DAYS, USAGE_DAYS, PlanUsage
from keyjanitor.domain.usage.reading import take_evidence
from keyjanitor.services.deadline import Deadline
from keyjanitor.services.expire_keys.apply import Sweeper
from keyjanitor.services.expire_keys.brake import check, compared
from keyjanitor.services.expire_keys.gather import Adapters as SweepAdapters
from keyjanitor.services.expire_keys.gather import Gathered, gather
from keyjanitor.services.provision_keys.batch import RequestBatch
from keyjanitor.services.provision_keys.responder import Adapters as ProvisionAdapters
from keyjanitor.services.provision_keys.responder import Run
from keyjanitor.services.watch_capacity import Adapters as WatchAdapters
from keyjanitor.services.watch_capacity import CapacityReading, publish_alerts, take_count
from sandbox.driver.population import EXTERNAL, TIERS, SimulatedKey
from sandbox.memory.adapters.ownership import FakeOwnership
from sandbox.memory.adapters.queues import FakeDeadLetterQueues
from sandbox.memory.simulation.alert_store import alert_store
from sandbox.memory.simulation.gateway import Gateway
from sandbox.memory.simulation.history import Files, ValueSealer
from sandbox.memory.simulation.ledger import Memory
from sandbox.memory.simulation.moments import JANITOR, at
from sandbox.memory.simulation.request_store import RequestStore
from sandbox.memory.simulation.told import Told
from sandbox.year.audit import Auditor
from sandbox.year.world import World

PORTAL = "AROAPORTALEXAMPLE01"
RECIPIENT = "arn:aws:iam::123456789012:role/portal"
HELD = "a release is on: nobody is to lose a key this week"
FOREVER = Deadline(remaining_ms=lambda: 1_000_000, margin_ms=0)


class Meter:
    """What API Gateway meters, kept as a night's reading keeps it: `PlanUsage` without its pages.

    Quotas are not played: nobody's runs out.
    """

    def __init__(self) -> None:
        self._last: dict[str, dict[str, date]] = {}  # by plan and key
        self._used: dict[str, dict[date, dict[str, int]]] = {}  # by plan, day and key
        # By plan and key, of the days of which `PlanUsage.used` has the sum, and which these are.
        self._sums: dict[str, dict[str, int]] = {}
        self._summed: dict[str, set[date]] = {}

    def count(self, plan_id: str, key_id: str, day: date, requests: int) -> None:
        """Takes the requests of a key on a day; days come in order."""
        self._last.setdefault(plan_id, {})[key_id] = day
        used = self._used.setdefault(plan_id, {}).setdefault(day, {})
        used[key_id] = used.get(key_id, 0) + requests

    def answer(self, plan: UsagePlan, members: tuple[str, ...], today: date) -> UsagePlanAnswer:
        """What `read_plans` would have made of the pages about this plan."""
        start = today - DAY * USAGE_DAYS
        last = self._last.get(plan.usage_plan_id, {})
        used = self._used.get(plan.usage_plan_id, {})
        sums = self._sum(plan.usage_plan_id, start + DAY * (EDGE_DAYS + 1), today - DAY)
        for day in [day for day in used if day < start]:
            del used[day]
        usage = PlanUsage(plan, start, today)
        usage.last_used = {key_id: day for key_id, day in last.items() if day >= start}
        usage.used_by_day = {day: sum(of_key.values()) for day, of_key in used.items()}
        usage.used = {key_id: requests for key_id, requests in sums.items() if requests}
        usage.had_requests = bool(usage.used_by_day)
        usage.ids = set(usage.last_used)
        return UsagePlanAnswer(plan, members, usage)

    def _sum(self, plan_id: str, first: date, last: date) -> dict[str, int]:
        """The requests of each key of a plan from one day to another; a night changes two days of it."""
        sums, summed = self._sums.setdefault(plan_id, {}), self._summed.setdefault(plan_id, set())
        used = self._used.get(plan_id, {})
        days = {day for day in used if first <= day <= last}
        for sign, changed in ((1, days - summed), (-1, summed - days)):
            for day in changed:
                for key_id, requests in used[day].items():
                    sums[key_id] = sums.get(key_id, 0) + sign * requests
        self._summed[plan_id] = days
        return sums

    def last_used(self, key_id: str) -> date | None:
        """When a key was last used, by all that ever showed."""
        return max((last[key_id] for last in self._last.values() if key_id in last), default=None)


@dataclass(slots=True, eq=False)
class Owner:
    """Somebody who uses a key: its value, which stays, and the id that it has now."""

    key: SimulatedKey
    key_id: str
    value: Secret
    asked: int = 0  # times, for it back


@dataclass(slots=True)
class Month:
    """What one month did, and how it ended."""

    name: str
    did: Counter[str] = field(default_factory=Counter)
    without: int = 0
    keys: int = 0
    rule: float | None = None  # the strictest that was in force
    limit_in: str = ""
    regret: float | None = None


class Year:
    """One year of an account, night by night."""

    def __init__(self, world: World, policy: Policy, meter: Meter | None = None) -> None:
        self.world = world
        self.plot = world.plot
        self.policy = policy
        self.index = 0
        self.meter = meter or Meter()
        self.gateway = Gateway(self.plot.first)
        self.gateway.key_limit = policy.service_quota
        self.stacks = FakeOwnership(self.gateway)
        self.ledger = Memory()
        self.request_store = RequestStore(self.ledger)
        self.files = Files()
        self.told = Told()
        self.auditor = Auditor(self)
        self.owners: list[Owner] = []
        self.alerts: list[tuple[date, Alert]] = []
        self.months: dict[str, Month] = {}
        self.counts = [len(world.keys)]  # on the evening before, and then on every evening
        self.without = [len(world.keys)]  # the same of an account that nobody keeps in order
        self.turned_away = 0  # by that account, once it is full
        self.rules: list[float | None] = []  # of each night
        self.back = 0  # keys that their owners had back
        self.regretted = 0  # of these, within thirty days
        sealer = ValueSealer()
        self._adapters = SweepAdapters(
            gateway=self.gateway,
            owners=self.stacks,
            ledger=self.ledger,
            history=self.files,
            sealer=sealer,
            bus=self.told,
            topic=self.told,
        )
        self._provision_adapters = ProvisionAdapters(
            gateway=self.gateway,
            owners=self.stacks,
            ledger=self.ledger,
            request_store=self.request_store,
            history=self.files,
            sealer=sealer,
            bus=self.told,
        )
        self._watch_adapters = WatchAdapters(
            gateway=self.gateway,
            ledger=self.ledger,
            alert_store=alert_store(),
            history=self.files,
            topic=self.told,
            dead_letters=FakeDeadLetterQueues(),
        )
        self._plan_ids = self._lay_down_plans()
        for key in world.keys:
            self._make(key)
        for back in range(USAGE_DAYS, 0, -1):
            self._use(self.plot.first - DAY * back)

    @property
    def today(self) -> date:
        return self.plot.day(self.index)

    @property
    def month(self) -> Month:
        """The month that today is in."""
        name = f"{self.today:%B}"
        return self.months.setdefault(name, Month(name))

    def live(self) -> Iterator[Month]:
        """Lives the year; gives each month when it is over."""
        for index in range(self.plot.days):
            self.index = index
            self.gateway.today = self.today
            self.night()
            self.day()
            self.evening()
            if index + 1 == self.plot.days or (self.today + DAY).day == 1:
                yield self.month

    # --- the beginning ----------------------------------------------------------------------------

    def _lay_down_plans(self) -> dict[str, str]:
        """The usage plans of the population's tiers; gives their ids by name."""
        for number, tier in enumerate(TIERS):
            plan_id, stages = f"plan{number}", (f"api1:{tier.stage}",)
            shape = Shape.of(self.policy.tiers[tier.name])
            if shape.stages != frozenset(stages):
                quota = tier.quota and Quota(tier.quota["limit"], tier.quota["period"])
                shape = Shape(frozenset(stages), quota=quota or None)
            self.gateway.add_plan(UsagePlan.of_shape(plan_id, tier.name, shape))
        return {plan.name: plan.usage_plan_id for plan in self.gateway.usage_plans()}

    def _make(self, key: SimulatedKey) -> None:
        """Somebody makes a key past keyjanitor."""
        key_id = self.gateway.new_id()
        made = ApiKey(
            key_id=key_id,
            name=key.name,
            enabled=key.enabled,
            created_date=key.created,
            last_updated_date=key.updated or key.created,
            description=key.description or "",
            customer_id=key.customer_id or "",
            tags=key.tags,
        )
        self.gateway.add_key(made, key.value, [self._plan_ids[name] for name in key.plans])
        if key.owner_stack:
            self.stacks.stacks[key_id] = key.owner_stack
        self._has_owner(key, key_id)

    def _has_owner(self, key: SimulatedKey, key_id: str) -> None:
        if key.habit.per_day and key.enabled and key.plans:
            _, value, _ = self.gateway.whole(key_id)
            self.owners.append(Owner(key, key_id, Secret(value)))

    # --- nights -----------------------------------------------------------------------------------

    def night(self) -> None:
        """The reading, the sweep, and what the operator makes of a plan that refused itself."""
        self.ledger.held = HELD if self.index in self.plot.held else None
        self.read()
        plan, braked = self.sweep()
        if braked:
            self.sweep(approve=plan.digest)  # looked at, and nothing found wrong
        self.auditor.audit(plan)
        self.rules.append(plan.pressure.above)

    def read(self) -> None:
        """Tonight's evidence, as pull_usage takes it."""
        before = self.files.evidence_before(self.today)
        answers = [
            self.meter.answer(plan, self.gateway.members(plan.usage_plan_id), self.today)
            for plan in self.gateway.usage_plans()
        ]
        evidence, _ = take_evidence(self.today, answers, before)
        self.files.put_evidence(evidence)
        self.files.forget()

    def sweep(self, approve: str | None = None) -> tuple[SweepPlan, bool]:
        """One sweep of tonight, as expire_keys does it: its plan, and whether that refused itself."""
        run = SweepInvocation(time=at(self.today, 3), mode=Mode.PARK, approve=approve)
        held = self.ledger.hold() is not None
        gathered = gather(self.today, self._adapters, self.policy, acting=not held)
        plan = decide(gathered.night, gathered.bound)
        if held:
            return plan, False
        self.ledger.remember(self.today, swept=True)
        self.ledger.put_pressure_row(self._pressure(gathered, plan))
        seen = compared(plan, gathered.night, gathered.bound, self._adapters.history)
        checked = check(plan.for_mode(run.mode), seen, run, self._adapters)
        sweeper = Sweeper(
            self.today,
            gathered.night.rows,
            self._adapters,
            gathered.bound,
            FOREVER,
            lambda: at(self.today, JANITOR),
        )
        outcome = sweeper.apply(checked.plan)
        parked = gathered.night.stepped[SweepAction.PARK] + outcome.applied[SweepAction.PARK]
        self.ledger.remember(self.today, parked=parked)
        self.month.did.update({str(verb): count for verb, count in outcome.applied.items()})
        return plan.for_mode(run.mode), checked.brake is not None

    def _pressure(self, gathered: Gathered, plan: SweepPlan) -> PressureRow:
        """The rule in force. What stricter rules would free is reported; it decides nothing.

        To work that out takes as long as deciding does, so here it is done once a month.
        """
        if self.today.day == 1:
            return freed_by_pressure(gathered.night, gathered.bound, plan)
        return PressureRow(self.today, plan.pressure.above)

    # --- days -------------------------------------------------------------------------------------

    def day(self) -> None:
        """Sign-ups, the script's import, everybody's use, and who finds his key shut."""
        newcomers = list(self.world.sign_ups(self.index))
        imported = list(self.world.imported(self.index))
        self._live_without(len(newcomers) + len(imported))
        for key in imported:
            self._make(key)
        self._issue(newcomers)
        self._ask_back(self._use(self.today, shows=self.index != self.plot.outage_on))

    def _live_without(self, newcomers: int) -> None:
        """The same day of the account that nobody keeps in order."""
        room = self.policy.service_quota - self.without[-1]
        self.without.append(self.without[-1] + min(room, newcomers))
        self.turned_away += max(0, newcomers - room)

    def _issue(self, newcomers: Sequence[SimulatedKey]) -> None:
        bodies = [
            {
                "action": "issue",
                "request_id": f"{self.today}-{number}",
                "tier": EXTERNAL.name,
                "owner": key.customer_id,
                "name": key.name,
                "deliver_to": RECIPIENT,
            }
            for number, key in enumerate(newcomers)
        ]
        for key, answer in zip(newcomers, self._ask(bodies), strict=True):
            if "code" in answer:
                self.month.did["refused"] += 1
            else:
                self.month.did["issued"] += 1
                self._has_owner(key, answer["key_id"])

    def _use(self, day: date, *, shows: bool = True) -> list[Owner]:
        """Everybody's use of a day; gives those who found their keys shut."""
        shut_out = []
        ordinal = day.toordinal()
        for owner in self.owners:
            key = owner.key
            requests = key.habit.uses(key.noise, ordinal)
            if not requests:
                continue
            found = self.gateway.living.get(owner.key_id)
            if found is None or not found.enabled:
                shut_out.append(owner)
            elif shows:
                self.meter.count(self._plan_ids[key.plans[0]], owner.key_id, day, requests)
        if day.day == 1:
            still = [
                o for o in self.owners if o.key.habit.last is None or o.key.habit.last > ordinal
            ]
            self.owners = still
        return shut_out

    def _ask_back(self, shut_out: Sequence[Owner]) -> None:
        """Owners who find their keys shut ask for them, and use them from the next day on."""
        bodies = []
        for owner in shut_out:
            owner.asked += 1
            parked = owner.key_id in self.ledger.gone
            bodies.append(
                {
                    "action": "restore" if parked else "renew",
                    "request_id": f"back-{owner.key_id}-{owner.asked}",
                    "key_id": owner.key_id,
                }
            )
        for owner, answer in zip(shut_out, self._ask(bodies), strict=True):
            if "code" in answer:
                self.month.did["kept shut"] += 1
                continue
            owner.key_id = answer["key_id"]
            self.back += 1
            self.month.did["back"] += 1
            self.regretted += self.ledger.rows[owner.key_id].regretted_on == self.today
            self.auditor.audit_return(owner.key_id, owner.value)

    def _ask(self, bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Has requests served, as provision_keys does; gives the details of their answers."""
        if not bodies:
            return []
        noon = at(self.today)
        messages = [
            Message(one["request_id"], json.dumps({"version": 1, **one}), PORTAL, noon)
            for one in bodies
        ]
        run = Run(
            holder=messages[0].message_id,
            until=noon + timedelta(minutes=15),
            deadline=FOREVER,
            window=ReplayWindow(noon, 36),
            now=lambda: noon,
        )
        if left := RequestBatch(self._provision_adapters, self.policy, run).serve(messages):
            raise AssertionError(f"{len(left)} requests were left")
        names = [row_id(one["request_id"], PORTAL) for one in bodies]
        return [dict(self.request_store.asked[name].detail) for name in names]

    # --- evenings ---------------------------------------------------------------------------------

    def evening(self) -> None:
        """The day's last look at the account, as watch_capacity takes it."""
        found = take_count(self.today, at(self.today, 3), self._watch_adapters, self.policy)
        now = at(self.today, 23)
        publish_alerts(
            found.situation,
            self._watch_adapters,
            self.policy,
            lambda: now,
            now + timedelta(hours=1),
        )
        self.alerts += [(self.today, alert) for alert in self.told.alerts[len(self.alerts) :]]
        self.counts.append(found.situation.count.keys)
        self._note(found)

    def _note(self, found: CapacityReading) -> None:
        month, seen = self.month, found.situation.forecast
        month.keys, month.without, month.regret = self.counts[-1], self.without[-1], found.regret
        month.rule = max((one for one in (month.rule, self.rules[-1]) if one), default=None)
        month.limit_in = "?" if seen.growth is None else f"{seen.days} d" if seen.days else "-"

    def pressed(self) -> list[tuple[int, int]]:
        """The days on which a pressure rule was in force: the first, and the one after the last."""
        edges = [
            day
            for day, (before, now) in enumerate(
                zip([None, *self.rules], [*self.rules, None], strict=True)
            )
            if (before is None) != (now is None)
        ]
        return list(zip(edges[::2], edges[1::2], strict=True))
