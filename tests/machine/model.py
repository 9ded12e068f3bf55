"""What is allowed, by docs/life-of-a-key.md and docs/trust.md alone: nothing of the code under test is imported here.

The model is told what happens (what API Gateway answered, what the bus and the topic took, who asked
for what) and what people and functions do to keys. It raises `Broken` where a promise is broken. It
knows less than those pages in places, and is then on the side of whoever acts: what it calls broken
is broken.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from statistics import median
from typing import Any, NoReturn

DAY = timedelta(days=1)
USAGE_DAYS = 90
MONTHLY_JOBS = 35
METERED_FOR = 400
CALLS_IN_TEN_SECONDS, CALLS_IN_ONE = 50, 12  # on API Gateway, of all functions together
NIGHT_SHARE, REQUESTS_SHARE = 3, 2  # of them a second, as the template is shipped
MAY_BE_VALUE = 20  # characters of an id from which on it may be a value


class Broken(AssertionError):
    """A promise is broken: `promise` is its number in docs/trust.md, `rule` a short name."""

    def __init__(self, promise: int, rule: str, story: str) -> None:
        super().__init__(f"promise {promise}, {rule}: {story}")
        self.promise = promise
        self.rule = rule


@dataclass(frozen=True, slots=True)
class TierTerms:
    """What a tier says; days."""

    name: str
    contact: bool
    plans: frozenset[str]
    idle: int | None  # None: never
    never_used: int
    warn: int
    grace: int
    retain: int
    orphan: int
    senders: frozenset[str]
    admins: frozenset[str]

    def limit(self, factor: float, *, never_used: bool) -> int | None:
        if self.idle is None:
            return None
        if never_used:
            return max(1, int(-(-self.never_used * factor // 1)))
        return max(min(self.idle, MONTHLY_JOBS), int(-(-self.idle * factor // 1)))


@dataclass(frozen=True, slots=True)
class Terms:
    """What the policy says, from the same values that its file was written from."""

    tiers: Mapping[str, TierTerms]
    key_limit: int
    max_share: float
    max_keys: int
    rules: tuple[tuple[float, float], ...]  # above, factor
    silent_plans: frozenset[str]

    @classmethod
    def of(cls, file: Mapping[str, Any]) -> "Terms":
        sweep = file.get("sweep", {})
        return cls(
            tiers={
                name: TierTerms(
                    name,
                    "contact" in tier,
                    frozenset(tier.get("usage_plans", ())),
                    None if tier["idle_days"] == "never" else tier["idle_days"],
                    tier.get("never_used_days", 14),
                    tier.get("warn_days", 14),
                    tier.get("grace_days", 14),
                    tier.get("retain_days", 365),
                    tier.get("orphan_days", 14),
                    frozenset(tier.get("senders", ())),
                    frozenset(tier.get("admins", ())),
                )
                for name, tier in file["tiers"].items()
            },
            key_limit=file.get("service_quota", 10_000),
            max_share=sweep.get("max_share", 0.05),
            max_keys=sweep.get("max_keys", 500),
            rules=tuple((one["above"], one["idle_factor"]) for one in file.get("pressure", ())),
            silent_plans=frozenset(file.get("silent_plans", ())),
        )

    def allowance(self, keys: int) -> int:
        return max(20, min(int(self.max_share * keys), self.max_keys))

    def factor(self, keys: int) -> float:
        """The least factor that may stand, with all that a margin allows."""
        used = keys / self.key_limit
        return min((factor for above, factor in self.rules if used > above - 0.05), default=1.0)


@dataclass(slots=True)
class PlanSeen:
    """What one reading was told of one plan."""

    name: str
    stages: tuple[str, ...]
    has_quota: bool
    truth: frozenset[str] = frozenset()  # who was in it, in truth
    members: list[str] | None = None
    members_done: bool = False
    usage: dict[str, dict[date, int]] = field(default_factory=dict)
    usage_done: bool = False
    misfit: set[str] = field(default_factory=set)
    run: int = 0
    fewer: bool = False

    @property
    def read(self) -> bool:
        return self.members_done and self.usage_done and not self.fewer

    def by_day(self) -> dict[date, int]:
        total: dict[date, int] = {}
        for used in self.usage.values():
            for day, count in used.items():
                total[day] = total.get(day, 0) + count
        return total


@dataclass(slots=True)
class Reading:
    """What the reading of a date showed."""

    day: date
    plans: dict[str, PlanSeen] = field(default_factory=dict)

    def plans_of(self, key_id: str) -> list[str]:
        return [plan_id for plan_id, plan in self.plans.items() if key_id in plan.truth]


@dataclass(slots=True)
class Life:
    """What is known of one value's life under one id."""

    key_id: str
    value: str
    made: date
    first_made: date  # of its first id
    first_known: bool = True  # whether its first date is that of this id
    issued_tier: str | None = None
    sender: str | None = None
    owner: str | None = None
    used: date | None = None  # as any reading showed
    changed: date | None = None  # by others
    changed_in: int = 0  # the run in which they did so after its look at the key
    moved: date | None = None  # its plans, as readings showed
    renewed: date | None = None
    restored: date | None = None
    gap: date | None = None  # first day after a gap of a plan's readings
    ends: date | None = None
    protected_until: date | None = None
    expiring: list[tuple[datetime, date]] = field(default_factory=list)  # told at, date said
    digests: list[datetime] = field(default_factory=list)
    shut: list[tuple[datetime, date]] = field(default_factory=list)  # Key Disabled at, park_on
    shut_on: date | None = None
    shut_for_end: bool = False
    parked_on: date | None = None
    purge_said: date | None = None
    revoked: bool = False
    stepped: dict[str, date] = field(default_factory=dict)
    previous: str | None = None
    made_for: tuple[str, str] | None = None  # the sender and request that it was made for
    parked_name: str = ""
    parked_plans: tuple[str, ...] = ()


@dataclass(slots=True)
class Run:
    """One run of a function; `day` is the date that it was asked to be about."""

    number: int
    name: str
    day: date
    at: datetime
    mode: str = "park"
    approve: str | None = None
    undo: date | None = None
    key_ids: frozenset[str] | None = None
    held: bool = False
    looks: dict[str, Any] = field(default_factory=dict)
    plans_asked: dict[str, list[str]] = field(default_factory=dict)
    tags_read: bool = True


@dataclass(slots=True)
class Asked:
    """One request as its sender sent it."""

    sender: str
    request_id: str
    body: Mapping[str, Any]
    at: datetime
    answers: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    may_be_lost: bool = False  # a redrive that the ledger does not know may refuse it
    sent_other_bodies: bool = False


class Model:
    """The truth, and what it allows. `living` are the keys as they are; the cloud keeps them."""

    def __init__(self, terms: Terms, living: Mapping[str, Any], plans: Mapping[str, Any]) -> None:
        self.terms = terms
        self.past_terms: list[Terms] = [terms]
        self._living = living
        self._leaving: dict[str, Any] = {}  # the key that a function has just deleted
        self._plans = plans
        self.lives: dict[str, Life] = {}
        self.readings: dict[date, Reading] = {}
        self._attempts: dict[date, Reading] = {}
        self._last_read: dict[str, tuple[date, PlanSeen]] = {}
        self._witness: dict[tuple[str, bool], date] = {}  # plan or stage, quota: last request shown
        self.first_day: date | None = None
        self.run: Run | None = None
        self._outages: set[date] = set()
        self.confirmed = True
        self.confirmed_since: datetime | None = None
        self.revoked_values: dict[str, str] = {}
        self.keep_tag = "keyjanitor:keep"
        self.asked: dict[tuple[str, str], Asked] = {}
        self.counts: dict[tuple[date, str], int] = {}
        self.counted_keys: dict[date, int] = {}
        self.approved: dict[str, frozenset[tuple[str, str]]] = {}
        self.approvals: dict[date, set[tuple[str, str]]] = {}
        self.stacks: Mapping[str, str] = {}
        self.now: datetime
        self.owned_marks: tuple[str, ...] = ("terraform", "ManagedBy")
        self.redriven: set[tuple[str, str, str]] = set()  # mover, request, sender
        self.newly: dict[date, int] = {}
        self.acted: list[date] = []
        self._past: frozenset[str] = frozenset()
        self.touched: list[tuple[date, str, str]] = []
        self._calls: deque[tuple[float, int]] = (
            deque()
        )  # moments of the last ten seconds, with runs

    def set_terms(self, terms: Terms) -> None:
        self.terms = terms
        self.past_terms.append(terms)

    # --- the pace ---------------------------------------------------------------------------------

    def asks(self, operation: str, at: float) -> None:
        """A function makes a call on API Gateway, at a moment in seconds.

        No two runs of a story are at work at once, so each has to keep to its own share as well: all
        shares that may be spent at once make five calls a second.
        """
        if self.run is None:
            return
        self._calls.append((at, self.run.number))
        while self._calls[0][0] <= at - 10:
            self._calls.popleft()
        lately = [number for one, number in self._calls if one > at - 1]
        mine = lately.count(self.run.number)
        share = REQUESTS_SHARE if self.run.name == "provision_keys" else NIGHT_SHARE
        if mine > share or len(lately) > CALLS_IN_ONE or len(self._calls) > CALLS_IN_TEN_SECONDS:
            why = f"{mine} of its calls in a second, {len(lately)} and {len(self._calls)} of all"
            raise Broken(5, "pace", f"{self.run.name} of {self.run.day}, {operation}: {why}")

    # --- what is read -----------------------------------------------------------------------------

    def begin(self, run: Run) -> None:
        self.run = run
        if run.name == "pull_usage" and run.day not in self.readings:
            self._attempts.setdefault(run.day, Reading(run.day))

    def end(self) -> None:
        self.run = None

    def saw_plans(self, items: Iterable[Mapping[str, Any]]) -> None:
        reading = self._attempt()
        if reading is None or self.run is None:
            return
        for item in items:
            plan_id = str(item["id"])
            seen = PlanSeen(
                str(item.get("name", "")),
                tuple(f"{s['apiId']}:{s['stage']}" for s in item.get("apiStages", ())),
                bool((item.get("quota") or {}).get("limit")),
                frozenset(self._plans[plan_id].members) if plan_id in self._plans else frozenset(),
                run=self.run.number,
            )
            if plan_id not in reading.plans or reading.plans[plan_id].run != self.run.number:
                reading.plans[plan_id] = seen

    def saw_members(self, plan_id: str, body: Mapping[str, Any]) -> None:
        plan = self._plan_seen(plan_id)
        if plan is None or "item" not in body:
            return
        plan.members = [*(plan.members or ()), *(str(one["id"]) for one in body["item"])]
        plan.truth = frozenset(self._plans[plan_id].members)
        plan.members_done = "position" not in body

    def saw_usage(self, plan_id: str, body: Mapping[str, Any]) -> None:
        plan = self._plan_seen(plan_id)
        if plan is None or "values" not in body:
            return
        start = date.fromisoformat(body["startDate"])
        days = (date.fromisoformat(body["endDate"]) - start).days + 1
        for key_id, pairs in body["values"].items():
            if len(pairs) != days:
                plan.misfit.add(key_id)
                continue
            plan.usage[key_id] = {
                start + DAY * n: pair[0]
                for n, pair in enumerate(pairs)
                if pair[0] or (plan.has_quota and pair[1] <= 0)
            }
        plan.usage_done = "position" not in body

    def reading_written(self, day: date) -> None:
        """The reading of a date is in the bucket: from now on it is what is known."""
        if day in self.readings or day not in self._attempts:
            return
        reading = self._attempts.pop(day)
        before = max((one for one in self.readings if one < day), default=None)
        if self.first_day is None or (before and day - before > DAY * (USAGE_DAYS - 2)):
            self.first_day = day - DAY * USAGE_DAYS
        self.readings[day] = reading
        for plan_id, plan in reading.plans.items():
            self._learn(day, plan_id, plan)
        self._moves(reading, before)
        self._outage(reading)

    def _learn(self, day: date, plan_id: str, plan: PlanSeen) -> None:
        if not plan.usage_done:
            return
        last = self._last_read.get(plan_id)
        if last is not None:
            plan.fewer = _clearly_fewer(last[1], plan, day - DAY * USAGE_DAYS, last[0] - 2 * DAY)
            if not plan.fewer and day - last[0] > DAY * (USAGE_DAYS - 1):
                for key_id in plan.truth:
                    if life := self.lives.get(key_id):
                        life.gap = day - DAY * USAGE_DAYS
        for key_id, used in plan.usage.items():
            life = self.lives.get(key_id)
            if life is not None and used:
                life.used = max([*used, *([life.used] if life.used else [])])
        if plan.fewer:
            return
        self._saw_requests(plan_id, plan)
        self._last_read[plan_id] = day, plan

    def _saw_requests(self, plan_id: str, plan: PlanSeen) -> None:
        last = max((on for on, count in plan.by_day().items() if count), default=date.min)
        for name in (plan_id, *plan.stages):
            known = self._witness.get((name, plan.has_quota), date.min)
            self._witness[name, plan.has_quota] = max(known, last)

    def _moves(self, reading: Reading, before: date | None) -> None:
        """Keys whose plans are others than the night before, and were known then."""
        if before is None:
            return
        earlier = self.readings[before]
        if not all(one.members_done for one in (*reading.plans.values(), *earlier.plans.values())):
            return
        for key_id, life in self.lives.items():
            was, now = set(earlier.plans_of(key_id)), set(reading.plans_of(key_id))
            if was and was != now and life.made < before:
                life.moved = reading.day

    def _attempt(self) -> Reading | None:
        if self.run is None or self.run.name != "pull_usage":
            return None
        return self._attempts.get(self.run.day)

    def _plan_seen(self, plan_id: str) -> PlanSeen | None:
        reading = self._attempt()
        return reading.plans.get(plan_id) if reading else None

    # --- what is known of a key -------------------------------------------------------------------

    def life(self, key_id: str) -> Life:
        return self.lives[key_id]

    def _asked_in(self, key_id: str) -> str | None:
        """The tier of the request that a key says it was made for, if no answer told of it."""
        key = self._living.get(key_id) or self._leaving.get(key_id)
        for asked in self.asked.values():
            is_issue = asked.body.get("action") == "issue"
            if key is not None and is_issue and f"request={asked.request_id}" in key.description:
                return str(asked.body.get("tier"))
        return None

    def tier_of(self, key_id: str, plans: Sequence[str], reading: Reading) -> TierTerms | None:
        """A key's tier; None: nobody knows."""
        tiers = self.terms.tiers
        life = self.lives[key_id]
        if life.issued_tier is not None:
            return tiers.get(life.issued_tier)
        if (asked_in := self._asked_in(key_id)) is not None:
            return tiers.get(asked_in)
        names = {plan_id: plan.name for plan_id, plan in reading.plans.items()}
        named: list[TierTerms] = []
        unnamed = False
        for plan_id in plans:
            of_plan = [
                tier for tier in tiers.values() if _names(tier, plan_id, names.get(plan_id, ""))
            ]
            named += of_plan
            unnamed = unnamed or not of_plan
        there = {*names, *names.values()}
        if unnamed and any(plan not in there for tier in tiers.values() for plan in tier.plans):
            return None  # a plan that no tier names may be the one that a tier names wrongly
        return max(named, key=_idle_limits) if named else tiers["unclaimed"]

    def since(self, life: Life) -> date:
        """The latest sign of life."""
        signs = (
            life.made,
            life.used,
            None if self.run and life.changed_in == self.run.number else life.changed,
            life.moved,
            life.renewed,
            life.restored,
            life.gap,
            self.first_day,
        )
        return max(one for one in signs if one is not None)

    def blockers(self, key_id: str, day: date, *, newest: bool = True) -> list[str]:
        """Why the key must not be touched for idleness on a date; what is left out may be known.

        Without `newest` it is asked of a date that has passed.
        """
        life = self.lives[key_id]
        reading = self.readings.get(day)
        if reading is None:
            return ["nothing was read on that date"]
        if newest and any(one > day for one in self.readings):
            return ["there is a newer reading"]
        plans = reading.plans_of(key_id)
        tier = self.tier_of(key_id, plans, reading)
        if tier is None:
            return ["its tier is not known"]
        found = self._excused(key_id, day, tier, reading)
        for plan_id in plans:
            found += self._unknown(key_id, plan_id, reading.plans[plan_id], reading)
        if plans:
            return found + self._not_idle(life, day, tier)
        return found + self._no_orphan(life, day, tier)

    def _excused(self, key_id: str, day: date, tier: TierTerms, reading: Reading) -> list[str]:
        life = self.lives[key_id]
        found: list[str] = []
        if len(key_id) >= MAY_BE_VALUE:
            found.append("its id may be its value")
        if not tier.contact:
            found.append(f"tier {tier.name} has no contact")
        if life.protected_until is not None and life.protected_until >= day:
            found.append(f"it is protected until {life.protected_until}")
        if outage := self._outage(reading):
            found.append(outage)
        return found

    def _not_idle(self, life: Life, day: date, tier: TierTerms) -> list[str]:
        since = self.since(life)
        idle = (day - since).days
        # "Tonight's idle limit": that of the number of keys with which the night began.
        keys = max(self.counted_keys.get(day, 0), len(self._living) + 1)
        factor = self.terms.factor(keys)
        never = life.used is None and self._made_under_our_eyes(life)
        limit = tier.limit(factor, never_used=never)
        if limit is None:
            return [f"tier {tier.name} never expires"]
        return [f"idle for {idle} of {limit} days, since {since}"] if idle < limit else []

    def _no_orphan(self, life: Life, day: date, tier: TierTerms) -> list[str]:
        found = []
        if tier.idle is None and tier.name != "unclaimed":
            found.append(f"tier {tier.name} never expires")
        nights = self._nights_without_a_plan(life.key_id, day)
        if nights < tier.orphan:
            found.append(f"in no plan for {nights} of {tier.orphan} nights")
        elif life.used is not None and (day - life.used).days + 1 < tier.orphan:
            found.append(f"in no plan, and used on {life.used}")
        return found

    def _made_under_our_eyes(self, life: Life) -> bool:
        return self.first_day is not None and life.first_made > self.first_day

    def _unknown(self, key_id: str, plan_id: str, plan: PlanSeen, reading: Reading) -> list[str]:
        found = []
        if not plan.members_done:
            found.append(f"the members of {plan_id} were not read")
        if not plan.usage_done:
            found.append(f"the use of {plan_id} was not read to the end")
        if plan.fewer:
            found.append(f"{plan_id} tells clearly fewer requests than the reading before")
        if key_id in plan.misfit:
            found.append(f"its own days in {plan_id} do not fit")
        if not plan.stages:
            found.append(f"{plan_id} opens no stage")
        seen = max(
            self._witness.get((name, plan.has_quota), date.min) for name in (plan_id, *plan.stages)
        )
        silent = {plan_id, plan.name} & self.terms.silent_plans
        if (reading.day - seen).days > METERED_FOR and not silent:
            found.append(f"{plan_id} is silent")
        return found

    def _nights_without_a_plan(self, key_id: str, day: date) -> int:
        nights = 0
        while day in self.readings and not self.readings[day].plans_of(key_id):
            if self.lives[key_id].made > day:
                break
            nights += 1
            day -= DAY
        return nights

    def _outage(self, reading: Reading) -> str | None:
        """Whether the day before yesterday fell far under the ordinary days of the four weeks."""
        total: dict[date, int] = {}
        for plan in reading.plans.values():
            if plan.usage_done:
                for day, count in plan.by_day().items():
                    total[day] = total.get(day, 0) + count
        day = reading.day - 2 * DAY
        back = [day - DAY * number for number in range(1, 29)]
        ordinary = [total.get(one, 0) for one in back if one not in self._outages]
        weekdays = [total.get(one, 0) for one in back[6::7] if one not in self._outages]
        if len(ordinary) < 7 or not weekdays:
            return None
        used, usual = total.get(day, 0), median(ordinary)
        if usual >= 20 and min(weekdays) >= 20 and used * 12 < min(usual, *weekdays):
            self._outages.add(day)
            return f"an outage: {used} requests on {day}, {usual:g} are usual"
        return None

    def must_go(self, day: date) -> frozenset[str]:
        """Who may be swept on a date, without those that the pages let the code keep.

        A day that is far under any ordinary one may be an outage, for up to 90 days. A key in no plan
        may have been used by day in a plan that is unread.
        """
        reading = self.readings.get(day)
        if reading is None:
            return frozenset()
        total: dict[date, int] = {}
        for plan in reading.plans.values():
            for on, count in plan.by_day().items():
                total[on] = total.get(on, 0) + count
        used = total.get(day - 2 * DAY, 0)
        if used * 8 < max(total.values(), default=0):
            return frozenset()
        whole = all(plan.read for plan in reading.plans.values())
        return frozenset(
            key_id
            for key_id in self.past_limit(day)
            if (whole or reading.plans_of(key_id)) and not self._may_be_shut_by_others(key_id)
        )

    def _may_be_shut_by_others(self, key_id: str) -> bool:
        """Whether others changed a key since it was disabled: perhaps they disabled it, for good."""
        life = self.lives[key_id]
        shut = not self._living[key_id].enabled
        return shut and bool(life.changed and life.shut_on and life.changed >= life.shut_on)

    # --- what the functions do to keys ------------------------------------------------------------

    def disables(self, key: Any) -> None:
        """A function disables a key."""
        run = self._acting("disables", key)
        if run is None:
            return
        life = self.lives[key.key_id]
        look = run.looks.get(key.key_id)
        if look is None:
            raise Broken(1, "newest knowledge", f"{key.key_id} was not read before it was disabled")
        if not key.enabled:
            # Between its look and its call somebody else did; that stays theirs.
            return
        self._shielded(run, key.key_id, look, life)
        for_end = self._has_ended(life, run.day)
        if not for_end and (blockers := self.blockers(key.key_id, run.day)):
            self._break(1, "disabled", key.key_id, run, "; ".join(blockers))
        self._was_told(run, life, for_end=for_end)
        self._paced(run, "disable", key.key_id)
        life.shut_on, life.shut_for_end = run.day, for_end

    def parks(self, key: Any) -> None:
        """The sweep deletes a key, which is no longer among the living."""
        self._leaving = {key.key_id: key}
        run = self._acting("deletes", key)
        if run is None:
            return
        life = self.lives[key.key_id]
        if run.mode != "park":
            self._break(1, "mode", key.key_id, run, f"deleted in mode {run.mode}")
        look = run.looks.get(key.key_id)
        if look is None:
            raise Broken(1, "newest knowledge", f"{key.key_id} was not read before it was deleted")
        if not {key.shut_by, look.shut_by} & {"janitor", "somebody"}:
            self._break(1, "others' disabling", key.key_id, run, "others disabled it, or nobody")
        self._shielded(run, key.key_id, look, life)
        for_end = self._has_ended(life, run.day)
        if not for_end and (blockers := self.blockers(key.key_id, run.day)):
            self._break(1, "parked", key.key_id, run, "; ".join(blockers))
        if not life.shut:
            self._break(1, "told", key.key_id, run, "no Key Disabled was taken by the bus")
        at, said = life.shut[-1]
        if life.shut_on and at.date() < life.shut_on:
            self._break(1, "told", key.key_id, run, "its last disabling was not told")
        grace = min(t.grace for terms in self.past_terms for t in terms.tiers.values())
        if run.day < said or (run.day - at.date()).days < grace:
            self._break(1, "told", key.key_id, run, f"told at {at} that it goes on {said}")
        self._paced(run, "park", key.key_id)
        life.parked_on = run.day

    def enables(self, key: Any) -> None:
        """A function enables a key that was disabled."""
        if key.enabled:
            return
        if key.shut_by == "others":
            run = self.run
            self._break(1, "others' disabling", key.key_id, run, "others shut it; it was enabled")
        life = self.lives[key.key_id]
        life.restored = self.now.date()
        run = self.run
        if run and run.undo and life.shut_for_end and life.ends and not run.key_ids:
            self._break(
                1, "agreed end", key.key_id, run, f"an undo brings it back; ended {life.ends}"
            )

    def _has_ended(self, life: Life, day: date) -> bool:
        """Whether its agreed end has come, or may have come by what was not told yet."""
        if life.ends is not None and life.ends <= day:
            return True
        for asked in self.asked.values():
            if any(kind != "Key Request Refused" for kind, _ in asked.answers):
                continue
            body = asked.body
            rotated = body.get("action") == "rotate" and body.get("key_id") == life.key_id
            if rotated and asked.at.date() + DAY * int(body.get("overlap_days", 7)) <= day:
                return True
            new = life.issued_tier is None and body.get("action") == "issue"
            if new and str(body.get("expires_on", "9999")) <= str(day):
                return True
        return False

    def _acting(self, what: str, key: Any) -> Run | None:
        run = self.run
        if run is None or run.name == "provision_keys":
            return None
        if run.name != "expire_keys":
            raise Broken(6, "rights", f"{run.name} {what} {key.key_id}")
        if run.mode == "observe":
            self._break(1, "observe", key.key_id, run, f"{what} it in observe")
        if run.held:
            self._break(1, "hold", key.key_id, run, f"{what} it on hold")
        if not self.confirmed:
            self._break(1, "told", key.key_id, run, "no confirmed subscription listens")
        return run

    def _shielded(self, run: Run, key_id: str, look: Any, life: Life) -> None:
        why = None
        if any(_plain(tag) == _plain(self.keep_tag) for tag in look.tags):
            why = f"it has a tag of {self.keep_tag}"
        elif any(_plain(tag) in map(_plain, self.owned_marks) for tag in look.tags):
            why = "it has a mark of another tool"
        elif look.description.startswith("Managed by Terraform"):
            why = "Terraform made it"
        elif key_id in self.stacks:
            why = f"stack {self.stacks[key_id]} owns it"
        elif look.stage_keys and not (life.ends and life.ends <= run.day):
            why = "a stage names it"
        if why:
            self._break(1, "protected", key_id, run, why)

    def _was_told(self, run: Run, life: Life, *, for_end: bool) -> None:
        if for_end and life.ends is not None and not life.expiring:
            return  # the answer that agreed on the end has told it
        # An agreed end wins over use: what was told before the key's last sign of life holds.
        told = life.expiring[-1][0] if for_end and life.expiring else self._told(life)
        if told is None:
            why = f"bus {life.expiring[-1:]}, digests {life.digests[-1:]}"
            self._break(1, "told", life.key_id, run, f"nobody was told of it: {why}")
        at, said = life.expiring[-1]
        if run.day < said:
            self._break(1, "told", life.key_id, run, f"{said} was said, and it is {run.day}")
        if for_end:
            soonest = max(life.ends or date.max, at.date() + DAY)
            if said > soonest:
                why = f"it was to end on {life.ends}, told at {at} was {said}"
                self._break(1, "agreed end", life.key_id, run, why)
            return
        warn = min(t.warn for terms in self.past_terms for t in terms.tiers.values())
        if (run.day - told.date()).days < warn:
            self._break(1, "told", life.key_id, run, f"told at {told}, {warn} days were said")
        if at.date() < self.since(life):
            sign = self.since(life)
            self._break(1, "told", life.key_id, run, f"told at {at}, it showed life on {sign}")

    def _told(self, life: Life) -> datetime | None:
        """When bus and topic had told its last warning; None: one of them has not."""
        since = self.since(life)
        digests = [one for one in life.digests if one.date() >= since]
        if not life.expiring or not digests:
            return None
        at = life.expiring[-1][0]
        later = [one for one in digests if one >= at - timedelta(hours=2)]
        return max(at, later[0] if later else digests[-1])

    def _paced(self, run: Run, verb: str, key_id: str) -> None:
        pairs = self.approvals.get(run.day, set())
        if run.approve and run.approve in self.approved:
            pairs = pairs | set(self.approved[run.approve])
            self.approvals[run.day] = pairs
        if run.approve and (verb, key_id) not in pairs and not self._within(run, verb):
            self._break(1, "approval", key_id, run, f"{verb}: it was not in the approved plan")
        if (verb, key_id) not in pairs:
            if not self._within(run, verb):
                self._break(1, "allowance", key_id, run, f"one {verb} too many on this date")
            if why := self.brake_expected(run.day):
                self._break(1, "brake", key_id, run, f"{verb}: {why}")
        self.counts[run.day, verb] = self.counts.get((run.day, verb), 0) + 1
        self.touched.append((run.day, verb, key_id))

    def _within(self, run: Run, verb: str) -> bool:
        keys = max(self.counted_keys.get(run.day, 0), len(self._living) + 1)
        return self.counts.get((run.day, verb), 0) < self.terms.allowance(keys)

    # --- the brake --------------------------------------------------------------------------------

    def past_limit(self, day: date, *, newest: bool = True) -> frozenset[str]:
        """Who may be swept for idleness on a date; without `newest`, who might have been on that date."""
        return frozenset(
            key.key_id
            for key in self._living.values()
            if key.key_id in self.lives
            and not (not key.enabled and key.shut_by != "janitor")
            and not self.blockers(key.key_id, day, newest=newest)
            and not any(
                _plain(tag) in map(_plain, (self.keep_tag, *self.owned_marks)) for tag in key.tags
            )
        )

    def night_begins(self, day: date) -> None:
        """Before the first acting sweep of a date: who is newly past the idle limit."""
        if day in self.newly or day not in self.readings:
            return
        self.counted_keys[day] = len(self._living)
        past = self.past_limit(day)
        if self.newly and day - DAY not in self.newly:
            # "A backlog (a first night, a hold, nights that did not run) trips nothing": who passed
            # the limit on a night that was not swept is not newly past it tonight.
            self._past |= self.past_limit(day - DAY, newest=False)
        self.newly[day] = len(past - self._past)
        if not self.brake_expected(day):
            self._past = past

    def approval_ends(self, day: date) -> None:
        """A run with an approval went through: "until `approve` accepts it" (docs/life-of-a-key.md, K-1404)."""
        self._past |= self.past_limit(day)
        self.newly[day] = 0

    def brake_expected(self, day: date) -> str | None:
        """Why the brake must be on; None: it need not."""
        if len(self.acted) < 2:
            return None
        newly = self.newly.get(day, 0)
        allowance = self.terms.allowance(self.counted_keys.get(day, 0))
        before = [self.newly.get(day - DAY * back, 0) for back in range(1, 15)]
        if newly > 2.5 * allowance and newly > 4 * max(1, median(before)):
            return f"{newly} keys are newly idle, allowed are {allowance}"
        return None

    # --- what is told -----------------------------------------------------------------------------

    def event(self, kind: str, detail: Mapping[str, Any], at: datetime) -> None:
        """The bus took an event."""
        life = self.lives.get(str(detail.get("key_id")))
        asked = self.asked.get((str(detail.get("requested_by")), str(detail.get("request_id"))))
        again = asked is not None and (kind, detail.get("key_id")) in [
            (told, one.get("key_id")) for told, one in asked.answers
        ]
        if life is not None and not again:
            self._event_of_key(kind, detail, asked.at if asked else at, life)
        if detail.get("request_id"):
            self._answered(kind, detail, at)

    def _event_of_key(self, kind: str, detail: Mapping[str, Any], at: datetime, life: Life) -> None:
        match kind:
            case "Key Expiring":
                life.expiring.append((at, _said(detail)))
            case "Key Disabled":
                life.shut.append((at, date.fromisoformat(str(detail["park_on"]))))
            case "Key Parked":
                if life.key_id in self._living:
                    raise Broken(2, "parked", f"{life.key_id} is told parked, and lives")
                life.purge_said = date.fromisoformat(str(detail["restorable_until"]))
            case "Key Renewed":
                life.renewed = max(at.date(), life.renewed or at.date())
                if life.ends is not None and life.ends <= at.date():  # by the day it was asked
                    life.ends = None
            case "Key Protected":
                until = date.fromisoformat(str(detail["protected_until"]))
                life.protected_until = until
            case "Key Released":
                life.protected_until = None
            case "Key Restored":
                self._came_back(life, detail)
            case _:
                pass

    def _came_back(self, life: Life, detail: Mapping[str, Any]) -> None:
        """Its clock began when it was made or enabled."""
        life.ends = None
        former = self.lives.get(str(detail.get("previous_key_id")))
        if former is not None and former.key_id != life.key_id and life.previous is None:
            if former.value != life.value:
                raise Broken(2, "restored", f"{life.key_id} has not the value of {former.key_id}")
            life.previous = former.key_id
            life.first_made = former.first_made
            life.issued_tier, life.sender, life.owner = (
                former.issued_tier,
                former.sender,
                former.owner,
            )
            life.used = former.used
            life.protected_until = former.protected_until

    def digest(self, text: str, at: datetime) -> None:
        """The topic took a digest of warnings."""
        for life in self.lives.values():
            if life.key_id in text:
                life.digests.append(at)

    # --- requests ---------------------------------------------------------------------------------

    def ask(self, sender: str, body: Mapping[str, Any], at: datetime) -> None:
        """Somebody sends a request."""
        request_id = str(body.get("request_id"))
        known = self.asked.get((sender, request_id))
        if known is None:
            self.asked[sender, request_id] = Asked(sender, request_id, body, at)
        elif known.body != body:
            known.sent_other_bodies = True
        life = self.lives.get(str(body.get("key_id")))
        if life is not None and life.protected_until is not None:
            # Its answer may come late.
            if body.get("action") == "release":
                life.protected_until = None
            elif body.get("action") == "protect":
                until = date.fromisoformat(str(body["until"]))
                life.protected_until = min(life.protected_until, until)

    def _answered(self, kind: str, detail: Mapping[str, Any], at: datetime) -> None:
        sender, request_id = str(detail.get("requested_by")), str(detail["request_id"])
        asked = self.asked.get((sender, request_id))
        if self._of_a_redrive(kind, detail, asked):
            return
        if asked is None:
            raise Broken(3, "whose request", f"{kind} {request_id} names {sender}, who did not ask")
        if kind == "Key Request Refused":
            if detail.get("code") == "conflicting_request" and not asked.sent_other_bodies:
                raise Broken(3, "squat", f"{request_id} of {sender} is refused for another's body")
            asked.answers.append((kind, detail))
            return
        key_id = str(detail.get("key_id"))
        action = str(asked.body.get("action"))
        if kind in ("Key Issued", "Key Rotated"):
            self._new_key(kind, detail, asked, key_id)
        elif not asked.answers and action not in ("issue", "rotate"):
            self._may(asked, key_id, detail)
        asked.answers.append((kind, detail))
        del at

    def _of_a_redrive(self, kind: str, detail: Mapping[str, Any], asked: Asked | None) -> bool:
        """Whether it answers a message that was moved and that no run had seen before."""
        sender, request_id = detail.get("requested_by"), str(detail["request_id"])
        movers = {one[0] for one in self.redriven if one[1] == request_id}
        if sender is None:
            if kind != "Key Request Refused" or not movers:
                raise Broken(3, "whose request", f"{kind} {request_id} names no sender")
            return True
        if asked is None and sender in movers:
            if kind != "Key Request Refused":
                raise Broken(3, "redrive", f"{kind} {request_id}: its mover {sender} had it done")
            return True
        return False

    def _new_key(self, kind: str, detail: Mapping[str, Any], asked: Asked, key_id: str) -> None:
        earlier = {str(d["key_id"]) for k, d in asked.answers if k in ("Key Issued", "Key Rotated")}
        if earlier and earlier != {key_id}:
            raise Broken(3, "one key", f"{asked.request_id} got {earlier} and {key_id}")
        life = self.lives.get(key_id)
        if life is None:
            raise Broken(3, "one key", f"{asked.request_id} got {key_id}, which never was")
        mine = [
            one for one in self.lives.values() if one.made_for == (asked.sender, asked.request_id)
        ]
        if any(one.revoked for one in (life, *mine)):
            ended = [one.key_id for one in (life, *mine) if one.revoked]
            raise Broken(3, "revoked", f"{asked.request_id}: {ended} was revoked, {key_id} is new")
        if life.issued_tier is None:
            life.issued_tier = str(detail["tier"])
            life.sender = asked.sender
            life.owner = str(detail["owner"]) if detail.get("owner") else None
        if detail.get("expires_on"):
            life.ends = date.fromisoformat(str(detail["expires_on"]))
        if kind == "Key Issued" and not earlier:
            tiers = [terms.tiers.get(life.issued_tier) for terms in self.past_terms]
            if not any(t and (asked.sender in t.senders or "*" in t.senders) for t in tiers):
                raise Broken(3, "who may ask", f"{asked.sender} got a key of {life.issued_tier}")
        old = self.lives.get(str(detail.get("previous_key_id")))
        if kind == "Key Rotated" and old is not None and not earlier:
            if old.key_id in self._living:
                old.ends = date.fromisoformat(str(detail["previous_key_ends_on"]))
            life.sender = old.sender

    def _may(self, asked: Asked, key_id: str, detail: Mapping[str, Any]) -> None:
        """Whether who asked may act on the key."""
        life = self.lives.get(key_id)
        if life is None:
            return
        tier = str(detail.get("tier"))
        ours = life.sender == asked.sender
        admin = any(
            asked.sender in t.admins
            for terms in self.past_terms
            for name, t in terms.tiers.items()
            if name == tier
        )
        if not ours and not admin:
            raise Broken(3, "who may ask", f"{asked.sender} acts on {key_id} of tier {tier}")

    def key_is_revoked(self, key_id: str, by: str) -> None:
        """A function deletes a key because somebody asked for it."""
        life = self.lives[key_id]
        life.revoked = True
        self.revoked_values[life.value] = f"{key_id}, by {by}"

    def value_appears(self, value: str, key_id: str) -> None:
        """A function makes a key with a value."""
        if value in self.revoked_values:
            was = self.revoked_values[value]
            raise Broken(3, "revoked", f"the value of {was} comes alive as {key_id}")

    def tombstone_goes(self, key_id: str, day: date) -> None:
        """A tombstone is destroyed."""
        life = self.lives.get(key_id)
        if life is None or life.revoked or life.value in self.revoked_values:
            return
        if any(key.value == life.value for key in self._living.values()):
            return
        if life.purge_said is None or day < life.purge_said:
            said = life.purge_said
            raise Broken(2, "tombstone", f"that of {key_id} is destroyed on {day}, said was {said}")

    def _break(self, promise: int, rule: str, key_id: str, run: Run | None, why: str) -> NoReturn:
        who = f"{run.name} of {run.day} at {run.at:%Y-%m-%d %H:%M}" if run else "somebody"
        raise Broken(promise, rule, f"{key_id} ({who}): {why}")


def _said(detail: Mapping[str, Any]) -> date:
    return date.fromisoformat(str(detail.get("disable_on") or detail["park_on"]))


def _clearly_fewer(before: PlanSeen, now: PlanSeen, start: date, end: date) -> bool:
    """Whether a plan tells clearly fewer requests than before, for the same days and keys."""
    same = before.truth & now.truth
    sums = [
        sum(
            count
            for key_id, used in plan.usage.items()
            if key_id in same and key_id not in now.misfit
            for day, count in used.items()
            if start <= day <= end
        )
        for plan in (before, now)
    ]
    return sums[0] >= 20 and sums[1] * 10 < sums[0]


def _names(tier: TierTerms, plan_id: str, name: str) -> bool:
    """Whether a plan is a tier's: by its id, by its name, or made for the tier."""
    return (
        plan_id in tier.plans or name in tier.plans or name.startswith(f"keyjanitor {tier.name} ")
    )


def _idle_limits(tier: TierTerms) -> tuple[float, ...]:
    return (
        not tier.contact,
        float("inf") if tier.idle is None else tier.idle,
        tier.never_used,
        tier.orphan,
        tier.warn + tier.grace,
    )


def _plain(text: str) -> str:
    """A mark as marks are compared: without case, - and _."""
    return text.lower().replace("-", "").replace("_", "")
