"""What the roles of template.yaml may do, decided as IAM does, and what the functions' calls ask for.

`Guard` stands before every call that a function makes in memory, and denies what its role may not.
Tests of one function are so tests of its role, and what they ask for shows which right is needed.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from botocore.exceptions import ClientError

from keyjanitor.errors import AccessDenied
from tests.template import TEMPLATE, as_list, deployed, resources, statements

ROLES = {
    "expire_keys": "ExpireKeysRole",
    "pull_usage": "PullUsageRole",
    "provision_keys": "ProvisionKeysRole",
    "watch_capacity": "WatchCapacityRole",
    "publish_report": "PublishReportRole",
}
MODES = ("observe", "disable", "park")
REGION = "us-east-1"
_PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": "123456789012",
    "AWS::URLSuffix": "amazonaws.com",
}
_GATEWAY = f"arn:aws:apigateway:{REGION}::"
# What is asked for on any key, plan, API or file is asked for on all of them: one name stands for all.
ID, FILE = "id", "file"
LOG_GROUPS = f"arn:aws:logs:{REGION}:123456789012:log-group:/apis/*"


# --- statements -----------------------------------------------------------------------------------


def arn(name: str) -> str:
    """The ARN of a resource of the template, by its logical id."""
    return f"arn:of:{name}"


def role_arn(role: str) -> str:
    return arn(role)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, its `Sid`, and whether it denies."""

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    denies: bool = False

    def applies(self, ask: "Ask", principal: str = "") -> bool:
        """Whether it speaks of what is asked for."""
        return (
            any(fnmatchcase(ask.action, one) for one in self.actions)
            and any(fnmatchcase(ask.resource, one) for one in self.resources)
            and all(_met(*one, ask, principal) for one in self.conditions)
        )


@dataclass(frozen=True, slots=True)
class Ask:
    """An action on a resource, with the condition keys that AWS fills in."""

    action: str
    resource: str
    keys: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __str__(self) -> str:
        more = "".join(f", {name}={'|'.join(values)}" for name, values in self.keys)
        return f"{self.action} on {self.resource}{more}"


def _met(operator: str, key: str, expected: Sequence[str], ask: Ask, principal: str) -> bool:
    """Whether a condition holds (IAM reference, condition operators)."""
    keys = {**dict(ask.keys), "aws:PrincipalArn": (principal,)}
    found = keys.get(key)
    if operator.endswith("IfExists"):
        if found is None:
            return True
        operator = operator.removesuffix("IfExists")
    expected = [principal if one == "${aws:PrincipalArn}" else one for one in expected]
    match operator:
        case "ForAllValues:StringEquals":
            return all(one in expected for one in found or ())
        case "StringEquals" | "ArnEquals":
            return found is not None and set(found) <= set(expected)
        case "ArnNotEquals":
            return found is None or not set(found) & set(expected)
        case "StringLike":
            return found is not None and all(
                any(fnmatchcase(one, pattern) for pattern in expected) for one in found
            )
        case _:
            raise AssertionError(f"tests/rights.py does not know the operator {operator}")


def _statement(written: Mapping[str, Any]) -> Statement:
    conditions = written.get("Condition", {}).items()
    return Statement(
        written.get("Sid", ""),
        tuple(as_list(written["Action"])),
        tuple(_filled(one) for one in as_list(written["Resource"])),
        tuple(
            (operator, key, tuple(_filled(one) for one in as_list(expected)))
            for operator, keys in conditions
            for key, expected in keys.items()
        ),
        written["Effect"] == "Deny",
    )


def _filled(text: str) -> str:
    """A resource or a value as it is deployed: a logical id stands for its ARN."""
    names = TEMPLATE["Resources"]
    for name, value in _PSEUDO.items():
        text = text.replace("${" + name + "}", value)
    text = re.sub(r"\$\{(\w+)\.Arn\}", lambda found: arn(found[1]), text)
    whole = text.removesuffix(".Arn")
    return arn(whole) if whole in names else text


@cache
def of_role(role: str, mode: str) -> tuple[Statement, ...]:
    """What a role's own policies say in a mode, where access logs may be asked."""
    written = statements(role, Mode=mode, AccessLogGroups=LOG_GROUPS)
    return tuple(_statement(one) for one in written)


@cache
def of_resources() -> dict[str, tuple[Statement, ...]]:
    """What the policies of the sealing key and of the bus say, by the resource's ARN."""
    key = resources("AWS::KMS::Key")["SealingKey"]["KeyPolicy"]["Statement"]
    (bus,) = resources("AWS::Events::EventBusPolicy").values()
    return {
        arn("SealingKey"): tuple(_statement(deployed(one)) for one in key),
        arn("EventBus"): (_statement(deployed(bus["Statement"])),),
    }


def is_allowed(ask: Ask, own: Sequence[Statement], principal: str) -> bool:
    """Whether IAM lets a principal of the account do it, its own statements being `own`.

    A Deny wins; KMS asks the key's policy too; for all else of the account, one's own right is enough.
    """
    theirs = [one for one in of_resources().get(ask.resource, ()) if one.applies(ask, principal)]
    if any(one.denies for one in theirs):
        return False
    if ask.action.startswith("kms:") and ask.resource in of_resources() and not theirs:
        return False
    return any(one.applies(ask, principal) for one in own)


@cache
def _may(role: str, mode: str, ask: Ask) -> bool:
    """Whether a role of the template may do it in a mode."""
    return is_allowed(ask, of_role(role, mode), role_arn(role))


# --- what calls ask for ---------------------------------------------------------------------------


def _on_gateway(verb: str, path: str) -> list[Ask]:
    return [Ask(f"apigateway:{verb}", f"{_GATEWAY}{path}")]


_TAG_KEYS = Ask(
    "apigateway:PUT",
    f"{_GATEWAY}/tags/arn%3Aaws%3Aapigateway%3A{REGION}%3A%3A%2Fapikeys%2F*",
)
# The calls of each method of `ApiGateway`; tests/contract/template/test_rights.py holds them against it.
GATEWAY: dict[str, list[Ask]] = {
    "keys": _on_gateway("GET", "/apikeys"),
    "keys_named": _on_gateway("GET", "/apikeys"),
    "key_named": _on_gateway("GET", "/apikeys"),
    "key": _on_gateway("GET", f"/apikeys/{ID}"),
    "key_with_value": _on_gateway("GET", f"/apikeys/{ID}"),
    "usage_plans": _on_gateway("GET", "/usageplans"),
    "plans_of": _on_gateway("GET", "/usageplans"),
    "members": _on_gateway("GET", f"/usageplans/{ID}/keys"),
    "usage": _on_gateway("GET", f"/usageplans/{ID}/usage"),
    "ask_first_for": [],
    "answered_range": [],
    "rest_apis": _on_gateway("GET", "/restapis"),
    "stages": _on_gateway("GET", f"/restapis/{ID}/stages"),
    "deployed_methods": _on_gateway("GET", f"/restapis/{ID}/deployments/{ID}"),
    "set_enabled": _on_gateway("PATCH", f"/apikeys/{ID}"),
    "rename": _on_gateway("PATCH", f"/apikeys/{ID}"),
    "delete": _on_gateway("DELETE", f"/apikeys/{ID}"),
    "create_disabled": _on_gateway("POST", "/apikeys"),
    "import_keys": _on_gateway("POST", "/apikeys"),
    "create_plan": _on_gateway("POST", "/usageplans"),
    "attach": _on_gateway("POST", f"/usageplans/{ID}/keys"),
}
PROOF_OF_A_MEMBER = _on_gateway("GET", f"/usageplans/{ID}/keys/{ID}")

_WRITTEN = {
    "Put": "PutItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
    "Update": "UpdateItem",
}


def _on_ledger(operation: str, *keys: Mapping[str, Any]) -> Ask:
    return _on_partitions(operation, tuple(sorted({str(key["pk"]["S"]) for key in keys})))


@cache
def _on_partitions(operation: str, leading: tuple[str, ...]) -> Ask:
    return Ask(f"dynamodb:{operation}", arn("Ledger"), (("dynamodb:LeadingKeys", leading),))


def _in_bucket(action: str, name: str) -> Ask:
    return _in_folder(action, name.split("/", 1)[0])


@cache
def _in_folder(action: str, folder: str) -> Ask:
    return Ask(f"s3:{action}", f"{arn('HistoryBucket')}/{folder}/{FILE}")


def _list_bucket(action: str, prefix: str) -> Ask:
    return _list_folder(action, prefix.split("/", 1)[0])


@cache
def _list_folder(action: str, folder: str) -> Ask:
    return Ask(f"s3:{action}", arn("HistoryBucket"), (("s3:prefix", (f"{folder}/{FILE}",)),))


# Of a file that is not there S3 says so only to whom it lets list; that question names no prefix.
KNOW_WHAT_IS_MISSING = Ask("s3:ListBucket", arn("HistoryBucket"))


def _on_sealing_key(action: str, params: Mapping[str, Any]) -> Ask:
    context = params["EncryptionContext"]
    keys = {"purpose": context["purpose"], "recipient": context.get("recipient")}
    named = ((f"kms:EncryptionContext:{k}", (v,)) for k, v in keys.items() if v is not None)
    return Ask(f"kms:{action}", arn("SealingKey"), tuple(named))


def _through_sns() -> list[Ask]:
    via = (("kms:ViaService", (f"sns.{REGION}.amazonaws.com",)),)
    return [Ask(f"kms:{one}", arn("AlertKey"), via) for one in ("Decrypt", "GenerateDataKey")]


def _of_dynamodb(operation: str, params: Mapping[str, Any]) -> list[Ask]:
    match operation:
        case "get_item":
            return [_on_ledger("GetItem", params["Key"])]
        case "query":
            partition = params["ExpressionAttributeValues"][":pk"]
            return [_on_ledger("Query", {"pk": partition})]
        case "batch_get_item":
            (asked,) = params["RequestItems"].values()
            return [_on_ledger("BatchGetItem", *asked["Keys"])]
        case "put_item":
            return [_on_ledger("PutItem", params["Item"])]
        case "delete_item":
            return [_on_ledger("DeleteItem", params["Key"])]
        case "update_item":
            return [_on_ledger("UpdateItem", params["Key"])]
        case "transact_write_items":
            # Each item is asked for as the action that it is (doc: AF-410).
            return [
                _on_ledger(_WRITTEN[kind], request["Item" if kind == "Put" else "Key"])
                for write in params["TransactItems"]
                for kind, request in write.items()
            ]
        case _:
            raise AssertionError(f"tests/rights.py does not know dynamodb.{operation}")


def _of_s3(operation: str, params: Mapping[str, Any]) -> list[Ask]:
    match operation:
        case "get_object" | "head_object":
            action = "GetObjectVersion" if "VersionId" in params else "GetObject"
            return [_in_bucket(action, params["Key"])]
        case "put_object":
            locks = ["PutObjectRetention"] if "ObjectLockMode" in params else []
            return [_in_bucket(one, params["Key"]) for one in ("PutObject", *locks)]
        case "delete_object":
            action = "DeleteObjectVersion" if "VersionId" in params else "DeleteObject"
            return [_in_bucket(action, params["Key"])]
        case "list_objects_v2":
            return [_list_bucket("ListBucket", params["Prefix"])]
        case "list_object_versions":
            return [_list_bucket("ListBucketVersions", params["Prefix"])]
        case _:
            raise AssertionError(f"tests/rights.py does not know s3.{operation}")


def _put_events(params: Mapping[str, Any]) -> list[Ask]:
    sources = tuple(sorted({entry["Source"] for entry in params["Entries"]}))
    return [Ask("events:PutEvents", arn("EventBus"), (("events:source", sources),))]


_DEAD_LETTERS = ("RequestDeadLetterQueue", "RunDeadLetterQueue")
_OTHERS: dict[str, Callable[[Mapping[str, Any]], list[Ask]]] = {
    "kms.encrypt": lambda params: [_on_sealing_key("Encrypt", params)],
    "kms.decrypt": lambda params: [_on_sealing_key("Decrypt", params)],
    "events.put_events": _put_events,
    "sns.publish": lambda _: [Ask("sns:Publish", arn("AlertTopic")), *_through_sns()],
    "sns.list_subscriptions_by_topic": lambda _: [
        Ask("sns:ListSubscriptionsByTopic", arn("AlertTopic"))
    ],
    "sns.get_topic_attributes": lambda _: [Ask("sns:GetTopicAttributes", arn("AlertTopic"))],
    # By which of the two ARNs of a log group it is decided is not known (doc: AF-515): by both.
    "logs.filter_log_events": lambda _: [
        Ask("logs:FilterLogEvents", group)
        for group in (
            arn("AuditLog"),
            f"arn:aws:logs:{REGION}:123456789012:log-group:${{AuditLog}}",
        )
    ],
    "access_logs.group": lambda _: [Ask("logs:DescribeLogGroups", "*")],
    "access_logs.incoming_bytes": lambda _: [Ask("cloudwatch:GetMetricData", "*")],
    "access_logs.ask": lambda _: [
        Ask("logs:StartQuery", LOG_GROUPS.replace("*", "prod")),
        Ask("logs:GetQueryResults", "*"),
    ],
    "owners.tags": lambda _: [Ask("tag:GetResources", "*")],
    "owners.stack_of": lambda _: [Ask("cloudformation:DescribeStackResources", "*")],
    "dead_letters.message_counts": lambda _: [
        Ask("sqs:GetQueueAttributes", arn(q)) for q in _DEAD_LETTERS
    ],
    "queue.send_to_dead_letters": lambda _: [Ask("sqs:SendMessage", arn("RequestDeadLetterQueue"))],
    "queue.shorten_visibility": lambda _: [Ask("sqs:ChangeMessageVisibility", arn("RequestQueue"))],
}


def asked_by(name: str, args: Sequence[Any], params: Mapping[str, Any]) -> list[Ask]:
    """What a call such as `dynamodb.put_item` or `apigateway.keys` asks for."""
    service, _, operation = name.partition(".")
    match service:
        case "apigateway":
            asks = GATEWAY[operation]
            tagged = operation == "create_disabled" and params["tags"]
            return [*asks, _TAG_KEYS] if tagged else asks
        case "dynamodb":
            return _of_dynamodb(operation, params)
        case "s3":
            return _of_s3(operation, params)
        case _:
            return _OTHERS[name](params)


def asked_by_lambda(function: str) -> Iterator[Ask]:
    """What Lambda asks for in a function's name, by the function's block in the template."""
    name = f"{ROLES[function].removesuffix('Role')}Function"
    block = resources("AWS::Serverless::Function")[name]
    for action in ("CreateLogStream", "PutLogEvents"):
        yield Ask(f"logs:{action}", arn(block["LoggingConfig"]["LogGroup"]))
    if config := block.get("EventInvokeConfig"):
        queue = config["DestinationConfig"]["OnFailure"]["Destination"]
        yield Ask("sqs:SendMessage", arn(queue.removesuffix(".Arn")))
    for event in block["Events"].values():
        if event["Type"] == "SQS":
            queue = event["Properties"]["Queue"].removesuffix(".Arn")
            for action in ("DeleteMessage", "GetQueueAttributes", "ReceiveMessage"):
                yield Ask(f"sqs:{action}", arn(queue))


# --- the guard ------------------------------------------------------------------------------------

Listener = Callable[[str, str, Ask], None]


class Guard:
    """Denies a function what its role may not do, and tells `heard` of all that is asked for."""

    def __init__(self, function: str, mode: str, heard: Listener | None = None) -> None:
        self._function = function
        self._mode = mode
        self._role = ROLES[function]
        self._heard = heard

    def allows(self, ask: Ask) -> bool:
        if self._heard is not None:
            self._heard(self._function, self._mode, ask)
        return _may(self._role, self._mode, ask)

    def call(self, target: Any, name: str, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Makes the call, if the role may."""
        asks = asked_by(name, args, params)
        if name == "apigateway.attach" and args[1] in target.members(args[0]):
            asks = [*asks, *PROOF_OF_A_MEMBER]
        for ask in asks:
            if not self.allows(ask):
                raise self._denied(name, ask)
        method = getattr(target, name.partition(".")[2])
        try:
            return method(*args, **params)
        except ClientError as err:
            missing = err.response["Error"]["Code"] in ("NoSuchKey", "404")
            if missing and not self.allows(KNOW_WHAT_IS_MISSING):
                raise self._denied(name, KNOW_WHAT_IS_MISSING) from None
            raise

    def _denied(self, name: str, ask: Ask) -> Exception:
        who = f"arn:aws:iam::123456789012:role/{self._role}"
        if name.startswith(("access_logs.", "apigateway.", "owners.", "dead_letters.", "queue.")):
            return AccessDenied(str(ask), who)
        message = f"User: {who} is not authorized to perform: {ask} (Mode={self._mode})"
        answer: Any = {"Error": {"Code": "AccessDeniedException", "Message": message}}
        return ClientError(answer, name)
