"""What an operator does to a stack: read, sweep, hold, resume, approve, undo."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import click

from keyjanitor_cli.aws import Function
from keyjanitor_cli.errors import DONE, NEEDS_PERSON, CommandFailed, WrongUse
from keyjanitor_cli.files import keys_name
from keyjanitor_cli.session import Session, command
from keyjanitor_cli.shapes import Command, Line, Tone
from keyjanitor_cli.views import acts, plan

DAY = click.DateTime(["%Y-%m-%d"])


@command("hold", acts=True)
@click.argument("why", nargs=-1, required=True)
def hold(session: Session, why: tuple[str, ...]) -> int:
    """Stop every sweep at once, also one that is at work.

    WHY is shown to all until `resume`.
    """
    text = " ".join(why)
    if text.lower() == "why":
        raise WrongUse("say why sweeps are on hold: alerts and `status` show it to others")
    stack = session.stack
    session.confirm(f"Hold all sweeps of {stack.name} in {stack.region}?")
    answer = session.invoke(Function.EXPIRE_KEYS, {"hold": text}, "holding")
    session.console.show(
        [
            Line(f"Sweeps of {stack.name} are on hold: {text}", Tone.GOOD),
            Line("No key is warned, disabled or parked until you type:"),
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


@command("approve", acts=True)
@click.argument("digest")
def approve(session: Session, digest: str) -> int:
    """Carry out a plan that the safety brake or the allowance kept back.

    DIGEST is in the alert, in `status` and in `plan`. It holds for today, until 24:00 UTC.
    """
    saved = session.files.saved_plan(digest)
    if saved is None:
        raise CommandFailed(
            f"no plan was saved under {digest!r}",
            "keyjanitor status names the plans that wait for an approval",
        )
    session.confirm(acts.approval_question(saved))
    answer = session.invoke(Function.EXPIRE_KEYS, {"approve": digest}, "carrying the plan out")
    session.console.show(acts.done(answer, _names(session, answer)), answer)
    return NEEDS_PERSON if acts.needs_person(answer) else DONE


@command("undo", acts=True)
@click.argument("day", type=DAY, metavar="DATE")
@click.argument("keys", nargs=-1, metavar="[KEY]...")
def undo(session: Session, day: datetime, keys: tuple[str, ...]) -> int:
    """Take back what the sweeps of DATE disabled and parked for idleness.

    KEY names ids of some of them; without any it is all, but for keys whose agreed end had come.
    """
    on = day.date()
    if session.stack.parameters.get("Mode") == "observe":
        raise CommandFailed(
            "the stack is deployed with Mode=observe, so its functions change no key",
            "deploy it with Mode=disable or Mode=park, then type it again",
        )
    rows = [*session.ledger.live_rows().values(), *session.ledger.parked_on_sweep(on)]
    ahead = acts.undo_of(on, rows, keys)
    if not ahead.keys:
        session.console.show(
            acts.nothing_to_undo(ahead),
            {"undo": str(on), "keys": 0, "left_out": [row.key_id for row in ahead.left_out]},
        )
        return NEEDS_PERSON if ahead.left_out or ahead.unknown else DONE
    session.confirm(ahead.question)
    event: dict[str, Any] = {"undo": str(on)} | ({"key_ids": sorted(keys)} if keys else {})
    answer = session.invoke(Function.EXPIRE_KEYS, event, f"bringing {ahead.keys:,} keys back")
    view = acts.done(answer, _names(session, answer, on), undone=on)
    session.console.show(view, answer)
    return NEEDS_PERSON if acts.needs_person(answer) else DONE


@command("sweep", acts=True)
def sweep(session: Session) -> int:
    """Sweep now, as the next night would, after a look at what it would do.

    With --yes it does not look first.
    """
    mode = session.stack.parameters.get("Mode", "observe")
    if mode == "observe":
        raise CommandFailed(
            "the stack is deployed with Mode=observe, so a sweep does nothing",
            "keyjanitor plan shows what it would do",
        )
    if not session.yes:
        ahead = session.invoke(Function.EXPIRE_KEYS, {"mode": "observe"}, "looking at what is due")
        lines = session.planned(ahead)
        numbers: dict[str, int] = {}
        for one in plan.steps(lines):
            if not one["done"] and (one["step"] != "park" or mode == "park"):
                numbers[one["step"]] = numbers.get(one["step"], 0) + 1
        session.confirm(acts.sweep_question(numbers))
    answer = session.invoke(Function.EXPIRE_KEYS, {}, "sweeping")
    session.console.show(acts.done(answer, _names(session, answer)), answer)
    return NEEDS_PERSON if acts.needs_person(answer) else DONE


@command("read")
def read(session: Session) -> int:
    """Read today's usage now, if the night's reading failed; it changes no key."""
    answer = session.invoke(Function.PULL_USAGE, {}, "reading usage plans, keys and usage")
    session.console.show(acts.read(answer), answer)
    return NEEDS_PERSON if "unfinished" in answer else DONE


def _names(session: Session, answer: Mapping[str, Any], day: date | None = None) -> dict[str, str]:
    """The names of keys to which something was done, by the keys file of the answer or of a date."""
    if not answer.get("did") or session.console.as_json:
        return {}
    name = keys_name(day) if day else answer.get("keys_file")
    lines = session.files.keys(name) if name else []
    return {line["key_id"]: line.get("name") or "" for line in lines}


COMMANDS: tuple[click.Command, ...] = (approve, hold, resume, undo, sweep, read)
