"""Builds and deploys the stack into a running sandbox, by SAM, as it is deployed to AWS."""

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from sandbox.driver.client import REPOSITORY, Sandbox

NAME = "keyjanitor"
LISTENER = "operator@example.org"  # who hears of alerts
# samconfig.toml's [local] without Mode: --parameter-overrides replaces that list as a whole.
LOCAL = {
    "RequireTls": "false",
    "ReplayWindowHours": "0",
    "PullUsageSchedule": "cron(0 0 1 1 ? 2199)",
    "PullUsageAgainSchedule": "cron(0 0 1 1 ? 2199)",
    "ExpireKeysSchedule": "cron(0 0 1 1 ? 2199)",
    "WatchCapacitySchedule": "cron(0 0 1 1 ? 2199)",
    "PublishReportSchedule": "cron(0 0 1 1 ? 2199)",
}


class SamFailed(Exception):
    """A SAM command failed; the message ends with what it printed last."""

    def __init__(self, arguments: Sequence[str], printed: str) -> None:
        super().__init__(f"sam {' '.join(arguments[:2])} failed:\n{printed[-3000:]}")


def sam_executable() -> str:
    """The SAM CLI: $KEYJANITOR_SAM, else the one of `.venv-sam`."""
    return os.environ.get("KEYJANITOR_SAM", str(REPOSITORY / ".venv-sam" / "bin" / "sam"))


@dataclass(slots=True)
class Stack:
    """The deployed stack: its outputs, and its functions by their logical ids."""

    sandbox: Sandbox
    parameters: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)
    _built: dict[Path, str] = field(default_factory=dict)

    @classmethod
    def deploy(
        cls, sandbox: Sandbox, policy: Path, parameters: Mapping[str, str] | None = None
    ) -> Self:
        """Builds with this policy file and deploys; raises SamFailed."""
        stack = cls(sandbox, LOCAL | dict(parameters or {}))
        stack.update(policy)
        stack.listen()
        return stack

    def listen(self) -> None:
        """Subscribes an address to the alert topic, and confirms it: else every sweep observes."""
        topic = self.outputs["AlertTopicArn"]
        self.sandbox.client("sns").subscribe(TopicArn=topic, Protocol="email", Endpoint=LISTENER)
        self.sandbox.confirm_email(topic, LISTENER)

    def configure(self, logical_id: str, *, timeout: int | None = None, **variables: str) -> None:
        """Sets a function's timeout (seconds) and variables of its environment, past the template."""
        functions = self.sandbox.client("lambda")
        name = self.functions[logical_id]
        is_now = functions.get_function_configuration(FunctionName=name)
        was = is_now["Timeout"], is_now["Environment"]["Variables"]
        becomes = timeout or is_now["Timeout"], is_now["Environment"]["Variables"] | variables
        if becomes != was:  # an update ends the function's processes: the next call starts cold
            functions.update_function_configuration(
                FunctionName=name, Timeout=becomes[0], Environment={"Variables": becomes[1]}
            )

    def forget(self) -> None:
        """Empties the ledger and the bucket, as if nothing had ever run here."""
        self.sandbox.empty(
            table=self.outputs["LedgerTableName"], bucket=self.outputs["HistoryBucketName"]
        )

    def update(self, policy: Path, *, name: str = NAME, **parameters: str) -> None:
        """Deploys again, with another policy, other parameters or as another stack."""
        self.parameters |= parameters
        overrides = [f"{parameter}={value}" for parameter, value in self.parameters.items()]
        self._sam(
            *("deploy", "--stack-name", name, "--template-file", self.build(policy)),
            *("--config-file", str(REPOSITORY / "samconfig.toml"), "--config-env", "local"),
            *("--parameter-overrides", *overrides),
        )
        self._describe()

    @classmethod
    def attached(cls, sandbox: Sandbox) -> Self:
        """The stack that is deployed there already; raises boto3's ClientError if there is none."""
        stack = cls(sandbox)
        stack._describe()
        return stack

    def _describe(self) -> None:
        """Reads the outputs and functions of the deployed stack."""
        described = self.sandbox.client("cloudformation").describe_stacks(StackName=NAME)
        self.outputs = {
            output["OutputKey"]: output["OutputValue"]
            for output in described["Stacks"][0]["Outputs"]
        }
        resources = self.sandbox.client("cloudformation").describe_stack_resources(StackName=NAME)
        self.functions = {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for resource in resources["StackResources"]
            if resource["ResourceType"] == "AWS::Lambda::Function"
        }

    def build(self, policy: Path) -> str:
        """Path of the built template; each policy is built once, ahead of its deployment if wanted."""
        if policy not in self._built:
            built = tempfile.mkdtemp(prefix="keyjanitor-build-")
            atexit.register(shutil.rmtree, built, ignore_errors=True)
            self._sam(
                *("build", "--config-env", "local", "--build-dir", built),
                KEYJANITOR_POLICY=str(policy),
            )
            self._built[policy] = f"{built}/template.yaml"
        return self._built[policy]

    def _sam(self, *arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [sam_executable(), *arguments],
            cwd=REPOSITORY,
            env=self.sandbox.environment() | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SamFailed(arguments, done.stdout + done.stderr)
        return done.stdout

    def invoke(self, logical_id: str, event: Mapping[str, Any] | None = None) -> Any:
        """Invokes a function and gives its answer; raises FunctionFailed."""
        return self.sandbox.invoke(self.functions[logical_id], event)

    def pull(self, time: str) -> Any:
        """Reads the usage of the night that begins at this time."""
        return self.invoke("PullUsageFunction", {"time": time})

    def sweep(self, time: str, **event: Any) -> Any:
        """Sweeps the night that begins at this time."""
        return self.invoke("ExpireKeysFunction", {"time": time, **event})

    def watch(self, time: str) -> Any:
        """Counts the keys of the hour of this time, and alerts."""
        return self.invoke("WatchCapacityFunction", {"time": time})

    def publish(self, time: str) -> Any:
        """Publishes the report of the date of this time."""
        return self.invoke("PublishReportFunction", {"time": time})
