"""Keys that are enabled for longer without a request than their tier declares, and the one reason of each."""

from dataclasses import replace
from datetime import date
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.doctor.checks import find_problems
from keyjanitor.domain.doctor.checkup import Checkup
from keyjanitor.domain.doctor.inactivity import (
    NOT_JUDGED,
    WHY_OF_CODE,
    Line,
    Sweeps,
    Why,
    inactive_keys,
    why_enabled,
)
from keyjanitor.domain.expiry import reasons
from tests.builders import (
    DAY,
    KEY_ID,
    TODAY,
    a_checkup,
    a_key,
    a_policy,
    a_reading,
    a_row,
    a_tier,
    an_evidence,
    an_issued_row,
    days_ago,
)

DECLARED = 90
POLICY = a_policy(a_tier(declared_inactivity_days=DECLARED))
ACTING = Sweeps()


def a_line(verdict: str = "keep", code: str = "within_idle_limit", **more: Any) -> Line:
    """A line of a keys file."""
    return {
        "key_id": KEY_ID,
        "verdict": verdict,
        "reason": "as the sweep said it",
        "reason_code": code,
        "last_used": None,
        "disable_on": None,
        "park_on": None,
        **more,
    }


def an_account(*, age: int = 400, used: int | None = None, **more: Any) -> Checkup:
    """One key in a plan, made and last used so many days ago."""
    evidence = an_evidence(a_reading(KEY_ID), used={} if used is None else {KEY_ID: days_ago(used)})
    return a_checkup(a_key(age=age, **more), policy=POLICY, evidence=evidence)


def why(checkup: Checkup, *lines: Line, sweeps: Sweeps = ACTING) -> list[str]:
    """The reasons of the keys that are found."""
    return [one.why for one in inactive_keys(checkup, lines, sweeps) or ()]


def test_the_declared_days_themselves_are_within_and_the_day_after_is_beyond() -> None:
    assert why(an_account(used=DECLARED), a_line()) == []
    assert why(an_account(used=DECLARED + 1), a_line()) == ["within_idle_limit"]


def test_a_key_that_was_never_used_counts_from_the_day_on_which_it_was_made() -> None:
    [one] = inactive_keys(an_account(age=100), [a_line()], ACTING) or ()
    assert (one.days, one.created, one.last_used) == (100, days_ago(100), None)


def test_a_use_that_only_the_ledger_or_the_keys_file_still_knows_counts() -> None:
    known = an_account(age=400)
    in_row = replace(known, rows={KEY_ID: a_row(last_used=days_ago(5))})
    assert why(in_row, a_line()) == []
    assert why(known, a_line(last_used=str(days_ago(5)))) == []


def test_a_disabled_key_is_not_asked_about() -> None:
    assert why(an_account(enabled=False), a_line()) == []


def test_a_tier_that_declares_nothing_has_no_such_key_and_a_policy_without_any_says_so() -> None:
    two = a_policy(a_tier(), a_tier("partners", declared_inactivity_days=30))
    others = a_checkup(a_key(age=400), policy=two, evidence=an_evidence(a_reading(KEY_ID)))
    assert inactive_keys(others, [a_line()], ACTING) == ()
    assert inactive_keys(replace(others, bound=a_policy().bind({})), [a_line()], ACTING) is None


def test_an_issued_key_is_measured_by_its_own_tier() -> None:
    issued = replace(an_account(), rows={KEY_ID: an_issued_row(tier="external")})
    assert why(issued, a_line()) == ["within_idle_limit"]


def test_what_is_told_of_a_key_is_what_an_auditor_asks() -> None:
    checkup = replace(
        an_account(used=120, name="of API Gateway"),
        rows={KEY_ID: a_row(owner="user-1", name="of the ledger")},
    )
    [one] = inactive_keys(checkup, [a_line("protected", "keep_tag")], ACTING) or ()
    assert (one.name, one.owner, one.tier, one.declared, one.days, one.why, one.reason) == (
        "of the ledger",
        "user-1",
        "external",
        DECLARED,
        120,
        "protected",
        "as the sweep said it",
    )


@pytest.mark.parametrize(
    ("line", "sweeps", "expected"),
    [
        (None, ACTING, Why.NOT_JUDGED),
        (a_line("unknown", "unwitnessed"), ACTING, Why.UNKNOWN),
        (a_line("protected", "owned_by"), ACTING, Why.OWNED_ELSEWHERE),
        (a_line("protected", "tier_never"), ACTING, Why.NEVER_EXPIRES),
        (a_line("protected", "no_contact"), ACTING, Why.NO_CONTACT),
        (a_line("protected", "protected_until"), Sweeps(held=True), Why.PROTECTED),
        (a_line("keep", "waits"), ACTING, Why.WAITS_FOR_DATE),
        (a_line("keep", "awaits_allowance"), ACTING, Why.WAITS_FOR_ALLOWANCE),
        (a_line("keep", "not_told"), ACTING, Why.NOT_TOLD),
        (a_line("keep", "not_tonight"), ACTING, Why.NOT_TONIGHT),
        (a_line("keep", "not_tonight"), Sweeps(held=True), Why.HELD),
        (a_line("warn", "idle"), ACTING, Why.WAITS_FOR_DATE),
        (a_line("warn", "idle"), Sweeps(only_observe=True), Why.OBSERVED),
        (a_line("disable", "idle"), Sweeps(braked=True), Why.BRAKED),
        (a_line("disable", "idle"), Sweeps(held=True, braked=True, only_observe=True), Why.HELD),
        (a_line("disable", "idle"), ACTING, Why.STEP_NOT_TAKEN),
        (a_line("park", "idle"), ACTING, Why.STEP_NOT_TAKEN),
        # lines of builds before 0.2.0 have no code
        (a_line("keep", ""), ACTING, Why.WITHIN_IDLE_LIMIT),
        (a_line("keep", "", disable_on="2026-12-01"), ACTING, Why.WAITS_FOR_DATE),
        (a_line("protected", ""), ACTING, Why.PROTECTED),
    ],
)
def test_a_key_is_enabled_for_the_reason_of_the_latest_sweep(
    line: Line | None, sweeps: Sweeps, expected: Why
) -> None:
    assert why_enabled(line, sweeps) is expected


def test_a_key_without_a_line_says_so_in_words() -> None:
    [one] = inactive_keys(an_account(), [], ACTING) or ()
    assert (one.why, one.reason) == ("not_judged", NOT_JUDGED)


def test_every_reason_for_which_a_sweep_keeps_or_protects_a_key_has_its_place() -> None:
    kept = {one.code for one in (*get_args(reasons.Kept), *get_args(reasons.Protected))}
    assert kept == set(WHY_OF_CODE)


def test_the_problem_has_each_reason_with_its_number() -> None:
    checkup = a_checkup(a_key("a", age=400), a_key("b", age=300), policy=POLICY)
    checkup = replace(checkup, evidence=an_evidence(a_reading("a", "b")))
    lines = [a_line("unknown", "unwitnessed", key_id="a"), a_line("keep", "waits", key_id="b")]
    found = inactive_keys(checkup, lines, ACTING)
    [finding] = [
        one
        for one in find_problems(replace(checkup, inactive=found))
        if one.kind == "keys_inactive"
    ]
    assert finding.what == (
        "2 keys are enabled, without a known request for longer than declared "
        "(90 days in tier external): 1 unknown, 1 waits for date"
    )
    assert (finding.about, finding.slots) == (("a", "b"), 0)


# --- laws -----------------------------------------------------------------------------------------

VERDICTS = ("keep", "unknown", "protected", "warn", "disable", "park")
CODES = ("", "idle", "of a later release", *WHY_OF_CODE)
ages = st.integers(0, 3 * DECLARED)


@given(
    st.lists(st.tuples(ages, st.none() | ages, st.booleans()), max_size=6),
    st.dictionaries(
        st.integers(0, 5), st.tuples(st.sampled_from(VERDICTS), st.sampled_from(CODES))
    ),
    st.builds(Sweeps, st.booleans(), st.booleans(), st.booleans()),
)
def test_each_enabled_key_beyond_the_days_has_exactly_one_reason_and_none_within_has_one(
    keys: list[tuple[int, int | None, bool]], judged: dict[int, tuple[str, str]], sweeps: Sweeps
) -> None:
    made = [a_key(f"k{n}", age=age, enabled=enabled) for n, (age, _, enabled) in enumerate(keys)]
    used: dict[str, date] = {
        f"k{n}": days_ago(ago) for n, (_, ago, _) in enumerate(keys) if ago is not None
    }
    ids = [key.key_id for key in made]
    evidence = an_evidence(a_reading(*ids), used=used)
    checkup = replace(an_account(), keys=made, rows={}, evidence=evidence)
    lines = [a_line(word, code, key_id=f"k{n}") for n, (word, code) in judged.items()]
    found = inactive_keys(checkup, lines, sweeps)
    assert found is not None
    beyond = [
        f"k{n}"
        for n, (age, ago, enabled) in enumerate(keys)
        if enabled and TODAY - DAY * min(age, age if ago is None else ago) < TODAY - DAY * DECLARED
    ]
    assert sorted(one.key_id for one in found) == beyond
    assert all(one.why in set(Why) for one in found)
    assert [one.days for one in found] == sorted((one.days for one in found), reverse=True)
