"""Functions, classes, modules and handlers stay short enough to be read in one sitting."""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "layers/keyjanitor/keyjanitor"
COMMAND = ROOT / "cli/keyjanitor_cli"
HANDLERS = ROOT / "functions"
SENDER = ROOT / "sender"

# Lines, of the longest there may be.
FUNCTION, CLASS, MODULE, HANDLER = 49, 250, 450, 40
# What is longer still, and by how much: each of these may get shorter, and none may join them.
LONGER: Mapping[str, int] = {}


def too_long(text: str, *, handler: bool = False) -> Iterator[tuple[str, int]]:
    """What of a module has too many lines, with how many: itself (""), its classes and functions."""
    lines = len(text.splitlines())
    if lines > (HANDLER if handler else MODULE):
        yield "", lines
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        lines = (node.end_lineno or 0) - node.lineno + 1
        if lines > (CLASS if isinstance(node, ast.ClassDef) else FUNCTION):
            yield f":{node.name}", lines


@cache
def found() -> dict[str, int]:
    """All that is too long in what runs in the account, in the command and at senders, by `path` or `path:name`."""
    paths = sorted(
        path for folder in (PACKAGE, COMMAND, HANDLERS, SENDER) for path in folder.rglob("*.py")
    )
    assert len(paths) > 80
    return {
        f"{path.relative_to(ROOT)}{name}": lines
        for path in paths
        for name, lines in too_long(
            path.read_text(encoding="utf-8"), handler=path.is_relative_to(HANDLERS)
        )
    }


def test_nothing_is_too_long_but_what_is_known_and_that_does_not_grow() -> None:
    grown = {name: lines for name, lines in found().items() if lines > LONGER.get(name, 0)}
    assert grown == {}


def test_what_has_got_short_enough_is_no_exception_any_more() -> None:
    assert LONGER.keys() - found().keys() == set()


def body(lines: int, indent: str = "    ") -> str:
    return f"{indent}x = 1\n" * lines


def test_a_function_of_fifty_lines_is_too_long_and_one_of_49_is_not() -> None:
    assert list(too_long(f"def f():\n{body(48)}")) == []
    assert list(too_long(f"def f():\n{body(49)}")) == [(":f", 50)]
    assert list(too_long(f"async def f():\n{body(49)}")) == [(":f", 50)]
    assert list(too_long(f"class C:\n    def f(self):\n{body(49, ' ' * 8)}")) == [(":f", 50)]


def test_a_class_of_251_lines_is_too_long() -> None:
    assert list(too_long(f"class C:\n{body(249)}")) == []
    assert list(too_long(f"class C:\n{body(250)}")) == [(":C", 251)]


def test_a_module_of_451_lines_is_too_long_and_a_handler_of_41() -> None:
    assert list(too_long(body(450, ""))) == []
    assert list(too_long(body(451, ""))) == [("", 451)]
    assert list(too_long(body(40, ""), handler=True)) == []
    assert list(too_long(body(41, ""), handler=True)) == [("", 41)]
