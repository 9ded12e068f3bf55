"""Rules of EventBridge whose target is a queue: its policy has to let them in, which MiniStack does not ask."""

from typing import Any

from ministack.core.arn import ArnParseError, parse_arn
from ministack.core.responses import get_account_id
from ministack.services import eventbridge, sqs

_SENDER = "events.amazonaws.com"


class QueueTargets:
    """An event reaches a queue only if its policy lets `events.amazonaws.com` send, from that rule.

    As on AWS the target is accepted without it, and what is not delivered is said to no caller (doc: AF-545).
    """

    def install(self) -> None:
        self._invoke = eventbridge._invoke_target
        eventbridge._invoke_target = self.invoke

    def invoke(self, target: dict[str, Any], event: Any, rule: Any, *rest: Any, **kw: Any) -> Any:
        queue, source = target.get("Arn", ""), (rule or {}).get("Arn", "")
        is_sent_by_rule = (_service_of(queue), _service_of(source)) == ("sqs", "events")
        if is_sent_by_rule and not sqs.queue_policy_allows(
            queue, _SENDER, source, get_account_id()
        ):
            return None
        return self._invoke(target, event, rule, *rest, **kw)


def _service_of(arn: str) -> str:
    """The service of an ARN; empty if it is none. A schedule sends with its role, not by the policy."""
    try:
        return str(parse_arn(arn).service)
    except ArnParseError:
        return ""
