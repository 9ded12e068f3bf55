"""Rules of EventBridge whose target is a log group, which MiniStack deploys and never delivers to."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from ministack.core import iam_evaluator
from ministack.core.arn import ArnParseError, parse_arn
from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudwatch_logs, eventbridge

# In the order in which EventBridge writes an event down.
_ENVELOPE = (
    *("version", "id", "detail-type", "source", "account"),
    *("time", "region", "resources", "detail"),
)
# Both have to be allowed: without the second, deliveries fail (seen: AF-542).
_WRITERS = ("events.amazonaws.com", "delivery.logs.amazonaws.com")
_OWN_INPUT = ("Input", "InputPath", "InputTransformer")


class LogTargets:
    """Each event that matches a rule becomes one log event in the rule's log group.

    It is the whole event as one line of JSON, in a stream of its own, for AWS documents no names of
    streams. As on AWS nothing arrives, and nobody is told, unless the group exists and a resource
    policy of CloudWatch Logs lets EventBridge in; a target that ends in `:*`, as GetAtt gives the
    ARN, deploys and gets nothing (seen: AF-542). Targets with an input of their own get nothing here.
    """

    def install(self) -> None:
        self._invoke = eventbridge._invoke_target
        eventbridge._invoke_target = self.invoke

    def invoke(
        self, target: dict[str, Any], event: Any, rule: Any, view: Any = None, **kw: Any
    ) -> Any:
        group = _group_of(target.get("Arn", ""))
        if group is None:
            return self._invoke(target, event, rule, view, **kw)
        # An event from a schedule comes without a view.
        whole = (view or eventbridge._pattern_event_view(event)).event_with_detail()
        if not any(target.get(name) for name in _OWN_INPUT):
            _deliver(group, {name: whole[name] for name in _ENVELOPE}, event["Time"], rule)
        return None


def _group_of(arn: str) -> str | None:
    """The name of the log group that this ARN is of, or None if it is of something else."""
    try:
        spec = parse_arn(arn)
    except ArnParseError:
        return None
    is_group = spec.service == "logs" and spec.resource.startswith("log-group:")
    return str(spec.resource).removeprefix("log-group:") if is_group else None


def _deliver(group: str, event: Mapping[str, Any], seconds: float, rule: Mapping[str, Any]) -> None:
    stream = uuid4().hex
    if group not in cloudwatch_logs._log_groups or not _may_write(group, stream, rule):
        return
    line = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    where = {"logGroupName": group, "logStreamName": stream}
    cloudwatch_logs._create_log_stream(where)
    cloudwatch_logs._put_log_events(
        where | {"logEvents": [{"timestamp": int(seconds) * 1000, "message": line}]}
    )


def _may_write(group: str, stream: str, rule: Mapping[str, Any]) -> bool:
    """Whether the resource policies let EventBridge make this stream and write to it."""
    policies = [*cloudwatch_logs._resource_policies.values()]
    if own := cloudwatch_logs._log_group_policies.get(group):
        policies.append(own)
    documents = [policy["policyDocument"] for policy in policies]
    arn = f"arn:aws:logs:{get_region()}:{get_account_id()}:log-group:{group}:log-stream:{stream}"
    # Examples in the field ask for the rule's ARN only where events are put; whether a stream's
    # making carries it is not documented, so here it does not (seen: AF-542).
    from_rule = {"aws:sourcearn": rule.get("Arn", ""), "aws:sourceaccount": get_account_id()}
    calls: tuple[tuple[str, dict[str, str]], ...] = (
        ("logs:CreateLogStream", {}),
        ("logs:PutLogEvents", from_rule),
    )
    return all(
        _allows(documents, writer, action, arn, context)
        for writer in _WRITERS
        for action, context in calls
    )


def _allows(
    documents: list[str], service: str, action: str, arn: str, context: Mapping[str, str]
) -> bool:
    asked = iam_evaluator.EvalContext(
        principal_arn="",
        principal_type="Service",
        principal_account=get_account_id(),
        action=action,
        resource_arn=arn,
        region=get_region(),
        service_context=dict(context),
    )
    decisions = {
        iam_evaluator.evaluate_resource_policy(document, asked, service=service).decision
        for document in documents
    }
    return "Allow" in decisions and "Deny" not in decisions
