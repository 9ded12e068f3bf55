"""`plan --live` says what a reading and a sweep of now would say, and writes nothing."""

import json
from collections.abc import Callable
from datetime import date
from typing import Any, cast

import pytest

from keyjanitor.adapters.bucket import Bucket
from keyjanitor.adapters.gateway_calls import GatewayCalls
from keyjanitor.adapters.rate_limiter import RateLimiter
from keyjanitor.domain.model.keys import SweepAction
from keyjanitor.domain.model.records import Claim
from keyjanitor.errors import EmptyListing
from keyjanitor_cli.console import Console
from keyjanitor_cli.files import Files
from keyjanitor_cli.session import Session
from keyjanitor_cli.tonight import LivePlan, live_plan
from sandbox.memory.adapters.api_gateway import FakeApiGateway
from tests.account import BUSY, Account, at_the_sweep
from tests.builders import DAY

AccountMaker = Callable[..., Account]


class Client:
    """boto3's client of the account in memory: reads alone, a page each."""

    def __init__(self, gateway: FakeApiGateway) -> None:
        self._gateway = gateway

    def get_api_keys(self, **_: Any) -> dict[str, Any]:
        listed = self._gateway.keys()
        return {
            "items": [
                {
                    "id": key.key_id,
                    "name": key.name,
                    "enabled": key.enabled,
                    "createdDate": key.created_date,
                    "lastUpdatedDate": key.last_updated_date,
                    "description": key.description,
                    "stageKeys": list(key.stage_keys),
                }
                for key in listed
            ]
        }

    def get_usage_plans(self, **_: Any) -> dict[str, Any]:
        def stages(plan: Any) -> list[dict[str, str]]:
            pairs = [stage.split(":") for stage in plan.stages]
            return [{"apiId": api_id, "stage": stage} for api_id, stage in pairs]

        return {
            "items": [
                {"id": plan.usage_plan_id, "name": plan.name, "apiStages": stages(plan)}
                | (
                    {"quota": {"limit": plan.quota.limit, "period": plan.quota.period}}
                    if plan.quota
                    else {}
                )
                for plan in self._gateway.usage_plans()
            ]
        }

    def get_usage_plan_keys(self, **given: Any) -> dict[str, Any]:
        return {"items": [{"id": one} for one in self._gateway.members(given["usagePlanId"])]}

    def get_usage(self, **given: Any) -> dict[str, Any]:
        days = {name: given[name] for name in ("startDate", "endDate")}
        pages = self._gateway.usage(
            given["usagePlanId"], *(date.fromisoformat(day) for day in days.values())
        )
        used = {key_id: use for page in pages for key_id, use in page.items.items()}
        return {"usagePlanId": given["usagePlanId"], **days, "items": used}


def live(account: Account) -> LivePlan:
    """What the command works out with a person's reading rights."""
    session = Session(Console())
    pace = RateLimiter(1000, sleep=lambda _: None)
    calls = GatewayCalls(Client(account.gateway), pace)
    vars(session).update(
        ledger=account.ledger,
        files=Files(Bucket(account.clients.s3, account.bucket)),
        gateway=cast("Any", type("Gateway", (), {"calls": calls})),
        ownership=account.owners,
    )
    return live_plan(session, account.policy, at_the_sweep(account.today), lambda _: None)


def lived(an_account: AccountMaker) -> Account:
    """An account on a morning on which keys are to be warned, disabled, parked and kept."""
    account = an_account()
    for name in ("parked", "first"):
        account.key(name, idle=300)
    account.night()
    account.pass_day()
    account.key("second", idle=300)
    account.night()
    account.pass_day()
    account.key("third", idle=300)
    account.key("loose", idle=300, plans=())
    account.use("first", account.today - DAY, 3)
    return account


def test_it_says_what_a_reading_and_a_sweep_of_now_say(an_account: AccountMaker) -> None:
    account = lived(an_account)
    seen = live(account)
    account.read()
    answer = account.sweep(mode="observe")
    steps = {line["key_id"]: line["verdict"] for line in seen.lines}
    assert steps == {
        BUSY: "keep",
        "parked": "park",
        "first": "keep",
        "second": "disable",
        "third": "warn",
        "loose": "keep",
    }
    assert {line["key_id"]: line for line in seen.lines} == account.keys_file()
    told = {
        name: seen.answer.get(name)
        for name in answer
        if name not in ("keys_file", "pressure_rules")
    }
    assert told == {name: answer[name] for name in told}
    assert (seen.cut_off, seen.since) == ((), account.today - DAY)


def test_what_a_run_of_the_day_parked_is_done(an_account: AccountMaker) -> None:
    account = lived(an_account)
    account.night()
    line = {line["key_id"]: line for line in live(account).lines}["parked"]
    assert (line["verdict"], line["reason_code"]) == ("park", "stepped")


def test_an_approval_of_the_date_is_known(an_account: AccountMaker) -> None:
    """It shows what a sweep of the date would carry out of it, as a dry run does."""
    account = an_account()
    for index in range(30):  # of which the allowance takes 20
        account.key(f"idle{index:02}", idle=300)
    account.read()
    digest = account.sweep(mode="park")["digest"]
    account.key("later", idle=300)
    before = {line["key_id"]: line for line in live(account).lines}
    assert before["later"]["verdict"] in ("warn", "keep")
    account.sweep(approve=digest)
    seen = {line["key_id"]: line for line in live(account).lines}
    assert (seen["later"]["verdict"], seen["later"]["reason_code"]) == ("keep", "not_tonight")
    assert {line["key_id"] for line in live(account).lines if line["reason_code"] == "stepped"} == {
        f"idle{index:02}" for index in range(30)
    }


def test_an_approval_whose_plan_was_changed_since_lets_nothing_more_go(
    an_account: AccountMaker,
) -> None:
    account = lived(an_account)
    unapproved = {line["key_id"]: line["verdict"] for line in live(account).lines}
    body = json.dumps(
        {"digest": "0123456789abcdef", "date": str(account.today), "kinds": {}, "due": []}
    )
    account.clients.s3.put_object(
        Bucket=account.bucket, Key="plans/0123456789abcdef.json", Body=body.encode()
    )
    account.ledger.remember(account.today, approved="0123456789abcdef")
    assert {line["key_id"]: line["verdict"] for line in live(account).lines} == unapproved


def test_nothing_is_written_and_no_sweep_believes_it(an_account: AccountMaker) -> None:
    account = lived(an_account)
    before = account.snapshot()
    live(account)
    after = account.snapshot()
    assert (after.items, after.objects) == (before.items, before.objects)
    assert {one: account.enabled(one) for one in account.gateway.ids} == {
        one: before.gateway.whole(one)[0].enabled for one in before.gateway.ids
    }
    assert account.evidence() is None


def test_use_of_an_hour_ago_is_seen_before_the_night_reads_it(an_account: AccountMaker) -> None:
    account = lived(an_account)
    account.read()
    account.use("parked", account.today - DAY, 2)
    account.sweep(mode="observe")
    assert account.keys_file()["parked"]["verdict"] == "park"
    assert {line["key_id"]: line for line in live(account).lines}["parked"]["verdict"] != "park"


def test_a_step_that_a_run_which_died_has_begun_is_left_out_and_named(
    an_account: AccountMaker,
) -> None:
    account = lived(an_account)
    claim = Claim(SweepAction.DISABLE, account.today - DAY)
    account.change_row("second", claim=claim)
    seen = live(account)
    assert seen.cut_off == ("second",)
    assert "second" not in {line["key_id"] for line in seen.lines}


def test_an_empty_list_is_no_proof(an_account: AccountMaker) -> None:
    account = lived(an_account)
    for key_id in list(account.gateway.ids):
        account.gateway.delete(key_id)
    with pytest.raises(EmptyListing):
        live(account)


def test_a_night_that_was_not_swept_for_long_only_warns(an_account: AccountMaker) -> None:
    account = lived(an_account)
    account.pass_day(3)
    assert {line["verdict"] for line in live(account).lines} == {"keep", "warn"}
