"""The events that tell other systems what became of a key."""

from typing import Any

import pytest

from keyjanitor.domain.expiry.events import announce
from keyjanitor.domain.model.keys import State
from keyjanitor.domain.model.records import Announcement, Row
from tests.builders import (
    CONTACT,
    TODAY,
    a_disabled_row,
    a_parked_row,
    a_policy,
    a_row,
    a_tier,
    a_warned_row,
    unclaimed,
)


def told(row: Row, **policy: Any) -> Announcement:
    return announce(row, a_policy(a_tier()), TODAY)


def detail(**more: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "key_id": "k0",
        "owner": None,
        "tier": "external",
        "contact": CONTACT,
        **more,
    }


@pytest.mark.parametrize(
    ("row", "detail_type", "more"),
    [
        (
            a_warned_row(disable_in=14),
            "Key Expiring",
            {"disable_on": "2026-12-05", "reason": "idle"},
        ),
        (a_disabled_row(park_in=14), "Key Disabled", {"park_on": "2026-12-05", "reason": "idle"}),
        (
            a_parked_row(purge_in=30, reason="idle"),
            "Key Parked",
            {"restorable_until": "2026-12-21", "reason": "idle"},
        ),
        (a_row(state=State.PURGED), "Key Purged", {}),
        (
            a_row(reason="enabled again", restored_on=TODAY),
            "Key Restored",
            {"reason": "enabled again"},
        ),
    ],
)
def test_each_step_has_its_event_with_the_next_date(
    row: Row, detail_type: str, more: dict[str, Any]
) -> None:
    assert told(row) == Announcement(
        f"2026-11-21#{detail_type.replace(' ', '')}#k0", detail_type, detail(**more)
    )


def test_an_event_names_the_owner_and_the_id_before_a_restore() -> None:
    row = a_row(owner="user-8f1c", previous_key_ids=("old", "older"), reason="restored")
    assert told(row).detail == detail(owner="user-8f1c", previous_key_id="older", reason="restored")


@pytest.mark.parametrize("tier", ["gone", "unclaimed"])
def test_a_tier_without_a_contact_has_none_in_its_events(tier: str) -> None:
    policy = a_policy(a_tier(), unclaimed(contact=None))
    assert announce(a_row(tier=tier), policy, TODAY).detail == detail(tier=tier, contact=None)


@pytest.mark.parametrize("state", [State.RESTORED, State.GONE])
def test_no_event_tells_of_a_key_that_lives_elsewhere_or_was_deleted_by_others(
    state: State,
) -> None:
    with pytest.raises(ValueError, match=str(state)):
        told(a_row(state=state))


def test_a_step_taken_up_again_is_announced_under_the_same_id() -> None:
    assert told(a_warned_row()).announcement_id == told(a_warned_row(version=9)).announcement_id
