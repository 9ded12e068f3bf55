"""Which owners the rules of a policy find of an account's keys. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from keyjanitor.domain.model.owner_rules import OwnerRules
from keyjanitor.domain.model.policy import OwnerRule
from keyjanitor.domain.model.safe_text import harmless
from keyjanitor_cli.whatif.verdicts import Judged
from keyjanitor_cli.words import many

EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class RuleFinds:
    """What one rule finds: keys, owners, and the first of them as (key id, owner)."""

    rule: OwnerRule
    keys: int
    owners: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class OwnersFound:
    """What all rules find. `above` are owners with more keys in a tier than `max_keys_per_owner`."""

    rules: tuple[RuleFinds, ...]
    keys: int
    without: int
    above: int


def owners_found(judged: Judged) -> OwnersFound:
    """The owners that the first night would write into the ledger, by rule."""
    policy = judged.bound.policy
    rules = OwnerRules(policy.owners)
    by_rule: dict[int, list[tuple[str, str]]] = {}
    held: Counter[tuple[str, str]] = Counter()
    for verdict in sorted(judged.plan.verdicts, key=lambda one: one.key.key_id):
        if found := rules.find(verdict.key):
            by_rule.setdefault(found.rule, []).append((verdict.key.key_id, found.owner))
            held[verdict.tier.name, found.owner] += 1
    keys = len(judged.plan.verdicts)
    limit = {name: tier.max_keys_per_owner for name, tier in policy.tiers.items()}
    above = {owner for (tier, owner), number in held.items() if number > limit[tier]}
    return OwnersFound(
        rules=tuple(
            _finds(rule, by_rule.get(number, ())) for number, rule in enumerate(policy.owners)
        ),
        keys=keys,
        without=keys - held.total(),
        above=len(above),
    )


def _finds(rule: OwnerRule, found: Sequence[tuple[str, str]]) -> RuleFinds:
    first = {owner: (key_id, owner) for key_id, owner in reversed(found)}
    examples = tuple(sorted(first.values())[:EXAMPLES])
    return RuleFinds(rule, len(found), len(first), examples)


def table(found: OwnersFound) -> Table:
    """A row a rule; owners are hostile text, so they are never markup."""
    table = Table()
    table.add_column("rule of [[owners]]", overflow="fold")
    for name in ("keys", "owners"):
        table.add_column(name, justify="right")
    table.add_column("for example", overflow="ellipsis", no_wrap=True)
    for one in found.rules:
        examples = Text("\n").join(
            Text(f"{harmless(key_id, 24)}: {harmless(owner, 40)}") for key_id, owner in one.examples
        )
        rule = Text(harmless(f"{one.rule.place}: {one.rule.pattern}", 240))
        table.add_row(rule, f"{one.keys:,}", f"{one.owners:,}", examples)
    table.add_row("no rule finds one", f"{found.without:,}", "", "")
    return table


def sentence(found: OwnersFound) -> str:
    """What follows for owners who ask for keys; empty if nothing does."""
    if not found.above:
        return ""
    have = "has" if found.above == 1 else "have"
    return (
        f"{many(found.above, 'owner')} {have} more keys in a tier than its max_keys_per_owner: requests "
        "for new ones will be refused."
    )


def document(found: OwnersFound) -> dict[str, Any]:
    """The same for programs."""
    return {
        "rules": [
            {
                "from": one.rule.place,
                "pattern": one.rule.pattern,
                "keys": one.keys,
                "owners": one.owners,
                "examples": [{"key_id": key_id, "owner": owner} for key_id, owner in one.examples],
            }
            for one in found.rules
        ],
        "without": found.without,
        "above_limit": found.above,
    }
