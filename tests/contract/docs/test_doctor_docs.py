"""docs/doctor.md has every finding, and the commands in it are the doctor's own."""

import re
from pathlib import Path

import pytest

from keyjanitor.domain.doctor.checks import find_problems
from keyjanitor.domain.doctor.findings import KINDS
from tests.unit.doctor.test_doctor import PLANTED

PAGE = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text(encoding="utf-8")


def section(kind: str) -> str:
    """What stands under the heading of a kind."""
    [text] = re.findall(rf"^## {kind}\n(.*?)(?=^## |\Z)", PAGE, flags=re.DOTALL | re.MULTILINE)
    return str(text)


def test_every_kind_has_its_heading_in_the_order_of_the_alphabet() -> None:
    assert (
        tuple(re.findall(r"^## (\w+)$", PAGE, flags=re.MULTILINE)) == KINDS == tuple(sorted(KINDS))
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_finding_says_what_it_is_why_it_matters_and_how_it_is_mended(kind: str) -> None:
    assert re.findall(r"^\*\*(\w+)\.\*\* \S", section(kind), flags=re.MULTILINE) == [
        "What",
        "Why",
        "Fix",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_is_that_of_the_smallest_account_with_the_finding(kind: str) -> None:
    [finding] = find_problems(PLANTED[kind]())
    [shown] = re.findall(
        r"^```(?:sh|toml)\n(.*?)^```$", section(kind), flags=re.DOTALL | re.MULTILINE
    )
    assert shown == f"{finding.command}\n"
