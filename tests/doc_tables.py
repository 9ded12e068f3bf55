"""The tables of docs/ that follow from schemas: fields of events, of alerts and of requests."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.events_schema import SCHEMAS, schema_path
from tests.events_schema import schemas as every_schema

DOCS = SCHEMAS.parent
REQUEST = DOCS.parent / "layers/keyjanitor/keyjanitor/domain/requests/request.schema.json"
ALERT: dict[str, Any] = json.loads((SCHEMAS / "alert.json").read_text(encoding="utf-8"))
EVENT_TABLE = re.compile(r"\| field \| always \|.*(?:\n\|.*)*")
REFUSED = "Key Request Refused"  # the last of the answers to requests


def schemas() -> dict[str, dict[str, Any]]:
    """The schemas of events, by their detail-type; alerts have one for all kinds, the report and the policy one each."""
    others = {ALERT["title"], "Report", "Policy"}
    return {name: one for name, one in every_schema().items() if name not in others}


JSON_TYPES = {
    "boolean": "`true` or `false`",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "object": "an object",
    "array": "a list",
    "null": "null",
}


def form(field: Mapping[str, Any]) -> str:
    """How a field has to look, from its schema, in the words of the documents."""
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{one}`" for one in field["enum"])
    types = field["type"] if isinstance(field["type"], list) else [field["type"]]
    if field.get("format") == "date":
        return "a date, YYYY-MM-DD" + (", or null" if "null" in types else "")
    if "maximum" in field:
        return f"a whole number from {field['minimum']} to {field['maximum']}"
    if types != ["string"]:
        return " or ".join(JSON_TYPES[one] for one in types)
    if "maxLength" in field:
        return f"text of {field['minLength']} to {field['maxLength']:,} characters"
    if "pattern" in field and "minLength" not in field:
        return f"text that fits `{field['pattern']}`"
    return "text"


def event_rows(schema: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, field in schema["properties"].items():
        always = "yes" if name in schema["required"] else "no"
        what = "why, for programs" if name == "code" else form(field)
        yield f"| `{prefix}{name}` | {always} | {what} | {field['description']} |"
        if "properties" in field:
            yield from event_rows(field, f"{name}.")


def event_table(detail_type: str) -> str:
    """The table of an event's fields."""
    head = ["| field | always | form | what it is |", "|---|---|---|---|"]
    return "\n".join([*head, *event_rows(schemas()[detail_type])])


def alert_rows(schema: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, field in schema["properties"].items():
        always = "yes" if name in schema["required"] else "no"
        yield f"| `{prefix}{name}` | {always} | {form(field)} | {field['description']} |"
        if "properties" in field:
            yield from alert_rows(field, f"{prefix}{name}.")
        if "properties" in field.get("items", {}):
            yield from alert_rows(field["items"], f"{prefix}{name}[].")


def alert_table(definition: str) -> str:
    """The table of the fields of some kinds of alert."""
    head = ["| field | always | form | what it is |", "|---|---|---|---|"]
    return "\n".join([*head, *alert_rows(ALERT["definitions"][definition])])


def request_definitions() -> dict[str, dict[str, Any]]:
    """The schema's definition for each action."""
    schema = json.loads(REQUEST.read_text(encoding="utf-8"))
    found: dict[str, dict[str, Any]] = {}
    for case in schema["allOf"]:
        action = case["if"]["properties"]["action"]
        name = case["then"]["$ref"].rsplit("/", 1)[-1]
        for one in action.get("enum", [action.get("const")]):
            found[one] = schema["definitions"][name]
    assert set(found) == set(schema["properties"]["action"]["enum"])
    return {action: found[action] for action in schema["properties"]["action"]["enum"]}


def request_table() -> str:
    """The table of a request's fields: which action needs it, with which it may come."""
    schema = json.loads(REQUEST.read_text(encoding="utf-8"))
    definitions = request_definitions()
    names = dict.fromkeys(name for one in definitions.values() for name in one["properties"])
    rows = ["| field | needed by | may come with | form | what it is |", "|---|---|---|---|---|"]
    for name in names:
        has = [action for action, one in definitions.items() if name in one["properties"]]
        needs = [action for action in has if name in definitions[action]["required"]]
        may = [action for action in has if action not in needs]
        field = definitions[has[0]]["properties"][name]
        if "$ref" in field:
            field = schema["definitions"][field["$ref"].rsplit("/", 1)[-1]]
        if name == "action":
            field = {"enum": has}
        told = {"version": "The version of this contract.", "action": "What is asked for."}
        rows.append(
            f"| `{name}` | {_actions(needs, definitions)} | {_actions(may, definitions)} "
            f"| {form(field)} | {field.get('description') or told[name]} |"
        )
    return "\n".join(rows)


def _actions(some: list[str], of: Mapping[str, Any]) -> str:
    left = [action for action in of if action not in some]
    if not left:
        return "all"
    if some and len(left) == 1:
        return f"all but `{left[0]}`"
    return ", ".join(f"`{action}`" for action in some)


# --- the pages that they are in -------------------------------------------------------------------


def events_page(page: str) -> str:
    """docs/events.md with the table of each event; one without a section gets one, and its row."""
    for title, schema in schemas().items():
        heading = f"\n## {title}\n"
        if heading not in page:
            page = page.replace(f"\n## {REFUSED}\n", f"\n{_section(title, schema)}\n## {REFUSED}\n")
            page = page.replace(f"| [{REFUSED}](", f"{_row(title, schema)}\n| [{REFUSED}](", 1)
        before, _, rest = page.partition(heading)
        text, next_one, after = rest.partition("\n## ")
        page = before + heading + EVENT_TABLE.sub(event_table(title), text) + next_one + after
    return page


def _section(title: str, schema: Mapping[str, Any]) -> str:
    path = schema_path(title).relative_to(DOCS).as_posix()
    sample = json.dumps(schema["examples"][0], indent=2)
    return (
        f"## {title}\n\n{schema['description']}\n\nSchema: [{path}]({path})\n\n{event_table(title)}\n\n"
        f"```json\n{sample}\n```\n"
    )


def _row(title: str, schema: Mapping[str, Any]) -> str:
    requests = (DOCS / "requests.md").read_text(encoding="utf-8")
    actions = re.findall(rf"^\| `(\w+)` \|.*\| `{title}` \|", requests, flags=re.M)
    when = schema["description"].rstrip(".")
    anchor = title.lower().replace(" ", "-")
    return (
        f"| [{title}](#{anchor}) | {when[0].lower()}{when[1:]} | {', '.join(actions) or 'none'} |"
    )


def requests_page(page: str) -> str:
    """docs/requests.md with its table of fields, and the schema word for word."""
    table = re.compile(r"(?s)(\n## Fields\n.*?\n)\| field \| needed by \|.*?\n(?=\n)")
    page = table.sub(lambda one: f"{one[1]}{request_table()}\n", page)
    schema = REQUEST.read_text(encoding="utf-8")
    block = re.compile(r"(?s)(<!-- schema -->\n```json\n).*?(```)")
    return block.sub(lambda one: f"{one[1]}{schema}{one[2]}", page)
