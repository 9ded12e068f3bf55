"""Whole lives, walked night by night through the functions' own four moves."""

import pytest

from keyjanitor.domain.expiry import reasons
from keyjanitor.domain.model.keys import Mode, State
from keyjanitor.domain.model.policy import Policy, PressureRule
from keyjanitor.errors import EmptyListing
from tests.builders import DAY, PLAN_ID, a_policy, a_tier, a_usage_plan, in_days
from tests.unit.nights import Account


def an_account(policy: Policy | None = None) -> Account:
    """An account of one busy plan that has been swept for two nights already."""
    account = Account(policy or a_policy())
    account.plan()
    account.nights(2)
    return account


# --- clients --------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_a_monthly_client_is_never_warned(factor: float) -> None:
    # Used every 30 days; with a rule of 0.5 too, since idle_days is never shortened below 35.
    rules = (PressureRule(0.0001, factor, ()),)
    account = Account(a_policy(pressure=rules))
    account.plan()
    account.key("monthly", PLAN_ID, age=200, used=lambda day: day % 30 == 7)
    swept = account.nights(120)
    assert {night.plan.pressure.idle_factor for night in swept} == {factor}
    assert account.steps("monthly") == []


def test_a_weekly_client_that_stops_is_warned_sixty_days_after_its_last_request() -> None:
    account = an_account()
    account.key("weekly", PLAN_ID, age=200, used=lambda day: day < 30 and day % 7 == 0)
    account.nights(130)
    assert account.steps("weekly") == [(28 + 60, "warn"), (28 + 74, "disable"), (28 + 88, "park")]


def test_a_client_over_quota_since_the_1st_is_kept() -> None:
    account = an_account()
    account.key("hammering", PLAN_ID, age=200, last_used=0)
    for _ in range(120):
        account.gateway.closed.add((PLAN_ID, "hammering", account.today))
        account.night()
    assert account.steps("hammering") == []
    assert account.word("hammering") == "keep"


def test_a_sign_up_that_was_never_used_is_parked() -> None:
    account = an_account()
    account.key("abandoned", PLAN_ID)
    account.nights(45)
    assert account.steps("abandoned") == [(16, "warn"), (30, "disable"), (44, "park")]
    assert account.gateway.deleted == ["abandoned"]


def test_an_idle_key_that_shares_a_busy_plan_is_parked() -> None:
    account = Account(a_policy())
    account.plan()
    for number in range(8):
        account.key(f"busy{number}", PLAN_ID, age=200, used=lambda _: True)
    account.key("idle", PLAN_ID, age=200, last_used=10)
    account.nights(90)
    assert account.steps("idle") == [(50, "warn"), (64, "disable"), (78, "park")]
    assert account.gateway.deleted == ["idle"]


def test_an_idle_key_in_a_plan_of_its_own_on_a_stage_that_others_use_is_parked() -> None:
    account = Account(a_policy(a_tier(usage_plans=("external", "own"))))
    account.plan()
    account.plan("plan2", "own", busy=False)
    account.key("idle", "plan2", age=200)
    account.nights(45)
    assert account.steps("idle") == [(0, "warn"), (14, "disable"), (28, "park")]


def test_an_idle_key_in_a_plan_of_its_own_on_a_stage_of_its_own_is_unknown() -> None:
    account = Account(a_policy(a_tier(usage_plans=("external", "own"))))
    account.plan()
    account.plan("plan2", "own", busy=False, stages=("api2:prod",))
    account.key("idle", "plan2", age=200)
    account.nights(45)
    assert (account.steps("idle"), account.word("idle")) == ([], "unknown")


def test_a_warned_key_that_is_used_starts_anew() -> None:
    account = an_account()
    account.key("back", PLAN_ID)
    account.nights(20)
    account.use("back", days_before=1)  # on day 21, after its warning on day 16
    account.nights(90)
    assert account.steps("back") == [
        (16, "warn"),
        (21 + 60, "warn"),
        (21 + 74, "disable"),
        (21 + 88, "park"),
    ]


def test_a_key_enabled_by_hand_after_we_disabled_it_starts_anew() -> None:
    account = an_account()
    account.key("kept", PLAN_ID)
    account.nights(33)
    assert account.row("kept").state is State.DISABLED
    account.gateway.change("kept", enabled=True)
    account.nights(1)
    assert (account.row("kept").state, account.row("kept").park_on) == (State.ACTIVE, None)
    account.nights(50)
    assert account.steps("kept") == [
        (16, "warn"),
        (30, "disable"),
        (35 + 14, "warn"),
        (35 + 28, "disable"),
        (35 + 42, "park"),
    ]


def test_an_undo_is_a_restore_for_the_clock() -> None:
    account = an_account()
    account.key("kept", PLAN_ID)
    account.nights(29)
    assert account.undo(in_days(30)).counts["enable"] == 1
    assert account.gateway.living["kept"].enabled
    account.nights(30)
    assert account.steps("kept") == [
        (16, "warn"),
        (30, "disable"),
        (31 + 14, "warn"),
        (31 + 28, "disable"),
    ]


# --- what is read ---------------------------------------------------------------------------------


def test_a_key_in_two_plans_one_of_which_is_unread_is_kept_until_it_is_read() -> None:
    account = Account(a_policy(a_tier(usage_plans=("external", "other"))))
    account.plan()
    account.plan("plan2", "other")
    account.nights(2)
    account.key("two", PLAN_ID, "plan2")
    account.key("one", PLAN_ID)
    account.gateway.unreadable.add("plan2")
    account.nights(40)
    assert (account.steps("two"), account.word("two")) == ([], "unknown")
    assert [word for _, word in account.steps("one")] == ["warn", "disable"]
    account.gateway.unreadable.clear()
    account.nights(1)
    assert account.steps("two") == [(42, "warn")]


def test_a_plan_read_to_the_first_page_only_is_unread() -> None:
    account = an_account()
    for number in range(8):
        account.key(f"busy{number}", PLAN_ID, age=200, used=lambda _: True)
    account.nights(2)
    account.gateway.unreadable.add(PLAN_ID)
    account.key("new", PLAN_ID)
    account.nights(30)
    assert account.word("new") == "unknown"
    assert account.row("new").state is State.ACTIVE


def test_keys_beyond_the_first_page_of_usage_are_used_keys() -> None:
    account = Account(a_policy())
    account.plan()
    for number in range(20):
        account.key(f"busy{number}", PLAN_ID, age=200, used=lambda _: True)
    account.nights(5)
    assert [account.steps(f"busy{number}") for number in range(20)] == [[]] * 20


def test_while_a_plans_members_are_not_answered_nobody_moves() -> None:
    account = an_account()
    account.key("new", PLAN_ID)
    account.nights(14)
    account.gateway.forgets_members_of.add(PLAN_ID)
    account.night()
    assert account.word("new") == "unknown"
    account.gateway.forgets_members_of.clear()
    account.night()
    assert account.steps("new") == [(17, "warn")]


@pytest.mark.life("K-405")
def test_a_plan_that_was_emptied_is_believed_on_the_second_night() -> None:
    account = an_account()
    account.plan("plan2", "other", busy=False)
    account.key("left", "plan2", age=200, last_used=0)
    account.nights(3)
    account.leave("left", "plan2")
    evidence = [account.read()]
    account.night()
    evidence.append(account.read())
    assert [one.plans["plan2"].emptied for one in evidence] == [True, False]
    assert evidence[1].left_plans_on == {"left": in_days(5)}


def test_an_outage_moves_nobody_and_ends() -> None:
    account = an_account()
    for number in range(12):
        account.key(f"busy{number}", PLAN_ID, age=200, used=lambda _: True)
    account.key("new", PLAN_ID)
    account.nights(28)
    account.gateway.blackout = True
    account.nights(3)  # the days 30, 31 and 32 are dark; the night of 32 sees the first of them
    assert account.word("new") == "unknown"
    account.gateway.blackout = False
    account.nights(4)
    assert account.steps("new") == [(16, "warn"), (30, "disable")]
    assert account.word("new") == "keep"


def test_a_step_that_falls_into_an_outage_is_taken_when_it_is_over() -> None:
    account = an_account()
    for number in range(12):
        account.key(f"busy{number}", PLAN_ID, age=200, used=lambda _: True)
    account.key("new", PLAN_ID)
    account.nights(26)  # the night that comes is the 28th
    account.gateway.blackout = True
    account.nights(2)
    account.gateway.blackout = False
    assert account.day == 30
    assert [account.night().plan.counts["unknown"] for _ in range(3)] == [1, 1, 0]
    assert account.steps("new") == [(16, "warn"), (32, "disable")]


def test_an_empty_listing_fails_the_sweep() -> None:
    account = an_account()
    account.read()
    account.gateway.living.clear()
    with pytest.raises(EmptyListing):
        account.sweep()


def test_a_plan_misspelt_in_the_policy_keeps_its_keys_and_is_told() -> None:
    # It stopped every sweep: one bad line has to stop only what it is about.
    account = an_account()
    account.key("new", PLAN_ID)
    account.nights(20)
    account.policy = a_policy(a_tier(usage_plans=("extern",)))
    before = account.row("new")
    swept = account.nights(30)[-1]
    assert [one.path for one in account.policy.bind({PLAN_ID: "external"}).problems] == [
        "tiers.external.usage_plans[0]"
    ]
    assert (account.word("new"), account.row("new"), swept.applied) == ("unknown", before, {})
    account.policy = a_policy()
    account.nights(16)
    assert account.steps("new") == [(16, "warn"), (52, "disable"), (66, "park")]


def test_a_plan_renamed_in_the_account_and_in_the_policy_brings_no_date_forward() -> None:
    account = an_account()
    account.key("new", PLAN_ID)
    account.nights(20)
    account.gateway.plans[PLAN_ID] = a_usage_plan(PLAN_ID, name="extern", stages=("api1:prod",))
    account.policy = a_policy(a_tier("partners", usage_plans=("extern",), warn_days=3))
    account.nights(30)
    assert account.steps("new") == [(16, "warn"), (30, "disable"), (44, "park")]
    assert account.row("new").tier == "partners"


# --- the ledger -----------------------------------------------------------------------------------


def test_a_ledger_wiped_between_two_nights_brings_warnings_at_the_most() -> None:
    account = an_account()
    for number in range(6):
        account.key(f"new{number}", PLAN_ID)
    account.nights(28)
    account.ledger.rows.clear()
    account.ledger.night_rows.clear()
    first = account.night()
    assert first.applied == {"adopt": 7, "warn": 6}
    account.nights(13)
    assert account.night().applied == {"disable": 6}


def test_a_ledger_wiped_after_a_disabling_leaves_the_key_alone() -> None:
    account = an_account()
    account.key("new", PLAN_ID)
    account.nights(30)
    account.ledger.rows.clear()
    account.nights(60)
    assert account.row("new").state is State.ACTIVE
    assert account.word("new") == "protected"
    assert account.gateway.deleted == []


def test_a_row_whose_key_was_deleted_by_somebody_is_closed_after_a_month() -> None:
    account = an_account()
    account.key("new", PLAN_ID)
    account.nights(2)
    account.gateway.delete("new")
    account.nights(1)
    assert account.row("new").missing_since == in_days(4)
    account.nights(29)
    assert account.row("new").state is State.ACTIVE
    account.nights(1)
    assert account.row("new").state is State.GONE


def test_a_key_that_is_listed_again_is_missing_no_more() -> None:
    account = an_account()
    account.key("new", PLAN_ID)
    account.nights(2)
    lost = account.gateway.living.pop("new")
    account.nights(1)
    account.gateway.living["new"] = lost
    account.nights(1)
    assert account.row("new").missing_since is None


# --- modes ----------------------------------------------------------------------------------------


def test_observe_writes_nothing_and_tells_what_would_happen() -> None:
    account = an_account()
    account.key("new", PLAN_ID)
    account.nights(15, Mode.OBSERVE)
    assert account.seen["new"][-1] == (16, "warn")
    assert "new" not in account.ledger.rows
    assert account.told.events == []


def test_disable_parks_nobody() -> None:
    account = an_account()
    account.key("new", PLAN_ID)
    account.nights(60, Mode.DISABLE)
    assert account.row("new").state is State.DISABLED
    account.nights(1)
    assert account.gateway.deleted == ["new"]


def test_nothing_is_parked_while_the_oldest_tombstone_cannot_be_opened() -> None:
    account = an_account()
    account.key("first", PLAN_ID)
    account.nights(1)
    account.key("second", PLAN_ID)
    account.nights(42)
    assert account.gateway.deleted == ["first"]
    account.files.open = False
    account.nights(5)
    assert account.gateway.deleted == ["first"]
    account.files.open = True
    account.nights(1)
    assert account.gateway.deleted == ["first", "second"]


# --- a backlog ------------------------------------------------------------------------------------


def a_backlog(idle: int, busy: int, **policy: float) -> Account:
    account = Account(a_policy(**policy))  # type: ignore[arg-type]
    account.plan(busy=False)
    for number in range(busy):
        account.key(f"busy{number:03}", PLAN_ID, age=300, used=lambda _: True)
    for number in range(idle):
        account.key(f"idle{number:03}", PLAN_ID, age=300, last_used=80)
    return account


@pytest.mark.slow
def test_a_backlog_of_half_the_account_is_parked_in_the_end_by_the_allowance() -> None:
    account = a_backlog(idle=60, busy=60)
    swept = account.nights(50)
    parked = [night.applied.get("park", 0) for night in swept]
    assert {day: parked[day] for day in range(50) if parked[day]} == {28: 20, 29: 20, 30: 20}
    assert [night.applied.get("warn", 0) for night in swept[:4]] == [20, 20, 20, 0]
    assert len(account.gateway.living) == 60
    assert all(night.brake is None for night in swept)


def test_a_held_week_trips_no_brake_and_drains_at_the_allowance() -> None:
    account = a_backlog(idle=60, busy=60)
    account.nights(10)
    account.ledger.held = "holidays"
    account.nights(7)
    account.ledger.held = None
    first = account.night()
    assert (first.applied, first.brake) == ({}, None)  # warnings at the most
    nights = account.nights(4)
    assert [night.brake for night in nights] == [None] * 4
    assert [night.applied for night in nights] == [*[{"disable": 20}] * 3, {}]


@pytest.mark.slow
def test_a_backlog_after_a_held_week_can_be_approved_to_go_at_once() -> None:
    account = a_backlog(idle=60, busy=60)
    account.nights(10)
    account.ledger.held = "holidays"
    account.nights(7)
    account.ledger.held = None
    account.nights(1)
    account.read()
    swept = account.sweep()
    assert (swept.applied, swept.saved) == ({"disable": 20}, True)
    rest = account.sweep()
    assert account.sweep(approve=rest.plan.for_mode(Mode.PARK).digest).applied == {"disable": 40}
    assert account.sweep().applied == {}


def test_a_run_cut_off_in_the_middle_is_finished_by_another_on_the_date_within_the_allowance() -> (
    None
):
    account = a_backlog(idle=25, busy=5)
    account.nights(14)
    account.read()
    asked = account.owners.stack_of
    looked: list[str] = []

    def stack_of(key_id: str) -> str | None:
        looked.append(key_id)
        if len(looked) == 8:
            raise KeyboardInterrupt
        return asked(key_id)

    account.owners.stack_of = stack_of  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        account.sweep()
    assert account.sweep().applied == {"disable": 13}
    disabled = [row for row in account.ledger.rows.values() if row.disabled_on == account.today]
    assert len(disabled) == 20


def test_a_run_that_died_between_touch_and_note_is_brought_to_its_end() -> None:
    account = an_account()
    account.key("new", PLAN_ID)
    account.nights(28)
    account.read()
    disable = account.gateway.set_enabled

    def set_enabled(key_id: str, *, enabled: bool) -> None:
        disable(key_id, enabled=enabled)
        raise KeyboardInterrupt

    account.gateway.set_enabled = set_enabled  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        account.sweep()
    account.gateway.set_enabled = disable  # type: ignore[method-assign]
    assert account.sweep().applied == {}
    row = account.row("new")
    assert (row.state, row.disabled_on, row.park_on) == (State.DISABLED, in_days(30), in_days(44))
    account.live()
    account.nights(14)
    assert account.gateway.deleted == ["new"]
    assert account.events("new") == ["Key Expiring", "Key Disabled", "Key Parked"]


def test_a_dead_runs_disabling_is_no_change_by_anybody_else() -> None:
    account = an_account()
    account.key("new", PLAN_ID)
    account.nights(28)
    account.read()
    disable = account.gateway.set_enabled

    def set_enabled(key_id: str, *, enabled: bool) -> None:
        disable(key_id, enabled=enabled)
        raise KeyboardInterrupt

    account.gateway.set_enabled = set_enabled  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        account.sweep()
    account.sweep(Mode.OBSERVE)
    verdict = account.sweep(Mode.OBSERVE).plan.verdicts[-1]
    assert isinstance(verdict.because, reasons.Stepped)
    assert verdict.idle_since == in_days(2)
    assert account.day * DAY == account.today - account.first


# --- first sightings ------------------------------------------------------------------------------


def test_an_old_key_that_evidence_and_ledger_see_for_the_first_time_had_no_change_of_plans() -> (
    None
):
    account = an_account()
    account.key("old", PLAN_ID, age=80)  # nobody listed it on the two nights before
    account.nights(30)
    assert account.steps("old") == [(2, "warn"), (16, "disable"), (30, "park")]


def test_a_warned_orphan_that_is_put_into_a_plan_starts_anew() -> None:
    account = an_account()
    account.key("orphan", age=80)
    account.nights(24)
    assert account.steps("orphan") == [(13, "warn")]  # fourteen nights since the first evidence
    account.join("orphan", PLAN_ID)
    account.nights(30)
    assert account.steps("orphan")[1:] == [(26 + 14, "warn"), (26 + 28, "disable")]
