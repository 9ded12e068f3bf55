"""Accounts full of API keys that look like life, made up the same way for the same seed.

Three tiers share the stages of one API: `external` with a monthly quota, `front-end` and
`partners` without. Every key knows the truth about itself (its kind, its habit), so that a test
can tell what should have happened to it. Needs nothing but the standard library.
"""

import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

HISTORY_DAYS = 120
_MASK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Tier:
    """A usage plan of the account: its name, the stage that it opens, its quota."""

    name: str
    stage: str
    quota: Mapping[str, Any] | None = None
    throttle: Mapping[str, Any] | None = None


EXTERNAL = Tier("external", "prod", {"limit": 50_000, "period": "MONTH"})
FRONT_END = Tier("front-end", "web")
PARTNERS = Tier("partners", "partners")
TIERS = (EXTERNAL, FRONT_END, PARTNERS)


class Kind(StrEnum):
    """What is true about a key."""

    STEADY = "used on most days"
    BUSY = "used every day, and much"
    WEEKLY = "used once a week"
    MONTHLY = "used once a month"
    RETURNING = "used for some days, again after a month"
    ABANDONED = "a sign-up that was dropped after days"
    NEVER_USED = "a sign-up that was never used"
    ORPHAN = "in no usage plan"
    TWO_PLANS = "in two usage plans, used through one"
    TERRAFORM = "made by Terraform"
    STACK = "made by a CloudFormation stack"
    DISABLED_BY_HAND = "disabled by somebody"
    TWIN = "one of two keys with one name"
    ODD_NAME = "named so that careless code breaks"


@dataclass(frozen=True, slots=True)
class Habit:
    """On which days a key is used, and how much.

    `per_day` requests on the mean day of use; under 1, the chance of a single one. Days are
    ordinals. `every` is 1, 7 (on `turn`, a weekday with Monday 0) or 30 (on `turn`, a day of the
    month); `pause` gives the days (at work, away) of a client who comes and goes.
    """

    per_day: float
    first: int
    last: int | None = None
    every: int = 1
    turn: int = 0
    pause: tuple[int, int] | None = None

    def uses(self, noise: int, day: int) -> int:
        """Requests on `day` of the key whose `noise` this is."""
        if day < self.first or (self.last is not None and day > self.last) or not self.per_day:
            return 0
        if self.every == 7 and (day - 1) % 7 != self.turn:
            return 0
        if self.every == 30 and date.fromordinal(day).day != self.turn:
            return 0
        if self.pause is not None:
            at_work, away = self.pause
            if (day - self.first) % (at_work + away) >= at_work:
                return 0
        mixed = (noise ^ (day * 0x9E3779B1)) & _MASK
        mixed = ((mixed ^ (mixed >> 15)) * 0x85EBCA6B) & _MASK
        mixed = ((mixed ^ (mixed >> 13)) * 0xC2B2AE35) & _MASK
        chance = (mixed ^ (mixed >> 16)) / _MASK
        if self.per_day < 1:
            return int(chance < self.per_day)
        return max(1, int(self.per_day * (0.5 + chance)))


@dataclass(frozen=True, slots=True)
class SimulatedKey:
    """A key as it would be found in the account, and the truth about it.

    `plans` are names of tiers. `kind` says what it is, `habit` how it is used; a key that somebody
    disabled goes on as its habit says only if it is enabled again, which is the reader's to judge.
    """

    name: str
    value: str
    kind: Kind
    plans: tuple[str, ...]
    created: datetime
    habit: Habit
    updated: datetime | None = None
    enabled: bool = True
    description: str | None = None
    customer_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    owner_stack: str | None = None
    noise: int = 0

    def uses_on(self, day: date) -> int:
        """Requests that its owner sends on a UTC date."""
        return self.habit.uses(self.noise, day.toordinal())

    def uses_from(self, first: date, days: int) -> list[int]:
        """Requests of each of `days` days from `first` on."""
        start = first.toordinal()
        habit, noise = self.habit, self.noise
        end = start + days if habit.last is None else min(start + days, habit.last + 1)
        if not habit.per_day or end <= start:
            return []
        return [habit.uses(noise, day) for day in range(start, end)]

    def last_used(self, until: date, days: int = HISTORY_DAYS) -> date | None:
        """The last day with a request in the `days` days up to `until`, or None."""
        for n in range(days):
            day = until - timedelta(days=n)
            if self.uses_on(day):
                return day
        return None

    def as_row(self, plan_ids: Mapping[str, str], first: date, days: int) -> dict[str, Any]:
        """The key with its past from `first` on, for `Sandbox.lay_down_rows`.

        `plan_ids` gives the usage plan id of each tier's name. Its use goes to its first plan.
        """
        row: dict[str, Any] = {
            "name": self.name,
            "value": self.value,
            "enabled": self.enabled,
            "created": int(self.created.timestamp()),
            "updated": int((self.updated or self.created).timestamp()),
            "plans": [plan_ids[name] for name in self.plans],
        }
        extras = {
            "description": self.description,
            "customer_id": self.customer_id,
            "tags": dict(self.tags),
            "owner_stack": self.owner_stack,
        }
        row |= {name: extra for name, extra in extras.items() if extra}
        uses = self.uses_from(first, days) if self.plans else []
        if any(uses):
            row["uses"] = [[row["plans"][0], first.isoformat(), uses]]
        return row


# Shares of a population, in parts of a thousand.
_SHARES: tuple[tuple[Kind, Tier | None, int], ...] = (
    (Kind.NEVER_USED, EXTERNAL, 160),
    (Kind.ABANDONED, EXTERNAL, 255),
    (Kind.STEADY, EXTERNAL, 175),
    (Kind.WEEKLY, EXTERNAL, 70),
    (Kind.MONTHLY, EXTERNAL, 60),
    (Kind.RETURNING, EXTERNAL, 30),
    (Kind.BUSY, EXTERNAL, 15),
    (Kind.ODD_NAME, EXTERNAL, 5),
    (Kind.TWIN, EXTERNAL, 0),  # always two of them
    (Kind.BUSY, FRONT_END, 38),
    (Kind.STEADY, PARTNERS, 70),
    (Kind.WEEKLY, PARTNERS, 20),
    (Kind.MONTHLY, PARTNERS, 20),
    (Kind.ORPHAN, None, 20),
    (Kind.TWO_PLANS, PARTNERS, 15),
    (Kind.TERRAFORM, PARTNERS, 20),
    (Kind.STACK, PARTNERS, 15),
    (Kind.DISABLED_BY_HAND, EXTERNAL, 10),
)

ODD_NAMES = (
    "Smith, John",
    'the "blue" app',
    "=HYPERLINK(1+1)",
    "Robert'); DROP TABLE keys;--",
    "ключ доступа",
    "鍵🔑",
    "\u202ereversed",
    "<script>alert(1)</script>",
    "${jndi:ldap://x}",
    "%s %d {0} {name}",
    "two\nlines",
    "   ",
    "",
    "null",
    "x" * 1024,
    "é" * 300,
)


@dataclass(frozen=True, slots=True)
class Population:
    """The keys of an account at the end of `until`, and those that sign up on the days after."""

    keys: tuple[SimulatedKey, ...]
    until: date
    seed: int
    arrivals_per_day: float

    def arrivals(self, day: date, busy: float = 1.0) -> tuple[SimulatedKey, ...]:
        """The sign-ups of one day: the same whenever it is asked for.

        `busy` says how busy the day is: 2 brings twice as many as the mean day.
        """
        draw = random.Random(f"{self.seed} {day}")
        count = int(self.arrivals_per_day * busy + draw.random())
        made = []
        for n in range(count):
            kind = draw.choices(
                (Kind.NEVER_USED, Kind.ABANDONED, Kind.STEADY, Kind.WEEKLY, Kind.MONTHLY),
                (20, 35, 30, 10, 5),
            )[0]
            made.append(_make(draw, f"{self.seed} {day} {n}", kind, EXTERNAL, day, day))
        return tuple(made)

    def rows(
        self, plan_ids: Mapping[str, str], days: int = HISTORY_DAYS
    ) -> Iterator[dict[str, Any]]:
        """Every key with its last `days` days of use, for `Sandbox.lay_down_rows`."""
        first = self.until - timedelta(days=days - 1)
        for key in self.keys:
            yield key.as_row(plan_ids, first, days)


def population(
    n: int, until: date, seed: int = 1, arrivals_per_day: float | None = None
) -> Population:
    """Make up `n` keys whose life is known up to and including the UTC date `until`.

    About half of the external sign-ups were dropped or never used. `arrivals_per_day` is n/600 if
    left out, which fills an account of 9,300 keys to under 10,000 in a month without expiry.
    """
    draw = random.Random(f"{seed} population")
    kinds: list[tuple[Kind, Tier | None]] = []
    for kind, tier, share in _SHARES:
        kinds += [(kind, tier)] * (2 if kind is Kind.TWIN else max(1, n * share // 1000))
    kinds += [(Kind.STEADY, EXTERNAL)] * (n - len(kinds))
    draw.shuffle(kinds)
    keys = tuple(
        _make(draw, f"{seed} {number}", kind, tier, _birthday(draw, until), until)
        for number, (kind, tier) in enumerate(kinds[:n])
    )
    return Population(keys, until, seed, n / 600 if arrivals_per_day is None else arrivals_per_day)


def _birthday(draw: random.Random, until: date) -> date:
    """Most keys are months old, some are years old, some are of this week."""
    return until - timedelta(days=int(1000 * draw.random() ** 2))


def _make(
    draw: random.Random, number: str, kind: Kind, tier: Tier | None, born: date, until: date
) -> SimulatedKey:
    digest = hashlib.sha256(number.encode()).hexdigest()
    created = datetime.combine(born, time(draw.randrange(24), draw.randrange(60)), UTC)
    given: dict[str, Any] = {
        "name": f"{draw.choice(_APPS)}-{digest[40:46]}",
        "plans": (tier.name,) if tier else (),
        "customer_id": f"user-{digest[46:54]}" if tier is EXTERNAL else None,
    }
    given |= _marks(draw, kind, born, until)
    return SimulatedKey(
        value=digest[:40],
        kind=kind,
        created=created,
        habit=_habit(draw, kind, tier, born, until),
        noise=int(digest[54:62], 16),
        **given,
    )


_APPS = ("mobile", "dashboard", "importer", "notebook", "school-project", "kiosk", "crawler")


def _marks(draw: random.Random, kind: Kind, born: date, until: date) -> dict[str, Any]:
    """What tells a key of its kind from others."""
    match kind:
        case Kind.ODD_NAME:
            return {"name": draw.choice(ODD_NAMES)}
        case Kind.TWIN:
            return {"name": "mobile app"}
        case Kind.TWO_PLANS:
            return {"plans": (PARTNERS.name, EXTERNAL.name)}
        case Kind.TERRAFORM if draw.random() < 0.5:
            return {"description": "Managed by Terraform"}
        case Kind.TERRAFORM:
            return {"tags": {"ManagedBy": "terraform"}}
        case Kind.STACK:
            stack = f"service-{draw.randrange(40)}"
            tags = {
                "aws:cloudformation:stack-name": stack,
                "aws:cloudformation:logical-id": "ApiKey",
            }
            # Some stacks were made by tools whose tags never reached the key.
            return {"owner_stack": stack, "tags": tags if draw.random() < 0.8 else {}}
        case Kind.DISABLED_BY_HAND:
            day = born + timedelta(days=draw.randrange(max(1, (until - born).days)))
            return {"enabled": False, "updated": datetime.combine(day, time(12), UTC)}
        case _:
            return {}


def _habit(draw: random.Random, kind: Kind, tier: Tier | None, born: date, until: date) -> Habit:
    first = born.toordinal()
    heavy_tail = min(1_200.0, draw.paretovariate(0.9))
    match kind:
        case Kind.NEVER_USED | Kind.ORPHAN:
            return Habit(0, first)
        case Kind.ABANDONED:
            return Habit(draw.uniform(1, 20), first, last=first + draw.randrange(10))
        case Kind.BUSY:
            scale = 50 if tier is FRONT_END else 1
            return Habit(scale * draw.uniform(300, 1_200), first)
        case Kind.WEEKLY:
            return Habit(heavy_tail, first, every=7, turn=draw.randrange(7))
        case Kind.MONTHLY:
            return Habit(heavy_tail, first, every=30, turn=draw.randrange(1, 29))
        case Kind.RETURNING:
            return Habit(heavy_tail, first, pause=(draw.randrange(3, 12), draw.randrange(31, 45)))
        case Kind.DISABLED_BY_HAND:
            return Habit(heavy_tail, first, last=(until - timedelta(days=30)).toordinal())
        case Kind.TERRAFORM | Kind.STACK if draw.random() < 0.5:
            return Habit(0, first)
    return Habit(draw.choice((0.3, 0.6, heavy_tail, heavy_tail)), first)
