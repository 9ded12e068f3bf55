"""Tonight's sweep by a reading of now: `plan --live`. It reads as the person, and writes nothing anywhere.

The reading goes on from the last night's, as tonight's would. It is kept in memory alone, so no sweep
ever believes it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from keyjanitor.domain.expiry.keys_file import key_lines, with_parked
from keyjanitor.domain.expiry.notice import digest_days, untold
from keyjanitor.domain.expiry.pressure import freed_by_pressure
from keyjanitor.domain.expiry.response import answer
from keyjanitor.domain.expiry.safety_brake import compare
from keyjanitor.domain.expiry.sweep_input import NOT_SWEPT, SweepInput
from keyjanitor.domain.expiry.sweep_plan import SweepPlan
from keyjanitor.domain.expiry.verdicts import decide
from keyjanitor.domain.model.invocation import SweepInvocation
from keyjanitor.domain.model.keys import DAY, Mode, SweepAction
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.records import Row
from keyjanitor.domain.model.shelf import Shelf
from keyjanitor.domain.usage.evidence import Evidence
from keyjanitor.errors import EmptyListing
from keyjanitor_cli.files import keys_name
from keyjanitor_cli.session import Session
from keyjanitor_cli.whatif.account import Account, read_account
from keyjanitor_cli.whatif.live import read_live


@dataclass(frozen=True, slots=True)
class LivePlan:
    """What a sweep of now would answer, and the lines of its keys file.

    `cut_off` are the keys whose step a run that died has begun: they are not judged here.
    """

    answer: Mapping[str, Any]
    lines: list[Mapping[str, Any]]
    cut_off: tuple[str, ...]
    since: date | None  # the night whose reading this one goes on from


def live_plan(
    session: Session, policy: Policy, now: datetime, say: Callable[[str], None]
) -> LivePlan:
    """Reads the account, the ledger and the last nights' files, and judges every key.

    `say` is told how far it is. Raises EmptyListing if no key or no plan is listed where some are
    known, and what the reads raise.
    """
    today, ledger = now.date(), session.ledger
    say("reading the ledger")
    before = session.files.reading_before(today)
    # The rows first, as in a sweep: a key that is revoked in between is not taken for a new one.
    rows = ledger.live_rows()
    reading = read_live(session.gateway.calls, session.ownership, today, say)
    account = read_account(reading, before)
    _check_whole(account, rows, before)
    say("judging every key")
    shelf = ledger.parked_keys(today)
    night, cut_off = _night(session, account, rows, shelf)
    bound = policy.bind(account.evidence.plan_names())
    plan = decide(night, bound)
    comparison = compare(
        plan, account.evidence, policy, night.rows, session.files.compared_before(today)
    )
    plan = _as_approved(session, plan)
    lines = session.files.keys(keys_name(today)) if shelf.stepped[SweepAction.PARK] else []
    parked = [line for line in lines if line["key_id"] in shelf.parked_ids]
    told = answer(
        SweepInvocation(now, Mode.OBSERVE),
        plan=plan,
        comparison=comparison,
        brake=comparison.brake,
        held=ledger.hold(),
        pressure_row=freed_by_pressure(night, bound, plan),
        problems=bound.problems,
    )
    return LivePlan(
        told, with_parked(key_lines(plan), parked), cut_off, before.day if before else None
    )


def _as_approved(session: Session, plan: SweepPlan) -> SweepPlan:
    """The part of a plan that an approval of its date lets go; all of it if there is none.

    As a dry run does, it passes over an approval whose saved plan is gone or damaged.
    """
    digest = session.ledger.night(plan.today).approved
    saved = session.files.saved_plan(digest) if digest else None
    if saved is None:
        return plan
    return plan.approved(frozenset((action, key_id) for action, key_id, _ in saved.due))


def _check_whole(account: Account, rows: Mapping[str, Row], before: Evidence | None) -> None:
    """Raises EmptyListing if a list is empty that a reading or the ledger had something of."""
    known = max(len(rows), len(before.plans_of_key()) if before else 0)
    if not account.keys and known:
        raise EmptyListing("API keys", known)
    if not account.plans and before is not None and before.plans:
        raise EmptyListing("usage plans", len(before.plans))


def _night(
    session: Session, account: Account, rows: Mapping[str, Row], shelf: Shelf
) -> tuple[SweepInput, tuple[str, ...]]:
    """What a sweep of today would decide on, and the keys that it would settle first."""
    today, ledger = account.today, session.ledger
    cut_off = frozenset(key_id for key_id, row in rows.items() if row.claim is not None)
    living = {key_id: row for key_id, row in rows.items() if key_id not in cut_off}
    pressure_row = ledger.pressure_row()
    two_nights = ledger.nights(today - 2 * DAY, today - DAY)
    night = SweepInput(
        today=today,
        keys=[
            key
            for key in account.keys
            if key.key_id not in cut_off and (key.key_id in living or key.key_id not in shelf.ids)
        ],
        rows=living,
        shelf=shelf.due,
        evidence=account.evidence,
        stepped={
            SweepAction.WARN: sum(row.warned_on == today for row in rows.values()),
            SweepAction.DISABLE: sum(row.disabled_on == today for row in rows.values()),
            **shelf.stepped,
        },
        warnings_only=None if any(one.swept for one in two_nights.values()) else NOT_SWEPT,
        pressure_above=pressure_row.above if pressure_row else None,
        untold=untold(rows, ledger.unsent(), ledger.nights_of(digest_days(rows.values()))),
    )
    return night, tuple(sorted(cut_off & {key.key_id for key in account.keys}))
