"""The command `keyjanitor`, typed by a person whose role has the rights that are given and no others."""

import os
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox.driver.client import REPOSITORY, Sandbox

LONGEST = 300  # seconds


def typed(
    sandbox: Sandbox, folder: Path, statements: Sequence[Mapping[str, Any]], *given: str
) -> subprocess.CompletedProcess[str]:
    """What comes of `keyjanitor` and the words that are given, typed in a folder."""
    path = f"{REPOSITORY / 'cli'}{os.pathsep}{REPOSITORY / 'layers/keyjanitor'}"
    credentials = sandbox.role(f"person-{uuid.uuid4().hex[:8]}", *statements)
    return subprocess.run(
        [sys.executable, "-m", "keyjanitor_cli", *given],
        cwd=folder,
        env=sandbox.environment()
        | {"PYTHONPATH": path, "COLUMNS": "160"}
        | {name.upper(): value for name, value in credentials.items()},
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
