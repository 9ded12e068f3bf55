"""Counts the account's keys, forecasts, and sends each alert once."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from keyjanitor.adapters import wiring
from keyjanitor.adapters.ledger import COUNT
from keyjanitor.adapters.settings import WatchSettings
from keyjanitor.domain.capacity.alert_text import write
from keyjanitor.domain.capacity.alerting import Situation, due_alerts
from keyjanitor.domain.capacity.counting import by_state, by_tier, loosely_bound, silent_plans
from keyjanitor.domain.capacity.forecast import DAYS, forecast
from keyjanitor.domain.expiry.notice import digest_days, oldest_untold
from keyjanitor.domain.expiry.regret import REGRET_DAYS, regret
from keyjanitor.domain.expiry.response import heading, running
from keyjanitor.domain.model.alert import Alert
from keyjanitor.domain.model.invocation import Invocation
from keyjanitor.domain.model.keys import DAY, ApiKey, State, SweepAction
from keyjanitor.domain.model.policy import BoundPolicy, Policy
from keyjanitor.domain.model.records import AlertState, CountRow, NightRow, PendingAlert, Row
from keyjanitor.domain.requests.census import BURST_ENDS
from keyjanitor.domain.usage.evidence import Evidence
from keyjanitor.errors import AccessDenied, AlreadyRunning, CallFailed
from keyjanitor.services.lease import lease
from keyjanitor.services.ports import (
    AlertStore,
    DeadLetterQueues,
    WatchGateway,
    WatchHistory,
    WatchLedger,
    WatchTopic,
)

WEEK = 7
SWEEPS_LOOKED_FOR = 3  # days
OWNERS = 5  # that are named, those with the most keys
MAX_WRITE_ATTEMPTS = 5

logger = Logger(child=True)


class Adapters(NamedTuple):
    """Everything that watch_capacity talks to."""

    gateway: WatchGateway
    ledger: WatchLedger
    alert_store: AlertStore
    history: WatchHistory
    topic: WatchTopic
    dead_letters: DeadLetterQueues

    @classmethod
    def of(cls, settings: WatchSettings) -> "Adapters":
        ledger = wiring.ledger(settings.ledger_table)
        return cls(
            gateway=wiring.gateway_of_the_night(settings.calls_per_second, ledger),
            ledger=ledger,
            alert_store=wiring.alert_store(settings.ledger_table),
            history=wiring.history(settings.history_bucket),
            topic=wiring.alert_topic(settings),
            dead_letters=wiring.dead_letters(settings.dead_letter_queues),
        )


@dataclass(frozen=True, slots=True)
class CapacityReading:
    """Result of one count: the situation for alerts, and numbers for metrics."""

    situation: Situation
    regret: float | None  # of a hundred keys that were disabled or parked, how many came back
    evidence_age: int | None  # days
    untold_days: int = 0  # since the oldest event or digest could not be sent


def serve(
    request: Invocation,
    adapters: Adapters,
    policy: Policy,
    context: LambdaContext,
    now: Callable[[], datetime],
) -> tuple[dict[str, Any], dict[str, float]]:
    """One look, told and measured: the answer, and the metrics by name.

    A second run at once answers `running` and measures nothing.
    """
    try:
        with lease(adapters.ledger, COUNT, now(), context):
            return watch(request, adapters, policy, context, now)
    except AlreadyRunning as err:
        logger.info(str(err))
        return running(request.time, err), {}


def watch(
    request: Invocation,
    adapters: Adapters,
    policy: Policy,
    context: LambdaContext,
    now: Callable[[], datetime],
) -> tuple[dict[str, Any], dict[str, float]]:
    """Looks, tells and measures; raises what the adapters raise."""
    found = take_count(request.today, now(), adapters, policy)
    until = now() + timedelta(milliseconds=context.get_remaining_time_in_millis())
    told = publish_alerts(found.situation, adapters, policy, now, until)
    count, seen = found.situation.count, found.situation.forecast
    answer = {
        **heading(request.time),
        "keys": count.keys,
        "share": round(count.keys / policy.service_quota, 4),
        "tiers": dict(count.tiers),
        "states": dict(count.states),
        "usage_plans": count.plans,
        "growth": seen.growth and round(seen.growth.a_day, 2),
        "days_to_limit": seen.days,
        "alerts": [{"kind": one.kind, "subject": one.subject} for one in told],
    }
    return answer, metrics_of(found, policy)


def take_count(today: date, now: datetime, adapters: Adapters, policy: Policy) -> CapacityReading:
    """Counts the account, writes the count down, and gathers all that an alert should say."""
    lease_until = adapters.ledger.lease_until()
    keys = adapters.gateway.keys()
    plans = adapters.gateway.usage_plans()
    rows = adapters.ledger.rows_to_count()
    latest = adapters.history.latest_evidence(today)
    before = adapters.history.evidence_before(latest.day) if latest else None
    nights = adapters.ledger.nights(today - DAY * REGRET_DAYS, today)
    # What a sweep parks is written down when it ends.
    sweeping = lease_until is not None and lease_until > now
    if lease_until is not None and not sweeping:
        nights = _with_unwritten(today, nights, adapters.ledger)
    bound = loosely_bound(policy, latest)
    count = _count(today, keys, len(plans), rows, _freed(nights.get(today)), latest, bound)
    count = replace(count, at=now)
    adapters.ledger.put_count(count)
    counts = {**adapters.ledger.counts(today - DAY * DAYS, today), today: count}
    week_ago = counts.get(today - DAY * WEEK)
    yesterday = next((counts[day] for day in sorted(counts, reverse=True) if day < today), None)
    situation = Situation(
        today=today,
        count=count,
        yesterday=yesterday,
        freed_since=None if sweeping else _freed_since(yesterday, nights),
        made_since=_made_since(yesterday, keys),
        forecast=forecast(
            {day: row.keys for day, row in counts.items()}, policy.service_quota, today
        ),
        owners=_biggest_owners(rows),
        growing=_growing(week_ago, count),
        pressure_row=adapters.ledger.pressure_row(),
        swept_on=_swept_on(today, nights),
        held=adapters.ledger.hold(),
        unread=_unread(latest, before),
        silent=silent_plans(latest, bound),
        dead_letters=adapters.dead_letters.message_counts(),
        unconfirmed=adapters.topic.unconfirmed(),
        policy_problems=_policy_problems(rows, bound),
        bursts=[one for one in adapters.ledger.bursts() if now - one.last <= BURST_ENDS],
        at=datetime.combine(today, now.time(), now.tzinfo),
    )
    return CapacityReading(
        situation,
        regret=regret(today, rows, nights).percent,
        evidence_age=(today - latest.day).days if latest else None,
        untold_days=_untold_days(today, rows, adapters.ledger),
    )


def _count(
    today: date,
    keys: Sequence[ApiKey],
    plans: int,
    rows: Mapping[str, Row],
    freed: int,
    latest: Evidence | None,
    bound: BoundPolicy,
) -> CountRow:
    """The count of today, as it is written down."""
    return CountRow(
        date=today,
        keys=len(keys),
        plans=plans,
        issued=sum(row.issued and row.adopted_on == today for row in rows.values()),
        freed=freed,
        tiers=dict(by_tier(keys, rows, latest, bound)),
        states=dict(by_state(keys, rows)),
    )


def _made_since(before: CountRow | None, keys: Iterable[ApiKey]) -> int:
    """The keys that were made after the day of a count."""
    if before is None:
        return 0
    return sum(key.created_date.date() > before.date for key in keys)


def _growing(week_ago: CountRow | None, count: CountRow) -> dict[str, int]:
    """Growth of each tier in keys over a week; empty if there is no count of a week ago."""
    if week_ago is None:
        return {}
    return {tier: number - week_ago.tiers.get(tier, 0) for tier, number in count.tiers.items()}


def _biggest_owners(rows: Mapping[str, Row]) -> list[tuple[str, int]]:
    owners = Counter(row.owner for row in rows.values() if row.owner is not None)
    return owners.most_common(OWNERS)


def _swept_on(today: date, nights: Mapping[date, NightRow]) -> date | None:
    """The date of the last sweep of the last days, if there was one."""
    oldest = today - DAY * SWEEPS_LOOKED_FOR
    return max(
        (one.date for one in nights.values() if one.swept and one.date >= oldest), default=None
    )


def _untold_days(today: date, rows: Mapping[str, Row], ledger: WatchLedger) -> int:
    """For how many days the oldest event, or the oldest digest of warnings, could not be sent."""
    nights = ledger.nights_of(digest_days(rows.values()))
    since = oldest_untold(rows.values(), ledger.unsent(), nights)
    return max(0, (today - since).days) if since else 0


def publish_alerts(
    situation: Situation,
    adapters: Adapters,
    policy: Policy,
    now: Callable[[], datetime],
    until: datetime,
) -> list[Alert]:
    """Publishes what is new, and what an earlier run could not; gives what was published.

    What is to be told is written down before, by one of two runs at once, and stays written until
    it was published: it is told at least once.
    """
    for _ in range(MAX_WRITE_ATTEMPTS):
        state = adapters.alert_store.read()
        told, after = due_alerts(situation, state, policy)
        place = adapters.topic.place
        drafts = [write(one, situation, policy, state, after) for one in told]
        fresh = [_pending(draft.at(place), until) for draft in drafts]
        # What another run may be publishing right now is left to it.
        mine = [replace(one, not_before=until) for one in state.pending if one.not_before <= now()]
        others = [one for one in state.pending if one.not_before > now()]
        if not fresh and not mine:
            return []
        written = adapters.alert_store.write(replace(after, pending=(*others, *mine, *fresh)))
        if written is not None:
            return _publish([*mine, *fresh], written, adapters)
    logger.info("another run publishes these alerts")
    return []


def _publish(alerts: Sequence[PendingAlert], state: AlertState, adapters: Adapters) -> list[Alert]:
    published: list[Alert] = []
    done: set[str] = set()
    for one in alerts:
        alert = Alert(one.kind, one.severity, one.subject, one.text, dict(one.form))
        try:
            adapters.topic.publish(alert)
        except (AccessDenied, CallFailed) as err:
            logger.error("the alert %r waits for the next run: %s", one.subject, err)
            continue
        published.append(alert)
        done.add(one.alert_id)
    failed = {one.alert_id for one in alerts} - done
    for _ in range(MAX_WRITE_ATTEMPTS):
        left = tuple(
            replace(one, not_before=datetime.min.replace(tzinfo=one.not_before.tzinfo))
            if one.alert_id in failed
            else one
            for one in state.pending
            if one.alert_id not in done
        )
        if adapters.alert_store.write(replace(state, pending=left)) is not None:
            break
        state = adapters.alert_store.read()
    return published


def _pending(alert: Alert, until: datetime) -> PendingAlert:
    return PendingAlert(
        alert_id=uuid4().hex,
        kind=alert.kind,
        severity=alert.severity,
        subject=alert.subject,
        text=alert.text,
        form=alert.form,
        not_before=until,
    )


def _freed(night: NightRow | None) -> int:
    return night.parked + night.revoked if night else 0


def _freed_since(before: CountRow | None, nights: Mapping[date, NightRow]) -> int:
    """The keys that we deleted since a count: what it had seen of them is not among them."""
    if before is None:
        return 0
    later = sum(_freed(night) for day, night in nights.items() if day > before.date)
    return later + max(0, _freed(nights.get(before.date)) - before.freed)


def _with_unwritten(
    today: date, nights: Mapping[date, NightRow], ledger: WatchLedger
) -> dict[date, NightRow]:
    """The nights, with what a sweep that died has parked, which is on the shelf alone."""
    counted = dict(nights)
    for day in (today - DAY, today):
        night = counted.get(day, NightRow(day))
        parked = ledger.parked_keys(day).stepped.get(SweepAction.PARK, 0)
        counted[day] = replace(night, parked=max(night.parked, parked))
    return counted


def _policy_problems(rows: Mapping[str, Row], bound: BoundPolicy) -> dict[str, str]:
    """The places in the policy because of which keys are unknown, and why."""
    tiers = bound.policy.tiers
    lost = Counter(row.tier for row in rows.values() if row.issued and row.tier not in tiers)
    return {one.path: one.reason for one in bound.problems} | {
        f"tiers.{name}": f"is missing, and {count} of the keys were issued in it"
        for name, count in lost.items()
    }


def _unread(latest: Evidence | None, before: Evidence | None) -> dict[str, str]:
    """The plans that were read neither tonight nor the night before, and why."""
    if latest is None or before is None:
        return {}
    return {
        plan_id: plan.unread
        for plan_id, plan in latest.plans.items()
        if plan.unread is not None
        and plan_id in before.plans
        and before.plans[plan_id].unread is not None
    }


def metrics_of(one: CapacityReading, policy: Policy) -> dict[str, float]:
    """The metrics of one count, by name; a number that is not known is left out."""
    situation = one.situation
    count, seen = situation.count, situation.forecast
    days = None if seen.growth is None else (seen.days if seen.days is not None else 730)
    known: dict[str, Any] = {
        "CapacityCounted": 1,
        "ApiKeys": count.keys,
        "QuotaShare": round(100 * count.keys / policy.service_quota, 2),
        "DaysToLimit": days,
        "KeysWarned": count.states.get(State.WARNED, 0),
        "KeysDisabled": count.states.get(State.DISABLED, 0),
        "KeysFreedToday": count.freed,
        "KeysIssuedToday": count.issued,
        "UsagePlans": count.plans,
        "UsageAge": one.evidence_age,
        "UntoldDays": one.untold_days,
        "Regret": one.regret,
    }
    return {name: value for name, value in known.items() if value is not None}
