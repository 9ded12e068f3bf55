"""Takes each fix out again, one after the other, and sees that the machine or a test finds it.

A file of tests/machine/takeouts names the text that takes a fix out, and what finds it: `chapter` and
`seed` of a story of the machine that breaks then, with the `rule` that it breaks; or `found_by`, a test, for what
the machine cannot reach, with `why_not`. The tree is copied, never changed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "machine" / "takeouts"
EVERY = tuple(f"B{number}" for number in range(1, 23))
COPIED = ("functions", "layers", "sandbox", "tests", "cli", "docs", "events")
PATIENCE = 900  # seconds for one test, or for some stories on a slow machine
TRIES = 12  # stories


@dataclass(frozen=True, slots=True)
class Replace:
    """One text of one file, which stands there once, and what takes its place."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Takeout:
    """How to take one fix out, and what finds it then."""

    name: str  # of its file
    breaks: str  # B1 to B22, or another name
    says: str
    found_by: str
    replaces: tuple[Replace, ...]
    seed: int | None = None
    chapter: str = ""
    rule: str = ""
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What came of one."""

    takeout: Takeout
    how: str
    found: bool
    seconds: float
    said: str = ""


def takeouts(names: Sequence[str] = ()) -> list[Takeout]:
    """All of them, or those of some names, in their order."""
    found = [_read(path) for path in sorted(FOLDER.glob("*.toml"))]
    chosen = [one for one in found if not names or {one.name, one.breaks} & set(names)]
    return sorted(chosen, key=lambda one: (len(one.breaks), one.breaks, one.name))


def _read(path: Path) -> Takeout:
    document = tomllib.loads(path.read_text())
    return Takeout(
        name=path.stem,
        breaks=document["id"],
        says=document["says"],
        found_by=document.get("found_by", ""),
        replaces=tuple(Replace(r["file"], r["old"], r["new"]) for r in document["replace"]),
        seed=document.get("seed"),
        chapter=document.get("chapter", ""),
        rule=document.get("rule", ""),
        why_not=document.get("why_not", ""),
    )


def take_out(takeout: Takeout, tree: Path) -> None:
    """Takes a fix out of a copy of the project."""
    for one in takeout.replaces:
        path = tree / one.file
        text = path.read_text()
        if text.count(one.old) != 1:
            raise SystemExit(
                f"{takeout.name}: its text is {text.count(one.old)} times in {one.file}"
            )
        path.write_text(text.replace(one.old, one.new))


def copy_to(tree: Path) -> None:
    for name in COPIED:
        ignored = shutil.ignore_patterns("__pycache__", ".pytest_cache")
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    for name in ("pyproject.toml", "template.yaml", "README.md", "Makefile", "samconfig.toml"):
        shutil.copy(ROOT / name, tree / name)


def look_for(takeout: Takeout) -> Found:
    """Whether what is said to find it does find it, in a copy without the fix."""
    with tempfile.TemporaryDirectory(prefix="takeout-") as folder:
        tree = Path(folder)
        copy_to(tree)
        take_out(takeout, tree)
        began = time.monotonic()
        environment = {**os.environ, "PYTHONPATH": f"{tree / 'layers' / 'keyjanitor'}:{tree}"}
        if takeout.seed is not None:
            how = f"machine, {takeout.chapter}:{takeout.seed}"
            command = ["-W", "ignore", "-m", "tests.machine.takeouts", "--find"]
            command += [takeout.chapter, str(takeout.seed), takeout.rule]
        else:
            how = takeout.found_by.split("/")[-1]
            command = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", takeout.found_by]
        ran = subprocess.run(
            [sys.executable, *command],
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    found = ran.returncode == 1 and (takeout.seed is None or "FOUND" in ran.stdout)
    said = (ran.stdout + ran.stderr)[-300:]
    return Found(takeout, how, found, time.monotonic() - began, said)


def find(chapter: str, seed: int, rule: str) -> int:
    """Lives the stories of a chapter from a seed on, until one breaks the rule; 1 if one does.

    A few are lived: another fix may have changed what the first of them comes to.
    """
    from tests.machine.live import live, load  # noqa: PLC0415 (it imports the functions)
    from tests.machine.stories import write  # noqa: PLC0415
    from tests.machine.world import virtual_time  # noqa: PLC0415

    functions = load()
    with virtual_time():
        for number in range(seed, seed + TRIES):
            broken = live(write(number, chapter), functions).broken
            if broken is not None and broken.rule == rule:
                print(f"FOUND by {chapter}:{number}: {broken}")
                return 1
    return 0


def main(names: Sequence[str]) -> int:
    """Takes them out in turn, and prints a table."""
    if names[:1] == ["--find"]:
        return find(names[1], int(names[2]), names[3])
    print(f"{'':5} {'how found':62} {'rule':18} {'s':>5}")
    missed = 0
    for one in takeouts(names):
        found = look_for(one)
        missed += not found.found
        verdict = "" if found.found else "  NOT FOUND"
        row = f"{one.breaks:5} {found.how[:62]:62} {one.rule:18} {found.seconds:5.1f}{verdict}"
        print(row, flush=True)
        if not found.found:
            print(f"      {found.said}", flush=True)
    print("all are found" if not missed else f"{missed} are not found")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
