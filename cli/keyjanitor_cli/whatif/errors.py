"""What can be wrong with the files that people bring."""

from keyjanitor.errors import KeyjanitorError


class WhatIfError(KeyjanitorError):
    """The root of all that stops a what-if."""


class ValuesInFiles(WhatIfError):
    """A file holds key values: it is refused, and nothing of it is ever told."""

    def __init__(self, files: list[str]) -> None:
        super().__init__(
            f"{', '.join(files)}: API key values are in there. Delete it now, and list again without "
            "--include-values, and members by --query ids only: nothing here needs a value"
        )
        self.files = files


class FolderRefused(WhatIfError):
    """A folder cannot be judged: `what` of it, and why."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"{what}: {reason}")
        self.what = what
        self.reason = reason
