"""Each command of docs/command.md, typed at a deployed stack with the rights that the page names.

What it prints is what the page shows, but for dates, which are shifted to those of the page, and ids that AWS
makes. KEYJANITOR_WRITE=1 writes the samples into the page in place of comparing them.
"""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keyjanitor.domain.expiry.sweep_plan import digest_of
from sandbox.driver.client import ACCOUNT, REGION, REPOSITORY, LaidKey
from tests.e2e.conftest import POLICY, World
from tests.e2e.test_runbook import braked
from tests.terminals import at_a_terminal

PAGE = REPOSITORY / "docs/command.md"
ON_PAGE = date(2026, 11, 21)
DAY = timedelta(days=1)
# Of the page, in the order of a day: what is typed is the first line of each block.
ORDER = (
    "read",
    "plan",
    "approve 0123456789abcdef",
    "sweep --yes",
    "undo 2026-11-21",
    "undo 2026-01-01",
    "key f6g7h8i9j0",
    "key weather",
    "report",
    "hold marketing",
    "status",
    "resume",
    "logs",
    "open",
    "sweep",
    "approve fedcba9876543210",
    "key 0123456789",
    "status --stack",
    "hold why",
    "undo yesterday",
)
SIGN_UPS = ("a1b2c3d4e5", "f6g7h8i9j0", "k1l2m3n4o5")  # to be parked
WEATHER = ("p6q7r8s9t0", "u1v2w3x4y5")  # to be disabled
SUDDEN = 60  # keys that look idle all at once: more than twice what a night may do
LATE = "z6a7b8c9d0"  # to be warned
RESTORED = "n1e2w3i4d5"  # what a new id is on the page
_ROLES: dict[str, dict[str, str]] = {}  # an operator's credentials, by the sandbox
_BLOCK = re.compile(r"^```console\n\$ keyjanitor ([^\n]*)\n(.*?)^```$", re.M | re.S)
_DATE = re.compile(r"(?<!\d)20\d\d-\d\d-\d\d(?!\d)")
_DIGEST = re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{16}\b")


def blocks() -> dict[str, str]:
    """What each block of the page types, and what it shows below."""
    return dict(_BLOCK.findall(PAGE.read_text("utf-8")))


def rights(name: str) -> list[Any]:
    """A policy's statements as the page has them, for this account."""
    found = re.search(
        rf"<!-- rights: {name} -->\n```json\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S
    )
    assert found
    text = found[1].replace("REGION", REGION).replace("ACCOUNT", ACCOUNT)
    statements: list[Any] = json.loads(text)
    return statements


@dataclass(slots=True)
class Terminal:
    """A person's terminal: a folder, a role's credentials, 80 columns, and no keyboard."""

    world: World
    folder: Path
    today: date
    environment: Mapping[str, str]
    digest: str
    known: frozenset[str]  # ids of the keys as they were laid down
    ids: dict[str, str] = field(
        default_factory=dict
    )  # what is made by AWS, and what it is on the page

    def type(self, words: str) -> tuple[int, str]:
        """The exit code, and what is printed, stdout before stderr."""
        shift = self.today - ON_PAGE
        typed = _DATE.sub(lambda found: _shifted(found[0], shift), words)
        typed = typed.replace("0123456789abcdef ", f"{self.digest} ")
        done = subprocess.run(
            [sys.executable, "-m", "keyjanitor_cli", *shlex.split(typed)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def shown(self, words: str) -> str:
        """What the page shows below a command."""
        code, printed = self.type(words)
        printed = re.sub(r"(T| )\d\d:\d\d:\d\d(Z?)", r"\g<1>03:15:00\2", printed)
        printed = _DATE.sub(lambda found: _shifted(found[0], ON_PAGE - self.today), printed)
        printed = printed.replace(self.digest, "0123456789abcdef")
        self.ids |= dict.fromkeys(self.world.keys().keys() - self.known, RESTORED)
        for made, on_page in self.ids.items():
            printed = printed.replace(made, on_page)
        # Findings list plans by their ids, which AWS makes.
        plans = "'(?:front-end|partners)'"
        printed = re.sub(rf"{plans},(\s+){plans}", r"'front-end',\1'partners'", printed)
        lines = [line.rstrip() for line in printed.splitlines()]
        while lines and not lines[0]:
            lines.pop(0)
        while lines and not lines[-1]:
            lines.pop()
        if code:
            lines.append(f"(exit code {code})")
        return "".join(f"{line}\n" for line in lines)


def _shifted(text: str, by: timedelta) -> str:
    try:
        return str(date.fromisoformat(text) + by)
    except ValueError:
        return text


@pytest.fixture
def terminal(world: World, tmp_path: Path) -> Terminal:
    """An account on a morning on which keys are to be parked, disabled and warned."""
    sandbox, plan = world.sandbox, world.plans["partners"]
    sandbox.reset_clock()
    today = sandbox.now().date()
    created = datetime.combine(today - 700 * DAY, datetime.min.time(), UTC)

    def lay(names: Mapping[str, str], **more: Any) -> None:
        world.lay_down(
            *(
                LaidKey(id=key_id, name=name, created=created, plans=[plan], **more)
                for key_id, name in names.items()
            )
        )

    world.witness(today)
    lay({key_id: f"sign-up {n}" for n, key_id in enumerate(SIGN_UPS)})
    lay({"e1f2g3h4i5": "yearly job"}, tags={"keyjanitor:keep": ""})
    for back in (28, 15):
        world.night(today - back * DAY)
    lay({key_id: f"weather app {n}" for n, key_id in enumerate(WEATHER)})
    for back in (14, 1):
        world.night(today - back * DAY)
    lay({LATE: "newsletter"})
    sandbox.reset_clock()
    world.stack.watch(f"{today}T00:40:00Z")
    bucket = world.stack.outputs["HistoryBucketName"]
    # As a sweep saves a plan of which its allowance has to leave some.
    due = frozenset({("park", key_id) for key_id in SIGN_UPS} | {("disable", WEATHER[0])})
    saved = {
        "version": 1,
        "date": str(today),
        "digest": digest_of(due),
        "allowance": 20,
        "kinds": {"park": len(SIGN_UPS), "purge": 0, "disable": 1, "warn": 0},
        "due": [[*pair, "idle"] for pair in sorted(due)],
    }
    sandbox.client("s3").put_object(
        Bucket=bucket, Key=f"plans/{digest_of(due)}.json", Body=json.dumps(saved).encode()
    )
    if sandbox.endpoint not in _ROLES:
        statements = (*rights("reading"), *rights("acting"))
        _ROLES[sandbox.endpoint] = sandbox.role("operator", *statements)
    credentials = _ROLES[sandbox.endpoint]
    environment = {
        **sandbox.environment(),
        **{name.upper(): value for name, value in credentials.items()},
        "PYTHONPATH": os.pathsep.join(
            [str(REPOSITORY / "cli"), str(REPOSITORY / "layers/keyjanitor")]
        ),
        "COLUMNS": "80",
    }
    plans = {plan_id: f"plan{n:04}" for n, plan_id in enumerate(world.plans.values())}
    return Terminal(
        world,
        tmp_path,
        today,
        environment,
        digest_of(due),
        frozenset(world.keys()),
        {**plans, world.api_id: "apiid001"},
    )


def test_each_command_of_the_page_is_typed_here_once() -> None:
    typed = list(blocks())
    assert len(typed) == len(ORDER)
    assert sorted(map(_ordinal, typed)) == list(range(len(ORDER)))


def _ordinal(words: str) -> int:
    """Where a block comes in ORDER: by the longest beginning that fits."""
    fits = [one for one in ORDER if words.startswith(one)]
    assert fits, words
    return ORDER.index(max(fits, key=len))


def test_each_command_prints_what_the_page_shows_with_the_rights_that_it_names(
    terminal: Terminal,
) -> None:
    pages = blocks()
    shown = {words: terminal.shown(words) for words in sorted(pages, key=_ordinal)}
    if os.environ.get("KEYJANITOR_WRITE"):
        text = PAGE.read_text("utf-8")
        PAGE.write_text(
            _BLOCK.sub(lambda one: f"```console\n$ keyjanitor {one[1]}\n{shown[one[1]]}```", text)
        )
        return
    assert shown == pages
    values = {
        item["value"]
        for item in terminal.world.sandbox.client("apigateway").get_api_keys(includeValues=True)[
            "items"
        ]
    }
    assert not [value for value in values if value in "".join(shown.values())]


def test_a_plan_of_now_is_tonights_and_needs_no_function(terminal: Terminal) -> None:
    """With the rights to look alone; afterwards the night's reading makes the same plan of it."""
    sandbox = terminal.world.sandbox
    looking = sandbox.role("looking", *rights("reading"), *rights("looking"))
    policy = POLICY.read_text().replace("apiid:", f"{terminal.world.api_id}:")
    (terminal.folder / "policy.toml").write_text(policy)
    may_act = terminal.environment
    terminal.environment = {**may_act, **{name.upper(): it for name, it in looking.items()}}
    bucket = terminal.world.stack.outputs["HistoryBucketName"]
    files = sandbox.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"]
    code, printed = terminal.type("plan --live --json")
    assert code == 0, printed
    live = json.loads(printed)
    assert sandbox.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == files
    assert live["answer"]["live"]["goes_on_from"] == str(terminal.today - DAY)
    code, shown = terminal.type("plan --live --out plan.csv")
    assert (code, "Nothing was written, and no sweep uses this reading." in _flat(shown)) == (
        0,
        True,
    )
    written = (terminal.folder / "plan.csv").read_text().splitlines()
    assert len(written) == 1 + len(live["steps"])
    refused, why = terminal.type("plan")
    assert (refused, "lambda:InvokeFunction" in why) == (1, True)
    terminal.environment = may_act
    assert terminal.type("read")[0] == 0
    code, printed = terminal.type("plan --json")
    assert json.loads(printed)["steps"] == live["steps"]
    assert {one["key_id"] for one in live["steps"]} == {*SIGN_UPS, *WEATHER, LATE}


def _flat(text: str) -> str:
    return " ".join(text.split())


def test_a_plan_is_written_to_a_file_for_people_and_for_programs(terminal: Terminal) -> None:
    assert terminal.type("read")[0] == 0
    code, shown = terminal.type("plan --out plan.csv")
    assert (code, "Written to plan.csv" in shown) == (0, True), shown
    code, shown = terminal.type("plan --out plan.json")
    assert (code, "Written to plan.json" in shown) == (0, True), shown
    document = json.loads((terminal.folder / "plan.json").read_text())
    assert {one["key_id"] for one in document["steps"]} == {*SIGN_UPS, *WEATHER, LATE}
    assert document["answer"]["keys"] == sum(document["stays"].values()) + len(document["steps"])
    with (terminal.folder / "plan.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["key_id"], row["next_on"]) for row in rows] == [
        (one["step"], one["key_id"], one["next_on"]) for one in document["steps"]
    ]


def test_a_key_is_found_by_its_value_at_a_prompt_that_does_not_show_it(terminal: Terminal) -> None:
    gateway = terminal.world.sandbox.client("apigateway")
    value = gateway.get_api_key(apiKey=WEATHER[0], includeValue=True)["value"]
    command = [sys.executable, "-m", "keyjanitor_cli", "key", "--value"]
    code, screen = at_a_terminal(
        command,
        terminal.folder,
        terminal.environment,
        asked="value of the key: ",
        answer=f"{value}\n",
    )
    assert code == 0, screen
    assert f"{WEATHER[0]}: " in screen
    assert "weather app 0" in screen
    assert value not in screen


def test_what_the_brake_stops_is_approved_by_who_answers_the_question(terminal: Terminal) -> None:
    world = terminal.world
    created = datetime.combine(terminal.today - 700 * DAY, datetime.min.time(), UTC)
    sudden = world.lay_down(
        *(
            LaidKey(name=f"sudden {n}", created=created, plans=[world.plans["partners"]])
            for n in range(SUDDEN)
        )
    )
    with braked(world):
        assert terminal.type("read")[0] == 0
        code, printed = terminal.type("sweep --yes")
        assert (code, "The safety brake is on" in printed) == (3, True), printed
        assert set(world.keys()) >= {*SIGN_UPS, *sudden}
        code, printed = terminal.type("status --json")
        status = json.loads(printed)
        assert (code, status["brake"]) == (3, True)
        digest = next(
            one["digest"] for one in status["plans_to_approve"] if one["due"]["warn"] > SUDDEN
        )
        command = [sys.executable, "-m", "keyjanitor_cli", "approve", digest]
        for answer in ("n\n", "y\n"):
            assert set(world.keys()) >= set(SIGN_UPS)
            code, screen = at_a_terminal(
                command,
                terminal.folder,
                {**terminal.environment, "COLUMNS": "300"},
                asked="? [y/N]: ",
                answer=answer,
            )
            assert (
                f"{len(SIGN_UPS)} to park (deleted; can be restored), {len(WEATHER)} to disable, "
                f"{SUDDEN + 1} to warn?"
            ) in screen
            assert ("nothing was done" in screen) == (answer == "n\n")
        said = f"Done: {len(SIGN_UPS)} parked, {len(WEATHER)} disabled, {SUDDEN + 1} warned."
        assert (code, said in screen) == (0, True), screen
    assert not set(world.keys()) & set(SIGN_UPS)


def test_json_is_one_document_on_stdout_for_programs(terminal: Terminal) -> None:
    documents = {}
    for words in ("read", "plan", "status", f"key {SIGN_UPS[0]}", "undo 2026-11-07 --yes"):
        code, printed = terminal.type(f"{words} --json")
        assert code in (0, 3), printed
        documents[words.split()[0]] = json.loads(printed)
    assert {one["key_id"] for one in documents["plan"]["steps"]} == {*SIGN_UPS, *WEATHER, LATE}
    assert documents["status"]["account"] == ACCOUNT
    assert documents["key"]["state"] == "disabled"
    assert {one["key_id"] for one in documents["undo"]["did"]["keys"]} == set(SIGN_UPS)
