"""Looks at a stack: `status`, and at one key: `key`."""

from datetime import UTC, datetime, timedelta

import click

from keyjanitor.domain.capacity.forecast import DAYS
from keyjanitor_cli.errors import DONE, NEEDS_PERSON
from keyjanitor_cli.session import Session, command
from keyjanitor_cli.views import status as shown

NIGHTS = 14  # that the last sweep is looked for in


@command("status")
def status(session: Session) -> int:
    """Show the account's keys, the last runs, what stops sweeps, problems, and what to type next."""
    now = datetime.now(UTC)
    with session.console.waiting("reading the stack's ledger and files"):
        standing = _standing(session, now)
    session.console.show(shown.view(standing), shown.document(standing))
    return NEEDS_PERSON if shown.troubles(standing) else DONE


def _standing(session: Session, now: datetime) -> shown.Standing:
    stack, ledger, files, today = session.stack, session.ledger, session.files, now.date()
    account, who = session.account.identity()
    nights = ledger.nights(today - timedelta(days=NIGHTS), today)
    braked = bool(nights) and nights[max(nights)].braked
    return shown.Standing(
        now=now,
        account=account,
        who=who,
        region=stack.region,
        stack=stack.name,
        mode=stack.parameters.get("Mode", "observe"),
        version=stack.outputs.get("Version", "unknown"),
        counts=ledger.counts(today - timedelta(days=DAYS), today),
        nights=nights,
        reading=files.newest_reading(today),
        held=ledger.hold(),
        ladder=ledger.pressure_row(),
        unsent=len(ledger.unsent(now)),
        report=files.report(),
        saved=files.saved_plans(max(nights)) if braked else (),
    )


COMMANDS: tuple[click.Command, ...] = (status,)
