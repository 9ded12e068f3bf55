"""A later sweep of a date that is finished answers at once, and one that has something left to do works."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from keyjanitor.adapters.ledger import Change
from keyjanitor.domain.model.keys import Mode, SweepAction
from keyjanitor.domain.model.records import Announcement, Claim
from keyjanitor.errors import CallFailed, InvalidEvent
from tests.account import Account, Call, Calls, brisk
from tests.builders import DAY, KEY_ID, at
from tests.contract.services.test_sweep import (
    MANY,
    AccountMaker,
    a_braked_night,
    digests,
    due_to_be_disabled,
    due_to_be_parked,
    fails,
    fails_for_the_first,
    none_applied,
    then,
)


def scheduled(account: Account) -> dict[str, Any]:
    """The answer of a sweep that the schedule starts."""
    return account.sweep(unless_finished=True)


def a_finished_night(account: Account) -> None:
    """A night in which a key is disabled and another warned, and nothing is left to do."""
    account.key("another", idle=59)
    due_to_be_disabled(account)
    assert scheduled(account)["applied"] == none_applied(warn=1, disable=1)
    account.around = calls = Calls()
    assert scheduled(account)["already_finished"]
    assert not [name for name in calls.names if name.startswith("apigateway.")]


def works(account: Account) -> dict[str, Any]:
    """The answer of a scheduled sweep that does the work, and finishes the night again if it can."""
    answer = scheduled(account)
    assert "already_finished" not in answer
    return answer


def test_a_later_sweep_of_a_finished_date_asks_api_gateway_nothing_and_writes_nothing(
    account: Account,
) -> None:
    due_to_be_disabled(account)
    first = scheduled(account)
    before = (account.rows(), account.objects("keys/"), len(account.events), len(account.alerts))
    account.around = calls = Calls()
    for _ in range(2):
        assert scheduled(account) == {
            "time": first["time"],
            "code_version": first["code_version"],
            "mode": "park",
            "already_finished": True,
        }
    assert {name.split(".")[0] for name in calls.names} == {"dynamodb", "s3"}
    assert not [name for name in calls.names if name == "s3.put_object"]
    after = (account.rows(), account.objects("keys/"), len(account.events), len(account.alerts))
    assert after == before


def test_the_first_sweep_of_the_next_date_works(account: Account) -> None:
    a_finished_night(account)
    account.pass_day()
    account.read()
    assert works(account)["applied"] == none_applied(disable=1, park=1)


def test_every_sweep_in_observe_works_for_its_role_may_not_write_that_it_is_finished(
    an_account: AccountMaker,
) -> None:
    account = an_account(mode=Mode.OBSERVE)
    account.key(KEY_ID, idle=60)
    account.read()
    works(account)
    works(account)
    account.sweep(hold="why")
    account.sweep(resume=True)


# --- what makes a later sweep work ----------------------------------------------------------------


def with_another_policy(account: Account) -> None:
    account.policy = brisk(idle_days=61)
    account.wire()


def in_another_mode(account: Account) -> None:
    account.mode = Mode.DISABLE
    account.wire()


def after_a_new_reading(account: Account) -> None:
    for name in account.objects("evidence/"):
        if str(account.today) in name:
            account.clients.s3.delete_object(Bucket=account.bucket, Key=name)
    account.use(KEY_ID, account.today - DAY)
    account.read()


def after_a_sweep_of_an_operator(account: Account) -> None:
    assert "already_finished" not in account.sweep()


def after_an_undo(account: Account) -> None:
    account.sweep(undo=str(account.today))


def after_a_hold_that_was_lifted(account: Account) -> None:
    account.sweep(hold="I want to look")
    assert scheduled(account)["held"] == "I want to look"
    account.sweep(resume=True)


def with_an_event_that_waits(account: Account) -> None:
    row = account.row(KEY_ID)
    assert row is not None
    told = account.events[-1]
    event = Announcement(f"{account.today}-x", told["DetailType"], told["Detail"])
    assert account.ledger.commit([Change(row, row, (event,))])


def with_a_claim_of_a_run_that_died(account: Account) -> None:
    claim = Claim(SweepAction.ENABLE, account.today, at(account.today), at(account.today + DAY))
    account.change_row(KEY_ID, claim=claim)


def with_a_warning_in_no_digest(account: Account) -> None:
    account.ledger.remember(account.today, told=())


@pytest.mark.parametrize(
    "happens",
    [
        with_another_policy,
        in_another_mode,
        after_a_new_reading,
        after_a_sweep_of_an_operator,
        after_an_undo,
        after_a_hold_that_was_lifted,
        with_an_event_that_waits,
        with_a_claim_of_a_run_that_died,
        with_a_warning_in_no_digest,
    ],
)
def test_what_has_come_up_since_makes_the_next_sweep_work(
    account: Account, happens: Callable[[Account], None]
) -> None:
    a_finished_night(account)
    happens(account)
    works(account)


def test_an_approval_makes_the_next_sweep_work(account: Account) -> None:
    digest = a_braked_night(account)["digest"]
    works(account)
    assert scheduled(account)["already_finished"]
    assert account.sweep(approve=digest)["applied"] == none_applied(disable=1, warn=MANY)
    works(account)
    assert scheduled(account)["already_finished"]


# --- what keeps a night from being finished --------------------------------------------------------


def test_a_step_that_failed_is_tried_by_the_next_sweep(account: Account) -> None:
    due_to_be_disabled(account, 4)
    account.around = Calls(apigateway_set_enabled=fails_for_the_first())
    assert works(account)["applied"] == none_applied(disable=3)
    account.around = Calls()
    assert works(account)["applied"] == none_applied(disable=1)
    assert scheduled(account)["already_finished"]


def test_what_the_deadline_left_over_is_done_by_the_next_sweep(account: Account) -> None:
    due_to_be_disabled(account)
    answer = account.sweep(account.context(lambda: 0), unless_finished=True)
    assert answer["remaining"] == 1
    assert works(account)["applied"] == none_applied(disable=1)


def test_a_step_that_another_run_was_faster_with_leaves_the_night_open(account: Account) -> None:
    due_to_be_disabled(account)
    account.around = Calls(
        owners_stack_of=then(lambda: account.change_row(KEY_ID, owner="user-8f1c"))
    )
    assert works(account)["applied"] == none_applied()
    account.around = Calls()
    assert works(account)["applied"] == none_applied(disable=1)


def test_a_sweep_without_tags_leaves_the_night_open(account: Account) -> None:
    due_to_be_disabled(account)
    account.owners.tags_fail = CallFailed("GetResources", "InternalServiceException")
    assert works(account)["applied"] == none_applied()
    account.owners.tags_fail = None
    assert works(account)["applied"] == none_applied(disable=1)


def test_a_tombstone_that_does_not_open_leaves_the_night_open(account: Account) -> None:
    due_to_be_parked(account, 2)
    works(account)
    account.pass_day()
    account.read()
    account.around = Calls(kms_decrypt=fails(), kms_encrypt=fails())
    works(account)
    account.around = Calls()
    works(account)
    assert scheduled(account)["already_finished"]


def test_a_digest_that_was_not_published_is_published_by_the_next_sweep(account: Account) -> None:
    account.key(KEY_ID, idle=60)
    account.read()
    account.around = Calls(sns_publish=fails())
    works(account)
    account.around = Calls()
    works(account)
    assert len(digests(account)) == 1
    assert scheduled(account)["already_finished"]


def test_an_event_that_the_bus_did_not_take_is_put_by_the_next_sweep(account: Account) -> None:
    due_to_be_disabled(account)
    account.around = Calls(events_put_events=fails())
    works(account)
    assert account.told(KEY_ID)[-1] == "Key Expiring"
    account.around = Calls()
    works(account)
    assert account.told(KEY_ID)[-1] == "Key Disabled"
    assert scheduled(account)["already_finished"]


def test_a_brake_that_was_not_alerted_is_alerted_by_the_next_sweep(account: Account) -> None:
    account.around = Calls(sns_publish=fails())
    a_braked_night(account)
    works(account)
    account.around = Calls()
    works(account)
    assert [one for one in account.alerts if "brake" in one["Subject"]]
    assert scheduled(account)["already_finished"]


def test_a_sweep_that_had_to_observe_leaves_the_night_open(account: Account) -> None:
    due_to_be_disabled(account)
    account.around = Calls(sns_list_subscriptions_by_topic=fails())
    answer = scheduled(account)
    account.around = Calls()
    assert answer["observed_because"]
    assert works(account)["applied"] == none_applied(disable=1)


def test_a_run_that_died_leaves_the_night_open(account: Account) -> None:
    due_to_be_disabled(account)
    account.around = Calls(events_put_events=dies)
    with pytest.raises(KeyboardInterrupt):
        scheduled(account)
    account.around = Calls()
    works(account)
    assert account.told(KEY_ID)[-1] == "Key Disabled"
    assert scheduled(account)["already_finished"]


def dies(_: Call) -> Any:
    raise KeyboardInterrupt


# --- the event, and the mark ----------------------------------------------------------------------


@pytest.mark.parametrize("other", [{"hold": "why"}, {"undo": "2026-11-21"}, {"resume": True}])
def test_it_goes_with_nothing_that_an_operator_asks_for(
    account: Account, other: dict[str, Any]
) -> None:
    with pytest.raises(InvalidEvent, match="unless_finished: does not go with"):
        account.sweep(unless_finished=True, **other)


def test_it_is_true_or_left_out(account: Account) -> None:
    with pytest.raises(InvalidEvent, match="unless_finished: must be true"):
        account.sweep(unless_finished=False)


def test_the_mark_is_the_same_in_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "random")
    evidence = "an_evidence(gone=frozenset({'a', 'b', 'c', 'd'}))"
    program = (
        "from tests.builders import *; from keyjanitor.services.expire_keys.finished import mark_of;"
        f"print(mark_of({evidence}, a_policy(), 'park'))"
    )
    marks = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            check=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        ).stdout
        for _ in range(2)
    }
    assert len(marks) == 1
