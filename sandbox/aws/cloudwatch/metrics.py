"""CloudWatch's metrics as AWS has them: from logs, of every invocation, of queues, by dimensions."""

import threading
import time
from collections.abc import Mapping
from typing import Any

from ministack.services import cloudwatch, cloudwatch_logs, lambda_svc, sqs

from sandbox.aws.clock import Clock
from sandbox.aws.cloudwatch.emf import data_of

POISON = 3  # receptions after which a message's age is not counted any more


class _Time:
    """The module `time`, as far as CloudWatch uses it, by the sandbox's clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def time(self) -> float:
        return self._clock.now().timestamp()


class _Dimensions(dict[str, str]):
    """Dimensions that were asked for, be they none: MiniStack takes none for any."""

    def __bool__(self) -> bool:
        return True


class Metrics:
    """All that CloudWatch measures follows the sandbox's clock, and is kept until it is wiped.

    A line in embedded metric format counts at its own Timestamp as long as the clock shows real
    time, and once it is set, at the clock's: functions live in real time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # functions end in threads of their own

    def install(self) -> None:
        cloudwatch.time = _Time(self._clock)
        cloudwatch._evict_old_metrics = lambda: None
        cloudwatch._metric_bucket = self._bucket
        self._dimensions_of = cloudwatch._dims_from_list
        cloudwatch._dims_from_list = lambda given: _Dimensions(self._dimensions_of(given))
        self._append_lines = cloudwatch_logs._append_log_events
        cloudwatch_logs._append_log_events = self.append_lines
        self._execute = lambda_svc._execute_function_dispatch
        lambda_svc._execute_function_dispatch = self.execute
        lambda_svc._emit_lambda_metrics = self.note_throttle

    def _bucket(self, key: tuple[str, str, str]) -> list[dict[str, Any]]:
        with self._lock:
            points: list[dict[str, Any]] = cloudwatch._metrics.setdefault(key, [])
            return points

    def add(
        self,
        namespace: str,
        name: str,
        value: float,
        unit: str,
        dimensions: Mapping[str, str],
    ) -> None:
        """One value, now."""
        at = self._clock.now().timestamp()
        cloudwatch._store_datum(namespace, name, dict(dimensions), at, unit, value, *[None] * 3)

    def forget(self) -> None:
        """Forget every metric."""
        with self._lock:
            cloudwatch._metrics.clear()

    # -- logs ---------------------------------------------------------------------------------

    def append_lines(self, stream: Any, events: list[dict[str, Any]]) -> None:
        """Keep lines of a log, of a function or whoever wrote them, and take their metrics."""
        self._append_lines(stream, events)
        now = self._clock.now().timestamp() if self._clock.is_set else None
        for event in events:
            for datum in data_of(event["message"]):
                cloudwatch._store_datum(
                    datum.namespace,
                    datum.name,
                    dict(datum.dimensions),
                    datum.at if now is None else now,
                    datum.unit,
                    None,
                    datum.values,
                    None,
                    None,
                )

    # -- functions ----------------------------------------------------------------------------

    def execute(self, function: Any, config: Any, *rest: Any) -> dict[str, Any]:
        """Run a function, whoever invoked it, and note how it went.

        MiniStack notes synchronous invocations only, and asynchronous ones as soon as it takes them.
        Each try counts (doc: AF-564).
        """
        started = time.monotonic()
        result: dict[str, Any] = self._execute(function, config, *rest)
        milliseconds = (time.monotonic() - started) * 1000
        dimensions = {"FunctionName": str(config.get("FunctionName"))}
        if result.get("throttle"):
            self.add("AWS/Lambda", "Throttles", 1, "Count", dimensions)
            return result
        self.add("AWS/Lambda", "Invocations", 1, "Count", dimensions)
        self.add("AWS/Lambda", "Errors", 1 if result.get("error") else 0, "Count", dimensions)
        self.add("AWS/Lambda", "Throttles", 0, "Count", dimensions)
        self.add("AWS/Lambda", "Duration", milliseconds, "Milliseconds", dimensions)
        return result

    def note_throttle(self, name: str, duration_ms: float, error: bool, throttle: bool) -> None:  # noqa: ARG002 - MiniStack's own signature
        """In the place of MiniStack's notes: what is left is an invocation that never began.

        It tells of it twice, the second time with the duration of a synchronous call.
        """
        if throttle and not duration_ms:
            self.add("AWS/Lambda", "Throttles", 1, "Count", {"FunctionName": name})

    # -- queues -------------------------------------------------------------------------------

    def note_queues(self) -> None:
        """Measure every queue, as SQS does once a minute."""
        for queue in sqs._queues.values():
            with sqs._queues_lock:
                for name, value, unit in self._measures_of(queue):
                    queue_name = queue["attributes"]["QueueArn"].rpartition(":")[2]
                    self.add("AWS/SQS", name, value, unit, {"QueueName": queue_name})

    def _measures_of(self, queue: dict[str, Any]) -> list[tuple[str, float, str]]:
        """The oldest message is older than any that failed three times (doc: AF-554).

        In a dead-letter queue AWS counts from when a message was moved there, which nobody notes
        here: such a message has no age.
        """
        sqs._refresh_counts(queue)
        attributes, messages = queue["attributes"], queue["messages"]
        for message in messages:
            sqs._ensure_msg_fields(message)
        now = self._clock.now().timestamp()
        ages = [
            now - int(message["sys"]["SentTimestamp"]) / 1000
            for message in messages
            if message["receive_count"] < POISON
            and "DeadLetterQueueSourceArn" not in message["sys"]
        ]
        counted = {
            "ApproximateNumberOfMessagesVisible": "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible": "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed": "ApproximateNumberOfMessagesDelayed",
        }
        counts = [(name, float(attributes[of]), "Count") for name, of in counted.items()]
        oldest = max([0.0, *ages])
        return [*counts, ("ApproximateAgeOfOldestMessage", float(round(oldest)), "Seconds")]
