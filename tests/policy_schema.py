"""Makes docs/schemas/policy.json, which editors check `policy.toml` by, from the table that checks the file.

What a reader of a field allows is in its closure: the bounds of a number, the pattern of a text, the
reader of a list's items. The readers that are functions of their own are in `OWN`.
"""

import inspect
import json
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from keyjanitor.domain.model import policy_owners, policy_tier
from keyjanitor.domain.model.owner_pattern import LONGEST_PATTERN
from keyjanitor.domain.model.policy import MOST_DAYS, UNCLAIMED
from keyjanitor.domain.model.policy_fields import (
    REQUIRED,
    Field,
    list_of,
    share,
    text_field,
    whole_number,
)
from keyjanitor.domain.model.policy_file import TABLES

Schema = dict[str, Any]
Reader = Callable[[str, object], object]

TIER_NAME = "^[A-Za-z0-9][A-Za-z0-9_-]*$"
PRINCIPAL_ID = "^(AROA|AIDA)[A-Z0-9]{12,124}$"
# What is only a superset of what the reader allows is marked; the reader has the last word.
OWN: Mapping[str, Schema] = {
    "_idle_days": {
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": MOST_DAYS},
            {"const": "never"},
        ]
    },
    "yes_or_no": {"type": "boolean"},
    "_sender": {"anyOf": [{"type": "string", "pattern": PRINCIPAL_ID}, {"const": "*"}]},
    "_admin": {"type": "string", "pattern": PRINCIPAL_ID},
    "_beginning": {"type": "string", "minLength": 1, "pattern": "^[^*^]*$"},  # superset
    "_place": {
        "anyOf": [
            {"enum": list(policy_owners.PLACES)},
            {"type": "string", "pattern": f"^{policy_owners.TAG.pattern}$"},
        ]
    },
    "_pattern": {
        "type": "string",
        "maxLength": LONGEST_PATTERN,
        "pattern": r"\(\?P<owner>",
    },  # superset
    "_tag_key": {"type": "string", "minLength": 1, "pattern": "^[^=*^]*$"},  # superset
}
MADE_BY = {one.__qualname__: one.__name__ for one in (whole_number, share, text_field, list_of)} | {
    "_ordered": "list_of"
}


def policy_schema() -> str:
    """The schema as the file has it."""
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Policy",
        "description": "policy.toml of keyjanitor. Made from the table that checks the file (make docs). `keyjanitor policy check` knows more.",
        **_table(""),
    }
    return json.dumps(schema, indent=2) + "\n"


def _table(path: str) -> Schema:
    fields = TABLES[path]
    required = [field.name for field in fields if field.default is REQUIRED]
    return {
        "type": "object",
        "additionalProperties": False,
        **({"required": required} if required else {}),
        "properties": {field.name: _field(path, field) for field in fields},
    }


def _field(path: str, field: Field) -> Schema:
    example = tomllib.loads(f"value = {field.example}")["value"]
    told: Schema = {"description": field.meaning, **_allowed(path, field)}
    simple = isinstance(field.default, int | float | str) or (
        isinstance(field.default, tuple)
        and all(isinstance(one, str | int | float) for one in field.default)
    )
    if simple:
        told["default"] = list(field.default) if isinstance(field.default, tuple) else field.default
    return {**told, "examples": [example]}


def _allowed(path: str, field: Field) -> Schema:
    inner = f"{path}.{field.name}".lstrip(".")
    if inner == "tiers":
        return _tiers()
    if field.name == "method_throttle":
        return {
            "type": "object",
            "maxProperties": policy_tier.METHODS,
            "propertyNames": {"pattern": "^/.*/(\\*|[A-Z]+)$"},
            "additionalProperties": _table("tiers.NAME.throttle"),
        }
    if f"{inner}[]" in TABLES:
        return {"type": "array", "items": _table(f"{inner}[]")}
    return _table(inner) if inner in TABLES else _of(field.read)


def _of(read: Reader) -> Schema:
    """What a reader allows."""
    if read.__name__ in OWN:
        return dict(OWN[read.__name__])
    given = inspect.getclosurevars(read).nonlocals
    match MADE_BY[read.__qualname__.partition(".")[0]]:
        case "whole_number":
            return {"type": "integer", "minimum": given["low"], "maximum": given["high"]}
        case "share":
            return {"type": "number", "exclusiveMinimum": given["low"], "maximum": given["high"]}
        case "text_field" if given["pattern"] == "(?s).+":
            return {"type": "string", "minLength": 1}
        case "text_field":
            return {"type": "string", "pattern": f"^(?:{given['pattern']})$"}
        case _:
            return {"type": "array", "uniqueItems": True, "items": _of(given["read_item"])}


def _tiers() -> Schema:
    tier = _table("tiers.NAME") | {"anyOf": _promises()}
    unclaimed = {"properties": {"usage_plans": {"maxItems": 0}}}
    return {
        "type": "object",
        "required": [UNCLAIMED],
        "propertyNames": {"pattern": TIER_NAME},
        "additionalProperties": tier,
        "properties": {UNCLAIMED: {"allOf": [tier, unclaimed]}},
    }


def _promises() -> list[Schema]:
    """A tier promises no keys, or has all that it takes to issue one."""
    some, none = {"minItems": 1}, {"maxItems": 0}
    nothing = {"properties": {"senders": none, "recipients": none}}
    whole = {
        "required": ["recipients", "stages"],
        "properties": {"recipients": some, "stages": some},
        "anyOf": [{"required": ["throttle"]}, {"required": ["quota"]}],
    }
    return [nothing, whole]
