"""The commands, one module a group of them; `ALL` lists them in the order in which help shows them."""

import click

from keyjanitor_cli.commands import operating, planning

ALL: tuple[click.Command, ...] = (
    *planning.COMMANDS,
    *operating.COMMANDS,
)
