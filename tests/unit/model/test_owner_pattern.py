"""Patterns that find owners: what is allowed is read in few steps, whatever a text holds.

Steps are counted by a matcher that goes back where `re` does, and that finds what `re` finds.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.model.owner_pattern import (
    LONGEST_PATTERN,
    LONGEST_TEXT,
    STEEPEST,
    Choice,
    Item,
    Many,
    One,
    Place,
    Refused,
    check_pattern,
    parsed,
    steps_of,
    ways_of,
)

ALLOWED = (
    r"user_id=(?P<owner>\S+)",
    r"(?:user|owner|customer|client)(?:[_-]id)?\s*[=:]\s*(?P<owner>[^\s,;]+)",
    r"^api-key-(?P<owner>[a-z0-9-]+)-(?:dev|stage|prod)$",
    r"api-key-(?P<owner>.+)-(dev|stage|prod)",
    r"(?P<owner>[\w.+-]+@[\w-]+\.[\w.-]+)",
    r"^\s*(?P<owner>\S+)\s*$",
    r"(?P<owner>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{12})",
    r"team[:=] ?(?P<owner>[a-z]{2,20})\b",
    r"(?P<owner>.+)",
    r"#(?P<owner>\d+?) \(since [^)]*\)",
    "für (?P<owner>[^ ,]+)",
)

# As the world knows them, or as people write them who want too much.
EVIL = {
    r"(?P<owner>(a+)+)$": "only one character",
    r"(?P<owner>(?:a|aa)+)$": "only one character",
    r"(?P<owner>(?:a|a?)+)$": "only one character",
    r"(?P<owner>(.*)*)=": "only one character",
    r"(?P<owner>(\w+\s?)*)$": "only one character",
    r"^(?P<owner>([a-zA-Z0-9])(([\-.]|[_]+)?([a-zA-Z0-9]+))*)(@)": "may repeat nothing",
    r"(?P<owner>(?:a*|b)c)": "may repeat nothing",
    r"(?P<owner>.*.*.*)x": "too often",
    r"(?P<owner>\S*\S*\S*)=": "too often",
    r"(?P<owner>\s*\s*\s*)$": "too often",
    r"(?P<owner>a{1,50}a{1,50}a{1,50})b": "too often",
    r"(?P<owner>.+) for .+ in .+x": "too often",
    r"(?P<owner>a?a?a?a?a?a?a?a)b": "over 64 ways",
    r"(?P<owner>(?:a|a)(?:a|a)(?:a|a)(?:a|a)(?:a|a)(?:a|a)(?:a|a))b": "over 64 ways",
    r"(?P<owner>x+)\1+": r"\1 is not allowed",
    r"(?=(?P<owner>a+))a*b": "of groups only",
    r"(?i)(?P<owner>a+)": "of groups only",
    r"(?P<owner>a++)": "and only once",
    r"(?P<owner>a+*)": "and only once",
    r"(?P<owner>a){2,9}": "only one character",
    r"(?P<owner>a)?": "only one character",
    r"(?P<owner>a)|b": "a rule for each alternative",
    r"(?P<owner>a{5000})": "from 0 to 100",
    r"(?P<owner>a{5,2})": "from 0 to 100",
    r"(?P<owner>a{,2})": "write {2}",
}
WRONG = {
    "user": "one group (?P<owner>",
    r"(?P<user>\S+)": "of groups only",
    r"(?P<owner>a)(?P<owner>b)": "one group (?P<owner>",
    r"((?P<owner>a))": "in another group",
    r"(?P<owner>a": "this ( is never closed",
    r"(?P<owner>a))": "closes nothing",
    r"(?P<owner>[a)": "this [ is never closed",
    r"(?P<owner>[]a])": "write \\] for the sign",
    r"(?P<owner>[[a]])": "write \\[ for the sign",
    r"(?P<owner>[a--b])": "write \\- for the sign",
    r"(?P<owner>[z-a])": "the range z-a is empty",
    r"(?P<owner>[à-ü])": "a range is of letters",
    r"(?P<owner>[\w-z])": "a range is of letters",
    r"(?P<owner>\p{L}+)": "\\p is not allowed",
    r"(?P<owner>\x61)": "\\x is not allowed",
    "(?P<owner>a)\\": "\\ is not allowed",
    r"*(?P<owner>a)": "has nothing to repeat",
    r"a{b}(?P<owner>a)": "write {2}",
    r"a(?P<owner>^a)": "at the beginning alone",
    r"(?P<owner>a)$*": "only one character",
    "(?P<owner>" + "a" * LONGEST_PATTERN + ")": "at most 200",
}


@pytest.mark.parametrize("pattern", ALLOWED)
def test_what_people_need_is_allowed(pattern: str) -> None:
    check_pattern(pattern)
    assert "owner" in re.compile(pattern).groupindex


@pytest.mark.parametrize(("pattern", "why"), (EVIL | WRONG).items())
def test_what_may_take_long_or_is_unclear_is_refused_with_why(pattern: str, why: str) -> None:
    with pytest.raises(Refused) as refused:
        check_pattern(pattern)
    assert why in str(refused.value)


def test_a_refusal_names_the_place() -> None:
    with pytest.raises(Refused) as refused:
        check_pattern(r"user (?P<owner>(a+)+)")
    assert str(refused.value).startswith("character 20: only one character")


@dataclass
class Counting:
    """Searches as `re` does, and counts each character, place and end that it tries."""

    text: str
    tries: int = 0

    def search(self, items: Sequence[Item]) -> tuple[int, int] | None:
        for start in range(len(self.text) + 1):
            if (end := self._end(list(items), start)) is not None:
                return start, end
        return None

    def _end(self, items: list[Item], at: int) -> int | None:
        self.tries += 1
        if not items:
            return at
        head, rest = items[0], items[1:]
        match head:
            case One(chars):
                return self._end(rest, at + 1) if self.text[at : at + 1] in chars else None
            case Many(chars, least, most):
                last = at
                while self.text[last : last + 1] in chars and last - at != most:
                    self.tries += 1
                    last += 1
                ends = (self._end(rest, end) for end in range(last, at + least - 1, -1))
                return next((end for end in ends if end is not None), None)
            case Choice(branches):
                ends = (self._end([*branch, *rest], at) for branch in branches)
                return next((end for end in ends if end is not None), None)
            case Place(sign):
                return self._end(rest, at) if self._is(sign, at) else None

    def _is(self, sign: str, at: int) -> bool:
        return re.compile(sign).match(self.text, at) is not None


def allowed_tries(items: Sequence[Item], longest: int) -> int:
    starts = longest + 1  # `^` is tried at each, in one step
    return starts + 4 * ways_of(items) * (len(items) + 1) * int(starts ** steps_of(items))


HOSTILE = ["a" * 60, "a" * 60 + "!", "ab" * 30, "a-" * 30 + "=", " " * 60 + "x", "a@a." * 15 + "@"]


@pytest.mark.parametrize("pattern", ALLOWED)
@pytest.mark.parametrize("text", HOSTILE)
def test_an_allowed_pattern_takes_few_steps_on_a_hostile_text(pattern: str, text: str) -> None:
    items, counting = parsed(pattern), Counting(text)
    counting.search(items)
    assert counting.tries <= allowed_tries(items, len(text))
    assert steps_of(items) <= STEEPEST


@pytest.mark.parametrize(
    "pattern",
    [r"(?P<owner>.*.*.*)x", r"(?P<owner>\S*\S*\S*)=", r"(?P<owner>a{1,50}a{1,50}a{1,50})b"],
)
def test_what_is_refused_as_too_steep_is_as_steep_as_it_is_said(pattern: str) -> None:
    items = parsed(pattern)
    short, long = Counting("a" * 12), Counting("a" * 24)
    assert (short.search(items), long.search(items)) == (None, None)
    assert steps_of(items) == 4
    assert long.tries > 2**3 * short.tries  # steeper than what is allowed


ATOMS = st.sampled_from(
    ["a", "b", "-", "=", " ", "[ab]", "[^-]", "[a-]", r"\w", r"\s", r"\S", r"\d", "."]
)
ENDS = st.sampled_from(["", "", "", "?", "*", "+", "*?", "+?", "{2}", "{1,3}", "{2,}"])
PIECES = st.one_of(
    st.builds(str.__add__, ATOMS, ENDS),
    st.sampled_from(["(?:a|b)", "(a|ab)", "(?:-a)?", "(?:ab|a|)", "(a)", r"\b"]),
)
SEQUENCES = st.lists(PIECES, max_size=4).map("".join)
PATTERNS = st.tuples(
    st.sampled_from(["", "^"]), SEQUENCES, SEQUENCES, SEQUENCES, st.sampled_from(["", "$"])
).map(lambda parts: f"{parts[0]}{parts[1]}(?P<owner>{parts[2]}){parts[3]}{parts[4]}")
TEXTS = st.one_of(
    st.text(st.sampled_from("ab-= 1"), max_size=30),
    st.builds(
        lambda part, times, end: part * times + end,
        st.text(st.sampled_from("ab-= "), min_size=1, max_size=4),
        st.integers(1, 9),
        st.sampled_from(["", "!", "a", "-"]),
    ),
)


@given(PATTERNS, TEXTS)
def test_of_any_pattern_that_is_allowed_steps_are_bounded_and_what_is_found_is_what_re_finds(
    pattern: str, text: str
) -> None:
    try:
        check_pattern(pattern)
    except Refused:
        return
    items, counting = parsed(pattern), Counting(text)
    found = counting.search(items)
    assert counting.tries <= allowed_tries(items, len(text))
    by_re = re.search(pattern, text)
    assert (found is None) == (by_re is None)
    if by_re and not re.search(r"[*+}]\?", pattern):
        assert found == by_re.span()


@given(st.text(st.sampled_from("ab(?P<owner>)[]{}^$|*+-\\.,12 é\n"), max_size=40))
def test_any_text_is_a_pattern_or_is_refused(text: str) -> None:
    for pattern in (text, f"(?P<owner>{text})"):
        try:
            check_pattern(pattern)
        except Refused:
            continue
        assert "owner" in re.compile(pattern).groupindex


def test_a_text_of_the_greatest_length_is_looked_at_within_a_bound() -> None:
    # The worst that is allowed: what it takes for one key, and for ten thousand.
    items, counting = parsed(r"(?P<owner>\S+)-\S=$"), Counting("-" * LONGEST_TEXT)
    assert counting.search(items) is None
    assert counting.tries < 4 * LONGEST_TEXT**2
