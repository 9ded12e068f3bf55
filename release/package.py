"""Puts what `sam build` made into one file that can be deployed without a checkout and without a build.

`python -m release.package FILE` (`make package`). The file holds one folder: the template, the functions,
the two built layers, what operators send, and the docs. docs/versions.md says how it is deployed.
"""

import os
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from keyjanitor import __version__
from release.errors import NotBuilt, ReleaseError

REPOSITORY = Path(__file__).parents[1]
BUILD = REPOSITORY / ".aws-sam" / "build"
LAYERS = ("KeyjanitorLayer", "PolicyLayer")
COPIED = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "samconfig.toml",
)
FOLDERS = ("deploy", "docs", "events", "functions", "sender")
KINDS = {
    ".json",
    ".md",
    ".png",
    ".py",
    ".svg",
    ".tf",
    ".yaml",
}  # of the files in FOLDERS; no caches
FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # of every file: the same tree gives the same bytes

Files = dict[str, bytes]


def gather(repository: Path, build: Path) -> Files:
    """The files of a release by their path in its folder; raises NotBuilt.

    SAM writes the functions' paths as seen from the build folder; in the release they lie beside the
    template.
    """
    template = build / "template.yaml"
    if not template.is_file():
        raise NotBuilt(template.name)
    text = template.read_text(encoding="utf-8").replace(
        f"{os.path.relpath(repository, build)}/", ""
    )
    files = {"template.yaml": text.encode()}
    for layer in LAYERS:
        if not (build / layer / "python").is_dir():
            raise NotBuilt(layer)
        files |= _files(build, _below(build / layer))
    for folder in FOLDERS:
        files |= _files(repository, (f for f in _below(repository / folder) if f.suffix in KINDS))
    return files | _files(repository, (repository / name for name in COPIED))


def _below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _files(start: Path, paths: Iterable[Path]) -> Files:
    return {path.relative_to(start).as_posix(): path.read_bytes() for path in paths}


def write(path: Path, folder: str, files: Files) -> None:
    """Writes a zip file with the files in one folder, sorted, readable by all and dated alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(f"{folder}/{name}", FIRST_DATE)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)


def main(name: str) -> int:
    """Writes the file; 1: something is not built."""
    try:
        files = gather(REPOSITORY, BUILD)
    except ReleaseError as err:
        print(err, file=sys.stderr)
        return 1
    write(Path(name), f"keyjanitor-{__version__}", files)
    print(f"{name}: {len(files)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
