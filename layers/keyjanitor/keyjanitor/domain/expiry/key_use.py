"""Finds what the usage readings prove of one key's use. Pure."""

from collections.abc import Sequence
from datetime import date
from statistics import median

from keyjanitor.domain.expiry import reasons
from keyjanitor.domain.model.keys import DAY, ApiKey, State
from keyjanitor.domain.model.policy import BoundPolicy
from keyjanitor.domain.model.records import Row, is_our_update
from keyjanitor.domain.usage.evidence import Evidence, UsagePlanReading
from keyjanitor.domain.usage.plan_usage import USAGE_DAYS

OUTAGE = 0.1  # of the usual traffic
OUTAGE_DAYS = 28  # that say what is usual


def outage(evidence: Evidence) -> reasons.Outage | None:
    """Reason for all keys, if the day before yesterday had so little traffic that idleness proves nothing.

    So little is under a tenth both of the median of the 28 days before it and of the last of them
    that was the same weekday. An outage lasts until a day is not under a tenth of the median, so a
    weekend that is always silent does not end it, and none of its days lets anything be expected:
    the 28 are those before it, as far as usage reaches back. After 90 days it is the usual.
    """
    usual: list[tuple[date, int]] = []
    found: reasons.Outage | None = None
    for back in range(USAGE_DAYS, 1, -1):
        day = evidence.day - DAY * back
        used = evidence.used_by_day.get(day, 0)
        days = usual[-OUTAGE_DAYS:]
        expected = median([requests for _, requests in days]) if days else 0
        if used < OUTAGE * expected and (found or used < OUTAGE * _same_weekday(day, days)):
            found = reasons.Outage(day, used, int(expected))
        else:
            found = None
            usual.append((day, used))
    return found


def _same_weekday(day: date, days: Sequence[tuple[date, int]]) -> int:
    """Requests on the last of these days that was the same weekday; 0 if none was."""
    weekday = day.weekday()
    return next((used for one, used in reversed(days) if one.weekday() == weekday), 0)


def plan_doubt(
    plan_id: str, evidence: Evidence, bound: BoundPolicy
) -> reasons.OpensNoStage | reasons.Unwitnessed | None:
    """Why a plan's silence proves nothing, on whatever night it is read; None: it proves idleness."""
    plan = evidence.plans[plan_id]
    if not plan.stages:
        return reasons.OpensNoStage(plan_id)
    if evidence.is_silent(plan) and plan_id not in bound.silent_plans:
        return reasons.Unwitnessed(plan_id)
    return None


class KeyUse:
    """Since when a key is idle, and whether that is known; `keys` are all that are listed.

    What is the same for all keys of the night is worked out once. `all_kept` says why no key's
    silence proves anything tonight (None: it may).
    """

    def __init__(self, evidence: Evidence, bound: BoundPolicy, keys: Sequence[ApiKey]) -> None:
        self._evidence = evidence
        self._plans_of_key = {
            key_id: tuple(plans) for key_id, plans in evidence.plans_of_key().items()
        }
        self._unread = [
            plan_id for plan_id, plan in evidence.plans.items() if plan.unread is not None
        ]
        self._plan_doubts = {
            plan_id: plan_doubt(plan_id, evidence, bound) for plan_id in evidence.plans
        }
        self._logged_since = _logged_since(evidence, bound)
        self.all_kept = self._all_kept_because({key.key_id for key in keys})

    def _all_kept_because(self, listed: set[str]) -> reasons.MembersUnread | reasons.Outage | None:
        for plan in self._evidence.plans.values():
            if not plan.members_read and not _lost_its_keys(plan, listed):
                return reasons.MembersUnread(plan.usage_plan_id)
        return outage(self._evidence)

    def plans_of(self, key_id: str) -> tuple[str, ...]:
        """The usage plans that a key is in, by the reading."""
        return self._plans_of_key.get(key_id, ())

    def idle_since(self, key: ApiKey, row: Row | None) -> date:
        """The one clock: the latest of all that counts as a sign of life."""
        created = key.created_date.date()
        signs = [created, self.first_day(self.plans_of(key.key_id)), self.last_used(key, row)]
        changed = self._evidence.plans_changed.get(key.key_id)
        appeared = self._evidence.first_in_plan_on.get(key.key_id)
        known_on = row.adopted_on if row is not None else None
        # First seen in a plan: a change only of a key that the ledger knew before to be in none.
        if changed is None and appeared and known_on and known_on < appeared:
            changed = appeared
        # A key that was made since the evidence before is new in its plans; that is no change.
        if changed is not None and created < changed - DAY:
            signs.append(changed)
        enabled_again = row is not None and row.state is State.DISABLED and key.enabled
        if row is None or not is_our_update(key, row) or enabled_again:
            signs.append(key.last_updated_date.date())
        if row is not None:
            signs += [row.renewed_on, row.restored_on]
        return max(sign for sign in signs if sign is not None)

    def first_day(self, plans: tuple[str, ...]) -> date:
        """The first day of which it is known what happened in all of a key's plans."""
        first = self._evidence.first_day
        if not self._evidence.first_days and not self._logged_since:
            return first
        days = (
            max(
                self._evidence.first_days.get(plan_id, first),
                self._logged_since.get(plan_id, first),
            )
            for plan_id in plans
            if self._evidence.plans[plan_id].stages
        )
        return max(first, *days, first)

    def last_used(self, key: ApiKey, row: Row | None) -> date | None:
        """The day on which a key was last used, by the readings or by the ledger."""
        used = self._evidence.last_use(key.key_id)
        remembered = row.last_used if row is not None else None
        if used is None or remembered is None:
            return used or remembered
        return max(used, remembered)

    def unknown(self, key: ApiKey, plans: tuple[str, ...]) -> reasons.Unknown | None:
        """Reason why it is unknown that the key is not used, or who owns it; None: it is known."""
        doubts = [self._plan_doubts[plan_id] for plan_id in plans]
        if shut := next((one for one in doubts if isinstance(one, reasons.OpensNoStage)), None):
            return shut  # first, for a person has to do something about it
        if self.all_kept is not None:
            return self.all_kept
        if key.tags is None:
            return reasons.TagsUnread()
        if key.stage_keys:
            return reasons.StageKeys()
        for plan_id, doubt in zip(plans, doubts, strict=True):
            if self._evidence.plans[plan_id].unread is not None:
                return reasons.UsageUnread(plan_id)
            if doubt is not None:
                return doubt
        return self._unknown_use(key, plans)

    def _unknown_use(self, key: ApiKey, plans: tuple[str, ...]) -> reasons.Unknown | None:
        """Reason why tonight's reading leaves the key's own use unknown, or None."""
        if not plans and self._unread:
            return reasons.UseByDayUnread(min(self._unread), len(self._unread))
        if unclear := self._evidence.unclear.get(key.key_id):
            return reasons.DaysUnclear(unclear)
        if untold := self._evidence.untold.get(key.key_id):
            return reasons.UseUntold(untold)
        return None


def _logged_since(evidence: Evidence, bound: BoundPolicy) -> dict[str, date]:
    """The plans that would be silent but for access logs, with the day from which those are whole."""
    found: dict[str, date] = {}
    for plan_id, plan in evidence.plans.items():
        if plan_id in bound.silent_plans or evidence.is_witnessed(plan):
            continue
        if since := evidence.logged_since(plan):
            found[plan_id] = since
    return found


def _lost_its_keys(plan: UsagePlanReading, listed: set[str]) -> bool:
    """True if a plan that suddenly has no members lost them because those keys are gone."""
    return plan.emptied and not any(key_id in listed for key_id in plan.members)
