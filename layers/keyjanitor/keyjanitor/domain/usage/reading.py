"""Reduces what one night read of API Gateway, and the reading before it, to evidence. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date

from keyjanitor.domain.model.keys import DAY
from keyjanitor.domain.usage.evidence import (
    FORGET_AFTER,
    Evidence,
    Told,
    UsagePlanAnswer,
    UsagePlanReading,
    known_ids,
    may_be_value,
)
from keyjanitor.domain.usage.plan_usage import EDGE_DAYS, HISTORY_DAYS, USAGE_DAYS, PlanUsage

# A later reading may correct a number. Counted requests do not disappear: if a plan's answer has over 1 %
# fewer requests for the same days, it is incomplete.
TOLERANCE = 0.01
CLEARLY = 20  # requests; a smaller number may be missing by chance
STRANGERS = 5_000  # ids of no plan whose last use is kept


def take_evidence(
    today: date, answers: Iterable[UsagePlanAnswer], before: Evidence | None
) -> tuple[Evidence, dict[str, PlanUsage]]:
    """Tonight's evidence from tonight's answers and the evidence before it (None: the first).

    Also gives the usage of the plans that were read, for the history.
    """
    # Sort, so that the order of the answers does not decide which of two tiers with equal limits a key gets.
    answers = sorted(answers, key=lambda answer: answer.plan.usage_plan_id)
    readings: dict[str, UsagePlanReading] = {}
    usages: dict[str, PlanUsage] = {}
    known_before = known_ids(before)
    members_tonight = {key_id for answer in answers for key_id in answer.members or ()}
    known = members_tonight | known_before
    named_gone: set[str] = set()

    for answer in answers:
        plan_id, usage = answer.plan.usage_plan_id, answer.usage
        reading = _read_members(answer, before)
        unread = answer.failed
        unknown = 0
        if usage is not None:
            strangers = usage.ids - known
            unknown = len(strangers) + usage.odd_ids
            named_gone |= (usage.ids & known) - members_tonight
            if unread is None:
                told = before.told.get(plan_id) if before else None
                unread = _not_believed(usage, strangers, reading, told)
            if unread is None:
                usages[plan_id] = usage
        readings[plan_id] = replace(reading, unread=unread, unknown_ids=unknown)

    quota_since, stages_since = _since(today, readings, before)
    evidence = Evidence(
        day=today,
        first_day=_first_day(today, before),
        complete_since=_complete_since(today, readings, before),
        plans=readings,
        used_by_day=_sum_by_day(usages.values()),
        gone=frozenset(named_gone),
        read_through=_read_through_of_plans(usages, readings, before),
        told=_told(today, usages, known, readings, before),
        quota_since=quota_since,
        stages_since=stages_since,
        first_days=_first_days(today, usages, readings, before),
    )
    evidence = _with_witnesses(evidence, usages, before)
    evidence = _carry_forward(evidence, answers, known, before)
    return _with_doubts(evidence, answers, before), usages


def _not_believed(
    usage: PlanUsage, strangers: set[str], reading: UsagePlanReading, told: Told | None
) -> str | None:
    """Reason why a complete answer is not accepted as a reading of the plan; None: it is accepted.

    API Gateway returns the same requests every night for as long as usage reaches back. Not compared
    are the requests of keys that have left the plan since, of ids that are in no plan, and of keys
    whose days do not fit tonight.
    """
    unknown = len(strangers) + usage.odd_ids
    if unknown and strangers == usage.ids:
        # The answer may be keyed by something other than ids (seen: AF-305).
        return f"its usage names {unknown} ids and none is known"
    if told is None:
        return None
    stayed = set(reading.members) - usage.unclear
    aside = told.others + sum(
        used for key_id, used in zip(told.key_ids, told.used, strict=True) if key_id not in stayed
    )
    first, last = usage.start + DAY * EDGE_DAYS, min(told.through, usage.read_through)
    if last < first:  # the last reading is so old that the two have no day in common
        lost = told.others + sum(told.used) > aside and not usage.had_requests
        return f"its usage tells no requests since the reading of {told.day}" if lost else None
    before = sum(used for day, used in told.by_day.items() if first <= day <= last)
    tonight = sum(used for day, used in usage.used_by_day.items() if first <= day <= last)
    # The keys that stay have at least `at_least` requests, and about `about` if `aside` is of the same days.
    at_least = (before - aside) * (1 - TOLERANCE)
    compared = sum(used for day, used in told.by_day.items() if day > told.first_compared)
    about = before - aside * min(1.0, before / compared) if compared else 0.0
    if tonight >= at_least and (about < CLEARLY or 2 * tonight >= about):
        return None
    return (
        f"its usage tells {tonight:,} requests where the reading of {told.day} told {before:,} "
        "for the same days"
    )


def _first_day(today: date, before: Evidence | None) -> date:
    """The first day from which on every day is covered, by tonight's evidence or by that before it.

    The evidence before covers the days until two before its own date. The days between those and the
    first day that GetUsage still returns were never read.
    """
    start = today - DAY * USAGE_DAYS
    if before is None or before.day - DAY < start:
        return start
    return before.first_day


def history_from(usage_plan_id: str, today: date, before: Evidence | None) -> date:
    """The first day of a plan's usage that tonight's usage files get, if it can be read.

    That is the day after the last one that was read, and at the latest HISTORY_DAYS ago: missed days
    are read later, as far as usage reaches back.
    """
    first = today - DAY * USAGE_DAYS
    if before is None:
        return first
    through = before.read_through.get(usage_plan_id)
    if through is None:
        reading = before.plans.get(usage_plan_id)
        if reading is not None and reading.unread is not None:
            return first
        through = (
            before.day - DAY
        )  # the plan is new, or the evidence is of a version that does not say
    return max(first, min(today - DAY * HISTORY_DAYS, through + DAY))


def _read_through_of_plans(
    usages: Mapping[str, PlanUsage],
    readings: Mapping[str, UsagePlanReading],
    before: Evidence | None,
) -> dict[str, date]:
    earlier = before.read_through if before else {}
    told = {plan_id: usage.read_through for plan_id, usage in usages.items()}
    return {plan_id: day for plan_id, day in {**earlier, **told}.items() if plan_id in readings}


def _read_members(answer: UsagePlanAnswer, before: Evidence | None) -> UsagePlanReading:
    plan = answer.plan
    earlier = before.plans.get(plan.usage_plan_id) if before else None
    reading = UsagePlanReading(
        usage_plan_id=plan.usage_plan_id,
        name=plan.name,
        stages=tuple(plan.stages),
        has_quota=plan.has_quota,
        members=answer.members or (),
        members_read=answer.members is not None,
    )
    if answer.members is None:
        return replace(reading, members=earlier.members if earlier else ())
    if not answer.members and earlier and earlier.members and not earlier.emptied:
        # An empty answer does not prove that a plan is empty (seen: AF-208). The second in a row is accepted.
        return replace(reading, members=earlier.members, members_read=False, emptied=True)
    return reading


def _complete_since(
    today: date, readings: Mapping[str, UsagePlanReading], before: Evidence | None
) -> date | None:
    # An emptied plan keeps its former members in the evidence, so it hides no key's membership.
    if not all(reading.members_read or reading.emptied for reading in readings.values()):
        return None
    if before is not None and before.day == today - DAY and before.complete_since is not None:
        return before.complete_since
    return today


def _told(
    today: date,
    usages: Mapping[str, PlanUsage],
    known: set[str],
    readings: Mapping[str, UsagePlanReading],
    before: Evidence | None,
) -> dict[str, Told]:
    """Requests of each plan by its last good reading; readings older than 400 days are dropped."""
    told = {
        plan_id: one
        for plan_id, one in (before.told if before else {}).items()
        if plan_id in readings and one.day >= today - FORGET_AFTER
    }
    for plan_id, usage in usages.items():
        by_day = {day: used for day, used in usage.used_by_day.items() if day <= usage.read_through}
        key_ids = tuple(sorted(usage.used.keys() & known))
        used = tuple(usage.used[key_id] for key_id in key_ids)
        others = sum(usage.used.values()) + usage.odd_used - sum(used)
        since = None if usage.start == today - DAY * USAGE_DAYS else usage.start
        told[plan_id] = Told(today, usage.read_through, by_day, key_ids, used, others, since)
    return told


def _since(
    today: date, readings: Mapping[str, UsagePlanReading], before: Evidence | None
) -> tuple[dict[str, date], dict[str, date]]:
    """The first night of each plan's present quota (or lack of one) and stages; left out: no change was seen."""
    quota: dict[str, date] = {}
    stages: dict[str, date] = {}
    if before is None:
        return quota, stages
    for plan_id, reading in readings.items():
        earlier = before.plans.get(plan_id)
        if earlier is None:
            continue
        for since, known, same in (
            (quota, before.quota_since, earlier.has_quota == reading.has_quota),
            (stages, before.stages_since, set(earlier.stages) == set(reading.stages)),
        ):
            if not same:
                since[plan_id] = today
            elif plan_id in known:
                since[plan_id] = known[plan_id]
    return quota, stages


def _first_days(
    today: date,
    usages: Mapping[str, PlanUsage],
    readings: Mapping[str, UsagePlanReading],
    before: Evidence | None,
) -> dict[str, date]:
    """The first day after the last gap of each plan that has had one.

    A gap is the days between the last one that was read and the first one that GetUsage still returns,
    also the days before a first answer that goes back less far than asked. A plan that opens no stage
    shows no use: that is a gap, too.
    """
    longest = today - DAY * USAGE_DAYS
    days: dict[str, date] = {}
    for plan_id, reading in readings.items():
        earlier = before.plans.get(plan_id) if before else None
        start = usages[plan_id].start if plan_id in usages else longest
        if not reading.stages:
            days[plan_id] = today
        elif before is None or earlier is None:
            if start > longest:
                days[plan_id] = start
        elif plan_id in usages and _read_through(plan_id, earlier, before) < start:
            days[plan_id] = max(start, before.first_days.get(plan_id, start))
        elif plan_id in before.first_days:
            days[plan_id] = before.first_days[plan_id]
    return days


def _read_through(plan_id: str, earlier: UsagePlanReading, before: Evidence) -> date:
    """The last day of a plan's usage that a reading before tonight's has."""
    if told := before.told.get(plan_id):
        return told.through
    # A file of version 1 has this day only for some plans, or only for the usage files.
    through = before.read_through.get(plan_id)
    if through is None and earlier.unread is None:
        return before.day - DAY
    return through or date.min


def _with_witnesses(
    evidence: Evidence, usages: Mapping[str, PlanUsage], before: Evidence | None
) -> Evidence:
    """Adds the date of the last request in each plan and stage, with and without a quota."""
    oldest = evidence.day - FORGET_AFTER
    plans = {
        one: on for one, on in (before.witnessed_plans if before else {}).items() if on >= oldest
    }
    stages = {one: on for one, on in (before.seen_stages if before else {}).items() if on >= oldest}
    for plan_id, usage in usages.items():
        reading, on = evidence.plans[plan_id], usage.last_request
        # A request before a change was made under the former quota and stages.
        if on is None or on < evidence.quota_since.get(plan_id, on):
            continue
        witness = plan_id, reading.has_quota
        plans[witness] = max(on, plans.get(witness, on))
        if on < evidence.stages_since.get(plan_id, on):
            continue
        for stage in reading.stages:
            witness = stage, reading.has_quota
            stages[witness] = max(on, stages.get(witness, on))
    return replace(evidence, witnessed_plans=plans, seen_stages=stages)


def _sum_by_day(usages: Iterable[PlanUsage]) -> dict[date, int]:
    total: dict[date, int] = {}
    for usage in usages:
        for day, used in usage.used_by_day.items():
            total[day] = total.get(day, 0) + used
    return total


def _carry_forward(
    evidence: Evidence,
    answers: Sequence[UsagePlanAnswer],
    known: set[str],
    before: Evidence | None,
) -> Evidence:
    """Adds what is known of each key: from the evidence before, and from tonight's answers."""
    today = evidence.day
    oldest = today - FORGET_AFTER
    in_plans = evidence.plans_of_key()
    in_plans_before = before.plans_of_key() if before else {}

    left: dict[str, date] = {}
    changed: dict[str, date] = {}
    appeared: dict[str, date] = {}
    last_used: dict[str, date] = {}
    strangers: dict[str, date] = {}
    if before is not None:
        left.update(
            {k: on for k, on in before.left_plans_on.items() if k not in in_plans and on >= oldest}
        )
        left.update({k: before.day for k in in_plans_before if k not in in_plans})
        changed.update({k: on for k, on in before.plans_changed.items() if on >= oldest})
        appeared.update({k: on for k, on in before.first_in_plan_on.items() if on >= oldest})
        known_before = in_plans_before.keys() | before.left_plans_on.keys()
        for key_id in _moved(in_plans, in_plans_before, before):
            (changed if key_id in known_before else appeared)[key_id] = today
        keep = in_plans.keys() | left.keys()
        last_used.update({k: on for k, on in before.last_used.items() if k in keep})
        strangers.update({k: on for k, on in before.strangers.items() if on >= oldest})
    for usage in (answer.usage for answer in answers):
        for key_id, on in usage.last_used.items() if usage else ():
            if key_id in known and on > last_used.get(key_id, date.min):
                last_used[key_id] = on
            if not (key_id in in_plans or key_id in left) and not may_be_value(key_id):
                strangers[key_id] = max(on, strangers.get(key_id, on))
    for key_id in strangers.keys() & (in_plans.keys() | left.keys()):
        on = strangers.pop(key_id)
        last_used[key_id] = max(on, last_used.get(key_id, on))
    latest = sorted(strangers, key=lambda key_id: (strangers[key_id], key_id))[-STRANGERS:]
    return replace(
        evidence,
        left_plans_on=left,
        plans_changed=changed,
        first_in_plan_on=appeared,
        last_used=last_used,
        strangers={key_id: strangers[key_id] for key_id in latest},
    )


def _moved(
    in_plans: Mapping[str, Collection[str]],
    in_plans_before: Mapping[str, Collection[str]],
    before: Evidence,
) -> Iterator[str]:
    """The ids of the keys that are in other plans than in the evidence before."""
    # If a plan's members were never read, a key that is in it now may have been in it before.
    blind = {p.usage_plan_id for p in before.plans.values() if not (p.members_read or p.members)}
    for key_id in in_plans.keys() | in_plans_before.keys():
        now = {plan for plan in in_plans.get(key_id, ()) if plan not in blind}
        if now != {plan for plan in in_plans_before.get(key_id, ()) if plan not in blind}:
            yield key_id


def _with_doubts(
    evidence: Evidence, answers: Sequence[UsagePlanAnswer], before: Evidence | None
) -> Evidence:
    """Adds the keys whose days tonight contradict each other, or the reading of before."""
    whole = {
        answer.plan.usage_plan_id: answer.usage
        for answer in answers
        if answer.usage is not None and answer.failed is None
    }
    shown = [answer.usage for answer in answers if answer.usage is not None]
    in_plans = evidence.plans_of_key()
    unclear = {
        key_id: plan_id
        for plan_id, usage in whole.items()
        for key_id in usage.unclear
        if key_id in in_plans
    }
    guessed = dict.fromkeys(unclear, evidence.day)
    if before is None:
        return replace(evidence, unclear=unclear, guessed=guessed)
    guessed = {
        key_id: on
        for key_id, on in {**before.guessed, **guessed}.items()
        if evidence.last_used.get(key_id) == on
    }
    untold = _untold(evidence, before, whole, shown, guessed)
    return replace(evidence, unclear=unclear, guessed=guessed, untold=untold)


def _untold(
    evidence: Evidence,
    before: Evidence,
    whole: Mapping[str, PlanUsage],
    shown: Sequence[PlanUsage],
    guessed: Mapping[str, date],
) -> dict[str, date]:
    """The keys whose last use an earlier reading had and tonight's should have but has not: with its day.

    `whole` has the accepted answers by the id of their plan, `shown` has all answers.
    """
    in_plans = evidence.plans_of_key()
    oldest, edge = evidence.day - FORGET_AFTER, evidence.day - DAY * (USAGE_DAYS - EDGE_DAYS)
    untold: dict[str, date] = {}
    for key_id, on in before.last_used.items():
        if on != evidence.last_used.get(key_id) or on == guessed.get(key_id) or on < oldest:
            continue
        if key_id not in in_plans or on <= max(
            evidence.plans_changed.get(key_id, date.min),
            evidence.first_in_plan_on.get(key_id, date.min),
        ):
            continue
        told = [whole[plan_id] for plan_id in in_plans[key_id] if plan_id in whole]
        if any(usage.last_used.get(key_id) == on for usage in told):
            continue
        is_expected = before.untold.get(key_id) == on or (
            on >= edge
            and len(told) == len(in_plans[key_id])
            and all(usage.start + DAY * EDGE_DAYS <= on <= usage.read_through for usage in told)
            and all(
                on > evidence.quota_since.get(plan_id, date.min) for plan_id in in_plans[key_id]
            )
        )
        # The key may have been used that day in a plan that it is not in tonight: then that plan has the use.
        if is_expected and not any(usage.last_used.get(key_id) == on for usage in shown):
            untold[key_id] = on
    return untold
