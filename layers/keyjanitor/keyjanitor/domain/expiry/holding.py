"""Says how long a verdict holds if nothing but time passes, so that its key need not be judged. Pure."""

from datetime import date

from keyjanitor.domain.expiry import reasons
from keyjanitor.domain.expiry.sweep_plan import Verdict
from keyjanitor.domain.model.keys import DAY, State

_WHATEVER_THE_DATE = (
    reasons.IdMayBeValue
    | reasons.OwnedBy
    | reasons.KeepTag
    | reasons.DisabledByOthers
    | reasons.BeingRestored
    | reasons.TierNever
    | reasons.NoContact
    | reasons.TierMissing
    | reasons.TierUnclear
    | reasons.UsageUnread
    | reasons.UseByDayUnread
    | reasons.DaysUnclear
    | reasons.UseUntold
    | reasons.OpensNoStage
    | reasons.Unwitnessed
    | reasons.StageKeys
    | reasons.TagsUnread
    | reasons.Outage
)


def holds_through(verdict: Verdict, today: date, *, in_use: bool, shortened: bool) -> date:
    """The last night up to which a verdict of `today` brings neither a step nor a note.

    It is as much past tonight's limit as it is now, or as little. That is so while reading, policy,
    key and row stay as they are, no key is made, and a key that is `in_use` is used every day. Then
    a pressure rule can end and none can begin: limits that one has `shortened` may grow, the others
    stay. `today` says that the key has to be judged again on the next night.
    """
    row = verdict.row
    if row is not None and row.restored_on is not None and row.restored_on >= today:
        return today
    if isinstance(verdict.because, reasons.Waits):
        return today if in_use or shortened else verdict.because.on - DAY
    if row is not None and (
        row.state is not State.ACTIVE or row.disable_on is not None or row.park_on is not None
    ):
        return today
    return _kept_through(verdict, today, in_use=in_use)


def _kept_through(verdict: Verdict, today: date, *, in_use: bool) -> date:
    """The last night up to which a key without announced dates stays within its limit, or is kept anyway."""
    match verdict.because:
        case reasons.WithinIdleLimit(idle_limit=idle_limit) if in_use:
            # Used on the day before each night, so idle for a day at most.
            return date.max if idle_limit > 1 else today
        case reasons.OrphanSoon() if in_use:
            return today
        case reasons.WithinIdleLimit(days=days, idle_limit=idle_limit):
            return today + DAY * (idle_limit - days - 1)
        case reasons.OrphanSoon(nights=nights, of=of):
            return today + DAY * (of - nights - 1)
        case reasons.EndsLater(expires_on=expires_on):
            return expires_on - DAY * (verdict.tier.warn_days + 1)
        case reasons.ProtectedUntil(until=until):
            return until
        case because if isinstance(because, _WHATEVER_THE_DATE):
            return date.max
        case _:
            # Due; or the members of a plan are unread, which ends when they are parked.
            return today
