"""The client for senders says what requests.md and events.md say, and no event is lost between them."""

import ast
import json
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any, get_args

import boto3
import fastjsonschema
import pytest
from botocore.stub import Stubber

import keyjanitor_client
from keyjanitor_client import (
    AnswerQueue,
    Delivered,
    Done,
    Issue,
    NotAnEvent,
    Notice,
    NotSent,
    Protect,
    Refused,
    Renew,
    Request,
    RequestQueue,
    Revoke,
    Rotate,
    open_key,
    read_event,
)
from tests.doc_tables import REQUEST, schemas

FILE = Path(keyjanitor_client.__file__)
EVENTS = (FILE.parents[1] / "docs" / "events.md").read_text("utf-8")
URL = "https://sqs.us-east-1.amazonaws.com/123456789012/queue"
VALUE = "aB3dE6gH9jK2mN5pQ8rS1tU4"
SESSION = boto3.Session("testing", "testing", region_name="us-east-1")
SCHEMA = json.loads(REQUEST.read_text("utf-8"))
ENVELOPE = {"source": "keyjanitor", "detail-type": "Key Issued"}
fits_the_schema = fastjsonschema.compile(SCHEMA)


def message(kind: str, detail: Mapping[str, Any]) -> str:
    return json.dumps(ENVELOPE | {"detail-type": kind, "detail": detail})


def samples() -> list[tuple[str, dict[str, Any]]]:
    """Every detail that docs/events.md shows, with its detail-type."""
    found = []
    for part in EVENTS.split("\n## ")[1:]:
        kind = part.splitlines()[0]
        if kind not in schemas():
            continue
        blocks = part.split("```json\n")[1:]
        found += [(kind, json.loads(block.split("```")[0])) for block in blocks]
    return found


# --- what is sent -----------------------------------------------------------------------------------


def test_every_request_has_the_fields_of_its_action_and_no_others() -> None:
    actions = {}
    for kind in get_args(Request):
        actions[kind.action] = {field.name for field in fields(kind)}
    definitions = SCHEMA["definitions"]
    assert actions == {
        action: set(definitions.get(action, definitions["other"])["properties"])
        - {"version", "action"}
        for action in SCHEMA["properties"]["action"]["enum"]
    }


@pytest.mark.parametrize("kind", get_args(Request), ids=lambda kind: kind.action)
def test_a_request_with_all_its_fields_fits_the_schema(kind: type[Any]) -> None:
    values: dict[str, Any] = {
        "request_id": "portal-1",
        "reason": "why",
        "tier": "external",
        "owner": "user-8f1c",
        "name": "鍵🔑",
        "deliver_to": "arn:aws:iam::123456789012:role/portal",
        "expires_on": date(2027, 1, 31),
        "key_id": "a1b2c3d4e5",
        "overlap_days": 0,
        "until": date(2027, 1, 31),
    }
    given = {field.name: values[field.name] for field in fields(kind)}
    body = json.loads(kind(**given).body())
    fits_the_schema(body)
    assert body.keys() == {"version", "action", *given}


def test_a_field_that_is_left_out_is_not_in_the_body() -> None:
    assert json.loads(Rotate(request_id="r1", key_id="k1").body()) == {
        "version": 1,
        "action": "rotate",
        "request_id": "r1",
        "key_id": "k1",
    }
    protect = Protect(request_id="r1", key_id="k1", until=date(2027, 1, 31))
    assert json.loads(protect.body())["until"] == "2027-01-31"


def test_one_request_is_one_message() -> None:
    sqs = SESSION.client("sqs")
    request = Renew(request_id="r1", key_id="k1")
    with Stubber(sqs) as stub:
        stub.add_response("send_message", {}, {"QueueUrl": URL, "MessageBody": request.body()})
        RequestQueue(sqs, URL).send(request)
        stub.assert_no_pending_responses()


def test_many_requests_are_sent_ten_at_a_time_and_those_not_taken_are_named() -> None:
    sqs = SESSION.client("sqs")
    asked = [Revoke(request_id=f"r{number}", key_id=f"k{number}") for number in range(11)]
    entries = [{"Id": str(n % 10), "MessageBody": one.body()} for n, one in enumerate(asked)]
    failed = {"Id": "3", "SenderFault": False, "Code": "InternalError"}
    with Stubber(sqs) as stub:
        for part, failures in ((entries[:10], [failed]), (entries[10:], [])):
            stub.add_response(
                "send_message_batch",
                {"Successful": [], "Failed": failures},
                {"QueueUrl": URL, "Entries": part},
            )
        with pytest.raises(NotSent, match="1 requests; send them again") as caught:
            RequestQueue(sqs, URL).send_all(asked)
        stub.assert_no_pending_responses()
    assert caught.value.requests == (asked[3],)


# --- what comes back --------------------------------------------------------------------------------


def test_every_event_of_the_page_is_read_with_all_that_its_kind_has() -> None:
    read = {kind: set[type]() for kind in schemas()}
    for kind, detail in samples():
        event = read_event(message(kind, detail))
        read[kind].add(type(event))
        assert is_dataclass(event)
        for field in fields(event):
            value = getattr(event, field.name)
            if field.name == "kind":
                assert value == kind
            elif field.name == "sealed_value":
                assert value
            elif field.name == "on":
                told = [detail.get(n) for n in ("disable_on", "park_on", "restorable_until")]
                assert ([one for one in told if one] or [None])[0] == (value and str(value))
            else:
                told_one = detail.get(field.name)
                assert (str(value) if isinstance(value, date) else value) == told_one
    answers = ("Renewed", "Revoked", "Protected", "Released", "Assigned")
    assert read == {
        **{f"Key {one}": {Delivered} for one in ("Issued", "Rotated")},
        **{f"Key {one}": {Done} for one in answers},
        "Key Restored": {Done, Notice},
        "Disabled Key Called": {Notice},
        "Key Request Refused": {Refused},
        **{f"Key {one}": {Notice} for one in ("Expiring", "Disabled", "Parked", "Purged")},
    }


@pytest.mark.parametrize("kind", sorted(schemas()))
def test_what_is_read_of_an_event_is_there_in_each_by_its_schema(kind: str) -> None:
    """With the fields alone that the schema asks for, an event is read too."""
    [detail, *_] = [one for name, one in samples() if name == kind]
    fewest = {name: detail[name] for name in schemas()[kind]["required"]}
    assert read_event(message(kind, fewest)).kind == kind
    assert read_event(message(kind, fewest | {"later": 1})).kind == kind


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "1",
        "null",
        message("Key Issued", {}),
        message("Key Purged", {"version": 2}),
        json.dumps({"source": "other", "detail-type": "Key Issued", "detail": {"version": 1}}),
        json.dumps({"version": 1, "key_id": "k1"}),
    ],
)
def test_a_message_that_is_no_event_of_keyjanitor_is_refused(text: str) -> None:
    with pytest.raises(NotAnEvent):
        read_event(text)


@pytest.mark.parametrize("kind", ["Key Issued", "Key Rotated"])
def test_a_delivery_is_opened_with_its_context_and_its_value_is_in_no_text_of_it(kind: str) -> None:
    kms = SESSION.client("kms")
    [detail, *_] = [one for name, one in samples() if name == kind]
    delivered = read_event(message(kind, detail))
    assert isinstance(delivered, Delivered)
    with Stubber(kms) as stub:
        stub.add_response(
            "decrypt",
            {"Plaintext": VALUE.encode()},
            {
                "CiphertextBlob": delivered.sealed_value,
                "EncryptionContext": detail["encryption_context"],
            },
        )
        assert open_key(kms, delivered) == VALUE
    assert VALUE not in repr(delivered)


def test_a_message_is_deleted_once_it_is_handled_and_comes_again_if_that_fails() -> None:
    sqs = SESSION.client("sqs")
    (one, first), (other, second), *_ = samples()
    bodies = [message(one, first), message(other, second), message(one, first)]
    handled: list[keyjanitor_client.Event] = []

    def handle(event: keyjanitor_client.Event) -> None:
        if len(handled) == 1:
            raise RuntimeError
        handled.append(event)

    with Stubber(sqs) as stub:
        stub.add_response(
            "receive_message",
            {
                "Messages": [
                    {"Body": body, "ReceiptHandle": str(n)} for n, body in enumerate(bodies)
                ]
            },
            {"QueueUrl": URL, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 20},
        )
        stub.add_response("delete_message", {}, {"QueueUrl": URL, "ReceiptHandle": "0"})
        with pytest.raises(RuntimeError):
            AnswerQueue(sqs, URL).take(handle)
        stub.add_response(
            "receive_message",
            {},
            {"QueueUrl": URL, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0},
        )
        assert AnswerQueue(sqs, URL).take(handle, wait_s=0) == 0
        stub.assert_no_pending_responses()
    assert handled == [read_event(bodies[0])]


# --- the file ---------------------------------------------------------------------------------------


def test_the_client_is_one_file_that_imports_the_standard_library_alone() -> None:
    """boto3's clients are handed in, so a copy of the file works wherever they are."""
    imported = set()
    for node in ast.walk(ast.parse(FILE.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {one.name.partition(".")[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert imported <= sys.stdlib_module_names


def test_issue_asks_for_what_the_schema_asks_for() -> None:
    needed = {
        field.name
        for field in fields(Issue)
        if field.default is not None  # what may be left out is None
    }
    assert needed == set(SCHEMA["definitions"]["issue"]["required"]) - {"version", "action"}
