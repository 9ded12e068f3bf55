"""Holds a tag against the version and prints its part of the changelog: `python -m release.notes TAG`."""

import re
import sys
from pathlib import Path

from keyjanitor import __version__
from release.errors import NoNotes, ReleaseError, TagIsNotTheVersion

CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"


def check_tag(tag: str, version: str) -> None:
    """Raises TagIsNotTheVersion unless the tag is the version with a `v` before it."""
    if tag != f"v{version}":
        raise TagIsNotTheVersion(tag, version)


def notes(version: str, changelog: str) -> str:
    """The text below a version's dated heading in the changelog; raises NoNotes."""
    heading = rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$\n(?P<text>.*?)(?=^## |\Z)"
    found = re.search(heading, changelog, flags=re.M | re.S)
    if found is None or not found["text"].strip():
        raise NoNotes(version)
    return found["text"].strip() + "\n"


def main(tag: str) -> int:
    """Prints the notes of a tag; 1: the tag or the changelog is not of this version."""
    try:
        check_tag(tag, __version__)
        print(notes(__version__, CHANGELOG.read_text(encoding="utf-8")), end="")
    except ReleaseError as err:
        print(err, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
