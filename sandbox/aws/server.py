"""The server: MiniStack behind one port, completed, and `/_sandbox/` to set what AWS would not."""

import asyncio
import gc
import json
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any

import ministack.app as ministack
from hypercorn.asyncio import serve as hypercorn_serve  # type: ignore[import-not-found]
from hypercorn.config import Config  # type: ignore[import-not-found]
from ministack.core import hypercorn_compat
from ministack.core.responses import request_scope
from ministack.core.router import extract_access_key_id
from ministack.services import apigateway_v1, sts

from sandbox.aws import completions
from sandbox.aws.apigateway.apigateway import ControlPlane
from sandbox.aws.apigateway.dataplane import DataPlane
from sandbox.aws.calls import Call, CallLog, operation_of
from sandbox.aws.clock import Clock
from sandbox.aws.cloudwatch.access_logs import AccessLogging
from sandbox.aws.cloudwatch.alarms import Alarms
from sandbox.aws.cloudwatch.metrics import Metrics
from sandbox.aws.environment import ACCOUNT, REGION
from sandbox.aws.faults import Faults, failure
from sandbox.aws.layers import UnpackedLayers
from sandbox.aws.messaging.event_sources import EventSources, MoveTasks
from sandbox.aws.messaging.log_targets import LogTargets
from sandbox.aws.messaging.queue_targets import QueueTargets
from sandbox.aws.messaging.topics import Topics
from sandbox.aws.policy_variables import PolicyVariables
from sandbox.aws.projections import Projections
from sandbox.aws.quick_tables import QuickTables
from sandbox.aws.rights import BusPolicies, LeadingKeys, SimulatedPrincipals
from sandbox.aws.settings import Settings
from sandbox.aws.throttles import TOO_MANY, ControlPlaneThrottles
from sandbox.aws.wire import Answer, Refused
from sandbox.aws.workers import end_all_workers, kill_busy_workers

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_JSON = [(b"content-type", b"application/json")]


class Exchange:
    """One HTTP request on its way: whether its answer gets lost, and its call if it is one."""

    def __init__(self) -> None:
        self.lost = False
        self.call: Call | None = None
        self.access_key_id = ""


_exchange: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


class Server:
    """MiniStack with everything that the sandbox adds to it."""

    def __init__(self, speed: float | None) -> None:
        clock = Clock()
        control = ControlPlane(clock, Faults())
        published = completions.Published()
        self.faults = control.faults
        self.calls = CallLog()
        self.layers = UnpackedLayers()
        self.throttles = ControlPlaneThrottles(speed)
        metrics, topics = Metrics(clock), Topics()
        alarms = Alarms(clock, metrics)
        self.settings = Settings(
            *(clock, self.faults, self.throttles, self.calls, control, published),
            *(metrics, alarms, topics),
        )
        self._dispatch = ministack._dispatch_service_request
        for addition in (
            control,
            DataPlane(control),
            completions.Tagging(control),
            completions.Stacks(control),
            completions.ConditionKeys(),
            PolicyVariables(),
            LeadingKeys(),
            BusPolicies(),
            SimulatedPrincipals(),
            completions.ScheduledTime(),
            completions.ErrorTypes(),
            completions.LogFilters(),
            completions.AuditTrail(),
            completions.KeyConditions(),
            Projections(),
            QuickTables(),
            self.layers,
            completions.FastTemplates(),
            completions.ParsedPolicies(),
            LogTargets(),
            QueueTargets(),
            EventSources(clock),
            MoveTasks(),
            published,
            metrics,
            AccessLogging(control, metrics),
            alarms,
            topics,
        ):
            addition.install()
        self._handle_key_call = apigateway_v1.handle_request
        apigateway_v1.handle_request = self._on_control_plane
        ministack._dispatch_service_request = self._on_signed_call

    # -- what comes in over HTTP --------------------------------------------------------------

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await ministack.app(scope, receive, send)
            return
        if scope["path"].startswith("/_sandbox/"):
            await self._on_setting(scope["path"], receive, send)
            return
        exchange = Exchange()
        _exchange.set(exchange)

        async def send_unless_lost(message: Message) -> None:
            if not exchange.lost:
                await send(message)
            elif message["type"] == "http.response.start":
                # A first chunk, and the connection breaks off before the last. (Of a body that
                # is shorter than its Content-Length botocore would not complain.)
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"{", "more_body": True})

        await ministack.app(scope, receive, send_unless_lost)

    async def _on_signed_call(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        query: dict[str, Any],
        request_id: str,
    ) -> Answer:
        """Note calls on API Gateway, and make any service fail as it was told to."""
        exchange = _exchange.get() or Exchange()
        exchange.access_key_id = extract_access_key_id(headers, query)
        role = role_of(exchange.access_key_id)
        service = _service_of(headers)
        if service == "apigateway":
            imports = query.get("mode") == ["import"]
            operation, key_id, plan_id = operation_of(method, path, imports)
            account = _account_of(exchange.access_key_id)
            agent = headers.get("user-agent", "").partition(" ")[0]
            call = Call(operation, time.monotonic(), role, account, agent, key_id, plan_id)
            exchange.call = call
            self.calls.add(call)
            answer = await self._answer(operation, (method, path, headers, body, query, request_id))
            call.seconds = time.monotonic() - call.started
            call.status = answer[0]
            call.error = _error_code(answer) if answer[0] >= 400 else None
        else:
            operation = f"{service}:{_operation_elsewhere(method, headers, body)}"
            answer = await self._answer(operation, (method, path, headers, body, query, request_id))
        exchange.lost = self.faults.loses(operation)
        if self.faults.has_made_its_calls(role):
            kill_busy_workers(role)
        return answer

    async def _answer(self, operation: str, request: tuple[Any, ...]) -> Answer:
        if delay := self.faults.seconds_before(operation, request[3]):
            await asyncio.sleep(delay)
        if code := self.faults.next_failure(operation):
            return failure(code, _service_of(request[2]))
        if self.faults.meets_another_write(operation, request[2]):
            return failure("ConditionalRequestConflict", "s3")
        answer: Answer = await self._dispatch(*request)
        if self.faults.absent_is_forbidden and operation == "s3:GET" and answer[0] == 404:
            return 403, *failure("AccessDenied", "s3")[1:]
        return answer

    async def _on_control_plane(
        self, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Answer:
        """Throttle what came over HTTP, past authentication, then let it be carried out.

        CloudFormation's own calls share the budget on AWS; here they are made in process and are
        neither throttled nor counted.
        """
        exchange = _exchange.get()
        if exchange is not None and exchange.call is not None:
            try:
                self._admit(exchange.call, exchange.access_key_id, body)
            except Refused as refused:
                return refused.answer()
        answer: Answer = await self._handle_key_call(method, path, headers, body, query)
        return answer

    def _admit(self, call: Call, access_key_id: str, body: bytes) -> None:
        """Raise Refused for a call that comes too early, or without the right to tag."""
        wait = self.throttles.admit(call.account, call.operation)
        if wait is not None:
            raise Refused("TooManyRequestsException", TOO_MANY, wait)
        if call.operation == "CreateApiKey" and completions.has_tags(body):
            completions.check_right_to_tag(access_key_id)

    # -- what tests and the demo set ----------------------------------------------------------

    async def _on_setting(self, path: str, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        setting = self.settings.named(path.removeprefix("/_sandbox/"))
        status = 404
        result: dict[str, Any] | Iterator[dict[str, str]] = {}
        if setting is not None:
            try:
                with request_scope(ACCOUNT, REGION):
                    status, result = 200, setting(json.loads(body or b"{}"))
            except (ValueError, KeyError) as wrong:
                status, result = 400, {"error": str(wrong)}
        await send({"type": "http.response.start", "status": status, "headers": _JSON})
        for row in result if isinstance(result, Iterator) else ():
            line = json.dumps(row).encode() + b"\n"
            await send({"type": "http.response.body", "body": line, "more_body": True})
        rest = b"" if isinstance(result, Iterator) else json.dumps(result).encode()
        await send({"type": "http.response.body", "body": rest})


def _service_of(headers: Mapping[str, str]) -> str:
    """The service that a call was signed for, by the credential scope of SigV4."""
    scope = headers.get("authorization", "").partition("Credential=")[2].partition(",")[0]
    parts = scope.split("/")
    return parts[3] if len(parts) > 4 else ""


def _operation_elsewhere(method: str, headers: Mapping[str, str], body: bytes) -> str:
    """The operation of a call on a service other than API Gateway; S3 has only the method."""
    target = headers.get("x-amz-target", "")
    if target:
        return target.rpartition(".")[2]
    if body.startswith(b"Action="):
        return body[len(b"Action=") :].partition(b"&")[0].decode()
    return method


def _account_of(access_key_id: str) -> str:
    session = sts._sessions.get(access_key_id) or {}
    arn = str(session.get("Arn", ""))
    return arn.split(":")[4] if arn else access_key_id


def role_of(access_key_id: str) -> str:
    """The name of the caller's role; `administrator` for the account itself, else the key id."""
    session = sts._sessions.get(access_key_id)
    if session:
        arn = str(session.get("Arn", ""))
        return arn.split("/")[1] if "assumed-role/" in arn else arn.rpartition("/")[2]
    return "administrator" if access_key_id.isdigit() else access_key_id


def _error_code(answer: Answer) -> str:
    for name, value in answer[1].items():
        if name.lower() == "x-amzn-errortype":
            return value
    try:
        return str(json.loads(answer[2]).get("__type", answer[0]))
    except (ValueError, AttributeError):
        return str(answer[0])


async def serve(listener: socket.socket, speed: float | None, stop: asyncio.Event) -> None:
    """Serve on the bound socket until `stop` is set, then end every process of a function."""
    hypercorn_compat.install()
    # A million counters live long; looking through them again and again would stall requests.
    gc.set_threshold(50_000, 20, 100)
    logging.getLogger("hypercorn.access").disabled = True
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    config.accesslog = None
    config.loglevel = "WARNING"

    async def told_to_stop() -> None:
        await stop.wait()
        # MiniStack waits for a running function even if its caller is gone: end it first.
        await asyncio.to_thread(end_all_workers)

    server = Server(speed)
    try:
        await hypercorn_serve(server, config, shutdown_trigger=told_to_stop)
    finally:
        end_all_workers()
        server.layers.remove()
