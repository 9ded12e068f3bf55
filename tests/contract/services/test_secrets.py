"""A key's value is readable in API Gateway, sealed in tombstones and deliveries, and nowhere else."""

import base64
import json
import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ParamValidationError

from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.clients import client as aws_client
from keyjanitor.adapters.kms import ValueSealer, tombstone_context
from keyjanitor.adapters.rate_limiter import RateLimiter
from keyjanitor.domain.model.key_values import new_value as really_new_value
from keyjanitor.domain.model.keys import Secret
from keyjanitor.errors import KeyjanitorError
from sandbox.memory.adapters.api_gateway import value_of
from sandbox.memory.clients.clients import Clients
from sandbox.memory.clients.refusal import refused
from tests.account import BUSY, Account, Calls
from tests.builders import DAY, KEY_ID, a_tombstone
from tests.requesting import (
    an_asking_policy,
    asked,
    codes_of,
    issue,
    issues,
    protect,
    release,
    renew,
    restore,
    revoke,
    rotate,
)


def shapes(value: str) -> Iterator[bytes]:
    """The value plain, and what base64 makes of it wherever it stands among other text."""
    yield value.encode()
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + value.encode())
        # The first and the last group of four also hold what stands beside the value.
        middle = encoded[4 if shift else 0 : -4]
        yield middle
        yield middle.replace(b"+", b"-").replace(b"/", b"_")


def shown(values: list[str], where: dict[str, bytes]) -> list[str]:
    """The places in which one of the values can be read."""
    return [
        name
        for name, content in where.items()
        if any(shape in content for value in values for shape in shapes(value))
    ]


class Log(logging.Handler):
    """Everything that anybody logs, as Powertools and Lambda would write it, errors included."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
        self.lines.append(repr(record.__dict__))


@pytest.fixture
def log() -> Iterator[Log]:
    """Hears every logger, and has each of them say all that it can."""
    log = Log()
    root = logging.getLogger()
    loggers = [root, *(logging.getLogger(name) for name in list(root.manager.loggerDict))]
    ours = [one for one in loggers if one is root or "keyjanitor" in one.name or not one.propagate]
    levels = [(one, one.level) for one in ours]
    for one in ours:
        one.addHandler(log)
        one.setLevel(logging.DEBUG)
    yield log
    for one, level in levels:
        one.removeHandler(log)
        one.setLevel(level)


def everywhere(account: Account, log: Log, errors: list[str]) -> dict[str, bytes]:
    """All places where a value must not be (README, What it promises, 4)."""
    return {
        "log": "\n".join(log.lines).encode(),
        "errors": "\n".join(errors).encode(),
        "events": repr(account.events).encode(),
        "alerts": repr(account.alerts).encode(),
        "items": repr(account.items()).encode(),
        **{f"object {name}": body for name, body in account.objects().items()},
    }


def said(err: BaseException) -> str:
    return "".join(traceback.format_exception(err)) + repr(err) + repr(vars(err))


def lived(account: Account) -> Iterator[None]:
    """Lets keys be warned, disabled, parked, purged, undone and restored, and stops now and then."""
    for index in range(5):
        account.key(f"idle{index}", idle=60 - index, tags={"t": "v"})
    account.nights(4)
    yield
    account.sweep(undo=str(account.today))
    account.sweep(hold="why")
    account.sweep()
    account.sweep(resume=True)
    yield


def test_the_search_finds_a_value_however_it_is_wrapped() -> None:
    value = value_of(KEY_ID)
    for before in ("", "a", "ab", '{"x": "'):
        for text in (
            (before + value + '"}').encode(),
            base64.b64encode((before + value + '"}').encode()),
        ):
            assert shown([value], {"here": text}) == ["here"]
    assert shown([value], {"here": value_of("another").encode()}) == []


@pytest.mark.parametrize("memory", ["memory", pytest.param("moto", marks=pytest.mark.slow)])
def test_no_value_is_readable_anywhere_in_a_whole_life_of_keys(
    request: pytest.FixtureRequest, functions: dict[str, Any], log: Log, memory: str, capfd: Any
) -> None:
    name = "moto" if memory == "moto" else "clients"
    clients: Clients = request.getfixturevalue(name)
    account = Account(
        clients,
        functions["expire_keys"],
        functions["pull_usage"],
        functions["provision_keys"],
        functions["watch_capacity"],
        functions["publish_report"],
    )
    values = [value_of(key_id) for key_id in (BUSY, *(f"idle{index}" for index in range(5)))]
    for _ in lived(account):
        account.watch()
        account.publish()
        told = capfd.readouterr()
        places = everywhere(account, log, [told.out, told.err])
        assert shown(values, places) == []
        assert log.lines
        assert any(name.startswith("object tombstones/") for name in places) or account.events


@pytest.mark.parametrize("carried_out", [pytest.param(False, marks=pytest.mark.slow), True])
def test_no_value_is_readable_when_any_call_of_a_night_fails(
    account: Account, log: Log, carried_out: bool
) -> None:
    values = [account.key(f"idle{index}", idle=60 - index) for index in range(5)]
    account.nights(3)
    account.pass_day()
    account.read()
    snapshot = account.snapshot()
    account.around = counted = Calls()
    account.go_back(snapshot)
    account.sweep()
    account.sweep(undo=str(account.today))
    errors: list[str] = []
    for number in range(len(counted.names)):
        account.around = failing(number, values, carried_out=carried_out)
        account.go_back(snapshot)
        for event in ({}, {"undo": str(account.today)}):
            try:
                account.sweep(**event)
            except KeyjanitorError as err:
                errors.append(said(err))
        if shown(values, everywhere(account, log, errors)):
            pytest.fail(
                f"after {counted.names[number]}: {shown(values, everywhere(account, log, errors))}"
            )
        log.lines.clear()
    assert errors


def failing(number: int, values: list[str], *, carried_out: bool) -> Callable[..., Any]:
    """Lets call number `number` fail with an error of AWS's in which every value stands."""
    seen: list[str] = []

    def around(name: str, call: Callable[[], Any]) -> Any:
        seen.append(name)
        if len(seen) - 1 != number:
            return call()
        if carried_out:
            call()
        if name.split(".", maxsplit=1)[0] in ("apigateway", "owners"):
            raise KeyjanitorError(name)  # an adapter; what it says is tested in test_gateway.py
        err = refused(name, "InternalError", 500)
        if name.split(".", maxsplit=1)[0] == "kms":
            err.args = (f"cannot handle {values}",)
            err.response["Error"]["Message"] = f"cannot handle {values}"
        raise err

    return around


# --- requests -------------------------------------------------------------------------------------


@pytest.fixture
def made(functions: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every value that is made from now on."""
    values: list[str] = []

    def new_value() -> Secret:
        value = really_new_value()
        values.append(value.reveal())
        return value

    monkeypatch.setattr(functions["provision_keys"], "new_value", new_value)
    return values


def a_batch(account: Account) -> list[Any]:
    """Every kind of request, with keys in the states that it takes, and some that are refused."""
    parked = asked(account, issue(101))
    for _ in range(5):
        account.night()
        account.pass_day()
    ids = [asked(account, issue(number)) for number in range(102, 107)]
    return [
        issue(1),
        restore(parked),
        rotate(ids[0]),
        renew(ids[1]),
        protect(ids[2], account.today + DAY),
        release(ids[3]),
        revoke(ids[4]),
        issue(2, deliver_to="nobody"),
        issue(101, name="another"),
    ]


@pytest.mark.parametrize("memory", ["memory", pytest.param("moto", marks=pytest.mark.slow)])
def test_no_value_is_readable_anywhere_when_requests_are_served(
    request: pytest.FixtureRequest,
    functions: dict[str, Any],
    log: Log,
    made: list[str],
    memory: str,
    capfd: Any,
) -> None:
    clients: Clients = request.getfixturevalue("moto" if memory == "moto" else "clients")
    policy = an_asking_policy(never_used_days=2)
    account = Account(clients, **functions, policy=policy)
    bodies = a_batch(account)
    for _ in range(2):
        assert account.ask(*bodies) == []
    account.watch()
    account.publish()
    told = capfd.readouterr()
    assert len(made) == 8
    assert Counter(one["DetailType"] for one in account.events)["Key Request Refused"] == 4
    assert shown(made, everywhere(account, log, [told.out, told.err])) == []
    assert log.lines


@pytest.mark.parametrize("carried_out", [pytest.param(False, marks=pytest.mark.slow), True])
def test_no_value_is_readable_when_any_call_of_a_batch_fails(
    an_account: Callable[..., Account], log: Log, made: list[str], carried_out: bool, capfd: Any
) -> None:
    account = an_account(policy=an_asking_policy(never_used_days=2))
    bodies = a_batch(account)
    snapshot = account.snapshot()
    account.around = counted = Calls()
    assert account.ask(*bodies) == []
    left = 0
    # Every third call, others by the other of the two ways.
    for number, name in list(enumerate(counted.names))[carried_out::3]:
        account.around = failing(number, made, carried_out=carried_out)
        account.go_back(snapshot)
        errors: list[str] = []
        try:
            left += len(account.ask(*bodies))
        except KeyjanitorError as err:
            errors.append(said(err))
        told = capfd.readouterr()
        places = everywhere(account, log, [*errors, told.out, told.err])
        assert shown(made, places) == [], name
        log.lines.clear()
    assert left


def test_what_a_sender_writes_where_it_does_not_belong_is_not_repeated(
    an_account: Callable[..., Account], log: Log, capfd: Any
) -> None:
    account = an_account(policy=an_asking_policy())
    value = really_new_value().reveal()
    bodies: list[Any] = [
        json.dumps({"value": value}),
        f"{value} is no JSON",
        f'{{"request_id": ["{value}"]}}',
        issue(1, value=value),
        issue(2, expires_on=value),
        issue(3, owner=[value]),
        issue(4, version=value),
        {**issue(5), "action": value},
        {**rotate("k"), "overlap_days": value},
    ]
    assert account.ask(*bodies) == []
    assert len(account.queue.dead) == 3
    assert codes_of(account, bodies[3:]) == ["invalid_request"] * 6
    told = capfd.readouterr()
    assert shown([value], everywhere(account, log, [told.out, told.err])) == []


def with_message(code: str, message: str) -> Exception:
    return refused("ImportApiKeys", code, Error={"Code": code, "Message": message})


@pytest.mark.parametrize(
    "refusal",
    [
        lambda sent: ParamValidationError(report=f"Invalid type for parameter body: {sent}"),
        lambda sent: with_message("BadRequestException", f"bad row: {sent}"),
        lambda sent: with_message("AccessDeniedException", f"not allowed: {sent}"),
    ],
    ids=["botocore", "a bad row", "no right"],
)
def test_an_import_that_is_refused_with_its_file_in_the_error_shows_no_value(
    an_account: Callable[..., Account],
    monkeypatch: pytest.MonkeyPatch,
    log: Log,
    made: list[str],
    capfd: Any,
    refusal: Callable[[Any], Exception],
) -> None:
    class Client:
        def import_api_keys(self, **params: Any) -> Any:
            raise refusal(params)

    account = an_account(policy=an_asking_policy())
    real = ApiGateway(Client(), RateLimiter(1000))
    monkeypatch.setattr(account.gateway, "import_keys", real.import_keys)
    account.ask(*issues(3))
    told = capfd.readouterr()
    assert len(made) == 3
    assert shown(made, everywhere(account, log, [told.out, told.err])) == []


# --- what botocore logs ---------------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")


def test_botocore_does_not_log_what_is_sealed_when_lambdas_level_is_debug(
    environment: None, moto: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    """An operator who sets the function's log level to DEBUG sets the root logger's with it."""
    value = value_of(KEY_ID)
    with caplog.at_level(logging.DEBUG):
        sealer = ValueSealer(aws_client("kms"), moto.key_arn)
        sealed = sealer.seal(Secret(value), tombstone_context(a_tombstone(KEY_ID)))
        assert sealer.open(sealed, tombstone_context(a_tombstone(KEY_ID))) == Secret(value)
    assert shown([value], {"log": caplog.text.encode()}) == []


def test_a_secret_shows_itself_to_nobody_who_does_not_ask() -> None:
    secret = Secret(value_of(KEY_ID))
    texts = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r}",
        repr([secret]),
        f"{(secret,)}",
    ]
    assert not any(secret.reveal() in text for text in texts)
