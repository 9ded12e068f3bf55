"""The tool that owns a key, as a value: a stack, or what a mark on the key says. Pure."""

from ast import literal_eval
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, assert_never, get_args

MarkKind = Literal["tag", "description", "name_prefix", "text"]

_QUOTED: dict[str, MarkKind] = {"description ": "description", "name prefix ": "name_prefix"}


@dataclass(frozen=True, slots=True)
class Stack:
    """A CloudFormation stack."""

    name: str
    kind: ClassVar[Literal["stack"]] = "stack"

    def __str__(self) -> str:
        return f"stack {self.name}"


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark of another tool on a key.

    `value` is `NAME=VALUE` of a tag, or the beginning of the description or of the name that
    `policy.toml` lists. `text` is the kind of an owner that an earlier version wrote in other words.
    """

    kind: MarkKind
    value: str

    def __str__(self) -> str:
        match self.kind:
            case "tag":
                return f"tag {self.value}"
            case "description":
                return f"description {self.value!r}"
            case "name_prefix":
                return f"name prefix {self.value!r}"
            case "text":
                return self.value
            case _:
                assert_never(self.kind)


Owner = Stack | Mark


def owner_values(owner: Owner) -> dict[str, str]:
    """An owner as rows and files have it: `kind` (`stack`, or that of the mark) and `value`."""
    return {"kind": owner.kind, "value": owner.name if isinstance(owner, Stack) else owner.value}


def owner_of(values: Mapping[str, Any] | str) -> Owner:
    """The owner that `owner_values` laid out, or the text that a build before 0.2.0 wrote.

    Raises KeyError or ValueError if it is neither.
    """
    if isinstance(values, str):
        return owner_of_text(values)
    kind, value = values["kind"], values["value"]
    if kind == "stack":
        return Stack(str(value))
    if kind not in get_args(MarkKind):
        raise ValueError(f"an owner has no kind {kind!r}")
    return Mark(kind, str(value))


def owner_of_text(text: str) -> Owner:
    """The owner of a text that a build before 0.2.0 wrote into rows and keys files."""
    if text.startswith("stack "):
        return Stack(text.removeprefix("stack "))
    if text.startswith("tag "):
        return Mark("tag", text.removeprefix("tag "))
    for words, kind in _QUOTED.items():
        if text.startswith(words) and (value := _unquoted(text.removeprefix(words))) is not None:
            return Mark(kind, value)
    return Mark("text", text)


def _unquoted(text: str) -> str | None:
    try:
        value = literal_eval(text)
    except (ValueError, SyntaxError):
        return None
    return value if isinstance(value, str) else None
