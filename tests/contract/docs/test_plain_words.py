"""Plain words in what people read: pages, texts of the template and of the policy, and of the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# Words that a reader has to translate: each has a plain one, or the thing has a name.
WORDS = re.compile(
    r"\b(nobody|somebody|mend(s|ed|ing)?|odd|tells? of|stands|for ever|anew)\b", re.IGNORECASE
)
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "template.yaml")),
        ROOT / "layers" / "policy" / "policy.toml",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "docs" / "schemas").glob("*.json"),
        *(ROOT / "events").glob("*.json"),
        *(ROOT / "sender").glob("*.yaml"),
    ]
)
CODE = sorted(
    [
        *(ROOT / "layers" / "keyjanitor").rglob("*.py"),
        *(ROOT / "cli").rglob("*.py"),
        *(ROOT / "functions").rglob("*.py"),
        *(ROOT / "sender").rglob("*.py"),
    ]
)
# It reads the sentences of files that an earlier release wrote.
OLD = ROOT / "cli" / "keyjanitor_cli" / "whatif" / "old_words.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_says_it_in_plain_words(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if WORDS.search(line)] == []


def sentences(path: Path) -> Iterator[str]:
    """The texts of a module that may reach a person: all but its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if id(node) in docstrings or not isinstance(node, ast.Constant):
            continue
        if isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize(
    "path", [one for one in CODE if one != OLD], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_a_text_of_the_code_says_it_in_plain_words(path: Path) -> None:
    assert [text for text in sentences(path) if WORDS.search(text)] == []
