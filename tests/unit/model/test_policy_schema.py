"""The schema that editors check `policy.toml` by says what the reader says, as far as a schema can know it."""

import copy
import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.model.policy_file import TABLES, _read
from keyjanitor.errors import PolicyError
from tests.policy_reference import RULES
from tests.policy_schema import policy_schema

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "layers/policy/policy.toml"
SCHEMA: dict[str, Any] = json.loads(policy_schema())
conforms: Callable[[Any], Any] = fastjsonschema.compile(SCHEMA)
ROLE = "arn:aws:iam::123456789012:role/portal"
Document = dict[str, Any]


def schema_takes(document: Document) -> bool:
    try:
        conforms(copy.deepcopy(document))
    except fastjsonschema.JsonSchemaException:
        return False
    return True


def reader_takes(document: Document) -> bool:
    try:
        _read(document)
    except PolicyError:
        return False
    return True


def whole() -> Document:
    """A policy with every field that there is."""
    tier = {field.name: example(field.example) for field in TABLES["tiers.NAME"]}
    document = {field.name: example(field.example) for field in TABLES[""]}
    for table in ("sweep", "owned", "alerts", "operators"):
        document[table] = {field.name: example(field.example) for field in TABLES[table]}
    rule = {field.name: example(field.example) for field in TABLES["pressure[]"]}
    return document | {
        "tiers": {"unclaimed": {"idle_days": "never"}, "external": tier},
        "pressure": [rule],
    }


def example(toml: str) -> Any:
    return tomllib.loads(f"value = {toml}")["value"]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a document, the document's own too."""
    yield path
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for name, one in inner:
        yield from places(one, (*path, name))


PLACES = list(places(whole()))


def changed(path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Document:
    """The whole policy, with its place `path` changed: `change` gets what holds it, and its name there."""
    document = whole()
    holder: Any = document
    for name in path[:-1]:
        holder = holder[name]
    change(holder, path[-1])
    return document


def test_the_file_is_the_schema_that_is_made() -> None:
    assert (ROOT / "docs/schemas/policy.json").read_text("utf-8") == policy_schema()
    first = SHIPPED.read_text("utf-8").splitlines()[0]
    named = SHIPPED.parent / first.removeprefix("#:schema ")
    assert named.resolve() == ROOT / "docs/schemas/policy.json"


@pytest.mark.parametrize(
    "policy",
    [*ROOT.glob("sandbox/**/policy.toml"), ROOT / "tests/e2e/policy.toml", SHIPPED],
    ids=str,
)
def test_it_takes_the_policies_of_this_repository(policy: Path) -> None:
    document = tomllib.loads(policy.read_text("utf-8"))
    assert (reader_takes(document), schema_takes(document)) == (True, True)


def test_both_take_a_policy_with_every_field() -> None:
    assert (reader_takes(whole()), schema_takes(whole())) == (True, True)
    assert len(PLACES) > 70


VALUES = st.one_of(
    st.integers(-1, 20_000),
    st.floats(-1, 2) | st.sampled_from((0.9, 1.0, 60.0, float("nan"), float("inf"))),
    st.booleans(),
    st.sampled_from(("never", "*", "", " ", "x", "a1:prod", "WEEK", "AROAEXAMPLEEXAMPLE012", ROLE)),
    st.sampled_from(("a*", "a=b", "Käse", "two\nlines", "unclaimed", "external", "/x/GET")),
    st.lists(st.sampled_from(("x", "*", "a1:prod", 5, 0.5, ROLE)), max_size=3),
    st.dictionaries(st.sampled_from(("rate_limit", "limit", "/x/GET", "a b")), st.integers(0, 9)),
)


@given(st.lists(st.tuples(st.sampled_from(PLACES[1:]), st.one_of(st.none(), VALUES)), max_size=3))
def test_what_the_reader_takes_the_schema_takes(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    document = whole()
    for path, value in changes:
        holder: Any = document
        try:
            for name in path[:-1]:
                holder = holder[name]
            if value is None:
                del holder[path[-1]]
            else:
                holder[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # a change before this one took the place away
    if reader_takes(document):
        assert schema_takes(document)


ANY_TEXT = {
    "contact",
    "silent_plans",
    "usage_plans",
    "freeze",
}  # the reader takes any in these, by itself


def put(value: Any) -> Callable[[Any, Any], None]:
    def change(holder: Any, name: Any) -> None:
        holder[name] = value

    return change


@pytest.mark.parametrize("path", PLACES[1:], ids=str)
def test_both_refuse_a_value_of_another_type(path: tuple[Any, ...]) -> None:
    others: tuple[Any, ...] = (7 if path[-1] == "access_logs" else True, [[]], {"x": {}})
    for wrong in others:
        document = changed(path, put(wrong))
        assert (reader_takes(document), schema_takes(document)) == (False, False), wrong


@pytest.mark.parametrize("path", [one for one in PLACES[1:] if not ANY_TEXT & {*one[-2:]}], ids=str)
def test_both_refuse_a_text_of_another_form(path: tuple[Any, ...]) -> None:
    document = changed(path, put("*^="))
    assert (reader_takes(document), schema_takes(document)) == (False, False)


@pytest.mark.parametrize("path", [one for one in PLACES if one != ("tiers",)], ids=str)
def test_both_refuse_a_field_that_there_is_not(path: tuple[Any, ...]) -> None:
    document: Any = whole()
    table: Any = document
    for name in path:
        table = table[name]
    if isinstance(table, dict):
        table["there_is_no_such_field"] = 1
        assert (reader_takes(document), schema_takes(document)) == (False, False)


@pytest.mark.parametrize("path", PLACES[1:], ids=str)
def test_both_refuse_numbers_beyond_the_bounds_and_things_twice(path: tuple[Any, ...]) -> None:
    value: Any = whole()
    for name in path:
        value = value[name]
    if isinstance(value, int | float):
        for beyond in (-1, 2**40):
            document = changed(path, put(beyond))
            assert (reader_takes(document), schema_takes(document)) == (False, False), beyond
    if isinstance(value, list) and isinstance(value[0], str | float | int):
        document = changed(path, put([value[0], value[0]]))
        assert (reader_takes(document), schema_takes(document)) == (False, False)


def test_both_refuse_what_is_missing() -> None:
    for path, fields in (
        ((), ("tiers",)),
        (("tiers",), ("unclaimed",)),
        (("tiers", "external"), ("idle_days", "recipients", "stages")),
        (("tiers", "external", "throttle"), ("rate_limit", "burst_limit")),
        (("tiers", "external", "quota"), ("limit", "period")),
        (("pressure", 0), ("above", "idle_factor")),
    ):
        for field in fields:
            document = changed((*path, field), lambda holder, name: holder.pop(name))
            assert (reader_takes(document), schema_takes(document)) == (False, False), field


def test_both_take_a_tier_whose_keys_only_operators_ask_for() -> None:
    document = changed(("tiers", "external", "senders"), lambda holder, name: holder.pop(name))
    assert (reader_takes(document), schema_takes(document)) == (True, True)


# Of the rules for several fields together: whether a schema can know them.
KNOWN = (True, True, True, False, False, False, False, False, False, True, True)


@pytest.mark.parametrize(("rule", "known"), list(zip(RULES, KNOWN, strict=True)), ids=str)
def test_the_rules_that_a_schema_can_know_are_in_it(rule: tuple[str, str], known: bool) -> None:
    document = tomllib.loads(rule[1])
    assert not reader_takes(document)
    assert schema_takes(document) is not known
