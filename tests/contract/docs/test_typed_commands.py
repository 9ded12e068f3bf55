"""Every `keyjanitor` command that an alert, an alarm or the runbook names is one that there is."""

import re
import shlex
from pathlib import Path

import click
import pytest

from keyjanitor.domain.doctor.checks import find_problems
from keyjanitor.domain.doctor.placing import placed
from keyjanitor.domain.report.html import FOLDER
from keyjanitor_cli.__main__ import keyjanitor
from tests.alert_samples import samples
from tests.contract.template.test_template import alarm_texts
from tests.unit.doctor.test_doctor import PLANTED

DOCS = Path(__file__).parents[3] / "docs"
RUNBOOK = (DOCS / "runbook.md").read_text(encoding="utf-8")
ALERTS = (DOCS / "alerts.md").read_text(encoding="utf-8")
# What a person writes in place of the names in capitals; what the command is called, to list it.
TYPED = re.compile(r"\b(?:aws|keyjanitor) [a-z]+ ")
FILLED_IN = {"DATE": "2026-11-21", "KEY...": "a1b2c3d4e5 f6g7h8i9j0"}


def parsed(typed: str) -> click.Context:
    """What the command's own parser makes of a line, without carrying it out.

    Raises click's UsageError for a command, an argument or an option that there is not.
    """
    for name, value in FILLED_IN.items():
        typed = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", value, typed)
    _, name, *arguments = shlex.split(typed)
    command = keyjanitor.get_command(click.Context(keyjanitor), name)
    if command is None:
        raise click.UsageError(f"there is no command {name}")
    return command.make_context(name, arguments)


def lines(text: str) -> list[str]:
    """The command lines of keyjanitor in a text, which may be indented."""
    return re.findall(r"^ *(keyjanitor (?!\d)[a-z]+ .*)$", text, flags=re.M)


@pytest.mark.parametrize("name", sorted(samples()))
def test_every_command_of_an_alert_is_one_that_there_is_and_names_stack_and_region(
    name: str,
) -> None:
    alert = samples()[name]
    typed = lines(alert.text)
    assert typed[0] == alert.form["command"] == alert.text.splitlines()[2]
    for one in typed:
        context = parsed(one)
        assert (context.params["stack"], context.params["region"]) == ("keyjanitor", "us-east-1")


def test_the_page_of_alerts_shows_the_same_commands() -> None:
    shown = set(lines(ALERTS))
    assert shown == {line for alert in samples().values() for line in lines(alert.text)}
    assert len(shown) > 8


def test_every_command_of_an_alarm_is_one_that_there_is() -> None:
    for alarm, text in alarm_texts().items():
        [typed] = [line for line in text if re.match(r"keyjanitor [a-z]+ .*--stack", line)]
        assert parsed(typed).params["region"] == "ap-southeast-2", alarm


def test_every_command_of_the_runbook_is_one_that_there_is() -> None:
    typed = re.findall(r"`(keyjanitor [a-z]+(?: [^`]+)?)`", RUNBOOK)
    assert len(typed) > 40
    for one in typed:
        parsed(one)


def test_every_command_that_the_report_offers_for_a_key_is_one_that_there_is() -> None:
    script = (FOLDER / "commands.js").read_text("utf-8")
    verbs = re.findall(r'^  \["([a-z]+)", "', script, flags=re.M)
    assert set(verbs) == {"key", "renew", "protect", "restore"}
    assert 'verb === "protect" ? ` --until ${' in script
    assert "${until} --stack ${stack} --region ${region}`" in script
    for verb in verbs:
        until = " --until 2026-12-21" if verb == "protect" else ""
        typed = f"keyjanitor {verb} a1b2c3d4e5{until} --stack keys --region eu-west-1"
        assert {"a1b2c3d4e5", "keys", "eu-west-1"} <= set(map(str, parsed(typed).params.values()))


@pytest.mark.parametrize("kind", sorted(PLANTED))
def test_every_command_that_fixes_a_problem_names_stack_and_region(kind: str) -> None:
    [finding] = find_problems(PLANTED[kind]())
    command = placed(finding.command, "keys-prod", "eu-west-1")
    assert "sam remote invoke" not in command
    for typed in re.findall(r"(?:^|: )(keyjanitor [a-z]+.*)$", command, flags=re.M):
        assert parsed(typed).params["stack"] == "keys-prod"
        assert parsed(typed).params["region"] == "eu-west-1"
    calls = re.findall(r"\baws [a-z0-9]+ [a-z-]+(?: --region eu-west-1)?", command)
    assert [call for call in calls if not call.endswith(" --region eu-west-1")] == []
    is_for_the_policy = "layers/policy/policy.toml" in command
    assert (command == finding.command) == (is_for_the_policy or not re.search(TYPED, command))


@pytest.mark.parametrize(
    "wrong", ["keyjanitor mend", "keyjanitor approve", "keyjanitor plan --soon", "keyjanitor hold"]
)
def test_a_command_that_is_not_there_is_found(wrong: str) -> None:
    with pytest.raises(click.UsageError):
        parsed(wrong)
