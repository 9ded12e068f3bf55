"""Reads `policy.toml` field by field; an error names the field and what is allowed. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import cast

from keyjanitor.domain.model.policy import (
    DESCRIPTIONS,
    TAGS,
    UNCLAIMED,
    Alerts,
    Operators,
    Owned,
    Policy,
    PressureRule,
    Sweep,
    Tier,
    alike,
)
from keyjanitor.domain.model.policy_fields import (
    Field,
    FieldTable,
    T,
    every_field,
    list_of,
    not_allowed,
    share,
    table_of,
    whole_number,
    yes_or_no,
)
from keyjanitor.domain.model.policy_owners import OWNER_RULE, read_owners
from keyjanitor.domain.model.policy_text import (
    BYTE_ORDER_MARK,
    Lines,
    decoded,
    joined,
    loaded,
    shown,
)
from keyjanitor.domain.model.policy_tier import (
    NONE,
    QUOTA,
    RATE,
    TIER,
    days,
    ids_of_principals,
    names,
    read_tier,
)
from keyjanitor.errors import Mistake, PolicyError

_NO_UNCLAIMED = "is missing: it has the keys that no tier names"


PRESSURE_RULE = (
    Field(
        "above",
        share(),
        "The share of the key limit from which on the rule applies. Each is above the one before.",
        "0.90",
    ),
    Field(
        "idle_factor",
        share(),
        "`never_used_days` and `idle_days` are multiplied by it, for what is yet to be warned; "
        "`idle_days` is not shortened below 35, for monthly jobs. Each is below the one before.",
        "0.5",
        formerly="patience",
    ),
    Field("freeze", names, "Tiers that get no new keys meanwhile.", '["external"]', NONE),
)


_pressure_rule = table_of(PressureRule, PRESSURE_RULE)


def _in_order(paths: Sequence[str], values: Sequence[float], *, rising: bool) -> None:
    mistakes = []
    for path, before, here in zip(paths[1:], values, values[1:], strict=False):
        if (here <= before) if rising else (here >= before):
            reason = (
                f"{here:g} after {before:g} is out of order; allowed: each "
                f"{'above' if rising else 'below'} the one before"
            )
            mistakes.append(Mistake(path, reason))
    if mistakes:
        raise PolicyError.of(mistakes)


def _ordered(
    read_item: Callable[[str, object], T], *, rising: bool
) -> Callable[[str, object], tuple[T, ...]]:
    def read(path: str, value: object) -> tuple[T, ...]:
        items = list_of(read_item)(path, value)
        paths = [f"{path}[{index}]" for index in range(len(items))]
        _in_order(paths, cast("tuple[float, ...]", items), rising=rising)
        return items

    return read


SWEEP = (
    Field(
        "max_share",
        share(),
        "The allowance: of one date at most `max(20, min(max_share x keys, max_keys))` keys are "
        "warned, as many disabled, as many parked and as many purged.",
        "0.05",
        0.05,
    ),
    Field("max_keys", whole_number(1, 10_000), "See `max_share`.", "500", 500),
)


_sweep = table_of(Sweep, SWEEP)


def _beginning(path: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip(" -_") or re.search(r"[*^]", value):
        raise not_allowed(path, value, "how such texts begin, letter by letter, without * and ^")
    return value


def _tag_key(path: str, value: object) -> str:
    if isinstance(value, str) and "=" in value:
        raise not_allowed(
            path, value, "the key of a tag alone: a key is marked whatever the value is"
        )
    if not isinstance(value, str) or not alike(value) or not re.fullmatch(r"[\w +.:/@-]+", value):
        raise not_allowed(
            path, value, "the key of a tag, of letters, digits, spaces and + - . _ : / @"
        )
    return value


OWNED = (
    Field(
        "descriptions",
        list_of(_beginning),
        "A key whose description is or begins with one of these is never touched.",
        '["Managed by Terraform"]',
        DESCRIPTIONS,
    ),
    Field(
        "tags",
        list_of(_tag_key),
        "A key that has a tag with one of these keys is never touched, whatever the tag's value is.",
        '["ManagedBy"]',
        TAGS,
    ),
    Field(
        "name_prefixes",
        list_of(_beginning),
        "A key whose name begins with one of these is never touched.",
        '["tf-"]',
        NONE,
    ),
)


_owned = table_of(Owned, OWNED)


def _tiers(path: str, value: object) -> Mapping[str, Tier]:
    if not isinstance(value, dict):
        raise PolicyError(f"{path}.{UNCLAIMED}", _NO_UNCLAIMED)

    def one(name: str) -> tuple[str, Tier]:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            raise not_allowed(joined(path, name), name, "a name of letters, digits, - and _")
        return name, read_tier(f"{path}.{name}", name, value[name])

    def no_unclaimed() -> tuple[str, Tier]:
        raise PolicyError(f"{path}.{UNCLAIMED}", _NO_UNCLAIMED)

    reads: list[Callable[[], tuple[str, Tier]]] = [partial(one, name) for name in value]
    return dict(every_field(reads if UNCLAIMED in value else [*reads, no_unclaimed]))


def _pressure(path: str, value: object) -> tuple[PressureRule, ...]:
    if not isinstance(value, list):
        raise not_allowed(path, value, "tables written [[pressure]]")
    there = [f"{path}[{index}]" for index in range(len(value))]
    rules = tuple(
        every_field(
            partial(_pressure_rule, one, rule) for one, rule in zip(there, value, strict=True)
        )
    )

    def in_order(field: str, *, rising: bool) -> None:
        paths = [f"{one}.{field}" for one in there]
        _in_order(paths, [getattr(rule, field) for rule in rules], rising=rising)

    every_field(
        [partial(in_order, "above", rising=True), partial(in_order, "idle_factor", rising=False)]
    )
    return rules


ALERTS = (
    Field(
        "levels",
        _ordered(share(), rising=True),
        "Shares of the key limit at which an alert is sent. Each is above the one before.",
        "[0.80, 0.90, 0.95, 0.98]",
        (0.80, 0.90, 0.95, 0.98),
    ),
    Field(
        "clear_margin",
        share(0, 0.5),
        "A level, and a pressure rule, is left only when the share is so much below it.",
        "0.03",
        0.03,
    ),
    Field(
        "days_to_limit",
        _ordered(days, rising=False),
        "Days before the day on which the forecast has the account full, at which an alert is sent. "
        "Each is below the one before.",
        "[60, 30, 14]",
        (60, 30, 14),
    ),
)


_alerts = table_of(Alerts, ALERTS)


OPERATORS = (
    Field(
        "ids",
        ids_of_principals,
        "Ids of roles or users that may ask for keys in every tier and act on every key by the queue. "
        "Who may invoke `ProvisionKeysFunction` need not be here.",
        '["AROAEXAMPLEEXAMPLE012"]',
        NONE,
    ),
)


_operators = table_of(Operators, OPERATORS)


def _named_twice(tiers: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Path and reason of each usage plan that a tier before names in the same words."""
    first: dict[str, tuple[str, str]] = {}
    for name, tier in tiers.items():
        plans = tier.get("usage_plans") if isinstance(tier, dict) else None
        for index, plan in enumerate(plans if isinstance(plans, list) else ()):
            path = joined("tiers", name) + f".usage_plans[{index}]"
            if isinstance(plan, str):
                before, there = first.setdefault(plan, (name, path))
                if before != name:
                    yield path, f"{shown(plan)} is in {there} too; a plan belongs to one tier"


def parse_policy(text: str | bytes, file: str = "policy.toml") -> Policy:
    """The policy that `text` (TOML, in UTF-8) describes; `file` is what errors call it.

    Raises PolicyError with every mistake, each with its path, what is allowed there and its line;
    what is no TOML at all is one mistake.
    """
    try:
        text = decoded(text) if isinstance(text, bytes) else text.removeprefix(BYTE_ORDER_MARK)
        return _read(loaded(text))
    except PolicyError as err:
        lines = Lines.of(text) if isinstance(text, str) else Lines({})
        raise PolicyError.of(map(lines.placed, err.mistakes), file) from err.__cause__


ROOT = (
    Field(
        "service_quota",
        whole_number(1, 10_000),
        "The key limit that shares are counted of. AWS does not raise it; a lower number makes every "
        "alert and rule come sooner, and new keys are refused at it.",
        "10_000",
        10_000,
    ),
    Field(
        "silent_plans",
        names,
        "Ids or names of usage plans that never had a request and are really unused: "
        "their keys count as idle and not as unknown.",
        '["internal"]',
        NONE,
    ),
    Field("sweep", _sweep, "How much one date may do.", "{ max_keys = 100 }", _sweep("sweep", {})),
    Field(
        "owned",
        _owned,
        "Marks of keys that other tools own. Case, `-` and `_` make no difference.",
        '{ name_prefixes = ["tf-"] }',
        _owned("owned", {}),
    ),
    Field(
        "tiers",
        _tiers,
        "The classes of keys. `unclaimed` has to be there: it has the keys that no other tier names.",
        '{ unclaimed = { idle_days = "never" } }',
    ),
    Field(
        "pressure",
        _pressure,
        "Pressure rules: nearer the key limit keys are warned sooner.",
        "[{ above = 0.90, idle_factor = 0.5 }]",
        (),
        formerly="ladder",
    ),
    Field(
        "alerts",
        _alerts,
        "When the account that fills up is alerted.",
        "{ clear_margin = 0.03 }",
        _alerts("alerts", {}),
    ),
    Field(
        "operators",
        _operators,
        "Who may act on every key by the queue, whatever tier it is in.",
        '{ ids = ["AROAEXAMPLEEXAMPLE012"] }',
        _operators("operators", {}),
    ),
    Field(
        "access_logs",
        yes_or_no,
        "Whether the access logs of the stages are asked each night which keys called, beside usage. "
        "It needs the parameter `AccessLogGroups` ([access logs](access-logs.md)).",
        "true",
        default=False,
    ),
    Field(
        "access_logs_max_gb",
        whole_number(1, 10_000),
        "What the queries of a night may look at, in GB of 10^9 bytes; AWS charges for each. A log "
        "beyond it is not asked that night, and named.",
        "50",
        10,
    ),
    Field(
        "owners",
        read_owners,
        "Rules by which it is found who the keys belong to that no request issued or assigned.",
        "[{ from = \"description\", pattern = 'user_id=(?P<owner>\\S+)' }]",
        (),
    ),
)
# The fields of every table of the file, by the path of the table: docs/policy.md is made from them.
TABLES: Mapping[str, tuple[Field, ...]] = {
    "": ROOT,
    "sweep": SWEEP,
    "owned": OWNED,
    "tiers.NAME": TIER,
    "tiers.NAME.throttle": RATE,
    "tiers.NAME.quota": QUOTA,
    "pressure[]": PRESSURE_RULE,
    "alerts": ALERTS,
    "operators": OPERATORS,
    "owners[]": OWNER_RULE,
}


def _read(document: Mapping[str, object]) -> Policy:
    root = FieldTable("", document)
    policy = Policy(**root.values(ROOT))
    if root.is_right("tiers", "service_quota"):
        reserved = sum(tier.reserve for tier in policy.tiers.values())
        if reserved > policy.service_quota:
            reason = f"reserve more than the service quota of {policy.service_quota} keys"
            root.wrong_at("tiers", reason)
    named = document.get("tiers")
    if root.is_right("pressure") and isinstance(named, dict):
        for index, rule in enumerate(policy.pressure):
            for tier_name in rule.freeze:
                if tier_name not in named:
                    reason = not_allowed("", tier_name, f"one of {sorted(named)}").reason
                    root.wrong_at(f"pressure[{index}].freeze", reason)
    if isinstance(named, dict):
        for path, reason in _named_twice(named):
            root.wrong_at(path, reason)
    root.finish()
    return policy
