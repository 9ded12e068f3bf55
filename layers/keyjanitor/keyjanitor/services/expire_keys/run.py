"""One run of expire_keys: a sweep, or what an operator asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from keyjanitor.adapters.ledger import SWEEP
from keyjanitor.domain.capacity.forecast import DAYS, Growth, forecast
from keyjanitor.domain.expiry.called import called_while_disabled
from keyjanitor.domain.expiry.keys_file import key_lines, with_parked
from keyjanitor.domain.expiry.pressure import freed_by_pressure
from keyjanitor.domain.expiry.response import already_finished, answer, running
from keyjanitor.domain.expiry.sweep_plan import SweepPlan
from keyjanitor.domain.expiry.verdicts import decide
from keyjanitor.domain.model.invocation import SweepInvocation
from keyjanitor.domain.model.keys import DAY, Mode, SweepAction
from keyjanitor.domain.model.policy import BoundPolicy, Policy
from keyjanitor.domain.model.records import PressureRow, Row
from keyjanitor.errors import AlreadyRunning, NotHeard, OlderDate
from keyjanitor.services.deadline import Deadline
from keyjanitor.services.expire_keys.apply import Sweeper
from keyjanitor.services.expire_keys.brake import check, compared, looked_at
from keyjanitor.services.expire_keys.finished import (
    has_finished,
    is_finished,
    mark_of,
    may_be_enough,
)
from keyjanitor.services.expire_keys.gather import Adapters, Gathered, gather, gather_for_undo
from keyjanitor.services.expire_keys.may_act import check_may_act
from keyjanitor.services.expire_keys.sweep_state import Outcome
from keyjanitor.services.lease import lease

logger = Logger(child=True)
metrics = Metrics()  # Powertools keeps one set of numbers; the handler writes it out


def serve(
    request: SweepInvocation,
    adapters: Adapters,
    policy: Policy,
    context: LambdaContext,
    now: Callable[[], datetime],
    gateway_clock: Callable[[], datetime],
) -> dict[str, Any]:
    """Does what an event asks for, and gives the answer; `gateway_clock` is API Gateway's.

    Of two sweeps at once the second answers `running`. Raises AlreadyRunning for an approval or an
    undo, and what gathering and applying raise.
    """
    if request.hold is not None:
        adapters.ledger.put_hold(request.hold, now())
        return answer(request, held=request.hold)
    if request.resume:
        if request.mode is not Mode.OBSERVE:
            adapters.ledger.remember(request.today, finished=None)
        adapters.ledger.lift_hold()
        return answer(request)
    run = SweepRun(adapters, policy, Deadline.before_the_end_of(context), gateway_clock)
    try:
        with lease(adapters.ledger, SWEEP, now(), context):
            if request.undo is not None:
                return run.undo(request, request.undo)
            if is_finished(request, adapters, policy):
                logger.info("the sweep of %s is finished", request.today)
                count(Outcome(), SweepFinished=1)
                return already_finished(request)
            return run.sweep(request)
    except AlreadyRunning as err:
        if request.approve is not None or request.undo is not None:
            raise  # an operator has to send it again
        # The scheduler delivers at least once: the other run does it all.
        logger.info(str(err))
        return running(request.time, err)


@dataclass(frozen=True, slots=True)
class SweepRun:
    """One run: its adapters, its policy and its deadline."""

    adapters: Adapters
    policy: Policy
    deadline: Deadline
    gateway_clock: Callable[[], datetime]

    def sweep(self, request: SweepInvocation) -> dict[str, Any]:
        """Gather, decide, check, apply."""
        ledger = self.adapters.ledger
        held = ledger.hold()
        if not held:
            request = allowed(request, self.adapters)
        mode = Mode.OBSERVE if held else request.mode
        acting = mode is not Mode.OBSERVE
        gathered = gather(request.today, self.adapters, self.policy, acting=acting)
        plan = decide(gathered.night, gathered.bound)
        pressure_row = freed_by_pressure(gathered.night, gathered.bound, plan)
        comparison = compared(plan, gathered.night, gathered.bound, self.adapters.history)
        outcome = Outcome()
        if acting:
            ledger.remember(request.today, swept=True, observed_because=None, finished=None)
            checked = check(plan.for_mode(mode), comparison, request, self.adapters)
        else:
            checked = looked_at(plan, comparison, request, self.adapters)
        plan = checked.plan
        keys_file = (
            write_down(request, plan, pressure_row, gathered, self.adapters)
            if request.is_near
            else None
        )
        if acting:
            outcome = self._act(plan, gathered)
        outcome.unopened += len(gathered.closed) or (not gathered.night.tombstones_open)
        self._remember_finished(request, plan, gathered, outcome, held=held)
        count(outcome, SweepFinished=int(not request.dry_run), Keys=len(plan.verdicts))
        return answer(
            request,
            mode=mode,
            plan=plan,
            applied=outcome.counts,
            remaining=outcome.remaining,
            comparison=comparison,
            brake=checked.brake,
            saved=checked.saved,
            approved=checked.approved if request.approve else None,
            held=held or outcome.held,
            pressure_row=pressure_row,
            growth=self._growth_until(request.today),
            closed=gathered.closed,
            problems=gathered.bound.problems,
            failed=outcome.failed,
            left_alone=outcome.left_alone,
            did=outcome.did,
            keys_file=keys_file,
        )

    def _remember_finished(
        self,
        request: SweepInvocation,
        plan: SweepPlan,
        gathered: Gathered,
        outcome: Outcome,
        *,
        held: str | None,
    ) -> None:
        """Remembers of the date that nothing is left to do, if it is so, for its later runs."""
        if not held and may_be_enough(request) and has_finished(plan, gathered, outcome):
            mark = mark_of(gathered.night.evidence, self.policy, request.mode)
            self.adapters.ledger.remember(request.today, finished=mark)

    def _act(self, plan: SweepPlan, gathered: Gathered) -> Outcome:
        """Applies a plan, and remembers how many keys it parked, also of a run that fails.

        Without that number watch_capacity would alert on missing keys.
        """
        sweeper = self._sweeper(plan.today, gathered.night.rows, gathered.bound)
        sweeper.finish_restores(gathered.unfinished, plan)
        try:
            night = gathered.night
            return sweeper.apply(
                plan, called_while_disabled(night.keys, night.rows, night.evidence)
            )
        finally:
            parked = (
                gathered.night.stepped[SweepAction.PARK] + sweeper.outcome.applied[SweepAction.PARK]
            )
            self.adapters.ledger.remember(plan.today, parked=parked)

    def undo(self, request: SweepInvocation, day: date) -> dict[str, Any]:
        """Takes back what the sweeps of a date did."""
        self.adapters.ledger.remember(request.today, finished=None)
        rows, bound = gather_for_undo(request.today, self.adapters, self.policy)
        outcome = self._sweeper(request.today, rows, bound).undo(day, request.key_ids)
        count(outcome)
        # What failed is left over too: an operator has to see it.
        return answer(
            request,
            applied=outcome.counts,
            remaining=outcome.remaining + len(outcome.failed),
            failed=outcome.failed,
            left_out=outcome.left_out,
            left_alone=outcome.left_alone,
            did=outcome.did,
        )

    def _sweeper(self, today: date, rows: Mapping[str, Row], bound: BoundPolicy) -> Sweeper:
        return Sweeper(today, rows, self.adapters, bound, self.deadline, self.gateway_clock)

    def _growth_until(self, today: date) -> Growth | None:
        """Growth in keys a day, by the counts of the last weeks; None if there are too few."""
        counts = self.adapters.ledger.counts(today - DAY * DAYS, today)
        keys = {day: row.keys for day, row in counts.items()}
        return forecast(keys, self.policy.service_quota, today).growth


def allowed(request: SweepInvocation, adapters: Adapters) -> SweepInvocation:
    """The request, or one that only observes and says why; raises what keeps an approval from acting.

    A look at an older date leaves no trace. That no person would be told is remembered of the night.
    """
    if request.mode is Mode.OBSERVE:
        return request
    try:
        check_may_act(request.today, adapters)
    except (OlderDate, NotHeard) as err:
        if request.approve is not None:
            raise
        logger.warning(str(err))
        heard = isinstance(err, OlderDate)
        if not heard and request.is_near:
            adapters.ledger.remember(request.today, observed_because=str(err))
        return replace(
            request,
            mode=Mode.OBSERVE,
            observed_because=str(err),
            is_near=request.is_near and not heard,
        )
    return request


def write_down(
    request: SweepInvocation,
    plan: SweepPlan,
    pressure_row: PressureRow,
    gathered: Gathered,
    adapters: Adapters,
) -> str:
    """Writes the keys file of the night and the state of the pressure rules, in `observe` too.

    Gives the name of the file. A look at an old night takes nothing from what a later one has said, a
    later run of a date nothing from what an earlier one has parked (only its lines tell of those keys),
    and a dry run nothing from a sweep that acted: it has a file of its own from then on.
    """
    known = adapters.ledger.pressure_row()
    if known is None or known.date <= plan.today:
        adapters.ledger.put_pressure_row(pressure_row)
    history = adapters.history
    earlier = history.keys(plan.today) if gathered.night.stepped[SweepAction.PARK] else ()
    parked = [line for line in earlier if line["key_id"] in gathered.parked_ids]
    lines = with_parked(key_lines(plan), parked)
    if request.dry_run and adapters.ledger.night(plan.today).swept:
        return history.put_dry_run(plan.today, lines)
    return history.put_keys(plan.today, lines)


def count(outcome: Outcome, **more: int) -> None:
    """Metrics of a run; none has a key id as a dimension."""
    more["TombstonesUnopened"] = outcome.unopened
    more["StepsFailed"] = len(outcome.failed)
    for name, number in more.items():
        metrics.add_metric(name, MetricUnit.Count, number)
