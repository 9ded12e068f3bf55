"""Writes what runs in an account as CycloneDX 1.6: `python -m release.sbom FILE` (`make sbom`).

It lists the packages of the layer, which `layers/keyjanitor/requirements.txt` pins, and the script
that the report's page carries.
"""

import hashlib
import json
import re
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keyjanitor import __version__
from release.errors import NotValid, ReleaseError
from release.pins import Pin, read_pins

REPOSITORY = Path(__file__).parents[1]
LAYER = REPOSITORY / "layers" / "keyjanitor"
# The one file of others that is in the repository itself: the charts of the report.
CHARTS = "uPlot.iife.min.js"
_CHARTS_VERSION = re.compile(rb"/\*! https://github\.com/leeoniya/uPlot \(v(\d+\.\d+\.\d+)\) \*/")


def document(version: str, pins: Sequence[Pin], charts: bytes) -> dict[str, Any]:
    """The list of a version's packages; the same for the same input, so it has no date."""
    root = f"pkg:generic/keyjanitor@{version}"
    script = _charts(charts)
    parts: dict[str, Any] = {
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": "keyjanitor",
                "version": version,
                "purl": root,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": [*map(_library, pins), script],
        "dependencies": [
            {
                "ref": root,
                "dependsOn": sorted(
                    [*(pin.purl for pin in pins if _is_direct(pin)), script["purl"]]
                ),
            },
            *({"ref": pin.purl, "dependsOn": _needs(pin, pins)} for pin in pins),
            {"ref": script["purl"], "dependsOn": []},
        ],
    }
    content = json.dumps(parts, sort_keys=True)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        **parts,
    }


def _library(pin: Pin) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": pin.purl,
        "name": pin.name,
        "version": pin.version,
        "scope": "required",
        "hashes": [{"alg": "SHA-256", "content": one} for one in pin.hashes],
        "purl": pin.purl,
    }


def _charts(script: bytes) -> dict[str, Any]:
    """The script of the report's charts, by the version in its first line."""
    found = _CHARTS_VERSION.match(script)
    if found is None:
        raise ReleaseError(f"the first line of {CHARTS} names no version of uPlot")
    purl = f"pkg:npm/uplot@{found[1].decode()}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": "uplot",
        "version": found[1].decode(),
        "scope": "required",
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(script).hexdigest()}],
        "licenses": [{"license": {"id": "MIT"}}],
        "purl": purl,
    }


def _is_direct(pin: Pin) -> bool:
    return any(by.startswith("-r ") for by in pin.wanted_by)


def _needs(pin: Pin, pins: Sequence[Pin]) -> list[str]:
    return sorted(other.purl for other in pins if pin.name in other.wanted_by)


def check(text: str) -> None:
    """Holds a document against CycloneDX's strict schema of 1.6; raises NotValid."""
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415  # in .venv-audit alone
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem is not None:
        raise NotValid(str(problem))


def of_this_tree() -> dict[str, Any]:
    """The list of the version in this tree."""
    pins = read_pins((LAYER / "requirements.txt").read_text(encoding="utf-8"))
    [charts] = LAYER.rglob(CHARTS)
    return document(__version__, pins, charts.read_bytes())


def main(name: str) -> int:
    """Writes and checks the list; 1: it could not be made, or does not fit the schema."""
    try:
        made = of_this_tree()
        text = json.dumps(made, indent=2) + "\n"
        check(text)
    except ReleaseError as err:
        print(err, file=sys.stderr)
        return 1
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(f"{path}: {len(made['components'])} packages, valid CycloneDX 1.6")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
