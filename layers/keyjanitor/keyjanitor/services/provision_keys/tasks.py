"""The values that the stages of provision_keys hand on, from Received to ProvenKey.

Each stage gives values of a narrower type than it took: a body that was sent; one whose row this
run holds; one that fits the contract; one that wants a slot; a key that is being made for it.
"""

from dataclasses import dataclass
from enum import Enum

from keyjanitor.adapters.request_store import RequestChange
from keyjanitor.domain.model.keys import ApiKey, Secret
from keyjanitor.domain.model.records import Grant, RequestRow, Row
from keyjanitor.domain.requests.body import Body
from keyjanitor.domain.requests.census import Want
from keyjanitor.domain.requests.import_file import NewKey, describe
from keyjanitor.domain.requests.key_request import Action, KeyRequest
from keyjanitor.domain.requests.sqs_message import Message


@dataclass(frozen=True, slots=True, eq=False)
class Received:
    """One request of `sender`, as it was read; `messages` (at least one) are all that carry it.

    `row_id` names its row in the ledger.
    """

    messages: tuple[Message, ...]
    body: Body
    row_id: str
    sender: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer is written down, and the bus has taken its event; a refusal is an answer."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """Another run has to serve the request: its messages come again."""

    why: str


Outcome = Answered | Deferred


@dataclass(slots=True, eq=False)
class Taken:
    """A request whose row this run holds, or whose answer it gives again.

    Three fields change while it is served. `row` is its row as the ledger has it now; `key` is the row
    of the key that it names, once it was looked up; `outcome` is None as long as the request is open.
    """

    received: Received
    row: RequestRow
    key: Row | None = None
    outcome: Outcome | None = None

    @property
    def is_open(self) -> bool:
        return self.outcome is None

    @property
    def answered(self) -> bool:
        return isinstance(self.outcome, Answered)

    @property
    def deferred(self) -> bool:
        return isinstance(self.outcome, Deferred)

    @property
    def body(self) -> Body:
        return self.received.body

    @property
    def row_id(self) -> str:
        return self.received.row_id

    @property
    def sender(self) -> str:
        return self.received.sender


@dataclass(slots=True, eq=False, kw_only=True)
class Task(Taken):
    """A taken request that fits the contract."""

    request: KeyRequest

    @property
    def makes_a_key(self) -> bool:
        return self.request.action in (Action.ISSUE, Action.ROTATE)

    @property
    def takes_a_slot(self) -> bool:
        return self.makes_a_key or self.request.action is Action.RESTORE


@dataclass(frozen=True, slots=True)
class SlotRequest:
    """A request that wants a slot of the service quota.

    `grant` is what a new key is granted now; None for a restore, or if an earlier run has granted it.
    """

    task: Task
    want: Want
    grant: Grant | None


@dataclass(frozen=True, slots=True, eq=False)
class PendingKey:
    """A key that is being made for a request; without a `value` an earlier run has imported it."""

    task: Task
    grant: Grant
    value: Secret | None

    @property
    def name(self) -> str:
        return self.grant.key_name

    def as_new_key(self) -> NewKey:
        """The row of the import. Only for a key with a value: no value is imported twice."""
        grant, request = self.grant, self.task.request
        if self.value is None:
            raise AssertionError("no value is imported twice")
        text = describe(grant.owner or "", grant.name, request.request_id, request.sender)
        return NewKey(self.name, self.value, text, grant.usage_plan_ids)


@dataclass(frozen=True, slots=True)
class ProvenKey:
    """A key that was made, and that read back as it was granted."""

    task: Task
    grant: Grant
    key: ApiKey


class Effect(Enum):
    """What a request about a key that there is has done to the number of keys in API Gateway."""

    KEY_ADDED = "key added"
    KEY_DELETED = "key deleted"


@dataclass(frozen=True, slots=True)
class Done:
    """What was asked for is done: the change that answers the request, and its effect, if any."""

    change: RequestChange
    effect: Effect | None = None
