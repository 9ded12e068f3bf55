"""Asks for known vulnerabilities of pinned packages: `python -m release.audit FILE...` (`make audit`).

pip-audit says "No known vulnerabilities found" and exits 0 also when it could look up no package at
all. Here a package that was not looked up is named, and never counts as clean.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = ("-m", "pip_audit", "--progress-spinner", "off", "--format", "json", "--disable-pip")
HASHED = ("--require-hashes", "--requirement")
SHOWN = 5  # packages that were not looked up; their number is printed too

Run = Callable[[str], "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True, slots=True)
class Audit:
    """What is known of the packages of one requirement file.

    `vulnerable` has a line for each known vulnerability. `unknown` has a line for each package, or
    for the whole file, that was not looked up, with the reason.
    """

    name: str
    looked_up: int = 0
    vulnerable: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def lines(self) -> Sequence[str]:
        """What is printed of it."""
        hidden = len(self.unknown) - SHOWN
        known = f"{self.looked_up} packages looked up, {len(self.vulnerable)} vulnerabilities"
        return (
            f"{self.name}: {known}, {len(self.unknown)} NOT looked up",
            *(f"  VULNERABLE  {line}" for line in self.vulnerable),
            *(f"  NOT AUDITED  {line}" for line in self.unknown[:SHOWN]),
            *([f"  NOT AUDITED  and {hidden} more"] if hidden > 0 else []),
        )


def read_answer(name: str, code: int, output: str, errors: str) -> Audit:
    """Reads what pip-audit printed of the file `name`; an output that is no JSON is a failed look-up."""
    try:
        packages: list[dict[str, Any]] = list(json.loads(output)["dependencies"])
    except (ValueError, KeyError, TypeError):
        last = (errors.strip().splitlines() or ["it printed nothing"])[-1]
        return Audit(name, unknown=(f"pip-audit failed with exit code {code}: {last}",))
    skipped = [one for one in packages if "skip_reason" in one]
    if not packages:
        return Audit(name, unknown=("pip-audit found no package in the file",))
    return Audit(
        name,
        looked_up=len(packages) - len(skipped),
        vulnerable=tuple(
            f"{one['name']} {one['version']}: {found['id']}, {_fixed(found)}"
            for one in packages
            for found in one.get("vulns", ())
        ),
        unknown=tuple(one["skip_reason"] for one in skipped),
    )


def _fixed(found: dict[str, Any]) -> str:
    versions = found.get("fix_versions") or []
    return f"fixed in {', '.join(versions)}" if versions else "no fixed version is known"


def pip_audit(name: str) -> "subprocess.CompletedProcess[str]":
    """Runs pip-audit of this interpreter's environment on one requirement file."""
    command = [sys.executable, *COMMAND, *HASHED, name]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603


def main(names: Sequence[str], run: Run = pip_audit) -> int:
    """Audits the files; gives 1 if there is a vulnerability, 3 if something was not looked up, else 0."""
    audits = []
    for name in names:
        done = run(name)
        audits.append(read_answer(Path(name).as_posix(), done.returncode, done.stdout, done.stderr))
        print(*audits[-1].lines, sep="\n")
    if any(one.vulnerable for one in audits):
        return 1
    if any(one.unknown for one in audits):
        print("The vulnerability data was not reached for all packages: this is not a clean audit.")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
