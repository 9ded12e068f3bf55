"""What a tier's plan has to look like, and the name under which it is found again."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.model.policy import Quota, Rate
from keyjanitor.domain.model.usage_plan import Shape, plan_name
from tests.builders import STAGE, an_issuing_tier

FULL = Shape(
    stages=frozenset({"api1:prod", "api2:web"}),
    throttle=Rate(10, 20),
    quota=Quota(50_000, "MONTH"),
    methods={"/search/POST": Rate(2, 4), "/*/GET": Rate(0.5, 1)},
)

rates = st.builds(
    Rate, st.floats(0.01, 10_000, allow_nan=False) | st.integers(1, 99), st.integers(1, 5_000)
)
shapes = st.builds(
    Shape,
    stages=st.frozensets(st.sampled_from(["api1:prod", "api2:web", "api1:test"])),
    throttle=st.none() | rates,
    quota=st.none()
    | st.builds(Quota, st.integers(1, 10**6), st.sampled_from(["DAY", "WEEK", "MONTH"])),
    methods=st.dictionaries(st.sampled_from(["/a/GET", "/a/POST", "/b/*"]), rates),
)


def test_the_shape_of_a_tier_is_its_stages_and_limits() -> None:
    tier = an_issuing_tier(
        stages=("api2:web", "api1:prod"),
        throttle=Rate(10, 20),
        quota=Quota(50_000, "MONTH"),
        method_throttle={"/*/GET": Rate(0.5, 1), "/search/POST": Rate(2, 4)},
    )
    assert Shape.of(tier) == FULL


def test_a_tier_without_a_throttle_or_a_quota_has_a_shape_without() -> None:
    shape = Shape.of(an_issuing_tier(throttle=None, quota=Quota(5, "DAY")))
    assert shape == Shape(frozenset({STAGE}), None, Quota(5, "DAY"), {})
    shape = Shape.of(an_issuing_tier(throttle=Rate(1, 1)))
    assert shape == Shape(frozenset({STAGE}), Rate(1, 1))


def test_what_does_not_shape_a_plan_does_not_change_a_tiers_shape() -> None:
    tier = an_issuing_tier()
    other = an_issuing_tier(
        usage_plans=("another",), idle_days=90, senders=("AROAOTHER",), reserve=7, contact=None
    )
    assert Shape.of(tier) == Shape.of(other)
    assert plan_name(tier) == plan_name(other)


def test_whole_numbers_and_others_are_the_same_rate() -> None:
    """AWS answers with 10.0 where `policy.toml` has 10."""
    whole, other = (
        Shape(frozenset({STAGE}), Rate(ten, 20), None, {"/a/GET": Rate(ten, 4)})
        for ten in (10, 10.0)
    )
    assert whole == other
    assert whole.digest == other.digest


@given(shapes, st.randoms(use_true_random=False))
def test_a_shape_has_one_digest_however_it_is_written(shape: Shape, chance: Any) -> None:
    methods, stages = list(shape.methods.items()), list(shape.stages)
    chance.shuffle(methods)
    chance.shuffle(stages)
    again = replace(shape, methods=dict(methods), stages=frozenset(stages))
    assert again == shape
    assert again.digest == shape.digest


@given(shapes, shapes)
def test_another_shape_has_another_digest(one: Shape, other: Shape) -> None:
    assert (one.digest == other.digest) is (one == other)


def test_each_limit_and_each_stage_is_in_the_digest() -> None:
    others = [
        FULL,
        replace(FULL, stages=frozenset({"api1:prod"})),
        replace(FULL, stages=frozenset({"api1:prod", "api2:test"})),
        replace(FULL, throttle=None),
        replace(FULL, throttle=Rate(10, 21)),
        replace(FULL, throttle=Rate(10.5, 20)),
        replace(FULL, quota=None),
        replace(FULL, quota=Quota(50_001, "MONTH")),
        replace(FULL, quota=Quota(50_000, "WEEK")),
        replace(FULL, methods={}),
        replace(FULL, methods={"/search/POST": Rate(2, 4)}),
        replace(FULL, methods={"/search/POST": Rate(2, 5), "/*/GET": Rate(0.5, 1)}),
        replace(FULL, methods={"/search/GET": Rate(2, 4), "/*/GET": Rate(0.5, 1)}),
    ]
    assert len({shape.digest for shape in others}) == len(others)


def test_a_plan_is_called_the_same_by_every_version() -> None:
    """By its name a plan is found again that a run made which died before it could say so."""
    assert plan_name(an_issuing_tier()) == "keyjanitor external 1f82a094"
    tier = an_issuing_tier(
        "inner",
        stages=("api2:web", "api1:prod"),
        throttle=Rate(10, 20),
        quota=Quota(50_000, "MONTH"),
        method_throttle={"/search/POST": Rate(2, 4), "/*/GET": Rate(0.5, 1)},
    )
    assert plan_name(tier) == "keyjanitor inner 085d5e50"
