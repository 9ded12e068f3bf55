"""The ledger's records as plain values and back: nothing that is remembered of a request is lost."""

from datetime import UTC, date, datetime
from typing import Any, get_type_hints

from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.adapters.dynamodb import Table
from keyjanitor.adapters.record_codec import from_values, to_values
from keyjanitor.domain.model.keys import State, SweepAction
from keyjanitor.domain.model.records import Claim, Grant, RequestRow, Row, Status
from tests.builders import (
    PLAN_ID,
    PORTAL,
    TODAY,
    a_grant,
    a_request_row,
    a_row,
    a_warned_row,
    at,
    in_days,
)

dates = st.dates(date(2000, 1, 1), date(2100, 1, 1))
moments = st.datetimes(datetime(2000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
maybe = st.none() | st.text()
grants = st.builds(
    Grant,
    sealed_value=st.text(),
    tier=st.text(),
    owner=maybe,
    name=st.text(),
    sender=maybe,
    deliver_to=st.text(),
    usage_plan_ids=st.lists(st.text()).map(tuple),
    expires_on=st.none() | dates,
    rotates=maybe,
    key_name=st.text(),
)
details = st.dictionaries(
    st.text(min_size=1),
    maybe | st.integers(-(10**9), 10**9) | st.booleans() | st.dictionaries(st.text(), st.text()),
)
request_rows = st.builds(
    RequestRow,
    request_id=st.text(),
    digest=st.text(),
    sender=st.text(),
    status=st.sampled_from(Status),
    version=st.integers(0, 10**9),
    action=st.text(),
    received_on=st.none() | dates,
    holder=maybe,
    held_until=st.none() | moments,
    detail_type=st.text(),
    detail=details,
    grant=st.none() | grants,
)


@given(request_rows)
def test_a_request_comes_back_as_it_was_written(row: RequestRow) -> None:
    values = to_values(row)
    assert from_values(RequestRow, values) == row
    # Nothing but what DynamoDB can hold.
    assert Table(None, "no table").item(values)


@given(grants)
def test_a_grant_comes_back_as_it_was_written(grant: Grant) -> None:
    assert from_values(Grant, to_values(grant)) == grant


def test_the_strategies_above_know_every_field() -> None:
    """A new field must not be forgotten."""
    assert set(get_type_hints(RequestRow)) == {
        *("request_id", "digest", "sender", "status", "version", "action", "received_on"),
        *("holder", "held_until", "detail_type", "detail", "grant"),
    }
    assert set(get_type_hints(Grant)) == {
        *("sealed_value", "tier", "owner", "name", "sender", "deliver_to", "usage_plan_ids"),
        *("expires_on", "rotates", "key_name"),
    }


def test_a_row_of_an_older_build_is_read_without_the_attributes_that_decide_nothing_now() -> None:
    row = a_warned_row()
    assert from_values(Row, {**to_values(row), "witnessed": True}) == row
    assert "witnessed" not in to_values(row)


def test_attributes_that_a_build_before_0_2_0_wrote_are_read_under_their_names_of_today() -> None:
    row = a_warned_row(reason="idle for 60 days", expires_on=in_days(9))
    written = to_values(row)
    before = {"because": written.pop("reason"), "ends_on": written.pop("expires_on")}
    assert from_values(Row, {**written, **before}) == row
    grant = a_grant(expires_on=in_days(9))
    written = to_values(grant)
    assert from_values(Grant, {**written, "ends_on": written.pop("expires_on")}) == grant


def test_what_is_as_in_a_new_record_is_not_written() -> None:
    assert to_values(a_request_row(action="")) == {
        "request_id": "r1",
        "digest": "0" * 64,
        "sender": "AROASENDER",
        "status": "taken",
        "received_on": "2026-11-21",
    }
    assert to_values(Row("k0", State.ACTIVE, "external")) == {
        "key_id": "k0",
        "state": "active",
        "tier": "external",
    }


def test_what_a_request_says_is_written_in_plain_values() -> None:
    row = a_request_row(
        status=Status.SEALED,
        version=3,
        holder="run",
        held_until=at(TODAY, 3),
        detail_type="Key Issued",
        detail={"owner": None, "encryption_context": {"purpose": "delivery"}},
        grant=a_grant(owner=None, expires_on=in_days(1), rotates="k0"),
    )
    assert to_values(row) == {
        "request_id": "r1",
        "digest": "0" * 64,
        "sender": "AROASENDER",
        "status": "sealed",
        "version": 3,
        "action": "issue",
        "received_on": "2026-11-21",
        "holder": "run",
        "held_until": "2026-11-21T03:00:00+00:00",
        "detail_type": "Key Issued",
        "detail": {"owner": None, "encryption_context": {"purpose": "delivery"}},
        "grant": {
            "sealed_value": "c2VhbGVk",
            "tier": "external",
            "owner": None,
            "name": "app",
            "sender": "AROASENDER",
            "deliver_to": PORTAL,
            "usage_plan_ids": [PLAN_ID],
            "expires_on": "2026-11-22",
            "rotates": "k0",
            "key_name": "kj-20261121-0a1b2c3d-000",
        },
    }


def test_plain_values_are_values_of_plain_types() -> None:
    def types(value: Any) -> set[type]:
        if isinstance(value, dict):
            return {dict}.union(*map(types, value.values()), *map(types, value))
        if isinstance(value, list):
            return {list}.union(*map(types, value))
        return {type(value)}

    row = a_row(claim=Claim(SweepAction.PARK, TODAY), usage_plan_ids=("p",), our_update=at(TODAY))
    request = a_request_row(grant=a_grant(expires_on=TODAY), detail={"n": 1})
    plain = {dict, list, str, int, bool, type(None)}
    assert types(to_values(row)) | types(to_values(request)) <= plain


def test_a_field_of_another_version_is_left_out() -> None:
    values = to_values(a_request_row(grant=a_grant())) | {"pk": "REQUEST", "sk": "r1", "new": 1}
    values["grant"]["new"] = 1
    assert from_values(RequestRow, values) == a_request_row(grant=a_grant())
