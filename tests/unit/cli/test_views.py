"""What `plan`, `status`, `undo` and the other acts show, from values alone."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from keyjanitor.domain.model.keys import State
from keyjanitor.domain.model.records import CountRow, NightRow, Row
from keyjanitor_cli.shapes import Command, Facts, Line, Table, View
from keyjanitor_cli.views import acts, plan, status
from keyjanitor_cli.views.acts import SavedPlan, undo_of
from tests.builders import DAY, TODAY

NOON = datetime(TODAY.year, TODAY.month, TODAY.day, 12, tzinfo=UTC)


def a_line(key_id: str, verdict: str = "warn", **fields: Any) -> dict[str, Any]:
    return {
        "key_id": key_id,
        "name": f"name of {key_id}",
        "owner": "team",
        "tier": "external",
        "verdict": verdict,
        "reason": "idle for 61 days, since 2026-09-21",
        "reason_code": "idle",
        "idle_days": 61,
        "last_used": "2026-09-21",
        "disable_on": "2026-12-05",
        "park_on": "2026-12-19",
        "purge_on": "2027-12-19",
    } | fields


def an_answer(**fields: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("park", "purge", "disable", "warn", "enable", "restore"), 0)
    return {
        "keys": 3,
        "applied": nothing,
        "due": {"purge": 0},
        "brake": None,
        "held": None,
    } | fields


def texts(view: View) -> list[str]:
    return [block.text for block in view if isinstance(block, Line | Command)]


def tables(view: View) -> list[Table]:
    return [block for block in view if isinstance(block, Table)]


# --- plan -------------------------------------------------------------------------------------------


def test_a_plan_names_each_key_by_tier_and_step_deletions_first_and_totals_last() -> None:
    lines = [
        a_line("k1"),
        a_line("k2", "park"),
        a_line("k3", "disable", tier="beta"),
        a_line("k4", "keep", reason_code="within_idle_limit"),
        a_line("k5", "keep", reason_code="waits"),
        a_line("k6", "unknown"),
    ]
    view = plan.view(an_answer(keys=6), lines, deployed="park")
    assert [table.title for table in tables(view)] == [
        "Tier beta: 1 key to disable",
        "Tier external: 1 key to park (deleted; can be restored)",
        "Tier external: 1 key to warn",
    ]
    assert tables(view)[1].rows == [
        [
            "k2",
            "name of k2",
            "team",
            "2026-09-21",
            "idle for 61 days, since 2026-09-21",
            "2027-12-19",
        ]
    ]
    assert texts(view) == [
        "Plan: 1 to park (deleted; can be restored), 1 to disable, 1 to warn; of 6 keys.",
        (
            "Nothing is done to: 1 in use or not idle for long enough, 1 wait for their announced date, "
            "1 unknown, so kept."
        ),
    ]


def test_a_step_that_an_earlier_run_of_the_date_took_is_no_plan_any_more() -> None:
    view = plan.view(an_answer(), [a_line("k1", reason_code="stepped")], deployed="park")
    assert texts(view)[:2] == ["Plan: nothing; of 3 keys.", "Done today already: 1 to warn."]


def test_a_key_that_is_due_and_waits_is_not_counted_as_in_use() -> None:
    codes = ("awaits_allowance", "not_tonight", "not_tonight", "within_idle_limit")
    lines = [a_line(f"k{n}", "keep", reason_code=code) for n, code in enumerate(codes)]
    assert plan.stays(lines) == {"awaits_allowance": 1, "not_tonight": 2, "keep": 1}
    assert texts(plan.view(an_answer(), lines, deployed="park"))[-1] == (
        "Nothing is done to: 1 in use or not idle for long enough, 1 wait for a later night's "
        "allowance, 2 are due, but not tonight."
    )


def test_a_key_that_the_date_parked_is_not_planned_again() -> None:
    lines = [a_line("k1", "park", reason_code="stepped"), a_line("k2", "park")]
    assert [(one["key_id"], one["done"]) for one in plan.steps(lines)] == [
        ("k1", True),
        ("k2", False),
    ]
    told = texts(plan.view(an_answer(), lines, deployed="park"))
    assert told[0] == "Plan: 1 to park (deleted; can be restored); of 3 keys."


@pytest.mark.parametrize(
    ("answer", "deployed", "said"),
    [
        ({"held": "too many"}, "park", "on hold, so none of it is done: too many"),
        ({}, "observe", "Mode=observe"),
        ({}, "disable", "Mode=disable"),
        ({"policy_problems": ["policy.toml: tiers.x: is missing"]}, "park", "tiers.x: is missing"),
    ],
)
def test_a_plan_says_what_keeps_it_from_being_carried_out(
    answer: dict[str, Any], deployed: str, said: str
) -> None:
    assert any(
        said in text for text in texts(plan.view(an_answer(**answer), [], deployed=deployed))
    )


def test_a_plan_that_the_brake_stops_says_why_and_needs_a_person() -> None:
    brake = {
        "new": 60,
        "since": "2026-11-20",
        "usual": 2.0,
        "allowance": 20,
        "causes": [{"cause": "use_stopped", "keys": 60, "plans": []}],
    }
    answer = an_answer(brake=brake)
    assert plan.needs_person(answer)
    assert not plan.needs_person(an_answer())
    [told] = [one for one in texts(plan.view(answer, [], deployed="park")) if "brake" in one]
    assert "60 keys are newly past their idle limit since 2026-11-20 (usual: 2)" in told
    assert "use stopped 60" in told


def test_of_many_keys_the_first_are_shown_and_all_if_asked() -> None:
    lines = [a_line(f"k{n:03}", idle_days=n) for n in range(50)]
    [table] = tables(plan.view(an_answer(), lines, deployed="park"))
    assert (len(table.rows), table.rows[0][0]) == (plan.SHOWN, "k049")
    [table] = tables(plan.view(an_answer(), lines, deployed="park", show_all=True))
    assert len(table.rows) == 50


def test_a_plan_is_written_as_json_or_as_csv_that_no_spreadsheet_computes() -> None:
    lines = [a_line("k1", name="=1+1"), a_line("k2", "keep")]
    document = json.loads(plan.written("plan.json", an_answer(), lines))
    assert [one["key_id"] for one in document["steps"]] == ["k1"]
    assert document["stays"] == {"keep": 1}
    [row] = csv.DictReader(io.StringIO(plan.written("plan.CSV", an_answer(), lines)))
    assert (row["key_id"], row["name"], row["step"]) == ("k1", "'=1+1", "warn")


# --- undo and the other acts ------------------------------------------------------------------------


def rows() -> list[Row]:
    return [
        Row("d1", State.DISABLED, "external", disabled_on=TODAY),
        Row("d2", State.DISABLED, "external", disabled_on=TODAY - DAY),
        Row("p1", State.PARKED, "external", disabled_on=TODAY - DAY, parked_on=TODAY),
        Row("e1", State.DISABLED, "external", disabled_on=TODAY, expires_on=TODAY),
    ]


def test_an_undo_names_what_it_brings_back_and_leaves_what_ended_as_agreed() -> None:
    ahead = undo_of(TODAY, rows())
    assert [row.key_id for row in ahead.enable] == ["d1"]
    assert [row.key_id for row in ahead.restore] == ["p1"]
    assert [row.key_id for row in ahead.left_out] == ["e1"]
    assert ahead.question == (f"Undo {TODAY}: 1 to enable, 1 to restore (under a new id): d1, p1?")


def test_an_undo_of_a_named_key_brings_it_back_whatever_its_end() -> None:
    ahead = undo_of(TODAY, rows(), ["e1", "nobody"])
    assert ([row.key_id for row in ahead.enable], ahead.unknown) == (["e1"], ("nobody",))
    assert ahead.restore == ahead.left_out == ()


def test_an_undo_of_a_date_on_which_nothing_was_done_says_so() -> None:
    ahead = undo_of(TODAY + DAY, rows())
    assert ahead.keys == 0
    assert texts(acts.nothing_to_undo(ahead)) == [
        f"There is nothing to take back on {TODAY + DAY}."
    ]
    told = texts(acts.nothing_to_undo(undo_of(TODAY, rows(), ["d2"])))
    assert told[-1] == "keyjanitor key d2"


def test_an_act_names_each_key_with_its_new_id() -> None:
    did = [{"action": "restore", "key_id": "p1", "new_key_id": "n1"}]
    answer = an_answer(did={"count": 1, "keys": did})
    answer["applied"] = answer["applied"] | {"restore": 1}
    view = acts.done(answer, {"p1": "the name"})
    assert tables(view)[0].rows == [["restored", "p1", "the name", "n1"]]
    assert texts(view) == ["Done: 1 restored."]
    assert not acts.needs_person(answer)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"failed": {"count": 1, "key_ids": ["k1"]}}, "The step of 1 key failed: k1"),
        ({"left_alone": {"stack web owns it": 2}}, "2 keys left alone: stack web owns it"),
        ({"remaining": 4}, "4 keys are left for the next run: type it again."),
        ({"observed_because": "no one listens"}, "It only observed: no one listens"),
        ({"left_out": {"count": 1, "key_ids": ["e1"]}}, "1 key stay as they are"),
    ],
)
def test_an_act_says_what_it_left(fields: dict[str, Any], said: str) -> None:
    told = texts(acts.done(an_answer(**fields), undone=TODAY))
    assert any(text.startswith(said) for text in told)
    if "left_out" in fields:
        assert f"keyjanitor undo {TODAY} e1" in told


@pytest.mark.parametrize("saved", [True, False])
def test_a_brake_is_let_go_by_a_plan_that_was_saved_and_by_no_other(saved: bool) -> None:
    digest = "0123456789abcdef"
    plan_name = f"plans/{digest}.json" if saved else None
    brake = {"new": 60, "since": "2026-11-20", "usual": 0, "allowance": 20, "causes": []}
    answer = an_answer(brake=brake, digest=digest, saved_plan=plan_name)
    told = texts(acts.done(answer))
    assert (f"keyjanitor approve {digest}" in told) is saved
    assert any("the next night's sweep saves a plan" in text for text in told) is not saved


def test_an_approval_asks_with_every_kind_of_step_deletions_first() -> None:
    saved = SavedPlan("0123456789abcdef", TODAY, {"park": 80, "disable": 280, "warn": 0}, ())
    assert acts.approval_question(saved) == (
        f"Approve the plan 0123456789abcdef of {TODAY}: 80 to park (deleted; can be restored), "
        "280 to disable?"
    )


def test_a_reading_of_a_date_that_was_read_says_when_what_is_new_is_seen() -> None:
    answer = {"date": "2026-11-21", "plans": 2, "keys": 5, "keys_used": 3, "already_read": True}
    told = texts(acts.read(answer))
    assert "nothing was read now" in told[0]
    assert (
        told[-1]
        == "The reading of 2026-11-21: 2 usage plans, 5 keys, of which 3 were used in 90 days."
    )


# --- status -----------------------------------------------------------------------------------------


def standing(**fields: Any) -> status.Standing:
    at = status.Standing(
        now=NOON,
        account="123456789012",
        who="arn:aws:iam::123456789012:role/me",
        region="eu-central-1",
        stack="keyjanitor",
        mode="park",
        version="0.2.0",
        counts={
            TODAY - DAY * back: CountRow(TODAY - DAY * back, 9_000 - 10 * back)
            for back in range(20)
        },
        nights={TODAY: NightRow(TODAY, swept=True)},
        reading=TODAY,
        held=None,
        pressure_row=None,
        unsent=0,
        report={"date": str(TODAY), "service_quota": 10_000, "findings": []},
    )
    return replace(at, **fields)


ALARM = """keyjanitor in 123456789012 eu-central-1: A sweep failed.
Can wait until 12:00 UTC: a night without a sweep frees no slot.
keyjanitor logs expire_keys --stack keyjanitor --region eu-central-1
sam logs"""


def test_an_alarm_that_is_on_needs_a_person_and_says_what_to_type() -> None:
    others = ALARM.replace("--stack keyjanitor", "--stack keyjanitor-test")
    found = status.alarms_of([ALARM, others, "of another tool", ""], "keyjanitor", "eu-central-1")
    at = standing(alarms=found)
    (problem,) = status.problems(at)
    assert problem.what == (
        "Alarm: A sweep failed. Can wait until 12:00 UTC: a night without a sweep frees no slot."
    )
    assert problem.command == "keyjanitor logs expire_keys --stack keyjanitor --region eu-central-1"
    assert problem.command in texts(status.view(at))
    assert status.document(at)["alarms"] == [problem.what]


def test_alarms_that_may_not_be_read_are_not_known_and_need_no_person() -> None:
    at = standing(alarms=None, alarms_unread="access denied")
    assert status.problems(at) == []
    assert status.document(at)["alarms"] is None
    (facts,) = [block for block in status.view(at) if isinstance(block, Facts)]
    assert dict(facts.rows)["Alarms"].text == "not read: access denied"


def test_a_stack_that_is_well_needs_nothing_and_says_what_to_type_next() -> None:
    at = standing()
    assert status.problems(at) == []
    assert texts(status.view(at)) == [
        "Nothing needs a person. To see tonight's sweep:",
        "keyjanitor plan",
    ]
    told = status.document(at)
    assert (told["keys"], told["key_limit"], told["forecast"]["keys_a_day"]) == (
        9_000,
        10_000,
        10.0,
    )
    assert told["needs_a_person"] == []


@pytest.mark.parametrize(
    ("fields", "commands"),
    [
        ({"held": "marketing is asked"}, ["keyjanitor resume"]),
        ({"reading": TODAY - DAY}, ["keyjanitor read"]),
        ({"nights": {}}, ["keyjanitor logs expire_keys"]),
        ({"nights": {}, "mode": "observe"}, []),
        ({"counts": {}}, ["keyjanitor logs watch_capacity"]),
        ({"unsent": 3}, ["keyjanitor logs expire_keys"]),
        ({"report": None}, ["keyjanitor report --now"]),
        (
            {
                "nights": {TODAY: NightRow(TODAY, swept=True, braked=True)},
                "saved": [SavedPlan("0123456789abcdef", TODAY, {"disable": 60}, ())],
            },
            ["keyjanitor plan", "keyjanitor approve 0123456789abcdef"],
        ),
        (
            {
                "nights": {
                    TODAY: NightRow(TODAY, swept=True, braked=True, approved="0123456789abcdef")
                },
                "saved": [SavedPlan("0123456789abcdef", TODAY, {"disable": 60}, ())],
            },
            ["keyjanitor plan"],
        ),
        ({"now": NOON.replace(hour=1), "reading": TODAY - DAY}, []),
    ],
)
def test_what_needs_a_person_comes_with_the_command_to_type(
    fields: dict[str, Any], commands: Sequence[str]
) -> None:
    at = standing(**fields)
    assert [one.command for one in status.problems(at)] == commands
    assert all(one in texts(status.view(at)) for one in commands)


def test_a_sweep_with_nothing_due_says_what_it_still_does() -> None:
    assert acts.sweep_question({"disable": 2, "park": 1}) == (
        "Sweep now: 1 to park (deleted; can be restored), 2 to disable?"
    )
    asked = acts.sweep_question({})
    assert asked.startswith("No key is due to be warned, disabled or parked: ")
    assert asked.endswith(" Sweep now?")
