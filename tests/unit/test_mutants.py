"""The mistakes that `make mutants` tries are those that somebody could make."""

import ast
import tomllib

import pytest

from tests.mutation.__main__ import LAYER, SURVIVORS
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
        "replace(row, enabled=False, on=days + 1) -> replace(row, on=days + 1)",
        "replace(row, enabled=False, on=days + 1) -> replace(row, enabled=False)",
        "False -> True",
        "days + 1 -> days - 1",
        "1 -> 2",
        "return row -> return None",
    }


def test_two_mistakes_of_one_text_have_two_names() -> None:
    names = [m.name for m in mutants_of("m", "def f(a):\n    g(1)\n    g(1)\n")]
    assert len(names) == len(set(names)) == 4


@pytest.mark.skipif(not SURVIVORS.exists(), reason="there are no survivors")
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
