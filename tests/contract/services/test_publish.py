"""publish_report on an account: what it tells, whatever the night was like, and that it only tells."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

from keyjanitor import __version__
from keyjanitor.adapters.ledger import Change
from keyjanitor.domain.model.apis import Method
from keyjanitor.domain.model.keys import Mode, State
from keyjanitor.domain.model.policy import PressureRule
from keyjanitor.domain.model.safe_text import visible
from keyjanitor.domain.report.document import USAGE_PLANS
from keyjanitor.domain.report.key_rows import COLUMNS
from keyjanitor.domain.report.use_tables import GONE
from keyjanitor.errors import CallFailed, EmptyListing, KeyjanitorError
from sandbox.memory.adapters.api_gateway import value_of
from tests.account import BUSY, Account, Call, Calls
from tests.builders import DAY, KEY_ID, PLAN_ID, TODAY, a_policy, a_tier, a_usage_plan

SCHEMA = Path(__file__).parents[3] / "docs" / "schemas" / "report.json"
fits = fastjsonschema.compile(json.loads(SCHEMA.read_text()))

AccountMaker = Callable[..., Account]
HOSTILE = "</script><script>alert(1)</script>"


def published(account: Account) -> dict[str, Any]:
    """The numbers of the report that is published now; they fit their schema."""
    account.publish()
    report = account.report()
    fits(report)
    assert account.report(str(account.today)) == report
    return report


def keys_of(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    assert report["keys"]["columns"] == list(COLUMNS)
    return {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in report["keys"]["rows"]}


def next_step_of(report: dict[str, Any], key_id: str) -> tuple[str | None, str | None]:
    """What the report foretells of a key, and for when."""
    key = keys_of(report)[key_id]
    return key["next_step"], key["next_on"]


def foretold(report: dict[str, Any]) -> dict[str, int]:
    """How many keys the next night will warn, disable and park, as the report has it."""
    return {verb: report["ahead"][0][verb] for verb in ("warn", "disable", "park")}


def done(answer: dict[str, Any]) -> dict[str, int]:
    """How many keys a sweep did warn, disable and park."""
    return {verb: answer["applied"][verb] for verb in ("warn", "disable", "park")}


def unread(_: Call) -> Any:
    raise CallFailed("GetUsage", "AccessDeniedException")


def test_the_answer_says_where_the_report_is_and_what_the_doctor_found(account: Account) -> None:
    account.key("alone", plans=(), age=30)
    account.night()
    answer = account.publish()
    (finding,) = [one for one in answer["findings"] if one["kind"] == "keys_in_no_plan"]
    assert (finding["about"], finding["keys_or_plans"]) == (["alone"], 1)
    assert finding["slots"] == 1
    assert finding["command"]
    assert {**answer, "findings": []} == {
        "time": f"{TODAY}T06:15:00Z",
        "code_version": __version__,
        "report": f"s3://{account.bucket}/reports/{TODAY}/index.html",
        "keys": 2,
        "findings": [],
        "unread": [],
    }
    assert sorted(account.objects("reports/")) == [
        f"reports/{TODAY}/index.html",
        f"reports/{TODAY}/report.json",
        "reports/latest/index.html",
        "reports/latest/report.json",
    ]


def test_the_page_holds_the_numbers_that_lie_beside_it(account: Account) -> None:
    account.night()
    report = published(account)
    page = account.objects("reports/latest/")["reports/latest/index.html"].decode()
    _, _, rest = page.partition('<script type="application/json" id="report">')
    assert json.loads(rest.partition("</script>")[0]) == report


def test_a_morning_after_a_night_tells_what_was_done_and_what_comes(account: Account) -> None:
    account.key(KEY_ID, idle=80)
    account.key("used", idle=2, name="in use")
    account.gateway.apis = {"api1": {"prod": (Method("/", "GET", "NONE", True),)}}
    account.night()
    account.watch()
    account.pass_day()
    account.night()
    account.watch()
    report = published(account)
    assert report["capacity"]["keys"] == 3
    assert report["capacity"]["usage_plan_quota"] == USAGE_PLANS
    assert [one[:2] for one in report["capacity"]["counts"]] == [
        [str(TODAY), 3],
        [str(TODAY + DAY), 3],
    ]
    assert report["capacity"]["forecast"]["state"] == "not_yet_known"
    assert report["capacity"]["tiers"] == {"external": 3}
    night = report["night"]
    assert (night["swept"], night["evidence"], night["keys_file"]) == (
        True,
        str(account.today),
        str(account.today),
    )
    assert sum(night["verdicts"].values()) == 3
    keys = keys_of(report)
    row = account.ledger.live_rows()[KEY_ID]
    on = row.park_on
    assert on is not None
    assert keys[KEY_ID] | {"name": "", "reason": ""} == {
        "key_id": KEY_ID,
        "name": "",
        "owner": None,
        "tier": "external",
        "state": "disabled",
        "verdict": "disable",
        "reason": "",
        "last_used": str(TODAY - DAY * 80),
        "idle_days": 81,
        "created": str(TODAY - DAY * 400),
        "next_step": "parked",
        "next_on": str(on),
        "days_left": (on - account.today).days,
        "requests_30d": 0,
        "plans": [PLAN_ID],
        "expires": None,
        "waits": False,
        "announced": True,
        "reason_code": "idle",
        "facts": {"days": 81, "since": str(TODAY - DAY * 80), "never_used": False},
    }
    assert keys[BUSY]["requests_30d"] >= 29_000
    idle_days = account.policy.tiers["external"].idle_days
    assert isinstance(idle_days, int)
    assert (keys["used"]["next_step"], keys["used"]["next_on"]) == (
        "warned",
        str(TODAY - DAY * 2 + DAY * idle_days),
    )
    assert report["ahead_mode"] == "park"
    assert len(report["ahead"]) == 14
    assert [one["park"] for one in report["ahead"] if one["date"] == str(on)] == [1]


def test_the_day_that_a_key_is_parked_its_row_says_so(account: Account) -> None:
    account.key(KEY_ID, idle=80)
    while KEY_ID in account.gateway.ids:
        account.night()
        report = published(account)
        account.pass_day()
    key = keys_of(report)[KEY_ID]
    assert (key["state"], key["next_step"]) == ("parked", "purged")
    assert report["night"]["did"]["parked"] == 1
    assert report["capacity"]["keys"] == 1


def test_in_observe_a_key_that_somebody_deleted_is_gone_and_not_parked(
    an_account: AccountMaker,
) -> None:
    """The sweep would have parked it that night: there is no tombstone to bring it back from."""
    account = an_account()
    account.key(KEY_ID, idle=80)
    account.nights(2)
    account.mode = Mode.OBSERVE
    account.wire()
    account.pass_day()
    account.night()
    account.gateway.delete(KEY_ID)
    report = published(account)
    key = keys_of(report)[KEY_ID]
    assert (key["verdict"], key["state"]) == ("park", State.GONE)
    assert account.objects("tombstones/") == {}
    assert next_step_of(report, KEY_ID) == (None, None)


def test_a_key_whose_silence_proves_nothing_is_foretold_no_warning(
    an_account: AccountMaker,
) -> None:
    """No request was ever seen in its plan, so it will be unknown when its idle limit ends."""
    policy = a_policy(a_tier(usage_plans=("external", "plan2")), max_share=1.0)
    account = an_account(policy=policy)
    account.gateway.add_plan(a_usage_plan("plan2", name="silent", stages=("api9:x",)))
    account.key(KEY_ID, plans=("plan2",), age=5)
    account.night()
    report = published(account)
    assert keys_of(report)[KEY_ID]["verdict"] == "keep"
    assert next_step_of(report, KEY_ID) == (None, None)
    account.skip(30)
    account.night()
    report = published(account)
    assert keys_of(report)[KEY_ID]["verdict"] == "unknown"
    assert next_step_of(report, KEY_ID) == (None, None)


def test_a_first_morning_on_which_nothing_ran_says_so(account: Account) -> None:
    report = published(account)
    night = report["night"]
    assert (night["swept"], night["evidence"], night["keys_file"]) == (False, None, None)
    assert report["ahead"] is None
    assert "PullUsageFunction has not finished" in report["ahead_unknown"]
    assert len(report["use"]["missing"]) == 30
    assert keys_of(report)[BUSY]["requests_30d"] is None
    assert keys_of(report)[BUSY]["verdict"] is None
    kinds = {finding["kind"] for finding in report["findings"]}
    assert "silent_plans" not in kinds


def test_a_night_that_was_not_read_leaves_the_verdicts_of_the_last_one(account: Account) -> None:
    account.night()
    account.pass_day()
    report = published(account)
    assert report["night"]["keys_file"] == str(TODAY)
    assert report["night"]["evidence"] == str(TODAY)
    assert report["night"]["swept"] is False
    assert report["ahead"] is None
    assert keys_of(report)[BUSY]["verdict"] == "keep"


def test_in_observe_it_tells_what_park_would_do(an_account: AccountMaker) -> None:
    account = an_account(mode=Mode.OBSERVE)
    account.key(KEY_ID, idle=80)
    account.night()
    report = published(account)
    assert (report["mode"], report["ahead_mode"]) == ("observe", "park")
    assert sum(night["warn"] for night in report["ahead"]) == 1
    assert sum(night["disable"] for night in report["ahead"]) == 1


def test_after_two_nights_that_were_not_swept_the_next_one_is_foretold_only_to_warn(
    an_account: AccountMaker,
) -> None:
    account = an_account()
    account.key(KEY_ID, idle=80)
    account.key("idle tomorrow", idle=56)
    account.night()
    account.pass_day(3)
    account.read()
    report = published(account)
    account.pass_day()
    assert foretold(report) == done(account.night()) == {"warn": 1, "disable": 0, "park": 0}


def test_after_nights_of_observe_the_next_one_is_foretold_as_it_comes(
    an_account: AccountMaker,
) -> None:
    """The ledger still has the dates of the nights before them."""
    account = an_account()
    account.key(KEY_ID, idle=80)
    account.night()
    account.mode = Mode.OBSERVE
    account.wire()
    account.pass_day()
    account.nights(4)
    report = published(account)
    account.mode = Mode.PARK
    account.wire()
    account.pass_day()
    assert foretold(report) == done(account.night()) == {"warn": 0, "disable": 0, "park": 0}


def test_a_plan_that_the_policy_names_and_nobody_finds_stops_no_report(
    an_account: AccountMaker,
) -> None:
    account = an_account()
    account.night()
    account.policy = a_policy(a_tier(usage_plans=("nowhere",)))
    account.wire()
    report = published(account)
    assert report["ahead_unknown"] is None
    [finding] = [one for one in report["findings"] if one["kind"] == "policy_plans_unclear"]
    assert finding["about"] == ["tiers.external.usage_plans[0]", PLAN_ID]


def test_the_pressure_rules_and_a_hold_are_in_the_report(an_account: AccountMaker) -> None:
    rules = (PressureRule(above=0.9, idle_factor=0.5, freeze=()),)
    account = an_account(policy=a_policy(a_tier(idle_days=90), pressure=rules))
    account.key(KEY_ID, idle=60)
    account.sweep(hold="a campaign")
    account.night()
    report = published(account)
    assert report["night"]["held"] == "a campaign"
    assert (report["ahead"], report["ahead_unknown"]) == (None, "sweeps are on hold: a campaign")
    assert report["capacity"]["pressure_rules"] == [
        {
            "above": 0.9,
            "idle_factor": 0.5,
            "more_keys": 1,
            "tiers": {"external": 1},
            "days_gained": None,
        }
    ]


def test_an_unread_plan_is_a_gap_in_the_use_of_its_tier(account: Account) -> None:
    account.night()
    account.pass_day(3)
    account.around = Calls(apigateway_usage=unread)
    account.night()
    account.around = Calls()
    report = published(account)
    (tier,) = report["use"]["tiers"]
    assert tier["by_day"][-3:] == [None, None, None]
    assert None not in tier["by_day"][:-3]
    assert [plan["usage_plan_id"] for plan in report["night"]["unread"]] == [PLAN_ID]


def test_the_use_of_a_key_is_no_zero_while_one_of_its_plans_is_unread(account: Account) -> None:
    account.gateway.add_plan(a_usage_plan("plan2", name="two", stages=("api2:prod",)))
    account.gateway.use("plan2", "stranger", account.today - DAY)  # so the answer proves nothing
    account.key(KEY_ID, plans=(PLAN_ID, "plan2"))
    account.night()
    report = published(account)
    assert [plan["usage_plan_id"] for plan in report["night"]["unread"]] == ["plan2"]
    keys = keys_of(report)
    assert (keys[KEY_ID]["requests_30d"], keys[BUSY]["requests_30d"]) == (None, 30_000)


def test_days_that_nobody_read_stay_a_gap_when_their_keys_move_to_another_plan(
    account: Account,
) -> None:
    account.gateway.add_plan(a_usage_plan("plan2", name="two", stages=("api2:prod",)))
    account.night()
    account.pass_day(3)
    account.around = Calls(apigateway_usage=unread)
    account.night()
    account.gateway.leave(BUSY, PLAN_ID)
    account.gateway.attach("plan2", BUSY)
    account.pass_day()
    account.night()
    account.around = Calls()
    (tier,) = published(account)["use"]["tiers"]
    assert tier["by_day"][-6:] == [1000, 1000, None, None, None, None]


def test_the_report_tells_of_each_owner_the_keys_and_their_requests(account: Account) -> None:
    for key_id, owner, requests in (
        ("k1", "jo", 5),
        ("k2", "jo", 2),
        ("k3", "sam", 700),
        ("k4", "", 0),
    ):
        account.key(key_id, age=100)
        account.use(key_id, account.today - DAY, requests)
        account.night()
        if owner:
            account.own(key_id, owner)
        account.pass_day()
    account.night()
    report = published(account)
    use = report["use"]
    days = len(use["days"])
    assert use["owners"] == [
        {"owner": None, "keys": 2, "used_keys": 1, "requests": 1_000 * days},
        {"owner": "sam", "keys": 1, "used_keys": 1, "requests": 700},
        {"owner": "jo", "keys": 2, "used_keys": 2, "requests": 7},
    ]
    assert use["owners_total"] == 2
    owners = {key_id: key["owner"] for key_id, key in keys_of(report).items()}
    assert owners == {"k1": "jo", "k2": "jo", "k3": "sam", "k4": None, BUSY: None}
    page = account.objects("reports/latest/")["reports/latest/index.html"].decode()
    assert '"owner":"sam"' in page.replace(" ", "")


def test_names_and_owners_are_no_part_of_the_page(account: Account) -> None:
    account.key(KEY_ID, idle=3, name=HOSTILE)
    account.night()
    report = published(account)
    assert keys_of(report)[KEY_ID]["name"] == HOSTILE
    page = account.objects("reports/latest/")["reports/latest/index.html"].decode()
    assert "alert(1)</script>" not in page
    assert "\\u003c/script\\u003e" in page


@pytest.mark.parametrize(
    "name",
    [
        "\ud800",
        "</script><!--",
        "\u2028",
        "=cmd|' /C calc'!A0",
        "__proto__",
        "'; rm -rf ~; '",
        "$(reboot)`x`\ud800",
    ],
)
def test_no_name_leaves_its_place(account: Account, name: str) -> None:
    """Neither for the answer that Lambda writes, nor for the page, nor for a shell."""
    account.key("in a plan", name=name, idle=1)
    account.key("in none", name=name, age=30, plans=())
    account.gateway.add_plan(a_usage_plan("plan2", name=name, stages=("api9:x",)))
    account.night()
    assert json.dumps(account.publish(), ensure_ascii=False).encode()  # as Lambda's runtime does
    report = published(account)
    assert keys_of(report)["in a plan"]["name"] == visible(name)
    assert {one["kind"] for one in report["findings"]} >= {"shared_names", "plans_without_keys"}
    assert not any(name in one["command"] for one in report["findings"])
    page = account.objects("reports/latest/")["reports/latest/index.html"]
    assert b"</script><!--" not in page


def test_it_changes_nothing_and_tells_no_value(account: Account) -> None:
    account.key(KEY_ID, idle=80)
    account.key("alone", plans=(), age=30)
    account.night()
    items, keys, told = account.items(), account.gateway.keys(), len(account.events)
    files = account.objects()
    account.publish()
    assert (account.items(), account.gateway.keys(), len(account.events)) == (items, keys, told)
    after = account.objects()
    assert {name: after[name] for name in files} == files
    for name in after.keys() - files.keys():
        assert name.startswith("reports/")
        assert not any(value_of(key_id).encode() in after[name] for key_id in account.gateway.ids)


@pytest.mark.slow
def test_a_call_that_fails_leaves_the_last_report_or_a_true_one(account: Account) -> None:
    """Every call is refused in its turn: nothing is broken, and nothing is told that is not known."""
    account.key(KEY_ID, idle=80)
    account.gateway.apis = {"api1": {"prod": (Method("/", "GET", "NONE", False),)}}
    account.night()
    account.around = undisturbed = Calls()
    whole = published(account)
    outcomes = set()
    for number in range(len(undisturbed.names)):
        account.around = _refuses(number)
        try:
            account.publish()
        except KeyjanitorError:
            outcomes.add("failed")
            continue
        report = account.report()
        fits(report)
        said = {(one["kind"], tuple(one["about"])) for one in report["findings"]}
        known = {(one["kind"], tuple(one["about"])) for one in whole["findings"]}
        assert said <= known
        outcomes.add("partly" if report["unread"] else "wholly")
    assert outcomes >= {"failed", "partly"}


def _refuses(number: int) -> Any:
    seen: list[str] = []

    def around(name: str, call: Call) -> Any:
        seen.append(name)
        if len(seen) - 1 == number:
            raise CallFailed(name.rpartition(".")[2], "InternalError")
        return call()

    return around


def test_an_empty_listing_is_no_empty_account(account: Account) -> None:
    account.night()
    account.around = Calls(apigateway_keys=lambda _: [])
    with pytest.raises(EmptyListing):
        account.publish()


def test_the_doctor_stops_in_time(account: Account) -> None:
    account.gateway.apis = {"api1": {"prod": (Method("/", "GET", "NONE", False),)}}
    account.night()
    left = iter([900_000, 900_000])  # the lease asks first, then the deadline
    answer = account.publish(account.context(lambda: next(left, 20_000)))
    assert ["no time was left" in one for one in answer["unread"]] == [True]


def test_the_use_of_keys_is_their_tiers_and_what_nobody_knows_is_no_zero(account: Account) -> None:
    account.key("gone", idle=2)
    account.key("alone", plans=(), age=30)
    account.night()
    account.pass_day()
    account.gateway.delete("gone")
    account.night()
    account.key("new", age=0)
    tiers = {one["tier"]: one for one in published(account)["use"]["tiers"]}
    assert {tier: (one["keys"], one["used_keys"]) for tier, one in tiers.items()} == {
        "external": (1, 2),
        "unclaimed": (2, None),
    }
    assert set(tiers["unclaimed"]["by_day"]) == {None}
    account.ledger.commit(
        [Change(row, replace(row, state=State.GONE)) for row in account.ledger.live_rows().values()]
    )
    account.pass_day()
    lines = account.history.keys(account.today - DAY)
    account.history.put_keys(account.today - DAY, [one for one in lines if one["key_id"] != "gone"])
    account.history.put_keys(account.today - DAY * 2, [])
    tiers = {one["tier"]: one for one in published(account)["use"]["tiers"]}
    assert (tiers[GONE]["keys"], tiers[GONE]["used_keys"]) == (0, 1)
