"""Holds events against the contract: the JSON Schemas of docs/schemas, one for each detail-type."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import fastjsonschema

SCHEMAS = Path(__file__).parents[1] / "docs" / "schemas"


def schema_path(detail_type: str) -> Path:
    """Where the schema of a detail-type is: Key Issued in key-issued.json."""
    return SCHEMAS / f"{detail_type.lower().replace(' ', '-')}.json"


@cache
def schemas() -> dict[str, dict[str, Any]]:
    """Every schema by the detail-type that it describes, which is its title."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(SCHEMAS.iterdir())]
    return {schema["title"]: schema for schema in found}


@cache
def _validator(detail_type: str) -> Callable[[object], object]:
    validate: Callable[[object], object] = fastjsonschema.compile(schemas()[detail_type])
    return validate


def check_event(detail_type: str, detail: Mapping[str, Any]) -> None:
    """Raises AssertionError unless `detail`, as it goes over the wire, fits its schema."""
    if detail_type not in schemas():
        raise AssertionError(f"no schema in docs/schemas tells of {detail_type!r}")
    wire = json.loads(json.dumps(dict(detail)))
    try:
        _validator(detail_type)(wire)
    except fastjsonschema.JsonSchemaValueException as err:
        # Its text names the field and what is allowed; the detail itself may be long.
        raise AssertionError(
            f"{detail_type}: {err.message} ({schema_path(detail_type).name}); "
            f"it has {', '.join(sorted(wire))}"
        ) from None
