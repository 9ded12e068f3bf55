"""Requests, their senders and their recipients, for the tests that send them to the deployed stack."""

import base64
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sandbox.driver.client import ACCOUNT
from sandbox.driver.queues import sqs_event
from tests.e2e.conftest import World
from tests.events_schema import check_event

PORTAL = f"arn:aws:iam::{ACCOUNT}:role/portal"
ADMIN = "AROAADMINEXAMPLE:somebody"
ROLE = "keyjanitor-ProvisionKeysRole"

_roles: dict[tuple[str, str], dict[str, str]] = {}


def issue(request_id: str, **more: Any) -> dict[str, Any]:
    """A request for a key, for an owner of its own."""
    return {
        "version": 1,
        "action": "issue",
        "request_id": request_id,
        "tier": "issued",
        "owner": f"owner of {request_id}",
        "name": f"name of {request_id}",
        "deliver_to": PORTAL,
        **more,
    }


def act(action: str, request_id: str, key_id: str, **more: Any) -> dict[str, Any]:
    return {"version": 1, "action": action, "request_id": request_id, "key_id": key_id, **more}


def serve(world: World, bodies: Sequence[Any], **more: Any) -> list[str]:
    """Has one batch served, as SQS would hand it over; gives the ids of the messages left."""
    return serve_event(world, sqs_event(queue_arn(world), bodies, **more))


def serve_event(world: World, event: Mapping[str, Any]) -> list[str]:
    answer = world.stack.invoke("ProvisionKeysFunction", event)
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def queue_arn(world: World) -> str:
    return world.stack.outputs["RequestQueueArn"]


def answers(world: World) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """The answers to every request, by its id, as (detail-type, detail), each held to its schema."""
    told: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for event in world.sandbox.events():
        detail = json.loads(event["Detail"])
        check_event(event["DetailType"], detail)
        if "request_id" in detail:
            told.setdefault(detail["request_id"], []).append((event["DetailType"], detail))
    return told


def recipient(world: World, name: str = "portal") -> dict[str, str]:
    """The credentials of a role that may open what is delivered to it, made once a sandbox."""
    known = (world.sandbox.endpoint, name)
    if known not in _roles:
        statement = {
            "Effect": "Allow",
            "Action": "kms:Decrypt",
            "Resource": world.stack.outputs["SealingKeyArn"],
            "Condition": {
                "StringEquals": {
                    "kms:EncryptionContext:purpose": "delivery",
                    "kms:EncryptionContext:recipient": f"arn:aws:iam::{ACCOUNT}:role/{name}",
                }
            },
        }
        _roles[known] = world.sandbox.role(name, statement)
    return _roles[known]


def opened(world: World, details: Sequence[Mapping[str, Any]]) -> list[str]:
    """The values of new keys, opened by their recipient."""
    kms = world.sandbox.client("kms", **recipient(world))

    def open_key(detail: Mapping[str, Any]) -> str:
        answer = kms.decrypt(
            CiphertextBlob=base64.b64decode(detail["sealed_value"]),
            EncryptionContext=detail["encryption_context"],
        )
        return str(answer["Plaintext"].decode())

    with ThreadPoolExecutor(8) as openers:
        return list(openers.map(open_key, details))


def throttled(world: World) -> int:
    """How many of the stack's calls were answered with a throttle."""
    return sum(call.status == 429 for call in world.sandbox.calls("keyjanitor-"))
