"""Texts whose ids and names are known as such, so that a file for others has tokens in their place. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from keyjanitor.domain.model.key_ids import shown_id


@dataclass(frozen=True, slots=True)
class Named:
    """An id or a name of the account: `kind` is what it is of, such as `key` or `plan`."""

    kind: str
    text: str


Phrase = tuple[str | Named, ...]


def said(*parts: str | Named) -> Phrase:
    """A phrase of these parts."""
    return parts


def names(kind: str, texts: Iterable[str], most: int = 3) -> Phrase:
    """The first of some ids or names, and how many more there are."""
    every = list(texts)
    parts: list[str | Named] = []
    for text in every[:most]:
        parts += [", "] if parts else []
        parts.append(Named(kind, text))
    if len(every) > most:
        parts.append(f" and {len(every) - most:,} more")
    return tuple(parts)


def plain(phrase: Phrase) -> str:
    """The phrase for whom the account belongs to; an id that may be a value is its digest."""
    return "".join(
        part if isinstance(part, str) else shown_id(part.text) if part.kind == "key" else part.text
        for part in phrase
    )


class Tokens:
    """The tokens of one document: the same id has the same token everywhere in it."""

    def __init__(self) -> None:
        self._tokens: dict[Named, str] = {}
        self._counts: dict[str, int] = {}

    def of(self, named: Named) -> str:
        """The token of an id or a name: `<key:1>`."""
        if named not in self._tokens:
            self._counts[named.kind] = self._counts.get(named.kind, 0) + 1
            self._tokens[named] = f"<{named.kind}:{self._counts[named.kind]}>"
        return self._tokens[named]

    def text(self, phrase: Phrase) -> str:
        """The phrase with tokens for all that is named."""
        return "".join(part if isinstance(part, str) else self.of(part) for part in phrase)
