"""A sweep acts on the newest knowledge, with somebody to tell, and alone; else it only observes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from keyjanitor.domain.model.keys import Mode
from keyjanitor.errors import AlreadyRunning, NotHeard, OlderDate
from sandbox.memory.clients.refusal import refused
from tests.account import Account, Calls, brisk
from tests.builders import DAY, KEY_ID

AccountMaker = Callable[..., Account]


def at_three(day: Any) -> dict[str, str]:
    return {"time": f"{day}T03:15:00Z"}


def warned_and_used_since(an_account: AccountMaker) -> Account:
    """A key whose date came last night, unswept, and that tonight's reading shows in use."""
    account = an_account(policy=brisk(grace_days=14), replay_window_hours=36)
    account.key(KEY_ID, idle=60)
    account.night()
    account.pass_day()
    account.read()
    account.use(KEY_ID, account.today, 5)
    account.pass_day()
    account.read()
    return account


@pytest.mark.life("K-1106")
def test_a_sweep_of_an_older_date_than_the_newest_reading_only_observes(
    an_account: AccountMaker,
) -> None:
    account = warned_and_used_since(an_account)
    answer = account.sweep(**at_three(account.today - DAY))
    assert (answer["mode"], answer["applied"]["disable"]) == ("observe", 0)
    assert f"older than {account.today}" in answer["observed_because"]
    assert account.enabled(KEY_ID)
    # It leaves no trace: what the date's own sweep wrote stands.
    assert account.ledger.night(account.today - DAY).swept is False
    assert f"keys/dt={account.today - DAY}/keys.jsonl.gz" not in account.objects("keys/")


def test_a_sweep_of_an_older_date_than_one_that_was_swept_only_observes(
    account: Account,
) -> None:
    account.key(KEY_ID, idle=60)
    account.night()
    account.pass_day()
    account.night()
    # Its reading was damaged, say, and deleted by a person.
    name = f"evidence/{account.today}.json.gz"
    account.clients.s3.delete_object(Bucket=account.bucket, Key=name)
    answer = account.sweep(**at_three(account.today - DAY))
    assert answer["mode"] == "observe"
    assert f"older than {account.today}" in answer["observed_because"]


def test_an_approval_of_an_older_date_is_refused_and_says_what_to_do(
    an_account: AccountMaker,
) -> None:
    account = warned_and_used_since(an_account)
    with pytest.raises(OlderDate, match="Send the event without `time`"):
        account.sweep(approve="0123456789abcdef", **at_three(account.today - DAY))
    assert account.ledger.night(account.today - DAY).approved is None


def test_an_undo_gives_back_whatever_date_it_is_sent_for(an_account: AccountMaker) -> None:
    account = an_account(policy=brisk(grace_days=14), replay_window_hours=36)
    account.key(KEY_ID, idle=60)
    account.nights(2)
    disabled_on = account.today
    account.pass_day()
    account.read()
    account.sweep(undo=str(disabled_on), **at_three(disabled_on))
    assert account.enabled(KEY_ID)


# --- somebody who listens ---------------------------------------------------------------------------


def nobody_listens(_: Any) -> dict[str, Any]:
    pending = {"SubscriptionArn": "PendingConfirmation", "Endpoint": "new@example.org"}
    return {"Subscriptions": [pending, {"SubscriptionArn": "Deleted", "Endpoint": "old"}]}


def fails(_: Any) -> Any:
    raise refused("ListSubscriptionsByTopic", "AuthorizationError", 403)


def throttles(_: Any) -> Any:
    raise refused("ListSubscriptionsByTopic", "Throttled", 429)


@pytest.mark.life("K-1006")
@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (nobody_listens, "the alert topic has no confirmed subscription"),
        (lambda _: {"Subscriptions": []}, "the alert topic has no confirmed subscription"),
        (fails, "whether the alert topic has a confirmed subscription is unknown (access denied"),
        (throttles, "whether the alert topic has a confirmed subscription is unknown (List"),
    ],
)
def test_without_a_confirmed_subscription_a_sweep_only_observes_and_says_why(
    account: Account, answers: Callable[[Any], Any], why: str
) -> None:
    account.key(KEY_ID, idle=60)
    account.around = Calls(sns_list_subscriptions_by_topic=answers)
    answer = account.night()
    assert (answer["mode"], sum(answer["applied"].values())) == ("observe", 0)
    assert answer["observed_because"].startswith(why)
    assert account.rows() == {}
    night = account.ledger.night(account.today)
    assert (night.swept, night.observed_because) == (False, answer["observed_because"])
    assert account.keys_file()[KEY_ID]["verdict"] == "warn"
    account.publish()
    assert account.report()["night"]["observed_because"] == answer["observed_because"]


def test_a_subscription_on_a_later_page_is_found(account: Account) -> None:
    arn = "arn:aws:sns:us-east-1:123456789012:alerts:1"
    pages = iter(
        [
            {**nobody_listens(None), "NextToken": "more"},
            {"Subscriptions": [{"SubscriptionArn": arn, "Endpoint": "a"}], "NextToken": "more"},
        ]
    )
    account.key(KEY_ID, idle=60)
    account.around = Calls(sns_list_subscriptions_by_topic=lambda _: next(pages))
    assert account.night()["applied"]["warn"] == 1


def test_once_somebody_listens_the_same_nights_next_sweep_acts(account: Account) -> None:
    account.key(KEY_ID, idle=60)
    account.around = Calls(sns_list_subscriptions_by_topic=nobody_listens)
    account.night()
    account.around = Calls()
    answer = account.sweep()
    assert (answer["applied"]["warn"], "observed_because" in answer) == (1, False)
    assert account.ledger.night(account.today).observed_because is None


def test_a_subscription_that_is_deleted_after_the_warning_keeps_its_keys(
    an_account: AccountMaker,
) -> None:
    account = an_account(policy=brisk(warn_days=2, grace_days=14))
    account.key(KEY_ID, idle=60)
    account.night()
    account.around = Calls(sns_list_subscriptions_by_topic=nobody_listens)
    for _ in range(6):
        account.pass_day()
        account.night()
    assert account.states()[KEY_ID] == "warned"
    assert account.enabled(KEY_ID)


def test_an_approval_that_nobody_would_hear_of_is_refused(account: Account) -> None:
    account.read()
    account.around = Calls(sns_list_subscriptions_by_topic=nobody_listens)
    with pytest.raises(NotHeard):
        account.sweep(approve="0123456789abcdef")


def test_a_stack_that_observes_does_not_ask_who_listens(an_account: AccountMaker) -> None:
    account = an_account(mode=Mode.OBSERVE)
    account.around = calls = Calls(sns_list_subscriptions_by_topic=fails)
    answer = account.night()
    assert calls.count("sns.list_subscriptions_by_topic") == 0
    assert "observed_because" not in answer


# --- one run at a time ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "lease"), [("sweep", "sweep"), ("watch", "count"), ("publish", "report")]
)
def test_a_second_run_answers_running_and_does_nothing(
    account: Account, run: str, lease: str
) -> None:
    account.night()
    account.pass_day()
    account.read()
    account.ledger.take_lease("another run", account.real_now, 60, lease)
    before = account.items()
    account.around = calls = Calls()
    answer = getattr(account, run)()
    assert set(answer) == {"time", "code_version", "running"}
    until = account.real_now + timedelta(seconds=60)
    assert answer["running"] == f"{until:%Y-%m-%dT%H:%M:%SZ}"
    assert account.items() == before
    assert set(calls.names) == {"dynamodb.put_item", "dynamodb.get_item"}


@pytest.mark.parametrize(
    ("run", "lease"), [("sweep", "sweep"), ("watch", "count"), ("publish", "report")]
)
def test_a_run_gives_its_lease_back_also_if_it_fails(
    account: Account, run: str, lease: str
) -> None:
    account.night()
    account.around = Calls(apigateway_keys=fails)
    with pytest.raises(Exception, match="refused"):
        getattr(account, run)()
    assert account.ledger.lease_until(lease) is None


def test_runs_of_different_functions_do_not_keep_each_other_away(account: Account) -> None:
    for lease in ("count", "report"):
        account.ledger.take_lease("another run", account.real_now, 60, lease)
    account.read()
    assert account.sweep()["mode"] == "park"
    with pytest.raises(AlreadyRunning):
        account.ledger.take_lease("a third", account.real_now, 60, "count")
