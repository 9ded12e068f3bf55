"""Decides what happens to every key tonight: one verdict each, with its reason. Pure.

No clock, no network, no environment: `SweepInput` holds all that is known, `today` included.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from types import MappingProxyType

from keyjanitor.domain.expiry import reasons
from keyjanitor.domain.expiry.key_use import KeyUse
from keyjanitor.domain.expiry.next_step import next_step
from keyjanitor.domain.expiry.ownership import RESTORE_MARKER, protection
from keyjanitor.domain.expiry.reasons import Due, Reason
from keyjanitor.domain.expiry.sweep_input import SweepInput
from keyjanitor.domain.expiry.sweep_plan import (
    Adopt,
    Belongs,
    Clear,
    Correct,
    Disable,
    Enable,
    Forget,
    Missing,
    Park,
    Purge,
    SweepPlan,
    Verdict,
    VerdictWord,
    Warn,
    keys_of_date,
    within_allowance,
)
from keyjanitor.domain.model.keys import DAY, ApiKey, State, SweepAction
from keyjanitor.domain.model.owner_rules import OwnerRules, is_open
from keyjanitor.domain.model.policy import BoundPolicy, Pressure, Tier
from keyjanitor.domain.model.records import Row, stands_disabled

FORGET_MISSING = timedelta(days=30)
RESTORE_TRIED = timedelta(days=30)  # that a restore which fails every night keeps a tombstone

TierUnknown = reasons.TierMissing | reasons.TierUnclear


def decide(
    night: SweepInput,
    bound: BoundPolicy,
    pressure: Pressure | None = None,
    held: Mapping[str, Verdict] = MappingProxyType({}),
) -> SweepPlan:
    """The plan of the night: a verdict for every key, and what is to be done, within the allowance.

    Keys are judged one by one; the order of the input makes no difference. `pressure` is another
    than that of the account, to see what would be. `held` are verdicts of an earlier night that hold
    tonight too, by key id: their keys are not judged again.
    """
    judge = _Judge(night, bound, pressure)
    judged = [key for key in night.keys if key.key_id not in held]
    verdicts = [held.get(key.key_id) or judge.verdict(key) for key in night.keys]
    notes = [note for key in judged if (note := judge.note(key))]
    return within_allowance(
        today=night.today,
        verdicts=verdicts,
        notes=[*notes, *judge.owners(), *judge.clears, *judge.missing()],
        purges=judge.purges(),
        enables=judge.enables,
        # The keys that were parked on this date count: its allowance is one, whatever its runs did.
        allowance=bound.policy.sweep.allowance(keys_of_date(verdicts, night.stepped, night.today)),
        stepped=night.stepped,
        pressure=judge.pressure,
    )


def tier_of(
    row: Row | None, usage_plan_ids: Sequence[str], bound: BoundPolicy
) -> tuple[Tier, TierUnknown | None]:
    """A key's tier, and why it is not known if it is not: then no tier's rules are the key's.

    A key that was issued keeps the tier of its row, whatever its plans. Another has the tier that
    names its plans; while that is unclear, the one by which it was known.
    """
    if row is not None and row.issued:
        missing = row.tier not in bound.policy.tiers
        return bound.policy.tier_called(row.tier), reasons.TierMissing(
            row.tier
        ) if missing else None
    if found := bound.unclear(usage_plan_ids):
        plan_id, problem = found
        tier = bound.policy.tier_called(row.tier) if row else bound.tier_by_plans(usage_plan_ids)
        return tier, reasons.TierUnclear(plan_id, problem.path)
    return bound.tier_by_plans(usage_plan_ids), None


class _Judge:
    """Judges the keys of one night; what is the same for all of them is worked out once."""

    def __init__(self, night: SweepInput, bound: BoundPolicy, pressure: Pressure | None) -> None:
        self._night = night
        self._today = night.today
        self._bound = bound
        self._evidence = night.evidence
        self._use = KeyUse(night.evidence, bound, night.keys)
        self._listed = {key.key_id for key in night.keys}
        self._tier_of: dict[
            tuple[tuple[str, ...], str | None], tuple[Tier, TierUnknown | None]
        ] = {}
        self._owner_rules = OwnerRules(bound.policy.owners)
        self.pressure = pressure or bound.policy.pressure_at(len(night.keys), night.pressure_above)
        self.clears: list[Clear] = []
        self.enables: list[Enable] = []

    def _tier(self, key: ApiKey) -> tuple[Tier, TierUnknown | None]:
        row = self._night.rows.get(key.key_id) or self._night.begun.get(key.key_id)
        plans = self._use.plans_of(key.key_id) or self._plans_put_into(key, row)
        if row is not None and row.issued:
            return tier_of(row, plans, self._bound)
        known = (plans, row.tier if row is not None else None)
        if known not in self._tier_of:
            self._tier_of[known] = tier_of(row, plans, self._bound)
        return self._tier_of[known]

    def _plans_put_into(self, key: ApiKey, row: Row | None) -> tuple[str, ...]:
        """The usage plans that a key was put into which was made since the reading; else none."""
        if row is None or key.created_date.date() < self._evidence.day:
            return ()
        return tuple(one for one in row.usage_plan_ids if one in self._evidence.plans)

    def note(self, key: ApiKey) -> Adopt | Correct | None:
        """Note for the ledger about a key without a row, or with a row that is out of date; else None."""
        row = self._night.rows.get(key.key_id)
        tier, _ = self._tier(key)
        if row is None:
            if key.name.startswith(RESTORE_MARKER):
                return None  # the restore writes its row itself
            begun = self._night.begun.get(key.key_id)
            plans = self._use.plans_of(key.key_id)
            found = self._owner_rules.find(key) if self._owner_rules and begun is None else None
            return Adopt(key, tier.name, plans, begun, found.owner if found else None)
        if row.restored_on == self._today and row.missing_since is None:
            return None  # tonight's evidence knows it by its former id, if at all
        if row.tier != tier.name or row.missing_since is not None:
            return Correct(row, tier.name)
        return None

    def owners(self) -> list[Belongs]:
        """Keys of which a rule says whose they are, if no request did and the ledger does not say so yet."""
        if not self._owner_rules:
            return []
        notes = []
        for key in self._night.keys:
            row = self._night.rows.get(key.key_id)
            if row is not None and is_open(row):
                found = self._owner_rules.find(key)
                if found is not None and found.owner != row.owner:
                    notes.append(Belongs(row, found.owner))
        return notes

    def missing(self) -> list[Missing | Forget]:
        """Rows whose key is not listed: noted, and closed after a month."""
        notes: list[Missing | Forget] = []
        for key_id, row in self._night.rows.items():
            if key_id in self._listed:
                continue
            if row.missing_since is None:
                notes.append(Missing(row))
            elif self._today - row.missing_since >= FORGET_MISSING:
                notes.append(Forget(row))
        return notes

    def purges(self) -> list[Purge]:
        """Parked keys whose time has run out, if their owners were told how long that is."""
        if self._night.warnings_only:
            return []
        return [
            Purge(row)
            for row in self._night.shelf
            if row.purge_on is not None
            and row.purge_on <= self._today
            and not _is_being_restored(row, self._today)
            and row.key_id not in self._night.untold
        ]

    def verdict(self, key: ApiKey) -> Verdict:
        row = self._night.rows.get(key.key_id)
        tier, tier_unknown = self._tier(key)
        plans = self._use.plans_of(key.key_id) or self._plans_put_into(key, row)
        since = self._use.idle_since(key, row)
        last_used = self._use.last_used(key, row)
        step: Warn | Disable | Park | None = None
        because: Reason | None = protection(key, row, self._today, self._bound)
        word: VerdictWord = "protected"
        if because is None and tier_unknown is not None:
            because, word = tier_unknown, "unknown"
        if because is None and tier.contact is None:
            because = reasons.NoContact(tier.name)
        if because is None:
            because = self._judge(key, row, tier, plans, since)
            word = _word(because)
        past = because if isinstance(because, reasons.Idle | reasons.Orphan) else None
        if isinstance(because, Due):
            word, because, step = next_step(
                self._night, key, row, tier, plans, because, since, last_used
            )
        elif word != "unknown" and not isinstance(because, reasons.EndsLater):
            self._take_back(key, row, word)
        return Verdict(
            key=key,
            row=row,
            tier=tier,
            word=word,
            because=because,
            usage_plan_ids=plans,
            idle_since=since,
            last_used=last_used,
            step=step,
            past=past,
        )

    def _take_back(self, key: ApiKey, row: Row | None, word: VerdictWord) -> None:
        """Takes announced dates back: the key is not past its idle limit tonight, or is protected.

        One that we disabled and that was used since its warning (after the reading of that date) is
        given back.
        """
        if row is None:
            return
        used = self._use.last_used(key, row)
        disabled = stands_disabled(key, row)
        if disabled and word == "keep" and used and row.warned_on and used >= row.warned_on:
            self.enables.append(Enable(key, row, used))
            return
        state = State.DISABLED if disabled else State.ACTIVE
        if row.state is not state or row.disable_on or row.park_on:
            self.clears.append(Clear(row, state))

    def _judge(
        self, key: ApiKey, row: Row | None, tier: Tier, plans: tuple[str, ...], since: date
    ) -> Reason:
        """Reason for a key that may be swept: past tonight's idle limit, within it, or unknown."""
        judged: Reason
        if row is not None and row.expires_on is not None:
            # An agreed end asks for no idleness, so unread usage does not prevent it.
            if row.expires_on > self._today + DAY * tier.warn_days:
                return reasons.EndsLater(row.expires_on)
            if key.tags is None:
                return reasons.TagsUnread()
            # A stage that names the key in the old way is not in its tombstone: it may be disabled,
            # which leaves it there, and not parked.
            if key.stage_keys and stands_disabled(key, row):
                return reasons.StageKeys()
            return reasons.Ends(row.expires_on)
        if plans:
            judged = self._judge_idleness(key, row, tier, plans, since)
        elif isinstance(self._use.all_kept, reasons.MembersUnread):
            return self._use.all_kept  # it may well be in a plan
        else:
            judged = self._judge_orphan(key, tier, since)
        if isinstance(judged, Due) and (unknown := self._use.unknown(key, plans)):
            return unknown
        return judged

    def _judge_idleness(
        self, key: ApiKey, row: Row | None, tier: Tier, plans: tuple[str, ...], since: date
    ) -> reasons.Idle | reasons.WithinIdleLimit | reasons.TierNever:
        # Only of a key that was made under our eyes can it be said that it was never used.
        first = _first_created_on(key, row)
        never_used = (
            self._use.last_used(key, row) is None
            and first is not None
            and first > self._use.first_day(plans)
        )
        limit = tier.idle_limit(never_used=never_used, factor=self.pressure.idle_factor)
        if limit is None:
            return reasons.TierNever(tier.name)
        days = (self._today - since).days
        if days < limit:
            return reasons.WithinIdleLimit(days, since, limit)
        return reasons.Idle(days, since, never_used)

    def _judge_orphan(
        self, key: ApiKey, tier: Tier, since: date
    ) -> reasons.Orphan | reasons.OrphanSoon | reasons.TierNever:
        if tier.idle_days == "never" and tier is not self._bound.policy.unclaimed:
            return reasons.TierNever(tier.name)
        nights = 0
        if self._evidence.complete_since is not None:
            # A date's reading comes early on that date: what happened on a day is seen the night
            # after, so that is the first night on which the key can have been in no plan.
            first = self._evidence.complete_since
            if since > self._evidence.first_day:
                left_its_plans = since == self._evidence.plans_changed.get(key.key_id)
                first = max(first, since if left_its_plans else since + DAY)
            if left := self._evidence.left_plans_on.get(key.key_id):
                first = max(first, left + DAY)
            nights = max(0, (self._today - first).days + 1)
        if nights < tier.orphan_days:
            return reasons.OrphanSoon(nights, tier.orphan_days)
        return reasons.Orphan(nights)


def _is_being_restored(row: Row, today: date) -> bool:
    """True if a restore has begun and may still end; one that failed for 30 days holds up nothing."""
    claim = row.claim
    return (
        claim is not None and claim.verb is SweepAction.RESTORE and today - claim.on < RESTORE_TRIED
    )


def _first_created_on(key: ApiKey, row: Row | None) -> date | None:
    """Date on which the key's first id was made; None if unknown. A restored key has a new id."""
    if row is None or not row.previous_key_ids:
        return key.created_date.date()
    return row.first_created_on


def _word(because: Reason) -> VerdictWord:
    if isinstance(because, reasons.Unknown):
        return "unknown"
    return "protected" if isinstance(because, reasons.Protected) else "keep"
