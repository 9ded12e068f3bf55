"""What roles may open, and do on queues: the sandbox decides as IAM and KMS do."""

import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.client import ACCOUNT, Sandbox

pytestmark = pytest.mark.enable_socket

ACCOUNT_ROOT = f"arn:aws:iam::{ACCOUNT}:root"


def name_of(what: str) -> str:
    return f"{what}-{uuid.uuid4().hex[:8]}"


def refusal(call: Any, **kw: Any) -> str | None:
    """The code with which a call is refused, None if it is not."""
    try:
        call(**kw)
    except ClientError as err:
        return str(err.response["Error"]["Code"]).removesuffix("Exception")
    return None


def allow(action: str | list[str], resource: str, **equals: str | list[str]) -> dict[str, Any]:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": action, "Resource": resource}
    keys = {f"kms:EncryptionContext:{name}": value for name, value in equals.items()}
    return statement | ({"Condition": {"StringEquals": keys}} if keys else {})


# -- deliveries -----------------------------------------------------------------------------------


@pytest.fixture
def key_arn(sandbox: Sandbox) -> str:
    """A key that the account's roles use for tombstones and deliveries, as `SealingKey` is."""
    used = allow(["kms:Encrypt", "kms:Decrypt"], "*", purpose=["tombstone", "delivery"])
    administered = allow(["kms:Describe*", "kms:Put*"], "*")
    statements = [s | {"Principal": {"AWS": ACCOUNT_ROOT}} for s in (administered, used)]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    return str(sandbox.client("kms").create_key(Policy=policy)["KeyMetadata"]["Arn"])


class Role:
    """A role, and KMS under it."""

    def __init__(self, sandbox: Sandbox, *statements: dict[str, Any], name: str = "") -> None:
        name = name or name_of("role")
        self.arn = f"arn:aws:iam::{ACCOUNT}:role/{name}"
        self.kms = sandbox.client("kms", **sandbox.role(name, *statements))


def recipient(sandbox: Sandbox, key_arn: str) -> Role:
    """A role that may open what was sealed for it, and nothing else."""
    name = name_of("portal")
    own = f"arn:aws:iam::{ACCOUNT}:role/{name}"
    return Role(
        sandbox, allow("kms:Decrypt", key_arn, purpose="delivery", recipient=own), name=name
    )


def delivery(role: Role, request_id: str = "r1") -> dict[str, str]:
    return {"purpose": "delivery", "recipient": role.arn, "request_id": request_id}


def test_a_delivery_is_opened_by_its_recipient_and_by_no_other_role(
    sandbox: Sandbox, key_arn: str
) -> None:
    sealer = Role(sandbox, allow("kms:Encrypt", key_arn, purpose="delivery"))
    portal, other = recipient(sandbox, key_arn), recipient(sandbox, key_arn)
    context = delivery(portal)
    sealed = sealer.kms.encrypt(KeyId=key_arn, Plaintext=b"v", EncryptionContext=context)
    blob = sealed["CiphertextBlob"]
    opened = portal.kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)
    assert opened["Plaintext"] == b"v"
    for asked, expected in (
        (context, "AccessDenied"),
        (delivery(other), "InvalidCiphertext"),
        ({}, "AccessDenied"),
    ):
        given: dict[str, Any] = {"CiphertextBlob": blob, "EncryptionContext": asked}
        assert refusal(other.kms.decrypt, **given) == expected
        assert refusal(other.kms.decrypt, KeyId=key_arn, **given) == expected


def test_a_delivery_opens_only_with_the_whole_context_it_was_sealed_with(
    sandbox: Sandbox, key_arn: str
) -> None:
    sealer = Role(sandbox, allow("kms:Encrypt", key_arn, purpose="delivery"))
    portal = recipient(sandbox, key_arn)
    context = delivery(portal)
    sealed = sealer.kms.encrypt(KeyId=key_arn, Plaintext=b"v", EncryptionContext=context)
    for asked in (
        delivery(portal, "r2"),
        {"purpose": "delivery", "recipient": portal.arn},
        context | {"more": "x"},
    ):
        given = {"CiphertextBlob": sealed["CiphertextBlob"], "EncryptionContext": asked}
        assert refusal(portal.kms.decrypt, **given) == "InvalidCiphertext"


def test_a_recipient_opens_no_tombstone_and_seals_nothing(sandbox: Sandbox, key_arn: str) -> None:
    sealer = Role(sandbox, allow("kms:Encrypt", key_arn, purpose="tombstone"))
    portal = recipient(sandbox, key_arn)
    context = {"purpose": "tombstone", "recipient": portal.arn}
    sealed = sealer.kms.encrypt(KeyId=key_arn, Plaintext=b"v", EncryptionContext=context)
    given = {"CiphertextBlob": sealed["CiphertextBlob"], "EncryptionContext": context}
    assert refusal(portal.kms.decrypt, **given) == "AccessDenied"
    call: dict[str, Any] = {"KeyId": key_arn, "Plaintext": b"v"}
    mine = call | {"EncryptionContext": delivery(portal)}
    assert refusal(portal.kms.encrypt, **mine) == "AccessDenied"
    assert refusal(sealer.kms.encrypt, **mine) == "AccessDenied"


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({"purpose": "tombstone"}, None),
        ({"purpose": "delivery", "recipient": "somebody"}, None),
        ({"purpose": "other"}, "AccessDenied"),
        ({"recipient": "somebody"}, "AccessDenied"),
        ({}, "AccessDenied"),
    ],
)
def test_the_key_policy_lists_what_may_be_sealed_whatever_a_role_may(
    sandbox: Sandbox, key_arn: str, context: dict[str, str], expected: str | None
) -> None:
    mighty = Role(sandbox, allow("kms:*", "*"))
    call = {"KeyId": key_arn, "Plaintext": b"v", "EncryptionContext": context}
    assert refusal(mighty.kms.encrypt, **call) == expected


def test_the_key_policy_alone_opens_nothing_to_a_role(sandbox: Sandbox, key_arn: str) -> None:
    bystander = Role(sandbox)
    call = {"KeyId": key_arn, "Plaintext": b"v", "EncryptionContext": {"purpose": "tombstone"}}
    assert refusal(bystander.kms.encrypt, **call) == "AccessDenied"


# -- queues ---------------------------------------------------------------------------------------


CALLS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "SendMessage": (
        ("send_message", {"MessageBody": "b"}),
        ("send_message_batch", {"Entries": [{"Id": "1", "MessageBody": "b"}]}),
    ),
    "ReceiveMessage": (("receive_message", {}),),
    "DeleteMessage": (
        ("delete_message", {"ReceiptHandle": "gone"}),
        ("delete_message_batch", {"Entries": [{"Id": "1", "ReceiptHandle": "gone"}]}),
    ),
    "ChangeMessageVisibility": (
        ("change_message_visibility", {"ReceiptHandle": "gone", "VisibilityTimeout": 1}),
        (
            "change_message_visibility_batch",
            {"Entries": [{"Id": "1", "ReceiptHandle": "gone", "VisibilityTimeout": 1}]},
        ),
    ),
    "GetQueueAttributes": (("get_queue_attributes", {"AttributeNames": ["All"]}),),
    "PurgeQueue": (("purge_queue", {}),),
}


@pytest.mark.parametrize("right", CALLS)
def test_a_right_on_one_queue_is_that_right_alone_in_batches_too(
    sandbox: Sandbox, right: str
) -> None:
    sqs = sandbox.client("sqs")
    names = [name_of("queue") for _ in range(2)]
    ours, theirs = (sqs.create_queue(QueueName=name)["QueueUrl"] for name in names)
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{names[0]}"
    role = sandbox.client("sqs", **sandbox.role(name_of("role"), allow(f"sqs:{right}", arn)))
    for needed, calls in CALLS.items():
        for call, arguments in calls:
            for queue in (ours, theirs):
                denied = refusal(getattr(role, call), QueueUrl=queue, **arguments)
                may = needed == right and queue == ours
                assert (denied == "AccessDenied") is not may, (call, queue, denied)
