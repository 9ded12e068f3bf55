"""Reads the recorded days of a running stack: a folder that its history bucket was synced to.

    keys/dt=DATE/keys.jsonl.gz      every key, as the sweep of that date found it
    evidence/DATE.json.gz           what that night's reading proved
    usage/dt=DATE/usage.jsonl.gz    requests of each key (read for few keys only)

A line of the keys files that the next night repeats is dropped after a week (`keys_file.thinned`), so a
key is on a date as the first line on or after that date says. A night whose file cannot be read is
unknown, not a night on which nothing happened.
"""

import gzip
import json
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from keyjanitor.domain.expiry import explained, reasons
from keyjanitor.domain.expiry.keys_file import PASSING
from keyjanitor.domain.expiry.ownership import KEEP_TAG
from keyjanitor.domain.model.keys import ApiKey, State
from keyjanitor.domain.model.owners import Owner, owner_of
from keyjanitor.domain.usage.evidence import Evidence
from keyjanitor.domain.usage.evidence_file import from_document
from keyjanitor.errors import UnexpectedAnswer
from keyjanitor_cli.whatif.errors import FolderRefused
from keyjanitor_cli.whatif.old_words import of_old_words

Line = dict[str, Any]
_STAGE = ("a stage named it",)
_NOON = time(12, tzinfo=UTC)
_WANTED = frozenset(
    {"key_id", "name", "owner", "tier", "state", "enabled", "created_date", "usage_plan_ids"}
    | {"verdict", "last_used", "idle_since", "idle_days", "reason"}
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the ledger had of a key that does not depend on the policy."""

    owner: str | None = None
    issued: bool = False
    owned_by: Owner | None = None
    protected_until: date | None = None
    expires_on: date | None = None


@dataclass(frozen=True, slots=True)
class RecordedKey:
    """A key on one night, as if the stack itself had disabled no key.

    `shut`: the stack had disabled or parked the key, so the record cannot show its use.
    """

    key: ApiKey
    tier: str
    usage_plan_ids: tuple[str, ...]
    facts: Facts
    shut: bool = False


@dataclass(frozen=True, slots=True)
class RecordedNight:
    """One night of the record; `evidence` is None if nothing was read on its date.

    `keys` also has the keys that the stack had parked, as if they were live; `listed` counts the others.
    """

    day: date
    keys: Mapping[str, RecordedKey]
    listed: int
    evidence: Evidence | None


class Record:
    """The record in a folder; raises FolderRefused if it holds no night.

    `nights` are the dates whose keys can be read, `unreadable` those whose file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.unreadable: list[date] = []
        self._lines = dict(self._read_backwards())
        self.nights = sorted(self._lines)
        last = next(filter(None, map(self._evidence, reversed(self.nights))), None)
        if last is None:
            raise FolderRefused(str(folder), "holds no night: sync keys/ and evidence/ into it")
        self.plan_names = last.plan_names()

    def live(self) -> Iterator[RecordedNight]:
        """The nights in order."""
        keys: dict[str, _Told] = {}
        for night in self.nights:
            for line in self._lines[night]:
                keys.setdefault(line["key_id"], _Told()).add(night, line)
        parked: dict[str, RecordedKey] = {}
        for night in self.nights:
            evidence = self._evidence(night)
            listed: dict[str, RecordedKey] = {}
            for key_id, told in list(keys.items()):
                if (one := told.on(night, evidence)) is not None:
                    listed[key_id] = one
                elif not told.lines:
                    del keys[key_id]
                    if told.was_parked is not None:
                        parked[key_id] = told.was_parked
            if any(told.says(reasons.TagsUnread) for told in keys.values()):
                listed = {key_id: _without_tags(one) for key_id, one in listed.items()}
            if evidence is not None:
                evidence = _with_members(evidence, parked)
            yield RecordedNight(night, parked | listed, len(listed), evidence)

    def requests(self, since: Mapping[str, date]) -> tuple[int, int]:
        """Requests of some keys, each from its date on, and the number of days on which they are not known."""
        first, total, missing = min(since.values()), 0, 0
        for number in range(first.toordinal(), self.nights[-1].toordinal()):
            day = date.fromordinal(number)
            rows = _read_lines(self._folder / f"usage/dt={day}/usage.jsonl.gz")
            used = [
                row.get("used")
                for row in rows or ()
                if row.get("key_id") in since and since[row["key_id"]] <= day
            ]
            missing += rows is None or not all(isinstance(one, int) for one in used)
            total += sum(one for one in used if isinstance(one, int))
        return total, missing

    def _read_backwards(self) -> Iterator[tuple[date, list[Line]]]:
        """Each night's lines that the next does not repeat, the last night first."""
        next_lines: dict[str, Line] = {}
        for path in sorted(self._folder.glob("keys/dt=*/keys.jsonl.gz"), reverse=True):
            day = _date_of(path.parent.name.removeprefix("dt="))
            lines = _read_lines(path)
            if day is None or lines is None or not all(map(_is_whole, lines)):
                self.unreadable += [day] if day else []
                continue
            kept = [line for line in lines if not _repeats(line, next_lines.get(line["key_id"]))]
            yield day, kept
            next_lines |= {line["key_id"]: line for line in kept}

    def _evidence(self, day: date) -> Evidence | None:
        body = _read(self._folder / f"evidence/{day}.json.gz")
        try:
            return from_document(json.loads(body)) if body else None
        except (UnexpectedAnswer, ValueError, KeyError, TypeError, AttributeError):
            return None


@dataclass(slots=True)
class _Told:
    """Lines of one key that are not used yet, with their nights.

    The sweep looks up a key's stack and stage keys only when it is about to touch the key. A later line
    has them, and they are taken to have been the same before.
    """

    lines: deque[tuple[date, Line]] = field(default_factory=deque)
    owned_by: Owner | None = None
    stage_keys: tuple[str, ...] = ()
    was_parked: RecordedKey | None = None
    _made: dict[date | None, RecordedKey] = field(default_factory=dict)

    def add(self, night: date, line: Line) -> None:
        self.lines.append((night, line))
        code, facts = reason_of(line)
        if code == reasons.OwnedBy.code:
            self.owned_by = owner_of(facts["owner"])
        if code == reasons.StageKeys.code:
            self.stage_keys = _STAGE

    def on(self, night: date, evidence: Evidence | None) -> RecordedKey | None:
        """The key on a night; None if it was not made yet, or is deleted."""
        while self.lines and self.lines[0][0] < night:
            _, line = self.lines.popleft()
            self._made.clear()
            parked = line["verdict"] == "park"
            self.was_parked = replace(self._key(line, None), shut=True) if parked else None
        if not self.lines:
            return None
        told_on, line = self.lines[0]
        if told_on > night and line["created_date"] >= str(night):
            return None
        changed = _changed_on(line, night, evidence)
        if changed not in self._made:
            self._made[changed] = self._key(line, changed)
        return self._made[changed]

    def says(self, reason: type[explained.Explained]) -> bool:
        """True if the verdict of the present night has such a reason."""
        return bool(self.lines) and reason_of(self.lines[0][1])[0] == reason.code

    def _key(self, line: Line, changed: date | None) -> RecordedKey:
        code, facts = reason_of(line)
        by_others = code == reasons.DisabledByOthers.code
        shut = line["state"] == State.DISABLED and not line["enabled"] and not by_others
        created = datetime.combine(date.fromisoformat(line["created_date"]), _NOON)
        return RecordedKey(
            key=ApiKey(
                key_id=line["key_id"],
                name=line["name"],
                enabled=line["enabled"] or shut,
                created_date=created,
                last_updated_date=datetime.combine(changed, _NOON) if changed else created,
                stage_keys=self.stage_keys,
                tags={KEEP_TAG: ""} if code == reasons.KeepTag.code else {},
            ),
            tier=line["tier"],
            usage_plan_ids=tuple(line["usage_plan_ids"]),
            facts=replace(
                _facts(code, facts),
                owner=line["owner"],
                issued=_issued(line),
                owned_by=self.owned_by,
            ),
            shut=shut,
        )


def _issued(line: Line) -> bool:
    """Whether the key was issued; only such keys had an owner when lines did not say how it is known."""
    return bool(line.get("owner_from", "issued") == "issued" and line["owner"] is not None)


def reason_of(line: Line) -> tuple[str, Mapping[str, Any]]:
    """Code and facts of a line's reason; for a line of an earlier version they are read from its sentence."""
    code, facts = line.get("reason_code", ""), line.get("facts", {})
    if code == reasons.Stepped.code and not facts["due"]["reason_code"]:
        code = ""  # the step was taken, and its reason written, by an earlier version
    return (code, facts) if code else of_old_words(line["reason"])


def _facts(code: str, facts: Mapping[str, Any]) -> Facts:
    """Facts in a reason that do not depend on the policy; the record has them nowhere else."""
    if code == reasons.ProtectedUntil.code:
        return Facts(protected_until=date.fromisoformat(facts["until"]))
    if code in (reasons.Ends.code, reasons.EndsLater.code):
        return Facts(expires_on=date.fromisoformat(facts["expires_on"]))
    if "due" in facts:
        return _facts(facts["due"]["reason_code"], facts["due"]["facts"])
    return Facts()


def _changed_on(line: Line, night: date, evidence: Evidence | None) -> date | None:
    """The day of the key's last change, move, renewal or restore, by its idle clock.

    None if the clock counts from its use, from when it was made, or from where evidence begins.
    """
    since = line["idle_since"]
    if evidence is None or since is None or since in (line["last_used"], line["created_date"]):
        return None
    day = date.fromisoformat(since)
    return day if day <= night and day != evidence.first_day else None


def _without_tags(one: RecordedKey) -> RecordedKey:
    return replace(one, key=replace(one.key, tags=None))


def _with_members(evidence: Evidence, parked: Mapping[str, RecordedKey]) -> Evidence:
    """The evidence as if these keys were still in their plans."""
    if not parked:
        return evidence
    back: dict[str, list[str]] = {}
    for key_id, one in parked.items():
        for plan_id in one.usage_plan_ids:
            back.setdefault(plan_id, []).append(key_id)
    return replace(
        evidence,
        plans={
            plan_id: replace(plan, members=_both(plan.members, back.get(plan_id, ())))
            for plan_id, plan in evidence.plans.items()
        },
        plans_changed={k: on for k, on in evidence.plans_changed.items() if k not in parked},
    )


def _both(members: Iterable[str], more: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*members, *more)))


# --- files ----------------------------------------------------------------------------------------


def _is_whole(line: Line) -> bool:
    return line.keys() >= _WANTED and isinstance(line.get("facts", {}), dict)


def _repeats(line: Line, next_line: Line | None) -> bool:
    """True if the next night's line has the same lasting columns; like `keys_file.thinned`, but faster."""
    return next_line is not None and line == {
        **next_line,
        **{name: line[name] for name in PASSING & line.keys()},
    }


def _date_of(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _read(path: Path) -> bytes | None:
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error):
        return None


def _read_lines(path: Path) -> list[Line] | None:
    """A file's lines; None if the file cannot be read, or a line is not a JSON object."""
    body = _read(path)
    try:
        return None if body is None else [dict(json.loads(line)) for line in body.splitlines()]
    except (ValueError, TypeError):
        return None
