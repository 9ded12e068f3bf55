"""What was told of a key and what was not, and what a late telling does to its dates."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.expiry.notice import (
    as_told_today,
    digest_day,
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
    row = a_warned_row(ends_on=TODAY + DAY * 14)
    assert told_late(row, LATER) == row
    assert untold({KEY_ID: row}, [], {}) == {}
    expiring = an_event("Key Expiring")
    assert untold({KEY_ID: row}, [expiring], {}) == {}
    answer = Announcement(f"{TODAY}#Request#r", "Key Issued", {"key_id": KEY_ID})
    assert untold({KEY_ID: row}, [expiring, answer], {})[KEY_ID].since == TODAY


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
