"""Draws docs/architecture.md's picture of the rooms, and lists their modules, from the code's imports."""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "layers/keyjanitor/keyjanitor"
# What uses the package and is not in it, each a room of its own.
OUTSIDE = ("functions", "cli", "sandbox")
BESIDE = {"functions": "one handler a function"}
BESIDE |= {"cli": "the operators' command", "sandbox": "the AWS on this machine"}


@cache
def modules() -> Mapping[str, Path]:
    """Every module of the package by its name without `keyjanitor.`, and of what uses it."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        found[_dotted(path.relative_to(PACKAGE))] = path
    for folder in OUTSIDE:
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            found[_dotted(path.relative_to(REPOSITORY))] = path
    return found


def _dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """The room of a module: a layer, or inside the domain one of its parts."""
    first, _, rest = module.partition(".")
    return f"domain.{rest.partition('.')[0]}" if first == "domain" and rest else first


@cache
def imports_of(module: str) -> frozenset[str]:
    """The modules of the package, and of what uses it, that a module imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from a import b` imports a.b if that is a module, and else a.
            names.update({f"{node.module}.{one.name}" for one in node.names} | {node.module})
    known = {name.removeprefix("keyjanitor.") for name in names}
    return frozenset(name for name in known if name in modules() and name != module)


def arrows() -> dict[tuple[str, str], int]:
    """How many imports lead from one room into another."""
    found: dict[tuple[str, str], int] = {}
    for module in modules():
        for other in imports_of(module):
            pair = room_of(module), room_of(other)
            # The package itself and a layer's own folder hold nothing but their docstrings.
            if pair[0] != pair[1] and "" not in pair and "domain" not in pair:
                found[pair] = found.get(pair, 0) + 1
    return found


def reduced(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The arrows without those that follow from others: of a to b to c, not a to c."""

    def reached(start: str, without: tuple[str, str]) -> set[str]:
        seen: set[str] = set()
        ahead = [start]
        while ahead:
            one = ahead.pop()
            nexts = {b for a, b in pairs if a == one and (a, b) != without} - seen
            seen |= nexts
            ahead += nexts
        return seen

    return {pair for pair in pairs if pair[1] not in reached(pair[0], without=pair)}


def picture() -> str:
    """The rooms and the arrows between them, as Mermaid."""
    pairs = arrows()
    found = {room for pair in pairs for room in pair} | {"errors"}
    rooms = sorted(found, key=lambda room: (-_depth(room), room))
    lines = ["```mermaid", "flowchart TD"]
    lines += [f'    {_node(room)}["{room}: {about(room)}"]' for room in rooms]
    lines += [f"    {_node(a)} --> {_node(b)}" for a, b in sorted(reduced(set(pairs)))]
    return "\n".join([*lines, "```"])


@cache
def _depth(room: str) -> int:
    below = {b for a, b in arrows() if a == room}
    return 1 + max(map(_depth, below), default=0)


def _node(room: str) -> str:
    return room.replace(".", "_")


def about(room: str) -> str:
    """What is in a room: the first sentence of its folder's docstring."""
    return BESIDE.get(room) or _first_sentence(room).rstrip(".")


def _first_sentence(module: str) -> str:
    told = ast.get_docstring(ast.parse(modules()[module].read_text(encoding="utf-8"))) or ""
    return told.split("\n\n")[0].replace("\n", " ").strip().removesuffix(" Pure.")


def listed() -> str:
    """Each module of the package by room, with what it is for."""
    parts = []
    rooms = sorted({room_of(one) for one in modules()} - {*OUTSIDE, "", "domain", "errors"})
    order = sorted(rooms, key=lambda room: (-_depth(room), room))
    for room in order:
        parts.append(f"### {room}\n\n{about(room)}.\n\n| module | what it does |\n|---|---|")
        parts[-1] += "".join(f"\n{row}" for row in _rows(room))
    return "\n\n".join(parts)


def _rows(room: str) -> Iterator[str]:
    for module, path in modules().items():
        if room_of(module) == room and path.name != "__init__.py":
            name = module.removeprefix(f"{room}.").replace(".", "/")
            link = path.relative_to(REPOSITORY).as_posix()
            told = _first_sentence(module).replace("|", "\\|")
            yield f"| [{name}](../{link}) | {told} |"
