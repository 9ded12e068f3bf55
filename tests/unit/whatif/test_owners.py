"""What the rules of owners find in an account, told before anything is deployed, and what nights write down then."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from keyjanitor.domain.expiry.keys_file import key_lines
from keyjanitor.domain.model.keys import Mode
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.policy_file import parse_policy
from keyjanitor.domain.model.records import OwnerFrom
from keyjanitor_cli.whatif.account import Account as Read
from keyjanitor_cli.whatif.account import read_account
from keyjanitor_cli.whatif.owners import OwnersFound, RuleFinds, owners_found, sentence
from keyjanitor_cli.whatif.pages import Folder
from keyjanitor_cli.whatif.verdicts import judge
from tests.builders import days_ago
from tests.unit.nights import Account
from tests.unit.whatif.files import a_folder, an_item, ask

RULES = r"""
[tiers.unclaimed]
contact = "api-team@example.org"
idle_days = "never"

[tiers.external]
contact = "api-team@example.org"
usage_plans = ["external"]
idle_days = 60

[[owners]]
from = "tag:handed-to"
pattern = '(?P<owner>.+)'

[[owners]]
from = "description"
pattern = 'user_id=(?P<owner>\S+)'

[[owners]]
from = "name"
pattern = '^api-key-(?P<owner>[a-z0-9-]+)-(?:dev|stage|prod)$'
"""


def the_policy() -> Policy:
    return parse_policy(RULES)


def three_ways(account: Account, keys: int) -> dict[str, str | None]:
    """Old keys of three organisations, with whose they are: by description, by name, by a tag, or untold."""
    whose: dict[str, str | None] = {}
    more: dict[str, Any]
    account.plan()
    for number in range(keys):
        key_id, plans = f"k{number:05}", ("plan1",) if number % 7 else ()
        match number % 10:
            case 0 | 1 | 2 | 3 | 4 | 5:
                whose[key_id] = f"u{number // 3}"
                more = {
                    "name": "a key",
                    "description": f"made for user_id={whose[key_id]} of the shop",
                }
            case 6 | 7:
                whose[key_id] = f"service-{number % 40}"
                more = {"name": f"api-key-{whose[key_id]}-{('dev', 'prod')[number % 2]}"}
            case 8:
                whose[key_id] = f"Team {number % 9}"
                more = {"tags": {"Handed_To": f" {whose[key_id]} "}, "description": "user_id=other"}
            case _:
                whose[key_id] = None
                more = {"name": "api-key-of-ours", "description": "user_id= unknown"}
        account.key(key_id, *plans, age=400 - number % 300, last_used=number % 50, **more)
    whose["busy-plan1"] = None
    return whose


def lives_two_nights(keys: int) -> None:
    """What-if says before to the key what the ledger has after one night, and after two."""
    account = Account(the_policy())
    whose = three_ways(account, keys)
    read = Read(
        account.today, tuple(account.gateway.living.values()), account.read(), tags_known=True
    )
    judged = judge(read, account.policy)
    told = {line["key_id"]: line["owner"] for line in key_lines(judged.plan)}
    assert told == whose
    found = owners_found(judged)
    assert sum(one.keys for one in found.rules) == sum(
        owner is not None for owner in whose.values()
    )
    assert found.without == sum(owner is None for owner in whose.values())
    for _ in range(2):
        account.night(Mode.PARK)
        rows = {**account.ledger.rows}
        assert {key_id: row.owner for key_id, row in rows.items()} == whose
        sources = {row.owner_from for row in rows.values() if row.owner is not None}
        assert sources == {OwnerFrom.FOUND}
        assert {row.key_id: row.tier for row in rows.values()} == {
            verdict.key.key_id: verdict.tier.name for verdict in judged.plan.verdicts
        }
    assert len({row.version for row in account.ledger.rows.values() if row.warned_on is None}) == 1


def test_what_is_told_before_is_what_the_ledger_has_after_two_nights() -> None:
    lives_two_nights(200)


@pytest.mark.slow
def test_of_ten_thousand_old_keys_of_three_organisations_each_owner_is_told_before() -> None:
    lives_two_nights(10_000)


def test_a_warning_of_the_first_night_names_the_owner_that_was_found() -> None:
    account = Account(the_policy())
    account.plan()
    account.key("idle", "plan1", age=300, last_used=70, description="user_id=ann")
    account.night()
    (event,) = account.told.events
    assert (event.detail_type, event.detail["owner"]) == ("Key Expiring", "ann")
    assert "owner ann" in account.told.alerts[0].text


def a_read_folder(folder: Path) -> Path:
    return a_folder(
        folder,
        {"used": {days_ago(3): 1}},
        *(an_item(f"d{n}", description="user_id=ann") for n in range(3)),
        an_item("e", description="user_id=bob"),
        an_item("n", name="api-key-geo-prod"),
        an_item("evil", description="user_id=[red]evil[/]"),
        tags={"e": {"handed-to": "eve"}},
    )


def test_each_rule_has_its_counts_and_examples_and_the_rest_is_counted(tmp_path: Path) -> None:
    policy = the_policy()
    found = owners_found(judge(read_account(Folder(a_read_folder(tmp_path / "account"))), policy))
    by_tag, by_text, by_name = policy.owners
    assert found == OwnersFound(
        rules=(
            RuleFinds(by_tag, 1, 1, (("e", "eve"),)),
            RuleFinds(by_text, 4, 2, (("d0", "ann"), ("evil", "[red]evil[/]"))),
            RuleFinds(by_name, 1, 1, (("n", "geo"),)),
        ),
        keys=8,
        without=2,
        above=1,
    )
    assert sentence(found).startswith("1 owner has more keys in a tier than its max_keys_per_owner")


def test_a_person_sees_what_the_rules_find_and_a_program_reads_it(tmp_path: Path) -> None:
    folder = a_read_folder(tmp_path / "account")
    policy = tmp_path / "policy.toml"
    policy.write_text(RULES)
    code, printed = ask("--folder", str(folder), "--policy", str(policy))
    assert code == 0
    assert "owners that the rules find: of 6 of 8 keys" in printed
    assert "[red]evil[/]" in printed
    lines = map(json.loads, (folder / "verdicts/keys.jsonl").read_text().splitlines())
    assert Counter(line["owner"] for line in lines) == Counter(
        {None: 2, "ann": 3, "eve": 1, "geo": 1, "[red]evil[/]": 1}
    )
    code, printed = ask("--folder", str(folder), "--policy", str(policy), "--json")
    told = json.loads(printed)["owners"]
    assert (told["without"], told["above_limit"]) == (2, 1)
    assert told["rules"][1] == {
        "from": "description",
        "pattern": r"user_id=(?P<owner>\S+)",
        "keys": 4,
        "owners": 2,
        "examples": [
            {"key_id": "d0", "owner": "ann"},
            {"key_id": "evil", "owner": "[red]evil[/]"},
        ],
    }


def test_a_policy_without_rules_shows_no_table(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(RULES.partition("[[owners]]")[0])
    folder = a_read_folder(tmp_path / "account")
    code, printed = ask("--folder", str(folder), "--policy", str(policy))
    assert (code, "owners that the rules find" in printed) == (0, False)
