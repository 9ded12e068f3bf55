"""Takes lists and tables out of what AWS answered: one that is not there is no empty one. Pure.

Where AWS has nothing to list it sends an empty list (seen: AF-207).
An answer without the list is another answer than this code knows, and proves nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from keyjanitor.errors import UnexpectedAnswer


def items_of(answer: Any, name: str, operation: str) -> Sequence[Mapping[str, Any]]:
    """The list called `name` of an answer to `operation`; raises UnexpectedAnswer if there is none."""
    items = answer.get(name) if isinstance(answer, Mapping) else None
    if not isinstance(items, list):
        raise UnexpectedAnswer(operation, f"the answer holds no list of {name}")
    if not all(isinstance(item, Mapping) for item in items):
        raise UnexpectedAnswer(operation, f"one of the answer's {name} is no object")
    return items


def table_of(answer: Any, name: str, operation: str) -> Mapping[str, Any]:
    """The object called `name` of an answer to `operation`; raises UnexpectedAnswer if there is none."""
    table = answer.get(name) if isinstance(answer, Mapping) else None
    if not isinstance(table, Mapping):
        raise UnexpectedAnswer(operation, f"the answer holds no {name}")
    return table


def text_of(item: Mapping[str, Any], name: str, operation: str) -> str:
    """The text called `name`, such as an id, of one thing of an answer; raises UnexpectedAnswer."""
    text = item.get(name)
    if not isinstance(text, str) or not text:
        raise UnexpectedAnswer(operation, f"something in the answer comes without {name}")
    return text
