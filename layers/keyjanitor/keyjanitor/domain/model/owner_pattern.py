"""Holds a pattern that finds owners to what is read in a bounded number of steps. Pure.

A pattern is one of Python's `re`, but not every one: keyjanitor runs it over names and descriptions that
others wrote, ten thousand a night. `re` goes back and tries again where a text fits in several ways. What
is allowed here fits in few: `steps_of` is how the number of tries grows with the length of a text.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

LONGEST_PATTERN = 200  # characters
LONGEST_TEXT = 512  # characters of a name, a description or a tag that a pattern is held against
MOST_WAYS = 64  # in which alternatives and what may be left out can be combined
STEEPEST = 2  # tries grow at most with the square of the text's length
MOST_COPIES = 100  # of `{m}` and `{m,n}`
GROUP = "(?P<owner>"

_CATEGORIES = "dDwWsS"
_QUANTIFIER = re.compile(r"[*+?]|\{(\d{1,4})(,?)(\d{0,4})\}")
_ASCII = tuple(map(chr, range(128)))
# Of each kind that `\d`, `\w` and `\s` know beyond ASCII; one that a pattern names itself is passed over.
_BEYOND = (
    tuple(map(chr, range(0x1D7CE, 0x1D800))),  # digits
    tuple(map(chr, range(0x4E00, 0x4F00))),  # words
    tuple(map(chr, (*range(0x2000, 0x200B), 0x3000))),  # spaces
    tuple(map(chr, range(0x2500, 0x2600))),  # neither
)


class Refused(ValueError):
    """A pattern is not allowed; the text says why."""


@dataclass(frozen=True, slots=True)
class One:
    """One character of a set."""

    chars: frozenset[str]


@dataclass(frozen=True, slots=True)
class Many:
    """Characters of a set, at least so many; `most` is None if there is no bound."""

    chars: frozenset[str]
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several sequences; an empty one if it may be left out."""

    branches: tuple[tuple["Item", ...], ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A place without a character: `^`, `$`, and the beginning or end of a word."""

    sign: str


Item = One | Many | Choice | Place


def check_pattern(pattern: str) -> None:
    """Raises Refused if a pattern finds no owner, or might take more than a bounded number of steps."""
    items = parsed(pattern)
    if ways_of(items) > MOST_WAYS:
        raise Refused(f"its alternatives and what may be left out combine in over {MOST_WAYS} ways")
    if steps_of(items) > STEEPEST:
        raise Refused(
            "what it repeats may end at many places, so a long text is tried too often: let each "
            "repetition be followed by a character that it does not take, as in [^-]+-, or begin with ^"
        )
    try:
        re.compile(pattern)
    except re.error as err:
        raise Refused(f"is no pattern of Python's re: {err}") from None


def parsed(pattern: str) -> tuple[Item, ...]:
    """What a pattern matches, in order; raises Refused."""
    if len(pattern) > LONGEST_PATTERN:
        raise Refused(f"it has {len(pattern)} characters; at most {LONGEST_PATTERN}")
    return _Parser(pattern).pattern()


def ways_of(items: Sequence[Item]) -> int:
    """How many combinations of alternatives there are."""
    return prod(
        sum(ways_of(branch) for branch in item.branches)
        for item in items
        if isinstance(item, Choice)
    )


def steps_of(items: Sequence[Item]) -> int:
    """The power of a text's length with which tries grow, for a search from any place of it.

    A repetition is one factor if it may end at several places, each of which is tried: unless no character
    that it takes can follow it. Then it always ends where it must, and only has to be walked along.
    """
    steps = 0
    items = _that_may_fail(items)
    for at in range(len(items) - 1, -1, -1):
        item = items[at]
        if isinstance(item, Many):
            free = not item.chars.isdisjoint(_first(items[at + 1 :])[0])
            steps = 1 + steps if free else max(1, steps)
    anchored = bool(items) and items[0] == Place("^")
    return steps if anchored else steps + 1


def _that_may_fail(items: Sequence[Item]) -> list[Item]:
    """The items without those at the end that fit whatever follows: behind them nothing is tried again."""
    left = list(items)
    while left:
        match left[-1]:
            case Many(chars, least, _):
                left[-1:] = [One(chars)] * least
                if least:
                    return left
            case Choice(branches) if () in branches:
                left.pop()
            case _:
                return left
    return left


def _first(items: Sequence[Item]) -> tuple[frozenset[str], bool]:
    """The characters that may come first, and whether the items may be left out altogether."""
    chars: frozenset[str] = frozenset()
    for item in items:
        match item:
            case One():
                return chars | item.chars, False
            case Many():
                chars |= item.chars
                if item.least:
                    return chars, False
            case Choice():
                firsts = [_first(branch) for branch in item.branches]
                chars = chars.union(*(first for first, _ in firsts))
                if not any(empty for _, empty in firsts):
                    return chars, False
            case Place("$"):
                return chars, False
            case Place():
                pass
    return chars, True


class _Parser:
    """Reads a pattern from left to right; all that it does not know is refused."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._owners = 0
        self._alphabet = frozenset((*_ASCII, *pattern, *_unnamed(pattern)))

    def pattern(self) -> tuple[Item, ...]:
        """All of it; raises Refused."""
        branches = self._branches(depth=0)
        if self._at < len(self._text):
            raise self._refused("this ) closes nothing; write \\) for the sign")
        if len(branches) > 1:
            raise Refused("write a rule for each alternative, without | outside of a group")
        if self._owners != 1:
            raise Refused(f"it needs one group {GROUP}...), which is the owner")
        return branches[0]

    def _branches(self, depth: int) -> list[tuple[Item, ...]]:
        branches: list[list[Item]] = [[]]
        while self._at < len(self._text) and self._text[self._at] != ")":
            if self._took("|"):
                branches.append([])
            else:
                branches[-1] += self._item(depth)
        return [tuple(one) for one in branches]

    def _item(self, depth: int) -> Sequence[Item]:
        """The next item with its quantifier."""
        start = self._at
        letter = self._text[start]
        if letter == "(":
            return self._group(depth)
        if letter == "^" and start:
            raise self._refused("^ is allowed at the beginning alone")
        if letter in "^$":
            self._at += 1
            return self._never_repeated([Place(letter)])
        if self._text.startswith(("\\b", "\\B"), start):
            self._at += 2
            return self._never_repeated([Place(self._text[start : self._at])])
        if letter in "*+?{}":
            raise self._refused(f"{letter} has nothing to repeat; write \\{letter} for the sign")
        return self._quantified(self._chars())

    def _group(self, depth: int) -> Sequence[Item]:
        start = self._at
        is_owner = self._took(GROUP)
        if not is_owner and not self._took("(?:"):
            self._at += 1
            if self._text.startswith(("?", "*"), self._at):
                self._at = start
                raise self._refused(f"of groups only {GROUP}...), (?:...) and (...) are allowed")
        if is_owner and depth:
            self._at = start
            raise self._refused("the owner's group may not be in another group")
        self._owners += is_owner
        branches = self._branches(depth + 1)
        if not self._took(")"):
            self._at = start
            raise self._refused("this ( is never closed")
        repeats = any(isinstance(item, Many) for branch in branches for item in branch)
        optional = not is_owner and self._took("?")
        if optional:
            self._took("?")
            branches.append(())
        if (optional or len(branches) > 1) and repeats:
            self._at = start
            raise self._refused("what may be left out, or is one of several, may repeat nothing")
        items = branches[0] if len(branches) == 1 else (Choice(tuple(branches)),)
        return self._never_repeated(items)

    def _never_repeated(self, items: Sequence[Item]) -> Sequence[Item]:
        if _QUANTIFIER.match(self._text, self._at):
            raise self._refused(
                "only one character, or a class such as [a-z0-9-], may be repeated, and only once"
            )
        return items

    def _quantified(self, chars: frozenset[str]) -> Sequence[Item]:
        found = _QUANTIFIER.match(self._text, self._at)
        if found is None:
            if self._text.startswith("{", self._at):
                raise self._refused("write {2}, {2,} or {2,5}, or \\{ for the sign")
            return [One(chars)]
        self._at = found.end()
        items: Sequence[Item]
        match found[0]:
            case "?":
                items = [Choice(((One(chars),), ()))]
            case "*":
                items = [Many(chars, 0, None)]
            case "+":
                items = [Many(chars, 1, None)]
            case _:
                items = self._counted(chars, found)
        self._took("?")  # as few as possible: the tries are the same
        return self._never_repeated(items)

    def _counted(self, chars: frozenset[str], found: re.Match[str]) -> Sequence[Item]:
        least, most = int(found[1]), int(found[3]) if found[3] else None
        if max(least, most or 0) > MOST_COPIES or (most is not None and most < least):
            raise self._refused(f"a number of copies is from 0 to {MOST_COPIES}, the smaller first")
        if not found[2]:
            return [One(chars)] * least
        return [Many(chars, least, most)]

    def _chars(self) -> frozenset[str]:
        """The characters that the next sign stands for: a letter, an escape, a dot or a class."""
        start = self._at
        letter = self._text[start]
        if letter == "[":
            self._class()
        elif letter == "\\":
            return self._escape()
        else:
            self._at += 1
            if letter != ".":
                return frozenset(letter)
        return self._that_fit(self._text[start : self._at])

    def _that_fit(self, sign: str) -> frozenset[str]:
        fits = re.compile(sign).fullmatch
        return frozenset(one for one in self._alphabet if fits(one))

    def _escape(self) -> frozenset[str]:
        sign = self._text[self._at : self._at + 2]
        self._at += 2
        if sign[1:] and sign[1] in _CATEGORIES:
            return self._that_fit(sign)
        if sign in ("\\t", "\\n"):
            return frozenset("\t" if sign == "\\t" else "\n")
        if sign[1:].isascii() and sign[1:].isprintable() and sign[1:] and not sign[1].isalnum():
            return frozenset(sign[1])
        self._at -= 2
        raise self._refused(f"{sign} is not allowed; \\d \\w \\s and signs such as \\. are")

    def _class(self) -> None:
        """Walks over a class, whose characters `re` itself tells."""
        start = self._at
        self._at += 1
        self._took("^")
        last, taken = "", 0
        while not self._text.startswith("]", self._at) or not taken:
            if self._at >= len(self._text):
                self._at = start
                raise self._refused("this [ is never closed")
            letter = self._text[self._at]
            if letter in "[]" or self._text[self._at : self._at + 2] in ("--", "&&", "||", "~~"):
                raise self._refused(f"write \\{letter} for the sign in a class")
            if letter == "\\":
                self._escape()
                last = ""
            else:
                self._at += 1
                last = self._range(last) if letter == "-" and taken else letter
            taken += 1
        self._at += 1

    def _range(self, first: str) -> str:
        """The end of a range such as `a-z`; a dash at the end of a class is a dash."""
        end = self._text[self._at : self._at + 1]
        if end == "]":
            return ""
        if not (first.isascii() and first.isalnum() and end.isascii() and end.isalnum()):
            raise self._refused("a range is of letters or digits of ASCII; write \\- for the sign")
        if end < first:
            raise self._refused(f"the range {first}-{end} is empty")
        self._at += 1
        return ""

    def _took(self, sign: str) -> bool:
        taken = self._text.startswith(sign, self._at)
        self._at += len(sign) * taken
        return taken

    def _refused(self, why: str) -> Refused:
        return Refused(f"character {self._at + 1}: {why}")


def _unnamed(pattern: str) -> Iterator[str]:
    """A character of each kind beyond ASCII that the pattern does not name."""
    for kind in _BEYOND:
        yield from next(((one,) for one in kind if one not in pattern), ())
