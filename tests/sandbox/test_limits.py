"""The control plane's throttles, the record of calls, and what the sandbox does wrong on purpose."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError

from sandbox.aws.throttles import ControlPlaneThrottles
from sandbox.driver.client import LaidKey, Sandbox

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]

VALUE = "a-value-of-twenty-letters-or-more"


def outcome(call: Any, **kw: Any) -> str:
    try:
        call(**kw)
    except ClientError as err:
        return str(err.response["Error"]["Code"])
    return "done"


def hammer(call: Any, times: int, **kw: Any) -> list[str]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda _: outcome(call, **kw), range(times)))


def test_all_calls_together_get_a_burst_of_40(sandbox: Sandbox) -> None:
    gateway = sandbox.client("apigateway", patient=False)
    sandbox.set_throttles(0.01)
    assert hammer(gateway.get_api_keys, 60).count("done") == 40


def test_after_the_burst_10_calls_a_second_are_admitted_and_never_more_than_the_burst_at_once() -> (
    None
):
    seconds = 0.0
    throttles = ControlPlaneThrottles(monotonic=lambda: seconds)

    def admitted(calls: int) -> int:
        return sum(throttles.admit("a", "GetApiKeys") is None for _ in range(calls))

    assert admitted(60) == 40
    seconds += 0.5
    assert admitted(60) == 5
    seconds += 60
    assert admitted(60) == 40


@pytest.mark.parametrize(
    ("operation", "arguments", "burst"),
    [
        ("create_api_key", {}, 5),
        ("delete_api_key", {"apiKey": "gone"}, 5),
        ("update_usage_plan", {"usagePlanId": "gone"}, 1),
        ("create_deployment", {"restApiId": "gone"}, 1),
    ],
)
def test_some_operations_have_less_of_their_own(
    sandbox: Sandbox, operation: str, arguments: dict[str, str], burst: int
) -> None:
    gateway = sandbox.client("apigateway", patient=False)
    sandbox.set_throttles(0.01)
    outcomes = [outcome(getattr(gateway, operation), **arguments) for _ in range(burst + 3)]
    assert outcomes[burst:] == ["TooManyRequestsException"] * 3
    assert "TooManyRequestsException" not in outcomes[:burst]


def test_a_throttled_call_says_when_to_try_again(sandbox: Sandbox) -> None:
    gateway = sandbox.client("apigateway", patient=False)
    sandbox.set_throttles(0.1)
    outcome(gateway.update_usage_plan, usagePlanId="gone")
    with pytest.raises(ClientError) as error:
        gateway.update_usage_plan(usagePlanId="gone")
    answer: dict[str, Any] = dict(error.value.response)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert 100 <= int(answer["retryAfterSeconds"]) <= 200
    assert isinstance(answer["retryAfterSeconds"], str)


def test_a_client_waits_until_the_throttles_admit_its_call_however_fast_the_machine_is(
    sandbox: Sandbox,
) -> None:
    plan_id = sandbox.usage_plan("p")
    gateway = sandbox.client("apigateway")
    sandbox.set_throttles(10)  # one UpdateUsagePlan in two seconds
    renames = [
        {
            "usagePlanId": plan_id,
            "patchOperations": [{"op": "replace", "path": "/name", "value": n}],
        }
        for n in ("q", "r")
    ]
    assert [outcome(gateway.update_usage_plan, **rename) for rename in renames] == ["done"] * 2
    first, *refused, last = sandbox.calls()
    assert (first.status, last.status) == (200, 200)
    assert {call.error for call in refused} == {"TooManyRequestsException"}


def test_a_throttle_that_a_test_asked_for_is_not_waited_out(sandbox: Sandbox) -> None:
    gateway = sandbox.client("apigateway")
    sandbox.misbehave(fail_next={"GetApiKeys": ["TooManyRequestsException"]})
    assert outcome(gateway.get_api_keys) == "TooManyRequestsException"
    assert sandbox.calls_per_operation() == {"GetApiKeys": 1}


def test_botocore_repeats_both_429s_by_itself_unless_told_not_to(sandbox: Sandbox) -> None:
    sandbox.misbehave(key_limit=0)
    eager = Config(retries={"mode": "standard"})
    for config, calls in ((None, 1), (eager, 3)):
        sandbox.forget_calls()
        gateway = sandbox.client("apigateway", **({"config": config} if config else {}))
        assert outcome(gateway.create_api_key) == "LimitExceededException"
        assert sandbox.calls_per_operation() == {"CreateApiKey": calls}


def test_the_throttles_run_faster_when_told_to(sandbox: Sandbox) -> None:
    gateway = sandbox.client("apigateway", patient=False)
    sandbox.set_throttles(1_000)
    assert {outcome(gateway.get_api_keys) for _ in range(60)} == {"done"}


def test_a_stack_spends_nothing_of_the_budget(sandbox: Sandbox) -> None:
    sandbox.usage_plan("p")
    sandbox.lay_down([LaidKey()])
    sandbox.client("resourcegroupstaggingapi").get_resources()
    assert sandbox.calls() == []


def test_every_call_is_recorded_with_who_what_and_how_it_ended(sandbox: Sandbox) -> None:
    plan_id = sandbox.usage_plan("p")
    keywords = sandbox.role(
        f"caller-{time.time_ns()}",
        {"Effect": "Allow", "Action": "apigateway:GET", "Resource": "arn:aws:apigateway:*::/*"},
    )
    gateway = sandbox.client("apigateway", **keywords)
    gateway.get_usage_plan_keys(usagePlanId=plan_id)
    outcome(gateway.get_api_key, apiKey="gone")
    outcome(gateway.delete_api_key, apiKey="gone")
    recorded = [
        (c.operation, c.status, c.error, c.key_id, c.plan_id) for c in sandbox.calls("caller-")
    ]
    assert recorded == [
        ("GetUsagePlanKeys", 200, None, None, plan_id),
        ("GetApiKey", 404, "NotFoundException", "gone", None),
        ("DeleteApiKey", 403, "AccessDeniedException", "gone", None),
    ]
    assert all(call.seconds > 0 for call in sandbox.calls())
    assert sandbox.peak_calls_per_second("caller-") == 3


def test_an_import_is_told_from_a_create(sandbox: Sandbox) -> None:
    gateway = sandbox.client("apigateway")
    gateway.import_api_keys(body=f"Name,Key\nn,{VALUE}", format="csv")
    gateway.create_api_key()
    assert sandbox.calls_per_operation() == {"ImportApiKeys": 1, "CreateApiKey": 1}


def test_an_answer_can_be_lost_after_the_call_was_carried_out(sandbox: Sandbox) -> None:
    gateway = sandbox.client("apigateway")
    sandbox.misbehave(lose_next={"CreateApiKey": 1})
    with pytest.raises(HTTPClientError):
        gateway.create_api_key(value=VALUE)
    assert outcome(gateway.create_api_key, value=VALUE) == "ConflictException"


def test_the_next_calls_of_an_operation_can_be_made_to_fail(sandbox: Sandbox) -> None:
    gateway, s3 = sandbox.client("apigateway"), sandbox.client("s3")
    sandbox.misbehave(
        fail_next={"GetApiKeys": ["TooManyRequestsException", "500"], "s3:GET": ["AccessDenied"]}
    )
    assert [outcome(gateway.get_api_keys) for _ in range(3)] == [
        "TooManyRequestsException",
        "InternalFailure",
        "done",
    ]
    assert [outcome(s3.list_buckets) for _ in range(2)] == ["AccessDenied", "done"]


def test_lists_can_be_made_empty_and_members_unreadable(sandbox: Sandbox) -> None:
    gateway = sandbox.client("apigateway")
    plan_id = sandbox.usage_plan("p")
    sandbox.lay_down([LaidKey(plans=[plan_id])])
    sandbox.misbehave(empty_keys=True, empty_plans=True, empty_members=[plan_id])
    assert gateway.get_api_keys()["items"] == []
    assert gateway.get_usage_plans()["items"] == []
    assert gateway.get_usage_plan_keys(usagePlanId=plan_id)["items"] == []
    sandbox.misbehave(unreadable_members={plan_id: "InternalFailure"})
    assert outcome(gateway.get_usage_plan_keys, usagePlanId=plan_id) == "InternalFailure"
    sandbox.behave()
    assert len(gateway.get_usage_plan_keys(usagePlanId=plan_id)["items"]) == 1


def test_a_fault_that_does_not_exist_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="no such fault: lagg"):
        sandbox.misbehave(lagg=1)
