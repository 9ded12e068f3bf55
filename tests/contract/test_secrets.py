"""A key's value is readable in API Gateway, and sealed in tombstones, and nowhere else."""

import base64
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from keyjanitor.aws import client as aws_client
from keyjanitor.errors import KeyjanitorError
from keyjanitor.seal import Sealer, tombstone_context
from keyjanitor.words import Secret
from tests.builders import KEY_ID
from tests.fakes import BUSY, Account, Calls, Clients, refused, value_of


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
    """All places that the design does not name for a value."""
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


@pytest.mark.parametrize("memory", ["memory", "moto"])
def test_no_value_is_readable_anywhere_in_a_whole_life_of_keys(
    request: pytest.FixtureRequest, functions: dict[str, Any], log: Log, memory: str, capfd: Any
) -> None:
    name = "moto" if memory == "moto" else "clients"
    clients: Clients = request.getfixturevalue(name)
    account = Account(
        clients, functions["expire_keys"], functions["pull_usage"], functions["provision_keys"]
    )
    values = [value_of(key_id) for key_id in (BUSY, *(f"idle{index}" for index in range(5)))]
    for _ in lived(account):
        told = capfd.readouterr()
        places = everywhere(account, log, [told.out, told.err])
        assert shown(values, places) == []
        assert log.lines
        assert any(name.startswith("object tombstones/") for name in places) or account.events


@pytest.mark.parametrize("carried_out", [False, True])
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
        sealer = Sealer(aws_client("kms"), moto.key_arn)
        sealed = sealer.seal(Secret(value), tombstone_context(KEY_ID))
        assert sealer.open(sealed, tombstone_context(KEY_ID)) == Secret(value)
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
