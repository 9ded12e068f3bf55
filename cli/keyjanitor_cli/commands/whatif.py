"""`keyjanitor whatif`: the verdict on every key of an account, what an edit changes, or the back-test of a record.

Nothing is changed: AWS is read, or files are, and files are written.
"""

import gc
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import click

from keyjanitor.adapters.system_clock import now
from keyjanitor.domain.expiry.keys_file import key_lines
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.policy_file import parse_policy
from keyjanitor_cli.errors import DONE, CommandFailed, WrongUse
from keyjanitor_cli.session import Session, command
from keyjanitor_cli.whatif import owners, tables
from keyjanitor_cli.whatif.account import Account, read_account
from keyjanitor_cli.whatif.difference import Difference, compare
from keyjanitor_cli.whatif.errors import FolderRefused
from keyjanitor_cli.whatif.live import read_live
from keyjanitor_cli.whatif.pages import Folder
from keyjanitor_cli.whatif.record import Record
from keyjanitor_cli.whatif.replay import Replay, with_idle_limit
from keyjanitor_cli.whatif.showing import page_of
from keyjanitor_cli.whatif.verdicts import Judged, ahead, judge, word
from keyjanitor_cli.words import many

FEWEST_DAYS, MOST_DAYS = 1, 3650  # of `idle_days`, as in policy.toml
# Where a policy is looked for if none is named: in the repository, or where `policy suggest` writes it.
POLICIES = (Path("layers/policy/policy.toml"), Path("policy.toml"))


class IdleDays(click.ParamType[tuple[int, ...]]):
    """Several numbers of days in one text, such as "35 60 90"."""

    name = "days"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The numbers; click says what is wrong with a text that is not."""
        words = str(value).replace(",", " ").split()
        if not all(word.isdecimal() and FEWEST_DAYS <= int(word) <= MOST_DAYS for word in words):
            self.fail(f"wants whole numbers of days from {FEWEST_DAYS} to {MOST_DAYS}", param, ctx)
        return tuple(map(int, words))


FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@command("whatif")
@click.option("--policy", type=FILE, help="The policy to judge by (else policy.toml).")
@click.option("--before", type=FILE, help="Another policy: shows what the edit changes.")
@click.option("--folder", type=FOLDER, help="An account that --save wrote, in place of reading it.")
@click.option(
    "--history",
    type=FOLDER,
    help="A copy of a stack's history bucket: replays the days that it recorded.",
)
@click.option("--idle", type=IdleDays(), help='With --history: several idle_days, "35 60 90".')
@click.option("--save", type=FOLDER, help="Save what is read into a new folder, for --folder.")
@click.option("--out", type=FOLDER, help="Write the verdict on each key, and the report, in here.")
def whatif(session: Session, **given: Any) -> int:
    """Show what a policy would do to every key, and change nothing.

    Reads the account, with your own reading rights: every API key without its value, the usage
    plans, their keys and 90 days of use, and the tags.
    """
    asked = Asked(**given)
    asked.check()
    with _without_collecting():
        document = (
            back_test(session, asked, asked.history) if asked.history else verdicts(session, asked)
        )
    if session.console.as_json:
        session.console.show([], document)
    return DONE


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for on the command line."""

    policy: Path | None = None
    before: Path | None = None
    folder: Path | None = None
    history: Path | None = None
    idle: tuple[int, ...] | None = None
    save: Path | None = None
    out: Path | None = None

    def check(self) -> None:
        """Raises WrongUse if some options make no sense together."""
        if self.history and (self.folder or self.save or self.out):
            raise WrongUse("--history goes with --policy, --before and --idle alone")
        if self.folder and self.save:
            raise WrongUse("--save goes without --folder, which was saved already")
        if self.idle and not self.history:
            raise WrongUse("--idle goes with --history")


def verdicts(session: Session, asked: Asked) -> dict[str, Any]:
    """The verdict on every key of an account, and what an edit of the policy changes."""
    policy, before = policy_in(asked.policy), asked.before and policy_in(asked.before)
    account = account_of(session, asked.folder, asked.save)
    judged = judge(account, policy)
    nights = ahead(judged)
    difference = compare(judge(account, before), judged) if before else None
    found = owners.owners_found(judged)
    written = _written(asked, account, judged, difference)
    if not session.console.as_json:
        console = session.console.out
        tables.show_problems(console, map(str, judged.bound.problems))
        tables.show_verdicts(console, account, judged)
        tables.show_ahead(console, nights, len(account.keys))
        tables.show_owners(console, found)
        if difference is not None:
            tables.show_difference(console, difference)
        tables.show_unknown(console, account, judged)
        tables.show_written(console, written)
    return {
        "date": str(account.today),
        "keys": len(account.keys),
        "usage_plans": len(account.evidence.plans),
        "verdicts": _counted(judged),
        "problems": list(map(str, judged.bound.problems)),
        "owners": owners.document(found),
        "nights": [{"date": str(one.date), "keys": one.keys} for one in nights],
        "moved": None if difference is None else list(_moved_lines(difference)),
        "files": {what: str(path) for what, path in written.items()},
    }


def account_of(session: Session, folder: Path | None, save: Path | None = None) -> Account:
    """The account of a folder, or the person's own, which may be saved into one."""
    if folder is not None:
        return read_account(Folder(folder))
    today = now().date()
    with session.console.waiting("reading the account") as say:
        reading = read_live(session.gateway.calls, session.ownership, today, say)
    if save is not None:
        reading.save(save)
    return read_account(reading)


def policy_in(path: Path | None) -> Policy:
    """The policy in a file; raises PolicyError, and CommandFailed or WrongUse if there is none."""
    path = path or policy_path()
    try:
        return parse_policy(path.read_bytes(), str(path))
    except OSError:
        raise CommandFailed(f"{path}: is no policy that can be read") from None


def policy_path() -> Path:
    """The policy that is meant if none is named; raises WrongUse if there is none."""
    if (found := next(filter(Path.exists, POLICIES), None)) is None:
        named = " and no ".join(map(str, POLICIES))
        raise WrongUse(f"there is no {named} here", "keyjanitor policy suggest writes one")
    return found


def _counted(judged: Judged) -> dict[str, dict[str, int]]:
    """How many keys have which verdict, by tier."""
    counts: dict[str, dict[str, int]] = {}
    for verdict in judged.plan.verdicts:
        of_tier = counts.setdefault(verdict.tier.name, {})
        of_tier[word(verdict)] = of_tier.get(word(verdict), 0) + 1
    return counts


def _written(
    asked: Asked, account: Account, judged: Judged, difference: Difference | None
) -> dict[str, Path]:
    """Writes the files into `--out`, or beside a folder's pages; gives them by what they hold."""
    folder = asked.folder or asked.save
    out = asked.out or (folder / "verdicts" if folder else None)
    if out is None:
        return {}
    files = {"keys": out / "keys.jsonl", "page": out / "index.html"}
    _write(files["keys"], key_lines(judged.plan))
    files["page"].write_bytes(page_of(account, judged, now()))
    if difference is not None:
        files["moved"] = out / "moved.jsonl"
        _write(files["moved"], _moved_lines(difference))
    return files


def back_test(session: Session, asked: Asked, history: Path) -> dict[str, Any]:
    """What one policy or several would have done with the days of a record."""
    policies = _policies(asked)
    record = Record(history)
    replays = [(name, Replay(policy, record.plan_names)) for name, policy in policies.items()]
    with session.console.waiting("replaying the recorded nights") as say:
        for number, night in enumerate(record.live(), 1):
            say(f"night {number:,} of {len(record.nights):,}")
            for _, replay in replays:
                replay.live(night)
    if not replays[0][1].counts:
        raise FolderRefused(str(history), "none of its nights can be read")
    requests = _requests(record, [one for _, one in replays])
    if not session.console.as_json:
        tables.show_replays(session.console.out, replays, requests)
    return {"policies": {name: tables.measured(replay) for name, replay in replays}}


def _policies(asked: Asked) -> dict[str, Policy]:
    """The policies to replay, by what they are called."""
    policy = policy_in(asked.policy)
    policies = {"before": policy_in(asked.before)} if asked.before is not None else {}
    if not asked.idle:
        return policies | {"the policy": policy}
    return policies | {f"{days} days": with_idle_limit(policy, days) for days in asked.idle}


def _requests(record: Record, replays: Iterable[Replay]) -> str:
    """What the keys that came back were used for since: it tells how much they mattered."""
    back: dict[str, date] = {}
    for replay in replays:
        for one in replay.shut:
            if one.back_on is not None:
                back[one.key_id] = min(one.back_on, back.get(one.key_id, one.back_on))
    if not back:
        return ""
    total, missing = record.requests(back)
    unknown = f", not counting {missing:,} days of which that is not known" if missing else ""
    return f"{many(len(back))} came back in all, with {total:,} requests since{unknown}"


def _moved_lines(difference: Difference) -> Iterable[dict[str, Any]]:
    return (asdict(one) for one in (*difference.moved, *difference.redated))


def _write(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    except OSError as err:
        raise CommandFailed(f"{path}: cannot be written: {err.strerror}") from None


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Python would look through millions of values a night, and find nothing to free."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


COMMANDS: tuple[click.Command, ...] = (whatif,)
