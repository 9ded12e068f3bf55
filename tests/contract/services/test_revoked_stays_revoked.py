"""What is revoked stays revoked, whatever is delivered again: also keys of issue runs that died."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from keyjanitor.domain.model.keys import State
from keyjanitor.domain.model.records import Row, Status, row_id
from tests.account import BUSY, SENDER, Account, Call, Calls, Killed
from tests.builders import ADMIN, DAY, TODAY, unclaimed
from tests.contract.services.test_faults import CUTS, Cut, Line
from tests.requesting import (
    TIER,
    Body,
    an_asking_policy,
    asked,
    code_of,
    deliver,
    issue,
    key_of,
    not_a_working_key,
    renew,
    revoke,
    rotate,
    settle,
    the_answer,
    the_row,
    undisturbed,
)

AccountMaker = Callable[..., Account]
SLOW: dict[str, Any] = {"never_used_days": 30, "grace_days": 30, "max_keys_per_owner": 2}


@pytest.fixture
def account(an_account: AccountMaker, monkeypatch: pytest.MonkeyPatch) -> Account:
    account = an_account(policy=an_asking_policy(**SLOW))
    monkeypatch.setattr(account.provision_keys, "pause", lambda seconds: None)
    monkeypatch.setattr("keyjanitor.services.expire_keys.outbox.now", lambda: account.real_now)
    return account


def dies(_: Call) -> Any:
    raise Killed


def dies_before_its_keys_are_proven(account: Account, *bodies: Body) -> list[str]:
    """An issue run that ends right after its import; gives the ids of its keys."""
    before = set(account.gateway.ids)
    account.around = Calls(apigateway_keys_named=dies)
    with pytest.raises(Killed):
        account.ask(*bodies)
    account.around = undisturbed
    account.real_now += DAY / 48
    return [key_id for key_id in account.gateway.ids if key_id not in before]


def alive_with(account: Account, value: str) -> list[str]:
    return [key_id for key_id in account.gateway.ids if account.gateway.whole(key_id)[1] == value]


# --- what a run that died leaves ------------------------------------------------------------------


@pytest.mark.parametrize("rotated", [False, True])
def test_the_key_of_an_issue_run_that_died_is_adopted_as_what_was_asked_for(
    account: Account, rotated: bool
) -> None:
    old = asked(account, issue(9)) if rotated else None
    body = rotate(old) if old else issue(9)
    (key_id,) = dies_before_its_keys_are_proven(account, body)
    account.night()
    row = the_row(account, key_id)
    assert row == Row(
        key_id=key_id,
        state=State.ACTIVE,
        tier=TIER,
        owner="owner-9",
        name="key of owner 9",
        issued=True,
        adopted_on=TODAY,
        usage_plan_ids=account.gateway.whole(key_id)[2],
        sender=SENDER,
        deliver_to=issue()["deliver_to"],
        request_ids=(row_id(body["request_id"], SENDER),),
    )


def test_the_request_of_an_adopted_key_goes_on_with_that_key(account: Account) -> None:
    (key_id,) = dies_before_its_keys_are_proven(account, issue())
    account.night()
    account.around = calls = Calls()
    assert account.ask(issue()) == []
    assert calls.count("apigateway.import_keys") == 0
    assert calls.count("kms.decrypt") == 0
    assert (key_of(account, issue()), not_a_working_key(account, issue())) == (key_id, [])


def test_a_revoked_key_of_an_issue_run_that_died_does_not_come_back(account: Account) -> None:
    (key_id,) = dies_before_its_keys_are_proven(account, issue())
    value = account.gateway.whole(key_id)[1]
    account.night()
    assert account.ask(revoke(key_id), sender=ADMIN) == []
    assert code_of(account, revoke(key_id)) == "Key Revoked"
    for _ in range(2):
        assert account.ask(issue()) == []
    settle(account)
    detail_type, detail = the_answer(account, issue())
    assert (detail_type, detail["key_id"], detail["reason"]) == (
        "Key Revoked",
        key_id,
        "revoked since",
    )
    assert account.gateway.ids == [BUSY]
    assert alive_with(account, value) == []
    row = account.request_store.requests(["issue-1"])["issue-1"]
    assert (row.status, row.grant) == (Status.ANSWERED, None)


def test_the_sender_of_a_request_whose_key_is_revoked_hears_of_it_without_asking_again(
    account: Account,
) -> None:
    (key_id,) = dies_before_its_keys_are_proven(account, issue())
    account.night()
    assert account.ask(revoke(key_id)) == []
    settle(account)
    assert [kind for kind, _ in account.answers("issue-1")] == ["Key Revoked"]


@pytest.mark.parametrize("adopted", [False, True])
def test_a_key_that_somebody_disabled_before_it_was_delivered_stays_disabled(
    account: Account, adopted: bool
) -> None:
    (key_id,) = dies_before_its_keys_are_proven(account, issue())
    if adopted:
        account.night()
    account.gateway.change(key_id, enabled=False)
    for _ in range(2):
        assert account.ask(issue()) == []
    assert code_of(account, issue()) == "protected"
    assert account.gateway.ids == [BUSY, key_id]
    assert not account.enabled(key_id)
    account.pass_day()
    account.night()
    assert not account.enabled(key_id)


def test_a_key_that_somebody_deleted_before_it_was_delivered_comes_with_another_value(
    account: Account,
) -> None:
    (key_id,) = dies_before_its_keys_are_proven(account, issue())
    value = account.gateway.whole(key_id)[1]
    account.gateway.delete(key_id)
    assert account.ask(issue()) == []
    assert not_a_working_key(account, issue()) == []
    assert alive_with(account, value) == []


def test_a_key_that_a_sweep_disabled_before_it_was_delivered_is_delivered_enabled(
    account: Account, an_account: AccountMaker
) -> None:
    account.policy = an_asking_policy(never_used_days=1)
    account.wire()
    (key_id,) = dies_before_its_keys_are_proven(account, issue())
    account.nights(3)
    assert the_row(account, key_id).state is State.DISABLED
    assert account.ask(issue()) == []
    assert (key_of(account, issue()), not_a_working_key(account, issue())) == (key_id, [])


def test_a_key_of_a_run_that_died_is_put_into_the_plan_that_it_lost(account: Account) -> None:
    (key_id,) = dies_before_its_keys_are_proven(account, issue())
    (plan_id,) = account.gateway.plans_of(key_id)
    account.gateway.delete_plan(plan_id)
    assert account.ask(issue()) == []
    assert (key_of(account, issue()), not_a_working_key(account, issue())) == (key_id, [])


def test_a_key_that_only_says_that_it_was_asked_for_is_adopted_like_any_other(
    account: Account,
) -> None:
    (key_id,) = dies_before_its_keys_are_proven(account, issue())
    key = account.gateway.whole(key_id)[0]
    account.key("forged", name=key.name[:-1] + "9", description=key.description)
    account.key("unasked", name=key.name, description="request=unasked sender=AROANOBODY")
    account.night()
    for name in ("forged", "unasked"):
        row = the_row(account, name)
        assert (row.issued, row.owner, row.request_ids) == (False, None, ())


def test_a_key_in_a_plan_that_was_made_for_a_tier_belongs_to_that_tier(account: Account) -> None:
    """Also if nothing of its request is left."""
    (key_id,) = dies_before_its_keys_are_proven(account, issue())
    account.clients.dynamodb.delete_item(
        TableName=account.table,
        Key={"pk": {"S": "REQUEST"}, "sk": {"S": row_id("issue-1", SENDER)}},
    )
    account.policy = an_asking_policy(
        replace(account.policy.tiers[TIER], admins=(ADMIN,)), unclaimed()
    )
    account.wire()
    account.night()
    row = the_row(account, key_id)
    assert (row.tier, row.issued) == (TIER, False)
    assert account.ask(revoke(key_id), sender=ADMIN) == []
    assert code_of(account, revoke(key_id)) == "Key Revoked"


# --- a revocation at any moment -------------------------------------------------------------------


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("what", ["issue", "rotate"])
@pytest.mark.sampled
def test_a_key_that_is_revoked_after_its_run_died_at_any_call_stays_so(
    account: Account, cut: Cut, what: str
) -> None:
    body = rotate(asked(account, issue())) if what == "rotate" else issue()
    snapshot = account.snapshot()
    account.around = line = Line()
    assert account.ask(body) == []
    account.around = undisturbed
    for number, name in enumerate(line.calls):
        account.go_back(snapshot)
        account.around = cut(number)
        try:
            left = account.ask(body)
        except Killed:
            left = [0]
        account.around = undisturbed
        account.real_now += DAY / 48
        account.night()
        ids = [key_id for key_id in account.gateway.ids if key_id != BUSY]
        values = {account.gateway.whole(key_id)[1] for key_id in ids}
        revoked = [revoke(key_id, reason="leaked") for key_id in ids]
        deliver(account, *revoked, sender=ADMIN)
        assert {code_of(account, one) for one in revoked} <= {"Key Revoked"}, (name, number)
        assert account.gateway.ids == [BUSY], (name, number)
        if left:
            deliver(account, body)
        settle(account)
        living = {account.gateway.whole(key_id)[1] for key_id in account.gateway.ids}
        assert not living & values, (name, number)
        # One that was made after the revocation is another key, and the answer tells of it.
        for key_id in set(account.gateway.ids) - {BUSY}:
            assert key_of(account, body) == key_id, (name, number)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["issue", "rotate"])
@pytest.mark.sampled
def test_a_revocation_at_any_moment_of_an_issue_leaves_no_revoked_value_alive(
    account: Account, what: str
) -> None:
    """A night adopts the key and an admin asks for its end, right before each call of the run."""
    body = rotate(asked(account, issue())) if what == "rotate" else issue()
    old = set(account.gateway.ids)
    snapshot = account.snapshot()
    account.around = line = Line()
    assert account.ask(body) == []
    for number, name in enumerate(line.calls):
        account.go_back(snapshot)
        revocations: list[Body] = []
        waiting: list[Body] = []
        calls = iter(range(len(line.calls) + 1_000))

        def around(
            _: str,
            call: Call,
            calls: Iterator[int] = calls,
            number: int = number,
            revocations: list[Body] = revocations,
            waiting: list[Body] = waiting,
        ) -> Any:
            if next(calls) == number:
                account.around = undisturbed
                account.night()
                for key_id in set(account.gateway.ids) - old:
                    revocations.append(revoke(key_id))
                    if account.ask(revoke(key_id), sender=ADMIN):
                        waiting.append(revoke(key_id))
            return call()

        account.around = around
        try:
            left = account.ask(body)
        finally:
            account.around = undisturbed
        values = {
            account.gateway.whole(one["key_id"])[1]
            for one in waiting
            if one["key_id"] in account.gateway.ids
        }
        settle(account)
        if left:
            deliver(account, body)
        if waiting:
            deliver(account, *waiting, sender=ADMIN)
        settle(account)
        if left:
            deliver(account, body)
        assert {code_of(account, one) for one in revocations} <= {"Key Revoked"}, (name, number)
        assert not set(account.gateway.ids) & {one["key_id"] for one in revocations}, name
        for value in values:
            assert alive_with(account, value) == [], (name, number)


def test_a_rotated_key_whose_successor_is_revoked_and_whose_rotation_comes_again_has_no_successor(
    account: Account,
) -> None:
    old = asked(account, issue())
    (new,) = dies_before_its_keys_are_proven(account, rotate(old))
    value = account.gateway.whole(new)[1]
    account.night()
    assert account.ask(revoke(new), sender=ADMIN) == []
    assert account.ask(rotate(old)) == []
    assert the_answer(account, rotate(old))[0] == "Key Revoked"
    assert alive_with(account, value) == []
    assert account.ask(renew(old)) == []
    assert (the_row(account, old).rotated_to, account.enabled(old)) == (None, True)
