"""The nights to come, foretold and then lived: one has to be like the other."""

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from keyjanitor.domain.expiry.outlook import NIGHTS, NightAhead, project_nights
from keyjanitor.domain.model.keys import DAY, Mode, State, SweepAction
from keyjanitor.domain.model.policy import PressureRule, Sweep
from keyjanitor.domain.usage.plan_usage import UsagePage
from keyjanitor.services.expire_keys.gather import gather
from tests.builders import PLAN_ID, a_policy, a_tier, unclaimed
from tests.unit.nights import Account


def an_account(
    *keys: int, mode: Mode = Mode.PARK, sweep: Sweep | None = None, **policy: Any
) -> Account:
    """An account with keys that were last used so many days before, lived for three weeks."""
    made = a_policy(a_tier(retain_days=20), **policy)
    account = Account(replace(made, sweep=sweep or made.sweep))
    account.plan()
    for number, idle in enumerate(keys):
        account.key(f"key{number:03}", PLAN_ID, age=300, last_used=idle)
    account.nights(21, mode)
    return account


def foretold(account: Account, mode: Mode = Mode.PARK) -> tuple[NightAhead, ...]:
    """What is said after last night's sweep of the nights that follow."""
    account.read()
    gathered = gather(account.today, account.adapters, account.policy, acting=False)
    # It is foretold in the morning, after the sweep, from the evidence that the sweep had.
    night = replace(gathered.night, today=account.today - DAY)
    shelf = [row for row in account.ledger.gone.values() if row.state is State.PARKED]
    compared = account.files.compared_before(account.today)
    return project_nights(night, gathered.bound, mode, shelf, compared)


def lived(account: Account, mode: Mode = Mode.PARK) -> tuple[NightAhead, ...]:
    """What those nights do."""
    nights = []
    for _ in range(NIGHTS):
        today, swept = account.today, account.night(mode)
        did = swept.outcome.applied
        nights.append(
            NightAhead(
                date=today,
                warn=did[SweepAction.WARN],
                disable=did[SweepAction.DISABLE],
                park=did[SweepAction.PARK],
                purge=did[SweepAction.PURGE],
                keys=len(account.gateway.living),
                brake=swept.brake,
            )
        )
    return tuple(nights)


@pytest.mark.parametrize("mode", [Mode.PARK, Mode.DISABLE])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.sampled
def test_what_is_foretold_is_what_happens_if_nothing_changes(mode: Mode, seed: int) -> None:
    chance = random.Random(seed)
    account = an_account(*(chance.randrange(10, 95) for _ in range(60)), mode=mode)
    said = foretold(account, mode)
    assert said == lived(account, mode)
    assert sum(night.warn for night in said) > 0
    assert sum(night.disable for night in said) > 0
    assert sum(night.park + night.purge for night in said) > 0 or mode is Mode.DISABLE


def test_the_allowance_spreads_a_bulk_over_the_nights() -> None:
    account = an_account(*[46] * 30, sweep=Sweep(max_share=0.01, max_keys=20))
    said = foretold(account)
    assert said == lived(account)
    assert sorted(night.disable for night in said if night.disable) == [10, 20]


def test_a_braked_night_is_foretold() -> None:
    account = an_account(*[25] * 50)  # fifty keys that were used on one day, forty-six days ago
    account.policy = replace(account.policy, tiers=a_policy(a_tier(idle_days=50)).tiers)
    said = foretold(account)
    assert said == lived(account)
    assert [night.brake is not None for night in said] == [False] * 4 + [True] * 10


def test_a_pressure_rule_that_is_left_as_keys_go_is_left_in_the_outlook_too() -> None:
    rules = (PressureRule(above=0.5, idle_factor=0.6, freeze=()),)
    account = an_account(*range(30, 80), pressure=rules, service_quota=90)
    said = foretold(account)
    assert said == lived(account)


def test_in_observe_nothing_will_be_done() -> None:
    account = an_account(46, 60)
    assert {
        (night.warn, night.disable, night.park, night.purge)
        for night in foretold(account, Mode.OBSERVE)
    } == {(0, 0, 0, 0)}


def test_who_uses_a_key_every_week_is_taken_to_go_on() -> None:
    account = an_account()
    account.policy = a_policy(a_tier(idle_days=10))
    account.key("weekly", PLAN_ID, age=300, last_used=5)
    assert sum(night.warn for night in foretold(account)) == 0


def test_a_key_that_is_used_though_no_plan_has_it_at_night_is_not_foretold_to_go() -> None:
    account = Account(a_policy(a_tier(), unclaimed(orphan_days=2)))
    account.plan()
    for key_id in ("used", "idle"):
        account.key(key_id, age=200)
    usage = account.gateway.usage

    def named(usage_plan_id: str, start: date, end: date) -> Iterator[UsagePage]:
        yield from usage(usage_plan_id, start, end)
        yield UsagePage(start, end, {"used": [[9, 100]] * ((end - start).days + 1)})

    account.gateway.usage = named  # type: ignore[method-assign]
    account.nights(1)
    ahead = foretold(account)
    assert sum(night.warn for night in ahead) == 1
    assert ahead == lived(account)
