"""What was told of a key and what was not, and what a late telling does to its dates."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.expiry.notice import (
    as_told_today,
    digest_day,
    digest_days,
    not_in_a_digest,
    oldest_untold,
    untold,
    written_on,
)
from keyjanitor.domain.expiry.transitions import next_step_on, told_late
from keyjanitor.domain.model.keys import State
from keyjanitor.domain.model.records import Announcement, NightRow, Row
from tests.builders import DAY, KEY_ID, TODAY

LATER = TODAY + DAY * 5


def a_warned_row(warned_on: date = TODAY, notice: int = 14, **more: object) -> Row:
    row = Row(
        KEY_ID,
        State.WARNED,
        "external",
        warned_on=warned_on,
        disable_on=warned_on + DAY * notice,
    )
    return replace(row, **more)  # type: ignore[arg-type]


def a_disabled_row(disabled_on: date = TODAY, grace: int = 14, **more: object) -> Row:
    row = a_warned_row(disabled_on - DAY * 14, disable_on=None)
    row = replace(
        row, state=State.DISABLED, disabled_on=disabled_on, park_on=disabled_on + DAY * grace
    )
    return replace(row, **more)  # type: ignore[arg-type]


def an_event(detail_type: str, on: date = TODAY, key_id: str = KEY_ID) -> Announcement:
    name = f"{on}#{detail_type.replace(' ', '')}#{key_id}"
    field = "disable_on" if detail_type == "Key Expiring" else "park_on"
    return Announcement(name, detail_type, {"key_id": key_id, field: str(on + DAY * 14)})


def told(row: Row) -> dict[date, NightRow]:
    day = digest_day(row)
    return {day: NightRow(day, told=(row.key_id,))} if day else {}


def test_a_key_whose_event_was_taken_and_whose_digest_was_published_was_told() -> None:
    row = a_warned_row()
    assert untold({KEY_ID: row}, [], told(row)) == {}


def test_a_key_is_untold_by_the_event_or_the_digest_that_waits() -> None:
    row = a_warned_row()
    by_event = untold({KEY_ID: row}, [an_event("Key Expiring")], told(row))[KEY_ID]
    assert (by_event.what, by_event.since) == ("its event Key Expiring", TODAY)
    other = {TODAY: NightRow(TODAY, told=("another",))}
    by_digest = untold({KEY_ID: row}, [], other)[KEY_ID]
    assert (by_digest.what, by_digest.since) == (f"the digest of {TODAY}", TODAY)


def test_an_event_of_an_earlier_warning_says_nothing_of_this_one() -> None:
    row = a_warned_row(warned_on=LATER)
    earlier = an_event("Key Expiring", TODAY)
    assert untold({KEY_ID: row}, [earlier], told(row)) == {}
    assert as_told_today(earlier, row, LATER) == (None, None)


def test_a_disabled_key_asks_for_its_event_alone_unless_its_parking_was_warned_of_again() -> None:
    row = a_disabled_row()
    assert untold({KEY_ID: row}, [], {}) == {}
    assert untold({KEY_ID: row}, [an_event("Key Disabled")], {})[KEY_ID].since == TODAY
    again = replace(row, warned_on=LATER)
    assert untold({KEY_ID: again}, [], {})[KEY_ID].what == f"the digest of {LATER}"


def test_an_id_without_a_date_stops_nothing() -> None:
    strange = Announcement("None#Request#r", "Key Expiring", {"key_id": KEY_ID})
    row = a_warned_row()
    assert written_on(strange) is None
    assert untold({KEY_ID: row}, [strange], told(row)) == {}
    assert oldest_untold([row], [strange], told(row)) is None
    assert as_told_today(strange, row, LATER) == (strange, None)


def test_a_disabling_that_is_told_late_is_told_though_its_key_is_gone() -> None:
    event = an_event("Key Disabled")
    assert as_told_today(event, None, LATER) == (event, None)
    assert as_told_today(an_event("Key Expiring"), None, LATER) == (None, None)


def test_the_event_says_the_date_that_the_row_has_after_it() -> None:
    row = a_disabled_row()
    event, after = as_told_today(an_event("Key Disabled"), row, LATER)
    assert event is not None
    assert after is not None
    assert event.detail["park_on"] == str(after.park_on) == str(LATER + DAY * 14)
    # Told again on that date, whatever the first telling came to: the same date.
    once_more, unchanged = as_told_today(an_event("Key Disabled"), after, LATER)
    assert (once_more, unchanged) == (event, None)


def test_an_agreed_end_does_not_move_and_does_not_wait_for_a_digest() -> None:
    row = a_warned_row(expires_on=TODAY + DAY * 14)
    assert told_late(row, LATER) == row
    assert untold({KEY_ID: row}, [], {}) == {}
    expiring = an_event("Key Expiring")
    assert untold({KEY_ID: row}, [expiring], {}) == {}
    answer = Announcement(f"{TODAY}#Request#r", "Key Issued", {"key_id": KEY_ID})
    assert untold({KEY_ID: row}, [expiring, answer], {})[KEY_ID].since == TODAY


def test_a_digest_names_a_key_that_was_warned_and_not_disabled_since() -> None:
    assert digest_day(a_warned_row()) == TODAY
    assert digest_day(Row(KEY_ID, State.ACTIVE, "external", warned_on=TODAY)) is None
    active = Row(KEY_ID, State.ACTIVE, "external", warned_on=TODAY, park_on=LATER)
    assert digest_day(active) is None
    disabled = a_disabled_row(LATER)
    assert digest_day(disabled) is None
    assert digest_day(replace(disabled, warned_on=None)) is None
    assert digest_day(replace(disabled, warned_on=LATER)) is None
    assert digest_day(replace(disabled, warned_on=LATER + DAY)) == LATER + DAY
    assert digest_day(replace(disabled, disabled_on=None)) == LATER - DAY * 14
    assert digest_day(replace(disabled, disabled_on=None, park_on=None)) is None
    assert digest_day(replace(disabled, disabled_on=None, warned_on=None)) is None


def test_the_days_of_digests_are_those_of_the_keys_that_one_names() -> None:
    rows = [a_warned_row(), a_warned_row(), a_warned_row(LATER), a_disabled_row()]
    assert digest_days(rows) == {TODAY, LATER}


def test_the_keys_that_no_digest_names_come_by_the_date_of_their_warning() -> None:
    rows = [replace(a_warned_row(), key_id=name) for name in ("k1", "k2", "k3")]
    late = replace(a_warned_row(LATER), key_id="k4")
    nights = {TODAY: NightRow(TODAY, told=("k2",))}
    missing = not_in_a_digest([*rows, late, a_disabled_row()], nights)
    assert missing == {TODAY: [rows[0], rows[2]], LATER: [late]}


def test_a_rotated_key_is_told_of_its_end_by_the_answer_that_names_it_as_the_previous() -> None:
    row = a_warned_row(expires_on=TODAY + DAY * 14)
    waiting = [an_event("Key Expiring")]
    detail = {"key_id": "k9", "previous_key_id": KEY_ID}
    for kind in ("Key Rotated", "Key Issued"):
        answer = Announcement(f"{TODAY}#Request#r", kind, detail)
        assert untold({KEY_ID: row}, [answer, *waiting], {}).keys() == {KEY_ID}
    other = Announcement(f"{TODAY}#Request#r", "Key Revoked", detail)
    assert untold({KEY_ID: row}, [other, *waiting], {}) == {}


def test_an_event_of_a_key_without_a_row_or_without_a_next_step_says_nothing() -> None:
    assert untold({}, [an_event("Key Expiring")], {}) == {}
    cleared = a_disabled_row(park_on=None)
    assert untold({KEY_ID: cleared}, [an_event("Key Disabled")], {}) == {}
    assert as_told_today(an_event("Key Disabled"), cleared, LATER) == (
        an_event("Key Disabled"),
        None,
    )
    active = Row(KEY_ID, State.ACTIVE, "external", park_on=LATER, disable_on=LATER)
    assert untold({KEY_ID: active}, [an_event("Key Disabled")], {}) == {}


def test_an_event_of_another_kind_is_no_notice() -> None:
    row = a_disabled_row()
    for kind in ("Key Enabled", "Key Issued", "Key Revoked"):
        event = Announcement(f"{TODAY}#{kind}", kind, {"key_id": KEY_ID})
        assert untold({KEY_ID: row}, [event], {}) == {}
        assert as_told_today(event, row, LATER) == (event, None)


def test_a_warning_of_a_key_that_was_disabled_since_says_nothing_of_its_parking() -> None:
    row = a_disabled_row(LATER)
    expiring = an_event("Key Expiring", LATER - DAY * 14)
    assert untold({KEY_ID: row}, [expiring], {}) == {}
    assert as_told_today(expiring, row, LATER) == (None, None)


def test_the_parking_after_an_agreed_end_has_to_be_told() -> None:
    row = a_disabled_row(expires_on=TODAY)
    assert untold({KEY_ID: row}, [an_event("Key Disabled")], {})[KEY_ID].since == TODAY


def test_an_event_that_the_bus_takes_on_its_own_date_is_as_it_was_written() -> None:
    event = an_event("Key Expiring", LATER)
    assert as_told_today(event, a_warned_row(LATER), LATER) == (event, None)
    assert as_told_today(event, a_warned_row(LATER), TODAY) == (event, None)
    moved = a_warned_row(LATER, notice=20)
    assert as_told_today(event, moved, LATER) == (event, None)
    issued = Announcement(f"{TODAY}#Request#r", "Key Issued", {"key_id": KEY_ID})
    assert as_told_today(issued, a_warned_row(), LATER) == (issued, None)


def test_a_warning_that_is_told_late_says_the_later_date() -> None:
    event, after = as_told_today(an_event("Key Expiring"), a_warned_row(), LATER)
    assert after == replace(a_warned_row(), told_on=LATER, disable_on=LATER + DAY * 14)
    assert event == replace(
        an_event("Key Expiring"),
        detail={"key_id": KEY_ID, "disable_on": str(LATER + DAY * 14)},
    )


def test_a_parking_that_waits_for_the_bus_was_not_told_and_moves_the_purge() -> None:
    event = Announcement(f"{TODAY}#KeyParked", "Key Parked", {"key_id": KEY_ID})
    assert untold({}, [event], {})[KEY_ID].since == TODAY
    row = Row(KEY_ID, State.PARKED, "external", parked_on=TODAY, purge_on=TODAY + DAY * 90)
    told_event, after = as_told_today(event, row, LATER)
    assert after == replace(row, told_on=LATER, purge_on=LATER + DAY * 90)
    assert told_event is not None
    assert next_step_on(after) == LATER + DAY * 90
    assert str(LATER + DAY * 90) in told_event.detail.values()
    # Of a key that is only disabled, no parking can be told.
    disabled = a_disabled_row()
    assert as_told_today(event, disabled, LATER) == (event, None)


def test_the_oldest_that_waits_is_an_event_or_a_digest() -> None:
    row = a_warned_row(LATER)
    assert oldest_untold([row], [], told(row)) is None
    assert oldest_untold([row], [], {}) == LATER
    assert oldest_untold([row], [an_event("Key Disabled", TODAY)], {}) == TODAY
    assert oldest_untold([row], [an_event("Key Disabled", LATER + DAY)], {}) == LATER


MAKERS: list[Callable[..., Row]] = [a_warned_row, a_disabled_row]
DAYS = st.integers(0, 400).map(lambda days: timedelta(days=days))


@given(st.sampled_from(MAKERS), DAYS, st.lists(DAYS, max_size=4))
def test_a_late_telling_never_shortens_what_was_said(
    make: Callable[..., Row], notice: timedelta, late: list[timedelta]
) -> None:
    row = make(TODAY, notice.days)
    for on in sorted(TODAY + days for days in late):
        after = told_late(row, on)
        was, now = next_step_on(row), next_step_on(after)
        assert was is not None
        assert now is not None
        assert now >= was
        assert now - on >= notice or on == TODAY
        assert now <= max(was, on + notice)  # and waits no longer than that
        assert told_late(after, on) == after
        row = after
