"""What IAM decides on that MiniStack does not: partitions of a table, and the policy of an event bus.

`dynamodb:LeadingKeys` are the values of the partition key that a request names; each item of a
transaction is decided on with its own (doc: AF-410). A bus's policy is asked beside the caller's own, and a
Deny in it wins (doc: AF-409). Only the sandbox's root may do everything: MiniStack asks nothing about it.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ministack.core import iam_actions, iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import dynamodb, eventbridge
from ministack.services.cloudformation import provisioners

_LEADING = "dynamodb:LeadingKeys"
_EQUALITY = re.compile(r"(#?\w+)\s*=\s*(:\w+)")


class ItemArn(str):
    """The ARN of a table, and the partition of the one item of it that a transaction names."""

    __slots__ = ("leading",)
    leading: str

    def __new__(cls, arn: str, leading: str) -> "ItemArn":
        made = super().__new__(cls, arn)
        made.leading = leading
        return made


class LeadingKeys:
    """`dynamodb:LeadingKeys`, which MiniStack never fills."""

    def __init__(self) -> None:
        self._context_of = iam_actions.dynamodb_service_context
        self._checks_of = iam_actions.dynamodb_transaction_checks
        self._enforce = iam_evaluator.enforce

    def install(self) -> None:
        # MiniStack's dispatcher imports all three anew for each request.
        iam_actions.dynamodb_service_context = self.context_of
        iam_actions.dynamodb_transaction_checks = self.checks_of
        iam_evaluator.enforce = self.enforce

    def context_of(self, body: bytes) -> dict[str, Any]:
        """The condition keys of a request about one table, or of a batch."""
        context: dict[str, Any] = dict(self._context_of(body))
        if partitions := sorted(set(_partitions(_json(body)))):
            context[_LEADING] = partitions
        return context

    def checks_of(
        self, action: str, body: bytes, region: str, account_id: str
    ) -> list[tuple[str, str]]:
        """What a transaction is checked for: each action on each partition of a table, once."""
        checks: list[tuple[str, str]] = self._checks_of(action, body, region, account_id)
        items = [
            request
            for write in _json(body).get("TransactItems") or ()
            for member in ("ConditionCheck", "Put", "Update", "Delete", "Get")
            if isinstance(request := write.get(member), dict) and request.get("TableName")
        ]
        decided = {
            (one, arn, partition): (one, ItemArn(arn, partition))
            for (one, arn), request in zip(checks, items, strict=True)
            for partition in (_partition_of(request["TableName"], request),)
        }
        return list(decided.values())

    def enforce(self, *args: Any, **kw: Any) -> Any:
        """MiniStack's decision; of an item of a transaction with its own partition."""
        resource = kw.get("resource_arn")
        if isinstance(resource, ItemArn):
            context = {**(kw.get("service_context") or {}), _LEADING: [resource.leading]}
            kw |= {"resource_arn": str(resource), "service_context": context}
        return self._enforce(*args, **kw)


def _json(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body or b"{}")
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _partitions(data: Mapping[str, Any]) -> Iterable[str]:
    """The partitions that a request names; of a scan none."""
    for table, asked in (data.get("RequestItems") or {}).items():
        if isinstance(asked, dict):
            yield from (_partition_of(table, {"Key": key}) for key in asked.get("Keys") or ())
        else:
            for write in asked:
                yield from (_partition_of(table, request) for request in write.values())
    table = data.get("TableName")
    if isinstance(table, str) and {"Key", "Item", "KeyConditionExpression"} & data.keys():
        yield _partition_of(table, data)


def _partition_of(table: str, request: Mapping[str, Any]) -> str:
    """The value of the table's partition key in an item, a key, or a condition on keys."""
    described = dynamodb._tables.get(table.rsplit("/", 1)[-1]) or {}
    name = next(
        (
            one["AttributeName"]
            for one in described.get("KeySchema", ())
            if one["KeyType"] == "HASH"
        ),
        "",
    )
    value = (request.get("Item") or request.get("Key") or {}).get(name)
    if expression := request.get("KeyConditionExpression"):
        names = request.get("ExpressionAttributeNames") or {}
        for left, right in _EQUALITY.findall(expression):
            if names.get(left, left) == name:
                value = (request.get("ExpressionAttributeValues") or {}).get(right)
    # What cannot be told is no partition that a policy names.
    return str(next(iter(value.values()))) if isinstance(value, dict) and value else "\0"


class SimulatedPrincipals:
    """The resource of `iam:SimulatePrincipalPolicy`: the principal that is asked about, not `*`.

    The service authorization reference has group, role and user as its resource types.
    """

    def __init__(self) -> None:
        self._resource_of = iam_actions.extract_resource_arn

    def install(self) -> None:
        # MiniStack's dispatcher imports it anew for each request.
        iam_actions.extract_resource_arn = self.resource_of

    def resource_of(self, service: str, *request: Any) -> Any:
        """The ARN that a request is decided on."""
        if service == "iam":
            for params in request:
                principal = params.get("PolicySourceArn") if isinstance(params, Mapping) else None
                if principal:
                    return principal[0] if isinstance(principal, list) else principal
        return self._resource_of(service, *request)


class BusPolicies:
    """`AWS::Events::EventBusPolicy`, and the policy of a bus asked when events are put on it."""

    def install(self) -> None:
        provisioners._RESOURCE_HANDLERS["AWS::Events::EventBusPolicy"] = {
            "create": self.put,
            "update": lambda _, __, properties, *rest: self.put("", properties, *rest),
            "delete": self.remove,
        }
        eventbridge.bus_policy_for_arn = self.policy_of
        iam_evaluator._RESOURCE_POLICY_LOOKUPS["events"] = ("eventbridge", "bus_policy_for_arn")

    @staticmethod
    def put(_: str, properties: Mapping[str, Any], *__: Any) -> tuple[str, dict[str, Any]]:
        """Writes one statement of a bus's policy."""
        bus, name = properties.get("EventBusName", "default"), properties["StatementId"]
        statement = properties["Statement"]
        if isinstance(statement, str):
            statement = json.loads(statement)
        policy = eventbridge._event_bus_policies.get(bus) or {"Version": "2012-10-17"}
        others = [one for one in policy.get("Statement", ()) if one.get("Sid") != name]
        eventbridge._event_bus_policies[bus] = {
            **policy,
            "Statement": [*others, {**statement, "Sid": name}],
        }
        return f"{bus}|{name}", {}

    @staticmethod
    def remove(_: str, properties: Mapping[str, Any], *__: Any) -> None:
        """Takes the statement out again."""
        bus = properties.get("EventBusName", "default")
        policy = eventbridge._event_bus_policies.get(bus)
        if policy:
            policy["Statement"] = [
                one for one in policy["Statement"] if one.get("Sid") != properties["StatementId"]
            ]

    @staticmethod
    def policy_of(arn: str) -> tuple[Mapping[str, Any], str] | None:
        """The policy of a bus of this account and Region, and its owner; None if it has none."""
        if not arn.startswith(f"arn:aws:events:{get_region()}:{get_account_id()}:event-bus/"):
            return None
        policy = eventbridge._event_bus_policies.get(arn.rsplit("/", 1)[-1])
        return (policy, get_account_id()) if policy else None
