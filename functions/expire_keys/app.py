"""Every night: judge every key by tonight's evidence; warn, disable, park and purge what is due."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from keyjanitor import __version__
from keyjanitor.adapters.alert_topic import Topic
from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.clients import client, gateway_client
from keyjanitor.adapters.dynamodb import Table
from keyjanitor.adapters.event_bus import Bus
from keyjanitor.adapters.history_bucket import History
from keyjanitor.adapters.kms import Sealer
from keyjanitor.adapters.ledger import SWEEP, Ledger
from keyjanitor.adapters.ownership import Owners
from keyjanitor.adapters.rate_limiter import Pace
from keyjanitor.adapters.settings import SweepSettings, read_policy
from keyjanitor.adapters.system_clock import now
from keyjanitor.domain.capacity.forecast import DAYS, Growth, forecast
from keyjanitor.domain.expiry.keys_file import key_lines, with_parked
from keyjanitor.domain.expiry.ladder import climb
from keyjanitor.domain.expiry.response import answer, running
from keyjanitor.domain.expiry.sweep_plan import Plan
from keyjanitor.domain.expiry.verdicts import decide
from keyjanitor.domain.model.invocation import Clock, SweepRequest
from keyjanitor.domain.model.keys import DAY, Mode, Verb
from keyjanitor.domain.model.records import LadderRow
from keyjanitor.errors import AlreadyRunning, NotHeard, OlderDate
from keyjanitor.services.deadline import Deadline
from keyjanitor.services.expire_keys.apply import Sweeper
from keyjanitor.services.expire_keys.brake import Checked, check, compared
from keyjanitor.services.expire_keys.gather import Gathered, Outside, gather, gather_for_undo
from keyjanitor.services.expire_keys.may_act import check_may_act
from keyjanitor.services.expire_keys.sweep_state import Outcome
from keyjanitor.services.lease import lease

logger = Logger(code_version=__version__)
metrics = Metrics()
policy = read_policy()
settings = SweepSettings.read()
outside = Outside(
    gateway=ApiGateway(gateway_client(), Pace(settings.calls_per_second)),
    owners=Owners(client("resourcegroupstaggingapi"), client("cloudformation")),
    ledger=Ledger(Table(client("dynamodb"), settings.ledger_table)),
    history=History(client("s3"), settings.history_bucket),
    sealer=Sealer(client("kms"), settings.sealing_key_arn),
    bus=Bus(client("events"), settings.event_bus),
    topic=Topic(client("sns"), settings.alert_topic_arn),
)


@logger.inject_lambda_context
@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """One sweep, or what an operator asked for: a hold, its end, an approval, an undo."""
    metrics.add_metric("SweepFinished", MetricUnit.Count, 0)  # until it has
    run = SweepRequest.parse(event, settings.mode, Clock(now(), settings.replay_window_hours))
    if run.hold is not None:
        outside.ledger.put_hold(run.hold, now())
        return answer(run, held=run.hold)
    if run.resume:
        outside.ledger.lift_hold()
        return answer(run)
    deadline = Deadline.before_the_end_of(context)
    try:
        with lease(outside.ledger, SWEEP, now(), context):
            if run.undo is not None:
                return undo(run, run.undo, deadline)
            return sweep(run, deadline)
    except AlreadyRunning as err:
        if run.approve is not None or run.undo is not None:
            raise  # an operator has to send it again
        # The scheduler delivers at least once: the other run does it all.
        logger.info(str(err))
        return running(run.time, err)


def sweep(run: SweepRequest, deadline: Deadline) -> dict[str, Any]:
    """Gather, decide, check, apply."""
    held = outside.ledger.hold()
    if not held:
        run = allowed(run)
    mode = Mode.OBSERVE if held else run.mode
    gathered = gather(run.today, outside, policy, acting=mode is not Mode.OBSERVE)
    plan = decide(gathered.night, gathered.bound)
    ladder = climb(gathered.night, gathered.bound, plan)
    comparison = compared(plan, gathered.night, gathered.bound, outside.history)
    outcome, checked = Outcome(), Checked(plan, comparison.brake)
    if mode is not Mode.OBSERVE:
        outside.ledger.remember(run.today, swept=True, observed_because=None)
        checked = check(plan.for_mode(mode), comparison, run, outside)
    plan = checked.plan
    if run.is_near:
        write_down(plan, ladder, gathered)
    if mode is not Mode.OBSERVE:
        outcome = act(run, plan, gathered, deadline)
    outcome.unopened += len(gathered.closed) or (not gathered.night.tombstones_open)
    count(outcome, SweepFinished=1, Keys=len(plan.verdicts))
    return answer(
        run,
        mode=mode,
        plan=plan,
        applied=outcome.counts,
        remaining=outcome.remaining,
        comparison=comparison,
        brake=checked.brake,
        saved=checked.saved,
        approved=checked.approved if run.approve else None,
        held=held or outcome.held,
        ladder=ladder,
        growth=growth_until(run.today),
        closed=gathered.closed,
        problems=gathered.bound.problems,
        failed=outcome.failed,
        left_alone=outcome.left_alone,
    )


def allowed(run: SweepRequest) -> SweepRequest:
    """The run, or one that only observes and says why; raises what keeps an approval from acting.

    A look at an older date leaves no trace. That no person would be told is remembered of the night.
    """
    if run.mode is Mode.OBSERVE:
        return run
    try:
        check_may_act(run.today, outside)
    except (OlderDate, NotHeard) as err:
        if run.approve is not None:
            raise
        logger.warning(str(err))
        heard = isinstance(err, OlderDate)
        if not heard and run.is_near:
            outside.ledger.remember(run.today, observed_because=str(err))
        return replace(
            run,
            mode=Mode.OBSERVE,
            observed_because=str(err),
            is_near=run.is_near and not heard,
        )
    return run


def write_down(plan: Plan, ladder: LadderRow, gathered: Gathered) -> None:
    """What is told of the night, in `observe` too: the verdict on every key, and the ladder.

    A look at an old night takes nothing from what a later one has said, and a later run of a date
    nothing from what an earlier one has parked: only its lines tell of those keys.
    """
    known = outside.ledger.ladder()
    if known is None or known.date <= plan.today:
        outside.ledger.put_ladder(ladder)
    earlier = outside.history.keys(plan.today) if gathered.night.stepped[Verb.PARK] else ()
    parked = [line for line in earlier if line["key_id"] in gathered.parked_ids]
    outside.history.put_keys(plan.today, with_parked(key_lines(plan), parked))


def act(run: SweepRequest, plan: Plan, gathered: Gathered, deadline: Deadline) -> Outcome:
    """Applies a plan, and remembers how many keys it parked, also of a run that fails.

    Else they would be missed, as if somebody had deleted them.
    """
    rows, bound = gathered.night.rows, gathered.bound
    sweeper = Sweeper(plan.today, rows, outside, bound, deadline, clock(run))
    sweeper.finish_restores(gathered.unfinished, plan)
    try:
        return sweeper.apply(plan)
    finally:
        parked = gathered.night.stepped[Verb.PARK] + sweeper.outcome.applied[Verb.PARK]
        outside.ledger.remember(plan.today, parked=parked)


def growth_until(today: date) -> Growth | None:
    """How the account grows, by the counts of the last weeks; None: nobody knows yet."""
    counts = outside.ledger.counts(today - DAY * DAYS, today)
    keys = {day: row.keys for day, row in counts.items()}
    return forecast(keys, policy.service_quota, today).growth


def undo(run: SweepRequest, day: date, deadline: Deadline) -> dict[str, Any]:
    """Takes back what the sweeps of a date did."""
    rows, bound = gather_for_undo(run.today, outside, policy)
    sweeper = Sweeper(run.today, rows, outside, bound, deadline, clock(run))
    outcome = sweeper.undo(day, run.key_ids)
    count(outcome)
    # What failed is left over too: an operator has to see it.
    return answer(
        run,
        applied=outcome.counts,
        remaining=outcome.remaining + len(outcome.failed),
        failed=outcome.failed,
        left_out=outcome.left_out,
        left_alone=outcome.left_alone,
    )


def clock(run: SweepRequest) -> Callable[[], datetime]:
    """The clock that API Gateway's dates follow: the real one, but in a simulation the event's."""
    return now if settings.replay_window_hours else lambda: run.time


def count(outcome: Outcome, **more: int) -> None:
    """Metrics of a run; none has a key id as a dimension."""
    more["TombstonesUnopened"] = outcome.unopened
    more["StepsFailed"] = len(outcome.failed)
    for name, number in more.items():
        metrics.add_metric(name, MetricUnit.Count, number)
