"""Talks to CloudFormation, Lambda and CloudWatch Logs, as the person: their profile, Region and rights."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from urllib.parse import quote

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
    ReadTimeoutError,
)

from keyjanitor.adapters.clients import DENIED, code_of, whole_answers
from keyjanitor_cli.errors import CommandFailed, FunctionFailed, WrongUse

DEFAULT_STACK = "keyjanitor"
SDK = boto3.__version__
LONGEST_RUN = 900  # seconds that a function of the stack may take
OUTLASTING = 60  # seconds more that its answer may take to come
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
UNKNOWN = frozenset(
    {"UnrecognizedClientException", "InvalidClientTokenId", "SignatureDoesNotMatch"}
)
# Outputs that only this stack has: by them it is found under any name.
MARKS = frozenset({"ExpireKeysFunctionName", "LedgerTableName", "HistoryBucketName"})


class Function(StrEnum):
    """A function of the stack, by the stack's output that names it."""

    PULL_USAGE = "PullUsageFunctionName"
    EXPIRE_KEYS = "ExpireKeysFunctionName"
    WATCH_CAPACITY = "WatchCapacityFunctionName"
    PUBLISH_REPORT = "PublishReportFunctionName"
    PROVISION_KEYS = "ProvisionKeysFunctionName"

    @property
    def word(self) -> str:
        """What people call it: expire_keys."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack as CloudFormation describes it, in an account and a Region."""

    name: str
    region: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]
    status: str

    def output(self, name: str) -> str:
        """The value of an output; raises CommandFailed if the stack has none of that name."""
        try:
            return self.outputs[name]
        except KeyError:
            raise CommandFailed(
                f"the stack {self.name} has no output {name} (its status is {self.status})",
                "deploy it again: a deployment that failed may have left it half made",
            ) from None


class Account:
    """The person's account: their profile and Region. Every call is made with their rights."""

    def __init__(self, profile: str | None = None, region: str | None = None) -> None:
        """Raises CommandFailed if there is no such profile, and WrongUse if no Region is known."""
        try:
            self._session = boto3.Session(profile_name=profile, region_name=region)
        except ProfileNotFound:
            raise CommandFailed(
                f"there is no AWS profile {profile!r} on this machine",
                "aws configure list-profiles names those that there are",
            ) from None
        if self._session.region_name is None:
            raise WrongUse("no Region is known", "name one: --region us-east-1, or set AWS_REGION")
        self.region: str = self._session.region_name

    def client(self, service: str, *, tries: int = 4, read_timeout: float = 30) -> Any:
        """A client that repeats a call up to so many tries, and waits so many seconds for an answer."""
        make: Any = self._session.client
        config = Config(
            retries={"total_max_attempts": tries, "mode": "standard"},
            connect_timeout=5,
            read_timeout=read_timeout,
            tcp_keepalive=True,
        )
        return asked(lambda: make(service, config=config), "client", service)

    def gateway_client(self) -> Any:
        """A client for API Gateway that reads answers as the functions' own does, and repeats nothing.

        `GatewayCalls` repeats, within the share of calls of a person.
        """
        return whole_answers(self.client("apigateway", tries=1))

    @property
    def partition(self) -> str:
        """The partition of the Region: aws, aws-us-gov or aws-cn."""
        return str(self._session.get_partition_for_region(self.region))

    def identity(self) -> tuple[str, str]:
        """The number of the account, and the ARN of who asks."""
        answer = asked(
            self.client("sts").get_caller_identity, "GetCallerIdentity", "sts:GetCallerIdentity"
        )
        return answer["Account"], answer["Arn"]

    def stack(self, name: str | None = None) -> Stack:
        """The stack of this name; without one `keyjanitor`, or the only one that has its outputs.

        Raises CommandFailed if there is none, and WrongUse if there are several.
        """
        if name is not None:
            found = self._described(name)
            if found is None or not found.outputs.keys() >= MARKS:
                what = "is no stack of keyjanitor" if found else "does not exist"
                raise CommandFailed(
                    f"the stack {name} {what} in {self.region}", *self._others(excluding=name)
                )
            return found
        found = self._described(DEFAULT_STACK)
        if found is not None and found.outputs.keys() >= MARKS:
            return found
        stacks = list(self._all())
        if len(stacks) == 1:
            return stacks[0]
        if not stacks:
            raise CommandFailed(
                f"there is no stack of keyjanitor in {self.region}",
                "name another Region or account: --region, --profile",
                "or deploy one: README.md, Deploy it",
            )
        named = ", ".join(sorted(one.name for one in stacks))
        raise WrongUse(
            f"there are {len(stacks)} stacks of keyjanitor in {self.region}: {named}",
            f"name one: --stack {stacks[0].name}",
        )

    def _others(self, excluding: str) -> tuple[str, ...]:
        named = ", ".join(sorted(one.name for one in self._all() if one.name != excluding))
        return (f"stacks of keyjanitor here: {named}",) if named else ("--region names another",)

    def _described(self, name: str) -> Stack | None:
        cloudformation = self.client("cloudformation")

        def describe() -> Any:
            try:
                return cloudformation.describe_stacks(StackName=name)["Stacks"]
            except ClientError as err:
                if code_of(err) == "ValidationError" and "does not exist" in str(err):
                    return []
                raise

        stacks = asked(describe, "DescribeStacks", f"cloudformation:DescribeStacks on {name}")
        return self._stack(stacks[0]) if stacks else None

    def _all(self) -> Iterator[Stack]:
        """Every stack that has this stack's outputs."""
        cloudformation = self.client("cloudformation")
        more: dict[str, str] = {}
        while True:
            page = asked(
                lambda: cloudformation.describe_stacks(**more),  # noqa: B023
                "DescribeStacks",
                "cloudformation:DescribeStacks on *",
            )
            for stack in map(self._stack, page["Stacks"]):
                if stack.outputs.keys() >= MARKS:
                    yield stack
            if not page.get("NextToken"):
                return
            more = {"NextToken": page["NextToken"]}

    def _stack(self, described: Mapping[str, Any]) -> Stack:
        return Stack(
            described["StackName"],
            self.region,
            {one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", ())},
            {one["ParameterKey"]: one["ParameterValue"] for one in described.get("Parameters", ())},
            described.get("StackStatus", ""),
        )

    def invoke(self, stack: Stack, function: Function, event: Mapping[str, Any]) -> dict[str, Any]:
        """Invokes a function once, whatever comes of it, and gives its answer.

        An answer that does not come is not asked for again: the function may be at work. Raises
        FunctionFailed with the function's own error, and CommandFailed.
        """
        name = stack.output(function)
        lambdas = self.client("lambda", tries=1, read_timeout=LONGEST_RUN + OUTLASTING)
        try:
            answer = asked(
                lambda: lambdas.invoke(FunctionName=name, Payload=json.dumps(dict(event)).encode()),
                "Invoke",
                f"lambda:InvokeFunction on {name}",
            )
            payload = json.loads(answer["Payload"].read() or b"null")
        except ReadTimeoutError:
            raise CommandFailed(
                f"{function.word} did not answer within {LONGEST_RUN + OUTLASTING} seconds; it may "
                "have done its work",
                f"look at its log before you send it again: keyjanitor logs {function.word}",
            ) from None
        except ValueError:
            raise CommandFailed(f"{function.word} answered what is no JSON") from None
        if answer.get("FunctionError"):
            failure = payload if isinstance(payload, dict) else {}
            raise FunctionFailed(
                function.word,
                str(failure.get("errorType", "error")),
                str(failure.get("errorMessage", "")),
            )
        if not isinstance(payload, dict):
            raise CommandFailed(f"{function.word} answered what is no JSON object")
        return payload

    def log_group(self, stack: Stack, function: Function) -> str:
        """The name of a function's log group."""
        name = stack.output(function)
        found = asked(
            lambda: self.client("lambda").get_function_configuration(FunctionName=name),
            "GetFunctionConfiguration",
            f"lambda:GetFunctionConfiguration on {name}",
        )
        return str(found.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{name}")

    def logged(
        self, group: str, since: datetime, pattern: str = ""
    ) -> Iterator[tuple[datetime, str]]:
        """The lines of a log group since a time that fit a filter pattern, in the order of their times."""
        logs = self.client("logs")
        params: dict[str, Any] = {"logGroupName": group, "startTime": int(since.timestamp() * 1000)}
        if pattern:
            params["filterPattern"] = pattern
        while True:
            page = asked(
                lambda: logs.filter_log_events(**params),
                "FilterLogEvents",
                f"logs:FilterLogEvents on {group}",
            )
            for event in page.get("events", ()):
                yield datetime.fromtimestamp(event["timestamp"] / 1000, UTC), event["message"]
            if not page.get("nextToken"):
                return
            params["nextToken"] = page["nextToken"]

    def alarms(self, stack: Stack) -> list[str]:
        """The descriptions of the alarms that are on now, of those whose names begin as the stack's do."""
        cloudwatch = self.client("cloudwatch")
        params: dict[str, Any] = {
            "AlarmNamePrefix": f"{stack.name}-",
            "StateValue": "ALARM",
            "AlarmTypes": ["MetricAlarm"],
        }
        found: list[str] = []
        while True:
            page = asked(
                lambda: cloudwatch.describe_alarms(**params),
                "DescribeAlarms",
                "cloudwatch:DescribeAlarms",
            )
            found += [one.get("AlarmDescription", "") for one in page.get("MetricAlarms", ())]
            if not page.get("NextToken"):
                return found
            params["NextToken"] = page["NextToken"]


def console_url(stack: Stack, what: str) -> str:
    """The address of the AWS console's page of a stack's `dashboard`, `stack` or `report`."""
    partition = boto3.Session().get_partition_for_region(stack.region)
    host = {
        "aws-us-gov": "console.amazonaws-us-gov.com",
        "aws-cn": "console.amazonaws.cn",
    }.get(partition, "console.aws.amazon.com")
    region, base = stack.region, f"https://{stack.region}.{host}"
    if what == "dashboard":
        return f"{base}/cloudwatch/home?region={region}#dashboards/dashboard/{quote(stack.name)}"
    if what == "stack":
        return (
            f"{base}/cloudformation/home?region={region}#/stacks?filteringText={quote(stack.name)}"
        )
    bucket = stack.output("HistoryBucketName")
    return f"{base}/s3/object/{bucket}?region={region}&prefix=reports/latest/index.html"


def asked(call: Callable[[], Any], operation: str, action: str) -> Any:
    """What a call gives; raises CommandFailed in place of AWS's error, and lets a read time-out pass.

    `action` is the right that the call needs.
    """
    try:
        return call()
    except ReadTimeoutError:
        raise
    except (ClientError, BotoCoreError) as err:
        raise failure(err, operation, action) from None


def answer_to(call: Callable[[], Any]) -> tuple[Mapping[str, Any], str, bool]:
    """What a call gives; or nothing, AWS's code for the refusal, and whether a right is missing.

    Raises CommandFailed if there are no credentials, or AWS does not take them.
    """
    try:
        answer = call()
    except ClientError as err:
        code = code_of(err)
        if code in EXPIRED | UNKNOWN:
            raise failure(err, "", "") from None
        return {}, code, code in DENIED
    except NoCredentialsError as err:
        raise failure(err, "", "") from None
    except BotoCoreError as err:
        return {}, type(err).__name__, False
    return (answer, "", False) if isinstance(answer, Mapping) else ({}, "NoAnswer", False)


def failure(err: ClientError | BotoCoreError, operation: str, action: str) -> CommandFailed:
    """What an AWS error means to a person, without what was sent."""
    if isinstance(err, NoCredentialsError):
        return CommandFailed(
            "no AWS credentials were found", "sign in (aws sso login), or name a --profile"
        )
    if isinstance(err, NoRegionError):
        return WrongUse("no Region is known", "name one: --region us-east-1, or set AWS_REGION")
    if isinstance(err, EndpointConnectionError | ConnectTimeoutError):
        return CommandFailed(
            f"{operation}: AWS cannot be reached", "is the network there, and the --region right?"
        )
    if not isinstance(err, ClientError):
        return CommandFailed(f"{operation} failed: {type(err).__name__}")
    code = code_of(err)
    if code in EXPIRED:
        return CommandFailed("your AWS credentials have expired", "sign in again: aws sso login")
    if code in UNKNOWN:
        return CommandFailed(
            "AWS does not know these credentials", "is it the right --profile, and signed in?"
        )
    if code in DENIED:
        message = str(err.response.get("Error", {}).get("Message", ""))
        who = re.search(r"arn:aws[a-z-]*:(?:sts|iam)::\d{12}:[\w+=,.@/-]+", message)
        return denied(action, who.group(0) if who else "your role")
    return CommandFailed(f"{operation} failed: {code}")


def denied(action: str, who: str) -> CommandFailed:
    """The person may not do `action`."""
    return CommandFailed(
        f"access denied: {who} may not {action}",
        "docs/command.md names the rights that each command needs",
    )
