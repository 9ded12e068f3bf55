"""Shows what a sweep would do tonight: `plan`, by the night's reading or by one of now."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from keyjanitor.adapters.system_clock import now
from keyjanitor_cli.aws import Function
from keyjanitor_cli.commands.whatif import FILE, policy_in, policy_path
from keyjanitor_cli.errors import DONE, NEEDS_PERSON, CommandFailed, WrongUse
from keyjanitor_cli.session import Session, command
from keyjanitor_cli.shapes import Line, Tone, View
from keyjanitor_cli.tonight import live_plan
from keyjanitor_cli.views import plan as shown

Lines = Sequence[Mapping[str, Any]]  # of a keys file


@command("plan")
@click.option("--all", "show_all", is_flag=True, help="Every key, not the first of each step.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it to a file: .csv or .json.",
)
@click.option("--live", is_flag=True, help="Read the account now, in place of the night's reading.")
@click.option("--policy", type=FILE, help="With --live: the policy to judge by (else policy.toml).")
def plan(
    session: Session, *, show_all: bool, out: Path | None, live: bool, policy: Path | None
) -> int:
    """Show tonight's sweep as it would be: which keys, why, and when; nothing is changed.

    It judges by the latest usage reading, and with --live by one of now, made with your own reading
    rights: nothing is written, and no sweep believes it.
    """
    if policy is not None and not live:
        raise WrongUse("--policy goes with --live; else the stack's own policy judges")
    if live:
        answer, lines, said = _live(session, policy or policy_path())
    else:
        answer, lines = _of_the_night(session)
        said = []
    deployed = session.stack.parameters.get("Mode", "observe")
    view = [*shown.view(answer, lines, deployed=deployed, show_all=show_all), *said]
    if out is not None:
        try:
            out.write_text(shown.written(str(out), answer, lines), encoding="utf-8")
        except OSError as err:
            raise CommandFailed(f"{out}: cannot be written: {err.strerror}") from None
        view.append(Line(f"Written to {out}", Tone.QUIET))
    session.console.show(view, shown.document(answer, lines))
    return NEEDS_PERSON if shown.needs_person(answer) else DONE


def _live(session: Session, policy: Path) -> tuple[Mapping[str, Any], Lines, View]:
    """The plan by a reading of now, and what is to be said of it."""
    judged_by = policy_in(policy)
    with session.console.waiting("reading the account") as say:
        read = live_plan(session, judged_by, now(), say)
    answer = {
        **read.answer,
        "live": {
            "policy": str(policy),
            "goes_on_from": str(read.since) if read.since else None,
            "cut_off": list(read.cut_off),
        },
    }
    return answer, read.lines, shown.said_of_live(str(policy), read.since, read.cut_off)


def _of_the_night(session: Session) -> tuple[Mapping[str, Any], Lines]:
    """The plan as expire_keys tells it, by the latest usage reading."""
    answer = session.invoke(
        Function.EXPIRE_KEYS, {"mode": "observe"}, "judging every key by the latest reading"
    )
    if "running" in answer:
        raise CommandFailed(
            f"a sweep is at work until {answer['running']} at the latest", "type it again then"
        )
    return answer, session.planned(answer)


COMMANDS: tuple[click.Command, ...] = (plan,)
