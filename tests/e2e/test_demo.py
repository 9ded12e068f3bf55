"""The path of `make demo` on a smaller account, and what it leaves behind."""

import base64
import io
from pathlib import Path

import pytest
from rich.console import Console

from sandbox import demo, ending
from sandbox.driver.client import REPOSITORY, Sandbox
from sandbox.driver.population import Kind

KEYS = 1_200


@pytest.fixture
def lived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[demo.Demo, Sandbox, str]:
    monkeypatch.setattr(demo, "KEPT", REPOSITORY / ".demo" / "test")
    printed = io.StringIO()
    with Sandbox.start(speed=demo.SPEED, log=tmp_path / "log") as sandbox:
        run = demo.Demo(sandbox, Console(file=printed, width=ending.WIDTH), keys=KEYS)
        run.run()
        values = {key.value for key in run.life.keys.values()} | {run.opened}
        assert len(values) > KEYS
        found = _where_values_show(sandbox, values)
    assert found == []
    return run, sandbox, printed.getvalue()


def _where_values_show(sandbox: Sandbox, values: set[str]) -> list[str]:
    """Everywhere that one of the values can be read, plain or in base64."""
    needles = [value.encode() for value in values]
    for value in values:
        for shift in range(3):
            # In base64 a text looks one of three ways, by where it begins; its ends depend on
            # what stands around it.
            encoded = base64.b64encode(b"\0" * shift + value.encode()).rstrip(b"=")
            needles.append(encoded[4 if shift else 0 : -2])
    found = []
    searched = 0
    for where, content in sandbox.everything_stored():
        searched += 1
        found += [where for needle in needles if needle in content]
    assert searched > 100, "there was nothing to search"
    return found


def test_nine_nights_as_the_demo_shows_them(lived: tuple[demo.Demo, Sandbox, str]) -> None:
    run, _, printed = lived
    assert "the safety brake is on" in printed
    assert "limit_lowered" in printed
    assert "it trips no brake" in printed
    assert "approved and still due: 0 to park, 0 to purge, " in printed
    assert f"undone: night {demo.UNDONE}" in printed
    assert run.undone["restore"] > 0
    assert "403 before, 200 after" in printed
    assert "47 x Key Issued, 3 x Key Request Refused" in printed
    assert run.life.wronged(demo.IDLE_LIMITS) == []
    assert run.did["park"] > 100
    assert run.left == run.size + run.joined - len(run.life.parked_on) < run.size
    shut = {run.life.keys[key_id].kind for key_id in run.life.disabled_on}
    assert shut.isdisjoint(
        {Kind.BUSY, Kind.STEADY, Kind.WEEKLY, Kind.TWO_PLANS, Kind.TERRAFORM, Kind.STACK}
        | {Kind.DISABLED_BY_HAND}
    )
    _is_one_screen(printed, run)


def _is_one_screen(printed: str, run: demo.Demo) -> None:
    """The ending fits a terminal of 80 columns and 24 lines, and no line before it is wider."""
    lines = printed.splitlines()
    assert [line for line in lines if len(line) > ending.WIDTH] == []
    screen = lines[lines.index(f"-- {demo.NIGHTS} nights ".ljust(ending.WIDTH, "-")) :]
    assert len(screen) < 24
    (without,) = (line for line in screen if line.startswith("Without it "))
    assert f"{run.size + run.joined:,} keys" in without
    assert f"{'With it':14}{run.left:,} keys" in screen
    assert any(line.endswith("  0 keys in use were disabled or parked") for line in screen)
    for place in ("report/index.html", "alerts.txt", "keys.jsonl"):
        assert (demo.KEPT / place).stat().st_size > 0
        assert any(place in line for line in screen)
