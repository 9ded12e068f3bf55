"""Makes new keys, a hundred by one call: seal, write down, import, read back, announce.

Whatever breaks, the redelivered request goes on from its grant, by the name of the key: one that is
there is proven, one that is not there is made with another value. No value is imported a second time
by another run: its key may have been revoked, or disabled, in between; and whether an import over a
key is a warning is not known (believed: AF-235).
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from aws_lambda_powertools import Logger

from keyjanitor.adapters.kms import delivery_context
from keyjanitor.adapters.ledger import Change
from keyjanitor.adapters.request_store import RequestChange
from keyjanitor.adapters.system_clock import pause
from keyjanitor.domain.expiry.events import announce
from keyjanitor.domain.expiry.ownership import disabled_by_us
from keyjanitor.domain.expiry.transitions import replaced
from keyjanitor.domain.model.keys import DAY, LIVE_STATES, ApiKey, Secret, State
from keyjanitor.domain.model.records import ISSUED, ROTATED, Grant, Row, Status
from keyjanitor.domain.requests.events import answer
from keyjanitor.domain.requests.import_file import (
    ROWS,
    NewKey,
    batch_of_name,
    batch_prefix,
    describe,
)
from keyjanitor.domain.requests.key_request import Action, Code, Refusal
from keyjanitor.domain.requests.key_values import new_value
from keyjanitor.errors import ImportRefused, KeyjanitorError, KeysFull, Unproven
from keyjanitor.services.provision_keys.responder import Desk, Task
from keyjanitor.services.provision_keys.tier_plans import TierPlans

SEALERS = 8  # values that are sealed at once
LOOKS = 3  # at what was imported, before it is imported again
BETWEEN_LOOKS = 2  # seconds
TRIES = 3  # to write a row that others write too

logger = Logger(child=True)


@dataclass(slots=True)
class Making:
    """A key that is being made for a request; without a `value` an earlier run has imported it."""

    task: Task
    grant: Grant
    value: Secret | None
    key: ApiKey | None = None

    @property
    def name(self) -> str:
        return self.grant.key_name

    def as_new_key(self) -> NewKey:
        grant, request = self.grant, self.task.the_request()
        if self.value is None:
            raise AssertionError("no value is imported twice")
        text = describe(grant.owner or "", grant.name, request.request_id, request.sender)
        return NewKey(self.name, self.value, text, grant.usage_plan_ids)


class Issuing:
    """Makes the keys of one run's requests."""

    def __init__(self, desk: Desk, plans: TierPlans) -> None:
        self._desk = desk
        self._outside = desk.outside
        self._plans = plans
        self._prefix = ""
        self._listed: list[ApiKey] | None = None  # once the account was found full
        self._room = 0

    def make(self, tasks: Sequence[Task], grants: dict[str, Grant]) -> None:
        """Makes a key for each task: `grants`, by request, are those that were not sealed before."""
        self._prefix = batch_prefix(self._desk.run.clock.now.date(), secrets.token_hex(4))
        making = self._sealed(tasks, grants)
        there = [one for one in making if one.value is None]
        new = [one for one in making if one.value is not None]
        for start in range(0, len(new), ROWS):
            there += self._import(new[start : start + ROWS])
        if there:
            self._announce(self._proven(there))

    # --- what earlier runs have made --------------------------------------------------------------

    def _made_before(self, tasks: Sequence[Task]) -> dict[str, ApiKey]:
        """The keys that runs which were cut off have made, by their names; leaves who has to wait.

        One that is disabled stays so, unless a sweep disabled it: then it is enabled.
        """
        begun = [task for task in tasks if task.the_row().grant is not None]
        try:
            prefixes = sorted({batch_of_name(_granted(task).key_name) for task in begun})
            keys = {
                key.name: key
                for prefix in prefixes
                for key in self._outside.gateway.keys_named(prefix)
            }
        except KeyjanitorError as err:
            self._desk.leave(begun, err)
            return {}
        for task in begun:
            key = keys.get(_granted(task).key_name)
            if key is None or key.enabled:
                continue
            try:
                self._enable(key, task)
            except KeyjanitorError as err:
                self._desk.leave([task], err)
        self._desk.refuse(tasks)
        return keys

    def _enable(self, key: ApiKey, task: Task) -> None:
        row = self._outside.ledger.row(key.key_id)
        if row is not None and disabled_by_us(key, row):
            self._outside.gateway.set_enabled(key.key_id, enabled=True)
            return
        reason = f"key {key.key_id} was made, and somebody disabled it before it was delivered"
        task.refusal = Refusal(Code.PROTECTED, f"{reason}; it stays so")

    # --- seal -------------------------------------------------------------------------------------

    def _sealed(self, tasks: Sequence[Task], grants: dict[str, Grant]) -> list[Making]:
        """The keys to be made, each with its value, which is sealed and written down."""
        made = self._made_before(tasks)
        tasks = [task for task in tasks if task.is_open]
        names = {task.row_id: f"{self._prefix}{index:03}" for index, task in enumerate(tasks)}

        def seal(task: Task) -> Making | None:
            written = task.the_row().grant
            if written is not None and written.key_name in made:
                return Making(task, written, None)
            grant = written or grants.get(task.row_id)
            if grant is None:
                raise AssertionError("a new key needs a grant")
            return self._seal(task, replace(grant, key_name=names[task.row_id]))

        with ThreadPoolExecutor(SEALERS) as sealers:
            making = [one for one in sealers.map(seal, tasks) if one is not None]
        for one in making:
            self._keep_in_a_plan(one)
        making = [one for one in making if one.task.is_open]
        new = [one for one in making if one.task.the_row().grant != one.grant]
        changes = [
            RequestChange(
                one.task.the_row(),
                replace(one.task.the_row(), status=Status.SEALED, grant=one.grant),
            )
            for one in new
        ]
        try:
            written = self._outside.register.commit(changes)
        except KeyjanitorError as err:
            self._desk.leave([one.task for one in new], err)
            written = [None] * len(new)
        for one, row in zip(new, written, strict=True):
            if row is None:
                self._desk.leave([one.task], "its request was changed meanwhile")
            else:
                one.task.row = row
        return [one for one in making if one.task.is_open]

    def _seal(self, task: Task, grant: Grant) -> Making | None:
        """A fresh value, sealed for its recipient."""
        value = new_value()
        context = delivery_context(grant.deliver_to, task.the_request().request_id)
        try:
            sealed = self._outside.sealer.seal(value, context)
        except KeyjanitorError as err:
            self._desk.leave([task], err)
            return None
        return Making(task, replace(grant, sealed_value=sealed), value)

    def _keep_in_a_plan(self, one: Making) -> None:
        """Takes the tier's plan of today for a grant of before whose plan is no more."""
        tier = self._desk.policy.tiers.get(one.grant.tier)
        if tier is None or one.task.the_row().grant is None:
            return
        try:
            if not self._plans.there_is(one.grant.usage_plan_ids):
                one.grant = replace(one.grant, usage_plan_ids=(self._plans.plan_for(tier),))
        except KeyjanitorError as err:
            self._desk.leave([one.task], err)

    # --- import -----------------------------------------------------------------------------------

    def _import(self, making: Sequence[Making], *, again: bool = False) -> list[Making]:
        """Imports keys by one call; gives those that it made. A bad row is found by halving."""
        if not making:
            return []
        if self._listed is not None:
            return self._into_what_is_left(making)
        if self._desk.run.deadline.passed():
            self._desk.leave(_tasks(making), "there is no time left to import its key")
            return []
        try:
            self._outside.gateway.import_keys([one.as_new_key() for one in making])
        except KeysFull:
            return self._into_what_is_left(making)
        except ImportRefused as err:
            return self._found_or_halved(making, err, again=again)
        except KeyjanitorError as err:
            self._desk.leave(_tasks(making), err)
            return []
        return list(making)

    def _found_or_halved(
        self, making: Sequence[Making], err: ImportRefused, *, again: bool
    ) -> list[Making]:
        """Whatever API Gateway says of an import: keys that are there are made, the rest is halved.

        An answer may be lost and the import be repeated; whether a key that is imported over itself
        is a warning, and so refused, is not known.
        """
        try:
            names: set[str] = set()
            if not again or len(making) == 1:
                names = {key.name for key in self._outside.gateway.keys_named(self._prefix)}
            self._plans.forget()
            waiting = [one for one in making if one.name not in names]
            there = [one for one in waiting if self._plans.there_is(one.grant.usage_plan_ids)]
        except KeyjanitorError as unlisted:
            self._desk.leave(_tasks(making), unlisted)
            return []
        made = [one for one in making if one.name in names]
        self._desk.leave(
            [one.task for one in waiting if one not in there],
            "its usage plan was deleted meanwhile",
        )
        if len(there) < len(making):
            return [*made, *self._import(there, again=True)]
        if len(making) == 1:
            logger.error(str(err))
            reason = f"API Gateway refuses its key ({err.code})"
            making[0].task.refusal = Refusal(Code.INVALID_REQUEST, reason)
            self._desk.refuse(_tasks(making))
            return []
        half = len(making) // 2
        halves = making[:half], making[half:]
        return [one for part in halves for one in self._import(part, again=True)]

    def _into_what_is_left(self, making: Sequence[Making]) -> list[Making]:
        """Imports as many as the account has room for; counted again, for others make keys too."""
        try:
            if self._listed is None:
                self._listed = self._outside.gateway.keys()
                self._room = max(0, self._desk.policy.service_quota - len(self._listed))
            names = {key.name for key in self._listed if key.name.startswith(self._prefix)}
            # All or nothing is what failOnWarnings promises; but what is there, is there.
            made = [one for one in making if one.name in names]
            new = [one for one in making if one not in made]
            # If the count says that there is room for all, AWS knows better.
            fitting = new[: self._room] if len(new) > self._room else []
            self._room = 0
            if fitting:
                self._outside.gateway.import_keys([one.as_new_key() for one in fitting])
        except KeyjanitorError as err:
            self._desk.leave(_tasks(making), err)
            return []
        self._refuse_for_room([one for one in new if one not in fitting])
        return [*made, *fitting]

    def _refuse_for_room(self, making: Sequence[Making]) -> None:
        for one in making:
            reason = "API Gateway holds as many API keys as it can"
            one.task.refusal = Refusal(Code.CAPACITY_EXHAUSTED, reason)
        self._desk.refuse(_tasks(making))

    # --- prove ------------------------------------------------------------------------------------

    def _proven(self, making: Sequence[Making]) -> list[Making]:
        """Those that read back enabled, under their names and in their plans."""
        keys: dict[str, ApiKey] = {}
        members: dict[str, set[str]] = {}
        try:
            for look in range(LOOKS):
                if look:
                    pause(BETWEEN_LOOKS)
                keys, members = self._read_back(making, whole_plans=look == LOOKS - 1)
                faulty = [one for one in making if _fault(one, keys, members) is not None]
                if not faulty:
                    break
                self._attach([one for one in faulty if one.value is None], keys, members)
        except KeyjanitorError as err:
            self._desk.leave(_tasks(making), err)
            return []
        for one in making:
            if fault := _fault(one, keys, members):
                self._desk.leave([one.task], Unproven(one.name, fault))
            else:
                one.key = keys[one.name]
        return [one for one in making if one.key is not None]

    def _read_back(
        self, making: Sequence[Making], *, whole_plans: bool
    ) -> tuple[dict[str, ApiKey], dict[str, set[str]]]:
        """The keys by their names, and the members of the plans that they shall be in.

        That members can be asked for by the beginning of their names was recorded once (seen: AF-203):
        so the last look reads whole plans.
        """
        prefixes = sorted({batch_of_name(one.name) for one in making})
        keys = {
            key.name: key for prefix in prefixes for key in self._outside.gateway.keys_named(prefix)
        }
        members: dict[str, set[str]] = {}
        for plan in sorted({plan for one in making for plan in one.grant.usage_plan_ids}):
            members[plan] = set()
            for prefix in [""] if whole_plans else prefixes:
                members[plan].update(self._outside.gateway.members(plan, prefix))
        return keys, members

    def _attach(
        self,
        making: Iterable[Making],
        keys: Mapping[str, ApiKey],
        members: Mapping[str, set[str]],
    ) -> None:
        """Puts keys of earlier runs into the plans that they are not in."""
        for one in making:
            key = keys.get(one.name)
            for plan in one.grant.usage_plan_ids:
                if key is not None and key.key_id not in members[plan]:
                    self._outside.gateway.attach(plan, key.key_id)

    # --- announce ---------------------------------------------------------------------------------

    def _announce(self, making: Iterable[Making]) -> None:
        """Writes down the keys that were proven, and tells of them."""
        waiting = {one.task.row_id: one for one in making}
        for one in waiting.values():
            one.task.counted = True
        for attempt in range(TRIES):
            changes = {}
            try:
                for one in list(waiting.values()):
                    change = self._change(one, again=attempt > 0)
                    if change is None:
                        self._take_back(one)
                        del waiting[one.task.row_id]
                    else:
                        changes[one.task.row_id] = change
            except KeyjanitorError as err:
                self._desk.leave(_tasks(waiting.values()), err)
                return
            lost = self._desk.write(_tasks(waiting.values()), list(changes.values()))
            waiting = {task.row_id: waiting[task.row_id] for task in lost}
            if not waiting:
                return
        self._desk.leave(_tasks(waiting.values()), "its rows are changed by others all the time")

    def _take_back(self, one: Making) -> None:
        """Deletes a key of which nobody has heard: another request has rotated the old one meanwhile."""
        self._outside.gateway.delete(_proven_key(one).key_id)
        one.task.counted = False
        reason = f"key {one.grant.rotates} was rotated by another request just now"
        one.task.refusal = Refusal(Code.TOO_MANY_KEYS, reason)
        self._desk.refuse([one.task])

    def _change(self, one: Making, *, again: bool) -> RequestChange | None:
        """The answer, with the row of the new key and, of a rotation, of the old one.

        None if the old one was rotated by another request.
        """
        task, grant, key = one.task, one.grant, _proven_key(one)
        request = task.the_request()
        # A sweep may have adopted it in between; that is rare, so it is looked for in the second try.
        stands = self._outside.ledger.row(key.key_id) if again else None
        row = replace(
            stands or Row(key_id=key.key_id, state=State.ACTIVE, tier=grant.tier),
            state=State.ACTIVE,
            tier=grant.tier,
            owner=grant.owner,
            name=grant.name,
            issued=True,
            adopted_on=(stands and stands.adopted_on) or request.today,
            ends_on=grant.ends_on,
            our_update=key.last_updated_date,
            usage_plan_ids=grant.usage_plan_ids,
            sender=grant.sender,
            deliver_to=grant.deliver_to,
            request_ids=(task.row_id,),
            previous_key_ids=(),
        )
        changes = [Change(stands, row)]
        more: dict[str, object] = {
            "sealed_value": grant.sealed_value,
            "encryption_context": delivery_context(grant.deliver_to, request.request_id),
            "usage_plan_id": grant.usage_plan_ids[0],
            "expires_on": grant.ends_on,
        }
        if request.action is Action.ROTATE:
            ends_on, old = self._end_of_the_old(task, grant, key.key_id)
            if any(change.before and change.before.rotated_to for change in old):
                return None
            changes += old
            more |= {"previous_key_id": grant.rotates, "previous_key_ends_on": ends_on}
        detail_type = ROTATED if request.action is Action.ROTATE else ISSUED
        detail = answer(detail_type, request, row, self._desk.policy, **more)
        return self._desk.answer(task, detail_type, detail, *changes)

    def _end_of_the_old(
        self, task: Task, grant: Grant, new_key_id: str
    ) -> tuple[object, list[Change]]:
        """When the old key ends, and what its row says of it; nothing if it is gone already."""
        request = task.the_request()
        old = self._outside.ledger.row_of_any(grant.rotates or "")
        ends_on = request.today + DAY * request.overlap_days
        if old is None or old.state not in LIVE_STATES:
            return request.today, []
        if old.ends_on is not None:
            ends_on = min(ends_on, old.ends_on)
        tier = self._desk.policy.tiers.get(old.tier)
        if tier is None or tier.contact is None:  # no sweep touches it
            return ends_on, [Change(old, replace(old, ends_on=ends_on, rotated_to=new_key_id))]
        after = replaced(old, new_key_id, ends_on, request.today, tier.warn_days)
        if after.state is not State.WARNED:
            return ends_on, [Change(old, after)]
        told = announce(after, self._desk.policy, request.today)
        return ends_on, [Change(old, after, (told,))]


def _granted(task: Task) -> Grant:
    grant = task.the_row().grant
    if grant is None:
        raise AssertionError("only a key that was granted may be there")
    return grant


def _proven_key(one: Making) -> ApiKey:
    if one.key is None:
        raise AssertionError("only a proven key is announced")
    return one.key


def _fault(one: Making, keys: dict[str, ApiKey], members: dict[str, set[str]]) -> str | None:
    """What is wrong with a key as it reads back, or None."""
    key = keys.get(one.name)
    if key is None:
        return "API Gateway lists no key of this name"
    if not key.enabled:
        return "it is disabled"
    for plan in one.grant.usage_plan_ids:
        if key.key_id not in members[plan]:
            return f"it is not in usage plan {plan}"
    return None


def _tasks(making: Iterable[Making]) -> list[Task]:
    return [one.task for one in making]
