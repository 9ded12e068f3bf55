"""The command `keyjanitor`: what it prints and asks, and how it ends, without AWS."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console as RichConsole

from keyjanitor import __version__
from keyjanitor_cli.__main__ import keyjanitor, run
from keyjanitor_cli.console import Console
from keyjanitor_cli.errors import CommandFailed
from keyjanitor_cli.shapes import Column, Command, Facts, Line, Table, Tone, View

ROOT = Path(__file__).parents[3]
LONG = "keyjanitor approve 0123456789abcdef --stack a-stack-with-a-long-name --profile production --yes"


def printed(view: View, width: int) -> list[str]:
    """What a person sees of a view in a terminal of this width, line by line."""
    console = Console(width=width)
    text = io.StringIO()
    console._out = RichConsole(file=text, width=width, highlight=False, markup=False)
    console.show(view, {})
    return text.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_a_table_fits_the_terminal_and_a_command_is_never_wrapped(width: int) -> None:
    table = Table(
        [Column("Key", whole=True), Column("Name"), Column("Requests", right=True)],
        [["a1b2c3d4e5", "a name " * 20, "1,234"], ["f6g7h8i9j0", None, "0"]],
    )
    lines = printed([table, Line("words " * 40), Command(LONG)], width)
    assert [line for line in lines if len(line) > width and LONG not in line] == []
    assert f"  {LONG}" in lines
    assert any("a1b2c3d4e5" in line for line in lines)


def test_a_name_is_no_markup_and_hides_nothing() -> None:
    facts = Facts([("name", Line("[red]x[/red] \x1b[2J \u202eevil", Tone.BAD))])
    text = "\n".join(printed([facts, Line("[link=http://x]y[/link]")], 80))
    assert "[red]x[/red]" in text
    assert "\\x1b" in text
    assert "\\u202e" in text
    assert "[link=http://x]y[/link]" in text


def test_json_is_one_document_and_no_view(capsys: pytest.CaptureFixture[str]) -> None:
    Console(as_json=True).show([Line("for people")], {"keys": 3})
    told = capsys.readouterr()
    assert json.loads(told.out) == {"keys": 3}
    assert told.err == ""


def test_without_a_terminal_nothing_is_done_unless_yes_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    console = Console()
    with pytest.raises(CommandFailed, match="nothing was done") as err:
        console.confirm("Disable 3 keys?", yes=False)
    assert err.value.exit_code == 1
    assert err.value.then == ("add --yes if that is what you want",)
    console.confirm("Disable 3 keys?", yes=True)


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        (["--version"], 0),
        (["--help"], 0),
        (["hold", "--help"], 0),
        (["hold"], 2),
        (["holt", "x"], 2),
        (["hold", "x", "--sack", "y"], 2),
        (["hold", "x", "--profile", "a-profile-that-is-not-there"], 1),
    ],
)
def test_the_exit_code_says_how_it_ended(typed: Sequence[str], code: int) -> None:
    assert run(typed) == code


def test_each_command_says_what_it_does_and_takes_the_common_options() -> None:
    for name, one in keyjanitor.commands.items():
        assert one.help, name
        if not hasattr(one, "commands"):
            options = {option for given in one.params for option in given.opts}
            assert {"--profile", "--region", "--stack", "--json"} <= options, name


def test_it_runs_as_a_module_and_tells_its_version() -> None:
    path = f"{ROOT / 'cli'}:{ROOT / 'layers/keyjanitor'}"
    told = subprocess.run(
        [sys.executable, "-m", "keyjanitor_cli", "--version"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stdout) == (0, f"keyjanitor, version {__version__}\n")
