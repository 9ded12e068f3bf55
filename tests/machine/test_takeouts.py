"""The files that take fixes out fit the code as it is; `make takeouts` sees that each is found."""

import pytest

from tests.machine.stories import write
from tests.machine.takeouts import EVERY, ROOT, Takeout, takeouts

ALL = takeouts()


@pytest.mark.parametrize("takeout", ALL, ids=lambda one: one.name)
def test_what_takes_a_fix_out_stands_once_in_its_file(takeout: Takeout) -> None:
    times = [(ROOT / one.file).read_text().count(one.old) for one in takeout.replaces]
    assert times == [1] * len(times)
    assert takeout.replaces


@pytest.mark.parametrize("takeout", ALL, ids=lambda one: one.name)
def test_each_is_found_by_a_story_or_says_why_not_and_by_which_test(takeout: Takeout) -> None:
    if takeout.seed is not None:
        assert takeout.rule
        assert write(takeout.seed, takeout.chapter).days
    if takeout.found_by:
        path = takeout.found_by.split("::")[0]
        test = takeout.found_by.split("::")[-1].partition("[")[0]
        assert f"def {test}(" in (ROOT / path).read_text()
    assert takeout.seed is not None or takeout.found_by


def test_every_break_that_was_fixed_can_be_taken_out_again() -> None:
    assert {one.breaks for one in ALL} >= set(EVERY)
