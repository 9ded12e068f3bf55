"""Talks to the ledger about alerts: which were sent and still apply, which are to be published."""

from dataclasses import replace
from datetime import date

from keyjanitor.adapters.dynamodb import ABSENT, Item, Table
from keyjanitor.adapters.record_codec import from_values, to_values
from keyjanitor.domain.model.records import AlertState

_ALERTS = {"pk": "ALERTS", "sk": "alerts"}  # a partition of its own: roles are held to partitions


class AlertStore:
    """One item, written only by who has read its last version: two runs at once alert once."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def read(self) -> AlertState:
        """The alerts that were published and still apply."""
        item = self._table.get(_ALERTS)
        if item is None:
            return AlertState()
        problems = {
            kind: (date.fromisoformat(on), tuple(about))
            for kind, (on, about) in item.get("troubles", {}).items()
        }
        return replace(from_values(AlertState, item), problems=problems)

    def write(self, row: AlertState) -> AlertState | None:
        """Writes the alerts that apply from now on, and gives them; None if another run was first."""
        after = replace(row, version=row.version + 1)
        item: Item = {**_ALERTS, **to_values(replace(after, problems={}))}
        item["troubles"] = {
            kind: [str(on), list(about)] for kind, (on, about) in after.problems.items()
        }
        condition = ABSENT if row.version == 0 else self._table.is_version(row.version)
        return after if self._table.put_now(item, condition) else None
