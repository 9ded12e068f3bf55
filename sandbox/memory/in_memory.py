"""An AWS account in memory, as far as keyjanitor's own code talks to it: nothing is sent anywhere.

Simulations and unit tests run the functions' code on it. Each class has the methods of the adapter
that it stands in for, as far as they are used, and shows what it holds to whoever looks.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from keyjanitor.adapters.ledger import Change
from keyjanitor.adapters.request_store import RequestChange
from keyjanitor.domain.expiry.safety_brake import Compared
from keyjanitor.domain.expiry.sweep_plan import SweepPlan
from keyjanitor.domain.model.keys import LIVE_STATES, ApiKey, Secret, State, Tombstone
from keyjanitor.domain.model.records import (
    AlertRow,
    Announcement,
    Burst,
    CountRow,
    NightRow,
    PressureRow,
    RequestRow,
    Row,
    row_id,
)
from keyjanitor.domain.model.shelf import Shelf
from keyjanitor.domain.model.usage_plan import UsagePlan
from keyjanitor.domain.requests.census import Admissions
from keyjanitor.domain.requests.import_file import NewKey
from keyjanitor.domain.usage.evidence import Evidence
from keyjanitor.errors import AccountFull, CallFailed, ClaimLost, Held, TombstoneUnreadable

JANITOR = 3  # the hour at which keyjanitor changes keys; everybody else does so at noon


def at(day: date, hour: int = 12) -> datetime:
    """A moment of a day, UTC."""
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


class Gateway:
    """API Gateway: keys, usage plans and their members. Who uses which is told elsewhere."""

    def __init__(self, today: date) -> None:
        self.today = today
        self.living: dict[str, ApiKey] = {}
        self.values: dict[str, Secret] = {}  # where it is another than `value of` the id
        self.plans: dict[str, UsagePlan] = {}
        self.members_of: dict[str, list[str]] = {}
        self.disabled: list[str] = []  # every key that was, in turn
        self.deleted: list[str] = []
        self.key_limit = 10_000
        self._made = 0
        self._listed: dict[str, tuple[ApiKey, ApiKey]] = {}  # a key, and how it is listed

    # --- reading ----------------------------------------------------------------------------------

    def keys(self) -> list[ApiKey]:
        listed = []
        for key_id, key in self.living.items():
            known = self._listed.get(key_id)
            if known is None or known[0] is not key:
                known = self._listed[key_id] = key, replace(key, tags=None)
            listed.append(known[1])
        return listed

    def key(self, key_id: str) -> ApiKey | None:
        return self.living.get(key_id)

    def key_with_value(self, key_id: str) -> tuple[ApiKey, Secret] | None:
        key = self.key(key_id)
        value = self.values.get(key_id) or Secret(f"value of {key_id}")
        return (key, value) if key else None

    def keys_named(self, prefix: str) -> list[ApiKey]:
        return [key for key in self.living.values() if key.name.startswith(prefix)]

    def usage_plans(self) -> list[UsagePlan]:
        return list(self.plans.values())

    def plans_of(self, key_id: str) -> tuple[str, ...]:
        return tuple(sorted(plan for plan, ids in self.members_of.items() if key_id in ids))

    def members(self, usage_plan_id: str, prefix: str = "") -> tuple[str, ...]:
        members = self.members_of[usage_plan_id]
        if not prefix:
            return tuple(members)
        named = {key.key_id for key in self.keys_named(prefix)}
        return tuple(key_id for key_id in members if key_id in named)

    # --- changing ---------------------------------------------------------------------------------

    def new_id(self) -> str:
        self._made += 1
        return f"k{self._made:09}"

    def import_keys(self, keys: Sequence[NewKey]) -> None:
        if len(self.living) + len(keys) > self.key_limit:
            raise AccountFull
        for new in keys:
            key_id = self.new_id()
            self._create(key_id, new.value, name=new.name, description=new.description)
            for plan_id in new.usage_plan_ids:
                self.attach(plan_id, key_id)

    def create_disabled(
        self,
        value: Secret,
        *,
        name: str,
        description: str,
        customer_id: str,
        tags: Mapping[str, str],
    ) -> str:
        if len(self.living) >= self.key_limit:
            raise CallFailed("CreateApiKey", "LimitExceededException")
        key_id = self.new_id()
        self._create(
            key_id,
            value,
            name=name,
            description=description,
            customer_id=customer_id,
            tags=dict(tags),
            enabled=False,
        )
        return key_id

    def _create(self, key_id: str, value: Secret, **what: Any) -> None:
        now = at(self.today, JANITOR)
        values = {"enabled": True, "tags": {}, **what}
        self.living[key_id] = ApiKey(
            key_id=key_id, created_date=now, last_updated_date=now, **values
        )
        self.values[key_id] = value

    def attach(self, usage_plan_id: str, key_id: str) -> bool:
        if usage_plan_id not in self.plans:
            return False
        self.members_of[usage_plan_id].append(key_id)
        return True

    def rename(self, key_id: str, name: str) -> datetime | None:
        return self.change(key_id, hour=JANITOR, name=name)

    def set_enabled(self, key_id: str, *, enabled: bool) -> datetime | None:
        if not enabled:
            self.disabled.append(key_id)
        return self.change(key_id, hour=JANITOR, enabled=enabled)

    def change(self, key_id: str, *, hour: int = 12, **what: Any) -> datetime:
        """Changes a key, and notes when."""
        updated = at(self.today, hour)
        self.living[key_id] = replace(self.living[key_id], last_updated_date=updated, **what)
        return updated

    def delete(self, key_id: str) -> None:
        del self.living[key_id]
        self._listed.pop(key_id, None)
        self.values.pop(key_id, None)
        for members in self.members_of.values():
            if key_id in members:
                members.remove(key_id)
        self.deleted.append(key_id)


class Ownership:
    """The tags of all keys, and their stacks."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.stacks: dict[str, str] = {}
        self.readable = True

    def tags(self) -> dict[str, dict[str, str]]:
        if not self.readable:
            raise CallFailed("GetResources", "InternalServiceException")
        return {key_id: dict(key.tags) for key_id, key in self._gateway.living.items() if key.tags}

    def stack_of(self, key_id: str) -> str | None:
        if not self.readable:
            raise CallFailed("DescribeStackResources", "InternalFailure")
        return self.stacks.get(key_id)


class Memory:
    """The ledger: rows that are written only by who has read their last version."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}  # of keys that live in API Gateway
        self.gone: dict[str, Row] = {}  # of keys that have left it
        self.night_rows: dict[date, NightRow] = {}
        self.count_rows: dict[date, CountRow] = {}
        self._pressure_row: PressureRow | None = None
        self.held: str | None = None
        self.outbox: dict[str, Announcement] = {}

    def lease_until(self) -> None:
        """Nobody sweeps while somebody looks."""

    # --- rows -------------------------------------------------------------------------------------

    def find(self, key_id: str) -> Row | None:
        """A key's row, wherever it is."""
        return self.rows.get(key_id) or self.gone.get(key_id)

    def live_rows(self) -> dict[str, Row]:
        return dict(self.rows)

    def row(self, key_id: str) -> Row | None:
        return self.rows.get(key_id)

    def requests(self, _: Sequence[str]) -> dict[str, RequestRow]:
        return {}  # no run of a simulation dies while it makes keys

    def row_of_any(self, key_id: str) -> Row | None:
        row = self.find(key_id)
        while row is not None and row.state is State.RESTORED and row.new_key_id is not None:
            row = self.find(row.new_key_id)
        return row

    def holders(self) -> Counter[tuple[str, str | None]]:
        return Counter((row.tier, row.owner) for row in self.rows.values())

    def parked_keys(self, today: date, until: date | None = None) -> Shelf:
        return Shelf.of(self.gone.values(), today, until)

    def parked_on_sweep(self, day: date) -> list[Row]:
        return [
            row
            for row in self.gone.values()
            if row.state is State.PARKED and day in (row.disabled_on, row.parked_on)
        ]

    def commit(self, changes: Iterable[Change], *, unless_held: bool = False) -> list[Row]:
        written: list[Row] = []
        for change in changes:
            if unless_held and self.held:
                raise Held(self.held)
            if self._is_as_read(change):
                written.append(self._write(change))
        return written

    def commit_one(self, change: Change, *, unless_held: bool = False) -> Row:
        written = self.commit([change], unless_held=unless_held)
        if not written:
            raise ClaimLost(change.after.key_id)
        return written[0]

    def commit_together(self, *changes: Change) -> bool:
        if not all(map(self._is_as_read, changes)):
            return False
        for change in changes:
            self._write(change)
        return True

    def _is_as_read(self, change: Change) -> bool:
        stands = self.find(change.after.key_id)
        version = change.before.version if change.before else 0
        return (stands.version if stands else 0) == version

    def _write(self, change: Change) -> Row:
        version = change.before.version if change.before else 0
        row = replace(change.after, version=version + 1)
        here, there = (self.rows, self.gone) if row.state in LIVE_STATES else (self.gone, self.rows)
        here[row.key_id] = row
        there.pop(row.key_id, None)
        self.outbox.update({one.announcement_id: one for one in change.announcements})
        self.sent(change.taken)
        return row

    # --- nights, counts, the ladder ---------------------------------------------------------------

    def night(self, day: date) -> NightRow:
        return self.night_rows.get(day, NightRow(day))

    def nights(self, since: date, until: date) -> dict[date, NightRow]:
        return {day: row for day, row in self.night_rows.items() if since <= day <= until}

    def nights_of(self, days: Iterable[date]) -> dict[date, NightRow]:
        return {day: self.night_rows[day] for day in days if day in self.night_rows}

    def remember(self, day: date, **what: Any) -> None:
        self.night_rows[day] = replace(self.night(day), **what)

    def put_count(self, count: CountRow) -> None:
        self.count_rows[count.date] = count

    def counts(self, since: date, until: date) -> dict[date, CountRow]:
        return {day: row for day, row in self.count_rows.items() if since <= day <= until}

    def put_pressure_row(self, pressure_row: PressureRow) -> None:
        self._pressure_row = pressure_row

    def pressure_row(self) -> PressureRow | None:
        return self._pressure_row

    def bursts(self) -> tuple[Burst, ...]:
        return ()

    def hold(self) -> str | None:
        return self.held

    # --- outbox -----------------------------------------------------------------------------------

    def unsent(self, _: datetime | None = None) -> list[Announcement]:
        return [self.outbox[name] for name in sorted(self.outbox)]

    def sent(self, announcements: Sequence[Announcement]) -> None:
        for one in announcements:
            self.outbox.pop(one.announcement_id, None)


class RequestStore:
    """What the ledger remembers of requests."""

    def __init__(self, ledger: Memory) -> None:
        self._ledger = ledger
        self.asked: dict[str, RequestRow] = {}
        self._admissions = Admissions()

    def requests(self, request_ids: Sequence[str]) -> dict[str, RequestRow]:
        return {name: self.asked[name] for name in request_ids if name in self.asked}

    def of_all_senders(self, request_id: str) -> list[RequestRow]:
        beginning = row_id(request_id, "")
        return [row for name, row in self.asked.items() if name.startswith(beginning)]

    def commit(self, changes: Sequence[RequestChange]) -> list[RequestRow | None]:
        return [self._commit(change) for change in changes]

    def _commit(self, change: RequestChange) -> RequestRow | None:
        name = change.after.request_id
        version = change.before.version if change.before else 0
        stands = self.asked.get(name)
        if (stands.version if stands else 0) != version:
            return None
        if not self._ledger.commit_together(*change.rows):
            return None
        self._ledger.outbox.update({one.announcement_id: one for one in change.announcements})
        self.asked[name] = replace(change.after, version=version + 1)
        return self.asked[name]

    def admissions(self) -> Admissions:
        return self._admissions

    def put_admissions(self, admissions: Admissions) -> bool:
        self._admissions = replace(admissions, version=admissions.version + 1)
        return True


class AlertStore:
    """What was told and stands."""

    def __init__(self) -> None:
        self._row = AlertRow()

    def read(self) -> AlertRow:
        return self._row

    def write(self, row: AlertRow) -> AlertRow | None:
        self._row = replace(row, version=row.version + 1)
        return self._row


class Files:
    """The history bucket: evidence, saved plans, tombstones."""

    def __init__(self) -> None:
        self.evidences: dict[date, Evidence] = {}
        self.saved: dict[str, frozenset[tuple[str, str]]] = {}
        self.compared: dict[date, Compared] = {}
        self.tombstones: dict[str, tuple[Tombstone, Secret]] = {}
        self.open = True

    def evidence(self, day: date) -> Evidence | None:
        return self.evidences.get(day)

    def evidence_before(self, day: date) -> Evidence | None:
        before = max((one for one in self.evidences if one < day), default=None)
        return self.evidence(before) if before else None

    def latest_evidence(self, day: date) -> Evidence | None:
        return self.evidence(day) or self.evidence_before(day)

    def put_evidence(self, evidence: Evidence) -> None:
        self.evidences[evidence.day] = evidence

    def save_sweep_plan(self, plan: SweepPlan) -> None:
        self.saved[plan.digest] = plan.pairs

    def saved_sweep_plan(self, digest: str) -> frozenset[tuple[str, str]]:
        return self.saved[digest]

    def compared_before(self, day: date) -> Compared | None:
        before = max((one for one in self.compared if one < day), default=None)
        return self.compared[before] if before else None

    def put_compared(self, day: date, night: Compared, *, once: bool = True) -> None:
        if not once or day not in self.compared:
            self.compared[day] = night
        for old in sorted(self.compared)[:-2]:  # what is older is never asked for
            del self.compared[old]

    def put_approval(self, digest: str, day: date, moment: datetime) -> None:
        pass

    def put_tombstone(self, tombstone: Tombstone, value: Secret, _: object) -> None:
        self.tombstones[tombstone.key_id] = tombstone, value

    def open_tombstone(self, key_id: str, _: object) -> tuple[Tombstone, Secret]:
        if not self.open:
            raise TombstoneUnreadable(key_id, "KMS says no", transient=True)
        return self.tombstones[key_id]

    def has_tombstone(self, key_id: str) -> bool:
        return key_id in self.tombstones

    def destroy_tombstone(self, key_id: str) -> None:
        self.tombstones.pop(key_id, None)


class ValueSealer:
    """Nothing leaves this account, so nothing is sealed in it."""

    def seal(self, value: Secret, context: Mapping[str, str]) -> str:  # noqa: ARG002
        return "c2VhbGVk"

    def try_out(self) -> None:
        """Nothing is sealed, so it opens."""


class Told:
    """Bus and topic in one: all that anybody was told."""

    def __init__(self) -> None:
        self.events: list[Announcement] = []
        self.alerts: list[Any] = []

    def put(self, announcements: Sequence[Announcement]) -> list[Announcement]:
        self.events += announcements
        return list(announcements)

    def publish(self, alert: Any) -> None:
        self.alerts.append(alert)

    def unconfirmed(self) -> list[str]:
        return []


class DeadLetterQueues:
    """Dead-letter queues in which nothing lies."""

    def message_counts(self) -> dict[str, int]:
        return {}
