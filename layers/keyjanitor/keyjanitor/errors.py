"""All errors of keyjanitor, each raised for a caller that decides something on it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime


class KeyjanitorError(Exception):
    """The root of all errors that keyjanitor raises on purpose."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake of a policy at `path`, in `line` (None: unknown)."""

    path: str
    reason: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" + (f" (line {self.line})" if self.line else "")


class PolicyError(KeyjanitorError):
    """A policy, called `file`, has these `mistakes`; `path` and `reason` are those of the first."""

    def __init__(
        self,
        path: str,
        reason: str,
        *more: Mistake,
        line: int | None = None,
        file: str = "policy.toml",
    ) -> None:
        first = Mistake(path, reason, line)
        told = "".join(f"\n  {one}" for one in (first, *more))
        super().__init__(f"{file}: {len(more) + 1} mistakes:{told}" if more else f"{file}: {first}")
        self.path = path
        self.reason = reason
        self.mistakes = (first, *more)

    @classmethod
    def of(cls, mistakes: Iterable[Mistake], file: str = "policy.toml") -> "PolicyError":
        """The error of some mistakes, from the top of the file to its end."""
        first, *more = sorted(mistakes, key=lambda one: (one.line is None, one.line or 0))
        return cls(first.path, first.reason, *more, line=first.line, file=file)


class InvalidEvent(KeyjanitorError):
    """The event that started a function has a `field` that does not fit."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"event: {field}: {reason}")
        self.field = field
        self.reason = reason


class OutsideReplayWindow(KeyjanitorError):
    """The event's time is too far from the real time for anything but a sweep that observes."""

    def __init__(self, time: datetime, now: datetime, hours: float) -> None:
        super().__init__(
            f"event: time: {time:%Y-%m-%dT%H:%M:%SZ} is in the future, or more than "
            f"{hours:g} hours from now ({now:%Y-%m-%dT%H:%M:%SZ}); nothing was touched. Send the event without `time`, or "
            "deploy with ReplayWindowHours=0 if this is a simulation"
        )
        self.time = time
        self.now = now
        self.hours = hours


class OlderDate(KeyjanitorError):
    """A sweep's `date` is older than `newest`, of which there is a usage reading or a sweep."""

    def __init__(self, date: date, newest: date) -> None:
        super().__init__(
            f"event: time: {date} is older than {newest}, of which there is a usage reading or a sweep "
            "already; only the newest knowledge acts, so nothing was touched. Send the event without "
            "`time`"
        )
        self.date = date
        self.newest = newest


class NotHeard(KeyjanitorError):
    """No confirmed subscription of the alert topic is known, so a warning would reach no person."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"{why}, so a warning would reach no person, and nothing was warned, disabled or parked. "
            "Subscribe an address to the topic AlertTopicArn (a stack output), confirm it by the link "
            "in its mail, and run again"
        )
        self.why = why


class ModeRefused(KeyjanitorError):
    """An event asked for a mode, or for an undo, that the deployed mode does not allow."""

    def __init__(self, asked: str, deployed: str) -> None:
        what = asked if asked in ("approve", "undo") else f"mode: {asked}"
        super().__init__(
            f"event: {what} needs more than this stack was deployed for (Mode={deployed}); "
            "deploy with a higher Mode first"
        )
        self.asked = asked
        self.deployed = deployed


class NoEvidence(KeyjanitorError):
    """Nothing was read for `date`, so nothing may be decided on it."""

    def __init__(self, date: date) -> None:
        super().__init__(
            f"no evidence for {date}: PullUsageFunction has not finished on that date. "
            "Look at its log (`keyjanitor logs pull_usage`), then `keyjanitor read` and `keyjanitor sweep`"
        )
        self.date = date


class EvidenceDamaged(KeyjanitorError):
    """A file of evidence cannot be read: `name` of the bucket, why, and what takes it away."""

    def __init__(self, bucket: str, name: str, version_id: str | None, reason: str) -> None:
        version = f" --version-id {version_id}" if version_id else ""
        super().__init__(
            f"{name} is damaged ({reason}): its date waits, the other nights go on without it. To take "
            f"this version of the file away: aws s3api delete-object --bucket {bucket} --key {name}"
            f"{version}; the version before it counts again, and if there is none, `keyjanitor "
            "read` reads tonight once more"
        )
        self.name = name
        self.reason = reason


class EmptyListing(KeyjanitorError):
    """API Gateway listed nothing (`what`) where there was something the night before."""

    def __init__(self, what: str, before: int) -> None:
        super().__init__(
            f"API Gateway lists no {what}, but {before} were known the night before; nothing was "
            "touched. An empty answer is not proof of emptiness: look at the account, then run again"
        )
        self.what = what
        self.before = before


class UnexpectedAnswer(KeyjanitorError):
    """AWS answered `operation` in a shape that this code does not know; never carries the answer."""

    def __init__(self, operation: str, reason: str) -> None:
        super().__init__(f"{operation}: {reason}")
        self.operation = operation
        self.reason = reason


class UnreadableAnswer(UnexpectedAnswer):
    """The answer to `operation` is no JSON object: it was cut off, or something between wrote it."""

    def __init__(self, operation: str) -> None:
        super().__init__(operation, "the answer is no JSON object")


class AccessDenied(KeyjanitorError):
    """The function's role may not do `action`; `role` is as AWS named it."""

    def __init__(self, action: str, role: str) -> None:
        super().__init__(
            f"access denied: {role} may not {action}. Allow it in template.yaml (or look for a "
            "permissions boundary or an SCP that takes it away), deploy, and run again"
        )
        self.action = action
        self.role = role


class CallFailed(KeyjanitorError):
    """An AWS call failed for good: `code` is AWS's, the parameters are left out on purpose."""

    def __init__(self, operation: str, code: str) -> None:
        super().__init__(f"{operation} failed: {code}")
        self.operation = operation
        self.code = code


class NotARequest(KeyjanitorError):
    """A message's body is no request. `reason` never holds the body.

    `request_id` is the id that it seems to mean, if exactly one can be read out of what is no JSON.
    """

    def __init__(self, reason: str, request_id: str | None = None) -> None:
        super().__init__(
            f"a message cannot be answered, {reason}; it goes to the dead-letter queue"
        )
        self.reason = reason
        self.request_id = request_id


class InvalidRequest(KeyjanitorError):
    """A request does not fit the contract at `field`."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class Contended(KeyjanitorError):
    """Another run works on `what` right now. Try again soon."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: another run is at work on it; it is tried again soon")
        self.what = what


class ReadBackFailed(KeyjanitorError):
    """A key was imported but does not read back as it must; it is tried again, not announced."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"key {name} is not announced: {reason}")
        self.name = name
        self.reason = reason


class PlanRefused(KeyjanitorError):
    """API Gateway refuses the usage plan that a tier asks for; `code` is AWS's."""

    def __init__(self, tier: str, code: str, reason: str) -> None:
        super().__init__(f"tier {tier}: {reason}")
        self.tier = tier
        self.code = code
        self.reason = reason


class AccountFull(KeyjanitorError):
    """The account holds as many API keys as AWS allows; nothing was created."""

    def __init__(self) -> None:
        super().__init__("API Gateway holds as many API keys as it can; nothing was created")


class ImportRefused(KeyjanitorError):
    """API Gateway refuses an import, and nothing was created: one of its `keys` rows is bad."""

    def __init__(self, keys: int, code: str) -> None:
        super().__init__(f"ImportApiKeys of {keys} keys was refused: {code}")
        self.keys = keys
        self.code = code


class ImportUnanswered(KeyjanitorError):
    """API Gateway did not answer an import of `keys` rows in time: it may still be at work."""

    def __init__(self, keys: int) -> None:
        super().__init__(f"ImportApiKeys of {keys} keys was not answered in time")
        self.keys = keys


class ValueConflict(KeyjanitorError):
    """CreateApiKey: another key already has this value."""

    def __init__(self) -> None:
        super().__init__("CreateApiKey: a key with this value already exists")


class NotRestorable(KeyjanitorError):
    """A parked key cannot come back: `reason` says why; `transient`: it may, if tried again."""

    def __init__(self, key_id: str, reason: str, *, transient: bool = False) -> None:
        super().__init__(f"key {key_id} cannot be restored: {reason}")
        self.key_id = key_id
        self.reason = reason
        self.transient = transient


class TombstoneUnreadable(KeyjanitorError):
    """A tombstone is missing or cannot be opened, so nothing may rely on it.

    `transient`: S3 or KMS failed, which may pass.
    """

    def __init__(self, key_id: str, reason: str, *, transient: bool = False) -> None:
        super().__init__(f"tombstones/{key_id}.json cannot be opened: {reason}")
        self.key_id = key_id
        self.reason = reason
        self.transient = transient


class TooManyFailed(KeyjanitorError):
    """More than half of a run's steps failed: the cause is not one key. `why` is the last failure."""

    def __init__(self, failed: int, tried: int, why: str) -> None:
        super().__init__(
            f"{failed} of {tried} steps failed, so the run ends as failed; each key that failed is "
            f"named in the log above and goes last the next night. The last failure: {why}"
        )
        self.failed = failed
        self.tried = tried
        self.why = why


class UnknownSweepPlan(KeyjanitorError):
    """An approval names a digest under which no plan was saved."""

    def __init__(self, digest: str) -> None:
        super().__init__(
            f"event: approve: no plan was saved under {digest!r}; take the digest from the brake's "
            "alert, or from the answer of a sweep that names a saved plan"
        )
        self.digest = digest


class SweepPlanNotAsSaved(KeyjanitorError):
    """The file of a saved plan holds another plan than the one its digest names."""

    def __init__(self, digest: str) -> None:
        super().__init__(
            f"plans/{digest}.json was changed or damaged after it was saved: what it holds has "
            "another digest. Nothing was approved. Its first version is in the history bucket (aws "
            f"s3api list-object-versions --prefix plans/{digest}.json): look who wrote the later one, "
            "then send a sweep and approve the digest of its answer"
        )
        self.digest = digest


class Held(KeyjanitorError):
    """An operator holds all sweeps; `why` is what the operator wrote."""

    def __init__(self, why: str) -> None:
        super().__init__(f"held: {why}")
        self.why = why


class ClaimLost(KeyjanitorError):
    """Another run changed the ledger row since it was read: leave the key alone."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"key {key_id}: its ledger row changed meanwhile; it was left alone")
        self.key_id = key_id


class AlreadyRunning(KeyjanitorError):
    """Another run of the same kind (`what`: the lease's name) holds the lease until `until`."""

    def __init__(self, what: str, until: datetime) -> None:
        super().__init__(f"another {what} is at work, at the latest until {until:%H:%M:%S} UTC")
        self.what = what
        self.until = until
