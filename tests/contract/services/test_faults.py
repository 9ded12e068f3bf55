"""Whatever is interrupted, at any call, and run again, ends where it would have ended.

Every call that a run makes on anything outside is cut off in its turn: before AWS has carried it out,
and after, when only the answer is lost. What follows of that run is silence, as when Lambda ends it;
its lease runs out, and the next run of the date comes. Or AWS refuses the one call, and the run goes
on or gives up as it sees fit.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keyjanitor.domain.model.records import Row
from keyjanitor.errors import CallFailed, KeyjanitorError
from sandbox.memory.clients.refusal import refused
from tests.account import BUSY, Account, Call, Killed, brisk
from tests.builders import DAY, KEY_ID, PLAN_ID, a_usage_plan

Run = Callable[[Account], Any]
Cut = Callable[[int], "Line"]
DAMAGED = "damaged"  # the key whose tombstone does not open
IN_MEMORY = ("apigateway", "owners")  # which are adapters themselves, and raise errors of ours


class Line:
    """All calls of a run, in their order; it does something else at call number `at`."""

    def __init__(self, at: int | None = None) -> None:
        self._at = at
        self.calls: list[str] = []

    def __call__(self, name: str, call: Call) -> Any:
        self.calls.append(name)
        return call() if len(self.calls) - 1 != self._at else self.instead(name, call)

    def instead(self, name: str, call: Call) -> Any:
        raise NotImplementedError


class EndsBefore(Line):
    """The run is ended before the call is carried out."""

    dead = False

    def __call__(self, name: str, call: Call) -> Any:
        if self.dead:
            raise Killed
        return super().__call__(name, call)

    def instead(self, name: str, call: Call) -> Any:
        self.dead = True
        raise Killed


class EndsAfter(EndsBefore):
    """The run is ended when the call has been carried out, and its answer is lost."""

    def instead(self, name: str, call: Call) -> Any:
        call()
        return super().instead(name, call)


class Refuses(Line):
    """AWS refuses the call."""

    def instead(self, name: str, call: Call) -> Any:
        service, method = name.split(".")
        if service in IN_MEMORY:
            raise CallFailed(method, "InternalServerErrorException")
        raise refused(method, "InternalError", 500)


class LosesTheAnswer(Refuses):
    """AWS carries the call out, and answers that it did not."""

    def instead(self, name: str, call: Call) -> Any:
        call()
        return super().instead(name, call)


CUTS: list[Any] = [EndsBefore, EndsAfter, Refuses, LosesTheAnswer]
# `make check` cuts each scene off in one way, `make test` in all of them.
EACH_CUT = [cut if cut is EndsAfter else pytest.param(cut, marks=pytest.mark.slow) for cut in CUTS]


def sweep(account: Account) -> None:
    account.sweep()


def undo(account: Account) -> None:
    account.sweep(undo=str(account.today - DAY))


def read(account: Account) -> None:
    account.read()


def a_night_with_one_of_everything(account: Account) -> Account:
    """A night on which one key each is adopted, warned, disabled, parked and purged."""
    for index in range(5):
        account.key(f"idle{index}", idle=60 - index, description="sensors, hall 4")
    account.nights(3)
    account.own("idle0", "user-8f1c")
    account.own("idle1", "user-77aa")
    account.pass_day()
    account.key("fresh", age=1)
    account.read()
    return account


def the_night_after_it(account: Account) -> Account:
    a_night_with_one_of_everything(account).sweep()
    account.pass_day()
    account.read()
    return account


def what_stands(account: Account) -> dict[str, Any]:
    """All that a run may leave behind, but for how often it was written."""
    return {
        "keys": {key_id: account.gateway.whole(key_id) for key_id in account.gateway.ids},
        "rows": {key_id: unversioned(row) for key_id, row in account.rows().items()},
        "tombstones": {
            key_id: (replace(tombstone, sealed_value=""), value)
            for key_id, (tombstone, value) in account.buried(damaged=[DAMAGED]).items()
        },
        "files": set(account.objects("tombstones/")),
        "older versions": set(account.versions("tombstones/"))
        - set(account.objects("tombstones/")),
        "evidence": account.evidence(),
        "usage": account.objects("usage/"),
        "night": account.ledger.night(account.today),
        "outbox": account.ledger.unsent(),
        "events": {repr(one) for one in account.events},
        # They link to what is in the bucket, which is another one each time.
        "alerts": {repr(one).replace(account.bucket, "BUCKET") for one in account.alerts},
        "held": account.ledger.hold(),
    }


def unversioned(row: Row) -> Row:
    return replace(row, version=0)


def walk(account: Account, run: Run, cut: Cut, *, every: int = 1) -> Iterator[str]:
    """Cuts `run` off at each of its calls; gives those after which the next run ends elsewhere."""
    snapshot = account.snapshot()
    account.around = undisturbed = Line()
    account.go_back(snapshot)
    run(account)
    expected = what_stands(account)
    for number, name in list(enumerate(undisturbed.calls))[::every]:
        account.around = cut(number)
        account.go_back(snapshot)
        try:
            run(account)
        except (Killed, KeyjanitorError):
            account.real_now += timedelta(minutes=16)
        account.around = Line()
        run(account)
        if (found := what_stands(account)) != expected:
            wrong = [what for what in expected if found[what] != expected[what]]
            if wrong == ["alerts"] and name == "apigateway.key" and is_told_later(found, expected):
                continue
            yield f"{name} (call {number}): {', '.join(wrong)}"


def is_told_later(found: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """True if the alerts differ in that a key is in a digest of its own, and told all the same.

    A key that could not be looked at before its warning is warned about by the next run.
    """
    warned = re.compile(r"(\d+) keys? warned on (\d{4}-\d\d-\d\d)")

    def told(alerts: set[str]) -> tuple[set[str], Counter[str]]:
        keys: Counter[str] = Counter()
        for one in alerts:
            if digest := warned.search(one):
                keys[digest[2]] += int(digest[1])
        return {one for one in alerts if not warned.search(one)}, keys

    assert sum(told(expected["alerts"])[1].values()) > 0
    return told(found["alerts"]) == told(expected["alerts"])


@pytest.mark.parametrize("cut", EACH_CUT)
def test_a_sweep_cut_off_at_any_call_and_run_again_ends_where_it_would_have_ended(
    account: Account, cut: Cut
) -> None:
    a_night_with_one_of_everything(account)
    assert list(walk(account, sweep, cut)) == []


@pytest.mark.parametrize("cut", EACH_CUT)
def test_an_undo_cut_off_at_any_call_and_run_again_ends_where_it_would_have_ended(
    account: Account, cut: Cut
) -> None:
    the_night_after_it(account)
    assert list(walk(account, undo, cut)) == []


def a_night_on_which_much_is_wrong(account: Account) -> Account:
    """A night that passes over a damaged tombstone and one under a delete marker, and closes a row."""
    account.key(DAMAGED, idle=61)
    for index in range(1, 5):
        account.key(f"idle{index}", idle=60 - index)
    account.key("gone", idle=1)
    account.nights(3)
    account.gateway.delete("gone")
    account.pass_day()
    account.night()
    account.change_row("gone", missing_since=account.today - DAY * 40)
    name = f"tombstones/{DAMAGED}.json"
    account.clients.s3.put_object(Bucket=account.bucket, Key=name, Body=b"{}")
    account.pass_day()
    account.read()
    return account


@pytest.mark.slow
@pytest.mark.parametrize("cut", EACH_CUT)
def test_a_night_on_which_much_is_wrong_cut_off_at_any_call_ends_where_it_would_have_ended(
    an_account: Callable[..., Account], cut: Cut
) -> None:
    account = an_account(policy=brisk(retain_days=9))
    a_night_on_which_much_is_wrong(account)
    assert list(walk(account, sweep, cut)) == []


@pytest.mark.parametrize("cut", EACH_CUT)
def test_a_restore_into_plans_that_refuse_cut_off_at_any_call_ends_where_it_would_have_ended(
    an_account: Callable[..., Account], cut: Cut
) -> None:
    account = an_account(policy=brisk(retain_days=9))
    account.gateway.add_plan(a_usage_plan("plan2", name="second", stages=("api2:prod",)))
    account.gateway.use("plan2", BUSY, account.today - DAY)
    account.key("two", idle=60, plans=(PLAN_ID, "plan2"))
    account.key("ended", idle=1)
    account.night()
    account.change_row("ended", expires_on=account.today)
    for _ in range(2):
        account.night()
        account.pass_day()
    account.night()
    both = a_usage_plan("plan2", name="second", stages=("api2:prod", "api1:prod"))
    account.gateway.plans["plan2"] = both
    account.pass_day()
    account.read()
    assert account.states()["two"] == account.states()["ended"] == "parked"
    assert list(walk(account, undo, cut)) == []
    account.sweep()
    assert account.states()["two"] == "restored"
    assert account.states()["ended"] == "parked"


@pytest.mark.parametrize("cut", EACH_CUT)
def test_a_reading_cut_off_at_any_call_and_run_again_ends_where_it_would_have_ended(
    account: Account, cut: Cut
) -> None:
    account.key("idle", idle=60)
    account.night()
    account.pass_day()
    if cut in (Refuses, LosesTheAnswer):
        account.night()  # a plan that could not be read is unread for that night: nothing to repeat
    assert list(walk(account, read, cut)) == []


@pytest.mark.slow
@pytest.mark.parametrize("cut", EACH_CUT)
def test_a_first_night_cut_off_at_any_call_and_run_again_ends_where_it_would_have_ended(
    account: Account, cut: Cut
) -> None:
    for index in range(60):  # more than one transaction
        account.key(f"key{index}", idle=60 if index < 5 else 10)
    account.read()
    assert list(walk(account, sweep, cut)) == []


@pytest.mark.slow
@pytest.mark.parametrize("cut", EACH_CUT)
def test_a_braked_night_cut_off_at_any_call_and_run_again_ends_where_it_would_have_ended(
    account: Account, cut: Cut
) -> None:
    too_many(account)
    assert list(walk(account, sweep, cut)) == []


@pytest.mark.parametrize("cut", EACH_CUT)
def test_an_approval_cut_off_at_any_call_and_sent_again_ends_where_it_would_have_ended(
    account: Account, cut: Cut
) -> None:
    too_many(account)
    digest = account.sweep()["digest"]
    assert list(walk(account, lambda one: one.sweep(approve=digest), cut, every=29)) == []


def too_many(account: Account) -> None:
    """A night on which an edit of the policy brings more than twice twenty keys past their limit."""
    for index in range(41):
        account.key(f"idle{index:02}", idle=20)
    account.read()
    account.sweep()
    account.pass_day()
    account.policy = brisk(idle_days=10)
    account.wire()
    account.read()


def test_the_night_that_is_cut_off_has_one_of_everything(account: Account) -> None:
    applied = a_night_with_one_of_everything(account).sweep()["applied"]
    assert {verb for verb, count in applied.items() if count == 1} == {
        "adopt",
        "warn",
        "disable",
        "park",
        "purge",
    }


def test_the_night_on_which_much_is_wrong_has_it_all(an_account: Callable[..., Account]) -> None:
    account = an_account(policy=brisk(retain_days=9))
    answer = a_night_on_which_much_is_wrong(account).sweep()
    assert answer["tombstones_closed"]["key_ids"] == [DAMAGED]
    assert account.states()["gone"] == "gone"
    assert (answer["applied"]["disable"], answer["applied"]["park"]) == (1, 1)


def test_the_undo_that_is_cut_off_enables_one_key_and_restores_one(account: Account) -> None:
    the_night_after_it(account)
    applied = account.sweep(undo=str(account.today - DAY))["applied"]
    assert (applied["enable"], applied["restore"]) == (1, 1)


@pytest.mark.slow
def test_two_runs_that_die_one_after_the_other_are_finished_by_the_third(account: Account) -> None:
    snapshot = a_night_with_one_of_everything(account).snapshot()
    account.around = undisturbed = Line()
    account.go_back(snapshot)
    account.sweep()
    expected = what_stands(account)
    calls = len(undisturbed.calls)
    for first in range(0, calls, 5):
        for second in range(2, calls, 7):
            account.go_back(snapshot)
            for number in (first, second):
                account.around = EndsAfter(number)
                account.wire()
                try:
                    account.sweep()
                except Killed:
                    account.real_now += timedelta(minutes=16)
            account.around = Line()
            account.sweep()
            assert what_stands(account) == expected, (first, second)


def test_a_key_whose_disabling_was_cut_off_is_finished_on_the_next_date_too(
    an_account: Callable[..., Account],
) -> None:
    account = an_account(policy=brisk(grace_days=14))
    account.key(KEY_ID, idle=60)
    account.night()
    account.pass_day()
    account.read()
    snapshot = account.snapshot()
    account.around = calls = Line()
    account.go_back(snapshot)
    account.sweep()
    account.around = EndsAfter(calls.calls.index("apigateway.set_enabled"))
    account.go_back(snapshot)
    with pytest.raises(Killed):
        account.sweep()
    died_on = account.today
    account.around = Line()
    account.pass_day()
    account.night()
    row = account.row(KEY_ID)
    assert row is not None
    assert (row.state, row.claim) == ("disabled", None)
    # It was disabled by the sweep of that date: an undo of the date brings it back.
    account.sweep(undo=str(died_on))
    assert account.enabled(KEY_ID)
