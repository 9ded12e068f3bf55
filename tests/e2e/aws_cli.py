"""As much of the AWS CLI as the doctor's commands need, by botocore's model: in its place in a shell.

Reads `--some-option value...`, structures in shorthand (`op=add,path=/a`), `--query` and `--output text`.
"""

import sys
from collections.abc import Sequence
from typing import Any

import botocore.session
import jmespath  # type: ignore[import-untyped]
from botocore import xform_name
from botocore.config import Config
from botocore.model import ListShape, Shape, StructureShape


def main(arguments: Sequence[str]) -> int:
    """Makes one call and prints what `--query` leaves of its answer."""
    service, command, *rest = arguments
    options: dict[str, list[str]] = {}
    for word in rest:
        if word.startswith("--"):
            options[word] = []
        else:
            options[list(options)[-1]].append(word)
    query = " ".join(options.pop("--query", [])) or "@"
    options.pop("--output", None)
    client: Any = botocore.session.get_session().create_client(
        service, config=Config(retries={"total_max_attempts": 1, "mode": "standard"})
    )
    operations = {xform_name(name, "-"): name for name in client.meta.service_model.operation_names}
    model = client.meta.service_model.operation_model(operations[command])
    members = {f"--{xform_name(name, '-')}": name for name in model.input_shape.members}
    params = {
        members[option]: _value(model.input_shape.members[members[option]], words)
        for option, words in options.items()
    }
    answer = getattr(client, xform_name(model.name))(**params)
    answer.pop("ResponseMetadata", None)
    sys.stdout.write(f"{_text(jmespath.search(query, answer))}\n")
    return 0


def _value(shape: Shape, words: Sequence[str]) -> Any:
    if isinstance(shape, ListShape):
        return [_value(shape.member, [word]) for word in words]
    [word] = words
    if isinstance(shape, StructureShape):
        parts = dict(part.split("=", 1) for part in word.split(","))
        return {name: _value(shape.members[name], [part]) for name, part in parts.items()}
    kinds: dict[str, Any] = {"integer": int, "long": int, "double": float, "float": float}
    return kinds.get(shape.type_name, str)(word)


def _text(value: Any) -> str:
    if isinstance(value, list):
        inner = "\n" if any(isinstance(one, list) for one in value) else "\t"
        return inner.join(_text(one) for one in value)
    return "None" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
