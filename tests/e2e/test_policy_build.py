"""`sam build` refuses a policy with mistakes, and names them all; one without is built into the layer."""

import os
import subprocess
from pathlib import Path

from sandbox.driver.client import REPOSITORY
from sandbox.driver.stack import sam_executable

RIGHT = '[tiers.unclaimed]\nidle_days = "never"\n'
WRONG = 'service_quota = 20_000\n[tiers.unclaimed]\nidle_days = "never"\nwarm_days = 14\n'


def build(folder: Path, policy: str) -> tuple[int, str]:
    """Builds the layer of a policy; gives the exit code and what was printed."""
    path = folder / "policy.toml"
    path.write_text(policy)
    done = subprocess.run(
        [sam_executable(), "build", "PolicyLayer", "--build-dir", str(folder / "build")],
        cwd=REPOSITORY,
        env={**os.environ, "KEYJANITOR_POLICY": str(path), "SAM_CLI_TELEMETRY": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_policy_with_mistakes_is_not_built_and_all_of_them_are_told(tmp_path: Path) -> None:
    code, printed = build(tmp_path, WRONG)
    assert code != 0
    assert "policy.toml: 2 mistakes:" in printed
    assert (
        "service_quota: 20000 is not allowed; allowed: a whole number from 1 to 10000 (line 1)"
        in printed
    )
    assert "tiers.unclaimed.warm_days: is not a field" in printed
    assert "(line 4)" in printed


def test_a_policy_without_mistakes_is_built_as_it_is(tmp_path: Path) -> None:
    code, printed = build(tmp_path, RIGHT)
    assert (code, "Build Succeeded" in printed) == (0, True)
    built = tmp_path / "build/PolicyLayer/python/keyjanitor_policy/policy.toml"
    assert built.read_text() == RIGHT
