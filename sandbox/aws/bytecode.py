"""The bytecode of an archive's Python modules, added to the archive."""

import io
import marshal
import zipfile
from importlib.util import MAGIC_NUMBER, cache_from_source, source_hash

# No time and no source are compared: the archive holds both, and never changes (PEP 552).
_UNCHECKED_HASH = (1).to_bytes(4, "little")


def with_bytecode(archive: bytes) -> bytes:
    """Adds `__pycache__` for each module of a zip archive; one that does not compile is left out."""
    made = io.BytesIO(archive)
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as source,
        zipfile.ZipFile(made, "a", zipfile.ZIP_STORED) as target,
    ):
        there = set(source.namelist())
        for name in sorted(there):
            cached = cache_from_source(name)
            if not name.endswith(".py") or cached in there:
                continue
            text = source.read(name)
            try:
                code = compile(text, name, "exec", dont_inherit=True)
            except (SyntaxError, ValueError):
                continue
            target.writestr(
                cached, MAGIC_NUMBER + _UNCHECKED_HASH + source_hash(text) + marshal.dumps(code)
            )
    return made.getvalue()
