"""docs/policy.md says of each field what the check of policy.toml does with it."""

import tomllib
from dataclasses import fields

import pytest

from keyjanitor.domain.model.policy import (
    Alerts,
    Operators,
    Owned,
    OwnerRule,
    Policy,
    PressureRule,
    Quota,
    Rate,
    Sweep,
    Tier,
)
from keyjanitor.domain.model.policy_fields import REQUIRED, Field
from keyjanitor.domain.model.policy_file import TABLES, parse_policy
from tests.pages import REPOSITORY
from tests.policy_reference import ABOUT, RULES, UNCLAIMED, mistakes, policy_page, value_of

OF_TABLE = {
    "": Policy,
    "sweep": Sweep,
    "owned": Owned,
    "tiers.NAME": Tier,
    "tiers.NAME.throttle": Rate,
    "tiers.NAME.quota": Quota,
    "pressure[]": PressureRule,
    "alerts": Alerts,
    "operators": Operators,
    "owners[]": OwnerRule,
}
IN_CODE = {"from": "place"}  # a word of Python is no name of a field
EVERY_FIELD = [(path, field) for path, table in TABLES.items() for field in table]


def ids(value: object) -> str:
    return value.name if isinstance(value, Field) else str(value) or "root"


@pytest.mark.parametrize("path", TABLES)
def test_a_table_has_the_fields_of_what_is_read_from_it(path: str) -> None:
    names = [one.name for one in fields(OF_TABLE[path]) if one.name != "name"]
    read_as = [IN_CODE.get(field.name, field.name) for field in TABLES[path]]
    assert read_as == names
    assert path in ABOUT


@pytest.mark.parametrize(("path", "field"), EVERY_FIELD, ids=ids)
def test_the_example_of_a_field_is_allowed_and_its_meaning_is_a_sentence(
    path: str, field: Field
) -> None:
    field.read(field.name, value_of(field))
    assert field.meaning.endswith(".")
    assert "|" not in field.meaning


def test_the_examples_of_all_fields_together_are_a_policy() -> None:
    page = policy_page()
    blocks = "".join(part.partition("```")[0] for part in page.split("```toml\n")[1:])
    policy = parse_policy(blocks + UNCLAIMED)
    assert list(policy.tiers) == ["external", "unclaimed"]
    assert set(tomllib.loads(blocks)["tiers"]["external"]) == {
        field.name for field in TABLES["tiers.NAME"]
    }


def test_the_default_of_a_field_is_what_it_has_if_it_is_left_out() -> None:
    policy = parse_policy(UNCLAIMED)
    left_out = [(policy, ""), (policy.tiers["unclaimed"], "tiers.NAME"), (policy.sweep, "sweep")]
    left_out += [(policy.owned, "owned"), (policy.alerts, "alerts")]
    for found, path in left_out:
        for field in TABLES[path]:
            if field.default is not REQUIRED:
                assert getattr(found, field.name) == field.default, field.name


@pytest.mark.parametrize(("rule", "broken"), RULES)
def test_a_rule_has_an_example_that_breaks_it_alone(rule: str, broken: str) -> None:
    assert rule.endswith(".")
    assert len(mistakes(broken)) == 1


def test_the_shipped_file_shows_every_field_of_a_tier() -> None:
    shipped = (REPOSITORY / "layers/policy/policy.toml").read_text(encoding="utf-8")
    for field in TABLES["tiers.NAME"]:
        assert f"# {field.name} = " in shipped
