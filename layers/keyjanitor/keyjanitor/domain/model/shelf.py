"""The ledger's rows of keys that have left API Gateway, as one night needs them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from heapq import nsmallest

from keyjanitor.domain.model.keys import State, SweepAction
from keyjanitor.domain.model.records import Row

TOMBSTONES_TRIED = 10  # each night, the oldest first, until one opens


@dataclass(frozen=True, slots=True)
class Shelf:
    """Parked keys and others that have left API Gateway, as one night needs them.

    `due` are the parked keys to be purged, `stepped` counts the steps already taken on this date.

    `oldest` are a few parked keys, the one that was parked first before all others. `restored` are keys that live again and whose tombstones have yet to be destroyed, `unfinished`
    those whose restore has begun; `usage_plan_ids` the plans that parked keys would come back into.
    """

    due: tuple[Row, ...] = ()
    oldest: tuple[Row, ...] = ()
    stepped: Mapping[SweepAction, int] = field(default_factory=dict)
    restored: tuple[Row, ...] = ()
    unfinished: tuple[Row, ...] = ()
    ids: frozenset[str] = frozenset()  # of keys that are no more, whatever a list of before says
    usage_plan_ids: frozenset[str] = frozenset()
    parked_ids: frozenset[str] = frozenset()  # of keys that can be restored
    closed: tuple[str, ...] = ()  # ids of parked keys whose tombstone is known not to open

    @classmethod
    def of(cls, rows: Iterable[Row], today: date, until: date | None = None) -> "Shelf":
        """The shelf of a night, from its rows; due is what is to be purged by today, or by `until`."""
        due: list[Row] = []
        restored: list[Row] = []
        unfinished: list[Row] = []
        ids: set[str] = set()
        plans: set[str] = set()
        parked_ids: set[str] = set()
        parked_rows: list[Row] = []
        parked = purged = 0
        for row in rows:
            if row.state is not State.GONE:
                ids.add(row.key_id)
            parked += row.parked_on == today
            purged += row.purged_on == today
            if row.state is State.RESTORED and row.claim is not None:
                restored.append(row)
            if row.state is not State.PARKED:
                continue
            plans.update(row.usage_plan_ids)
            parked_ids.add(row.key_id)
            if row.purge_on is not None and row.purge_on <= (until or today):
                due.append(row)
            if row.claim is not None and row.claim.verb is SweepAction.RESTORE:
                unfinished.append(row)
            if row.claim is not None and row.claim.verb is SweepAction.PURGE:
                continue  # a run that died may have destroyed its tombstone
            parked_rows.append(row)
        stepped = {SweepAction.PARK: parked, SweepAction.PURGE: purged}
        return cls(
            due=tuple(due),
            oldest=tuple(nsmallest(TOMBSTONES_TRIED, parked_rows, key=_shelf_age)),
            stepped=stepped,
            restored=tuple(restored),
            unfinished=tuple(unfinished),
            ids=frozenset(ids),
            usage_plan_ids=frozenset(plans),
            parked_ids=frozenset(parked_ids),
            closed=tuple(sorted(row.key_id for row in parked_rows if row.closed_since)),
        )


def _shelf_age(row: Row) -> tuple[date, str]:
    return row.parked_on or date.min, row.key_id
