"""Finds which tools the keys of an account name: in tags, descriptions and names. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from keyjanitor.domain.expiry.ownership import STACK_TAG, is_tagged_to_keep
from keyjanitor.domain.model.keys import ApiKey
from keyjanitor.domain.model.policy import DESCRIPTIONS, TAGS, Owned, alike

Found = TypeVar("Found", str, tuple[str, str])
SHIPPED = Owned(DESCRIPTIONS, TAGS, ())

_TOOLS = (
    "terraform|terragrunt|opentofu|tofu|pulumi|crossplane|cdk|cdktf|serverless|ansible|chef|puppet|"
    "helm|argocd|fluxcd|jenkins|gitlab|spinnaker|atlantis|spacelift|env0|scalr|sst|amplify|copilot"
)
_TOOL = re.compile(rf"(?<![a-z])({_TOOLS})(?![a-z])", re.IGNORECASE)
_MADE_BY = re.compile(
    rf"(managed|created|provisioned|generated|deployed|made) (by|with|via|from) ({_TOOLS})(?![a-z])",
    re.IGNORECASE,
)
_MADE_BY_NAME = re.compile(rf"({_TOOLS}|tf|sls)[-_]", re.IGNORECASE)
_TAG_KEY = re.compile(r"[\w +.:/@-]+")


@dataclass(frozen=True, slots=True)
class Marks:
    """How many keys bear which mark of another tool; each number counts keys.

    `known` are marks that the shipped policy knows, `new` those that it does not know and that
    name a tool: by the list of `[owned]` that they belong to, and by what is written there.
    """

    known: Mapping[tuple[str, str], int] = field(default_factory=dict)
    new: Mapping[tuple[str, str], int] = field(default_factory=dict)
    stacks: int = 0
    kept: int = 0

    def owned(self) -> Owned:
        """The marks for `[owned]`: the shipped ones, and after them those that were found."""
        return Owned(
            descriptions=(*DESCRIPTIONS, *self._new("descriptions")),
            tags=(*TAGS, *self._new("tags")),
            name_prefixes=self._new("name_prefixes"),
        )

    def _new(self, kind: str) -> tuple[str, ...]:
        return tuple(value for of, value in self.new if of == kind)


def marks_of(keys: Iterable[ApiKey]) -> Marks:
    """The marks on some keys. A key with several is counted once: stack, `keyjanitor:keep`, mark."""
    known: Counter[tuple[str, str]] = Counter()
    new: Counter[tuple[str, str]] = Counter()
    written: dict[tuple[str, str], str] = {}
    stacks = kept = 0
    for key in keys:
        if (key.tags or {}).get(STACK_TAG):
            stacks += 1
        elif is_tagged_to_keep(key):
            kept += 1
        elif mark := next(_known_marks(key), None):
            known[mark] += 1
        elif found := next(_new_marks(key), None):
            kind, value = found
            first = written.setdefault((kind, alike(value)), value)
            written[kind, alike(value)] = min(first, value)
            new[kind, alike(value)] += 1
    spelled = Counter({(kind, written[kind, value]): n for (kind, value), n in new.items()})
    return Marks(_most_first(known), _most_first(spelled), stacks, kept)


def _most_first(counts: Counter[Found]) -> dict[Found, int]:
    """Counts in an order that does not depend on that of the keys."""
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def _known_marks(key: ApiKey) -> Iterator[tuple[str, str]]:
    for tag in SHIPPED.tags:
        if any(alike(one) == alike(tag) for one in key.tags or ()):
            yield "tags", tag
    for begins in SHIPPED.descriptions:
        if alike(key.description).startswith(alike(begins)):
            yield "descriptions", begins


def _new_marks(key: ApiKey) -> Iterator[tuple[str, str]]:
    for tag in sorted(key.tags or ()):
        if _TOOL.search(tag) and _TAG_KEY.fullmatch(tag) and not tag.startswith("aws:"):
            yield "tags", tag
    if made := _MADE_BY.match(key.description):
        yield "descriptions", made[0]
    if made := _MADE_BY_NAME.match(key.name):
        yield "name_prefixes", made[0]
