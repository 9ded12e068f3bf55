"""A night at ten thousand keys, at AWS's own pace: what it asks for, how fast, in how much memory."""

import contextlib
from collections import Counter
from datetime import UTC, datetime, timedelta

from release.pins import read_pins
from sandbox.driver.client import REPOSITORY, LaidKey
from tests.e2e.conftest import TODAY, World

KEYS = 10_000
SHARE = 3  # calls a second, as deployed by default
ACTED_ON = 12
MEMORY = 256 * 1024 * 1024


def lay_down_ten_thousand(world: World) -> None:
    """Ten thousand keys in three plans, half of them used on each of 90 days."""
    long_ago = datetime(2025, 1, 1, tzinfo=UTC)
    days = [TODAY - timedelta(days=back) for back in range(120)]
    plans = list(world.plans.values())
    keys = []
    for n in range(KEYS):
        plan = plans[0] if n < 8_000 else plans[1] if n < 9_000 else plans[2]
        # The first ACTED_ON keys stopped 60 days before TODAY; of the others every second is quiet
        # for less than that.
        stopped = 61 if n < ACTED_ON else (n % 2) * (n % 30)
        uses = dict.fromkeys(days[stopped:], 1 + n % 7)
        keys.append(LaidKey(name=f"k{n}", created=long_ago, plans=[plan], uses={plan: uses}))
    world.lay_down(*keys)


def test_a_night_makes_no_call_that_it_does_not_need_and_keeps_to_its_share(world: World) -> None:
    sandbox, stack = world.sandbox, world.stack
    lay_down_ten_thousand(world)
    world.night(TODAY)  # adopts and warns
    sandbox.lay_down_usage(
        (plan, key_id, TODAY + timedelta(days=n), 3)
        for n in range(14)
        for key_id, plan in _used_today(world)
    )
    world.pull(TODAY + timedelta(days=13))
    world.sweep(TODAY + timedelta(days=13))  # so that the next is not a first night

    day = TODAY + timedelta(days=14)
    for function in stack.functions:
        stack.configure(function, CALLS_PER_SECOND=str(SHARE))
    sandbox.set_throttles(1)
    sandbox.forget_calls()
    pulled = world.pull(day)
    assert pulled["keys"] == KEYS
    # 1 page of plans; 16 + 2 + 2 pages of members, and as many of usage.
    assert sandbox.calls_per_operation() == Counter(
        GetUsagePlans=1, GetUsagePlanKeys=20, GetUsage=20
    )
    assert sandbox.peak_calls_per_second() <= SHARE
    assert not [call for call in sandbox.calls() if call.status == 429]
    assert {call.agent for call in sandbox.calls()} == {f"Boto3/{pinned('boto3')}"}

    sandbox.forget_calls()
    swept = world.sweep(day)
    assert swept["applied"] == {
        "adopt": 0, "warn": 0, "disable": ACTED_ON, "park": 0, "purge": 0, "enable": 0, "restore": 0
    }  # fmt: skip
    assert sandbox.calls_per_operation() == Counter(
        GetApiKeys=20, GetApiKey=ACTED_ON, UpdateApiKey=ACTED_ON
    )
    assert sandbox.peak_calls_per_second() <= SHARE
    assert not [call for call in sandbox.calls() if call.status == 429]

    sandbox.forget_calls()
    answer = stack.publish(f"{day}T06:15:00Z")
    assert (answer["keys"], answer["unread"]) == (KEYS, [])
    # 20 pages of keys, one of plans and one of APIs; the stages of one API, and what the three serve.
    assert sandbox.calls_per_operation() == Counter(
        GetApiKeys=20, GetUsagePlans=1, GetRestApis=1, GetStages=1, GetDeployment=3
    )
    assert sandbox.peak_calls_per_second() <= SHARE
    report = world.report(day)
    assert len(report["keys"]["rows"]) == KEYS
    assert report["night"]["did"] | {"warned": 0} == {
        "warned": 0, "disabled": ACTED_ON, "parked": 0, "purged": 0, "issued": 0, "revoked": 0
    }  # fmt: skip
    assert [night["park"] for night in report["ahead"]][-1] == ACTED_ON

    peaks = {worker["function"]: worker["peak_memory"] for worker in sandbox.workers()}
    nightly = {
        stack.functions[name]
        for name in ("PullUsageFunction", "ExpireKeysFunction", "PublishReportFunction")
    }
    assert nightly <= peaks.keys()
    assert max(peaks.values()) < MEMORY, peaks


def pinned(package: str) -> str:
    """The version of a package of the layer."""
    pins = read_pins((REPOSITORY / "layers/keyjanitor/requirements.txt").read_text("utf-8"))
    return next(pin.version for pin in pins if pin.name == package)


def _used_today(world: World) -> list[tuple[str, str]]:
    """(key id, plan id) of all but the keys that are to go."""
    members = world.sandbox.client("apigateway").get_paginator("get_usage_plan_keys")
    return [
        (item["id"], plan)
        for plan in world.plans.values()
        for page in members.paginate(usagePlanId=plan, PaginationConfig={"PageSize": 500})
        for item in page["items"]
        if item["name"] not in {f"k{n}" for n in range(ACTED_ON)}
    ]


def test_with_others_about_it_slows_down_and_finishes(world: World) -> None:
    sandbox, stack = world.sandbox, world.stack
    world.witness(TODAY)
    world.lay_down(*(LaidKey(name=f"k{n}", plans=[world.plans["external"]]) for n in range(4_000)))
    for function in stack.functions:
        stack.configure(function, CALLS_PER_SECOND=str(SHARE))
    # Of the account's 10 calls a second others take all but 1.5, half of what the stack may have.
    sandbox.set_throttles(SHARE / 2 / 10)
    client = sandbox.client("apigateway", patient=False)
    with contextlib.suppress(client.exceptions.TooManyRequestsException):
        while True:  # until the burst that the account had saved is gone
            client.get_rest_apis()
    sandbox.forget_calls()
    pulled = world.pull(TODAY)
    swept = world.sweep(TODAY)
    ours = [call for call in sandbox.calls() if call.role != "administrator"]
    assert pulled["unread"] == []
    assert swept["keys"] == 4_003
    assert [call for call in ours if call.status == 429], "the stack was never told to slow down"
    assert sandbox.peak_calls_per_second(ours[0].role) <= SHARE
