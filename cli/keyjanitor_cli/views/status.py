"""Shows how a stack is: the account's keys, the last runs, what stops sweeps, problems, what to type next. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from keyjanitor.domain.capacity.forecast import Forecast, forecast
from keyjanitor.domain.model.records import CountRow, NightRow, PressureRow
from keyjanitor_cli.shapes import Block, Column, Command, Facts, Line, Table, Tone, View
from keyjanitor_cli.views.acts import SavedPlan
from keyjanitor_cli.words import kinds, many

KEY_LIMIT = 10_000  # API keys an account and Region, unless the report says that it was raised
DUE_AFTER = timedelta(hours=7)  # of a UTC day the night's runs are over
DAY = timedelta(days=1)
ALARM_LINES = 3  # of a description at least: what, until when, what to type
FULL_SOON, NEARLY_FULL = 0.8, 0.95  # of the key limit


@dataclass(frozen=True, slots=True)
class Problem:
    """What needs a person, and the command that comes next."""

    what: str
    command: str


@dataclass(frozen=True, slots=True)
class Standing:
    """All that `status` read. `report` is the latest one; `counts` and `nights` are by date."""

    now: datetime
    account: str
    who: str
    region: str
    stack: str
    mode: str
    version: str
    counts: Mapping[date, CountRow]
    nights: Mapping[date, NightRow]
    reading: date | None
    held: str | None
    pressure_row: PressureRow | None
    unsent: int
    report: Mapping[str, Any] | None
    saved: Sequence[SavedPlan] = field(default_factory=tuple)
    alarms: Sequence[Problem] | None = ()  # that are on; None: not known, for the reason
    alarms_unread: str = ""

    @property
    def today(self) -> date:
        return self.now.date()

    @property
    def key_limit(self) -> int:
        return int(self.report["service_quota"]) if self.report else KEY_LIMIT

    @property
    def keys(self) -> int | None:
        return self.counts[max(self.counts)].keys if self.counts else None

    @property
    def swept(self) -> date | None:
        return max((day for day, night in self.nights.items() if night.swept), default=None)

    @property
    def tonight(self) -> NightRow:
        return self.nights.get(self.today, NightRow(self.today))

    @property
    def is_braked(self) -> bool:
        newest = max(self.nights, default=None)
        return newest is not None and self.nights[newest].braked

    @property
    def waiting(self) -> Sequence[SavedPlan]:
        """The saved plans that were not approved yet; what is carried out waits for no one."""
        approved = {night.approved for night in self.nights.values()}
        return [plan for plan in self.saved if plan.digest not in approved]

    @property
    def findings(self) -> Sequence[Mapping[str, Any]]:
        return self.report["findings"] if self.report else ()

    @property
    def forecast(self) -> Forecast:
        if not self.counts:
            return Forecast(None)
        keys = {day: count.keys for day, count in self.counts.items()}
        return forecast(keys, self.key_limit, self.today)


def alarms_of(descriptions: Iterable[str], stack: str, region: str) -> list[Problem]:
    """The stack's own alarms, by their descriptions: what, until when it can wait, what to type."""
    found: list[Problem] = []
    for text in descriptions:
        lines = text.splitlines()
        # Another stack's name may begin with this one's.
        if len(lines) >= ALARM_LINES and lines[2].endswith(f" --stack {stack} --region {region}"):
            what = lines[0].partition(": ")[2] or lines[0]
            found.append(Problem(f"Alarm: {what} {lines[1]}", lines[2]))
    return found


def problems(at: Standing) -> list[Problem]:
    """What needs a person, the most urgent first."""
    found: list[Problem] = []
    due = (
        at.today
        if at.now - datetime.combine(at.today, datetime.min.time(), at.now.tzinfo) > DUE_AFTER
        else at.today - DAY
    )
    if at.held:
        found.append(Problem(f"Sweeps are on hold: {at.held}", "keyjanitor resume"))
    if at.is_braked:
        found.append(
            Problem(
                "The safety brake is on: no key is warned, disabled or parked.", "keyjanitor plan"
            )
        )
        found += [
            Problem(
                f"A plan waits for your approval: {kinds(plan.kinds)}.",
                f"keyjanitor approve {plan.digest}",
            )
            for plan in at.waiting
        ]
    if because := at.tonight.observed_because:
        found.append(Problem(f"The night's sweep only observed: {because}", "keyjanitor sweep"))
    if at.reading is None or at.reading < due:
        found.append(Problem(f"Usage was not read on {due}.", "keyjanitor read"))
    if at.mode != "observe" and (at.swept is None or at.swept < due):
        found.append(Problem(f"No sweep acted on {due}.", "keyjanitor logs expire_keys"))
    if not at.counts or max(at.counts) < due:
        found.append(
            Problem(f"The keys were not counted on {due}.", "keyjanitor logs watch_capacity")
        )
    if at.unsent:
        found.append(
            Problem(
                f"{many(at.unsent, 'event')} could not be sent yet; the keys' steps wait for it.",
                "keyjanitor logs expire_keys",
            )
        )
    found += at.alarms or ()
    if at.report is None:
        found.append(Problem("There is no report yet.", "keyjanitor report --now"))
    return found


def document(at: Standing) -> dict[str, Any]:
    """What a program reads."""
    seen = at.forecast
    return {
        "account": at.account,
        "region": at.region,
        "stack": at.stack,
        "mode": at.mode,
        "version": at.version,
        "keys": at.keys,
        "key_limit": at.key_limit,
        "forecast": {
            "keys_a_day": round(seen.growth.a_day, 2) if seen.growth else None,
            "full_on": str(at.today + DAY * seen.days) if seen.days is not None else None,
        },
        "last_reading": _text(at.reading),
        "last_sweep": _text(at.swept),
        "last_count": _text(max(at.counts, default=None)),
        "last_report": at.report["date"] if at.report else None,
        "hold": at.held,
        "brake": at.is_braked,
        "plans_to_approve": [
            {"digest": plan.digest, "due": dict(plan.kinds)} for plan in at.waiting
        ],
        "pressure_rule_above": at.pressure_row.above if at.pressure_row else None,
        "unsent_events": at.unsent,
        "alarms": None if at.alarms is None else [one.what for one in at.alarms],
        "problems": [
            {"kind": one["kind"], "what": one["what"], "slots": one["slots"]} for one in at.findings
        ],
        "needs_a_person": [{"what": one.what, "command": one.command} for one in problems(at)],
    }


def view(at: Standing) -> View:
    """What a person reads."""
    blocks: list[Block] = [
        Facts(
            [
                ("Account", Line(f"{at.account}, {at.region}, as {at.who}")),
                ("Stack", Line(f"{at.stack}, version {at.version}, Mode={at.mode}")),
                ("Keys", _keys(at)),
                ("Forecast", Line(_forecast(at))),
                ("Last reading", _day(at, at.reading)),
                ("Last sweep", _sweep(at)),
                ("Last count", _day(at, max(at.counts, default=None))),
                ("Last report", Line(at.report["date"] if at.report else "none")),
                ("Hold", Line(at.held, Tone.BAD) if at.held else Line("none", Tone.QUIET)),
                ("Safety brake", Line("on", Tone.BAD) if at.is_braked else Line("off", Tone.QUIET)),
                ("Pressure rule", _pressure(at.pressure_row)),
                ("Unsent events", Line(f"{at.unsent:,}", Tone.BAD if at.unsent else Tone.QUIET)),
                ("Alarms", _alarms(at)),
            ]
        ),
        *_problems(at.findings),
    ]
    return [*blocks, *_next(at)]


def _keys(at: Standing) -> Line:
    if at.keys is None:
        return Line("not counted yet", Tone.WARN)
    share = at.keys / at.key_limit
    tone = Tone.BAD if share >= NEARLY_FULL else Tone.WARN if share >= FULL_SOON else Tone.GOOD
    return Line(f"{at.keys:,} of {at.key_limit:,} ({share:.1%})", tone)


def _forecast(at: Standing) -> str:
    seen = at.forecast
    if seen.growth is None:
        return "not known yet: it needs a week of counts"
    a_day = f"{seen.growth.a_day:+.1f} keys a day"
    if seen.days is None:
        return f"{a_day}; the limit is not in sight"
    return f"{a_day}; full on about {at.today + DAY * seen.days} (in {seen.days:,} days)"


def _day(at: Standing, day: date | None) -> Line:
    if day is None:
        return Line("none", Tone.WARN)
    days = (at.today - day).days
    when = {0: "today", 1: "yesterday"}.get(days, f"{days} days ago")
    return Line(f"{day} ({when})", Tone.WARN if days > 1 else Tone.PLAIN)


def _sweep(at: Standing) -> Line:
    if at.swept is None and at.mode == "observe":
        return Line("none acts: Mode=observe", Tone.QUIET)
    return _day(at, at.swept)


def _pressure(pressure_row: PressureRow | None) -> Line:
    if pressure_row is None or pressure_row.above is None:
        return Line("none active", Tone.QUIET)
    return Line(f"active: above {pressure_row.above:.0%} idle limits are shorter", Tone.WARN)


def _alarms(at: Standing) -> Line:
    if at.alarms is None:
        return Line(f"not read: {at.alarms_unread}", Tone.WARN)
    return Line(f"{len(at.alarms)} on", Tone.BAD) if at.alarms else Line("none on", Tone.QUIET)


def _problems(findings: Sequence[Mapping[str, Any]]) -> list[Block]:
    if not findings:
        return []
    columns = [Column("", right=True), Column("Problem"), Column("Frees", right=True, whole=True)]
    rows = [
        [str(number), one["what"], f"{one['slots']:,}" if one["slots"] else ""]
        for number, one in enumerate(findings, 1)
    ]
    return [Table(columns, rows, title="Problems found (keyjanitor report --open has each)")]


def _next(at: Standing) -> list[Block]:
    found = problems(at)
    if not found:
        return [
            Line("Nothing needs a person. To see tonight's sweep:", Tone.GOOD),
            Command("keyjanitor plan"),
        ]
    blocks: list[Block] = []
    for one in found:
        blocks += [Line(one.what, Tone.BAD), Command(one.command)]
    return blocks


def _text(day: date | None) -> str | None:
    return str(day) if day else None
