"""An account that is lived day by day: the functions' own handlers over an AWS in memory.

`World.do` carries out one line of a story. What the story names by numbers (the third key) is found
among what there is, so that a shortened story can still be told. After each line the model has
looked at all that happened.
"""

import base64
import gzip
import io
import json
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import count
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

from botocore.exceptions import ClientError

from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.ownership import Ownership
from keyjanitor.adapters.rate_limiter import RateLimiter
from keyjanitor.domain.model.keys import Mode
from keyjanitor.domain.model.policy_file import parse_policy
from keyjanitor.errors import KeyjanitorError, PolicyError
from sandbox.memory.adapters.access_logs import FakeAccessLogs
from sandbox.memory.adapters.queues import FakeDeadLetterQueues
from sandbox.memory.clients.clients import Clients
from sandbox.memory.clients.dynamodb import FakeDynamoDb
from sandbox.memory.clients.kms import FakeKms
from sandbox.memory.clients.s3 import FakeS3
from tests.account import Account, Context, Killed
from tests.builders import TODAY
from tests.machine.cloud import (
    Cloud,
    Fault,
    Gateway,
    Key,
    Plan,
    Seen,
    Stacks,
    Tagging,
    Told,
    moment,
    texts,
)
from tests.machine.model import DAY, NIGHT_SHARE, REQUESTS_SHARE, Broken, Model, Run, Terms

Op = Sequence[Any]
PORTAL = "AROAPORTALPORTAL00001"
ADMIN = "AROAADMINADMINADMIN01"
EVIL = "AROAEVILEVILEVILEVIL1"
SENDERS = (PORTAL, ADMIN, EVIL)
RECIPIENT = "arn:aws:iam::123456789012:role/portal"
RECEIVES = 10
SWEEPS = (3, 4, 5)  # o'clock, a quarter past
DIGEST = "expiring"
FEW = 6  # steps that fail end no run: it takes more than half of ten


class Virtual:
    """The clock of the world that is lived at the moment; the functions' modules look at it."""

    world: "World | None" = None

    @classmethod
    def now(cls) -> datetime:
        assert cls.world is not None
        return cls.world.cloud.clock()

    @classmethod
    def pause(cls, seconds: float) -> None:
        assert cls.world is not None
        cls.world.cloud.sleep(seconds)


class _Serial:
    """Stands in for a pool of threads, so that a story runs the same each time."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> "_Serial":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @staticmethod
    def map(what: Callable[..., Any], *things: Sequence[Any]) -> Iterator[Any]:
        return map(what, *things)


@contextmanager
def virtual_time() -> Iterator[None]:
    """The functions' code reads and waits on the world's clock, in one thread."""
    import sys  # noqa: PLC0415 (what is imported by then is what has to be changed)

    from keyjanitor.adapters import system_clock as clock  # noqa: PLC0415

    instead = {clock.now: Virtual.now, clock.pause: Virtual.pause}
    sleeps = SimpleNamespace(sleep=Virtual.pause, time=lambda: Virtual.now().timestamp())
    patches: list[Any] = []
    for name, module in list(sys.modules.items()):
        if not name.startswith(("keyjanitor.", "functions.")) or module is clock:
            continue
        for what, value in list(vars(module).items()):
            if callable(value) and value in (clock.now, clock.pause):
                patches.append(patch.object(module, what, instead[value]))
            elif what == "ThreadPoolExecutor":
                patches.append(patch.object(module, what, _Serial))
            elif what == "time" and isinstance(value, ModuleType):
                patches.append(patch.object(module, what, sleeps))
    patches.append(patch.object(clock, "now", Virtual.now))
    patches.append(patch.object(clock, "pause", Virtual.pause))
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


@dataclass(slots=True)
class Message:
    """A message on the queue. `sender` is what SQS says it is: after a redrive, who moved it."""

    message_id: str
    body: Mapping[str, Any]
    sender: str
    sent: datetime
    received: int = 0
    redriven: bool = False
    not_before: datetime | None = None


class Lived(Account):
    """The account of the tests, with real adapters over the machine's clients."""

    def __init__(self, world: "World", functions: Mapping[str, ModuleType], policy: Any) -> None:
        self._world = world
        told = Told(world.cloud)
        clients = Clients(
            dynamodb=Seen(FakeDynamoDb(page=200), "dynamodb", world),
            s3=Seen(FakeS3(page=100), "s3", world),
            kms=Seen(FakeKms(), "kms", world),
            events=Seen(told, "events", world),
            sns=Seen(told, "sns", world),
            key_arn="arn:aws:kms:us-east-1:123456789012:key/sealing-key",
            topic_arn="arn:aws:sns:us-east-1:123456789012:alerts",
            counter=count(1),
        )
        super().__init__(
            clients,
            expire_keys=functions["expire_keys"],
            pull_usage=functions["pull_usage"],
            provision_keys=functions["provision_keys"],
            watch_capacity=functions["watch_capacity"],
            publish_report=functions["publish_report"],
            policy=policy,
            today=world.day,
            mode=Mode(world.setup.get("mode", "park")),
            replay_window_hours=36,
            around=world.around,
        )

    def __post_init__(self) -> None:
        cloud = self._world.cloud
        self.dead_letters = FakeDeadLetterQueues()
        self.logs = FakeAccessLogs()
        self.table = self.clients.new_table()
        self.bucket = self.clients.new_bucket()
        self.real_now = cloud.clock()
        self.wire()

    def _api_gateway(self, function: str) -> ApiGateway:
        """Each function keeps to a share of its own, as it is deployed."""
        cloud = self._world.cloud
        share = REQUESTS_SHARE if function == "provision_keys" else NIGHT_SHARE
        pace = RateLimiter(share, monotonic=cloud.monotonic, sleep=cloud.sleep)
        return ApiGateway(Gateway(cloud), pace)

    def _ownership(self) -> Ownership:
        return Ownership(Tagging(self._world.cloud), Stacks(self._world.cloud))

    def _now(self) -> datetime:
        return self._world.cloud.clock()

    def lambda_context(self) -> Any:
        self.runs += 1
        ends = self._world.cloud.now + timedelta(seconds=900)
        return Context(
            f"run-{self.runs}",
            lambda: max(0, int((ends - self._world.cloud.now).total_seconds() * 1000)),
        )


def toml(file: Mapping[str, Any]) -> str:
    """A policy file as text."""
    lines = [f"{k} = {json.dumps(v)}" for k, v in file.items() if not _is_table(v)]
    for name in ("sweep", "owned"):
        if name in file:
            lines += [f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in file[name].items())]
    for name, tier in file["tiers"].items():
        lines.append(f"[tiers.{name}]")
        for k, v in tier.items():
            shown = json.dumps(v)
            if isinstance(v, dict):
                shown = "{ " + ", ".join(f"{a} = {json.dumps(b)}" for a, b in v.items()) + " }"
            lines.append(f"{k} = {shown}")
    for name in ("pressure", "owners"):
        for rule in file.get(name, ()):
            lines += [f"[[{name}]]", *(f"{k} = {json.dumps(v)}" for k, v in rule.items())]
    return "\n".join(lines) + "\n"


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], dict)
    )


@dataclass(slots=True)
class Meanwhile:
    """What others do right before the nth call of a name in a run."""

    call: str
    nth: int
    op: Op


@dataclass
class World:
    """One account and its days."""

    setup: Mapping[str, Any]
    functions: Mapping[str, ModuleType]
    day: date = TODAY
    lines: list[str] = field(default_factory=list)
    ran: Counter[str] = field(default_factory=Counter)
    key_nights: int = 0

    def __post_init__(self) -> None:
        Virtual.world = self
        self.cloud = Cloud(moment(self.day, 1), self, page=self.setup.get("page", 4))
        self.file: dict[str, Any] = json.loads(json.dumps(self.setup["policy"]))
        self.good = json.dumps(self.file)
        self.model = Model(Terms.of(self.file), self.cloud.keys, self.cloud.plans)
        self.model.stacks = self.cloud.stacks
        self.habits: dict[str, tuple[str, int]] = {}
        self.queue: list[Message] = []
        self.batch: list[Message] = []  # that is served at the moment
        self.dead: list[Message] = []
        self.known: list[str] = []
        self.outage = False
        self.meanwhile: list[Meanwhile] = []
        self.hold = False
        self.braked = False
        self.pulls = self.sweeps = 0  # of this date
        self.marks: list[frozenset[tuple[str, ...]]] = []  # of each day's end
        self.told: set[tuple[str, ...]] = set()
        self.policy_works = True
        self.last_digest: str | None = None
        self.alerts: list[dict[str, Any]] = []
        self._calls: Counter[str] = Counter()
        self._runs = 0
        self._asked = 0
        self._values: set[str] = set()
        self._made = random.Random(self.setup.get("traffic", 0))
        self._told_events = 0
        self._out = io.StringIO()
        self._lay_down()
        self.account = Lived(self, self.functions, parse_policy(toml(self.file)))

    # --- what there is ----------------------------------------------------------------------------

    def _lay_down(self) -> None:
        for plan in self.setup["plans"]:
            self.cloud.plans[plan["id"]] = Plan(
                plan["id"],
                plan["name"],
                tuple(plan["stages"]),
                {"limit": 1000, "period": "DAY"} if plan.get("quota", True) else None,
                metered=plan.get("metered", True),
            )
        for number, key in enumerate(self.setup["keys"]):
            made = moment(self.day - DAY * key.get("age", 300), 10)
            plans = [self.setup["plans"][p]["id"] for p in key.get("plans", (0,))]
            one = self.cloud.make(
                f"key {number}", plans, created=made, tags=dict(key.get("tags", {}))
            )
            self._habit(one.key_id, key["habit"], key.get("phase", number))
            for back in range(min(key.get("age", 300), 90), 0, -1):
                self._use_as_usual(one.key_id, self.day - DAY * back)

    def _habit(self, key_id: str, habit: str, phase: int) -> None:
        self.habits[key_id] = (habit, phase)

    def _use_as_usual(self, key_id: str, day: date) -> None:
        habit, phase = self.habits[key_id]
        number = day.toordinal() + phase
        due = {
            "busy": True,
            "daily": True,
            "weekly": number % 7 == 0,
            "third": number % 3 == 0,
            "monthly": number % 30 == 0,
            "burst": number % 40 < 5,
            "hammer": number % 5 == 0,
        }.get(habit, False)
        if habit.startswith("until-"):
            due = day < self.first - DAY * int(habit[6:])
        if not due:
            return
        for plan_id in self.cloud.plans_of(key_id)[:1]:
            if habit == "hammer":
                self.cloud.uses.setdefault((plan_id, key_id), {}).setdefault(day, 0)
                self.cloud.closed.add((plan_id, key_id, day))
            else:
                self.cloud.use(plan_id, key_id, day, 100 if habit == "busy" else 7)

    @property
    def first(self) -> date:
        return TODAY

    def pick(self, number: int, among: Sequence[str] | None = None) -> str | None:
        """The living key that a number of a story means."""
        ids = [k for k in (among if among is not None else self.known) if k in self.cloud.keys]
        return ids[number % len(ids)] if ids else None

    def pick_plan(self, number: int) -> str | None:
        ids = sorted(self.cloud.plans)
        return ids[number % len(ids)] if ids else None

    # --- telling the model ------------------------------------------------------------------------

    def asked(self, operation: str, at: float) -> None:
        self.model.asks(operation, at)

    def called(self, name: str, about: str) -> None:
        self._calls[name] += 1
        if name in ("UpdateApiKey", "DeleteApiKey"):
            self.cloud.touched = about
        for one in list(self.meanwhile):
            if one.call == name and self._calls[name] == one.nth:
                self.meanwhile.remove(one)
                by, faults = self.cloud.by, self.cloud.faults
                self.cloud.by = "others"
                op = [about if part == "it" else part for part in one.op]
                changed = self.model.lives[about].changed if about in self.model.lives else None
                self.do(op, indent="      meanwhile: ")
                if name == "UpdateApiKey" and about in self.cloud.keys:
                    # Our call comes in the same second, and writes over the date of theirs.
                    self.model.lives[about].changed = changed
                if op[0] == "disable" and about in self.cloud.keys:
                    # In the second of our own call nobody can tell whose it was.
                    self.cloud.keys[about].shut_by = "somebody"
                    self.model.lives[about].changed = None
                self.cloud.by, self.cloud.faults = by, faults

    def served(self, call: str, about: str, answer: Any) -> None:
        run = self.model.run
        if run is None:
            return
        match call:
            case "GetApiKey":
                if answer is None:
                    run.looks.pop(about, None)
                else:
                    run.looks[about] = answer
            case "PlansOf":
                run.plans_asked[about] = list(answer)
            case "GetUsagePlans" if not about:
                self.model.saw_plans(answer.get("item", ()))
            case "GetUsagePlanKeys":
                self.model.saw_members(about, answer)
            case "GetUsage":
                self.model.saw_usage(about, answer)
            case _:
                pass

    def failed(self, call: str, about: str) -> None:
        pass

    def key_changed(self, what: str, before: Key | None, after: Key | None, by: str) -> None:
        model = self.model if hasattr(self, "model") else None
        if model is None:
            return
        if before is None and after is not None:
            self._new(after, what, by)
        elif before is not None and after is None:
            self._gone(before, by)
        elif before is not None and after is not None:
            if by == "others" and after.shut_by == "somebody":
                pass  # it cannot be told from our own call
            elif by == "others":
                life, run = model.lives[after.key_id], model.run
                life.changed = self.cloud.now.date()
                life.changed_in = run.number if run and after.key_id in run.looks else 0
            elif before.enabled and not after.enabled:
                model.disables(before)
            elif after.enabled and not before.enabled:
                model.now = self.cloud.now
                model.enables(before)

    def _new(self, key: Key, what: str, by: str) -> None:
        from tests.machine.model import Life  # noqa: PLC0415

        made = key.created.date()
        self._values.add(key.value)
        self.model.lives[key.key_id] = Life(key.key_id, key.value, made, made)
        self.known.append(key.key_id)
        self.habits.setdefault(key.key_id, ("none", 0))
        if by != "others":
            self.model.value_appears(key.value, key.key_id)
            makers = [one for one in self.batch if one.body.get("action") in ("issue", "rotate")]
            if by == "provision_keys" and what == "imported" and len(makers) == 1:
                made_for = makers[0].sender, str(makers[0].body["request_id"])
                self.model.lives[key.key_id].made_for = made_for
            former = [one for one in self.model.lives.values() if one.value == key.value]
            for one in former:
                if one.key_id != key.key_id:
                    self.model.lives[key.key_id].first_made = one.first_made
                    self.habits[key.key_id] = self.habits[one.key_id]

    def _gone(self, key: Key, by: str) -> None:
        if by == "expire_keys":
            if key.name.startswith("keyjanitor-restore-") and not key.enabled:
                return  # what a restore had half built
            self.model.parks(key)
            stone = self._buried(key)
            life = self.model.lives[key.key_id]
            # Its plans as the last look saw them: who moves it in the seconds after that is too late.
            life.parked_name, life.parked_plans = stone["name"], tuple(stone["usage_plan_ids"])
        elif by == "provision_keys":
            asked = self._revoke_of(key.key_id)
            if asked is not None:
                self.model.key_is_revoked(key.key_id, asked)
            elif key.enabled and self.model.lives[key.key_id].issued_tier is not None:
                raise Broken(3, "deleted", f"{key.key_id} is deleted, and nobody asked for it")
        elif by != "others":
            raise Broken(6, "rights", f"{by} deletes {key.key_id}")

    def chain(self, key_id: str) -> set[str]:
        """Every id that the key with this id has had."""
        value = self.model.lives[key_id].value if key_id in self.model.lives else None
        return {one.key_id for one in self.model.lives.values() if one.value == value} | {key_id}

    def _revoke_of(self, key_id: str) -> str | None:
        ids = self.chain(key_id)
        for asked in self.model.asked.values():
            if asked.body.get("action") == "revoke" and asked.body.get("key_id") in ids:
                return asked.sender
        return None

    def _buried(self, key: Key) -> dict[str, Any]:
        """Its tombstone, which lies in the bucket, opens to its value, and says what the key was."""
        document = self.object(f"tombstones/{key.key_id}.json")
        if document is None:
            raise Broken(2, "tombstone", f"{key.key_id} was deleted without one")
        stone: dict[str, Any] = json.loads(document)
        try:
            opened = self.account.clients.kms.decrypt(
                CiphertextBlob=base64.b64decode(stone["sealed_value"]),
                EncryptionContext=stone["encryption_context"],
            )["Plaintext"]
        except ClientError as err:
            raise Broken(2, "tombstone", f"that of {key.key_id} does not open: {err}") from None
        if opened.decode() != key.value:
            raise Broken(2, "tombstone", f"that of {key.key_id} holds another value")
        run = self.model.run
        truth = set(self.cloud.last_plans)
        asked = run.plans_asked.get(key.key_id) if run else None
        plans = set(stone["usage_plan_ids"])
        if plans != truth and (asked is None or plans != set(asked)):
            raise Broken(2, "plans", f"{key.key_id} is in {truth}, its tombstone says {plans}")
        # Who renames it in the moment of the call comes too late to be seen by anyone.
        look = run.looks.get(key.key_id) if run else None
        texts = [(one.name, one.description) for one in (key, look) if one is not None]
        if (stone["name"], stone["description"]) not in texts:
            raise Broken(2, "tombstone", f"{key.key_id} is called otherwise")
        return stone

    # --- services beside API Gateway --------------------------------------------------------------

    def around(self, name: str, call: Callable[[], Any]) -> Any:
        return self.cloud.around(name, call)

    def wrote(self, service: str, call: str, params: Mapping[str, Any]) -> None:
        """Nothing that is stored or told holds a value in the clear."""
        text = "\0".join(_opened(one) for one in texts(params))
        for value in self._values:
            if value in text:
                raise Broken(4, "values", f"{service}.{call} carries a key's value")

    def done(self, service: str, call: str, params: Mapping[str, Any], answer: Any) -> None:
        name = str(params.get("Key", ""))
        if service == "s3" and call == "put_object":
            self._filed(name, params)
        if service == "s3" and call == "delete_object" and name.startswith("tombstones/"):
            key_id = name[len("tombstones/") : -len(".json")]
            if self._revoke_of(key_id) is None and self.model.run is not None:
                self.model.tombstone_goes(key_id, self.model.run.day)
        if call == "publish":
            text = json.dumps(params)
            self.alerts.append(dict(params))
            kind = params.get("MessageAttributes", {}).get("kind", {}).get("StringValue")
            if kind == DIGEST:
                self.model.digest(text, self.cloud.now)
        if call == "put_events":
            for entry, told in zip(params["Entries"], answer["Entries"], strict=True):
                if not told.get("ErrorCode"):
                    self._event(entry["DetailType"], json.loads(entry["Detail"]))

    def _filed(self, name: str, params: Mapping[str, Any]) -> None:
        if name.startswith("evidence/") and name.endswith(".json.gz") and len(name) == 27:
            self.model.reading_written(date.fromisoformat(name[9:19]))
        if name.startswith("plans/") and "approved" not in name:
            document = json.loads(params["Body"])
            pairs = frozenset((one[0], one[1]) for one in document["due"])
            self.model.approved[document["digest"]] = pairs
            self.last_digest = document["digest"]

    def _event(self, kind: str, detail: Mapping[str, Any]) -> None:
        key_id = str(detail.get("key_id"))
        dates = ("disable_on", "park_on", "restorable_until")
        self.told.add((kind, key_id, *(str(detail.get(name)) for name in dates)))
        if kind == "Key Revoked" and detail.get("reason") != "revoked since":
            life = self.model.lives.get(key_id)
            if life is not None and not life.revoked:
                self.model.key_is_revoked(key_id, str(detail.get("requested_by")))
            for one in self.chain(key_id):
                if one in self.cloud.keys:
                    raise Broken(3, "revoked", f"{key_id} is told revoked, and {one} lives")
        if kind in ("Key Issued", "Key Rotated"):
            self._delivered(detail)
        self.model.now = self.cloud.now
        self.model.event(kind, detail, self.cloud.now)

    def _delivered(self, detail: Mapping[str, Any]) -> None:
        """What is delivered opens to the value of the very key that is told."""
        life = self.model.lives.get(str(detail["key_id"]))
        opened = self.account.clients.kms.decrypt(
            CiphertextBlob=base64.b64decode(detail["sealed_value"]),
            EncryptionContext=detail["encryption_context"],
        )["Plaintext"]
        if life is None or opened.decode() != life.value:
            raise Broken(3, "one key", f"what is delivered of {detail['key_id']} is another value")

    def object(self, name: str) -> bytes | None:
        """A file of the bucket as it is now."""
        try:
            answer = self.account.clients.s3.get_object(Bucket=self.account.bucket, Key=name)
        except ClientError:
            return None
        return bytes(answer["Body"].read())

    # --- runs -------------------------------------------------------------------------------------

    def run(
        self,
        name: str,
        event: Mapping[str, Any],
        *,
        day: date | None = None,
        faults: Sequence[Sequence[Any]] = (),
        **more: Any,
    ) -> dict[str, Any] | None:
        """One run of a function; None if it died or failed."""
        if not self.policy_works:
            return None
        self._runs += 1
        self._calls.clear()
        run = Run(self._runs, name, day or self.day, self.cloud.clock(), **more)
        self.model.now = self.cloud.now
        self.model.confirmed = bool(self.cloud.confirmed)
        self.model.begin(run)
        self.cloud.begin(name, [Fault(*one) for one in faults])
        self.account.today = self.day
        self._out.seek(0)
        self._out.truncate()
        answer: dict[str, Any] | None = None
        handler = getattr(self.account, name).lambda_handler
        try:
            with redirect_stdout(self._out):
                answer = handler(dict(event), self.account.lambda_context())
        except Killed:
            self.lines.append("      ... dies")
        except Broken:
            raise
        except KeyjanitorError as err:
            self.lines.append(f"      ... fails: {type(err).__name__}: {str(err)[:160]}")
            self._out.write(repr(err) + str(err))
            shields_alone = self.cloud.shields and not (faults or self.cloud.weather)
            if name == "expire_keys" and shields_alone and 0 < self.cloud.denied < FEW:
                why = f"{self.cloud.denied} keys that nobody may touch end the run: {err}"
                raise Broken(7, "stuck", why) from err
        except Exception as err:
            raise Broken(7, "crash", f"{name} of {run.day}: {type(err).__name__}: {err}") from err
        finally:
            self.model.end()
            self.cloud.end()
            self.meanwhile.clear()
        self._no_values(name, self._out.getvalue() + json.dumps(answer, default=str))
        return answer

    def _no_values(self, where: str, text: str) -> None:
        for value in self._values:
            if value in text:
                raise Broken(4, "values", f"the log or the answer of {where} carries a key's value")

    # --- a line of a story ------------------------------------------------------------------------

    def do(self, op: Op, indent: str = "  ") -> None:
        """Carries out one line of a story."""
        name, *args = op
        self.ran[name] += 1
        self.lines.append(f"{indent}{self.day} {self.cloud.now:%H:%M} {name} {_shown(args)}")
        getattr(self, f"do_{name}")(*args)

    def at(self, hour: int, minute: int = 15) -> None:
        self.cloud.now = max(self.cloud.now, moment(self.day, hour, minute))

    # nights

    def do_pull(self, faults: Sequence[Sequence[Any]] = (), back: int = 0) -> None:
        self.pulls += 1
        self.at(2, 20 * min(self.pulls, 2))
        day = self.day - DAY * back
        self.run("pull_usage", {"time": f"{day}T02:15:00Z"}, day=day, faults=faults)

    def do_sweep(
        self,
        faults: Sequence[Sequence[Any]] = (),
        back: int = 0,
        meanwhile: Sequence[Any] = (),
        event: Mapping[str, Any] | None = None,
    ) -> None:
        self.sweeps += 1
        self.at(2 + min(self.sweeps, 3))  # the next look is an hour later
        day = self.day - DAY * back
        if meanwhile:
            self.meanwhile = [Meanwhile(meanwhile[0], meanwhile[1], meanwhile[2])]
        event = {"time": f"{day}T03:15:00Z", **(event or {})}
        mode = str(event.get("mode", self.account.mode))
        if mode != "observe" and not self.hold and back == 0:
            self.model.night_begins(day)
        answer = self.run(
            "expire_keys",
            event,
            day=day,
            faults=faults,
            mode=mode,
            held=self.hold,
            approve=event.get("approve"),
        )
        if answer is not None:
            self.lines.append(f"      ... {_counts(answer)}")
            self.braked = bool(answer.get("brake"))
            if event.get("approve") and not self.braked:
                self.model.approval_ends(day)
            if answer.get("mode", mode) != "observe" and day not in self.model.acted:
                self.model.acted.append(day)

    def do_night(self, faults: Sequence[Sequence[Any]] = ()) -> None:
        self.do_pull()
        self.do_sweep(faults)

    def do_undo(self, back: int, named: Sequence[int] = ()) -> None:
        day = self.day - DAY * back
        event: dict[str, Any] = {"time": f"{self.cloud.now:%Y-%m-%dT%H:%M:%SZ}", "undo": str(day)}
        ids = [k for n in named if (k := self.pick(n))]
        if ids:
            event["key_ids"] = ids
        if self.account.mode == "observe":
            return
        self.run(
            "expire_keys",
            event,
            mode=str(self.account.mode),
            undo=day,
            key_ids=frozenset(ids) or None,
        )

    def do_approve(self) -> None:
        if self.last_digest:
            self.do_sweep(event={"approve": self.last_digest})

    def do_hold(self) -> None:
        self.run("expire_keys", {"hold": "wait"}, mode="observe")
        self.hold = True

    def do_resume(self) -> None:
        self.run("expire_keys", {"resume": True}, mode="observe")
        self.hold = False

    def do_watch(self) -> None:
        self.at(3, 40)
        self.account.dead_letters.count = {"RequestDeadLetterQueue": len(self.dead)}
        self.run("watch_capacity", {"time": f"{self.day}T03:40:00Z"})

    def do_report(self) -> None:
        self.at(6)
        self.run("publish_report", {"time": f"{self.day}T06:15:00Z"})

    def do_day(self) -> None:
        """The clients' requests of the day, and midnight."""
        self.marks.append(self._mark())
        if not self.outage:
            for key_id in list(self.cloud.keys):
                if self.cloud.keys[key_id].enabled:
                    self._use_as_usual(key_id, self.day)
        if self.sweeps:  # a key's night counts once, however often it was swept
            self.key_nights += len(self.cloud.keys)
        self.day += DAY
        self.pulls = self.sweeps = 0
        self.cloud.now = max(self.cloud.now, moment(self.day, 0, 30))

    def _mark(self) -> frozenset[tuple[str, ...]]:
        """Where the account stands: keys, and what was told of them."""
        keys = {(key_id, str(key.enabled)) for key_id, key in self.cloud.keys.items()}
        return frozenset(keys | self.told)

    def do_skip(self, days: int) -> None:
        for _ in range(days):
            self.do_day()

    # requests

    def do_ask(
        self, who: int, action: str, number: int = 0, more: Mapping[str, Any] | None = None
    ) -> None:
        """Somebody sends a request; `number` is the key that it is about."""
        self.at(10, 0)
        sender = SENDERS[who % len(SENDERS)]
        self._asked += 1
        more = dict(more or {})
        body: dict[str, Any] = {
            "version": 1,
            "action": action,
            "request_id": more.pop("request_id", f"req-{self._asked}"),
        }
        if action == "issue":
            body |= {
                "tier": "external",
                "owner": f"owner-{number}",
                "name": f"app {number}",
                "deliver_to": RECIPIENT,
            }
        else:
            key_id = self._about(number, action)
            if key_id is None:
                return
            body["key_id"] = key_id
        if action == "protect":
            body["until"] = str(self.day + DAY * int(more.pop("days", 5)))
        if "expires_in" in more:
            body["expires_on"] = str(self.day + DAY * int(more.pop("expires_in")))
        self._send(sender, body | more)

    def _about(self, number: int, action: str) -> str | None:
        if action == "restore":
            parked = [k for k, one in self.model.lives.items() if one.parked_on]
            gone = [k for k in parked if k not in self.cloud.keys]
            return gone[number % len(gone)] if gone else None
        issued = [k for k in self.known if self.model.lives[k].issued_tier is not None]
        return self.pick(number, issued) if issued and number % 3 else self.pick(number)

    def _send(self, sender: str, body: Mapping[str, Any]) -> None:
        self.model.ask(sender, body, self.cloud.now)
        self.queue.append(
            Message(f"m{self._asked}-{len(self.queue)}", body, sender, self.cloud.now)
        )

    def do_ask_newest(self, what: str) -> None:
        """The newest key is revoked by an admin, or disabled by hand."""
        made = [
            k for k in self.known if k in self.cloud.keys and self.cloud.keys[k].name[:3] == "kj-"
        ]
        if not made:
            return
        if what == "disable":
            self.do_disable(made[-1])
            return
        self._asked += 1
        body = {
            "version": 1,
            "action": "revoke",
            "request_id": f"req-{self._asked}",
            "key_id": made[-1],
        }
        self._send(ADMIN, body)

    def do_restore_id(self, key_id: str) -> None:
        body = {
            "version": 1,
            "action": "restore",
            "request_id": f"restore-{key_id}",
            "key_id": key_id,
        }
        self._asked += 1
        self._send(ADMIN, body)

    def do_restore_all(self) -> None:
        """An admin wants every parked key back."""
        for key_id, life in list(self.model.lives.items()):
            living = {key.value for key in self.cloud.keys.values()}
            if life.parked_on and key_id not in self.cloud.keys and life.value not in living:
                self.do_restore_id(key_id)

    def do_resend(self, number: int, who: int = -1) -> None:
        """A request comes again; or another sends what he has seen of it."""
        asked = list(self.model.asked.values())
        if asked:
            one = asked[-1 - number % len(asked)]
            sender = one.sender if who < 0 else SENDERS[who % len(SENDERS)]
            self._send(sender, one.body)

    def do_squat(self, number: int) -> None:
        """A stranger, or an admin, takes the ids that others are about to use."""
        for ahead in range(1, 4):
            request_id = f"req-{self._asked + ahead}"
            if number % 2 and (key_id := self.pick(number)):
                body = {"version": 1, "action": "renew", "request_id": request_id}
                self._send(ADMIN, {**body, "key_id": key_id})
                continue
            body = {
                "version": 1,
                "action": "issue",
                "request_id": request_id,
                "tier": "external",
                "owner": "evil",
                "name": "evil",
                "deliver_to": RECIPIENT,
            }
            if number % 3:
                body |= {"owner": f"owner-{number}", "name": f"app {number}"}
            self._send(EVIL, body)

    def do_serve(
        self,
        faults: Sequence[Sequence[Any]] = (),
        meanwhile: Sequence[Any] = (),
        newest: bool = False,
    ) -> None:
        """The queue hands over what is ready, or only what came last."""
        ready = [m for m in self.queue if m.not_before is None or m.not_before <= self.cloud.now]
        ready = ready[-1:] if newest else ready[:10]
        if not ready:
            return
        if meanwhile:
            self.meanwhile = [Meanwhile(meanwhile[0], meanwhile[1], meanwhile[2])]
        self.batch = ready
        for one in ready:
            one.received += 1
        answer = self.run("provision_keys", _sqs(ready), faults=faults)
        if answer is None:
            left = {one.message_id for one in ready}
            wait = timedelta(minutes=30)
        else:
            left = {one["itemIdentifier"] for one in answer["batchItemFailures"]}
            wait = timedelta(minutes=1)
        for one in ready:
            if one.message_id not in left:
                self.queue.remove(one)
            elif one.received >= RECEIVES:
                self.queue.remove(one)
                self.dead.append(one)
            else:
                one.not_before = self.cloud.now + wait
        if left:
            self.lines.append(f"      ... {len(left)} come again")

    def do_wait(self, minutes: int) -> None:
        self.cloud.sleep(60 * minutes)

    def do_dead(self) -> None:
        """All that waits goes to the dead-letter queue unseen: the function could not even start."""
        self.dead += self.queue
        self.queue.clear()

    def do_redrive(self, who: int = 1) -> None:
        """An operator moves the dead letters back; SQS says that they are the operator's."""
        for one in self.dead:
            one.received, one.redriven, one.not_before = 0, True, None
            mover = SENDERS[who % len(SENDERS)]
            request_id = str(one.body.get("request_id"))
            if (one.sender, request_id) in self.model.asked:
                self.model.asked[one.sender, request_id].may_be_lost = True
            self.model.redriven.add((mover, request_id, one.sender))
            one.sender = mover
            self.queue.append(one)
        self.dead.clear()

    # other people

    def do_disable(self, number: int | str) -> None:
        if key_id := self._key(number):
            self.cloud.change(key_id, enabled=False)

    def do_shut_last(self) -> None:
        """Security disables the key that a run was about to touch last, a while after it."""
        self.cloud.sleep(20 * 60)
        self.do_disable(self.cloud.touched)

    def do_enable(self, number: int | str) -> None:
        if key_id := self._key(number):
            self.cloud.change(key_id, enabled=True)

    def do_delete(self, number: int | str) -> None:
        if key_id := self._key(number):
            self.cloud.remove(key_id)

    def do_rename(self, number: int | str) -> None:
        if key_id := self._key(number):
            self.cloud.change(key_id, name=f"renamed {self._runs}")

    def do_keep(self, number: int | str, tag: str = "keyjanitor:keep") -> None:
        if key_id := self._key(number):
            self.cloud.keys[key_id].tags[tag] = "yes"

    def do_unkeep(self, number: int | str) -> None:
        if key_id := self._key(number):
            self.cloud.keys[key_id].tags.clear()

    def do_shield(self, number: int | str, call: str) -> None:
        """A policy of the organisation denies a call on one key."""
        if key_id := self._key(number):
            self.cloud.shields.append(Fault(call, "denied", about=key_id))

    def do_own(self, number: int | str) -> None:
        if key_id := self._key(number):
            self.cloud.stacks[key_id] = "their-stack"

    def do_attach(self, number: int | str, plan: int) -> None:
        key_id, plan_id = self._key(number), self.pick_plan(plan)
        if key_id and plan_id:
            self.cloud.join(plan_id, key_id)

    def do_detach(self, number: int | str) -> None:
        if key_id := self._key(number):
            for plan_id in self.cloud.plans_of(key_id):
                self.cloud.leave(plan_id, key_id)

    def do_move(self, number: int | str, plan: int) -> None:
        self.do_detach(number)
        self.do_attach(number, plan)

    def do_use(self, number: int | str, requests: int = 3) -> None:
        """One client comes once, if its key opens anything."""
        key_id = self._key(number)
        if key_id and self.cloud.keys[key_id].enabled:
            for plan_id in self.cloud.plans_of(key_id)[:1]:
                self.cloud.use(plan_id, key_id, self.day, requests)

    def do_daytime(self, number: int | str, plan: int) -> None:
        """A key that is put into a plan in the morning, used, and taken out in the evening."""
        key_id, plan_id = self._key(number), self.pick_plan(plan)
        if key_id and plan_id and self.cloud.keys[key_id].enabled:
            self.cloud.use(plan_id, key_id, self.day, 5)

    def do_habit(self, number: int | str, habit: str) -> None:
        if key_id := self._key(number):
            self._habit(key_id, habit, self.habits.get(key_id, ("", 0))[1])

    def do_stop_all(self) -> None:
        """All clients but the busy ones stop on one day."""
        for key_id, (habit, phase) in self.habits.items():
            if habit != "busy":
                self.habits[key_id] = "none", phase

    def do_new(self, habit: str, plan: int, tags: Mapping[str, str] | None = None) -> None:
        plan_id = self.pick_plan(plan)
        key = self.cloud.make(
            f"by hand {self._runs}", [plan_id] if plan_id else [], tags=dict(tags or {})
        )
        self._habit(key.key_id, habit, len(self.known))

    def do_old(self, plan: int) -> None:
        """A key of last year that nobody uses turns up in a plan."""
        if plan_id := self.pick_plan(plan):
            self.cloud.make("of last year", [plan_id], created=moment(self.first - DAY * 300, 9))

    def _key(self, number: int | str) -> str | None:
        if isinstance(number, str):
            return number if number in self.cloud.keys else None
        return self.pick(number)

    # plans, policy, weather

    def do_plan_stages(self, plan: int, stages: Sequence[str]) -> None:
        if plan_id := self.pick_plan(plan):
            self.cloud.plans[plan_id].stages = tuple(stages)

    def do_plan_quota(self, plan: int, has: bool, metered: bool = True) -> None:
        if plan_id := self.pick_plan(plan):
            self.cloud.plans[plan_id].quota = {"limit": 1000, "period": "DAY"} if has else None
            self.cloud.plans[plan_id].metered = metered

    def do_plan_new(self, name: str, stages: Sequence[str]) -> None:
        self.cloud._made += 1
        plan_id = f"p{self.cloud._made:04}"
        quota = {"limit": 1000, "period": "DAY"}
        self.cloud.plans[plan_id] = Plan(plan_id, name, tuple(stages), quota)

    def do_plan_delete(self, plan: int) -> None:
        if len(self.cloud.plans) > 1 and (plan_id := self.pick_plan(plan)):
            del self.cloud.plans[plan_id]

    def do_plan_rename(self, plan: int, name: str) -> None:
        if plan_id := self.pick_plan(plan):
            self.cloud.plans[plan_id].name = name

    def do_policy(self, path: Sequence[Any], value: Any) -> None:
        """Somebody edits one value of policy.toml and deploys."""
        file = json.loads(json.dumps(self.file))
        at = file
        for part in path[:-1]:
            at = at.get(part, {})
        if value is None:
            at.pop(path[-1], None)
        else:
            at[path[-1]] = value
        self._deploy(file)

    def do_rename_tier(self, old: str, new: str) -> None:
        """A typo in the name of a tier."""
        file = json.loads(json.dumps(self.file))
        if old in file["tiers"] and new not in file["tiers"]:
            file["tiers"] = {(new if k == old else k): v for k, v in file["tiers"].items()}
            self._deploy(file)

    def do_good_policy(self) -> None:
        self._deploy(json.loads(self.good))

    def _deploy(self, file: dict[str, Any]) -> None:
        try:
            policy = parse_policy(toml(file))
        except PolicyError as err:
            self.policy_works = False
            self.lines.append(f"      ... the policy is refused: {str(err)[:120]}")
            return
        self.policy_works = True
        self.file = file
        self.account.policy = policy
        self.account.wire()
        self.model.set_terms(Terms.of(file))

    def do_weather(self, fault: Sequence[Any]) -> None:
        self.cloud.weather.append(Fault(*fault))

    def do_clear(self) -> None:
        self.cloud.weather.clear()
        self.outage = False

    def do_outage(self, on: bool) -> None:
        self.outage = on

    def do_subscribers(self, number: int) -> None:
        self.cloud.confirmed = number

    def do_lag(self, on: bool) -> None:
        self.cloud.lag = on

    # files

    def do_damage(self, prefix: str, number: int, how: str) -> None:
        """A file is damaged: cut, another kind of file, or its seal spoiled."""
        s3, bucket = self.account.clients.s3._target, self.account.bucket
        names = sorted(n for n in s3._latest(bucket) if n.startswith(prefix))
        names = [n for n in names if self.object(n) is not None]
        if how == "seal":  # only a whole file has one
            names = [n for n in names if n not in self.damaged]
        if not names:
            return
        name = names[number % len(names)]
        body = self.object(name) or b""
        if how == "seal":
            document = json.loads(body)
            sealed = bytearray(base64.b64decode(document["sealed_value"]))
            sealed[-1] ^= 1
            document["sealed_value"] = base64.b64encode(bytes(sealed)).decode()
            body = json.dumps(document).encode()
        else:
            body = body[: len(body) // 2] if how == "cut" else b"{}"
        s3.put_object(Bucket=bucket, Key=name, Body=body)
        self.damaged.add(name)
        self.lines.append(f"      ... {name}")

    @property
    def damaged(self) -> set[str]:
        if not hasattr(self, "_damaged"):
            self._damaged: set[str] = set()
        return self._damaged

    def do_swap_plan(self) -> None:
        """The file of a saved plan is replaced by one with more in it, under the same name."""
        if self.last_digest is None:
            return
        name = f"plans/{self.last_digest}.json"
        if name in self.damaged:
            return
        document = json.loads(self.object(name) or b"{}")
        if not document:
            return
        known = {one[1] for one in document["due"]}
        more = [["disable", k, ""] for k in self.cloud.keys if k not in known]
        document["due"] += more
        self.account.clients.s3._target.put_object(
            Bucket=self.account.bucket, Key=name, Body=json.dumps(document).encode()
        )


def _opened(text: str) -> str:
    if text.startswith("\x1f\x8b"):
        return gzip.decompress(text.encode("latin-1")).decode()
    return text


def _sqs(messages: Sequence[Message]) -> dict[str, Any]:
    return {
        "Records": [
            {
                "messageId": one.message_id,
                "receiptHandle": f"receipt {one.message_id}",
                "body": json.dumps(one.body),
                "attributes": {
                    "ApproximateReceiveCount": str(one.received),
                    "SenderId": f"{one.sender}:session",
                    "SentTimestamp": str(int(one.sent.timestamp() * 1000)),
                    **(
                        {"DeadLetterQueueSourceArn": "arn:aws:sqs:us-east-1:123456789012:requests"}
                        if one.redriven
                        else {}
                    ),
                },
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:requests",
                "awsRegion": "us-east-1",
            }
            for one in messages
        ]
    }


def _shown(args: Sequence[Any]) -> str:
    return " ".join(json.dumps(one) for one in args if one not in ((), [], {}, None))


def _counts(answer: Mapping[str, Any]) -> str:
    applied = {k: v for k, v in answer.get("applied", {}).items() if v}
    more = [
        f"{k} {v}" for k, v in (("brake", answer.get("brake")), ("held", answer.get("held"))) if v
    ]
    return " ".join([f"{k} {v}" for k, v in applied.items()] + more) or "nothing to do"


logging.captureWarnings(capture=False)
