"""What the sandbox does wrong on purpose, and the settings that AWS would not let you change.

What AWS might do instead of what is believed, and the fault that makes the sandbox do it:

    GetUsage goes back less far (seen: AF-301)                   usage_days, usage_outside
    days of usage end at another midnight (believed: AF-316)     usage_today, usage_outside
    an import over a key is a warning (believed: AF-235)         upserts_warn
    an import takes a minute (believed: AF-238)                  import_seconds_a_key
    later reads date a change later (believed: AF-212)           answers_early
    the tagging API lists no API keys (believed: AF-411)         tags_unlisted
    S3 answers 403 of what is not there (doc: AF-512)            absent_is_forbidden
    a write meets a transaction (doc: AF-501)                    fail_next, dynamodb:PutItem
    a conditional write meets another (doc: AF-511)              conditions_conflict
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from sandbox.aws.wire import STATUS, Answer

# What a server's error is called for callers that only know its status.
_BROKEN = {"500": "InternalFailure", "503": "ServiceUnavailableException"}
_SPEAKS_XML = ("cloudformation", "iam", "s3", "sns", "sts")


@dataclass(slots=True)
class Faults:
    """Everything is well by default. Lists and dicts name usage plans or operations."""

    # GetUsage
    usage_lag: float = 0.0  # seconds of the sandbox's clock that metering runs behind
    idle_keys: str = "mixed"  # how a key without requests shows: "absent", "zero" or "mixed"
    deleted_keys_shown: bool = False  # whether GetUsage still names keys that are gone
    unreadable_usage: dict[str, str] = field(default_factory=dict)  # plan id -> error code
    usage_keyed_by: str = "id"  # "id", "value" or "unknown"
    unknown_keys: int = 0  # ids that nobody knows, added to each page of usage
    missing_days: int = 0  # pairs fewer than days asked for, left out at the end
    usage_days: int = 90  # how many days back usage goes
    usage_today: int = 0  # days by which the calendar of usage is behind UTC's; -1: ahead of it
    usage_outside: str = "refused"  # or "clipped": what comes of days before or after these
    # members and lists
    unreadable_members: dict[str, str] = field(default_factory=dict)  # plan id -> error code
    empty_members: list[str] = field(default_factory=list)  # plan ids that list nobody, with 200
    empty_plans: bool = False  # GetUsagePlans lists nothing, with 200
    empty_keys: bool = False  # GetApiKeys lists nothing, with 200
    # limits
    key_limit: int = 10_000
    plan_limit: int = 300
    conflict_chance: float = 0.0  # that a CreateUsagePlanKey answers "concurrent modification"
    # Beginnings of names and descriptions: a row of an import that has one is bad
    import_refuses: list[str] = field(default_factory=list)
    upserts_warn: bool = False  # an import over a key that is there is a warning
    import_seconds_a_key: float = 0.0  # that pass before an import is carried out
    answers_early: int = 0  # seconds by which UpdateApiKey's answer is dated before later reads
    # other services
    tagging: str | None = None  # error code of every tagging call
    tags_unlisted: bool = False  # the tagging API lists no API key, with 200
    absent_is_forbidden: bool = False  # S3 answers 403 of an object that is not there
    conditions_conflict: int = 0  # writes of S3 on a condition that meet another: 409
    stacks: str | None = None  # error code of every DescribeStackResources
    # Any signed call, by "Operation" for API Gateway and "service:Operation" for the others
    fail_next: dict[str, list[str]] = field(default_factory=dict)  # error codes to come
    lose_next: dict[str, int] = field(default_factory=dict)  # carried out, never answered
    slow: dict[str, float] = field(default_factory=dict)  # seconds before it is carried out
    # The process of a function dies: role name (or its beginning) -> calls it may still make
    die_after: dict[str, int] = field(default_factory=dict)
    made: dict[str, int] = field(default_factory=dict)  # the calls that those roles made so far

    def set(self, what: dict[str, Any]) -> None:
        """Set the named faults and leave the others as they are.

        Raises ValueError for a name that is none.
        """
        names = {f.name for f in fields(self)}
        if unknown := sorted(what.keys() - names):
            raise ValueError(f"no such fault: {', '.join(unknown)}; there are {sorted(names)}")
        for name, value in what.items():
            setattr(self, name, value)

    def seconds_before(self, operation: str, body: bytes) -> float:
        """How long this call of `operation` lies there before it is carried out."""
        seconds = self.slow.get(operation, 0.0)
        if operation == "ImportApiKeys" and self.import_seconds_a_key:
            seconds += self.import_seconds_a_key * (len(body.splitlines()) - 1)
        return seconds

    def next_failure(self, operation: str) -> str | None:
        """The error code that this call of `operation` has to answer with, if any."""
        codes = self.fail_next.get(operation)
        return codes.pop(0) if codes else None

    def meets_another_write(self, operation: str, headers: Mapping[str, str]) -> bool:
        """Whether this call is a write of S3 on a condition that meets another write."""
        meets = (
            operation == "s3:PUT" and "if-none-match" in headers and self.conditions_conflict > 0
        )
        if meets:
            self.conditions_conflict -= 1
        return meets

    def loses(self, operation: str) -> bool:
        """Whether the answer to this call of `operation` is lost."""
        left = self.lose_next.get(operation, 0)
        if left > 0:
            self.lose_next[operation] = left - 1
        return left > 0

    def has_made_its_calls(self, role: str) -> bool:
        """Count a call of the role; True once, when it has made as many as it may still make."""
        for prefix, allowed in self.die_after.items():
            if role.startswith(prefix):
                self.made[prefix] = self.made.get(prefix, 0) + 1
                if self.made[prefix] >= allowed:
                    del self.die_after[prefix], self.made[prefix]
                    return True
                break
        return False


def failure(code: str, service: str) -> Answer:
    """An error with this code, or of this status, as the SDK of the service understands it."""
    name = _BROKEN.get(code, code)
    status = STATUS.get(name, int(code) if code.isdigit() else 400)
    message = "The sandbox was told to fail"
    if service in _SPEAKS_XML:
        error = f"<Error><Code>{name}</Code><Message>{message}</Message></Error>"
        body = error if service == "s3" else f"<ErrorResponse>{error}</ErrorResponse>"
        return status, {"Content-Type": "text/xml"}, body.encode()
    headers = {"Content-Type": "application/json", "x-amzn-errortype": name}
    if status == 429:
        headers["Retry-After"] = "1"
    return status, headers, json.dumps({"__type": name, "message": message}).encode()
