"""Reads the `[[owners]]` of `policy.toml`: where keys say whose they are, and by which pattern. Pure."""

import re
from functools import partial

from keyjanitor.domain.model.owner_pattern import LONGEST_PATTERN, Refused, check_pattern
from keyjanitor.domain.model.policy import OwnerRule, alike
from keyjanitor.domain.model.policy_fields import Field, FieldTable, every_field, not_allowed
from keyjanitor.domain.model.policy_text import shown
from keyjanitor.errors import PolicyError

MOST_RULES = 20
PLACES = ("description", "name", "customer_id")
TAG = re.compile(r"tag:([\w +.:/@-]+)")


def _place(path: str, value: object) -> str:
    if isinstance(value, str):
        tag = TAG.fullmatch(value)
        if value in PLACES or (tag and alike(tag[1])):
            return value
    places = ", ".join(f'"{place}"' for place in PLACES)
    raise not_allowed(path, value, f'{places}, or "tag:" and the key of a tag, as "tag:Owner"')


def _pattern(path: str, value: object) -> str:
    allowed = (
        f"a pattern of Python's re of at most {LONGEST_PATTERN} characters, with one group "
        "(?P<owner>...), in which nothing that repeats is repeated"
    )
    if not isinstance(value, str) or not value:
        raise not_allowed(path, value, allowed)
    try:
        check_pattern(value)
    except Refused as err:
        raise PolicyError(path, f"{shown(value)} is not allowed: {err}") from None
    return value


OWNER_RULE = (
    Field(
        "from",
        _place,
        "Where a key says whose it is. A tag's key is compared without regard to case, `-` and `_`.",
        '"description"',
    ),
    Field(
        "pattern",
        _pattern,
        "What is looked for there; its group `owner` is the owner. Write it in single quotes, so that TOML "
        "leaves `\\` alone.",
        "'user_id=(?P<owner>\\S+)'",
    ),
)


def read_owners(path: str, value: object) -> tuple[OwnerRule, ...]:
    """The rules in their order; raises PolicyError with all that is wrong in them."""
    if not isinstance(value, list):
        raise not_allowed(path, value, "tables written [[owners]]")
    if len(value) > MOST_RULES:
        raise PolicyError(f"{path}[{MOST_RULES}]", f"is one too many; allowed: {MOST_RULES} rules")
    return tuple(
        every_field(partial(_rule, f"{path}[{index}]", one) for index, one in enumerate(value))
    )


def _rule(path: str, value: object) -> OwnerRule:
    table = FieldTable(path, value)
    fields = table.values(OWNER_RULE)
    table.finish()
    return OwnerRule(place=fields["from"], pattern=fields["pattern"])
