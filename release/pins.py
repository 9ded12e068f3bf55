"""Reads a requirement file as pip-compile writes it with hashes. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from release.errors import LineNotPinned

_PACKAGE = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;]+)(?: ; [^\\]+)? \\"
)
_HASH = re.compile(r" {4}--hash=sha256:(?P<hash>[0-9a-f]{64})(?: \\)?")
_VIA = re.compile(r" {4}# +(?:via )?(?P<by>\S.*)?")


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of a requirement file.

    `hashes` are the SHA-256 of its files (wheels and source), in hex. `wanted_by` names the packages
    that need it; a requirement file that asks for it begins with `-r `.
    """

    name: str
    version: str
    hashes: tuple[str, ...] = ()
    wanted_by: tuple[str, ...] = ()

    @property
    def purl(self) -> str:
        """The package's URL in the form of the purl specification; names are normalized as PyPI does."""
        name = re.sub(r"[-_.]+", "-", self.name).lower()
        return f"pkg:pypi/{name}@{self.version}"


def read_pins(text: str) -> tuple[Pin, ...]:
    """The packages of a requirement file, in its order.

    Raises LineNotPinned if a line is none of a package with version, a hash, a comment.
    """
    return tuple(_pins(text))


def _pins(text: str) -> Iterator[Pin]:
    pin: Pin | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        if found := _PACKAGE.fullmatch(line):
            if pin is not None:
                yield pin
            pin = Pin(found["name"], found["version"])
        elif pin is not None and (found := _HASH.fullmatch(line)):
            pin = Pin(pin.name, pin.version, (*pin.hashes, found["hash"]), pin.wanted_by)
        elif pin is not None and (found := _VIA.fullmatch(line)):
            by = (found["by"],) if found["by"] and found["by"] != "via" else ()
            pin = Pin(pin.name, pin.version, pin.hashes, (*pin.wanted_by, *by))
        else:
            raise LineNotPinned(number, line)
    if pin is not None:
        yield pin
