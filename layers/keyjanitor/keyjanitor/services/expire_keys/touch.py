"""The steps of a sweep that touch a key: each looks again, claims, touches and writes down."""

from dataclasses import replace

from aws_lambda_powertools import Logger

from keyjanitor.adapters.kms import tombstone_context
from keyjanitor.adapters.ledger import Change
from keyjanitor.domain.expiry.explained import laid_out
from keyjanitor.domain.expiry.ownership import disabled_by_us
from keyjanitor.domain.expiry.sweep_plan import Disable, Park, Purge
from keyjanitor.domain.expiry.transitions import disabled, enabled, parked
from keyjanitor.domain.model.keys import ApiKey, Secret, State, SweepAction, Tombstone
from keyjanitor.domain.model.owners import Stack
from keyjanitor.domain.model.records import Row
from keyjanitor.errors import AccessDenied, CallFailed, TombstoneUnreadable
from keyjanitor.services.expire_keys.claim import Claims
from keyjanitor.services.expire_keys.second_look import other_plans, why_not
from keyjanitor.services.expire_keys.sweep_state import SweepState
from keyjanitor.services.restore import half_built, is_half_built, restore

logger = Logger(child=True)


class Steps:
    """Takes one key's step. Each may be cut off anywhere, and the next run takes it up again.

    Raises ClaimLost, Held, and what the adapters raise: the caller leaves the key then.
    """

    def __init__(self, sweep: SweepState, claims: Claims) -> None:
        self._sweep = sweep
        self._claims = claims
        self._today, self._adapters, self._bound = sweep.today, sweep.adapters, sweep.bound

    def disable(self, step: Disable) -> None:
        row = self._sweep.rows[step.key.key_id]
        if self._is_owned(row):
            return
        claimed = self._claims.claim(
            replace(row, **laid_out(step.because)), SweepAction.DISABLE, row, step.key
        )
        if reason := self._why_not(step, self._adapters.gateway.key(row.key_id), row):
            self._claims.give_up(row, reason)
            return
        self._claims.touching = True
        updated = self._adapters.gateway.set_enabled(row.key_id, enabled=False)
        if updated is None:
            self._claims.give_up(row, "it is no more")
            return
        touched = replace(step.key, enabled=False, last_updated_date=updated)
        self._claims.finish(
            claimed, disabled(claimed, self._today, self._bound, touched), SweepAction.DISABLE
        )

    def park(self, step: Park) -> None:
        row = self._sweep.rows[step.key.key_id]
        if self._is_owned(row):
            return
        claimed = self._claims.claim(
            replace(
                row,
                **laid_out(step.because),
                last_used=step.last_used,
                usage_plan_ids=step.usage_plan_ids,
            ),
            SweepAction.PARK,
            row,
            step.key,
        )
        found = self._adapters.gateway.key_with_value(row.key_id)
        key, value = found or (None, None)
        reason = self._why_not(step, key, row) or self._other_plans(step)
        if key is None or value is None or reason:
            self._claims.give_up(row, reason or "it is no more")
            return
        self._write_tombstone(step, claimed, key, value)
        self._claims.touching = True
        self._adapters.gateway.delete(row.key_id)
        self._claims.finish(claimed, parked(claimed, self._today, self._bound), SweepAction.PARK)

    def _write_tombstone(self, step: Park, row: Row, key: ApiKey, value: Secret) -> None:
        """Writes the tombstone and opens it; raises what KMS and S3 raise, and TombstoneUnreadable."""
        try:
            tombstone = Tombstone(
                key_id=row.key_id,
                sealed_value="",
                name=key.name,
                description=key.description,
                customer_id=key.customer_id,
                tags=dict(key.tags or {}),
                usage_plan_ids=step.usage_plan_ids,  # which the key is in right now, too
                tier=row.tier,
                owner=row.owner,
                enabled=True,  # as it was before we disabled it; what others disabled is not parked
                created_date=key.created_date,
                parked_on=self._today,
                last_used=step.last_used,
            )
            sealed = self._adapters.sealer.seal(value, tombstone_context(tombstone))
            tombstone = replace(tombstone, sealed_value=sealed)
            self._adapters.history.put_tombstone(tombstone, value, self._adapters.sealer)
        except (AccessDenied, CallFailed, TombstoneUnreadable):
            self._sweep.outcome.unopened += 1
            raise

    def purge(self, step: Purge) -> None:
        if self._is_nearly_restored(step.row):
            self._sweep.outcome.left_alone[step.row.key_id] = "it lives again; its restore goes on"
            return
        row = self._claims.claim(step.row, SweepAction.PURGE, step.row)
        self._claims.touching = True
        if step.row.claim is not None and step.row.claim.verb is SweepAction.RESTORE:
            self._clear_away(step.row)
        self._adapters.history.destroy_tombstone(row.key_id)
        gone = replace(row, state=State.PURGED, purged_on=self._today, failed_on=None, claim=None)
        self._claims.finish(row, gone, SweepAction.PURGE)

    def _is_nearly_restored(self, row: Row) -> bool:
        """True if a restore that was cut off has already enabled the key."""
        if row.new_key_id is None or row.claim is None or row.claim.verb is not SweepAction.RESTORE:
            return False
        key = self._adapters.gateway.key(row.new_key_id)
        return key is not None and not is_half_built(key)

    def _clear_away(self, row: Row) -> None:
        """Deletes what a restore that never ended has built: it is disabled, under its marker name."""
        if built := half_built(row, self._adapters):
            self._adapters.gateway.delete(built)

    def enable(self, row: Row, *, unless_held: bool = False) -> None:
        claimed = self._claims.claim(row, SweepAction.ENABLE, row, unless_held=unless_held)
        key = self._adapters.gateway.key(row.key_id)
        if key is None:
            self._claims.give_up(row, "it is no more")
            return
        if not key.enabled and not disabled_by_us(key, row):
            self._claims.give_up(row, "it was changed since we disabled it; it stays disabled")
            self._sweep.outcome.failed.append(row.key_id)
            return
        if not key.enabled:
            self._claims.touching = True
            updated = self._adapters.gateway.set_enabled(row.key_id, enabled=True)
            key = replace(key, enabled=True, last_updated_date=updated or key.last_updated_date)
        self._claims.finish(claimed, enabled(claimed, self._today, key), SweepAction.ENABLE)

    def restore(self, row: Row) -> None:
        live = restore(row, self._today, self._adapters, self._bound.policy)
        self._sweep.outcome.add(SweepAction.RESTORE, row.key_id, live.key_id)

    def _is_owned(self, row: Row) -> bool:
        """Asks CloudFormation about the key right before it is touched; an owner is written down."""
        stack = self._adapters.owners.stack_of(row.key_id)
        if stack is None:
            return False
        logger.warning("key %s is left alone: stack %s owns it", row.key_id, stack)
        self._adapters.ledger.commit([Change(row, replace(row, owned_by=Stack(stack)))])
        self._sweep.outcome.left_alone[row.key_id] = f"stack {stack} owns it"
        return True

    def _why_not(self, step: Disable | Park, key: ApiKey | None, row: Row) -> str | None:
        return why_not(step, key, row, self._today, self._bound)

    def _other_plans(self, step: Park) -> str | None:
        return other_plans(step, self._adapters.gateway.plans_of(step.key.key_id))
