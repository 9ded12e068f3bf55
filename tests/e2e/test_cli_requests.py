"""Requests that an operator types, on the deployed stack, with the rights of docs/command.md and no more."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sandbox.driver.client import REPOSITORY
from tests.e2e.conftest import World
from tests.e2e.requesting import PORTAL, answers, issue, recipient, serve
from tests.e2e.test_cli import rights

VALUE = re.compile(r"keyj[A-Za-z0-9]{36}")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return " ".join(self.out.split())


class Person:
    """Who types, with the rights of a role."""

    def __init__(self, world: World, credentials: Mapping[str, str]) -> None:
        self._environment = world.sandbox.environment() | {
            name.upper(): value for name, value in credentials.items()
        }
        self._environment["PYTHONPATH"] = f"{REPOSITORY / 'layers/keyjanitor'}:{REPOSITORY / 'cli'}"
        self._environment["COLUMNS"] = "200"

    def types(self, *words: str, terminal: bool = False) -> Ended:
        """Types `keyjanitor` and these words; with `terminal` what it prints goes to one."""
        command = [sys.executable, "-m", "keyjanitor_cli", *words]
        if not terminal:
            done = subprocess.run(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            return Ended(done.returncode, done.stdout, done.stderr)
        screen, end = pty.openpty()
        with subprocess.Popen(
            command, env=self._environment, stdin=end, stdout=end, stderr=subprocess.PIPE, text=True
        ) as process:
            os.close(end)
            shown = b"".join(iter(lambda: _read(screen), b""))
            assert process.stderr is not None
            err = process.stderr.read()
        os.close(screen)
        return Ended(process.returncode, shown.decode(), err)


def _read(screen: int) -> bytes:
    try:
        return os.read(screen, 65_536)
    except OSError:  # the other end was closed
        return b""


@pytest.fixture
def portal(world: World) -> Iterator[Person]:
    """An operator who is the recipient, too: the role that opens what is delivered to it."""
    world.sandbox.set_clock(datetime.now(UTC))
    credentials = recipient(world)
    iam = world.sandbox.client("iam")
    document = json.dumps(
        {"Version": "2012-10-17", "Statement": [*rights("reading"), *rights("asking")]}
    )
    iam.put_role_policy(RoleName="portal", PolicyName="operator", PolicyDocument=document)
    yield Person(world, credentials)
    iam.delete_role_policy(RoleName="portal", PolicyName="operator")


def asking(**more: str) -> list[str]:
    fields = {"tier": "issued", "owner": "oncall", "name": "a key", "deliver-to": PORTAL, **more}
    return [
        "issue",
        *(word for name, text in fields.items() for word in (f"--{name}", text)),
        "--yes",
    ]


def answered(person: Person, *words: str) -> list[dict[str, Any]]:
    """What `answers` lists."""
    done = person.types("answers", "--json", *words)
    assert done.code == 0, done
    listed: list[dict[str, Any]] = json.loads(done.out)["answers"]
    return listed


def opens(world: World, value: str) -> bool:
    ((status, _),) = dict(world.sandbox.call_api_many(world.api_id, "keys", {value: 1})).items()
    return bool(status == 200)


def test_an_operator_gets_a_key_uses_it_and_revokes_it(
    world: World, portal: Person, tmp_path: Path
) -> None:
    told = portal.types(*asking(**{"request-id": "op-1"}), terminal=True)
    assert told.code == 0, told
    (value,) = VALUE.findall(told.out)
    assert opens(world, value)
    ((kind, detail),) = answers(world)["op-1"]
    assert (kind, detail["requested_by"]) == ("Key Issued", "operator")
    # The same again, to a file and with JSON: the same key, and its value nowhere else.
    file = tmp_path / "value"
    again = portal.types(*asking(**{"request-id": "op-1"}), "--json", "--value-to", str(file))
    assert again.code == 0, again
    assert json.loads(again.out)["answers"][0]["detail"] == detail
    assert (file.read_text(), file.stat().st_mode & 0o777) == (value + "\n", 0o600)
    assert value not in again.out + again.err
    assert len(world.keys()) == 1
    asked = portal.types("revoke", detail["key_id"])
    assert (asked.code, len(world.keys())) == (1, 1)
    assert "Revoke " + detail["key_id"] + " (a key, owner oncall, tier issued, active)" in asked.err
    revoked = portal.types("revoke", detail["key_id"], "--reason", "a test", "--yes")
    assert revoked.code == 0, revoked
    assert f"Key Revoked: {detail['key_id']}" in revoked.text
    assert world.keys() == {}
    # Neither another issue under the same id nor a restore brings it back.
    assert "Key Revoked" in portal.types(*asking(**{"request-id": "op-1"})).text
    gone = portal.types("restore", detail["key_id"], "--yes")
    assert (gone.code, "not_restorable" in gone.text) == (1, True)
    assert world.keys() == {}
    # All of it is in the audit log, and of one request what was answered to it.
    listed = answered(portal)
    assert {one["detail-type"] for one in listed} == {
        "Key Issued",
        "Key Revoked",
        "Key Request Refused",
    }
    of_one = answered(portal, "--request", "op-1")
    assert {one["detail"]["request_id"] for one in of_one} == {"op-1"}
    assert "op-1" in portal.types("answers").text
    groups = world.sandbox.client("logs").describe_log_groups()["logGroups"]
    logged = [line for one in groups for line in world.sandbox.log_lines(one["logGroupName"])]
    assert logged
    assert value not in "".join(logged) + json.dumps([*listed, *of_one])


def test_an_operator_acts_on_the_keys_of_others_and_rights_end_where_they_should(
    world: World, portal: Person
) -> None:
    serve(world, [issue("q-1")])
    key_id = answers(world)["q-1"][0][1]["key_id"]
    for typed, kind in (
        (["renew", key_id], "Key Renewed"),
        (["protect", key_id, "--until", f"{datetime.now(UTC):%Y-%m-%d}"], "Key Protected"),
        (["release", key_id], "Key Released"),
        (["assign", key_id, "--owner", "ann", "--name", "app"], "Key Assigned"),
        (["rotate", key_id], "Key Rotated"),
    ):
        done = portal.types(*typed, "--yes")
        assert (done.code, kind in done.text) == (0, True), done
        assert VALUE.findall(done.out + done.err) == []
    # Who may ask and is not the recipient gets no value.
    oncall = Person(world, world.sandbox.role("oncall", *rights("reading"), *rights("asking")))
    told = oncall.types("rotate", answers_key(world, "Key Rotated"), "--yes", terminal=True)
    assert told.code == 0, told
    assert f"sealed for {PORTAL}" in told.text
    assert VALUE.findall(told.out + told.err) == []
    # Who may not invoke asks for nothing.
    reader = Person(world, world.sandbox.role("reader", *rights("reading")))
    refused = reader.types("revoke", key_id, "--yes")
    assert refused.code == 1
    assert "lambda:InvokeFunction" in refused.err
    assert key_id in set(world.keys())
    unknown = portal.types("renew", "nothing1", "--yes")
    assert (unknown.code, "unknown_key" in unknown.text) == (1, True)
    assert portal.types("revoke", "x" * 40, "--yes").code == 2


def answers_key(world: World, kind: str) -> str:
    """The key of the last answer of this kind."""
    told = [detail for one in answers(world).values() for what, detail in one if what == kind]
    return str(told[-1]["key_id"])
