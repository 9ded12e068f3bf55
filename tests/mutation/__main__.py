"""`make mutants`: puts every mistake of `mutants` into the rules, and names those that no test finds.

All tests are collected once. For each mutant a copy of this process (a fork) gets the function with
the mistake, and runs the tests that run the changed lines, the quick ones first, until one fails.
Tests that take long come after all mutants have met the quick ones. What was found lately, and by
which test, stays in `.mutants/`.
"""

import argparse
import ast
import gc
import json
import os
import signal
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import _lru_cache_wrapper
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import coverage
import hypothesis
import pytest

from tests.mutation.mutants import Mutant, constant_at, mutants_of

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers/keyjanitor/keyjanitor"
FOLDER = ROOT / ".mutants"
MAP = FOLDER / "map.json"
SURVIVORS = Path(__file__).parent / "survivors.toml"
PROCESSES = 2
# A test that takes so much longer than it did without the mistake never ends: it has found it.
TIMES, MORE = 20, 10  # seconds of the processor
WAITS = 600  # seconds of the clock, for a test that waits for something
QUICK = 15.0  # seconds that all the tests of a mutant's first round take without it
RULES = (
    "domain/expiry/verdicts",
    "domain/expiry/ownership",
    "domain/expiry/transitions",
    "domain/expiry/sweep_plan",
    "services/expire_keys/brake",
    "domain/expiry/safety_brake",
    "domain/expiry/comparison_file",
    "domain/usage/evidence",
    "domain/usage/plan_usage",
    "domain/usage/evidence_file",
    "domain/usage/reading",
    "services/provision_keys/key_actions",
    "services/provision_keys/issuing",
    "domain/requests/admission",
    "domain/requests/census",
    "domain/requests/key_request",
    "services/restore",
    "domain/model/invocation",
    "domain/usage/usage_file",
    "domain/requests/body",
    "domain/requests/key_values",
    "domain/model/safe_text",
    "services/lease",
    "domain/model/key_ids",
    "domain/expiry/ladder",
    "domain/capacity/forecast",
    "domain/usage/partial_reading",
    "services/expire_keys/may_act",
    "domain/expiry/reasons",
    "domain/capacity/alerting",
    "domain/capacity/forecast",
    "domain/usage/summary",
    "domain/model/policy",
    "domain/model/policy_fields",
    "domain/model/policy_file",
    "domain/model/policy_tier",
)
# Tests of other things than these rules, and those that would only take time. A mutant that only
# these would find counts as a survivor.
LEFT_OUT = (
    "test_sandbox_",
    "test_template",
    "test_docs",
    "test_doctor_docs",
    "test_speed",
    "test_history_queries",
    "test_simulate",
    "test_machine",
    "test_mutants",
    "test_rights",
)

FOUND, ENDLESS, SURVIVED = "found", "found, it never ends", "survived"
UNTRIED = "no change that can be tried"


@dataclass(frozen=True, slots=True)
class Map:
    """Which tests run which lines of which file, how many seconds each takes without a mistake."""

    lines: dict[str, dict[int, list[str]]]
    seconds: dict[str, float]

    def tests_of(self, mutant: Mutant, function: tuple[int, int] | None) -> list[str]:
        """The tests that run a mutant's lines; where that is not known, those of its function."""
        lines = self.lines[mutant.module]
        found = _names(lines, range(mutant.lines[0], mutant.lines[1] + 1))
        if mutant.where and not found and function is not None:
            found = _names(lines, range(function[0] + 1, function[1] + 1))
        if not mutant.where:
            found = _names(lines, lines)
        return self.in_order(found)

    def in_order(self, tests: Iterable[str]) -> list[str]:
        """The quick ones first, but of the tests that differ in their parameters one before all others."""
        seen: Counter[str] = Counter()
        keys = {}
        for name in sorted(tests, key=lambda name: (self.seconds[name], name)):
            kind = name.partition("[")[0]
            seen[kind] += 1
            keys[name] = (seen[kind] > 1, self.seconds[name], name)
        return sorted(keys, key=keys.__getitem__)


def _names(lines: dict[int, list[str]], which: Iterable[int]) -> set[str]:
    return {name for line in which for name in lines.get(line, ())}


class Runner:
    """A pytest plugin that, in the place of running the tests, runs the mutants."""

    def __init__(self, modules: Sequence[str], asked: argparse.Namespace) -> None:
        self.modules, self.asked = modules, asked
        self.outcomes: dict[str, str] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = [
            item for item in session.items if not any(name in item.nodeid for name in LEFT_OUT)
        ]
        known = the_map(items, again=self.asked.map)
        mutants = [
            mutant
            for module in self.modules
            for mutant in mutants_of(module, (LAYER / f"{module}.py").read_text())
        ]
        if self.asked.survivors:
            lately = json.loads(outcomes_file().read_text())
            mutants = [one for one in mutants if lately.get(one.name) == SURVIVED]
        functions = functions_of(self.modules)
        gc.collect()
        gc.freeze()
        shares = [
            (mutants[part :: self.asked.processes], part) for part in range(self.asked.processes)
        ]
        workers = []
        for share, part in shares:
            if not (child := os.fork()):
                code = 1
                try:
                    Worker(share, part, items, known, functions, self.asked.quick).work()
                    code = 0
                finally:
                    os._exit(code)
            workers.append(child)
        for child in workers:
            _, status = os.waitpid(child, 0)
            if status:
                raise RuntimeError("a process that tries mutants has failed")
        for _, part in shares:
            for line in log_file(part).read_text().splitlines():
                self.outcomes.update({(told := json.loads(line))["mutant"]: told["outcome"]})
        keep_outcomes(self.outcomes)
        return True


def outcomes_file() -> Path:
    return FOLDER / "outcomes.json"


def log_file(part: int) -> Path:
    return FOLDER / f"log-{part}.jsonl"


def keep_outcomes(outcomes: dict[str, str]) -> None:
    """Adds what was found to what was found before, for `--survivors`."""
    file = outcomes_file()
    before = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**before, **outcomes}, indent=0))


# --- which tests run which lines ------------------------------------------------------------------


def the_map(items: Sequence[pytest.Item], *, again: bool) -> Map:
    """The map as it was measured lately, with the tests that there are; measured where asked."""
    if again or not MAP.exists():
        FOLDER.mkdir(exist_ok=True)
        say(f"which of {len(items)} tests run which lines ...")
        child = os.fork()
        if not child:
            hush()
            try:
                MAP.write_text(json.dumps(_measured(items)))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
    known = json.loads(MAP.read_text())
    there, names = {item.nodeid for item in items}, list(known["seconds"])
    lines = {
        module: {
            int(line): [names[n] for n in of if names[n] in there] for line, of in found.items()
        }
        for module, found in known["lines"].items()
    }
    return Map(lines, known["seconds"])


def _measured(items: Sequence[pytest.Item]) -> dict[str, object]:
    files = {str(LAYER / f"{module}.py"): module for module in RULES}
    measured = coverage.Coverage(data_file=None, include=list(files))
    measured.start()
    seconds = {}
    for item, following in zip(items, [*items[1:], None], strict=True):
        measured.switch_context(item.nodeid)
        began = time.process_time()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        seconds[item.nodeid] = round(time.process_time() - began, 4)
    measured.stop()
    data = measured.get_data()
    number = {name: index for index, name in enumerate(seconds)}
    lines = {
        module: {
            line: [number[name] for name in names if name]
            for line, names in data.contexts_by_lineno(file).items()
        }
        for file, module in files.items()
    }
    return {"lines": lines, "seconds": seconds}


# --- one process ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Worker:
    """Tries its share of the mutants, in two rounds: the quick tests, then those that take long."""

    mutants: Sequence[Mutant]
    part: int
    items: Sequence[pytest.Item]
    known: Map
    functions: dict[tuple[str, str], list[FunctionType]]
    only_quick: bool

    def work(self) -> None:
        of = {item.nodeid: item for item in self.items}
        finders: dict[tuple[str, str], list[str]] = {}
        later: list[tuple[Mutant, list[str]]] = []
        began = time.monotonic()
        with log_file(self.part).open("w") as log:
            for done, mutant in enumerate(self.mutants):
                lately = finders.setdefault((mutant.module, mutant.where), [])
                tests = self._tests(mutant, lately)
                quick, slow = self._apart(tests)
                outcome, test = self._try(mutant, [of[name] for name in quick])
                if test is not None:
                    lately[:] = [test, *(one for one in lately if one != test)][:20]
                if outcome == SURVIVED and slow:
                    later.append((mutant, slow))
                    say(f"  not found by {len(quick)} quick tests, {len(slow)} left: {mutant.name}")
                else:
                    self._note(log, mutant, outcome, test, len(tests))
                if done % 50 == 49:
                    left = (time.monotonic() - began) / (done + 1) * (len(self.mutants) - done - 1)
                    say(f"{done + 1} of {len(self.mutants)} mutants, {left / 60:.0f} min left")
            for mutant, slow in later:
                outcome, test = SURVIVED, None
                if not self.only_quick:
                    outcome, test = self._try(mutant, [of[name] for name in slow])
                self._note(log, mutant, outcome, test, len(slow))

    def _note(self, log: Any, mutant: Mutant, outcome: str, test: str | None, tests: int) -> None:
        if outcome == SURVIVED:
            say(f"  survived {tests} tests: {mutant.name}  (line {mutant.lines[0]})")
        told = {"mutant": mutant.name, "outcome": outcome, "line": mutant.lines[0], "test": test}
        print(json.dumps(told), file=log, flush=True)

    def _tests(self, mutant: Mutant, lately: Sequence[str]) -> list[str]:
        """The tests of a mutant, those first that lately found one in the same function."""
        found = self.functions.get((mutant.module, mutant.where), [])
        tests = self.known.tests_of(mutant, span(found[0].__code__) if found else None)
        there = set(tests)
        first = [name for name in lately if name in there]
        return [*first, *(name for name in tests if name not in set(first))]

    def _apart(self, tests: Sequence[str]) -> tuple[list[str], list[str]]:
        """The tests that together take a few seconds, and the others."""
        quick: list[str] = []
        slow: list[str] = []
        taken = 0.0
        for name in tests:
            taken += self.known.seconds[name]
            (quick if taken <= QUICK else slow).append(name)
        return quick, slow

    def _try(self, mutant: Mutant, items: Sequence[pytest.Item]) -> tuple[str, str | None]:
        """What became of a mutant, and which test found it."""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            hush()
            try:
                code = 3
                if put_in(mutant, self.functions):
                    finder = self._first_that_fails(items)
                    code = int(finder is None)
                    os.write(writing, (finder or "").encode())
            except BaseException:  # noqa: BLE001 (whatever it is, a test run would have shown it)
                code = 0
            os._exit(code)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            finder = pipe.read().decode() or None
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return ENDLESS, None
        outcome = {0: FOUND, 1: SURVIVED, 3: UNTRIED}.get(os.WEXITSTATUS(status), FOUND)
        return outcome, finder

    def _first_that_fails(self, items: Sequence[pytest.Item]) -> str | None:
        failed = False

        class Watch:
            def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
                nonlocal failed
                failed = failed or report.failed

        if not items:
            return None
        items[0].config.pluginmanager.register(Watch())
        for item, following in zip(items, [*items[1:], None], strict=True):
            signal.setitimer(signal.ITIMER_PROF, MORE + TIMES * self.known.seconds[item.nodeid])
            signal.alarm(WAITS)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if failed:
                return item.nodeid
        return None


def functions_of(modules: Iterable[str]) -> dict[tuple[str, str], list[FunctionType]]:
    """All functions of these modules that are no function's own, by module and qualified name."""
    files = {str(LAYER / f"{module}.py"): module for module in modules}
    for name in files.values():
        import_module(dotted(name))
    found: dict[tuple[str, str], list[FunctionType]] = {}
    for one in gc.get_objects():
        if type(one) is not FunctionType or "<locals>" in one.__qualname__:
            continue
        if (module := files.get(one.__code__.co_filename)) is not None:
            found.setdefault((module, one.__qualname__), []).append(one)
    return found


def dotted(module: str) -> str:
    return f"keyjanitor.{module.replace('/', '.')}"


def span(code: CodeType) -> tuple[int, int]:
    """The first and the last line of a function, of what it holds too."""
    lines = [line for _, _, line in code.co_lines() if line is not None]
    inner = [span(one)[1] for one in code.co_consts if isinstance(one, CodeType)]
    return code.co_firstlineno, max([*lines, *inner])


# --- one mutant -----------------------------------------------------------------------------------


def put_in(mutant: Mutant, functions: dict[tuple[str, str], list[FunctionType]]) -> bool:
    """Gives the function of this process the mistake, or the constant wherever it is known."""
    forget_what_was_answered()
    if not mutant.where:
        return _put_in_constant(mutant, functions)
    compiled = compile(mutant.tree, str(LAYER / f"{mutant.module}.py"), "exec")
    wanted = _code(compiled, mutant.where)
    if wanted is None:
        return False
    done = False
    for function in functions.get((mutant.module, mutant.where), []):
        if len(wanted.co_freevars) == len(function.__code__.co_freevars):
            function.__code__ = wanted
            put_in_defaults(mutant.tree, function)
            done = True
    return done


def forget_what_was_answered() -> None:
    """Empties the caches of our functions: they were filled without the mistake."""
    for name, module in list(sys.modules.items()):
        if name.startswith("keyjanitor"):
            for one in vars(module).values():
                if isinstance(one, _lru_cache_wrapper):
                    one.cache_clear()


def put_in_defaults(tree: ast.Module, function: FunctionType) -> None:
    """Gives a function the defaults of its parameters, which are no part of its code."""
    line = function.__code__.co_firstlineno
    for node in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        first = min(node.lineno, *(one.lineno for one in node.decorator_list), node.lineno)
        if node.name != function.__name__ or first != line:
            continue
        known = function.__globals__
        given = [_value(one, known) for one in node.args.defaults]
        function.__defaults__ = tuple(given) or None
        for arg, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
            if value is not None and function.__kwdefaults__ is not None:
                function.__kwdefaults__[arg.arg] = _value(value, known)


def _value(expression: ast.expr, known: dict[str, Any]) -> Any:
    return eval(compile(ast.Expression(expression), "<default>", "eval"), known)


def _put_in_constant(mutant: Mutant, functions: dict[tuple[str, str], list[FunctionType]]) -> bool:
    name = constant_at(mutant)
    value: float = getattr(sys.modules[dotted(mutant.module)], name)
    for module_name, module in list(sys.modules.items()):
        ours = module_name.startswith(("keyjanitor", "functions"))
        if ours and getattr(module, name, None) is value:
            setattr(module, name, value + 1)
    for (module, _), made in functions.items():
        if module == mutant.module:
            for function in made:
                put_in_defaults(mutant.tree, function)
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
    return {one["mutant"]: one["why"] for one in tomllib.loads(SURVIVORS.read_text())["survivor"]}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", default=RULES, help="without: all rules")
    parser.add_argument("--map", action="store_true", help="ask again which tests run which lines")
    parser.add_argument("--survivors", action="store_true", help="only what survived lately")
    parser.add_argument("--quick", action="store_true", help="leave out the tests that take long")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    runner = Runner((asked := parser.parse_args()).modules, asked)
    # No example is made smaller, none is kept: that a test fails is all that is asked.
    hypothesis.settings.register_profile(
        "mutants",
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("mutants")
    pytest.main(
        ["-q", "-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider", "-p", "no:timeout",
         "-o", "addopts=--import-mode=importlib --disable-socket --allow-unix-socket",
         "-o", "filterwarnings=ignore", "--assert=plain", "--tb=no", "-m", "not e2e",
         "tests/unit", "tests/contract"],
        plugins=[runner],
    )  # fmt: skip
    argued = known_survivors()
    survivors = [name for name, outcome in runner.outcomes.items() if outcome == SURVIVED]
    new = [name for name in survivors if name not in argued]
    counts = Counter(runner.outcomes.values())
    told = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    say(f"{counts.total()} mutants: {told}; {len(new)} of the survivors argued nowhere")
    for name in new:
        print(name)
    return bool(new)


if __name__ == "__main__":
    sys.exit(main())
