"""What stops a release; each error says what is wrong and what to do."""


class ReleaseError(Exception):
    """A release cannot be made, or its check could not be carried out."""


class LineNotPinned(ReleaseError):
    """A line of a requirement file is not of the form that pip-compile writes with hashes."""

    def __init__(self, number: int, line: str) -> None:
        super().__init__(f"line {number} pins no package with its hashes: {line!r}; run make lock")
        self.number, self.line = number, line


class TagIsNotTheVersion(ReleaseError):
    """The tag that starts a release names another version than the code."""

    def __init__(self, tag: str, version: str) -> None:
        super().__init__(
            f"the tag is {tag!r} and the version of the code is {version}: a release needs the tag "
            f"v{version}, or another __version__ (docs/versions.md)"
        )
        self.tag, self.version = tag, version


class NoNotes(ReleaseError):
    """CHANGELOG.md has no part for a version, or the part has no date yet."""

    def __init__(self, version: str) -> None:
        super().__init__(f"CHANGELOG.md has no part '## {version} (YYYY-MM-DD)' with a text")
        self.version = version


class NotBuilt(ReleaseError):
    """The folder that SAM builds into lacks something that belongs to a release."""

    def __init__(self, missing: str) -> None:
        super().__init__(f"there is no {missing}: run make build first")
        self.missing = missing


class NotValid(ReleaseError):
    """A document does not fit CycloneDX's schema."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"the list of packages does not fit CycloneDX's schema: {problem}")
        self.problem = problem
