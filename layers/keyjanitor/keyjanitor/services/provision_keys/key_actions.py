"""Carries out what a request asks of a key that there is: renew, revoke, restore, protect, release, assign.

Each of them may be cut off anywhere and begun again: what is done already is a success.
"""

from collections.abc import Callable, Mapping, Sequence

from aws_lambda_powertools import Logger

from keyjanitor.domain.requests.key_request import Action, Refusal
from keyjanitor.errors import ClaimLost, KeyjanitorError
from keyjanitor.services.provision_keys.assigning import assign
from keyjanitor.services.provision_keys.protecting import protect
from keyjanitor.services.provision_keys.renewing import renew
from keyjanitor.services.provision_keys.responder import Responder
from keyjanitor.services.provision_keys.restoring import bring_back
from keyjanitor.services.provision_keys.revoking import revoke
from keyjanitor.services.provision_keys.tasks import Done, Effect, Task

# Does what a request asks for; gives its answer, or why it is refused. None, and ClaimLost, if the
# key's row was changed by others: look again.
Act = Callable[[Task, Responder], Done | Refusal | None]

ACTS: Mapping[Action, Act] = {
    Action.RENEW: renew,
    Action.REVOKE: revoke,
    Action.RESTORE: bring_back,
    Action.PROTECT: protect,
    Action.RELEASE: protect,
    Action.ASSIGN: assign,
}
MAX_WRITE_ATTEMPTS = 3  # to write a row that others write too

logger = Logger(child=True)


def change_keys(tasks: Sequence[Task], responder: Responder) -> dict[Task, Effect]:
    """Carries out the open requests for keys that there are, one after the other, while there is time.

    Gives what they did to the number of keys; a request that changed none is not in it.
    """
    effects: dict[Task, Effect] = {}
    for task in tasks:
        if not task.is_open:
            continue
        if responder.run.deadline.passed():
            responder.defer([task], "there is no time left for it")
        elif (effect := _carry_out(task, responder)) is not None:
            effects[task] = effect
    return effects


def _carry_out(task: Task, responder: Responder) -> Effect | None:
    """Does what a request asks for, and answers it; gives its effect, also if the answer failed."""
    act, effect = ACTS[task.request.action], None
    try:
        for _ in range(MAX_WRITE_ATTEMPTS):
            done = _once(act, task, responder)
            if isinstance(done, Refusal):
                responder.refuse({task: done})
                return effect
            if done is not None:
                # Of a second attempt, the first may have had the effect.
                effect = done.effect or effect
                if not responder.commit([task], [done.change]):
                    return effect
    except KeyjanitorError as err:
        responder.defer([task], err)
        return effect
    responder.defer([task], "its key is changed by others all the time")
    return effect


def _once(act: Act, task: Task, responder: Responder) -> Done | Refusal | None:
    """The result of the act; None if others changed the key's row: look again."""
    try:
        return act(task, responder)
    except ClaimLost as err:
        logger.info(str(err))
        return None
