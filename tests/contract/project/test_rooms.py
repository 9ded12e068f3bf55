"""Each contract of import-linter (`make imports`) breaks when an import that it forbids is planted."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "layers/keyjanitor/keyjanitor"
COMMAND = ROOT / "cli/keyjanitor_cli"
SANDBOX = ROOT / "sandbox"
CONFIG = ROOT / "pyproject.toml"
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"

# Each contract by the first words of its name, the module that an import is planted in, and the import.
# A module is of the package, or with its whole path of the command or the sandbox.
PLANTED = {
    "Rooms": ("domain/model/keys", "keyjanitor.services.lease"),
    "Inside the domain": ("domain/usage/summary", "keyjanitor.domain.report.html"),
    "The domain is pure": ("domain/model/keys", "os"),
    "No function knows another": (
        "services/watch_capacity",
        "keyjanitor.services.publish_report.run",
    ),
    "AWS's SDK is the adapters' alone": ("services/restore", "boto3"),
    "No circles": ("services/lease", "keyjanitor.services.watch_capacity"),
    "Only the ledger's modules know DynamoDB": (
        "adapters/event_bus",
        "keyjanitor.adapters.dynamodb",
    ),
    "Only the ledger's modules know its rows": (
        "adapters/event_bus",
        "keyjanitor.adapters.record_codec",
    ),
    "The command calls no service": (
        "keyjanitor_cli/commands/operating",
        "keyjanitor.services.lease",
    ),
    "Inside the command": ("keyjanitor_cli/console", "keyjanitor_cli.session"),
    "AWS's SDK is one module's alone": ("keyjanitor_cli/commands/operating", "boto3"),
    "What the command shows": ("keyjanitor_cli/shapes", "rich"),
    "Inside the sandbox": ("sandbox/aws/wire", "sandbox.driver.client"),
    "The AWS on this machine": ("sandbox/driver/queues", "keyjanitor.errors"),
}


def dotted(module: str) -> str:
    """The name of a module of PLANTED in full."""
    name = module.replace("/", ".")
    whole = name.partition(".")[0] in (COMMAND.name, SANDBOX.name)
    return name if whole else f"keyjanitor.{name}"


def broken(folder: Path, *planted: tuple[str, str]) -> dict[str, str]:
    """What import-linter says of each contract that breaks in a copy with these modules' imports added.

    The texts are by the contracts' names, without white space, for it breaks its lines.
    """
    for package in (PACKAGE, COMMAND, SANDBOX):
        shutil.copytree(
            package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for module, name in planted:
        path = folder / f"{dotted(module).replace('.', '/')}.py"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(f"{text}\nimport {name}\n" if name else text, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-c", LINT, str(CONFIG), "--no-cache"],
        env={**os.environ, "PYTHONPATH": str(folder), "NO_COLOR": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    _, _, details = ran.stdout.partition("Broken contracts\n")
    parts = re.split(r"^(.+)\n-+\n", details, flags=re.M)[1:]
    said = {name: "".join(text.split()) for name, text in zip(parts[::2], parts[1::2], strict=True)}
    kept = re.search(r"Contracts: (\d+) kept, (\d+) broken", ran.stdout)
    assert kept, ran.stdout + ran.stderr
    assert (int(kept[2]), ran.returncode) == (len(said), int(len(said) > 0))
    return said


def contracts() -> list[str]:
    linter = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["tool"]["importlinter"]
    return [contract["name"] for contract in linter["contracts"]]


def test_every_contract_has_its_planted_import() -> None:
    named = [begin for name in contracts() for begin in PLANTED if name.startswith(begin)]
    assert named == list(PLANTED)
    assert len(named) == len(contracts())


def test_without_a_planted_import_every_contract_is_kept(tmp_path: Path) -> None:
    assert broken(tmp_path) == {}


@pytest.mark.parametrize("contract", PLANTED)
def test_a_contract_breaks_by_its_planted_import(contract: str, tmp_path: Path) -> None:
    module, name = PLANTED[contract]
    said = broken(tmp_path, (module, name))
    [text] = [text for title, text in said.items() if title.startswith(contract)]
    if contract == "No circles":  # it names one import of the circle of two, either of them
        assert re.search(
            r"services\..*-(\.lease->\.watch_capacity|\.watch_capacity->\.lease)\(", text
        )
    else:
        assert f"{dotted(module)}->{name}(l." in text


@pytest.mark.parametrize(
    "module", ["unplaced", "domain/unplaced", "keyjanitor_cli/unplaced", "sandbox/unplaced"]
)
def test_a_module_that_is_in_no_layer_breaks_the_layers(module: str, tmp_path: Path) -> None:
    said = broken(tmp_path, (module, ""))
    assert len(said) == 1
    assert f"-{dotted(module)}(" in next(iter(said.values()))
