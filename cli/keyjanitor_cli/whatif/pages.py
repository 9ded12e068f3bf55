"""Reads the files of a folder that `aws apigateway` was printed into, one a page.

    days.txt                      the first and the last day of use that were asked for
    api-keys.0001.json            GetApiKeys, without values
    usage-plans.0001.json         GetUsagePlans
    members.PLAN_ID.0001.json     GetUsagePlanKeys, ids only
    usage.PLAN_ID.0001.json       GetUsage
    tags.json                     GetResources of the tagging API, all pages in one

A listing is whole if its pages are numbered from 1 and each but the last says that another follows.
A page of use or of members also has to say which it is (`page`), for what `aws apigateway get-usage` prints by
itself looks like a whole answer and is the first page of several (measured: AF-304), and so does what
`--query` with `--no-paginate` leaves of members. No error
tells what a file holds.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from keyjanitor_cli.whatif.errors import FolderRefused, ValuesInFiles

Page = Mapping[str, Any]
_PAGE = re.compile(r"(api-keys|usage-plans|members|usage)(?:\.([A-Za-z0-9_-]+))?\.(\d{1,6})\.json")
# For a file that was cut off. In a JSON text these quotes would be escaped.
_VALUE = re.compile(r'(?<!\\)"value"\s*:')


@dataclass(frozen=True, slots=True)
class Listing:
    """The pages of one listing in order; `broken` says why they are not all of it (None: they are)."""

    pages: tuple[Page, ...] = ()
    broken: str | None = None


NOTHING = Listing(broken="it is not in the folder")


class Listings(Protocol):
    """Pages of an account's listings, from a folder or from the account itself."""

    def days(self) -> str: ...
    def listing(self, what: str, plan_id: str = "") -> Listing: ...
    def tags(self) -> Page | None: ...


class Folder:
    """All listings of one folder. Raises FolderRefused if there is none, and ValuesInFiles."""

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise FolderRefused(str(path), "there is no such folder")
        self._path = path
        bodies = {file.name: file.read_bytes() for file in sorted(path.iterdir()) if file.is_file()}
        files = {name: _parsed(body) for name, body in bodies.items()}
        if secret := [name for name, body in bodies.items() if _holds_values(files[name], body)]:
            raise ValuesInFiles(secret)
        self._tags = files.get("tags.json")
        self._listings = listings(files)

    def days(self) -> str:
        """The text of `days.txt`; raises FolderRefused."""
        try:
            return (self._path / "days.txt").read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            raise FolderRefused(
                "days.txt",
                f"is missing or unreadable in {self._path}: it says which days of use were asked for. "
                "`keyjanitor whatif --save FOLDER` reads the account and writes such a folder",
            ) from None

    def listing(self, what: str, plan_id: str = "") -> Listing:
        """All pages of `api-keys` or `usage-plans`, or of a plan's `members` or `usage`."""
        return self._listings.get((what, plan_id), NOTHING)

    def tags(self) -> Page | None:
        """Answer of the tagging API, read to its last page; None: not known."""
        tags = self._tags
        whole = isinstance(tags, Mapping) and not any(
            map(tags.get, ("PaginationToken", "NextToken"))
        )
        return tags if whole else None


@dataclass(frozen=True, slots=True)
class _Unread:
    """A file that is cut off, is not JSON, or holds more than one document (`several`)."""

    several: bool = False


def _parsed(body: bytes) -> Any:
    """Content of a file; `_Unread` if it is not one JSON document."""
    try:
        text = body.decode(json.detect_encoding(body))
        content, end = json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return _Unread()
    rest = text.lstrip()[end:].strip()
    return _Unread(several=rest[0] in "{[") if rest else content


def _holds_values(content: Any, body: bytes) -> bool:
    if isinstance(content, _Unread):
        return bool(_VALUE.search(body.decode(json.detect_encoding(body), errors="replace")))
    return _names_value(content)


def _names_value(content: Any) -> bool:
    """True if there is a field `value` outside of tags; a tag may have any name."""
    waiting = [content]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            if "value" in one:
                return True
            waiting += [inner for name, inner in one.items() if name not in ("tags", "Tags")]
        elif isinstance(one, list):
            waiting += one
    return False


def listings(files: Mapping[str, Any]) -> dict[tuple[str, str], Listing]:
    """The listings that some files hold, by what is listed and of which plan (else "")."""
    numbered: dict[tuple[str, str], dict[int, Any]] = {}
    for name, content in files.items():
        if fits := _PAGE.fullmatch(name):
            what, plan_id, number = fits.groups()
            numbered.setdefault((what, plan_id or ""), {})[int(number)] = content
    return {
        key: _listing(
            ".".join(filter(None, key)),
            [pages.get(number + 1) for number in range(max(pages))],
            merged=key[0] not in ("usage", "members"),
        )
        for key, pages in numbered.items()
    }


def _listing(name: str, pages: Sequence[Any], *, merged: bool) -> Listing:
    """The listing that its pages make, in files called `name`; `merged`: one may hold several pages."""
    seen: set[str] = set()
    for number, page in enumerate(pages, 1):
        last = number == len(pages)
        if not isinstance(page, Mapping):
            return Listing(broken=_why_no_page(f"{name}.{number:04}.json", number, page))
        if page.get("page", str(number) if merged else None) != str(number):
            return Listing(
                broken=f"page {number} was not printed by itself, as docs/whatif.md has it"
            )
        position = page.get("position")
        if last and (position or page.get("NextToken")):
            return Listing(broken=f"page {number} says that another follows, and none is there")
        if not last and not position:
            return Listing(broken=f"page {number} says that it is the last, and another follows")
        if not isinstance(position, str | None) or position in seen:
            return Listing(broken=f"page {number} announces a page that was announced before")
        seen.add(position or "")
    return Listing(tuple(pages))


def _why_no_page(file: str, number: int, content: Any) -> str:
    """Why a file holds no page of a listing."""
    if content is None or content == _Unread():
        return f"page {number} is missing, or it is cut off"
    if isinstance(content, _Unread):
        return f"{file} holds more than one JSON document: one file a page, docs/whatif.md"
    kind = "a list" if isinstance(content, list) else "something else than an object"
    return f"{file} holds {kind}; it wants the object that the CLI prints, docs/whatif.md"
