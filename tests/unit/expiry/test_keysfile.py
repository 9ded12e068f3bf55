"""The daily keys file: every key with its state, its dates, tonight's verdict and its reason."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.expiry.keys_file import PASSING, key_lines, thinned
from keyjanitor.domain.model.keys import ApiKey
from keyjanitor.domain.model.records import Row
from tests.builders import (
    CONTACT,
    PLAN_ID,
    TODAY,
    a_disabled_row,
    a_key,
    a_plan,
    a_reading,
    a_row,
    a_warned_row,
    an_evidence,
    days_ago,
    in_days,
)


def line(key: ApiKey, row: Row | None, used: int = 74, **more: Any) -> dict[str, Any]:
    evidence = an_evidence(used={key.key_id: days_ago(used)})
    [only] = key_lines(a_plan(key, rows=[row] if row else [], evidence=evidence, **more))
    return only


def test_a_line_of_the_keys_file() -> None:
    assert line(a_key(), a_warned_row(owner="user-8f1c", issued=True, disable_in=3)) == {
        "key_id": "k0",
        "name": "name of k0",
        "owner": "user-8f1c",
        "owner_from": "issued",
        "tier": "external",
        "contact": CONTACT,
        "state": "warned",
        "enabled": True,
        "created_date": str(days_ago(400)),
        "last_used": str(days_ago(74)),
        "idle_since": str(days_ago(74)),
        "idle_days": 74,
        "usage_plan_ids": [PLAN_ID],
        "disable_on": str(in_days(3)),
        "park_on": str(in_days(3 + 14)),
        "purge_on": str(in_days(3 + 14 + 365)),
        "verdict": "keep",
        "reason": f"will be disabled on {in_days(3)}: idle for 74 days, since {days_ago(74)}",
        "reason_code": "waits",
        "facts": {
            "step": "disabled",
            "on": str(in_days(3)),
            "due": {
                "reason_code": "idle",
                "facts": {"days": 74, "since": str(days_ago(74)), "never_used": False},
            },
        },
    }


def test_a_key_that_the_ledger_does_not_know_is_active_and_nobodys() -> None:
    told = line(a_key(), None, used=5)
    assert (told["state"], told["owner"], told["verdict"]) == ("active", None, "keep")
    assert (told["disable_on"], told["park_on"], told["purge_on"]) == (None, None, None)


def dates(told: dict[str, Any]) -> list[str | None]:
    return [told["disable_on"], told["park_on"], told["purge_on"]]


@pytest.mark.parametrize(
    ("key", "row", "verdict", "days"),
    [
        (a_key(), a_row(), "warn", [14, 28, 393]),
        (a_key(), a_warned_row(disable_in=0), "disable", [0, 14, 379]),
        (a_key(), a_warned_row(disable_in=-9), "disable", [0, 14, 379]),
        (a_key(enabled=False, changed=14), a_disabled_row(park_in=0), "park", [None, 0, 365]),
        (a_key(enabled=False, changed=14), a_disabled_row(park_in=9), "keep", [None, 9, 374]),
        (
            a_key(enabled=False, changed=14),
            a_disabled_row(park_on=None, warned_on=None),
            "warn",
            [None, 14, 379],
        ),
    ],
)
def test_the_file_tells_what_would_happen_and_on_which_dates(
    key: ApiKey, row: Row, verdict: str, days: list[int | None]
) -> None:
    told = line(key, row, used=100)
    assert told["verdict"] == verdict
    assert dates(told) == [None if ahead is None else str(in_days(ahead)) for ahead in days]


def test_a_date_that_has_passed_and_waits_moves_those_after_it() -> None:
    told = line(a_key(), a_warned_row(disable_in=-9), used=100, warnings_only="the first night")
    assert told["verdict"] == "keep"
    assert dates(told) == [str(in_days(-9)), str(in_days(14)), str(in_days(379))]


@pytest.mark.parametrize(
    ("key", "row", "verdict"),
    [
        (a_key(), a_warned_row(warned=0, disable_in=14), "warn"),
        (a_key(enabled=False, changed=0), a_disabled_row(disabled=0, park_in=14), "disable"),
    ],
)
def test_a_key_that_took_its_step_in_an_earlier_run_of_the_date_has_it_as_its_verdict(
    key: ApiKey, row: Row, verdict: str
) -> None:
    told = line(key, row)
    assert (told["verdict"], told["reason"]) == (verdict, "idle")


def test_there_is_a_line_for_every_key_sorted_by_key_id() -> None:
    ids = ["k3", "k1", "k2"]
    evidence = an_evidence(a_reading(*ids))
    lines = list(key_lines(a_plan(*(a_key(key_id) for key_id in ids), evidence=evidence)))
    assert [told["key_id"] for told in lines] == sorted(ids)
    assert {told["reason"] for told in lines} == {f"never used, 400 days since {days_ago(400)}"}
    assert {told["idle_since"] for told in lines} == {str(days_ago(400))}
    assert str(TODAY) not in lines[0].values()


# --- what the next night repeats --------------------------------------------------------------------

LINE = line(a_key(), a_row(owner="user-8f1c"), used=5)
NEXT = {
    **LINE,
    "last_used": None,
    "idle_since": str(TODAY),
    "idle_days": 0,
    "reason": "another",
} | {
    "reason_code": "another",
    "facts": {},
}


def test_a_line_that_the_next_night_repeats_but_for_what_is_another_every_night_is_dropped() -> (
    None
):
    assert list(thinned([LINE], [NEXT])) == []


@pytest.mark.parametrize("column", sorted(LINE.keys() - PASSING))
def test_a_line_of_which_anything_else_is_another_the_next_night_stays(column: str) -> None:
    assert list(thinned([LINE], [{**NEXT, column: "another"}])) == [LINE]


def test_the_last_line_of_a_key_stays() -> None:
    assert list(thinned([LINE], [{**NEXT, "key_id": "k9"}])) == [LINE]


NIGHTS = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.sampled_from(["one", "two", None])), max_size=8
)


def a_file(owners: Mapping[str, str | None]) -> list[dict[str, Any]]:
    return [{"key_id": key_id, "owner": owner, "reason": "r"} for key_id, owner in owners.items()]


@given(NIGHTS, st.integers(1, 8))
def test_a_key_is_as_its_first_line_on_or_after_a_date_says(
    nights: list[dict[str, str | None]], whole: int
) -> None:
    files = [a_file(owners) for owners in nights]
    for index in range(len(files) - whole):
        files[index] = [dict(one) for one in thinned(files[index], files[index + 1])]
    for index, owners in enumerate(nights):
        lines = [one for file in files[index:] for one in file]
        for key_id, owner in owners.items():
            told = [one["owner"] for one in lines if one["key_id"] == key_id]
            assert told[0] == owner
