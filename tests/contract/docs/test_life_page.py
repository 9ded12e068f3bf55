"""Each line of docs/life-of-a-key.md is shown by a test, and each of its tests shows a line."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.pages import REPOSITORY

PAGE = (REPOSITORY / "docs/life-of-a-key.md").read_text(encoding="utf-8")
LINES = re.findall(r"^\| (K-\d{3,4}) \|", PAGE, flags=re.M)
OF_THE_PAGE = "test_life_of_a_key.py"


def lines_of_tests(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The tests of a file, each with the lines that its mark `life` names.

    Of a file without such a mark, which is not the page's own, there is nothing to say.
    """
    text = path.read_text(encoding="utf-8")
    if "mark.life(" not in text and path.name != OF_THE_PAGE:
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            marks = [
                one
                for one in node.decorator_list
                if ast.unparse(one).startswith("pytest.mark.life(")
            ]
            yield (
                node.name,
                [
                    ast.literal_eval(text)
                    for one in marks
                    if isinstance(one, ast.Call)
                    for text in one.args
                ],
            )


MARKED = {
    (path.name, test): lines
    for path in sorted((REPOSITORY / "tests").rglob("test_*.py"))
    for test, lines in lines_of_tests(path)
    if lines or path.name == OF_THE_PAGE
}


def test_each_line_has_an_id_of_its_own_and_none_is_without() -> None:
    assert len(LINES) == len(set(LINES))
    assert len(LINES) > 90
    # Text under a heading explains; each row of a table is a line with an id.
    rows = [
        row for row in re.findall(r"^\| (.*) \|$", PAGE, flags=re.M) if not row.startswith("id |")
    ]
    assert [row for row in rows if not row.startswith("K-")] == []


def test_each_line_is_shown_by_a_test() -> None:
    shown = {line for lines in MARKED.values() for line in lines}
    assert [line for line in LINES if line not in shown] == []


def test_each_test_of_the_page_shows_a_line_that_there_is() -> None:
    assert sum(file == OF_THE_PAGE for file, _ in MARKED) > 100
    wrong = {
        test: lines for test, lines in MARKED.items() if not lines or not set(lines) <= set(LINES)
    }
    assert wrong == {}


def test_every_line_that_a_text_names_is_there() -> None:
    named = {
        line
        for folder in ("docs", "layers", "tests", "functions")
        for path in (REPOSITORY / folder).rglob("*")
        if path.suffix in (".md", ".py")
        for line in re.findall(r"\bK-\d{3,4}\b", path.read_text(encoding="utf-8"))
    }
    assert named <= set(LINES)
