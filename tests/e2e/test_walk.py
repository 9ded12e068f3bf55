"""The states of docs/life-of-a-key.md, walked night by night on the deployed stack."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sandbox.driver.client import LaidKey
from tests.e2e.conftest import TODAY, World

DAY = timedelta(days=1)


def states(world: World) -> dict[str, str]:
    """How each key shows in API Gateway, by name."""
    return {
        str(key["name"]): "enabled" if key["enabled"] else "disabled"
        for key in world.keys().values()
    }


def walk(world: World, first: date, nights: int) -> Iterator[tuple[int, Mapping[str, str]]]:
    """(night, states after it), from the night of `first` on."""
    for night in range(nights):
        world.night(first + night * DAY)
        yield night, states(world)


def days_of(walked: list[tuple[int, Mapping[str, str]]], name: str) -> dict[str, Any]:
    """The nights on which a key was first seen disabled, and first not seen at all."""
    disabled = next((n for n, seen in walked if seen.get(name) == "disabled"), None)
    parked = next((n for n, seen in walked if name not in seen), None)
    return {"disabled": disabled, "parked": parked}


def test_the_table_of_the_design_night_by_night(world: World) -> None:
    begins = TODAY
    ends = begins + 92 * DAY
    external, partners = world.plans["external"], world.plans["partners"]
    # `front-end` has no quota, like `partners`, and opens the same stage, which others use.
    world.witness(ends, days=220, plans=("external", "partners"))
    own = world.plans["front-end"]
    begin = datetime.combine(begins, time(0, 30), UTC)
    long_ago = begin - 300 * DAY
    last_use = {begins: 3}
    world.lay_down(
        LaidKey(name="sign-up, never used", created=begin, plans=[external]),
        LaidKey(
            name="idle in a busy plan",
            created=long_ago,
            plans=[partners],
            uses={partners: last_use},
        ),
        LaidKey(name="never used, in a plan of its own", created=begin, plans=[own]),
        LaidKey(
            name="monthly",
            created=long_ago,
            plans=[partners],
            uses={partners: {begins + n * 30 * DAY: 1 for n in range(-6, 4)}},
        ),
    )
    walked = list(walk(world, begins, 92))
    assert days_of(walked, "sign-up, never used") == {"disabled": 28, "parked": 42}
    assert days_of(walked, "idle in a busy plan") == {"disabled": 74, "parked": 88}
    own_plan = days_of(walked, "never used, in a plan of its own")
    assert own_plan == {"disabled": 28, "parked": 42}
    assert days_of(walked, "monthly") == {"disabled": None, "parked": None}
    assert all(seen["busy external"] == "enabled" for _, seen in walked)
    warned = [
        event["Detail"] for event in world.sandbox.events() if "Expiring" in event["DetailType"]
    ]
    assert f'"disable_on": "{begins + 28 * DAY}"' in warned[0]


def test_a_backlog_of_half_the_account_is_parked_in_the_end(world: World) -> None:
    partners = world.plans["partners"]
    ends = TODAY + 30 * DAY
    world.witness(ends)
    long_ago = datetime(2025, 1, 1, tzinfo=UTC)
    world.lay_down(
        *(LaidKey(name=f"idle {n}", created=long_ago, plans=[partners]) for n in range(100)),
        *(
            LaidKey(
                name=f"used {n}",
                created=long_ago,
                plans=[partners],
                uses={partners: {TODAY + back * DAY: 2 for back in range(-90, 30)}},
            )
            for n in range(97)
        ),
    )
    world.night(TODAY)  # warned
    world.night(TODAY + 13 * DAY)
    assert set(states(world).values()) == {"enabled"}
    world.night(TODAY + 14 * DAY)  # disabled
    assert sorted(states(world).values()) == ["disabled"] * 100 + ["enabled"] * 100
    world.night(TODAY + 27 * DAY)
    assert len(states(world)) == 200
    world.night(TODAY + 28 * DAY)  # parked
    assert sorted(states(world).values()) == ["enabled"] * 100
