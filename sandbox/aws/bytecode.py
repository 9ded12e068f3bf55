"""The bytecode of an archive's Python modules, added to the archive."""

import io
import zipfile
from importlib.util import cache_from_source
from pathlib import Path
from py_compile import PycInvalidationMode, PyCompileError
from py_compile import compile as compile_file
from tempfile import TemporaryDirectory


def with_bytecode(archive: bytes) -> bytes:
    """Adds `__pycache__` for each module of a zip archive; one that does not compile is left out."""
    made = io.BytesIO(archive)
    with (
        TemporaryDirectory() as folder,
        zipfile.ZipFile(io.BytesIO(archive)) as source,
        zipfile.ZipFile(made, "a", zipfile.ZIP_STORED) as target,
    ):
        there = set(source.namelist())
        for name in sorted(there):
            cached = cache_from_source(name)
            if not name.endswith(".py") or cached in there:
                continue
            path = Path(folder) / "module.py"
            path.write_bytes(source.read(name))
            try:
                # No time and no source are compared: the archive holds both, and never changes.
                compile_file(
                    str(path),
                    str(path.with_suffix(".pyc")),
                    dfile=name,
                    doraise=True,
                    invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
                )
            except PyCompileError:
                continue
            target.write(path.with_suffix(".pyc"), cached)
    return made.getvalue()
