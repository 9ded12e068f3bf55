"""What an auditor asks of a month: its keys at its end, what was done to which, and the exceptions. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any

from keyjanitor.domain.expiry import reasons
from keyjanitor.domain.model.audit_event import AuditEvent
from keyjanitor.domain.model.keys import DAY, State
from keyjanitor.domain.model.records import DISABLED, EXPIRING, NEW_KEYS, PARKED, NightRow
from keyjanitor.domain.requests.events import (
    PROTECTED,
    REFUSED,
    RELEASED,
    RENEWED,
    RESTORED,
    REVOKED,
)

Line = Mapping[str, Any]  # of a keys file
PURGED = "Key Purged"
# Fields of an event by which one that came again is known, beside its type and its key.
_DATES = ("disable_on", "park_on", "restorable_until")
# What an event makes of its key; the others change nothing that the population shows.
_STATE_AFTER: Mapping[str, State | None] = {
    **dict.fromkeys(NEW_KEYS, State.ACTIVE),
    RESTORED: State.ACTIVE,
    RENEWED: State.ACTIVE,
    EXPIRING: State.WARNED,
    DISABLED: State.DISABLED,
    PARKED: None,
    REVOKED: None,
    PURGED: None,
}


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month, UTC."""

    year: int
    number: int

    @classmethod
    def of(cls, day: date) -> "Month":
        return cls(day.year, day.month)

    @classmethod
    def before(cls, day: date) -> "Month":
        """The month before the one of a day."""
        return cls.of(day.replace(day=1) - DAY)

    @property
    def first(self) -> date:
        return date(self.year, self.number, 1)

    @property
    def last(self) -> date:
        return Month.of(self.first + DAY * 31).first - DAY

    @property
    def days(self) -> list[date]:
        return [self.first + DAY * n for n in range((self.last - self.first).days + 1)]

    @property
    def begins(self) -> datetime:
        return datetime(self.year, self.number, 1, tzinfo=UTC)

    @property
    def ends(self) -> datetime:
        """The moment after it."""
        return Month.of(self.last + DAY).begins

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"


@dataclass(frozen=True, slots=True)
class KeyAtEnd:
    """A key at the month's end: its line of the keys file of `seen_on`, and events since then.

    `seen_on` is None for a key that only events name.
    """

    key_id: str
    name: str
    owner: str | None
    tier: str | None
    state: State
    created: str | None
    last_used: str | None
    seen_on: date | None
    line: Line = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Protection:
    """Who asked for the protection of a key until a date, and the event that says so."""

    requested_by: str
    event_id: str


@dataclass(frozen=True, slots=True)
class AuditException:
    """What keeps keys from sweeps: one key by `key_id`, a tier with the number of its `keys`, or a hold."""

    kind: str
    key_id: str = ""
    name: str = ""
    owner: str | None = None
    tier: str | None = None
    keys: int = 1
    reason: str = ""
    until: str = ""
    requested_by: str = ""
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class AuditMonth:
    """Everything that a month's folder is made of.

    `as_of` is the month's last night with a keys file (None: none of its last eight has one), `lines`
    the keys as of it, each with the date of the file that it stands in. `events` are those of the month,
    in the order of their times, each once; `repeated` counts what came again. `known` are protections
    that the folder before knows, by key id and end.
    """

    month: Month
    account: str
    region: str
    stack: str
    as_of: date | None
    lines: Sequence[tuple[date, Line]]
    events: Sequence[AuditEvent]
    repeated: int
    unreadable: int
    nights: Mapping[date, NightRow]
    hold: str | None
    known: Mapping[tuple[str, str], Protection] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """True if nothing is known of it: keyjanitor was not there."""
        return self.as_of is None and not self.events and not self.nights


def each_once(month: Month, events: Iterable[AuditEvent]) -> tuple[list[AuditEvent], int]:
    """The events of the month, each once, in the order of their times; and how many came again.

    Events come at least once. One that came again has another id of EventBridge's or the same.
    """
    seen: set[tuple[str, ...]] = set()
    once: list[AuditEvent] = []
    of_month = [one for one in events if month.begins <= one.time < month.ends]
    for one in sorted(of_month, key=lambda one: (one.time, one.event_id)):
        identity = _identity(one)
        if identity not in seen:
            seen.add(identity)
            once.append(one)
    return once, len(of_month) - len(once)


def _identity(one: AuditEvent) -> tuple[str, ...]:
    """What two copies of one event have in common; of an event about no key only its id is known."""
    detail, key_id = one.detail, str(one.detail.get("key_id", ""))
    if "request_id" in detail:
        asked_by = str(detail.get("requested_by", ""))
        return one.detail_type, key_id, str(detail["request_id"]), asked_by
    if not key_id:
        return one.detail_type, one.event_id
    dates = [str(detail[name]) for name in _DATES if name in detail]
    return one.detail_type, key_id, *(dates or [str(one.time.date())])


def population(month: AuditMonth) -> list[KeyAtEnd]:
    """The keys that API Gateway held at the month's end, by key id: the keys file, and events after it."""
    keys = {line["key_id"]: _as_found(seen_on, line) for seen_on, line in month.lines}
    keys = {key_id: key for key_id, key in keys.items() if not _was_parked(key)}
    if month.as_of is None:
        return []
    for event in month.events:
        if event.time.date() >= month.as_of and event.detail_type != REFUSED:
            _take(event, keys)
    return [keys[key_id] for key_id in sorted(keys)]


def _as_found(seen_on: date, line: Line) -> KeyAtEnd:
    return KeyAtEnd(
        key_id=line["key_id"],
        name=line.get("name") or "",
        owner=line.get("owner"),
        tier=line.get("tier"),
        state=State(line.get("state", State.ACTIVE)),
        created=line.get("created_date"),
        last_used=line.get("last_used"),
        seen_on=seen_on,
        line=line,
    )


def _was_parked(key: KeyAtEnd) -> bool:
    """True if an earlier run of the file's date had parked the key already."""
    line = key.line
    return line.get("verdict") == "park" and line.get("reason_code") == reasons.Stepped.code


def _take(event: AuditEvent, keys: dict[str, KeyAtEnd]) -> None:
    """Makes of a key what an event says; one that was restored has left its former id.

    Owner and tier are those that the event says, whatever it is about.
    """
    detail, key_id = event.detail, str(event.detail.get("key_id", ""))
    key = keys.get(key_id)
    state = _STATE_AFTER.get(event.detail_type, key.state if key else None)
    if state is None:
        keys.pop(key_id, None)
        return
    if key is None:
        if event.detail_type not in (*NEW_KEYS, RESTORED):
            return  # it left meanwhile, and this event came late
        keys.pop(str(detail.get("previous_key_id", "")), None)
        key = _as_told(event, state)
    owner, tier = detail.get("owner", key.owner), detail.get("tier", key.tier)
    keys[key_id] = replace(key, state=state, owner=owner, tier=tier)


def _as_told(event: AuditEvent, state: State) -> KeyAtEnd:
    """A key that only an event names."""
    return KeyAtEnd(
        key_id=str(event.detail["key_id"]),
        name=str(event.detail.get("name") or ""),
        owner=event.detail.get("owner"),
        tier=event.detail.get("tier"),
        state=state,
        created=str(event.time.date()),
        last_used=None,
        seen_on=None,
    )


def actions(month: AuditMonth) -> list[AuditEvent]:
    """What was done to keys in the month: its events, but for refusals, which do nothing."""
    return [one for one in month.events if one.detail_type != REFUSED]


def exceptions(month: AuditMonth, keys: Sequence[KeyAtEnd]) -> list[AuditException]:
    """What kept keys from sweeps at the month's end: protections, marks, tiers, and a hold."""
    asked = _protections(month)
    found = [one for key in keys if (one := _exception(key, asked, str(month.month.last)))]
    tiers: dict[tuple[str, str], AuditException] = {}
    for key in keys:
        code = key.line.get("reason_code")
        if code in (reasons.TierNever.code, reasons.NoContact.code):
            kind = "never_expires" if code == reasons.TierNever.code else "no_contact"
            one = tiers.get((kind, key.tier or ""))
            keys_of = one.keys + 1 if one else 1
            tiers[kind, key.tier or ""] = AuditException(
                kind, tier=key.tier, keys=keys_of, reason=key.line.get("reason", "")
            )
    hold = [AuditException("hold", keys=len(keys), reason=month.hold)] if month.hold else []
    return [*hold, *(tiers[one] for one in sorted(tiers)), *found]


def _protections(month: AuditMonth) -> dict[str, tuple[str, Protection] | None]:
    """The end of the last protection among the month's events, by key; None: released since."""
    last: dict[str, tuple[str, Protection] | None] = {}
    for one in month.events:
        key_id, detail = str(one.detail.get("key_id", "")), one.detail
        if one.detail_type == PROTECTED:
            who = Protection(str(detail.get("requested_by", "")), one.event_id)
            last[key_id] = str(detail.get("protected_until", "")), who
        elif one.detail_type == RELEASED:
            last[key_id] = None
    return last


_KINDS = {
    reasons.KeepTag.code: "keep_tag",
    reasons.OwnedBy.code: "owned_elsewhere",
    reasons.IdMayBeValue.code: "id_may_be_value",
    reasons.ProtectedUntil.code: "protected_until",
}


def _exception(
    key: KeyAtEnd, asked: Mapping[str, tuple[str, Protection] | None], last: str
) -> AuditException | None:
    """The key's exception: what the sweep found, or what was asked for, or taken back, in the month."""
    kind = _KINDS.get(key.line.get("reason_code", ""))
    until, who = _told(key), None
    if key.key_id in asked:
        told = asked[key.key_id]
        until, who = told or ("", None)
    if kind in (None, "protected_until"):
        if until < last:  # there is none, or it is over
            return None
        kind = "protected_until"
    return AuditException(
        kind=kind or "",
        key_id=key.key_id,
        name=key.name,
        owner=key.owner,
        tier=key.tier,
        reason=key.line.get("reason", ""),
        until=until,
        requested_by=who.requested_by if who else "",
        event_id=who.event_id if who else "",
    )


def _told(key: KeyAtEnd) -> str:
    facts = key.line.get("facts") or {}
    return str(facts.get("until") or "")


def with_known(
    found: Iterable[AuditException], known: Mapping[tuple[str, str], Protection]
) -> Iterator[AuditException]:
    """The exceptions; who asked for a protection before this month is taken from the folder before."""
    for one in found:
        who = known.get((one.key_id, one.until))
        if who and one.until and not one.event_id:
            yield replace(one, requested_by=who.requested_by, event_id=who.event_id)
        else:
            yield one
