"""`keyjanitor preflight`: asks an account what keyjanitor believes, before anything is deployed."""

import json
import secrets
from pathlib import Path

import click

from keyjanitor import __version__
from keyjanitor.adapters.system_clock import now
from keyjanitor.domain.model.key_values import new_value
from keyjanitor_cli.errors import DONE, NEEDS_PERSON, CommandFailed
from keyjanitor_cli.preflight.document import document
from keyjanitor_cli.preflight.gather import gather
from keyjanitor_cli.preflight.judging import STACK, judge
from keyjanitor_cli.preflight.rights import policy
from keyjanitor_cli.preflight.trying import MARKER, MOST_WRITES, Tried, attempt
from keyjanitor_cli.session import SDK, Session, command
from keyjanitor_cli.views import preflight as shown

OUT = Path("preflight.json")


@command("preflight", acts=True)
@click.option("--policy", "policy_only", is_flag=True, help="Print the policy it needs, and end.")
@click.option(
    "--write",
    is_flag=True,
    help="Also make two keys and a usage plan, look at them and delete them. Asks first.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=OUT,
    show_default=True,
    help="Where to write what was found, for an issue.",
)
def preflight(session: Session, *, policy_only: bool, write: bool, out: Path) -> int:
    """Ask your account what keyjanitor believes about AWS, and look at the ground.

    Makes at most 60 calls, 2 a second, with your own reading rights, and changes nothing unless
    --write is given. Shows what AWS said, what is believed, whether it is the same, and what follows.
    No key's value is asked for.
    """
    account = session.account
    if policy_only:
        named = session.stack_name or STACK
        click.echo(policy(account.partition, account.region, named, writing=write), nl=False)
        return DONE
    today = now().date()
    with session.console.waiting("asking AWS") as say:
        probe = session.probe(say)
        seen = gather(probe, today, account.region, account.partition, SDK, session.stack_name)
    number = str(seen.identity.body.get("Account", "not known"))
    tried, made = _tried(session, number) if write else (None, 0)
    found = judge(seen, probe.made + made, tried)
    told = document(found, __version__, str(today), SDK)
    try:
        out.write_text(json.dumps(told, indent=2) + "\n", "utf-8")
    except OSError as err:
        raise CommandFailed(f"{out}: cannot be written: {err.strerror}") from None
    session.console.show(shown.view(found, str(out)), told)
    return NEEDS_PERSON if found.needs_person else DONE


def _tried(session: Session, account: str) -> tuple[Tried, int]:
    """What was made, looked at and deleted, and in how many calls; raises CommandFailed if the person does not agree."""
    marker = f"{MARKER}{secrets.token_hex(4)}"
    session.confirm(
        f"Make two disabled keys and a usage plan without stages, all called {marker}, in account "
        f"{account}, {session.account.region}, and delete them at once?"
    )
    session.console.note(f"If this is cut off, delete what is called {marker}.")
    with session.console.waiting("trying") as say:
        probe = session.probe(say, MOST_WRITES)
        return attempt(probe, marker, new_value(), now().date()), probe.made


COMMANDS: tuple[click.Command, ...] = (preflight,)
