"""When a run has to stop of itself."""

from collections.abc import Callable
from dataclasses import dataclass

from aws_lambda_powertools.utilities.typing import LambdaContext


@dataclass(frozen=True, slots=True)
class Deadline:
    """When a run has to stop of itself, so that it ends in order before Lambda ends it."""

    remaining_ms: Callable[[], int]
    margin_ms: int

    @classmethod
    def before_the_end_of(cls, context: LambdaContext) -> "Deadline":
        """A deadline that leaves a fifth of the run's time, at most half a minute, for its end."""
        left = context.get_remaining_time_in_millis()
        return cls(context.get_remaining_time_in_millis, min(30_000, left // 5))

    def passed(self) -> bool:
        """Whether there is only time left to end in order."""
        return self.remaining_ms() <= self.margin_ms
