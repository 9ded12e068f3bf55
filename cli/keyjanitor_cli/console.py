"""Prints and asks: the one module that does. Names of keys are untrusted text, so nothing is markup."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, assert_never

import click
from rich import box
from rich.console import Console as RichConsole
from rich.padding import Padding
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable
from rich.text import Text

from keyjanitor.domain.model.keys import Secret
from keyjanitor.domain.model.safe_text import plain, visible
from keyjanitor_cli.errors import CommandFailed
from keyjanitor_cli.shapes import Block, Command, Excerpt, Facts, Line, Table, Tone, View

LONGEST = 4_000  # characters of one line of our own
STYLES = {
    Tone.PLAIN: "",
    Tone.GOOD: "green",
    Tone.WARN: "yellow",
    Tone.BAD: "bold red",
    Tone.QUIET: "dim",
}


class Console:
    """What a command prints: views for people, or with `as_json` one document for programs.

    Answers go to stdout; progress, questions and errors to stderr.
    """

    def __init__(self, *, as_json: bool = False, width: int | None = None) -> None:
        self.as_json = as_json
        self._out = RichConsole(highlight=False, markup=False, emoji=False, width=width)
        self._err = RichConsole(
            stderr=True, highlight=False, markup=False, emoji=False, width=width
        )

    def show(self, view: View, document: Mapping[str, Any]) -> None:
        """Prints the view, or with `as_json` the document in its place."""
        if self.as_json:
            print(json.dumps(document, indent=2), file=self._out.file)
            return
        for block in view:
            self._print(self._out, block)

    @property
    def can_reveal(self) -> bool:
        """Whether a person looks at the answer: a key's value goes nowhere else."""
        return not self.as_json and self._out.file.isatty()

    def reveal(self, value: Secret) -> None:
        """Shows a key's value, whole, on a terminal; nothing elsewhere."""
        if self.can_reveal:
            self._out.print(Text(f"  {value.reveal()}", style="bold"), soft_wrap=True)

    def write_value(self, value: Secret, file: Path) -> None:
        """Writes a key's value to a new file of mode 0600; raises CommandFailed if it cannot."""
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                opened.write(value.reveal() + "\n")
        except OSError as err:
            raise CommandFailed(
                f"{file} cannot be written: {err.strerror}; the key was made all the same",
                "type it again with the same --request-id and another file",
            ) from None

    @property
    def out(self) -> RichConsole:
        """Where answers are printed: for what is laid out in another way than views are."""
        return self._out

    def note(self, text: str) -> None:
        """A line that is no part of the answer."""
        self._print(self._err, Line(text, Tone.QUIET))

    def error(self, err: CommandFailed) -> None:
        """What was wrong, and what to do next."""
        self._print(self._err, Line(f"keyjanitor: {err.what}", Tone.BAD))
        for step in err.then:
            self._print(self._err, Line(f"then: {step}"))

    def confirm(self, question: str, *, yes: bool) -> None:
        """Returns if the person agrees, or `yes`; raises CommandFailed if not, or if no one can be asked."""
        if yes:
            return
        if not sys.stdin.isatty():
            raise CommandFailed(
                f"{question} There is no terminal to ask at, so nothing was done.",
                "add --yes if that is what you want",
            )
        if not click.confirm(visible(question), default=False, err=True):
            raise CommandFailed("nothing was done")

    def hidden(self, question: str) -> str:
        """A text that the person types or pastes, and that is not shown."""
        if not sys.stdin.isatty():
            raise CommandFailed("there is no terminal to ask for the value at")
        return str(click.prompt(question, hide_input=True, err=True))

    @contextmanager
    def waiting(self, text: str) -> Iterator[Callable[[str], None]]:
        """Shows what is waited for, and for how many seconds by now; gives what shows another text."""
        if not self._err.is_terminal:
            yield lambda _: None
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=self._err, transient=True) as progress:
            task = progress.add_task(text, total=None)
            yield lambda said: progress.update(task, description=said)

    def _print(self, console: RichConsole, block: Block) -> None:
        match block:
            case Line():
                console.print(Text(visible(block.text, LONGEST), style=STYLES[block.tone]))
            case Excerpt():
                text = Text(plain(block.text)[:LONGEST], style=STYLES[block.tone])
                console.print(text, soft_wrap=True)
            case Command():
                # Written past the wrapping, so that it can be pasted.
                console.print(
                    Text(f"  {visible(block.text, LONGEST)}", style="bold"), soft_wrap=True
                )
            case Table():
                console.print(_table(block))
            case Facts():
                console.print(_facts(block))
            case _:
                assert_never(block)


def _table(block: Table) -> Padding:
    table = RichTable(
        box=box.SIMPLE_HEAD,
        title=Text(block.title, style="bold") if block.title else None,
        title_justify="left",
        pad_edge=False,
        header_style="bold",
    )
    for column in block.columns:
        table.add_column(
            column.heading,
            justify="right" if column.right else "left",
            no_wrap=column.whole,
            overflow="fold",
        )
    for row in block.rows:
        table.add_row(*(Text("" if cell is None else visible(cell)) for cell in row))
    return Padding(table, (0, 0, 0, 0))


def _facts(block: Facts) -> Padding:
    table = RichTable(
        box=None,
        show_header=False,
        title=Text(block.title, style="bold") if block.title else None,
        title_justify="left",
        pad_edge=False,
    )
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, line in block.rows:
        table.add_row(Text(name), Text(visible(line.text, LONGEST), style=STYLES[line.tone]))
    return Padding(table, (0, 0, 0, 0))
