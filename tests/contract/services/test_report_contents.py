"""What report.json says of an account: dates and who announced them, use by stage, and what the sweeps cost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

from keyjanitor.domain.model.apis import Method
from keyjanitor.domain.model.keys import Mode
from keyjanitor.domain.model.policy import PressureRule
from keyjanitor.domain.report.key_rows import COLUMNS
from tests.account import BUSY, Account
from tests.builders import DAY, KEY_ID, PLAN_ID, TODAY, a_policy, a_tier, a_usage_plan

SCHEMA = Path(__file__).parents[3] / "docs" / "schemas" / "report.json"
fits = fastjsonschema.compile(json.loads(SCHEMA.read_text()))

AccountMaker = Callable[..., Account]


@pytest.fixture
def slow(an_account: AccountMaker) -> Account:
    """An account whose keys have 14 days between the steps."""
    return an_account(policy=a_policy(a_tier(), max_share=1.0))


def published(account: Account) -> dict[str, Any]:
    """The numbers of the report that is published now; they fit their schema."""
    account.publish()
    report = account.report()
    fits(report)
    return report


def key_of(report: dict[str, Any], key_id: str) -> dict[str, Any]:
    [row] = [row for row in report["keys"]["rows"] if row[0] == key_id]
    return dict(zip(COLUMNS, row, strict=True))


def some_of(key: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: key[name] for name in names}


# --- verdicts, dates and reasons ---------------------------------------------------------------------


def test_a_kept_key_that_has_a_date_is_counted_as_waiting(slow: Account) -> None:
    slow.key(KEY_ID, idle=80)
    slow.night()
    assert published(slow)["night"]["waiting"] == 0
    slow.pass_day()
    slow.night()
    report = published(slow)
    assert (report["night"]["verdicts"], report["night"]["waiting"]) == ({"keep": 2}, 1)
    on = str(TODAY + DAY * 14)
    assert some_of(key_of(report, KEY_ID), "waits", "announced", "next_step", "next_on") == {
        "waits": True,
        "announced": True,
        "next_step": "disabled",
        "next_on": on,
    }
    assert key_of(report, KEY_ID)["facts"] == {
        "step": "disabled",
        "on": on,
        "due": {
            "reason_code": "idle",
            "facts": {"days": 81, "since": str(TODAY - DAY * 80), "never_used": False},
        },
    }


def test_a_warning_of_a_key_in_use_is_no_announced_date(slow: Account) -> None:
    slow.night()
    report = published(slow)
    key = key_of(report, BUSY)
    assert (key["next_step"], key["announced"], key["waits"]) == ("warned", False, False)
    assert (key["reason_code"], key["facts"]["idle_limit"]) == ("within_idle_limit", 60)


def test_in_observe_no_date_is_announced(an_account: AccountMaker) -> None:
    account = an_account(mode=Mode.OBSERVE, policy=a_policy(a_tier(), max_share=1.0))
    account.key(KEY_ID, idle=80)
    account.night()
    report = published(account)
    key = key_of(report, KEY_ID)
    assert (key["verdict"], key["next_step"], key["announced"]) == ("warn", "disabled", False)


def test_a_key_that_no_sweep_has_judged_has_no_code_and_waits_for_nothing(slow: Account) -> None:
    slow.night()
    slow.key("by day", age=0)
    key = key_of(published(slow), "by day")
    assert some_of(key, "verdict", "waits", "reason", "reason_code", "facts", "announced") == {
        "verdict": None,
        "waits": None,
        "reason": "created after the last sweep",
        "reason_code": "",
        "facts": {},
        "announced": False,
    }


def test_a_line_of_an_earlier_build_waits_by_its_dates(slow: Account) -> None:
    slow.key(KEY_ID, idle=80)
    slow.night()
    slow.pass_day()
    slow.night()
    lines = [dict(line) for line in slow.history.keys(slow.today)]
    for line in lines:
        del line["reason_code"], line["facts"]
    slow.history.put_keys(slow.today, lines)
    report = published(slow)
    assert report["night"]["waiting"] == 1
    assert [key_of(report, one)["waits"] for one in (KEY_ID, BUSY)] == [True, False]


def test_steps_after_the_nights_ahead_are_counted_with_their_first_date(slow: Account) -> None:
    for number in range(3):
        slow.key(f"idle{number}", idle=80)
    slow.night()
    report = published(slow)
    assert [sum(night[step] for night in report["ahead"]) for step in ("disable", "park")] == [3, 0]
    assert report["ahead_later"] == {
        "disable": 0,
        "park": 3,
        "first_disable": None,
        "first_park": str(TODAY + DAY * 28),
    }


def test_a_stack_that_parks_nothing_has_no_parks_later(an_account: AccountMaker) -> None:
    account = an_account(mode=Mode.DISABLE, policy=a_policy(a_tier(), max_share=1.0))
    account.key(KEY_ID, idle=80)
    account.night()
    later = published(account)["ahead_later"]
    assert (later["park"], later["first_park"]) == (0, None)


def test_the_limits_of_each_tier_are_those_of_the_policy_whatever_the_pressure(
    an_account: AccountMaker,
) -> None:
    policy = a_policy(
        a_tier(idle_days=90, warn_days=7),
        pressure=(PressureRule(0.00005, 0.5, ("external",)),),
        max_share=1.0,
    )
    account = an_account(policy=policy)
    account.night()
    report = published(account)
    assert report["tier_limits"]["external"] == {
        "idle_days": 90,
        "never_used_days": 14,
        "warn_days": 7,
        "grace_days": 14,
    }
    assert report["capacity"]["pressure"] == {
        "above": 0.00005,
        "idle_factor": 0.5,
        "least_idle_days": 35,
        "frozen": ["external"],
    }
    assert key_of(report, BUSY)["facts"]["idle_limit"] == 45


# --- use ---------------------------------------------------------------------------------------------


def test_use_is_told_by_stage_and_what_several_stages_share_is_kept_apart(slow: Account) -> None:
    gateway = slow.gateway
    gateway.apis = {"api1": {"prod": (Method("/", "GET", "NONE", True),)}}
    gateway.add_plan(a_usage_plan("both", name="both", stages=("api1:prod", "api2:prod")))
    gateway.add_plan(a_usage_plan("none", name="none", stages=("api3:prod",)))
    slow.key("in both", plans=("both",), age=100)
    slow.key("unused", plans=("both",), age=100)
    slow.key("also here", plans=(PLAN_ID,), age=100)
    gateway.use("both", "in both", slow.today - DAY, 70)
    slow.use("also here", slow.today - DAY, 5)
    slow.night()
    report = published(slow)
    days = len(report["use"]["days"])
    assert report["use"]["stages"] == [
        {
            "stage": "api1:prod",
            "api": "api1",
            "plans": [PLAN_ID, "both"],
            "keys": 4,
            "used_keys": 3,
            "requests": 1_000 * days + 5,
            "shared_requests": 70,
        },
        {
            "stage": "api2:prod",
            "api": None,
            "plans": ["both"],
            "keys": 2,
            "used_keys": 1,
            "requests": 0,
            "shared_requests": 70,
        },
        {
            "stage": "api3:prod",
            "api": None,
            "plans": ["none"],
            "keys": 0,
            "used_keys": None,
            "requests": None,
            "shared_requests": 0,
        },
    ]


def test_before_the_first_reading_no_stage_has_a_number(slow: Account) -> None:
    stages = published(slow)["use"]["stages"]
    assert [(one["requests"], one["used_keys"]) for one in stages] == [(None, None)]


def test_owners_without_a_request_are_counted_and_left_out(slow: Account) -> None:
    for key_id, owner, requests in (("k1", "jo", 5), ("k2", "sam", 0), ("k3", "kim", 0)):
        slow.key(key_id, age=100, plans=(PLAN_ID,))
        slow.use(key_id, slow.today - DAY, requests)
        slow.night()
        slow.own(key_id, owner)
        slow.pass_day()
    slow.night()
    use = published(slow)["use"]
    assert [one["owner"] for one in use["owners"]] == [None, "jo"]
    assert (use["owners_total"], use["owners_used"], use["owners_unknown"]) == (3, 1, 0)


# --- what the sweeps cost ----------------------------------------------------------------------------


def test_keys_that_came_back_are_named_with_how_and_whether_they_are_used_since(
    account: Account,
) -> None:
    for key_id in ("parked1", "parked2"):
        account.key(key_id, idle=80)
    account.night()
    account.pass_day()
    account.key("disabled1", idle=80)
    account.night()
    account.pass_day()
    account.night()
    taken = account.today
    account.sweep(undo=str(taken), key_ids=["parked1", "disabled1"])
    back = published(account)["regret"]
    assert {one["key_id"] for one in back["keys"]} == {"disabled1", *_new_id(account, "parked1")}
    assert {**back, "keys": None} == {
        "since": str(taken - DAY * 29),
        "taken": 3,
        "back": 2,
        "percent": 66.7,
        "keys": None,
    }
    assert {(one["was"], one["parked_on"], one["back_by"]) for one in back["keys"]} == {
        ("parked", str(taken), "restored"),
        ("disabled", None, "enabled"),
    }
    [new_id] = _new_id(account, "parked1")
    account.use(new_id, account.today)
    account.pass_day(2)
    account.night()
    used = {one["key_id"]: one["used_since"] for one in published(account)["regret"]["keys"]}
    assert used == {new_id: True, "disabled1": False}


def _new_id(account: Account, key_id: str) -> list[str]:
    return [row.key_id for row in account.rows().values() if key_id in row.previous_key_ids]


def test_where_no_key_was_taken_there_is_no_regret(account: Account) -> None:
    account.night()
    assert published(account)["regret"] == {
        "since": str(account.today - DAY * 29),
        "taken": 0,
        "back": 0,
        "percent": None,
        "keys": [],
    }


def test_keys_that_are_enabled_beyond_the_declared_days_are_in_the_report_and_a_problem(
    an_account: AccountMaker,
) -> None:
    account = an_account(policy=a_policy(a_tier(declared_inactivity_days=45)))
    account.key("within", idle=45)
    account.key("beyond", idle=50)
    account.key("kept", idle=70, tags={"keyjanitor:keep": ""})
    account.key("warned", idle=60)
    account.night()
    report = published(account)
    told = report["inactivity"]
    rows = [dict(zip(told["columns"], row, strict=True)) for row in told["rows"]]
    assert {row["key_id"]: row["why"] for row in rows} == {
        "beyond": "within_idle_limit",
        "kept": "protected",
        "warned": "waits_for_date",
    }
    assert (told["declared"], told["keys"], sum(told["why"].values())) == ({"external": 45}, 3, 3)
    [problem] = [one for one in report["findings"] if one["kind"] == "keys_inactive"]
    assert sorted(problem["about"]) == ["beyond", "kept", "warned"]
