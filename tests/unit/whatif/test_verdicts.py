"""What becomes of the keys of a folder, and what an edit of the policy changes of it."""

import json
from datetime import date
from pathlib import Path

import fastjsonschema
import pytest

from keyjanitor.domain.expiry.keys_file import key_lines
from keyjanitor.domain.model.keys import State
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.policy_file import parse_policy
from keyjanitor.domain.report.key_rows import COLUMNS
from keyjanitor_cli.whatif.account import Account as Read
from keyjanitor_cli.whatif.account import read_account
from keyjanitor_cli.whatif.difference import Moved, compare
from keyjanitor_cli.whatif.pages import Folder
from keyjanitor_cli.whatif.verdicts import Course, Judged, ahead, judge
from sandbox.driver.client import REPOSITORY
from tests.builders import TODAY, a_policy, a_tier, days_ago, in_days
from tests.unit.nights import Account
from tests.unit.whatif.files import a_folder, an_item, ask

POLICY = """
[tiers.unclaimed]
contact = "api-team@example.org"
idle_days = "never"

[tiers.external]
contact = "api-team@example.org"
usage_plans = ["external"]
idle_days = 60
"""


def judged(folder: Path, policy: Policy | None = None) -> Judged:
    return judge(read_account(Folder(folder)), policy or a_policy())


# --- what follows ---------------------------------------------------------------------------------


def test_an_idle_key_takes_its_course_by_the_tiers_days(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"idle": {days_ago(61): 1}, "used": {days_ago(3): 1}})
    assert judged(folder).courses == {"idle": Course(TODAY, in_days(14), in_days(28))}


def test_an_orphan_takes_its_course_once_its_nights_are_over(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {}, an_item("orphan"))
    assert judged(folder).courses == {"orphan": Course(in_days(13), in_days(27), in_days(41))}


def test_an_orphan_that_would_be_unknown_takes_none(tmp_path: Path) -> None:
    named = an_item("named", stageKeys=["api1/prod"])
    folder = a_folder(tmp_path / "account", {}, named, an_item("orphan"))
    assert judged(folder).courses.keys() == {"orphan"}
    (folder / "tags.json").unlink()
    assert judged(folder).courses == {}


def test_the_courses_are_those_of_the_nights_themselves() -> None:
    """Fifty idle keys and ten orphans, twenty a night; the busy key of the plan is used on and on."""
    policy = a_policy()
    account = Account(policy)
    account.plan()
    for number in range(50):
        account.key(f"idle{number:02}", "plan1", age=300, last_used=61 + number % 20)
    for number in range(10):
        account.key(f"orphan{number}", age=300)
    evidence = account.read()
    keys = tuple(account.gateway.living.values())
    courses = judge(Read(account.today, keys, evidence, tags_known=True), policy).courses
    account.nights(45)
    gone = {key_id: (row.disabled_on, row.parked_on) for key_id, row in account.ledger.gone.items()}
    assert gone == {key_id: (one.disable_on, one.park_on) for key_id, one in courses.items()}
    assert len(gone) == 60
    assert all(row.state is State.PARKED for row in account.ledger.gone.values())


def test_the_nights_ahead_begin_tonight_and_park_what_is_due(tmp_path: Path) -> None:
    idle = {f"idle{number}": {days_ago(70): 1} for number in range(30)}
    found = ahead(judged(a_folder(tmp_path / "account", idle)))
    assert [(night.date, night.warn) for night in found if night.warn] == [
        (TODAY, 20),
        (in_days(1), 10),
    ]
    assert [(night.date, night.keys) for night in found if night.park] == [
        (in_days(28), 11),
        (in_days(29), 1),
    ]


# --- an edit --------------------------------------------------------------------------------------


def test_an_edit_is_told_as_the_keys_that_it_moves(tmp_path: Path) -> None:
    used = {
        "soon": {days_ago(40): 1},
        "idle": {days_ago(70): 1},
        "used": {days_ago(1): 1},
    }
    folder = a_folder(tmp_path / "account", used)
    before = judged(folder, a_policy())
    after = judged(folder, a_policy(a_tier(idle_days=35, grace_days=7)))
    difference = compare(before, after)
    assert difference.moved == (
        Moved(
            key_id="soon",
            name="name of soon",
            verdicts=("keep", "warn"),
            tiers=("external", "external"),
            reasons=(
                f"idle for 40 days of 60, since {days_ago(40)}",
                f"idle for 40 days, since {days_ago(40)}",
            ),
            days=None,
        ),
    )
    assert [(one.key_id, one.days) for one in difference.redated] == [("idle", -7)]
    assert (difference.earlier, difference.later, difference.tiers) == (1, 0, 0)
    assert compare(after, before).counts == {("warn", "keep"): 1}
    assert compare(after, before).later == 1


def test_who_only_waits_for_the_allowance_is_not_moved_by_it(tmp_path: Path) -> None:
    """Of forty idle keys twenty are warned tonight; a shorter idle limit swaps none of them."""
    idle = {f"idle{number}": {days_ago(61 + number): 1} for number in range(29)}
    more = {f"soon{number}": {days_ago(40): 1} for number in range(11)}
    folder = a_folder(tmp_path / "account", idle | more)
    difference = compare(judged(folder), judged(folder, a_policy(a_tier(idle_days=35))))
    assert difference.counts == {("keep", "warn"): 11}
    assert {one.key_id for one in difference.moved} == set(more)
    assert difference.redated == ()


def test_a_key_that_changes_its_tier_is_counted(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"idle": {days_ago(70): 1}})
    unnamed = a_policy(a_tier("other", usage_plans=()))
    difference = compare(judged(folder), judged(folder, unnamed))
    assert difference.tiers == 2
    assert difference.counts == {("warn", "protected"): 1, ("keep", "protected"): 1}


# --- the program ----------------------------------------------------------------------------------


def test_it_prints_the_verdicts_and_writes_a_line_for_every_key(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"idle": {days_ago(70): 1}}, an_item("orphan"))
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    code, printed = ask("--folder", str(folder), "--policy", str(policy))
    assert code == 0
    assert f"{TODAY}: 3 of 10,000 API keys (0.0%), usage plans: 1" in printed
    assert "idle for too long" in printed
    assert str(in_days(28)) in printed
    lines = (folder / "verdicts" / "keys.jsonl").read_text().splitlines()
    expected = key_lines(judged(folder, parse_policy(POLICY)).plan)
    assert [json.loads(line) for line in lines] == list(expected)
    # What it wrote does not stand in the way of the next time.
    assert ask("--folder", str(folder), "--policy", str(policy))[0] == 0


def test_the_report_shows_the_same_to_a_browser(tmp_path: Path) -> None:
    folder = a_folder(
        tmp_path / "account",
        {"idle": {days_ago(70): 1}, "used": {days_ago(3): 5, days_ago(40): 7}},
        an_item("orphan"),
    )
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    assert ask("--folder", str(folder), "--policy", str(policy))[0] == 0
    page = (folder / "verdicts" / "index.html").read_text()
    _, _, rest = page.partition('<script type="application/json" id="report">')
    report = json.loads(rest.partition("</script>")[0])
    schema = json.loads((REPOSITORY / "docs" / "schemas" / "report.json").read_text())
    fastjsonschema.compile(schema)(report)
    found = judged(folder, parse_policy(POLICY))
    assert report["night"]["verdicts"] == {
        word: count for word, count in found.plan.counts.items() if count
    }
    keys = {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in report["keys"]["rows"]}
    assert {
        name: keys["used"][name]
        for name in ("last_used", "requests_30d", "next_step", "next_on", "owner")
    } == {
        "last_used": str(days_ago(3)),
        "requests_30d": 5,
        "next_step": "warned",
        "next_on": str(in_days(57)),
        "owner": None,
    }
    assert [one["kind"] for one in report["findings"]] == ["keys_in_no_plan"]
    assert report["ahead"][0]["date"] == str(TODAY)


@pytest.mark.slow
def test_a_bulk_that_the_brake_would_stop_is_told_with_its_night_and_its_cause(
    tmp_path: Path,
) -> None:
    """All 900 keys were used on one day, and reach their limit on one night."""
    folder = a_folder(tmp_path / "account", {f"idle{n}": {days_ago(55): 1} for n in range(900)})
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    found = ahead(judged(folder, parse_policy(POLICY)))
    (first, *more) = [night.date for night in found if night.brake is not None]
    printed = " ".join(ask("--folder", str(folder), "--policy", str(policy))[1].split())
    assert f"The safety brake stops the night of {first}: 900 keys newly past" in printed
    assert "(900 use stopped)" in printed
    assert f"here for {len(more) + 1} nights, until an operator approves" in printed


@pytest.mark.slow
def test_a_first_night_on_which_all_keys_are_idle_trips_no_brake(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {f"idle{n}": {} for n in range(900)})
    found = ahead(judged(folder, parse_policy(POLICY)))
    assert [night.date for night in found if night.brake is not None] == []


def test_an_edit_is_printed_and_written(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"soon": {days_ago(40): 1}})
    before, after = tmp_path / "before.toml", tmp_path / "after.toml"
    before.write_text(POLICY)
    after.write_text(POLICY.replace("60", "35"))
    out = tmp_path / "out"
    code, printed = ask(
        *("--folder", str(folder), "--policy", str(after)),
        *("--before", str(before), "--out", str(out)),
    )
    assert code == 0
    assert "this edit moves 1 key;" in printed
    assert "keep -> warn" in printed
    moved = [json.loads(line) for line in (out / "moved.jsonl").read_text().splitlines()]
    assert [(one["key_id"], one["verdicts"]) for one in moved] == [("soon", ["keep", "warn"])]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ("tags.json", "the tags (tags.json is missing or not whole)"),
        ("usage.plan1.0002.json", "was not read: usage: page 1 says that another follows"),
    ],
)
def test_what_is_not_known_is_said(tmp_path: Path, spoil: str, reason: str) -> None:
    folder = a_folder(tmp_path / "account", {"a": {days_ago(70): 1}, "b": {}})
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    (folder / spoil).unlink()
    assert reason in ask("--folder", str(folder), "--policy", str(policy))[1]


def test_a_plan_without_a_request_is_said_to_prove_nothing(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"busy": {}, "idle": {}})
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    printed = ask("--folder", str(folder), "--policy", str(policy))[1]
    assert "no request was ever seen, so its silence means nothing" in printed


@pytest.mark.parametrize("name", ["[red]x[/red]", "\x1b[31mred", "\u202eback", "two\nlines", "[/"])
def test_hostile_names_are_shown_and_do_nothing(tmp_path: Path, name: str) -> None:
    soon = an_item("soon", name=name)
    folder = a_folder(tmp_path / "account", {}, soon)
    plans = json.loads((folder / "usage-plans.0001.json").read_text())
    plans["items"][0]["name"] = name
    (folder / "usage-plans.0001.json").write_text(json.dumps(plans))
    before, after = tmp_path / "before.toml", tmp_path / "after.toml"
    for path, days in ((before, 14), (after, 1)):
        text = POLICY.replace('usage_plans = ["external"]\n', "")
        path.write_text(text.replace("[tiers.external]", f"orphan_days = {days}\n[tiers.external]"))
    (folder / "usage.plan1.0001.json").unlink()
    given = ("--folder", str(folder), "--policy", str(after), "--before", str(before))
    code, printed = ask(*given)
    assert code == 0
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert ("[red]x[/red]" in printed) == (name == "[red]x[/red]")


def test_a_plan_that_the_policy_names_in_vain_is_told_and_its_keys_are_unknown(
    tmp_path: Path,
) -> None:
    folder = a_folder(tmp_path / "account", {"idle": {}})
    path = tmp_path / "policy.toml"
    path.write_text(POLICY.replace('"external"]', '"extern"]'))
    code, printed = ask("--folder", str(folder), "--policy", str(path))
    assert code == 0
    problem = "policy.toml: tiers.external.usage_plans[0]: this account has no usage plan 'extern'"
    assert problem in " ".join(printed.split())
    assert '"verdict": "unknown"' in (folder / "verdicts" / "keys.jsonl").read_text()


def test_of_two_policies_the_wrong_one_is_named(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"idle": {}})
    path, before = tmp_path / "policy.toml", tmp_path / "before.toml"
    path.write_text(POLICY)
    before.write_text(POLICY.replace("idle_days = 60", 'idle_days = "60"'))
    code, printed = ask("--folder", str(folder), "--policy", str(path), "--before", str(before))
    said = "".join(printed.split())
    assert (code, f"{before}:tiers.external.idle_days" in said) == (1, True)


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("nonsense", "policy.toml: "),
        (None, "is no policy that can be read"),
    ],
)
def test_a_wrong_policy_is_told_and_nothing_is_written(
    tmp_path: Path, policy: str | None, told: str
) -> None:
    folder = a_folder(tmp_path / "account", {"idle": {}})
    path = tmp_path / "policy.toml"
    if policy is not None:
        path.write_text(policy)
    code, printed = ask("--folder", str(folder), "--policy", str(path))
    assert code == 1
    assert told in printed
    assert not (folder / "verdicts").exists()


def test_values_in_a_file_are_told_of_without_them(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"idle": {}}, an_item("k", value="s3cretS3cretS3cret"))
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    code, printed = ask("--folder", str(folder), "--policy", str(path))
    assert code == 1
    assert "api-keys.0002.json: API key values are in there" in printed
    assert "s3cret" not in printed


def test_the_date_of_the_folder_is_that_of_the_night(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"idle": {}})
    assert judged(folder).plan.today == date.fromisoformat("2026-11-21") == TODAY
