"""A running sandbox, as tests and the demo hold it: boto3 and the standard library suffice."""

import base64
import contextlib
import gzip
import http.client
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config

from sandbox.aws.throttles import TOO_MANY
from sandbox.driver.queues import Queues
from sandbox.driver.watching import Watching

REPOSITORY = Path(__file__).resolve().parents[2]
ACCOUNT = "123456789012"
REGION = "us-east-1"
SECRET_ACCESS_KEY = "sandbox"
_KEYS_PER_CALL = 2_000
_PATIENCE = 120  # seconds for a start: six may start at once on two cores
_REFUSALS = 60  # of one call that came too early: together a minute of waiting


@dataclass(frozen=True, slots=True)
class LaidKey:
    """A key with a past, to be laid down as if it had always been there.

    What is None is made up: `value` and `id` at random, `created` now, `updated` as `created`.
    `plans` are usage plan ids, `uses` the requests by plan id and UTC date, `stage_keys` of the
    form `API_ID/STAGE`; `owner_stack` names the stack that DescribeStackResources answers with.
    """

    name: str = ""
    value: str | None = None
    enabled: bool = True
    description: str | None = None
    customer_id: str | None = None
    created: datetime | None = None
    updated: datetime | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    stage_keys: Sequence[str] = ()
    plans: Sequence[str] = ()
    owner_stack: str | None = None
    uses: Mapping[str, Mapping[date, int]] = field(default_factory=dict)
    id: str | None = None

    def as_row(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "value": self.value,
            "enabled": self.enabled,
            "description": self.description,
            "customer_id": self.customer_id,
            "created": int(self.created.timestamp()) if self.created else None,
            "updated": int(self.updated.timestamp()) if self.updated else None,
            "tags": dict(self.tags),
            "stage_keys": list(self.stage_keys),
            "plans": list(self.plans),
            "owner_stack": self.owner_stack,
            "uses": [[plan_id, *_run_of(days)] for plan_id, days in self.uses.items() if days],
        }
        return {name: value for name, value in row.items() if value not in (None, "", [], {})}


def _run_of(days: Mapping[date, int]) -> tuple[str, list[int]]:
    """The first day, and the requests of each day from it to the last."""
    first, last = min(days), max(days)
    length = (last - first).days + 1
    return first.isoformat(), [days.get(first + timedelta(days=n), 0) for n in range(length)]


@dataclass(frozen=True, slots=True)
class Call:
    """One call on API Gateway's control plane, as the sandbox saw it.

    `started` is in seconds of a clock that only goes forward; `role` is `administrator` for
    calls with the administrator's credentials; `agent` is the SDK that made it, such as
    `Boto3/1.44.5`; `error` is AWS's code.
    """

    operation: str
    started: float
    role: str
    account: str
    agent: str
    key_id: str | None
    plan_id: str | None
    seconds: float
    status: int
    error: str | None


class FunctionFailed(Exception):
    """A function ended with an error: its type, its message, and the end of its log."""

    def __init__(self, error_type: str, message: str, log: str) -> None:
        super().__init__(f"{error_type}: {message}")
        self.error_type = error_type
        self.message = message
        self.log = log


def _seconds_until_admitted(response: Any, attempts: int, **_: Any) -> float | None:
    """The pause before a call that the throttles refused is made again; None: it is not made again.

    What a test makes fail on purpose is answered as it is.
    """
    refusal = response[1].get("Error", {}) if response is not None else {}
    if refusal.get("Message") != TOO_MANY or attempts > _REFUSALS:
        return None
    return float(min(1.0, 0.01 * 2**attempts))


def sandbox_python() -> str:
    """The interpreter that has MiniStack: $KEYJANITOR_SANDBOX_PYTHON, else .venv-sandbox's."""
    return os.environ.get(
        "KEYJANITOR_SANDBOX_PYTHON", str(REPOSITORY / ".venv-sandbox" / "bin" / "python")
    )


class Sandbox(Queues, Watching):
    """A running sandbox: starts the process, or attaches to one, and sets what AWS would not."""

    def __init__(self, endpoint: str, account: str = ACCOUNT, region: str = REGION) -> None:
        self.endpoint = endpoint
        self.account = account
        self.region = region
        self._host = endpoint.removeprefix("http://")
        self._process: subprocess.Popen[str] | None = None
        self._drain: threading.Thread | None = None
        self._session = boto3.session.Session()
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._connection = http.client.HTTPConnection(self._host, timeout=120)

    # -- the process --------------------------------------------------------------------------

    @classmethod
    def start(
        cls,
        *,
        python: str | None = None,
        speed: float | None = 1.0,
        port: int = 0,
        log: Path | None = None,
    ) -> Self:
        """Start a sandbox and wait until it answers. It ends with this process at the latest.

        `speed` multiplies the control plane's rates, None takes the limits off; its own output
        beyond the first lines goes to `log`, else to standard error.
        """
        arguments = ["--port", str(port), "--speed", str(speed or 0), "--with-parent"]
        environment = {n: v for n, v in os.environ.items() if not n.startswith("AWS_")}
        with contextlib.ExitStack() as opened:
            errors = opened.enter_context(log.open("a")) if log else sys.stderr
            process = subprocess.Popen(
                [python or sandbox_python(), "-m", "sandbox", *arguments],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert process.stdout is not None
        exports = ""
        for line in process.stdout:
            if line.startswith("export "):
                exports = line
                break
        if not exports:
            process.wait()
            raise RuntimeError(f"the sandbox did not start: exit code {process.returncode}")
        # Whatever is printed later must not fill the pipe.
        drain = threading.Thread(target=process.stdout.read, daemon=True)
        drain.start()
        sandbox = cls(exports.split("AWS_ENDPOINT_URL=")[1].split()[0])
        sandbox._process = process
        sandbox._drain = drain
        sandbox._wait_until_ready()
        return sandbox

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._set("ready")
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def stop(self) -> None:
        """End the process that `start` started, and wait until it is gone."""
        self._connection.close()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            if self._drain is not None and self._process.stdout is not None:
                self._drain.join()
                self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The process that `start` started."""
        return self._process.pid if self._process else None

    @property
    def is_running(self) -> bool:
        """True while the process that `start` started has not ended."""
        return self._process is not None and self._process.poll() is None

    # -- credentials --------------------------------------------------------------------------

    def client(self, service: str, **kw: Any) -> Any:
        """A boto3 client with the administrator's credentials; it repeats no call that failed.

        A call that came too early for the control plane's throttles waits until it is admitted, for
        a fast machine must not get another answer than a slow one; `patient=False` is for a client
        that looks at the throttles themselves. Other keywords go to boto3: `config` for retries,
        `region_name`, or a role's `aws_*`. Without any, the same client is given again.
        """
        return self._made(service, **kw) if kw else self._own(service)

    def _made(self, service: str, **kw: Any) -> Any:
        patient = kw.pop("patient", True)
        config = kw.pop("config", None) or Config(
            retries={"total_max_attempts": 1, "mode": "standard"}, read_timeout=910
        )
        given: dict[str, Any] = {
            "endpoint_url": self.endpoint,
            "region_name": self.region,
            "aws_access_key_id": self.account,
            "aws_secret_access_key": SECRET_ACCESS_KEY,
        }
        make: Any = self._session.client
        with self._lock:  # making clients is not thread-safe
            client = make(service, config=config, **(given | kw))
        if patient:
            client.meta.events.register(f"needs-retry.{service}", _seconds_until_admitted)
        return client

    def _own(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._made(service)
        return self._clients[service]

    def environment(self) -> dict[str, str]:
        """The environment for a subprocess that is to meet the sandbox, such as sam."""
        kept = {n: v for n, v in os.environ.items() if not n.startswith("AWS_")}
        return kept | {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.account,
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAM_CLI_TELEMETRY": "0",
            "SAM_CLI_POLL_DELAY": "0.2",  # seconds; 5 is meant for AWS
        }

    def role(self, name: str, *statements: Mapping[str, Any]) -> dict[str, str]:
        """Make a role with this policy and assume it; gives the `aws_*` keywords for `client`."""
        iam = self._own("iam")
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": f"arn:aws:iam::{self.account}:root"},
                    "Action": "sts:AssumeRole",
                }
            ],
        }
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
        if statements:
            policy = {"Version": "2012-10-17", "Statement": list(statements)}
            iam.put_role_policy(
                RoleName=name, PolicyName="given", PolicyDocument=json.dumps(policy)
            )
        assumed = self._own("sts").assume_role(
            RoleArn=role["Role"]["Arn"], RoleSessionName="sandbox"
        )["Credentials"]
        return {
            "aws_access_key_id": assumed["AccessKeyId"],
            "aws_secret_access_key": assumed["SecretAccessKey"],
            "aws_session_token": assumed["SessionToken"],
        }

    # -- settings -----------------------------------------------------------------------------

    def _open(self, name: str, given: Mapping[str, Any]) -> Any:
        request = urllib.request.Request(
            f"{self.endpoint}/_sandbox/{name}",
            data=json.dumps(given).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            return urllib.request.urlopen(request, timeout=300)
        except urllib.error.HTTPError as err:
            with err:
                reason = json.loads(err.read() or b"{}").get("error", "no such setting")
            raise ValueError(f"{name}: {reason}") from None

    def _set(self, name: str, /, **given: Any) -> Any:
        with self._open(name, given) as response:
            return json.load(response)

    def set_clock(self, when: datetime) -> None:
        """Set API Gateway's and CloudWatch's clock to an aware datetime; it stands still then."""
        self._set("time", now=when.isoformat())

    def run_clock(self) -> None:
        """Let that clock go on from where it stands."""
        self._set("time", run=True)

    def reset_clock(self) -> None:
        """Let that clock show real time again."""
        self._set("time", reset=True)

    def now(self) -> datetime:
        """The time of API Gateway and CloudWatch (UTC)."""
        return datetime.fromisoformat(self._set("time")["now"]).astimezone(UTC)

    def set_throttles(self, speed: float | None) -> None:
        """Let the control plane's limits be `speed` times AWS's, with full buckets; None is off."""
        self._set("speed", speed=speed)

    def misbehave(self, **what: Any) -> dict[str, Any]:
        """Set faults and limits by name, as `sandbox.aws.faults.Faults` lists them; gives all.

        What is to happen some times only, such as `fail_next`, says how often it has yet to.
        """
        faults: dict[str, Any] = self._set("misbehaviour", **what)
        return faults

    def behave(self) -> None:
        """Put every fault and limit right again."""
        self._set("misbehaviour", reset=True)

    def wipe(self) -> None:
        """Forget every key, plan, use, call, event, alert, message and metric.

        Alarms are as newly created; stacks, data and logs stay.
        """
        self._set("wipe")

    def empty(self, *, table: str, bucket: str) -> None:
        """Forget every item of a table and every object of a bucket, with all its versions."""
        self._set("empty", table=table, bucket=bucket)

    # -- keys and their past ------------------------------------------------------------------

    def lay_down(self, keys: Sequence[LaidKey]) -> list[str]:
        """Lay down keys with their past, past every limit; gives their ids in the same order."""
        return self.lay_down_rows([key.as_row() for key in keys])

    def lay_down_rows(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Like `lay_down`, for rows as `LaidKey.as_row` makes them: thousands a second."""
        ids: list[str] = []
        for n in range(0, len(rows), _KEYS_PER_CALL):
            ids += self._set("keys", keys=rows[n : n + _KEYS_PER_CALL])["ids"]
        return ids

    def lay_down_usage(self, rows: Iterable[tuple[str, str, date, int]]) -> None:
        """Add requests to past days: rows of plan id, key id, UTC date, requests."""
        days: dict[tuple[str, str], dict[date, int]] = {}
        for plan_id, key_id, day, used in rows:
            of_key = days.setdefault((plan_id, key_id), {})
            of_key[day] = of_key.get(day, 0) + used
        packed = [[*ids, *_run_of(of_key)] for ids, of_key in days.items()]
        for n in range(0, len(packed), 10 * _KEYS_PER_CALL):
            self._set("usage", rows=packed[n : n + 10 * _KEYS_PER_CALL])

    def rest_api(self, stages: Sequence[str]) -> str:
        """Deploy a REST API with one MOCK method, GET /hello, that needs a key; gives its id."""
        return str(self._set("rest-api", stages=list(stages))["id"])

    def usage_plan(
        self,
        name: str,
        stages: Sequence[tuple[str, str]] = (),
        quota: Mapping[str, Any] | None = None,
        throttle: Mapping[str, Any] | None = None,
        method_throttle: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> str:
        """Make a usage plan for stages given as (API id, stage); gives its id.

        `quota` is `{"limit", "period"}`, `throttle` `{"rateLimit", "burstLimit"}`, and
        `method_throttle` such by `/hello/GET`. No control-plane call is spent.
        """
        entries = [
            {"apiId": api_id, "stage": stage, "throttle": dict(method_throttle or {})}
            for api_id, stage in stages
        ]
        plan = {
            "name": name,
            "apiStages": entries,
            "quota": dict(quota or {}),
            "throttle": dict(throttle or {}),
        }
        return str(self._set("usage-plan", **plan)["id"])

    # -- what was done ------------------------------------------------------------------------

    def calls(self, role: str | None = None) -> list[Call]:
        """Every call on API Gateway's control plane since the last `forget_calls`, in order.

        `role` leaves only those of roles whose name starts so.
        """
        calls = [Call(**row) for row in self._set("calls")["calls"]]
        return [call for call in calls if role is None or call.role.startswith(role)]

    def forget_calls(self) -> None:
        """Start a new record of calls."""
        self._set("calls", forget=True)

    def calls_per_operation(self, role: str | None = None) -> Counter[str]:
        """How often each operation was called, refused calls included."""
        return Counter(call.operation for call in self.calls(role))

    def peak_calls_per_second(self, role: str | None = None) -> int:
        """The most calls that started within any one second."""
        started = sorted(call.started for call in self.calls(role))
        peak = first = 0
        for last, at in enumerate(started):
            while at - started[first] >= 1:
                first += 1
            peak = max(peak, last - first + 1)
        return peak

    def events(self, after: int = 0) -> list[dict[str, Any]]:
        """Every event put on any bus, in order: EventBusName, Source, DetailType, Detail (text).

        Without the first `after` of them.
        """
        events: list[dict[str, Any]] = self._set("events", after=after)["events"]
        return events

    def alerts(self) -> list[dict[str, Any]]:
        """Every message published to any topic: topic, subject, message, structure, attributes."""
        alerts: list[dict[str, Any]] = self._set("alerts")["alerts"]
        return alerts

    def workers(self) -> list[dict[str, Any]]:
        """The processes of functions: function, pid, busy, memory and peak_memory in bytes."""
        workers: list[dict[str, Any]] = self._set("workers")["workers"]
        return workers

    def everything_stored(self) -> Iterator[tuple[str, bytes]]:
        """(where, content) of every log line, object version, item, message, event and alert.

        What is gzipped comes twice: as it is stored, and opened.
        """
        with self._open("stored", {}) as response:
            for line in response:
                row = json.loads(line)
                content = base64.b64decode(row["content"])
                yield row["where"], content
                if content.startswith(b"\x1f\x8b"):
                    with contextlib.suppress(OSError):
                        yield row["where"] + " (opened)", gzip.decompress(content)

    # -- traffic ------------------------------------------------------------------------------

    def call_api(self, api_id: str, stage: str, value: str | None, path: str = "/hello") -> int:
        """Send one GET through the API with this key; gives the status."""
        with self._lock:
            return self._get(self._connection, api_id, stage, value, path)

    def _get(
        self,
        connection: http.client.HTTPConnection,
        api_id: str,
        stage: str,
        value: str | None,
        path: str,
    ) -> int:
        headers = {"x-api-key": value} if value else {}
        try:
            connection.request("GET", f"/_aws/execute-api/{api_id}/{stage}{path}", headers=headers)
            response = connection.getresponse()
        except (ConnectionError, http.client.HTTPException):
            # The server closes connections that lie idle.
            connection.close()
            connection.request("GET", f"/_aws/execute-api/{api_id}/{stage}{path}", headers=headers)
            response = connection.getresponse()
        response.read()
        return response.status

    def call_api_many(
        self, api_id: str, stage: str, requests: Mapping[str, int], path: str = "/hello"
    ) -> Counter[int]:
        """Send n GETs with each key value; gives how often each status came back."""
        values = [value for value, n in requests.items() for _ in range(n)]
        lanes = 4

        def send(lane: int) -> Counter[int]:
            statuses: Counter[int] = Counter()
            connection = http.client.HTTPConnection(self._host, timeout=120)
            with contextlib.closing(connection):
                for value in values[lane::lanes]:
                    statuses[self._get(connection, api_id, stage, value, path)] += 1
            return statuses

        with ThreadPoolExecutor(lanes) as pool:
            return sum(pool.map(send, range(lanes)), Counter())

    def invoke(self, function_name: str, payload: Any = None) -> Any:
        """Invoke a function and give its result. Raises FunctionFailed."""
        answer = self._own("lambda").invoke(
            FunctionName=function_name, Payload=json.dumps(payload or {}), LogType="Tail"
        )
        result = json.loads(answer["Payload"].read() or b"null")
        if answer.get("FunctionError"):
            log = base64.b64decode(answer.get("LogResult", "")).decode(errors="replace")
            raise FunctionFailed(
                str(result.get("errorType", "")), str(result.get("errorMessage", "")), log
            )
        return result
