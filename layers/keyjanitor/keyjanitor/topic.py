"""Talks to SNS: publishes an alert for people and for programs in one call."""

import json
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from keyjanitor.alerts import Alert
from keyjanitor.aws import refusal

ROOM = 250_000  # bytes of all forms together; an SNS message holds 256 KB in all (doc)
TEXT_ROOM = (60_000, 15_000)  # bytes of the text, which JSON may make three times as long


class Topic:
    """The alert topic."""

    def __init__(self, client: Any, arn: str) -> None:
        self._client = client
        self._arn = arn

    def publish(self, alert: Alert) -> None:
        """Publishes one alert; raises CallFailed or AccessDenied."""
        try:
            self._client.publish(
                TopicArn=self._arn,
                Subject=alert.subject[:99],
                Message=_message(alert),
                MessageStructure="json",
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value}
                    for name, value in (("kind", alert.kind), ("severity", alert.severity))
                },
            )
        except (ClientError, BotoCoreError) as err:
            raise refusal(err, "Publish", f"sns:Publish on {self._arn}") from None

    def unconfirmed(self) -> list[str]:
        """The endpoints of subscriptions that nobody has confirmed; raises as `publish` does."""
        endpoints: list[str] = []
        token: dict[str, str] = {}
        while True:
            try:
                page = self._client.list_subscriptions_by_topic(TopicArn=self._arn, **token)
            except (ClientError, BotoCoreError) as err:
                action = f"sns:ListSubscriptionsByTopic on {self._arn}"
                raise refusal(err, "ListSubscriptionsByTopic", action) from None
            endpoints += [
                str(one["Endpoint"])
                for one in page["Subscriptions"]
                if one["SubscriptionArn"] == "PendingConfirmation"
            ]
            if not page.get("NextToken"):
                return endpoints
            token = {"NextToken": page["NextToken"]}


def _message(alert: Alert) -> str:
    """The alert in all its forms; what does not fit together is cut, the programs' form first."""
    whole = json.dumps(alert.form)
    short = json.dumps({**alert.form, "tiers": "left out: too many; see the keys file"})
    message = ""
    for form, room in ((whole, TEXT_ROOM[0]), *((short, room) for room in TEXT_ROOM)):
        text = alert.text.encode()[:room].decode(errors="ignore")
        message = json.dumps(
            {"default": text, "email": text, "sqs": form, "lambda": form, "https": form}
        )
        if len(message) <= ROOM:
            break
    return message
