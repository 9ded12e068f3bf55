"""What shields a key from a sweep, one shield at a time, and whether it was we who disabled it."""

from datetime import datetime
from typing import Any

import pytest

from keyjanitor.domain.expiry import reasons
from keyjanitor.domain.expiry.ownership import (
    disabled_by_us,
    is_tagged_to_keep,
    owner_by_marks,
    protection,
)
from keyjanitor.domain.model.key_ids import shown_id
from keyjanitor.domain.model.keys import ANSWER_MAY_DIFFER, ApiKey, State, SweepAction
from keyjanitor.domain.model.owners import Mark, Stack
from keyjanitor.domain.model.policy import Owned
from keyjanitor.domain.model.records import (
    Burst,
    Claim,
    Row,
    end_is_announced,
    is_our_update,
    row_id,
    stands_disabled,
    was_agreed,
)
from tests.builders import (
    DAY,
    TODAY,
    YESTERDAY,
    a_disabled_row,
    a_key,
    a_policy,
    a_row,
    a_warned_row,
    at,
    bound,
    days_ago,
    in_days,
)

BOUND = bound(a_policy(owned=Owned(("Managed by Terraform",), ("ManagedBy",), ("mgmt-",))))
STACK = {"aws:cloudformation:stack-name": "web"}


def shield(key: ApiKey, row: Row | None = None) -> reasons.Protected | None:
    return protection(key, row, TODAY, BOUND)


def test_a_key_without_a_shield_has_none() -> None:
    assert shield(a_key()) is None
    assert shield(a_key(), a_row()) is None
    assert shield(a_key(tags=None), a_row()) is None


@pytest.mark.parametrize(
    ("key", "because"),
    [
        (a_key(name="keyjanitor-restore-k0"), reasons.BeingRestored()),
        (a_key(shown_id("x" * 20)), reasons.IdMayBeValue()),
        (a_key(tags={"Keyjanitor:Keep": ""}), reasons.KeepTag()),
        (a_key(tags=STACK), reasons.OwnedBy(Stack("web"))),
        (a_key(tags={"managed-by": "x"}), reasons.OwnedBy(Mark("tag", "managed-by=x"))),
        (a_key(name="MGMT_app"), reasons.OwnedBy(Mark("name_prefix", "mgmt-"))),
        (
            a_key(description="managed by terraform, prod"),
            reasons.OwnedBy(Mark("description", "Managed by Terraform")),
        ),
        (a_key(enabled=False), reasons.DisabledByOthers()),
    ],
)
def test_a_key_is_shielded_by_what_it_bears(key: ApiKey, because: reasons.Protected) -> None:
    assert shield(key) == because
    assert shield(key, a_row(key.key_id)) == because


@pytest.mark.parametrize(
    ("more", "because"),
    [
        ({"owned_by": Stack("web")}, reasons.OwnedBy(Stack("web"))),
        ({"protected_until": TODAY}, reasons.ProtectedUntil(TODAY)),
        ({"protected_until": YESTERDAY}, None),
    ],
)
def test_a_key_is_shielded_by_what_its_row_says(
    more: dict[str, Any], because: reasons.Protected | None
) -> None:
    assert shield(a_key(), a_row(**more)) == because


def test_a_key_that_we_disabled_is_not_shielded_and_one_that_others_changed_since_is() -> None:
    ours = a_key(enabled=False, changed=14)
    assert shield(ours, a_disabled_row(disabled=14)) is None
    changed = a_key(enabled=False, changed=13)
    assert shield(changed, a_disabled_row(disabled=14)) == reasons.DisabledByOthers()
    assert disabled_by_us(changed, a_disabled_row(our_update=None))
    assert not disabled_by_us(ours, a_row(our_update=at(days_ago(14))))


def test_no_tag_but_keyjanitors_own_keeps_a_key() -> None:
    assert is_tagged_to_keep(a_key(tags={"keyjanitor:keep": "no"}))
    assert not is_tagged_to_keep(a_key(tags={"keep": "yes"}))
    assert not is_tagged_to_keep(a_key(tags=None))


def test_a_stack_is_named_before_any_other_mark() -> None:
    assert owner_by_marks(a_key(tags={"ManagedBy": "x", **STACK}), BOUND) == Stack("web")
    assert owner_by_marks(a_key(tags={"team": "x"}, description="by hand"), BOUND) is None


# --- what a row says of its key -------------------------------------------------------------------


def test_a_change_is_ours_if_it_came_no_later_than_the_answer_to_our_own() -> None:
    row = a_disabled_row(our_update=at(YESTERDAY))
    latest = at(YESTERDAY) + ANSWER_MAY_DIFFER
    assert is_our_update(a_key(last_updated_date=latest), row)
    assert not is_our_update(a_key(last_updated_date=latest + DAY / 86_400), row)
    assert not is_our_update(a_key(changed=9), a_disabled_row(our_update=None))


@pytest.mark.parametrize(
    ("dates", "agreed"),
    [
        ({"expires_on": days_ago(14), "disabled_on": days_ago(14)}, True),
        ({"expires_on": days_ago(13), "disabled_on": days_ago(14)}, False),
        ({"expires_on": days_ago(14), "disabled_on": None, "parked_on": days_ago(14)}, True),
        ({"expires_on": days_ago(9), "disabled_on": days_ago(14), "parked_on": TODAY}, False),
        ({"expires_on": days_ago(14), "disabled_on": None}, False),
        ({"expires_on": None, "disabled_on": days_ago(14)}, False),
    ],
)
def test_a_key_was_taken_at_its_agreed_end_if_that_had_come(
    dates: dict[str, Any], agreed: bool
) -> None:
    assert was_agreed(a_disabled_row(**dates)) is agreed


@pytest.mark.parametrize(
    ("dates", "announced"),
    [
        ({"expires_on": in_days(3), "disable_on": in_days(3)}, True),
        ({"expires_on": in_days(3), "disable_on": in_days(4)}, False),  # announced for idleness
        ({"expires_on": in_days(3), "disable_on": in_days(2)}, False),
        # The day after a warning that came on the end, or after it.
        ({"expires_on": TODAY, "warned_on": TODAY, "disable_on": in_days(1)}, True),
        ({"expires_on": days_ago(9), "warned_on": TODAY, "disable_on": in_days(1)}, True),
        ({"expires_on": in_days(2), "warned_on": TODAY, "disable_on": in_days(1)}, False),
        ({"expires_on": TODAY, "warned_on": TODAY, "disable_on": in_days(2)}, False),
        ({"expires_on": TODAY, "warned_on": None, "disable_on": in_days(1)}, False),
        ({"expires_on": None, "disable_on": in_days(3)}, False),
        ({"expires_on": None, "warned_on": TODAY, "disable_on": in_days(1)}, False),
        ({"expires_on": in_days(3), "disable_on": None}, False),
    ],
)
def test_an_end_is_announced_by_its_own_date_or_by_the_day_after_a_late_warning(
    dates: dict[str, Any], announced: bool
) -> None:
    assert end_is_announced(a_warned_row(**dates)) is announced


def test_the_end_of_a_key_that_is_not_warned_is_not_announced() -> None:
    dates: dict[str, Any] = {"expires_on": in_days(3), "disable_on": in_days(3)}
    assert not end_is_announced(a_row(**dates))
    assert not end_is_announced(a_disabled_row(**dates))


@pytest.mark.parametrize(
    ("enabled", "state", "so"),
    [
        (False, State.DISABLED, True),
        (True, State.DISABLED, False),
        (False, State.WARNED, False),
    ],
)
def test_a_key_stands_disabled_if_we_disabled_it_and_it_is_so_still(
    enabled: bool, state: State, so: bool
) -> None:
    assert stands_disabled(a_key(enabled=enabled), a_row(state=state)) is so


# --- a run that died ------------------------------------------------------------------------------

BEGAN, ENDED = at(TODAY, 3), at(TODAY, 4)
SECOND = DAY / 86_400


def a_claim(**more: Any) -> Claim:
    values: dict[str, Any] = {"at": BEGAN, "until": ENDED, "enabled": True, "updated": None, **more}
    return Claim(SweepAction.DISABLE, TODAY, **values)


@pytest.mark.parametrize(
    ("changed", "may"),
    [
        (BEGAN - ANSWER_MAY_DIFFER - SECOND, False),
        (BEGAN - ANSWER_MAY_DIFFER, True),
        (BEGAN, True),
        (ENDED, True),
        (ENDED + SECOND, False),
    ],
)
def test_a_run_may_have_disabled_what_was_changed_while_it_was_at_work(
    changed: datetime, may: bool
) -> None:
    assert a_claim().may_have_disabled(a_key(enabled=False, last_updated_date=changed)) is may


@pytest.mark.parametrize(
    "more", [{"at": None}, {"until": None}, {"enabled": False}, {"enabled": None}]
)
def test_a_run_that_does_not_say_when_or_that_saw_the_key_disabled_did_not_disable_it(
    more: dict[str, Any],
) -> None:
    key = a_key(enabled=False, last_updated_date=BEGAN)
    assert not a_claim(**more).may_have_disabled(key)


def test_a_run_did_not_disable_a_key_that_is_enabled_or_older_than_what_it_saw() -> None:
    assert not a_claim().may_have_disabled(a_key(enabled=True, last_updated_date=BEGAN))
    key = a_key(enabled=False, last_updated_date=BEGAN)
    assert a_claim(updated=BEGAN).may_have_disabled(key)
    assert not a_claim(updated=BEGAN + SECOND).may_have_disabled(key)


def test_a_request_is_remembered_by_its_id_and_its_sender() -> None:
    assert row_id("r1", "AROASENDER") == "r1 AROASENDER"


def test_a_burst_is_named_by_tier_limit_sender_and_minute() -> None:
    burst = Burst("external", "new_keys_per_day", "AROASENDER", BEGAN, ENDED, 3)
    assert burst.name == "external new_keys_per_day AROASENDER 2026-11-21T03:00Z"
