"""The lists by which a test run is spread over processes name tests that there are."""

import re
from pathlib import Path

from tests.processes import LONGEST, QUICK, TOGETHER

ROOT = Path(__file__).parents[3]
FILES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in (ROOT / "tests").rglob("test_*.py")
}
TESTS = re.findall(r"^def (test_\w+)", "\n".join(FILES.values()), flags=re.M)


def test_each_test_that_is_run_first_is_there() -> None:
    assert [name for name in LONGEST if not any(test.startswith(name) for test in TESTS)] == []


def test_what_one_process_runs_is_there() -> None:
    named = [one.partition("::")[::2] for one in TOGETHER]
    assert [file for file, test in named if f"def {test}" not in FILES.get(file, "")] == []


def test_make_check_runs_the_tests_whose_cases_go_together() -> None:
    assert f'-m "{QUICK}"' in (ROOT / "Makefile").read_text("utf-8")
