"""The safety brake, walked night by night: what trips it, what does not, and how it comes off."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from keyjanitor.domain.expiry.safety_brake import Brake, Cause
from keyjanitor.domain.model.keys import Mode, State
from keyjanitor.domain.model.policy import Policy, PressureRule, Sweep
from tests.builders import DAY, PLAN_ID, a_policy, a_tier
from tests.unit.nights import Account, Swept

MANY = 42  # keys: more than twice the allowance of 20
IDLE = 20  # days
SHORT = a_policy(a_tier(idle_days=IDLE))  # so that a key's life does not take long


class Busy(Account):
    """Its plan's own key makes most of the traffic: who falls silent beside it is no outage."""

    def _use(self, plan_id: str, key_id: str, index: int) -> None:
        super()._use(plan_id, key_id, index)
        if key_id.startswith("busy") and self.clients[plan_id, key_id](index):
            self.gateway.requests[plan_id, key_id][self.first + DAY * index] = 10_000


def until(end: int | None) -> Callable[[int], bool]:
    """Used on every day before the day `end`."""
    return lambda day: end is None or day < end


def weekly(turn: int, without: range) -> Callable[[int], bool]:
    """Used once a week, but on no day of `without`."""
    return lambda day: day not in without and day % 7 == turn % 7


def an_account(
    *,
    policy: Policy | None = None,
    nights: int = 3,
    stop: int | None = None,
    keys: int = MANY,
    arrivals: Iterable[int] = (),
) -> Account:
    """An account of `keys` keys in daily use, until the day `stop`, that was swept for some nights.

    `arrivals` says of more keys how many days before the first night each was used for the last time.
    """
    account = Busy(policy or SHORT)
    account.plan()
    for number in range(keys):
        account.key(
            f"live{number:03}",
            PLAN_ID,
            age=300,
            used=until(stop),
        )
    for number, days in enumerate(arrivals):
        if days > 0:
            account.key(f"idle{number:03}", PLAN_ID, age=300, last_used=days)
        else:  # in use until then
            account.key(f"idle{number:03}", PLAN_ID, age=300, used=until(1 - days))
    account.nights(nights)
    return account


def until_braked(account: Account, nights: int = 100) -> Swept:
    """Lives until the brake trips; the night that trips it is not over."""
    for _ in range(nights):
        account.read()
        swept = account.sweep()
        if swept.brake is not None:
            return swept
        account.live()
    raise AssertionError("the brake never tripped")


def causes(brake: Brake | None) -> dict[str, int]:
    assert brake is not None
    return {str(one.cause): one.keys for one in brake.causes}


def shortened(days: int, policy: Policy | None = None) -> Policy:
    """A policy whose idle limit was edited."""
    policy = policy or SHORT
    tiers = {
        name: replace(tier, idle_days=days) if name == "external" else tier
        for name, tier in policy.tiers.items()
    }
    return replace(policy, tiers=tiers)


def nothing_was_done(account: Account) -> bool:
    rows = account.ledger.rows.values()
    return all(row.state is State.ACTIVE for row in rows) and not account.gateway.deleted


# --- what trips it --------------------------------------------------------------------------------


@pytest.mark.life("K-1401")
def test_keys_that_all_go_idle_at_once_trip_the_brake_before_one_is_warned() -> None:
    account = an_account(stop=5)
    swept = until_braked(account)
    assert account.day == 4 + IDLE
    assert causes(swept.brake) == {"use_stopped": MANY}
    assert swept.applied == {}
    assert nothing_was_done(account)


@pytest.mark.slow
@pytest.mark.life("K-1404")
def test_the_brake_stays_on_night_after_night_until_it_is_approved() -> None:
    account = an_account(stop=5)
    first = until_braked(account)
    account.live()
    later = account.nights(20)
    assert [causes(night.brake) for night in later] == [{"use_stopped": MANY}] * 20
    assert {night.brake.since for night in later if night.brake} == {
        first.brake.since if first.brake else None
    }
    assert nothing_was_done(account)


@pytest.mark.life("K-1404", "K-1405")
def test_a_policy_edited_too_far_trips_it_and_put_back_the_brake_is_off() -> None:
    account = an_account(keys=5)
    for number in range(MANY):
        account.key(f"resting{number:03}", PLAN_ID, age=300, last_used=10)
    account.nights(3)
    account.policy = shortened(5)
    braked = account.night()
    assert causes(braked.brake) == {"limit_lowered": MANY}
    assert braked.applied == {}
    account.policy = shortened(IDLE)
    after = account.night()
    assert after.brake is None


@pytest.mark.parametrize("after_nights", [1, 5])
def test_an_edit_made_during_a_hold_trips_it_when_the_hold_ends(after_nights: int) -> None:
    account = an_account(keys=5)
    for number in range(MANY):
        account.key(f"resting{number:03}", PLAN_ID, age=300, last_used=10)
    account.nights(2)
    account.ledger.held = "a holiday"
    account.policy = shortened(5)
    held = account.nights(after_nights)
    assert all(causes(night.brake) == {"limit_lowered": MANY} for night in held)
    account.ledger.held = None
    assert causes(account.night().brake) == {"limit_lowered": MANY}


def test_a_pressure_rule_edited_too_far_trips_it() -> None:
    account = an_account(keys=5, policy=a_policy(pressure=(PressureRule(0.0001, 0.9, ()),)))
    for number in range(MANY):
        account.key(f"resting{number:03}", PLAN_ID, age=300, last_used=45)
    account.nights(2)
    account.policy = replace(account.policy, pressure=(PressureRule(0.0001, 0.6, ()),))
    assert causes(account.night().brake) == {"limit_lowered": MANY}


def test_an_allowance_raised_on_the_night_of_an_edit_does_not_hide_it() -> None:
    account = an_account(keys=5)
    for number in range(MANY):
        account.key(f"resting{number:03}", PLAN_ID, age=300, last_used=10)
    account.nights(2)
    account.policy = replace(shortened(5), sweep=Sweep(max_share=1.0, max_keys=10_000))
    assert causes(account.night().brake) == {"limit_lowered": MANY}


@pytest.mark.life("K-1405")
def test_the_end_of_an_outage_trips_it() -> None:
    """What would have called in the outage reaches its limit while nothing can be judged."""
    account = an_account(keys=12)
    for number in range(48):
        account.key(f"rare{number:02}", PLAN_ID, age=300, last_used=IDLE - 5 - number // 16)
    account.nights(3)
    account.gateway.blackout = True
    account.nights(3)
    account.gateway.blackout = False
    swept = until_braked(account, 6)
    assert causes(swept.brake) == {"not_known_before": 48}
    assert nothing_was_done(account)


def test_a_plan_whose_usage_is_read_as_nothing_trips_it() -> None:
    account = an_account()
    real = account.gateway.usage
    since = account.today

    def usage(plan_id: str, start: object, end: object) -> object:
        for page in real(plan_id, start, end):  # type: ignore[arg-type]
            items = {
                key_id: [
                    pair if page.start + DAY * index < since else [0, 1000]
                    for index, pair in enumerate(pairs or ())
                ]
                if key_id.startswith("live")
                else pairs
                for key_id, pairs in page.items.items()
            }
            yield replace(page, items=items)

    account.gateway.usage = usage  # type: ignore[assignment,method-assign]
    swept = until_braked(account)
    assert causes(swept.brake) == {"use_stopped": MANY}
    assert nothing_was_done(account)


def test_a_reading_that_forgets_what_it_knew_trips_it() -> None:
    account = an_account()
    evidence = account.read()
    account.files.evidences[account.today] = replace(evidence, last_used={})
    braked = account.sweep()
    assert causes(braked.brake)["reading_changed"] >= MANY
    assert nothing_was_done(account)


@pytest.mark.life("K-1405")
def test_a_plan_that_is_lost_trips_it() -> None:
    account = an_account()
    for number in range(MANY):
        account.leave(f"live{number:03}", PLAN_ID)
    swept = until_braked(account, 30)
    assert causes(swept.brake) == {"plan_lost": MANY}


def test_marks_taken_out_of_the_policy_trip_it() -> None:
    account = an_account(keys=5)
    for number in range(MANY):
        account.key(f"terraform{number:02}", PLAN_ID, age=300, tags={"ManagedBy": "terraform"})
    account.nights(2)
    account.policy = replace(account.policy, owned=replace(account.policy.owned, tags=()))
    assert causes(account.night().brake) == {"protection_ended": MANY}


def test_a_limit_set_where_there_was_none_trips_it() -> None:
    account = an_account(keys=5, policy=a_policy(a_tier(idle_days="never")))
    for number in range(MANY):
        account.key(f"old{number:02}", PLAN_ID, age=300)
    account.nights(2)
    account.policy = SHORT
    assert causes(account.night().brake) == {"limit_lowered": MANY}


@pytest.mark.life("K-1405")
def test_a_silent_plan_that_is_believed_at_once_trips_it() -> None:
    account = Account(a_policy(a_tier(usage_plans=("external", "other"), idle_days=IDLE)))
    account.plan()
    account.plan("plan2", "other", busy=False, stages=("api2:prod",))
    for number in range(MANY):
        account.key(f"silent{number:02}", "plan2", age=300)
    account.nights(3)
    account.use("silent00", "plan2")
    account.nights(1)
    assert causes(account.night().brake) == {"not_known_before": MANY - 1}


# --- ways around it -------------------------------------------------------------------------------


@pytest.mark.life("K-1405")
def test_an_edit_in_small_steps_over_several_nights_is_one_edit() -> None:
    account = an_account(keys=5)
    for number in range(90):  # thirty keys for each four days
        account.key(f"resting{number:03}", PLAN_ID, age=300, last_used=5 + number // 30 * 4)
    account.nights(2)
    found = []
    for days in (14, 11, 8):
        account.policy = shortened(days)
        found.append(account.night().brake)
    assert found[0] is None
    assert causes(found[1]) == {"limit_lowered": 60}


@pytest.mark.slow
@pytest.mark.life("K-1402")
def test_plans_that_fall_silent_one_after_the_other_trip_it_within_a_week() -> None:
    account = Busy(SHORT)
    account.plan()
    for number in range(150):  # thirty a night, each night fewer than twice the allowance
        account.key(f"live{number:03}", PLAN_ID, age=300, used=until(5 + number // 30))
    account.nights(3)
    swept = until_braked(account)
    assert swept.brake is not None
    assert swept.brake.in_a_week
    assert swept.brake.worst == 90
    warned = sum(row.state is State.WARNED for row in account.ledger.rows.values())
    assert warned <= 2 * 20


@pytest.mark.life("K-1405")
def test_half_of_the_plans_at_once_trip_it() -> None:
    account = an_account(keys=2 * MANY, stop=None)
    for number in range(MANY):
        account.clients[PLAN_ID, f"live{number:03}"] = until(5)
    swept = until_braked(account)
    assert causes(swept.brake) == {"use_stopped": MANY}


def test_keys_that_fell_silent_when_they_were_moved_to_a_new_plan_trip_it() -> None:
    account = an_account()
    account.policy = a_policy(a_tier(usage_plans=("external", "new"), idle_days=IDLE))
    account.plan("plan2", "new")
    account.nights(1)
    for number in range(MANY):
        account.leave(f"live{number:03}", PLAN_ID)
        account.join(f"live{number:03}", "plan2")
    swept = until_braked(account)
    assert causes(swept.brake) == {"use_stopped": MANY}


def test_what_an_approval_did_not_name_is_as_new_as_before() -> None:
    """Approve, then edit: the approval of one plan accepts nothing of a later edit."""
    account = an_account(stop=5)
    digest = until_braked(account).plan.digest
    account.live()
    for number in range(MANY):
        account.key(f"resting{number:03}", PLAN_ID, age=300, last_used=10)
    account.read()
    account.policy = shortened(5)
    approved = account.sweep(approve=digest)
    assert approved.applied == {"adopt": MANY, "warn": MANY}
    assert {key for key, row in account.ledger.rows.items() if row.state is State.WARNED} == {
        f"live{number:03}" for number in range(MANY)
    }
    assert approved.brake is not None
    assert account.sweep().brake is not None
    account.live()
    assert causes(account.night().brake) == {"use_stopped": MANY}


# --- what does not --------------------------------------------------------------------------------


@pytest.mark.life("K-1406")
def test_a_first_night_is_reported_and_drained_and_trips_nothing() -> None:
    account = an_account(keys=0, arrivals=[80] * MANY, nights=0)
    first = account.night()
    assert (first.brake, first.comparison.new) == (None, MANY)
    later = account.nights(35)
    assert [night.brake for night in later] == [None] * 35
    assert [night.applied.get("warn", 0) for night in (first, *later[:3])] == [20, 20, 2, 0]
    assert len(account.gateway.deleted) == MANY


def a_stream(nights: int = 5, per_night: int = 5, days: int = 30) -> Account:
    """Five keys a night reach their limit, for as many nights as are looked at."""
    arrivals = [IDLE - day for day in range(days) for _ in range(per_night)]
    return an_account(arrivals=arrivals, keys=10, nights=nights)


@pytest.mark.slow
@pytest.mark.life("K-1406")
@pytest.mark.parametrize("nights", [7, 14])
@pytest.mark.sampled
def test_a_held_week_trips_nothing_and_drains_at_the_allowance(nights: int) -> None:
    account = a_stream()
    account.ledger.held = "a holiday"
    account.nights(nights)
    account.ledger.held = None
    after = account.nights(12)
    assert [night.brake for night in after] == [None] * 12
    assert max(sum(night.applied.get(verb, 0) for verb in ("warn",)) for night in after) == 20


@pytest.mark.slow
@pytest.mark.life("K-1406")
@pytest.mark.parametrize("nights", [3, 10])
@pytest.mark.sampled
def test_nights_that_did_not_run_trip_nothing(nights: int) -> None:
    account = a_stream()
    for _ in range(nights):
        account.live()
    assert [night.brake for night in account.nights(12)] == [None] * 12


@pytest.mark.life("K-1406")
def test_a_pressure_rule_that_comes_to_stand_trips_nothing() -> None:
    account = an_account(
        keys=5, policy=a_policy(pressure=(PressureRule(0.5, 0.6, ()),), service_quota=200)
    )
    for number in range(MANY):
        account.key(f"resting{number:03}", PLAN_ID, age=300, last_used=40)
    account.nights(2)
    for number in range(60):
        account.key(f"new{number:02}", PLAN_ID, age=0, used=lambda _: True)
    night = account.night()
    assert night.plan.pressure.idle_factor == 0.6
    assert night.brake is None
    assert {one.cause for one in night.comparison.found} == {Cause.PRESSURE_RULE}
    assert night.applied["warn"] == 20


def test_a_night_on_which_nothing_could_be_judged_makes_nothing_new() -> None:
    account = an_account(keys=5, arrivals=[80] * MANY)
    account.gateway.unreadable.add(PLAN_ID)
    account.nights(2)
    account.gateway.unreadable.clear()
    account.lose_sight_of_owners()
    account.nights(2)
    account.lose_sight_of_owners(lost=False)
    night = account.night()
    assert (night.brake, night.comparison.new) == (None, 0)


@pytest.mark.slow
def test_a_quiet_christmas_trips_nothing() -> None:
    """Nobody calls for eight days; who calls once a week is past no limit of twenty."""
    account = an_account(keys=0)
    for number in range(MANY):
        account.key(
            f"client{number:02}",
            PLAN_ID,
            age=300,
            used=weekly(number, range(10, 18)),
        )
    assert [night.brake for night in account.nights(45)] == [None] * 45
    assert nothing_was_done(account)


@pytest.mark.slow
def test_an_import_of_many_keys_trips_nothing_while_they_are_used() -> None:
    account = an_account()
    for number in range(2 * MANY):
        account.key(f"imported{number:03}", PLAN_ID, used=lambda _: True)
    assert [night.brake for night in account.nights(30)] == [None] * 30


def test_an_import_of_many_keys_that_nobody_uses_trips_it_and_says_so() -> None:
    account = an_account()
    for number in range(MANY):
        account.key(f"imported{number:03}", PLAN_ID)
    swept = until_braked(account)
    assert causes(swept.brake) == {"never_used": MANY}


@pytest.mark.slow
def test_a_tier_that_was_moved_to_a_new_plan_trips_nothing_when_its_clocks_run_out_together() -> (
    None
):
    account = a_stream(nights=2, per_night=2)
    account.policy = a_policy(a_tier(usage_plans=("external", "new"), idle_days=IDLE))
    account.plan("plan2", "new")
    moved = [key_id for key_id in account.gateway.members(PLAN_ID) if key_id[:4] != "busy"]
    for key_id in moved:
        account.leave(key_id, PLAN_ID)
        account.join(key_id, "plan2")
        if used := account.clients.pop((PLAN_ID, key_id), None):
            account.clients["plan2", key_id] = used
    nights = account.nights(100)
    most = max(night.comparison.new for night in nights)
    assert most > 40  # on one night, for the move restarted every clock
    assert [night.brake for night in nights] == [None] * 100


def test_a_limit_longer_than_readings_reach_back_trips_nothing_when_it_is_first_reached() -> None:
    account = an_account(keys=5, policy=a_policy(a_tier(idle_days=120)))
    for number in range(MANY):
        account.key(f"old{number:02}", PLAN_ID, age=300)
    nights = account.nights(60)
    assert [night.brake for night in nights] == [None] * 60
    assert sum(night.applied.get("warn", 0) for night in nights) == MANY


def test_keys_that_were_in_no_plan_when_keyjanitor_came_trip_nothing() -> None:
    account = an_account(keys=5, nights=0)
    for number in range(MANY):
        account.key(f"orphan{number:02}", age=300)
    nights = account.nights(30)
    assert [night.brake for night in nights] == [None] * 30
    assert sum(night.applied.get("warn", 0) for night in nights) == MANY


def test_keys_that_a_list_has_missed_for_a_night_are_not_new() -> None:
    account = an_account(keys=5, arrivals=[80] * MANY)
    missed = {
        key_id: account.gateway.living.pop(key_id)
        for key_id in list(account.gateway.living)
        if key_id.startswith("idle")
    }
    account.night()
    account.gateway.living.update(missed)
    night = account.night()
    assert (night.brake, night.comparison.new) == (None, 0)


@pytest.mark.slow
@pytest.mark.life("K-1401")
def test_three_times_as_many_as_usual_are_needed_too() -> None:
    account = a_stream(nights=16, per_night=15, days=19)
    for number in range(30):
        account.key(f"more{number:02}", PLAN_ID, age=300, last_used=IDLE - 1)
    account.nights(1)
    night = account.night()
    assert (night.comparison.usual, night.comparison.new, night.brake) == (15, 45, None)


def test_the_numbers_of_a_first_night_and_of_an_approved_one_are_not_what_is_usual() -> None:
    account = an_account(stop=5, arrivals=[80] * 30)
    digest = until_braked(account).plan.digest
    account.sweep(approve=digest)
    account.live()
    assert account.night().comparison.usual == 0


# --- how it comes off -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.life("K-1304", "K-1404")
def test_an_approval_carries_out_the_saved_plan_past_the_allowance_and_accepts_the_brake() -> None:
    account = an_account(stop=5)
    digest = until_braked(account).plan.digest
    approved = account.sweep(approve=digest)
    assert (approved.applied, approved.brake) == ({"warn": MANY}, None)
    account.live()
    after = account.nights(60)
    assert [night.brake for night in after] == [None] * 60
    assert len(account.gateway.deleted) == MANY


@pytest.mark.life("K-1404")
def test_keys_that_are_used_again_take_the_brake_off() -> None:
    account = an_account(stop=5)
    until_braked(account)
    for number in range(MANY):
        account.use(f"live{number:03}", days_before=1)
    account.live()
    night = account.night()
    assert (night.brake, night.comparison.new) == (None, 0)
    assert nothing_was_done(account)


@pytest.mark.slow
@pytest.mark.life("K-1403")
def test_while_the_brake_is_on_a_key_that_was_used_is_given_back() -> None:
    account = an_account(stop=5)
    account.key("back", PLAN_ID, age=300, last_used=46)
    account.nights(61 + 3 - account.day - 1)
    assert account.row("back").state is not State.ACTIVE
    swept = until_braked(account)
    account.use("back", days_before=0)
    account.live()
    after = account.night()
    assert swept.brake is not None
    assert after.brake is not None
    assert account.row("back").state is State.ACTIVE


@pytest.mark.life("K-1403")
def test_nothing_is_purged_while_the_brake_is_on() -> None:
    tier = a_tier(idle_days=IDLE, warn_days=3, grace_days=3, retain_days=18)
    account = an_account(policy=a_policy(tier), stop=5)
    account.key("old", PLAN_ID, age=300, last_used=30)
    until_braked(account)
    account.live()
    assert account.row("old").purge_on == account.first + DAY * 27
    assert account.nights(8)[-1].brake is not None
    assert account.row("old").state is State.PARKED


def test_observe_reports_the_brake_and_saves_and_alerts_nothing() -> None:
    account = an_account(stop=5, nights=10)
    account.read()
    while (swept := account.sweep(Mode.OBSERVE)).brake is None:
        account.live()
        account.read()
    assert causes(swept.brake) == {"use_stopped": MANY}
    assert account.files.saved == {}
    assert account.told.alerts == []


def test_the_later_runs_of_a_braked_night_are_braked_and_alert_once() -> None:
    account = an_account(stop=5)
    until_braked(account)
    assert all(account.sweep().brake is not None for _ in range(3))
    assert [alert.kind for alert in account.told.alerts].count("brake") == 1


def test_an_edit_between_two_runs_of_a_night_trips_the_second_and_the_next_night() -> None:
    account = an_account(keys=5)
    for number in range(MANY):
        account.key(f"resting{number:03}", PLAN_ID, age=300, last_used=10)
    account.nights(2)
    account.read()
    assert account.sweep().brake is None
    account.policy = shortened(5)
    assert causes(account.sweep().brake) == {"limit_lowered": MANY}
    account.live()
    assert causes(account.night().brake) == {"limit_lowered": MANY}


@pytest.mark.life("K-1406", "K-1304")
def test_a_backlog_is_saved_too_and_can_be_approved_to_go_at_once() -> None:
    account = an_account(keys=5, arrivals=[80] * MANY, nights=0)
    account.read()
    first = account.sweep()
    assert (first.applied["warn"], first.saved) == (20, True)
    rest = account.sweep()
    assert rest.saved
    assert account.sweep(approve=rest.plan.digest).applied == {"warn": MANY - 20}
