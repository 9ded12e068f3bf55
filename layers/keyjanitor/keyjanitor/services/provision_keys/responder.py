"""What one run of provision_keys works with: all that it talks to, its requests, and their answers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from aws_lambda_powertools import Logger

from keyjanitor.adapters import event_bus as bus
from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.event_bus import Bus
from keyjanitor.adapters.history_bucket import History
from keyjanitor.adapters.kms import Sealer
from keyjanitor.adapters.ledger import Change, Ledger
from keyjanitor.adapters.ownership import Owners
from keyjanitor.adapters.request_store import Register, RequestChange
from keyjanitor.domain.expiry.notice import NOTICES
from keyjanitor.domain.model.invocation import Clock
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.records import Announcement, RequestRow, Row, Status
from keyjanitor.domain.requests.body import Body
from keyjanitor.domain.requests.events import REFUSED, refused
from keyjanitor.domain.requests.key_request import Action, Code, KeyRequest, Refusal
from keyjanitor.domain.requests.sqs_message import Message
from keyjanitor.errors import KeyjanitorError
from keyjanitor.services.deadline import Deadline

logger = Logger(child=True)


class Counterparts(NamedTuple):
    """Everything that provision_keys talks to, but for its queue."""

    gateway: ApiGateway
    owners: Owners
    ledger: Ledger
    register: Register
    history: History
    sealer: Sealer
    bus: Bus


@dataclass(frozen=True, slots=True)
class Run:
    """One run: who it is (`holder`), and until when (real time) nobody else may do its work."""

    holder: str
    until: datetime
    deadline: Deadline
    clock: Clock
    now: Callable[[], datetime]


@dataclass(slots=True, eq=False)
class Task:
    """One request of `sender` on its way through a run; `messages` are all that carry it.

    It is over when it is answered, or `left` for another run.
    """

    messages: list[Message]
    body: Body
    row_id: str
    sender: str
    row: RequestRow | None = None
    request: KeyRequest | None = None
    refusal: Refusal | None = None
    key: Row | None = None  # of the key that it names
    answered: bool = False
    left: bool = False
    counted: bool = False  # it made a key
    freed: bool = False  # it took one
    announcement: Announcement | None = None

    @property
    def is_open(self) -> bool:
        return not self.answered and not self.left

    def the_row(self) -> RequestRow:
        if self.row is None:
            raise AssertionError("only a task that was taken is worked on")
        return self.row

    def the_request(self) -> KeyRequest:
        if self.request is None:
            raise AssertionError("only a request that fits the contract is worked on")
        return self.request


@dataclass(slots=True)
class Desk:
    """Writes down what becomes of the requests of a run, and tells it."""

    outside: Counterparts
    policy: Policy
    run: Run
    refusals: int = field(default=0)

    # --- answering --------------------------------------------------------------------------------

    def leave(self, tasks: Iterable[Task], why: object) -> None:
        """Leaves requests for another run: their messages come again."""
        for task in tasks:
            if task.is_open:
                task.left = True
                shown = (task.body.request_id or "whose id looks like a value")[:128]
                logger.warning("request %r is left: %s", shown, why)

    def answer(
        self, task: Task, detail_type: str, detail: dict[str, object], *rows: Change
    ) -> RequestChange:
        """The change that answers a request for good, with what it did to the ledger's rows."""
        row = task.the_row()
        announcement = self.announcement(row, detail_type, detail)
        task.announcement = announcement
        after = replace(
            row,
            status=Status.REFUSED if detail_type == REFUSED else Status.ANSWERED,
            holder=None,
            held_until=None,
            detail_type=detail_type,
            detail=detail,
            grant=None,
        )
        return RequestChange(row, after, rows, (announcement,))

    def announcement(
        self, row: RequestRow, detail_type: str, detail: dict[str, object]
    ) -> Announcement:
        """The event of a request's answer: of one request always under the same id."""
        name = f"{row.received_on}#Request#{row.request_id}"
        return Announcement(name, detail_type, detail, not_before=self.run.until)

    def refuse(self, tasks: Sequence[Task]) -> None:
        """Answers the requests that have a refusal, and writes it down."""
        tasks = [task for task in tasks if task.is_open and task.refusal is not None]
        lost = self.write(tasks, [self._refusal(task) for task in tasks])
        self.leave(lost, "its request was changed meanwhile")

    def turn_away(self, tasks: Sequence[Task]) -> None:
        """Refuses requests of which nothing is written down: one that comes again is refused again."""
        told = [
            Announcement(str(number), REFUSED, self._refused(task))
            for number, task in enumerate(tasks)
        ]
        for taken in self._take_to_the_bus(told):
            tasks[int(taken.announcement_id)].answered = True
        self.leave(tasks, "its event could not be put")

    def answer_what_is_no_request(self, messages: Mapping[str, tuple[Message, str]]) -> set[str]:
        """Tells why messages are no requests, under no request id; gives the ids of those told."""
        told = []
        for message_id, (message, why) in messages.items():
            refusal = Refusal(Code.INVALID_REQUEST, f"this is no request: {why}")
            detail = refused(None, message.sender, None, refusal)
            told.append(Announcement(message_id, REFUSED, detail))
        self.refusals += len(told)
        return {one.announcement_id for one in self._take_to_the_bus(told)}

    def _refusal(self, task: Task) -> RequestChange:
        return self.answer(task, REFUSED, self._refused(task))

    def _refused(self, task: Task) -> dict[str, object]:
        if task.refusal is None:
            raise AssertionError("only what is refused is answered so")
        body, key = task.body, task.key
        tier = key.tier if key else body.text("tier")
        known = {
            "key_id": body.text("key_id"),
            "owner": key.owner if key else body.text("owner"),
            "tier": tier,
            "contact": self.policy.tiers[tier].contact
            if tier and tier in self.policy.tiers
            else None,
        }
        action = body.text("action")
        if action not in list(Action):
            action = None
        request_id = body.request_id and body.request_id[:1024]
        self.refusals += 1
        return refused(request_id, task.sender or None, action, task.refusal, **known)

    def write(self, tasks: Sequence[Task], changes: Sequence[RequestChange]) -> list[Task]:
        """Writes the answers of requests, and tells them; gives those whose rows others changed."""
        try:
            written = self.outside.register.commit(changes)
        except KeyjanitorError as err:
            self.leave(tasks, err)
            return []
        lost = []
        for task, row in zip(tasks, written, strict=True):
            if row is None:
                lost.append(task)
            else:
                task.row = row
        self.tell([task for task, row in zip(tasks, written, strict=True) if row is not None])
        return lost

    # --- telling ----------------------------------------------------------------------------------

    def tell(self, tasks: Sequence[Task]) -> None:
        """Puts the events that answer requests on the bus; what it does not take is told again."""
        waiting = {
            task.announcement.announcement_id: task
            for task in tasks
            if task.announcement is not None
        }
        announcements = [task.announcement for task in waiting.values() if task.announcement]
        for taken in self._put(announcements):
            waiting[taken.announcement_id].answered = True
        self.leave(waiting.values(), "its event could not be put")

    def tell_the_rest(self) -> None:
        """Puts what earlier runs could not, but for notices: a late one moves a date, which sweeps do."""
        try:
            waiting = self.outside.ledger.unsent(self.run.now())
            self._put([one for one in waiting if one.detail_type not in NOTICES])
        except KeyjanitorError as err:
            logger.error("events wait for the next run: %s", err)

    def _take_to_the_bus(self, announcements: Sequence[Announcement]) -> list[Announcement]:
        taken: list[Announcement] = []
        for batch in bus.batches(announcements):
            try:
                taken += self.outside.bus.put(batch)
            except KeyjanitorError as err:
                logger.error("%d events could not be put: %s", len(batch), err)
        return taken

    def _put(self, announcements: Sequence[Announcement]) -> list[Announcement]:
        taken = self._take_to_the_bus(announcements)
        try:
            self.outside.ledger.sent(taken)
        except KeyjanitorError as err:
            logger.error("%d events may be put again: %s", len(taken), err)
        return taken
