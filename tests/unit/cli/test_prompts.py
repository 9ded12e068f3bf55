"""What is asked at a terminal, and what a person's answer does: each command in a terminal of its own."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.terminals import at_a_terminal

ROOT = Path(__file__).parents[3]
VALUE = "aValueOfAKeyThatIsTypedAtAPrompt4711"
# The command with a stack, a bucket and a list of keys that need no AWS; what is invoked is written down.
COMMAND = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
from keyjanitor_cli.__main__ import run
from keyjanitor_cli.aws import Stack
from keyjanitor_cli.gateway import Gateway
from keyjanitor_cli.session import Session

def invoke(self, function, event, doing):
    Path("invoked").write_text(json.dumps(event))
    return dict(event)

class Client:
    def get_api_keys(self, **_):
        return {"items": [{"id": "k1", "value": "another"}]}

numbers = {"date": "2026-11-21", "capacity": {"keys": 3}, "findings": []}
Session.stack = Stack("keys-prod", "eu-west-1", {}, {}, "")
Session.invoke = invoke
Session.gateway = Gateway(Client())
Session.files = SimpleNamespace(report=lambda: numbers, report_page=lambda: b"<html>the page</html>")
sys.exit(run(sys.argv[1:]))
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code, and all that its terminal showed."""

    code: int
    screen: str


def typed(folder: Path, *words: str, asked: str = "", answer: str = "") -> Ended:
    """Types a command at a terminal, and when `asked` is on the screen the answer."""
    path = os.pathsep.join([str(ROOT / "cli"), str(ROOT / "layers/keyjanitor")])
    browser = folder / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > "$(dirname "$0")/opened"\n')
    browser.chmod(0o700)
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "COLUMNS": "120",
        "BROWSER": f"{browser} %s",
    }
    command = [sys.executable, "-c", COMMAND, *words]
    return Ended(*at_a_terminal(command, folder, environment, asked=asked, answer=answer))


QUESTION = "Hold all sweeps of keys-prod in eu-west-1? [y/N]: "


@pytest.mark.parametrize("answer", ["y\n", "yes\n"])
def test_who_says_yes_has_it_done(tmp_path: Path, answer: str) -> None:
    ended = typed(tmp_path, "hold", "sign-ups", asked=QUESTION, answer=answer)
    assert (ended.code, (tmp_path / "invoked").read_text()) == (0, '{"hold": "sign-ups"}')
    assert "Sweeps of keys-prod are on hold: sign-ups" in ended.screen


@pytest.mark.parametrize(
    ("answer", "said"),
    [("n\n", "nothing was done"), ("\n", "nothing was done"), ("\x04", "stopped")],
)
def test_who_does_not_say_yes_has_nothing_done(tmp_path: Path, answer: str, said: str) -> None:
    ended = typed(tmp_path, "hold", "sign-ups", asked=QUESTION, answer=answer)
    assert (ended.code, said in ended.screen) == (1, True)
    assert not (tmp_path / "invoked").exists()


def test_an_answer_that_is_neither_is_asked_for_again(tmp_path: Path) -> None:
    ended = typed(tmp_path, "hold", "sign-ups", asked=QUESTION, answer="perhaps\nn\n")
    assert (ended.code, ended.screen.count(QUESTION)) == (1, 2)
    assert not (tmp_path / "invoked").exists()


def test_with_yes_nothing_is_asked(tmp_path: Path) -> None:
    ended = typed(tmp_path, "hold", "sign-ups", "--yes")
    assert (ended.code, QUESTION in ended.screen) == (0, False)


def test_a_value_is_asked_for_and_never_shown(tmp_path: Path) -> None:
    ended = typed(tmp_path, "key", "--value", asked="value of the key: ", answer=f"{VALUE}\n")
    assert (ended.code, "no key of this account and Region has that value" in ended.screen) == (
        1,
        True,
    )
    assert VALUE not in ended.screen


def test_the_numbers_of_the_report_are_written_by_the_name_of_the_file(tmp_path: Path) -> None:
    ended = typed(tmp_path, "report", "--out", "report.json")
    assert ended.code == 0, ended
    written = json.loads((tmp_path / "report.json").read_text())
    assert written == {"date": "2026-11-21", "capacity": {"keys": 3}, "findings": []}


def test_the_report_is_opened_in_the_browser(tmp_path: Path) -> None:
    ended = typed(tmp_path, "report", "--open", "--out", "page.html")
    assert ended.code == 0, ended
    page = tmp_path / "page.html"
    assert page.read_bytes() == b"<html>the page</html>"
    assert (tmp_path / "opened").read_text().strip() == page.as_uri()
