"""Calls API Gateway's control plane: one call after another, within the run's share, page by page."""

from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    ParamValidationError,
    ReadTimeoutError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError

from keyjanitor.adapters.clients import code_of, refusal
from keyjanitor.adapters.rate_limiter import RateLimiter
from keyjanitor.domain.model.aws_answers import items_of
from keyjanitor.domain.model.key_ids import KeyIds
from keyjanitor.errors import CallFailed, KeyjanitorError, UnexpectedAnswer, UnreadableAnswer

PAGE = 500  # the most that AWS gives at once (doc: AF-201)
MAX_CALL_ATTEMPTS = 10
LONGEST_PAUSE = 60.0  # seconds: who is told to wait for longer asks again, within its run
SERVER_ERROR = 500  # and above: AWS's own fault, which passes

# What each call needs, for the error that says so: HTTP verbs on paths (doc: AF-405).
_ACTIONS = {
    "GetApiKeys": "apigateway:GET on /apikeys",
    "GetApiKey": "apigateway:GET on /apikeys/*",
    "CreateApiKey": "apigateway:POST on /apikeys",
    "UpdateApiKey": "apigateway:PATCH on /apikeys/*",
    "DeleteApiKey": "apigateway:DELETE on /apikeys/*",
    "GetUsagePlans": "apigateway:GET on /usageplans",
    "GetUsagePlanKeys": "apigateway:GET on /usageplans/*/keys",
    "GetUsagePlanKey": "apigateway:GET on /usageplans/*/keys/*",
    "CreateUsagePlanKey": "apigateway:POST on /usageplans/*/keys",
    "GetUsage": "apigateway:GET on /usageplans/*/usage",
    "ImportApiKeys": "apigateway:POST on /apikeys",
    "CreateUsagePlan": "apigateway:POST on /usageplans",
    "GetRestApis": "apigateway:GET on /restapis",
    "GetStages": "apigateway:GET on /restapis/*/stages",
    "GetDeployment": "apigateway:GET on /restapis/*/deployments/*",
}


class GatewayCalls:
    """The calls of one run; `client` is boto3's, whose methods `call`, `items` and `pages` are given."""

    def __init__(self, client: Any, pace: RateLimiter) -> None:
        self.client = client
        self._pace = pace
        self._ids = KeyIds()

    def items(
        self, operation: str, call: Callable[..., Any], **params: Any
    ) -> Iterator[Mapping[str, Any]]:
        """All that is listed, of every page; raises UnexpectedAnswer if a page holds no list."""
        for page in self.pages(operation, call, **params):
            yield from items_of(page, "items", operation)

    def pages(
        self, operation: str, call: Callable[..., Any], **params: Any
    ) -> Iterator[Mapping[str, Any]]:
        """Every page; raises UnexpectedAnswer if AWS leads in a circle."""
        seen: set[str] = set()
        while True:
            page = self.call(operation, call, limit=PAGE, **params)
            yield page
            position = page.get("position")
            if not position:
                return
            if position in seen:
                raise UnexpectedAnswer(operation, "the same page was announced twice")
            seen.add(position)
            params["position"] = position

    def call(
        self,
        operation: str,
        call: Callable[..., Any],
        *,
        idempotent: bool = True,
        may_still_run: bool = False,
        **params: Any,
    ) -> Any:
        """One call, paced; repeated while AWS says that it is only for now.

        What is not `idempotent` is repeated only if AWS says that it was not carried out. What
        `may_still_run` is not repeated beside itself, when no answer came in time. Raises
        AccessDenied, CallFailed and UnreadableAnswer, none with the parameters in it: they may be
        values, which botocore's own errors print (measured: AF-124). No id that may be a value
        leaves this method, and none but the real ones is sent.
        """
        params = self._sent(params)
        for attempt in range(1, MAX_CALL_ATTEMPTS + 1):
            self._pace.wait()
            try:
                answer = call(**params)
            except ParamValidationError:
                failed: KeyjanitorError = CallFailed(operation, "ParamValidationError")
                break
            except ClientError as err:
                self._pace.answered()
                failed = refusal(err, operation, _ACTIONS[operation])
                sure = idempotent or _status(err) < SERVER_ERROR
                transient = self._is_transient(err)
                if transient and code_of(err) == "ConflictException":
                    # Another conflict than one that stays however often it is tried (seen: AF-108).
                    failed = CallFailed(operation, "ConcurrentModification")
                if attempt == MAX_CALL_ATTEMPTS or not transient or not sure:
                    break
            except (BotoConnectionError, HTTPClientError, UnreadableAnswer) as err:
                self._pace.answered()
                failed = _without_answer(err, operation)
                at_work = may_still_run and isinstance(err, ReadTimeoutError)
                if attempt == MAX_CALL_ATTEMPTS or not idempotent or at_work:
                    break
            except BotoCoreError as err:
                failed = refusal(err, operation, _ACTIONS[operation])
                break
            else:
                self._pace.on_success()
                return self._ids.covered(operation, answer)
        # Raised out here, the error does not even carry botocore's as its context.
        raise failed

    def _sent(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters as API Gateway takes them.

        A key of which only the digest is known is looked for in the list; missing twice, it is no more.
        """
        for _ in range(2):
            if self._ids.unknown(params):
                # `call` remembers the ids of each page.
                list(self.items("GetApiKeys", self.client.get_api_keys, includeValues=False))
        return self._ids.real(params)

    def _is_transient(self, err: ClientError) -> bool:
        """True if the call may be tried again. Both 429s share their status: only the code tells them apart (doc: AF-121)."""
        code = code_of(err)
        if code in ("TooManyRequestsException", "ThrottlingException"):
            self._pace.on_throttle(_retry_after(err))
            return True
        if code == "ConflictException":
            return "concurrent modification" in str(err.response["Error"].get("Message", ""))
        return _status(err) >= SERVER_ERROR


def _without_answer(
    err: BotoConnectionError | HTTPClientError | UnreadableAnswer, operation: str
) -> KeyjanitorError:
    """The error of a call that got no answer, or none that can be read."""
    if isinstance(err, UnreadableAnswer):
        return err
    return refusal(err, operation, _ACTIONS[operation])


def _status(err: ClientError) -> int:
    return int(err.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _retry_after(err: ClientError) -> float | None:
    """Seconds to wait, if AWS says so; it says it as a string (doc: AF-122)."""
    told = err.response.get("retryAfterSeconds")
    if told is None:
        headers = err.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        told = headers.get("retry-after")
    try:
        seconds = float(str(told))
    except ValueError:
        return None
    return min(seconds, LONGEST_PAUSE) if isfinite(seconds) else None
