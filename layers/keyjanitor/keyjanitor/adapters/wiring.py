"""Makes each adapter from the settings that a function has: the one place that joins them to clients."""

from collections.abc import Mapping

from keyjanitor.adapters.alert_store import AlertBook
from keyjanitor.adapters.alert_topic import Topic
from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.clients import client, gateway_client
from keyjanitor.adapters.dead_letters import Letters
from keyjanitor.adapters.dynamodb import Table
from keyjanitor.adapters.event_bus import Bus
from keyjanitor.adapters.history_bucket import History
from keyjanitor.adapters.kms import Sealer
from keyjanitor.adapters.ledger import Ledger
from keyjanitor.adapters.ownership import Owners
from keyjanitor.adapters.rate_limiter import Pace
from keyjanitor.adapters.request_queue import RequestQueue
from keyjanitor.adapters.request_store import Register


def api_gateway(calls_per_second: float) -> ApiGateway:
    """API Gateway, asked at most so many times a second by this copy of the function."""
    return ApiGateway(gateway_client(), Pace(calls_per_second))


def ownership() -> Owners:
    """Who owns a key, by tags and CloudFormation."""
    return Owners(client("resourcegroupstaggingapi"), client("cloudformation"))


def ledger(table: str) -> Ledger:
    """The ledger, in its table."""
    return Ledger(Table(client("dynamodb"), table))


def request_store(table: str) -> Register:
    """What is written down of requests, in the ledger's table."""
    return Register(Table(client("dynamodb"), table))


def alert_store(table: str) -> AlertBook:
    """Which alerts were published, in the ledger's table."""
    return AlertBook(Table(client("dynamodb"), table))


def history(bucket: str) -> History:
    """The history bucket."""
    return History(client("s3"), bucket)


def sealer(key_arn: str) -> Sealer:
    """The KMS key that seals tombstones."""
    return Sealer(client("kms"), key_arn)


def event_bus(name: str) -> Bus:
    """The bus that events go to, by its name."""
    return Bus(client("events"), name)


def alert_topic(arn: str) -> Topic:
    """The topic that alerts go to."""
    return Topic(client("sns"), arn)


def dead_letters(queue_urls: Mapping[str, str]) -> Letters:
    """The dead-letter queues, their URLs by name."""
    return Letters(client("sqs"), queue_urls)


def request_queue(url: str, dead_letter_url: str) -> RequestQueue:
    """The queue of requests, and the one of those that are given up."""
    return RequestQueue(client("sqs"), url, dead_letter_url)
