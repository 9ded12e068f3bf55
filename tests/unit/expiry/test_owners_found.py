"""What rules of owners do to a night: they say whose keys are, and change nothing else."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.expiry.keys_file import key_lines
from keyjanitor.domain.expiry.response import answer
from keyjanitor.domain.expiry.sweep_input import SweepInput
from keyjanitor.domain.expiry.sweep_plan import Adopt, Belongs, SweepPlan
from keyjanitor.domain.expiry.transitions import learnt
from keyjanitor.domain.expiry.verdicts import decide
from keyjanitor.domain.model.invocation import SweepInvocation
from keyjanitor.domain.model.keys import Mode
from keyjanitor.domain.model.owner_rules import OwnerRules
from keyjanitor.domain.model.policy import OwnerRule, Policy
from keyjanitor.domain.model.records import OwnerFrom, Row
from tests.builders import TODAY, a_key, a_night, a_policy, a_row, an_evidence, at, bound
from tests.unit.expiry.test_laws import law, nights, planned
from tests.unit.test_speed import an_account_to_judge
from tests.work import calls_of

RULES = (
    OwnerRule("tag:owner", "(?P<owner>.+)"),
    OwnerRule("description", r"user=(?P<owner>\S+)"),
    OwnerRule("customer_id", "(?P<owner>.+)"),
)
OWNERS = st.sampled_from([None, "ann", "bob"])


def rows_after(night: SweepInput, plan: SweepPlan) -> dict[str, Row]:
    """The rows after the night's notes, as a sweep writes them."""
    rows = dict(night.rows)
    for note in plan.notes:
        row = learnt(note, rows, night.today)
        rows[row.key_id] = row
    return rows


@st.composite
def owned_nights(draw: Any) -> tuple[SweepInput, Policy]:
    """A night of any kind, whose keys name owners, and whose rows may have one of any source."""
    night, policy = draw(nights(most=3))
    keys, rows = [], {}
    for key in night.keys:
        by_text, by_customer, known = draw(st.tuples(OWNERS, OWNERS, OWNERS))
        tagged = draw(st.sampled_from([{}, {"Owner": "tim"}]))
        said = f"user={by_text}" if by_text else ""
        tags = None if key.tags is None else {**key.tags, **tagged}
        described = key.description or said
        keys.append(replace(key, description=described, customer_id=by_customer or "", tags=tags))
        if row := night.rows.get(key.key_id):
            how = draw(st.sampled_from([None, *OwnerFrom]))
            rows[key.key_id] = replace(row, owner=known, owner_from=how if known else None)
    return replace(night, keys=keys, rows=rows), policy


@law
@given(owned_nights(), st.permutations(RULES))
def test_rules_of_owners_touch_no_key_and_move_none_to_another_tier(
    drawn: tuple[SweepInput, Policy], rules: list[OwnerRule]
) -> None:
    night, policy = drawn
    without, with_rules = (
        planned((night, policy)),
        planned((night, replace(policy, owners=tuple(rules)))),
    )
    assert replace(with_rules, notes=()) == replace(without, notes=())
    assert with_rules.digest == without.digest
    before, after = rows_after(night, without), rows_after(night, with_rules)
    assert after.keys() == before.keys()
    for key_id, row in after.items():
        assert replace(row, owner=None, owner_from=None) == replace(
            before[key_id], owner=None, owner_from=None
        )


@law
@given(owned_nights(), st.permutations(RULES))
def test_an_owner_that_was_assigned_or_issued_is_never_overwritten_and_none_is_lost(
    drawn: tuple[SweepInput, Policy], rules: list[OwnerRule]
) -> None:
    night, policy = drawn
    after = rows_after(night, planned((night, replace(policy, owners=tuple(rules)))))
    for key_id, row in night.rows.items():
        if row.owner is not None and row.owner_from is not OwnerFrom.FOUND:
            assert (after[key_id].owner, after[key_id].owner_from) == (row.owner, row.owner_from)
        if row.issued or row.owner is not None:
            assert after[key_id].owner is not None or row.owner is None
        if row.issued:
            assert after[key_id].owner == row.owner


@law
@given(owned_nights(), st.permutations(RULES))
def test_after_a_night_the_ledger_has_what_the_rules_find_and_the_next_writes_nothing(
    drawn: tuple[SweepInput, Policy], rules: list[OwnerRule]
) -> None:
    night, policy = drawn
    policy = replace(policy, owners=tuple(rules))
    after = rows_after(night, planned((night, policy)))
    finds = OwnerRules(policy.owners).find
    for key in night.keys:
        row, found = after[key.key_id], finds(key)
        known = night.rows.get(key.key_id)
        if known is None or (known.owner is None and not known.issued):
            assert (row.owner, row.owner_from) == (
                (found.owner, OwnerFrom.FOUND) if found else (None, None)
            )
    again = planned((replace(night, rows=after), policy))
    assert not [note for note in again.notes if isinstance(note, Belongs | Adopt)]
    assert again.found_owners == {}


def test_an_owner_that_was_found_follows_the_rules_and_stays_if_none_fits_any_more() -> None:
    policy = replace(a_policy(), owners=RULES[1:])
    rows = [
        a_row("edited", owner="ann", owner_from=OwnerFrom.FOUND),
        a_row("emptied", owner="ann", owner_from=OwnerFrom.FOUND),
        a_row("same", owner="ann", owner_from=OwnerFrom.FOUND),
    ]
    night = a_night(
        a_key("edited", description="user=bob"),
        a_key("emptied"),
        a_key("same", description="user=ann"),
        rows=rows,
    )
    plan = planned((night, policy))
    assert [note for note in plan.notes if isinstance(note, Belongs)] == [Belongs(rows[0], "bob")]
    assert [row.owner for row in rows_after(night, plan).values()] == ["bob", "ann", "ann"]


def test_a_dry_run_names_the_owners_that_it_found_and_counts_them() -> None:
    policy = replace(a_policy(), owners=RULES)
    night = a_night(
        a_key("k0", description="user=ann"),
        a_key("k1"),
        a_key("k2", description="user=bob"),
        a_key("k3", description="user=bob"),
        rows=[a_row("k2"), a_row("k3", owner="eve", owner_from=OwnerFrom.ASSIGNED)],
        evidence=an_evidence(),
    )
    plan = decide(night, bound(policy, night.evidence))
    assert [(line["owner"], line["owner_from"]) for line in key_lines(plan)] == [
        ("ann", "found"),
        (None, None),
        ("bob", "found"),
        ("eve", "assigned"),
    ]
    assert answer(SweepInvocation(at(TODAY), Mode.OBSERVE), plan=plan)["owners_found"] == 2
    nothing = decide(night, bound(a_policy(), night.evidence))
    assert "owners_found" not in answer(SweepInvocation(at(TODAY), Mode.OBSERVE), plan=nothing)


def test_rules_take_a_few_calls_more_for_each_key() -> None:
    night, tied = an_account_to_judge(400)
    night = replace(night, keys=[replace(key, description="user=ann") for key in night.keys])
    ruled = replace(tied, policy=replace(tied.policy, owners=RULES))
    more = calls_of(lambda: decide(night, ruled)) - calls_of(lambda: decide(night, tied))
    assert 400 * 5 < more < 400 * 45
