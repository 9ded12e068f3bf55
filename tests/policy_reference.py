"""Makes docs/policy.md from the table by which `policy.toml` is checked."""

import json
import tomllib
from collections.abc import Iterator

from keyjanitor.domain.model.policy_fields import REQUIRED, Field
from keyjanitor.domain.model.policy_file import TABLES, parse_policy
from keyjanitor.errors import PolicyError

TYPES = {bool: "yes or no", int: "whole number", float: "number", str: "text"}
TYPES |= {list: "list", dict: "table"}
INTRO = """# policy.toml

What keyjanitor may do to which keys. The file is `layers/policy/policy.toml`; `sam build` checks it and refuses one with
mistakes, and `sam build && sam deploy` brings it. `keyjanitor policy check` names the mistakes before that, and
`keyjanitor whatif` shows what an edit would do to each key ([what if](whatif.md)). An editor that knows Taplo (Even Better
TOML) checks it while you type, by [a JSON Schema](schemas/policy.json) that the first line of the file names. When a key is
warned, disabled and parked by these numbers is in [the life of a key](life-of-a-key.md).

This page is made from the table that checks the file (`make docs`). The file is TOML in UTF-8. A field that is left out
has its default; a field that is not here is a mistake. All mistakes are told at once, each with its path, what is allowed
there and its line. Days are UTC days.
"""
ABOUT = {
    "": ("The top of the file", "Fields and tables that are in no other table."),
    "sweep": ("[sweep]", "How much one date may see."),
    "owned": ("[owned]", "Marks of keys that other tools own, beside CloudFormation's own tag."),
    "tiers.NAME": (
        "[tiers.NAME]",
        "A class of keys. Its name has letters, digits, `-` and `_`. The tier `unclaimed` has to be there.",
    ),
    "tiers.NAME.throttle": ("tiers.NAME.throttle", "Also each value of `method_throttle`."),
    "tiers.NAME.quota": (
        "tiers.NAME.quota",
        "How many requests the usage plan of new keys allows.",
    ),
    "pressure[]": (
        "[[pressure]]",
        "A pressure rule. There may be several; the lowest factor of those reached counts.",
    ),
    "alerts": ("[alerts]", "When the account that fills up is alerted."),
    "operators": (
        "[operators]",
        "Who may ask in every tier, and act on every key, by the queue: [requests](requests.md#operators).",
    ),
}
OWNERS = """Where old keys say whose they are. There may be 20 rules; the first that fits counts. They are asked at adoption, and each night for keys that no request issued or assigned: an owner that was found follows the rules, and stays if none fits any more. What is found is the key's owner everywhere: in events, digests and the report, and it counts for `max_keys_per_owner`. It changes no key's tier, and gives no one a right to a key. What is empty, looks like a key's value, or holds a character that does not show, is no owner. What is found is copied in the clear into the ledger, the events, the report and the history: if a text has an opaque id and a mail address, find the id. `keyjanitor whatif` shows what the rules find before you deploy them.

A pattern may not make `re` try again and again on a text that someone wrote for that: `sam build` and `keyjanitor policy check` refuse one that may, and say why. The first 512 characters of a text are looked at."""
ABOUT["owners[]"] = ("[[owners]]", OWNERS)
UNCLAIMED = '[tiers.unclaimed]\nidle_days = "never"\n'
ISSUES = 'idle_days = 60\nthrottle = { rate_limit = 10, burst_limit = 20 }\nsenders = ["*"]\n'
# What is checked beside each field by itself: the rule, and a file that breaks it.
RULES = (
    (
        "A tier that names `senders` or `recipients` issues keys: it needs `recipients`, `stages` and a limit.",
        UNCLAIMED
        + "[tiers.external]\n"
        + ISSUES
        + 'recipients = ["arn:aws:iam::123456789012:role/portal"]\n',
    ),
    ("`unclaimed` has to be there.", "[tiers.external]\nidle_days = 60\n"),
    (
        "`unclaimed` names no usage plans.",
        UNCLAIMED + 'usage_plans = ["external"]\n',
    ),
    (
        "A usage plan is in one tier.",
        UNCLAIMED
        + '[tiers.a]\nidle_days = 60\nusage_plans = ["external"]\n'
        + '[tiers.b]\nidle_days = 60\nusage_plans = ["external"]\n',
    ),
    (
        "A usage plan holds 20 method throttles, over all its stages.",
        UNCLAIMED
        + '[tiers.a]\nidle_days = 60\nstages = ["a1:one", "a1:two", "a1:three"]\nmethod_throttle = { '
        + ", ".join(f'"/{n}/GET" = {{ rate_limit = 1, burst_limit = 1 }}' for n in range(7))
        + " }\n",
    ),
    (
        "All `reserve` together are at most `service_quota`.",
        "service_quota = 500\n" + UNCLAIMED + "[tiers.a]\nidle_days = 60\nreserve = 501\n",
    ),
    (
        "`freeze` names tiers that the file has.",
        UNCLAIMED + '[[pressure]]\nabove = 0.9\nidle_factor = 0.5\nfreeze = ["externl"]\n',
    ),
    (
        "Pressure rules are in order: `above` rises, `idle_factor` falls.",
        UNCLAIMED
        + "[[pressure]]\nabove = 0.9\nidle_factor = 0.5\n[[pressure]]\nabove = 0.95\nidle_factor = 0.7\n",
    ),
    ("`levels` rise and `days_to_limit` fall.", UNCLAIMED + "[alerts]\nlevels = [0.9, 0.8]\n"),
    ("Nothing is in a list twice.", "silent_plans = ['a', 'a']\n" + UNCLAIMED),
    ("There are no other fields.", UNCLAIMED + "[sweep]\nmax_share = 0.05\nmax_key = 100\n"),
)
OUTRO = """
## What is looked at every night, not at the build

Whether the account has the usage plans that the file names is known only there. A name that the account does not have, or
has twice, and a plan that two tiers mean by different words (an id and its name) stop nothing: the keys of plans that may
be meant are unknown that night, and the report and the alert `policy_problem` say where ([alerts](alerts.md)).
"""


def policy_page() -> str:
    """The whole page."""
    parts = [INTRO]
    for path, fields in TABLES.items():
        heading, about = ABOUT[path]
        parts.append(f"## {heading}\n\n{about}\n\n" + "\n".join(_rows(path, fields)) + "\n")
        if example := _example(path, fields):
            parts.append(f"```toml\n{example}```\n")
    parts.append("## What is checked together\n\n" + "\n".join(_rules()) + "\n")
    return "\n".join(parts) + OUTRO


def _rows(path: str, fields: tuple[Field, ...]) -> Iterator[str]:
    yield "| field | type | default | allowed | what it means |"
    yield "|---|---|---|---|---|"
    for field in fields:
        cells = (
            f"`{field.name}`",
            type_of(field),
            default_of(field),
            allowed(path, field),
            field.meaning,
        )
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def value_of(field: Field) -> object:
    """The example of a field as TOML reads it."""
    return tomllib.loads(f"value = {field.example}")["value"]


def type_of(field: Field) -> str:
    """The TOML type of a field, of its example and of the words that it may be."""
    told = _reason(field, None)
    if "allowed: a number" in told:
        return "number"
    kind = TYPES[type(value_of(field))]
    if kind == "list" and isinstance(value_of(field), list) and field.name in _inner():
        return "tables"
    return f"{kind} or text" if kind == "whole number" and '"' in told else kind


def allowed(path: str, field: Field) -> str:
    """What a field may be, in the words of the error that refuses it."""
    inner = _inner().get(field.name)
    if inner is not None and (path == "" or inner.startswith(path)):
        return f"see [{ABOUT[inner][0].strip('[]')}](#{_anchor(ABOUT[inner][0])})"
    told = _allowed(_reason(field, None))
    if told == "a list":
        return f"a list, each {_allowed(_reason(field, [None]))}"
    return told


def default_of(field: Field) -> str:
    """The default of a field as it is written in the file."""
    if field.default is REQUIRED:
        return "required"
    if field.default is None or field.default == {}:
        return "none"
    if field.name in _inner():
        return "none" if field.default == () else "the defaults below"
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"`{json.dumps(default)}`"


def _inner() -> dict[str, str]:
    """The paths of tables that are fields of another, by the field's name."""
    names = {
        path.removesuffix("[]").removesuffix(".NAME").rsplit(".", 1)[-1]: path for path in TABLES
    }
    return {name: path for name, path in names.items() if name}


def _reason(field: Field, value: object) -> str:
    """What is said of a value that is not allowed."""
    try:
        field.read(field.name, value)
    except PolicyError as err:
        return err.reason
    raise AssertionError(f"{field.name} takes {value!r}")


def _allowed(reason: str) -> str:
    return reason.partition("allowed: ")[2] or reason


def _example(path: str, fields: tuple[Field, ...]) -> str:
    lines = [
        f"{field.name} = {field.example}\n"
        for field in fields
        if field.name not in _inner() or path
    ]
    if path.endswith((".throttle", ".quota")):
        return ""
    if path == "tiers.NAME":
        return "[tiers.external]\n" + "".join(lines)
    heading = f"[[{path[:-2]}]]\n" if path.endswith("[]") else f"[{path}]\n" if path else ""
    return heading + "".join(lines)


def _anchor(heading: str) -> str:
    return "".join(one for one in heading.lower() if one.isalnum() or one in "-_")


def _rules() -> Iterator[str]:
    yield "| rule | what a mistake says |"
    yield "|---|---|"
    for rule, broken in RULES:
        yield f"| {rule} | {'<br>'.join(f'`{one}`' for one in mistakes(broken))} |"


def mistakes(text: str) -> list[str]:
    """What is wrong with a file, line by line."""
    try:
        parse_policy(text)
    except PolicyError as err:
        return [str(one) for one in err.mistakes]
    return []
