"""What earlier code wrote into the ledger and the bucket is read, and decides what it decided then.

Each folder under wire/ was written by the build that it is called after; see wire/lives.py.
"""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

from keyjanitor.domain.model.owners import Mark, Stack
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.records import PressureRow, PressureRuleRow
from keyjanitor_cli.whatif.record import Facts, Record
from sandbox.memory.adapters.api_gateway import value_of
from tests.account import BUSY, SENDER, Account, brisk
from tests.builders import DAY
from tests.contract.wire.lives import MANY, POLICY, PRESSED, night_after, read
from tests.requesting import asked, issue, key_of, restore

AccountMaker = Callable[..., Account]

WIRE = Path(__file__).parent
VERSIONS = ("before-0.2.0", "before-0.3.0")
NIGHT = date(2026, 11, 29)
SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"

each_version = pytest.mark.parametrize("version", VERSIONS)


def account_of(
    an_account: AccountMaker, version: str, name: str = "states", policy: Policy = POLICY
) -> Account:
    return read(an_account(policy=policy), WIRE / version / name)


REASONS = {  # of the night after
    "active": "within_idle_limit",
    "renewed": "within_idle_limit",
    "used-again": "within_idle_limit",
    **dict.fromkeys(("busy000000", "made000002", "made000005", "made000006"), "within_idle_limit"),
    "disabled": "idle",
    "due": "idle",
    "warned-next": "idle",
    "made000003": "ends_later",
    "enabled-again": "waits",
    "orphan": "waits",
    "warned": "waits",
    "warned-last": "not_told",
    "keep": "keep_tag",
    "protected": "protected_until",
    "shut": "disabled_by_others",
    "stack": "owned_by",
    "terraform": "owned_by",
    "named": "stage_keys",
    "silent": "unwitnessed",
}


def without_sentences(night: dict[str, Any]) -> dict[str, Any]:
    """What was decided, without the words for people: those may change."""
    keys = {
        key_id: {name: value for name, value in line.items() if name != "reason"}
        for key_id, line in night["keys"].items()
    }
    return {**night, "keys": keys}


def test_every_folder_is_tested() -> None:
    assert {path.name for path in WIRE.iterdir() if path.is_dir()} - {"__pycache__"} == {*VERSIONS}


@each_version
@pytest.mark.parametrize(
    ("name", "policy"), [("states", POLICY), ("braked", brisk(idle_days=10))], ids=["all", "brake"]
)
def test_the_night_after_one_that_earlier_code_wrote_is_decided_as_that_code_decided_it(
    an_account: AccountMaker, version: str, name: str, policy: Policy
) -> None:
    then = json.loads((WIRE / version / name / "next.json").read_text("utf-8"))
    now = night_after(account_of(an_account, version, name, policy))
    assert without_sentences(now) == without_sentences(then)


@each_version
def test_each_key_has_the_reason_that_earlier_code_gave_it_in_words(
    an_account: AccountMaker, version: str
) -> None:
    account = account_of(an_account, version)
    night_after(account)
    assert {key_id: line["reason_code"] for key_id, line in account.keys_file().items()} == REASONS
    lines = list(account.keys_file().values())
    assert all(set(line) >= {"reason", "reason_code", "facts"} for line in lines)
    owners = {line["key_id"]: line["facts"].get("owner") for line in lines}
    assert owners["stack"] == {"kind": "stack", "value": "shop"}
    assert owners["terraform"] == {"kind": "tag", "value": "terraform=true"}


@each_version
def test_a_plan_that_earlier_code_saved_is_approved_by_its_digest(
    an_account: AccountMaker, version: str
) -> None:
    account = account_of(an_account, version, "braked", brisk(idle_days=10))
    (name,) = account.objects("plans/")
    digest = name.removeprefix("plans/").removesuffix(".json")
    applied = account.sweep(approve=digest)["applied"]
    assert (applied["warn"], applied["disable"]) == (MANY, 1)


@each_version
def test_an_undo_gives_back_what_earlier_code_disabled(
    an_account: AccountMaker, version: str
) -> None:
    account = account_of(an_account, version)
    day = NIGHT - DAY
    disabled = [key_id for key_id, row in account.rows().items() if row.disabled_on == day]
    assert disabled
    answer = account.sweep(undo=str(day))
    assert answer["applied"]["enable"] == len(disabled)
    assert {account.states()[key_id] for key_id in disabled} == {"active"}


@each_version
def test_a_key_that_earlier_code_parked_comes_back_with_its_value(
    an_account: AccountMaker, version: str
) -> None:
    account = account_of(an_account, version)
    new_id = asked(account, restore("parked"), sender=SENDER)
    assert account.gateway.whole(new_id)[1] == value_of("parked")
    assert account.rows()[new_id].previous_key_ids == ("parked",)


@each_version
def test_a_request_that_earlier_code_answered_makes_no_second_key(
    an_account: AccountMaker, version: str
) -> None:
    account = account_of(an_account, version)
    before = account.gateway.ids
    assert account.ask(issue(1)) == []
    assert account.gateway.ids == before
    assert key_of(account, issue(1)) in before


@each_version
def test_a_report_is_published_of_a_night_that_earlier_code_swept(
    an_account: AccountMaker, version: str
) -> None:
    account = account_of(an_account, version)
    schema = (SCHEMAS / "report.json").read_text("utf-8")
    then = account.report()
    fastjsonschema.compile(json.loads(schema_of_version_1(schema)))(then)
    account.publish()
    now = account.report()
    fastjsonschema.compile(json.loads(schema))(now)
    assert (then["version"], now["version"]) == (1, 2)
    assert {name: now["night"][name] for name in then["night"]} == then["night"]
    assert {row[0] for row in now["keys"]["rows"]} == {row[0] for row in then["keys"]["rows"]}


def schema_of_version_1(schema: str) -> str:
    """The schema of a report with the names of version 1, which its description gives."""
    schema = schema.replace('"const": 2', '"const": 1')
    return schema.replace('"pressure_rules"', '"ladder"').replace('"idle_factor"', '"patience"')


def test_the_pressure_rules_that_earlier_code_wrote_are_read_and_told_under_their_new_names(
    an_account: AccountMaker,
) -> None:
    account = account_of(an_account, "before-0.3.0", "pressed", PRESSED)
    assert account.ledger.pressure_row() == PressureRow(
        account.today, 0.00005, (PressureRuleRow(0.9, 0.25, 1, {"external": 1}),)
    )
    night = account.history.compared_before(account.today + DAY)
    assert night is not None
    assert night.rules == ((0.00005, 0.5), (0.9, 0.25))
    then = account.report()["capacity"]
    account.publish()
    now = account.report()["capacity"]
    freed = {"above": 0.9, "more_keys": 1, "tiers": {"external": 1}, "days_gained": None}
    assert then["ladder"] == [{**freed, "patience": 0.25}]
    assert now["pressure_rules"] == [{**freed, "idle_factor": 0.25}]
    assert (then["pressure"]["patience"], now["pressure"]["idle_factor"]) == (0.5, 0.5)


def test_a_night_after_one_of_earlier_code_keeps_its_pressure_rule_and_answers_with_the_new_names(
    an_account: AccountMaker,
) -> None:
    account = account_of(an_account, "before-0.3.0", "pressed", PRESSED)
    account.pass_day()
    answer = account.night()
    assert answer["pressure"] == {"used": 0.0004, "above": 0.00005, "idle_factor": 0.5}
    assert [one["idle_factor"] for one in answer["pressure_rules"]] == [0.25]
    assert answer["past_limit"]["new"] == 0  # the rule was in force the night before, too


@each_version
def test_the_usage_and_the_verdicts_that_earlier_code_wrote_are_read(
    an_account: AccountMaker, version: str
) -> None:
    history = account_of(an_account, version).history
    used = {row["key_id"]: row["used"] for row in history.usage(NIGHT - DAY)}
    assert used[BUSY] == 1000
    assert {line["key_id"] for line in history.keys(NIGHT)} >= {BUSY, "stack", "orphan"}


@each_version
def test_the_record_that_earlier_code_wrote_says_whose_a_key_is_and_what_shields_it(
    version: str,
) -> None:
    (*_, last) = Record(WIRE / version / "states" / "bucket").live()
    facts = {key_id: one.facts for key_id, one in last.keys.items()}
    assert all(one.issued == (one.owner is not None) for one in facts.values())
    plain = {key_id: Facts(owner=one.owner, issued=one.issued) for key_id, one in facts.items()}
    assert {key_id for key_id, one in facts.items() if one != plain[key_id]} == {
        *("stack", "terraform", "protected"),
        *("made000003", "made000004"),
    }
    assert facts["stack"] == Facts(owned_by=Stack("shop"))
    assert facts["terraform"] == Facts(owned_by=Mark("tag", "terraform=true"))
    assert facts["protected"] == Facts(protected_until=date(2027, 1, 22))
    assert facts["made000003"] == Facts(owner="owner-2", issued=True, expires_on=date(2026, 12, 13))
    assert facts["made000004"] == Facts(owner="owner-3", issued=True, expires_on=date(2026, 11, 25))
    keys = {key_id: one.key for key_id, one in last.keys.items()}
    assert [key_id for key_id, key in keys.items() if key.tags] == ["keep"]
    assert [key_id for key_id, key in keys.items() if key.stage_keys] == ["named"]
    assert [key_id for key_id, key in keys.items() if not key.enabled] == ["shut"]
    assert {key_id for key_id, one in last.keys.items() if one.shut} >= {"disabled", "orphan"}
