"""docs/command.md has a section for each command and each option that there is, and for no others."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from keyjanitor_cli.__main__ import keyjanitor

PAGE = (Path(__file__).parents[3] / "docs/command.md").read_text("utf-8")
COMMON = "## Install it"  # the section with the options of every command
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def commands(
    group: click.Group = keyjanitor, before: str = ""
) -> Iterator[tuple[str, click.Command]]:
    """Every command by what is typed: `key`, `policy check`."""
    for name, one in group.commands.items():
        if isinstance(one, click.Group):
            yield from commands(one, f"{before}{name} ")
        else:
            yield f"{before}{name}", one


def sections() -> dict[str, str]:
    """The sections of the page, by their headings, without the samples, which are typed elsewhere."""
    told = re.sub(r"^```console\n.*?^```$", "", PAGE, flags=re.M | re.S)
    found = re.split(r"^(## .*)$", told, flags=re.M)
    return dict(zip(found[1::2], found[2::2], strict=True))


def named(heading: str) -> set[str]:
    """The commands that a heading names, without what follows them: `keyjanitor undo DATE [KEY]...`."""
    if "`keyjanitor " not in heading:
        return set()
    typed = re.findall(r"`(?:keyjanitor )?([a-z ]+?)(?: [A-Z\[][^`]*)?`", heading)
    return set(typed)


def options(command: click.Command) -> set[str]:
    """The options of a command as they are typed."""
    return {
        word
        for param in command.params
        if isinstance(param, click.Option)
        for word in (*param.opts, *param.secondary_opts)
        if word.startswith("--")
    }


SECTIONS = {name: heading for heading in sections() for name in named(heading)}
COMMANDS = dict(commands())
COMMON_OPTIONS = {"--profile", "--region", "--stack", "--json", "--yes"}


def test_every_command_has_a_section_and_every_section_a_command() -> None:
    assert SECTIONS.keys() == COMMANDS.keys()
    assert len(COMMANDS) > 20


def test_every_option_is_in_the_section_of_its_command() -> None:
    missing = {
        (name, option)
        for name, command in COMMANDS.items()
        for option in options(command) - COMMON_OPTIONS
        if option not in OPTION.findall(sections()[SECTIONS[name]])
    }
    assert missing == set()


def test_every_option_of_a_section_is_one_that_there_is() -> None:
    for heading, text in sections().items():
        if not named(heading):
            continue
        there = set().union(*(options(COMMANDS[name]) for name in named(heading)))
        # What another command has is named behind that command's name.
        others = {
            option
            for name, option in re.findall(
                r"`(?:keyjanitor )?([a-z]+)[^`\n]*?(--[a-z-]+)[^`\n]*`", text
            )
            if name in COMMANDS and option in options(COMMANDS[name])
        }
        assert set(OPTION.findall(text)) <= there | others, heading


def test_the_common_options_are_told_once_for_all() -> None:
    assert set(OPTION.findall(sections()[COMMON])) >= COMMON_OPTIONS
    for name, command in COMMANDS.items():
        assert options(command) >= COMMON_OPTIONS - {"--yes"}, name
