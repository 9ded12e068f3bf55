"""Serves a batch of requests: receive, take, check, judge, admit, issue or change, publish."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from aws_lambda_powertools import Logger

from keyjanitor.adapters.request_store import RequestChange
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.records import RequestRow
from keyjanitor.domain.requests.key_request import Action
from keyjanitor.domain.requests.sqs_message import Message
from keyjanitor.errors import KeyjanitorError
from keyjanitor.services.provision_keys.issuing import Issuing
from keyjanitor.services.provision_keys.judging import judge
from keyjanitor.services.provision_keys.key_actions import change_keys
from keyjanitor.services.provision_keys.receiving import NotRequest, receive
from keyjanitor.services.provision_keys.responder import (
    Adapters,
    Responder,
    Run,
    log_deferred,
)
from keyjanitor.services.provision_keys.slots import Slots
from keyjanitor.services.provision_keys.taking import (
    Taking,
    check,
    refusal_of_a_stranger,
    strangers,
    take,
)
from keyjanitor.services.provision_keys.tasks import Effect, Received, Taken, Task
from keyjanitor.services.provision_keys.tier_plans import TierPlans

TASKS_AT_ONCE = 25  # rotations and restores that are looked at before the first is made

logger = Logger(child=True)


class RequestBatch:
    """Serves the requests of one run."""

    def __init__(self, adapters: Adapters, policy: Policy, run: Run) -> None:
        self._adapters = adapters
        self.responder = Responder(adapters, policy, run)
        self._plans = TierPlans(
            adapters.gateway, adapters.request_store, run.holder, run.until, run.now, run.pause
        )
        self._slots = Slots(self.responder)
        self._issuing = Issuing(self.responder, self._plans)
        self.issued = 0  # new keys
        self.hopeless: list[Message] = []  # that can never be requests; their senders are told
        self.taken: list[Taken] = []  # what this run held, or answered again

    def serve(self, messages: Sequence[Message]) -> list[Message]:
        """Serves what it can; gives the messages that have to come again.

        Those in `hopeless` are neither served nor given: they belong in the dead-letter queue.
        """
        reading = receive(messages, self._adapters.request_store)
        unread = reading.unread + self._turn_back(reading.no_requests)
        taking = self._taken(reading.requests)
        checked = check(taking, self.responder.run.window)
        self.responder.refuse(checked.refusals)
        self.taken = checked.taken
        deleted: list[Task] = []
        for part in _parts(checked.tasks):
            deleted += self._serve(part)
        self._note_revoked([task for task in deleted if task.answered])
        deferred = [one for one in self.taken if one.deferred]
        self._release(deferred)
        self.responder.publish_pending()
        requests = [*taking.deferred, *(one.received for one in deferred)]
        left = {message.message_id for one in requests for message in one.messages}
        return unread + [message for message in messages if message.message_id in left]

    def _turn_back(self, no_requests: Sequence[NotRequest]) -> list[Message]:
        """Tells senders that their messages are no requests; gives those to be read again."""
        told = self.responder.answer_no_requests(no_requests)
        messages = [one.message for one in no_requests]
        self.hopeless = [one for one in messages if one.message_id in told]
        return [one for one in messages if one.message_id not in told]

    def _taken(self, requests: Sequence[Received]) -> Taking:
        """Takes the requests, but those of strangers, which it refuses at once."""
        request_store, policy, window = (
            self._adapters.request_store,
            self.responder.policy,
            self.responder.run.window,
        )
        try:
            known = request_store.requests(sorted({one.row_id for one in requests}))
        except KeyjanitorError as err:
            log_deferred(requests, err)
            return Taking([], list(requests))
        refusals = {
            one: refusal_of_a_stranger(one, policy, window)
            for one in strangers(requests, known, policy)
        }
        lost = self.responder.turn_away(refusals)
        taking = take([one for one in requests if one not in refusals], known, self.responder)
        return replace(taking, deferred=[*lost, *taking.deferred])

    def _serve(self, tasks: Sequence[Task]) -> list[Task]:
        """Serves some of the requests, from their verdicts to their answers; gives the revocations."""
        if not tasks[0].takes_a_slot:
            return _with(Effect.KEY_DELETED, change_keys(tasks, self.responder))
        wanted = judge(tasks, self.responder, self._plans)
        self.responder.refuse(self._slots.admit(wanted))
        new_keys = [one for one in wanted if one.task.is_open and one.task.makes_a_key]
        made = self._issuing.make(new_keys)
        # Also a restore that wants no slot, because its key is no more, has to be answered.
        others = [task for task in tasks if not task.makes_a_key]
        restored = _with(Effect.KEY_ADDED, change_keys(others, self.responder))
        self.issued += len(made)
        self._slots.give_back(wanted, {*made, *restored})
        return []

    def _note_revoked(self, tasks: Sequence[Task]) -> None:
        """Counts revoked keys for the day, so that watch_capacity does not alert on missing keys."""
        if not tasks:
            return
        try:
            self._adapters.ledger.add_revoked(tasks[0].request.today, len(tasks))
        except KeyjanitorError as err:
            logger.warning("%d revoked keys are not counted: %s", len(tasks), err)

    def _release(self, deferred: Sequence[Taken]) -> None:
        """Lets the next run take up at once what this one leaves."""
        held: list[RequestRow] = [
            one.row for one in deferred if one.row.holder == self.responder.run.holder
        ]
        changes = [RequestChange(row, replace(row, holder=None, held_until=None)) for row in held]
        try:
            self._adapters.request_store.commit(changes)
        except KeyjanitorError as err:
            logger.warning("what is left is taken up later: %s", err)


def _with(effect: Effect, effects: Mapping[Task, Effect]) -> list[Task]:
    return [task for task, one in effects.items() if one is effect]


def _parts(tasks: Sequence[Task]) -> Iterator[list[Task]]:
    """Issues first and all together, for they cost the least; the others by as many as fit a run.

    Each rotation and each restore takes calls of its own, so that looking at all of them first could
    take the time in which the first of them is made.
    """
    issues = [task for task in tasks if task.request.action is Action.ISSUE]
    slots = [
        task for task in tasks if task.takes_a_slot and task.request.action is not Action.ISSUE
    ]
    others = [task for task in tasks if not task.takes_a_slot]
    parts = [slots[start : start + TASKS_AT_ONCE] for start in range(0, len(slots), TASKS_AT_ONCE)]
    yield from (part for part in (issues, *parts, others) if part)
