"""A record lived again: what a policy would have parked of it, and what of that came back."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from keyjanitor.domain.expiry.keys_file import WHOLE_NIGHTS, thinned
from keyjanitor.domain.model.keys import Mode, State, SweepAction
from keyjanitor.domain.model.owners import Stack
from keyjanitor.domain.model.policy import Policy, PressureRule
from keyjanitor.domain.model.policy_file import parse_policy
from keyjanitor.domain.model.records import OwnerFrom, Row
from keyjanitor.domain.usage.evidence_file import from_document
from keyjanitor_cli.whatif import tables
from keyjanitor_cli.whatif.errors import FolderRefused
from keyjanitor_cli.whatif.record import Line, Record
from keyjanitor_cli.whatif.replay import Replay, Shut, with_idle_limit
from tests.builders import DAY, TODAY, a_policy, a_tier, in_days
from tests.unit.nights import Account
from tests.unit.whatif.files import ask, evidence_file, keys_file, put_lines, record, steps

POLICY = a_policy()
NIGHTS = 50


def an_account(policy: Policy = POLICY) -> Account:
    """One key idle for 70 days, one for 65 that is used again in 40 days, and a busy one."""
    account = Account(policy)
    account.plan()
    account.key("idle", "plan1", age=300, last_used=70)
    account.key("pause", "plan1", age=300, used=lambda day: day <= -65 or day >= 40)
    return account


def replay(folder: Path, policy: Policy = POLICY) -> Replay:
    lived = Record(folder)
    again = Replay(policy, lived.plan_names)
    for night in lived.live():
        again.live(night)
    return again


def lines_of(folder: Path, day: date) -> list[Line]:
    nights = Record(folder)
    return nights._lines[day]


# --- what is told ---------------------------------------------------------------------------------


def test_what_would_have_been_parked_and_what_came_back_is_found(tmp_path: Path) -> None:
    found = replay(record(tmp_path, an_account(), NIGHTS))
    assert found.shut == [
        Shut("idle", in_days(14), ("plan1",), parked_on=in_days(28)),
        Shut("pause", in_days(14), ("plan1",), parked_on=in_days(28), back_on=in_days(40)),
    ]
    assert found.did == {SweepAction.WARN: 2, SweepAction.DISABLE: 2, SweepAction.PARK: 2}
    counts = [(count.recorded, count.replayed) for count in found.counts]
    # Parked on night 28, gone on night 29; used on day 40, which night 41 reads.
    assert counts == [(3, 3)] * 29 + [(3, 1)] * 12 + [(3, 2)] * (NIGHTS - 41)
    assert [one.regretted for one in found.shut] == [one.key_id == "pause" for one in found.shut]


def test_the_highest_count_is_of_the_days_after_what_was_there_before_is_gone(
    tmp_path: Path,
) -> None:
    found = replay(record(tmp_path, an_account(), NIGHTS))
    assert found.acts_from == in_days(29)
    assert tables.highest(found) == (in_days(29), 3, 2)
    assert tables.sentence("60 days", found) == (
        "60 days would have parked 2 keys, 1 came back, the highest count since "
        f"{in_days(29)} 2 instead of 3"
    )


def test_of_too_few_days_nothing_is_said_but_that(tmp_path: Path) -> None:
    found = replay(record(tmp_path, an_account(), 20))
    assert tables.highest(found) is None
    assert "20 days of record cannot tell its highest count" in tables.sentence("60 days", found)


def test_a_longer_idle_limit_parks_less_of_the_same_record(tmp_path: Path) -> None:
    folder = record(tmp_path, an_account(), NIGHTS)
    assert steps(replay(folder, with_idle_limit(POLICY, 67))) == {
        "idle": (in_days(14), in_days(28), None),
        "pause": (in_days(16), in_days(30), in_days(40)),
    }
    assert steps(replay(folder, with_idle_limit(POLICY, 106))) == {}


def test_an_idle_limit_is_changed_only_where_keys_expire_at_all() -> None:
    policy = a_policy(a_tier(idle_days=60), a_tier("front-end", idle_days="never"))
    changed = with_idle_limit(policy, 35)
    assert {name: tier.idle_days for name, tier in changed.tiers.items()} == {
        "external": 35,
        "front-end": "never",
        "unclaimed": "never",
    }


# --- the real rules -------------------------------------------------------------------------------


def test_a_record_that_the_stack_acted_on_is_lived_again_as_it_was(tmp_path: Path) -> None:
    account = an_account()
    for number in range(30):
        account.key(f"more{number:02}", "plan1", age=300, last_used=35 + number)
    folder = record(tmp_path, account, NIGHTS, Mode.PARK)
    done = {key_id: (row.disabled_on, row.parked_on, None) for key_id, row in _gone(account)}
    assert len(done) > 25
    again = {
        key_id: (on, parked, None) for key_id, (on, parked, _) in steps(replay(folder)).items()
    }
    assert {key_id: one for key_id, one in again.items() if one[1]} == done


def _gone(account: Account) -> list[tuple[str, Row]]:
    return [
        (key_id, row) for key_id, row in account.ledger.gone.items() if row.state is State.PARKED
    ]


def test_what_the_stack_itself_parked_lives_on_under_a_longer_idle_limit(tmp_path: Path) -> None:
    folder = record(tmp_path, an_account(), NIGHTS, Mode.PARK)
    found = replay(folder, with_idle_limit(POLICY, 80))
    assert steps(found) == {
        "idle": (in_days(24), in_days(38), None),
        "pause": (in_days(29), in_days(43), None),
    }
    counts = [(count.recorded, count.replayed) for count in found.counts]
    assert counts[28:30] == [(3, 3), (1, 3)]
    assert counts[-1] == (1, 1)
    # The stack had disabled them before: whether they would have come back cannot show.
    assert [found.watched(one) for one in found.shut] == [0, 0]


def test_a_key_that_others_deleted_is_gone_in_the_replay_too(tmp_path: Path) -> None:
    account = an_account()

    def delete(night: int) -> None:
        if night == 20:
            account.gateway.delete("idle")

    found = replay(record(tmp_path, account, NIGHTS, each=delete))
    assert steps(found)["idle"] == (in_days(14), None, None)
    assert (found.counts[19].replayed, found.counts[20].replayed) == (3, 2)


def test_a_key_that_is_made_later_is_not_there_before(tmp_path: Path) -> None:
    account = an_account()

    def make(night: int) -> None:
        if night == 30:
            account.key("new", "plan1", age=1)

    folder = record(tmp_path, account, NIGHTS, each=make)
    found = replay(_thin(folder))
    assert [count.recorded for count in found.counts] == [3] * 30 + [4] * (NIGHTS - 30)
    # Never used: warned after 14 days, disabled after 14 more.
    assert "new" not in steps(found)


def test_a_key_changed_while_it_would_have_been_shut_came_back_too(tmp_path: Path) -> None:
    account = an_account()

    def rename(night: int) -> None:
        if night == 20:
            account.gateway.change("idle", description="still ours")

    found = replay(record(tmp_path, account, NIGHTS, each=rename))
    assert steps(found)["idle"] == (in_days(14), None, in_days(20))


def _named_by_a_stage(account: Account) -> None:
    named = replace(account.gateway.living["idle"], stage_keys=("api1/prod",))
    account.gateway.living["idle"] = named


@pytest.mark.parametrize(
    ("protect", "reason"),
    [
        (lambda account: _tag(account, "keyjanitor:keep"), "tagged keyjanitor:keep"),
        (lambda account: _tag(account, "ManagedBy"), "owned by tag ManagedBy=x"),
        (
            lambda account: account.gateway.change("idle", enabled=False),
            "disabled by others",
        ),
        (lambda account: _row(account, protected_until=in_days(90)), "protected until"),
        (lambda account: _row(account, owned_by=Stack("shop")), "owned by stack shop"),
        (
            lambda account: _row(account, owned_by=Stack("ends on 2026-99-99")),
            "owned by stack ends",
        ),
        (_named_by_a_stage, "a stage names it in the old way"),
    ],
)
@pytest.mark.sampled
def test_what_shields_a_key_in_the_record_shields_it_in_the_replay(
    tmp_path: Path, protect: Callable[[Account], object], reason: str
) -> None:
    account = an_account()
    protect(account)
    folder = record(tmp_path, account, 30)
    assert any(str(line["reason"]).startswith(reason) for line in lines_of(folder, in_days(29)))
    assert "idle" not in steps(replay(folder))
    assert "idle" not in steps(replay(_thin(folder)))
    assert "idle" not in steps(replay(_reworded(folder)))


def _tag(account: Account, name: str) -> None:
    account.gateway.living["idle"] = replace(account.gateway.living["idle"], tags={name: "x"})


def _row(account: Account, tier: str = "external", **facts: Any) -> None:
    account.ledger.rows["idle"] = Row(
        "idle", State.ACTIVE, tier, version=1, adopted_on=TODAY - DAY * 100, **facts
    )


def test_an_agreed_end_comes_in_the_replay_as_it_was_agreed(tmp_path: Path) -> None:
    account = an_account()
    account.key("ends", "plan1", age=300, used=lambda _: True)
    account.ledger.rows["ends"] = Row(
        *("ends", State.ACTIVE, "external"),
        version=1,
        owner="user-1",
        issued=True,
        adopted_on=TODAY - DAY * 100,
        expires_on=in_days(20),
    )
    folder = record(tmp_path, account, 40)
    assert steps(replay(folder))["ends"][0] == in_days(20)
    assert steps(replay(_reworded(folder)))["ends"][0] == in_days(20)


def test_a_stack_that_is_found_out_late_owned_the_key_before(tmp_path: Path) -> None:
    account = an_account()

    def learn(night: int) -> None:
        if night == 15:
            _row(account, owned_by=Stack("shop"))

    assert "idle" not in steps(replay(record(tmp_path, account, NIGHTS, each=learn)))


def test_an_issued_key_stays_in_the_tier_that_it_was_issued_in(tmp_path: Path) -> None:
    policy = a_policy(a_tier(), a_tier("partners", usage_plans=(), idle_days="never"))
    account = an_account(policy)
    _row(account, tier="partners", issued=True, owner="user-1")
    assert steps(replay(record(tmp_path, account, 30), policy)).keys() == {"pause"}


def test_a_key_whose_owner_was_found_or_assigned_goes_to_the_tier_of_its_plan(
    tmp_path: Path,
) -> None:
    policy = a_policy(a_tier(), a_tier("partners", usage_plans=(), idle_days="never"))
    for how in (OwnerFrom.FOUND, OwnerFrom.ASSIGNED):
        account = an_account(policy)
        _row(account, owner="user-1", owner_from=how)
        folder = record(tmp_path / how, account, 30)
        assert lines_of(folder, TODAY)[0]["owner_from"] == how
        assert steps(replay(folder, policy)).keys() == {"idle", "pause"}


def test_of_a_line_that_does_not_say_how_it_is_known_an_owner_is_whom_the_key_was_issued_to(
    tmp_path: Path,
) -> None:
    policy = a_policy(a_tier(), a_tier("partners", usage_plans=(), idle_days="never"))
    account = an_account(policy)
    _row(account, tier="partners", issued=True, owner="user-1")
    folder = record(tmp_path, account, 30)
    for day in Record(folder).nights:
        lines = lines_of(folder, day)
        put_lines(
            keys_file(folder, day),
            [{k: v for k, v in one.items() if k != "owner_from"} for one in lines],
        )
    assert steps(replay(folder, policy)).keys() == {"pause"}


def test_a_key_used_on_the_very_day_it_would_have_been_shut_came_back(tmp_path: Path) -> None:
    account = Account(POLICY)
    account.plan()
    account.key("late", "plan1", age=300, used=lambda day: day <= -65 or day == 14)
    found = replay(record(tmp_path, account, 30))
    assert steps(found) == {"late": (in_days(14), None, in_days(14))}


def test_a_use_that_shows_late_gives_a_key_back(tmp_path: Path) -> None:
    account = an_account()

    def show(night: int) -> None:
        if night == 15:
            account.use("idle", days_before=2)

    found = replay(record(tmp_path, account, 30, each=show))
    assert steps(found)["idle"] == (in_days(14), None, in_days(13))
    assert found.did[SweepAction.ENABLE] == 1


def test_who_comes_back_after_more_than_a_month_is_no_regret(tmp_path: Path) -> None:
    account = Account(POLICY)
    account.plan()
    account.key("pause", "plan1", age=300, used=lambda day: day <= -65 or day >= 45)
    (found,) = replay(record(tmp_path, account, NIGHTS)).shut
    assert (found.on, found.back_on, found.regretted) == (in_days(14), in_days(45), False)


@pytest.mark.slow
def test_a_backlog_is_gone_when_the_last_of_it_is(tmp_path: Path) -> None:
    """Fifty keys, twenty a night: the last ten are warned on night 2 and parked on night 30."""
    account = Account(POLICY)
    account.plan()
    for number in range(50):
        account.key(f"idle{number:02}", "plan1", age=300, last_used=70)
    found = replay(record(tmp_path, account, 33))
    assert found.acts_from == in_days(31)
    assert tables.highest(found) == (in_days(31), 51, 1)


@pytest.mark.slow
def test_nights_that_the_brake_would_stop_are_let_go_and_counted(tmp_path: Path) -> None:
    """A hundred keys that were used on one day reach their limit on one night."""
    account = Account(POLICY)
    account.plan()
    for number in range(100):
        account.key(f"idle{number:03}", "plan1", age=300, last_used=58)
    found = replay(record(tmp_path, account, 22))
    [(night, brake)] = found.braked
    assert (night, brake.new) == (in_days(2), 100)
    assert tables.brake_words(brake) == "100 keys newly past the idle limit (100 use stopped)"
    # Approved, all were warned at once; from there the allowance spreads them.
    assert [one.on for one in found.shut] == [in_days(16 + n // 20) for n in range(100)]


@pytest.mark.slow
def test_nights_that_nobody_read_trip_no_brake(tmp_path: Path) -> None:
    """A hundred keys fall due within five nights of which nobody read one."""
    account = Account(POLICY)
    account.plan()
    for number in range(100):
        account.key(f"idle{number:03}", "plan1", age=300, last_used=70)
    folder = record(tmp_path, account, 22)
    for night in range(14, 19):
        evidence_file(folder, in_days(night)).unlink()
    assert replay(folder).braked == []


def test_a_pressure_rule_that_stood_is_left_only_well_below_its_edge(tmp_path: Path) -> None:
    """16 keys of 30 reach the rule; with 15 it stays in force, with an idle limit of 36 days."""
    policy = a_policy(
        service_quota=30, pressure=(PressureRule(above=0.5, idle_factor=0.6, freeze=()),)
    )
    account = Account(policy)
    account.plan()
    account.key("soon", "plan1", age=300, last_used=30)
    for number in range(14):
        account.key(f"used{number}", "plan1", age=300, used=lambda _: True)

    def delete(night: int) -> None:
        if night == 3:
            account.gateway.delete("used0")

    found = replay(record(tmp_path, account, 25, each=delete), policy)
    assert steps(found) == {"soon": (in_days(20), None, None)}


def test_a_plan_that_the_policy_names_may_come_later_in_the_record(tmp_path: Path) -> None:
    policy = a_policy(a_tier(), a_tier("late"))
    account = an_account()

    def make(night: int) -> None:
        if night == 5:
            account.plan("plan2", "late")

    folder = record(tmp_path, account, 30, each=make)
    assert steps(replay(folder, policy)).keys() == {"idle", "pause"}
    wrong = replay(folder, a_policy(a_tier("never", usage_plans=("never",))))
    assert list(wrong.problems) == [
        "policy.toml: tiers.never.usage_plans[0]: this account has no usage plan 'never'"
    ]
    assert steps(wrong) == {}


# --- what is not known ----------------------------------------------------------------------------


def test_a_night_that_nobody_read_does_nothing_and_two_bring_warnings_only(tmp_path: Path) -> None:
    folder = record(tmp_path, an_account(), NIGHTS)
    for night in (13, 14, 15):
        evidence_file(folder, in_days(night)).unlink()
    found = replay(folder)
    assert found.unread == 3
    # Night 16 is the first after two without a sweep.
    assert {key_id: on for key_id, (on, _, _) in steps(found).items()} == {
        "idle": in_days(17),
        "pause": in_days(17),
    }


def test_while_a_plan_is_unread_nobody_in_it_moves(tmp_path: Path) -> None:
    account = an_account()

    def spoil(night: int) -> None:
        account.gateway.unreadable = {"plan1"} if 10 <= night < 20 else set()

    found = replay(record(tmp_path, account, NIGHTS, each=spoil))
    assert {on for on, _, _ in steps(found).values()} == {in_days(20)}


def test_how_long_a_shut_key_was_watched_ends_where_its_plan_is_unread(tmp_path: Path) -> None:
    account = an_account()

    def spoil(night: int) -> None:
        account.gateway.unreadable = {"plan1"} if night >= 30 else set()

    found = replay(record(tmp_path, account, NIGHTS, each=spoil))
    # The reading of night 29 is whole through day 27; both were shut on day 14, and seen no more.
    assert [found.watched(one) for one in found.shut] == [13, 13]


def test_a_shut_key_is_watched_until_the_stack_itself_shuts_it(tmp_path: Path) -> None:
    account = Account(POLICY)
    account.plan()
    account.key("soon", "plan1", age=300, last_used=40)
    folder = record(tmp_path, account, NIGHTS, Mode.PARK)
    found = replay(folder, with_idle_limit(POLICY, 35))
    # Shut on night 14; the stack warned on night 20 and disabled on 34, which night 35 finds.
    assert [(one.on, found.watched(one)) for one in found.shut] == [(in_days(14), 35 - 14)]


def test_evidence_that_begins_anew_is_nobodys_sign_of_life(tmp_path: Path) -> None:
    account = an_account()
    folder = record(tmp_path, account, 20)
    for _ in range(100):
        account.live()
    record(folder, account, 3)
    assert steps(replay(folder))["idle"] == (in_days(14), None, None)


def test_nights_without_known_tags_move_nobody(tmp_path: Path) -> None:
    account = an_account()

    def spoil(night: int) -> None:
        account.lose_sight_of_owners(lost=12 <= night < 18)

    # Under this policy the record itself names the reason, because a key is past its idle limit.
    found = replay(record(tmp_path, account, NIGHTS, each=spoil))
    assert {on for on, _, _ in steps(found).values()} == {in_days(18)}


def test_a_damaged_night_is_left_out(tmp_path: Path) -> None:
    folder = record(tmp_path, an_account(), NIGHTS)
    file = keys_file(folder, in_days(5))
    file.write_bytes(file.read_bytes()[:-9])
    put_lines(keys_file(folder, in_days(6)), [{"key_id": "idle"}])
    lived = Record(folder)
    assert lived.unreadable == [in_days(6), in_days(5)]
    assert len(replay(folder).counts) == NIGHTS - 2


def test_a_folder_without_a_night_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderRefused, match="holds no night"):
        Record(tmp_path)
    folder = record(tmp_path, an_account(), 2)
    for night in (0, 1):
        evidence_file(folder, in_days(night)).write_bytes(gzip.compress(b"{}"))
    with pytest.raises(FolderRefused, match="holds no night"):
        Record(folder)


# --- files that are thinned out -------------------------------------------------------------------


def _thin(folder: Path) -> Path:
    """What pull_usage makes of the keys files after a week."""
    nights = Record(folder).nights
    for day in nights[: -WHOLE_NIGHTS - 1]:
        lines, next_lines = (_lines(folder, one) for one in (day, day + DAY))
        put_lines(keys_file(folder, day), list(thinned(lines, next_lines)))
    return folder


def _reworded(folder: Path) -> Path:
    """The keys files as another release may word them."""
    for day in Record(folder).nights:
        lines = [{**line, "reason": "in other words"} for line in _lines(folder, day)]
        put_lines(keys_file(folder, day), lines)
    return folder


def _lines(folder: Path, day: date) -> list[Line]:
    return [
        json.loads(line)
        for line in gzip.decompress(keys_file(folder, day).read_bytes()).splitlines()
    ]


def test_a_change_that_a_dropped_line_told_of_is_not_taken_for_older(tmp_path: Path) -> None:
    account = Account(POLICY)
    account.plan()
    account.key("quiet", "plan1", age=300, last_used=20)

    def rename(night: int) -> None:
        if night == 5:
            account.gateway.change("quiet", description="still ours")

    folder = _thin(record(tmp_path, account, 20, each=rename))
    assert _lines(folder, in_days(1)) == []
    changed = {
        (night.day - TODAY).days: night.keys["quiet"].key.last_updated_date.date()
        for night in Record(folder).live()
    }
    made = TODAY - DAY * 300
    assert changed == {day: made if day < 5 else in_days(5) for day in range(20)}


@pytest.mark.slow
@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.PARK])
def test_thinned_files_tell_the_same(tmp_path: Path, mode: Mode) -> None:
    whole = record(tmp_path / "whole", an_account(), NIGHTS, mode)
    expected = replay(whole)
    before = sum(len(_lines(whole, day)) for day in Record(whole).nights)
    found = replay(_thin(whole))
    assert sum(len(_lines(whole, day)) for day in Record(whole).nights) < before
    assert (found.shut, found.counts, found.did) == (
        expected.shut,
        expected.counts,
        expected.did,
    )


def test_evidence_of_today_is_read_as_it_was_written(tmp_path: Path) -> None:
    account = an_account()
    folder = record(tmp_path, account, 1)
    document = json.loads(gzip.decompress(evidence_file(folder, TODAY).read_bytes()))
    (night,) = Record(folder).live()
    assert night.evidence == from_document(document)


# --- the program ----------------------------------------------------------------------------------

TOML = """
[tiers.unclaimed]
contact = "api-team@example.org"
idle_days = "never"

[tiers.external]
contact = "api-team@example.org"
usage_plans = ["external"]
idle_days = 60
"""


@pytest.mark.slow
def test_several_idle_limits_are_told_side_by_side(tmp_path: Path) -> None:
    folder = record(tmp_path / "history", an_account(), NIGHTS)
    policy = tmp_path / "policy.toml"
    policy.write_text(TOML)
    given = ("--history", str(folder), "--policy", str(policy))
    code, printed = ask(*given, "--idle", "35 60, 106")
    assert code == 0
    assert f"nights: {NIGHTS}, {TODAY} to {in_days(NIGHTS - 1)}; 0 are not recorded" in printed
    assert "60 days would have parked 2 keys, 1 came back" in printed
    assert "106 days would have parked 0 keys, 0 came back" in printed
    # From day 40 on `pause` sends 7 requests a day; the last night knows no more than the day before.
    assert f"1 key came back in all, with {7 * 9} requests since" in printed
    code, printed = ask(*given, "--before", str(policy))
    assert code == 0
    assert "before would have parked 2 keys" in printed
    assert "the policy would have parked 2 keys" in printed


def test_days_whose_use_nobody_knows_are_told_apart(tmp_path: Path) -> None:
    folder = record(tmp_path / "history", an_account(), NIGHTS)
    (folder / f"usage/dt={in_days(42)}/usage.jsonl.gz").unlink()
    unknown = {"plan_id": "plan1", "key_id": "pause", "used": None, "missing": "not read"}
    put_lines(folder / f"usage/dt={in_days(43)}/usage.jsonl.gz", [unknown])
    assert Record(folder).requests({"pause": in_days(40)}) == (7 * 7, 2)


@pytest.mark.parametrize("idle", ["many", "0", "35 9999", "-1"])
def test_days_that_are_none_are_refused(tmp_path: Path, idle: str) -> None:
    folder = record(tmp_path / "history", an_account(), 2)
    policy = tmp_path / "policy.toml"
    policy.write_text(TOML)
    code, printed = ask("--history", str(folder), "--policy", str(policy), f"--idle={idle}")
    assert code == 2
    assert "whole numbers of days from 1 to 3650" in printed


def test_the_policy_of_the_tests_is_that_of_the_program() -> None:
    shipped = a_tier(new_keys_per_day=200, new_keys_per_sender_per_hour=100)
    assert parse_policy(TOML).tiers["external"] == shipped
