"""What AWS might do instead of what is believed: a night, and a batch of requests, end as they should."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from keyjanitor.domain.requests.import_file import ROWS
from keyjanitor.errors import AccessDenied, ImportUnanswered
from sandbox.memory.clients.refusal import refused
from tests.account import Account, Call, Calls
from tests.builders import KEY_ID
from tests.requesting import an_asking_policy, issues, not_a_working_key

KEPT = "k00000kept"
AccountMaker = Callable[..., Account]


@pytest.fixture
def account(account: Account) -> Account:
    account.key(KEY_ID, idle=80)
    return account


# --- the tagging API lists no API keys --------------------------------------------------------------


def no_tags(**more: Callable[[Call], Any]) -> Calls:
    return Calls(owners_tags=lambda _: {}, **more)


def test_where_no_key_is_listed_with_tags_each_is_looked_at_before_it_is_warned_about(
    account: Account,
) -> None:
    account.key(KEPT, idle=80, tags={"keyjanitor:keep": "yes"})
    account.around = no_tags()
    assert account.night()["applied"]["warn"] == 1
    assert account.told(KEY_ID) == ["Key Expiring"]
    account.pass_day()
    account.night()
    assert not account.enabled(KEY_ID)
    assert account.enabled(KEPT)
    assert account.told(KEPT) == []


def test_where_no_tag_is_listed_a_dry_run_and_the_report_say_what_is_not_known(
    account: Account,
) -> None:
    """A tag may protect one of them: they are looked at only before they are warned."""
    account.key(KEPT, idle=80, tags={"keyjanitor:keep": "yes"})
    account.around = no_tags()
    account.read()
    dry = account.sweep(mode="observe")
    assert (dry["verdicts"]["warn"], dry["tags_unlisted"]) == (2, 2)
    answer = account.sweep()
    assert answer["applied"]["warn"] == 1
    assert "tags_unlisted" not in answer
    account.publish()
    assert account.report()["night"]["tags_unlisted"] == 1
    account.around = Calls()
    assert "tags_unlisted" not in account.sweep(mode="observe")
    account.publish()
    assert "tags_unlisted" not in account.report()["night"]


def test_a_key_whose_tags_cannot_be_read_is_warned_about_on_a_later_night(account: Account) -> None:
    def fails(_: Call) -> Any:
        raise AccessDenied("apigateway:GET on /apikeys/*", "role")

    account.around = no_tags(apigateway_key=fails)
    assert account.night()["applied"]["warn"] == 0
    account.around = no_tags()
    account.pass_day()
    assert account.night()["applied"]["warn"] == 1


def test_where_tags_are_listed_no_key_is_looked_at_before_it_is_warned_about(
    account: Account,
) -> None:
    account.key("k000tagged", idle=1, tags={"team": "a"})
    account.around = calls = Calls()
    assert account.night()["applied"]["warn"] == 1
    assert calls.count("apigateway.key") == 0


# --- S3 answers 403 of what is not there -------------------------------------------------------------


def forbidden(_: object = None) -> Any:
    raise refused("GetObject", "AccessDenied", 403)


def forbidden_if_absent(call: Call) -> Any:
    try:
        return call()
    except ClientError as err:
        if err.response["Error"]["Code"] in ("NoSuchKey", "404"):
            forbidden()
        raise


def test_a_night_goes_on_where_s3_answers_403_of_a_file_that_is_not_there(account: Account) -> None:
    account.around = Calls(s3_get_object=forbidden_if_absent)
    assert account.night()["applied"]["warn"] == 1
    account.pass_day()
    account.night()
    assert not account.enabled(KEY_ID)


def test_a_file_that_is_there_and_may_not_be_read_stops_the_night(account: Account) -> None:
    account.read()
    account.around = Calls(s3_get_object=forbidden)
    with pytest.raises(AccessDenied, match="s3:GetObject on evidence/"):
        account.sweep()


# --- a boto3 that is older than what is used -----------------------------------------------------------


def test_evidence_is_written_once_by_a_boto3_that_knows_no_condition(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = account.clients.s3.put_object

    def older(**params: Any) -> Any:
        if "IfNoneMatch" in params:
            raise ParamValidationError(report='Unknown parameter in input: "IfNoneMatch"')
        return put(**params)

    monkeypatch.setattr(account.clients.s3, "put_object", older)
    account.read()
    first = account.evidence()
    assert first is not None
    assert not account.history.put_evidence(first)
    assert account.read()["already_read"] is True
    assert account.sweep()["applied"]["warn"] == 1


# --- an import that is not answered in time ------------------------------------------------------------


@pytest.fixture
def asking(an_account: AccountMaker) -> Account:
    return an_account(policy=an_asking_policy())


@pytest.fixture(autouse=True)
def hurried(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """No run waits in real time."""
    monkeypatch.setattr(account.provision_keys, "pause", lambda _: None)


def silence(_: object = None) -> Any:
    raise ImportUnanswered(ROWS)


def late(account: Account, looks: int) -> dict[str, Callable[[Call], Any]]:
    """An import that is carried out, whole, after it was looked for so many times."""
    at_work: list[Call] = []
    looked = [0]

    def imported(call: Call) -> Any:
        if not looked[0]:
            at_work.append(call)
            silence()
        return call()

    def listed(call: Call) -> Any:
        looked[0] += 1
        if at_work and looked[0] > looks:
            at_work.pop()()
        return call()

    return {"apigateway_import_keys": imported, "apigateway_keys_named": listed}


@pytest.mark.parametrize("looks", [0, 1, 3])
def test_an_import_that_takes_a_minute_is_looked_for_and_not_made_again(
    asking: Account, looks: int
) -> None:
    bodies = issues(3)
    asking.around = calls = Calls(**late(asking, looks))
    assert asking.ask(*bodies) == []
    assert calls.count("apigateway.import_keys") == 1
    assert [not_a_working_key(asking, body) for body in bodies] == [[]] * 3


def test_an_import_that_is_never_carried_out_is_made_in_smaller_ones(asking: Account) -> None:
    bodies = issues(3)
    first = [silence]

    def imported(call: Call) -> Any:
        return first.pop()() if first else call()

    asking.around = calls = Calls(apigateway_import_keys=imported)
    assert asking.ask(*bodies) == []
    assert calls.count("apigateway.import_keys") == 1 + 3
    assert [not_a_working_key(asking, body) for body in bodies] == [[]] * 3


def test_where_no_import_is_ever_answered_the_requests_wait_and_no_run_goes_on_for_ever(
    asking: Account,
) -> None:
    bodies = issues(3)
    asking.around = calls = Calls(apigateway_import_keys=silence)
    assert asking.ask(*bodies) == list(range(3))
    assert calls.count("apigateway.import_keys") == 1 + 3
    asking.around = Calls()
    assert asking.ask(*bodies) == []
    assert [not_a_working_key(asking, body) for body in bodies] == [[]] * 3
