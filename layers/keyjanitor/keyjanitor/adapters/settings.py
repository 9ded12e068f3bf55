"""Reads what the template sets in a function's environment, and the policy in its layer."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TypeVar, get_type_hints

from keyjanitor.domain.model.keys import Mode
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.policy_file import parse_policy

S = TypeVar("S")

# What each function's environment has to hold; the template is tested against this.
REQUIRED: dict[str, tuple[str, ...]] = {
    "pull_usage": ("LEDGER_TABLE", "HISTORY_BUCKET", "CALLS_PER_SECOND", "REPLAY_WINDOW_HOURS"),
    "expire_keys": (
        "LEDGER_TABLE",
        "HISTORY_BUCKET",
        "SEALING_KEY_ARN",
        "EVENT_BUS",
        "ALERT_TOPIC_ARN",
        "STACK_NAME",
        "RUNBOOK_URL",
        "HTTPS_FORM",
        "MODE",
        "CALLS_PER_SECOND",
        "REPLAY_WINDOW_HOURS",
    ),
    "watch_capacity": (
        "LEDGER_TABLE",
        "HISTORY_BUCKET",
        "ALERT_TOPIC_ARN",
        "STACK_NAME",
        "RUNBOOK_URL",
        "HTTPS_FORM",
        "REQUEST_DEAD_LETTER_QUEUE_URL",
        "RUN_DEAD_LETTER_QUEUE_URL",
        "CALLS_PER_SECOND",
        "REPLAY_WINDOW_HOURS",
    ),
    "publish_report": (
        "LEDGER_TABLE",
        "HISTORY_BUCKET",
        "AUDIT_LOG",
        "AUDIT_LOCK",
        "AUDIT_FOLDER_DAYS",
        "STACK_NAME",
        "MODE",
        "CALLS_PER_SECOND",
        "REPLAY_WINDOW_HOURS",
    ),
    "provision_keys": (
        "LEDGER_TABLE",
        "HISTORY_BUCKET",
        "SEALING_KEY_ARN",
        "EVENT_BUS",
        "REQUEST_QUEUE_URL",
        "REQUEST_DEAD_LETTER_QUEUE_URL",
        "CALLS_PER_SECOND",
        "COPIES",
        "REPLAY_WINDOW_HOURS",
    ),
}


@dataclass(frozen=True, slots=True)
class PullSettings:
    """Settings of pull_usage."""

    ledger_table: str
    history_bucket: str
    calls_per_second: float
    replay_window_hours: float

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "PullSettings":
        return _read(cls, environment)


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """Settings of expire_keys."""

    ledger_table: str
    history_bucket: str
    sealing_key_arn: str
    event_bus: str
    alert_topic_arn: str
    stack_name: str
    runbook_url: str  # where a team keeps its copy of the runbook; empty: alerts name its file
    https_form: str  # what an https subscription of the topic gets: `json` or `chat`
    mode: Mode
    calls_per_second: float
    replay_window_hours: float

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "SweepSettings":
        return _read(cls, environment)


@dataclass(frozen=True, slots=True)
class ProvisionSettings:
    """Settings of provision_keys; `calls_per_second` is one copy's share of the rate of all."""

    ledger_table: str
    history_bucket: str
    sealing_key_arn: str
    event_bus: str
    request_queue_url: str
    request_dead_letter_queue_url: str
    calls_per_second: float
    replay_window_hours: float

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "ProvisionSettings":
        share = float(environment["CALLS_PER_SECOND"]) / int(environment["COPIES"])
        return _read(cls, environment, calls_per_second=share)


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """Settings of watch_capacity."""

    ledger_table: str
    history_bucket: str
    alert_topic_arn: str
    stack_name: str
    runbook_url: str  # where a team keeps its copy of the runbook; empty: alerts name its file
    https_form: str  # what an https subscription of the topic gets: `json` or `chat`
    dead_letter_queues: Mapping[str, str]
    calls_per_second: float
    replay_window_hours: float

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "WatchSettings":
        queues = {
            "RequestDeadLetterQueue": environment["REQUEST_DEAD_LETTER_QUEUE_URL"],
            "RunDeadLetterQueue": environment["RUN_DEAD_LETTER_QUEUE_URL"],
        }
        return _read(cls, environment, dead_letter_queues=queues)


@dataclass(frozen=True, slots=True)
class PublishSettings:
    """Settings of publish_report; `mode` is that of the sweeps."""

    ledger_table: str
    history_bucket: str
    audit_log: str  # the name of its log group
    audit_lock: (
        str | None
    )  # the mode of S3 Object Lock of the audit folders; None: they have no lock
    audit_folder_days: int
    stack_name: str
    mode: Mode
    calls_per_second: float
    replay_window_hours: float

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "PublishSettings":
        lock = environment["AUDIT_LOCK"]
        return _read(cls, environment, audit_lock=None if lock == "none" else lock)


def _read(kind: type[S], environment: Mapping[str, str], **given: object) -> S:
    """Settings, each of the variable that is called like it but for those that are given."""
    values = {
        name: to_type(environment[name.upper()])
        for name, to_type in get_type_hints(kind).items()
        if name not in given
    }
    return kind(**values, **given)


def read_policy() -> Policy:
    """The policy of the layer `policy`; raises PolicyError before any call is made."""
    return parse_policy((files("keyjanitor_policy") / "policy.toml").read_bytes())
