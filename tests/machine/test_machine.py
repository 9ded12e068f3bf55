"""Random accounts live on the functions' own handlers, and no promise is broken.

`make soak SECONDS=1800` lives longer. A broken story is printed short, day by day, and is told again
by `make soak SEED=n`.
"""

import os
import secrets
import time
from types import ModuleType

import pytest

from tests.machine.live import live, shorten, tell
from tests.machine.stories import Story, calm, write
from tests.machine.world import virtual_time

SECONDS = float(os.environ.get("KEYJANITOR_MACHINE_SECONDS", "20"))
AT_LEAST = 3  # stories of each kind, however slow the machine is


def _lives(story: Story, functions: dict[str, ModuleType]) -> None:
    lived = live(story, functions)
    if lived.broken is not None:
        pytest.fail(tell(shorten(story, functions)), pytrace=False)


@pytest.mark.timeout(SECONDS * 4 + 300)
def test_no_promise_is_broken_in_random_lives(functions: dict[str, ModuleType]) -> None:
    until = time.monotonic() + SECONDS / 2
    with virtual_time():
        for seeds in (range(10**6), iter(lambda: secrets.randbelow(10**9), -1)):
            for number, seed in enumerate(seeds):
                if number >= AT_LEAST and time.monotonic() > until:
                    break
                _lives(calm(seed), functions)
            until = time.monotonic() + SECONDS / 2


def test_a_story_of_a_seed_is_always_the_same(functions: dict[str, ModuleType]) -> None:
    with virtual_time():
        first, second = live(calm(5), functions), live(calm(5), functions)
    assert first.lines == second.lines
    assert write(7).to_json() == write(7).to_json()
