"""Admits requests to the slots of the service quota: no two runs give the same one."""

from collections.abc import Container, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from aws_lambda_powertools import Logger

from keyjanitor.domain.model.keys import DAY
from keyjanitor.domain.model.records import Status
from keyjanitor.domain.requests.census import (
    Admissions,
    Census,
    Want,
    batch_of,
    still_at_work,
    with_refused,
)
from keyjanitor.domain.requests.key_request import Action, Code, Refusal
from keyjanitor.errors import Contended, EmptyListing, KeyjanitorError
from keyjanitor.services.provision_keys.responder import Responder
from keyjanitor.services.provision_keys.tasks import SlotRequest, Taken, Task

COUNT_KEPT = timedelta(days=1)  # for which a count of the keys is used, if there is room
COUNT_KEPT_WHEN_FULL = timedelta(
    minutes=1
)  # the same, before a request is refused because the account is full
MAX_COUNT_ATTEMPTS = 8  # to write the batch while other runs write theirs

logger = Logger(child=True)


class Slots:
    """The slots that one run takes, and gives back."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._adapters = responder.adapters
        self._run = responder.run
        self._counted_at: datetime | None = None  # the keys, when this run was counted in

    def admit(self, requests: Sequence[SlotRequest]) -> dict[Taken, Refusal]:
        """Gives each request a slot, or defers it; gives the refusals of those that get none."""
        if not requests:
            return {}
        try:
            for _ in range(MAX_COUNT_ATTEMPTS):
                refusals = self._counted_in(requests)
                if refusals is not None:
                    self._admit_restores([one.task for one in requests if one.task not in refusals])
                    return refusals
            raise Contended("the count of the keys")
        except KeyjanitorError as err:
            self._responder.defer([one.task for one in requests], err)
            return {}

    def _counted_in(self, requests: Sequence[SlotRequest]) -> dict[Taken, Refusal] | None:
        """Writes down what this run is given; None if another run wrote first: count again."""
        now = self._run.now()
        admissions = self._adapters.request_store.admissions()
        holders = self._adapters.ledger.holders()
        pressure_row = self._adapters.ledger.pressure_row()
        pressure_above = pressure_row.above if pressure_row else None
        if admissions.counted_at is None or now - admissions.counted_at > COUNT_KEPT:
            admissions = self._by_the_hourly_count(admissions, now) or self._counted(
                admissions, holders.total()
            )
        refusals = self._refusals(requests, Census.of(admissions, holders, now, pressure_above))
        for_room = {Code.CAPACITY_EXHAUSTED, Code.TIER_FROZEN}
        if any(one is not None and one.code in for_room for one in refusals) and (
            admissions.counted_at is None or now - admissions.counted_at > COUNT_KEPT_WHEN_FULL
        ):
            admissions = self._counted(admissions, holders.total())
            refusals = self._refusals(requests, Census.of(admissions, holders, now, pressure_above))
        # Other runs' batches may fail, or be counted already. A refusal is final, so do not refuse
        # because of them: defer.
        alone = Census.of(replace(admissions, batches={}), holders, now, pressure_above)
        for_good = self._refusals(requests, alone)
        bursts = with_refused(admissions.bursts, _over_budget(requests, for_good), alone, now)
        given = [one.want for one, refusal in zip(requests, refusals, strict=True) if not refusal]
        batches = still_at_work(admissions.batches, now)
        batches[self._run.holder] = batch_of(given, self._run.until)
        after = replace(admissions, batches=batches, spent=admissions.spent.at(now), bursts=bursts)
        if not self._adapters.request_store.put_admissions(after):
            return None
        self._counted_at = admissions.counted_at
        return self._refused_for_good(requests, refusals, for_good)

    def _refused_for_good(
        self,
        requests: Sequence[SlotRequest],
        refusals: Sequence[Refusal | None],
        for_good: Sequence[Refusal | None],
    ) -> dict[Taken, Refusal]:
        """Those that are refused `for_good`; defers those that wait for other runs alone."""
        found: dict[Taken, Refusal] = {}
        for one, refusal, stands in zip(requests, refusals, for_good, strict=True):
            if refusal is not None and stands is None:
                self._responder.defer([one.task], Contended("a slot that it may have"))
            elif stands is not None:
                found[one.task] = stands
        return found

    def _by_the_hourly_count(self, admissions: Admissions, now: datetime) -> Admissions | None:
        """The last count of watch_capacity, in place of one of our own; None if it will not do.

        `made` stays: keys that were made before that count are in it too, so this is too many and never
        too few. Nobody is refused for want of room because of it: it is old enough to be counted again
        before that, which then sets `made` back to what it is.
        """
        if admissions.counted_at is None and admissions.version:
            return None  # how many were made since the last count is not known
        rows = self._adapters.ledger.counts(now.date() - DAY, now.date())
        counts = [(row.at, row.keys) for row in rows.values() if row.at is not None]
        at, keys = max(counts, default=(None, 0))
        if at is None or not keys or not COUNT_KEPT_WHEN_FULL < now - at <= COUNT_KEPT:
            return None
        return replace(admissions, counted=keys, counted_at=at)

    def _counted(self, admissions: Admissions, known: int) -> Admissions:
        keys = len(self._adapters.gateway.keys())
        if not keys and known:
            raise EmptyListing("API keys", known)
        return replace(admissions, counted=keys, counted_at=self._run.now(), made=0)

    def _refusals(self, requests: Sequence[SlotRequest], census: Census) -> list[Refusal | None]:
        """A verdict for each, those that were admitted before first: theirs stands."""
        for one in requests:
            if one.task.row.status is not Status.TAKEN:
                census.take(one.want)
        policy = self._responder.policy
        return [
            census.admit(one.want, policy) if one.task.row.status is Status.TAKEN else None
            for one in requests
        ]

    def _admit_restores(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            if task.request.action is Action.RESTORE and task.is_open:
                self._responder.admit(task)

    def give_back(self, requests: Sequence[SlotRequest], used: Container[Task]) -> None:
        """Gives back the slots that were not `used`; what fails here is forgotten when its time is up."""
        if not requests:
            return
        made = [one.want for one in requests if one.task in used]
        try:
            for _ in range(MAX_COUNT_ATTEMPTS):
                if self._counted_out(made):
                    return
        except KeyjanitorError as err:
            logger.warning("the slots of this run are given back later: %s", err)

    def _counted_out(self, made: Sequence[Want]) -> bool:
        admissions = self._adapters.request_store.admissions()
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
        return self._adapters.request_store.put_admissions(after)


def _over_budget(requests: Sequence[SlotRequest], refusals: Sequence[Refusal | None]) -> list[Want]:
    return [
        one.want
        for one, refusal in zip(requests, refusals, strict=True)
        if refusal is not None and refusal.code is Code.BUDGET_SPENT
    ]
