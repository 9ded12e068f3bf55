"""Chaos on the wire: a night and a batch of requests in bad weather, and what is there when it clears.

By default a small account and all services together. `make chaos` lives ten thousand keys and a
thousand requests in each kind of weather over each service, and over all of them.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from sandbox.driver.client import FunctionFailed, LaidKey
from sandbox.driver.queues import sqs_event
from tests.e2e.conftest import TODAY, World
from tests.e2e.requesting import answers, issue, opened, queue_arn, serve_event
from tests.e2e.weather import KINDS, SERVICES, Proxy, Rule, proxy_before, weather

LONG = os.environ.get("KEYJANITOR_CHAOS") == "long"
KEYS, REQUESTS = (10_000, 1_000) if LONG else (200, 20)
DUE = 10  # keys that are to be disabled on the night of the storm
RUNS = 8  # of a function in a storm: its schedule's, Lambda's and a person's
LEASE = 30 if not LONG else 300  # seconds that a run of provision_keys may take
NIGHT = TODAY + timedelta(days=14)
CASES = (
    *((kind, (service,)) for kind in KINDS for service in SERVICES),
    *((kind, SERVICES) for kind in KINDS),
    ("all", SERVICES),
)
if not LONG:
    CASES = (("all", SERVICES),)


@pytest.fixture
def proxy(world: World) -> Iterator[Proxy]:
    """Every function of the stack calls through the proxy; at the end none does."""
    with proxy_before(world.sandbox.endpoint) as proxy:
        for function in world.stack.functions:
            world.stack.configure(function, AWS_ENDPOINT_URL=proxy.endpoint)
        # What a run that was cut off had claimed is free when that run cannot live any more.
        world.stack.configure("ProvisionKeysFunction", timeout=LEASE)
        try:
            yield proxy
        finally:
            for function in world.stack.functions:
                world.stack.configure(function, AWS_ENDPOINT_URL=world.sandbox.endpoint)


def lay_down_an_account(world: World) -> set[str]:
    """Keys of which a few are idle since the same day; gives the ids of these."""
    world.witness(NIGHT)
    plan = world.plans["partners"]
    idle_since = TODAY - timedelta(days=60)
    days = [date.fromordinal(NIGHT.toordinal() - back) for back in range(120)]
    long_ago = datetime(2025, 1, 1, tzinfo=UTC)
    keys = [
        LaidKey(
            name=f"k{n}",
            created=long_ago,
            plans=[plan],
            uses={plan: {idle_since: 1} if n < DUE else dict.fromkeys(days, 1 + n % 7)},
        )
        for n in range(KEYS)
    ]
    return set(world.lay_down(*keys)[:DUE])


def until_it_works(run: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """Runs a function as its schedule, Lambda's retries and a person would; None: never worked."""
    for _ in range(RUNS):
        try:
            answer = run()
        except FunctionFailed:
            continue
        if not answer.get("remaining"):
            return answer
    return None


def deliver(world: World, event: dict[str, Any]) -> dict[str, Any]:
    """Has a batch served; gives the event of the messages that SQS would deliver again."""
    try:
        left = set(serve_event(world, event))
    except FunctionFailed:
        return event
    return {"Records": [one for one in event["Records"] if one["messageId"] in left]}


def disabled(world: World) -> set[str]:
    return {key_id for key_id, key in world.keys().items() if not key["enabled"]}


def rules_of(kind: str, services: Sequence[str]) -> list[Rule]:
    if kind != "all":
        return weather(kind, services)
    return [rule for one in KINDS for rule in weather(one, services, chance=0.03)]


@pytest.mark.parametrize(
    ("kind", "services"), CASES, ids=lambda one: one if isinstance(one, str) else "-".join(one)
)
@pytest.mark.timeout(3_000)  # seconds; it ends what hangs, however busy the machine is
def test_what_a_storm_interrupts_ends_where_it_would_have_ended_and_nothing_else_is_touched(
    world: World, proxy: Proxy, kind: str, services: tuple[str, ...]
) -> None:
    due = lay_down_an_account(world)
    world.night(TODAY)  # adopts and warns
    world.night(NIGHT - timedelta(days=1))
    assert disabled(world) == set()
    event = sqs_event(queue_arn(world), [issue(f"storm-{n}") for n in range(REQUESTS)])

    proxy.blow(rules_of(kind, services))
    until_it_works(lambda: world.pull(NIGHT))
    until_it_works(lambda: world.sweep(NIGHT))
    for _ in range(RUNS):
        if not event["Records"]:
            break
        event = deliver(world, event)
    fired = proxy.calm()
    assert fired, "the weather was fine"
    assert disabled(world) <= due, "a key in use was disabled"

    pulled = until_it_works(lambda: world.pull(NIGHT))
    assert pulled is not None
    assert pulled["unread"] == []
    swept = until_it_works(lambda: world.sweep(NIGHT))
    while event["Records"]:
        event = deliver(world, event)
        time.sleep(0.5)  # SQS would wait for longer
    assert swept is not None
    assert disabled(world) == due, (swept, fired)
    told = {
        one["DetailType"]: one
        for one in world.sandbox.events()
        if one["DetailType"] == "Key Disabled"
    }
    assert told, "no event says that a key was disabled"
    issued = {name: one for name, one in answers(world).items() if name.startswith("storm-")}
    assert len(issued) == REQUESTS
    assert {kind for one in issued.values() for kind, _ in one} == {"Key Issued"}
    ids = {name: {detail["key_id"] for _, detail in one} for name, one in issued.items()}
    assert all(len(one) == 1 for one in ids.values()), "a request got two keys"
    assert len(set.union(*ids.values())) == REQUESTS
    living = world.keys()
    assert all(living[key_id]["enabled"] for one in ids.values() for key_id in one)
    assert len(living) == KEYS + 3 + REQUESTS, "keys that no request answers for"
    assert len(set(opened(world, [one[0][1] for one in issued.values()]))) == REQUESTS
