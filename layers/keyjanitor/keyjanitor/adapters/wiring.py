"""Makes each adapter from the settings that a function has: the one place that joins them to clients."""

from collections.abc import Mapping

from keyjanitor.adapters.access_logs import AccessLogs
from keyjanitor.adapters.alert_store import AlertStore
from keyjanitor.adapters.alert_topic import AlertTopic, Stack
from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.at_work import AtWork
from keyjanitor.adapters.audit_log import AuditLog
from keyjanitor.adapters.clients import client, gateway_client, table_client
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
from keyjanitor.adapters.settings import SweepSettings, WatchSettings
from keyjanitor.adapters.system_clock import now


def api_gateway(calls_per_second: float) -> ApiGateway:
    """API Gateway, asked at most so many times a second by this copy of the function."""
    return ApiGateway(gateway_client(), RateLimiter(calls_per_second))


def gateway_of_the_night(calls_per_second: float, leases: Ledger) -> ApiGateway:
    """API Gateway, asked at most so many times a second by all functions of the night that are at work."""
    return ApiGateway(gateway_client(), RateLimiter(calls_per_second, among=AtWork(leases, now)))


def ownership() -> Ownership:
    """The owners of keys, by tags and CloudFormation."""
    return Ownership(client("resourcegroupstaggingapi"), client("cloudformation"))


def access_logs() -> AccessLogs:
    """The log groups of access logs."""
    return AccessLogs(client("logs"), client("cloudwatch"))


def ledger(table: str) -> Ledger:
    """The ledger, in its table."""
    return Ledger(Table(table_client(), table))


def request_store(table: str) -> RequestStore:
    """The rows of requests, in the ledger's table."""
    return RequestStore(Table(table_client(), table))


def alert_store(table: str) -> AlertStore:
    """Which alerts were published, in the ledger's table."""
    return AlertStore(Table(table_client(), table))


def history(bucket: str) -> HistoryBucket:
    """The history bucket."""
    return HistoryBucket(client("s3"), bucket)


def audit_log(group: str) -> AuditLog:
    """The audit log, by the name of its log group."""
    return AuditLog(client("logs"), group)


def sealer(key_arn: str) -> ValueSealer:
    """The KMS key that seals tombstones."""
    return ValueSealer(client("kms"), key_arn)


def event_bus(name: str) -> EventBus:
    """The bus that events go to, by its name."""
    return EventBus(client("events"), name)


def alert_topic(settings: SweepSettings | WatchSettings) -> AlertTopic:
    """The topic that alerts go to, which names the deployed stack in each."""
    stack = Stack(
        settings.stack_name,
        settings.history_bucket,
        settings.runbook_url,
        settings.https_form,
    )
    return AlertTopic(client("sns"), settings.alert_topic_arn, stack)


def dead_letters(queue_urls: Mapping[str, str]) -> DeadLetterQueues:
    """The dead-letter queues, their URLs by name."""
    return DeadLetterQueues(client("sqs"), queue_urls)


def request_queue(url: str, dead_letter_url: str) -> RequestQueue:
    """The queue of requests, and the one of those that are given up."""
    return RequestQueue(client("sqs"), url, dead_letter_url)
