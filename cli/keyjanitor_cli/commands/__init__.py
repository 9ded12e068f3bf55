"""The commands, one module a group of them; `ALL` lists them in the order in which help shows them."""

import click

from keyjanitor_cli.commands import (
    asking,
    looking,
    operating,
    planning,
    policy,
    preflight,
    showing,
    whatif,
)

ALL: tuple[click.Command, ...] = (
    *looking.COMMANDS,
    *planning.COMMANDS,
    *operating.COMMANDS,
    *asking.COMMANDS,
    *showing.COMMANDS,
    *whatif.COMMANDS,
    *policy.COMMANDS,
    *preflight.COMMANDS,
)
