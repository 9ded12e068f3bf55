"""Shows what an operator's act would do, and what it did: to which keys, with new ids, and what it left. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from keyjanitor.domain.model.keys import State
from keyjanitor.domain.model.records import Row, was_agreed
from keyjanitor_cli.shapes import Block, Column, Command, Line, Table, Tone, View
from keyjanitor_cli.words import WAS, first, kinds, many

SHOWN = 100  # keys of one answer; --json has all
NAMED = 20  # ids in one line


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan that waits for an approval: how many keys are due to which step, deletions first."""

    digest: str
    day: date
    kinds: Mapping[str, int]
    due: tuple[tuple[str, str, str], ...]  # action, key id, reason


@dataclass(frozen=True, slots=True)
class Undo:
    """What an undo of a date would bring back, by the ledger; `left_out` ended as was agreed."""

    day: date
    enable: tuple[Row, ...]
    restore: tuple[Row, ...]
    left_out: tuple[Row, ...]
    unknown: tuple[str, ...]  # keys that were named, and to which nothing was done on the date

    @property
    def keys(self) -> int:
        return len(self.enable) + len(self.restore)

    @property
    def question(self) -> str:
        numbers = {"enable": len(self.enable), "restore": len(self.restore)}
        what = kinds(numbers)
        ids = [row.key_id for row in (*self.enable, *self.restore)]
        return f"Undo {self.day}: {what}: {first(ids, 5)}?"


def undo_of(day: date, rows: Sequence[Row], named: Sequence[str] = ()) -> Undo:
    """What an undo would bring back of the rows that a date's sweeps disabled or parked."""
    taken = [
        row
        for row in rows
        if (row.state is State.DISABLED and row.disabled_on == day)
        or (row.state is State.PARKED and day in (row.disabled_on, row.parked_on))
    ]
    wanted = [row for row in taken if not named or row.key_id in named]
    back = [row for row in wanted if named or not was_agreed(row)]
    return Undo(
        day,
        enable=tuple(row for row in back if row.state is State.DISABLED),
        restore=tuple(row for row in back if row.state is State.PARKED),
        left_out=tuple(row for row in wanted if row not in back),
        unknown=tuple(sorted(set(named) - {row.key_id for row in taken})),
    )


def nothing_to_undo(undo: Undo) -> View:
    """Why an undo has nothing to do."""
    blocks: list[Block] = [Line(f"There is nothing to take back on {undo.day}.")]
    if undo.unknown:
        blocks.append(
            Line(
                f"No sweep of that date disabled or parked {first(undo.unknown, NAMED)}, or it is "
                "back already."
            )
        )
        blocks.append(Command(f"keyjanitor key {undo.unknown[0]}"))
    if undo.left_out:
        blocks += _left_out(undo.day, [row.key_id for row in undo.left_out])
    return blocks


def approval_question(plan: SavedPlan) -> str:
    """What an approval lets go, every kind of step, deletions first."""
    return f"Approve the plan {plan.digest} of {plan.day}: {kinds(plan.kinds)}?"


def sweep_question(due: Mapping[str, int]) -> str:
    """What a sweep of now would do; with nothing due it still brings the ledger up to date."""
    if told := kinds(due):
        return f"Sweep now: {told}?"
    return (
        "No key is due to be warned, disabled or parked: a sweep only finishes what an earlier run "
        "left over, and brings the ledger up to date. Sweep now?"
    )


def done(
    answer: Mapping[str, Any], names: Mapping[str, str] | None = None, undone: date | None = None
) -> View:
    """What a sweep, an approval or an undo did; `names` are those of keys, as far as they are known."""
    if "running" in answer:
        return [
            Line(
                f"Another sweep is at work until {answer['running']} at the latest; nothing was done "
                "by this call.",
                Tone.WARN,
            )
        ]
    blocks: list[Block] = []
    did = answer.get("did", {"count": 0, "keys": []})
    if did["keys"]:
        blocks.append(_table(did["keys"], names or {}))
        if did["count"] > SHOWN:
            blocks.append(Line(f"and {did['count'] - SHOWN:,} more: --json has them", Tone.QUIET))
    numbers = Counter({step: number for step, number in answer["applied"].items() if number})
    told = kinds(numbers, WAS)
    blocks.append(
        Line(f"Done: {told}.", Tone.GOOD) if told else Line("Nothing was done to a key.", Tone.WARN)
    )
    return [*blocks, *_left(answer, undone)]


def _table(keys: Sequence[Mapping[str, str]], names: Mapping[str, str]) -> Table:
    renewed = any("new_key_id" in one for one in keys)
    columns = [Column("Done", whole=True), Column("Key", whole=True), Column("Name")]
    rows = [
        [WAS[one["action"]], one["key_id"], names.get(one["key_id"]), one.get("new_key_id")]
        for one in keys[:SHOWN]
    ]
    if renewed:
        return Table([*columns, Column("New id", whole=True)], rows)
    return Table(columns, [row[:3] for row in rows])


def _left(answer: Mapping[str, Any], undone: date | None) -> list[Block]:
    """What is left over, and why."""
    blocks: list[Block] = []
    if answer.get("observed_because"):
        blocks.append(Line(f"It only observed: {answer['observed_because']}", Tone.BAD))
    if answer.get("held"):
        blocks.append(Line(f"It stopped, sweeps are on hold: {answer['held']}", Tone.WARN))
        blocks.append(Command("keyjanitor resume"))
    if failed := answer.get("failed"):
        ids = first(failed["key_ids"], NAMED)
        blocks.append(Line(f"The step of {many(failed['count'])} failed: {ids}", Tone.BAD))
        blocks.append(Command("keyjanitor logs expire_keys"))
    if left_out := answer.get("left_out"):
        blocks += _left_out(undone, left_out["key_ids"])
    for why, number in answer.get("left_alone", {}).items():
        blocks.append(Line(f"{many(number)} left alone: {why}", Tone.WARN))
    if answer.get("remaining") and not failed:
        blocks.append(
            Line(
                f"{many(answer['remaining'])} are left for the next run: type it again.", Tone.WARN
            )
        )
    if brake := answer.get("brake"):
        blocks.append(
            Line(
                f"The safety brake is on: {many(brake['new'])} are newly past their limit.",
                Tone.BAD,
            )
        )
        if answer.get("saved_plan"):
            blocks.append(Command(f"keyjanitor approve {answer['digest']}"))
        else:
            blocks.append(
                Line(
                    "An approval of today has been carried out; the next night's sweep saves a plan of "
                    "these keys, if they are still due."
                )
            )
    elif answer.get("saved_plan"):
        waiting = (
            Counter(answer["due"])
            - Counter({"purge": answer["due"].get("purge", 0)})
            - Counter({step: answer["applied"].get(step, 0) for step in answer["due"]})
        )
        blocks.append(
            Line(f"A later night's allowance is for {kinds(waiting)}; today they are approved by:")
        )
        blocks.append(Command(f"keyjanitor approve {answer['digest']}"))
    return blocks


def _left_out(day: date | None, key_ids: Sequence[str]) -> list[Block]:
    return [
        Line(
            f"{many(len(key_ids))} stay as they are, for their agreed end had come: "
            f"{first(key_ids, NAMED)}. To bring one back too, name it:",
            Tone.WARN,
        ),
        Command(f"keyjanitor undo {day or 'DATE'} {key_ids[0]}"),
    ]


def needs_person(answer: Mapping[str, Any]) -> bool:
    """Whether something is left that does not go away by itself."""
    return bool(
        answer.get("failed")
        or answer.get("brake")
        or answer.get("observed_because")
        or answer.get("remaining")
    )


def read(answer: Mapping[str, Any]) -> View:
    """What a reading found."""
    if "running" in answer:
        return [
            Line(f"Another reading is at work until {answer['running']} at the latest.", Tone.WARN)
        ]
    if unfinished := answer.get("unfinished"):
        left = ", ".join(
            f"{name.replace('_', ' ')} {number:,}" for name, number in unfinished.items()
        )
        return [
            Line(f"The reading of {answer['date']} is not finished: {left}.", Tone.WARN),
            Line("It goes on where it is when you type it again, or with the night's next run."),
        ]
    blocks: list[Block] = []
    if answer.get("already_read"):
        blocks.append(
            Line(
                f"{answer['date']} was read before, so nothing was read now: usage plans and keys made "
                "since are seen by the next night's reading.",
                Tone.WARN,
            )
        )
    blocks.append(
        Line(
            f"The reading of {answer['date']}: {many(answer['plans'], 'usage plan')}, "
            f"{many(answer['keys'])}, of which {answer['keys_used']:,} were used in 90 days."
        )
    )
    if unread := answer.get("unread"):
        columns = [Column("Plan", whole=True), Column("Name"), Column("Why")]
        rows = [[plan["usage_plan_id"], plan["name"], plan["reason"]] for plan in unread]
        blocks.append(Table(columns, rows, title="Not read; their keys are kept"))
    if silent := answer.get("unwitnessed"):
        blocks.append(
            Line(
                f"{many(len(silent), 'usage plan')} never had a request, so their keys are kept: "
                f"{first(silent, NAMED)}",
                Tone.QUIET,
            )
        )
    return blocks
