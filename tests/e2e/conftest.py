"""The stack, deployed by SAM into a sandbox with IAM enforced and throttles on."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pytest

from sandbox.driver.client import LaidKey, Sandbox
from sandbox.driver.stack import Stack

HERE = Path(__file__).parent
POLICY = HERE / "policy.toml"
FAST = 100  # times AWS's throttles, for tests that are not about the pace

TODAY = date(2026, 11, 21)
PLANS = ("external", "front-end", "partners")
STAGES = ["prod", "b2b", "keys"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = f"{HERE}{os.sep}"
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker("e2e")
            item.add_marker("enable_socket")


class World:
    """One test's account: the deployed stack, three plans on three stages, and time."""

    def __init__(self, stack: Stack, api_id: str) -> None:
        self.stack = stack
        self.sandbox = stack.sandbox
        self.api_id = api_id
        quota = {"limit": 50_000, "period": "MONTH"}
        self.plans = {
            name: self.sandbox.usage_plan(name, [(self.api_id, stage)], quota if not n else None)
            for n, (name, stage) in enumerate(zip(PLANS, ("prod", "b2b", "b2b"), strict=True))
        }

    def lay_down(self, *keys: LaidKey) -> list[str]:
        return self.sandbox.lay_down(keys)

    def witness(self, last: date, days: int = 200, plans: tuple[str, ...] = PLANS) -> list[str]:
        """One busy key in each of the plans, used every day up to `last`: silence means something then."""
        uses = {date.fromordinal(last.toordinal() - back): 5 for back in range(days)}
        long_ago = datetime(2025, 1, 1, tzinfo=UTC)
        return self.lay_down(
            *(
                LaidKey(name=f"busy {name}", created=long_ago, plans=[plan], uses={plan: uses})
                for name, plan in self.plans.items()
                if name in plans
            )
        )

    def pull(self, day: date) -> dict[str, Any]:
        self.sandbox.set_clock(datetime.combine(day, time(2, 15), UTC))
        answer: dict[str, Any] = self.stack.pull(f"{day}T02:15:00Z")
        return answer

    def sweep(self, day: date, **event: Any) -> dict[str, Any]:
        self.sandbox.set_clock(datetime.combine(day, time(3, 15), UTC))
        answer: dict[str, Any] = self.stack.sweep(f"{day}T03:15:00Z", **event)
        return answer

    def night(self, day: date) -> dict[str, Any]:
        self.pull(day)
        return self.sweep(day)

    def report(self, day: date) -> dict[str, Any]:
        """The numbers of a date's report, as they lie in the bucket."""
        bucket = self.stack.outputs["HistoryBucketName"]
        name = f"reports/{day}/report.json"
        body = self.sandbox.client("s3").get_object(Bucket=bucket, Key=name)["Body"].read()
        report: dict[str, Any] = json.loads(body)
        return report

    def keys(self) -> dict[str, dict[str, Any]]:
        """Every key as API Gateway tells of it, by id."""
        client = self.sandbox.client("apigateway")
        pages = client.get_paginator("get_api_keys").paginate(PaginationConfig={"PageSize": 500})
        return {item["id"]: item for page in pages for item in page["items"]}


@dataclass(frozen=True, slots=True)
class Deployed:
    """The stack of a test run, and the API whose stages its policy names."""

    stack: Stack
    api_id: str


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The stack of this test run, in `park`."""
    folder = tmp_path_factory.mktemp("sandbox")
    with Sandbox.start(speed=FAST, log=folder / "log") as sandbox:
        api_id = sandbox.rest_api(STAGES)
        policy = folder / "policy.toml"
        policy.write_text(POLICY.read_text().replace("apiid:", f"{api_id}:"))
        shares = {"NightCallsPerSecond": str(3 * FAST), "RequestCallsPerSecond": str(2 * FAST)}
        yield Deployed(Stack.deploy(sandbox, policy, {"Mode": "park", **shares}), api_id)


@pytest.fixture
def world(deployed: Deployed) -> World:
    """An empty account, and a stack that remembers nothing."""
    return an_empty_world(deployed)


def an_empty_world(deployed: Deployed) -> World:
    """The account and the stack as each test finds them."""
    stack, sandbox = deployed.stack, deployed.stack.sandbox
    sandbox.wipe()
    sandbox.behave()
    sandbox.set_throttles(FAST)
    stack.forget()
    for function in stack.functions:
        nightly = function != "ProvisionKeysFunction"
        share = 3 if nightly else 2
        stack.configure(
            function, timeout=900 if nightly else 300, CALLS_PER_SECOND=str(share * FAST)
        )
    return World(stack, deployed.api_id)
