"""The layers of functions: each is unpacked once, with its bytecode, for all processes that use it."""

import hashlib
import io
import shutil
import sys
import zipfile
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from tempfile import mkdtemp
from threading import Lock
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc

from sandbox.aws.bytecode import with_bytecode

_FOLDER = "python/lib/python{}.{}/site-packages"  # of a layer: Python reads its .pth files

_spawning: ContextVar[bool] = ContextVar("spawning", default=False)


class UnpackedLayers:
    """A process of a function gets the path of what is unpacked already, at the head of its search path.

    MiniStack unpacks the layers into a new folder for each process, where Python would compile all of
    keyjanitor and Powertools; a thousand files were written and removed with each cold start.
    """

    def __init__(self) -> None:
        self._resolve: Callable[[str | dict[str, str]], bytes | None]
        self._resolve = lambda_svc._resolve_layer_zip
        self._spawn = lambda_runtime.Worker._spawn
        self._folder: Path | None = None
        self._leading: dict[str, bytes] = {}  # by the hash of what was published
        self._lock = Lock()

    def install(self) -> None:
        def spawn(worker: Any) -> None:
            self.spawn(worker)

        # MiniStack imports the first anew for each process that it starts.
        lambda_svc._resolve_layer_zip = self.resolve
        lambda_runtime.Worker._spawn = spawn

    def spawn(self, worker: Any) -> None:
        """Starts a process of a function."""
        token = _spawning.set(True)
        try:
            self._spawn(worker)
        finally:
            _spawning.reset(token)

    def resolve(self, attachment: str | dict[str, str]) -> bytes | None:
        """The archive as it was published; for a new process one that leads to what is unpacked."""
        published = self._resolve(attachment)
        if not published or not _spawning.get():
            return published
        name = hashlib.sha256(published).hexdigest()
        with self._lock:  # two functions start at once
            if name not in self._leading:
                self._leading[name] = self._unpacked(name, published)
            return self._leading[name]

    def _unpacked(self, name: str, published: bytes) -> bytes:
        if self._folder is None:
            self._folder = Path(mkdtemp(prefix="keyjanitor-layers-"))
        folder = self._folder / name
        with zipfile.ZipFile(io.BytesIO(with_bytecode(published))) as archive:
            archive.extractall(folder)
        return leading_to(folder / "python")

    def remove(self) -> None:
        """Removes what was unpacked."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None
        self._leading.clear()


def leading_to(folder: Path) -> bytes:
    """The archive of a layer that puts a folder at the head of Python's search path."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(
            f"{_FOLDER.format(*sys.version_info)}/unpacked.pth",
            f"import sys; sys.path.insert(0, {str(folder)!r})\n",
        )
    return made.getvalue()
