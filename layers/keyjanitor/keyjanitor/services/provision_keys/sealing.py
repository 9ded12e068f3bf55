"""Makes the values of new keys, seals them and writes them down; finds what earlier runs have made."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from keyjanitor.adapters.kms import delivery_context
from keyjanitor.adapters.request_store import RequestChange
from keyjanitor.domain.expiry.ownership import disabled_by_us
from keyjanitor.domain.model.keys import ApiKey
from keyjanitor.domain.model.records import Grant, Status
from keyjanitor.domain.requests.import_file import batch_of_name
from keyjanitor.domain.requests.key_request import Code, Refusal
from keyjanitor.errors import KeyjanitorError
from keyjanitor.services.provision_keys.responder import Responder
from keyjanitor.services.provision_keys.tasks import PendingKey, SlotRequest, Taken, Task
from keyjanitor.services.provision_keys.tier_plans import TierPlans

SEALERS = 8  # values that are sealed at once


class Sealing:
    """Seals the values of one run's new keys."""

    def __init__(self, responder: Responder, plans: TierPlans) -> None:
        self._responder = responder
        self._adapters = responder.adapters
        self._plans = plans

    def seal(self, requests: Sequence[SlotRequest], prefix: str) -> list[PendingKey]:
        """The keys to be made, each with its value, which is sealed and written down.

        Those that an earlier run has imported come without a value. New names begin with `prefix`.
        """
        grants = {one.task.row_id: one.grant for one in requests}
        made = self._made_before([one.task for one in requests])
        tasks = [one.task for one in requests if one.task.is_open]
        names = {task.row_id: f"{prefix}{index:03}" for index, task in enumerate(tasks)}

        def seal(task: Task) -> PendingKey | None:
            written = task.row.grant
            if written is not None and written.key_name in made:
                return PendingKey(task, written, None)
            grant = written or grants[task.row_id]
            if grant is None:
                raise AssertionError("a new key needs a grant")
            return self._sealed(task, replace(grant, key_name=names[task.row_id]))

        with ThreadPoolExecutor(SEALERS) as sealers:
            sealed = [one for one in sealers.map(seal, tasks) if one is not None]
        pending = [kept for one in sealed if (kept := self._in_a_plan(one)) is not None]
        self._write_down([one for one in pending if one.task.row.grant != one.grant])
        return [one for one in pending if one.task.is_open]

    def _write_down(self, new: Sequence[PendingKey]) -> None:
        """Writes the grants with their sealed values into the rows of their requests."""
        changes = [
            RequestChange(
                one.task.row, replace(one.task.row, status=Status.SEALED, grant=one.grant)
            )
            for one in new
        ]
        try:
            written = self._adapters.request_store.commit(changes)
        except KeyjanitorError as err:
            self._responder.defer([one.task for one in new], err)
            return
        for one, row in zip(new, written, strict=True):
            if row is None:
                self._responder.defer([one.task], "its request was changed meanwhile")
            else:
                one.task.row = row

    def _sealed(self, task: Task, grant: Grant) -> PendingKey | None:
        """A fresh value, sealed for its recipient."""
        value = self._responder.run.new_value()
        context = delivery_context(grant.deliver_to, task.request.request_id)
        try:
            sealed = self._adapters.sealer.seal(value, context)
        except KeyjanitorError as err:
            self._responder.defer([task], err)
            return None
        return PendingKey(task, replace(grant, sealed_value=sealed), value)

    def _in_a_plan(self, one: PendingKey) -> PendingKey | None:
        """The key, with the tier's plan of today if its grant is of before and its plan is no more."""
        tier = self._responder.policy.tiers.get(one.grant.tier)
        if tier is None or one.task.row.grant is None:
            return one
        try:
            if self._plans.there_is(one.grant.usage_plan_ids):
                return one
            usage_plan_ids = (self._plans.plan_for(tier),)
        except KeyjanitorError as err:
            self._responder.defer([one.task], err)
            return None
        return replace(one, grant=replace(one.grant, usage_plan_ids=usage_plan_ids))

    # --- what earlier runs have made --------------------------------------------------------------

    def _made_before(self, tasks: Sequence[Task]) -> Mapping[str, ApiKey]:
        """The keys that runs which were cut off have made, by their names; leaves who has to wait.

        One that is disabled stays so, unless a sweep disabled it: then it is enabled.
        """
        begun = [(task, task.row.grant.key_name) for task in tasks if task.row.grant is not None]
        try:
            prefixes = sorted({batch_of_name(name) for _, name in begun})
            keys = {
                key.name: key
                for prefix in prefixes
                for key in self._adapters.gateway.keys_named(prefix)
            }
        except KeyjanitorError as err:
            self._responder.defer([task for task, _ in begun], err)
            return {}
        refusals: dict[Taken, Refusal] = {}
        for task, name in begun:
            key = keys.get(name)
            if key is None or key.enabled:
                continue
            try:
                if (refusal := self._enable(key)) is not None:
                    refusals[task] = refusal
            except KeyjanitorError as err:
                self._responder.defer([task], err)
        self._responder.refuse(refusals)
        return keys

    def _enable(self, key: ApiKey) -> Refusal | None:
        """Enables a key that a sweep disabled; the refusal if it was not a sweep."""
        row = self._adapters.ledger.row(key.key_id)
        if row is not None and disabled_by_us(key, row):
            self._adapters.gateway.set_enabled(key.key_id, enabled=True)
            return None
        reason = f"key {key.key_id} was made, and others disabled it before it was delivered"
        return Refusal(Code.PROTECTED, f"{reason}; it stays so")
