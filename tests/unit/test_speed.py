"""Ten thousand keys: the work of deciding over them, and what their history takes.

Work is counted in function calls and held against a smaller account's, so that no clock decides.
`make bench` measures the seconds of the same functions.
"""

import random
import string
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from io import BytesIO
from typing import Any

import pytest

from keyjanitor.adapters.history_bucket import HistoryBucket
from keyjanitor.domain.expiry.keys_file import WHOLE_NIGHTS, key_lines, thinned
from keyjanitor.domain.expiry.sweep_input import SweepInput
from keyjanitor.domain.expiry.verdicts import decide
from keyjanitor.domain.model.keys import ApiKey
from keyjanitor.domain.model.policy import BoundPolicy
from keyjanitor.domain.usage.evidence import UsagePlanAnswer
from keyjanitor.domain.usage.plan_usage import PlanUsage, UsagePage
from keyjanitor.domain.usage.reading import take_evidence
from keyjanitor.domain.usage.usage_file import UsageFiles
from sandbox.driver.population import EXTERNAL, TIERS, SimulatedKey, population
from tests.builders import (
    DAY,
    TODAY,
    YESTERDAY,
    a_disabled_row,
    a_key,
    a_night,
    a_policy,
    a_reading,
    a_row,
    a_tier,
    a_usage_plan,
    a_warned_row,
    an_evidence,
    bound,
    days_ago,
)
from tests.work import calls_of

KEYS = 10_000
CALLS_TO_DECIDE = 90  # for each key
CALLS_TO_WRITE = 320  # for each key: three days of usage, three keys files, one of them thinned
NO_STEEPER = 1.1  # ten times as many keys take at most eleven times the work


def an_account_to_judge(keys: int) -> tuple[SweepInput, BoundPolicy]:
    """A night over keys in every state of life, in three plans."""
    listed, rows, members, used = [], [], [[], [], []], {}  # type: ignore[var-annotated]
    for number in range(keys):
        key_id = f"k{number:06}"
        kind = number % 20
        disabled = kind == 2
        listed.append(
            a_key(
                key_id,
                age=kind * 20 + 5,
                enabled=not disabled,
                changed=5 if disabled else None,
                tags={"terraform": "1"} if kind == 3 else {},
            )
        )
        if kind == 1:
            rows.append(a_warned_row(key_id, disable_in=number % 7))
        elif disabled:
            rows.append(a_disabled_row(key_id, disabled=5, park_in=number % 7))
        else:
            rows.append(a_row(key_id, our_update=None))
        if kind:
            members[number % 3].append(key_id)
        if kind == 19:
            members[(number + 1) % 3].append(key_id)
        if kind > 6:
            used[key_id] = days_ago(number % 90)
    plans = [
        a_reading(*ids, usage_plan_id=f"plan{n}", name=name)
        for n, (ids, name) in enumerate(zip(members, ("external", "partners", "own"), strict=True))
    ]
    night = a_night(*listed, rows=rows, evidence=an_evidence(*plans, used=used))
    policy = a_policy(a_tier(), a_tier("partners", idle_days=80), a_tier("own", idle_days="never"))
    return night, bound(policy, night.evidence)


@pytest.mark.slow
def test_deciding_takes_the_same_few_calls_for_each_of_ten_thousand_keys_as_of_a_thousand() -> None:
    night, tied = an_account_to_judge(KEYS)
    plan = decide(night, tied)
    assert len(plan.verdicts) == KEYS
    assert plan.today == TODAY
    assert sum(count > 50 for count in plan.counts.values()) >= 3
    calls = calls_of(lambda: decide(night, tied)) / KEYS
    small_night, small_tied = an_account_to_judge(KEYS // 10)
    of_a_thousand = calls_of(lambda: decide(small_night, small_tied)) / (KEYS // 10)
    print(f"{calls:.1f} calls for each key, {of_a_thousand:.1f} of a tenth of them")  # noqa: T201
    assert 1 < calls < CALLS_TO_DECIDE
    assert calls < NO_STEEPER * of_a_thousand


# --- the history ------------------------------------------------------------------------------------

DAYS = 90
MEGABYTES = 20
# Keys of which a night says something else than the night before: 255 of 8,112 on the mean of 90
# nights of `make simulate` with 9,900 keys and 40 sign-ups a day.
CHANGING = 255 / 8_112


@cache
def account() -> dict[str, SimulatedKey]:
    """Keys with ids as random as API Gateway's, by their ids."""
    draw = random.Random(5)
    letters = string.ascii_lowercase + string.digits
    keys = population(KEYS, YESTERDAY).keys
    return {"".join(draw.choices(letters, k=10)): key for key in keys}


class Bucket:
    """An S3 that only keeps what it is given."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}

    def put_object(self, **request: Any) -> None:
        self.bodies[request["Key"]] = request["Body"]

    def get_object(self, **request: Any) -> dict[str, Any]:
        return {"Body": BytesIO(self.bodies[request["Key"]])}

    def size(self, prefix: str) -> float:
        """The mean size of a file, in megabytes."""
        sizes = [len(body) for name, body in self.bodies.items() if name.startswith(prefix)]
        return sum(sizes) / len(sizes) / 1e6


def read_usage() -> Iterator[UsagePlanAnswer]:
    """What a night reads of the last three days; a quota's rest is another for every key."""
    start = TODAY - DAY * 3
    for tier in TIERS:
        members = tuple(key_id for key_id, key in account().items() if tier.name in key.plans)
        stages = (f"x7hj2k9q1z:{tier.stage}",)
        plan = a_usage_plan(f"{tier.name[:3]}7h2", name=tier.name, stages=stages)
        usage = PlanUsage(plan, start, TODAY)
        told: dict[str, list[list[int]]] = {}
        for key_id in members:
            uses = account()[key_id].uses_from(TODAY.replace(day=1), TODAY.day)
            uses += [0] * (TODAY.day - len(uses))
            told[key_id] = [
                [used, max(0, 50_000 - sum(uses[: day + 1])) if tier is EXTERNAL else 0]
                for day, used in enumerate(uses)
            ][-4:]
        usage.add(UsagePage(start, TODAY, told))
        yield UsagePlanAnswer(plan, members, usage)


def lines_of_a_night() -> list[dict[str, Any]]:
    keys = [
        ApiKey(
            key_id=key_id,
            name=key.name,
            enabled=key.enabled,
            created_date=key.created,
            last_updated_date=key.updated or key.created,
            tags=key.tags,
        )
        for key_id, key in account().items()
    ]
    used = {key_id: key.last_used(YESTERDAY, DAYS) for key_id, key in account().items()}
    rows = [
        a_row(key_id, tier=(*key.plans, "unclaimed")[0], owner=key.customer_id, our_update=None)
        for key_id, key in account().items()
    ]
    plans = [
        a_reading(
            *(key_id for key_id, key in account().items() if tier.name in key.plans),
            usage_plan_id=f"{tier.name[:3]}7h2",
            name=tier.name,
        )
        for tier in TIERS
    ]
    evidence = an_evidence(*plans, used={key_id: day for key_id, day in used.items() if day})
    night = a_night(*keys, rows=rows, evidence=evidence)
    policy = a_policy(*(a_tier(tier.name) for tier in TIERS))
    return list(key_lines(decide(night, bound(policy, evidence))))


def the_next_night(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    changing = random.Random(6).sample(range(len(lines)), round(CHANGING * len(lines)))
    later = [
        {**one, "idle_days": (one["idle_days"] or 0) + 1, "reason": f"{one['reason']}, a day more"}
        for one in lines
    ]
    for index in changing:
        later[index]["verdict"] = "another"
    return later


@pytest.mark.slow
def test_the_history_of_ten_thousand_keys_and_90_days_is_under_20_mb() -> None:
    bucket = Bucket()
    history = HistoryBucket(bucket, "bucket")
    evidence, usages = take_evidence(TODAY, read_usage(), None)
    files = UsageFiles(evidence, usages, None)
    assert len(files.days) == 3
    for day in files.days:
        history.put_usage(day, files.rows(day, []))  # what an earlier night wrote
    lines = lines_of_a_night()
    assert len(lines) == KEYS
    next_lines = the_next_night(lines)

    def write_a_night() -> None:
        for day in files.days:
            history.put_usage(day, files.rows(day, history.usage(day)))
        history.put_keys(TODAY, lines)
        history.put_keys(TODAY + DAY, next_lines)
        old, after = history.keys(TODAY), history.keys(TODAY + DAY)
        history.put_keys(TODAY - timedelta(days=WHOLE_NIGHTS + 1), thinned(old, after))

    calls = calls_of(write_a_night) / KEYS

    thin = bucket.size(f"keys/dt={TODAY - timedelta(days=WHOLE_NIGHTS + 1)}")
    usage, whole = bucket.size("usage/"), bucket.size(f"keys/dt={TODAY}")
    nights = WHOLE_NIGHTS + 1
    megabytes = DAYS * usage + nights * whole + (DAYS - nights) * thin
    told = f"a day of usage {usage:.3f} MB, a night of keys {whole:.3f}, thinned {thin:.4f}"
    print(f"{megabytes:.1f} MB in {DAYS} days: {told}; {calls:.0f} calls a key")  # noqa: T201
    assert megabytes < MEGABYTES
    assert 1 < calls < CALLS_TO_WRITE
