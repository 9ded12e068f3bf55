"""The step that is due to a key tonight: a warning first, then a step a notice later. Pure."""

from datetime import date

from keyjanitor.domain.expiry import reasons
from keyjanitor.domain.expiry.reasons import Due, Reason
from keyjanitor.domain.expiry.sweep_input import SweepInput
from keyjanitor.domain.expiry.sweep_plan import Disable, Park, VerdictWord, Warn
from keyjanitor.domain.expiry.transitions import told_late
from keyjanitor.domain.model.keys import DAY, ApiKey
from keyjanitor.domain.model.policy import Tier
from keyjanitor.domain.model.records import Row, end_is_announced, stands_disabled


def next_step(
    night: SweepInput,
    key: ApiKey,
    row: Row | None,
    tier: Tier,
    plans: tuple[str, ...],
    due: Due,
    since: date,
    last_used: date | None,
) -> tuple[VerdictWord, Reason, Warn | Disable | Park | None]:
    """The verdict on a key that is past tonight's limit: the step that is due, or what it waits for."""
    today = night.today
    days = (today - since).days
    if row is not None and row.stepped_on is not None and row.stepped_on >= today:
        return "keep", reasons.Stepped(row.reason, row.reason_code, row.facts), None
    disabled = row is not None and stands_disabled(key, row)
    next_on = None
    if row is not None and _was_warned(row, due, since, disabled=disabled):
        next_on = row.park_on if disabled else row.disable_on
    if row is None or next_on is None:
        notice = today + DAY * (tier.grace_days if disabled else tier.warn_days)
        if isinstance(due, reasons.Ends) and not disabled:
            notice = max(due.expires_on, today + DAY)
        return "warn", due, Warn(key, row, tier, due, days, notice, plans)
    if waiting := night.untold.get(key.key_id):
        told = told_late(row, today)
        on = (told.park_on if disabled else told.disable_on) or next_on
        return "keep", reasons.NotTold(waiting.what, waiting.since, on, due), None
    if today < next_on:
        return "keep", reasons.Waits("parked" if disabled else "disabled", next_on, due), None
    if night.warnings_only is not None:
        return "keep", reasons.NotTonight(night.warnings_only, due), None
    if not disabled:
        park_on = today + DAY * tier.grace_days
        return "disable", due, Disable(key, row, tier, due, days, park_on, plans)
    if not night.tombstones_open:
        why = "the oldest tombstone could not be opened, so nothing is parked"
        return "keep", reasons.NotTonight(why, due), None
    purge_on = today + DAY * tier.retain_days
    return "park", due, Park(key, row, tier, due, days, purge_on, plans, last_used)


def _was_warned(row: Row, due: Due, since: date, *, disabled: bool) -> bool:
    """True if the date in the row was announced for the step that is due tonight, and not for an earlier one.

    There may be nights without a sweep in between: a clock that restarted on the day of the warning or
    after it leaves dates behind that mean nothing any more.
    """
    if isinstance(due, reasons.Ends):
        return disabled or end_is_announced(row)
    if row.warned_on is None:
        return False
    # The first of the nights without a plan is that of the warning, if one such night is enough.
    return since < row.warned_on or (isinstance(due, reasons.Orphan) and since == row.warned_on)
