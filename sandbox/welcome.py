"""`make sandbox KEYS=500`: an AWS on this machine with an account in it, and what to type next.

The commands work in another terminal, once it has read the file that is named first: it sets the
endpoint, the credentials of a role, the tools' places and the policy.
"""

import argparse
import signal
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

from sandbox.driver.client import REPOSITORY, Sandbox
from sandbox.driver.life import Life
from sandbox.driver.population import TIERS, population

KEPT = REPOSITORY / ".sandbox"
POLICY = Path(__file__).parent / "policy.toml"
ROLE = "operator"
# Everything, as who deploys has it; the sealing key opens a delivery for its recipient alone.
RIGHTS = {"Effect": "Allow", "Action": "*", "Resource": "*"}

ENVIRONMENT = """\
# For the terminal in which you type: the sandbox's endpoint, the credentials of its role `{role}`,
# the tools, and the policy that `sam build` takes. Each start of the sandbox replaces this file.
unset AWS_PROFILE AWS_REGION
export AWS_ENDPOINT_URL={endpoint} AWS_DEFAULT_REGION={region} AWS_EC2_METADATA_DISABLED=true
export AWS_ACCESS_KEY_ID={aws_access_key_id} AWS_SECRET_ACCESS_KEY={aws_secret_access_key}
export AWS_SESSION_TOKEN={aws_session_token}
export SAM_CLI_TELEMETRY=0 SAM_CLI_POLL_DELAY=0.2 KEYJANITOR_PYTHON={repository}/.venv-sam/bin/python
export KEYJANITOR_POLICY={policy}
export PATH={repository}/.venv-sam/bin:"$PATH"
# The AWS CLI 1 does not read AWS_ENDPOINT_URL for SQS.
aws() {{ command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }}
"""

NEXT = """\
In another terminal, in this folder:

    . .sandbox/env
    pipx install .                      # the command keyjanitor, once
    sam build
    sam deploy --config-env local
    make nights                         # the last 7 nights: usage is read, idle keys are warned
    keyjanitor read                     # today's usage
    keyjanitor plan                     # today's sweep, key by key

docs/first-steps.md goes on from there: a first policy, a hold, a sweep and its undo, a new key, and a
program that sends a request and reads its answer.
No schedule starts a function here. The policy is .sandbox/policy.toml.
"""


def main() -> None:
    """Starts the sandbox, lays the account down, says what to type, and waits for Ctrl-C."""
    parser = argparse.ArgumentParser(prog="make sandbox", description=__doc__)
    parser.add_argument("--keys", type=int, default=0, help="API keys with 120 days of use")
    parser.add_argument("--port", type=int, default=0, help="a free one if left out")
    parser.add_argument("--folder", type=Path, default=KEPT, help="for environment, policy and log")
    asked = parser.parse_args()
    console = Console(highlight=False)
    folder: Path = asked.folder
    folder.mkdir(exist_ok=True)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Sandbox.start(port=asked.port, log=folder / "log") as sandbox:
        with console.status("laying the account down"):
            api_id = lay_down(sandbox, asked.keys)
        policy = folder / "policy.toml"
        shown = POLICY.read_text().replace("apiid:", f"{api_id}:")
        policy.write_text(shown.replace("role/portal", f"role/{ROLE}"))
        write_environment(sandbox, folder / "env", policy)
        console.print(
            f"An AWS on this machine: account {sandbox.account}, {sandbox.region}, "
            f"{sandbox.endpoint}\n"
            f"It holds {asked.keys:,} API keys in {len(TIERS)} usage plans. "
            "What it holds is lost when you end it with Ctrl-C.\n",
            soft_wrap=True,
        )
        console.print(NEXT, soft_wrap=True)
        while not stop.wait(0.5) and sandbox.is_running:
            pass
    console.print("The sandbox has ended.")


def lay_down(sandbox: Sandbox, keys: int) -> str:
    """An API with the stages of three usage plans, and so many keys in them; gives the API's id."""
    api_id = sandbox.rest_api([tier.stage for tier in TIERS])
    life = Life(sandbox, population(keys, datetime.now(UTC).date() - timedelta(days=1)), api_id)
    if keys:
        life.begin()
    sandbox.reset_clock()
    return api_id


def write_environment(sandbox: Sandbox, file: Path, policy: Path) -> None:
    """Writes what the other terminal reads; only its owner may read the file."""
    credentials: Mapping[str, str] = sandbox.role(ROLE, RIGHTS)
    file.touch(mode=0o600)
    file.write_text(
        ENVIRONMENT.format(
            role=ROLE,
            endpoint=sandbox.endpoint,
            region=sandbox.region,
            repository=REPOSITORY,
            policy=policy,
            **credentials,
        )
    )


if __name__ == "__main__":
    main()
