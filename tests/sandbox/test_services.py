"""Tags, stacks, IAM, functions and schedules around API Gateway, completed in the sandbox."""

import io
import json
import time
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.driver.client import FunctionFailed, LaidKey, Sandbox
from tests.work import WAIT

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]

GATEWAY = "arn:aws:apigateway:us-east-1::"


def name_of(what: str) -> str:
    return f"{what}-{uuid.uuid4().hex[:8]}"


def allowed(call: Any, **kw: Any) -> bool:
    """Whether IAM let the call through, whatever came of it."""
    try:
        call(**kw)
    except ClientError as err:
        return "AccessDenied" not in err.response["Error"]["Code"]
    return True


def allow(action: str, resource: str, **condition: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return statement | ({"Condition": condition} if condition else {})


def tagged(sandbox: Sandbox, **kw: Any) -> dict[str, dict[str, str]]:
    tagging = sandbox.client("resourcegroupstaggingapi")
    pages = tagging.get_paginator("get_resources").paginate(**kw)
    return {
        found["ResourceARN"]: {tag["Key"]: tag["Value"] for tag in found["Tags"]}
        for page in pages
        for found in page["ResourceTagMappingList"]
    }


# -- tagging API ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["apigateway", "apigateway:apikeys"])
def test_the_tagging_api_lists_tagged_keys_by_arn(sandbox: Sandbox, kind: str) -> None:
    keys = [LaidKey(tags={"team": "maps"}), LaidKey()]
    ids = sandbox.lay_down(keys)
    found = tagged(sandbox, ResourceTypeFilters=[kind])
    assert found == {f"{GATEWAY}/apikeys/{ids[0]}": {"team": "maps"}}
    assert tagged(sandbox, ResourceTypeFilters=["apigateway:restapis"]) == {}


def test_the_tagging_api_gives_100_a_page(sandbox: Sandbox) -> None:
    ids = sandbox.lay_down([LaidKey(tags={"n": str(n)}) for n in range(250)])
    tagging = sandbox.client("resourcegroupstaggingapi")
    filters = ["apigateway:apikeys"]
    page = tagging.get_resources(ResourceTypeFilters=filters, ResourcesPerPage=100)
    assert len(page["ResourceTagMappingList"]) == 100
    assert page["PaginationToken"]
    assert len(tagged(sandbox, ResourceTypeFilters=filters)) == len(ids)


def test_the_tagging_api_filters_by_tag(sandbox: Sandbox) -> None:
    ids = sandbox.lay_down([LaidKey(tags={"a": "1"}), LaidKey(tags={"a": "2"})])
    found = tagged(sandbox, TagFilters=[{"Key": "a", "Values": ["2"]}])
    assert found.keys() == {f"{GATEWAY}/apikeys/{ids[1]}"}


def test_the_tagging_api_can_be_down(sandbox: Sandbox) -> None:
    sandbox.misbehave(tagging="ThrottledException")
    with pytest.raises(ClientError, match="ThrottledException"):
        tagged(sandbox)


# -- stacks ---------------------------------------------------------------------------------------


def test_a_stack_owns_its_key_and_tags_it(sandbox: Sandbox) -> None:
    cloudformation, gateway = sandbox.client("cloudformation"), sandbox.client("apigateway")
    key = {"Type": "AWS::ApiGateway::ApiKey", "Properties": {"Enabled": True, "Name": "ours"}}
    name = name_of("stack")
    template = json.dumps({"Resources": {"Key": key}})
    cloudformation.create_stack(StackName=name, TemplateBody=template)
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=name, WaiterConfig={"Delay": 0.1}
    )
    [item] = gateway.get_api_keys()["items"]
    resources = cloudformation.describe_stack_resources(PhysicalResourceId=item["id"])
    [resource] = resources["StackResources"]
    assert (resource["StackName"], resource["LogicalResourceId"]) == (name, "Key")
    tags = tagged(sandbox, ResourceTypeFilters=["apigateway"])[f"{GATEWAY}/apikeys/{item['id']}"]
    assert tags["aws:cloudformation:stack-name"] == name
    assert sandbox.calls_per_operation() == {"GetApiKeys": 1}


def test_a_key_can_be_laid_down_as_a_stacks(sandbox: Sandbox) -> None:
    ids = sandbox.lay_down([LaidKey(owner_stack="theirs"), LaidKey()])
    cloudformation = sandbox.client("cloudformation")
    [resource] = cloudformation.describe_stack_resources(PhysicalResourceId=ids[0])[
        "StackResources"
    ]
    assert (resource["StackName"], resource["PhysicalResourceId"]) == ("theirs", ids[0])
    with pytest.raises(ClientError) as error:
        cloudformation.describe_stack_resources(PhysicalResourceId=ids[1])
    assert error.value.response["Error"] == {
        "Type": "Sender",
        "Code": "ValidationError",
        "Message": f"Stack for {ids[1]} does not exist",
    }


def test_stacks_can_be_down(sandbox: Sandbox) -> None:
    sandbox.misbehave(stacks="Throttling")
    with pytest.raises(ClientError, match="Throttling"):
        sandbox.client("cloudformation").describe_stack_resources(PhysicalResourceId="x")


# -- IAM ------------------------------------------------------------------------------------------


def test_a_right_on_apikeys_is_none_on_one_key(sandbox: Sandbox) -> None:
    role = sandbox.role(name_of("lister"), allow("apigateway:GET", f"{GATEWAY}/apikeys"))
    gateway = sandbox.client("apigateway", **role)
    assert allowed(gateway.get_api_keys)
    assert not allowed(gateway.get_api_key, apiKey="a")
    assert not allowed(gateway.get_usage_plans)


def test_a_right_on_one_key_is_none_on_the_list(sandbox: Sandbox) -> None:
    role = sandbox.role(name_of("reader"), allow("apigateway:PATCH", f"{GATEWAY}/apikeys/*"))
    gateway = sandbox.client("apigateway", **role)
    assert allowed(gateway.update_api_key, apiKey="a")
    assert not allowed(gateway.get_api_key, apiKey="a")
    assert not allowed(gateway.delete_api_key, apiKey="a")


def test_usage_is_read_with_get_on_usageplans_usage(sandbox: Sandbox) -> None:
    role = sandbox.role(name_of("usage"), allow("apigateway:GET", f"{GATEWAY}/usageplans/*/usage"))
    gateway = sandbox.client("apigateway", **role)
    today = datetime.now(UTC).date().isoformat()
    assert allowed(gateway.get_usage, usagePlanId="p", startDate=today, endDate=today)
    assert not allowed(gateway.get_usage_plan_keys, usagePlanId="p")


def test_create_and_import_need_post_on_apikeys(sandbox: Sandbox) -> None:
    role = sandbox.role(name_of("maker"), allow("apigateway:POST", f"{GATEWAY}/apikeys"))
    gateway = sandbox.client("apigateway", **role)
    assert allowed(gateway.create_api_key)
    assert allowed(gateway.import_api_keys, body="Name,Key", format="csv")
    assert not allowed(gateway.create_usage_plan_key, usagePlanId="p", keyId="k", keyType="API_KEY")


def test_a_tagged_create_needs_put_on_tags_too(sandbox: Sandbox) -> None:
    post = allow("apigateway:POST", f"{GATEWAY}/apikeys")
    without = sandbox.client("apigateway", **sandbox.role(name_of("maker"), post))
    assert allowed(without.create_api_key)
    assert not allowed(without.create_api_key, tags={"a": "b"})
    put = allow("apigateway:PUT", f"{GATEWAY}/tags/*")
    with_it = sandbox.client("apigateway", **sandbox.role(name_of("maker"), post, put))
    assert allowed(with_it.create_api_key, tags={"a": "b"})


def test_a_statement_can_ask_for_an_encryption_context(sandbox: Sandbox) -> None:
    kms = sandbox.client("kms")
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    condition = {"StringEquals": {"kms:EncryptionContext:purpose": "tombstone"}}
    role = sandbox.role(name_of("sealer"), allow("kms:Encrypt", "*", **condition))
    sealer = sandbox.client("kms", **role)
    for context, right in (
        ({"purpose": "tombstone", "key_id": "a"}, True),
        ({"purpose": "delivery"}, False),
        ({}, False),
    ):
        call = {"KeyId": key_id, "Plaintext": b"v", "EncryptionContext": context}
        assert allowed(sealer.encrypt, **call) is right


def test_a_statement_can_ask_for_the_keys_of_an_encryption_context(sandbox: Sandbox) -> None:
    kms = sandbox.client("kms")
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    sealed = [
        kms.encrypt(KeyId=key_id, Plaintext=b"v", EncryptionContext={name: "x"})["CiphertextBlob"]
        for name in ("key_id", "other")
    ]
    condition = {"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["key_id"]}}
    role = sandbox.role(name_of("opener"), allow("kms:Decrypt", "*", **condition))
    opener = sandbox.client("kms", **role)
    assert allowed(opener.decrypt, CiphertextBlob=sealed[0], EncryptionContext={"key_id": "x"})
    assert not allowed(opener.decrypt, CiphertextBlob=sealed[1], EncryptionContext={"other": "x"})


def test_a_statement_can_ask_for_the_source_of_events(sandbox: Sandbox) -> None:
    condition = {"StringEquals": {"events:source": "keyjanitor"}}
    role = sandbox.role(name_of("teller"), allow("events:PutEvents", "*", **condition))
    events = sandbox.client("events", **role)
    for source, right in (("keyjanitor", True), ("other", False)):
        entry = {"Source": source, "DetailType": "d", "Detail": "{}"}
        assert allowed(events.put_events, Entries=[entry]) is right


def test_a_statement_can_ask_for_the_namespace_of_metrics(sandbox: Sandbox) -> None:
    condition = {"StringEquals": {"cloudwatch:namespace": "keyjanitor"}}
    role = sandbox.role(name_of("counter"), allow("cloudwatch:PutMetricData", "*", **condition))
    cloudwatch = sandbox.client("cloudwatch", **role)
    for namespace, right in (("keyjanitor", True), ("other", False)):
        data = [{"MetricName": "m", "Value": 1.0}]
        assert allowed(cloudwatch.put_metric_data, Namespace=namespace, MetricData=data) is right


# -- events, alerts, functions, schedules ---------------------------------------------------------


def test_events_and_alerts_are_recorded(sandbox: Sandbox) -> None:
    entry = {"Source": "keyjanitor", "DetailType": "Key Parked", "Detail": '{"a": 1}'}
    sandbox.client("events").put_events(Entries=[entry])
    sns = sandbox.client("sns")
    topic = sns.create_topic(Name=name_of("topic"))["TopicArn"]
    sns.publish(TopicArn=topic, Message='{"default": "d"}', MessageStructure="json", Subject="s")
    assert [(e["DetailType"], e["Detail"]) for e in sandbox.events()] == [
        ("Key Parked", '{"a": 1}')
    ]
    assert [(a["topic"], a["subject"], a["message"]) for a in sandbox.alerts()] == [
        (topic, "s", '{"default": "d"}')
    ]


CODE = """
import os, time, boto3
class NotToday(Exception): pass
def handler(event, context):
    print("said", event.get("say"))
    time.sleep(event.get("sleep", 0))
    if event.get("fail"):
        raise NotToday("no\\nmore")
    if event.get("calls"):
        for _ in range(event["calls"]):
            boto3.client("apigateway").get_api_keys()
    return {"pid": os.getpid(), "endpoint": os.environ["AWS_ENDPOINT_URL"],
            "log_level": os.environ.get("LOG_LEVEL"), "event": event,
            "who": boto3.client("sts").get_caller_identity()["Arn"]}
"""


@pytest.fixture
def function(sandbox: Sandbox) -> dict[str, str]:
    return made_function(sandbox)


def made_function(sandbox: Sandbox) -> dict[str, str]:
    iam = sandbox.client("iam")
    name = name_of("function")
    principal = {"Service": ["lambda.amazonaws.com", "scheduler.amazonaws.com"]}
    trust = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [allow("apigateway:GET", "*"), allow("lambda:InvokeFunction", "*")],
    }
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(policy))
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("app.py", CODE)
    made = sandbox.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=role,
        Handler="app.handler",
        Code={"ZipFile": package.getvalue()},
        Timeout=20,
    )
    return {"name": name, "role": role, "arn": made["FunctionArn"]}


def test_a_function_runs_under_its_role_against_this_sandbox_and_stays_warm(
    sandbox: Sandbox, function: dict[str, str]
) -> None:
    first, second = (sandbox.invoke(function["name"], {"calls": 1}) for _ in range(2))
    assert first["endpoint"] == sandbox.endpoint
    assert f":assumed-role/{function['name']}/" in first["who"]
    assert first["log_level"] is None
    assert first["pid"] == second["pid"]
    assert sandbox.calls_per_operation(function["name"]) == {"GetApiKeys": 2}
    [worker] = [w for w in sandbox.workers() if w["function"] == function["name"]]
    assert worker["pid"] == first["pid"]
    assert 10_000_000 < worker["peak_memory"] < 200_000_000


def test_a_function_that_fails_names_its_exception(
    sandbox: Sandbox, function: dict[str, str]
) -> None:
    with pytest.raises(FunctionFailed) as error:
        sandbox.invoke(function["name"], {"fail": True})
    assert (error.value.error_type, error.value.message) == ("NotToday", "no\nmore")


def test_a_function_can_be_made_to_die_after_so_many_calls(
    sandbox: Sandbox, function: dict[str, str]
) -> None:
    sandbox.misbehave(die_after={function["name"]: 3})
    with pytest.raises(FunctionFailed):
        sandbox.invoke(function["name"], {"calls": 5})
    assert sandbox.calls_per_operation(function["name"]) == {"GetApiKeys": 3}
    assert sandbox.invoke(function["name"], {"calls": 1})["pid"]


def test_a_sandbox_that_ends_leaves_no_process_of_a_function() -> None:
    with Sandbox.start() as ending:
        name = made_function(ending)["name"]
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(ending.invoke, name, {"sleep": 3_600})
            while not any(worker["busy"] for worker in ending.workers()):
                time.sleep(0.1)
            [worker] = ending.workers()
            ending.stop()  # it would take an hour to wait for the function
            assert running.exception(timeout=WAIT)
    assert not Path(f"/proc/{worker['pid']}").exists()


def test_everything_that_is_stored_can_be_searched(
    sandbox: Sandbox, function: dict[str, str]
) -> None:
    mark = uuid.uuid4().hex
    sandbox.invoke(function["name"], {"say": mark})
    s3, bucket = sandbox.client("s3"), name_of("bucket")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="k", Body=mark.encode())
    s3.put_object(Bucket=bucket, Key="k", Body=b"newer")
    dynamodb, table = sandbox.client("dynamodb"), name_of("table")
    dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.put_item(TableName=table, Item={"pk": {"S": mark}})
    sqs = sandbox.client("sqs")
    queue = sqs.create_queue(QueueName=name_of("queue"))["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody=mark)
    entry = {"Source": "s", "DetailType": "d", "Detail": json.dumps({"mark": mark})}
    sandbox.client("events").put_events(Entries=[entry])
    sns = sandbox.client("sns")
    sns.publish(TopicArn=sns.create_topic(Name=name_of("t"))["TopicArn"], Message=mark)
    found = {w.split()[0] for w, content in sandbox.everything_stored() if mark.encode() in content}
    assert found == {"logs", "s3", "dynamodb", "sqs", "events", "sns"}


@pytest.mark.parametrize(
    ("asked", "names", "found"),
    [
        ("#owner, tier,#none", {"#owner": "owner", "#none": "none"}, {"owner", "tier"}),
        ("pk", {}, {"pk"}),
        ("#of.days, tier", {"#of": "of"}, {"of", "tier"}),
    ],
)
def test_a_query_gives_the_attributes_that_are_asked_for(
    sandbox: Sandbox, asked: str, names: dict[str, str], found: set[str]
) -> None:
    dynamodb, table = sandbox.client("dynamodb"), name_of("table")
    dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    of = {"M": {"days": {"N": "1"}, "more": {"N": "2"}}}
    item = {"pk": {"S": "k"}, "owner": {"S": "o"}, "tier": {"S": "t"}, "of": of}
    dynamodb.put_item(TableName=table, Item=item)
    (answer,) = dynamodb.query(
        TableName=table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": "k"}},
        ProjectionExpression=asked,
        **({"ExpressionAttributeNames": names} if names else {}),
    )["Items"]
    assert answer == {
        name: {"M": {"days": {"N": "1"}}} if name == "of" else item[name] for name in found
    }


def test_a_table_and_a_bucket_are_emptied_and_nothing_of_another(sandbox: Sandbox) -> None:
    s3, dynamodb = sandbox.client("s3"), sandbox.client("dynamodb")
    buckets, tables = [name_of("bucket"), name_of("bucket")], [name_of("table"), name_of("table")]
    for bucket, table in zip(buckets, tables, strict=True):
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="before versions", Body=b"1")
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        for body in (b"1", b"2"):
            s3.put_object(Bucket=bucket, Key="k", Body=body)
        s3.delete_object(Bucket=bucket, Key="k")
        dynamodb.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        dynamodb.put_item(TableName=table, Item={"pk": {"S": "a"}})
    sandbox.empty(table=tables[0], bucket=buckets[0])
    left = [s3.list_object_versions(Bucket=bucket) for bucket in buckets]
    assert [len(one.get("Versions", ())) for one in left] == [0, 3]
    assert [len(one.get("DeleteMarkers", ())) for one in left] == [0, 1]
    assert [dynamodb.scan(TableName=table)["Count"] for table in tables] == [0, 1]
    dynamodb.put_item(TableName=tables[0], Item={"pk": {"S": "b"}})
    assert dynamodb.scan(TableName=tables[0])["Items"] == [{"pk": {"S": "b"}}]


def test_a_schedule_puts_the_scheduled_time_into_its_input(
    sandbox: Sandbox, function: dict[str, str]
) -> None:
    scheduler = sandbox.client("scheduler")
    due = datetime.now(UTC) - timedelta(seconds=1)
    scheduler.create_schedule(
        Name=function["name"],
        ScheduleExpression=f"at({due:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": function["arn"],
            "RoleArn": function["role"],
            "Input": json.dumps({"say": "<aws.scheduler.scheduled-time>"}),
        },
    )
    deadline = time.monotonic() + WAIT
    said: list[str] = []
    while not said and time.monotonic() < deadline:
        time.sleep(0.5)
        said = [
            content.decode().strip()
            for where, content in sandbox.everything_stored()
            if function["name"] in where and content.startswith(b"said")
        ]
    assert len(said) == 1
    at = datetime.fromisoformat(said[0].removeprefix("said "))
    assert abs(at - due) < timedelta(seconds=75)
