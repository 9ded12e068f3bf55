"""Reads the events that start a scheduled function. Pure."""

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from keyjanitor.domain.model.keys import Mode
from keyjanitor.errors import InvalidEvent, ModeRefused, OutsideReplayWindow

# Why an operator holds; what alerts and samples have in its place, such as <WHY>, is none.
WHY = r"(?s)(?!\s*<[^<>]*>\s*$).{1,500}"
SHORTEST_VALUE = 20  # characters of a key's value at least: what is so long is not repeated
KNOWN = frozenset(
    {"time", "mode", "approve", "undo", "key_ids", "hold", "resume", "unless_finished"}
)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]{2,15}(Z|[+-]\d\d:?\d\d)?")


@dataclass(frozen=True, slots=True)
class ReplayWindow:
    """The real time, and how far (hours) an event's may be from it; 0 lifts the limit."""

    now: datetime
    hours: float

    def is_near(self, time: datetime) -> bool:
        """True if an event of this time may change something.

        A date that has not come yet is never near: what is read now proves nothing of it.
        """
        if self.hours == 0:
            return True
        if time.date() > self.now.date():
            return False
        return abs(time - self.now) <= timedelta(hours=self.hours)

    def must_be_near(self, time: datetime) -> None:
        """Raises OutsideReplayWindow."""
        if not self.is_near(time):
            raise OutsideReplayWindow(time, self.now, self.hours)


@dataclass(frozen=True, slots=True)
class Invocation:
    """A valid event of a scheduled function: its time (UTC)."""

    time: datetime

    @property
    def today(self) -> date:
        return self.time.date()

    @classmethod
    def parse(cls, event: Mapping[str, Any], window: ReplayWindow) -> "Invocation":
        """Raises InvalidEvent, and OutsideReplayWindow: a reading of now proves nothing of then."""
        known_fields(event, {"time"})
        request = cls(time_of(event, window))
        window.must_be_near(request.time)
        return request


@dataclass(frozen=True, slots=True)
class SweepInvocation:
    """A valid event of expire_keys; at most one of `approve`, `undo`, `hold` and `resume`.

    `unless_finished`: an earlier sweep of the date that left nothing to do is enough. `observed_because` says why a sweep that might do more may only observe. A `dry_run` is one that a
    person asked for: a night in `observe` is none.
    """

    time: datetime
    mode: Mode
    approve: str | None = None
    undo: date | None = None
    key_ids: frozenset[str] | None = None
    hold: str | None = None
    resume: bool = False
    unless_finished: bool = False
    observed_because: str | None = None
    dry_run: bool = False
    is_near: bool = (
        True  # to the real time: else it is a look at another night, and leaves no trace
    )

    @property
    def today(self) -> date:
        return self.time.date()

    @classmethod
    def parse(
        cls, event: Mapping[str, Any], deployed: Mode, window: ReplayWindow
    ) -> "SweepInvocation":
        """The request in `event`; without `mode` in the deployed one.

        A sweep whose time is outside the replay window observes. Raises InvalidEvent, ModeRefused,
        and OutsideReplayWindow for anything but a sweep.
        """
        known_fields(event, KNOWN)
        asked = [name for name in ("approve", "undo", "hold", "resume") if name in event]
        if len(asked) > 1:
            raise InvalidEvent(asked[1], f"does not go with {asked[0]}; send one at a time")
        time = time_of(event, window)
        # A hold must be possible whatever else the event says.
        mode = deployed if {"hold", "resume"} & set(asked) else _mode(event, deployed)
        observed_because = None
        if asked:
            window.must_be_near(time)
            if mode is Mode.OBSERVE and asked[0] in ("approve", "undo"):
                raise ModeRefused(asked[0], deployed)
        elif mode is not Mode.OBSERVE and not window.is_near(time):
            mode = Mode.OBSERVE
            observed_because = str(OutsideReplayWindow(time, window.now, window.hours))
        if "key_ids" in event and "undo" not in event:
            raise InvalidEvent("key_ids", "goes only with undo")
        for name in ("resume", "unless_finished"):
            if event.get(name, True) is not True:
                raise InvalidEvent(name, "must be true")
        if asked and "unless_finished" in event:
            raise InvalidEvent("unless_finished", f"does not go with {asked[0]}")
        return cls(
            time=time,
            mode=mode,
            approve=_text(event, "approve", r"[0-9a-f]{16}", "the 16 digits of a plan's digest"),
            undo=_date(event, "undo"),
            key_ids=_key_ids(event),
            hold=_text(event, "hold", WHY, "a text of 1 to 500 characters: why, in your words"),
            resume="resume" in event,
            unless_finished="unless_finished" in event,
            observed_because=observed_because,
            dry_run=not asked and event.get("mode") == Mode.OBSERVE,
            is_near=window.is_near(time),
        )


def known_fields(event: Mapping[str, Any], known: Set[str]) -> None:
    """Raises InvalidEvent if the event has a field that is not known."""
    if not isinstance(event, Mapping):
        raise InvalidEvent("(event)", "must be a JSON object")
    for name in event:
        if name not in known:
            field = str(name) if len(str(name)) < SHORTEST_VALUE else "(a long field)"
            raise InvalidEvent(field, f"is not a field; allowed: {', '.join(sorted(known))}")


def time_of(event: Mapping[str, Any], window: ReplayWindow) -> datetime:
    """The event's `time`, or now if it names none. Raises InvalidEvent."""
    if "time" not in event:
        return window.now
    allowed = 'must be a UTC time such as "2026-11-21T02:15:00Z"'
    value = event["time"]
    if not isinstance(value, str):
        raise InvalidEvent("time", allowed)
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise InvalidEvent("time", f"{_harmless(value)} {allowed}") from None
    if time.utcoffset() != timedelta(0):
        raise InvalidEvent("time", f"{_harmless(value)} {allowed}")
    return time.astimezone(UTC)


def _harmless(value: object) -> str:
    """What an event says, to be repeated in an error; what is as long as a key's value is not."""
    text = str(value)
    if len(text) < SHORTEST_VALUE or _MOMENT.fullmatch(text):
        return repr(value)
    return f"a text ({len(text)} characters)"


def _mode(event: Mapping[str, Any], deployed: Mode) -> Mode:
    if "mode" not in event:
        return deployed
    try:
        mode = Mode(event["mode"])
    except ValueError:
        allowed = ", ".join(Mode)
        raise InvalidEvent(
            "mode", f"{_harmless(event['mode'])} is not allowed; allowed: {allowed}"
        ) from None
    if not deployed.allows(mode):
        raise ModeRefused(mode, deployed)
    return mode


def _text(event: Mapping[str, Any], name: str, pattern: str, allowed: str) -> str | None:
    if name not in event:
        return None
    value = event[name]
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise InvalidEvent(name, f"must be {allowed}")
    return value


def _date(event: Mapping[str, Any], name: str) -> date | None:
    if name not in event:
        return None
    try:
        return date.fromisoformat(event[name])
    except (TypeError, ValueError):
        raise InvalidEvent(name, 'must be a date such as "2026-11-21"') from None


def _key_ids(event: Mapping[str, Any]) -> frozenset[str] | None:
    if "key_ids" not in event:
        return None
    value = event["key_ids"]
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise InvalidEvent("key_ids", "must be a list of key ids")
    return frozenset(value)
