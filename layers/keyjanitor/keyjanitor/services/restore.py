"""Brings a parked key back: with its value, plans, name, owner and `enabled`, under a new id."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date

from aws_lambda_powertools import Logger

from keyjanitor.adapters.ledger import Change
from keyjanitor.domain.expiry.events import announce
from keyjanitor.domain.expiry.explained import laid_out
from keyjanitor.domain.expiry.ownership import RESTORE_MARKER
from keyjanitor.domain.expiry.row_reasons import Restored, RestoredWithout
from keyjanitor.domain.expiry.transitions import enabled
from keyjanitor.domain.model.keys import ApiKey, Secret, State, SweepAction, Tombstone
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.records import Announcement, Claim, Row
from keyjanitor.errors import (
    AccountFull,
    CallFailed,
    ClaimLost,
    NotRestorable,
    TombstoneUnreadable,
    UnexpectedAnswer,
    ValueConflict,
)
from keyjanitor.services.claims import forget_tombstone
from keyjanitor.services.ports import RestorePorts

# API Gateway answers so if a key cannot be in a plan. A restore continues without that plan: an
# operator can fix the plan later and attach the key.
REFUSED = frozenset({"ConflictException", "BadRequestException", "LimitExceededException"})

Told = Callable[[Row], Announcement]  # makes the event that says that a key was restored

logger = Logger(child=True)


def restore(
    row: Row, today: date, adapters: RestorePorts, policy: Policy, told: Told | None = None
) -> Row:
    """Restores one parked key; gives the row under its new id. May be run again after any failure.

    The key is created disabled and under a marker name, attached, renamed and then enabled, so
    that a half-built key opens nothing and is not taken for a key in use. Raises
    NotRestorable or AccountFull (the row stays parked), ClaimLost, and what the adapters raise.
    """
    claimed, tombstone, new_id = _build(row, today, adapters)
    lost = _attach(tombstone.usage_plan_ids, new_id, adapters)
    name = _rename(new_id, tombstone, adapters)
    if tombstone.enabled:
        adapters.gateway.set_enabled(new_id, enabled=True)
    key = adapters.gateway.key(new_id)
    if key is None or key.enabled is not tombstone.enabled or key.name != name:
        raise UnexpectedAnswer("GetApiKey", f"{new_id} does not read back as it was restored")
    reason = _reason(tombstone, lost, name)
    claimed = replace(claimed, **laid_out(reason))
    if isinstance(reason, RestoredWithout):
        logger.error("key %s is %s", new_id, reason)
    return _finish(claimed, tombstone, key, today, adapters, told or _told_by_sweep(today, policy))


def _attach(usage_plan_ids: Sequence[str], new_id: str, adapters: RestorePorts) -> dict[str, str]:
    """Puts the key into its plans; gives those that do not take it, each with why.

    What may pass, also a role that may not, is raised: the next try goes on.
    """
    lost: dict[str, str] = {}
    for plan_id in usage_plan_ids:
        try:
            if not adapters.gateway.attach(plan_id, new_id):
                lost[plan_id] = "it is no more"
        except CallFailed as err:
            if err.code not in REFUSED:
                raise
            lost[plan_id] = f"it refuses the key, {err.code}"
    return lost


def _rename(new_id: str, tombstone: Tombstone, adapters: RestorePorts) -> str:
    """Gives the key the name that it had. Whether AWS takes an empty one is not known."""
    try:
        adapters.gateway.rename(new_id, tombstone.name)
    except CallFailed as err:
        if tombstone.name or err.code != "BadRequestException":
            raise
        name = f"restored {tombstone.key_id}"
        adapters.gateway.rename(new_id, name)
        return name
    return tombstone.name


def _reason(tombstone: Tombstone, lost: Mapping[str, str], name: str) -> Restored | RestoredWithout:
    """The reason for the row: restored, or restored without some plans or the name.

    `lost` has the plans that did not take the key, each with why.
    """
    in_no_plan = len(lost) == len(tombstone.usage_plan_ids)
    renamed = name if name != tombstone.name else None
    if not lost and not in_no_plan and renamed is None:
        return Restored()
    return RestoredWithout(lost, in_no_plan, renamed)


def _build(row: Row, today: date, adapters: RestorePorts) -> tuple[Row, Tombstone, str]:
    """Claims the row, and gives it with its tombstone and the id of the key under its marker name."""
    begun = row.claim if row.claim and row.claim.verb is SweepAction.RESTORE else None
    claim = Change(row, replace(row, claim=begun or Claim(SweepAction.RESTORE, today)))
    claimed = adapters.ledger.commit_one(claim)
    try:
        tombstone, value = adapters.history.open_tombstone(row.key_id, adapters.sealer)
        new_id = _built(claimed, adapters) or _create(tombstone, value, adapters)
    except (NotRestorable, TombstoneUnreadable) as err:
        # Keep the claim if the failure may pass: the next run then looks for a half-built key first.
        # If it is final, ClaimLost means that another run has restored the key.
        if not err.transient:
            adapters.ledger.commit_one(Change(claimed, replace(claimed, claim=None)))
        raise NotRestorable(row.key_id, str(err), transient=err.transient) from err
    except CallFailed as err:
        if err.code != "LimitExceededException":
            raise
        adapters.ledger.commit_one(Change(claimed, replace(claimed, claim=None)))
        raise AccountFull from None
    if claimed.new_key_id != new_id:
        built = Change(claimed, replace(claimed, new_key_id=new_id))
        try:
            claimed = adapters.ledger.commit_one(built)
        except ClaimLost:
            if _is_ended(adapters.ledger.row_of_any(row.key_id)):
                adapters.gateway.delete(new_id)
            raise
    return claimed, tombstone, new_id


def _told_by_sweep(today: date, policy: Policy) -> Told:
    return lambda row: announce(row, policy, today)


def half_built(row: Row, adapters: RestorePorts) -> str | None:
    """The id of the key that a restore of a parked key has built and not brought to an end.

    It is known by its marker name, for the tombstone may be gone.
    """
    if built := _built(row, adapters):
        return built
    marker = RESTORE_MARKER + row.key_id
    # An enabled key is in use, whatever its name: a restore renames its key before it enables it.
    return next(
        (
            key.key_id
            for key in adapters.gateway.keys_named(marker)
            if key.name == marker and not key.enabled
        ),
        None,
    )


def is_half_built(key: ApiKey) -> bool:
    """True for a key that a restore has built and not yet renamed and enabled."""
    return key.name.startswith(RESTORE_MARKER) and not key.enabled


def _is_ended(row: Row | None) -> bool:
    """True if the key is revoked or purged, or about to be."""
    if row is None:
        return False
    purging = row.claim is not None and row.claim.verb is SweepAction.PURGE
    return row.state in (State.REVOKED, State.PURGED) or purging


def _built(claimed: Row, adapters: RestorePorts) -> str | None:
    """The id under which a try before this one has built the key, if it is still there."""
    if claimed.new_key_id is None or adapters.gateway.key(claimed.new_key_id) is None:
        return None
    return claimed.new_key_id


def _create(tombstone: Tombstone, value: Secret, adapters: RestorePorts) -> str:
    """The id of the key under its marker name, made now or by a try before this one."""
    marker = RESTORE_MARKER + tombstone.key_id
    try:
        return adapters.gateway.create_disabled(
            value,
            name=marker,
            description=tombstone.description,
            customer_id=tombstone.customer_id,
            # Only AWS can set tags with its own prefix.
            tags={k: v for k, v in tombstone.tags.items() if not k.startswith("aws:")},
        )
    except ValueConflict:
        new_id = adapters.gateway.key_named(marker, value)
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
    adapters: RestorePorts,
    told: Told,
) -> Row:
    """Writes down that the key lives under its new id, and then destroys the tombstone."""
    live = replace(
        enabled(claimed, today, key),
        key_id=key.key_id,
        version=0,
        reason=claimed.reason,
        reason_code=claimed.reason_code,
        facts=claimed.facts,
        adopted_on=today,
        stepped_on=None,
        parked_on=None,
        purge_on=None,
        new_key_id=None,
        last_used=tombstone.last_used or claimed.last_used,
        first_created_on=claimed.first_created_on or tombstone.created_date.date(),
        previous_key_ids=(*claimed.previous_key_ids, claimed.key_id),
    )
    restored = replace(claimed, state=State.RESTORED, restored_on=today)
    done = adapters.ledger.commit_together(
        # The claim stays until the tombstone is gone: a run that dies before is finished by the next.
        Change(claimed, restored),
        Change(adapters.ledger.row(key.key_id), live, (told(live),)),
    )
    if not done:
        raise ClaimLost(claimed.key_id)
    forget_tombstone(replace(restored, version=claimed.version + 1), adapters)
    return live
