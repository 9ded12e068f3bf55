"""Gathers what the morning's report shows: the ledger, the history, and one listing of the account."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import NamedTuple

from keyjanitor.adapters import wiring
from keyjanitor.adapters.settings import PublishSettings
from keyjanitor.domain.capacity.counting import loosely_bound
from keyjanitor.domain.doctor.checks import find_problems
from keyjanitor.domain.doctor.checkup import Checkup
from keyjanitor.domain.doctor.findings import Finding
from keyjanitor.domain.doctor.inactivity import Sweeps, inactive_keys
from keyjanitor.domain.doctor.placing import placed
from keyjanitor.domain.expiry.keys_file import WHOLE_NIGHTS
from keyjanitor.domain.expiry.notice import Untold, digest_days, untold
from keyjanitor.domain.expiry.outlook import NIGHTS, NightAhead, project_nights, warnings_ahead
from keyjanitor.domain.expiry.regret import REGRET_DAYS
from keyjanitor.domain.expiry.sweep_input import NOT_SWEPT, SweepInput
from keyjanitor.domain.model.keys import DAY, ApiKey, Mode, SweepAction
from keyjanitor.domain.model.policy import BoundPolicy, Policy
from keyjanitor.domain.model.records import NightRow, PressureRow, Row
from keyjanitor.domain.model.shelf import Shelf
from keyjanitor.domain.report.morning import Line, Morning
from keyjanitor.domain.usage.evidence import Evidence
from keyjanitor.domain.usage.summary import USE_DAYS, Use
from keyjanitor.errors import EmptyListing, NoEvidence
from keyjanitor.services.account import was_swept, with_tags
from keyjanitor.services.ports import (
    AuditEvents,
    Ownership,
    ReportGateway,
    ReportHistory,
    ReportLedger,
)
from keyjanitor.services.publish_report.checkup import check_up

COUNTED = 400  # days that are shown
CLOSED_NAMED = 20  # tombstones that do not open


class Adapters(NamedTuple):
    """Everything that a report is gathered from."""

    gateway: ReportGateway
    owners: Ownership
    ledger: ReportLedger
    history: ReportHistory
    audit_log: AuditEvents

    @classmethod
    def of(cls, settings: PublishSettings) -> "Adapters":
        ledger = wiring.ledger(settings.ledger_table)
        return cls(
            gateway=wiring.gateway_of_the_night(settings.calls_per_second, ledger),
            owners=wiring.ownership(),
            ledger=ledger,
            history=wiring.history(settings.history_bucket),
            audit_log=wiring.audit_log(settings.audit_log),
        )


class Place(NamedTuple):
    """The account of the report and its stack, the mode of its sweeps, and the bucket of its reports.

    `audit_lock` is the mode of Object Lock of its audit folders (None: none), `audit_days` how long they
    are kept.
    """

    account: str
    region: str
    stack: str
    mode: Mode
    bucket: str
    audit_lock: str | None = None
    audit_days: int = 0


@dataclass(frozen=True, slots=True)
class _Account:
    """The account and its ledger, as they were read this morning."""

    today: date
    policy: Policy
    latest: Evidence | None
    rows: dict[str, Row]
    keys: list[ApiKey]
    shelf: Shelf
    pressure_row: PressureRow | None
    held: str | None
    untold: Mapping[str, Untold]


def gather_morning(
    today: date,
    made_at: datetime,
    place: Place,
    adapters: Adapters,
    policy: Policy,
    time_is_up: Callable[[], bool],
) -> Morning:
    """All reads of a report; nothing is written. Raises EmptyListing.

    The report says so if a night was not read or not swept. Once time is up the rest of what the
    doctor looks at is left unread.
    """
    account = _read(today, adapters, policy)
    lines_of, lines = _latest_lines(today, adapters.history)
    # In `observe` nothing will be done; what would be is what people want to know.
    ahead_mode = Mode.PARK if place.mode is Mode.OBSERVE else place.mode
    ahead, warn_on = _nights_ahead(account, ahead_mode, adapters)
    use = _use(today, adapters.history)
    nights = adapters.ledger.nights(today - DAY * REGRET_DAYS, today)
    # Last, for an account of many APIs may take all the time that is left.
    checkup = _checkup(account, adapters, time_is_up)
    sweeps = _sweeps(place.mode, account.held, nights.get(today, NightRow(today)))
    checkup = replace(checkup, inactive=inactive_keys(checkup, lines, sweeps))
    return Morning(
        today=today,
        made_at=made_at,
        account=place.account,
        region=place.region,
        stack=place.stack,
        mode=place.mode,
        policy=policy,
        checkup=checkup,
        findings=_problems(checkup, place),
        counts=adapters.ledger.counts(today - DAY * COUNTED, today),
        nights=nights,
        pressure_row=account.pressure_row,
        held=account.held,
        use=use,
        lines=lines,
        lines_of=lines_of,
        purged=account.shelf.stepped[SweepAction.PURGE],
        ahead=ahead,
        ahead_mode=ahead_mode,
        warn_on=warn_on,
        parked_ids=account.shelf.parked_ids,
        untold=account.untold,
    )


def _problems(checkup: Checkup, place: Place) -> tuple[Finding, ...]:
    """The problems, each with its command as it is typed for this stack."""
    return tuple(
        replace(one, command=placed(one.command, place.stack, place.region))
        for one in find_problems(checkup)
    )


def _sweeps(mode: Mode, held: str | None, night: NightRow) -> Sweeps:
    """What keeps the sweeps of this morning from acting."""
    return Sweeps(
        held=held is not None,
        braked=night.braked,
        only_observe=mode is Mode.OBSERVE
        or (night.observed_because is not None and not night.swept),
    )


def _read(today: date, adapters: Adapters, policy: Policy) -> _Account:
    """The listing of the account and what the ledger knows of it; raises EmptyListing."""
    ledger = adapters.ledger
    latest = adapters.history.latest_evidence(today)
    rows = ledger.live_rows()
    keys = adapters.gateway.keys()
    if not keys and rows:
        raise EmptyListing("API keys", len(rows))
    return _Account(
        today=today,
        policy=policy,
        latest=latest,
        rows=rows,
        keys=with_tags(keys, adapters.owners),
        shelf=ledger.parked_keys(today, until=today + DAY * NIGHTS),
        pressure_row=ledger.pressure_row(),
        held=ledger.hold(),
        untold=untold(rows, ledger.unsent(), ledger.nights_of(digest_days(rows.values()))),
    )


def _nights_ahead(
    account: _Account, mode: Mode, adapters: Adapters
) -> tuple[Sequence[NightAhead] | str, Mapping[str, date]]:
    """The forecast of the next nights, or why there is none; and the dates of warnings by key id."""
    try:
        night, bound = _night(account)
    except NoEvidence as err:
        return str(err), {}
    warn_on = warnings_ahead(night, bound)
    if account.held:
        return f"sweeps are on hold: {account.held}", warn_on
    tomorrow = account.today + DAY
    swept = was_swept(tomorrow, adapters.ledger)
    night = replace(night, warnings_only=None if swept else NOT_SWEPT, untold=account.untold)
    before = adapters.history.compared_before(tomorrow)
    return project_nights(night, bound, mode, account.shelf.due, before), warn_on


def _checkup(account: _Account, adapters: Adapters, time_is_up: Callable[[], bool]) -> Checkup:
    """The doctor's checkup; tombstones that do not open are among the unread."""
    checkup = check_up(
        account.today,
        account.keys,
        account.rows,
        account.latest,
        loosely_bound(account.policy, account.latest),
        adapters.gateway,
        adapters.owners,
        parked_plans=account.shelf.usage_plan_ids,
        time_is_up=time_is_up,
    )
    return replace(checkup, unread=(*checkup.unread, *_closed(account.shelf.closed)))


def _closed(key_ids: Sequence[str]) -> Iterator[str]:
    """The tombstones that do not open, by the keys that cannot come back for now."""
    for key_id in key_ids[:CLOSED_NAMED]:
        yield f"tombstones/{key_id}.json: it is damaged, so key {key_id} cannot be restored"
    if more := len(key_ids[CLOSED_NAMED:]):
        yield f"the tombstones of {more} more keys: they are damaged"


def _latest_lines(today: date, history: ReportHistory) -> tuple[date | None, Sequence[Line]]:
    """The latest keys file that has a line for every key, and its date."""
    for back in range(WHOLE_NIGHTS + 1):
        if lines := history.keys(today - DAY * back):
            return today - DAY * back, lines
    return None, ()


def _use(today: date, history: ReportHistory) -> Use:
    use = Use([today - DAY * back for back in range(USE_DAYS, 0, -1)])
    for day in use.days:
        use.add(day, history.usage(day))
    return use


def _night(account: _Account) -> tuple[SweepInput, BoundPolicy]:
    """The account as the rules see it this morning; raises NoEvidence if the night was not read."""
    evidence, rows = account.latest, account.rows
    if evidence is None or evidence.day != account.today:
        raise NoEvidence(account.today)
    bound = account.policy.bind(evidence.plan_names())
    night = SweepInput(
        today=account.today,
        keys=[
            key for key in account.keys if key.key_id in rows or key.key_id not in account.shelf.ids
        ],
        rows=rows,
        shelf=(),
        evidence=evidence,
        stepped={},
        pressure_above=account.pressure_row.above if account.pressure_row else None,
    )
    return night, bound
