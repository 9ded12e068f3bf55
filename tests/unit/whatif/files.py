"""The files that a what-if reads: a folder as the README's commands fill it, and a stack's record."""

import gzip
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from keyjanitor.domain.expiry.keys_file import key_lines
from keyjanitor.domain.model.keys import Mode
from keyjanitor.domain.usage.evidence_file import to_document
from keyjanitor_cli.__main__ import run
from keyjanitor_cli.whatif.replay import Replay
from tests.builders import DAY, PLAN_ID, STAGE, TODAY, at, days_ago, pairs
from tests.unit.nights import Account


def an_item(key_id: str, *, age: int = 400, **more: Any) -> dict[str, Any]:
    """A key as `aws apigateway get-api-keys` (version 1) prints it."""
    made = int(at(days_ago(age)).timestamp())
    return {
        "id": key_id,
        "name": f"name of {key_id}",
        "enabled": True,
        "createdDate": made,
        "lastUpdatedDate": made,
        "stageKeys": [],
        **more,
    }


def a_plan_item(plan_id: str = PLAN_ID, name: str = "external", **more: Any) -> dict[str, Any]:
    """A usage plan as `aws apigateway get-usage-plans` prints it."""
    api_id, stage = STAGE.split(":")
    quota = {"limit": 1000, "offset": 0, "period": "MONTH"}
    stages = [{"apiId": api_id, "stage": stage}]
    return {"id": plan_id, "name": name, "apiStages": stages, "quota": quota, **more}


def write(folder: Path, name: str, content: Any) -> Path:
    """Writes a file as JSON."""
    path = folder / name
    path.write_text(json.dumps(content, indent=4), "utf-8")
    return path


def write_pages(folder: Path, name: str, pages: Sequence[Mapping[str, Any]]) -> None:
    """Writes the pages of a listing, each but the last saying that another follows."""
    for number, page in enumerate(pages, 1):
        more = number < len(pages)
        told = {**page, "position": f"to {number + 1}" if more else None, "page": str(number)}
        write(folder, f"{name}.{number:04}.json", told)


def usage_pages(
    used: Mapping[str, Mapping[date, int]], *, plan_id: str = PLAN_ID, a_page: int = 2
) -> list[dict[str, Any]]:
    """A plan's use, so many keys a page, of the 91 days up to TODAY."""
    ids = list(used)
    days = {"usagePlanId": plan_id, "startDate": str(days_ago(90)), "endDate": str(TODAY)}
    return [
        {**days, "items": {key_id: pairs(used[key_id]) for key_id in ids[first : first + a_page]}}
        for first in range(0, len(ids), a_page)
    ] or [{**days, "items": {}}]


def a_folder(
    folder: Path,
    used: Mapping[str, Mapping[date, int]],
    *more: Mapping[str, Any],
    tags: Mapping[str, Mapping[str, str]] | None = None,
) -> Path:
    """A folder of keys in one plan with their use, of `more` keys in none, and of the tags.

    Everything comes in two pages or more. A busy key is there too: the plan is witnessed.
    """
    folder.mkdir()
    (folder / "days.txt").write_text(f"{days_ago(90)} {TODAY}\n")
    used = {"busy": {days_ago(back): 5 for back in range(91)}, **used}
    items = [*map(an_item, used), *more]
    half = len(items) // 2
    write_pages(folder, "api-keys", [{"items": items[:half]}, {"items": items[half:]}])
    write_pages(folder, "usage-plans", [{"items": [a_plan_item()]}, {"items": []}])
    ids = [{"id": key_id} for key_id in used]
    write_pages(folder, f"members.{PLAN_ID}", [{"items": ids[:1]}, {"items": ids[1:]}])
    write_pages(folder, f"usage.{PLAN_ID}", usage_pages(used))
    arn = "arn:aws:apigateway:us-east-1::/apikeys/"
    mappings = [
        {"ResourceARN": arn + key_id, "Tags": [{"Key": k, "Value": v} for k, v in of_key.items()]}
        for key_id, of_key in (tags or {}).items()
    ]
    write(folder, "tags.json", {"ResourceTagMappingList": mappings})
    return folder


def ask(*given: str, width: int = 160) -> tuple[int, str]:
    """What `keyjanitor whatif` answers, and all that it prints."""
    printed = StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), redirect_stderr(printed):
        patch.setenv("COLUMNS", str(width))
        code = run(["whatif", *given])
    return code, printed.getvalue()


# --- records --------------------------------------------------------------------------------------


def put_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Writes lines as the history bucket has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))


def keys_file(folder: Path, day: date) -> Path:
    return folder / f"keys/dt={day}/keys.jsonl.gz"


def evidence_file(folder: Path, day: date) -> Path:
    return folder / f"evidence/{day}.json.gz"


def record(
    folder: Path,
    account: Account,
    nights: int,
    mode: Mode = Mode.OBSERVE,
    each: Callable[[int], None] = lambda _: None,
) -> Path:
    """Lives the nights of an account, and writes down what its functions write; `each` comes first."""
    for night in range(nights):
        each(night)
        day = account.today
        evidence = account.read()
        put_lines(evidence_file(folder, day), [to_document(evidence)])
        put_lines(keys_file(folder, day), key_lines(account.sweep(mode).plan))
        account.live()
    _put_usage(folder, account)
    return folder


def _put_usage(folder: Path, account: Account) -> None:
    days: dict[date, list[dict[str, Any]]] = {
        account.first + DAY * index: [] for index in range(account.day)
    }
    for (plan_id, key_id), used in account.gateway.requests.items():
        for day, rows in days.items():
            row = {"plan_id": plan_id, "key_id": key_id, "used": used.get(day, 0)}
            rows.append({**row, "remaining": None, "missing": None})
    for day, rows in days.items():
        put_lines(folder / f"usage/dt={day}/usage.jsonl.gz", rows)


def steps(replay: Replay) -> dict[str, tuple[date, date | None, date | None]]:
    """When each key was disabled, parked and back in a replay; of one shut twice the last."""
    return {one.key_id: (one.on, one.parked_on, one.back_on) for one in replay.shut}
