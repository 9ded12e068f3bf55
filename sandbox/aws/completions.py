"""What the services around API Gateway lack in MiniStack: tags, stacks, condition keys, times."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import ministack.app as ministack
import yaml
from ministack.core import iam_actions, iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import (
    apigateway_v1,
    cloudwatch_logs,
    dynamodb,
    eventbridge,
    lambda_svc,
    sns,
    tagging,
)
from ministack.services import cloudformation as stacks
from ministack.services.cloudformation import engine as template_engine
from ministack.services.cloudformation import handlers as stack_handlers

from sandbox.aws.apigateway.apigateway import ControlPlane
from sandbox.aws.calls import operation_of
from sandbox.aws.wire import Answer, Refused

RESOURCES_PER_PAGE = 100
_KMS_WITH_CONTEXT = {
    "kms:Encrypt",
    "kms:Decrypt",
    "kms:ReEncrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
}
SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"


def _json_answer(status: int, content: Mapping[str, Any]) -> Answer:
    headers = {"Content-Type": "application/x-amz-json-1.1"}
    if "__type" in content:
        headers["x-amzn-errortype"] = str(content["__type"])
    return status, headers, json.dumps(content).encode()


class Tagging:
    """GetResources of the tagging API: API keys too, and in pages.

    Keys are listed by ARN with their tags (seen: AF-401), 100 a page at most, and only if they have tags.
    It is a service of its own: nothing of API Gateway's budget is spent.
    """

    def __init__(self, control: ControlPlane) -> None:
        self._control = control
        self._faults = control.faults
        self._others = tagging._get_resources

    def install(self) -> None:
        tagging._HANDLERS["GetResources"] = self.get_resources

    def get_resources(self, data: dict[str, Any]) -> Answer:
        if code := self._faults.tagging:
            return _json_answer(400, {"__type": code, "message": "The tagging API is down"})
        per_page = int(data.get("ResourcesPerPage") or RESOURCES_PER_PAGE)
        if not 1 <= per_page <= RESOURCES_PER_PAGE:
            message = "ResourcesPerPage must be between 1 and 100"
            return _json_answer(400, {"__type": "InvalidParameterException", "message": message})
        found = self._key_tags(data) + self._tags_of_others(data)
        found.sort(key=lambda resource: str(resource["ResourceARN"]))
        token = data.get("PaginationToken") or ""
        if token:
            last = base64.urlsafe_b64decode(token).decode()
            found = [resource for resource in found if resource["ResourceARN"] > last]
        page, token = found[:per_page], ""
        if len(found) > per_page:
            token = base64.urlsafe_b64encode(page[-1]["ResourceARN"].encode()).decode()
        return _json_answer(200, {"ResourceTagMappingList": page, "PaginationToken": token})

    def _tags_of_others(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        filters = data.get("ResourceTypeFilters") or []
        if filters and all(name.split(":")[0] == "apigateway" for name in filters):
            return []
        without_pages = {k: v for k, v in data.items() if k not in _OF_PAGES}
        _, _, body = self._others(without_pages)
        others: list[dict[str, Any]] = json.loads(body).get("ResourceTagMappingList", [])
        return others

    def _key_tags(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        if self._faults.tags_unlisted:
            return []
        filters = data.get("ResourceTypeFilters") or []
        if filters and not {"apigateway", "apigateway:apikeys"} & set(filters):
            return []
        prefix = f"arn:aws:apigateway:{get_region()}::/apikeys/"
        wanted = set(data.get("ResourceARNList") or [])
        found = []
        for record in self._control.keys.values():
            tags = [{"Key": name, "Value": value} for name, value in record["tags"].items()]
            arn = prefix + record["id"]
            if not tags or (wanted and arn not in wanted):
                continue
            if tagging._matches_tag_filters(tags, data.get("TagFilters", [])):
                found.append({"ResourceARN": arn, "Tags": tags})
        return found


_OF_PAGES = ("PaginationToken", "ResourcesPerPage")


class Stacks:
    """DescribeStackResources by PhysicalResourceId: the stack that a resource belongs to."""

    def __init__(self, control: ControlPlane) -> None:
        self._control = control
        self._faults = control.faults
        self._by_name = stack_handlers._describe_stack_resources

    def install(self) -> None:
        stack_handlers._ACTION_HANDLERS["DescribeStackResources"] = self.describe

    def describe(self, params: dict[str, Any]) -> Any:
        physical_id = stack_handlers._p(params, "PhysicalResourceId")
        if not physical_id:
            return self._by_name(params)
        if code := self._faults.stacks:
            return stack_handlers._error(code, "CloudFormation cannot be asked")
        for name, stack in stacks._stacks.items():
            for resource in stack.get("_resources", {}).values():
                if resource.get("PhysicalResourceId") == physical_id:
                    return self._by_name({**params, "StackName": [name]})
        if owner := self._control.api_keys.owners.get(physical_id):
            return self._laid_down(physical_id, owner)
        return stack_handlers._error("ValidationError", f"Stack for {physical_id} does not exist")

    @staticmethod
    def _laid_down(physical_id: str, owner: str) -> Any:
        stamp = hashlib.sha1(owner.encode()).hexdigest()
        where = f"arn:aws:cloudformation:{get_region()}:{get_account_id()}"
        member = {
            "LogicalResourceId": "ApiKey",
            "PhysicalResourceId": physical_id,
            "ResourceType": "AWS::ApiGateway::ApiKey",
            "ResourceStatus": "CREATE_COMPLETE",
            "Timestamp": "2020-01-01T00:00:00.000Z",
            "StackName": owner,
            "StackId": f"{where}:stack/{owner}/{stamp[:8]}-0000-0000-0000-{stamp[8:20]}",
        }
        inner = "".join(f"<{k}>{stack_handlers._esc(v)}</{k}>" for k, v in member.items())
        return stack_handlers._xml(
            200,
            "DescribeStackResourcesResponse",
            "<DescribeStackResourcesResult><StackResources>"
            f"<member>{inner}</member>"
            "</StackResources></DescribeStackResourcesResult>",
        )


class ConditionKeys:
    """IAM condition keys that MiniStack never fills, so that an Allow on them would be a denial.

    `kms:EncryptionContext:NAME` and `kms:EncryptionContextKeys`, `events:source`,
    `cloudwatch:namespace` (service authorization reference).
    """

    def __init__(self) -> None:
        self._tags_of = iam_actions.request_tag_context

    def install(self) -> None:
        # MiniStack's dispatcher imports it anew for each request.
        iam_actions.request_tag_context = self.context_of

    def context_of(
        self, service: str, action: str, body: bytes, params: dict[str, Any]
    ) -> dict[str, Any]:
        context: dict[str, Any] = dict(self._tags_of(service, action, body, params))
        if action in _KMS_WITH_CONTEXT:
            encryption = _json_object(body).get("EncryptionContext") or {}
            context |= {f"kms:EncryptionContext:{k}": str(v) for k, v in encryption.items()}
            if encryption:
                context["kms:EncryptionContextKeys"] = list(encryption)
        if action == "events:PutEvents":
            entries = _json_object(body).get("Entries") or []
            sources = sorted({str(entry.get("Source", "")) for entry in entries})
            context["events:source"] = sources[0] if len(sources) == 1 else sources
        if action == "cloudwatch:PutMetricData":
            context["cloudwatch:namespace"] = _namespace_of(body, params)
        return context


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _namespace_of(body: bytes, params: Mapping[str, Any]) -> str:
    """The namespace of a PutMetricData in any of its three protocols: query, JSON, CBOR."""
    given = params.get("Namespace")
    if given:
        return str(given[0] if isinstance(given, list) else given)
    if namespace := _json_object(body).get("Namespace"):
        return str(namespace)
    # CBOR: the key is a text of nine bytes (0x69), its value a text whose length comes first.
    _, found, rest = body.partition(b"\x69Namespace")
    if not found or not rest:
        return ""
    length, start = rest[0] - 0x60, 1
    if rest[0] == 0x78:
        length, start = rest[1], 2
    return rest[start : start + length].decode(errors="replace")


def has_tags(body: bytes) -> bool:
    """Whether a request's JSON body holds tags."""
    return b'"tags"' in body and bool(_json_object(body).get("tags"))


def check_right_to_tag(access_key_id: str) -> None:
    """Raise Refused unless the caller may PUT on `/tags/` of API keys.

    A tagged CreateApiKey needs it; the ARN is the one that AWS's own denials name (seen: AF-406).
    """
    region = get_region()
    arn = (
        f"arn:aws:apigateway:{region}::/tags/arn%3Aaws%3Aapigateway%3A{region}%3A%3A%2Fapikeys%2F*"
    )
    denied = iam_evaluator.enforce(
        access_key_id, "apigateway:PUT", "apigateway", region, resource_arn=arn
    )
    if denied:
        who = getattr(denied, "principal_arn", "unknown")
        raise Refused(
            "AccessDeniedException",
            f"User: {who} is not authorized to perform: apigateway:PUT on resource: {arn} "
            "because no identity-based policy allows the apigateway:PUT action",
        )


class ScheduledTime:
    """Puts the scheduled instant in the place of EventBridge Scheduler's context attribute."""

    def __init__(self) -> None:
        self._invoke = eventbridge._invoke_target

    def install(self) -> None:
        eventbridge._invoke_target = self.invoke

    def invoke(self, target: dict[str, Any], event: Any, rule: Any, *rest: Any, **kw: Any) -> Any:
        if SCHEDULED_TIME in str(target.get("Input", "")):
            # MiniStack looks at its schedules every ten seconds; a schedule has whole minutes.
            minute = datetime.fromtimestamp(float(event["Time"]), UTC).replace(second=0)
            text = minute.strftime("%Y-%m-%dT%H:%M:%SZ")
            target = {**target, "Input": target["Input"].replace(SCHEDULED_TIME, text)}
        return self._invoke(target, event, rule, *rest, **kw)


class ErrorTypes:
    """The class of the exception that ended a function, as Lambda's answer and its log name it.

    MiniStack calls every one of them Runtime.HandlerError; the class is the last line's of the
    traceback in the log. AWS puts `[ERROR] CLASS: MESSAGE` before the traceback.
    """

    def __init__(self) -> None:
        self._execute = lambda_svc._execute_function_warm

    def install(self) -> None:
        lambda_svc._execute_function_warm = self.execute

    def execute(self, function: Any, event: Any, request_id: str) -> dict[str, Any]:
        result: dict[str, Any] = self._execute(function, event, request_id)
        body = result.get("body")
        if result.get("error") and isinstance(body, dict):
            first_line = str(body.get("errorMessage", "")).split("\n")[0]
            said = f": {re.escape(first_line)}" if first_line else ""
            raised = rf"^(?:\w+\.)*(\w+){said}$"
            if body.get("errorType") == "Runtime.HandlerError" and (
                found := re.findall(raised, result.get("log", ""), re.MULTILINE)
            ):
                body["errorType"] = found[-1]
            said = f"[ERROR] {body.get('errorType')}: {first_line}\n{_TRACEBACK}"
            result["log"] = result.get("log", "").replace(_TRACEBACK, said, 1)
        return result


_TRACEBACK = "Traceback (most recent call last):"


class LogFilters:
    """Filter patterns of words, as CloudWatch Logs has them.

    Case matters; of words after `?` one is enough, none after `-` may be there; a phrase is in
    double quotes (doc: AF-565). Patterns for JSON are left to MiniStack.
    """

    _WORD = re.compile(r'([?-]?)(?:"([^"]*)"|(\S+))')

    def __init__(self) -> None:
        self._others = cloudwatch_logs._compile_filter_pattern

    def install(self) -> None:
        cloudwatch_logs._compile_filter_pattern = self.matcher

    def matcher(self, pattern: str) -> Callable[[str], bool]:
        if pattern.strip().startswith("{"):
            others: Callable[[str], bool] = self._others(pattern)
            return others
        words: dict[str, list[str]] = {"": [], "?": [], "-": []}
        for sign, phrase, word in self._WORD.findall(pattern):
            words[sign].append(phrase or word)
        return lambda line: (
            all(word in line for word in words[""])
            and (not words["?"] or any(word in line for word in words["?"]))
            and not any(word in line for word in words["-"])
        )


class AuditTrail:
    """API Gateway's operations by their names in CloudTrail, where MiniStack has `DELETE.apigateway`."""

    def __init__(self) -> None:
        self._others = ministack._ct_event_name

    def install(self) -> None:
        ministack._ct_event_name = self.name_of

    def name_of(self, service: str, method: str, path: str, *rest: Any) -> str:
        if service == "apigateway":
            return operation_of(method, path, imports=False)[0]
        return str(self._others(service, method, path, *rest))


class KeyConditions:
    """Queries of one partition, without parsing the key condition anew for each of its items.

    Ten thousand items took MiniStack a second a page. Everything but `name = :value` is left to it.
    """

    _EQUALITY = re.compile(r"\s*(#?\w+)\s*=\s*(:\w+)\s*")

    def __init__(self) -> None:
        self._evaluate = dynamodb._evaluate_condition

    def install(self) -> None:
        dynamodb._evaluate_condition = self.evaluate

    def evaluate(
        self,
        expression: str,
        item: Mapping[str, Any],
        values: Mapping[str, Any],
        names: Mapping[str, str],
        slot: str = "ConditionExpression",
    ) -> Any:
        if slot == "KeyConditionExpression":
            simple = self._EQUALITY.fullmatch(expression or "")
            if simple and simple[2] in values:
                return item.get((names or {}).get(simple[1], simple[1])) == values[simple[2]]
        return self._evaluate(expression, item, values, names, slot=slot)


class ParsedPolicies:
    """A policy's text is parsed once, and not for each item of each call that it may allow."""

    def __init__(self) -> None:
        self._parse: Callable[[str | dict[str, Any]], list[Any]]
        self._parse = iam_evaluator.parse_policy_document
        self._parse_text = lru_cache(maxsize=1_000)(self._parse)

    def install(self) -> None:
        iam_evaluator.parse_policy_document = self.parse

    def parse(self, document: str | dict[str, Any]) -> list[Any]:
        """The statements of a policy; none is changed by the decisions on it."""
        if isinstance(document, str):
            return list(self._parse_text(document))
        return self._parse(document)


class FastTemplates:
    """Templates are read by libyaml, where Python's own reader takes a second for keyjanitor's."""

    def install(self) -> None:
        slow = template_engine.CfnLoader

        class CfnLoader(yaml.CSafeLoader):
            yaml_constructors = slow.yaml_constructors
            yaml_multi_constructors = slow.yaml_multi_constructors
            yaml_implicit_resolvers = slow.yaml_implicit_resolvers

        template_engine.CfnLoader = CfnLoader


class Published:
    """Every message published to any SNS topic, whether or not somebody subscribed."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self._fan_out = sns._fanout

    def install(self) -> None:
        sns._fanout = self._note_and_fan_out

    def _note_and_fan_out(
        self,
        topic_arn: str,
        message_id: str,
        message: str,
        subject: str = "",
        structure: str = "",
        attributes: dict[str, Any] | None = None,
        *rest: Any,
        **kw: Any,
    ) -> None:
        self.messages.append(
            {
                "topic": topic_arn,
                "id": message_id,
                "subject": subject,
                "message": message,
                "structure": structure,
                "attributes": attributes or {},
            }
        )
        self._fan_out(topic_arn, message_id, message, subject, structure, attributes, *rest, **kw)


def put_events() -> list[dict[str, Any]]:
    """Every event put on any bus, in order, as MiniStack keeps them."""
    return [event for log in eventbridge._events_log.all_values() for event in log]


def forget_events() -> None:
    """Start a new record of events."""
    for log in eventbridge._events_log.all_values():
        log.clear()


def make_rest_api(stages: list[str]) -> str:
    """Deploy a REST API with one MOCK method, GET /hello, that requires a key; gives its id.

    It is made in process, so that it costs no control-plane call.
    """
    api = json.loads(apigateway_v1._create_rest_api({"name": "hello"})[2])
    api_id = str(api["id"])
    root = next(iter(apigateway_v1._resources[api_id]))
    resource = json.loads(apigateway_v1._create_resource(api_id, root, {"pathPart": "hello"})[2])
    method = {"authorizationType": "NONE", "apiKeyRequired": True}
    apigateway_v1._put_method(api_id, resource["id"], "GET", method)
    mock = {"type": "MOCK", "requestTemplates": {"application/json": '{"statusCode": 200}'}}
    apigateway_v1._put_integration(api_id, resource["id"], "GET", mock)
    for stage in stages:
        apigateway_v1._create_deployment(api_id, {"stageName": stage})
    return api_id
