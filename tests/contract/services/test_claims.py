"""What others did is theirs, and the newest knowledge acts: looks, claims, and steps that fail."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keyjanitor.domain.expiry.verdicts import decide
from keyjanitor.domain.model.keys import State
from keyjanitor.errors import AccessDenied, CallFailed, KeyjanitorError, TooManyFailed
from keyjanitor.services.expire_keys.gather import gather
from sandbox.memory.clients.refusal import refused
from tests.account import BUSY, Account, Call, Calls, Killed, at_the_sweep, brisk
from tests.builders import (
    ADMIN,
    DAY,
    KEY_ID,
    PLAN_ID,
    a_policy,
    a_tier,
    a_usage_plan,
    unclaimed,
)

AccountMaker = Callable[..., Account]
SLOW = a_policy(a_tier(warn_days=1, grace_days=14, admins=(ADMIN,)))


def dies_before(name: str) -> Callable[[str, Call], Any]:
    """A run that Lambda ends right before a call."""

    def around(called: str, call: Call) -> Any:
        if called == name:
            raise Killed
        return call()

    return around


def then_somebody(name: str, act: Callable[[], Any]) -> Callable[[str, Call], Any]:
    """What somebody else does, once, right before a call of ours."""
    done: list[str] = []

    def around(called: str, call: Call) -> Any:
        if called == name and not done:
            done.append(called)
            act()
        return call()

    return around


def due(account: Account, *, nights: int, key_id: str = KEY_ID, **more: Any) -> None:
    """A key that after so many nights is due for its next step tonight; tonight is read."""
    account.key(key_id, idle=60, **more)
    for _ in range(nights):
        account.night()
        account.pass_day()
    account.read()


# --- a disabling that is not ours -----------------------------------------------------------------


def dies_before_it_disables(account: Account) -> None:
    due(account, nights=1)
    account.around = dies_before("apigateway.set_enabled")
    with pytest.raises(Killed):
        account.sweep()
    account.around = Calls()
    account.real_now += timedelta(minutes=16)
    row = account.row(KEY_ID)
    assert row is not None
    assert row.claim is not None


def disabled_by_security(account: Account, **later: float) -> None:
    account.gateway.now = at_the_sweep(account.today) + timedelta(**later)
    account.gateway.change(KEY_ID, enabled=False)
    account.gateway.now += timedelta(minutes=30)


@pytest.mark.life("K-1104")
def test_what_others_disabled_after_a_run_died_is_theirs_and_no_undo_enables_it(
    an_account: AccountMaker,
) -> None:
    account = an_account(policy=SLOW)
    dies_before_it_disables(account)
    disabled_by_security(account, minutes=45)
    account.sweep()
    row = account.row(KEY_ID)
    assert row is not None
    assert (row.state, row.claim, row.our_update) == (State.ACTIVE, None, None)
    assert account.keys_file()[KEY_ID]["reason"] == "disabled by others"
    day = account.today
    account.pass_day()
    assert account.sweep(undo=str(day))["applied"]["enable"] == 0
    assert account.sweep(undo=str(day), key_ids=[KEY_ID])["applied"]["enable"] == 0
    assert not account.enabled(KEY_ID)


@pytest.mark.life("K-1104")
def test_what_others_disabled_after_a_run_died_is_never_parked_nor_enabled_by_use_or_renew(
    an_account: AccountMaker,
) -> None:
    account = an_account(policy=SLOW)
    dies_before_it_disables(account)
    disabled_by_security(account, minutes=45)
    account.use(KEY_ID)
    for _ in range(20):
        account.pass_day()
        account.night()
    account.own(KEY_ID, "user-8f1c")
    account.ask(
        {"version": 1, "action": "renew", "request_id": "r1", "key_id": KEY_ID}, sender=ADMIN
    )
    assert KEY_ID in account.gateway.ids
    assert not account.enabled(KEY_ID)
    assert "Key Disabled" not in account.told(KEY_ID)
    [(told, detail)] = account.answers("r1")
    assert (told, detail["reason"]) == (
        "Key Renewed",
        "others have disabled this key; it stays so",
    )


def test_what_others_disabled_before_the_claim_of_a_run_that_died_is_theirs(
    an_account: AccountMaker,
) -> None:
    account = an_account(policy=SLOW)
    due(account, nights=1)
    # They do so a minute before the claim, after the list was read; the run dies at its second look.
    account.gateway.now = at_the_sweep(account.today) - timedelta(minutes=1)
    before = then_somebody("owners.stack_of", lambda: account.gateway.change(KEY_ID, enabled=False))
    dies = dies_before("apigateway.key")
    account.around = lambda name, call: before(name, lambda: dies(name, call))
    with pytest.raises(Killed):
        account.sweep()
    account.around = Calls()
    account.real_now += timedelta(minutes=16)
    account.sweep()
    row = account.row(KEY_ID)
    assert row is not None
    assert (row.state, row.our_update) == (State.ACTIVE, None)


@pytest.mark.life("K-1104")
@pytest.mark.parametrize(
    "just_before", ["owners.stack_of", "dynamodb.transact_write_items", "apigateway.key"]
)
def test_what_others_disable_while_a_sweep_is_about_to_is_theirs(
    an_account: AccountMaker, just_before: str
) -> None:
    account = an_account(policy=SLOW)
    due(account, nights=1)
    account.around = then_somebody(
        just_before, lambda: account.gateway.change(KEY_ID, enabled=False)
    )
    assert account.sweep()["applied"]["disable"] == 0
    row = account.row(KEY_ID)
    assert row is not None
    assert (row.state, row.claim) == (State.WARNED, None)
    day = account.today
    account.pass_day()
    assert account.sweep(undo=str(day))["applied"]["enable"] == 0
    assert not account.enabled(KEY_ID)


@pytest.mark.parametrize("just_before", ["dynamodb.transact_write_items", "apigateway.key"])
def test_what_others_change_while_an_undo_is_about_to_enable_it_stays_theirs(
    an_account: AccountMaker, just_before: str
) -> None:
    account = an_account(policy=SLOW)
    due(account, nights=1)
    account.sweep()
    day = account.today
    account.pass_day()
    account.around = then_somebody(
        just_before, lambda: account.gateway.change(KEY_ID, description="leaked")
    )
    assert account.sweep(undo=str(day))["applied"]["enable"] == 0
    assert not account.enabled(KEY_ID)


def test_what_we_disabled_is_ours_if_aws_dates_it_a_second_later_than_it_answered(
    an_account: AccountMaker,
) -> None:
    account = an_account()
    account.gateway.answers_early = timedelta(seconds=1)
    account.key(KEY_ID, idle=60)
    account.key("other", idle=60)
    account.nights(2)
    day = account.today
    account.pass_day()
    assert account.sweep(undo=str(day), key_ids=["other"])["applied"]["enable"] == 1
    assert account.night()["applied"]["park"] == 1


def test_what_others_disable_again_two_seconds_after_us_is_theirs(
    an_account: AccountMaker,
) -> None:
    account = an_account(policy=SLOW)
    account.gateway.answers_early = timedelta(seconds=0)
    due(account, nights=1)
    account.sweep()
    account.gateway.now += timedelta(seconds=2)
    account.gateway.change(KEY_ID, enabled=True)
    account.gateway.change(KEY_ID, enabled=False)
    day = account.today
    account.pass_day()
    account.sweep(undo=str(day))
    assert not account.enabled(KEY_ID)


def test_what_a_run_that_died_did_disable_is_brought_back_by_an_undo(
    an_account: AccountMaker,
) -> None:
    account = an_account(policy=SLOW)
    due(account, nights=1)

    def answer_is_lost(call: Call) -> Any:
        call()
        raise Killed

    account.around = Calls(apigateway_set_enabled=answer_is_lost)
    with pytest.raises(Killed):
        account.sweep()
    account.around = Calls()
    account.real_now += timedelta(minutes=16)
    account.sweep()
    assert account.told(KEY_ID) == ["Key Expiring", "Key Disabled"]
    day = account.today
    account.pass_day()
    assert account.sweep(undo=str(day))["applied"]["enable"] == 1
    assert account.enabled(KEY_ID)


# --- plans are part of the second look ------------------------------------------------------------


def move(account: Account, key_id: str, *plans: str) -> None:
    """Somebody takes a key out of its plans and puts it into others; no date of the key shows it."""
    for plan_id in account.gateway.plans_of(key_id):
        account.gateway.leave(key_id, plan_id)
    for plan_id in plans:
        account.gateway.join(key_id, plan_id)


def with_a_second_plan(account: Account) -> None:
    account.gateway.add_plan(a_usage_plan("plan2", name="gold", stages=("api2:prod",)))
    for back in range(1, 91):
        account.gateway.use("plan2", BUSY, account.today - DAY * back, 1000)


@pytest.mark.life("K-1102")
@pytest.mark.parametrize(
    "plans", [("plan2",), (PLAN_ID, "plan2"), ()], ids=["moved", "added", "out"]
)
def test_a_key_that_was_put_into_other_plans_since_the_reading_is_not_parked(
    account: Account, plans: tuple[str, ...]
) -> None:
    with_a_second_plan(account)
    due(account, nights=2)
    move(account, KEY_ID, *plans)
    answer = account.sweep()
    assert answer["applied"]["park"] == 0
    assert KEY_ID in account.gateway.ids
    assert account.objects("tombstones/") == {}
    row = account.row(KEY_ID)
    assert row is not None
    assert (row.state, row.claim, row.usage_plan_ids) == (State.DISABLED, None, (PLAN_ID,))
    assert answer["left_alone"] == {"its usage plans are not those that were read tonight": 1}


def test_a_key_that_is_parked_comes_back_into_the_plans_that_it_was_in_right_then(
    account: Account,
) -> None:
    with_a_second_plan(account)
    due(account, nights=2, plans=(PLAN_ID, "plan2"))
    assert account.sweep()["applied"]["park"] == 1
    assert account.buried()[KEY_ID][0].usage_plan_ids == (PLAN_ID, "plan2")


def test_an_orphan_that_was_attached_since_the_reading_is_not_parked(
    an_account: AccountMaker,
) -> None:
    policy = a_policy(
        a_tier(), unclaimed(idle_days="never", orphan_days=1, warn_days=1, grace_days=1)
    )
    account = an_account(policy=policy)
    account.key(KEY_ID, plans=(), age=100)
    row = None
    while row is None or row.park_on != account.today:
        account.night()
        account.pass_day()
        row = account.row(KEY_ID)
    account.read()
    move(account, KEY_ID, PLAN_ID)
    assert account.sweep()["applied"]["park"] == 0
    assert KEY_ID in account.gateway.ids


def test_an_empty_answer_for_a_key_that_was_read_in_a_plan_buries_nothing(account: Account) -> None:
    due(account, nights=2)
    account.around = Calls(apigateway_plans_of=lambda _: ())
    assert account.sweep()["applied"]["park"] == 0
    assert account.objects("tombstones/") == {}
    account.around = Calls()
    assert account.sweep()["applied"]["park"] == 1


def test_plans_that_cannot_be_asked_for_leave_the_key(account: Account) -> None:
    due(account, nights=2)

    def fails(_: Call) -> Any:
        raise CallFailed("GetUsagePlans", "InternalServerErrorException")

    account.around = Calls(apigateway_plans_of=fails)
    assert account.sweep()["applied"]["park"] == 0
    row = account.row(KEY_ID)
    assert row is not None
    assert (row.claim, row.failed_on) == (None, account.today)
    account.around = Calls()
    assert account.sweep()["applied"]["park"] == 1


def test_a_stage_that_names_a_key_in_the_old_way_since_it_was_listed_keeps_it_from_being_parked(
    account: Account,
) -> None:
    due(account, nights=2)
    key = account.gateway.living[KEY_ID]
    account.gateway.living[KEY_ID] = replace(key, stage_keys=("api1/prod",))
    listed = account.gateway.keys

    def without_stage_keys() -> Any:
        return [replace(one, stage_keys=()) for one in listed()]

    account.gateway.keys = without_stage_keys  # type: ignore[method-assign]
    assert account.sweep()["applied"]["park"] == 0
    assert KEY_ID in account.gateway.ids


@pytest.mark.parametrize(("nights", "calls"), [(1, 2), (2, 3)], ids=["disabling", "parking"])
def test_a_disabling_takes_two_calls_of_api_gateway_and_a_parking_three(
    account: Account, nights: int, calls: int
) -> None:
    for number in range(7):
        account.key(f"key{number}", idle=60)
    due(account, nights=nights)
    account.around = counted = Calls()
    answer = account.sweep()
    done = answer["applied"]["disable"] + answer["applied"]["park"]
    assert done == 8
    made = [name for name in counted.names if name.startswith("apigateway.")]
    assert len(made) - 1 == calls * done  # one lists all keys, on two pages or forty


# --- nothing is settled by a list -----------------------------------------------------------------


def not_listing(key_id: str) -> Callable[[str, Call], Any]:
    def around(name: str, call: Call) -> Any:
        answer = call()
        if name == "apigateway.keys":
            return [key for key in answer if key.key_id != key_id]
        return answer

    return around


@pytest.mark.parametrize("settles", ["sweep", "undo"])
def test_a_key_that_lives_and_is_not_listed_is_not_written_down_as_parked(
    account: Account, settles: str
) -> None:
    due(account, nights=2)
    account.around = dies_before("apigateway.delete")
    with pytest.raises(Killed):
        account.sweep()
    account.real_now += timedelta(minutes=16)
    account.around = not_listing(KEY_ID)
    account.sweep(**({} if settles == "sweep" else {"undo": str(account.today + DAY)}))
    assert account.states()[KEY_ID] == "disabled"
    assert "Key Parked" not in account.told(KEY_ID)
    account.around = Calls()
    assert account.sweep()["applied"]["park"] == 1
    assert KEY_ID not in account.gateway.ids


def test_a_key_that_lives_and_is_not_listed_for_a_month_keeps_its_row(account: Account) -> None:
    account.key(KEY_ID, idle=1)
    account.night()
    account.around = not_listing(KEY_ID)
    account.pass_day()
    account.night()
    account.skip(31)
    account.around = lambda name, call: not_listing(KEY_ID)(name, counted_calls(name, call))
    counted: list[str] = []

    def counted_calls(name: str, call: Call) -> Call:
        counted.append(name)
        return call

    account.night()
    row = account.row(KEY_ID)
    assert row is not None
    assert row.state is State.ACTIVE
    # One call, for the one row that was about to be closed.
    assert counted.count("apigateway.key") == 1
    account.around = Calls()
    account.night()
    row = account.row(KEY_ID)
    assert row is not None
    assert row.missing_since is None


def test_a_key_that_others_deleted_is_closed_after_a_month(account: Account) -> None:
    account.key(KEY_ID)
    account.night()
    account.gateway.delete(KEY_ID)
    account.pass_day()
    account.night()
    account.skip(31)
    account.night()
    assert account.states()[KEY_ID] == "gone"


# --- a step that fails ----------------------------------------------------------------------------

DENIED = AccessDenied("apigateway:PATCH on /apikeys/*", "role")
BAD = CallFailed("UpdateApiKey", "BadRequestException")


def shield(account: Account, count: int, err: KeyjanitorError) -> None:
    """An SCP keeps our role from changing the keys that have been idle for longest."""
    change = account.gateway.set_enabled

    def set_enabled(key_id: str, *, enabled: bool) -> Any:
        if int(key_id[1:]) < count:
            raise err
        return change(key_id, enabled=enabled)

    account.gateway.set_enabled = set_enabled  # type: ignore[method-assign]


def twenty(account: Account) -> None:
    for number in range(20):
        account.key(f"k{number:02}", idle=80 - number)
    account.night()
    account.pass_day()
    account.read()


def shut(account: Account) -> int:
    return sum(not account.enabled(f"k{number:02}") for number in range(20))


@pytest.mark.parametrize("err", [DENIED, BAD], ids=["denied", "refused"])
@pytest.mark.parametrize("count", [1, 6])
def test_keys_that_may_not_be_touched_stop_no_other(
    account: Account, count: int, err: KeyjanitorError
) -> None:
    twenty(account)
    shield(account, count, err)
    answer = account.sweep()
    assert answer["applied"]["disable"] == 20 - count
    key_ids = [f"k{number:02}" for number in range(count)]
    assert answer["failed"] == {"count": count, "key_ids": key_ids}
    assert shut(account) == 20 - count


@pytest.mark.life("K-1302")
def test_keys_whose_step_failed_go_last_the_next_night(account: Account) -> None:
    for number in range(30):
        account.key(f"k{number:02}", idle=80 - number)
    account.night()
    account.pass_day()
    account.night()
    account.pass_day()
    for number in range(30):
        account.change_row(f"k{number:02}", failed_on=account.today if number < 10 else None)
    account.key("late", idle=80)
    account.read()
    order: list[str] = []
    change = account.gateway.set_enabled

    def set_enabled(key_id: str, *, enabled: bool) -> Any:
        order.append(key_id)
        return change(key_id, enabled=enabled)

    account.gateway.set_enabled = set_enabled  # type: ignore[method-assign]
    account.sweep()
    assert order == sorted(order, key=lambda key_id: int(key_id[1:]) < 10)


def test_a_failure_is_forgotten_when_the_step_succeeds(account: Account) -> None:
    due(account, nights=1)

    def denied(_: Call) -> Any:
        raise DENIED

    account.around = Calls(apigateway_set_enabled=denied)
    account.sweep()
    row = account.row(KEY_ID)
    assert row is not None
    # What is denied was not carried out: nothing is left to settle.
    assert (row.failed_on, row.claim) == (account.today, None)
    account.around = Calls()
    account.pass_day()
    assert account.night()["applied"]["disable"] == 1
    row = account.row(KEY_ID)
    assert row is not None
    assert row.failed_on is None


def test_a_run_that_may_touch_nothing_fails_after_ten_keys(account: Account) -> None:
    twenty(account)
    shield(account, 20, DENIED)
    account.around = counted = Calls()
    with pytest.raises(TooManyFailed) as err:
        account.sweep()
    assert (err.value.failed, err.value.tried) == (10, 10)
    assert "apigateway:PATCH" in str(err.value)
    assert counted.count("apigateway.set_enabled") == 10


def test_a_run_fails_if_more_than_half_of_its_steps_did(account: Account) -> None:
    twenty(account)
    change = account.gateway.set_enabled
    turns: list[str] = []

    def set_enabled(key_id: str, *, enabled: bool) -> Any:
        turns.append(key_id)
        if len(turns) % 3:
            raise BAD
        return change(key_id, enabled=enabled)

    account.gateway.set_enabled = set_enabled  # type: ignore[method-assign]
    with pytest.raises(TooManyFailed) as err:
        account.sweep()
    assert (err.value.failed, err.value.tried) == (14, 20)
    # What went well is told of all the same.
    assert sum(one["DetailType"] == "Key Disabled" for one in account.events) == 6


def test_nine_keys_that_fail_do_not_fail_their_run(account: Account) -> None:
    for number in range(9):
        account.key(f"k{number:02}", idle=80 - number)
    account.night()
    account.pass_day()
    account.read()
    shield(account, 9, DENIED)
    assert account.sweep()["failed"]["count"] == 9


def test_an_undo_leaves_a_key_that_it_may_not_enable(an_account: AccountMaker) -> None:
    account = an_account(policy=SLOW)
    twenty(account)
    account.sweep()
    shield(account, 6, DENIED)
    day = account.today
    account.pass_day()
    answer = account.sweep(undo=str(day))
    assert (answer["applied"]["enable"], answer["remaining"]) == (14, 6)
    assert shut(account) == 6


def test_tombstones_that_do_not_open_leave_their_keys(account: Account) -> None:
    twenty(account)
    account.sweep()
    account.pass_day()
    account.read()
    encrypt = account.clients.kms.encrypt

    def refuses_some(**request: Any) -> Any:
        if int(request["EncryptionContext"]["key_id"][1:]) < 6:
            raise AccessDenied("kms:Encrypt", "role")
        return encrypt(**request)

    account.clients.kms.encrypt = refuses_some
    answer = account.sweep()
    assert answer["applied"]["park"] == 14
    assert answer["failed"]["count"] == 6


# --- what is written of a key that comes back -----------------------------------------------------


def test_a_restored_key_is_never_said_to_be_never_used_of_what_was_made_long_ago(
    an_account: AccountMaker,
) -> None:
    account = an_account(policy=a_policy(a_tier(warn_days=1, grace_days=1)))
    account.key(KEY_ID, age=1000)  # its last request is older than GetUsage tells
    account.nights(3)
    account.pass_day()
    account.sweep(undo=str(account.today - DAY))
    (new,) = (key_id for key_id in account.gateway.ids if key_id.startswith("made"))
    row = account.row(new)
    assert row is not None
    assert row.first_created_on == account.gateway.whole(new)[0].created_date.date() - DAY * 1003
    for _ in range(60):
        account.night()
        assert account.keys_file()[new]["verdict"] == "keep"
        account.pass_day()
    account.night()
    assert account.keys_file()[new]["reason"].startswith("idle for 60 days")


def test_a_key_that_is_restored_twice_keeps_the_date_of_its_first_creation(
    an_account: AccountMaker,
) -> None:
    account = an_account(policy=brisk(retain_days=365))
    account.key(KEY_ID, age=1000, idle=60)
    made_on = account.gateway.whole(KEY_ID)[0].created_date.date()
    for _ in range(2):
        while State.PARKED not in {row.state for row in account.rows().values()}:
            account.night()
            account.pass_day()
        account.sweep(undo=str(account.today - DAY))
    (row,) = (row for row in account.ledger.live_rows().values() if row.previous_key_ids)
    assert len(row.previous_key_ids) == 2
    assert row.first_created_on == made_on


# --- undo -----------------------------------------------------------------------------------------


@pytest.mark.life("K-1203")
@pytest.mark.parametrize("nights", [1, 2], ids=["disabled", "parked"])
def test_an_undo_leaves_out_keys_whose_agreed_end_had_come_unless_they_are_named(
    an_account: AccountMaker, nights: int
) -> None:
    account = an_account(policy=brisk(retain_days=365))
    account.key("idle", idle=60)
    account.key("leaked", idle=1)
    account.night()
    account.change_row("leaked", expires_on=account.today, rotated_to="other")
    account.sweep()
    for _ in range(nights):
        account.pass_day()
        account.night()
    states = account.states()
    assert states["idle"] == states["leaked"] == ("disabled" if nights == 1 else "parked")
    day = account.today
    account.pass_day()
    answer = account.sweep(undo=str(day))
    assert answer["applied"]["enable"] + answer["applied"]["restore"] == 1
    assert answer["remaining"] == 0
    assert (answer["left_out"]["count"], answer["left_out"]["key_ids"]) == (1, ["leaked"])
    row = account.row("leaked")
    assert row is not None
    assert (row.state, row.expires_on, row.rotated_to) == (
        states["leaked"],
        day - DAY * nights,
        "other",
    )
    answer = account.sweep(undo=str(day), key_ids=["leaked"])
    assert answer["applied"]["enable"] + answer["applied"]["restore"] == 1
    assert "left_out" not in answer


@pytest.mark.life("K-905")
def test_a_key_of_which_a_stage_speaks_in_the_old_way_is_disabled_at_its_end_and_not_parked(
    account: Account,
) -> None:
    account.key(KEY_ID, idle=1, stage_keys=("api1/prod",))
    account.night()
    account.change_row(KEY_ID, expires_on=account.today)
    for _ in range(6):
        account.night()
        account.pass_day()
    assert account.states()[KEY_ID] == "disabled"
    assert not account.enabled(KEY_ID)
    assert "stageKeys" in account.keys_file(account.today - DAY)[KEY_ID]["reason"]


# --- tombstones -----------------------------------------------------------------------------------


def with_tombstones(an_account: AccountMaker, count: int) -> Account:
    """So many parked keys, and one that is due to be parked tonight."""
    account = an_account(policy=brisk(retain_days=365))
    for number in range(count):
        account.key(f"old{number}", idle=80 - number)
    account.nights(3)
    account.pass_day()
    due(account, nights=2)
    return account


def damage(account: Account, key_id: str) -> None:
    name = f"tombstones/{key_id}.json"
    account.clients.s3.put_object(Bucket=account.bucket, Key=name, Body=b"{}")


def test_a_damaged_tombstone_is_named_and_passed_over(an_account: AccountMaker) -> None:
    account = with_tombstones(an_account, 3)
    damage(account, "old0")
    answer = account.sweep()
    assert answer["applied"]["park"] == 1
    assert answer["tombstones_closed"] == {"count": 1, "key_ids": ["old0"]}
    row = account.row("old0")
    assert row is not None
    assert row.closed_since == account.today
    account.publish()
    assert account.report()["unread"] == [
        "tombstones/old0.json: it is damaged, so key old0 cannot be restored"
    ]


def test_a_damaged_tombstone_that_opens_again_is_named_no_more(an_account: AccountMaker) -> None:
    account = with_tombstones(an_account, 3)
    name = "tombstones/old0.json"
    whole = account.objects(name)[name]
    damage(account, "old0")
    account.sweep()
    account.clients.s3.put_object(Bucket=account.bucket, Key=name, Body=whole)
    account.pass_day()
    assert "tombstones_closed" not in account.night()
    row = account.row("old0")
    assert row is not None
    assert row.closed_since is None


def test_one_tombstone_that_s3_refuses_keeps_no_other_key_from_being_parked(
    an_account: AccountMaker,
) -> None:
    account = with_tombstones(an_account, 3)
    get = account.clients.s3.get_object

    def refuses_one(**request: Any) -> Any:
        if request["Key"] == "tombstones/old0.json":
            raise refused("GetObject", "InvalidObjectState", 403)
        return get(**request)

    account.clients.s3.get_object = refuses_one
    assert account.sweep()["applied"]["park"] == 1


@pytest.mark.parametrize("sealing", [True, False], ids=["seals", "does not seal"])
def test_if_every_tombstone_is_damaged_a_trial_decides(
    an_account: AccountMaker, *, sealing: bool
) -> None:
    account = with_tombstones(an_account, 2)
    for number in range(2):
        damage(account, f"old{number}")
    if not sealing:
        encrypt = account.clients.kms.encrypt

        def opens_to_something_else(**request: Any) -> Any:
            return encrypt(**{**request, "Plaintext": b"something else"})

        account.clients.kms.encrypt = opens_to_something_else
    answer = account.sweep()
    assert answer["applied"]["park"] == int(sealing)
    assert answer["tombstones_closed"]["count"] == 2
    assert (KEY_ID in account.gateway.ids) is not sealing


def test_ten_tombstones_at_most_are_tried_a_night(an_account: AccountMaker) -> None:
    account = with_tombstones(an_account, 15)
    for number in range(15):
        damage(account, f"old{number:}")
    assert account.sweep()["tombstones_closed"]["count"] == 10


def test_a_tombstone_that_was_removed_by_s3_rm_brings_its_key_back(
    an_account: AccountMaker,
) -> None:
    account = with_tombstones(an_account, 1)
    account.clients.s3.delete_object(Bucket=account.bucket, Key="tombstones/old0.json")
    assert account.sweep()["applied"]["park"] == 1
    row = account.row("old0")
    assert row is not None
    assert row.parked_on is not None
    account.sweep(undo=str(row.parked_on), key_ids=["old0"])
    assert account.states()["old0"] == "restored"
    assert account.versions("tombstones/old0") == []


# --- hold -----------------------------------------------------------------------------------------


def test_a_hold_that_meets_a_sweeps_transactions_holds_all_the_same(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    twenty(account)
    table = account.clients.dynamodb

    def an_operator_holds() -> None:
        table.in_transactions = 9  # for DynamoDB refuses a write of what a transaction has
        account.sweep(hold="look first")

    account.around = then_somebody("apigateway.set_enabled", an_operator_holds)
    answer = account.sweep()
    assert (answer["held"], answer["applied"]["disable"]) == ("look first", 1)
    table.in_transactions = 9
    account.sweep(resume=True)
    account.around = Calls()
    assert account.sweep()["applied"]["disable"] == 19


# --- more of each kind ----------------------------------------------------------------------------


@pytest.mark.life("K-1104")
@pytest.mark.parametrize("just_before", ["dynamodb.transact_write_items", "apigateway.key"])
def test_what_others_disable_while_a_renewal_is_about_to_enable_it_stays_theirs(
    an_account: AccountMaker, just_before: str
) -> None:
    account = an_account(policy=SLOW)
    due(account, nights=1)
    account.sweep()
    account.pass_day()
    body = {"version": 1, "action": "renew", "request_id": "r1", "key_id": KEY_ID}
    looks: list[str] = []

    def around(name: str, call: Call) -> Any:
        # After the request's first look at the key.
        if name == just_before and looks:
            looks.clear()
            account.gateway.change(KEY_ID, description="leaked")
            account.around = Calls()
        if name == "apigateway.key":
            looks.append(name)
        return call()

    account.around = around
    assert account.ask(body, sender=ADMIN) == []
    assert not account.enabled(KEY_ID)
    [(told, detail)] = account.answers("r1")
    assert (told, detail["reason"]) == (
        "Key Renewed",
        "others have disabled this key; it stays so",
    )


def test_a_key_that_others_enabled_after_a_run_died_is_not_disabled_on_its_word(
    an_account: AccountMaker,
) -> None:
    account = an_account(policy=SLOW)
    due(account, nights=1)

    def answer_is_lost(call: Call) -> Any:
        call()
        raise Killed

    account.around = Calls(apigateway_set_enabled=answer_is_lost)
    with pytest.raises(Killed):
        account.sweep()
    account.around = Calls()
    account.real_now += timedelta(minutes=16)
    account.gateway.now += timedelta(minutes=16)
    account.gateway.change(KEY_ID, enabled=True)
    assert account.sweep()["applied"]["disable"] == 0
    row = account.row(KEY_ID)
    assert row is not None
    assert (row.claim, account.enabled(KEY_ID)) == (None, True)
    assert "Key Disabled" not in account.told(KEY_ID)


def test_an_approval_hours_later_looks_at_the_plans_of_each_key_again(account: Account) -> None:
    with_a_second_plan(account)
    account.key("other", idle=61)
    due(account, nights=2)
    gathered = gather(account.today, account.adapters, account.policy, acting=False)
    plan = decide(gathered.night, gathered.bound)
    account.history.save_sweep_plan(plan)
    account.gateway.now += timedelta(hours=14)
    move(account, KEY_ID, "plan2")
    answer = account.sweep(approve=plan.digest)
    assert answer["applied"]["park"] == 1
    assert (KEY_ID in account.gateway.ids, "other" in account.gateway.ids) == (True, False)


def test_a_key_whose_only_plan_was_deleted_since_the_reading_is_not_parked(
    account: Account,
) -> None:
    with_a_second_plan(account)
    due(account, nights=2, plans=("plan2",))
    account.gateway.delete_plan("plan2")
    assert account.sweep()["applied"]["park"] == 0
    assert account.objects("tombstones/") == {}


DENIALS = {
    "apigateway.key": 1,
    "owners.stack_of": 1,
    "apigateway.set_enabled": 1,
    "apigateway.key_with_value": 2,
    "apigateway.plans_of": 2,
    "apigateway.delete": 2,
}


@pytest.mark.parametrize(("name", "nights"), DENIALS.items(), ids=DENIALS)
def test_a_key_that_one_call_is_denied_for_stops_no_other(
    account: Account, name: str, nights: int
) -> None:
    for number in range(3):
        account.key(f"key{number}", idle=70)
    due(account, nights=nights)
    denied: list[str] = []

    def around(called: str, call: Call) -> Any:
        if called == name and not denied:
            denied.append(called)
            raise AccessDenied(called, "role")
        return call()

    account.around = around
    answer = account.sweep()
    assert answer["applied"]["disable"] + answer["applied"]["park"] == 3
    assert answer["failed"]["count"] == 1
    (key_id,) = answer["failed"]["key_ids"]
    row = account.row(key_id)
    assert row is not None
    assert (row.failed_on, row.claim) == (account.today, None)
    account.around = Calls()
    again = account.sweep()["applied"]
    assert again["disable"] + again["park"] == 1


def test_a_purge_that_s3_denies_for_one_key_stops_no_other(an_account: AccountMaker) -> None:
    account = an_account()
    for number in range(3):
        account.key(f"key{number}", idle=70)
    account.nights(3)
    account.pass_day()
    account.read()
    delete = account.clients.s3.delete_object

    def denies_one(**request: Any) -> Any:
        if request["Key"] == "tombstones/key0.json":
            raise refused("DeleteObject", "AccessDenied", 403)
        return delete(**request)

    account.clients.s3.delete_object = denies_one
    answer = account.sweep()
    assert answer["applied"]["purge"] == 2
    assert answer["failed"] == {"count": 1, "key_ids": ["key0"]}
    account.clients.s3.delete_object = delete
    account.pass_day()
    assert account.night()["applied"]["purge"] == 1
    assert account.versions("tombstones/") == []


def test_a_request_settles_what_a_dead_run_left_by_asking_for_the_key(
    an_account: AccountMaker,
) -> None:
    account = an_account(policy=SLOW)
    dies_before_it_disables(account)
    disabled_by_security(account, minutes=45)
    body = {"version": 1, "action": "renew", "request_id": "r1", "key_id": KEY_ID}
    account.real_now += timedelta(hours=2)
    assert account.ask(body, sender=ADMIN) == []
    assert not account.enabled(KEY_ID)
    assert account.answers("r1")[0][1]["reason"] is not None


def test_a_key_that_is_back_in_the_list_after_it_was_missing_is_judged_again(
    account: Account,
) -> None:
    account.key(KEY_ID, idle=60)
    account.around = not_listing(KEY_ID)
    account.nights(2)
    account.around = Calls()
    account.pass_day()
    account.night()
    row = account.row(KEY_ID)
    assert row is not None
    assert row.missing_since is None
