"""Every finding has its cause planted in the running sandbox, and beside it what is none."""

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import pytest

from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.dynamodb import Table
from keyjanitor.adapters.ledger import Change, Ledger
from keyjanitor.adapters.ownership import Ownership
from keyjanitor.adapters.rate_limiter import RateLimiter
from keyjanitor.domain.doctor.checks import find_problems
from keyjanitor.domain.doctor.checkup import Checkup
from keyjanitor.domain.doctor.findings import KINDS, Finding
from keyjanitor.domain.doctor.inactivity import Sweeps, inactive_keys
from keyjanitor.domain.doctor.placing import placed
from keyjanitor.domain.model.keys import State
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.policy_file import parse_policy
from keyjanitor.domain.usage.reading import take_evidence
from keyjanitor.services.publish_report.checkup import check_up
from keyjanitor.services.pull_usage.reader import read_plans
from sandbox.driver.client import LaidKey, Sandbox
from tests.builders import DAY, TODAY, a_row
from tests.sandbox.test_deployments import Api

POLICY = '[tiers.unclaimed]\nidle_days = "never"\n'
LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
MONTHLY = {"limit": 50_000, "period": "MONTH"}
SLOW = {"rateLimit": 10.0, "burstLimit": 20}
DAILY = {TODAY - DAY * back: 5 for back in range(2, 90)}


class Ward:
    """An account in which all is well: an API that asks for keys, a plan with limits, a busy key."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.client = sandbox.client("apigateway")
        for api in self.client.get_rest_apis(limit=500)["items"]:
            self.client.delete_rest_api(restApiId=api["id"])
        self.gateway = ApiGateway(self.client, RateLimiter(1_000))
        self.owners = Ownership(
            sandbox.client("resourcegroupstaggingapi"), sandbox.client("cloudformation")
        )
        self.ledger = self._ledger()
        self.policy = POLICY
        sandbox.set_clock(datetime.combine(TODAY, time(2, 15), UTC))
        self.books = self.api("prod", key=True)
        self.plan = self.a_plan("external", self.books)
        self.key(name="busy", uses={self.plan: DAILY}, plans=[self.plan])

    def _ledger(self) -> Ledger:
        dynamodb, name = self.sandbox.client("dynamodb"), f"ledger-{uuid.uuid4().hex}"
        keys = {"pk": "HASH", "sk": "RANGE"}
        dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
            AttributeDefinitions=[{"AttributeName": k, "AttributeType": "S"} for k in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        return Ledger(Table(dynamodb, name))

    # --- what there is ----------------------------------------------------------------------------

    def api(self, stage: str, *, key: bool) -> Api:
        """A deployed API of one method that asks for a key, or does not."""
        api = Api(self.client)
        api.method(api.root, "GET", key=key)
        api.deploy(stageName=stage)
        return api

    def a_plan(self, name: str, *apis: Api, stage: str = "prod", **limits: Any) -> str:
        given = {"quota": MONTHLY, "throttle": SLOW, **limits}
        return self.sandbox.usage_plan(name, [(api.api_id, stage) for api in apis], **given)

    def key(self, *, row: bool = True, **key: Any) -> str:
        """A key from long ago, known to the ledger, under a name of its own."""
        laid = LaidKey(**{"name": uuid.uuid4().hex, "created": LONG_AGO, **key})
        [key_id] = self.sandbox.lay_down([laid])
        if row:
            self.row(key_id)
        return key_id

    def row(self, key_id: str, **more: Any) -> str:
        row = a_row(key_id, **{"tier": "unclaimed", "version": 0, **more})
        self.ledger.commit([Change(None, row)])
        return key_id

    # --- the look at it ---------------------------------------------------------------------------

    def checkup(self) -> Checkup:
        evidence, _ = take_evidence(TODAY, read_plans(TODAY, self.gateway, None), None)
        policy: Policy = parse_policy(self.policy)
        tags, keys = self.owners.tags(), self.gateway.keys()
        checkup = check_up(
            TODAY,
            [replace(key, tags=tags.get(key.key_id, {})) for key in keys],
            self.ledger.live_rows(),
            evidence,
            policy.bind({plan.usage_plan_id: plan.name for plan in evidence.plans.values()}),
            self.gateway,
            self.owners,
            parked_plans=frozenset(),
            time_is_up=lambda: False,
        )
        return replace(checkup, inactive=inactive_keys(checkup, (), Sweeps()))

    def findings(self) -> dict[str, Finding]:
        checkup = self.checkup()
        assert checkup.unread == ()
        return {
            finding.kind: replace(finding, command=placed(finding.command, "keys", "us-east-1"))
            for finding in find_problems(checkup)
        }

    def type(self, finding: Finding) -> None:
        """Types the finding's command into a shell, and it succeeds."""
        done = self.try_to_type(finding)
        assert done.returncode == 0, done.stderr

    def try_to_type(self, finding: Finding) -> "subprocess.CompletedProcess[str]":
        """Types the finding's command into a shell, with the AWS CLI of these tests."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        shell = "sleep() { :; }\n"
        return subprocess.run(
            [shutil.which("bash") or "bash", "-euo", "pipefail", "-c", shell + finding.command],
            env={**self.sandbox.environment(), "PATH": path, "AWS_PAGER": ""},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def ward(sandbox: Sandbox) -> Iterator[Ward]:
    yield Ward(sandbox)
    sandbox.reset_clock()


Plant = Callable[[Ward], list[str]]  # gives the ids that the finding is about


# --- plants ---------------------------------------------------------------------------------------


def a_key_made_disabled(ward: Ward) -> list[str]:
    return [ward.key(enabled=False)]


def a_key_in_no_plan(ward: Ward) -> list[str]:
    return [ward.key()]


def a_key_of_a_stack(ward: Ward) -> list[str]:
    tags = {"aws:cloudformation:stack-name": "shop-dev"}
    return [ward.key(tags=tags, owner_stack="shop-dev", plans=[ward.plan], uses={ward.plan: DAILY})]


def a_key_in_a_plan_that_lost_its_stages(ward: Ward) -> list[str]:
    shut = ward.a_plan("shut")
    return [ward.key(plans=[shut], uses={shut: DAILY})]


def a_key_that_is_inactive_for_longer_than_is_declared(ward: Ward) -> list[str]:
    ward.policy += "declared_inactivity_days = 89\n"
    return [ward.key(plans=[ward.plan])]


def a_stage_that_asks_for_no_key(ward: Ward) -> list[str]:
    """Its key names the stage itself too, as those of SAM and of the Serverless Framework do."""
    api = ward.api("prod", key=False)
    plan = ward.a_plan("open", api)
    return [ward.key(plans=[plan], uses={plan: DAILY}, stage_keys=[f"{api.api_id}/prod"])]


def a_key_without_a_name(ward: Ward) -> list[str]:
    return [ward.key(name="", plans=[ward.plan])]


def a_key_without_a_row(ward: Ward) -> list[str]:
    return [ward.key(row=False, plans=[ward.plan])]


def a_key_of_a_tier_that_the_policy_lacks(ward: Ward) -> list[str]:
    key_id = ward.key(row=False, plans=[ward.plan], uses={ward.plan: DAILY})
    return [ward.row(key_id, issued=True, tier="partners")]


def a_twin_plan(ward: Ward) -> list[str]:
    twin = ward.a_plan("twin", ward.books)
    ward.key(plans=[twin], uses={twin: DAILY})
    ward.key(plans=[ward.plan])
    return [ward.plan, twin]


def a_plan_that_nobody_uses_any_more(ward: Ward) -> list[str]:
    faster = {"rateLimit": 99.0, "burstLimit": 100}
    old = ward.a_plan("old", ward.books, throttle=faster)
    ward.key(plans=[old])
    return [old]


def an_empty_plan(ward: Ward) -> list[str]:
    return [ward.a_plan("empty", ward.api("prod", key=False))]


def a_plan_without_limits(ward: Ward) -> list[str]:
    loose = ward.a_plan("loose", ward.books, quota=None, throttle=None)
    ward.key(plans=[loose], uses={loose: DAILY})
    return [loose]


def a_tier_whose_plan_was_renamed(ward: Ward) -> list[str]:
    """The plan that no tier names may be the one that is meant."""
    ward.policy += '[tiers.next]\nusage_plans = ["before"]\nidle_days = 60\n'
    return ["tiers.next.usage_plans[0]", ward.plan]


def a_row_whose_key_is_gone(ward: Ward) -> list[str]:
    return [ward.row("gone", missing_since=TODAY - DAY)]


def two_keys_of_one_name(ward: Ward) -> list[str]:
    return sorted(ward.key(name="<script>", plans=[ward.plan]) for _ in range(2))


def a_plan_in_which_nobody_was_ever_seen(ward: Ward) -> list[str]:
    silent = ward.a_plan("silent", ward.api("prod", key=True))
    ward.key(plans=[silent])
    return [silent]


def a_stage_that_no_plan_opens(ward: Ward) -> list[str]:
    return [f"{ward.api('web', key=True).api_id}:web"]


PLANTS: dict[str, Plant] = {
    "keys_disabled_and_unattached": a_key_made_disabled,
    "keys_in_no_plan": a_key_in_no_plan,
    "keys_in_plans_without_stages": a_key_in_a_plan_that_lost_its_stages,
    "keys_inactive": a_key_that_is_inactive_for_longer_than_is_declared,
    "keys_owned_by_stacks": a_key_of_a_stack,
    "keys_that_guard_nothing": a_stage_that_asks_for_no_key,
    "keys_without_name": a_key_without_a_name,
    "keys_without_row": a_key_without_a_row,
    "keys_without_tier": a_key_of_a_tier_that_the_policy_lacks,
    "plans_alike": a_twin_plan,
    "plans_not_used": a_plan_that_nobody_uses_any_more,
    "plans_without_keys": an_empty_plan,
    "plans_without_limits": a_plan_without_limits,
    "policy_plans_unclear": a_tier_whose_plan_was_renamed,
    "rows_without_key": a_row_whose_key_is_gone,
    "shared_names": two_keys_of_one_name,
    "silent_plans": a_plan_in_which_nobody_was_ever_seen,
    "stages_without_plan": a_stage_that_no_plan_opens,
}


def test_an_account_in_which_all_is_well_has_no_finding(ward: Ward) -> None:
    assert ward.findings() == {}


def test_every_kind_of_finding_is_planted() -> None:
    assert tuple(PLANTS) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_planted_is_found_and_nothing_else(ward: Ward, kind: str) -> None:
    about = PLANTS[kind](ward)
    findings = ward.findings()
    assert {one: finding.about for one, finding in findings.items()} == {kind: tuple(about)}


# --- what is none ---------------------------------------------------------------------------------


def a_disabled_key_in_a_plan(ward: Ward) -> None:
    ward.key(enabled=False, plans=[ward.plan])


def a_key_made_after_the_reading(ward: Ward) -> None:
    ward.key(created=datetime.combine(TODAY, time(3), UTC))


def a_key_that_another_plan_lets_through(ward: Ward) -> None:
    shut = ward.a_plan("shut")
    ward.key(plans=[shut, ward.plan], uses={shut: DAILY})


def a_key_that_was_used_within_the_days_that_are_declared(ward: Ward) -> None:
    ward.policy += "declared_inactivity_days = 30\n"
    ward.key(plans=[ward.plan], uses={ward.plan: {TODAY - DAY * 30: 1}})


def a_key_that_only_looks_like_a_stacks(ward: Ward) -> None:
    ward.key(plans=[ward.plan], tags={"stack-name": "shop-dev"}, description="made for shop-dev")


def a_key_with_a_name(ward: Ward) -> None:
    ward.key(plans=[ward.plan], name=" ")


def a_key_with_a_row(ward: Ward) -> None:
    ward.row(ward.key(row=False, plans=[ward.plan]))


def a_key_of_a_tier_that_the_policy_has(ward: Ward) -> None:
    ward.row(ward.key(row=False, plans=[ward.plan]), issued=True)


def a_plan_on_the_same_stage_with_another_quota(ward: Ward) -> None:
    other = ward.a_plan("other", ward.books, quota={"limit": 50_000, "period": "WEEK"})
    ward.key(plans=[other], uses={other: DAILY})


def a_plan_that_was_used_two_months_ago(ward: Ward) -> None:
    old = ward.a_plan("old", ward.books, throttle={"rateLimit": 99.0, "burstLimit": 100})
    ward.key(plans=[old], uses={old: {TODAY - DAY * 60: 1}})


def an_empty_plan_that_a_tier_names(ward: Ward) -> None:
    ward.a_plan("empty", ward.api("prod", key=False))
    ward.policy += '[tiers.next]\nusage_plans = ["empty"]\nidle_days = 60\n'


def a_plan_with_a_throttle_for_one_method(ward: Ward) -> None:
    some = ward.a_plan(
        "some", ward.books, quota=None, throttle=None, method_throttle={"/GET": SLOW}
    )
    ward.key(plans=[some], uses={some: DAILY})


def a_tier_that_names_its_plan_by_its_id(ward: Ward) -> None:
    ward.policy += f'[tiers.next]\nusage_plans = ["{ward.plan}"]\nidle_days = 60\n'


def a_row_of_a_key_that_was_parked_today(ward: Ward) -> None:
    ward.row("gone", state=State.DISABLED, stepped_on=TODAY)


def two_keys_whose_names_differ_in_case(ward: Ward) -> None:
    for name in ("Twin", "twin"):
        ward.key(name=name, plans=[ward.plan])


def a_plan_beside_which_somebody_calls(ward: Ward) -> None:
    """Its key is too young to be called unused."""
    faster = {"rateLimit": 99.0, "burstLimit": 100}
    quiet = ward.a_plan("quiet", ward.books, throttle=faster)
    ward.key(plans=[quiet], created=datetime.combine(TODAY - DAY * 20, time(3), UTC))


def a_plan_through_which_a_request_went(ward: Ward) -> None:
    """A real one, through MiniStack's data plane and its metering, on a day that is over."""
    today = ward.sandbox.now()
    ward.sandbox.set_clock(today - DAY)
    api_id = ward.sandbox.rest_api(["prod"])
    seen = ward.sandbox.usage_plan("seen", [(api_id, "prod")], MONTHLY, SLOW)
    value = "a-value-of-twenty-letters-or-more"
    ward.key(plans=[seen], value=value)
    assert ward.sandbox.call_api(api_id, "prod", value) == 200
    ward.sandbox.set_clock(today)


def a_stage_that_asks_for_no_key_and_has_no_plan(ward: Ward) -> None:
    ward.api("web", key=False)


def a_method_that_asked_for_a_key_when_it_was_deployed(ward: Ward) -> None:
    """Edited since, and not deployed: what is served still asks for keys."""
    ward.books.method(ward.books.root, "GET", key=False)


def a_canary_that_asks_for_a_key(ward: Ward) -> None:
    api = ward.api("prod", key=False)
    plan = ward.a_plan("canary", api)
    ward.key(plans=[plan], uses={plan: DAILY})
    api.method(api.root, "GET", key=True)
    api.deploy(stageName="prod", canarySettings={"percentTraffic": 5.0})


NEITHER: dict[str, tuple[Callable[[Ward], None], ...]] = {
    "keys_disabled_and_unattached": (a_disabled_key_in_a_plan,),
    "keys_in_no_plan": (a_key_made_after_the_reading,),
    "keys_in_plans_without_stages": (a_key_that_another_plan_lets_through,),
    "keys_inactive": (a_key_that_was_used_within_the_days_that_are_declared,),
    "keys_owned_by_stacks": (a_key_that_only_looks_like_a_stacks,),
    "keys_that_guard_nothing": (
        a_method_that_asked_for_a_key_when_it_was_deployed,
        a_canary_that_asks_for_a_key,
    ),
    "keys_without_name": (a_key_with_a_name,),
    "keys_without_row": (a_key_with_a_row,),
    "keys_without_tier": (a_key_of_a_tier_that_the_policy_has,),
    "plans_alike": (a_plan_on_the_same_stage_with_another_quota,),
    "plans_not_used": (a_plan_that_was_used_two_months_ago,),
    "plans_without_keys": (an_empty_plan_that_a_tier_names,),
    "plans_without_limits": (a_plan_with_a_throttle_for_one_method,),
    "policy_plans_unclear": (a_tier_that_names_its_plan_by_its_id,),
    "rows_without_key": (a_row_of_a_key_that_was_parked_today,),
    "shared_names": (two_keys_whose_names_differ_in_case,),
    "silent_plans": (a_plan_beside_which_somebody_calls, a_plan_through_which_a_request_went),
    "stages_without_plan": (a_stage_that_asks_for_no_key_and_has_no_plan,),
}


def test_beside_every_kind_of_finding_there_is_what_is_none() -> None:
    assert tuple(NEITHER) == KINDS


@pytest.mark.parametrize(
    "plant",
    [plant for plants in NEITHER.values() for plant in plants],
    ids=lambda one: one.__name__,
)
def test_what_is_well_is_not_found(ward: Ward, plant: Callable[[Ward], None]) -> None:
    plant(ward)
    assert ward.findings() == {}


def test_a_method_edited_and_not_deployed_guards_nothing_yet(ward: Ward) -> None:
    api = ward.api("prod", key=False)
    plan = ward.a_plan("open", api)
    ward.key(plans=[plan], uses={plan: DAILY})
    api.method(api.root, "GET", key=True)
    assert set(ward.findings()) == {"keys_that_guard_nothing"}
    api.deploy(stageName="prod")
    assert ward.findings() == {}


@pytest.mark.parametrize("operation", ["GetRestApis", "GetStages", "GetDeployment"])
def test_what_aws_does_not_tell_is_no_finding(ward: Ward, operation: str) -> None:
    a_stage_that_asks_for_no_key(ward)
    ward.sandbox.misbehave(fail_next={operation: ["AccessDeniedException"] * 2})
    checkup = ward.checkup()
    assert checkup.unread
    assert "keys_that_guard_nothing" not in {finding.kind for finding in find_problems(checkup)}


def test_the_plans_of_a_stack_are_named_by_it(ward: Ward) -> None:
    """The cause is in a template, so is the mend."""
    loose = {"Type": "AWS::ApiGateway::UsagePlan", "Properties": {"UsagePlanName": "loose"}}
    stacks = ward.sandbox.client("cloudformation")
    name = f"shop-{uuid.uuid4().hex[:8]}"
    stacks.create_stack(StackName=name, TemplateBody=f'{{"Resources": {{"Plan": {loose}}}}}'.replace("'", '"'))  # fmt: skip
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 0.1})
    finding = ward.findings()["plans_without_limits"]
    stacks.delete_stack(StackName=name)
    assert finding.what.endswith(f"'loose' (stack {name})")
    assert finding.command.startswith(f"# in the template of stack {name}, then deploy it: ")


# --- mends ----------------------------------------------------------------------------------------

MENDED: dict[str, set[str]] = {
    # Enabled, it is the orphan that it was all the time, and the sweep's.
    "keys_disabled_and_unattached": {"keys_in_no_plan"},
    "keys_without_name": set(),
    "plans_alike": set(),
    "plans_without_keys": set(),
    "plans_without_limits": set(),
    "shared_names": set(),
    # And nobody has a key yet.
    "stages_without_plan": {"plans_without_keys"},
}


@pytest.mark.parametrize("kind", MENDED)
def test_the_command_that_mends_it_mends_it(ward: Ward, kind: str) -> None:
    PLANTS[kind](ward)
    ward.type(ward.findings()[kind])
    assert set(ward.findings()) == MENDED[kind]


def test_a_plan_that_got_a_key_meanwhile_is_not_deleted(ward: Ward) -> None:
    [plan] = an_empty_plan(ward)
    finding = ward.findings()["plans_without_keys"]
    ward.key(plans=[plan])
    with pytest.raises(AssertionError):
        ward.type(finding)
    assert len(ward.client.get_usage_plan(usagePlanId=plan)["apiStages"]) == 1


def test_a_key_that_got_into_a_plan_meanwhile_is_not_enabled(ward: Ward) -> None:
    [key_id] = a_key_made_disabled(ward)
    finding = ward.findings()["keys_disabled_and_unattached"]
    ward.client.create_usage_plan_key(usagePlanId=ward.plan, keyId=key_id, keyType="API_KEY")
    assert ward.try_to_type(finding).returncode != 0
    assert ward.client.get_api_key(apiKey=key_id)["enabled"] is False


@pytest.mark.parametrize("operation", ["DeleteUsagePlanKey", "CreateUsagePlanKey"])
def test_while_keys_move_a_call_that_fails_loses_none(ward: Ward, operation: str) -> None:
    """The one that is between two plans is named, and what is typed after it does not run."""
    keep, twin = a_twin_plan(ward)
    for plan in (keep, keep, twin):
        ward.key(plans=[plan])
    finding = ward.findings()["plans_alike"]
    assert f"# {twin} into {keep}" in finding.command
    members = {*ward.gateway.members(keep), *ward.gateway.members(twin)}
    ward.sandbox.misbehave(fail_next={operation: ["AccessDeniedException"]})
    typed = ward.try_to_type(finding)
    assert typed.returncode != 0
    in_plans = {*ward.gateway.members(keep), *ward.gateway.members(twin)}
    named = {key_id for key_id in members if f"{key_id} is in no plan now" in typed.stdout}
    assert in_plans | named == members
    assert len(named) == (operation == "CreateUsagePlanKey")
    for key_id in named:
        ward.client.create_usage_plan_key(usagePlanId=twin, keyId=key_id, keyType="API_KEY")
    ward.type(finding)
    assert set(ward.gateway.members(keep)) == members
    assert ward.findings() == {}


@pytest.mark.parametrize("kind", ["keys_that_guard_nothing", "plans_not_used", "silent_plans"])
def test_the_policys_lines_bring_the_plans_before_the_sweep(ward: Ward, kind: str) -> None:
    PLANTS[kind](ward)
    finding = ward.findings()[kind]
    assert finding.slots == 1
    ward.policy = f"{finding.command}\n{ward.policy}"
    after = ward.findings()
    assert "silent_plans" not in after
    checkup = ward.checkup()
    named = set(checkup.bound.tier_of_plan)
    members = checkup.evidence.plans_of_key() if checkup.evidence else {}
    assert named == {plan for key_id in members for plan in members[key_id]} - {ward.plan}
