"""The report's page: one file, whole, with nothing of others' text in it that a browser would obey."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.report.html import FOLDER, render
from tests.report_document import HOSTILE, a_first_night, a_held_night, a_report

REPORT_SCHEMA = Path(__file__).parents[3] / "docs" / "schemas" / "report.json"
OWN_FILES = (
    "index.html",
    "report.css",
    "words.js",
    "elements.js",
    "charts.js",
    "commands.js",
    "csv.js",
    "table.js",
    "sections.js",
    "report.js",
)
PUT_IN = ("uPlot.min.css", "report.css", "uPlot.iife.min.js", *OWN_FILES[2:])
SHAPES = pytest.mark.parametrize(
    "document",
    [a_report(300), a_first_night(), a_held_night()],
    ids=["a large account", "a first night", "a held night"],
)


class Page(HTMLParser):
    """What a browser would find in the page: every element, and what its scripts and styles hold."""

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.document = ""
        self.comments: list[str] = []
        self._inside: list[str] | None = None
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag in ("script", "style"):
            self._inside = self.scripts if tag == "script" else self.styles
            self._inside.append("")

    def handle_data(self, data: str) -> None:
        if self._inside is not None:
            self._inside[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    @property
    def numbers(self) -> Any:
        """The document that the page's scripts will read."""
        [place] = [
            number
            for number, attributes in enumerate(self.of("script"))
            if attributes.get("id") == "report"
        ]
        return json.loads(self.scripts[place])

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def policy(self) -> dict[str, list[str]]:
        """The content security policy, by directive."""
        [text] = [
            attributes["content"] or ""
            for attributes in self.of("meta")
            if attributes.get("http-equiv") == "Content-Security-Policy"
        ]
        return {part.split()[0]: part.split()[1:] for part in text.split("; ")}


EMPTY = Page(render(a_first_night()))


@SHAPES
def test_the_page_holds_the_whole_document(document: dict[str, Any]) -> None:
    assert Page(render(document)).numbers == document


@given(st.text() | st.sampled_from(HOSTILE) | st.text(alphabet="<>/!-script&\u2028\u2029\\\"'"))
def test_no_text_of_others_changes_what_the_page_is_made_of(text: str) -> None:
    document = a_first_night(region=text, plans={text: text}, findings=[{"what": text}])
    page = render(document)
    read = Page(page)
    assert read.numbers == document
    assert read.elements == EMPTY.elements
    assert read.comments == EMPTY.comments
    [begin, end] = [page.index(mark) for mark in (b'id="report">', b"</script>\n<!--\n")]
    numbers = page[begin + len(b'id="report">') : end]
    assert not set(numbers) & set(b"<>&")
    assert numbers.isascii()


def test_half_a_character_is_written_as_it_is() -> None:
    assert Page(render(a_first_night(region="\ud83d"))).numbers["region"] == "\ud83d"


def test_a_number_that_json_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        render(a_first_night(service_quota=float("nan")))


def test_every_style_and_script_is_inside() -> None:
    texts = [(FOLDER / name).read_text("utf-8") for name in PUT_IN]
    scripts = [text for text in EMPTY.scripts if not text.startswith("{")]
    assert [*EMPTY.styles, *scripts] == texts
    assert all(not re.search("</(script|style)|<!--|\r", text) for text in texts)


def test_the_policy_allows_these_and_nothing_else() -> None:
    def hashes(texts: list[str]) -> list[str]:
        return [f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in texts]

    assert EMPTY.policy == {
        "default-src": ["'none'"],
        "script-src": hashes([text for text in EMPTY.scripts if not text.startswith("{")]),
        "style-src": hashes(EMPTY.styles),
        "img-src": ["data:"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "require-trusted-types-for": ["'script'"],
        "trusted-types": ["'none'"],
    }


def test_the_policy_stands_before_all_that_it_is_about() -> None:
    tags = [tag for tag, _ in EMPTY.elements]
    policy = next(
        number
        for number, (_, attributes) in enumerate(EMPTY.elements)
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy < min(tags.index(tag) for tag in ("link", "style", "script"))


def test_nothing_points_outside_the_file() -> None:
    links = [
        value or ""
        for _, attributes in EMPTY.elements
        for name, value in attributes.items()
        if name in ("href", "src", "srcset", "action", "data", "poster")
    ]
    assert links
    assert [link for link in links if not link.startswith(("#", "data:image/svg+xml,"))] == []
    for name in OWN_FILES:
        text = (FOLDER / name).read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(
            r"https?:|url\(|@import|\bfetch\(|XMLHttpRequest|WebSocket|import\(", text
        ), name


def test_the_scripts_never_read_a_text_as_markup_or_as_a_script() -> None:
    for name in OWN_FILES:
        text = (FOLDER / name).read_text("utf-8")
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|\beval\(|Function\(",
            text,
        ), name


def test_the_page_carries_the_licence_of_its_charts() -> None:
    assert "Copyright (c) 2022 Leon Sorokin" in EMPTY.comments[0]
    assert EMPTY.comments[0].strip() == (FOLDER / "uPlot.LICENSE").read_text("utf-8").strip()


def test_the_page_is_small() -> None:
    own = sum(len((FOLDER / name).read_bytes()) for name in OWN_FILES)
    assert own < 88_000
    assert len(render(a_report(10_000))) < 4_000_000


@SHAPES
def test_what_the_page_is_tried_with_is_what_the_report_is(document: dict[str, Any]) -> None:
    schema = json.loads(REPORT_SCHEMA.read_text(encoding="utf-8"))
    fastjsonschema.compile(schema)(json.loads(json.dumps(document)))
