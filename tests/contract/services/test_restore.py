"""Undo and restore: what was disabled and parked comes back as it was."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from keyjanitor.adapters.ledger import Change
from keyjanitor.domain.model.keys import Mode, State
from keyjanitor.domain.model.records import Announcement, Row
from keyjanitor.errors import (
    AccessDenied,
    AccountFull,
    CallFailed,
    ClaimLost,
    KeyjanitorError,
    ModeRefused,
    NotRestorable,
    UnexpectedAnswer,
)
from keyjanitor.services.restore import half_built, restore
from sandbox.memory.adapters.api_gateway import value_of
from sandbox.memory.clients.refusal import refused
from tests.account import BUSY, Account, Call, Calls, Killed, brisk
from tests.builders import DAY, KEY_ID, PLAN_ID, TODAY, a_usage_plan, at

AccountMaker = Callable[..., Account]
LONG = brisk(retain_days=365)


def parked(account: Account, key_id: str = KEY_ID, **more: Any) -> Row:
    """Lives a key until it is parked; gives its row."""
    account.key(key_id, idle=60, **more)
    account.nights(3)
    row = account.row(key_id)
    assert row is not None
    assert row.state is State.PARKED
    return row


def brought_back(account: Account, row: Row) -> str:
    """Restores a parked key; gives its new id."""
    return restore(row, account.today, account.adapters, account.policy).key_id


@pytest.fixture
def account(an_account: AccountMaker) -> Account:
    """An account whose parked keys are retained for a year."""
    return an_account(policy=LONG)


# --- restore --------------------------------------------------------------------------------------


@pytest.mark.life("K-109")
@pytest.mark.parametrize("value", ["", "v" * 20, "~" * 128, "pl+us/and=equals,comma;quote\"'"])
def test_a_restored_key_is_as_it_was_but_for_its_id(account: Account, value: str) -> None:
    account.gateway.add_plan(a_usage_plan("plan2", name="second", stages=("api2:prod",)))
    account.gateway.use("plan2", "busy000000", TODAY - DAY)
    account.key(
        KEY_ID,
        idle=60,
        value=value,
        plans=(PLAN_ID, "plan2"),
        name="sensors, hall 4: \N{SNOWMAN}",
        description='says "hello"',
        customer_id="market-17",
        tags={"team": "sensors", "cost": "4711"},
    )
    before = account.gateway.whole(KEY_ID)
    account.night()
    account.own(KEY_ID, "user-8f1c")
    account.pass_day()
    account.nights(2)
    row = account.row(KEY_ID)
    assert row is not None
    new_id = brought_back(account, row)
    key, value, plans = account.gateway.whole(new_id)
    old_key, *value_and_plans = before
    assert new_id != KEY_ID
    assert [value, plans] == value_and_plans
    assert replace(key, key_id=KEY_ID, created_date=at(TODAY), last_updated_date=at(TODAY)) == (
        replace(old_key, created_date=at(TODAY), last_updated_date=at(TODAY))
    )
    live = account.row(new_id)
    assert live is not None
    assert (live.state, live.owner, live.tier) == (State.ACTIVE, "user-8f1c", "external")
    assert (live.restored_on, live.previous_key_ids) == (account.today, (KEY_ID,))
    assert live.last_used == TODAY - DAY * 60
    assert account.states()[KEY_ID] == "restored"


def test_a_restored_keys_tombstone_is_destroyed(account: Account) -> None:
    brought_back(account, parked(account))
    assert account.versions("tombstones/") == []


def test_a_restored_key_is_told_of_with_the_id_that_it_had(account: Account) -> None:
    new_id = brought_back(account, parked(account))
    account.sweep()
    assert account.told(new_id) == ["Key Restored"]
    assert account.events[-1]["Detail"]["previous_key_id"] == KEY_ID


def test_a_restore_begins_the_clock_anew(account: Account) -> None:
    new_id = brought_back(account, parked(account))
    account.pass_day()
    account.night()
    assert account.keys_file()[new_id]["verdict"] == "keep"
    assert account.keys_file()[new_id]["idle_days"] == 1


def test_a_later_run_of_the_date_knows_a_restored_keys_plans_and_tier(account: Account) -> None:
    """The reading of that night knows it by its former id."""
    row = parked(account)
    new_id = brought_back(account, row)
    account.sweep()
    line = account.keys_file()[new_id]
    assert (line["tier"], line["usage_plan_ids"]) == ("external", [PLAN_ID])
    assert (line["verdict"], line["reason_code"]) == ("keep", "within_idle_limit")
    assert (line["facts"]["days"], line["idle_since"]) == (0, str(account.today))
    assert KEY_ID not in account.keys_file()


def test_a_key_that_has_the_value_already_is_left_alone(account: Account) -> None:
    row = parked(account)
    account.gateway.add_key(
        replace(account.gateway.whole("busy000000")[0], key_id="living", name="theirs"),
        value_of(KEY_ID),
    )
    before = account.gateway.keys()
    with pytest.raises(NotRestorable, match="left alone"):
        brought_back(account, row)
    assert account.gateway.keys() == before
    still = account.row(KEY_ID)
    assert still is not None
    assert (still.state, still.claim) == (State.PARKED, None)
    assert list(account.buried()) == [KEY_ID]


def test_an_undo_of_a_key_whose_value_lives_again_does_the_others(account: Account) -> None:
    for key_id in (KEY_ID, "other"):
        account.key(key_id, idle=60)
    account.nights(3)
    account.gateway.add_key(
        replace(account.gateway.whole("busy000000")[0], key_id="living", name="theirs"),
        value_of(KEY_ID),
    )
    assert account.sweep(undo=str(account.today))["applied"]["restore"] == 1
    assert account.states()[KEY_ID] == "parked"
    assert account.states()["other"] == "restored"


def test_a_key_that_stands_under_the_marker_is_our_own_earlier_try(account: Account) -> None:
    row = parked(account)

    def answer_lost(call: Call) -> Any:
        call()
        raise TimeoutError

    account.around = Calls(apigateway_create_disabled=answer_lost)
    with pytest.raises(TimeoutError):
        brought_back(account, row)
    (half_done,) = set(account.gateway.ids) - {"busy000000"}
    assert not account.enabled(half_done)
    assert account.gateway.whole(half_done)[2] == ()
    account.around = Calls()
    dry_run = account.sweep(mode="observe")
    assert account.lines_in(dry_run["keys_file"])[half_done]["reason"] == "being restored"
    answer = account.sweep()  # which brings to an end what was begun
    assert answer["applied"]["restore"] == 1
    assert account.gateway.whole(half_done)[0].name == f"name of {KEY_ID}"
    assert account.enabled(half_done)


def test_until_all_of_it_is_done_a_restored_key_opens_nothing(account: Account) -> None:
    row = parked(account)
    account.around = calls = Calls()
    brought_back(account, row)
    changes = [name for name in calls.names if name.startswith("apigateway") and "key" not in name]
    assert changes == [
        "apigateway.create_disabled",
        "apigateway.attach",
        "apigateway.rename",
        "apigateway.set_enabled",
    ]


def test_a_key_comes_back_without_a_plan_that_is_no_more(account: Account) -> None:
    account.gateway.add_plan(a_usage_plan("plan2", name="second"))
    row = parked(account, plans=(PLAN_ID, "plan2"))
    del account.gateway.plans["plan2"]
    new_id = brought_back(account, row)
    assert account.gateway.whole(new_id)[2] == (PLAN_ID,)


def test_tags_of_aws_itself_do_not_keep_a_key_from_coming_back(account: Account) -> None:
    row = parked(account, tags={"aws:servicecatalog:id": "1", "team": "sensors"})
    key, _, _ = account.gateway.whole(brought_back(account, row))
    assert key.tags == {"team": "sensors"}


@pytest.mark.parametrize("body", [b"{}", b"not json", None], ids=["damaged", "no JSON", "gone"])
def test_a_tombstone_that_does_not_open_leaves_its_key_parked(
    account: Account, body: bytes | None
) -> None:
    row = parked(account)
    s3, name = account.clients.s3, f"tombstones/{KEY_ID}.json"
    if body is None:
        account.history.destroy_tombstone(KEY_ID)
    else:
        s3.put_object(Bucket=account.bucket, Key=name, Body=body)
    with pytest.raises(NotRestorable):
        brought_back(account, row)
    still = account.row(KEY_ID)
    assert still is not None
    assert (still.state, still.claim) == (State.PARKED, None)


# --- told and taken up again ----------------------------------------------------------------------


def told_so(row: Row) -> Announcement:
    detail = {"key_id": row.key_id, "state": str(row.state), "reason": row.reason}
    return Announcement("the answer", "Key Restored", detail, not_before=at(TODAY))


def test_who_restores_says_what_is_told_of_it(account: Account) -> None:
    row = parked(account)
    live = restore(row, account.today, account.adapters, account.policy, told_so)
    detail = {"key_id": live.key_id, "state": "active", "reason": "restored"}
    assert account.ledger.unsent() == [
        Announcement("the answer", "Key Restored", detail, not_before=at(TODAY))
    ]


def test_a_key_that_comes_back_without_a_plan_says_so(account: Account) -> None:
    for plan_id in ("plan2", "plan3"):
        account.gateway.add_plan(a_usage_plan(plan_id, name=plan_id))
    row = parked(account, plans=("plan3", PLAN_ID, "plan2"))
    for plan_id in ("plan2", "plan3"):
        account.gateway.delete_plan(plan_id)
    live = restore(row, account.today, account.adapters, account.policy, told_so)
    because = "restored without its usage plans plan2 (it is no more), plan3 (it is no more)"
    assert live.reason == because
    (told,) = account.ledger.unsent()
    assert told.detail["reason"] == because
    assert (live.reason_code, live.facts) == (
        "restored_without",
        {
            "usage_plans": [
                {"usage_plan_id": "plan2", "why": "it is no more"},
                {"usage_plan_id": "plan3", "why": "it is no more"},
            ],
            "in_no_plan": False,
            "called": None,
        },
    )


@pytest.mark.life("K-109")
def test_a_key_that_a_plan_refuses_comes_back_in_the_plans_that_take_it(account: Account) -> None:
    account.gateway.add_plan(a_usage_plan("plan2", name="second", stages=("api2:prod",)))
    account.gateway.use("plan2", "busy000000", TODAY - DAY)
    row = parked(account, plans=(PLAN_ID, "plan2"))
    # While the key was in neither, the second plan was given a stage of the first.
    both = a_usage_plan("plan2", name="second", stages=("api2:prod", "api1:prod"))
    account.gateway.plans["plan2"] = both
    assert account.sweep(undo=str(account.today))["applied"]["restore"] == 1
    (live,) = (one for one in account.ledger.live_rows().values() if one.previous_key_ids)
    assert account.gateway.whole(live.key_id)[2] == (PLAN_ID,)
    assert account.enabled(live.key_id)
    told = account.events[-1]
    assert (told["DetailType"], told["Detail"]["reason"]) == (
        "Key Restored",
        "restored without its usage plans plan2 (it refuses the key, ConflictException)",
    )
    assert account.states()[row.key_id] == "restored"


@pytest.mark.parametrize("code", ["BadRequestException", "LimitExceededException"])
def test_a_key_that_no_plan_takes_says_that_it_opens_nothing(account: Account, code: str) -> None:
    row = parked(account)

    def refuses(_: Call) -> Any:
        raise CallFailed("CreateUsagePlanKey", code)

    account.around = Calls(apigateway_attach=refuses)
    live = restore(row, account.today, account.adapters, account.policy, told_so)
    assert live.reason == (
        f"restored without its usage plans plan1 (it refuses the key, {code}); "
        "without any usage plan, so it opens nothing until it is put into one"
    )
    assert account.enabled(live.key_id)


@pytest.mark.parametrize(
    "err",
    [
        CallFailed("CreateUsagePlanKey", "TooManyRequestsException"),
        CallFailed("CreateUsagePlanKey", "ConcurrentModification"),
        AccessDenied("apigateway:POST on /usageplans/*/keys", "role"),
    ],
    ids=["throttled", "others change the plan", "denied"],
)
def test_a_plan_that_may_take_the_key_later_is_tried_again(
    account: Account, err: KeyjanitorError
) -> None:
    row = parked(account)
    account.around = Calls(apigateway_attach=fail_once(err))
    with pytest.raises(type(err)):
        restore(row, account.today, account.adapters, account.policy, told_so)
    live = restore(the_row(account), account.today, account.adapters, account.policy, told_so)
    assert live.reason == "restored"
    assert account.gateway.whole(live.key_id)[2] == (PLAN_ID,)


def test_a_key_without_a_name_comes_back_if_api_gateway_refuses_an_empty_name(
    account: Account,
) -> None:
    row = parked(account, name="")
    rename = account.gateway.rename

    def refuses_none(key_id: str, name: str) -> Any:
        if not name:
            raise CallFailed("UpdateApiKey", "BadRequestException")
        return rename(key_id, name)

    account.gateway.rename = refuses_none  # type: ignore[method-assign]
    live = restore(row, account.today, account.adapters, account.policy, told_so)
    assert account.gateway.whole(live.key_id)[0].name == f"restored {KEY_ID}"
    assert account.enabled(live.key_id)
    assert "empty name" in live.reason


def begun_and_failing(an_account: AccountMaker, name: str) -> Account:
    """A parked key whose restore fails at a call, every time, past the date of its purge."""
    account = an_account(policy=brisk(retain_days=5))
    row = parked(account)
    assert row.key_id == KEY_ID

    def fails(_: Call) -> Any:
        raise CallFailed("Call", "InternalServerErrorException")

    account.around = Calls(**{name: fails})
    account.sweep(undo=str(account.today))
    for _ in range(29):
        account.pass_day()
        account.night()
    assert the_row(account).state is State.PARKED
    assert "tombstones/k0.json" in account.objects("tombstones/")
    return account


@pytest.mark.parametrize("name", ["apigateway_attach", "apigateway_create_disabled"])
def test_a_restore_that_never_ends_keeps_a_tombstone_for_a_month_and_not_longer(
    an_account: AccountMaker, name: str
) -> None:
    account = begun_and_failing(an_account, name)
    for _ in range(3):
        account.pass_day()
        account.night()
    assert the_row(account).state is State.PURGED
    assert account.versions("tombstones/") == []
    # What it had built is gone too: it took a slot of the key limit.
    assert account.gateway.ids == [BUSY]


def test_a_key_that_a_restore_has_enabled_is_not_purged(an_account: AccountMaker) -> None:
    account = begun_and_failing(an_account, "apigateway_key")
    (new,) = set(account.gateway.ids) - {BUSY}
    assert account.enabled(new)
    account.around = Calls()
    account.gateway.now += DAY
    row = the_row(account)
    account.ledger.commit(
        [Change(row, replace(row, claim=replace(row.claim, on=row.claim.on - DAY * 9)))]
        if row.claim
        else []
    )
    account.pass_day()
    account.night()
    assert account.row(new) is not None
    assert new in account.gateway.ids


def test_nothing_is_told_of_a_key_that_is_not_back_yet(account: Account) -> None:
    row = parked(account)
    account.around = Calls(apigateway_set_enabled=fail_once(TimeoutError()))
    with pytest.raises(TimeoutError):
        restore(row, account.today, account.adapters, account.policy, told_so)
    assert account.ledger.unsent() == []
    restore(the_row(account), account.today, account.adapters, account.policy, told_so)
    assert [one.announcement_id for one in account.ledger.unsent()] == ["the answer"]


def the_row(account: Account) -> Row:
    row = account.row(KEY_ID)
    assert row is not None
    return row


def fail_once(err: BaseException) -> Callable[[Call], Any]:
    left = [err]

    def act(call: Call) -> Any:
        if left:
            raise left.pop()
        return call()

    return act


def lose_once(err: BaseException) -> Callable[[Call], Any]:
    """The call is carried out, and its answer lost."""
    left = [err]

    def act(call: Call) -> Any:
        answer = call()
        if left:
            raise left.pop()
        return answer

    return act


STEPS = ("create_disabled", "attach", "rename", "set_enabled", "key")


@pytest.mark.parametrize("how", [fail_once, lose_once])
@pytest.mark.parametrize("step", STEPS)
def test_a_restore_that_was_cut_off_goes_on_with_the_key_that_it_built(
    account: Account, step: str, how: Callable[[BaseException], Callable[[Call], Any]]
) -> None:
    row = parked(account)
    account.around = Calls(**{f"apigateway_{step}": how(TimeoutError())})
    with pytest.raises(TimeoutError):
        brought_back(account, row)
    new_id = brought_back(account, the_row(account))
    assert set(account.gateway.ids) == {"busy000000", new_id}
    key, value, plans = account.gateway.whole(new_id)
    assert (key.name, key.enabled) == (f"name of {KEY_ID}", True)
    assert (value, plans) == (value_of(KEY_ID), (PLAN_ID,))
    assert account.versions("tombstones/") == []
    assert account.states() == {
        "busy000000": "active",
        KEY_ID: "restored",
        new_id: "active",
    }


def test_a_half_built_key_that_somebody_deleted_is_built_again(account: Account) -> None:
    row = parked(account)
    account.around = Calls(apigateway_attach=fail_once(TimeoutError()))
    with pytest.raises(TimeoutError):
        brought_back(account, row)
    first = the_row(account).new_key_id
    assert first is not None
    account.gateway.delete(first)
    new_id = brought_back(account, the_row(account))
    assert new_id != first
    assert set(account.gateway.ids) == {"busy000000", new_id}


def test_a_key_that_does_not_read_back_as_it_was_is_not_announced(account: Account) -> None:
    row = parked(account)

    def unlike(call: Call) -> Any:
        key = call()
        return replace(key, enabled=False) if key else None

    account.around = Calls(apigateway_key=unlike)
    with pytest.raises(UnexpectedAnswer, match="does not read back as it was restored"):
        brought_back(account, row)
    assert the_row(account).state is State.PARKED
    assert account.ledger.unsent() == []
    assert list(account.buried()) == [KEY_ID]
    account.around = Calls()
    assert account.enabled(brought_back(account, the_row(account)))


def test_a_restore_whose_row_somebody_else_has_written_leaves_the_key_parked(
    account: Account,
) -> None:
    row = parked(account)
    account.change_row(KEY_ID, owner="another")
    before = account.gateway.keys()
    with pytest.raises(ClaimLost):
        brought_back(account, row)
    assert account.gateway.keys() == before


def test_a_full_account_leaves_the_key_parked_and_its_tombstone_closed(account: Account) -> None:
    row = parked(account)

    def full(_: Call) -> Any:
        raise CallFailed("CreateApiKey", "LimitExceededException")

    account.around = Calls(apigateway_create_disabled=full)
    with pytest.raises(AccountFull):
        brought_back(account, row)
    assert (the_row(account).state, the_row(account).claim) == (State.PARKED, None)
    account.around = Calls()
    assert account.enabled(brought_back(account, the_row(account)))


@pytest.mark.parametrize(
    ("failing", "transient"), [("s3_get_object", True), ("kms_decrypt", True), (None, False)]
)
def test_whether_it_is_of_use_to_try_again_is_said(
    account: Account, failing: str | None, transient: bool
) -> None:
    row = parked(account)
    if failing:
        account.around = Calls(**{failing: fail_once(refused("Any", "InternalError", 500))})
    else:
        account.history.destroy_tombstone(KEY_ID)
    with pytest.raises(NotRestorable) as err:
        brought_back(account, row)
    assert err.value.transient is transient
    assert the_row(account).state is State.PARKED
    if transient:
        assert account.enabled(brought_back(account, the_row(account)))


# --- half built -----------------------------------------------------------------------------------


def test_a_key_that_nobody_began_to_restore_is_not_half_built(account: Account) -> None:
    account.around = calls = Calls()
    assert half_built(parked(account), account.adapters) is None
    assert calls.count("apigateway.key_named") == 0


@pytest.mark.parametrize("step", ["create_disabled", "attach", "rename"])
def test_what_a_restore_that_died_has_built_is_found(account: Account, step: str) -> None:
    """Whoever revokes the key has to know: it has the value."""
    row = parked(account)
    account.around = Calls(**{f"apigateway_{step}": lose_once(Killed())})
    with pytest.raises(Killed):
        brought_back(account, row)
    (built,) = set(account.gateway.ids) - {"busy000000"}
    account.around = Calls()
    assert half_built(the_row(account), account.adapters) == built
    account.gateway.delete(built)
    assert half_built(the_row(account), account.adapters) is None


@pytest.mark.parametrize("failing", ["s3_get_object", "kms_decrypt"])
def test_what_was_built_is_found_though_a_second_try_could_not_open_the_tombstone(
    account: Account, failing: str
) -> None:
    row = parked(account)
    account.around = Calls(apigateway_create_disabled=lose_once(Killed()))
    with pytest.raises(Killed):
        brought_back(account, row)
    account.around = Calls(**{failing: fail_once(refused("Any", "InternalError", 500))})
    with pytest.raises(NotRestorable):
        brought_back(account, the_row(account))
    (built,) = set(account.gateway.ids) - {"busy000000"}
    assert half_built(the_row(account), account.adapters) == built
    assert brought_back(account, the_row(account)) == built


def test_a_living_key_with_the_value_is_not_half_built(account: Account) -> None:
    row = parked(account)
    account.around = Calls(apigateway_create_disabled=fail_once(Killed()))
    with pytest.raises(Killed):
        brought_back(account, row)
    theirs = replace(account.gateway.whole("busy000000")[0], key_id="living", name="theirs")
    account.gateway.add_key(theirs, value_of(KEY_ID))
    assert half_built(the_row(account), account.adapters) is None


# --- undo -----------------------------------------------------------------------------------------


def the_dates(account: Account) -> tuple[date, date]:
    """Three keys, one each disabled, parked and warned on the second of two dates; gives both."""
    for index in range(3):
        account.key(f"idle{index}", idle=60 - index)
    account.nights(3)
    return account.today - DAY, account.today


@pytest.mark.life("K-1203")
def test_undo_enables_and_restores_all_that_the_sweeps_of_a_date_did(account: Account) -> None:
    _, day = the_dates(account)
    answer = account.sweep(undo=str(day))
    assert {verb: n for verb, n in answer["applied"].items() if n} == {"enable": 1, "restore": 1}
    [new_id] = [row.new_key_id for row in account.rows().values() if row.key_id == "idle0"]
    assert answer["did"]["keys"] == [
        {"action": "enable", "key_id": "idle1"},
        {"action": "restore", "key_id": "idle0", "new_key_id": new_id},
    ]
    assert account.states()["idle0"] == "restored"
    assert account.states()["idle1"] == "active"
    assert account.states()["idle2"] == "warned"
    assert account.enabled("idle1")
    assert account.told("idle1")[-1] == "Key Restored"


def test_undo_brings_back_what_was_disabled_on_the_date_and_parked_since(account: Account) -> None:
    day, _ = the_dates(account)
    applied = account.sweep(undo=str(day))["applied"]
    assert {verb: n for verb, n in applied.items() if n} == {"restore": 1}
    assert account.states()["idle1"] == "disabled"


def test_undo_of_named_keys_leaves_the_others(account: Account) -> None:
    _, day = the_dates(account)
    applied = account.sweep(undo=str(day), key_ids=["idle1", "nobody"])["applied"]
    assert {verb: n for verb, n in applied.items() if n} == {"enable": 1}
    assert account.states()["idle0"] == "parked"


def test_undo_of_a_date_on_which_nothing_was_done_does_nothing(account: Account) -> None:
    the_dates(account)
    before = (account.rows(), account.gateway.keys())
    assert not any(account.sweep(undo="2026-01-01")["applied"].values())
    assert (account.rows(), account.gateway.keys()) == before


def test_a_second_undo_of_a_date_finds_nothing_to_do(account: Account) -> None:
    _, day = the_dates(account)
    account.sweep(undo=str(day))
    before = (account.rows(), account.gateway.keys(), len(account.events))
    assert not any(account.sweep(undo=str(day))["applied"].values())
    assert (account.rows(), account.gateway.keys(), len(account.events)) == before


def test_a_key_is_parked_and_undone_twice_and_keeps_its_value_and_its_history(
    an_account: AccountMaker,
) -> None:
    account = an_account(policy=brisk(retain_days=365, never_used_days=1, idle_days=35))
    account.key(KEY_ID, idle=60)
    account.nights(3)
    account.sweep(undo=str(account.today))
    account.pass_day()
    account.night()
    account.skip(40)
    account.nights(3)
    account.sweep(undo=str(account.today))
    (third,) = (row for row in account.ledger.live_rows().values() if row.previous_key_ids)
    assert len(third.previous_key_ids) == 2
    assert third.previous_key_ids[0] == KEY_ID
    assert account.gateway.whole(third.key_id)[1:] == (value_of(KEY_ID), (PLAN_ID,))
    assert account.states()[KEY_ID] == "restored"
    assert account.states()[third.previous_key_ids[1]] == "restored"


def test_what_was_undone_is_for_the_clock_restored(account: Account) -> None:
    _, day = the_dates(account)
    account.sweep(undo=str(day))
    account.pass_day()
    account.night()
    assert account.keys_file()["idle1"]["verdict"] == "keep"
    assert account.keys_file()["idle1"]["idle_days"] == 1


def test_what_was_undone_counts_in_the_allowance_of_its_date(account: Account) -> None:
    """On one date at most so many keys are disabled, undone or not."""
    account.policy = replace(LONG, sweep=replace(LONG.sweep, max_share=1.0))
    account.wire()
    for index in range(30):
        account.key(f"idle{index:02}", idle=60)
    account.night()
    account.policy = LONG
    account.wire()
    account.pass_day()
    assert account.night()["applied"]["disable"] == 20
    assert account.sweep(undo=str(account.today))["applied"]["enable"] == 20
    assert account.sweep()["applied"]["disable"] == 0


def test_an_undo_is_refused_where_nothing_may_be_touched(an_account: AccountMaker) -> None:
    account = an_account(mode=Mode.OBSERVE)
    account.read()
    with pytest.raises(ModeRefused):
        account.sweep(undo=str(TODAY))


def test_the_deadline_of_an_undo_leaves_the_rest_to_the_next(account: Account) -> None:
    for index in range(6):
        account.key(f"idle{index}", idle=60)
    account.nights(3)
    account.around = calls = Calls()

    def left() -> int:
        return 10_000 - 4_000 * calls.count("apigateway.create_disabled")

    answer = account.sweep(account.context(left), undo=str(account.today))
    assert (answer["applied"]["restore"], answer["remaining"]) == (2, 4)
    account.around = Calls()
    assert account.sweep(undo=str(account.today))["applied"]["restore"] == 4
    values = sorted(account.gateway.whole(key_id)[1] for key_id in account.gateway.ids)
    assert values == sorted(map(value_of, ("busy000000", *(f"idle{n}" for n in range(6)))))
