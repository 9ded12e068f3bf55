"""The command `keyjanitor`, also as `python -m keyjanitor_cli`: reads its arguments and ends with its exit code."""

import os
import sys
from collections.abc import Sequence
from types import TracebackType

import click

from keyjanitor import __version__
from keyjanitor.errors import KeyjanitorError
from keyjanitor_cli.commands import ALL
from keyjanitor_cli.console import Console
from keyjanitor_cli.errors import FAILED, CommandFailed


class InOrder(click.Group):
    """Lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.commands)


@click.group(cls=InOrder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="keyjanitor")
def keyjanitor() -> None:
    """Looks after the API keys of an Amazon API Gateway account.

    Uses your AWS profile and Region. Exit codes: 0 done, 1 refused or failed, 2 wrong use,
    3 something needs a person.
    """


for one in ALL:
    keyjanitor.add_command(one)


def run(given: Sequence[str]) -> int:
    """Does what was typed; gives the exit code."""
    try:
        code = keyjanitor.main(list(given), prog_name="keyjanitor", standalone_mode=False)
    except CommandFailed as err:
        Console().error(err)
        return err.exit_code
    except click.ClickException as err:
        err.show()
        return err.exit_code
    except (click.Abort, KeyboardInterrupt):
        Console().error(CommandFailed("stopped; what a function was asked for, it goes on doing"))
        return FAILED
    except KeyjanitorError as err:
        Console().error(CommandFailed(str(err)))
        return FAILED
    return int(code or 0)


def _unexpected(kind: type[BaseException], _: BaseException, trace: TracebackType | None) -> None:
    """One line in place of a traceback, whose values may be anything."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    at = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "an unknown line"
    Console().error(
        CommandFailed(
            f"a mistake of keyjanitor's own, {kind.__name__} at {at}",
            "report it, please; KEYJANITOR_TRACEBACK=1 shows all of it",
        )
    )


def main() -> None:
    """The entry point of the installed command."""
    if not os.environ.get("KEYJANITOR_TRACEBACK"):
        sys.excepthook = _unexpected
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
