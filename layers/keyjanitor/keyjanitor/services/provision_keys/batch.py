"""Serves a batch of requests: take, judge, count in, make and change keys, answer."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from aws_lambda_powertools import Logger

from keyjanitor.adapters.request_store import RequestChange
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.records import FINAL, Grant, RequestRow, Row, Status, row_id
from keyjanitor.domain.requests import body as contract
from keyjanitor.domain.requests.admission import (
    end_of_life,
    is_in_a_tier,
    judge_asker,
    judge_bounds,
    judge_dates,
    judge_stranger,
)
from keyjanitor.domain.requests.census import (
    Admissions,
    Census,
    Want,
    batch_of,
    still_at_work,
    with_refused,
)
from keyjanitor.domain.requests.key_request import Action, Code, Refusal
from keyjanitor.domain.requests.sqs_message import Message
from keyjanitor.errors import (
    Busy,
    EmptyListing,
    InvalidRequest,
    KeyjanitorError,
    NotARequest,
    PlanRefused,
)
from keyjanitor.services.provision_keys.issuing import Issuing
from keyjanitor.services.provision_keys.key_actions import KeyActions
from keyjanitor.services.provision_keys.responder import Counterparts, Desk, Run, Task
from keyjanitor.services.provision_keys.tier_plans import TierPlans

COUNT_KEPT = timedelta(days=1)  # that a count of the account's keys is good for, with room to spare
COUNT_KEPT_WHEN_FULL = timedelta(minutes=1)  # before anybody is refused for want of room
AT_ONCE = 25  # rotations and restores that are looked at before the first is made
NOBODY = ""  # the sender of a message of which nobody knows who sent it
TRIES = 8  # to be counted in while other runs are

logger = Logger(child=True)


class Provisioner:
    """Serves the requests of one run."""

    def __init__(self, outside: Counterparts, policy: Policy, run: Run) -> None:
        self._outside = outside
        self._policy = policy
        self._run = run
        self.desk = Desk(outside, policy, run)
        self._plans = TierPlans(
            outside.gateway, outside.register, run.holder, run.until, clock=run.now
        )
        self._actions = KeyActions(self.desk)
        self._issuing = Issuing(self.desk, self._plans)
        self.issued = 0  # new keys
        self.hopeless: list[Message] = []  # that can never be requests; their senders are told
        self._known: dict[str, RequestRow] = {}
        self._counted_at: datetime | None = None  # the keys, when this run was counted in

    def serve(self, messages: Sequence[Message]) -> list[Message]:
        """Serves what it can; gives the messages that have to come again.

        Those in `hopeless` are neither served nor given: they belong in the dead-letter queue.
        """
        tasks, unread = self._read(messages)
        self._turn_away(tasks)
        self._take([task for task in tasks if task.is_open])
        self._check(tasks)
        for part in _parts(tasks):
            self._serve(part)
        self._note_revoked([task for task in tasks if task.freed and task.answered])
        self._release([task for task in tasks if task.left])
        self.desk.tell_the_rest()
        left = {message.message_id for task in tasks if task.left for message in task.messages}
        return unread + [message for message in messages if message.message_id in left]

    def _serve(self, tasks: Sequence[Task]) -> None:
        """Serves some of the requests, from their verdicts to their answers."""
        if not _takes_a_slot(tasks[0]):
            self._carry_out(tasks)
            return
        grants, wants = self._judge_those_who_take_a_slot(tasks)
        self._count_in(wants)
        self.desk.refuse(tasks)
        slots = [task for task, _ in wants if task.is_open]
        self._issuing.make([one for one in slots if _makes_a_key(one)], grants)
        self._carry_out([one for one in slots if not _makes_a_key(one)])
        self.issued += sum(task.counted for task, _ in wants if _makes_a_key(task))
        self._count_out(wants, [want for task, want in wants if task.counted])

    # --- reading ----------------------------------------------------------------------------------

    def _read(self, messages: Sequence[Message]) -> tuple[list[Task], list[Message]]:
        """One task for each request, whatever number of messages carry it; and what to read again."""
        tasks: dict[tuple[str, str], Task] = {}
        hopeless: dict[str, tuple[Message, str]] = {}
        unread: list[Message] = []
        for message in messages:
            try:
                body = contract.read(message.body)
                senders = self._senders(message, body)
            except NotARequest as err:
                logger.error("message %s: %s", message.message_id, err)
                hopeless[message.message_id] = message, err.reason
                continue
            except KeyjanitorError as err:
                logger.warning("message %s is left: %s", message.message_id, err)
                unread.append(message)
                continue
            for sender in senders:
                name = row_id(body.row_id, sender)
                task = tasks.setdefault((name, body.digest), Task([], body, name, sender))
                task.messages.append(message)
        told = self.desk.answer_what_is_no_request(hopeless)
        self.hopeless = [one for name, (one, _) in hopeless.items() if name in told]
        unread += [one for name, (one, _) in hopeless.items() if name not in told]
        return list(tasks.values()), unread

    def _senders(self, message: Message, body: contract.Body) -> list[str]:
        """Whose request a message carries: its sender's.

        One that came out of the dead-letter queue may name who moved it. It is the request of those
        of whom the ledger knows this very body; of a sender without a name if it knows none.
        """
        if not message.moved:
            return [message.sender]
        register = self._outside.register
        conflict = _beside_the_first(body)
        rows = [*register.of_all_senders(body.row_id), *register.of_all_senders(conflict)]
        return sorted({row.sender for row in rows if row.digest == body.digest}) or [NOBODY]

    def _turn_away(self, tasks: Sequence[Task]) -> None:
        """Refuses those that leave no trace, if the ledger does not know them: it would only fill up.

        These are the requests of senders whom no tier names, and of nobody knows whom.
        """
        try:
            names = sorted({task.row_id for task in tasks})
            self._known = self._outside.register.requests(names)
        except KeyjanitorError as err:
            self.desk.leave(tasks, err)
            return
        strangers = [
            task
            for task in tasks
            if task.row_id not in self._known and not is_in_a_tier(task.sender, self._policy)
        ]
        for task in strangers:
            task.refusal = self._of_a_stranger(task)
        self.desk.turn_away(strangers)

    def _of_a_stranger(self, task: Task) -> Refusal:
        if any(message.moved for message in task.messages):
            return Refusal(
                Code.SEND_AGAIN,
                "this message comes out of the dead-letter queue, and the ledger does not know it: "
                "who sent it first is not known. Its sender can send it again, unchanged",
            )
        try:
            today = task.messages[0].today(self._run.clock)
            request = contract.check(task.body, task.sender, today)
        except InvalidRequest as err:
            return Refusal(Code.INVALID_REQUEST, str(err))
        return judge_dates(request) or judge_stranger(request, self._policy)

    def _take(self, tasks: Sequence[Task]) -> None:
        """Takes the requests that nobody else is at work on; answers those again that are answered."""
        try:
            conflicts = self._conflicts(tasks, self._known)
            names = sorted({task.row_id for task in conflicts})
            self._known |= self._outside.register.requests(names)
            self._take_up(tasks, self._known)
        except KeyjanitorError as err:
            self.desk.leave(tasks, err)

    @staticmethod
    def _conflicts(tasks: Sequence[Task], known: dict[str, RequestRow]) -> list[Task]:
        """Those that have another's id: refused, and remembered beside the one that was first."""
        first = {row_id: row.digest for row_id, row in known.items()}
        conflicts = []
        for task in tasks:
            if first.setdefault(task.row_id, task.body.digest) != task.body.digest:
                task.row_id = row_id(_beside_the_first(task.body), task.sender)
                reason = "this request_id was used with another body; choose a new one"
                task.refusal = Refusal(Code.CONFLICTING_REQUEST, reason)
                conflicts.append(task)
        return conflicts

    def _take_up(self, tasks: Sequence[Task], known: dict[str, RequestRow]) -> None:
        run, changes = self._run, []
        taken: list[Task] = []
        again: list[Task] = []
        for task in tasks:
            row = known.get(task.row_id)
            if row is not None and row.status in FINAL:
                task.row = row
                task.announcement = self.desk.announcement(row, row.detail_type, dict(row.detail))
                again.append(task)
            elif row is not None and row.held_until is not None and row.held_until > run.now():
                self.desk.leave([task], Busy(f"request {row.request_id}"))
            else:
                mine = row or self._new_row(task)
                held = replace(mine, holder=run.holder, held_until=run.until)
                changes.append(RequestChange(row, held))
                taken.append(task)
        for task, written in zip(taken, self._outside.register.commit(changes), strict=True):
            task.row = written
            if written is None:
                self.desk.leave([task], Busy(f"request {task.row_id}"))
        self.desk.tell(again)

    def _new_row(self, task: Task) -> RequestRow:
        """The first sight of a request."""
        message = task.messages[0]
        action = task.body.text("action") or ""
        return RequestRow(
            request_id=task.row_id,
            digest=task.body.digest,
            sender=task.sender,
            status=Status.TAKEN,
            action=action if action in list(Action) else "",
            received_on=message.today(self._run.clock),
        )

    def _check(self, tasks: Sequence[Task]) -> None:
        """Holds each request against the contract."""
        for task in tasks:
            if not task.is_open or task.refusal is not None:
                continue
            row = task.the_row()
            try:
                today = task.messages[0].today(self._run.clock)
                task.request = contract.check(task.body, row.sender, today)
            except InvalidRequest as err:
                task.refusal = Refusal(Code.INVALID_REQUEST, str(err))
            else:
                if row.status is Status.TAKEN:
                    task.refusal = judge_dates(task.request)
        self.desk.refuse(tasks)

    # --- judging ----------------------------------------------------------------------------------

    def _judge_those_who_take_a_slot(
        self, tasks: Sequence[Task]
    ) -> tuple[dict[str, Grant], list[tuple[Task, Want]]]:
        """The grants of new keys, and who wants a slot of the service quota; refuses the others."""
        grants: dict[str, Grant] = {}
        wants: list[tuple[Task, Want]] = []
        rotated: set[str] = set()
        for task in tasks:
            if not task.is_open or not _takes_a_slot(task):
                continue
            if self._run.deadline.passed():
                self.desk.leave([task], "there is no time left to look at its key")
                continue
            try:
                grant = self._judged(task, rotated)
                if task.refusal is not None:
                    continue
                if grant is not None:
                    grants[task.row_id] = grant
                if (want := self._want(task, grant)) is not None:
                    wants.append((task, want))
            except PlanRefused as err:
                full = err.code == "LimitExceededException"
                code = Code.CAPACITY_EXHAUSTED if full else Code.UNKNOWN_TIER
                task.refusal = Refusal(code, str(err))
            except KeyjanitorError as err:
                self.desk.leave([task], err)
        self.desk.refuse(tasks)
        return grants, wants

    def _judged(self, task: Task, rotated: set[str]) -> Grant | None:
        """Judges a request that nobody has judged yet; what it is granted, if that is a new key."""
        request, row = task.the_request(), task.the_row()
        if row.status is not Status.TAKEN:
            return None
        if request.action is Action.ISSUE:
            asked_in = self._policy.tiers.get(request.tier)
            task.refusal = (asked_in and judge_bounds(request, asked_in)) or judge_asker(
                request, None, self._policy
            )
            if task.refusal is not None:
                return None
            tier = self._policy.tiers[request.tier]
            return Grant(
                sealed_value="",
                tier=tier.name,
                owner=request.owner,
                name=request.name,
                sender=row.sender,
                deliver_to=request.deliver_to,
                usage_plan_ids=(self._plans.plan_for(tier),),
                ends_on=request.expires_on or end_of_life(tier, request.today),
            )
        task.refusal = self._actions.judge(task)
        old = task.key
        if task.refusal is not None or request.action is Action.RESTORE or old is None:
            return None
        if old.key_id in rotated:
            raise Busy(f"key {old.key_id}")
        rotated.add(old.key_id)
        return self._like(old, request.today)

    def _like(self, old: Row, today: date) -> Grant:
        """A new key like an old one: its plans, its name, its owner, and its agreed end.

        One without an end gets that of a key which is issued today.
        """
        # An empty answer is no proof of emptiness: then the ledger says which they were.
        plan_ids = self._outside.gateway.plans_of(old.key_id) or old.usage_plan_ids
        if not plan_ids or not self._plans.there_is(plan_ids):
            plan_ids = (self._plans.plan_for(self._policy.tiers[old.tier]),)
        return Grant(
            sealed_value="",
            tier=old.tier,
            owner=old.owner,
            name=old.name,
            sender=old.sender,
            deliver_to=old.deliver_to or "",
            usage_plan_ids=plan_ids,
            ends_on=old.ends_on or end_of_life(self._policy.tiers[old.tier], today),
            rotates=old.key_id,
        )

    def _want(self, task: Task, grant: Grant | None) -> Want | None:
        request, written = task.the_request(), task.the_row().grant
        granted = grant or written
        if granted is not None:
            tier, owner = granted.tier, granted.owner
        else:
            key = task.key or self._actions.look_up(task)
            if key is None:
                return None
            tier, owner = key.tier, key.owner
        return Want(request.action, self._policy.tier_called(tier), owner, task.sender)

    # --- counting ---------------------------------------------------------------------------------

    def _count_in(self, wants: Sequence[tuple[Task, Want]]) -> None:
        """Gives each of the wants a slot, or a refusal; no two runs give the same one."""
        if not wants:
            return
        try:
            for _ in range(TRIES):
                if self._counted_in(wants):
                    self._admit_restores(wants)
                    return
            raise Busy("the count of the keys")
        except KeyjanitorError as err:
            self.desk.leave([task for task, _ in wants], err)

    def _counted_in(self, wants: Sequence[tuple[Task, Want]]) -> bool:
        now = self._run.now()
        admissions = self._outside.register.admissions()
        holders = self._outside.ledger.holders()
        ladder = self._outside.ledger.ladder()
        rung = ladder.above if ladder else None
        if admissions.counted_at is None or now - admissions.counted_at > COUNT_KEPT:
            admissions = self._counted(admissions, holders.total())
        refusals = self._refusals(wants, Census.of(admissions, holders, now, rung))
        for_room = {Code.CAPACITY_EXHAUSTED, Code.TIER_FROZEN}
        if any(one is not None and one.code in for_room for one in refusals) and (
            admissions.counted_at is None or now - admissions.counted_at > COUNT_KEPT_WHEN_FULL
        ):
            admissions = self._counted(admissions, holders.total())
            refusals = self._refusals(wants, Census.of(admissions, holders, now, rung))
        # What other runs are making may come to nothing, and some of it is counted already: for that
        # alone nobody is refused, for a refusal stands. Who has to wait for it is left.
        alone = Census.of(replace(admissions, batches={}), holders, now, rung)
        for_good = self._refusals(wants, alone)
        of_budget = [
            want
            for (_, want), one in zip(wants, for_good, strict=True)
            if one is not None and one.code is Code.BUDGET_SPENT
        ]
        bursts = with_refused(admissions.bursts, of_budget, alone, now)
        given = [want for (_, want), one in zip(wants, refusals, strict=True) if one is None]
        batches = still_at_work(admissions.batches, now)
        batches[self._run.holder] = batch_of(given, self._run.until)
        after = replace(admissions, batches=batches, spent=admissions.spent.at(now), bursts=bursts)
        if not self._outside.register.put_admissions(after):
            return False
        self._counted_at = admissions.counted_at
        for (task, _), refusal, stands in zip(wants, refusals, for_good, strict=True):
            if refusal is not None and stands is None:
                self.desk.leave([task], Busy("a slot that it may have"))
            elif refusal is not None:
                task.refusal = stands
        return True

    def _counted(self, admissions: Admissions, known: int) -> Admissions:
        keys = len(self._outside.gateway.keys())
        if not keys and known:
            raise EmptyListing("API keys", known)
        return replace(admissions, counted=keys, counted_at=self._run.now(), made=0)

    def _refusals(self, wants: Sequence[tuple[Task, Want]], census: Census) -> list[Refusal | None]:
        """A verdict for each, those that were admitted before first: theirs stands."""
        for task, want in wants:
            if task.the_row().status is not Status.TAKEN:
                census.take(want)
        return [
            census.admit(want, self._policy) if task.the_row().status is Status.TAKEN else None
            for task, want in wants
        ]

    def _admit_restores(self, wants: Sequence[tuple[Task, Want]]) -> None:
        for task, want in wants:
            if want.action is Action.RESTORE and task.is_open and task.refusal is None:
                self._actions.admit(task)

    def _count_out(self, wants: Sequence[tuple[Task, Want]], made: Sequence[Want]) -> None:
        """Gives back the slots that were not used. Who fails here is forgotten when its time is up."""
        if not wants:
            return
        try:
            for _ in range(TRIES):
                admissions = self._outside.register.admissions()
                batches = dict(admissions.batches)
                batches.pop(self._run.holder, None)
                now = self._run.now()
                after = replace(
                    admissions,
                    made=admissions.made + len(made),
                    batches=batches,
                    spent=admissions.spent.at(now).plus(batch_of(made, now)),
                )
                if admissions.counted_at != self._counted_at:
                    # Another run has counted in between, and some of this run's keys with the others.
                    after = replace(after, counted_at=None)
                if self._outside.register.put_admissions(after):
                    return
        except KeyjanitorError as err:
            logger.warning("the slots of this run are given back later: %s", err)

    # --- carrying out -----------------------------------------------------------------------------

    def _carry_out(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            if not task.is_open:
                continue
            if self._run.deadline.passed():
                self.desk.leave([task], "there is no time left for it")
            else:
                self._actions.carry_out(task)

    def _note_revoked(self, tasks: Sequence[Task]) -> None:
        """Says how many keys went, so that nobody is woken by their absence."""
        if not tasks:
            return
        try:
            self._outside.ledger.add_revoked(tasks[0].the_request().today, len(tasks))
        except KeyjanitorError as err:
            logger.warning("%d revoked keys are not counted: %s", len(tasks), err)

    def _release(self, tasks: Sequence[Task]) -> None:
        """Lets the next run take up at once what this one leaves."""
        held = [
            task for task in tasks if task.row is not None and task.row.holder == self._run.holder
        ]
        changes = [
            RequestChange(task.the_row(), replace(task.the_row(), holder=None, held_until=None))
            for task in held
        ]
        try:
            self._outside.register.commit(changes)
        except KeyjanitorError as err:
            logger.warning("what is left is taken up later: %s", err)


def _beside_the_first(body: contract.Body) -> str:
    """Under which a body is remembered whose id its sender used before; no other row is called so."""
    return f" conflict {body.digest}"


def _parts(tasks: Sequence[Task]) -> Iterator[list[Task]]:
    """Issues first and all together, for they cost the least; the others by as many as fit a run.

    Each rotation and each restore takes calls of its own, so that looking at all of them first could
    take the time in which the first of them is made.
    """
    open_ones = [task for task in tasks if task.is_open]
    issues = [task for task in open_ones if task.the_request().action is Action.ISSUE]
    slots = [task for task in open_ones if _takes_a_slot(task) and task not in issues]
    others = [task for task in open_ones if not _takes_a_slot(task)]
    parts = [slots[start : start + AT_ONCE] for start in range(0, len(slots), AT_ONCE)]
    yield from (part for part in (issues, *parts, others) if part)


def _takes_a_slot(task: Task) -> bool:
    return _makes_a_key(task) or task.the_request().action is Action.RESTORE


def _makes_a_key(task: Task) -> bool:
    return task.the_request().action in (Action.ISSUE, Action.ROTATE)
