"""The mistakes of a policy, each with its line and a caret under what it is about. Pure."""

import re
from collections.abc import Sequence

from keyjanitor.errors import Mistake
from keyjanitor_cli.shapes import Excerpt, Line, Tone, View

LONGEST = 160  # characters of a line that are shown

_LAST = re.compile(r"""(?:(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<bare>[^."\[\]]+))(?:\[\d+\])?$""")


def right(file: str, tiers: Sequence[str], only_operators: Sequence[str] = ()) -> View:
    """A policy without mistakes; `only_operators` are tiers whose keys no sender may ask for."""
    view = [Line(f"{file}: no mistakes; tiers: {', '.join(tiers)}", Tone.GOOD)]
    if only_operators:
        view.append(
            Line(
                f"No `senders`, so only operators may ask for keys in: {', '.join(only_operators)}",
                Tone.QUIET,
            )
        )
    return view


def wrong(file: str, text: str, mistakes: Sequence[Mistake]) -> View:
    """All mistakes of a policy, from the top of the file to its end."""
    many = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    view: list[Line | Excerpt] = [Line(f"{file}: {many}", Tone.BAD)]
    lines = text.split("\n")
    for mistake in mistakes:
        view.append(Line(""))
        if mistake.line is None or mistake.line > len(lines):
            view.append(Line(f"{file}: {mistake.path}: {mistake.reason}"))
            continue
        shown = lines[mistake.line - 1].rstrip("\r").replace("\t", " ")[:LONGEST]
        number = f"{mistake.line:>5} | "
        view += [
            Line(f"{file}:{mistake.line}: {mistake.path}: {mistake.reason}"),
            Excerpt(number + shown, Tone.QUIET),
            Excerpt(" " * (len(number) - 2) + "| " + _caret(shown, mistake.path), Tone.WARN),
        ]
    return view


def _caret(line: str, path: str) -> str:
    """What is under a line: `^` under the field that the path ends with, or under all of the line."""
    begins, ends = len(line) - len(line.lstrip()), len(line.rstrip())
    if (last := _LAST.search(path)) is not None:
        field = last["quoted"] or last["bare"]
        if found := re.search(rf"(?<![\w-]){re.escape(field)}(?![\w-])", line):
            begins, ends = found.span()
    return " " * begins + "^" * max(1, ends - begins)
