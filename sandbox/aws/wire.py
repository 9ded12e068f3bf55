"""Requests and answers of API Gateway's control plane, as they are on the wire."""

import base64
import itertools
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

Answer = tuple[int, dict[str, str], bytes]
Query = Mapping[str, Any]

ITEMS_PER_PAGE = 25
MOST_ITEMS_PER_PAGE = 500

STATUS = {
    "AccessDeniedException": 403,
    "BadRequestException": 400,
    "ConditionalRequestConflict": 409,
    "ConflictException": 409,
    "InternalFailure": 500,
    "LimitExceededException": 429,
    "NotFoundException": 404,
    "ServiceUnavailableException": 503,
    "TooManyRequestsException": 429,
    "ThrottlingException": 400,
    "ThrottledException": 429,
}


class Refused(Exception):
    """A call that API Gateway answers with an error."""

    def __init__(self, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after

    def answer(self) -> Answer:
        """The error on the wire. botocore reads `retryAfterSeconds` from Retry-After."""
        headers = {"Content-Type": "application/json", "x-amzn-errortype": self.code}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, round(self.retry_after)))
        body = json.dumps({"message": self.message}).encode()
        return STATUS.get(self.code, 400), headers, body


def answer_with(status: int, content: Any) -> Answer:
    """A JSON answer with this status."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return status, {"Content-Type": "application/json"}, body


def listing(items: list[dict[str, Any]], position: str | None = None) -> Answer:
    """A page of a list; it has a position only if another page follows."""
    return answer_with(200, {"item": items} | ({"position": position} if position else {}))


def one(query: Query, name: str) -> str | None:
    """The first value of a query parameter, or None."""
    value = query.get(name)
    if isinstance(value, list):
        value = value[0] if value else None
    return None if value is None else str(value)


def is_true(query: Query, name: str) -> bool:
    """Whether a query parameter says `true`."""
    return (one(query, name) or "").lower() == "true"


def _position(key_id: str) -> str:
    return base64.urlsafe_b64encode(key_id.encode()).decode().rstrip("=")


def start_of(query: Query) -> str | None:
    """The id after which the page of `position` starts."""
    position = one(query, "position")
    if not position:
        return None
    try:
        return base64.urlsafe_b64decode(position + "=" * (-len(position) % 4)).decode()
    except ValueError:
        raise Refused("BadRequestException", "Invalid position specified") from None


def limit_of(query: Query) -> int:
    """Items a page: 25 by default, 500 at most (doc: AF-201). May be under 1."""
    text = one(query, "limit")
    if text is None:
        return ITEMS_PER_PAGE
    try:
        return min(int(text), MOST_ITEMS_PER_PAGE)
    except ValueError:
        raise Refused("BadRequestException", "Invalid limit specified") from None


def page_of(ids: Iterable[str], limit: int) -> tuple[list[str], str | None]:
    """The first `limit` ids, and the position after them if there are more."""
    page = list(itertools.islice(ids, limit + 1))
    if len(page) > limit:
        return page[:limit], _position(page[limit - 1])
    return page, None


def date_of(query: Query, name: str) -> date:
    """A query parameter that is a date, as YYYY-MM-DD."""
    text = one(query, name) or ""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise Refused("BadRequestException", f"Invalid {name} specified") from None


def patches(data: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """`(op, path, value)` of each patch operation of the body."""
    return [
        (str(op.get("op", "")), str(op.get("path", "")), str(op.get("value", "")))
        for op in data.get("patchOperations") or []
    ]


def json_object(body: bytes) -> dict[str, Any]:
    """The body's JSON object, empty for an empty body."""
    try:
        data = json.loads(body or b"{}")
    except ValueError:
        raise Refused("BadRequestException", "Could not parse request body into json") from None
    if not isinstance(data, dict):
        raise Refused("BadRequestException", "Could not parse request body into json")
    return data
