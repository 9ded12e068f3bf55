"""Gathers what the morning's report shows: the ledger, the history, and one listing of the account."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import NamedTuple

from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.history_bucket import History
from keyjanitor.adapters.ledger import Ledger, Shelf
from keyjanitor.adapters.ownership import Owners
from keyjanitor.domain.capacity.counting import loosely_bound
from keyjanitor.domain.doctor.checks import examine
from keyjanitor.domain.expiry.keys_file import WHOLE_NIGHTS
from keyjanitor.domain.expiry.night import Night
from keyjanitor.domain.expiry.notice import digest_days, untold
from keyjanitor.domain.expiry.outlook import NIGHTS, NightAhead, outlook, warnings_ahead
from keyjanitor.domain.model.keys import DAY, ApiKey, Mode, Verb
from keyjanitor.domain.model.policy import BoundPolicy, Policy
from keyjanitor.domain.model.records import LadderRow, Row
from keyjanitor.domain.report.document import Line, Morning
from keyjanitor.domain.usage.evidence import Evidence
from keyjanitor.domain.usage.summary import USE_DAYS, Use
from keyjanitor.errors import EmptyListing, NoEvidence
from keyjanitor.services.account import NOT_SWEPT, was_swept, with_tags
from keyjanitor.services.publish_report.checkup import check_up

COUNTED = 400  # days that are shown
CLOSED_NAMED = 20  # tombstones that do not open


class Sources(NamedTuple):
    """Everything that a report is gathered from."""

    gateway: ApiGateway
    owners: Owners
    ledger: Ledger
    history: History


class Place(NamedTuple):
    """The account that is told of, and how far its sweeps may go."""

    account: str
    region: str
    mode: Mode


def gather_morning(
    today: date,
    made_at: datetime,
    place: Place,
    sources: Sources,
    policy: Policy,
    time_is_up: Callable[[], bool],
) -> Morning:
    """All reads of a report; nothing is written. Raises EmptyListing.

    A night that was not read or swept is told of as such. Once time is up the rest of what the
    doctor looks at is left unread.
    """
    ledger, history = sources.ledger, sources.history
    latest = history.latest_evidence(today)
    evidence = latest if latest is not None and latest.day == today else None
    rows = ledger.live_rows()
    keys = sources.gateway.keys()
    if not keys and rows:
        raise EmptyListing("API keys", len(rows))
    keys = with_tags(keys, sources.owners)
    shelf = ledger.shelf(today, until=today + DAY * NIGHTS)
    ladder, held = ledger.ladder(), ledger.hold()
    waits = untold(rows, ledger.unsent(), ledger.nights_of(digest_days(rows.values())))
    lines_of, lines = _latest_lines(today, history)
    # In `observe` nothing will be done; what would be is what people want to know.
    ahead_mode = Mode.PARK if place.mode is Mode.OBSERVE else place.mode
    ahead: Sequence[NightAhead] | str
    warn_on: Mapping[str, date] = {}
    try:
        night, bound = _night(today, keys, rows, shelf, evidence, ladder, policy)
    except NoEvidence as err:
        ahead = str(err)
    else:
        ahead = (
            f"sweeps are on hold: {held}"
            if held
            else outlook(
                replace(
                    night,
                    warnings_only=None if was_swept(today + DAY, ledger) else NOT_SWEPT,
                    untold=waits,
                ),
                bound,
                ahead_mode,
                shelf.due,
                history.compared_before(today + DAY),
            )
        )
        warn_on = warnings_ahead(night, bound)
    use = _use(today, history)
    # Last, for an account of many APIs may take all the time that is left.
    checkup = check_up(
        today,
        keys,
        rows,
        latest,
        loosely_bound(policy, latest),
        sources.gateway,
        sources.owners,
        parked_plans=shelf.usage_plan_ids,
        time_is_up=time_is_up,
    )
    checkup = replace(checkup, unread=(*checkup.unread, *_closed(shelf.closed)))
    return Morning(
        today=today,
        made_at=made_at,
        account=place.account,
        region=place.region,
        mode=place.mode,
        policy=policy,
        checkup=checkup,
        findings=examine(checkup),
        counts=ledger.counts(today - DAY * COUNTED, today),
        nights=ledger.nights(today, today),
        ladder=ladder,
        held=held,
        use=use,
        lines=lines,
        lines_of=lines_of,
        purged=shelf.stepped[Verb.PURGE],
        ahead=ahead,
        ahead_mode=ahead_mode,
        warn_on=warn_on,
        parked_ids=shelf.parked_ids,
        untold=waits,
    )


def _closed(key_ids: Sequence[str]) -> Iterator[str]:
    """The tombstones that do not open, by the keys that cannot come back for now."""
    for key_id in key_ids[:CLOSED_NAMED]:
        yield f"tombstones/{key_id}.json: it is damaged, so key {key_id} cannot be restored"
    if more := len(key_ids[CLOSED_NAMED:]):
        yield f"the tombstones of {more} more keys: they are damaged"


def _latest_lines(today: date, history: History) -> tuple[date | None, Sequence[Line]]:
    """The latest keys file that has a line for every key, and its date."""
    for back in range(WHOLE_NIGHTS + 1):
        if lines := history.keys(today - DAY * back):
            return today - DAY * back, lines
    return None, ()


def _use(today: date, history: History) -> Use:
    use = Use([today - DAY * back for back in range(USE_DAYS, 0, -1)])
    for day in use.days:
        use.add(day, history.usage(day))
    return use


def _night(
    today: date,
    keys: Sequence[ApiKey],
    rows: dict[str, Row],
    shelf: Shelf,
    evidence: Evidence | None,
    ladder: LadderRow | None,
    policy: Policy,
) -> tuple[Night, BoundPolicy]:
    """The account as the rules see it this morning; raises NoEvidence."""
    if evidence is None:
        raise NoEvidence(today)
    bound = policy.bind(evidence.plan_names())
    night = Night(
        today=today,
        keys=[key for key in keys if key.key_id in rows or key.key_id not in shelf.ids],
        rows=rows,
        shelf=(),
        evidence=evidence,
        stepped={},
        rung=ladder.above if ladder else None,
    )
    return night, bound
