"""Lives stories for as long as told, on two processes, and shows how it goes.

What breaks is made short, printed, and kept in a file that `make soak STORY=file` tells again.
"""

import argparse
import multiprocessing
import queue
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from secrets import randbelow
from typing import Any

from tests.machine.live import live, load, shorten, tell
from tests.machine.model import Broken
from tests.machine.stories import Story, named, write
from tests.machine.world import virtual_time

PROCESSES = 2
EVERY = 5  # seconds between two lines of progress
NOT_LIVED = "not lived"


def main(args: Sequence[str] | None = None) -> int:
    """Lives, or tells one story again; 1 if something is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--story", default=None)
    parser.add_argument("--most", type=int, default=10**9, help="stories that each process lives")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    asked = parser.parse_args(args)
    if asked.story is not None:
        return _again(asked.story)
    seed = asked.seed if asked.seed is not None else randbelow(10**9)
    return _soak(seed, asked.seconds, asked.processes, asked.most)


def _again(name: str) -> int:
    path = Path(name)
    story = Story.from_json(path.read_text()) if path.exists() else named(name)
    functions = load()
    with virtual_time():
        lived = live(story, functions)
    print(tell(lived))
    return int(lived.broken is not None)


def _soak(seed: int, seconds: float, processes: int, most: int) -> int:
    print(f"soak: seed {seed}, {seconds:g} s, {processes} processes", flush=True)
    results: Any = multiprocessing.Queue()
    until = time.time() + seconds
    workers = [
        multiprocessing.Process(
            target=_work, args=(seed + number, processes, until, most, results), daemon=True
        )
        for number in range(processes)
    ]
    for one in workers:
        one.start()
    count = _watch(workers, results, seconds)
    for one in workers:
        one.join(5)
    ended = [one.exitcode for one in workers]
    if any(ended):
        print(f"\na process of the soak ended early; exit codes: {ended}")
    return count.report(seed) or int(any(ended))


class _Count:
    """What was lived, and what broke."""

    def __init__(self) -> None:
        self.began = time.time()
        self.stories = 0
        self.key_nights = 0
        self.ran: Counter[str] = Counter()
        self.chapters: Counter[str] = Counter()
        self.broken: list[tuple[int, str, str, str]] = []

    def add(self, result: dict[str, Any]) -> None:
        self.stories += 1
        self.key_nights += result["key_nights"]
        self.ran.update(result["ran"])
        self.chapters.update(result["chapters"] or ["(none)"])
        if result["broken"]:
            self.broken.append(result["broken"])
            seed, rule, text, file = result["broken"]
            print(f"\n{text}\n\nBROKEN by seed {seed} ({rule}); again: make soak STORY={file}\n")

    def line(self, seconds: float) -> str:
        spent = time.time() - self.began
        share = min(1.0, spent / seconds) if seconds else 1.0
        bar = "#" * int(30 * share) + "." * (30 - int(30 * share))
        rate = self.key_nights / max(spent, 1e-9)
        return (
            f"[{bar}] {spent:5.0f} s  {self.stories:5} stories  {self.key_nights:8,} key-nights"
            f"  {rate:5.0f}/s  broken {len(self.broken)}"
        )

    def report(self, seed: int) -> int:
        spent = time.time() - self.began
        print(
            f"\nlived {self.key_nights:,} key-nights in {self.stories:,} stories in {spent:.0f} s"
        )
        for title, counted in (("lines", self.ran), ("chapters", self.chapters)):
            print(f"{title}:")
            most = max(counted.values(), default=1)
            for name, times in counted.most_common():
                print(f"  {name:16} {times:8,} {'#' * max(1, round(40 * times / most))}")
        rules = Counter(rule for _, rule, _, _ in self.broken)
        print(f"seed {seed}: {'nothing is broken' if not rules else f'broken: {dict(rules)}'}")
        return int(bool(rules))


def _watch(workers: Sequence[Any], results: Any, seconds: float) -> _Count:
    count, shown = _Count(), 0.0
    while True:
        try:
            count.add(results.get(timeout=1))
        except queue.Empty:
            if not any(one.is_alive() for one in workers):
                return count
        if time.time() - shown > EVERY:
            shown = time.time()
            print(count.line(seconds), flush=True)


def _work(seed: int, step: int, until: float, most: int, results: Any) -> None:
    """One process: the stories of every second seed."""
    functions = load()
    known: set[str] = set()
    with virtual_time():
        for number in range(most):
            if time.time() > until:
                return
            story = write(seed + number * step)
            results.put(_lived(story, known, functions))


def _lived(story: Story, known: set[str], functions: Any) -> dict[str, Any]:
    """What came of a story; one that the machine itself cannot live counts as broken."""
    try:
        lived = live(story, functions)
    except Exception:  # noqa: BLE001 - a mistake of the machine is shown, and the soak goes on
        told = f"the machine could not live the story:\n{traceback.format_exc()}"
        return {
            "key_nights": 0,
            "ran": {},
            "chapters": story.setup["chapters"],
            "broken": (story.seed, NOT_LIVED, told, str(story.seed)),
        }
    broken = None
    if lived.broken is not None:
        broken = _broken(story, lived.broken, known, functions)
    return {
        "key_nights": lived.key_nights,
        "ran": dict(lived.ran),
        "chapters": story.setup["chapters"],
        "broken": broken,
    }


def _broken(
    story: Story, broken: Broken, known: set[str], functions: Any
) -> tuple[int, str, str, str]:
    """A broken story, short if its rule was not broken before in this process."""
    if broken.rule in known:
        return story.seed, broken.rule, f"again: {broken}", str(story.seed)
    known.add(broken.rule)
    short = shorten(story, functions)
    with tempfile.NamedTemporaryFile("w", prefix="story-", suffix=".json", delete=False) as file:
        file.write(short.story.to_json())
    return story.seed, broken.rule, tell(short), file.name


if __name__ == "__main__":
    sys.exit(main())
