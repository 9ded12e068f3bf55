"""What the functions read from their environment and their layer."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from keyjanitor.adapters.settings import (
    REQUIRED,
    ProvisionSettings,
    PublishSettings,
    PullSettings,
    SweepSettings,
    WatchSettings,
    read_policy,
)
from keyjanitor.domain.model.keys import Mode
from keyjanitor.errors import PolicyError

ENVIRONMENT = {
    "LEDGER_TABLE": "ledger",
    "HISTORY_BUCKET": "history",
    "AUDIT_LOG": "/aws/events/keyjanitor/1",
    "AUDIT_LOCK": "governance",
    "AUDIT_FOLDER_DAYS": "400",
    "SEALING_KEY_ARN": "arn:aws:kms:us-east-1:123456789012:key/k",
    "EVENT_BUS": "bus",
    "ALERT_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:alerts",
    "STACK_NAME": "keyjanitor",
    "RUNBOOK_URL": "https://wiki.example.org/runbook",
    "HTTPS_FORM": "chat",
    "REQUEST_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/requests",
    "REQUEST_DEAD_LETTER_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/dead",
    "RUN_DEAD_LETTER_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/runs",
    "MODE": "disable",
    "CALLS_PER_SECOND": "3",
    "COPIES": "2",
    "REPLAY_WINDOW_HOURS": "36",
}
SHIPPED = Path(__file__).parents[3] / "layers" / "policy" / "policy.toml"


@pytest.mark.parametrize(
    ("function", "settings"),
    [
        ("pull_usage", PullSettings),
        ("expire_keys", SweepSettings),
        ("watch_capacity", WatchSettings),
        ("provision_keys", ProvisionSettings),
        ("publish_report", PublishSettings),
    ],
)
def test_what_is_required_is_what_is_read(function: str, settings: Any) -> None:
    environment = {name: ENVIRONMENT[name] for name in REQUIRED[function]}
    assert settings.read(environment)
    for name in environment:
        with pytest.raises(KeyError, match=name):
            settings.read({n: v for n, v in environment.items() if n != name})


def test_the_settings_of_a_sweep() -> None:
    assert SweepSettings.read(ENVIRONMENT) == SweepSettings(
        ledger_table="ledger",
        history_bucket="history",
        sealing_key_arn=ENVIRONMENT["SEALING_KEY_ARN"],
        event_bus="bus",
        alert_topic_arn=ENVIRONMENT["ALERT_TOPIC_ARN"],
        stack_name="keyjanitor",
        runbook_url="https://wiki.example.org/runbook",
        https_form="chat",
        mode=Mode.DISABLE,
        calls_per_second=3.0,
        replay_window_hours=36.0,
    )


def test_the_settings_of_the_report() -> None:
    assert PublishSettings.read(ENVIRONMENT) == PublishSettings(
        ledger_table="ledger",
        history_bucket="history",
        audit_log="/aws/events/keyjanitor/1",
        audit_lock="governance",
        audit_folder_days=400,
        stack_name="keyjanitor",
        mode=Mode.DISABLE,
        calls_per_second=3.0,
        replay_window_hours=36.0,
    )


def test_a_lock_of_none_is_no_lock() -> None:
    assert PublishSettings.read(ENVIRONMENT | {"AUDIT_LOCK": "none"}).audit_lock is None


def test_the_settings_of_a_look_at_the_account() -> None:
    assert WatchSettings.read(ENVIRONMENT) == WatchSettings(
        ledger_table="ledger",
        history_bucket="history",
        alert_topic_arn=ENVIRONMENT["ALERT_TOPIC_ARN"],
        stack_name="keyjanitor",
        runbook_url="https://wiki.example.org/runbook",
        https_form="chat",
        # By the names that stand in alerts and in the template.
        dead_letter_queues={
            "RequestDeadLetterQueue": ENVIRONMENT["REQUEST_DEAD_LETTER_QUEUE_URL"],
            "RunDeadLetterQueue": ENVIRONMENT["RUN_DEAD_LETTER_QUEUE_URL"],
        },
        calls_per_second=3.0,
        replay_window_hours=36.0,
    )


def test_a_copy_of_provision_keys_takes_its_share_of_what_all_copies_may_call() -> None:
    assert ProvisionSettings.read(ENVIRONMENT) == ProvisionSettings(
        ledger_table="ledger",
        history_bucket="history",
        sealing_key_arn=ENVIRONMENT["SEALING_KEY_ARN"],
        event_bus="bus",
        request_queue_url=ENVIRONMENT["REQUEST_QUEUE_URL"],
        request_dead_letter_queue_url=ENVIRONMENT["REQUEST_DEAD_LETTER_QUEUE_URL"],
        calls_per_second=1.5,
        replay_window_hours=36.0,
    )


def beside(path: Path, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a policy where the layer would."""
    (path / "keyjanitor_policy").mkdir()
    (path / "keyjanitor_policy" / "policy.toml").write_text(policy, encoding="utf-8")
    monkeypatch.delitem(sys.modules, "keyjanitor_policy", raising=False)
    monkeypatch.setattr(sys, "path", [os.fspath(path), *sys.path])


def test_the_shipped_policy_sweeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside(tmp_path, SHIPPED.read_text(encoding="utf-8"), monkeypatch)
    policy = read_policy()
    assert [tier.name for tier in policy.tiers.values()] == ["unclaimed"]
    assert (policy.unclaimed.idle_days, policy.unclaimed.contact) == ("never", None)


def test_a_policy_in_another_encoding_is_told_and_no_bare_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside(tmp_path, "", monkeypatch)
    policy = '[tiers.unclaimed]\nidle_days = "never"\ncontact = "büro@example.org"\n'
    (tmp_path / "keyjanitor_policy" / "policy.toml").write_bytes(policy.encode("latin-1"))
    with pytest.raises(PolicyError, match="is not UTF-8"):
        read_policy()


BUILD = ("make", "--no-print-directory", "-C", os.fspath(SHIPPED.parents[1]), "build-PolicyLayer")


def built(policy: Path, to: Path, *variables: str) -> subprocess.CompletedProcess[str]:
    """What `sam build` does for the layer of the policy, by a Python with nothing installed."""
    bare = to.parent / "bare-python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n', encoding="utf-8")
    bare.chmod(0o755)
    return subprocess.run(
        [*BUILD, f"KEYJANITOR_POLICY={policy}", *(variables or [f"PYTHONS={bare}"])],
        env={"PATH": os.defpath, "ARTIFACTS_DIR": os.fspath(to)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_sam_build_takes_the_shipped_policy(tmp_path: Path) -> None:
    done = built(SHIPPED, tmp_path / "layer")
    assert (done.returncode, done.stderr) == (0, "")
    layer = tmp_path / "layer" / "python" / "keyjanitor_policy" / "policy.toml"
    assert layer.read_bytes() == SHIPPED.read_bytes()


def test_sam_build_refuses_a_wrong_policy_and_tells_every_mistake(tmp_path: Path) -> None:
    wrong = tmp_path / "my.toml"
    wrong.write_text("[tiers.unclaimed]\nidle_days = 0\nwarn_days = 0\n", encoding="utf-8")
    done = built(wrong, tmp_path / "layer")
    assert done.returncode != 0
    for field, line in (("idle_days", 2), ("warn_days", 3)):
        assert re.search(rf"tiers\.unclaimed\.{field}: 0 is not .*\(line {line}\)", done.stderr)
    assert not (tmp_path / "layer").exists()


def test_sam_build_without_a_python_that_reads_toml_says_so(tmp_path: Path) -> None:
    done = built(SHIPPED, tmp_path / "layer", "PYTHONS=/nowhere/python3")
    assert (done.returncode != 0, "KEYJANITOR_PYTHON" in done.stderr) == (True, True)


def test_a_wrong_policy_is_told_with_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside(tmp_path, '[tiers.unclaimed]\nidle_days = "seldom"\n', monkeypatch)
    with pytest.raises(PolicyError) as err:
        read_policy()
    assert err.value.path == "tiers.unclaimed.idle_days"
