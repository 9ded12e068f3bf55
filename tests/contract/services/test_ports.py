"""The services' ports: the adapters and their twins in memory fit them, and no port has more than is called.

mypy checks the types below, where adapters and twins are given as ports; so it does in the services.
"""

import ast
from dataclasses import fields
from inspect import Parameter, getmembers, isfunction, signature
from pathlib import Path
from typing import Any

import pytest

from keyjanitor.adapters.access_logs import AccessLogs
from keyjanitor.adapters.alert_store import AlertStore
from keyjanitor.adapters.alert_topic import AlertTopic, Stack
from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.audit_log import AuditLog
from keyjanitor.adapters.dead_letters import DeadLetterQueues
from keyjanitor.adapters.dynamodb import Table
from keyjanitor.adapters.event_bus import EventBus
from keyjanitor.adapters.history_bucket import HistoryBucket
from keyjanitor.adapters.kms import ValueSealer
from keyjanitor.adapters.ledger import Ledger
from keyjanitor.adapters.ownership import Ownership
from keyjanitor.adapters.rate_limiter import RateLimiter
from keyjanitor.adapters.request_queue import RequestQueue
from keyjanitor.adapters.request_store import RequestStore
from keyjanitor.domain.model.records import NightFields, NightRow
from keyjanitor.services import ports
from sandbox.memory.adapters.access_logs import FakeAccessLogs
from sandbox.memory.adapters.api_gateway import FakeApiGateway
from sandbox.memory.adapters.ownership import FakeOwnership
from sandbox.memory.adapters.queues import FakeDeadLetterQueues, FakeQueue
from sandbox.memory.simulation import gateway, history, request_store, told
from sandbox.memory.simulation.ledger import Memory
from tests.builders import TODAY, at

SERVICES = Path(ports.__file__).parent
TABLE = Table(None, "ledger")
REAL, FAKE, LIVED = (
    ApiGateway(None, RateLimiter(1)),
    FakeApiGateway(at(TODAY)),
    gateway.Gateway(TODAY),
)
BUCKET = HistoryBucket(None, "history")
LEDGERS = (Ledger(TABLE), Memory())

night_gateways: tuple[ports.NightGateway, ...] = (REAL, FAKE)
usage_gateways: tuple[ports.UsageGateway, ...] = (REAL, FAKE)
sweep_gateways: tuple[ports.SweepGateway, ...] = (REAL, FAKE, LIVED)
provision_gateways: tuple[ports.ProvisionGateway, ...] = (REAL, FAKE, LIVED)
watch_gateways: tuple[ports.WatchGateway, ...] = (REAL, FAKE, LIVED)
report_gateways: tuple[ports.ReportGateway, ...] = (REAL, FAKE)
owners: tuple[ports.Ownership, ...] = (
    Ownership(None, None),
    FakeOwnership(FAKE),
)
sweep_ledgers: tuple[ports.SweepLedger, ...] = LEDGERS
provision_ledgers: tuple[ports.ProvisionLedger, ...] = LEDGERS
watch_ledgers: tuple[ports.WatchLedger, ...] = LEDGERS
report_ledgers: tuple[ports.ReportLedger, ...] = LEDGERS
request_stores: tuple[ports.RequestStore, ...] = (
    RequestStore(TABLE),
    request_store.RequestStore(Memory()),
)
alert_stores: tuple[ports.AlertStore, ...] = (AlertStore(TABLE),)
access_logs: tuple[ports.AccessLogs, ...] = (AccessLogs(None, None), FakeAccessLogs())
usage_histories: tuple[ports.UsageHistory, ...] = (BUCKET,)
sweep_histories: tuple[ports.SweepHistory, ...] = (BUCKET, history.Files())
watch_histories: tuple[ports.WatchHistory, ...] = (BUCKET, history.Files())
report_histories: tuple[ports.ReportHistory, ...] = (BUCKET,)
audit_logs: tuple[ports.AuditEvents, ...] = (AuditLog(None, "audit"),)
sealers: tuple[ports.SweepSealer, ...] = (ValueSealer(None, "key"), history.ValueSealer())
buses: tuple[ports.EventSink, ...] = (EventBus(None, "bus"), told.Told())
queues: tuple[ports.RequestQueue, ...] = (RequestQueue(None, "queue", "dead"), FakeQueue())
dead_letters: tuple[ports.DeadLetterQueues, ...] = (
    DeadLetterQueues(None, {}),
    FakeDeadLetterQueues(),
)
TOPICS = AlertTopic(None, "arn", Stack("keyjanitor", "history")), told.Told()
sweep_topics: tuple[ports.SweepTopic, ...] = TOPICS
watch_topics: tuple[ports.WatchTopic, ...] = TOPICS

FITTING: dict[type, tuple[Any, ...]] = {
    ports.NightGateway: night_gateways,
    ports.UsageGateway: usage_gateways,
    ports.SweepGateway: sweep_gateways,
    ports.ProvisionGateway: provision_gateways,
    ports.WatchGateway: watch_gateways,
    ports.ReportGateway: report_gateways,
    ports.Ownership: owners,
    ports.SweepLedger: sweep_ledgers,
    ports.ProvisionLedger: provision_ledgers,
    ports.WatchLedger: watch_ledgers,
    ports.ReportLedger: report_ledgers,
    ports.RequestStore: request_stores,
    ports.AlertStore: alert_stores,
    ports.AccessLogs: access_logs,
    ports.UsageHistory: usage_histories,
    ports.SweepHistory: sweep_histories,
    ports.WatchHistory: watch_histories,
    ports.ReportHistory: report_histories,
    ports.AuditEvents: audit_logs,
    ports.SweepSealer: sealers,
    ports.EventSink: buses,
    ports.RequestQueue: queues,
    ports.DeadLetterQueues: dead_letters,
    ports.SweepTopic: sweep_topics,
    ports.WatchTopic: watch_topics,
}


def methods(port: type) -> dict[str, Any]:
    """The methods of a port, its parts' too."""
    return {name: one for name, one in getmembers(port, isfunction) if not name.startswith("_")}


def parameters(method: Any) -> list[Parameter]:
    return [one for one in signature(method).parameters.values() if one.name != "self"]


@pytest.mark.parametrize("port", FITTING, ids=lambda port: port.__name__)
def test_a_port_can_be_called_alike_on_the_adapter_and_on_its_twins(port: type) -> None:
    for name, method in methods(port).items():
        for fitting in FITTING[port]:
            has = {one.name: one for one in parameters(getattr(fitting, name))}
            for place, asked in enumerate(parameters(method)):
                if asked.kind is Parameter.POSITIONAL_ONLY:
                    there = list(has.values())[place]
                elif asked.kind is Parameter.VAR_KEYWORD:
                    there = next(one for one in has.values() if one.kind is asked.kind)
                else:
                    there = has[asked.name]
                if asked.default is not Parameter.empty:
                    assert there.default == asked.default, (name, fitting)


def test_every_port_that_the_services_are_handed_is_held_to_an_adapter() -> None:
    parts = {part for port in FITTING for part in port.__mro__}
    defined = {
        one
        for _, one in getmembers(ports)
        if getattr(one, "_is_protocol", False) and one.__module__ == ports.__name__
    }
    # These are put together of the others: their members are ports.
    assert defined - parts == {ports.RestorePorts}


def test_a_port_has_no_method_that_no_service_calls() -> None:
    called = {
        node.attr
        for file in SERVICES.rglob("*.py")
        if file.name != "ports.py"
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
    }
    # The adapter of the tombstones calls the sealer that the services hand to it.
    assert {name for port in FITTING for name in methods(port)} - called == {"open"}


def test_what_may_be_remembered_of_a_night_are_the_fields_of_its_row() -> None:
    assert NightFields.__annotations__.keys() == {one.name for one in fields(NightRow)} - {"date"}
