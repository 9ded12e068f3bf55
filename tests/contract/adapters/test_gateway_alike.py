"""One suite for the API Gateway in memory and for the adapter of a real one: the fake cannot lie.

The real one is the adapter that the functions use, on the sandbox (marked `e2e`: it needs sockets).
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

import pytest

from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.ownership import Ownership
from keyjanitor.adapters.rate_limiter import RateLimiter
from keyjanitor.domain.model.keys import ApiKey, Secret
from keyjanitor.domain.model.policy import Quota, Rate
from keyjanitor.domain.model.usage_plan import Shape, UsagePlan
from keyjanitor.domain.requests.import_file import NewKey, describe
from keyjanitor.domain.usage.plan_usage import UsagePage
from keyjanitor.errors import AccountFull, CallFailed, ImportRefused, ValueConflict
from sandbox.driver.client import LaidKey, Sandbox
from sandbox.memory.adapters.api_gateway import FakeApiGateway, value_of
from sandbox.memory.adapters.ownership import FakeOwnership
from sandbox.memory.simulation.gateway import Gateway
from tests.builders import DAY, TODAY, a_new_key, at

NOW = datetime(2026, 11, 21, 3, 15, tzinfo=UTC)
CREATED = at(TODAY - DAY * 100)
MONTHLY = Shape(frozenset(), quota=Quota(100_000, "MONTH"))
VALUE = value_of("k0")


class Side(Protocol):
    """An account with keys, plans and usage, as somebody else would have made them."""

    gateway: Any
    owners: Any

    def set_clock(self, now: datetime) -> None: ...

    def lay_down(self, key: LaidKey) -> str: ...

    def stages(self) -> tuple[str, str]:
        """Two stages that there are."""
        ...

    def plan(self, name: str, shape: Shape = MONTHLY) -> str: ...

    def limit(self, *, keys: int = 10_000, plans: int = 300) -> None: ...

    def use(self, plan_id: str, key_id: str, day: date, requests: int) -> None: ...


class Fake:
    """The account in memory, or that of a simulated life."""

    def __init__(self, gateway: FakeApiGateway) -> None:
        self.gateway = gateway
        self.set_clock(NOW)
        self.owners = FakeOwnership(self.gateway)
        self._made = 0

    def set_clock(self, now: datetime) -> None:
        self.gateway.now = now

    def lay_down(self, key: LaidKey) -> str:
        self._made += 1
        key_id = f"laid{self._made:06}"
        created = key.created or NOW
        laid = ApiKey(
            key_id=key_id,
            name=key.name,
            enabled=key.enabled,
            created_date=created,
            last_updated_date=key.updated or created,
            description=key.description or "",
            customer_id=key.customer_id or "",
            stage_keys=tuple(key.stage_keys),
            tags=key.tags,
        )
        self.gateway.add_key(laid, key.value or "", key.plans)
        if key.owner_stack:
            self.owners.stacks[key_id] = key.owner_stack
        return key_id

    def stages(self) -> tuple[str, str]:
        self.gateway.known_stages = {"api1:prod", "api1:web"}
        return "api1:prod", "api1:web"

    def plan(self, name: str, shape: Shape = MONTHLY) -> str:
        plan_id = f"plan-{name}"
        self.gateway.add_plan(UsagePlan.of_shape(plan_id, name, shape))
        return plan_id

    def limit(self, *, keys: int = 10_000, plans: int = 300) -> None:
        self.gateway.key_limit, self.gateway.plan_limit = keys, plans

    def use(self, plan_id: str, key_id: str, day: date, requests: int) -> None:
        self.gateway.use(plan_id, key_id, day, requests)


def limits(rate: Rate) -> dict[str, float]:
    return {"rateLimit": rate.rate_limit, "burstLimit": rate.burst_limit}


class Real:
    """The sandbox, through the adapters of the functions."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.gateway = ApiGateway(sandbox.client("apigateway"), RateLimiter(1_000))
        self.owners = Ownership(
            sandbox.client("resourcegroupstaggingapi"), sandbox.client("cloudformation")
        )
        self.set_clock(NOW)

    def set_clock(self, now: datetime) -> None:
        self._sandbox.set_clock(now)

    def lay_down(self, key: LaidKey) -> str:
        (key_id,) = self._sandbox.lay_down([key])
        return key_id

    def stages(self) -> tuple[str, str]:
        api_id = self._sandbox.rest_api(["prod", "web"])
        return f"{api_id}:prod", f"{api_id}:web"

    def plan(self, name: str, shape: Shape = MONTHLY) -> str:
        quota, throttle = shape.quota, shape.throttle
        return self._sandbox.usage_plan(
            name,
            [(stage.partition(":")[0], stage.partition(":")[2]) for stage in sorted(shape.stages)],
            {"limit": quota.limit, "period": quota.period} if quota else None,
            limits(throttle) if throttle else None,
            {method: limits(rate) for method, rate in shape.methods.items()},
        )

    def limit(self, *, keys: int = 10_000, plans: int = 300) -> None:
        self._sandbox.misbehave(key_limit=keys, plan_limit=plans)

    def use(self, plan_id: str, key_id: str, day: date, requests: int) -> None:
        self._sandbox.lay_down_usage([(plan_id, key_id, day, requests)])


@pytest.fixture(
    params=[
        "fake",
        "simulation",
        pytest.param("real", marks=[pytest.mark.e2e, pytest.mark.enable_socket]),
    ]
)
def side(request: pytest.FixtureRequest) -> Side:
    if request.param == "fake":
        return Fake(FakeApiGateway(NOW))
    if request.param == "simulation":
        return Fake(Gateway(TODAY))
    return Real(request.getfixturevalue("sandbox"))


def a_laid_key(**more: Any) -> LaidKey:
    values: dict[str, Any] = {"name": "a name", "value": VALUE, "created": CREATED, **more}
    return LaidKey(**values)


def found(side: Side, key_id: str) -> ApiKey:
    key: ApiKey | None = side.gateway.key(key_id)
    assert key is not None
    return key


def listed(side: Side) -> list[str]:
    keys: list[ApiKey] = side.gateway.keys()
    return [key.key_id for key in keys]


def create(side: Side, value: str = VALUE, **more: Any) -> str:
    values: dict[str, Any] = {
        "name": "n",
        "description": "",
        "customer_id": "",
        "tags": {},
        **more,
    }
    key_id: str = side.gateway.create_disabled(Secret(value), **values)
    return key_id


# --- reading --------------------------------------------------------------------------------------


def test_a_key_has_tags_when_it_is_asked_for_and_none_in_the_list(side: Side) -> None:
    key_id = side.lay_down(
        a_laid_key(
            enabled=False,
            description="d",
            customer_id="c",
            tags={"t": "v"},
            updated=CREATED + DAY,
        )
    )
    expected = ApiKey(
        key_id=key_id,
        name="a name",
        enabled=False,
        created_date=CREATED,
        last_updated_date=CREATED + DAY,
        description="d",
        customer_id="c",
        tags={"t": "v"},
    )
    assert side.gateway.keys() == [replace(expected, tags=None)]
    assert side.gateway.key(key_id) == expected
    assert side.gateway.key_with_value(key_id) == (expected, Secret(VALUE))


def test_an_untagged_key_has_no_tags_when_it_is_asked_for(side: Side) -> None:
    assert found(side, side.lay_down(a_laid_key())).tags == {}


def test_the_stage_keys_of_old_are_told(side: Side) -> None:
    key_id = side.lay_down(a_laid_key(stage_keys=["api1/prod"]))
    assert found(side, key_id).stage_keys == ("api1/prod",)


def test_more_than_a_page_of_keys_is_listed_whole(side: Side) -> None:
    ids = {side.lay_down(LaidKey(name=f"key{n}", value=value_of(f"{n}"))) for n in range(30)}
    assert set(listed(side)) == ids
    assert side.gateway.key_named("key7", Secret(value_of("7"))) in ids


def test_who_is_not_there(side: Side) -> None:
    assert side.gateway.keys() == []
    assert side.gateway.key("nobody0000") is None
    assert side.gateway.key_with_value("nobody0000") is None
    assert side.gateway.key_named("n", Secret(VALUE)) is None
    assert side.gateway.usage_plans() == []
    assert side.gateway.members("nobody") == ()
    with pytest.raises(CallFailed) as err:
        list(side.gateway.usage("nobody", TODAY - DAY, TODAY))
    assert err.value.code == "NotFoundException"


def test_a_key_is_found_by_its_name_and_its_value_together(side: Side) -> None:
    first = side.lay_down(a_laid_key(name="marker-k0"))
    side.lay_down(a_laid_key(name="marker-k0", value=value_of("other")))
    side.lay_down(a_laid_key(name="marker-k01", value=value_of("third")))
    assert side.gateway.key_named("marker-k0", Secret(VALUE)) == first
    assert side.gateway.key_named("marker-k0", Secret(value_of("third"))) is None
    assert side.gateway.key_named("marker", Secret(VALUE)) is None


def test_plans_and_their_members(side: Side) -> None:
    one, two = side.plan("one"), side.plan("two")
    both = side.lay_down(a_laid_key(plans=[one, two]))
    alone = side.lay_down(a_laid_key(plans=[two], value=value_of("alone")))
    assert {(plan.usage_plan_id, plan.name) for plan in side.gateway.usage_plans()} == {
        (one, "one"),
        (two, "two"),
    }
    assert side.gateway.members(one) == (both,)
    assert sorted(side.gateway.members(two)) == sorted((both, alone))


def merged(pages: Sequence[UsagePage]) -> dict[str, list[int]]:
    return {
        key_id: [pair[0] for pair in pairs or ()]
        for page in pages
        for key_id, pairs in page.items.items()
        if any(pair[0] for pair in pairs or ())
    }


def test_the_usage_of_all_keys_day_by_day(side: Side) -> None:
    plan = side.plan("one")
    start, end = TODAY - DAY * 4, TODAY - DAY * 2
    ids = [side.lay_down(LaidKey(value=value_of(f"{n}"), plans=[plan])) for n in range(5)]
    for number, key_id in enumerate(ids[1:], 1):
        side.use(plan, key_id, start + DAY, number)
    side.use(plan, ids[0], start - DAY, 7)
    pages = list(side.gateway.usage(plan, start, end))
    assert {(page.start, page.end) for page in pages} == {(start, end)}
    assert merged(pages) == {key_id: [0, n, 0] for n, key_id in enumerate(ids[1:], 1)}


def test_a_plan_without_hits_answers_with_a_page(side: Side) -> None:
    pages = list(side.gateway.usage(side.plan("one"), TODAY - DAY, TODAY))
    assert [(page.start, page.end) for page in pages] == [(TODAY - DAY, TODAY)]


# --- changing -------------------------------------------------------------------------------------


def test_a_change_is_dated_and_changes_nothing_else(side: Side) -> None:
    plan = side.plan("one")
    key_id = side.lay_down(a_laid_key(description="d", tags={"t": "v"}, plans=[plan]))
    before = found(side, key_id)
    assert side.gateway.set_enabled(key_id, enabled=False) == NOW
    assert found(side, key_id) == replace(before, enabled=False, last_updated_date=NOW)
    side.set_clock(NOW + timedelta(minutes=1))
    assert side.gateway.set_enabled(key_id, enabled=True) == NOW + timedelta(minutes=1)
    assert side.gateway.rename(key_id, "new") == NOW + timedelta(minutes=1)
    later = found(side, key_id)
    assert later == replace(before, name="new", last_updated_date=NOW + timedelta(minutes=1))
    assert side.gateway.members(plan) == (key_id,)
    assert side.gateway.key_with_value(key_id)[1] == Secret(VALUE)


def test_what_is_no_more_cannot_be_changed(side: Side) -> None:
    assert side.gateway.set_enabled("nobody0000", enabled=False) is None
    assert side.gateway.rename("nobody0000", "new") is None


def test_a_deleted_key_is_gone_from_list_and_plans_and_may_be_deleted_again(side: Side) -> None:
    plan = side.plan("one")
    key_id = side.lay_down(a_laid_key(plans=[plan]))
    side.gateway.delete(key_id)
    side.gateway.delete(key_id)
    assert side.gateway.keys() == []
    assert side.gateway.key(key_id) is None
    assert side.gateway.members(plan) == ()


def test_a_key_is_created_disabled_and_in_no_plan(side: Side) -> None:
    plan = side.plan("one")
    key_id = create(side, description="d", customer_id="c", tags={"t": "v"})
    expected = ApiKey(
        key_id=key_id,
        name="n",
        enabled=False,
        created_date=NOW,
        last_updated_date=NOW,
        description="d",
        customer_id="c",
        tags={"t": "v"},
    )
    assert side.gateway.key_with_value(key_id) == (expected, Secret(VALUE))
    assert side.gateway.members(plan) == ()


def test_a_value_is_had_once(side: Side) -> None:
    key_id = create(side)
    with pytest.raises(ValueConflict):
        create(side, name="another")
    assert listed(side) == [key_id]


def test_the_value_of_a_deleted_key_can_be_had_again_under_another_id(side: Side) -> None:
    key_id = side.lay_down(a_laid_key())
    side.gateway.delete(key_id)
    assert create(side) != key_id


def test_a_full_account_makes_no_key_and_a_value_that_is_had_is_refused_first(side: Side) -> None:
    key_id = create(side)
    side.limit(keys=1)
    with pytest.raises(CallFailed) as err:
        create(side, value=value_of("another"))
    assert (err.value.operation, err.value.code) == ("CreateApiKey", "LimitExceededException")
    with pytest.raises(ValueConflict):
        create(side)
    assert listed(side) == [key_id]


@pytest.mark.parametrize("length", [19, 129])
def test_a_value_has_20_to_128_characters(side: Side, length: int) -> None:
    with pytest.raises(CallFailed) as err:
        create(side, value="v" * length)
    assert err.value.code == "BadRequestException"
    for possible in (20, 128):
        assert create(side, value="v" * possible)


def test_a_key_is_put_into_a_plan_once(side: Side) -> None:
    plan = side.plan("one")
    key_id = create(side)
    assert side.gateway.attach(plan, key_id)
    assert side.gateway.attach(plan, key_id)
    assert side.gateway.members(plan) == (key_id,)
    assert not side.gateway.attach("nobody", key_id)


# --- keys by their names, plans of a key ----------------------------------------------------------


def test_keys_by_the_beginning_of_their_names(side: Side) -> None:
    names = ("kj-1-000", "kj-1-001", "kj-10-000", "KJ-1-000", "a kj-1-000", "kj-1", "")
    ids = {
        name: side.lay_down(LaidKey(name=name, value=value_of(name), created=CREATED))
        for name in names
    }
    found_: list[ApiKey] = side.gateway.keys_named("kj-1-")
    assert {key.name: key.key_id for key in found_} == {
        name: ids[name] for name in ("kj-1-000", "kj-1-001")
    }
    assert sorted(found_, key=lambda key: key.name)[0] == ApiKey(
        key_id=ids["kj-1-000"],
        name="kj-1-000",
        enabled=True,
        created_date=CREATED,
        last_updated_date=CREATED,
    )
    assert side.gateway.keys_named("nobody-") == []


def test_members_by_the_beginning_of_their_names(side: Side) -> None:
    one, two = side.plan("one"), side.plan("two")
    ids = {
        name: side.lay_down(LaidKey(name=name, value=value_of(name), plans=plans))
        for name, plans in (
            ("kj-1-000", [one]),
            ("kj-1-001", [one, two]),
            ("kj-2-000", [one]),
            ("KJ-1-000", [one]),
            ("kj-1-002", [two]),
            ("kj-1-003", []),
        )
    }
    assert set(side.gateway.members(one, "kj-1-")) == {ids["kj-1-000"], ids["kj-1-001"]}
    assert set(side.gateway.members(two, "kj-1-")) == {ids["kj-1-001"], ids["kj-1-002"]}
    assert side.gateway.members(one, "nobody") == ()
    assert side.gateway.members("nobody", "kj-") == ()
    assert set(side.gateway.members(one, "")) == set(side.gateway.members(one))
    assert len(side.gateway.members(one)) == 4


def test_the_plans_of_a_key(side: Side) -> None:
    plans = [side.plan(name) for name in ("one", "two", "three")]
    key_id = side.lay_down(a_laid_key(plans=[plans[2], plans[0]]))
    free = side.lay_down(a_laid_key(value=value_of("free")))
    assert side.gateway.plans_of(key_id) == tuple(sorted((plans[0], plans[2])))
    assert side.gateway.plans_of(free) == ()
    assert side.gateway.plans_of("nobody0000") == ()
    side.gateway.delete(key_id)
    assert side.gateway.plans_of(key_id) == ()


# --- plans ----------------------------------------------------------------------------------------


def shapes_on(stages: tuple[str, str]) -> dict[str, Shape]:
    both, prod = frozenset(stages), frozenset(stages[:1])
    return {
        "minimal": Shape(prod),
        "throttled": Shape(prod, Rate(10, 20)),
        "quota": Shape(both, None, Quota(5, "DAY")),
        "methods": Shape(both, Rate(0.5, 1), None, {"/search/POST": Rate(2, 4)}),
        "whole": Shape(
            both,
            Rate(10, 20),
            Quota(50_000, "MONTH"),
            {"/search/POST": Rate(2.5, 4), "/*/GET": Rate(1, 1)},
        ),
    }


def test_every_plan_is_listed_with_its_shape(side: Side) -> None:
    shapes = {"nothing": Shape(frozenset()), **shapes_on(side.stages())}
    ids = {name: side.plan(name, shape) for name, shape in shapes.items()}
    plans: list[UsagePlan] = side.gateway.usage_plans()
    assert {plan.name: (plan.usage_plan_id, plan.shape) for plan in plans} == {
        name: (ids[name], shape) for name, shape in shapes.items()
    }


def test_a_plan_is_created_whole(side: Side) -> None:
    assert side.gateway.usage_plans() == []
    shapes = shapes_on(side.stages())
    ids = {name: side.gateway.create_plan(name, shape) for name, shape in shapes.items()}
    plans: list[UsagePlan] = side.gateway.usage_plans()
    assert {plan.name: (plan.usage_plan_id, plan.shape) for plan in plans} == {
        name: (ids[name], shape) for name, shape in shapes.items()
    }
    listed_: list[UsagePlan] = side.gateway.usage_plans()
    assert {plan.usage_plan_id: plan for plan in listed_} == {
        ids[name]: UsagePlan.of_shape(ids[name], name, shape) for name, shape in shapes.items()
    }
    assert side.gateway.members(ids["whole"]) == ()


def test_a_name_of_a_plan_is_not_unique(side: Side) -> None:
    shape = Shape(frozenset(side.stages()))
    assert side.gateway.create_plan("twin", shape) != side.gateway.create_plan("twin", shape)


def refusal_of_plan(side: Side, shape: Shape) -> str:
    before = side.gateway.usage_plans()
    with pytest.raises(CallFailed) as err:
        side.gateway.create_plan("n", shape)
    assert err.value.operation == "CreateUsagePlan"
    assert side.gateway.usage_plans() == before
    return err.value.code


def test_a_plan_of_a_stage_that_there_is_not_is_refused(side: Side) -> None:
    prod, web = side.stages()
    for stages in ({f"{prod}x"}, {prod, f"{web}x"}, {"nobody:prod"}):
        assert refusal_of_plan(side, Shape(frozenset(stages))) == "NotFoundException"


def test_a_plan_for_which_there_is_no_room_is_refused(side: Side) -> None:
    shape = Shape(frozenset(side.stages()))
    side.limit(plans=1)
    side.gateway.create_plan("one", shape)
    assert refusal_of_plan(side, shape) == "LimitExceededException"
    # What can never be is told before what cannot be now.
    assert refusal_of_plan(side, Shape(frozenset({"nobody:prod"}))) == "NotFoundException"


def test_a_plan_holds_twenty_method_throttles_in_all(side: Side) -> None:
    stages = frozenset(side.stages())
    methods = {f"/path{number}/GET": Rate(1, 1) for number in range(11)}
    assert refusal_of_plan(side, Shape(stages, methods=methods)) == "LimitExceededException"
    del methods["/path0/GET"]
    assert side.gateway.create_plan("n", Shape(stages, methods=methods))


# --- importing ------------------------------------------------------------------------------------


def imported(side: Side, *keys: NewKey) -> dict[str, str]:
    """Imports keys; gives the ids by their names."""
    side.gateway.import_keys(keys)
    listed_: list[ApiKey] = side.gateway.keys()
    return {key.name: key.key_id for key in listed_}


def everything(side: Side) -> list[Any]:
    """Every key with its value and its plans."""
    return [
        (side.gateway.key_with_value(key_id), side.gateway.plans_of(key_id))
        for key_id in sorted(listed(side))
    ]


def test_keys_are_imported_enabled_under_their_names_and_in_their_plans(side: Side) -> None:
    one, two = side.plan("one"), side.plan("two")
    new = [a_new_key(0, usage_plan_ids=(one,)), a_new_key(1, usage_plan_ids=(two, one))]
    ids = imported(side, *new)
    assert set(ids) == {key.name for key in new}
    for key in new:
        key_id = ids[key.name]
        expected = ApiKey(
            key_id=key_id,
            name=key.name,
            enabled=True,
            created_date=NOW,
            last_updated_date=NOW,
            description=key.description,
            tags={},
        )
        assert side.gateway.key_with_value(key_id) == (expected, key.value)
        assert side.gateway.plans_of(key_id) == tuple(sorted(key.usage_plan_ids))
        assert side.gateway.key_named(key.name, key.value) == key_id
    assert set(side.gateway.members(one)) == set(ids.values())
    assert side.gateway.members(two) == (ids[new[1].name],)
    assert {key.key_id for key in side.gateway.keys_named("kj-20261121-0a1b2c3d-")} == set(
        ids.values()
    )


def test_a_hundred_keys_are_imported_by_one_call(side: Side) -> None:
    plan = side.plan("one")
    new = [a_new_key(number, usage_plan_ids=(plan,)) for number in range(100)]
    ids = imported(side, *new)
    assert len(ids) == 100
    assert set(side.gateway.members(plan, "kj-20261121-0a1b2c3d-")) == set(ids.values())


UGLY = 'a,b"c\r\n=1\t\N{GRINNING FACE}\0'


def test_what_a_sender_wrote_stands_encoded_in_the_description(side: Side) -> None:
    plan = side.plan("one")
    description = describe(UGLY, UGLY * 100, "r1", "AROA")
    new = a_new_key(description=description, usage_plan_ids=(plan,))
    (key_id,) = imported(side, new).values()
    assert found(side, key_id).description == description


def test_the_same_value_again_overwrites(side: Side) -> None:
    plan, other = side.plan("one"), side.plan("two")
    before = a_new_key(usage_plan_ids=(plan,))
    (key_id,) = imported(side, before).values()
    side.set_clock(NOW + timedelta(minutes=1))
    side.gateway.set_enabled(key_id, enabled=False)
    side.set_clock(NOW + timedelta(minutes=2))
    again = replace(before, name="kj-20261121-ffffffff-000", description="owner=x")
    assert imported(side, replace(again, usage_plan_ids=(other,))) == {again.name: key_id}
    assert found(side, key_id) == ApiKey(
        key_id=key_id,
        name=again.name,
        enabled=True,
        created_date=NOW,
        last_updated_date=NOW + timedelta(minutes=2),
        description="owner=x",
        tags={},
    )
    # It leaves no plan that it was in.
    assert side.gateway.plans_of(key_id) == tuple(sorted((plan, other)))


def test_an_import_over_somebodys_key_keeps_what_it_does_not_say(side: Side) -> None:
    plan = side.plan("one")
    key_id = side.lay_down(
        a_laid_key(
            value=a_new_key().value.reveal(),
            enabled=False,
            description="d",
            customer_id="c",
            tags={"t": "v"},
            stage_keys=["api1/prod"],
        )
    )
    before = found(side, key_id)
    new = a_new_key(description="", usage_plan_ids=(plan,))
    assert imported(side, new) == {new.name: key_id}
    assert found(side, key_id) == replace(
        before, name=new.name, enabled=True, last_updated_date=NOW
    )


def test_a_value_that_stands_in_an_import_twice_is_one_key(side: Side) -> None:
    plan, other = side.plan("one"), side.plan("two")
    first = a_new_key(usage_plan_ids=(plan,))
    second = replace(first, name="the second", usage_plan_ids=(other,))
    side.limit(keys=1)
    ((name, key_id),) = imported(side, first, second).items()
    assert name == "the second"
    assert side.gateway.plans_of(key_id) == tuple(sorted((plan, other)))


def test_a_full_account_imports_nobody_and_overwrites_still(side: Side) -> None:
    plan = side.plan("one")
    new = [a_new_key(number, usage_plan_ids=(plan,)) for number in range(4)]
    side.limit(keys=3)
    imported(side, *new[:2])
    before = everything(side)
    with pytest.raises(AccountFull):
        side.gateway.import_keys(new[2:])
    with pytest.raises(AccountFull):
        side.gateway.import_keys(new)
    assert everything(side) == before
    imported(side, new[2])
    imported(side, *new[:3])
    with pytest.raises(AccountFull):
        side.gateway.import_keys(new[3:])
    assert len(listed(side)) == 3


BAD: dict[str, dict[str, Any]] = {
    "no such plan": {"usage_plan_ids": ("nobody",)},
    "a short value": {"value": Secret("v" * 19)},
    "a long value": {"value": Secret("v" * 129)},
    "a long name": {"name": "n" * 1025},
}


@pytest.mark.parametrize("how", BAD)
def test_one_bad_row_spoils_the_whole_import(side: Side, how: str) -> None:
    plan = side.plan("one")
    new = [a_new_key(number, usage_plan_ids=(plan,)) for number in range(4)]
    imported(side, new[0])
    before = everything(side)
    for bad in (BAD[how], {"usage_plan_ids": (plan, "nobody")}):
        with pytest.raises(ImportRefused) as err:
            side.gateway.import_keys([new[1], replace(new[2], **bad), new[3]])
        assert (err.value.keys, err.value.code) == (3, "BadRequestException")
        with pytest.raises(ImportRefused):
            side.gateway.import_keys([replace(new[0], **bad)])
    assert everything(side) == before


def test_a_full_account_is_told_of_before_a_bad_row(side: Side) -> None:
    side.limit(keys=1)
    bad = [a_new_key(number, usage_plan_ids=("nobody",)) for number in range(2)]
    with pytest.raises(AccountFull):
        side.gateway.import_keys(bad)
    with pytest.raises(ImportRefused):
        side.gateway.import_keys(bad[:1])


def test_a_key_is_in_one_plan_for_a_stage(side: Side) -> None:
    prod, web = side.stages()
    one = side.plan("one", Shape(frozenset({prod})))
    same = side.plan("same", Shape(frozenset({prod, web})))
    beside = side.plan("beside", Shape(frozenset({web})))
    new = a_new_key(usage_plan_ids=(one, beside))
    (key_id,) = imported(side, new).values()
    before = everything(side)
    for bad in (
        replace(new, usage_plan_ids=(same,)),
        a_new_key(1, usage_plan_ids=(one, same)),
    ):
        with pytest.raises(ImportRefused):
            side.gateway.import_keys([a_new_key(2, usage_plan_ids=(one,)), bad])
    with pytest.raises(CallFailed) as err:
        side.gateway.attach(same, key_id)
    assert err.value.code == "ConflictException"
    assert everything(side) == before


# --- owners ---------------------------------------------------------------------------------------


def test_the_tagging_api_lists_who_is_tagged(side: Side) -> None:
    tagged = side.lay_down(a_laid_key(tags={"team": "sensors", "keyjanitor:keep": ""}))
    side.lay_down(a_laid_key(value=value_of("untagged")))
    assert side.owners.tags() == {tagged: {"team": "sensors", "keyjanitor:keep": ""}}


def test_the_stack_of_a_key(side: Side) -> None:
    owned = side.lay_down(a_laid_key(owner_stack="shop"))
    free = side.lay_down(a_laid_key(value=value_of("free")))
    assert side.owners.stack_of(owned) == "shop"
    assert side.owners.stack_of(free) is None
    assert side.owners.stack_of("nobody0000") is None


def test_the_fake_has_every_method_of_the_real_one() -> None:
    for fake, real in ((FakeApiGateway, ApiGateway), (FakeOwnership, Ownership)):
        public = {name for name in vars(real) if not name.startswith("_")}
        assert public <= set(vars(fake))
