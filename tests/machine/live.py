"""Lives stories, finds what they break, makes the story short, and tells it."""

import json
import logging
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

from tests.machine.model import Broken
from tests.machine.settling import settle
from tests.machine.stories import Story, healed, named, write
from tests.machine.world import Virtual, World, virtual_time

POLICY = '[tiers.unclaimed]\nidle_days = "never"\n'


@dataclass(slots=True)
class Lived:
    """What came of one story."""

    story: Story
    broken: Broken | None = None
    lines: list[str] = field(default_factory=list)
    key_nights: int = 0
    ran: Counter[str] = field(default_factory=Counter)
    days: int = 0  # that were lived to the end
    settled: bool = False  # it came to its end


def load() -> dict[str, ModuleType]:
    """The functions' modules, as Lambda imports them: settings and a policy beside them."""
    from keyjanitor.adapters.settings import REQUIRED  # noqa: PLC0415

    layer = Path(tempfile.mkdtemp(prefix="machine-"))
    (layer / "keyjanitor_policy").mkdir()
    (layer / "keyjanitor_policy" / "policy.toml").write_text(POLICY)
    for names in REQUIRED.values():
        for name in names:
            os.environ.setdefault(name, "1")
    os.environ.update(
        MODE="observe",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_ACCESS_KEY_ID="nobody",
        AWS_SECRET_ACCESS_KEY="nothing",
        POWERTOOLS_SERVICE_NAME="keyjanitor",
        POWERTOOLS_METRICS_NAMESPACE="keyjanitor",
    )
    sys.path.append(os.fspath(layer))
    return {name: import_module(f"functions.{name}.app") for name in REQUIRED}


def live(story: Story, functions: Mapping[str, ModuleType]) -> Lived:
    """Lives one story; `virtual_time` has to be on."""
    world = World(setup=story.setup, functions=functions)
    streams = _to(world._out)
    lived = Lived(story, lines=world.lines, ran=world.ran)
    try:
        for day in story.days:
            for line in day:
                world.do(line)
            lived.days += 1
        lived.settled = True
        if story.settle:
            settle(world)
        if story.setup["chapters"] == ["interrupted"]:
            _compare(world, story, functions)
    except Broken as err:
        lived.broken = err
    finally:
        for handler, stream in streams:
            handler.stream = stream
    lived.key_nights = world.key_nights
    return lived


def _compare(world: World, story: Story, functions: Mapping[str, ModuleType]) -> None:
    """What was interrupted and run again ends each day where it would have ended."""
    other = World(setup=story.setup, functions=functions)
    for day in healed(story).days:
        for line in day:
            other.do(line)
    Virtual.world = world
    for number, (mine, theirs) in enumerate(zip(world.marks, other.marks, strict=False)):
        if mine != theirs:
            more, less = sorted(mine - theirs)[:4], sorted(theirs - mine)[:4]
            why = f"day {number}: it has {more}; uninterrupted it has {less}"
            raise Broken(7, "interrupted", why)


def _to(stream: TextIO) -> list[tuple[Any, TextIO]]:
    """Has all loggers write to a stream; gives those that they wrote to before."""
    root = logging.getLogger()
    if not any(isinstance(one, _Lines) for one in root.handlers):
        root.addHandler(_Lines())
    loggers = [root, *map(logging.getLogger, list(logging.Logger.manager.loggerDict))]
    changed = []
    for logger in loggers:
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler or isinstance(handler, _Lines):
                changed.append((handler, handler.stream))
                handler.stream = stream
    return changed


class _Lines(logging.StreamHandler[TextIO]):
    """The lines of loggers that have no handler of their own."""


def shorten(story: Story, functions: Mapping[str, ModuleType], seconds: float = 60) -> Lived:
    """The shortest story found, in about so many seconds, that breaks the same rule."""
    best = live(story, functions)
    if best.broken is None:
        return best
    rule = best.broken.rule
    until = time.monotonic() + seconds

    def breaks(**what: Any) -> bool:
        nonlocal best
        if time.monotonic() > until:
            return False
        lived = live(replace(best.story, **what), functions)
        if lived.broken is None or lived.broken.rule != rule:
            return False
        best = lived
        return True

    if not best.settled:
        breaks(days=best.story.days[: best.days + 1], settle=False)
    for start, size in _halves(len(best.story.days)):  # whole days, from the end on
        days = best.story.days
        breaks(days=days[:start] + days[start + size :])
    for start, size in _halves(len(best.story.setup["keys"])):  # one that stays may be renumbered
        keys = best.story.setup["keys"]
        breaks(setup={**best.story.setup, "keys": keys[:start] + keys[start + size :]})
    for index in range(len(best.story.days)):  # lines
        number = 0
        while number < len(best.story.days[index]) and time.monotonic() < until:
            days = [*best.story.days]
            days[index] = days[index][:number] + days[index][number + 1 :]
            number += not breaks(days=days)
    return best


def _halves(length: int) -> Iterator[tuple[int, int]]:
    """Parts of a list to leave out: halves, quarters and so on, each time from the end on."""
    size = max(1, length // 2)
    while size:
        for start in range(length - length % size, -1, -size):
            yield start, size
        size //= 2


def tell(lived: Lived) -> str:
    """A broken story, day by day."""
    story = lived.story
    tiers = {
        name: {k: v for k, v in tier.items() if k.endswith("_days") or k == "usage_plans"}
        for name, tier in story.setup["policy"]["tiers"].items()
    }
    lines = [
        f"seed {story.seed} ({', '.join(story.setup.get('chapters', ())) or 'no chapter'})",
        *(f"  tier {name}: {json.dumps(tier)}" for name, tier in tiers.items()),
        *(f"  key {n}: {json.dumps(key)}" for n, key in enumerate(story.setup["keys"])),
        *lived.lines,
        f"BROKEN {lived.broken}",
    ]
    return "\n".join(lines)


def lived_of(seed: int, functions: Mapping[str, ModuleType]) -> Lived:
    return live(write(seed), functions)


def main(args: Sequence[str]) -> int:
    """Lives the stories of seeds, or of a file, again: `python -m tests.machine.live 17 story.json`."""
    functions = load()
    logging.getLogger("keyjanitor").setLevel("INFO")
    failed = 0
    with virtual_time():
        for arg in args:
            if arg == "--whole":
                continue
            path = Path(arg)
            story = Story.from_json(path.read_text()) if path.exists() else named(arg)
            whole = "--whole" in args
            lived = live(story, functions) if whole else shorten(story, functions)
            failed += lived.broken is not None
            print(tell(lived) if lived.broken or whole else f"{arg}: nothing is broken")
    return min(1, failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
