"""The mistakes that `make mutants` tries are those that somebody could make."""

import ast
import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from tests.mutation.__main__ import LAYER, ROOT, RULES, SURVIVORS, Map, put_in_defaults
from tests.mutation.mutants import mutants_of

SOURCE = '''
LIMIT = 20

def judge(days: int, row: Row) -> Row:
    """What becomes of a row."""
    if days >= LIMIT and row.enabled:
        note(row)
        return replace(row, enabled=False, on=days + 1)
    return row
'''


def test_each_mistake_changes_one_thing_and_nothing_else() -> None:
    lines = ast.unparse(ast.parse(SOURCE)).split("\n")
    for mutant in mutants_of("m", SOURCE):
        changed = ast.unparse(mutant.tree).split("\n")
        assert sum(a != b for a, b in zip(lines, changed, strict=True)) == 1, mutant.name


def test_conditions_numbers_calls_and_answers_are_mistaken_but_no_docstring_or_annotation() -> None:
    names = {mutant.name.removeprefix("m:judge: ") for mutant in mutants_of("m", SOURCE)}
    assert names == {
        "m:constants: 20 -> 21",
        "if days >= LIMIT and row.enabled: -> if not (days >= LIMIT and row.enabled):",
        "days >= LIMIT and row.enabled -> days >= LIMIT or row.enabled",
        "days >= LIMIT and row.enabled -> row.enabled",
        "days >= LIMIT and row.enabled -> days >= LIMIT",
        "days >= LIMIT -> days > LIMIT",
        "note(row) -> pass",
        "return replace(row, enabled=False, on=days + 1) -> return None",
        "replace(..., enabled=False) -> replace(...)",
        "replace(..., on=days + 1) -> replace(...)",
        "False -> True",
        "days + 1 -> days - 1",
        "1 -> 2",
        "return row -> return None",
    }


def test_two_mistakes_of_one_text_have_two_names() -> None:
    names = [m.name for m in mutants_of("m", "def f(a):\n    g(1)\n    g(1)\n")]
    assert len(names) == len(set(names)) == 4


def test_the_tests_of_a_mutant_are_those_that_run_its_lines_or_else_its_function(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = {6: ["a", "b"], 7: ["b"], 8: ["b"], 9: ["a"]}
    monkeypatch.setitem(RULES, "m", ("unit/test_m",))
    seconds = {"a": 0.1, "b": 0.2, "tests/unit/test_m.py::c": 0.3}
    known = Map({"m": lines}, seconds)
    tests = {m.name: known.tests_of(m, (4, 9)) for m in mutants_of("m", SOURCE)}
    assert tests["m:judge: note(row) -> pass"] == ["b"]
    assert tests["m:judge: return row -> return None"] == ["a"]
    assert tests["m:judge: days >= LIMIT -> days > LIMIT"] == ["a", "b"]
    assert tests["m:constants: 20 -> 21"] == ["tests/unit/test_m.py::c"]
    nothing_known = Map({"m": {8: ["b"]}}, {"b": 0.2})
    (last,) = (m for m in mutants_of("m", SOURCE) if m.was == "return row")
    assert nothing_known.tests_of(last, (4, 9)) == ["b"]


def test_of_a_test_with_many_parameters_one_comes_before_the_others() -> None:
    known = Map({}, {"t[1]": 0.1, "t[2]": 0.2, "u": 0.3, "v": 0.4})
    assert known.in_order(known.seconds) == ["t[1]", "u", "v", "t[2]"]


def test_the_default_of_a_parameter_is_mistaken_too() -> None:
    source = "def cut(text, at=3, *, most=True):\n    return text[:at], most\n"
    found: dict[str, Any] = {}
    for mutant in mutants_of("m", source):
        exec(source, place := {"True": True})
        cut: Callable[[str], Any] = place["cut"]  # type: ignore[assignment]
        put_in_defaults(mutant.tree, cut)  # type: ignore[arg-type]
        found[f"{mutant.was} -> {mutant.now}"] = cut("abcdef")
    assert found["3 -> 4"] == ("abcd", True)
    assert found["True -> False"] == ("abc", False)


def test_each_rule_and_each_of_its_tests_is_a_file() -> None:
    files = {LAYER / f"{rule}.py" for rule in RULES}
    files |= {ROOT / f"tests/{test}.py" for tests in RULES.values() for test in tests}
    assert [str(file) for file in files if not file.exists()] == []


def test_each_survivor_is_a_mutant_that_there_is_and_has_an_argument() -> None:
    survivors = tomllib.loads(SURVIVORS.read_text())["survivor"]
    modules = {one["mutant"].partition(":")[0] for one in survivors}
    there_are = {
        mutant.name
        for module in modules
        for mutant in mutants_of(module, (LAYER / f"{module}.py").read_text())
    }
    assert {one["mutant"] for one in survivors} <= there_are
    assert all(len(one["why"]) > 20 for one in survivors)
