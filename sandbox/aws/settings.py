"""What tests and the demo may set or see: each method is `/_sandbox/` and its name with hyphens."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from ministack.services import apigateway_v1

from sandbox.aws import completions, stored
from sandbox.aws.apigateway.api_keys import new_value
from sandbox.aws.apigateway.apigateway import ControlPlane
from sandbox.aws.calls import CallLog
from sandbox.aws.clock import Clock
from sandbox.aws.cloudwatch.alarms import Alarms
from sandbox.aws.cloudwatch.metrics import Metrics
from sandbox.aws.environment import ACCOUNT, REGION
from sandbox.aws.faults import Faults
from sandbox.aws.messaging import event_sources
from sandbox.aws.messaging.topics import Topics
from sandbox.aws.throttles import ControlPlaneThrottles
from sandbox.aws.workers import workers

Given = Mapping[str, Any]
Setting = Callable[[Given], dict[str, Any] | Iterator[dict[str, str]]]


@dataclass(frozen=True, slots=True)
class Settings:
    """The parts of a running sandbox, and what can be done to them from outside."""

    clock: Clock
    faults: Faults
    throttles: ControlPlaneThrottles
    calls_made: CallLog
    control: ControlPlane
    published: completions.Published
    metrics: Metrics
    alarms: Alarms
    topics: Topics

    def named(self, name: str) -> Setting | None:
        """The setting of that name, or None."""
        setting: Setting | None = getattr(self, name.replace("-", "_"), None)
        is_one = not name.startswith("_") and name != "named" and callable(setting)
        return setting if is_one else None

    def ready(self, _: Given) -> dict[str, Any]:
        return {"account": ACCOUNT, "region": REGION}

    def time(self, given: Given) -> dict[str, Any]:
        """Show the clock; set it to `now` first, let it `run`, or `reset` it to real time."""
        if "now" in given:
            self.clock.set(datetime.fromisoformat(given["now"]))
        if given.get("reset"):
            self.clock.reset()
        if given.get("run"):
            self.clock.run()
        return {"now": self.clock.now().isoformat()}

    def speed(self, given: Given) -> dict[str, Any]:
        self.throttles.reset(given["speed"])
        return {}

    def misbehaviour(self, given: Given) -> dict[str, Any]:
        """Set faults, or put all of them right first with `reset`; gives all of them."""
        what = dict(given)
        if what.pop("reset", False):
            self.faults.set({f: getattr(Faults(), f) for f in Faults.__slots__})
            self.faults.made.clear()
        self.faults.set(what)
        return asdict(self.faults)

    def keys(self, given: Given) -> dict[str, Any]:
        """Lay down keys with their past, as rows; gives their ids in the same order."""
        return {"ids": [self._lay_down(row) for row in given["keys"]]}

    def _lay_down(self, row: Given) -> str:
        value = row.get("value") or new_value()
        key_id = row.get("id") or self.control.api_keys.new_id(value)
        created = row.get("created") or int(self.clock.now().timestamp())
        record = {
            "id": key_id,
            "value": value,
            "name": row.get("name", ""),
            "enabled": row.get("enabled", True),
            "createdDate": created,
            "lastUpdatedDate": row.get("updated") or created,
            "stageKeys": row.get("stage_keys") or [],
            "tags": row.get("tags") or {},
        }
        for ours, theirs in (("description", "description"), ("customer_id", "customerId")):
            if row.get(ours):
                record[theirs] = row[ours]
        if self.control.keys.with_value((ACCOUNT, REGION), value):
            raise ValueError("a key with this value is already there")
        self.control.keys[key_id] = record
        for plan_id in row.get("plans") or ():
            if plan_id not in apigateway_v1._usage_plans:
                raise ValueError(f"no such usage plan: {plan_id}")
            self.control.members.join(plan_id, key_id)
        if row.get("owner_stack"):
            self.control.api_keys.owners[key_id] = row["owner_stack"]
        for plan_id, start, counts in row.get("uses") or ():
            self._add_usage(plan_id, key_id, start, counts)
        return str(key_id)

    def _add_usage(self, plan_id: str, key_id: str, start: str, counts: list[int]) -> None:
        first = date.fromisoformat(start).toordinal()
        for n, used in enumerate(counts):
            if used:
                self.control.usage.add(plan_id, key_id, first + n, used)

    def usage(self, given: Given) -> dict[str, Any]:
        """Add to past usage: rows of plan id, key id, first day, requests of each day from it."""
        for plan_id, key_id, start, counts in given["rows"]:
            self._add_usage(plan_id, key_id, start, counts)
        return {}

    def calls(self, given: Given) -> dict[str, Any]:
        rows = self.calls_made.as_rows()
        if given.get("forget"):
            self.calls_made.forget()
        return {"calls": rows}

    def rest_api(self, given: Given) -> dict[str, Any]:
        return {"id": completions.make_rest_api(list(given["stages"]))}

    def usage_plan(self, given: Given) -> dict[str, Any]:
        return {"id": self.control.usage_plans.lay_down(given)["id"]}

    def log_lines(self, given: Given) -> dict[str, Any]:
        """The lines of a log group in the order of their time."""
        return {"lines": stored.log_lines(given["group"])}

    def redeliver(self, given: Given) -> dict[str, Any]:
        """End the visibility timeout of every message that somebody received from a queue."""
        return {"messages": event_sources.redeliver(given["queue_url"])}

    def events(self, given: Given) -> dict[str, Any]:
        """Every event that was put, without the first `after` of them."""
        return {"events": completions.put_events()[given.get("after", 0) :]}

    def alerts(self, _: Given) -> dict[str, Any]:
        return {"alerts": self.published.messages}

    def evaluate_alarms(self, _: Given) -> dict[str, Any]:
        """Evaluate every alarm at the clock's now; gives their states."""
        return {"states": self.alarms.evaluate()}

    def confirm_email(self, given: Given) -> dict[str, Any]:
        self.topics.confirm_mail(given["topic_arn"], given["endpoint"])
        return {}

    def stored(self, _: Given) -> Iterator[dict[str, str]]:
        """Everything that is stored outside API Gateway, as rows of where and base64 content."""
        return stored.everything(completions.put_events(), self.published.messages)

    def workers(self, _: Given) -> dict[str, Any]:
        return {"workers": list(workers())}

    def empty(self, given: Given) -> dict[str, Any]:
        """Forget all that lies in a table of DynamoDB and in a bucket, versions too."""
        stored.empty_table(given["table"])
        stored.empty_bucket(given["bucket"])
        return {}

    def wipe(self, _: Given) -> dict[str, Any]:
        """Forget every key, plan, use, call, event, alert, message, metric and log line; stacks stay."""
        for key_id in list(self.control.keys):
            self.control.keys.pop(key_id)
        for plan_id in list(apigateway_v1._usage_plans):
            apigateway_v1._delete_usage_plan(plan_id)
        self.control.usage.forget()
        self.control.api_keys.owners.clear()
        self.calls_made.forget()
        self.published.messages.clear()
        completions.forget_events()
        event_sources.forget_messages()
        stored.forget_log_lines()
        self.metrics.forget()
        self.alarms.forget()
        return {}
