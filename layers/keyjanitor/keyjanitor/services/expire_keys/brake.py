"""Holds a night's plan against the nights before, saves and alerts it, and takes an approval."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from aws_lambda_powertools import Logger

from keyjanitor.adapters.system_clock import now
from keyjanitor.domain.expiry import alert_text as alerts
from keyjanitor.domain.expiry.safety_brake import Brake, Comparison, compare
from keyjanitor.domain.expiry.sweep_input import SweepInput
from keyjanitor.domain.expiry.sweep_plan import Purge, SweepPlan, key_id_of
from keyjanitor.domain.model.invocation import SweepInvocation
from keyjanitor.domain.model.policy import BoundPolicy
from keyjanitor.errors import AccessDenied, CallFailed, SweepPlanNotAsSaved, UnknownSweepPlan
from keyjanitor.services.expire_keys.gather import Adapters
from keyjanitor.services.ports import ComparedNights

SAMPLES = 10

Pairs = frozenset[tuple[str, str]]

logger = Logger(child=True)


@dataclass(frozen=True, slots=True)
class Checked:
    """The part of a plan that may be carried out tonight, and the brake if it is on.

    `saved`: the whole plan can be approved under its digest. `approved` are the pairs of action and
    key id of the plan that an operator has approved for this date.
    """

    plan: SweepPlan
    brake: Brake | None = None
    saved: bool = False
    approved: Pairs | None = None


def compared(
    plan: SweepPlan, night: SweepInput, bound: BoundPolicy, history: ComparedNights
) -> Comparison:
    """A night's plan beside the last night that was swept without the brake."""
    before = history.compared_before(plan.today)
    return compare(plan, night.evidence, bound.policy, night.rows, before)


def check(
    plan: SweepPlan, comparison: Comparison, run: SweepInvocation, adapters: Adapters
) -> Checked:
    """The part of a plan that may be carried out.

    While the brake is on, nothing is done but to give keys back; the plan is saved under its digest
    and alerted once a date. A plan that the allowance cuts is saved too. Once an operator has
    approved a saved plan, what that one and tonight's have in common goes, and nothing else, in all
    of the date's later runs. Raises UnknownSweepPlan and SweepPlanNotAsSaved.
    """
    approved = _approved(run, adapters)
    if approved is not None:
        rest = comparison.accepting({key_id for _, key_id in approved})
        adapters.history.put_compared(run.today, rest.accepted(), once=False)
        _remember(comparison, run, adapters, braked=rest.brake is not None)
        return Checked(plan.approved(approved), rest.brake, approved=approved)
    brake = comparison.brake
    _remember(comparison, run, adapters, braked=brake is not None)
    if brake is not None:
        logger.error(
            "the safety brake is on: %d keys are past their idle limit that were not on %s, "
            "usual are %g a night",
            brake.new,
            brake.since,
            brake.usual,
        )
        adapters.history.save_sweep_plan(plan)
        if not adapters.ledger.night(run.today).brake_alerted:
            _alert(plan, brake, comparison.plan_names, adapters)
        return Checked(plan.braked(), brake, saved=True)
    adapters.history.put_compared(run.today, comparison.swept())
    if plan.waiting:
        adapters.history.save_sweep_plan(plan)
    return Checked(plan, saved=plan.waiting > 0)


def looked_at(
    plan: SweepPlan, comparison: Comparison, run: SweepInvocation, adapters: Adapters
) -> Checked:
    """What a run that only observes shows: the plan, with its brake; nothing is written.

    A dry run on a date with an approval shows what a sweep of that date would carry out of it.
    """
    looked = Checked(plan, comparison.brake)
    digest = adapters.ledger.night(run.today).approved if run.dry_run and run.is_near else None
    if digest is None:
        return looked
    try:
        return replace(looked, plan=plan.approved(adapters.history.saved_sweep_plan(digest)))
    except (UnknownSweepPlan, SweepPlanNotAsSaved, AccessDenied, CallFailed) as err:
        logger.warning("the dry run does not know what was approved for this date: %s", err)
        return looked


def _approved(run: SweepInvocation, adapters: Adapters) -> Pairs | None:
    """The pairs of the plan that was approved for this date, by this run or one before it."""
    if run.approve is not None:
        pairs = adapters.history.saved_sweep_plan(run.approve)
        adapters.history.put_approval(run.approve, run.today, now())
        adapters.ledger.remember(run.today, approved=run.approve)
        return pairs
    digest = adapters.ledger.night(run.today).approved
    if digest is None:
        return None
    try:
        return adapters.history.saved_sweep_plan(digest)
    except (UnknownSweepPlan, SweepPlanNotAsSaved) as err:
        logger.error("the approval of this date holds no longer: %s", err)
        return None


def _remember(
    comparison: Comparison, run: SweepInvocation, adapters: Adapters, *, braked: bool
) -> None:
    causes = {str(one.cause): one.keys for one in comparison.causes}
    adapters.ledger.remember(run.today, new=comparison.new, causes=causes, braked=braked)


def _alert(
    plan: SweepPlan, brake: Brake, plan_names: Mapping[str, str], adapters: Adapters
) -> None:
    samples = [
        f"{key_id_of(step)}  {step.tier.name}: {step.because}"
        for step in plan.due
        if not isinstance(step, Purge)
    ]
    try:
        draft = alerts.brake(
            plan.today, brake, plan.kinds, plan.digest, samples[:SAMPLES], plan_names
        )
        adapters.topic.publish(draft.at(adapters.topic.place))
    except (AccessDenied, CallFailed) as err:
        logger.error("the alert of the brake waits for the next run: %s", err)
        return
    adapters.ledger.remember(plan.today, brake_alerted=True)
