"""A month as an auditor asks for it: which events are its own, who lived at its end, and what its files hold."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.model.audit_event import AuditEvent
from keyjanitor.domain.report.audit_files import (
    EXCEPTIONS,
    audit_files,
    manifest,
    protections_in,
)
from keyjanitor.domain.report.audit_month import (
    AuditMonth,
    Month,
    Protection,
    each_once,
    exceptions,
    population,
)

NOVEMBER = Month(2026, 11)
LAST = date(2026, 11, 30)


def an_event(
    detail_type: str, key_id: str = "k1", *, at: datetime | None = None, **detail: Any
) -> AuditEvent:
    """An event of the afternoon of the month's last day."""
    time = at or datetime(2026, 11, 30, 15, tzinfo=UTC)
    return AuditEvent(
        f"{detail_type} {key_id} {time}", time, detail_type, {"key_id": key_id, **detail}
    )


def a_line(key_id: str = "k1", state: str = "active", **more: Any) -> tuple[date, dict[str, Any]]:
    """A key's line of the keys file of the month's last day."""
    line = {
        "key_id": key_id,
        "name": f"name of {key_id}",
        "owner": None,
        "tier": "external",
        "state": state,
        "enabled": state != "disabled",
        "created_date": "2026-01-01",
        "last_used": None,
        "verdict": "keep",
        "reason_code": "within_idle_limit",
        "reason": "idle for 1 day of 60",
        "facts": {},
        **more,
    }
    return LAST, line


def a_month(
    *lines: tuple[date, dict[str, Any]], events: Sequence[AuditEvent] = (), **more: Any
) -> AuditMonth:
    once, repeated = each_once(NOVEMBER, events)
    values: dict[str, Any] = {
        "account": "123456789012",
        "region": "us-east-1",
        "stack": "keyjanitor",
        "as_of": LAST,
        "unreadable": 0,
        "nights": {},
        "hold": None,
        **more,
    }
    return AuditMonth(month=NOVEMBER, lines=lines, events=once, repeated=repeated, **values)


def states(month: AuditMonth) -> dict[str, str]:
    return {key.key_id: str(key.state) for key in population(month)}


def table(files: dict[str, bytes], name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(files[name].decode("utf-8-sig"))))


# --- months ---------------------------------------------------------------------------------------


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_each_day_is_in_one_month_and_the_month_before_ends_where_it_begins(day: date) -> None:
    month, before = Month.of(day), Month.before(day)
    assert month.first <= day <= month.last
    assert day in month.days
    assert before.ends == month.begins
    assert before.last + timedelta(days=1) == month.first
    assert str(month) == f"{day:%Y-%m}"


def test_only_events_of_the_month_by_their_own_time_are_its_events() -> None:
    moments = {
        "before": datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC),
        "first": datetime(2026, 11, 1, tzinfo=UTC),
        "last": datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC),
        "after": datetime(2026, 12, 1, tzinfo=UTC),
    }
    events = [an_event("Key Disabled", key_id, at=at) for key_id, at in moments.items()]
    once, repeated = each_once(NOVEMBER, events)
    assert ([one.detail["key_id"] for one in once], repeated) == (["first", "last"], 0)


def test_an_event_that_came_again_counts_once_and_its_first_id_stays() -> None:
    early, late = datetime(2026, 11, 3, 1, tzinfo=UTC), datetime(2026, 11, 3, 2, tzinfo=UTC)
    answers = [
        an_event("Key Issued", at=at, request_id="r1", requested_by="AROA1") for at in (late, early)
    ]
    steps = [an_event("Key Expiring", at=at, disable_on="2026-11-17") for at in (late, early)]
    purges = [an_event("Key Purged", at=at) for at in (late, early)]
    once, repeated = each_once(NOVEMBER, [*answers, *steps, *purges])
    assert ({one.time for one in once}, len(once), repeated) == ({early}, 3, 3)


def test_two_answers_two_senders_and_two_steps_are_two() -> None:
    events = [
        an_event("Key Issued", "k1", request_id="r1", requested_by="AROA1"),
        an_event("Key Issued", "k2", request_id="r1", requested_by="AROA2"),
        an_event("Key Expiring", disable_on="2026-11-17"),
        an_event("Key Expiring", disable_on="2026-11-29"),
    ]
    once, repeated = each_once(NOVEMBER, events)
    assert (len(once), repeated) == (4, 0)


def test_one_request_about_many_keys_and_events_about_none_are_many() -> None:
    events = [
        an_event("Key Revoked", "k1", request_id="r1", requested_by="AROA1"),
        an_event("Key Revoked", "k2", request_id="r1", requested_by="AROA1"),
        replace(an_event("Owner Offboarded", ""), event_id="e1"),
        replace(an_event("Owner Offboarded", ""), event_id="e2"),
    ]
    once, repeated = each_once(NOVEMBER, events)
    assert (len(once), repeated) == (4, 0)


# --- who lived at its end ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (an_event("Key Expiring", disable_on="2026-12-14"), {"k1": "warned"}),
        (an_event("Key Disabled", park_on="2026-12-14"), {"k1": "disabled"}),
        (an_event("Key Renewed", request_id="r"), {"k1": "active"}),
        (an_event("Key Parked", restorable_until="2027-12-01"), {}),
        (an_event("Key Revoked", request_id="r"), {}),
        (an_event("Key Purged"), {}),
        (an_event("Key Protected", request_id="r"), {"k1": "active"}),
        (an_event("Key Issued", "k2", request_id="r"), {"k1": "active", "k2": "active"}),
        (an_event("Key Restored", "k2", previous_key_id="k1"), {"k2": "active"}),
        # a late event of a key that has left
        (an_event("Key Disabled", "gone", park_on="2026-12-14"), {"k1": "active"}),
    ],
)
def test_events_after_the_last_sweep_bring_the_keys_file_up_to_date(
    event: AuditEvent, expected: dict[str, str]
) -> None:
    assert states(a_month(a_line(), events=[event])) == expected


def test_owner_and_tier_are_those_of_the_last_event_that_was_no_refusal() -> None:
    assigned = an_event("Key Assigned", request_id="r", owner="user-1", tier="partners")
    refused = an_event("Key Request Refused", request_id="q", owner="a stranger")
    [key] = population(a_month(a_line(), events=[assigned, refused]))
    assert (key.owner, key.tier, str(key.state)) == ("user-1", "partners", "active")


def test_what_happened_before_the_keys_file_is_in_it_already() -> None:
    before = an_event("Key Parked", at=datetime(2026, 11, 29, 23, tzinfo=UTC))
    assert states(a_month(a_line(), events=[before])) == {"k1": "active"}


def test_a_key_that_an_earlier_run_of_the_night_had_parked_is_gone() -> None:
    parked = a_line("k2", "disabled", verdict="park", reason_code="stepped")
    assert states(a_month(a_line(), parked)) == {"k1": "active"}


def test_without_a_keys_file_no_population_is_claimed() -> None:
    month = a_month(events=[an_event("Key Issued", request_id="r")], as_of=None)
    assert population(month) == []
    told = json.loads(audit_files(month)["summary.json"])["population"]
    assert (told["as_of"], told["keys"], told["enabled"]) == (None, None, None)


KINDS = ("Key Expiring", "Key Disabled", "Key Parked", "Key Restored", "Key Renewed", "Key Revoked")
events_of_a_day = st.lists(
    st.builds(
        lambda kind, key, hour: an_event(
            kind, f"k{key}", at=datetime(2026, 11, 30, hour, tzinfo=UTC)
        ),
        st.sampled_from(KINDS),
        st.integers(0, 3),
        st.integers(0, 23),
    ),
    max_size=12,
    unique_by=lambda one: one.event_id,
)


@given(events_of_a_day, st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_order_in_which_events_are_read_and_how_often_make_no_difference(
    events: list[AuditEvent], again: int, chance: Random
) -> None:
    read = [*events, *events[:again]]
    chance.shuffle(read)
    lines = [a_line(f"k{n}") for n in range(3)]
    one, other = a_month(*lines, events=events), a_month(*lines, events=read)
    assert audit_files(replace(other, repeated=one.repeated)) == audit_files(one)


@given(events_of_a_day)
def test_every_number_is_that_of_the_rows(events: list[AuditEvent]) -> None:
    month = a_month(*(a_line(f"k{n}") for n in range(3)), events=events)
    files = audit_files(month)
    told = json.loads(files["summary.json"])
    keys, done = table(files, "population.csv"), table(files, "actions.csv")
    assert told["population"]["keys"] == len(keys) == sum(told["population"]["states"].values())
    assert told["population"]["enabled"] == sum(row["enabled"] == "yes" for row in keys)
    assert sum(told["actions"].values()) + told["refused"] == told["events"] == len(month.events)
    assert len(done) == sum(told["actions"].values())
    assert sum(told["exceptions"].values()) == len(table(files, EXCEPTIONS))


# --- exceptions -------------------------------------------------------------------------------------


def protected(until: str, **more: Any) -> tuple[date, dict[str, Any]]:
    return a_line(
        verdict="protected", reason_code="protected_until", facts={"until": until}, **more
    )


def test_a_protection_names_who_asked_for_it_last() -> None:
    first = an_event(
        "Key Protected",
        at=datetime(2026, 11, 2, tzinfo=UTC),
        request_id="r1",
        requested_by="AROA1",
        protected_until="2026-12-15",
    )
    last = an_event(
        "Key Protected",
        at=datetime(2026, 11, 9, tzinfo=UTC),
        request_id="r2",
        requested_by="AROA2",
        protected_until="2027-01-20",
    )
    month = a_month(protected("2027-01-20"), events=[first, last])
    [one] = exceptions(month, population(month))
    assert (one.kind, one.until, one.requested_by, one.event_id) == (
        "protected_until",
        "2027-01-20",
        "AROA2",
        last.event_id,
    )


def test_one_that_was_asked_for_after_the_last_sweep_counts_and_one_released_after_it_does_not() -> (
    None
):
    asked = an_event("Key Protected", request_id="r", protected_until="2027-01-20")
    released = an_event("Key Released", request_id="r")
    month = a_month(a_line(), events=[asked])
    assert [one.until for one in exceptions(month, population(month))] == ["2027-01-20"]
    month = a_month(protected("2027-01-20"), events=[released])
    assert exceptions(month, population(month)) == []


def test_a_protection_that_is_over_is_no_exception() -> None:
    over = an_event(
        "Key Protected",
        at=datetime(2026, 11, 2, tzinfo=UTC),
        request_id="r",
        protected_until="2026-11-29",
    )
    month = a_month(a_line(), events=[over])
    assert exceptions(month, population(month)) == []


def test_who_asked_before_this_month_is_taken_from_the_folder_before() -> None:
    known = {("k1", "2027-01-20"): Protection("AROA1", "e1")}
    files = audit_files(a_month(protected("2027-01-20"), known=known))
    [row] = table(files, EXCEPTIONS)
    assert (row["requested_by"], row["event_id"]) == ("AROA1", "e1")
    assert protections_in(files[EXCEPTIONS]) == known


@pytest.mark.parametrize("damaged", [b"", b"\xff\xfe", b"kind\r\nhold\r\n", b'"'])
def test_a_folder_before_that_is_damaged_tells_nothing(damaged: bytes) -> None:
    assert protections_in(damaged) == {}


def test_marks_tiers_and_a_hold_are_exceptions() -> None:
    month = a_month(
        a_line("k1", verdict="protected", reason_code="keep_tag"),
        a_line("k2", verdict="protected", reason_code="owned_by"),
        a_line("k3", verdict="protected", reason_code="tier_never", tier="front-end"),
        a_line("k4", verdict="protected", reason_code="tier_never", tier="front-end"),
        a_line("k5", verdict="protected", reason_code="no_contact", tier="unclaimed"),
        a_line("k6"),
        hold="a campaign",
    )
    rows = table(audit_files(month), EXCEPTIONS)
    assert [(row["kind"], row["key_id"], row["tier"], row["keys"]) for row in rows] == [
        ("hold", "", "", "6"),
        ("never_expires", "", "front-end", "2"),
        ("no_contact", "", "unclaimed", "1"),
        ("keep_tag", "k1", "external", "1"),
        ("owned_elsewhere", "k2", "external", "1"),
    ]
    assert rows[0]["reason"] == "a campaign"


# --- files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "  =1", "\uff1d1", "\t=1"])
def test_no_cell_is_a_formula(text: str) -> None:
    files = audit_files(a_month(a_line(name=text, owner=text, reason=text)))
    [row] = table(files, "population.csv")
    assert all(row[one].startswith("'") for one in ("name", "owner", "reason"))


@given(st.text(max_size=40))
def test_any_name_is_one_cell_of_its_row(name: str) -> None:
    [row] = table(audit_files(a_month(a_line(name=name))), "population.csv")
    assert row["key_id"] == "k1"
    assert row["tier"] == "external"
    assert "\n" not in row["name"]


def test_the_manifest_has_the_digest_of_each_file_in_the_form_of_sha256sum() -> None:
    files = audit_files(a_month(a_line()))
    lines = manifest(files).decode().splitlines()
    assert lines == [f"{sha256(files[name]).hexdigest()}  {name}" for name in sorted(files)]
