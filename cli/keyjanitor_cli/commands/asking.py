"""Requests as an operator, with their answers, and what was answered to all: issue, rotate, renew ..."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import click

from keyjanitor.adapters.kms import delivery_context
from keyjanitor.domain.model.keys import Secret
from keyjanitor.domain.model.records import Row
from keyjanitor.domain.requests import body as contract
from keyjanitor.domain.requests.key_request import OPERATOR
from keyjanitor.errors import AccessDenied, CallFailed, InvalidRequest, NotARequest
from keyjanitor_cli.aws import Function
from keyjanitor_cli.commands.following import looks
from keyjanitor_cli.errors import DONE, FAILED, NEEDS_PERSON, CommandFailed, WrongUse
from keyjanitor_cli.session import Session, command
from keyjanitor_cli.shapes import Line, Tone
from keyjanitor_cli.views import requests as shown
from keyjanitor_cli.views.requests import Answer

DAY = click.DateTime(["%Y-%m-%d"])
WAITED = timedelta(
    minutes=10
)  # that --wait asks again for: longer than a run that died holds a request
PAUSE = 10  # seconds between two tries

Action = Callable[..., int]


def _asking(function: Action) -> Action:
    """The options of every request."""
    for option in (
        click.option("--reason", metavar="TEXT", help="Why, for those who read the audit trail."),
        click.option("--request-id", metavar="ID", help="The id of a request to repeat."),
        click.option("--wait", is_flag=True, help="Ask again, for 10 minutes, until it is done."),
    ):
        function = option(function)
    return function


def _delivering(function: Action) -> Action:
    """The option of those that make a key."""
    file = click.Path(dir_okay=False, path_type=Path)
    return click.option(
        "--value-to",
        metavar="FILE",
        type=file,
        help="Write the value of the new key to a file that only you can read, and show it nowhere.",
    )(function)


@command("issue", acts=True)
@click.option("--tier", required=True, help="A tier of policy.toml.")
@click.option("--owner", required=True, help="Who will hold the key; an opaque id is best.")
@click.option("--name", required=True, help="What the owner calls the key.")
@click.option("--deliver-to", metavar="ARN", required=True, help="Who may open the value.")
@click.option("--expires-on", metavar="DATE", type=DAY, help="The key is disabled on this date.")
@_delivering
@_asking
def issue(session: Session, **given: Any) -> int:
    """Make a new key in a tier, for an owner.

    Its value is sealed for the role or user of --deliver-to. If that is you, it is shown here once.
    """
    return _ask(session, "issue", **given)


@command("rotate", acts=True)
@click.argument("key_id", metavar="KEY")
@click.option("--overlap-days", type=int, help="For how many days both keys open the API: 7.")
@_delivering
@_asking
def rotate(session: Session, **given: Any) -> int:
    """Make a new key like KEY, which ends after an overlap."""
    return _ask(session, "rotate", **given)


@command("renew", acts=True)
@click.argument("key_id", metavar="KEY")
@_asking
def renew(session: Session, **given: Any) -> int:
    """Start the idle time of KEY again; one that a sweep disabled is enabled."""
    return _ask(session, "renew", **given)


@command("revoke", acts=True)
@click.argument("key_id", metavar="KEY")
@_asking
def revoke(session: Session, **given: Any) -> int:
    """Delete KEY at once and for good, also a parked one."""
    return _ask(session, "revoke", **given)


@command("restore", acts=True)
@click.argument("key_id", metavar="KEY")
@_asking
def restore(session: Session, **given: Any) -> int:
    """Bring the parked KEY back, with the same value and a new id."""
    return _ask(session, "restore", **given)


@command("protect", acts=True)
@click.argument("key_id", metavar="KEY")
@click.option("--until", metavar="DATE", type=DAY, required=True, help="The last day of it.")
@_asking
def protect(session: Session, **given: Any) -> int:
    """Keep KEY from sweeps, rotate and revoke until a date."""
    return _ask(session, "protect", **given)


@command("release", acts=True)
@click.argument("key_id", metavar="KEY")
@_asking
def release(session: Session, **given: Any) -> int:
    """End the protection that a request gave KEY."""
    return _ask(session, "release", **given)


@command("assign", acts=True)
@click.argument("key_id", metavar="KEY")
@click.option("--owner", required=True, help="Who will hold the key; an opaque id is best.")
@click.option("--name", help="What the owner calls the key.")
@click.option("--deliver-to", metavar="ARN", help="Who may open the value after a rotation.")
@_asking
def assign(session: Session, **given: Any) -> int:
    """Say who KEY belongs to from now on, whatever a rule of [[owners]] finds."""
    return _ask(session, "assign", **given)


# --- asking -----------------------------------------------------------------------------------------


def _ask(
    session: Session, action: str, *, wait: bool, value_to: Path | None = None, **given: Any
) -> int:
    """Sends one request as an operator, and shows what became of it."""
    body = _body(action, given)
    if value_to is not None and (value_to.exists() or not value_to.absolute().parent.is_dir()):
        raise WrongUse(f"{value_to} is there already, or its folder is not", "name a new file")
    row = _row(session, body.get("key_id"))
    session.confirm(shown.question(body, row))
    session.console.note(f"request id {body['request_id']}")
    answer, document = _answered(session, body, wait=wait)
    if answer.is_deferred:
        session.console.show(shown.view(answer, body), document)
        return NEEDS_PERSON
    opened, blocks = _opened(session, answer, value_to)
    session.console.show([*shown.view(answer, body), *blocks], document)
    if opened is not None:
        session.console.reveal(opened)
    return FAILED if answer.is_refused else DONE


def _body(action: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The request; raises WrongUse if it does not fit the contract, and repeats no value then."""
    request_id = given.get("request_id") or f"operator-{uuid4()}"
    fields = {
        name: f"{value:%Y-%m-%d}" if isinstance(value, date) else value
        for name, value in given.items()
        if value is not None
    }
    body = {"version": 1, "action": action, **fields, "request_id": request_id}
    try:
        contract.check(contract.read(json.dumps(body)), OPERATOR, datetime.now(UTC).date())
    except (InvalidRequest, NotARequest) as err:
        raise WrongUse(str(err)) from None
    return body


def _row(session: Session, key_id: str | None) -> Row | None:
    """The key's row, to name it in the question; None if it cannot be read: the function decides."""
    if key_id is None or session.yes:
        return None
    try:
        return session.ledger.row_of_any(key_id)
    except (AccessDenied, CallFailed):
        return None


def _answered(
    session: Session, body: Mapping[str, Any], *, wait: bool
) -> tuple[Answer, dict[str, Any]]:
    """What became of a request; with `wait` it is sent again for as long as it is deferred."""
    last = datetime.now(UTC) + WAITED
    while True:
        try:
            told = session.invoke(Function.PROVISION_KEYS, {OPERATOR: [body]}, body["action"])
        except CommandFailed as err:
            again = f"it may be sent again, with one effect: {shown.typed(body)}"
            raise CommandFailed(err.what, *err.then, again, exit_code=err.exit_code) from None
        answer = Answer.of(body["request_id"], told)
        if not answer.is_deferred or not wait or datetime.now(UTC) > last:
            return answer, told
        with session.console.waiting(f"not done yet: {answer.reason}"):
            time.sleep(PAUSE)


def _opened(
    session: Session, answer: Answer, value_to: Path | None
) -> tuple[Secret | None, list[Any]]:
    """The value of a new key to show, and what to say of it. It is opened only for a person or a file."""
    if not answer.is_sealed:
        return None, []
    if value_to is None and not session.console.can_reveal:
        why = "there is no terminal to show it on; --value-to FILE writes it to a file"
        return None, shown.sealed(answer, why)
    recipient = answer.detail["encryption_context"]["recipient"]
    context = delivery_context(recipient, answer.request_id)
    try:
        value = session.sealer.open(answer.detail["sealed_value"], context)
    except AccessDenied:
        return None, shown.sealed(answer, "you are not that role or user")
    except CallFailed as err:
        return None, shown.sealed(answer, str(err))
    if value_to is None:
        return value, [Line("Its value, shown this once:")]
    session.console.write_value(value, value_to)
    return None, [Line(f"Its value is in {value_to}, which only you can read.", Tone.GOOD)]


# --- what was answered ------------------------------------------------------------------------------


@command("answers")
@click.option("--request", "request_id", metavar="ID", help="Of one request.")
@click.option("--hours", type=click.IntRange(1, 400 * 24), default=24, help="How far back: 24.")
@click.option("--follow", is_flag=True, help="Go on with what is answered from now on.")
def answers(session: Session, request_id: str | None, hours: int, *, follow: bool) -> int:
    """Show what was answered to requests, by the queue and by operators, from the audit log."""
    if follow and session.console.as_json:
        raise WrongUse("--follow has no end, so it has no JSON document")
    since = datetime.now(UTC) - timedelta(hours=hours)
    seen: set[str] = set()
    with session.console.waiting("reading the audit log"):
        found = list(_events(session, since, request_id, seen))
    session.console.show(shown.listed(found), {"answers": found})
    for since in looks() if follow else ():
        for event in _events(session, since, request_id, seen):
            session.console.show([shown.line(event)], {})
    return DONE


def _events(
    session: Session, since: datetime, request_id: str | None, seen: set[str]
) -> Iterator[dict[str, Any]]:
    """The events that answer requests, each once: the bus may write one twice."""
    group = session.stack.output("AuditLogGroupName")
    for _, message in session.account.logged(group, since, '"request_id"'):
        try:
            event = json.loads(message)
            detail = event["detail"]
            asked = detail.get("request_id", "")
            is_one = "detail-type" in event and "request_id" in detail
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # a line of others
        if is_one and event.get("id") not in seen and request_id in (None, asked):
            seen.add(event.get("id"))
            yield event


COMMANDS: tuple[click.Command, ...] = (
    issue,
    rotate,
    renew,
    revoke,
    restore,
    protect,
    release,
    assign,
    answers,
)
