"""Errors about the files of a what-if."""

from keyjanitor.errors import KeyjanitorError


class WhatIfError(KeyjanitorError):
    """Base of the errors that stop a what-if."""


class ValuesInFiles(WhatIfError):
    """A file holds key values: it is refused, and none of its content is repeated."""

    def __init__(self, files: list[str]) -> None:
        super().__init__(
            f"{', '.join(files)}: API key values are in there. Delete it now, and list again without "
            "--include-values, and members by --query ids only: nothing here needs a value"
        )
        self.files = files


class FolderRefused(WhatIfError):
    """A folder cannot be judged; `what` names the file or list, `why` the reason."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"{what}: {reason}")
        self.what = what
        self.reason = reason
