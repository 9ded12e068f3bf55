"""Takes the fields of `policy.toml` one by one; an error names the field, its line and what is allowed. Pure."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from keyjanitor.domain.model.policy_text import joined, shown
from keyjanitor.errors import Mistake, PolicyError

T = TypeVar("T")


REQUIRED = object()  # the default of a field that has none


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a table of the file: how it is checked, and what docs/policy.md says of it.

    `read` takes its path and value, and raises PolicyError with what is allowed. `default` is its
    value if it is left out; None: it is then without. `example` is TOML. `formerly` is the name that
    the field had in earlier builds: an error about that name says what to write now.
    """

    name: str
    read: Callable[[str, object], object]
    meaning: str
    example: str
    default: object = REQUIRED
    formerly: str = ""


class FieldTable:
    """One table of the file, read field by field; all that is wrong in it is raised by `finish`."""

    def __init__(self, path: str, values: object) -> None:
        if not isinstance(values, dict):
            raise PolicyError(path, "must be a table")
        self._path = path
        self._left = dict(values)
        self._known: list[str] = []
        self._renamed: dict[str, str] = {}
        self._wrong: dict[str, None] = {}
        self._mistakes: list[Mistake] = []

    def path(self, name: str) -> str:
        """The path of a field of this table, for errors."""
        return joined(self._path, name)

    def values(self, fields: Iterable[Field]) -> dict[str, Any]:
        """The value of each field, by its name. A wrong one is noted, and what comes instead not used."""
        return {one.name: self._take(one) for one in fields}

    def _take(self, field: Field) -> object:
        self._known.append(field.name)
        self._renamed[field.formerly] = field.name
        path = self.path(field.name)
        try:
            if field.name in self._left:
                return field.read(path, self._left.pop(field.name))
            if field.default is REQUIRED:
                raise missing_field(path, field.read)
        except PolicyError as err:
            self._wrong[field.name] = None
            self._mistakes += err.mistakes
        return field.default

    def is_right(self, *names: str) -> bool:
        """True if none of these fields was wrong, so that checks which depend on them make sense."""
        return not any(name in self._wrong for name in names)

    def wrong(self, name: str, reason: str) -> None:
        """Notes what is wrong with a field beside others."""
        self._wrong[name] = None
        self._mistakes.append(Mistake(self.path(name), reason))

    def wrong_at(self, path: str, reason: str) -> None:
        """Notes what is wrong at a path further down."""
        self._mistakes.append(Mistake(path, reason))

    def finish(self) -> None:
        """Raises PolicyError with all that is wrong in the table."""
        for name in self._left:
            reason = f"is not a field; allowed here: {', '.join(sorted(self._known))}"
            if name in self._renamed:
                reason = f"is called {self._renamed[name]} now"
            self._mistakes.append(Mistake(self.path(name), reason))
        if self._mistakes:
            raise PolicyError.of(self._mistakes)


def table_of(make: Callable[..., T], fields: Iterable[Field]) -> Callable[[str, object], T]:
    """Reads a table into what `make` takes by the names of these fields; every mistake is named."""
    fields = tuple(fields)

    def read(path: str, value: object) -> T:
        table = FieldTable(path, value)
        made = make(**table.values(fields))
        table.finish()
        return made

    return read


def every_field(reads: Iterable[Callable[[], T]]) -> list[T]:
    """Results of all reads; raises PolicyError with the mistakes of all of them."""
    read: list[T] = []
    mistakes: list[Mistake] = []
    for one in reads:
        try:
            read.append(one())
        except PolicyError as err:
            mistakes += err.mistakes
    if mistakes:
        raise PolicyError.of(mistakes)
    return read


def missing_field(path: str, read: Callable[[str, object], object]) -> PolicyError:
    """Error for a field that is missing and has no default; it says what `read` allows."""
    try:
        read(path, None)
    except PolicyError as err:
        return PolicyError(err.path, err.reason.replace("None is not allowed", "is missing", 1))
    raise AssertionError("a field that may be nothing has a default")


def not_allowed(path: str, value: object, allowed: str) -> PolicyError:
    """The error of a field whose value is not one of those that are allowed."""
    return PolicyError(path, f"{shown(value)} is not allowed; allowed: {allowed}")


def whole_number(low: int, high: int, unit: str = "") -> Callable[[str, object], int]:
    """Reads a whole number from `low` to `high`; `unit` is for the error, such as " of days"."""

    def read(path: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise not_allowed(path, value, f"a whole number{unit} from {low} to {high}")
        return value

    return read


def yes_or_no(path: str, value: object) -> bool:
    """Reads `true` or `false`."""
    if not isinstance(value, bool):
        raise not_allowed(path, value, "true or false")
    return value


def share(low: float = 0.0, high: float = 1.0) -> Callable[[str, object], float]:
    """Reads a number above `low`, at most `high`."""

    def read(path: str, value: object) -> float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not low < value <= high:  # type: ignore[operator]
            raise not_allowed(path, value, f"a number above {low:g}, at most {high:g}")
        return float(value)  # type: ignore[arg-type]

    return read


def text_field(pattern: str = r"(?s).+", allowed: str = "a text") -> Callable[[str, object], str]:
    """Reads a text that fits `pattern`; the error says `allowed`."""

    def read(path: str, value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise not_allowed(path, value, allowed)
        return value

    return read


def list_of(read_item: Callable[[str, object], T]) -> Callable[[str, object], tuple[T, ...]]:
    """Reads a list of different items, each by `read_item`; every wrong item is named."""

    def read(path: str, value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise not_allowed(path, value, "a list")

        def item(index: int) -> T:
            if value.index(value[index]) < index:
                raise PolicyError(f"{path}[{index}]", f"{shown(value[index])} is there twice")
            return read_item(f"{path}[{index}]", value[index])

        return tuple(every_field(partial(item, index) for index in range(len(value))))

    return read
