"""What-if reads the account of a person, and says of each key what the stack says; and the policy that it suggests."""

import gzip
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.driver.client import REPOSITORY, LaidKey, Sandbox
from sandbox.driver.population import Population, population
from tests.e2e.as_role import typed
from tests.e2e.conftest import FAST, POLICY, World
from tests.unit.whatif.files import ask

READ = {"GetApiKeys", "GetUsagePlans", "GetUsagePlanKeys", "GetUsage"}
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


def keyjanitor(sandbox: Sandbox, folder: Path, *given: str) -> str:
    """What a person gets who types it, with the rights that docs/whatif.md names and no others."""
    done = typed(sandbox, folder, rights(), *given)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def rights() -> list[dict[str, Any]]:
    """The statements of the policy in docs/whatif.md."""
    docs = (REPOSITORY / "docs/whatif.md").read_text("utf-8")
    (policy,) = re.findall(r"```json\n(.*?)```", docs, re.DOTALL)
    statements: list[dict[str, Any]] = json.loads(policy)["Statement"]
    return statements


def lines_of_the_stack(world: World) -> list[dict[str, Any]]:
    """The keys file of the stack's only sweep."""
    s3, bucket = world.sandbox.client("s3"), world.stack.outputs["HistoryBucketName"]
    (name,) = [
        item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix="keys/")["Contents"]
    ]
    body = s3.get_object(Bucket=bucket, Key=name)["Body"].read()
    return [json.loads(line) for line in gzip.decompress(body).splitlines()]


def lay_down_population(world: World) -> Population:
    """The demo's account."""
    made = population(KEYS, world.sandbox.now().date())
    world.sandbox.lay_down_rows(list(made.rows(world.plans)))
    world.sandbox.forget_calls()
    return made


def test_an_account_that_is_read_live_is_judged_as_the_stack_judges_it(
    today_world: World, tmp_path: Path
) -> None:
    sandbox, stack = today_world.sandbox, today_world.stack
    now = sandbox.now()
    made = lay_down_population(today_world)
    folder, policy = tmp_path / "account", f"--policy={POLICY}"
    printed = keyjanitor(sandbox, tmp_path, "whatif", policy, "--save", "account")
    calls = sandbox.calls()
    assert not [call for call in calls if call.status != 200]
    assert sandbox.peak_calls_per_second() <= 3  # of the ten that the account has for everybody
    assert {call.operation for call in calls if call.operation.startswith("Get")} == READ
    pages = {(call.operation, call.plan_id) for call in calls}
    assert len(calls) > len(pages), "every listing fits on one page, which proves too little"

    sandbox.set_throttles(FAST)
    stack.pull(f"{now:%Y-%m-%dT%H:%M:%SZ}")
    swept = stack.sweep(f"{now:%Y-%m-%dT%H:%M:%SZ}", mode="observe")
    ours = [json.loads(line) for line in (folder / "verdicts/keys.jsonl").read_text().splitlines()]
    assert ours == lines_of_the_stack(today_world)
    assert swept["verdicts"]["warn"] > 100
    assert swept["verdicts"]["protected"] > 10
    assert keyjanitor(sandbox, tmp_path, "whatif", policy, "--folder", "account") == printed

    docs = (REPOSITORY / "docs/whatif.md").read_text("utf-8")
    (fetch,) = re.findall(r"^ +(aws s3 sync .*)$", docs, re.MULTILINE)
    bucket = stack.outputs["HistoryBucketName"]
    shell(sandbox, tmp_path, fetch, HISTORY_BUCKET=bucket)
    told = keyjanitor(sandbox, tmp_path, "whatif", policy, "--history", "history")
    assert f"nights: 1, {now.date()} to" in told
    assert "1 day of record cannot tell its highest count" in told

    everything = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert not [
        key.value for key in made.keys if key.value.encode() in everything + printed.encode()
    ]


@pytest.mark.parametrize("more", [(), ("--aggressive",)])
def test_the_policy_that_is_suggested_frees_slots_and_warns_no_key_in_use(
    today_world: World, tmp_path: Path, more: tuple[str, ...]
) -> None:
    sandbox = today_world.sandbox
    made = lay_down_population(today_world)
    printed = keyjanitor(sandbox, tmp_path, "policy", "suggest", *more)
    assert "Keys in use that it would have warned in the last 90 days: none" in printed
    assert "Slots that come free" in printed
    checked = keyjanitor(sandbox, tmp_path, "policy", "check", "policy.toml")
    assert checked == "policy.toml: no mistakes; tiers: unclaimed, external, partners, front-end\n"

    (then,) = re.findall(r"^  keyjanitor (.*)$", printed, re.MULTILINE)
    assert then == "whatif --policy policy.toml"
    keyjanitor(sandbox, tmp_path, *shlex.split(then), "--out", "verdicts")
    names = {key.name: key for key in made.keys}
    warned = [
        names[line["name"]]
        for line in map(json.loads, (tmp_path / "verdicts/keys.jsonl").read_text().splitlines())
        if line["verdict"] == "warn" and line["name"]
    ]
    today = sandbox.now().date()
    assert len(warned) > 20
    assert not [key.name for key in warned if key.last_used(today, 30) is not None]


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
    keyjanitor(sandbox, tmp_path, "whatif", f"--policy={POLICY}", "--save", "account")
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
    assert (code, "mine.json: API key values are in there" in printed) == (1, True)
    assert VALUE not in printed


@pytest.mark.parametrize("missing", range(5))
def test_each_right_that_the_page_names_is_needed_and_named_when_it_is_missing(
    today_world: World, tmp_path: Path, missing: int
) -> None:
    sandbox, external = today_world.sandbox, today_world.plans["external"]
    uses = {external: {sandbox.now().date(): 1}}
    sandbox.lay_down([LaidKey(name="k", value=VALUE, plans=[external], uses=uses)])
    gateway, tagging = rights()
    resources = [*gateway["Resource"]]
    if missing < len(resources):
        path = resources.pop(missing).rpartition("::")[2]
        given, named = [{**gateway, "Resource": resources}, tagging], f"apigateway:GET on {path}"
    else:
        given, named = [gateway], "tag:GetResources"
    done = typed(sandbox, tmp_path, given, "whatif", f"--policy={POLICY}")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"may not {named}" in " ".join(done.stderr.split())
