"""Finds the owner of a key, and what protects it from a sweep. Pure."""

from datetime import date

from keyjanitor.domain.expiry import reasons
from keyjanitor.domain.model.key_ids import may_be_value
from keyjanitor.domain.model.keys import ApiKey, State
from keyjanitor.domain.model.owners import Owner, Stack
from keyjanitor.domain.model.policy import BoundPolicy, alike
from keyjanitor.domain.model.records import Row, is_our_update

KEEP_TAG = "keyjanitor:keep"
STACK_TAG = "aws:cloudformation:stack-name"  # believed: AF-402
RESTORE_MARKER = "keyjanitor-restore-"  # begins a key's name for as long as it is being restored


def owner_by_marks(key: ApiKey, bound: BoundPolicy) -> Owner | None:
    """The owner of a key by the marks that other tools leave on theirs; None if it has none."""
    tags = key.tags or {}
    if stack := tags.get(STACK_TAG):
        return Stack(stack)
    return bound.policy.owned.mark_on(key.description, tags, key.name)


def is_tagged_to_keep(key: ApiKey) -> bool:
    """True if the key has the tag `keyjanitor:keep`; case, `-` and `_` make no difference."""
    return any(alike(tag) == KEEP_TAG for tag in key.tags or ())


def protection(
    key: ApiKey, row: Row | None, today: date, bound: BoundPolicy
) -> reasons.Protected | None:
    """Reason that protects the key whatever its tier says, or None; checked again right before each step."""
    if key.name.startswith(RESTORE_MARKER):
        return reasons.BeingRestored()
    if may_be_value(key.key_id):
        return reasons.IdMayBeValue()
    if is_tagged_to_keep(key):
        return reasons.KeepTag()
    if owner := owner_by_marks(key, bound):
        return reasons.OwnedBy(owner)
    if row is not None:
        if row.owned_by is not None:
            return reasons.OwnedBy(row.owned_by)
        if row.protected_until is not None and row.protected_until >= today:
            return reasons.ProtectedUntil(row.protected_until)
    if not key.enabled and (row is None or not disabled_by_us(key, row)):
        return reasons.DisabledByOthers()
    return None


def disabled_by_us(key: ApiKey, row: Row) -> bool:
    """True if keyjanitor disabled the key, and others have not changed it since.

    Who changed it may have enabled it and disabled it again, which does not show.
    """
    unchanged = row.our_update is None or is_our_update(key, row)
    return row.state is State.DISABLED and unchanged
