"""Makes the variables and outputs of deploy/terraform/ from template.yaml (`make docs`), and what it hands over."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.template import TEMPLATE

MADE = "# Made from template.yaml by `make docs`; do not edit.\n"
TYPES = {"String": "string", "Number": "number", "CommaDelimitedList": "list(string)"}
BOOLEANS = ["true", "false"]
# Initials that are one word in a name.
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]+|\d+")


def variable_name(parameter: str) -> str:
    """`NightCallsPerSecond` as `night_calls_per_second`."""
    return "_".join(_WORDS.findall(parameter)).lower()


def text(value: str) -> str:
    """A text as HCL, in which `${` and `%{` begin what is put in."""
    return json.dumps(value, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def is_boolean(parameter: Mapping[str, Any]) -> bool:
    return parameter.get("AllowedValues") == BOOLEANS


def default(parameter: Mapping[str, Any]) -> str:
    """The default of a parameter as HCL."""
    value = parameter["Default"]
    if is_boolean(parameter) or parameter["Type"] == "Number":
        return str(value)
    if parameter["Type"] == "CommaDelimitedList":
        return json.dumps([one for one in str(value).split(",") if one])
    return text(str(value))


def _validation(name: str, condition: str, allowed: str) -> str:
    return (
        "\n  validation {\n"
        f"    condition     = {condition}\n"
        f"    error_message = {text(f'The value of {name} must be {allowed}.')}\n"
        "  }\n"
    )


def validations(name: str, parameter: Mapping[str, Any]) -> Iterator[str]:
    """What the template allows, so that a plan refuses it before CloudFormation does."""
    if (allowed := parameter.get("AllowedValues")) and not is_boolean(parameter):
        listed = json.dumps(allowed)
        words = ", ".join(map(str, allowed))
        yield _validation(name, f"contains({listed}, var.{name})", f"one of {words}")
    if (least := parameter.get("MinValue")) is not None:
        yield _validation(name, f"var.{name} >= {least}", f"{least} or more")
    if pattern := parameter.get("AllowedPattern"):
        condition = f"can(regex({text(pattern)}, var.{name}))"
        yield _validation(name, condition, f"such that it fits {pattern}")


def variables() -> str:
    """variables.tf: a typed variable for each parameter."""
    blocks = []
    for parameter_name, parameter in TEMPLATE["Parameters"].items():
        name = variable_name(parameter_name)
        kind = "bool" if is_boolean(parameter) else TYPES[parameter["Type"]]
        described = text(" ".join(parameter["Description"].split()))
        blocks.append(
            f'variable "{name}" {{\n'
            f"  description = {described}\n"
            f"  type        = {kind}\n"
            f"  default     = {default(parameter)}\n"
            f"{''.join(validations(name, parameter))}}}\n"
        )
    return "\n".join([MADE, *blocks])


def _handed_over(name: str, parameter: Mapping[str, Any]) -> str:
    if parameter["Type"] == "CommaDelimitedList":
        return f'join(",", var.{name})'
    return (
        f"tostring(var.{name})"
        if parameter["Type"] == "Number" or is_boolean(parameter)
        else f"var.{name}"
    )


def parameters() -> str:
    """parameters.tf: what CloudFormation gets for each parameter."""
    names = {one: variable_name(one) for one in TEMPLATE["Parameters"]}
    width = max(map(len, names))
    lines = [
        f"    {one.ljust(width)} = {_handed_over(name, TEMPLATE['Parameters'][one])}"
        for one, name in names.items()
    ]
    return "\n".join([MADE, "locals {", "  parameters = {", *lines, "  }", "}", ""])


def outputs() -> str:
    """outputs.tf: an output for each of the stack's."""
    blocks = []
    for output_name, output in TEMPLATE["Outputs"].items():
        described = output.get("Description", f"The stack's output {output_name}")
        blocks.append(
            f'output "{variable_name(output_name)}" {{\n'
            f"  description = {text(described)}\n"
            f'  value       = aws_cloudformation_stack.keyjanitor.outputs["{output_name}"]\n'
            "}\n"
        )
    return "\n".join([MADE, *blocks])
