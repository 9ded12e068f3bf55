"""Works out how many keys each pressure rule above the present one would free. Pure."""

from collections import Counter
from datetime import date

from keyjanitor.domain.expiry.keys_file import dates_ahead
from keyjanitor.domain.expiry.reasons import AwaitsAllowance, WithinIdleLimit
from keyjanitor.domain.expiry.sweep_input import SweepInput
from keyjanitor.domain.expiry.sweep_plan import SweepPlan, Verdict
from keyjanitor.domain.expiry.verdicts import decide
from keyjanitor.domain.model.keys import DAY
from keyjanitor.domain.model.policy import BoundPolicy, Pressure
from keyjanitor.domain.model.records import PressureRow, PressureRuleRow

AHEAD = 30  # days


def freed_by_pressure(night: SweepInput, bound: BoundPolicy, plan: SweepPlan) -> PressureRow:
    """The pressure rule in force, and for each rule above it how many more slots are free within 30 days.

    A slot is free once its key is parked, if the key is not used until then. The
    allowance, which spreads many keys over several nights, is left out of account.
    """
    in_force = plan.pressure.above
    gone = _going(plan)
    rules = []
    for rule in bound.policy.pressure:
        if in_force is not None and rule.above <= in_force:
            continue
        would = decide(night, bound, Pressure(plan.pressure.used, rule.idle_factor, rule.above))
        more = _going(would) - gone
        rules.append(PressureRuleRow(rule.above, rule.idle_factor, more.total(), dict(more)))
    return PressureRow(date=night.today, above=in_force, rules=tuple(rules))


def _going(plan: SweepPlan) -> Counter[str]:
    """The keys by tier whose slots would be free within 30 days."""
    return Counter(
        verdict.tier.name
        for verdict in plan.verdicts
        if (parked := _parked_on(plan.today, verdict)) and parked <= plan.today + DAY * AHEAD
    )


def _parked_on(today: date, verdict: Verdict) -> date | None:
    notice = verdict.tier.warn_days + verdict.tier.grace_days
    match verdict.because:
        case WithinIdleLimit(days=days, idle_limit=idle_limit):
            return today + DAY * (idle_limit - days + notice)
        case AwaitsAllowance():
            return today + DAY * notice
        case _:
            return dates_ahead(today, verdict)["park_on"]
