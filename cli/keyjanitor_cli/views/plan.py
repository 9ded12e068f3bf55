"""Shows tonight's plan: by tier and step each key with its reason, and the totals last. Pure."""

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import groupby
from pathlib import PurePath
from typing import Any

from keyjanitor.domain.model.safe_text import visible
from keyjanitor_cli.shapes import Block, Column, Command, Line, Table, Tone, View
from keyjanitor_cli.words import MEANS, first, kinds, many

ORDER = ("park", "disable", "warn")  # deletions first
SHOWN = 40  # keys of one tier and step; --all shows the others
NAMED = 20  # keys in one line
NEXT_DATE = {"warn": "disable_on", "disable": "park_on", "park": "purge_on"}
NEXT_WORD = {"warn": "Disabled", "disable": "Parked", "park": "Purged"}
COLUMNS = (
    "tier",
    "step",
    "done",
    "key_id",
    "name",
    "owner",
    "last_used",
    "reason",
    "next_on",
)
WAITING = ("waits", "awaits_allowance", "not_tonight", "not_told")  # reason codes of `keep`
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet would compute


def is_done(line: Mapping[str, Any]) -> bool:
    """Whether a step was taken by an earlier run of the date."""
    return line.get("reason_code") == "stepped"


def steps(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The keys to which something is done, deletions first, in each tier the longest idle first."""
    found = [
        {
            "tier": line.get("tier"),
            "step": line["verdict"],
            "done": is_done(line),
            "key_id": line["key_id"],
            "name": line.get("name"),
            "owner": line.get("owner"),
            "last_used": line.get("last_used"),
            "idle_days": line.get("idle_days"),
            "reason": line.get("reason"),
            "next_on": line.get(NEXT_DATE[line["verdict"]]),
        }
        for line in lines
        if line.get("verdict") in ORDER
    ]
    return sorted(
        found,
        key=lambda one: (
            str(one["tier"]),
            ORDER.index(one["step"]),
            -(one["idle_days"] or 0),
            one["key_id"],
        ),
    )


def stays(lines: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The keys to which nothing is done, by why."""
    counted: Counter[str] = Counter()
    for line in lines:
        if line.get("verdict") in ORDER:
            continue
        code = line.get("reason_code")
        if line.get("verdict") == "keep" and code in WAITING:
            counted[str(code)] += 1
        else:
            counted[str(line.get("verdict"))] += 1
    return dict(counted)


def document(answer: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a program reads: the function's answer, each step, and the numbers of those that stay."""
    return {"answer": dict(answer), "steps": steps(lines), "stays": stays(lines)}


def view(
    answer: Mapping[str, Any],
    lines: Sequence[Mapping[str, Any]],
    *,
    deployed: str,
    show_all: bool = False,
) -> View:
    """The plan as a person reads it; `deployed` is the stack's Mode."""
    blocks: list[Block] = []
    found = steps(lines)
    for (tier, step), group in groupby(found, key=lambda one: (one["tier"], one["step"])):
        blocks += _group(str(tier), step, list(group), show_all=show_all)
    if not found:
        blocks.append(Line("No key is warned, disabled or parked.", Tone.GOOD))
    blocks += _totals(answer, lines, found)
    return [*blocks, *_conditions(answer, deployed)]


def _group(
    tier: str, step: str, group: Sequence[Mapping[str, Any]], *, show_all: bool
) -> list[Block]:
    shown = group if show_all else group[:SHOWN]
    table = Table(
        [
            Column("Key", whole=True),
            Column("Name"),
            Column("Owner"),
            Column("Last use", whole=True),
            Column("Why"),
            Column(NEXT_WORD[step], whole=True),
        ],
        [
            [
                one["key_id"],
                one["name"],
                one["owner"],
                one["last_used"] or "never",
                f"done today: {one['reason']}" if one["done"] else one["reason"],
                one["next_on"],
            ]
            for one in shown
        ],
        title=f"Tier {visible(tier)}: {many(len(group))} {MEANS[step]}",
    )
    if len(shown) == len(group):
        return [table]
    return [table, Line(f"and {len(group) - len(shown):,} more: --all shows them", Tone.QUIET)]


def _totals(
    answer: Mapping[str, Any],
    lines: Sequence[Mapping[str, Any]],
    found: Sequence[Mapping[str, Any]],
) -> list[Block]:
    ahead = Counter(one["step"] for one in found if not one["done"])
    done = Counter(one["step"] for one in found if one["done"])
    purge = (answer.get("due") or {}).get("purge", 0)
    numbers = {**ahead, **({"purge": purge} if purge else {})}
    stay = stays(lines)
    words = {
        "keep": "in use or not idle for long enough",
        "waits": "wait for their announced date",
        "awaits_allowance": "wait for a later night's allowance",
        "not_tonight": "are due, but not tonight",
        "not_told": "wait until their notice could be sent",
        "protected": "protected or owned by another tool",
        "unknown": "unknown, so kept",
    }
    blocks: list[Block] = [
        Line(f"Plan: {kinds(numbers) or 'nothing'}; of {many(answer.get('keys') or 0)}.")
    ]
    if done:
        blocks.append(Line(f"Done today already: {kinds(done)}.", Tone.QUIET))
    told = [f"{stay[word]:,} {text}" for word, text in words.items() if stay.get(word)]
    if told:
        blocks.append(Line(f"Nothing is done to: {', '.join(told)}.", Tone.QUIET))
    return blocks


def _conditions(answer: Mapping[str, Any], deployed: str) -> list[Block]:
    """What keeps the plan from being carried out as it is."""
    blocks: list[Block] = []
    if answer.get("held"):
        blocks += [
            Line(f"Sweeps are on hold, so none of it is done: {answer['held']}", Tone.WARN),
            Command("keyjanitor resume"),
        ]
    elif deployed == "observe":
        blocks.append(
            Line("None of it is done: the stack is deployed with Mode=observe.", Tone.WARN)
        )
    elif deployed == "disable":
        blocks.append(
            Line("No key is parked or purged: the stack is deployed with Mode=disable.", Tone.WARN)
        )
    if brake := answer.get("brake"):
        causes = ", ".join(
            f"{cause['cause'].replace('_', ' ')} {cause['keys']:,}" for cause in brake["causes"]
        )
        blocks.append(
            Line(
                f"The safety brake is on: {many(brake['new'])} are newly past their idle limit "
                f"since {brake['since']} (usual: {brake['usual']:g}), by {causes}. No key is warned, "
                "disabled or parked until you approve it or the cause is gone.",
                Tone.BAD,
            )
        )
    if unsure := answer.get("tags_unlisted"):
        blocks.append(Line(tags_unlisted(unsure), Tone.QUIET))
    blocks += [Line(told, Tone.BAD) for told in answer.get("policy_problems", ())]
    return blocks


def tags_unlisted(keys: int) -> str:
    """What a plan does not know of keys to be warned where no tag of any key is listed."""
    return (
        f"The tagging API lists no tag of any API key, so of {many(keys)} to warn it is not known "
        "whether a tag protects them. A sweep reads the tags of each key before it warns."
    )


def said_of_live(policy: str, since: date | None, cut_off: Sequence[str]) -> View:
    """What a plan by a reading of now rests on, and what it does not know."""
    goes_on = f", going on from the reading of {since}" if since else "; there is no earlier one"
    blocks: list[Block] = [
        Line(
            f"Read now{goes_on}, and judged by {policy}. The stack judges by the policy that was "
            "deployed. Nothing was written, and no sweep uses this reading.",
            Tone.QUIET,
        )
    ]
    if cut_off:
        blocks.append(
            Line(
                f"{many(len(cut_off))} left out, for the next sweep first ends what a run that "
                f"died has begun: {first(cut_off, NAMED)}",
                Tone.WARN,
            )
        )
    return blocks


def needs_person(answer: Mapping[str, Any]) -> bool:
    """Whether the brake is on or the policy has a problem."""
    return bool(answer.get("brake") or answer.get("policy_problems"))


def written(path: str, answer: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> str:
    """The plan as a file, by the ending of its name: .csv a line a step, else JSON."""
    if PurePath(path).suffix.lower() != ".csv":
        return json.dumps(document(answer, lines), indent=1) + "\n"
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for one in steps(lines):
        writer.writerow([_cell(one[name]) for name in COLUMNS])
    return text.getvalue()


def _cell(value: object) -> str:
    """A cell that no spreadsheet computes."""
    text = "" if value is None else visible(str(value))
    return f"'{text}" if text.startswith(FORMULA) else text
