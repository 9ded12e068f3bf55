"""The values that a view is made of; the console prints them, tests compare them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Tone(StrEnum):
    """How a text is to be taken; the console has a colour for each."""

    PLAIN = "plain"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text; it may be wrapped."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Excerpt:
    """One line as it is in a file, with all of its spaces; it is never wrapped."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Command:
    """A command to type; it is never wrapped, so that it can be pasted."""

    text: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: `right` for numbers; `whole` is never cut or wrapped."""

    heading: str
    right: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells, as many in each as there are columns. A cell of None is left empty."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str | None]]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with what they are, one a line."""

    rows: Sequence[tuple[str, Line]]
    title: str = ""


Block = Line | Excerpt | Command | Table | Facts
View = Sequence[Block]
