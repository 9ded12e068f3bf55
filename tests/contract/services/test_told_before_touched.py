"""No key is touched before it was told: whatever bus and topic refuse, for as long as they refuse it."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from keyjanitor.adapters.ledger import Change
from keyjanitor.domain.model.records import Announcement, Row
from sandbox.memory.clients.refusal import refused
from tests.account import Account, Call, Calls, Killed, brisk
from tests.builders import DAY, KEY_ID, PLAN_ID, a_policy, a_tier, an_issuing_tier

AccountMaker = Callable[..., Account]
EVERYTHING = ("sns.publish", "events.put_events")


class Down:
    """Refuses calls by their names for as long as they are in `names`."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)

    def __call__(self, name: str, call: Call) -> Any:
        if name in self.names:
            raise refused(name, "KMSAccessDenied" if name.startswith("sns") else "InternalFailure")
        return call()


def patient(an_account: AccountMaker, **more: Any) -> Account:
    """An account whose warned keys have two weeks, and whose disabled ones have two more."""
    return an_account(policy=a_policy(a_tier(**{"warn_days": 14, "grace_days": 14, **more})))


def row_of(account: Account, key_id: str = KEY_ID) -> Row:
    row = account.row(key_id)
    assert row is not None
    return row


def nights(account: Account, count: int) -> None:
    for _ in range(count):
        account.pass_day()
        account.night()


def digests(account: Account) -> list[str]:
    return [one["Message"] for one in account.alerts if "warned" in one["Subject"]]


def reason(account: Account, key_id: str = KEY_ID) -> str:
    return str(account.keys_file()[key_id]["reason"])


def dates_told(account: Account, detail_type: str, name: str) -> list[str]:
    return [one["Detail"][name] for one in account.events if one["DetailType"] == detail_type]


@pytest.mark.life("K-1007")
@pytest.mark.parametrize("nights_down", [3, 20])
def test_a_tombstone_stays_until_its_owner_was_told_how_long_it_does(
    an_account: AccountMaker, nights_down: int
) -> None:
    account = an_account(policy=a_policy(a_tier(warn_days=1, grace_days=1, retain_days=7)))
    account.key(KEY_ID, idle=60)
    account.night()
    nights(account, 1)
    account.pass_day()
    account.around = Down("events.put_events")
    account.night()
    parked_on = account.today
    assert (row_of(account).state, row_of(account).purge_on) == ("parked", parked_on + DAY * 7)
    nights(account, nights_down)
    assert row_of(account).state == "parked"
    assert dates_told(account, "Key Parked", "restorable_until") == []
    account.around = lambda name, call: call()
    nights(account, 1)
    until = account.today + DAY * 7
    assert dates_told(account, "Key Parked", "restorable_until") == [str(until)]
    assert row_of(account).purge_on == until
    nights(account, 6)
    assert row_of(account).state == "parked"
    nights(account, 1)
    assert row_of(account).state == "purged"


@pytest.mark.life("K-1002")
@pytest.mark.parametrize("down", [EVERYTHING, ("sns.publish",), ("events.put_events",)])
def test_a_key_that_nobody_was_told_of_is_never_disabled(
    an_account: AccountMaker, down: tuple[str, ...]
) -> None:
    account = patient(an_account)
    account.key(KEY_ID, idle=60)
    account.around = Down(*down)
    account.night()
    nights(account, 29)
    assert (row_of(account).state, account.enabled(KEY_ID)) == ("warned", True)
    assert reason(account).startswith("not told yet: ")
    assert f"could not be sent since {account.today - DAY * 29}" in reason(account)


@pytest.mark.life("K-1002", "K-1004")
@pytest.mark.parametrize("down", [EVERYTHING, ("sns.publish",), ("events.put_events",)])
@pytest.mark.sampled
def test_a_notice_that_is_told_late_is_as_long_as_was_said(
    an_account: AccountMaker, down: tuple[str, ...]
) -> None:
    account = patient(an_account)
    account.key(KEY_ID, idle=60)
    account.around = down_now = Down(*down)
    account.night()
    nights(account, 20)
    down_now.names.clear()
    nights(account, 1)
    told_on = account.today
    assert (row_of(account).disable_on, row_of(account).told_on) == (told_on + DAY * 14, told_on)
    [digest] = digests(account)
    if "sns.publish" in down:
        assert f"could not be sent before {told_on}" in digest
        assert f"{KEY_ID}  {told_on + DAY * 14}" in digest
    if "events.put_events" in down:
        assert dates_told(account, "Key Expiring", "disable_on") == [str(told_on + DAY * 14)]
    assert account.keys_file()[KEY_ID]["disable_on"] == str(told_on + DAY * 14)
    nights(account, 13)
    assert row_of(account).state == "warned"
    nights(account, 1)
    assert (account.today, row_of(account).state) == (told_on + DAY * 14, "disabled")


@pytest.mark.life("K-1003")
def test_a_disabled_key_is_parked_only_when_its_disabling_was_told(
    an_account: AccountMaker,
) -> None:
    account = patient(an_account)
    account.key(KEY_ID, idle=60)
    account.night()
    nights(account, 13)
    account.around = down = Down("events.put_events")
    nights(account, 1)
    assert row_of(account).state == "disabled"
    nights(account, 20)
    assert (row_of(account).state, reason(account)[:13]) == ("disabled", "not told yet:")
    down.names.clear()
    nights(account, 1)
    told_on = account.today
    assert dates_told(account, "Key Disabled", "park_on") == [str(told_on + DAY * 14)]
    nights(account, 13)
    assert row_of(account).state == "disabled"
    nights(account, 1)
    assert row_of(account).state == "parked"


def test_a_key_told_on_its_own_night_costs_no_write_more(account: Account) -> None:
    account.key(KEY_ID, idle=60)
    account.read()
    account.sweep()
    assert row_of(account).told_on is None
    assert account.ledger.night(account.today).told == (KEY_ID,)
    account.pass_day()
    account.read()
    account.around = calls = Calls()
    account.sweep()
    # The nights whose digests name a key, before deciding and for the digests.
    assert calls.count("dynamodb.batch_get_item") == 2
    assert calls.count("sns.list_subscriptions_by_topic") == 1
    assert calls.count("dynamodb.transact_write_items") == 3  # claim, finish, and out of the outbox


def test_the_bus_takes_an_event_and_the_run_dies_before_it_is_written_down(
    an_account: AccountMaker,
) -> None:
    account = patient(an_account)
    account.key(KEY_ID, idle=60)

    def dies(name: str, call: Call) -> Any:
        answer = call()
        if name == "events.put_events":
            raise Killed
        return answer

    account.around = dies
    account.read()
    with pytest.raises(Killed):
        account.sweep()
    account.around = lambda _, call: call()
    account.pass_day()
    account.night()
    first, second = dates_told(account, "Key Expiring", "disable_on")
    assert date.fromisoformat(second) == date.fromisoformat(first) + DAY
    assert row_of(account).disable_on == date.fromisoformat(second)


def test_a_digest_is_published_and_the_run_dies(an_account: AccountMaker) -> None:
    account = patient(an_account)
    account.key(KEY_ID, idle=60)
    account.around = Calls(sns_publish=_then_dies)
    account.read()
    with pytest.raises(Killed):
        account.sweep()
    account.around = Calls()
    account.pass_day()
    account.night()
    assert len(digests(account)) == 2
    assert row_of(account).disable_on == account.today + DAY * 14


def _then_dies(call: Call) -> Any:
    call()
    raise Killed


def test_a_digest_whose_answer_was_lost_is_told_twice_and_never_not(
    an_account: AccountMaker,
) -> None:
    account = patient(an_account)
    account.key(KEY_ID, idle=60)

    def loses(call: Call) -> Any:
        call()
        raise refused("Publish", "InternalError", 500)

    account.around = Calls(sns_publish=loses)
    account.night()
    account.around = Calls()
    account.sweep()
    assert len(digests(account)) == 2
    assert row_of(account).told_on is None  # on the same date: nothing moves
    account.sweep()
    assert len(digests(account)) == 2


@pytest.mark.parametrize("refused_key", ["idle00", "idle11"])
def test_one_entry_that_the_bus_refuses_holds_back_its_own_key_alone(
    an_account: AccountMaker, refused_key: str
) -> None:
    account = an_account(policy=brisk(grace_days=14))
    for index in range(12):
        account.key(f"idle{index:02}", idle=60)

    put = account.clients.events.put_events

    def all_but_one(**request: Any) -> Any:
        answer = put(**request)
        for entry, told in zip(request["Entries"], answer["Entries"], strict=True):
            if f'"{refused_key}"' in entry["Detail"]:
                told.clear()
                told |= {"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}
        return answer

    account.clients.events.put_events = all_but_one
    account.night()
    nights(account, 3)
    states = account.states()
    assert states.pop(refused_key) == "warned"
    assert {state for key_id, state in states.items() if key_id.startswith("idle")} == {"disabled"}
    account.clients.events.put_events = put
    nights(account, 1)
    assert account.states()[refused_key] == "warned"
    nights(account, 1)
    assert account.states()[refused_key] == "disabled"


def test_a_topic_that_refuses_large_messages_gets_a_shorter_one(account: Account) -> None:
    account.policy = replace(brisk(), sweep=replace(brisk().sweep, max_share=1.0))
    account.wire()
    for index in range(120):
        account.key(f"idle{index:03}", idle=60, name="n" * 200)
    account.read()
    publish = account.clients.sns.publish

    def only_small(**request: Any) -> Any:
        if len(request["Message"]) > 50_000:
            raise refused("Publish", "InvalidParameter")
        return publish(**request)

    account.clients.sns.publish = only_small
    account.sweep()
    [digest] = digests(account)
    assert json.loads(json.loads(digest)["sqs"])["tiers"] == (
        "left out: too many; see the keys file"
    )
    # Before the first key: the end of a long text is cut off.
    head, _, _ = json.loads(digest)["email"].partition("\nTier ")
    assert f"keys/dt={account.today}/keys.jsonl.gz" in head
    assert len(head) < 2_000
    assert len(account.ledger.night(account.today).told) == 120


@pytest.mark.life("K-1004")
def test_a_policy_that_shortens_the_notice_does_not_shorten_one_that_was_said(
    an_account: AccountMaker,
) -> None:
    account = patient(an_account)
    account.key(KEY_ID, idle=60)
    account.around = down = Down(*EVERYTHING)
    account.night()
    account.policy = a_policy(a_tier(warn_days=1, grace_days=1))
    account.wire()
    nights(account, 5)
    down.names.clear()
    nights(account, 1)
    assert row_of(account).disable_on == account.today + DAY * 14


def test_event_and_digest_that_come_late_on_two_dates_give_one_notice_from_the_later(
    an_account: AccountMaker,
) -> None:
    account = patient(an_account)
    account.key(KEY_ID, idle=60)
    account.around = down = Down(*EVERYTHING)
    account.night()
    down.names.discard("events.put_events")
    nights(account, 3)
    assert row_of(account).disable_on == account.today - DAY * 2 + DAY * 14
    down.names.clear()
    nights(account, 2)
    assert row_of(account).disable_on == account.today - DAY + DAY * 14


def test_a_key_that_is_used_while_its_warning_waits_gets_no_event_that_is_not_true(
    an_account: AccountMaker,
) -> None:
    account = patient(an_account)
    account.key(KEY_ID, idle=60)
    account.around = down = Down(*EVERYTHING)
    account.night()
    account.use(KEY_ID)
    nights(account, 2)
    down.names.clear()
    nights(account, 1)
    assert (account.told(KEY_ID), digests(account)) == ([], [])
    assert account.ledger.unsent() == []


def test_a_request_that_changes_the_row_while_a_late_event_is_put_is_not_undone(
    an_account: AccountMaker,
) -> None:
    account = patient(an_account)
    account.key(KEY_ID, idle=60)
    account.around = down = Down("events.put_events")
    account.night()
    down.names.clear()
    account.pass_day()
    account.read()
    until = account.today + DAY * 40

    def protects(call: Call) -> Any:
        answer = call()
        if not row_of(account).protected_until:
            account.change_row(KEY_ID, protected_until=until)
        return answer

    account.around = Calls(events_put_events=protects)
    account.sweep()
    assert (row_of(account).protected_until, row_of(account).told_on) == (until, None)
    assert [one.detail_type for one in account.ledger.unsent()] == ["Key Expiring"]


@pytest.mark.life("K-1005")
def test_an_agreed_end_was_told_by_the_answer_and_comes_on_its_date(
    an_account: AccountMaker,
) -> None:
    account = patient(an_account)
    account.key(KEY_ID, idle=3)
    account.night()
    end = account.today + DAY * 10
    account.change_row(KEY_ID, expires_on=end)
    account.around = Down(*EVERYTHING)
    nights(account, 10)
    assert (account.today, row_of(account).state) == (end, "disabled")
    nights(account, 20)
    assert row_of(account).state == "disabled"  # its disabling was not told


def test_an_agreed_end_whose_answer_waits_too_is_kept(an_account: AccountMaker) -> None:
    policy = a_policy(an_issuing_tier("external", warn_days=2, grace_days=14, usage_plans=()))
    account = an_account(policy=policy)
    account.key(KEY_ID, idle=3)
    account.night()
    end = account.today + DAY * 5
    account.change_row(KEY_ID, expires_on=end)
    account.around = down = Down(*EVERYTHING)
    _answer_waits(account, KEY_ID)
    nights(account, 9)
    assert row_of(account).state == "warned"
    assert "not told yet: its event Key Expiring" in reason(account)
    down.names.clear()
    nights(account, 2)
    assert row_of(account).state == "disabled"


def _answer_waits(account: Account, key_id: str) -> None:
    """Lays the answer that made a key into the outbox, as a run that could not put it leaves it."""
    detail = {
        "version": 1,
        "request_id": "r1",
        "requested_by": "AROASENDER",
        "key_id": key_id,
        "name": "a name",
        "owner": None,
        "tier": "external",
        "contact": None,
        "usage_plan_id": PLAN_ID,
        "usable": "within minutes",
        "sealed_value": "c2VhbGVk",
        "encryption_context": {
            "purpose": "delivery",
            "recipient": "arn:aws:iam::123456789012:role/portal",
            "request_id": "r1",
        },
    }
    answer = Announcement(f"{account.today}#Request#r1", "Key Issued", detail)
    row = row_of(account, key_id)
    assert account.ledger.commit([Change(row, row, (answer,))])


# --- which keys a digest told -----------------------------------------------------------------------


def test_a_warning_given_after_another_key_was_renewed_is_in_a_digest(
    an_account: AccountMaker,
) -> None:
    tier = an_issuing_tier("external", admins=["AROAADMIN"], usage_plans=("external",))
    account = an_account(policy=a_policy(tier))
    for index in range(21):  # the allowance of a date is 20
        account.key(f"k{index:02}", idle=80 - index)
    account.night()
    renew = {"version": 1, "action": "renew", "request_id": "r", "key_id": "k00"}
    account.ask(renew, sender="AROAADMIN:x")
    assert account.sweep()["applied"]["warn"] == 1
    first, second = digests(account)
    assert "k20" not in first
    assert "k20" in second
    assert "k19" not in second
    assert set(account.ledger.night(account.today).told) == {f"k{n:02}" for n in range(21)}


def test_what_a_night_remembers_of_its_digest_is_bounded_by_its_allowance(
    account: Account,
) -> None:
    for index in range(50):
        account.key(f"k{index:02}", idle=80)
    account.night()
    for _ in range(3):
        account.sweep()
    assert len(account.ledger.night(account.today).told) == 20


# --- how long it waits ------------------------------------------------------------------------------


def test_the_count_measures_for_how_many_days_the_oldest_telling_waits(
    an_account: AccountMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    account = patient(an_account)
    account.key(KEY_ID, idle=60)
    account.around = down = Down(*EVERYTHING)
    account.night()
    assert untold_days(account, capsys) == 0  # the later sweeps of the night try again
    nights(account, 3)
    assert untold_days(account, capsys) == 3
    since = account.today - DAY * 3
    account.publish()
    assert account.report()["night"]["untold"] == {"keys": 1, "since": str(since)}
    down.names.discard("events.put_events")
    nights(account, 1)
    assert untold_days(account, capsys) == 4  # the digest
    down.names.clear()
    nights(account, 1)
    assert untold_days(account, capsys) == 0


def untold_days(account: Account, capsys: pytest.CaptureFixture[str]) -> float:
    capsys.readouterr()
    account.watch()
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    [days] = [one["UntoldDays"] for one in printed if "UntoldDays" in one]
    return float(days[0] if isinstance(days, list) else days)
