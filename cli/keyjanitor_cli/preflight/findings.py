"""What a preflight found: of each question what AWS said, what keyjanitor believes, and what follows. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from keyjanitor_cli.preflight.answers import Answer, Right
from keyjanitor_cli.preflight.phrases import Named, Phrase


class Outcome(StrEnum):
    """How an answer compares to what keyjanitor believes, or to what it needs."""

    SAME = "same"
    DIFFERS = "differs"
    LEARNED = "new"  # nothing was believed: now it is known, of this account
    OPEN = "not known"
    DENIED = "no right"


@dataclass(frozen=True, slots=True)
class Finding:
    """One row: `believed` names the fact of docs/aws-facts.md that it rests on, if there is one.

    `shape` is the shape of an answer that is none of those that are known, and of it alone.
    """

    number: str
    asked: str
    said: Phrase
    believed: str
    outcome: Outcome
    follows: str = ""
    shape: Any = None

    @property
    def needs_person(self) -> bool:
        """Whether a person has to look at it before keyjanitor acts here."""
        return self.outcome in (Outcome.DIFFERS, Outcome.DENIED)


@dataclass(frozen=True, slots=True)
class Row:
    """What is the same in all findings of one row: its number, what is asked, what is believed."""

    number: str
    asked: str
    believed: str

    def found(
        self, outcome: Outcome, *what: str | Named, follows: str = "", shape: Any = None
    ) -> Finding:
        """A finding of this row."""
        return Finding(self.number, self.asked, what, self.believed, outcome, follows, shape)

    def refused(self, answer: Answer) -> Finding:
        """The finding of a call that was not answered."""
        if answer.denied:
            return self.found(Outcome.DENIED, f"access denied ({_action(answer)})")
        return self.found(Outcome.OPEN, answer.code)


def _action(answer: Answer) -> str:
    return answer.call.right.action if answer.call.right else answer.call.method


@dataclass(frozen=True, slots=True)
class Missing:
    """A right that a call lacked, with the resource that the policy names and its line there."""

    right: Right
    resource: str
    line: int
    statement: str


@dataclass(frozen=True, slots=True)
class Found:
    """All that a preflight found. `calls` is how many were made, `who` who asked.

    `trial` is what `--write` found; without it there is nothing.
    """

    account: str
    who: str
    region: str
    questions: tuple[Finding, ...]
    ground: tuple[Finding, ...]
    missing: tuple[Missing, ...]
    calls: int
    trial: tuple[Finding, ...] = ()

    @property
    def needs_person(self) -> bool:
        """Whether a row differs, or a right is missing."""
        return bool(self.missing) or any(one.needs_person for one in self.findings)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The rows of all tables."""
        return self.questions + self.ground + self.trial
