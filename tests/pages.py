"""Writes what is made from the code into docs/ and deploy/: `python -m tests.pages`, which is `make docs`."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests import terraform_module
from tests.alert_samples import made as alert_parts
from tests.architecture import listed, picture
from tests.controls import component_definition, controls_page
from tests.doc_tables import events_page, requests_page
from tests.policy_reference import policy_page
from tests.policy_schema import policy_schema

REPOSITORY = Path(__file__).parents[1]
AWS_FACTS = "docs/aws-facts.md"
INDEX = "docs/README.md"
POLICY = "docs/policy.md"
ARCHITECTURE = "docs/architecture.md"
MADE = re.compile(r"(?s)(<!-- made: (\w+) -->\n).*?(<!-- end -->)")
LIST = re.compile(r"(?s)(\n## Decisions\n.*?\n\n)- .*")
CODE = ("layers/keyjanitor/keyjanitor", "functions", "sandbox", "cli", "tests/machine")
CODE_FILES = ("template.yaml", "tests/rights.py")
FACT = re.compile(r"\bAF-\d{3}\b")
FACT_LINE = re.compile(r"^\| (AF-\d{3}) \|(.*)\|([^|\n]*)\|$", re.M)


def code_files() -> Iterator[Path]:
    """The files of the product and of the sandbox that may rest on facts about AWS."""
    for folder in CODE:
        yield from sorted((REPOSITORY / folder).rglob("*.py"))
    yield from filter(Path.is_file, (REPOSITORY / name for name in CODE_FILES))


def citations() -> dict[str, list[str]]:
    """The files that name each fact, as paths from the root of the repository, by the fact's id."""
    found: dict[str, list[str]] = {}
    for path in code_files():
        name = path.relative_to(REPOSITORY).as_posix()
        for fact in sorted(set(FACT.findall(path.read_text(encoding="utf-8")))):
            found.setdefault(fact, []).append(name)
    return found


def aws_facts(page: str) -> str:
    """The page of AWS facts with its last column as the code is now."""
    cited = citations()

    def line(found: re.Match[str]) -> str:
        files = ", ".join(f"`{_short(name)}`" for name in cited.get(found[1], ()))
        return f"| {found[1]} |{found[2]}| {files} |"

    return FACT_LINE.sub(line, page)


def _short(name: str) -> str:
    """A path without the package's folder, which the page says once."""
    return name.removeprefix("layers/keyjanitor/")


def index(page: str) -> str:
    """The index of docs/ with its list of decisions as they are now."""
    listed = []
    for path in sorted((REPOSITORY / "docs" / "decisions").glob("*.md")):
        title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        listed.append(f"- [{title}](decisions/{path.name})")
    return LIST.sub(lambda found: found[1] + "\n".join(listed) + "\n", page)


def architecture(page: str) -> str:
    """The page of the rooms with its picture and its list of modules as the code is now."""
    made = {"picture": picture(), "modules": listed()}
    return MADE.sub(lambda found: f"{found[1]}{made[found[2]]}\n{found[3]}", page)


def alerts(page: str) -> str:
    """The page of alerts with a sample of each, and its tables, as the code and the schema are now."""
    parts = dict(alert_parts())
    return MADE.sub(lambda found: f"{found[1]}{parts[found[2]]}\n{found[3]}", page)


# What makes each page, from the page as it is: what people wrote in it stays.
PAGES: Mapping[str, Callable[[str], str]] = {
    AWS_FACTS: aws_facts,
    INDEX: index,
    ARCHITECTURE: architecture,
    POLICY: lambda _: policy_page(),
    "docs/schemas/policy.json": lambda _: policy_schema(),
    "docs/controls.md": lambda _: controls_page(),
    "docs/controls/component-definition.json": lambda _: component_definition(),
    "docs/alerts.md": alerts,
    "docs/events.md": events_page,
    "docs/requests.md": requests_page,
    "deploy/terraform/variables.tf": lambda _: terraform_module.variables(),
    "deploy/terraform/parameters.tf": lambda _: terraform_module.parameters(),
    "deploy/terraform/outputs.tf": lambda _: terraform_module.outputs(),
}


def main() -> None:
    """Writes each page from the code, if it is another than before."""
    for name, generate in PAGES.items():
        path = REPOSITORY / name
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if (after := generate(before)) != before:
            path.write_text(after, encoding="utf-8")
            print(f"wrote {name}")


if __name__ == "__main__":
    main()
