"""Reads template.yaml as it is deployed with some parameters: resources, and what roles may do."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


class Template(yaml.CSafeLoader):
    """Reads `!Sub x` as {"Fn::Sub": "x"}, and `!GetAtt a.b` as "a.b"."""


def _tagged(loader: Template, suffix: str, node: yaml.Node) -> Any:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        raise yaml.constructor.ConstructorError(None, None, f"!{suffix} of a mapping", None)
    return {suffix if suffix == "Ref" else f"Fn::{suffix}": value}


Template.add_multi_constructor("!", _tagged)


def read(path: Path) -> dict[str, Any]:
    """A template of CloudFormation."""
    template: dict[str, Any] = yaml.load(path.read_text("utf-8"), Template)
    return template


TEMPLATE = read(ROOT / "template.yaml")
NO_VALUE = object()


def deployed(value: Any, **parameters: str) -> Any:
    """`value` as it is deployed with these parameters; names stand for what they refer to."""
    if isinstance(value, list):
        made = [deployed(item, **parameters) for item in value]
        return [item for item in made if item is not NO_VALUE]
    if not isinstance(value, dict):
        return value
    match list(value.items()):
        case [("Ref", str(name))]:
            return _referred_to(name, parameters)
        case [("Fn::Join", ["", {"Ref": str(name)}])]:  # of a list, which is given as one text
            return _referred_to(name, parameters)
        case [("Fn::Sub" | "Fn::GetAtt", str(text))]:
            return text
        case [("Fn::Equals", [left, right])]:
            return deployed(left, **parameters) == deployed(right, **parameters)
        case [("Fn::Not", [inner])]:
            return not deployed(inner, **parameters)
        case [("Fn::If", [str(condition), then, otherwise])]:
            return deployed(then if holds(condition, **parameters) else otherwise, **parameters)
        case pairs:
            items = {key: deployed(item, **parameters) for key, item in pairs}
            return {key: item for key, item in items.items() if item is not NO_VALUE}


def _referred_to(name: str, parameters: Mapping[str, str]) -> Any:
    if name == "AWS::NoValue":
        return NO_VALUE
    if name in TEMPLATE["Parameters"]:
        return parameters.get(name, TEMPLATE["Parameters"][name]["Default"])
    return name


def holds(condition: str, **parameters: str) -> bool:
    return bool(deployed(TEMPLATE["Conditions"][condition], **parameters))


def resources(kind: str, **parameters: str) -> dict[str, dict[str, Any]]:
    """The properties of every resource of this type that is deployed with these parameters."""
    return {
        name: deployed(resource["Properties"], **parameters)
        for name, resource in TEMPLATE["Resources"].items()
        if resource["Type"] == kind
        and ("Condition" not in resource or holds(resource["Condition"], **parameters))
    }


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(role: str, **parameters: str) -> Iterator[dict[str, Any]]:
    """What a role may do, in its own policies and in those that are attached to it."""
    attached = resources("AWS::IAM::Policy", **parameters).values()
    for policy in (
        *resources("AWS::IAM::Role", **parameters)[role]["Policies"],
        *(policy for policy in attached if role in policy["Roles"]),
    ):
        yield from policy["PolicyDocument"]["Statement"]
