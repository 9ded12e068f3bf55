"""`make mutants`: puts every mistake of `mutants` into the rules, and names those that no test finds.

The tests of the rules are collected once. For each mutant a copy of this process (a fork) gets the
function with the mistake, and runs those of the rule's tests that run the changed lines, the quick
ones first, until one fails. Tests that take long come after all mutants have met the quick ones.
What was found lately, and by which test, stays in `.mutants/`.
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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import _lru_cache_wrapper
from hashlib import sha256
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
SURVIVORS = Path(__file__).parent / "survivors.toml"
PROCESSES = 2
# A test that takes so much longer than it did without the mistake never ends: it has found it.
TIMES, MORE = 20, 2  # seconds of the processor
WAITS = 600  # seconds of the clock, for a test that waits for something
QUICK = 5.0  # seconds that all the tests of a mutant's first round take without it
# Each rule, and the tests that have to find a mistake in it. What others would find besides does not
# count: a rule's own tests are those that somebody runs who changes it.
RULES: Mapping[str, tuple[str, ...]] = {
    "domain/expiry/verdicts": ("unit/expiry/test_verdicts", "unit/expiry/test_plan"),
    "domain/expiry/key_use": ("unit/expiry/test_key_use",),
    "domain/expiry/next_step": ("unit/expiry/test_next_step",),
    "domain/expiry/ownership": ("unit/expiry/test_ownership",),
    "domain/expiry/transitions": ("unit/expiry/test_transitions",),
    "domain/expiry/sweep_plan": ("unit/expiry/test_plan",),
    "domain/expiry/safety_brake": ("unit/expiry/test_comparison",),
    "domain/expiry/comparison_file": ("unit/expiry/test_comparison",),
    "domain/expiry/notice": ("unit/expiry/test_telling",),
    "domain/expiry/holding": ("unit/expiry/test_holding", "unit/expiry/test_outlook"),
    "domain/expiry/pressure": ("unit/expiry/test_outlook", "unit/expiry/test_plan"),
    "domain/expiry/reasons": ("unit/expiry/test_reasons",),
    "services/expire_keys/brake": ("unit/expiry/test_safety_brake",),
    "domain/usage/evidence": (
        "unit/usage/test_evidence",
        "unit/usage/test_silence",
        "unit/expiry/test_life_of_a_key",
    ),
    "domain/usage/plan_usage": ("unit/usage/test_evidence", "unit/usage/test_silence"),
    "domain/usage/reading": (
        "unit/usage/test_evidence",
        "unit/usage/test_silence",
        "unit/expiry/test_life_of_a_key",
    ),
    "domain/usage/evidence_file": ("unit/usage/test_evidence",),
    "domain/usage/partial_reading": ("unit/usage/test_evidence", "unit/usage/test_silence"),
    "domain/usage/usage_file": ("unit/usage/test_usagefile",),
    "domain/usage/summary": ("unit/usage/test_use",),
    "services/provision_keys/receiving": (
        "unit/requests/test_request_stages",
        "contract/services/test_requests",
    ),
    "services/provision_keys/taking": (
        "unit/requests/test_request_stages",
        "contract/services/test_requests",
        "contract/services/test_request_races",
    ),
    "services/provision_keys/judging": (
        "contract/services/test_requests",
        "contract/services/test_request_keys",
    ),
    "services/provision_keys/looking": (
        "contract/services/test_request_keys",
        "contract/services/test_revoked_stays_revoked",
        "contract/services/test_request_races",
    ),
    "services/provision_keys/key_actions": (
        "contract/services/test_request_keys",
        "contract/services/test_revoked_stays_revoked",
        "contract/services/test_request_races",
    ),
    "services/provision_keys/renewing": (
        "contract/services/test_request_keys",
        "contract/services/test_revoked_stays_revoked",
        "contract/services/test_request_races",
    ),
    "services/provision_keys/protecting": (
        "contract/services/test_request_keys",
        "contract/services/test_revoked_stays_revoked",
        "contract/services/test_request_races",
    ),
    "services/provision_keys/revoking": (
        "contract/services/test_request_keys",
        "contract/services/test_revoked_stays_revoked",
        "contract/services/test_request_races",
    ),
    "services/provision_keys/restoring": (
        "contract/services/test_request_keys",
        "contract/services/test_revoked_stays_revoked",
        "contract/services/test_request_races",
    ),
    "services/provision_keys/issuing": (
        "contract/services/test_requests",
        "contract/services/test_request_races",
    ),
    "services/provision_keys/sealing": (
        "contract/services/test_requests",
        "contract/services/test_request_races",
    ),
    "services/provision_keys/importing": (
        "contract/services/test_requests",
        "contract/services/test_request_races",
    ),
    "services/provision_keys/proving": (
        "contract/services/test_requests",
        "contract/services/test_request_races",
    ),
    "services/provision_keys/delivering": (
        "contract/services/test_requests",
        "contract/services/test_request_races",
    ),
    "services/restore": ("contract/services/test_restore",),
    "domain/requests/admission": ("unit/requests/test_admission",),
    "domain/requests/census": ("unit/requests/test_admission",),
    "domain/requests/key_request": ("unit/requests/test_admission",),
    "domain/requests/body": ("unit/requests/test_contract",),
    "domain/model/key_values": ("unit/model/test_values",),
    "domain/model/invocation": ("unit/model/test_requests",),
    "domain/model/safe_text": ("unit/model/test_harmless",),
    "domain/model/key_ids": ("contract/adapters/test_key_ids",),
    "domain/model/records": ("unit/expiry/test_ownership",),
    "domain/model/keys": ("unit/model/test_words",),
    "domain/model/policy": (
        "unit/model/test_policy",
        "unit/expiry/test_tiers",
        "unit/expiry/test_plan",
    ),
    "domain/model/policy_fields": ("unit/model/test_policy", "unit/model/test_policy_fuzz"),
    "domain/model/policy_file": ("unit/model/test_policy",),
    "domain/model/policy_tier": ("unit/model/test_policy", "unit/expiry/test_tiers"),
    "domain/capacity/alerting": ("unit/capacity/test_capacity",),
    "domain/capacity/forecast": ("unit/capacity/test_forecast",),
}

FOUND, ENDLESS, SURVIVED = "found", "found, it never ends", "survived"
UNTRIED = "no change that can be tried"


@dataclass(frozen=True, slots=True)
class Map:
    """Which tests run which lines of which file, how many seconds each takes without a mistake."""

    lines: dict[str, dict[int, list[str]]]
    seconds: dict[str, float]

    def tests_of(self, mutant: Mutant, function: tuple[int, int] | None) -> list[str]:
        """The tests that run a mutant's lines; else those of its function; of a constant all of them."""
        lines = self.lines[mutant.module]  # of the rule's own tests
        found = _names(lines, range(mutant.lines[0], mutant.lines[1] + 1))
        if mutant.where and not found and function is not None:
            found = _names(lines, range(function[0] + 1, function[1] + 1))
        if not mutant.where:
            found = {name for name in self.seconds if file_of(name) in RULES[mutant.module]}
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
    def pytest_collection(self) -> None:
        """No example is made smaller, none is kept: that a test fails is all that is asked."""
        hypothesis.settings.register_profile(
            "mutants",
            phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
            database=None,
            derandomize=True,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        hypothesis.settings.load_profile("mutants")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = session.items
        FOLDER.mkdir(exist_ok=True)
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
    """The map, measured for the tests that changed, or whose rules did, since it was lately."""
    tests = {item.nodeid: item for item in items}
    files = sorted({file_of(name) for name in tests})
    old = [file for file in files if again or _kept(file) is None]
    if old:
        stale = [item for item in items if file_of(item.nodeid) in old]
        say(f"which of {len(stale)} tests run which lines ...")
        child = os.fork()
        if not child:
            hush()
            try:
                _measure(stale)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
    lines: dict[str, dict[int, list[str]]] = {module: {} for module in RULES}
    seconds: dict[str, float] = {}
    for file in files:
        kept = _kept(file)
        if kept is None:
            raise RuntimeError(f"the tests of {file} could not be run without a mistake")
        seconds.update(kept["seconds"])
        for module, of_module in kept["lines"].items():
            for line, names in of_module.items():
                lines[module].setdefault(int(line), []).extend(names)
    return Map(lines, seconds)


def file_of(test: str) -> str:
    """The file of a test, as RULES names it."""
    return test.partition("::")[0].removeprefix("tests/").removesuffix(".py")


def _place(file: str) -> Path:
    return FOLDER / f"map-{file.replace('/', '-')}.json"


def _kept(file: str) -> dict[str, Any] | None:
    """What is known of a file's tests; None if they or their rules changed since."""
    if not _place(file).exists():
        return None
    kept: dict[str, Any] = json.loads(_place(file).read_text())
    return kept if kept["digest"] == _digest(file) else None


def _digest(file: str) -> str:
    texts = [
        ROOT / f"tests/{file}.py",
        *(LAYER / f"{one}.py" for one in RULES if file in RULES[one]),
    ]
    return sha256(b"".join(text.read_bytes() for text in texts)).hexdigest()


def _measure(items: Sequence[pytest.Item]) -> None:
    files = {str(LAYER / f"{module}.py"): module for module in RULES}
    measured = coverage.Coverage(data_file=None, include=list(files))
    measured.start()
    seconds: dict[str, float] = {}
    for item, following in zip(items, [*items[1:], None], strict=True):
        measured.switch_context(item.nodeid)
        began = time.process_time()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        seconds[item.nodeid] = round(time.process_time() - began, 4)
    measured.stop()
    data = measured.get_data()
    contexts = {module: data.contexts_by_lineno(path) for path, module in files.items()}
    for file in {file_of(name) for name in seconds}:
        lines = {
            module: {
                line: [name for name in names if name and file_of(name) == file]
                for line, names in of_module.items()
            }
            for module, of_module in contexts.items()
            if file in RULES[module]
        }
        of_file = {name: taken for name, taken in seconds.items() if file_of(name) == file}
        told = {"digest": _digest(file), "lines": lines, "seconds": of_file}
        _place(file).write_text(json.dumps(told))


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
    for (rule, _), made in functions.items():
        if rule == mutant.module:
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
    parser.add_argument("modules", nargs="*", default=[*RULES], help="without: all rules")
    parser.add_argument("--map", action="store_true", help="ask again which tests run which lines")
    parser.add_argument("--survivors", action="store_true", help="only what survived lately")
    parser.add_argument("--quick", action="store_true", help="leave out the tests that take long")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    asked = parser.parse_args()
    if unknown := [name for name in asked.modules if name not in RULES]:
        parser.error(f"no rules: {', '.join(unknown)}; there are {', '.join(RULES)}")
    runner = Runner(asked.modules, asked)
    ended = pytest.main(
        ["-q", "-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider", "-p", "no:timeout", "-s",
         "-o", "addopts=--import-mode=importlib --disable-socket --allow-unix-socket",
         "-o", "filterwarnings=ignore", "--assert=plain", "--tb=no", "-m", "not e2e",
         *sorted({f"tests/{test}.py" for name in asked.modules for test in RULES[name]})],
        plugins=[runner],
    )  # fmt: skip
    if ended not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        say("the tests could not be collected, or trying a mutant failed")
        return 2
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
