"""One suite for the API Gateway in memory and for the adapter of a real one: the fake cannot lie.

The real one is the adapter that the functions use, on the sandbox (marked `e2e`: it needs sockets).
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

import pytest

from keyjanitor.errors import CallFailed, ValueTaken
from keyjanitor.evidence import UsagePage
from keyjanitor.gateway import ApiGateway
from keyjanitor.owners import Owners
from keyjanitor.pace import Pace
from keyjanitor.words import ApiKey, Secret, UsagePlan
from sandbox.client import LaidKey, Sandbox
from tests.builders import DAY, TODAY, at
from tests.fakes import FakeApiGateway, FakeOwners, value_of

NOW = datetime(2026, 11, 21, 3, 15, tzinfo=UTC)
CREATED = at(TODAY - DAY * 100)
VALUE = value_of("k0")


class Side(Protocol):
    """An account with keys, plans and usage, as somebody else would have made them."""

    gateway: Any
    owners: Any

    def set_clock(self, now: datetime) -> None: ...

    def lay_down(self, key: LaidKey) -> str: ...

    def plan(self, name: str) -> str: ...

    def use(self, plan_id: str, key_id: str, day: date, requests: int) -> None: ...


class Fake:
    """The account in memory."""

    def __init__(self) -> None:
        self.gateway = FakeApiGateway(NOW)
        self.owners = FakeOwners(self.gateway)
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

    def plan(self, name: str) -> str:
        plan_id = f"plan-{name}"
        self.gateway.add_plan(UsagePlan(plan_id, name, (), has_quota=True))
        return plan_id

    def use(self, plan_id: str, key_id: str, day: date, requests: int) -> None:
        self.gateway.use(plan_id, key_id, day, requests)


class Real:
    """The sandbox, through the adapters of the functions."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.gateway = ApiGateway(sandbox.client("apigateway"), Pace(1_000))
        self.owners = Owners(
            sandbox.client("resourcegroupstaggingapi"), sandbox.client("cloudformation")
        )
        self.set_clock(NOW)

    def set_clock(self, now: datetime) -> None:
        self._sandbox.set_clock(now)

    def lay_down(self, key: LaidKey) -> str:
        (key_id,) = self._sandbox.lay_down([key])
        return key_id

    def plan(self, name: str) -> str:
        return self._sandbox.usage_plan(name, quota={"limit": 100_000, "period": "MONTH"})

    def use(self, plan_id: str, key_id: str, day: date, requests: int) -> None:
        self._sandbox.lay_down_usage([(plan_id, key_id, day, requests)])


@pytest.fixture(
    params=[
        "fake",
        pytest.param("real", marks=[pytest.mark.e2e, pytest.mark.enable_socket]),
    ]
)
def side(request: pytest.FixtureRequest) -> Side:
    if request.param == "fake":
        return Fake()
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
    with pytest.raises(ValueTaken):
        create(side, name="another")
    assert listed(side) == [key_id]


def test_the_value_of_a_deleted_key_can_be_had_again_under_another_id(side: Side) -> None:
    key_id = side.lay_down(a_laid_key())
    side.gateway.delete(key_id)
    assert create(side) != key_id


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
    for fake, real in ((FakeApiGateway, ApiGateway), (FakeOwners, Owners)):
        public = {name for name in vars(real) if not name.startswith("_")}
        assert public <= set(vars(fake))
