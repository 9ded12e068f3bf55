"""Random accounts live on the functions' own handlers, and no promise is broken.

`make soak SECONDS=1800` lives longer. A broken story is printed short, day by day, and
`make soak STORY=n` tells it again.
"""

import os
import secrets
import time
from collections.abc import Iterator
from types import ModuleType

import pytest

from keyjanitor.adapters.rate_limiter import Pace
from tests.machine.live import live, shorten, tell
from tests.machine.stories import CHAPTERS, Story, calm, write
from tests.machine.world import virtual_time

SECONDS = float(os.environ.get("KEYJANITOR_MACHINE_SECONDS", "20"))
FIXED = 30  # stories at most, of the seeds from 0 on: those that the model and the code agree on
# Fresh seeds, for who looks for the next break: of the last 261 stories of `make soak` four broke.
SEEDS = ("fixed", "fresh") if os.environ.get("KEYJANITOR_MACHINE_FRESH") else ("fixed",)
AT_LEAST = 3  # stories of fixed seeds, and of fresh ones, however slow the machine is


def _fresh() -> Iterator[int]:
    while True:
        yield secrets.randbelow(10**9)


@pytest.mark.timeout(SECONDS * 4 + 300)
@pytest.mark.parametrize("seeds", SEEDS)
def test_no_promise_is_broken_in_random_lives(seeds: str, functions: dict[str, ModuleType]) -> None:
    until = time.monotonic() + SECONDS / len(SEEDS)
    with virtual_time():
        for number, story in enumerate(map(write, range(FIXED) if seeds == "fixed" else _fresh())):
            if number >= AT_LEAST and time.monotonic() > until:
                return
            if live(story, functions).broken is not None:
                pytest.fail(tell(shorten(story, functions)), pytrace=False)


def test_a_function_that_does_not_keep_to_its_share_of_calls_breaks_its_story(
    functions: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pace, "wait", lambda _: None)
    with virtual_time():
        broken = live(calm(5), functions).broken
    assert broken is not None
    assert (broken.promise, broken.rule) == (5, "pace")


def test_a_story_is_always_the_same(functions: dict[str, ModuleType]) -> None:
    with virtual_time():
        first, second = live(calm(5), functions), live(calm(5), functions)
    assert first.lines == second.lines
    for chapter in ("", "long", *(one.__name__ for one in CHAPTERS)):
        assert write(7, chapter).to_json() == write(7, chapter).to_json()
        assert Story.from_json(write(7, chapter).to_json()) == write(7, chapter)


def test_no_chapter_stands_alone_in_no_story() -> None:
    told = {name for seed in range(2_000) for name in write(seed).setup["chapters"]}
    assert told >= {one.__name__ for one in CHAPTERS}
