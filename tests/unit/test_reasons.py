"""The words that people read for each reason."""

import pytest

from keyjanitor.domain.expiry import reasons
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
            reasons.WithinPatience(7, days_ago(7), 60),
            "idle for 7 days of 60, since 2026-11-14",
        ),
        (reasons.OrphanSoon(3, 14), "in no usage plan for 3 of 14 nights"),
        (reasons.EndsLater(in_days(30)), "ends on 2026-12-21"),
        (
            reasons.Waits("disabled", in_days(7), IDLE),
            "will be disabled on 2026-11-28: idle for 60 days, since 2026-09-22",
        ),
        (reasons.Stepped("idle for 60 days"), "idle for 60 days"),
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
        (reasons.DisabledByOthers(), "disabled by somebody else"),
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
def test_a_reason_in_words(reason: reasons.Reason, words: str) -> None:
    assert str(reason) == words
