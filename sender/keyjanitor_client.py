"""Asks keyjanitor for API keys and reads what it answers, for programs in Python 3.11 or later.

One file that needs nothing but boto3: copy it, or `pip install` keyjanitor's repository and import it.
docs/requests.md and docs/events.md are the contract. `sender/ask.py` shows all of it at work.

    queue = RequestQueue(boto3.client("sqs"), request_queue_url)
    queue.send(Renew(request_id="portal-7f3c9a52-renew-1", key_id="a1b2c3d4e5"))

    answers = AnswerQueue(boto3.client("sqs"), answer_queue_url)
    answers.take(handle)     # calls handle(Delivered | Done | Refused | Notice) for each message

What fails raises boto3's own errors. After any error send the same request again: one `request_id` has
one effect.
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Any, ClassVar, Protocol

VERSION = 1
MESSAGES_PER_CALL = 10  # of SQS, for sending and for receiving

# --- requests --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What every request has. `request_id` is yours and is never used for another request."""

    action: ClassVar[str]
    request_id: str
    reason: str | None = None

    def body(self) -> str:
        """The message: one JSON object with the fields that are not None, dates as YYYY-MM-DD."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        told = {
            name: value.isoformat() if isinstance(value, date) else value
            for name, value in given.items()
            if value is not None
        }
        return json.dumps({"version": VERSION, "action": self.action, **told})


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue(_Request):
    """A new key of a tier. `deliver_to` is the ARN of the role or user that opens its value."""

    action: ClassVar[str] = "issue"
    tier: str
    owner: str
    name: str
    deliver_to: str
    expires_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotate(_Request):
    """A new key like an old one, which ends after `overlap_days` (0 to 90; 7 if left out)."""

    action: ClassVar[str] = "rotate"
    key_id: str
    overlap_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew(_Request):
    """The key is still needed: its idle clock starts again."""

    action: ClassVar[str] = "renew"
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke(_Request):
    """Delete the key at once and for good."""

    action: ClassVar[str] = "revoke"
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore(_Request):
    """Bring a parked key back: the same value, another id."""

    action: ClassVar[str] = "restore"
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Protect(_Request):
    """Keep the key from sweeps, rotate and revoke up to and with the UTC date `until`."""

    action: ClassVar[str] = "protect"
    key_id: str
    until: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(_Request):
    """End a protection that a request gave."""

    action: ClassVar[str] = "release"
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assign(_Request):
    """The key belongs to `owner` from now on; for `admins` of its tier. What is None stays as it is."""

    action: ClassVar[str] = "assign"
    key_id: str
    owner: str
    name: str | None = None
    deliver_to: str | None = None


Request = Issue | Rotate | Renew | Revoke | Restore | Protect | Release | Assign


class NotSent(Exception):
    """SQS refused some messages of a batch; send these requests again, as they are."""

    def __init__(self, requests: Sequence[Request]) -> None:
        super().__init__(f"SQS did not take {len(requests)} requests; send them again as they are")
        self.requests = tuple(requests)


class Sqs(Protocol):
    """What is called of boto3's client for SQS, which may be typed by boto3-stubs."""

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> Any: ...
    def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[Any]) -> Any: ...
    def receive_message(
        self, *, QueueUrl: str, MaxNumberOfMessages: int, WaitTimeSeconds: int
    ) -> Any: ...
    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> Any: ...


class Kms(Protocol):
    """What is called of boto3's client for KMS."""

    def decrypt(self, *, CiphertextBlob: bytes, EncryptionContext: Mapping[str, str]) -> Any: ...


class RequestQueue:
    """Sends requests to the queue that the stack's output `RequestQueueUrl` names."""

    def __init__(self, sqs: Sqs, url: str) -> None:
        self._sqs = sqs
        self._url = url

    def send(self, request: Request) -> None:
        """Puts one request on the queue; its answer comes later, as an event."""
        self._sqs.send_message(QueueUrl=self._url, MessageBody=request.body())

    def send_all(self, requests: Sequence[Request]) -> None:
        """Puts requests on the queue, ten in a call; raises NotSent after all calls were made."""
        refused: list[Request] = []
        for start in range(0, len(requests), MESSAGES_PER_CALL):
            part = requests[start : start + MESSAGES_PER_CALL]
            answer = self._sqs.send_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(number), "MessageBody": request.body()}
                    for number, request in enumerate(part)
                ],
            )
            refused += [part[int(failure["Id"])] for failure in answer.get("Failed", ())]
        if refused:
            raise NotSent(refused)


# --- what comes back -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delivered:
    """`Key Issued` or `Key Rotated`: a new key, whose value `open_key` opens for its recipient.

    Of a rotation `previous_key_id` goes on working until the UTC date `previous_key_ends_on`.
    """

    kind: str
    request_id: str
    requested_by: str
    key_id: str
    owner: str | None
    tier: str
    sealed_value: bytes
    encryption_context: Mapping[str, str]
    expires_on: date | None
    previous_key_id: str | None
    previous_key_ends_on: date | None


@dataclass(frozen=True, slots=True)
class Done:
    """Any other request that was carried out.

    After `Key Restored` the key is called `key_id`; `previous_key_id` is the id before it.
    """

    kind: str
    request_id: str
    requested_by: str
    key_id: str
    previous_key_id: str | None
    owner: str | None
    tier: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """`Key Request Refused`: nothing was done. `code` is for programs, `reason` for people.

    `request_id` is None where none could be read in the body.
    """

    kind: str
    request_id: str | None
    requested_by: str | None
    action: str | None
    code: str
    reason: str
    key_id: str | None


@dataclass(frozen=True, slots=True)
class Notice:
    """What keyjanitor did without a request: warned, disabled, parked, purged, or restored by an undo.

    Or what it saw: a disabled key that is called.

    `on` is the UTC date that the event names: of `Key Expiring` the day on which the key is disabled, of
    `Key Disabled` on which it is parked, of `Key Parked` the last on which it can be restored. After
    `Key Restored` store `key_id` in place of `previous_key_id`.
    """

    kind: str
    key_id: str
    previous_key_id: str | None
    owner: str | None
    tier: str
    reason: str | None
    on: date | None


Event = Delivered | Done | Refused | Notice


class NotAnEvent(ValueError):
    """A message that is no event of keyjanitor in version 1."""


def read_event(message: str) -> Event:
    """The event in a message of your queue, as EventBridge put it there; raises NotAnEvent.

    A field that this file does not know is passed over.
    """
    try:
        envelope = json.loads(message)
        source, kind, detail = (envelope[name] for name in ("source", "detail-type", "detail"))
        if source != "keyjanitor" or detail["version"] != VERSION:
            raise NotAnEvent(f"{kind} of {source}, not an event of keyjanitor in version {VERSION}")
        return _event(kind, detail)
    except (KeyError, TypeError, json.JSONDecodeError) as err:
        raise NotAnEvent(f"not an event of keyjanitor: {type(err).__name__} {err}") from err


def _event(kind: str, detail: Mapping[str, Any]) -> Event:
    if kind == "Key Request Refused":
        return Refused(kind, *(detail[field.name] for field in fields(Refused)[1:]))
    if "sealed_value" in detail:
        return Delivered(
            kind,
            detail["request_id"],
            detail["requested_by"],
            detail["key_id"],
            detail["owner"],
            detail["tier"],
            base64.b64decode(detail["sealed_value"]),
            detail["encryption_context"],
            _date(detail, "expires_on"),
            detail.get("previous_key_id"),
            _date(detail, "previous_key_ends_on"),
        )
    about = detail["key_id"], detail.get("previous_key_id"), detail["owner"], detail["tier"]
    reason = detail.get("reason")
    if "request_id" in detail:
        return Done(kind, detail["request_id"], detail["requested_by"], *about, reason)
    return Notice(kind, *about, reason, _date(detail, "disable_on", "park_on", "restorable_until"))


def _date(detail: Mapping[str, Any], *names: str) -> date | None:
    """The first of these fields that there is."""
    found = next((detail[name] for name in names if name in detail), None)
    return date.fromisoformat(found) if found else None


def open_key(kms: Kms, delivered: Delivered) -> str:
    """The key's value: a secret. Call it with the credentials of the role that `deliver_to` named.

    Never log it. docs/recipient.md has the right that the role needs, and what KMS says without it.
    """
    answer = kms.decrypt(
        CiphertextBlob=delivered.sealed_value,
        EncryptionContext=dict(delivered.encryption_context),
    )
    value: str = answer["Plaintext"].decode()
    return value


class AnswerQueue:
    """A queue of yours to which a rule on keyjanitor's bus sends events: `sender/answers.yaml`."""

    def __init__(self, sqs: Sqs, url: str) -> None:
        self._sqs = sqs
        self._url = url

    def take(self, handle: Callable[[Event], None], *, wait_s: int = 20) -> int:
        """Receives up to ten messages and hands each to `handle`; gives how many there were.

        It waits for the first up to `wait_s` seconds (20 at most). A message is deleted when `handle`
        returns. If `handle` or reading it raises, the error is raised, and SQS delivers the message again:
        give the queue a dead-letter queue. Events come at least once, so treat the second as done.
        """
        handled = 0
        for message in self._received(wait_s):
            handle(read_event(message["Body"]))
            self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
            handled += 1
        return handled

    def _received(self, wait_s: int) -> Iterator[Mapping[str, Any]]:
        answer = self._sqs.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=MESSAGES_PER_CALL, WaitTimeSeconds=wait_s
        )
        yield from answer.get("Messages", ())
