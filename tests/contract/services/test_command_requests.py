"""The command's requests as an operator, from what is typed to the function's answer and the opened value."""

import io
import json
import shlex
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from keyjanitor.domain.model.keys import Secret, State
from keyjanitor.errors import AccessDenied
from keyjanitor_cli.__main__ import run
from keyjanitor_cli.aws import Function, Stack
from keyjanitor_cli.errors import CommandFailed
from tests.account import BUSY, Account, Calls, Killed
from tests.builders import DAY, PORTAL, TODAY
from tests.contract.services.test_secrets import shown
from tests.requesting import (
    TIER,
    an_asking_policy,
    asked,
    delivered,
    issue,
    the_answer,
    the_row,
    undisturbed,
)

AccountMaker = Callable[..., Account]
OUTPUTS = {
    "ProvisionKeysFunctionName": "provision",
    "AuditLogGroupName": "audit",
    "SealingKeyArn": "key",
}
ISSUE = ["issue", "--tier", TIER, "--owner", "o", "--name", "n", "--deliver-to", PORTAL, "--yes"]


class Aws:
    """What the command finds in the person's account: the functions of an account in memory."""

    region = "us-east-1"

    def __init__(self, account: Account) -> None:
        self._account = account
        self.sent: list[Mapping[str, Any]] = []
        self.lines: list[str] = []
        self.is_cut = False  # the answer of a call

    def stack(self, name: str | None) -> Stack:
        return Stack(name or "keyjanitor", self.region, OUTPUTS, {}, "CREATE_COMPLETE")

    def client(self, service: str) -> None:
        """None: the adapters of this account take its place."""

    def invoke(self, _: Stack, function: Function, event: Mapping[str, Any]) -> dict[str, Any]:
        assert function is Function.PROVISION_KEYS
        self.sent.append(event)
        with redirect_stdout(io.StringIO()):  # its metrics
            answer = self._account.provision_keys.lambda_handler(
                json.loads(json.dumps(event)), self._account.context()
            )
        if self.is_cut:
            raise CommandFailed("provision_keys did not answer within 960 seconds")
        return json.loads(json.dumps(answer))  # type: ignore[no-any-return]

    def logged(self, group: str, since: datetime, pattern: str) -> Iterator[tuple[datetime, str]]:
        assert (group, pattern) == ("audit", '"request_id"')
        assert since.tzinfo is UTC
        yield from ((since, line) for line in self.lines)


@pytest.fixture
def account(an_account: AccountMaker, monkeypatch: pytest.MonkeyPatch) -> Account:
    account = an_account(policy=an_asking_policy(senders=(), admins=(), max_keys_per_owner=9))
    monkeypatch.setattr(account.provision_keys, "pause", lambda seconds: None)
    monkeypatch.setattr("keyjanitor_cli.commands.asking.time.sleep", lambda seconds: None)
    return account


@pytest.fixture
def aws(account: Account, monkeypatch: pytest.MonkeyPatch) -> Aws:
    aws = Aws(account)
    monkeypatch.setattr("keyjanitor_cli.session.Account", lambda *_: aws)
    monkeypatch.setattr("keyjanitor_cli.session.ValueSealer", lambda *_: account.sealer)
    monkeypatch.setattr("keyjanitor_cli.session.Session.ledger", property(lambda _: account.ledger))
    return aws


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person looks at what is printed."""
    monkeypatch.setattr("_pytest.capture.CaptureIO.isatty", lambda _: True)


def the_issued(account: Account) -> tuple[str, dict[str, Any], str]:
    """The request id, the answer and the value of the one key that was issued."""
    ((request_id, detail),) = {
        one["Detail"]["request_id"]: one["Detail"]
        for one in account.events
        if one["DetailType"] in ("Key Issued", "Key Rotated")
    }.items()
    return request_id, detail, delivered(account, detail)


# --- asking ----------------------------------------------------------------------------------------


def test_an_issued_value_is_shown_once_to_who_may_open_it_and_looks_at_a_terminal(
    account: Account, aws: Aws, terminal: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(ISSUE) == 0
    told = capsys.readouterr()
    request_id, detail, value = the_issued(account)
    assert told.out.count(value) == 1
    assert detail["key_id"] in told.out
    assert request_id in told.err
    assert value not in told.err


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_without_a_terminal_or_with_json_no_value_is_shown(
    account: Account, aws: Aws, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    assert run([*ISSUE, *more]) == 0
    told = capsys.readouterr()
    _, detail, value = the_issued(account)
    assert shown([value], {"out": told.out.encode(), "err": told.err.encode()}) == []
    if more:
        assert json.loads(told.out)["answers"][0]["detail"] == detail
    else:
        assert "--value-to FILE" in " ".join(told.out.split())


def test_json_on_a_terminal_shows_no_value_either(
    account: Account, aws: Aws, terminal: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*ISSUE, "--json"]) == 0
    value = the_issued(account)[2]
    told = capsys.readouterr()
    assert shown([value], {"out": told.out.encode(), "err": told.err.encode()}) == []


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_value_goes_to_a_new_file_that_only_its_writer_can_read(
    account: Account,
    aws: Aws,
    terminal: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
) -> None:
    file = tmp_path / "value"
    assert run([*ISSUE, "--value-to", str(file), *more]) == 0
    value = the_issued(account)[2]
    assert file.read_text() == value + "\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    told = capsys.readouterr()
    assert shown([value], {"out": told.out.encode(), "err": told.err.encode()}) == []
    assert run([*ISSUE, "--value-to", str(file)]) == 2
    assert len(aws.sent) == 1


def test_who_may_not_open_a_value_is_told_for_whom_it_is_sealed(
    account: Account,
    aws: Aws,
    terminal: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Closed:
        def open(self, sealed: str, context: Mapping[str, str]) -> Secret:
            raise AccessDenied("kms:Decrypt", "oncall")

    monkeypatch.setattr("keyjanitor_cli.session.ValueSealer", lambda *_: Closed())
    assert run(ISSUE) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"Its value is sealed for {PORTAL}" in out
    assert "you are not that role or user" in out


def test_every_action_on_a_key_is_asked_for_and_shown(
    account: Account, aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(ISSUE) == 0
    key_id = the_issued(account)[1]["key_id"]
    until = str(TODAY + DAY * 30)
    for typed, told in (
        (["renew", key_id, "--reason", "needed"], "Key Renewed"),
        (["protect", key_id, "--until", until], "Key Protected"),
        (["release", key_id], "Key Released"),
        (
            ["assign", key_id, "--owner", "ann", "--name", "app", "--deliver-to", PORTAL],
            "Key Assigned",
        ),
        (["rotate", key_id, "--overlap-days", "3"], "Key Rotated"),
        (["revoke", key_id], "Key Revoked"),
    ):
        assert run([*typed, "--yes"]) == 0
        assert f"{told}: " in capsys.readouterr().out
    row = the_row(account, key_id)
    assert (row.state, row.owner, row.name) == (State.REVOKED, "ann", "app")
    assert run(["restore", key_id, "--yes"]) == 1
    assert "not_restorable" in capsys.readouterr().out
    assert {one["Detail"]["requested_by"] for one in account.events} == {"operator"}


def test_a_question_names_the_key_and_without_an_answer_nothing_is_sent(
    account: Account, aws: Aws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    account.policy = an_asking_policy()
    account.wire()
    key_id = asked(account, issue())
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert run(["revoke", key_id]) == 1
    err = " ".join(capsys.readouterr().err.split())
    who = f"{key_id} (key of owner 1, owner owner-1, tier external, active)"
    assert f"Revoke {who}: delete it at once and for good?" in err
    assert run(["assign", key_id, "--owner", "ann"]) == 1
    assert f"Assign {who} to owner ann?" in " ".join(capsys.readouterr().err.split())
    assert aws.sent == []
    assert key_id in account.gateway.ids


@pytest.mark.parametrize(
    "typed",
    [
        ["revoke", "aB3dE6gH9jK2mN5pQ8sT1vW4"],
        ["revoke", "k1", "--reason", "aB3dE6gH9jK2mN5pQ8sT1vW4"],
        ["revoke", "k1", "--request-id", "a b"],
        ["revoke", ""],
        ["protect", "k1", "--until", "tomorrow"],
        ["rotate", "k1", "--overlap-days", "91"],
        ["assign", "k1", "--owner", ""],
        ["assign", "k1", "--owner", "ann", "--name", "aB3dE6gH9jK2mN5pQ8sT1vW4"],
    ],
)
def test_what_does_not_fit_the_contract_is_not_sent_and_a_value_is_not_repeated(
    aws: Aws, capsys: pytest.CaptureFixture[str], typed: list[str]
) -> None:
    assert run([*typed, "--yes"]) == 2
    told = capsys.readouterr()
    assert aws.sent == []
    assert "aB3dE6gH9jK2mN5pQ8sT1vW4" not in told.out + told.err


# --- repeating -------------------------------------------------------------------------------------


def the_command_in(text: str) -> list[str]:
    """The words of the command that an answer or an error tells to type, without the first."""
    (line,) = [line for line in text.splitlines() if "keyjanitor " in line and "request-id" in line]
    return shlex.split(line[line.index("keyjanitor ") :])[1:]


def test_an_answer_that_does_not_come_is_fetched_by_the_command_that_the_error_tells(
    account: Account, aws: Aws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    aws.is_cut = True
    assert run([*ISSUE, "--reason", "it's needed"]) == 1
    again = the_command_in(capsys.readouterr().err)
    aws.is_cut = False
    assert run([*again, "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answers"][0]["detail"] == the_issued(account)[1]
    assert aws.sent[0] == aws.sent[1]
    assert len(account.gateway.ids) == 2


def test_what_is_deferred_ends_with_3_and_the_command_that_goes_on(
    account: Account, aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    account.around = Calls(apigateway_keys_named=lambda _: dies())
    with pytest.raises(Killed):
        run([*ISSUE, "--request-id", "mine"])
    account.around = undisturbed
    assert run([*ISSUE, "--request-id", "mine"]) == 3
    again = the_command_in(capsys.readouterr().out)
    assert "--wait" in again
    account.real_now += DAY / 48
    assert run([*again, "--yes"]) == 0
    assert the_issued(account)[0] == "mine"
    assert len(account.gateway.ids) == 2


def dies() -> Any:
    raise Killed


def test_with_wait_it_is_sent_again_until_it_is_answered(
    account: Account, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.around = Calls(apigateway_keys_named=lambda _: dies())
    with pytest.raises(Killed):
        run([*ISSUE, "--request-id", "mine"])
    account.around = undisturbed

    def passes(_: float) -> None:
        account.real_now += DAY / 24 / 20

    monkeypatch.setattr("keyjanitor_cli.commands.asking.time.sleep", passes)
    assert run([*ISSUE, "--request-id", "mine", "--wait"]) == 0
    assert len(aws.sent) > 2
    assert all(one == aws.sent[0] for one in aws.sent)
    assert len(account.gateway.ids) == 2
    assert BUSY in account.gateway.ids


# --- what was answered -----------------------------------------------------------------------------


def test_the_answers_are_the_lines_of_the_audit_log_that_answer_requests_each_once(
    account: Account, aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    account.policy = an_asking_policy()
    account.wire()
    with redirect_stdout(io.StringIO()):
        account.ask(issue(1), issue(2, deliver_to="nobody"))
    events = [
        {
            "id": f"e-{number}",
            "time": "2026-11-21T03:00:00Z",
            "detail-type": one["DetailType"],
            "detail": one["Detail"],
        }
        for number, one in enumerate(account.events)
    ]
    parked = {"id": "p", "detail-type": "Key Parked", "detail": {"key_id": "k"}}
    aws.lines = [json.dumps(one) for one in [*events, *events, parked]] + ["no JSON", "[1]", "{}"]
    assert run(["answers", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["answers"]
    assert told == events
    assert run(["answers", "--json", "--request", "issue-2"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["answers"]
    assert one["detail"] == the_answer(account, issue(2))[1]
    assert run(["answers", "--request", "unheard-of"]) == 0
    assert "No request was answered" in capsys.readouterr().out
    assert run(["answers", "--follow", "--json"]) == 2


def test_answers_are_followed_until_the_person_stops(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    detail = {"request_id": "r-1", "key_id": "k1", "requested_by": "operator", "reason": "leaked"}
    line = {
        "id": "1",
        "time": "2026-11-21T03:00:00Z",
        "detail-type": "Key Revoked",
        "detail": detail,
    }
    looks = iter([[], [json.dumps(line)], [json.dumps(line)]])

    def passes(_: float) -> None:
        try:
            aws.lines = next(looks)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("keyjanitor_cli.commands.asking.time.sleep", passes)
    assert run(["answers", "--follow"]) == 1
    assert (
        " ".join(capsys.readouterr().out.split()).count("r-1 Key Revoked k1 operator leaked") == 1
    )
