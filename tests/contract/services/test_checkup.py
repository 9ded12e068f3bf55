"""What a check-up reads, in which order and of whom, and what becomes of what cannot be read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from keyjanitor.domain.doctor.checks import find_problems
from keyjanitor.domain.doctor.checkup import Checkup
from keyjanitor.domain.model.apis import Method, RestApi, ServedStage, Stage
from keyjanitor.domain.model.usage_plan import UsagePlan
from keyjanitor.errors import AccessDenied, CallFailed, KeyjanitorError, UnexpectedAnswer
from keyjanitor.services.publish_report.checkup import check_up
from tests.builders import (
    KEY_ID,
    PLAN_ID,
    STAGE,
    TODAY,
    YESTERDAY,
    a_key,
    a_limited_plan,
    a_reading,
    a_row,
    an_evidence,
    bound,
)

OPEN = Method("/", "GET", "NONE", api_key_required=False)
ASKS = Method("/books", "GET", "NONE", api_key_required=True)


@dataclass
class Gateway:
    """An account with one plan, two APIs, and what of it cannot be read."""

    plans: Sequence[UsagePlan] = (a_limited_plan(),)
    apis: Sequence[RestApi] = (
        RestApi("api0", "no plan's", "HEADER"),
        RestApi("api1", "books", "AUTHORIZER"),
    )
    stages_of: Mapping[str, Sequence[Stage]] = field(
        default_factory=lambda: {
            "api0": [Stage("api0", "web", ("d0",))],
            "api1": [Stage("api1", "prod", ("d1", "d2")), Stage("api1", "test", ("d2",))],
        }
    )
    deployments: Mapping[str, tuple[Method, ...]] = field(
        default_factory=lambda: {"d0": (OPEN,), "d1": (OPEN,), "d2": (ASKS,)}
    )
    fails: Mapping[str, KeyjanitorError] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def _asked(self, what: str) -> None:
        self.asked.append(what)
        if what in self.fails:
            raise self.fails[what]

    def usage_plans(self) -> list[UsagePlan]:
        self._asked("plans")
        return list(self.plans)

    def rest_apis(self) -> list[RestApi]:
        self._asked("apis")
        return list(self.apis)

    def stages(self, api_id: str) -> list[Stage]:
        self._asked(api_id)
        return list(self.stages_of[api_id])

    def deployed_methods(self, api_id: str, deployment_id: str) -> tuple[Method, ...]:
        self._asked(f"{api_id} {deployment_id}")
        return self.deployments[deployment_id]


@dataclass
class Stacks:
    """Who owns plans and APIs."""

    stacks: Mapping[str, str] = field(default_factory=dict)
    fails: Mapping[str, KeyjanitorError] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def stack_of(self, one: str) -> str | None:
        self.asked.append(one)
        if one in self.fails:
            raise self.fails[one]
        return self.stacks.get(one)


def looked_at(gateway: Gateway, stacks: Stacks | None = None, calls: int = 1000) -> Checkup:
    """A check-up for which there is time for so many calls."""
    left = iter(range(calls))
    evidence = an_evidence(a_reading(KEY_ID), used={KEY_ID: YESTERDAY})
    return check_up(
        TODAY,
        (a_key(),),
        {KEY_ID: a_row()},
        evidence,
        bound(evidence=evidence),
        gateway,
        stacks or Stacks(),
        parked_plans=frozenset({"p9"}),
        time_is_up=lambda: next(left, None) is None,
    )


PROD = ServedStage(STAGE, "books", "AUTHORIZER", (OPEN, ASKS))
TEST = ServedStage("api1:test", "books", "AUTHORIZER", (ASKS,))
WEB = ServedStage("api0:web", "no plan's", "HEADER", (OPEN,))


def test_a_check_up_joins_what_it_is_given_and_what_it_reads() -> None:
    evidence = an_evidence(a_reading(KEY_ID), used={KEY_ID: YESTERDAY})
    assert looked_at(Gateway(), Stacks({"api1": "shop"})) == Checkup(
        today=TODAY,
        keys=(a_key(),),
        bound=bound(evidence=evidence),
        rows={KEY_ID: a_row()},
        evidence=evidence,
        plans=[a_limited_plan()],
        stages={STAGE: PROD, "api1:test": TEST, "api0:web": WEB},
        stacks={"api1": "shop"},
        parked_plans=frozenset({"p9"}),
        unread=(),
    )


def test_each_deployment_is_asked_for_once_and_the_apis_of_plans_first() -> None:
    gateway = Gateway()
    looked_at(gateway)
    assert gateway.asked == ["plans", "apis", "api1", "api1 d1", "api1 d2", "api0", "api0 d0"]


def test_only_the_stacks_of_what_is_found_are_asked_for() -> None:
    """`api1:test` asks for keys and has no plan; the plan and `api0` are well."""
    stacks = Stacks()
    looked_at(Gateway(), stacks)
    assert stacks.asked == ["api1"]
    unlimited = (a_limited_plan(throttle=None, quota=None),)
    stacks = Stacks({PLAN_ID: "shop"})
    [alone, *_] = [
        finding
        for finding in find_problems(looked_at(Gateway(plans=unlimited), stacks))
        if finding.kind == "plans_without_limits"
    ]
    assert stacks.asked == ["api1", PLAN_ID]
    assert "stack shop" in alone.what


@pytest.mark.parametrize(
    "error",
    [
        AccessDenied("apigateway:GET on /restapis/*/stages", "role"),
        CallFailed("GetStages", "NotFoundException"),
        UnexpectedAnswer("GetDeployment", "the answer holds no summary of methods"),
    ],
)
@pytest.mark.parametrize(
    ("what", "named", "stages"),
    [
        ("apis", "the REST APIs", set[str]()),
        ("api1", "the stages of API api1", {"api0:web"}),
        ("api1 d1", "deployment d1 of API api1", {"api1:test", "api0:web"}),
        ("api1 d2", "deployment d2 of API api1", {"api0:web"}),
        ("plans", "the usage plans", {STAGE, "api1:test", "api0:web"}),
    ],
)
def test_what_cannot_be_read_is_unknown_and_named_and_the_rest_goes_on(
    what: str, named: str, stages: set[str], error: KeyjanitorError
) -> None:
    checkup = looked_at(Gateway(fails={what: error}))
    assert checkup.unread == (f"{named}: {error}",)
    assert set(checkup.stages) == stages
    assert (checkup.plans is None) is (what == "plans")
    assert not {"keys_that_guard_nothing"} & {finding.kind for finding in find_problems(checkup)}


def test_a_stage_of_no_deployment_serves_nothing_that_is_known() -> None:
    gateway = Gateway(stages_of={"api0": [], "api1": [Stage("api1", "prod", ())]})
    checkup = looked_at(gateway)
    assert (checkup.stages, checkup.unread) == ({}, ())


def test_a_stack_that_cannot_be_asked_for_is_unknown_and_nobody_else_is_asked_about() -> None:
    denied = AccessDenied("cloudformation:DescribeStackResources", "role")
    stacks = Stacks(fails={"api1": denied})
    checkup = looked_at(Gateway(plans=(a_limited_plan(throttle=None, quota=None),)), stacks)
    assert (checkup.stacks, stacks.asked) == ({}, ["api1"])
    assert checkup.unread == (f"the stack of api1: {denied}",)


@pytest.mark.parametrize("calls", range(9))
def test_when_time_is_up_no_call_is_made_any_more_and_it_is_said_once(calls: int) -> None:
    gateway, stacks = Gateway(), Stacks()
    checkup = looked_at(gateway, stacks, calls)
    everything = ["plans", "apis", "api1", "api1 d1", "api1 d2", "api0", "api0 d0", "api1"]
    assert [*gateway.asked, *stacks.asked] == everything[:calls]
    assert len(checkup.unread) == (calls < len(everything))
    assert all(one.endswith("and all that comes after: no time was left") for one in checkup.unread)
