"""The template says what the design promises: names, retention, exact roles, schedules, alarms."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from keyjanitor import settings

ROOT = Path(__file__).parents[2]

LOGICAL_IDS = {
    "PullUsageFunction": "AWS::Serverless::Function",
    "ExpireKeysFunction": "AWS::Serverless::Function",
    "AlertTopic": "AWS::SNS::Topic",
    "EventBus": "AWS::Events::EventBus",
    "Ledger": "AWS::DynamoDB::Table",
    "HistoryBucket": "AWS::S3::Bucket",
    "SealingKey": "AWS::KMS::Key",
}
OUTPUTS = {"AlertTopicArn", "EventBusName", "LedgerTableName", "HistoryBucketName", "SealingKeyArn"}
FUNCTIONS = {"PullUsageFunction": "pull_usage", "ExpireKeysFunction": "expire_keys"}
RETAINED = ("Ledger", "HistoryBucket", "SealingKey")

GATEWAY = "arn:${AWS::Partition}:apigateway:${AWS::Region}::"
BUCKET = "${HistoryBucket.Arn}"

PULL_USAGE = {
    ("apigateway:GET", f"{GATEWAY}/usageplans"),
    ("apigateway:GET", f"{GATEWAY}/usageplans/*/keys"),
    ("apigateway:GET", f"{GATEWAY}/usageplans/*/usage"),
    ("s3:GetObject", f"{BUCKET}/evidence/*"),
    ("s3:PutObject", f"{BUCKET}/evidence/*"),
    ("s3:PutObject", f"{BUCKET}/usage/*"),
    ("s3:ListBucket", "HistoryBucket.Arn"),
    ("logs:CreateLogStream", "PullUsageLog.Arn"),
    ("logs:PutLogEvents", "PullUsageLog.Arn"),
    ("sqs:SendMessage", "RunDeadLetterQueue.Arn"),
}
EXPIRE_KEYS_OBSERVING = {
    ("apigateway:GET", f"{GATEWAY}/apikeys"),
    ("apigateway:GET", f"{GATEWAY}/apikeys/*"),
    ("tag:GetResources", "*"),
    ("cloudformation:DescribeStackResources", "*"),
    ("dynamodb:DeleteItem", "Ledger.Arn"),
    ("dynamodb:GetItem", "Ledger.Arn"),
    ("dynamodb:PutItem", "Ledger.Arn"),
    ("dynamodb:Query", "Ledger.Arn"),
    ("s3:GetObject", f"{BUCKET}/evidence/*"),
    ("s3:GetObject", f"{BUCKET}/tombstones/*"),
    ("s3:PutObject", f"{BUCKET}/keys/*"),
    ("s3:ListBucket", "HistoryBucket.Arn"),
    ("kms:Decrypt", "SealingKey.Arn"),
    ("logs:CreateLogStream", "ExpireKeysLog.Arn"),
    ("logs:PutLogEvents", "ExpireKeysLog.Arn"),
    ("sqs:SendMessage", "RunDeadLetterQueue.Arn"),
}
EXPIRE_KEYS_DISABLING = EXPIRE_KEYS_OBSERVING | {
    ("apigateway:PATCH", f"{GATEWAY}/apikeys/*"),
    ("apigateway:POST", f"{GATEWAY}/apikeys"),
    ("apigateway:POST", f"{GATEWAY}/usageplans/*/keys"),
    ("apigateway:GET", f"{GATEWAY}/usageplans/*/keys/*"),
    ("apigateway:PUT", f"{GATEWAY}/tags/*"),
    ("dynamodb:ConditionCheckItem", "Ledger.Arn"),
    ("dynamodb:UpdateItem", "Ledger.Arn"),
    ("s3:GetObject", f"{BUCKET}/plans/*"),
    ("s3:PutObject", f"{BUCKET}/plans/*"),
    ("s3:DeleteObjectVersion", f"{BUCKET}/tombstones/*"),
    ("s3:ListBucketVersions", "HistoryBucket.Arn"),
    ("events:PutEvents", "EventBus.Arn"),
    ("sns:Publish", "AlertTopic"),
    ("kms:Decrypt", "AlertKey.Arn"),
    ("kms:GenerateDataKey*", "AlertKey.Arn"),
}
EXPIRE_KEYS_PARKING = EXPIRE_KEYS_DISABLING | {
    ("apigateway:DELETE", f"{GATEWAY}/apikeys/*"),
    ("s3:PutObject", f"{BUCKET}/tombstones/*"),
    ("kms:Encrypt", "SealingKey.Arn"),
}

RIGHTS = [
    ("PullUsageRole", "observe", PULL_USAGE),
    ("PullUsageRole", "disable", PULL_USAGE),
    ("PullUsageRole", "park", PULL_USAGE),
    ("ExpireKeysRole", "observe", EXPIRE_KEYS_OBSERVING),
    ("ExpireKeysRole", "disable", EXPIRE_KEYS_DISABLING),
    ("ExpireKeysRole", "park", EXPIRE_KEYS_PARKING),
]
CONDITIONS = {
    ("PullUsageRole", "s3:ListBucket"): {"StringLikeIfExists": {"s3:prefix": "evidence/*"}},
    ("ExpireKeysRole", "s3:ListBucket"): {
        "StringLikeIfExists": {"s3:prefix": ["evidence/*", "plans/*", "tombstones/*"]}
    },
    ("ExpireKeysRole", "s3:ListBucketVersions"): {"StringLike": {"s3:prefix": "tombstones/*"}},
    ("ExpireKeysRole", "kms:Encrypt"): {
        "StringEquals": {"kms:EncryptionContext:purpose": "tombstone"}
    },
    ("ExpireKeysRole", "kms:GenerateDataKey*"): {
        "StringEquals": {"kms:ViaService": "sns.${AWS::Region}.amazonaws.com"}
    },
    ("ExpireKeysRole", "events:PutEvents"): {"StringEquals": {"events:source": "keyjanitor"}},
}


class Template(yaml.SafeLoader):
    """Reads `!Sub x` as {"Fn::Sub": "x"}, and `!GetAtt a.b` as "a.b"."""


def _tagged(loader: Template, suffix: str, node: yaml.Node) -> Any:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        raise yaml.constructor.ConstructorError(None, None, f"!{suffix} of a mapping", None)
    return {suffix if suffix == "Ref" else f"Fn::{suffix}": value}


Template.add_multi_constructor("!", _tagged)
TEMPLATE: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text(), Template)
NO_VALUE = object()


def deployed(value: Any, **parameters: str) -> Any:
    """`value` as it is deployed with these parameters; names stand for what they refer to."""
    if isinstance(value, list):
        made = [deployed(item, **parameters) for item in value]
        return [item for item in made if item is not NO_VALUE]
    if not isinstance(value, dict):
        return value
    match list(value.items()):
        case [("Ref", "AWS::NoValue")]:
            return NO_VALUE
        case [("Ref", str(name))]:
            if name in TEMPLATE["Parameters"]:
                return parameters.get(name, TEMPLATE["Parameters"][name]["Default"])
            return name
        case [("Fn::Sub" | "Fn::GetAtt", str(text))]:
            return text
        case [("Fn::Equals", [left, right])]:
            return deployed(left, **parameters) == deployed(right, **parameters)
        case [("Fn::Not", [inner])]:
            return not deployed(inner, **parameters)
        case [("Fn::If", [str(condition), then, otherwise])]:
            return deployed(then if holds(condition, **parameters) else otherwise, **parameters)
        case pairs:
            items = {key: deployed(item, **parameters) for key, item in pairs}
            return {key: item for key, item in items.items() if item is not NO_VALUE}


def holds(condition: str, **parameters: str) -> bool:
    return bool(deployed(TEMPLATE["Conditions"][condition], **parameters))


def resources(kind: str, **parameters: str) -> dict[str, dict[str, Any]]:
    """The properties of every resource of this type that is deployed with these parameters."""
    return {
        name: deployed(resource["Properties"], **parameters)
        for name, resource in TEMPLATE["Resources"].items()
        if resource["Type"] == kind
        and ("Condition" not in resource or holds(resource["Condition"], **parameters))
    }


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(role: str, **parameters: str) -> Iterator[dict[str, Any]]:
    for policy in resources("AWS::IAM::Role", **parameters)[role]["Policies"]:
        yield from policy["PolicyDocument"]["Statement"]


def rights(role: str, mode: str) -> set[tuple[str, str]]:
    return {
        (action, resource)
        for statement in statements(role, Mode=mode)
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }


def schedules() -> dict[str, dict[str, Any]]:
    return {
        name: event["Properties"]
        for name, function in resources("AWS::Serverless::Function").items()
        for event in function["Events"].values()
        if event["Type"] == "ScheduleV2"
    }


def test_logical_ids_are_those_of_the_design() -> None:
    kinds = {name: resource["Type"] for name, resource in TEMPLATE["Resources"].items()}
    assert {name: kinds.get(name) for name in LOGICAL_IDS} == LOGICAL_IDS


def test_outputs_are_those_of_the_design() -> None:
    assert set(TEMPLATE["Outputs"]) == OUTPUTS | {"PullUsageFunctionName", "ExpireKeysFunctionName"}


def test_nothing_is_changed_until_its_owner_says_so() -> None:
    assert TEMPLATE["Parameters"]["Mode"] == {
        **TEMPLATE["Parameters"]["Mode"],
        "Default": "observe",
        "AllowedValues": ["observe", "disable", "park"],
    }


def test_defaults_are_those_of_the_design() -> None:
    defaults = {name: TEMPLATE["Parameters"][name]["Default"] for name in TEMPLATE["Parameters"]}
    assert defaults == {
        "Mode": "observe",
        "NightCallsPerSecond": 3,
        "ReplayWindowHours": 36,
        "PullUsageSchedule": "cron(15 2 * * ? *)",
        "ExpireKeysSchedule": "cron(15 3-5 * * ? *)",
        "AlertEmail": "",
        "LogRetentionDays": 90,
        "PermissionsBoundaryArn": "",
        "RequireTls": "true",
    }


def test_a_second_stack_fails_by_a_fixed_name_before_anything_retained_is_made() -> None:
    fixed = {name: p["Name"] for name, p in resources("AWS::SSM::Parameter").items()}
    assert fixed == {"OnlyStack": "/keyjanitor/stack"}
    assert {TEMPLATE["Resources"][name].get("DependsOn") for name in RETAINED} == {"OnlyStack"}


@pytest.mark.parametrize("name", RETAINED)
def test_key_ledger_and_bucket_outlive_the_stack(name: str) -> None:
    resource = TEMPLATE["Resources"][name]
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_the_ledger_can_be_taken_back_and_is_not_deleted_by_accident() -> None:
    ledger = resources("AWS::DynamoDB::Table")["Ledger"]
    assert ledger["DeletionProtectionEnabled"] is True
    assert ledger["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert ledger["SSESpecification"] == {"SSEEnabled": True}
    assert ledger["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert ledger["BillingMode"] == "PAY_PER_REQUEST"
    assert [key["AttributeName"] for key in ledger["KeySchema"]] == ["pk", "sk"]


def test_the_bucket_is_versioned_closed_and_encrypted() -> None:
    bucket = resources("AWS::S3::Bucket")["HistoryBucket"]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]


def test_no_rule_expires_a_version_of_a_tombstone() -> None:
    rules = resources("AWS::S3::Bucket")["HistoryBucket"]["LifecycleConfiguration"]["Rules"]
    expiring = {rule.get("Prefix") for rule in rules if "NoncurrentVersionExpiration" in rule}
    assert expiring == {"evidence/", "usage/", "keys/", "plans/"}
    assert not [rule for rule in rules if "ExpirationInDays" in rule or "ExpirationDate" in rule]


def test_the_sealing_key_rotates_and_opens_only_for_a_purpose() -> None:
    key = resources("AWS::KMS::Key")["SealingKey"]
    administer, use = key["KeyPolicy"]["Statement"]
    assert key["EnableKeyRotation"] is True
    assert not {"kms:*", "kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*"} & set(
        administer["Action"]
    )
    assert use["Action"] == ["kms:Encrypt", "kms:Decrypt"]
    assert use["Condition"] == {"StringEquals": {"kms:EncryptionContext:purpose": "tombstone"}}


@pytest.mark.parametrize(("role", "mode", "expected"), RIGHTS)
def test_a_role_can_do_what_its_function_does_in_this_mode_and_nothing_else(
    role: str, mode: str, expected: set[tuple[str, str]]
) -> None:
    assert rights(role, mode) == expected


def test_every_function_has_a_role_of_its_own_in_the_table() -> None:
    roles = {f["Role"] for f in resources("AWS::Serverless::Function").values()}
    assert roles == {f"{role}.Arn" for role, _, _ in RIGHTS}
    assert set(resources("AWS::IAM::Role")) == {role for role, _, _ in RIGHTS}


def test_roles_hold_no_managed_policy_and_only_lambda_takes_them() -> None:
    for role in resources("AWS::IAM::Role").values():
        assert "ManagedPolicyArns" not in role
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_rights_are_narrowed_where_an_arn_cannot() -> None:
    found = {
        (role, action): statement["Condition"]
        for role in ("PullUsageRole", "ExpireKeysRole")
        for statement in statements(role, Mode="park")
        for action in as_list(statement["Action"])
        if "Condition" in statement and action != "kms:Decrypt"
    }
    assert found == CONDITIONS


def test_every_statement_says_why() -> None:
    sids = [s.get("Sid", "") for role, mode, _ in RIGHTS for s in statements(role, Mode=mode)]
    assert [sid for sid in sids if not re.fullmatch(r"[A-Z][A-Za-z]{8,}", sid)] == []


@pytest.mark.parametrize("mode", ["observe", "disable", "park"])
def test_no_right_is_wider_than_aws_makes_it(mode: str) -> None:
    granted = rights("PullUsageRole", mode) | rights("ExpireKeysRole", mode)
    anywhere = {action for action, resource in granted if resource == "*"}
    assert anywhere == {"tag:GetResources", "cloudformation:DescribeStackResources"}
    many = {action for action, _ in granted if "*" in action}
    assert many == (set() if mode == "observe" else {"kms:GenerateDataKey*"})


def test_a_permissions_boundary_bounds_every_role() -> None:
    boundary = {"PermissionsBoundaryArn": "arn:aws:iam::123456789012:policy/boundary"}
    functions = resources("AWS::Serverless::Function", **boundary).values()
    bounded = [
        *resources("AWS::IAM::Role", **boundary).values(),
        *(event["Properties"] for f in functions for event in f["Events"].values()),
    ]
    assert {made.get("PermissionsBoundary") for made in bounded} == set(boundary.values())
    assert "PermissionsBoundary" not in resources("AWS::IAM::Role")["PullUsageRole"]


def test_nothing_goes_without_tls_unless_in_a_sandbox() -> None:
    def denials(tls: str) -> set[str]:
        return {
            statement["Sid"] + name
            for kind in ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy")
            for name, policy in resources(kind, RequireTls=tls).items()
            for statement in policy["PolicyDocument"]["Statement"]
            if statement["Effect"] == "Deny"
            and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        }

    assert denials("false") == set()
    assert denials("true") == {
        "NothingWithoutTlsAlertTopicPolicy",
        "NothingWithoutTlsHistoryBucketPolicy",
        "NothingWithoutTlsRunDeadLetterQueuePolicy",
    }


def test_a_schedule_starts_each_function_and_names_its_instant() -> None:
    assert set(schedules()) == set(FUNCTIONS)
    for schedule in schedules().values():
        assert json.loads(schedule["Input"]) == {"time": "<aws.scheduler.scheduled-time>"}
        assert schedule["ScheduleExpressionTimezone"] == "UTC"
        assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}


def test_schedules_omit_their_names_are_retried_and_have_dead_letters() -> None:
    for schedule in schedules().values():
        assert schedule["OmitName"] is True
        assert schedule["RetryPolicy"]["MaximumRetryAttempts"] > 0
        assert schedule["DeadLetterConfig"] == {"Arn": "RunDeadLetterQueue.Arn"}


def test_runs_that_fail_for_good_become_dead_letters() -> None:
    found = {
        name: (invoke["MaximumRetryAttempts"], invoke["DestinationConfig"]["OnFailure"])
        for name, f in resources("AWS::Serverless::Function").items()
        for invoke in [f["EventInvokeConfig"]]
    }
    queue = {"Type": "SQS", "Destination": "RunDeadLetterQueue.Arn"}
    assert found == {"PullUsageFunction": (2, queue), "ExpireKeysFunction": (0, queue)}
    assert resources("AWS::SQS::Queue")["RunDeadLetterQueue"]["SqsManagedSseEnabled"] is True


def test_every_function_writes_to_a_log_group_with_retention() -> None:
    groups = resources("AWS::Logs::LogGroup", LogRetentionDays="30")
    used = {f["LoggingConfig"]["LogGroup"] for f in resources("AWS::Serverless::Function").values()}
    assert used == set(groups)
    assert {group["RetentionInDays"] for group in groups.values()} == {"30"}


def test_alarms_watch_what_must_not_stay_unseen() -> None:
    watched = {
        (a["Namespace"], a["MetricName"], a["Dimensions"][0]["Value"], a["TreatMissingData"])
        for a in resources("AWS::CloudWatch::Alarm").values()
    }
    assert watched == {
        ("AWS/Lambda", "Errors", "PullUsageFunction", "notBreaching"),
        ("AWS/Lambda", "Errors", "ExpireKeysFunction", "notBreaching"),
        (
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            "RunDeadLetterQueue.QueueName",
            "notBreaching",
        ),
        ("keyjanitor", "EvidenceWritten", "keyjanitor", "breaching"),
        ("keyjanitor", "SweepFinished", "keyjanitor", "breaching"),
        ("keyjanitor", "TombstonesUnopened", "keyjanitor", "notBreaching"),
    }


def test_alarms_call_someone_and_say_what_to_do_first() -> None:
    for alarm in resources("AWS::CloudWatch::Alarm").values():
        assert alarm["AlarmActions"] == ["AlertTopic"]
        assert "irst" in alarm["AlarmDescription"]


def test_a_night_that_did_not_run_is_missed_within_26_hours() -> None:
    alarms = resources("AWS::CloudWatch::Alarm")
    for name in ("NoEvidenceAlarm", "NoSweepAlarm"):
        assert alarms[name]["Period"] * alarms[name]["EvaluationPeriods"] == 26 * 3600


def test_alarms_may_publish_to_the_encrypted_topic() -> None:
    topic = resources("AWS::SNS::Topic")["AlertTopic"]
    key = resources("AWS::KMS::Key")["AlertKey"]
    policy = resources("AWS::SNS::TopicPolicy")["AlertTopicPolicy"]
    assert topic["KmsMasterKeyId"] == "AlertKey.Arn"
    for statements_ in (key["KeyPolicy"]["Statement"], policy["PolicyDocument"]["Statement"]):
        assert {"Service": "cloudwatch.amazonaws.com"} in [s["Principal"] for s in statements_]


def test_mail_is_sent_only_to_somebody() -> None:
    assert resources("AWS::SNS::Subscription") == {}
    (subscription,) = resources("AWS::SNS::Subscription", AlertEmail="api@example.org").values()
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "api@example.org")


@pytest.mark.parametrize(("name", "folder"), FUNCTIONS.items())
def test_a_function_is_given_exactly_the_settings_that_it_reads(name: str, folder: str) -> None:
    variables = resources("AWS::Serverless::Function")[name]["Environment"]["Variables"]
    assert set(variables) == set(settings.REQUIRED[folder])


@pytest.mark.parametrize(("name", "folder"), FUNCTIONS.items())
def test_a_function_is_its_folder(name: str, folder: str) -> None:
    function = resources("AWS::Serverless::Function")[name]
    assert function["CodeUri"] == f"functions/{folder}/"
    assert TEMPLATE["Resources"][name]["Metadata"] == {"SkipBuild": True}
    assert (ROOT / "functions" / folder / "app.py").is_file()


def test_every_function_shares_these_globals() -> None:
    shared = deployed(TEMPLATE["Globals"]["Function"])
    assert shared == {
        "Runtime": "python3.13",
        "Architectures": ["arm64"],
        "Handler": "app.lambda_handler",
        "MemorySize": 1024,
        "Timeout": 900,
        "Layers": ["KeyjanitorLayer", "PolicyLayer"],
        "Environment": {
            "Variables": {
                "POWERTOOLS_SERVICE_NAME": "keyjanitor",
                "POWERTOOLS_METRICS_NAMESPACE": "keyjanitor",
                "POWERTOOLS_LOG_LEVEL": "INFO",
                "POWERTOOLS_LOGGER_LOG_EVENT": "false",
            }
        },
    }


def test_the_layer_holds_what_the_lambda_runtime_lacks_and_the_tests_run_with_it() -> None:
    def pins(path: str) -> dict[str, str]:
        lines = (ROOT / path).read_text()
        return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lines, re.MULTILINE))

    layer = pins("layers/keyjanitor/requirements.txt")
    assert set(layer) == {
        "aws-lambda-powertools",
        "fastjsonschema",
        "jmespath",
        "typing-extensions",
    }
    assert layer.items() <= pins("requirements/dev.txt").items()
    assert not {"aws-lambda-powertools", "fastjsonschema"} & pins("requirements/sandbox.txt").keys()
