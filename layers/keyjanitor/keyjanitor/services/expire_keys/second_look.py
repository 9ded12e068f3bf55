"""Judges right before a key is touched whether it still is what was judged. Pure."""

from collections.abc import Iterable
from datetime import date

from keyjanitor.domain.expiry.ownership import protection
from keyjanitor.domain.expiry.reasons import StageKeys
from keyjanitor.domain.expiry.sweep_plan import Disable, Park
from keyjanitor.domain.model.keys import ApiKey
from keyjanitor.domain.model.policy import BoundPolicy
from keyjanitor.domain.model.records import Row


def why_not(
    step: Disable | Park, key: ApiKey | None, row: Row, today: date, bound: BoundPolicy
) -> str | None:
    """The second look: why the key is not what was judged any more, or None.

    Between this look and the call that touches the key lies nothing else, for API Gateway takes
    no condition.
    """
    if key is None:
        return "it is no more"
    judged = step.key.enabled, step.key.last_updated_date
    if (key.enabled, key.last_updated_date) != judged:
        return "it was changed since it was listed"
    if shield := protection(key, row, today, bound):
        return str(shield)
    if isinstance(step, Park) and key.stage_keys:
        return str(StageKeys())
    return None


def other_plans(step: Park, plans: Iterable[str]) -> str | None:
    """Why the key is left alone if it is in other usage plans than were judged; None if it is not.

    A change of plans shows in no date of the key. An empty answer proves nothing either: of a
    key that was in plans it is another answer, of one that was in none it is the same twice.
    `plans` are the ids of those that API Gateway names right now.
    """
    if set(plans) == set(step.usage_plan_ids):
        return None
    return "its usage plans are not those that were read tonight"
