"""Metrics, alarms and topics of a running sandbox, as tests and the demo look at them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

_KEPT = timedelta(days=455)  # for so long CloudWatch keeps an hour's statistics


class Watching:
    """The part of a sandbox that is about metrics, alarms and who hears of them."""

    def _own(self, service: str) -> Any:
        raise NotImplementedError

    def _set(self, name: str, /, **given: Any) -> Any:
        raise NotImplementedError

    def now(self) -> datetime:
        raise NotImplementedError

    def evaluate_alarms(self) -> dict[str, str]:
        """Evaluate every alarm at the clock's now, and publish what changed.

        Gives the state of each by its name: `OK`, `ALARM` or `INSUFFICIENT_DATA`. Nothing else here
        evaluates alarms; on AWS it happens every minute. Raises ValueError for what the sandbox
        does not know: anomaly bands, unknown metric math.
        """
        states: dict[str, str] = self._set("evaluate-alarms")["states"]
        return states

    def metric(
        self,
        name: str,
        *,
        namespace: str = "keyjanitor",
        statistic: str = "Sum",
        since: datetime | None = None,
        period: int = 60,
        dimensions: Mapping[str, str] | None = None,
    ) -> list[tuple[datetime, float]]:
        """(when the period began, in UTC, and its statistic) of a metric up to now, oldest first.

        `statistic` is Sum, Average, Minimum, Maximum, SampleCount or such as p90; `period` in
        seconds. Dimensions that are left out are those of the only metric of that name; raises
        ValueError if there are several.
        """
        if dimensions is None:
            dimensions = self._only_dimensions(namespace, name)
        now = self.now()
        extended = statistic.startswith("p")
        answer = self._own("cloudwatch").get_metric_statistics(
            Namespace=namespace,
            MetricName=name,
            Dimensions=[{"Name": n, "Value": v} for n, v in dimensions.items()],
            StartTime=since or now - _KEPT,
            EndTime=now + timedelta(seconds=1),
            Period=period,
            **{"ExtendedStatistics" if extended else "Statistics": [statistic]},
        )
        found = [
            (
                point["Timestamp"].astimezone(UTC),
                (point["ExtendedStatistics"] if extended else point)[statistic],
            )
            for point in answer["Datapoints"]
        ]
        return sorted(found)

    def _only_dimensions(self, namespace: str, name: str) -> dict[str, str]:
        pages = self._own("cloudwatch").get_paginator("list_metrics")
        found = [
            {dimension["Name"]: dimension["Value"] for dimension in metric["Dimensions"]}
            for page in pages.paginate(Namespace=namespace, MetricName=name)
            for metric in page["Metrics"]
        ]
        if len(found) > 1:
            raise ValueError(f"{namespace} {name} is measured under several dimensions: {found}")
        return found[0] if found else {}

    def subscribe_queue(
        self, topic_arn: str, filter_policy: Mapping[str, Any] | None = None
    ) -> str:
        """Make a queue that the topic may send to, and subscribe it; gives the queue's URL."""
        sqs = self._own("sqs")
        url = str(sqs.create_queue(QueueName=f"inbox-{uuid4().hex[:12]}")["QueueUrl"])
        wanted = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        arn = wanted["Attributes"]["QueueArn"]
        from_topic = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [from_topic]})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        only = {"FilterPolicy": json.dumps(filter_policy)} if filter_policy else {}
        self._own("sns").subscribe(
            TopicArn=topic_arn, Protocol="sqs", Endpoint=arn, Attributes=only
        )
        return url

    def messages(self, queue_url: str) -> list[dict[str, Any]]:
        """Take every message off a queue, in order; gives their bodies, which have to be JSON.

        One that SNS sent has Subject, Message (a text), TopicArn and MessageAttributes.
        """
        sqs = self._own("sqs")
        bodies: list[dict[str, Any]] = []
        while True:
            received = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10)
            if not received.get("Messages"):
                return bodies
            for message in received["Messages"]:
                bodies.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])

    def confirm_email(self, topic_arn: str, endpoint: str) -> None:
        """Confirm a pending subscription as whoever got the mail would. Raises ValueError."""
        self._set("confirm-email", topic_arn=topic_arn, endpoint=endpoint)
