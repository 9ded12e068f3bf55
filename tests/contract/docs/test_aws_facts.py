"""docs/aws-facts.md and the code name the same facts about AWS, and are as sure of them."""

import io
import re
import tokenize
from pathlib import Path

import pytest

from tests.pages import AWS_FACTS, FACT, REPOSITORY, aws_facts, citations, code_files

PAGE = (REPOSITORY / AWS_FACTS).read_text(encoding="utf-8")
LINE = re.compile(
    r"^\| (?P<id>AF-\d{3}) \| (?P<fact>[^|\n]+) \| (?P<sure>\w+) \| (?P<source>[^|\n]+) "
    r"\| (?P<date>[^|\n]+) \| (?P<code>[^|\n]*) \|$",
    re.M,
)
LINES = {found["id"]: found for found in LINE.finditer(PAGE)}
SURE = ("doc", "seen", "measured", "believed")
MARK = re.compile(rf"\b({'|'.join(SURE)}): (AF-\d{{3}}(?:, AF-\d{{3}})*)")
# `(doc)` as it was written before facts had ids, and in any other form.
UNNAMED = re.compile(rf"\(({'|'.join((*SURE, 'documented'))})\)|\b(aws-facts|page of AWS facts)\b")

# What a file holds that says any of this; no other file has to be read.
ABOUT_FACTS = re.compile(rf"AF-|facts|\(({'|'.join((*SURE, 'documented'))})\)")


def comments(path: Path) -> str:
    """What a file that names facts says to its reader, in one line: comments and texts, not code."""
    text = path.read_text(encoding="utf-8")
    if not ABOUT_FACTS.search(text):
        return ""
    if path.suffix != ".py":
        said = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    else:
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        said = [
            one.string
            for one in tokens
            if one.type == tokenize.COMMENT
            or (one.type == tokenize.STRING and not one.string.lower().startswith(("f", "rf")))
        ]
    return " ".join(re.sub(r"\n\s*#?|^\s*#", " ", one).strip() for one in said)


SAID = {path.relative_to(REPOSITORY).as_posix(): comments(path) for path in code_files()}


def test_each_line_of_the_page_has_an_id_of_its_own_and_all_that_a_line_needs() -> None:
    named = re.findall(r"^\| (AF-\d{3})", PAGE, flags=re.M)
    assert len(named) == len(set(named))
    assert sorted(named) == sorted(LINES)
    assert len(LINES) > 80
    for found in LINES.values():
        assert found["sure"] in SURE, found["id"]
        assert re.fullmatch(r"20\d\d-\d\d(-\d\d)?", found["date"]), found["id"]


def test_what_the_page_says_of_a_fact_names_only_facts_that_there_are() -> None:
    assert set(FACT.findall(PAGE)) == set(LINES)


def test_each_fact_that_code_names_has_its_line() -> None:
    assert citations().keys() <= LINES.keys()


def test_each_line_has_code_that_rests_on_it_and_names_its_files() -> None:
    assert aws_facts(PAGE) == PAGE, "run `make docs`"
    for found in LINES.values():
        files = re.findall(r"`([^`]+)`", found["code"])
        assert files, f"no code rests on {found['id']}: take the line out, or name it there"
        for file in files:
            prefix = "layers/keyjanitor/" if file.startswith("keyjanitor/") else ""
            assert (REPOSITORY / (prefix + file)).is_file(), file


@pytest.mark.parametrize("name", SAID)
def test_code_is_as_sure_of_a_fact_as_the_page(name: str) -> None:
    for sure, facts in MARK.findall(SAID[name]):
        for fact in FACT.findall(facts):
            assert sure == LINES[fact]["sure"], fact
    marked = sum(len(FACT.findall(facts)) for _, facts in MARK.findall(SAID[name]))
    assert len(FACT.findall(SAID[name])) == marked, f"{name} names a fact without how sure it is"


@pytest.mark.parametrize("name", SAID)
def test_no_mark_in_code_is_without_its_fact(name: str) -> None:
    unnamed = [found[0] for found in UNNAMED.finditer(SAID[name].replace("docs/aws-facts.md", ""))]
    assert unnamed == []


# --- what is not known ----------------------------------------------------------------------------

OPEN = re.compile(r"\b(is|are) (not known|not documented|believed)\b|^Whether it refuses")
IN_NO_ORDER = {"AF-237"}  # the code takes any order


def rows_below(heading: str) -> list[list[str]]:
    section = PAGE.partition(f"\n{heading}\n")[2].partition("\n#")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows[1:]]


def test_everything_that_is_believed_or_left_open_is_in_the_one_list_of_what_is_unknown() -> None:
    listed = [
        fact for _, facts, _ in rows_below("### Still unknown") for fact in FACT.findall(facts)
    ]
    believed = {name for name, line in LINES.items() if line["sure"] == "believed"}
    left_open = {name for name, line in LINES.items() if OPEN.search(line["fact"])} - IN_NO_ORDER
    assert sorted(listed) == sorted(believed | left_open)


def test_what_asks_for_something_unknown_is_a_row_of_the_preflight_or_is_below() -> None:
    page = (REPOSITORY / "docs/preflight.md").read_text(encoding="utf-8")
    rows: set[str] = set()
    for cell in re.findall(r"^\| ([\w, ]+?) \|", page, re.M):
        first, to, last = cell.partition(" to ")
        rows |= (
            {f"{first[0]}{one}" for one in "abcd"[: "abcd".index(last[1:]) + 1]} if to else set()
        )
        rows |= set(cell.split(", "))
    for what, _, asked in rows_below("### Still unknown"):
        assert set(asked.split(", ")) <= {"-", "by hand", *rows}, what


def test_each_fault_of_the_sandbox_is_in_the_table_of_what_aws_might_do() -> None:
    text = (REPOSITORY / "sandbox/aws/faults.py").read_text(encoding="utf-8").split('"""')[1]
    table = "\n".join("|".join(row) for row in rows_below("## If AWS answers otherwise"))
    for facts, faults in re.findall(r"\((?:seen|doc|believed): ([^)]+)\) +(.+)", text):
        for fact in FACT.findall(facts):
            line = next(row for row in table.splitlines() if fact in row)
            for fault in re.findall(r"[a-z]+_[a-z_]+", faults):
                assert f"`{fault}`" in line, f"{fact}: {fault}"
