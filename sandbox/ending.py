"""The last screen of `make demo`: what would have been, what was done, and that no key in use was touched."""

import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.driver.client import REPOSITORY
from sandbox.driver.life import Life
from sandbox.driver.population import Kind

WIDTH = 80
_LABEL = 14
GROUPS: dict[str, frozenset[Kind]] = {
    "sign-ups that were dropped or never used": frozenset({Kind.ABANDONED, Kind.NEVER_USED}),
    "in no usage plan": frozenset({Kind.ORPHAN}),
    "made by Terraform or a stack": frozenset({Kind.TERRAFORM, Kind.STACK}),
    "disabled by a person before": frozenset({Kind.DISABLED_BY_HAND}),
}
IN_USE = "in use, on most days or once a month"


def width_of_a_screen() -> int:
    """Columns of the terminal, 80 at least; 80 if the output goes elsewhere."""
    return max(WIDTH, shutil.get_terminal_size().columns) if sys.stdout.isatty() else WIDTH


@dataclass(frozen=True, slots=True)
class Ending:
    """All that the last screen says; `back` is a key's id, and the API's status before and after."""

    nights: int
    limit: int
    began_with: int
    joined: int
    left: int
    did: Mapping[str, int]
    braked: Mapping[str, Any]
    undone: Mapping[str, int]
    held: int  # nights
    answered: tuple[int, int]
    wronged: int
    turned_away: int
    back: tuple[str, int, int]
    life: Life
    places: Mapping[str, Path]

    def lines(self) -> Iterator[str]:
        """The screen, at most 24 lines of 80 columns."""
        yield f"-- {self.nights} nights ".ljust(WIDTH, "-")
        for label, *texts in (self._without(), self._with(), self._done(), self._stopped()):
            yield from _labelled(label, texts)
        issued, refused = self.answered
        yield from _labelled("Requests", [f"{issued} keys issued at night, {refused} refused"])
        yield from _labelled("In use", [f"{self.wronged} keys in use were disabled or parked"])
        yield from _labelled("Back", self._back())
        yield ""
        yield from self._table()
        yield ""
        for what, where in self.places.items():
            yield f"{_shown(where):29} {what}"

    def _without(self) -> tuple[str, ...]:
        number = self.began_with + self.joined
        a_day = self.joined / self.nights
        days = max(0, round((self.limit - number) / a_day))
        return (
            "Without it",
            f"{number:,} keys: the {self.began_with:,} of before and {self.joined:,} new ones;",
            f"at {a_day:.0f} new keys a day, {self.limit:,} are reached in {days} days",
        )

    def _with(self) -> tuple[str, ...]:
        return "With it", f"{self.left:,} keys"

    def _done(self) -> tuple[str, ...]:
        did = self.did
        return (
            "Done",
            f"{did['warn']:,} warned, {did['disable']:,} disabled, {did['park']:,} parked (they can come back)",
        )

    def _stopped(self) -> tuple[str, ...]:
        new = self.braked.get("new", 0)
        enabled, restored = self.undone.get("enable", 0), self.undone.get("restore", 0)
        return (
            "Stopped",
            f"{new:,} keys that a slip in the policy made idle: the safety brake",
            f"a hold of {_nights(self.held)}; a night undone: {enabled} keys enabled, {restored} restored",
        )

    def _back(self) -> list[str]:
        _, before, after = self.back
        return [
            f"a parked key came back: the API answered it {before}, and now {after};",
            f"{self.turned_away} owners returned after months, and can have theirs back too",
        ]

    def _table(self) -> Iterator[str]:
        yield f"{'keys, by what they really are':42}{'all':>8}{'kept':>8}{'disabled':>10}{'parked':>8}"
        others = frozenset(Kind) - frozenset[Kind]().union(*GROUPS.values())
        for name, kinds in {IN_USE: others, **GROUPS}.items():
            ids = {key_id for key_id, key in self.life.keys.items() if key.kind in kinds}
            parked = len(ids & self.life.parked_on.keys())
            shut = len(ids & self.life.disabled_on.keys()) - parked
            kept = len(ids) - shut - parked
            yield f"{name:42}{len(ids):8,}{kept:8,}{shut:10,}{parked:8,}"


def _labelled(label: str, texts: list[str] | tuple[str, ...]) -> Iterator[str]:
    for number, text in enumerate(texts):
        yield f"{label if number == 0 else '':{_LABEL}}{text}"


def _nights(number: int) -> str:
    return f"{number} night{'s' if number != 1 else ''}"


def _shown(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))
