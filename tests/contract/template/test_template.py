"""The template says what README and docs/ promise: names, retention, exact roles, schedules, alarms."""

import json
import re
import tomllib
from collections.abc import Set as AbstractSet
from fnmatch import fnmatch
from typing import Any

import pytest

from keyjanitor.adapters import settings
from keyjanitor.domain.capacity.alerting import Situation
from keyjanitor.domain.capacity.forecast import Forecast, Growth
from keyjanitor.domain.expiry.keys_file import key_lines
from keyjanitor.domain.model.policy_file import parse_policy
from keyjanitor.domain.model.records import CountRow
from keyjanitor.domain.requests.sqs_message import Message
from keyjanitor.domain.usage.evidence import FORGET_AFTER, UsagePlanAnswer
from keyjanitor.domain.usage.reading import take_evidence
from keyjanitor.domain.usage.usage_file import UsageFiles
from keyjanitor.services.watch_capacity import CapacityReading, metrics_of
from sandbox.driver.stack import LOCAL
from tests.builders import (
    KEY_ID,
    TODAY,
    YESTERDAY,
    a_key,
    a_page,
    a_plan,
    a_usage,
    a_usage_plan,
    pairs,
)
from tests.template import ROOT, TEMPLATE, as_list, deployed, resources, statements

SHIPPED = parse_policy((ROOT / "layers/policy/policy.toml").read_text(encoding="utf-8"))

LOGICAL_IDS = {
    "PullUsageFunction": "AWS::Serverless::Function",
    "ExpireKeysFunction": "AWS::Serverless::Function",
    "WatchCapacityFunction": "AWS::Serverless::Function",
    "PublishReportFunction": "AWS::Serverless::Function",
    "ProvisionKeysFunction": "AWS::Serverless::Function",
    "RequestQueue": "AWS::SQS::Queue",
    "RequestDeadLetterQueue": "AWS::SQS::Queue",
    "AlertTopic": "AWS::SNS::Topic",
    "EventBus": "AWS::Events::EventBus",
    "Ledger": "AWS::DynamoDB::Table",
    "HistoryBucket": "AWS::S3::Bucket",
    "SealingKey": "AWS::KMS::Key",
}
OUTPUTS = {
    "RequestQueueUrl",
    "RequestDeadLetterQueueUrl",
    "AlertTopicArn",
    "EventBusName",
    "LedgerTableName",
    "HistoryBucketName",
    "SealingKeyArn",
}
MORE_OUTPUTS = {
    "Version",
    "RequestQueueArn",
    "AuditLogGroupName",
    "HistoryDatabaseName",
    "PullUsageFunctionName",
    "ExpireKeysFunctionName",
    "WatchCapacityFunctionName",
    "PublishReportFunctionName",
    "ProvisionKeysFunctionName",
}
SCHEDULED = {
    "PullUsageFunction": "pull_usage",
    "ExpireKeysFunction": "expire_keys",
    "WatchCapacityFunction": "watch_capacity",
    "PublishReportFunction": "publish_report",
}
FUNCTIONS = SCHEDULED | {"ProvisionKeysFunction": "provision_keys"}
# By what becomes of them with the stack. The ledger's protection would stop CloudFormation from deleting it.
RETAINED = {
    "Ledger": "Retain",
    "HistoryBucket": "RetainExceptOnCreate",
    "SealingKey": "RetainExceptOnCreate",
    "AuditLog": "RetainExceptOnCreate",
}
FOURTEEN_DAYS = 14 * 24 * 3600

GATEWAY = "arn:${AWS::Partition}:apigateway:${AWS::Region}::"
BUCKET = "${HistoryBucket.Arn}"
TAGS_OF_KEYS = (
    f"{GATEWAY}/tags/arn%3A${{AWS::Partition}}%3Aapigateway%3A${{AWS::Region}}%3A%3A%2Fapikeys%2F*"
)

PULL_USAGE = {
    ("apigateway:GET", f"{GATEWAY}/usageplans"),
    ("apigateway:GET", f"{GATEWAY}/usageplans/*/keys"),
    ("apigateway:GET", f"{GATEWAY}/usageplans/*/usage"),
    ("s3:GetObject", f"{BUCKET}/evidence/*"),
    ("s3:GetObject", f"{BUCKET}/keys/*"),
    ("s3:GetObject", f"{BUCKET}/partial/*"),
    ("s3:GetObject", f"{BUCKET}/usage/*"),
    ("s3:PutObject", f"{BUCKET}/evidence/*"),
    ("s3:PutObject", f"{BUCKET}/keys/*"),
    ("s3:PutObject", f"{BUCKET}/partial/*"),
    ("s3:PutObject", f"{BUCKET}/usage/*"),
    ("s3:ListBucket", "HistoryBucket.Arn"),
    ("dynamodb:DeleteItem", "Ledger.Arn"),
    ("dynamodb:GetItem", "Ledger.Arn"),
    ("dynamodb:PutItem", "Ledger.Arn"),
    ("logs:CreateLogStream", "PullUsageLog.Arn"),
    ("logs:PutLogEvents", "PullUsageLog.Arn"),
    ("sqs:SendMessage", "RunDeadLetterQueue.Arn"),
}
EXPIRE_KEYS_OBSERVING = {
    ("apigateway:GET", f"{GATEWAY}/apikeys"),
    ("apigateway:GET", f"{GATEWAY}/apikeys/*"),
    ("tag:GetResources", "*"),
    ("dynamodb:BatchGetItem", "Ledger.Arn"),
    ("dynamodb:DeleteItem", "Ledger.Arn"),
    ("dynamodb:GetItem", "Ledger.Arn"),
    ("dynamodb:PutItem", "Ledger.Arn"),
    ("dynamodb:Query", "Ledger.Arn"),
    ("s3:GetObject", f"{BUCKET}/evidence/*"),
    ("s3:GetObject", f"{BUCKET}/keys/*"),
    ("s3:GetObject", f"{BUCKET}/nights/*"),
    ("s3:GetObject", f"{BUCKET}/tombstones/*"),
    ("s3:ListBucketVersions", "HistoryBucket.Arn"),
    ("s3:GetObjectVersion", f"{BUCKET}/tombstones/*"),
    ("s3:PutObject", f"{BUCKET}/dry-runs/*"),
    ("s3:PutObject", f"{BUCKET}/keys/*"),
    ("s3:ListBucket", "HistoryBucket.Arn"),
    ("kms:Decrypt", "SealingKey.Arn"),
    ("logs:CreateLogStream", "ExpireKeysLog.Arn"),
    ("logs:PutLogEvents", "ExpireKeysLog.Arn"),
    ("sqs:SendMessage", "RunDeadLetterQueue.Arn"),
}
EXPIRE_KEYS_DISABLING = EXPIRE_KEYS_OBSERVING | {
    ("cloudformation:DescribeStackResources", "*"),
    ("apigateway:PATCH", f"{GATEWAY}/apikeys/*"),
    ("apigateway:POST", f"{GATEWAY}/apikeys"),
    ("apigateway:POST", f"{GATEWAY}/usageplans/*/keys"),
    ("apigateway:GET", f"{GATEWAY}/usageplans/*/keys/*"),
    ("apigateway:PUT", TAGS_OF_KEYS),
    ("dynamodb:ConditionCheckItem", "Ledger.Arn"),
    ("dynamodb:UpdateItem", "Ledger.Arn"),
    ("s3:GetObject", f"{BUCKET}/plans/*"),
    ("s3:PutObject", f"{BUCKET}/plans/*"),
    ("s3:PutObject", f"{BUCKET}/nights/*"),
    ("s3:DeleteObjectVersion", f"{BUCKET}/tombstones/*"),
    ("events:PutEvents", "EventBus.Arn"),
    ("sns:ListSubscriptionsByTopic", "AlertTopic"),
    ("sns:Publish", "AlertTopic"),
    ("kms:Decrypt", "AlertKey.Arn"),
    ("kms:GenerateDataKey*", "AlertKey.Arn"),
}
EXPIRE_KEYS_PARKING = EXPIRE_KEYS_DISABLING | {
    ("apigateway:GET", f"{GATEWAY}/usageplans"),
    ("apigateway:DELETE", f"{GATEWAY}/apikeys/*"),
    ("s3:PutObject", f"{BUCKET}/tombstones/*"),
    ("kms:Encrypt", "SealingKey.Arn"),
}
PUBLISH_REPORT = {
    ("apigateway:GET", f"{GATEWAY}/apikeys"),
    ("apigateway:GET", f"{GATEWAY}/usageplans"),
    ("apigateway:GET", f"{GATEWAY}/restapis"),
    ("apigateway:GET", f"{GATEWAY}/restapis/*/stages"),
    ("apigateway:GET", f"{GATEWAY}/restapis/*/deployments/*"),
    ("tag:GetResources", "*"),
    ("cloudformation:DescribeStackResources", "*"),
    ("dynamodb:BatchGetItem", "Ledger.Arn"),
    ("dynamodb:DeleteItem", "Ledger.Arn"),
    ("dynamodb:GetItem", "Ledger.Arn"),
    ("dynamodb:PutItem", "Ledger.Arn"),
    ("dynamodb:Query", "Ledger.Arn"),
    ("s3:GetObject", f"{BUCKET}/evidence/*"),
    ("s3:GetObject", f"{BUCKET}/nights/*"),
    ("s3:GetObject", f"{BUCKET}/usage/*"),
    ("s3:GetObject", f"{BUCKET}/keys/*"),
    ("s3:GetObject", f"{BUCKET}/audit/*"),
    ("s3:PutObject", f"{BUCKET}/audit/*"),
    ("s3:PutObject", f"{BUCKET}/reports/*"),
    ("s3:ListBucket", "HistoryBucket.Arn"),
    ("logs:FilterLogEvents", "AuditLog.Arn"),
    (
        "logs:FilterLogEvents",
        "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:${AuditLog}",
    ),
    ("logs:CreateLogStream", "PublishReportLog.Arn"),
    ("logs:PutLogEvents", "PublishReportLog.Arn"),
    ("sqs:SendMessage", "RunDeadLetterQueue.Arn"),
}
WATCH_CAPACITY = {
    ("apigateway:GET", f"{GATEWAY}/apikeys"),
    ("apigateway:GET", f"{GATEWAY}/usageplans"),
    ("dynamodb:BatchGetItem", "Ledger.Arn"),
    ("dynamodb:DeleteItem", "Ledger.Arn"),
    ("dynamodb:GetItem", "Ledger.Arn"),
    ("dynamodb:PutItem", "Ledger.Arn"),
    ("dynamodb:Query", "Ledger.Arn"),
    ("s3:GetObject", f"{BUCKET}/evidence/*"),
    ("s3:ListBucket", "HistoryBucket.Arn"),
    ("sqs:GetQueueAttributes", "RequestDeadLetterQueue.Arn"),
    ("sqs:GetQueueAttributes", "RunDeadLetterQueue.Arn"),
    ("sns:ListSubscriptionsByTopic", "AlertTopic"),
    ("sns:Publish", "AlertTopic"),
    ("kms:Decrypt", "AlertKey.Arn"),
    ("kms:GenerateDataKey*", "AlertKey.Arn"),
    ("logs:CreateLogStream", "WatchCapacityLog.Arn"),
    ("logs:PutLogEvents", "WatchCapacityLog.Arn"),
    ("sqs:SendMessage", "RunDeadLetterQueue.Arn"),
}
PROVISION_KEYS = {
    ("sqs:ChangeMessageVisibility", "RequestQueue.Arn"),
    ("sqs:DeleteMessage", "RequestQueue.Arn"),
    ("sqs:GetQueueAttributes", "RequestQueue.Arn"),
    ("sqs:ReceiveMessage", "RequestQueue.Arn"),
    ("sqs:SendMessage", "RequestDeadLetterQueue.Arn"),
    ("apigateway:GET", f"{GATEWAY}/apikeys"),
    ("apigateway:GET", f"{GATEWAY}/apikeys/*"),
    ("apigateway:GET", f"{GATEWAY}/usageplans"),
    ("apigateway:GET", f"{GATEWAY}/usageplans/*/keys"),
    ("apigateway:GET", f"{GATEWAY}/usageplans/*/keys/*"),
    ("apigateway:POST", f"{GATEWAY}/apikeys"),
    ("apigateway:POST", f"{GATEWAY}/usageplans"),
    ("apigateway:POST", f"{GATEWAY}/usageplans/*/keys"),
    ("apigateway:PUT", TAGS_OF_KEYS),
    ("apigateway:PATCH", f"{GATEWAY}/apikeys/*"),
    ("apigateway:DELETE", f"{GATEWAY}/apikeys/*"),
    ("cloudformation:DescribeStackResources", "*"),
    ("dynamodb:BatchGetItem", "Ledger.Arn"),
    ("dynamodb:DeleteItem", "Ledger.Arn"),
    ("dynamodb:GetItem", "Ledger.Arn"),
    ("dynamodb:PutItem", "Ledger.Arn"),
    ("dynamodb:Query", "Ledger.Arn"),
    ("dynamodb:UpdateItem", "Ledger.Arn"),
    ("s3:GetObject", f"{BUCKET}/tombstones/*"),
    ("s3:GetObjectVersion", f"{BUCKET}/tombstones/*"),
    ("s3:DeleteObjectVersion", f"{BUCKET}/tombstones/*"),
    ("s3:ListBucket", "HistoryBucket.Arn"),
    ("s3:ListBucketVersions", "HistoryBucket.Arn"),
    ("kms:Encrypt", "SealingKey.Arn"),
    ("kms:Decrypt", "SealingKey.Arn"),
    ("events:PutEvents", "EventBus.Arn"),
    ("logs:CreateLogStream", "ProvisionKeysLog.Arn"),
    ("logs:PutLogEvents", "ProvisionKeysLog.Arn"),
}

RIGHTS = [
    ("PullUsageRole", "observe", PULL_USAGE),
    ("PullUsageRole", "disable", PULL_USAGE),
    ("PullUsageRole", "park", PULL_USAGE),
    ("ExpireKeysRole", "observe", EXPIRE_KEYS_OBSERVING),
    ("ExpireKeysRole", "disable", EXPIRE_KEYS_DISABLING),
    ("ExpireKeysRole", "park", EXPIRE_KEYS_PARKING),
    ("WatchCapacityRole", "observe", WATCH_CAPACITY),
    ("WatchCapacityRole", "disable", WATCH_CAPACITY),
    ("WatchCapacityRole", "park", WATCH_CAPACITY),
    ("PublishReportRole", "observe", PUBLISH_REPORT),
    ("PublishReportRole", "park", PUBLISH_REPORT),
    ("ProvisionKeysRole", "observe", PROVISION_KEYS),
    ("ProvisionKeysRole", "disable", PROVISION_KEYS),
    ("ProvisionKeysRole", "park", PROVISION_KEYS),
]
ROLES = tuple(dict.fromkeys(role for role, _, _ in RIGHTS))
TWO_ROLES = ["ExpireKeysRole.Arn", "ProvisionKeysRole.Arn"]
TOMBSTONES = {"StringEquals": {"kms:EncryptionContext:purpose": "tombstone"}}
THROUGH_SNS = {"StringEquals": {"kms:ViaService": "sns.${AWS::Region}.${AWS::URLSuffix}"}}
OUR_EVENTS = {"StringEquals": {"events:source": "keyjanitor"}}
CONDITIONS = {
    ("PullUsageRole", "s3:ListBucket", "HistoryBucket.Arn"): {
        "StringLikeIfExists": {"s3:prefix": ["evidence/*", "keys/*", "partial/*", "usage/*"]}
    },
    ("ExpireKeysRole", "s3:ListBucket", "HistoryBucket.Arn"): {
        "StringLikeIfExists": {"s3:prefix": ["evidence/*", "nights/*", "plans/*", "tombstones/*"]}
    },
    ("ExpireKeysRole", "s3:ListBucketVersions", "HistoryBucket.Arn"): {
        "StringLike": {"s3:prefix": "tombstones/*"}
    },
    ("ExpireKeysRole", "kms:Encrypt", "SealingKey.Arn"): TOMBSTONES,
    ("ExpireKeysRole", "kms:Decrypt", "SealingKey.Arn"): TOMBSTONES,
    ("ExpireKeysRole", "kms:Decrypt", "AlertKey.Arn"): THROUGH_SNS,
    ("ExpireKeysRole", "kms:GenerateDataKey*", "AlertKey.Arn"): THROUGH_SNS,
    ("ExpireKeysRole", "events:PutEvents", "EventBus.Arn"): OUR_EVENTS,
    ("WatchCapacityRole", "s3:ListBucket", "HistoryBucket.Arn"): {
        "StringLikeIfExists": {"s3:prefix": "evidence/*"}
    },
    ("WatchCapacityRole", "kms:Decrypt", "AlertKey.Arn"): THROUGH_SNS,
    ("WatchCapacityRole", "kms:GenerateDataKey*", "AlertKey.Arn"): THROUGH_SNS,
    ("PublishReportRole", "s3:ListBucket", "HistoryBucket.Arn"): {
        "StringLikeIfExists": {
            "s3:prefix": ["audit/*", "evidence/*", "keys/*", "nights/*", "usage/*"]
        }
    },
    ("ProvisionKeysRole", "s3:ListBucket", "HistoryBucket.Arn"): {
        "StringLikeIfExists": {"s3:prefix": "tombstones/*"}
    },
    ("ProvisionKeysRole", "s3:ListBucketVersions", "HistoryBucket.Arn"): {
        "StringLike": {"s3:prefix": "tombstones/*"}
    },
    ("ProvisionKeysRole", "kms:Encrypt", "SealingKey.Arn"): {
        "StringEquals": {"kms:EncryptionContext:purpose": "delivery"}
    },
    ("ProvisionKeysRole", "kms:Decrypt", "SealingKey.Arn"): {
        "StringEquals": {"kms:EncryptionContext:purpose": "tombstone"}
    },
    ("ProvisionKeysRole", "events:PutEvents", "EventBus.Arn"): OUR_EVENTS,
}

_READ = ("BatchGetItem", "GetItem", "Query")
_SWEPT = frozenset({"CONTROL", "COUNT", "KEY", "LEASE", "NIGHT", "OUTBOX", "SHELF"})
_ASKED = frozenset({"ADMISSIONS", "KEY", "OUTBOX", "PLAN", "REQUEST", "SHELF"})
_WATCHED = _SWEPT | {"ADMISSIONS", "ALERTS"}
_PUBLISHED = _SWEPT
_SWEPT_READ = {**dict.fromkeys(_READ, _SWEPT), "BatchGetItem": _SWEPT | {"REQUEST"}}
_OBSERVED = {
    **_SWEPT_READ,
    "DeleteItem": {"CONTROL", "LEASE"},
    "PutItem": {"CONTROL", "LEASE"},
}
_SWEEPING = {
    **_SWEPT_READ,
    "ConditionCheckItem": {"CONTROL"},
    "DeleteItem": {"CONTROL", "KEY", "LEASE", "OUTBOX", "SHELF"},
    "PutItem": {"CONTROL", "KEY", "LEASE", "OUTBOX", "SHELF"},
    "UpdateItem": {"NIGHT"},
}
# By role and mode: the partitions of the ledger that each action may touch.
LEDGER: dict[tuple[str, str], dict[str, AbstractSet[str]]] = {
    ("PullUsageRole", "park"): {name: {"LEASE"} for name in ("DeleteItem", "GetItem", "PutItem")},
    ("ExpireKeysRole", "observe"): _OBSERVED,
    ("ExpireKeysRole", "disable"): _SWEEPING,
    ("ExpireKeysRole", "park"): _SWEEPING,
    ("WatchCapacityRole", "park"): {
        **dict.fromkeys(_READ, _WATCHED),
        "DeleteItem": {"LEASE"},
        "PutItem": {"ALERTS", "COUNT", "LEASE"},
    },
    ("PublishReportRole", "park"): {
        **dict.fromkeys(_READ, _PUBLISHED),
        "DeleteItem": {"LEASE"},
        "PutItem": {"LEASE"},
    },
    ("ProvisionKeysRole", "park"): {
        **dict.fromkeys(_READ, _ASKED | {"CONTROL", "COUNT", "LEASE"}),
        "DeleteItem": {"KEY", "LEASE", "OUTBOX"},
        "PutItem": _ASKED | {"LEASE"},
        "UpdateItem": {"NIGHT"},
    },
}


def rights(role: str, mode: str) -> set[tuple[str, str]]:
    return {
        (action, resource)
        for statement in statements(role, Mode=mode)
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }


def schedules() -> dict[tuple[str, str], dict[str, Any]]:
    """Every schedule, by its function and its own name there."""
    return {
        (name, event_name): event["Properties"]
        for name, function in resources("AWS::Serverless::Function").items()
        for event_name, event in function["Events"].items()
        if event["Type"] == "ScheduleV2"
    }


def request_source() -> dict[str, Any]:
    """How Lambda takes requests from their queue."""
    (event,) = resources("AWS::Serverless::Function")["ProvisionKeysFunction"]["Events"].values()
    assert event["Type"] == "SQS"
    source: dict[str, Any] = event["Properties"]
    return source


def test_logical_ids_are_those_of_the_design() -> None:
    kinds = {name: resource["Type"] for name, resource in TEMPLATE["Resources"].items()}
    assert {name: kinds.get(name) for name in LOGICAL_IDS} == LOGICAL_IDS


def test_outputs_are_those_of_the_design() -> None:
    assert set(TEMPLATE["Outputs"]) == OUTPUTS | MORE_OUTPUTS


def test_what_a_sender_and_a_recipient_need_is_said_with_it() -> None:
    outputs = {name: deployed(output) for name, output in TEMPLATE["Outputs"].items()}
    assert outputs["RequestQueueUrl"]["Value"] == "RequestQueue"
    assert outputs["RequestDeadLetterQueueUrl"]["Value"] == "RequestDeadLetterQueue"
    assert outputs["AuditLogGroupName"]["Value"] == "AuditLog"
    assert "sqs:SendMessage" in outputs["RequestQueueArn"]["Description"]
    assert "kms:Decrypt" in outputs["SealingKeyArn"]["Description"]


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
        "RequestCallsPerSecond": 2,
        "ReplayWindowHours": 36,
        "PullUsageSchedule": "cron(15 2 * * ? *)",
        "PullUsageAgainSchedule": "cron(0,45 3-4 * * ? *)",
        "ExpireKeysSchedule": "cron(15 3-5 * * ? *)",
        "WatchCapacitySchedule": "cron(40 * * * ? *)",
        "PublishReportSchedule": "cron(15 6 * * ? *)",
        "AlertEmail": "",
        "RunbookAddress": "",
        "HttpsForm": "json",
        "LogRetentionDays": 90,
        "HistoryDays": 400,
        "PermissionsBoundaryArn": "",
        "RolePath": "/",
        "Architecture": "arm64",
        "DataKeyArn": "",
        "AccessLogGroups": "",
        "SubnetIds": "",
        "SecurityGroupIds": "",
        "UseFipsEndpoints": "false",
        "AuditLogDays": 400,
        "AuditFolderDays": 400,
        "AuditLock": "none",
        "AuditLogPolicyOn": "account",
        "RequireTls": "true",
    }


def test_both_shares_leave_half_of_the_control_plane_to_deploys() -> None:
    shares = ("NightCallsPerSecond", "RequestCallsPerSecond")
    assert sum(TEMPLATE["Parameters"][name]["Default"] for name in shares) == 5
    assert {TEMPLATE["Parameters"][name]["MinValue"] for name in shares} == {0.1}


def test_a_second_stack_fails_by_a_fixed_name_before_anything_retained_is_made() -> None:
    fixed = {name: p["Name"] for name, p in resources("AWS::SSM::Parameter").items()}
    assert fixed == {"OnlyStack": "/keyjanitor/stack"}
    assert {TEMPLATE["Resources"][name].get("DependsOn") for name in RETAINED} == {"OnlyStack"}


@pytest.mark.parametrize("name", RETAINED)
def test_key_ledger_bucket_and_audit_log_outlive_the_stack(name: str) -> None:
    resource = TEMPLATE["Resources"][name]
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == (
        RETAINED[name],
        "Retain",
    )


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


def lifecycle(**parameters: str) -> dict[str | None, dict[str, Any]]:
    """What becomes of the objects of the history bucket, by their prefix."""
    bucket = resources("AWS::S3::Bucket", **parameters)["HistoryBucket"]
    rules = bucket["LifecycleConfiguration"]["Rules"]
    assert {rule["Status"] for rule in rules} == {"Enabled"}
    return {
        rule.get("Prefix"): {k: v for k, v in rule.items() if k not in ("Id", "Status", "Prefix")}
        for rule in rules
    }


def test_the_history_is_kept_as_long_as_is_said_and_evidence_as_long_as_a_night_looks_back() -> (
    None
):
    history = {
        "ExpirationInDays": "90",
        "NoncurrentVersionExpiration": {"NoncurrentDays": 7},
    }
    remembered = {
        "ExpirationInDays": FORGET_AFTER.days + 1,
        "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
    }
    assert lifecycle(HistoryDays="90") == {
        None: {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}},
        "evidence/": remembered,
        "nights/": remembered,
        "plans/": remembered,
        "partial/": {
            "ExpirationInDays": 2,
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
        },
        "usage/": history,
        "keys/": history,
        "dry-runs/": {
            "ExpirationInDays": 7,
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
        },
        "reports/": history,
        "audit/": {
            "ExpirationInDays": 400,
            "NoncurrentVersionExpiration": {"NoncurrentDays": 400},
        },
    }


def test_audit_folders_and_their_older_versions_are_kept_for_days_of_their_own() -> None:
    kept = lifecycle(AuditFolderDays="2557", HistoryDays="90")["audit/"]
    assert kept == {
        "ExpirationInDays": "2557",
        "NoncurrentVersionExpiration": {"NoncurrentDays": "2557"},
    }


@pytest.mark.parametrize("lock", ["governance", "compliance"])
def test_audit_folders_alone_may_be_locked_and_only_if_that_is_asked_for(lock: str) -> None:
    def retained(**parameters: str) -> list[Any]:
        found = statements("PublishReportRole", **parameters)
        return [
            one["Resource"] for one in found if "s3:PutObjectRetention" in as_list(one["Action"])
        ]

    assert retained() == []
    assert retained(AuditLock=lock) == ["${HistoryBucket.Arn}/audit/*"]
    # A lock of the whole bucket would hold tombstones too, which have to be destroyed on their date.
    bucket = resources("AWS::S3::Bucket", AuditLock=lock)["HistoryBucket"]
    assert not {"ObjectLockEnabled", "ObjectLockConfiguration"} & set(bucket)


def test_no_rule_expires_a_tombstone_or_a_version_of_one() -> None:
    harmless = {"AbortIncompleteMultipartUpload"}  # an upload that was never an object
    reach = {
        prefix
        for prefix, rule in lifecycle().items()
        if rule.keys() - harmless
        and (prefix is None or "tombstones/".startswith(prefix) or prefix.startswith("tombstones/"))
    }
    assert reach == set()


# --- the tables of the history ----------------------------------------------------------------------


def tables(**parameters: str) -> dict[str, dict[str, Any]]:
    """The Glue tables, by their names."""
    made = resources("AWS::Glue::Table", **parameters).values()
    assert {table["DatabaseName"] for table in made} == {"HistoryDatabase"}
    return {table["TableInput"]["Name"]: table["TableInput"] for table in made}


def columns(table: str) -> dict[str, str]:
    """The types of a table's columns, as Athena has them, in their order."""
    return {one["Name"]: one["Type"] for one in tables()[table]["StorageDescriptor"]["Columns"]}


def a_line_of(table: str) -> dict[str, Any]:
    """A row as the code writes it."""
    if table == "keys":
        [line] = key_lines(a_plan(a_key()))
        return line
    usage = a_usage(a_page({KEY_ID: pairs()}))
    evidence, usages = take_evidence(
        TODAY, [UsagePlanAnswer(a_usage_plan(), (KEY_ID,), usage)], None
    )
    [row] = UsageFiles(evidence, usages, None).rows(YESTERDAY, [])
    return row


HIVE_TYPES = {str: "string", bool: "boolean", int: "bigint", list: "array<string>"}
NO_COLUMN = {"facts"}  # an object, whose fields are those of the reason's code


@pytest.mark.parametrize("table", ["usage", "keys"])
def test_a_tables_columns_are_those_of_the_rows_that_are_written(table: str) -> None:
    line = json.loads(json.dumps(a_line_of(table)))
    row = {name: value for name, value in line.items() if name not in NO_COLUMN}
    assert list(columns(table)) == list(row)
    found = {name: HIVE_TYPES[type(value)] for name, value in row.items() if value is not None}
    assert found == {name: columns(table)[name] for name in found}
    # Dates are texts, and so is all that is null in this row.
    assert {columns(table)[name] for name in row.keys() - found.keys()} == {"string"}


@pytest.mark.parametrize("table", ["usage", "keys"])
def test_a_table_reads_its_files_and_finds_its_days_by_their_dates(table: str) -> None:
    made = tables(HistoryDays="123")[table]
    assert made["StorageDescriptor"]["Location"] == f"s3://${{HistoryBucket}}/{table}/"
    assert made["StorageDescriptor"]["SerdeInfo"] == {
        "SerializationLibrary": "org.openx.data.jsonserde.JsonSerDe"
    }
    assert [(key["Name"], key["Type"]) for key in made["PartitionKeys"]] == [("dt", "string")]
    projection = {k: v for k, v in made["Parameters"].items() if k.startswith("projection.")}
    assert projection == {
        "projection.enabled": "true",
        "projection.dt.type": "date",
        "projection.dt.format": "yyyy-MM-dd",
        "projection.dt.range": "NOW-${HistoryDays}DAYS,NOW",
    }


@pytest.mark.parametrize("table", ["usage", "keys"])
def test_every_column_says_what_it_means_and_the_docs_say_the_same(table: str) -> None:
    made = tables()[table]
    said = {
        one["Name"]: one["Comment"]
        for one in (*made["PartitionKeys"], *made["StorageDescriptor"]["Columns"])
    }
    docs = (ROOT / "docs" / "history.md").read_text(encoding="utf-8")
    _, _, rest = docs.partition(f"<!-- table {table} -->\n")
    lines = rest.split("\n\n", maxsplit=1)[0].splitlines()[2:]
    assert [re.findall(r"^\| `(\w+)` \| (.+) \|$", line)[0] for line in lines] == list(said.items())
    assert max(len(comment) for comment in said.values()) <= 255  # as Glue has it


def test_the_database_has_a_name_that_sql_need_not_quote() -> None:
    [database] = resources("AWS::Glue::Database").values()
    assert re.fullmatch(r"[a-z_]+", database["DatabaseInput"]["Name"])
    assert deployed(TEMPLATE["Outputs"]["HistoryDatabaseName"]["Value"]) == "HistoryDatabase"
    # It is one of those names that a second stack would stumble over; it stumbles before.
    assert TEMPLATE["Resources"]["HistoryDatabase"]["DependsOn"] == "OnlyStack"


def test_whoever_administers_the_sealing_key_does_not_thereby_open_what_it_sealed() -> None:
    key = resources("AWS::KMS::Key")["SealingKey"]
    administer = key["KeyPolicy"]["Statement"][0]
    assert key["EnableKeyRotation"] is True
    opens = ("Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKey", "CreateGrant")
    for action in (f"kms:{name}" for name in opens):
        assert not [wide for wide in administer["Action"] if fnmatch(action, wide)]


def test_the_sealing_key_opens_tombstones_to_two_roles_and_a_delivery_to_its_recipient() -> None:
    _, *use = resources("AWS::KMS::Key")["SealingKey"]["KeyPolicy"]["Statement"]
    account = {"AWS": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}
    assert {(s["Effect"], s["Resource"], *s["Principal"].items()) for s in use} == {
        ("Allow", "*", *account.items())
    }
    assert [(as_list(s["Action"]), s["Condition"]) for s in use] == [
        (
            ["kms:Encrypt"],
            {**TOMBSTONES, "ArnEquals": {"aws:PrincipalArn": "ExpireKeysRole.Arn"}},
        ),
        (["kms:Decrypt"], {**TOMBSTONES, "ArnEquals": {"aws:PrincipalArn": TWO_ROLES}}),
        (
            ["kms:Decrypt"],
            {
                "StringEquals": {
                    "kms:EncryptionContext:purpose": "delivery",
                    "kms:EncryptionContext:recipient": "${aws:PrincipalArn}",
                }
            },
        ),
        (
            ["kms:Encrypt"],
            {
                "StringEquals": {"kms:EncryptionContext:purpose": "delivery"},
                "ArnEquals": {"aws:PrincipalArn": "ProvisionKeysRole.Arn"},
            },
        ),
    ]


def test_the_variable_in_the_key_policy_is_left_to_kms() -> None:
    recipients = TEMPLATE["Resources"]["SealingKey"]["Properties"]["KeyPolicy"]["Statement"][3]
    condition = recipients["Condition"]["StringEquals"]
    assert condition["kms:EncryptionContext:recipient"] == "${aws:PrincipalArn}"  # not !Sub


@pytest.mark.parametrize(("role", "mode", "expected"), RIGHTS)
def test_a_role_can_do_what_its_function_does_in_this_mode_and_nothing_else(
    role: str, mode: str, expected: set[tuple[str, str]]
) -> None:
    assert rights(role, mode) == expected


def test_every_function_has_a_role_of_its_own_in_the_table() -> None:
    roles = {f["Role"] for f in resources("AWS::Serverless::Function").values()}
    assert roles == {f"{role}.Arn" for role in ROLES}
    assert set(resources("AWS::IAM::Role")) == {*ROLES, "ScheduleRole"}


def test_what_is_attached_to_a_role_is_there_before_its_function() -> None:
    attached = resources("AWS::IAM::Policy")
    assert {name: policy["Roles"] for name, policy in attached.items()} == {
        "ExpireKeysSealing": ["ExpireKeysRole"],
        "ProvisionKeysSealing": ["ProvisionKeysRole"],
    }
    assert TEMPLATE["Resources"]["ExpireKeysFunction"]["DependsOn"] == "ExpireKeysSealing"
    assert TEMPLATE["Resources"]["ProvisionKeysFunction"]["DependsOn"] == "ProvisionKeysSealing"


def test_nobody_else_puts_events_on_the_bus() -> None:
    """A Deny wins over every right that somebody of the account has (IAM reference)."""
    (policy,) = resources("AWS::Events::EventBusPolicy").values()
    assert policy == {
        "EventBusName": "EventBus",
        "StatementId": "OnlyKeyjanitorPutsEvents",
        "Statement": {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "events:PutEvents",
            "Resource": "EventBus.Arn",
            "Condition": {"ArnNotEquals": {"aws:PrincipalArn": TWO_ROLES}},
        },
    }
    putting = {
        role for role in ROLES if ("events:PutEvents", "EventBus.Arn") in rights(role, "park")
    }
    assert {f"{role}.Arn" for role in putting} == set(TWO_ROLES)


def test_roles_hold_no_managed_policy_and_only_lambda_takes_them() -> None:
    for name, role in resources("AWS::IAM::Role").items():
        assert "ManagedPolicyArns" not in role
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        service = "scheduler" if name == "ScheduleRole" else "lambda"
        assert trust["Principal"] == {"Service": f"{service}.amazonaws.com"}


def test_rights_are_narrowed_where_an_arn_cannot() -> None:
    found = {
        (role, action, resource): statement["Condition"]
        for role in ROLES
        for statement in statements(role, Mode="park")
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
        if "Condition" in statement and resource != "Ledger.Arn"
    }
    assert found == CONDITIONS


@pytest.mark.parametrize(("role", "mode"), LEDGER)
def test_a_role_reads_and_writes_these_partitions_of_the_ledger_and_no_others(
    role: str, mode: str
) -> None:
    found: dict[str, set[str]] = {}
    for statement in statements(role, Mode=mode):
        if statement["Resource"] != "Ledger.Arn":
            continue
        assert list(statement["Condition"]) == ["ForAllValues:StringEquals"]
        ((key, partitions),) = statement["Condition"]["ForAllValues:StringEquals"].items()
        assert key == "dynamodb:LeadingKeys"
        for action in as_list(statement["Action"]):
            found.setdefault(action.removeprefix("dynamodb:"), set()).update(partitions)
    assert found == LEDGER[role, mode]


def test_in_observe_a_sweeps_role_writes_no_row_of_a_key_or_a_request() -> None:
    written = {
        partition
        for action, partitions in LEDGER["ExpireKeysRole", "observe"].items()
        if action in ("PutItem", "DeleteItem", "UpdateItem")
        for partition in partitions
    }
    assert written == {"CONTROL", "LEASE"}


def test_every_statement_says_why() -> None:
    sids = [s.get("Sid", "") for role, mode, _ in RIGHTS for s in statements(role, Mode=mode)]
    assert [sid for sid in sids if not re.fullmatch(r"[A-Z][A-Za-z]{8,}", sid)] == []


def test_schedules_may_start_the_scheduled_functions_and_report_what_could_not_start() -> None:
    assert rights("ScheduleRole", "park") == {
        *(("lambda:InvokeFunction", f"{function}.Arn") for function in SCHEDULED),
        ("sqs:SendMessage", "RunDeadLetterQueue.Arn"),
    }
    assert {schedule["RoleArn"] for schedule in schedules().values()} == {"ScheduleRole.Arn"}
    (trust,) = resources("AWS::IAM::Role")["ScheduleRole"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": "AWS::AccountId"}}


# --- a landing zone ------------------------------------------------------------------------------

KEY = "arn:aws:kms:eu-west-1:123456789012:key/1a2b"


def test_every_role_is_made_under_the_path() -> None:
    assert {role["Path"] for role in resources("AWS::IAM::Role").values()} == {"/"}
    made = resources("AWS::IAM::Role", RolePath="/teams/platform/").values()
    assert {role["Path"] for role in made} == {"/teams/platform/"}


def test_all_that_is_kept_is_encrypted_with_a_key_of_ones_own_if_there_is_one() -> None:
    own = {"DataKeyArn": KEY}
    ledger = resources("AWS::DynamoDB::Table", **own)["Ledger"]
    assert ledger["SSESpecification"] == {
        "SSEEnabled": True,
        "SSEType": "KMS",
        "KMSMasterKeyId": KEY,
    }
    bucket = resources("AWS::S3::Bucket", **own)["HistoryBucket"]
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"] == [
        {
            "ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY},
            "BucketKeyEnabled": True,
        }
    ]
    for queue in resources("AWS::SQS::Queue", **own).values():
        assert (queue["KmsMasterKeyId"], "SqsManagedSseEnabled" in queue) == (KEY, False)
    assert {log["KmsKeyId"] for log in resources("AWS::Logs::LogGroup", **own).values()} == {KEY}
    assert not any("KmsKeyId" in log for log in resources("AWS::Logs::LogGroup").values())


@pytest.mark.parametrize("role", [*ROLES, "ScheduleRole"])
def test_a_key_of_ones_own_may_be_used_through_the_services_that_encrypt_with_it(
    role: str,
) -> None:
    more = [one for one in statements(role, DataKeyArn=KEY) if one["Resource"] == KEY]
    assert [one["Action"] for one in more] == [["kms:Decrypt", "kms:GenerateDataKey*"]]
    services = as_list(more[0]["Condition"]["StringEquals"]["kms:ViaService"])
    of_functions = ["dynamodb", "s3", "sqs"]
    used = ["sqs"] if role == "ScheduleRole" else of_functions
    assert services == [f"{one}.${{AWS::Region}}.${{AWS::URLSuffix}}" for one in used]


def test_in_subnets_a_function_gets_its_network_interfaces_and_no_other_right() -> None:
    inside = {"SubnetIds": "subnet-1,subnet-2", "SecurityGroupIds": "sg-1"}
    shared = deployed(TEMPLATE["Globals"]["Function"], **inside)
    assert shared["VpcConfig"] == {"SubnetIds": "subnet-1,subnet-2", "SecurityGroupIds": "sg-1"}
    for role in ROLES:
        before = [one["Sid"] for one in statements(role)]
        more = [one for one in statements(role, **inside) if one["Sid"] not in before]
        assert {action for one in more for action in one["Action"]} == {
            "ec2:AssignPrivateIpAddresses",
            "ec2:CreateNetworkInterface",
            "ec2:DeleteNetworkInterface",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSubnets",
            "ec2:UnassignPrivateIpAddresses",
        }


def test_the_audit_log_itself_lets_eventbridge_in_where_an_account_has_no_room() -> None:
    on_log = {"AuditLogPolicyOn": "log-group"}
    assert resources("AWS::Logs::ResourcePolicy", **on_log) == {}
    (of_account,) = resources("AWS::Logs::ResourcePolicy").values()
    wanted = json.loads(of_account["PolicyDocument"])["Statement"]
    found = resources("AWS::Logs::LogGroup", **on_log)["AuditLog"]["ResourcePolicyDocument"]
    assert [one["Sid"] for one in found["Statement"]] == [one["Sid"] for one in wanted]
    for one, other in zip(found["Statement"], wanted, strict=True):
        assert (one["Principal"], one["Action"]) == (other["Principal"], other["Action"])
    (rule,) = resources("AWS::Events::Rule").values()
    (bus,) = resources("AWS::Events::EventBus").values()
    assert (rule["Name"], bus["Name"]) == ("${AWS::StackName}-audit", "AWS::StackName")
    arn = found["Statement"][1]["Condition"]["ArnEquals"]["aws:SourceArn"]
    assert arn.endswith(":rule/${AWS::StackName}/${AWS::StackName}-audit")
    assert "ResourcePolicyDocument" not in resources("AWS::Logs::LogGroup")["AuditLog"]


def test_nothing_fixes_what_differs_between_the_partitions_of_aws() -> None:
    text = (ROOT / "template.yaml").read_text(encoding="utf-8")
    gov = text.replace("${AWS::Partition}", "aws-us-gov").replace("${AWS::Region}", "us-gov-west-1")
    assert re.findall(r"arn:aws:\S*", gov) == []
    # What is left of amazonaws.com are principals, whose names are the same in every partition.
    hosts = [line.strip() for line in gov.splitlines() if ".amazonaws.com" in line]
    assert [line for line in hosts if "Service" not in line] == []


@pytest.mark.parametrize("mode", ["observe", "disable", "park"])
def test_no_right_is_wider_than_aws_makes_it(mode: str) -> None:
    granted = {right for role in ROLES for right in rights(role, mode)}
    anywhere = {action for action, resource in granted if resource == "*"}
    assert anywhere == {"tag:GetResources", "cloudformation:DescribeStackResources"}
    assert {action for action, _ in granted if "*" in action} == {"kms:GenerateDataKey*"}


def test_a_permissions_boundary_bounds_every_role() -> None:
    boundary = {"PermissionsBoundaryArn": "arn:aws:iam::123456789012:policy/boundary"}
    bounded = resources("AWS::IAM::Role", **boundary).values()
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
        "NothingWithoutTlsRequestDeadLetterQueuePolicy",
        "NothingWithoutTlsRequestQueuePolicy",
        "NothingWithoutTlsRunDeadLetterQueuePolicy",
    }


def test_a_queue_has_one_policy_and_it_is_about_that_queue() -> None:
    policies = resources("AWS::SQS::QueuePolicy")
    assert sorted(policy["Queues"] for policy in policies.values()) == sorted(
        [queue] for queue in resources("AWS::SQS::Queue")
    )
    for policy in policies.values():
        (queue,) = policy["Queues"]
        found = {statement["Resource"] for statement in policy["PolicyDocument"]["Statement"]}
        assert found == {f"{queue}.Arn"}


def test_only_the_audit_rule_is_let_in_from_outside_the_account() -> None:
    allowed = {
        name: [s for s in policy["PolicyDocument"]["Statement"] if s["Effect"] == "Allow"]
        for name, policy in resources("AWS::SQS::QueuePolicy", RequireTls="false").items()
    }
    assert allowed == {
        "RunDeadLetterQueuePolicy": [
            {
                "Sid": "TheAuditRuleSendsWhatTheLogDidNotTake",
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": "RunDeadLetterQueue.Arn",
                "Condition": {"ArnEquals": {"aws:SourceArn": "AuditRule.Arn"}},
            }
        ]
    }


def test_every_queue_is_encrypted_and_keeps_a_message_for_14_days() -> None:
    for queue in resources("AWS::SQS::Queue").values():
        assert queue["SqsManagedSseEnabled"] is True
        assert queue["MessageRetentionPeriod"] == FOURTEEN_DAYS


def test_a_request_is_tried_ten_times_and_then_is_a_dead_letter() -> None:
    queues = resources("AWS::SQS::Queue")
    assert {name: queue.get("RedrivePolicy") for name, queue in queues.items()} == {
        "RunDeadLetterQueue": None,
        "RequestDeadLetterQueue": None,
        "RequestQueue": {
            "deadLetterTargetArn": "RequestDeadLetterQueue.Arn",
            "maxReceiveCount": 10,
        },
    }


def test_a_message_stays_hidden_for_six_times_as_long_as_a_run_may_take_and_for_its_batch() -> None:
    function = resources("AWS::Serverless::Function")["ProvisionKeysFunction"]
    queue = resources("AWS::SQS::Queue")["RequestQueue"]
    assert function["Timeout"] == 300
    window = request_source()["MaximumBatchingWindowInSeconds"]
    assert queue["VisibilityTimeout"] == 6 * function["Timeout"] + window


def test_requests_come_in_large_batches_and_fail_one_by_one() -> None:
    assert request_source() == {
        "Queue": "RequestQueue.Arn",
        "BatchSize": 500,
        "MaximumBatchingWindowInSeconds": 5,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": 2},
    }


def test_as_many_copies_share_the_calls_as_run_at_once_with_one_run_for_an_operator() -> None:
    function = resources("AWS::Serverless::Function", RequestCallsPerSecond="4")[
        "ProvisionKeysFunction"
    ]
    variables = function["Environment"]["Variables"]
    assert variables["CALLS_PER_SECOND"] == "4"
    assert int(variables["COPIES"]) == request_source()["ScalingConfig"]["MaximumConcurrency"] + 1


def test_a_schedule_starts_each_of_these_functions_and_names_its_instant() -> None:
    assert {function for function, _ in schedules()} == set(SCHEDULED)
    for (function, _), schedule in schedules().items():
        more = {"unless_finished": True} if function == "ExpireKeysFunction" else {}
        assert json.loads(schedule["Input"]) == {"time": "<aws.scheduler.scheduled-time>", **more}
        assert schedule["ScheduleExpressionTimezone"] == "UTC"
        assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}


def test_keys_are_counted_at_a_minute_that_no_function_of_the_night_works_in() -> None:
    functions = resources("AWS::Serverless::Function")

    def minutes(function: str, schedule: str) -> set[int]:
        [listed] = re.findall(r"^cron\(([\d,]+) ", schedule)
        lasts = functions[function].get("Timeout", TEMPLATE["Globals"]["Function"]["Timeout"]) // 60
        return {
            (int(minute) + after) % 60 for minute in listed.split(",") for after in range(lasts)
        }

    of = {name: minutes(name[0], s["ScheduleExpression"]) for name, s in schedules().items()}
    counted = of.pop(("WatchCapacityFunction", "Hourly"))
    assert not any(counted & others for others in of.values())
    swept = of.pop(("ExpireKeysFunction", "Nightly"))
    assert not swept & of["PullUsageFunction", "Again"]  # nor beside a reading that goes on


def test_in_the_sandbox_no_schedule_starts_anything_however_it_is_deployed() -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    overrides = config["local"]["deploy"]["parameters"]["parameter_overrides"]
    assert dict(one.split("=", 1) for one in overrides) == LOCAL | {"Mode": "park"}
    parameters = {name for name in TEMPLATE["Parameters"] if name.endswith("Schedule")}
    assert len(parameters) == len(schedules())
    assert {LOCAL[name] for name in parameters} == {"cron(0 0 1 1 ? 2199)"}


def test_schedules_omit_their_names_are_retried_and_have_dead_letters() -> None:
    for schedule in schedules().values():
        assert schedule["OmitName"] is True
        assert schedule["RetryPolicy"]["MaximumRetryAttempts"] > 0
        assert schedule["DeadLetterConfig"] == {"Arn": "RunDeadLetterQueue.Arn"}


def test_runs_that_fail_for_good_become_dead_letters() -> None:
    found = {
        name: (invoke["MaximumRetryAttempts"], invoke["DestinationConfig"]["OnFailure"])
        for name, f in resources("AWS::Serverless::Function").items()
        if (invoke := f.get("EventInvokeConfig"))
    }
    queue = {"Type": "SQS", "Destination": "RunDeadLetterQueue.Arn"}
    assert found == {
        "PullUsageFunction": (2, queue),
        "ExpireKeysFunction": (0, queue),
        "WatchCapacityFunction": (0, queue),
        "PublishReportFunction": (2, queue),
    }


def test_every_function_writes_to_a_log_group_with_retention() -> None:
    groups = resources("AWS::Logs::LogGroup", LogRetentionDays="30")
    used = {f["LoggingConfig"]["LogGroup"] for f in resources("AWS::Serverless::Function").values()}
    assert used == set(groups) - {"AuditLog"}
    assert {groups[name]["RetentionInDays"] for name in used} == {"30"}


def test_every_event_of_ours_and_no_other_goes_to_the_audit_log() -> None:
    (rule,) = resources("AWS::Events::Rule").values()
    assert (rule["Name"], rule["EventBusName"]) == ("${AWS::StackName}-audit", "EventBus")
    assert rule["EventPattern"] == {"source": ["keyjanitor"]}
    assert rule.get("State", "ENABLED") == "ENABLED"
    # The ARN that !GetAtt gives ends with :* and is not a target's.
    logs = "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group"
    assert rule["Targets"] == [
        {
            "Id": "audit-log",
            "Arn": f"{logs}:${{AuditLog}}",
            "DeadLetterConfig": {"Arn": "RunDeadLetterQueue.Arn"},
        }
    ]


def test_the_audit_log_is_kept_for_400_days_and_in_no_later_stacks_way() -> None:
    log = resources("AWS::Logs::LogGroup", LogRetentionDays="30")["AuditLog"]
    assert log["RetentionInDays"] == 400
    longer = resources("AWS::Logs::LogGroup", AuditLogDays="3653")["AuditLog"]
    assert longer["RetentionInDays"] == "3653"
    stack_id = {"Fn::Select": [2, {"Fn::Split": ["/", "AWS::StackId"]}]}
    assert log["LogGroupName"] == {"Fn::Join": ["/", ["/aws/events", "AWS::StackName", stack_id]]}


def test_only_eventbridge_writes_to_the_audit_log_and_only_for_our_rule() -> None:
    (policy,) = resources("AWS::Logs::ResourcePolicy").values()
    document = json.loads(policy["PolicyDocument"])
    made = {
        "Effect": "Allow",
        "Principal": {"Service": ["events.amazonaws.com", "delivery.logs.amazonaws.com"]},
        "Resource": "${AuditLog.Arn}",
    }
    assert [{k: v for k, v in s.items() if k != "Sid"} for s in document["Statement"]] == [
        {**made, "Action": "logs:CreateLogStream"},
        {
            **made,
            "Action": "logs:PutLogEvents",
            "Condition": {"ArnEquals": {"aws:SourceArn": "${AuditRule.Arn}"}},
        },
    ]


def test_alarms_watch_what_must_not_stay_unseen() -> None:
    watched = {
        (a["Namespace"], a["MetricName"], a["Dimensions"][0]["Value"], a["TreatMissingData"])
        for a in resources("AWS::CloudWatch::Alarm").values()
    }
    assert watched == {
        ("AWS/Lambda", "Errors", "PullUsageFunction", "notBreaching"),
        ("AWS/Lambda", "Errors", "ExpireKeysFunction", "notBreaching"),
        ("AWS/Lambda", "Errors", "WatchCapacityFunction", "notBreaching"),
        ("AWS/Lambda", "Errors", "PublishReportFunction", "notBreaching"),
        ("AWS/Lambda", "Errors", "ProvisionKeysFunction", "notBreaching"),
        ("AWS/SQS", "ApproximateAgeOfOldestMessage", "RequestQueue.QueueName", "notBreaching"),
        (
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            "RequestDeadLetterQueue.QueueName",
            "notBreaching",
        ),
        (
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            "RunDeadLetterQueue.QueueName",
            "notBreaching",
        ),
        ("AWS/Events", "FailedInvocations", "${AWS::StackName}-audit", "notBreaching"),
        ("AWS/Events", "InvocationsFailedToBeSentToDlq", "${AWS::StackName}-audit", "notBreaching"),
        ("keyjanitor", "EvidenceWritten", "keyjanitor", "breaching"),
        ("keyjanitor", "SweepFinished", "keyjanitor", "breaching"),
        ("keyjanitor", "CapacityCounted", "keyjanitor", "breaching"),
        ("keyjanitor", "QuotaShare", "keyjanitor", "ignore"),
        ("keyjanitor", "DaysToLimit", "keyjanitor", "notBreaching"),
        ("keyjanitor", "UnreadPlans", "keyjanitor", "notBreaching"),
        ("keyjanitor", "RequestsLeft", "keyjanitor", "notBreaching"),
        ("keyjanitor", "StepsFailed", "keyjanitor", "notBreaching"),
        ("keyjanitor", "TombstonesUnopened", "keyjanitor", "notBreaching"),
        ("keyjanitor", "UntoldDays", "keyjanitor", "ignore"),
    }


def alarm_texts() -> dict[str, list[str]]:
    """The lines of each alarm's description, as a stack with long names has them."""
    names = {
        "AWS::AccountId": "123456789012",
        "AWS::Region": "ap-southeast-2",
        "AWS::StackName": "keyjanitor-of-the-platform",
        "SealingKey": "1a2b3c4d-5e6f-7a8b-9c0d-1e2f3a4b5c6d",
    }
    queue = "keyjanitor-of-the-platform-RequestDeadLetterQueue-1A2B3C4D5E6F"
    for name in ("RequestDeadLetterQueue", "RunDeadLetterQueue"):
        names[name] = f"https://sqs.ap-southeast-2.amazonaws.com/123456789012/{queue}"
        names[f"{name}.Arn"] = f"arn:aws:sqs:ap-southeast-2:123456789012:{queue}"
    found = {}
    for alarm, properties in resources("AWS::CloudWatch::Alarm").items():
        text = properties["AlarmDescription"]
        for name, value in names.items():
            text = text.replace(f"${{{name}}}", value)
        assert "${" not in text
        assert len(text) <= 1024, alarm  # more does CloudWatch not take
        found[alarm] = text.splitlines()
    return found


def test_an_alarm_says_where_what_until_when_and_what_to_type() -> None:
    for alarm, (what, wait, command, *_) in alarm_texts().items():
        assert what.startswith("keyjanitor in 123456789012 ap-southeast-2: "), alarm
        assert re.match(
            r"Cannot wait: act now|Can wait (until \d\d:\d\d UTC|for (an hour|a week))", wait
        )
        assert re.fullmatch(
            r"keyjanitor (status|plan|logs [a-z_]+|read|sweep) --stack keyjanitor-of-the-platform "
            "--region ap-southeast-2",
            command,
        )


def test_alarms_call_someone_and_a_log_command_has_a_filter() -> None:
    for name, alarm in resources("AWS::CloudWatch::Alarm").items():
        assert alarm["AlarmActions"] == ["AlertTopic"]
        for line in alarm_texts()[name]:
            assert "sam remote invoke" not in line
            if "sam logs" in line:
                assert re.search(r" --name \w+Function --filter '[^']+'$", line), name


def test_a_request_that_waits_for_15_minutes_and_any_dead_letter_is_told() -> None:
    alarms = resources("AWS::CloudWatch::Alarm")
    found = {
        name: (a["Statistic"], a["Period"] * a["EvaluationPeriods"], a["Threshold"])
        for name, a in alarms.items()
        if a["Namespace"] == "AWS/SQS"
    }
    assert found == {
        "RequestsOldAlarm": ("Maximum", 300, 15 * 60),
        "RequestDeadLettersAlarm": ("Maximum", 300, 0),
        "RunDeadLetterAlarm": ("Maximum", 300, 0),
    }
    over = {a["ComparisonOperator"] for a in alarms.values() if a["Namespace"] == "AWS/SQS"}
    assert over == {"GreaterThanThreshold"}


def test_the_alarm_on_dead_requests_says_how_to_look_at_them_and_how_to_send_them_back() -> None:
    told = resources("AWS::CloudWatch::Alarm")["RequestDeadLettersAlarm"]["AlarmDescription"]
    look = "aws sqs receive-message --queue-url ${RequestDeadLetterQueue}"
    send_back = "aws sqs start-message-move-task --source-arn ${RequestDeadLetterQueue.Arn}"
    assert 0 < told.index(look) < told.index(send_back)


def test_a_night_that_did_not_run_is_missed_within_26_hours() -> None:
    alarms = resources("AWS::CloudWatch::Alarm")
    for name in ("NoEvidenceAlarm", "NoSweepAlarm"):
        assert alarms[name]["Period"] * alarms[name]["EvaluationPeriods"] == 26 * 3600


def when(alarm: str) -> tuple[str, str, float, int, int]:
    """When an alarm stands, without which metric it watches."""
    a = resources("AWS::CloudWatch::Alarm")[alarm]
    assert "DatapointsToAlarm" not in a  # all of them
    return (
        a["Statistic"],
        a["ComparisonOperator"],
        a["Threshold"],
        a["Period"],
        a["EvaluationPeriods"],
    )


def test_three_hours_without_a_count_are_missed_and_their_end_is_told() -> None:
    # By the quarter: AWS looks two more periods back, which by the hour would be two more hours.
    assert when("NoCountAlarm") == ("Sum", "LessThanThreshold", 1, 900, 3 * 4)
    assert resources("AWS::CloudWatch::Alarm")["NoCountAlarm"]["OKActions"] == ["AlertTopic"]


def test_the_top_level_and_the_last_mark_of_the_shipped_policy_have_an_alarm() -> None:
    top, last = SHIPPED.alerts.levels[-1], SHIPPED.alerts.days_to_limit[-1]
    over, under = "GreaterThanOrEqualToThreshold", "LessThanThreshold"
    assert (top, last) == (max(SHIPPED.alerts.levels), min(SHIPPED.alerts.days_to_limit))
    together = "levels and days_to_limit in policy.toml and the alarms in template.yaml go together"
    assert when("QuotaShareAlarm") == ("Maximum", over, round(top * 100, 6), 3600, 1), together
    assert when("DaysToLimitAlarm") == ("Minimum", under, last, 3600, 1), together
    told = {
        name: alarm["AlarmDescription"]
        for name, alarm in resources("AWS::CloudWatch::Alarm").items()
    }
    assert f"{top:.0%}".replace("%", " %") in told["QuotaShareAlarm"]
    assert f"less than {last} days" in told["DaysToLimitAlarm"]


def test_a_plan_that_is_unread_on_two_nights_running_is_told() -> None:
    # The least of a day: readings are not 24 hours apart to the minute, and two may fall into one.
    assert when("UnreadPlansAlarm") == ("Minimum", "GreaterThanThreshold", 0, 24 * 3600, 2)


def test_a_step_that_fails_on_two_days_running_is_told_and_one_that_fails_by_chance_is_not() -> (
    None
):
    # The most of a day: a run that only observes, or a hold, puts a zero beside the night's sweeps.
    assert when("StepsFailedAlarm") == ("Maximum", "GreaterThanThreshold", 0, 24 * 3600, 2)


def test_an_event_or_digest_that_waits_since_yesterday_is_told() -> None:
    # The sweeps of its own night try again; the count of every hour measures it.
    assert when("UntoldAlarm") == ("Maximum", "GreaterThanThreshold", 0, 3600, 1)


def test_requests_that_keep_failing_are_told_though_the_queues_age_leaves_them_out() -> None:
    # As long as the longest wait between two tries, or it would come and go with each of them.
    tries = [Message("m", "{}", "s", None, receive_count=n) for n in range(1, 11)]
    longest = max(one.retry_after_s for one in tries)
    assert when("RequestsLeftAlarm") == ("Sum", "GreaterThanThreshold", 0, longest, 3)


def test_no_alarm_looks_further_back_than_aws_allows() -> None:
    for name, alarm in resources("AWS::CloudWatch::Alarm").items():
        longest = (7 if alarm["Period"] >= 3600 else 1) * 24 * 3600
        assert alarm["Period"] * alarm["EvaluationPeriods"] <= longest, name


# --- metrics and the dashboard ----------------------------------------------------------------------


def emitted() -> set[str]:
    """The names of all metrics that the functions put."""
    services = ROOT / "layers/keyjanitor/keyjanitor/services"
    files = [*(ROOT / "functions").glob("*/app.py"), *services.glob("*/run.py")]
    apps = [path.read_text(encoding="utf-8") for path in files]
    quoted_or_named = r'"((?:[A-Z][a-z]+)+)"|\b((?:[A-Z][a-z]+)+)='
    names = {name for app in apps for pair in re.findall(quoted_or_named, app) for name in pair}
    all_known = Situation(
        TODAY, CountRow(TODAY, 1), yesterday=None, forecast=Forecast(Growth(1, 1, 1), 1, 1, 1)
    )
    return (names - {""}) | set(
        metrics_of(CapacityReading(all_known, regret=1.0, evidence_age=1), SHIPPED)
    )


def widgets() -> list[dict[str, Any]]:
    """What the dashboard shows, with its titles; physical ids stand as they do in the template."""
    body: dict[str, Any] = json.loads(
        resources("AWS::CloudWatch::Dashboard")["Dashboard"]["DashboardBody"]
    )
    found: list[dict[str, Any]] = body["widgets"]
    return found


def lines_of(*metrics: str) -> dict[str, set[float]]:
    """The horizontal lines of the widgets whose only metrics are these, by the metric."""
    found: dict[str, set[float]] = {}
    for widget in (one["properties"] for one in widgets()):
        shown = [metric[1] for metric in widget["metrics"] if len(metric) > 1]
        if len(shown) == 1 and shown[0] in metrics:
            assert shown[0] not in found
            horizontal = widget.get("annotations", {}).get("horizontal", [])
            assert all(line["label"] for line in horizontal)
            found[shown[0]] = {line["value"] for line in horizontal}
    return found


def test_every_metric_of_ours_that_an_alarm_watches_is_one_that_a_function_puts() -> None:
    alarms = resources("AWS::CloudWatch::Alarm").values()
    ours = [a for a in alarms if a["Namespace"] == "keyjanitor"]
    assert {a["MetricName"] for a in ours} <= emitted()
    of_powertools = [{"Name": "service", "Value": "keyjanitor"}]
    assert [a["Dimensions"] for a in ours] == [of_powertools] * len(ours)


def test_the_dashboard_shows_metrics_that_there_are() -> None:
    aws = {
        *(
            ("AWS/Lambda", name, "FunctionName", f"${{{function}}}")
            for name in ("Errors", "Duration")
            for function in FUNCTIONS
        ),
        ("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", "${RequestQueue.QueueName}"),
        *(
            ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", f"${{{q}.QueueName}}")
            for q in ("RequestDeadLetterQueue", "RunDeadLetterQueue")
        ),
    }
    ours = {("keyjanitor", name, "service", "keyjanitor") for name in emitted()}
    shown = {
        tuple(metric[:4])
        for widget in widgets()
        for metric in widget["properties"]["metrics"]
        if len(metric) > 1
    }
    assert shown <= aws | ours
    assert aws <= shown
    # The rest is what sweeps count for themselves.
    assert emitted() - {metric[1] for metric in shown} == {"Keys"}


def test_an_expression_names_the_metrics_beside_it() -> None:
    expressions = [
        (metric[0]["expression"], {m[4].get("id") for m in widget["properties"]["metrics"][:-1]})
        for widget in widgets()
        for metric in widget["properties"]["metrics"]
        if len(metric) == 1
    ]
    assert expressions == [("all - warned - disabled", {"all", "warned", "disabled"})]


def test_every_level_and_mark_of_the_shipped_policy_is_a_line() -> None:
    quota, alerts = SHIPPED.service_quota, SHIPPED.alerts
    assert lines_of("ApiKeys", "QuotaShare", "DaysToLimit", "UsagePlans") == {
        "ApiKeys": {quota, *(round(level * quota) for level in alerts.levels)},
        "QuotaShare": {100, *(round(level * 100, 6) for level in alerts.levels)},
        "DaysToLimit": set(alerts.days_to_limit),
        "UsagePlans": {300},
    }


def test_the_dashboard_fills_its_24_columns_and_nothing_lies_on_anything() -> None:
    taken = [
        (x, y)
        for widget in widgets()
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    height = 1 + max(y for _, y in taken)
    assert sorted(taken) == [(x, y) for x in range(24) for y in range(height)]


def test_every_widget_has_a_title_and_a_period_that_four_weeks_are_shown_by() -> None:
    body = json.loads(resources("AWS::CloudWatch::Dashboard")["Dashboard"]["DashboardBody"])
    assert (body["start"], body["periodOverride"]) == ("-P28D", "inherit")
    titles = [widget["properties"]["title"] for widget in widgets()]
    assert len(set(titles)) == len(titles)
    for widget in widgets():
        assert widget["type"] == "metric"
        assert widget["properties"]["period"] in (3600, 86400)
        assert widget["properties"]["region"] == "${AWS::Region}"


def test_alarms_may_publish_to_the_encrypted_topic() -> None:
    topic = resources("AWS::SNS::Topic")["AlertTopic"]
    key = resources("AWS::KMS::Key")["AlertKey"]
    policy = resources("AWS::SNS::TopicPolicy")["AlertTopicPolicy"]
    assert topic["KmsMasterKeyId"] == "AlertKey.Arn"
    for statements_ in (key["KeyPolicy"]["Statement"], policy["PolicyDocument"]["Statement"]):
        assert {"Service": "cloudwatch.amazonaws.com"} in [s["Principal"] for s in statements_]


def test_the_topics_policy_lets_the_accounts_roles_publish_and_see_who_subscribes() -> None:
    policy = resources("AWS::SNS::TopicPolicy")["AlertTopicPolicy"]
    account, *_ = policy["PolicyDocument"]["Statement"]
    assert account["Principal"] == {"AWS": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}
    needed = {action for action, resource in WATCH_CAPACITY if resource == "AlertTopic"}
    assert needed <= set(account["Action"])


def test_mail_is_sent_only_to_somebody() -> None:
    assert resources("AWS::SNS::Subscription") == {}
    (subscription,) = resources("AWS::SNS::Subscription", AlertEmail="api@example.org").values()
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "api@example.org")


def test_the_template_has_a_function_for_every_group_of_settings() -> None:
    assert set(resources("AWS::Serverless::Function")) == set(FUNCTIONS)
    assert set(settings.REQUIRED) == set(FUNCTIONS.values())


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
                "AWS_USE_FIPS_ENDPOINT": "false",
                "POWERTOOLS_SERVICE_NAME": "keyjanitor",
                "POWERTOOLS_METRICS_NAMESPACE": "keyjanitor",
                "POWERTOOLS_LOG_LEVEL": "INFO",
                "POWERTOOLS_LOGGER_LOG_EVENT": "false",
            }
        },
    }


def test_the_layer_holds_all_that_the_functions_import_and_the_tests_run_with_it() -> None:
    def pins(path: str) -> dict[str, str]:
        lines = (ROOT / path).read_text()
        return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lines, re.MULTILINE))

    layer = pins("layers/keyjanitor/requirements.txt")
    assert set(layer) == {
        "aws-lambda-powertools",
        "boto3",
        "botocore",
        "fastjsonschema",
        "jmespath",
        "python-dateutil",
        "s3transfer",
        "six",
        "typing-extensions",
        "urllib3",
    }
    assert layer.items() <= pins("requirements/dev.txt").items()
    assert not {"aws-lambda-powertools", "fastjsonschema"} & pins("requirements/sandbox.txt").keys()


def test_the_layer_keeps_the_models_of_the_services_that_the_functions_call() -> None:
    makefile = (ROOT / "layers/keyjanitor/Makefile").read_text("utf-8")
    kept = re.search(r"^SERVICES := (.*)$", makefile, re.MULTILINE)
    adapters = ROOT / "layers/keyjanitor/keyjanitor/adapters"
    made = (
        name
        for path in adapters.glob("*.py")
        for name in re.findall(r"client\(\s*\"([a-z0-9-]+)\"", path.read_text("utf-8"))
    )
    assert kept is not None
    assert kept[1].split() == sorted(set(made))
