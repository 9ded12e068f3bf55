"""`make sandbox KEYS=n`: what it prints works when it is typed."""

import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.driver.client import REPOSITORY, sandbox_python

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]

KEYS = 30


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and what it printed up to the point at which a newcomer can type."""
    command = [sandbox_python(), "-m", "sandbox.welcome"]
    with subprocess.Popen(
        [*command, "--keys", str(KEYS), "--folder", str(tmp_path)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "The policy is" in line:
                break
        yield process, "".join(lines)
        process.kill()


def typed(folder: Path, command: str) -> str:
    """What a command prints in a terminal that has read the file `env`."""
    aws = REPOSITORY / ".venv" / "bin"
    done = subprocess.run(
        ["bash", "-c", f'. {folder}/env; PATH={aws}:"$PATH"; {command}'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_newcomer_types_what_it_prints_as_a_role_that_is_not_root(
    started: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    process, printed = started
    for line in (". .sandbox/env", "sam build", "sam deploy --config-env local", "Ctrl-C"):
        assert line in printed
    assert f"holds {KEYS} API keys" in printed
    who = typed(tmp_path, "aws sts get-caller-identity --query Arn --output text")
    assert ":assumed-role/operator/" in who
    counted = "aws apigateway get-api-keys --query 'length(items)'"
    assert int(typed(tmp_path, counted)) > KEYS / 2  # the others have not signed up yet
    queue = typed(tmp_path, "aws sqs create-queue --queue-name q --query QueueUrl --output text")
    assert queue.endswith("/q")
    assert (tmp_path / "policy.toml").read_text() == typed(
        tmp_path, 'cat "$KEYJANITOR_POLICY"'
    ) + "\n"
    assert stat.S_IMODE((tmp_path / "env").stat().st_mode) == 0o600
    assert typed(tmp_path, "sam --version").startswith("SAM CLI")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
