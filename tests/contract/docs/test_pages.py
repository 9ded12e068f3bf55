"""What `make docs` writes is in docs/ as the code is now."""

import json

import pytest

from tests import doc_tables
from tests.pages import PAGES, REPOSITORY


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_make_docs_writes(name: str) -> None:
    page = (REPOSITORY / name).read_text(encoding="utf-8")
    assert PAGES[name](page) == page, "run `make docs`"


def test_a_new_event_gets_its_section_and_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (REPOSITORY / "docs/events.md").read_text(encoding="utf-8")
    released = doc_tables.schemas()["Key Released"]
    sample = {"version": 1, "request_id": "r1"}
    noted = {**released, "title": "Key Noted", "description": "A note.", "examples": [sample]}
    known = {**doc_tables.schemas(), "Key Noted": noted}
    monkeypatch.setattr(doc_tables, "schemas", lambda: known)
    written = doc_tables.events_page(page)
    section = written.partition("\n## Key Noted\n")[2].partition("\n## ")[0]
    assert "| [Key Noted](#key-noted) | a note | none |\n" in written
    assert "[schemas/key-noted.json](schemas/key-noted.json)" in section
    assert doc_tables.event_table("Key Noted") in section
    assert json.dumps(sample, indent=2) in section
    assert doc_tables.events_page(written) == written


def test_a_table_that_was_edited_by_hand_is_written_again() -> None:
    page = (REPOSITORY / "docs/events.md").read_text(encoding="utf-8")
    edited = page.replace("| `request_id` | yes |", "| `request_id` | no |")
    assert edited != page
    assert doc_tables.events_page(edited) == page
