"""`keyjanitor preflight`: asks an account what keyjanitor believes, before anything is deployed."""

import json
from pathlib import Path

import click

from keyjanitor import __version__
from keyjanitor.adapters.system_clock import now
from keyjanitor_cli.errors import DONE, NEEDS_PERSON, CommandFailed
from keyjanitor_cli.preflight.document import document
from keyjanitor_cli.preflight.gather import gather
from keyjanitor_cli.preflight.judging import STACK, judge
from keyjanitor_cli.preflight.rights import policy
from keyjanitor_cli.session import SDK, Session, command
from keyjanitor_cli.views import preflight as shown

OUT = Path("preflight.json")


@command("preflight")
@click.option("--policy", "policy_only", is_flag=True, help="Print the policy it needs, and end.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=OUT,
    show_default=True,
    help="Where to write what was found, for an issue.",
)
def preflight(session: Session, *, policy_only: bool, out: Path) -> int:
    """Ask your account what keyjanitor believes about AWS, and look at the ground. Changes nothing.

    Makes at most 60 calls, 2 a second, with your own reading rights. Shows what AWS said, what is
    believed, whether it is the same, and what follows. No key's value is asked for.
    """
    account = session.account
    if policy_only:
        named = session.stack_name or STACK
        click.echo(policy(account.partition, account.region, named), nl=False)
        return DONE
    today = now().date()
    with session.console.waiting("asking AWS") as say:
        probe = session.probe(say)
        seen = gather(probe, today, account.region, account.partition, SDK, session.stack_name)
    found = judge(seen, probe.made)
    told = document(found, __version__, str(today), SDK)
    try:
        out.write_text(json.dumps(told, indent=2) + "\n", "utf-8")
    except OSError as err:
        raise CommandFailed(f"{out}: cannot be written: {err.strerror}") from None
    session.console.show(shown.view(found, str(out)), told)
    return NEEDS_PERSON if found.needs_person else DONE


COMMANDS: tuple[click.Command, ...] = (preflight,)
