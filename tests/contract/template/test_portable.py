"""What an operator pastes works in every partition of AWS, and on macOS as on Linux."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
CODE = sorted([ROOT / "template.yaml", *ROOT.glob("layers/keyjanitor/keyjanitor/**/*.py"), *ROOT.glob("functions/*/*.py")])  # fmt: skip


def commands(page: Path) -> str:
    """The blocks of a page that are for a shell."""
    return "\n".join(re.findall(r"^```(?:sh|bash)\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE))  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_no_command_fixes_the_partition_or_needs_gnu(page: Path) -> None:
    pasted = commands(page)
    assert re.findall(r"arn:aws[a-z-]*:[^\n]*", pasted) == []
    assert (
        re.findall(r"\bdate [^\n]*(?:-d\b|--date)[^\n]*|\bsed -i\b[^\n]*|\breadlink -f\b", pasted)
        == []
    )


def test_neither_template_nor_code_fixes_the_partition() -> None:
    found = {
        path.name: re.findall(r"arn:aws:(?!iam::123456789012:role/portal)[^\s'\"]*", path.read_text("utf-8"))
        for path in CODE
    }  # fmt: skip
    assert {name: arns for name, arns in found.items() if arns} == {}


def test_the_audit_pages_days_are_seconds_of_utc_on_any_machine() -> None:
    [function] = re.findall(r"^seconds\(\) .*$", commands(ROOT / "docs" / "audit.md"), re.MULTILINE)
    done = subprocess.run(
        ["sh", "-c", f"{function}\nseconds 2026-11-21"],
        env={"PATH": "/usr/bin:/bin", "TZ": "Asia/Tokyo"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1795219200\n"
