"""Talks to SNS: publishes an alert for people and for programs in one call."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from keyjanitor import __version__
from keyjanitor.adapters.clients import refusal
from keyjanitor.domain.model.alert import Alert, Place, chat
from keyjanitor.errors import CallFailed

ROOM = 250_000  # bytes of all forms together; an SNS message holds 256 KiB in all (doc: AF-531)
TOO_LONG = frozenset({"InvalidParameter", "InvalidParameterException"})
TEXT_ROOM = (60_000, 15_000)  # bytes of the text, which JSON may make three times as long


class Stack(NamedTuple):
    """What alerts say of the stack that the topic belongs to.

    `https_form` is what an https subscription gets: `json` for programs, or `chat` as Amazon Q
    Developer in chat applications shows it.
    """

    name: str
    bucket: str
    runbook_url: str = ""
    https_form: str = "json"


class AlertTopic:
    """The alert topic."""

    def __init__(self, client: Any, arn: str, stack: Stack) -> None:
        self._client = client
        self._arn = arn
        self._stack = stack

    @property
    def place(self) -> Place:
        """The stack that alerts on this topic are about."""
        one = self._stack
        return Place.of(self._arn, one.name, __version__, one.bucket, one.runbook_url)

    def publish(self, alert: Alert) -> None:
        """Publishes one alert; raises CallFailed or AccessDenied.

        A message that SNS takes for too long is sent shorter: what it leaves out, it says where to
        find.
        """
        *longer, shortest = _messages(alert, self._stack.https_form)
        for message in longer:
            try:
                return self._publish(alert, message)
            except CallFailed as err:
                if err.code not in TOO_LONG:
                    raise
        return self._publish(alert, shortest)

    def _publish(self, alert: Alert, message: str) -> None:
        try:
            self._client.publish(
                TopicArn=self._arn,
                Subject=alert.subject[:99],
                Message=message,
                MessageStructure="json",
                MessageAttributes=_attributes(alert),
            )
        except (ClientError, BotoCoreError) as err:
            raise refusal(err, "Publish", f"sns:Publish on {self._arn}") from None

    def is_heard(self) -> bool:
        """True if a subscription is confirmed; raises as `publish` does.

        The count in GetTopicAttributes lags behind, so the subscriptions themselves are asked: one
        that waits or was deleted has a word where the others have their ARN (doc: AF-532).
        """
        return any(str(one["SubscriptionArn"]).startswith("arn:") for one in self._subscriptions())

    def unconfirmed(self) -> list[str]:
        """The endpoints of subscriptions that are not confirmed; raises as `publish` does."""
        return [
            str(one["Endpoint"])
            for one in self._subscriptions()
            if one["SubscriptionArn"] == "PendingConfirmation"
        ]

    def _subscriptions(self) -> Iterator[dict[str, Any]]:
        """All of them; a page, of at most 100 (doc: AF-532), is only asked for when it is needed."""
        token: dict[str, str] = {}
        while True:
            try:
                page = self._client.list_subscriptions_by_topic(TopicArn=self._arn, **token)
            except (ClientError, BotoCoreError) as err:
                action = f"sns:ListSubscriptionsByTopic on {self._arn}"
                raise refusal(err, "ListSubscriptionsByTopic", action) from None
            yield from page["Subscriptions"]
            if not page.get("NextToken"):
                return
            token = {"NextToken": page["NextToken"]}


def _attributes(alert: Alert) -> dict[str, dict[str, str]]:
    """What filter policies may ask for; a list matches if one of its texts does."""
    texts = {"kind": alert.kind, "severity": alert.severity, "audience": alert.audience}
    lists = {"tier": alert.tiers, "contact": alert.contacts}
    return {name: {"DataType": "String", "StringValue": text} for name, text in texts.items()} | {
        name: {"DataType": "String.Array", "StringValue": json.dumps(values)}
        for name, values in lists.items()
        if values
    }


def _messages(alert: Alert, https_form: str) -> list[str]:
    """The alert in all its forms, the longest first that fits; what follows is cut further.

    The programs' form is cut first. No message comes twice.
    """
    short = {**alert.form, "tiers": "left out: too many; see the keys file"}
    cuts = [(alert.form, TEXT_ROOM[0])]
    if "tiers" in alert.form:
        cuts.append((short, TEXT_ROOM[0]))
    cuts.append((cuts[-1][0], TEXT_ROOM[1]))
    messages: list[str] = []
    for form, room in cuts:
        text = alert.text.encode()[:room].decode(errors="ignore")
        said = json.dumps(form)
        https = json.dumps(chat(alert)) if https_form == "chat" else said
        message = json.dumps(
            {"default": text, "email": text, "sqs": said, "lambda": said, "https": https}
        )
        if message not in messages:
            messages.append(message)
    fitting = [message for message in messages if len(message) <= ROOM]
    return fitting or messages[-1:]
