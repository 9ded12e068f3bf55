"""`make whatif`: the verdict on every key of an account in files, or the back-test of a record.

Nothing is called and nothing is changed: files are read, and files are written.
"""

import argparse
import gc
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from keyjanitor.adapters.system_clock import now
from keyjanitor.domain.expiry.keys_file import key_lines
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.policy_file import parse_policy
from keyjanitor.errors import KeyjanitorError
from whatif import tables
from whatif.account import read_account
from whatif.difference import Difference, compare
from whatif.errors import FolderRefused
from whatif.pages import Folder
from whatif.record import Record
from whatif.replay import Replay, with_idle_limit
from whatif.showing import page_of
from whatif.verdicts import ahead, judge

FEWEST_DAYS, MOST_DAYS = 1, 3650  # of `idle_days`, as in policy.toml


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """What to do; ends the program with a usage message if that makes no sense."""
    parser = argparse.ArgumentParser(prog="whatif", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--folder", type=Path, help="an account, listed into files (docs/whatif.md)")
    what.add_argument("--history", type=Path, help="a copy of the history bucket of a stack")
    parser.add_argument("--policy", type=Path, required=True, help="the policy.toml to judge by")
    parser.add_argument("--before", type=Path, help="another policy, to tell what the edit changes")
    parser.add_argument("--out", type=Path, help="where to write (else into the folder: verdicts/)")
    parser.add_argument("--idle", help='several idle_days to compare over the history: "35 45 60"')
    asked = parser.parse_args(given)
    if asked.folder is None and asked.history is None:
        parser.error("FOLDER=folder or HISTORY=folder is missing: docs/whatif.md")
    return asked


def main(given: Sequence[str], console: Console) -> int:
    """Answers one question; 2 if it cannot be answered, and the reason is told."""
    asked = arguments(given)
    try:
        if asked.history is not None:
            back_test(asked, console)
        else:
            verdicts(asked, console)
    except KeyjanitorError as err:
        for line in str(err).splitlines():
            console.print(tables.told(line, 2_000), style="red")
        return 2
    return 0


def verdicts(asked: argparse.Namespace, console: Console) -> None:
    """The verdict on every key of a folder, and what an edit of the policy changes."""
    account = read_account(Folder(asked.folder))
    judged = judge(account, _policy(asked.policy))
    out = asked.out or asked.folder / "verdicts"
    tables.show_problems(console, map(str, judged.bound.problems))
    tables.show_verdicts(console, account, judged)
    tables.show_ahead(console, ahead(judged), len(account.keys))
    _write(out / "keys.jsonl", key_lines(judged.plan))
    (out / "index.html").write_bytes(page_of(account, judged, now()))
    if asked.before is not None:
        difference = compare(judge(account, _policy(asked.before)), judged)
        tables.show_difference(console, difference)
        _write(out / "moved.jsonl", _moved_lines(difference))
    tables.show_unknown(console, account, judged)
    console.print(tables.told(f"every key, with its reason and dates: {out / 'keys.jsonl'}", 500))
    console.print(tables.told(f"the same to look at, in a browser: {out / 'index.html'}", 500))


def back_test(asked: argparse.Namespace, console: Console) -> None:
    """What one policy or several would have done with the days of a record."""
    record = Record(asked.history)
    replays = [
        (name, Replay(policy, record.plan_names)) for name, policy in _policies(asked).items()
    ]
    progress = Console(stderr=True)
    nights = track(record.live(), "nights", len(record.nights), console=progress, transient=True)
    for night in nights:
        for _, replay in replays:
            replay.live(night)
    if not replays[0][1].counts:
        raise FolderRefused(str(asked.history), "none of its nights can be read")
    tables.show_replays(console, replays, _requests(record, [one for _, one in replays]))


def _policies(asked: argparse.Namespace) -> dict[str, Policy]:
    """The policies to replay, by what they are called."""
    policy = _policy(asked.policy)
    policies = {"before": _policy(asked.before)} if asked.before is not None else {}
    if not asked.idle:
        return policies | {"the policy": policy}
    return policies | {f"{days} days": with_idle_limit(policy, days) for days in _days(asked.idle)}


def _days(text: str) -> list[int]:
    words = text.replace(",", " ").split()
    if not all(word.isdecimal() and FEWEST_DAYS <= int(word) <= MOST_DAYS for word in words):
        raise FolderRefused(
            "IDLE", f"wants whole numbers of days from {FEWEST_DAYS} to {MOST_DAYS}"
        )
    return [int(word) for word in words]


def _requests(record: Record, replays: Iterable[Replay]) -> str:
    """What the keys that came back were used for since: it tells how much they mattered."""
    back: dict[str, Any] = {}
    for replay in replays:
        for one in replay.shut:
            if one.back_on is not None:
                back[one.key_id] = min(one.back_on, back.get(one.key_id, one.back_on))
    if not back:
        return ""
    total, missing = record.requests(back)
    unknown = f", not counting {missing:,} days of which that is not known" if missing else ""
    return f"{tables.many(len(back))} came back in all, with {total:,} requests since{unknown}"


def _policy(path: Path) -> Policy:
    try:
        return parse_policy(path.read_bytes(), str(path))
    except OSError:
        raise FolderRefused(str(path), "is no policy that can be read") from None


def _moved_lines(difference: Difference) -> Iterable[dict[str, Any]]:
    return (asdict(one) for one in (*difference.moved, *difference.redated))


def _write(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


if __name__ == "__main__":
    gc.disable()  # it would look through millions of values a night, and find nothing to free
    sys.exit(main(sys.argv[1:], Console()))
