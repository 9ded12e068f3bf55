"""Shows what a sweep would do tonight: `plan`."""

from pathlib import Path

import click

from keyjanitor_cli.aws import Function
from keyjanitor_cli.errors import DONE, NEEDS_PERSON, CommandFailed
from keyjanitor_cli.session import Session, command
from keyjanitor_cli.shapes import Line, Tone
from keyjanitor_cli.views import plan as shown


@command("plan")
@click.option("--all", "show_all", is_flag=True, help="Every key, not the first of each step.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it to a file: .csv or .json.",
)
def plan(session: Session, *, show_all: bool, out: Path | None) -> int:
    """Show tonight's sweep as it would be: which keys, why, and when; nothing is changed.

    It judges by the latest usage reading.
    """
    answer = session.invoke(
        Function.EXPIRE_KEYS, {"mode": "observe"}, "judging every key by the latest reading"
    )
    if "running" in answer:
        raise CommandFailed(
            f"a sweep is at work until {answer['running']} at the latest", "type it again then"
        )
    lines = session.planned(answer)
    deployed = session.stack.parameters.get("Mode", "observe")
    view = [*shown.view(answer, lines, deployed=deployed, show_all=show_all)]
    if out is not None:
        out.write_text(shown.written(str(out), answer, lines), encoding="utf-8")
        view.append(Line(f"Written to {out}", Tone.QUIET))
    session.console.show(view, shown.document(answer, lines))
    return NEEDS_PERSON if shown.needs_person(answer) else DONE


COMMANDS: tuple[click.Command, ...] = (plan,)
