"""Services of others, deployed by the Serverless Framework's fork and by SAM: their keys stay theirs."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.dynamodb import Table
from keyjanitor.adapters.history_bucket import HistoryBucket
from keyjanitor.adapters.ledger import Ledger
from keyjanitor.adapters.ownership import Ownership
from keyjanitor.adapters.rate_limiter import RateLimiter
from keyjanitor.domain.doctor.checks import find_problems
from keyjanitor.domain.doctor.findings import Finding
from keyjanitor.domain.model.policy_file import parse_policy
from keyjanitor.services.publish_report.checkup import check_up
from sandbox.driver.client import REPOSITORY, LaidKey
from sandbox.driver.stack import sam_executable
from tests.builders import DAY
from tests.e2e.conftest import POLICY, TODAY, World

OTHERS = Path(__file__).parent.parent / "others"
OSLS = REPOSITORY / ".node" / "node_modules" / ".bin" / "osls"
LONG_AGO = datetime(2025, 1, 1, 12, tzinfo=UTC)
SHOP, LIBRARY = "shop-dev", "library"
CLIENTS = ("shop-dev-free", "shop-dev-paid-1", "shop-dev-paid-2")


def run(command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.fixture
def osls() -> Path:
    """The framework's command; npm brings it, which not every machine has."""
    if not OSLS.exists():
        reason = "osls is missing: it comes from npm, by `make .node/.made`"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return OSLS


class Neighbours:
    """An account in which two teams deployed their services long ago, and what keyjanitor says of it."""

    def __init__(self, world: World, osls: Path, folder: Path) -> None:
        self.world = world
        self.sandbox = world.sandbox
        self.client = self.sandbox.client("apigateway")
        # The tier `partners` sweeps, and names the library's plan instead of this one.
        renamed = [{"op": "replace", "path": "/name", "value": "partners of old"}]
        self.client.update_usage_plan(usagePlanId=world.plans["partners"], patchOperations=renamed)
        self.sandbox.set_clock(LONG_AGO)
        for tool in ("osls", "sam"):
            shutil.copytree(OTHERS / tool, folder / tool)
        # osls keeps settings in the home folder, and would tell of itself.
        silent = {"SLS_TELEMETRY_DISABLED": "1", "SLS_NOTIFICATIONS_MODE": "off"}
        env = {**self.sandbox.environment(), **silent, "HOME": str(folder)}
        deploy = (
            *(sam_executable(), "deploy", "--stack-name", LIBRARY, "--resolve-s3"),
            *("--template-file", "template.yaml", "--capabilities", "CAPABILITY_IAM"),
        )
        with ThreadPoolExecutor(2) as both:
            shop = both.submit(run, [str(osls), "deploy", "--conceal"], folder / "osls", env)
            both.submit(run, deploy, folder / "sam", self.sandbox.environment()).result()
            shop.result()

    def leave(self) -> None:
        stacks = self.sandbox.client("cloudformation")
        for name in (SHOP, LIBRARY):
            stacks.delete_stack(StackName=name)
        for name in (SHOP, LIBRARY):
            wait = stacks.get_waiter("stack_delete_complete").wait
            wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})

    def plans(self) -> dict[str, str]:
        plans = self.client.get_usage_plans(limit=500)["items"]
        return {plan["name"]: plan["id"] for plan in plans}

    def stages(self) -> dict[str, str]:
        """The APIs' ids by their names."""
        apis = self.client.get_rest_apis(limit=500)["items"]
        return {api["name"]: api["id"] for api in apis}

    def verdicts(self) -> dict[str, tuple[str, str]]:
        """Verdict and reason of each key by its name, from tonight's keys file."""
        bucket = self.world.stack.outputs["HistoryBucketName"]
        lines = HistoryBucket(self.sandbox.client("s3"), bucket).keys(TODAY)
        return {line["name"]: (line["verdict"], line["reason"]) for line in lines}

    def findings(self) -> dict[str, Finding]:
        """What the doctor says of this account."""
        outputs = self.world.stack.outputs
        history = HistoryBucket(self.sandbox.client("s3"), outputs["HistoryBucketName"])
        evidence = history.evidence(TODAY)
        assert evidence is not None
        policy = parse_policy(POLICY.read_text())
        gateway = ApiGateway(self.client, RateLimiter(1_000))
        owners = Ownership(
            self.sandbox.client("resourcegroupstaggingapi"), self.sandbox.client("cloudformation")
        )
        tags, keys = owners.tags(), gateway.keys()
        checkup = check_up(
            TODAY,
            [replace(key, tags=tags.get(key.key_id, {})) for key in keys],
            Ledger(Table(self.sandbox.client("dynamodb"), outputs["LedgerTableName"])).live_rows(),
            evidence,
            policy.bind({plan.usage_plan_id: plan.name for plan in evidence.plans.values()}),
            gateway,
            owners,
            parked_plans=frozenset(),
            time_is_up=lambda: False,
        )
        assert checkup.unread == ()
        return {finding.kind: finding for finding in find_problems(checkup)}


@pytest.fixture
def neighbours(osls: Path, world: World, tmp_path: Path) -> Iterator[Neighbours]:
    neighbours = Neighbours(world, osls, tmp_path)
    yield neighbours
    neighbours.leave()


def names(neighbours: Neighbours, ids: Sequence[str]) -> list[str]:
    """The names of keys, without what CloudFormation makes up."""
    keys = neighbours.world.keys()
    return sorted(str(keys[one]["name"]).split("ApiApiKey")[0] for one in ids)


def test_keys_of_others_are_left_alone_reported_with_their_stack_and_looked_at_by_the_doctor(
    neighbours: Neighbours,
) -> None:
    world, plans, apis = neighbours.world, neighbours.plans(), neighbours.stages()
    before = neighbours.world.keys()
    assert names(neighbours, list(before)) == sorted([*CLIENTS, "library-Guarded", "library-Open"])
    # In the library's plan, which a tier that sweeps names: nobody's key, as long unused as theirs,
    # and one that is used, so that silence means something there.
    partners = plans["partners"]
    world.lay_down(
        LaidKey(name="nobody's", created=LONG_AGO, plans=[partners]),
        LaidKey(
            name="busy",
            created=LONG_AGO,
            plans=[partners],
            uses={partners: {TODAY - DAY * back: 5 for back in range(1, 90)}},
        ),
    )
    world.pull(TODAY)
    observed = world.sweep(TODAY, mode="observe")
    assert observed["verdicts"]["protected"] == len(before)
    swept = world.sweep(TODAY)
    assert (swept["mode"], swept["applied"]["warn"]) == ("park", 1)

    theirs = {
        name: verdict
        for name, verdict in neighbours.verdicts().items()
        if name not in ("nobody's", "busy")
    }
    assert {(verdict[0], name.split("-")[0]) for name, verdict in theirs.items()} == {
        ("protected", "shop"),
        ("protected", "library"),
    }
    for name, (_, reason) in theirs.items():
        assert (SHOP if name in CLIENTS else f"stack {LIBRARY}") in reason
    assert neighbours.verdicts()["nobody's"][0] == "warn"
    after = neighbours.world.keys()
    assert {key_id: after[key_id] for key_id in before} == before

    found = neighbours.findings()
    owned = found["keys_owned_by_stacks"]
    assert set(owned.about) == set(before)
    assert owned.what == "5 keys are owned by other tools: stack shop-dev (3), stack library (2)"

    nothing = found["keys_that_guard_nothing"]
    assert names(neighbours, nothing.about) == ["library-Open"]
    assert f"({apis['open']}:prod), owned by stack library" in nothing.what
    assert nothing.command.startswith("# in the template of stack library, then deploy it: ask for")

    loose = found["plans_without_limits"]
    assert set(loose.about) == {plans["open"], world.plans["front-end"], world.plans["partners"]}
    assert "'open' (stack library)" in loose.what
    assert "# in the template of stack library, then deploy it: a throttle" in loose.command
    assert plans["open"] not in loose.command

    # SAM leaves a second stage, called Stage, beside the one that was asked for; no plan opens it.
    assert set(found["stages_without_plan"].about) & {
        f"{api_id}:{stage}" for api_id in apis.values() for stage in ("Stage", "prod", "dev")
    } == {f"{apis['guarded']}:Stage"}
    # And nobody was ever seen calling, but with the busy key.
    assert "plans_not_used" not in found
    assert set(found["silent_plans"].about) == {
        plans[name] for name in ("shop-free-dev", "shop-paid-dev", "open")
    }
    assert found["silent_plans"].slots == 0
