"""Assigns a key to an owner: it is the owner's from now on, whatever a rule finds."""

from dataclasses import replace

from keyjanitor.domain.model.records import OwnerFrom
from keyjanitor.domain.requests.admission import judge_asker
from keyjanitor.domain.requests.events import ASSIGNED
from keyjanitor.domain.requests.key_request import Refusal
from keyjanitor.services.provision_keys.looking import look_up
from keyjanitor.services.provision_keys.responder import Responder
from keyjanitor.services.provision_keys.tasks import Done, Task


def assign(task: Task, responder: Responder) -> Done | Refusal | None:
    """Assigns the key; gives the answer, or a refusal; None: look again.

    Its name and its recipient change only if the request has them. With a recipient it can be rotated.
    """
    request = task.request
    row = look_up(task, responder)
    refusal = judge_asker(request, row, responder.policy)
    if refusal is not None or row is None:
        return refusal
    after = replace(
        row,
        owner=request.owner,
        owner_from=OwnerFrom.ASSIGNED,
        name=request.name or row.name,
        deliver_to=request.deliver_to or row.deliver_to,
    )
    before = row.owner if row.owner != after.owner else None
    change = responder.answer_of_key(
        task, ASSIGNED, row, after, previous_owner=before, deliver_to=after.deliver_to
    )
    return Done(change)
