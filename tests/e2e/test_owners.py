"""Old keys of three organisations: what-if tells before whose they are, and after two nights the ledger says the same."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sandbox.driver.client import LaidKey
from tests.e2e.conftest import POLICY, TODAY, World
from tests.e2e.test_whatif import keyjanitor

KEYS = 500


def whose_is(number: int) -> str | None:
    match number % 10:
        case 0 | 1 | 2 | 3 | 4:
            return f"u{number // 20}"
        case 5 | 6 | 7:
            return f"service-{number % 40}"
        case 8:
            return f"Team {number % 9}"
        case _:
            return None


def an_old_key(number: int, plan: str) -> LaidKey:
    """A key as one of the organisations made it, a year ago."""
    owner = whose_is(number)
    name, description, tags = f"k{number}", f"key {number}", {}
    match number % 10:
        case 0 | 1 | 2 | 3 | 4:
            description = f"made for user_id={owner} of the shop"
        case 5 | 6 | 7:
            name = f"api-key-{owner}-{('dev', 'prod')[number % 2]}"
        case 8:
            tags = {"Handed_To": str(owner)}
        case _:
            pass
    used = {TODAY - timedelta(days=back): 1 for back in range(2 + number % 50, 80)}
    return LaidKey(
        id=f"old{number:07}",
        name=name,
        description=description,
        tags=tags,
        created=datetime(2025, 11, 1, tzinfo=UTC),
        plans=[plan],
        uses={plan: used},
    )


def owners_in_the_ledger(world: World) -> dict[str, tuple[str | None, str | None, str]]:
    """Owner, how it is known and tier of each key that the ledger knows."""
    table = world.sandbox.client("dynamodb")
    pages = table.get_paginator("query").paginate(
        TableName=world.stack.outputs["LedgerTableName"],
        KeyConditionExpression="pk = :key",
        ExpressionAttributeValues={":key": {"S": "KEY"}},
    )
    return {
        item["sk"]["S"]: (
            item.get("owner", {}).get("S"),
            item.get("owner_from", {}).get("S"),
            item["tier"]["S"],
        )
        for page in pages
        for item in page["Items"]
    }


def test_what_is_told_before_of_old_keys_is_in_the_ledger_after_two_nights(
    world: World, tmp_path: Path
) -> None:
    plans = list(world.plans.values())
    world.witness(TODAY)
    keys = [an_old_key(number, plans[number % 3]) for number in range(KEYS)]
    world.lay_down(*keys)
    # What-if asks for the days up to now, and these keys live in the tests' own time.
    printed = keyjanitor(world.sandbox, tmp_path, "whatif", f"--policy={POLICY}", "--out", "told")
    assert f"owners that the rules find: of {KEYS * 9 // 10} of {KEYS + 3} keys" in printed
    lines = [json.loads(line) for line in (tmp_path / "told/keys.jsonl").read_text().splitlines()]
    told = {line["key_id"]: (line["owner"], line["tier"]) for line in lines}
    assert {key_id: owner for key_id, (owner, _) in told.items() if key_id.startswith("old")} == {
        f"old{number:07}": whose_is(number) for number in range(KEYS)
    }

    calls = []
    for day in (TODAY, TODAY + timedelta(days=1)):
        world.pull(day)
        world.sandbox.forget_calls()
        swept = world.sweep(day)
        calls.append(world.sandbox.calls_per_operation())
        found = owners_in_the_ledger(world)
        assert {key_id: (owner, tier) for key_id, (owner, _, tier) in found.items()} == told
        assert Counter(how for _, how, _ in found.values()) == {
            "found": KEYS * 9 // 10,
            None: KEYS // 10 + 3,
        }
        assert swept.get("owners_found", 0) == (KEYS * 9 // 10 if day == TODAY else 0)
    assert calls[0] == calls[1] == Counter(GetApiKeys=2)
