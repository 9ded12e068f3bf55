"""Takes requests: holds their rows, and answers those again that are answered already."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from keyjanitor.adapters.request_store import RequestChange
from keyjanitor.domain.model.invocation import ReplayWindow
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.records import FINAL, Announcement, RequestRow, Status, row_id
from keyjanitor.domain.requests import body as contract
from keyjanitor.domain.requests.admission import is_in_a_tier, judge_dates, judge_stranger
from keyjanitor.domain.requests.key_request import Action, Code, Refusal
from keyjanitor.errors import Contended, InvalidRequest, KeyjanitorError
from keyjanitor.services.provision_keys.receiving import beside_the_first
from keyjanitor.services.provision_keys.responder import Responder, log_deferred
from keyjanitor.services.provision_keys.tasks import Received, Taken, Task

SAY_SEND_AGAIN = (
    "this message comes out of the dead-letter queue, and the ledger does not know it: "
    "who sent it first is not known. Its sender can send it again, unchanged"
)


@dataclass(frozen=True, slots=True)
class Taking:
    """Requests `taken` by this run, and those `deferred` to another run without being held.

    `refusals` are those of taken requests that conflict with another request.
    """

    taken: list[Taken]
    deferred: list[Received]
    refusals: Mapping[Taken, Refusal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checked:
    """Taken requests: those that are answered already, those to be served, those to be refused."""

    over: list[Taken]
    tasks: list[Task]
    refusals: Mapping[Taken, Refusal]

    @property
    def taken(self) -> list[Taken]:
        return [*self.over, *self.tasks, *self.refusals]


def strangers(
    requests: Sequence[Received], known: Mapping[str, RequestRow], policy: Policy
) -> list[Received]:
    """The requests that the ledger does not know, of senders whom no tier names. Pure.

    They are refused without a row: else every principal that may send could fill the ledger.
    """
    return [
        one for one in requests if one.row_id not in known and not is_in_a_tier(one.sender, policy)
    ]


def refusal_of_a_stranger(request: Received, policy: Policy, window: ReplayWindow) -> Refusal:
    """The refusal of a request whose sender no tier names. Pure."""
    if any(message.moved for message in request.messages):
        return Refusal(Code.SEND_AGAIN, SAY_SEND_AGAIN)
    try:
        today = request.messages[0].today(window)
        fits = contract.check(request.body, request.sender, today)
    except InvalidRequest as err:
        return Refusal(Code.INVALID_REQUEST, str(err))
    return judge_dates(fits) or judge_stranger(fits, policy)


def take(
    requests: Sequence[Received], known: Mapping[str, RequestRow], responder: Responder
) -> Taking:
    """Takes the requests that no other run is at work on; answers those again that are answered.

    `known` are the rows of requests that the ledger has, by their ids.
    """
    apart = conflicts_apart(requests, known)
    names = sorted({one.row_id for one, refusal in apart if refusal is not None})
    try:
        rows = {**known, **responder.adapters.request_store.requests(names)}
    except KeyjanitorError as err:
        log_deferred(requests, err)
        return Taking([], list(requests))
    return _take_up(apart, rows, responder)


def conflicts_apart(
    requests: Sequence[Received], known: Mapping[str, RequestRow]
) -> list[tuple[Received, Refusal | None]]:
    """Each request, and a refusal for those that have another's id. Pure.

    Those get a row of their own, beside the one that was first.
    """
    first = {name: row.digest for name, row in known.items()}
    apart: list[tuple[Received, Refusal | None]] = []
    for one in requests:
        if first.setdefault(one.row_id, one.body.digest) == one.body.digest:
            apart.append((one, None))
            continue
        beside = replace(one, row_id=row_id(beside_the_first(one.body), one.sender))
        reason = "this request_id was used with another body; choose a new one"
        apart.append((beside, Refusal(Code.CONFLICTING_REQUEST, reason)))
    return apart


def _take_up(
    requests: Sequence[tuple[Received, Refusal | None]],
    known: Mapping[str, RequestRow],
    responder: Responder,
) -> Taking:
    run = responder.run
    again: dict[Taken, Announcement] = {}
    deferred: list[Received] = []
    free: list[tuple[Received, Refusal | None]] = []
    changes: list[RequestChange] = []
    for one, refusal in requests:
        row = known.get(one.row_id)
        if row is not None and row.status in FINAL:
            told = responder.announcement(row, row.detail_type, dict(row.detail))
            again[Taken(one, row)] = told
        elif row is not None and row.held_until is not None and row.held_until > run.now():
            log_deferred([one], Contended(f"request {row.request_id}"))
            deferred.append(one)
        else:
            mine = row or new_row(one, run.window)
            held = replace(mine, holder=run.holder, held_until=run.until)
            changes.append(RequestChange(row, held))
            free.append((one, refusal))
    taken: list[Taken] = []
    refusals: dict[Taken, Refusal] = {}
    try:
        written = responder.adapters.request_store.commit(changes)
    except KeyjanitorError as err:
        unheld = [*(one.received for one in again), *(one for one, _ in free)]
        log_deferred(unheld, err)
        return Taking([], [*deferred, *unheld])
    for (one, refusal), row in zip(free, written, strict=True):
        if row is None:
            log_deferred([one], Contended(f"request {one.row_id}"))
            deferred.append(one)
        else:
            taken.append(Taken(one, row))
            if refusal is not None:
                refusals[taken[-1]] = refusal
    responder.publish(again)
    return Taking([*again, *taken], deferred, refusals)


def new_row(request: Received, window: ReplayWindow) -> RequestRow:
    """The row of a request that is seen for the first time. Pure."""
    action = request.body.text("action") or ""
    return RequestRow(
        request_id=request.row_id,
        digest=request.body.digest,
        sender=request.sender,
        status=Status.TAKEN,
        action=action if action in list(Action) else "",
        received_on=request.messages[0].today(window),
    )


def check(taking: Taking, window: ReplayWindow) -> Checked:
    """Holds the open requests against the contract. Pure."""
    over: list[Taken] = []
    tasks: list[Task] = []
    refusals = dict(taking.refusals)
    for one in taking.taken:
        if not one.is_open:
            over.append(one)
            continue
        if one in refusals:
            continue
        try:
            today = one.received.messages[0].today(window)
            request = contract.check(one.body, one.row.sender, today)
        except InvalidRequest as err:
            refusals[one] = Refusal(Code.INVALID_REQUEST, str(err))
            continue
        refusal = judge_dates(request) if one.row.status is Status.TAKEN else None
        task = Task(one.received, one.row, request=request)
        if refusal is None:
            tasks.append(task)
        else:
            refusals[task] = refusal
    return Checked(over, tasks, refusals)
