"""Layers in the sandbox carry their bytecode, and are otherwise what was published."""

import io
import marshal
import zipfile
from importlib.util import cache_from_source

from sandbox.aws.bytecode import with_bytecode

UNCHECKED_HASH = (1).to_bytes(4, "little")  # PEP 552: no time and no source is compared


def an_archive(**files: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return made.getvalue()


def test_an_archive_keeps_its_files_and_has_the_bytecode_of_each_module_that_compiles() -> None:
    files = {"python__one.py": "ONE = 1", "python__two.py": "two = (", "python__page.html": "<p>"}
    published = an_archive(**files)
    with zipfile.ZipFile(io.BytesIO(with_bytecode(published))) as archive:
        names = archive.namelist()
        contents = {name: archive.read(name) for name in names}
    (bytecode,) = set(names) - {"python/one.py", "python/two.py", "python/page.html"}
    assert len(names) == 4
    assert bytecode == cache_from_source("python/one.py")
    assert contents["python/one.py"] == b"ONE = 1"
    assert contents[bytecode][4:8] == UNCHECKED_HASH
    found: dict[str, int] = {}
    exec(marshal.loads(contents[bytecode][16:]), found)
    assert found["ONE"] == 1


def test_an_archive_that_has_its_bytecode_stays_as_it_is() -> None:
    once = with_bytecode(an_archive(**{"python__one.py": "ONE = 1", "readme": ""}))
    with zipfile.ZipFile(io.BytesIO(with_bytecode(once))) as archive:
        assert len(archive.namelist()) == len(set(archive.namelist())) == 3
