"""Nights in which access logs are asked: what they add, what they cost, and what fails without harm."""

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from keyjanitor.domain.usage.access_log_format import FIREHOSE, NO_KEY_ID, SUGGESTED
from keyjanitor.domain.usage.access_logs import LoggedCalls, SeenInLogs
from keyjanitor.errors import AccessDenied, CallFailed
from tests.account import Account, Call, Calls, Killed, brisk
from tests.builders import DAY, PLAN_ID, TODAY, a_policy, a_tier, a_usage_plan, at

GROUP = "/apis/prod"
ARN = f"arn:aws:logs:us-east-1:123456789012:log-group:{GROUP}"
STAGE = "api2:prod"
SILENT = "plan2"
OLD = at(TODAY - DAY * 300)


@pytest.fixture
def account(account: Account) -> Account:
    """An account that asks logs, with a plan in which usage shows no request, on a stage that logs."""
    tier = a_tier(usage_plans=(PLAN_ID, SILENT), idle_days=10, warn_days=1, grace_days=1)
    account.policy = replace(a_policy(tier), access_logs=True)
    account.gateway.apis = {"api1": {"prod": ()}, "api2": {"prod": ()}}
    account.gateway.add_plan(a_usage_plan(SILENT, name="silent", stages=(STAGE,)))
    account.key("quiet00000", plans=(SILENT,))
    account.key("caller0000", plans=(SILENT,))
    account.logs.add_group(GROUP, OLD)
    logs(account)
    account.wire()
    return account


def logs(account: Account, stage: str = STAGE, **more: Any) -> None:
    """How a stage logs; `updated` is long ago."""
    account.gateway.stage_settings[stage] = {
        "log_destination": ARN,
        "log_format": SUGGESTED,
        "updated": OLD,
        **more,
    }


def call(account: Account, key_id: str, at: datetime | None = None) -> None:
    """A line of the access log: a request yesterday at noon, if no other moment is named."""
    api_id, stage = STAGE.split(":")
    line = f'"r","apiId":"{api_id}","stage":"{stage}","apiKeyId":"{key_id}","status":"200"}}'
    line = '{"requestId":' + line
    account.logs.log(GROUP, at or noon(account.today - DAY), line)


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def seen(account: Account) -> SeenInLogs:
    evidence = account.evidence()
    assert evidence is not None
    assert evidence.seen_in_logs is not None
    return evidence.seen_in_logs


def verdict(account: Account, key_id: str) -> tuple[str, str]:
    line = account.keys_file()[key_id]
    return line["verdict"], line["reason_code"]


# --- off ------------------------------------------------------------------------------------------


def test_switched_off_no_call_is_made_and_the_reading_says_nothing(account: Account) -> None:
    account.policy = brisk()
    account.wire()
    calls = account.around = Calls()
    answer = account.read()
    named = [name for name in calls.names if "logs" in name or name == "apigateway.stages"]
    assert named == []
    assert "access_logs" not in answer
    written = json.loads(account.objects("evidence/")[f"evidence/{account.today}.json.gz"])
    assert "seen_in_logs" not in written


def test_use_that_was_seen_stays_when_logs_are_switched_off(account: Account) -> None:
    call(account, "caller0000")
    account.read()
    account.policy = brisk()
    account.wire()
    account.pass_day()
    account.read()
    assert seen(account) == SeenInLogs(last_used={"caller0000": account.today - DAY * 2})


# --- on -------------------------------------------------------------------------------------------


def test_the_last_use_and_the_number_of_requests_are_read_by_key(account: Account) -> None:
    call(account, "caller0000")
    call(account, "caller0000", noon(account.today - DAY) + timedelta(hours=1))
    call(account, "-")
    answer = account.read()
    until = at(account.today, 2)
    assert seen(account).calls == {
        "caller0000": LoggedCalls(2, until - DAY, noon(account.today - DAY) + timedelta(hours=1))
    }
    scanned = sum(len(line) for _, line in account.logs.lines[GROUP])
    assert answer["access_logs"] == {
        "through": f"{account.today}T02:00:00Z",
        "keys": 1,
        "requests": 2,
        "bytes_scanned": scanned,
        # The stage of the other plan does not log.
        "not_whole": [
            {"stage": "api1:prod", "reason": answer["access_logs"]["not_whole"][0]["reason"]}
        ],
    }
    assert SUGGESTED in answer["access_logs"]["not_whole"][0]["reason"]


def test_each_api_of_a_plan_is_asked_for_once_and_each_log_too(account: Account) -> None:
    logs(account, "api2:test")
    account.gateway.apis["api2"]["test"] = ()
    account.gateway.apis["api3"] = {"prod": ()}  # no plan opens it
    account.gateway.add_plan(a_usage_plan("plan3", stages=(STAGE, "api2:test")))
    calls = account.around = Calls()
    account.read()
    assert calls.count("apigateway.stages") == 2
    assert calls.count("access_logs.ask") == 1
    assert calls.count("access_logs.incoming_bytes") == 1


@pytest.mark.life("K-410")
def test_a_key_that_only_a_log_shows_in_use_is_not_warned(account: Account) -> None:
    account.key("logged0000", idle=30)
    account.key("idle000000", idle=30)
    call(account, "logged0000")
    account.night()
    assert verdict(account, "logged0000") == ("keep", "within_idle_limit")
    assert verdict(account, "idle000000") == ("warn", "idle")


@pytest.mark.life("K-411")
def test_a_silent_plans_keys_are_idle_once_its_logs_were_whole_for_the_idle_limit(
    account: Account,
) -> None:
    for _ in range(10):
        call(account, "caller0000")
        account.night()
        assert verdict(account, "quiet00000")[0] != "warn"
        account.pass_day()
    call(account, "caller0000")
    account.night()
    assert verdict(account, "quiet00000") == ("warn", "idle")
    assert verdict(account, "caller0000") == ("keep", "within_idle_limit")


@pytest.mark.life("K-411")
def test_a_silent_plans_keys_are_unknown_while_no_request_was_seen_in_its_log(
    account: Account,
) -> None:
    account.nights(12)
    assert verdict(account, "quiet00000") == ("unknown", "unwitnessed")


# The call that fails, on a night of whose logs everything hangs on it.
CALLS = ["access_logs_ask", "access_logs_incoming_bytes", "access_logs_group", "apigateway_stages"]


def failing(_: Call) -> Any:
    raise CallFailed("StartQuery", "LimitExceededException")


@pytest.mark.parametrize("broken", CALLS)
def test_whatever_fails_the_night_is_read_and_the_silent_plan_is_unknown(
    account: Account, broken: str
) -> None:
    for _ in range(10):
        call(account, "caller0000")
        account.night()
        account.pass_day()
    account.around = Calls(**{broken: failing})
    answer = account.read()
    account.around = lambda _, act: act()
    account.sweep()
    reasons = {one["stage"]: one["reason"] for one in answer["access_logs"]["not_whole"]}
    assert "StartQuery failed: LimitExceededException" in reasons[STAGE]
    assert verdict(account, "quiet00000") == ("unknown", "unwitnessed")
    # Use of before is not forgotten, and the next night reads what is missing.
    assert seen(account).last_used["caller0000"] == account.today - DAY * 2
    call(account, "caller0000")
    account.pass_day()
    account.night()
    assert seen(account).last_used["caller0000"] == account.today - DAY * 2
    assert verdict(account, "quiet00000") == ("warn", "idle")


def test_a_right_that_is_missing_is_named_and_stops_nothing(account: Account) -> None:
    action = f"logs:StartQuery on the log group {GROUP} (parameter AccessLogGroups)"

    def denied(_: Call) -> Any:
        raise AccessDenied(action, "the function's role")

    account.around = Calls(access_logs_ask=denied)
    answer = account.read()
    (found,) = [one for one in answer["access_logs"]["not_whole"] if one["stage"] == STAGE]
    assert found["reason"] == str(AccessDenied(action, "the function's role"))


def test_a_log_beyond_the_limit_of_bytes_is_not_asked_and_named(account: Account) -> None:
    account.policy = replace(account.policy, access_logs_max_gb=1)
    account.wire()
    small = "/apis/small"
    account.logs.add_group(small, OLD)
    logs(account, "api1:prod", log_destination=ARN.replace(GROUP, small))
    call(account, "caller0000")

    def large(act: Call) -> Any:
        return {**act(), GROUP: 2_500_000_000}

    calls = account.around = Calls(access_logs_incoming_bytes=large)
    answer = account.read()
    assert [one.log.group for one in account.logs.asked] == [small]
    assert calls.count("access_logs.ask") == 1
    assert answer["access_logs"]["not_whole"] == [
        {
            "stage": STAGE,
            "reason": "its query would look at 2.50 GB, and access_logs_max_gb = 1 is for all logs "
            "of a night together",
        }
    ]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"log_format": '{"id":"$context.requestId"}'}, str(NO_KEY_ID)),
        ({"log_destination": ARN.replace(":logs:", ":firehose:")}, str(FIREHOSE)),
    ],
)
def test_a_stage_whose_log_says_nothing_of_keys_is_named_with_what_to_do(
    account: Account, more: dict[str, str], reason: str
) -> None:
    logs(account, **more)
    answer = account.read()
    assert {"stage": STAGE, "reason": reason} in answer["access_logs"]["not_whole"]
    assert account.logs.asked == []


def test_a_run_without_time_asks_no_log_and_says_so(account: Account) -> None:
    calls = account.around = Calls()

    def remaining() -> int:
        return 0 if calls.count("apigateway.stages") else 900_000

    answer = account.read(account.context(remaining))
    assert calls.count("access_logs.ask") == 0
    reasons = {one["stage"]: one["reason"] for one in answer["access_logs"]["not_whole"]}
    assert "no time left" in reasons[STAGE]


@pytest.mark.parametrize("number", range(5))
def test_a_run_that_dies_at_a_call_for_logs_is_made_up_for(account: Account, number: int) -> None:
    """The night's next run writes what the first would have written."""
    call(account, "caller0000")
    before = account.snapshot()
    account.read()
    undisturbed = seen(account)
    account.go_back(before)
    made = 0

    def dying(name: str, act: Call) -> Any:
        nonlocal made
        if name.startswith("access_logs.") or name == "apigateway.stages":
            made += 1
            if made == number + 1:
                raise Killed
        return act()

    account.around = dying
    with suppress(Killed):
        account.read()
    account.around = lambda _, act: act()
    account.real_now += timedelta(hours=1)
    account.read()
    assert seen(account) == undisturbed


# --- disabled keys that are called ----------------------------------------------------------------


def calls_of(account: Account) -> list[dict[str, Any]]:
    return [one["Detail"] for one in account.events if one["DetailType"] == "Disabled Key Called"]


def digests_of(account: Account) -> list[dict[str, Any]]:
    forms = [json.loads(json.loads(one["Message"])["sqs"]) for one in account.alerts]
    return [one for one in forms if one["kind"] == "expiring"]


@pytest.mark.life("K-1204")
def test_a_disabled_key_that_is_called_is_named_in_event_digest_and_report(
    account: Account,
) -> None:
    account.key("shut000000", enabled=False, idle=30)
    for hour in (0, 1):
        call(account, "shut000000", noon(account.today - DAY) + timedelta(hours=hour))
    account.night()
    account.sweep()
    account.publish()
    window = {
        "requests": 2,
        "since": f"{account.today - DAY}T02:00:00Z",
        "last": f"{account.today - DAY}T13:00:00Z",
    }
    (event,) = calls_of(account)
    assert event == {
        "version": 1,
        "key_id": "shut000000",
        "owner": None,
        "tier": "external",
        "contact": account.policy.tiers["external"].contact,
        "disabled_by": "others",
        **window,
    }
    assert [one["called"] for one in digests_of(account) if "called" in one] == [
        [
            {
                "key_id": "shut000000",
                "owner": None,
                "name": "name of shut000000",
                "tier": "external",
                "disabled_by": "others",
                **window,
            }
        ]
    ]
    assert account.report()["night"]["called"] == [
        {
            "key_id": "shut000000",
            "name": "name of shut000000",
            "owner": None,
            "enabled": False,
            **window,
        }
    ]
    assert not account.enabled("shut000000")


@pytest.mark.life("K-1204")
def test_a_key_that_keyjanitor_disabled_is_enabled_again_when_it_is_called(
    account: Account,
) -> None:
    account.key("idle000000", idle=30)
    while account.enabled("idle000000"):
        account.night()
        account.pass_day()
    call(account, "idle000000", at(account.today, 1))
    account.night()
    (event,) = calls_of(account)
    assert (event["key_id"], event["disabled_by"]) == ("idle000000", "keyjanitor")
    assert account.enabled("idle000000")
    account.publish()
    assert [one["enabled"] for one in account.report()["night"]["called"]] == [True]


def test_a_night_without_such_a_call_says_nothing_of_it(account: Account) -> None:
    account.key("shut000000", enabled=False, idle=30)
    call(account, "caller0000")
    account.night()
    account.publish()
    assert calls_of(account) == []
    assert "called" not in account.report()["night"]


def test_a_call_before_the_key_was_disabled_is_no_call_of_a_disabled_key(
    account: Account,
) -> None:
    account.key("shut000000", idle=30)
    call(account, "shut000000")
    account.gateway.change("shut000000", enabled=False)
    account.night()
    assert calls_of(account) == []


def test_a_call_that_could_not_be_told_is_told_by_the_next_run(account: Account) -> None:
    account.key("shut000000", enabled=False, idle=30)
    call(account, "shut000000")
    account.read()
    account.around = dies_after("sns.publish")
    with suppress(Killed):
        account.sweep()
    account.around = lambda _, act: act()
    account.real_now += timedelta(hours=1)
    account.sweep()
    account.sweep()
    # At least once; a third run says nothing.
    told = [len(one["called"]) for one in digests_of(account) if "called" in one]
    account.sweep()
    again = [len(one["called"]) for one in digests_of(account) if "called" in one]
    assert told == again
    assert set(told) == {1}
    assert {one["key_id"] for one in calls_of(account)} == {"shut000000"}


def dies_after(name: str) -> Any:
    def around(called: str, act: Call) -> Any:
        answer = act()
        if called == name:
            raise Killed
        return answer

    return around
