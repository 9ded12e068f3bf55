"""Settles claims that a run which died has left in rows."""

from dataclasses import replace
from datetime import date

from keyjanitor.adapters.ledger import Change
from keyjanitor.domain.expiry.events import announce
from keyjanitor.domain.expiry.transitions import disabled, enabled, parked
from keyjanitor.domain.model.keys import ApiKey, SweepAction
from keyjanitor.domain.model.policy import BoundPolicy
from keyjanitor.domain.model.records import Row
from keyjanitor.services.ports import RestorePorts


def forget_tombstone(row: Row, adapters: RestorePorts) -> None:
    """Destroys the tombstone of a restored key: its value does not have to be sealed any more."""
    adapters.history.destroy_tombstone(row.key_id)
    adapters.ledger.commit([Change(row, replace(row, claim=None))])


def settled(
    today: date, row: Row, key: ApiKey | None, adapters: RestorePorts, bound: BoundPolicy
) -> Change:
    """The change that settles the claim which a run that died has left in a row.

    `key` is as GetApiKey has just told it (None: it told that there is none), never as listed. A
    key that was disabled at another time than that run was at work stays what others made of it.
    """
    after = replace(row, claim=None)
    if row.claim is None:
        return Change(row, after)
    match row.claim.verb:
        case SweepAction.DISABLE if key is not None and row.claim.may_have_disabled(key):
            after = replace(disabled(after, today, bound, key), disabled_on=row.claim.on)
        case SweepAction.PARK if key is None and adapters.history.has_tombstone(row.key_id):
            after = replace(parked(after, today, bound), parked_on=row.claim.on)
        case SweepAction.ENABLE if key is not None and key.enabled:
            after = enabled(after, today, key)
        case _:
            return Change(row, after)
    return Change(row, after, (announce(after, bound.policy, today),))
