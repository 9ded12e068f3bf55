"""Queues, and the functions they start: rights, who sent what when, refused mappings, moved letters."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ministack.core import iam_actions, iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import iam, lambda_svc, sqs
from ministack.services.cloudformation import provisioners

from sandbox.aws.clock import Clock
from sandbox.aws.wire import Answer

_MAPPING = "AWS::Lambda::EventSourceMapping"
_NEEDED = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")


class EventSources:
    """What a function sees of a message, and mappings that are refused as AWS refuses them.

    `SentTimestamp` follows the sandbox's clock; MiniStack goes on counting visibility and
    retention in real time. `SenderId` is who sent the message: a user's id, a role's id with a colon
    and the session's name, or the account for its root.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def install(self) -> None:
        self._attributes = sqs._build_send_sys_attrs
        self._complete = sqs._ensure_msg_fields
        self._run_batch = lambda_svc._run_sqs_batch
        self._create = lambda_svc._create_esm
        self._action_of = iam_actions.extract_iam_action
        self._provision = provisioners._RESOURCE_HANDLERS[_MAPPING]["create"]
        iam_actions.extract_iam_action = self.action_of
        sqs._build_send_sys_attrs = self.attributes_of_sent
        sqs._ensure_msg_fields = self.complete
        lambda_svc._run_sqs_batch = self.run_batch
        lambda_svc._create_esm = self.create
        provisioners._RESOURCE_HANDLERS[_MAPPING]["create"] = self.provision

    def action_of(self, service: str, *request: Any) -> str | None:
        """The right that a call needs: for a batch on a queue or topic it is that of one message.

        "You cannot set permissions explicitly for SendMessageBatch" and the others (doc: AF-556).
        """
        action: str | None = self._action_of(service, *request)
        return action.removesuffix("Batch") if action and service in ("sqs", "sns") else action

    def attributes_of_sent(self, now: float, given: Mapping[str, Any]) -> dict[str, Any]:
        """The system attributes of a message that is being sent."""
        sent = str(int(self._clock.now().timestamp() * 1000))
        attributes: dict[str, Any] = self._attributes(now, given)
        return attributes | {"SentTimestamp": sent, "SenderId": _sender_id()}

    def complete(self, message: dict[str, Any]) -> None:
        """The same for a message from a topic or a rule, whose sender MiniStack does not name."""
        if "sys" not in message:
            sent = str(int(self._clock.now().timestamp() * 1000))
            message["sys"] = {"SenderId": get_account_id(), "SentTimestamp": sent}
        self._complete(message)

    def run_batch(
        self, mapping: Any, function: Any, event: dict[str, Any], batch: Any, *rest: Any
    ) -> None:
        """Start a function with the messages, showing who sent them and when."""
        kept = {message["id"]: message.get("sys") or {} for message in batch}
        for record in event["Records"]:
            shown, known = record["attributes"], kept[record["messageId"]]
            real = int(shown["SentTimestamp"])
            sent = int(known.get("SentTimestamp") or real)
            first = int(shown["ApproximateFirstReceiveTimestamp"])
            shown["SentTimestamp"] = str(sent)
            shown["ApproximateFirstReceiveTimestamp"] = str(first - real + sent)
            shown["SenderId"] = known.get("SenderId") or shown["SenderId"]
        self._run_batch(mapping, function, event, batch, *rest)

    def create(self, data: dict[str, Any]) -> Answer:
        """CreateEventSourceMapping."""
        reason = next(_objections(data), None)
        answer: Answer = (
            lambda_svc._invalid_parameter_value(reason) if reason else self._create(data)
        )
        return answer

    def provision(self, logical_id: str, props: dict[str, Any], *rest: Any, **kw: Any) -> Any:
        """The same for a stack, which fails with the reason."""
        if reason := next(_objections(props), None):
            raise ValueError(f"{_MAPPING} create failed: {reason}")
        return self._provision(logical_id, props, *rest, **kw)


def _sender_id() -> str:
    # Empty for root, whose signature MiniStack does not check.
    access_key_id = iam_evaluator._verified_key.get()
    if not access_key_id:
        return str(get_account_id())
    credential = iam_evaluator.resolve_credential(access_key_id)
    return str(getattr(credential, "principal_id", "") or get_account_id())


def _objections(mapping: Mapping[str, Any]) -> Iterator[str]:
    """Why AWS would refuse to let a queue start a function, in its words (seen: AF-555).

    MiniStack reads the queue whatever the function's role may do.
    """
    arn = str(mapping.get("EventSourceArn", ""))
    queue = sqs._queue_by_arn(arn) if ":sqs:" in arn else None
    _, function, _ = lambda_svc._get_func_record_for_ref(str(mapping.get("FunctionName", "")))
    if queue is None or not function:
        return
    for action in _NEEDED:
        if not _role_may(function["Role"], f"sqs:{action}", arn, queue):
            yield f"The provided execution role does not have permissions to call {action} on SQS"
    visibility, timeout = int(queue["attributes"]["VisibilityTimeout"]), int(function["Timeout"])
    if visibility < timeout:
        yield (
            f"Queue visibility timeout: {visibility} seconds is less than "
            f"Function timeout: {timeout} seconds"
        )
    window = int(mapping.get("MaximumBatchingWindowInSeconds") or 0)
    if int(mapping.get("BatchSize") or 10) > 10 and not window:
        yield (
            "Maximum batch window in seconds must be greater than 0 "
            "if maximum batch size is greater than 10"
        )


def _role_may(role_arn: str, action: str, queue_arn: str, queue: Mapping[str, Any]) -> bool:
    account, role = get_account_id(), role_arn.rpartition("/")[2]
    asked = iam_evaluator.EvalContext(
        principal_arn=f"arn:aws:sts::{account}:assumed-role/{role}/event-source",
        principal_type="AssumedRole",
        principal_account=account,
        action=action,
        resource_arn=queue_arn,
        region=get_region(),
    )
    policies = iam_evaluator._gather_role_policies(role, account)
    limits = iam_evaluator._permissions_boundary(iam._roles, role, account)
    decided = iam_evaluator.evaluate(asked, policies, *limits)
    own = json.loads(queue["attributes"].get("Policy") or "{}")
    if own:
        decided = iam_evaluator.combine_resource_policy(
            decided, asked, own, account, limits=tuple(limits)
        )
    return bool(decided.decision == "Allow")


class MoveTasks:
    """StartMessageMoveTask and ListMessageMoveTasks, which MiniStack lacks.

    What is visible goes at once to the queue whose dead letters it is, as new messages whose sender
    is the mover (as `sandbox.driver.queues.Queues.move_back` has it). What somebody received stays.
    """

    def __init__(self) -> None:
        self._tasks: list[dict[str, Any]] = []

    def install(self) -> None:
        sqs._HANDLERS["StartMessageMoveTask"] = self.start
        sqs._HANDLERS["ListMessageMoveTasks"] = self.tasks_of

    def start(self, given: Mapping[str, Any], _: str) -> dict[str, Any]:
        source = given["SourceArn"]
        queues = {queue["attributes"]["QueueArn"]: queue for queue in sqs._queues.values()}
        targets = [
            queue["url"]
            for queue in queues.values()
            if source in str(queue["attributes"].get("RedrivePolicy"))
        ]
        if source not in queues or not targets:
            raise sqs._Err(
                "InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue."
            )
        letters, now = queues[source], time.time()
        with sqs._queues_lock:
            moved = [one for one in letters["messages"] if one["visible_at"] <= now]
            letters["messages"] = [one for one in letters["messages"] if one["visible_at"] > now]
        for one in moved:
            sent = {"MessageBody": one["body"], "MessageAttributes": one["message_attributes"]}
            sqs._HANDLERS["SendMessage"]({"QueueUrl": targets[0], **sent}, targets[0])
        task = {"SourceArn": source, "Status": "COMPLETED", "StartedTimestamp": int(now * 1000)}
        self._tasks.insert(0, {**task, "ApproximateNumberOfMessagesMoved": len(moved)})
        return {"TaskHandle": f"{source}/{len(self._tasks)}"}

    def tasks_of(self, given: Mapping[str, Any], _: str) -> dict[str, Any]:
        mine = [task for task in self._tasks if task["SourceArn"] == given["SourceArn"]]
        return {"Results": mine[: int(given.get("MaxResults") or 1)]}


def redeliver(queue_url: str) -> int:
    """End the visibility timeout of every message that somebody received; gives how many."""
    try:
        queue = sqs._get_q(queue_url)
    except sqs._Err as err:
        raise ValueError(err.message) from None
    with sqs._queues_lock:
        now = time.time()
        received = [m for m in queue["messages"] if m["receive_count"] and m["visible_at"] > now]
        for message in received:
            message["visible_at"] = now
    sqs.esm_wake.set()
    return len(received)


def forget_messages() -> None:
    """Empty every queue; the queues themselves stay."""
    with sqs._queues_lock:
        for queue in sqs._queues.all_values():
            queue["messages"] = []
