"""Lives days in a sandbox: sign-ups arrive, and every owner calls the API as its habit says."""

import json
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta

from sandbox.driver.client import Sandbox
from sandbox.driver.population import TIERS, Population, SimulatedKey

READING = time(2, 15, tzinfo=UTC)
SWEEP = time(3, 15, tzinfo=UTC)
LOOK = time(3, 40, tzinfo=UTC)
MORNING = time(6, 15, tzinfo=UTC)


class Life:
    """A population that lives in a sandbox from the day after `population.until` on."""

    def __init__(self, sandbox: Sandbox, population: Population, api_id: str) -> None:
        self._sandbox = sandbox
        self._population = population
        self._events_seen = 0
        self.api_id = api_id
        self.plan_ids = {
            tier.name: sandbox.usage_plan(
                tier.name, [(self.api_id, tier.stage)], tier.quota, tier.throttle
            )
            for tier in TIERS
        }
        self.keys: dict[str, SimulatedKey] = {}  # by id, those that are gone too
        self.disabled_on: dict[str, date] = {}
        self.parked_on: dict[str, date] = {}
        self.turned_away: set[str] = set()  # ids of keys whose owner came back and found them shut

    def begin(self) -> None:
        """Lays down everything that has happened so far."""
        self.set_clock(self._population.until, READING)
        self._lay_down(self._population.keys, list(self._population.rows(self.plan_ids)))

    def set_clock(self, day: date, at: time) -> None:
        """Sets the sandbox's clock to a moment of a day."""
        self._sandbox.set_clock(datetime.combine(day, at))

    def live_through(self, day: date, requests: int) -> Counter[int]:
        """One day after its night: sign-ups, and the use of every key that still opens.

        So many of the day's requests go through the API for real, those of owners whose key was
        shut first; the others are laid down as used. Gives the statuses of the real ones.
        """
        self.hear()
        self.set_clock(day, time(12, tzinfo=UTC))
        arrivals = self._population.arrivals(day)
        rows = [key.as_row(self.plan_ids, day, 0) for key in arrivals]
        self._lay_down(arrivals, rows)

        callers = {key_id: key for key_id, key in self.keys.items() if key.uses_on(day)}
        shut = [key_id for key_id in callers if key_id in self.disabled_on]
        self.turned_away.update(shut)
        still_open = [key_id for key_id in callers if key_id not in self.disabled_on]
        real = [*shut, *still_open[:: max(1, len(still_open) // requests)]][:requests]
        statuses: Counter[int] = Counter()
        for tier in TIERS:
            values = {
                callers[key_id].value: 1
                for key_id in real
                if callers[key_id].plans[:1] == (tier.name,)
            }
            statuses += self._sandbox.call_api_many(self.api_id, tier.stage, values)
        called = set(real)
        self._sandbox.lay_down_usage(
            (
                self.plan_ids[callers[key_id].plans[0]],
                key_id,
                day,
                callers[key_id].uses_on(day) - (key_id in called),
            )
            for key_id in still_open
            if callers[key_id].plans and callers[key_id].enabled
        )
        return statuses

    def _lay_down(self, keys: tuple[SimulatedKey, ...], rows: list[dict[str, object]]) -> None:
        ids = self._sandbox.lay_down_rows(rows)
        self.keys.update(zip(ids, keys, strict=True))

    def hear(self) -> None:
        """Takes in what the events on the bus told since the last time."""
        events = self._sandbox.events(after=self._events_seen)
        day = self._sandbox.now().date()
        for event in events:
            detail = json.loads(event["Detail"])
            key_id = detail["key_id"]
            match event["DetailType"]:
                case "Key Disabled":
                    self.disabled_on.setdefault(key_id, day)
                case "Key Parked":
                    self.parked_on[key_id] = day
                case "Key Restored":
                    before = detail.get("previous_key_id", key_id)
                    self.keys[key_id] = self.keys[before]
                    self.disabled_on.pop(before, None)
                    self.parked_on.pop(before, None)
                case _:
                    pass  # nothing that an owner would notice
        self._events_seen += len(events)

    def wronged(self, limits: dict[str, int]) -> list[str]:
        """The keys that were disabled although they had been used within their tier's idle limit.

        `limits` is in days, by the name of the tier; a key of two tiers has the longer.
        """
        wronged = []
        for key_id, day in self.disabled_on.items():
            key = self.keys[key_id]
            days = max((limits[name] for name in key.plans), default=0)
            used = key.last_used(day - timedelta(days=1), days=days)
            if used is not None and (day - used).days < days:
                wronged.append(key_id)
        return wronged
