"""What somebody else wrote, where people read it: one line, all of it visible, nothing to click on."""

import re
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.model.safe_text import LONGEST, harmless, plain, visible

LINK = re.compile(
    r"://|\\\\\w|\w[.\u3002\uff0e\uff61][^\W\d_]{2}|\b(mailto|tel|sms):", re.IGNORECASE
)


@pytest.mark.parametrize(
    "text",
    [
        "Weather app, production",
        "user-8f1c",
        "jane.doe@example.org",
        "jane.doe@example.org: 7",
        "Ünïcödé 漢字 עברית",
        "version 1.2.3 of 2026-11-21",
        "arn:aws:iam::123456789012:role/portal",
        "e\u0301",
        "👩‍👩‍👧‍👦 🏳️‍🌈 ❤️ 👩🏽‍🚀",
        "می‌خواهم",
        "क्‍ष",
        "",
    ],
)
def test_a_usual_text_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\r\nb\tc\u2028d\u2029e\x85f", "a b c d e f"),
        ("  x  ", "x"),
        ("a\x1b[2Jb\x00\x7f\x9bc", "a\\x1b[2Jb\\x00\\x7f\\x9bc"),
        ("\u202egnissap\u202c", "\\u202egnissap\\u202c"),
        ("\u2067right\u2069\u200f\u061c", "\\u2067right\\u2069\\u200f\\u061c"),
        ("a\u200bb\u200d\ufeff\u2060c\u00ad", "a\\u200bb\\u200d\\ufeff\\u2060c\\xad"),
        ("\U000e0041\U000e0067", "\\U000e0041\\U000e0067"),
        ("user\u200d1 us\u200cer \ufe0fa\ufe0f", "user\\u200d1 us\\u200cer \\ufe0fa\\ufe0f"),
        ("\u3164\u2800\ufe0f\U000e0101", "\\u3164\\u2800\\ufe0f\\U000e0101"),
        ("\ud800", "\\ud800"),
        ("a" + "\u0335" * 6, "a" + "\u0335" * 4 + "\\u0335\\u0335"),
        ("\u0335" * 5, "\u0335" * 4 + "\\u0335"),
        ("a\u200d漢", "a\\u200d漢"),
        ("漢\u200da", "漢\\u200da"),
    ],
)
def test_what_does_not_show_is_written_out_and_white_space_is_folded(text: str, shown: str) -> None:
    assert harmless(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://evil.example/aws-login", "https[:]//evil[.]example/aws-login"),
        ("see HTTP://1.2.3.4/x now", "see HTTP[:]//1.2.3.4/x now"),
        ("www.evil.example", "www[.]evil[.]example"),
        ("evil.example/login", "evil[.]example/login"),
        ("evil\u3002example", "evil[.]example"),
        ("x@evil.example/login", "x@evil[.]example/login"),
        ("https://jane@evil.example", "https[:]//jane@evil[.]example"),
        ("mailto:jane@evil.example", "mailto[:]jane@evil[.]example"),
        ("Tel:+15550100", "Tel[:]+15550100"),
        ("\\\\evil\\share", "[\\\\]evil\\share"),
        ("<https://evil.example|aws.amazon.com>", "<https[:]//evil[.]example|aws[.]amazon[.]com>"),
        ("https:\n//evil.\nexample", "https: //evil. example"),
        ("https:\u200b//evil\u200b.example", "https:\\u200b//evil\\u200b[.]example"),
        ("file:///etc/passwd", "file[:]///etc/passwd"),
    ],
)
def test_a_link_is_none_any_more(text: str, shown: str) -> None:
    assert harmless(text) == shown


@pytest.mark.parametrize("text", ["y" * 1_000, "\u202e" * 1_000, "a.b" * 1_000, "🦀" * 100_000])
def test_a_long_text_is_cut_where_it_is_shown(text: str) -> None:
    for longest in (1, 24, LONGEST):
        assert len(harmless(text, longest)) == longest
        assert harmless(text, longest).endswith("…")


def test_a_text_that_just_fits_is_not_cut() -> None:
    assert harmless("y" * 48, 48) == "y" * 48
    assert harmless("y" * 49, 48) == "y" * 47 + "…"


def test_a_text_is_cut_after_160_characters_unless_another_length_is_asked_for() -> None:
    assert len(harmless("y" * 1_000)) == len(visible("y" * 1_000)) == 160


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://example.org/x", "see https://example.org/x"),
        ("a\nb \u202egnissap", "a b \\u202egnissap"),
        ("y" * 200, "y" * 159 + "…"),
    ],
)
def test_a_text_of_our_own_keeps_its_links_and_shows_all_else(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("https://example.org  x", "https://example.org  x"),
        ("a\nb\x00\u202ec", "a\\nb\\x00\\u202ec"),
        ("👩\u200d👩", "👩\u200d👩"),
        ("y" * 1_000, "y" * 1_000),
    ],
)
def test_a_text_for_programs_only_has_its_hidden_characters_written_out(
    text: str, written: str
) -> None:
    assert plain(text) == written


@given(st.text(max_size=400))
def test_whatever_the_text_is_it_shows_in_one_line_and_links_to_nothing(text: str) -> None:
    shown = harmless(text)
    assert re.sub("[\u200c\u200d]", "", shown).isprintable()
    assert len(shown) <= LONGEST
    assert not any(
        category(letter).startswith("C") for letter in re.sub("[\u200c\u200d]", "", shown)
    )
    for word in shown.split(" "):
        assert not LINK.search(word) or "@" in word
