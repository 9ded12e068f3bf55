"""The file of an import: whatever senders write, a row a key and a cell a column."""

import csv
import io
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.requests.import_file import (
    ROWS,
    TEXT_ROOM,
    NewKey,
    batch_prefix,
    describe,
    key_file,
)
from tests.builders import TODAY, a_new_key

HEADER = ["Name", "Key", "Description", "Enabled", "UsagePlanIds"]
UGLY = (
    'comma, "quoted"',
    "line\nbreak",
    "carriage\r\nreturn",
    "\r",
    '"',
    "''",
    "\N{SNOWMAN} \N{GRINNING FACE} ä",
    "=HYPERLINK(1)",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\0nul\0",
    "a=b name=c request=d",
    "%0A%2C",
    "\u2028\u0085\v\f\x1c",
    " ",
    "\N{RIGHT-TO-LEFT OVERRIDE}kj-1",
    "x" * 1024,
    "\N{GRINNING FACE}" * 1024,
    ",".join("=" * 500),
)
texts = st.sampled_from(UGLY) | st.text(max_size=1024)


def read_back(file: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(file.decode("ascii"), newline=""), strict=True))


def expected(key: NewKey) -> list[str]:
    plans = ",".join(key.usage_plan_ids)
    return [key.name, key.value.reveal(), key.description, "true", plans]


def the_texts(description: str) -> dict[str, str]:
    """What a description says, read as people would."""
    parts = dict(part.split("=", 1) for part in description.split(" "))
    return {what: unquote(text, errors="strict") for what, text in parts.items()}


def test_the_file_of_two_keys() -> None:
    keys = [
        a_new_key(1, description="owner=user-8f1c name=app request=r1"),
        a_new_key(2, usage_plan_ids=("plan1", "plan2")),
    ]
    assert key_file(keys) == (
        b"Name,Key,Description,Enabled,UsagePlanIds\n"
        b"kj-20261121-0a1b2c3d-001,keyj000000000000000000000000000000000001,"
        b"owner=user-8f1c name=app request=r1,true,plan1\n"
        b"kj-20261121-0a1b2c3d-002,keyj000000000000000000000000000000000002,"
        b'owner=o2 name=n2 request=r2,true,"plan1,plan2"\n'
    )


def test_a_file_of_nobody_is_its_header() -> None:
    assert read_back(key_file([])) == [HEADER]


def test_several_plans_are_one_cell() -> None:
    key = a_new_key(usage_plan_ids=("plan1", "plan2", "plan3"))
    assert read_back(key_file([key]))[1][4] == "plan1,plan2,plan3"


def test_aws_takes_at_least_a_hundred_rows() -> None:
    keys = [a_new_key(number) for number in range(ROWS)]
    assert ROWS == 100
    assert read_back(key_file(keys)) == [HEADER, *map(expected, keys)]


@given(st.lists(st.tuples(texts, texts), max_size=5))
def test_nothing_that_a_sender_writes_adds_a_column_or_a_row(who: list[tuple[str, str]]) -> None:
    keys = [
        a_new_key(number, description=describe(owner, name, f"r{number}", "AROA"))
        for number, (owner, name) in enumerate(who)
    ]
    file = key_file(keys)
    assert read_back(file) == [HEADER, *map(expected, keys)]
    # Nor for a reader that knows no quotes, or that takes any end of line for one.
    assert len(file.decode("ascii").splitlines()) == 1 + len(keys)
    assert all(line.count(b",") == len(HEADER) - 1 for line in file.splitlines())


@given(texts, texts, st.from_regex(r"[!-~]{1,128}", fullmatch=True))
def test_no_cell_is_a_formula_for_whoever_opens_the_file(
    owner: str, name: str, request_id: str
) -> None:
    file = key_file([a_new_key(description=describe(owner, name, request_id, "AROA"))])
    for cell in read_back(file)[1]:
        assert cell[0] not in "=+-@\t\r\n'\""
        assert cell.isprintable()


@given(texts, texts, st.from_regex(r"[!-~]{1,128}", fullmatch=True))
def test_a_description_holds_what_the_sender_wrote_up_to_its_room(
    owner: str, name: str, request_id: str
) -> None:
    assert the_texts(describe(owner, name, request_id, "AROA")) == {
        "owner": owner[:TEXT_ROOM],
        "name": name[:TEXT_ROOM],
        "request": request_id,
        "sender": "AROA",
    }


def test_a_plain_description_can_be_read_as_it_stands() -> None:
    assert describe("jo@example.org", "app:prod", "portal-1", "AROA") == (
        "owner=jo@example.org name=app:prod request=portal-1 sender=AROA"
    )
    assert describe("", "two words", "r=1", "A") == (
        "owner= name=two%20words request=r%3D1 sender=A"
    )


def test_a_long_text_is_cut_in_a_description() -> None:
    assert describe("o" * 201, "n" * 1024, "r1", "A") == (
        f"owner={'o' * 200} name={'n' * 200} request=r1 sender=A"
    )


def test_no_two_requests_have_the_same_description() -> None:
    """A key that a run which died has made is known by it."""
    long = "x" * 1024
    assert describe(long, long, "r" * 127 + "1", "A") != describe(long, long, "r" * 127 + "2", "A")
    assert describe("a name=b", "", "r", "A") != describe("a", "b", "r", "A")


@pytest.mark.parametrize("mark", ["0a1b2c3d", "ffffffff"])
def test_the_names_of_a_batch_begin_with_its_date_and_its_mark(mark: str) -> None:
    assert batch_prefix(TODAY, mark) == f"kj-20261121-{mark}-"


def test_a_key_that_is_to_be_made_does_not_show_its_value() -> None:
    key = a_new_key(7)
    assert key.value.reveal() not in repr(key) + str(key)
