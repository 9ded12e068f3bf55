"""The file of a release is deployed as docs/versions.md says: no checkout, no build."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from keyjanitor import __version__
from release.package import gather, write
from sandbox.driver.client import REPOSITORY, Sandbox
from sandbox.driver.stack import Stack, sam_executable
from tests.template import TEMPLATE

NIGHT = "2026-11-21T02:15:00Z"


class Released(Stack):
    """A stack that is deployed from the folder of a release, whose policy is in it already."""

    def _build(self, policy: Path) -> str:
        return str(policy.parents[3] / "template.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release, unpacked where there is no checkout."""
    build = tmp_path_factory.mktemp("build") / "build"
    subprocess.run(
        [sam_executable(), "build", "--build-dir", str(build)],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    written = tmp_path_factory.mktemp("released") / "keyjanitor.zip"
    write(written, f"keyjanitor-{__version__}", gather(REPOSITORY, build))
    shutil.rmtree(build)  # nothing of it is used any more
    with zipfile.ZipFile(written) as archive:
        archive.extractall(written.parent)
    return written.parent / f"keyjanitor-{__version__}"


POLICY = "PolicyLayer/python/keyjanitor_policy/policy.toml"


def test_the_policy_of_a_release_is_checked_without_a_checkout(folder: Path) -> None:
    text = (folder / "docs" / "versions.md").read_text(encoding="utf-8")
    [module] = re.findall(rf"python3 -m (\S+) {POLICY}$", text, flags=re.M)
    edited = folder.with_name("edited.toml")
    shutil.copy(folder / POLICY, edited)
    assert policy_check(module, folder, edited) == (0, "")
    with edited.open("a", encoding="utf-8") as file:
        file.write("\n[tiers.wrong]\nidle = 3\n")
    code, printed = policy_check(module, folder, edited)
    assert code != 0
    assert "tiers.wrong" in printed


def policy_check(module: str, folder: Path, policy: Path) -> tuple[int, str]:
    """Checks a policy with the layer of a release alone; gives the exit code and what was printed."""
    done = subprocess.run(
        [sys.executable, "-m", module, str(policy)],
        cwd=folder,
        env={"PYTHONPATH": "KeyjanitorLayer/python"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_release_is_deployed_and_says_its_version(folder: Path) -> None:
    with Sandbox.start() as sandbox:
        stack = Released.deploy(sandbox, folder / POLICY)
        assert stack.outputs["Version"] == __version__
        assert stack.pull(NIGHT)["code_version"] == __version__


def test_sam_reads_the_parameters_of_the_shipped_configuration(folder: Path) -> None:
    """`sam deploy` without --guided: each line of the list is one parameter, an empty one too."""
    given = tomllib.loads((folder / "samconfig.toml").read_text("utf-8"))["default"]["deploy"][
        "parameters"
    ]["parameter_overrides"]
    code = (
        "import json, sys; from samcli.cli.types import CfnParameterOverridesType as Type;"
        "print(json.dumps(Type().convert(json.load(sys.stdin), None, None)))"
    )
    done = subprocess.run(
        [str(Path(sam_executable()).with_name("python")), "-c", code],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
    )
    read = json.loads(done.stdout)
    assert read == {name: value.strip('"') for name, value in (x.split("=", 1) for x in given)}
    assert read["AlertEmail"] == ""


def test_a_release_that_sam_packaged_is_deployed_by_cloudformation_alone(folder: Path) -> None:
    """What the Terraform module does: the template in a bucket, with every parameter as a text."""
    page = (folder / "docs" / "terraform.md").read_text("utf-8")
    [command] = re.findall(r"^sam package .*$", page, flags=re.M)
    with Sandbox.start() as sandbox:
        s3, cloudformation = sandbox.client("s3"), sandbox.client("cloudformation")
        s3.create_bucket(Bucket="artifacts")
        words = command.replace('"$ARTIFACTS_BUCKET"', "artifacts").split()
        subprocess.run(
            [sam_executable(), *words[1:]],
            cwd=folder,
            env=sandbox.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
        packaged = (folder / "packaged.yaml").read_bytes()
        s3.put_object(Bucket="artifacts", Key="keyjanitor/packaged.template", Body=packaged)
        given = {
            name: str(parameter["Default"]) for name, parameter in TEMPLATE["Parameters"].items()
        } | {"RequireTls": "false", "ReplayWindowHours": "0"}
        cloudformation.create_stack(
            StackName="keyjanitor",
            TemplateURL=f"{sandbox.endpoint}/artifacts/keyjanitor/packaged.template",
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in given.items()],
        )
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName="keyjanitor", WaiterConfig={"Delay": 1}
        )
        stack = Stack.attached(sandbox)
        assert stack.outputs["Version"] == __version__
        assert stack.pull(NIGHT)["code_version"] == __version__
