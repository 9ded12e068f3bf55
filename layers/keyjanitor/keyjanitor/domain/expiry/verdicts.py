"""Decides what happens to every key tonight: one verdict each, with its reason. Pure.

No clock, no network, no environment: `Night` holds all that is known, `today` included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from statistics import median

from keyjanitor.domain.expiry import reasons
from keyjanitor.domain.expiry.notice import Untold
from keyjanitor.domain.expiry.ownership import RESTORE_MARKER, protection
from keyjanitor.domain.expiry.reasons import Due, Reason
from keyjanitor.domain.expiry.sweep_plan import (
    Adopt,
    Clear,
    Correct,
    Disable,
    Enable,
    Forget,
    Missing,
    Park,
    Plan,
    Purge,
    Verdict,
    VerdictWord,
    Warn,
    plan_night,
)
from keyjanitor.domain.expiry.transitions import told_late
from keyjanitor.domain.model.keys import DAY, ApiKey, State, Verb
from keyjanitor.domain.model.policy import BoundPolicy, Pressure, Tier
from keyjanitor.domain.model.records import Row, end_is_announced, is_our_update, stands_disabled
from keyjanitor.domain.usage.evidence import Evidence, PlanReading
from keyjanitor.domain.usage.plan_usage import USAGE_DAYS

FORGET_MISSING = timedelta(days=30)
RESTORE_TRIED = timedelta(days=30)  # that a restore which fails every night keeps a tombstone
OUTAGE = 0.1  # of the usual traffic
OUTAGE_DAYS = 28  # that say what is usual

TierUnknown = reasons.TierMissing | reasons.TierUnclear


@dataclass(frozen=True, slots=True)
class Night:
    """All that tonight's reading gathered.

    `rows` are the ledger's rows of the keys that live in API Gateway, by key id; `shelf` the parked
    ones whose time to be purged has come; `stepped` how many keys took which step on this date
    already. `warnings_only` says why nothing but warnings may be given (None: all may). `rung`
    names the rung of the ladder that stood until now; `untold` what could not be told of a key.
    `begun` has the rows of keys that were made for requests which nobody has answered yet, by key id.
    """

    today: date
    keys: Sequence[ApiKey]
    rows: Mapping[str, Row]
    shelf: Sequence[Row]
    evidence: Evidence
    stepped: Mapping[Verb, int]
    warnings_only: str | None = None
    tombstones_open: bool = True
    rung: float | None = None
    untold: Mapping[str, Untold] = field(default_factory=dict)
    begun: Mapping[str, Row] = field(default_factory=dict)


def decide(night: Night, bound: BoundPolicy, pressure: Pressure | None = None) -> Plan:
    """The plan of the night: a verdict for every key, and what is to be done, within the allowance.

    Keys are judged one by one; the order of the input makes no difference. `pressure` is another
    than that of the account, to see what would be.
    """
    judge = _Judge(night, bound, pressure)
    verdicts = [judge.verdict(key) for key in night.keys]
    notes = [note for key in night.keys if (note := judge.note(key))]
    return plan_night(
        today=night.today,
        verdicts=verdicts,
        notes=[*notes, *judge.clears, *judge.missing()],
        purges=judge.purges(),
        enables=judge.enables,
        # The keys that were parked on this date count: its allowance is one, whatever its runs did.
        allowance=bound.policy.sweep.allowance(len(night.keys) + night.stepped.get(Verb.PARK, 0)),
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


def outage(evidence: Evidence) -> reasons.Outage | None:
    """Whether the day before yesterday saw so little traffic that idleness proves nothing tonight.

    So little is under a tenth both of the median of the 28 days before it and of the last of them
    that was the same weekday. An outage lasts until a day is not under a tenth of the median, so a
    weekend that is always silent does not end it, and none of its days lets anything be expected:
    the 28 are those before it, as far as usage reaches back. After 90 days it is the usual.
    """
    usual: dict[date, int] = {}
    found: reasons.Outage | None = None
    for back in range(USAGE_DAYS, 1, -1):
        day = evidence.day - DAY * back
        used = evidence.used_by_day.get(day, 0)
        days = list(usual)[-OUTAGE_DAYS:]
        expected = median(usual[one] for one in days) if days else 0
        same = next((usual[one] for one in reversed(days) if one.weekday() == day.weekday()), 0)
        if used < OUTAGE * expected and (found or used < OUTAGE * same):
            found = reasons.Outage(day, used, int(expected))
        else:
            found = None
            usual[day] = used
    return found


def plan_doubt(
    plan_id: str, evidence: Evidence, bound: BoundPolicy
) -> reasons.OpensNoStage | reasons.Unwitnessed | None:
    """Why a plan's silence proves nothing, on whatever night it is read; None: it proves idleness."""
    plan = evidence.plans[plan_id]
    if not plan.stages:
        return reasons.OpensNoStage(plan_id)
    if not evidence.is_witnessed(plan) and plan_id not in bound.silent_plans:
        return reasons.Unwitnessed(plan_id)
    return None


class _Judge:
    """Judges the keys of one night; what is the same for all of them is worked out once."""

    def __init__(self, night: Night, bound: BoundPolicy, pressure: Pressure | None) -> None:
        self._night = night
        self._today = night.today
        self._bound = bound
        self._evidence = evidence = night.evidence
        self._plans_of_key = {key_id: tuple(plans) for key_id, plans in evidence.members().items()}
        self._listed = {key.key_id for key in night.keys}
        self._nobody_moves = self._nobody_moves_because()
        self._unread = [
            plan_id for plan_id, plan in evidence.plans.items() if plan.unread is not None
        ]
        self._plan_doubts = {
            plan_id: plan_doubt(plan_id, evidence, bound) for plan_id in evidence.plans
        }
        self._tier_of: dict[
            tuple[tuple[str, ...], str | None], tuple[Tier, TierUnknown | None]
        ] = {}
        self.pressure = pressure or bound.policy.pressure(len(night.keys), night.rung)
        self.clears: list[Clear] = []
        self.enables: list[Enable] = []

    def _nobody_moves_because(self) -> reasons.MembersUnread | reasons.Outage | None:
        for plan in self._evidence.plans.values():
            if not plan.members_read and not _lost_its_keys(plan, self._listed):
                return reasons.MembersUnread(plan.usage_plan_id)
        return outage(self._evidence)

    def _tier(self, key: ApiKey) -> tuple[Tier, TierUnknown | None]:
        row = self._night.rows.get(key.key_id) or self._night.begun.get(key.key_id)
        plans = self._plans_of_key.get(key.key_id, ())
        if row is not None and row.issued:
            return tier_of(row, plans, self._bound)
        known = (plans, row.tier if row is not None else None)
        if known not in self._tier_of:
            self._tier_of[known] = tier_of(row, plans, self._bound)
        return self._tier_of[known]

    def note(self, key: ApiKey) -> Adopt | Correct | None:
        """What the ledger has to learn of a key that it does not know, or knows otherwise."""
        row = self._night.rows.get(key.key_id)
        tier, _ = self._tier(key)
        if row is None:
            if key.name.startswith(RESTORE_MARKER):
                return None  # the restore writes its row itself
            begun = self._night.begun.get(key.key_id)
            plans = self._plans_of_key.get(key.key_id, ())
            return Adopt(key, begun.tier if begun else tier.name, plans, begun)
        if row.restored_on == self._today and row.missing_since is None:
            return None  # tonight's evidence knows it by its former id, if at all
        if row.tier != tier.name or row.missing_since is not None:
            return Correct(row, tier.name)
        return None

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
        """Parked keys whose time has run out."""
        if self._night.warnings_only:
            return []
        return [
            Purge(row)
            for row in self._night.shelf
            if row.purge_on is not None
            and row.purge_on <= self._today
            and not _is_being_restored(row, self._today)
        ]

    def verdict(self, key: ApiKey) -> Verdict:
        row = self._night.rows.get(key.key_id)
        tier, tier_unknown = self._tier(key)
        plans = self._plans_of_key.get(key.key_id, ())
        since = self._idle_since(key, row)
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
            word, because, step = self._step(key, row, tier, plans, because, since)
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
            last_used=self._last_used(key, row),
            step=step,
            past=past,
        )

    def _take_back(self, key: ApiKey, row: Row | None, word: VerdictWord) -> None:
        """Takes announced dates back: the key is not past patience tonight, or is protected.

        One that we disabled and that was used since its warning (after the reading of that date) is
        given back.
        """
        if row is None:
            return
        used = self._last_used(key, row)
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
        """Whether a key that may be swept is past tonight's patience, is not, or nobody knows."""
        judged: Reason
        if row is not None and row.ends_on is not None:
            # An agreed end asks for no idleness, so nothing unread stands in its way.
            if row.ends_on > self._today + DAY * tier.warn_days:
                return reasons.EndsLater(row.ends_on)
            if key.tags is None:
                return reasons.TagsUnread()
            # A stage that names the key in the old way is not in its tombstone: it may be disabled,
            # which leaves it there, and not parked.
            if key.stage_keys and stands_disabled(key, row):
                return reasons.StageKeys()
            return reasons.Ends(row.ends_on)
        if plans:
            judged = self._judge_idleness(key, row, tier, plans, since)
        elif isinstance(self._nobody_moves, reasons.MembersUnread):
            return self._nobody_moves  # it may well be in a plan
        else:
            judged = self._judge_orphan(key, tier, since)
        if isinstance(judged, Due) and (unknown := self._unknown(key, plans)):
            return unknown
        return judged

    def _judge_idleness(
        self, key: ApiKey, row: Row | None, tier: Tier, plans: tuple[str, ...], since: date
    ) -> reasons.Idle | reasons.WithinPatience | reasons.TierNever:
        # Only of a key that was made under our eyes can it be said that it was never used.
        first = _first_created_on(key, row)
        never_used = (
            self._last_used(key, row) is None
            and first is not None
            and first > self._first_day(plans)
        )
        patience = tier.patience(never_used=never_used, factor=self.pressure.patience)
        if patience is None:
            return reasons.TierNever(tier.name)
        days = (self._today - since).days
        if days < patience:
            return reasons.WithinPatience(days, since, patience)
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
            if left := self._evidence.left.get(key.key_id):
                first = max(first, left + DAY)
            nights = max(0, (self._today - first).days + 1)
        if nights < tier.orphan_days:
            return reasons.OrphanSoon(nights, tier.orphan_days)
        return reasons.Orphan(nights)

    def _idle_since(self, key: ApiKey, row: Row | None) -> date:
        """The one clock: the latest of all that counts as a sign of life."""
        created = key.created_date.date()
        since = max(created, self._first_day(self._plans_of_key.get(key.key_id, ())))
        used = self._last_used(key, row)
        if used is not None and used > since:
            since = used
        changed = self._evidence.plans_changed.get(key.key_id)
        appeared = self._evidence.appeared.get(key.key_id)
        known_on = row.adopted_on if row is not None else None
        # First seen in a plan: a change only of a key that the ledger knew before to be in none.
        if changed is None and appeared and known_on and known_on < appeared:
            changed = appeared
        # A key that was made since the evidence before is new in its plans; that is no change.
        if changed is not None and changed > since and created < changed - DAY:
            since = changed
        enabled_again = row is not None and row.state is State.DISABLED and key.enabled
        if row is None or not is_our_update(key, row) or enabled_again:
            since = max(since, key.last_updated_date.date())
        if row is not None:
            if row.renewed_on is not None and row.renewed_on > since:
                since = row.renewed_on
            if row.restored_on is not None and row.restored_on > since:
                since = row.restored_on
        return since

    def _first_day(self, plans: tuple[str, ...]) -> date:
        """The first day of which it is known what happened in all of a key's plans."""
        first = self._evidence.first_day
        if not self._evidence.first_days:
            return first
        gaps = (
            self._evidence.first_days.get(plan_id, first)
            for plan_id in plans
            if self._evidence.plans[plan_id].stages
        )
        return max(first, *gaps, first)

    def _last_used(self, key: ApiKey, row: Row | None) -> date | None:
        used = self._evidence.last_use(key.key_id)
        if row is not None and row.last_used and (used is None or row.last_used > used):
            return row.last_used
        return used

    def _unknown(self, key: ApiKey, plans: tuple[str, ...]) -> reasons.Unknown | None:
        """What keeps anybody from knowing that the key is not used, or whose it is."""
        doubts = [self._plan_doubts[plan_id] for plan_id in plans]
        if shut := next((one for one in doubts if isinstance(one, reasons.OpensNoStage)), None):
            return shut  # first, for a person has to do something about it
        if self._nobody_moves is not None:
            return self._nobody_moves
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
        """What tonight's reading leaves open of the key's own use."""
        if not plans and self._unread:
            return reasons.UseByDayUnread(min(self._unread), len(self._unread))
        if unclear := self._evidence.unclear.get(key.key_id):
            return reasons.DaysUnclear(unclear)
        if untold := self._evidence.untold.get(key.key_id):
            return reasons.UseUntold(untold)
        return None

    def _step(
        self,
        key: ApiKey,
        row: Row | None,
        tier: Tier,
        plans: tuple[str, ...],
        due: Due,
        since: date,
    ) -> tuple[VerdictWord, Reason, Warn | Disable | Park | None]:
        """The step that is due tonight, or what it waits for."""
        today = self._today
        days = (today - since).days
        if row is not None and row.stepped_on is not None and row.stepped_on >= today:
            return "keep", reasons.Stepped(row.because), None
        disabled = row is not None and stands_disabled(key, row)
        next_on = None
        if row is not None and _was_warned(row, due, since, disabled=disabled):
            next_on = row.park_on if disabled else row.disable_on
        if row is None or next_on is None:
            notice = today + DAY * (tier.grace_days if disabled else tier.warn_days)
            if isinstance(due, reasons.Ends) and not disabled:
                notice = max(due.on, today + DAY)
            return "warn", due, Warn(key, row, tier, due, days, notice, plans)
        if waiting := self._night.untold.get(key.key_id):
            told = told_late(row, today)
            on = (told.park_on if disabled else told.disable_on) or next_on
            return "keep", reasons.NotTold(waiting.what, waiting.since, on, due), None
        if today < next_on:
            return "keep", reasons.Waits("parked" if disabled else "disabled", next_on, due), None
        if self._night.warnings_only is not None:
            return "keep", reasons.NotTonight(self._night.warnings_only, due), None
        if not disabled:
            park_on = today + DAY * tier.grace_days
            return "disable", due, Disable(key, row, tier, due, days, park_on, plans)
        if not self._night.tombstones_open:
            why = "the oldest tombstone could not be opened, so nothing is parked"
            return "keep", reasons.NotTonight(why, due), None
        purge_on = today + DAY * tier.retain_days
        last_used = self._last_used(key, row)
        return "park", due, Park(key, row, tier, due, days, purge_on, plans, last_used)


def _was_warned(row: Row, due: Due, since: date, *, disabled: bool) -> bool:
    """Whether the date in the row was announced for what is due tonight, and nothing before it.

    Nights that nobody swept may lie between: a clock that restarted on the day of the warning or
    after it leaves dates behind that mean nothing any more.
    """
    if isinstance(due, reasons.Ends):
        return disabled or end_is_announced(row)
    if row.warned_on is None:
        return False
    # The first of the nights without a plan is that of the warning, if one such night is enough.
    return since < row.warned_on or (isinstance(due, reasons.Orphan) and since == row.warned_on)


def _is_being_restored(row: Row, today: date) -> bool:
    """Whether a restore has begun that may yet end; one that has failed for long holds up nothing."""
    claim = row.claim
    return claim is not None and claim.verb is Verb.RESTORE and today - claim.on < RESTORE_TRIED


def _first_created_on(key: ApiKey, row: Row | None) -> date | None:
    """When the key was made first: a restored key has a new id. None if that is not known."""
    if row is None or not row.previous_key_ids:
        return key.created_date.date()
    return row.first_created_on


def _word(because: Reason) -> VerdictWord:
    if isinstance(because, reasons.Unknown):
        return "unknown"
    return "protected" if isinstance(because, reasons.Protected) else "keep"


def _lost_its_keys(plan: PlanReading, listed: set[str]) -> bool:
    """Whether a plan that suddenly has no members lost them because those keys are no more."""
    return plan.emptied and not any(key_id in listed for key_id in plan.members)
