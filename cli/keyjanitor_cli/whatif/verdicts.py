"""The verdict on every key of an account under a policy, by the rules of a first night. Pure.

A ledger there is not yet, so a first night warns at the most. When the rest follows is worked out
here, if the key is not used: so many a night are warned as the policy's allowance lets through.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

from keyjanitor.domain.expiry.outlook import NightAhead, project_nights
from keyjanitor.domain.expiry.reasons import AwaitsAllowance, OrphanSoon
from keyjanitor.domain.expiry.sweep_input import SweepInput
from keyjanitor.domain.expiry.sweep_plan import SweepPlan, Verdict, Warn
from keyjanitor.domain.expiry.verdicts import decide
from keyjanitor.domain.model.keys import DAY, Mode
from keyjanitor.domain.model.policy import BoundPolicy, Policy
from keyjanitor_cli.whatif.account import Account

FIRST_NIGHT = "it is the first night"
LEAST_AHEAD, MOST_AHEAD = 45, 120  # nights


@dataclass(frozen=True, slots=True)
class Course:
    """The steps of a key that is not used, and their dates."""

    warn_on: date
    disable_on: date
    park_on: date


@dataclass(frozen=True, slots=True)
class Judged:
    """First night of a policy, its plan, and the dates of every key that it would step on.

    `courses` has the keys that are past the idle limit tonight, and those in no usage plan.
    """

    night: SweepInput
    plan: SweepPlan
    bound: BoundPolicy
    courses: Mapping[str, Course]


def judge(account: Account, policy: Policy) -> Judged:
    """Judges every key; `bound.problems` has the plans that the policy names and the account has not."""
    bound = policy.bind(account.evidence.plan_names())
    night = SweepInput(
        today=account.today,
        keys=account.keys,
        rows={},
        shelf=(),
        evidence=account.evidence,
        stepped={},
        warnings_only=FIRST_NIGHT,
    )
    plan = decide(night, bound)
    return Judged(night, plan, bound, _courses(plan))


def ahead(judged: Judged) -> tuple[NightAhead, ...]:
    """Nights from tonight on in mode `park`, until all steps that follow from tonight are done."""
    today = judged.plan.today
    last = max((one.park_on for one in judged.courses.values()), default=today)
    nights = min(MOST_AHEAD, max(LEAST_AHEAD, (last - today).days + 1))
    evening_before = replace(judged.night, today=today - DAY)
    return project_nights(evening_before, judged.bound, Mode.PARK, (), None, nights)


def _courses(plan: SweepPlan) -> dict[str, Course]:
    """The courses of what is due tonight, and of the orphans when their nights are over.

    An orphan cannot be used, and its nights pass whatever happens.
    """
    verdicts = {verdict.key.key_id: verdict for verdict in plan.verdicts}
    due = [verdicts[step.key.key_id] for step in plan.due if isinstance(step, Warn)]
    orphans = sorted(filter(_will_be_orphan, plan.verdicts), key=_orphan_order)
    night: Counter[date] = Counter()
    courses = {}
    for verdict in (*due, *orphans):
        warn_on = plan.today + DAY * _nights_left(verdict)
        while night[warn_on] >= plan.allowance:
            warn_on += DAY
        night[warn_on] += 1
        disable_on = warn_on + DAY * verdict.tier.warn_days
        park_on = disable_on + DAY * verdict.tier.grace_days
        courses[verdict.key.key_id] = Course(warn_on, disable_on, park_on)
    return courses


def _will_be_orphan(verdict: Verdict) -> bool:
    key = verdict.key
    waits = isinstance(verdict.because, OrphanSoon)
    return waits and key.tags is not None and not key.stage_keys


def _orphan_order(verdict: Verdict) -> tuple[int, date, str]:
    """Keys by the night of their warning, the longest idle first, as in a night's plan."""
    return _nights_left(verdict), verdict.idle_since or date.min, verdict.key.key_id


def _nights_left(verdict: Verdict) -> int:
    because = verdict.because
    return because.of - because.nights if isinstance(because, OrphanSoon) else 0


def word(verdict: Verdict) -> str:
    """The verdict, where a key that only waits for the allowance counts as warned: it is due."""
    return "warn" if isinstance(verdict.because, AwaitsAllowance) else verdict.word


def reason(verdict: Verdict) -> str:
    """Its reason, where what only waits for the allowance gives that for which it is due."""
    because = verdict.because
    return str(because.because if isinstance(because, AwaitsAllowance) else because)
