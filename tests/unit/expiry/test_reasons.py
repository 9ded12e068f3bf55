"""The words that people read for each reason, and what programs read: its code and its facts."""

from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from keyjanitor.domain.expiry import explained, reasons, row_reasons
from keyjanitor.domain.model.owners import Stack
from tests.builders import TODAY, days_ago, in_days

IDLE = reasons.Idle(60, days_ago(60))


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (IDLE, "idle for 60 days, since 2026-09-22"),
        (reasons.Idle(1, days_ago(1)), "idle for 1 day, since 2026-11-20"),
        (
            reasons.Idle(14, days_ago(14), never_used=True),
            "never used, 14 days since 2026-11-07",
        ),
        (reasons.Orphan(14), "in no usage plan for 14 nights"),
        (reasons.Ends(TODAY), "ends on 2026-11-21, as was agreed when it was issued or rotated"),
        (
            reasons.WithinIdleLimit(7, days_ago(7), 60),
            "idle for 7 days of 60, since 2026-11-14",
        ),
        (reasons.OrphanSoon(3, 14), "in no usage plan for 3 of 14 nights"),
        (reasons.EndsLater(in_days(30)), "ends on 2026-12-21"),
        (
            reasons.Waits("disabled", in_days(7), IDLE),
            "will be disabled on 2026-11-28: idle for 60 days, since 2026-09-22",
        ),
        (reasons.Stepped("idle for 60 days", "idle", {"days": 60}), "idle for 60 days"),
        (
            reasons.AwaitsAllowance(IDLE),
            "waits for a later night's allowance: idle for 60 days, since 2026-09-22",
        ),
        (
            reasons.NotTonight("why", IDLE),
            "not tonight (why): idle for 60 days, since 2026-09-22",
        ),
        (reasons.OwnedBy(Stack("shop")), "owned by stack shop"),
        (reasons.KeepTag(), "tagged keyjanitor:keep"),
        (reasons.ProtectedUntil(TODAY), "protected until 2026-11-21"),
        (reasons.DisabledByOthers(), "disabled by others"),
        (reasons.BeingRestored(), "being restored"),
        (reasons.TierNever("vip"), "tier vip never expires keys"),
        (reasons.NoContact("vip"), "tier vip has no contact, so it is not swept"),
        (reasons.MembersUnread("plan1"), "the keys of usage plan plan1 were not read"),
        (reasons.UsageUnread("plan1"), "the usage of its plan plan1 was not read"),
        (
            reasons.UseByDayUnread("plan1", 1),
            (
                "it is in no usage plan tonight, but may have been used in plan1 by day, whose usage was "
                "not read"
            ),
        ),
        (
            reasons.UseByDayUnread("plan1", 3),
            (
                "it is in no usage plan tonight, but may have been used in plan1 and 2 more by day, whose "
                "usage was not read"
            ),
        ),
        (
            reasons.DaysUnclear("plan1"),
            "the usage of its plan plan1 tells fewer or more days of it than were asked for",
        ),
        (
            reasons.UseUntold(days_ago(3)),
            "an earlier reading showed a request on 2026-11-18 that tonight's does not show",
        ),
        (
            reasons.OpensNoStage("plan1"),
            "its plan plan1 opens no stage, so every call with it gets 403; put the stage back",
        ),
        (
            reasons.Unwitnessed("plan1"),
            (
                "no request was seen for 400 days in its plan plan1 as it is now (with or without "
                "a quota) or beside it on its stages (list the plan under silent_plans to believe "
                "its silence)"
            ),
        ),
        (
            reasons.StageKeys(),
            "a stage names it in the old way (stageKeys), which is not metered",
        ),
        (reasons.TagsUnread(), "its tags could not be read"),
        (
            reasons.TierMissing("vip"),
            "it was issued in tier vip, which policy.toml does not have",
        ),
        (
            reasons.TierUnclear("plan1", "tiers.vip.usage_plans[0]"),
            (
                "which tier its usage plan plan1 belongs to is not known while "
                "tiers.vip.usage_plans[0] in policy.toml is wrong"
            ),
        ),
        (
            reasons.Outage(days_ago(2), 3, 100),
            "on 2026-11-19 the account saw 3 requests, usual are 100",
        ),
    ],
)
def test_a_reason_in_words(reason: explained.Explained, words: str) -> None:
    assert str(reason) == words


OF_ROWS = (
    row_reasons.EnabledAgain,
    row_reasons.Renewed,
    row_reasons.Restored,
    row_reasons.RestoredWithout,
)
ALL = (*get_args(reasons.Reason), *OF_ROWS)
HISTORY = Path(__file__).parents[3] / "docs" / "history.md"


@pytest.mark.parametrize(
    ("reason", "code", "facts"),
    [
        (
            reasons.Idle(60, days_ago(60)),
            "idle",
            {"days": 60, "since": "2026-09-22", "never_used": False},
        ),
        (reasons.Ends(TODAY), "ends", {"expires_on": "2026-11-21"}),
        (reasons.EndsLater(TODAY), "ends_later", {"expires_on": "2026-11-21"}),
        (
            reasons.NotTold("its event", TODAY, in_days(3), reasons.Ends(TODAY)),
            "not_told",
            {
                "what": "its event",
                "since": "2026-11-21",
                "earliest": "2026-11-24",
                "due": {"reason_code": "ends", "facts": {"expires_on": "2026-11-21"}},
            },
        ),
        (
            reasons.Stepped("idle for 60 days", "idle", {"days": 60}),
            "stepped",
            {"due": {"reason_code": "idle", "facts": {"days": 60}}},
        ),
        (
            reasons.OwnedBy(Stack("shop")),
            "owned_by",
            {"owner": {"kind": "stack", "value": "shop"}},
        ),
        (reasons.StageKeys(), "stage_keys", {}),
        (
            row_reasons.RestoredWithout({"p1": "it is no more"}, in_no_plan=True),
            "restored_without",
            {
                "usage_plans": [{"usage_plan_id": "p1", "why": "it is no more"}],
                "in_no_plan": True,
                "called": None,
            },
        ),
    ],
)
def test_a_reason_lays_out_its_facts_as_json_has_them(
    reason: explained.Explained, code: str, facts: dict[str, object]
) -> None:
    assert explained.laid_out(reason) == {
        "reason": str(reason),
        "reason_code": code,
        "facts": facts,
    }


def test_every_reason_has_a_code_of_its_own() -> None:
    assert len({one.code for one in ALL}) == len(ALL)


def test_the_history_page_lists_every_code_with_the_names_of_its_facts() -> None:
    """A code, or the name of a fact, that changes is a change of files, rows and events."""
    lines = (
        HISTORY.read_text("utf-8").partition("<!-- reason codes -->")[2].strip().split("\n\n")[0]
    )
    told = {
        code.strip(" `"): {name.strip(" `") for name in names.split(",")} - {""}
        for _, code, names, *_ in (line.split("|") for line in lines.splitlines()[2:])
    }
    renamed = {"because": "due", "reason": "due", "reason_code": "due", "reason_facts": "due"}
    assert told == {
        one.code: {renamed.get(field.name, field.name) for field in fields(one)} for one in ALL
    }
