"""Finds where the keys of an account say whose they are, as rules for `[[owners]]`. Pure."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from keyjanitor.domain.model.key_values import holds_a_value
from keyjanitor.domain.model.keys import ApiKey
from keyjanitor.domain.model.owner_pattern import LONGEST_PATTERN
from keyjanitor.domain.model.owner_rules import TAG, OwnerRules, text_at
from keyjanitor.domain.model.policy import OwnerRule, alike
from keyjanitor.domain.model.policy_owners import TAG as TAG_PLACE

_TAGS = frozenset(
    {"owner", "team", "squad", "contact", "maintainer", "email", "customer", "customerid", "userid"}
)
_LABEL = re.compile(
    r"\b((?:user|owner|customer|client|account|team)(?:[_ -]?(?:id|name|email))?)\s*([=:])\s*\S",
    re.IGNORECASE,
)
_MAIL = r"(?P<owner>[\w.+-]+@[\w-]+\.[\w.-]+)"
_STAGES = "dev|test|qa|uat|stage|staging|preprod|prod|production|live|sandbox"
_NAME = re.compile(rf"([a-z0-9]+(?:[-_][a-z0-9]+)+)[-_](?:{_STAGES})", re.IGNORECASE)
_FEWEST = 3  # keys whose names are alike


@dataclass(frozen=True, slots=True)
class SuggestedRule:
    """A rule, how many keys it finds an owner of, and how many have a text at that place."""

    rule: OwnerRule
    keys: int
    of: int

    @property
    def is_usual(self) -> bool:
        """Whether it finds an owner in most texts of its place: then it is suggested, else only shown."""
        return 2 * self.keys > self.of


def owner_rules_of(keys: Sequence[ApiKey]) -> tuple[SuggestedRule, ...]:
    """A rule for each way in which keys say whose they are: tags first, then customer ids, descriptions, names."""
    found = []
    for rule in dict.fromkeys(_candidates(keys)):
        finds = OwnerRules((rule,)).find
        fits = sum(finds(key) is not None for key in keys)
        if fits:
            of = sum(bool(text_at(rule.place, key)) for key in keys)
            found.append(SuggestedRule(rule, fits, of))
    return tuple(found)


def says_whose(keys: Iterable[ApiKey], rules: Sequence[SuggestedRule]) -> int:
    """How many keys any of these rules finds an owner of."""
    finds = OwnerRules([one.rule for one in rules]).find
    return sum(finds(key) is not None for key in keys)


def _candidates(keys: Sequence[ApiKey]) -> Iterator[OwnerRule]:
    tags = Counter(tag for key in keys for tag in key.tags or () if alike(tag) in _TAGS)
    for tag in sorted(tags, key=lambda one: (-tags[one], one)):
        if TAG_PLACE.fullmatch(f"{TAG}{tag}"):
            yield OwnerRule(f"{TAG}{tag}", "(?P<owner>.+)")
    yield OwnerRule("customer_id", "(?P<owner>.+)")
    labels: Counter[tuple[str, str]] = Counter()
    for key in keys:
        if named := _LABEL.search(key.description):
            labels[named[1], named[2]] += 1
    for label, sign in sorted(labels, key=lambda one: (-labels[one], one)):
        yield OwnerRule("description", rf"\b{label}\s*{sign}\s*(?P<owner>[^\s,;]+)")
    yield from _of_names(keys)
    yield OwnerRule("name", _MAIL)


def _of_names(keys: Iterable[ApiKey]) -> Iterator[OwnerRule]:
    """Names such as `api-key-SERVICE-STAGE`: what is between the words that all share and the stage."""
    alike_names: dict[str, set[str]] = defaultdict(set)
    for key in keys:
        if (named := _NAME.fullmatch(key.name)) and not holds_a_value(key.name):
            alike_names[re.split("[-_]", named[1])[0]].add(named[1])
    for _, names in sorted(alike_names.items()):
        if len(names) < _FEWEST:
            continue
        shared = _shared(sorted(names))
        pattern = rf"^{shared}(?P<owner>.+)[-_](?:{_STAGES})$"
        if shared and len(pattern) <= LONGEST_PATTERN:
            yield OwnerRule("name", pattern)


def _shared(names: Sequence[str]) -> str:
    """The words with which all of these names begin, and the sign behind them; each has a word more."""
    split = [re.split("([-_])", name) for name in names]
    shared = []
    for parts in zip(*(one[:-1] for one in split), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "".join(shared[: len(shared) - len(shared) % 2])
