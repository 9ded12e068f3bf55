"""watch_capacity on an account: what it counts, tells once, and never drops."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from keyjanitor import __version__
from keyjanitor.domain.model.records import CountRow
from keyjanitor.errors import CallFailed, KeyjanitorError, TooManyFailed
from keyjanitor.services.watch_capacity import metrics_of, take_count
from sandbox.memory.clients.refusal import refused
from tests.account import BUSY, Account, Call, Calls, Killed
from tests.builders import DAY, TODAY, a_policy, a_tier
from tests.contract.services.test_faults import EndsBefore, Line

QUOTA = 100


@pytest.fixture
def account(an_account: Callable[..., Account]) -> Account:
    """An account of a hundred keys at the most, of which 79 are there."""
    account = an_account(policy=a_policy(a_tier(warn_days=1, grace_days=1), service_quota=QUOTA))
    grow(account, to=79)
    return account


def grow(account: Account, *, to: int) -> None:
    for index in range(len(account.gateway.ids), to):
        account.key(f"key{index:03}", age=5)


def roomy(
    an_account: Callable[..., Account], keys: int, *, idle: int = 1, nights: int = 0
) -> Account:
    """An account far from full, with so many keys beside the busy one.

    So many nights of it are over, and what is to be told of it as it is has been told.
    """
    policy = a_policy(a_tier(warn_days=1, grace_days=1), max_share=1.0)
    account = an_account(policy=policy)
    for number in range(keys):
        account.key(f"key{number:03}", idle=idle)
    for _ in range(nights - 1):
        account.night()
        account.pass_day()
    if nights:
        account.night()
    account.watch()
    account.alerts.clear()
    return account


def delete(account: Account, keys: int) -> None:
    """Somebody deletes the first so many of an account's numbered keys."""
    for number in range(keys):
        account.gateway.delete(f"key{number:03}")


def kinds(account: Account) -> list[str]:
    return [alert["MessageAttributes"]["kind"]["StringValue"] for alert in account.alerts]


def test_the_answer_tells_what_was_counted(account: Account) -> None:
    account.night()
    account.key("by hand", enabled=False, plans=())
    answer = account.watch()
    assert answer == {
        "time": f"{TODAY}T03:40:00Z",
        "code_version": __version__,
        "keys": 80,
        "share": 0.8,
        "tiers": {"external": 79, "unclaimed": 1},
        "states": {"active": 79, "disabled_by_others": 1},
        "usage_plans": 1,
        "growth": None,
        "days_to_limit": None,
        "alerts": [
            {
                "kind": "level",
                "subject": "keyjanitor: 80% reached, 80 API keys "
                f"(123456789012 us-east-1 keyjanitor {__version__})",
            }
        ],
    }


def test_a_days_last_count_is_kept_and_those_of_other_days_stay(account: Account) -> None:
    account.watch()
    grow(account, to=85)
    account.watch()
    account.pass_day()
    account.watch()
    counts = account.ledger.counts(TODAY - DAY, TODAY + DAY)
    assert {day: row.keys for day, row in counts.items()} == {TODAY: 85, TODAY + DAY: 85}


def test_keys_that_no_row_knows_are_counted_by_their_plans(account: Account) -> None:
    account.read()
    assert account.watch()["tiers"] == {"external": 79}


def test_without_any_evidence_the_keys_are_counted_all_the_same(account: Account) -> None:
    assert account.watch()["keys"] == 79


def test_a_level_is_told_once_however_often_one_looks(account: Account) -> None:
    grow(account, to=81)
    for _ in range(5):
        account.watch()
    assert kinds(account) == ["level"]


def test_two_looks_at_the_same_time_tell_once(account: Account) -> None:
    grow(account, to=81)
    begun: list[int] = []

    def another_look(call: Call) -> Any:
        if not begun:
            begun.append(1)
            account.watch()
        return call()

    for name in ("dynamodb_put_item", "dynamodb_get_item", "sns_publish", "apigateway_keys"):
        account.alerts.clear()
        begun.clear()
        account.clients.dynamodb.delete_item(
            TableName=account.table, Key={"pk": {"S": "ALERTS"}, "sk": {"S": "alerts"}}
        )
        account.around = Calls(**{name: another_look})
        account.watch()
        assert (begun, kinds(account)) == ([1], ["level"]), name


def test_an_alert_that_could_not_be_published_comes_with_the_next_look(account: Account) -> None:
    grow(account, to=81)

    def fails(_: Call) -> Any:
        raise refused("Publish", "InternalError", 500)

    account.around = Calls(sns_publish=fails)
    assert account.watch()["alerts"] == []
    account.around = Calls()
    assert [one["kind"] for one in account.watch()["alerts"]] == ["level"]
    assert account.watch()["alerts"] == []


def test_an_alert_is_told_at_least_once_wherever_a_look_ends(account: Account) -> None:
    """Every call is refused in its turn, before it is carried out and after."""
    grow(account, to=81)
    account.around = undisturbed = Calls()
    snapshot = account.snapshot()
    account.go_back(snapshot)
    account.watch()
    names = list(undisturbed.names)
    for carried_out in (False, True):
        for number in range(len(names)):
            account.go_back(snapshot)
            account.around = _refuse(number, carried_out=carried_out)
            with suppress(KeyjanitorError):
                account.watch()
            account.around = Calls()
            account.real_now += 16 * 60 * (DAY / 86_400)
            account.watch()
            account.watch()
            assert 1 <= len(kinds(account)) <= 2, names[number]
            assert set(kinds(account)) == {"level"}


def _refuse(number: int, *, carried_out: bool) -> Any:
    seen: list[str] = []

    def around(name: str, call: Call) -> Any:
        seen.append(name)
        if len(seen) - 1 != number:
            return call()
        if carried_out:
            call()
        service, method = name.split(".")
        if service in ("apigateway", "dead_letters"):
            raise CallFailed(method, "InternalServerErrorException")
        raise refused(method, "InternalError", 500)

    return around


def test_growth_over_weeks_is_forecast_and_told_and_the_sweeps_are_told_of(
    account: Account,
) -> None:
    for _ in range(10):
        account.night()
        answer = account.watch()
        account.pass_day()
        grow(account, to=len(account.gateway.ids) + 1)
    assert answer["growth"] == 1
    assert answer["days_to_limit"] == QUOTA - answer["keys"]
    text = next(one["Message"] for one in account.alerts if "full in about" in one["Subject"])
    assert "1.0 keys a day" in text
    assert "it ran last night" in text


def test_dead_letters_and_missing_keys_are_told_of(account: Account) -> None:
    account.watch()
    account.dead_letters.count["RequestDeadLetterQueue"] = 2
    account.pass_day()
    for key_id in [key_id for key_id in account.gateway.ids if key_id != BUSY][:40]:
        account.gateway.delete(key_id)
    account.watch()
    assert kinds(account) == ["dead_letters", "fewer_keys"]


def test_keys_that_were_parked_or_revoked_are_not_missed(account: Account) -> None:
    account.watch()
    account.pass_day()
    for key_id in [key_id for key_id in account.gateway.ids if key_id != BUSY][:40]:
        account.gateway.delete(key_id)
    account.ledger.remember(account.today, parked=30)
    account.ledger.add_revoked(account.today, 4)
    account.ledger.add_revoked(account.today, 6)
    account.watch()
    assert kinds(account) == []
    count = account.ledger.counts(account.today, account.today)[account.today]
    assert count == CountRow(
        account.today,
        39,
        plans=1,
        freed=40,
        tiers={"unclaimed": 39},
        states={"active": 39},
        at=account.real_now,
    )


def test_keys_that_were_parked_after_yesterdays_count_are_not_missed(account: Account) -> None:
    account.ledger.remember(account.today, parked=15)
    account.watch()
    for key_id in [key_id for key_id in account.gateway.ids if key_id != BUSY][:40]:
        account.gateway.delete(key_id)
    account.ledger.remember(account.today, parked=55)  # an operator approved, after the count
    account.pass_day()
    account.watch()
    assert kinds(account) == []


def test_what_yesterdays_count_had_seen_go_explains_nothing_today(account: Account) -> None:
    account.ledger.remember(account.today, parked=40)
    account.watch()
    account.pass_day()
    for key_id in [key_id for key_id in account.gateway.ids if key_id != BUSY][:40]:
        account.gateway.delete(key_id)
    account.watch()
    assert kinds(account) == ["fewer_keys"]


def test_while_a_sweep_is_at_work_no_key_is_missed(account: Account) -> None:
    account.watch()
    account.pass_day()
    for key_id in [key_id for key_id in account.gateway.ids if key_id != BUSY][:40]:
        account.gateway.delete(key_id)
    account.ledger.take_lease("a sweep", account.real_now, 900)
    account.watch()
    assert kinds(account) == []
    account.ledger.give_lease_back("a sweep")
    account.watch()
    account.ledger.take_lease("another", account.real_now, 900)
    account.watch()
    account.ledger.give_lease_back("another")
    account.watch()
    assert kinds(account) == ["fewer_keys"]


def test_what_a_sweep_parked_before_it_failed_is_not_missed(
    an_account: Callable[..., Account],
) -> None:
    account = roomy(an_account, 60, idle=80, nights=2)
    account.pass_day()
    account.around = Calls(
        apigateway_delete=but_the_first(25, CallFailed("DeleteApiKey", "InternalError"))
    )
    with pytest.raises(TooManyFailed):
        account.night()
    account.around = Calls()
    account.watch()
    assert (len(account.gateway.ids), kinds(account)) == (36, [])


def test_what_a_sweep_parked_before_it_was_killed_is_not_missed(
    an_account: Callable[..., Account],
) -> None:
    account = roomy(an_account, 60, idle=80, nights=2)
    account.pass_day()
    account.read()
    before = account.snapshot()
    account.around = line = Line()
    account.sweep()
    deletes = [at for at, name in enumerate(line.calls) if name == "apigateway.delete"]
    account.go_back(before)
    account.around = EndsBefore(deletes[40])
    with pytest.raises(Killed):
        account.sweep()
    account.around = Calls()
    account.real_now += timedelta(minutes=20)
    account.watch()
    assert (len(account.gateway.ids), kinds(account)) == (21, [])
    account.sweep()
    account.watch()
    assert (len(account.gateway.ids), kinds(account)) == (1, [])


def test_who_deletes_keys_after_a_sweep_died_is_told_of(
    an_account: Callable[..., Account],
) -> None:
    account = roomy(an_account, 60, idle=80, nights=2)
    account.pass_day()
    account.ledger.take_lease("a sweep that died", account.real_now, 900)
    account.real_now += timedelta(minutes=20)
    delete(account, 40)
    account.watch()
    assert kinds(account) == ["fewer_keys"]


def but_the_first(calls: int, err: BaseException) -> Callable[[Call], Any]:
    """Carries so many calls out, and fails from then on."""
    left = list(range(calls))

    def instead(call: Call) -> Any:
        if not left:
            raise err
        left.pop()
        return call()

    return instead


def test_the_alert_counts_only_the_keys_that_no_sweep_took(
    an_account: Callable[..., Account],
) -> None:
    account = roomy(an_account, 200)
    account.pass_day()
    delete(account, 100)
    account.ledger.remember(account.today, parked=70)
    account.watch()
    assert kinds(account) == ["fewer_keys"]
    [alert] = account.alerts
    assert alert["Subject"].startswith("keyjanitor: 30 API keys are gone, not by a sweep (")
    text = alert["Message"].replace("\\n", " ")
    assert "On 2026-11-21 the account held 201 API keys, now 101, 0 of them made since." in text
    assert "Sweeps and revocations took 70. Another tool or person deleted 30:" in text


def test_keys_that_went_while_a_day_was_not_counted_are_missed(
    an_account: Callable[..., Account],
) -> None:
    account = roomy(an_account, 600)
    account.pass_day(2)
    delete(account, 500)
    account.watch()
    assert kinds(account) == ["fewer_keys"]


@pytest.mark.slow
def test_new_keys_do_not_hide_that_others_went(an_account: Callable[..., Account]) -> None:
    account = roomy(an_account, 600, nights=1)
    account.pass_day()
    delete(account, 500)
    for number in range(500):
        account.key(f"new{number:03}", age=0)
    account.night()
    account.watch()
    assert kinds(account) == ["fewer_keys"]


def test_a_plan_unread_for_two_nights_is_told_of(account: Account) -> None:
    def unread(_: Call) -> Any:
        raise CallFailed("GetUsage", "AccessDeniedException")

    account.read()
    account.around = Calls(apigateway_usage=unread)
    for _ in range(2):
        account.pass_day()
        account.read()
        account.watch()
    assert kinds(account) == ["unread_plan"]


def test_regret_counts_each_key_once_that_was_taken_or_came_back(account: Account) -> None:
    for key_id in ("comes back from parking", "stays parked"):
        account.key(key_id, idle=80)
    account.night()
    account.pass_day()
    for key_id in ("is enabled again", "stays disabled"):
        account.key(key_id, idle=80)
    account.night()
    account.pass_day()
    assert account.night()["applied"] | {"adopt": 0} == applied(park=2, disable=2)
    assert regret(account) == 0
    account.sweep(undo=str(account.today), key_ids=["comes back from parking", "is enabled again"])
    assert regret(account) == 50
    account.pass_day()
    assert regret(account) == 50


def applied(**but: int) -> dict[str, int]:
    verbs = ("adopt", "warn", "disable", "park", "purge", "enable", "restore")
    return {verb: but.get(verb, 0) for verb in verbs}


def regret(account: Account) -> float:
    """What the metric says of the account as it is."""
    found = take_count(
        account.today, account.real_now, account.watch_capacity.adapters, account.policy
    )
    return metrics_of(found, account.policy)["Regret"]


def test_what_of_the_policy_does_not_fit_the_account_is_told_once(
    an_account: Callable[..., Account],
) -> None:
    account = an_account()
    account.key("fed")
    account.night()
    account.change_row("fed", issued=True, tier="partners")
    account.policy = a_policy(a_tier(usage_plans=("nowhere",)))
    account.wire()
    account.watch()
    account.watch()
    [alert] = [
        one
        for one in account.alerts
        if one["MessageAttributes"]["kind"]["StringValue"] == "policy_problem"
    ]
    for place in (
        "tiers.external.usage_plans[0]: this account has no",
        "tiers.partners: is missing",
    ):
        assert place in alert["Message"]
