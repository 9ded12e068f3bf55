"""Carries out what a request asks of a key that there is: renew, revoke, restore, protect, release.

Each of them may be cut off anywhere and begun again: what is done already is a success.
"""

from collections.abc import Callable, Mapping, Sequence

from aws_lambda_powertools import Logger

from keyjanitor.adapters.request_store import RequestChange
from keyjanitor.domain.requests.key_request import Action, Refusal
from keyjanitor.errors import ClaimLost, KeyjanitorError
from keyjanitor.services.provision_keys.protecting import protect
from keyjanitor.services.provision_keys.renewing import renew
from keyjanitor.services.provision_keys.responder import Responder
from keyjanitor.services.provision_keys.restoring import bring_back
from keyjanitor.services.provision_keys.revoking import revoke
from keyjanitor.services.provision_keys.tasks import Task

# Does what a request asks for; gives the change that answers it, or why it is refused. None, and
# ClaimLost, if the key's row was changed by others: look again.
Act = Callable[[Task, Responder], RequestChange | Refusal | None]

ACTS: Mapping[Action, Act] = {
    Action.RENEW: renew,
    Action.REVOKE: revoke,
    Action.RESTORE: bring_back,
    Action.PROTECT: protect,
    Action.RELEASE: protect,
}
MAX_WRITE_ATTEMPTS = 3  # to write a row that others write too

logger = Logger(child=True)


def change_keys(tasks: Sequence[Task], responder: Responder) -> None:
    """Carries out the open requests for keys that there are, one after the other, while there is time."""
    for task in tasks:
        if not task.is_open:
            continue
        if responder.run.deadline.passed():
            responder.defer([task], "there is no time left for it")
        else:
            _carry_out(task, responder)


def _carry_out(task: Task, responder: Responder) -> None:
    """Does what a request asks for, and answers it."""
    act = ACTS[task.request.action]
    try:
        for _ in range(MAX_WRITE_ATTEMPTS):
            done = _once(act, task, responder)
            if isinstance(done, Refusal):
                task.refusal = done
                responder.refuse([task])
                return
            if done is not None and not responder.commit([task], [done]):
                return
    except KeyjanitorError as err:
        responder.defer([task], err)
        return
    responder.defer([task], "its key is changed by others all the time")


def _once(act: Act, task: Task, responder: Responder) -> RequestChange | Refusal | None:
    """The result of the act; None if others changed the key's row: look again."""
    try:
        return act(task, responder)
    except ClaimLost as err:
        logger.info(str(err))
        return None
