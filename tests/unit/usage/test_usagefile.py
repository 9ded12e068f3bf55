"""The daily usage files: a zero is known to be one, and what was known once stays known."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.usage import usage_file
from keyjanitor.domain.usage.evidence import Evidence, UsagePlanAnswer
from keyjanitor.domain.usage.plan_usage import PlanUsage
from keyjanitor.domain.usage.reading import history_from, take_evidence
from keyjanitor.domain.usage.usage_file import (
    COLUMNS,
    DELETED,
    LEFT,
    ROWS,
    TOO_LONG_AGO,
    TOO_MANY,
    UNCLEAR,
    UsageFiles,
)
from tests.builders import (
    DAY,
    PLAN_ID,
    STAGE,
    TODAY,
    YESTERDAY,
    a_page,
    a_reading,
    a_usage,
    a_usage_plan,
    an_evidence,
    days_ago,
    pairs,
)

Rows = list[dict[str, Any]]
FAILED = "GetUsage failed: Throttled"


def read(*members: str, usage: PlanUsage | None = None, **plan: Any) -> UsagePlanAnswer:
    """A plan that was read to the end; without `usage` nobody used it."""
    named = a_usage_plan(**plan)
    return UsagePlanAnswer(named, members, usage or a_usage(plan=named))


def unread(*members: str, **plan: Any) -> UsagePlanAnswer:
    return UsagePlanAnswer(a_usage_plan(**plan), members or None, None, failed=FAILED)


def files(
    *answers: UsagePlanAnswer, before: Evidence | None = None, day: date = TODAY
) -> UsageFiles:
    return UsageFiles(*take_evidence(day, answers, before), before)


def rows(
    *answers: UsagePlanAnswer,
    day: date = YESTERDAY,
    before: Evidence | None = None,
    earlier: Rows | None = None,
) -> Rows:
    return list(files(*answers, before=before).rows(day, earlier or []))


def row(
    key_id: str | None,
    used: int | None = None,
    remaining: int | None = None,
    missing: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "plan_id": PLAN_ID,
        "plan_name": "external",
        "stages": (STAGE,),
        "key_id": key_id,
        "used": used,
        "remaining": remaining,
        "missing": missing,
    }
    return {**values, **more}


def used(key_id: str, requests: int, day: date = YESTERDAY) -> PlanUsage:
    return a_usage(a_page({key_id: pairs({day: requests}, remaining=93)}))


def the_night_before(*members: str, **more: Any) -> Evidence:
    """Last night's evidence of a plan that was read through the day before yesterday."""
    values: dict[str, Any] = {"read_through": {PLAN_ID: days_ago(2)}, **more}
    return an_evidence(a_reading(*members), day=YESTERDAY, **values)


# --- what was read --------------------------------------------------------------------------------


def test_every_member_of_a_plan_that_was_read_has_a_row_zero_use_too() -> None:
    usage = a_usage(a_page({"k1": pairs({YESTERDAY: 7}, remaining=93), "k2": pairs()}))
    assert rows(read("k3", "k2", "k1", usage=usage)) == [
        row("k1", 7, 93),
        row("k2", 0, 1000),
        row("k3", 0, None),
    ]


def test_a_row_has_the_columns_of_the_table_in_their_order() -> None:
    [one] = rows(read("k1"))
    assert tuple(one) == COLUMNS


def test_rows_are_sorted_by_plan_and_key() -> None:
    found = rows(read("k2", "k1", usage_plan_id="p2"), read("k2", "k0", usage_plan_id="p1"))
    assert [(one["plan_id"], one["key_id"]) for one in found] == [
        ("p1", "k0"),
        ("p1", "k2"),
        ("p2", "k1"),
        ("p2", "k2"),
    ]


def test_ids_that_no_plan_ever_had_are_never_written_down() -> None:
    usage = a_usage(a_page({"k1": pairs({YESTERDAY: 7}), "a-value": pairs({YESTERDAY: 9})}))
    assert rows(read("k1", usage=usage)) == [row("k1", 7, 1000)]


def test_a_key_that_moved_is_told_of_under_both_plans() -> None:
    old = a_usage(a_page({"k1": pairs({YESTERDAY: 7})}), plan=a_usage_plan("p1"))
    answers = read(usage_plan_id="p1", usage=old), read("k1", usage_plan_id="p2")
    assert rows(*answers) == [row("k1", 7, 1000, plan_id="p1"), row("k1", 0, None, plan_id="p2")]


def test_of_whom_the_days_cannot_be_told_apart_nothing_is_known() -> None:
    usage = a_usage(a_page({"k1": [[3, 5]], "k2": [[0, 5]]}))
    assert rows(read("k1", "k2", usage=usage)) == [
        row("k1", missing=UNCLEAR),
        row("k2", missing=UNCLEAR),  # zeros of days that nobody can name prove nothing
    ]


# --- what was not ---------------------------------------------------------------------------------


def test_of_a_plan_that_was_not_read_every_member_is_unknown() -> None:
    assert rows(unread("k2", "k1")) == [row("k1", missing=FAILED), row("k2", missing=FAILED)]


def test_of_a_plan_without_members_that_was_not_read_the_plan_itself_is_unknown() -> None:
    assert rows(unread()) == [row(None, missing=FAILED)]


def test_the_members_of_a_plan_that_could_not_even_be_listed_are_those_of_the_night_before() -> (
    None
):
    assert rows(unread(), before=the_night_before("k1")) == [row("k1", missing=FAILED)]


def test_a_day_that_an_answer_does_not_reach_is_unknown_and_not_zero() -> None:
    end = days_ago(2)
    usage = a_usage(a_page({"k1": pairs({end: 4}, end=end)}, end=end))
    assert rows(read("k1", usage=usage)) == [row("k1", missing=f"told only through {end}")]
    assert rows(read("k1", usage=usage), day=end) == [row("k1", 4, 1000)]


def test_a_plan_that_knows_none_of_its_ids_is_unknown() -> None:
    usage = a_usage(a_page({"a-value": pairs({YESTERDAY: 1})}))
    [one] = rows(read("k1", usage=usage))
    assert one == row("k1", missing="its usage names 1 ids and none is known")


def test_the_last_day_of_a_key_that_left_its_plan_meanwhile_is_unknown() -> None:
    before = the_night_before("k1", "k2")
    assert rows(read("k1"), before=before) == [row("k1", 0, None), row("k2", missing=LEFT)]
    assert rows(read("k1"), before=before, day=days_ago(2)) == [row("k1", 0, None)]


def test_the_last_day_of_a_key_that_left_is_known_if_it_is_still_told_of() -> None:
    usage = used("k2", 7)
    assert rows(read("k1", usage=usage), before=the_night_before("k1", "k2")) == [
        row("k1", 0, None),
        row("k2", 7, 93),
    ]


def test_a_key_that_left_long_ago_and_is_told_of_still_has_no_row_on_a_day_without_use() -> None:
    before = the_night_before("k1", gone=frozenset({"k2"}))
    usage = used("k2", 7, days_ago(40))
    assert rows(read("k1", usage=usage), before=before) == [row("k1", 0, None)]
    assert rows(read("k1", usage=used("k2", 7)), before=before)[1] == row("k2", 7, 93)


def test_the_last_day_of_a_plan_that_was_deleted_meanwhile_is_unknown() -> None:
    before = the_night_before("k1")
    assert rows(before=before) == [row("k1", missing=DELETED)]
    assert rows(before=before, day=days_ago(2)) == []


# --- what an earlier night wrote ------------------------------------------------------------------


def test_a_later_night_knows_a_day_better() -> None:
    earlier = [row("k1", 3, 97), row("k2", missing=FAILED)]
    assert rows(read("k1", "k2", usage=used("k1", 7)), earlier=earlier) == [
        row("k1", 7, 93),
        row("k2", 0, None),
    ]


def test_a_plan_that_is_unread_tonight_keeps_what_an_earlier_night_knew_of_the_day() -> None:
    earlier = [row("k1", 3, 97), row("k2", missing="of old")]
    assert rows(unread("k1", "k2", "k3"), earlier=earlier) == [
        row("k1", 3, 97),
        row("k2", missing=FAILED),
        row("k3", missing=FAILED),
    ]


def test_a_plan_that_can_be_read_again_is_unknown_no_longer() -> None:
    assert rows(read("k1"), earlier=[row(None, missing=FAILED)]) == [row("k1", 0, None)]


def test_the_use_of_a_key_that_left_its_plan_stays() -> None:
    earlier = [row("left", 5, 95)]
    assert rows(read("k1"), earlier=earlier) == [row("k1", 0, None), row("left", 5, 95)]


def test_the_use_of_a_plan_that_was_deleted_stays() -> None:
    earlier = [row("k9", 5, 95, plan_id="p9", plan_name="old", stages=["api9:v1"])]
    assert rows(read("k1"), earlier=earlier) == [*earlier, row("k1", 0, None)]
    before = an_evidence(a_reading("k9", usage_plan_id="p9"), day=YESTERDAY)
    assert rows(read("k1"), before=before, earlier=earlier) == [*earlier, row("k1", 0, None)]


def test_requests_that_were_told_of_once_are_not_undone_by_silence() -> None:
    assert rows(read("k1"), earlier=[row("k1", 3, 97)]) == [row("k1", 3, 97)]
    usage = a_usage(a_page({"k1": pairs(remaining=100)}))  # nor is that silence
    assert rows(read("k1", usage=usage), earlier=[row("k1", 3, 97)]) == [row("k1", 0, 100)]


def test_of_a_plan_whose_members_seem_to_be_gone_silence_proves_nothing() -> None:
    before = the_night_before("k1")
    assert rows(read(), before=before) == [row("k1", missing=LEFT)]
    assert rows(read(), before=before, earlier=[row("k1", 0, 100)]) == [row("k1", 0, 100)]
    assert rows(read(usage=used("k1", 7)), before=before) == [row("k1", 7, 93)]


def test_what_cannot_be_told_apart_tonight_stays_as_it_was_known() -> None:
    usage = a_usage(a_page({"k1": [[3, 5]]}))
    assert rows(read("k1", usage=usage), earlier=[row("k1", 3, 97)]) == [row("k1", 3, 97)]


def test_a_row_of_an_older_file_gets_the_columns_that_it_lacks() -> None:
    earlier = [{"plan_id": "p9", "key_id": "k9", "used": 5, "remaining": None}]
    assert rows(earlier=earlier) == [
        row("k9", 5, None, plan_id="p9", plan_name=None, stages=None),
    ]


# --- which days -----------------------------------------------------------------------------------


def days(*answers: UsagePlanAnswer, before: Evidence | None = None) -> tuple[date, date, int]:
    found = files(*answers, before=before).days
    assert found == [found[0] + DAY * index for index in range(len(found))]
    return found[0], found[-1], len(found)


def told_from(first: int, *members: str) -> UsagePlanAnswer:
    usage = PlanUsage(a_usage_plan(), days_ago(90), TODAY, days_ago(first))
    return read(*members, usage=usage)


def test_every_night_writes_the_last_three_days() -> None:
    assert days(told_from(3), before=the_night_before()) == (days_ago(3), YESTERDAY, 3)
    assert days(unread()) == (days_ago(3), YESTERDAY, 3)


def test_the_first_night_writes_all_that_usage_tells() -> None:
    assert days(told_from(90)) == (days_ago(90), YESTERDAY, 90)


@pytest.mark.parametrize(("missed", "first"), [(5, 5), (200, 90)])
def test_a_night_after_others_that_did_not_run_writes_their_days_unread_plans_too(
    missed: int, first: int
) -> None:
    before = an_evidence(day=days_ago(missed))
    assert days(unread("k1"), before=before) == (days_ago(first), YESTERDAY, first)


def test_what_is_made_up_for_of_one_plan_leaves_the_days_of_another_as_they_are() -> None:
    late = PlanUsage(a_usage_plan("p1"), days_ago(90), TODAY, days_ago(9))
    late.add(a_page({"k1": pairs({days_ago(9): 4})}))
    answers = read("k1", usage_plan_id="p1", usage=late), read("k2", usage_plan_id="p2")
    assert days(*answers) == (days_ago(9), YESTERDAY, 9)
    earlier = [row("k1", missing=FAILED, plan_id="p1"), row("k2", 6, None, plan_id="p2")]
    assert rows(*answers, day=days_ago(9), earlier=earlier) == [
        row("k1", 4, 1000, plan_id="p1"),
        row("k2", 6, None, plan_id="p2"),
    ]


# --- a law ----------------------------------------------------------------------------------------

NIGHT = st.tuples(
    st.booleans(),  # whether it runs
    st.sets(st.sampled_from(["p1", "p2"])),  # the plans that it cannot read
    st.sets(st.sampled_from(["k1", "k2", "k3"])),  # the keys that are there
    st.sets(st.sampled_from(["p1", "p2"]), min_size=1),  # the plans that are there
)


def requests_of(plan_id: str, key_id: str, day: date) -> int:
    """The truth: who is in a plan uses it, every third day not at all."""
    return sum(map(ord, plan_id + key_id)) * (day.toordinal() % 3)


def answers_of(
    today: date, seen: Mapping[str, set[str]], broken: set[str], before: Evidence | None
) -> list[UsagePlanAnswer]:
    start = today - DAY * 90
    answers = []
    for plan_id, members in seen.items():
        plan = a_usage_plan(plan_id)
        if plan_id in broken:
            answers.append(UsagePlanAnswer(plan, tuple(members), None, failed=FAILED))
            continue
        usage = PlanUsage(plan, start, today, history_from(plan_id, today, before))
        told = {
            key_id: [[requests_of(plan_id, key_id, start + DAY * n), 5] for n in range(91)]
            for key_id in members
        }
        usage.add(a_page(told, start=start, end=today))
        answers.append(UsagePlanAnswer(plan, tuple(members), usage))
    return answers


@given(st.lists(NIGHT, max_size=12))
def test_what_is_written_is_true_and_what_was_known_stays_known(
    nights: list[tuple[bool, set[str], set[str], set[str]]],
) -> None:
    stored: dict[date, Rows] = {}
    before: Evidence | None = None
    for index, (runs, broken, keys, plans) in enumerate(nights):
        if not runs:
            continue
        today = TODAY + DAY * index
        answers = answers_of(today, dict.fromkeys(sorted(plans), keys), broken, before)
        evidence, usages = take_evidence(today, answers, before)
        night = UsageFiles(evidence, usages, before)
        for day in night.days:
            known = {
                (one["plan_id"], one["key_id"]) for one in stored.get(day, []) if is_known(one)
            }
            stored[day] = list(night.rows(day, stored.get(day, [])))
            assert known <= {(o["plan_id"], o["key_id"]) for o in stored[day] if is_known(o)}
            told = [(one["plan_id"], one["key_id"]) for one in stored[day]]
            assert told == sorted(set(told), key=lambda pair: (pair[0], pair[1] or ""))
        # Everybody has a row, if only to say that nobody knows. Whatever can be read is known: of the last days, and of those that were missed.
        read_tonight = {(p, k) for p in plans - broken for k in keys}
        for day in night.days[-3:]:
            told_of = {(one["plan_id"], one["key_id"]) for one in stored[day]}
            assert {(p, k) for p in plans for k in keys} <= told_of
            assert read_tonight <= {(o["plan_id"], o["key_id"]) for o in stored[day] if is_known(o)}
        before = evidence
    for day, written in stored.items():
        for one in filter(is_known, written):
            assert one["used"] == requests_of(one["plan_id"], one["key_id"], day)


def is_known(one: Mapping[str, Any]) -> bool:
    """Known is a row with a number and without an excuse; there is nothing between the two."""
    assert (one["missing"] is None) == (one["used"] is not None)
    return one["missing"] is None


# --- how many rows there is room for --------------------------------------------------------------


@pytest.fixture
def room_for_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_file, "ROWS", 3)


def by_plan(found: Rows) -> dict[str, list[tuple[Any, Any]]]:
    plans: dict[str, list[tuple[Any, Any]]] = {}
    for one in found:
        plans.setdefault(one["plan_id"], []).append((one["key_id"], one["missing"]))
    return plans


def test_a_day_has_room_for_250000_keys() -> None:
    assert ROWS == 250_000
    assert usage_file.ROWS == 250_000


@pytest.mark.usefixtures("room_for_three")
def test_plans_have_a_row_for_each_key_in_the_order_of_their_ids_while_there_is_room() -> None:
    answers = [
        read("k1", "k2", usage_plan_id="p1"),
        read("k3", "k4", usage_plan_id="p2"),
        read("k5", usage_plan_id="p3"),
        read("k6", usage_plan_id="p4"),
    ]
    assert by_plan(rows(*answers)) == {
        "p1": [("k1", None), ("k2", None)],
        "p2": [(None, TOO_MANY)],
        "p3": [("k5", None)],
        "p4": [(None, TOO_MANY)],
    }


@pytest.mark.usefixtures("room_for_three")
def test_what_was_written_of_a_plan_that_there_is_no_room_for_any_more_stays() -> None:
    earlier = [row("k1", 7, 93), row("k2", 0, 100)]
    assert rows(read("k1", "k2", "k3", "k4"), earlier=earlier) == earlier


def test_a_plan_whose_days_were_not_kept_has_one_row() -> None:
    plan = a_usage_plan()
    usage = PlanUsage(plan, days_ago(90), TODAY, kept=False)
    assert rows(read("k1", "k2", usage=usage)) == [row(None, missing=TOO_MANY)]


def test_a_day_before_what_was_kept_is_told_once() -> None:
    usage = PlanUsage(a_usage_plan(), days_ago(90), TODAY, history_from=days_ago(3))
    long_ago = days_ago(9)
    first = rows(read("k1", usage=usage), day=long_ago)
    assert first == [row(None, missing=TOO_LONG_AGO)]
    stood = [row("k1", 7, 93)]
    assert rows(read("k1", usage=usage), day=long_ago, earlier=stood) == stood
    before = the_night_before("k1")  # it has read that day
    assert rows(read("k1", usage=usage), day=long_ago, before=before) == []
    assert rows(read("k1", usage=usage), day=days_ago(3)) == [row("k1", 0, None)]


# --- keys that left, plans that are gone ----------------------------------------------------------


def test_a_key_that_left_keeps_its_row_as_tonight_tells_it() -> None:
    usage = a_usage(a_page({"k1": pairs(), "k2": pairs(remaining=7)}))
    before = the_night_before("k1", "k2", read_through={PLAN_ID: YESTERDAY})
    earlier = [row("k2", 0, 100)]
    told = [row("k1", 0, 1000), row("k2", 0, 7)]
    assert rows(read("k1", usage=usage), before=before, earlier=earlier) == told
    assert rows(read("k1", usage=usage), before=before) == told[:1]


def test_of_a_plan_that_says_not_how_far_it_was_read_the_night_before_has_read_all_but_its_day() -> (
    None
):
    before = an_evidence(a_reading("k1", usage_plan_id="gone"), day=YESTERDAY, read_through={})
    gone = row("k1", missing=DELETED, plan_id="gone")
    assert rows(before=before) == [gone]
    assert rows(before=before, day=days_ago(2)) == []


def test_of_a_plan_that_could_not_be_read_its_members_have_a_row_or_else_the_plan_itself() -> None:
    earlier = [row(None, missing="an earlier reason")]
    assert rows(unread("k1"), earlier=earlier) == [row("k1", missing=FAILED)]
    assert rows(unread(), earlier=earlier) == [row(None, missing=FAILED)]
    assert rows(unread("k1"), earlier=[row("k1", 7, 93), *earlier]) == [row("k1", 7, 93)]
