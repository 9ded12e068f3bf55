"""Gathers all that a sweep decides on, and settles what a run that died has left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import NamedTuple

from aws_lambda_powertools import Logger

from keyjanitor.adapters import wiring
from keyjanitor.adapters.ledger import Change
from keyjanitor.adapters.settings import SweepSettings
from keyjanitor.domain.expiry.notice import digest_days, untold
from keyjanitor.domain.expiry.sweep_input import NOT_SWEPT, SweepInput
from keyjanitor.domain.expiry.transitions import issued
from keyjanitor.domain.model.keys import ApiKey, State, SweepAction
from keyjanitor.domain.model.policy import BoundPolicy, Policy
from keyjanitor.domain.model.records import Row
from keyjanitor.domain.model.shelf import Shelf
from keyjanitor.domain.requests.import_file import asked_for
from keyjanitor.errors import (
    AccessDenied,
    CallFailed,
    EmptyListing,
    NoEvidence,
    TombstoneUnreadable,
    UnexpectedAnswer,
)
from keyjanitor.services.account import was_swept, with_tags
from keyjanitor.services.claims import forget_tombstone, settled
from keyjanitor.services.ports import (
    EventSink,
    Ownership,
    SweepGateway,
    SweepHistory,
    SweepLedger,
    SweepSealer,
    SweepTopic,
)

logger = Logger(child=True)


class Adapters(NamedTuple):
    """Everything that a sweep talks to."""

    gateway: SweepGateway
    owners: Ownership
    ledger: SweepLedger
    history: SweepHistory
    sealer: SweepSealer
    bus: EventSink
    topic: SweepTopic

    @classmethod
    def of(cls, settings: SweepSettings) -> "Adapters":
        ledger = wiring.ledger(settings.ledger_table)
        return cls(
            gateway=wiring.gateway_of_the_night(settings.calls_per_second, ledger),
            owners=wiring.ownership(),
            ledger=ledger,
            history=wiring.history(settings.history_bucket),
            sealer=wiring.sealer(settings.sealing_key_arn),
            bus=wiring.event_bus(settings.event_bus),
            topic=wiring.alert_topic(settings),
        )


@dataclass(frozen=True, slots=True)
class Gathered:
    """Tonight's night, the policy bound to the account's plans, and restores that were cut off."""

    night: SweepInput
    bound: BoundPolicy
    unfinished: tuple[Row, ...] = ()
    parked_ids: frozenset[str] = frozenset()  # of all keys that are parked
    closed: tuple[str, ...] = ()  # keys whose tombstone is damaged: it was tried, and never opens


def gather(today: date, adapters: Adapters, policy: Policy, *, acting: bool) -> Gathered:
    """All reads of a sweep; `acting` also brings to an end what a run that died has begun.

    Raises NoEvidence, EmptyListing and what the adapters raise; nothing is touched then.
    """
    evidence = adapters.history.evidence(today)
    if evidence is None:
        raise NoEvidence(today)
    bound = policy.bind(evidence.plan_names())
    for problem in bound.problems:
        logger.error("keys of the usage plans that may be meant are unknown tonight: %s", problem)
    # The rows first: a key that is revoked in between is missed, and not taken for a new one.
    rows = adapters.ledger.live_rows()
    keys = adapters.gateway.keys()
    if not keys and (known := max(len(rows), len(evidence.plans_of_key()))):
        raise EmptyListing("API keys", known)
    keys = with_tags(keys, adapters.owners)
    rows = _settle(today, rows, adapters, bound, acting=acting)
    shelf = adapters.ledger.parked_keys(today)
    pressure_row = adapters.ledger.pressure_row()
    nights = adapters.ledger.nights_of(digest_days(rows.values()))
    tombstones_open, closed = _open_oldest(today, shelf, adapters, acting=acting)
    if acting:
        for row in shelf.restored:
            forget_tombstone(row, adapters)
    return Gathered(
        night=SweepInput(
            today=today,
            # A key that was revoked since the list was read is not adopted.
            keys=[key for key in keys if key.key_id in rows or key.key_id not in shelf.ids],
            rows=rows,
            shelf=shelf.due,
            evidence=evidence,
            stepped=_stepped(today, rows, shelf),
            warnings_only=None if was_swept(today, adapters.ledger) else NOT_SWEPT,
            tombstones_open=tombstones_open,
            pressure_above=pressure_row.above if pressure_row else None,
            untold=untold(rows, adapters.ledger.unsent(), nights),
            begun=_begun(keys, rows, adapters.ledger),
        ),
        bound=bound,
        unfinished=shelf.unfinished,
        parked_ids=shelf.parked_ids,
        closed=closed,
    )


def _begun(keys: Sequence[ApiKey], rows: Mapping[str, Row], ledger: SweepLedger) -> dict[str, Row]:
    """Rows for keys without one that were made for requests which are not answered yet."""
    names = {
        key.key_id: (key, name)
        for key in keys
        if key.key_id not in rows and (name := asked_for(key)) is not None
    }
    if not names:
        return {}
    asked = ledger.requests(sorted({name for _, name in names.values()}))
    return {
        key_id: row
        for key_id, (key, name) in names.items()
        if name in asked and (row := issued(key, asked[name])) is not None
    }


def gather_for_undo(
    today: date, adapters: Adapters, policy: Policy
) -> tuple[dict[str, Row], BoundPolicy]:
    """The rows, and the policy bound to no plan: an undo needs no evidence and judges no key.

    So it works at any hour, and after a plan was renamed. Raises EmptyListing.
    """
    bound = BoundPolicy(policy, {}, frozenset())
    rows = adapters.ledger.live_rows()
    keys = adapters.gateway.keys()
    if not keys and rows:
        raise EmptyListing("API keys", len(rows))
    rows = _settle(today, rows, adapters, bound, acting=True)
    for row in adapters.ledger.parked_keys(today).restored:
        forget_tombstone(row, adapters)
    return rows, bound


def _stepped(today: date, rows: Mapping[str, Row], shelf: Shelf) -> dict[SweepAction, int]:
    """The number of keys by step that were already taken on this date."""
    return {
        SweepAction.WARN: sum(row.warned_on == today for row in rows.values()),
        SweepAction.DISABLE: sum(row.disabled_on == today for row in rows.values()),
        **shelf.stepped,
    }


def _open_oldest(
    today: date, shelf: Shelf, adapters: Adapters, *, acting: bool
) -> tuple[bool, tuple[str, ...]]:
    """True if tombstones can be opened tonight; and the keys whose tombstones never will.

    If none of the oldest opens, nothing may rely on new ones: unless each of them is damaged by
    itself, and what is sealed now does open. One that is damaged is named, and passed over.
    """
    opened, transient, closed = False, False, []
    changes: list[Change] = []
    for row in shelf.oldest:
        try:
            adapters.history.open_tombstone(row.key_id, adapters.sealer)
        except TombstoneUnreadable as err:
            logger.error("key %s: %s", row.key_id, err)
            transient |= err.transient
            if not err.transient:
                closed.append(row.key_id)
                changes.append(Change(row, replace(row, closed_since=row.closed_since or today)))
            continue
        changes.append(Change(row, replace(row, closed_since=None)))
        opened = True
        break
    if acting:
        adapters.ledger.commit([one for one in changes if one.before != one.after])
    if opened or not shelf.oldest:
        return True, tuple(closed)
    if not transient and (not acting or _seals(adapters.sealer)):
        return True, tuple(closed)
    logger.error("nothing is parked tonight: no tombstone opens")
    return False, tuple(closed)


def _seals(sealer: SweepSealer) -> bool:
    """True if a value that is sealed now can be opened again."""
    try:
        sealer.try_out()
    except (AccessDenied, CallFailed, UnexpectedAnswer) as err:
        logger.error("what is sealed now could not be opened: %s", err)
        return False
    return True


def _settle(
    today: date,
    rows: dict[str, Row],
    adapters: Adapters,
    bound: BoundPolicy,
    *,
    acting: bool,
) -> dict[str, Row]:
    """The rows, with each claim of a run that died brought to an end or given up.

    What was carried out at API Gateway is written down; what was not is decided again. API Gateway
    is asked for each of these keys: that a list does not show a key proves nothing.
    """
    changes = [
        settled(today, row, adapters.gateway.key(row.key_id), adapters, bound)
        for row in rows.values()
        if row.claim is not None
    ]
    written = adapters.ledger.commit(changes) if acting else [change.after for change in changes]
    rows = rows | {row.key_id: row for row in written}
    return {
        key_id: row
        for key_id, row in rows.items()
        if row.state is not State.PARKED and row.state is not State.GONE
    }
