"""What one night's reading proves, and what it carries forward."""

import json
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.model.usage_plan import UsagePlan
from keyjanitor.domain.usage.answered_range import REMEMBERED, noted, remembered
from keyjanitor.domain.usage.evidence import (
    FORGET_AFTER,
    AnsweredRange,
    Evidence,
    Told,
    UsagePlanAnswer,
    UsagePlanReading,
)
from keyjanitor.domain.usage.evidence_file import from_document, to_document
from keyjanitor.domain.usage.plan_usage import PlanUsage
from keyjanitor.domain.usage.reading import STRANGERS, history_from, take_evidence
from keyjanitor.errors import UnexpectedAnswer
from tests.builders import (
    A_QUOTA,
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
    in_days,
    pairs,
)


def answer(*members: str, usage: PlanUsage | None = None, **plan: Any) -> UsagePlanAnswer:
    named = a_usage_plan(**plan)
    return UsagePlanAnswer(named, members, usage or a_usage(plan=named))


def unread(*members: str, **plan: Any) -> UsagePlanAnswer:
    return UsagePlanAnswer(a_usage_plan(**plan), members, None, failed="GetUsage failed: Throttled")


def night(*answers: UsagePlanAnswer, before: Evidence | None = None, day: date = TODAY) -> Evidence:
    return take_evidence(day, answers, before)[0]


# --- pages ----------------------------------------------------------------------------------------


def test_a_key_used_on_a_day_was_last_used_on_the_latest_of_them() -> None:
    usage = a_usage(a_page({"k1": pairs({days_ago(9): 3, days_ago(5): 1, days_ago(30): 9})}))
    assert usage.last_used == {"k1": days_ago(5)}


def test_pages_are_merged_not_the_first_one_kept() -> None:
    usage = a_usage(
        a_page({"k1": pairs({days_ago(1): 1})}),
        a_page({"k2": pairs({days_ago(2): 2})}),
        a_page({"k3": pairs({days_ago(3): 4})}),
    )
    assert (usage.last_used, usage.ids, usage.pages) == (
        {"k1": days_ago(1), "k2": days_ago(2), "k3": days_ago(3)},
        {"k1", "k2", "k3"},
        3,
    )
    assert usage.used_by_day == {days_ago(1): 1, days_ago(2): 2, days_ago(3): 4}


def test_a_key_on_two_pages_was_last_used_on_the_later_day_whatever_their_order() -> None:
    late, early = a_page({"k1": pairs({days_ago(1): 1})}), a_page({"k1": pairs({days_ago(8): 1})})
    for pages in ((late, early), (early, late)):
        assert a_usage(*pages).last_used == {"k1": days_ago(1)}


def test_the_first_and_the_last_day_of_a_page_count() -> None:
    usage = a_usage(a_page({"k1": pairs({days_ago(90): 1}), "k2": pairs({TODAY: 1})}))
    assert usage.last_used == {"k1": days_ago(90), "k2": TODAY}


@pytest.mark.parametrize("late", [0, 1, 2])
def test_a_page_has_to_reach_the_day_before_yesterday(late: int) -> None:
    end = days_ago(late)
    page = a_page({"k1": pairs({days_ago(9): 1}, end=end)}, end=end)
    assert a_usage(page).last_used == {"k1": days_ago(9)}


def test_a_page_that_ends_before_the_day_before_yesterday_is_refused() -> None:
    with pytest.raises(UnexpectedAnswer, match=f"ends on {days_ago(3)}, asked was {TODAY}"):
        a_usage(a_page({}, end=days_ago(3)))


@pytest.mark.parametrize("start", [days_ago(91), in_days(1)])
def test_a_page_that_starts_before_what_was_asked_or_after_its_own_end_is_refused(
    start: date,
) -> None:
    with pytest.raises(UnexpectedAnswer, match=f"starts on {start}"):
        a_usage(a_page({}, start=start))


@pytest.mark.parametrize("others", [days_ago(90), days_ago(31), days_ago(29)])
def test_a_later_page_has_to_start_where_the_first_did(others: date) -> None:
    with pytest.raises(UnexpectedAnswer, match=f"starts on {others}"):
        a_usage(a_page({}, start=days_ago(30)), a_page({}, start=others))


@pytest.mark.parametrize("back", [89, 30, 1])
def test_a_page_that_starts_later_is_believed_from_its_own_first_day_on(back: int) -> None:
    first = days_ago(back)
    page = a_page({"k1": pairs({first: 3}, start=first)}, start=first)
    usage = a_usage(page, a_page({"k2": pairs({YESTERDAY: 1}, start=first)}, start=first))
    assert (usage.start, usage.last_used) == (first, {"k1": first, "k2": YESTERDAY})
    assert usage.on(YESTERDAY, "k2") == (1, 1000)
    assert usage.unclear == set()


@pytest.mark.parametrize("count", [1, 5, 90, 92])
def test_of_fewer_or_more_pairs_than_days_any_use_counts_as_of_the_last_day(count: int) -> None:
    used: list[list[int]] = [[0, 5]] * count
    used[0] = [3, 5]
    usage = a_usage(a_page({"k1": used, "k2": [[0, 5]] * count}))
    assert (usage.last_used, usage.used_by_day) == ({"k1": TODAY}, {TODAY: 3})


@pytest.mark.parametrize("quiet", [None, [], [0], 0, (0, 7), [0, 7], [0, 7, 9]])
def test_a_day_without_hits_may_come_in_another_shape(quiet: Any) -> None:
    days: list[Any] = [quiet] * 91
    days[40] = [2, 5]
    assert a_usage(a_page({"k1": days})).last_used == {"k1": days_ago(50)}


@pytest.mark.parametrize("hit", [5, [5], (5, 1), [5, 0], [5, None]][:4])
def test_a_day_with_hits_may_come_in_another_shape(hit: Any) -> None:
    days: list[Any] = [None] * 91
    days[40] = hit
    usage = a_usage(a_page({"k1": days}), plan=a_usage_plan(has_quota=False))
    assert (usage.last_used, usage.used_by_day) == ({"k1": days_ago(50)}, {days_ago(50): 5})


@pytest.mark.parametrize("odd", ["5", ["5", 1], [True, 1], [1.5, 1], {"used": 5}, 1.5, True, [[5]]])
def test_a_pair_that_holds_something_else_than_whole_numbers_is_refused(odd: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        a_usage(a_page({"k1": [odd] * 91}))


@pytest.mark.parametrize("odd", [5, "none", {"2026-11-20": [5, 1]}])
def test_days_that_are_no_list_are_refused(odd: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        a_usage(a_page({"k1": odd}))


def test_a_refusal_never_tells_what_was_answered() -> None:
    with pytest.raises(UnexpectedAnswer) as raised:
        a_usage(a_page({"a-secret-value": [["a-secret-value"]] * 91}))
    assert "a-secret-value" not in str(raised.value)


def test_a_key_that_comes_with_nothing_was_not_used() -> None:
    usage = a_usage(a_page({"k1": None, "k2": []}))
    assert (usage.last_used, usage.ids, usage.had_requests) == ({}, {"k1", "k2"}, False)


def test_a_closed_door_is_use_and_no_request() -> None:
    shut = pairs()
    shut[80] = [0, 0]
    usage = a_usage(a_page({"k1": shut}))
    assert (usage.last_used, usage.had_requests, usage.used_by_day) == (
        {"k1": days_ago(10)},
        False,
        {},
    )


# --- a night --------------------------------------------------------------------------------------


def test_the_first_evidence() -> None:
    usage = a_usage(a_page({"k1": pairs({days_ago(3): 7})}))
    assert take_evidence(TODAY, [answer("k1", "k2", usage=usage)], None) == (
        Evidence(
            day=TODAY,
            first_day=days_ago(90),
            complete_since=TODAY,
            plans={PLAN_ID: a_reading("k1", "k2")},
            last_used={"k1": days_ago(3)},
            used_by_day={days_ago(3): 7},
            witnessed_plans={(PLAN_ID, True): days_ago(3)},
            seen_stages={(STAGE, True): days_ago(3)},
            read_through={PLAN_ID: YESTERDAY},
            told={PLAN_ID: Told(TODAY, YESTERDAY, {days_ago(3): 7}, ("k1",), (7,))},
        ),
        {PLAN_ID: usage},
    )


def test_the_first_day_is_carried_forward() -> None:
    assert night(answer("k1"), before=an_evidence(day=YESTERDAY)).first_day == (
        YESTERDAY - DAY * (365 + 90)
    )


@pytest.mark.parametrize("gap", [90, 91, 200])
def test_what_was_used_while_nobody_read_is_not_proven_to_be_idle(gap: int) -> None:
    # Proven are the days until two before the evidence before, and from where usage reaches back.
    before = an_evidence(a_reading("k1"), day=days_ago(gap), used={"k1": days_ago(210)})
    assert night(answer("k1"), before=before).first_day == days_ago(90)


def test_a_gap_that_usage_reaches_back_over_is_none() -> None:
    before = an_evidence(a_reading("k1"), day=days_ago(89))
    assert night(answer("k1"), before=before).first_day == before.first_day


def test_ids_that_nobody_knows_are_counted_and_left_out() -> None:
    usage = a_usage(
        a_page({"k1": pairs(), "who": pairs({YESTERDAY: 1}), "else": pairs({YESTERDAY: 1})})
    )
    evidence = night(answer("k1", usage=usage))
    assert evidence.plans == {PLAN_ID: a_reading("k1", unknown_ids=2)}
    assert (evidence.last_used, evidence.gone) == ({}, frozenset())


def test_a_plan_that_knows_none_of_its_ids_is_unread_and_proves_nothing() -> None:
    usage = a_usage(a_page({"value1": pairs({YESTERDAY: 1}), "value2": pairs()}))
    evidence, usages = take_evidence(TODAY, [answer("k1", usage=usage)], None)
    assert evidence.plans == {
        PLAN_ID: a_reading("k1", unread="its usage names 2 ids and none is known", unknown_ids=2)
    }
    assert (usages, evidence.witnessed_plans, evidence.seen_stages, evidence.used_by_day) == (
        {},
        {},
        {},
        {},
    )


def test_a_plan_that_names_no_ids_at_all_is_read() -> None:
    assert night(answer("k1")).plans == {PLAN_ID: a_reading("k1")}


def test_a_plan_that_failed_is_named_unread_and_the_others_go_on() -> None:
    usage = a_usage(a_page({"k2": pairs({YESTERDAY: 1})}))
    evidence = night(
        unread("k1", usage_plan_id="p1"), answer("k2", usage_plan_id="p2", usage=usage)
    )
    assert {plan_id: plan.unread for plan_id, plan in evidence.plans.items()} == {
        "p1": "GetUsage failed: Throttled",
        "p2": None,
    }
    assert evidence.last_used == {"k2": YESTERDAY}


def test_members_that_were_not_read_are_those_of_the_evidence_before() -> None:
    failed = UsagePlanAnswer(a_usage_plan(), None, None, failed="GetUsagePlanKeys failed")
    before = an_evidence(a_reading("k1", "k2"), day=YESTERDAY)
    assert night(failed, before=before).plans == {
        PLAN_ID: a_reading("k1", "k2", members_read=False, unread="GetUsagePlanKeys failed")
    }
    assert night(failed).plans == {
        PLAN_ID: a_reading(members_read=False, unread="GetUsagePlanKeys failed")
    }


def test_a_key_deleted_meanwhile_is_known_by_the_evidence_before() -> None:
    usage = a_usage(a_page({"old": pairs({YESTERDAY: 1})}))
    before = an_evidence(a_reading("old"), day=YESTERDAY)
    evidence = night(answer("new", usage=usage), before=before)
    assert evidence.plans == {PLAN_ID: a_reading("new")}
    assert (evidence.gone, evidence.last_used) == (frozenset({"old"}), {"old": YESTERDAY})


@pytest.mark.parametrize(
    "known", [{"gone": frozenset({"old"})}, {"left_plans_on": {"old": days_ago(9)}}]
)
def test_a_key_that_is_gone_for_longer_is_known_still(known: dict[str, Any]) -> None:
    usage = a_usage(a_page({"old": pairs({days_ago(80): 1})}))
    before = an_evidence(a_reading("k1"), day=YESTERDAY, **known)
    evidence = night(answer("k1", usage=usage), before=before)
    assert (evidence.plans[PLAN_ID].unread, evidence.gone) == (None, frozenset({"old"}))


def test_a_key_that_usage_names_no_more_is_gone_no_more() -> None:
    before = an_evidence(a_reading("k1"), day=YESTERDAY, gone=frozenset({"old"}))
    assert night(answer("k1"), before=before).gone == frozenset()


def test_use_of_all_plans_is_summed_by_day() -> None:
    one = a_usage(a_page({"k1": pairs({YESTERDAY: 2, days_ago(3): 1})}))
    two = a_usage(a_page({"k2": pairs({YESTERDAY: 5})}))
    evidence = night(
        answer("k1", usage_plan_id="p1", usage=one), answer("k2", usage_plan_id="p2", usage=two)
    )
    assert evidence.used_by_day == {YESTERDAY: 7, days_ago(3): 1}


def test_a_key_in_two_plans_was_last_used_on_the_later_day() -> None:
    late = a_usage(a_page({"k1": pairs({days_ago(2): 1})}))
    early = a_usage(a_page({"k1": pairs({days_ago(5): 1})}))
    for one, two in ((late, early), (early, late)):
        evidence = night(
            answer("k1", usage_plan_id="p1", usage=one),
            answer("k1", usage_plan_id="p2", usage=two),
        )
        assert evidence.last_used == {"k1": days_ago(2)}
    assert evidence.plans_of_key() == {"k1": ["p1", "p2"]}


# --- what is carried forward ----------------------------------------------------------------------


def test_a_use_is_carried_forward_beyond_the_days_that_usage_reaches() -> None:
    before = an_evidence(a_reading("k1"), day=YESTERDAY, used={"k1": days_ago(200)})
    assert night(answer("k1"), before=before).last_used == {"k1": days_ago(200)}


def test_a_later_use_takes_the_place_of_the_one_before_and_an_earlier_does_not() -> None:
    before = an_evidence(
        a_reading("k1", "k2"), day=YESTERDAY, used=dict.fromkeys(("k1", "k2"), days_ago(5))
    )
    usage = a_usage(a_page({"k1": pairs({days_ago(2): 1}), "k2": pairs({days_ago(8): 1})}))
    assert night(answer("k1", "k2", usage=usage), before=before).last_used == {
        "k1": days_ago(2),
        "k2": days_ago(5),
    }


def test_the_use_of_a_key_that_left_its_plan_is_carried_and_of_one_long_gone_is_not() -> None:
    used = {"left": days_ago(7), "earlier": days_ago(8), "gone": days_ago(9)}
    before = an_evidence(
        a_reading("left"), day=YESTERDAY, used=used, left_plans_on={"earlier": days_ago(4)}
    )
    assert night(answer("k1"), before=before).last_used == {
        "left": days_ago(7),
        "earlier": days_ago(8),
    }


def test_who_is_in_no_plan_any_more_left_on_the_date_of_the_evidence_before() -> None:
    before = an_evidence(a_reading("k1", "k2"), day=days_ago(2), left_plans_on={"k3": days_ago(9)})
    evidence = night(answer("k1"), before=before)
    assert evidence.left_plans_on == {"k2": days_ago(2), "k3": days_ago(9)}


def test_who_is_in_a_plan_again_has_not_left() -> None:
    before = an_evidence(a_reading("k1"), day=YESTERDAY, left_plans_on={"k2": days_ago(9)})
    assert night(answer("k1", "k2"), before=before).left_plans_on == {}


def test_who_left_is_forgotten_in_the_end() -> None:
    oldest = TODAY - FORGET_AFTER
    before = an_evidence(
        a_reading("k1"),
        day=YESTERDAY,
        left_plans_on={"k2": oldest, "k3": oldest - DAY},
        plans_changed={"k4": oldest, "k5": oldest - DAY},
    )
    evidence = night(answer("k1"), before=before)
    assert (evidence.left_plans_on, evidence.plans_changed) == ({"k2": oldest}, {"k4": oldest})


def test_plans_changed_when_a_key_moved_left_joined_or_came_back() -> None:
    before = an_evidence(
        a_reading("stays", "moves", "joins", "leaves", usage_plan_id="p1"),
        a_reading(usage_plan_id="p2"),
        day=YESTERDAY,
        left_plans_on={"comes": days_ago(9)},
        plans_changed={"stays": days_ago(30), "moves": days_ago(30)},
    )
    evidence = night(
        answer("stays", "joins", "comes", usage_plan_id="p1"),
        answer("joins", "moves", usage_plan_id="p2"),
        before=before,
    )
    assert evidence.plans_changed == {
        "stays": days_ago(30),
        "moves": TODAY,
        "joins": TODAY,
        "leaves": TODAY,
        "comes": TODAY,
    }


def test_who_joins_a_plan_that_could_not_be_read_the_night_before_had_its_plans_changed() -> None:
    before = an_evidence(
        a_reading("k1", members_read=False), a_reading("k2", usage_plan_id="p2"), day=YESTERDAY
    )
    evidence = night(answer("k1", "k2"), answer("k2", usage_plan_id="p2"), before=before)
    assert evidence.plans_changed == {"k2": TODAY}


def test_the_order_of_plans_is_no_change_of_them() -> None:
    before = an_evidence(
        a_reading("k1", usage_plan_id="p1"), a_reading("k1", usage_plan_id="p2"), day=YESTERDAY
    )
    evidence = night(
        answer("k1", usage_plan_id="p2"), answer("k1", usage_plan_id="p1"), before=before
    )
    assert evidence.plans_changed == {}


def test_the_witness_is_carried_forward() -> None:
    before = an_evidence(
        day=YESTERDAY, witnessed_plans=["p7"], seen_stages={("api7:dev", False): YESTERDAY}
    )
    usage = a_usage(a_page({"k1": pairs({YESTERDAY: 1})}))
    evidence = night(answer("k1", usage=usage), before=before)
    assert (evidence.witnessed_plans, evidence.seen_stages) == (
        {("p7", True): YESTERDAY, (PLAN_ID, True): YESTERDAY},
        {("api7:dev", False): YESTERDAY, (STAGE, True): YESTERDAY},
    )


def test_a_witness_is_a_request_and_not_a_closed_door() -> None:
    shut = [[0, 0]] * 91
    evidence = night(answer("k1", usage=a_usage(a_page({"k1": shut}))))
    assert (evidence.witnessed_plans, evidence.seen_stages) == ({}, {})


# --- what the reading before told -------------------------------------------------------------------


def reads(
    used: dict[str, dict[date, int]],
    *members: str,
    before: Evidence | None = None,
    day: date = TODAY,
    **plan: Any,
) -> Evidence:
    """The evidence of a night whose one plan tells these requests; its members are who had some."""
    start, named = day - DAY * 90, a_usage_plan(**plan)
    items = {key_id: pairs(days, start=start, end=day) for key_id, days in used.items()}
    usage = a_usage(a_page(items, start=start, end=day), plan=named, day=day)
    return night(UsagePlanAnswer(named, members or tuple(used), usage), before=before, day=day)


DAILY = {days_ago(back): 10 for back in range(2, 60)}


def test_a_plan_that_tells_nothing_where_the_reading_before_told_requests_is_unread() -> None:
    before = reads({"k1": DAILY, "k2": DAILY}, day=YESTERDAY)
    evidence = reads({}, "k1", "k2", before=before)
    assert evidence.plans[PLAN_ID].unread == (
        f"its usage tells 0 requests where the reading of {YESTERDAY} told 1,160 for the same days"
    )
    assert evidence.told == before.told  # the last good reading is what the next is held against


@pytest.mark.parametrize(("lost", "unread"), [(0, False), (5, False), (6, True), (290, True)])
def test_a_plan_is_unread_that_tells_over_one_of_a_hundred_fewer_for_the_same_days(
    lost: int, unread: bool
) -> None:
    before = reads({"k1": DAILY}, day=YESTERDAY)
    fewer = {**DAILY, **dict.fromkeys(list(DAILY)[: lost // 10], 0)}
    fewer[days_ago(40)] -= lost % 10
    evidence = reads({"k1": fewer}, before=before)
    assert (evidence.plans[PLAN_ID].unread is not None) is unread


def test_a_plan_of_one_request_that_is_told_no_more_is_unread() -> None:
    before = reads({"k1": {days_ago(30): 1}}, day=YESTERDAY)
    assert reads({"k1": {}}, before=before).plans[PLAN_ID].unread is not None
    assert reads({"k1": {days_ago(30): 1}}, before=before).plans[PLAN_ID].unread is None


def test_days_at_the_edge_of_what_usage_reaches_back_to_may_drop_out() -> None:
    edge = {days_ago(back): 50 for back in range(81, 90)}
    before = reads({"k1": {**edge, days_ago(80): 1}}, day=YESTERDAY)
    evidence = reads({"k1": {days_ago(80): 1}}, before=before)
    assert evidence.plans[PLAN_ID].unread is None
    before = reads({"k1": edge}, day=YESTERDAY)
    evidence = reads({"k1": {}}, before=before)
    assert (evidence.plans[PLAN_ID].unread, evidence.untold) == (None, {})


def test_requests_of_a_key_that_left_the_plan_or_does_not_fit_are_not_missed() -> None:
    before = reads({"k1": DAILY, "k2": DAILY}, day=YESTERDAY)
    assert reads({"k1": DAILY}, "k1", before=before).plans[PLAN_ID].unread is None
    named = a_usage_plan()
    usage = a_usage(a_page({"k1": pairs(DAILY), "k2": [[0, 9]] * 60}))
    evidence = night(UsagePlanAnswer(named, ("k1", "k2"), usage), before=before)
    assert (evidence.plans[PLAN_ID].unread, evidence.unclear) == (None, {"k2": PLAN_ID})
    lost = reads({"k1": {}}, "k1", before=before)
    assert lost.plans[PLAN_ID].unread is not None  # what is left is missed


def test_a_plan_stays_unread_until_it_tells_again_however_long_that_takes() -> None:
    evidence = reads({"k1": DAILY}, day=YESTERDAY)
    for back in range(120):
        evidence = reads({}, "k1", before=evidence, day=in_days(back))
        assert evidence.plans[PLAN_ID].unread is not None
    day = in_days(120)
    evidence = reads({"k1": {day - DAY * 2: 1}}, before=evidence, day=day)
    assert evidence.plans[PLAN_ID].unread is None


def test_a_reading_of_400_days_ago_is_held_against_none() -> None:
    before = reads({"k1": {days_ago(420): 7}}, day=days_ago(401))
    assert reads({}, "k1", before=before).plans[PLAN_ID].unread is not None
    unread = reads({}, "k1", before=before)
    assert unread.told == {}
    assert reads({}, "k1", before=unread, day=in_days(1)).plans[PLAN_ID].unread is None


def test_a_use_that_an_earlier_reading_told_and_tonights_does_not_leaves_the_key_in_doubt() -> None:
    # k2 is one of a hundred: the plan as a whole tells what it told.
    before = reads({"k1": DAILY, "k2": {days_ago(30): 1}}, day=YESTERDAY)
    evidence = reads({"k1": DAILY, "k2": {}}, before=before)
    assert (evidence.plans[PLAN_ID].unread, evidence.untold) == (None, {"k2": days_ago(30)})
    for ahead in range(1, 100):  # also when usage reaches back to that day no more
        evidence = reads({"k1": DAILY, "k2": {}}, before=evidence, day=in_days(ahead))
        assert evidence.untold == {"k2": days_ago(30)}
    day = in_days(100)
    later = {day - DAY * 3: 1}
    assert reads({"k1": DAILY, "k2": later}, before=evidence, day=day).untold == {}


def test_a_use_that_is_told_again_leaves_no_doubt() -> None:
    used = {"k1": DAILY, "k2": {days_ago(30): 1}}
    before = reads({"k1": DAILY}, "k1", "k2", before=reads(used, day=days_ago(2)), day=YESTERDAY)
    assert before.untold == {"k2": days_ago(30)}
    assert reads(used, before=before).untold == {}


def test_a_key_whose_plans_changed_since_its_use_is_not_in_doubt() -> None:
    # The use was counted in the plan that it left.
    before = an_evidence(a_reading("k1"), day=YESTERDAY, used={"k1": days_ago(9)})
    moved = replace(before, plans_changed={"k1": days_ago(5)})
    assert reads({"k1": {}}, before=before).untold == {"k1": days_ago(9)}
    assert reads({"k1": {}}, before=moved).untold == {}
    closed = replace(before, quota_since={PLAN_ID: days_ago(5)})  # a closed door is one no more
    assert reads({"k1": {}}, before=closed).untold == {}


def test_the_guess_at_the_last_use_of_a_key_that_did_not_fit_puts_no_later_reading_in_doubt() -> (
    None
):
    usage = a_usage(
        a_page(
            {"k1": [[1, 9]] * 60, "k2": pairs(DAILY, start=days_ago(91), end=YESTERDAY)},
            start=days_ago(91),
            end=YESTERDAY,
        ),
        day=YESTERDAY,
    )
    first = night(UsagePlanAnswer(a_usage_plan(), ("k1", "k2"), usage), day=YESTERDAY)
    assert (first.guessed, first.last_used["k1"]) == ({"k1": YESTERDAY}, YESTERDAY)
    told = {"k1": {days_ago(50): 1}, "k2": DAILY}
    second = reads(told, before=first)
    third = reads(told, before=second, day=in_days(1))
    assert (second.untold, third.untold, third.last_used["k1"]) == ({}, {}, YESTERDAY)


def test_what_a_plan_showed_before_it_failed_is_use_and_no_silence() -> None:
    usage = a_usage(a_page({"k1": pairs({days_ago(4): 1})}))
    failed = UsagePlanAnswer(a_usage_plan(), ("k1", "k2"), usage, failed="GetUsage failed: 500")
    evidence, usages = take_evidence(TODAY, [failed], None)
    assert (evidence.last_used, usages) == ({"k1": days_ago(4)}, {})
    assert evidence.plans[PLAN_ID].unread == "GetUsage failed: 500"
    assert (evidence.told, evidence.witnessed_plans) == ({}, {})


# --- a gap in the readings of a plan ----------------------------------------------------------------


def test_a_plan_that_was_unread_for_longer_than_usage_reaches_back_has_a_first_day_of_its_own() -> (
    None
):
    before = reads({"k1": DAILY}, day=days_ago(100))
    for back in range(99, 0, -1):
        before = night(unread("k1"), before=before, day=days_ago(back))
    assert before.first_days == {}
    evidence = reads({"k1": {YESTERDAY: 1}}, before=before)
    assert evidence.first_days == {PLAN_ID: days_ago(90)}
    later = reads({"k1": {YESTERDAY: 1}}, before=evidence, day=in_days(1))
    assert later.first_days == {PLAN_ID: days_ago(90)}


def test_a_plan_that_usage_reaches_back_over_or_that_is_new_has_no_gap() -> None:
    before = reads({"k1": DAILY}, day=days_ago(80))
    for back in range(79, 0, -1):
        before = night(unread("k1"), before=before, day=days_ago(back))
    assert reads({"k1": {YESTERDAY: 1}}, before=before).first_days == {}
    new = night(answer("k1"), answer("k2", usage_plan_id="p2"), before=an_evidence(day=YESTERDAY))
    assert new.first_days == {}


def test_a_plan_that_no_night_before_could_read_has_a_gap() -> None:
    before = night(unread("k1"), day=YESTERDAY)
    assert night(answer("k1"), before=before).first_days == {PLAN_ID: days_ago(90)}


def told_since(
    used: dict[str, dict[date, int]],
    *members: str,
    back: int,
    before: Evidence | None = None,
    day: date = TODAY,
) -> Evidence:
    """The evidence of a night whose one plan tells no day that is longer ago than `back`."""
    start = day - DAY * back
    items = {key_id: pairs(days, start=start, end=day) for key_id, days in used.items()}
    usage = a_usage(a_page(items, start=start, end=day), day=day)
    return night(
        UsagePlanAnswer(a_usage_plan(), members or tuple(used), usage), before=before, day=day
    )


@pytest.mark.parametrize("back", [89, 60, 30])
def test_a_first_answer_that_goes_back_less_far_gives_its_plan_a_first_day_of_its_own(
    back: int,
) -> None:
    evidence = told_since({"k1": {days_ago(one): 1 for one in range(1, back)}}, back=back)
    assert evidence.plans[PLAN_ID].unread is None
    assert evidence.first_days == {PLAN_ID: days_ago(back)}
    assert from_document(to_document(evidence)) == evidence
    for ahead in range(1, 100):
        day = in_days(ahead)
        used = {"k1": {day - DAY * one: 1 for one in range(1, back)}}
        evidence = told_since(used, back=back, before=evidence, day=day)
        assert evidence.plans[PLAN_ID].unread is None
        assert evidence.first_days == {PLAN_ID: days_ago(back)}, "every night is read"


def test_an_answer_that_goes_back_less_far_than_those_before_it_makes_no_gap_and_no_doubt() -> None:
    used = {"k1": {days_ago(50): 9}, "k2": DAILY}
    before = reads(used, day=YESTERDAY)
    evidence = told_since(used, back=30, before=before)
    assert (evidence.plans[PLAN_ID].unread, evidence.first_days) == (None, {})
    assert (evidence.untold, evidence.last_used["k1"]) == ({}, days_ago(50))


def test_an_answer_over_fewer_days_is_held_against_the_next_on_the_days_that_both_tell() -> None:
    before = told_since({"k1": DAILY, "k2": DAILY}, back=30, day=YESTERDAY)
    assert before.told[PLAN_ID].since == YESTERDAY - DAY * 30
    left = told_since({"k1": DAILY}, "k1", back=30, before=before)
    assert left.plans[PLAN_ID].unread is None
    all_left = told_since({}, "k3", back=30, before=before)
    assert all_left.plans[PLAN_ID].unread is None
    lost = told_since({}, "k1", "k2", back=30, before=before)
    assert lost.plans[PLAN_ID].unread is not None


def test_of_a_file_of_version_1_the_gap_is_what_its_usage_files_do_not_hold() -> None:
    before = an_evidence(
        *(a_reading("k1", usage_plan_id=one) for one in ("p1", "p2", "p3")),
        day=YESTERDAY,
        read_through={"p1": days_ago(2), "p2": days_ago(91)},
    )
    answers = [answer("k1", usage_plan_id=one) for one in ("p1", "p2", "p3")]
    assert night(*answers, before=before).first_days == {"p2": days_ago(90)}


# --- ids that are in no plan ------------------------------------------------------------------------


def test_the_last_use_of_an_id_that_no_plan_has_is_kept_and_shown_to_nobody() -> None:
    evidence = reads({"k1": {}, "abc123": {YESTERDAY: 1}}, "k1")
    assert evidence.last_use("abc123") == YESTERDAY
    assert "abc123" not in repr(evidence)
    later = reads({"k1": {}}, "k1", before=evidence, day=in_days(300))
    assert later.last_use("abc123") == YESTERDAY
    forgotten = reads({"k1": {}}, "k1", before=later, day=in_days(400))
    assert forgotten.last_use("abc123") is None


def test_the_requests_of_ids_that_no_plan_has_are_not_missed() -> None:
    before = reads({"k1": {}, "abc123": DAILY, "x" * 40: DAILY}, "k1", day=YESTERDAY)
    assert before.told[PLAN_ID].key_ids == ()
    assert "x" * 40 not in json.dumps(to_document(before))
    assert reads({"k1": {}}, "k1", before=before).plans[PLAN_ID].unread is None


def test_an_id_that_joins_a_plan_brings_its_use_along() -> None:
    before = reads({"k1": {}, "abc123": {days_ago(2): 1}}, "k1", day=YESTERDAY)
    evidence = reads({"k1": {}}, "k1", "abc123", before=before)
    assert (evidence.last_used["abc123"], evidence.strangers) == (days_ago(2), {})


@pytest.mark.parametrize("odd", ["a" * 20, "A1B2C3D4E5", "keyj-abc", "a b", "x" * 40, ""])
def test_what_may_be_a_value_is_not_kept(odd: str) -> None:
    assert reads({"k1": {}, odd: {YESTERDAY: 1}}, "k1").strangers == {}


@pytest.mark.slow
def test_of_many_ids_that_no_plan_has_the_latest_used_are_kept() -> None:
    used = {f"s{index}": {days_ago(5): 1} for index in range(STRANGERS)}
    before = reads({"k1": {}, **used}, "k1", day=YESTERDAY)
    assert len(before.strangers) == STRANGERS
    evidence = reads({"k1": {}, "late": {YESTERDAY: 1}}, "k1", before=before)
    assert len(evidence.strangers) == STRANGERS
    assert evidence.last_use("late") == YESTERDAY


# --- emptied plans --------------------------------------------------------------------------------


def test_an_emptied_plan_keeps_its_members_for_a_night_and_is_believed_on_the_second() -> None:
    before = an_evidence(a_reading("k1", "k2"), day=days_ago(2))
    first = night(answer(), before=before, day=YESTERDAY)
    second = night(answer(), before=first)
    third = night(answer(), before=second, day=in_days(1))
    assert [one.plans[PLAN_ID] for one in (first, second, third)] == [
        a_reading("k1", "k2", members_read=False, emptied=True),
        a_reading(),
        a_reading(),
    ]
    assert (first.left_plans_on, second.left_plans_on) == ({}, {"k1": YESTERDAY, "k2": YESTERDAY})


def test_an_emptied_plan_that_has_members_again_is_as_before() -> None:
    before = an_evidence(a_reading("k1"), day=days_ago(2))
    first = night(answer(), before=before, day=YESTERDAY)
    second = night(answer("k1"), before=first)
    assert (second.plans, second.plans_changed) == ({PLAN_ID: a_reading("k1")}, {})


def test_a_new_plan_without_members_is_empty() -> None:
    before = an_evidence(a_reading("k1"), day=YESTERDAY)
    evidence = night(answer("k1"), answer(usage_plan_id="p2"), before=before)
    assert evidence.plans["p2"] == a_reading(usage_plan_id="p2")


# --- the unbroken chain ---------------------------------------------------------------------------


def chain(before: Evidence | None, *answers: UsagePlanAnswer) -> date | None:
    return night(*(answers or (answer("k1"),)), before=before).complete_since


def test_the_chain_goes_on_from_night_to_night() -> None:
    assert chain(an_evidence(day=YESTERDAY, complete_since=days_ago(7))) == days_ago(7)


def test_the_chain_begins_anew_with_the_first_evidence_a_missing_night_and_a_broken_one() -> None:
    befores = [
        None,
        an_evidence(day=days_ago(2), complete_since=days_ago(7)),
        an_evidence(day=YESTERDAY, complete_since=None),
    ]
    assert [chain(before) for before in befores] == [TODAY] * 3


def test_the_chain_breaks_when_the_members_of_a_plan_are_not_read() -> None:
    failed = UsagePlanAnswer(a_usage_plan("p2"), None, None, failed="failed")
    assert chain(an_evidence(day=YESTERDAY), answer("k1"), failed) is None


def test_the_chain_holds_when_only_usage_is_not_read_or_a_plan_is_emptied() -> None:
    before = an_evidence(day=YESTERDAY, complete_since=days_ago(7))
    assert chain(before, unread("k1")) == days_ago(7)
    before = an_evidence(a_reading("k1"), day=YESTERDAY, complete_since=days_ago(7))
    assert chain(before, answer()) == days_ago(7)


# --- the history ----------------------------------------------------------------------------------


def test_a_usage_tells_a_days_requests_and_what_is_left_of_a_quota() -> None:
    usage = a_usage(a_page({"k1": pairs({YESTERDAY: 7}, remaining=93), "k2": [None] * 91}))
    assert usage.on(YESTERDAY, "k1") == (7, 93)
    assert usage.on(days_ago(2), "k1") == (0, 93)
    assert usage.on(YESTERDAY, "k2") == (0, None)
    assert usage.on(YESTERDAY, "not mentioned") == (0, None)


@pytest.mark.parametrize("first", [3, 10, 90])
def test_a_usage_tells_every_day_of_the_history_that_it_was_asked_for(first: int) -> None:
    usage = PlanUsage(a_usage_plan(), days_ago(90), TODAY, days_ago(first))
    usage.add(a_page({"k1": pairs({days_ago(n): n * 10 for n in range(91)})}))
    told = [usage.on(days_ago(back), "k1") for back in range(first, 0, -1)]
    assert told == [(back * 10, 1000) for back in range(first, 0, -1)]


def test_a_history_begins_where_usage_does_at_the_earliest_and_three_days_ago_if_left_out() -> None:
    asked = days_ago(90), TODAY
    assert PlanUsage(a_usage_plan(), *asked, days_ago(300)).history_from == days_ago(90)
    assert PlanUsage(a_usage_plan(), *asked).history_from == days_ago(3)


@pytest.mark.parametrize(("late", "through"), [(0, 1), (1, 1), (2, 2)])
def test_a_usage_is_told_through_the_end_of_its_earliest_page_and_never_through_today(
    late: int, through: int
) -> None:
    end = days_ago(late)
    usage = a_usage(
        a_page({"k1": pairs({end: 4}, end=end)}, end=end), a_page({"k2": pairs({TODAY: 4})})
    )
    assert usage.read_through == days_ago(through)


@pytest.mark.parametrize("count", [1, 5, 90, 92])
def test_of_whom_the_days_cannot_be_told_apart_nobody_knows_which_were_used(count: int) -> None:
    usage = a_usage(a_page({"k1": [[3, 5]] + [[0, 5]] * (count - 1), "k2": [[0, 5]] * count}))
    assert usage.unclear == {"k1", "k2"}  # on what other days k2 was used nobody told
    assert usage.used == {}


@pytest.mark.parametrize("beyond", [2**63, -(2**63) - 1])
def test_a_number_beyond_all_measure_is_refused(beyond: int) -> None:
    with pytest.raises(UnexpectedAnswer, match="too large"):
        a_usage(a_page({"k1": pairs({YESTERDAY: beyond})}))


def test_the_last_day_that_was_read_of_each_plan_is_remembered_while_there_is_the_plan() -> None:
    before = an_evidence(
        *(a_reading(usage_plan_id=plan_id) for plan_id in ("p1", "p2", "p3", "p4")),
        day=YESTERDAY,
        read_through={"p1": days_ago(2), "p2": days_ago(6), "p4": days_ago(2)},
    )
    evidence = night(
        answer("k1", usage_plan_id="p1"),
        unread("k2", usage_plan_id="p2"),
        unread("k3", usage_plan_id="p3"),
        before=before,
    )
    assert evidence.read_through == {"p1": YESTERDAY, "p2": days_ago(6)}


def before_that_read(through: date | None = None, **plan: Any) -> Evidence:
    told = {PLAN_ID: through} if through else {}
    return an_evidence(a_reading("k1", **plan), day=YESTERDAY, read_through=told)


@pytest.mark.parametrize(
    ("before", "first"),
    [
        (None, 90),  # the first night of all
        (before_that_read(days_ago(2)), 3),
        (before_that_read(days_ago(3)), 3),  # it reached the day before yesterday
        (before_that_read(days_ago(9), unread="GetUsage failed"), 8),
        (before_that_read(days_ago(200), unread="GetUsage failed"), 90),
        (before_that_read(unread="GetUsage failed"), 90),  # it was never read
        (before_that_read(), 3),  # an evidence that does not tell
        (an_evidence(day=days_ago(9), read_through={PLAN_ID: days_ago(10)}), 9),  # nights missed
        (an_evidence(a_reading("k1", usage_plan_id="p2"), day=days_ago(9)), 9),  # new since
    ],
)
def test_tonight_makes_up_for_the_days_that_no_night_has_read(
    before: Evidence | None, first: int
) -> None:
    assert history_from(PLAN_ID, TODAY, before) == days_ago(first)


# --- as a file ------------------------------------------------------------------------------------

TEXT = st.text(max_size=8)
IDS = st.text("abc019", min_size=1, max_size=4)
DAYS = st.dates(date(2026, 1, 1), date(2027, 1, 1))
READINGS = st.builds(
    UsagePlanReading,
    usage_plan_id=IDS,
    name=TEXT,
    stages=st.lists(TEXT, max_size=3).map(tuple),
    has_quota=st.booleans(),
    members=st.lists(IDS, max_size=5).map(tuple),
    members_read=st.booleans(),
    emptied=st.booleans(),
    unread=st.none() | TEXT,
    unknown_ids=st.integers(0, 99),
)
TOLD = st.builds(
    Told,
    day=DAYS,
    through=DAYS,
    by_day=st.dictionaries(DAYS, st.integers(0, 10**9), max_size=4),
    key_ids=st.lists(IDS, max_size=3).map(tuple),
    used=st.lists(st.integers(0, 10**9), max_size=3).map(tuple),
    others=st.integers(0, 10**9),
)
EVIDENCES = st.builds(
    Evidence,
    day=DAYS,
    first_day=DAYS,
    complete_since=st.none() | DAYS,
    plans=st.lists(READINGS, max_size=3).map(
        lambda plans: {plan.usage_plan_id: plan for plan in plans}
    ),
    last_used=st.dictionaries(IDS, DAYS, max_size=4),
    left_plans_on=st.dictionaries(IDS, DAYS, max_size=4),
    plans_changed=st.dictionaries(IDS, DAYS, max_size=4),
    used_by_day=st.dictionaries(DAYS, st.integers(0, 10**9), max_size=4),
    witnessed_plans=st.dictionaries(st.tuples(IDS, st.booleans()), DAYS, max_size=3),
    seen_stages=st.dictionaries(st.tuples(TEXT, st.booleans()), DAYS, max_size=3),
    gone=st.frozensets(IDS, max_size=3),
    read_through=st.dictionaries(IDS, DAYS, max_size=3),
    told=st.dictionaries(IDS, TOLD, max_size=3),
    quota_since=st.dictionaries(IDS, DAYS, max_size=3),
    stages_since=st.dictionaries(IDS, DAYS, max_size=3),
    first_days=st.dictionaries(IDS, DAYS, max_size=3),
    unclear=st.dictionaries(IDS, IDS, max_size=3),
    guessed=st.dictionaries(IDS, DAYS, max_size=3),
    untold=st.dictionaries(IDS, DAYS, max_size=3),
    strangers=st.dictionaries(IDS, DAYS, max_size=3),
    usage_range=st.none() | st.builds(AnsweredRange, st.integers(), st.integers(), DAYS),
)


@given(EVIDENCES)
def test_evidence_comes_back_from_its_file_as_it_was(evidence: Evidence) -> None:
    assert from_document(to_document(evidence)) == evidence


@given(EVIDENCES)
def test_the_file_is_json_and_the_same_for_the_same_evidence(evidence: Evidence) -> None:
    text = json.dumps(to_document(evidence))
    again = from_document(json.loads(text))
    assert json.dumps(to_document(again)) == text


# --- the days that API Gateway answers -----------------------------------------------------------


def that_notes(found_on: date) -> Evidence:
    return replace(an_evidence(day=YESTERDAY), usage_range=AnsweredRange(60, 0, found_on))


@pytest.mark.parametrize(
    ("before", "asked_first"),
    [
        (None, None),
        (an_evidence(day=YESTERDAY), None),
        (that_notes(YESTERDAY), (60, 0)),
        (that_notes(TODAY - REMEMBERED + DAY), (60, 0)),
        (that_notes(TODAY - REMEMBERED), None),
        (that_notes(TODAY + DAY), None),
    ],
)
def test_a_range_that_was_answered_is_asked_for_first_for_a_week(
    before: Evidence | None, asked_first: tuple[int, int] | None
) -> None:
    assert remembered(before, TODAY) == asked_first


def test_a_range_is_noted_on_the_day_it_is_found_and_kept_while_it_is_remembered() -> None:
    before = that_notes(days_ago(3))
    assert noted(None, before, TODAY) is None
    assert noted((60, 0), None, TODAY) == AnsweredRange(60, 0, TODAY)
    assert noted((60, 0), before, TODAY) == before.usage_range
    assert noted((30, 0), before, TODAY) == AnsweredRange(30, 0, TODAY)
    assert noted((60, 0), that_notes(TODAY - REMEMBERED), TODAY) == AnsweredRange(60, 0, TODAY)


OF_VERSION_1 = {
    "version": 1,
    "date": str(TODAY),
    "first_day": str(days_ago(455)),
    "complete_since": str(days_ago(365)),
    "plans": [
        {
            "usage_plan_id": plan_id,
            "name": plan_id,
            "stages": [STAGE],
            "has_quota": has_quota,
            "members": ["k1", "k2"],
            "members_read": True,
            "emptied": False,
            "unread": None,
            "unknown_ids": 0,
        }
        for plan_id, has_quota in (("p1", True), ("p2", False))
    ],
    "last_used": {"k1": str(YESTERDAY)},
    "left": {"k3": str(days_ago(9))},
    "plans_changed": {"k2": str(days_ago(8))},
    "appeared": {"k1": str(days_ago(7))},
    "used_by_day": {str(YESTERDAY): 7},
    "seen_plans": ["gone", "p1", "p2"],
    "seen_stages": [["api9:dev", False], [STAGE, True]],
    "gone": ["k4"],
    "told_through": {"p1": str(YESTERDAY)},
}


def test_a_file_of_version_1_is_read_still_and_dates_its_witnesses_on_its_own_date() -> None:
    plans = {
        "p1": a_reading("k1", "k2", usage_plan_id="p1", name="p1"),
        "p2": a_reading("k1", "k2", usage_plan_id="p2", name="p2", has_quota=False),
    }
    assert from_document(OF_VERSION_1) == Evidence(
        day=TODAY,
        first_day=days_ago(455),
        complete_since=days_ago(365),
        plans=plans,
        last_used={"k1": YESTERDAY},
        left_plans_on={"k3": days_ago(9)},
        plans_changed={"k2": days_ago(8)},
        first_in_plan_on={"k1": days_ago(7)},
        used_by_day={YESTERDAY: 7},
        witnessed_plans={("p1", True): TODAY, ("p2", False): TODAY},
        seen_stages={("api9:dev", False): TODAY, (STAGE, True): TODAY},
        gone=frozenset({"k4"}),
        read_through={"p1": YESTERDAY},
    )


def test_the_earliest_files_do_not_tell_what_was_read_through_when_and_are_read_still() -> None:
    earliest = {name: value for name, value in OF_VERSION_1.items() if name != "told_through"}
    assert from_document(earliest).read_through == {}


OLD_NAMES = {  # by the name of today
    "left_plans_on": "left",
    "first_in_plan_on": "appeared",
    "witnessed_plans": "seen_plans",
    "read_through": "told_through",
}


def test_a_file_of_version_2_is_read_by_its_own_names() -> None:
    evidence = an_evidence(
        left_plans_on={"k3": days_ago(9)},
        first_in_plan_on={"k1": days_ago(7)},
        read_through={PLAN_ID: YESTERDAY},
    )
    document = to_document(evidence)
    written = {OLD_NAMES.get(name, name): value for name, value in document.items()}
    assert from_document({**written, "version": 2}) == evidence
    for name in OLD_NAMES.values():
        lost = {one: value for one, value in written.items() if one != name}
        with pytest.raises(UnexpectedAnswer, match="a field is missing"):
            from_document({**lost, "version": 2})
    with pytest.raises(UnexpectedAnswer, match="a field is missing"):
        from_document({**document, "version": 2})


@pytest.mark.parametrize("name", sorted({*to_document(an_evidence())} - {"version"}))
@pytest.mark.parametrize("odd", [None, 7, "odd", [7], {"odd": 7}, [None], {"odd": None}])
def test_a_file_that_lost_a_field_or_holds_another_kind_of_it_is_refused(
    name: str, odd: Any
) -> None:
    document = to_document(an_evidence())
    if odd is None and name == "complete_since":
        return
    with pytest.raises(UnexpectedAnswer):
        from_document({**document, name: odd})
    with pytest.raises(UnexpectedAnswer):
        from_document({one: value for one, value in document.items() if one != name})


@pytest.mark.parametrize("odd", [None, [], "text", 7])
def test_a_file_that_holds_no_object_is_refused(odd: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        from_document(odd)


@pytest.mark.parametrize("version", [None, 0, 4, "1", "3", [], {}])
def test_a_file_of_another_version_is_refused(version: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        from_document({**to_document(an_evidence()), "version": version})


# --- laws -----------------------------------------------------------------------------------------

USE = st.dictionaries(st.integers(0, 90).map(days_ago), st.integers(1, 9), max_size=3)


@given(st.dictionaries(IDS, USE, max_size=9), st.integers(1, 9), st.randoms())
def test_how_keys_are_spread_over_pages_makes_no_difference(
    used: dict[str, dict[date, int]], size: int, random: Any
) -> None:
    ids = sorted(used)
    whole = a_usage(a_page({key_id: pairs(used[key_id]) for key_id in ids}))
    random.shuffle(ids)
    parts = a_usage(
        *(
            a_page({key_id: pairs(used[key_id]) for key_id in ids[start : start + size]})
            for start in range(0, len(ids), size)
        )
    )
    assert (parts.last_used, parts.used_by_day, parts.ids, parts.had_requests) == (
        whole.last_used,
        whole.used_by_day,
        whole.ids,
        whole.had_requests,
    )


@given(st.lists(USE, min_size=1, max_size=4))
def test_what_was_proven_to_be_used_stays_so_night_after_night(nights: list[Any]) -> None:
    evidence: Evidence | None = None
    latest = date.min
    for index, used in enumerate(nights):
        day = TODAY + DAY * index
        start = day - DAY * 90
        usage = PlanUsage(a_usage_plan(), start, day)
        usage.add(a_page({"k1": pairs(used, start=start, end=day)}, start=start, end=day))
        evidence = night(answer("k1", usage=usage), before=evidence, day=day)
        latest = max([latest, *(on for on in used if on >= start)])
        assert evidence.last_used.get("k1", date.min) == latest


def test_the_plan_of_a_usage_is_told_by_its_words() -> None:
    assert a_usage_plan() == UsagePlan(PLAN_ID, "external", {STAGE: {}}, quota=A_QUOTA)


def test_the_order_in_which_plans_are_answered_decides_nothing() -> None:
    first, second = (answer("k1", usage_plan_id=plan_id) for plan_id in ("b", "a"))
    there, _ = take_evidence(TODAY, [first, second], None)
    back, _ = take_evidence(TODAY, [second, first], None)
    assert there == back
    assert there.plans_of_key() == back.plans_of_key() == {"k1": ["a", "b"]}
