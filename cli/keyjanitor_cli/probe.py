"""Makes the calls of a preflight with the person's rights: paced, counted, never more than sixty."""

import time
from collections.abc import Callable
from typing import Any

from keyjanitor.adapters.rate_limiter import RateLimiter
from keyjanitor_cli.aws import Account, answer_to
from keyjanitor_cli.preflight.answers import (
    CALLS_PER_SECOND,
    MOST_CALLS,
    NOT_ASKED,
    Answer,
    Call,
)

THROTTLES = frozenset(
    {"TooManyRequestsException", "ThrottlingException", "Throttling", "ThrottledException"}
)
TRIES = 3  # of one call that is throttled; each counts


class Probe:
    """Asks an account. `made` counts what was sent, also what was throttled."""

    def __init__(
        self,
        account: Account,
        *,
        most: int = MOST_CALLS,
        limiter: RateLimiter | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._account = account
        self._most = most
        self._limiter = limiter or RateLimiter(CALLS_PER_SECOND)
        self._say = say
        self._clients: dict[str, Any] = {}
        self.made = 0

    def __call__(self, call: Call, **params: Any) -> Answer:
        """One call, repeated while AWS throttles it; not made once the budget is spent.

        Raises CommandFailed if there are no credentials, or if they have expired.
        """
        answer = Answer(call, code=f"{NOT_ASKED}: the {self._most} calls are spent")
        for _ in range(TRIES):
            if self.made >= self._most:
                return answer
            answer = self._once(call, params)
            if answer.code not in THROTTLES:
                self._limiter.on_success()
                return answer
            self._limiter.answered()
            self._limiter.on_throttle(None)
        return answer

    def _once(self, call: Call, params: dict[str, Any]) -> Answer:
        client = self._client(call.client)
        self._limiter.wait()
        self.made += 1
        self._say(f"call {self.made} of at most {self._most}: {call.method}")
        began = time.monotonic()
        body, code, denied = answer_to(lambda: getattr(client, call.method)(**params))
        return Answer(call, body, code, denied, time.monotonic() - began)

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._account.client(service, tries=1)
        return self._clients[service]
