"""Whose tier a key has: the one it was issued in for good, else the one that names its plans."""

from dataclasses import replace

import pytest

from keyjanitor.domain.doctor.checks import find_problems
from keyjanitor.domain.expiry import reasons
from keyjanitor.domain.expiry.keys_file import dates_ahead
from keyjanitor.domain.expiry.sweep_plan import Correct, Verdict
from keyjanitor.domain.expiry.transitions import disabled, noted, parked
from keyjanitor.domain.expiry.verdicts import decide
from keyjanitor.domain.model.keys import State
from keyjanitor.domain.model.policy import Policy, Unbound
from keyjanitor.domain.model.records import Row
from keyjanitor.domain.requests.admission import judge_asker
from keyjanitor.domain.requests.key_request import Action, Code
from tests.builders import (
    ADMIN,
    DAY,
    KEY_ID,
    PLAN_ID,
    TODAY,
    a_checkup,
    a_disabled_row,
    a_key,
    a_limited_plan,
    a_night,
    a_policy,
    a_reading,
    a_request,
    a_row,
    a_tier,
    a_warned_row,
    an_evidence,
    an_issued_row,
    bound,
    in_days,
    unclaimed,
)
from tests.unit.nights import Account

# `partners` misspelt: the keys that were issued in it are in a plan that no tier names.
PARTNERS = a_policy(a_tier("partners", usage_plans=(), idle_days="never"), unclaimed(idle_days=60))
MISSPELT = a_policy(
    a_tier("partner", usage_plans=(), idle_days="never", admins=(ADMIN,)),
    unclaimed(idle_days=60, admins=(ADMIN,)),
)
NAMES_A_PLAN_TWICE = a_policy(a_tier("a", usage_plans=("external",)), a_tier("b", usage_plans=(PLAN_ID,)))  # fmt: skip
TWINS = {"p1": "external", "p2": "twin", "p3": "twin", "p4": "other"}


def judged(policy: Policy, row: Row | None = None) -> Verdict:
    """The verdict on a key that nobody has used for 90 days."""
    evidence = an_evidence(a_reading(KEY_ID))
    night = a_night(a_key(), rows=[row] if row else (), evidence=evidence)
    return decide(night, bound(policy, evidence)).verdicts[0]


# --- a tier that is missing -----------------------------------------------------------------------


@pytest.mark.life("K-512")
def test_a_key_issued_in_a_tier_that_the_policy_lacks_is_unknown() -> None:
    verdict = judged(MISSPELT, an_issued_row(tier="partners"))
    assert (verdict.word, verdict.because, verdict.step) == (
        "unknown",
        reasons.TierMissing("partners"),
        None,
    )
    assert (verdict.tier.name, verdict.tier.contact) == ("partners", None)


@pytest.mark.life("K-512")
@pytest.mark.parametrize(
    "row",
    [a_warned_row(issued=True), a_disabled_row(issued=True), an_issued_row(expires_on=TODAY)],
    ids=["warned", "disabled", "at its agreed end"],
)
def test_no_date_of_a_key_of_a_missing_tier_comes_due_or_is_taken_back(row: Row) -> None:
    row = replace(row, tier="partners")
    evidence = an_evidence(a_reading(KEY_ID))
    key = a_key(enabled=row.state is not State.DISABLED)
    plan = decide(a_night(key, rows=[row], evidence=evidence), bound(MISSPELT, evidence))
    assert (plan.due, plan.notes, plan.verdicts[0].word) == ((), (), "unknown")
    dates = dates_ahead(TODAY, plan.verdicts[0])
    assert dates == {"disable_on": row.disable_on, "park_on": row.park_on, "purge_on": None}


@pytest.mark.life("K-803")
def test_a_correction_never_changes_the_tier_of_an_issued_key() -> None:
    row = an_issued_row(tier="partners", missing_since=TODAY - DAY)
    assert noted(Correct(row, "unclaimed"), row, TODAY).tier == "partners"
    adopted = a_row(tier="partners")
    assert noted(Correct(adopted, "unclaimed"), adopted, TODAY).tier == "unclaimed"


@pytest.mark.life("K-803")
def test_an_issued_key_lives_through_a_night_with_its_tier_misspelt() -> None:
    account = Account(PARTNERS)
    account.plan(name="kj-partners")
    account.key("fed", PLAN_ID, age=300, last_used=50)
    account.nights(2)
    account.ledger.rows["fed"] = replace(account.row("fed"), tier="partners", issued=True)
    for policy, nights in ((PARTNERS, 12), (MISSPELT, 1), (PARTNERS, 40)):
        account.policy = policy
        account.nights(nights)
        assert (account.row("fed").tier, account.row("fed").state) == ("partners", State.ACTIVE)
    assert account.steps("fed") == []
    assert account.gateway.living["fed"].enabled


@pytest.mark.parametrize("action", [one for one in Action if one is not Action.ISSUE])
def test_a_request_for_a_key_of_a_missing_tier_is_refused_by_the_tiers_name(action: Action) -> None:
    state = State.PARKED if action is Action.RESTORE else State.ACTIVE
    row = an_issued_row(tier="partners", state=state)
    refusal = judge_asker(a_request(action, sender=ADMIN), row, MISSPELT)
    assert refusal is not None
    assert (refusal.code, "'partners'" in refusal.reason) == (Code.UNKNOWN_TIER, True)


def test_what_a_dead_run_did_to_a_key_of_a_missing_tier_takes_no_other_tiers_days() -> None:
    row, tied = an_issued_row(tier="partners"), bound(MISSPELT)
    assert disabled(row, TODAY, tied, a_key(enabled=False)).park_on is None
    assert parked(row, TODAY, tied).purge_on == in_days(3650)


def test_keys_of_a_missing_tier_are_a_finding_of_their_own() -> None:
    checkup = a_checkup(policy=MISSPELT, rows={KEY_ID: an_issued_row(tier="partners")})
    [finding] = [one for one in find_problems(checkup) if one.kind == "keys_without_tier"]
    assert finding.about == (KEY_ID,)
    assert "partners (1)" in finding.what


# --- a plan that is missing -----------------------------------------------------------------------


def test_a_tier_that_names_a_missing_plan_stops_no_other_tier() -> None:
    account = Account(a_policy(a_tier(), a_tier("late", usage_plans=("typo",))))
    account.plan()
    account.plan("plan2", "rest")
    account.key("idle", PLAN_ID, age=300, last_used=80)
    account.key("adrift", "plan2", age=300, last_used=80)
    account.nights(31)
    assert [word for _, word in account.steps("idle")] == ["warn", "disable", "park"]
    assert (account.steps("adrift"), account.word("adrift")) == ([], "unknown")


@pytest.mark.life("K-513")
def test_a_key_whose_plan_may_be_the_renamed_one_is_unknown_and_keeps_its_tier() -> None:
    account = Account(a_policy(a_tier("vip", idle_days="never"), unclaimed(idle_days=60)))
    account.plan(name="external")
    account.key("vip", PLAN_ID, age=300, last_used=80)
    account.policy = a_policy(a_tier("vip", usage_plans=("external",), idle_days="never"), unclaimed(idle_days=60))  # fmt: skip
    account.nights(2)
    account.gateway.plans[PLAN_ID] = replace(account.gateway.plans[PLAN_ID], name="renamed")
    account.nights(60)
    assert (account.steps("vip"), account.word("vip")) == ([], "unknown")
    assert account.row("vip").tier == "vip"


def test_an_orphan_is_judged_while_a_plan_is_missing() -> None:
    evidence = an_evidence(a_reading())
    policy = a_policy(a_tier(usage_plans=("typo",)), unclaimed())
    plan = decide(a_night(a_key(), evidence=evidence), bound(policy, evidence))
    assert isinstance(plan.verdicts[0].because, reasons.Orphan)


def test_a_key_that_is_also_in_an_unnamed_plan_is_unknown_while_a_plan_is_missing() -> None:
    evidence = an_evidence(a_reading(KEY_ID), a_reading(KEY_ID, usage_plan_id="p9", name="other"))
    policy = a_policy(a_tier(), a_tier("vip", usage_plans=("typo",), idle_days="never"))
    plan = decide(a_night(a_key(), evidence=evidence), bound(policy, evidence))
    assert plan.verdicts[0].because == reasons.TierUnclear("p9", "tiers.vip.usage_plans[0]")


@pytest.mark.life("K-513")
def test_keys_of_a_plan_that_two_tiers_name_are_unknown() -> None:
    tied = NAMES_A_PLAN_TWICE.bind({PLAN_ID: "external", "p2": "other"})
    assert tied.problems == (
        Unbound(
            "tiers.b.usage_plans[0]",
            (
                "is the usage plan plan1, which tiers.a.usage_plans[0] names too: tier b or tier a has "
                "its keys, not both"
            ),
            (PLAN_ID,),
        ),
    )
    assert judged(NAMES_A_PLAN_TWICE).because == reasons.TierUnclear(
        PLAN_ID, "tiers.b.usage_plans[0]"
    )
    assert tied.unclear(["p2"]) is None


def test_of_a_name_that_two_plans_have_both_are_unclear_and_no_other() -> None:
    tied = a_policy(a_tier("a", usage_plans=("twin", "p1"))).bind(TWINS)
    assert [plan for plan in TWINS if tied.unclear([plan])] == ["p2", "p3"]
    assert tied.tier_of_plan.keys() == {"p1"}


def test_a_tier_may_name_its_plan_by_id_and_by_name() -> None:
    tied = a_policy(a_tier("a", usage_plans=("p1", "external"))).bind(TWINS)
    assert (tied.problems, set(tied.tier_of_plan)) == ((), {"p1"})


@pytest.mark.parametrize("named", ["gone", "twin"])
def test_a_silent_plan_that_is_not_found_is_not_believed_and_hides_no_tier(named: str) -> None:
    tied = a_policy(a_tier(usage_plans=("p1",)), silent_plans=(named, "p4")).bind(TWINS)
    assert tied.silent_plans == {"p4"}
    assert [one.path for one in tied.problems] == ["silent_plans[0]"]
    assert tied.unclear(list(TWINS)) is None


def test_a_plan_that_the_policy_may_mean_is_not_deleted_or_given_to_another_tier() -> None:
    second = a_limited_plan("plan2", name="renamed", stages=("api1:beta",))
    second_reading = a_reading(usage_plan_id="plan2", name="renamed")
    evidence = an_evidence(a_reading(KEY_ID), second_reading, used={KEY_ID: TODAY - DAY})
    policy = a_policy(a_tier(), a_tier("vip", usage_plans=("typo",)))
    checkup = a_checkup(plans=(a_limited_plan(), second), evidence=evidence, policy=policy)
    assert [one.kind for one in find_problems(checkup)] == ["policy_plans_unclear"]
