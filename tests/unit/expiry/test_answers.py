"""What expire_keys answers, in the shape that other systems and operators read."""

import json
from dataclasses import replace

from keyjanitor import __version__
from keyjanitor.domain.capacity.forecast import Growth
from keyjanitor.domain.expiry.response import LISTED, Done, answer
from keyjanitor.domain.expiry.safety_brake import Brake, Cause, CauseCount
from keyjanitor.domain.expiry.verdicts import decide
from keyjanitor.domain.model.invocation import SweepInvocation
from keyjanitor.domain.model.keys import Mode, SweepAction
from keyjanitor.domain.model.records import PressureRow, PressureRuleRow
from tests.builders import (
    DAY,
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

RUN = SweepInvocation(time=at(TODAY, 2), mode=Mode.PARK)
BRAKE = Brake(
    new=60,
    worst=60,
    on=TODAY,
    allowance=20,
    usual=2.0,
    since=TODAY - DAY,
    causes=(CauseCount(Cause.USE_STOPPED, 60, (("plan1", 60),)),),
)
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
        brake=BRAKE,
        saved=True,
    ) == {
        "time": "2026-11-21T02:00:00Z",
        "code_version": __version__,
        "mode": "park",
        "keys": 1,
        "verdicts": {"keep": 0, "unknown": 0, "protected": 0, "warn": 1, "disable": 0, "park": 0},
        "applied": {**NOTHING, "warn": 1},
        "remaining": 2,
        "digest": plan.digest,
        "due": {"park": 0, "purge": 0, "disable": 0, "warn": 1},
        "saved_plan": f"plans/{plan.digest}.json",
        "past_limit": None,
        "brake": {
            "new": 60,
            "since": "2026-11-20",
            "usual": 2.0,
            "allowance": 20,
            "causes": [
                {
                    "cause": "use_stopped",
                    "keys": 60,
                    "plans": [{"usage_plan_id": "plan1", "keys": 60}],
                }
            ],
        },
        "pressure": {"used": 0.0001, "above": None, "idle_factor": 1.0},
        "held": None,
        "steps": [
            {
                "action": "warn",
                "key_id": KEY_ID,
                "name": a_key().name,
                "reason": "never used, 400 days since 2025-10-17",
            }
        ],
    }


def test_the_answer_says_what_each_pressure_rule_above_the_active_one_would_free() -> None:
    rules = (PressureRuleRow(0.9, 0.5, 10, {"external": 10}),)
    said = answer(RUN, pressure_row=PressureRow(TODAY, 0.8, rules), growth=Growth(2.0, 1.0, 3.0))
    assert said["pressure_rules"] == [
        {
            "above": 0.9,
            "idle_factor": 0.5,
            "more_keys": 10,
            "tiers": {"external": 10},
            "days_gained": 5,
        }
    ]
    assert "pressure_rules" not in answer(RUN, pressure_row=PressureRow(TODAY, 0.8))


def test_the_answer_names_what_was_done_to_which_key_and_its_new_id() -> None:
    did = [Done(SweepAction.ENABLE, "k1"), Done(SweepAction.RESTORE, "k2", "k3")]
    assert answer(RUN, did=did)["did"] == {
        "count": 2,
        "keys": [
            {"action": "enable", "key_id": "k1"},
            {"action": "restore", "key_id": "k2", "new_key_id": "k3"},
        ],
    }


def test_the_largest_answer_fits_into_what_lambda_gives_back() -> None:
    did = [Done(SweepAction.RESTORE, f"{n:020}", f"{n:020}") for n in range(LISTED + 5)]
    told = answer(RUN, plan=a_plan(*(a_key(f"k{n}") for n in range(30))), did=did)
    assert len(told["steps"]) == 20
    assert (told["did"]["count"], len(told["did"]["keys"])) == (LISTED + 5, LISTED)
    assert len(json.dumps(told)) < 6_000_000


def test_the_answer_of_what_is_no_sweep_has_the_same_shape() -> None:
    assert answer(RUN, held="why") == {
        "time": "2026-11-21T02:00:00Z",
        "code_version": __version__,
        "mode": "park",
        "keys": 0,
        "verdicts": {"keep": 0, "unknown": 0, "protected": 0, "warn": 0, "disable": 0, "park": 0},
        "applied": NOTHING,
        "remaining": 0,
        "digest": None,
        "due": None,
        "saved_plan": None,
        "past_limit": None,
        "brake": None,
        "pressure": None,
        "held": "why",
    }


def test_the_answer_to_an_approval_names_every_kind_of_step_deletions_first() -> None:
    plan = a_plan(a_key("k1"), a_key("k2"))
    pairs = frozenset({("park", "k9"), ("disable", "k8"), ("warn", "k1"), ("warn", "k7")})
    run = replace(RUN, approve="0123456789abcdef")
    told = answer(run, plan=plan, approved=pairs)["approved"]
    assert told == {
        "digest": "0123456789abcdef",
        "saved": {"park": 1, "purge": 0, "disable": 1, "warn": 2},
        "still_due": {"park": 0, "purge": 0, "disable": 0, "warn": 1},
    }
    assert list(told["saved"]) == ["park", "purge", "disable", "warn"]


def test_the_answer_names_the_mode_that_the_sweep_really_had() -> None:
    assert answer(RUN, mode=Mode.OBSERVE)["mode"] == "observe"


def test_the_answer_says_why_a_sweep_had_to_observe() -> None:
    run = SweepInvocation(time=at(TODAY, 2), mode=Mode.OBSERVE, observed_because="too old")
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
