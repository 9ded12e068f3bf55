"""Imports new keys, a hundred by one call, and finds out which of them it made.

An import that is not answered in time is looked for before it is made again. No value is imported a
second time by another run: its key may have been revoked, or disabled, in
between; and whether an import over a key is a warning is not known (believed: AF-235).
"""

from collections.abc import Sequence

from aws_lambda_powertools import Logger

from keyjanitor.domain.model.keys import ApiKey
from keyjanitor.domain.requests.import_file import ROWS
from keyjanitor.domain.requests.key_request import Code, Refusal
from keyjanitor.errors import AccountFull, ImportRefused, ImportUnanswered, KeyjanitorError
from keyjanitor.services.provision_keys.responder import Responder
from keyjanitor.services.provision_keys.tasks import PendingKey
from keyjanitor.services.provision_keys.tier_plans import TierPlans

MAX_LOOKS = 4  # for what an import has made that was not answered in time
LOOK_PAUSE = 15  # seconds

logger = Logger(child=True)


class Importing:
    """Imports the keys of one run. Once the account was found full, it knows that."""

    def __init__(self, responder: Responder, plans: TierPlans) -> None:
        self._responder = responder
        self._gateway = responder.adapters.gateway
        self._plans = plans
        self._prefix = ""
        self._rows = ROWS  # of one import: fewer once one was not answered in time
        self._listed: list[ApiKey] | None = None  # once the account was found full
        self._room = 0

    def make(self, pending: Sequence[PendingKey], prefix: str) -> list[PendingKey]:
        """Imports keys whose names begin with `prefix`; gives those that it made."""
        self._prefix = prefix
        made: list[PendingKey] = []
        left = list(pending)
        while left:
            part, left = left[: self._rows], left[self._rows :]
            made += self._import(part)
        return made

    def _import(self, pending: Sequence[PendingKey], *, again: bool = False) -> list[PendingKey]:
        """Imports keys by one call; gives those that it made. A bad row is found by halving."""
        if not pending:
            return []
        if self._listed is not None:
            return self._into_what_is_left(pending)
        if self._responder.run.deadline.passed():
            self._defer(pending, "there is no time left to import its key")
            return []
        try:
            self._gateway.import_keys([one.as_new_key() for one in pending])
        except AccountFull:
            return self._into_what_is_left(pending)
        except ImportRefused as err:
            return self._found_or_halved(pending, err, again=again)
        except ImportUnanswered as err:
            return self._looked_for(pending, err)
        except KeyjanitorError as err:
            self._defer(pending, err)
            return []
        return list(pending)

    def _looked_for(self, pending: Sequence[PendingKey], err: ImportUnanswered) -> list[PendingKey]:
        """Looks for what an import that may still be at work has made, before the rest is imported.

        How long an import takes is not documented (believed: AF-238): the rest comes in halves.
        """
        logger.warning(str(err))
        run = self._responder.run
        self._rows = max(1, len(pending) // 2)
        made: list[PendingKey] = []
        try:
            for _ in range(MAX_LOOKS):
                run.pause(LOOK_PAUSE)
                names = {key.name for key in self._gateway.keys_named(self._prefix)}
                made = [one for one in pending if one.name in names]
                if len(made) == len(pending) or run.deadline.passed():
                    break
        except KeyjanitorError as unlisted:
            self._defer(pending, unlisted)
            return []
        rest = [one for one in pending if one not in made]
        if len(pending) == 1:
            self._defer(rest, err)
            return made
        for start in range(0, len(rest), self._rows):
            made += self._import(rest[start : start + self._rows])
        return made

    def _found_or_halved(
        self, pending: Sequence[PendingKey], err: ImportRefused, *, again: bool
    ) -> list[PendingKey]:
        """Whatever API Gateway says of an import: keys that are there are made, the rest is halved.

        An answer may be lost and the import be repeated; whether a key that is imported over itself
        is a warning, and so refused, is not known.
        """
        try:
            names: set[str] = set()
            if not again or len(pending) == 1:
                names = {key.name for key in self._gateway.keys_named(self._prefix)}
            self._plans.forget()
            waiting = [one for one in pending if one.name not in names]
            there = [one for one in waiting if self._plans.there_is(one.grant.usage_plan_ids)]
        except KeyjanitorError as unlisted:
            self._defer(pending, unlisted)
            return []
        made = [one for one in pending if one.name in names]
        without_plan = [one for one in waiting if one not in there]
        self._defer(without_plan, "its usage plan was deleted meanwhile")
        if len(there) < len(pending):
            return [*made, *self._import(there, again=True)]
        if len(pending) == 1:
            logger.error(str(err))
            reason = f"API Gateway refuses its key ({err.code})"
            self._refuse(pending, Refusal(Code.INVALID_REQUEST, reason))
            return []
        half = len(pending) // 2
        halves = pending[:half], pending[half:]
        return [one for part in halves for one in self._import(part, again=True)]

    def _into_what_is_left(self, pending: Sequence[PendingKey]) -> list[PendingKey]:
        """Imports as many as the account has room for; counted again, for others make keys too."""
        try:
            if self._listed is None:
                self._listed = self._gateway.keys()
                quota = self._responder.policy.service_quota
                self._room = max(0, quota - len(self._listed))
            names = {key.name for key in self._listed if key.name.startswith(self._prefix)}
            # All or nothing is what failOnWarnings promises; but what is there, is there.
            made = [one for one in pending if one.name in names]
            new = [one for one in pending if one not in made]
            # If the count says that there is room for all, AWS knows better.
            fitting = new[: self._room] if len(new) > self._room else []
            self._room = 0
            if fitting:
                self._gateway.import_keys([one.as_new_key() for one in fitting])
        except KeyjanitorError as err:
            self._defer(pending, err)
            return []
        reason = "API Gateway holds as many API keys as it can"
        left_over = [one for one in new if one not in fitting]
        self._refuse(left_over, Refusal(Code.CAPACITY_EXHAUSTED, reason))
        return [*made, *fitting]

    def _defer(self, pending: Sequence[PendingKey], why: object) -> None:
        self._responder.defer([one.task for one in pending], why)

    def _refuse(self, pending: Sequence[PendingKey], refusal: Refusal) -> None:
        self._responder.refuse({one.task: refusal for one in pending})
