"""Shows what a stack wrote elsewhere: `report`, `logs` and `open`."""

import json
import re
import webbrowser
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from keyjanitor_cli.aws import Function, console_url
from keyjanitor_cli.commands.following import looks
from keyjanitor_cli.errors import DONE, CommandFailed, WrongUse
from keyjanitor_cli.session import Session, command
from keyjanitor_cli.shapes import Command, Line, Tone, View
from keyjanitor_cli.views import logs as shown

FUNCTIONS = {function.word: function for function in Function}
UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@command("report")
@click.option("--now", is_flag=True, help="Make a new one first; it reads the account.")
@click.option("--open", "opens", is_flag=True, help="Open it in the browser.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Where to write the page, else keyjanitor-report-DATE.html; .json: its numbers.",
)
def report(session: Session, *, now: bool, opens: bool, out: Path | None) -> int:
    """Fetch the latest report, a page that needs no network."""
    if now:
        session.invoke(Function.PUBLISH_REPORT, {}, "reading the account and making the report")
    numbers, page = session.files.report(), session.files.report_page()
    if numbers is None or page is None:
        raise CommandFailed("there is no report yet", "keyjanitor report --now makes one")
    path = out or Path(f"keyjanitor-report-{numbers['date']}.html")
    is_json = path.suffix.lower() == ".json"
    path.write_bytes(json.dumps(numbers).encode() if is_json else page)
    if opens:
        webbrowser.open(path.resolve().as_uri())
    session.console.show(
        [
            Line(
                f"The report of {numbers['date']}: {numbers['capacity']['keys']:,} keys, "
                f"{len(numbers['findings'])} problems. Written to {path}",
                Tone.GOOD,
            )
        ],
        {"date": numbers["date"], "file": str(path), "problems": len(numbers["findings"])},
    )
    return DONE


@command("logs")
@click.argument("function", type=click.Choice(list(FUNCTIONS)), default="expire_keys")
@click.option(
    "--since", default="1d", metavar="AGE", help="How far back: 30m, 6h, 2d (default 1d)."
)
@click.option("--all", "show_all", is_flag=True, help="Every line, not errors and warnings alone.")
@click.option("--follow", is_flag=True, help="Go on with what is logged from now on.")
def logs(session: Session, function: str, since: str, *, show_all: bool, follow: bool) -> int:
    """Show the errors and warnings of a function's log, without metrics and tracebacks."""
    found = re.fullmatch(r"(\d{1,4})([mhd])", since)
    if found is None:
        raise WrongUse(f"--since {since} is no age", "such as 30m, 6h or 2d")
    if follow and session.console.as_json:
        raise WrongUse("--follow has no end, so it has no JSON document")
    age = timedelta(**{UNITS[found[2]]: int(found[1])})
    group = session.account.log_group(session.stack, FUNCTIONS[function])
    seen: set[tuple[datetime, str]] = set()
    with session.console.waiting(f"reading {group}"):
        logged = session.account.logged(group, datetime.now(UTC) - age)
        told = list(shown.lines(shown.once(logged, seen), show_all=show_all))
    document = {
        "log_group": group,
        "lines": [
            {"time": f"{at:%Y-%m-%dT%H:%M:%SZ}", "level": level, "text": text}
            for at, level, text in told
        ],
    }
    nothing: View = [Line(f"{function} logged no error and no warning in {since}.", Tone.GOOD)]
    session.console.show(shown.view(told) or nothing, document)
    for then in looks() if follow else ():
        logged = session.account.logged(group, then)
        told = list(shown.lines(shown.once(logged, seen), show_all=show_all))
        session.console.show(shown.view(told), {})
        seen = {one for one in seen if one[0] >= then}
    return DONE


@command("open")
@click.argument("what", type=click.Choice(["dashboard", "stack", "report"]))
@click.option("--print", "prints", is_flag=True, help="Print the address, and open nothing.")
def open_(session: Session, what: str, *, prints: bool) -> int:
    """Open the stack's dashboard, the stack, or the bucket's latest report in the AWS console."""
    url = console_url(session.stack, what)
    opened = not prints and webbrowser.open(url)
    view: View = [Line("Opened in the browser:" if opened else "Its address:"), Command(url)]
    session.console.show(view, {"url": url, "opened": opened})
    return DONE


COMMANDS: tuple[click.Command, ...] = (report, logs, open_)
