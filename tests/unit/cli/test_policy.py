"""`keyjanitor policy`: mistakes with their lines, and a suggestion that is written, shown and asked for."""

import io
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from keyjanitor.domain.model.policy_file import parse_policy
from keyjanitor.errors import PolicyError
from keyjanitor_cli.__main__ import run
from keyjanitor_cli.shapes import Excerpt, Line
from keyjanitor_cli.views.mistakes import wrong
from tests.builders import days_ago
from tests.unit.whatif.files import a_folder

FOR_OPERATORS = """\
[tiers.unclaimed]
idle_days = "never"
[tiers.desk]
idle_days = 60
stages = ["a1b2c3d4e5:prod"]
throttle = { rate_limit = 10, burst_limit = 20 }
recipients = ["arn:aws:iam::123456789012:role/portal"]
"""
RIGHT = '[tiers.unclaimed]\nidle_days = "never"\n'
WRONG = """\
service_quota = 20_000
[tiers.unclaimed]
idle_days = "never"
warm_days = 14

[tiers."a b"]
idle_days = 60

[tiers.ab]
idle_days = 60
usage_plans = ["x", 7]
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")


def excerpt(text: str) -> str:
    with pytest.raises(PolicyError) as err:
        parse_policy(text)
    view = wrong("policy.toml", text, err.value.mistakes)
    return "\n".join(line.text for line in view if isinstance(line, Line | Excerpt))


def test_each_mistake_is_shown_with_its_line_and_what_it_is_about() -> None:
    shown = excerpt(WRONG)
    assert shown.startswith("policy.toml: 4 mistakes\n")
    assert (
        "policy.toml:1: service_quota: 20000 is not allowed; allowed: a whole number from 1 to 10000\n"
        "    1 | service_quota = 20_000\n"
        "      | ^^^^^^^^^^^^^\n"
    ) in shown
    assert "    4 | warm_days = 14\n      | ^^^^^^^^^\n" in shown
    assert '    6 | [tiers."a b"]\n      |        ^^^^^\n' in shown
    assert '   11 | usage_plans = ["x", 7]\n      | ^^^^^^^^^^^\n' in shown + "\n"


def test_what_is_missing_is_shown_at_its_table() -> None:
    shown = excerpt("[tiers.unclaimed]\ncontact = 'me'\n")
    assert "    1 | [tiers.unclaimed]\n" in shown
    assert shown.endswith("      | ^^^^^^^^^^^^^^^^^")


def test_what_is_no_toml_is_shown_where_it_is_lost() -> None:
    assert "    2 | idle_days = never\n" in excerpt("[tiers.unclaimed]\nidle_days = never\n")


def test_a_policy_of_windows_or_with_a_mark_is_shown_as_it_is() -> None:
    assert "    2 | warm_days = 1\n" in excerpt("\ufeff[tiers.unclaimed]\r\nwarm_days = 1\r\n")


def test_check_says_what_is_wrong_and_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(WRONG)
    assert run(["policy", "check", str(path)]) == 1
    printed = capsys.readouterr().out
    assert "warm_days: is not a field" in printed
    assert '    6 | [tiers."a b"]\n      |        ^^^^^\n' in printed
    assert run(["policy", "check", str(path), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [one["line"] for one in told["mistakes"]] == [1, 4, 6, 11]
    path.write_text(RIGHT)
    assert run(["policy", "check", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "no mistakes; tiers: unclaimed" in printed
    assert "only operators" not in printed


def test_check_names_the_tiers_whose_keys_only_operators_may_ask_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(FOR_OPERATORS)
    assert run(["policy", "check", str(path)]) == 0
    assert "only operators may ask for keys in: desk" in capsys.readouterr().out
    assert run(["policy", "check", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["only_operators"] == ["desk"]


def test_check_takes_the_policy_that_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["policy", "check"]) == 2
    assert "keyjanitor policy suggest writes one" in capsys.readouterr().err
    (tmp_path / "policy.toml").write_text(RIGHT)
    assert run(["policy", "check"]) == 0
    (tmp_path / "layers/policy").mkdir(parents=True)
    (tmp_path / "layers/policy/policy.toml").write_text(WRONG)
    assert run(["policy", "check"]) == 1
    assert run(["policy", "check", "nowhere.toml"]) == 1


@pytest.mark.parametrize("content", [b"\xff\xfe[\x00", b"# \xe4\n", b"\0"])
def test_a_file_that_is_not_utf_8_is_told_without_an_excerpt(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy.toml").write_bytes(content)
    assert run(["policy", "check"]) == 1
    assert "save it as UTF-8" in capsys.readouterr().out


# --- suggest --------------------------------------------------------------------------------------


def account(tmp_path: Path) -> str:
    used: dict[str, Any] = {"monthly": {days_ago(back): 1 for back in range(1, 90, 31)}}
    return str(a_folder(tmp_path / "account", {**used, "silent": {}, "idle": {days_ago(80): 1}}))


def test_a_suggestion_is_written_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["policy", "suggest", "--folder", account(tmp_path), "--contact", "me"]) == 0
    shown = capsys.readouterr().out
    assert "Keys in use that it would have warned in the last 90 days: none" in shown
    assert "Written: policy.toml" in shown
    assert "\n  keyjanitor whatif --policy policy.toml\n" in shown
    policy = parse_policy((tmp_path / "policy.toml").read_text())
    assert policy.tiers["external"].usage_plans == ("external",)
    assert {tier.contact for tier in policy.tiers.values()} == {"me"}


def test_slots_are_counted_by_week(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["policy", "suggest", "--folder", account(tmp_path), "--json"]
    assert run([*given, "--aggressive"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["freed"] == [{"date": "2026-12-11", "slots": 2, "total": 2}]
    assert (told["due"], told["warned_in_use"], told["left"]) == (2, [], {})
    assert tomllib.loads(told["policy"])["tiers"]["external"]["idle_days"] == 40
    assert not (tmp_path / "policy.toml").exists()


def test_a_file_that_is_there_is_kept_unless_the_person_agrees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    (tmp_path / "policy.toml").write_text("mine")
    given = ["policy", "suggest", "--folder", account(tmp_path)]
    assert run(given) == 1
    assert (tmp_path / "policy.toml").read_text() == "mine"
    assert run([*given, "--yes"]) == 0
    assert (tmp_path / "policy.toml").read_text() != "mine"


def test_a_dash_prints_the_policy_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "suggest", "--folder", account(tmp_path), "--out", "-"]) == 0
    assert "external" in parse_policy(capsys.readouterr().out).tiers


# --- what-if --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        ["--history", "h", "--folder", "f"],
        ["--folder", "f", "--save", "s"],
        ["--folder", "f", "--idle", "30"],
        ["--history", "h", "--idle", "0"],
        ["--history", "h", "--idle", "30 x"],
    ],
)
def test_options_that_make_no_sense_together_are_wrong_use(given: list[str]) -> None:
    assert run(["whatif", *given]) == 2


def test_what_if_answers_programs_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = account(tmp_path)
    assert run(["policy", "suggest", "--folder", folder, "--aggressive"]) == 0
    capsys.readouterr()
    assert run(["whatif", "--folder", folder, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdicts"] == {"external": {"keep": 2, "warn": 2}}
    assert told["problems"] == []
    assert sorted(told["files"]) == ["keys", "page"]
    assert (Path(told["files"]["page"])).read_bytes().startswith(b"<!doctype html>")
