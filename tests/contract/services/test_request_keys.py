"""Requests about keys that there are, and what the nights after them do: rotate to release."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from keyjanitor.domain.expiry.explained import in_words, laid_out
from keyjanitor.domain.expiry.ownership import RESTORE_MARKER
from keyjanitor.domain.expiry.row_reasons import Renewed, Restored
from keyjanitor.domain.model.keys import State
from keyjanitor.domain.model.records import Row, row_id
from keyjanitor.errors import CallFailed
from sandbox.memory.adapters.api_gateway import value_of
from tests.account import BUSY, SENDER, Account, Call, Calls, Killed, at_the_sweep
from tests.builders import (
    ADMIN,
    CONTACT,
    DAY,
    KEY_ID,
    PLAN_ID,
    PORTAL,
    TODAY,
    a_usage_plan,
    unclaimed,
)
from tests.requesting import (
    STRANGER,
    TIER,
    Body,
    an_asking_policy,
    an_asking_tier,
    asked,
    code_of,
    codes_of,
    deliver,
    delivered,
    issue,
    key_of,
    not_a_working_key,
    protect,
    release,
    renew,
    restore,
    revoke,
    rotate,
    the_answer,
    the_row,
    told_in_turn,
    undisturbed,
)

AccountMaker = Callable[..., Account]
OTHER_SENDER = "AROAOTHER"


@pytest.fixture
def account(an_account: AccountMaker) -> Account:
    """An account whose tier warns of a key two days after it was made, if it was never used."""
    return an_account(policy=an_asking_policy(never_used_days=2, senders=(SENDER, OTHER_SENDER)))


def under(account: Account, service_quota: int = 10_000, **tier: Any) -> None:
    """Deploys a policy that is as the account's but for this quota and these fields of its tier."""
    tiers = {**account.policy.tiers, TIER: replace(account.policy.tiers[TIER], **tier)}
    account.policy = replace(account.policy, tiers=tiers, service_quota=service_quota)
    account.wire()


def lived_until(account: Account, key_id: str, state: str) -> None:
    """Lives nights until one of them brings a key into a state; it is still that date."""
    for _ in range(9):
        account.night()
        if account.states()[key_id] == state:
            return
        account.pass_day()
    raise AssertionError(f"{key_id} is {account.states()[key_id]}")


def an_aged_key(account: Account, state: str, number: int = 1, **more: Any) -> str:
    """A key that was issued and never used until a night brought it into this state; its id."""
    key_id = asked(account, issue(number, **more))
    if state != State.ACTIVE:
        lived_until(account, key_id, state)
    return key_id


def steps(account: Account, key_id: str, nights: int) -> list[list[str]]:
    """What is told of a key in each of the next nights, the first of them tomorrow's."""
    told = []
    for _ in range(nights):
        account.pass_day()
        before = len(account.told(key_id))
        account.night()
        told.append(account.told(key_id)[before:])
    return told


# --- rotate ---------------------------------------------------------------------------------------


def test_a_rotated_key_gets_a_new_one_like_it_and_ends_after_the_overlap(account: Account) -> None:
    body = issue(expires_on="2027-03-31", reason="first")
    old = asked(account, body)
    account.gateway.add_plan(a_usage_plan("plan2", name="more", stages=("api2:prod",)))
    account.gateway.attach("plan2", old)
    before = the_row(account, old)
    account.pass_day()
    assert account.ask(rotate(old, reason="it leaked"), sender=ADMIN) == []
    detail_type, detail = the_answer(account, rotate(old))
    new = detail["key_id"]
    (plan,) = before.usage_plan_ids
    assert (detail_type, detail) == (
        "Key Rotated",
        {
            "version": 1,
            "request_id": f"rotate-{old}",
            "requested_by": ADMIN,
            "key_id": new,
            "previous_key_id": old,
            "previous_key_ends_on": str(TODAY + DAY * 8),
            "owner": "owner-1",
            "tier": TIER,
            "contact": CONTACT,
            "name": "key of owner 1",
            "reason": "it leaked",
            "sealed_value": detail["sealed_value"],
            "encryption_context": {
                "purpose": "delivery",
                "recipient": PORTAL,
                "request_id": f"rotate-{old}",
            },
            "usage_plan_id": detail["usage_plan_id"],
            "usable": "within minutes",
            "expires_on": "2027-03-31",
        },
    )
    assert set(account.gateway.whole(new)[2]) == {plan, "plan2"}
    assert account.gateway.whole(new)[1] == delivered(account, detail) != value(account, old)
    assert account.enabled(new)
    assert account.enabled(old)
    assert the_row(account, new) == Row(
        key_id=new,
        state=State.ACTIVE,
        tier=TIER,
        owner="owner-1",
        name="key of owner 1",
        issued=True,
        adopted_on=TODAY + DAY,
        expires_on=date(2027, 3, 31),
        our_update=at_the_sweep(TODAY + DAY),
        usage_plan_ids=tuple(sorted((plan, "plan2"))),
        sender=SENDER,
        deliver_to=PORTAL,
        request_ids=(row_id(f"rotate-{old}", ADMIN),),
    )
    assert the_row(account, old) == replace(before, expires_on=TODAY + DAY * 8, rotated_to=new)


def value(account: Account, key_id: str) -> str:
    return account.gateway.whole(key_id)[1]


@pytest.mark.parametrize("overlap", [1, 3, 7])
def test_an_old_key_is_warned_of_and_then_disabled_on_its_date_though_it_is_used(
    account: Account, overlap: int
) -> None:
    old = asked(account, issue())
    (plan,) = the_row(account, old).usage_plan_ids
    new = asked(account, rotate(old, overlap_days=overlap))
    expires_on = TODAY + DAY * overlap
    told: dict[date, list[str]] = {}
    for _ in range(overlap + 1):
        for key_id in (old, new):
            account.gateway.use(plan, key_id, account.today - DAY)
            account.gateway.use(plan, key_id, account.today)
        before = len(account.told(old)) if told else 1
        account.night()
        told[account.today] = account.told(old)[before:]
        account.pass_day()
    # If the end is near enough the rotation itself tells, else a night.
    assert {day: events for day, events in told.items() if events} == {
        expires_on - DAY: ["Key Expiring"],
        expires_on: ["Key Disabled"],
    }
    expiring = next(one for one in account.events if one["DetailType"] == "Key Expiring")
    assert expiring["Detail"]["disable_on"] == str(expires_on)
    assert (account.enabled(old), account.enabled(new)) == (False, True)
    assert account.told(new) == ["Key Rotated"]


def test_a_key_rotated_without_overlap_is_warned_of_tonight_and_disabled_tomorrow(
    account: Account,
) -> None:
    """None is disabled without having been warned: the first night after the request is tonight's."""
    old = asked(account, issue())
    asked(account, rotate(old, overlap_days=0))
    _, detail = the_answer(account, rotate(old))
    assert detail["previous_key_ends_on"] == str(TODAY)
    account.night()
    assert account.told(old) == ["Key Issued", "Key Expiring"]
    assert steps(account, old, 1) == [["Key Disabled"]]


@pytest.mark.parametrize("overlap", [0, 1, 3, 14])
def test_a_key_that_was_warned_as_idle_and_rotated_ends_on_the_date_of_the_answer(
    account: Account, overlap: int
) -> None:
    under(account, warn_days=14)
    old = asked(account, issue())
    account.pass_day()
    account.night()
    account.change_row(
        old,
        state=State.WARNED,
        warned_on=account.today,
        disable_on=account.today + DAY * 14,
        reason="idle",
    )
    rotated_on = account.today
    body = rotate(old, overlap_days=overlap)
    asked(account, body)
    _, detail = the_answer(account, body)
    expires_on = rotated_on + DAY * overlap
    assert detail["previous_key_ends_on"] == str(expires_on)
    while account.enabled(old):
        account.pass_day()
        account.night()
    # Without an overlap it is the next night: tonight is over.
    assert account.today == max(expires_on, rotated_on + DAY)
    expiring = [one["Detail"] for one in account.events if one["DetailType"] == "Key Expiring"]
    assert [one["disable_on"] for one in expiring if one["key_id"] == old] == [str(expires_on)]


@pytest.mark.life("K-902")
def test_a_rotation_takes_an_earlier_date_for_idleness_back(account: Account) -> None:
    under(account, warn_days=3)
    old = asked(account, issue())
    account.change_row(
        old, state=State.WARNED, warned_on=TODAY, disable_on=TODAY + DAY * 3, reason="idle"
    )
    asked(account, rotate(old, overlap_days=30))
    row = the_row(account, old)
    assert (row.state, row.warned_on, row.disable_on) == (State.ACTIVE, None, None)
    assert row.expires_on == TODAY + DAY * 30


def test_an_old_key_that_ends_before_the_overlap_does_ends_on_its_own_date(
    account: Account,
) -> None:
    old = asked(account, issue(expires_on=str(TODAY + DAY * 3)))
    new = asked(account, rotate(old))
    _, detail = the_answer(account, rotate(old))
    assert detail["previous_key_ends_on"] == detail["expires_on"] == str(TODAY + DAY * 3)
    assert the_row(account, new).expires_on == the_row(account, old).expires_on == TODAY + DAY * 3


def test_a_key_is_rotated_once_and_the_new_one_again(account: Account) -> None:
    under(account, max_keys_per_owner=3)
    first = asked(account, issue())
    second = asked(account, rotate(first))
    again = rotate(first, request_id="again")
    assert account.ask(again) == []
    assert code_of(account, again) == "too_many_keys"
    third = asked(account, rotate(second))
    rows = [the_row(account, key_id) for key_id in (first, second, third)]
    assert [(row.rotated_to, row.expires_on) for row in rows] == [
        (second, TODAY + DAY * 7),
        (third, TODAY + DAY * 7),
        (None, None),
    ]
    values = {value(account, key_id) for key_id in (first, second, third)}
    assert len(values) == 3
    for _ in range(9):
        account.night()
        account.gateway.use(rows[2].usage_plan_ids[0], third, account.today)
        account.pass_day()
    assert account.enabled(third)
    assert [account.told(key_id)[-1] for key_id in (first, second)] == ["Key Parked"] * 2


def test_of_two_rotations_of_a_key_in_one_batch_one_is_carried_out(account: Account) -> None:
    key_id = asked(account, issue())
    bodies = [rotate(key_id), rotate(key_id, request_id="another")]
    assert deliver(account, *bodies) == 2
    assert codes_of(account, bodies) == ["Key Rotated", "too_many_keys"]
    assert len(account.gateway.ids) == 3


def test_old_and_new_together_may_be_twice_as_many_as_an_owner_may_have(account: Account) -> None:
    under(account, max_keys_per_owner=1)
    first = asked(account, issue())
    second = asked(account, rotate(first))
    third = rotate(second)
    assert account.ask(third) == []
    assert code_of(account, third) == "too_many_keys"
    assert account.ask(issue(2, owner="owner-1")) == []
    assert code_of(account, issue(2)) == "too_many_keys"
    asked(account, revoke(first))
    asked(account, rotate(second, request_id="later"))


def test_a_key_that_nobody_was_issued_has_no_recipient_for_a_new_value(account: Account) -> None:
    account.key(KEY_ID)
    account.night()
    for sender, code in ((SENDER, "sender_not_allowed"), (ADMIN, "recipient_not_allowed")):
        body = rotate(KEY_ID, request_id=sender)
        assert account.ask(body, sender=sender) == []
        assert code_of(account, body) == code
    assert the_row(account, KEY_ID).expires_on is None


def test_a_recipient_whom_the_policy_no_longer_names_gets_no_new_value(account: Account) -> None:
    key_id = asked(account, issue())
    under(account, recipients=("arn:aws:iam::123456789012:role/other",))
    assert account.ask(rotate(key_id)) == []
    assert code_of(account, rotate(key_id)) == "recipient_not_allowed"


def test_a_key_without_a_plan_is_rotated_into_the_tiers_plan(account: Account) -> None:
    old = asked(account, issue())
    (plan,) = account.gateway.whole(old)[2]
    account.gateway.leave(old, plan)
    new = asked(account, rotate(old))
    assert account.gateway.whole(new)[2] == (plan,)


def test_a_key_that_was_deleted_by_others_is_not_rotated(account: Account) -> None:
    key_id = asked(account, issue())
    account.gateway.delete(key_id)
    assert account.ask(rotate(key_id)) == []
    assert code_of(account, rotate(key_id)) == "unknown_key"
    assert account.gateway.ids == [BUSY]


def test_of_all_that_speaks_against_a_rotation_the_first_in_the_contracts_order_is_told(
    account: Account,
) -> None:
    key_id = asked(account, issue())
    account.owners.stacks[key_id] = "web"
    account.change_row(
        key_id,
        tier="lost",
        state=State.PARKED,
        deliver_to="nobody",
        protected_until=TODAY,
        expires_on=TODAY,
        rotated_to="another",
    )
    under(account, service_quota=1)
    senders, more = [OTHER_SENDER], {"overlap_days": 91}

    def attempt(number: int) -> str:
        body = rotate(key_id, request_id=f"rotate-{number}", **more)
        assert account.ask(body, sender=senders[-1]) == []
        return code_of(account, body)

    told = told_in_turn(
        attempt,
        {
            "invalid_request": more.clear,
            "unknown_tier": lambda: account.change_row(key_id, tier=TIER),
            "unknown_key": lambda: account.change_row(key_id, state=State.ACTIVE),
            "sender_not_allowed": lambda: senders.append(SENDER),
            "recipient_not_allowed": lambda: account.change_row(key_id, deliver_to=PORTAL),
            "owned_elsewhere": account.owners.stacks.clear,
            "protected": lambda: account.change_row(key_id, protected_until=TODAY - DAY),
            "not_restorable": lambda: account.change_row(key_id, expires_on=None),
            "too_many_keys": lambda: account.change_row(key_id, rotated_to=None),
            "capacity_exhausted": lambda: under(account, service_quota=3),
        },
    )
    assert told == [
        "invalid_request",
        "unknown_tier",
        "unknown_key",
        "sender_not_allowed",
        "recipient_not_allowed",
        "owned_elsewhere",
        "protected",
        "not_restorable",
        "too_many_keys",
        "capacity_exhausted",
        "Key Rotated",
    ]


@pytest.mark.parametrize(
    "mark",
    [
        {"tags": {"aws:cloudformation:stack-name": "web"}},
        {"tags": {"terraform": "yes"}},
        {"description": "Managed by Terraform"},
    ],
    ids=lambda mark: next(iter(mark)),
)
@pytest.mark.parametrize("ask", [rotate, revoke])
def test_a_key_that_others_own_by_its_marks_is_not_rotated_or_revoked(
    account: Account, ask: Callable[[str], Body], mark: dict[str, Any]
) -> None:
    key_id = asked(account, issue())
    account.gateway.change(key_id, **mark)
    assert account.ask(ask(key_id)) == []
    assert code_of(account, ask(key_id)) == "owned_elsewhere"
    assert account.enabled(key_id)


@pytest.mark.parametrize("ask", [rotate, revoke])
def test_a_key_that_is_tagged_to_be_kept_is_not_rotated_or_revoked(
    account: Account, ask: Callable[[str], Body]
) -> None:
    key_id = asked(account, issue())
    account.gateway.change(key_id, tags={"keyjanitor:keep": ""})
    assert account.ask(ask(key_id)) == []
    assert code_of(account, ask(key_id)) == "protected"


@pytest.mark.parametrize("ask", [rotate, revoke])
def test_if_nobody_can_say_whose_a_key_is_the_request_waits(
    account: Account, ask: Callable[[str], Body]
) -> None:
    key_id = asked(account, issue())
    account.owners.stacks_fail = CallFailed("DescribeStackResources", "Throttling")
    assert account.ask(ask(key_id)) == [0]
    account.owners.stacks_fail = None
    assert account.ask(ask(key_id)) == []
    assert code_of(account, ask(key_id)) in {"Key Rotated", "Key Revoked"}


# --- renew ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.ACTIVE, State.WARNED, State.DISABLED])
def test_a_renewed_key_lives_and_its_idle_clock_starts_again(
    account: Account, state: State
) -> None:
    key_id = an_aged_key(account, state)
    before = the_row(account, key_id)
    assert account.ask(renew(key_id, reason="I need it")) == []
    assert the_answer(account, renew(key_id)) == (
        "Key Renewed",
        {
            "version": 1,
            "request_id": f"renew-{key_id}",
            "requested_by": SENDER,
            "key_id": key_id,
            "owner": "owner-1",
            "tier": TIER,
            "contact": CONTACT,
            "name": "key of owner 1",
            "reason": "I need it",
        },
    )
    assert account.enabled(key_id)
    was_disabled = state is State.DISABLED
    assert the_row(account, key_id) == replace(
        before,
        state=State.ACTIVE,
        warned_on=None,
        disable_on=None,
        park_on=None,
        disabled_on=account.today if was_disabled else None,
        regretted_on=account.today if was_disabled else None,
        our_update=account.gateway.now if was_disabled else before.our_update,
        **laid_out(Renewed()),
        renewed_on=account.today,
    )
    assert steps(account, key_id, 4) == [[], ["Key Expiring"], ["Key Disabled"], ["Key Parked"]]


def test_a_key_may_be_renewed_again_and_again_and_once_a_day_is_the_same_as_twice(
    account: Account,
) -> None:
    key_id = asked(account, issue())
    for day in range(6):
        for number in range(2):
            asked(account, renew(key_id, request_id=f"renew-{day}-{number}"))
        account.night()
        account.pass_day()
    assert account.states()[key_id] == State.ACTIVE
    assert set(account.told(key_id)) == {"Key Issued", "Key Renewed"}


def test_a_key_that_somebody_else_has_disabled_stays_so_when_it_is_renewed(
    account: Account,
) -> None:
    key_id = asked(account, issue())
    account.gateway.change(key_id, enabled=False)
    account.around = calls = Calls()
    asked(account, renew(key_id))
    assert calls.count("apigateway.set_enabled") == 0
    assert the_answer(account, renew(key_id))[1]["reason"] == (
        "others have disabled this key; it stays so"
    )
    assert not account.enabled(key_id)


def test_a_key_that_others_have_changed_since_we_disabled_it_stays_so_when_it_is_renewed(
    account: Account,
) -> None:
    key_id = an_aged_key(account, State.DISABLED)
    account.pass_day()
    account.gateway.change(key_id, description="do not open")
    asked(account, renew(key_id))
    assert not account.enabled(key_id)
    assert "stays so" in the_answer(account, renew(key_id))[1]["reason"]


def test_an_agreed_end_stays_when_the_key_is_renewed_before_it(account: Account) -> None:
    key_id = asked(account, issue(expires_on=str(TODAY + DAY * 5)))
    account.pass_day(2)
    asked(account, renew(key_id))
    assert the_row(account, key_id).expires_on == TODAY + DAY * 5
    assert steps(account, key_id, 3) == [[], ["Key Expiring"], ["Key Disabled"]]
    assert account.today == TODAY + DAY * 5


def test_an_agreed_end_is_not_put_off_by_renewing_the_key_after_its_warning(
    account: Account,
) -> None:
    key_id = asked(account, issue(expires_on=str(TODAY + DAY * 3)))
    lived_until(account, key_id, State.WARNED)
    assert account.today == TODAY + DAY * 2
    asked(account, renew(key_id))
    told = steps(account, key_id, 1)
    assert told == [["Key Disabled"]]
    assert not account.enabled(key_id)


def test_a_key_whose_agreed_end_has_come_lives_again_without_it_when_it_is_renewed(
    account: Account,
) -> None:
    key_id = asked(account, issue(expires_on=str(TODAY + DAY * 2)))
    lived_until(account, key_id, State.DISABLED)
    asked(account, renew(key_id))
    row = the_row(account, key_id)
    assert (row.state, row.expires_on, account.enabled(key_id)) == (State.ACTIVE, None, True)
    assert steps(account, key_id, 2) == [[], ["Key Expiring"]]


@pytest.mark.parametrize("ask", [renew, rotate, release, lambda key_id: protect(key_id, TODAY)])
@pytest.mark.parametrize("state", [State.PARKED, State.PURGED, State.REVOKED])
def test_what_is_no_more_has_to_be_restored_first_if_it_can_be(
    account: Account, ask: Callable[[str], Body], state: State
) -> None:
    if state is State.REVOKED:
        key_id = asked(account, issue())
        asked(account, revoke(key_id))
    else:
        under(account, retain_days=1)
        key_id = an_aged_key(account, state)
    body = {**ask(key_id), **({"until": "2027-01-31"} if "until" in ask(key_id) else {})}
    before = the_row(account, key_id)
    assert account.ask(body) == []
    assert code_of(account, body) == "unknown_key"
    assert ("ask for its restore" in the_answer(account, body)[1]["reason"]) == (
        state is State.PARKED
    )
    assert the_row(account, key_id) == before
    assert account.gateway.ids == [BUSY]


def test_a_key_that_was_deleted_by_others_is_not_renewed(account: Account) -> None:
    key_id = asked(account, issue())
    account.gateway.delete(key_id)
    assert account.ask(renew(key_id)) == []
    assert code_of(account, renew(key_id)) == "unknown_key"


# --- revoke ---------------------------------------------------------------------------------------


@pytest.mark.life("K-110")
@pytest.mark.parametrize("state", [State.ACTIVE, State.WARNED, State.DISABLED, State.PARKED])
def test_a_revoked_key_is_gone_at_once_and_for_good(account: Account, state: State) -> None:
    key_id = an_aged_key(account, state)
    value_was = delivered(account, the_answer(account, issue())[1])
    before = the_row(account, key_id)
    assert account.ask(revoke(key_id, reason="it leaked"), sender=ADMIN) == []
    assert the_answer(account, revoke(key_id)) == (
        "Key Revoked",
        {
            "version": 1,
            "request_id": f"revoke-{key_id}",
            "requested_by": ADMIN,
            "key_id": key_id,
            "owner": "owner-1",
            "tier": TIER,
            "contact": CONTACT,
            "name": "key of owner 1",
            "reason": "it leaked",
        },
    )
    assert account.gateway.ids == [BUSY]
    assert account.versions("tombstones/") == []
    assert the_row(account, key_id) == replace(
        before,
        state=State.REVOKED,
        **in_words("it leaked"),
        warned_on=None,
        disable_on=None,
        park_on=None,
        purge_on=None,
        revoked_on=account.today,
        revoked_by=ADMIN,
    )
    row = account.row(key_id)
    assert steps(account, key_id, 3) == [[], [], []]
    assert account.row(key_id) == row
    assert value_was not in repr(account.items())
    body = restore(key_id)
    assert account.ask(body, sender=ADMIN) == []
    assert code_of(account, body) == "not_restorable"


def test_every_version_of_a_revoked_keys_tombstone_is_destroyed(account: Account) -> None:
    key_id = an_aged_key(account, State.PARKED)
    (name, body), *_ = account.objects("tombstones/").items()
    for _ in range(3):
        account.clients.s3.put_object(Bucket=account.bucket, Key=name, Body=body)
    account.clients.s3.delete_object(Bucket=account.bucket, Key=name)
    account.clients.s3.put_object(Bucket=account.bucket, Key=name, Body=body)
    other = f"tombstones/{key_id}1.json"
    account.clients.s3.put_object(Bucket=account.bucket, Key=other, Body=body)
    asked(account, revoke(key_id))
    assert account.versions("tombstones/") == [other]


def test_a_restored_key_is_revoked_by_its_former_id_and_leaves_no_tombstone_of_either(
    account: Account,
) -> None:
    former = an_aged_key(account, State.PARKED)
    tombstone = account.objects("tombstones/")
    new = asked(account, restore(former))
    for name, body in tombstone.items():  # as if it could not be destroyed
        account.clients.s3.put_object(Bucket=account.bucket, Key=name, Body=body)
    assert asked(account, revoke(former)) == new
    assert account.gateway.ids == [BUSY]
    assert account.versions("tombstones/") == []
    assert account.states() == {BUSY: "active", former: "restored", new: "revoked"}
    again = revoke(former, request_id="again")
    assert account.ask(again) == []
    assert code_of(account, again) == "unknown_key"


@pytest.mark.parametrize("days", [0, 200])
def test_the_request_for_a_key_tells_only_of_its_end_once_the_key_is_revoked(
    account: Account, days: int
) -> None:
    key_id = asked(account, issue())
    new = asked(account, rotate(key_id))
    for one in (key_id, new):
        asked(account, revoke(one))
    assert "sealed_value" not in repr(
        [account.request_store.requests(["issue-1", f"rotate-{key_id}"])]
    )
    account.pass_day(days)
    account.events.clear()
    account.around = calls = Calls()
    assert account.ask(issue(), rotate(key_id)) == []
    assert {one["DetailType"] for one in account.events} == {"Key Revoked"}
    assert the_answer(account, issue())[1] == {
        "version": 1,
        "request_id": "issue-1",
        "requested_by": SENDER,
        "key_id": key_id,
        "owner": "owner-1",
        "tier": TIER,
        "contact": CONTACT,
        "name": "key of owner 1",
        "reason": "revoked since",
    }
    assert key_of(account, rotate(key_id)) == new
    assert not any(name.startswith(("apigateway.", "kms.")) for name in calls.names)
    assert account.gateway.ids == [BUSY]


def test_a_revoked_key_gives_its_place_to_another(account: Account) -> None:
    under(account, max_keys_per_owner=1)
    asked(account, revoke(asked(account, issue(1, owner="the same"))))
    asked(account, issue(2, owner="the same"))


def test_a_protected_key_is_released_before_it_is_revoked(account: Account) -> None:
    key_id = asked(account, issue())
    asked(account, protect(key_id, TODAY))
    assert account.ask(revoke(key_id)) == []
    assert code_of(account, revoke(key_id)) == "protected"
    asked(account, release(key_id))
    asked(account, revoke(key_id, request_id="now"))
    assert account.gateway.ids == [BUSY]


def test_a_key_that_was_deleted_by_others_is_revoked_all_the_same(account: Account) -> None:
    key_id = asked(account, issue())
    account.gateway.delete(key_id)
    asked(account, revoke(key_id))
    assert account.states()[key_id] == "revoked"
    assert "sealed_value" not in repr(account.request_store.requests(["issue-1"]))


def test_a_revocation_waits_while_the_tombstone_cannot_be_opened(account: Account) -> None:
    key_id = an_aged_key(account, State.PARKED)
    account.around = Calls(kms_decrypt=fails)
    assert account.ask(revoke(key_id)) == [0]
    account.around = undisturbed
    asked(account, revoke(key_id))
    assert account.versions("tombstones/") == []


def test_a_parked_key_is_revoked_though_its_tombstone_is_damaged(account: Account) -> None:
    key_id = an_aged_key(account, State.PARKED)
    damage(account, key_id)
    asked(account, revoke(key_id))
    assert account.versions("tombstones/") == []
    assert account.states()[key_id] == "revoked"


def fails(_: Call) -> Any:
    """What the adapters raise for a call that failed."""
    raise CallFailed("Call", "InternalError")


def damage(account: Account, key_id: str) -> None:
    account.clients.s3.put_object(
        Bucket=account.bucket, Key=f"tombstones/{key_id}.json", Body=b'{"version": 1}'
    )


# --- restore --------------------------------------------------------------------------------------


def test_a_parked_key_comes_back_as_it_was_under_a_new_id(account: Account) -> None:
    key_id = asked(account, issue())
    account.gateway.change(key_id, customer_id="customer", tags={"team": "sensors"})
    was, value_was, plans = account.gateway.whole(key_id)
    lived_until(account, key_id, State.PARKED)
    before = the_row(account, key_id)
    account.pass_day(3)
    assert account.ask(restore(key_id, reason="please")) == []
    detail_type, detail = the_answer(account, restore(key_id))
    new = detail["key_id"]
    assert (detail_type, detail) == (
        "Key Restored",
        {
            "version": 1,
            "request_id": f"restore-{key_id}",
            "requested_by": SENDER,
            "key_id": new,
            "previous_key_id": key_id,
            "owner": "owner-1",
            "tier": TIER,
            "contact": CONTACT,
            "name": "key of owner 1",
            "reason": "please",
        },
    )
    now = account.gateway.now
    assert account.gateway.whole(new) == (
        replace(was, key_id=new, created_date=now, last_updated_date=now),
        value_was,
        plans,
    )
    assert account.versions("tombstones/") == []
    assert the_row(account, new) == Row(
        key_id=new,
        state=State.ACTIVE,
        tier=TIER,
        owner="owner-1",
        name="key of owner 1",
        issued=True,
        adopted_on=account.today,
        **laid_out(Restored()),
        restored_on=account.today,
        regretted_on=account.today,
        was_parked_on=before.parked_on,
        our_update=now,
        usage_plan_ids=plans,
        first_created_on=TODAY,
        previous_key_ids=(key_id,),
        sender=SENDER,
        deliver_to=PORTAL,
        request_ids=(row_id("issue-1", SENDER),),
    )
    assert the_row(account, key_id) == replace(
        before,
        state=State.RESTORED,
        new_key_id=new,
        **laid_out(Restored()),
        restored_on=account.today,
    )
    assert steps(account, new, 3) == [[], ["Key Expiring"], ["Key Disabled"]]


@pytest.mark.parametrize("sender", [ADMIN, SENDER])
def test_a_key_that_nobody_was_issued_is_restored_for_an_admin_only(
    account: Account, sender: str
) -> None:
    account.key(KEY_ID, idle=60, description="by hand")
    lived_until(account, KEY_ID, State.PARKED)
    assert account.ask(restore(KEY_ID), sender=sender) == []
    if sender == SENDER:
        assert code_of(account, restore(KEY_ID)) == "sender_not_allowed"
        return
    new = key_of(account, restore(KEY_ID))
    key, restored, plans = account.gateway.whole(new)
    assert (key.name, key.description, restored, plans, key.enabled) == (
        f"name of {KEY_ID}",
        "by hand",
        value_of(KEY_ID),
        (PLAN_ID,),
        True,
    )


def test_a_key_is_restored_once_and_told_of_as_often_as_it_is_asked(account: Account) -> None:
    key_id = an_aged_key(account, State.PARKED)
    new = asked(account, restore(key_id))
    another = restore(key_id, request_id="another")
    assert account.ask(restore(key_id), another, restore(key_id)) == []
    assert (key_of(account, restore(key_id)), code_of(account, another)) == (new, "not_restorable")
    assert account.gateway.ids == [BUSY, new]


def test_a_restore_that_was_admitted_is_answered_if_its_key_is_forgotten_meanwhile(
    account: Account,
) -> None:
    key_id = an_aged_key(account, State.PARKED)

    def dies(_: Call) -> Any:
        raise Killed

    account.around = Calls(apigateway_create_disabled=dies)
    with pytest.raises(Killed):
        account.ask(restore(key_id))
    account.around = undisturbed
    account.real_now += DAY / 48
    place = {"pk": {"S": "SHELF"}, "sk": {"S": key_id}}
    account.clients.dynamodb.delete_item(TableName=account.table, Key=place)
    assert account.ask(restore(key_id)) == []
    detail_type, detail = the_answer(account, restore(key_id))
    assert (detail_type, detail["code"]) == ("Key Request Refused", "not_restorable")
    assert detail["reason"] == f"key {key_id} is forgotten"


def test_of_two_restores_of_a_key_in_one_batch_one_key_comes(account: Account) -> None:
    key_id = an_aged_key(account, State.PARKED)
    bodies = [restore(key_id), restore(key_id, request_id="another")]
    deliver(account, *bodies)
    assert len(account.gateway.ids) == 2
    assert {
        key_of(account, body) for body in bodies if code_of(account, body) == "Key Restored"
    } == {account.gateway.ids[1]}


def test_a_key_that_was_restored_and_parked_again_is_restored_by_its_first_id(
    account: Account,
) -> None:
    first = an_aged_key(account, State.PARKED)
    value_was = delivered(account, the_answer(account, issue())[1])
    second = asked(account, restore(first))
    lived_until(account, second, State.PARKED)
    third = asked(account, restore(first, request_id="again"))
    assert account.gateway.ids == [BUSY, third]
    assert value(account, third) == value_was
    assert the_row(account, third).previous_key_ids == (first, second)
    assert the_answer(account, "again")[1]["previous_key_id"] == second
    assert account.states() == {
        BUSY: "active",
        first: "restored",
        second: "restored",
        third: "active",
    }


@pytest.mark.parametrize("ask", [renew, rotate, revoke, lambda key_id: protect(key_id, TODAY)])
def test_a_restored_key_goes_by_its_former_id_too(
    account: Account, ask: Callable[[str], Body]
) -> None:
    former = an_aged_key(account, State.PARKED)
    new = asked(account, restore(former))
    body = {**ask(former), **({"until": "2027-01-31"} if "until" in ask(former) else {})}
    assert account.ask(body) == []
    detail_type, detail = the_answer(account, body)
    assert detail_type in {"Key Renewed", "Key Rotated", "Key Revoked", "Key Protected"}
    told_of = "previous_key_id" if detail_type == "Key Rotated" else "key_id"
    assert detail[told_of] == new


@pytest.mark.parametrize("state", [State.ACTIVE, State.WARNED, State.DISABLED, State.PURGED])
def test_what_is_not_parked_is_not_restored(account: Account, state: State) -> None:
    under(account, retain_days=1)
    key_id = an_aged_key(account, state)
    before = (account.gateway.ids, account.rows())
    assert account.ask(restore(key_id)) == []
    assert code_of(account, restore(key_id)) == "not_restorable"
    assert (account.gateway.ids, account.rows()) == before


def test_a_key_whose_value_a_living_key_has_stays_parked_and_that_key_is_left_alone(
    account: Account,
) -> None:
    key_id = an_aged_key(account, State.PARKED)
    value_was = delivered(account, the_answer(account, issue())[1])
    account.key("living", plans=(), value=value_was)
    before = (account.gateway.whole("living"), account.buried(), the_row(account, key_id))
    for _ in range(2):
        assert account.ask(restore(key_id)) == []
        assert code_of(account, restore(key_id)) == "not_restorable"
    assert (account.gateway.whole("living"), account.buried(), the_row(account, key_id)) == before
    account.gateway.delete("living")
    new = asked(account, restore(key_id, request_id="later"))
    assert value(account, new) == value_was


@pytest.mark.parametrize("service", ["kms_decrypt", "s3_get_object"])
def test_a_tombstone_that_cannot_be_opened_now_is_tried_again(
    account: Account, service: str
) -> None:
    key_id = an_aged_key(account, State.PARKED)
    account.around = Calls(**{service: fails})
    assert account.ask(restore(key_id)) == [0]
    assert the_row(account, key_id).state is State.PARKED
    account.around = undisturbed
    asked(account, restore(key_id))


def test_a_tombstone_that_fails_between_the_judgement_and_the_restore_is_tried_again(
    account: Account,
) -> None:
    key_id = an_aged_key(account, State.PARKED)
    opened: list[int] = []

    def the_second_fails(call: Call) -> Any:
        opened.append(1)
        return fails(call) if len(opened) == 2 else call()

    assert deliver(account, restore(key_id), faults=[Calls(kms_decrypt=the_second_fails)]) == 2
    assert code_of(account, restore(key_id)) == "Key Restored"
    assert len(account.gateway.ids) == 2


def test_a_damaged_tombstone_is_not_restorable(account: Account) -> None:
    key_id = an_aged_key(account, State.PARKED)
    damage(account, key_id)
    assert account.ask(restore(key_id)) == []
    assert code_of(account, restore(key_id)) == "not_restorable"
    assert account.states()[key_id] == "parked"


def test_a_full_account_restores_nothing_and_keeps_the_tombstone(account: Account) -> None:
    key_id = an_aged_key(account, State.PARKED)
    under(account, service_quota=1)
    assert account.ask(restore(key_id)) == []
    assert code_of(account, restore(key_id)) == "capacity_exhausted"
    assert list(account.buried()) == [key_id]
    under(account, service_quota=2)
    asked(account, restore(key_id, request_id="later"))


def test_an_account_that_is_full_by_aws_restores_nothing_and_says_so(account: Account) -> None:
    """The count said that there is room; AWS knows better, and asking again changes nothing."""
    key_id = an_aged_key(account, State.PARKED)

    def full(_: Call) -> Any:
        raise CallFailed("CreateApiKey", "LimitExceededException")

    before = the_row(account, key_id)
    account.around = calls = Calls(apigateway_create_disabled=full)
    assert account.ask(restore(key_id)) == []
    assert code_of(account, restore(key_id)) == "capacity_exhausted"
    assert calls.count("apigateway.create_disabled") == 1
    assert the_row(account, key_id) == before
    assert list(account.buried()) == [key_id]


def test_a_plan_that_is_no_more_is_told_of_when_a_key_comes_back_without_it(
    account: Account,
) -> None:
    key_id = an_aged_key(account, State.PARKED)
    (plan,) = the_row(account, key_id).usage_plan_ids
    account.gateway.delete_plan(plan)
    new = asked(account, restore(key_id))
    assert plan in the_answer(account, restore(key_id))[1]["reason"]
    assert account.gateway.whole(new)[2] == ()
    assert account.enabled(new)


def test_what_a_sweep_undid_is_told_of_to_who_asked_for_it(account: Account) -> None:
    key_id = an_aged_key(account, State.PARKED)
    account.around = Calls(apigateway_rename=fails)
    assert account.ask(restore(key_id)) == [0]
    account.around = undisturbed
    account.pass_day()
    account.night()  # brings to an end what the run that failed has begun
    (new,) = set(account.gateway.ids) - {BUSY}
    assert account.told(new) == ["Key Restored"]
    assert asked(account, restore(key_id)) == new
    assert the_answer(account, restore(key_id))[1]["previous_key_id"] == key_id
    assert not account.gateway.whole(new)[0].name.startswith(RESTORE_MARKER)


def test_of_all_that_speaks_against_a_restore_the_first_in_the_contracts_order_is_told(
    account: Account,
) -> None:
    key_id = an_aged_key(account, State.PARKED)
    ((name, tombstone),) = account.objects("tombstones/").items()
    damage(account, key_id)
    account.owners.stacks[key_id] = "web"
    account.change_row(key_id, tier="lost")
    under(account, service_quota=1)
    senders, ids = [OTHER_SENDER], ["nothing"]

    def attempt(number: int) -> str:
        body = restore(ids[-1], request_id=f"restore-{number}")
        assert account.ask(body, sender=senders[-1]) == []
        return code_of(account, body)

    def mend() -> None:
        account.clients.s3.put_object(Bucket=account.bucket, Key=name, Body=tombstone)

    told = told_in_turn(
        attempt,
        {
            "unknown_key": lambda: ids.append(key_id),
            "unknown_tier": lambda: account.change_row(key_id, tier=TIER),
            "sender_not_allowed": lambda: senders.append(SENDER),
            "owned_elsewhere": account.owners.stacks.clear,
            "not_restorable": mend,
            "capacity_exhausted": lambda: under(account, service_quota=2),
        },
    )
    assert told == [
        "unknown_key",
        "unknown_tier",
        "sender_not_allowed",
        "owned_elsewhere",
        "not_restorable",
        "capacity_exhausted",
        "Key Restored",
    ]


def test_a_living_key_that_a_stack_owns_is_owned_elsewhere_before_it_is_not_restorable(
    account: Account,
) -> None:
    key_id = asked(account, issue())
    account.owners.stacks[key_id] = "web"
    assert account.ask(restore(key_id)) == []
    assert code_of(account, restore(key_id)) == "owned_elsewhere"


# --- protect and release --------------------------------------------------------------------------


def test_a_protected_key_is_left_alone_up_to_and_with_its_date(account: Account) -> None:
    key_id = asked(account, issue())
    until = TODAY + DAY * 4
    assert account.ask(protect(key_id, until, reason="the launch")) == []
    assert the_answer(account, protect(key_id, until)) == (
        "Key Protected",
        {
            "version": 1,
            "request_id": f"protect-{key_id}",
            "requested_by": SENDER,
            "key_id": key_id,
            "owner": "owner-1",
            "tier": TIER,
            "contact": CONTACT,
            "name": "key of owner 1",
            "reason": "the launch",
            "protected_until": str(until),
        },
    )
    account.night()
    assert steps(account, key_id, 6) == [[], [], [], [], ["Key Expiring"], ["Key Disabled"]]


def test_a_released_key_is_judged_as_any_other_from_the_next_night_on(account: Account) -> None:
    key_id = asked(account, issue())
    asked(account, protect(key_id, TODAY + DAY * 30))
    account.night()
    assert steps(account, key_id, 3) == [[], [], []]
    assert account.ask(release(key_id)) == []
    assert code_of(account, release(key_id)) == "Key Released"
    assert the_row(account, key_id).protected_until is None
    assert steps(account, key_id, 2) == [["Key Expiring"], ["Key Disabled"]]


@pytest.mark.parametrize("state", [State.WARNED, State.DISABLED])
def test_a_protection_holds_a_key_where_it_is_and_takes_its_announced_date_back(
    account: Account, state: State
) -> None:
    key_id = an_aged_key(account, state)
    asked(account, protect(key_id, account.today + DAY * 3))
    told = steps(account, key_id, 4)
    assert told[:3] == [[], [], []]
    assert account.enabled(key_id) is (state is State.WARNED)
    row = the_row(account, key_id)
    assert row.state is (State.WARNED if state is State.WARNED else State.DISABLED)
    # On the first night after it the key is warned anew, and no earlier date counts.
    assert (row.disable_on or row.park_on) == account.today + DAY


def test_a_protection_may_be_moved_and_the_last_one_counts(account: Account) -> None:
    key_id = asked(account, issue())
    for number, days in enumerate((9, 2, 5)):
        asked(account, protect(key_id, TODAY + DAY * days, request_id=f"protect-{number}"))
    assert the_row(account, key_id).protected_until == TODAY + DAY * 5
    asked(account, protect(key_id, TODAY + DAY * 2, request_id="protect-1"))
    assert the_row(account, key_id).protected_until == TODAY + DAY * 5


def test_releasing_a_key_that_is_not_protected_does_nothing(account: Account) -> None:
    key_id = asked(account, issue())
    before = account.row(key_id)
    asked(account, release(key_id))
    assert account.row(key_id) == before


# --- who may --------------------------------------------------------------------------------------

ACTIONS: list[Callable[[str], Body]] = [
    rotate,
    renew,
    revoke,
    restore,
    release,
    lambda key_id: protect(key_id, TODAY + DAY * 30),
]


@pytest.mark.parametrize("ask", ACTIONS)
def test_a_sender_acts_on_the_keys_it_was_issued_and_an_admin_on_all(
    account: Account, ask: Callable[[str], Body]
) -> None:
    parked = ask("k")["action"] == "restore"
    codes = {}
    for number, sender in enumerate((OTHER_SENDER, STRANGER, "", SENDER, ADMIN)):
        key_id = asked(account, issue(number))
        if parked:
            lived_until(account, key_id, State.PARKED)
        body = ask(key_id)
        assert account.ask(body, sender=sender) == []
        codes[sender] = code_of(account, body)
    allowed = codes[ADMIN]
    assert allowed.startswith("Key ")
    assert codes == {
        OTHER_SENDER: "sender_not_allowed",
        STRANGER: "sender_not_allowed",
        "": "sender_not_allowed",
        SENDER: allowed,
        ADMIN: allowed,
    }


@pytest.mark.parametrize("ask", ACTIONS)
def test_a_sender_whom_the_policy_no_longer_names_acts_on_nothing(
    account: Account, ask: Callable[[str], Body]
) -> None:
    key_id = asked(account, issue())
    under(account, senders=(OTHER_SENDER,))
    before = account.row(key_id)
    assert account.ask(ask(key_id)) == []
    assert code_of(account, ask(key_id)) == "sender_not_allowed"
    assert account.row(key_id) == before


@pytest.mark.parametrize("ask", ACTIONS)
def test_an_admin_of_one_tier_acts_on_no_key_of_another(
    an_account: AccountMaker, ask: Callable[[str], Body]
) -> None:
    account = an_account(
        policy=an_asking_policy(
            an_asking_tier(), an_asking_tier("partners", usage_plans=(), admins=("AROAPARTNERS",))
        )
    )
    key_id = asked(account, issue())
    assert account.ask(ask(key_id), sender="AROAPARTNERS") == []
    assert code_of(account, ask(key_id)) == "sender_not_allowed"


@pytest.mark.parametrize("ask", ACTIONS)
def test_a_key_that_the_ledger_does_not_know_is_unknown(
    account: Account, ask: Callable[[str], Body]
) -> None:
    account.key(KEY_ID)
    assert account.ask(ask(KEY_ID), sender=ADMIN) == []
    assert the_answer(account, ask(KEY_ID))[1] == {
        "version": 1,
        "request_id": ask(KEY_ID)["request_id"],
        "requested_by": ADMIN,
        "action": ask(KEY_ID)["action"],
        "code": "unknown_key",
        "reason": f"{KEY_ID}: the ledger knows no such key. A key made by others is known from the "
        "first sweep after it was made",
        "key_id": KEY_ID,
        "owner": None,
        "tier": None,
        "contact": None,
    }


@pytest.mark.parametrize("ask", ACTIONS)
def test_a_key_of_a_tier_that_the_policy_no_longer_has_waits_for_it(
    account: Account, ask: Callable[[str], Body]
) -> None:
    key_id = asked(account, issue())
    account.change_row(key_id, tier="lost")
    assert account.ask(ask(key_id), sender=ADMIN) == []
    assert code_of(account, ask(key_id)) == "unknown_tier"


@pytest.mark.parametrize("issued", [True, False])
def test_a_parked_key_of_a_tier_that_is_gone_comes_back_if_it_was_not_issued_in_that_tier(
    account: Account, issued: bool
) -> None:
    key_id = an_aged_key(account, State.PARKED)
    account.change_row(key_id, tier="lost", issued=issued)
    tiers = {**account.policy.tiers, "unclaimed": unclaimed(admins=(ADMIN,))}
    account.policy = replace(account.policy, tiers=tiers)
    account.wire()
    assert account.ask(restore(key_id), sender=ADMIN) == []
    detail_type, detail = the_answer(account, restore(key_id))
    if issued:
        assert (detail_type, detail["code"]) == ("Key Request Refused", "unknown_tier")
    else:
        assert (detail_type, detail["tier"]) == ("Key Restored", "lost")


@pytest.mark.parametrize("ask", ACTIONS)
def test_the_same_request_again_is_answered_again_and_changes_nothing(
    account: Account, ask: Callable[[str], Body]
) -> None:
    state = State.PARKED if ask("k")["action"] == "restore" else State.ACTIVE
    key_id = an_aged_key(account, state)
    body = ask(key_id)
    assert account.ask(body, body) == []
    account.pass_day()
    before = (account.rows(), [account.gateway.whole(one) for one in account.gateway.ids])
    assert account.ask(body, sender=STRANGER, moved=True) == []
    assert account.ask({**body, "reason": "another"}) == []
    told = account.answers(body["request_id"])
    assert [told[0], told[1]] == [told[0], told[0]]
    assert [detail.get("code") for _, detail in told] == [None, None, "conflicting_request"]
    assert (account.rows(), [account.gateway.whole(one) for one in account.gateway.ids]) == before


def test_one_batch_may_hold_requests_of_every_kind(account: Account) -> None:
    parked = an_aged_key(account, State.PARKED, 1)
    ids = [asked(account, issue(number)) for number in range(2, 7)]
    bodies = [
        restore(parked),
        rotate(ids[0]),
        renew(ids[1]),
        revoke(ids[2]),
        protect(ids[3], account.today),
        release(ids[4]),
        issue(7),
        issue(8, deliver_to="nobody"),
    ]
    assert account.ask(*bodies) == []
    assert codes_of(account, bodies) == [
        "Key Restored",
        "Key Rotated",
        "Key Renewed",
        "Key Revoked",
        "Key Protected",
        "Key Released",
        "Key Issued",
        "recipient_not_allowed",
    ]
    assert not_a_working_key(account, issue(7)) == []


def test_requests_about_one_key_in_one_batch_are_carried_out_in_their_order(
    account: Account,
) -> None:
    key_id = asked(account, issue())
    bodies = [
        protect(key_id, TODAY + DAY),
        release(key_id),
        renew(key_id),
        revoke(key_id),
        renew(key_id, request_id="too-late"),
    ]
    assert account.ask(*bodies) == []
    assert codes_of(account, bodies) == [
        "Key Protected",
        "Key Released",
        "Key Renewed",
        "Key Revoked",
        "unknown_key",
    ]
