"""How a test run is spread over its processes: what goes together, what first, and what they send."""

import gc
from collections.abc import Callable
from typing import Any

import pytest

QUICK = "not slow and not e2e"  # the tests of `make check`, as the Makefile names them

# What takes longest comes first, so that the processes of a run end together.
LONGEST = (
    "test_at_awss_pace",
    "test_nine_nights_as_the_demo_shows_them",
    "test_dead_letters_leave",
    "test_growth_over_weeks_is_told_once",
    "test_a_function_that_dies_at_any",
    "test_what_a_storm_interrupts",
    "test_what_aws_does_otherwise",
    "test_a_newcomer_gets_from_a_clone",
    "test_a_night_makes",
    "test_each_command_does",
    "test_a_release_is_deployed",
    "test_every_right_of_the_policy",
    "test_1200_keys",
    "test_200_requests",
    "test_each_command_prints",
    "test_the_table",
    "test_all_keys_are_sorted",
    "test_with_others_about",
    "test_a_backlog_of_half",
    "test_ten_thousand_keys_take",
    "test_keys_of_others_are_left_alone",
    "test_the_command_that_mends",
    "test_1000_requests",
    "test_an_import_that_takes_longer",
    "test_the_readmes_events",
    "test_axe_finds",
    "test_the_policy_that_is_suggested",
    "test_an_account_that_is_read_live",
    "test_every_nights_evidence",
    "test_a_run_that_dies_at_any",
    "test_a_query_of_the_docs",
    "test_a_program_that_asks",
)

# Files, or tests, that share a life which takes seconds to live: one process runs all of them.
TOGETHER = (
    "tests/contract/docs/test_history_queries.py",
    "tests/contract/template/test_rights.py",
    "tests/e2e/test_overlap.py",
    "tests/sandbox/test_simulate.py",
)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(LongestFirst())
    # Thousands of tests and what they import stay until the end: looking through them frees nothing.
    gc.set_threshold(100_000, 50, 1_000)
    if config.option.durations is None and config.option.xmlpath is None:
        for plugin in config.pluginmanager.get_plugins():
            if type(plugin).__name__ == "WorkerInteractor":  # of a process of pytest-xdist
                plugin.sendevent = _sending_what_counts(plugin.sendevent)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()


def _sending_what_counts(send: Callable[..., None]) -> Callable[..., None]:
    """Sends three messages of a test in place of six: a test of a millisecond waits for each.

    Left out is that a test begins, and that it was set up or taken down well and printed nothing.
    """

    def sendevent(name: str, **what: Any) -> None:
        if name == "logstart":
            return
        if name == "testreport":
            report = what["data"]
            passed = report["outcome"] == "passed" and not report["sections"]
            if passed and report["when"] != "call":
                return
        send(name, **what)

    return sendevent


class LongestFirst:
    """Puts the tests that take longest first, behind whatever else has put them in an order."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(
            key=lambda item: next(
                (n for n, name in enumerate(LONGEST) if item.name.startswith(name)), len(LONGEST)
            )
        )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Sends each test, and each of TOGETHER, to the process that is free next.

    The cases of one quick test go together: a case of a millisecond is shorter than its sending.
    """
    # (xdist's own groups, `--dist loadgroup`, have no effect with this pytest.)
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - mutants do without xdist

    quick = config.option.markexpr == QUICK

    class TogetherOrAlone(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            test = nodeid.partition("[")[0]
            together = next((one for one in TOGETHER if test.startswith(one)), "")
            return together or (test if quick else nodeid)

        def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
            """Forgets what is done; xdist would count through all of it after each test."""
            nodeid = self.registered_collections[node][item_index]
            super().mark_test_complete(node, item_index, duration)
            work, scope = self.assigned_work[node], self._split_scope(nodeid)
            if all(work[scope].values()):
                del work[scope]

    return TogetherOrAlone(config, log)
