"""Makes the ledger's row after something happened to its key. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import assert_never

from keyjanitor.domain.expiry.explained import in_words, laid_out
from keyjanitor.domain.expiry.reasons import Ends
from keyjanitor.domain.expiry.row_reasons import EnabledAgain
from keyjanitor.domain.expiry.sweep_plan import (
    Adopt,
    Belongs,
    Clear,
    Correct,
    Forget,
    Missing,
    Note,
    Warn,
)
from keyjanitor.domain.model.keys import DAY, ApiKey, State
from keyjanitor.domain.model.policy import MOST_DAYS, BoundPolicy
from keyjanitor.domain.model.records import FINAL, OwnerFrom, RequestRow, Row, stands_disabled

REGRETTED_WITHIN = DAY * 30


def adopted(note: Adopt, today: date) -> Row:
    """The row of a key that the ledger did not know."""
    if note.issued is not None:
        plans = note.usage_plan_ids or note.issued.usage_plan_ids
        return replace(note.issued, adopted_on=today, usage_plan_ids=plans)
    return Row(
        key_id=note.key.key_id,
        state=State.ACTIVE,
        tier=note.tier,
        owner=note.owner,
        owner_from=None if note.owner is None else OwnerFrom.FOUND,
        name=note.key.name,
        adopted_on=today,
        usage_plan_ids=note.usage_plan_ids,
    )


def issued(key: ApiKey, request: RequestRow) -> Row | None:
    """The row of a key that was made for a request which is not answered yet.

    None if the request does not confirm it: it was granted no key of this name, or is over.
    """
    grant = request.grant
    if request.status in FINAL or grant is None or grant.key_name != key.name:
        return None
    return Row(
        key_id=key.key_id,
        state=State.ACTIVE,
        tier=grant.tier,
        owner=grant.owner,
        name=grant.name,
        issued=True,
        expires_on=grant.expires_on,
        usage_plan_ids=grant.usage_plan_ids,
        sender=grant.sender,
        deliver_to=grant.deliver_to,
        request_ids=(request.request_id,),
    )


def learnt(note: Note, rows: Mapping[str, Row], today: date) -> Row:
    """The row after any note; `rows` as they are by now, for a key may have several notes."""
    if isinstance(note, Adopt):
        return adopted(note, today)
    return noted(note, rows.get(note.row.key_id, note.row), today)


def noted(note: Clear | Correct | Belongs | Missing | Forget, row: Row, today: date) -> Row:
    """The row after what only the ledger learns."""
    match note:
        case Clear():
            # Who enabled the key may have done so in the second of our disabling: that is their change.
            enabled_again = row.state is State.DISABLED and note.state is State.ACTIVE
            return replace(
                row,
                state=note.state,
                our_update=None if enabled_again else row.our_update,
                warned_on=None,
                told_on=None,
                disable_on=None,
                park_on=None,
                disabled_on=row.disabled_on if note.state is State.DISABLED else None,
                failed_on=None,
                **in_words(""),
            )
        case Correct():
            # What a key was issued in is written down for good, whatever policy.toml says tonight.
            return replace(row, tier=row.tier if row.issued else note.tier, missing_since=None)
        case Belongs():
            return replace(row, owner=note.owner, owner_from=OwnerFrom.FOUND)
        case Missing():
            return replace(row, missing_since=today)
        case Forget():
            return replace(row, state=State.GONE)
        case _:
            assert_never(note)


def warned(step: Warn, row: Row, today: date) -> Row:
    """The row of a key whose next step has just been announced."""
    stays_disabled = stands_disabled(step.key, row)
    return replace(
        row,
        state=State.DISABLED if stays_disabled else State.WARNED,
        name=row.name if _has_a_name_of_its_own(row) else step.key.name,
        warned_on=today,
        told_on=None,
        disable_on=None if stays_disabled else step.next_step_on,
        park_on=step.next_step_on if stays_disabled else None,
        stepped_on=today,
        **laid_out(step.because),
        usage_plan_ids=step.usage_plan_ids,
    )


def _has_a_name_of_its_own(row: Row) -> bool:
    """True if a request said what the key is called, which need not be its name in API Gateway."""
    return row.issued or (row.owner_from is OwnerFrom.ASSIGNED and bool(row.name))


def replaced(row: Row, new_key_id: str, expires_on: date, today: date, warn_days: int) -> Row:
    """The row of a key that a rotation has replaced: its end is agreed, and announced if it is near.

    Dates that were announced for idleness give way to the end, whichever is earlier. A key that we
    have disabled stays so, with its dates.
    """
    row = replace(row, expires_on=expires_on, rotated_to=new_key_id)
    if row.state is State.DISABLED:
        return row
    if expires_on > today + DAY * warn_days:
        return replace(row, state=State.ACTIVE, warned_on=None, disable_on=None, **in_words(""))
    return replace(
        row,
        state=State.WARNED,
        warned_on=today,
        disable_on=expires_on,
        **laid_out(Ends(expires_on)),
    )


def disabled(row: Row, today: date, bound: BoundPolicy, key: ApiKey) -> Row:
    """The row of a key that has just been disabled; `key` as it is since."""
    # Without its tier the date is unknown: its owner is notified again once the tier is known.
    tier = bound.policy.tiers.get(row.tier)
    return replace(
        row,
        state=State.DISABLED,
        disabled_on=today,
        told_on=None,
        disable_on=None,
        park_on=today + DAY * tier.grace_days if tier else None,
        stepped_on=today,
        our_update=key.last_updated_date,
        failed_on=None,
        claim=None,
    )


def parked(row: Row, today: date, bound: BoundPolicy) -> Row:
    """The row of a key that has just been parked."""
    tier = bound.policy.tiers.get(row.tier)
    return replace(
        row,
        state=State.PARKED,
        told_on=None,
        park_on=None,
        parked_on=today,
        purge_on=today + DAY * (tier.retain_days if tier else MOST_DAYS),
        stepped_on=today,
        failed_on=None,
        claim=None,
    )


def enabled(row: Row, today: date, key: ApiKey) -> Row:
    """The row of a key that has just been enabled again: for the clock it is a restore.

    An agreed end is gone with it: who undoes it wants the key to live.
    """
    return replace(
        regretted(row, today),
        state=State.ACTIVE,
        warned_on=None,
        told_on=None,
        disable_on=None,
        # What was disabled on this date stays counted in its allowance.
        disabled_on=row.disabled_on if row.disabled_on == today else None,
        park_on=None,
        expires_on=None,
        rotated_to=None,
        **laid_out(EnabledAgain()),
        restored_on=today,
        our_update=key.last_updated_date,
        failed_on=None,
        claim=None,
    )


def notice_began(row: Row) -> date | None:
    """The date from which the notice of a key's next step counts; None if it has no next step."""
    if row.state is State.PARKED:
        return max((day for day in (row.parked_on, row.told_on) if day), default=None)
    if row.state not in (State.WARNED, State.DISABLED):
        return None
    disabled_on = row.disabled_on if row.state is State.DISABLED else None
    days = (disabled_on, row.warned_on, row.told_on)
    return max((day for day in days if day), default=None)


def next_step_on(row: Row) -> date | None:
    """The written date of a key's next step: of a disabled one its parking, of a parked one its purge."""
    if row.state is State.PARKED:
        return row.purge_on
    return row.park_on if row.state is State.DISABLED else row.disable_on


def told_late(row: Row, today: date) -> Row:
    """The row of a key whose next step was told only today: as much notice as was said, from today.

    The notice that was given is in the row's own dates, whatever the policy says by now. An agreed end
    was told by the answer that agreed on it, so its date stays. Told twice on a date, it moves once.
    """
    began, on = notice_began(row), next_step_on(row)
    agreed = row.state is State.WARNED and row.expires_on is not None
    if began is None or on is None or agreed or began >= today:
        return row
    later = max(on, today + (on - began))
    if row.state is State.PARKED:
        return replace(row, told_on=today, purge_on=later)
    if row.state is State.DISABLED:
        return replace(row, told_on=today, park_on=later)
    return replace(row, told_on=today, disable_on=later)


def regretted(row: Row, today: date) -> Row:
    """The row of a key that comes back: if within a month, it was taken too soon."""
    taken = row.parked_on or row.disabled_on
    if taken is None or today - taken > REGRETTED_WITHIN:
        return row
    return replace(row, regretted_on=today, was_parked_on=row.parked_on)
