"""Types a command at a terminal of its own, and answers what it asks there."""

import os
import pty
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def at_a_terminal(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    *,
    asked: str = "",
    answer: str = "",
) -> tuple[int, str]:
    """The exit code and all that the terminal showed; `answer` is typed once `asked` is on the screen."""
    screen, end = pty.openpty()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
    )
    os.close(end)
    shown = b""
    while True:
        if asked and asked.encode() in shown:
            os.write(screen, answer.encode())
            asked = ""
        try:
            more = os.read(screen, 65_536)
        except OSError:  # the other end was closed
            break
        if not more:
            break
        shown += more
    os.close(screen)
    return process.wait(), shown.decode()
