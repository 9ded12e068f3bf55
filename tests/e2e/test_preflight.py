"""`keyjanitor preflight` on a deployed stack: its sixty calls, its pace, its policy, and the differences that it names."""

import json
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox.driver.client import REGION, LaidKey, Sandbox
from tests.e2e.as_role import typed
from tests.e2e.conftest import FAST, World

KEYS = 10_000
MOST_CALLS, PACE = 60, 2
VALUE = "aValueThatNobodyMayPrint00000000000"
AT_ONCE = 8  # preflights beside each other: each waits most of the time
STACK_TAG = {"aws:cloudformation:stack-name": "shop"}


@pytest.fixture
def today_world(world: World) -> Iterator[World]:
    """An account in our own time, for the command asks for the days up to today."""
    world.sandbox.reset_clock()
    yield world
    world.sandbox.behave()
    world.sandbox.set_throttles(FAST)


def preflight(
    sandbox: Sandbox, folder: Path, statements: Sequence[Mapping[str, Any]], *given: str
) -> subprocess.CompletedProcess[str]:
    return typed(sandbox, folder, statements, "preflight", *given)


def rights(sandbox: Sandbox, folder: Path) -> list[dict[str, Any]]:
    """The statements of the policy that the command prints."""
    done = preflight(sandbox, folder, (), "--policy", "--region", REGION)
    assert (done.returncode, done.stderr) == (0, "")
    statements: list[dict[str, Any]] = json.loads(done.stdout)["Statement"]
    return statements


def found(
    sandbox: Sandbox, folder: Path, statements: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], str]:
    """The document that a preflight writes, and all that it prints."""
    name = f"{uuid.uuid4().hex}.json"
    done = preflight(sandbox, folder, statements, "--out", name)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    assert done.stderr == ""
    document: dict[str, Any] = json.loads((folder / name).read_text("utf-8"))
    return document, done.stdout


def rows(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["row"]: one for one in (*document["questions"], *document["ground"])}


def lay_down_some(world: World) -> None:
    """Keys of all kinds that a preflight looks for, and one that was changed."""
    today = world.sandbox.now().date()
    uses = {today - timedelta(days=back): 3 for back in range(90)}
    plan, other = world.plans["external"], world.plans["partners"]
    ids = world.lay_down(
        LaidKey(name="used", plans=[plan], uses={plan: uses}, value=f"{VALUE}1"),
        LaidKey(name="free", plans=[other], uses={other: uses}, value=f"{VALUE}2"),
        LaidKey(name="idle", plans=[plan], value=f"{VALUE}3", tags={"Team": "web"}),
        LaidKey(name="of a stack", value=f"{VALUE}4", tags=STACK_TAG),
        LaidKey(name="tf", value=f"{VALUE}5", description="Managed by Terraform"),
    )
    change = [{"op": "replace", "path": "/description", "value": "changed"}]
    world.sandbox.client("apigateway").update_api_key(apiKey=ids[0], patchOperations=change)


def test_ten_thousand_keys_take_sixty_calls_at_most_two_a_second(
    today_world: World, tmp_path: Path
) -> None:
    sandbox, plan = today_world.sandbox, today_world.plans["external"]
    today = sandbox.now().date()
    lay_down_some(today_world)
    uses = {today - timedelta(days=back): 2 for back in range(0, 90, 9)}
    count = KEYS - len(today_world.keys())
    today_world.lay_down(
        *(
            LaidKey(name=f"k{n}", value=f"{VALUE}{n:07}", plans=[plan], uses={plan: uses})
            for n in range(count)
        )
    )
    statements = rights(sandbox, tmp_path)
    sandbox.set_throttles(1)
    sandbox.forget_calls()
    document, printed = found(sandbox, tmp_path, statements)
    calls = sandbox.calls()
    assert document["calls"] <= MOST_CALLS
    assert sandbox.peak_calls_per_second() <= PACE
    assert {call.operation[:3] for call in calls} == {"Get"}
    # Two starts that are asked for lie beyond what usage goes back to.
    refused = [(call.operation, call.error) for call in calls if call.status != 200]
    assert refused == [("GetUsage", "BadRequestException")] * 2
    assert sandbox.calls_per_operation()["GetApiKeys"] == KEYS // 500
    assert document["missing_rights"] == []
    assert rows(document)["keys"]["said"] == "10,000"
    private = [*today_world.plans, *today_world.plans.values(), today_world.api_id, "123456789012"]
    assert not [one for one in private if one in json.dumps(document)]
    assert VALUE not in printed + json.dumps(document)


def test_every_right_of_the_policy_is_needed_and_named_when_it_is_missing(
    today_world: World, tmp_path: Path
) -> None:
    sandbox = today_world.sandbox
    lay_down_some(today_world)
    statements = rights(sandbox, tmp_path)
    whole, _ = found(sandbox, tmp_path, statements)
    assert whole["missing_rights"] == []
    differing = {row for _, named in DIFFERENCES for row in named}
    assert {rows(whole)[row]["outcome"] for row in differing} == {"same"}

    def without(number: int) -> tuple[list[Any], str]:
        rest = statements[:number] + statements[number + 1 :]
        document, printed = found(sandbox, tmp_path, rest)
        return document["missing_rights"], printed

    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = list(pool.map(without, range(len(statements))))
    named = [[one["action"] for one in missing] for missing, _ in told]
    assert named == [[one["Action"]] for one in statements]
    for statement, (missing, printed) in zip(statements, told, strict=True):
        line = f"line {missing[0]['line']}: {statement['Action']} on {statement['Resource']}"
        assert line in " ".join(printed.split())
        assert json.dumps(statement) in printed


# Faults at once, of which each shows in another row, and what is said there.
DIFFERENCES: list[tuple[dict[str, Any], dict[str, str]]] = [
    (
        {"usage_days": 85, "usage_outside": "clipped", "missing_days": 1}
        | {"tagging": "InternalServiceException"},
        {
            "1a": "90 days: starts 5 days later",
            "2b": "another number",
            "4b": "InternalServiceException",
        },
    ),
    (
        {"usage_days": 60, "tags_unlisted": True},
        {"1a": "89 days: BadRequestException", "4b": "no key, perhaps because none has tags"},
    ),
    (
        {"usage_today": 1, "usage_outside": "clipped", "usage_keyed_by": "value"},
        {"1b": "it answers until", "2a": "0 are ids of keys"},
    ),
    ({"usage_today": 1}, {"1b": "it answers until"}),
    ({"usage_today": -1}, {"1a": "90 days: BadRequestException"}),
]


@pytest.mark.parametrize(("faults", "named"), DIFFERENCES)
def test_what_aws_does_otherwise_is_named(
    today_world: World, tmp_path: Path, faults: dict[str, Any], named: dict[str, str]
) -> None:
    sandbox = today_world.sandbox
    lay_down_some(today_world)
    statements = rights(sandbox, tmp_path)
    sandbox.misbehave(**faults)
    document, printed = found(sandbox, tmp_path, statements)
    for row, said in named.items():
        assert rows(document)[row]["outcome"] in ("differs", "not known")
        assert said in rows(document)[row]["said"]
    assert VALUE not in printed + json.dumps(document)


@pytest.mark.parametrize(
    ("faults", "named"),
    [
        (
            {"answers_early": 5, "upserts_warn": True, "import_seconds_a_key": 2},
            {
                "w1": ("differs", "5 seconds later"),
                "w4": ("same", "2."),
                "w5": ("new", "it is refused: BadRequestException"),
            },
        ),
        (
            {"import_refuses": ["keyjanitor-preflight-"]},
            {"w4": ("not known", "BadRequestException")},
        ),
    ],
)
def test_what_aws_does_otherwise_is_named_once_it_is_tried(
    today_world: World,
    tmp_path: Path,
    faults: dict[str, Any],
    named: dict[str, tuple[str, str]],
) -> None:
    sandbox = today_world.sandbox
    lay_down_some(today_world)
    before = today_world.keys()
    done = preflight(sandbox, tmp_path, (), "--policy", "--write", "--region", REGION)
    writing: list[dict[str, Any]] = json.loads(done.stdout)["Statement"]
    sandbox.misbehave(**faults)
    preflight(sandbox, tmp_path, writing, "--write", "--yes")
    document = json.loads((tmp_path / "preflight.json").read_text("utf-8"))
    trial = {one["row"]: one for one in document["trial"]}
    for row, (outcome, said) in named.items():
        assert (trial[row]["outcome"], said in trial[row]["said"]) == (outcome, True), trial[row]
    assert today_world.keys() == before


def test_what_is_tried_is_deleted_and_needs_the_rights_that_are_printed_for_it(
    today_world: World, tmp_path: Path
) -> None:
    sandbox = today_world.sandbox
    lay_down_some(today_world)
    before = today_world.keys()
    plans = {one["id"] for one in sandbox.client("apigateway").get_usage_plans()["items"]}
    reading = rights(sandbox, tmp_path)
    done = preflight(sandbox, tmp_path, (), "--policy", "--write", "--region", REGION)
    writing: list[dict[str, Any]] = json.loads(done.stdout)["Statement"]
    assert writing[: len(reading)] == reading
    refused = preflight(sandbox, tmp_path, writing, "--write")
    assert refused.returncode == 1
    assert "There is no terminal to ask at" in " ".join(refused.stderr.split())
    assert today_world.keys() == before

    done = preflight(sandbox, tmp_path, writing, "--write", "--yes")
    document = json.loads((tmp_path / "preflight.json").read_text("utf-8"))
    assert document["missing_rights"] == []
    said = {one["row"]: (one["outcome"], one["said"]) for one in document["trial"]}
    assert [said[row][0] for row in ("w1", "w2", "w4", "w6", "w7")] == ["same"] * 5, done.stdout
    assert said["w7"][1] == "3 deleted, none left"
    assert today_world.keys() == before
    left = {one["id"] for one in sandbox.client("apigateway").get_usage_plans()["items"]}
    assert left == plans

    def lacks(number: int) -> list[int]:
        """The lines of the policy that are named when the statement of that number is missing."""
        folder = tmp_path / str(number)
        folder.mkdir()
        preflight(sandbox, folder, writing[:number] + writing[number + 1 :], "--write", "--yes")
        document = json.loads((folder / "preflight.json").read_text("utf-8"))
        return [one["line"] for one in document["missing_rights"]]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        lacked = list(pool.map(lacks, range(len(reading), len(writing))))
    assert [len(lines) for lines in lacked] == [1] * (len(writing) - len(reading)), lacked
    assert sorted(lacked) == sorted({tuple(lines): lines for lines in lacked}.values())
