"""What an operator does to a stack: hold, resume."""

import click

from keyjanitor_cli.aws import Function
from keyjanitor_cli.errors import DONE
from keyjanitor_cli.session import Session, command
from keyjanitor_cli.shapes import Command, Line, Tone


@command("hold", acts=True)
@click.argument("why", nargs=-1, required=True)
def hold(session: Session, why: tuple[str, ...]) -> int:
    """Stop every sweep at once, also one that is at work: WHY is shown to all until `resume`."""
    text = " ".join(why)
    stack = session.stack
    session.confirm(f"Hold all sweeps of {stack.name} in {stack.region}?")
    answer = session.invoke(Function.EXPIRE_KEYS, {"hold": text}, "holding")
    session.console.show(
        [
            Line(f"Sweeps of {stack.name} are on hold: {text}", Tone.GOOD),
            Line("No key is warned, disabled or parked until:"),
            Command("keyjanitor resume"),
        ],
        answer,
    )
    return DONE


@command("resume", acts=True)
def resume(session: Session) -> int:
    """Let sweeps act again after a `hold`."""
    stack = session.stack
    was = session.ledger.hold()
    if was is None:
        session.console.show(
            [Line(f"Sweeps of {stack.name} are not on hold; nothing was done.")], {"held": None}
        )
        return DONE
    session.confirm(f"Let sweeps of {stack.name} act again? They are on hold: {was}")
    answer = session.invoke(Function.EXPIRE_KEYS, {"resume": True}, "resuming")
    session.console.show(
        [Line(f"Sweeps of {stack.name} act again; the hold was: {was}", Tone.GOOD)], answer
    )
    return DONE


COMMANDS: tuple[click.Command, ...] = (hold, resume)
