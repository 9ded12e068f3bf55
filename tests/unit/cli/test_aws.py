"""How the command finds a stack and invokes a function: once, whatever comes of it."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from keyjanitor.errors import UnreadableAnswer
from keyjanitor_cli import aws
from keyjanitor_cli.__main__ import run
from keyjanitor_cli.aws import MARKS, Account, Function, Stack, failure
from keyjanitor_cli.errors import CommandFailed, FunctionFailed, WrongUse
from keyjanitor_cli.session import Session

FUNCTION = "keyjanitor-ExpireKeysFunction-1"
STACK = Stack("keyjanitor", "eu-central-1", {"ExpireKeysFunctionName": FUNCTION}, {}, "")
Answer = tuple[int, Mapping[str, str], bytes]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_REGION", "eu-central-1"),
    ):
        monkeypatch.setenv(name, value)
    return Account(region="eu-central-1")


@pytest.fixture
def lambdas(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer | None], list[bytes]]]:
    """Starts a Lambda that gives one answer, or none at all; gives the list of what it was sent."""
    servers: list[ThreadingHTTPServer] = []
    done = threading.Event()

    def start(answer: Answer | None) -> list[bytes]:
        sent: list[bytes] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent.append(self.rfile.read(int(self.headers["Content-Length"])))
                if answer is None:
                    done.wait(30)
                    return
                self.send_response(answer[0])
                for name, value in answer[1].items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer[2])

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://127.0.0.1:{server.server_port}")
        return sent

    yield start
    done.set()
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.enable_socket
def test_a_function_that_does_not_answer_is_invoked_once(
    account: Account,
    lambdas: Callable[[Answer | None], list[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aws, "LONGEST_RUN", 0.2)
    monkeypatch.setattr(aws, "OUTLASTING", 0.2)
    sent = lambdas(None)
    with pytest.raises(CommandFailed, match="may have done its work") as err:
        account.invoke(STACK, Function.EXPIRE_KEYS, {"undo": "2026-11-21"})
    assert [json.loads(body) for body in sent] == [{"undo": "2026-11-21"}]
    assert "keyjanitor logs expire_keys" in err.value.then[0]


@pytest.mark.enable_socket
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_function_that_is_refused_is_not_invoked_again(
    account: Account, lambdas: Callable[[Answer | None], list[bytes]], status: int
) -> None:
    sent = lambdas((status, {"x-amzn-ErrorType": "Some"}, b"{}"))
    with pytest.raises(CommandFailed, match="Invoke failed: Some"):
        account.invoke(STACK, Function.EXPIRE_KEYS, {})
    assert len(sent) == 1


@pytest.mark.enable_socket
def test_a_functions_own_error_is_told_without_its_traceback(
    account: Account, lambdas: Callable[[Answer | None], list[bytes]]
) -> None:
    body = {"errorType": "NoEvidence", "errorMessage": "no evidence", "stackTrace": ["File x"]}
    lambdas((200, {"X-Amz-Function-Error": "Unhandled"}, json.dumps(body).encode()))
    with pytest.raises(FunctionFailed) as err:
        account.invoke(STACK, Function.EXPIRE_KEYS, {})
    assert (err.value.kind, err.value.what) == ("NoEvidence", "expire_keys failed: no evidence")
    assert "File x" not in str(err.value)
    assert err.value.then == ("read it now: keyjanitor read",)


def test_an_answer_is_waited_for_longer_than_a_function_may_run(account: Account) -> None:
    client = account.client("lambda", tries=1, read_timeout=aws.LONGEST_RUN + aws.OUTLASTING)
    assert client.meta.config.read_timeout > 900
    assert client.meta.config.retries["total_max_attempts"] == 1


# --- API Gateway ------------------------------------------------------------------------------------


def test_api_gateway_is_read_whole_or_not_at_all_and_nothing_is_repeated(account: Account) -> None:
    client = account.gateway_client()
    bodies = [b"<html>busy</html>", b'{"usagePlanId": "p1", "values": {"k0": [[1, 2]]}}']

    def answer(**_: Any) -> AWSResponse:
        class Raw(BytesIO):
            def stream(self, **_: Any) -> Iterator[bytes]:
                yield self.read()

        headers: Any = {}
        return AWSResponse("https://x", 200, headers, Raw(bodies.pop(0)))

    client.meta.events.register("before-send.api-gateway", answer)
    days = {"usagePlanId": "p1", "startDate": "2026-11-01", "endDate": "2026-11-01"}
    with pytest.raises(UnreadableAnswer):
        client.get_usage(**days)
    assert client.get_usage(**days)["items"] == {"k0": [[1, 2]]}
    assert client.meta.config.retries["total_max_attempts"] == 1


# --- alarms and logs --------------------------------------------------------------------------------


def test_the_alarms_that_are_on_are_read_page_by_page(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    class CloudWatch:
        def describe_alarms(self, **given: Any) -> dict[str, Any]:
            asked.append(dict(given))
            more = {} if "NextToken" in given else {"NextToken": "2"}
            return {"MetricAlarms": [{"AlarmDescription": f"page {len(asked)}"}, {}], **more}

    monkeypatch.setattr(account, "client", lambda _: CloudWatch())
    assert account.alarms(STACK) == ["page 1", "", "page 2", ""]
    wanted = {
        "AlarmNamePrefix": "keyjanitor-",
        "StateValue": "ALARM",
        "AlarmTypes": ["MetricAlarm"],
    }
    assert asked == [wanted, wanted | {"NextToken": "2"}]


def test_logs_are_followed_until_the_person_stops_and_each_line_is_shown_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = datetime.now(UTC)
    said = [(begun, json.dumps({"level": "ERROR", "message": f"error {n}"})) for n in range(3)]
    looks: list[datetime] = []

    def logged(group: str, since: datetime, pattern: str = "") -> Iterator[tuple[datetime, str]]:
        looks.append(since)
        assert (group, pattern) == ("the group", "")
        return iter(said[: len(looks)])

    def sleep(seconds: float) -> None:
        if len(looks) == 3:
            raise KeyboardInterrupt
        assert seconds == 10

    session: Any = SimpleNamespace(
        account=SimpleNamespace(log_group=lambda *_: "the group", logged=logged),
        stack=STACK,
    )
    monkeypatch.setattr(Session, "account", session.account)
    monkeypatch.setattr(Session, "stack", session.stack)
    monkeypatch.setattr("keyjanitor_cli.commands.following.time.sleep", sleep)
    assert run(["logs", "--follow"]) == 1
    shown = capsys.readouterr().out
    assert [shown.count(f"error {n}") for n in range(3)] == [1, 1, 1]
    assert looks[1] <= begun
    assert run(["logs", "--follow", "--json"]) == 2


# --- finding the stack ------------------------------------------------------------------------------


class CloudFormation:
    """Describes these stacks, by their names."""

    def __init__(self, *names: str, others: tuple[str, ...] = ()) -> None:
        self.stacks = [self._stack(name, MARKS) for name in names]
        self.stacks += [self._stack(name, frozenset()) for name in others]

    @staticmethod
    def _stack(name: str, outputs: frozenset[str]) -> dict[str, Any]:
        told = [{"OutputKey": key, "OutputValue": key.lower()} for key in outputs]
        mode = [{"ParameterKey": "Mode", "ParameterValue": "park"}]
        return {
            "StackName": name,
            "Outputs": told,
            "Parameters": mode,
            "StackStatus": "UPDATE_COMPLETE",
        }

    def describe_stacks(self, StackName: str = "", NextToken: str = "") -> dict[str, Any]:  # noqa: N803
        if not StackName:  # page by page, one stack each
            at = int(NextToken or 0)
            more = {"NextToken": str(at + 1)} if at + 1 < len(self.stacks) else {}
            return {"Stacks": self.stacks[at : at + 1], **more}
        found = [one for one in self.stacks if one["StackName"] == StackName]
        if not found:
            error: Any = {
                "Code": "ValidationError",
                "Message": f"Stack with id {StackName} does not exist",
            }
            raise ClientError({"Error": error}, "DescribeStacks")
        return {"Stacks": found}


def found(
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
    stacks: CloudFormation,
    name: str | None = None,
) -> str:
    monkeypatch.setattr(account, "client", lambda service, **_: stacks)
    return account.stack(name).name


def test_a_stack_is_found_by_its_name_or_as_the_only_one_with_its_outputs(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found(account, monkeypatch, CloudFormation("keyjanitor", "other")) == "keyjanitor"
    stacks = CloudFormation("keys-prod", others=("keyjanitor", "web"))
    assert found(account, monkeypatch, stacks) == "keys-prod"
    assert found(account, monkeypatch, CloudFormation("keyjanitor", "other"), "other") == "other"


def test_several_stacks_are_named_and_one_has_to_be_chosen(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WrongUse, match="2 stacks of keyjanitor in eu-central-1: a, b") as err:
        found(account, monkeypatch, CloudFormation("b", "a"))
    assert err.value.then == ("name one: --stack b",)
    assert err.value.exit_code == 2


def test_no_stack_and_a_stack_of_something_else_are_told(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CommandFailed, match="there is no stack of keyjanitor in eu-central-1"):
        found(account, monkeypatch, CloudFormation(others=("web",)))
    with pytest.raises(CommandFailed, match="web is no stack of keyjanitor") as err:
        found(account, monkeypatch, CloudFormation("keys", others=("web",)), "web")
    assert err.value.then == ("stacks of keyjanitor here: keys",)


# --- AWS's refusals ---------------------------------------------------------------------------------


def refused(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "Op")


@pytest.mark.parametrize(
    ("err", "said", "then"),
    [
        (NoCredentialsError(), "no AWS credentials", "aws sso login"),
        (refused("ExpiredToken"), "have expired", "aws sso login"),
        (refused("InvalidClientTokenId"), "does not know these credentials", "--profile"),
        (EndpointConnectionError(endpoint_url="x"), "cannot be reached", "--region"),
        (refused("ThrottlingException", "secret"), "Op failed: ThrottlingException", ""),
        (
            refused("AccessDenied", "User: arn:aws:sts::123456789012:assumed-role/me/x is not"),
            "arn:aws:sts::123456789012:assumed-role/me/x may not s3:GetObject on it",
            "docs/command.md",
        ),
    ],
)
def test_a_refusal_of_aws_says_what_was_wrong_and_what_to_do(
    err: Any, said: str, then: str
) -> None:
    told = failure(err, "Op", "s3:GetObject on it")
    assert said in told.what
    assert then in "".join(told.then)
    assert "secret" not in told.what
