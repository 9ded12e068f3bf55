"""Reads the tiers of `policy.toml`, and what a tier says of its usage plan. Pure."""

import re
from collections.abc import Mapping
from functools import partial

from keyjanitor.domain.model.policy import MOST_DAYS, UNCLAIMED, Never, Quota, Rate, Tier
from keyjanitor.domain.model.policy_fields import (
    Field,
    FieldTable,
    every_field,
    list_of,
    not_allowed,
    share,
    table_of,
    text_field,
    whole_number,
)
from keyjanitor.domain.model.policy_text import shown
from keyjanitor.errors import PolicyError

METHODS = 20  # that a usage plan may throttle by themselves (doc: AF-104)


NONE: tuple[str, ...] = ()
# The id of a role or a user; those of other kinds send no messages (doc: AF-407).
_UNIQUE_ID = re.compile(r"(AROA|AIDA)[A-Z0-9]{12,124}")
days = whole_number(1, MOST_DAYS, " of days")
names = list_of(text_field())
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
    """An id as a message's SenderId has it, before the colon if there is one (doc: AF-552)."""
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
ids_of_principals = list_of(_admin)


def _idle_days(path: str, value: object) -> int | Never:
    if value == "never":
        return "never"
    try:
        return days(path, value)
    except PolicyError:
        raise not_allowed(
            path, value, 'a whole number of days from 1 to 3650, or "never"'
        ) from None


RATE = (
    Field("rate_limit", share(0, 10_000), "Requests a second.", "10"),
    Field("burst_limit", whole_number(1, 5_000), "Requests at once, above that rate.", "20"),
)


_rate = table_of(Rate, RATE)


QUOTA = (
    Field("limit", whole_number(1, 2**31 - 1), "Requests of each key in a period.", "50_000"),
    Field(
        "period", text_field("DAY|WEEK|MONTH", '"DAY", "WEEK" or "MONTH"'), "The period.", '"MONTH"'
    ),
)


_quota = table_of(Quota, QUOTA)


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


TIER = (
    Field(
        "contact",
        text_field(r"\S(.*\S)?", "a text in one line"),
        "Who answers for these keys: a label in events, and an attribute of the digests by which an "
        "address subscribes (docs/alerts.md). No mail goes to it by itself. A tier without one is never "
        "swept.",
        '"api-team@example.org"',
        None,
    ),
    Field(
        "usage_plans",
        names,
        "Ids or names of usage plans whose keys belong to this tier. A plan belongs to one tier. Not "
        "in `unclaimed`, which has the keys that no tier names.",
        '["external"]',
        NONE,
    ),
    Field(
        "stages",
        _stages,
        "What a key that is issued in this tier may call.",
        '["a1b2c3d4e5:prod"]',
        NONE,
    ),
    Field(
        "throttle",
        _rate,
        "The throttle of the usage plan for new keys; it holds for each key by itself.",
        "{ rate_limit = 10, burst_limit = 20 }",
        None,
    ),
    Field(
        "quota",
        _quota,
        "The quota of the usage plan for new keys; it holds for each key by itself.",
        '{ limit = 50_000, period = "MONTH" }',
        None,
    ),
    Field(
        "method_throttle",
        _method_throttle,
        "Throttles of single methods in that plan, on each of its stages; 20 in all at most.",
        '{ "/search/POST" = { rate_limit = 2, burst_limit = 4 } }',
        {},
    ),
    Field(
        "never_used_days",
        days,
        "A key that was made and never used is warned after so many days.",
        "14",
        14,
    ),
    Field(
        "idle_days",
        _idle_days,
        "A key that is not used any more is warned after so many days.",
        "60",
    ),
    Field("warn_days", days, "From the warning until the key is disabled.", "14", 14),
    Field("grace_days", days, "From there until it is parked.", "14", 14),
    Field("retain_days", days, "How long a parked key can come back.", "365", 365),
    Field(
        "orphan_days",
        whole_number(1, 365, " of days"),
        "A key in no usage plan is warned after so many nights.",
        "14",
        14,
    ),
    Field(
        "max_keys_per_owner",
        whole_number(1, 10_000),
        "Keys that one owner may hold in this tier; during the overlap of a rotation twice as many.",
        "2",
        2,
    ),
    Field(
        "max_life_days",
        days,
        "A key that is issued here ends after so many days at the latest; left out: it need not end.",
        "365",
        None,
    ),
    Field("max_protect_days", days, "The longest time that `protect` may ask for.", "90", 90),
    Field(
        "new_keys_per_day",
        whole_number(1, 10_000),
        "Keys that are issued in this tier by UTC day; more requests are refused as `budget_spent`.",
        "200",
        200,
    ),
    Field(
        "new_keys_per_sender_per_hour",
        whole_number(1, 10_000),
        "Keys that are issued in this tier to one sender by hour.",
        "100",
        100,
    ),
    Field(
        "reserve",
        whole_number(0, 10_000),
        "Keys of the key limit that other tiers cannot take.",
        "500",
        0,
    ),
    Field(
        "senders",
        _senders,
        "Ids of roles or users that may ask for keys of this tier and act on those that they were "
        'issued; `"*"` is everyone who can send to the queue. Without any, only operators may ask '
        "(docs/requests.md#operators).",
        '["AROAEXAMPLEEXAMPLE012"]',
        NONE,
    ),
    Field(
        "admins",
        ids_of_principals,
        "Ids of roles or users that may act on every key of this tier.",
        '["AIDAEXAMPLEEXAMPLE012"]',
        NONE,
    ),
    Field(
        "recipients",
        _principals,
        "Who may be named in `deliver_to`: values are sealed for these alone.",
        '["arn:aws:iam::123456789012:role/portal"]',
        NONE,
    ),
    Field(
        "declared_inactivity_days",
        days,
        "What you declared to an auditor: no key of this tier is enabled without a request for longer. It "
        "changes nothing that sweeps do; the report names each key beyond it with the reason "
        "(docs/report.md#inactive-and-still-enabled). Left out: nothing is declared.",
        "90",
        None,
    ),
)


def read_tier(path: str, name: str, value: object) -> Tier:
    """The tier of this name; raises PolicyError with all that is wrong in its table."""
    table = FieldTable(path, value)
    tier = Tier(name=name, **table.values(TIER))
    if name == UNCLAIMED and tier.usage_plans:
        table.wrong("usage_plans", "is not allowed: this tier has what no tier names")
    if table.is_right("stages", "method_throttle"):
        _check_methods(table, tier)
    asked = [value.get("senders"), value.get("recipients")] if isinstance(value, dict) else []
    # A tier that names who may ask, or who is served, rightly or not, promises keys. Without senders
    # operators alone may ask for them.
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
    """Raises PolicyError if a tier that promises keys cannot issue one."""
    promised = {
        "recipients": bool(tier.recipients),
        "stages": bool(tier.stages),
        "throttle": tier.throttle is not None or tier.quota is not None,
    }
    for field, present in promised.items():
        told = not table.is_right(field) or (field == "throttle" and not table.is_right("quota"))
        if not present and not told:
            table.wrong(
                field,
                "is missing: a tier that issues keys needs recipients, stages, and a throttle or a quota",
            )
