"""The limits on how often API Gateway's control plane may be called.

The numbers are AWS's own (doc: AF-106), fixed: all calls of an account together
10 a second with a burst of 40, CreateApiKey and DeleteApiKey 5 a second, UpdateUsagePlan once in
20 seconds, CreateDeployment once in 5. The bursts of the single operations are not documented.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

TOO_MANY = (
    "Too Many Requests"  # the message of a refusal; a fault that a test asked for has another
)
ALL_CALLS = (10.0, 40.0)
OF_OPERATION: dict[str, tuple[float, float]] = {
    "CreateApiKey": (5.0, 5.0),
    "DeleteApiKey": (5.0, 5.0),
    "UpdateUsagePlan": (1 / 20, 1.0),
    "CreateDeployment": (1 / 5, 1.0),
}


@dataclass(slots=True)
class TokenBucket:
    """Holds up to `burst` tokens and gains `rate` of them a second."""

    rate: float
    burst: float
    tokens: float
    at: float

    def refill(self, now: float, speed: float) -> None:
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate * speed)
        self.at = now

    def wait(self, speed: float) -> float:
        """Seconds until a token is there; 0 if there is one."""
        return max(0.0, 1 - self.tokens) / (self.rate * speed)


class ControlPlaneThrottles:
    """One account's token buckets, at `speed` times AWS's rates; `speed` None turns them off.

    A faster speed makes time pass faster, so it multiplies rates and leaves bursts alone. A call
    that is refused takes no token.
    """

    def __init__(
        self, speed: float | None = 1.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.speed = speed
        self._monotonic = monotonic
        self._buckets: dict[tuple[str, str], TokenBucket] = {}

    def reset(self, speed: float | None) -> None:
        """Fill every bucket and go on at `speed`."""
        self.speed = speed
        self._buckets.clear()

    def _bucket(self, account: str, name: str, limits: tuple[float, float]) -> TokenBucket:
        rate, burst = limits
        return self._buckets.setdefault(
            (account, name), TokenBucket(rate, burst, burst, self._monotonic())
        )

    def admit(self, account: str, operation: str) -> float | None:
        """Take the tokens for one call. None if it may go on, else the seconds to wait."""
        if self.speed is None:
            return None
        buckets = [self._bucket(account, "", ALL_CALLS)]
        if limits := OF_OPERATION.get(operation):
            buckets.append(self._bucket(account, operation, limits))
        now = self._monotonic()
        for bucket in buckets:
            bucket.refill(now, self.speed)
        if wait := max(bucket.wait(self.speed) for bucket in buckets):
            return wait
        for bucket in buckets:
            bucket.tokens -= 1
        return None
