"""The state of one sweep: its date, the ledger's rows as they are now, and its outcome."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from keyjanitor.adapters.ledger import Change
from keyjanitor.domain.expiry.events import announce
from keyjanitor.domain.expiry.response import Done
from keyjanitor.domain.model.keys import SweepAction
from keyjanitor.domain.model.policy import BoundPolicy
from keyjanitor.domain.model.records import Announcement, Row
from keyjanitor.services.deadline import Deadline
from keyjanitor.services.expire_keys.gather import Adapters


@dataclass(slots=True)
class Outcome:
    """What a run did: keys by action, what its deadline left over, why it was stopped, if it was."""

    applied: Counter[SweepAction] = field(default_factory=Counter)
    remaining: int = 0
    held: str | None = None
    unopened: int = 0  # tombstones that could not be opened
    failed: list[str] = field(default_factory=list)  # keys whose step failed and was left
    left_out: list[str] = field(default_factory=list)  # keys that an undo has to be asked for by id
    left_alone: dict[str, str] = field(default_factory=dict)  # keys that changed meanwhile, and how
    did: list[Done] = field(default_factory=list)  # to keys that were not only noted

    def add(self, action: SweepAction, key_id: str, new_key_id: str | None = None) -> None:
        """Counts and names a key to which something was done."""
        self.applied[action] += 1
        self.did.append(Done(action, key_id, new_key_id))

    @property
    def counts(self) -> dict[str, int]:
        return {str(action): self.applied[action] for action in SweepAction}


@dataclass(slots=True)
class SweepState:
    """One sweep of one date. `rows` follow what is written through `commit`."""

    today: date
    rows: dict[str, Row]
    adapters: Adapters
    bound: BoundPolicy
    deadline: Deadline
    outcome: Outcome = field(default_factory=Outcome)

    def commit(self, changes: Iterable[Change], *, unless_held: bool = False) -> list[Row]:
        """Writes changes; gives the rows that were written, and knows them from then on."""
        written = self.adapters.ledger.commit(changes, unless_held=unless_held)
        self.rows.update({row.key_id: row for row in written})
        return written

    def event(self, row: Row) -> Announcement:
        """The event of a step that a row now says was taken."""
        return announce(row, self.bound.policy, self.today)
