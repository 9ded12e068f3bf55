"""What `pip install .` gives: the command with all that it imports, and the files that are no code."""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_the_command_is_installed_from_folders_that_are_there() -> None:
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert set(wheel.values()) >= {"keyjanitor", "keyjanitor_cli", "keyjanitor_client.py"}
    assert all((ROOT / folder).exists() for folder in wheel)
    module, _, name = PROJECT["project"]["scripts"]["keyjanitor"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_it_imports_nothing_but_what_is_installed_with_it() -> None:
    told = {re.split(r"\W", name)[0] for name in PROJECT["project"]["dependencies"]}
    assert told == {"boto3", "click", "fastjsonschema", "rich"}
    code = (
        "import sys; sys.modules.update({'aws_lambda_powertools': None, 'whatif': None});"
        "import keyjanitor_cli.__main__"
    )
    path = f"{ROOT / 'cli'}:{ROOT / 'layers/keyjanitor'}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": path, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
