"""Reads the body of a message by the request contract, `request.schema.json`."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from importlib.resources import files
from typing import Any

import fastjsonschema

from keyjanitor.domain.model.key_values import SHORTEST, holds_a_value
from keyjanitor.domain.model.safe_text import HIDDEN
from keyjanitor.domain.requests.key_request import Action, KeyRequest
from keyjanitor.errors import InvalidRequest, NotARequest

LONGEST_NUMBER = 20  # digits
LONGEST = 2048  # characters of a field that is worth repeating
LONGEST_NAME = 100  # characters of a field's name
TEXTS = ("owner", "name", "reason", "tier")  # that people read
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_REQUEST_ID = re.compile(r"[!-~]{1,128}")
# For a text that is not JSON, so quotes and backslashes may not be escaped: none may be in the id.
_SPOILED_ID = re.compile(r'"request_id"\s{0,20}:\s{0,20}"([!#-\[\]-~]{1,128})"')
_SCHEMA = json.loads(
    (files("keyjanitor.domain.requests") / "request.schema.json").read_text("utf-8")
)


def _is_date(text: str) -> bool:
    try:
        return bool(_DATE.fullmatch(text)) and bool(date.fromisoformat(text))
    except ValueError:
        return False


_check = fastjsonschema.compile(_SCHEMA, formats={"date": _is_date}, use_default=False)


@dataclass(frozen=True, slots=True)
class Body:
    """A message's body: a JSON object with a string `request_id`.

    `row_id` names the sender's request in the ledger. `digest` is equal for equal objects, however
    they are formatted. `leak` names the field that holds a text like a key's value.
    """

    document: Mapping[str, Any]
    digest: str
    leak: str | None = None

    @property
    def request_id(self) -> str | None:
        """The id as its sender wrote it, with question marks for lone surrogates, which no event can hold.

        None if it looks like a key's value.
        """
        request_id = _whole(self.document["request_id"])
        return None if _is_a_value("request_id", request_id) else request_id

    @property
    def row_id(self) -> str:
        request_id = self.document["request_id"]
        if _REQUEST_ID.fullmatch(request_id) and not _is_a_value("request_id", request_id):
            return str(request_id)
        # No valid id begins with a space.
        return " " + sha256(request_id.encode(errors="surrogatepass")).hexdigest()

    def text(self, name: str) -> str | None:
        """A field of a request that may be invalid, if it is a text of a sensible length.

        None if it looks like a key's value: such a text is repeated nowhere.
        """
        value = self.document.get(name)
        if not isinstance(value, str) or len(value) > LONGEST or _is_a_value(name, value):
            return None
        return _whole(value)


def read(text: str) -> Body:
    """Fields of a message's body; raises NotARequest if it is no JSON object with a request_id."""
    if text.startswith(_BYTE_ORDER_MARK):
        reason = "it begins with a byte order mark; write the body as UTF-8 without one"
        raise NotARequest(reason, _meant_id(text))
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_int=_number)
    except (ValueError, RecursionError):
        raise NotARequest("it is no JSON", _meant_id(text)) from None
    if not isinstance(document, dict) or not isinstance(document.get("request_id"), str):
        raise NotARequest(_what_it_is(document))
    try:
        canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        raise NotARequest("it is too deep") from None
    return Body(document, sha256(canonical.encode()).hexdigest(), _leak(document))


def check(body: Body, sender: str, today: date) -> KeyRequest:
    """The request in the body, sent by `sender` on `today`; raises InvalidRequest."""
    if body.leak is not None:
        raise InvalidRequest(body.leak, LOOKS_LIKE_A_VALUE)
    document = dict(body.document)
    if twice := document.get(_TWICE):
        # It may be as long as the body, and hold a lone surrogate.
        raise InvalidRequest(_whole(str(twice))[:LONGEST_NAME], "is there twice")
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidRequest("(body)", "holds half a character, which is no text") from None
    try:
        _check(document)
    except fastjsonschema.JsonSchemaValueException as err:
        raise InvalidRequest(*_mistake(err)) from None
    for field in TEXTS:
        if hidden := HIDDEN.search(document.get(field, "")):
            code = f"U+{ord(hidden[0]):04X}"
            raise InvalidRequest(field, f"holds {code}, a character that does not show")
    days: dict[str, Any] = {
        name: date.fromisoformat(document[name])
        for name in ("expires_on", "until")
        if name in document
    }
    fields = {name: value for name, value in document.items() if name not in ("version", "action")}
    if "overlap_days" in fields:
        fields["overlap_days"] = int(fields["overlap_days"])  # 7.0 is a whole number too
    action = Action(document["action"])
    return KeyRequest(action=action, sender=sender, today=today, **{**fields, **days})


_TWICE = " twice"
_BYTE_ORDER_MARK = "\ufeff"


def _meant_id(text: str) -> str | None:
    """The request_id in a text that is almost JSON; None if there is none or several, or it is like a value."""
    found: set[str] = set(_SPOILED_ID.findall(text))
    request_id = found.pop() if len(found) == 1 else None
    if request_id is None or _is_a_value("request_id", request_id):
        return None
    return request_id


def _what_it_is(document: object) -> str:
    """Reason why a body is not a request; it tells the sender what to correct."""
    match document:
        case {"Type": "Notification", "TopicArn": _}:
            return "it is an SNS notification; switch on raw message delivery for the subscription"
        case {"Type": "SubscriptionConfirmation" | "UnsubscribeConfirmation", "TopicArn": _}:
            return "it is a message of SNS about a subscription, not about a key"
        case {"detail-type": _, "detail": _, "source": _}:
            return "it is an EventBridge event; set InputPath to $.detail in the rule's target"
        case {"requestPayload": _, "requestContext": _}:
            return "it is the record of a Lambda destination; send the request itself"
        case [*_]:
            return "it is a JSON list; send each request as a message of its own"
        case str():
            return "it is a JSON text; a request that was encoded twice looks like this"
        case _:
            return "it is no JSON object with a string request_id"


# --- values in the wrong place ---------------------------------------------------------------------

LOOKS_LIKE_A_VALUE = (
    "this looks like a key's value, not its id; no request needs a value, and it is repeated nowhere. "
    "The id is in the key's events and in API Gateway. If it is a name, part its words by spaces or dashes"
)
# Ids of owners and requests come from other systems, which use long ones.
_IDS_OF_OTHERS = frozenset({"owner", "request_id"})
_PRINCIPAL = re.compile(r"arn:[a-z-]+:iam::[0-9]{12}:(?:role|user)/[\w+=,.@/-]+")
_LOOKED_AT = (
    2 * LONGEST
)  # characters of a text: what is longer is refused, and cut where it is told


def _leak(document: Mapping[str, Any]) -> str | None:
    """The field of a body that holds what looks like a key's value; None if none does.

    Names of fields and nested texts count too, because a refusal may repeat them.
    """
    waiting: list[tuple[str, object]] = [("", document)]
    while waiting:
        field, value = waiting.pop()
        if isinstance(value, str) and _is_a_value(field, value):
            return field if field in _FIELDS else "(body)"
        if isinstance(value, Mapping):
            waiting += [("", name) for name in value]
            waiting += [(field or str(name), one) for name, one in value.items()]
        if isinstance(value, list):
            waiting += [(field, one) for one in value]
    return None


def _is_a_value(field: str, text: str) -> bool:
    if field == "key_id":
        return len(text) >= SHORTEST  # longer than any id (seen: AF-213)
    if field == "deliver_to" and _PRINCIPAL.fullmatch(text):
        return False
    return holds_a_value(text[:_LOOKED_AT], of_an_id=field in _IDS_OF_OTHERS)


def _field_names(schema: object) -> set[str]:
    if not isinstance(schema, Mapping):
        return set()
    names = set(schema.get("properties", ()))
    return names.union(*(_field_names(one) for one in schema.get("definitions", {}).values()))


_FIELDS = frozenset(_field_names(_SCHEMA))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a name that occurs twice is noted under `_TWICE`, because the request is ambiguous."""
    document: dict[str, Any] = dict(pairs)
    if len(document) < len(pairs):
        names = Counter(name for name, _ in pairs)  # there may be 100,000 of them
        document[_TWICE] = next(name for name, times in names.items() if times > 1)
    return document


def _mistake(err: fastjsonschema.JsonSchemaValueException) -> tuple[str, str]:
    """(field, reason) of what the schema refuses, in plain words in place of the validator's."""
    field = ".".join(str(part) for part in err.path[1:])
    if err.rule == "required":
        return next(name for name in err.rule_definition if name not in err.value), "is missing"
    if err.rule == "additionalProperties":
        reason = re.sub(
            r"^.*must not contain \{(.*)\} properties$", r"unknown field: \1", err.message
        )
        return field or "(body)", reason[:300]
    reason = err.message.removeprefix("data").removeprefix(f".{field}").strip()
    match err.rule:
        case "const":
            reason = f"must be {err.rule_definition}"
        case "maximum":
            reason = f"must be at most {err.rule_definition}"
        case "minimum":
            reason = f"must be at least {err.rule_definition}"
        case "format":
            reason = "must be a date, YYYY-MM-DD"
        case _:
            pass
    return field or "(body)", reason[:300]


def _number(digits: str) -> int | float:
    """A number; Python refuses to read very long integers, so those are read as floats."""
    return int(digits) if len(digits) <= LONGEST_NUMBER else float(digits)


def _whole(text: str) -> str:
    return text.encode(errors="replace").decode()
