"""Access logs as a second witness, on the deployed stack: a disabled key that is called, end to end."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from keyjanitor.domain.usage.access_log_format import SUGGESTED
from sandbox.driver.client import LaidKey, Sandbox
from sandbox.driver.stack import Stack
from tests.e2e.conftest import FAST, POLICY, STAGES, TODAY, Deployed, World, an_empty_world

DAY = timedelta(days=1)
GROUP = "/apis/prod"
GROUPS = "arn:aws:logs:us-east-1:*:log-group:/apis/*"
VALUE = "value-of-the-key-that-is-called-0123456789"


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A stack whose policy asks the access logs, with the right to ask those under /apis/."""
    folder = tmp_path_factory.mktemp("asking")
    with Sandbox.start(speed=FAST, log=folder / "log") as sandbox:
        api_id = sandbox.rest_api(STAGES)
        policy = folder / "policy.toml"
        text = POLICY.read_text().replace("apiid:", f"{api_id}:")
        policy.write_text("access_logs = true\n" + text)
        shares = {"NightCallsPerSecond": str(3 * FAST), "RequestCallsPerSecond": str(2 * FAST)}
        parameters = {"Mode": "park", "AccessLogGroups": GROUPS, **shares}
        yield Deployed(Stack.deploy(sandbox, policy, parameters), api_id)


def let_log(world: World, stage: str, group: str) -> None:
    """Lets a stage log to a group, which is made if it is not there."""
    logs = world.sandbox.client("logs")
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        logs.create_log_group(logGroupName=group)
    arn = f"arn:aws:logs:us-east-1:123456789012:log-group:{group}"
    world.sandbox.client("apigateway").update_stage(
        restApiId=world.api_id,
        stageName=stage,
        patchOperations=[
            {"op": "replace", "path": "/accessLogSettings/destinationArn", "value": arn},
            {"op": "replace", "path": "/accessLogSettings/format", "value": SUGGESTED},
        ],
    )


def seen_in_logs(world: World, day: Any) -> dict[str, Any]:
    """What the night's file of evidence says of the logs."""
    bucket = world.stack.outputs["HistoryBucketName"]
    name = f"evidence/{day}.json.gz"
    body = world.sandbox.client("s3").get_object(Bucket=bucket, Key=name)["Body"].read()
    seen: dict[str, Any] = json.loads(gzip.decompress(body))["seen_in_logs"]
    return seen


def call(world: World, at: datetime, value: str = VALUE) -> int:
    world.sandbox.set_clock(at)
    return world.sandbox.call_api(world.api_id, "prod", value)


def test_a_disabled_key_that_is_called_is_named_and_given_back(asking: Deployed) -> None:
    world = an_empty_world(asking)
    let_log(world, "prod", GROUP)
    let_log(world, "b2b", "/others/b2b")  # which the role may not ask
    disabled_on = TODAY + 14 * DAY
    world.witness(disabled_on + DAY)
    plan = world.plans["external"]
    long_ago = datetime(2025, 1, 1, tzinfo=UTC)
    (key_id,) = world.lay_down(LaidKey(name="called", created=long_ago, plans=[plan], value=VALUE))
    world.night(TODAY)
    # After nights that were not swept the first one only warns.
    world.night(disabled_on - DAY)
    answer = world.night(disabled_on)
    assert answer["applied"]["disable"] == 1
    noon = datetime.combine(disabled_on, time(12), UTC)
    assert [call(world, noon + n * timedelta(minutes=1)) for n in range(3)] == [403] * 3

    read = world.pull(disabled_on + DAY)
    logs = read["access_logs"]
    assert (logs["keys"], logs["requests"]) == (1, 3)
    # A right that is missing is named with its group, and stops nothing.
    refused = {one["stage"].partition(":")[2]: one["reason"] for one in logs["not_whole"]}
    assert "logs:StartQuery on the log group /others/b2b" in refused["b2b"]
    seen = seen_in_logs(world, disabled_on + DAY)
    assert seen["last_used"] == {key_id: str(disabled_on)}
    assert seen["calls"][key_id]["requests"] == 3
    assert seen["bytes_scanned"] > 0
    assert VALUE not in json.dumps(seen)

    world.sweep(disabled_on + DAY)
    called = [
        json.loads(one["Detail"])
        for one in world.sandbox.events()
        if one["DetailType"] == "Disabled Key Called"
    ]
    assert [(one["key_id"], one["requests"], one["disabled_by"]) for one in called] == [
        (key_id, 3, "keyjanitor")
    ]
    assert world.keys()[key_id]["enabled"]
    digest = [one["message"] for one in world.sandbox.alerts() if key_id in one["message"]][-1]
    assert "3 times" in digest
    world.stack.publish(f"{disabled_on + DAY}T06:15:00Z")
    night = world.report(disabled_on + DAY)["night"]
    assert [(one["key_id"], one["requests"], one["enabled"]) for one in night["called"]] == [
        (key_id, 3, True)
    ]
