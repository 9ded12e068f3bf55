"""The version is written down once, and everything that repeats it says the same."""

import ast
import json
import logging
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from keyjanitor import __version__
from tests.template import TEMPLATE

REPOSITORY = Path(__file__).parents[3]
HANDLERS = sorted(REPOSITORY.glob("functions/*/app.py"))


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def test_project_template_and_changelog_repeat_the_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert tomllib.loads(read("pyproject.toml"))["project"]["version"] == __version__
    assert TEMPLATE["Outputs"]["Version"]["Value"] == __version__
    newest, *_ = re.findall(r"^## (\d+\.\d+\.\d+)\b", read("CHANGELOG.md"), flags=re.M)
    assert newest == __version__


def test_the_changelog_lists_versions_newest_first_and_each_once() -> None:
    found = re.findall(r"^## (\d+)\.(\d+)\.(\d+)\b", read("CHANGELOG.md"), flags=re.M)
    numbers = [tuple(map(int, one)) for one in found]
    assert numbers == sorted(set(numbers), reverse=True)


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda path: path.parent.name)
def test_the_logger_of_every_handler_is_made_with_the_version(handler: Path) -> None:
    calls = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(handler.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Logger"
    ]
    assert calls == ["Logger(code_version=__version__)"]


def test_a_log_line_carries_the_version(functions: dict[str, ModuleType]) -> None:
    assert functions.keys() == {path.parent.name for path in HANDLERS}
    for module in functions.values():
        record = logging.LogRecord("keyjanitor", logging.INFO, "app.py", 1, "swept", (), None)
        line = json.loads(module.logger.registered_formatter.format(record))
        assert (line["message"], line["code_version"]) == ("swept", __version__)


def test_a_release_checks_its_policy_with_what_sam_build_checks_it_with() -> None:
    [module] = re.findall(r"-m (keyjanitor\.[\w.]+)", read("layers/Makefile"))
    assert f"python3 -m {module} PolicyLayer/python/keyjanitor_policy/policy.toml\n" in read(
        "docs/versions.md"
    )
