"""What expire_keys answers, in the shape that other systems and operators read."""

from keyjanitor.answers import answer
from keyjanitor.decide import decide
from keyjanitor.plan import Brake
from keyjanitor.requests import SweepRequest
from keyjanitor.words import Mode, Verb
from tests.builders import (
    KEY_ID,
    TODAY,
    a_key,
    a_night,
    a_plan,
    a_policy,
    a_reading,
    a_tier,
    an_evidence,
    an_issued_row,
    at,
    bound,
)

RUN = SweepRequest(time=at(TODAY, 2), mode=Mode.PARK)
NOTHING = {
    "adopt": 0,
    "warn": 0,
    "disable": 0,
    "park": 0,
    "purge": 0,
    "enable": 0,
    "restore": 0,
}


def test_the_answer_of_a_sweep() -> None:
    plan = a_plan(a_key())
    assert answer(
        RUN,
        plan=plan,
        applied={**NOTHING, "warn": 1},
        remaining=2,
        brake=Brake(Verb.PARK, 60, 20),
    ) == {
        "time": "2026-11-21T02:00:00Z",
        "mode": "park",
        "keys": 1,
        "verdicts": {"keep": 0, "unknown": 0, "protected": 0, "warn": 1, "disable": 0, "park": 0},
        "applied": {**NOTHING, "warn": 1},
        "remaining": 2,
        "digest": plan.digest,
        "brake": {"action": "park", "planned": 60, "allowed": 20},
        "pressure": {"used": 0.0001, "patience": 1.0},
        "held": None,
    }


def test_the_answer_of_what_is_no_sweep_has_the_same_shape() -> None:
    assert answer(RUN, held="why") == {
        "time": "2026-11-21T02:00:00Z",
        "mode": "park",
        "keys": 0,
        "verdicts": {"keep": 0, "unknown": 0, "protected": 0, "warn": 0, "disable": 0, "park": 0},
        "applied": NOTHING,
        "remaining": 0,
        "digest": None,
        "brake": None,
        "pressure": None,
        "held": "why",
    }


def test_the_answer_names_the_mode_that_the_sweep_really_had() -> None:
    assert answer(RUN, mode=Mode.OBSERVE)["mode"] == "observe"


def test_the_answer_says_why_a_sweep_had_to_observe() -> None:
    run = SweepRequest(time=at(TODAY, 2), mode=Mode.OBSERVE, observed_because="too old")
    assert answer(run)["observed_because"] == "too old"
    assert "observed_because" not in answer(RUN)


def test_the_answer_names_what_of_the_policy_leaves_keys_unknown() -> None:
    evidence = an_evidence(a_reading(KEY_ID))
    rows = [an_issued_row(tier="partners")]
    policy = a_policy(a_tier(usage_plans=("typo",)))
    tied = bound(policy, evidence)
    plan = decide(a_night(a_key(), rows=rows, evidence=evidence), tied)
    assert answer(RUN, plan=plan, problems=tied.problems)["policy_problems"] == [
        "policy.toml: tiers.external.usage_plans[0]: this account has no usage plan 'typo'",
        "policy.toml: tiers.partners: is missing; 1 of the keys issued in it are unknown",
    ]
