"""Key values: of one form, never the same twice, and told from any other text by their checksum."""

import random
import re
from random import Random
from uuid import UUID
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.model.key_values import (
    ALPHABET,
    LONGEST_OF_AN_ID,
    PATTERN,
    holds_a_value,
    is_words,
    looks_like_ours,
    new_value,
)
from sandbox.memory.adapters.api_gateway import value_of

SCANNERS = re.compile(r"\bkeyj[0-9A-Za-z]{36}\b")  # as docs/secret-scanning.md gives it
A_VALUE = "keyj" + "0" * 30 + "0I7IRA"


def a_value() -> str:
    return new_value().reveal()


def in_base_62(text: str) -> int:
    number = 0
    for character in text:
        number = number * 62 + ALPHABET.index(character)
    return number


def test_a_value_is_forty_letters_and_digits_that_begin_as_ours_do() -> None:
    for _ in range(200):
        value = a_value()
        assert re.fullmatch(r"keyj[0-9A-Za-z]{36}", value)
        assert PATTERN.fullmatch(value)


def test_a_value_ends_with_the_checksum_of_what_comes_before() -> None:
    for _ in range(200):
        value = a_value()
        assert in_base_62(value[-6:]) == crc32(value[:-6].encode())
        assert looks_like_ours(value)


def test_the_checksum_is_the_same_in_every_version() -> None:
    """Scanners that others run know it."""
    assert ALPHABET == "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    assert looks_like_ours(A_VALUE)


def test_no_two_values_are_the_same() -> None:
    assert len({a_value() for _ in range(5_000)}) == 5_000


def test_every_letter_and_digit_may_stand_in_every_place() -> None:
    values = [a_value() for _ in range(3_000)]
    for place in range(4, 34):
        assert {value[place] for value in values} == set(ALPHABET)


def test_a_value_cannot_be_had_again_by_whoever_knows_the_seed() -> None:
    state = random.getstate()
    try:
        random.seed(1)
        first = a_value()
        random.seed(1)
        assert a_value() != first
    finally:
        random.setstate(state)


def test_a_value_does_not_show_itself() -> None:
    assert repr(new_value()) == str(new_value()) == "Secret(***)"


@given(st.integers(0, 39), st.sampled_from(ALPHABET))
def test_a_value_with_a_changed_character_is_none_of_ours(place: int, character: str) -> None:
    value = a_value()
    changed = value[:place] + character + value[place + 1 :]
    assert looks_like_ours(changed) is (changed == value)


@given(st.integers(4, 38))
def test_a_value_with_two_characters_swapped_is_none_of_ours(place: int) -> None:
    value = a_value()
    swapped = value[:place] + value[place + 1] + value[place] + value[place + 2 :]
    assert looks_like_ours(swapped) is (swapped == value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "keyj",
        A_VALUE[:-1],
        A_VALUE + "0",
        A_VALUE + "\n",
        " " + A_VALUE,
        A_VALUE.upper(),
        "keyJ" + A_VALUE[4:],
        "keyj" + "\N{FULLWIDTH DIGIT ZERO}" * 30 + A_VALUE[34:],
        value_of("k0"),
    ],
)
def test_other_texts_are_none_of_ours(text: str) -> None:
    assert not looks_like_ours(text)


@given(st.text())
def test_any_text_may_be_asked_about(text: str) -> None:
    assert not looks_like_ours(text)


@pytest.mark.parametrize("body", ["", "keyj", "abc", "keyj" + "0" * 29, "keyJ" + "0" * 30])
def test_the_right_checksum_alone_makes_no_value_of_ours(body: str) -> None:
    number, digits = crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = ALPHABET[digit] + digits
    assert not looks_like_ours(body + digits)


@pytest.mark.parametrize(
    "leak",
    ["{}", "x-api-key: {}\r\n", '{{"key": "{}"}}', "https://api.example/?key={}&a=b", "({})"],
)
def test_a_scanner_finds_a_value_in_a_leak(leak: str) -> None:
    value = a_value()
    assert SCANNERS.findall(leak.format(value)) == [value]


# --- values in other texts ------------------------------------------------------------------------


@pytest.mark.parametrize("separator", ["", " ", "-", ".", "\n", ", "])
@pytest.mark.parametrize("part", [1, 4, 17, 40])
def test_a_value_of_ours_is_found_in_any_text_however_it_is_cut_up(
    separator: str, part: int
) -> None:
    value = a_value()
    text = separator.join(value[start : start + part] for start in range(0, len(value), part))
    assert holds_a_value(f"x{separator}y{text}{separator}z", of_an_id=True)


def test_most_values_that_aws_makes_are_found() -> None:
    """40 letters and digits by chance; without a digit are 0.1 % of them."""
    chance = Random(7)
    values = ["".join(chance.choices(ALPHABET, k=40)) for _ in range(2_000)]
    assert sum(map(holds_a_value, values)) >= 1_990


@pytest.mark.parametrize("length", [20, 31, 32, 128])
def test_an_id_of_another_system_may_be_as_mixed_but_not_as_long(length: int) -> None:
    text = ("aB3" * 50)[:length]
    assert holds_a_value(text)
    assert holds_a_value(text, of_an_id=True) is (length > LONGEST_OF_AN_ID)
    assert not holds_a_value(text[:19])


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("abcDEF123ghiJKL456mnOP", True),  # of 21 neighbours 7 differ in kind: a third
        ("abcDEF123ghiJKL456mnOPQ", False),  # of 22
        ("WeatherApplicationProduction2026", False),
        ("theWEATHERappOFtheYEARnow", False),
    ],
)
def test_words_are_no_value_unless_a_third_of_their_neighbours_differ_in_kind(
    text: str, is_one: bool
) -> None:
    assert holds_a_value(text) is is_one


@pytest.mark.parametrize(
    "name",
    [
        "TheWeatherAppOfTheYear2026",
        "theWeatherAppOfTheYear2026",
        "PartnerPortalOfTheCityOfLondon20261128",
    ],
)
def test_a_name_of_words_without_a_break_is_no_value(name: str) -> None:
    assert is_words(name)
    assert not holds_a_value(name)
    assert not holds_a_value(f"{name} (test)")


@pytest.mark.parametrize(
    "text",
    [
        "MyHTTPGatewayOfTheYear2026",  # capitals side by side
        "TheWthrAppOfTheYearNow2026",  # a word without a vowel
        "The2026WeatherAppOfTheYear1",  # a number between words
        "TheWeatherAppOfTheYear202611281",  # more than a date
        "ThEwEaThErApPoFtHeYeAr2026x",
    ],
)
def test_what_is_not_plainly_words_is_refused_where_it_is_mixed(text: str) -> None:
    assert not is_words(text)
    assert holds_a_value(text)


@pytest.mark.parametrize(("length", "most"), [(20, 4), (30, 0), (40, 0)])
def test_values_drawn_by_chance_are_no_words(length: int, most: int) -> None:
    chance = Random(11)
    values = ("".join(chance.choices(ALPHABET, k=length)) for _ in range(100_000))
    assert sum(map(is_words, values)) <= most


def test_no_value_of_ours_is_let_through_as_words() -> None:
    assert not any(is_words(a_value()) for _ in range(2_000))
    assert holds_a_value(f"TheWeatherAppOfTheYear2026{a_value()}")


@given(st.uuids())
def test_a_uuid_is_no_value(uuid: UUID) -> None:
    for text in (str(uuid), uuid.hex, uuid.hex.upper(), f"portal-{uuid}-issue"):
        assert not holds_a_value(text)
