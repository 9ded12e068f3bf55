"""Random accounts live on the functions' own handlers, and no promise is broken.

`make soak SECONDS=1800` lives longer. A broken story is printed short, day by day, and
`make soak STORY=n` tells it again.
"""

from secrets import randbelow
from types import ModuleType

import pytest

from keyjanitor.adapters.rate_limiter import RateLimiter
from tests.machine import soak
from tests.machine.live import live, shorten, tell
from tests.machine.stories import CHAPTERS, Story, calm, write
from tests.machine.world import virtual_time

STORIES = 30  # of the seeds from 0 on, the same each time
FRESH = 10  # of seeds that nothing has seen before
QUICK = 3  # of these, for `make check`
SEEDS = [*range(QUICK), *(pytest.param(n, marks=pytest.mark.slow) for n in range(QUICK, STORIES))]


def no_promise_is_broken(seed: int, functions: dict[str, ModuleType]) -> None:
    with virtual_time():
        if live(story := write(seed), functions).broken is not None:
            pytest.fail(tell(shorten(story, functions)), pytrace=False)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_promise_is_broken_in_a_random_life(seed: int, functions: dict[str, ModuleType]) -> None:
    no_promise_is_broken(seed, functions)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(FRESH))
def test_no_promise_is_broken_in_a_life_that_was_never_lived_before(
    number: int, functions: dict[str, ModuleType]
) -> None:
    del number
    no_promise_is_broken(randbelow(10**9), functions)


def test_a_function_that_does_not_keep_to_its_share_of_calls_breaks_its_story(
    functions: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RateLimiter, "wait", lambda _: None)
    with virtual_time():
        broken = live(calm(5), functions).broken
    assert broken is not None
    assert (broken.promise, broken.rule) == (5, "pace")


@pytest.mark.slow
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


def test_a_story_that_the_machine_cannot_live_fails_the_soak(
    functions: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise KeyError("a mistake of the machine")

    monkeypatch.setattr(soak, "live", fails)
    seed, rule, text, again = soak._lived(calm(5), set(), functions)["broken"]
    assert (seed, rule, again) == (calm(5).seed, soak.NOT_LIVED, str(calm(5).seed))
    assert "a mistake of the machine" in text
    count = soak._Count()
    count.add(soak._lived(calm(5), set(), functions))
    assert count.report(5) == 1
