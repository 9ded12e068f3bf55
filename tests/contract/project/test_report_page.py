"""The charts' library in the report is the one that npm has, byte for byte, in the version that is pinned."""

import json
import os
import re
from importlib.resources import files
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
FOLDER = files("keyjanitor.domain.report") / "page"
NPM = REPOSITORY / ".node" / "node_modules" / "uplot"
PINNED = json.loads((REPOSITORY / "requirements/npm/package.json").read_text())["dependencies"]
COPIES = {
    "uPlot.iife.min.js": "dist/uPlot.iife.min.js",
    "uPlot.min.css": "dist/uPlot.min.css",
    "uPlot.LICENSE": "LICENSE",
}


@pytest.mark.parametrize("name", COPIES)
def test_the_charts_library_is_an_unchanged_copy(name: str) -> None:
    original = NPM / COPIES[name]
    if not original.exists():
        why = ".node holds no packages of npm (make .node/.made)"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    assert (FOLDER / name).read_bytes() == original.read_bytes()


def test_its_version_is_the_pinned_one_and_the_page_names_it() -> None:
    [version] = re.findall(r"\(v([0-9.]+)\)", (FOLDER / "uPlot.iife.min.js").read_text()[:200])
    [told] = re.findall(r"uPlot ([0-9.]+) by", (FOLDER / "index.html").read_text())
    assert (version, told) == (PINNED["uplot"], PINNED["uplot"])
