"""What GitHub and pre-commit run for outsiders: pinned, with few rights, and with targets that there are."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from release.pins import read_pins
from tests.template import TEMPLATE

REPOSITORY = Path(__file__).parents[3]
GITHUB = REPOSITORY / ".github"
WORKFLOWS = {path.stem: path.read_text("utf-8") for path in GITHUB.glob("workflows/*")}
FORMS = sorted(set(GITHUB.glob("ISSUE_TEMPLATE/*")) - {GITHUB / "ISSUE_TEMPLATE" / "config.yml"})
MAKEFILE = (REPOSITORY / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z0-9-]+):.* ## ", MAKEFILE, flags=re.M))
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
READ_ONLY = {"contents": "read"}
ACTION = re.compile(r"[\w.-]+/[\w.-]+(/[\w./-]+)?@[0-9a-f]{40}")


def workflow(name: str) -> dict[Any, Any]:
    document = yaml.safe_load(WORKFLOWS[name])
    assert isinstance(document, dict)
    return document


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in WORKFLOWS:
        for job_name, job in workflow(name)["jobs"].items():
            yield f"{name}.{job_name}", job


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, job in jobs():
        for step in job["steps"]:
            yield name, step


def runs(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


# --- workflows ------------------------------------------------------------------------------------


def test_there_are_the_two_workflows() -> None:
    assert WORKFLOWS.keys() == {"ci", "release"}


def test_every_action_is_named_by_commit_and_says_its_tag() -> None:
    used = [step["uses"] for _, step in steps() if "uses" in step]
    assert used
    assert [one for one in used if not ACTION.fullmatch(one)] == []
    lines = re.findall(r"uses: (.+)", "".join(WORKFLOWS.values()))
    assert len(lines) == len(used)
    assert [line for line in lines if not re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)] == []
    assert len(set(lines)) == len({line.partition("@")[0] for line in lines})


def test_no_workflow_may_do_more_than_read_and_one_job_writes_the_release() -> None:
    for name in WORKFLOWS:
        assert workflow(name)["permissions"] == READ_ONLY
    writing = {name: job["permissions"] for name, job in jobs() if "permissions" in job}
    assert writing == {"release.publish": {"contents": "write"}}


def test_the_job_that_may_write_runs_nothing_that_was_installed_or_checked_out() -> None:
    publish = workflow("release")["jobs"]["publish"]
    [action] = [step["uses"].partition("@")[0] for step in publish["steps"] if "uses" in step]
    assert action == "actions/download-artifact"
    assert not re.search(r"\b(make|python|pip|npm|sam)\b", "\n".join(runs(publish)))


def test_no_checkout_leaves_its_token_behind() -> None:
    checkouts = [step for _, step in steps() if step.get("uses", "").startswith("actions/checkout")]
    assert checkouts
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)


def test_no_command_is_put_together_from_what_others_write() -> None:
    assert [name for name, step in steps() if "${{" in step.get("run", "")] == []
    for text in WORKFLOWS.values():
        assert "pull_request_target" not in text
        assert "secrets." not in text


def test_every_job_ends_by_itself() -> None:
    assert [name for name, job in jobs() if not 0 < job["timeout-minutes"] <= 60] == []


def test_every_target_and_every_module_that_a_workflow_runs_is_there() -> None:
    commands = "\n".join(step["run"] for _, step in steps() if "run" in step)
    targets = set(re.findall(r"\bmake ([a-z0-9-]+)", commands))
    assert {"check", "rest", "coverage", "audit", "package", "sbom"} == targets
    assert targets <= TARGETS
    modules = re.findall(r"-m (\w+)\.(\w+)", commands)
    assert modules
    assert all((REPOSITORY / folder / f"{name}.py").is_file() for folder, name in modules)


def test_check_runs_on_the_oldest_python_and_on_that_of_lambda() -> None:
    check = workflow("ci")["jobs"]["check"]
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    runtime = TEMPLATE["Globals"]["Function"]["Runtime"].removeprefix("python")
    assert check["strategy"]["matrix"]["python"] == [oldest, runtime] == ["3.11", "3.13"]
    [setup] = [one for one in check["steps"] if one.get("uses", "").startswith("actions/setup-py")]
    assert setup["with"]["python-version"] == "${{ matrix.python }}"


def test_every_other_job_names_a_python_that_is_checked() -> None:
    named = {
        step["with"]["python-version"]
        for _, step in steps()
        if step.get("uses", "").startswith("actions/setup-python")
    }
    assert named - {"${{ matrix.python }}"} <= {"3.11", "3.13"}
    for _, step in steps():
        if "make " in step.get("run", ""):
            assert "PYTHON=python" in step["run"]  # the one that was set up


def test_the_end_to_end_tests_have_the_browser_that_the_gate_asks_for() -> None:
    gate = (REPOSITORY / ".ci" / "run").read_text("utf-8")
    assert "command -v chromium" in gate
    commands = runs(workflow("ci")["jobs"]["rest"])
    assert commands == ["chromium --version", "make rest PYTHON=python"]


def test_a_pull_request_gets_all_that_make_test_runs() -> None:
    [recipe] = re.findall(r"^test: ## .+\n((?:\t.+\n)+)", MAKEFILE, flags=re.M)
    parts = re.findall(r"\$\(MAKE\) (\w+)", recipe)
    assert parts == ["check", "rest"]
    for part in parts:
        assert f"make {part} PYTHON=python" in runs(workflow("ci")["jobs"][part])


def test_a_release_begins_with_a_tag_and_with_the_check_of_it() -> None:
    release = workflow("release")
    assert release[True] == {"push": {"tags": ["v*"]}}  # YAML reads the key `on` as true
    build = runs(release["jobs"]["build"])
    assert 'python -m release.notes "$GITHUB_REF_NAME"' in build[0]
    made = [re.findall(r"make (\w+)", command) for command in build]
    assert [target for targets in made for target in targets] == ["check", "package", "sbom"]
    assert release["jobs"]["publish"]["needs"] == "build"


def test_a_pull_request_is_checked_and_every_week_the_packages_are() -> None:
    ci = workflow("ci")
    assert {"push", "pull_request", "schedule", "workflow_dispatch"} == ci[True].keys()
    weekly = [name for name, job in ci["jobs"].items() if "== 'schedule'" in job["if"]]
    others = [name for name, job in ci["jobs"].items() if "!= 'schedule'" in job["if"]]
    assert (weekly, others) == (["audit"], ["check", "rest", "coverage"])


# --- dependabot -----------------------------------------------------------------------------------


def test_dependabot_looks_at_actions_and_at_what_tests_install() -> None:
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text("utf-8"))["updates"]
    assert [(one["package-ecosystem"], one["directory"]) for one in updates] == [
        ("github-actions", "/"),
        ("pip", "/requirements"),
        ("npm", "/requirements/npm"),
    ]
    assert (REPOSITORY / "requirements" / "npm" / "package-lock.json").is_file()
    assert [one["cooldown"] for one in updates] == [{"default-days": 7}] * 3


def test_dependabot_leaves_the_packages_of_the_layer_alone() -> None:
    [pip] = [
        one
        for one in yaml.safe_load((GITHUB / "dependabot.yml").read_text("utf-8"))["updates"]
        if one["package-ecosystem"] == "pip"
    ]
    asked = (REPOSITORY / "requirements" / "layer.in").read_text("utf-8").splitlines()
    packages = {line for line in asked if line and not line.startswith("#")}
    assert {one["dependency-name"] for one in pip["ignore"]} == packages


# --- issue forms ----------------------------------------------------------------------------------

ASKING = {"input", "textarea", "dropdown", "checkboxes"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_is_one_that_github_shows(path: Path) -> None:
    form = yaml.safe_load(path.read_text("utf-8"))
    assert form.keys() == {"name", "description", "labels", "body"}
    asked = [one for one in form["body"] if one["type"] != "markdown"]
    assert {one["type"] for one in asked} <= ASKING
    ids = [one["id"] for one in asked]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z]+", one) for one in ids)
    assert all(one["attributes"]["label"] for one in asked)
    for one in asked:
        if one["type"] in ("dropdown", "checkboxes"):
            options = one["attributes"]["options"]
            assert len({str(option) for option in options}) == len(options)
    assert any(one.get("validations", {}).get("required") for one in asked)


def test_there_is_a_form_for_what_aws_answers_and_no_empty_issue() -> None:
    assert [path.stem for path in FORMS] == ["aws-answered-otherwise", "bug", "feature"]
    config = yaml.safe_load((GITHUB / "ISSUE_TEMPLATE" / "config.yml").read_text("utf-8"))
    assert config == {"blank_issues_enabled": False}


@pytest.mark.parametrize("name", ["aws-answered-otherwise", "bug"])
def test_a_form_that_asks_for_output_asks_for_no_value_of_a_key(name: str) -> None:
    text = (GITHUB / "ISSUE_TEMPLATE" / f"{name}.yml").read_text("utf-8")
    assert "Never paste the value of an API key" in text


def test_the_events_that_forms_and_pages_name_are_there() -> None:
    for path in (*FORMS, REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "SECURITY.md"):
        for name in re.findall(r"\bevents/\w+\.json", path.read_text("utf-8")):
            assert (REPOSITORY / name).is_file(), (path.name, name)


@pytest.mark.parametrize("name", ["bug.yml", "aws-answered-otherwise.yml", "feature.yml"])
def test_a_link_of_a_form_leads_into_this_repository(name: str) -> None:
    text = (GITHUB / "ISSUE_TEMPLATE" / name).read_text("utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (REPOSITORY / link.removeprefix("../blob/main/")).is_file(), link


# --- pre-commit, and the page for contributors ----------------------------------------------------


def test_pre_commit_runs_the_ruff_of_the_gate_and_nothing_else() -> None:
    config = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text("utf-8"))
    [repository] = config["repos"]
    assert repository["repo"] == "local"
    pins = read_pins((REPOSITORY / "requirements" / "dev.txt").read_text("utf-8"))
    [ruff] = [pin for pin in pins if pin.name == "ruff"]
    hooks = repository["hooks"]
    assert [hook["entry"].split(" --")[0] for hook in hooks] == ["ruff format", "ruff check"]
    for hook in hooks:
        assert hook["language"] == "python"
        assert hook["additional_dependencies"] == [f"ruff=={ruff.version}"]


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", "docs/versions.md"])
def test_every_target_that_a_page_for_outsiders_names_is_there(name: str) -> None:
    text = (REPOSITORY / name).read_text("utf-8")
    named = set(re.findall(r"\bmake ([a-z][a-z0-9-]+)", text)) - {"it"}
    assert named <= TARGETS


def test_the_page_for_contributors_names_folders_that_there_are() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")
    for folder in re.findall(r"`((?:tests|docs|sandbox|functions)/[\w/]*)`", text):
        assert (REPOSITORY / folder).is_dir(), folder


def test_the_floor_of_coverage_is_set_and_measures_branches_of_what_runs_in_an_account() -> None:
    coverage = PROJECT["tool"]["coverage"]
    assert coverage["run"]["branch"] is True
    assert coverage["run"]["source"] == ["layers/keyjanitor/keyjanitor", "functions"]
    assert 98 <= coverage["report"]["fail_under"] <= 100  # raise it here too: it only rises
