"""Topics as SNS has them: encrypted under a key of their own, and mail that somebody must confirm."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region, new_uuid
from ministack.services import kms, sns
from ministack.services.cloudformation import provisioners

from sandbox.aws.wire import Answer

CLOUDWATCH = "cloudwatch.amazonaws.com"
_MAIL = ("email", "email-json")
_OF_KEY = ("kms:GenerateDataKey", "kms:Decrypt")
_MANAGED = "alias/aws/sns"


class Topics:
    """Templates keep a topic's key, mail waits to be confirmed, and publishing needs the key."""

    def install(self) -> None:
        handlers = provisioners._RESOURCE_HANDLERS
        topic, subscription = handlers["AWS::SNS::Topic"], handlers["AWS::SNS::Subscription"]
        self._create, self._update = topic["create"], topic["update"]
        topic["create"], topic["update"] = self.create, self.update
        self._create_subscription = subscription["create"]
        subscription["create"] = self.create_subscription
        self._subscribe = sns._subscribe
        sns._subscribe = self.subscribe
        self._list, self._list_by_topic = sns._list_subscriptions, sns._list_subscriptions_by_topic
        sns._list_subscriptions = lambda params: _hide_pending(self._list(params))
        sns._list_subscriptions_by_topic = lambda params: _hide_pending(self._list_by_topic(params))
        self._publish, self._publish_batch = sns._publish, sns._publish_batch
        sns._publish = lambda params: self.publish(self._publish, params)
        sns._publish_batch = lambda params: self.publish(self._publish_batch, params)

    # -- templates ----------------------------------------------------------------------------

    def create(self, logical_id: str, props: Mapping[str, Any], *rest: Any) -> Any:
        made = self._create(logical_id, props, *rest)
        _keep_key(made[0], props)
        return made

    def update(self, physical_id: str, old: Any, new: Mapping[str, Any], *rest: Any) -> Any:
        made = self._update(physical_id, old, new, *rest)
        _keep_key(made[0], new)
        return made

    def create_subscription(self, logical_id: str, props: Mapping[str, Any], *rest: Any) -> Any:
        made = self._create_subscription(logical_id, props, *rest)
        _let_mail_wait(str(props.get("TopicArn")))
        return made

    # -- calls --------------------------------------------------------------------------------

    def subscribe(self, params: Mapping[str, Any]) -> Answer:
        """Subscribe: for mail, pending until it is confirmed."""
        status, headers, body = self._subscribe(params)
        arn = sns._p(params, "TopicArn")
        _let_mail_wait(arn)
        if sns._p(params, "ReturnSubscriptionArn") != "true":
            for subscription in _pending_of(arn):
                body = body.replace(subscription["arn"].encode(), b"pending confirmation")
        return status, headers, body

    def publish(self, call: Any, params: Mapping[str, Any]) -> Answer:
        """Publish and PublishBatch: the caller needs the key of an encrypted topic too.

        `kms:GenerateDataKey*` and `kms:Decrypt` (doc: AF-535). A key that AWS manages lets everybody
        of the account in.
        """
        key_id = _key_of(sns._p(params, "TopicArn"))
        key = kms._resolve_key(key_id) if key_id else None
        # Empty for root, who may do everything.
        access_key_id = iam_evaluator._verified_key.get()
        if key is not None and access_key_id:
            region = get_region()
            context = {"kms:ViaService": f"sns.{region}.amazonaws.com"}
            for action in _OF_KEY:
                denied = iam_evaluator.enforce(
                    access_key_id, action, "kms", region, key["Arn"], context
                )
                if denied:
                    who = getattr(denied, "principal_arn", "unknown")
                    message = f"User: {who} is not authorized to perform: {action}"
                    answer: Answer = sns._error(
                        "KMSAccessDenied", f"{message} on resource: {key['Arn']}", 400
                    )
                    return answer
        called: Answer = call(params)
        return called

    def confirm_mail(self, topic_arn: str, endpoint: str) -> None:
        """Confirm a subscription of this address. Raises ValueError if none is pending."""
        for subscription in _pending_of(topic_arn):
            if subscription["endpoint"] == endpoint:
                sns._confirm_subscription({"TopicArn": topic_arn, "Token": subscription["token"]})
                return
        raise ValueError(f"nothing to confirm for {endpoint} at {topic_arn}")


def _topic(topic_arn: str) -> dict[str, Any] | None:
    topic: dict[str, Any] | None = sns._topics.get(topic_arn)
    return topic


def _keep_key(topic_arn: str, props: Mapping[str, Any]) -> None:
    """What MiniStack drops of a template: the key, and that mail waits."""
    topic = _topic(topic_arn)
    if topic is None:
        return
    if key_id := props.get("KmsMasterKeyId"):
        topic["attributes"]["KmsMasterKeyId"] = str(key_id)
    else:
        topic["attributes"].pop("KmsMasterKeyId", None)
    _let_mail_wait(topic_arn)


def _let_mail_wait(topic_arn: str) -> None:
    """Take back MiniStack's confirmation of mail that nobody was asked about yet."""
    topic = _topic(topic_arn)
    for subscription in topic["subscriptions"] if topic else ():
        if subscription["protocol"] in _MAIL and "asked" not in subscription:
            subscription |= {"confirmed": False, "asked": True, "token": new_uuid()}
            subscription["attributes"] |= {
                "PendingConfirmation": "true",
                "ConfirmationWasAuthenticated": "false",
            }
            sns._refresh_subscription_counts(topic)


def _pending_of(topic_arn: str) -> Iterator[dict[str, Any]]:
    topic = _topic(topic_arn)
    for subscription in topic["subscriptions"] if topic else ():
        if not subscription["confirmed"]:
            yield subscription


def _hide_pending(answer: Answer) -> Answer:
    """A list of subscriptions names no ARN of one that is pending (doc: AF-532)."""
    status, headers, body = answer
    for topic_arn in sns._topics:
        for subscription in _pending_of(topic_arn):
            body = body.replace(subscription["arn"].encode(), b"PendingConfirmation")
    return status, headers, body


def _key_of(topic_arn: str) -> str | None:
    topic = _topic(topic_arn)
    return topic["attributes"].get("KmsMasterKeyId") if topic else None


def why_an_alarm_may_not_publish(alarm_arn: str, topic_arn: str) -> str | None:
    """Why CloudWatch may not publish for this alarm, in its words (seen: AF-563), or None if it may.

    The topic's policy is asked with the alarm as aws:SourceArn, then the key's policy. KMS is not
    told of the alarm (believed: AF-536), nor of a calling account (doc: AF-533): alias/aws/sns asks
    for one, and the action fails.
    """
    topic = _topic(topic_arn)
    if topic is None:
        return "Topic does not exist"
    source = {"aws:sourcearn": alarm_arn, "aws:sourceaccount": get_account_id()}
    policy = topic["attributes"].get("Policy") or ""
    asked = source | {"aws:sourceowner": get_account_id()}
    if not _lets_cloudwatch(policy, "sns:Publish", topic_arn, asked):
        return (
            f"Resource: {alarm_arn} is not authorized to perform: SNS:Publish "
            f"on resource: {topic_arn}"
        )
    if key_id := topic["attributes"].get("KmsMasterKeyId"):
        key = None if key_id.endswith(_MANAGED) else kms._resolve_key(key_id)
        if (
            key is None
            or kms._check_key_state(key) is not None
            or not all(_lets_cloudwatch(key["Policy"], a, key["Arn"], {}) for a in _OF_KEY)
        ):
            return "CloudWatch Alarms does not have authorization to access the SNS topic encryption key."
    return None


def _lets_cloudwatch(
    policy: str | dict[str, Any], action: str, arn: str, context: Mapping[str, str]
) -> bool:
    asked = iam_evaluator.EvalContext(
        # As MiniStack asks for services: "*" as a principal means them too, an account does not.
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action=action,
        resource_arn=arn,
        region=get_region(),
        secure_transport=True,
        service_context=dict(context),
    )
    document = policy if isinstance(policy, str) else json.dumps(policy)
    decided = iam_evaluator.evaluate_resource_policy(document, asked, service=CLOUDWATCH)
    return bool(decided.decision == "Allow")
