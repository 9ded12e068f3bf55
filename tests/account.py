"""An account on which the functions live their nights: in memory (sandbox/memory), or partly at moto."""

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from types import ModuleType
from typing import Any, cast

from keyjanitor.adapters.alert_store import AlertStore
from keyjanitor.adapters.alert_topic import AlertTopic, Stack
from keyjanitor.adapters.audit_log import AuditLog
from keyjanitor.adapters.dynamodb import Table
from keyjanitor.adapters.event_bus import EventBus
from keyjanitor.adapters.history_bucket import HistoryBucket
from keyjanitor.adapters.kms import ValueSealer
from keyjanitor.adapters.ledger import Change, Ledger
from keyjanitor.adapters.request_store import RequestStore
from keyjanitor.adapters.settings import PublishSettings, SweepSettings
from keyjanitor.domain.model.keys import ApiKey, Mode, Tombstone
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.records import RequestRow, Row
from keyjanitor.domain.requests.key_request import OPERATOR
from keyjanitor.domain.usage.evidence import Evidence
from keyjanitor.services.expire_keys.gather import Adapters as SweepAdapters
from keyjanitor.services.provision_keys.responder import Adapters as ProvisionAdapters
from keyjanitor.services.publish_report.gather import Adapters as ReportAdapters
from keyjanitor.services.pull_usage.night_reading import Adapters as ReadingAdapters
from keyjanitor.services.watch_capacity import Adapters as WatchAdapters
from sandbox.memory.adapters.access_logs import FakeAccessLogs
from sandbox.memory.adapters.api_gateway import FakeApiGateway
from sandbox.memory.adapters.ownership import FakeOwnership
from sandbox.memory.adapters.queues import FakeDeadLetterQueues, FakeQueue
from sandbox.memory.clients.clients import Clients
from tests.builders import DAY, PLAN_ID, TODAY, a_policy, a_tier, a_usage_plan, at
from tests.events_schema import check_event
from tests.rights import Guard, Listener

BUSY = "busy000000"
SENDER = "AROASENDER"


def at_the_sweep(day: date) -> datetime:
    """The moment of a day at which it is swept."""
    return at(day, 3) + timedelta(minutes=15)


class RequestStoreOfOneSender(RequestStore):
    """A register whose requests can be asked for by their bare ids too, where only one sender asks."""

    def requests(self, request_ids: Sequence[str]) -> dict[str, RequestRow]:
        found = super().requests(request_ids)
        for request_id in set(request_ids) - set(found):
            if rows := self.of_all_senders(request_id):
                found[request_id] = rows[0]
        return found


def sqs_event(
    *bodies: Any,
    sender: str,
    sent: datetime | None = None,
    received: int = 1,
    moved: bool = False,
) -> dict[str, Any]:
    """An event as SQS makes it; the messages' ids are their numbers. A text is a body as it stands.

    Those that were `moved` come out of the dead-letter queue, and `sender` may be who moved them;
    so do those of a session that is called `redrive`.
    """
    moved = moved or sender.endswith(":redrive")
    dead_letters = "arn:aws:sqs:us-east-1:123456789012:dead"
    attributes = {
        **({"DeadLetterQueueSourceArn": dead_letters} if moved else {}),
        "ApproximateReceiveCount": str(received),
        "SenderId": f"{sender}:session",
        **({"SentTimestamp": str(int(sent.timestamp() * 1000))} if sent else {}),
    }
    return {
        "Records": [
            {
                "messageId": str(number),
                "receiptHandle": f"receipt {number}",
                "body": body if isinstance(body, str) else json.dumps(body),
                "attributes": attributes,
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:requests",
                "awsRegion": "us-east-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


Call = Callable[[], Any]
Around = Callable[[str, Call], Any]


class Killed(BaseException):
    """What ends a run from outside: nothing of it may catch this."""


class Watched:
    """Passes every call on to `target` through `around`, under a name such as "s3.put_object".

    With a `guard` a call that the function's role may not make is denied.
    """

    def __init__(self, target: Any, name: str, around: Around, guard: Guard | None = None) -> None:
        self._target = target
        self._name = name
        self._around = around
        self._guard = guard

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)

        guard, full_name = self._guard, f"{self._name}.{name}"

        def call(*args: Any, **params: Any) -> Any:
            if guard is None:
                return self._around(full_name, lambda: method(*args, **params))
            return self._around(
                full_name, lambda: guard.call(self._target, full_name, args, params)
            )

        return call


class Calls:
    """Counts the calls of a run; `instead` of some something else happens."""

    def __init__(self, **instead: Callable[[Call], Any]) -> None:
        self.names: list[str] = []
        self._instead = instead

    def __call__(self, name: str, call: Call) -> Any:
        self.names.append(name)
        other = self._instead.get(name.replace(".", "_"))
        return other(call) if other else call()

    def count(self, name: str) -> int:
        return self.names.count(name)


class Context:
    """What Lambda hands to a function beside the event; by default there is time without end."""

    function_name = "expire_keys"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:expire_keys"

    def __init__(self, aws_request_id: str, remaining_ms: Callable[[], int]) -> None:
        self.aws_request_id = aws_request_id
        self.get_remaining_time_in_millis = remaining_ms


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An account as it was at a moment."""

    today: date
    gateway: FakeApiGateway
    items: tuple[Mapping[str, Any], ...]
    objects: Mapping[str, bytes]


def brisk(**more: Any) -> Policy:
    """A policy under which every step takes a night; `more` goes to the tier `external`."""
    return a_policy(a_tier(**{"warn_days": 1, "grace_days": 1, "retain_days": 1, **more}))


@dataclass
class Account:
    """An account: keys and owners in memory, the rest at moto; the functions themselves run on it.

    It begins with one plan, `plan1`, and a key in it that is used every day.
    """

    clients: Clients
    expire_keys: ModuleType
    pull_usage: ModuleType
    provision_keys: ModuleType
    watch_capacity: ModuleType
    publish_report: ModuleType
    policy: Policy = field(default_factory=brisk)
    today: date = TODAY
    mode: Mode = Mode.PARK
    replay_window_hours: float = 0
    around: Around = field(default=lambda _, call: call())
    events: list[dict[str, Any]] = field(default_factory=list)
    logged: list[dict[str, Any]] = field(default_factory=list)  # the audit log
    audit_lock: str | None = None
    alerts: list[dict[str, Any]] = field(default_factory=list)
    runs: int = 0
    operators_answers: list[dict[str, Any]] = field(default_factory=list)
    queue: FakeQueue = field(default_factory=FakeQueue)
    heard: Listener | None = None  # of all that the functions' roles are asked for
    asker: str = SENDER  # who asks if nobody else is named; OPERATOR invokes the function

    def __post_init__(self) -> None:
        self.gateway = FakeApiGateway(at_the_sweep(self.today))
        self.owners = FakeOwnership(self.gateway)
        self.dead_letters = FakeDeadLetterQueues()
        self.logs = FakeAccessLogs()
        self.table = self.clients.new_table()
        self.bucket = self.clients.new_bucket()
        self.real_now = at_the_sweep(self.today)
        self.gateway.add_plan(a_usage_plan(PLAN_ID))
        self.key(BUSY)
        for back in range(1, 91):
            self.use(BUSY, self.today - DAY * back, 1000)
        self.wire()

    def wire(self) -> None:
        """Puts this account in the place of everything that the functions talk to."""
        settings = SweepSettings(
            ledger_table=self.table,
            history_bucket=self.bucket,
            sealing_key_arn=self.clients.key_arn,
            event_bus="default",
            alert_topic_arn=self.clients.topic_arn,
            stack_name="keyjanitor",
            runbook_url="",
            https_form="json",
            mode=self.mode,
            calls_per_second=3,
            replay_window_hours=self.replay_window_hours,
        )
        sweeper, reader, server, watcher, publisher = map(
            self._role,
            ("expire_keys", "pull_usage", "provision_keys", "watch_capacity", "publish_report"),
        )
        self.adapters = SweepAdapters(
            gateway=sweeper.gateway,
            owners=sweeper.owners,
            ledger=sweeper.ledger,
            history=sweeper.history,
            sealer=sweeper.sealer,
            bus=sweeper.bus,
            topic=sweeper.topic,
        )
        provision_adapters = ProvisionAdapters(
            gateway=server.gateway,
            owners=server.owners,
            ledger=server.ledger,
            request_store=RequestStore(server.table),
            history=server.history,
            sealer=server.sealer,
            bus=server.bus,
        )
        for function, values in (
            (self.expire_keys, {"adapters": self.adapters, "policy": self.policy}),
            (
                self.pull_usage,
                {
                    "adapters": ReadingAdapters(
                        gateway=reader.gateway,
                        history=reader.history,
                        ledger=reader.ledger,
                        logs=reader.logs,
                    ),
                    "policy": self.policy,
                },
            ),
            (
                self.watch_capacity,
                {
                    "policy": self.policy,
                    "adapters": WatchAdapters(
                        gateway=watcher.gateway,
                        ledger=watcher.ledger,
                        alert_store=AlertStore(watcher.table),
                        history=watcher.history,
                        topic=watcher.topic,
                        dead_letters=watcher.dead_letters,
                    ),
                },
            ),
            (
                self.publish_report,
                {
                    "policy": self.policy,
                    "settings": self._report_settings(),
                    "adapters": ReportAdapters(
                        gateway=publisher.gateway,
                        owners=publisher.owners,
                        ledger=publisher.ledger,
                        history=publisher.history,
                        audit_log=publisher.audit_log,
                    ),
                },
            ),
            (
                self.provision_keys,
                {"adapters": provision_adapters, "policy": self.policy, "queue": server.queue},
            ),
        ):
            for name, value in {"settings": settings, **values, "now": self._now}.items():
                setattr(function, name, value)

    def _report_settings(self) -> PublishSettings:
        return PublishSettings(
            ledger_table=self.table,
            history_bucket=self.bucket,
            audit_log="audit",
            audit_lock=self.audit_lock,
            audit_folder_days=400,
            stack_name="keyjanitor",
            mode=self.mode,
            calls_per_second=3,
            replay_window_hours=self.replay_window_hours,
        )

    def _now(self) -> datetime:
        return self.real_now

    def _role(self, function: str) -> "_Role":
        """Everything that the functions talk to, as one of them may."""
        guard = Guard(function, str(self.mode), self.heard)

        def watched(name: str, target: Any) -> Any:
            return Watched(target, name, self._around, guard)

        def client(service: str) -> Any:
            if service == "logs":
                return watched(service, Logs(self))
            return watched(service, _Told(getattr(self.clients, service), self))

        table, topic = (
            Table(client("dynamodb"), self.table),
            AlertTopic(client("sns"), self.clients.topic_arn, Stack("keyjanitor", self.bucket)),
        )
        return _Role(
            gateway=watched("apigateway", self._api_gateway(function)),
            owners=watched("owners", self._ownership()),
            table=table,
            ledger=Ledger(table),
            history=HistoryBucket(client("s3"), self.bucket),
            sealer=ValueSealer(client("kms"), self.clients.key_arn),
            bus=EventBus(client("events"), "default"),
            audit_log=AuditLog(client("logs"), "audit"),
            topic=topic,
            dead_letters=watched("dead_letters", self.dead_letters),
            logs=watched("access_logs", self.logs),
            queue=Watched(self.queue, "queue", lambda _, call: call(), guard),
        )

    def _api_gateway(self, function: str) -> object:
        """The API Gateway that a function calls: here the one in memory for all of them."""
        return self.gateway

    def _ownership(self) -> object:
        return self.owners

    def _around(self, name: str, call: Call) -> Any:
        return self.around(name, call)

    def log_event(self, entry: Mapping[str, Any], detail: Mapping[str, Any]) -> None:
        """The rule on the bus: an event that the bus took is in the audit log, as EventBridge lays it out."""
        self.logged.append(
            {
                "version": "0",
                "id": f"00000000-0000-0000-0000-{len(self.logged):012}",
                "detail-type": entry["DetailType"],
                "source": entry["Source"],
                "account": "123456789012",
                "time": f"{self.real_now:%Y-%m-%dT%H:%M:%SZ}",
                "region": "us-east-1",
                "resources": [],
                "detail": dict(detail),
            }
        )

    # --- what people do ---------------------------------------------------------------------------

    def key(
        self,
        key_id: str,
        *,
        idle: int | None = None,
        age: int = 400,
        plans: Sequence[str] = (PLAN_ID,),
        value: str = "",
        **more: Any,
    ) -> str:
        """Makes a key, `age` days before today and last used `idle` days before; gives its value."""
        made = at(self.today - DAY * age)
        values = {"name": f"name of {key_id}", "enabled": True, "tags": {}, **more}
        value = self.gateway.add_key(
            ApiKey(key_id=key_id, created_date=made, last_updated_date=made, **values),
            value,
            plans,
        )
        if idle is not None:
            for plan_id in plans:
                self.gateway.use(plan_id, key_id, self.today - DAY * idle)
        return value

    def use(self, key_id: str, day: date | None = None, requests: int = 1) -> None:
        self.gateway.use(PLAN_ID, key_id, day or self.today, requests)

    def own(self, key_id: str, owner: str) -> None:
        """Writes the owner of a key into its row, as whoever issues keys does."""
        self.change_row(key_id, owner=owner)

    def change_row(self, key_id: str, **what: Any) -> None:
        row = self.row(key_id)
        assert row is not None
        assert self.ledger.commit([Change(row, replace(row, **what))])

    def tell_all(self) -> None:
        """Remembers that digests named every key whose row a test has made a warned one of."""
        for day in {row.warned_on for row in self.rows().values() if row.warned_on}:
            ids = [row.key_id for row in self.rows().values() if row.warned_on == day]
            self.ledger.remember(day, told=sorted(ids))

    # --- what the functions do --------------------------------------------------------------------

    def context(self, remaining_ms: Callable[[], int] = lambda: 900_000) -> Any:
        self.runs += 1
        return Context(f"run-{self.runs}", remaining_ms)

    def read(self, context: Any = None) -> dict[str, Any]:
        """Tonight's reading, by pull_usage."""
        event = {"time": f"{self.today}T02:15:00Z"}
        answer = self.pull_usage.lambda_handler(event, context or self.context())
        return cast("dict[str, Any]", answer)

    def sweep(self, context: Any = None, **event: Any) -> dict[str, Any]:
        """What expire_keys answers to an event at a quarter past three of today."""
        event = {"time": f"{self.today}T03:15:00Z", **event}
        answer = self.expire_keys.lambda_handler(event, context or self.context())
        return cast("dict[str, Any]", answer)

    def ask(
        self,
        *bodies: Any,
        sender: str | None = None,
        context: Any = None,
        sent: datetime | None = None,
        received: int = 1,
        moved: bool = False,
    ) -> list[int]:
        """Has requests served as one batch; gives the numbers of those that have to come again."""
        sender = self.asker if sender is None else sender
        if sender == OPERATOR and bodies:
            answers = self.invoke(*bodies, context=context)
            return [number for number, one in enumerate(answers) if one["status"] == "deferred"]
        event = sqs_event(
            *bodies, sender=sender, sent=sent or self.real_now, received=received, moved=moved
        )
        answer = self.provision_keys.lambda_handler(event, context or self.context())
        return [int(one["itemIdentifier"]) for one in answer["batchItemFailures"]]

    def invoke(self, *bodies: Any, context: Any = None, **event: Any) -> list[dict[str, Any]]:
        """What an operator is answered who invokes the function with requests, in their order."""
        event = {"operator": list(bodies), **event}
        answer = self.provision_keys.lambda_handler(event, context or self.context())
        self.operators_answers.append(answer)
        if "running" in answer:
            return [{"status": "deferred", "reason": answer["running"]} for _ in bodies]
        return cast("list[dict[str, Any]]", answer["answers"])

    def answers(self, request_id: str) -> list[tuple[str, dict[str, Any]]]:
        """The events that answered a request."""
        return [
            (one["DetailType"], one["Detail"])
            for one in self.events
            if one["Detail"].get("request_id") == request_id
        ]

    def publish(self, context: Any = None) -> dict[str, Any]:
        """What publish_report answers at a quarter past six of today."""
        event = {"time": f"{self.today}T06:15:00Z"}
        answer = self.publish_report.lambda_handler(event, context or self.context())
        return cast("dict[str, Any]", answer)

    def report(self, folder: str = "latest") -> dict[str, Any]:
        """The numbers of a report."""
        name = f"reports/{folder}/report.json"
        return cast("dict[str, Any]", json.loads(self._files()[name]))

    def watch(self) -> dict[str, Any]:
        """What watch_capacity answers at twenty to four of today."""
        event = {"time": f"{self.today}T03:40:00Z"}
        return cast("dict[str, Any]", self.watch_capacity.lambda_handler(event, self.context()))

    def night(self, **event: Any) -> dict[str, Any]:
        """One night: the reading and a sweep. Gives the sweep's answer."""
        self.read()
        return self.sweep(**event)

    def pass_day(self, days: int = 1) -> None:
        """Lets days pass, with the busy key's requests; the nights between are not swept."""
        for _ in range(days):
            self.use(BUSY, requests=1000)
            self.today += DAY
        self.real_now += timedelta(days=days)
        self.gateway.now = at_the_sweep(self.today)

    def skip(self, days: int) -> None:
        """Lets days pass whose nights were swept, though nothing was due in them."""
        self.pass_day(days)
        self.ledger.remember(self.today - DAY, swept=True)

    def nights(self, count: int) -> dict[str, Any]:
        """So many nights and the days between them; gives the last answer."""
        answer = self.night()
        for _ in range(count - 1):
            self.pass_day()
            answer = self.night()
        return answer

    # --- what is asked of it ----------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        """The ledger beside what is watched."""
        return Ledger(Table(self.clients.dynamodb, self.table))

    @property
    def request_store(self) -> RequestStore:
        return RequestStoreOfOneSender(Table(self.clients.dynamodb, self.table))

    @property
    def history(self) -> HistoryBucket:
        return HistoryBucket(self.clients.s3, self.bucket)

    @property
    def sealer(self) -> ValueSealer:
        return ValueSealer(self.clients.kms, self.clients.key_arn)

    def row(self, key_id: str) -> Row | None:
        """A key's row, wherever it is."""
        return self.rows().get(key_id)

    def rows(self) -> dict[str, Row]:
        return {**{row.key_id: row for row in self.ledger._shelf()}, **self.ledger.live_rows()}

    def states(self) -> dict[str, str]:
        return {key_id: str(row.state) for key_id, row in self.rows().items()}

    def buried(self, damaged: Sequence[str] = ()) -> dict[str, tuple[Tombstone, str]]:
        """Every tombstone, opened, but for those of `damaged` keys."""
        opened = {}
        for name in self.objects("tombstones/"):
            key_id = name.removeprefix("tombstones/").removesuffix(".json")
            if key_id in damaged:
                continue
            tombstone, value = self.history.open_tombstone(key_id, self.sealer)
            opened[key_id] = (tombstone, value.reveal())
        return opened

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """Every object of the history bucket, as it is now; what was gzipped is opened."""
        return {
            name: gzip.decompress(body) if name.endswith(".gz") else body
            for name, body in self._files(prefix).items()
        }

    def _files(self, prefix: str = "") -> dict[str, bytes]:
        s3, files, after = self.clients.s3, {}, ""
        while True:
            page = s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix, StartAfter=after)
            for item in page.get("Contents", ()):
                after = item["Key"]
                files[after] = s3.get_object(Bucket=self.bucket, Key=after)["Body"].read()
            if not page["IsTruncated"]:
                return files

    def versions(self, prefix: str) -> list[str]:
        """Versions and delete markers of the objects with this prefix, as far as one page goes."""
        page = self.clients.s3.list_object_versions(Bucket=self.bucket, Prefix=prefix)
        return [item["Key"] for item in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))]

    def keys_file(self, day: date | None = None) -> dict[str, dict[str, Any]]:
        return self.lines_in(f"keys/dt={day or self.today}/keys.jsonl.gz")

    def lines_in(self, name: str) -> dict[str, dict[str, Any]]:
        """The lines of a night's keys file, or of a dry run's, by key id."""
        lines = self.objects(name)[name].decode().splitlines()
        return {line["key_id"]: line for line in map(json.loads, lines)}

    def evidence(self) -> Evidence | None:
        return self.history.evidence(self.today)

    def enabled(self, key_id: str) -> bool:
        return self.gateway.whole(key_id)[0].enabled

    def told(self, key_id: str) -> list[str]:
        """The events about a key, in the order in which the bus took them."""
        return [one["DetailType"] for one in self.events if one["Detail"]["key_id"] == key_id]

    def items(self) -> list[dict[str, Any]]:
        return list(self.clients.dynamodb.scan(TableName=self.table)["Items"])

    # --- again from the same moment ---------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        return Snapshot(self.today, self.gateway.copy(), tuple(self.items()), self._files())

    def go_back(self, snapshot: Snapshot) -> None:
        """Stands again where it stood, with nothing told yet."""
        self.today = snapshot.today
        self.real_now = at_the_sweep(self.today)
        self.gateway = snapshot.gateway.copy()
        self.owners = FakeOwnership(self.gateway)
        self.table = self.clients.new_table()
        self.bucket = self.clients.new_bucket()
        for first in range(0, len(snapshot.items), 25):
            self.clients.dynamodb.batch_write_item(
                RequestItems={
                    self.table: [
                        {"PutRequest": {"Item": item}}
                        for item in snapshot.items[first : first + 25]
                    ]
                }
            )
        for name, body in snapshot.objects.items():
            self.clients.s3.put_object(Bucket=self.bucket, Key=name, Body=body)
        self.events.clear()
        self.alerts.clear()
        self.wire()


@dataclass(frozen=True, slots=True)
class _Role:
    """What a function talks to, guarded by its role."""

    gateway: Any
    owners: Any
    table: Table
    ledger: Ledger
    history: HistoryBucket
    sealer: ValueSealer
    bus: EventBus
    topic: AlertTopic
    dead_letters: Any
    logs: Any
    queue: Any
    audit_log: AuditLog


class Logs:
    """CloudWatch Logs: the audit log of an account, in pages of three lines."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def filter_log_events(self, **params: Any) -> Any:
        lines = [
            {"timestamp": written, "message": json.dumps(event)}
            for event in self._account.logged
            if params["startTime"]
            <= (written := int(datetime.fromisoformat(event["time"]).timestamp() * 1000))
            <= params["endTime"]
        ]
        first = int(params.get("nextToken", 0))
        more = {"nextToken": str(first + 3)} if len(lines) > first + 3 else {}
        return {"events": lines[first : first + 3], **more}


class _Told:
    """A client that writes down which events and alerts AWS took; the events fit their contract."""

    def __init__(self, client: Any, account: Account) -> None:
        self._client = client
        self._account = account

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_events(self, **params: Any) -> Any:
        answer = self._client.put_events(**params)
        for entry, told in zip(params["Entries"], answer["Entries"], strict=True):
            if not told.get("ErrorCode"):
                detail = json.loads(entry["Detail"])
                check_event(entry["DetailType"], detail)
                self._account.events.append({**entry, "Detail": detail})
                self._account.log_event(entry, detail)
        return answer

    def publish(self, **params: Any) -> Any:
        answer = self._client.publish(**params)
        self._account.alerts.append(params)
        return answer
