"""Reads the text of `policy.toml`: its encoding, its TOML, and in which line each field is. Pure."""

import codecs
import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from unicodedata import category, name

from keyjanitor.errors import Mistake, PolicyError

WHOLE = "(file)"  # the path of what is wrong with the file as a whole
BYTE_ORDER_MARK = "\ufeff"  # some editors begin a file with it; it says nothing
LONGEST_SHOWN = 120  # characters of a value

# The longer marks first: one begins like the other.
_OTHER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_POSITION = re.compile(r"at line (\d+), column (\d+)")
_LOOKALIKES = frozenset({"Pi", "Pf", "Ps", "Pd", "Zs", "Cf", "Cc"})  # quotes, dashes, spaces

_SPACE = re.compile(r"[ \t]*")
_BETWEEN = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_TEXT = re.compile(
    r'''"""(?:[^\\]|\\.)*?"""(?!")|\'\'\'.*?\'\'\'(?!\')|"(?:[^"\\\n]|\\.)*"|'[^'\n]*\'''',
    re.DOTALL,
)
_PLAIN = re.compile(r"[^,\]}#\n]+")


def shown(value: object) -> str:
    """A value of the file in an error: no longer than a line, with everything in it visible."""
    try:
        text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    except ValueError:  # a whole number of thousands of digits
        text = "so large a number"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def joined(path: str, field: str) -> str:
    """The path of a field of a table."""
    field = field if _BARE.fullmatch(field) else f'"{shown(field)[1:-1]}"'
    return f"{path}.{field}" if path else field


def decoded(data: bytes) -> str:
    """The text of a file; raises PolicyError, with its encoding as far as it shows, if not UTF-8."""
    data = data.removeprefix(codecs.BOM_UTF8)
    for mark, encoding in _OTHER_MARKS:
        if data.startswith(mark):
            raise PolicyError(WHOLE, f"is {encoding}; save it as UTF-8")
    if b"\0" in data:
        raise PolicyError(WHOLE, "has zero bytes, as UTF-16 has; save it as UTF-8")
    try:
        return data.decode()
    except UnicodeDecodeError as err:
        byte = data[err.start : err.start + 1]
        line = data.count(b"\n", 0, err.start) + 1
        reason = (
            f"is not UTF-8: the byte 0x{byte.hex().upper()}, in Latin-1 {byte.decode('latin-1')!r}; "
            "save it as UTF-8"
        )
        raise PolicyError(WHOLE, reason, line=line) from None


def loaded(text: str) -> dict[str, Any]:
    """The tables of the file; raises PolicyError with the line if it is not TOML."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise PolicyError(WHOLE, "is nested too deep") from None
    except tomllib.TOMLDecodeError as err:
        position = _POSITION.search(str(err))
        line = int(position[1]) if position else None
        reason = str(err).replace(f" ({position[0]})", "") if position else str(err)
        culprit = _culprit(text, int(position[1]), int(position[2])) if position else ""
        raise PolicyError(WHOLE, f"is not TOML: {reason}{culprit}", line=line) from err
    except ValueError:  # Python reads no whole number of more than 4,300 digits
        raise PolicyError(WHOLE, "is not TOML: a number has too many digits") from None


def _culprit(text: str, line: int, column: int) -> str:
    """Names the character that looks like one of TOML's and is not, if there is one where it failed."""
    where = text.split("\n")[line - 1]
    for letter in (where[column - 1 : column], *where[max(0, column - 2) :], *where):
        foreign = not letter.isascii() or category(letter) == "Cc" if letter else False
        if (
            foreign
            and letter != "\t"
            and (letter == where[column - 1 : column] or category(letter) in _LOOKALIKES)
        ):
            called = name(letter, "a control character").lower()
            kind = category(letter)
            instead = {"Zs": "a plain space", "Pd": "-", "Pi": '"', "Pf": '"', "Ps": '"'}.get(kind)
            hint = f"; write {instead} in its place" if instead else "; take it out"
            return f": the character U+{ord(letter):04X} ({called}){hint}"
    return ""


@dataclass(frozen=True, slots=True)
class Lines:
    """The line of each field, by its path."""

    of_path: Mapping[str, int]

    @classmethod
    def of(cls, text: str) -> "Lines":
        """The lines of a text that is TOML; of one that is not, those up to where it is lost."""
        scan = _Scan(text.removeprefix(BYTE_ORDER_MARK))
        with suppress(_Lost, RecursionError):
            scan.document()
        return cls(scan.lines)

    def placed(self, mistake: Mistake) -> Mistake:
        """The mistake with its line, or that of the table which it is missing in, if it is known."""
        path = mistake.path
        while path and mistake.line is None:
            if path in self.of_path:
                return replace(mistake, line=self.of_path[path])
            path = re.sub(r'(^|\.)("(?:[^"\\]|\\.)*"|[^."\[\]]+)$|\[\d+\]$|.$', "", path, count=1)
        return mistake


def _unquoted(key: str) -> str:
    if key[:1] == "'":
        return key[1:-1]
    if key[:1] != '"':
        return key
    try:
        return str(tomllib.loads(f"text = {key}")["text"])
    except ValueError:  # the text as a whole is no TOML
        raise _Lost from None


class _Lost(Exception):
    """The scan does not know where it is."""


class _Scan:
    """Walks over TOML and notes where each field begins; it reads no values."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._breaks = [index for index, letter in enumerate(text) if letter == "\n"]
        self._rows: dict[str, int] = {}  # of each array of tables, how many there were
        self.lines: dict[str, int] = {}

    def document(self) -> None:
        table = ""
        while True:
            self._over(_BETWEEN)
            if self._at >= len(self._text):
                return
            if self._text.startswith("[", self._at):
                table = self._heading()
            else:
                self._pair(table)

    def _heading(self) -> str:
        line, opening = self._line(), 2 if self._text.startswith("[[", self._at) else 1
        self._at += opening
        parts = self._key()
        self._at += opening
        path = ""
        for index, part in enumerate(parts):
            path = joined(path, part)
            if opening > 1 and index == len(parts) - 1:
                self._rows[path] = self._rows.get(path, 0) + 1
            if path in self._rows:
                path = f"{path}[{self._rows[path] - 1}]"
            self.lines.setdefault(path, line)
        return path

    def _pair(self, table: str) -> None:
        line, path = self._line(), table
        for part in self._key():
            path = joined(path, part)
            self.lines.setdefault(path, line)
        self._expect("=")
        self._over(_SPACE)
        self._value(path)

    def _key(self) -> list[str]:
        parts = []
        while True:
            self._over(_SPACE)
            part = self._over(_KEY)
            parts.append(_unquoted(part))
            self._over(_SPACE)
            if not self._text.startswith(".", self._at):
                return parts
            self._at += 1

    def _value(self, path: str) -> None:
        match self._text[self._at : self._at + 1]:
            case "[":
                self._items(path)
            case "{":
                self._fields(path)
            case '"' | "'":
                self._over(_TEXT)
            case _:
                self._over(_PLAIN)

    def _items(self, path: str) -> None:
        self._at += 1
        index = 0
        while True:
            self._over(_BETWEEN)
            if self._text.startswith("]", self._at):
                break
            self.lines.setdefault(f"{path}[{index}]", self._line())
            self._value(f"{path}[{index}]")
            index += 1
            self._over(_BETWEEN)
            if self._text.startswith(",", self._at):
                self._at += 1
        self._at += 1

    def _fields(self, path: str) -> None:
        self._at += 1
        while True:
            self._over(_BETWEEN)
            if self._text.startswith("}", self._at):
                break
            self._pair(path)
            self._over(_BETWEEN)
            if self._text.startswith(",", self._at):
                self._at += 1
        self._at += 1

    def _over(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise _Lost
        self._at = found.end()
        return found[0]

    def _expect(self, sign: str) -> None:
        if not self._text.startswith(sign, self._at):
            raise _Lost
        self._at += len(sign)

    def _line(self) -> int:
        return bisect_right(self._breaks, self._at - 1) + 1 if self._at else 1
