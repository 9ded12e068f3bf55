"""The reading of a night: whatever fails, the evidence is right and no known use is lost."""

import gzip
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from keyjanitor.domain.usage import usage_file as usagefile
from keyjanitor.domain.usage.evidence import AnsweredRange, Evidence
from keyjanitor.domain.usage.plan_usage import USAGE_DAYS
from keyjanitor.errors import AccessDenied, CallFailed, EvidenceDamaged, NoEvidence
from keyjanitor.services.pull_usage import reader
from sandbox.memory.clients.refusal import refused
from tests.account import Account, Call, Calls, Killed
from tests.builders import DAY, KEY_ID, PLAN_ID, a_usage_plan
from tests.contract.services.test_faults import EndsAfter, EndsBefore

Written = tuple[Evidence | None, dict[str, bytes]]


@pytest.fixture
def account(account: Account) -> Account:
    account.key(KEY_ID, idle=80)
    return account


def written(account: Account) -> Written:
    """What a reading leaves behind: tonight's evidence, and the usage files."""
    return account.evidence(), account.objects("usage/")


def test_the_days_that_api_gateway_answers_are_asked_for_first_the_next_night(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int] | None] = []
    monkeypatch.setattr(account.gateway, "ask_first_for", asked.append)
    account.around = Calls(apigateway_answered_range=lambda _: (60, 0))
    found_on = account.today
    for _ in range(2):
        account.read()
        evidence = account.evidence()
        assert evidence is not None
        assert evidence.usage_range == AnsweredRange(60, 0, found_on)
        account.pass_day()
    assert asked == [None, (60, 0)]


# --- files that are odd ---------------------------------------------------------------------------

ODD = {
    "a row of nothing": b"{}\n",
    "no row": b"[]\n",
    "half a row": b'{"plan_id": "plan1"}\n',
    "a list for an id": b'{"plan_id": "plan1", "key_id": ["k0"], "used": 1}\n',
    "a text for a number": b'{"plan_id": "plan1", "key_id": "k0", "used": "5"}\n',
    "a number for an id": b'{"plan_id": "plan1", "key_id": 7, "used": 1}\n',
}


@pytest.mark.parametrize("back", [1, 2], ids=["of yesterday", "of the day before"])
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_odd_usage_file_stops_no_evidence_and_is_written_anew(
    account: Account, odd: bytes, back: int
) -> None:
    account.read()
    account.pass_day()
    before = account.snapshot()
    account.read()
    undisturbed = written(account)
    account.go_back(before)
    name = f"usage/dt={account.today - DAY * back}/usage.jsonl.gz"
    account.clients.s3.put_object(Bucket=account.bucket, Key=name, Body=gzip.compress(odd))
    account.read()
    assert written(account) == undisturbed


def test_an_odd_keys_file_stops_no_reading_and_is_not_thinned(account: Account) -> None:
    account.nights(9)
    account.pass_day()
    name = f"keys/dt={account.today - DAY * 8}/keys.jsonl.gz"
    account.clients.s3.put_object(Bucket=account.bucket, Key=name, Body=gzip.compress(b"{}\n"))
    assert account.read()["date"] == str(account.today)
    assert account.objects(name) == {name: b"{}\n"}


# --- files that cannot be written -----------------------------------------------------------------


def but_number(number: int, instead: Callable[[Call], Any]) -> Callable[[Call], Any]:
    """Carries all calls out but this one."""
    left = list(range(number + 1))

    def one(call: Call) -> Any:
        if left and left.pop() == 0:
            return instead(call)
        return call()

    return one


def denied(_: Call) -> Any:
    raise refused("PutObject", "AccessDenied", 403)


def slowed_down(_: Call) -> Any:
    raise refused("PutObject", "SlowDown", 503)


REFUSALS = [(denied, AccessDenied), (slowed_down, CallFailed)]


@pytest.mark.parametrize(("fails", "error"), REFUSALS)
@pytest.mark.parametrize("number", [0, 1, 4], ids=["the first", "the second", "the last"])
def test_usage_files_that_cannot_be_written_stop_no_evidence_and_come_the_next_night(
    account: Account, fails: Callable[[Call], Any], error: type[Exception], number: int
) -> None:
    account.read()
    account.pass_day(5)
    told = account.today - DAY * 6
    whole, found = with_and_without(account, number, fails, error, told)
    assert found == whole


@pytest.mark.parametrize(("fails", "error"), REFUSALS)
@pytest.mark.parametrize("number", [0, 1, 89], ids=["the first", "the second", "the last"])
def test_usage_files_that_the_very_first_night_could_not_write_come_the_next_night(
    account: Account, fails: Callable[[Call], Any], error: type[Exception], number: int
) -> None:
    first = account.today - DAY * USAGE_DAYS
    (evidence, whole), found = with_and_without(account, number, fails, error, first - DAY)
    assert len(whole) == USAGE_DAYS + 1
    if number == 0:
        # By then API Gateway is asked for the days after it.
        del whole[f"usage/dt={first}/usage.jsonl.gz"]
    assert found == (evidence, whole)


def with_and_without(
    account: Account,
    number: int,
    fails: Callable[[Call], Any],
    error: type[Exception],
    told: date,
) -> tuple[Written, Written]:
    """What the next night leaves behind, of a night that wrote all and of one that could not.

    That one could write so many usage files; the evidence says that those through `told` are whole.
    """
    before = account.snapshot()
    account.read()
    evidence = account.evidence()
    assert evidence is not None
    files = account.objects("usage/")
    account.pass_day()
    account.read()
    whole = written(account)
    account.go_back(before)
    account.around = calls = Calls(s3_put_object=but_number(number, fails))
    with pytest.raises(error):
        account.read()
    account.around = Calls()
    assert calls.count("s3.put_object") == number + 2  # and the evidence
    assert account.objects("usage/") != files
    assert account.evidence() == replace(evidence, read_through={PLAN_ID: told})
    assert account.read()["date"] == str(account.today)  # Lambda tries it again
    assert account.sweep()["applied"]["warn"] == 1
    account.pass_day()
    account.read()
    return whole, written(account)


# --- runs that end early, and two at once ---------------------------------------------------------


def test_wherever_another_run_of_the_night_begins_both_leave_what_one_does(
    account: Account,
) -> None:
    account.read()
    account.pass_day(3)
    before = account.snapshot()
    account.around = undisturbed = Calls()
    account.read()
    alone = written(account)
    for number in range(len(undisturbed.names)):
        account.go_back(before)
        account.around = begins_another(account, number)
        account.read()
        account.around = Calls()
        assert written(account) == alone, (number, undisturbed.names[number])


def begins_another(account: Account, number: int) -> Callable[[str, Call], Any]:
    """Has a second reading run, from its beginning to its end, before this call of the first."""
    seen: list[str] = []

    def around(name: str, call: Call) -> Any:
        seen.append(name)
        if len(seen) - 1 == number:
            account.read()
        return call()

    return around


@pytest.mark.parametrize("ends", [EndsBefore, EndsAfter])
def test_wherever_a_reading_ends_the_next_run_leaves_what_a_whole_one_does(
    account: Account, ends: type[EndsBefore]
) -> None:
    account.nights(9)
    account.pass_day(3)
    before = account.snapshot()
    account.around = undisturbed = Calls()
    account.read()
    whole = written(account)
    for number, name in enumerate(undisturbed.names):
        account.go_back(before)
        account.around = ends(number)
        with suppress(Killed):  # of an answer that there is no such file, the run hears no more
            account.read()
        account.around = Calls()
        account.real_now += timedelta(minutes=16)  # the lease of a run that died has run out
        account.read()
        assert written(account) == whole, (number, name)


# --- runs that have to end before all is read -------------------------------------------------------


def many_plans(account: Account, plans: int = 5) -> None:
    """Plans of their own with a key each, some of them used."""
    for number in range(plans):
        plan = a_usage_plan(f"p{number}", name=f"plan {number}", stages=(f"api{number}:prod",))
        account.gateway.add_plan(plan)
        key_id = f"key{number}"
        account.key(key_id, plans=(plan.usage_plan_id,), idle=number + 1)


def time_for(account: Account, calls: int) -> Any:
    """The context of a run that has time for so many calls on API Gateway and S3."""
    made = Calls()
    account.around = made
    return account.context(lambda: 900_000 if len(made.names) < calls else 0)


def test_a_reading_that_runs_out_of_time_goes_on_in_the_nights_next_run(account: Account) -> None:
    many_plans(account)
    account.nights(3)
    account.pass_day(2)
    before = account.snapshot()
    account.read()
    whole = written(account)
    unfinished: set[str] = set()
    for calls in range(0, 70, 3):
        account.go_back(before)
        answer = account.read(time_for(account, calls))
        unfinished |= answer.get("unfinished", {}).keys()
        for _ in range(40):
            if "unfinished" in answer:  # a run of fewer calls would read no plan to the end
                answer = account.read(time_for(account, max(calls, 24)))
        account.around = Calls()
        assert "unfinished" not in answer, calls
        assert written(account) == whole, calls
    assert unfinished == {"plans", "usage_files", "left"}


def test_what_was_read_is_not_read_again_by_the_nights_next_run(account: Account) -> None:
    many_plans(account, 8)
    first = account.read(time_for(account, 12))
    assert first["unfinished"]["left"] > 0
    read = first["unfinished"]["plans"]
    account.around = seen = Calls()
    account.read()
    assert seen.names.count("apigateway.members") == 9 - read  # `plan1` is there too
    assert first["unfinished"]["left"] == 9 - read


def test_no_sweep_acts_on_a_reading_that_is_not_finished(account: Account) -> None:
    many_plans(account)
    account.read(time_for(account, 8))
    account.around = Calls()
    with pytest.raises(NoEvidence):
        account.sweep()


def test_a_part_of_a_reading_that_is_damaged_is_read_again(account: Account) -> None:
    many_plans(account)
    before = account.snapshot()
    account.read()
    whole = written(account)
    account.go_back(before)
    account.read(time_for(account, 10))
    account.around = Calls()
    names = list(account._files("partial/"))
    assert names
    for body in (b"", b"{}", gzip.compress(b"[]"), gzip.compress(b'{"version": 1, "date": 7}')):
        for name in names:
            account.clients.s3.put_object(Bucket=account.bucket, Key=name, Body=body)
        account.read(time_for(account, 10))
    account.around = Calls()
    account.read()
    assert written(account) == whole


def test_a_night_that_is_read_in_one_go_writes_nothing_that_is_not_whole(account: Account) -> None:
    account.nights(2)
    assert account.objects("partial/") == {}


def test_a_reading_that_is_not_finished_holds_no_value(account: Account) -> None:
    many_plans(account)
    value = account.key("late", plans=("p0",))
    usage = account.gateway.usage

    def keyed_by_values(usage_plan_id: str, start: date, end: date) -> Any:
        for page in usage(usage_plan_id, start, end):
            days = (end - start).days + 1
            yield replace(page, items={**page.items, value: [[1, 9]] * days})

    account.gateway.usage = keyed_by_values  # type: ignore[method-assign]
    account.read(time_for(account, 10))
    account.around = Calls()
    assert account._files("partial/")
    account.read()
    stored = b"".join(account.objects().values())
    assert value.encode() not in stored
    evidence = account.evidence()
    assert evidence is not None
    assert {plan.unknown_ids for plan in evidence.plans.values()} == {1}


def test_a_second_reading_at_the_same_time_does_nothing_and_says_so(account: Account) -> None:
    answers: list[dict[str, Any]] = []

    def around(name: str, call: Call) -> Any:
        if name == "apigateway.members" and not answers:
            answers.append(account.read())
        return call()

    account.around = around
    whole = account.read()
    assert whole["plans"] == 1
    assert answers[0].keys() == {"time", "code_version", "running"}


# --- files that hold more keys than there is room for -----------------------------------------------


def test_of_plans_with_more_keys_than_there_is_room_for_the_usage_files_have_one_row(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_plans(account, 3)
    for module in (usagefile, reader):
        monkeypatch.setattr(module, "ROWS", 2)
    account.read()
    name = f"usage/dt={account.today - DAY}/usage.jsonl.gz"
    rows = [json.loads(line) for line in account.objects(name)[name].splitlines()]
    told = {(row["plan_id"], row["key_id"]): row["missing"] for row in rows}
    assert told[("p0", "key0")] is None
    assert told[("plan1", None)] == usagefile.TOO_MANY
    assert len(rows) == 4
    evidence = account.evidence()
    assert evidence is not None
    assert len(evidence.plans_of_key()) == 5  # what is decided on has them all


def test_a_first_reading_of_many_keys_writes_only_the_days_that_there_is_room_for(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_plans(account, 3)
    monkeypatch.setattr(reader, "NUMBERS", 100)
    account.read()
    for back in (2, 60):
        name = f"usage/dt={account.today - DAY * back}/usage.jsonl.gz"
        rows = [json.loads(line) for line in account.objects(name)[name].splitlines()]
        missing = {row["missing"] for row in rows if row["plan_id"] != "p0"}
        assert missing == ({None} if back == 2 else {usagefile.TOO_LONG_AGO})


# --- evidence that is damaged -----------------------------------------------------------------------

HALF = gzip.compress(b'{"version": 2}')[:20]


def damage(account: Account, day: date, body: bytes = HALF) -> str:
    name = f"evidence/{day}.json.gz"
    account.clients.s3.put_object(Bucket=account.bucket, Key=name, Body=body)
    return name


def test_damaged_evidence_of_tonight_stops_this_night_only(account: Account) -> None:
    account.night()
    name = damage(account, account.today)
    for run in (account.read, account.sweep):
        with pytest.raises(EvidenceDamaged, match=name):
            run()
    account.watch()  # who only looks takes the evidence before
    account.publish()
    account.pass_day()
    answer = account.read()
    assert (answer["damaged"], answer["keys"]) == ([name], 2)
    assert account.sweep()["verdicts"]["unknown"] == 0


def test_without_its_damaged_version_the_night_is_read_again(account: Account) -> None:
    account.read()
    whole = account.evidence()
    damage(account, account.today)
    with pytest.raises(EvidenceDamaged) as err:
        account.read()
    version = str(err.value).split("--version-id ")[1].split(";")[0]
    account.clients.s3.delete_object(
        Bucket=account.bucket, Key=f"evidence/{account.today}.json.gz", VersionId=version
    )
    account.read()
    assert account.evidence() == whole


def test_a_reading_of_an_older_date_hides_nothing_that_a_newer_one_shows(account: Account) -> None:
    account.pass_day()
    account.use(KEY_ID)
    account.real_now += timedelta(days=1)
    account.pass_day()
    today = account.today
    account.read()
    newest = account.evidence()
    assert newest is not None
    assert newest.last_used[KEY_ID] == today - DAY
    account.today = today - DAY
    account.read()
    account.today = today
    assert account.evidence() == newest
    account.pass_day()
    account.read()
    later = account.evidence()
    assert later is not None
    assert later.last_used[KEY_ID] == today - DAY
    assert later.plans[PLAN_ID].unread is None


def test_a_reading_of_a_date_that_was_read_says_that_it_read_nothing_now(account: Account) -> None:
    assert "already_read" not in account.read()
    assert account.read()["already_read"] is True
