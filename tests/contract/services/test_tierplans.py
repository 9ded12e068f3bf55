"""The usage plan of a tier: found or made once, on the API Gateway and the table in memory and on moto's."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.dynamodb import Table
from keyjanitor.adapters.request_store import RequestStore
from keyjanitor.domain.model.policy import Quota, Rate, Tier
from keyjanitor.domain.model.usage_plan import Shape, UsagePlan, plan_name
from keyjanitor.errors import AccessDenied, CallFailed, Contended, KeyjanitorError, PlanRefused
from keyjanitor.services.provision_keys.tier_plans import MAX_CLAIM_ATTEMPTS, TierPlans
from sandbox.memory.adapters.api_gateway import FakeApiGateway
from sandbox.memory.clients.clients import Clients
from tests.account import Calls, Watched
from tests.builders import STAGE, TODAY, an_issuing_tier, at

NOW = at(TODAY, 3)
UNTIL = NOW + timedelta(minutes=5)
TIER = an_issuing_tier()
SHAPE = Shape.of(TIER)
NAME = plan_name(TIER)


class Town:
    """An account without plans, in which runs look for those of their tiers."""

    def __init__(self, clients: Clients) -> None:
        self.gateway = FakeApiGateway(NOW)
        self.request_store = RequestStore(Table(clients.dynamodb, clients.new_table()))
        self.calls = Calls()
        self.now = NOW
        self.pauses: list[float] = []  # the seconds that were waited, in no time
        self.pause: Callable[[float], None] = self.pauses.append

    def run(
        self,
        holder: str = "run-1",
        until: datetime = UNTIL,
        **instead: Callable[[Callable[[], Any]], Any],
    ) -> TierPlans:
        """A run; `instead` of some of its calls on API Gateway something else happens."""
        self.calls = Calls(**{f"apigateway_{name}": other for name, other in instead.items()})
        gateway = cast("ApiGateway", Watched(self.gateway, "apigateway", self.calls))
        return TierPlans(
            gateway, self.request_store, holder, until, clock=lambda: self.now, pause=self.pause
        )

    def plan(self, plan_id: str, name: str, shape: Shape = SHAPE) -> str:
        """Somebody makes a plan."""
        self.gateway.add_plan(UsagePlan.of_shape(plan_id, name, shape))
        return plan_id

    def plans(self) -> dict[str, tuple[str, Shape | None]]:
        return {plan.usage_plan_id: (plan.name, plan.shape) for plan in self.gateway.usage_plans()}

    @property
    def made(self) -> int:
        return self.calls.count("apigateway.create_plan")


@pytest.fixture
def town(either: Clients) -> Town:
    return Town(either)


def fails(code: str) -> Callable[[Callable[[], Any]], Any]:
    def fail(_: Callable[[], Any]) -> Any:
        raise CallFailed("CreateUsagePlan", code)

    return fail


def answer_lost(call: Callable[[], Any]) -> Any:
    call()
    raise CallFailed("CreateUsagePlan", "ReadTimeoutError")


# --- a plan that there is -------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["plan1", "partners"])
def test_a_plan_that_the_tier_names_is_taken_if_it_has_its_shape(town: Town, named: str) -> None:
    tier = an_issuing_tier(usage_plans=("another", named))
    town.plan("plan1", "partners")
    assert town.run().plan_for(tier) == "plan1"
    assert town.request_store.made_usage_plans() == {}
    assert town.made == 0


OTHERS = {
    "stages": replace(SHAPE, stages=frozenset({STAGE, "api2:prod"})),
    "no stage": replace(SHAPE, stages=frozenset()),
    "throttle": replace(SHAPE, throttle=Rate(10, 21)),
    "no throttle": replace(SHAPE, throttle=None),
    "quota": replace(SHAPE, quota=Quota(5, "DAY")),
    "methods": replace(SHAPE, methods={"/a/GET": Rate(1, 1)}),
}


@pytest.mark.parametrize("how", OTHERS)
def test_a_plan_of_another_shape_is_left_alone_and_another_is_made(town: Town, how: str) -> None:
    for name in ("external", NAME):
        town.plan(f"plan {name}", name, OTHERS[how])
    before = town.plans()
    made = town.run().plan_for(TIER)
    assert town.plans() == {**before, made: (NAME, SHAPE)}
    assert town.request_store.made_usage_plans() == {NAME: made}


def test_a_plan_whose_stages_differ_in_their_limits_has_no_shape_to_fit(town: Town) -> None:
    stages = {STAGE: {}, "api2:web": {"/search/POST": Rate(2, 4)}}
    plan = UsagePlan("plan1", "external", stages, SHAPE.throttle, SHAPE.quota)
    assert plan.shape is None
    town.gateway.add_plan(plan)
    assert town.run().plan_for(TIER) != "plan1"


def test_a_plan_of_the_right_shape_that_nobody_named_is_somebody_elses(town: Town) -> None:
    town.plan("plan1", "partners")
    town.plan("plan2", plan_name(an_issuing_tier("inner")))
    assert town.run().plan_for(TIER) not in ("plan1", "plan2")


def test_of_several_plans_that_fit_all_runs_take_the_same(town: Town) -> None:
    for number in (3, 1, 2):
        town.plan(f"plan{number}", "external")
    town.plan("plan0", NAME)
    town.request_store.put_usage_plan(NAME, "plan0")
    assert town.run("run-1").plan_for(TIER) == "plan1"
    assert town.run("run-2").plan_for(TIER) == "plan1"


def test_of_several_that_we_made_the_one_is_taken_that_is_remembered(town: Town) -> None:
    for number in (1, 2, 3):
        town.plan(f"plan{number}", NAME)
    assert town.run().plan_for(TIER) == "plan1"
    town.request_store.put_usage_plan(NAME, "plan2")
    assert town.run().plan_for(TIER) == "plan2"


@pytest.mark.parametrize("remembered", ["gone", "changed"])
def test_what_is_remembered_has_to_be_there_and_as_it_was(town: Town, remembered: str) -> None:
    """Somebody deleted the plan that we made, or changed its limits."""
    town.plan("changed", NAME, OTHERS["throttle"])
    town.request_store.put_usage_plan(NAME, remembered)
    made = town.run().plan_for(TIER)
    assert made not in ("gone", "changed")
    assert town.request_store.made_usage_plans() == {NAME: made}
    assert town.plans()["changed"] == (NAME, OTHERS["throttle"])


# --- a plan that is made --------------------------------------------------------------------------


def test_a_plan_is_made_whole_and_remembered(town: Town) -> None:
    tier = an_issuing_tier(
        stages=("api1:prod", "api2:web"),
        quota=Quota(50_000, "MONTH"),
        method_throttle={"/search/POST": Rate(2, 4)},
    )
    plan_id = town.run().plan_for(tier)
    assert town.plans() == {plan_id: (plan_name(tier), Shape.of(tier))}
    assert town.gateway.usage_plans() == [
        UsagePlan.of_shape(plan_id, plan_name(tier), Shape.of(tier))
    ]
    assert town.request_store.made_usage_plans() == {plan_name(tier): plan_id}


def test_a_run_asks_once_for_what_it_has_found(town: Town) -> None:
    run = town.run()
    assert run.plan_for(TIER) == run.plan_for(TIER) == run.plan_for(replace(TIER, reserve=1))
    assert town.made == 1
    # Once to look, and once more before it makes one.
    assert town.calls.count("apigateway.usage_plans") == 2


def test_a_second_run_finds_what_the_first_has_made(town: Town) -> None:
    first = town.run("run-1").plan_for(TIER)
    assert town.run("run-2").plan_for(TIER) == first
    assert town.made == 0
    assert list(town.plans()) == [first]


def test_each_tier_has_a_plan_of_its_own(town: Town) -> None:
    inner = an_issuing_tier("inner")
    run = town.run()
    assert run.plan_for(TIER) != run.plan_for(inner)
    assert {name for name, _ in town.plans().values()} == {NAME, plan_name(inner)}


def test_changed_limits_make_a_new_plan_and_leave_the_old(town: Town) -> None:
    old = town.run().plan_for(TIER)
    changed = an_issuing_tier(throttle=Rate(20, 40))
    new = town.run().plan_for(changed)
    assert town.plans() == {old: (NAME, SHAPE), new: (plan_name(changed), Shape.of(changed))}
    assert town.run().plan_for(TIER) == old


# --- two runs at once -----------------------------------------------------------------------------


def test_while_another_run_makes_the_plan_a_run_waits_for_it(town: Town) -> None:
    assert town.request_store.claim_usage_plan(NAME, "run-1", NOW, UNTIL)

    def other_makes_it(seconds: float) -> None:
        town.pauses.append(seconds)
        if len(town.pauses) == 3:
            town.request_store.put_usage_plan(NAME, town.plan("plan1", NAME))

    town.pause = other_makes_it
    assert town.run("run-2").plan_for(TIER) == "plan1"
    assert town.made == 0
    assert town.pauses == [1, 1, 1]


def test_a_plan_that_another_run_takes_long_to_make_is_tried_again_later(town: Town) -> None:
    assert town.request_store.claim_usage_plan(NAME, "run-1", NOW, UNTIL)
    run = town.run("run-2")
    with pytest.raises(Contended, match="the usage plan of tier external"):
        run.plan_for(TIER)
    assert (town.made, len(town.pauses)) == (0, MAX_CLAIM_ATTEMPTS)
    # It is no refusal: the same run may ask again.
    town.request_store.put_usage_plan(NAME, town.plan("plan1", NAME))
    run.forget()
    assert run.plan_for(TIER) == "plan1"


def test_two_runs_that_both_found_none_make_one(town: Town) -> None:
    """The second has looked before the first has made it."""
    second = town.run("run-2")
    second._plans()
    first = town.run("run-1").plan_for(TIER)
    assert second.plan_for(TIER) == first
    assert list(town.plans()) == [first]


def test_a_plan_of_a_run_that_died_before_it_could_say_so_is_found_by_its_name(town: Town) -> None:
    town.request_store.claim_usage_plan(NAME, "run-1", NOW, UNTIL)
    town.plan("plan1", NAME)
    # While that run may be at work, its plan can be found already.
    assert town.run("run-2").plan_for(TIER) == "plan1"
    assert town.made == 0


def test_the_claim_of_a_run_that_died_before_it_made_one_ends_with_its_time(town: Town) -> None:
    town.request_store.claim_usage_plan(NAME, "run-1", NOW, UNTIL)
    town.now = UNTIL + timedelta(seconds=1)
    plan_id = town.run("run-2", UNTIL + timedelta(minutes=6)).plan_for(TIER)
    assert town.plans() == {plan_id: (NAME, SHAPE)}


def test_a_plan_whose_answer_was_lost_is_not_made_twice(town: Town) -> None:
    with pytest.raises(CallFailed, match="ReadTimeoutError"):
        town.run("run-1", create_plan=answer_lost).plan_for(TIER)
    (made,) = town.plans()
    assert town.run("run-2").plan_for(TIER) == made
    assert town.made == 0


# --- refusals -------------------------------------------------------------------------------------

NO_ROOM = "the account has no room for another usage plan, or method throttle"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("LimitExceededException", NO_ROOM),
        *(
            (code, f"API Gateway refuses a usage plan for api1:prod, api2:web ({code})")
            for code in ("BadRequestException", "NotFoundException", "ParamValidationError")
        ),
    ],
)
def test_a_plan_that_api_gateway_will_not_have_is_refused_with_a_reason(
    town: Town, code: str, reason: str
) -> None:
    tier = an_issuing_tier(stages=("api1:prod", "api2:web"))
    run = town.run(create_plan=fails(code))
    for _ in range(2):
        with pytest.raises(PlanRefused) as err:
            run.plan_for(tier)
        assert (err.value.tier, err.value.code, err.value.reason) == ("external", code, reason)
    assert town.made == 1


def test_a_stage_that_there_is_not_and_an_account_that_is_full(town: Town) -> None:
    town.gateway.known_stages = {"api2:prod"}
    with pytest.raises(PlanRefused, match="NotFoundException"):
        town.run().plan_for(TIER)
    town.gateway.known_stages, town.gateway.plan_limit = None, 0
    with pytest.raises(PlanRefused, match=NO_ROOM):
        town.run().plan_for(TIER)
    assert (town.plans(), town.request_store.made_usage_plans()) == ({}, {})


def test_the_refusal_of_one_tier_is_not_that_of_another(town: Town) -> None:
    town.gateway.known_stages = {"api2:prod"}
    run = town.run()
    with pytest.raises(PlanRefused):
        run.plan_for(TIER)
    assert run.plan_for(an_issuing_tier("inner", stages=("api2:prod",)))


FAILURES: dict[str, KeyjanitorError] = {
    "passing": CallFailed("CreateUsagePlan", "TooManyRequestsException"),
    "server": CallFailed("CreateUsagePlan", "InternalServerErrorException"),
    "denied": AccessDenied("apigateway:POST on /usageplans", "role"),
    "refused": CallFailed("CreateUsagePlan", "LimitExceededException"),
}


@pytest.mark.parametrize("how", FAILURES)
def test_what_failed_may_be_tried_by_the_next_run_at_once(town: Town, how: str) -> None:
    def fail(_: Callable[[], Any]) -> Any:
        raise FAILURES[how]

    with pytest.raises(PlanRefused if how == "refused" else type(FAILURES[how])):
        town.run("run-1", create_plan=fail).plan_for(TIER)
    made = town.run("run-2").plan_for(TIER)
    assert town.plans() == {made: (NAME, SHAPE)}
    assert town.request_store.made_usage_plans() == {NAME: made}


def test_a_look_that_fails_gives_the_claim_back_too(town: Town) -> None:
    looks: list[int] = []

    def fail_the_second(call: Callable[[], Any]) -> Any:
        looks.append(1)
        if len(looks) == 2:
            raise CallFailed("GetUsagePlans", "InternalServerErrorException")
        return call()

    with pytest.raises(CallFailed, match="GetUsagePlans"):
        town.run("run-1", usage_plans=fail_the_second).plan_for(TIER)
    assert town.run("run-2").plan_for(TIER)


def test_a_run_that_failed_for_now_may_try_again(town: Town) -> None:
    attempts: list[int] = []

    def fail_once(call: Callable[[], Any]) -> Any:
        attempts.append(1)
        if len(attempts) == 1:
            raise CallFailed("CreateUsagePlan", "InternalServerErrorException")
        return call()

    run = town.run(create_plan=fail_once)
    with pytest.raises(CallFailed):
        run.plan_for(TIER)
    # Not again for each of its requests: only once it looks anew.
    with pytest.raises(CallFailed):
        run.plan_for(TIER)
    assert len(attempts) == 1
    run.forget()
    made = run.plan_for(TIER)
    assert town.plans() == {made: (NAME, SHAPE)}


# --- whether plans are there ----------------------------------------------------------------------


def test_whether_all_of_some_plans_are_there(town: Town) -> None:
    town.plan("plan1", "one")
    town.plan("plan2", "two")
    run = town.run()
    assert [
        run.there_is(ids) for ids in ((), ("plan1",), ("plan2", "plan1"), ("plan3", "plan1"))
    ] == [
        True,
        True,
        True,
        False,
    ]
    assert town.calls.count("apigateway.usage_plans") == 1


def test_what_a_run_knows_of_plans_can_be_forgotten(town: Town) -> None:
    first = town.plan("plan1", "external")
    run = town.run()
    assert run.plan_for(TIER) == first
    town.gateway.delete_plan(first)
    assert (run.there_is((first,)), run.plan_for(TIER)) == (True, first)
    run.forget()
    assert not run.there_is((first,))
    made = run.plan_for(TIER)
    assert town.plans() == {made: (NAME, SHAPE)}


def test_a_new_plan_is_there_for_the_run_that_made_it(town: Town) -> None:
    run = town.run()
    assert not run.there_is(("plan9",))
    made = run.plan_for(TIER)
    assert run.there_is((made,))


def a_tier_of(stages: int, methods: int) -> Tier:
    return an_issuing_tier(
        stages=tuple(f"api{number}:prod" for number in range(stages)),
        method_throttle={f"/path{number}/GET": Rate(1, 1) for number in range(methods)},
    )


def test_a_tier_of_as_many_stages_and_methods_as_aws_takes(town: Town) -> None:
    tier = a_tier_of(4, 5)
    assert town.plans() == {} == town.request_store.made_usage_plans()
    made = town.run().plan_for(tier)
    assert town.plans() == {made: (plan_name(tier), Shape.of(tier))}
