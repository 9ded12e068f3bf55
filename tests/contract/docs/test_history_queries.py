"""The queries of docs/history.md, run by DuckDB over the files that the functions themselves wrote.

An account lives nineteen nights: owners with hostile names, two nights that did not run, plans that
could not be read, a plan and a key that somebody deletes, keys that the sweep parks. What the
queries have to answer is worked out from what the owners did, not from the files.
"""

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from types import ModuleType
from typing import Any

import pytest

from keyjanitor.domain.expiry.keys_file import WHOLE_NIGHTS
from keyjanitor.domain.model.keys import ApiKey
from keyjanitor.domain.usage.plan_usage import UsagePage
from keyjanitor.errors import CallFailed
from sandbox.driver.population import ODD_NAMES, Habit, Kind, SimulatedKey, population
from sandbox.memory.adapters.api_gateway import FakeApiGateway
from sandbox.memory.adapters.ownership import FakeOwnership
from sandbox.memory.clients.clients import clients_in_memory
from tests.account import Account
from tests.builders import DAY, a_policy, a_tier, a_usage_plan, at
from tests.contract.template.test_template import tables
from tests.template import ROOT

pytestmark = pytest.mark.slow

FIRST, LAST = date(2026, 11, 3), date(2026, 11, 21)  # nights; the docs ask about November
OLDEST = FIRST - DAY * 90
MISSED = (date(2026, 11, 14), date(2026, 11, 15))
FRONT_END_UNREAD = (date(2026, 11, 8), date(2026, 11, 12))
PARTNERS_UNREAD = (date(2026, 11, 20), LAST)
NEVER_KNOWN = (date(2026, 11, 19), date(2026, 11, 20))  # of partners
DELETED, DELETED_ON = "a1b2c3d4e5", date(2026, 11, 10)
PILOT_DELETED_ON = date(2026, 11, 12)
ARRIVED, ARRIVED_ON = "arrived001", date(2026, 11, 6)
LOST = (date(2026, 8, 20), date(2026, 8, 21))  # files that somebody deleted

STAGES = {
    "external": ("api1:prod",),
    "front-end": ("api1:admin", "api1:web"),
    "partners": ("api1:partners",),
    "pilot": ("api1:prod",),
}
QUOTA = 50_000
PLANS = {name: f"{name[:5]}0" for name in STAGES}
NAMES = {plan_id: name for name, plan_id in PLANS.items()}


class Metered(FakeApiGateway):
    """API Gateway with a monthly quota, which forgets the use of a key that is deleted.

    It tells of whoever was ever used.
    """

    def __init__(self, today: date) -> None:
        super().__init__(at(today, 3))
        self.unreadable: set[str] = set()

    def usage(self, usage_plan_id: str, start: date, end: date) -> Iterator[UsagePage]:
        if usage_plan_id in self.unreadable:
            raise CallFailed("GetUsage", "InternalServerErrorException")
        has_quota = self.plans[usage_plan_id].has_quota
        days = [start + DAY * index for index in range((end - start).days + 1)]
        told: dict[str, list[list[int]]] = {
            key_id: [
                [used.get(day, 0), *([left_of(used, day)] if has_quota else [])] for day in days
            ]
            for (plan_id, key_id), used in self.requests.items()
            if plan_id == usage_plan_id and key_id in self.living
        }
        ids = list(told)
        for first in range(0, max(1, len(ids)), 7):
            yield UsagePage(start, end, {k: told[k] for k in ids[first : first + 7]})


def left_of(used: Mapping[date, int], day: date) -> int:
    """What a day leaves of the month's quota."""
    days = (day.replace(day=number) for number in range(1, day.day + 1))
    return max(0, QUOTA - sum(used.get(each, 0) for each in days))


@dataclass
class Row:
    """What has to be known of a day of a key in a plan, or why it cannot be."""

    dt: str
    plan: str
    key_id: str
    used: int | None
    remaining: int | None
    missing: str | None


@dataclass
class Line:
    """A key as a sweep found it."""

    dt: str
    name: str
    owner: str | None
    tier: str


@dataclass
class World:
    """The account, and the truth about it."""

    account: Account
    keys: dict[str, SimulatedKey] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    used: dict[tuple[str, str], dict[date, int]] = field(default_factory=dict)
    joined: dict[tuple[str, str], date] = field(default_factory=dict)
    left: dict[tuple[str, str], date] = field(default_factory=dict)
    lines: defaultdict[str, list[Line]] = field(default_factory=lambda: defaultdict(list))

    @property
    def gateway(self) -> Metered:
        assert isinstance(self.account.gateway, Metered)
        return self.account.gateway

    # --- what people do ---------------------------------------------------------------------------

    def make(self, key_id: str, key: SimulatedKey, first_row: date) -> None:
        made = ApiKey(
            key_id=key_id,
            name=key.name,
            enabled=key.enabled,
            created_date=key.created,
            last_updated_date=key.updated or key.created,
            tags=dict(key.tags),
        )
        self.gateway.add_key(made, plans=[PLANS[name] for name in key.plans])
        self.keys[key_id] = key
        self.joined |= {(name, key_id): first_row for name in key.plans}

    def use(self, day: date) -> None:
        for key_id, key in self.keys.items():
            shut = key_id not in self.gateway.ids or not self.account.enabled(key_id)
            plans = [name for name in key.plans if (name, key_id) not in self.left]
            requests = key.uses_on(day)
            if shut or not plans or not requests:
                continue
            self.gateway.use(PLANS[plans[0]], key_id, day, requests)
            self.used.setdefault((plans[0], key_id), {})[day] = requests

    def delete(self, key_id: str) -> None:
        self.gateway.delete(key_id)
        self.leaves(key_id)

    def leaves(self, key_id: str) -> None:
        for name in self.keys[key_id].plans:
            self.left.setdefault((name, key_id), self.account.today)

    def delete_pilot(self) -> None:
        self.gateway.delete_plan(PLANS["pilot"])
        for key_id, key in self.keys.items():
            if "pilot" in key.plans:
                self.left.setdefault(("pilot", key_id), self.account.today)

    # --- what keyjanitor does ---------------------------------------------------------------------

    def night(self) -> None:
        today = self.account.today
        self.gateway.unreadable = {
            PLANS[name]
            for name, (first, last) in {
                "front-end": FRONT_END_UNREAD,
                "partners": PARTNERS_UNREAD,
            }.items()
            if first <= today <= last
        }
        self.account.read()
        before = set(self.gateway.ids)
        for key_id in before:
            owned = self.owners.get(key_id) if self.lines[key_id] else None  # adopted before
            name, tier = self.keys[key_id].name, self.tier(key_id)
            self.lines[key_id].append(Line(str(today), name, owned, tier))
        self.account.sweep()
        for key_id in before - set(self.gateway.ids):
            self.leaves(key_id)
        for key_id, owner in self.owners.items():
            row = self.account.row(key_id)
            if row is not None and row.owner is None and key_id in self.gateway.ids:
                self.account.own(key_id, owner)

    def tier(self, key_id: str) -> str:
        plans = [name for name in self.keys[key_id].plans if (name, key_id) not in self.left]
        for name in ("front-end", "partners", "external"):  # the most patient first
            if name in plans:
                return name
        return "unclaimed"

    # --- the truth --------------------------------------------------------------------------------

    def rows(self, first: str = "2026-11-01", last: str = "2026-11-30") -> list[Row]:
        """What is known of every day of every key in a plan."""
        found = []
        for (name, key_id), joined in sorted(self.joined.items()):
            left = self.left.get((name, key_id), LAST)
            end = min(left, LAST - DAY)  # the day on which it left was never told
            for index in range((end - joined).days + 1):
                day = joined + DAY * index
                if not first <= str(day) <= last or day in LOST:
                    continue
                why = self.missing(name, key_id, day)
                used = None if why else self.used.get((name, key_id), {}).get(day, 0)
                remaining = None if why else self.remaining(name, key_id, day)
                found.append(Row(str(day), name, key_id, used, remaining, why))
        return found

    def missing(self, name: str, key_id: str, day: date) -> str | None:
        if day == self.left.get((name, key_id)):
            with_its_plan = name == "pilot" and key_id != DELETED
            what = "the plan was deleted" if with_its_plan else "the key left the plan"
            return f"{what} before the day was read"
        if name == "partners" and day in NEVER_KNOWN:
            return "GetUsage failed: InternalServerErrorException"
        return None

    def remaining(self, name: str, key_id: str, day: date) -> int | None:
        used = self.used.get((name, key_id))
        if name != "external" or used is None:
            return None
        # Of a key that nobody ever used API Gateway tells nothing; the night after its first use
        # learns three days.
        night = min(used) + DAY
        while night in MISSED:
            night += DAY
        return left_of(used, day) if night <= FIRST or day >= night - DAY * 3 else None

    def line(self, key_id: str, dt: str) -> Line | None:
        """A key as it was on a date: by the first sweep from then on, else by the last of all."""
        lines = self.lines.get(key_id, [])
        return next((one for one in lines if one.dt >= dt), lines[-1] if lines else None)


def a_world(account: Account) -> World:
    world = World(account)
    account.gateway = Metered(FIRST)
    account.owners = FakeOwnership(account.gateway)
    account.wire()
    for name, stages in STAGES.items():
        plan = a_usage_plan(PLANS[name], name=name, stages=stages, has_quota=name == "external")
        world.gateway.add_plan(plan)
    for number, key in enumerate(population(70, FIRST - DAY).keys):
        key_id = f"k{number:09}"
        world.make(key_id, key, OLDEST)
        # Of some nobody knows the owner, and some owners chose their names to break something.
        if number % 5:
            world.owners[key_id] = ODD_NAMES[number % len(ODD_NAMES)] or f"user-{number % 7}"
    for key_id, plans, per_day in (
        (DELETED, ("external", "pilot"), 40.0),
        ("pilotonly0", ("pilot",), 11.0),
        ("hungry0001", ("external",), 2_900.0),
        ("nearly0001", ("external",), 2_300.0),
    ):
        world.make(key_id, a_busy_key(key_id, plans, per_day), OLDEST)
        world.owners[key_id] = f"owner of {key_id}"
    for back in range(100, 0, -1):
        world.use(FIRST - DAY * back)
    return world


def a_busy_key(
    key_id: str, plans: tuple[str, ...], per_day: float, born: date = OLDEST - DAY * 30
) -> SimulatedKey:
    habit = Habit(per_day, born.toordinal())
    return SimulatedKey(f"name of {key_id}", key_id, Kind.BUSY, plans, at(born), habit)


def live(world: World) -> None:
    account = world.account
    while True:
        today = account.today
        if today not in MISSED:
            world.night()
        if today == LAST:
            return
        if today == ARRIVED_ON:
            # The night after it writes three days.
            world.make(ARRIVED, a_busy_key(ARRIVED, ("external",), 5.0, today), today - DAY * 2)
            world.owners[ARRIVED] = "user-new"
        world.use(today)
        if today == DELETED_ON:
            world.delete(DELETED)
        if today == PILOT_DELETED_ON:
            world.delete_pilot()
        account.pass_day()


@pytest.fixture(scope="module")
def world(functions: dict[str, ModuleType]) -> World:
    brisk: dict[str, Any] = {"warn_days": 1, "grace_days": 1}
    policy = a_policy(
        a_tier("external", **brisk),
        a_tier("partners", **brisk, idle_days=80),
        a_tier("front-end", **brisk, idle_days="never"),
    )
    make: Any = Account
    account: Account = make(clients_in_memory(), **functions, policy=policy, today=FIRST)
    made = a_world(account)
    live(made)
    for day in LOST:
        account.clients.s3.delete_object(
            Bucket=account.bucket, Key=f"usage/dt={day}/usage.jsonl.gz"
        )
    return made


# --- the files as Athena would read them ------------------------------------------------------------

TYPES = {
    "string": "VARCHAR",
    "bigint": "BIGINT",
    "boolean": "BOOLEAN",
    "array<string>": "VARCHAR[]",
}


Answers = list[tuple[Any, ...]]

# In a process of its own: at the end of one that also ran Hypothesis DuckDB complains of leaks.
DUCKDB = """
import json, sys, duckdb
asked = json.load(sys.stdin)
connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
connection.execute("SET enable_progress_bar = false")  # it shows what takes two seconds or more
for view in asked["views"]:
    connection.execute(view)
found = {name: connection.sql(query).fetchall() for name, query in asked["queries"].items()}
json.dump(found, sys.stdout)
"""
USAGE = "SELECT dt, plan_id, plan_name, stages, key_id, used, remaining, missing FROM usage"
KEYS = "SELECT dt, key_id, name, owner, tier FROM keys ORDER BY dt"


@pytest.fixture(scope="module")
def athena(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answers]:
    """What DuckDB answers over the bucket's files, by the columns that the template gives them."""
    folder = tmp_path_factory.mktemp("history")
    for prefix in ("usage/", "keys/"):
        for name, body in world.account._files(prefix).items():
            (folder / name).parent.mkdir(parents=True)
            (folder / name).write_bytes(body)
    views = []
    for name, table in tables().items():
        columns = {one["Name"]: TYPES[one["Type"]] for one in table["StorageDescriptor"]["Columns"]}
        views.append(
            f"CREATE VIEW {name} AS SELECT * FROM read_json('{folder}/{name}/*/{name}.jsonl.gz', "
            f"format = 'newline_delimited', columns = {columns}, "
            "hive_partitioning = true, hive_types = {'dt': VARCHAR})"
        )
    asked = {"views": views, "queries": {**queries(), "usage": USAGE, "keys": KEYS}}
    done = subprocess.run(
        [sys.executable, "-c", DUCKDB],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, list[list[Any]]] = json.loads(done.stdout)
    return {name: [tuple(row) for row in rows] for name, rows in answers.items()}


def test_the_usage_table_is_what_the_owners_did(world: World, athena: dict[str, Answers]) -> None:
    found = sorted(athena["usage"], key=lambda row: (row[2], row[4], row[0]))
    assert found == [
        (
            row.dt,
            PLANS[row.plan],
            row.plan,
            list(STAGES[row.plan]),
            row.key_id,
            row.used,
            row.remaining,
            row.missing,
        )
        for row in sorted(world.rows("2026-01-01"), key=lambda row: (row.plan, row.key_id, row.dt))
    ]


def test_the_keys_table_says_of_every_night_what_the_sweep_found(
    world: World, athena: dict[str, Answers]
) -> None:
    told = defaultdict(list)
    for dt, key_id, *what in athena["keys"]:
        told[key_id].append((dt, what))
    for key_id, truth in world.lines.items():
        for line in truth:
            first = next(what for dt, what in told[key_id] if dt >= line.dt)
            assert first == [line.name, line.owner, line.tier]
        assert told[key_id][-1][0] == truth[-1].dt  # its last line stays


def test_keys_files_have_every_key_for_eight_nights_and_then_what_the_next_does_not_repeat(
    world: World,
) -> None:
    nights = sorted({line.dt for lines in world.lines.values() for line in lines})
    found = {dt: world.account.keys_file(date.fromisoformat(dt)).keys() for dt in nights}
    living = {dt: {k for k, ls in world.lines.items() if dt in {x.dt for x in ls}} for dt in nights}
    whole = {dt for dt in nights if found[dt] == living[dt]}
    recent = {str(LAST - DAY * back) for back in range(WHOLE_NIGHTS + 1)}
    before_a_gap = {str(MISSED[0] - DAY)}
    assert recent & set(nights) | before_a_gap <= whole
    thin = set(nights) - recent - before_a_gap
    assert len(thin) > 5
    quiet = sorted(thin)[5:]  # the first nights adopt, warn, disable and park
    assert all(len(found[dt]) < len(living[dt]) / 4 for dt in quiet), found


def test_the_world_has_what_queries_stumble_over(world: World) -> None:
    parked = {k for k, state in world.account.states().items() if state == "parked"}
    assert len(parked) > 5
    assert {DELETED, "pilotonly0", ARRIVED} <= world.lines.keys()
    names = {key.name for key in world.keys.values()}
    assert names & set(ODD_NAMES)
    assert len(set(world.owners.values()) & set(ODD_NAMES)) > 10


# --- the queries ----------------------------------------------------------------------------------


def queries() -> dict[str, str]:
    """The queries of the docs by their headings; the second under one has a 2 behind it."""
    found: dict[str, str] = {}
    text = (ROOT / "docs" / "history.md").read_text(encoding="utf-8")
    for section in re.split(r"^## ", text, flags=re.M)[1:]:
        heading = section.splitlines()[0]
        for number, query in enumerate(re.findall(r"^```sql\n(.*?)^```$", section, re.M | re.S)):
            found[f"{heading} {number + 1}" if number else heading] = query
    return found


TRUTHS: dict[str, Callable[[World], Answers]] = {}


def answers(heading: str) -> Callable[[Callable[[World], Answers]], Callable[[World], Answers]]:
    def register(truth: Callable[[World], Answers]) -> Callable[[World], Answers]:
        TRUTHS[heading] = truth
        return truth

    return register


def last(value: Any) -> tuple[bool, Any]:
    """Sorts None behind all else."""
    return (value is None, value if value is not None else 0)


def falling(number: int | None) -> tuple[bool, int]:
    return (number is None, -(number or 0))


def total(rows: Iterable[Row]) -> int | None:
    known = [row.used for row in rows if row.used is not None]
    return sum(known) if known else None


def unknown(rows: Iterable[Row]) -> int:
    return sum(row.used is None for row in rows)


def used_keys(rows: Iterable[Row]) -> int:
    return len({row.key_id for row in rows if row.used})


def grouped(rows: Iterable[Row], by: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    groups: defaultdict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        groups[by(row)].append(row)
    return dict(groups)


def by_line(world: World, what: str) -> Answers:
    def of(row: Row) -> str | None:
        line = world.line(row.key_id, row.dt)
        return getattr(line, what) if line else None

    found = [
        (group, total(rows), len({row.key_id for row in rows}), used_keys(rows), unknown(rows))
        for group, rows in grouped(world.rows(), of).items()
    ]
    return sorted(found, key=lambda one: (falling(one[1]), last(one[0])))


@answers("Use by owner")
def use_by_owner(world: World) -> Answers:
    return by_line(world, "owner")


@answers("Use by tier")
def use_by_tier(world: World) -> Answers:
    return by_line(world, "tier")


@answers("Use by stage")
def use_by_stage(world: World) -> Answers:
    found = []
    for stage in {stage for stages in STAGES.values() for stage in stages}:
        rows = [row for row in world.rows() if stage in STAGES[row.plan]]
        alone = [row for row in rows if STAGES[row.plan] == (stage,)]
        found.append((stage, total(alone) or 0, total(rows), used_keys(rows), unknown(rows)))
    return sorted(found, key=lambda one: (falling(one[2]), one[0]))


@answers("Top keys")
def top_keys(world: World) -> Answers:
    found = []
    for key_id, rows in grouped(world.rows(), lambda row: row.key_id).items():
        line = world.lines[key_id][-1]
        days = sum(bool(row.used) for row in rows)
        found.append((key_id, line.name, line.owner, line.tier, total(rows), days, unknown(rows)))
    return sorted(found, key=lambda one: (falling(one[4]), one[0]))[:100]


@answers("Keys near their quota")
def keys_near_their_quota(world: World) -> Answers:
    found = []
    week = [row for row in world.rows("2026-11-14", "2026-11-20") if row.used is not None]
    for (plan, key_id), rows in grouped(week, lambda row: (row.plan, row.key_id)).items():
        remaining = next((row.remaining for row in rows if row.dt == "2026-11-20"), None)
        pace = (total(rows) or 0) / len(rows)
        if remaining is not None and pace and remaining <= 7 * pace:
            line = world.line(key_id, "2026-11-21")
            assert line is not None
            days = round(remaining / pace, 1)
            found.append((plan, key_id, line.name, line.owner, remaining, round(pace, 1), days))
    return sorted(found, key=lambda one: (one[6], one[1]))


@answers("Keys that were not used, and those of which it is not known")
def unused_keys(world: World) -> Answers:
    found = [
        (key_id, total(rows), len(rows) - unknown(rows), unknown(rows))
        for key_id, rows in grouped(world.rows(), lambda row: row.key_id).items()
        if not total(rows)
    ]
    return sorted(found, key=lambda one: (one[3], one[0]))


@answers("What a key did that is parked or deleted")
def a_keys_life(world: World) -> Answers:
    return [
        (
            row.dt,
            PLANS[row.plan],
            row.plan,
            list(STAGES[row.plan]),
            row.used,
            row.remaining,
            row.missing,
        )
        for row in sorted(world.rows("2026-08-01"), key=lambda row: (row.dt, PLANS[row.plan]))
        if row.key_id == DELETED
    ]


@answers("What a key did that is parked or deleted 2")
def keys_that_left(world: World) -> Answers:
    parked = {k for k, state in world.account.states().items() if state == "parked"}
    all_rows = grouped(world.rows("2026-08-01", "2026-11-21"), lambda row: row.key_id)
    found = []
    for key_id, lines in world.lines.items():
        if lines[-1].dt == str(LAST):
            continue
        line = lines[-1]
        rows = all_rows.get(key_id, [])
        verdict = "park" if key_id in parked else "keep"
        last_used = max((row.dt for row in rows if row.used), default=None)
        who = (key_id, line.name, line.owner, line.tier, line.dt, verdict)
        found.append((*who, total(rows), last_used))
    found.sort(key=lambda one: one[0])
    return sorted(found, key=lambda one: one[4], reverse=True)


@answers("Days that are missing")
def days_that_are_missing(world: World) -> Answers:
    lacking = [row for row in world.rows() if row.missing]
    groups = grouped(lacking, lambda row: (row.dt, PLANS[row.plan], row.plan, row.missing))
    return sorted((*group, len({row.key_id for row in rows})) for group, rows in groups.items())


@answers("Days that are missing 2")
def days_without_a_file(world: World) -> Answers:
    return [(str(LOST[0] - DAY), str(LOST[-1] + DAY), len(LOST))]


@pytest.mark.parametrize("heading", queries())
def test_a_query_of_the_docs_agrees_with_what_the_owners_did(
    heading: str, world: World, athena: dict[str, Answers]
) -> None:
    truth = TRUTHS[heading](world)
    assert truth  # or it would say nothing
    assert athena[heading] == truth
