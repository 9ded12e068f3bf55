"""`make mutants`: puts every mistake of `mutants` into the rules, and names those that no test finds.

All tests are collected once. For each mutant a copy of this process (a fork) gets the function with
the mistake, and runs the tests that run that function, the quick ones first, until one fails.
"""

import argparse
import gc
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType

import coverage
import pytest

from tests.mutation.mutants import Mutant, constant_at, mutants_of

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers/keyjanitor/keyjanitor"
FOLDER = ROOT / ".mutants"
SURVIVORS = Path(__file__).parent / "survivors.toml"
SECONDS = 60  # that the tests of one mutant may take: one that never ends is found
RULES = (
    "admission",
    "brake",
    "contract",
    "decide",
    "evidence",
    "issuing",
    "keyactions",
    "plan",
    "requests",
    "restore",
    "transitions",
    "usagefile",
    "values",
)
# Tests of other things than these rules, and those that would only take time.
LEFT_OUT: tuple[str, ...] = (
    "test_sandbox_",
    "test_template",
    "test_docs",
    "test_doctor_docs",
    "test_speed",
)
LEFT_OUT += ("test_history_queries", "test_simulate", "test_machine", "test_mutants")


class Runner:
    """A pytest plugin that, in the place of running the tests, runs the mutants."""

    def __init__(self, modules: Sequence[str], share: tuple[int, int], *, again: bool) -> None:
        self.modules, self.share, self.again = modules, share, again
        self.items: list[pytest.Item] = []
        self.survivors: list[Mutant] = []
        self.counts: Counter[str] = Counter()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.items = [
            item for item in session.items if not any(name in item.nodeid for name in LEFT_OUT)
        ]
        tests, seconds = self._map()
        of = {item.nodeid: item for item in self.items}
        mutants = [
            mutant
            for module in self.modules
            for mutant in mutants_of(module, (LAYER / f"{module}.py").read_text())
        ][self.share[0] :: self.share[1]]
        began = time.monotonic()
        for done, mutant in enumerate(mutants):
            found = tests.get(f"{mutant.module}:{mutant.where}", [])
            found = sorted(found, key=lambda name: seconds.get(name, 0))
            outcome = self._try(mutant, [of[name] for name in found if name in of])
            self.counts[outcome] += 1
            if outcome == "survived":
                self.survivors.append(mutant)
                say(f"  survived: {mutant.name}  (line {mutant.line}, {len(found)} tests)")
            if done % 50 == 49:
                left = (time.monotonic() - began) / (done + 1) * (len(mutants) - done - 1)
                say(f"{done + 1} of {len(mutants)} mutants, {left / 60:.0f} min left")
        return True

    # --- which tests run which function ----------------------------------------------------------

    def _map(self) -> tuple[dict[str, list[str]], dict[str, float]]:
        """The tests that run each function, by `module:function`, and the seconds of each test."""
        file = FOLDER / f"map-{self.share[0]}.json"
        if self.again or not file.exists():
            FOLDER.mkdir(exist_ok=True)
            say(f"which of {len(self.items)} tests run which function ...")
            child = os.fork()
            if not child:
                hush()
                try:
                    file.write_text(json.dumps(self._measured()))
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
        known = json.loads(file.read_text())
        return known["tests"], known["seconds"]

    def _measured(self) -> dict[str, object]:
        files = {str(LAYER / f"{module}.py"): module for module in self.modules}
        measured = coverage.Coverage(data_file=None, include=list(files))
        measured.start()
        seconds = {}
        for item, following in zip(self.items, [*self.items[1:], None], strict=True):
            measured.switch_context(item.nodeid)
            began = time.monotonic()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            seconds[item.nodeid] = round(time.monotonic() - began, 4)
        measured.stop()
        data = measured.get_data()
        tests: dict[str, list[str]] = {}
        for file, module in files.items():
            lines = data.contexts_by_lineno(file)
            everything: set[str] = set()
            for function in functions_of(file):
                first, last = span(function.__code__)
                found = {
                    name
                    for line, names in lines.items()
                    if first < line <= last
                    for name in names
                    if name
                }
                everything |= found
                tests[f"{module}:{function.__qualname__}"] = sorted(found)
            tests[f"{module}:"] = sorted(everything)
        return {"tests": tests, "seconds": seconds}

    # --- one mutant ------------------------------------------------------------------------------

    def _try(self, mutant: Mutant, items: Sequence[pytest.Item]) -> str:
        child = os.fork()
        if not child:
            hush()
            signal.alarm(SECONDS)
            try:
                code = 3 if not put_in(mutant) else int(self._all_pass(items))
            except BaseException:  # noqa: BLE001 (whatever it is, a test run would have shown it)
                code = 0
            os._exit(code)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return "found, it never ends"
        return {0: "found", 1: "survived", 3: "no change that can be tried"}.get(
            os.WEXITSTATUS(status), "found"
        )

    @staticmethod
    def _all_pass(items: Sequence[pytest.Item]) -> bool:
        failed = False

        class Watch:
            def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
                nonlocal failed
                failed = failed or report.failed

        if not items:
            return True
        items[0].config.pluginmanager.register(Watch())
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if failed:
                return False
        return True


def functions_of(file: str) -> list[FunctionType]:
    """All functions that a file has made and that are no function's own."""
    return [
        one
        for one in gc.get_objects()
        if type(one) is FunctionType
        and one.__code__.co_filename == file
        and "<locals>" not in one.__qualname__
    ]


def span(code: CodeType) -> tuple[int, int]:
    """The first and the last line of a function, of what it holds too."""
    lines = [line for _, _, line in code.co_lines() if line is not None]
    inner = [span(one)[1] for one in code.co_consts if isinstance(one, CodeType)]
    return code.co_firstlineno, max([*lines, *inner])


def put_in(mutant: Mutant) -> bool:
    """Gives the function of this process the mistake, or the constant wherever it is known."""
    module = import_module(f"keyjanitor.{mutant.module}")
    file = str(LAYER / f"{mutant.module}.py")
    compiled = compile(mutant.tree, file, "exec")
    if not mutant.where:
        return _put_in_constant(mutant, module.__name__)
    wanted = _code(compiled, mutant.where)
    for function in functions_of(file):
        if function.__qualname__ == mutant.where and wanted is not None:
            if len(wanted.co_freevars) != len(function.__code__.co_freevars):
                return False
            function.__code__ = wanted
            return True
    return False


def _put_in_constant(mutant: Mutant, defined_in: str) -> bool:
    name = constant_at(mutant)
    value: float = getattr(sys.modules[defined_in], name)
    for module_name, module in list(sys.modules.items()):
        ours = module_name.startswith(("keyjanitor", "functions"))
        if ours and getattr(module, name, None) is value:
            setattr(module, name, value + 1)
    return True


def _code(compiled: CodeType, where: str) -> CodeType | None:
    for one in compiled.co_consts:
        if isinstance(one, CodeType):
            if one.co_qualname == where:
                return one
            if found := _code(one, where):
                return found
    return None


# --- the command ----------------------------------------------------------------------------------


def say(text: str) -> None:
    print(text, file=sys.__stderr__, flush=True)


def hush() -> None:
    """A fork prints nothing."""
    for number in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def known_survivors() -> dict[str, str]:
    """Why each survivor that is known changes nothing that matters, by the mutant's name."""
    if not SURVIVORS.exists():
        return {}
    return {one["mutant"]: one["why"] for one in tomllib.loads(SURVIVORS.read_text())["survivor"]}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", default=RULES, help="without: all rules")
    parser.add_argument("--share", default="0/1", help="this process's part, such as 1/2")
    parser.add_argument("--map", action="store_true", help="ask again which tests run which lines")
    parser.add_argument("--both", action="store_true", help="two processes, each with its part")
    asked = parser.parse_args()
    if asked.both:
        more = [*(["--map"] if asked.map else []), *asked.modules]
        command = [sys.executable, "-m", "tests.mutation", *more]
        parts = [subprocess.Popen([*command, "--share", f"{part}/2"]) for part in range(2)]
        return max(part.wait() for part in parts)
    part, of = map(int, asked.share.split("/"))
    modules = [name for name in asked.modules if (LAYER / f"{name}.py").exists()]
    runner = Runner(modules, (part, of), again=asked.map)
    pytest.main(
        ["-q", "-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider", "-p", "no:timeout",
         "-o", "addopts=--import-mode=importlib --disable-socket --allow-unix-socket",
         "-o", "filterwarnings=ignore", "-m", "not e2e", "tests/unit", "tests/contract"],
        plugins=[runner],
    )  # fmt: skip
    argued = known_survivors()
    new = [one for one in runner.survivors if one.name not in argued]
    told = ", ".join(f"{count} {what}" for what, count in sorted(runner.counts.items()))
    say(f"{runner.counts.total()} mutants: {told}; {len(new)} of the survivors argued nowhere")
    for one in new:
        print(one.name)
    return bool(new)


if __name__ == "__main__":
    sys.exit(main())
