"""Finds who a key belongs to, by the rules of `[[owners]]` in `policy.toml`. Pure."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from keyjanitor.domain.model.key_values import holds_a_value
from keyjanitor.domain.model.keys import ApiKey
from keyjanitor.domain.model.owner_pattern import LONGEST_TEXT
from keyjanitor.domain.model.policy import OwnerRule, alike
from keyjanitor.domain.model.records import OwnerFrom, Row
from keyjanitor.domain.model.safe_text import HIDDEN

TAG = "tag:"


class FoundOwner(NamedTuple):
    """An owner, and the number of the rule that found it, from 0."""

    owner: str
    rule: int


class OwnerRules:
    """The rules of a policy, the first that fits first; false if there is none."""

    def __init__(self, rules: Sequence[OwnerRule]) -> None:
        self._rules = tuple(
            (one.place, alike(one.place.removeprefix(TAG)), re.compile(one.pattern).search)
            for one in rules
        )

    def __bool__(self) -> bool:
        return bool(self._rules)

    def find(self, key: ApiKey) -> FoundOwner | None:
        """The owner of a key; None if no rule fits, or its tags are needed and not known.

        The first LONGEST_TEXT characters of a text are looked at. What is empty, holds a character that
        does not show, or looks like a key's value, is no owner: the next rule is tried.
        """
        for number, (place, tag, search) in enumerate(self._rules):
            text = _text(place, tag, key)
            if text is None:
                return None  # a later rule may not overtake one that cannot be asked
            if text and (found := search(text[:LONGEST_TEXT])):
                owner = found["owner"].strip()
                if owner and not HIDDEN.search(owner) and not holds_a_value(owner, of_an_id=True):
                    return FoundOwner(owner, number)
        return None


def text_at(place: str, key: ApiKey) -> str | None:
    """The text of a key at a rule's place, empty if it has none; None if its tags are not known."""
    return _text(place, alike(place.removeprefix(TAG)), key)


def _text(place: str, tag: str, key: ApiKey) -> str | None:
    match place:
        case "description":
            return key.description
        case "name":
            return key.name
        case "customer_id":
            return key.customer_id
        case _ if key.tags is None:
            return None
        case _:
            return next((key.tags[one] for one in sorted(key.tags) if alike(one) == tag), "")


def is_open(row: Row) -> bool:
    """True if rules may say who the key belongs to: no request did.

    A key that was issued is asked about no rule, even if its owner is not known: its description and
    name are keyjanitor's.
    """
    return not row.issued and (row.owner is None or row.owner_from is OwnerFrom.FOUND)


def owner_from(row: Row) -> OwnerFrom | None:
    """How it is known who the key belongs to; None if it is not.

    A row of an earlier version does not say it: its key was issued, or a later version had assigned it.
    """
    if row.owner is None:
        return None
    return row.owner_from or (OwnerFrom.ISSUED if row.issued else OwnerFrom.ASSIGNED)
