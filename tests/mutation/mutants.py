"""Small mistakes that somebody could make in a rule, each as a change of its syntax tree. Pure."""

import ast
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_LOGS = ("logger.", "metrics.")
# Of these the negation is a comparison of the same kind, which is a mistake of its own.
_YES_OR_NO = (ast.Eq, ast.NotEq, ast.In, ast.NotIn, ast.Is, ast.IsNot)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake: in which function (`where`, qualified; "" for a constant), from what to what.

    `name` is the same for as long as the text of that function's lines is: it names the mutant in
    the file of survivors. `make` gives the whole module with the mistake.
    """

    module: str
    where: str
    line: int
    was: str
    now: str
    number: int  # of the mutants of one function with the same texts
    lines: tuple[int, int]  # the first and the last of what was changed
    make: Callable[[], ast.Module]

    @property
    def tree(self) -> ast.Module:
        """The whole module with the mistake."""
        return self.make()

    @property
    def name(self) -> str:
        text = f"{self.module}:{self.where or 'constants'}: {self.was} -> {self.now}"
        return f"{text} #{self.number}" if self.number else text


def mutants_of(module: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a module's functions and of its constants, in the order of the lines."""
    tree = ast.parse(source)
    seen: dict[tuple[str, str, str], int] = {}
    for where, node in _places(tree):
        for was, now, lines, make in _mistakes(tree, node):
            key = (where, was, now)
            number = seen[key] = seen.get(key, -1) + 1
            yield Mutant(module, where, node.lineno, was, now, number, lines, make)


def _places(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Every function and method that no function holds, and every constant, with its name."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    yield f"{node.name}.{inner.name}", inner
        elif isinstance(node, ast.Assign | ast.AnnAssign) and _is_number(node.value):
            yield "", node


def constant_at(mutant: Mutant) -> str:
    """The name of the constant that a mutant changes."""
    for node in mutant.tree.body:
        if node.lineno == mutant.line and isinstance(node, ast.Assign | ast.AnnAssign):
            return ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
    raise LookupError(mutant.name)


def _is_number(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and type(value.value) in (int, float)


def _mistakes(
    tree: ast.Module, place: ast.stmt
) -> Iterator[tuple[str, str, tuple[int, int], Callable[[], ast.Module]]]:
    """(what it was, what it is, in which lines, how to make it) of each mistake in a function."""
    skipped = set(map(id, _annotations(place)))
    lines = _lines_of(place)
    for node in ast.walk(place):
        if id(node) in skipped:
            continue
        for replacement in _replacements(node):
            old, new = _texts(node, replacement)
            yield old, new, lines[id(node)], partial(_with, tree, node, replacement)


def _lines_of(place: ast.stmt) -> dict[int, tuple[int, int]]:
    """Of each node the lines that run when it does: a simple statement's, of others the head's."""
    lines: dict[int, tuple[int, int]] = {}

    def note(node: ast.AST, around: tuple[int, int]) -> None:
        if isinstance(node, ast.stmt | ast.match_case | ast.ExceptHandler):
            first = getattr(node, "lineno", around[0])
            inner = [one for one in ast.iter_child_nodes(node) if isinstance(one, ast.stmt)]
            cases = node.cases if isinstance(node, ast.Match) else []
            heads = [one.lineno - 1 for one in inner] + [one.pattern.lineno - 1 for one in cases]
            if isinstance(node, ast.match_case):
                first = node.pattern.lineno
            last = getattr(node, "end_lineno", None) or around[1]
            around = (first, max(first, min(heads, default=last)))
        lines[id(node)] = around
        for child in ast.iter_child_nodes(node):
            note(child, around)

    note(place, (place.lineno, place.end_lineno or place.lineno))
    return lines


def _texts(node: ast.AST, replacement: ast.AST) -> tuple[str, str]:
    """Both as one line each; of a compound statement only its head."""

    if isinstance(node, ast.Call) and isinstance(replacement, ast.Call):
        return _texts_of_keyword(node, replacement)

    def text(one: ast.AST) -> str:
        return " ".join(ast.unparse(one).split("\n")[0].split())[:160]

    old, new = text(node), text(replacement)
    if old == new:  # the change is further down
        old, new = ast.unparse(node), ast.unparse(replacement)
        pairs = zip(old.split("\n"), new.split("\n"), strict=False)
        old, new = next(((a.strip(), b.strip()) for a, b in pairs if a != b), (old, new))
    return old[:160], new[:160]


def _texts_of_keyword(node: ast.Call, replacement: ast.Call) -> tuple[str, str]:
    """Both as a call with the one keyword that differs, or without it."""
    before, after = map(ast.unparse, node.keywords), list(map(ast.unparse, replacement.keywords))
    gone = next((one for one in before if one not in after), "")
    come = next((f"{k.arg}=None" for k in replacement.keywords if k not in node.keywords), "")
    name = ast.unparse(node.func)[:60]
    return f"{name}(..., {gone})"[:160], f"{name}(..., {come})" if come else f"{name}(...)"


def _annotations(place: ast.stmt) -> Iterator[ast.AST]:
    """What is no code: annotations, docstrings, the texts of errors and of logs."""
    for node in ast.walk(place):
        for note in _notes(node):
            if note is not None:
                yield from ast.walk(note)


def _notes(node: ast.AST) -> Sequence[ast.AST | None]:
    match node:
        case ast.FunctionDef():
            docstring = [node.body[0]] if ast.get_docstring(node) is not None else []
            return [node.returns, *node.decorator_list, *docstring]
        case ast.arg() | ast.AnnAssign():
            return [node.annotation]
        case ast.JoinedStr():
            return [node]
        case ast.Expr() if ast.unparse(node).startswith(_LOGS):
            return [node]
        case ast.Expr(value=ast.Call() as call) if ast.unparse(call.func) == "assert_never":
            return [node]
        case ast.Call() if ast.unparse(node.func) == "cast":
            return [node]
        case ast.Call() if ast.unparse(node.func) == "zip":
            # `strict` is for the type of mistake that these are, and changes no right result.
            return [one.value for one in node.keywords]
        case _:
            return []


def _replacements(node: ast.AST) -> Iterator[ast.AST]:
    for mistakes in (_in_conditions, _in_numbers, _in_statements, _in_calls):
        yield from mistakes(node)


def _in_conditions(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare():
            for index, op in enumerate(node.ops):
                if type(op) in _COMPARISONS:
                    changed = copy.deepcopy(node)
                    changed.ops[index] = _COMPARISONS[type(op)]()
                    yield changed
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
            for index in range(len(node.values)):
                rest = node.values[:index] + node.values[index + 1 :]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.IfExp():
            yield node.body
            yield node.orelse
        case ast.comprehension():
            for index in range(len(node.ifs)):
                rest = node.ifs[:index] + node.ifs[index + 1 :]
                yield ast.comprehension(node.target, node.iter, rest, node.is_async)
        case _:
            pass


def _in_numbers(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.BinOp() if type(node.op) in _OPERATORS:
            yield ast.BinOp(node.left, _OPERATORS[type(node.op)](), node.right)
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(value + 1)
        case _:
            pass


def _in_statements(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.If() if not _is_negated_below(node.test):
            yield ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
        case ast.Return() if node.value is not None and not _is_yes_no_or_none(node.value):
            yield ast.Return(ast.Constant(None))
        case ast.Expr() if isinstance(node.value, ast.Call):
            yield ast.Pass()
        case ast.AugAssign() | ast.Continue():
            yield ast.Pass()
        case _:
            pass


def _in_calls(node: ast.AST) -> Iterator[ast.AST]:
    if not isinstance(node, ast.Call):
        return
    for index, keyword in enumerate(node.keywords):
        rest = [*node.keywords[:index], *node.keywords[index + 1 :]]
        if ast.unparse(node.func) == "zip":
            continue
        if ast.unparse(node.func) == "replace":
            yield ast.Call(node.func, node.args, rest)
        elif keyword.arg is not None and not _is_yes_no_or_none(keyword.value):
            emptied = ast.keyword(keyword.arg, ast.Constant(None))
            yield ast.Call(node.func, node.args, [*rest[:index], emptied, *rest[index:]])


def _is_negated_below(test: ast.expr) -> bool:
    """Whether the mistakes of a condition itself have its negation among them."""
    if isinstance(test, ast.Compare):
        return len(test.ops) == 1 and isinstance(test.ops[0], _YES_OR_NO)
    return isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)


def _is_yes_no_or_none(value: ast.expr) -> bool:
    """Of `False` the mistake is `True`; None would be as false."""
    return isinstance(value, ast.Constant) and value.value in (True, False, None)


def _with(tree: ast.Module, node: ast.AST, replacement: ast.AST) -> ast.Module:
    """A copy of the tree in which one node is another."""

    class Put(ast.NodeTransformer):
        def visit(self, one: ast.AST) -> ast.AST:
            if one is node:
                return ast.copy_location(replacement, node)
            fields = {name: self._put(value) for name, value in ast.iter_fields(one)}
            return ast.copy_location(type(one)(**fields), one)

        def _put(self, value: object) -> object:
            if isinstance(value, list):
                return [self._put(each) for each in value]
            return self.visit(value) if isinstance(value, ast.AST) else value

    changed = Put().visit(tree)
    assert isinstance(changed, ast.Module)
    return ast.fix_missing_locations(changed)
