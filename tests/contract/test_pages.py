"""What `make docs` writes is in docs/ as the code is now."""

import pytest

from tests.pages import PAGES, REPOSITORY


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_make_docs_writes(name: str) -> None:
    page = (REPOSITORY / name).read_text(encoding="utf-8")
    assert PAGES[name](page) == page, "run `make docs`"
