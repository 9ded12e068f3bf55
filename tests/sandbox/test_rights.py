"""What roles may open, and do on queues: the sandbox decides as IAM and KMS do."""

import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.driver.client import ACCOUNT, Sandbox

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]

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


# -- tombstones -----------------------------------------------------------------------------------


def only(action: str | list[str], purpose: str, *roles: str) -> dict[str, Any]:
    """A statement of a key's policy for these roles of the account alone."""
    condition = {
        "StringEquals": {"kms:EncryptionContext:purpose": purpose},
        "ArnEquals": {"aws:PrincipalArn": [f"arn:aws:iam::{ACCOUNT}:role/{one}" for one in roles]},
    }
    return {"Effect": "Allow", "Action": action, "Resource": "*", "Condition": condition}


def test_tombstones_open_for_the_roles_that_the_key_policy_names_whatever_others_may(
    sandbox: Sandbox,
) -> None:
    sweeps, serves = name_of("sweeps"), name_of("serves")
    statements = [
        allow(["kms:Describe*", "kms:Put*"], "*"),
        only("kms:Encrypt", "tombstone", sweeps),
        only("kms:Decrypt", "tombstone", sweeps, serves),
    ]
    policy = {
        "Version": "2012-10-17",
        "Statement": [one | {"Principal": {"AWS": ACCOUNT_ROOT}} for one in statements],
    }
    made = sandbox.client("kms").create_key(Policy=json.dumps(policy))
    key_arn = str(made["KeyMetadata"]["Arn"])
    use = allow(["kms:Encrypt", "kms:Decrypt"], key_arn)
    sweeper, server = Role(sandbox, use, name=sweeps), Role(sandbox, use, name=serves)
    context = {"purpose": "tombstone", "key_id": "k0"}
    call: dict[str, Any] = {"KeyId": key_arn, "Plaintext": b"v", "EncryptionContext": context}
    blob = sweeper.kms.encrypt(**call)["CiphertextBlob"]
    given: dict[str, Any] = {"CiphertextBlob": blob, "EncryptionContext": context}
    for role in (sweeper, server):
        assert role.kms.decrypt(**given)["Plaintext"] == b"v"
    assert refusal(server.kms.encrypt, **call) == "AccessDenied"
    for other in (Role(sandbox, allow("kms:*", "*")), Role(sandbox, allow("*", "*"))):
        assert refusal(other.kms.decrypt, **given) == "AccessDenied"
        assert refusal(other.kms.decrypt, KeyId=key_arn, **given) == "AccessDenied"
        assert refusal(other.kms.encrypt, **call) == "AccessDenied"


# -- partitions of a table ------------------------------------------------------------------------


@pytest.fixture
def table(sandbox: Sandbox) -> str:
    name = name_of("ledger")
    sandbox.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def place(partition: str, sk: str = "1") -> dict[str, Any]:
    return {"pk": {"S": partition}, "sk": {"S": sk}}


def held_to(table: str, action: str | list[str], *partitions: str) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Action": action,
        "Resource": f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{table}",
        "Condition": {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": list(partitions)}},
    }


def on_one(table: str, partition: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """A call of each kind on one partition, by the right that it needs."""
    values = {":pk": {"S": partition}}
    condition = {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": values}
    keys = {table: {"Keys": [place(partition), place(partition, "2")]}}
    set_it = {
        "UpdateExpression": "SET a = :a",
        "ExpressionAttributeValues": {":a": {"S": "a"}},
    }
    return {
        "GetItem": ("get_item", {"TableName": table, "Key": place(partition)}),
        "PutItem": ("put_item", {"TableName": table, "Item": place(partition)}),
        "UpdateItem": ("update_item", {"TableName": table, "Key": place(partition), **set_it}),
        "Query": ("query", {"TableName": table, **condition}),
        "BatchGetItem": ("batch_get_item", {"RequestItems": keys}),
        "DeleteItem": ("delete_item", {"TableName": table, "Key": place(partition)}),
    }


def test_a_right_on_a_partition_is_none_on_another(sandbox: Sandbox, table: str) -> None:
    rights = [f"dynamodb:{right}" for right in on_one(table, "KEY")]
    held = sandbox.role(name_of("role"), held_to(table, rights, "KEY", "SHELF"))
    client = sandbox.client("dynamodb", **held)
    for partition, expected in (("KEY", None), ("SHELF", None), ("CONTROL", "AccessDenied")):
        for call, arguments in on_one(table, partition).values():
            assert refusal(getattr(client, call), **arguments) == expected, (partition, call)
    both = {table: {"Keys": [place("KEY"), place("CONTROL")]}}
    assert refusal(client.batch_get_item, RequestItems=both) == "AccessDenied"
    # A condition that is written with names is read through them.
    named = {
        "KeyConditionExpression": "#p = :p",
        "ExpressionAttributeNames": {"#p": "pk"},
        "ExpressionAttributeValues": {":p": {"S": "CONTROL"}},
    }
    assert refusal(client.query, TableName=table, **named) == "AccessDenied"


def test_each_item_of_a_transaction_is_asked_for_with_its_own_partition(
    sandbox: Sandbox, table: str
) -> None:
    held = sandbox.role(
        name_of("role"),
        held_to(table, ["dynamodb:PutItem", "dynamodb:DeleteItem"], "KEY"),
        held_to(table, "dynamodb:ConditionCheckItem", "CONTROL"),
    )
    client = sandbox.client("dynamodb", **held)

    def put(partition: str) -> dict[str, Any]:
        return {"Put": {"TableName": table, "Item": place(partition)}}

    def check(partition: str) -> dict[str, Any]:
        absent = {"ConditionExpression": "attribute_not_exists(pk)"}
        return {"ConditionCheck": {"TableName": table, "Key": place(partition, "hold"), **absent}}

    for items, expected in (
        ([check("CONTROL"), put("KEY")], None),
        ([check("CONTROL"), put("REQUEST")], "AccessDenied"),
        ([check("KEY"), put("KEY")], "AccessDenied"),
        ([put("CONTROL")], "AccessDenied"),
        ([{"Delete": {"TableName": table, "Key": place("KEY")}}], None),
        ([{"Delete": {"TableName": table, "Key": place("SHELF")}}], "AccessDenied"),
    ):
        assert refusal(client.transact_write_items, TransactItems=items) == expected, items


# -- the bus --------------------------------------------------------------------------------------


def test_a_bus_denies_events_of_those_whom_its_policy_does_not_name(sandbox: Sandbox) -> None:
    """As the stack writes it: by CloudFormation, which MiniStack does not know for this type."""
    ours, stack = name_of("sweeps"), name_of("stack")
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "events:PutEvents",
        "Resource": {"Fn::GetAtt": ["Bus", "Arn"]},
        "Condition": {
            "ArnNotEquals": {"aws:PrincipalArn": [f"arn:aws:iam::{ACCOUNT}:role/{ours}"]}
        },
    }
    named = {"EventBusName": {"Ref": "Bus"}, "StatementId": "OnlyOurs", "Statement": deny}
    made = {
        "Resources": {
            "Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": stack}},
            "Policy": {"Type": "AWS::Events::EventBusPolicy", "Properties": named},
        }
    }
    stacks = sandbox.client("cloudformation")
    stacks.create_stack(StackName=stack, TemplateBody=json.dumps(made))
    stacks.get_waiter("stack_create_complete").wait(
        StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    event = {"Source": "keyjanitor", "DetailType": "Key Revoked", "Detail": "{}"}
    entries = [event | {"EventBusName": stack}]
    put = allow("events:PutEvents", "*")

    def putting(role: str) -> Any:
        return sandbox.client("events", **sandbox.role(role, put)).put_events

    forger = putting(name_of("forger"))
    assert refusal(putting(ours), Entries=entries) is None
    assert refusal(forger, Entries=entries) == "AccessDenied"
    assert refusal(forger, Entries=[event]) is None  # the default bus has no such policy
    stacks.delete_stack(StackName=stack)


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


# -- what policies demand of the network ------------------------------------------------------------


def test_a_bucket_that_demands_tls_is_open_to_a_role(sandbox: Sandbox) -> None:
    bucket = name_of("sam-artifacts")  # `sam deploy` makes its bucket with such a policy
    arn = f"arn:aws:s3:::{bucket}"
    root = sandbox.client("s3")
    root.create_bucket(Bucket=bucket)
    deny: dict[str, Any] = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    policy = {"Version": "2012-10-17", "Statement": [deny]}
    root.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    role = sandbox.role(name_of("deployer"), allow("s3:PutObject", f"{arn}/*"))
    s3 = sandbox.client("s3", **role)
    assert refusal(s3.put_object, Bucket=bucket, Key="a", Body=b"") is None
    policy["Statement"] = [{name: deny[name] for name in deny if name != "Condition"}]
    root.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    assert refusal(s3.put_object, Bucket=bucket, Key="a", Body=b"") == "AccessDenied"


# -- simulations ----------------------------------------------------------------------------------


def test_a_simulation_needs_a_right_on_the_principal_that_it_is_about(sandbox: Sandbox) -> None:
    about = f"arn:aws:iam::{ACCOUNT}:role/{name_of('about')}"
    given = {"PolicySourceArn": about, "ActionNames": ["s3:ListBucket"]}
    for allowed, code in ((about, None), (f"{about}-other", "AccessDenied")):
        credentials = sandbox.role(name_of("asks"), allow("iam:SimulatePrincipalPolicy", allowed))
        client = sandbox.client("iam", **credentials)
        assert refusal(client.simulate_principal_policy, **given) == code
