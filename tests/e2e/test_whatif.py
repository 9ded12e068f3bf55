"""The README's commands, run as they are printed, and what-if on what they wrote: the stack's own verdicts."""

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sandbox.driver.client import REPOSITORY, LaidKey, Sandbox
from sandbox.driver.population import population
from tests.e2e.conftest import FAST, POLICY, World
from whatif.__main__ import main

KEYS = 900  # so that the greatest plan's members and use come in two pages
VALUE = "aValueThatNobodyMayPrint0000000000000001"


@pytest.fixture
def today_world(world: World) -> Iterator[World]:
    """An account in our own time: the README's commands ask for the days up to today."""
    world.sandbox.reset_clock()
    world.sandbox.set_throttles(1)
    yield world
    world.sandbox.set_throttles(FAST)


def shell(sandbox: Sandbox, folder: Path, command: str, **variables: str) -> str:
    """What a person gets who types it in bash, with the AWS CLI of these tests."""
    environment = sandbox.environment() | variables
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def printed_commands() -> str:
    """The block of the README that lists an account into the folder `account`."""
    readme = (REPOSITORY / "README.md").read_text("utf-8")
    found = re.search(r"```sh\n(mkdir account.*?)```", readme, re.DOTALL)
    assert found is not None, "the README gives no commands for what-if"
    return found[1]


def ask(*given: str) -> tuple[int, str]:
    printed = StringIO()
    return main(given, Console(file=printed, width=200)), printed.getvalue()


def lines_of_the_stack(world: World) -> list[dict[str, Any]]:
    """The keys file of the stack's only sweep."""
    s3, bucket = world.sandbox.client("s3"), world.stack.outputs["HistoryBucketName"]
    (name,) = [
        item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix="keys/")["Contents"]
    ]
    body = s3.get_object(Bucket=bucket, Key=name)["Body"].read()
    return [json.loads(line) for line in gzip.decompress(body).splitlines()]


def test_what_the_readme_lists_is_judged_as_the_stack_judges_it(
    today_world: World, tmp_path: Path
) -> None:
    sandbox, stack = today_world.sandbox, today_world.stack
    now = sandbox.now()
    made = population(KEYS, now.date())
    sandbox.lay_down_rows(list(made.rows(today_world.plans)))
    sandbox.forget_calls()
    assert shell(sandbox, tmp_path, printed_commands()) == ""
    calls = sandbox.calls()
    assert not [call for call in calls if call.status != 200]
    assert sandbox.peak_calls_per_second() <= 5  # half of what the account has for everybody
    pages = {(call.operation, call.plan_id) for call in calls}
    assert len(calls) > len(pages), "every listing fits on one page, which proves too little"

    sandbox.set_throttles(FAST)
    stack.pull(f"{now:%Y-%m-%dT%H:%M:%SZ}")
    swept = stack.sweep(f"{now:%Y-%m-%dT%H:%M:%SZ}", mode="observe")
    folder = tmp_path / "account"
    code, printed = ask("--folder", str(folder), "--policy", str(POLICY))
    assert code == 0, printed
    ours = [json.loads(line) for line in (folder / "verdicts/keys.jsonl").read_text().splitlines()]
    assert ours == lines_of_the_stack(today_world)
    assert swept["verdicts"]["warn"] > 100
    assert swept["verdicts"]["protected"] > 10

    docs = (REPOSITORY / "docs/whatif.md").read_text("utf-8")
    (fetch,) = re.findall(r"^ +(aws s3 sync .*)$", docs, re.MULTILINE)
    bucket = stack.outputs["HistoryBucketName"]
    shell(sandbox, tmp_path, fetch, HISTORY_BUCKET=bucket)
    code, told = ask("--history", str(tmp_path / "history"), "--policy", str(POLICY))
    assert (code, f"nights: 1, {now.date()} to" in told) == (0, True)
    assert "1 day of record cannot tell its highest count" in told

    everything = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert not [
        key.value for key in made.keys if key.value.encode() in everything + printed.encode()
    ]


def test_what_others_print_into_the_folder_is_refused_or_unknown(
    today_world: World, tmp_path: Path
) -> None:
    sandbox, external = today_world.sandbox, today_world.plans["external"]
    today = sandbox.now().date()
    sandbox.lay_down(
        [
            LaidKey(
                name=f"k{n}", value=f"{VALUE}{n}", plans=[external], uses={external: {today: 1}}
            )
            for n in range(30)
        ]
    )
    shell(sandbox, tmp_path, printed_commands())
    folder = tmp_path / "account"
    whole = ask("--folder", str(folder), "--policy", str(POLICY))[1]
    assert "was not read" not in whole

    usage = next(folder.glob(f"usage.{external}.*")).name
    first, last = (folder / "days.txt").read_text().split()
    merged = f"aws apigateway get-usage --usage-plan-id {external} --start-date {first} --end-date {last}"
    shell(sandbox, folder, f"{merged} --output json > {usage}")
    assert len(json.loads((folder / usage).read_text())["items"]) == 25, "the CLI learned to merge"
    assert "was not read" in ask("--folder", str(folder), "--policy", str(POLICY))[1]

    shell(sandbox, folder, "aws apigateway get-api-keys --include-values > mine.json")
    code, printed = ask("--folder", str(folder), "--policy", str(POLICY))
    assert (code, "mine.json: API key values are in there" in printed) == (2, True)
    assert VALUE not in printed
