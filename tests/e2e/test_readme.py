"""README.md and the page that its "Try it" leads to, typed word for word in a copy of the repository."""

import os
import pty
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.driver.client import REPOSITORY

README = REPOSITORY / "README.md"
PAGE = REPOSITORY / "docs/first-steps.md"
ENVIRONMENTS = (".venv-sandbox", ".venv-sam")
PROMPT = re.compile(r"ready (\d+)> $")
QUESTION = re.compile(r"\[y/n\][^\n]*: ?$", re.I)
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
VALUE = re.compile(r"keyj[A-Za-z0-9]{36}")
# A registry is out of a test's reach, so this replaces pipx: the command runs from the copy.
PIPX = """\
#!/bin/sh
[ "$*" = "install ." ] || exit 2
printf '#!/bin/sh\\nPYTHONPATH=%s exec %s -m keyjanitor_cli "$@"\\n' "$PWD/cli:$PWD/layers/keyjanitor" {python} \\
    > {bin}/keyjanitor
chmod +x {bin}/keyjanitor
"""


def commands(page: Path) -> list[str]:
    """The indented lines of a page in their order, without the comments behind them."""
    lines = re.findall(r"^    (\S.*)$", page.read_text("utf-8"), re.M)
    return [re.split(r"\s+# ", line)[0].rstrip() for line in lines]


class Terminal:
    """An interactive bash in a folder, which answers `y` to each question that a command asks."""

    def __init__(self, folder: Path, tools: Path) -> None:
        self._screen, end = pty.openpty()
        kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        self.process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            cwd=folder,
            env=kept
            | {"PATH": f"{tools}:{os.environ['PATH']}", "PS1": "ready $?> ", "COLUMNS": "160"},
            stdin=end,
            stdout=end,
            stderr=end,
            start_new_session=True,
        )
        os.close(end)
        self.until_prompt()

    def type(self, line: str) -> tuple[int, str]:
        """The exit code of a command, and what it showed."""
        os.write(self._screen, f"{line}\n".encode())
        return self.until_prompt()

    def until_prompt(self) -> tuple[int, str]:
        shown = ""
        answered = 0
        while True:
            shown += os.read(self._screen, 65_536).decode(errors="replace")
            plain = _CONTROLS.sub("", shown)
            if found := PROMPT.search(plain):
                return int(found[1]), plain
            if QUESTION.search(plain[answered:]):
                answered = len(plain)
                os.write(self._screen, b"y\n")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._screen)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What is under version control or about to be, in a folder of its own, with environments made."""
    folder = tmp_path / "keyjanitor"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (REPOSITORY / name).is_file() and not (REPOSITORY / name).is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    for path in (folder / "requirements").rglob("*"):
        os.utime(path, (0, 0))  # older than the environments: make has nothing to do
    for name in ENVIRONMENTS:
        (folder / name).symlink_to((REPOSITORY / name).resolve())
    return folder


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder on the PATH with `pipx`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    pipx = folder / "pipx"
    pipx.write_text(PIPX.format(python=sys.executable, bin=folder))
    pipx.chmod(pipx.stat().st_mode | stat.S_IXUSR)
    return folder


@pytest.fixture
def sandbox_terminal(clone: Path) -> Iterator[list[str]]:
    """`make sandbox KEYS=500`, as README.md has it; what it printed up to where one can type."""
    (start,) = (line for line in commands(README) if line.startswith("make sandbox"))
    with subprocess.Popen(
        start.split(), cwd=clone, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        printed = []
        for line in process.stdout:
            printed.append(line)
            if "The policy is" in line:
                break
        yield printed
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def test_a_newcomer_gets_from_a_clone_to_a_new_key_with_the_readme_alone(
    clone: Path, tools: Path, sandbox_terminal: list[str]
) -> None:
    began = time.monotonic()
    assert (
        "(docs/first-steps.md)" in README.read_text("utf-8").split("## Try it")[1].split("\n## ")[0]
    )
    start, *typed = commands(PAGE)
    assert [start] == [line for line in commands(README) if line.startswith("make sandbox")]
    welcome = "".join(sandbox_terminal)
    assert "docs/first-steps.md" in welcome
    assert set(re.findall(r"^    (\S.*?)(?:\s+#.*)?$", welcome, re.M)) <= set(typed)
    terminal = Terminal(clone, tools)
    shown: dict[str, str] = {}
    try:
        for line in typed:
            code, shown[line] = terminal.type(line)
            assert code == (3 if line == "keyjanitor status" else 0), shown[line]
    finally:
        terminal.close()
    seconds = time.monotonic() - began
    print(f"README.md, typed: {seconds:.0f} s")  # noqa: T201

    def of(start: str) -> str:
        ((_, text),) = ((line, text) for line, text in shown.items() if line.startswith(start))
        return text

    assert "Keys in use that it would have warned in the last 90 days: none" in of(
        "keyjanitor policy suggest"
    )
    assert (clone / ".sandbox/suggested.toml").is_file()
    assert "500 of 10,000 API keys" in of("keyjanitor whatif")
    assert of("make nights").count("Night of ") == 7
    due = re.search(r"Plan: (\d+) to disable.*; of 500 keys", of("keyjanitor plan"))
    assert due, of("keyjanitor plan")
    assert int(due[1]) > 0
    assert "are on hold: asking marketing first" in of("keyjanitor hold")
    assert "asking marketing first" in of("keyjanitor status")
    assert "act again" in of("keyjanitor resume")
    assert f"Done: {due[1]} disabled" in of("keyjanitor sweep")
    assert f"Done: {due[1]} enabled" in of("keyjanitor undo")
    issued = re.search(r"Key Issued: (\w+)", of("keyjanitor issue"))
    assert issued
    assert VALUE.search(of("keyjanitor issue"))
    assert issued[1] in of("keyjanitor answers")
    asked = re.search(r"received Key Issued, key (\w+)\n", of("python sender/ask.py"))
    assert asked
    assert asked[1] != issued[1]
    assert f"opened its value: {len('keyj') + 36} characters" in of("python sender/ask.py")
    assert not VALUE.search(of("keyjanitor answers"))
