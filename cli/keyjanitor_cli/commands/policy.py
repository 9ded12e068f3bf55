"""`keyjanitor policy`: finds the mistakes of a policy, and suggests a first one for an account."""

import shlex
from pathlib import Path

import click

from keyjanitor.domain.model.policy_file import parse_policy
from keyjanitor.domain.model.policy_text import decoded
from keyjanitor.errors import PolicyError
from keyjanitor_cli.commands.whatif import FILE, FOLDER, account_of, policy_path
from keyjanitor_cli.errors import DONE, FAILED, NEEDS_PERSON, CommandFailed
from keyjanitor_cli.session import Session, command
from keyjanitor_cli.suggest.in_use import warned_in_use
from keyjanitor_cli.suggest.suggestion import AGGRESSIVE, CAREFUL, suggest
from keyjanitor_cli.suggest.text import toml_of
from keyjanitor_cli.views import mistakes, suggestion
from keyjanitor_cli.whatif.verdicts import ahead, judge

CONTACT = "api-team@example.org"
STDOUT = Path("-")


@click.group("policy")
def policy() -> None:
    """Check a policy.toml, or have a first one suggested."""


@command("check")
@click.argument("file", type=FILE, required=False)
def check(session: Session, file: Path | None) -> int:
    """Show every mistake of FILE (else of policy.toml), each with its line and what is allowed.

    Reads no account. Exit code 1 if there is a mistake.
    """
    path = file or policy_path()
    try:
        content = path.read_bytes()
    except OSError as err:
        raise CommandFailed(f"{path}: cannot be read: {err.strerror}") from None
    try:
        policy = parse_policy(content, str(path))
    except PolicyError as err:
        session.console.show(
            mistakes.wrong(str(path), _text(content), err.mistakes),
            {
                "file": str(path),
                "mistakes": [
                    {"path": one.path, "reason": one.reason, "line": one.line}
                    for one in err.mistakes
                ],
            },
        )
        return FAILED
    tiers = list(policy.tiers)
    only_operators = [name for name, tier in policy.tiers.items() if tier.only_operators_ask]
    session.console.show(
        mistakes.right(str(path), tiers, only_operators),
        {"file": str(path), "mistakes": [], "tiers": tiers, "only_operators": only_operators},
    )
    return DONE


def _text(content: bytes) -> str:
    """The text of the file, of which lines are shown; none of one that is not UTF-8."""
    try:
        return decoded(content)
    except PolicyError:
        return ""


@command("suggest", acts=True)
@click.option(
    "--aggressive",
    is_flag=True,
    help="Lower limits: 35 days, a small margin, 7 + 7 days of notice.",
)
@click.option(
    "--contact", metavar="TEXT", default=CONTACT, show_default=True, help="Who is told of warnings."
)
@click.option(
    "--folder", type=FOLDER, help="An account that `whatif --save` wrote, in place of reading it."
)
@click.option(
    "--out",
    type=FILE,
    default=Path("policy.toml"),
    show_default=True,
    help="Where to write it; - prints it.",
)
def suggest_policy(
    session: Session, *, aggressive: bool, contact: str, folder: Path | None, out: Path
) -> int:
    """Write a first policy.toml for the account, from how its keys were used in 90 days.

    A tier for each usage plan, or for those that are alike. No key that came back within these days
    would have been warned. Shows what the policy would do; changes nothing in the account.
    """
    if out.exists() and not session.console.as_json and out != STDOUT:
        session.confirm(f"Overwrite {out}?")
    account = account_of(session, folder)
    with session.console.waiting("looking for a policy"):
        found = suggest(account, AGGRESSIVE if aggressive else CAREFUL, contact)
        text = toml_of(found)
        suggested = parse_policy(text)
        judged = judge(account, suggested)
        nights = ahead(judged)
        warned = warned_in_use(account, suggested)
    if out == STDOUT:
        click.echo(text, nl=False)
        return NEEDS_PERSON if warned else DONE
    if not session.console.as_json:
        _write(out, text)
    session.console.show(
        suggestion.shown(found, judged, nights, warned, shlex.quote(str(out))),
        suggestion.document(found, judged, nights, warned, text),
    )
    return NEEDS_PERSON if warned else DONE


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as err:
        raise CommandFailed(f"{path}: cannot be written: {err.strerror}") from None


policy.add_command(check)
policy.add_command(suggest_policy)
COMMANDS: tuple[click.Command, ...] = (policy,)
