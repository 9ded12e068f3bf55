"""Reads `policy.toml` field by field; an error names the field and what is allowed. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import cast

from keyjanitor.domain.model.policy import (
    DESCRIPTIONS,
    MOST_DAYS,
    TAGS,
    UNCLAIMED,
    Alerts,
    Never,
    Owned,
    Policy,
    Quota,
    Rate,
    Rung,
    Sweep,
    Tier,
    alike,
)
from keyjanitor.domain.model.policy_fields import (
    FieldTable,
    T,
    every_field,
    list_of,
    not_allowed,
    share,
    text_field,
    whole_number,
)
from keyjanitor.domain.model.policy_text import (
    BYTE_ORDER_MARK,
    Lines,
    decoded,
    joined,
    loaded,
    shown,
)
from keyjanitor.errors import Mistake, PolicyError

METHODS = 20  # that a usage plan may throttle by themselves (doc: AF-104)


_NONE: tuple[str, ...] = ()
_NO_UNCLAIMED = "is missing: it has the keys that no tier names"
# The id of a role or a user; those of other kinds send no messages (doc: AF-407).
_UNIQUE_ID = re.compile(r"(AROA|AIDA)[A-Z0-9]{12,124}")
_days = whole_number(1, MOST_DAYS, " of days")
_names = list_of(text_field())
_stages = list_of(
    text_field(r"[a-z0-9]+:[A-Za-z0-9_-]+", '"API_ID:STAGE", for example "a1b2c3d4e5:prod"')
)
_principals = list_of(
    text_field(
        r"arn:aws[a-z-]*:iam::\d{12}:(role|user)/[\w+=,.@/-]+",
        'the ARN of a role or a user, for example "arn:aws:iam::123456789012:role/portal": '
        "aws iam get-role --role-name NAME --query Role.Arn --output text",
    )
)


def _id_of(path: str, value: object, allowed: str) -> str:
    """An id as it stands in a message's SenderId, before the colon if there is one (doc: AF-552)."""
    if isinstance(value, str) and _UNIQUE_ID.fullmatch(value):
        return value
    named = re.fullmatch(r"arn:[a-z-]+:iam::\d{12}:(role|user)/(?:.*/)?([\w+=,.@-]+)", str(value))
    kind, name = (named[1], named[2]) if named else ("role", "NAME")
    find = f"aws iam get-{kind} --{kind}-name {name} --query {kind.title()}.{kind.title()}Id --output text"
    bare = str(value).partition(":")[0]
    if bare != value and _UNIQUE_ID.fullmatch(bare):
        raise PolicyError(
            path, f'{shown(value)} is not allowed; leave out the colon and all after it: "{bare}"'
        )
    raise not_allowed(
        path,
        value,
        f'{allowed}the id of a role or a user, such as "AROAEXAMPLEEXAMPLE012"; to find it: {find}',
    )


def _sender(path: str, value: object) -> str:
    return "*" if value == "*" else _id_of(path, value, '"*" for everyone who can send, or ')


def _admin(path: str, value: object) -> str:
    return _id_of(path, value, "")


_senders = list_of(_sender)
_admins = list_of(_admin)


def _idle_days(path: str, value: object) -> int | Never:
    if value == "never":
        return "never"
    try:
        return _days(path, value)
    except PolicyError:
        raise not_allowed(
            path, value, 'a whole number of days from 1 to 3650, or "never"'
        ) from None


def _rate(path: str, value: object) -> Rate:
    table = FieldTable(path, value)
    rate = Rate(
        rate_limit=table.take("rate_limit", share(0, 10_000)),
        burst_limit=table.take("burst_limit", whole_number(1, 5_000)),
    )
    table.finish()
    return rate


def _quota(path: str, value: object) -> Quota:
    table = FieldTable(path, value)
    quota = Quota(
        limit=table.take("limit", whole_number(1, 2**31 - 1)),
        period=table.take("period", text_field("DAY|WEEK|MONTH", '"DAY", "WEEK" or "MONTH"')),
    )
    table.finish()
    return quota


def _method_throttle(path: str, value: object) -> Mapping[str, Rate]:
    if not isinstance(value, dict):
        raise not_allowed(path, value, 'a table such as { "/search/POST" = { rate_limit = 2, … } }')
    if len(value) > METHODS:
        raise PolicyError(path, f"has {len(value)} methods; a usage plan holds at most {METHODS}")

    def one(method: str) -> tuple[str, Rate]:
        there = f'{path}."{shown(method)[1:-1]}"'
        if method in ("*/*", "/*/*"):
            raise PolicyError(
                there, "is every method of a stage; set `throttle` of the tier in its place"
            )
        if re.fullmatch(r"/(\*|[A-Z]+)", method):
            raise not_allowed(
                there, method, f'"/PATH/METHOD"; the root\'s method is written "/{method}"'
            )
        if not re.fullmatch(r"/.*/(\*|[A-Z]+)", method):
            raise not_allowed(there, method, '"/PATH/METHOD", for example "/search/POST"')
        return method, _rate(there, value[method])

    return dict(every_field(partial(one, method) for method in value))


def _tier(path: str, name: str, value: object) -> Tier:
    table = FieldTable(path, value)
    tier = Tier(
        name=name,
        contact=table.take_optional("contact", text_field(r"\S(.*\S)?", "a text in one line")),
        usage_plans=table.take("usage_plans", _names, _NONE),
        stages=table.take("stages", _stages, _NONE),
        throttle=table.take_optional("throttle", _rate),
        quota=table.take_optional("quota", _quota),
        method_throttle=table.take("method_throttle", _method_throttle, {}),
        never_used_days=table.take("never_used_days", _days, 14),
        idle_days=table.take("idle_days", _idle_days),
        warn_days=table.take("warn_days", _days, 14),
        grace_days=table.take("grace_days", _days, 14),
        retain_days=table.take("retain_days", _days, 365),
        orphan_days=table.take("orphan_days", whole_number(1, 365, " of days"), 14),
        max_keys_per_owner=table.take("max_keys_per_owner", whole_number(1, 10_000), 2),
        max_life_days=table.take_optional("max_life_days", _days),
        max_protect_days=table.take("max_protect_days", _days, 90),
        new_keys_per_day=table.take("new_keys_per_day", whole_number(1, 10_000), 200),
        new_keys_per_sender_per_hour=table.take(
            "new_keys_per_sender_per_hour", whole_number(1, 10_000), 100
        ),
        reserve=table.take("reserve", whole_number(0, 10_000), 0),
        senders=table.take("senders", _senders, _NONE),
        admins=table.take("admins", _admins, _NONE),
        recipients=table.take("recipients", _principals, _NONE),
    )
    if name == UNCLAIMED and tier.usage_plans:
        table.wrong("usage_plans", "is not allowed: this tier has what no tier names")
    if table.is_right("stages", "method_throttle"):
        _check_methods(table, tier)
    asked = [value.get("senders"), value.get("recipients")] if isinstance(value, dict) else []
    # A tier that names who may ask, rightly or not, promises keys.
    if any(isinstance(ids, list) and ids for ids in asked):
        _check_promise(table, tier)
    table.finish()
    return tier


def _check_methods(table: FieldTable, tier: Tier) -> None:
    if len(tier.stages) * len(tier.method_throttle) > METHODS:
        table.wrong(
            "method_throttle",
            f"has {len(tier.method_throttle)} methods for each of {len(tier.stages)} stages; a usage "
            f"plan holds at most {METHODS} in all",
        )


def _check_promise(table: FieldTable, tier: Tier) -> None:
    """What promises keys has to be able to issue one."""
    promised = {
        "senders": bool(tier.senders),
        "recipients": bool(tier.recipients),
        "stages": bool(tier.stages),
        "throttle": tier.throttle is not None or tier.quota is not None,
    }
    for field, present in promised.items():
        told = not table.is_right(field) or (field == "throttle" and not table.is_right("quota"))
        if not present and not told:
            table.wrong(
                field,
                "is missing: a tier that issues keys needs senders, recipients, stages, and a "
                "throttle or a quota",
            )


def _rung(path: str, value: object) -> Rung:
    table = FieldTable(path, value)
    rung = Rung(
        above=table.take("above", share()),
        patience=table.take("patience", share()),
        freeze=table.take("freeze", _names, _NONE),
    )
    table.finish()
    return rung


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


def _sweep(path: str, value: object) -> Sweep:
    table = FieldTable(path, value)
    sweep = Sweep(
        max_share=table.take("max_share", share(), 0.05),
        max_keys=table.take("max_keys", whole_number(1, 10_000), 500),
    )
    table.finish()
    return sweep


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


def _owned(path: str, value: object) -> Owned:
    table = FieldTable(path, value)
    owned = Owned(
        descriptions=table.take("descriptions", list_of(_beginning), DESCRIPTIONS),
        tags=table.take("tags", list_of(_tag_key), TAGS),
        name_prefixes=table.take("name_prefixes", list_of(_beginning), _NONE),
    )
    table.finish()
    return owned


def _tiers(path: str, value: object) -> Mapping[str, Tier]:
    if not isinstance(value, dict):
        raise PolicyError(f"{path}.{UNCLAIMED}", _NO_UNCLAIMED)

    def one(name: str) -> tuple[str, Tier]:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            raise not_allowed(joined(path, name), name, "a name of letters, digits, - and _")
        return name, _tier(f"{path}.{name}", name, value[name])

    def no_unclaimed() -> tuple[str, Tier]:
        raise PolicyError(f"{path}.{UNCLAIMED}", _NO_UNCLAIMED)

    reads: list[Callable[[], tuple[str, Tier]]] = [partial(one, name) for name in value]
    return dict(every_field(reads if UNCLAIMED in value else [*reads, no_unclaimed]))


def _ladder(path: str, value: object) -> tuple[Rung, ...]:
    if not isinstance(value, list):
        raise not_allowed(path, value, "tables written [[ladder]]")
    there = [f"{path}[{index}]" for index in range(len(value))]
    rungs = tuple(
        every_field(partial(_rung, one, rung) for one, rung in zip(there, value, strict=True))
    )

    def in_order(field: str, *, rising: bool) -> None:
        paths = [f"{one}.{field}" for one in there]
        _in_order(paths, [getattr(rung, field) for rung in rungs], rising=rising)

    every_field(
        [partial(in_order, "above", rising=True), partial(in_order, "patience", rising=False)]
    )
    return rungs


def _alerts(path: str, value: object) -> Alerts:
    table = FieldTable(path, value)
    alerts = Alerts(
        levels=table.take("levels", _ordered(share(), rising=True), (0.80, 0.90, 0.95, 0.98)),
        clear_margin=table.take("clear_margin", share(0, 0.5), 0.03),
        days_to_limit=table.take("days_to_limit", _ordered(_days, rising=False), (60, 30, 14)),
    )
    table.finish()
    return alerts


def _named_twice(tiers: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Where a tier names a plan in the same words as a tier before it."""
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


def _read(document: Mapping[str, object]) -> Policy:
    root = FieldTable("", document)
    policy = Policy(
        service_quota=root.take("service_quota", whole_number(1, 10_000), 10_000),
        silent_plans=root.take("silent_plans", _names, _NONE),
        sweep=root.take("sweep", _sweep, _sweep("sweep", {})),
        owned=root.take("owned", _owned, _owned("owned", {})),
        tiers=root.take("tiers", _tiers),
        ladder=root.take("ladder", _ladder, ()),
        alerts=root.take("alerts", _alerts, _alerts("alerts", {})),
    )
    if root.is_right("tiers", "service_quota"):
        reserved = sum(tier.reserve for tier in policy.tiers.values())
        if reserved > policy.service_quota:
            reason = f"reserve more than the service quota of {policy.service_quota} keys"
            root.wrong_at("tiers", reason)
    named = document.get("tiers")
    if root.is_right("ladder") and isinstance(named, dict):
        for index, rung in enumerate(policy.ladder):
            for tier_name in rung.freeze:
                if tier_name not in named:
                    reason = not_allowed("", tier_name, f"one of {sorted(named)}").reason
                    root.wrong_at(f"ladder[{index}].freeze", reason)
    if isinstance(named, dict):
        for path, reason in _named_twice(named):
            root.wrong_at(path, reason)
    root.finish()
    return policy
