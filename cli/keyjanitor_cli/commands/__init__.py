"""The commands, one module a group of them; `ALL` lists them in the order in which help shows them."""

import click

from keyjanitor_cli.commands import operating

ALL: tuple[click.Command, ...] = (*operating.COMMANDS,)
