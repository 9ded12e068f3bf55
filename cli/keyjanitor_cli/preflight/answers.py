"""One call of a preflight and what AWS said to it. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

NOT_ASKED = "not asked"
MOST_CALLS = 60
CALLS_PER_SECOND = 2.0  # of the ten that API Gateway answers to everyone together (doc: AF-106)


@dataclass(frozen=True, slots=True)
class Right:
    """A right that a call needs: an IAM action on a resource.

    `resource` is what follows `arn:PARTITION:` of its ARN, with REGION and STACK in it, or `*`.
    `why` says what is looked for with it.
    """

    action: str
    resource: str
    why: str


@dataclass(frozen=True, slots=True)
class Call:
    """One operation of AWS: the client and the method of boto3 that make it, and the right it needs.

    `right` is None for a call that needs none.
    """

    client: str
    method: str
    right: Right | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What AWS said: `body` if it answered, else `code`, AWS's word for the refusal.

    The body may hold what only its owner may see, so it is in no representation.
    """

    call: Call
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    code: str = ""
    denied: bool = False
    seconds: float = 0.0

    @property
    def answered(self) -> bool:
        """Whether there is a body to look at."""
        return not self.code

    def items(self, name: str) -> Iterator[Mapping[str, Any]]:
        """The objects of the list called `name`; none if the body has no such list."""
        listed = self.body.get(name)
        if isinstance(listed, list):
            yield from (one for one in listed if isinstance(one, Mapping))

    def lists(self, name: str) -> bool:
        """Whether the body has a list of objects called `name`."""
        listed = self.body.get(name)
        return isinstance(listed, list) and all(isinstance(one, Mapping) for one in listed)


class Ask(Protocol):
    """Makes one call, paced; it never raises for what AWS refuses, and makes none beyond its budget."""

    def __call__(self, call: Call, **params: Any) -> Answer: ...
