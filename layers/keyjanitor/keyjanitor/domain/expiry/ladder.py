"""Works out how many keys each pressure rule above the present one would free. Pure."""

from collections import Counter
from datetime import date

from keyjanitor.domain.expiry.keys_file import dates_ahead
from keyjanitor.domain.expiry.night import Night
from keyjanitor.domain.expiry.reasons import AwaitsAllowance, WithinPatience
from keyjanitor.domain.expiry.sweep_plan import Plan, Verdict
from keyjanitor.domain.expiry.verdicts import decide
from keyjanitor.domain.model.keys import DAY
from keyjanitor.domain.model.policy import BoundPolicy, Pressure
from keyjanitor.domain.model.records import LadderRow, RungRow

AHEAD = 30  # days


def climb(night: Night, bound: BoundPolicy, plan: Plan) -> LadderRow:
    """The rung of tonight's plan, and for each above it how many more keys go within 30 days.

    A key goes when its slot is free: once it is parked, if nobody uses it until then. The
    allowance, which spreads many keys over several nights, is left out of account.
    """
    stands = plan.pressure.above
    gone = _going(plan)
    rungs = []
    for rung in bound.policy.ladder:
        if stands is not None and rung.above <= stands:
            continue
        would = decide(night, bound, Pressure(plan.pressure.used, rung.patience, rung.above))
        more = _going(would) - gone
        rungs.append(RungRow(rung.above, rung.patience, more.total(), dict(more)))
    return LadderRow(date=night.today, above=stands, rungs=tuple(rungs))


def _going(plan: Plan) -> Counter[str]:
    """The keys by tier whose slots would be free within 30 days."""
    return Counter(
        verdict.tier.name
        for verdict in plan.verdicts
        if (parked := _parked_on(plan.today, verdict)) and parked <= plan.today + DAY * AHEAD
    )


def _parked_on(today: date, verdict: Verdict) -> date | None:
    notice = verdict.tier.warn_days + verdict.tier.grace_days
    match verdict.because:
        case WithinPatience(days=days, patience=patience):
            return today + DAY * (patience - days + notice)
        case AwaitsAllowance():
            return today + DAY * notice
        case _:
            return dates_ahead(today, verdict)["park_on"]
