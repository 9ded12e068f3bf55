"""The clients of EventBridge and SNS in memory: both take everything."""

from typing import Any

from sandbox.memory.clients.dynamodb import Item


class FakeTold:
    """A bus and a topic that take everything."""

    def put_events(self, **request: Any) -> Item:
        return {"Entries": [{"EventId": "e"} for _ in request["Entries"]]}

    def publish(self, **_: Any) -> Item:
        return {}

    def list_subscriptions_by_topic(self, **request: Any) -> Item:
        arn = f"{request['TopicArn']}:11111111-2222-3333-4444-555555555555"
        return {"Subscriptions": [{"SubscriptionArn": arn, "Endpoint": "api-team@example.org"}]}
