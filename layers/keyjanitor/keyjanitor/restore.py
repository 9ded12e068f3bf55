"""Brings a parked key back: with its value, plans, name, owner and `enabled`, under a new id."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date

from aws_lambda_powertools import Logger

from keyjanitor.announcements import announce
from keyjanitor.decide import RESTORE_MARKER
from keyjanitor.errors import (
    CallFailed,
    ClaimLost,
    KeysFull,
    NotRestorable,
    TombstoneClosed,
    UnexpectedAnswer,
    ValueTaken,
)
from keyjanitor.ledger import Change
from keyjanitor.night import Keeper, forget_tombstone
from keyjanitor.policy import Policy
from keyjanitor.transitions import enabled
from keyjanitor.words import Announcement, ApiKey, Claim, Row, Secret, State, Tombstone, Verb

WITHOUT_PLANS = "restored without its usage plans"

Told = Callable[[Row], Announcement]  # the event that tells of a key which lives again

logger = Logger(child=True)


def restore(
    row: Row, today: date, outside: Keeper, policy: Policy, told: Told | None = None
) -> Row:
    """Restores one parked key; gives the row under its new id. May be run again after any failure.

    The key is created disabled and under a marker name, attached, renamed and then enabled, so
    that what is half done opens nothing and can be told from somebody's living key. Raises
    NotRestorable or KeysFull (the row stays parked), ClaimLost, and what the adapters raise.
    """
    claimed, tombstone, new_id = _build(row, today, outside)
    attached = [plan for plan in tombstone.usage_plan_ids if outside.gateway.attach(plan, new_id)]
    if missing := set(tombstone.usage_plan_ids) - set(attached):
        logger.error("key %s comes back without its plans %s: they are no more", new_id, missing)
        lost = ", ".join(sorted(missing))
        claimed = replace(claimed, because=f"{WITHOUT_PLANS} {lost}: they are no more")
    else:
        claimed = replace(claimed, because="restored")
    outside.gateway.rename(new_id, tombstone.name)
    if tombstone.enabled:
        outside.gateway.set_enabled(new_id, enabled=True)
    key = outside.gateway.key(new_id)
    if key is None or key.enabled is not tombstone.enabled or key.name != tombstone.name:
        raise UnexpectedAnswer("GetApiKey", f"{new_id} does not read back as it was restored")
    return _finish(claimed, tombstone, key, today, outside, told or _told_by_sweep(today, policy))


def _build(row: Row, today: date, outside: Keeper) -> tuple[Row, Tombstone, str]:
    """Claims the row, and gives it with its tombstone and the id of the key under its marker name."""
    claim = Change(row, replace(row, claim=Claim(Verb.RESTORE, today)))
    claimed = outside.ledger.commit_one(claim)
    try:
        tombstone, value = outside.history.dig_up(row.key_id, outside.sealer)
        new_id = _built(claimed, outside) or _create(tombstone, value, outside)
    except (NotRestorable, TombstoneClosed) as err:
        # For now the claim stays: it tells whoever comes next that there may be a key already. Else
        # ClaimLost says that another run, which has restored it, is why nothing is there.
        if not err.for_now:
            outside.ledger.commit_one(Change(claimed, replace(claimed, claim=None)))
        raise NotRestorable(row.key_id, str(err), for_now=err.for_now) from err
    except CallFailed as err:
        if err.code != "LimitExceededException":
            raise
        outside.ledger.commit_one(Change(claimed, replace(claimed, claim=None)))
        raise KeysFull from None
    if claimed.new_key_id != new_id:
        built = Change(claimed, replace(claimed, new_key_id=new_id))
        try:
            claimed = outside.ledger.commit_one(built)
        except ClaimLost:
            if _is_ended(outside.ledger.row_of_any(row.key_id)):
                outside.gateway.delete(new_id)
            raise
    return claimed, tombstone, new_id


def _told_by_sweep(today: date, policy: Policy) -> Told:
    return lambda row: announce(row, policy, today)


def half_built(row: Row, outside: Keeper) -> str | None:
    """The id of the key that a restore of a parked key has built and not brought to an end.

    It is known by its marker name, for the tombstone may be gone.
    """
    if built := _built(row, outside):
        return built
    marker = RESTORE_MARKER + row.key_id
    # One that is enabled is somebody's living key, whatever its name: ours is renamed before.
    return next(
        (
            key.key_id
            for key in outside.gateway.keys_named(marker)
            if key.name == marker and not key.enabled
        ),
        None,
    )


def _is_ended(row: Row | None) -> bool:
    """Whether somebody revokes the key or purges it, or has done so."""
    if row is None:
        return False
    purging = row.claim is not None and row.claim.verb is Verb.PURGE
    return row.state in (State.REVOKED, State.PURGED) or purging


def _built(claimed: Row, outside: Keeper) -> str | None:
    """The id under which a try before this one has built the key, if it is still there."""
    if claimed.new_key_id is None or outside.gateway.key(claimed.new_key_id) is None:
        return None
    return claimed.new_key_id


def _create(tombstone: Tombstone, value: Secret, outside: Keeper) -> str:
    """The id of the key under its marker name, made now or by a try before this one."""
    marker = RESTORE_MARKER + tombstone.key_id
    try:
        return outside.gateway.create_disabled(
            value,
            name=marker,
            description=tombstone.description,
            customer_id=tombstone.customer_id,
            # Tags that AWS itself has set cannot be set by anybody else.
            tags={k: v for k, v in tombstone.tags.items() if not k.startswith("aws:")},
        )
    except ValueTaken:
        new_id = outside.gateway.key_named(marker, value)
        if new_id is None:
            raise NotRestorable(
                tombstone.key_id, "a living key has its value; that key was left alone"
            ) from None
        return new_id


def _finish(
    claimed: Row,
    tombstone: Tombstone,
    key: ApiKey,
    today: date,
    outside: Keeper,
    told: Told,
) -> Row:
    """Writes down that the key lives under its new id, and then destroys the tombstone."""
    live = replace(
        enabled(claimed, today, key),
        key_id=key.key_id,
        version=0,
        because=claimed.because,
        adopted_on=today,
        stepped_on=None,
        parked_on=None,
        purge_on=None,
        new_key_id=None,
        last_used=tombstone.last_used or claimed.last_used,
        first_created_on=claimed.first_created_on or tombstone.created_date.date(),
        previous_key_ids=(*claimed.previous_key_ids, claimed.key_id),
    )
    done = outside.ledger.commit_together(
        # The claim stays until the tombstone is gone: a run that dies before is finished by the next.
        Change(claimed, replace(claimed, state=State.RESTORED)),
        Change(outside.ledger.row(key.key_id), live, (told(live),)),
    )
    if not done:
        raise ClaimLost(claimed.key_id)
    forget_tombstone(replace(claimed, state=State.RESTORED, version=claimed.version + 1), outside)
    return live
