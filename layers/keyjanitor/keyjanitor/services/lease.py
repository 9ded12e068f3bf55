"""Keeps a second run of a function away for as long as the first one can last.

Schedules fire twice (doc: AF-572), and `sam remote invoke` invokes again (measured: AF-571).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from aws_lambda_powertools.utilities.typing import LambdaContext

from keyjanitor.services.ports import Leases

MARGIN = 5  # seconds by which a lease outlives its run, for clocks that differ


@contextmanager
def lease(ledger: Leases, name: str, at: datetime, context: LambdaContext) -> Iterator[None]:
    """Holds the lease of this name for one run, which began at `at`; raises AlreadyRunning."""
    holder = context.aws_request_id
    seconds = context.get_remaining_time_in_millis() / 1000 + MARGIN
    ledger.take_lease(holder, at, seconds, name)
    try:
        yield
    finally:
        ledger.give_lease_back(holder, name)
