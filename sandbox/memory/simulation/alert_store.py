"""The alerts of a simulated life."""

from dataclasses import replace

from keyjanitor.domain.model.records import (
    AlertState,
)


class AlertStore:
    """What was told and stands."""

    def __init__(self) -> None:
        self._row = AlertState()

    def read(self) -> AlertState:
        return self._row

    def write(self, row: AlertState) -> AlertState | None:
        if row.version != self._row.version:
            return None
        self._row = replace(row, version=row.version + 1)
        return self._row
