"""docs/controls.md and its OSCAL: each line has a proof that is there, and OSCAL's own tool takes the definition."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.controls import CONTROLS, component_definition

REPOSITORY = Path(__file__).parents[3]
PAGE = (REPOSITORY / "docs" / "controls.md").read_text(encoding="utf-8")
DEFINITION = REPOSITORY / "docs" / "controls" / "component-definition.json"
TRESTLE = REPOSITORY / ".venv-oscal" / "bin" / "trestle"
PROOFS = sorted({proof for one in CONTROLS for does in one.does for proof in does.proofs})


def heading(text: str) -> str:
    """The anchor of a heading, as a reader of Markdown makes it."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def ids(part: Any) -> list[str]:
    """Every uuid in a part of the definition."""
    if isinstance(part, dict):
        own = [part["uuid"]] if "uuid" in part else []
        return own + [one for value in part.values() for one in ids(value)]
    return [one for value in part for one in ids(value)] if isinstance(part, list) else []


def test_the_controls_are_those_that_were_asked_for() -> None:
    assert [one.label for one in CONTROLS] == [
        *("AC-2(3)", "AC-2(4)", "IA-4", "IA-5(1)", "AU-11", "SI-12"),
    ]
    assert [one.control_id for one in CONTROLS] == [
        *("ac-2.3", "ac-2.4", "ia-4", "ia-5.1", "au-11", "si-12"),
    ]
    assert all(one.does and one.does_not and one.yours for one in CONTROLS)
    assert all(does.proofs for one in CONTROLS for does in one.does)


@pytest.mark.parametrize("proof", PROOFS)
def test_a_proof_is_there(proof: str) -> None:
    path, _, test = proof.partition("::")
    path, _, anchor = path.partition("#")
    text = (REPOSITORY / path).read_text(encoding="utf-8")
    assert not test or re.search(rf"^def {test}\(", text, re.M)
    headings = {heading(one) for one in re.findall(r"^#+ (.+)$", text, re.M)}
    assert not anchor or anchor in headings


def test_the_page_says_that_it_is_support_and_not_compliance() -> None:
    assert "no statement of compliance" in PAGE
    assert (
        "no statement of compliance"
        in json.loads(DEFINITION.read_text())["component-definition"]["metadata"]["remarks"]
    )


def test_ids_are_the_same_every_time_and_each_its_own() -> None:
    definition = component_definition()
    assert definition == component_definition() == DEFINITION.read_text(encoding="utf-8")
    found = ids(json.loads(definition))
    assert len(found) == len(set(found)) == 3 + 2 * len(CONTROLS)
    assert found[0] == "a5575928-1f12-5f96-b7bd-2cc3b76cc3e0"


def validated(definition: dict[str, Any], workspace: Path) -> subprocess.CompletedProcess[str]:
    """What compliance-trestle says of a definition, in a workspace of its own."""

    def trestle(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [TRESTLE, *arguments],
            cwd=workspace,
            env={"PATH": os.environ["PATH"], "HOME": str(workspace)},
            capture_output=True,
            text=True,
            check=False,
        )

    assert trestle("init", "--local").returncode == 0
    where = workspace / "component-definitions" / "keyjanitor"
    where.mkdir(parents=True)
    (where / "component-definition.json").write_text(json.dumps(definition), encoding="utf-8")
    return trestle("validate", "-t", "component-definition", "-n", "keyjanitor")


@pytest.mark.slow
def test_compliance_trestle_takes_the_definition(tmp_path: Path) -> None:
    assert TRESTLE.exists(), "compliance-trestle is missing: make .venv-oscal/.made"
    definition = json.loads(DEFINITION.read_text(encoding="utf-8"))
    found = validated(definition, tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "VALID" in found.stdout
    assert "INVALID" not in found.stdout


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["field", "twin", "uuid"])
def test_compliance_trestle_refuses_what_is_no_oscal(wrong: str, tmp_path: Path) -> None:
    definition = json.loads(DEFINITION.read_text(encoding="utf-8"))
    whole = definition["component-definition"]
    component = whole["components"][0]
    match wrong:
        case "field":
            component["promise"] = "compliance"
        case "twin":
            component["control-implementations"][0]["uuid"] = component["uuid"]
        case _:
            whole["uuid"] = "one"
    found = validated(definition, tmp_path)
    assert found.returncode != 0
