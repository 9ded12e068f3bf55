"""API Gateway in a simulated life: the one in memory, told the date, that remembers what became of keys."""

from datetime import date, datetime
from typing import Any

from sandbox.memory.adapters.api_gateway import FakeApiGateway
from sandbox.memory.simulation.moments import JANITOR, at


class Gateway(FakeApiGateway):
    """API Gateway, in which keyjanitor changes keys at the hour JANITOR and everybody else at noon."""

    def __init__(self, today: date) -> None:
        super().__init__(at(today, JANITOR))
        self.disabled: list[str] = []  # every key that was, in turn
        self.deleted: list[str] = []

    @property
    def today(self) -> date:
        return self.now.date()

    @today.setter
    def today(self, day: date) -> None:
        self.now = at(day, JANITOR)

    def change(self, key_id: str, *, hour: int = 12, **what: Any) -> None:
        self._change(key_id, at(self.today, hour), **what)

    def set_enabled(self, key_id: str, *, enabled: bool) -> datetime | None:
        if not enabled and key_id in self.living:
            self.disabled.append(key_id)
        return super().set_enabled(key_id, enabled=enabled)

    def delete(self, key_id: str) -> None:
        if key_id in self.living:
            self.deleted.append(key_id)
        super().delete(key_id)
