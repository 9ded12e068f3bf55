"""Talks to SNS: publishes an alert for people and for programs in one call."""

import json
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from keyjanitor.alerts import Alert
from keyjanitor.aws import refusal

ROOM = 100_000  # bytes of each form; an SNS message holds 256 KB in all (doc)


class Topic:
    """The alert topic."""

    def __init__(self, client: Any, arn: str) -> None:
        self._client = client
        self._arn = arn

    def publish(self, alert: Alert) -> None:
        """Publishes one alert; raises CallFailed or AccessDenied."""
        form = json.dumps(alert.form)
        if len(form.encode()) > ROOM:
            form = json.dumps({**alert.form, "tiers": "left out: too many; see the keys file"})
        text = alert.text.encode()[:ROOM].decode(errors="ignore")
        message = {"default": text, "email": text, "sqs": form, "lambda": form, "https": form}
        try:
            self._client.publish(
                TopicArn=self._arn,
                Subject=alert.subject[:99],
                Message=json.dumps(message),
                MessageStructure="json",
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value}
                    for name, value in (("kind", alert.kind), ("severity", alert.severity))
                },
            )
        except (ClientError, BotoCoreError) as err:
            raise refusal(err, "Publish", f"sns:Publish on {self._arn}") from None
