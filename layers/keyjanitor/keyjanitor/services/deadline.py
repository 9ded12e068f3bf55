"""The moment at which a run stops by itself."""

from collections.abc import Callable
from dataclasses import dataclass

from aws_lambda_powertools.utilities.typing import LambdaContext


@dataclass(frozen=True, slots=True)
class Deadline:
    """Stops a run in order before Lambda ends it.

    `remaining_ms` gives the milliseconds that Lambda leaves; `margin_ms` are kept for the end.
    """

    remaining_ms: Callable[[], int]
    margin_ms: int

    @classmethod
    def before_the_end_of(cls, context: LambdaContext) -> "Deadline":
        """A deadline that leaves a fifth of the run's time, at most half a minute, for its end."""
        left = context.get_remaining_time_in_millis()
        return cls(context.get_remaining_time_in_millis, min(30_000, left // 5))

    def passed(self) -> bool:
        """True if only the time to end in order is left."""
        return self.remaining_ms() <= self.margin_ms
