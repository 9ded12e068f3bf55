"""What a tier bounds: how long its keys live and are protected, and how many are made."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from keyjanitor.domain.model.keys import State
from tests.account import SENDER, Account, Call, Calls, Killed
from tests.builders import ADMIN, DAY, TODAY, an_issuing_tier, at
from tests.requesting import (
    STRANGER,
    Body,
    an_asking_policy,
    an_asking_tier,
    asked,
    code_of,
    codes_of,
    deliver,
    issue,
    issues,
    key_of,
    protect,
    renew,
    restore,
    rotate,
    the_answer,
    the_row,
    undisturbed,
)

AccountMaker = Callable[..., Account]
OTHER = "AROAOTHER"
HOUR = timedelta(hours=1)


@pytest.fixture
def account(an_account: AccountMaker, monkeypatch: pytest.MonkeyPatch) -> Account:
    account = an_account(policy=an_asking_policy(max_keys_per_owner=10_000))
    monkeypatch.setattr(account.provision_keys, "pause", lambda seconds: None)
    monkeypatch.setattr("keyjanitor.services.expire_keys.outbox.now", lambda: account.real_now)
    return account


def under(account: Account, **tier: Any) -> None:
    account.policy = an_asking_policy(**{"max_keys_per_owner": 10_000, **tier})
    account.wire()


# --- how long -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bound", "days"), [(None, 366), (30, 30), (1000, 1000)])
def test_an_end_is_no_farther_away_than_the_tier_allows(
    account: Account, bound: int | None, days: int
) -> None:
    under(account, max_life_days=bound)
    latest = TODAY + DAY * days
    bodies = [
        issue(1, expires_on=str(latest)),
        issue(2, expires_on=str(latest + DAY)),
        issue(3, expires_on="2126-01-01"),
        issue(4, expires_on="9999-12-31"),
    ]
    assert account.ask(*bodies) == []
    assert codes_of(account, bodies) == ["Key Issued", *["invalid_request"] * 3]
    for body in bodies[1:]:
        assert the_answer(account, body)[1]["reason"].startswith("expires_on: ")
        assert the_answer(account, body)[1]["reason"].endswith(f"the latest is {latest}")


def test_a_key_without_a_named_end_gets_the_last_that_its_tier_allows(account: Account) -> None:
    assert the_row(account, asked(account, issue(1))).expires_on is None
    under(account, max_life_days=30)
    key_id = asked(account, issue(2))
    assert the_row(account, key_id).expires_on == TODAY + DAY * 30
    assert the_answer(account, issue(2))[1]["expires_on"] == str(TODAY + DAY * 30)


def test_a_rotation_lengthens_no_life(account: Account) -> None:
    endless = asked(account, issue(1))
    under(account, max_life_days=30)
    ending = asked(account, issue(2))
    account.pass_day(10)
    assert the_row(account, asked(account, rotate(ending))).expires_on == TODAY + DAY * 30
    assert the_row(account, asked(account, rotate(endless))).expires_on == account.today + DAY * 30


def test_a_key_whose_life_is_over_is_neither_renewed_nor_restored(account: Account) -> None:
    under(account, max_life_days=3)
    key_id, other = asked(account, issue(1)), asked(account, issue(2))
    while the_row(account, key_id).state is not State.DISABLED:
        account.night()
        account.pass_day()
    assert account.ask(renew(key_id)) == []
    assert code_of(account, renew(key_id)) == "not_restorable"
    assert not account.enabled(key_id)
    while the_row(account, other).state is not State.PARKED:
        account.night()
        account.pass_day()
    assert account.ask(restore(other)) == []
    assert code_of(account, restore(other)) == "not_restorable"


@pytest.mark.parametrize(("bound", "days"), [(90, 90), (7, 7)])
def test_a_protection_is_no_longer_than_the_tier_allows(
    account: Account, bound: int, days: int
) -> None:
    under(account, max_protect_days=bound)
    key_id = asked(account, issue())
    latest = TODAY + DAY * days
    for number, until in enumerate([latest + DAY, TODAY.replace(year=9999)]):
        body = protect(key_id, until, request_id=f"far-{number}")
        assert account.ask(body) == []
        _, detail = the_answer(account, body)
        assert detail["code"] == "invalid_request"
        assert detail["reason"].startswith("until: ")
        assert detail["reason"].endswith(f"the latest is {latest}")
    assert account.ask(protect(key_id, latest)) == []
    assert the_row(account, key_id).protected_until == latest


# --- how many -------------------------------------------------------------------------------------


def issued(account: Account) -> int:
    return len(account.gateway.ids) - 1


def test_a_tier_makes_so_many_keys_a_day_by_real_time(account: Account) -> None:
    under(account, new_keys_per_day=3)
    assert account.ask(*issues(5)) == []
    assert codes_of(account, issues(5)) == ["Key Issued"] * 3 + ["budget_spent"] * 2
    # Sent on another day or not: the day is that of the run.
    assert account.ask(issue(6), sent=account.real_now - DAY) == []
    account.real_now = at(TODAY, 23)
    assert account.ask(issue(7)) == []
    account.real_now = at(TODAY + DAY, 0)
    assert account.ask(issue(8)) == []
    told = codes_of(account, [issue(6), issue(7), issue(8)])
    assert told == ["budget_spent", "budget_spent", "Key Issued"]


def test_a_sender_gets_so_many_keys_an_hour_and_others_theirs(account: Account) -> None:
    under(account, senders=(SENDER, OTHER), new_keys_per_sender_per_hour=2)
    assert account.ask(*issues(3)) == []
    assert account.ask(issue(4), sender=f"{SENDER}:another-session") == []
    assert account.ask(issue(5), sender=OTHER) == []
    account.real_now += HOUR
    assert account.ask(issue(6)) == []
    bodies = [issue(number) for number in range(1, 7)]
    assert codes_of(account, bodies) == [
        "Key Issued",
        "Key Issued",
        "budget_spent",
        "budget_spent",
        "Key Issued",
        "Key Issued",
    ]


def test_each_tier_has_its_own_budget(account: Account) -> None:
    account.policy = an_asking_policy(
        an_asking_tier(new_keys_per_day=1),
        an_asking_tier("partners", usage_plans=(), new_keys_per_day=1),
    )
    account.wire()
    bodies = [issue(number, tier=("external", "partners")[number % 2]) for number in range(4)]
    assert account.ask(*bodies) == []
    assert codes_of(account, bodies) == ["Key Issued"] * 2 + ["budget_spent"] * 2


def test_a_rotation_and_a_restore_spend_nothing_and_need_no_budget(account: Account) -> None:
    under(account, new_keys_per_day=1, new_keys_per_sender_per_hour=1)
    key_id = asked(account, issue(1))
    new = asked(account, rotate(key_id))
    assert account.ask(issue(2)) == []
    assert code_of(account, issue(2)) == "budget_spent"
    under(account, new_keys_per_day=2, new_keys_per_sender_per_hour=2)
    assert asked(account, issue(3)) != new


def test_what_came_to_nothing_is_given_back(account: Account) -> None:
    under(account, new_keys_per_day=2, new_keys_per_sender_per_hour=2)
    account.gateway.spoiled = "name=bad"
    assert account.ask(issue(1, name="bad"), issue(2, name="bad")) == []
    assert account.ask(*(issue(number) for number in range(3, 6))) == []
    told = codes_of(account, [issue(number) for number in range(1, 6)])
    assert told == ["invalid_request"] * 2 + ["Key Issued"] * 2 + ["budget_spent"]


def test_a_run_that_dies_spends_nothing_until_its_keys_are_made(account: Account) -> None:
    under(account, new_keys_per_day=2, new_keys_per_sender_per_hour=2)

    def dies(_: Call) -> Any:
        raise Killed

    account.around = Calls(apigateway_import_keys=dies)
    with pytest.raises(Killed):
        account.ask(*issues(2))
    account.around = undisturbed
    # While it may be at work nobody else gets its share, and nobody is refused for it.
    assert account.ask(issue(3)) == [0]
    account.real_now += DAY / 48
    assert account.ask(*issues(2)) == []
    assert account.ask(issue(3)) == []
    assert codes_of(account, issues(3)) == ["Key Issued"] * 2 + ["budget_spent"]


def test_two_runs_at_once_do_not_pass_a_budget_and_spend_all_of_it(account: Account) -> None:
    under(account, new_keys_per_day=4, new_keys_per_sender_per_hour=4)
    snapshot = account.snapshot()
    first, second = issues(3), [issue(number) for number in range(4, 7)]
    account.around = alone = Calls()
    account.ask(*first)
    for number in range(len(alone.names)):
        account.go_back(snapshot)
        calls = iter(range(10_000))
        left: list[Body] = []

        def around(
            _: str, call: Call, at: int = number, calls: Any = calls, left: Any = left
        ) -> Any:
            if next(calls) == at:
                account.around = undisturbed
                left += [second[one] for one in account.ask(*second)]
            return call()

        account.around = around
        left += [first[one] for one in account.ask(*first)]
        account.around = undisturbed
        if left:
            account.real_now += timedelta(minutes=30)
            deliver(account, *left)
        told = codes_of(account, [*first, *second])
        assert sorted(told) == ["Key Issued"] * 4 + ["budget_spent"] * 2, number


def test_a_budget_costs_no_call_more(account: Account) -> None:
    asked(account, issue(50))
    account.around = generous = Calls()
    assert account.ask(*issues(20)) == []
    under(account, new_keys_per_day=21)
    account.around = spent = Calls()
    assert account.ask(*(issue(number) for number in range(21, 41))) == []
    assert spent.count("dynamodb.put_item") == generous.count("dynamodb.put_item")
    assert spent.count("dynamodb.get_item") == generous.count("dynamodb.get_item")


@pytest.mark.slow
def test_a_program_that_asks_for_keys_all_day_gets_those_of_the_budget(account: Account) -> None:
    """400 requests in each of 21 hours."""
    account.policy = an_asking_policy(
        an_issuing_tier(
            senders=(SENDER,),
            max_keys_per_owner=2,
            new_keys_per_day=200,
            new_keys_per_sender_per_hour=100,
        )
    )
    account.wire()
    made = []
    for hour in range(21):
        account.real_now = at(TODAY, 3) + HOUR * hour
        for batch in range(2):
            start = 1 + 200 * (2 * hour + batch)
            assert account.ask(*(issue(number) for number in range(start, start + 200))) == []
        made.append(issued(account))
    assert made == [100, *[200] * 20]
    account.real_now = at(TODAY + DAY, 0)
    assert account.ask(issue(9_999)) == []
    assert issued(account) == 201
    item = next(one for one in account.items() if one["sk"] == {"S": "admissions"})
    assert len(repr(item)) < 4_000


# --- who is told ----------------------------------------------------------------------------------


def bursts_told(account: Account) -> list[str]:
    """The bursts of which a look tells."""
    before = len(account.alerts)
    account.watch()
    kinds = [one["MessageAttributes"]["kind"]["StringValue"] for one in account.alerts[before:]]
    return [kind for kind in kinds if kind == "burst"]


def test_a_burst_is_told_once_by_the_hourly_look_and_again_when_the_next_begins(
    account: Account,
) -> None:
    under(account, new_keys_per_sender_per_hour=1)
    assert bursts_told(account) == []
    for _ in range(2):
        assert account.ask(*(issue(n) for n in range(len(account.events), 5))) == []
    assert bursts_told(account) == ["burst"]
    assert SENDER in account.alerts[-1]["Message"]
    account.real_now += HOUR
    assert account.ask(issue(50), issue(51)) == []
    assert bursts_told(account) == []
    account.real_now += HOUR * 3
    assert bursts_told(account) == []
    assert account.ask(issue(60), issue(61)) == []
    assert bursts_told(account) == ["burst"]


def test_who_is_refused_for_another_reason_makes_no_burst(account: Account) -> None:
    under(account, new_keys_per_sender_per_hour=1)
    assert account.ask(issue(1), issue(2, deliver_to="nobody")) == []
    assert account.ask(issue(3), sender=STRANGER) == []
    assert account.ask(issue(4), sender=ADMIN) == []
    assert key_of(account, issue(1))
    assert bursts_told(account) == []
