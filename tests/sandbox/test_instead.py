"""What AWS might do instead of what is believed: the sandbox does it where a fault says so."""

import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError

from sandbox.driver.client import LaidKey, Sandbox

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]

TODAY = date(2026, 9, 16)
VALUE = "a-value-of-twenty-letters-or-more"


@pytest.fixture
def gateway(sandbox: Sandbox) -> Any:
    sandbox.set_clock(datetime(2026, 9, 16, 12, tzinfo=UTC))
    return sandbox.client("apigateway")


def told_days(gateway: Any, plan_id: str, first: int = 90, last: int = 0) -> tuple[int, int]:
    """How many days ago the first and the last day of an answer are."""
    days = [str(TODAY - timedelta(days=back)) for back in (first, last)]
    answer = gateway.get_usage(usagePlanId=plan_id, startDate=days[0], endDate=days[1])
    told = (date.fromisoformat(answer[name]) for name in ("startDate", "endDate"))
    first_told, last_told = ((TODAY - day).days for day in told)
    return first_told, last_told


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"usage_days": 80}, (80, 0)),
        ({"usage_today": 1}, (90, 1)),
        ({"usage_today": -1}, (89, 0)),
    ],
)
def test_usage_over_other_days_is_clipped_or_refused(
    sandbox: Sandbox, gateway: Any, fault: dict[str, int], told: tuple[int, int]
) -> None:
    plan_id = sandbox.usage_plan("p")
    assert told_days(gateway, plan_id) == (90, 0)
    sandbox.misbehave(**fault)
    with pytest.raises(ClientError, match="BadRequestException"):
        told_days(gateway, plan_id)
    assert told_days(gateway, plan_id, *told) == told
    sandbox.misbehave(usage_outside="clipped")
    assert told_days(gateway, plan_id) == told


def test_an_answer_to_a_change_is_dated_before_later_reads(sandbox: Sandbox, gateway: Any) -> None:
    (key_id,) = sandbox.lay_down([LaidKey()])
    sandbox.misbehave(answers_early=1)
    patch = [{"op": "replace", "path": "/enabled", "value": "false"}]
    answer = gateway.update_api_key(apiKey=key_id, patchOperations=patch)
    later = gateway.get_api_key(apiKey=key_id)
    assert later["lastUpdatedDate"] - answer["lastUpdatedDate"] == timedelta(seconds=1)


def test_an_import_over_a_key_is_a_warning(sandbox: Sandbox, gateway: Any) -> None:
    body = f"name,key\nn,{VALUE}\n".encode()
    gateway.import_api_keys(body=body, format="csv", failOnWarnings=True)
    gateway.import_api_keys(body=body, format="csv", failOnWarnings=True)
    sandbox.misbehave(upserts_warn=True)
    with pytest.raises(ClientError, match="BadRequestException"):
        gateway.import_api_keys(body=body, format="csv", failOnWarnings=True)


def test_an_import_takes_so_long_for_each_key_and_is_carried_out_though_its_caller_has_left(
    sandbox: Sandbox, gateway: Any
) -> None:
    body = "name,key\n" + "".join(f"n{n},{VALUE}{n}\n" for n in range(3))
    sandbox.misbehave(import_seconds_a_key=0.5)
    config = Config(retries={"total_max_attempts": 1}, read_timeout=0.5)
    hasty = sandbox.client("apigateway", config=config)
    with pytest.raises(ReadTimeoutError):
        hasty.import_api_keys(body=body.encode(), format="csv", failOnWarnings=True)
    assert gateway.get_api_keys()["items"] == []
    deadline = time.monotonic() + 30
    while len(gateway.get_api_keys()["items"]) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(gateway.get_api_keys()["items"]) == 3
    (call,) = [one for one in sandbox.calls() if one.operation == "ImportApiKeys"]
    assert call.seconds >= 3 * 0.5


def test_a_conditional_write_meets_another(sandbox: Sandbox) -> None:
    s3 = sandbox.client("s3")
    s3.create_bucket(Bucket="instead")
    sandbox.misbehave(conditions_conflict=1)
    s3.put_object(Bucket="instead", Key="other", Body=b"1")
    with pytest.raises(ClientError) as err:
        s3.put_object(Bucket="instead", Key="k", Body=b"1", IfNoneMatch="*")
    answer = err.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (
        "ConditionalRequestConflict",
        409,
    )
    s3.put_object(Bucket="instead", Key="k", Body=b"1", IfNoneMatch="*")
    assert sandbox.misbehave()["conditions_conflict"] == 0


def test_the_tagging_api_lists_no_key(sandbox: Sandbox) -> None:
    sandbox.lay_down([LaidKey(tags={"a": "b"})])
    tagging = sandbox.client("resourcegroupstaggingapi")
    asked = {"ResourceTypeFilters": ["apigateway"]}
    assert len(tagging.get_resources(**asked)["ResourceTagMappingList"]) == 1
    sandbox.misbehave(tags_unlisted=True)
    assert tagging.get_resources(**asked)["ResourceTagMappingList"] == []


def test_s3_answers_403_of_what_is_not_there_and_gives_what_is(sandbox: Sandbox) -> None:
    s3 = sandbox.client("s3")
    s3.create_bucket(Bucket="instead")
    s3.put_object(Bucket="instead", Key="there", Body=b"1")
    sandbox.misbehave(absent_is_forbidden=True)
    assert s3.get_object(Bucket="instead", Key="there")["Body"].read() == b"1"
    with pytest.raises(ClientError) as err:
        s3.get_object(Bucket="instead", Key="absent")
    answer = err.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (
        "AccessDenied",
        403,
    )
