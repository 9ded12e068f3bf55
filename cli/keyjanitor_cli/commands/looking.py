"""Looks at a stack: `status`, and at one key: `key`."""

from datetime import UTC, date, datetime, time, timedelta

import click

from keyjanitor.domain.capacity.forecast import DAYS
from keyjanitor.domain.model.keys import Secret
from keyjanitor.domain.model.records import Row
from keyjanitor.domain.usage.summary import USE_DAYS, Use
from keyjanitor_cli.errors import DONE, NEEDS_PERSON, WRONG_USE, CommandFailed, WrongUse
from keyjanitor_cli.session import Session, command
from keyjanitor_cli.views import key as shown_key
from keyjanitor_cli.views import status as shown

NIGHTS = 14  # that the last sweep is looked for in
EVENT_DAYS = 400  # that the audit log keeps events
MATCHES = 40  # keys that are named if several fit


@command("status")
def status(session: Session) -> int:
    """Show the account's keys, the last runs, what stops sweeps, problems, and what to type next."""
    now = datetime.now(UTC)
    with session.console.waiting("reading the stack's ledger and files"):
        standing = _standing(session, now)
    session.console.show(shown.view(standing), shown.document(standing))
    return NEEDS_PERSON if shown.problems(standing) else DONE


def _standing(session: Session, now: datetime) -> shown.Standing:
    stack, ledger, files, today = session.stack, session.ledger, session.files, now.date()
    account, who = session.account.identity()
    nights = ledger.nights(today - timedelta(days=NIGHTS), today)
    braked = bool(nights) and nights[max(nights)].braked
    alarms, unread = _alarms(session)
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
        pressure_row=ledger.pressure_row(),
        unsent=len(ledger.unsent(now)),
        report=files.report(),
        saved=files.saved_plans(max(nights)) if braked else (),
        alarms=alarms,
        alarms_unread=unread,
    )


def _alarms(session: Session) -> tuple[list[shown.Problem] | None, str]:
    """The stack's alarms that are on; None and why they are not known."""
    stack = session.stack
    try:
        return shown.alarms_of(session.account.alarms(stack), stack.name, stack.region), ""
    except CommandFailed as err:
        return None, err.what


@command("key")
@click.argument("wanted", required=False, metavar="KEY_OR_NAME_OR_PREFIX")
@click.option("--value", "by_value", is_flag=True, help="Ask for the key's value, hidden.")
def key(session: Session, wanted: str | None, *, by_value: bool) -> int:
    """Show one key: whether it works, who has it, its use of 30 days, what happens next, its events.

    It is found by its id, also one that it had before, by its name, or by how one of them begins. With
    --value it is found by its value, which is asked for at the terminal: never type one as an argument.
    """
    if by_value == (wanted is not None):
        raise WrongUse("name a key, or ask by its value with --value", "keyjanitor key a1b2c3d4e5")
    if wanted is not None and shown_key.may_be_a_value(wanted):
        raise WrongUse(
            "this may be a key's value, and what is typed on a command line stays in its history",
            "keyjanitor key --value asks for it, hidden",
            "if it was a value, treat it as leaked: rotate the key",
        )
    today = datetime.now(UTC).date()
    if wanted is None:
        value = Secret(session.console.hidden("value of the key"))
        with session.console.waiting("comparing it with every key's"):
            found_id = session.gateway.key_of_value(value)
        if found_id is None:
            raise CommandFailed(
                "no key of this account and Region has that value",
                "one that was parked or revoked cannot be found by its value",
            )
        matches = [(found_id, "", "")]
    else:
        with session.console.waiting("looking for it"):
            matches = _matches(session, wanted, today)
    if not matches:
        raise CommandFailed(
            f"no key has the id or the name {wanted!r}, nor one that begins so",
            "is it the right --region and --profile?",
        )
    if len(matches) > 1:
        found = [
            {"key_id": key_id, "name": name, "owner": owner} for key_id, name, owner in matches
        ]
        session.console.show(shown_key.several(matches[:MATCHES]), {"several": found})
        return WRONG_USE
    with session.console.waiting("reading its use and its events"):
        seen = _seen(session, matches[0][0], today)
    session.console.show(shown_key.view(seen), shown_key.document(seen))
    return DONE


def _matches(session: Session, wanted: str, today: date) -> list[tuple[str, str, str]]:
    """The keys that fit: the one with this id, else those whose name or id begins so."""
    row = session.ledger.row_of_any(wanted)
    if row is not None:
        return [(row.key_id, row.name, row.owner or "")]
    if session.gateway.key(wanted) is not None:
        return [(wanted, "", "")]
    found = {one.key_id: (one.key_id, one.name, "") for one in session.gateway.keys_named(wanted)}
    _, lines = session.files.latest_keys(today)
    for line in lines:
        name = line.get("name") or ""
        if line["key_id"].startswith(wanted) or name.startswith(wanted):
            found[line["key_id"]] = (line["key_id"], name, line.get("owner") or "")
    exact = [one for one in found.values() if one[1] == wanted]
    return exact if len(exact) == 1 else sorted(found.values(), key=lambda one: (one[1], one[0]))


def _seen(session: Session, key_id: str, today: date) -> shown_key.Seen:
    row = session.ledger.row_of_any(key_id)
    key_id = row.key_id if row is not None else key_id
    found = session.gateway.key(key_id)
    line_of, lines = session.files.latest_keys(today)
    line = next((one for one in lines if one["key_id"] == key_id), {})
    days = [today - timedelta(days=back) for back in range(USE_DAYS, 0, -1)]
    plans = session.gateway.plans_of(key_id) if found else {}
    use = Use(days)
    for day, rows in session.files.usage(days).items():
        use.add(day, rows)
    events, unread = _events(session, row, key_id, today)
    return shown_key.Seen(
        key_id=key_id,
        today=today,
        key=found,
        row=row,
        line=line,
        line_of=line_of,
        plans=plans,
        days=days,
        use=use.by_day([key_id], frozenset(plans)),
        events=events,
        events_unread=unread,
        held=session.ledger.hold(),
        mode=session.stack.parameters.get("Mode", "observe"),
    )


def _events(
    session: Session, row: Row | None, key_id: str, today: date
) -> tuple[list[shown_key.Event] | None, str]:
    """What was announced of a key under all of its ids, from the audit log; None and why it is not known."""
    group = session.stack.output("AuditLogGroupName")
    ids = [key_id, *(row.previous_key_ids if row else ())]
    since = datetime.combine(today - timedelta(days=EVENT_DAYS), time(), UTC)
    pattern = " ".join(f'?"{one}"' for one in ids)
    try:
        logged = list(session.account.logged(group, since, pattern))
    except CommandFailed as err:
        return None, err.what
    return shown_key.events_of((message for _, message in logged), frozenset(ids)), ""


COMMANDS: tuple[click.Command, ...] = (status, key)
