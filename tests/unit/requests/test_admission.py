"""Who may have what he asks for: the first refusal that fits, and nobody beyond what there is room for."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.model.keys import LIVE_STATES, ApiKey, State
from keyjanitor.domain.model.owners import Mark
from keyjanitor.domain.model.policy import Owned, Policy, PressureRule, Tier
from keyjanitor.domain.model.records import Burst, Row
from keyjanitor.domain.requests.admission import (
    end_of_life,
    is_in_a_tier,
    judge_asker,
    judge_bounds,
    judge_dates,
    judge_key,
    judge_life,
    judge_stranger,
)
from keyjanitor.domain.requests.census import (
    Admissions,
    Batch,
    Census,
    Spent,
    Want,
    batch_of,
    owner_mark,
    still_at_work,
    with_refused,
)
from keyjanitor.domain.requests.key_request import OPERATOR, Action, Code, KeyRequest, Refusal
from tests.builders import (
    ADMIN,
    ASKER,
    DAY,
    KEY_ID,
    PORTAL,
    TODAY,
    YESTERDAY,
    a_key,
    a_policy,
    a_request,
    a_row,
    a_tier,
    an_issued_row,
    an_issuing_tier,
    at,
    days_ago,
    in_days,
)

POLICY = a_policy(an_issuing_tier())
NOW = at(TODAY, 3)
OTHERS = "arn:aws:iam::123456789012:role/others"
NEEDS_A_LIVE_KEY = (
    Action.ROTATE,
    Action.RENEW,
    Action.PROTECT,
    Action.RELEASE,
    Action.ASSIGN,
)
OF_A_KEY = tuple(action for action in Action if action is not Action.ISSUE)


def code_of(refusal: Refusal | None) -> Code | None:
    return refusal.code if refusal else None


def asked(
    request: KeyRequest, row: Row | None = None, policy: Policy = POLICY, **tier: Any
) -> Code | None:
    """The code with which a request is refused by whom it comes from; `tier` is of `external`."""
    if tier:
        policy = a_policy(an_issuing_tier(**tier))
    return code_of(judge_asker(request, row, policy))


def of_key(
    action: Action,
    row: Row | None = None,
    key: ApiKey | None = None,
    stack: str | None = None,
    policy: Policy = POLICY,
) -> Refusal | None:
    """What the key itself says against an action."""
    state = State.PARKED if action is Action.RESTORE else State.ACTIVE
    row = row or an_issued_row(state=state)
    return judge_key(a_request(action), row, key or a_key(), stack, policy)


# --- the order of the codes -----------------------------------------------------------------------

# What is wrong with a request about a key, by the code that says so.
AILMENTS: Mapping[Code, Mapping[str, Any]] = {
    Code.UNKNOWN_TIER: {"tier": "gone"},
    Code.UNKNOWN_KEY: {"state": State.PURGED},
    Code.SENDER_NOT_ALLOWED: {"sender": "AROASTRANGER"},
    Code.RECIPIENT_NOT_ALLOWED: {"deliver_to": OTHERS},
    Code.OWNED_ELSEWHERE: {"owned_by": Mark("text", "Terraform")},
    Code.PROTECTED: {"protected_until": TODAY},
    Code.NOT_RESTORABLE: {"expires_on": TODAY},
    Code.TOO_MANY_KEYS: {"rotated_to": "k9"},
}
BY_ANYBODY = {Code.UNKNOWN_TIER, Code.UNKNOWN_KEY, Code.SENDER_NOT_ALLOWED}
REFUSES: Mapping[Action, set[Code]] = {
    Action.ROTATE: set(AILMENTS),
    Action.RENEW: BY_ANYBODY,
    Action.REVOKE: BY_ANYBODY | {Code.OWNED_ELSEWHERE, Code.PROTECTED},
    Action.PROTECT: BY_ANYBODY,
    Action.RELEASE: BY_ANYBODY,
}


def subsets(codes: Iterable[Code]) -> list[set[Code]]:
    codes = list(codes)
    return [set(some) for size in range(len(codes) + 1) for some in combinations(codes, size)]


def judged(action: Action, row: Row) -> Code | None:
    request = a_request(action)
    return code_of(
        judge_asker(request, row, POLICY) or judge_key(request, row, a_key(), None, POLICY)
    )


def first(codes: Iterable[Code]) -> Code | None:
    codes = set(codes)
    return next((code for code in Code if code in codes), None)


def test_the_codes_stand_in_the_order_of_the_contract() -> None:
    assert [str(code) for code in Code] == [
        "send_again",
        "conflicting_request",
        "invalid_request",
        "unknown_tier",
        "unknown_key",
        "sender_not_allowed",
        "recipient_not_allowed",
        "owned_elsewhere",
        "protected",
        "not_restorable",
        "too_many_keys",
        "capacity_exhausted",
        "tier_frozen",
        "budget_spent",
    ]


@pytest.mark.parametrize("action", REFUSES)
def test_of_all_that_is_wrong_the_first_is_told(action: Action) -> None:
    for wrong in subsets(AILMENTS):
        values: dict[str, Any] = {"state": State.ACTIVE}
        for code in wrong:
            values |= AILMENTS[code]
        row = an_issued_row(**values)
        assert judged(action, row) == first(wrong & REFUSES[action]), (action, wrong)


def test_of_all_that_is_wrong_with_a_restore_the_first_is_told() -> None:
    """A parked key is what it needs, and one that is not parked what it refuses."""
    ailments = {
        **AILMENTS,
        Code.NOT_RESTORABLE: {"state": State.ACTIVE, "expires_on": TODAY},
        Code.UNKNOWN_KEY: {},
    }
    refuses = {
        Code.UNKNOWN_TIER,
        Code.SENDER_NOT_ALLOWED,
        Code.OWNED_ELSEWHERE,
        Code.NOT_RESTORABLE,
    }
    for wrong in subsets(ailments):
        values: dict[str, Any] = {"state": State.PARKED}
        for code in wrong:
            values |= ailments[code]
        row = an_issued_row(**values)
        assert judged(Action.RESTORE, row) == first(wrong & refuses), wrong


def test_of_all_that_is_wrong_with_an_issue_the_first_is_told() -> None:
    ailments: Mapping[Code, Mapping[str, Any]] = {
        Code.UNKNOWN_TIER: {"tier": "gone"},
        Code.SENDER_NOT_ALLOWED: {"sender": ""},
        Code.RECIPIENT_NOT_ALLOWED: {"deliver_to": OTHERS},
    }
    for wrong in subsets(ailments):
        values: dict[str, Any] = {}
        for code in wrong:
            values |= ailments[code]
        assert asked(a_request(**values)) == first(wrong), wrong


def test_of_all_that_leaves_no_slot_the_first_is_told() -> None:
    """The owner's limit, then the account's room, then the pressure rules."""
    policy = a_policy(
        an_issuing_tier(max_keys_per_owner=1),
        service_quota=10,
        pressure=(PressureRule(0.5, 0.5, ("external",)),),
    )
    for too_many in (True, False):
        for keys, code in (
            (10, Code.CAPACITY_EXHAUSTED),
            (6, Code.TIER_FROZEN),
            (5, None),
        ):
            census = Census.of(
                Admissions(counted=keys, counted_at=NOW),
                {("external", "user-8f1c"): 1} if too_many else {},
                NOW,
            )
            refusal = census.admit(a_want(tier=policy.tiers["external"]), policy)
            expected = Code.TOO_MANY_KEYS if too_many else code
            assert code_of(refusal) == expected, (too_many, keys)


# --- dates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asks", "refusal"),
    [
        (a_request(), None),
        (a_request(expires_on=in_days(1)), None),
        (
            a_request(expires_on=TODAY),
            "expires_on: 2026-11-21 must be in the future; today is 2026-11-21",
        ),
        (
            a_request(expires_on=YESTERDAY),
            "expires_on: 2026-11-20 must be in the future; today is 2026-11-21",
        ),
        (a_request(Action.PROTECT, until=in_days(1)), None),
        (a_request(Action.PROTECT, until=TODAY), None),
        (
            a_request(Action.PROTECT, until=YESTERDAY),
            "until: 2026-11-20 is past; today is 2026-11-21",
        ),
        (a_request(Action.PROTECT, until=date.max), None),
    ],
)
def test_an_expiry_is_to_come_and_a_protection_may_end_today(
    asks: KeyRequest, refusal: str | None
) -> None:
    expected = refusal and Refusal(Code.INVALID_REQUEST, refusal)
    assert judge_dates(asks) == expected


# --- who asks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("senders", "sender", "allowed"),
    [
        (("*",), ASKER, True),
        ((ASKER,), ASKER, True),
        (("AROAOTHER", ASKER), ASKER, True),
        (("AROAOTHER",), ASKER, False),
        ((), ASKER, False),
        ((ASKER,), ASKER.lower(), False),
        ((ASKER,), ASKER[:-1], False),
        (("*",), "", False),
        (("",), "", False),
        # To act on every key is not to ask for new ones.
        ((ASKER,), ADMIN, False),
    ],
)
def test_keys_are_issued_to_the_senders_of_the_tier(
    senders: tuple[str, ...], sender: str, allowed: bool
) -> None:
    expected = None if allowed else Code.SENDER_NOT_ALLOWED
    assert asked(a_request(sender=sender), senders=senders) == expected


@pytest.mark.parametrize(
    ("deliver_to", "allowed"),
    [(PORTAL, True), (OTHERS, False), (f"{PORTAL}s", False), ("*", False), ("", False)],
)
def test_a_key_is_delivered_to_the_recipients_of_the_tier(deliver_to: str, allowed: bool) -> None:
    expected = None if allowed else Code.RECIPIENT_NOT_ALLOWED
    assert asked(a_request(deliver_to=deliver_to)) == expected


@pytest.mark.parametrize("action", OF_A_KEY)
@pytest.mark.parametrize(
    ("sender", "issued_to", "senders", "admins", "allowed"),
    [
        (ASKER, ASKER, ("*",), (), True),
        (ASKER, ASKER, (ASKER,), (), True),
        (ASKER, "AROAOTHER", ("*",), (), False),
        (ASKER, None, ("*",), (), False),
        # Who may no longer ask may no longer act on what he was issued before.
        (ASKER, ASKER, ("AROAOTHER",), (), False),
        (ADMIN, ASKER, ("*",), (ADMIN,), True),
        (ADMIN, None, (), (ADMIN,), True),
        (ASKER, None, (), ("*",), True),
        ("", "", ("*",), ("*",), False),
        ("", None, ("*",), ("*",), False),
    ],
)
def test_a_sender_acts_on_the_keys_it_was_issued_and_an_admin_on_all(
    action: Action,
    sender: str,
    issued_to: str | None,
    senders: tuple[str, ...],
    admins: tuple[str, ...],
    allowed: bool,
) -> None:
    state = State.PARKED if action is Action.RESTORE else State.ACTIVE
    row = an_issued_row(state=state, sender=issued_to)
    if action is Action.ASSIGN:
        allowed = allowed and bool(admins)  # whose a key is, is not for its sender to say
    code = asked(a_request(action, sender=sender), row, senders=senders, admins=admins)
    assert code == (None if allowed else Code.SENDER_NOT_ALLOWED)


@pytest.mark.parametrize("action", OF_A_KEY)
def test_the_senders_and_admins_of_another_tier_are_nobody(action: Action) -> None:
    policy = a_policy(
        an_issuing_tier(),
        an_issuing_tier("inner", senders=("AROAOTHER",), admins=("AROAOTHER",)),
    )
    state = State.PARKED if action is Action.RESTORE else State.ACTIVE
    for sender in (ASKER, ADMIN):
        row = an_issued_row(state=state, tier="inner", sender=sender)
        assert asked(a_request(action, sender=sender), row, policy) == Code.SENDER_NOT_ALLOWED


@pytest.mark.parametrize(
    ("deliver_to", "allowed"), [(PORTAL, True), (OTHERS, False), (None, False), ("", False)]
)
def test_a_rotated_key_goes_to_whom_the_old_one_was_delivered(
    deliver_to: str | None, allowed: bool
) -> None:
    row = an_issued_row(deliver_to=deliver_to)
    for sender in (ASKER, ADMIN):
        expected = None if allowed else Code.RECIPIENT_NOT_ALLOWED
        assert asked(a_request(Action.ROTATE, sender=sender), row) == expected
    for action in (Action.RENEW, Action.REVOKE, Action.PROTECT, Action.RELEASE):
        assert asked(a_request(action), row) is None


@pytest.mark.parametrize(("deliver_to", "allowed"), [("", True), (PORTAL, True), (OTHERS, False)])
def test_an_assigned_key_may_get_a_recipient_of_its_tier(deliver_to: str, allowed: bool) -> None:
    row = a_row()
    for sender in (ADMIN, OPERATOR):
        request = a_request(Action.ASSIGN, sender=sender, deliver_to=deliver_to)
        assert asked(request, row) == (None if allowed else Code.RECIPIENT_NOT_ALLOWED)


def test_an_operator_assigns_a_key_whose_tier_is_gone_but_names_no_recipient_in_it() -> None:
    row = an_issued_row(tier="gone")
    assert asked(a_request(Action.ASSIGN, sender=OPERATOR), row) is None
    request = a_request(Action.ASSIGN, sender=OPERATOR, deliver_to=PORTAL)
    assert asked(request, row) == Code.UNKNOWN_TIER
    assert asked(a_request(Action.ASSIGN, sender=ADMIN), row) == Code.UNKNOWN_TIER


# --- the tier, and the state of the key -----------------------------------------------------------


def test_a_tier_that_the_policy_does_not_know() -> None:
    refusal = Refusal(Code.UNKNOWN_TIER, "policy.toml has no tier 'gone'")
    assert judge_asker(a_request(tier="gone"), None, POLICY) == refusal
    of_a_key = Refusal(
        Code.UNKNOWN_TIER,
        "key k0 is in tier 'gone', which policy.toml does not have: no other tier says who may act "
        "on it",
    )
    for action in OF_A_KEY:
        assert judge_asker(a_request(action), an_issued_row(tier="gone"), POLICY) == of_a_key


def test_a_found_key_of_a_tier_that_is_gone_is_the_admins_of_unclaimed() -> None:
    policy = a_policy(an_issuing_tier(), an_issuing_tier("unclaimed", admins=("AROAOTHER",)))
    found = an_issued_row(tier="gone", issued=False, sender=None)
    for sender, code in (("AROAOTHER", None), (ADMIN, Code.SENDER_NOT_ALLOWED)):
        request = a_request(Action.REVOKE, sender=sender)
        assert code_of(judge_asker(request, found, policy)) == code


@pytest.mark.parametrize("action", OF_A_KEY)
def test_a_key_that_the_ledger_does_not_know(action: Action) -> None:
    assert judge_asker(a_request(action), None, POLICY) == Refusal(
        Code.UNKNOWN_KEY,
        "k0: the ledger knows no such key. A key made by others is known from the first sweep after "
        "it was made",
    )


@pytest.mark.parametrize("state", State)
def test_what_may_be_asked_of_a_key_in_each_state(state: State) -> None:
    refused = {action: judged(action, an_issued_row(state=state)) for action in OF_A_KEY}
    expected: dict[Action, Code | None] = dict.fromkeys(OF_A_KEY, Code.UNKNOWN_KEY)
    if state in LIVE_STATES:
        expected = {**dict.fromkeys(OF_A_KEY), Action.RESTORE: Code.NOT_RESTORABLE}
    elif state is State.PARKED:
        expected |= {Action.REVOKE: None, Action.RESTORE: None}
    else:
        expected[Action.RESTORE] = Code.NOT_RESTORABLE
    assert refused == expected


@pytest.mark.parametrize("action", NEEDS_A_LIVE_KEY)
def test_what_a_parked_key_needs_first_is_a_restore(action: Action) -> None:
    row = an_issued_row(state=State.PARKED, parked_on=YESTERDAY)
    assert judge_asker(a_request(action), row, POLICY) == Refusal(
        Code.UNKNOWN_KEY, "key k0 was parked on 2026-11-20; ask for its restore first"
    )


@pytest.mark.parametrize("action", [*NEEDS_A_LIVE_KEY, Action.REVOKE])
def test_a_key_that_is_gone_for_good_is_unknown(action: Action) -> None:
    assert judge_asker(a_request(action), an_issued_row(state=State.REVOKED), POLICY) == Refusal(
        Code.UNKNOWN_KEY, "key k0 is revoked: gone for good"
    )


def test_a_key_that_is_not_parked_is_not_restored() -> None:
    assert of_key(Action.RESTORE, an_issued_row(state=State.DISABLED)) == Refusal(
        Code.NOT_RESTORABLE, "key k0 is disabled, not parked"
    )


# --- whose the key is, and what shields it --------------------------------------------------------

OWNED = {
    "stack": (an_issued_row(), a_key(), "shop", "stack shop"),
    "ledger": (an_issued_row(owned_by=Mark("text", "Terraform")), a_key(), None, "Terraform"),
    "stack tag": (
        an_issued_row(),
        a_key(tags={"aws:cloudformation:stack-name": "shop"}),
        None,
        "stack shop",
    ),
    "tag": (an_issued_row(), a_key(tags={"terraform": "yes"}), None, "tag terraform=yes"),
    "description": (
        an_issued_row(),
        a_key(description="Managed by Terraform"),
        None,
        "description 'Managed by Terraform'",
    ),
    "name": (an_issued_row(), a_key(name="cdk-17"), None, "name prefix 'cdk-'"),
}


@pytest.mark.parametrize("how", OWNED)
def test_a_key_that_others_own_is_neither_rotated_nor_revoked_nor_restored(how: str) -> None:
    row, key, stack, owner = OWNED[how]
    policy = a_policy(
        an_issuing_tier(), owned=Owned(("Managed by Terraform",), ("terraform",), ("cdk-",))
    )
    refusal = Refusal(Code.OWNED_ELSEWHERE, f"key {KEY_ID} belongs to {owner}; change it there")
    parked = replace(row, state=State.PARKED)
    assert {
        action: of_key(action, parked if action is Action.RESTORE else row, key, stack, policy)
        for action in OF_A_KEY
    } == {
        Action.ROTATE: refusal,
        Action.RENEW: None,
        Action.REVOKE: refusal,
        Action.RESTORE: refusal,
        Action.PROTECT: None,
        Action.RELEASE: None,
        Action.ASSIGN: None,
    }


def test_the_owner_of_a_key_that_is_no_more_is_known_from_the_ledger() -> None:
    row = an_issued_row(owned_by=Mark("text", "Terraform"))
    assert judge_key(a_request(Action.REVOKE), row, None, None, POLICY) == Refusal(
        Code.OWNED_ELSEWHERE, "key k0 belongs to Terraform; change it there"
    )
    free = an_issued_row()
    assert judge_key(a_request(Action.REVOKE), free, None, None, POLICY) is None


@pytest.mark.parametrize(
    ("row", "key", "reason"),
    [
        (
            an_issued_row(protected_until=in_days(9)),
            a_key(),
            "key k0 is protected until 2026-11-30; release it first",
        ),
        (
            an_issued_row(protected_until=TODAY),
            a_key(),
            "key k0 is protected until 2026-11-21; release it first",
        ),
        (
            an_issued_row(),
            a_key(tags={"keyjanitor:keep": ""}),
            "key k0 has the tag keyjanitor:keep",
        ),
        (an_issued_row(protected_until=YESTERDAY), a_key(), None),
        (an_issued_row(), a_key(tags={"keyjanitor:kept": "yes"}), None),
        (an_issued_row(), a_key(tags=None), None),
    ],
)
def test_a_protected_key_is_neither_rotated_nor_revoked(
    row: Row, key: ApiKey, reason: str | None
) -> None:
    refusal = reason and Refusal(Code.PROTECTED, reason)
    parked = replace(row, state=State.PARKED)
    assert {
        action: of_key(action, parked if action is Action.RESTORE else row, key)
        for action in OF_A_KEY
    } == {
        **dict.fromkeys(OF_A_KEY),
        Action.ROTATE: refusal,
        Action.REVOKE: refusal,
    }


@pytest.mark.parametrize(
    ("expires_on", "refusal"),
    [
        (None, None),
        (in_days(1), None),
        (
            TODAY,
            Refusal(
                Code.NOT_RESTORABLE,
                "the agreed end of key k0, 2026-11-21, has come; renew it first, or ask for another "
                "key",
            ),
        ),
    ],
)
def test_a_key_whose_agreed_end_has_come_is_not_rotated(
    expires_on: date | None, refusal: Refusal | None
) -> None:
    row = an_issued_row(expires_on=expires_on)
    told = {action: of_key(action, row) for action in OF_A_KEY if action is not Action.RESTORE}
    assert told == {**dict.fromkeys(told), Action.ROTATE: refusal}


def test_a_key_is_rotated_once() -> None:
    row = an_issued_row(rotated_to="k9", expires_on=in_days(7))
    told = {action: of_key(action, row) for action in OF_A_KEY if action is not Action.RESTORE}
    assert told == {
        **dict.fromkeys(told),
        Action.ROTATE: Refusal(
            Code.TOO_MANY_KEYS, "key k0 was rotated to k9 already; rotate that one"
        ),
    }


# --- counting: the owner --------------------------------------------------------------------------


def a_want(
    action: Action = Action.ISSUE, owner: str | None = "user-8f1c", tier: Tier | None = None
) -> Want:
    return Want(action, tier or POLICY.tiers["external"], owner)


def a_census(
    keys: int = 0,
    holders: Mapping[tuple[str, str | None], int] | None = None,
    *batches: Batch,
    made: int = 0,
) -> Census:
    admissions = Admissions(
        counted=keys,
        counted_at=NOW,
        made=made,
        batches={f"run {number}": batch for number, batch in enumerate(batches)},
    )
    return Census.of(admissions, holders or {}, NOW)


def admitted(census: Census, wants: Iterable[Want], policy: Policy = POLICY) -> list[bool]:
    return [census.admit(want, policy) is None for want in wants]


def test_an_owner_has_so_many_keys_in_a_tier_and_no_more() -> None:
    census = a_census()
    assert admitted(census, [a_want()] * 3) == [True, True, False]
    assert admitted(census, [a_want(owner="another")]) == [True]


@pytest.mark.parametrize(
    ("action", "has", "refusal"),
    [
        (Action.ISSUE, 1, None),
        (Action.ISSUE, 2, "the owner has 2 keys in tier external, 2 are allowed"),
        (Action.ROTATE, 2, None),
        (Action.ROTATE, 3, None),
        (Action.ROTATE, 4, "the owner has 4 keys in tier external, 4 are allowed"),
        (Action.RESTORE, 2, None),
        (Action.RESTORE, 9, None),
    ],
)
def test_a_rotation_may_have_old_and_new_at_once_and_a_restore_is_not_counted(
    action: Action, has: int, refusal: str | None
) -> None:
    census = a_census(holders={("external", "user-8f1c"): has})
    expected = refusal and Refusal(Code.TOO_MANY_KEYS, refusal)
    assert census.admit(a_want(action), POLICY) == expected


def test_the_keys_that_nobody_owns_are_nobodys_too_many() -> None:
    census = a_census(holders={("external", None): 9})
    for action in (Action.ISSUE, Action.ROTATE, Action.RESTORE):
        assert admitted(census, [a_want(action, owner=None)] * 3) == [True] * 3
    assert admitted(census, [a_want(owner="None")]) == [True]


def test_the_keys_of_an_owner_in_another_tier_do_not_count_in_this() -> None:
    policy = a_policy(an_issuing_tier(), an_issuing_tier("inner", max_keys_per_owner=1))
    census = a_census(holders={("external", "user-8f1c"): 2})
    inner = [a_want(tier=policy.tiers["inner"])] * 2
    assert admitted(census, inner, policy) == [True, False]


def test_what_other_runs_have_admitted_counts_for_the_owner() -> None:
    other = batch_of([a_want()], NOW + timedelta(seconds=1))
    assert admitted(a_census(0, None, other), [a_want()] * 2) == [True, False]


# --- counting: room -------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [Action.ISSUE, Action.ROTATE, Action.RESTORE])
def test_the_service_quota_may_be_reached_and_not_passed(action: Action) -> None:
    """9,990 keys and 200 requests: ten are issued."""
    census = a_census(9_990)
    wants = [a_want(action, f"user-{number}") for number in range(200)]
    refusals = [census.admit(want, POLICY) for want in wants]
    full = Refusal(Code.CAPACITY_EXHAUSTED, "the account holds 10000 of 10000 API keys")
    assert refusals == [None] * 10 + [full] * 190


def test_an_account_beyond_its_quota_has_no_room() -> None:
    assert admitted(a_census(10_001), [a_want()]) == [False]


def test_the_census_is_the_count_what_was_made_since_and_what_is_being_made() -> None:
    batches = (
        Batch(NOW + timedelta(seconds=1), 3, {"external": 2, "inner": 1}, {"mark": 2}),
        Batch(NOW + timedelta(minutes=5), 1, {"external": 1}),
        Batch(NOW, 100, {"external": 100}, {"mark": 100}),  # its time is up
        Batch(NOW - DAY, 1000, {"external": 1000}),
    )
    holders = {("external", "a"): 2, ("inner", "a"): 1, ("external", None): 4}
    census = a_census(50, holders, *batches, made=7)
    assert census == Census(
        keys=50 + 7 + 3 + 1,
        tiers=census.tiers,
        owners=census.owners,
    )
    assert dict(census.tiers) == {"external": 6 + 2 + 1, "inner": 1 + 1}
    assert dict(census.owners) == {
        owner_mark("external", "a"): 2,
        owner_mark("inner", "a"): 1,
        "mark": 2,
    }


def test_a_batch_is_at_work_until_its_time_is_up() -> None:
    batches = {
        "over": Batch(NOW, 1),
        "long over": Batch(NOW - DAY, 1),
        "at work": Batch(NOW + timedelta(seconds=1), 1),
    }
    assert still_at_work(batches, NOW) == {"at work": batches["at work"]}


def test_a_batch_is_what_was_admitted_by_tier_and_owner() -> None:
    inner = an_issuing_tier("inner")
    wants = [
        a_want(owner="a"),
        a_want(Action.ROTATE, owner="a"),
        a_want(Action.RESTORE, owner=None),
        a_want(owner="a", tier=inner),
    ]
    until = NOW + timedelta(minutes=5)
    assert batch_of(wants, until) == Batch(
        until,
        4,
        {"external": 3, "inner": 1},
        {owner_mark("external", "a"): 2, owner_mark("inner", "a"): 1},
        new={"external": 1, "inner": 1},
        asked={owner_mark("external", ""): 1, owner_mark("inner", ""): 1},
    )
    assert batch_of([], until) == Batch(until, 0)


def test_a_key_that_was_admitted_before_takes_its_slot_whatever_the_room() -> None:
    census = a_census(10_000)
    census.take(a_want(owner="a"))
    census.take(a_want(Action.RESTORE, owner=None))
    assert (census.keys, census.tiers["external"]) == (10_002, 2)
    assert census.owners == {owner_mark("external", "a"): 1}


# --- counting: reserve ----------------------------------------------------------------------------

RESERVED = a_policy(
    an_issuing_tier(), an_issuing_tier("inner", reserve=5, max_keys_per_owner=100), service_quota=20
)


def test_what_is_reserved_for_a_tier_is_left_by_the_others() -> None:
    census = a_census(13, {("inner", "a"): 2})
    adapters = [a_want(owner=f"{n}") for n in range(9)]
    assert admitted(census, adapters, RESERVED) == [True] * 4 + [False] * 5
    assert census.admit(adapters[0], RESERVED) == Refusal(
        Code.CAPACITY_EXHAUSTED,
        "the account holds 17 of 20 API keys, and 3 are reserved for other tiers",
    )
    inside = [a_want(tier=RESERVED.tiers["inner"])] * 4
    assert admitted(census, inside, RESERVED) == [True] * 3 + [False]


def test_a_reserve_that_is_taken_up_is_kept_for_nobody() -> None:
    census = a_census(13, {("inner", "a"): 6})
    adapters = [a_want(owner=f"{n}") for n in range(9)]
    assert admitted(census, adapters, RESERVED) == [True] * 7 + [False] * 2


def test_what_others_are_making_in_a_tier_takes_up_its_reserve() -> None:
    inner = a_want(tier=RESERVED.tiers["inner"])
    making = batch_of([inner] * 5, NOW + timedelta(minutes=5))
    adapters = [a_want(owner=f"{n}") for n in range(9)]
    assert admitted(a_census(12, None, making), adapters, RESERVED) == [True] * 3 + [False] * 6


# --- counting: pressure -----------------------------------------------------------------------------


def test_a_frozen_tier_gets_no_new_keys_but_rotates_and_restores_what_it_has() -> None:
    policy = a_policy(
        an_issuing_tier(),
        an_issuing_tier("inner"),
        service_quota=100,
        pressure=(PressureRule(0.9, 0.5, ("external",)), PressureRule(0.95, 0.2, ("inner",))),
    )
    frozen = Refusal(
        Code.TIER_FROZEN, "tier external gets no new keys while the account holds 91 of 100"
    )
    assert a_census(90).admit(a_want(), policy) is None
    assert a_census(91).admit(a_want(), policy) == frozen
    assert a_census(91).admit(a_want(Action.ROTATE), policy) is None
    assert a_census(91).admit(a_want(Action.RESTORE), policy) is None
    inner = policy.tiers["inner"]
    assert a_census(95).admit(a_want(tier=inner), policy) is None
    # A rule is above those under it: what they freeze stays frozen.
    assert admitted(a_census(96), [a_want(), a_want(tier=inner)], policy) == [False, False]


def test_a_burst_freezes_its_own_tier_on_the_way() -> None:
    policy = a_policy(
        an_issuing_tier(), service_quota=100, pressure=(PressureRule(0.9, 0.5, ("external",)),)
    )
    wants = [a_want(owner=f"{n}") for n in range(20)]
    assert admitted(a_census(80), wants, policy) == [True] * 11 + [False] * 9


# --- laws -----------------------------------------------------------------------------------------

NAMES = ("one", "two", "three")
owners = st.sampled_from(["a", "b", "c", None])
a_slots_action = st.sampled_from([Action.ISSUE, Action.ROTATE, Action.RESTORE])


@st.composite
def policies(draw: st.DrawFn, *, pressure_row: bool = True) -> Policy:
    tiers = [
        an_issuing_tier(
            name,
            max_keys_per_owner=draw(st.integers(1, 4)),
            reserve=draw(st.integers(0, 4)),
        )
        for name in NAMES
    ]
    froze = st.lists(st.sampled_from(NAMES), unique=True).map(tuple)
    rules = (
        (PressureRule(0.5, 0.5, draw(froze)), PressureRule(0.8, 0.2, draw(froze)))
        if pressure_row
        else ()
    )
    return a_policy(*tiers, service_quota=draw(st.integers(12, 30)), pressure=rules)


holders_of_keys = st.dictionaries(
    st.tuples(st.sampled_from(NAMES), owners), st.integers(1, 3), max_size=6
)


def wants_of(
    policy: Policy, actions: st.SearchStrategy[Action] = a_slots_action
) -> st.SearchStrategy[list[Want]]:
    tiers = st.sampled_from(NAMES).map(lambda name: policy.tiers[name])
    return st.lists(st.builds(Want, actions, tiers, owners), max_size=25)


@given(st.data(), policies(), holders_of_keys, st.integers(0, 30))
def test_never_more_is_admitted_than_there_is_room(
    data: st.DataObject,
    policy: Policy,
    holders: Mapping[tuple[str, str | None], int],
    keys: int,
) -> None:
    census = a_census(keys, holders)
    count = sum(admitted(census, data.draw(wants_of(policy)), policy))
    assert count <= max(0, policy.service_quota - keys)
    assert census.keys == keys + count


@given(st.data(), policies(), holders_of_keys, st.integers(0, 30))
def test_no_owner_has_more_than_allowed_but_by_restores(
    data: st.DataObject,
    policy: Policy,
    holders: Mapping[tuple[str, str | None], int],
    keys: int,
) -> None:
    census = a_census(keys, holders)
    wants = data.draw(wants_of(policy, st.just(Action.ISSUE)))
    admitted(census, wants, policy)
    for name in NAMES:
        for owner in ("a", "b", "c"):
            limit = max(policy.tiers[name].max_keys_per_owner, holders.get((name, owner), 0))
            assert census.owners[owner_mark(name, owner)] <= limit


@given(st.data(), policies(pressure_row=False), holders_of_keys, st.integers(0, 30))
def test_what_is_reserved_can_be_had_whatever_others_ask_for(
    data: st.DataObject,
    policy: Policy,
    holders: Mapping[tuple[str, str | None], int],
    keys: int,
) -> None:
    census = a_census(keys, holders)
    tier = policy.tiers["one"]
    unused = max(0, tier.reserve - census.tiers["one"])
    reserved = sum(max(0, policy.tiers[n].reserve - census.tiers[n]) for n in NAMES)
    others = [want for want in data.draw(wants_of(policy)) if want.tier is not tier]
    admitted(census, others, policy)
    mine = [Want(Action.ISSUE, tier, None)] * unused
    if keys + reserved <= policy.service_quota:
        assert admitted(census, mine, policy) == [True] * unused


@given(
    st.data(),
    policies(pressure_row=False),
    holders_of_keys,
    st.integers(0, 30),
    a_slots_action,
)
def test_the_order_of_requests_of_a_kind_does_not_change_how_many_are_admitted(
    data: st.DataObject,
    policy: Policy,
    holders: Mapping[tuple[str, str | None], int],
    keys: int,
    action: Action,
) -> None:
    wants = data.draw(wants_of(policy, st.just(action)))
    others = data.draw(st.permutations(wants))
    counts = {sum(admitted(a_census(keys, holders), some, policy)) for some in (wants, others)}
    assert len(counts) == 1


@given(st.data(), policies(), holders_of_keys, st.integers(0, 30))
def test_two_runs_that_see_each_other_admit_what_one_would(
    data: st.DataObject,
    policy: Policy,
    holders: Mapping[tuple[str, str | None], int],
    keys: int,
) -> None:
    wants = data.draw(wants_of(policy))
    cut = data.draw(st.integers(0, len(wants)))
    together = admitted(a_census(keys, holders), wants, policy)
    first_run = admitted(a_census(keys, holders), wants[:cut], policy)
    given_ = [want for want, slot in zip(wants[:cut], first_run, strict=True) if slot]
    at_work = batch_of(given_, NOW + timedelta(minutes=5))
    second_run = admitted(a_census(keys, holders, at_work), wants[cut:], policy)
    assert first_run + second_run == together


tier_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,9}", fullmatch=True)
who = st.tuples(tier_names, st.text(max_size=12))


@given(st.lists(who, unique=True, max_size=20))
def test_no_two_owners_have_the_same_mark(pairs: list[tuple[str, str]]) -> None:
    assert len({owner_mark(tier, owner) for tier, owner in pairs}) == len(pairs)


def test_a_mark_tells_where_the_tier_ends_and_the_owner_begins() -> None:
    pairs = [("a", "b\0c"), ("a", "b"), ("ab", ""), ("a", "\0b"), ("a", ""), ("a-b", "c")]
    assert len({owner_mark(*pair) for pair in pairs}) == len(pairs)
    assert all(len(owner_mark(*pair)) == 16 for pair in pairs)


def test_the_mark_of_an_owner_is_the_same_in_every_run() -> None:
    assert owner_mark("external", "user-8f1c") == "bc059fdea64a2746"


# --- who is in no tier, and bounds of dates -------------------------------------------------------

STRANGER = "AROASTRANGER"


@pytest.mark.parametrize(
    ("sender", "inside"), [(ASKER, True), (ADMIN, True), (STRANGER, False), ("", False)]
)
def test_a_sender_or_an_admin_of_any_tier_is_in_a_tier(sender: str, inside: bool) -> None:
    policy = a_policy(a_tier("internal"), an_issuing_tier(senders=(ASKER,), admins=(ADMIN,)))
    assert is_in_a_tier(sender, policy) is inside


def test_a_stranger_learns_nothing_but_whether_a_tier_is_there() -> None:
    def told(action: Action, **more: Any) -> Refusal:
        return judge_stranger(a_request(action, **more), POLICY)

    unknown = Refusal(Code.UNKNOWN_TIER, "policy.toml has no tier 'gone'")
    assert told(Action.ISSUE, tier="gone", sender=STRANGER) == unknown
    for sender, who in ((STRANGER, STRANGER), ("", "a sender without an id")):
        reason = f"{who} is in no tier: see `senders` and `admins` in policy.toml"
        for action in Action:
            refusal = told(action, sender=sender)
            assert refusal == Refusal(Code.SENDER_NOT_ALLOWED, reason)


@pytest.mark.parametrize(
    ("life", "days", "allowed"),
    [(90, 90, True), (90, 91, False), (None, 366, True), (None, 367, False)],
)
def test_an_expiry_is_no_later_than_its_tier_allows_or_366_days(
    life: int | None, days: int, allowed: bool
) -> None:
    request = a_request(Action.ISSUE, expires_on=in_days(days))
    refusal = judge_bounds(request, a_tier(max_life_days=life))
    latest = in_days(life or 366)
    reason = (
        f"expires_on: {in_days(days)} is later than tier external allows; the latest is {latest}"
    )
    assert refusal == (None if allowed else Refusal(Code.INVALID_REQUEST, reason))


@pytest.mark.parametrize(("days", "allowed"), [(90, True), (91, False)])
def test_a_protection_is_no_longer_than_its_tier_allows(days: int, allowed: bool) -> None:
    request = a_request(Action.PROTECT, until=in_days(days))
    refusal = judge_bounds(request, a_tier(max_protect_days=90))
    reason = (
        f"until: {in_days(days)} is later than tier external allows; the latest is {in_days(90)}"
    )
    assert refusal == (None if allowed else Refusal(Code.INVALID_REQUEST, reason))
    assert judge_bounds(a_request(Action.RENEW), a_tier()) is None


def test_a_key_of_a_tier_with_a_longest_life_ends_after_it() -> None:
    assert end_of_life(a_tier(max_life_days=90), TODAY) == in_days(90)
    assert end_of_life(a_tier(max_life_days=None), TODAY) is None


@pytest.mark.parametrize(
    ("row", "life", "over"),
    [
        ({"expires_on": TODAY}, 90, True),
        ({"expires_on": YESTERDAY}, 90, True),
        ({"expires_on": in_days(1)}, 90, False),
        ({"expires_on": None}, 90, False),
        ({"expires_on": TODAY}, None, False),
        ({"expires_on": TODAY, "issued": False}, 90, False),
        ({"expires_on": TODAY, "tier": "gone"}, 90, False),
    ],
)
def test_the_end_of_a_key_is_not_lifted_in_a_tier_with_a_longest_life(
    row: dict[str, Any], life: int | None, over: bool
) -> None:
    policy = a_policy(an_issuing_tier(max_life_days=life))
    refusal = judge_life(an_issued_row(**row), TODAY, policy)
    assert code_of(refusal) == (Code.NOT_RESTORABLE if over else None)
    if refusal is not None:
        assert refusal.reason == (
            f"key {KEY_ID} has ended on {row['expires_on']}, and no key of tier external lives for more "
            "than 90 days; ask for another key"
        )


def test_a_key_that_somebody_else_disabled_is_not_rotated_and_one_that_we_disabled_is() -> None:
    disabled = a_key(enabled=False, changed=5)
    row = an_issued_row(state=State.DISABLED, our_update=at(days_ago(5)))
    assert of_key(Action.ROTATE, row, disabled) is None
    refusal = of_key(Action.ROTATE, an_issued_row(), disabled)
    assert refusal == Refusal(
        Code.PROTECTED,
        f"others have disabled key {KEY_ID}; it has no successor until enabled",
    )
    assert of_key(Action.REVOKE, an_issued_row(), disabled) is None
    gone = judge_key(a_request(Action.ROTATE), an_issued_row(), None, None, POLICY)
    assert gone is None


def test_a_refusal_of_a_recipient_names_it() -> None:
    def reason(deliver_to: str | None) -> str:
        row = an_issued_row(deliver_to=deliver_to)
        refusal = judge_asker(a_request(Action.ROTATE), row, POLICY)
        assert refusal is not None
        return refusal.reason

    where = "is not in `recipients` of tier external"
    assert reason(OTHERS) == f"deliver_to {OTHERS} {where}"
    assert reason(None) == f"no role (the key has no recipient on record) {where}"


# --- budgets of new keys --------------------------------------------------------------------------

HOUR = timedelta(hours=1)


def an_issue(sender: str = ASKER, tier: Tier | None = None) -> Want:
    return Want(Action.ISSUE, tier or an_issuing_tier(), None, sender)


def spent(new: int = 0, asked: int = 0, now: datetime = NOW) -> Admissions:
    """So many keys were issued in the tier on the day of NOW, and to ASKER in its hour."""
    made = Batch(now, 0, new={"external": new}, asked={owner_mark("external", ASKER): asked})
    return Admissions(spent=Spent().at(now).plus(made))


def test_what_was_spent_is_spent_until_the_day_or_the_hour_is_over() -> None:
    before = spent(new=3, asked=2).spent
    assert before.at(NOW + timedelta(minutes=59)) == before
    assert before.at(NOW + HOUR) == replace(before, hour=f"{NOW + HOUR:%Y-%m-%dT%H}", senders={})
    assert before.at(NOW + DAY) == Spent(
        f"{NOW + DAY:%Y-%m-%d}", f"{NOW + DAY:%Y-%m-%dT%H}", {}, {}
    )


def test_the_keys_that_a_run_has_made_are_added_to_what_was_spent() -> None:
    more = Batch(NOW, 0, new={"external": 4, "other": 1}, asked={"mark": 5})
    after = spent(new=3, asked=2).spent.plus(more)
    assert after.tiers == {"external": 7, "other": 1}
    assert after.senders == {owner_mark("external", ASKER): 2, "mark": 5}


@pytest.mark.parametrize(
    ("admissions", "limit"),
    [
        (spent(new=4, asked=1), None),
        (spent(new=5, asked=1), "new_keys_per_day"),
        (spent(new=2, asked=2), "new_keys_per_sender_per_hour"),
        (spent(new=5, asked=2), "new_keys_per_sender_per_hour"),
        (spent(new=5, asked=2, now=NOW - DAY), None),
        (spent(new=2, asked=2, now=NOW - HOUR), None),
    ],
)
def test_a_budget_of_new_keys_is_spent_when_so_many_were_issued(
    admissions: Admissions, limit: str | None
) -> None:
    tier = an_issuing_tier(new_keys_per_day=5, new_keys_per_sender_per_hour=2)
    want = an_issue(tier=tier)
    census = Census.of(admissions, {}, NOW)
    assert census.spent_limit(want) == limit
    refusal = census.admit(want, a_policy(tier))
    said = {
        None: None,
        "new_keys_per_day": "tier external allows 5 new keys a day (UTC), and they are spent",
        "new_keys_per_sender_per_hour": (
            "tier external allows 2 new keys an hour to one sender, and they are spent"
        ),
    }[limit]
    assert refusal == (Refusal(Code.BUDGET_SPENT, said) if said else None)
    # A rotation and a restore make no new key.
    for action in (Action.ROTATE, Action.RESTORE):
        assert census.spent_limit(replace(want, action=action)) is None


def test_the_budget_of_a_sender_is_its_own_and_that_of_the_day_is_the_tiers() -> None:
    tier = an_issuing_tier(new_keys_per_day=3, new_keys_per_sender_per_hour=2)
    policy = a_policy(tier)
    census = Census.of(Admissions(), {}, NOW)
    senders = [ASKER, ASKER, ASKER, "other", "other"]
    codes = [code_of(census.admit(an_issue(sender, tier), policy)) for sender in senders]
    assert codes == [None, None, Code.BUDGET_SPENT, None, Code.BUDGET_SPENT]
    assert census.new == {"external": 3}
    assert census.asked[owner_mark("external", ASKER)] == 2


def test_what_other_runs_are_issuing_is_spent() -> None:
    other = batch_of(
        [an_issue(), an_issue("x"), replace(an_issue(), action=Action.ROTATE)], NOW + HOUR
    )
    census = Census.of(Admissions(batches={"run": other}), {}, NOW)
    assert census.new == {"external": 2}
    assert census.asked == {owner_mark("external", ASKER): 1, owner_mark("external", "x"): 1}


def bursts_after(*refused: Want, before: Iterable[Burst] = (), now: datetime = NOW) -> list[Burst]:
    census = Census.of(spent(asked=1), {}, NOW)
    return list(with_refused(before, refused, census, now))


NARROW = an_issuing_tier(new_keys_per_sender_per_hour=1)


def a_burst(**more: Any) -> Burst:
    values: dict[str, Any] = {"since": NOW, "last": NOW, "refused": 1, **more}
    limit = values.pop("limit", "new_keys_per_sender_per_hour")
    return Burst("external", limit, values.pop("sender", ASKER), **values)


def test_refusals_of_one_budget_are_one_burst_until_two_hours_bring_none() -> None:
    want = an_issue(tier=NARROW)
    assert bursts_after(want, want, an_issue("x", NARROW)) == [a_burst(refused=2)]
    later = NOW + timedelta(hours=2)
    goes_on = a_burst(refused=3, last=later)
    assert bursts_after(want, before=[a_burst(refused=2)], now=later) == [goes_on]
    after = later + timedelta(seconds=1)
    assert bursts_after(want, before=[a_burst(refused=2)], now=after) == [
        a_burst(since=after, last=after)
    ]
    assert bursts_after(before=[a_burst(refused=2)]) == [a_burst(refused=2)]


def test_the_last_twenty_bursts_are_kept() -> None:
    many = [a_burst(sender=f"s{n:02}", last=NOW + timedelta(minutes=n)) for n in range(25)]
    assert bursts_after(before=reversed(many)) == many[5:]
