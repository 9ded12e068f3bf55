"""Answers the requests of one run of provision_keys: writes answers down and publishes them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from keyjanitor.adapters import event_bus as bus
from keyjanitor.adapters import wiring
from keyjanitor.adapters.ledger import Change
from keyjanitor.adapters.request_store import RequestChange
from keyjanitor.adapters.settings import ProvisionSettings
from keyjanitor.adapters.system_clock import pause
from keyjanitor.domain.expiry.notice import NOTICES
from keyjanitor.domain.model.invocation import ReplayWindow
from keyjanitor.domain.model.key_values import new_value
from keyjanitor.domain.model.keys import Secret
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.records import Announcement, RequestRow, Row, Status
from keyjanitor.domain.requests.body import Body
from keyjanitor.domain.requests.events import REFUSED, answer, refused
from keyjanitor.domain.requests.key_request import Action, Code, Refusal
from keyjanitor.errors import Contended, KeyjanitorError
from keyjanitor.services.deadline import Deadline
from keyjanitor.services.ports import (
    EventSink,
    ProvisionGateway,
    ProvisionLedger,
    RequestStore,
    StackFinder,
    Tombstones,
    ValueSealer,
)
from keyjanitor.services.provision_keys.receiving import NotRequest
from keyjanitor.services.provision_keys.tasks import Answered, Deferred, Received, Taken, Task

UNANSWERED = timedelta(minutes=1)  # that a call of a run which Lambda has ended may still take

logger = Logger(child=True)


class Adapters(NamedTuple):
    """Everything that provision_keys talks to, but for its queue."""

    gateway: ProvisionGateway
    owners: StackFinder
    ledger: ProvisionLedger
    request_store: RequestStore
    history: Tombstones
    sealer: ValueSealer
    bus: EventSink

    @classmethod
    def of(cls, settings: ProvisionSettings) -> "Adapters":
        """Those that a function's settings name."""
        return cls(
            gateway=wiring.api_gateway(settings.calls_per_second),
            owners=wiring.ownership(),
            ledger=wiring.ledger(settings.ledger_table),
            request_store=wiring.request_store(settings.ledger_table),
            history=wiring.history(settings.history_bucket),
            sealer=wiring.sealer(settings.sealing_key_arn),
            bus=wiring.event_bus(settings.event_bus),
        )


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its id (`holder`), and until when (real time) no other run may do its work.

    `pause` waits for so many seconds; `new_value` makes the value of a new key.
    """

    holder: str
    until: datetime
    deadline: Deadline
    window: ReplayWindow
    now: Callable[[], datetime]
    pause: Callable[[float], None] = pause
    new_value: Callable[[], Secret] = new_value

    @classmethod
    def of(
        cls,
        context: LambdaContext,
        window: ReplayWindow,
        now: Callable[[], datetime],
        pause: Callable[[float], None],
        new_value: Callable[[], Secret],
    ) -> "Run":
        """The run of one invocation."""
        left = timedelta(milliseconds=context.get_remaining_time_in_millis())
        return cls(
            holder=context.aws_request_id,
            until=now() + left + UNANSWERED,
            deadline=Deadline.before_the_end_of(context),
            window=window,
            now=now,
            pause=pause,
            new_value=new_value,
        )


@dataclass(slots=True)
class Responder:
    """Writes down what becomes of the requests of a run, and publishes it.

    `refusals` counts the requests that were refused, and the messages that were none.
    """

    adapters: Adapters
    policy: Policy
    run: Run
    refusals: int = field(default=0)

    # --- deferring and admitting ------------------------------------------------------------------

    def defer(self, tasks: Iterable[Taken], why: object) -> None:
        """Leaves requests that are open for another run: their messages come again."""
        for task in tasks:
            if task.is_open:
                task.outcome = Deferred(str(why))
                log_deferred([task.received], why)

    def admit(self, task: Task) -> None:
        """Writes down that a request is to be carried out, as often as it takes.

        Raises Contended if another run has changed the request's row.
        """
        if task.row.status is not Status.TAKEN:
            return
        change = RequestChange(task.row, replace(task.row, status=Status.ADMITTED))
        written = self.adapters.request_store.commit([change])[0]
        if written is None:
            raise Contended(f"request {task.row.request_id}")
        task.row = written

    # --- answering --------------------------------------------------------------------------------

    def answer(
        self, task: Taken, detail_type: str, detail: dict[str, object], *rows: Change
    ) -> RequestChange:
        """The change that answers a request for good, with what it did to the ledger's rows."""
        announcement = self.announcement(task.row, detail_type, detail)
        after = replace(
            task.row,
            status=Status.REFUSED if detail_type == REFUSED else Status.ANSWERED,
            holder=None,
            held_until=None,
            detail_type=detail_type,
            detail=detail,
            grant=None,
        )
        return RequestChange(task.row, after, rows, (announcement,))

    def answer_of_key(
        self, task: Task, detail_type: str, before: Row, after: Row, **more: object
    ) -> RequestChange:
        """The change that answers a request about a key, with the key's row if it changes."""
        detail = answer(detail_type, task.request, after, self.policy, **more)
        rows = () if before == after else (Change(before, after),)
        return self.answer(task, detail_type, detail, *rows)

    def announcement(
        self, row: RequestRow, detail_type: str, detail: dict[str, object]
    ) -> Announcement:
        """The event of a request's answer: of one request always under the same id."""
        name = f"{row.received_on}#Request#{row.request_id}"
        return Announcement(name, detail_type, detail, not_before=self.run.until)

    # --- refusing ---------------------------------------------------------------------------------

    def refuse(self, refusals: Mapping[Taken, Refusal]) -> None:
        """Answers requests with their refusals, and writes that down; skips those that are not open."""
        tasks = [task for task in refusals if task.is_open]
        changes = [
            self.answer(task, REFUSED, self._detail(task.received, refusals[task], task.key))
            for task in tasks
        ]
        lost = self.commit(tasks, changes)
        self.defer(lost, "its request was changed meanwhile")

    def turn_away(self, refusals: Mapping[Received, Refusal]) -> list[Received]:
        """Refuses requests of which nothing is written down: one that comes again is refused again.

        Gives those whose events the bus did not take: their messages come again.
        """
        told = [
            Announcement(str(number), REFUSED, self._detail(one, refusal))
            for number, (one, refusal) in enumerate(refusals.items())
        ]
        taken = {int(one.announcement_id) for one in self._put_on_the_bus(told)}
        lost = [one for number, one in enumerate(refusals) if number not in taken]
        log_deferred(lost, "its event could not be put")
        return lost

    def answer_no_requests(self, messages: Sequence[NotRequest]) -> set[str]:
        """Tells why messages are no requests; gives the ids of the messages of which it was told.

        Nothing of it is written down: the id stays free for the request that was meant.
        """
        told = []
        for one in messages:
            refusal = Refusal(Code.INVALID_REQUEST, f"this is no request: {one.reason}")
            sender = None if one.message.moved else one.message.sender
            detail = refused(one.request_id, sender, None, refusal)
            told.append(Announcement(one.message.message_id, REFUSED, detail))
        self.refusals += len(told)
        return {one.announcement_id for one in self._put_on_the_bus(told)}

    def _detail(
        self, request: Received, refusal: Refusal, key: Row | None = None
    ) -> dict[str, object]:
        self.refusals += 1
        return refusal_detail(request.body, request.sender, refusal, key, self.policy)

    # --- publishing -------------------------------------------------------------------------------

    def commit(self, tasks: Sequence[Taken], changes: Sequence[RequestChange]) -> list[Taken]:
        """Writes the answers of requests, and publishes them; gives those whose rows others changed."""
        try:
            written = self.adapters.request_store.commit(changes)
        except KeyjanitorError as err:
            self.defer(tasks, err)
            return []
        lost: list[Taken] = []
        answers: dict[Taken, Announcement] = {}
        for task, change, row in zip(tasks, changes, written, strict=True):
            if row is None:
                lost.append(task)
            else:
                task.row = row
                (answers[task],) = change.announcements
        self.publish(answers)
        return lost

    def publish(self, answers: Mapping[Taken, Announcement]) -> None:
        """Puts the events that answer requests on the bus; those it does not take come again."""
        waiting = {answer.announcement_id: task for task, answer in answers.items()}
        for taken in self._put(list(answers.values())):
            waiting[taken.announcement_id].outcome = Answered()
        self.defer(waiting.values(), "its event could not be put")

    def publish_pending(self) -> None:
        """Puts what earlier runs could not, but for notices: a late one moves a date, which sweeps do."""
        try:
            waiting = self.adapters.ledger.unsent(self.run.now())
            self._put([one for one in waiting if one.detail_type not in NOTICES])
        except KeyjanitorError as err:
            logger.error("events wait for the next run: %s", err)

    def _put_on_the_bus(self, announcements: Sequence[Announcement]) -> list[Announcement]:
        taken: list[Announcement] = []
        for batch in bus.batches(announcements):
            try:
                taken += self.adapters.bus.put(batch)
            except KeyjanitorError as err:
                logger.error("%d events could not be put: %s", len(batch), err)
        return taken

    def _put(self, announcements: Sequence[Announcement]) -> list[Announcement]:
        taken = self._put_on_the_bus(announcements)
        try:
            self.adapters.ledger.sent(taken)
        except KeyjanitorError as err:
            logger.error("%d events may be put again: %s", len(taken), err)
        return taken


def log_deferred(requests: Iterable[Received], why: object) -> None:
    """Logs that requests are left for another run, and why."""
    for one in requests:
        shown = (one.body.request_id or "whose id looks like a value")[:128]
        logger.warning("request %r is left: %s", shown, why)


def refusal_detail(
    body: Body, sender: str, refusal: Refusal, key: Row | None, policy: Policy
) -> dict[str, object]:
    """The event that refuses a request, whatever its body is; `key` is the row of the key it names."""
    tier = key.tier if key else body.text("tier")
    action = body.text("action")
    return refused(
        body.request_id and body.request_id[:1024],
        sender or None,
        action if action in list(Action) else None,
        refusal,
        key_id=body.text("key_id"),
        owner=key.owner if key else body.text("owner"),
        tier=tier,
        contact=policy.tiers[tier].contact if tier and tier in policy.tiers else None,
    )
